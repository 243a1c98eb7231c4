"""Index tables of an axis, as buffers that no way of moving or making a module can lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn


class Tables(nn.Module):
    """A module that holds no parameters, only tables that follow from its representation.

    They are no part of the state. They follow the module to its device, but never to `meta`, and they are filled again
    where `to_empty` leaves memory as it finds it: a network that is made without memory and then loaded has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def _table(self, name: str, array: npt.NDArray[Any] | None, device: Any = None) -> None:
        """Register a table as a buffer; None where it is not needed."""
        if array is not None:
            self._arrays[name] = array
        self.register_buffer(name, None if array is None else _placed(array, device), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """As of every module that is moved or cast; the tables are then filled again."""
        super()._apply(fn, recurse)
        # Filled again from the arrays, on the device and with the dtype that the move chose: `to_empty` has left
        # garbage.
        for name, array in self._arrays.items():
            moved = getattr(self, name)
            setattr(self, name, _placed(array, moved.device).to(moved.dtype))
        return self


def _placed(array: npt.NDArray[Any], device: Any) -> Tensor:
    """The table on a device; on the CPU where that is `meta`, which would lose it."""
    table = torch.from_numpy(np.array(array))
    if device is None or torch.device(device).type == "meta":
        return table
    return table.to(device)
