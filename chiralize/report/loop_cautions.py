"""Warnings of policies in their environment: of the environment, of the specification, and of what policies do there.

Each is taken from a `Rollout`; `cautions` has them in its list, and `in_the_loop` prints them below its table. Which of
them there are depends on what may be compared. Of an environment that is asked without a policy (`Probe`):

    does it begin where it began?       else nothing can be compared, and only this is said
    does it repeat itself?              else gaps are noise, and nothing below the mirror is asked
    does T fit what is seen?            else the specification is wrong, and nothing below is asked
    is it symmetric under T?            else gaps are the environment's as well
    are its rewards symmetric?          else gaps of returns are the reward's as well
"""

from __future__ import annotations

from chiralize.errors import Caution
from chiralize.errors.words import listed, percent, when
from chiralize.report.document import short
from chiralize.report.loop_words import compared, even_starts_in_words, may_be_short_in_words, with_error
from chiralize.verification.closed_loop.records import MIRRORED, How, Probe, Rollout

EVEN = 0.05
"""Gap of the returns of both sides, as a share of the return, above which a result is one-sided."""
_Fault = tuple[str, str]
"""A sentence on what is wrong, and the same in a few words."""

_OF_STATE = (
    "The specification mirrors these wrongly, or they are not of the robot's state (a command, a clock): then give the "
    "environment a method mirrored_reset(seed)"
)

_WHY_NOT_MIRRORED: dict[How, str] = {
    "state": _OF_STATE,
    "view": _OF_STATE,
    "reset": (
        "Either the specification mirrors these wrongly, or the environment's mirrored_reset does: it has to begin at "
        "the mirror image of what reset(seed) begins at, in these entries too (a command turned about, a clock half a "
        "period later). Print what both return for one seed"
    ),
}
"""What to do about entries that differ, by how mirrored starts came about."""


def loop_cautions(rollout: Rollout | None) -> tuple[Caution, ...]:
    """What is wrong with the environment or the specification, and what is wrong with the policies."""
    if rollout is None:
        return ()
    return (*_of_environment(rollout), *_of_falls(rollout), *_of_average(rollout), *_of_result(rollout))


def _of_environment(rollout: Rollout) -> list[Caution]:
    """Warnings of the environment, and of a specification that it contradicts.

    Each question presupposes the ones before it (module docstring): the list ends where an answer forbids the next.
    """
    probe = rollout.probe
    if probe is None:
        return []
    if probe.restarted > MIRRORED:
        return [_of(_starts_anew(probe))]
    faults: list[_Fault] = []
    if not probe.is_repeatable:
        faults.append(_random(probe))
    faults += mirror_faults(probe, rollout.how)
    # What follows compares walks with mirrored walks, which says nothing where walks do not repeat themselves, or T is
    # wrong from the start or in the actions.
    if not probe.is_repeatable or probe.start > MIRRORED or probe.contrary.actions:
        return list(map(_of, faults))
    # Where a rival to T fits, it is T that is wrong, and `mirror_faults` has said so.
    if (probe.steps > MIRRORED or probe.ends) and probe.contrary.rival is None:
        faults.append(_asymmetric(probe))
    if probe.is_paid_unevenly:
        faults.append(_one_sided_reward(probe))
    return list(map(_of, faults))


def _of(fault: _Fault) -> Caution:
    """The warning of a fault, given as a sentence and the same in a few words."""
    text, brief = fault
    return Caution("loop", text, brief)


def _starts_anew(probe: Probe) -> _Fault:
    """An environment that shows something else whenever it is reset to one start."""
    brief = "the environment does not begin again where it began"
    text = (
        f"{brief}: what is seen at the same start differs by {short(probe.restarted)} from one reset to the next "
        "(a normaliser that goes on learning, or a start that is drawn without the seed), so that starts and "
        "mirrored starts cannot be compared"
    )
    return text, brief


def _random(probe: Probe) -> _Fault:
    """An environment in which the same actions from the same start do not do the same."""
    brief = "the environment draws at random"
    text = (
        f"{brief} after the start (the same actions, twice, differ by {short(probe.repeated)}): whether it is "
        "asymmetric cannot be told, and gaps are noise as well, as much as the flip average's"
    )
    return text, brief


def _asymmetric(probe: Probe) -> _Fault:
    """An environment in which mirrored actions do something else, with the entries that show it."""
    where = when(probe.entries, f": {listed(probe.entries)}")
    where += when(probe.robot, f" (the robot's model: {probe.robot})")
    text = (
        "the environment itself is asymmetric: mirrored actions from a mirrored start do not do the mirrored thing"
        f"{where}. Gaps below are the environment's as well; the flip average's are the environment's alone"
    )
    # A wrong sign of an entry that is 0 at the start looks the same. It is ruled out where every entry that was
    # tested at all was tested at the start, or where the robot's model has a difference that explains what is seen.
    if probe.entries and probe.coverage.tested_at_start < probe.coverage.tested and not probe.robot:
        text += (
            ". Or the specification mirrors these entries wrongly: at the start some were 0, or alike on both "
            "sides (a memory of actions), and nothing of the robot's model differs"
        )
    return text, "the environment itself is asymmetric"


def _one_sided_reward(probe: Probe) -> _Fault:
    """Rewards that differ although the mirrored thing happened."""
    text = "the reward is one-sided: mirrored episodes are rewarded differently"
    # After the first step both sides are hardly apart, so that the reward is to blame even in an environment that is
    # asymmetric itself. Later the reward is known by itself only where walks mirror each other throughout.
    if probe.paid_at_once:
        text += (
            f" (by {percent(probe.paid_at_once)} of the rewards after the first step, when what is seen is nearly "
            "its own mirror image). Gaps of returns are the reward's as well"
        )
    else:
        text += (
            f" (by {percent(probe.reward)} of the rewards). Gaps of returns are the reward's as well; the flip "
            "average's are the reward's alone"
        )
    return text, "the reward is one-sided"


def mirror_faults(probe: Probe, how: How) -> list[tuple[str, str]]:
    """What of T the environment contradicts: a sentence, and the same in a few words; at most one of these.

    how: starts are mirrored.  From what is certain (a start is what it is) to what is likely (an entry that goes the
    opposite way): a fault of the former kind causes those of the latter.
    """
    contrary = probe.contrary
    if not probe.contradicts:
        return []
    if probe.start > MIRRORED:
        text = (
            f"what is seen at a mirrored start is not the mirror image of what is seen at the start: "
            f"{listed(probe.entries)}. {_WHY_NOT_MIRRORED[how]}"
        )
        return [(text, f"the observation is mirrored wrongly: {probe.entries[0]}")]
    if contrary.rival is not None:
        right, wrong = short(contrary.rival.steps), f"{short(probe.steps)}: {listed(probe.entries)}"
        text = (
            f"with {contrary.rival.name} mirrored actions from a mirrored start do the mirrored thing (what is seen "
            f"differs by {right} at most), by T they do not ({wrong}): correct the specification. At the start such "
            "entries are 0"
        )
        return [(text, f"the specification may have the wrong sign: {contrary.rival.name} fits the environment")]
    if contrary.actions:
        text = f"the specification mirrors the actions otherwise than the robot's file: {listed(contrary.actions)}"
        return [(text, "the actions are mirrored otherwise than the robot's")]
    text = (
        f"after mirrored actions {listed(contrary.opposed)} is the negative of what T says: look at the signs of the "
        "specification first. At the start such entries may all be 0"
    )
    return [(text, f"the specification may have the wrong sign of {contrary.opposed[0]}")]


def _of_falls(rollout: Rollout) -> list[Caution]:
    """A warning for every policy that falls at once, whose figures say nothing."""
    fallen = [walker for walker in rollout.walkers if rollout.fell_at_once(walker)]
    cautions: list[Caution] = []
    for walker in fallen:
        brief = f"the {walker.name} falls at once"
        text = (
            f"{brief}: from every start, after {walker.mean_steps:.0f} of {rollout.steps} steps on average; its "
            "returns and its gap say nothing of how it walks"
        )
        cautions.append(Caution("loop", text, brief))
    return cautions


def _of_average(rollout: Rollout) -> list[Caution]:
    """A warning where the flip average returns less: the average of a one-sided gait and its mirror image need not be a
    gait.
    """
    average = rollout.average
    if not rollout.is_short(average):
        return []
    brief = "the flip average returns less than the original"
    # Of starts that are their own mirror image any equivariant policy returns less: no training mends that.
    if rollout.begins_even:
        text = f"{compared(rollout, average, brief)}: {even_starts_in_words(rollout)}"
        return [Caution("loop", text, f"{brief} (its starts are their own mirror image)")]
    remedy = (
        "this policy's answers to x and to T x are too unlike to be averaged, and what is converted without training "
        "follows their average; train on with mirrored samples first, or train the result on (keep_symmetric)"
    )
    return [Caution("loop", f"{compared(rollout, average, brief)}: {remedy}", brief)]


def _of_result(rollout: Rollout) -> list[Caution]:
    """Warnings of a result that returns less, falls more often, or is more one-sided than the flip average is."""
    result = rollout.result
    if result is None:
        return []
    cautions: list[Caution] = []
    after = result.mean
    if rollout.is_short(result):
        brief = "the result returns less than the original"
        cautions.append(Caution("loop", compared(rollout, result, brief), brief))
    elif rollout.may_be_short:
        brief = "the result may return less than the original"
        text = f"{may_be_short_in_words(rollout, result, brief)}. More --episodes tell"
        cautions.append(Caution("loop", text, brief))
    if result.falls > rollout.original.falls:
        brief = f"the result falls {result.falls} times of {2 * rollout.starts}, the original {rollout.original.falls}"
        cautions.append(Caution("loop", brief, brief))
    average = rollout.average
    # Its own gap against the flip average's. The average commutes with the mirror, so that a gap of it is the
    # environment's, or noise of which any policy has as much.
    size = abs(after.mean) or 1.0
    if result.gap.mean > EVEN * size and result.gap.mean > 2 * average.gap.mean:
        brief = f"the result is one-sided: gap {with_error(result.gap)}, the flip average's {with_error(average.gap)}"
        cautions.append(Caution("loop", brief, "the result is one-sided in the loop"))
    return cautions
