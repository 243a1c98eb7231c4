"""Layers that commute with the mirror whatever their parameters are, built from representations.

Every one holds an even and an odd block where the torch layer holds a dense weight: half the parameters and half the
multiplications between paired spaces. Equivariance is built in, so it stays exact under any optimizer.
"""

from chiralize.nn._invariant import InvariantParameter
from chiralize.nn._module import ChiralModule
from chiralize.nn._private import private_ops, set_private_ops
from chiralize.nn._state import dense_state, load_dense_state
from chiralize.nn.activation import Pointwise
from chiralize.nn.attention import MultiheadAttention
from chiralize.nn.butterfly import Butterfly, hidden
from chiralize.nn.conv import Conv1d, Conv2d
from chiralize.nn.linear import InvariantHead, Linear
from chiralize.nn.norm import BatchNorm1d, BatchNorm2d, LayerNorm
from chiralize.nn.official import official_weights
from chiralize.nn.paper import negated_share, paper_layout
from chiralize.nn.recurrent import GRU, LSTM
from chiralize.nn.reversed_conv import ConvTranspose2d, ReversedConv2d
from chiralize.nn.timings import forget_timings

__all__ = [
    "GRU",
    "LSTM",
    "BatchNorm1d",
    "BatchNorm2d",
    "Butterfly",
    "ChiralModule",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "InvariantHead",
    "InvariantParameter",
    "LayerNorm",
    "Linear",
    "MultiheadAttention",
    "Pointwise",
    "ReversedConv2d",
    "dense_state",
    "forget_timings",
    "hidden",
    "load_dense_state",
    "negated_share",
    "official_weights",
    "paper_layout",
    "private_ops",
    "set_private_ops",
]
