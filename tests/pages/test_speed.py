"""The speed benchmark runs, and its page and its results say the same."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.speed import auto, conversion, cuda, fair, fair_table, gpu_table, rows, run, scale_out
from benchmarks.speed.dense import on_our_kernels
from benchmarks.speed.table import RESULTS, written

PAGE = Path(__file__).parents[2] / "docs" / "speed.md"


def test_the_page_is_in_step() -> None:
    """`python -m benchmarks.speed.table --write docs/speed.md` mends it."""
    with RESULTS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    page = PAGE.read_text(encoding="utf-8")
    assert "<!-- speed -->" in page and "<!-- runtimes -->" in page and written(page, rows) == page
    assert written(page, [{**own, "ratio": "9"} for own in rows]) != page


def test_the_fair_tables_are_in_step() -> None:
    """`python -m benchmarks.speed.fair_table --write docs/speed.md` mends them."""
    page = PAGE.read_text(encoding="utf-8")
    measured, swept = fair_table.read(fair.RESULTS), fair_table.read(auto.RESULTS)
    assert "| **" in fair_table.table(measured) and fair_table.written(page, measured, swept) == page
    assert fair_table.written(page, [{**row, "ratio": "9"} for row in measured], swept) != page
    assert fair_table.written(page, measured, [{**row, "blocks": "9"} for row in swept]) != page


def test_the_tables_of_other_machines_are_in_step() -> None:
    """`python -m benchmarks.speed.fair_table --write docs/speed-machines.md` mends them."""
    page = PAGE.with_name("speed-machines.md").read_text(encoding="utf-8")
    measured, swept = fair_table.read(fair.RESULTS), fair_table.read(auto.RESULTS)
    assert page.count("| conv1d | training step |") == 2 and page.count("| transformer | 1024 |") == 8
    assert fair_table.written(page, measured, swept) == page
    assert fair_table.written(page, measured, [{**row, "blocks": "9"} for row in swept]) != page


def test_the_tables_of_gpus_and_of_several_processes_are_in_step() -> None:
    """`python -m benchmarks.speed.gpu_table --write docs/speed-gpu.md` mends them."""
    page = PAGE.with_name("speed-gpu.md").read_text(encoding="utf-8")
    on_gpu, scaled = fair_table.read(cuda.RESULTS), fair_table.read(scale_out.RESULTS)
    assert "(tf32)" in page and "| reduce | 2 |" in page
    assert gpu_table.written(page, on_gpu, scaled) == page
    assert gpu_table.written(page, [{**row, "ratio": "9"} for row in on_gpu], scaled) != page


def test_no_choice_of_auto_loses_more_than_its_page_says() -> None:
    assert max(float(row["ratio"]) for row in fair_table.read(auto.RESULTS)) <= 1.03
    eager = [row for row in fair_table.read(cuda.RESULTS) if row["auto"] == "blocks" and row["variant"] == "blocks"]
    assert len(eager) == 9 and all(float(row["ratio"]) < 1.0 for row in eager)


def test_the_gpu_is_compared_with_the_faster_dense_form_and_sums_go_around_a_ring() -> None:
    cell: Any = {"dense": {"ratio": "1.0"}, "dense, ours": {"ratio": "0.5"}, "blocks": {"ratio": "0.4"}}
    assert gpu_table.share(cell) == 0.8 and gpu_table.share({**cell, "dense, ours": {"ratio": "2"}}) == 0.4
    assert gpu_table.ring(8e9, 2, 1e9, 0.0) == 8.0 and gpu_table.ring(8e9, 8, 1e9, 1.0) == 28.0


def test_a_table_goes_on_and_writes_down_what_fails(tmp_path: Path) -> None:
    """A case that is done is not measured again, one that failed is; after the time nothing is begun."""

    def fails() -> Any:
        raise ValueError("two\nlines")

    path, seen = tmp_path / "rows.csv", list[str]()
    for seconds in (None, None, 0.0):
        with rows.Table(path, ("case", "ms", "error"), ("case",), seconds) as table:
            table.add("one", rows=lambda: seen.append("one") or [{"ms": "1"}])
            table.add("two", rows=fails)
    assert seen == ["one"]
    assert path.read_text().split() == ["case,ms,error", "one,1,", *["two,,ValueError:", "two"] * 2]


def test_the_fair_ratio_is_to_the_fastest_dense_layer() -> None:
    ratios = {"torch": 1.0, "torch, ours": 0.8, "ours": 0.4, "ours, private": 0.3, "torch, packed": 0.6}
    assert fair_table.fair_ratio(ratios) == 0.5 and fair_table.fair_ratio(ratios, private=True) == 0.5
    assert fair_table.fair_ratio(ratios | {"torch, ours": 1.3}) == 0.4


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(8, 6), (5, 8)),
        (nn.Conv1d(8, 6, 3, stride=3), (2, 8, 9)),
        (nn.Conv1d(8, 6, 3), (40, 8, 9)),
        (nn.GRU(8, 6), (4, 3, 8)),
        (nn.MultiheadAttention(8, 2, batch_first=True), (3, 4, 8)),
        (nn.BatchNorm1d(8).eval(), (4, 8, 5)),
    ],
)
def test_dense_layers_on_our_ways_compute_the_same(layer: nn.Module, shape: tuple[int, ...]) -> None:
    """Answers and the gradient of the input: what is compared with is torch's layer, in another way."""
    found: list[list[torch.Tensor]] = []
    for module in (layer, on_our_kernels(layer)):
        x = torch.linspace(-1, 1, torch.Size(shape).numel()).sin().view(shape).requires_grad_()
        entering = x.transpose(1, 2).contiguous().transpose(1, 2) if x.ndim == 3 else x
        y = module(*[entering] * (3 if isinstance(layer, nn.MultiheadAttention) else 1))
        y = y[0] if isinstance(y, tuple) else y
        found.append([y, *torch.autograd.grad(y.square().sum(), [x])])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_without_a_gpu_there_are_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert cuda.main(["--csv", str(tmp_path / "none.csv")]) == cuda.WITHOUT_A_GPU
    assert "sees no GPU here" in capsys.readouterr().err and not (tmp_path / "none.csv").exists()


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("case", "mode"), [("linear", "forward"), ("gru", "train"), ("frame lifter", "forward")])
def test_it_runs(case: str, mode: str, tmp_path: Path) -> None:
    """A small width: every variant has a row, the original's ratio is one, blocks hold half of the parameters."""
    path = tmp_path / "speed.csv"
    words = ["--widths", "16", "--batches", "2", "--modes", mode, "--only", case, "--rounds", "2", "--csv", str(path)]
    assert run.main(words) == 0
    with path.open(newline="") as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert float(rows["dense"]["ratio"]) == 1.0 and float(rows["blocks"]["ratio"]) > 0
    assert 0.45 < float(rows["blocks"]["parameters"]) < 0.6
    assert ("fused" in rows) == (case == "frame lifter")


def test_steps_of_a_conversion_are_timed(tmp_path: Path) -> None:
    """Every step has a row, the last one is the whole, and a network is exported once."""
    path = tmp_path / "conversion.csv"
    words = ["--only", "mlp", "--what", "project", "verify", "--repeats", "1", "--csv", str(path)]
    assert conversion.main(words) == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for what in ("project", "verify"):
        *steps, whole = [row for row in rows if row["what"] == what]
        assert whole["step"] == "all" and {"exporting"} < {row["step"] for row in steps}
        assert int(whole["exports"]) == 1 and int(whole["runs"]) == sum(int(row["runs"]) for row in steps) > 10
        assert float(whole["seconds"]) > 0
