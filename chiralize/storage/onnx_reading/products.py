"""Operators that multiply by weights, and those that take means over axes.

Each function takes a node and the values of its inputs, None where one is left out, and calls the torch function with
the same meaning.  What torch's function cannot be set to is refused (`call.require`), and never approximated.
`module.run` looks them up in OPERATORS; with them are the normalisations, which take means over axes too.

Most of the work is in where the two libraries write the same thing differently:

    weights of Gemm     (in, out) unless transB        torch: (out, in)
    pads of two axes    [top, left, bottom, right]     torch: [top, left], the same at both ends of an axis
    axes of a mean      an attribute, later an input   torch: an argument
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from chiralize.storage.onnx_reading.call import NodeCall, Operator
from chiralize.storage.onnx_reading.sizes import as_tensor

# Functions of torch by the number of axes behind batch and channels.
_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN_POOLS: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _gemm(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """alpha A B + beta C; weights "out in" are as torch's linear has them.

    A: (batch, in).  B: (in, out), or (out, in) with transB.  C: (out,), or anything that broadcasts to (batch, out).
    """
    x, weight, bias = values[0], values[1], values[2] if len(values) > 2 else None
    if call.get("transA", 0):
        x = x.transpose(0, 1)
    if not call.get("transB", 0):
        weight = weight.transpose(0, 1)  # (in, out) to (out, in)
    # The usual case is a layer of torch.  With factors, or a C that is no row, the parts are written out.
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    if alpha == beta == 1.0 and (bias is None or bias.ndim == 1):
        return F.linear(x, weight, bias)
    product = F.linear(x, weight)
    if alpha != 1.0:
        product = alpha * product
    if bias is None:
        return product
    return product + (bias if beta == 1.0 else beta * bias)


def _linear(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """A product with a stored matrix, which was turned to torch's "out in", and maybe a bias: no operator of ONNX."""
    return F.linear(*values)


def _padding(call: NodeCall, x: Tensor, fill: float = 0.0) -> tuple[Tensor, list[int]]:
    """The input, padded where the two ends differ, and what is left to pad at both ends.

    torch's layers pad both ends of an axis alike.  pads [2, 1] of one axis: x is padded by hand, [0] is left.
    fill: what stands in the padding made by hand.  Raises CaptureError where the pads depend on sizes (SAME_UPPER).
    """
    count = x.ndim - 2  # axes behind batch and channels
    starts, ends = _pads(call, count)
    # torch: beginning and end of the last axis, of the one before it, ... [1, 2, 3, 4] of two axes is 1 and 3 around
    # the first, 2 and 4 around the last; F.pad wants [2, 4, 1, 3].
    if starts == ends:
        return x, starts
    flat: list[int] = []
    for axis in reversed(range(count)):
        flat += [starts[axis], ends[axis]]
    return F.pad(x, flat, value=fill), [0] * count


def _pads(call: NodeCall, count: int) -> tuple[list[int], list[int]]:
    """What is padded, or cut off, at the beginnings of the axes and at their ends, in the order of ONNX.

    Raises CaptureError where it depends on sizes.
    """
    auto = call.get("auto_pad", "NOTSET")
    call.require(auto in ("NOTSET", "VALID"), f"auto_pad {auto!r} depends on sizes")
    widths = list(call.get("pads") or [0] * 2 * count)
    return widths[:count], widths[count:]


def _conv(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """x "batch channel ...", weight "out (in / group) kernel...": the same axes in both libraries."""
    x, padding = _padding(call, values[0])
    count = x.ndim - 2
    call.require(count in _CONVOLUTIONS, f"{count} axes")
    ones = [1] * count
    bias = values[2] if len(values) > 2 else None
    strides, dilations, group = call.get("strides", ones), call.get("dilations", ones), call.get("group", 1)
    return _CONVOLUTIONS[count](x, values[1], bias, strides, padding, dilations, group)


def _conv_transpose(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """The transpose of a convolution.  Its pads are cut off the result, so that x cannot be padded in their place.

    x: (batch, in, ...).  weight: (in, out / group, kernel...), in both libraries.  Raises CaptureError where sizes of
    the output are given.
    """
    x = values[0]
    count = x.ndim - 2
    call.require(count in _TRANSPOSED and call.get("output_shape") is None, "its sizes are given otherwise")
    starts, ends = _pads(call, count)
    # torch cuts as much off both ends of an axis; what one end has to lose beyond that is cut off the result.
    padding = [min(pair) for pair in zip(starts, ends, strict=True)]
    ones = [1] * count
    bias = values[2] if len(values) > 2 else None
    more = call.get("output_padding", [0] * count)
    strides, dilations, group = call.get("strides", ones), call.get("dilations", ones), call.get("group", 1)
    result = _TRANSPOSED[count](x, values[1], bias, strides, padding, more, group, dilations)
    for axis, (start, end, both) in enumerate(zip(starts, ends, padding, strict=True)):
        if start != end:
            result = result.narrow(axis + 2, start - both, result.shape[axis + 2] - (start - both) - (end - both))
    return result


def _pool(pools: dict[int, Callable[..., Tensor]], is_mean: bool) -> Operator:
    """Pooling by these functions of torch, by the number of axes.

    is_mean: they are those of means, which have a switch for the padding and no dilation.
    """

    def apply(call: NodeCall, values: Sequence[Any]) -> Tensor:
        """Windows along all axes behind the channels."""
        # A maximum must not see what is padded: with zeros, a window of negative numbers would answer 0.
        x, padding = _padding(call, values[0], 0.0 if is_mean else float("-inf"))
        count = x.ndim - 2
        ones = [1] * count
        rounds_up = bool(call.get("ceil_mode", 0))
        # A stride that is left out is 1 in ONNX; torch would take the size of the window.
        kernel, strides = call.get("kernel_shape"), call.get("strides", ones)
        call.require(count in pools and call.outputs == 1, "it is used in another way than torch does")
        if is_mean:
            # Zeros that were padded by hand would count in every mean: torch takes them for entries of x. A window over
            # an entry of 1 and a padded zero has the mean 1 where padding does not count, else 0.5.
            call.require(call.get("dilations", ones) == ones and x is values[0], "it is dilated, or its ends differ")
            counts_padding = bool(call.get("count_include_pad", 0))
            return pools[count](x, kernel, strides, padding, rounds_up, counts_padding)
        return pools[count](x, kernel, strides, padding, call.get("dilations", ones), rounds_up)

    return apply


def _reduction(function: Callable[..., Tensor]) -> Operator:
    """A reduction over axes by a function of torch, which takes (x, dims, keepdim)."""

    def apply(call: NodeCall, values: Sequence[Any]) -> Tensor:
        """Over the axes that are given, over all if none are; unless the node says that none means no reduction."""
        x = as_tensor(values[0])
        # Axes became an input in set 13 for sums, in set 18 for all others.
        axes = call.numbers("axes", values, 1, 13 if call.kind == "ReduceSum" else 18)
        if not axes and call.get("noop_with_empty_axes", 0):
            return x
        dims = axes or list(range(x.ndim))
        return function(x, dims, keepdim=bool(call.get("keepdims", 1)))

    return apply


def _global_mean(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """(batch, channel, ...) to (batch, channel, 1, ...): the mean over all axes behind the channels."""
    (x,) = values
    return x.mean(list(range(2, x.ndim)), keepdim=True)


# ---- normalisations -------------------------------------------------------------------------------------------------
def _batch_norm(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """With running statistics, as in use.  Raises CaptureError where statistics are taken of the batch."""
    # Before set 14 no attribute says so: a node in training mode has more results than one.
    call.require(not call.get("training_mode", 0) and call.outputs == 1, "it is in training mode")
    x, weight, bias, mean, variance = values
    return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, call.get("epsilon", 1e-5))


def _layer_norm(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """Over all axes from one on; torch wants weights of exactly these axes.

    x (b, 17, 32) with axis -1 has weights (32,), with axis 1 weights (17, 32).
    """
    call.require(call.outputs == 1, "its mean is read as well")
    x, weight, bias = values[0], values[1], values[2] if len(values) > 2 else None
    axis = call.get("axis", -1) % x.ndim
    call.require(tuple(weight.shape) == tuple(x.shape[axis:]), "its weights are broadcast")
    return F.layer_norm(x, tuple(weight.shape), weight, bias, call.get("epsilon", 1e-5))


def _rms_norm(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """As a layer norm without mean and bias: x / sqrt(mean of x^2 + epsilon), times the weight."""
    x, weight = values
    axis = call.get("axis", -1) % x.ndim
    call.require(tuple(weight.shape) == tuple(x.shape[axis:]), "its weights are broadcast")
    return F.rms_norm(x, tuple(weight.shape), weight, call.get("epsilon", 1e-5))


def _instance_norm(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """Each channel of each sample by its own mean and variance; ONNX has no running ones, hence None and None."""
    x, weight, bias = values
    return F.instance_norm(x, None, None, weight, bias, True, 0.0, call.get("epsilon", 1e-5))


def _group_norm(call: NodeCall, values: Sequence[Any]) -> Tensor:
    """Over groups of channels, with a weight per channel."""
    x, weight, bias = values
    call.require(call.opset >= 21, "before operator set 21 its weights are per group")
    return F.group_norm(x, call.get("num_groups"), weight, bias, call.get("epsilon", 1e-5))


OPERATORS: dict[str, Operator] = {
    "Gemm": _gemm,
    "MatMul": lambda call, values: torch.matmul(*values),
    "Linear": _linear,
    "Einsum": lambda call, values: torch.einsum(call.get("equation"), *values),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool(_MAX_POOLS, is_mean=False),
    "AveragePool": _pool(_MEAN_POOLS, is_mean=True),
    "GlobalAveragePool": _global_mean,
    "ReduceMean": _reduction(torch.mean),
    "ReduceSum": _reduction(torch.sum),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMin": _reduction(torch.amin),
    "ReduceL2": _reduction(lambda x, dims, keepdim: torch.linalg.vector_norm(x, 2, dims, keepdim)),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _rms_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
}
