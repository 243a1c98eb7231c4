"""From the record of a command to the document that is rendered."""

from __future__ import annotations

from chiralize.errors import percent
from chiralize.report.cautions import data_cautions, drift_cautions
from chiralize.report.distance import distance
from chiralize.report.document import Block, Document, Line, Section, milliseconds, plural, table
from chiralize.report.lopsided import advice_blocks, data_blocks, layer_blocks, network_blocks
from chiralize.report.parts import (
    certificate_blocks,
    changed_blocks,
    choice_blocks,
    cost_blocks,
    degeneracy_blocks,
    drift_blocks,
    evidence_blocks,
    fitted_blocks,
    moved_blocks,
    note_blocks,
    numeric_blocks,
    own_precision_blocks,
)
from chiralize.report.records import AuditReport, BenchReport, ConvertReport, PlanReport, Report, VerifyReport
from chiralize.report.verdict import verdict_of


def document(report: Report) -> Document:
    """Any report: its verdict, and its blocks in the order in which they are read."""
    verdict = verdict_of(report)
    return Document(report.model, verdict.sentence, verdict.standing, tuple(_blocks(report)))


def _blocks(report: Report) -> list[Block]:
    if isinstance(report, VerifyReport):
        return _verify(report)
    if isinstance(report, ConvertReport):
        return _convert(report)
    if isinstance(report, PlanReport):
        return _plan(report)
    if isinstance(report, BenchReport):
        return _bench(report)
    return _audit(report)


def _verify(report: VerifyReport) -> list[Block]:
    blocks = numeric_blocks(report.numeric)
    blocks += own_precision_blocks(report.own_precision) if report.own_precision else []
    blocks += certificate_blocks(report.certificate) if report.certificate else []
    blocks += degeneracy_blocks(report.degeneracy, alone=True) if report.degeneracy else []
    return blocks + evidence_blocks(report.evidence) + note_blocks(report.notes)


def _convert(report: ConvertReport) -> list[Block]:
    blocks: list[Block] = [Line(f"method {report.method}, form {report.form}")]
    if report.output:
        blocks.append(Line(f"written to {report.output}"))
    blocks += cost_blocks(report.cost) + choice_blocks(report.choices) + moved_blocks(report.moved)
    blocks += fitted_blocks(report.fitted) + changed_blocks(report)
    if report.drift:
        words = distance(report, data_cautions(report.notes))
        blocks += drift_blocks(report.drift, report.max_drift, words, drift_cautions(report))
    blocks += numeric_blocks(report.numeric) if report.numeric else []
    blocks += own_precision_blocks(report.own_precision) if report.own_precision else []
    blocks += certificate_blocks(report.certificate) if report.certificate else []
    blocks += degeneracy_blocks(report.degeneracy) if report.degeneracy else []
    return blocks + evidence_blocks(report.evidence) + note_blocks(report.notes)


def _plan(report: PlanReport) -> list[Block]:
    rows = [
        (
            row.module,
            row.op,
            row.before,
            row.after,
            row.action,
            "" if row.distance is None else percent(row.distance),
        )
        for row in report.rows
    ]
    blocks: list[Block] = [Section(f"{plural(len(rows), 'op')}")]
    blocks.append(table(("module", "op", "in", "out", "action", "distance"), rows, (5,)))
    blocks += choice_blocks(report.choices) + cost_blocks(report.cost)
    if report.blocked:
        blocks += [Section("In the way"), *(Line(text, "bad") for text in report.blocked)]
    return blocks + note_blocks(report.notes)


def _audit(report: AuditReport) -> list[Block]:
    blocks = network_blocks(report.network, report.source) + layer_blocks(report.layers, report.begins)
    blocks += data_blocks(report.data, report.leanings) + evidence_blocks(report.evidence) + note_blocks(report.notes)
    return blocks + (advice_blocks(report.advice) if report.advice else [])


def _bench(report: BenchReport) -> list[Block]:
    rows = [
        (
            str(own.batch), own.name, milliseconds(own.seconds), f"{own.ratio:.2f}",
            f"{own.low:.2f}-{own.high:.2f}",
            "" if own.to_average is None else f"{own.to_average:.2f}",
        )
        for own in report.rows
    ]  # fmt: skip
    how = f"{plural(report.threads, 'thread')}, {report.device}" + (", compiled" if report.compiled else "")
    blocks: list[Block] = [Section(f"A call ({how}), medians of interleaved rounds")]
    blocks.append(table(("batch", "network", "time", "to original", "quartiles", "to TTA"), rows, (0, 2, 3, 4, 5)))
    return [*blocks, *cost_blocks(report.cost), *note_blocks(report.notes)]
