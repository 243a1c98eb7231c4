"""Tables of tensors in the arguments of a call: a TensorDict becomes the dictionary that it is, in the spec's order.

A TensorDict has a shape as a tensor has, and no truth value; graphs, examples and calibration take dictionaries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chiralize.body.tensors import ConversionSpec


def is_tensordict(value: Any) -> bool:
    """Whether it is a table of tensors that share a batch, which is no tensor and no plain dictionary."""
    return hasattr(value, "batch_size") and hasattr(value, "keys") and not isinstance(value, (Tensor, dict))


def has_tensordict(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether one of the arguments of a call is one."""
    return any(map(is_tensordict, (*args, *kwargs.values())))


def as_dictionary(value: Any, spec: ConversionSpec) -> Any:
    """A TensorDict as a dictionary; anything else as it is.

    Where all inputs of the specification have names, and the table has all of these, those alone in their order.
    """
    if not is_tensordict(value):
        return value
    table: dict[str, Any] = {}
    for name in value.keys():
        table[name] = as_dictionary(value[name], spec)
    # None stands for an input without a name, which is no key of a table: then all entries stay, as the table has them.
    wanted = [entry.name for entry in spec.inputs or ()]
    if wanted and all(name in table for name in wanted):
        return {str(name): table[str(name)] for name in wanted}
    return table


def as_dictionaries(
    args: Sequence[Any], kwargs: Mapping[str, Any], spec: ConversionSpec
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with dictionaries in the place of TensorDicts."""
    return tuple(as_dictionary(value, spec) for value in args), {
        name: as_dictionary(value, spec) for name, value in kwargs.items()
    }


def batches_of_table(data: Any, args: Sequence[Any], spec: ConversionSpec) -> Any:
    """Samples of a network that takes one table, as a list of one batch; anything else as it is.

    data: a table with the entries of the example, or the samples of its only entry.  args: of the example.
    """
    if len(args) != 1 or not isinstance(args[0], dict):
        return data
    table = as_dictionary(data, spec)
    if isinstance(table, dict) and set(args[0]) <= set(table):
        return [({name: torch.as_tensor(table[name]) for name in args[0]},)]
    if isinstance(data, (Tensor, np.ndarray)) and len(args[0]) == 1:
        return [({name: torch.as_tensor(data) for name in args[0]},)]
    return data
