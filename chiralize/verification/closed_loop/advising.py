"""Whether to convert, once policies ran in their environment: what a roll-out shows outweighs what data look like.

An environment that is its own mirror image settles two doubts: the task is symmetric, and T is its mirror.  What is
left is whether the result, or the flip average that it is made from, does the task as the original does.

Models of real robots are not quite their own mirror images. Then nothing is settled of the task, but the returns count
all the same: a policy that returns as much from starts of both sides may be used there.

    the environment contradicts T                                   wrong mirror
    it is symmetric, and the result does as much as the original    convert
    it is symmetric, and the result does worse                      one-sided network
    its sides differ, and the result returns 0.97 and more          convert
    its sides differ, the result does worse, the data were fine     one-sided network
    anything else                                                   the advice of the data stays

`report` asks for `advice_after` where an audit ran policies.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, isfinite

from chiralize.errors.words import listed, when
from chiralize.verification.asymmetry.advice import ADD_IMAGES, ASK
from chiralize.verification.asymmetry.records import Advice
from chiralize.verification.closed_loop.records import FEW, LEAST_SHARE, MIRRORED, Estimate, Probe, Rollout, Walker

EQUIVARIANT_ALONG = 0.01
"""Mirror error along the way, in spreads of the actions, that rounding in float32 does not reach."""
AS_MUCH = 0.97
"""The same in an environment whose sides differ, where a loss may be the price of symmetry."""
_LEARN = (
    "learn the other side from answers on this one: `reduce` with --calibration (observations from the environment), "
    "--distill and --force; or train on with mirrored samples, or train the result on (keep_symmetric)"
)
_MEND = (
    "correct the specification before anything is converted (`chiralize skeleton check --robot ROBOT.xml SPEC.yaml` "
    "asks the robot's own model)"
)
_AVERAGE = (
    "convert with `--method average`, since the flip average returns as much as the original here; for one pass add "
    "the mirror images of the inputs to --calibration; else "
)
_NOT_EQUIVARIANT = (
    "see whether it is the converted file, and was converted with this specification (`chiralize verify FILE`)"
)
_CONVERT = "convert, and run the result here as well (--chiral)"


def advice_after(advice: Advice | None, rollout: Rollout) -> Advice | None:
    """The advice of an audit, as the roll-out leaves it.

    It stays where nobody can tell, and where the original falls at once; but no roll-out is advised once more.
    """
    if advice is None or advice.kind == "equivariant":
        return advice
    if rollout.fell_at_once(rollout.original):
        return _without_asking(advice)
    # What the environment says; then, where it says to convert, whether the result that ran is what it is said to be.
    after = _after(advice, rollout)
    result = rollout.result
    if after.speaks_for and result is not None and result.action_gap > EQUIVARIANT_ALONG:
        text = f"the result is not equivariant under T: its mirror error along the way is {result.action_gap:.2g}"
        return Advice("unknown", text, _NOT_EQUIVARIANT)
    if after.speaks_for or after.kind == "wrong mirror" or not _average_does(rollout):
        return after
    # The result falls short, and the flip average beside it does not: two passes are the way out.
    return replace(after, remedy=_AVERAGE + after.remedy.replace(ADD_IMAGES, ""))


def _after(advice: Advice, rollout: Rollout) -> Advice:
    """What the environment says of T, of the task, and of the result or the flip average."""
    if rollout.probe is not None and rollout.probe.contradicts:
        return Advice("wrong mirror", _contradicted(rollout.probe), _MEND)
    if _settles(rollout.probe):
        return _of_symmetric(rollout)
    if _is_only_uneven(rollout.probe):
        return _of_uneven(rollout, advice)
    return _without_asking(advice)


def _of_symmetric(rollout: Rollout) -> Advice:
    """Advice where the environment is its own mirror image."""
    task = "the environment is its own mirror image: the task is symmetric, and T is its mirror"
    if _is_worse(rollout, _judged(rollout)):
        return Advice("one-sided network", f"{task}; but {_does(rollout)}", _LEARN)
    return Advice("convert", f"{task}; and {_does(rollout)}", "take the result" if rollout.result else _CONVERT)


def _of_uneven(rollout: Rollout, advice: Advice) -> Advice:
    """Advice where its sides differ, as those of real robots do. advice: that of the data, which stays in doubt."""
    walker = _judged(rollout)
    text = f"{_does(rollout)}, over starts and their mirror images, in an environment whose two sides differ"
    if _is_worse(rollout, walker):
        return Advice("one-sided network", text, _LEARN) if advice.speaks_for else _without_asking(advice)
    # Enough of the return, and certainly enough: twice its error below it is still allowed.
    share = rollout.share(walker)
    if share is None or share.mean < AS_MUCH:
        return _without_asking(advice)
    if rollout.starts < FEW or share.mean - 2 * share.error < LEAST_SHARE:
        return _of_too_few(rollout, share, advice)
    return Advice("convert", text, "take the result" if rollout.result else f"{_CONVERT}; --force where `auto` stops")


def _of_too_few(rollout: Rollout, share: Estimate, advice: Advice) -> Advice:
    """Advice where the starts are too few to tell, with as many as should do if they go on as they began."""
    # The error falls with the root of the number of starts: so many that twice the error fits above the bound.
    spread = share.error if isfinite(share.error) else 0.0
    count = max(2 * FEW, ceil(rollout.starts * (2 * spread / (share.mean - LEAST_SHARE)) ** 2))
    figures = f"{share.mean:.3g} ± {share.error:.2g} of the original's return over {rollout.starts} starts"
    text = f"{advice.text}. In the loop the {_judged(rollout).name} has {figures}, too few to tell"
    rest = _without_asking(advice).remedy
    return replace(advice, text=text, remedy=f"give --episodes {count}, of which the returns can tell; else {rest}")


def _average_does(rollout: Rollout) -> bool:
    """Whether the flip average, run beside a result, certainly does as the original does."""
    share = rollout.share(rollout.average)
    if rollout.result is None or rollout.starts < FEW or share is None or _is_worse(rollout, rollout.average):
        return False
    return share.mean >= AS_MUCH and share.mean - 2 * share.error >= LEAST_SHARE


def _without_asking(advice: Advice) -> Advice:
    """The same without the advice to ask the environment, which has just been asked."""
    return replace(advice, remedy=advice.remedy.replace(ASK, ""))


def _judged(rollout: Rollout) -> Walker:
    """The result, or without one the flip average that it will be made from."""
    return rollout.result or rollout.average


def _is_worse(rollout: Rollout, walker: Walker) -> bool:
    """Whether a policy returns less than is allowed, or falls more often than the original."""
    return rollout.is_short(walker) or walker.falls > rollout.original.falls


def _contradicted(probe: Probe) -> str:
    """What the environment shows of T."""
    return f"the environment contradicts T: from mirrored starts it has otherwise {listed(probe.contradicts)}"


def _settles(probe: Probe | None) -> bool:
    """Whether the test of the environment shows it to be its own mirror image, by the actions that the robot takes."""
    if probe is None or probe.contrary.actions or probe.restarted > MIRRORED:
        return False
    return probe.is_repeatable and probe.is_symmetric


def _is_only_uneven(probe: Probe | None) -> bool:
    """Whether the environment's sides differ in what happens, while nothing speaks against T or for one side.

    Where mirror images happen and are not paid alike, the task itself asks for one side: no return settles that.
    """
    if probe is None or probe.contrary.actions or probe.contrary.opposed or probe.is_paid_unevenly:
        return False
    return max(probe.start, probe.restarted, probe.repeated) <= MIRRORED


def _does(rollout: Rollout) -> str:
    """`the result returns 1.1 of what the original does and falls 2 times of 12, the original 1`."""
    walker = _judged(rollout)
    share = rollout.share(walker)
    if share is None:
        text = f"the {walker.name} returns {walker.mean.mean:.4g} after {rollout.original.mean.mean:.4g}"
    else:
        text = f"the {walker.name} returns {share.mean:.3g} of what the original does"
    text += when(rollout.starts < FEW, f", as far as {rollout.starts} starts tell")
    if walker.falls == rollout.original.falls:
        return text
    return f"{text} and falls {walker.falls} times of {2 * rollout.starts}, the original {rollout.original.falls}"
