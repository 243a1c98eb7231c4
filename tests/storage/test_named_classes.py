"""`--model auto`: classes of transformers and Stable-Baselines3, on stand-ins for both packages."""

from __future__ import annotations

import base64
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from chiralize.errors import ChiralizeError, FactoryError, MissingPackageError, UsageError
from chiralize.storage.factory import build_module
from chiralize.storage.load import load_model
from tests.support.trainer_files import Net, save_folder, save_sb3, weights

CLASS = "stable_baselines3.common.policies.ActorCriticPolicy"


class Package:
    """Modules that can be imported while a test runs, and what is in them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def module(self, name: str, **content: Any) -> None:
        module = ModuleType(name)
        vars(module).update(content)
        self._monkeypatch.setitem(sys.modules, name, module)

    def missing(self, name: str) -> None:
        self._monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    yield Package(monkeypatch)


# ---- transformers -----------------------------------------------------------------------------------------------
class Config:
    """A config that keeps what it is built from."""

    seen: dict[str, Any] = {}

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> Config:
        cls.seen = table
        return cls()


class PreTrainedModel(nn.Module):
    """The base of the package's models."""


class Ours(PreTrainedModel):
    """A model of the package, whose network is an attribute."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.net = Net()


class Picky(Ours):
    """One that refuses its config."""

    def __init__(self, config: Config) -> None:
        raise KeyError("hidden_size")


def with_transformers(package: Package) -> None:
    package.module("transformers", PreTrainedModel=PreTrainedModel, Ours=Ours, Picky=Picky, torch=torch, Other=Net)
    package.module("transformers.models.auto.configuration_auto", CONFIG_MAPPING={"ours": Config})


def test_a_class_of_transformers(package: Package, tmp_path: Path) -> None:
    """With a config that fetches nothing."""
    with_transformers(package)
    path = save_folder(tmp_path / "hub", shards=2, prefix="net.", config={"attn_implementation": "evil/kernel", "a": 1})
    loaded = load_model(path, factory="auto")
    assert isinstance(loaded.module, Ours) and not loaded.module.training
    assert torch.equal(loaded.module.state_dict()["net.last.bias"], weights()["last.bias"])
    assert Config.seen == {"model_type": "ours", "architectures": ["Ours"], "a": 1}
    assert loaded.notes == ("built transformers.Ours, the class that the file names",)
    assert isinstance(load_model(path, unsafe_pickle=True).module, Ours)


REFUSED: dict[str, tuple[dict[str, Any], type[ChiralizeError], str]] = {
    "not there": ({"architectures": ["Theirs"]}, UsageError, "is not one of the transformers that is installed"),
    "no model": ({"architectures": ["Other"]}, UsageError, "is not one of the transformers"),
    "a module": ({"architectures": ["torch"]}, UsageError, "is not one of the transformers"),
    "unknown kind": ({"model_type": "theirs"}, UsageError, r"Ours \(theirs\) is not one of"),
    "a path": ({"architectures": ["torch.nn.Linear"]}, UsageError, "does not say of which class"),
    "quantized": ({"quantization_config": {"bits": 4}}, UsageError, "quantized"),
    "picky": ({"architectures": ["Picky"]}, FactoryError, "KeyError: 'hidden_size'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_classes_are_refused(case: str, package: Package, tmp_path: Path) -> None:
    with_transformers(package)
    config, error, cause = REFUSED[case]
    with pytest.raises(error, match=cause):
        load_model(save_folder(tmp_path / "hub", config=config), factory="auto")


def test_transformers_may_be_missing(package: Package, tmp_path: Path) -> None:
    package.missing("transformers")
    with pytest.raises(MissingPackageError, match=r"(?s)not installed.*pip install transformers"):
        load_model(save_folder(tmp_path / "hub"), factory="auto")


# ---- Stable-Baselines3 ------------------------------------------------------------------------------------------
class BasePolicy(nn.Module):
    """What policies are built from."""

    def __init__(
        self,
        observed: Any,
        acted: Any,
        schedule: Any,
        net_arch: Any = (4,),
        activation_fn: Any = nn.Tanh,
        use_sde: bool = False,
        squash_output: bool = False,
    ) -> None:
        super().__init__()
        assert schedule(1) == 0
        self.first = nn.Linear(observed[0], net_arch[0])
        self.activation, self.action_net = activation_fn(), nn.Linear(net_arch[0], acted[0])
        self.log_std = nn.Parameter(torch.ones((net_arch[0], acted[0]) if use_sde else acted[0]))
        self.squash_output = squash_output
        self.pi_features_extractor = None


class ActorCriticPolicy(BasePolicy):
    """As of PPO."""

    def extract_features(self, obs: torch.Tensor, extractor: None) -> torch.Tensor:
        assert extractor is None
        return obs

    @property
    def mlp_extractor(self) -> ActorCriticPolicy:
        return self

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        return self.activation(self.first(features))


class SACPolicy(BasePolicy):
    """As of SAC."""

    def _predict(self, obs: torch.Tensor, deterministic: bool) -> torch.Tensor:
        assert deterministic
        return self.action_net(self.activation(self.first(obs)))


def with_sb3(package: Package) -> None:
    policies = {"BasePolicy": BasePolicy, "ActorCriticPolicy": ActorCriticPolicy, "SACPolicy": SACPolicy}
    package.module("stable_baselines3.common.policies", **policies, NoPolicy=Net)
    package.module("gymnasium.spaces", Box=lambda low, high, shape: shape)


def saved_policy(path: Path, name: str = CLASS, kwargs: Any = (), **more: Any) -> Path:
    """A model whose JSON says its sizes. kwargs: further arguments of its policy."""
    module, _, attribute = name.rpartition(".")
    blob = b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b"."
    policy = BasePolicy((10,), (6,), lambda _: 0, (8,), use_sde=more.get("use_sde", False))
    save_sb3(path, blob, dict(policy.state_dict()))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    table = json.loads(members["data"])
    table["action_space"] = {**table["action_space"], "_shape": [6]}
    table["policy_kwargs"] = {
        ":type:": "<class 'dict'>",
        ":serialized:": base64.b64encode(blob).decode(),
        "net_arch": [8],
        **dict(kwargs),
    }
    table["policy_kwargs"]["activation_fn"] = "<class 'torch.nn.modules.activation.ELU'>"
    members["data"] = json.dumps(table | more).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("name", [CLASS, CLASS.replace("ActorCritic", "SAC")])
def test_a_policy_of_sb3(name: str, package: Package, tmp_path: Path) -> None:
    """With the sizes and the activation of its JSON; called with observations, it answers with the action."""
    with_sb3(package)
    loaded = load_model(saved_policy(tmp_path / "policy.zip", name), factory="auto")
    net: Any = loaded.module
    x = torch.rand(3, 10)
    assert torch.allclose(net(x), net.action_net(nn.functional.elu(net.first(x)))) and net(x).shape == (3, 6)
    assert loaded.notes == (f"built {name}, the class that the file names",)


@pytest.mark.parametrize("squashed", [False, True])
def test_a_policy_whose_noise_depends_on_the_state(squashed: bool, package: Package, tmp_path: Path) -> None:
    """The algorithm holds `use_sde` beside the arguments of its policy; some squash the mean of their actions."""
    with_sb3(package)
    path = saved_policy(tmp_path / "policy.zip", kwargs={"squash_output": squashed}, use_sde=True)
    net: Any = load_model(path, factory="auto").module
    x = torch.rand(3, 10)
    mean = net.action_net(nn.functional.elu(net.first(x)))
    assert net.log_std.shape == (8, 6) and torch.equal(net(x), torch.tanh(mean) if squashed else mean)


def test_a_policy_of_the_days_of_gym(package: Package, tmp_path: Path) -> None:
    """Its spaces name their sizes otherwise."""
    with_sb3(package)
    spaces = {"observation_space": {":type:": "<class 'gym.spaces.box.Box'>", "shape": [10]}}
    net = load_model(saved_policy(tmp_path / "policy.zip", **spaces), factory="auto").module
    assert net(torch.rand(3, 10)).shape == (3, 6)


BOX = {":type:": "<class 'gymnasium.spaces.box.Box'>", "_shape": [10]}
REFUSED_POLICIES: dict[str, tuple[dict[str, Any], type[ChiralizeError], str]] = {
    "a dict of observations": (
        {"observation_space": {":type:": "<class 'gymnasium.spaces.dict.Dict'>"}}, UsageError, "observation_space is"
    ),
    "no sizes": ({"action_space": {**BOX, "_shape": ["x"]}}, UsageError, "action_space is not a Box"),
    "enormous": ({"action_space": {**BOX, "_shape": [10**12]}}, UsageError, "action_space is not a Box"),
    "a class in a pickle": (
        {"policy_kwargs": {"features_extractor_class": "<class 'mine.Extractor'>"}}, UsageError, "only a pickle holds"
    ),
    "an argument of another": ({"policy_kwargs": {"widht": 3}}, FactoryError, "cannot be built"),
    "other sizes": ({"policy_kwargs": {"net_arch": [7]}}, FactoryError, "do not fit"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_POLICIES)
def test_what_the_json_does_not_say(case: str, package: Package, tmp_path: Path) -> None:
    with_sb3(package)
    more, error, cause = REFUSED_POLICIES[case]
    with pytest.raises(error, match=cause):
        load_model(saved_policy(tmp_path / "policy.zip", **more), factory="auto")


def test_what_is_no_policy(package: Package, tmp_path: Path) -> None:
    with_sb3(package)
    path = saved_policy(tmp_path / "policy.zip", "stable_baselines3.common.policies.NoPolicy")
    with pytest.raises(UsageError, match="NoPolicy is no policy"):
        load_model(path, factory="auto")
    with pytest.raises(MissingPackageError, match="cannot be imported"):
        load_model(saved_policy(tmp_path / "p.zip", "stable_baselines3.common.policies.GonePolicy"), factory="auto")
    package.missing("stable_baselines3.common.policies")
    with pytest.raises(MissingPackageError, match="pip install stable-baselines3"):
        load_model(saved_policy(tmp_path / "q.zip"), factory="auto")


def test_a_module_that_reads_the_command_line_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As trainers do at the top of a file: they would end on options that are ours."""
    source = "import argparse\nargs = argparse.ArgumentParser().parse_args()\nfrom torch.nn import Identity as Net\n"
    (tmp_path / "reads_options.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["chiralize", "convert", "--model", "reads_options:Net"])
    assert type(build_module("reads_options:Net", {})).__name__ == "Identity"
    assert sys.argv[1:] == ["convert", "--model", "reads_options:Net"]
