"""`chiralize bench`: the same inputs for the original, its flip average and its chiral counterpart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Shell, network, save_program, working_shell


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def converted(shell: Shell) -> None:
    save_program(network(hidden=64), shell.folder / "net.pt2")
    done = shell(
        "convert", "net.pt2", "--skeleton", "lifter.yaml", "--method", "match", "--form", "fused", "-o", "c.pt2"
    )
    assert done.status == 0, done.err


def test_bench(shell: Shell) -> None:
    """A row for every network and size, ratios to the original and to the average, costs, as JSON and as text."""
    converted(shell)
    words = ("bench", "net.pt2", "c.pt2", "--skeleton", "lifter.yaml", "--rounds", "2", "--threads", "1")
    found = json.loads(shell(*words, "--batch", "2", "--batch", "5", "--format", "json").out)
    assert (found["report"], found["threads"], found["compiled"]) == ("bench", 1, False)
    names = [row["name"] for row in found["rows"]]
    assert names[0] == "original" and names[-1] == "chiral" and "flip average (TTA)" in names
    assert {row["batch"] for row in found["rows"]} == {2, 5}
    for row in found["rows"]:
        assert row["seconds"] > 0 and row["low"] <= row["ratio"] <= row["high"]
        assert row["ratio"] == 1.0 or row["name"] != "original"
        average = next(own for own in found["rows"] if own["name"].startswith("flip") and own["batch"] == row["batch"])
        assert row["to_average"] == pytest.approx(row["ratio"] / average["ratio"])
    assert found["cost"]["macs_after"] < 0.6 * found["cost"]["macs_before"]
    text = shell(*words).out
    assert text.startswith("net.pt2: c.pt2 takes 0.") or "of its time" in text.splitlines()[0]
    assert "quartiles" in text and "to TTA" in text


def test_files_whose_examples_differ_in_size(shell: Shell) -> None:
    """Multiplications are those of a sample, however many samples the examples of a file have."""
    ratios = []
    for rows in (2, 64):
        save_program(network(hidden=64), shell.folder / "net.pt2", rows=2)
        save_program(network(hidden=64), shell.folder / "other.pt2", rows=rows)
        done = shell("bench", "net.pt2", "other.pt2", "--skeleton", "lifter.yaml", "--rounds", "2", "--format", "json")
        report = json.loads(done.out)
        ratios.append(report["cost"]["macs_after"] / report["cost"]["macs_before"])
        assert report["cost"]["unit"] == "sample" and {row["batch"] for row in report["rows"]} == {2}
        told = "differ in the number of samples (2 in net.pt2 and 64 in other.pt2)" in str(report["notes"])
        assert told == (rows == 64)
    assert ratios == [1.0, 1.0]
    assert (
        "  MACs a sample " in shell("bench", "net.pt2", "other.pt2", "--skeleton", "lifter.yaml", "--rounds", "2").out
    )


def test_the_skeleton_is_that_of_the_chiral_network(shell: Shell) -> None:
    converted(shell)
    done = shell("bench", "net.pt2", "c.pt2", "--rounds", "2")
    assert done.status == 0 and "flip average" in done.out, done.err
    done = shell("bench", "net.pt2", "net.pt2", "--rounds", "2")
    assert done.status == 2 and "no skeleton is given" in done.err


def test_what_no_machine_has(shell: Shell) -> None:
    converted(shell)
    for option, value, words in (
        ("--device", "foo", "--device: 'foo': "),
        ("--device", "meta", "--device: 'meta': "),
        ("--threads", "100000", "--threads"),
        ("--batch", "100000000000", "batch 100000000000: "),
    ):
        done = shell("bench", "net.pt2", "c.pt2", "--rounds", "2", option, value)
        assert done.status == 2 and words in done.err and "CH901" not in done.err, done.err


def test_sizes_that_a_network_does_not_take(shell: Shell) -> None:
    """A program of one size only says so."""
    save_program(network(hidden=64), shell.folder / "net.pt2", dynamic=False)
    shell("convert", "net.pt2", "--skeleton", "lifter.yaml", "--method", "match", "-o", "c.pt2")
    done = shell("bench", "net.pt2", "c.pt2", "--skeleton", "lifter.yaml", "--batch", "7", "--rounds", "2")
    assert done.status == 2 and "batch 7" in done.err and "leave --batch out" in done.err
