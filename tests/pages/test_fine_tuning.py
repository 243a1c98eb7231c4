"""The page on fine-tuning: its example runs, its table is that of the results."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from benchmarks.accuracy import labels, table
from benchmarks.accuracy.networks import PlainLifter

PAGE = (Path(__file__).parents[2] / "docs/fine-tuning.md").read_text(encoding="utf-8")


def poses(count: int, coordinates: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 17, coordinates, generator=torch.Generator().manual_seed(seed))


def test_example_runs() -> None:
    """With 4 steps in the place of 1000; no worse on what is held out, and still equivariant."""
    found = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    held = [(poses(16, 2, 1), poses(16, 3, 1))]
    given: dict[str, Any] = {
        "net": PlainLifter(16, 1, torch.nn.ReLU).eval(), "x": poses(2, 2), "poses": poses(64, 2),
        "loader": [(poses(8, 2), poses(8, 3))], "held_out_batches": held,
    }  # fmt: skip
    exec(found[1].replace("steps=1000", "steps=4"), given)
    better, chiral, loss = given["better"], given["chiral"], given["loss"]
    with torch.no_grad():
        assert float(loss(better, held[0])) <= float(loss(chiral, held[0]))
    assert better.chirality.report.method == "reduce" and better is not chiral


def test_the_page_has_the_table_that_the_results_make() -> None:
    """`python -m benchmarks.accuracy.labels --write docs/fine-tuning.md` mends it."""
    shown = PAGE.partition(labels.START)[2].partition(labels.END)[0].strip()
    assert shown == labels.table() and shown.startswith("| network | labels |")


def test_pages_without_the_lines_are_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    assert table.write(page, labels.START, labels.END, "x") == 1 and page.read_text() == "nothing"
