"""Ops that our passes write into graphs, each where it takes the place of others."""

from __future__ import annotations

import torch

NEW_FULL = torch.ops.aten.new_full.default
