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
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx.experimental import _config as sizes
from torch.utils import _pytree as pytree

from chiralize.errors import CaptureError, ModelRunError, UnsupportedError, first_line
from chiralize.graph.execution import RUN_AS
from chiralize.graph.fixed_sizes import check_sizes, fixed_sizes
from chiralize.graph.frozen import tables_among
from chiralize.graph.isolation import Isolated
from chiralize.graph.local_writes import writes
from chiralize.graph.model import CapturedModel, Leaf, LeafKind, Node, Ref, Shape, Where
from chiralize.graph.silence import quiet
from chiralize.graph.snapshot import untouched
from chiralize.graph.tracing import LOOKS, dead_calls, holds_tensor, storage_of, target_of

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
_COPIES = {
    f"aten.{name}"
    for name in ("alias.default", "slice.Tensor", "expand.default", "view.default", "reshape.default", "clone.default",
                 "detach.default", "detach_.default", "_to_copy.default", "to.dtype", "to.device", "to.dtype_layout",
                 "contiguous.default", "lift_fresh_copy.default", "lift_fresh.default")
}  # fmt: skip
"""They change nothing where shape and type stay as they are."""
_LIBRARY = re.compile(r"(^|/)torch/|^<")


def read_graph(
    program: ExportedProgram,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    notes: Sequence[str] = (),
    tables: Container[str] = (),
    made: str = "exported",
) -> CapturedModel:
    """The graph of an exported program without in-place writes, specialised to the sizes of the example inputs.

    tables: keys of constants that are taken as weights, so that what is computed from them is not folded.
    made: how the program was, for messages about sizes.
    Raises ModelRunError where the program fails on them, CaptureError for graphs that depend on data.
    """
    return _Reader(program, tables, made).read(args, kwargs, notes)


def export(
    module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], dynamic: Any = None
) -> ExportedProgram:
    """`torch.export` without its dump on stderr. Raises CaptureError with the first line of its message.

    dynamic: (args, kwargs) with the open axes in the place of every tensor.
    """
    try:
        if dynamic is not None:
            dynamic = dict(inspect.signature(module.forward).bind(*dynamic[0], **dynamic[1]).arguments)
        oblivious = sizes.patch(backed_size_oblivious=True)  # pyright: ignore[reportAttributeAccessIssue]
        with untouched(module), _writing_what_is_assigned(module), quiet(), oblivious:
            program = torch.export.export(module, tuple(args), dict(kwargs), dynamic_shapes=dynamic, strict=False)
    except Exception as error:
        raise CaptureError(
            type(module).__name__,
            f"torch.export cannot capture the network: {first_line(error)}",
            "remove control flow that depends on the data, or use --method lift, which needs no graph",
        ) from error
    made = [node for node in program.graph.nodes if node.target is torch.ops.aten.detach_.default]
    for node in made:  # of tensors that forward makes of numbers: no write that changes anything
        node.target = torch.ops.aten.detach.default
    if _name_unnamed(program) or made:
        program.graph_module.recompile()
    return program


@contextmanager
def _writing_what_is_assigned(module: torch.nn.Module) -> Iterator[None]:
    """Within, what forward puts in the place of a submodule's buffer (`self.h = h`) is written into that at the end.

    torch.export sees such assignments on the outermost module alone, and forgets all others without a word.
    """
    before: list[tuple[dict[str, torch.Tensor | None], str, torch.Tensor]] = []

    def remember(*_: Any) -> None:
        inner = [own._buffers for own in module.modules() if own is not module]
        before[:] = [(table, name, own) for table in inner for name, own in table.items() if own is not None]

    def write(*_: Any) -> None:
        held = {id(own) for _, _, own in before}
        found: list[tuple[dict[str, torch.Tensor | None], str, torch.Tensor, torch.Tensor]] = []
        for table, name, own in before:
            now = table.get(name)
            if now is not None and now is not own and (now.shape, now.dtype) == (own.shape, own.dtype):
                made_of_others = now._is_view() or id(now) in held  # which may be written below
                found.append((table, name, own, now.clone() if made_of_others else now))
        for table, name, own, now in found:
            table[name] = own.copy_(now)

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
    """Raises CaptureError where a part of the network is called like one of PyTorch's graphs, which takes its place."""
    taken = {*dir(torch.fx.GraphModule(torch.nn.Module(), torch.fx.Graph())), "_in_spec", "_out_spec"}
    held = {name for name, value in vars(module).items() if isinstance(value, torch.Tensor)}
    for own in (module.named_children(), module.named_parameters(recurse=False), module.named_buffers(recurse=False)):
        held.update(name for name, _ in own)
    if isinstance(module, torch.fx.GraphModule) or held.isdisjoint(taken):
        return
    name = min(held & taken)
    raise CaptureError(
        f"the network's attribute {name!r}",
        "PyTorch's graphs have an attribute of this name themselves, which a part of the network cannot replace",
        f"rename it ({name}_), or use --method lift, which needs no graph",
    )


def _name_unnamed(program: ExportedProgram) -> bool:
    """Have what forward reads through a list, say, and the module also holds by name, read by name alone."""
    nodes = {node.name: node for node in program.graph.nodes}
    known: dict[tuple[int, Shape, tuple[int, ...]], torch.fx.Node] = {}
    merged = []
    for spec in sorted(program.graph_signature.input_specs, key=lambda own: own.kind == InputKind.CONSTANT_TENSOR):
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
    """Walks an exported graph once, with values, and writes down what the other steps need."""

    def __init__(self, program: ExportedProgram, tables: Container[str], made: str) -> None:
        self.program, self.tables, self.made = program, tables, made
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
        mutated = {
            spec.target for spec in self.program.graph_signature.output_specs if spec.kind == OutputKind.BUFFER_MUTATION
        }
        self.frozen = _tables(self.program)
        seen: dict[tuple[int, Shape, tuple[int, ...]], str] = {}
        for spec in self.program.graph_signature.input_specs:
            name = spec.arg.name
            if spec.kind == InputKind.USER_INPUT:
                self._read_input(name, next(supplied))
                continue
            tensor = self._stored(spec.target or "")
            place = storage_of(tensor)
            if place in seen and tensor.numel():
                first = seen[place]
                self.aliases[name] = first
                leaf = self.leaves[first]
                self.leaves[first] = replace(leaf, names=(*leaf.names, spec.target or ""))
                self.values[name] = tensor
                if leaf.kind != "constant":
                    self.varying.add(name)
                continue
            seen[place] = name
            kind = _kind(spec.kind, tensor, spec.target in mutated, spec.target in self.frozen)
            kind = "statistic" if (spec.target or name) in self.tables else kind
            sources = (spec.target or name,) if tensor.is_floating_point() else ()
            self._add_leaf(
                Leaf(name, kind, (spec.target or name,), tensor, sources=sources, frozen=self._frozen(sources))
            )

    def _read_input(self, name: str, value: Any) -> None:
        self.values[name] = value
        if isinstance(value, torch.Tensor):
            check_sizes(value, name, self.fixed.get(name), self.made)
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
        raise UnsupportedError(target, "the graph uses an object that is no tensor", "use --method lift")

    # ---- ops ----------------------------------------------------------------------------------------------
    def _read_op(self, node: torch.fx.Node) -> None:
        inputs = [argument.name for argument in node.all_input_nodes]
        if writes(node):
            raise CaptureError(
                str(where_of(node)), f"{target_of(node)} writes in place and could not be made functional",
                "write the operation without an in-place update",
            )  # fmt: skip
        try:
            args = torch.fx.map_arg(node.args, lambda other: self.values[other.name])
            kwargs = torch.fx.map_arg(node.kwargs, lambda other: self.values[other.name])
            value = RUN_AS.get(node.target, node.target)(*args, **kwargs)  # type: ignore[operator, arg-type]
        except Exception as error:
            raise ModelRunError(
                str(where_of(node)), f"{target_of(node)} fails on the examples: {first_line(error)}",
                "give --input-shape or --example with sizes that the network takes",
            ) from error  # fmt: skip
        self.values[node.name] = value
        depends = any(name in self.varying for name in inputs)
        if not holds_tensor(value):
            self._check_number(node, depends)
            return
        if not depends and _is_deterministic(node):
            if isinstance(value, torch.Tensor) and not self._is_unchanged(node, value, inputs):
                made_of = [self.leaves[name] for name in map(self._alias, inputs) if name in self.leaves]
                of = tuple(dict.fromkeys(key for leaf in made_of for key in leaf.sources))
                whole = self._whole(node)
                frozen = self._frozen(of)
                self._add_leaf(
                    Leaf(node.name, "constant", (node.name,), value, where_of(node), None, False, of, whole, frozen)
                )
            return
        self.varying.add(node.name)
        self.nodes.append(self._record(node, value))

    def _whole(self, node: torch.fx.Node) -> torch.Tensor | None:
        """A constant as if no open size had cut it, or what it is made from; None where none has, or nobody knows."""

        def uncut(other: torch.fx.Node) -> Any:
            return self.wholes.get(other.name, self.values[other.name])

        source, *numbers = node.all_input_nodes or [None]
        if node.target is torch.ops.aten.slice.Tensor and source is not None and numbers:
            self.wholes[node.name] = uncut(source)
        elif any(other.name in self.wholes for other in node.all_input_nodes):
            with suppress(Exception):  # of other sizes it cannot be computed
                args, kwargs = torch.fx.map_arg((node.args, node.kwargs), uncut)
                self.wholes[node.name] = RUN_AS.get(node.target, node.target)(*args, **kwargs)  # type: ignore[operator, arg-type]
        found = self.wholes.get(node.name)
        return found if isinstance(found, torch.Tensor) and found.shape != self.values[node.name].shape else None

    def _is_unchanged(self, node: torch.fx.Node, value: torch.Tensor, inputs: list[str]) -> bool:
        """Whether a value is the very constant that it is made from, such as a table cut to its own length.

        From then on it goes by that one's name, which the user knows.
        """
        source = self.leaves.get(self._alias(inputs[0])) if inputs else None
        if source is None or target_of(node) not in _COPIES:
            return False
        if source.tensor.shape != value.shape or source.tensor.dtype != value.dtype:
            return False
        self.aliases[node.name] = source.name
        return True

    def _check_number(self, node: torch.fx.Node, depends: bool) -> None:
        if depends and target_of(node) in LOOKS:
            raise CaptureError(
                str(where_of(node)), "a number is read out of a tensor that depends on the input",
                "replace it by tensor operations, or use --method lift",
            )  # fmt: skip

    def _record(self, node: torch.fx.Node, value: Any) -> Node:
        target = target_of(node)
        outputs = value if isinstance(value, (tuple, list)) else (value,)
        shapes = tuple(tuple(item.shape) if isinstance(item, torch.Tensor) else None for item in outputs)
        dtypes = tuple(item.dtype if isinstance(item, torch.Tensor) else None for item in outputs)
        read = frozenset(_position(user) for user in node.users if user.name not in self.dead)
        if target == "getitem":
            source = node.args[0]
            assert isinstance(source, torch.fx.Node)
            arguments: dict[str, Any] = {"value": Ref(self._alias(source.name)), "index": node.args[1]}
        else:
            arguments = self._arguments(node)
        return Node(node.name, target, arguments, shapes, read, where_of(node), None, dtypes)

    def _arguments(self, node: torch.fx.Node) -> dict[str, Any]:
        """Arguments by schema name, defaults included."""

        def plain(other: torch.fx.Node) -> Any:
            value = self.values.get(other.name)
            return value if isinstance(value, (int, float, bool)) else Ref(self._alias(other.name))

        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), plain)
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            return {str(place): value for place, value in enumerate(args)} | dict(kwargs)
        out: dict[str, Any] = {}
        for place, argument in enumerate(schema.arguments):
            if place < len(args):
                out[argument.name] = args[place]
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
        """Weights and constants that nothing reads (another method's) are no part of the graph."""
        used = {ref.name for node in self.nodes for ref in node.reads} | results
        self.leaves = {name: leaf for name, leaf in self.leaves.items() if leaf.kind == "input" or name in used}

    def _name_where(self) -> None:
        """Leaves are placed where they are first read."""
        for node in reversed(self.nodes):
            for ref in node.reads:
                if ref.name in self.leaves:
                    self.leaves[ref.name] = replace(self.leaves[ref.name], where=node.where)


def where_of(node: torch.fx.Node) -> Where:
    """Module path and the innermost line of the user's own code."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [(file, line) for file, line, _ in frames if not _LIBRARY.search(file)]
    line = f"{Path(own[-1][0]).name}:{own[-1][1]}" if own else ""
    return Where(re.sub(r"^L__self__\.?", "", paths[-1]) if paths else "", line)


def _tables(program: ExportedProgram) -> frozenset[str]:
    """Parameters that are constants, by their keys."""
    names = [spec.target for spec in program.graph_signature.input_specs if spec.kind == InputKind.PARAMETER]
    return tables_among({name: program.state_dict[name] for name in names if name and name in program.state_dict})


def _kind(kind: InputKind, tensor: torch.Tensor, mutated: bool, table: bool) -> LeafKind:
    if kind == InputKind.PARAMETER:
        return "constant" if table else "parameter"
    if mutated:
        return "state"
    if kind == InputKind.BUFFER and tensor.is_floating_point() and sum(size != 1 for size in tensor.shape) == 1:
        return "statistic"
    return "constant"


def _is_deterministic(node: torch.fx.Node) -> bool:
    return torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ())


def _position(user: torch.fx.Node) -> int:
    """Which output of an op a reader takes."""
    place = user.args[1] if user.target is operator.getitem else 0
    assert isinstance(place, int)
    return place


def _last_uses(nodes: Any) -> dict[str, list[str]]:
    """For every node the values that nobody needs after it."""
    last: dict[str, str] = {}
    for node in nodes:
        for other in node.all_input_nodes:
            last[other.name] = node.name
    out: dict[str, list[str]] = {}
    for name, user in last.items():
        out.setdefault(user, []).append(name)
    return out


def _flat_inputs(program: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The user's arguments in the order of the graph's inputs. Raises ModelRunError for another structure."""
    flat, spec = pytree.tree_flatten((tuple(args), dict(kwargs)))
    if program.call_spec.in_spec is not None and len(flat) != program.call_spec.in_spec.num_leaves:
        raise ModelRunError(
            "example inputs", f"{len(flat)} given, the network takes {program.call_spec.in_spec.num_leaves}",
            "give one example for every argument",
        )  # fmt: skip
    return [value.detach().clone() if isinstance(value, torch.Tensor) else value for value in flat]
