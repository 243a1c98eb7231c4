"""Frozen records of mirrors beside each other: what is tried, how well each fits, and what would make T fit.

A `Candidate` is tried, its `MirrorGap` measured by `fitting`; all of them with T make a `Comparison`, to which
`corrections` may add a `Corrected`, and which `judging` puts into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chiralize.graph.mirror import NetworkMirror

AT_A_POINT, PAIRED = "mirrored at", "paired with"
"""In the names of mirrors that differ in the point that coordinates are mirrored at, and in partners."""
ALONG_WIDTHS = "pictures reversed along w"
"""Of those that reverse pictures along their widths where T reverses heights."""
LIE_ABOUT = "while its answers lie about"
"""What a warning says of a point that T mirrors answers at."""
AT_ANOTHER_CELL = "reversed at another cell"
"""The same of those that reverse an axis beside its place."""
ABOUT_THE_MEAN = "(about the mean "
"""The same of those about the point that inputs lie about, or lay about in training."""


@dataclass(frozen=True)
class AgainstNames:
    """What a mirror does against names that T follows.

    unswapped: partners by name that it leaves in their places, `left_ear and right_ear`.  misplaced: entries that it
    pairs, and that are not of two sides by their names, `RL_thigh with RL_calf`.
    """

    unswapped: tuple[str, ...] = ()
    misplaced: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether it does anything against them."""
        return bool(self.unswapped or self.misplaced)


@dataclass(frozen=True)
class MirrorGap:
    """How well one mirror fits the network.

    name: what is different about it.  gap: RMS(f(x) - T f(T x)) in units of the spread of f(x), the
    largest of all outputs.  ratio: its RMS over that of T, taken over the entries of the answers that the two mirrors
    predict differently; of the output where it is smallest, and 1 at least where another output fits worse.
    here, given: the two gaps that the ratio is of, on those entries.  skeletons: the shipped ones that it belongs to.
    is_of_all: those entries hold all that the answers vary by.  inputs: whether it does to inputs what T does, or a
    part of that.
    recenters: it is T, about another point.  swaps_nothing: it exchanges no entries of the inputs, and T does.
    numbers: how many numbers those entries are in all samples together.  share: their spread in shares of that of the
    output, RMS over entries.  apart: how far T is off there in the same shares.
    against: what it does against names that T follows, where it comes nearer than T.
    """

    name: str
    gap: float
    ratio: float = 1.0
    here: float = 0.0
    given: float = 0.0
    skeletons: tuple[str, ...] = ()
    is_of_all: bool = True
    inputs: Literal["same", "less", "other"] = "other"
    recenters: bool = False
    swaps_nothing: bool = False
    numbers: int = 0
    share: float = 1.0
    apart: float = 1.0
    against: AgainstNames = AgainstNames()

    @property
    def moves_less(self) -> bool:
        """Whether it does to inputs a part of what T does, and not all."""
        return self.inputs == "less"


@dataclass(frozen=True)
class Candidate:
    """Another mirror. name: what is different about it.  skeleton: the shipped skeleton that it belongs to, or ""."""

    name: str
    mirror: NetworkMirror
    skeleton: str = ""


@dataclass(frozen=True)
class Corrected:
    """Changes of the specification by name that together make T fit, and the gap that they leave.

    No names where nothing near T fits, however many things are changed.
    """

    names: tuple[str, ...]
    gap: float


@dataclass(frozen=True)
class Comparison:
    """T beside other mirrors.

    gap: of T.  others: those that are not T, each once.  same: the shipped skeletons whose mirror T is.
    answers_stay: T leaves three quarters of the answers as they are, or more.
    corrected: what makes T fit; None where nobody looked.
    """

    gap: float
    others: tuple[MirrorGap, ...] = ()
    same: tuple[str, ...] = ()
    answers_stay: bool = False
    corrected: Corrected | None = None
