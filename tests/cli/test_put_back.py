"""`-o` with the suffix of the source: the trainer's own file again, with the network's weights replaced."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.command import (
    MODULE,
    Shell,
    mirrored,
    network,
    poses,
    save_program,
    scrambled,
    working_shell,
    write_sources,
)
from tests.support.trainer_files import optimizer_state, trainers_classes

WORDS = ("--skeleton", "lifter.yaml", "--input-shape", "3,5,2", "--method", "match")
LIFTER = ("--model", f"{MODULE}:Lifter")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of Lightning with an object of a trainer's in it."""
    folder = tmp_path_factory.mktemp("put_back")
    state = {f"model.{name}": tensor for name, tensor in network().state_dict().items()}
    table = {"pytorch-lightning_version": "2.6.0", "state_dict": state, "hyper_parameters": {"hidden": 8}}
    with trainers_classes() as classes:
        extra = {"callbacks": {"history": classes["History"]()}, "optimizer_states": [optimizer_state()]}
        torch.save({**table, **extra}, folder / "last.ckpt")
    save_program(network(), folder / "lifter.pt2")
    write_sources(folder)
    sys.path.insert(0, str(folder))
    try:
        torch.save(scrambled(importlib.import_module(MODULE).Lifter()), folder / "module.pth")
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(MODULE, None)
    return folder


@pytest.fixture
def shell(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(folder, capsys, monkeypatch)


def test_the_same_file_with_other_weights(shell: Shell) -> None:
    done = shell("convert", "last.ckpt", *LIFTER, *WORDS, "-o", "sym.ckpt")
    assert done.status == 0, done.err
    for note in (
        "took the prefix 'model.' off all names",
        f"arguments of {MODULE}:Lifter from the file: hidden=8",
        "written as a Lightning checkpoint: what last.ckpt holds",
        "the state of its optimizer is kept as it was",
    ):
        assert note in " ".join(done.out.split()), done.out
    with trainers_classes():
        written = torch.load(shell.folder / "sym.ckpt", weights_only=False)
    assert type(written["callbacks"]["history"]).__name__ == "History" and "a_trainer" not in sys.modules
    net = network()
    net.load_state_dict({name.removeprefix("model."): tensor for name, tensor in written["state_dict"].items()})
    x = poses(3, seed=7)
    assert (net(mirrored(x)) - mirrored(net(x))).abs().max() <= 1e-5 * net(x).abs().max()


def test_verify_says_how_the_network_was_built(shell: Shell) -> None:
    """The command that it prints works."""
    if not (shell.folder / "sym.ckpt").exists():
        shell("convert", "last.ckpt", *LIFTER, *WORDS, "-o", "sym.ckpt")
    refused = shell("verify", "sym.ckpt", "--input-shape", "3,5,2")
    assert refused.status == 2
    command = refused.err.strip().splitlines()[-1].strip()
    assert command == f"chiralize verify sym.ckpt --input-shape 3,5,2 --model {MODULE}:Lifter"
    assert shell(*command.split()[1:]).status == 0


def test_a_pickled_module_works_at_the_second_try(shell: Shell) -> None:
    """Either way, by the commands of the one message, spaces in names included."""
    (shell.folder / "module.pth").replace(shell.folder / "my module.pth")
    try:
        sys.modules.pop(MODULE, None)
        refused = shell("convert", "my module.pth", *WORDS, "-o", "out.pth")
        assert (refused.status, " CH202" in refused.err) == (2, True)
        lines = [line.strip() for line in refused.err.splitlines() if line.startswith("    chiralize")]
        assert [line.rpartition("out.pth ")[2] for line in lines] == ["--unsafe-pickle", f"--model {MODULE}:Lifter"]
        for line in lines:
            assert line.startswith("chiralize convert 'my module.pth' --skeleton lifter.yaml --input-shape 3,5,2 ")
            words = ("convert", "my module.pth", *WORDS, "-o", "out.pth", *line.rpartition("out.pth ")[2].split())
            done = shell(*words)
            assert done.status == 0 and "written as a pickled object" in done.out, done.err
            Path("out.pth").unlink()
    finally:
        (shell.folder / "my module.pth").replace(shell.folder / "module.pth")


REFUSED = {
    "a lift": (("last.ckpt", *LIFTER, "--method", "average", "-o", "x.ckpt"), "a graph, .ckpt holds weights only"),
    "another suffix": (("last.ckpt", *LIFTER, "-o", "x.pth"), "or the suffix of last.ckpt"),
    "no suffix": (("last.ckpt", *LIFTER, "-o", "x"), "has no known suffix"),
    "itself": (("last.ckpt", *LIFTER, "-o", "last.ckpt"), "is the model itself"),
    "the data": (
        ("last.ckpt", *LIFTER, "-o", "lifter.pt2", "--calibration", "lifter.pt2"),
        "is the calibration inputs",
    ),
    "the certificate": (
        ("last.ckpt", *LIFTER, "-o", "x.ckpt", "--report", "x.ckpt.chirality.json"),
        "what the file beside -o names",
    ),
    "a prefix for a program": (("lifter.pt2", "--prefix", "x"), "`--prefix x` has nothing to do"),
    "no such prefix": (("last.ckpt", *LIFTER, "--prefix", "x", "-o", "x.ckpt"), "use one of model."),
    "a table of another": (("last.ckpt", *LIFTER, "--key", "callbacks", "-o", "x.ckpt"), "is not a table of tensors"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written(case: str, shell: Shell) -> None:
    words, cause = REFUSED[case]
    before = shell.listing()
    result = shell("convert", *words, *(WORDS[:4] if "average" in words else WORDS))
    assert (result.status, result.out) == (2, "")
    assert cause in result.err, result.err
    assert "\n    Fix: " in result.err and shell.listing() == before
