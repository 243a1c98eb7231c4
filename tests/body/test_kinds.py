"""Kinds of bodies, and which shipped skeletons are named where the number of joints does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chiralize.body.skeleton.catalog import load_skeleton, shipped, shipped_robots
from chiralize.body.skeleton.kinds import kind_of, offered
from chiralize.body.skeleton.skeleton import Skeleton

NOT_PERSONS = {
    "ap10k-17": "an animal",
    "macaque-17": "an animal",
    "atlas-30": "a robot",
    "cassie-16": "a robot",
    "quadruped-12": "a robot",
    "face-68": "a face",
    "hand-21": "a hand",
    "hand-21x2": "a hand",
    "smpl-body-23": "rotations",
    "smplx-body-21": "rotations",
}


def test_every_shipped_skeleton_has_its_kind() -> None:
    assert {name: kind_of(load_skeleton(name)) for name in shipped()} == {
        name: NOT_PERSONS.get(name, "a person") for name in shipped()
    }
    kinds = {name: kind_of(load_skeleton(name)) for name in shipped_robots()}
    assert kinds == {name: "a person" if name == "humanml3d-263" else "a robot" for name in shipped_robots()}


@pytest.mark.parametrize(
    ("joints", "kind"),
    [
        (("wrist", "thumb_1", "index_1", "pinky_1"), "a hand"),
        (("nose", "tail", "left_paw", "right_paw"), "an animal"),
        (("a", "b", "c", "d"), ""),
    ],
)
def test_a_skeleton_of_the_user_is_known_by_its_joints(joints: tuple[str, ...], kind: str) -> None:
    assert kind_of(Skeleton("mine", joints, ())) == kind


@pytest.mark.parametrize(
    ("given", "count", "text"),
    [
        ("hand-21", 12, ""),  # no robot for a hand
        ("h36m", 30, ""),
        ("atlas-30", 16, "cassie-16"),
        ("atlas-30", 17, ""),
        ("h36m", 16, "h36m-16, h36m-sh-16, mpii-16"),
        ("ap10k", 17, "ap10k-17, macaque-17"),
        ("h36m", 21, "hand-21 (as many joints, but a hand), smplx-body-21 (as many joints, but rotations)"),
        ("smplx-body-21", 23, "smpl-body-23"),
        ("hand-21", 14, "aic-14 (as many joints, but a person), crowdpose-14 (as many joints, but a person)"),
    ],
)
def test_another_kind_is_left_out_or_said(given: str, count: int, text: str) -> None:
    assert offered(count, instead_of=load_skeleton(given)) == text


def test_without_a_skeleton_all_kinds_are_named_with_their_kind() -> None:
    assert offered(16) == "cassie-16 (a robot), h36m-16, h36m-sh-16, mpii-16"
    unknown = replace(load_skeleton("h36m"), name="mine", joints=tuple(f"point_{number}" for number in range(17)))
    assert offered(21, instead_of=unknown) == "hand-21 (a hand), smplx-body-21 (rotations)"
    assert offered(12, instead_of=unknown) == ""
