"""`convert`, `verify`, `plan`, `audit` and the help: what goes to stdout and stderr, statuses, reports and options."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chiralize.cli.options import progress
from chiralize.errors import OutputFileError
from tests.support.command import (
    BODY,
    MODULE,
    Shell,
    library_warnings,
    network,
    poses,
    save_program,
    save_weights,
    working_shell,
)

POLICY = (
    BODY + 'inputs: [{layout: "b j d"}, {free: true}, {state: true}]\noutputs: [{layout: "b j d"}, {state: true}]\n'
)
LIFTER = (*f"weights.pt --model {MODULE}:Lifter --skeleton lifter.yaml".split(),)
COMMANDS = ("convert", "verify", "plan", "audit", "demo", "skeleton")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    save_weights(network(), tmp_path / "weights.pt")
    yield from working_shell(tmp_path, capsys, monkeypatch)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_program(network(), tmp_path_factory.mktemp("program") / "net.pt2")


# ---- help ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_as_written(command: str, shell: Shell) -> None:
    """Example lines are not reflowed; no list or path types of Python stand in them."""
    result = shell(command, "--help")
    assert result.status == 0 and result.err == ""
    if command != "skeleton":
        lines = [line.strip() for line in result.out.partition("Examples:")[2].splitlines()]
        assert any(line.startswith(f"chiralize {command}") for line in lines)
    assert "list[" not in result.out and "<str>" not in result.out


def test_help_without_arguments(shell: Shell) -> None:
    result = shell()
    assert result.status == 2 and all(command in result.err for command in COMMANDS)
    assert shell("--version").out.startswith("chiralize ")


# ---- convert ------------------------------------------------------------------------------------------------------
def test_json_alone_on_stdout_and_a_page(program: Path, shell: Shell) -> None:
    """The default method and name; the same report as JSON on stdout and as a page."""
    result = shell("convert", program, "--skeleton", "lifter.yaml", "--format", "json", "--report", "r.html")
    assert (result.status, result.err) == (0, "")
    found = json.loads(result.out)
    assert (found["method"], found["form"], found["passed"]) == ("average", "two-view", True)
    assert found["output"] == "net.chiral.pt2" and (shell.folder / "net.chiral.pt2").is_file()
    page = (shell.folder / "r.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "net.pt2" in page
    names = set(shell.listing()) - {"weights.pt", "body.yaml", "lifter.yaml", f"{MODULE}.py"}
    assert names == {"net.chiral.pt2", "r.html"}


def test_a_page_that_cannot_be_written(program: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is there by then; the report is still printed, so that nobody has to convert again for it."""

    def refuse(report: object, page: Path) -> None:
        raise OutputFileError(str(page), "the disk is full", "free some space")

    monkeypatch.setattr("chiralize.cli.printing.save", refuse)
    result = shell("convert", program, "--skeleton", "lifter.yaml", "--samples", "1", "--report", "r.html")
    assert result.status == 2 and result.err.startswith("OutputFileError CH206  r.html: the disk is full")
    assert "written to net.chiral.pt2" in result.out and (shell.folder / "net.chiral.pt2").is_file()


def test_calibration_by_name_and_by_order(shell: Shell) -> None:
    """Arrays named as the inputs go by name, others in file order; states keep the example's value."""
    (shell.folder / "policy.yaml").write_text(POLICY)
    save_weights(network("Policy"), shell.folder / "policy.pt")
    draw = np.random.default_rng(0).normal
    np.savez("named.npz", speed=draw(size=(20, 1)), pose=draw(size=(20, 5, 2)))
    np.savez("ordered.npz", a=draw(size=(20, 5, 2)), b=draw(size=(20, 1)))
    sizes = "--input-shape 2,5,2 --input-shape 2,1 --input-shape 2,6".split()
    words = ("policy.pt", "--model", f"{MODULE}:Policy", *sizes, "--skeleton", "policy.yaml", "--method", "match")
    for name in ("named.npz", "ordered.npz"):
        result = shell("convert", *words, "--calibration", name, "--report", "r.json", "-o", "out.pt")
        assert result.status == 0, result.err
        found = json.loads((shell.folder / "r.json").read_text())
        assert "calibration" in found["drift"]["source"] and "activations" in str(found["choices"])


OF_ONE_SIZE = """
import torch

class Counted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = torch.nn.Linear(10, 8), torch.nn.Linear(8, 10)

    def forward(self, x):
        gain = [2.0, 1.0][int(torch.tensor([1]).sum())]  # export refuses what depends on numbers, a trace keeps it
        return gain * self.last(torch.relu(self.first(x.flatten(1)))).view(len(x), 5, 2)
"""


def test_a_network_of_one_batch_size_keeps_the_one_that_was_given(shell: Shell) -> None:
    """Samples are put together in batches; a trace at such a size would take no other.

    The module would take more than the file does: the report lists what the file takes.
    """
    (shell.folder / "of_one_size.py").write_text(OF_ONE_SIZE)
    made: dict[str, Any] = {}
    exec(OF_ONE_SIZE, made)
    save_weights(made["Counted"](), shell.folder / "net.pt")
    np.savez("poses.npz", np.random.default_rng(0).normal(size=(64, 5, 2)).astype(np.float32))
    words = "net.pt --model of_one_size:Counted --skeleton lifter.yaml --input-shape 1,5,2 --method match --rounds 0"
    result = shell(
        "convert", *words.split(), "--force", "--calibration", "poses.npz", "-o", "out.pt2", "--samples", "1", "-v"
    )
    assert result.status == 0 and "  MACs " in result.out, result.err
    assert ", batch size 1)" in result.out
    with library_warnings():
        assert torch.export.load("out.pt2").module()(torch.zeros(1, 5, 2)).shape == (1, 5, 2)


def test_multiplications_of_a_batch_say_of_how_many_samples(shell: Shell, program: Path) -> None:
    """Samples are put together in batches, so that the examples of the user are not those that are counted."""
    np.savez("poses.npz", np.random.default_rng(0).normal(size=(64, 5, 2)).astype(np.float32))
    words = ("--skeleton", "lifter.yaml", "--method", "match", "--force", "--calibration", "poses.npz")
    result = shell("convert", program, *words, "--input-shape", "1,5,2", "-o", "o.pt2")
    assert "  MACs, 32 samples, as traced " in result.out


@pytest.mark.thorough
def test_sequences(shell: Shell) -> None:
    """Time along the second axis, or where --sequence-axis says; drift is then that of roll-outs."""
    (shell.folder / "policy.yaml").write_text(POLICY)
    save_weights(network("Policy"), shell.folder / "policy.pt")
    draw = np.random.default_rng(0).normal
    np.savez("walks.npz", pose=draw(size=(4, 55, 5, 2)), speed=draw(size=(4, 55, 1)))
    np.savez("turned.npz", pose=draw(size=(55, 4, 5, 2)), speed=draw(size=(55, 4, 1)))
    sizes = "--input-shape 2,5,2 --input-shape 2,1 --input-shape 2,6".split()
    words = ("policy.pt", "--model", f"{MODULE}:Policy", *sizes, "--skeleton", "policy.yaml", "--method", "project")
    for given in (("walks.npz",), ("turned.npz", "--sequence-axis", "0")):
        result = shell("convert", *words, "--calibration", *given, "--report", "r.json", "-o", "out.pt")
        assert result.status == 0, result.err
        drift = json.loads((shell.folder / "r.json").read_text())["drift"]
        assert (drift["steps"], [own["steps"] for own in drift["horizons"]]) == (55, [50, 55])


def test_statistics_are_kept(program: Path, shell: Shell) -> None:
    words = ("convert", program, "--skeleton", "lifter.yaml", "--keep-statistics", "-o", "out.pt2")
    result = shell(*words, "--method", "match")
    assert result.status == 3 and "norm.running_mean" in result.err and not (shell.folder / "out.pt2").exists()
    result = shell(*words)
    assert result.status == 0 and "2 passes" in result.out


def test_layouts_on_the_command_line(shell: Shell) -> None:
    """The same mirror without a specification file."""
    save_weights(network("Policy"), shell.folder / "policy.pt")
    words = "policy.pt --skeleton body.yaml --input-shape 1,5,2 --input-shape 1,1 --input-shape 1,6".split()
    layouts = ("--input-layout", "b j d", "--input-layout", "free", "--input-layout", "state")
    layouts += ("--output-layout", "b j d", "--output-layout", "state")
    result = shell("plan", *words, "--model", f"{MODULE}:Policy", *layouts)
    assert result.status == 0 and "cell" in result.out


def test_another_entry(shell: Shell) -> None:
    """--entry converts that method; the same weights then fail by the other one, whose ReLU is not odd or differs."""
    words = (*LIFTER, "--example", "poses.npy")
    np.save("poses.npy", poses(4).numpy())
    result = shell("convert", *words, "--entry", "encode", "--method", "project", "-o", "encode.pt")
    assert result.status == 0, result.err
    found = shell("verify", "encode.pt", "--model", f"{MODULE}:Lifter", "--example", "poses.npy", "--entry", "encode")
    assert found.status == 0
    state = torch.load("encode.pt", weights_only=True)
    network().load_state_dict(state, strict=True)


def test_forced_past_the_drift(program: Path, shell: Shell) -> None:
    """--max-drift refuses with 1; --force writes all the same."""
    words = (
        "convert",
        program,
        "--skeleton",
        "lifter.yaml",
        "--method",
        "project",
        "--max-drift",
        "0.001",
        "-o",
        "o.pt2",
    )
    result = shell(*words)
    assert (result.status, result.out) == (1, "") and "DriftError CH401" in result.err
    assert "use --method average (rho 0), --calibration inputs, raise --max-drift, or --force" in result.err
    assert not (shell.folder / "o.pt2").exists()
    assert shell(*words, "--force").status == 0 and (shell.folder / "o.pt2").exists()


# ---- verify, plan, audit ------------------------------------------------------------------------------------------
def test_verify_prints_in_three_formats(program: Path, shell: Shell) -> None:
    """Status 1, the report on stdout, and why on stderr."""
    words = ("verify", program, "--skeleton", "lifter.yaml", "--samples", "2")
    text = shell(*words)
    assert (
        text.status == 1 and text.out.startswith("net.pt2: NOT equivariant") and "EquivarianceError CH501" in text.err
    )
    found = json.loads(shell(*words, "--format", "json").out)
    assert found["passed"] is False
    suite = ElementTree.fromstring(shell(*words, "--format", "junit").out)
    assert suite.tag == "testsuites" and suite.get("failures") == "2"


def test_verify_writes_its_report_beside(program: Path, shell: Shell) -> None:
    """A network that fails has a page, too; a page is never written over what is read."""
    words = ("verify", program, "--skeleton", "lifter.yaml", "--samples", "2")
    assert shell(*words, "--report", "v.html", "--format", "junit").status == 1
    assert "NOT equivariant" in (shell.folder / "v.html").read_text(encoding="utf-8")
    (shell.folder / "poses.json").write_bytes(b"")
    refused = shell(*words, "--example", "poses.json", "--report", "poses.json")
    assert refused.status == 2 and "poses.json is the example inputs" in refused.err
    assert "is neither .html nor .json" in shell(*words, "--report", "v.txt").err


def test_tolerance_is_the_users(program: Path, shell: Shell) -> None:
    """A huge tolerance passes the runs, not the proof: the verdicts disagree, and the network is not passed."""
    result = shell("verify", program, "--skeleton", "lifter.yaml", "--tolerance", "100")
    assert result.status == 1 and "VerdictsDisagreeError CH502" in result.err


def test_plan_and_audit_change_nothing(program: Path, shell: Shell) -> None:
    np.save("poses.npy", poses(6).numpy())
    before = shell.listing()
    plan = shell("plan", program, "--skeleton", "lifter.yaml")
    assert plan.status == 0 and "can be converted" in plan.out and "first" in plan.out
    assert json.loads(shell("plan", program, "--skeleton", "lifter.yaml", "--format", "json").out)["passed"] is True
    audit = shell("audit", program, "--skeleton", "lifter.yaml", "--calibration", "poses.npy", "--format", "json")
    found = json.loads(audit.out)
    assert (audit.status, audit.err, found["source"]) == (0, "", "given data") and found["data"]
    assert shell.listing() == before


@pytest.mark.thorough
def test_audit_by_label_and_drawn(program: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels by line; calls of 3 samples leave a rest whose label goes too; the picture holds every joint."""
    np.save("poses.npy", poses(70).numpy())
    (shell.folder / "actions.txt").write_text("wave\nsit\n" * 35)
    command = ("audit", program, "--skeleton", "lifter.yaml", "--calibration", "poses.npy", "--labels", "actions.txt")
    result = shell(*command, "--plot", "gaps.svg")
    assert (result.status, result.err) == (0, "")
    for words in ("left_hand/right_hand", "By layer", "wave", "Should it be converted?"):
        assert words in result.out
    assert "<svg" in (shell.folder / "gaps.svg").read_text(encoding="utf-8")
    found = json.loads(shell(*command, "--format", "json").out)
    assert [own["label"] for own in found["leanings"]][0] is None and len(found["leanings"]) == 3
    assert sum(own["samples"] for own in found["leanings"][1:]) == found["leanings"][0]["samples"] == 69
    assert {own["label"] for own in found["network"]["pairs"]} == {
        "left_hand/right_hand",
        "left_foot/right_foot",
        "head",
    }
    assert found["advice"]["kind"] and found["layers"][0]["module"] == "first"
    result = shell("audit", program, "--skeleton", "lifter.yaml", "--plot", "gaps.bmp.txt")
    assert result.status == 2 and "OutputFileError CH206" in result.err and ".svg or .pdf" in result.err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = shell("audit", program, "--skeleton", "lifter.yaml", "--plot", "gaps.svg")
    assert result.status == 2
    assert "UsageError CH207  --plot: matplotlib is not installed" in result.err
    assert "pip install matplotlib" in result.err
    for option in ("-o", "--report"):
        options = ("--rollout", "an_env:make", option, "page.html")
        result = shell("audit", program, "--skeleton", "lifter.yaml", *options)
        assert f"UsageError CH207  {option}: matplotlib is not installed" in result.err


def test_labels_that_do_not_fit(program: Path, shell: Shell) -> None:
    np.save("poses.npy", poses(6).numpy())
    (shell.folder / "actions.txt").write_text("wave\nsit\n")
    result = shell("audit", program, "--skeleton", "lifter.yaml", "--labels", "actions.txt")
    assert result.status == 2 and "--labels: there are no data that they could belong to" in result.err
    command = ("audit", program, "--skeleton", "lifter.yaml", "--calibration", "poses.npy", "--labels", "actions.txt")
    result = shell(*command)
    assert result.status == 2
    assert "DataFileError CH204  actions.txt: holds 2 labels, the data hold 6 samples" in result.err


def test_a_defect_of_ours_is_one_message(program: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 101 and where it happened; the traceback only on demand."""

    def broken(*arguments: object) -> None:
        raise KeyError("a name")

    monkeypatch.setattr("chiralize.problem.preparation.prepare", broken)
    result = shell("plan", program, "--skeleton", "lifter.yaml")
    assert (result.status, result.out) == (101, "")
    assert "InternalError CH901  test_convert.py:" in result.err and "KeyError: 'a name'" in result.err
    assert "\n    Fix: please report" in result.err and "Traceback" not in result.err
    monkeypatch.setenv("CHIRALIZE_DEBUG", "1")
    assert "Traceback" in shell("plan", program, "--skeleton", "lifter.yaml").err


def test_ctrl_c_is_one_word(program: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chiralize.problem.preparation.prepare", interrupted)
    result = shell("convert", program, "--skeleton", "lifter.yaml")
    assert (result.status, result.out, result.err) == (130, "", "interrupted\n")


# ---- as a process -------------------------------------------------------------------------------------------------
def as_a_process(shell: Shell, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process and an environment of its own."""
    root = str(Path(__file__).parents[2])
    environment = {"PYTHONPATH": root, "PATH": "/usr/bin:/bin", "HOME": str(shell.folder)}
    command = [sys.executable, "-m", "chiralize", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=shell.folder, env=environment, check=False)


@pytest.mark.thorough
def test_a_conversion_as_a_process(program: Path, shell: Shell) -> None:
    """The record on one stream, and nothing on the other."""
    words = ("convert", program, "--skeleton", "lifter.yaml", "--samples", "1", "--format", "json", "-o", "p.pt2", "-q")
    done = as_a_process(shell, *words)
    assert (done.returncode, done.stderr) == (0, "") and json.loads(done.stdout)["passed"] is True


def test_an_error_as_a_process(shell: Shell) -> None:
    """One message, and nothing else on either stream."""
    done = as_a_process(shell, "skeleton", "show", "missing.yaml")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("UnknownNameError CH104  skeleton: ")


def test_what_the_network_prints_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for is_terminal in ("1", "0"):
        monkeypatch.setenv("TTY_COMPATIBLE", is_terminal)
        with progress() as step:
            step("fitting layer by layer", 0.5)
            print("from the network")
        out, err = capsys.readouterr()
        assert out == "" and "from the network" in err
        assert ("fitting layer by layer" in err and "50%" in err) == (is_terminal == "1")
