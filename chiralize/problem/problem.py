"""What a method is given, and what a method is.

Commands put a `Problem` together step by step: network, request, then the inputs, judged and cut into batches. Each
step takes a problem and returns another one. A method is a function from the last of them to drafts (decision 0033).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from chiralize.infer.hidden.assign import Chooser
from chiralize.problem.data.batches import Batches
from chiralize.problem.data.moments.normalisers import InputMoments
from chiralize.problem.mirror import Inferred
from chiralize.problem.network import Network
from chiralize.problem.request import Request
from chiralize.problem.result import Draft

MAX_DRIFT = 1.25
"""The bound on rho of methods that choose how many units stay, where the user gives none."""
BESIDE_GUESSES = 0.6
"""The bound of `auto` where inputs don't show how far an entry moves. Of 22 such fits those below had up to 1.03 of the
original's error (but for robots that stand still), those above 1.07 to 1.27 (decision 0111)."""


@dataclass(frozen=True)
class Fallback:
    """Drafts of another method, measured beside a method's own where nobody named pairs of units.

    method: the other one.  title: what a result is called that comes from there.  note: why it was taken.
    """

    method: str
    title: str
    note: str


@dataclass(frozen=True)
class Method:
    """A way to make a network equivariant: how hidden spaces transform, and how weights are filled in for that.

    name: as on the command line.  drafts: its results, the likeliest first, each made when it is asked for; None for
    `auto`, which tries other methods.  prepare: what is done to a problem before, such as making normalisers symmetric.
    fallback: whose drafts are tried beside its own.
    pairing: who pairs hidden units of a problem, for `plan`; None where none are paired.

    is_fitted: weights are fitted to inputs, or pairs chosen by them.  takes_width: it keeps a share of the units.
    averages: how much of the network may run on both views: nothing, a part of it (`--on-blocked average`), or the
    whole, so that no op stops it.  keeps_units: hidden units stay as they are, and only weights are moved.
    is_trained_on: its result is a start for training, not to be used as it is.  max_drift: the bound on rho that holds
    where the user gives none.  on_weights: what it does to them, in two words.
    """

    name: str
    drafts: Callable[[Problem], Iterator[Draft]] | None
    prepare: Callable[[Problem], Problem] = lambda problem: problem
    fallback: Fallback | None = None
    pairing: Callable[[Problem], Chooser] | None = None
    is_fitted: bool = False
    takes_width: bool = False
    averages: Literal["nothing", "part", "whole"] = "nothing"
    keeps_units: bool = False
    is_trained_on: bool = False
    max_drift: float | None = None
    on_weights: str = ""


@dataclass(frozen=True)
class Problem:
    """A network, what the user asked for, and the inputs that there are.

    method: the one that was asked for; where that is `auto`, the request tells which of its candidates is being tried.
    both_views: fits aim at the mean of the original's two views, not at its answers to the inputs as they are.
    leaning: why the answers to mirrored inputs may be no target, of a policy whose environment tells; else empty.
    one_sided: means and spreads of the network's inputs in training, where these show one side to fit on; else empty.
    two_sided: what the network remembers of its inputs in training is alike on both sides.
    inferred: what inference said of a network at the beginning; None where nobody asked.
    """

    network: Network
    request: Request
    method: Method
    batches: Batches
    both_views: bool = False
    leaning: str = ""
    one_sided: tuple[InputMoments, ...] = ()
    two_sided: bool = False
    inferred: Inferred | None = None

    @staticmethod
    def of(network: Network, request: Request, method: Method) -> Problem:
        """With the inputs as the user gave them."""
        return Problem(
            network, request, method, Batches(request.calibration, request.sequences, remarks=request.remarks)
        )

    @property
    def is_fitted(self) -> bool:
        """Whether weights are fitted to inputs, or pairs chosen by them."""
        return self.method.is_fitted or self.request.distill > 0

    @property
    def max_drift(self) -> float | None:
        """The bound on rho that is in force: the user's, else the method's; a lower one of `auto` beside guesses."""
        bound = self.method.max_drift
        if self.request.max_drift is not None:
            return self.request.max_drift
        if bound is not None and self.request.method == "auto" and self.batches.are_guessed:
            return min(bound, BESIDE_GUESSES)
        return bound

    def with_batches(self, **changes: Any) -> Problem:
        """The problem with other inputs: fields of `Batches` by name."""
        return replace(self, batches=replace(self.batches, **changes))

    def with_remarks(self, *remarks: str) -> Problem:
        """The problem with more for the report to say of its inputs."""
        return self.with_batches(remarks=(*self.batches.remarks, *remarks))
