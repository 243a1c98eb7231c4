"""What is a chiral layer to code that knows torch's layers? Dense weights in and out.

A layer holds blocks (`weight_even`, `weight_odd`), and stands for a layer of torch with a symmetric dense weight. Both
are one `state_dict` apart: it loads torch's keys, `dense` gives them back, and `folded` makes torch's layer. Of whole
networks `dense_state` and `load_dense_state` do the same:

    0.weight_even, 0.weight_odd, 0.bias_even, 1.weight        <->        0.weight, 0.bias, 1.weight
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from chiralize.errors import AsymmetricWeightError
from chiralize.symmetry.action import moved, project
from chiralize.symmetry.representation import TensorRepresentation

ROUNDING = 64
"""What a dense weight may be off, in eps of its norm: a change of basis there and back rounds about ten times."""


class ChiralModule(nn.Module):
    """A layer that commutes with T whatever its parameters are.

    It has the sizes of the torch layer under their names there (`hidden_size`, `in_features`, ...), for code that asks.
    `dense` gives the weights of the torch layer that computes the same, `folded` that layer; `load_state_dict` takes
    the torch layer's keys as well as its own, strictly.
    """

    not_weights: tuple[str, ...] = ()
    """Entries of the state that are the same in torch's layer."""
    is_parameter = False
    """Whether it stands for a parameter that torch's network has at this path, and not for a layer."""

    def hold(self, name: str, tensor: Tensor | None) -> None:
        """Register a parameter; as a buffer where it has no entries, since DDP would wait for its gradient."""
        if tensor is not None and not tensor.numel():
            self.register_buffer(name, tensor)
        else:
            self.register_parameter(name, None if tensor is None else nn.Parameter(tensor))

    def dense(self) -> dict[str, Tensor]:
        """The weights of the equivalent torch layer, by their names there."""
        raise NotImplementedError

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on each of those weights."""
        raise NotImplementedError

    def from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameters and buffers of this layer that stand for dense ones, of those that are given."""
        raise NotImplementedError

    def load_dense(self, values: Mapping[str, Tensor]) -> None:
        """Take over weights of the torch layer. Raises AsymmetricWeightError unless T leaves them alone."""
        with torch.no_grad():
            state = self.state_dict(keep_vars=True)
            for name, value in self.from_dense(_checked(values, self.dense_representations())).items():
                state[name].copy_(value)

    def folded(self) -> nn.Module:
        """The torch layer that computes the same, with weights that T leaves alone."""
        raise NotImplementedError

    def folded_into(self, layer: Any) -> Any:
        """A torch layer with the dense weights, in this layer's mode."""
        layer.load_state_dict(self.dense())
        return layer.train(self.training)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        """As of every module, from its blocks or from torch's keys. Raises AsymmetricWeightError for the latter."""
        reps = self.dense_representations()
        # Dense keys become blocks before torch compares keys, so that `strict` means the same as for torch's layer.
        theirs = {name: state_dict.pop(prefix + name) for name in reps if prefix + name in state_dict}
        if theirs:
            state_dict.update(prefixed(prefix, self.from_dense(_checked(theirs, reps, prefix))))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, every name with something before it."""
    return {prefix + name: value for name, value in values.items()}


def dense_weight(name: str) -> Any:
    """A property: the dense weight of that name in the torch layer, for code that reads it; None where it has none."""
    return property(lambda layer: layer.dense().get(name))


def _checked(
    values: Mapping[str, Tensor], representations: Mapping[str, TensorRepresentation], prefix: str = ""
) -> Mapping[str, Tensor]:
    """The values. Raises AsymmetricWeightError where one is not left alone by T, beyond rounding."""
    for name, value in values.items():
        if not value.is_floating_point() or value.is_meta:
            continue
        apart = moved(value, project(value, representations[name]))
        if apart > ROUNDING * torch.finfo(value.dtype).eps:
            facts = f"the mirror moves this weight {tuple(value.shape)}: |W - P(W)| / |W| = {apart:.3g}"
            raise AsymmetricWeightError(prefix + name, facts, "convert the network first, or project the weight")
    return values


# ---- whole networks ---------------------------------------------------------------------------------------------
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
                state[path if path and layer.is_parameter else prefix + name] = value
        for name, value in layer.state_dict().items():
            if name in layer.not_weights:
                state[prefix + name] = value
    return state


def load_dense_state(network: nn.Module, state: Mapping[str, Tensor], **settings: Any) -> None:
    """Load the state of the same network with torch's layers, strictly: the way back from `dense_state`.

    settings: of `load_state_dict` (`assign`).  Raises AsymmetricWeightError for a weight that T does not leave alone,
    and RuntimeError with the names of those that are missing, unexpected or of another size.
    """
    names = {path: f"{path}.weight" for path, layer in _layers(network) if layer.is_parameter}
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
