"""The parts of a report on a conversion: how far the result is from the original, what was changed, what it costs.

`assembling` calls them in the order in which they are read. A record that there is none of gives no blocks, so that
callers add lists without asking. A block is a heading, a line, a table or bars (`document`); text and HTML render them.
The verdicts have parts of their own (`verdict_parts`).
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.errors import Caution
from chiralize.errors.words import percent, when
from chiralize.graph.rewrite import Moved
from chiralize.infer.records import Choice
from chiralize.problem.readings.remark import READ_AS
from chiralize.problem.result import Fitted
from chiralize.report.cautions import WARNING, amounts, constant_cautions, state_cautions
from chiralize.report.distance import NEAR, Distance, wide_gap
from chiralize.report.document import (
    MOST_ROWS,
    Bar,
    Bars,
    Block,
    Line,
    Section,
    milliseconds,
    plain,
    plural,
    ratio,
    rest_of,
    table,
    warning_lines,
)
from chiralize.report.meaning import meaning, meaning_in_the_loop
from chiralize.report.particulars import CallTime, Changes, Cost
from chiralize.symmetry.representation import Representation
from chiralize.verification.asymmetry.advice import UNEVEN
from chiralize.verification.asymmetry.lean import LEANING
from chiralize.verification.leaning import light_lean
from chiralize.verification.verdicts import Drift, OutputDrift

TOGETHER = "Put them back together with the weights: with the original's, the network is not equivariant"

_ROUNDING = 1e-4
"""A rho of a joint that rounding alone explains."""


def drift_blocks(drift: Drift, max_drift: float | None, distance: Distance, cautions: Sequence[Caution]) -> list[Block]:
    """Gap, drift and rho, and what they mean.

    distance: the word for it in the headline.  The error of other networks with such a rho is given only where it is a
    prediction here.  cautions: those about drift.
    """
    blocks: list[Block] = [
        Section(
            f"Against the original ({plural(drift.samples, 'sample')}, {drift.source})",
            "How far it is from the original",
        )
    ]
    if not drift.outputs:  # none of them is a floating-point number
        return [*blocks, *warning_lines(cautions)]
    blocks += _table_of_drift(drift, NEAR if max_drift is None else max_drift)
    blocks += [Line(text) for text in map(_worst_joint, drift.outputs) if text]
    blocks += [Line(_as_probabilities(output)) for output in drift.outputs if output.scores is not None]
    blocks += _light_lean(drift)
    if drift.beyond is not None:
        within = "the built-in poses" if drift.built_in else "the inputs that were given"
        blocks.append(Line(f"beyond {within}, on {drift.beyond.what}: rho {plain(drift.beyond.rho)}"))
    blocks += _legend(drift)
    blocks.append(Line(f"rho: drift / max(gap / 2, 0.01), here {plain(drift.rho)}. {_promise(drift, distance)}"))
    if drift.noise and drift.unsettled_gap > UNEVEN:
        blocks.append(Line("these inputs are noise, on which networks that know both sides have gaps of 0.6 to 0.9"))
    return blocks + warning_lines(cautions)


def _table_of_drift(drift: Drift, limit: float) -> list[Block]:
    """A row for every output, then one for every beginning of sequences, and rho as bars.

    limit: the rho above which a bar is red.  For the first steps of a sequence there are the largest gap, lean
    and rho of any output, and no drift.
    """
    rows: list[tuple[str, ...]] = []
    bars: list[Bar] = []
    for output in drift.outputs:
        name, rho = f"output {output.index}", plain(output.rho)
        rows.append((name, plain(output.gap), _lean(output.lean), plain(output.drift), rho))
        bars.append(Bar(name, output.rho, rho, limit))
    # Of networks with a state: the same after fewer steps, where errors have added up less.
    for horizon in drift.horizons:
        steps = f"first {horizon.steps} steps"
        rows.append((steps, plain(horizon.gap), _lean(horizon.lean), "", plain(horizon.rho)))
    blocks: list[Block] = [table(("what", "gap", "lean", "drift", "rho"), rows, (1, 2, 3, 4))]
    return [*blocks, Bars("rho", tuple(bars))]


def _legend(drift: Drift) -> list[Block]:
    """What the columns of the table mean; the lean only where one is shown."""
    blocks: list[Block] = [
        Line("gap: how far the original's answer to T x is from T of its answer to x (1: its own spread)")
    ]
    if drift.lean:
        blocks.append(
            Line("lean: the part of the gap that is the same for all inputs; an average takes out the others")
        )
    blocks.append(Line("drift: how far the result is from the original's flip average, in the same unit"))
    return blocks


def _as_probabilities(output: OutputDrift) -> str:
    """The figures of scores as probabilities."""
    assert output.scores is not None
    gap, lean = plain(output.scores.gap), when(output.scores.lean, f", lean {plain(output.scores.lean)}")
    return (
        f"output {output.index} as probabilities of classes: gap {gap}{lean}; the mirror changes "
        f"{percent(output.scores.changed)} of the decisions"
    )


def _light_lean(drift: Drift) -> list[Block]:
    """A sentence on one of many joints, or entries, that leans, where it has too little weight to be warned of."""
    light = light_lean(drift)
    if light is None or light.whole is None:
        return []
    text = f"{light.where} leans by {plain(light.lean)} of the spread, and is a small share of its output, which leans"
    return [
        Line(f"{text} by {plain(light.whole)} as a whole; up to {LEANING} is what networks have that know both sides")
    ]


def _lean(lean: float) -> str:
    """A lean as text, nothing where it is 0: it was too small to be told from noise."""
    return plain(lean) if lean else ""


def _worst_joint(output: OutputDrift) -> str:
    """A sentence on the joint with the largest distance, which the mean over all joints can hide.

    "" where there are no joints, and where rounding alone tells them apart, as of an average of both views.
    """
    worst = max(output.joints, key=lambda joint: joint.rho, default=None)
    if worst is None or worst.rho <= _ROUNDING:
        return ""
    return (
        f"worst of {len(output.joints)} in output {output.index}: {worst.name} (rho {plain(worst.rho)}, drift "
        f"{plain(worst.drift)}, off by {plain(worst.shift)} in the output's unit)"
    )


def _promise(drift: Drift, distance: Distance) -> str:
    """How much error other networks with such a rho had, or why this is no prediction here."""
    if drift.noise:
        return "On noise it says little of the error: give --calibration inputs"
    if not drift.is_telling:
        return "Of single calls it says nothing of the error in use: give --calibration sequences"
    if drift.built_in:
        return "It was measured on built-in poses: --calibration poses.npz tells how it is on yours"
    # from here on inputs are the user's
    # The headline promises nothing, so this must not either.
    if distance.reason:
        worse = when(distance.reason == wide_gap(drift.unsettled_gap), ", and an average of both views may be worse")
        return f"It promises nothing about the error: {distance.reason}{worse}"
    seen = meaning(drift.rho) if drift.steps == 1 else meaning_in_the_loop(drift.rho)
    return seen + when(distance.condition, f" That tells of this one{distance.condition.lstrip(',')}.")


def choice_blocks(choices: Sequence[Choice]) -> list[Block]:
    """How every hidden space transforms, and why."""
    if not choices:
        return []
    rows: list[tuple[str, ...]] = []
    for choice in choices:
        space, representation = choice.space, Representation.of(choice.action)
        rows.append((space.label, str(space.size), representation.summary(), choice.reason))
    return [
        Section("Hidden spaces", "Hidden units and their partners", folded=True),
        table(("space", "size", "representation", "why"), rows, (1,)),
    ]


def moved_blocks(moved: Sequence[Moved], is_one_piece: bool) -> list[Block]:
    """How far the weights moved, the furthest first.  is_one_piece: nothing is deployed beside them."""
    if not moved:
        return []
    furthest = sorted(moved, key=lambda weight: (-weight.distance, weight.name))[:MOST_ROWS]
    rows: list[tuple[str, ...]] = []
    for weight in furthest:
        rows.append((weight.name, weight.kind, percent(weight.distance), str(weight.zeroed or ""), str(weight.where)))
    blocks: list[Block] = [Section("Weights moved: |W - P(W)| / |W|", "How much each weight changed", folded=True)]
    blocks.append(table(("name", "kind", "distance", "zeroed", "where"), rows, (2, 3)))
    bars = tuple(Bar(weight.name, weight.distance, percent(weight.distance)) for weight in furthest)
    blocks += [Bars("relative distance", bars), *rest_of(len(moved))]
    for kind, what in (("statistic", "normaliser statistics"), ("table", "tables of positions")):
        changed = [entry for entry in moved if entry.kind == kind and entry.distance > 0]
        if changed:
            blocks.append(Line(f"{what} changed: {amounts(changed)}." + when(not is_one_piece, f" {TOGETHER}")))
    return blocks


def changes_blocks(changes: Changes, is_one_piece: bool) -> list[Block]:
    """Hidden spaces, weights, and constants and stored states that are others than the original's."""
    moved = moved_blocks(changes.moved, is_one_piece)
    blocks = choice_blocks(changes.choices) + moved + fitted_blocks(changes.fitted)
    return blocks + warning_lines((*constant_cautions(changes), *state_cautions(changes)))


def fitted_blocks(fitted: Sequence[Fitted]) -> list[Block]:
    """How much of its targets every fitted weight leaves over, the worst first."""
    if not fitted:
        return []
    worst = sorted(fitted, key=lambda weight: (-weight.error, weight.name))[:MOST_ROWS]
    rows = [(weight.name, percent(weight.error), str(weight.where)) for weight in worst]
    blocks: list[Block] = [
        Section(
            "Weights fitted: share of the targets' energy left over on held-out inputs",
            "How well each layer could be fitted",
            folded=True,
        )
    ]
    blocks.append(table(("name", "left over", "where"), rows, (1,)))
    bars = tuple(Bar(weight.name, weight.error, percent(weight.error)) for weight in worst)
    return [*blocks, Bars("left over", bars), *rest_of(len(fitted))]


def cost_blocks(cost: Cost) -> list[Block]:
    """Parameters, multiply-accumulates and times, before and after; a count that only one of them has is left out."""
    if cost.unit == "sample":
        macs = "MACs a sample"
    elif cost.samples > 1:
        macs = f"MACs, {cost.samples} samples, as traced"
    else:
        macs = "MACs"
    rows: list[tuple[str, ...]] = []
    for name, before, after in (
        ("parameters", cost.parameters_before, cost.parameters_after),
        (macs, cost.macs_before, cost.macs_after),
    ):
        if before and after:
            rows.append((name, f"{before:,}", f"{after:,}", ratio(before, after)))
    rows += map(_time_row, cost.times)
    if not rows:  # the weights of a file that is only run cannot be read
        return []
    return [Section("Cost"), table(("", "before", "after", ""), rows, (1, 2, 3))]


def _time_row(time: CallTime) -> tuple[str, str, str, str]:
    """A row of the table of costs: what was timed, before, after, and the ratio."""
    name = f"time, {plural(time.samples, 'sample')}, {plural(time.threads, 'thread')}"
    return name, milliseconds(time.before), milliseconds(time.after), f"x{time.ratio:.2f}"


def note_blocks(notes: Sequence[str]) -> list[Block]:
    """Remarks, those that warn marked so; what the inputs were taken for stands at the head of the report instead."""
    others = [note for note in notes if not note.startswith(READ_AS)]
    if others:
        return [Section("Notes"), *map(_note, others)]
    return []


def _note(note: str) -> Line:
    """A remark as a line; one that warns is a warning."""
    if note.startswith(WARNING):
        return Line(note.removeprefix(WARNING), "bad")
    return Line(note)
