"""A module becomes an exported program: plain `torch.export`, with its batch and its frames open where torch can.

Sizes are opened by `Dim.AUTO`: torch leaves an axis open unless the network fixes it. What is open is checked three
times: torch's own guards stay in the program, its answers are compared with the module's at other sizes, and
`open_sizes` looks at whatever the network holds for other sizes. An axis that fails is closed, with a note; so of

    forward(x): ... + self.table[len(x) - 4]            # x: "t j d", 4 frames in the examples

comes a program for 4 frames alone.
"""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from chiralize.errors import CaptureError, Finding, ModelRunError
from chiralize.errors.words import first_line, listed
from chiralize.graph.capture import read
from chiralize.graph.devices import CPU, Staying, device_of
from chiralize.graph.execution import LIBRARY, number_of
from chiralize.graph.quiet import quiet
from chiralize.graph.run import Arguments, Call, Runner, resized, tensors_in
from chiralize.graph.script import traced
from chiralize.graph.writes import EVERY_OP, functional

_BATCH = "b"
_ROUNDING = 1e-4
"""Largest difference, relative to the largest answer, that counts as rounding: kernels of other sizes add up in another
order; float32 networks of the zoo stay below 3e-6."""


def export(
    module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], open_axes: Sequence[Mapping[int, str]]
) -> tuple[ExportedProgram, tuple[Finding, ...]]:
    """The module as a program, and what a user should know of it. The module is never written to.

    open_axes: of every tensor among the arguments, the axes that may have other sizes, with their words; axes of one
    word have one size, `b` is the batch.
    Raises CaptureError with torch's first line, and the user's line.
    """
    call: Call = tuple(args), dict(kwargs)
    source, left_open = module, open_axes
    if isinstance(module, torch.jit.ScriptModule):
        source, left_open = traced(module, call, open_axes)
    _check_names(source)
    words, findings = _sizes(call, left_open).keys(), list[Finding]()
    while True:
        axes = [{axis: word for axis, word in each.items() if word in words} for each in left_open]
        try:
            program = functional(_exported(source, _widened(call, axes), axes), EVERY_OP)
            still = _open(program, axes)
            narrow = _check(module, program, call, still)
            noted = {*_sizes(call, left_open)} - {*words}
            fixed = [word for word in _sizes(call, open_axes) if word not in {*_sizes(call, still), *noted}]
            if fixed or narrow:
                findings.append(_closed([*fixed, *narrow], call, open_axes, "the network, or torch.export, fixes it"))
            return program, (*findings, *_fixed_arguments(module, call))
        except (CaptureError, ModelRunError) as error:
            if not words:
                if source is not module:
                    raise
                # Perhaps it branches on a constant.
                with suppress(CaptureError):
                    source, left_open = traced(module, call, open_axes)
                    words, findings = _sizes(call, left_open).keys(), []
                    continue
                raise
            # The batch is closed last.
            closed = [word for word in words if word != _BATCH] or [*words]
            words = [word for word in words if word not in closed]
            findings.append(_closed(closed, call, open_axes, error.facts))


def _closed(words: Sequence[str], call: Call, open_axes: Sequence[Mapping[int, str]], reason: str) -> Finding:
    """The note that axes are closed, with their sizes and the reason."""
    text = ", ".join(f"{word} = {size}" for word, size in _sizes(call, open_axes).items() if word in words)
    facts = f"the graph takes {text} alone, as the examples: {reason}"
    return Finding("capture", "note", facts, "give examples of the sizes in use")


def _fixed_arguments(module: nn.Module, call: Call) -> Iterator[Finding]:
    """A note on arguments that are no tensors: the graph has them at the examples' values."""
    try:
        bound = inspect.signature(module.forward).bind(*call[0], **call[1]).arguments
    except (TypeError, ValueError):  # a forward whose signature cannot be read
        bound = {"args": call[0], **call[1]}
    leaves = pytree.tree_flatten_with_path(dict(bound))[0]
    fixed = [f"{_path(path)}={value!r}" for path, value in leaves if not isinstance(value, Tensor)]
    if fixed:
        facts = f"arguments that are no tensors are fixed at the examples' values: {listed(fixed, 6)}"
        yield Finding("capture", "note", facts, "convert once for each value that is in use")


def _path(path: Sequence[Any]) -> str:
    """`mask`, or `sizes[0]` of an entry: where in the arguments a leaf stands."""
    return re.sub(r"^\['(\w+)'\]", r"\1", pytree.keystr(tuple(path)))


def _widened(call: Call, axes: Sequence[Mapping[int, str]]) -> Call:
    """The examples with two samples where they have one along an open axis: torch would fix a size of 1."""
    return resized(call, axes, {word: 2 for word, size in _sizes(call, axes).items() if size == 1})


def _exported(module: nn.Module, call: Call, axes: Sequence[Mapping[int, str]]) -> ExportedProgram:
    args, kwargs = call
    try:
        dynamic = None
        if any(axes):
            dims = iter([dict.fromkeys(each, Dim.AUTO) for each in axes])
            opened = pytree.tree_map(lambda leaf: next(dims) if isinstance(leaf, Tensor) else None, call)
            # torch.export wants the open axes by the names of forward's arguments, not by position.
            dynamic = dict(inspect.signature(module.forward).bind(*opened[0], **opened[1]).arguments)
        stays = Staying() if device_of(module) == CPU else quiet()
        with quiet(), torch.no_grad(), stays, _writing_what_is_assigned(module):
            program = torch.export.export(module, args, kwargs, dynamic_shapes=dynamic, strict=False)
    except Exception as error:
        remedy = "remove control flow that depends on the data, or use --method average, which needs no graph"
        facts = f"torch.export cannot capture the network: {first_line(error)}{_at_line(error)}"
        raise CaptureError(type(module).__name__, facts, remedy) from error
    # Tensors that forward makes of numbers (`torch.tensor([1.0])`) pass through `detach_`, which writes no numbers.
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.detach_.default:
            node.target = torch.ops.aten.detach.default
    _name_unnamed(program)
    program.graph_module.recompile()
    return program


@contextmanager
def _writing_what_is_assigned(module: nn.Module) -> Iterator[None]:
    """Within, a tensor that forward assigns to a buffer of a submodule (`self.h = h`) is copied into that buffer.

    torch.export sees such assignments on the outermost module alone, and drops all others without a message.
    """
    before: list[tuple[nn.Module, str, Tensor]] = []

    def remember(*_: Any) -> None:
        """Before forward: note the buffers."""
        before.clear()
        for part in [part for part in module.modules() if part is not module]:
            before.extend((part, name, buffer) for name, buffer in part.named_buffers(recurse=False))

    def write(*_: Any) -> None:
        """After forward: copy what took the place of a buffer into it, and put the buffer back."""
        replaced = [(part, name, old, getattr(part, name)) for part, name, old in before]
        # All new values are taken before any is written: one may be a view of a buffer, or another buffer.
        values = [(part, name, old, now.clone()) for part, name, old, now in replaced if now is not old]
        for part, name, old, now in values:
            setattr(part, name, old.copy_(now))

    hooks = module.register_forward_pre_hook(remember), module.register_forward_hook(write)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check_names(module: nn.Module) -> None:
    """Raises CaptureError for a part such as `graph` or `code`, which are attributes of PyTorch's graphs themselves."""
    if isinstance(module, torch.fx.GraphModule):
        return
    tensors = {name for name, value in vars(module).items() if isinstance(value, Tensor)}
    held = {*tensors, *dict(module.named_children()), *vars(module)["_parameters"], *vars(module)["_buffers"]}
    # An export sets the last two on an instance, so that `dir` of an empty one lacks them.
    taken = {*dir(torch.fx.GraphModule(nn.Module(), torch.fx.Graph())), "_in_spec", "_out_spec"} - set(dir(nn.Module()))
    for name in sorted(held & taken):
        facts = "PyTorch's graphs have an attribute of this name themselves, which no part of a network can replace"
        raise CaptureError(f"the network's attribute {name!r}", facts, f"rename it ({name}_), or use --method average")


def _at_line(error: Exception) -> str:
    """The innermost line of the user's own code that an error went through, with its text; "" where there is none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not LIBRARY.search(frame.filename):
            return f"; at {Path(frame.filename).name}:{frame.lineno}: {frame.line}"
    return ""


def _name_unnamed(program: ExportedProgram) -> None:
    """Replace, in place, constants without a name by the parameter or buffer that they are.

    Forward may read a tensor through a list, say, that the module also holds by name. The export then has it twice:
    as `weight`, which a conversion changes, and as a constant, which it does not.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    # By memory, the input of the graph that stands for it. Constants come last, so that all names are known by then.
    known: dict[Any, torch.fx.Node] = {}
    for spec in sorted(program.graph_signature.input_specs, key=lambda spec: spec.kind == InputKind.CONSTANT_TENSOR):
        held = program.state_dict.get(spec.target or "", program.constants.get(spec.target or ""))
        # Empty tensors share one address, though they are different ones.
        if not isinstance(held, Tensor) or not held.numel():
            continue
        memory = held.data_ptr(), tuple(held.shape), held.stride()
        if spec.kind != InputKind.CONSTANT_TENSOR:
            known.setdefault(memory, nodes[spec.arg.name])
        elif memory in known:
            nodes[spec.arg.name].replace_all_uses_with(known[memory])
            program.graph.erase_node(nodes[spec.arg.name])
            program.graph_signature.input_specs.remove(spec)
            program.constants.pop(spec.target or "")


# ---- open axes ------------------------------------------------------------------------------------------------
def _check(module: nn.Module, program: ExportedProgram, call: Call, still: Sequence[Mapping[int, str]]) -> list[str]:
    """The words of axes of which the program takes few other sizes than the examples', though torch left them open.

    still: the axes that are open, with their words.
    Raises an error where the program answers otherwise than the module, on the examples or at other sizes of an axis
    that is open, or where what it holds for other sizes cannot be looked at.
    """
    read(program, *call)
    narrow: list[str] = []
    with Runner(module) as ours, Runner(program.module()) as theirs:
        # Two calls in a row: a state that the program lost shows in the second.
        _compare(ours, theirs, [call, call], "on the examples")
        for word, size in _sizes(call, still).items():
            # One, since networks may branch on it; and a multiple: patches and strides may take no others.
            for other in (1, 2 * size):
                grown = resized(call, still, {word: other})
                try:
                    ours.run([grown])
                except ModelRunError:
                    if other > 1:
                        raise
                    continue
                try:
                    _compare(ours, theirs, [grown], f"at {word} = {other}")
                except ModelRunError:
                    # Its guards refuse them, as those of a window of 9 frames refuse 18.
                    narrow.extend([word] if other > 1 else [])
    return narrow


def _compare(ours: Runner, theirs: Runner, calls: Sequence[Call], when: str) -> None:
    """Raises CaptureError where a program answers calls otherwise than the network, ModelRunError where one fails."""
    expected, answers = (tensors_in(runner.run(calls).steps) for runner in (ours, theirs))
    if len(expected) != len(answers) or not all(map(_near, expected, answers)):
        facts = f"{when} it answers otherwise than the network"
        raise CaptureError("the program", facts, "use --method average, which needs no graph")


def _sizes(call: Call, axes: Sequence[Mapping[int, str]]) -> dict[str, int]:
    """The sizes of the examples along axes, by word."""
    sizes: dict[str, int] = {}
    for tensor, words in zip(Arguments.of(*call).tensors, axes, strict=True):
        sizes.update((word, tensor.shape[axis]) for axis, word in words.items())
    return sizes


def _open(program: ExportedProgram, axes: Sequence[Mapping[int, str]]) -> list[dict[int, str]]:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [values.get(str(name)) for name in program.graph_signature.user_inputs]
    tensors = [value for value in inputs if isinstance(value, Tensor)]
    still: list[dict[int, str]] = []
    for tensor, words in zip(tensors, axes, strict=True):
        still.append({axis: word for axis, word in words.items() if number_of(tensor.shape[axis]) is None})
    return still


def _near(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if not (first.is_floating_point() or first.is_complex()) or not first.numel():
        return torch.equal(first, second)
    scale = float(first.abs().nan_to_num(0.0).max())
    return torch.allclose(first, second, rtol=0, atol=_ROUNDING * scale, equal_nan=True)
