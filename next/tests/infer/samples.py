"""Calls that show every op at work that has a rule, for the oracle: tensors to draw, numbers and lists.

    try_("sum.dim_IntList", sample(normal(3, 4), [1]))         x of "3 4", summed over its second axis
    try_("linear", weighted((3, 4), (4, 4), (4,)))             x, and a weight and a bias that are weights

Of ops that have their rule by `torch.Tag.pointwise` the calls are made from their schema (`generated`).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchgen

from chiralize.graph.model import overload
from chiralize.infer.rule import is_entrywise, overloads, registry
from chiralize.infer.spelling import SPELLED
from tests.support.rule_values import Drawn, Sample, Shape, draw

SAMPLES: dict[str, list[Sample]] = {}
"""Calls by op."""


def normal(*shape: int) -> Drawn:
    """Numbers of either sign."""
    return Drawn(shape)


def positive(*shape: int) -> Drawn:
    """Numbers well above zero."""
    return Drawn(shape, "positive")


def whole(*shape: int) -> Drawn:
    """Small whole numbers of either sign."""
    return Drawn(shape, "whole")


def truth(*shape: int) -> Drawn:
    """True or False."""
    return Drawn(shape, "truth")


def zeros(*shape: int) -> Drawn:
    """Nothing but zeros, known to be so."""
    return Drawn(shape, "zero")


def sample(*args: Any, weights: Collection[int] = (), read: Collection[int] | None = None, **options: Any) -> Sample:
    """The arguments of one call, as the op takes them. weights: positions of weights.  read: the outputs in use."""
    return Sample(args, options, frozenset(weights), None if read is None else frozenset(read))


def weighted(*shapes: Shape, args: tuple[object, ...] = ()) -> Sample:
    """Random tensors, all but the first being weights, and other arguments behind them."""
    return sample(*map(Drawn, shapes), *args, weights=range(1, len(shapes)))


def data(*shapes: Shape, args: tuple[object, ...] = ()) -> Sample:
    """Random tensors, none of them a weight, and other arguments behind them."""
    return sample(*map(Drawn, shapes), *args)


def try_(ops: str, *samples: Sample) -> None:
    """These ops are tried on these calls."""
    for target in overloads(ops):
        SAMPLES.setdefault(target, []).extend(samples)


x, y, z = normal(3, 4), positive(3, 4), Drawn((3, 4), "complex")
square, plane, solid = normal(2, 3, 4), normal(1, 2, 3, 4), normal(1, 2, 4, 2)

# ---- entry by entry -----------------------------------------------------------------------------------------------
two = [sample(x, y), sample(x, positive(4)), sample(x, positive(3, 1))]
number = [sample(x, 0.5)]
sums = [sample(x, y, y), sample(x, positive(4), y, value=0.5), sample(normal(4), y, y)]
try_(
    "negative absolute neg sin sinh tan tanh asinh atan erf sign sgn trunc round frac deg2rad rad2deg positive",
    sample(x),
)
try_("softshrink hardshrink abs cos cosh square sinc i0 isnan isinf isfinite", sample(x))
try_("asin atanh erfinv", sample(Drawn((3, 4), "small")))
try_("round.decimals", sample(x, decimals=1))
try_("conj_physical _conj_physical real imag _conj conj resolve_conj resolve_neg _neg_view view_as_real", sample(z))
try_("reciprocal", sample(y), sample(zeros(3, 4)))
try_("add.Tensor sub.Tensor subtract.Tensor", *two, *number)
try_("rsub.Tensor ldexp.Tensor hypot floor_divide atan2 fmod.Tensor", *two)
try_("add.Scalar sub.Scalar rsub.Scalar mul.Scalar div.Scalar fmod.Scalar", *number)
try_("mul.Tensor multiply.Tensor div.Tensor divide.Tensor true_divide.Tensor", *two, *number)
try_("clip.Tensor", sample(x, x, y))
try_("div.Tensor", sample(x, zeros(3, 4)))
try_("atan2", sample(zeros(3, 4), x))
try_("addcmul addcdiv", *sums)
try_("lerp.Scalar", sample(x, y, 0.3), sample(x, positive(4), 0.3))
try_("lerp.Tensor", sample(x, y, y), sample(x, y, positive(4)))
try_("copysign.Tensor", sample(x, normal(3, 4)), sample(y, normal(4)))
try_("copysign.Scalar", sample(x, -2.0))
try_("complex", sample(x, normal(3, 4)), sample(x, normal(4)))
try_("polar", sample(y, x), sample(y, normal(4)))
try_("eq.Tensor ne.Tensor", sample(whole(3, 4), whole(3, 4)), sample(whole(3, 4), whole(4)))
try_("eq.Scalar ne.Scalar", sample(whole(3, 4), 0), sample(whole(3, 4), 1))
try_("where.self", sample(truth(3, 4), x, y), sample(truth(3, 1), x, y), sample(truth(3, 4), normal(3, 1), normal()))
try_("where.Scalar", sample(truth(3, 4), 1.0, 2.0))
try_("where.ScalarSelf", sample(truth(3, 4), 1.0, y), sample(truth(3, 4), 0.0, y))
try_("where.ScalarOther", sample(truth(3, 4), x, 1.0), sample(truth(3, 4), x, 0.0))
try_("masked_fill.Scalar", sample(x, truth(3, 4), -5.0), sample(x, truth(4), 0.0))
try_("masked_fill.Tensor", sample(x, truth(3, 4), normal()))
try_("log_sigmoid hardswish special_ndtr rrelu", sample(x))
try_("__and__.Tensor __or__.Tensor", sample(truth(3, 4), truth(3, 4)), sample(truth(3, 4), truth(3, 1)))
try_("clamp clip", sample(x, min=-0.5, max=0.5), sample(x, min=0.0))
try_("hardtanh", sample(x), sample(x, 0.0, 1.0))
try_("pow.Tensor_Scalar", sample(x, 2), sample(x, 3), sample(y, 0.5), sample(y, -1))
try_("nan_to_num", sample(x), sample(x, nan=1.0, posinf=2.0))
try_("prelu", sample(normal(3, 4, 2), positive(4), weights={1}), sample(x, positive(1), weights={1}))
try_("_prelu_kernel", sample(x, positive(1, 4), weights={1}))
try_("dropout feature_dropout alpha_dropout feature_alpha_dropout", sample(x, 0.5, False))
try_("native_dropout", sample(x, 0.5, False, read={0}))

# ---- layouts and copies -------------------------------------------------------------------------------------------
try_("fill.Scalar full_like", sample(x, 2.0))
try_("fill.Tensor", sample(x, torch.tensor(2.0)))
try_("zeros_like ones_like clone contiguous detach alias lift_fresh_copy", sample(x))
try_("new_zeros new_ones", sample(x, [2, 4]))
try_("new_full", sample(x, [2, 4], 2.0))
try_("_to_copy to.dtype_layout", sample(x, dtype="float64"))
try_("to.dtype", sample(x, "float64"), sample(whole(3, 4), "bool"))
try_("to.device", sample(x, "cpu", "float64"))
try_("copy", sample(x, normal(3, 4)), sample(x, normal(4)), sample(truth(3, 4), whole(3, 4)))
try_("view_as_complex", sample(normal(3, 4, 2)))
try_("reshape", sample(x, [2, 6]), sample(x, [3, 4, 1]), sample(normal(12), [3, 4]), sample(normal(2, 6), [-1, 3]))
try_("view _unsafe_view", sample(x, [12]))
try_("flatten.using_ints", sample(square, 1))
try_("unflatten.int", sample(x, 1, [2, 2]))
try_("view_as reshape_as", sample(x, normal(2, 6)))
try_("ravel numpy_T t", sample(x))
try_("t", sample(normal(4)))
try_("mT", sample(square))
try_("transpose.int swapaxes swapdims movedim.int moveaxis.int", sample(square, 1, -1), sample(square, 0, 2))
try_("movedim.intlist moveaxis.intlist", sample(square, [1, 2], [0, -2]))
try_("permute", sample(square, [2, 0, 1]), sample(square, [-1, 0, -2]))
try_("squeeze.dim", sample(normal(3, 1, 4), 1), sample(normal(3, 1, 4), 0))
try_("squeeze.dims", sample(normal(3, 1, 4), [1]))
try_("squeeze", sample(normal(3, 1, 4)))
try_("unsqueeze", sample(x, 1), sample(x, -1))
try_("expand", sample(normal(1, 4), [3, 4]), sample(normal(4), [2, -1]))
try_("expand_as", sample(normal(1, 4), normal(3, 4)))
try_("broadcast_to", sample(normal(1, 4), [3, 4]))
try_("repeat", sample(x, [2, 1]), sample(x, [1, 2]), sample(normal(4), [2, 1]))
try_("tile", sample(x, [2]))
try_("flip", sample(x, [1]), sample(x, [0, -1]))
try_("roll", sample(x, [1], [1]), sample(x, [-1, 2], [0, -1]))

# ---- parts --------------------------------------------------------------------------------------------------------
try_("slice.Tensor", sample(x, 1, 0, 2), sample(x, 1, 1, 3), sample(x, 1, 0, 4, 2), sample(x, 1, -1))
try_("slice.Tensor", sample(x, -1, None, -1), sample(x, 0, 1, 9223372036854775807))
try_("narrow", sample(x, 1, 1, 2), sample(x, -1, -2, 2))
try_("select.int", sample(x, 1, 0), sample(x, 1, -1), sample(x, 0, 1))
try_("split.Tensor unsafe_split.Tensor chunk unsafe_chunk", sample(x, 2, 1), sample(x, 2, -1))
try_("split_with_sizes split.sizes", sample(x, [1, 3], 1))
try_("unbind.int", sample(x, 1), sample(x, -2))
try_("index.Tensor", sample(x, [None, [3, 1, 2, 0]]), sample(x, [None, [0, 1]]))
try_("index.Tensor", sample(x, [None, [0, 0, 1, 1, 3, 2]]), sample(x, [[-1, 0]]))
try_("index.Tensor", sample(x, [None, [True, False, True, True]]))
try_("index.Tensor", sample(normal(4, 4), [[0, 1, 2, 1], [1, 0, 2, 3]]))
try_("index.Tensor", sample(normal(4, 3), [[[0], [3]], [[2, 0, 1]]]))
try_("index.Tensor", sample(normal(2, 4, 3), [None, [[0, 1], [2, 3]]]))
try_("index.Tensor", sample(normal(4, 3, 2), [[1, 2], None, [0, 1]]))
try_("index_select", sample(x, 1, [2, 3, 1]), sample(x, 1, [1, 2]))
rows = [[0, 2, 2, 1]] * 3
try_("gather", sample(x, 1, [[3, 1], [3, 1], [3, 1]]), sample(x, 1, rows))
try_("embedding", sample(normal(4, 3), [0, 1, 2, 3], weights={0}), sample(normal(4, 3), [2, 1], weights={0}))
try_("embedding", sample(normal(4, 2), [[0, 1, 2], [1, 0, 3]], weights={0}))
try_("embedding", sample(normal(4, 3), [[0, 1, 2, 3], [0, 1, 2, 3]], weights={0}))
try_("one_hot", sample(Drawn((3, 4), "label"), 3))
try_("diagonal diagonal_copy", sample(normal(2, 4, 4), 0, 1, 2), sample(square, 1, -2, -1), sample(normal(4, 4)))

# ---- joined, written ----------------------------------------------------------------------------------------------
try_("cat", sample([x, normal(3, 2)], 1), sample([x, x], -1), sample([x, normal(2, 4)], 0))
try_("stack", sample([x, x], 1), sample([x, x], -1))
try_("constant_pad_nd", sample(x, [1, 2]), sample(x, [1, 0], 2.0), sample(x, [-1, 1]), sample(x, [-1, -1]))
try_("pad", sample(x, [1, 2]), sample(x, [1, 2], "replicate"), sample(x, [1, 2], "reflect"))
try_("pad", sample(square, [1, 1], "circular"), sample(x, [0, 0, 1, 1], "constant", 1.0))
try_("reflection_pad1d replication_pad1d", sample(x, [1, 2]), sample(x, [2, 2]), sample(square, [1, 1]))
try_("reflection_pad2d replication_pad2d", sample(plane, [1, 1, 0, 0]), sample(plane, [0, 1, 1, 1]))
try_("reflection_pad3d replication_pad3d", sample(normal(1, 2, 3, 4, 2), [0, 0, 1, 1, 1, 0]))
try_("slice_scatter", sample(x, normal(3, 2), 1, 1, 3), sample(x, zeros(3, 2), -1, 2))
try_("slice_scatter", sample(x, normal(3, 2), 1, 0, 4, 2), sample(x, x, 1))
try_("select_scatter", sample(x, normal(3), 1, 2), sample(x, zeros(3), 1, -1))
try_("index_put", sample(x, [None, [1, 2]], normal(3, 2)), sample(x, [None, [3, 0]], normal(1)))
try_("index_put", sample(normal(4, 4), [[0, 1, 2, 1], [1, 0, 2, 3]], normal(4)))
try_("_unsafe_index_put", sample(x, [None, [1, 2]], normal(3, 2)))
try_("index_add", sample(x, 1, [2, 1, 2, 3], normal(3, 4)))
try_("scatter_add", sample(x, 1, rows, normal(3, 4)))
try_("scatter_reduce.two", sample(x, 1, rows, normal(3, 4), "amax"), sample(x, 1, rows, y, "mean"))

# ---- contractions -------------------------------------------------------------------------------------------------
try_("linear", weighted((3, 4), (4, 4), (4,)), weighted((3, 4), (4, 4)), weighted((4, 3), (2, 3)))
try_("linear", weighted((4,), (3, 4), (3,)), sample(x, normal(3, 4), zeros(3), weights={1, 2}))
try_("linear", sample(x, zeros(3, 4)), weighted((3, 1), (4, 1), (4,)), weighted((3, 4), (1, 4), (1,)))
try_("mm", weighted((4, 4), (4, 3)), weighted((3, 4), (4, 4)), sample(zeros(3, 4), normal(4, 4)))
try_("addmm", sample(normal(4), x, normal(4, 4), weights={0, 2}), sample(normal(4), normal(4, 3), x, weights={0, 2}))
try_("addmm", sample(zeros(4), x, normal(4, 4), weights={0, 2}), sample(x, x, normal(4, 4), weights={0, 2}))
try_("matmul", data((3, 4), (4, 4)), data((2, 3, 4), (2, 4, 4)), weighted((2, 3, 4), (4, 4)), data((4,), (4, 3)))
try_("matmul", data((3, 4), (4,)), data((2, 1, 4, 3), (3, 3, 2)))
try_("linalg_matmul", weighted((3, 4), (4, 4)))
try_("bmm", data((2, 3, 4), (2, 4, 4)))
try_("dot vdot", data((4,), (4,)))
try_("mv", data((3, 4), (4,)))
try_("baddbmm", data((2, 3, 4), (2, 3, 4), (2, 4, 4)), data((1, 3, 4), (2, 3, 4), (2, 4, 4)))


def product_of(equation: str, *shapes: Shape) -> Sample:
    """An equation and tensors of these shapes."""
    return sample(equation, [Drawn(shape) for shape in shapes])


try_("einsum", product_of("nkctv,kvw->nctw", (1, 2, 3, 1, 4), (2, 4, 4)))
try_("einsum", product_of("n c v, v w -> n c w", (2, 2, 4), (4, 4)))
try_("einsum", product_of("...td,...sd->...ts", (2, 4, 3), (2, 2, 3)), product_of("nvc->ncv", (2, 4, 3)))
try_("einsum", product_of("ij,jk", (3, 4), (4, 2)), product_of("ii->i", (4, 4)), product_of("bii->b", (2, 4, 4)))
try_("einsum", product_of("ab,bc,cd->ad", (2, 4), (4, 3), (3, 3)))
try_("einsum", product_of("bv,bv,bv->b", (2, 4), (2, 4), (1, 4)), product_of("bv,bv->bv", (3, 4), (3, 4)))
try_("einsum", product_of("...i->...", (3, 4)), product_of("i,j->ij", (3,), (4,)))
try_("einsum", product_of("bi,ij,bj,j->b", (2, 4), (4, 3), (2, 3), (3,)))
attention = "scaled_dot_product_attention"
try_(attention, data((2, 3, 4), (2, 4, 4), (2, 4, 3)), data((4, 2), (3, 2), (3, 4)))
try_(attention, data((1, 4, 2, 3), (1, 4, 3, 3), (1, 4, 3, 2)))
try_(attention, data((1, 2, 3, 2), (1, 2, 4, 2), (1, 2, 4, 2), args=(normal(3, 4),)))
try_(attention, sample(normal(2, 3, 2), normal(2, 4, 2), normal(2, 4, 2), truth(2, 1, 4), scale=0.3))
try_(attention, sample(normal(2, 4, 3), normal(2, 4, 3), normal(2, 4, 2), None, is_causal=True))
try_(attention, sample(normal(1, 4, 2, 3), normal(1, 2, 3, 3), normal(1, 2, 3, 2), None, enable_gqa=True))

# ---- windows ------------------------------------------------------------------------------------------------------
try_("conv1d", weighted((2, 4, 5), (4, 4, 3), (4,)), weighted((2, 4, 5), (3, 4, 2)))
try_("conv1d", weighted((2, 4, 5), (4, 2, 3), (4,), args=([1], [0], [1], 2)))
try_("conv1d", weighted((2, 4, 5), (4, 1, 3), (4,), args=([2], [1], [2], 4)), weighted((2, 3, 4), (3, 3, 2), (3,)))
try_("conv1d", weighted((3, 4), (2, 3, 1), (2,)), weighted((2, 3, 4), (2, 3, 4)))
try_("conv1d", weighted((2, 3, 4), (2, 3, 1), (2,), args=([2],)))
try_("conv1d", sample(square, normal(2, 3, 1), zeros(2), weights={1, 2}), sample(square, zeros(2, 3, 1)))
try_("conv1d", weighted((2, 3, 4), (2, 3, 3), (2,), args=([1], [1])))
try_("conv1d", weighted((1, 2, 4), (2, 2, 3), args=(None, [2], [1])))
try_("conv2d", weighted((2, 3, 3, 4), (2, 3, 1, 1), (2,)))
try_("conv2d", weighted((1, 2, 3, 4), (2, 2, 2, 1), args=(None, [1, 1], [1, 0])))
try_("conv2d", weighted((1, 2, 3, 4), (2, 2, 1, 4), (2,)), weighted((1, 2, 4, 3), (2, 2, 4, 3)))
try_("conv2d", weighted((1, 2, 3, 4), (4, 1, 3, 1), args=(None, [2, 1], [1, 0], [1, 1], 2)))
try_("conv2d", weighted((1, 2, 3, 4), (2, 2, 1, 3), (2,), args=([1, 1], [0, 1])))
try_("conv3d", weighted((1, 2, 3, 4, 2), (2, 2, 2, 1, 1), (2,)))
try_("conv_transpose1d", weighted((2, 4, 5), (4, 4, 3), (4,)), weighted((2, 4, 5), (4, 3, 3)))
try_("conv_transpose1d", weighted((2, 3, 4), (3, 2, 1), (2,)))
try_("conv_transpose1d", weighted((2, 4, 3), (4, 2, 2), (4,), args=([2], [0], [0], 2)))
try_("conv_transpose1d", weighted((2, 3, 1), (3, 2, 4), (2,)))
try_("conv_transpose1d", weighted((1, 2, 4), (2, 2, 3), (2,), args=([2], [1])))
try_("conv_transpose1d", weighted((1, 2, 4), (2, 2, 3), args=(None, [2], [1], [1])))
try_("conv_transpose2d.input", weighted((1, 2, 3, 4), (2, 2, 2, 1), (2,), args=([2, 1], [0, 0], [1, 0])))
try_("conv_transpose2d.input", weighted((1, 2, 2, 1), (2, 2, 1, 4)))
try_("conv_transpose3d.input", weighted((1, 2, 3, 4, 1), (2, 2, 2, 1, 2), (2,)))


def traced(*shapes: Shape, transposed: bool = False, groups: int = 1, flags: tuple[bool, ...] = ()) -> Sample:
    """Arguments of a convolution in the form that compiled and traced code calls."""
    count = len(shapes[0]) - 2
    bias = () if len(shapes) > 2 else (None,)
    options = ([1] * count, [0] * count, [1] * count, transposed, [0] * count, groups)
    return weighted(*shapes, args=(*bias, *options, *flags))


flags = (False, False, True, True)
try_("convolution", traced((2, 4, 5), (4, 4, 3), (4,)), traced((2, 4, 5), (4, 4, 3), transposed=True))
try_("convolution", traced((2, 4, 5), (4, 2, 3), (4,), groups=2), traced((1, 2, 3, 4), (2, 2, 2, 1), (2,)))
try_("_convolution", traced((2, 4, 5), (4, 4, 3), (4,), flags=flags))
try_("unfold", sample(normal(2, 4, 6), -1, 2, 1), sample(square, 1, 2, 1), sample(x, 1, 1, 1))
try_("unfold", sample(x, 1, 4, 1), sample(x, 1, 2, 2), sample(x, 1, 3, 2))
long, padded = normal(2, 4, 6), sample(square, [3], [1], [1])
pairs, columns = sample(square, [1, 2]), sample(square, [3, 1])
try_("avg_pool1d", sample(long, [2]), sample(square, [2]), padded, sample(square, [4]), sample(square, [1]))
try_("avg_pool2d", pairs, columns, sample(square, [3, 4]), sample(square, [2, 3], [1], [1]))
try_("avg_pool3d", sample(solid, [1, 2, 1]), sample(solid, [2, 4, 2]))
try_("max_pool1d", sample(long, [2]), padded, sample(square, [1], [3]))
try_("max_pool2d", pairs, columns, sample(square, [2, 2], [1, 1], [1, 1], [1, 2]))
try_("max_pool3d", sample(solid, [1, 2, 1]), sample(solid, [1, 3, 2], [1], [0, 1, 0]))
try_("adaptive_avg_pool1d", sample(long, [2]), sample(long, [1]), sample(square, [3]))
try_("adaptive_avg_pool2d", sample(square, [1, 4]), sample(square, [3, 2]))
try_("adaptive_avg_pool3d _adaptive_avg_pool3d", sample(solid, [1, 4, 2]))
try_("_adaptive_avg_pool2d", sample(square, [1, 4]))
try_("adaptive_max_pool1d", sample(long, [2]), sample(square, [2], read={0}))
try_("adaptive_max_pool2d", sample(square, [3, 1], read={0}))
try_("adaptive_max_pool3d", sample(solid, [2, 1, 2], read={0}))
try_("max_pool1d_with_indices", sample(square, [2]), sample(square, [2], read={0}))
try_("max_pool2d_with_indices", sample(square, [1, 2], read={0}), columns)
try_("max_pool3d_with_indices", sample(solid, [1, 2, 1], read={0}))
smooth = [sample(plane, [5, 4], False, None), sample(plane, [3, 7], False, None)]
grown = sample(normal(1, 1, 2, 4, 2), [4, 4, 2], None)
try_("upsample_linear1d.vec", sample(long, [9], False, None), sample(square, [4], True, None))
try_("upsample_linear1d.vec", sample(square, [7], True, None), sample(square, None, False, [1.3]))
try_("upsample_bilinear2d.vec upsample_bicubic2d.vec _upsample_bilinear2d_aa.vec _upsample_bicubic2d_aa.vec", *smooth)
try_("upsample_trilinear3d.vec", sample(normal(1, 1, 2, 4, 2), [4, 4, 2], False, None))
try_("upsample_nearest1d.vec", sample(long, None, [2.0]), sample(square, [8], None), sample(square, [3], None))
try_("upsample_nearest2d.vec", sample(plane, [6, 4], None), sample(plane, [3, 8], None))
try_("upsample_nearest3d.vec", grown)

# ---- norms --------------------------------------------------------------------------------------------------------
channels = normal(2, 4, 3)


def batch(*shape: int, trained: tuple[bool, ...] = ()) -> Sample:
    """Input, weight, bias, mean and variance of a batch norm."""
    vectors = [normal(shape[1]) for _ in range(3)]
    rest = (*trained, 0.1, 1e-5, *trained)
    return sample(normal(*shape), *vectors, positive(shape[1]), *rest, weights={1, 2, 3, 4})


def instance(tensor: Drawn, *vectors: Drawn) -> Sample:
    """Factors and offsets in `vectors`, and stored statistics, which are used where they are given."""
    rest = (None,) * (4 - len(vectors))
    weights = {1, 2, 3, 4} if vectors else ()
    return sample(tensor, *vectors, *rest, len(vectors) < 4, 0.1, 1e-5, False, weights=weights)


try_("_native_batch_norm_legit_no_training", batch(3, 4), batch(3, 4, 2))
try_("batch_norm", batch(3, 4, trained=(False,)), batch(3, 4, 2, trained=(False,)))
norms = "layer_norm native_layer_norm"
try_(norms, sample(x, [4], normal(4), normal(4), 1e-5, weights={2, 3}))
try_(norms, sample(square, [3, 4], x, x, 1e-5, weights={2, 3}))
try_(norms, sample(square, [4], normal(4), zeros(4), 1e-5, weights={2, 3}), sample(normal(4, 3), [3], None, None, 1e-5))
try_("rms_norm", sample(x, [4], normal(4), weights={2}))
try_("instance_norm", instance(channels, normal(4), normal(4)), instance(channels))
try_("instance_norm", instance(normal(4, 2, 3), normal(2), zeros(2)))
try_("instance_norm", instance(channels, normal(4), normal(4), normal(4), positive(4)))
try_("group_norm", sample(channels, 2, normal(4), normal(4), weights={2, 3}))
try_("group_norm", sample(channels, 1, normal(4), normal(4), weights={2, 3}))
try_("group_norm", sample(channels, 2, normal(4), zeros(4), weights={2, 3}), sample(normal(4, 2, 3), 2, None, None))
try_("native_group_norm", sample(channels, normal(4), normal(4), 2, 4, 3, 2, 1e-5, weights={1, 2}, read={0}))

# ---- along an axis ------------------------------------------------------------------------------------------------
dims = [sample(x, [1]), sample(square, [1, 2], True)]
bits = truth(3, 4)
try_("mean.dim sum.dim_IntList amax amin", *dims)
try_("mean sum max min prod median", sample(x))
try_("max.dim min.dim median.dim", sample(x, 1), sample(x, -2, True, read={0}))
try_("logsumexp", sample(x, [1]))
try_("prod.dim_int argsort softmax.int log_softmax.int _safe_softmax cumsum cumprod logcumsumexp", sample(x, 1))
try_("cumsum", sample(x, 0))
try_("cummax cummin", sample(x, 1), sample(x, 0, read={0}))
try_("_softmax _log_softmax", sample(x, -1, False))
try_("aminmax", sample(x, dim=1))
try_("any.dim", sample(bits, 1))
try_("all.dim", sample(bits, 0, True))
try_("any.dims all.dims", sample(bits, [1]))
try_("any all", sample(truth(4)))
try_("argmax argmin", sample(x, 1), sample(x))
try_("sort", sample(x, 1), sample(x, 1, read={0}))
try_("topk", sample(x, 2, 1, read={0}), sample(x, 4, 1, True, False, read={0}))
spreads = "correction std.correction var_mean.correction std_mean.correction"
try_(f"var.{spreads}", sample(x, [1]), sample(square, [1, 2], keepdim=True))
try_("var.dim std.dim var_mean.dim std_mean.dim", sample(x, [1]), sample(square, [1, 2], False, True))
try_("linalg_vector_norm", sample(x, 2, [1]), sample(square, 2, [-1], True), sample(x, 1, [0]), sample(x))
try_("norm.ScalarOpt_dim", sample(x, 2, [1]), sample(x, 1, [0], True))
try_("norm.Scalar", sample(x, 2))
try_("count_nonzero", sample(whole(3, 4), 1), sample(whole(3, 4)))
try_("count_nonzero.dim_IntList", sample(whole(2, 3, 4), [0, 2]))
try_("_fft_r2c", sample(normal(4, 3), [1], 0, True))
try_("_fft_c2c", sample(Drawn((4, 3), "complex"), [1], 0, True))
try_("_fft_c2r", sample(Drawn((4, 3), "complex"), [1], 0, 4))
try_("_weight_norm", sample(normal(4, 3), positive(4, 1), 0), sample(normal(4, 3), positive(1, 3), 1))
try_("_weight_norm", sample(normal(4, 3, 2), normal(4, 1, 1), 0))
try_("_weight_norm_interface", sample(normal(4, 3), positive(4, 1), 0, read={0}))

# ---- geometry -----------------------------------------------------------------------------------------------------
try_("linalg_cross cross", sample(normal(4, 3), normal(4, 3), dim=-1), sample(normal(3, 2), normal(3, 2), dim=0))
try_("linalg_cross cross", sample(normal(2, 4, 3), normal(1, 4, 3), dim=2))
try_("cross", sample(normal(3), normal(3)))
try_(
    "cdist", sample(x, normal(2, 4)), sample(normal(4, 3), normal(4, 3), 1.0), sample(normal(2, 3, 2), normal(2, 4, 2))
)
try_("_cdist_forward", sample(x, normal(2, 4), 2.0, None))

# ---- recurrent ----------------------------------------------------------------------------------------------------


def cell(gates: int, features: int = 3, biases: bool = True) -> tuple[Drawn, ...]:
    """Weights of 4 hidden units on some features, and biases: rows for one gate after the other."""
    weights = normal(gates * 4, features), normal(gates * 4, 4)
    return (*weights, normal(gates * 4), normal(gates * 4)) if biases else weights


def layers(
    gates: int, count: int = 1, ways: int = 1, biases: bool = True, fresh: bool = False, first: bool = True
) -> Sample:
    """Layers on 5 frames of 4 features. fresh: they start from zeros and only their sequence is read."""
    weights: list[Drawn] = []
    for number in range(count):
        for _ in range(ways):
            weights.extend(cell(gates, 4 if number == 0 else 4 * ways, biases))
    state = zeros(count * ways, 2, 4) if fresh else normal(count * ways, 2, 4)
    sequence = normal(2, 5, 4) if first else normal(5, 2, 4)
    hx = [state, state] if gates == 4 else state
    args = (sequence, hx, weights, biases, count, 0.0, False, ways == 2, first)
    return sample(*args, weights={2}, read={0} if fresh else None)


for name, gates in {"lstm.input": 4, "gru.input": 3, "rnn_tanh.input": 1, "rnn_relu.input": 1}.items():
    try_(name, layers(gates), layers(gates, 1, 2, biases=False), layers(gates, 2, 2, fresh=True))
    try_(name, layers(gates, first=False))
steps = {2, 3, 4, 5}
try_("lstm_cell", sample(normal(2, 3), [normal(2, 4), normal(2, 4)], *cell(4), weights=steps))
try_("gru_cell", sample(normal(2, 3), normal(2, 4), *cell(3), weights=steps))
try_("rnn_tanh_cell rnn_relu_cell", sample(normal(2, 3), normal(2, 4), *cell(1), weights=steps))


# ---- by torch's tag -----------------------------------------------------------------------------------------------
def entrywise() -> list[str]:
    """Every op of torch that has its rule by `torch.Tag.pointwise`, from the list of operators that torch ships."""
    functions = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    names = [
        line.split(":", 1)[1].split("(")[0].strip() for line in functions.read_text().splitlines() if "func:" in line
    ]
    targets = [overloads(name)[0] for name in names]
    return [name for name in targets if name not in registry() and name not in SPELLED and is_entrywise(name)]


KINDS = ("normal", "positive", "share", "large", "truth", "label")
"""What tensors may hold, in the order in which they are tried."""
NUMBERS = (0.5, 2)
"""What numbers may be: any, or a degree, an order, a shift."""


def generated(target: str) -> Sample | None:
    """A call of an op by its schema, on tensors of 3 x 4 and rows of 4; None where it gives no numbers on any kind.

    A call whose answers differ comes before one whose answers are all the same.
    """
    calls = [_call(target, kind, number) for kind in KINDS for number in NUMBERS]
    answers = [_answer(target, call) for call in calls]
    differing = [call for call, answer in zip(calls, answers, strict=True) if answer is not None and answer.std() > 0]
    others = [call for call, answer in zip(calls, answers, strict=True) if answer is not None]
    return next(iter([*differing, *others]), None)


def _call(target: str, kind: str, number: float) -> Sample:
    """Arguments by the schema: the first tensor has two axes, a mask holds truth values, whole numbers are 1."""
    named: dict[str, Any] = {}
    for argument in overload(target)._schema.arguments:
        name = str(argument.type)
        if name in ("Tensor", "Optional[Tensor]"):
            shape = (4,) if any(isinstance(value, Drawn) for value in named.values()) else (3, 4)
            named[argument.name] = Drawn(shape, "truth" if argument.name == "mask" else kind)
        elif name in ("number", "Optional[number]", "float", "int"):
            named[argument.name] = 1 if name == "int" else number
        else:
            named[argument.name] = argument.default_value
    return Sample((), named)


def _answer(target: str, call: Sample) -> torch.Tensor | None:
    """What an op gives on such tensors; None where it refuses them, or gives numbers that are not finite."""
    rng = np.random.default_rng(0)
    kinds = {"truth": torch.bool, "label": torch.int64}
    tensors: dict[str, Any] = dict(call.kwargs)
    for name, value in call.kwargs.items():
        if isinstance(value, Drawn):
            tensors[name] = torch.from_numpy(np.asarray(draw(value, 1, rng)[0])).to(kinds.get(value.kind))
    try:
        out = overload(target)(**tensors)
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    first = (out[0] if isinstance(out, tuple) else out).double()
    return first if bool(first.isfinite().all()) else None
