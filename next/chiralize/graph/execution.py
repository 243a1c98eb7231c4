"""Running a captured graph op by op, so that a step can look at values in the middle of a network.

    values = start(captured, inputs)
    for node in captured.nodes:
        values[node.name] = evaluate(node, values)

Ops are run by their schema, so that arguments have names: {input: Ref("x")} becomes op(input=values["x"]).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from chiralize.errors import InternalError
from chiralize.graph.model import CapturedModel, Node, Ref, Where, overload

Values = dict[str, Any]
LIBRARY = re.compile(r"(^|/)(torch|chiralize|onnx_reading)/|^<")
"""Files whose lines are not the user's own: torch, layers of ours, modules of ONNX operators, code without a file."""
LOOKS = ("aten._local_scalar_dense.default", "aten.item.default", "aten.is_nonzero.default")
"""Ops that read a number out of a tensor."""
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in \S+')


RUN_AS: Mapping[Any, Any] = {
    torch.ops.aten.view.default: torch.ops.aten.reshape.default,
    torch.ops.aten._unsafe_view.default: torch.ops.aten.reshape.default,
    torch.ops.aten.copy.default: lambda old, new, *_: new.to(old.device, old.dtype).expand(old.shape),
    torch.ops.aten.detach.default: lambda value: value,
}
"""By op, what is run instead of it. `view` fails where values lie in memory otherwise than when the graph was made;
`copy`, which functional programs are left with, has no derivative, nor has `detach`, where a state leaves its step:
what runs a graph here asks how answers depend on weights, whatever training was to leave alone.
"""


def start(captured: CapturedModel, inputs: Sequence[torch.Tensor], weights: Mapping[str, Any] | None = None) -> Values:
    """Values of all leaves, by name: `inputs` and `weights` where they are given, else what the graph holds."""
    values: Values = {leaf.name: leaf.tensor.detach() for leaf in captured.leaves.values()}
    values.update(weights or {})
    # Without inputs there is nothing to pair: leaves then come by name, among the weights.
    values.update(zip(captured.inputs, inputs, strict=bool(inputs)))
    return values


def evaluate(node: Node, values: Mapping[str, Any]) -> Any:
    """The result of one op, given the values that it reads, by name."""
    if node.target == "getitem":
        return values[node.arguments["value"].name][node.arguments["index"]]
    op, keywords = overload(node.target), with_values(node.arguments, values.__getitem__)
    if op is None:
        raise InternalError(str(node.where), f"{node.target} is no operator of torch", "report this model")
    if node.draws_numbers:
        # The same numbers in every run, and none taken from the process's own generator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return op(**keywords)
    return called(op, keywords)


def called(op: Any, keywords: Mapping[str, Any]) -> Any:
    """The result of an op, or of what is run instead of it, for arguments in the order of its schema."""
    if op in RUN_AS:
        return RUN_AS[op](*keywords.values())
    return op(**keywords)


def with_values(arguments: Mapping[str, Any], value_of: Callable[[str], Any]) -> dict[str, Any]:
    """Arguments with what `value_of` gives for a name in the place of every reference, also within lists."""
    return {name: _filled(argument, value_of) for name, argument in arguments.items()}


def _filled(argument: Any, value_of: Callable[[str], Any]) -> Any:
    """One argument, or one entry of a list. Not a closure: one that calls itself would keep all values alive."""
    if isinstance(argument, Ref):
        return value_of(argument.name)
    if isinstance(argument, (list, tuple)):
        return [_filled(entry, value_of) for entry in argument]
    return argument


def last_readers(nodes: Sequence[Node], results: Iterable[str]) -> dict[str, list[str]]:
    """By node, the values that nobody reads after it; `results` are needed to the end and are left out."""
    last: dict[str, str] = {}
    for node in nodes:
        last |= dict.fromkeys(node.names_read, node.name)
    for name in results:
        last.pop(name, None)
    return by_reader(last)


def by_reader(last: Mapping[str, str]) -> dict[str, list[str]]:
    """By node, the values whose last reader it is. last: the last reader of every value."""
    freed: dict[str, list[str]] = {}
    for name, reader in last.items():
        freed.setdefault(reader, []).append(name)
    return freed


# ---- nodes of programs ----------------------------------------------------------------------------------------
def target_of(node: torch.fx.Node) -> str:
    """The name of the op that a node calls: `aten.add.Tensor`, `getitem`, or that of a Python function."""
    if node.target is operator.getitem:
        return "getitem"
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target)
    return getattr(node.target, "__name__", str(node.target))


def evaluated(node: torch.fx.Node, value_of: Callable[[torch.fx.Node], Any]) -> Any:
    """The result of a node of a program, given the values of the nodes that it reads."""
    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), value_of)
    return RUN_AS.get(node.target, node.target)(*args, **kwargs)  # type: ignore[operator, arg-type]


def where_of(node: torch.fx.Node) -> Where:
    """Where in the user's model a node of a program comes from: module path, and the innermost line of the user's
    own code.

    Frames in `torch` and in layers of ours are passed over.
    """
    stack = node.meta.get("nn_module_stack") or {}
    # From the outermost module to the innermost, as torch.export saw them called.
    paths = [path for path, _ in stack.values() if path]
    module, line = "", ""
    if paths:
        # torch.export calls the network itself `L__self__`.
        module = re.sub(r"^L__self__\.?", "", paths[-1])
    for file, number in _FRAME.findall(node.meta.get("stack_trace") or ""):
        if not LIBRARY.search(file):
            # Frames come from the outermost to the innermost: the last one of the user's stays.
            line = f"{Path(file).name}:{number}"
    return Where(module, line)


def arguments_of(node: torch.fx.Node) -> dict[str, Any]:
    """The arguments of a call that are given, by the names of its schema."""
    schema = node.target._schema  # type: ignore[union-attr]
    named = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False))
    return {**named, **node.kwargs}


def writes(node: torch.fx.Node) -> bool:
    """Whether an op's schema says that it writes to one of its arguments."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def number_of(size: Any) -> int | None:
    """A size of a tensor in a program as a number, None where it is open."""
    text = str(size)
    return int(text) if text.isdecimal() else None


def holds_tensor(value: Any) -> bool:
    """Whether an op's value is a tensor, or a list with one."""
    entries = value if isinstance(value, (tuple, list)) else [value]
    return any(isinstance(entry, torch.Tensor) for entry in entries)


def out_of_place(target: str) -> str:
    """The name of the op that returns what another one writes: of aten.relu_.default that of aten.relu; else as it is.

    >>> out_of_place("aten.relu_.default")
    'aten.relu.default'
    """
    namespace, _, rest = target.partition(".")
    name, _, variant = rest.partition(".")
    if variant and not name.endswith("__"):
        return f"{namespace}.{name.removesuffix('_')}.{variant}"
    return target
