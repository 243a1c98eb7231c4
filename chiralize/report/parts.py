"""The parts that reports are put together from: each turns one record into blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf, isinf

from chiralize.errors import Caution, percent
from chiralize.graph.rewrite import Moved
from chiralize.infer.records import Choice
from chiralize.problem.result import Fitted
from chiralize.report.cautions import (
    WARNING,
    amounts,
    constant_cautions,
    precision_cautions,
    side_cautions,
    state_cautions,
)
from chiralize.report.distance import NEAR, Distance
from chiralize.report.document import (
    Bar,
    Bars,
    Block,
    Line,
    Section,
    listed,
    milliseconds,
    plain,
    plural,
    ratio,
    short,
    table,
)
from chiralize.report.records import CallTime, ConvertReport, Cost
from chiralize.symmetry.representation import Representation
from chiralize.verification.asymmetry.advice import UNEVEN
from chiralize.verification.verdicts import CertificateVerdict, Degeneracy, Drift, Evidence, NumericVerdict, OutputDrift

MOST_ROWS = 20
TOGETHER = "Put them back together with the weights: with the original's, the network is not equivariant"

CONVERSIONS = 924
MEANING = (
    (0.5, "0.97 to 1.02"), (1.0, "0.98 to 1.08"), (1.25, "0.99 to 1.09"), (1.5, "1.00 to 1.09"), (2.0, "1.01 to 2.11"),
    (5.0, "1.03 to 3.50"), (inf, "1.75 to 10.52"),
)  # fmt: skip
"""Of the conversions in benchmarks/accuracy/results.csv, and those on narrow inputs in benchmarks/narrow/results.csv:
upper end of rho, and between which multiples of the original's error nine of ten results lie."""
LOOPS = 69
LOOP_MEANING = (
    (0.01, "0.95 to 1.00"),
    (1.25, "0.98 to 1.00"),
    (2.0, "1.03 to 1.07"),
    (4.0, "1.01 to 1.99"),
    (inf, "1.14 to 12.19"),
)
"""The same of benchmarks/closed_loop/results.csv, where recurrent networks act on what they did before: rho is measured
along sequences, and all results lie within these multiples of the original's error in the loop."""


# ---- verdicts -------------------------------------------------------------------------------------------------
def numeric_blocks(verdict: NumericVerdict) -> list[Block]:
    """Residual and bound of every output, side by side."""
    rows = [
        (
            "ok" if own.passed else "FAIL",
            own.title,
            short(own.residual),
            short(own.bound),
            plain(own.scale),
            own.worst if own.residual else "",
        )
        for own in verdict.outputs
    ]
    tried = f"{verdict.dtype}, {plural(verdict.samples, 'sample')}"
    for axis, sizes in verdict.tried.items():
        tried += f", {f'{axis} sizes' if axis == 'batch' else axis} {', '.join(map(str, sizes))}"
    blocks: list[Block] = [Section(f"Numeric verdict: max |F(Tx) - T F(x)| ({tried})")]
    blocks.append(table(("", "what", "residual", "bound", "scale", "worst"), rows, (2, 3, 4)))
    blocks.append(
        Bars(
            "residual / bound",
            tuple(
                Bar(own.title, own.residual / own.bound, f"{short(own.residual)} of {short(own.bound)}", 1.0)
                for own in verdict.outputs
                if own.bound
            ),
        )
    )
    return blocks + [Line(note) for note in verdict.notes]


def own_precision_blocks(verdict: NumericVerdict) -> list[Block]:
    """The same in the precision in which the network runs, in one line."""
    if not verdict.outputs:
        return []
    if not verdict.passed:
        return warning_lines(precision_cautions(verdict))
    worst = verdict.worst
    figures = f"{short(worst.residual)}, bound {short(worst.bound)} ({worst.title})"
    return [Line(f"in {verdict.dtype}, in which it runs: {figures}", "good")]


def certificate_blocks(verdict: CertificateVerdict) -> list[Block]:
    """What was proved, or the first place where the proof breaks."""
    blocks: list[Block] = [Section("Certificate: a proof for all inputs, op by op")]
    done = f"{plural(verdict.ops, 'op')} and {plural(verdict.weights, 'weight')} checked"
    if verdict.passed:
        blocks.append(Line(f"ok: {done}", "good"))
    else:
        where = f"{verdict.where}: " if verdict.where else ""
        blocks.append(Line(f"FAIL: {where}{verdict.broken} ({done})", "bad"))
    return blocks + [Line(note) for note in (*verdict.notes, *verdict.unseen)]


def degeneracy_blocks(found: Degeneracy, alone: bool = False) -> list[Block]:
    """What became of left and right.  alone: of a file whose original is not there."""
    before, after = ("original, when converted", "now, random inputs") if alone else ("flip average", "result")
    whole = "those of a file of this form" if alone else "the original's"
    rows = [
        (f"output {index}", percent(old), percent(new), "COLLAPSED" if index in found.collapsed else "")
        for index, (old, new) in enumerate(zip(found.odd_before, found.odd_after, strict=True))
    ]
    blocks: list[Block] = [Section("Left and right: share of the output's variance that the mirror negates")]
    blocks.append(table(("what", before, after, ""), rows, (1, 2)))
    blocks.append(Line(f"free parameters: {percent(found.free_share)} of {whole}"))
    for title, names in (
        ("spaces forced to be trivial", found.forced),
        ("constants that leave hidden channels no pairing", found.tables),
        ("parameters with entries that could only be zero", found.zeroed),
    ):
        if names:
            blocks.append(Line(f"{title}: {listed(names)}"))
    return blocks + warning_lines(side_cautions(found))


def evidence_blocks(found: Evidence) -> list[Block]:
    """What speaks for the mirror and what against it."""
    if not (found.checks or found.warnings or found.notes):
        return []
    lines = [Line(text, "good") for text in found.checks] + [Line(text, "bad") for text in found.warnings]
    lines += [Line(text, "unsure") for text in found.notes]
    return [Section("Is it the right mirror?"), *lines]


# ---- the conversion -------------------------------------------------------------------------------------------
def drift_blocks(found: Drift, max_drift: float | None, distance: Distance, cautions: Sequence[Caution]) -> list[Block]:
    """Gap, drift and rho, and what they mean.

    distance: the word for it in the headline; what rho meant for the error elsewhere is told where it is known to mean
    the same here.  cautions: those about drift.
    """
    rows = [(f"output {own.index}", plain(own.gap), plain(own.drift), plain(own.rho)) for own in found.outputs]
    blocks: list[Block] = [Section(f"Against the original ({plural(found.samples, 'sample')}, {found.source})")]
    if not found.outputs:
        return [*blocks, *warning_lines(cautions)]
    rows += [(f"first {own.steps} steps", plain(own.gap), "", plain(own.rho)) for own in found.horizons]
    blocks.append(table(("what", "gap", "drift", "rho"), rows, (1, 2, 3)))
    limit = NEAR if max_drift is None else max_drift
    bars = tuple(Bar(f"output {own.index}", own.rho, plain(own.rho), limit) for own in found.outputs)
    blocks.append(Bars("rho", bars))
    blocks += [Line(_worst_joint(own)) for own in found.outputs if own.joints]
    if found.beyond is not None:
        blocks.append(Line(f"beyond the inputs that were given, on {found.beyond.what}: rho {plain(found.beyond.rho)}"))
    blocks.append(Line("gap: how far the original's answer to T x is from T of its answer to x (1: its own spread)"))
    blocks.append(Line("drift: how far the result is from the original's flip average, in the same unit"))
    blocks.append(Line(f"rho: drift / max(gap / 2, 0.01), here {plain(found.rho)}. {_promise(found, distance)}"))
    if found.noise and found.gap > UNEVEN:
        blocks.append(Line("these inputs are noise, on which networks that know both sides have gaps of 0.6 to 0.9"))
    return blocks + warning_lines(cautions)


def _worst_joint(output: OutputDrift) -> str:
    """The joint that suffers most, which the mean over all hides."""
    worst = max(output.joints, key=lambda own: own.rho)
    return (
        f"worst of {len(output.joints)} in output {output.index}: {worst.name} (rho {plain(worst.rho)}, drift "
        f"{plain(worst.drift)}, off by {plain(worst.shift)} in the output's unit)"
    )


def _promise(found: Drift, distance: Distance) -> str:
    """What such a rho meant for the error of other networks, or why it promises nothing here."""
    if found.noise:
        return "On noise it says little of the error: give --calibrate inputs"
    if not found.is_telling:
        return "Of single calls it says nothing of the error in use: give --calibrate sequences"
    if distance.kind == "unknown":
        return "It promises nothing about the error: see the warnings"
    return meaning(found.rho) if found.steps == 1 else meaning_in_the_loop(found.rho)


def warning_lines(cautions: Sequence[Caution]) -> list[Block]:
    """A line for each."""
    return [Line(caution.text, "bad") for caution in cautions]


def meaning(rho: float) -> str:
    """What such a rho meant for the error, in the conversions of the benchmark."""
    between, factors = _range_around(rho, MEANING)
    return f"Of {CONVERSIONS} conversions, nine of ten with a rho {between} had {factors} times the original's error."


def meaning_in_the_loop(rho: float) -> str:
    """What such a rho along sequences meant where recurrent networks ran in the loop."""
    between, factors = _range_around(rho, LOOP_MEANING)
    return (
        f"Of {LOOPS} conversions of recurrent networks that ran in the loop, all with a rho {between} along sequences "
        f"had {factors} times the original's error there."
    )


def _range_around(rho: float, table: Sequence[tuple[float, str]]) -> tuple[str, str]:
    """The row of a table that a rho falls into: the bounds in words, and the multiples of the error."""
    lower, upper, factors = 0.0, *table[0]
    for (before, _), (after, found) in pairwise(table):
        if not rho <= before:
            lower, upper, factors = before, after, found
    between = f"above {plain(lower)}" if isinf(upper) else f"of {plain(lower)} to {plain(upper)}"
    return between, factors


def choice_blocks(choices: Sequence[Choice]) -> list[Block]:
    """How every hidden space transforms, and why."""
    if not choices:
        return []
    rows = [
        (own.space.label, str(own.space.size), Representation.of(own.action).summary(), own.reason) for own in choices
    ]
    return [Section("Hidden spaces"), table(("space", "size", "representation", "why"), rows, (1,))]


def moved_blocks(moved: Sequence[Moved]) -> list[Block]:
    """How far the weights moved, the furthest first."""
    if not moved:
        return []
    ordered = sorted(moved, key=lambda own: (-own.distance, own.name))
    rows = [
        (own.name, own.kind, percent(own.distance), str(own.zeroed) if own.zeroed else "", str(own.where))
        for own in ordered[:MOST_ROWS]
    ]
    blocks: list[Block] = [Section("Weights moved: |W - P(W)| / |W|")]
    blocks.append(table(("name", "kind", "distance", "zeroed", "where"), rows, (2, 3)))
    bars = tuple(Bar(own.name, own.distance, percent(own.distance)) for own in ordered[:MOST_ROWS])
    blocks.append(Bars("relative distance", bars))
    if len(ordered) > MOST_ROWS:
        blocks.append(Line(f"and {len(ordered) - MOST_ROWS} more (the JSON report lists all)"))
    statistics = [entry for entry in moved if entry.kind == "statistic" and entry.distance > 0]
    if statistics:
        names = amounts(statistics)
        blocks.append(Line(f"normaliser statistics changed: {names}. {TOGETHER}"))
    return blocks


def changed_blocks(report: ConvertReport) -> list[Block]:
    """Constants and stored states that are others than the original's."""
    return warning_lines((*constant_cautions(report), *state_cautions(report)))


def fitted_blocks(fitted: Sequence[Fitted]) -> list[Block]:
    """What every fitted weight could not give, the worst first."""
    if not fitted:
        return []
    ordered = sorted(fitted, key=lambda own: (-own.error, own.name))
    rows = [(own.name, percent(own.error), str(own.where)) for own in ordered[:MOST_ROWS]]
    blocks: list[Block] = [Section("Weights fitted: share of the targets' energy left over on held-out inputs")]
    blocks.append(table(("name", "left over", "where"), rows, (1,)))
    bars = tuple(Bar(own.name, own.error, percent(own.error)) for own in ordered[:MOST_ROWS])
    blocks.append(Bars("left over", bars))
    if len(ordered) > MOST_ROWS:
        blocks.append(Line(f"and {len(ordered) - MOST_ROWS} more (the JSON report lists all)"))
    return blocks


def cost_blocks(cost: Cost) -> list[Block]:
    """Parameters and multiply-accumulates, before and after."""
    rows = [
        (name, f"{before:,}", f"{after:,}", ratio(before, after))
        for name, before, after in (
            ("parameters", cost.parameters_before, cost.parameters_after),
            ("MACs" if cost.unit == "call" else f"MACs a {cost.unit}", cost.macs_before, cost.macs_after),
        )
        if before or after
    ]
    rows += [_time_row(own) for own in cost.times]
    return [Section("Cost"), table(("", "before", "after", ""), rows, (1, 2, 3))]


def _time_row(time: CallTime) -> tuple[str, str, str, str]:
    name = f"time, {plural(time.samples, 'sample')}, {plural(time.threads, 'thread')}"
    return name, milliseconds(time.before), milliseconds(time.after), f"x{time.ratio:.2f}"


def note_blocks(notes: Sequence[str]) -> list[Block]:
    """Remarks; those that warn are marked as warnings."""
    if not notes:
        return []
    return [Section("Notes"), *(_note(note) for note in notes)]


def _note(note: str) -> Line:
    if note.startswith(WARNING):
        return Line(note.removeprefix(WARNING), "bad")
    return Line(note)
