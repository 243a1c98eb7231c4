"""In-place ops on values that nothing else sees, such as `relu_` of a sum, replaced by ops that return a new tensor.

    y = x + 1;  y.relu_();  return y * 2         ->    y = x + 1;  z = y.relu();  return z * 2
    self.h.copy_(g);  return self.h + x          ->    return g + x, and the new h is g

A write of a whole buffer, as of recurrent states, is replaced too: reads after it read the value that was written,
and the graph returns it. Most writes of networks are of these two kinds, and the rest of the graph stays as it is;
`run_decompositions`, which can replace any write, traces the whole program twice more. So `functionalize` asks here
first.

The schema of an op says whether a result shares memory with an argument. Ops that consist of others may return an
argument itself without saying so (`dropout` in eval mode): of those only the ones in `_NEW` are known not to.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, OutputKind, OutputSpec, TensorArgument

from chiralize.graph.fixed_sizes import fixed_sizes

_COPY = torch.ops.aten.copy_.default
# Composite ops that always return memory of their own.
_NEW = frozenset(
    """aten::linear aten::matmul aten::conv1d aten::conv2d aten::conv3d aten::conv1d.padding aten::conv2d.padding
    aten::conv3d.padding aten::conv_transpose1d aten::conv_transpose2d.input aten::conv_transpose3d.input
    aten::batch_norm aten::layer_norm aten::group_norm aten::instance_norm aten::lstm.input aten::gru.input
    aten::rnn_tanh.input aten::rnn_relu.input aten::lstm_cell aten::gru_cell aten::rnn_tanh_cell
    aten::rnn_relu_cell""".split()
)


def without_lone_writes(program: ExportedProgram) -> ExportedProgram:
    """The program with each in-place op replaced by its functional twin, under the name that it had.

    The program itself where it writes nothing in place, or where any of its writes cannot be replaced.
    """
    order = {node: position for position, node in enumerate(program.graph.nodes)}
    # Nodes that stand for a buffer, and that buffer: its placeholder, and later each write to it.
    buffers = {name: name for name in _separate_buffers(program)}
    # twins: by write, the op that takes its place.  stores: writes to buffers.
    twins: dict[str, Any] = {}
    stores: dict[str, str] = {}
    for node in order:
        if not writes(node):
            continue
        twin = _twin(node)
        # All or none: with one write left `run_decompositions` has to run anyway.
        if twin is None:
            return program
        buffer = buffers.get(str(node.args[0]))
        names: list[torch.fx.Node] = []
        if buffer is not None:
            names = [other for other in order if buffers.get(other.name) == buffer]
        if names:
            replaceable = _fills(node, order, names)
        else:
            replaceable = _is_unseen(node, order, twins)
        if not replaceable:
            return program
        twins[node.name] = twin
        if buffer is not None:
            stores[node.name] = buffers[node.name] = buffer
    if not twins:
        return program
    # The caller's program stays as it was.
    graph, _ = copied_graph(program)
    signature = _stored(graph, stores, program)
    for node in graph.nodes:
        node.target = twins.get(node.name, node.target)
    return with_graph(program, graph, signature)


def copied_graph(program: ExportedProgram) -> tuple[torch.fx.Graph, dict[torch.fx.Node, torch.fx.Node]]:
    """A copy of a program's graph, its nodes under the same names; and the copies by the nodes that they are of."""
    graph = torch.fx.Graph()
    copies: dict[torch.fx.Node, torch.fx.Node] = {}
    graph.output(graph.graph_copy(program.graph, copies))
    for node, copy in copies.items():
        copy.name = node.name  # fx would rename a copy of `input` or `range`, which are Python's own functions
    return graph, copies


def with_graph(program: ExportedProgram, graph: torch.fx.Graph, signature: ExportGraphSignature) -> ExportedProgram:
    """The program with another graph and signature, on the same weights."""
    module = torch.fx.GraphModule(program.graph_module, graph)
    weights, ranges, calls = program.state_dict, program.range_constraints, program.module_call_graph
    rest = (program.example_inputs, program.constants)
    return ExportedProgram(module, graph, signature, weights, ranges, calls, *rest, verifiers=program.verifiers)


def _separate_buffers(program: ExportedProgram) -> frozenset[str]:
    """Placeholders of buffers that share their memory with no other parameter, buffer or constant."""
    signature = program.graph_signature
    # Its graph returns the new values of buffers already.
    if signature.buffers_to_mutate:
        return frozenset()
    held = {**program.state_dict, **program.constants}
    addresses = {name: value.untyped_storage().data_ptr() for name, value in held.items() if isinstance(value, Tensor)}
    # A write to memory that a second name shares would be seen under that name too.
    holders = Counter(addresses.values())
    return frozenset(
        name for name, target in signature.inputs_to_buffers.items() if holders.get(addresses.get(target, -1)) == 1
    )


def _fills(node: torch.fx.Node, order: Mapping[torch.fx.Node, int], names: Sequence[torch.fx.Node]) -> bool:
    """Whether an op writes the whole of a buffer, and nothing reads the buffer's old content after it.

    names: all nodes that have stood for the buffer so far; `torch.export` reads it by the last of them alone.
    Then the written value itself can stand for the buffer from here on. That needs: a value of the buffer's own
    sizes and type (else the write would expand or round it), which is no view of the buffer, and no view of the old
    content that is read later.
    """
    buffer, value = node.args[0], _written(node)
    assert isinstance(buffer, torch.fx.Node)
    sizes = fixed_sizes(buffer.meta["val"])
    views = _views(buffer, order, node)
    if not isinstance(value, torch.fx.Node) or value.op != "call_function" or value in views:
        return False
    if value.meta["val"].dtype != buffer.meta["val"].dtype:
        return False
    if sizes is None or None in sizes or sizes != fixed_sizes(value.meta["val"]):
        return False
    # A view made before the write and read after it sees the new content through shared memory.
    if any(order[user] >= order[node] for view in views for user in view.users):
        return False
    # A read by an older name behind the last write would get what that name was replaced by, not the present content.
    older = [name for name in names if name is not buffer]
    return all(order[user] <= order[buffer] for name in older for user in name.users)


def _views(source: torch.fx.Node, order: Mapping[torch.fx.Node, int], write: torch.fx.Node) -> set[torch.fx.Node]:
    """Nodes before a write whose results may lie in the memory of a value, directly or through other views."""
    views: set[torch.fx.Node] = set()
    waiting = [source]
    while waiting:
        readers = {user for user in waiting.pop().users if order[user] < order[write] and not _makes_new(user)}
        waiting += readers - views
        views |= readers
    return views


def _written(write: torch.fx.Node) -> Any:
    """The value that is in a buffer once an op has written all of it."""
    if write.target is _COPY:
        return write.args[1]
    return write


def _stored(graph: torch.fx.Graph, stores: Mapping[str, str], program: ExportedProgram) -> ExportGraphSignature:
    """Make reads of a buffer after a write read the written value, and have the graph return that; its new signature.

    stores: by write, the buffer that it fills.
    """
    signature = program.graph_signature
    nodes = {node.name: node for node in graph.nodes}
    order = {node: position for position, node in enumerate(graph.nodes)}
    # By buffer, under its key in the module, the value that it is left with.
    last: dict[str, torch.fx.Node] = {}
    for name, target in stores.items():
        write, buffer = nodes[name], nodes[target]
        value = _written(write)
        assert isinstance(value, torch.fx.Node)
        # Reads before the write keep the buffer, those behind it get the value.
        buffer.replace_all_uses_with(value, lambda user, write=write: order[user] > order[write])
        last[signature.inputs_to_buffers[target]] = value
        # A `copy_` computes nothing itself, and goes; any other write becomes its twin and stays.
        if value is not write:
            write.replace_all_uses_with(value)
            graph.erase_node(write)
    output = graph.output_node()
    results = output.args[0]
    assert isinstance(results, (tuple, list))
    # The signature has buffer mutations before the results.
    output.args = ((*last.values(), *results),)
    written = [OutputSpec(OutputKind.BUFFER_MUTATION, TensorArgument(value.name), name) for name, value in last.items()]
    return replace(signature, output_specs=[*written, *specs_of(results, signature)])


def specs_of(results: Sequence[Any], signature: ExportGraphSignature) -> list[OutputSpec]:
    """The signature's specifications of the results, with the names that the results have now."""
    specs = list(signature.output_specs)
    for index, (spec, result) in enumerate(zip(specs, results, strict=True)):
        if isinstance(result, torch.fx.Node):
            specs[index] = replace(spec, arg=TensorArgument(result.name))
    return specs


def writes(node: torch.fx.Node) -> bool:
    """Whether an op's schema says that it writes to one of its arguments."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _twin(node: torch.fx.Node) -> Any:
    """The op that returns what an in-place op writes; None where torch has none, or the two might differ."""
    target = node.target
    assert isinstance(target, torch._ops.OpOverload)
    arguments, name = target._schema.arguments, target._opname.removesuffix("_")
    written = [index for index, argument in enumerate(arguments) if argument.alias_info is not None]
    values = (source.meta.get("val") for source in node.all_input_nodes)
    types = {value.dtype for value in values if isinstance(value, Tensor)}
    # Written is the first argument alone, the name ends in an underscore, and all tensors are of one floating-point
    # type: a result of another type would be rounded on being written.
    if written != [0] or name == target._opname or len(types) != 1 or not types.pop().is_floating_point:
        return None
    twin = getattr(getattr(torch.ops.aten, name, None), target._overloadname, None)
    if twin is None or twin._schema.is_mutable or len(twin._schema.returns) != 1:
        return None
    names = [argument.name for argument in arguments]
    twin_names = [argument.name for argument in twin._schema.arguments]
    # Keyword arguments keep their meaning only under the same names.
    alike = names == twin_names or (not node.kwargs and len(names) == len(twin_names))
    if not alike:
        return None
    return twin


def _is_unseen(node: torch.fx.Node, order: Mapping[torch.fx.Node, int], twins: Container[str]) -> bool:
    """Whether only readers of the op's result see its write. twins: earlier writes that are to be replaced.

    The written value has to be new memory, and whoever else reads it must do so before the write and keep no view of
    it.
    """
    source = node.args[0]
    if not isinstance(source, torch.fx.Node) or not node.users:
        return False
    # Of one of several results the op that gave them counts.
    maker = source.args[0] if source.target is operator.getitem else source
    return (
        isinstance(maker, torch.fx.Node)
        and (maker.name in twins or _makes_new(maker))
        and all(order[user] < order[node] and _makes_new(user) for user in source.users if user is not node)
    )


def _makes_new(node: torch.fx.Node) -> bool:
    """Whether an op returns memory of its own, and writes to none of its arguments."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return False
    values = (*target._schema.arguments, *target._schema.returns)
    if any(value.alias_info is not None for value in values):
        return False
    consists_of_others = torch._C._dispatch_has_kernel_for_dispatch_key(target.name(), "CompositeImplicitAutograd")
    return not consists_of_others or target.name() in _NEW
