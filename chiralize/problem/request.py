"""What a conversion is asked for: the options of the command line and of Python, a field each.

Values are checked when the record is made, whoever makes it; whether they go together is in `asking`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import torch

from chiralize.errors import UsageError
from chiralize.graph.devices import CPU
from chiralize.graph.rollouts import Steps
from chiralize.graph.running import Call
from chiralize.problem.progress import Progress, silent
from chiralize.storage import former_names

FORMS = ("auto", "folded", "blocks", "fused", "dense")
WIDTHS = (0.5, 0.707)
"""Shares of the hidden units that are tried where the user names none, the narrower first."""
ON_BLOCKED = ("refuse", "average", "average-all")
MOST_SAMPLES = 10_000
Product = Literal["module", "graph", "weights", "script"]
_NO_BOUND = "is not a number of at least 0"
_NO_COUNT = "is not a whole number of at least 0"
_NO_SAMPLES = f"is not a whole number from 1 to {MOST_SAMPLES:,}"


def _is_bound(number: float) -> bool:
    """Whether a number may bound something: nan and infinity bound nothing."""
    return isfinite(number) and number >= 0


_NUMBERS: dict[str, tuple[str, type, Callable[[Any], bool], str, str]] = {
    "max_drift": ("--max-drift", Real, _is_bound, _NO_BOUND, "correct it, or leave it out"),
    "max_shift": ("--max-shift", Real, _is_bound, _NO_BOUND, "correct it, or leave it out"),
    "width": ("--width", Real, lambda n: 0 < n <= 1, "is no share of the hidden units", "give one above 0, at most 1"),
    "mix": ("--mix-gaussian", Real, lambda n: 0 <= n < 1, "is no share", "give one from 0 to 1, for example 0.5"),
    "distill": ("--distill", Integral, lambda n: n >= 0, _NO_COUNT, "correct it"),
    "samples": ("--samples", Integral, lambda n: 1 <= n <= MOST_SAMPLES, _NO_SAMPLES, "correct it"),
    "rounds": ("--rounds", Integral, lambda n: n >= 0, _NO_COUNT, "correct it"),
}
"""Options that are numbers: as the command line spells them, kind, range, and what is said of others."""
_MAY_BE_LEFT_OUT = ("max_drift", "max_shift", "width", "rounds", "samples")


def number(name: str, value: Any) -> int | float:
    """The value of an option as Python's number. Raises UsageError where it is none that the option takes."""
    option, kind, fits, words, remedy = _NUMBERS[name]
    if not (isinstance(value, kind) and fits(value)):
        raise UsageError(option, f"{value!r} {words}", remedy)
    if kind is Integral:
        return int(value)
    return float(value)


@dataclass(frozen=True)
class Request:
    """What a conversion is asked for. Only the user fills it; `auto` asks for one of its candidates at a time.

    on_blocked: what to do about a part that cannot be equivariant: refuse, average (both views run through that part)
    or average the whole network.  calibration: unlabelled inputs, a fifth of which is held out.
    width: share of the hidden units that `reduce` keeps, each with its mirror image; 1 is the average.  distill: steps
    of gradient descent towards the original's answers afterwards.
    max_drift: bound on rho; without one, `auto` and `reduce` keep to 1.25, and other methods are written whatever it
    is.  max_shift: bound on how far a joint moves (RMS), in the unit of its output.  force: accept drift and degeneracy
    beyond the bounds.  symmetrize_constants: project constants that the mirror changes, too.  keep_statistics: refuse
    results with other means and variances than the original's.
    progress: called with what is being done.  product: what `auto` forms are chosen for, a module to train on, a graph
    to run, weights alone, or TorchScript with the original's code, once with other weights or twice for both views.
    tune: what is faster in blocks is timed, layer by layer.
    rounds: of Gauss-Newton over all layers after a fit; None: what is worth a minute, of that or of training.
    mix: share of samples of a Gaussian among what is fitted on, beside the calibration inputs.
    checkpoint: file that the state of distilling is kept in, so that an interrupted run can go on.
    device: where distillation runs.  remarks: what was noticed of the inputs when they were read.
    sequences: the calibration inputs as sequences, for networks that carry something from call to call.
    """

    method: str = "auto"
    form: str = "auto"
    on_blocked: str = "refuse"
    calibration: Sequence[Call] = ()
    width: float | None = None
    distill: int = 0
    max_drift: float | None = None
    samples: int | None = None
    force: bool = False
    symmetrize_constants: bool = False
    keep_statistics: bool = False
    progress: Progress = silent
    product: Product = "module"
    tune: bool = False
    rounds: int | None = None
    mix: float = 0.0
    checkpoint: Path | None = None
    remarks: tuple[str, ...] = ()
    device: torch.device = CPU
    sequences: Sequence[Steps] = ()
    max_shift: float | None = None

    @property
    def keeps_sizes(self) -> bool:
        """Whether weights have to keep the sizes that they have in the original."""
        return self.product in ("weights", "script")

    def __post_init__(self) -> None:
        """Raises UsageError for what no option is. Numbers of numpy become Python's, former names the current ones."""
        self._rename("method", "--method", former_names.METHODS)
        self._rename("on_blocked", "--on-blocked", former_names.ON_BLOCKED)
        for name in _NUMBERS:
            value = getattr(self, name)
            # The record is frozen; it sets its own fields this once.
            if value is not None or name not in _MAY_BE_LEFT_OUT:
                object.__setattr__(self, name, number(name, value))

    def _rename(self, name: str, option: str, current: Mapping[str, str]) -> None:
        """Put the current name of a value in the place of a former one, with a remark."""
        former = getattr(self, name)
        if former in current:
            object.__setattr__(self, name, current[former])
            object.__setattr__(self, "remarks", (*self.remarks, former_names.remark(option, former, current[former])))
