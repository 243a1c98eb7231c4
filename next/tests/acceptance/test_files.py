"""Files that come in: nothing in them runs, whatever they are called; what is written lies in one piece."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
import torch
from conftest import Shell
from judge import residual, tensors
from kitchen import CASE, Touch, network, poses, stored

pytestmark = pytest.mark.spine
LIFTER = "--skeleton lifter.yaml"
HOSTILE: dict[str, str] = {
    "weights": "convert hostile.pt --model nets:Lifter --skeleton lifter.yaml --method match -o out.pt2",
    "weights as a plain pickle": "convert hostile_old.pth --model nets:Lifter --skeleton lifter.yaml -o out.pt2",
    "example inputs of a program": "convert hostile.pt2 --skeleton lifter.yaml --method match -o out.pt2",
    "example in an archive": "convert good.pt2 --skeleton lifter.yaml --method match --example hostile.npz -o out.pt2",
    "example": "convert good.pt2 --skeleton lifter.yaml --method match --example hostile.npy -o out.pt2",
    "tag of YAML": "verify good.pt2 --skeleton tag.yaml",
    "verified": "verify hostile.pt2 --skeleton lifter.yaml",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_runs_nothing(shell: Shell, name: str) -> None:
    """Each would make a folder where it is unpickled; it is refused as unsafe, and nothing is written."""
    before = shell.files()
    result = shell(HOSTILE[name])
    assert result.status == 2 and any(code in result.err for code in ("CH202", "CH204", "CH105"))
    assert not Path("was_run").exists() and shell.files() == before


def test_the_attack_works_elsewhere(shell: Shell) -> None:
    """What is refused here does its harm with plain pickle: the test is not empty."""
    pickle.loads(Path("hostile_old.pth").read_bytes())
    assert Path("was_run").exists()


def test_pickled_module_only_where_it_is_allowed(shell: Shell) -> None:
    """A whole module is code: refused as unsafe, taken with `--unsafe-pickle`."""
    import importlib

    nets = importlib.import_module("nets")
    net = nets.Lifter().eval()
    net.load_state_dict(network().state_dict())
    torch.save(net, "module.pt")
    line = f"convert module.pt {LIFTER} --method match -o out.pt2"
    refused = shell(line)
    assert refused.status == 2 and "CH20" in refused.err and not Path("out.pt2").exists()
    shell.works(f"{line} --unsafe-pickle")
    assert residual(torch.export.load("out.pt2").module(), CASE) <= 1e-5


def test_weights_of_a_pickled_module_with_its_class(shell: Shell) -> None:
    """`--unsafe-pickle` is never implied: a hostile object beside honest weights stays unread."""
    state = dict(network().state_dict())
    Path("mixed.pt").write_bytes(stored({"state_dict": state, "extra": Touch()}))
    shell(f"convert mixed.pt --model nets:Lifter {LIFTER} --method match -o out.pt2")
    assert not Path("was_run").exists()


def test_written_program_needs_torch_alone(shell: Shell) -> None:
    """The average of both views by hand is what the file answers."""
    shell.works(f"convert good.pt2 {LIFTER} --method average -o out.pt2")
    net, turn, x = network(), CASE.turns_in[0], poses(4)
    assert turn is not None
    by_hand = (net(x) + turn(net(turn(x)))) / 2
    found = tensors(torch.export.load(io.BytesIO(Path("out.pt2").read_bytes())).module()(x))
    assert torch.allclose(found[0], by_hand, atol=1e-5)
