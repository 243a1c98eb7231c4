"""Batches as a DataLoader with labels gives them: (input, target), of which a network wants the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from chiralize.graph.running import Call

_PAIR = 2


def is_labelled(item: Any, example: Call, names: Sequence[str] = ()) -> bool:
    """Whether a batch is a pair, of which the one argument of the network is the first.

    A network that takes another argument (a mask, a state) leaves open what the second is, so that such a pair stays
    what it is: all arguments of a call.  names: of the arguments that the network takes by position, given or not.
    """
    args, kwargs = example
    slots = (*args, *kwargs.values())
    if not isinstance(item, (tuple, list)) or len(item) != _PAIR or len(slots) != 1 or len(names) > 1:
        return False
    return isinstance(slots[0], torch.Tensor) and isinstance(item[0], (torch.Tensor, np.ndarray))


def remark(where: str) -> str:
    """The sentence for the report. where: the option or argument that brought the batches."""
    return f"{where}: its batches are pairs (input, target), of which the inputs were taken"
