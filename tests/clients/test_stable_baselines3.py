"""Whole models of Stable-Baselines3: actor, critic, spread and normaliser; and what would make a result wrong."""

from __future__ import annotations

import importlib
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from chiralize.errors import EquivarianceError, MethodUnavailableError, UsageError

pytest.importorskip("stable_baselines3", reason="pip install stable-baselines3")
gymnasium = pytest.importorskip("gymnasium")
pytestmark = pytest.mark.filterwarnings("ignore")

client: Any = importlib.import_module("chiralize.clients.stable_baselines3")
algorithms: Any = importlib.import_module("stable_baselines3")
vectors: Any = importlib.import_module("stable_baselines3.common.vec_env")
BODY = {
    "joints": ["left", "right", "neck"],
    "pairs": [["left", "right"]],
    "dims": ["q"],
    "negate": [],
    "signs": {"neck": [-1]},
    "lateral": "y",
}
FIELDS = [{"vector": "velocity"}, {"axial": "turning"}, {"joints": "angles"}]
SPEC = {"name": "small", **BODY, "inputs": [{"fields": FIELDS}], "outputs": [{"layout": "b (j d)"}]}
SIGNS = np.array([1, -1, 1, -1, 1, -1, 1, 1, -1])
ORDER = [0, 1, 2, 3, 4, 5, 7, 6, 8]


def seen_in_the_mirror(obs: Any) -> Any:
    return obs[:, ORDER] * SIGNS


def done_in_the_mirror(actions: Any) -> Any:
    return actions[:, [1, 0, 2]] * [1, 1, -1]


class World(gymnasium.Env):
    """Lopsided observations, which a normaliser remembers; the reward is small actions."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (9,), np.float32)

    def __init__(self, low: Any = (-1, -1, -1), high: Any = (1, 1, 1)) -> None:
        self.action_space = gymnasium.spaces.Box(np.float32(low), np.float32(high))
        self.count = 0

    def observed(self) -> Any:
        return (3 + np.arange(9) * self.np_random.standard_normal(9)).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return self.observed(), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return self.observed(), -float((action**2).sum()), False, self.count > 8, {}


def trained(name: str, normalised: bool = True, world: Any = None, **more: Any) -> Any:
    """A model of few units, with scrambled weights."""
    torch.manual_seed(0)
    env = vectors.DummyVecEnv([lambda: world or World()])
    if normalised:
        env = vectors.VecNormalize(env)
    sizes = {"n_steps": 32, "batch_size": 32} if name == "PPO" else {"learning_starts": 8, "batch_size": 8}
    kwargs = {"net_arch": [8], **more.pop("policy_kwargs", {})}
    model = getattr(algorithms, name)("MlpPolicy", env, policy_kwargs=kwargs, device="cpu", seed=1, **sizes, **more)
    model.learn(40)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def state_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}


@pytest.mark.parametrize("name", ["PPO", "SAC", "TD3"])
def test_a_model_as_a_whole(name: str, tmp_path: Any) -> None:
    """Converted, saved and loaded with its normaliser by the package itself; the given one is as it was."""
    model = trained(name)
    before, means = state_of(model), model.get_vec_normalize_env().obs_rms.mean.copy()
    drawn = torch.get_rng_state()
    chiral = client.convert(model, SPEC)
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.policy.state_dict().items())
    assert np.array_equal(model.get_vec_normalize_env().obs_rms.mean, means)
    chiral.save(tmp_path / "chiral.zip")
    chiral.get_vec_normalize_env().save(str(tmp_path / "vecnormalize.pkl"))
    env = vectors.VecNormalize.load(str(tmp_path / "vecnormalize.pkl"), vectors.DummyVecEnv([World]))
    again = type(model).load(tmp_path / "chiral.zip", device="cpu")
    raw = 3 + 4 * np.random.default_rng(0).standard_normal((32, 9)).astype(np.float32)
    there = again.predict(env.normalize_obs(raw), deterministic=True)[0]
    back = again.predict(env.normalize_obs(seen_in_the_mirror(raw)), deterministic=True)[0]
    assert np.abs(back - done_in_the_mirror(there)).max() < 1e-5 and np.abs(there).max() > 1e-2
    lopsided = model.predict(model.get_vec_normalize_env().normalize_obs(raw), deterministic=True)[0]
    assert np.abs(there - lopsided).max() > 1e-3
    summary = client.summary(chiral)
    assert summary.residual < 1e-5 and summary.value_residual < 1e-5 and not summary.not_done
    assert "weights and normaliser go together" in summary.to_text()
    chiral.learn(20)
    with pytest.raises(UsageError, match="does not come from convert"):
        client.summary(again)


def test_weights_alone_are_not_symmetric() -> None:
    """The trap: the old normaliser with the new weights. It would show, and the summary says so beforehand."""
    model = trained("PPO")
    chiral = client.convert(model, SPEC)
    raw = 3 + 4 * np.random.default_rng(0).standard_normal((32, 9)).astype(np.float32)
    gaps = []
    for env in (chiral.get_vec_normalize_env(), model.get_vec_normalize_env()):
        views = [env.normalize_obs(rows) for rows in (raw, seen_in_the_mirror(raw))]
        there, back = (chiral.predict(view, deterministic=True)[0] for view in views)
        gaps.append(np.abs(back - done_in_the_mirror(there)).max())
    assert gaps[0] < 1e-5 and gaps[1] > 1e-2


def test_spread() -> None:
    """Partners share a standard deviation, whose square is the mean of theirs; its sign is of no matter."""
    model = trained("PPO", normalised=False)
    with torch.no_grad():
        model.policy.log_std.copy_(torch.log(torch.tensor([0.3, 0.4, 2.0])))
    chiral = client.convert(model, SPEC)
    shared = (0.3**2 + 0.4**2) / 2
    assert torch.allclose(chiral.policy.log_std.exp().square(), torch.tensor([shared, shared, 4.0]))
    assert client.summary(chiral).spread == pytest.approx(shared**0.5 / 0.3, rel=1e-4)
    assert "no VecNormalize is known" in client.summary(chiral).to_text()
    soft = trained("SAC", normalised=False)
    chiral = client.convert(soft, SPEC)
    obs = torch.randn(16, 9)
    mirrored = torch.as_tensor(seen_in_the_mirror(obs.numpy()), dtype=torch.float32)
    first, second = (chiral.policy.actor.get_action_dist_params(rows)[1] for rows in (obs, mirrored))
    assert torch.allclose(first[:, [1, 0, 2]], second, atol=1e-5) and first.std() > 1e-3


def test_calibration_of_its_own() -> None:
    model = trained("PPO")
    rows = client.observations(model, 200)
    assert rows.shape == (200, 9) and abs(rows.mean() - 3) < 1  # as the environment gives them
    chiral = client.convert(model, SPEC, rows, rounds=0, force=True)
    assert client.summary(chiral).actor.method == "reduce"
    nowhere = type(model)("MlpPolicy", World(), n_steps=8, batch_size=8, device="cpu")
    nowhere.env = None
    with pytest.raises(UsageError, match="no environment"):
        client.observations(nowhere, 5)


def test_bounds_of_actions() -> None:
    """Where actions are scaled to their bounds, lopsided ones are refused; where they are clipped, it is said."""
    lopsided = World(high=(1, 0.5, 1))
    with pytest.raises(UsageError, match="action 0: -1 to 1, in the mirror -1 to 0.5"):
        client.convert(trained("SAC", world=lopsided), SPEC)
    model = trained("PPO", world=lopsided)
    with torch.no_grad():
        model.policy.action_net.weight.mul_(20)  # so that actions are clipped
    with pytest.raises(EquivarianceError, match="bounds of actions"):
        client.convert(model, SPEC)
    with torch.no_grad():
        model.policy.action_net.weight.mul_(1e-4)
        model.policy.action_net.bias.zero_()
    assert "clipped to bounds" in client.summary(client.convert(model, SPEC)).not_done[0]


def test_what_is_not_symmetric_is_said() -> None:
    """Noise of hidden units; a critic that was not to be converted, which reads by the new normaliser."""
    model = trained("PPO", use_sde=True)
    assert "gSDE" in client.summary(client.convert(model, SPEC)).to_text()
    summary = client.summary(client.convert(trained("TD3"), SPEC, critic=False))
    assert summary.critic is None and np.isnan(summary.value_residual) and len(summary.not_done) == 2


def test_features_that_are_shared() -> None:
    """An extractor with weights serves both heads, which are converted together."""
    torch_layers: Any = importlib.import_module("stable_baselines3.common.torch_layers")

    class Extractor(torch_layers.BaseFeaturesExtractor):
        def __init__(self, space: Any) -> None:
            super().__init__(space, 8)
            self.layer = torch.nn.Linear(9, 8)

        def forward(self, obs: torch.Tensor) -> torch.Tensor:
            return self.layer(obs).tanh()

    chiral = client.convert(trained("PPO", policy_kwargs={"features_extractor_class": Extractor}), SPEC)
    summary = client.summary(chiral)
    assert summary.residual < 1e-5 and summary.value_residual < 1e-5 and summary.critic is summary.actor


def test_refusals() -> None:
    model = trained("PPO", normalised=False)
    with pytest.raises(UsageError, match="not its policy"):
        client.convert(model.policy, SPEC)
    with pytest.raises(UsageError, match="two views"):
        client.convert(model, SPEC, method="average")
    with pytest.raises(MethodUnavailableError):
        client.convert(model, SPEC, method="reducing")


def test_normalisers_that_do_not_fit_are_refused_before_anything_is_converted(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path, another object, one without an environment, one of other observations; and calibration likewise."""
    model, path = trained("PPO"), tmp_path / "vecnormalize.pkl"
    own = model.get_vec_normalize_env()
    own.save(str(path))
    lone = pickle.loads(path.read_bytes())
    other = vectors.VecNormalize(vectors.DummyVecEnv([lambda: World(high=(1, 1, 2))]))
    monkeypatch.setattr(client, "converted", lambda *_: pytest.fail("it was converted first"))
    for given, words in (
        (str(path), r"normalizer: '.*vecnormalize.pkl' is a file, .*\n.*normalizer=VecNormalize.load\('.*pkl', env\)"),
        (path, "is a file"),
        (own.obs_rms, "RunningMeanStd is no VecNormalize"),
        (lone, "it has no environment, as happens where its file was unpickled by hand"),
        (other, r"its action_space is Box\(-1.0, \[1. 1. 2.\].*the model's Box\(-1.0, 1.0"),
    ):
        with pytest.raises(UsageError, match=words):
            client.convert(model, SPEC, normalizer=given)
    for rows in (np.zeros((50, 8)), np.zeros(9), np.array([["a"] * 9])):
        with pytest.raises(UsageError, match="calibration: its shape is .*the model's observations have 9 numbers"):
            client.convert(model, SPEC, rows)
    with pytest.raises(UsageError, match="by average it becomes two views"):
        client.convert(model, SPEC, method="average")


def test_a_normaliser_of_another_number_of_environments() -> None:
    """A loaded model remembers how many there were in training; its normaliser may be around a single one."""
    model = trained("PPO", normalised=False)
    model.env, own = None, vectors.VecNormalize(vectors.DummyVecEnv([World] * 3))
    own.obs_rms.mean, own.obs_rms.var = np.arange(9.0), np.arange(1.0, 10.0)
    chiral = client.convert(model, SPEC, normalizer=own)
    assert chiral.n_envs == 3 and chiral.get_vec_normalize_env() is not own and (own.obs_rms.mean == np.arange(9)).all()
    text = client.summary(chiral).to_text()
    assert (
        "its distance from the original is unknown: only random inputs were measured (rho " in text.partition("\n")[0]
    )
    chiral.learn(20)


def test_what_draws_is_named_with_its_remedy() -> None:
    from chiralize import chiralize

    x = (torch.randn(3, 9),)
    model = trained("PPO", normalised=False)
    for entry, what in (("forward", "outputs are described"), ("_predict", "draws random numbers")):
        with pytest.raises(Exception, match=what) as caught:
            chiralize(model.policy, SPEC, x, method="match", entry=entry)
        assert "clients.stable_baselines3.convert" in str(caught.value)
    with pytest.raises(Exception, match="draws random numbers") as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chiralize(trained("SAC", normalised=False).policy.actor, SPEC, x, method="match")
    assert "example_kwargs={'deterministic': True}" in str(caught.value)
