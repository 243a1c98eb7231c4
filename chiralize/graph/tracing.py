"""Recording the ops that a module runs on examples, for modules that `torch.export` refuses.

`make_fx` lets the module run once and writes down each op, whatever Python or TorchScript decided on the way. So it
takes nearly anything, and promises little: the branch is the one taken, the sizes are those of the examples, tensors
have lost their names. This file mends the last two: it compares traces of several batches to find out whether the
batch may be open, and finds the name of every tensor by its memory.
The result is a graph module that `torch.export` then takes like any other.
"""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.graph import _PyTreeCodeGen, _PyTreeInfo
from torch.utils import _pytree as pytree

from chiralize.errors import CaptureError
from chiralize.errors.words import first_line
from chiralize.graph.fixed_sizes import Sizes, checked, placeholders
from chiralize.graph.holdings import Location, held_tensors
from chiralize.graph.isolation import Isolated
from chiralize.graph.model import Shape
from chiralize.graph.silence import quiet
from chiralize.graph.snapshot import Change, Snapshot, untouched
from chiralize.graph.staying import staying
from chiralize.graph.tensors import number_count

_BATCHES, _LARGE_BATCHES = (1, 2, 5), (8, 64, 512)
"""Sizes of the batch with which a trace is made again: one sample, two, and more; large ones where they are cheap."""
_MOST_NUMBERS, _MOST_WORK = 2**21, 2**36
"""What a large batch costs at most to be cheap: numbers in all arguments, and those times weights."""
_RECURRENT = tuple(f"aten.{name}" for name in ("lstm", "gru", "rnn", "_thnn", "quantized"))
# Ops by which Python reads a number out of a tensor.
LOOKS = ("aten._local_scalar_dense.default", "aten.item.default", "aten.is_nonzero.default")


def trace(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.fx.GraphModule:
    """A graph of the ops that `module` ran on the examples, its tensors under their names.

    For what export refuses: TorchScript, and Python code that looks at the data (the graph has the branch taken). It
    takes the sizes of the examples alone; other batches as well where traces of other batches are the same.
    Raises CaptureError where tracing fails.
    """
    leaves, structure = pytree.tree_flatten((tuple(args), dict(kwargs)))
    # Arguments that are single tensors keep their names; nested ones are recorded flat, and nested again at the end.
    is_nested = len(leaves) > len(args) + len(kwargs) or any(map(_is_container, (*args, *kwargs.values())))
    if is_nested:
        count, keywords = len(leaves), ()
    else:
        count, keywords = len(args), tuple(kwargs)
    try:
        traced = _recorded(module, leaves, structure)
        # Recurrent kernels check no size, nor does any Python code around them: equal traces would prove nothing.
        checks_sizes = not (isinstance(module, torch.jit.ScriptModule) and _holds_recurrent(traced))
        fixed = _fixed(module if checks_sizes else None, traced, leaves, structure)
        with quiet(), torch.no_grad():
            _fold_constants(traced)
            _name_arguments(traced, count, keywords)
    except Exception as error:
        raise CaptureError(
            type(module).__name__,
            f"the network cannot be traced: {first_line(error)}",
            "use --method average, which needs no graph",
        ) from error
    graph = checked(_renamed(traced, module), _names(module, count, keywords), fixed, "traced")
    if is_nested:
        return _taking(graph, args, kwargs)
    return graph


def _is_container(value: Any) -> bool:
    """Whether an argument may hold several tensors."""
    return isinstance(value, (tuple, list, dict))


def _taking(traced: torch.fx.GraphModule, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.fx.GraphModule:
    """A trace of single tensors that takes them nested, as the arguments are. Changed in place."""
    names = [*(f"argument_{position}" for position in range(len(args))), *kwargs]
    structure = pytree.tree_structure(((*args, *kwargs.values()), {}))
    traced.graph.set_codegen(_PyTreeCodeGen(_PyTreeInfo(names, structure, None)))
    traced.recompile()
    return traced


def _recorded(module: torch.nn.Module, leaves: Sequence[Any], structure: pytree.TreeSpec) -> torch.fx.GraphModule:
    """The ops of one call. The module is afterwards as it was before. leaves, structure: of its arguments."""

    def call(*values: Any) -> Any:
        """The module's answer to arguments of these leaves."""
        args, kwargs = pytree.tree_unflatten(list(values), structure)
        return module(*args, **kwargs)

    def call_and_store(*values: Any) -> Any:
        """The answer; attributes that forward replaced are written into the tensors that they replaced.

        A trace sees writes into a tensor, but not that another tensor takes its place.
        """
        answer = call(*values)
        # All are copied before any is written: one may be a view of what another write changes.
        stored = [(change.before, _held_at(module, change.location).clone()) for change in replaced]
        for old, new in stored:
            old.copy_(new)
        return answer

    with quiet(), staying(module), Isolated(), torch.no_grad():
        # A first call finds out which attributes forward replaces. The second, recorded one starts from the same
        # values.
        before = Snapshot.of(module)
        with untouched(module):
            call(*copy.deepcopy(leaves))
            replaced = [change for change in before.changes() if _is_replaced(module, change)]
        with untouched(module):
            record = make_fx(
                call_and_store, pre_dispatch=True, _error_on_data_dependent_ops=False, record_stack_traces=True
            )
            return record(*copy.deepcopy(leaves))


def _is_replaced(module: torch.nn.Module, change: Change) -> bool:
    """Whether forward put another tensor of the same size into an attribute."""
    # `_recorded` reads the attribute by its path, and copies the new numbers into the old tensor.
    if not (change.location.is_attribute and change.is_of_same_size):
        return False
    # It must be another object than before (a write in place is in the trace already), and really be what the
    # attribute holds.
    return change.now is _held_at(module, change.location) is not change.before


def _held_at(module: torch.nn.Module, location: Location) -> Any:
    """What a module holds at a location now."""
    return getattr(location.owner(module), location.name)


def _fixed(
    module: torch.nn.Module | None, traced: torch.fx.GraphModule, values: Sequence[Any], structure: pytree.TreeSpec
) -> list[Sizes | None]:
    """The sizes that every argument of a trace must have; None in place of the batch where any is fine.

    The trace is made again with batches of 1, 2, 5 and, where they are cheap, 8, 64 and 512 repeated rows. Only if all
    graphs are the same, down to every size that is written into them, is the leading axis taken for an open batch.
    A branch that only other batches take is not seen by this.
    module: to be traced again with other batches; None where that is of no use.  values, structure: its arguments.
    """
    sizes: list[Sizes | None] = [None] * len(values)
    for index, value in enumerate(values):
        if isinstance(value, torch.Tensor):
            sizes[index] = tuple(value.shape)
    # The batch is the leading size of the first tensor that has axes; others with another one stay fixed.
    rows = next((shape[0] for shape in sizes if shape), None)
    if module is None or rows is None:
        return sizes
    for other in (*_BATCHES, *_LARGE_BATCHES):
        if other == rows or (other in _LARGE_BATCHES and not _is_cheap(module, values, rows, other)):
            continue
        grown = [_resized(value, rows, other) for value in values]
        try:
            again = _recorded(module, grown, structure)
        except Exception:  # noqa: BLE001 - the network itself refuses such a batch
            return sizes
        if not _are_alike(again, traced):
            return sizes
    for index, shape in enumerate(sizes):
        if shape and shape[0] == rows:
            sizes[index] = (None, *shape[1:])
    return sizes


def _holds_recurrent(traced: torch.fx.GraphModule) -> bool:
    """Whether there are recurrent kernels, which check no size."""
    return any(target_of(node).startswith(_RECURRENT) for node in traced.graph.nodes if node.op == "call_function")


def _is_cheap(module: torch.nn.Module, values: Sequence[Any], rows: int, other: int) -> bool:
    """Whether a call with `other` rows in place of `rows` takes little memory and time. values: its arguments."""
    numbers = number_count(filter(torch.is_tensor, values)) * other // max(rows, 1)
    return numbers <= _MOST_NUMBERS and numbers * number_count(module.parameters()) <= _MOST_WORK


def _resized(value: Any, rows: int, other: int) -> Any:
    """A tensor of `rows` rows with `other` rows, its own repeated; any other argument as it is."""
    if not isinstance(value, torch.Tensor) or not value.ndim or len(value) != rows:
        return value
    return value.index_select(0, torch.arange(other, device=value.device) % max(rows, 1))


def _are_alike(one: torch.fx.GraphModule, other: torch.fx.GraphModule) -> bool:
    """Whether two traces have the same ops on the same constants, sizes that are written into them included."""
    # Text compares ops, arguments and names; constants have only a name there, so they are compared by value below.
    if str(one.graph) != str(other.graph):
        return False
    for node in one.graph.nodes:
        if node.op == "get_attr":
            get = operator.attrgetter(node.target)
            first, second = get(one), get(other)
            if not (first.equal(second) if isinstance(first, torch.Tensor) else first is second):
                return False
    return True


def _names(module: torch.nn.Module, count: int, keywords: Sequence[str]) -> list[str]:
    """The arguments' names in messages: those of forward, or numbers where it does not name so many."""
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # TorchScript has none
        parameters = ()
    names = [parameter.name for parameter in parameters if parameter.kind in kinds]
    if len(names) < count:
        names = list(map(str, range(count)))
    return [*names[:count], *keywords]


def _fold_constants(traced: torch.fx.GraphModule) -> None:
    """Replace, in place, what is computed from stored or written whole numbers alone by its result.

    Sizes may depend on such numbers (`one_hot` without a number of classes), which export refuses. If any of them is
    written to, nothing is folded: they are a state, such as a counter of steps.
    """
    # Nodes whose value is known without running the network, and that value.
    values: dict[torch.fx.Node, torch.Tensor] = {}
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            stored = operator.attrgetter(node.target)(traced)
            if isinstance(stored, torch.Tensor) and not (stored.is_floating_point() or stored.is_complex()):
                values[node] = stored
        elif isinstance(node.target, torch._ops.OpOverload) and not values.keys().isdisjoint(node.all_input_nodes):
            # A counter, or the like. `detach_` writes to nothing that counts.
            if node.target._schema.is_mutable and node.target is not torch.ops.aten.detach_.default:
                return
            random = torch.Tag.nondeterministic_seeded in node.target.tags
            if not random and values.keys() >= set(node.all_input_nodes):
                args, kwargs = torch.fx.map_arg((node.args, node.kwargs), values.__getitem__)
                value = node.target(*args, **kwargs)
                if isinstance(value, torch.Tensor):
                    values[node] = value
    # Only the last value of each folded chain becomes a buffer; those that folded values alone read are dead
    # afterwards.
    for number, (node, value) in enumerate(values.items()):
        if node.op == "call_function" and any(user not in values for user in node.users):
            traced.register_buffer(f"_folded_{number}", value)
            with traced.graph.inserting_before(node):
                node.replace_all_uses_with(traced.graph.get_attr(f"_folded_{number}"))
    traced.graph.eliminate_dead_code()


def _name_arguments(traced: torch.fx.GraphModule, count: int, names: Sequence[str]) -> None:
    """Name the arguments after the first `count`, in place. Raises ValueError where one holds several tensors."""
    for placeholder, name in zip(placeholders(traced)[count:], names, strict=True):
        placeholder.target = name


def _renamed(traced: torch.fx.GraphModule, module: torch.nn.Module) -> torch.fx.GraphModule:
    """The trace with its tensors, copied, under their names in the module; tracing names them by numbers."""
    _drop_decisions(traced.graph)
    # Names by memory. Those of `state_dict` win (they stand last in the union), then attributes whose location can be
    # a path.
    state = module.state_dict(keep_vars=True)  # quantised layers have packed weights and dtypes in theirs
    stored = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    held = {name: value for name, value in held_tensors(module).items() if name not in stored and _is_path(name)}
    known = {storage_of(tensor): name for name, tensor in (held | stored).items()}
    attributes: dict[str, str] = {}
    parameters = dict(module.named_parameters())
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            tensor = operator.attrgetter(node.target)(traced)
            name = known.get(storage_of(tensor)) if isinstance(tensor, torch.Tensor) else None
            if name:
                attributes[node.target] = name
                node.target = name
    # All of `state_dict` goes into the result, read or not; of the other tensors that the module holds, those read.
    root = torch.nn.Module()
    read = {name: tensor for name, tensor in held.items() if name in attributes.values()}
    for name, tensor in (stored | read).items():
        _register(root, name, tensor.detach().clone(), parameters.get(name))
    for node in traced.graph.nodes:
        # Tensors that the module does not hold, such as numbers that forward makes, keep the name of the trace.
        if node.op == "get_attr" and node.target not in attributes.values():
            _register(root, node.target, operator.attrgetter(node.target)(traced).detach().clone(), None)
    result = torch.fx.GraphModule(root, traced.graph, type(module).__name__)
    result.eval()
    return result


def _is_path(name: str) -> bool:
    """Whether a location is a plain path, such as `layers.0.weight`, and no entry of a list or dictionary in an
    attribute.
    """
    return all(part.isidentifier() or part.isdecimal() for part in name.split("."))


def _drop_decisions(graph: torch.fx.Graph) -> None:
    """Drop, in place, reads of numbers by which Python code chose a branch: the trace has that branch, and nothing else
    reads them.
    """
    for node in reversed(list(graph.nodes)):
        if target_of(node) in LOOKS and not node.users:
            graph.erase_node(node)
    graph.eliminate_dead_code()


def _register(root: torch.nn.Module, name: str, tensor: torch.Tensor, parameter: torch.nn.Parameter | None) -> None:
    """Put a tensor into a module, under a path, with the modules on the way made as needed.

    As a parameter where `parameter` is given, which says whether it is trained; else as a buffer.
    """
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
    """Where in memory a tensor lies, and how: equal for two tensors that are the same numbers."""
    return tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride())


def refuse_packed(module: torch.nn.Module) -> None:
    """Raises CaptureError where a layer holds quantised weights, which are packed into an object that is no tensor."""
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue
        if any(isinstance(value, torch.ScriptObject) for value in vars(part).values()):
            raise CaptureError(
                name.removesuffix("._packed_params"),
                "its weights are quantised and packed, which no graph can show",
                "convert the network before it is quantised, and quantise the result; --method average needs no graph",
            )


def dead_calls(graph: torch.fx.Graph) -> frozenset[str]:
    """Names of calls whose results nobody needs, such as the positions beside the largest values."""
    dead: set[str] = set()
    for node in reversed(list(graph.nodes)):
        # Checks of dtypes count as impure, and nobody needs them: sizes and dtypes are those of the examples.
        acts = node.is_impure() and node.target is not torch.ops.aten._assert_tensor_metadata.default
        if node.op == "call_function" and not acts and all(user.name in dead for user in node.users):
            dead.add(node.name)
    return frozenset(dead)


def target_of(node: torch.fx.Node) -> str:
    """The name of the op that a node calls: `aten.add.Tensor`, `getitem`, or that of a Python function."""
    if node.target is operator.getitem:
        return "getitem"
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target)
    return getattr(node.target, "__name__", str(node.target))


def holds_tensor(value: Any) -> bool:
    """Whether an op's value is a tensor, or a list with one."""
    entries = value if isinstance(value, (tuple, list)) else [value]
    return any(isinstance(entry, torch.Tensor) for entry in entries)
