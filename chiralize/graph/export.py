"""A module becomes an exported program: `torch.export`, with what it gets wrong or does in vain mended around it.

This is the first half of a capture: here a module runs on examples and leaves a program of ops; `capture` then reads
the program into a graph of ours. Whatever opens sizes (`open_sizes`) or makes a network ready
(`problem/exporting.py`) exports through here.
"""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx.experimental import _config as sizes

from chiralize.errors import CaptureError
from chiralize.errors.words import first_line
from chiralize.graph.model import Shape
from chiralize.graph.overlaps import undecided_overlaps
from chiralize.graph.silence import quiet
from chiralize.graph.snapshot import untouched
from chiralize.graph.staying import staying
from chiralize.graph.tracing import storage_of
from chiralize.graph.while_capturing import recurrent_shapes, unchecked_distributions

LIBRARY = re.compile(r"(^|/)(torch|chiralize/nn|onnx_reading)/|^<")
"""Files whose lines are not the user's own: torch, layers of ours, modules of ONNX operators, code without a file."""
_OURS = str(Path(__file__).parents[1])


def export(
    module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], dynamic: Any = None
) -> ExportedProgram:
    """The module as exported by `torch.export`, which is kept quiet. Raises CaptureError with its first line.

    dynamic: (args, kwargs) with the open axes in place of every tensor.
    """
    try:
        if dynamic is not None:
            # torch.export wants the open axes by the names of forward's arguments, not by position.
            dynamic = dict(inspect.signature(module.forward).bind(*dynamic[0], **dynamic[1]).arguments)
        # Without it an open axis of one entry in the examples would become a fixed one.
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
    # Tensors that forward makes of numbers (`torch.tensor([1.0])`) pass through `detach_`, which writes no numbers.
    detached = [node for node in program.graph.nodes if node.target is torch.ops.aten.detach_.default]
    for node in detached:
        node.target = torch.ops.aten.detach.default
    # Both edits change the graph alone; the module's code is generated from it.
    if _name_unnamed(program) or detached:
        program.graph_module.recompile()
    return program


def _at_line(error: Exception) -> str:
    """The innermost line of the user's own code that an error went through, with its text; "" where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if not LIBRARY.search(frame.filename) and not frame.filename.startswith(_OURS):
            return f"; at {Path(frame.filename).name}:{frame.lineno}: {frame.line}"
    return ""


@contextmanager
def _writing_what_is_assigned(module: torch.nn.Module) -> Iterator[None]:
    """Context in which a tensor that forward assigns to a buffer of a submodule (`self.h = h`) is copied into that
    buffer.

    torch.export sees such assignments on the outermost module alone, and drops all others without a message.
    """
    # (table of buffers, name in it, the buffer) of every submodule, as forward finds them.
    before: list[tuple[dict[str, torch.Tensor | None], str, torch.Tensor]] = []

    def remember(*_: Any) -> None:
        """Before forward: note the buffers of all submodules."""
        before.clear()
        for table in [part._buffers for part in module.modules() if part is not module]:
            before.extend((table, name, buffer) for name, buffer in table.items() if buffer is not None)

    def write(*_: Any) -> None:
        """After forward: copy what took the place of a buffer into it, and put the buffer back."""
        held = {id(buffer) for _, _, buffer in before}
        # First all new values are taken, then all are written: of two buffers that change places, the first write
        # would spoil the second value.
        replaced: list[tuple[dict[str, torch.Tensor | None], str, torch.Tensor, torch.Tensor]] = []
        for table, name, buffer in before:
            now = table.get(name)
            if now is not None and now is not buffer and (now.shape, now.dtype) == (buffer.shape, buffer.dtype):
                # A view of a buffer, or another buffer itself, would change with the writes below.
                shares_memory = now._is_view() or id(now) in held
                replaced.append((table, name, buffer, now.clone() if shares_memory else now))
        for table, name, buffer, now in replaced:
            table[name] = buffer.copy_(now)

    # A ScriptModule raises on such hooks; `make_fx` traces it anyway.
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
    """Raises CaptureError where a part of the network has the name of an attribute of PyTorch's graph modules.

    A program puts the network's parts under their own names into a `GraphModule`. One called `graph` or `code`, say,
    would meet the module's own attribute.
    """
    # An export sets the last two on an instance, so that `dir` of an empty one lacks them.
    taken = {*dir(torch.fx.GraphModule(torch.nn.Module(), torch.fx.Graph())), "_in_spec", "_out_spec"}
    held = {name for name, value in vars(module).items() if isinstance(value, torch.Tensor)}
    held.update(name for name, _ in module.named_children())
    held.update(name for name, _ in module.named_parameters(recurse=False))
    held.update(name for name, _ in module.named_buffers(recurse=False))
    # A graph module has all of these names itself, and they are its own.
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

    Forward may read a tensor through a list, say, that the module also holds by name. The export then has it twice:
    as `weight`, which a conversion changes, and as a constant, which it does not.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    # By memory, the input of the graph that stands for it. Constants come last, so that all names are known by then.
    known: dict[tuple[int, Shape, tuple[int, ...]], torch.fx.Node] = {}
    merged = []
    for spec in sorted(program.graph_signature.input_specs, key=lambda spec: spec.kind == InputKind.CONSTANT_TENSOR):
        held = program.state_dict.get(spec.target or "", program.constants.get(spec.target or ""))
        # Empty tensors share one address, though they are different ones.
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
