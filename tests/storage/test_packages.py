"""Round trips on the trainers themselves: trained, converted, put back, and run on by their own loaders.

They are the extra `packages` (pip install -e ".[packages]"); without it these tests are skipped, and `test_trainers.py`
has the same formats on files built by hand.
"""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from chiralize.storage.load import load_model
from tests.support.command import BODY, Shell, mirrored, poses

pytestmark = pytest.mark.filterwarnings("ignore")
MODULE = "packages_nets"
SOURCE = '''
import torch
from torch import nn


class Net(nn.Module):
    """Poses "b j d" in and out."""

    def __init__(self, hidden=16):
        super().__init__()
        self.first = nn.Linear(10, hidden)
        self.last = nn.Linear(hidden, 10)

    def forward(self, x):
        return self.last(self.first(x.flatten(1)).tanh()).unflatten(1, (5, 2))
'''
FLAT = BODY + 'inputs: [{layout: "b (j d)"}]\noutputs: [{layout: "b (j d)"}]\n'
POSES = BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{layout: "b j d"}]\n'


def needs(name: str) -> Any:
    """A package of the extra."""
    return pytest.importorskip(name, reason=f'{name} is not installed: pip install -e ".[packages]"')


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A folder with two specifications and a module of the user's, which is imported from there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "flat.yaml").write_text(FLAT)
    (tmp_path / "poses.yaml").write_text(POSES)
    (tmp_path / f"{MODULE}.py").write_text(SOURCE)
    torch.manual_seed(0)
    yield Shell(tmp_path, capsys)
    sys.modules.pop(MODULE, None)


def user_module(more: str) -> Any:
    """The user's module with more classes in it, imported."""
    path = Path(f"{MODULE}.py")
    path.write_text(SOURCE + textwrap.dedent(more))
    importlib.invalidate_caches()
    sys.modules.pop(MODULE, None)
    return importlib.import_module(MODULE)


def converted(shell: Shell, source: str, target: str, *words: str) -> None:
    """By `match`, into a file like the source; `verify` takes it."""
    done = shell("convert", source, "--method", "match", "--force", "-o", target, *words)
    assert done.status == 0 and "with these weights in place of its own" in done.out, done.err
    again = shell("verify", target, *(word for word in words if word != "--force"))
    assert again.status == 0, again.err


def off(answer: Any, x: torch.Tensor) -> float:
    """How far an answer is from commuting with T, flat or not; relative to its size."""
    there, back = answer(x), answer(turned(x))
    assert there.abs().max() > 1e-3
    return float((back - turned(there)).abs().max() / there.abs().max())


def turned(x: torch.Tensor) -> torch.Tensor:
    return mirrored(x.reshape(len(x), 5, 2)).reshape(x.shape)


def test_lightning(shell: Shell) -> None:
    lightning = needs("lightning")
    nets = user_module(
        """
        import lightning

        class Lit(lightning.LightningModule):
            def __init__(self, hidden=16):
                super().__init__()
                self.save_hyperparameters()
                self.model = Net(hidden)

            def forward(self, x):
                return self.model(x)

            def training_step(self, batch, index):
                return ((self.model(batch[0]) - batch[0]) ** 2).mean()

            def validation_step(self, batch, index):
                self.log("loss", self.training_step(batch, index))

            def configure_optimizers(self):
                return torch.optim.Adam(self.parameters(), lr=1e-2)
        """
    )
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(poses(32)), 8)

    def trainer(epochs: int) -> Any:
        quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
        return lightning.Trainer(max_epochs=epochs, accelerator="cpu", **quiet)

    first = trainer(2)
    first.fit(nets.Lit(24), data)
    first.save_checkpoint("last.ckpt")
    words = ("--skeleton", "poses.yaml", "--input-shape", "3,5,2")
    assert off(nets.Lit.load_from_checkpoint("last.ckpt").eval(), poses(4)) > 0.1
    for target, factory in (("part.ckpt", "Net"), ("whole.ckpt", "Lit")):
        converted(shell, "last.ckpt", target, "--model", f"{MODULE}:{factory}", *words)
        restored = nets.Lit.load_from_checkpoint(target).eval()
        assert restored.hparams.hidden == 24 and off(restored, poses(4)) < 1e-5
        assert trainer(1).validate(restored, data, verbose=False)[0]["loss"] > 0
        resumed = trainer(3)
        resumed.fit(nets.Lit(24), data, ckpt_path=target, weights_only=False)
        assert resumed.current_epoch == 3


def test_rsl_rl(shell: Shell) -> None:
    needs("rsl_rl")
    tensordict = needs("tensordict")
    runners: Any = importlib.import_module("rsl_rl.runners")
    vec_env: Any = importlib.import_module("rsl_rl.env").VecEnv
    user_module(
        """
        class Deployed(nn.Module):
            def __init__(self):
                super().__init__()
                self.obs_normalizer = Normaliser()
                self.mlp = nn.Sequential(nn.Linear(10, 16), nn.ELU(), nn.Linear(16, 10))

            def forward(self, x):
                return self.mlp(self.obs_normalizer(x))

        class Normaliser(nn.Module):
            def __init__(self):
                super().__init__()
                for name in ("_mean", "_var", "_std"):
                    self.register_buffer(name, torch.ones(1, 10))
                self.register_buffer("count", torch.tensor(0))

            def forward(self, x):
                return (x - self._mean) / (self._std + 1e-2)
        """
    )

    class Env(vec_env):
        num_envs, num_actions, max_episode_length, device, cfg = 4, 10, 20, "cpu", {}
        episode_length_buf = torch.zeros(4, dtype=torch.long)

        def get_observations(self) -> Any:
            return tensordict.TensorDict({"policy": torch.randn(4, 10)}, batch_size=[4])

        def step(self, actions: torch.Tensor) -> Any:
            reward = -actions.square().mean(1)
            return self.get_observations(), reward, torch.zeros(4, dtype=torch.bool), {"time_outs": torch.zeros(4)}

    gaussian = {"class_name": "GaussianDistribution", "init_std": 1.0}
    model = {"class_name": "MLPModel", "hidden_dims": [16], "activation": "elu", "obs_normalization": True}
    config = {
        "algorithm": {"class_name": "PPO", "num_learning_epochs": 1, "num_mini_batches": 1},
        "actor": {**model, "distribution_cfg": gaussian},
        "critic": dict(model),
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "num_steps_per_env": 4,
        "save_interval": 10,
    }

    def runner() -> Any:
        from copy import deepcopy

        return runners.OnPolicyRunner(Env(), deepcopy(config), log_dir=None, device="cpu")

    first = runner()
    first.learn(2)
    first.save("model_1.pt")

    def answers(trained: Any) -> Any:
        policy = trained.get_inference_policy()
        return lambda x: policy(tensordict.TensorDict({"policy": x}, batch_size=[len(x)])).detach()

    assert off(answers(first), poses(4).flatten(1)) > 0.1
    words = ("--model", f"{MODULE}:Deployed", "--skeleton", "flat.yaml", "--input-shape", "3,10")
    converted(shell, "model_1.pt", "model_2.pt", *words)
    second = runner()
    second.load("model_2.pt")
    assert second.current_learning_iteration == first.current_learning_iteration
    assert off(answers(second), poses(4).flatten(1)) < 1e-4
    second.learn(1)


def test_stable_baselines3(shell: Shell) -> None:
    """The class that the file names, asked for by --model auto; PPO, with noise that depends on the state too, SAC."""
    needs("stable_baselines3")
    gymnasium = needs("gymnasium")
    algorithms: Any = importlib.import_module("stable_baselines3")
    evaluation: Any = importlib.import_module("stable_baselines3.common.evaluation")

    class Env(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-5.0, 5.0, (10,))
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (10,))

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            self.count = 0
            return self.observation_space.sample(), {}

        def step(self, action: Any) -> Any:
            self.count += 1
            return self.observation_space.sample(), -float((action**2).mean()), self.count > 5, False, {}

    kwargs = {"net_arch": [16], "activation_fn": torch.nn.ELU}
    ppo = algorithms.PPO("MlpPolicy", Env(), n_steps=16, batch_size=16, policy_kwargs=kwargs, device="cpu")
    sac = algorithms.SAC("MlpPolicy", Env(), learning_starts=4, policy_kwargs={"net_arch": [16]}, device="cpu")
    of_state = {"use_sde": True, "policy_kwargs": {"net_arch": [16], "squash_output": True}, "device": "cpu"}
    sde = algorithms.PPO("MlpPolicy", Env(), n_steps=16, batch_size=16, **of_state)
    x = poses(4).flatten(1)
    for name, model in (("ppo", ppo), ("sac", sac), ("sde", sde)):
        model.learn(16)
        with torch.no_grad():
            for parameter in model.policy.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.save(f"{name}.zip")
        network = load_model(f"{name}.zip", factory="auto").module
        assert torch.allclose(network(x), model.policy._predict(x, deterministic=True), atol=1e-6)
        words = ("--model", "auto", "--skeleton", "flat.yaml", "--input-shape", "3,10")
        converted(shell, f"{name}.zip", f"{name}2.zip", *words)
        again = type(model).load(f"{name}2.zip", env=Env(), device="cpu")
        assert off(lambda rows, policy=again.policy: policy._predict(rows, deterministic=True).detach(), x) < 1e-4
        assert evaluation.evaluate_policy(again, Env(), n_eval_episodes=2)[0] < 0
        again.learn(16, reset_num_timesteps=False)


def test_transformers(shell: Shell) -> None:
    """A model of the user's own goes back to a folder; one of the package's is built from its config."""
    transformers = needs("transformers")
    nets = user_module(
        """
        import transformers

        class Config(transformers.PretrainedConfig):
            model_type = "ours"

        class Ours(transformers.PreTrainedModel):
            config_class = Config
            base_model_prefix = "net"

            def __init__(self, config):
                super().__init__(config)
                self.net = Net(16)
                self.post_init()

            def forward(self, x):
                return self.net(x)
        """
    )
    model = nets.Ours(nets.Config())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 3)
    model.save_pretrained("hub", max_shard_size="1KB")
    assert Path("hub/model.safetensors.index.json").exists()
    words = ("--model", f"{MODULE}:Net", "--skeleton", "poses.yaml", "--input-shape", "3,5,2")
    converted(shell, "hub", "hub2", *words)
    restored = nets.Ours.from_pretrained("hub2").eval()
    assert off(lambda x: restored(x).detach(), poses(4)) < 1e-5 < off(lambda x: model(x).detach(), poses(4))

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    bert = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=20, **sizes)).eval()
    bert.save_pretrained("bert")
    assert "--model auto" in shell("convert", "bert", "--skeleton", "poses.yaml").err
    built = load_model("bert", factory="auto").module
    ids = torch.arange(6)[None]
    assert type(built).__name__ == "BertForMaskedLM" and torch.equal(built(ids).logits, bert(ids).logits)


def test_mmengine(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own loader needs torch's reader of old to read its own files."""
    needs("mmengine")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    runner_class: Any = importlib.import_module("mmengine.runner").Runner
    base: Any = importlib.import_module("mmengine.model").BaseModel
    nets = user_module("")

    class Model(base):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nets.Net()

        def forward(self, inputs: Any, mode: str = "tensor") -> Any:
            x = torch.stack(inputs) if isinstance(inputs, list) else inputs
            answer = self.backbone(x)
            return {"loss": (answer - x).square().mean()} if mode == "loss" else answer

    sampler = {"type": "DefaultSampler", "shuffle": False}
    loader = {"batch_size": 8, "num_workers": 0, "dataset": [{"inputs": x} for x in poses(32)], "sampler": sampler}

    def runner(epochs: int, **more: Any) -> Any:
        return runner_class(
            model=Model(),
            work_dir="work",
            train_dataloader=dict(loader),
            train_cfg={"by_epoch": True, "max_epochs": epochs},
            optim_wrapper={"optimizer": {"type": "Adam", "lr": 1e-2}},
            log_level="ERROR",
            experiment_name=f"run{epochs}",
            **more,
        )

    runner(1).train()
    words = ("--model", f"{MODULE}:Net", "--skeleton", "poses.yaml", "--input-shape", "3,5,2")
    converted(shell, "work/epoch_1.pth", "sym.pth", *words)
    resumed = runner(2, load_from="sym.pth", resume=True)
    resumed.load_or_resume()
    assert resumed.epoch == 1 and off(lambda x: resumed.model.eval()(x).detach(), poses(4)) < 1e-5
    resumed.train()
    assert resumed.epoch == 2
