"""A PyTorch module and example inputs become a `CapturedModel`: a flat graph of ATen ops without side effects.

`torch.export` gives the graph, with the user's source line on every node; where it writes in place, into more than
values of its own, `run_decompositions({})` makes it functional. One run on the examples replaces symbolic sizes by
numbers and folds what depends on no input.
What export refuses (data-dependent Python code, TorchScript) is first traced with `make_fx`.
"""

from __future__ import annotations

import inspect
import operator
import re
import traceback
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx.experimental import _config as sizes
from torch.utils import _pytree as pytree

from chiralize.errors import CaptureError, ModelRunError, UnsupportedError
from chiralize.errors.words import first_line
from chiralize.graph.execution import RUN_AS, by_reader
from chiralize.graph.fixed_sizes import check_sizes, fixed_sizes
from chiralize.graph.frozen import tables_among
from chiralize.graph.isolation import Isolated
from chiralize.graph.local_writes import writes
from chiralize.graph.model import CapturedModel, Leaf, LeafKind, Node, Ref, Shape, Where
from chiralize.graph.overlaps import undecided_overlaps
from chiralize.graph.silence import quiet
from chiralize.graph.snapshot import untouched
from chiralize.graph.staying import staying
from chiralize.graph.tracing import LOOKS, dead_calls, holds_tensor, storage_of, target_of
from chiralize.graph.while_capturing import recurrent_shapes, unchecked_distributions

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
_COPIES = frozenset(
    """aten.alias.default aten.slice.Tensor aten.expand.default aten.view.default aten.reshape.default
    aten.clone.default aten.detach.default aten.detach_.default aten._to_copy.default aten.to.dtype aten.to.device
    aten.to.dtype_layout aten.contiguous.default aten.lift_fresh_copy.default aten.lift_fresh.default""".split()
)
"""Ops whose result has the numbers of their argument wherever it has its shape and type."""
_OURS = str(Path(__file__).parents[1])
_LIBRARY = re.compile(r"(^|/)(torch|chiralize/nn|onnx_reading)/|^<")


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


def export(
    module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], dynamic: Any = None
) -> ExportedProgram:
    """The module as exported by `torch.export`, which is kept quiet. Raises CaptureError with its first line.

    dynamic: (args, kwargs) with the open axes in place of every tensor.
    """
    try:
        if dynamic is not None:
            dynamic = dict(inspect.signature(module.forward).bind(*dynamic[0], **dynamic[1]).arguments)
        oblivious = sizes.patch(backed_size_oblivious=True)  # pyright: ignore[reportAttributeAccessIssue]
        with (
            untouched(module),
            _writing_what_is_assigned(module),
            quiet(),
            unchecked_distributions(),
            recurrent_shapes(),
            oblivious,
            undecided_overlaps(),
            staying(module),
        ):
            program = torch.export.export(module, tuple(args), dict(kwargs), dynamic_shapes=dynamic, strict=False)
    except Exception as error:
        remedy = "remove control flow that depends on the data, or use --method average, which needs no graph"
        if "specialized integer" in str(error):
            remedy = "write out numbers that are read from tensors (int(x), x.item(), one_hot without num_classes), "
            remedy += "or use --method average, which needs no graph"
        facts = f"torch.export cannot capture the network: {first_line(error)}{_at_line(error)}"
        raise CaptureError(type(module).__name__, facts, remedy) from error
    detached = [node for node in program.graph.nodes if node.target is torch.ops.aten.detach_.default]
    for node in detached:  # tensors that forward makes of numbers: the write changes nothing
        node.target = torch.ops.aten.detach.default
    if _name_unnamed(program) or detached:
        program.graph_module.recompile()
    return program


def _at_line(error: Exception) -> str:
    """The innermost line of the user's own code that an error went through, with its text; "" where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if not _LIBRARY.search(frame.filename) and not frame.filename.startswith(_OURS):
            return f"; at {Path(frame.filename).name}:{frame.lineno}: {frame.line}"
    return ""


@contextmanager
def _writing_what_is_assigned(module: torch.nn.Module) -> Iterator[None]:
    """Context in which a tensor that forward assigns to a buffer of a submodule (`self.h = h`) is copied into that
    buffer.

    torch.export sees such assignments on the outermost module alone, and drops all others without a message.
    """
    before: list[tuple[dict[str, torch.Tensor | None], str, torch.Tensor]] = []

    def remember(*_: Any) -> None:
        """Before forward: note the buffers of all submodules."""
        before.clear()
        for table in [part._buffers for part in module.modules() if part is not module]:
            before.extend((table, name, buffer) for name, buffer in table.items() if buffer is not None)

    def write(*_: Any) -> None:
        """After forward: copy what took the place of a buffer into it, and put the buffer back."""
        held = {id(buffer) for _, _, buffer in before}
        replaced: list[tuple[dict[str, torch.Tensor | None], str, torch.Tensor, torch.Tensor]] = []
        for table, name, buffer in before:
            now = table.get(name)
            if now is not None and now is not buffer and (now.shape, now.dtype) == (buffer.shape, buffer.dtype):
                shares_memory = now._is_view() or id(now) in held  # with a buffer that may be written below
                replaced.append((table, name, buffer, now.clone() if shares_memory else now))
        for table, name, buffer, now in replaced:
            table[name] = buffer.copy_(now)

    if isinstance(module, torch.jit.ScriptModule):
        yield
        return
    hooks = module.register_forward_pre_hook(remember), module.register_forward_hook(write)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def refuse_names(module: torch.nn.Module) -> None:
    """Raises CaptureError where a part of the network has the name of an attribute of PyTorch's graph modules."""
    taken = {*dir(torch.fx.GraphModule(torch.nn.Module(), torch.fx.Graph())), "_in_spec", "_out_spec"}
    held = {name for name, value in vars(module).items() if isinstance(value, torch.Tensor)}
    held.update(name for name, _ in module.named_children())
    held.update(name for name, _ in module.named_parameters(recurse=False))
    held.update(name for name, _ in module.named_buffers(recurse=False))
    if isinstance(module, torch.fx.GraphModule) or held.isdisjoint(taken):
        return
    name = min(held & taken)
    raise CaptureError(
        f"the network's attribute {name!r}",
        "PyTorch's graphs have an attribute of this name themselves, which a part of the network cannot replace",
        f"rename it ({name}_), or use --method average, which needs no graph",
    )


def _name_unnamed(program: ExportedProgram) -> bool:
    """Replace, in place, constants without a name by the parameter or buffer that they are; whether there were any.

    Forward may read a tensor through a list, say, that the module also holds by name.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    known: dict[tuple[int, Shape, tuple[int, ...]], torch.fx.Node] = {}
    merged = []
    for spec in sorted(program.graph_signature.input_specs, key=lambda spec: spec.kind == InputKind.CONSTANT_TENSOR):
        held = program.state_dict.get(spec.target or "", program.constants.get(spec.target or ""))
        if not isinstance(held, torch.Tensor) or not held.numel():
            continue
        if spec.kind != InputKind.CONSTANT_TENSOR:
            known.setdefault(storage_of(held), nodes[spec.arg.name])
        elif storage_of(held) in known:
            nodes[spec.arg.name].replace_all_uses_with(known[storage_of(held)])
            program.graph.erase_node(nodes[spec.arg.name])
            program.graph_signature.input_specs.remove(spec)
            merged.append(program.constants.pop(spec.target or ""))
    return bool(merged)


class _Reader:
    """Reads an exported graph once, computes its values, and records its leaves and nodes.

    values: of all leaves and nodes so far, by name. wholes: constants before any open size cut them. varying: values
    that depend on an input, a weight or a state; all others are folded into constants. aliases: names of values that
    are a leaf themselves, and the names of these leaves.
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
                    for name in last_use.get(node.name, ()):
                        if name in self.varying and name not in self.leaves:
                            del self.values[name]
        outputs, shapes, mutations = self._read_outputs()
        self._keep_read({*outputs, *mutations, *mutations.values()})
        self._name_where()
        return CapturedModel(
            self.leaves, tuple(self.nodes), tuple(self.inputs), outputs, shapes, mutations, tuple(notes)
        )

    # ---- leaves -------------------------------------------------------------------------------------------
    def _read_leaves(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        supplied = iter(_flat_inputs(self.program, args, kwargs))
        signature = self.program.graph_signature
        mutated = {spec.target for spec in signature.output_specs if spec.kind == OutputKind.BUFFER_MUTATION}
        self.frozen = _tables(self.program)
        seen: dict[tuple[int, Shape, tuple[int, ...]], str] = {}
        for spec in signature.input_specs:
            name = spec.arg.name
            if spec.kind == InputKind.USER_INPUT:
                self._read_input(name, next(supplied))
                continue
            tensor = self._stored(spec.target or "")
            storage = storage_of(tensor)
            if storage in seen and tensor.numel():  # tied: one leaf with two names
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
            if key in self.tables:
                kind = "table"
            sources = (key,) if tensor.is_floating_point() else ()
            self._add_leaf(Leaf(name, kind, (key,), tensor, sources=sources, frozen=self._frozen(sources)))

    def _read_input(self, name: str, value: Any) -> None:
        self.values[name] = value
        if isinstance(value, torch.Tensor):
            check_sizes(value, name, self.fixed.get(name), self.origin)
            self.inputs.append(name)
            self._add_leaf(Leaf(name, "input", (name,), value))

    def _add_leaf(self, leaf: Leaf) -> None:
        self.leaves[leaf.name] = leaf
        self.values[leaf.name] = leaf.tensor
        if leaf.kind != "constant":
            self.varying.add(leaf.name)

    def _frozen(self, sources: Sequence[str]) -> tuple[str, ...]:
        return tuple(key for key in sources if key in self.frozen)

    def _stored(self, target: str) -> torch.Tensor:
        for store in (self.program.state_dict, self.program.constants):
            if target in store:
                value = store[target]
                if isinstance(value, torch.Tensor):
                    return value
        raise UnsupportedError(target, "the graph uses an object that is no tensor", "use --method average")

    # ---- ops ----------------------------------------------------------------------------------------------
    def _read_op(self, node: torch.fx.Node) -> None:
        inputs = [argument.name for argument in node.all_input_nodes]
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
        if not holds_tensor(value):
            self._check_number(node, depends)
            return
        if self._is_unchanged(node, value, inputs):
            return
        if not depends and _is_deterministic(node):
            if isinstance(value, torch.Tensor):
                self._add_constant(node, value, inputs)
            return
        self.varying.add(node.name)
        self.nodes.append(self._node(node, value))

    def _add_constant(self, node: torch.fx.Node, value: torch.Tensor, inputs: list[str]) -> None:
        """Record the result of an op that depends on constants alone as a leaf."""
        sources: dict[str, None] = {}
        for name in map(self._alias, inputs):
            if name in self.leaves:
                sources |= dict.fromkeys(self.leaves[name].sources)
        of, whole = tuple(sources), self._whole(node)
        where, frozen = where_of(node), self._frozen(of)
        self._add_leaf(Leaf(node.name, "constant", (node.name,), value, where, None, False, of, whole, frozen))

    def _whole(self, node: torch.fx.Node) -> torch.Tensor | None:
        """A constant as it would be if no open size had cut it, or a constant that it is computed from.

        None where no open size cut it, or where that cannot be computed.
        """

        def uncut(other: torch.fx.Node) -> Any:
            """The value of a node before an open size cut it."""
            return self.wholes.get(other.name, self.values[other.name])

        source, *numbers = node.all_input_nodes or [None]
        if node.target is torch.ops.aten.slice.Tensor and source is not None and numbers:
            self.wholes[node.name] = uncut(source)
        elif any(other.name in self.wholes for other in node.all_input_nodes):
            with suppress(Exception):  # it cannot be computed from other sizes
                self.wholes[node.name] = _evaluate(node, uncut)
        whole = self.wholes.get(node.name)
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
        tensor = source.tensor
        if (tensor.shape, tensor.dtype, tensor.device) != (value.shape, value.dtype, value.device):
            return False
        self.aliases[node.name] = source.name
        if source.kind != "constant":
            self.varying.add(node.name)
        return True

    def _check_number(self, node: torch.fx.Node, depends: bool) -> None:
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
        read = frozenset(_position(user) for user in node.users if user.name not in self.dead)
        if target == "getitem":
            source = node.args[0]
            assert isinstance(source, torch.fx.Node)
            arguments: dict[str, Any] = {"value": Ref(self._alias(source.name)), "index": node.args[1]}
        else:
            arguments = self._arguments(node)
        return Node(node.name, target, arguments, tuple(shapes), read, where_of(node), None, tuple(dtypes))

    def _arguments(self, node: torch.fx.Node) -> dict[str, Any]:
        """Arguments by schema name, defaults included."""

        def plain(other: torch.fx.Node) -> Any:
            """A number itself, or a reference to a tensor."""
            value = self.values.get(other.name)
            if isinstance(value, (int, float, bool)):
                return value
            return Ref(self._alias(other.name))

        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), plain)
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
        outputs: list[str | None] = []
        shapes: list[Shape] = []
        mutations: dict[str, str] = {}
        by_name = {name: leaf.name for leaf in self.leaves.values() for name in leaf.names}
        for spec in self.program.graph_signature.output_specs:
            name = getattr(spec.arg, "name", None)
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
        for node in reversed(self.nodes):
            for name in self.leaves.keys() & node.names_read:
                self.leaves[name] = replace(self.leaves[name], where=node.where)


def where_of(node: torch.fx.Node) -> Where:
    """Module path and the innermost line of the user's own code."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    module, line = "", ""
    if paths:
        module = re.sub(r"^L__self__\.?", "", paths[-1])
    for file, number, _ in frames:  # the innermost frame is the last
        if not _LIBRARY.search(file):
            line = f"{Path(file).name}:{number}"
    return Where(module, line)


def _tables(program: ExportedProgram) -> frozenset[str]:
    """Keys of parameters that are constants."""
    names = [spec.target for spec in program.graph_signature.input_specs if spec.kind == InputKind.PARAMETER]
    return tables_among({name: program.state_dict[name] for name in names if name and name in program.state_dict})


def _kind(kind: InputKind, tensor: torch.Tensor, mutated: bool, table: bool) -> LeafKind:
    """The kind of a stored tensor. mutated: forward writes it.  table: a formula made it."""
    if kind == InputKind.PARAMETER:
        return "constant" if table else "parameter"
    if mutated:
        return "state"
    if kind == InputKind.BUFFER and tensor.is_floating_point() and sum(size != 1 for size in tensor.shape) == 1:
        return "statistic"
    return "constant"


def _is_deterministic(node: torch.fx.Node) -> bool:
    return torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ())


def _evaluate(node: torch.fx.Node, value_of: Callable[[torch.fx.Node], Any]) -> Any:
    """The result of a node, given the values of the nodes that it reads."""
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
