"""An exported program and example inputs become a `CapturedModel`: a flat graph of ATen ops without side effects.

This is the second half of a capture, behind `export` and `writes`. The program has symbolic sizes, lifted weights and
the user's source line on every node. One run on the examples turns sizes into numbers, folds what depends on no input
into constants, and notes which weight every value comes from. So of

    def forward(self, x):                       # x: 4 frames, self.pe: a buffer of 20 frames
        return self.fc(x) + 2 * self.pe[: x.shape[0]]

come the nodes `linear` and `add`, and a constant that was computed from the key `pe`: of all 20 frames and behind a
`slice` where the number of frames is open (`open_sizes`), else of 4. All later steps read this graph.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from chiralize.errors import CaptureError, ModelRunError, UnsupportedError
from chiralize.errors.words import first_line
from chiralize.graph.execution import LOOKS, by_reader, evaluated, holds_tensor, number_of, target_of, where_of, writes
from chiralize.graph.model import CapturedModel, Leaf, LeafKind, Node, Ref, Shape
from chiralize.graph.open_sizes import whole

_COPIES = frozenset(
    """aten.alias.default aten.slice.Tensor aten.expand.default aten.view.default aten.reshape.default
    aten.clone.default aten.detach.default aten.detach_.default aten._to_copy.default aten.to.dtype aten.to.device
    aten.to.dtype_layout aten.contiguous.default aten.lift_fresh_copy.default aten.lift_fresh.default""".split()
)
"""Ops whose result has the numbers of their argument wherever it has its shape and type."""
_LIFTED = re.compile(r"^(lifted_tensor_|_tensor_constant)\d+$")
"""Keys under which an export holds constants that the module does not: globals, tensors that forward makes."""


def read(
    program: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any], tables: Container[str] = ()
) -> CapturedModel:
    """The graph of an exported program without in-place writes, specialised to the sizes of the example inputs.

    tables: keys of constants that are taken as weights, so that values computed from them are not folded.
    Raises ModelRunError where the program fails on the examples, CaptureError for graphs that depend on data, and
    OpenSizeError where what it holds for other sizes cannot be looked at.
    """
    return _Reader(program, tables).read(args, kwargs)


class _Reader:
    """Reads an exported graph once, computes its values, and records its leaves and nodes.

    values: of all leaves and nodes so far, by name. varying: values that depend on an input, a weight or a state; all
    others are folded into constants. aliases: names of values that are a leaf themselves, and the names of these
    leaves. sources: by folded value, the keys of what it was computed from. frozen: keys of parameters that are
    constants, since training was to leave them alone.
    """

    def __init__(self, program: ExportedProgram, tables: Container[str]) -> None:
        self.program, self.tables = program, tables
        self.dead = _dead_calls(program.graph)
        self.values: dict[str, Any] = {}
        self.varying: set[str] = set()
        self.leaves: dict[str, Leaf] = {}
        self.nodes: list[Node] = []
        self.aliases: dict[str, str] = {}
        self.sources: dict[str, tuple[str, ...]] = {}
        self.inputs: list[str] = []
        self.frozen = _frozen(program)

    def read(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> CapturedModel:
        """Run the graph on the examples; returns what was recorded."""
        self._read_leaves(args, kwargs)
        last_use = by_reader(
            {used.name: node.name for node in self.program.graph.nodes for used in node.all_input_nodes}
        )
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for node in self.program.graph.nodes:
                if node.op == "call_function" and node.name not in self.dead:
                    self._read_op(node)
                if node.op != "output":
                    # Activations go as soon as nothing reads them. Constants and numbers stay, since they are
                    # computed again at other sizes.
                    for name in last_use.get(node.name, ()):
                        if name in self.varying and name not in self.leaves:
                            del self.values[name]
            stored = [leaf for leaf in self.leaves.values() if leaf.kind == "constant" and leaf.stored]
            outputs, shapes, mutations = self._read_outputs()
            # What nothing reads goes, and every leaf that stays says where it is read first: messages name that line.
            self._keep_read({*outputs, *mutations, *mutations.values()})
            self._name_where()
            graph = CapturedModel(self.leaves, tuple(self.nodes), tuple(self.inputs), outputs, shapes, mutations)
            still = {name: value for name, value in self.values.items() if name not in self.varying}
            return whole(graph, self.program, still, self.aliases, stored)

    # ---- leaves -------------------------------------------------------------------------------------------
    def _read_leaves(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Record a leaf for every input of the graph: the user's tensors, and what was lifted out of the module."""
        supplied = iter(_flat_inputs(self.program, args, kwargs))
        signature = self.program.graph_signature
        mutated = {spec.target for spec in signature.output_specs if spec.kind == OutputKind.BUFFER_MUTATION}
        sizes = {node.name: node.meta.get("val") for node in self.program.graph.nodes if node.op == "placeholder"}
        # By memory, the first leaf that lies there.
        seen: dict[Any, str] = {}
        for spec in signature.input_specs:
            name, key = spec.arg.name, spec.target or spec.arg.name
            if spec.kind == InputKind.USER_INPUT:
                self._read_input(name, next(supplied), sizes.get(name))
                continue
            tensor = self._stored(key)
            memory = tensor.data_ptr(), tuple(tensor.shape), tensor.stride()
            # Tied weights are one leaf with two names, so that no step can change one and leave the other.
            if memory in seen and tensor.numel():
                first = seen[memory]
                self.aliases[name] = first
                leaf = self.leaves[first]
                self.leaves[first] = replace(leaf, names=(*leaf.names, key))
                self.values[name] = tensor
                if leaf.kind != "constant":
                    self.varying.add(name)
                continue
            seen[memory] = name
            kind = _kind(spec.kind, tensor, key in mutated, key in self.frozen)
            # Asked for by the caller: it takes part in the graph as a weight does, whatever it was stored as.
            if key in self.tables:
                kind = "table"
            is_held = not _LIFTED.match(key)
            sources = (key,) if tensor.is_floating_point() and is_held else ()
            frozen = self.frozen & set(sources)
            known_as = "" if is_held else "that is no buffer of the module"
            leaf = Leaf(name, kind, (key,), tensor, stored=is_held, sources=sources, known_as=known_as)
            self._add_leaf(replace(leaf, frozen=tuple(frozen)))

    def _read_input(self, name: str, value: Any, recorded: Any) -> None:
        """Record an argument of the network, unless it is a number. recorded: what the program says of it."""
        self.values[name] = value
        if not isinstance(value, Tensor):
            return
        fixed = [*map(number_of, recorded.shape)]
        taken = zip(fixed, value.shape, strict=False)
        if len(fixed) != value.ndim or any(want not in (None, size) for want, size in taken):
            text = ", ".join("any" if size is None else str(size) for size in fixed)
            facts = f"its sizes are {tuple(value.shape)}, the program takes ({text}) alone"
            raise ModelRunError(f"input {name}", facts, "give inputs of these sizes, or export it with its sizes open")
        self.inputs.append(name)
        self._add_leaf(Leaf(name, "input", (name,), value))

    def _add_leaf(self, leaf: Leaf) -> None:
        """Record a leaf. All but constants vary: what is computed from them stays in the graph."""
        self.leaves[leaf.name] = leaf
        self.values[leaf.name] = leaf.tensor
        if leaf.kind != "constant":
            self.varying.add(leaf.name)

    def _stored(self, key: str) -> Tensor:
        """A parameter, buffer or constant of the program. Raises UnsupportedError for an object that is no tensor."""
        value = self.program.state_dict.get(key, self.program.constants.get(key))
        if isinstance(value, Tensor):
            return value
        raise UnsupportedError(key, "the graph uses an object that is no tensor", "use --method average")

    # ---- ops ----------------------------------------------------------------------------------------------
    def _read_op(self, node: torch.fx.Node) -> None:
        """Run one op and record it: as nothing (a number, a copy of a leaf), as a constant, or as a node."""
        inputs = [argument.name for argument in node.all_input_nodes]
        # A write would change a value that was recorded already; `writes.functional` leaves none that it can replace.
        if writes(node):
            facts = f"{target_of(node)} writes in place and could not be made functional"
            raise CaptureError(str(where_of(node)), facts, "write the operation without an in-place update")
        try:
            value = evaluated(node, lambda other: self.values[other.name])
        except Exception as error:
            facts = f"{target_of(node)} fails on the examples: {first_line(error)}"
            raise ModelRunError(str(where_of(node)), facts, "give examples of sizes that the network takes") from error
        self.values[node.name] = value
        depends = any(name in self.varying for name in inputs)
        # Sizes and other numbers: they stand in the arguments of the nodes that read them.
        if not holds_tensor(value):
            if depends and target_of(node) in LOOKS:
                facts = "a number is read out of a tensor that depends on the input"
                remedy = "replace it by tensor operations, or use --method average"
                raise CaptureError(str(where_of(node)), facts, remedy)
        elif self._is_unchanged(node, value, inputs):
            pass
        elif not depends and torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
            self._add_constant(node, value, inputs)
        else:
            # Also what draws random numbers of nothing else, since the next run would draw others.
            self.varying.add(node.name)
            self.nodes.append(self._node(node, value))

    def _add_constant(self, node: torch.fx.Node, value: Any, inputs: Sequence[str]) -> None:
        """Record the result of an op that depends on constants alone as a leaf.

        A list (`pe.chunk(2)`) is no leaf; the ops that take its entries out of it become constants themselves.
        """
        sources: dict[str, None] = {}
        for name in map(self._alias, inputs):
            of_input = self.leaves[name].sources if name in self.leaves else self.sources.get(name, ())
            sources |= dict.fromkeys(of_input)
        self.sources[node.name] = tuple(sources)
        if isinstance(value, Tensor):
            leaf = Leaf(node.name, "constant", (node.name,), value, where_of(node), stored=False, sources=(*sources,))
            self._add_leaf(replace(leaf, frozen=tuple(self.frozen & sources.keys())))

    def _is_unchanged(self, node: torch.fx.Node, value: Any, inputs: list[str]) -> bool:
        """Whether a value is the leaf that it is made of, such as a table cut to its full length; if so, note that."""
        source = self.leaves.get(self._alias(inputs[0])) if inputs else None
        if source is None or source.kind in ("input", "state") or target_of(node) not in _COPIES:
            return False
        # By their kind these ops keep all numbers, so equal shapes and dtypes mean equal tensors.
        tensor = source.tensor
        if (tensor.shape, tensor.dtype, tensor.device) != (value.shape, value.dtype, value.device):
            return False
        self.aliases[node.name] = source.name
        if source.kind != "constant":
            # A copy of a weight stands for the weight, and varies as it does.
            self.varying.add(node.name)
        return True

    def _node(self, node: torch.fx.Node, value: Any) -> Node:
        """The node of our own graph for one of the exported graph, with the sizes and dtypes of its value."""
        target = target_of(node)
        shapes: list[Shape | None] = []
        dtypes: list[torch.dtype | None] = []
        for output in value if isinstance(value, (tuple, list)) else (value,):
            is_tensor = isinstance(output, Tensor)
            shapes.append(tuple(output.shape) if is_tensor else None)
            dtypes.append(output.dtype if is_tensor else None)
        # Results that only dead calls take, such as the positions beside a maximum, count as not read: a rule need
        # not know how they transform.
        read = frozenset(_position(user) for user in node.users if user.name not in self.dead)
        if target == "getitem":
            source = node.args[0]
            assert isinstance(source, torch.fx.Node)
            arguments: dict[str, Any] = {"value": Ref(self._alias(source.name)), "index": node.args[1]}
        else:
            arguments = self._arguments(node)
        return Node(node.name, target, arguments, tuple(shapes), read, where_of(node), dtypes=tuple(dtypes))

    def _arguments(self, node: torch.fx.Node) -> dict[str, Any]:
        """By schema name, defaults included."""

        def plain(other: torch.fx.Node) -> Any:
            """A number itself, or a reference to a tensor."""
            value = self.values.get(other.name)
            if isinstance(value, (int, float, bool)):
                return value
            return Ref(self._alias(other.name))

        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), plain)
        # With all defaults written out, rules and walks need not know them.
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            return {str(position): value for position, value in enumerate(args)} | dict(kwargs)
        out: dict[str, Any] = {}
        for position, argument in enumerate(schema.arguments):
            if position < len(args):
                out[argument.name] = args[position]
            elif argument.name in kwargs:
                out[argument.name] = kwargs[argument.name]
            elif argument.has_default_value():
                out[argument.name] = argument.default_value
        return out

    def _alias(self, name: str) -> str:
        return self.aliases.get(name, name)

    # ---- results ------------------------------------------------------------------------------------------
    def _read_outputs(self) -> tuple[tuple[str | None, ...], tuple[Shape, ...], dict[str, str]]:
        """Names and shapes of the outputs that are tensors, and the new value of every state by its leaf."""
        outputs: list[str | None] = []
        shapes: list[Shape] = []
        mutations: dict[str, str] = {}
        # Tied buffers have several keys, and the export may name any of them.
        by_name = {name: leaf.name for leaf in self.leaves.values() for name in leaf.names}
        for spec in self.program.graph_signature.output_specs:
            name = getattr(spec.arg, "name", None)
            # What a state is left with, for the next call; all other results of the program are the user's.
            if spec.kind == OutputKind.BUFFER_MUTATION and spec.target in by_name and name:
                mutations[by_name[spec.target]] = self._alias(name)
            if spec.kind != OutputKind.USER_OUTPUT:
                continue
            value = self.values.get(name) if name else None
            if isinstance(value, Tensor):
                outputs.append(self._alias(name or ""))
                shapes.append(tuple(value.shape))
        return tuple(outputs), tuple(shapes), mutations

    def _keep_read(self, results: set[str | None]) -> None:
        """Drop weights and constants that nothing reads, such as those of another method."""
        used = results.union(*(node.names_read for node in self.nodes))
        self.leaves = {name: leaf for name, leaf in self.leaves.items() if leaf.kind == "input" or name in used}

    def _name_where(self) -> None:
        # From the end, so that the first reader is noted last, and stays.
        for node in reversed(self.nodes):
            for name in self.leaves.keys() & node.names_read:
                self.leaves[name] = replace(self.leaves[name], where=node.where)


def _dead_calls(graph: torch.fx.Graph) -> frozenset[str]:
    """Names of calls whose results nobody needs, such as the positions beside the largest values."""
    dead: set[str] = set()
    for node in reversed(list(graph.nodes)):
        # Checks of dtypes count as impure, and nobody needs them: sizes and dtypes are those of the examples.
        acts = node.is_impure() and node.target is not torch.ops.aten._assert_tensor_metadata.default
        if node.op == "call_function" and not acts and all(user.name in dead for user in node.users):
            dead.add(node.name)
    return frozenset(dead)


def _frozen(program: ExportedProgram) -> frozenset[str]:
    """Keys of parameters that are constants: those kept from training, unless the whole network is."""
    keys = [spec.target for spec in program.graph_signature.input_specs if spec.kind == InputKind.PARAMETER]
    frozen = frozenset(key for key in keys if key and not program.state_dict[key].requires_grad)
    return frozen if len(frozen) < len(keys) else frozenset()


def _kind(kind: InputKind, tensor: Tensor, mutated: bool, frozen: bool) -> LeafKind:
    """The kind of a stored tensor. mutated: forward writes it.  frozen: a parameter kept from training.

    A buffer of floating-point numbers along a single axis, such as a running mean "feature", is a statistic, which
    may be changed. One of more axes (an adjacency) or of one number is a constant, which may not.
    """
    if kind == InputKind.PARAMETER:
        return "constant" if frozen else "parameter"
    if mutated:
        return "state"
    if kind == InputKind.BUFFER and tensor.is_floating_point() and sum(size != 1 for size in tensor.shape) == 1:
        return "statistic"
    return "constant"


def _position(user: torch.fx.Node) -> int:
    position = user.args[1] if user.target is operator.getitem else 0
    assert isinstance(position, int)
    return position


def _flat_inputs(program: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Copies of the user's arguments in the order of the graph's inputs. Raises ModelRunError for another number."""
    leaves, expected = pytree.tree_leaves((tuple(args), dict(kwargs))), program.call_spec.in_spec
    if expected is not None and len(leaves) != expected.num_leaves:
        facts = f"{len(leaves)} given, the network takes {expected.num_leaves}"
        raise ModelRunError("example inputs", facts, "give one example for every argument")
    return pytree.tree_map_only(Tensor, lambda tensor: tensor.detach().clone(), leaves)
