"""Telling a network that was plainly never trained from one that was.

The mirror of an untrained network cannot be wrong: it has none. Whether weights were trained is read off them alone,
and a network counts as untrained only where every one of its weights still is what an initialisation leaves:

- biases that are all 0 or all 1, or uniform as far as their layer's initialisation reaches;
- matrices and kernels that are orthogonal, or whose entries are independent of each other, and uniform about 0 or
  normal with one of the spreads that initialisations use;
- batch norms that have seen no batch.

A histogram of the entries is not enough: those of an orthogonal matrix are nearly normal, and stay so while training
turns it into something else. Training moves whole directions, so that entries depend on each other. Ten to a hundred
steps show, and a network that learned something has taken many more.

Any doubt counts as trained: then a wrong mirror is refused. The bounds were measured (decision 0061).

`mirror_evidence` asks this, since an untrained network refutes no mirror.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

import torch

from chiralize.verification.evidence.distributions import dependence, distance

_LARGEST = 4096  # values of a weight that are looked at
_FEWEST = 32  # values that tell what they are drawn from
_UNIFORM = 2.4
_NORMAL = 2.4
"""Bounds on `distance` from both distributions, which fresh weights exceeded in none of 2,970 networks (2.1)."""
_SPREADS = (0.01, 0.02, 0.05, 0.1, 1.0)
"""Spreads that initialisations use whatever the size of the layer."""
_NEAR = 0.05
"""How far a spread may be from one of those, as a share."""
_ORTHOGONAL = 1e-4
"""How far rows may be from orthogonal, in squares of their length."""
_DEPENDENT = 6.0
"""Standard deviations by which `dependence` may differ from that of independent entries, either way."""
_TINY = 1e-6
"""The spread that some initialisations give biases."""
_MISSED = 16.0
"""The largest of n uniform values is below the bound by more than a share _MISSED / n once in ten million times."""


def is_untrained(module: torch.nn.Module) -> bool:
    """Whether every weight of a network is as an initialisation leaves it. False for one without weights."""
    weights = [weight.detach() for weight in module.parameters() if weight.is_floating_point() and weight.numel()]
    # Small matrices and biases alone tell nothing: then the network counts as trained.
    large = [weight for weight in weights if weight.ndim > 1 and weight.numel() >= _FEWEST]
    if not large or any(weight.is_meta or weight.is_quantized for weight in weights):
        return False
    return (
        all(map(_is_initial, weights)) and _has_initial_biases(module) and all(map(_is_fresh, named_statistics(module)))
    )


def named_statistics(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """The running statistics of normalisations, by the last word of their names."""
    words = ("running_mean", "running_var", "num_batches_tracked")
    named = list[tuple[str, torch.Tensor]]()
    for name, buffer in module.named_buffers():
        word = name.rpartition(".")[2]
        if word in words:
            named.append((word, buffer.detach()))
    return named


def _is_fresh(statistic: tuple[str, torch.Tensor]) -> bool:
    """Whether a running statistic is as a new batch norm has it: means and counts 0, variances 1."""
    word, values = statistic
    return bool((values == (1 if word == "running_var" else 0)).all())


def _is_initial(weight: torch.Tensor) -> bool:
    """Whether a weight or bias is as some initialisation leaves it: constant, drawn, or orthogonal."""
    values = _some(weight.double())
    first = float(values[0])
    # Biases and scales may be any constant; a matrix that is constant was zeroed, or is one of ones.
    if bool((values == first).all()):
        return weight.ndim < 2 or first in (0.0, 1.0)
    if len(values) < _FEWEST:  # too few to tell what they are drawn from
        return float(values.abs().max()) <= 1.0
    if weight.ndim < 2:
        return float(values.abs().max()) <= 6 * _TINY or _is_uniform(values) or _is_normal(values, weight)
    # A matrix "out in", a kernel as "out (in position)".
    matrix = weight.double().reshape(len(weight), -1)
    if _is_orthogonal(matrix):
        return True
    is_drawn = _is_uniform(values) or _is_normal(values, weight)
    return is_drawn and abs(dependence(matrix)) <= _DEPENDENT


def _has_initial_biases(module: torch.nn.Module) -> bool:
    """Whether the biases of layers are as their initialisation leaves them, given the matrices of the same layers."""
    for layer in module.modules():
        named = [(name, weight.detach()) for name, weight in layer.named_parameters(recurse=False)]
        matrices = [weight for name, weight in named if weight.ndim > 1 and weight.numel()]
        biases = [weight for name, weight in named if weight.ndim == 1 and "bias" in name]
        if matrices and not all(_is_initial_bias(bias, matrices) for bias in biases):
            return False
    return True


def _is_initial_bias(bias: torch.Tensor, matrices: Sequence[torch.Tensor]) -> bool:
    """Whether a bias is constant, or as far from 0 as PyTorch draws it: 1 / sqrt(inputs), or like its matrix."""
    values = bias.double()
    largest = float(values.abs().max()) if len(values) else 0.0
    if largest <= 6 * _TINY or bool((values == values[0]).all()):
        return True
    bounds = [float(matrix.abs().max()) for matrix in matrices]
    bounds += [1 / sqrt(prod(matrix.shape[1:])) for matrix in matrices]
    if len(values) < _FEWEST:
        return largest <= 1.001 * max(bounds)
    # The largest of many uniform values lies just below the bound: a largest one far below says that they are no draws.
    return any(bound * (1 - _MISSED / len(values)) <= largest <= 1.001 * bound for bound in bounds)


def _some(weight: torch.Tensor) -> torch.Tensor:
    """At most 4,096 values of the weight, evenly spread."""
    flat = weight.flatten()
    return flat[:: max(1, len(flat) // _LARGEST)][:_LARGEST]


def _is_uniform(values: torch.Tensor) -> bool:
    """Whether they are drawn evenly from -b to b."""
    bound = values.abs().max()
    return distance(((values / bound + 1) / 2).sort().values) < _UNIFORM


def _is_normal(values: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether they are drawn from N(0, s) with one of the spreads s that are in use, cut off at 2 s or not."""
    spread = float(values.std())
    if abs(float(values.mean())) > 6 * spread / sqrt(len(values)):
        return False
    if not any(abs(spread / known - 1) < max(_NEAR, 3 / sqrt(len(values))) for known in _spreads(weight)):
        return False
    # Against both distribution functions at the sorted values: the normal one, and the one cut off at two spreads,
    # rescaled from the spread that is left to the one it was cut from.
    standard = (values / spread).sort().values
    whole = torch.special.ndtr(standard)
    cut = (torch.special.ndtr(standard * 0.8796) - 0.02275) / 0.9545  # the spread of one cut off at 2 s is 0.8796 s
    return min(distance(whole), distance(cut)) < _NORMAL


def _spreads(weight: torch.Tensor) -> list[float]:
    """Spreads of the usual initialisations: fixed ones, and those of Xavier and Kaiming."""
    spreads = list(_SPREADS)
    if weight.ndim > 1:
        reached = prod(weight.shape[2:])
        into, out = weight.shape[1] * reached, weight.shape[0] * reached
        spreads += [sqrt(2 / into), sqrt(1 / into), sqrt(2 / out), sqrt(1 / out), sqrt(2 / (into + out))]
    return [*spreads, *(0.8796 * spread for spread in spreads)]


def _is_orthogonal(matrix: torch.Tensor) -> bool:
    """Whether the rows, or the columns, are orthogonal and of one length.  matrix: "row column"."""
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    gram = matrix @ matrix.T
    length = gram.diagonal().mean()
    apart = gram - length * torch.eye(len(gram), dtype=gram.dtype)
    return float(apart.abs().max()) <= _ORTHOGONAL * float(length)
