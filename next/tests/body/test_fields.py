"""Blocks of an observation: what swaps, what is negated, what every entry is called, and the way back to a file."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiralize.body.catalog import load_skeleton
from chiralize.body.fields import Block, joined
from chiralize.body.naming import partners_of
from chiralize.body.resolve import resolve
from chiralize.body.skeleton import Skeleton
from chiralize.body.spec import Spec, load_spec, parse_spec
from chiralize.body.values import Wrong
from chiralize.errors import NotAnInvolutionError, SpecError, UnpairedJointError, WrongValueError
from chiralize.symmetry.involution import SignedPermutation

DOG = load_skeleton("quadruped")
BACKWARDS = Skeleton(
    "dog, front and back", ("FL_hip", "FR_hip", "RL_hip", "RR_hip"), ((0, 2), (1, 3)), ("q",), (), (), "x"
)


def blocks(*given: dict[str, Any]) -> tuple[Block, ...]:
    """The blocks that these items of `fields` describe."""
    spec = load_spec({"skeleton": "quadruped", "inputs": [{"fields": list(given)}]})
    assert spec.inputs is not None
    return spec.inputs[0].fields or ()


def action(*given: dict[str, Any], body: Skeleton = DOG) -> SignedPermutation:
    return joined(blocks(*given), body).action


def labels(*given: dict[str, Any], body: Skeleton = DOG) -> list[str]:
    return list(joined(blocks(*given), body).labels)


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
    acting = SignedPermutation.of(partners_of(names, BETWEEN), size=len(names))
    pose = rng.standard_normal((7, 3))
    mirrored = pose[[BETWEEN.partner(joint) for joint in range(7)]] * [-1, 1, 1]
    of_pose, of_mirrored = (np.array([angle(points[joints]) for joints in listed]) for points in (pose, mirrored))
    assert np.abs(of_mirrored - of_pose[acting.partner]).max() < 1e-12
    assert np.abs(of_mirrored - of_pose).max() > 0.1


@pytest.mark.parametrize("each", [{"kind": "vector"}, {"each": [{"scalar": 1, "name": "d"}, {"vector": "way"}]}])
def test_a_vector_between_two_joints_is_another_from_the_other_end(each: dict[str, Any]) -> None:
    """It points the other way: M (b - a) from the partner of a to that of b. Only numbers that are kept have no end."""
    listed = ["FL_hip-FR_calf", "FL_calf-FR_hip"]
    with pytest.raises(UnpairedJointError):
        action({"items": listed, **each})
    assert action({"items": listed, "kind": "scalar"}).partner.tolist() == [1, 0]
    assert action({"items": ["FL_hip-FR_calf", "FR_hip-FL_calf"], **each}).partner[0] != 0


def test_partners_follow_the_skeleton_also_where_it_mirrors_front_and_back() -> None:
    """FL and RL are partners where the skeleton says so of their hips, whatever left and right in the names say."""
    assert partners_of(FEET, DOG) == ((0, 1), (2, 3))
    assert partners_of(FEET, BACKWARDS) == ((0, 2), (1, 3))
    assert partners_of(["base", "RR_foot", "FR_foot", "RL_foot", "FL_foot"], BACKWARDS) == ((1, 2), (3, 4))
    with pytest.raises(Wrong):
        partners_of(["left_eye", "right_eye"], BACKWARDS)
    with pytest.raises(Wrong):
        partners_of(["FL", "RR"], DOG)
    assert partners_of(["left_eye", "nose", "right_eye"], DOG) == ((0, 2),)
    assert partners_of(["leg_1", "leg_2", "leg_3", "leg_4"], load_skeleton("ant-v5")) == ((0, 3), (1, 2))


def test_every_block_follows_the_lateral_axis() -> None:
    everything = blocks(
        {"vector": "v"},
        {"axial": "w"},
        {"grid": [2, 3], "axes": ["x", "y"], "name": "h"},
        {"command": ["vx", "vy", "yaw_rate", "heading", "height", {"mode": -1}]},
        {"euler": "rpy", "name": "e"},
        {"feet": FEET, "kind": "vector"},
    )
    sideways, backwards = (joined(everything, body).action for body in (DOG, BACKWARDS))
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
    with pytest.raises(SpecError):
        action({"joints": "q", "of": ["RR_hip"]})


def test_named_entries() -> None:
    assert labels({"scalar": ["speed", "load"], "name": "s"}) == ["s.speed", "s.load"]
    assert str(action({"signs": {"lean": -1, "load": 1}})) == "2: -0"
    assert labels({"signs": {"lean": -1, "load": 1}, "name": "s"}) == ["s.lean", "s.load"]


def test_any_other_block_is_listed_entry_by_entry() -> None:
    """The edges of a box that is mirrored at 320: x1' = 640 - x2."""
    box = {
        "entries": ["x1", "x2", "h"],
        "swap": [["x1", "x2"]],
        "negate": ["x1", "x2"],
        "reflect": {"x1": 320, "x2": 320},
    }
    run = joined(blocks({**box, "name": "box"}), DOG)
    assert (str(run.action), run.centers, run.labels) == (
        "3: -(0 1)",
        (320.0, 320.0, 0.0),
        ("box.x1", "box.x2", "box.h"),
    )
    with pytest.raises(NotAnInvolutionError):
        blocks({"entries": 2, "swap": [[0, 1]], "negate": [0]})


@pytest.mark.parametrize("name", ["cos_yaw", "heading_cos", "max_yaw_rate", "yaw_std", "abs_wz", "gait", "speed", "x"])
def test_every_command_but_those_of_a_closed_list_wants_its_sign(name: str) -> None:
    """A cosine and a limit do not change sign, whatever else their names say."""
    with pytest.raises(WrongValueError):
        blocks({"command": ["vx", name]})
    assert action({"command": ["vx", "vy", {name: 1}]}).sign.tolist() == [1, -1, 1]


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
    st.just({"command": ["vx", "vy", {"gait": -1}], "name": "order"}),
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
    listed = spec.inputs[0].fields or ()
    run = joined(listed, body)
    assert SignedPermutation(run.action.partner, run.action.sign) == run.action
    assert run.action.size == len(run.labels) == len(run.centers)
    assert Spec.from_dict(spec.to_dict()) == spec


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
    assert resolved.inputs[0].part((0, 15)) == "t-1.wrench.FL.force"


def test_what_is_not_claimed_is_listed_by_position() -> None:
    fields = [{"joints": "legs"}, {"unclaimed": 2, "name": "arm"}]
    spec = load_spec({"skeleton": "quadruped", "outputs": [{"fields": fields}, {"unclaimed": True}]})
    part, whole = resolve(spec, [], [(1, 14), (1, 5)]).outputs
    assert part.unclaimed == (12, 13) and part.parts[1] == ("arm", slice(12, 14))
    assert (whole.kind, whole.representation) == ("unclaimed", None)
    assert Spec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize(
    "text",
    [
        "inputs: [unclaimed]",
        "inputs: [{fields: [{unclaimed: 2}, {joints: q}]}]",
        "outputs: [{fields: [{unclaimed: 2}]}]",
        "outputs: [{fields: [{history: 2, of: [{unclaimed: 2}, {joints: q}]}]}]",
        "outputs: [{fields: [{unclaimed: 2}, {joints: q}], feeds: input 0}]",
    ],
)
def test_what_cannot_be_left_unclaimed(text: str) -> None:
    with pytest.raises(WrongValueError):
        parse_spec(f"skeleton: quadruped\n{text}\n")


# Every mistake: the block, the code of the error. All of them are in line 2.
BAD = {
    "{vectr: a}": "CH103",
    "{name: v}": "CH103",
    "{vector: v, scalar: 2}": "CH106",
    "{vector: v, swap: []}": "CH103",
    "{vector: v, dims: [w]}": "CH104",
    "{vector: v, dims: []}": "CH106",
    "{vector: v, reflect: {x: 1}}": "CH100",
    "{vector: v, reflect: {w: 1}}": "CH104",
    "{vector: no}": "CH106",
    "{scalar: 0}": "CH106",
    "{scalar: [a, a]}": "CH106",
    "{scalar: 1000000000000}": "CH106",
    "{signs: []}": "CH106",
    "{signs: [2]}": "CH106",
    "{quaternion: wzyx}": "CH106",
    "{euler: rr}": "CH106",
    "{phase: sin_cos}": "CH107",
    "{phase: raw, shift: half}": "CH106",
    "{command: []}": "CH106",
    "{command: [vx, vx]}": "CH106",
    "{joints: q, of: [FL_hip]}": "CH101",
    "{joints: q, of: [hip]}": "CH104",
    "{joints: q, kind: scalar, dims: [q]}": "CH106",
    "{joints: q, order: matrix}": "CH103",
    "{feet: [FL, FR]}": "CH107",
    "{feet: [FL, RR], kind: scalar}": "CH101",
    "{feet: [FL, FR], kind: rotation}": "CH107",
    "{feet: [FL, FR], kind: scalar, swap: [[FL, RL]]}": "CH104",
    "{feet: [FL, FR], kind: scalar, swap: [[FL, FL]]}": "CH106",
    "{feet: [FL, FR], each: []}": "CH106",
    "{feet: [FL, FR], each: [{vector: v}], kind: vector}": "CH106",
    "{grid: [2, 3]}": "CH107",
    "{grid: [2, 3], flip: 2}": "CH106",
    "{grid: [2, 3], axes: [x]}": "CH106",
    "{history: 0, of: [{vector: v}]}": "CH106",
    "{history: 2}": "CH107",
    "{history: 1000000, of: [{scalar: 1000000}]}": "CH106",
    "{entries: [a, b], swap: [[a, c]]}": "CH104",
}


@pytest.mark.parametrize("block", BAD)
def test_mistakes_are_named_with_their_line(block: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(f"skeleton: quadruped\ninputs: [{{fields: [{block}]}}]\n", "f.yaml")
    assert (caught.value.code, caught.value.where) == (BAD[block], "f.yaml:2")
    assert caught.value.remedy
