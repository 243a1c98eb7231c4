"""The state of a whole network of chiral layers as that of the same network of torch layers, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from chiralize.nn._invariant import InvariantParameter
from chiralize.nn._module import ChiralModule


def dense_state(network: nn.Module) -> dict[str, Tensor]:
    """The `state_dict()` of the same network with torch's layers, for `folded.load_state_dict(dense_state(network))`.

    Weights are dense under torch's names, everything else is as it is. An `InvariantParameter` at `path` is the
    parameter `path`, as torch writes one (`weight` if it is the network itself). Tensors are detached; those that are
    the same in both networks share their memory with `network`, as in a `state_dict`.

    >>> from chiralize.nn import Linear, hidden
    >>> network = nn.Sequential(Linear(hidden(4), hidden(6)), nn.ReLU(), nn.Linear(6, 2))
    >>> {name: tuple(value.shape) for name, value in dense_state(network).items()}
    {'2.weight': (2, 6), '2.bias': (2,), '0.weight': (6, 4), '0.bias': (6,)}
    """
    layers = dict(_layers(network))
    inside = tuple(map(_prefix, layers))
    state = {name: value for name, value in network.state_dict().items() if not name.startswith(inside)}
    for path, layer in layers.items():
        prefix = _prefix(path)
        with torch.no_grad():
            for name, value in layer.dense().items():
                state[path if path and isinstance(layer, InvariantParameter) else prefix + name] = value
        for name, value in layer.state_dict().items():
            if name in layer.not_weights:
                state[prefix + name] = value
    return state


def load_dense_state(network: nn.Module, state: Mapping[str, Tensor], **settings: Any) -> None:
    """Load the state of the same network with torch's layers, strictly: the way back from `dense_state`.

    settings: of `load_state_dict` (`assign`).  Raises AsymmetricWeightError for a weight that T does not leave alone,
    and RuntimeError with the names of those that are missing, unexpected or of another size.
    """
    names = {path: f"{path}.weight" for path, layer in _layers(network) if isinstance(layer, InvariantParameter)}
    network.load_state_dict({names.get(name, name): value for name, value in state.items()}, strict=True, **settings)


def _layers(network: nn.Module) -> Iterator[tuple[str, ChiralModule]]:
    """(path, layer) of every chiral layer under all of its paths, those inside of another one left out.

    The maps within a recurrent layer are no layers of their own: its dense weights are under other names.
    """
    within: list[str] = []
    for path, layer in network.named_modules(remove_duplicate=False):
        if isinstance(layer, ChiralModule) and not any(path.startswith(other) for other in within):
            within.append(_prefix(path))
            yield path, layer


def _prefix(path: str) -> str:
    """The beginning of the names of all weights of the module at a path."""
    return f"{path}." if path else ""
