"""The base of all chiral layers: dense weights in and out.

A layer holds blocks (`weight_even`, `weight_odd`), and stands for a layer of torch with a symmetric dense weight.
Both are one `state_dict` apart: it loads torch's keys, `dense` gives them back, and `folded` makes torch's layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from chiralize.errors import AsymmetricWeightError
from chiralize.symmetry import reynolds
from chiralize.symmetry.representation import TensorRepresentation

ROUNDING = 64  # eps of the largest entry: what a dense weight may be off, by rounding and a change of basis


class ChiralModule(nn.Module):
    """A layer that commutes with T whatever its parameters are.

    It has the sizes of the torch layer under their names there (`hidden_size`, `in_features`, ...), for code that asks.
    `dense` gives the weights of the torch layer that computes the same, `folded` that layer; `load_state_dict` takes
    the torch layer's keys as well as its own, strictly.
    """

    not_weights: tuple[str, ...] = ()  # entries of the state that are the same in torch's layer

    def _hold(self, name: str, tensor: Tensor | None) -> None:
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

    def load_dense(self, values: Mapping[str, Tensor]) -> None:
        """Take over weights of the torch layer. Raises AsymmetricWeightError unless T leaves them alone."""
        with torch.no_grad():
            state = self.state_dict(keep_vars=True)
            for name, value in self._from_dense(checked(values, self.dense_representations())).items():
                state[name].copy_(value)

    def folded(self) -> nn.Module:
        """The torch layer that computes the same, with weights that T leaves alone."""
        raise NotImplementedError

    def _folded_into(self, layer: Any) -> Any:
        """A torch layer with the dense weights, in this layer's mode."""
        layer.load_state_dict(self.dense())
        return layer.train(self.training)

    def _from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Own parameters and buffers that stand for some of the dense ones."""
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        """As of every module, from its own keys or from those of torch's layer. Raises AsymmetricWeightError for the
        latter.
        """
        reps = self.dense_representations()
        # Dense keys become blocks before torch compares keys, so that `strict` means the same as for torch's layer.
        theirs = {name: state_dict.pop(prefix + name) for name in reps if prefix + name in state_dict}
        if theirs:
            ours = self._from_dense(checked(theirs, reps, prefix))
            state_dict.update(prefixed(prefix, ours))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, every name with something before it."""
    return {prefix + name: value for name, value in values.items()}


def dense_weight(name: str) -> Any:
    """A property: the dense weight of that name in the torch layer, for code that reads it; None where it has none."""
    return property(lambda layer: layer.dense().get(name))


def checked(
    values: Mapping[str, Tensor], representations: Mapping[str, TensorRepresentation], prefix: str = ""
) -> Mapping[str, Tensor]:
    """The values. Raises AsymmetricWeightError where one is not left alone by T, beyond rounding."""
    for name, value in values.items():
        if not value.is_floating_point() or value.is_meta:
            continue
        apart = reynolds.moved(value, reynolds.project(value, representations[name]))
        if apart > ROUNDING * torch.finfo(value.dtype).eps:
            facts = f"the mirror moves this weight {tuple(value.shape)}: |W - P(W)| / |W| = {apart:.3g}"
            raise AsymmetricWeightError(prefix + name, facts, "convert the network first, or project the weight")
    return values
