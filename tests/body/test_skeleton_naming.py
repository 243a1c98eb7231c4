"""Left and right in joint names."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiralize.body.skeleton import naming
from chiralize.body.skeleton.lint import lint_skeleton
from chiralize.body.skeleton.naming import (
    infer_pairs,
    orient,
    partner_name,
    side,
    sided_like_others,
    unpaired_like_others,
)
from chiralize.body.tensors import parse_spec
from chiralize.errors import UnpairedJointError
from chiralize.verification.evidence.names import name_findings

SIDED = {
    "left_hip": "right_hip",
    "hip_left": "hip_right",
    "LeftArm": "RightArm",
    "ArmLeft": "ArmRight",
    "leftArm": "rightArm",
    "MOUTH_LEFT": "MOUTH_RIGHT",
    "LEFT_EYE_INNER": "RIGHT_EYE_INNER",
    "LShoulder": "RShoulder",
    "lShoulder": "rShoulder",
    "l_arm_shz": "r_arm_shz",
    "L_Eye": "R_Eye",
    "wrist_l": "wrist_r",
    "wrist.L": "wrist.R",
    "L-Knee": "R-Knee",
    "hoof f l": "hoof f r",
    "eyeL": "eyeR",
    "forelegL4": "forelegR4",
    "upper_left_arm": "upper_right_arm",
    "left1": "right1",
    "thigh (left)": "thigh (right)",
}
NOT_SIDED = ["ring_finger1", "upright", "bright", "cleft", "leg", "root", "lip", "Root", "R2D2", "spine", "rl", "Relax"]
CLOSE = [
    ("FL_hip", "FR_hip"),
    ("RL", "RR"),
    ("LF_HAA", "RF_HAA"),
    ("LR_hip", "RR_hip"),
    ("lr_hip", "rr_hip"),
    ("LM_coxa", "RM_coxa"),
    ("hl", "hr"),
    ("lhip", "rhip"),
    ("lk", "rk"),
    ("LH", "RH"),
    ("LA", "RA"),
    ("ll", "rl"),
    ("eyeleft", "eyeright"),
    ("T1_TL", "T1_TR"),
    ("L1A", "R1A"),
    ("leg_l2", "leg_r2"),
    ("hipl", "hipr"),
    ("T1_BL", "T1_BR"),
    ("ul", "ur"),
    ("ML2", "MR2"),
]


@pytest.mark.parametrize("name", SIDED)
def test_names_that_tell(name):
    other = SIDED[name]
    assert (side(name), side(other)) == ("left", "right")
    assert (partner_name(name), partner_name(other)) == (other, name)
    assert infer_pairs(["tail", other, name]).pairs == ((2, 1),)


@pytest.mark.parametrize("name", NOT_SIDED)
def test_names_that_do_not_tell(name):
    assert side(name) is None
    assert partner_name(name) is None


@pytest.mark.parametrize("pair", CLOSE)
def test_pairs_that_only_both_names_tell(pair):
    assert side(pair[0]) is None
    assert infer_pairs([pair[1], "x", pair[0]]).pairs == ((2, 0),)
    assert orient((0, 1), [pair[1], pair[0]]) == (1, 0)


def test_all_sides_of_a_name_are_exchanged():
    names = ["left_hip-right_knee", "right_hip-right_knee", "right_hip-left_knee", "left_hip-left_knee"]
    assert infer_pairs(names).pairs == ((0, 2), (3, 1))
    assert side(names[0]) is None and side(names[1]) == "right"


def test_short_names_of_coordinates_are_no_sides():
    assert infer_pairs(["lx", "rx", "LZ", "RZ"]).pairs == ()


def test_four_legs_pair_within_front_and_rear():
    names = ["FR", "FL", "RR", "RL"]
    assert infer_pairs(names).pairs == ((1, 0), (3, 2))


def test_a_sided_name_without_partner_is_listed():
    proposal = infer_pairs(["left_a", "right_b", "nose"])
    assert (proposal.pairs, proposal.sided, proposal.center) == ((), (0, 1), (2,))


@given(st.lists(st.text(st.sampled_from("lrLReftigh_FB1 "), min_size=1, max_size=9), unique=True, max_size=12))
def test_proposals_are_involutions(names):
    proposal = infer_pairs(names)
    used = [i for pair in proposal.pairs for i in pair] + [*proposal.center, *proposal.sided]
    assert sorted(used) == list(range(len(names)))


@given(st.sampled_from(sorted(SIDED)), st.permutations(range(6)))
def test_order_does_not_matter(name, order):
    names = ["a", "b", "c", "d", name, SIDED[name]]
    shuffled = [names[i] for i in order]
    ((left, right),) = infer_pairs(shuffled).pairs
    assert (shuffled[left], shuffled[right]) == (name, SIDED[name])


@pytest.mark.parametrize(
    ("right", "left"), [("r.ASIS_study", "L.ASIS_study"), ("r_knee", "L_knee"), ("RHJC_study", "LHJC_study")]
)
def test_sides_written_large_and_small(right: str, left: str) -> None:
    assert infer_pairs([right, "C7", left]).pairs == ((2, 0),)


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["LR", "RR", "RL"], ((2, 1),)),
        (["RL", "LR", "RR"], ((0, 2),)),
        (["L", "l", "r"], ((1, 2),)),
        (["l", "L", "R"], ((1, 2),)),
        (["LR", "RR", "LL", "RL"], ((2, 0), (3, 1))),
    ],
)
def test_no_joint_is_in_two_pairs(names: list[str], pairs: tuple[tuple[int, int], ...]) -> None:
    """Names that name each other come first, in every order; of `L` and `l` neither takes the other's partner."""
    assert infer_pairs(names).pairs == pairs


def test_names_that_differ_only_in_size_are_not_taken_for_each_other() -> None:
    assert infer_pairs(["L_knee", "l_knee", "r_Knee", "r_KNEE"]).pairs == ()


def test_markers_of_one_side_alone_are_questioned() -> None:
    """RBAK of Plug-in-Gait is on the right shoulder blade alone; a vertebra and a rump are in the middle."""
    names, pairs = ["LTOE", "RTOE", "LHEE", "RHEE", "LKNE", "RKNE"], [(0, 1), (2, 3), (4, 5)]
    assert sided_like_others([*names, "RBAK", "L5", "Rump", "CLAV"], pairs) == [6]
    assert sided_like_others([*names, "RBAK"], pairs[:2]) == []  # two are no rule
    assert sided_like_others(["l_toe", "r_toe", "l_heel", "r_heel", "l_knee", "r_knee", "root"], pairs) == []
    body = parse_spec(f"{{joints: [{', '.join(names)}, RBAK], pairs: [[0, 1], [2, 3], [4, 5]]}}").skeleton
    (finding,) = lint_skeleton(body)
    assert finding.message == (
        "joint 'RBAK' begins as the names of one side do, and has no partner: T takes it for one of the middle"
    )


def test_what_most_pairs_differ_by_tells_a_pair() -> None:
    names = [f"{finger}_{side}" for finger in ("thumb", "index", "ring", "little") for side in "01"]
    pairs = [(0, 1), (2, 3), (4, 5)]
    assert unpaired_like_others([*names, "neck"], pairs) == [(6, 7)]
    assert unpaired_like_others(names, pairs[:2]) == []  # two are no rule
    assert unpaired_like_others(names, [(0, 3), (2, 5), (4, 7)]) == []  # nor are those that differ each otherwise
    assert "little_0 and little_1 are not paired, their names differ as those of most pairs do" in (
        name_findings(names, pairs).warnings
    )
    body = parse_spec(
        f"{{joints: [{', '.join(names)}], pairs: [[thumb_0, thumb_1], [index_0, index_1], [ring_0, ring_1]]}}"
    ).skeleton
    assert ["'little_0' and 'little_1' are not paired" in finding.message for finding in lint_skeleton(body)] == [True]


def test_electrodes_are_odd_on_the_left_and_even_on_the_right() -> None:
    """No pair differs as most of the others do, and yet their numbers tell the two that are missing."""
    names = "Fz FC3 FC1 FC2 FC4 C3 C1 Cz C2 C4 CP1 CPz CP2 P1 Pz P2".split()
    pairs = [(names.index(left), names.index(right)) for left, right in (("FC3", "FC4"), ("FC1", "FC2"), ("C3", "C4"))]
    pairs.append((names.index("C1"), names.index("C2")))
    missing = [(names[left], names[right]) for left, right in unpaired_like_others(names, pairs)]
    assert missing == [("CP1", "CP2"), ("P1", "P2")]


CAP = [
    "Fp1",
    "Fp2",
    "F3",
    "Fz",
    "F4",
    "FC5",
    "FC6",
    "T7",
    "T8",
    "C3",
    "Cz",
    "C4",
    "TP9",
    "TP10",
    "P7",
    "P8",
    "O1",
    "O2",
]


@pytest.mark.parametrize("names", [CAP, [name.upper() for name in CAP], ["TP9", "AF7", "AF8", "TP10"], CAP[::-1]])
def test_electrodes_are_paired_by_their_numbers(names: list[str]) -> None:
    """Odd ones are left, even ones right, and z is the midline."""
    proposal = infer_pairs(names)
    named = [(names[left], names[right]) for left, right in proposal.pairs]
    assert len(named) == (len(names) - len(proposal.center)) / 2 and proposal.sided == ()
    assert all(names[index].upper().endswith("Z") for index in proposal.center)
    for left, right in named:
        assert int(left.lstrip("AFPCTOafpcto")) + 1 == int(right.lstrip("AFPCTOafpcto"))
    assert orient((proposal.pairs[0][1], proposal.pairs[0][0]), names) == proposal.pairs[0]


@pytest.mark.parametrize(
    "names",
    [
        [f"J{number}" for number in range(1, 8)],
        [*CAP, "J1", "J2"],
        ["C1", "C2", "C3", "T1", "T2"],  # vertebrae
        ["F1", "F2", "F3", "F4"],  # fingers
        ["M1", "M2", "M3", "M4"],  # motors
        ["FT1", "FT2"],  # sensors of force and torque
    ],
)
def test_other_names_with_numbers_are_not_paired(names: list[str]) -> None:
    assert infer_pairs(names).pairs == ()


def test_an_electrode_without_its_partner_is_asked_for() -> None:
    text = "joints: [Fz, C3, C4, P2]\npairs: infer\ndims: [uV]\nnegate: []\n"
    with pytest.raises(UnpairedJointError, match="right joint 'P2' has no left partner"):
        parse_spec(text)
    assert parse_spec(text.replace(", P2", "")).skeleton.pairs == ((1, 2),)


def test_roles_of_two_teams() -> None:
    names = [f"{team}_{role}" for team in ("home", "away") for role in ("GK", "LB", "LCB", "RCB", "RB", "LM", "RM")]
    paired = [(names[left], names[right]) for left, right in infer_pairs(names).pairs]
    assert paired[:3] == [("home_LB", "home_RB"), ("home_LCB", "home_RCB"), ("home_LM", "home_RM")] and len(paired) == 6


def test_rear_legs_that_begin_with_their_side() -> None:
    """`RR` is the partner of `LR` where there is one, else of `RL`."""
    names = ["LF_hip", "RF_hip", "LR_hip", "RR_hip"]
    assert infer_pairs(names).pairs == ((0, 1), (2, 3))
    assert infer_pairs(["RL_hip", "RR_hip"]).pairs == ((0, 1),)
    assert infer_pairs(["rx_a", "lx_a", "RX_b", "LX_b"]).pairs == ()


def test_a_name_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many mirrors are looked through whose joints have that name."""
    read, of_match = list[str](), naming._reading

    def counted(name: str, match: re.Match[str], certain: bool) -> naming.Reading:
        """Note the name down."""
        read.append(name)
        return of_match(name, match, certain)

    monkeypatch.setattr(naming, "_reading", counted)
    names = ["left_of_this_test", "right_of_this_test"]
    assert infer_pairs(names).pairs == ((0, 1),) and set(read) == {*names}
    read.clear()
    assert infer_pairs(names).pairs == ((0, 1),) and not read
