"""A network without some entries of its outputs: the rows of the last layers that compute them are dropped.

An entry of an output is dropped at the layer that computes it, so that what is left is a network like any other. The
walk goes from the output back through ops that treat the entries of the last axis one by one, to linear layers.
Whatever mixes entries (a softmax over all of them, a norm) stops it: no part of the output is there without the rest.

A policy answers 3 numbers, of which the last is left out; the walk goes from the right to the left:

    x (b 8) -> linear W (3 8) -> tanh -> mul scale (3)        claimed: entries 0, 1
    x (b 8) -> linear W (2 8) -> tanh -> mul scale (2)        rows 0, 1 of W, entries 0, 1 of scale

`partial` calls this on the graph of the whole network, and puts the dropped rows back after a conversion.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from chiralize.body.tensors.claims import ClaimedPart, left_out_whole
from chiralize.errors import UnsupportedError
from chiralize.errors.words import when
from chiralize.graph.execution import arguments_of, out_of_place
from chiralize.graph.traits import Contraction, Copy, Join, Pick, Pointwise, Scaling, Slice, Sum, Trait
from chiralize.infer.registry import traits

_ENTRYWISE = (Pointwise, Copy, Sum, Scaling)
"""Ops whose entry i depends on the entries i of their operands alone."""


@dataclass(frozen=True)
class Head:
    """A linear layer of which rows were dropped.

    node: its name in the graph.  weight, bias: names of its tensors.  claimed, dropped: its rows.
    """

    node: str
    weight: str
    bias: str | None
    claimed: tuple[int, ...]
    dropped: tuple[int, ...]


class Restriction:
    """Drops entries of the outputs of a graph, which is changed in place.

    heads: the layers that lost rows, or all of them.  constants: those that lost entries of their last axis, and which
    are left.  unfitted: why what was dropped as a whole cannot be fitted to other layers before it, None where it can.
    Raises UnsupportedError where entries are mixed.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        self.module = module
        self.graph = module.graph
        self.heads: list[Head] = []
        self.constants: dict[str, tuple[int, ...]] = {}
        self.unfitted: UnsupportedError | None = None
        self._restricted: dict[tuple[Any, tuple[int, ...]], Any] = {}

    def apply(self, parts: Sequence[ClaimedPart]) -> None:
        """Keep the claimed entries of every part; outputs that are left out as a whole are gone.

        Raises UnsupportedError; the graph is of no use then.
        """
        (output,) = self.graph.find_nodes(op="output")
        leaves: list[Any] = list(output.args[0])  # an export's output holds the flat results
        left_out, claimed = left_out_whole(parts), list[Any]()
        for part in parts:
            if not part.is_whole:
                leaves[part.output] = self.restricted(leaves[part.output], part.claimed)
        for number, leaf in enumerate(leaves):
            if number not in left_out:
                claimed.append(leaf)
        output.args = (tuple(claimed),)
        # The heads of outputs that are left out are only noted: `_clean` removes them from the graph as dead code.
        needed = _read_by(claimed)
        for number in left_out:
            self._leave_out(leaves[number], needed)
        if left_out:
            _return_tuple(self.graph, len(claimed))
        self._clean()

    def restricted(self, node: Any, positions: Sequence[int]) -> Any:
        """A node that computes the entries at some positions of the last axis of another one.

        Works from the output to its layers: the operands are restricted first, then the op is written anew on these.
        Raises UnsupportedError at an op that mixes entries.
        """
        key = node, tuple(positions)
        # y + tanh(y) comes to the layer of y twice: its rows are dropped once.
        if key not in self._restricted:
            self._restricted[key] = self._restricted_anew(node, positions)
        return self._restricted[key]

    def _restricted_anew(self, node: Any, positions: Sequence[int]) -> Any:
        """The same where it was not asked for before."""
        size = _last(node)
        if list(positions) == list(range(size)):
            return node
        if node.op == "get_attr":
            return self._constant(node, positions)
        trait, last = _trait(node), (-1, _rank(node) - 1)  # the two ways to name the last axis
        if isinstance(trait, Pointwise) and trait.slopes:
            _refuse_slopes_elsewhere(node)
        if isinstance(trait, _ENTRYWISE) and all(self._is_entrywise(one, size) for one in node.all_input_nodes):
            return self._copied(node, {one: self._operand(one, positions) for one in node.all_input_nodes})
        arguments = arguments_of(node)
        match trait:
            case Contraction(is_layer=True, is_windowed=False):
                return self._linear(node, positions)
            case Join(adds_axis=False) if arguments.get("dim", 0) in last:
                return self._joined(node, positions)
            case Slice() if "length" not in arguments and arguments.get("dim", 0) in last:
                start, end, step = (arguments.get(name) for name in ("start", "end", "step"))
                whole = range(_last(arguments["self"]))
                taken = whole[start:end:step]  # as a list is cut: an open end, 2^63 - 1 in a graph, is beyond the last
                return self.restricted(arguments["self"], [taken[position] for position in positions])
            case Pick(lists=name) if arguments.get("dim") in last and arguments[name].op == "get_attr":
                chosen = self._tensor(arguments[name]).tolist()
                return self.restricted(arguments["self"], [chosen[position] for position in positions])
        raise refusal(node)

    # ---- ops ------------------------------------------------------------------------------------------------
    def _linear(self, node: Any, positions: Sequence[int]) -> fx.Node:
        """The layer with these rows of its weight, "out in", and of its bias; here the walk ends."""
        head = self._head(node, positions)
        for name in filter(None, (head.weight, head.bias)):
            _set(self.module, name, _get(self.module, name)[list(positions)])
        with self.graph.inserting_before(node):
            return self._noted(self.graph.call_function(node.target, node.args, dict(node.kwargs)), node)

    def _head(self, node: Any, positions: Sequence[int]) -> Head:
        """The record of a linear layer of which only some rows are claimed; its tensors are read nowhere else.

        Raises UnsupportedError where they are, since the other reader needs all rows, or where they are computed.
        """
        names = list[str]()
        for tensor in node.args[1:]:  # the weight, then the bias, if there is one
            if isinstance(tensor, fx.Node):
                if tensor.op != "get_attr" or self._readers(str(tensor.target)) > 1:
                    raise refusal(node, "its weights are computed, or shared with another layer")
                names.append(str(tensor.target))
        dropped = tuple(row for row in range(_last(node)) if row not in set(positions))
        weight, bias = names[0], names[1] if len(names) > 1 else None
        self.heads.append(Head(node.name, weight, bias, tuple(positions), dropped))
        return self.heads[-1]

    def _readers(self, name: str) -> int:
        """How many ops read a tensor, under any of its names: tied weights have two names and one memory."""
        address = _get(self.module, name).data_ptr()
        readers = 0
        for node in self.graph.find_nodes(op="get_attr"):
            value = _get(self.module, str(node.target))
            if isinstance(value, torch.Tensor) and value.data_ptr() == address:
                readers += len(node.users)
        return readers

    def _leave_out(self, node: Any, needed: Set[fx.Node] = frozenset()) -> None:
        """Note the linear layer nearest to the end of a branch that is left out as a whole, to be fitted.

        needed: nodes that what is claimed reads. Where the branch begins at one of them, or its layer shares weights
        with one, nothing is noted: it answers as the converted layers do. So it is where it reads none that computes.
        """
        if needed and not _computes(_read_by([node]) & needed):
            return
        # From the end of the branch back, along its only operand that is no weight, to the first layer.
        try:
            while not isinstance(trait := _trait(node), Contraction) or not trait.is_layer:
                data = list(filter(_is_data, node.all_input_nodes))
                if node in needed:
                    return
                if len(data) != 1:  # two branches meet: there is no one layer whose fit would do
                    raise refusal(node)
                (node,) = data
            if node in needed or (needed and self._shares_weights(node)):
                return
            if trait.is_windowed:
                raise refusal(node)
            self._head(node, ())
        except UnsupportedError as error:
            self.unfitted = error

    def _shares_weights(self, layer: fx.Node) -> bool:
        """Whether something else reads the weights of a layer."""
        for weight in layer.all_input_nodes:
            if not _is_data(weight) and self._readers(str(weight.target)) > 1:
                return True
        return False

    def _joined(self, node: Any, positions: Sequence[int]) -> fx.Node:
        """A join along the last axis without the entries that are not claimed; a piece without any is left out.

        Of pieces of 2, 3 and 1 entries, positions (0, 3, 4) are entry 0 of the first and entries 1, 2 of the second.
        """
        pieces: list[fx.Node] = []
        start, taken = 0, 0
        for piece in node.args[0]:
            inside = range(start, start + _last(piece))
            start = inside.stop
            chosen = [position - inside.start for position in positions[taken:] if position in inside]
            # All positions within a piece have to follow each other, else the pieces would have to be cut up.
            if list(positions[taken : taken + len(chosen)]) != [inside.start + position for position in chosen]:
                raise refusal(node, "its pieces are reordered")
            taken += len(chosen)
            if chosen:
                pieces.append(self.restricted(piece, chosen))
            else:
                self._leave_out(piece)
        if len(pieces) == 1:
            return pieces[0]
        with self.graph.inserting_before(node):
            return self._noted(self.graph.call_function(node.target, (pieces, *node.args[1:]), dict(node.kwargs)), node)

    def _copied(self, node: Any, inputs: Mapping[fx.Node, fx.Node]) -> fx.Node:
        """The same op on other operands."""
        with self.graph.inserting_before(node):
            return self._noted(self.graph.node_copy(node, lambda one: inputs[one]), node)

    def _noted(self, new: fx.Node, old: fx.Node) -> fx.Node:
        """The new node with what is known of the old one, but for its value, whose size is another one."""
        new.meta = {key: value for key, value in old.meta.items() if key != "val"}
        return new

    # ---- operands of binary ops -----------------------------------------------------------------------------
    def _is_entrywise(self, node: fx.Node, size: int) -> bool:
        """Whether an operand is the same for all entries, or has one value for each."""
        return _rank(node) == 0 or _last(node) in (1, size)

    def _operand(self, node: Any, positions: Sequence[int]) -> fx.Node:
        """An operand at these positions; as it is where it is the same for all."""
        if _rank(node) == 0 or _last(node) == 1:
            return node
        return self.restricted(node, positions)

    def _constant(self, node: Any, positions: Sequence[int]) -> fx.Node:
        """Some entries of a constant, which stays where it is needed as a whole."""
        name = str(node.target)
        chosen = self._tensor(node).detach()[..., list(positions)].clone()
        # Read once: the tensor itself is cut, under its own name, so that weights stay weights. Else a copy is cut.
        if name not in self.constants and self._readers(name) == 1:
            self.constants[name] = tuple(positions)
            _set(self.module, name, chosen)
            with self.graph.inserting_before(node):
                return self._noted(self.graph.get_attr(name), node)
        name = f"claimed_of_{name.replace('.', '_')}"
        if not hasattr(self.module, name):
            self.module.register_buffer(name, chosen)
        elif not torch.equal(getattr(self.module, name), chosen):
            raise refusal(node, "its entries are used in two ways")
        with self.graph.inserting_before(node):
            return self._noted(self.graph.get_attr(name), node)

    def _tensor(self, node: fx.Node) -> torch.Tensor:
        """The tensor that a `get_attr` node reads."""
        return _get(self.module, str(node.target))

    def _clean(self) -> None:
        """Remove ops and tensors that nothing reads any more."""
        self.graph.eliminate_dead_code()
        # A head that is still alive is read elsewhere, beside the output: its rows are needed there.
        heads = {head.node: head for head in self.heads}
        for node in self.graph.nodes:
            if node.name in heads:
                error = refusal(node, "something else reads what it computes, too")
                if heads[node.name].claimed:
                    raise error
                self.unfitted = error
        used = {str(node.target) for node in self.graph.find_nodes(op="get_attr")}
        unused = [name for name, _ in (*self.module.named_parameters(), *self.module.named_buffers())]
        for name in unused:
            if name not in used:
                owner, _, attribute = name.rpartition(".")
                delattr(self.module.get_submodule(owner), attribute)
        self.graph.lint()
        self.module.recompile()


def _refuse_slopes_elsewhere(node: fx.Node) -> None:
    """Raises UnsupportedError for slopes of channels that do not lie along the last axis: they belong to axis 1."""
    _, *slopes = node.all_input_nodes
    if _rank(node) != 2 and any(_last(one) != 1 for one in slopes):
        raise refusal(node, "its slopes are those of another axis")


def _read_by(outputs: Sequence[Any]) -> set[fx.Node]:
    """The nodes that some outputs are computed from, and these themselves."""
    reached, waiting = set[fx.Node](), list(outputs)
    while waiting:
        node = waiting.pop()
        if isinstance(node, fx.Node) and node not in reached:
            reached.add(node)
            waiting += node.all_input_nodes
    return reached


def _computes(nodes: Collection[fx.Node]) -> bool:
    """Whether some of these nodes are neither inputs nor weights."""
    return any(node.op not in ("placeholder", "get_attr") for node in nodes)


def _is_data(node: fx.Node) -> bool:
    """Whether a node is no weight or constant."""
    return node.op != "get_attr"


def _return_tuple(graph: fx.Graph, size: int) -> None:
    """Let the graph of an export return its flat results as a tuple, which is no longer that of the original."""
    codegen: Any = graph._codegen
    structure = pytree.tree_structure((0,) * size)
    graph.set_codegen(type(codegen)(codegen.pytree_info._replace(out_spec=structure)))


def refusal(node: Any, why: str = "it mixes the entries of its last axis, or nobody knows") -> UnsupportedError:
    """Why entries that are left out cannot be told from those that are claimed."""
    stack = str(node.meta.get("stack_trace", "")).strip().splitlines()
    line = next((text.strip() for text in reversed(stack) if text.strip().startswith("File")), "")
    facts = f"entries of which nothing is claimed do not come straight from a linear layer: {node.target}: {why}"
    remedy = "only --method average takes it; or let the network return both parts by themselves, each from its layer"
    return UnsupportedError(f"{node.name}" + when(line, f" ({line})"), facts, remedy)


def _trait(node: Any) -> Trait | None:
    """The kind of op that a node calls, whether or not it works in place."""
    if node.op != "call_function":
        return None
    return traits().get(out_of_place(str(node.target)))


def _shape(node: Any) -> Sequence[Any]:
    """The sizes of a node's value, ints or open ones. Raises UnsupportedError where it is not known, or no tensor."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        raise refusal(node, "its size is not known")
    return value.shape


def _last(node: Any) -> int:
    """The size of the last axis. Raises UnsupportedError where it is open."""
    size = _shape(node)[-1]
    if not isinstance(size, int):
        raise refusal(node, "the size of its last axis is open")
    return size


def _rank(node: Any) -> int:
    """How many axes a node's value has."""
    return len(_shape(node))


def _get(module: nn.Module, name: str) -> torch.Tensor:
    """The tensor of a dotted name, `decoder.fc.weight`."""
    owner, _, attribute = name.rpartition(".")
    return getattr(module.get_submodule(owner), attribute)


def _set(module: nn.Module, name: str, value: torch.Tensor) -> None:
    """Put a copy of a value in the place of a tensor; a parameter stays a parameter."""
    owner, _, attribute = name.rpartition(".")
    old, part = _get(module, name), module.get_submodule(owner)
    new = value.detach().clone()
    setattr(part, attribute, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)
