"""How far the maps of a mirrored picture are off when they are turned back, in parts of a cell; nothing is changed.

A flip test adds the maps of a picture and those of its mirror image, turned back. Strides that read an even width from
one side, and labels that put cell i at pixel 4 i, leave the two sets of maps part of a cell apart. What is sought is
the shift s at which the turned maps, moved to the right by s, are most like the others. Estimates without one of eight
blocks of samples tell how well it is known.

Example: 64 columns, 16 cells, labels that put cell i at pixel 4 i. A joint at pixel p has its peak at p / 4. In the
mirrored picture it is at pixel 63 - p, with its peak at 15.75 - p / 4; turned back, at 15 - (15.75 - p / 4), which is
p / 4 - 0.75. So s = 0.75, which is (stride - 1) / stride.

`audit` and `convert --align` ask for it (decision 0051); `grids` has the sums that all shifts are tried on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil, copysign, sqrt

import numpy as np
import torch

from chiralize.body.tensors.layout import parse_layout
from chiralize.body.tensors.resolved import ResolvedSpec, ResolvedTensor
from chiralize.body.tensors.reversal import reversal
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.model import CapturedModel
from chiralize.graph.passes.alignment.offsets import cells_of
from chiralize.graph.running import Call, Runner, results
from chiralize.infer.registry import traits
from chiralize.symmetry.action import act
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.asymmetry.grids import Array, Products, moved
from chiralize.verification.asymmetry.records import ALIGNED, Alignment, Drawn, Explanations, Section, Shifted

UNMEASURED = "how far turned maps are off is measured on real pictures: give them with --calibration"
BLOCKS = 8
"""Blocks of samples of the jackknife."""
FEWEST_CELLS = 8
"""Cells of an axis below which no shift is told."""
_MOST_STORED = 1 << 22
"""How many numbers of maps are stored at most, for their peaks and for a picture."""
_UNSURE = 0.25
"""Standard error, in cells, above which pictures differ on the shift."""
_UNLIKE = 0.2
"""Correlation at the best shift below which the two views have nothing in common."""
_SHARP = 1e-3
"""The share by which the correlation has to fall one cell beside the best shift."""
_CURVE = 0.25
"""Five steps of the curve that is drawn, in cells."""


def alignments(
    module: torch.nn.Module,
    mirror: NetworkMirror,
    inputs: Sequence[Call],
    resolved: ResolvedSpec,
    graph: CapturedModel | None = None,
) -> tuple[Alignment, ...]:
    """The alignment of every axis of the outputs that the mirror reverses; empty for networks without pictures.

    inputs: real pictures.  graph: of the network, by whose layers the shift is predicted where that can be done.
    """
    axes = list(_reversed_axes(resolved))
    if not axes or not inputs or mirror.states:
        return ()
    # The maps of all pictures by both views, those of the mirrored picture turned back about the middle of the axis: so
    # the whole shift is measured, and not what is left of the one that the specification states.
    views: dict[tuple[int, int], list[tuple[torch.Tensor, torch.Tensor]]] = {}
    with Runner(module) as runner:
        for call in inputs:
            plain = results(runner.run([call]).steps[0])[0]
            turned = results(runner.run([mirror.turned(call)], turned=True).steps[0])[0]
            for tensor, axis in axes:
                image = act(turned[tensor.index], turned_about_the_middle(mirror.outputs[tensor.index], axis))
                views.setdefault((tensor.index, axis), []).append((plain[tensor.index], image))
    # What is measured, beside what the layers and the labels would explain.
    measurements: list[Alignment] = []
    for tensor, axis in axes:
        columns = _columns(resolved)
        if graph is None:
            predicted = None
        else:
            predicted = _by_layers(graph, tensor, axis, resolved)
        stated = stated_shift(mirror.outputs[tensor.index], axis)
        measured = _Views(views[tensor.index, axis], axis).measured(stated, predicted)
        explanations = replace(measured.explanations, labels=_by_labels(columns, tensor.shape[axis]))
        named = replace(measured, output=tensor.index, axis=_word(tensor, axis), explanations=explanations)
        measurements.append(named)
    return tuple(measurements)


def has_maps(resolved: ResolvedSpec) -> bool:
    """Whether the mirror reverses an axis of an output."""
    return any(True for _ in _reversed_axes(resolved))


def _reversed_axes(resolved: ResolvedSpec) -> Iterator[tuple[ResolvedTensor, int]]:
    """Outputs with an axis that their entry reverses, which is one word of the layout."""
    for tensor in resolved.output_tensors:
        for word, _ in tensor.entry.mirror:
            axis = parse_layout(tensor.layout).axis_of(word)
            if axis is not None and tensor.representation is not None and tensor.center is None:
                yield tensor, axis


def _word(tensor: ResolvedTensor, axis: int) -> str:
    """The word, or the words, of an axis in the layout."""
    return " ".join(parse_layout(tensor.layout).axes[axis])


def turned_about_the_middle(representation: TensorRepresentation, axis: int) -> TensorRepresentation:
    """T with the plain reversal along one axis, whatever cell the specification mirrors it at."""
    size = representation.axes[axis].size
    axes = list(representation.axes)
    axes[axis] = Representation.of(reversal(size, None, ""))
    return TensorRepresentation(tuple(axes), representation.sign)


def stated_shift(representation: TensorRepresentation, axis: int) -> int:
    """By how many cells the specification moves turned maps to the right: 2 c - (n - 1)."""
    action = representation.axes[axis].action
    # A reversal about c takes cell i to 2 c - i: the sum of a cell and its partner is 2 c, whichever cell it is.
    moving = np.flatnonzero(~action.fixed)
    if not len(moving):
        return 0
    return int(moving[0] + action.partner[moving[0]]) - (action.size - 1)


def _columns(resolved: ResolvedSpec) -> int | None:
    """The columns of the one picture that goes in, whose width the mirror reverses."""
    pictures = [tensor for tensor in resolved.input_tensors if len(tensor.entry.mirror) == 1]
    if len(pictures) != 1:
        return None
    position = parse_layout(pictures[0].layout).axis_of(pictures[0].entry.mirror[0][0])
    if position is None:
        return None
    return pictures[0].shape[position]


def _by_labels(columns: int | None, cells: int) -> float | None:
    """The shift of maps whose labels put cell i at pixel stride * i, None where the stride is no whole number."""
    if columns is None or columns % cells:
        return None
    stride = columns // cells
    if stride > 1:
        return (stride - 1) / stride
    return None


def _by_layers(graph: CapturedModel, tensor: ResolvedTensor, axis: int, resolved: ResolvedSpec) -> float | None:
    """The shift of a network whose kernels are symmetric; None where its layers do not determine it."""
    pictures = [picture for picture in resolved.input_tensors if picture.entry.mirror]
    if len(pictures) != 1 or len(pictures[0].shape) != len(tensor.shape):
        return None
    # What cell i of the answer reads in the middle, in columns of the picture; of branches on different grids nothing.
    (picture,) = pictures
    name, answer = graph.inputs[picture.index], graph.outputs[tensor.index]
    if parse_layout(picture.layout).axis_of(picture.entry.mirror[0][0]) != axis or name is None or answer is None:
        return None
    cells = cells_of(graph, name, axis, traits()).get(answer)
    if cells is None:
        return None
    return cells.shift(picture.shape[axis], tensor.shape[axis])


class _Views:
    """The maps of all pictures by both views, with the axis in question last.

    plain, turned: "sample row cell".  shape: of one sample, with that axis last.
    """

    def __init__(self, calls: Sequence[tuple[torch.Tensor, torch.Tensor]], axis: int) -> None:
        self.plain = np.concatenate([_as_rows(plain, axis) for plain, _ in calls])
        self.turned = np.concatenate([_as_rows(turned, axis) for _, turned in calls])
        self.shape = calls[0][0].movedim(axis, -1).shape[1:]

    def measured(self, stated: int, predicted: float | None) -> Alignment:
        """The shift with its figures, or the reason why there is none."""
        cells, samples = self.plain.shape[-1], len(self.plain)
        if cells < FEWEST_CELLS:
            return _untold(f"{cells} cells are too few to tell a shift")
        # How far to look: a cell beyond what is expected. Cells at the borders are left out, of which some would be
        # compared with what lies beyond the maps.
        most = min(max(2.0, abs(stated) + 1.0, abs(predicted or 0.0) + 1.0), cells / 4)
        border = min(ceil(most), (cells - 4) // 2)
        # Sums of products of eight blocks of pictures, two pictures at least in each; of all without one they give an
        # estimate of the jackknife.
        edges = np.linspace(0, samples, min(BLOCKS, max(samples // 2, 1)) + 1).astype(int)
        blocks = [Products.of(self.plain[a:b], self.turned[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
        total = sum(blocks[1:], blocks[0])
        scale = float(np.square(self.plain).mean() + np.square(self.turned).mean())
        if min(total.energies(0.0, border)[:2]) <= 1e-12 * scale * self.plain.size:
            return replace(_untold("the answers do not change from picture to picture"), stated=stated)
        # The shift, its error, and why it may mean nothing.
        shift = total.best(most, border)
        if len(blocks) > 1:
            error = _error([(total - block).best(most, border) for block in blocks])
        else:
            error = None
        why = _doubt(total, shift, error, most, border)
        # Shifts that a report compares: as stated, none, the nearest whole one, the measured one, and a whole cell.
        picked = {float(stated), 0.0, float(round(shift)), shift}
        picked |= {copysign(1.0, shift)} if abs(shift - stated) > ALIGNED else set()
        figures = tuple(self._at(total, each, border) for each in sorted(picked))
        curve = [(float(at), total.gap(float(at), border)) for at in np.arange(-most, most + 1e-9, _CURVE / 5)]
        drawn = Drawn(tuple(curve), None if why else self._section(shift))
        result = Alignment(cells=cells, samples=samples, stated=stated, error=error, why=why, figures=figures)
        known = None if why else shift
        return replace(result, shift=known, explanations=Explanations(layers=predicted), drawn=drawn)

    def _at(self, total: Products, shift: float, border: int) -> Shifted:
        """The figures at one shift."""
        return Shifted(shift, total.gap(shift, border), self._height(shift))

    def _height(self, shift: float) -> float | None:
        """How high the peaks of the mean of both views are, over the mean of their own heights; None without maps.

        Below 1 where the peaks of the two do not lie on each other, so that the mean is flat.
        """
        if len(self.shape) < 3:
            return None
        count = max(_MOST_STORED // max(self.plain[0].size, 1), 1)
        plain, turned = self.plain[:count], self.turned[:count]
        maps = (len(plain), self.shape[0], -1)  # sample, map, cells of all axes
        mean = ((plain + moved(turned, shift)) / 2).reshape(maps).max(-1)
        each = (plain.reshape(maps).max(-1) + turned.reshape(maps).max(-1)) / 2
        if each.mean() > 0:
            return float(mean.mean() / each.mean())
        return None

    def _section(self, shift: float) -> Section:
        """The row of cells in which the first pictures answer most, by both views."""
        plain, turned = self.plain[:64], self.turned[:64]
        range_of = (plain.max(-1) - plain.min(-1)) * (turned.max(-1) - turned.min(-1))  # "sample row"
        sample, row = np.unravel_index(int(range_of.argmax()), range_of.shape)
        rows = plain[sample, row], turned[sample, row], moved(turned[sample, row], shift)
        return Section(*(tuple(map(float, cells)) for cells in rows))


def _as_rows(maps: torch.Tensor, axis: int) -> Array:
    """Maps as "sample row cell"."""
    numbers = maps.detach().movedim(axis, -1).cpu().float().numpy()
    return numbers.reshape(numbers.shape[0], -1, numbers.shape[-1]).astype(np.float64)


def _error(without: Sequence[float]) -> float:
    """Standard error by the jackknife: of estimates that each leave one block out."""
    values = np.asarray(without)
    return sqrt((len(values) - 1) / len(values) * float(np.square(values - values.mean()).sum()))


def _doubt(total: Products, shift: float, error: float | None, most: float, border: int) -> str:
    """Why the shift means nothing; "" where it is valid."""
    # Is there anything in common; is there a peak over the shifts; does it lie within; is it known well enough?
    alike = total.likeness(shift, border)
    if alike < _UNLIKE:
        return f"no shift brings the two views together (they correlate by {alike:.2f} at the best one)"
    beside = min(total.likeness(at, border) for at in (shift - 1, shift + 1))
    if alike - beside < _SHARP * alike:
        return "the maps hardly change from one column to the next"
    if abs(shift) > most - 1e-2:
        return f"the views come ever closer up to {most:g} cells, as far as was looked"
    if error is not None and error > _UNSURE:
        return f"the pictures differ on it: {shift:.2f} ± {error:.2f} cells"
    return ""


def _untold(why: str) -> Alignment:
    """An alignment without a shift, and why."""
    return Alignment(why=why)
