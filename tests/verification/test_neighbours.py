"""Which other mirrors are tried beside T: those of shipped skeletons that could be meant."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from chiralize.body.skeleton.catalog import load_skeleton, names_of_size
from chiralize.body.skeleton.kinds import kind_of
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ConversionSpec, parse_spec, resolve
from chiralize.graph.running import Call
from chiralize.verification.evidence.neighbours import nearby
from chiralize.verification.evidence.still_joints import still_joints

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
HAND_22 = ("wrist", "palm", *(f"{finger}_{part}" for finger in FINGERS for part in (1, 2, 3, 4)))


def unnamed(joints: int) -> Skeleton:
    """A skeleton whose names say nothing of its body."""
    return Skeleton("mine", tuple(f"k{joint}" for joint in range(joints)), (), ("x", "y", "z"), ("x",))


def tried(body: Skeleton) -> list[str]:
    """The shipped skeletons among the mirrors near that of a network from poses to poses."""
    shape = (4, len(body.joints), len(body.dims))
    return [
        other.skeleton for other in nearby(resolve(ConversionSpec("net", body), [shape], [shape])) if other.skeleton
    ]


@pytest.mark.parametrize("name", ["h36m-17", "ap10k-17", "macaque-17", "hand-21", "smpl-24"])
def test_rivals_are_of_the_same_kind_of_body(name: str) -> None:
    """A network of a horse may be given the skeleton of a person with as many joints; of a hand, neither."""
    body = load_skeleton(name)
    kinds = {kind_of(load_skeleton(other)) for other in tried(body)}
    both = {"a person", "an animal"}
    assert name in tried(body) and kinds <= (both if kind_of(body) in both else {kind_of(body)})
    assert name != "h36m-17" or "ap10k-17" in tried(body)


def test_no_person_is_a_rival_of_a_robot_or_of_a_hand() -> None:
    """22 and 24 joints have shipped skeletons of persons alone."""
    assert names_of_size(22) and names_of_size(24)
    robot = Skeleton("pm01", tuple(f"j{joint}" for joint in range(24)), ((0, 1),), ("q",), ())
    hand = Skeleton("dhg-22", HAND_22, (), ("x", "y", "z"), ("x",))
    assert tried(robot) == tried(hand) == []
    assert tried(replace(hand, joints=unnamed(22).joints)) == list(names_of_size(22))


def test_without_its_coordinates_a_shipped_skeleton_is_only_named_by_its_pairs() -> None:
    """Two eyes of eight points, of which one pair was forgotten, are no robot, though that pairs the same joints."""
    points = tuple(f"{name}_{eye}" for eye in "pq" for name in ("a", "b", "c", "d", "e", "f", "g", "h"))
    pairs = tuple((point, point + 8) for point in range(7))
    body = Skeleton("eyes", points, pairs, ("x", "y"), ("x",))
    assert "q" in load_skeleton("cassie-16").dims and "cassie-16" not in tried(body)
    shape = (4, 16, 2)
    names = [other.name for other in nearby(resolve(ConversionSpec("net", body), [shape], [shape]))]
    assert names[0] == "h_p and h_q swapped"


@pytest.mark.parametrize("joints", [17, 21, 24])
def test_all_are_tried_where_the_kind_is_not_known(joints: int) -> None:
    """But for those of other coordinates, as rotations have: in place of positions they do not mirror these."""
    in_space = [name for name in names_of_size(joints) if set(load_skeleton(name).dims) >= set("xyz")]
    assert tried(unnamed(joints)) == in_space


FORGOTTEN = parse_spec("""
joints: [pelvis, spine, chest, left_hand, right_hand, left_foot, right_foot]
pairs: [[left_foot, right_foot]]
center: [pelvis, spine, chest, left_hand, right_hand]
dims: [x, y, z]
negate: x
inputs: [{layout: b t j d}]
outputs: [{layout: b j d}]
""")


def in_the_inputs(*still: int, samples: int = 8) -> tuple[set[str], frozenset[str]]:
    """The pairs that are tried in the inputs, and the joints that never move, where these are held at the root."""
    poses = torch.randn(samples, 4, 7, 3, generator=torch.Generator().manual_seed(0))
    poses[:, :, list(still)] = 0.0
    calls: list[Call] = [((part,), {}) for part in poses.split(2)]
    resolved = resolve(FORGOTTEN, [(2, 4, 7, 3)], [(2, 7, 3)])
    joints = still_joints(resolved, calls)
    names = [other.name for other in nearby(resolved, still=joints)]
    assert sum(name.endswith(" swapped in the outputs alone") for name in names) == 10
    return {name for name in names if name.endswith(" swapped")}, joints


def test_the_root_of_root_relative_poses_is_swapped_with_no_joint() -> None:
    """No pose of the data has its root elsewhere. Hands that nobody saw may be partners for all that."""
    every, none = in_the_inputs()
    assert len(every) == 10 and not none
    rooted, still = in_the_inputs(0)
    assert still == {"pelvis"} and rooted == {name for name in every if "pelvis" not in name}
    for_all_that, unseen = in_the_inputs(0, 3)
    assert unseen == {"pelvis"} and "left_hand and right_hand swapped" in for_all_that
    assert in_the_inputs(0, samples=2) == (every, none)
    assert in_the_inputs(0, 1, 2, 5) == (every, none)
