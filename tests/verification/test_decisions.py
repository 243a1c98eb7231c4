"""Numbers that only stay are classes where they look like scores, and are not called answers elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chiralize.body.tensors import parse_spec, resolve
from chiralize.verification.asymmetry.decisions import Decisions
from tests.support.small_body import BODY

SPEC = BODY + "negate: x\ninputs: [{layout: b j d}]\noutputs: [OUTPUT]\n"
NUMBERS = torch.randn(200, 10, generator=torch.Generator().manual_seed(0))
"""Coefficients of a shape: of both signs, with a spread of 1."""


def changed(output: str, plain: Tensor, back: Tensor) -> float | None:
    """The share of answers that the mirror changes, of an output that the specification describes so."""
    spec = parse_spec(SPEC.replace("OUTPUT", output))
    decisions = Decisions(resolve(spec, [(200, 6, 2)], [tuple(plain.shape)]).output_tensors[0])
    decisions.add(plain, back)
    decided = decisions.result()
    return decided and decided.changed


@pytest.mark.parametrize(
    ("output", "scores", "is_said"),
    [
        ("{invariant: true}", NUMBERS, False),
        ("{invariant: true}", NUMBERS[:, :2], False),
        ("{invariant: true}", NUMBERS * 5, True),  # logits of classes that are told apart
        ("{invariant: true}", (NUMBERS * 5).softmax(1), True),
        ("{invariant: true}", NUMBERS.softmax(1), False),  # even shares
        ("{classes: {swap: []}}", NUMBERS, True),  # the specification says so
    ],
)
def test_changed_answers_are_counted_of_scores_alone(output: str, scores: Tensor, is_said: bool) -> None:
    back = scores.roll(1, 0)
    share = changed(output, scores, back)
    assert (share is not None) == is_said
    assert share is None or share == pytest.approx(float((scores.argmax(1) != back.argmax(1)).double().mean()))
