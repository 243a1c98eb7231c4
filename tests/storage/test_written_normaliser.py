"""A policy that was converted behind its normaliser is never judged without it, whatever command opens it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from chiralize import load, verify
from chiralize.errors import UsageError
from chiralize.storage.load import load_model
from tests.storage.test_vec_normalize import FLAT, VecNormalize, saved
from tests.support.command import Shell
from tests.support.trainer_files import save_sb3

POLICY = "tests.storage.test_written_normaliser:Policy"
BARE = "tests.storage.test_written_normaliser:Bare"
WORDS = ("--skeleton", "flat.yaml", "--input-shape", "3,10")


class Space:
    shape = (10,)


class Bare(nn.Module):
    """A class of a user's own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.actor = nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 10))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.actor(obs)


class Policy(Bare):
    """As the package's class is built, with room for a normaliser."""

    def __init__(self) -> None:
        super().__init__()
        self.normaliser, self.observation_space = nn.Identity(), Space()

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.actor(self.normaliser(obs))


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A folder with a policy that was converted behind its normaliser."""
    monkeypatch.chdir(tmp_path)
    Path("flat.yaml").write_text(FLAT)
    save_sb3(Path("model.zip"), state=Policy().state_dict())
    saved(Path("stats.pkl"), VecNormalize())
    run = Shell(tmp_path, capsys)
    more = ("--method", "project", "--force", "-o", "out.zip")
    done = run("convert", "model.zip", "--model", POLICY, "--normalizer", "stats.pkl", *more, *WORDS)
    assert done.status == 0, done.err
    assert Path("out-stats.pkl").exists()
    return run


def test_the_one_beside_it_is_taken(shell: Shell) -> None:
    done = shell("verify", "out.zip", "--model", POLICY)
    assert done.status == 0, done.err
    assert "put the normaliser of out-stats.pkl, which was written beside it, before the policy" in done.out
    assert verify(load("out.zip", model=POLICY)).passed


def test_without_it_there_is_no_verdict(shell: Shell) -> None:
    """The weights alone are symmetric, and what is deployed with old statistics is not."""
    Path("out-stats.pkl").rename("elsewhere.pkl")
    done = shell("verify", "out.zip", "--model", POLICY)
    assert done.status == 2 and "equivariant" not in done.out
    assert "CH207" in done.err and "out-stats.pkl is not beside it" in done.err
    assert "verify out.zip --model" in done.err and "--normalizer out-stats.pkl" in done.err
    with pytest.raises(UsageError, match="its mirror holds for both together"):
        load("out.zip", model=POLICY)
    assert shell("verify", "out.zip", "--model", POLICY, "--normalizer", "elsewhere.pkl").status == 0
    assert verify(load("out.zip", model=POLICY, normalizer="elsewhere.pkl")).passed


def test_another_one_fails_and_the_right_one_is_named(shell: Shell) -> None:
    done = shell("verify", "out.zip", "--model", POLICY, "--normalizer", "stats.pkl")
    assert done.status == 1 and "stats.pkl is another normaliser than the one that was written with it" in done.out
    assert "Fix: give the normaliser that was written with out.zip: --normalizer out-stats.pkl" in done.err
    assert "chiralize convert makes it exact" not in done.err
    Path("copy.pkl").write_bytes(Path("out-stats.pkl").read_bytes())
    same = shell("verify", "out.zip", "--model", POLICY, "--normalizer", "copy.pkl")
    assert same.status == 0 and "another normaliser" not in same.out
    # a class of one's own has no room for it
    done = shell("verify", "out.zip", "--model", BARE)
    assert done.status == 2 and "a class of your own is not put behind it" in done.err and "--model auto" in done.err


def test_certificates_that_do_not_name_it(shell: Shell) -> None:
    """Older ones say what the mirror does with the statistics, and not what the file was called."""
    path = Path("out.zip.chirality.json")
    record = json.loads(path.read_text())
    assert record["source"].pop("normalizer") == "stats.pkl"
    path.write_text(json.dumps(record))
    assert hasattr(load_model("out.zip", factory=POLICY).module.normaliser, "mean")
    Path("out-another.pkl").write_bytes(b"")
    with pytest.raises(UsageError, match="is not beside it"):
        load_model("out.zip", factory=POLICY)
    # a policy that was converted without one stays so, whatever lies beside it
    done = shell("convert", "model.zip", "--model", POLICY, "--method", "project", "--force", "-o", "bare.zip", *WORDS)
    assert done.status == 0, done.err
    Path("bare-stats.pkl").write_bytes(Path("out-stats.pkl").read_bytes())
    assert isinstance(load_model("bare.zip", factory=POLICY).module.normaliser, nn.Identity)
