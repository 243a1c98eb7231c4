"""Both verdicts on a network: what running it on x and T x shows, and what the rules of its ops prove."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from chiralize.verification.verdicts import Trial, Verdict

if TYPE_CHECKING:
    from chiralize.problem.network import Network
    from chiralize.storage.passport import Passport


def judge(
    network: Network,
    passport: Passport | None = None,
    *,
    trial: Trial = Trial(),
    progress: Callable[..., None] = lambda *_: None,
) -> Verdict:
    """Run the network and prove it."""
    raise NotImplementedError
