"""The normaliser that rsl_rl 1 and 2 save beside the weights: before the policy, converted with it, and put back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import ModelFileError, NonFiniteError
from chiralize.report.cautions import data_cautions
from chiralize.storage.load import load_model
from tests.support.command import BODY, Shell, mirrored, working_shell
from tests.support.trainer_files import FACTORY, Net, rsl_rl_old, weights

Checkpoint = dict[str, Any]


class Remembering(Net):
    """A policy that is handed its memory."""

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x + memory), memory


class Tables(Net):
    """A policy that reads its observation out of a table."""

    def forward(self, obs: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(obs["policy"])


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    (tmp_path / "flat.yaml").write_text(BODY + 'inputs: [{layout: "b (j d)"}]\noutputs: [{layout: "b (j d)"}]\n')
    yield from working_shell(tmp_path, capsys, monkeypatch)


def one_sided() -> Checkpoint:
    """A checkpoint whose statistics differ between the sides; the actor has 16 hidden units."""
    generator = torch.Generator().manual_seed(0)
    table: dict[str, Tensor] = {}
    for name, tensor in Net(16).state_dict().items():
        drawn = torch.randn(tensor.shape, generator=generator) / 4
        table[f"actor.{name}"] = tensor + drawn.abs() if tensor.is_floating_point() and "norm" in name else drawn
    table |= {"std": torch.ones(10), "actor.norm.num_batches_tracked": torch.tensor(7), **weights("critic.", seed=1)}
    mean, std = torch.linspace(-1, 2, 10).unsqueeze(0), torch.linspace(0.5, 2, 10).unsqueeze(0)
    statistics = {"_mean": mean, "_var": std.square(), "_std": std, "count": torch.tensor(5)}
    return {**rsl_rl_old(), "model_state_dict": table, "obs_norm_state_dict": statistics}


def as_its_runner(checkpoint: Checkpoint, obs: Tensor) -> Tensor:
    """What rsl_rl 2 answers, written out: the normaliser, then the actor."""
    table = checkpoint["model_state_dict"]
    policy = Net(16).eval()
    policy.load_state_dict({name[6:]: tensor for name, tensor in table.items() if name.startswith("actor.")})
    statistics = checkpoint["obs_norm_state_dict"]
    return policy((obs - statistics["_mean"]) / (statistics["_std"] + 0.01))


def image(flat: Tensor) -> Tensor:
    """T on "batch 10"."""
    return mirrored(flat.unflatten(1, (5, 2))).flatten(1)


def test_both_together_are_the_network(tmp_path: Path) -> None:
    """The observation of the environment goes in; it is said."""
    torch.save(one_sided(), tmp_path / "model_9.pt")
    loaded = load_model(tmp_path / "model_9.pt", factory=FACTORY, factory_args={"hidden": "16"})
    obs = torch.randn(4, 10)
    assert torch.equal(loaded.module(obs), as_its_runner(one_sided(), obs))
    assert "put the normaliser of the entry obs_norm_state_dict before the policy" in loaded.notes[-2]


def test_a_critic_behind_the_same_normaliser_is_named(tmp_path: Path) -> None:
    """Its values are off behind other statistics; one with a normaliser of its own keeps both."""
    torch.save(one_sided(), tmp_path / "both.pt")
    torch.save({**one_sided(), "privileged_obs_norm_state_dict": {}}, tmp_path / "own.pt")
    notes: dict[str, str] = {}
    for name in ("both", "own"):
        loaded = load_model(tmp_path / f"{name}.pt", factory=FACTORY, factory_args={"hidden": "16"})
        notes[name] = " ".join(loaded.notes)
    assert "the critic of this checkpoint reads the same normaliser" in notes["both"]
    assert "reads the same normaliser" not in notes["own"]


def test_put_back(shell: Shell) -> None:
    """Both are in their places, the variance with the spread; the runner's policy is equivariant; the rest stays."""
    torch.save(one_sided(), shell.folder / "model_9.pt")
    words = ("--model", FACTORY, "--arg", "hidden=16", "--skeleton", "flat.yaml")
    done = shell("convert", "model_9.pt", *words, "--method", "match", "-o", "model_10.pt")
    assert done.status == 0, done.err
    before, after = one_sided(), torch.load(shell.folder / "model_10.pt")
    obs = torch.randn(64, 10)
    answers = as_its_runner(after, obs)
    assert torch.allclose(image(answers), as_its_runner(after, image(obs)), atol=1e-5)
    gap = as_its_runner(before, image(obs)) - image(as_its_runner(before, obs))
    assert gap.abs().max() > 0.1, "the original was no mirror of itself"
    statistics = after["obs_norm_state_dict"]
    assert not torch.equal(statistics["_mean"], before["obs_norm_state_dict"]["_mean"])
    assert torch.allclose(statistics["_var"], statistics["_std"].square())
    assert torch.equal(statistics["count"], torch.tensor(5)) and after["iter"] == 9
    for name, tensor in weights("critic.", seed=1).items():
        assert torch.equal(after["model_state_dict"][name], tensor)
    done = shell("verify", "model_10.pt", "--model", FACTORY, "--arg", "hidden=16")
    assert done.status == 0 and "equivariant" in done.out, done.err


@pytest.mark.parametrize(("owner", "entry"), [("teacher", "privileged"), ("critic", "critic")])
def test_who_observes_more_has_its_own(owner: str, entry: str, tmp_path: Path) -> None:
    """What the teacher of a distillation observes, or a critic, is normalised by other statistics."""
    checkpoint = one_sided()
    checkpoint["model_state_dict"] = {**weights("student."), **weights(f"{owner}.", seed=1)}
    more = {"_mean": torch.full((1, 10), 3.0), "_std": torch.full((1, 10), 0.5)}
    torch.save({**checkpoint, f"{entry}_obs_norm_state_dict": more}, tmp_path / "model_9.pt")
    means: list[float] = []
    for prefix in ("student.", f"{owner}."):
        module = load_model(tmp_path / "model_9.pt", factory=FACTORY, prefix=prefix).module
        means.append(float(module.get_buffer("obs_normalizer._mean")[0, 0]))
    assert means == [-1.0, 3.0]


@pytest.mark.parametrize("policy", [Remembering, Tables])
def test_where_other_arguments_come_in(policy: type[nn.Module], tmp_path: Path) -> None:
    """It is left alone, and that is a caution of the report."""
    torch.save(one_sided(), tmp_path / "model_9.pt")
    loaded = load_model(tmp_path / "model_9.pt", factory=policy, factory_args={"hidden": "16"})
    assert isinstance(loaded.module, policy)
    (caution,) = data_cautions(loaded.notes)  # equivariant is the network alone, and this may undo it
    assert caution.brief == "the normaliser before the policy is not converted"
    assert "its statistics, the entry obs_norm_state_dict, stay as they are" in caution.text


def test_entries_that_are_no_normaliser(tmp_path: Path) -> None:
    """Each says what is wrong with which entry."""
    path = tmp_path / "model_9.pt"
    row = torch.ones(1, 10)
    cases: list[tuple[Any, str]] = [
        ({"mean": row}, "no normaliser of rsl_rl: it has no _mean and no _std"),
        ({"_mean": row}, "no normaliser of rsl_rl: it has no _std"),
        ({"_mean": torch.ones(1, 3), "_std": row}, "_mean and _std do not belong together"),
        ({"_mean": row.long(), "_std": row}, "_mean and _std do not belong together"),
        ({"_mean": row, "_std": row * torch.nan}, r"NaN or infinity in 'obs_normalizer\._std'"),
        (17, "obs_norm_state_dict"),
    ]
    for entry, message in cases:
        torch.save({**one_sided(), "obs_norm_state_dict": entry}, path)
        with pytest.raises((ModelFileError, NonFiniteError), match=message):
            load_model(path, factory=FACTORY, factory_args={"hidden": "16"})


class Touch:
    """Creates a folder when it is unpickled the ordinary way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("within", [False, True])
def test_an_object_in_its_place_is_not_restored(within: bool, tmp_path: Path) -> None:
    """Nor one among the statistics; torch.load would have run it."""
    marker, path = tmp_path / "was_run", tmp_path / "model_9.pt"
    attack: Any = Touch(marker)
    if within:
        attack = {**one_sided()["obs_norm_state_dict"], "_mean": attack}
    torch.save({**one_sided(), "obs_norm_state_dict": attack}, path)
    with pytest.raises(ModelFileError, match="obs_norm_state_dict"):
        load_model(path, factory=FACTORY, factory_args={"hidden": "16"})
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the payload does not work, so the test would prove nothing"
