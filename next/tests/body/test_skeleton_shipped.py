"""The shipped skeleton files: each is an involution, uses every joint once, and reads back to itself."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from chiralize.body.catalog import load_skeleton, shipped
from chiralize.body.lint import lint_file
from chiralize.body.naming import infer_pairs, side
from chiralize.body.spec import load_spec, parse_spec
from chiralize.symmetry.involution import SignedPermutation

ALL = [name for name, path in shipped().items() if path.parent.name != "robots"]
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


def test_every_name_ends_in_its_number_of_joints() -> None:
    assert len(ALL) == 33
    for name in ALL:
        numbers = list(map(int, name.rsplit("-", 1)[1].split("x")))
        assert len(load_skeleton(name).joints) == np.prod(numbers)


def test_required_aliases_and_no_alias_twice() -> None:
    listed = [alias for name in ALL for alias in load_skeleton(name).aliases]
    assert len(listed) == len(set(listed)) and not set(listed) & set(ALL)
    for alias, name in REQUIRED.items():
        assert load_skeleton(alias) == load_skeleton(name)


@pytest.mark.parametrize("name", ALL)
def test_names_pair_up_where_they_tell(name):
    skeleton = load_skeleton(name)
    read = infer_pairs(skeleton.joints)
    assert not read.sided
    assert set(read.pairs) <= set(skeleton.pairs)
    for left, right in skeleton.pairs:
        assert side(skeleton.joints[left]) in ("left", None)
        assert side(skeleton.joints[right]) in ("right", None)


@pytest.mark.parametrize("name", ALL)
def test_written_and_read_again_it_is_the_same_for_other_yaml_readers_too(name: str) -> None:
    """No name is one that a YAML 1.1 reader takes for a boolean or a number."""
    skeleton = load_skeleton(name)
    assert parse_spec(skeleton.to_yaml()).skeleton == skeleton == load_spec(skeleton.to_dict()).skeleton
    assert yaml.safe_load(skeleton.to_yaml()) == skeleton.to_dict()


@pytest.mark.parametrize("name", sorted(shipped()))
def test_what_is_shown_of_it_can_be_read(name: str) -> None:
    """Robots, several mirrors and tensors included: what `to_dict` writes is a file."""
    spec = load_spec(name)
    assert parse_spec(json.dumps(spec.to_dict())) == spec and not lint_file(name)


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
    assert skeleton.signs
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


def test_describing_a_body_imports_no_torch() -> None:
    code = "import sys, chiralize.body.lint, chiralize.body.importing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
