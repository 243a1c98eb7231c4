"""From the record of a command to the document that is rendered."""

from __future__ import annotations

from chiralize.report.document import Block, Document, Line, Section, percent, plain, plural, table
from chiralize.report.lopsided import advice_blocks, data_blocks, layer_blocks, network_blocks
from chiralize.report.parts import (
    certificate_blocks,
    choice_blocks,
    cost_blocks,
    degeneracy_blocks,
    drift_blocks,
    evidence_blocks,
    fitted_blocks,
    moved_blocks,
    note_blocks,
    numeric_blocks,
)
from chiralize.report.records import AuditReport, BenchReport, ConvertReport, PlanReport, Report, VerifyReport


def document(report: Report) -> Document:
    """The blocks of any report, in the order in which they are read."""
    if isinstance(report, VerifyReport):
        return _verify(report)
    if isinstance(report, ConvertReport):
        return _convert(report)
    if isinstance(report, PlanReport):
        return _plan(report)
    if isinstance(report, BenchReport):
        return _bench(report)
    return _audit(report)


def _verify(report: VerifyReport) -> Document:
    blocks = numeric_blocks(report.numeric)
    blocks += certificate_blocks(report.certificate) if report.certificate else []
    blocks += degeneracy_blocks(report.degeneracy, alone=True) if report.degeneracy else []
    blocks += evidence_blocks(report.evidence) + note_blocks(report.notes)
    verdict = "equivariant" if report.passed else "NOT equivariant"
    if not report.passed and report.numeric.passed and not (report.certificate and not report.certificate.passed):
        verdict = "equivariant, but degenerate"
    return Document(report.model, verdict, report.passed, tuple(blocks))


def _convert(report: ConvertReport) -> Document:
    verdict = "converted" if report.passed else "NOT converted as it should be"
    if report.unchanged:
        verdict = "already equivariant, unchanged"
    blocks: list[Block] = [Line(f"method {report.method}, form {report.form}")]
    if report.output:
        blocks.append(Line(f"written to {report.output}"))
    blocks += cost_blocks(report.cost) + choice_blocks(report.choices) + moved_blocks(report.moved)
    blocks += fitted_blocks(report.fitted)
    blocks += drift_blocks(report.drift, report.max_drift) if report.drift else []
    blocks += numeric_blocks(report.numeric) if report.numeric else []
    blocks += certificate_blocks(report.certificate) if report.certificate else []
    blocks += degeneracy_blocks(report.degeneracy) if report.degeneracy else []
    blocks += evidence_blocks(report.evidence) + note_blocks(report.notes)
    return Document(report.model, verdict, report.passed, tuple(blocks))


def _plan(report: PlanReport) -> Document:
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
    verdict = f"{plural(len(report.blocked), 'op')} in the way" if report.blocked else "can be converted"
    return Document(report.model, verdict, report.passed, (*blocks, *note_blocks(report.notes)))


def _audit(report: AuditReport) -> Document:
    blocks = network_blocks(report.network, report.source) + layer_blocks(report.layers, report.begins)
    blocks += data_blocks(report.data, report.leanings) + evidence_blocks(report.evidence) + note_blocks(report.notes)
    blocks += advice_blocks(report.advice) if report.advice else []
    kind = f": {report.advice.kind}" if report.advice else ""
    return Document(report.model, f"gap {plain(report.network.gap)}{kind}", report.passed, tuple(blocks))


def _bench(report: BenchReport) -> Document:
    rows = [
        (
            str(own.batch), own.name, f"{1e3 * own.seconds:.3g} ms", f"{own.ratio:.2f}",
            f"{own.low:.2f}-{own.high:.2f}",
            "" if own.to_average is None else f"{own.to_average:.2f}",
        )
        for own in report.rows
    ]  # fmt: skip
    how = f"{plural(report.threads, 'thread')}, {report.device}" + (", compiled" if report.compiled else "")
    blocks: list[Block] = [Section(f"A call ({how}), medians of interleaved rounds")]
    blocks.append(table(("batch", "network", "time", "to original", "quartiles", "to TTA"), rows, (0, 2, 3, 4, 5)))
    blocks += [*cost_blocks(report.cost), *note_blocks(report.notes)]
    last = report.rows[-1]
    return Document(report.model, f"{report.chiral} takes {last.ratio:.2f} of its time", report.passed, tuple(blocks))
