"""Imposed hidden layouts: halves, the paper's proportions, and the policy by depth or module path."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiralize.body.catalog import load_skeleton, shipped
from chiralize.body.hidden import HiddenPolicy, impose
from chiralize.body.spec import parse_spec
from chiralize.errors import SpecError, WrongValueError
from chiralize.symmetry.involution import SignedPermutation

H36M, PENN = load_skeleton("h36m"), load_skeleton("penn-action")
THIRD = Fraction(1, 3)


def _counts(action: SignedPermutation) -> tuple[int, int, int, int]:
    """(pairs, centre, negated of the left, negated of the centre), with left, right, centre in this order."""
    pairs = len(action.pairs)
    assert action.pairs == [(i, i + pairs) for i in range(pairs)]
    negative = action.sign < 0
    assert (negative[:pairs] == negative[pairs : 2 * pairs]).all()
    for block in (negative[:pairs], negative[2 * pairs :]):
        assert (np.diff(block.astype(int)) <= 0).all()
    return pairs, action.size - 2 * pairs, int(negative[:pairs].sum()), int(negative[2 * pairs :].sum())


def test_the_paper_1020_units_of_17_joints():
    assert _counts(impose(1020, "skeleton", THIRD, H36M)) == (360, 300, 120, 100)


def test_the_paper_1040_units_of_13_joints():
    assert _counts(impose(1040, "skeleton", Fraction(1, 2), PENN)) == (480, 80, 240, 40)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 64, 1025])
def test_half_is_unit_i_with_i_plus_half(size):
    action = impose(size, "half", 0, H36M)
    assert action.pairs == [(i, i + size // 2) for i in range(size // 2)] and action.is_sign_free
    signed = impose(size, "half", THIRD, H36M)
    half = size // 2
    wanted = int(THIRD * half + Fraction(1, 2))
    assert (signed.sign[:half] < 0).sum() == (signed.sign[half : 2 * half] < 0).sum() == wanted
    assert (signed.sign[2 * half :] == 1).all()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 64, 1025])
def test_adjacent_is_half_in_another_order(size):
    action, halves = (impose(size, pairing, THIRD, H36M) for pairing in ("adjacent", "half"))
    assert action.pairs == [(i, i + 1) for i in range(0, size - 1, 2)]
    assert (action.sign < 0).sum() == (halves.sign < 0).sum()
    assert all(action.sign[i] == action.sign[j] for i, j in action.pairs)


@given(
    st.sampled_from(sorted(shipped())),
    st.integers(0, 300),
    st.fractions(0, 1, max_denominator=12),
    st.sampled_from(["half", "skeleton"]),
)
def test_every_size_has_a_layout(name, size, share, pairing):
    skeleton = load_skeleton(name)
    action = impose(size, pairing, share, skeleton)
    assert action.size == size
    pairs, center, left, middle = _counts(action)
    assert abs(left - share * pairs) <= Fraction(1, 2)
    if pairing == "skeleton":
        assert abs(middle - share * center) <= Fraction(1, 2)
        assert abs(center - Fraction(size * len(skeleton.center), len(skeleton.joints))) <= 1


def test_what_cannot_be_imposed():
    for pairing, share in (("match", 0), ("other", 0), ("half", Fraction(3, 2)), ("half", -1)):
        with pytest.raises(WrongValueError):
            impose(8, pairing, share, H36M)


def test_policy_by_depth_repeats_its_last_entry():
    hidden = parse_spec("skeleton: h36m\nhidden: {negated: [1/6, 1/12, 0], pairing: [skeleton, half]}\n").hidden
    assert [hidden.negated_for(depth) for depth in range(5)] == [Fraction(1, 6), Fraction(1, 12), 0, 0, 0]
    assert [hidden.pairing_for(depth) for depth in range(3)] == ["skeleton", "half", "half"]
    assert hidden.any_negated


def test_policy_by_module_path_takes_the_first_glob():
    hidden = "hidden:\n  negated: {'blocks.0.*': 1/3, 'blocks.*': 0.25}\n  pairing: {head: match}\n"
    spec = parse_spec("skeleton: h36m\nactivation: tanh\n" + hidden)
    hidden = spec.hidden
    assert hidden.negated_for(9, "blocks.0.fc") == THIRD
    assert hidden.negated_for(0, "blocks.1.fc") == Fraction(1, 4)
    assert hidden.negated_for(0, "stem") == 0
    assert (hidden.pairing_for(0, "head"), hidden.pairing_for(0, "stem")) == ("match", "half")
    assert spec.notices == ()


def test_only_pairs_that_nobody_named_have_alternatives():
    negated = "skeleton: h36m\nactivation: tanh\nhidden: {negated: 1/3%s}\n"
    open_, by_name, by_glob = (
        parse_spec(negated % more).hidden for more in ("", ", pairing: half", ", pairing: {head: half}")
    )
    other = HiddenPolicy(pairing=("adjacent",), negated=(THIRD,))
    assert open_.alternatives == (open_, other)
    assert by_name.alternatives == (by_name,) and by_glob.alternatives == (by_glob,)
    assert "pairing" not in open_.to_dict() and by_name.to_dict() == {"pairing": "half", "negated": "1/3"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{pairing: quarter}", "CH106"),
        ("{negated: 1.5}", "CH106"),
        ("{negated: -1/3}", "CH106"),
        ("{negated: third}", "CH106"),
        ("{negated: 1/0}", "CH106"),
        ("{negated: []}", "CH106"),
        ("{negatd: 0}", "CH103"),
        ("half", "CH106"),
    ],
)
def test_wrong_policies(text: str, code: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(f"skeleton: h36m\nhidden: {text}\n", "h.yaml")
    assert (caught.value.code, caught.value.where) == (code, "h.yaml:2")
