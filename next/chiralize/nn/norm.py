"""Normalisation: of batches (any signs), and over a whole axis (no signs).

A norm commutes with T if its numbers are left alone by T. So scales and variances are one number for both channels of a
pair, shifts and means as well, with the pair's sign; a channel that T negates has the mean 0. Batch statistics become
such numbers when the batch is taken together with its mirror image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.errors import NegatedChannelsError, UsageError
from chiralize.nn.basis import Butterfly
from chiralize.nn.invariant import InvariantSpace
from chiralize.nn.module import ChiralModule, dense_weight
from chiralize.symmetry.representation import Representation, TensorRepresentation


class _BatchNorm(ChiralModule):
    """Batch normalisation with the statistics of the batch and its mirror image together, {x, T x}.

        mean = (m + T m) / 2        var = (v + |T| v) / 2 + (m - T m)^2 / 4        (m, v: of the channels of x)

    The running variance is unbiased as torch's, n / (n - 1) with n = 2 * batch * frames. weight_even and
    running_var_even: one number for each pair and fixed channel; bias_even and running_mean_even: none for channels
    that T negates. Pairs in halves, without signs and fixed channels, are by a view single channels of a batch twice as
    long.
    """

    layer: Any
    axes: tuple[int, ...]
    weight_even: Tensor | None
    bias_even: Tensor | None
    running_mean_even: Tensor | None
    running_var_even: Tensor | None
    num_batches_tracked: Tensor | None
    not_weights = ("num_batches_tracked",)
    weight, bias = dense_weight("weight"), dense_weight("bias")
    running_mean, running_var = dense_weight("running_mean"), dense_weight("running_var")

    def __init__(
        self,
        representation: Representation,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.representation, self.eps, self.momentum = representation, eps, momentum
        self.num_features = representation.size
        device = factory.get("device")
        # What T leaves alone of numbers with the channels' signs (means), and of numbers without (scales).
        self.signed = InvariantSpace.of_axis(representation, device)
        self.unsigned = InvariantSpace.of_axis(abs(representation), device)
        self.in_halves = Butterfly(representation).in_halves
        even, pairs = self.signed.size, self.unsigned.size
        self.hold("weight_even", torch.ones(pairs, **factory) if affine else None)
        self.hold("bias_even", torch.zeros(even, **factory) if affine else None)
        starts = {"running_mean_even": torch.zeros(even, **factory), "running_var_even": torch.ones(pairs, **factory)}
        for name, start in {**starts, "num_batches_tracked": torch.tensor(0, device=device)}.items():
            self.register_buffer(name, start if track_running_stats else None)

    def forward(self, x: Tensor) -> Tensor:
        """x in units of the statistics of the batch, or of the running ones. Raises UsageError for other shapes."""
        if x.ndim not in self.axes or x.shape[1] != self.num_features:
            facts = f"input {tuple(x.shape)}, channels {self.num_features} on axis 1"
            raise UsageError(type(self).__name__, facts, f"give a tensor of {' or '.join(map(str, self.axes))} axes")
        tracked = self.running_mean_even is not None
        momentum = self._counted() if self.training and tracked else 0.0
        # As torch: without running statistics those of the batch count in eval mode, too.
        batch = self.training or not tracked
        if self.in_halves:
            # "b (side pair) ..." to "(b side) pair ...": both channels of a pair are samples of one channel, so torch's
            # statistics are those of the batch and its mirror image.
            twice = x.reshape(2 * x.shape[0], x.shape[1] // 2, *x.shape[2:])
            mean, var = self.running_mean_even, self.running_var_even
            y = F.batch_norm(twice, mean, var, self.weight_even, self.bias_even, batch, momentum, self.eps)
            return y.reshape(x.shape)
        if batch:
            return self._normalized(x, momentum if self.training and tracked else None)
        full = self.dense()
        mean, var = full["running_mean"], full["running_var"]
        return F.batch_norm(x, mean, var, full.get("weight"), full.get("bias"), False, 0.0, self.eps)

    def _counted(self) -> float:
        """The share of this batch in the running statistics."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum

    def _normalized(self, x: Tensor, momentum: float | None) -> Tensor:
        """Normalise by the statistics of {x, T x}; where a momentum is given, take them over.

        x: "batch channel ...". Statistics are computed in float32 at least, the answer has the dtype of x.
        """
        others = [axis for axis in range(x.ndim) if axis != 1]
        # As torch does: sums over a batch lose too much in half precision.
        exact = x.to(torch.float32) if x.dtype in (torch.float16, torch.bfloat16) else x
        var, mean = torch.var_mean(exact, others, correction=0)
        # Two groups of equal size with means m and T m: the spread within, plus the square of half the distance.
        image, spread = self.signed.image(mean), (var + self.unsigned.image(var)) / 2
        mean, var = (mean + image) / 2, spread + (mean - image).square() / 4
        if momentum is not None:
            self._take_over(mean, var, 2 * x.numel() // x.shape[1], momentum)
        scale = torch.rsqrt(var + self.eps)
        if self.weight_even is not None:
            scale = scale * self.unsigned.full(self.weight_even)
        shift = -mean * scale
        if self.bias_even is not None:
            shift = shift + self.signed.full(self.bias_even)
        shape = [1, -1, *([1] * (x.ndim - 2))]
        return (exact * scale.view(shape) + shift.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _take_over(self, mean: Tensor, var: Tensor, count: int, momentum: float) -> None:
        """Statistics of one batch into the running ones. count: of numbers per channel, the mirror image included."""
        assert self.running_mean_even is not None and self.running_var_even is not None
        unbiased = self.unsigned.coordinates(var) * (count / (count - 1))
        self.running_mean_even.lerp_(self.signed.coordinates(mean).to(self.running_mean_even), momentum)
        self.running_var_even.lerp_(unbiased.to(self.running_var_even), momentum)

    # ---- dense weights ------------------------------------------------------------------------------------------
    def _spaces(self) -> dict[str, InvariantSpace]:
        """The space of weight, bias and statistics, those that there are, by torch's names."""
        spaces = {"weight": self.unsigned, "bias": self.signed}
        spaces |= {"running_mean": self.signed, "running_var": self.unsigned}
        return {name: space for name, space in spaces.items() if getattr(self, f"{name}_even") is not None}

    def dense(self) -> dict[str, Tensor]:
        """Weight, bias and statistics of torch's layer, those that there are."""
        return {name: space.full(getattr(self, f"{name}_even")) for name, space in self._spaces().items()}

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on each of them."""
        return {name: space.representation for name, space in self._spaces().items()}

    def from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One number per pair and fixed channel, of torch's numbers per channel."""
        spaces = self._spaces()
        return {f"{name}_even": spaces[name].coordinates(value) for name, value in values.items()}

    def folded(self) -> Any:
        """torch's layer with the dense weights and statistics."""
        settings = {"eps": self.eps, "momentum": self.momentum, "affine": self.weight_even is not None}
        layer = self.layer(self.num_features, track_running_stats=self.running_mean_even is not None, **settings)
        state = self.dense()
        if state:
            layer = layer.to(next(iter(state.values())))
        # torch keeps the count of batches among the statistics; it is no weight, and is handed on.
        if self.num_batches_tracked is not None:
            state["num_batches_tracked"] = self.num_batches_tracked
        layer.load_state_dict(state)
        return layer.train(self.training)

    def extra_repr(self) -> str:
        """How T acts on the channels, and the settings."""
        return f"{self.representation.summary()}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm1d(_BatchNorm):
    """Batch normalisation over samples and frames; statistics are those of the batch and its mirror image together.

    x: "batch channel" or "batch channel frame", channels under the representation.
    """

    layer = nn.BatchNorm1d
    axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation over samples, frames and joints; statistics as those of `BatchNorm1d`.

    x: "batch channel frame joint", channels under the representation.
    """

    layer = nn.BatchNorm2d
    axes = (4,)


class LayerNorm(ChiralModule):
    """Normalisation over the last axis, with a scale and a shift that T leaves alone.

    Raises NegatedChannelsError for a representation with signs: T changes the mean of entries that it negates.
    """

    weight_even: Tensor
    bias_even: Tensor | None
    weight, bias = dense_weight("weight"), dense_weight("bias")

    def __init__(self, representation: Representation, eps: float = 1e-5, bias: bool = True, **factory: Any) -> None:
        super().__init__()
        if not representation.is_sign_free:
            negated = int((representation.action.sign < 0).sum())
            facts = f"LayerNorm over {representation.size} entries, {negated} of them negated by the mirror"
            raise NegatedChannelsError("chiralize.nn", facts, "use a representation without signs, or BatchNorm")
        self.representation, self.eps = representation, eps
        self.normalized_shape = (representation.size,)
        self.space = InvariantSpace.of_axis(representation, factory.get("device"))
        self.hold("weight_even", torch.ones(self.space.size, **factory))
        self.hold("bias_even", torch.zeros(self.space.size, **factory) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """x normalised over its last axis."""
        full = self.dense()
        return F.layer_norm(x, self.normalized_shape, full["weight"], full.get("bias"), self.eps)

    def dense(self) -> dict[str, Tensor]:
        """Scale and shift of every entry; no shift where the layer has none."""
        weights = {"weight": self.space.full(self.weight_even)}
        return weights if self.bias_even is None else {**weights, "bias": self.space.full(self.bias_even)}

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on each of them."""
        names = ("weight",) if self.bias_even is None else ("weight", "bias")
        return dict.fromkeys(names, self.space.representation)

    def from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One number per orbit, of torch's numbers per entry."""
        return {f"{name}_even": self.space.coordinates(value) for name, value in values.items()}

    def folded(self) -> nn.LayerNorm:
        """torch's layer with the dense weights."""
        layer = nn.LayerNorm(self.representation.size, self.eps, bias=self.bias_even is not None).to(self.weight_even)
        return self.folded_into(layer)

    def extra_repr(self) -> str:
        """How T acts on the axis, and eps."""
        return f"{self.representation.summary()}, eps={self.eps}"
