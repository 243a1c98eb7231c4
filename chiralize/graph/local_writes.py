"""In-place ops on values that nobody else holds, such as `relu_` of a sum, as the ops that return a new tensor.

A buffer that is written as a whole, as recurrent states are, is read from then on as what was written, and returned.
That is most of what networks write in place, and the same graph otherwise; `run_decompositions`, which takes any write
apart, traces the whole program twice more.

Whose memory a result is, is said by the op's schema. Ops that consist of others may return what they were given without
saying so (`dropout` in eval mode): of those only the ones in `_NEW` are known not to.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, OutputKind, OutputSpec, TensorArgument

from chiralize.graph.fixed_sizes import fixed_sizes

_COPY = torch.ops.aten.copy_.default
_NEW = {f"aten::{name}" for name in (
    "linear", "matmul", "conv1d", "conv2d", "conv3d", "conv1d.padding", "conv2d.padding", "conv3d.padding",
    "conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input", "batch_norm", "layer_norm", "group_norm",
    "instance_norm", "lstm.input", "gru.input", "rnn_tanh.input", "rnn_relu.input", "lstm_cell", "gru_cell",
    "rnn_tanh_cell", "rnn_relu_cell",
)}  # fmt: skip


def without_lone_writes(program: ExportedProgram) -> ExportedProgram:
    """The program with in-place ops on values of their own as their functional twins, under the names they had.

    The program itself where there are none, or others are left.
    """
    order = {node: place for place, node in enumerate(program.graph.nodes)}
    buffers = {name: name for name in _separate_buffers(program)}
    found: dict[str, Any] = {}
    stores: dict[str, str] = {}
    for node in order:
        if not writes(node):
            continue
        twin = _twin(node)
        buffer = buffers.get(str(node.args[0]))
        names = [own for own in order if buffer is not None and buffers.get(own.name) == buffer]
        if twin is None or not (_fills(node, order, names) if names else _is_alone(node, order, found)):
            return program
        found[node.name] = twin
        if buffer is not None:
            stores[node.name] = buffers[node.name] = buffer
    if not found:
        return program
    graph = torch.fx.Graph()
    copies: dict[torch.fx.Node, torch.fx.Node] = {}
    graph.output(graph.graph_copy(program.graph, copies))
    for node, copy in copies.items():
        copy.name = node.name  # a copy would not be called `input` or `range`, as Python's own functions are
    signature = _stored(graph, stores, program)
    for node in graph.nodes:
        node.target = found.get(node.name, node.target)
    return ExportedProgram(
        torch.fx.GraphModule(program.graph_module, graph), graph, signature, program.state_dict,
        program.range_constraints, program.module_call_graph, program.example_inputs, program.constants,
        verifiers=program.verifiers,
    )  # fmt: skip


def _separate_buffers(program: ExportedProgram) -> frozenset[str]:
    """Placeholders of buffers that share their memory with nothing else that is held."""
    signature = program.graph_signature
    if signature.buffers_to_mutate:
        return frozenset()
    held = {**program.state_dict, **program.constants}
    places = {name: own.untyped_storage().data_ptr() for name, own in held.items() if isinstance(own, torch.Tensor)}
    shared = Counter(places.values())
    return frozenset(
        name for name, target in signature.inputs_to_buffers.items() if shared.get(places.get(target, -1)) == 1
    )


def _fills(node: torch.fx.Node, order: Mapping[torch.fx.Node, int], names: Sequence[torch.fx.Node]) -> bool:
    """Whether an op writes the whole of a buffer, of which nothing is read any more as it was before.

    names: all that the buffer has been called so far; `torch.export` reads it by the last of them alone.
    """
    buffer, value = node.args[0], _written(node)
    assert isinstance(buffer, torch.fx.Node)
    sizes = fixed_sizes(buffer.meta["val"])
    views = _views(buffer, order, node)
    return (
        isinstance(value, torch.fx.Node) and value.op == "call_function" and value not in views
        and value.meta["val"].dtype == buffer.meta["val"].dtype
        and sizes is not None and None not in sizes and sizes == fixed_sizes(value.meta["val"])
        and all(order[user] < order[node] for view in views for user in view.users)
        and all(order[user] <= order[buffer] for name in names if name is not buffer for user in name.users)
    )  # fmt: skip


def _views(source: torch.fx.Node, order: Mapping[torch.fx.Node, int], write: torch.fx.Node) -> set[torch.fx.Node]:
    """What was made before a write and may lie in the memory of a value."""
    views: set[torch.fx.Node] = set()
    left = [source]
    while left:
        made = {user for user in left.pop().users if order[user] < order[write] and not _makes_new(user)} - views
        views |= made
        left += made
    return views


def _written(write: torch.fx.Node) -> Any:
    """The value that is in a buffer once an op has written all of it."""
    return write.args[1] if write.target is _COPY else write


def _stored(graph: torch.fx.Graph, stores: Mapping[str, str], program: ExportedProgram) -> ExportGraphSignature:
    """Reads of buffers from a write on as reads of what was written, which the graph returns; its signature."""
    signature = program.graph_signature
    nodes = {node.name: node for node in graph.nodes}
    order = {node: place for place, node in enumerate(graph.nodes)}
    last: dict[str, torch.fx.Node] = {}
    for name, target in stores.items():
        write, buffer = nodes[name], nodes[target]
        value = _written(write)
        assert isinstance(value, torch.fx.Node)
        buffer.replace_all_uses_with(value, lambda user, write=write: order[user] > order[write])
        last[signature.inputs_to_buffers[target]] = value
        if value is not write:
            write.replace_all_uses_with(value)
            graph.erase_node(write)
    output = graph.output_node()
    results = output.args[0]
    assert isinstance(results, (tuple, list))
    output.args = ((*last.values(), *results),)
    written = [OutputSpec(OutputKind.BUFFER_MUTATION, TensorArgument(own.name), name) for name, own in last.items()]
    own = [
        replace(spec, arg=TensorArgument(now.name)) if isinstance(now, torch.fx.Node) else spec
        for spec, now in zip(signature.output_specs, results, strict=True)
    ]
    return replace(signature, output_specs=[*written, *own])


def writes(node: torch.fx.Node) -> bool:
    """Whether an op says that it changes one of its arguments."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _twin(node: torch.fx.Node) -> Any:
    """The op that returns what an in-place op writes; None where there is none, or the two might differ."""
    target = node.target
    assert isinstance(target, torch._ops.OpOverload)
    schema, name = target._schema, target._opname.removesuffix("_")
    written = [place for place, own in enumerate(schema.arguments) if own.alias_info is not None]
    held = (own.meta.get("val") for own in node.all_input_nodes)
    types = {value.dtype for value in held if isinstance(value, torch.Tensor)}
    if written != [0] or name == target._opname or len(types) != 1 or not types.pop().is_floating_point:
        return None  # a result of another type would be rounded on being written
    twin = getattr(getattr(torch.ops.aten, name, None), target._overloadname, None)
    if twin is None or twin._schema.is_mutable or len(twin._schema.returns) != 1:
        return None
    names = [[own.name for own in op._schema.arguments] for op in (target, twin)]
    alike = names[0] == names[1] or (not node.kwargs and len(names[0]) == len(names[1]))
    return twin if alike else None


def _is_alone(node: torch.fx.Node, order: Mapping[torch.fx.Node, int], twins: Container[str]) -> bool:
    """Whether nothing sees the write but who reads its result. twins: ops before it that write no more."""
    source = node.args[0]
    if not isinstance(source, torch.fx.Node) or not node.users:
        return False
    maker = source.args[0] if source.target is operator.getitem else source
    return (
        isinstance(maker, torch.fx.Node)
        and (maker.name in twins or _makes_new(maker))
        and all(order[user] < order[node] and _makes_new(user) for user in source.users if user is not node)
    )


def _makes_new(node: torch.fx.Node) -> bool:
    """Whether the results of an op are memory of their own, and nothing that it was given is written."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return False
    if any(own.alias_info is not None for own in (*target._schema.arguments, *target._schema.returns)):
        return False
    consists_of_others = torch._C._dispatch_has_kernel_for_dispatch_key(target.name(), "CompositeImplicitAutograd")
    return not consists_of_others or target.name() in _NEW
