"""Recording what a module does on examples, for what `torch.export` refuses."""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from chiralize.errors import CaptureError, first_line
from chiralize.graph.fixed_sizes import Sizes, checked
from chiralize.graph.holdings import Place, held_tensors
from chiralize.graph.isolation import Isolated
from chiralize.graph.model import Shape
from chiralize.graph.silence import quiet
from chiralize.graph.snapshot import Snapshot, untouched

_BATCHES = (1, 2, 5)
_RECURRENT = tuple(f"aten.{name}" for name in ("lstm", "gru", "rnn", "_thnn", "quantized"))
LOOKS = ("aten._local_scalar_dense.default", "aten.item.default", "aten.is_nonzero.default")


def trace(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.fx.GraphModule:
    """A module without Python code that repeats what `module` did on the examples, its tensors under their names.

    For what export refuses: TorchScript, and Python code that looks at the data (the branch taken is kept). It takes
    the sizes of the examples alone; other batches as well where the traces of such examples say the same.
    Raises CaptureError where tracing fails.
    """
    count = len(args)
    try:
        traced = _recorded(module, args, kwargs)
        checks = not (
            isinstance(module, torch.jit.ScriptModule) and _holds_recurrent(traced)
        )  # else no more than a trace
        fixed = _fixed(module if checks else None, traced, args, kwargs)
        with quiet(), torch.no_grad():
            _fold_constants(traced)
            _name_arguments(traced, count, tuple(kwargs))
    except Exception as error:
        raise CaptureError(
            type(module).__name__,
            f"the network cannot be traced: {first_line(error)}",
            "use --method lift, which needs no graph",
        ) from error
    return checked(_renamed(traced, module), _names(module, count, tuple(kwargs)), fixed, "traced")


def _recorded(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.fx.GraphModule:
    """What one call does. The module is afterwards what it was before."""
    count = len(args)

    def call(*values: Any) -> Any:
        return module(*values[:count], **dict(zip(kwargs, values[count:], strict=True)))

    def call_and_store(*values: Any) -> Any:
        answer = call(*values)
        stored = [(own.before, _held_at(module, own.place).clone()) for own in replaced]
        for old, new in stored:  # a trace sees what is written to a tensor, not that another one takes its place
            old.copy_(new)
        return answer

    given = (*args, *kwargs.values())
    with quiet(), Isolated(), torch.no_grad():
        before = Snapshot.of(module)
        with untouched(module):
            call(*copy.deepcopy(given))
            changes = [own for own in before.changes() if own.place.is_attribute and own.is_of_same_size]
            replaced = [own for own in changes if own.now is _held_at(module, own.place) is not own.before]
        with untouched(module):
            return make_fx(
                call_and_store, pre_dispatch=True, _error_on_data_dependent_ops=False, record_stack_traces=True
            )(*copy.deepcopy(given))


def _held_at(module: torch.nn.Module, place: Place) -> Any:
    return getattr(place.owner(module), place.name)


def _fixed(
    module: torch.nn.Module | None, traced: torch.fx.GraphModule, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Sizes | None]:
    """The sizes that every argument of a trace must have: None in the place of the batch where it says nothing of it.

    module: what was traced; None where it is not to be traced again.
    """
    values = [*args, *kwargs.values()]
    sizes = [tuple(own.shape) if isinstance(own, torch.Tensor) else None for own in values]
    rows = next((own[0] for own in sizes if own), None)
    if module is None or rows is None:
        return [*sizes]
    for other in (own for own in _BATCHES if own != rows):
        grown = [_resized(own, rows, other) for own in values]
        try:
            again = _recorded(module, grown[: len(args)], dict(zip(kwargs, grown[len(args) :], strict=True)))
        except Exception:  # noqa: BLE001 - the network itself refuses such a batch
            return [*sizes]
        if not _says_the_same(again, traced):
            return [*sizes]
    return [(None, *own[1:]) if own and own[0] == rows else own for own in sizes]


def _holds_recurrent(traced: torch.fx.GraphModule) -> bool:
    """Whether there are kernels that look at no size."""
    return any(target_of(node).startswith(_RECURRENT) for node in traced.graph.nodes if node.op == "call_function")


def _resized(value: Any, rows: int, other: int) -> Any:
    """An argument with other rows, its own repeated, if it has as many as the first."""
    if not isinstance(value, torch.Tensor) or not value.ndim or len(value) != rows:
        return value
    return value.index_select(0, torch.arange(other, device=value.device) % max(rows, 1))


def _says_the_same(one: torch.fx.GraphModule, other: torch.fx.GraphModule) -> bool:
    """Whether two traces are the same ops on the same constants, sizes that are written into them included."""
    if str(one.graph) != str(other.graph):
        return False
    stored = [node.target for node in one.graph.nodes if node.op == "get_attr"]
    pairs = (tuple(operator.attrgetter(name)(own) for own in (one, other)) for name in stored)
    return all(a.equal(b) if isinstance(a, torch.Tensor) else a is b for a, b in pairs)


def _names(module: torch.nn.Module, count: int, keywords: Sequence[str]) -> list[str]:
    """What messages call the arguments."""
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    try:
        known = [own.name for own in inspect.signature(module.forward).parameters.values() if own.kind in kinds]
    except (TypeError, ValueError):  # TorchScript has none
        known = []
    return [*(known[:count] if len(known) >= count else map(str, range(count))), *keywords]


def _fold_constants(traced: torch.fx.GraphModule) -> None:
    """What is made of whole numbers that are written in the code or stored is computed beforehand.

    Its size may depend on them (`one_hot` without a number of classes), which export refuses. Nothing is where some of
    these numbers are written to: they are a state, such as a counter of steps.
    """
    values: dict[torch.fx.Node, torch.Tensor] = {}
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            stored = operator.attrgetter(node.target)(traced)
            if isinstance(stored, torch.Tensor) and not (stored.is_floating_point() or stored.is_complex()):
                values[node] = stored
        elif isinstance(node.target, torch._ops.OpOverload) and any(own in values for own in node.all_input_nodes):
            if node.target._schema.is_mutable and node.target is not torch.ops.aten.detach_.default:
                return
            random = torch.Tag.nondeterministic_seeded in node.target.tags
            if not random and all(own in values for own in node.all_input_nodes):
                args, kwargs = torch.fx.map_arg((node.args, node.kwargs), values.__getitem__)
                value = node.target(*args, **kwargs)
                if isinstance(value, torch.Tensor):
                    values[node] = value
    for number, (node, value) in enumerate(values.items()):
        if node.op == "call_function" and any(user not in values for user in node.users):
            traced.register_buffer(f"_folded_{number}", value)
            with traced.graph.inserting_before(node):
                node.replace_all_uses_with(traced.graph.get_attr(f"_folded_{number}"))
    traced.graph.eliminate_dead_code()


def _name_arguments(traced: torch.fx.GraphModule, count: int, names: Sequence[str]) -> None:
    """The arguments after the first `count` are called by name. Raises ValueError where one holds several tensors."""
    places = [node for node in traced.graph.nodes if node.op == "placeholder"]
    for place, name in zip(places[count:], names, strict=True):
        place.target = name


def _renamed(traced: torch.fx.GraphModule, module: torch.nn.Module) -> torch.fx.GraphModule:
    """Give the tensors that tracing closed over their names in the module."""
    _drop_decisions(traced.graph)
    state = module.state_dict(keep_vars=True)  # quantised layers have packed weights and dtypes in theirs
    stored = {name: own for name, own in state.items() if isinstance(own, torch.Tensor)}
    held = {name: own for name, own in held_tensors(module).items() if name not in stored and _is_path(name)}
    known = {storage_of(tensor): (name, tensor) for name, tensor in (held | stored).items()}
    attributes: dict[str, str] = {}
    parameters = dict(module.named_parameters())
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            tensor = operator.attrgetter(node.target)(traced)
            name = known.get(storage_of(tensor), (None,))[0] if isinstance(tensor, torch.Tensor) else None
            if name:
                attributes[node.target] = name
                node.target = name
    root = torch.nn.Module()
    read = {name: own for name, own in held.items() if name in attributes.values()}
    for name, tensor in (stored | read).items():
        _place(root, name, tensor.detach().clone(), parameters.get(name))
    for node in traced.graph.nodes:
        if node.op == "get_attr" and node.target not in attributes.values():
            _place(root, node.target, operator.attrgetter(node.target)(traced).detach().clone(), None)
    result = torch.fx.GraphModule(root, traced.graph, type(module).__name__)
    result.eval()
    return result


def _is_path(name: str) -> bool:
    return all(part.isidentifier() or part.isdecimal() for part in name.split("."))


def _drop_decisions(graph: torch.fx.Graph) -> None:
    """Numbers that Python code looked at and took a branch by; the branch is what was traced, nobody reads them."""
    for node in reversed(list(graph.nodes)):
        if target_of(node) in LOOKS and not node.users:
            graph.erase_node(node)
    graph.eliminate_dead_code()


def _place(root: torch.nn.Module, name: str, tensor: torch.Tensor, parameter: torch.nn.Parameter | None) -> None:
    *path, last = name.split(".")
    for part in path:
        if not hasattr(root, part):
            root.add_module(part, torch.nn.Module())
        root = getattr(root, part)
    if parameter is not None:
        root.register_parameter(last, torch.nn.Parameter(tensor, parameter.requires_grad))
    else:
        root.register_buffer(last, tensor)


def storage_of(tensor: torch.Tensor) -> tuple[int, Shape, tuple[int, ...]]:
    return tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride())


def refuse_packed(module: torch.nn.Module) -> None:
    """Raises CaptureError where a layer holds what is no tensor: quantised weights, packed."""
    for name, part in module.named_modules():
        if not isinstance(part, torch.jit.ScriptModule) and any(
            isinstance(own, torch.ScriptObject) for own in vars(part).values()
        ):
            raise CaptureError(
                name.removesuffix("._packed_params"), "its weights are quantised and packed, which no graph can show",
                "convert the network before it is quantised, and quantise the result; --method lift needs no graph",
            )  # fmt: skip


def dead_calls(graph: torch.fx.Graph) -> frozenset[str]:
    """Calls whose results nobody needs, such as the positions beside the largest values."""
    dead: set[str] = set()
    for node in reversed(list(graph.nodes)):
        keeps = node.is_impure() and node.target is not torch.ops.aten._assert_tensor_metadata.default
        if node.op == "call_function" and not keeps and all(user.name in dead for user in node.users):
            dead.add(node.name)
    return frozenset(dead)


def target_of(node: torch.fx.Node) -> str:
    if node.target is operator.getitem:
        return "getitem"
    return (
        str(node.target)
        if isinstance(node.target, torch._ops.OpOverload)
        else getattr(node.target, "__name__", str(node.target))
    )


def holds_tensor(value: Any) -> bool:
    """Whether an op's value is a tensor, or a list with one."""
    items = value if isinstance(value, (tuple, list)) else [value]
    return any(isinstance(item, torch.Tensor) for item in items)
