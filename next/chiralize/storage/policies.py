"""Which policy is in a trainer's file? A perceptron, rebuilt from names and sizes, behind the file's own normaliser.

`--model auto` stands for it; neither rsl_rl nor Stable-Baselines3 is imported. Of actor.0.weight (128, 47) and
actor.2.weight (12, 128) the network is Linear(47, 128), the activation, Linear(128, 12). What is between the layers no
size tells: Stable-Baselines3 writes it down or has a default, of rsl_rl it is `--arg activation=ELU`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chiralize.errors import UsageError
from chiralize.storage.formats import Source
from chiralize.storage.tables import Table

AUTO = "auto"
_EPSILON = 1e-2
"""Of rsl_rl's EmpiricalNormalization."""
_NORMALISERS = ("actor_obs_normalizer.", "obs_normalizer.")
"""Under which rsl_rl 3, and rsl_rl 4 and later, have the statistics among the weights of a policy."""
_ENTRY = "obs_norm_state_dict"
"""Where rsl_rl 1 and 2 have them."""
_CLASS = "give its class: --model PKG.MOD:NAME"


class _Chain(NamedTuple):
    """How a trainer names the layers of an actor: numbered behind `stem`, then `head`. squash: tanh behind the last."""

    stem: str
    head: str = ""
    activation: str = ""
    squash: bool = False


_CHAINS = (
    _Chain("mlp_extractor.policy_net.", "action_net", "Tanh"),  # PPO, A2C
    _Chain("actor.latent_pi.", "actor.mu", "ReLU", True),  # SAC
    _Chain("actor.mu.", "", "ReLU", True),  # TD3, DDPG
    _Chain("actor."),  # rsl_rl until 3
    _Chain("mlp."),  # rsl_rl since 4
    _Chain(""),
)


class Normaliser(nn.Module):
    """(x - mean) / (std + 0.01), with the statistics under rsl_rl's names."""

    _mean: Tensor
    _std: Tensor

    def __init__(self, statistics: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, value in statistics.items():
            self.register_buffer(name, torch.ones_like(value))

    def forward(self, obs: Tensor) -> Tensor:
        """Observations "batch observation", normalised."""
        return (obs - self._mean) / (self._std + _EPSILON)


class Perceptron(nn.Module):
    """Linear layers under the names of a file, behind a normaliser where there is one.

    layers: sizes (out, in) by name.  squash: tanh behind the last layer.
    """

    def __init__(
        self,
        layers: Mapping[str, tuple[int, int]],
        activation: nn.Module,
        squash: bool,
        normaliser: str = "",
        statistics: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.order, self.squash, self.normaliser = tuple(layers), squash, normaliser.removesuffix(".")
        self.activation = activation
        if statistics:
            self.add_module(self.normaliser, Normaliser(statistics))
        for name, (outputs, inputs) in layers.items():
            *path, last = name.split(".")
            holder: nn.Module = self
            for part in path:
                if part not in dict(holder.named_children()):
                    holder.add_module(part, nn.Module())
                holder = holder.get_submodule(part)
            holder.add_module(last, nn.Linear(inputs, outputs))

    def forward(self, obs: Tensor) -> Tensor:
        """The mean of the actions for observations "batch observation"."""
        if self.normaliser:
            obs = self.get_submodule(self.normaliser)(obs)
        for number, name in enumerate(self.order):
            obs = self.get_submodule(name)(self.activation(obs) if number else obs)
        return torch.tanh(obs) if self.squash else obs


@dataclass(frozen=True)
class Policy:
    """A policy in a file. build: makes it.  table: its weights, and those that only training needs (`idle`)."""

    build: Callable[..., nn.Module]
    table: Table
    idle: tuple[str, ...]


def policy_in(source: Source, tables: Sequence[Table]) -> Policy:
    """The perceptron of a trainer's file. Raises UsageError where there is none, or something before it."""
    for table in tables:
        for chain in _CHAINS:
            layers = _layers(table, chain)
            if layers:
                return _policy(source, table, chain, layers)
    raise UsageError(source.content.where, "holds no policy that is a perceptron", _CLASS)


def _layers(table: Table, chain: _Chain) -> dict[str, tuple[int, int]]:
    """The layers from the observation to the action, with their sizes; {} where there is no such chain."""
    numbered = re.compile(re.escape(chain.stem) + r"(\d+)\.weight")
    matches = filter(None, map(numbered.fullmatch, table.tensors))
    names = [match[0].removesuffix(".weight") for match in sorted(matches, key=lambda match: int(match[1]))]
    if chain.head:
        names = [*names, chain.head] if f"{chain.head}.weight" in table.tensors else []
    shapes = [tuple(table.tensors[f"{name}.weight"].shape) for name in names]
    has_biases = all(f"{name}.bias" in table.tensors for name in names)
    is_chain = all(len(shape) == 2 for shape in shapes) and all(
        first[0] == second[1] for first, second in zip(shapes, shapes[1:], strict=False)
    )
    if not (is_chain and has_biases):
        return {}
    return {name: (int(shape[0]), int(shape[1])) for name, shape in zip(names, shapes, strict=True)}


def _policy(source: Source, table: Table, chain: _Chain, layers: Mapping[str, tuple[int, int]]) -> Policy:
    """The policy of these layers. Raises UsageError for one that reads the environment through other layers."""
    deep = [name for name, tensor in table.tensors.items() if tensor.ndim > 2 or ".weight_ih_" in name]
    if deep:
        raise UsageError(source.content.where, f"its policy is no perceptron: it has {deep[0]}", _CLASS)
    entry = source.tree.get(_ENTRY) if isinstance(source.tree, Mapping) else None
    if isinstance(entry, Mapping):
        statistics = {f"obs_normalizer.{name}": each for name, each in entry.items() if isinstance(each, Tensor)}
        table = Table(table.key, {**table.tensors, **statistics})
    prefix = next((each for each in _NORMALISERS if f"{each}_mean" in table.tensors), "")
    statistics = table.under(prefix) if prefix else {}
    used = {f"{name}.{part}" for name in layers for part in ("weight", "bias")}
    idle = tuple(name for name in table.tensors if name not in used and not (prefix and name.startswith(prefix)))
    default = source.activation or chain.activation

    def build(activation: str) -> nn.Module:
        """The policy. activation: name of a module of torch.nn."""
        return Perceptron(layers, getattr(nn, activation)(), chain.squash, prefix, statistics)

    def by_default(activation: str = default) -> nn.Module:
        """The policy, by the activation that its file says."""
        return build(activation)

    return Policy(by_default if default else build, table, idle)
