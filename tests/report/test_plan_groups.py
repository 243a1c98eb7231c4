"""A plan of hundreds of ops fits on one screen: by module, with all that stands in the way; -v shows every op."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chiralize.infer.records import Choice, Space
from chiralize.report import Cost, PlanReport, PlanRow, to_text
from chiralize.report.plan_groups import MOST, group_blocks
from chiralize.report.text import SCREEN
from chiralize.symmetry.involution import SignedPermutation
from tests.support.command import Shell, network, save_program, working_shell

PARTS = ("agcn.conv", "agcn.attn", "agcn", "tcn.branches.0.conv", "tcn.branches.1.conv", "tcn")
ROWS = [PlanRow("", "permute.default", "[b | t]", "[t | b]", "keep")]
for _layer in range(9):
    for _part in PARTS:
        ROWS.append(PlanRow(f"l{_layer}.{_part}", "add.Tensor", "[b]", "[b]", "keep"))
        ROWS.append(PlanRow(f"l{_layer}.{_part}", "conv2d.default", "[b]", "[b]", "project weights", _layer / 20))
ROWS += [PlanRow(name, "linear.default", "[b]", "[b]", "project weights", 0.0) for name in ("fc", "head")]
CHOICE = Choice(Space(0, "fc.weight[0]", "fc", 2, 0, True), SignedPermutation.identity(2), "matched by weights")
CHOICES = tuple(CHOICE for _ in range(3))
PLAN = PlanReport("net.pt", tuple(ROWS), Cost(12345, 12345, 6789, 6789), CHOICES, notes=("a note",))


def rows_of(report: PlanReport) -> list[tuple[str, ...]]:
    return [tuple(row) for block in group_blocks(report) for row in getattr(block, "rows", ())]


def test_layers_that_differ_in_a_number_are_one_row() -> None:
    rows = rows_of(PLAN)
    assert ("fc", "1", "linear (1)", "project weights (1)", "0.0 %") in rows
    assert ("(the network itself)", "1", "permute (1)", "keep", "") in rows
    assert ("l*.agcn.conv", "18", "add (9), conv2d (9)", "project weights (9)", "40.0 %") in rows
    assert sum(int(row[1]) for row in rows) == len(ROWS)
    assert ("l*.tcn.branches.*.conv", "36", "add (18), conv2d (18)", "project weights (18)", "40.0 %") in rows


def test_of_many_modules_as_many_as_a_screen_has() -> None:
    many = replace(PLAN, rows=tuple(PlanRow(name, "add.Tensor", "", "", "keep") for name in "abcdefghijklmn"))
    assert len(rows_of(many)) == MOST and "  and 2 modules more\n" in to_text(many, None, short=True)
    assert "  and 7 modules more\n" in to_text(replace(many, notes=4 * ("a note",)), 80, short=True)
    few = replace(PLAN, rows=tuple(PlanRow(f"layers.{n}.{name}", "add.Tensor", "", "", "keep") for n in "12" for name in
                                   "abcdefghijklmn"))  # fmt: skip
    assert rows_of(few) == [("layers.*", "28", "add (28)", "keep", "")]
    assert rows_of(replace(PLAN, rows=())) == []


@pytest.mark.parametrize("width", [None, 80])
def test_short(width: int | None) -> None:
    blocked = replace(PLAN, blocked=("NoRuleError CH301  fc (net.py:3): no rule\n    Fix: add one",))
    for report in (PLAN, blocked, replace(PLAN, notes=("warning: k was assumed: it matters", *("more",) * 9))):
        text = to_text(report, width, short=True)
        assert text.count("\n") <= SCREEN and text.endswith("  -v shows every op\n")
        assert report.verdict.split(";")[0] in text and all(warning in text for warning in report.warnings)
        assert "3 hidden spaces: matched by weights (3)" in text and "x1.00" in text
        assert ("no rule" in text) == bool(report.blocked)
    assert "  and 5 more notes\n" in text


def test_the_command_shows_it_unless_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a pipe as well, which has no use for hundreds of lines; JSON has all of them."""
    for shell in working_shell(tmp_path, capsys, monkeypatch):
        assert isinstance(shell, Shell)
        program = save_program(network(), tmp_path / "net.pt2")
        short = shell("plan", program, "--skeleton", "lifter.yaml")
        assert "ops, by module" in short.out and "[" not in short.out and short.out.count("\n") <= SCREEN
        whole = shell("plan", program, "--skeleton", "lifter.yaml", "-v")
        assert "  module  op" in whole.out and "pairs" in whole.out and "by module" not in whole.out
        assert '"rows"' in shell("plan", program, "--skeleton", "lifter.yaml", "--format", "json").out
