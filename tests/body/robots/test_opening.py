"""Files as users have them: broken, of another kind, without their meshes, with entities; URDF beside MuJoCo XML."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chiralize.body.robots.opening import open_model
from chiralize.errors import ImportFormatError, MissingPackageError
from tests.support.robots import BIPED_JOINTS, biped, opened_mirror, write

pytest.importorskip("mujoco")

LINK = """
<link name="{name}"><inertial><origin xyz="{x} {y} -0.1"/><mass value="{mass}"/>
  <inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial>
  <visual><geometry><mesh filename="package://nowhere/meshes/{name}.dae"/></geometry></visual>
  <collision><geometry><mesh filename="package://nowhere/meshes/{name}.stl"/></geometry></collision></link>
"""
JOINT = """
<joint name="{name}" type="revolute"><parent link="{parent}"/><child link="{child}"/><origin xyz="0 {y} 0"/>
  <axis xyz="{axis}"/><limit lower="-1" upper="1" effort="10" velocity="5"/></joint>
"""


def urdf(base: str = "base") -> str:
    """A torso with two arms of two joints each; in the file right comes first, and of each arm the far joint."""
    links = [LINK.format(name=base, x=0, y=0, mass=3)]
    joints = []
    for side, y in (("right", -1), ("left", 1)):
        links.append(LINK.format(name=f"{side}_arm", x=0, y=0.1 * y, mass=1))
        links.append(LINK.format(name=f"{side}_hand", x=0.05, y=0.1 * y, mass=0.5))
        names = {"parent": f"{side}_arm", "child": f"{side}_hand"}
        joints.append(JOINT.format(name=f"{side}_elbow", **names, y=0.3 * y, axis=f"0 0 {y}"))
        joints.append(JOINT.format(name=f"{side}_shoulder", parent=base, child=f"{side}_arm", y=0.2 * y, axis="1 0 0"))
    return f'<robot name="arms">{"".join(links)}{"".join(joints)}</robot>'


def test_urdf_without_meshes(tmp_path: Path) -> None:
    """Files of meshes that are missing do not matter; the base floats; joints are known in the file's order, too."""
    opened, mirror = opened_mirror(write(tmp_path, urdf(), "arms.urdf"))
    assert opened.kind == "urdf" and any("meshes are missing" in notice for notice in opened.notices)
    assert mirror.joints == {
        "right_shoulder": ("left_shoulder", -1),
        "left_shoulder": ("right_shoulder", -1),
        "right_elbow": ("left_elbow", 1),
        "left_elbow": ("right_elbow", 1),
    }
    assert mirror.robot.base is not None
    assert opened.document == ("right_elbow", "right_shoulder", "left_elbow", "left_shoulder")


def test_urdf_on_the_world(tmp_path: Path) -> None:
    text = urdf("world").replace('<link name="world"><inertial>', '<link name="world"><inertial>')
    opened, mirror = opened_mirror(write(tmp_path, text, "arms.urdf"))
    assert mirror.robot.base is None
    assert any("stands fixed" in notice for notice in opened.notices)


def test_meshes_missing_in_mujoco_xml(tmp_path: Path) -> None:
    """What is only seen is left out; a body whose mass only a mesh knew counts as 1 g, which is said."""
    mesh = '<asset><mesh name="m" file="m.stl"/></asset><worldbody>'
    text = (
        biped()
        .replace("<worldbody>", mesh)
        .replace('<geom name="torso_geom"', '<geom type="mesh" mesh="m"/><geom name="torso_geom"')
    )
    opened, mirror = opened_mirror(write(tmp_path, text))
    assert mirror.joints == BIPED_JOINTS
    assert opened.notices == ("files of meshes are missing, so that 1 geoms were left out",)
    text = text.replace('<geom name="torso_geom" type="box" size=".08 .1 .2" pos="0 0 .2" mass="6"/>', "")
    opened, mirror = opened_mirror(write(tmp_path, text))
    assert mirror.joints == BIPED_JOINTS and "the mass of 1 bodies" in opened.notices[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not XML"),
        ("joints: [a]", "not XML"),
        ("<mujoco><worldbody>", "XML"),
        ("<html></html>", "the file's root is <html>"),
        ("<mujocoinclude/>", "the file's root is <mujocoinclude>"),
        ("<robot name='r'/>", "the file's root is <robot>"),
        ("<mujoco><worldbody><nonsense/></worldbody></mujoco>", "nonsense"),
        ("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>", "nothing in it moves"),
        ("<mujoco><worldbody><body><joint/></body></worldbody></mujoco>", None),
        ("<mujoco><include file='nowhere.xml'/></mujoco>", "nowhere.xml"),
        (
            "<mujoco><worldbody><replicate count='9000'><replicate count='99'/></replicate></worldbody></mujoco>",
            "9e\\+05",
        ),
        ('<!DOCTYPE m [<!ENTITY a "b">]><mujoco model="&a;"/>', "document type"),
        ('<!DOCTYPE m [<!ENTITY a "b">]><mujoco model="&a;&b;"', "document type"),
    ],
)
def test_files_that_cannot_be_used(text: str, message: str | None, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    if message is None:
        assert open_model(path, "mujoco").notices[0].startswith("bodies without mass")
        return
    with pytest.raises(ImportFormatError, match=message) as raised:
        open_model(path, "mujoco")
    assert raised.value.remedy and str(path) in raised.value.where


def test_an_unreadable_robot_may_have_a_urdf(tmp_path: Path) -> None:
    path = write(tmp_path, "<mujoco><worldbody><body nonsense='1'/></worldbody></mujoco>")
    with pytest.raises(ImportFormatError, match="nonsense") as raised:
        open_model(path)
    assert raised.value.remedy.endswith("cannot read, or give the robot's URDF, if there is one (--from urdf)")
    (tmp_path / "walker.urdf").write_text("<robot/>")
    with pytest.raises(ImportFormatError) as raised:
        open_model(path)
    assert raised.value.remedy.endswith("or give walker.urdf beside it (--from urdf)")


def test_entities_do_not_explode(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    text = f'<!DOCTYPE m [<!ENTITY e0 "aaaaaaaaaa">{levels}]><mujoco model="&e11;"/>'
    with pytest.raises(ImportFormatError, match="document type"):
        open_model(write(tmp_path, text))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ImportFormatError, match="no such file"):
        open_model(tmp_path / "robot.xml")


def test_without_mujoco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(MissingPackageError, match="not installed") as raised:
        open_model(write(tmp_path, biped()))
    assert raised.value.remedy == "pip install mujoco"


def test_what_mujoco_reads_and_the_standard_does_not(tmp_path: Path) -> None:
    """An attribute without a space before it; MuJoCo's reader decides."""
    text = biped().replace('<mujoco model="biped">', '<!-- a -- b --><mujoco model="biped">')
    assert opened_mirror(write(tmp_path, text))[1].joints == BIPED_JOINTS
