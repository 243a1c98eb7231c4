"""Whether to convert, once policies ran in their environment: what a roll-out shows outweighs what data look like.

An environment that is its own mirror image settles two doubts: the task is symmetric, and T is its mirror.  What is
left is whether the result, or the flip average that it is made from, does the task as the original does.
"""

from __future__ import annotations

from chiralize.errors.words import when
from chiralize.verification.asymmetry.records import Advice
from chiralize.verification.closed_loop.records import AVERAGE, FEW, MIRRORED, Probe, Rollout, Walker

LEAST_SHARE = 0.9
"""Share of the original's return below which a result is no stand-in for it."""
_LEARN = (
    "learn the other side from answers on this one: `reduce` with --calibration (observations from the environment), "
    "--distill and --force; or train on with mirrored samples, or train the result on (keep_symmetric)"
)


def advice_after(advice: Advice | None, rollout: Rollout) -> Advice | None:
    """The advice of an audit, as the roll-out leaves it.

    It stays where the environment is not its own mirror image, where nobody can tell, and where the original falls at
    once.
    """
    if advice is None or advice.kind == "equivariant" or not _settles(rollout.probe):
        return advice
    if rollout.fell_at_once(rollout.original):
        return advice
    average = next(walker for walker in rollout.walkers if walker.name == AVERAGE)
    task = "the environment is its own mirror image: the task is symmetric, and T is its mirror"
    few = when(rollout.starts < FEW, f", as far as {rollout.starts} starts tell")
    result = rollout.result
    walker = result or average
    does = f"the {walker.name} {_returns(rollout, walker)}{few}"
    if is_short(rollout, walker) or walker.falls > rollout.original.falls:
        return Advice("one-sided network", f"{task}; but {does}", _LEARN)
    if result is not None:
        return Advice("convert", f"{task}; and {does}", "take the result")
    remedy = "convert, and run the result here as well (--chiral)"
    return Advice("convert", f"{task}; and {does}", remedy)


def is_short(rollout: Rollout, walker: Walker) -> bool:
    """Whether a policy returns less than the original by more than is no matter."""
    before = rollout.original.mean.mean
    return before - walker.mean.mean > (1 - LEAST_SHARE) * abs(before)


def _settles(probe: Probe | None) -> bool:
    """Whether the test of the environment shows it to be its own mirror image, by the actions that the robot takes."""
    if probe is None or probe.actions or probe.restarted > MIRRORED:
        return False
    return probe.is_repeatable and probe.is_symmetric


def _returns(rollout: Rollout, walker: Walker) -> str:
    """`returns 1.1 of what the original does and falls 2 times of 12, the original 1`."""
    share = rollout.share(walker)
    if share is None:
        text = f"returns {walker.mean.mean:.4g} after {rollout.original.mean.mean:.4g}"
    else:
        text = f"returns {share.mean:.3g} of what the original does"
    if walker.falls == rollout.original.falls:
        return text
    return f"{text} and falls {walker.falls} times of {2 * rollout.starts}, the original {rollout.original.falls}"
