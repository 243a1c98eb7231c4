"""The shipped skeleton files: each is an involution, uses every joint once, and reads back to itself."""

import numpy as np
import pytest
import yaml

from chiralize.body.skeleton import catalog
from chiralize.body.skeleton.catalog import (
    aliases,
    find_shipped,
    load_skeleton,
    shipped,
    skeleton_folder,
    skeleton_from_dict,
    skeleton_from_yaml,
)
from chiralize.body.skeleton.lint import lint_skeleton
from chiralize.body.skeleton.naming import infer_pairs, side
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import SpecError
from chiralize.symmetry.involution import SignedPermutation

ALL = shipped()
ROTATIONS = ("smpl-body-23", "smplx-body-21")
ROBOTS = ("quadruped-12", "atlas-30", "cassie-16")
REQUIRED = {
    "h36m": "h36m-17",
    "humaneva": "humaneva-15",
    "coco": "coco-17",
    "openpose": "openpose-18",
    "penn-action": "penn-action-13",
    "mpii": "mpii-16",
    "ntu": "ntu-25",
    "smpl": "smpl-24",
    "quadruped": "quadruped-12",
}


def test_there_are_33_and_every_name_ends_in_its_number_of_joints():
    assert len(ALL) == 33
    for name in ALL:
        count = eval(name.rsplit("-", 1)[1].replace("x", "*"), {})
        assert len(load_skeleton(name).joints) == count


def test_required_aliases_and_no_alias_twice():
    listed = [alias for name in ALL for alias in load_skeleton(name).aliases]
    assert len(listed) == len(set(listed)) == len(aliases())
    assert not set(listed) & set(ALL)
    for alias, name in REQUIRED.items():
        assert load_skeleton(alias) is find_shipped(name)


@pytest.mark.parametrize("name", ALL)
def test_mirror_twice_is_the_identity_and_every_joint_has_one_place(name):
    skeleton = load_skeleton(name)
    action = skeleton.merged_action()
    values = np.arange(1.0, action.size + 1)
    assert (action.act(action.act(values)) == values).all()
    used = [index for pair in skeleton.pairs for index in pair] + list(skeleton.center)
    assert sorted(used) == list(range(len(skeleton.joints)))
    assert skeleton.source


@pytest.mark.parametrize("name", ALL)
def test_names_pair_up_where_they_tell(name):
    skeleton = load_skeleton(name)
    told = infer_pairs(skeleton.joints)
    assert not told.sided
    assert set(told.pairs) <= set(skeleton.pairs)
    for left, right in skeleton.pairs:
        assert side(skeleton.joints[left]) in ("left", None)
        assert side(skeleton.joints[right]) in ("right", None)


@pytest.mark.parametrize("name", ALL)
def test_file_to_skeleton_to_file_is_the_identity(name):
    text = (skeleton_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    skeleton = load_skeleton(name)
    assert skeleton.to_yaml() == text
    assert skeleton_from_yaml(text) == skeleton == skeleton_from_dict(skeleton.to_dict())


@pytest.mark.parametrize("name", ALL)
def test_other_yaml_readers_see_the_same_names(name):
    """No name is one that a YAML 1.1 reader takes for a boolean or a number."""
    skeleton = load_skeleton(name)
    read = yaml.safe_load(skeleton.to_yaml())
    assert read["joints"] == list(skeleton.joints)
    assert read["pairs"] == [[skeleton.joints[i], skeleton.joints[j]] for i, j in skeleton.pairs]
    assert read == skeleton.to_dict()


@pytest.mark.parametrize("name", ALL)
def test_lint_finds_nothing(name):
    assert list(lint_skeleton(load_skeleton(name))) == []


@pytest.mark.parametrize("name", [name for name in ALL if name not in (*ROBOTS, *ROTATIONS)])
def test_bodies_negate_x(name):
    skeleton = load_skeleton(name)
    assert (skeleton.dims, skeleton.negate, skeleton.lateral) == (("x", "y", "z"), ("x",), "x")
    joints, coords = skeleton.joint_action(), skeleton.coord_action()
    assert skeleton.merged_action() == joints.kronecker(coords)
    assert skeleton.merged_action(joint_major=False) == coords.kronecker(joints)


@pytest.mark.parametrize("name", ROTATIONS)
def test_rotations_keep_the_part_about_x(name):
    skeleton = load_skeleton(name)
    assert (skeleton.dims, skeleton.negate, skeleton.lateral) == (("rx", "ry", "rz"), ("ry", "rz"), "x")
    assert skeleton.joints == load_skeleton("smpl-24").joints[1 : 1 + len(skeleton.joints)]


@pytest.mark.parametrize("name", ROBOTS)
def test_robots_have_signs_per_joint(name):
    skeleton = load_skeleton(name)
    assert (skeleton.dims, skeleton.negate, skeleton.lateral) == (("q",), (), "y")
    assert skeleton.has_joint_signs
    assert {row for _, row in skeleton.signs} == {(-1,)}


def test_quadruped_is_the_published_permutation_and_reflection():
    skeleton = load_skeleton("quadruped")
    assert skeleton.merged_action() == SignedPermutation(
        np.array([3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]), np.array([-1, 1, 1] * 4)
    )


def test_atlas_negates_centre_joints():
    skeleton = load_skeleton("atlas")
    signs = {skeleton.joints[joint] for joint, _ in skeleton.signs if joint in skeleton.center}
    assert signs == {"back_bkz", "back_bkx"}


def test_h36m_is_the_order_of_videopose3d():
    skeleton = load_skeleton("h36m")
    assert [left for left, _ in skeleton.pairs] == [4, 5, 6, 11, 12, 13]
    assert [right for _, right in skeleton.pairs] == [1, 2, 3, 14, 15, 16]


def test_hand_has_no_pairs_and_says_so():
    assert "pairs: []" in (skeleton_folder() / "hand-21.yaml").read_text(encoding="utf-8")
    assert load_skeleton("hand-21").joint_action().is_identity


def test_an_installed_wheel_finds_them_inside_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "__file__", str(tmp_path / "chiralize" / "body" / "skeleton" / "catalog.py"))
    with pytest.raises(SpecError, match="install chiralize again"):
        skeleton_folder()
    (tmp_path / "skeletons").mkdir()
    assert skeleton_folder() == tmp_path / "skeletons"
    (tmp_path / "chiralize" / "_skeletons").mkdir(parents=True)
    assert skeleton_folder() == tmp_path / "chiralize" / "_skeletons"


def test_partners_are_read_off_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as the permutation has, which is not built for each joint anew: 60 joints would make 60 of them."""
    bodies = list(map(load_skeleton, ALL))
    partners = [body.joint_action().partner.tolist() for body in bodies]
    monkeypatch.setattr(Skeleton, "joint_action", None)
    assert [[body.partner(index) for index in range(len(body.joints))] for body in bodies] == partners
