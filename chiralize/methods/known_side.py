"""Inputs turned to the side that a network was trained on, where its normaliser remembers one.

Of an input and its mirror image the one is taken that is likelier under the remembered mean m and spread s,

    log p(x) - log p(T x) = sum ((T x - m)^2 - (x - m)^2) / (2 s^2).

An equivariant result answers the other one as its mirror image. So what is fitted are answers that were learned, and no
guesses. Policies of left turns had 1.1 to 1.9 times their error there when they were fitted to both views, and 0.8 to
1.2 times in this way (decision 0075).

`commands.convert` calls it after inputs were supplied, scattered and posed. With m = 1 and s = 1 for the turning rate,
a sample of -0.5 whose mirror image is +0.5 has ((0.5 - 1)^2 - (-0.5 - 1)^2) / 2 = -1: the image is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.feeds import mapped
from chiralize.problem.data.moments.normalisers import InputMoments
from chiralize.problem.mirror import mirror_if_known
from chiralize.problem.problem import Problem


def on_known_side(problem: Problem) -> Problem:
    """The problem with all inputs on the side that was trained on; as it is where none is remembered."""
    mirror = mirror_if_known(problem.network, None)
    if not problem.one_sided or mirror is None:
        return problem

    batches, turned = problem.batches, partial(_turned, mirror=mirror, remembered=problem.one_sided)
    return problem.with_batches(
        given=mapped(turned, batches.given),
        drawn=mapped(turned, batches.drawn),
        scattered=mapped(turned, batches.scattered),
        posed=mapped(turned, batches.posed),
    )


def _turned(call: Call, mirror: NetworkMirror, remembered: Sequence[InputMoments]) -> Call:
    """The call with those samples mirrored that are likelier then."""
    # Odds of a sample are those of all its inputs together, so that they stay of one side.
    arguments, images = Arguments.of(*call), Arguments.of(*mirror.turned(call)).tensors
    tensors = arguments.tensors
    odds = sum((_log_odds(tensors[of.index], images[of.index], of) for of in remembered), torch.zeros(()))
    sides: list[Tensor] = []
    for tensor, image, representation in zip(tensors, images, mirror.inputs, strict=True):
        if representation.is_trivial:  # the same on both sides
            sides.append(tensor)
        else:
            sides.append(torch.where(odds.view(-1, *[1] * (tensor.ndim - 1)) < 0, image, tensor))
    return arguments.filled(sides)


def _log_odds(x: Tensor, image: Tensor, moments: InputMoments) -> Tensor:
    """log p(x) - log p(T x) of every sample, in nats; entries of which nothing is remembered do not count."""
    mean, spread = moments.mean.to(x.device), moments.spread.to(x.device)
    nearer = (image.double() - mean).square() - (x.double() - mean).square()
    return (nearer / (2 * spread.square())).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).flatten(1).sum(1)
