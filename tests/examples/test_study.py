"""The frame of the examples' studies: training that resumes, ways, measurements, tables, command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from examples.reproduce.__main__ import _seed_by_seed, main
from examples.study import training
from examples.study.command import study
from examples.study.example import Example
from examples.study.page import between, short_tables, tables
from examples.study.results import Row, read, spreads, write
from examples.study.run import Unit, do, units
from examples.study.task import Reflection
from examples.study.training import train
from examples.study.ways import STOOD_FOR, USUAL, WAYS, Workshop
from tests.support.study_toy import Net, Toy, tasks


def unit(out: Path, *ways: str) -> Unit:
    return Unit(tasks, Toy.name, 0, ways or tuple(WAYS), out, True)


def test_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after 7 steps and continued: bit for bit what an uninterrupted run gives."""
    task, place = Toy(), tmp_path / "net.pt"
    recipe = task.recipe("plain")

    def made() -> Net:
        torch.manual_seed(3)
        return Net("plain")

    whole = train(task, made(), recipe, True, 5).network
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)

    def stop(share: float) -> None:
        if share > 7 / recipe.steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(task, made(), recipe, True, 5, place, stop)
    assert torch.load(place, weights_only=True)["steps"] == 7
    continued = train(task, made(), recipe, True, 5, place)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, continued.network.state_dict()[name])
    again = train(task, Net("plain"), replace(recipe, optimizer=lambda own: torch.optim.SGD(own, 1e9)), True, 5, place)
    assert torch.equal(again.network.state_dict()["last.weight"], whole.state_dict()["last.weight"])
    assert again.seconds == continued.seconds


@pytest.mark.thorough
def test_every_way(tmp_path: Path) -> None:
    """Makes and measures all ways, then finds them done; chiral ones do not see the mirror, and cost half."""
    do(unit(tmp_path))
    rows = read(unit(tmp_path).part)
    values = {(row.way, row.figure): row.value for row in rows}
    assert {row.way for row in rows} == set(WAYS)
    for way in WAYS:
        chiral = way.startswith(("chiralized", "from scratch")) or way.endswith("TTA")
        assert (values[way, "residual"] < 1e-5) == chiral, way
        assert values[way, "error"] > 0 and values[way, "latency_64"] > 0
    assert values["flips, TTA", "macs"] == 2 * values["flips", "macs"]
    assert values["from scratch, free", "macs"] == pytest.approx(0.5 * values["flips", "macs"], rel=0.02)
    assert values["chiralized 1.0", "error"] == pytest.approx(values["flips, TTA", "error"], rel=1e-5)
    stamp = unit(tmp_path).part.stat().st_mtime_ns
    do(unit(tmp_path))
    assert unit(tmp_path).part.stat().st_mtime_ns == stamp


@pytest.mark.thorough
def test_a_graph_is_fine_tuned_in_the_class_of_the_original(tmp_path: Path) -> None:
    """A conversion may be a graph whose norms are folded: nothing to train."""
    workshop = Workshop(Toy(), 0, tmp_path, 96)
    blocks = workshop.make("chiralized 0.5, folded")
    workshop._made["chiralized 0.5"] = replace(blocks, network=torch.fx.symbolic_trace(blocks.network), form="fused")
    made = workshop.make("chiralized 0.5, fine-tuned")
    assert type(made.network) is Net and made.form == "folded"


@pytest.mark.thorough
def test_command(tmp_path: Path) -> None:
    """In processes of their own; the table is printed, and `page` writes it into the example's README."""
    home, out = tmp_path / "example", tmp_path / "out"
    home.mkdir()
    (home / "README.md").write_text("# Toy\n\n<!-- results -->\n<!-- /results -->\n")
    app = study(Example("toy", tasks, home), "A toy.")
    shell = CliRunner()
    arguments = ["--out", str(out), "--way", "baseline", "--way", "baseline, TTA", "--seeds", "2", "--workers", "1"]
    done = shell.invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "toy, 12 (2 seeds" in done.output
    assert {row.seed for row in read(out / "results.csv")} == {0, 1}
    assert shell.invoke(app, ["page", "--out", str(out)]).exit_code == 0
    text = (home / "README.md").read_text()
    assert "| baseline, TTA |" in text and (home / "figures" / "toy-12.svg").exists()
    assert read(home / "results.csv") == read(out / "results.csv")
    assert shell.invoke(app, ["--way", "magic"]).exit_code == 2
    assert "no network is called lion" in shell.invoke(app, ["--network", "lion"]).output


def test_results_file(tmp_path: Path) -> None:
    """Later rows replace earlier ones, and a file of another kind is refused."""
    rows = [Row("n", "baseline", seed, "error", value) for seed, value in enumerate((3.0, 1.0, 2.0))]
    write(tmp_path / "r.csv", [Row("n", "baseline", 0, "error", 9.0), *rows])
    assert read(tmp_path / "r.csv") == rows
    assert spreads(rows)["n", "baseline", "error"] == (2.0, 1.0, 3.0, 3)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"other\.csv: its columns are"):
        read(tmp_path / "other.csv")


def test_table() -> None:
    """Costs are ratios to the first way, in the order of the ways, whatever the order of the rows."""
    rows = [
        Row("n", "flips", 0, "error", 12.345), Row("n", "flips", 0, "macs", 50), Row("n", "baseline", 0, "macs", 100),
        Row("n", "baseline", 0, "error", 20), Row("n", "baseline", 1, "error", 22), Row("n", "flips", 0, "error/a", 1),
    ]  # fmt: skip
    (table,) = tables(rows)
    assert table.rows[1] == ("baseline", "21.0 (20.0–22.0)", "×1.00", "")
    assert table.rows[2] == ("flips", "12.3", "×0.50", "")
    whole, narrow = table.as_rich(200), table.as_rich(40)
    assert len(whole.columns) == 4 and whole.caption is None
    assert len(narrow.columns) == 2 and narrow.caption == "not shown: multiplications, seconds"
    page = between("a\n<!-- results -->\nold\n<!-- /results -->\nb", "results", table.as_markdown())
    assert page.startswith("a\n<!-- results -->\n**n (2 seeds") and page.endswith("|\n<!-- /results -->\nb")
    with pytest.raises(ValueError, match="the page has no <!-- steps -->"):
        between(page, "steps", "")


def test_reflection_is_an_involution() -> None:
    x = torch.randn(2, 17, 3)
    swap = Reflection([4, 5, 6], [1, 2, 3], (0, 2))
    assert torch.equal(swap(swap(x)), x) and torch.equal(swap(x)[:, 4, 1], x[:, 1, 1])
    assert torch.equal(swap(x)[:, 0, 2], -x[:, 0, 2])


def test_units_are_seed_by_seed(tmp_path: Path) -> None:
    found = units(tasks, tmp_path, range(2), ["flips", "baseline"], [], False)
    assert [(own.seed, own.ways) for own in found] == [(0, ("baseline", "flips")), (1, ("baseline", "flips"))]


def test_reproduction_is_seed_by_seed(tmp_path: Path) -> None:
    """Whole seeds come first, every example in its own folder; examples that do not exist are refused."""
    toy = Example("toy", tasks, tmp_path)
    found = _seed_by_seed([toy, replace(toy, name="other")], tmp_path, 2, True)
    assert [(own.out.name, own.seed) for own in found] == [("other", 0), ("toy", 0), ("other", 1), ("toy", 1)]
    app = typer.Typer()
    app.command()(main)
    refused = CliRunner().invoke(app, ["--only", "cooking"])
    assert refused.exit_code == 2 and "cooking: there are lifting, forecasting" in " ".join(refused.output.split())


def test_the_table_that_a_page_opens_with() -> None:
    """Of the ways that were run; none where the network was not, as after a smoke run."""
    figures = {"error": 12.0, "gap": 1e-7, "parameters": 50.0}
    rows = [Row("n", way, 0, name, value) for way in ("flips", "chiralized 0.5") for name, value in figures.items()]
    (table,) = short_tables([*rows, Row("n", "flips, TTA", 0, "error", 11.0)], "n", "error", "error, mm")
    assert [row[1:] for row in table.rows[1:]] == [("1", "12.0", "0 up to rounding", "×1.00")] * 2
    assert "flip" not in table.rows[2][0] and table.rows[0][2] == "error, mm"
    assert short_tables(rows, "another", "error", "error, mm") == []


def test_a_smoke_run_leaves_out_what_others_stand_for(tmp_path: Path) -> None:
    """Unless it is asked for by name."""
    (whole,) = units(tasks, tmp_path, [0], None, (), smoke=False)
    (smoke,) = units(tasks, tmp_path, [0], None, (), smoke=True)
    assert set(whole.ways) - set(smoke.ways) == set(STOOD_FOR) <= set(USUAL)
    (asked,) = units(tasks, tmp_path, [0], STOOD_FOR, (), smoke=True)
    assert asked.ways == STOOD_FOR
