"""Inputs of another skeleton: the message says whose they look like, not how to store them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import chiralize
from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.body.tensors import parse_spec, resolve
from chiralize.errors import DataFileError
from chiralize.problem.data.inputs import calls_from
from chiralize.problem.data.other_body import other_body

PERSON = "skeleton: h36m-17\ninputs: [{layout: '%s'}]\noutputs: [{layout: 'b j d'}]\n"
OTHERS = {
    "joints and coordinates": ("b j d", (1, 17, 2), (300, 15, 2), 15),
    "in a row, for a table": ("b j d", (1, 17, 2), (300, 30), 15),
    "a table, for a row": ("b (j d)", (1, 34), (300, 15, 2), 15),
    "both in a row": ("b (j d)", (1, 34), (300, 30), 15),
    "along other frames": ("b t j d", (1, 27, 17, 2), (300, 9, 21, 2), 21),
    "frames that the network does not take": ("b j d", (1, 17, 2), (300, 27, 133, 2), 133),
    "coordinates first": ("b d t j", (1, 2, 27, 17), (300, 2, 27, 25), 25),
    "in another order": ("b d t j", (1, 2, 27, 17), (300, 27, 25, 2), 25),
}
NONE = {
    "samples last": ("b j d", (1, 17, 2), (17, 2, 300)),
    "another number of coordinates": ("b j d", (1, 17, 2), (300, 17, 3)),
    "frames in a row": ("b t (j d)", (1, 3, 34), (300, 102)),
    "frames alone": ("b j d", (1, 17, 2), (300, 243, 2)),
    "numbers": ("b j d", (1, 17, 2), (300,)),
}


@pytest.mark.parametrize("case", OTHERS)
def test_inputs_of_another_skeleton(case: str, tmp_path: Path) -> None:
    layout, wanted, given, joints = OTHERS[case]
    tensors = resolve(parse_spec(PERSON % layout), [wanted], [(1, 17, 3)]).input_tensors
    np.save(tmp_path / "x.npy", np.zeros(given))
    with pytest.raises(DataFileError) as caught:
        calls_from(tmp_path / "x.npy", ((torch.zeros(wanted),), {}), tensors=tensors)
    text = str(caught.value)
    assert f"the array has samples of {joints} joints (shape {given}), the network takes 17, those of h36m-17" in text
    assert "they look like another skeleton's" in text and "samples first" not in text


@pytest.mark.parametrize("case", NONE)
def test_what_is_no_other_skeleton(case: str) -> None:
    layout, wanted, given = NONE[case]
    (tensor,) = resolve(parse_spec(PERSON % layout), [wanted], [(1, 17, 3)]).input_tensors
    assert other_body("the array", given, tensor, "x.npy") is None


def test_shipped_skeletons_of_the_same_kind_are_named() -> None:
    """As CH207 names them: people with 15 joints for a person, hands as what they are."""
    (tensor,) = resolve(parse_spec(PERSON % "b j d"), [(1, 17, 2)], [(1, 17, 3)]).input_tensors
    people, hand = (other_body("the array", (300, count, 2), tensor, "x.npy") for count in (15, 21))
    assert people is not None and "(humaneva-15, jhmdb-15" in people.remedy
    assert hand is not None and "(as many joints, but a hand)" in hand.remedy


def test_arrays_in_python() -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(34, 51), torch.nn.Unflatten(1, (17, 3)))
    for given in ((300, 15, 2), (300, 30)):
        with pytest.raises(DataFileError, match="calibration: the array has samples of 15 joints"):
            chiralize.chiralize(net, load_skeleton("h36m"), torch.zeros(1, 17, 2), calibration=torch.rand(given))
    with pytest.raises(DataFileError, match=r"a batch has samples of 15 joints \(shape \(8, 15, 2\)\)"):
        chiralize.chiralize(net, load_skeleton("h36m"), torch.zeros(1, 17, 2), calibration=[torch.rand(8, 15, 2)])
