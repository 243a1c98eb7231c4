"""Whatever robot is built symmetric, its mirror is recovered: partners, signs and the lateral axis."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiralize.body.robots.asymmetry import differences
from chiralize.body.robots.stepping import deviations, fastest, random_states
from tests.support.robots import mjcf, opened_mirror, random_robot, write

mujoco = pytest.importorskip("mujoco")


@given(
    seed=st.integers(0, 2**32 - 1),
    centers=st.integers(1, 3),
    limbs=st.integers(1, 3),
    length=st.integers(1, 3),
    lateral=st.integers(0, 2),
)
def test_partners_signs_and_axis_are_recovered(seed: int, centers: int, limbs: int, length: int, lateral: int) -> None:
    """Names say nothing, frames are at random, axes of partners point either way; T of a step is the step of T."""
    parts = random_robot(seed, centers, limbs, length, lateral)
    names = [f"j{number}" for number in np.random.default_rng(seed).permutation(len(parts))]
    with TemporaryDirectory() as folder:
        opened, mirror = opened_mirror(write(Path(folder), mjcf(parts, names)))
    assert mirror.lateral == "xyz"[lateral]
    expected = {name: (names[part.partner], part.sign) for name, part in zip(names, parts, strict=True)}
    assert mirror.joints == expected
    same = 1e-9 if mujoco.__version__ >= "4" else 1e-6  # MuJoCo 3 finds the axes of inertias to six digits
    assert all(one.share < 10 * same for one in differences(mirror))
    states = random_states(opened.model, mirror.robot, 3, 2)
    assert deviations(opened.model, mirror, states).max() < same * max(10, fastest(opened.model, states))
