"""Samples that run together, for networks that take one at a time: each alone costs more overhead than arithmetic.

Every tensor of a call gets an axis of samples in front, over which torch.vmap maps the network. A network that takes
one clip "1 27 34" at a time is given "16 1 27 34", sixteen of them, and still sees one. `ready` asks `runs_together`
first, since vmap does not know every op.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from chiralize.graph.running import Arguments, Call, fresh, results
from chiralize.problem.data.feeds import grouped, mapped
from chiralize.problem.data.inputs import stacked

_SAME = 1e-4
"""How far answers may be from those of single samples, in their size: further than rounding moves them."""


@contextmanager
def silent_vmap() -> Iterator[None]:
    """Without vmap's warnings of ops that it runs sample by sample: these are no slower than without it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop because we have not yet implemented")
        yield


def with_axis(call: Call) -> Call:
    """The call with an axis of length 1 in front of every tensor."""
    arguments = Arguments.of(*call)
    return arguments.filled([tensor.unsqueeze(0) for tensor in arguments.tensors])


def gathered(calls: Sequence[Call], most: int) -> Sequence[Call]:
    """Calls of `with_axis` in groups of at most `most`, along that axis."""
    return mapped(stacked, grouped(calls, most))


def in_random_order(calls: Sequence[Call], most: int, generator: torch.Generator) -> Sequence[Call]:
    """The same, drawn at random from all calls."""
    order = torch.randperm(len(calls), generator=generator).tolist()
    return gathered([calls[number] for number in order], most)


def at_once(function: Callable[..., Any]) -> Callable[..., list[Tensor]]:
    """The tensors among the results of a function, for arguments with an axis of samples in front."""

    def run(*args: Any, **kwargs: Any) -> list[Tensor]:
        """All results, with that axis in front."""
        arguments = Arguments.of(args, kwargs)

        def one(*tensors: Tensor) -> tuple[Tensor, ...]:
            """The results for one sample."""
            given, named = arguments.filled(tensors)
            return tuple(results(function(*given, **named))[0])

        with silent_vmap():
            return list(torch.vmap(one)(*arguments.tensors))

    return run


def runs_together(function: Callable[..., Any], calls: Sequence[Call], parameters: Sequence[Tensor] = ()) -> bool:
    """Whether two of these calls, without that axis, have the answers together that they have alone.

    parameters: those that gradients are wanted for.
    """
    # Two different samples: an op that mixes them, or writes into what both share, gives other answers than alone.
    pair = list(calls[:2])
    args, kwargs = fresh(stacked(list(map(with_axis, pair))))
    try:
        answers = at_once(function)(*args, **kwargs)
        if parameters:
            total = torch.stack([answer.sum() for answer in answers if answer.requires_grad]).sum()
            with silent_vmap():
                torch.autograd.grad(total, parameters, allow_unused=True)
    except Exception:  # of ops that vmap does not know, of draws at random, of writing into what all samples share
        return False
    with torch.no_grad():
        singly = [results(function(*args, **kwargs))[0] for args, kwargs in map(fresh, pair)]
    return all(_is_near(answer, torch.stack(parts)) for answer, *parts in zip(answers, *singly, strict=True))


def _is_near(answer: Tensor, wanted: Tensor) -> bool:
    """Whether they differ by rounding at most."""
    apart = (answer.detach().double() - wanted.double()).abs().max()
    return bool(apart <= _SAME * wanted.double().abs().max())
