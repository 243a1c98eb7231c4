"""Perceptrons, as trainers of policies name them: the one network that can be told from its weights but for one thing.

A file of weights does not say what the network does with them, in general. A chain of Linear layers numbered 0, 2, 4 is
a perceptron; what is between the layers, ELU or tanh, is for the user to say: `--arg activation=Tanh`.

`missing` offers it where weights come without a class. Of a checkpoint with actor.0.weight (128, 47), actor.2.weight
(12, 128) and their biases the command is

    --model chiralize.storage.perceptron:perceptron --arg sizes=47,128,12 --arg activation=ELU --prefix actor.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

_LAYER = re.compile(r"(?P<prefix>(?:[\w.]*\.)?)(?P<number>\d+)\.weight")
_NORMALISER = "obs_normalizer"
_EPSILON = 1e-2  # of rsl_rl's EmpiricalNormalization


class Normaliser(nn.Module):
    """(x - mean) / (std + 0.01), with the statistics under rsl_rl's names."""

    _mean: torch.Tensor
    _std: torch.Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        for name, value in (("_mean", 0.0), ("_var", 1.0), ("_std", 1.0)):
            self.register_buffer(name, torch.full((1, size), value))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Observations "batch observation", normalised."""
        return (x - self._mean) / (self._std + _EPSILON)


def perceptron(sizes: Sequence[int], activation: str = "ELU", normaliser: bool = False) -> nn.Sequential:
    """Linear layers of these sizes, numbered 0, 2, 4, ..., with activations between them.

    activation: name of a module of torch.nn.  normaliser: rsl_rl's before it; the layers are then those of `mlp`.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(inputs, outputs), getattr(nn, activation)()]
    network = nn.Sequential(*layers[:-1])
    if not normaliser:
        return network
    return nn.Sequential(OrderedDict({_NORMALISER: Normaliser(sizes[0]), "mlp": network}))


@dataclass(frozen=True)
class Perceptron:
    """A perceptron among weights.  prefix: of their names.  sizes: of its layers, the input's first.

    arguments: those of `perceptron`, as text, with which it holds the weights.
    """

    prefix: str
    sizes: tuple[int, ...]
    arguments: Mapping[str, str]

    @property
    def shown(self) -> str:
        """Its weights and its widths: `actor.* (47 -> 12)`."""
        return f"{self.prefix}* ({self.sizes[0]} -> {self.sizes[-1]})"


def perceptrons_in(tensors: Mapping[str, Any]) -> list[Perceptron]:
    """All perceptrons among weights, in their order.

    Weights of other layers beside them could be a part of the same network: then there is none.
    """
    chains: dict[str, dict[int, tuple[int, ...]]] = {}  # by prefix, then by number, the shape "out in"
    for name, tensor in tensors.items():
        if (match := _LAYER.fullmatch(name)) and len(tensor.shape) == 2:
            chains.setdefault(match["prefix"], {})[int(match["number"])] = tuple(tensor.shape)
    # All matrices have to belong to some chain: an LSTM before the perceptron would be left out in silence.
    numbered = sum(map(len, chains.values()))
    if numbered != sum(name.endswith("weight") and len(tensor.shape) > 1 for name, tensor in tensors.items()):
        return []
    perceptrons: list[Perceptron] = []
    for prefix, layers in chains.items():
        # A chain without all its biases, or with gaps in its numbers, is some other network.
        sizes = _sizes(layers)
        if not sizes or not all(f"{prefix}{number}.bias" in tensors for number in layers):
            continue
        arguments = {"sizes": ",".join(map(str, sizes)), "activation": "ELU"}
        if prefix == "mlp." and f"{_NORMALISER}._mean" in tensors:
            prefix, arguments = "", {**arguments, "normaliser": "true"}
        perceptrons.append(Perceptron(prefix, tuple(sizes), arguments))
    return perceptrons


def _sizes(layers: Mapping[int, tuple[int, ...]]) -> list[int]:
    """Sizes of a chain of Linear layers numbered 0, 2, 4, ...; none where the layers are no chain."""
    if len(layers) < 2 or sorted(layers) != list(range(0, 2 * len(layers), 2)):
        return []
    shapes = [layers[number] for number in sorted(layers)]
    # "out in": what one layer gives the next one takes.
    if any(before[0] != after[1] for before, after in zip(shapes[:-1], shapes[1:], strict=True)):
        return []
    return [shapes[0][1], *(shape[0] for shape in shapes)]
