"""Policies of trainers by `--model auto`: they answer as the trainer's own, and go back into its file."""

from __future__ import annotations

import base64
import json
import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from chiralize.errors import FactoryError, UsageError
from chiralize.storage.load import Wanted, load_model
from chiralize.storage.passport import Passport
from chiralize.storage.save import write
from tests.support.trainer_files import Touch, torch_bytes


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with ELU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ELU()]
    return nn.Sequential(*layers[:-1])


def under(prefix: str, module: nn.Module) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}


STATISTICS = {
    "_mean": torch.rand(1, 5),
    "_var": torch.rand(1, 5),
    "_std": torch.rand(1, 5) + 0.5,
    "count": torch.tensor(7),
}


def rsl_rl(version: str, actor: nn.Module) -> dict[str, Any]:
    """A checkpoint of a version, with its normaliser."""
    more = {"iter": 3, "infos": None, "optimizer_state_dict": {"state": {}, "param_groups": []}}
    critic = under("critic.", mlp(7, 4, 1))
    if version == "1":
        table = {"std": torch.ones(2), **under("actor.", actor), **critic}
        return {"model_state_dict": table, "obs_norm_state_dict": STATISTICS, **more}
    if version == "3":
        statistics = {f"actor_obs_normalizer.{name}": tensor for name, tensor in STATISTICS.items()}
        return {"model_state_dict": {**under("actor.", actor), **critic, **statistics}, **more}
    statistics = {f"obs_normalizer.{name}": tensor for name, tensor in STATISTICS.items()}
    return {"actor_state_dict": {**under("mlp.", actor), **statistics, "distribution.std_param": torch.ones(2)}, **more}


@pytest.mark.parametrize("version", ["1", "3", "4"])
def test_rsl_rl_behind_its_normaliser(version: str, tmp_path: Path, passport: Passport) -> None:
    actor, x = mlp(5, 8, 4, 2), torch.randn(6, 5)
    torch.save(rsl_rl(version, actor), tmp_path / "model.pt")
    with pytest.raises(FactoryError) as caught:
        load_model(tmp_path / "model.pt", Wanted("auto"))
    assert "--arg activation=" in caught.value.remedy
    loaded = load_model(tmp_path / "model.pt", Wanted("auto", {"activation": "ELU"}))
    expected = actor((x - STATISTICS["_mean"]) / (STATISTICS["_std"] + 0.01))
    assert torch.allclose(loaded.module(x), expected, atol=1e-6)
    with torch.no_grad():
        for tensor in loaded.module.state_dict().values():
            tensor += 1
    result: Any = SimpleNamespace(module=loaded.module, program=None, passport=passport)
    write(result, tmp_path / "out.pt", loaded)
    again = load_model(tmp_path / "out.pt", Wanted("auto", {"activation": "ELU"}))
    assert torch.allclose(again.module(x), loaded.module(x)) and again.passport == passport
    torch.load(tmp_path / "out.pt", weights_only=True)


def sb3(path: Path, state: dict[str, torch.Tensor], kwargs: Any = None, blob: bytes = b"no pickle") -> Path:
    """A `.zip` of Stable-Baselines3; `blob` is the pickle in its JSON."""
    text = base64.b64encode(blob).decode()
    table = {"policy_class": {":type:": "x", ":serialized:": text}, "policy_kwargs": kwargs or {}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(table))
        archive.writestr("pytorch_variables.pth", torch_bytes(None))
        archive.writestr("policy.pth", torch_bytes(state))
        archive.writestr("policy.optimizer.pth", torch_bytes({"state": {}}))
    return path


def _ppo(net: nn.Sequential) -> dict[str, torch.Tensor]:
    body = under("mlp_extractor.policy_net.", net[:-1]) | under("mlp_extractor.value_net.", mlp(5, 3, 3))
    return {"log_std": torch.ones(2), **body, **under("action_net.", net[-1]), "value_net.weight": torch.ones(1, 3)}


def _sac(net: nn.Sequential) -> dict[str, torch.Tensor]:
    critic = under("critic.qf0.", mlp(7, 3, 1))
    return {
        **under("actor.latent_pi.", net[:-1]),
        **under("actor.mu.", net[-1]),
        **under("actor.log_std.", net[-1]),
        **critic,
    }


def _td3(net: nn.Sequential) -> dict[str, torch.Tensor]:
    return {
        **under("actor.mu.", net),
        **under("actor_target.mu.", mlp(5, 8, 4, 2)),
        **under("critic.qf0.", mlp(7, 3, 1)),
    }


@pytest.mark.parametrize("said", [False, True])
@pytest.mark.parametrize("algorithm", ["ppo", "sac", "td3"])
def test_stable_baselines3(algorithm: str, said: bool, tmp_path: Path, passport: Passport) -> None:
    """With the activation of its JSON, else the algorithm's own; the marker of its pickles stays unread."""
    net, x, marker = mlp(5, 8, 4, 2), torch.randn(6, 5), tmp_path / "was_run"
    state = {"ppo": _ppo, "sac": _sac, "td3": _td3}[algorithm](net)
    kwargs = {"activation_fn": "<class 'torch.nn.modules.activation.ELU'>"} if said else None
    path = sb3(tmp_path / "policy.zip", state, kwargs, pickle.dumps(Touch(marker)))
    loaded = load_model(path, Wanted("auto"))
    default = nn.Tanh() if algorithm == "ppo" else nn.ReLU()
    layers = [each if said or not isinstance(each, nn.ELU) else default for each in net]
    answer = nn.Sequential(*layers)(x)
    assert torch.allclose(loaded.module(x), answer if algorithm == "ppo" else answer.tanh(), atol=1e-6)
    result: Any = SimpleNamespace(module=loaded.module, program=None, passport=passport)
    write(result, tmp_path / "out.zip", loaded)
    assert torch.equal(load_model(tmp_path / "out.zip", Wanted("auto")).module(x), loaded.module(x))
    with zipfile.ZipFile(path) as first, zipfile.ZipFile(tmp_path / "out.zip") as second:
        assert second.namelist() == first.namelist() and second.read("data") == first.read("data")
    assert not marker.exists()


def test_other_policies_are_refused(tmp_path: Path) -> None:
    """Recurrent ones and pictures: a perceptron behind them would be left with half of the network."""
    recurrent = under("memory_a.rnn.", nn.LSTM(5, 5)) | under("actor.", mlp(5, 4, 2))
    pictures = under("features.0.", nn.Conv2d(1, 2, 3)) | under("actor.", mlp(5, 4, 2))
    for table in (recurrent, pictures, {"w": torch.ones(3)}):
        torch.save({"iter": 1, "model_state_dict": table}, tmp_path / "model.pt")
        with pytest.raises(UsageError):
            load_model(tmp_path / "model.pt", Wanted("auto", {"activation": "ELU"}))
