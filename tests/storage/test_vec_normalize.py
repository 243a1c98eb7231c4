"""vecnormalize.pkl: read without running it, put before a policy, and written back; with the package where it is."""

from __future__ import annotations

import importlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chiralize.errors import ModelFileError, UsageError
from chiralize.storage.load import load_model
from chiralize.storage.vec_normalize import read_statistics
from tests.support.command import BODY, Shell, mirrored
from tests.support.trainer_files import FACTORY, save_sb3

FLAT = BODY + 'inputs: [{layout: "b (j d)"}]\noutputs: [{layout: "b (j d)"}]\n'


class RunningMeanStd:
    """Statistics, as the package has them."""

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(0)
        self.mean, self.var, self.count = rng.normal(size=size), rng.uniform(0.5, 2.0, size), 100.0


class VecNormalize:
    """What the package pickles, with an object of somebody else's in it."""

    def __init__(self, size: int = 10, **more: Any) -> None:
        self.obs_rms: Any = RunningMeanStd(size)
        self.epsilon, self.clip_obs, self.norm_obs, self.gamma = 1e-8, 10.0, True, 0.99
        self.__dict__.update(more)


class Touch:
    """Creates a folder when it is unpickled the ordinary way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def saved(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_read_and_replaced(protocol: int, tmp_path: Path) -> None:
    """The numbers go in and out; everything else stays, byte by byte; nothing is run."""
    marker = tmp_path / "run"
    path = saved(tmp_path / "vecnormalize.pkl", VecNormalize(space=Touch(marker)), protocol)
    statistics = read_statistics(path)
    original = RunningMeanStd(10)
    assert np.array_equal(statistics.mean, original.mean) and np.array_equal(statistics.var, original.var)
    assert (statistics.epsilon, statistics.clip) == (1e-8, 10.0)
    obs = torch.randn(3, 10)
    by_hand = np.clip((obs.numpy() - original.mean) / np.sqrt(original.var + 1e-8), -10, 10)
    assert np.allclose(statistics.normaliser(obs).numpy(), by_hand, atol=1e-6)
    data = statistics.replaced(torch.arange(10.0), torch.arange(10.0) + 1)
    assert len(data) == len(statistics.data)
    assert sum(a != b for a, b in zip(data, statistics.data, strict=True)) <= 160
    again = read_statistics(Path(saved_bytes(tmp_path / "new.pkl", data)))
    assert again.mean.tolist() == list(range(10)) and again.var.tolist() == list(range(1, 11))
    assert not marker.exists()
    pickle.loads(data)
    assert marker.exists(), "the pickle would have made it"


def saved_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_what_is_no_normaliser(tmp_path: Path) -> None:
    """Each says what it is, and what to give."""
    odd, nan, zero = VecNormalize(), VecNormalize(), VecNormalize(epsilon=0.0)
    odd.obs_rms.var = np.ones(3)
    nan.obs_rms.mean[2] = np.nan
    cases: list[tuple[Any, str]] = [
        ({"mean": 1}, "something else than a VecNormalize"),
        (RunningMeanStd(3), "something else than a VecNormalize"),
        (Touch(tmp_path / "run"), "something else than a VecNormalize"),
        (odd, "do not belong together"),
        (nan, "NaN or infinity in its obs_rms.mean"),
        (zero, "its epsilon is no positive number"),
    ]
    for value, message in cases:
        with pytest.raises(ModelFileError, match=message):
            read_statistics(saved(tmp_path / "a.pkl", value))
    with pytest.raises(ModelFileError, match="no readable pickle"):
        read_statistics(saved_bytes(tmp_path / "b.pkl", b"no pickle"))
    with pytest.raises(UsageError, match="observations are a dictionary"):
        read_statistics(saved(tmp_path / "c.pkl", VecNormalize(obs_rms={"arm": RunningMeanStd(3)})))
    with pytest.raises(UsageError, match="norm_obs=False"):
        read_statistics(saved(tmp_path / "d.pkl", VecNormalize(norm_obs=False)))
    assert not (tmp_path / "run").exists()


def test_places_that_are_not_certain(tmp_path: Path) -> None:
    same = VecNormalize()
    same.obs_rms.var = np.abs(same.obs_rms.mean)
    same.obs_rms.mean = same.obs_rms.var.copy()
    statistics = read_statistics(saved(tmp_path / "a.pkl", same))
    with pytest.raises(UsageError, match="obs_rms.mean are in a.pkl 2 times"):
        statistics.replaced(torch.zeros(10), torch.ones(10))


def test_where_it_does_not_belong(tmp_path: Path) -> None:
    path = saved(tmp_path / "vecnormalize.pkl", VecNormalize())
    with pytest.raises(UsageError, match="give --model auto"):
        load_model(save_sb3(tmp_path / "policy.zip"), factory=FACTORY, normalizer=path)
    torch.save(load_model(tmp_path / "policy.zip", factory=FACTORY).module.state_dict(), tmp_path / "net.pt")
    with pytest.raises(UsageError, match="no VecNormalize beside it"):
        load_model(tmp_path / "net.pt", factory=FACTORY, normalizer=path)


def test_a_normaliser_that_lies_beside_the_model_is_mentioned(tmp_path: Path) -> None:
    path = save_sb3(tmp_path / "policy.zip")
    before = load_model(path, factory=FACTORY).notes
    saved(tmp_path / "vecnormalize.pkl", VecNormalize())
    *others, note = load_model(path, factory=FACTORY).notes
    assert tuple(others) == before and note.startswith(
        "vecnormalize.pkl lies beside it: if the policy was trained behind it, give --normalizer "
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("algorithm", ["PPO", pytest.param("SAC", marks=pytest.mark.thorough)])
def test_with_the_package(
    algorithm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written is loaded by the package, and acts the same on both sides with its own normaliser alone."""
    algorithms: Any = pytest.importorskip("stable_baselines3", reason='pip install -e ".[packages]"')
    gymnasium: Any = importlib.import_module("gymnasium")
    vectors: Any = importlib.import_module("stable_baselines3.common.vec_env")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flat.yaml").write_text(FLAT)

    class Env(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-5.0, 5.0, (10,))
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (10,))

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return self.observation_space.sample(), {}

        def step(self, action: Any) -> Any:
            return self.observation_space.sample() * np.arange(1, 11), 0.0, False, False, {}

    robots = vectors.VecNormalize(vectors.DummyVecEnv([Env]))
    more = {"n_steps": 16, "batch_size": 16} if algorithm == "PPO" else {"learning_starts": 4}
    torch.manual_seed(0)
    made = getattr(algorithms, algorithm)("MlpPolicy", robots, policy_kwargs={"net_arch": [8]}, device="cpu", **more)
    made.learn(16)
    with torch.no_grad():
        for parameter in made.policy.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    made.save("model.zip")
    robots.save("vecnormalize.pkl")
    obs = 3 * torch.randn(6, 10)
    whole = load_model("model.zip", factory="auto", normalizer=Path("vecnormalize.pkl")).module
    assert torch.allclose(whole(obs), acted(made, robots, obs), atol=1e-5)

    shell = Shell(tmp_path, capsys)
    words = ("--model", "auto", "--skeleton", "flat.yaml", "--input-shape", "3,10")
    files = ("model.zip", "--normalizer", "vecnormalize.pkl")
    done = shell("convert", *files, "--method", "project", "--force", "-o", "out.zip", *words)
    assert done.status == 0 and "goes with it: out-vecnormalize.pkl" in done.out, done.err
    again = type(made).load("out.zip", device="cpu")
    scales = vectors.VecNormalize.load("out-vecnormalize.pkl", vectors.DummyVecEnv([Env]))
    assert off(again, scales, obs) < 1e-5 < 1e-2 < off(again, robots, obs)
    verified = shell("verify", "out.zip", "--normalizer", "out-vecnormalize.pkl", *words)
    assert verified.status == 0, verified.err
    assert shell("verify", "out.zip", *words).status == 0
    other = shell("verify", "out.zip", "--normalizer", "vecnormalize.pkl", *words)
    assert other.status == 1 and "--normalizer out-vecnormalize.pkl" in other.err
    Path("out-vecnormalize.pkl").rename("elsewhere.pkl")
    assert shell("verify", "out.zip", *words).status == 2


def acted(model: Any, normaliser: Any, obs: torch.Tensor) -> torch.Tensor:
    """Deterministic actions of a model behind a normaliser of the package's."""
    seen = torch.from_numpy(normaliser.normalize_obs(obs.numpy())).float()
    return model.policy._predict(seen, deterministic=True).detach()


def off(model: Any, normaliser: Any, obs: torch.Tensor) -> float:
    """How far it is from commuting with T."""
    there, back = acted(model, normaliser, obs), acted(model, normaliser, turned(obs))
    return float((back - turned(there)).abs().max() / there.abs().max())


def turned(x: torch.Tensor) -> torch.Tensor:
    return mirrored(x.reshape(len(x), 5, 2)).reshape(x.shape)
