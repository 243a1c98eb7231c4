"""Partners and signs of small robots: names and places that disagree, planar legs, balls, poses, zeros."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chiralize.body.robots.describing import RobotWishes, import_robot
from chiralize.errors import RobotMirrorError
from tests.support.robots import BIPED_JOINTS, biped, mirror_of, write

pytest.importorskip("mujoco")

WALKER = """
<mujoco model="walker"><worldbody><body name="torso" pos="0 0 1">
  <joint name="rootx" type="slide" axis="1 0 0"/><joint name="rooty" axis="0 1 0"/>
  <geom type="capsule" fromto="0 0 0 0 0 .4" size=".05"/>
  <body name="thigh{a}"><joint name="{first}" axis="0 1 0"/>{leg}</body>
  <body name="thigh{b}"><joint name="{second}" axis="0 1 0"/>{leg}</body>
</body></worldbody></mujoco>
"""


def walker(first: str, second: str) -> str:
    leg = '<geom type="capsule" fromto="0 0 0 .5 0 -.4" size=".05"/>'
    return WALKER.format(first=first, second=second, a="_1", b="_2", leg=leg)


def legs(left: str, right: str, more: str = "", places: tuple[float, float] = (0.1, -0.1)) -> str:
    """A body with a leg on either side, of one joint each."""
    leg = '<body pos="0 {y} 0"><joint {joint}/><geom type="capsule" fromto="0 0 0 .1 {out} -.3" size=".03"/></body>'
    sides = [
        leg.format(y=y, joint=joint, out=0.1 if y > 0 else -0.1) for y, joint in zip(places, (left, right), strict=True)
    ]
    base = '<freejoint/><geom type="sphere" size=".05"/>'
    return f"<mujoco><worldbody><body>{base}{''.join(sides)}</body></worldbody>{more}</mujoco>"


def test_biped(tmp_path: Path) -> None:
    """Signs are read off the axes: the right hip's pitch axis points the other way than the left one's."""
    mirror = mirror_of(tmp_path, biped())
    assert mirror.lateral == "y"
    assert mirror.joints == BIPED_JOINTS
    assert mirror.ctrl.partner.tolist() == [0, 6, 5, 4, 3, 2, 1]
    assert mirror.ctrl.sign.tolist() == [-1, 1, -1, -1, -1, -1, 1]
    assert mirror.notices == ()


def test_negative_gear(tmp_path: Path) -> None:
    """A control is negated where its joint is, but where one of the two gears is negative."""
    mirror = mirror_of(tmp_path, biped(gear=-1))
    assert mirror.ctrl.sign.tolist() == [-1, 1, -1, 1, 1, -1, 1]


def test_names_that_lie(tmp_path: Path) -> None:
    """front_left and front_right are both at y > 0: places decide, and that is said."""
    leg = '<body name="{0}" pos="{1} {2} 0"><joint name="j_{0}" axis="0 0 1"/><geom size=".1" pos="{1} {2} 0"/></body>'
    places = {"front_left": (1, 1), "front_right": (-1, 1), "back_left": (1, -1), "back_right": (-1, -1)}
    text = "".join(leg.format(name, x, y) for name, (x, y) in places.items())
    base = '<freejoint/><geom type="sphere" size=".1"/>'
    text = f"<mujoco><worldbody><body>{base}{text}</body></worldbody></mujoco>"
    along_y = mirror_of(tmp_path, text, "y")
    assert along_y.joints["j_front_left"] == ("j_back_left", -1)
    assert "places decide" in along_y.notices[0] and "j_front_left" in along_y.notices[0]
    along_x = mirror_of(tmp_path, text)
    assert along_x.lateral == "x", "of two axes, the one that the names mean"
    assert along_x.joints["j_front_left"] == ("j_front_right", -1) and along_x.notices == ()


def test_planar_legs_want_names(tmp_path: Path) -> None:
    with pytest.raises(RobotMirrorError, match="no left and right.*hip may be the partner of hip; left_hip") as raised:
        mirror_of(tmp_path, walker("hip", "left_hip"))
    assert "--pair" in raised.value.remedy
    mirror = mirror_of(tmp_path, walker("hip", "left_hip"), hip="left_hip")
    assert mirror.joints["hip"] == ("left_hip", 1)
    assert mirror_of(tmp_path, walker("right_hip", "left_hip")).joints["right_hip"] == ("left_hip", 1)


def test_a_free_body_alone(tmp_path: Path) -> None:
    """A drone, whose motors act on sites: that its joints show no sides does not say that it has none."""
    text = "<mujoco><worldbody><body name='drone'><freejoint/><geom size='0.1'/></body></worldbody></mujoco>"
    with pytest.raises(RobotMirrorError, match="it is one free body") as raised:
        mirror_of(tmp_path, text)
    assert raised.value.remedy.startswith("write the specification by hand, with what acts on it (rotors, ")
    # With an axis given there is a mirror, of its states, and no joints for a skeleton all the same.
    assert mirror_of(tmp_path, text, "y").partner == (0,)
    with pytest.raises(RobotMirrorError, match="it is one free body"):
        import_robot(write(tmp_path, text), "mujoco", RobotWishes(lateral="y"), [])


def test_no_left_and_right(tmp_path: Path) -> None:
    with pytest.raises(RobotMirrorError, match="no left and right: it moves in a plane, and y -> -y"):
        mirror_of(tmp_path, walker("hip_a", "hip_b"))


def test_given_pair_that_places_refute(tmp_path: Path) -> None:
    with pytest.raises(RobotMirrorError, match="is not at the mirrored place of"):
        mirror_of(tmp_path, biped(), waist_yaw="left_knee")
    with pytest.raises(RobotMirrorError, match="no joint is called 'x'"):
        mirror_of(tmp_path, biped(), x="left_knee")


def test_single_arm(tmp_path: Path) -> None:
    """Its first joint stands aside, so that no plane is its mirror's."""
    arm = (
        '<mujoco model="arm"><worldbody><body><joint name="a" axis="0 0 1"/><geom size=".1" pos="0 .3 0"/>'
        '<body pos="0 .4 .5"><joint name="b" axis="1 2 3"/><geom size=".1" pos=".2 .1 0"/></body></body>'
        "</worldbody></mujoco>"
    )
    with pytest.raises(
        RobotMirrorError, match="not its own mirror image.*without a partner: .*comes nearest"
    ) as raised:
        mirror_of(tmp_path, arm)
    assert "single arm" in raised.value.remedy


def test_lateral_that_does_not_mirror(tmp_path: Path) -> None:
    with pytest.raises(RobotMirrorError, match="z comes nearest"):
        mirror_of(tmp_path, biped(), "z")


def test_slides(tmp_path: Path) -> None:
    """A slide's axis is a polar vector; where its mass lies tells slides apart, whose axes have no place."""
    mirror = mirror_of(tmp_path, legs('name="p" type="slide" axis="0 1 0"', 'name="q" type="slide" axis="0 1 0"'))
    assert mirror.joints == {"p": ("q", -1), "q": ("p", -1)}
    mirror = mirror_of(tmp_path, legs('name="p" type="slide" axis="1 0 1"', 'name="q" type="slide" axis="1 0 1"'))
    assert mirror.joints == {"p": ("q", 1), "q": ("p", 1)}


def test_balls(tmp_path: Path) -> None:
    """The vector part of the quaternion and the velocity are pseudo-vectors, in frames that may be turned."""
    mirror = mirror_of(tmp_path, legs('name="p" type="ball"', 'name="q" type="ball"'))
    assert mirror.qpos.partner[7:].tolist() == [11, 12, 13, 14, 7, 8, 9, 10]
    assert mirror.qpos.sign[7:].tolist() == [1, -1, 1, -1, 1, -1, 1, -1]
    assert mirror.qvel.sign[6:].tolist() == [-1, 1, -1, -1, 1, -1]


def test_ball_in_a_turned_frame(tmp_path: Path) -> None:
    leg = '<body pos="0 {} 0" euler="0 0 {}"><joint type="ball"/><geom size=".03" pos="0 0 -.2"/></body>'
    base = f'<body><freejoint/><geom size=".05"/>{leg.format(0.1, 0)}{leg.format(-0.1, 30)}</body>'
    with pytest.raises(RobotMirrorError, match="their components mix"):
        mirror_of(tmp_path, f"<mujoco><worldbody>{base}</worldbody></mujoco>")


def test_zeros_that_differ(tmp_path: Path) -> None:
    """`ref` counts angles from elsewhere: T is affine then, and the signs are those of the difference."""
    text = legs('name="p" axis="1 0 0" ref="20"', 'name="q" axis="1 0 0" ref="30"')
    mirror = mirror_of(tmp_path, text)
    assert mirror.joints["p"] == ("q", -1)
    assert mirror.act_qpos(mirror.robot.qpos) == pytest.approx(mirror.robot.qpos)
    assert any("different zeros: p, q" in notice for notice in mirror.notices)


def test_symmetric_in_a_keyframe_only(tmp_path: Path) -> None:
    """The right knee's zero is bent: initially its shin is elsewhere, and the keyframe stretches it."""
    shin = '<body pos="0 0 -.3"><joint name="{0}_foot" axis="0 1 0"/><geom size=".03" pos="0 0 -.1"/></body>'
    text = biped()
    for side in ("left", "right"):
        place = text.index(f'name="{side}_shin_geom"')
        place = text.index("/>", place) + 2
        text = text[:place] + shin.format(side) + text[place:]
    straight = '<body name="right_shin" pos="0 0 -.3"'
    text = text.replace(straight, f'{straight} euler="0 40 0"')
    with pytest.raises(RobotMirrorError, match="y comes nearest; without a partner: left_knee"):
        mirror_of(tmp_path, text)
    stretched = -40 * math.pi / 180
    key = f'<keyframe><key name="stand" qpos="0 0 .7 1 0 0 0 0 0 0 0 0 0 {stretched} 0 0"/></keyframe>'
    mirror = mirror_of(tmp_path, text.replace("</actuator>", f"</actuator>{key}"))
    assert mirror.robot.pose == "keyframe stand"
    assert mirror.joints["left_knee"] == ("right_knee", 1)
    assert abs(mirror.qpos_shift).max() > 0.6
    assert any("different zeros" in notice for notice in mirror.notices)


def test_names_may_say_left_on_the_right(tmp_path: Path) -> None:
    text = legs('name="left_hip" axis="1 0 0"', 'name="right_hip" axis="1 0 0"', places=(-0.1, 0.1))
    assert mirror_of(tmp_path, text).joints["left_hip"] == ("right_hip", -1)


def test_turned_and_moved_base(tmp_path: Path) -> None:
    """The base may stand anywhere and look anywhere in its initial pose: axes are those of its frame."""
    text = biped().replace('name="pelvis" pos="0 0 .7"', 'name="pelvis" pos="3 2 .7" euler="0 0 70"')
    mirror = mirror_of(tmp_path, text)
    assert mirror.joints == BIPED_JOINTS and mirror.reflection.offset == 2


def test_things_that_lie_about(tmp_path: Path) -> None:
    """A box on a table is no part of the robot: it is its own partner wherever it lies."""
    box = '<body name="box" pos=".3 .4 .1"><freejoint name="box"/><geom type="box" size=".02 .02 .02"/></body>'
    mirror = mirror_of(tmp_path, biped().replace("<worldbody>", f"<worldbody>{box}"))
    assert mirror.joints == BIPED_JOINTS
    assert mirror.robot.joints[mirror.robot.base or 0].name == "root"


def test_a_hip_that_chooses_before_its_partner(tmp_path: Path) -> None:
    """The second hip is near the image of the first alone, and chooses first: both knees have partners, too."""
    capsule = '<geom type="capsule" fromto="0 0 0 0 0 -.5" size=".03"/>'
    hip = '<body pos="0 {y} 0"><joint name="{side}_hip" axis="0 1 0"/>{capsule}{knee}</body>'
    knee = '<body pos="0 0 -.5"><joint name="{side}_knee" axis="0 1 0"/>{capsule}</body>'
    text = '<freejoint/><geom type="box" size=".1 .1 .5" pos="0 0 .5"/>'
    for side, y in (("left", 0.005), ("right", -0.02)):
        text += hip.format(side=side, y=y, capsule=capsule, knee=knee.format(side=side, capsule=capsule))
    mirror = mirror_of(tmp_path, f"<mujoco><worldbody><body>{text}</body></worldbody></mujoco>", "y")
    assert mirror.joints["right_hip"] == ("left_hip", 1) and mirror.joints["right_knee"] == ("left_knee", 1)
