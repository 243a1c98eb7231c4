"""TorchScript, as robots' policies come, and what `torch.export` refuses: the ops of one run become a graph module.

`torch.export` takes no scripts, nor modules that branch on a constant (`nn.TransformerEncoder` looks whether its mask
is causal). `make_fx` runs either on the examples and writes down each op: names of tensors are lost, and every size is
a number. So tensors get their names back by where they lie in memory, and an axis is open only where a run on twice
its size leaves the very same graph:

    linear(x, w, b)            the same for 2 and 4 samples: open
    view(x, [2, 51])           another graph for 4 samples: fixed

A branch on what depends on inputs, weights or states is refused: the graph has only the one that was taken.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from chiralize.errors import CaptureError
from chiralize.errors.words import first_line
from chiralize.graph.execution import LOOKS, target_of
from chiralize.graph.quiet import quiet
from chiralize.graph.run import Arguments, Call, apart, copied, resized, same

Buffers = list[tuple[nn.Module, str, Tensor]]


def traced(
    module: nn.Module, call: Call, axes: Sequence[Mapping[int, str]]
) -> tuple[torch.fx.GraphModule, list[dict[int, str]]]:
    """The graph of a module under the names of its tensors, and those of the open axes that it leaves open.

    Raises CaptureError for arguments that are no tensors, and where a branch depends on the data.
    """
    if not all(isinstance(value, Tensor) for value in (*call[0], *call[1].values())):
        facts = "the network is traced, which takes arguments that are tensors alone"
        raise CaptureError("the network", facts, "use --method average, which needs no graph")
    graph = _recorded(module, call)
    sizes: dict[str, int] = {}
    for tensor, words in zip(Arguments.of(*call).tensors, axes, strict=True):
        sizes.update((word, 2 * tensor.shape[axis]) for axis, word in words.items())
    still = {word for word, size in sizes.items() if _is_the_same(module, graph, resized(call, axes, {word: size}))}
    opened = [{axis: word for axis, word in words.items() if word in still} for words in axes]
    names = [node.target for node in graph.graph.find_nodes(op="placeholder")]
    for node, name in zip(graph.graph.find_nodes(op="placeholder"), _arguments(module, call, names), strict=True):
        node.target = name
    graph.recompile()
    return graph, opened


def _recorded(module: nn.Module, call: Call) -> torch.fx.GraphModule:
    """The ops of one call of a copy, with its tensors under their names. Raises CaptureError.

    A buffer that forward replaces (`self.h = h`) is written instead: a trace sees writes, and no assignments.
    """
    ours = copied(module)
    held: Buffers = [(part, *each) for part in ours.modules() for each in part.named_buffers(recurse=False)]

    def run(*tensors: Tensor) -> Any:
        """The answer, once all new states are copied: one may be a view of what another write changes."""
        args, kwargs = Arguments.of(*call).filled(tensors)
        answer = ours(*args, **kwargs)
        now = [getattr(part, name) for part, name, _ in held]
        new = [(old, value.clone()) for (_, _, old), value in zip(held, now, strict=True) if value is not old]
        for old, value in new:
            if value.data_ptr() != old.data_ptr():
                old.copy_(value)
        return answer

    before = [buffer.clone() for _, _, buffer in held]
    try:
        with quiet(), torch.no_grad(), torch.random.fork_rng(devices=[]):
            # The first call optimises a script; before that, numbers within it are tensors that cannot be traced.
            run(*Arguments.of(*apart(call)).tensors)
            states = [buffer for (_, _, buffer), numbers in zip(held, before, strict=True) if not same(buffer, numbers)]
            _put_back(held, before)
            record = make_fx(run, pre_dispatch=True, _error_on_data_dependent_ops=False, record_stack_traces=True)
            graph = record(*Arguments.of(*apart(call)).tensors)
            _put_back(held, before)
            _check_numbers(graph, {tensor.data_ptr() for tensor in (*states, *ours.parameters())})
    except Exception as error:
        facts = f"the network cannot be traced: {first_line(error)}"
        raise CaptureError("the network", facts, "use --method average, which needs no graph") from error
    return _named(graph, ours)


def _put_back(held: Buffers, before: Sequence[Tensor]) -> None:
    for (part, name, buffer), numbers in zip(held, before, strict=True):
        setattr(part, name, buffer)
        with torch.no_grad():
            buffer.copy_(numbers)


def _check_numbers(graph: torch.fx.GraphModule, learned: set[int]) -> None:
    """Drop reads of numbers that are always the same, in place.

    learned: weights and states, by memory.  Raises ValueError where a number is read from these or from inputs: a
    branch may depend on it, and the graph has only the one that was taken.
    """
    varying: set[torch.fx.Node] = set()
    for node in list(graph.graph.nodes):
        if node.op == "get_attr":
            depends = operator.attrgetter(node.target)(graph).data_ptr() in learned
        else:
            depends = node.op == "placeholder" or not varying.isdisjoint(node.all_input_nodes)
        if target_of(node) in LOOKS:
            if depends:
                raise ValueError("a number is read out of a tensor that depends on inputs, weights or states")
            if not node.users:
                graph.graph.erase_node(node)
        elif depends:
            varying.add(node)


def _is_the_same(module: nn.Module, graph: torch.fx.GraphModule, call: Call) -> bool:
    """Whether a network does the very same on other sizes: the same ops on the same numbers and constants."""
    try:
        other = _recorded(module, call)
    except CaptureError:  # it does not take these sizes
        return False
    if str(graph.graph) != str(other.graph):
        return False
    names = [str(node.target) for node in graph.graph.nodes if node.op == "get_attr"]
    return all(torch.equal(*(operator.attrgetter(name)(each) for each in (graph, other))) for name in names)


def _named(graph: torch.fx.GraphModule, module: nn.Module) -> torch.fx.GraphModule:
    """The graph with its tensors under the names that they have in the module."""
    stored = module.state_dict(keep_vars=True) | dict(module.named_buffers())
    names = {tensor.data_ptr(): name for name, tensor in stored.items() if tensor.numel()}
    root = nn.Module()
    learned = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name, tensor in stored.items():
        _register(root, name, tensor, name in learned)
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            tensor = operator.attrgetter(node.target)(graph)
            name = names.get(tensor.data_ptr())
            if name is None or stored[name].shape != tensor.shape:
                # What the module does not hold under a name, such as numbers that forward makes.
                _register(root, node.target, tensor, learned=False)
            else:
                node.target = name
    return torch.fx.GraphModule(root, graph.graph, type(module).__name__).eval()


def _arguments(module: nn.Module, call: Call, names: Sequence[str]) -> list[str]:
    """The names of a call's arguments, as forward has them. names: to be taken where it says none."""
    if isinstance(module, torch.jit.ScriptModule):
        taken = [argument.name for argument in module.forward.schema.arguments[1:]]  # type: ignore[attr-defined]
    else:
        taken = [*inspect.signature(module.forward).parameters]
    return [*(taken if len(taken) >= len(call[0]) else names)[: len(call[0])], *call[1]]


def _register(root: nn.Module, name: str, tensor: Tensor, learned: bool) -> None:
    """Put a tensor into a module, under a path. learned: a weight, which in a script is a plain tensor."""
    *path, last = name.split(".")
    for part in path:
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    if learned:
        root.register_parameter(last, nn.Parameter(tensor.detach(), tensor.requires_grad))
    else:
        root.register_buffer(last, tensor.detach())
