"""Blocks of an observation: what swaps, what is negated, what every entry is called, and the way back to a file."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ConversionSpec, load_spec, parse_spec, resolve
from chiralize.body.tensors.acting import acted_on
from chiralize.body.tensors.conversion import doubts_of
from chiralize.body.tensors.fields import Field, joined_action, joined_labels
from chiralize.body.tensors.fields.partners import partners_of
from chiralize.errors import SpecError, UnpairedJointError
from chiralize.symmetry.involution import SignedPermutation

DOG = load_skeleton("quadruped")
BACKWARDS = Skeleton(
    "dog, front and back", ("FL_hip", "FR_hip", "RL_hip", "RR_hip"), ((0, 2), (1, 3)), ("q",), (), (), "x"
)


def blocks(*given: dict[str, Any]) -> tuple[Field, ...]:
    """The blocks that these items of `fields` describe."""
    spec = load_spec({"skeleton": "quadruped", "inputs": [{"fields": list(given)}]})
    assert spec.inputs is not None
    return spec.inputs[0].fields or ()


def action(*given: dict[str, Any], body: Skeleton = DOG) -> SignedPermutation:
    return joined_action(blocks(*given), body)


def labels(*given: dict[str, Any], body: Skeleton = DOG) -> list[str]:
    return joined_labels(blocks(*given), body)


FEET = ["FL", "FR", "RL", "RR"]
ARMS = ["torso", "left_hand", "right_hand"]


def test_feet_swap_and_their_forces_are_negated_sideways() -> None:
    force = {"feet": FEET, "kind": "vector", "name": "force"}
    assert str(action(force)) == "12: (0 3) -(1 4) (2 5) (6 9) -(7 10) (8 11)"
    assert labels(force)[:4] == ["force.FL.x", "force.FL.y", "force.FL.z", "force.FR.x"]
    planar = {**force, "dims": ["z"]}
    assert str(action(planar)) == "4: (0 1) (2 3)"
    by_entry = {**force, "major": "entries"}
    assert labels(by_entry)[:5] == ["force.FL.x", "force.FR.x", "force.RL.x", "force.RR.x", "force.FL.y"]
    assert str(action(by_entry)) == "12: (0 1) (2 3) -(4 5) -(6 7) (8 9) (10 11)"


def test_bodies_carry_wrenches_and_several_blocks() -> None:
    wrench = {"bodies": ARMS, "kind": "wrench", "order": "torque_first", "name": "w"}
    acting, names = action(wrench), labels(wrench)
    assert acting.sign[:6].tolist() == [-1, 1, -1, 1, -1, 1]
    assert names[acting.partner[names.index("w.left_hand.force.y")]] == "w.right_hand.force.y"
    each = {
        "bodies": ARMS,
        "each": [{"vector": "place"}, {"rotation": "matrix", "name": "R"}, {"scalar": 2, "name": "m"}],
    }
    names = labels(each)
    assert names[3:5] == ["torso.R[x,x]", "torso.R[x,y]"] and names[12:14] == ["torso.m[0]", "torso.m[1]"]
    assert len(set(names)) == len(names) == action(each).size == 42


def test_given_swaps_win_over_names_and_none_are_none() -> None:
    given_pairs = {"feet": ["a", "b", "c"], "kind": "scalar", "swap": [["a", "c"]]}
    assert str(action(given_pairs)) == "3: (0 2)"
    assert action({"feet": FEET, "kind": "scalar", "swap": []}).is_identity


def test_what_lies_between_two_joints_goes_with_them() -> None:
    """The same from either end, and its own partner between partners; numbered joints are joints, too."""
    body = Skeleton("b", ("l_a", "r_a", "l-b", "r-b", "c", "d", "e"), ((0, 1), (2, 3), (5, 6)))
    names = [f"{one}-{other}" for one, other in combinations(body.joints, 2)]
    pairs = {frozenset((names[i], names[j])) for i, j in partners_of(names, body, "distances")}
    image = {joint: body.joints[body.partner(number)] for number, joint in enumerate(body.joints)}
    expected: set[frozenset[str]] = set()
    for one, other in combinations(body.joints, 2):
        ways = (f"{image[one]}-{image[other]}", f"{image[other]}-{image[one]}")
        expected.add(frozenset((f"{one}-{other}", next(way for way in ways if way in names))))
    assert pairs == {pair for pair in expected if len(pair) > 1}
    with pytest.raises(UnpairedJointError, match="'l_a-c' without its partner 'r_a-c'"):
        partners_of(["l_a-c"], body, "distances")


BETWEEN = Skeleton("b", ("l_a", "r_a", "l-b", "r-b", "c", "d", "e"), ((0, 1), (2, 3), (5, 6)))


def angle(points: npt.NDArray[np.float64]) -> float:
    """The distance of two points, or the angle at the middle one of three; points: (count, 3)."""
    if len(points) == 2:
        return float(np.linalg.norm(points[0] - points[1]))
    one, other = points[0] - points[1], points[2] - points[1]
    return float(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [2, 3])
def test_distances_and_angles_of_the_mirrored_body_are_those_of_their_partners(count: int, seed: int) -> None:
    """Computed from points: whichever end each name begins with, and in whatever order they are listed."""
    rng = np.random.default_rng(seed)
    listed = [joints for joints in permutations(range(7), count) if joints[0] < joints[-1]]
    listed = [joints[:: rng.choice([1, -1])] for joints in rng.permutation(listed).tolist()]
    names = ["-".join(BETWEEN.joints[joint] for joint in joints) for joints in listed]
    acting = SignedPermutation.of(partners_of(names, BETWEEN, "angles"), size=len(names))
    pose = rng.standard_normal((7, 3))
    mirrored = pose[[BETWEEN.partner(joint) for joint in range(7)]] * [-1, 1, 1]
    of_pose, of_mirrored = (np.array([angle(points[joints]) for joints in listed]) for points in (pose, mirrored))
    assert np.abs(of_mirrored - of_pose[acting.partner]).max() < 1e-12
    assert np.abs(of_mirrored - of_pose).max() > 0.1


def test_an_angle_without_its_partner_is_refused_and_one_of_four_joints_is_none() -> None:
    with pytest.raises(UnpairedJointError, match="'l_a-c-d' without its partner 'r_a-c-e'"):
        partners_of(["l_a-c-d", "r_a-e-c"], BETWEEN, "angles")
    assert partners_of(["l_a-c-d", "e-c-r_a", "l_a-c-r_a"], BETWEEN, "angles") == ((0, 1),)
    with pytest.raises(UnpairedJointError, match="'l_a-c-d-e'"):
        partners_of(["l_a-c-d-e", "d-e-c-r_a"], BETWEEN, "turns")


def test_what_the_skeleton_decides_of_an_angle_is_no_question_of_its_name() -> None:
    """FL and RL are partners here: what lies between them is its own, though left and right stand beside it."""
    body = Skeleton("dog", ("FL", "FR", "RL", "RR"), ((0, 2), (1, 3)))
    names = [f"{one}-{other}" for one, other in combinations(body.joints, 2)]
    assert partners_of(names, body, "distances") == ((0, 5), (2, 3))


@pytest.mark.parametrize("each", [{"kind": "vector"}, {"each": [{"scalar": 1, "name": "d"}, {"vector": "way"}]}])
def test_a_vector_between_two_joints_is_another_from_the_other_end(each: dict[str, Any]) -> None:
    """It points the other way: M (b - a) from the partner of a to that of b. Only numbers that are kept have no end."""
    listed = ["FL_hip-FR_calf", "FL_calf-FR_hip"]
    with pytest.raises(UnpairedJointError, match="'FL_hip-FR_calf' without its partner 'FR_hip-FL_calf'"):
        action({"items": listed, **each})
    assert action({"items": listed, "kind": "scalar"}).partner.tolist() == [1, 0]
    assert action({"items": ["FL_hip-FR_calf", "FR_hip-FL_calf"], **each}).partner[0] != 0


def test_partners_follow_the_skeleton_also_where_it_mirrors_front_and_back() -> None:
    """FL and RL are partners where the skeleton says so of their hips, whatever left and right in the names say."""
    assert partners_of(FEET, DOG, "feet") == ((0, 1), (2, 3))
    assert partners_of(FEET, BACKWARDS, "feet") == ((0, 2), (1, 3))
    assert partners_of(["base", "RR_foot", "FR_foot", "RL_foot", "FL_foot"], BACKWARDS, "feet") == ((1, 2), (3, 4))
    told = "does not pair its joints by left and right: 'FL_hip' and 'FR_hip' are no pair"
    with pytest.raises(UnpairedJointError, match=told):
        partners_of(["left_eye", "right_eye"], BACKWARDS, "eyes")
    with pytest.raises(UnpairedJointError, match="without its partner"):
        partners_of(["FL", "RR"], DOG, "feet")
    assert partners_of(["left_eye", "nose", "right_eye"], DOG, "eyes") == ((0, 2),)
    assert partners_of(["leg_1", "leg_2", "leg_3", "leg_4"], load_skeleton("ant-v5"), "legs") == ((0, 3), (1, 2))


def test_every_block_follows_the_lateral_axis() -> None:
    everything = blocks(
        {"vector": "v"},
        {"axial": "w"},
        {"grid": [2, 3], "axes": ["x", "y"], "name": "h"},
        {"command": ["vx", "vy", "yaw_rate", "heading", "height", {"mode": -1}]},
        {"euler": "rpy", "name": "e"},
        {"feet": FEET, "kind": "vector"},
    )
    sideways, backwards = (joined_action(everything, body) for body in (DOG, BACKWARDS))
    assert sideways.sign[:6].tolist() == [1, -1, 1, -1, 1, -1]
    assert backwards.sign[:6].tolist() == [-1, 1, 1, 1, -1, -1]
    assert (sideways.partner[6:12] - 6).tolist() == [2, 1, 0, 5, 4, 3]
    assert (backwards.partner[6:12] - 6).tolist() == [3, 4, 5, 0, 1, 2]
    assert sideways.sign[12:21].tolist() == [1, -1, -1, -1, 1, -1, -1, 1, -1]
    assert backwards.sign[12:21].tolist() == [-1, 1, -1, -1, 1, -1, 1, -1, -1]
    assert sideways.partner[21] == 24 and backwards.partner[21] == 27


def test_grids() -> None:
    """A height scan of 17 x and 11 y, y fastest, is mirrored as the picture of it is."""
    scan = np.arange(17 * 11.0)
    mirrored = action({"grid": [17, 11], "axes": ["x", "y"]}).act(scan)
    np.testing.assert_array_equal(mirrored.reshape(17, 11), scan.reshape(17, 11)[:, ::-1])
    other = action({"grid": [11, 17], "axes": ["y", "x"]}).act(scan)
    np.testing.assert_array_equal(other.reshape(11, 17), scan.reshape(11, 17)[::-1])
    image = action({"grid": [3, 4, 5], "axes": ["channel", "row", "column"], "flip": 2}).act(np.arange(60.0))
    np.testing.assert_array_equal(image.reshape(3, 4, 5), np.arange(60.0).reshape(3, 4, 5)[..., ::-1])
    assert action({"grid": [7], "axes": ["x"]}).is_identity, "nothing lies sideways"
    assert labels({"grid": [2, 2], "flip": 1, "name": "h"}) == ["h[0,0]", "h[0,1]", "h[1,0]", "h[1,1]"]


def test_phases() -> None:
    """T of the clock at t is the clock half a period later."""

    def clock(time: float) -> np.ndarray:
        return np.array([np.sin(time), np.cos(time)])

    half = {"phase": "sin_cos", "shift": "half"}
    np.testing.assert_allclose(action(half).act(clock(0.3)), clock(0.3 + np.pi), atol=1e-12)
    assert action({"phase": "sin_cos", "shift": "none"}).is_identity
    legs = {"feet": FEET, "each": [{"phase": "sin", "shift": "none", "name": "clock"}]}
    assert str(action(legs)) == "4: (0 1) (2 3)" and labels(legs)[0] == "FL.clock.sin"


def test_history_by_frames_and_by_terms() -> None:
    of = [{"vector": "v"}, {"feet": ["FL", "FR"], "kind": "scalar", "name": "contact"}]
    frames = {"history": 2, "order": "oldest_first", "of": of}
    assert str(action(frames)) == "10: -1 (3 4) -6 (8 9)"
    assert labels(frames)[::4] == ["t-1.v.x", "t-1.contact.FR", "t-0.contact.FL"]
    terms = {"history": 2, "order": "newest_first", "major": "terms", "of": of}
    assert str(action(terms)) == "10: -1 -4 (6 7) (8 9)"
    assert labels(terms)[:4] == ["t-0.v.x", "t-0.v.y", "t-0.v.z", "t-1.v.x"]
    single = {"history": 3, "of": {"vector": "v"}}
    assert str(action(single)) == "9: -1 -4 -7" and labels(single)[-1] == "frame2.v.z"
    nested = {"history": 2, "of": [{"history": 3, "of": {"scalar": 2}}]}
    assert action(nested).size == 12


def test_some_joints_in_another_order_and_without_signs() -> None:
    hips = {"joints": "q", "of": ["RR_hip", "FL_hip", "FR_hip", "RL_hip"]}
    assert str(action(hips)) == "4: -(0 3) -(1 2)"
    assert str(action({**hips, "kind": "scalar"})) == "4: (0 3) (1 2)"
    with pytest.raises(SpecError, match="without its partner"):
        action({"joints": "q", "of": ["RR_hip"]})


def test_named_entries() -> None:
    assert labels({"scalar": ["speed", "load"], "name": "s"}) == ["s.speed", "s.load"]
    assert str(action({"signs": {"lean": -1, "load": 1}})) == "2: -0"
    assert labels({"signs": {"lean": -1, "load": 1}, "name": "s"}) == ["s.lean", "s.load"]


def test_as_many_numbers_as_coordinates_are_questioned() -> None:
    fields = [{"joints": "p"}, {"scalar": 34, "name": "speed"}]
    (doubt,) = doubts_of(load_spec({"skeleton": "coco", "inputs": [{"fields": fields}]}))
    assert "keeps 34 entries where they are, 2 for each joint of the body" in doubt
    assert "write {joints: speed, dims: [x, y]}" in doubt


@pytest.mark.parametrize(
    ("block", "doubt"),
    [
        ({"scalar": 4, "name": "feet_contact"}, "keeps 4 entries"),
        ({"scalar": 2, "name": "Foot height"}, "keeps 2 entries"),
        ({"scalar": ["left_contact", "right_contact"]}, "name a side"),
        ({"signs": {"FL": 1, "FR": 1}}, "name a side"),
        ({"history": 2, "of": [{"scalar": 2, "name": "contacts"}]}, "keeps 2 entries"),
        ({"scalar": len(DOG.joints), "name": "last_action"}, "as many as the body has joints"),
        ({"scalar": len(DOG.joints), "name": "last_action"}, "for each joint, write {joints: last_action}"),
        ({"history": 3, "of": [{"scalar": len(DOG.joints), "name": "torque"}]}, "write {joints: torque}"),
        ({"scalar": ["ball_x", "ball_y", "load"]}, "beside ball_x: {vector: ball, dims: [x, y]}"),
        ({"scalar": ["vx", "vy"]}, "'vy' is kept, and by its name it is the coordinate that points sideways"),
        ({"scalar": ["Ball_X", "Ball_Y"]}, "beside Ball_x: {vector: Ball, dims: [x, y]}"),
        (
            {"vector": "base_ang_vel"},
            "vector 'base_ang_vel' is by its name one of the other kind: {axial: base_ang_vel}",
        ),
        ({"vector": "imu gyro"}, "one of the other kind: {axial: imu gyro}"),
        (
            {"axial": "base_lin_vel"},
            "axial 'base_lin_vel' is by its name one of the other kind: {vector: base_lin_vel}",
        ),
        ({"axial": "projected_gravity"}, "one of the other kind: {vector: projected_gravity}"),
        ({"vector": "roll_pitch_yaw_vel"}, "one of the other kind: {axial: roll_pitch_yaw_vel}"),
        ({"axial": "base_ang_vel"}, None),
        ({"vector": "gravity"}, None),
        ({"vector": "ee_target"}, None),
        ({"axial": "joint_pos"}, None),
        ({"scalar": ["ang_vel_x", "ang_vel_y"]}, None),
        ({"scalar": ["angvel_x", "angvel_y", "quat_x", "quat_y", "size_x", "size_y"]}, None),
        ({"scalar": ["ball_x", "load"]}, None),
        ({"scalar": [f"n{i}" for i in range(len(DOG.joints))]}, None),
        ({"scalar": 3, "name": "feet_contact"}, None),
        ({"scalar": 2, "name": "footage"}, None),
        ({"scalar": 2, "name": "latent"}, None),
        ({"scalar": ["speed", "load"]}, None),
    ],
)
def test_kept_numbers_that_look_like_left_and_right_are_questioned(block: dict[str, Any], doubt: str | None) -> None:
    """In lint and among the doubts of a specification, with the file's line."""
    spec = load_spec({"skeleton": "quadruped", "inputs": [{"fields": [block]}]})
    doubts = list(doubts_of(spec))
    assert any(doubt in text for text in doubts) if doubt else not doubts


@pytest.mark.parametrize(
    ("block", "words", "changed"),
    [
        (
            {"command": ["vx", {"yaw_rate": 1}]},
            "the other sign of command.yaw_rate",
            {"command": ["vx", {"yaw_rate": -1}]},
        ),
        ({"joints": "q"}, "q without signs (kind: scalar)", {"joints": "q", "kind": "scalar"}),
        ({"joints": "q", "kind": "scalar"}, "q with the signs of the joints", {"joints": "q"}),
        (
            {
                "feet": ["FL", "FR"],
                "each": [{"scalar": 1, "name": "force"}, {"scalar": 1, "name": "height"}],
                "swap": [],
            },
            "`major: entries` in feet",
            {"major": "entries"},
        ),
    ],
)
def test_blocks_are_taken_for_others(block: dict[str, Any], words: str, changed: dict[str, Any]) -> None:
    """The likeliest slips, each undone by one change; names that tell a sign are not doubted."""
    spec = load_spec({"skeleton": "quadruped", "inputs": [{"fields": [block]}]})
    assert spec.inputs is not None and spec.inputs[0].fields is not None
    others = dict(spec.inputs[0].fields[0].lookalikes())
    assert next(iter(others)) == words and changed.items() <= others[words].to_dict().items()


# ---- laws -----------------------------------------------------------------------------------------------------
NAMES = st.sampled_from(["a", "b", "left_c", "gravity"])
SIMPLE = st.one_of(
    st.builds(lambda name: {"vector": name}, NAMES),
    st.builds(lambda name, dims: {"axial": name, "dims": dims}, NAMES, st.sampled_from([["x"], ["z", "y"]])),
    st.builds(lambda size, name: {"scalar": size, "name": name}, st.integers(1, 4), NAMES),
    st.builds(lambda signs: {"signs": signs}, st.lists(st.sampled_from([1, -1]), min_size=1, max_size=3)),
    st.just({"signs": {"lean": -1, "load": 1}}),
    st.just({"scalar": ["speed", "load"], "name": "n"}),
    st.builds(lambda order: {"wrench": order}, st.sampled_from(["force_first", "torque_first"])),
    st.builds(lambda order: {"quaternion": order, "name": "base"}, st.sampled_from(["wxyz", "xyzw"])),
    st.builds(lambda order: {"rotation": order}, st.sampled_from(["matrix", "6d_by_column", "6d_by_row"])),
    st.builds(lambda order: {"euler": order}, st.sampled_from(["rpy", "yp", "r"])),
    st.builds(
        lambda f, s: {"phase": f, "shift": s}, st.sampled_from(["sin_cos", "cos"]), st.sampled_from(["half", "none"])
    ),
    st.just({"command": ["vx", "vy", {"gait": -1}], "name": "told"}),
    st.builds(
        lambda sizes, axes: {"grid": sizes, "axes": axes},
        st.tuples(st.integers(1, 4), st.integers(1, 4)).map(list),
        st.permutations(["x", "y", "z"]).map(lambda axes: axes[:2]),
    ),
)
ITEMS = st.builds(
    lambda each, swap, major: (
        {"feet": FEET, "each": each, "major": major} | ({"swap": swap} if swap is not None else {})
    ),
    st.lists(SIMPLE, min_size=1, max_size=2),
    st.sampled_from([None, [], [["FL", "RR"]]]),
    st.sampled_from(["items", "entries"]),
)
JOINTS = st.sampled_from(
    [{"joints": "q"}, {"joints": "q", "of": ["FL_hip", "FR_hip"]}, {"joints": "g", "kind": "scalar"}]
)
BLOCKS = st.recursive(
    st.one_of(SIMPLE, ITEMS, JOINTS),
    lambda inner: st.builds(
        lambda frames, order, major, of: {"history": frames, "order": order, "major": major, "of": of},
        st.integers(1, 3),
        st.sampled_from(["oldest_first", "newest_first"]),
        st.sampled_from(["frames", "terms"]),
        st.lists(inner, min_size=1, max_size=2),
    ),
    max_leaves=4,
)


@given(st.lists(BLOCKS, min_size=1, max_size=4), st.sampled_from("xyz"))
def test_any_blocks_are_an_involution_with_a_label_each_and_read_back(given: list[Any], lateral: str) -> None:
    """Whatever blocks are put together, on a body of any lateral axis: T T = 1, sizes agree, the file reads back."""
    body = replace(DOG, lateral=lateral)
    spec = load_spec({"skeleton": body.to_dict(), "inputs": [{"fields": given}]})
    assert spec.inputs is not None
    made = spec.inputs[0].fields or ()
    acting = joined_action(made, body)
    assert SignedPermutation(acting.partner, acting.sign) == acting
    assert acting.size == sum(block.size(body) for block in made) == len(joined_labels(made, body))
    assert ConversionSpec.from_dict(spec.to_dict()) == spec
    for block in made:
        for words, other in block.lookalikes():
            assert words and other.size(body) == block.size(body) == other.action(body).size


def test_blocks_resolve_to_names_of_entries() -> None:
    text = """
skeleton: quadruped
inputs:
  - fields:
      - {vector: gravity}
      - {history: 2, order: oldest_first, of: [{joints: q}, {feet: [FL, FR, RL, RR], kind: wrench, order: force_first}]}
"""
    resolved = resolve(parse_spec(text), [(1, 75)], [])
    assert resolved.label("input", 0, (0, 15)) == "t-1.wrench.FL.force.x"
    assert resolved.input_tensors[0].part((0, 15)) == "t-1.wrench.FL.force"


QUESTIONED = {
    "{scalar: 3, name: commands}": "'commands' has the signs [1, 1, 1]; those of vx, vy and a yaw rate are [1, -1, -1]",
    "{signs: [1, -1, 1], name: command}": "'command' has the signs [1, -1, 1]",
    "{scalar: 3, name: anchor_pos_b}": "keeps all three entries; by its name it may be {vector: anchor_pos_b}",
    "{scalar: 3, name: base_ang_vel}": "keeps all three entries; by its name it may be {axial: base_ang_vel}",
    "{scalar: 3, name: base_rpy}": "keeps all three entries; by its name it may be {axial: base_rpy}",
    "{scalar: 3, name: gyro_position}": "by its name it may be {vector: gyro_position}",
    "{scalar: 3, name: moment_arm}": "by its name it may be {vector: moment_arm}",
    "{scalar: 2, name: gait_phase}": "the clock of a gait is half a period later in the mirror",
    "{signs: [-1, 1], name: clock}": "'clock' has the signs [-1, 1]",
    "{scalar: 4, name: clock}": "four clocks are mostly one for every leg, which swap under the mirror",
    "{signs: [-1, -1, -1, -1], name: clock_inputs}": "four clocks are mostly one for every leg",
    "{scalar: 4, name: phase}": "{legs: [left, right], each: [{phase: sin_cos, shift: none}], name: clock}, with",
    "{legs: [FL, FR, RL, RR], each: [{phase: sin, shift: none, name: clock}]}": "are more than the skeleton has, whose",
    "{scalar: 2, name: clock_inputs}": "negates its sine and its cosine",
    "{phase: sin_cos, shift: none, name: gait}": "one clock for both sides is half a period later",
    "{legs: [left, right], each: [{phase: sin, shift: half, name: clock}]}": "though the mirror swaps them already",
    "{command: [vx, {yaw_rate: 1}], name: command}": "command 'yaw_rate' is kept; by its name it turns",
    "{command: [vx, {body_height: -1}], name: command}": "command 'body_height' is negated",
}
UNQUESTIONED = (
    "{signs: [1, -1, -1], name: commands}",
    "{signs: [-1, -1], name: clock}",
    "{phase: sin_cos, shift: half, name: gait}",
    "{phase: sin_cos, shift: none, name: jump}",
    "{legs: [left, right], each: [{phase: sin, shift: none, name: clock}]}",
    "{command: [vx, vy, yaw_rate, {gait: 1}], name: command}",
    "{scalar: 1, name: speed}",
    "{scalar: 3, name: composition}",
    "{scalar: 3, name: joint_pos}",
    "{scalar: 2, name: target_pos}",
)


@pytest.mark.parametrize("block", [*QUESTIONED, *UNQUESTIONED])
def test_commands_and_clocks_are_questioned(block: str) -> None:
    """No simulator knows what a command or a clock means: their names do."""
    body = "joints: [left_hip, right_hip]\npairs: [[left_hip, right_hip]]\ndims: [q]\nlateral: y\nnegate: []\n"
    notices = list(doubts_of(parse_spec(f"{body}inputs:\n  - fields: [{block}]\n")))
    if block in QUESTIONED:
        (notice,) = notices
        assert QUESTIONED[block] in notice
    else:
        assert not notices


KINDS_OF_NAMES = (
    *"ang_vel rotational_velocity rot_vel rotation_vel rpy_velocity roll_pitch_yaw_vel turn_vel".split(),
    *"spin_acceleration euler_rates_vel orientation_pos_error lin_ang_vel base_vel base_pos com_acc".split(),
    "force_torque",
)


@pytest.mark.parametrize(
    "block",
    [
        *map("{{axial: {}}}".format, KINDS_OF_NAMES),
        *map("{{vector: {}}}".format, "moment_arm gyro_position torque_sensor_pos lin_ang_vel force_torque".split()),
    ],
)
def test_vectors_are_questioned_only_where_the_name_speaks_for_one_kind(block: str) -> None:
    """A velocity may be of either kind, a rotation has many words, and a position is a vector, whatever it is of."""
    head = "joints: [left_hip, right_hip]\npairs: [[left_hip, right_hip]]\ndims: [q]\nlateral: y\nnegate: []\n"
    assert not list(doubts_of(parse_spec(f"{head}inputs:\n  - fields: [{block}]\n")))


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("l_hip", "r_hip"), "{legs: [l, r], each: [{phase: sin_cos, shift: none}], name: clock}"),
        (
            ("FL_hip", "FR_hip", "RL_hip", "RR_hip"),
            "{legs: [FL, FR, RL, RR], each: [{phase: sin, shift: none, name: cl",
        ),
        (("a_one", "b_two"), "{legs: [left, right], each: [{phase: sin_cos, shift: none}], name: clock}"),
    ],
)
def test_clocks_are_recommended_for_the_legs_that_there_are(names: tuple[str, ...], line: str) -> None:
    """A biped has sine and cosine of two legs, a quadruped one number of each of four."""
    pairs = ", ".join(f"[{one}, {other}]" for one, other in zip(names[::2], names[1::2], strict=True))
    body = f"joints: [{', '.join(names)}]\npairs: [{pairs}]\ndims: [q]\nnegate: []\n"
    notices = doubts_of(parse_spec(f"{body}inputs:\n  - fields: [{{scalar: 4, name: clock}}]\n"))
    assert any(line in notice for notice in notices)


def test_joints_without_coordinates_have_no_entries() -> None:
    """Also beside a block that is mirrored at a centre, of which the spread is asked."""
    box = {"box": "xyxy", "name": "person", "reflect": {"x": 320}}
    fields = [{"joints": "pose", "dims": []}, box]
    spec = load_spec({"skeleton": "h36m", "inputs": [{"fields": fields}], "outputs": ["b j d"]})
    (tensor,) = resolve(spec, [(2, 4)], [(2, 17, 3)]).input_tensors
    assert tensor.shape == (2, 4) and tensor.names[0] == "person.x1"


def test_what_is_left_out_is_said_beside_what_the_mirror_does() -> None:
    fields = [{"joints": "legs"}, {"unclaimed": 2, "name": "arm"}]
    spec = load_spec({"skeleton": "quadruped", "outputs": [{"fields": fields}]})
    (line,) = map(str, acted_on(spec))
    assert "pairs of its" in line and line.endswith("nothing is claimed of arm")
