"""Mirrored samples for recurrent policies of rsl_rl: what is in the storage, and what is refused."""

from __future__ import annotations

import contextlib
import importlib
import io
from typing import Any

import pytest
import torch
from torch import Tensor

from chiralize.clients.rsl_rl import augmentation, symmetry_cfg
from chiralize.errors import UsageError

runners: Any = pytest.importorskip("rsl_rl.runners", reason="pip install rsl-rl-lib")
tensordict: Any = importlib.import_module("tensordict")
client: Any = importlib.import_module("chiralize.clients.rsl_rl_recurrent")

ROBOTS, STEPS = 3, 6
SPEC = {
    "joints": ["left", "right"], "pairs": [["left", "right"]], "dims": ["q"], "negate": ["q"],
    "inputs": [{"layout": "b f", "fields": [{"joints": "q"}, {"scalar": 1, "name": "clock"}]}],
    "outputs": [{"layout": "b (j d)"}],
}  # fmt: skip


def mirrored(values: Tensor) -> Tensor:
    """T by hand: left and right exchange and change sign, a clock stays."""
    return torch.cat([-values[..., [1, 0]], values[..., 2:]], -1)


class Arms:
    """Two arms are pushed by the action, and one robot starts anew at every third step."""

    num_envs, num_actions, max_episode_length, device, cfg = ROBOTS, 2, 3, "cpu", dict[str, Any]()

    def __init__(self) -> None:
        self.places, self.time = torch.randn(ROBOTS, 2), torch.zeros(ROBOTS, 1)
        self.episode_length_buf = torch.zeros(ROBOTS, dtype=torch.long)

    def get_observations(self) -> Any:
        """A table with one group."""
        return tensordict.TensorDict({"policy": torch.cat([self.places, self.time], 1)}, batch_size=[ROBOTS])

    def step(self, actions: Tensor) -> tuple[Any, Tensor, Tensor, dict[str, Tensor]]:
        """Rewards the left arm alone, so that values of samples and images would differ."""
        self.places, self.time = self.places * 0.5 + actions, self.time + 1
        dones = torch.zeros(ROBOTS)
        dones[1] = float(self.time[1] >= 3)
        self.places[1] = torch.where(dones[1] > 0, torch.ones(2), self.places[1])
        self.time[1] *= 1 - dones[1]
        return self.get_observations(), self.places[:, 0], dones, {"time_outs": dones}


def runner(kind: str, **symmetry: Any) -> Any:
    """A runner of small LSTMs or GRUs."""
    model = {"class_name": "RNNModel", "hidden_dims": [4], "rnn_hidden_dim": 5, "rnn_num_layers": 2, "rnn_type": kind}
    model["obs_normalization"] = True
    algorithm = {"class_name": "chiralize.clients.rsl_rl_recurrent:MirroredPPO", "num_mini_batches": 3}
    if symmetry:
        algorithm["symmetry_cfg"] = symmetry["symmetry_cfg"]
    noise = {"class_name": "GaussianDistribution"}
    config = {
        "num_steps_per_env": STEPS, "save_interval": 10**9, "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "algorithm": algorithm, "actor": {**model, "distribution_cfg": noise}, "critic": model, "multi_gpu": None,
        "logger": "tensorboard",
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        return runners.OnPolicyRunner(Arms(), config, log_dir=None, device="cpu")


def roll(trained: Any) -> Any:
    """One iteration; the storage as the update finds it, and the actor before the update."""
    algorithm = trained.alg
    kept: dict[str, Any] = {}
    update = algorithm.update

    def noted() -> Any:
        kept["weights"] = {name: value.clone() for name, value in algorithm.actor.state_dict().items()}
        kept["states"] = [state.clone() for state in algorithm.storage.saved_hidden_state_a]
        for name in ("observations", "actions", "returns", "advantages", "values", "actions_log_prob", "dones"):
            kept[name] = getattr(algorithm.storage, name).clone()
        return update()

    algorithm.update = noted
    with contextlib.redirect_stdout(io.StringIO()):
        trained.learn(1)
    return kept


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_images_are_remembered(kind: str) -> None:
    """Beside every sample lies its image, and the states are those of a policy that saw nothing but images."""
    torch.manual_seed(0)
    trained = runner(kind, symmetry_cfg=symmetry_cfg(SPEC))
    trained.alg.actor.obs_normalizer.eval()  # statistics stand still, so that states can be made again
    kept = roll(trained)
    seen = kept["observations"]["policy"]
    assert seen.shape == (STEPS, 2 * ROBOTS, 3)
    assert torch.equal(seen[:, 1::2], mirrored(seen[:, ::2]))
    assert torch.equal(kept["actions"][:, 1::2], mirrored(kept["actions"][:, ::2]))
    for name in ("returns", "advantages", "values", "actions_log_prob", "dones"):
        assert torch.equal(kept[name][:, ::2], kept[name][:, 1::2]), name
    again = runner(kind, symmetry_cfg=symmetry_cfg(SPEC)).alg.actor
    again.load_state_dict(kept["weights"])
    again.eval()
    for step in range(STEPS):
        states = again.get_hidden_state()
        states = states if isinstance(states, tuple) else (states,)
        if step:
            for own, stored in zip(states, kept["states"], strict=True):
                torch.testing.assert_close(stored[step], own)
        else:
            assert states == (None,) and not any(stored[0].any() for stored in kept["states"])
        with torch.no_grad():
            again(tensordict.TensorDict({"policy": seen[step]}, batch_size=[2 * ROBOTS]))
        again.reset(kept["dones"][step].squeeze(-1))
    first = kept["states"][0]
    assert (first[-1, :, 1::2] - first[-1, :, ::2]).abs().max() > 0.01, "the two views remember different things"


def test_statistics_and_several_mirrors() -> None:
    """The normaliser sees both sides; a second mirror makes four views of every robot."""
    trained = runner("lstm", symmetry_cfg=symmetry_cfg(SPEC))
    roll(trained)
    mean = trained.alg.actor.obs_normalizer.mean
    torch.testing.assert_close(mean[:2], -mean[[1, 0]])
    swap = {**SPEC, "negate": []}
    four = roll(runner("lstm", symmetry_cfg=symmetry_cfg(SPEC, swap)))["observations"]["policy"]
    assert four.shape[1] == 4 * ROBOTS
    one = four[0, 4:8]
    assert torch.equal(augmentation(SPEC, swap)(obs=one[:1])[0], one)


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="has no mirror"):
        runner("lstm")
    with pytest.raises(UsageError, match="no mirror loss"):
        runner("lstm", symmetry_cfg=symmetry_cfg(SPEC, mirror_loss=0.1))
