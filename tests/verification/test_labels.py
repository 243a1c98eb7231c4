"""Left and right in the labels of entries: what they tell of a mirror, and where they are silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.skeleton.catalog import find_shipped, shipped
from chiralize.body.tensors import load_spec, parse_spec
from chiralize.commands.audit import audit
from chiralize.commands.convert import Request, convert
from chiralize.graph.mirror import NetworkMirror
from chiralize.problem.mirror import mirror_if_known
from chiralize.problem.preparation import prepare
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.evidence.labels import partners_by_label
from chiralize.verification.evidence.names import name_findings, names_of_entries
from tests.support.cases import mainly
from tests.support.small_body import BODY, normal, trained

JOINTS = ("neck", "left_hip", "right_hip", "left_knee", "right_knee")
PARTNER = (0, 2, 1, 4, 3)
ENDS = tuple(combinations(range(5), 2))


class Stepping(nn.Module):
    """A controller: a pose and a state to a pose and the next state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(12, 8), nn.Linear(8, 12)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        h = self.cell(x.flatten(1), h)
        return self.head(h).view(x.shape), h


def mirror_of(labels: Sequence[str], partner: Sequence[int]) -> NetworkMirror:
    """A mirror of one input and no output, one axis with these labels."""
    axis = Representation.of(SignedPermutation.of(pairs=_pairs(partner), negated=[], size=len(labels)))
    return NetworkMirror((TensorRepresentation((axis,)),), (), label=lambda io, index, entry: labels[entry[0]])


def _pairs(partner: Sequence[int]) -> list[tuple[int, int]]:
    return [(one, other) for one, other in enumerate(partner) if one < other]


def distances(form: str) -> tuple[list[str], list[int]]:
    """Labels of the distances between joints, and their partners."""
    labels = [form.format(JOINTS[i], JOINTS[j]) for i, j in ENDS]
    images = [tuple(sorted((PARTNER[i], PARTNER[j]))) for i, j in ENDS]
    return labels, [ENDS.index((i, j)) for i, j in images]


# ---- several sides in one label -------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["jcd.{}-{}", "{}_{}", "{} to {}", "d({}, {})", "{}->{}.length"])
def test_distances_between_joints_have_all_their_sides_exchanged(form: str) -> None:
    labels, partner = distances(form)
    assert len(_pairs(partner)) == 4 and names_of_entries(mirror_of(labels, partner)).warnings == ()


@pytest.mark.parametrize("form", ["{}-{}-{}", "angle.{}.{}.{}"])
def test_an_angle_is_the_same_from_either_end(form: str) -> None:
    """Angles at the knee and the hip, half of them named from the other end than their partners."""
    joints = [(0, 1, 3), (4, 2, 0), (1, 3, 4), (3, 4, 2), (1, 0, 2)]
    labels = [form.format(*(JOINTS[joint] for joint in angle)) for angle in joints]
    by_label = partners_by_label(labels, SignedPermutation.identity(5))
    assert by_label is not None and by_label.partner.tolist() == [1, 0, 3, 2, 4]
    assert by_label.tells.all() and names_of_entries(mirror_of(labels, [1, 0, 3, 2, 4])).warnings == ()


def test_a_distance_whose_first_side_alone_is_exchanged_contradicts_its_name() -> None:
    labels = ["left_hip-left_knee", "right_hip-left_knee", "right_hip-right_knee", "left_hip-right_knee"]
    assert names_of_entries(mirror_of(labels, [2, 3, 0, 1])).checks
    assert names_of_entries(mirror_of(labels, [1, 0, 3, 2])).warnings == (
        "input 0: T takes left_hip-left_knee to right_hip-left_knee, by its name it belongs to right_hip-right_knee "
        "(4 such entries)",
    )


def test_a_directed_pair_that_is_listed_both_ways_is_taken_by_its_exact_name() -> None:
    labels = ["left_a>right_b", "right_b>left_a", "right_a>left_b", "left_b>right_a"]
    by_label = partners_by_label(labels, SignedPermutation.identity(4))
    assert by_label is not None and by_label.partner.tolist() == [2, 3, 0, 1]


# ---- labels that say nothing ----------------------------------------------------------------------------------
def test_numbered_joints_neither_confirm_nor_contradict() -> None:
    labels = ["left_eye", "right_eye", "face-0", "face-1", "face-2"]
    found = names_of_entries(mirror_of(labels, [1, 0, 4, 3, 2]))
    assert found.warnings == () and found.checks == (
        "of 4 entries that T swaps, 2 have the names of left and right partners; those of the others do not say a side",
    )
    (warning,) = names_of_entries(mirror_of(labels, [0, 1, 4, 3, 2])).warnings
    assert warning == "input 0: T takes left_eye to left_eye, by its name it belongs to right_eye (2 such entries)"
    (warning,) = names_of_entries(mirror_of(labels, [2, 1, 0, 3, 4])).warnings
    assert warning == "input 0: T takes left_eye to face-0, by its name it belongs to right_eye (2 such entries)"


def test_hidden_units_of_states_are_no_entries_with_names() -> None:
    """Whether states are known or not, which a method decides, the names of the others say the same."""
    mirror = mirror_of(["left_eye", "right_eye"], [1, 0])
    state = TensorRepresentation((Representation.of(SignedPermutation.of(pairs=[(0, 1)], negated=[], size=3)),))
    expected = names_of_entries(mirror)
    assert expected.checks == ("the 2 entries that T swaps have the names of left and right partners",)

    def label(io: str, index: int, entry: tuple[int, ...]) -> str:
        """The names of the first input, and positions."""
        if (io, index) == ("input", 0):
            return ("left_eye", "right_eye")[entry[0]]
        return str(list(entry))

    with_states = replace(
        mirror,
        inputs=(*mirror.inputs, state),
        outputs=(state,),
        state_inputs=frozenset({1}),
        state_outputs=frozenset({0}),
        label=label,
    )
    assert names_of_entries(with_states) == expected


@pytest.mark.parametrize("method", mainly([["average"], ["match"]], [["match"]]))
def test_a_controller_is_said_the_same_of_by_every_command(method: str) -> None:
    """`convert` may not know how T acts on a state, `audit` and `verify` do."""
    text = 'inputs: [{layout: "b j d"}, {state: true}]\noutputs: [{layout: "b j d"}, {state: true}]\n'
    spec = parse_spec(BODY + text)
    network = prepare(trained(Stepping()), spec, (normal(2, 6, 2), torch.zeros(2, 8, dtype=torch.float64)))
    sentence = "the 8 entries that T swaps have the names of left and right partners"
    report = convert(network, "net", Request(method, samples=1, force=True)).report
    assert sentence in report.evidence.checks and sentence in audit(network, "net").evidence.checks


def test_entries_without_any_side_in_their_names_are_no_check() -> None:
    assert names_of_entries(mirror_of(["d0", "d1", "d2"], [1, 0, 2])).checks == ()


def test_a_side_whose_partner_is_no_label_says_nothing() -> None:
    by_label = partners_by_label(["left_eye", "right_eye", "left_tag"], SignedPermutation.identity(3))
    assert by_label is not None and by_label.tells.tolist() == [True, True, False]


def test_points_of_a_grid_on_either_side_are_numbered_as_T_has_them() -> None:
    labels = ["left_foot[0]", "left_foot[1]", "right_foot[0]", "right_foot[1]"]
    assert names_of_entries(mirror_of(labels, [3, 2, 1, 0])).warnings == ()
    assert names_of_entries(mirror_of(labels, [1, 0, 3, 2])).warnings


@pytest.mark.parametrize("name", shipped())
def test_no_shipped_skeleton_raises_a_doubt_about_itself(name: str) -> None:
    body = find_shipped(name)
    assert body is not None
    x = torch.zeros(1, len(body.joints), len(body.dims))
    mirror = mirror_if_known(prepare(nn.Tanh(), load_spec(body), (x,)), None)
    assert mirror is not None
    assert names_of_entries(mirror).warnings == name_findings(body.joints, body.pairs, body.edges).warnings == ()
