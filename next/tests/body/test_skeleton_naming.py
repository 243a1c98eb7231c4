"""Left and right in joint names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiralize.body.naming import infer_pairs, partner_name, side


def _pairs(text: str) -> dict[str, str]:
    """`left_hip/right_hip; ...` as left -> right."""
    pairs = [pair.strip().split("/") for pair in text.split(";")]
    return {pair[0]: pair[1] for pair in pairs}


SIDED = _pairs("""
    left_hip/right_hip; hip_left/hip_right; LeftArm/RightArm; ArmLeft/ArmRight; leftArm/rightArm;
    MOUTH_LEFT/MOUTH_RIGHT; LEFT_EYE_INNER/RIGHT_EYE_INNER; LShoulder/RShoulder; lShoulder/rShoulder;
    l_arm_shz/r_arm_shz; L_Eye/R_Eye; wrist_l/wrist_r; wrist.L/wrist.R; L-Knee/R-Knee; hoof f l/hoof f r;
    eyeL/eyeR; forelegL4/forelegR4; upper_left_arm/upper_right_arm; left1/right1; thigh (left)/thigh (right)
""")
NOT_SIDED = ["ring_finger1", "upright", "bright", "cleft", "leg", "root", "lip", "Root", "R2D2", "spine", "rl", "Relax"]
CLOSE = list(
    _pairs("""
    FL_hip/FR_hip; RL/RR; LF_HAA/RF_HAA; LR_hip/RR_hip; lr_hip/rr_hip; LM_coxa/RM_coxa; hl/hr; lhip/rhip; lk/rk;
    LH/RH; LA/RA; ll/rl; eyeleft/eyeright; T1_TL/T1_TR; L1A/R1A; leg_l2/leg_r2; hipl/hipr; T1_BL/T1_BR; ul/ur;
    ML2/MR2
""").items()
)


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


def test_all_sides_of_a_name_are_exchanged():
    names = ["left_hip-right_knee", "right_hip-right_knee", "right_hip-left_knee", "left_hip-left_knee"]
    assert infer_pairs(names).pairs == ((0, 2), (3, 1))
    assert side(names[0]) is None and side(names[1]) == "right"


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


def test_rear_legs_that_begin_with_their_side() -> None:
    """`RR` is the partner of `LR` where one exists, else of `RL`."""
    assert infer_pairs(["LF_hip", "RF_hip", "LR_hip", "RR_hip"]).pairs == ((0, 1), (2, 3))
    assert infer_pairs(["RL_hip", "RR_hip"]).pairs == ((0, 1),)
    assert infer_pairs(["rx_a", "lx_a", "RX_b", "LX_b"]).pairs == ()
