"""An exported program and example inputs become a `CapturedModel`: a flat graph of ATen ops without side effects.

This is the second half of a capture, behind `export` and `functionalize`. The program has symbolic sizes, lifted
weights and the user's source line on every node. One run on the examples turns sizes into numbers, folds what
depends on no input into constants, and notes which weight every value comes from. So of

    def forward(self, x):                       # x: 4 frames, self.pe: a buffer of 20 frames
        return self.fc(x) + 2 * self.pe[: x.shape[0]]

come two nodes, `linear` and `add`, and a constant of 4 frames that was computed from the key `pe`.
All later steps (`infer`, `methods`, `verification`) read this graph and never the program.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from chiralize.errors import CaptureError, ModelRunError, UnsupportedError
from chiralize.errors.words import first_line
from chiralize.graph.execution import RUN_AS, by_reader
from chiralize.graph.export import LIBRARY
from chiralize.graph.fixed_sizes import check_sizes, fixed_sizes
from chiralize.graph.frozen import tables_among
from chiralize.graph.isolation import Isolated
from chiralize.graph.local_writes import writes
from chiralize.graph.model import CapturedModel, Leaf, LeafKind, Node, Ref, Shape, Where
from chiralize.graph.tracing import LOOKS, dead_calls, holds_tensor, storage_of, target_of

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
_COPIES = frozenset(
    """aten.alias.default aten.slice.Tensor aten.expand.default aten.view.default aten.reshape.default
    aten.clone.default aten.detach.default aten.detach_.default aten._to_copy.default aten.to.dtype aten.to.device
    aten.to.dtype_layout aten.contiguous.default aten.lift_fresh_copy.default aten.lift_fresh.default""".split()
)
"""Ops whose result has the numbers of their argument wherever it has its shape and type."""


def read_graph(
    program: ExportedProgram,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    notes: Sequence[str] = (),
    tables: Container[str] = (),
    origin: str = "exported",
) -> CapturedModel:
    """The graph of an exported program without in-place writes, specialised to the sizes of the example inputs.

    tables: keys of constants that are taken as weights, so that values computed from them are not folded.
    origin: of the program, for messages about sizes.
    Raises ModelRunError where the program fails on the examples, CaptureError for graphs that depend on data.
    """
    return _Reader(program, tables, origin).read(args, kwargs, notes)


class _Reader:
    """Reads an exported graph once, computes its values, and records its leaves and nodes.

    values: of all leaves and nodes so far, by name. wholes: constants before any open size cut them. varying: values
    that depend on an input, a weight or a state; all others are folded into constants. aliases: names of values that
    are a leaf themselves, and the names of these leaves. sources: by folded value, the keys of what it was computed
    from. fixed: sizes of every value in the program, None where one is open.
    """

    def __init__(self, program: ExportedProgram, tables: Container[str], origin: str) -> None:
        self.program, self.tables, self.origin = program, tables, origin
        self.dead = dead_calls(program.graph)
        self.fixed = {node.name: fixed_sizes(node.meta.get("val")) for node in program.graph.nodes}
        self.values: dict[str, Any] = {}
        self.wholes: dict[str, torch.Tensor] = {}
        self.varying: set[str] = set()
        self.leaves: dict[str, Leaf] = {}
        self.nodes: list[Node] = []
        self.aliases: dict[str, str] = {}
        self.sources: dict[str, tuple[str, ...]] = {}
        self.inputs: list[str] = []
        self.frozen: frozenset[str] = frozenset()

    def read(self, args: Sequence[Any], kwargs: Mapping[str, Any], notes: Sequence[str]) -> CapturedModel:
        """Run the graph on the examples; returns what was recorded."""
        self._read_leaves(args, kwargs)
        last_use = _last_uses(self.program.graph.nodes)
        with torch.no_grad(), Isolated():
            for node in self.program.graph.nodes:
                if node.op == "call_function" and node.name not in self.dead:
                    self._read_op(node)
                if node.op != "output":
                    # Activations go as soon as nothing reads them. Constants stay, since `_whole` reads them again,
                    # and so do numbers, which stand in the arguments of later nodes.
                    for name in last_use.get(node.name, ()):
                        if name in self.varying and name not in self.leaves:
                            del self.values[name]
        outputs, shapes, mutations = self._read_outputs()
        # What nothing reads goes, and every leaf that stays says where it is read first: messages name that line.
        self._keep_read({*outputs, *mutations, *mutations.values()})
        self._name_where()
        return CapturedModel(
            self.leaves, tuple(self.nodes), tuple(self.inputs), outputs, shapes, mutations, tuple(notes)
        )

    # ---- leaves -------------------------------------------------------------------------------------------
    def _read_leaves(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Record a leaf for every input of the graph: the user's tensors, and what the export lifted out of the
        module.

        Raises ModelRunError where the examples do not fit, UnsupportedError for an object that is no tensor.
        """
        supplied = iter(_flat_inputs(self.program, args, kwargs))
        signature = self.program.graph_signature
        mutated = {spec.target for spec in signature.output_specs if spec.kind == OutputKind.BUFFER_MUTATION}
        self.frozen = _tables(self.program)
        # By memory, the first leaf that lies there.
        seen: dict[tuple[int, Shape, tuple[int, ...]], str] = {}
        for spec in signature.input_specs:
            name = spec.arg.name
            if spec.kind == InputKind.USER_INPUT:
                self._read_input(name, next(supplied))
                continue
            tensor = self._stored(spec.target or "")
            storage = storage_of(tensor)
            # Tied weights are one leaf with two names, so that no step can change one and leave the other.
            if storage in seen and tensor.numel():
                first = seen[storage]
                self.aliases[name] = first
                leaf = self.leaves[first]
                self.leaves[first] = replace(leaf, names=(*leaf.names, spec.target or ""))
                self.values[name] = tensor
                if leaf.kind != "constant":
                    self.varying.add(name)
                continue
            seen[storage] = name
            key = spec.target or name
            kind = _kind(spec.kind, tensor, spec.target in mutated, spec.target in self.frozen)
            # Asked for by the caller: it takes part in the graph as a weight does, whatever it was stored as.
            if key in self.tables:
                kind = "table"
            sources = (key,) if tensor.is_floating_point() else ()
            self._add_leaf(Leaf(name, kind, (key,), tensor, sources=sources, frozen=self._frozen(sources)))

    def _read_input(self, name: str, value: Any) -> None:
        """Record an argument of the network. Numbers and None are values only: the graph has them as constants."""
        self.values[name] = value
        if isinstance(value, torch.Tensor):
            check_sizes(value, name, self.fixed.get(name), self.origin)
            self.inputs.append(name)
            self._add_leaf(Leaf(name, "input", (name,), value))

    def _add_leaf(self, leaf: Leaf) -> None:
        """Record a leaf. All but constants vary: what is computed from them stays in the graph."""
        self.leaves[leaf.name] = leaf
        self.values[leaf.name] = leaf.tensor
        if leaf.kind != "constant":
            self.varying.add(leaf.name)

    def _frozen(self, sources: Sequence[str]) -> tuple[str, ...]:
        """Those of these keys that are parameters kept from training which a formula made."""
        return tuple(key for key in sources if key in self.frozen)

    def _stored(self, target: str) -> torch.Tensor:
        """A parameter, buffer or constant of the program. Raises UnsupportedError for an object that is no tensor."""
        for store in (self.program.state_dict, self.program.constants):
            if target in store:
                value = store[target]
                if isinstance(value, torch.Tensor):
                    return value
        raise UnsupportedError(target, "the graph uses an object that is no tensor", "use --method average")

    # ---- ops ----------------------------------------------------------------------------------------------
    def _read_op(self, node: torch.fx.Node) -> None:
        """Run one op and record it: as nothing (a number, a copy of a leaf), as a constant, or as a node.

        Raises CaptureError for a write in place or a number read from the input, ModelRunError where the op fails.
        """
        inputs = [argument.name for argument in node.all_input_nodes]
        # A write would change a value that was recorded already; `functionalize` leaves none that it can replace.
        if writes(node):
            facts = f"{target_of(node)} writes in place and could not be made functional"
            raise CaptureError(str(where_of(node)), facts, "write the operation without an in-place update")
        try:
            value = _evaluate(node, lambda other: self.values[other.name])
        except Exception as error:
            facts = f"{target_of(node)} fails on the examples: {first_line(error)}"
            remedy = "give --input-shape or --example with sizes that the network takes"
            raise ModelRunError(str(where_of(node)), facts, remedy) from error
        self.values[node.name] = value
        depends = any(name in self.varying for name in inputs)
        # Sizes and other numbers: they stand in the arguments of the nodes that read them.
        if not holds_tensor(value):
            self._check_number(node, depends)
            return
        if self._is_unchanged(node, value, inputs):
            return
        if not depends and _is_deterministic(node):
            self.sources[node.name] = self._sources_of(inputs)
            # A list (`pe.chunk(2)`) is no leaf; the ops that take its entries out of it become constants themselves.
            if isinstance(value, torch.Tensor):
                self._add_constant(node, value)
            return
        self.varying.add(node.name)
        # Also what draws random numbers of nothing else, since the next run would draw others.
        self.nodes.append(self._node(node, value))

    def _add_constant(self, node: torch.fx.Node, value: torch.Tensor) -> None:
        """Record the result of an op that depends on constants alone as a leaf."""
        sources = self.sources[node.name]
        leaf = Leaf(node.name, "constant", (node.name,), value, where_of(node), stored=False, sources=sources)
        self._add_leaf(replace(leaf, whole=self._whole(node), frozen=self._frozen(sources)))

    def _sources_of(self, inputs: list[str]) -> tuple[str, ...]:
        """The keys of what constants were computed from, each once, in order. inputs: the constants, by name."""
        sources: dict[str, None] = {}
        for name in map(self._alias, inputs):
            of_input = self.leaves[name].sources if name in self.leaves else self.sources.get(name, ())
            sources |= dict.fromkeys(of_input)
        return tuple(sources)

    def _whole(self, node: torch.fx.Node) -> torch.Tensor | None:
        """A constant as it would be if no open size had cut it, or a constant that it is computed from.

        Of `pe[: x.shape[0]]` with 20 stored frames and 4 in the examples, all 20: a conversion that only looked at
        the first 4 could miss that the others tell left from right.
        None where no open size cut it, or where that cannot be computed.
        """

        def uncut(other: torch.fx.Node) -> Any:
            """The value of a node before an open size cut it."""
            return self.wholes.get(other.name, self.values[other.name])

        # An open size reaches `slice` as a second node; fixed bounds are plain numbers among its arguments.
        source, *numbers = node.all_input_nodes or [None]
        # The cut is left out, and the ops behind it are repeated on the uncut values.
        if node.target is torch.ops.aten.slice.Tensor and source is not None and numbers:
            self.wholes[node.name] = uncut(source)
        elif any(other.name in self.wholes for other in node.all_input_nodes):
            with suppress(Exception):  # it cannot be computed from other sizes
                self.wholes[node.name] = _evaluate(node, uncut)
        whole = self.wholes.get(node.name)
        # Of the same shape it was not cut: the examples are as long as the table.
        if isinstance(whole, torch.Tensor) and whole.shape != self.values[node.name].shape:
            return whole
        return None

    def _is_unchanged(self, node: torch.fx.Node, value: Any, inputs: list[str]) -> bool:
        """Whether a value equals the constant or weight from which it is made, such as a table cut to its own length.

        If so, it keeps the name of that leaf, which the user knows.
        """
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

    def _check_number(self, node: torch.fx.Node, depends: bool) -> None:
        """Raises CaptureError where a number is read out of a tensor that depends on the input: it would be frozen
        into the graph at its value for the examples.
        """
        if depends and target_of(node) in LOOKS:
            facts = "a number is read out of a tensor that depends on the input"
            raise CaptureError(str(where_of(node)), facts, "replace it by tensor operations, or use --method average")

    def _node(self, node: torch.fx.Node, value: Any) -> Node:
        """The node of our own graph for one of the exported graph, with the sizes and dtypes of its value."""
        target = target_of(node)
        shapes: list[Shape | None] = []
        dtypes: list[torch.dtype | None] = []
        for output in value if isinstance(value, (tuple, list)) else (value,):
            is_tensor = isinstance(output, torch.Tensor)
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
        """Arguments by schema name, defaults included."""

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
        """The leaf that a value is, by name; its own name for any other value."""
        return self.aliases.get(name, name)

    # ---- results ------------------------------------------------------------------------------------------
    def _read_outputs(self) -> tuple[tuple[str | None, ...], tuple[Shape, ...], dict[str, str]]:
        """The results: (names of the outputs that are tensors, their shapes, the new value of every state by its
        leaf).

        Outputs that are numbers or None are left out.
        """
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
            if isinstance(value, torch.Tensor):
                outputs.append(self._alias(name or ""))
                shapes.append(tuple(value.shape))
        return tuple(outputs), tuple(shapes), mutations

    def _keep_read(self, results: set[str | None]) -> None:
        """Drop weights and constants that nothing reads, such as those of another method."""
        used = results.union(*(node.names_read for node in self.nodes))
        self.leaves = {name: leaf for name, leaf in self.leaves.items() if leaf.kind == "input" or name in used}

    def _name_where(self) -> None:
        """Note for every leaf where it is first read."""
        # From the end, so that the first reader is noted last, and stays.
        for node in reversed(self.nodes):
            for name in self.leaves.keys() & node.names_read:
                self.leaves[name] = replace(self.leaves[name], where=node.where)


def where_of(node: torch.fx.Node) -> Where:
    """Where in the user's model a node of a program comes from: module path, and the innermost line of the user's
    own code.

    Frames in `torch` and in layers of ours are passed over.
    """
    stack = node.meta.get("nn_module_stack") or {}
    # From the outermost module to the innermost, as torch.export saw them called.
    paths = [path for path, _ in stack.values() if path]
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    module, line = "", ""
    if paths:
        # torch.export calls the network itself `L__self__`.
        module = re.sub(r"^L__self__\.?", "", paths[-1])
    for file, number, _ in frames:
        if not LIBRARY.search(file):
            # Frames come from the outermost to the innermost: the last one of the user's stays.
            line = f"{Path(file).name}:{number}"
    return Where(module, line)


def _tables(program: ExportedProgram) -> frozenset[str]:
    """Keys of parameters that are constants."""
    names = [spec.target for spec in program.graph_signature.input_specs if spec.kind == InputKind.PARAMETER]
    return tables_among({name: program.state_dict[name] for name in names if name and name in program.state_dict})


def _kind(kind: InputKind, tensor: torch.Tensor, mutated: bool, table: bool) -> LeafKind:
    """The kind of a stored tensor. mutated: forward writes it.  table: a formula made it.

    A buffer of floating-point numbers along a single axis, such as a running mean "feature", is a statistic, which
    may be changed. One of more axes (an adjacency) or of one number is a constant, which may not.
    """
    if kind == InputKind.PARAMETER:
        return "constant" if table else "parameter"
    if mutated:
        return "state"
    if kind == InputKind.BUFFER and tensor.is_floating_point() and sum(size != 1 for size in tensor.shape) == 1:
        return "statistic"
    return "constant"


def _is_deterministic(node: torch.fx.Node) -> bool:
    """Whether an op gives the same result each time, so that it may be folded."""
    return torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ())


def _evaluate(node: torch.fx.Node, value_of: Callable[[torch.fx.Node], Any]) -> Any:
    """The result of a node of the program, given the values of the nodes that it reads. Some ops are replaced
    (`RUN_AS`).
    """
    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), value_of)
    return RUN_AS.get(node.target, node.target)(*args, **kwargs)  # type: ignore[operator, arg-type]


def _position(user: torch.fx.Node) -> int:
    """Which output of an op a reader takes."""
    position = user.args[1] if user.target is operator.getitem else 0
    assert isinstance(position, int)
    return position


def _last_uses(nodes: Any) -> dict[str, list[str]]:
    """For every node, the values that no later node reads."""
    return by_reader({other.name: node.name for node in nodes for other in node.all_input_nodes})


def _flat_inputs(program: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Copies of the user's arguments in the order of the graph's inputs. Raises ModelRunError for another number."""
    leaves, expected = pytree.tree_leaves((tuple(args), dict(kwargs))), program.call_spec.in_spec
    if expected is not None and len(leaves) != expected.num_leaves:
        facts = f"{len(leaves)} given, the network takes {expected.num_leaves}"
        raise ModelRunError("example inputs", facts, "give one example for every argument")
    return pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.detach().clone(), leaves)
