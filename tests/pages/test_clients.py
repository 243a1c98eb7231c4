"""docs/clients.md: what needs no trainer is run as it stands, the rest where its trainer is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/clients.md").read_text()
pytestmark = pytest.mark.filterwarnings("ignore")


def snippet(heading: str, number: int = 0) -> str:
    """A block of Python under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)[number]


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The specification of gymnasium's Ant, in ant.yaml of an empty folder."""
    loaded = yaml.safe_load((ROOT / "examples/policy/ant.yaml").read_text())
    loaded["inputs"][0]["fields"] = loaded["inputs"][0]["fields"][:6]
    loaded["inputs"][0]["name"] = "policy"
    (tmp_path / "ant.yaml").write_text(yaml.safe_dump(loaded))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return loaded


def run(text: str, **names: Any) -> dict[str, Any]:
    scope = dict(names)
    exec(text, scope)
    return scope


def test_mirrored_samples(spec: dict[str, Any]) -> None:
    config = run(snippet("rsl_rl: mirrored samples and the mirror loss"), algorithm={})["algorithm"]["symmetry_cfg"]
    obs, actions = config["data_augmentation_func"](
        env=None, obs={"policy": torch.ones(2, 27)}, actions=torch.ones(2, 8)
    )
    assert len(obs["policy"]) == len(actions) == 4 and config["mirror_loss_coeff"] == 0.1


def test_recurrent_samples(spec: dict[str, Any]) -> None:
    pytest.importorskip("rsl_rl.runners", reason="pip install rsl-rl-lib")
    from rsl_rl.utils import resolve_callable  # pyright: ignore[reportMissingImports]

    from chiralize.clients.rsl_rl import symmetry_cfg

    text = snippet("rsl_rl: mirrored samples and the mirror loss", 1)
    algorithm = run(text, algorithm={}, symmetry_cfg=symmetry_cfg)["algorithm"]
    assert resolve_callable(algorithm["class_name"]).__name__ == "MirroredPPO"
    assert not algorithm["symmetry_cfg"]["use_mirror_loss"]


def test_gymnasium(spec: dict[str, Any]) -> None:
    pytest.importorskip("mujoco")
    scope = run(snippet("gymnasium"))
    assert scope["observation"].shape == (27,) and scope["seen"].mirrored in (True, False)


def test_cleanrl(spec: dict[str, Any]) -> None:
    """As the page does it; the mean, the value and the spread are all symmetric."""
    from chiralize import Mirror

    class Agent(nn.Module):
        """Heads as in its file."""

        def __init__(self) -> None:
            super().__init__()
            self.critic = nn.Sequential(nn.Linear(27, 8), nn.Tanh(), nn.Linear(8, 1))
            self.actor_mean = nn.Sequential(nn.Linear(27, 8), nn.Tanh(), nn.Linear(8, 8))
            self.actor_logstd = nn.Parameter(torch.randn(1, 8))

    agent = Agent()
    chiral = run(snippet("CleanRL: policies in one file"), agent=agent, spec=spec)["chiral"]
    mirror = Mirror.of("ant.yaml", input_shapes=[(1, 27)], output_shapes=[(1, 8)])
    x = torch.randn(5, 27)
    assert torch.allclose(chiral.actor_mean(mirror(x)), mirror.outputs(chiral.actor_mean(x)), atol=1e-5)
    assert torch.allclose(chiral.critic(mirror(x)), chiral.critic(x), atol=1e-5)
    std = chiral.actor_logstd.exp()
    assert torch.allclose(mirror.outputs(std).abs(), std) and not torch.allclose(std, agent.actor_logstd.exp())


def test_rsl_rl_policies(spec: dict[str, Any]) -> None:
    models: Any = pytest.importorskip("rsl_rl.models", reason='pip install -e ".[packages]"')
    tensordict: Any = pytest.importorskip("tensordict")
    from chiralize import Mirror

    gaussian = {"class_name": "GaussianDistribution", "init_std": 1.0}
    obs = tensordict.TensorDict({"policy": torch.randn(4, 27), "critic": torch.randn(4, 3)}, batch_size=[4])
    sizes = {"hidden_dims": [8], "obs_normalization": True, "distribution_cfg": gaussian}
    actor = models.MLPModel(obs, {"actor": ["policy"]}, "actor", 8, **sizes)
    actor.update_normalization(obs)
    with torch.no_grad():
        actor.distribution.std_param.copy_(torch.rand(8) + 0.5)
    run(snippet("rsl_rl: policies"), actor=actor)
    mirror = Mirror.of("ant.yaml", input_shapes=[(1, 27)], output_shapes=[(1, 8)])
    image = tensordict.TensorDict({"policy": mirror(obs["policy"])}, batch_size=[4])
    assert torch.allclose(actor(image), mirror.outputs(actor(obs)), atol=1e-5)
    assert torch.allclose(mirror.outputs(actor.distribution.std_param[None]).abs()[0], actor.distribution.std_param)
    assert torch.allclose(actor.obs_normalizer._var, actor.obs_normalizer._std.square())


def test_torchrl(spec: dict[str, Any]) -> None:
    modules: Any = pytest.importorskip("tensordict.nn", reason='pip install -e ".[packages]"')
    import chiralize

    net = nn.Sequential(nn.Linear(27, 8), nn.Tanh(), nn.Linear(8, 16), modules.NormalParamExtractor())
    mean = modules.TensorDictModule(net, in_keys=["observation"], out_keys=["loc", "scale"])
    two = {**spec, "outputs": [spec["outputs"][0], {**spec["outputs"][0], "negate": [], "signs": {}}]}
    observation = torch.randn(3, 27)
    run(snippet("TorchRL and TensorDictModule"), actor=[mean], two=two, observation=observation, chiralize=chiralize)
    mirror = chiralize.Mirror.of(two, input_shapes=[(1, 27)], output_shapes=[(1, 8), (1, 8)])
    answers, image = mean(observation), mean(mirror(observation))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(image, mirror.outputs(*answers), strict=True))
