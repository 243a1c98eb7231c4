"""The part of a report on policies in their environment, and what it warns of.

`--rollout` runs the original, its flip average and, of a conversion, the result from some starts and from their mirror
images (`verification.closed_loop`). Here a `Rollout` becomes a table with a row for each, warnings, and clauses for the
first line. A policy that commutes with the mirror has a gap of 0 in an environment that is its own mirror image:

    gap of the original 40 ± 9, of the flip average 2 ± 3        the policy leans, the environment does not
    gap of the original 40 ± 9, of the flip average 38 ± 8       the environment, or its reward, is one-sided
"""

from __future__ import annotations

from math import isfinite

from chiralize.errors import Caution
from chiralize.errors.words import listed, percent, when
from chiralize.report.document import Block, Line, Section, plain, plural, short, table
from chiralize.verification.closed_loop.records import LEAST_SHARE, MIRRORED, Estimate, How, Probe, Rollout, Walker

EVEN = 0.05
"""Gap of the returns of both sides, as a share of the return, from which on an environment or a policy is one-sided."""


def loop_blocks(rollout: Rollout | None) -> list[Block]:
    """A table of the policies, what the environment is like, and every warning."""
    if rollout is None:
        return []
    rows = [_row(rollout, walker) for walker in rollout.walkers]
    heads = ("policy", "return", "mirrored starts", "of the original's", "gap", "falls", "parting", "mirror error")
    title = f"In the loop: {rollout.environment}, {plural(rollout.starts, 'start')} and their mirror images"
    blocks: list[Block] = [Section(title), table(heads, rows, range(1, 8))]
    blocks.append(
        Line(f"an episode has at most {rollout.steps} steps; figures are means ± standard errors over starts")
    )
    blocks.append(Line("gap: mean difference between the return of a start and that of its mirror image"))
    blocks.append(
        Line(
            f"parting: how far the mirror image of the robot is from the robot that began there, {rollout.unit}; in "
            f"brackets after how many steps that is above {plain(rollout.apart)}, for the first half of the starts"
        )
    )
    blocks.append(Line("mirror error: RMS(a(o) - T a(T o)) along the way, in spreads of the actions"))
    blocks += _probe_blocks(rollout.probe)
    blocks += [Line(note) for note in rollout.notes]
    return blocks + [Line(caution.text, "bad") for caution in loop_cautions(rollout)]


def confirmed_in_words(rollout: Rollout | None) -> str:
    """What of T the environment confirms, as a clause; "" where it confirms nothing, or nothing was run.

    A `mirrored_reset` says no more than that whoever wrote it has the mirror of the specification in mind.
    """
    probe = rollout.probe if rollout is not None else None
    if rollout is None or probe is None or probe.confirms == "nothing":
        return ""
    seen = probe.coverage
    if probe.confirms == "all":
        part = f" in {seen.tested} of {seen.observed:,} entries of what is seen (the others are 0 there, or alike)"
        return "the environment confirms T" + when(seen.tested < seen.observed, part)
    word = "the environment confirms T" if rollout.how == "state" else "T agrees with the environment's mirrored_reset"
    return f"{word} in what is seen at the start alone ({seen.tested_at_start} of {seen.observed:,} entries)"


def _row(rollout: Rollout, walker: Walker) -> tuple[str, ...]:
    """A policy's row: figures as the heads of the table name them."""
    share = "" if walker is rollout.original else _with_error(rollout.share(walker))
    distances = sorted(walker.parting)
    middle = distances[len(distances) // 2]
    # parted: by start, after how many steps both robots were too far apart; None of those that never were, so that the
    # median over all starts is known only where half of them did part
    parted = sorted(step for step in walker.parted if step is not None)
    half = (rollout.starts - 1) // 2
    after = f" ({parted[half]})" if half < len(parted) else " (never)"
    return (
        walker.name,
        _with_error(walker.ahead.mean),
        _with_error(walker.mirrored.mean),
        share,
        _with_error(walker.gap),
        f"{walker.falls} of {2 * rollout.starts}",
        f"{short(middle)}{after}",
        short(walker.action_gap),
    )


def _with_error(estimate: Estimate | None) -> str:
    """`412 ± 8`, nothing where it is not known."""
    if estimate is None:
        return ""
    error = when(isfinite(estimate.error), f" ± {estimate.error:.2g}")
    return f"{estimate.mean:.4g}{error}"


def _probe_blocks(probe: Probe | None) -> list[Block]:
    """What the environment itself is like: a line where it is symmetric, else a table of how far it is from that."""
    if probe is None:
        return []
    if probe.is_symmetric:
        return [
            Line(
                "the environment is its own mirror image: random actions and their mirror images differ by "
                f"{short(max(probe.start, probe.steps))} of what is seen and {short(probe.reward)} of the rewards",
                "good",
            )
        ]
    rows = (
        ("what is seen at the start", short(probe.start)),
        ("what is seen after random actions", short(probe.steps)),
        ("rewards", short(probe.reward)),
        ("the same start twice", short(probe.restarted)),
        ("the same actions twice", short(probe.repeated)),
    )
    return [table(("how far the environment is from its mirror image", "share"), rows, (1,))]


# ---- warnings -------------------------------------------------------------------------------------------------
def loop_cautions(rollout: Rollout | None) -> tuple[Caution, ...]:
    """What is wrong with the environment or the specification, and what is wrong with the policies."""
    if rollout is None:
        return ()
    return (*_of_environment(rollout), *_of_falls(rollout), *_of_average(rollout), *_of_result(rollout))


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


def _of_environment(rollout: Rollout) -> list[Caution]:
    """Warnings of the environment, and of a specification that it contradicts.

    Each question presupposes the ones before it: does it begin where it began, does it repeat itself, does T fit what
    is seen, is it symmetric under T, and are its rewards.
    """
    probe = rollout.probe
    if probe is None:
        return []
    texts: list[tuple[str, str]] = []
    if probe.restarted > MIRRORED:
        brief = "the environment does not begin again where it began"
        text = (
            f"{brief}: what is seen at the same start differs by {short(probe.restarted)} from one reset to the next "
            "(a normaliser that goes on learning, or a start that is drawn without the seed), so that starts and "
            "mirrored starts cannot be compared"
        )
        return [Caution("loop", text, brief)]
    if not probe.is_repeatable:
        brief = "the environment draws at random"
        text = (
            f"{brief} after the start (the same actions, twice, differ by {short(probe.repeated)}): whether it is "
            "asymmetric cannot be told, and gaps are noise as well, as much as the flip average's"
        )
        texts.append((text, brief))
    texts += mirror_faults(probe, rollout.how)
    # What follows compares walks with mirrored walks, which says nothing where walks do not repeat themselves, or T is
    # wrong from the start or in the actions.
    if not probe.is_repeatable or probe.start > MIRRORED or probe.contrary.actions:
        return [Caution("loop", text, brief) for text, brief in texts]
    # Where a rival to T fits, it is T that is wrong, and `mirror_faults` has said so.
    if (probe.steps > MIRRORED or probe.ends) and probe.contrary.rival is None:
        where = when(probe.entries, f": {listed(probe.entries)}")
        where += when(probe.robot, f" (the robot's model: {probe.robot})")
        text = (
            "the environment itself is asymmetric: mirrored actions from a mirrored start do not do the mirrored thing"
            f"{where}. Gaps below are the environment's as well; the flip average's are the environment's alone"
        )
        if probe.entries and probe.coverage.tested_at_start < probe.coverage.tested and not probe.robot:
            text += (
                ". Or the specification mirrors these entries wrongly: at the start some were 0, or alike on both "
                "sides (a memory of actions), and nothing of the robot's model differs"
            )
        texts.append((text, "the environment itself is asymmetric"))
    if probe.is_paid_unevenly:
        text = "the reward is one-sided: mirrored episodes are rewarded differently"
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
        texts.append((text, "the reward is one-sided"))
    return [Caution("loop", text, brief) for text, brief in texts]


def mirror_faults(probe: Probe, how: How) -> list[tuple[str, str]]:
    """What of T the environment contradicts: a sentence, and the same in a few words.  how: starts are mirrored."""
    # from what is certain (a start is what it is) to what is likely (an entry that goes the opposite way)
    if not probe.contradicts:
        return []
    if probe.start > MIRRORED:
        text = (
            f"what is seen at a mirrored start is not the mirror image of what is seen at the start: "
            f"{listed(probe.entries)}. {_WHY_NOT_MIRRORED[how]}"
        )
        return [(text, f"the observation is mirrored wrongly: {probe.entries[0]}")]
    contrary = probe.contrary
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
    if rollout.begins_even:
        text = f"{_compared(rollout, average, brief)}: {even_starts_in_words(rollout)}"
        return [Caution("loop", text, f"{brief} (its starts are their own mirror image)")]
    remedy = (
        "this policy's answers to x and to T x are too unlike to be averaged, and what is converted without training "
        "follows their average; train on with mirrored samples first, or train the result on (keep_symmetric)"
    )
    return [Caution("loop", f"{_compared(rollout, average, brief)}: {remedy}", brief)]


def even_starts_in_words(rollout: Rollout) -> str:
    """Why an equivariant policy may do nothing from starts that are their own mirror image, and what to do."""
    return (
        f"{rollout.original.even_starts} of {plural(rollout.starts, 'start')} are their own mirror image, where an "
        "equivariant policy can do only what is its own mirror image: nothing, where all actions are negated. The "
        "original leaves such a start by an error of its own. Begin a little off it (noise at the start, as real "
        "robots have), and compare again"
    )


def loss_in_words(rollout: Rollout) -> str:
    """Why a result is not taken: `it returns less than the original (273 ± 9 after 582 ± 20, 0.47 ± 0.03 of it)`.

    Or that it falls more often. Or, where neither is so, that its error leaves open whether it returns enough.
    """
    result = rollout.result
    assert result is not None
    texts: list[str] = []
    if rollout.is_short(result):
        texts.append(f"{_compared(rollout, result, 'it returns less than the original')}; {_LEAST}")
    elif rollout.may_be_short:
        texts.append(_may_be_short(rollout, result, "it may return less than the original"))
    if rollout.falls_more:
        texts.append(
            f"it falls in {result.falls} of {2 * rollout.starts} walks, the original in {rollout.original.falls} and "
            f"its flip average in {rollout.average.falls}"
        )
    return "; ".join(texts)


def objection_in_the_loop(rollout: Rollout | None) -> str:
    """Why `auto` goes on to another candidate, though this one is not refused; "" where it need not."""
    if rollout is None or not rollout.may_be_short:
        return ""
    return f"in the loop {loss_in_words(rollout)}"


_LEAST = f"{LEAST_SHARE:g} of it is the least"


def _may_be_short(rollout: Rollout, result: Walker, brief: str) -> str:
    """A sentence on a result that may return less than the least: its share, and that of the flip average."""
    average = _with_error(rollout.share(rollout.average))
    return f"{_compared(rollout, result, brief)}: {_LEAST}, and the flip average returns {average}"


def _compared(rollout: Rollout, walker: Walker, brief: str) -> str:
    """`it returns less (273 ± 9 after 582 ± 20, 0.47 ± 0.03 of it)`: a policy's return beside the original's."""
    share = rollout.share(walker)
    of_original = f", {_with_error(share)} of it" if share is not None else ""
    return f"{brief} ({_with_error(walker.mean)} after {_with_error(rollout.original.mean)}{of_original})"


def _of_result(rollout: Rollout) -> list[Caution]:
    """Warnings of a result that returns less, falls more often, or is more one-sided than the flip average is."""
    result = rollout.result
    if result is None:
        return []
    cautions: list[Caution] = []
    after = result.mean
    if rollout.is_short(result):
        brief = "the result returns less than the original"
        cautions.append(Caution("loop", _compared(rollout, result, brief), brief))
    elif rollout.may_be_short:
        brief = "the result may return less than the original"
        text = f"{_may_be_short(rollout, result, brief)}. More --episodes tell"
        cautions.append(Caution("loop", text, brief))
    if result.falls > rollout.original.falls:
        brief = f"the result falls {result.falls} times of {2 * rollout.starts}, the original {rollout.original.falls}"
        cautions.append(Caution("loop", brief, brief))
    average = rollout.average
    # its own gap against the flip average's, which is the environment's and noise
    size = abs(after.mean) or 1.0
    if result.gap.mean > EVEN * size and result.gap.mean > 2 * average.gap.mean:
        brief = f"the result is one-sided: gap {_with_error(result.gap)}, the flip average's {_with_error(average.gap)}"
        cautions.append(Caution("loop", brief, "the result is one-sided in the loop"))
    return cautions


def loop_sentence(rollout: Rollout | None) -> str:
    """What the first line says of the loop, "" where nothing was run."""
    if rollout is None:
        return ""
    original, result = rollout.original, rollout.result
    does = f"returns {_with_error(original.mean)}, gap {_with_error(original.gap)}"
    if result is None:
        return f"in the loop it {does}"
    share = _with_error(rollout.share(result))
    of_original = when(share, f" ({share} of that)")
    did = f"the result {_with_error(result.mean)}{of_original}, gap {_with_error(result.gap)}"
    return f"in the loop the original {does}; {did}"


def share_in_words(rollout: Rollout) -> tuple[str, str]:
    """What the result returns beside the original, and the figure that this is made from; of the original by itself."""
    original, result = rollout.original, rollout.result
    if result is None:
        return f"returns {_with_error(original.mean)}", f"gap {_with_error(original.gap)}"
    share = _with_error(rollout.share(result))
    if share:
        value = f"{share} of the original's return"
    else:
        value = f"returns {_with_error(result.mean)}"
    return value, f"gap {_with_error(result.gap)}, the original's {_with_error(original.gap)}"
