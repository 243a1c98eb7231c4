"""Specifications that name several mirrors: read once for each, refused where they do not commute."""

from __future__ import annotations

import numpy as np
import pytest

from chiralize.body.resolve import resolve
from chiralize.body.spec import Spec, load_spec, parse_spec
from chiralize.errors import MissingKeyError, NotAnInvolutionError, SpecError, UnknownKeyError

SPEC = """
joints: [FL, FR, RL, RR]
dims: [q]
negate: []
mirrors:
  left_right: {pairs: [[FL, FR], [RL, RR]], signs: {FL: [-1], FR: [-1], RL: [-1], RR: [-1]}, lateral: y}
  front_back: {pairs: [[FL, RL], [FR, RR]], lateral: x}
inputs: [{fields: [{vector: velocity}, {axial: spin}, {joints: q}]}]
outputs: [{fields: [{joints: action}]}]
"""
SIZE = 10
SIGNS = {"left_right": [1, -1, 1, -1, 1, -1, -1, -1, -1, -1], "front_back": [-1, 1, 1, 1, -1, -1, 1, 1, 1, 1]}
SWAPS = {"left_right": [1, 0, 3, 2], "front_back": [2, 3, 0, 1]}


def test_every_mirror_is_a_specification_of_its_own() -> None:
    spec, rng = parse_spec(SPEC), np.random.default_rng(0)
    assert list(spec.named()) == ["left_right", "front_back"]
    x, y = rng.normal(size=(3, SIZE)), rng.normal(size=(3, 4))
    for name, one in spec.named().items():
        assert not one.mirrors and list(one.named()) == ["mirror"]
        resolved = resolve(one, [(3, SIZE)], [(3, 4)])
        into, out = resolved.inputs[0].representation, resolved.outputs[0].representation
        assert into is not None and out is not None
        order = [*range(6), *(6 + joint for joint in SWAPS[name])]
        assert np.array_equal(into.act(x), x[:, order] * SIGNS[name])
        assert np.array_equal(out.act(y), y[:, SWAPS[name]] * SIGNS[name][6:])
    assert Spec.from_dict(spec.to_dict()) == spec


def test_layouts_and_options_hold_for_all() -> None:
    described = SPEC.partition("outputs")[0]
    spec = load_spec(parse_spec(described), output_layouts=["b (j d)"])
    assert all(one.outputs and one.outputs[0].layout == "b (j d)" for one in spec.named().values())


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("pairs: [[FL, RL], [FR, RR]]", "pairs: [[FL, RL], [FR, FL]]", NotAnInvolutionError),
        ("[[FL, RL], [FR, RR]]", "[[FL, FR]], center: [RL, RR], signs: {RL: [-1]}", NotAnInvolutionError),
        ("inputs: [", "inputs: [{signs: {left_right: [1]}}, ", MissingKeyError),
        ("negate: []", "negate: []\npairs: []", UnknownKeyError),
        ("left_right: {", "joints: {", UnknownKeyError),
        ("{vector: velocity}", "{vector: {left_right: velocity, x: y}}", MissingKeyError),
    ],
)
def test_what_is_refused(old: str, new: str, error: type[SpecError]) -> None:
    with pytest.raises(error):
        parse_spec(SPEC.replace(old, new))


def test_the_quadruped_is_what_is_written_by_hand() -> None:
    spec = load_spec("quadruped-48-k4")
    q = np.arange(1.0, 13.0)
    hips, rest = [0, 3, 6, 9], [1, 2, 4, 5, 7, 8, 10, 11]
    by_hand: dict[str, tuple[list[int], list[int], list[float]]] = {
        "left_right": ([3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8], hips, [1, -1, 1, -1, 1, -1, 1, -1, 1, 1, -1, -1]),
        "front_back": ([6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5], rest, [-1, 1, 1, 1, -1, -1, -1, 1, 1, -1, 1, -1]),
    }
    for name, one in spec.named().items():
        order, negated, base = by_hand[name]
        signs = np.ones(12)
        signs[negated] = -1
        legs = signs * q[order]
        resolved = resolve(one, [(1, 48)], [(1, 12)])
        into, out = resolved.inputs[0].representation, resolved.outputs[0].representation
        assert into is not None and out is not None
        assert np.allclose(out.act(q[None]), legs)
        x = np.concatenate([np.arange(1.0, 13.0), q, q, q])[None]
        assert np.allclose(into.act(x), np.concatenate([np.arange(1.0, 13.0) * base, legs, legs, legs]))
