"""The parts of a report on the verdicts: what was run, what was proved, whether left and right are told apart, and why
T is taken for the right mirror.

`assembling` calls them, of verifications and conversions alike. As in `parts`, a record that there is none of gives no
blocks. A table of the numeric verdict, of a network with one output:

    ok  output 0  3.1e-7  4.7e-6  1.2  right_elbow.x        residual, its bound, the output's scale, the worst entry
"""

from __future__ import annotations

from chiralize.errors.words import listed, percent, when
from chiralize.report.cautions import mirror_cautions, precision_cautions, side_cautions
from chiralize.report.document import (
    Bar,
    Bars,
    Block,
    Line,
    Section,
    plain,
    plural,
    short,
    table,
    warning_lines,
)
from chiralize.report.loop_words import confirmed_in_words
from chiralize.verification.closed_loop.records import Rollout
from chiralize.verification.verdicts import CertificateVerdict, Degeneracy, Evidence, NumericVerdict


def numeric_blocks(verdict: NumericVerdict | None) -> list[Block]:
    """Residual and bound of every output, side by side; the heading, a table, bars, and the verdict's notes."""
    if verdict is None:
        return []
    # what it was run at stands in the heading, a column for every figure below
    tried = f"{verdict.dtype}, {plural(verdict.samples, 'sample')}"
    for axis, sizes in verdict.tried.items():
        name = axis
        if axis == "batch":
            name = "batch size" if len(sizes) == 1 else "batch sizes"
        tried += f", {name} {', '.join(map(str, sizes))}"
    # A row and a bar for each output. Without a bound there is nothing to divide by, and no bar.
    rows: list[tuple[str, ...]] = []
    bars: list[Bar] = []
    for output in verdict.outputs:
        passed, residual, bound = "ok" if output.passed else "FAIL", short(output.residual), short(output.bound)
        worst = output.worst if output.residual else ""  # where nothing is off, no entry is the worst
        rows.append((passed, output.title, residual, bound, plain(output.scale), worst))
        if output.bound:
            bars.append(Bar(output.title, output.residual / output.bound, f"{residual} of {bound}", 1.0))
    blocks: list[Block] = [
        Section(f"Numeric verdict: max |F(Tx) - T F(x)| ({tried})", "Run on inputs and on their mirror images")
    ]
    blocks.append(table(("", "what", "residual", "bound", "scale", "worst"), rows, (2, 3, 4)))
    blocks.append(Bars("residual / bound", tuple(bars)))
    return blocks + list(map(Line, verdict.notes))


def own_precision_blocks(verdict: NumericVerdict | None) -> list[Block]:
    """The worst residual in the precision in which the network runs, in one line; where it failed, warnings."""
    if verdict is None or not verdict.outputs:
        return []
    if not verdict.passed:
        return warning_lines(precision_cautions(verdict))
    worst = verdict.worst
    figures = f"{short(worst.residual)}, bound {short(worst.bound)} ({worst.title})"
    return [Line(f"in {verdict.dtype}, in which it runs: {figures}", "good")]


def certificate_blocks(verdict: CertificateVerdict | None) -> list[Block]:
    """How much was proved, or the first place where the proof breaks; then notes, and what the proof did not see."""
    if verdict is None:
        return []
    blocks: list[Block] = [Section("Certificate: a proof for all inputs, op by op", "Proved for all inputs")]
    done = f"{plural(verdict.ops, 'op')} and {plural(verdict.weights, 'weight')} checked"
    if verdict.passed:
        blocks.append(Line(f"ok: {done}", "good"))
    else:
        where = when(verdict.where, f"{verdict.where}: ")
        blocks.append(Line(f"FAIL: {where}{verdict.broken} ({done})", "bad"))
    return [*blocks, *map(Line, verdict.notes), *map(Line, verdict.unseen)]


def degeneracy_blocks(degeneracy: Degeneracy | None, without_original: bool = False) -> list[Block]:
    """How much of the answers tells left from right, before and after.

    without_original: the report is of a file alone, which may remember what its original's figures were.
    """
    if degeneracy is None:
        return []
    # Heads of two columns. Of a file alone only earlier figures are known, which were taken on random inputs.
    before, after = "flip average", "result"
    if without_original:
        before, after = "when converted, random inputs", "now, the same inputs"
    # A row for each output, marked where the result lost what the mirror negates.
    rows: list[tuple[str, ...]] = []
    for index, (old, new) in enumerate(zip(degeneracy.odd_before, degeneracy.odd_after, strict=True)):
        mark = "COLLAPSED" if index in degeneracy.collapsed else ""
        rows.append((f"output {index}", percent(old), percent(new), mark))
    blocks: list[Block] = [
        Section(
            "Left and right: share of the output's variance that the mirror negates", "Left and right are distinguished"
        )
    ]
    blocks.append(table(("what", before, after, ""), rows, (1, 2)))
    if degeneracy.free_share is not None:
        blocks.append(Line(_on_free_parameters(percent(degeneracy.free_share), without_original)))
    # What was lost on the way, if anything.
    for title, names in (
        ("spaces forced to be trivial", degeneracy.forced),
        ("constants that leave hidden channels no pairing", degeneracy.tables),
        ("parameters with entries that could only be zero", degeneracy.zeroed),
    ):
        if names:
            blocks.append(Line(f"{title}: {listed(names)}"))
    return blocks + warning_lines(side_cautions(degeneracy))


def _on_free_parameters(share: str, without_original: bool) -> str:
    """How many parameters the mirror leaves free, as a share of the original's, or of those of the network itself."""
    if not without_original:
        return f"free parameters: {share} of the original's"
    others = when(share != percent(1.0), "; the mirror determines the others")
    return f"{share} of its parameters can be chosen freely{others}"


def evidence_blocks(evidence: Evidence, rollout: Rollout | None = None) -> list[Block]:
    """A line for everything that speaks for the mirror or against it, the environment's word too."""
    # What confirms T, what speaks against it, and what nobody can tell; the environment's word comes last.
    lines: list[Block] = []
    against = tuple(caution.text for caution in mirror_cautions(evidence))
    for texts, tone in ((evidence.checks, "good"), (against, "bad"), (evidence.notes, "unsure")):
        lines += [Line(text, tone) for text in texts]
    if rollout is not None and rollout.probe is not None and (confirmed := confirmed_in_words(rollout)):
        lines.append(Line(confirmed, "good" if rollout.probe.confirms == "all" else "unsure"))
    if lines:
        return [Section("Is it the right mirror?"), *lines]
    return []
