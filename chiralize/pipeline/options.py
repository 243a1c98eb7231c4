"""What a conversion is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chiralize.running import Call

METHODS = ("auto", "lift", "match", "project")
MAX_DRIFT = 1.25
FORMS = ("auto", "folded")
ON_BLOCKED = ("refuse", "average", "lift")
HELD_OUT = 5
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What a conversion is asked for.

    on_blocked: what to do about a part that cannot be equivariant: refuse, average (both views run through that part)
    or lift the whole network.  calibration: unlabelled inputs, the last fifth of which is held out.
    max_drift: bound on rho; without one, `auto` keeps to 1.25, and methods asked for by name are written whatever it
    is.  force: accept drift and degeneracy beyond the bounds.  symmetrize_constants: project constants that the mirror
    changes, too.  progress: told what is being done.
    """

    method: str = "auto"
    form: str = "auto"
    on_blocked: str = "refuse"
    calibration: Sequence[Call] = ()
    max_drift: float | None = None
    samples: int = 8
    force: bool = False
    symmetrize_constants: bool = False
    progress: Progress = lambda step: None

    @property
    def bound(self) -> float | None:
        """The bound on rho that is in force."""
        return MAX_DRIFT if self.max_drift is None and self.method == "auto" else self.max_drift
