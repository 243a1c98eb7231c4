"""What torch does in vain while a graph is captured or sizes are tried, and what can be spared.

Of a recurrent layer the shapes of the results are needed, and no values. torch takes it apart into single steps in
order to know these, though the graph keeps it as one op: of five LSTMs over 60 frames that took 113 s, where all took
9 s with the shapes written down. It fixed the number of steps, and forbade a single sample.

Distributions compare their parameters with bounds, which no graph can hold: the capture failed.

Both contexts change what all threads share, so that one thread at a time is in them (`isolation.turn`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch._subclasses.fake_tensor import FakeTensor

from chiralize.graph.isolation import turn

_ATEN = torch.ops.aten
_LAYERS = (_ATEN.lstm.input, _ATEN.gru.input, _ATEN.rnn_tanh.input, _ATEN.rnn_relu.input)
_KEYS = (torch.DispatchKey.CompositeImplicitAutograd, torch.DispatchKey.Autograd)  # pyright: ignore
Layer = Callable[..., tuple[Tensor, ...]]


@contextmanager
def recurrent_shapes() -> Iterator[None]:
    """Context in which recurrent layers of tensors without values are not taken apart."""
    with turn(), _shapes_written_down():
        yield


@contextmanager
def _shapes_written_down() -> Iterator[None]:
    """The context itself, for one thread at a time."""
    before = {op: dict(op.py_kernels) for op in _LAYERS}
    # Where a size is a symbol, torch asks this table and no kernel.
    table = {op: decomposition_table[op] for op in _LAYERS}
    try:
        for op, kernels in before.items():
            decomposition_table[op] = partial(_shapes_alone, table[op])
            # Python kernels that torch registered to take the layers apart; each is wrapped, so that it still runs
            # for real tensors.
            for key in kernels.keys() & _KEYS:
                op.py_kernels[key] = partial(_shapes_alone, kernels[key])
            op._dispatch_cache.clear()
        yield
    finally:
        decomposition_table.update(table)
        for op, kernels in before.items():
            op.py_kernels.update(kernels)
            op._dispatch_cache.clear()


def _shapes_alone(
    layer: Layer, given: Tensor, states: Tensor | Sequence[Tensor], weights: Sequence[Tensor], *options: Any
) -> tuple[Tensor, ...]:
    """Results of the shapes that the layer gives, "time batch (direction unit)" and the states'.

    options: as aten has them, the last two being whether there are two directions, and whether the batch is first.
    They depend on a weight, so that they require gradients where the layer's own do.
    """
    is_both_ways, is_batch_first = options[-2:]
    each = [states] if isinstance(states, Tensor) else states
    if not isinstance(given, FakeTensor) or not _fit(given, each, weights, is_batch_first):
        return layer(given, states, weights, *options)
    # "batch time feature", or "time batch feature".
    batch, time = given.shape[:2] if is_batch_first else given.shape[1::-1]
    # A number that depends on a weight, added so that results require gradients as the layer's own do.
    share = weights[0].sum()
    results = given.new_empty((time, batch, each[0].shape[-1] * (1 + is_both_ways))) + share
    if is_batch_first:
        results = results.transpose(0, 1)
    return (results, *(state.new_empty(state.shape) + share for state in each))


def _fit(given: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor], is_batch_first: bool) -> bool:
    """Whether the sizes are those that the layer takes, as far as they are numbers; it says itself what is wrong."""
    if given.dim() != 3:
        return False
    pairs = [(given.shape[-1], weights[0].shape[-1]), (given.shape[0 if is_batch_first else 1], states[0].shape[1])]
    return all(one == other for one, other in pairs if isinstance(one, int) and isinstance(other, int))


@contextmanager
def unchecked_distributions() -> Iterator[None]:
    """Context in which `torch.distributions` do not look at their parameters."""
    base = torch.distributions.Distribution
    with turn():
        before = base._validate_args
        base.set_default_validate_args(False)
        try:
            yield
        finally:
            base.set_default_validate_args(before)
