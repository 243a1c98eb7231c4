"""A passport for results that no conversion was run for."""

from __future__ import annotations

import pytest
import torch

from chiralize.body.spec import load_spec
from chiralize.storage.passport import Passport, call_record
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

POSE = {
    "joints": ["hip", "l_arm", "r_arm"],
    "pairs": [["l_arm", "r_arm"]],
    "dims": ["x", "y"],
    "negate": ["x"],
    "inputs": [{"layout": "b j d"}],
    "outputs": [{"layout": "b j d"}],
}


@pytest.fixture
def passport() -> Passport:
    axis = Representation((SignedPermutation.of([(1, 2)], size=3),))
    hidden = {"first.weight": TensorRepresentation((axis, axis), -1), "last.weight": TensorRepresentation((axis,), 1)}
    inputs = call_record((torch.randn(2, 3, 2),), {"mask": None})
    return Passport(load_spec(POSE), "match", "original", hidden, {}, "forward", {"gap": 0.5}, inputs)
