"""Specifications that name several mirrors: read once for each, refused where they do not commute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from chiralize.body.tensors import ConversionSpec, load_spec, parse_spec, resolve
from chiralize.errors import MissingKeyError, NotAnInvolutionError, SpecError, UnknownKeyError, WrongValueError
from chiralize.problem.further import further_mirrors
from tests.support.four_legs import SIZE, SPEC, turned_input, turned_output


def test_every_mirror_is_a_specification_of_its_own() -> None:
    spec = parse_spec(SPEC)
    assert list(spec.mirrors()) == ["left_right", "front_back"]
    x, y = torch.randn(3, SIZE), torch.randn(3, 4)
    for name, one in spec.mirrors().items():
        assert not one.named and list(one.mirrors()) == ["mirror"]
        resolved = resolve(one, [(3, SIZE)], [(3, 4)])
        into, out = resolved.inputs[0], resolved.outputs[0]
        assert into is not None and out is not None
        assert np.allclose(into.act(x.numpy()), turned_input(x, name))
        assert np.allclose(out.act(y.numpy()), turned_output(y, name))
    assert ConversionSpec.from_dict(spec.to_dict()) == spec


def test_layouts_and_options_hold_for_all() -> None:
    described = SPEC.partition("outputs")[0]
    spec = load_spec(parse_spec(described), output_layouts=["b (j d)"])
    assert all(one.outputs and one.outputs[0].layout == "b (j d)" for one in spec.mirrors().values())


def test_one_named_mirror_is_a_mirror() -> None:
    head, _, tail = SPEC.partition("  front_back")
    spec = parse_spec(head + tail.partition("\n")[2])
    assert not spec.named and spec.skeleton.pairs == ((0, 1), (2, 3))


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        ("pairs: [[FL, RL], [FR, RR]]", "pairs: [[FL, RL], [FR, FL]]", NotAnInvolutionError, "FL"),
        ("[[FL, RL], [FR, RR]]", "[[FL, FR]], center: [RL, RR], signs: {RL: [-1]}", NotAnInvolutionError, "RL.q"),
        ("inputs: [", "inputs: [{signs: {left_right: [1]}}, ", MissingKeyError, "front_back"),
        ("negate: []", "negate: []\npairs: []", UnknownKeyError, "'pairs'"),
        ("left_right: {", "joints: {", WrongValueError, "like a key"),
        ("{vector: velocity}", "{vector: {left_right: velocity, x: y}}", MissingKeyError, "front_back"),
    ],
)
def test_what_is_refused(old: str, new: str, error: type[SpecError], words: str) -> None:
    with pytest.raises(error, match=words):
        parse_spec(SPEC.replace(old, new))


def test_mirrors_that_do_not_commute_on_a_tensor_are_refused() -> None:
    """Bodies that fit, and signs of one output that do not."""
    text = SPEC.replace(
        "{fields: [{joints: action}]}",
        "{layout: b (j d), signs: {left_right: {FL: [1], FR: [1]}, front_back: {FL: [-1], RL: [-1]}}}",
    )
    spec = parse_spec(text)
    with pytest.raises(NotAnInvolutionError, match="left_right and front_back do not commute at FL"):
        further_mirrors(spec, [(2, SIZE)], [(2, 4)])


def test_the_quadruped_is_what_is_written_by_hand() -> None:
    spec = load_spec("quadruped-48-k4")
    q = np.arange(1.0, 13.0)
    hips, rest = [0, 3, 6, 9], [1, 2, 4, 5, 7, 8, 10, 11]
    by_hand: dict[str, tuple[list[int], list[int], list[float]]] = {
        "left_right": ([3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8], hips, [1, -1, 1, -1, 1, -1, 1, -1, 1, 1, -1, -1]),
        "front_back": ([6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5], rest, [-1, 1, 1, 1, -1, -1, -1, 1, 1, -1, 1, -1]),
    }
    for name, one in spec.mirrors().items():
        order, negated, base = by_hand[name]
        signs = np.ones(12)
        signs[negated] = -1
        legs = signs * q[order]
        resolved = resolve(one, [(1, 48)], [(1, 12)])
        into, out = resolved.inputs[0], resolved.outputs[0]
        assert into is not None and out is not None
        assert np.allclose(out.act(q[None]), legs)
        x = np.concatenate([np.arange(1.0, 13.0), q, q, q])[None]
        assert np.allclose(into.act(x), np.concatenate([np.arange(1.0, 13.0) * base, legs, legs, legs]))


def test_ant_moves_the_same_under_both_mirrors() -> None:
    """T(step(s, a)) = step(T s, T a) in the simulator, for both mirrors and one after the other."""
    gymnasium = pytest.importorskip("gymnasium")
    pytest.importorskip("mujoco")
    made = gymnasium.make("Ant-v5", include_cfrc_ext_in_observation=False, reset_noise_scale=0.0)
    env: Any = made.unwrapped
    env.reset(seed=0)
    turns = []
    for one in load_spec("ant-27-k4").mirrors().values():
        resolved = resolve(one, [(1, 27)], [(1, 8)])
        turns.append((resolved.inputs[0], resolved.outputs[0]))
    rng = np.random.default_rng(0)
    for _ in range(4):
        state, action = _state(env, rng), rng.uniform(-1, 1, (1, 8))
        for chosen in (turns[:1], turns[1:], turns):
            into, out, after = state, action, _stepped(env, state, action)
            for observation, command in chosen:
                into, out, after = observation.act(into), command.act(out), observation.act(after)
            assert np.abs(_stepped(env, into, out) - after).max() < 1e-9
    made.close()


def _state(env: Any, rng: np.random.Generator) -> np.ndarray:
    """A row of observations: height, orientation, angles within their ranges, velocities."""
    low, high = env.model.jnt_range[1:].T
    orientation = rng.normal(size=4)
    orientation /= np.linalg.norm(orientation)
    return np.concatenate([[0.6], orientation, rng.uniform(low, high), rng.normal(size=14) / 2])[None]


def _stepped(env: Any, state: np.ndarray, action: np.ndarray) -> np.ndarray:
    env.set_state(np.concatenate([[0, 0], state[0, :13]]), state[0, 13:])
    return env.step(action[0])[0][None]
