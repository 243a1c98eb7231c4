"""What docs/robots.md says of public robots is what benchmarks/robots has measured."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.robots.imports import RESULTS, table
from chiralize.body.robots.agreement import EXACT

PAGE = (Path(__file__).parents[2] / "docs" / "robots.md").read_text(encoding="utf-8")
with RESULTS.open(newline="") as file:
    ROWS = list(csv.DictReader(file))
READ = [row for row in ROWS if not row["refused"]]
"""Of whose files a mirror came."""


def test_the_table_is_that_of_the_file() -> None:
    """`python -m benchmarks.robots.imports --write docs/robots.md` mends it."""
    assert table() in PAGE


def test_the_simulator_agrees_with_every_mirror() -> None:
    assert len(READ) >= 30
    assert max(float(row["last_20"]) for row in READ) <= 1e-7 < EXACT
    conditions = {row["condition"].split(", steps")[0] for row in READ}
    assert conditions == {"as it is", "made equal", "made equal, no contacts"}


def test_what_is_symmetric_agrees_as_it_is() -> None:
    """Nothing is listed of a robot that agrees as it is, but what changes no step."""
    for row in READ:
        assert row["lopsided"] or float(row["as_it_is_20"]) <= EXACT, row["robot"]


def test_kinds() -> None:
    """Humanoids, quadrupeds, bipeds and two pairs of arms, from both formats; four without left and right."""
    kinds = [row["kind"].split(",")[0].split()[-1] for row in READ]
    assert min(kinds.count(kind) for kind in ("humanoid", "quadruped", "biped", "bimanual")) >= 2
    assert {Path(row["file"]).suffix for row in READ} == {".xml", ".urdf"}
    assert [row["robot"] for row in ROWS if row["refused"]] == ["Walker2d", "HalfCheetah", "Hopper", "Pusher"]
