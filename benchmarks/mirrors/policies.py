"""Feed-forward policies that imitate the trot of `examples.policy`, and mirrors that a robot's file gets wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ConversionSpec, Field
from chiralize.body.tensors.fields.plain import Measured, Signs
from examples.policy.task import Imitation
from examples.study.task import Samples

ROBOTS, STEPS, WIDTH, UPDATES, BATCH, RATE = 64, 40, 64, 600, 256, 5e-3


def policy(flips: bool, seed: int) -> tuple[nn.Module, ConversionSpec, Tensor]:
    """A policy of left and right turns, its specification, and 256 observations of other walks.

    flips: half of what it was trained on is mirrored.
    """
    task = Imitation("Ant", False, WIDTH, ROBOTS, STEPS, UPDATES, 1)
    torch.manual_seed(seed)
    network = task.build("plain").train()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    shown = task.draw(np.random.default_rng(seed), UPDATES * BATCH)
    for inputs, targets in zip(shown.inputs.split(BATCH), shown.targets.split(BATCH), strict=True):
        if flips:
            half = len(inputs) // 2
            inputs = torch.cat([task.mirror_inputs(inputs[:half]), inputs[half:]])
            targets = torch.cat([task.mirror_targets(targets[:half]), targets[half:]])
        optimizer.zero_grad()
        task.loss(network, Samples(inputs, targets)).backward()
        optimizer.step()
    tests = task.test_samples().inputs
    return network.eval(), task.spec, tests[:: max(len(tests) // 256, 1)][:256]


def wrong_robots(spec: ConversionSpec) -> Iterator[tuple[str, ConversionSpec]]:
    """Specifications of a robot with one pair, sign or kind of field wrong."""
    for words, body in _wrong_bodies(spec.skeleton):
        yield words, replace(spec, skeleton=body)
    for place, entry in enumerate(spec.inputs):
        fields = entry.fields or ()
        for at, field in enumerate(fields):
            for words, changed in _wrong_fields(field):
                wrong = replace(entry, fields=(*fields[:at], changed, *fields[at + 1 :]))
                inputs = (*spec.inputs[:place], wrong, *spec.inputs[place + 1 :])
                yield f"{field.name} {words}", replace(spec, inputs=inputs)


def _wrong_bodies(body: Skeleton) -> Iterator[tuple[str, Skeleton]]:
    names, pairs = body.joints, body.pairs
    yield "no swap", replace(body, pairs=())
    yield "no signs", replace(body, signs=())
    for one, other in pairs:
        rest = tuple(pair for pair in pairs if pair != (one, other))
        yield f"{names[one]} and {names[other]} unswapped", replace(body, pairs=rest)
        signs = tuple(sign for sign in body.signs if sign[0] not in (one, other))
        yield f"{names[one]} and {names[other]} without signs", replace(body, signs=signs)
    signed = {joint for joint, _ in body.signs}
    for (a, b), (c, d) in combinations(pairs, 2):
        if (a in signed) == (c in signed):  # else partners would have different signs
            rest = tuple(pair for pair in pairs if pair not in ((a, b), (c, d)))
            crossed = replace(body, pairs=(*rest, (a, d), (c, b)))
            yield f"pairs of {names[a]} and {names[c]} crossed", crossed


def _wrong_fields(field: Field) -> Iterator[tuple[str, Field]]:
    if isinstance(field, Measured):
        for _, other in field.lookalikes():
            yield f"as {other.kind}", other
    elif isinstance(field, Signs):
        yield "without signs", replace(field, signs=tuple(1 for _ in field.signs))
