"""Which operations are linear in their data, and how they are run on offsets, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from chiralize.graph.execution import overload, with_values
from chiralize.graph.model import Node, Ref

# Linear in all their floating-point arguments together, with coefficients that are not negative.
PLAIN = frozenset(
    """view _unsafe_view reshape permute transpose t squeeze unsqueeze expand slice select index_select index gather cat
    stack split split_with_sizes chunk unbind flip roll repeat repeat_interleave clone contiguous alias detach
    lift_fresh_copy unflatten flatten movedim narrow unfold copy slice_scatter select_scatter constant_pad_nd pad
    reflection_pad1d replication_pad1d reflection_pad2d replication_pad2d sum mean cumsum tril triu diagonal where
    masked_fill avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d upsample_linear1d upsample_nearest1d
    upsample_bilinear2d upsample_nearest2d""".split()
)
IDENTITY = frozenset("_to_copy to dropout feature_dropout native_dropout".split())
# Only the shape of their argument determines the result.
BLIND = frozenset(
    "zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones new_full new_empty".split()
)
# Linear in each factor.
PRODUCTS = frozenset(
    """linear addmm mm matmul bmm mv dot baddbmm einsum conv1d conv2d conv3d convolution conv_transpose1d
    conv_transpose2d conv_transpose3d mul div""".split()
)
BIAS = {"addmm": "self", "baddbmm": "self"} | dict.fromkeys(
    "linear conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d".split(), "bias"
)
# Arguments that say where numbers go, not what they are.
PLACES = ("index", "indices", "condition", "mask", "repeats")
SUMS = frozenset("add sub rsub".split())
LAYERS = frozenset("lstm gru rnn_tanh rnn_relu".split())
CELLS = frozenset("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell".split())
NORMS = frozenset("batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm native_batch_norm".split())


def base(node: Node) -> str:
    """The name of a node's op without namespace and variant: `linear` of `aten.linear.default`."""
    return node.target.split(".")[1] if "." in node.target else node.target


def operands(node: Node) -> list[tuple[Any, float]]:
    """Both operands of a sum, each with the factor that it is added with."""
    alpha = float(node.arguments.get("alpha", 1))
    first, second = {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-alpha, 1.0)}[base(node)]
    return [(node.arguments["self"], first), (node.arguments["other"], second)]


def input_weights(node: Node) -> list[tuple[Any, Any]]:
    """(weight, bias) of a recurrent op's first layer, one pair per direction; the bias is None without one.

    Empty where the op's list of weights is missing or too short.
    """
    arguments = node.arguments
    if base(node) in CELLS:
        return [(arguments["w_ih"], arguments.get("b_ih"))]
    params, directions = arguments.get("params"), 1 + bool(arguments.get("bidirectional"))
    step = 4 if arguments.get("has_biases") else 2
    if not isinstance(params, (list, tuple)) or len(params) < step * directions:
        return []
    weights, biases = params[: step * directions : step], [None] * directions
    if step == 4:
        biases = params[2 : step * directions : step]
    return list(zip(weights, biases, strict=True))


def bias_of(node: Node) -> Any:
    """The argument that a product adds to it, None without one."""
    return node.arguments.get(BIAS.get(base(node), ""))


def without_bias(node: Node) -> dict[str, Any]:
    """The arguments to change so that a layer adds nothing; empty for matrix products, which need their addend."""
    return {"bias": None} if BIAS.get(base(node)) == "bias" else {}


def axes_without(ndim: int, shape: Sequence[int], axis: int | None) -> list[int]:
    """The axes of a value, of `ndim`, along which a tensor of that shape is the same when it is added to the value.

    axis: of the value, where the only axis of the tensor lies; None where both shapes end alike, as in a sum.
    """
    full = [1] * (ndim - len(shape)) + list(shape)
    if axis is not None:
        full = [1] * ndim
        full[axis] = shape[0]
    return [index for index, size in enumerate(full) if size == 1]


def mean_along(value: Tensor, axes: list[int]) -> Tensor:
    """The mean along some axes, which keep size 1. Without axes it is the value itself."""
    return value.mean(axes, keepdim=True) if axes else value


def run(
    node: Node, value_of: Callable[[str], Any], changed: Mapping[str, Any] | None = None, *, gradients: bool = False
) -> Any:
    """The result of an operation on other values, in float64 where it is floating-point.

    value_of: the value to take for a name.  changed: arguments that replace those of the node.
    """
    arguments = with_values({**node.arguments, **(changed or {})}, value_of)
    dtype = arguments.get("dtype")
    if isinstance(dtype, torch.dtype) and dtype.is_floating_point:
        arguments["dtype"] = torch.float64
    if base(node) in ("view", "_unsafe_view"):  # offsets may lie otherwise in memory than the values
        arguments["self"] = arguments["self"].contiguous()
    with torch.set_grad_enabled(gradients):
        return wide(overload(node.target)(**arguments))


def wide(value: Any) -> Any:
    """Floating-point tensors in float64."""
    if isinstance(value, (list, tuple)):
        return tuple(map(wide, value))
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.double()
    return value


def without_constants(node: Node) -> dict[str, Any]:
    """The arguments to change so that a number which an operation fills in is 0: filling in is not linear."""
    value = node.arguments.get("value")
    fills = base(node) in ("constant_pad_nd", "pad", "masked_fill") and value is not None
    return {"value": 0.0} if fills and not isinstance(value, Ref) else {}


def keeps_numbers(node: Node) -> bool:
    """Whether an operation of IDENTITY only copies: it neither rounds to whole numbers nor drops any."""
    dtype = node.arguments.get("dtype")
    if isinstance(dtype, torch.dtype) and not dtype.is_floating_point:
        return False
    return not (node.arguments.get("train") or node.arguments.get("training"))
