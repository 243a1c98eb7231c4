"""`--align`: a network on pictures changed so that the reversal of the width fits its layers, or its maps.

pad       pictures are wider by as many columns as it takes, mostly one, and transposed layers answer from the first
          cell to the last that they read
kernel    strided kernels are wider by columns of zeros; all sizes and all answers stay
resample  both views of the maps are moved half-way to each other, by half of the shift that was measured, or is given

Example: a kernel of 3 with stride 2 and padding 1 reads 8 columns from -1 to 7, one further on the left than on the
right, so that no weights make it commute with the reversal. `pad` gives the picture 9 columns, which it reads from -1
to 9; `kernel` makes it 4 wide, so that it reads 8 columns from -1 to 8. Maps of f may still lie 0.75 cells beside
those of T f(T x); `resample` moves every answer by 0.375.

`aligned` comes before `convert`, on the command line and in Python. Where nobody asked for it, `commands.naming_widths`
puts the ways that would help into refusals. The edits of graphs are in `graph.passes.alignment`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

import torch

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.commands.reversed_axes import as_layers_read, maps_of, pictures_of
from chiralize.errors import ChiralizeError, InternalError, UnsupportedError, UsageError
from chiralize.errors.words import listed, when
from chiralize.graph.fixed_sizes import unhooked
from chiralize.graph.model import CapturedModel
from chiralize.graph.passes.alignment.editing import (
    Widened,
    edited,
    layers_named,
    upsampling_from_first_cell,
    widened_for_reversal,
)
from chiralize.graph.passes.alignment.resampling import moved_outputs
from chiralize.graph.passes.alignment.widths import FURTHEST, fitting_width
from chiralize.graph.passes.alignment.windows import windows
from chiralize.graph.running import Arguments, Call, results
from chiralize.infer.capture import functional
from chiralize.infer.registry import traits
from chiralize.problem.exporting import called
from chiralize.problem.mirror import mirror_of
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.report.document import plural
from chiralize.verification.asymmetry.alignment import alignments

WAYS = ("pad", "kernel", "resample")
_OPTION = "--align"
_SAME = 1e-5
"""Of the largest answer: by how much rounding may move answers that should stay."""
_LEAST = 0.02
"""Cells: a smaller shift is none."""


@dataclass(frozen=True)
class Wish:
    """One way of `--align`, and for `resample` the shift where the user gives it."""

    way: str
    shift: float | None = None


def wishes(align: str | Sequence[str] | None) -> tuple[Wish, ...]:
    """What `--align` asks for, `resample` last. Raises UsageError for what there is not, or does not go together.

    >>> wishes("kernel,resample=0.75")
    (Wish(way='kernel', shift=None), Wish(way='resample', shift=0.75))
    """
    texts = [align] if isinstance(align, str) else list(align or ())
    asked: list[Wish] = []
    for text in ",".join(map(str, texts)).split(",") if texts else ():
        way, equals, number = text.strip().partition("=")
        if way not in WAYS or (equals and way != "resample"):
            raise UsageError(
                _OPTION, f"{text!r} is none of its ways", f"use one of {', '.join(WAYS)}, or resample=0.75"
            )
        asked.append(Wish(way, _number(number, text) if equals else None))
    # Either pad or kernel makes all layers fit: the other would find nothing to do.
    names = [wish.way for wish in asked]
    if len(set(names)) < len(names) or {"pad", "kernel"} <= set(names):
        facts = f"{', '.join(names)} do not go together"
        raise UsageError(_OPTION, facts, "use pad or kernel, and resample beside it where maps are still off")
    return tuple(sorted(asked, key=lambda wish: WAYS.index(wish.way)))


def _number(text: str, whole: str) -> float:
    """The shift of `resample=0.75`, in cells. Raises UsageError for what is no finite number.  whole: for messages."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise UsageError(_OPTION, f"{whole!r}: {text!r} is no number of cells", "write for example resample=0.75")
    return number


def aligned(
    network: Network, calls: Sequence[Call], align: str | Sequence[str] | None, product: str = "module"
) -> tuple[Network, Sequence[Call]]:
    """The network as `--align` changes it, and real inputs as it takes them; both as they are without a wish.

    calls: real pictures, by which shifts are measured; of `pad` they come back wider.  product: what will be written.
    Raises UsageError and UnsupportedError where a way does not apply.
    """
    asked = wishes(align)
    if not asked:
        return network, calls
    _check(network, asked, product)
    # Ways are taken in the order of `WAYS`: maps are measured on the network as the others left it.
    handed_in = network
    for wish in asked:
        if wish.way == "resample":
            network = _resampled(network, calls, wish.shift)
        elif wish.way == "kernel":
            network = _with_wider_kernels(network)
        else:
            network, calls = _with_wider_pictures(network, calls)
    # Costs are told against the network of the user, not against the wider one.
    return replace(network, handover=replace(network.handover, handed_in=handed_in)), calls


def _check(network: Network, asked: Sequence[Wish], product: str) -> None:
    """Raise UsageError where the network has nothing to align, or the file that is to be written could not hold it."""
    if network.handover.partial is not None or network.others.further:
        facts = "only some outputs are claimed, or several mirrors are named"
        raise UsageError(_OPTION, facts, "state one mirror of all outputs")
    if not pictures_of(network):
        facts = "the mirror reverses no axis of an input"
        raise UsageError(_OPTION, facts, "leave it out, or mark the width of pictures and maps, as in 'b c h ~w'")
    for wish in asked:
        if wish.way != "kernel" and not maps_of(network):
            facts = (
                "the mirror reverses an axis of an input and none of an output: there are no maps to move or to widen"
            )
            remedy = "use --align kernel, which changes no answer, or mark the width of the maps, as in 'b j h ~w'"
            raise UsageError(f"{_OPTION} {wish.way}", facts, remedy)
    if product in ("weights", "script"):
        facts = "the file keeps the original's code, which has the original's layers"
        raise UsageError(_OPTION, facts, "write a .pt2 or an .onnx")


def _picture(network: Network) -> tuple[ResolvedTensor, int]:
    """The one picture that goes in. Raises UnsupportedError for several, or for several axes that are reversed."""
    pictures = pictures_of(network)
    if len(pictures) != 1:
        facts = f"{len(pictures)} axes of inputs are reversed, and one way for all of them is not known"
        raise UnsupportedError(_OPTION, facts, "use --align resample")
    return pictures[0]


def _graph(network: Network) -> tuple[CapturedModel, torch.fx.GraphModule]:
    """The graph for reading, and a module of the same ops, a copy of the network that may be changed."""
    graph = network.graph()
    assert network.program is not None
    return graph, unhooked(functional(network.program).module(check_guards=False))  # type: ignore[return-value]


def _again(network: Network, module: torch.nn.Module, example: Call, note: str) -> Network:
    """The changed network, prepared again, with its earlier notes and a new one."""
    again = prepare(module, network.resolved.spec, *example)
    return replace(again, notes=(*network.notes, note))


def _with_wider_kernels(network: Network) -> Network:
    """The network with columns of zeros beside kernels until every layer fits, with a note.

    Raises UsageError where all fit already, UnsupportedError where zeros do not help, InternalError where answers
    moved.
    """
    picture, axis = _picture(network)
    graph, module = _graph(network)
    changes = widened_for_reversal(graph, *as_layers_read(graph, picture, axis), traits())
    if not changes:
        facts = f"every layer commutes with the reversal of {picture.shape[axis]} columns already"
        raise UsageError(f"{_OPTION} kernel", facts, "leave it out; maps that are off all the same need resample")
    # The copy is edited in place; `network` still holds the original.
    edited(module, changes)
    # The edit claims to change no answer: here it is run.
    apart = _apart(network, module)
    if apart > _SAME:
        raise InternalError(f"{_OPTION} kernel", f"the answers changed by {apart:.1g}", "report this network")
    # Prepared again before the note is written, since the note tells what the wider kernels cost.
    changed = _again(network, module, network.example, "")
    names = listed(list(dict.fromkeys(layers_named(graph, changes))), 6)
    columns = sorted({change.left + change.right for change in changes} - {0})
    wider = " or ".join(map(str, columns)) or "no"
    note = (
        f"--align kernel: {plural(len(changes), 'layer')} wider by {wider} columns of zeros ({names}): answers stay "
        f"(largest change {apart:.1g} of the largest), {_cost(network, changed)}"
    )
    return _checked(replace(changed, notes=(*network.notes, note)))


def _apart(network: Network, module: torch.nn.Module) -> float:
    """The largest difference from the original's answers to the example, over the largest answer."""
    with torch.no_grad():
        before, after = (results(called(net, *network.example))[0] for net in (network.module, module))
    # Another shape is as far off as can be.
    pairs = list(zip(before, after, strict=True))
    if any(one.shape != other.shape for one, other in pairs):
        return float("inf")
    scale = max((float(one.abs().max()) for one in before if one.is_floating_point()), default=1.0)
    return max(float((one.double() - other.double()).abs().max()) for one, other in pairs) / (scale or 1.0)


def _cost(network: Network, changed: Network) -> str:
    """By which factor the multiplications of a sample grew."""
    before, after = network.macs / network.rows, changed.macs / changed.rows
    if before:
        return f"multiplications x {after / before:.2f}"
    return "multiplications not counted"


def _checked(network: Network) -> Network:
    """The network itself. Raises InternalError where the reversal still does not fit one of its layers."""
    picture, axis = _picture(network)
    graph = network.graph()
    for window in windows(graph, *as_layers_read(graph, picture, axis), traits()):
        if not window.commutes:
            facts = f"its windows are {window.excess} columns off the reversal afterwards"
            raise InternalError(window.op, facts, "report this network")
    return network


def _with_wider_pictures(network: Network, calls: Sequence[Call]) -> tuple[Network, Sequence[Call]]:
    """The network on pictures of the next width that fits every layer, and the calls at that width, with a note.

    Raises UsageError where all layers fit already, UnsupportedError where no width does, or the network takes none.
    """
    option = f"{_OPTION} pad"
    picture, axis = _picture(network)
    graph, module = _graph(network)
    name, columns = graph.inputs[picture.index], picture.shape[axis]
    read = as_layers_read(graph, picture, axis)
    changes = upsampling_from_first_cell(graph, *read, traits())
    if all(window.commutes for window in windows(graph, *read, traits())):
        facts = f"every layer commutes with the reversal of {columns} columns already"
        raise UsageError(option, facts, "leave it out; maps that are off all the same need resample")
    # The changes come first: the widths behind a transposed layer depend on whether it is one of them.
    wider = fitting_width(graph, str(name), axis, traits(), {change.window.op for change in changes})
    if wider is None:
        facts = f"no width up to {columns + FURTHEST} fits every layer, or branches would not meet in one size"
        raise UnsupportedError(option, facts, "use --align kernel, which keeps all sizes")
    edited(module, changes)
    try:
        # A linear layer or a table may rest on the old width, of which windows tell nothing: it is run.
        example = _on_wider(network.example, network, wider)
        changed = _checked(_again(network, module, example, ""))
    except InternalError:
        # A defect stays one; whatever else the network says is that it does not take this width.
        raise
    except ChiralizeError as error:
        facts = f"it does not take pictures of {wider} columns: {error.facts}"
        raise UnsupportedError(option, facts, "use --align kernel, which keeps all sizes") from error
    note = _padded(network, changed, changes, graph, (columns, wider))
    return replace(changed, notes=(*network.notes, note)), [_on_wider(call, network, wider) for call in calls]


def _padded(
    network: Network, changed: Network, changes: Sequence[Widened], graph: CapturedModel, widths: tuple[int, int]
) -> str:
    """A note on the sizes of pictures and maps."""
    columns, wider = widths
    sizes = [
        f"{before.shape[axis]} to {changed.resolved.output_tensors[before.index].shape[axis]}"
        for before, axis in maps_of(network)
    ]
    names = listed(list(dict.fromkeys(layers_named(graph, changes))), 6)
    upsampled = when(changes, f"; {names} answer from the first cell to the last")
    return (
        f"--align pad: pictures are {wider} columns wide in place of {columns} (crop more on the right; here the last "
        f"one is repeated), maps go from {', '.join(sizes)} cells{upsampled}; {_cost(network, changed)}"
    )


def _on_wider(call: Call, network: Network, width: int) -> Call:
    """A call with the last column of its picture repeated up to a width; one of that width as it is."""
    picture, axis = _picture(network)
    arguments = Arguments.of(*call)
    tensors = list(arguments.tensors)
    given = tensors[picture.index]
    missing = width - given.shape[axis]
    if missing > 0:
        last = given.narrow(axis, given.shape[axis] - 1, 1)
        tensors[picture.index] = torch.cat([given, *[last] * missing], axis)
    return arguments.filled(tensors)


def _resampled(network: Network, calls: Sequence[Call], shift: float | None) -> Network:
    """The network with its maps moved by half of a shift in cells, the given one or the measured ones, with a note.

    Raises UsageError where maps are aligned already, mirrored at a cell of their own, or cannot be measured.
    """
    option = f"{_OPTION} resample"
    for tensor, _ in maps_of(network):
        if any(center is not None for _, center in tensor.entry.mirror):
            facts = f"{tensor.where} is mirrored at a cell that the specification gives, which moves it as well"
            raise UsageError(option, facts, "state the middle (mirror: w), so that it is moved once")
    # One shift for every reversed axis of the maps: what was measured, or the given one for all.
    shifts = _measured(network, calls) if shift is None else [shift] * len(maps_of(network))
    moves: list[tuple[int, int, int, float]] = []
    words: list[str] = []
    for (tensor, axis), each in zip(maps_of(network), shifts, strict=True):
        _check_shift(each, tensor.shape[axis])
        if abs(each) >= _LEAST:
            # Half of the way: T moves the other half, as the reversal turns a move to the right into one to the left.
            moves.append((tensor.index, axis, tensor.shape[axis], -each / 2))
            words.append(f"{tensor.where} by {each:.3g} cells: cell i of it now lies where {_later(each)} was")
    if not moves:
        facts = f"the maps are aligned already (off by {', '.join(f'{each:.2g}' for each in shifts)} cells)"
        raise UsageError(option, facts, "leave it out")
    _, module = _graph(network)
    changed = moved_outputs(module, moves)
    note = f"--align resample: {'; '.join(words)}; read joints off it accordingly"
    return _again(network, changed, network.example, note)


def _later(shift: float) -> str:
    """Which cell is found at cell i afterwards: `cell i + 0.375` of a shift of 0.75."""
    return f"cell i {'+' if shift > 0 else '-'} {abs(shift) / 2:.3g}"


def _check_shift(shift: float, cells: int) -> None:
    """Raise UsageError for a shift that is no misalignment: it was given in pixels, most likely."""
    if abs(shift) > cells / 4:
        facts = f"{shift:g} cells are more than a quarter of {cells}"
        raise UsageError(f"{_OPTION} resample", facts, "give the shift in cells of the maps, not in pixels")


def _measured(network: Network, calls: Sequence[Call]) -> list[float]:
    """The shift of every axis of the maps, from real pictures."""
    option = f"{_OPTION} resample"
    if not calls:
        facts = "the shift is measured on real pictures, and there are none"
        raise UsageError(option, facts, "give --calibration, or the shift: --align resample=0.75")
    shifts: list[float] = []
    for alignment in alignments(network.module, mirror_of(network, None), calls, network.resolved):
        if alignment.shift is None:
            remedy = "give the shift, as --align resample=0.75"
            raise UsageError(option, f"nobody can say how far the maps are off: {alignment.why}", remedy)
        shifts.append(alignment.shift)
    if len(shifts) != len(maps_of(network)):
        raise UsageError(option, "some outputs cannot be measured", "give the shift, as --align resample=0.75")
    return shifts
