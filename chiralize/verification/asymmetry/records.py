"""Frozen records of what was found asymmetric. Every `gap` is in units of the spread of what it is a gap of.

Asymmetry: OutputGap, EntryGap, PairGap; Spread, Decided     of a network's answers (`outputs`, `spreads`)
LayerGap                                            of its layers (`layers`)
DataGap, Leaning                                    of the data (`data`), and of what it remembers (`memory`)
Alignment: Shifted, Explanations, Drawn, Section    of its maps (`alignment`)
Advice                                              whether to convert (`advice`)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import log
from typing import Literal

ALIGNED = 0.1
"""Cells by which turned maps may be off without being called so."""
UNLIKE = 0.015
"""How far the spreads of the answers to both kinds of inputs are apart where a network knows one side better."""

HARDLY_DECIDES = 0.15
"""Of the samples that are not of the commonest class, the share that the mirror gives another one, up to which a wide
gap is mostly of scores that are never the highest."""
MOST_OF_A_CLASS = 0.5
"""Of the decisions for one class, the share that the mirror may change. Under the right mirror the weakest class of
recognisers of activities had 0.35 and 0.6, contacts 0.1; where T is wrong in two classes or in a sensor 0.87 to 1."""

AdviceKind = Literal[
    "equivariant", "convert", "uneven", "wrong mirror", "one-sided data", "one-sided network", "unknown"
]


@dataclass(frozen=True)
class Spread:
    """Spread of the answers to mirrored inputs over that of the others; error: standard error of its logarithm."""

    ratio: float
    error: float

    @property
    def differs(self) -> bool:
        """Whether the network tells the two kinds of inputs apart, by more than chance explains."""
        return abs(log(self.ratio)) > max(UNLIKE, 2 * self.error)


@dataclass(frozen=True)
class Decided:
    """What the mirror changes of the decisions of scores (`decisions`).

    changed: share of them that become another one.  others: share of the samples that are not of the commonest class,
    0 of less than three classes; of yes and no twice the rarer one, which is 1 where both are as common.
    worst: as `changed`, among those of one class; 1 where some class was hardly ever decided for.
    """

    changed: float
    others: float
    worst: float


@dataclass(frozen=True)
class Shown:
    """What the mirror changes of the decisions between classes, of those that the inputs show.

    changed, others: as of `Decided`.  worst: as `changed`, of one class, with two decisions more that stay.
    plain: the gap of the scores as they are. Only a network in which that is 0 commutes with the mirror.
    """

    changed: float
    others: float
    worst: float
    plain: float = 0.0

    @property
    def is_of_all_classes(self) -> bool:
        """Whether no class loses most of its decisions, as both of a forgotten pair do."""
        return self.worst <= MOST_OF_A_CLASS

    @property
    def stay(self) -> bool:
        """Whether the mirror changes few of the decisions, over all and of each class."""
        return self.is_of_all_classes and self.changed < HARDLY_DECIDES * self.others


@dataclass(frozen=True)
class OutputGap:
    """One output of a network as it is.

    gap: RMS(f(x) - T f(Tx)) / s.  apart: mean |f(x) - T f(Tx)| in the output's own units, the length over the
    coordinates of a joint.  odd_share: share of its energy that T negates.
    changed: share of samples whose highest score is another one after the mirror, None where there are no scores.
    spread: of the answers to mirrored inputs, None where answers do not differ.
    lean: RMS over the entries of mean(f(x) - T f(Tx)) / s, less what chance leaves of it.
    others, worst: as of `Decided`; 1 where nothing is known of single classes.
    supposed: the decisions of entries that nobody called decisions, as if 0 parted yes from no.
    shown: of scores of classes; then gap, spread and lean are those of their probabilities, and apart is 0.
    """

    index: int
    gap: float
    odd_share: float
    apart: float = 0.0
    changed: float | None = None
    spread: Spread | None = None
    lean: float = 0.0
    others: float = 0.0
    worst: float = 1.0
    supposed: Decided | None = None
    shown: Shown | None = None

    @property
    def plain_gap(self) -> float:
        """The gap of the output as it is: of scores, that of the numbers and not of their probabilities."""
        return self.gap if self.shown is None else self.shown.plain


@dataclass(frozen=True)
class EntryGap:
    """RMS(f(x) - T f(Tx)) / s of one entry of an output, such as `right_elbow.x`."""

    label: str
    gap: float


@dataclass(frozen=True)
class PairGap:
    """A pair of joints or classes (`left_wrist/right_wrist`), or one that is its own partner: as in OutputGap.

    output: its index.  share: of all squared distances of that output.
    """

    label: str
    apart: float
    gap: float
    output: int = 0
    share: float = 0.0


@dataclass(frozen=True)
class Asymmetry:
    """The gaps of a network. entries: those with the largest gaps, the worst first.  pairs: all of them, likewise."""

    outputs: tuple[OutputGap, ...]
    entries: tuple[EntryGap, ...]
    samples: int
    pairs: tuple[PairGap, ...] = ()

    @property
    def gap(self) -> float:
        """The largest gap of any output."""
        return max((output.gap for output in self.outputs), default=0.0)

    @property
    def plain_gap(self) -> float:
        """The largest gap of any output as it is: of scores, that of the numbers and not of their probabilities."""
        return max((output.plain_gap for output in self.outputs), default=0.0)

    def as_numbers(self) -> Asymmetry:
        """The same with the gaps of scores as they are, and not of their probabilities."""
        return replace(self, outputs=tuple(replace(output, gap=output.plain_gap) for output in self.outputs))

    @property
    def undecided_gap(self) -> float:
        """The largest gap of any output but scores whose decisions stay."""
        settled = {output.index for output in self.outputs if output.shown is not None and output.shown.stay}
        return self.of_outputs({output.index for output in self.outputs} - settled).gap

    @property
    def lean(self) -> float:
        """The largest lean of any output."""
        return max((output.lean for output in self.outputs), default=0.0)

    def of_outputs(self, indices: Collection[int]) -> Asymmetry:
        """The same of some outputs alone."""
        return replace(self, outputs=tuple(filter(lambda output: output.index in indices, self.outputs)))

    def gravest(self, shares: Mapping[int, float], bound: float, of_forecasts: float) -> Asymmetry:
        """The outputs of the kind, forecasts or others, that are further beyond their bound, in units of their own.

        shares: by forecast, as for `counted_in`.
        """
        others = self.of_outputs({output.index for output in self.outputs} - shares.keys())
        forecasts = self.of_outputs(shares).counted_in(shares)
        return forecasts if forecasts.gap / of_forecasts > others.gap / bound else others

    def counted_in(self, shares: Mapping[int, float]) -> Asymmetry:
        """The same with the gaps of some outputs in units of so large a share of their spread.

        shares: by output. Leans, entries and pairs stay in units of the whole.
        """
        outputs = list[OutputGap]()
        for output in self.outputs:
            share = shares.get(output.index, 1.0)
            outputs.append(replace(output, gap=output.gap / share))
        return replace(self, outputs=tuple(outputs))

    @property
    def spread(self) -> Spread | None:
        """That of the output where it differs most, by more than chance if it does anywhere."""
        spreads = [output.spread for output in self.outputs if output.spread is not None]
        return max(spreads, key=lambda spread: (spread.differs, abs(log(spread.ratio))), default=None)


@dataclass(frozen=True)
class LayerGap:
    """Gap of what a layer reads (before) and answers (after), under the best representation there is.

    module: its place in the network.  op: what it computes.  size: numbers that it answers per sample.
    """

    module: str
    op: str
    size: int
    before: float
    after: float

    @property
    def added(self) -> float:
        """The part that the layer itself adds: the root of after² - before², 0 where it takes away."""
        return max(self.after**2 - self.before**2, 0.0) ** 0.5


ON_ONE_SIDE = 2.0
"""Spreads between the mean of an entry and that of its mirror image from which on the entry shows one side. Turns to
one side have 3.3 and more; both sides 0.1, walks of 16 robots and more 1.4 at most, by chance (decision 0075)."""


@dataclass(frozen=True)
class DataGap:
    """One entry of the data: its mean, the mean of its mirror image, and the spread about the mean.

    The spread of an entry that hardly varies is a share of what is usual among the others (`data.gaps_of`).
    """

    label: str
    mean: float
    mirrored: float
    spread: float

    @property
    def gap(self) -> float:
        """How far the two means are apart, in units of the spread; 0 on symmetric data."""
        apart = abs(self.mean - self.mirrored)
        if self.spread:
            return apart / self.spread
        return 0.0

    @property
    def shows_a_side(self) -> bool:
        """Whether the entry lies on one side, far from its mirror image."""
        return self.gap >= ON_ONE_SIDE

    @property
    def words(self) -> str:
        """`turn is 0.3 in the mean, and -0.3 in the mirror image, 3.5 spreads apart`."""
        means = f"{self.label} is {self.mean:.2g} in the mean, and {self.mirrored:.2g} in its mirror image"
        return f"{means}, {self.gap:.2g} spreads apart"


@dataclass(frozen=True)
class Leaning:
    """All samples (label None), or those of one label.

    apart: mean |mean - T mean| over the input's joints or entries, in its units.  gap: the same over the spread (RMS).
    side: share of the samples that one can tell from mirrored ones, 0.5 for symmetric data and 1 where every
    sample shows one side; None for fewer than 40 samples.
    """

    label: str | None
    samples: int
    apart: float
    gap: float
    side: float | None


@dataclass(frozen=True)
class Advice:
    """Whether to convert. text: the reason with its figures.  remedy: what to do.

    is_noise: the answers to both sides differ, but nothing says that the network knows one of them better.
    """

    kind: AdviceKind
    text: str
    remedy: str
    is_noise: bool = False

    @property
    def speaks_for(self) -> bool:
        """Whether nothing speaks against a conversion."""
        return self.kind in ("convert", "equivariant")


@dataclass(frozen=True)
class Shifted:
    """Both views with the turned maps moved to the right by so many cells.

    gap: RMS distance over the spread of the answers.  height: of the peaks of their mean, over the mean of their own
    peaks; None where the answers are no maps.
    """

    shift: float
    gap: float
    height: float | None = None


@dataclass(frozen=True)
class Section:
    """One row of cells: the answer, the turned answer to the mirrored picture, and that moved by the shift."""

    plain: tuple[float, ...]
    turned: tuple[float, ...]
    aligned: tuple[float, ...]


@dataclass(frozen=True)
class Explanations:
    """Shifts that something other than a slip would explain, None where that cannot be derived.

    layers: the shift that the layers make where kernels are symmetric.  labels: that of maps that are labelled with
    cell i at pixel stride * i.
    """

    layers: float | None = None
    labels: float | None = None


@dataclass(frozen=True)
class Drawn:
    """The measurement as pictures show it. curve: gap by shift.  section: None where no shift was measured."""

    curve: tuple[tuple[float, float], ...] = ()
    section: Section | None = None


@dataclass(frozen=True)
class Alignment:
    """How far the turned maps of an output are off along one axis, in cells to the right.

    shift: None where nobody can tell, and `why`.  error: its standard error, None for too few pictures.  stated: the
    shift of the specification.  figures: unshifted, by a whole cell, as stated, and by `shift`.
    """

    output: int = 0
    axis: str = ""
    cells: int = 0
    samples: int = 0
    stated: int = 0
    shift: float | None = None
    error: float | None = None
    why: str = ""
    figures: tuple[Shifted, ...] = ()
    explanations: Explanations = Explanations()
    drawn: Drawn = Drawn()

    @property
    def center(self) -> float | None:
        """The cell that a specification mirrors at for the nearest whole shift."""
        if self.shift is None:
            return None
        return (self.cells - 1 + round(self.shift)) / 2

    @property
    def is_aligned(self) -> bool:
        """Whether the specification states the shift that was measured, to a tenth of a cell."""
        return self.shift is not None and abs(self.shift - self.stated) <= max(ALIGNED, 2 * (self.error or 0.0))

    def at(self, shift: float) -> Shifted | None:
        """The figures at one of the shifts that were looked at."""
        return next((figure for figure in self.figures if figure.shift == shift), None)
