"""Normalisation: of batches (any signs), and over a whole axis (no signs).

A norm commutes with T if its numbers are left alone by T. So scales and variances are one number for both channels
of a pair, shifts and means as well, with the pair's sign; a channel that T negates has the mean 0. Batch statistics
become such numbers when the batch is taken together with its mirror image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.errors import NegatedChannelsError, UsageError
from chiralize.nn._eager import is_eager
from chiralize.nn._invariant import along
from chiralize.nn._module import ChiralModule, dense_weight
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
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.representation, self.eps, self.momentum = representation, eps, momentum
        self.num_features = representation.size
        self.signed, self.unsigned = along(representation, device), along(abs(representation), device)
        action, half = representation.action, representation.size // 2
        # Entry i is the partner of entry i + n / 2, for all i: pairs in halves, no fixed channels, no signs.
        self.halves = action.is_sign_free and bool((action.partner == np.roll(np.arange(action.size), half)).all())
        self.halves = self.halves and 2 * half == action.size > 0
        # signed: what T leaves alone of numbers with the channels' signs (means).  unsigned: of numbers without
        # (scales).
        even, pairs, factory = self.signed.size, self.unsigned.size, {"device": device, "dtype": dtype}
        self._hold("weight_even", torch.ones(pairs, **factory) if affine else None)
        self._hold("bias_even", torch.zeros(even, **factory) if affine else None)
        starts = {"running_mean_even": torch.zeros(even, **factory), "running_var_even": torch.ones(pairs, **factory)}
        for name, start in {**starts, "num_batches_tracked": torch.tensor(0, device=device)}.items():
            self.register_buffer(name, start if track_running_stats else None)

    def forward(self, x: Tensor) -> Tensor:
        """x in units of the statistics of the batch, or of the running ones. Raises UsageError for other shapes."""
        if x.ndim not in self.axes or x.shape[1] != self.representation.size:
            facts = f"input {tuple(x.shape)}, channels {self.representation.size} on axis 1"
            raise UsageError(type(self).__name__, facts, f"give a tensor of {' or '.join(map(str, self.axes))} axes")
        tracked = self.running_mean_even is not None
        momentum = self._counted() if self.training and tracked else 0.0
        # As torch: without running statistics those of the batch count in eval mode, too.
        batch = self.training or not tracked
        var = self.running_var_even
        if not batch and var is not None and not x.is_contiguous() and is_eager(x) and x.dtype == var.dtype:
            return self._affine(x)
        if self.halves:
            # "b (side pair) ..." to "(b side) pair ...": both channels of a pair are samples of one channel, so torch's
            # own statistics are those of the batch and its mirror image.
            twice = x.reshape(2 * x.shape[0], x.shape[1] // 2, *x.shape[2:])
            mean, var = self.running_mean_even, self.running_var_even
            y = F.batch_norm(twice, mean, var, self.weight_even, self.bias_even, batch, momentum, self.eps)
            return y.reshape(x.shape)
        if not batch:
            full = self.dense()
            mean, var = full["running_mean"], full["running_var"]
            return F.batch_norm(x, mean, var, full.get("weight"), full.get("bias"), False, 0.0, self.eps)
        return self._normalized(x, momentum if self.training and tracked else None)

    def _affine(self, x: Tensor) -> Tensor:
        """Normalise by the running statistics and keep the order of x in memory, which torch's own op would change."""
        # "b side pair ...": the numbers of pairs broadcast over both sides.
        if self.halves:
            numbers, y = self._numbers(), x.unflatten(1, (2, -1))
        else:
            numbers, y = self.dense(), x
        # y = x * scale + (bias - mean * scale), broadcast along the axes behind the channels.
        scale, shape = torch.rsqrt(numbers["running_var"] + self.eps), [-1, *([1] * (x.ndim - 2))]
        if "weight" in numbers:
            scale = scale * numbers["weight"]
        shift = numbers.get("bias", torch.zeros_like(scale)) - numbers["running_mean"] * scale
        y = torch.addcmul(shift.view(shape), y, scale.view(shape))
        return y.flatten(1, 2) if self.halves else y

    def _counted(self) -> float:
        """The share of this batch in the running statistics."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        if self.momentum is None:
            return 1.0 / float(self.num_batches_tracked)
        return self.momentum

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
        if momentum is not None and self.running_mean_even is not None and self.running_var_even is not None:
            # Numbers per channel in the batch and its mirror image together.
            count = 2 * x.numel() // x.shape[1]
            with torch.no_grad():
                unbiased = self.unsigned.coordinates(var) * (count / (count - 1))
                self.running_mean_even.lerp_(self.signed.coordinates(mean).to(self.running_mean_even), momentum)
                self.running_var_even.lerp_(unbiased.to(self.running_var_even), momentum)
        scale = torch.rsqrt(var + self.eps)
        if self.weight_even is not None:
            scale = scale * self.unsigned.full(self.weight_even)
        shift = -mean * scale
        if self.bias_even is not None:
            shift = shift + self.signed.full(self.bias_even)
        shape = [1, -1, *([1] * (x.ndim - 2))]
        return (exact * scale.view(shape) + shift.view(shape)).to(x.dtype)

    # ---- dense weights ------------------------------------------------------------------------------------------
    def dense(self) -> dict[str, Tensor]:
        """Weight, bias and statistics of torch's layer, those that there are."""
        spaces = {"weight": self.unsigned, "running_var": self.unsigned}
        return {name: spaces.get(name, self.signed).full(value) for name, value in self._numbers().items()}

    def _numbers(self) -> dict[str, Tensor]:
        """Weight, bias and statistics that there are, by torch's names: one number for both channels of a pair."""
        numbers = {name: getattr(self, f"{name}_even") for name in ("weight", "bias", "running_mean", "running_var")}
        return {name: value for name, value in numbers.items() if value is not None}

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on each of them."""
        signed, unsigned = self.signed.representation, self.unsigned.representation
        reps = {"weight": unsigned, "bias": signed, "running_mean": signed, "running_var": unsigned}
        return {name: rep for name, rep in reps.items() if getattr(self, f"{name}_even") is not None}

    def _from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One number per pair and fixed channel, of torch's numbers per channel."""
        spaces = {"weight": self.unsigned, "running_var": self.unsigned}
        return {f"{name}_even": spaces.get(name, self.signed).coordinates(value) for name, value in values.items()}

    def folded(self) -> Any:
        """torch's layer with the dense weights and statistics."""
        # torch keeps the count of batches among the statistics; it is no weight, and is handed on.
        settings = {"eps": self.eps, "momentum": self.momentum, "affine": self.weight_even is not None}
        layer = self.layer(self.representation.size, track_running_stats=self.running_mean_even is not None, **settings)
        dense = self.dense()
        if self.num_batches_tracked is not None:
            dense["num_batches_tracked"] = self.num_batches_tracked
        if dense:
            layer = layer.to(next(iter(dense.values())))
        layer.load_state_dict(dense)
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

    weight, bias = dense_weight("weight"), dense_weight("bias")

    def __init__(
        self,
        representation: Representation,
        eps: float = 1e-5,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if not representation.is_sign_free:
            negated = int((representation.action.sign < 0).sum())
            facts = f"LayerNorm over {representation.size} entries, {negated} of them negated by the mirror"
            raise NegatedChannelsError("chiralize.nn", facts, "use a representation without signs, or BatchNorm")
        self.representation, self.eps = representation, eps
        self.normalized_shape = (representation.size,)
        self.space = along(representation, device)
        self.weight_even = nn.Parameter(torch.ones(self.space.size, device=device, dtype=dtype))
        self.bias_even = nn.Parameter(torch.zeros_like(self.weight_even)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x normalised over its last axis."""
        full = self.dense()
        return F.layer_norm(x, (self.representation.size,), full["weight"], full.get("bias"), self.eps)

    def dense(self) -> dict[str, Tensor]:
        """Scale and shift of every entry; no shift where the layer has none."""
        weights = {"weight": self.space.full(self.weight_even)}
        if self.bias_even is None:
            return weights
        return {**weights, "bias": self.space.full(self.bias_even)}

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on each of them."""
        names = ("weight",) if self.bias_even is None else ("weight", "bias")
        return dict.fromkeys(names, self.space.representation)

    def _from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One number per orbit, of torch's numbers per entry."""
        return {f"{name}_even": self.space.coordinates(value) for name, value in values.items()}

    def folded(self) -> nn.LayerNorm:
        """torch's layer with the dense weights."""
        layer = nn.LayerNorm(self.representation.size, self.eps, bias=self.bias_even is not None).to(self.weight_even)
        return self._folded_into(layer)

    def extra_repr(self) -> str:
        """How T acts on the axis, and eps."""
        return f"{self.representation.summary()}, eps={self.eps}"
