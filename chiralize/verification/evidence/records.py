"""Frozen records of mirrors beside each other: what is tried, how well each fits, and what would make T fit.

A `Candidate` is tried, its `MirrorGap` measured by `fitting`; all of them with T make a `Comparison`, to which
`corrections` may add a `Corrected`, and which `judging` puts into words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from chiralize.graph.mirror import AgainstNames, Corrected, NetworkMirror

AT_A_POINT, PAIRED = "mirrored at", "paired with"
"""In the names of mirrors that differ in the point that coordinates are mirrored at, and in partners."""
ALONG_WIDTHS = "pictures reversed along w"
"""Of those that reverse pictures along their widths where T reverses heights."""
LIE_ABOUT = "while its answers lie about"
UNLESS_FOREIGN = ", unless the inputs are not those that the network knows"
"""What a warning says of a point that T mirrors answers at."""
AS_CLASSES = "swapped (`classes: {swap: "
"""The same of those that swap scores, all at once."""
AT_ANOTHER_CELL = "reversed at another cell"
"""The same of those that reverse an axis beside its place."""
ABOUT_THE_MEAN = "(about the mean "
"""The same of those about the point that inputs lie about, or lay about in training."""
IN_AN_ENTRY = "}` in "
"""Of those about the mean of single blocks: what the entry of a block lacks, and that it goes there."""
AT_THE_LEAST, AT_THE_MIDDLE = "(where its gap is least)", "(a middle, where its gap is least)"
"""The same of those about the point at which the gap of T is least, and where that is the middle of a picture."""


_CHECK_POINT = (
    "; check that `reflect` names the middle of the picture, half of its width: if it does, what was seen in training "
    "lay to one side of that"
)
_CHECK_COUNTED = (
    "; check where the coordinates of such blocks count from: where 0 is not in the middle, as at the edge of a table, "
    "`reflect` in the entry says what is; where it is, what was seen in training lay to one side of it"
)


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
    output, RMS over entries.
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

    @property
    def apart(self) -> float:
        """How far T is off on those entries, in shares of the spread of the output; 1 where they do not vary."""
        return self.given * self.share or 1.0

    @property
    def words(self) -> str:
        """Its gap beside that of T, on the entries that the two predict differently."""
        where = "" if self.is_of_all else ", on the entries that the two predict differently"
        return f"its gap is {self.here:.3g} with {self.name}, {self.given:.3g} with T{where}"

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
class Comparison:
    """T beside other mirrors.

    gap: of T.  others: those that are not T, each once.  same: the shipped skeletons whose mirror T is.
    answers_stay: T leaves three quarters of the answers as they are, or more.
    corrected: what makes T fit; None where nobody looked.
    against: what mirrors that come nearer do against names that T follows, by their names.
    as_right: those, by their names, that differ from T by a symmetry of the world that the inputs show.
    """

    gap: float
    others: tuple[MirrorGap, ...] = ()
    same: tuple[str, ...] = ()
    answers_stay: bool = False
    corrected: Corrected | None = None
    against: Mapping[str, AgainstNames] = field(default_factory=dict)
    as_right: frozenset[str] = frozenset()


def is_about_another_point(name: str) -> bool:
    """Whether a mirror, by its name, is T about a point of the inputs or of the least gap: no more than a doubt."""
    return any(words in name for words in (ABOUT_THE_MEAN, AT_THE_LEAST, AT_THE_MIDDLE))


def is_one_change(name: str) -> bool:
    """Whether a mirror, by its name, is one line of a specification, however many entries get other partners."""
    return is_about_another_point(name) or any(words in name for words in (PAIRED, AS_CLASSES, AT_ANOTHER_CELL))


def is_about_a_block(name: str) -> bool:
    """Whether a mirror, by its name, is T about the point that single blocks of an observation lie about."""
    return ABOUT_THE_MEAN in name and IN_AN_ENTRY in name


def point_to_check(name: str) -> str:
    """What a doubt that names a mirror about another point says to check; "" of all others."""
    if is_about_a_block(name):
        return _CHECK_COUNTED
    return _CHECK_POINT if is_about_another_point(name) else ""
