"""How an ONNX file was called: remembered in its metadata, or told from the sizes that it declares.

A file says less about its inputs than torch.export does: types and sizes, where those are not open.  So a converted
file remembers the call that it was exported with in its metadata, under the key `chirality.call`:

    {"shapes": [[2, 17, 2], [2]], "values": {"1": [0, 3]}, "states": {"input 1": [1, "..."]}}

Numbers of floating-point inputs are not stored, since any will do; those of indices are (`values`).

`onnx_export` writes the record (`call_text`), `formats/onnx.py` and `verification/onnx.py` read it (`recorded_call`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from chiralize.errors import ModelFileError
from chiralize.storage.onnx_network import CALL_KEY, OnnxNetwork, Port
from chiralize.symmetry.representation import Representation, TensorRepresentation

_MOST_VALUES = 100_000
"""Values of an input of whole numbers are written into the file up to this many."""
_MOST_ENTRIES = 2**28
"""Entries of an example input: a record of a few bytes could ask for any number."""


@dataclass(frozen=True)
class CallRecord:
    """How the network was called when it was exported. args: one tensor per input.  states: by `input 1`, ..."""

    args: tuple[torch.Tensor, ...]
    states: Mapping[str, TensorRepresentation]


def recorded_call(network: OnnxNetwork) -> CallRecord | None:
    """The call that a converted file remembers, else one from declared sizes; None where sizes are open.

    Raises ModelFileError where the record contradicts the file.
    """
    text = network.metadata.get(CALL_KEY)
    if text is None:
        return _declared(network)
    try:
        # The text comes from the file: everything in it may be of another type, or absurdly large.
        record = json.loads(text)
        shapes, values = record["shapes"], record["values"]
        if len(shapes) != len(network.inputs) or not all(map(_fits, shapes, network.inputs)):
            raise ValueError(f"it has the inputs {shapes}")
        args: list[torch.Tensor] = []
        for index, (port, shape) in enumerate(zip(network.inputs, shapes, strict=True)):
            args.append(_example(port.dtype, shape, values.get(str(index))))
        # A state is [sign, axis, axis, ...], each axis as `str(Representation)` writes it.
        states: dict[str, TensorRepresentation] = {}
        for name, (sign, *axes) in record["states"].items():
            states[str(name)] = TensorRepresentation(tuple(map(Representation.parse, axes)), int(sign))
        return CallRecord(tuple(args), states)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        facts = f"its metadata {CALL_KEY!r} cannot be read ({str(error)[:200]})"
        raise ModelFileError(network.where, facts, "convert the network again.") from error


def call_text(args: Sequence[torch.Tensor], states: Mapping[str, TensorRepresentation]) -> str:
    """The inverse of `recorded_call`: sizes of the inputs, values of those that are not random, known states."""
    values: dict[str, list[Any]] = {}
    for index, tensor in enumerate(args):
        if not tensor.is_floating_point() and tensor.numel() <= _MOST_VALUES:
            values[str(index)] = tensor.reshape(-1).tolist()
    known = {name: [action.sign, *map(str, action.axes)] for name, action in states.items()}
    return json.dumps({"shapes": [list(tensor.shape) for tensor in args], "values": values, "states": known})


def _fits(shape: Any, port: Port) -> bool:
    """Whether a recorded shape is one that the input takes, and no absurd one."""
    if not isinstance(shape, list) or len(shape) != len(port.sizes):
        return False
    for size, declared in zip(shape, port.sizes, strict=True):
        if type(size) is not int or not 0 < size <= _MOST_ENTRIES:
            return False
        if isinstance(declared, int) and declared != size:
            return False
    # With dtype object the product is Python's, which cannot overflow to a small number.
    return int(np.prod(shape, dtype=object)) <= _MOST_ENTRIES


def _declared(network: OnnxNetwork) -> CallRecord | None:
    """A call of a file that remembers none: sizes as declared, 2 for an open leading one; None for other open ones.

    An open leading size is a batch, of which any number will do; of other open sizes nothing tells a likely one.
    """
    args: list[torch.Tensor] = []
    for port in network.inputs:
        shape: list[Any] = list(port.sizes)
        if shape and isinstance(shape[0], str):
            shape[0] = 2
        if not _fits(shape, port):
            return None
        args.append(_example(port.dtype, shape, None))
    return CallRecord(tuple(args), {})


def _example(dtype: torch.dtype, shape: Sequence[int], values: Sequence[Any] | None) -> torch.Tensor:
    """Random numbers, the same each time; for whole numbers and truth values the given values, else 0 and True.

    Raises ValueError or RuntimeError where the values are none of this kind, or not as many as the shape has entries.
    """
    if values is not None:
        return torch.tensor(values, dtype=dtype).reshape(tuple(shape))
    if dtype.is_floating_point:
        return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0)).to(dtype)
    return torch.full(tuple(shape), int(dtype == torch.bool), dtype=dtype)


def as_declared(network: Any, args: Sequence[Any]) -> tuple[Any, ...]:
    """Example inputs in the kinds that the file declares, where sizes alone were given."""
    if not isinstance(network, OnnxNetwork) or len(args) != len(network.inputs):
        return tuple(args)
    return tuple(map(_in_declared_kind, args, network.inputs))


def _in_declared_kind(argument: Any, port: Port) -> Any:
    """A tensor in the number type of its input.  Random floats would be no indices: zeros stand in for them."""
    if not isinstance(argument, torch.Tensor) or argument.dtype == port.dtype:
        return argument
    if argument.is_floating_point() and not port.dtype.is_floating_point:
        return _example(port.dtype, argument.shape, None)
    return argument.to(port.dtype)
