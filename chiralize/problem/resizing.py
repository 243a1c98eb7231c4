"""A call of a network with another number of samples than its example, the states that callers pass included.

The layout of a tensor says which of its axes counts samples. A state has no layout, and a free tensor may be a table
that is as long as the batch by chance. Of these the network is run, and shows how it takes them.

Example: x "b 17 2" with 4 samples, a state h of 2 x 4 x 64 and a free table of 4 x 8, at 64 samples. The samples of h
lie along axis 1, its only one of size 4. The table may go with the batch, or not: two ways, (0,) and (). Both calls are
made, and the first that the network takes is the answer. `bench` and `bench --rollout` call `resized`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product

import torch
from torch import Tensor

from chiralize.body.tensors import ResolvedTensor
from chiralize.errors import ModelRunError
from chiralize.errors.words import first_line
from chiralize.graph.running import Arguments, Call, results
from chiralize.problem.network import Network

_MOST_WAYS = 64
"""Ways that are tried at most, a run each: six tensors with two ways each have as many."""
Axes = tuple[int, ...]
"""The axes of a tensor along which its samples lie: one, or none."""


def samples_in(network: Network) -> int:
    """How many samples a call with the example has, on whichever axis its layouts have them; one where none has any."""
    sizes = _batch_sizes(network)
    if len(sizes) == 1:
        return sizes.pop()
    return 1


def resized(network: Network, size: int, device: str = "cpu") -> Call:
    """The example with `size` samples, its own over and over, on a device; 0 for as many as it has.

    The module of the network has to be on that device.
    Raises ModelRunError where no axis counts samples, and where memory has no room for them.
    """
    example = Arguments.of(*network.example)
    if not size:
        return _with_samples(example, [()] * len(example.tensors), 0, device)
    sizes = _batch_sizes(network)
    choices = [_axes_of_samples(tensor, sizes) for tensor in network.resolved.input_tensors]
    # No axis anywhere: a call with another number of samples does not exist.
    if size > 1 and not any(map(any, choices)):
        facts = "no axis of its inputs counts samples, a call takes one"
        raise ModelRunError(f"batch {size}", facts, "leave --batch out")
    ways = list(islice(product(*choices), _MOST_WAYS))
    calls = _calls(example, ways, size, device)
    first = next(calls)
    # Where nothing is open the call is not tried out: the caller runs it, and reports what goes wrong.
    if len(ways) == 1 or _takes(network, first):
        return first
    # Where none is taken, the likeliest one goes on, for its error is the one to show.
    return next(filter(lambda call: _takes(network, call), calls), first)


def _batch_sizes(network: Network) -> set[int]:
    """The sizes of the axes that count samples by their layouts; without layouts, of the first axis of free tensors."""
    # One size in a sound call. Of several, or of none, nothing is concluded (`samples_in`).
    sizes = set[int]()
    for tensor in network.resolved.input_tensors:
        sizes.update(tensor.shape[axis] for axis in _axes_by_layout(tensor))
    if not sizes and network.has_rows:
        sizes.add(network.rows)
    return sizes


def _axes_by_layout(tensor: ResolvedTensor) -> Axes:
    """The axes that count samples by the layout; none of a tensor without a layout."""
    if tensor.is_free or tensor.kind == "state":
        return ()
    return tuple(axis for word, axis in tensor.free_axes if word == "b")


def _axes_of_samples(tensor: ResolvedTensor, sizes: set[int]) -> list[Axes]:
    """The axes along which the samples of an input may lie, the likeliest first.  sizes: that the batch has."""
    if tensor.kind == "state":
        as_long = filter(lambda axis: tensor.shape[axis] in sizes, range(len(tensor.shape)))
        return [(axis,) for axis in as_long] or [()]
    if tensor.is_free:
        if tensor.has_rows and tensor.shape[0] in sizes:
            return [(0,), ()]
        return [()]
    return [_axes_by_layout(tensor)]


def _calls(example: Arguments, ways: Sequence[Sequence[Axes]], size: int, device: str) -> Iterator[Call]:
    """The example with so many samples, in each of these ways.  Raises ModelRunError where memory has no room."""
    for way in ways:
        yield _with_samples(example, way, size, device)


def _with_samples(example: Arguments, way: Sequence[Axes], size: int, device: str) -> Call:
    """The example with `size` samples along one axis of each tensor, or as it is.  Raises ModelRunError."""
    try:
        tensors = [_repeated(*pair, size).to(device) for pair in zip(example.tensors, way, strict=True)]
    except (RuntimeError, MemoryError) as error:
        raise ModelRunError(f"batch {size}", first_line(error), "give a smaller --batch") from error
    args, kwargs = example.filled(tensors)
    return tuple(args), dict(kwargs)


def _repeated(tensor: Tensor, axes: Axes, size: int) -> Tensor:
    """The tensor with `size` entries along these axes, its own over and over."""
    for axis in axes:
        tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
    return tensor


def _takes(network: Network, call: Call) -> bool:
    """Whether the network runs on a call, and hands back its states in the sizes that it got them in."""
    args, kwargs = call
    try:
        with torch.inference_mode():
            answers = results(network.module(*args, **kwargs))[0]
    except Exception:  # noqa: BLE001 - whatever it says, it does not take the call
        return False
    tensors = Arguments.of(args, kwargs).tensors
    # A network may run with a state resized along a wrong axis, and hand it back in another size: the next call would
    # fail.
    states = filter(lambda handed: handed.is_state and handed.axis is None, network.resolved.handed)
    return all(answers[handed.output].shape == tensors[handed.input].shape for handed in states)
