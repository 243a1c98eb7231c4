"""Ops that our passes write into graphs, each where it takes the place of others."""

from __future__ import annotations

import torch

ADD = torch.ops.aten.add.Tensor
CAT = torch.ops.aten.cat.default
CONVOLUTIONS = {
    1: torch.ops.aten.conv1d.default,
    2: torch.ops.aten.conv2d.default,
    3: torch.ops.aten.conv3d.default,
}
"""By the number of axes that a window slides along."""
INDEX_SELECT = torch.ops.aten.index_select.default
MUL = torch.ops.aten.mul.Tensor
COPY = torch.ops.aten.copy.default
NEW_FULL = torch.ops.aten.new_full.default
STACK = torch.ops.aten.stack.default
TANH = torch.ops.aten.tanh.default
UNSQUEEZE = torch.ops.aten.unsqueeze.default
