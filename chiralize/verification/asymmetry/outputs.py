"""How far the answers of a network are from commuting with the mirror; nothing is changed.

gap of an entry = RMS(f(x) - T f(T x)) / s,      s = RMS(f(x) - mean f) over the whole output, or over its unit

Every call is run on x and on T x, and its answers go into running sums, one `_Sums` per output. At the end these give
the figures of the whole output, of single entries, and of pairs of joints. `audit` shows them; `wrong_mirror` names the
output or the pair that holds most of a gap.

Scores of classes are measured twice, as they are and as probabilities (`_WithShares`). The latter count where no class
loses most of its decisions, as both of a forgotten pair do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import torch

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors.words import when
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.rollouts import LONGEST, Carried, Steps, roll_both_views
from chiralize.graph.running import Call, Runner, check_outputs, results
from chiralize.graph.units import relative
from chiralize.symmetry.action import act
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.asymmetry.decisions import Decisions, as_shares, may_be_scores
from chiralize.verification.asymmetry.lean import beyond_chance
from chiralize.verification.asymmetry.parts import Parts, distances, parts_of, summed
from chiralize.verification.asymmetry.records import Asymmetry, EntryGap, OutputGap, PairGap, Shown
from chiralize.verification.asymmetry.spreads import Spreads

_ROUNDING = 1e-12


def asymmetry(
    module: torch.nn.Module,
    mirror: NetworkMirror,
    inputs: Sequence[Call],
    tensors: Sequence[ResolvedTensor] = (),
    *,
    most: int = 10,
) -> Asymmetry:
    """Gap of every output, and the entries where it is largest (along axes that the mirror leaves alone: RMS).

    inputs: calls (args, kwargs), each a batch.  States and integers among the outputs are left out.
    tensors: what the outputs are; with them, the gap of every pair of joints or classes as well.
    Raises ModelRunError, UsageError.
    """
    with Runner(module) as runner:
        return _summed_up(_views(runner, mirror, inputs), mirror, tensors, most)


def asymmetry_along(
    module: torch.nn.Module,
    mirror: NetworkMirror,
    sequences: Sequence[Steps],
    carried: Carried,
    tensors: Sequence[ResolvedTensor] = (),
    *,
    most: int = 10,
) -> Asymmetry:
    """The same along sequences, where each view carries the states that it has come to.

    mirror: leaves states alone.  Every call counts, so a sample is a step.  Raises ModelRunError, UsageError.
    """
    with Runner(module) as runner:
        rolled = (roll_both_views(runner, steps[:LONGEST], carried, mirror) for steps in sequences)
        views = ((plain.answers, turned.answers) for plain, turned in chain.from_iterable(rolled))
        return _summed_up(views, mirror, tensors, most)


_Views = Iterator[tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]]
"""f(x) and f(T x), call by call."""


def _views(runner: Runner, mirror: NetworkMirror, inputs: Sequence[Call]) -> _Views:
    """Both answers to every call, from the stored states and from T of them."""
    for call in inputs:
        plain = results(runner.run([call], mirror.states).steps[0])[0]
        run = runner.run([mirror.turned(call)], mirror.states, turned=True)
        yield plain, results(run.steps[0])[0]


def _summed_up(views: _Views, mirror: NetworkMirror, tensors: Sequence[ResolvedTensor], most: int) -> Asymmetry:
    """The figures of all calls together. most: entries that are listed."""
    sums: dict[int, _WithShares] = {}
    samples = 0
    for plain, turned in views:
        check_outputs(plain, mirror.outputs)
        for index, (a, b) in enumerate(zip(plain, turned, strict=True)):
            if index not in mirror.state_outputs and a.is_floating_point():
                tensor = tensors[index] if tensors else None
                sums.setdefault(index, _WithShares(mirror, index, tensor)).add(a, b)
        samples += mirror.samples_in(plain)
    outputs, entries, pairs = list[OutputGap](), list[EntryGap](), list[PairGap]()
    for output_sums in sums.values():
        outputs.append(output_sums.output())
        counted = output_sums.counted()
        entries += counted.entries()
        pairs += counted.pairs()
    worst = sorted(entries, key=lambda entry: -entry.gap)[:most]
    return Asymmetry(tuple(outputs), tuple(worst), samples, tuple(sorted(pairs, key=lambda pair: -pair.gap)))


class _WithShares:
    """Running sums of one output as it is (plain), and of the probabilities that scores of classes stand for (shares).

    shares: None of what cannot be such scores.
    """

    def __init__(self, mirror: NetworkMirror, index: int, tensor: ResolvedTensor | None) -> None:
        self.plain = _Sums(mirror, index, tensor)
        are_scores = tensor is not None and may_be_scores(mirror, index, tensor)
        self.shares = _Sums(mirror, index, tensor) if are_scores else None

    def add(self, plain: torch.Tensor, turned: torch.Tensor) -> None:
        """Take f(x) and f(T x) of one call in."""
        self.plain.add(plain, turned)
        axis = self.plain.decisions.axis
        if self.shares is None or axis is None:
            return
        # T permutes classes, and so their probabilities.
        self.shares.add(as_shares(plain.double(), axis), as_shares(turned.double(), axis))

    def shown(self) -> Shown | None:
        """The decisions of scores whose probabilities count; None of any other output."""
        shown = self.plain.decisions.shown()
        return shown if shown is not None and shown.is_of_all_classes else None

    def counted(self) -> _Sums:
        """The sums that the gaps are taken from."""
        return self.plain if self.shown() is None or self.shares is None else self.shares

    def output(self) -> OutputGap:
        """The figures of the whole output. The odd share is that of the output as it is."""
        plain, shown, counted = self.plain.output(), self.shown(), self.counted()
        if counted is self.plain or shown is None:
            return plain
        of_shares, shown = counted.output(), replace(shown, plain=plain.gap)
        return replace(plain, gap=of_shares.gap, spread=of_shares.spread, lean=of_shares.lean, apart=0.0, shown=shown)


class _Sums:
    """Running sums of one output. With a = f(x), b = f(T x), counted from the centre of T:

    square, odd, gap: of a², ((a - T a) / 2)² and (a - T b)², over all numbers or by entry of several units.
    apart: of (a - T b)², with size 1 along axes that T leaves alone.  total, leaning: of a and a - T b, "entry...".
    lengths: |a - T b| of every part (joint, class) and its square, "2 part".
    rows: samples.  count: numbers.  part_rows: rows of parts.  decisions: what scores decide.
    """

    def __init__(self, mirror: NetworkMirror, index: int, tensor: ResolvedTensor | None) -> None:
        representation: TensorRepresentation = mirror.outputs[index]
        is_flat = len(representation.axes) == 1 and not mirror.is_single
        # A score for each sample, "sample", would look like an axis of entries: it gets one of size 1.
        self.is_one_number = is_flat and (tensor is None or tensor.pose is None)
        if self.is_one_number:  # of each sample: samples are no entries
            representation = replace(representation, axes=(*representation.axes, Representation.trivial(1)))
            tensor = tensor and replace(tensor, shape=(*tensor.shape, 1))
        self.mirror, self.index, self.tensor, self.representation = mirror, index, tensor, representation
        self.parts: Parts | None = parts_of(tensor, self.representation) if tensor is not None else None
        self.units = mirror.units_of(index)
        self.decisions = Decisions(tensor)
        self.rows = self.count = self.part_rows = 0
        self.square: torch.Tensor | None = None  # of every entry where there are several units, as `odd` and `gap`
        self.odd: torch.Tensor | None = None
        self.gap: torch.Tensor | None = None
        self.apart: torch.Tensor | None = None
        self.total: torch.Tensor | None = None
        self.leaning: torch.Tensor | None = None  # f(x) - T f(T x)
        self.lengths: torch.Tensor | None = None  # of the parts, and their squares
        self.spreads = Spreads(mirror.units_in_rows(index))

    def add(self, plain: torch.Tensor, turned: torch.Tensor) -> None:
        """Take f(x) and f(T x) of one call in."""
        if self.is_one_number:
            plain, turned = plain[:, None], turned[:, None]
        representation, center = self.representation, self.mirror.center_of(self.index)
        if center is None:
            about = 0.0
        else:
            about = torch.from_numpy(center).to(plain.device)
        a, b = plain.double() - about, turned.double() - about  # counted from the centre, T is linear
        back, image = act(b, representation), act(a, representation)  # T f(T x) and T f(x)
        apart = summed((a - back).square(), representation)
        self.apart = _added(self.apart, apart)
        self.square = _added(self.square, self.units.summed(a.square()).cpu())
        self.odd = _added(self.odd, self.units.summed(((a - image) / 2).square()).cpu())
        self.gap = _added(self.gap, self.units.summed((a - back).square()).cpu())
        if self.tensor is not None:
            self._add_parts(a, back, self.tensor)
        a, b, back = map(self.mirror.in_rows, (a, b, back))
        self.spreads.add(a, b)
        self.total = _added(self.total, a.sum(0))
        self.leaning = _added(self.leaning, (a - back).sum(0))
        self.rows, self.count = self.rows + a.shape[0], self.count + a.numel()

    def _add_parts(self, plain: torch.Tensor, back: torch.Tensor, tensor: ResolvedTensor) -> None:
        """Take f(x) and T f(T x) in by joints or classes, and the highest scores of both."""
        lengths = distances(plain - back, tensor, self.representation)  # "row part"
        sums = torch.stack([lengths.sum(0), lengths.square().sum(0)]).cpu()
        self.lengths = _added(self.lengths, sums)
        self.part_rows += len(lengths)
        self.decisions.add(plain, back)

    @property
    def scales(self) -> torch.Tensor:
        """RMS about the mean of each entry, of all or of each unit; about zero where the output is constant."""
        assert self.total is not None and self.square is not None
        count = self.count / self.square.numel()
        # `total` has no axis of samples, unless the call is one sample: then `in_rows` has given it one.
        units = self.units.within(int(self.mirror.is_single) - 1)
        spread = self.square - units.summed(self.total.square()).cpu() / self.rows
        spread = torch.where(spread > _ROUNDING * self.square, spread, torch.zeros_like(spread))
        return self.units.squared_spread(spread / count, self.square / count).sqrt()

    def _to_scale(self, values: torch.Tensor) -> torch.Tensor:
        """RMS values, "sample entry..." summed up, in units of the spread."""
        scales = self.units.shaped(self.scales, values.ndim)
        if scales.ndim and values.shape[self.units.axis] == 1:  # of entries that the mirror leaves alone, summed up
            scales = scales.square().mean().sqrt()
        return values / torch.where(scales > 0, scales, torch.ones_like(scales))

    def output(self) -> OutputGap:
        """The figures of the whole output."""
        assert self.square is not None and self.odd is not None and self.gap is not None and self.leaning is not None
        # Gap and lean: means of squares in squares of the spread, each unit in its own.
        squared, count = self.scales.square(), self.count / self.scales.numel()
        gap = relative(self.gap / count, squared) if bool(squared.any()) else 0.0
        means = self.units.within(int(self.mirror.is_single) - 1).summed((self.leaning / self.rows).square()).cpu()
        mean = relative(means * (squared.numel() / self.leaning.numel()), squared) if bool(squared.any()) else 0.0
        lean = beyond_chance(mean, gap, self.rows)
        # The odd share of energy, and the mean length of a part.
        known = torch.where(squared > 0, squared, torch.ones_like(squared))
        energy = float((self.square / known).sum())
        odd_share = float((self.odd / known).sum()) / energy if energy else 0.0
        if self.lengths is None:
            apart = 0.0
        else:
            apart = float(self.lengths[0].mean()) / self.part_rows
        output = OutputGap(self.index, gap, odd_share, apart, spread=self.spreads.result(), lean=lean)
        decided = self.decisions.result()
        if decided is None:
            return output
        if self.decisions.are_supposed:
            return replace(output, supposed=decided)
        return replace(output, changed=decided.changed, others=decided.others, worst=decided.worst)

    def entries(self) -> list[EntryGap]:
        """The gap of every entry that has one."""
        assert self.apart is not None
        numbers = self.count / self.apart.numel()  # that were added up in each entry: samples, frames
        gaps = self._to_scale((self.apart / numbers).sqrt())
        entries = list[EntryGap]()
        rank = len(self.mirror.outputs[self.index].axes)
        for entry in map(tuple, (gaps > 0).nonzero().tolist()):
            entries.append(EntryGap(self.mirror.label("output", self.index, entry[:rank]), float(gaps[entry])))
        return entries

    def pairs(self) -> list[PairGap]:
        """The figures of every pair of joints or classes; empty where the output is not described."""
        if self.parts is None or self.lengths is None:
            return []
        # Both joints of a pair are added up under its label: `rows` of it are twice those of a single one.
        owner = torch.tensor(self.parts.owner)
        sums = torch.zeros(2, len(self.parts.labels), dtype=torch.float64).index_add_(1, owner, self.lengths)
        rows = owner.bincount(minlength=len(self.parts.labels)) * self.part_rows
        apart, square = sums / rows  # by label: mean length and mean square of it
        scales = self.scales
        if scales.ndim:  # partners have one unit
            scales = torch.ones(len(self.parts.labels), dtype=torch.float64).index_copy_(0, owner, scales)
        scales = torch.where(scales > 0, scales, torch.ones_like(scales))
        gaps = (square / self.parts.numbers).sqrt() / scales  # RMS of one number, as the gap of the output
        squares = sums[1] / scales.square()
        shares = squares / (squares.sum() or 1.0)
        named = zip(self.parts.labels, apart.tolist(), gaps.tolist(), shares.tolist(), strict=True)
        several = len(self.mirror.outputs) - len(self.mirror.state_outputs) > 1
        prefix = when(several, f"output {self.index} ")
        return [PairGap(prefix + label, far, gap, self.index, share) for label, far, gap, share in named]


def _added(total: torch.Tensor | None, more: torch.Tensor) -> torch.Tensor:
    """A running sum, None before the first call."""
    return more if total is None else total + more
