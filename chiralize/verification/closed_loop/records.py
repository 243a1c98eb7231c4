"""Frozen records of what policies did in an environment, from starts and from the mirror images of those starts.

    Rollout          all of it; Walker: one policy, with a Side for the starts and one for their mirror images
    Probe            what the environment is, asked without a policy; Coverage, Contrary, Rival are parts of it
    Plane            in which the world is mirrored
    Estimate         a mean with its standard error

`running` and `probe` fill them; `advising` and `report` read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Literal

AT_ONCE = 0.2
"""A policy that falls from every start, within this share of the steps on average, falls at once."""
MIRRORED = 1e-3
"""How far an environment may be from its mirror image after a few steps, in the size of what it shows."""
FEW = 5
"""Fewer starts than this say little of a mean."""
LEAST_SHARE = 0.9
"""Share of the original's return below which a result is no stand-in for it."""
MORE_FALLS, SHARE_OF_WALKS = 2, 0.25
"""So many more falls than the original and its flip average, and so large a share of all walks more, are no accident:
of 8 walks two where those fell in none. One in 12 may be one."""

How = Literal["state", "reset", "view"]
"""How mirrored starts came about: the simulator's state was mirrored; the environment did it, in `mirrored_reset`; or
not at all, and the mirror image of the policy ran from the same starts."""

Confirmed = Literal["nothing", "start", "all"]
"""What of T an environment confirms: of what is seen at the start, or of that and of what actions do."""


@dataclass(frozen=True)
class Estimate:
    """A mean over starts and its standard error, infinite for one start."""

    mean: float
    error: float

    @staticmethod
    def of(values: Sequence[float]) -> Estimate:
        """The mean of at least one value."""
        mean = sum(values) / len(values)
        if len(values) < 2:
            return Estimate(mean, inf)
        variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
        return Estimate(mean, sqrt(variance / len(values)))


@dataclass(frozen=True)
class Plane:
    """The plane in which an environment is mirrored: points at y go to 2 offset - y, where `lateral` is y."""

    lateral: str
    offset: float = 0.0

    def image(self, point: tuple[float, float]) -> tuple[float, float]:
        """The mirror image of a point of a path, x and y."""
        x, y = point
        if self.lateral == "x":
            return 2 * self.offset - x, y
        if self.lateral == "y":
            return x, 2 * self.offset - y
        return point  # z: seen from above nothing moves


@dataclass(frozen=True)
class Side:
    """Episodes from the starts, or from their mirror images, in the order of the starts.

    fallen: whether the environment ended the episode, rather than time.  paths: x and y of the robot, step by step, of
    the first starts; empty where nobody knows where it is.
    """

    returns: tuple[float, ...]
    steps: tuple[int, ...]
    fallen: tuple[bool, ...]
    paths: tuple[tuple[tuple[float, float], ...], ...] = ()

    @property
    def mean(self) -> Estimate:
        """Of the returns."""
        return Estimate.of(self.returns)

    @property
    def falls(self) -> int:
        """From how many starts it fell."""
        return sum(self.fallen)


@dataclass(frozen=True)
class Walker:
    """One policy. name: original, flip average or result.

    parting: of every start, how far the mirror image of the robot is from the robot that began at the mirror image,
    mean over the steps that both took.  parted: the first step at which that is more than `Rollout.apart`, None where
    it never is.  action_gap: along the way, RMS(a(o) - T a(T o)) in units of the spread of the actions.
    even_starts: from how many starts what is seen first is its own mirror image.
    """

    name: str
    ahead: Side
    mirrored: Side
    parting: tuple[float, ...]
    parted: tuple[int | None, ...]
    action_gap: float
    even_starts: int = 0

    @property
    def mean(self) -> Estimate:
        """The return over both sides; every start counts once."""
        pairs = zip(self.ahead.returns, self.mirrored.returns, strict=True)
        return Estimate.of([(one + other) / 2 for one, other in pairs])

    @property
    def gap(self) -> Estimate:
        """Mean difference, without its sign, between the return of a start and that of its mirror image."""
        pairs = zip(self.ahead.returns, self.mirrored.returns, strict=True)
        return Estimate.of([abs(one - other) for one, other in pairs])

    @property
    def falls(self) -> int:
        """Of both sides together."""
        return self.ahead.falls + self.mirrored.falls

    @property
    def fell_on_one_side(self) -> int:
        """From how many starts it fell on one side only."""
        return sum(one != other for one, other in zip(self.ahead.fallen, self.mirrored.fallen, strict=True))

    @property
    def mean_steps(self) -> float:
        """Steps of an episode."""
        return sum(self.ahead.steps + self.mirrored.steps) / (2 * len(self.ahead.steps))


@dataclass(frozen=True)
class Coverage:
    """In how many entries of what is seen (observed) an environment could have spoken against T; not in those that were
    0, or alike on both sides.

    tested_at_start: by what was seen at the starts alone.  tested: by what was seen all along.
    """

    observed: int = 0
    tested_at_start: int = 0
    tested: int = 0


@dataclass(frozen=True)
class Rival:
    """A mirror near T under which the environment is its own mirror image. name: what is different, after "with".

    steps: the largest difference that is left after some steps, in the size of the entry.
    """

    name: str
    steps: float


@dataclass(frozen=True)
class Contrary:
    """What of T an environment contradicts by what happens in it.

    opposed: entries that do the negative of what T says, as where the specification has their signs wrong.
    actions: entries of the actions that the specification mirrors otherwise than the robot's file.
    rival: the signs of joints with which mirrored actions do the mirrored thing, where T's do not.
    """

    opposed: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    rival: Rival | None = None


@dataclass(frozen=True)
class Probe:
    """Whether the environment is its own mirror image, asked with random actions and without any policy.

    start: largest difference between T of an observation at a start and the observation at the mirrored start.
    steps: after some steps of actions and of T of these actions.  restarted, repeated: the same start twice, and the
    same actions after it, which show what is drawn at random.  Each in the size of the entry.
    reward: in the size of the rewards.  paid_at_once: after the first step, where rewards are much further apart than
    what is seen then; else 0.
    ends: whether one side ended and the other did not.
    entries: the entries that differ most, of the first of these that is too large.
    contrary: what contradicts T.
    robot: what the robot's own model does not share between its sides, "" where nothing, or where nobody knows.
    coverage: in how many entries it could have shown that T is wrong.
    """

    start: float
    steps: float
    reward: float
    repeated: float
    restarted: float = 0.0
    paid_at_once: float = 0.0
    ends: bool = False
    entries: tuple[str, ...] = ()
    contrary: Contrary = Contrary()
    robot: str = ""
    coverage: Coverage = Coverage()

    @property
    def confirms(self) -> Confirmed:
        """How much of T the environment confirms, in the entries that were tested.

        All of it where mirrored actions from mirrored starts show the mirror image. Where they do not, be it by chance
        or by a robot whose sides differ, only what is seen at the start.
        """
        # Starts that differ by themselves cannot be compared; and at starts of zeros nothing was tested.
        if self.contradicts or max(self.restarted, self.start) > MIRRORED or not self.coverage.tested_at_start:
            return "nothing"
        if self.contrary.opposed or self.ends or not self.is_repeatable or self.steps > MIRRORED:
            return "start"
        return "all"

    @property
    def contradicts(self) -> tuple[str, ...]:
        """The entries that the environment mirrors otherwise than T does, where starts can be compared."""
        if self.restarted > MIRRORED:
            return ()
        if self.start > MIRRORED:
            return self.entries
        if self.contrary.rival is not None:
            return (self.contrary.rival.name,)
        return self.contrary.actions or (self.contrary.opposed if self.is_repeatable else ())

    @property
    def is_repeatable(self) -> bool:
        """Whether the same actions from the same start do the same."""
        return self.repeated <= MIRRORED

    @property
    def is_paid_unevenly(self) -> bool:
        """Whether mirror images that happen are not paid alike; a robot whose sides differ does not hide it."""
        return self.paid_at_once > 0 or self.steps <= MIRRORED < self.reward

    @property
    def is_symmetric(self) -> bool:
        """Whether mirrored actions from mirrored starts do the mirrored thing, for the same rewards."""
        return max(self.start, self.steps, self.reward) <= MIRRORED and not self.ends


@dataclass(frozen=True)
class Rollout:
    """What policies did in an environment.

    steps: the most that an episode took.  unit: of parting.  apart: from what distance on two robots have parted.
    probe: None where starts could not be mirrored.  plane: None where nobody knows where the robot is.
    """

    environment: str
    steps: int
    how: How
    walkers: tuple[Walker, ...]
    probe: Probe | None = None
    unit: str = "m"
    apart: float = 0.05
    notes: tuple[str, ...] = field(default=())
    plane: Plane | None = None

    @property
    def starts(self) -> int:
        """How many starts there were, each on two sides."""
        return len(self.walkers[0].ahead.returns)

    @property
    def original(self) -> Walker:
        """The policy as it came."""
        return self.walkers[0]

    @property
    def average(self) -> Walker:
        """The flip average of the original."""
        return next(walker for walker in self.walkers if walker.name == AVERAGE)

    @property
    def result(self) -> Walker | None:
        """The converted policy, where one was given."""
        return next((walker for walker in self.walkers if walker.name == RESULT), None)

    def share(self, walker: Walker) -> Estimate | None:
        """Return of a policy as a share of the original's; None where that is not positive, so that shares say nothing.

        The error is that of differences from start to start, which is smaller than that of either return.
        """
        before = self.original.mean.mean
        if before <= 0:
            return None
        ratio = walker.mean.mean / before
        # Start by start, w - ratio * o in units of the original's return: easy starts are easy for both policies.
        differences: list[float] = []
        for number in range(self.starts):
            one = walker.ahead.returns[number] + walker.mirrored.returns[number]
            other = self.original.ahead.returns[number] + self.original.mirrored.returns[number]
            differences.append((one - ratio * other) / (2 * before))
        return Estimate(ratio, Estimate.of(differences).error)

    def is_short(self, walker: Walker) -> bool:
        """Whether a policy returns less than the original by more than is no matter."""
        before = self.original.mean.mean
        return before - walker.mean.mean > (1 - LEAST_SHARE) * abs(before)

    @property
    def begins_even(self) -> bool:
        """Whether most starts are their own mirror image. There an equivariant policy does what is its own image."""
        return 2 * self.original.even_starts > self.starts

    @property
    def is_lost(self) -> bool:
        """Whether the result returns less than the original, or falls clearly more often, and that says something."""
        if self.result is None or self.fell_at_once(self.original):
            return False
        return self.is_short(self.result) or self.falls_more

    @property
    def falls_more(self) -> bool:
        """Whether the result falls clearly more often than the original and its flip average."""
        if self.result is None:
            return False
        more = self.result.falls - max(self.original.falls, self.average.falls)
        return more >= max(MORE_FALLS, SHARE_OF_WALKS * 2 * self.starts)

    @property
    def may_be_short(self) -> bool:
        """Whether the result may return less than is allowed, by its error, where the flip average does not."""
        if self.result is None or self.fell_at_once(self.original):
            return False
        share, of_average = self.share(self.result), self.share(self.average)
        if share is None or of_average is None:
            return False
        return share.mean - share.error < LEAST_SHARE <= of_average.mean - of_average.error

    def fell_at_once(self, walker: Walker) -> bool:
        """Whether a policy fell from every start, and soon: then its returns say nothing of either side."""
        return walker.falls == 2 * self.starts and walker.mean_steps < AT_ONCE * self.steps


ORIGINAL, AVERAGE, RESULT = "original", "flip average", "result"
