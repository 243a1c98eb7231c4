"""Layers that commute with the mirror whatever their parameters are, built from representations.

Every one holds an even and an odd block where the torch layer holds a dense weight: half the parameters and half the
multiplications between paired spaces. Equivariance is built in, so it stays exact under any optimizer.
"""

from chiralize.nn.attention import MultiheadAttention
from chiralize.nn.basis import Butterfly, hidden, negated_share, paper_layout
from chiralize.nn.conv import Conv1d, Conv2d
from chiralize.nn.invariant import InvariantParameter, Pointwise
from chiralize.nn.maps import InvariantHead, Linear
from chiralize.nn.module import ChiralModule, dense_state, load_dense_state
from chiralize.nn.norm import BatchNorm1d, BatchNorm2d, LayerNorm
from chiralize.nn.recurrent import GRU, LSTM
from chiralize.nn.reversed import ReversedConv2d

__all__ = [
    "GRU",
    "LSTM",
    "BatchNorm1d",
    "BatchNorm2d",
    "Butterfly",
    "ChiralModule",
    "Conv1d",
    "Conv2d",
    "InvariantHead",
    "InvariantParameter",
    "LayerNorm",
    "Linear",
    "MultiheadAttention",
    "Pointwise",
    "ReversedConv2d",
    "dense_state",
    "hidden",
    "load_dense_state",
    "negated_share",
    "paper_layout",
]
