"""Which operations are linear in their data, and how they are run on offsets, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from chiralize.graph.execution import overload
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
# Their results depend on the shape of their argument alone.
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
# Arguments that say where, not what.
PLACES = ("index", "indices", "condition", "mask", "repeats")
SUMS = frozenset("add sub rsub".split())
LAYERS = frozenset("lstm gru rnn_tanh rnn_relu".split())
CELLS = frozenset("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell".split())
NORMS = frozenset("batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm native_batch_norm".split())


def base(node: Node) -> str:
    """`linear` of `aten.linear.default`."""
    return node.target.split(".")[1] if "." in node.target else node.target


def signs(node: Node) -> tuple[float, float]:
    """The factors of both operands of a sum."""
    alpha = float(node.arguments.get("alpha", 1))
    return {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-alpha, 1.0)}[base(node)]


def run(
    node: Node, pick: Callable[[str], Any], changed: Mapping[str, Any] | None = None, *, gradients: bool = False
) -> Any:
    """The operation on other values; floating-point results are in float64."""

    def plain(value: Any) -> Any:
        if isinstance(value, Ref):
            return pick(value.name)
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    arguments = {name: plain(value) for name, value in {**node.arguments, **(changed or {})}.items()}
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
        return tuple(wide(item) for item in value)
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def without_constants(node: Node) -> dict[str, Any]:
    """The numbers that an operation fills in count as 0: they are no part of what is linear."""
    if base(node) in ("constant_pad_nd", "pad", "masked_fill") and node.arguments.get("value") is not None:
        value = node.arguments["value"]
        return {"value": 0.0} if not isinstance(value, Ref) else {}
    return {}


def keeps_numbers(node: Node) -> bool:
    """Whether an operation of IDENTITY does nothing but copy."""
    dtype = node.arguments.get("dtype")
    if isinstance(dtype, torch.dtype) and not dtype.is_floating_point:
        return False
    return not (node.arguments.get("train") or node.arguments.get("training"))
