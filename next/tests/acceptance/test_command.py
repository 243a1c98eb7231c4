"""The command in a folder of one's own: it writes, it verifies, it refuses with a code and a status, never half."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch
from cases import BY_NAME
from conftest import Shell
from judge import residual
from kitchen import CASE, network, program

pytestmark = pytest.mark.spine
LIFTER = "--skeleton lifter.yaml"
WEIGHTS = f"--model nets:Lifter {LIFTER}"


def loaded(path: str | Path) -> torch.nn.Module:
    """A written program, as plain torch reads it."""
    return torch.export.load(path).module()


@pytest.mark.parametrize("method", ["match", "project", "average"])
def test_convert_and_verify_a_program(shell: Shell, method: str) -> None:
    before = shell.files()
    shell.works(f"convert good.pt2 {LIFTER} --method {method} -o out.pt2")
    assert {name: data for name, data in shell.files().items() if name != "out.pt2"} == before
    assert residual(loaded("out.pt2"), CASE) <= 1e-5
    assert shell("verify out.pt2").status == 0
    assert shell(f"verify good.pt2 {LIFTER}").status == 1


@pytest.mark.parametrize("method", ["match", "project", "average"])
def test_shipped_skeleton_by_its_name(tmp_path: Path, shell: Shell, method: str) -> None:
    """`--skeleton h36m`, in a folder that holds nothing but the network."""
    folder = tmp_path / "empty"
    folder.mkdir()
    shell.patch.chdir(folder)
    case = BY_NAME["temporal"]
    program(case.model(torch.float32), folder / "model.pt2", *case.inputs(dtype=torch.float32))
    data = (folder / "model.pt2").read_bytes()
    shell.works(f"convert model.pt2 --skeleton h36m --method {method} -o out.pt2")
    assert shell.works("verify out.pt2").status == 0
    assert sorted(path.name for path in folder.iterdir()) == ["model.pt2", "out.pt2"]
    assert (folder / "model.pt2").read_bytes() == data


def test_as_a_process(shell: Shell) -> None:
    """The same by `python -m chiralize` in a process of its own."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "chiralize", *words]
        return subprocess.run(command, cwd=shell.folder, capture_output=True, text=True, check=False)

    done = run("convert", "weights.pt", *WEIGHTS.split(), "--method", "match", "-o", "out.pt2")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert run("verify", "out.pt2").returncode == 0
    refused = run("verify", "nowhere.pt2")
    assert refused.returncode == 2 and "CH201" in refused.stderr and refused.stdout == ""


@pytest.mark.parametrize("file", ["weights.pt", "epoch.pth", "weights.safetensors"])
@pytest.mark.parametrize("method", ["match", "average"])
def test_weights_with_their_class(shell: Shell, file: str, method: str) -> None:
    """The literal line without data: sizes and shapes are found out."""
    shell.works(f"convert {file} {WEIGHTS} --method {method} -o out.pt2")
    assert residual(loaded("out.pt2"), CASE) <= 1e-5
    assert shell("verify out.pt2").status == 0


@pytest.mark.parametrize(("file", "out"), [("weights.pt", "out.pt"), ("weights.safetensors", "out.safetensors")])
def test_weights_go_back_as_weights(shell: Shell, file: str, out: str) -> None:
    """The written weights load into the user's own class, strictly, and know their mirror."""
    shell.works(f"convert {file} {WEIGHTS} --method match -o {out}")
    import safetensors.torch

    state = safetensors.torch.load_file(out) if out.endswith("safetensors") else torch.load(out, weights_only=True)
    net = network()
    net.load_state_dict(state, strict=True)
    assert residual(net, CASE) <= 1e-5
    assert shell(f"verify {out} --model nets:Lifter").status == 0


def test_planted_fault_in_a_file(shell: Shell) -> None:
    """One weight of a written program off by a thousandth: exit status 1, CH501."""
    shell.works(f"convert weights.safetensors {WEIGHTS} --method match -o out.safetensors")
    import safetensors
    import safetensors.torch

    with safetensors.safe_open("out.safetensors", "pt") as file:
        notes = file.metadata()
    state = safetensors.torch.load_file("out.safetensors")
    state["first.weight"][2, 3] += 1e-3
    safetensors.torch.save_file(state, "off.safetensors", notes)
    assert shell("verify out.safetensors --model nets:Lifter").status == 0
    result = shell("verify off.safetensors --model nets:Lifter")
    assert result.status == 1 and "CH501" in result.err


@pytest.mark.parametrize("command", ["", "convert", "verify", "skeleton"])
def test_help(shell: Shell, command: str) -> None:
    """Every command says how it is called; those that take a model show examples."""
    result = shell.works(f"{command} --help")
    assert result.out.count("chiralize ") >= (3 if command not in ("", "skeleton") else 1)


def test_json_and_reports(shell: Shell) -> None:
    shell.works(f"convert good.pt2 {LIFTER} --method match -o out.pt2")
    assert isinstance(json.loads(shell.works("verify out.pt2 --format json").out), dict)
    suite = ElementTree.fromstring(shell.works("verify out.pt2 --format junit").out)
    assert suite.tag in ("testsuite", "testsuites") and not suite.findall(".//failure")
    failed = shell(f"verify good.pt2 {LIFTER} --format junit")
    assert failed.status == 1 and ElementTree.fromstring(failed.out).findall(".//failure")


CONVERT = f"convert good.pt2 {LIFTER} --method match"
REFUSED: dict[str, tuple[str, int, str]] = {
    "missing file": (f"convert nowhere.pt2 {LIFTER} -o out.pt2", 2, "CH201"),
    "empty file": (f"convert empty.pt2 {LIFTER} -o out.pt2", 2, "CH201"),
    "truncated file": (f"convert truncated.pt2 {LIFTER} -o out.pt2", 2, "CH201"),
    "text file": (f"convert notes.pt2 {LIFTER} -o out.pt2", 2, "CH201"),
    "infinite weights": (f"convert inf.pt {WEIGHTS} -o out.pt2", 2, "CH205"),
    "weights missing": (f"convert short.pt {WEIGHTS} -o out.pt2", 2, "CH203"),
    "weights without a class": (f"convert weights.pt {LIFTER} -o out.pt2", 2, "CH207"),
    "class unknown": (f"convert weights.pt --model nets:Liftr {LIFTER} -o out.pt2", 2, "CH203"),
    "no skeleton": ("verify good.pt2", 2, "CH207"),
    "skeleton unknown": ("verify good.pt2 --skeleton h36n", 2, "CH104"),
    "skeleton of other joints": ("verify good.pt2 --skeleton h36m", 2, "CH109"),
    "tag": ("verify good.pt2 --skeleton tag.yaml", 2, "tag.yaml:5"),
    "anchor": ("verify good.pt2 --skeleton anchor.yaml", 2, "anchor.yaml:1"),
    "bracket not closed": ("verify good.pt2 --skeleton unclosed.yaml", 2, "CH105"),
    "bracket's line": ("verify good.pt2 --skeleton unclosed.yaml", 2, "unclosed.yaml:2"),
    "key twice": ("verify good.pt2 --skeleton twice.yaml", 2, "twice.yaml:5"),
    "partner missing": ("verify good.pt2 --skeleton unpaired.yaml", 2, "CH101"),
    "T twice is not 1": ("verify good.pt2 --skeleton chain.yaml", 2, "CH102"),
    "joint misspelt": ("verify good.pt2 --skeleton misspelt.yaml", 2, "CH104"),
    "misspelt joint's line": ("verify good.pt2 --skeleton misspelt.yaml", 2, "misspelt.yaml:2"),
    "key unknown": ("verify good.pt2 --skeleton key.yaml", 2, "CH103"),
    "unknown key's line": ("verify good.pt2 --skeleton key.yaml", 2, "key.yaml:5"),
    "layout of another rank": ("verify good.pt2 --skeleton rank.yaml", 2, "CH109"),
    "layout unknown": (f"{CONVERT} -o out.pt2 --input-layout (b", 2, "CH106"),
    "option unknown": (f"{CONVERT} --widht 0.5", 2, "CH207"),
    "option of another type": (f"{CONVERT} --samples many", 2, "CH207"),
    "option out of range": (f"verify good.pt2 {LIFTER} --samples 0", 2, "CH207"),
    "tolerance below zero": (f"verify good.pt2 {LIFTER} --tolerance -1", 2, "CH207"),
    "method unknown": (f"convert good.pt2 {LIFTER} --method shrink", 2, "CH207"),
    "command unknown": ("convrt good.pt2", 2, "CH207"),
    "model not given": ("convert", 2, "CH207"),
    "output folder missing": (f"{CONVERT} -o nowhere/out.pt2", 2, "CH206"),
    "output is the input": (f"{CONVERT} -o good.pt2", 2, "CH207"),
    "output of an unknown kind": (f"{CONVERT} -o out.h5", 2, "CH207"),
    "average as weights": (f"convert good.pt2 {LIFTER} --method average -o out.safetensors", 2, "CH207"),
    "example of another shape": (f"{CONVERT} --example wrong.npy -o out.pt2", 2, "CH2"),
    "not equivariant": (f"verify good.pt2 {LIFTER}", 1, "CH501"),
    "never runs": (f"convert Fails.pt --model nets:Fails {LIFTER} --input-shape 3,5,2 -o out.pt2", 2, "CH208"),
    "unknown op": (f"convert UnknownOp.pt --model nets:UnknownOp {LIFTER} --method match -o out.pt2", 3, "CH301"),
    "unknown op's line": (
        f"convert UnknownOp.pt --model nets:UnknownOp {LIFTER} --method match -o out.pt2", 3, "nets.py:20",
    ),
    "data-dependent branch": (
        f"convert DataDependent.pt --model nets:DataDependent {LIFTER} --method match -o out.pt2", 3, "CH306",
    ),
    "asymmetric constant": (
        f"convert Lopsided.pt --model nets:Lopsided {LIFTER} --method match -o out.pt2", 3, "CH304",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(shell: Shell, name: str) -> None:
    """The documented status, the code or the place, nothing on standard output, no file written or changed."""
    words, status, says = REFUSED[name]
    before = shell.files()
    result = shell(words)
    assert (result.status, says in result.err) == (status, True), result.err
    assert words.startswith("verify") or result.out == ""
    assert shell.files() == before


def test_ambiguous_sizes_are_not_guessed(shell: Shell) -> None:
    """Ten numbers may be joint by joint or coordinate by coordinate."""
    torch.save(torch.nn.Linear(10, 10).state_dict(), "flat.pt")
    line = "verify flat.pt --model torch.nn:Linear --arg in_features=10 --arg out_features=10 --input-shape 3,10"
    result = shell(f"{line} --skeleton body.yaml")
    assert result.status == 2 and "CH108" in result.err and "(j d)" in result.err and "(d j)" in result.err


@pytest.mark.parametrize("file", ["out.pt2", "out.safetensors"])
def test_nothing_is_half_written(shell: Shell, file: str) -> None:
    """A conversion that fails leaves an older result as it was."""
    Path(file).write_bytes(b"older")
    shell.patch.setenv("CHIRALIZE_DEBUG", "")
    result = shell(f"convert Lopsided.pt --model nets:Lopsided {LIFTER} --method match -o {file}")
    assert result.status == 3 and Path(file).read_bytes() == b"older"
    assert [path.name for path in Path().iterdir() if "out" in path.name or "tmp" in path.name] == [file]
