"""From the record of a command to the document that is rendered.

`text`, `html` and `brief` begin here. A function for each command puts the parts into the order in which they are read;
what a part says is decided in the modules that it comes from.

    ConvertReport  ->  Document(model, sentence, standing, blocks)  ->  text, or a page

    blocks of a conversion: the reading of the inputs, method and cost, distance from the original, the rollout, both
    verdicts, the evidence for the mirror, notes

A part of which there is no record gives no blocks, so that nothing here asks whether it was measured.
"""

from __future__ import annotations

from chiralize.errors.words import percent
from chiralize.problem.readings.remark import READ_AS
from chiralize.report import parts, verdict_parts
from chiralize.report.aligned import alignment_blocks
from chiralize.report.asymmetry import advice_blocks, data_blocks, layer_blocks, network_blocks
from chiralize.report.cautions import data_cautions, drift_cautions
from chiralize.report.distance import distance
from chiralize.report.document import (
    Block,
    Document,
    Line,
    Section,
    if_known,
    milliseconds,
    plural,
    table,
    warning_lines,
)
from chiralize.report.each_mirror import mirror_blocks
from chiralize.report.in_the_loop import loop_blocks
from chiralize.report.records import AuditReport, BenchReport, ConvertReport, PlanReport, Report, VerifyReport
from chiralize.report.verdict import verdict_of
from chiralize.verification.verdicts import Judgement


def document(report: Report) -> Document:
    """The document of any report: its verdict, and its blocks in the order in which they are read."""
    verdict = verdict_of(report)
    # what the inputs were taken for comes before all else: with a wrong reading nothing below counts
    leading: list[Block] = [Line(note) for note in report.notes if note.startswith(READ_AS)]
    return Document(report.model, verdict.sentence, verdict.standing, (*leading, *_blocks(report)))


def _blocks(report: Report) -> list[Block]:
    """The blocks of a report, by its command."""
    if isinstance(report, VerifyReport):
        return _verify(report)
    if isinstance(report, ConvertReport):
        return _convert(report)
    if isinstance(report, PlanReport):
        return _plan(report)
    if isinstance(report, BenchReport):
        return _bench(report)
    return _audit(report)


def _judgement(judged: Judgement, without_original: bool = False) -> list[Block]:
    """Both verdicts, those under several mirrors, and left and right.  without_original: nobody knows the original."""
    blocks = verdict_parts.numeric_blocks(judged.numeric) + verdict_parts.own_precision_blocks(judged.own_precision)
    blocks += verdict_parts.certificate_blocks(judged.certificate) + mirror_blocks(judged.mirrors)
    return blocks + verdict_parts.degeneracy_blocks(judged.degeneracy, without_original=without_original)


def _verify(report: VerifyReport) -> list[Block]:
    """What was run, what was proved, what speaks for the mirror, and remarks."""
    blocks = _judgement(report.judgement, without_original=True)
    return blocks + verdict_parts.evidence_blocks(report.evidence) + parts.note_blocks(report.notes)


def _convert(report: ConvertReport) -> list[Block]:
    """What was done and what it costs, how far it is from the original, then the verdicts and the mirror."""
    blocks: list[Block] = [Line(f"method {report.method}, form {report.form}")]
    if report.output:
        blocks.append(Line(f"written to {report.output}"))
    blocks += parts.cost_blocks(report.cost) + parts.changes_blocks(report.changes, report.is_one_piece)
    if report.drift:
        how_far = distance(report, data_cautions(report.notes))
        blocks += parts.drift_blocks(report.drift, report.nearness.max_drift, how_far, drift_cautions(report))
    elif drift_cautions(report):  # nothing was measured, which is a warning by itself
        blocks += [Section("Against the original"), *warning_lines(drift_cautions(report))]
    # What the policies did in their environment stands before the verdicts here; an audit has it near its end.
    blocks += loop_blocks(report.rollout)
    blocks += _judgement(report.judgement)
    return blocks + verdict_parts.evidence_blocks(report.evidence, report.rollout) + parts.note_blocks(report.notes)


def _plan(report: PlanReport) -> list[Block]:
    """A row for every op, then choices, cost, and what is in the way."""
    rows: list[tuple[str, ...]] = []
    for row in report.rows:
        rows.append((row.module, row.op, row.before, row.after, row.action, if_known(row.distance, percent)))
    blocks: list[Block] = [Section(plural(len(rows), "op"))]
    blocks.append(table(("module", "op", "in", "out", "action", "distance"), rows, (5,)))
    blocks += parts.choice_blocks(report.choices) + parts.cost_blocks(report.cost)
    if report.blocked:
        blocks += [Section("In the way"), *(Line(text, "bad") for text in report.blocked)]
    return blocks + parts.note_blocks(report.notes)


def _audit(report: AuditReport) -> list[Block]:
    """The network, its layers, the data, the mirror, the loop, and last the advice."""
    blocks = network_blocks(report.network, report.source) + alignment_blocks(report.alignments)
    blocks += layer_blocks(report.layers, report.begins)
    blocks += (
        data_blocks(report.data, report.leanings)
        + verdict_parts.evidence_blocks(report.evidence, report.rollout)
        + parts.note_blocks(report.notes)
    )
    return blocks + loop_blocks(report.rollout) + advice_blocks(report.advice, bool(report.evidence.warnings))


def _bench(report: BenchReport) -> list[Block]:
    """A row for every network at every batch size, how they were timed, and on what."""
    # the column of what is fair stands only where somebody asked for it (`bench --fair`)
    rows: list[tuple[str, ...]] = []
    is_fair = any(row.to_fair is not None for row in report.rows)
    for row in report.rows:
        ratios = (f"{row.ratio:.2f}", f"{row.low:.2f}-{row.high:.2f}", if_known(row.to_average, "{:.2f}".format))
        fair = (if_known(row.to_fair, "{:.2f}".format),) if is_fair else ()
        # Cells in the order of `header` below.
        rows.append((str(row.batch), row.name, milliseconds(row.seconds), *ratios, *fair))
    conditions = report.conditions
    how = f"{plural(conditions.threads, 'thread')}, {conditions.device}"
    if conditions.compiled:
        how += ", compiled"
    # Timed along a sequence: rows have other figures, an error of the mirror among them.
    if report.rollout:
        return [*_rollout(report, how), *parts.cost_blocks(report.cost), *parts.note_blocks(report.notes)]
    blocks: list[Block] = [Section(f"A call ({how}), medians of interleaved rounds, {conditions.clock} time")]
    header = ("batch", "network", "time", "to original", "quartiles", "to TTA", *(("fair",) if is_fair else ()))
    # All columns but the name are numbers, and are set to the right.
    blocks.append(table(header, rows, tuple(index for index in range(len(header)) if index != 1)))
    runtime = conditions.runtime or f"torch {conditions.torch}"
    notes = (f"measured on {conditions.machine}, {runtime}", *report.notes)
    return [*blocks, *parts.cost_blocks(report.cost), *parts.note_blocks(notes)]


def _rollout(report: BenchReport, how: str) -> list[Block]:
    """A row for every network along a sequence.

    mirror error, at the end: the largest difference of mirrored answers over all steps, and at the last one: where an
    error grows from step to step, the two are alike.
    """
    rows: list[tuple[str, ...]] = []
    for row in report.rollout:
        away = if_known(row.to_average, "{:.2g}".format)
        times = (milliseconds(row.seconds), milliseconds(row.slow))
        rows.append((row.name, *times, f"{row.residual:.1e}", f"{row.last:.1e}", away))
    header = ("network", "median", "slowest 1 %", "mirror error", "at the end", "to TTA")
    return [Section(f"A step of a roll-out ({how}), one sample, states carried"), table(header, rows, (1, 2, 3, 4, 5))]
