"""A report as text for a terminal or a log: the verdict, at most eight lines; with `verbose` the tables behind them.

lifter.pt2: equivariant and proved, in one pass by match; rho 1.02 on 16 random inputs
  run        max |F(Tx) - T F(x)| = 1.3e-15, bound 3.0e-12 in float64, 8 runs
  proof      53 ops and 22 weights, for all inputs of these sizes
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from chiralize.report.findings import doubts, findings, sentence
from chiralize.report.records import ConvertReport, Report
from chiralize.verification.verdicts import Verdict

MOST_LINES = 8
"""Lines after the first that a report has unless more are asked for: with it they fill a third of a small terminal."""
_WIDTH = 160
"""Columns of the tables where no terminal tells its width."""
Line = tuple[str, str]


def to_text(report: Report, width: int | None = None, *, verbose: bool = False) -> str:
    """The report, without colour, a newline at the end.

    width: columns of the terminal, to which lines are wrapped; None for files and pipes.
    verbose: every finding and the tables of spaces, weights and joints.
    """
    lines = list(_lines(report, verbose))
    if not verbose and len(lines) > MOST_LINES:
        rest = len(lines) - MOST_LINES + 1
        lines = [*lines[: MOST_LINES - 1], ("more", f"{rest} further lines with -v")]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for head, text in lines:
        grid.add_row(f"  {head}", text)
    parts = [f"{report.model}: {sentence(report)}", grid, *(_tables(report) if verbose else ())]
    stream = io.StringIO()
    console = Console(file=stream, width=width or _WIDTH, no_color=True, highlight=False, markup=False, emoji=False)
    for part in parts:
        console.print(part, soft_wrap=width is None)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _lines(report: Report, verbose: bool) -> Iterator[Line]:
    """What is said, the most important first."""
    for name, verdict in report.verdicts.items():
        under = f" under {name}" if len(report.verdicts) > 1 else ""
        yield from _of_verdict(verdict, under)
    if isinstance(report, ConvertReport):
        yield from _of_conversion(report)
    for finding in doubts(report):
        yield "doubt", str(finding)
    if isinstance(report, ConvertReport) and report.output:
        yield "written", report.output
    for finding in findings(report):
        if finding.level == "note" and (verbose or finding.topic in ("inputs", "capture", "files")):
            yield "note", str(finding)


def _of_verdict(verdict: Verdict, under: str) -> Iterator[Line]:
    """Run and proof under one mirror."""
    if verdict.numeric.outputs:
        worst = verdict.numeric.worst
        figures = f"max |F(Tx) - T F(x)| = {worst.residual:.1e}, bound {worst.bound:.1e}"
        yield "run", f"{figures} in {verdict.numeric.dtype}, {verdict.numeric.samples} runs{under}"
    proof = verdict.certificate
    if proof is not None and proof.passed:
        yield "proof", f"{proof.ops} ops and {proof.weights} weights, for all inputs of the examples' sizes{under}"


def _of_conversion(report: ConvertReport) -> Iterator[Line]:
    """What became of the network."""
    moved = [weight for weight in report.moved if weight.distance > 0]
    if moved:
        furthest = max(moved, key=lambda weight: weight.distance)
        share = f"at most by {furthest.distance:.2f} of its norm ({furthest.name})"
        yield "weights", f"{len(moved)} of {len(report.moved)} moved, {share}"
    if report.degeneracy is not None and report.degeneracy.odd_before:
        pairs = zip(report.degeneracy.odd_before, report.degeneracy.odd_after, strict=True)
        yield "sides", "odd share " + ", ".join(f"{before:.2f} -> {after:.2f}" for before, after in pairs)
    cost = report.cost
    factor = cost.macs_after / cost.macs_before if cost.macs_before else 1.0
    free = f"{cost.parameters_after:,} free of {cost.parameters_before:,} parameters"
    yield "cost", f"{factor:.2f} of the multiplications; {free}"


def _tables(report: Report) -> Iterator[Table]:
    """Hidden spaces, weights and joints, one a row."""
    if isinstance(report, ConvertReport):
        spaces: list[Sequence[str]] = []
        for choice in report.choices:
            spaces.append((choice.space.label, str(choice.space.size), str(len(choice.action.pairs)), choice.reason))
        yield from _table("Hidden spaces", ("first weight", "units", "pairs", "reason"), spaces)
        weights: list[Sequence[str]] = []
        for weight in report.moved:
            weights.append((weight.name, weight.kind, f"{weight.distance:.3f}", str(weight.zeroed), str(weight.where)))
        yield from _table("Weights", ("name", "kind", "moved", "zeroed", "where"), weights)
    joints: list[Sequence[str]] = []
    for output in report.measured.outputs if report.measured is not None else ():
        for part in output.parts:
            rho = "" if part.rho is None else f"{part.rho:.2f}"
            joints.append((output.name, part.name, f"{part.gap:.3g}", rho))
    yield from _table("Joints", ("output", "joint", "gap", "rho"), joints)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Table]:
    """A table, unless it has no rows."""
    if rows:
        table = Table(*header, title=title, title_justify="left", box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        yield table
