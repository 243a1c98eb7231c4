"""What the model itself breaks is listed, by name and value, and made equal it is exactly symmetric."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiralize.body.robots.agreement import agreement
from chiralize.body.robots.asymmetry import differences, short_summary, summary
from tests.support.robots import biped, opened_mirror, write

pytest.importorskip("mujoco")


def replaced_right(text: str, old: str, new: str) -> str:
    """The text with the last occurrence of `old`, that of the right leg, changed."""
    before, _, after = text.rpartition(old)
    return before + new + after


AXIS = 'axis="0 1 0" range="-2 0"'
CASES = {
    "mass": (biped(mass=2.5), "right_thigh", 0.2),
    "centre of mass": (biped(com=0.03), "torso", 0.0),
    "range": (biped(span=(-0.4, 0.5)), "right_hip_roll", 0.2),
    "friction 0": (biped(friction=2), "right_shin_geom", 0.5),
    "gear": (biped(gear=2), "right_roll", 0.5),
    "damping": (replaced_right(biped(), 'damping=".5"', 'damping="1"'), "right_knee", 0.5),
    "armature": (
        biped().replace('0 -1 0" range="-1 1" armature="0.01"', '0 -1 0" range="-1 1"'),
        "right_hip_pitch",
        1.0,
    ),
    "stiffness": (replaced_right(biped(), 'damping=".5"', 'damping=".5" stiffness="3"'), "right_knee", 1.0),
    "control range": (
        biped().replace('"left_knee" ctrlrange="-5 5"', '"left_knee" ctrlrange="-5 6"'),
        "left_knee",
        1 / 6,
    ),
    "place": (replaced_right(biped(), 'pos="0 0 -.3"', 'pos="0.01 0 -.3"'), "right_knee", 0.0),
    "axis": (replaced_right(biped(), AXIS, AXIS.replace("0 1 0", "0.05 1 0")), "right_knee", 0.0),
    "gravity": (biped().replace("<option ", '<option gravity="0 1 -9.81" '), "world", 0.0),
    "size or turn of the shape": (replaced_right(biped(), '.03" mass="1"', '.035" mass="1"'), "right_shin_geom", 0.0),
}
NOT_FELT = {"control range"}
"""Only controls at its end feel it."""


@pytest.mark.one_in(2)
@pytest.mark.parametrize("case", CASES)
def test_listed_and_made_equal(case: str, tmp_path: Path) -> None:
    text, part, share = CASES[case]
    opened, mirror = opened_mirror(write(tmp_path, text))
    lopsided = [one for one in differences(mirror) if one.property == case]
    assert part in {one.part for one in lopsided} | {one.partner for one in lopsided}
    if share:
        assert max(one.share for one in lopsided) == pytest.approx(share)
    result = agreement(opened, mirror)
    assert result.is_exact == (case in NOT_FELT)
    assert result.agrees and result.rungs[-1].many < 1e-9
    assert result.rungs[-1].label == ("as it is" if case in NOT_FELT else "made equal")


def test_nothing_is_listed_of_a_symmetric_robot(tmp_path: Path) -> None:
    opened, mirror = opened_mirror(write(tmp_path, biped()))
    assert differences(mirror) == []
    result = agreement(opened, mirror)
    assert result.is_exact and result.rungs[-1].many < 1e-9


def test_a_shape_without_an_image(tmp_path: Path) -> None:
    """It touches nothing in the model made equal."""
    knob = '<geom name="knob" size=".05" pos=".2 .3 0" mass="0"/><geom name="torso_geom"'
    opened, mirror = opened_mirror(write(tmp_path, biped().replace('<geom name="torso_geom"', knob)))
    assert summary(differences(mirror)) == ["shape without an image: knob"]
    assert agreement(opened, mirror).agrees


def test_in_words(tmp_path: Path) -> None:
    _, mirror = opened_mirror(write(tmp_path, biped(mass=2.5, com=0.03)))
    lines = summary(differences(mirror))
    assert "mass: left_thigh 2, right_thigh 2.5 (20.0 %)" in lines
    assert any(line.startswith("centre of mass: torso and its image differ by 60 mm") for line in lines)
    assert "mass (1 part, up to 20.0 %)" in short_summary(differences(mirror))


def test_ties_are_named_by_the_condition(tmp_path: Path) -> None:
    """An equality that only one side has is not read; the simulator agrees without it, and the label says so."""
    tie = '<equality><joint joint1="left_knee" polycoef="-.5 0 0 0 0"/></equality>'
    opened, mirror = opened_mirror(write(tmp_path, biped(more=tie)))
    result = agreement(opened, mirror)
    assert result.agrees and result.rungs[-1].label == "made equal, no contacts or ties"
