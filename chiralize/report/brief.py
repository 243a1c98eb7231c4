"""A report in so few lines that it fits on one screen: every warning, a line for each question, and what shows more.

`text` asks for it where a terminal is written to. Most lines are those of the whole document, chosen by the titles of
its sections; figures that have a table there get one line here.
"""

from __future__ import annotations

from chiralize.errors.words import listed, when
from chiralize.problem.readings.remark import READ_AS
from chiralize.report.assembling import document
from chiralize.report.cautions import WARNING, data_cautions
from chiralize.report.distance import distance
from chiralize.report.document import Block, Document, Line, Section, Table, plain, plural, short
from chiralize.report.plan_groups import FEWER, MOST, group_blocks
from chiralize.report.records import AuditReport, BenchReport, ConvertReport, PlanReport, Report, VerifyReport
from chiralize.report.verdict import verdict_of

FEW = 4
"""Names in a line, and notes of a report."""


def brief(report: Report, as_heads: bool = False) -> Document:
    """The document for a terminal. Times are asked for row by row, and are shown whole; plans by module.

    as_heads: of warnings only what they are about, without reasons and remedies.
    """
    whole = document(report)
    if isinstance(report, BenchReport):
        return whole
    # 1. The same head as the whole report has.
    blocks = _head_of(whole)
    # 2. A few lines for each question, by the command.
    if isinstance(report, PlanReport):
        blocks += _of_plan(report, whole, FEWER if as_heads else MOST)
    else:
        blocks += _of_conversion(report, whole) if isinstance(report, ConvertReport) else []
        blocks += _verdicts(report)
    if isinstance(report, AuditReport):
        blocks += _tables(whole, ("The network", "In the loop", "Should it be converted?"))
    # 3. Warnings that no block above has shown yet, each once
    warnings = _not_yet_shown(report, blocks)
    if as_heads:
        warnings = list(map(_head, warnings))
    blocks += [Line(text, "bad") for text in warnings]
    shows = "every op" if isinstance(report, PlanReport) else "every figure"
    blocks.append(Line(f"-v says why and what to do, and shows {shows}" if as_heads else f"-v shows {shows}"))
    return Document(whole.title, whole.sentence, whole.standing, tuple(blocks))


def _head_of(whole: Document) -> list[Block]:
    """What stands before the first heading: how the inputs were read, the method, and where the result was written."""
    blocks: list[Block] = []
    for block in whole.blocks:
        if isinstance(block, Section):
            break
        blocks.append(block)
    return blocks


def _not_yet_shown(report: Report, blocks: list[Block]) -> list[str]:
    """The texts of all warnings that are no line of these blocks, each once, the gravest topic first."""
    texts = dict.fromkeys(caution.text for caution in verdict_of(report).warnings)
    shown = {block.text for block in blocks if isinstance(block, Line)}
    return [text for text in texts if text not in shown]


def _head(warning: str) -> str:
    """What a warning is about: its words before the first colon, semicolon or full stop outside of brackets.

    >>> _head("its gap is large (1.9; 0.2 is usual): it knows one side better; train it on both")
    'its gap is large (1.9; 0.2 is usual)'
    """
    depth = 0
    for position, character in enumerate(warning):
        depth += (character == "(") - (character == ")")
        # followed by a space or the end: not the stop of 0.2 or of a file's name
        if depth == 0 and character in ":;." and warning[position + 1 : position + 2] in ("", " "):
            return warning[:position]
    return warning


def _of_plan(report: PlanReport, whole: Document, most: int) -> list[Block]:
    """The ops by module, what stands in the way, the cost, and what is to be known. most: rows of modules."""
    blocks = group_blocks(report, most)
    blocks += [Line(text.replace("\n", " "), "bad") for text in report.blocked]
    blocks += _tables(whole, ("Cost",))
    notes = [note for note in report.notes if not note.startswith((READ_AS, WARNING))]
    blocks += map(Line, notes[:FEW])
    if len(notes) > FEW:
        blocks.append(Line(f"and {plural(len(notes) - FEW, 'more note')}"))
    return blocks


def _of_conversion(report: ConvertReport, whole: Document) -> list[Block]:
    """What it costs, how it does in the loop, how far it is from the original, and which weights changed."""
    blocks = _tables(whole, ("Cost", "In the loop"))
    if report.drift is not None and report.drift.outputs:
        drift = report.drift
        how_far = distance(report, data_cautions(report.notes))
        figures = f"gap {plain(drift.gap)}, rho {plain(drift.rho)} ({plural(drift.samples, 'sample')}, {drift.source})"
        blocks.append(Line(f"against the original: {figures}: {how_far.kind}"))
    changed = sorted(
        (entry for entry in report.changes.moved if entry.distance > 0), key=lambda entry: (-entry.distance, entry.name)
    )
    if changed:
        names = listed([entry.name for entry in changed], FEW)
        blocks.append(Line(f"changed, the furthest first: {names}"))
    if report.changes.fitted:
        blocks.append(Line(f"fitted: {plural(len(report.changes.fitted), 'weight')}"))
    return blocks


def _verdicts(report: ConvertReport | VerifyReport | AuditReport) -> list[Block]:
    """What was run, what was proved, and what confirms the mirror, a line each."""
    blocks: list[Block] = []
    if not isinstance(report, AuditReport):
        numeric, proof = report.judgement.numeric, report.judgement.certificate
        if numeric is not None and numeric.outputs:
            worst = numeric.worst
            figures = f"off by {short(worst.residual)}, bound {short(worst.bound)} ({numeric.dtype})"
            word = "ok" if numeric.passed else "FAIL"
            blocks.append(Line(f"{word}: run on {plural(numeric.samples, 'sample')}, {worst.title} {figures}"))
        if proof is not None and proof.passed:
            blocks.append(Line(f"ok: proved, {plural(proof.ops, 'op')} and {plural(proof.weights, 'weight')}"))
        elif proof is not None:
            where = when(proof.where, f"{proof.where}: ")
            blocks.append(Line(f"FAIL: {where}{proof.broken}", "bad"))
    if report.evidence.checks:
        more = len(report.evidence.checks) - 1
        rest = when(more, f" (and {plural(more, 'more check')})")
        blocks.append(Line(f"the mirror: {report.evidence.checks[0]}{rest}"))
    return blocks


def _tables(whole: Document, titles: tuple[str, ...]) -> list[Block]:
    """The tables of the sections with these titles, and their lines that report good or bad results."""
    blocks: list[Block] = []
    wanted = False
    for block in whole.blocks:
        if isinstance(block, Section):
            wanted = block.title.startswith(titles)
        elif wanted and isinstance(block, Table):
            blocks.append(block)
        elif wanted and isinstance(block, Line) and (block.tone != "plain" or block.text.startswith("Next")):
            blocks.append(block)
    return blocks
