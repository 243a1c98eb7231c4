"""Several things of a specification wrong at once: what is named is checked, all together."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import ConversionSpec, ResolvedSpec, parse_spec, resolve
from chiralize.errors import MirrorError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Around, Runner
from chiralize.problem.mirror import mirror_from
from chiralize.symmetry.action import act
from chiralize.verification import corrections
from chiralize.verification.evidence.answers import of_calls
from chiralize.verification.evidence.fitting import gap_of
from chiralize.verification.evidence.neighbours import nearby

JOINTS = [f"{side}_{part}" for side in "lr" for part in ("hip", "knee", "ankle")]


def spec(negated: str = "hip", gravity: str = "vector", turn: str = "axial") -> str:
    """A policy's specification. negated: parts whose angles change their signs."""
    signs = ", ".join(f"{joint}: [-1]" for joint in JOINTS if joint[2:] in negated.split())
    return f"""
joints: [{", ".join(JOINTS)}]
pairs: [[l_hip, r_hip], [l_knee, r_knee], [l_ankle, r_ankle]]
dims: [q]
negate: []
lateral: y
signs: {{{signs}}}
inputs:
  - {{fields: [{{joints: q}}, {{joints: dq}}, {{{gravity}: gravity}}, {{{turn}: turn}}]}}
outputs:
  - {{fields: [{{joints: action}}]}}
"""


class Symmetric(nn.Module):
    """(t(x) + T t(T x)) / 2 under the right mirror, in the weights of a trained network's spread."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(18, 24), nn.Tanh(), nn.Linear(24, 6))
        for weight in self.net.parameters():
            weight.data = torch.randn_like(weight) ** 3 / 3
        resolved = resolve(parse_spec(spec()), [(1, 18)], [(1, 6)])
        (on_inputs,), (on_outputs,) = resolved.inputs, resolved.outputs
        assert on_inputs is not None and on_outputs is not None
        self.on_inputs, self.on_outputs = on_inputs, on_outputs

    def forward(self, x: Tensor) -> Tensor:
        """The actions."""
        return (self.net(x) + act(self.net(act(x, self.on_inputs)), self.on_outputs)) / 2


def refusal(text: str) -> str:
    x = torch.rand(200, 18, generator=torch.Generator().manual_seed(1)) ** 3 * torch.linspace(0.5, 2, 18) - 0.2
    with pytest.raises(MirrorError) as caught:
        chiralize.chiralize(Symmetric(), parse_spec(text), (x[:2],), calibration=x, method="match")
    return str(caught.value)


ONE = {
    "no sign at all": (spec(""), "the other sign of l_hip and r_hip"),
    "another sign": (spec("hip knee"), "the other sign of l_knee and r_knee"),
}
SEVERAL = {
    "two signs": (spec("knee"), ["no signs of single joints", "the other sign of l_hip and r_hip"]),
    "a sign and two kinds": (
        spec("", "axial", "vector"),
        [
            "gravity as a polar vector of input 0",
            "the other sign of l_hip and r_hip",
            "turn as an axial vector of input 0",
        ],
    ),
}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("case", ONE)
def test_one_mistake_is_named(case: str) -> None:
    text, name = ONE[case]
    message = refusal(text)
    assert f"Fix: try {name} in the specification" in message


@pytest.mark.one_in(2)
@pytest.mark.parametrize("case", SEVERAL)
def test_all_mistakes_are_named_at_once(case: str) -> None:
    """No mirror is named that is wrong itself, as each is that mends one mistake of several."""
    text, names = SEVERAL[case]
    message = refusal(text)
    assert f"{len(names)} things in the specification are wrong at once: its gap is" in message
    assert all(name in message for name in names)
    assert f"make all {len(names)} changes in the specification at once" in message
    assert "another mirror fits the network better" not in message and "comes nearer" not in message


def test_where_nothing_near_fits_nothing_is_suggested() -> None:
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(18, 24), nn.Tanh(), nn.Linear(24, 6))
    for weight in net.parameters():
        weight.data = torch.randn_like(weight) ** 3 / 3
    x = torch.rand(200, 18, generator=torch.Generator().manual_seed(1)) ** 3 * torch.linspace(0.5, 2, 18) - 0.2
    with pytest.raises(MirrorError) as caught:
        chiralize.chiralize(net, parse_spec(spec()), (x[:2],), calibration=x, method="match")
    message = str(caught.value)
    assert "Fix: consider that the network may be badly trained or know one side only" in message
    assert "--method average --force" in message and "try " not in message
    assert "; else check joint order, pairs, negated coordinates and layouts" in message


def test_no_change_is_named_that_another_undoes_or_that_the_rest_does_not_need() -> None:
    """Left out alone, each of two changes that undo each other opens the gap again."""
    x = torch.rand(64, 18, generator=torch.Generator().manual_seed(1)) ** 3 * torch.linspace(0.5, 2, 18) - 0.2
    gravity, turn, back = (
        f"{name} vector of input 0" for name in ("gravity as a polar", "turn as a polar", "turn as an axial")
    )

    def resolved_as(given: ConversionSpec) -> tuple[ResolvedSpec, NetworkMirror]:
        resolved = resolve(given, [(1, 18)], [(1, 6)])
        return resolved, mirror_from(resolved, resolved.inputs, resolved.outputs, {}, Around())

    resolved, mirror = resolved_as(parse_spec(spec(gravity="axial")))
    with Runner(Symmetric()) as runner:
        answers = of_calls(runner, mirror, [((x,), {})])
        start = corrections._Step((), resolved, mirror, gap_of(mirror, answers))
        after = partial(corrections._after, answers=answers, start=start, resolve=resolved_as, near=nearby)
        for names in ((gravity, turn, back), (turn, gravity, back), (turn, back, gravity), (gravity,)):
            found = after(names)
            assert found is not None and found.gap < 1e-4 < 0.1 < start.gap
            assert corrections._without_needless(answers, start, found, after, 0.0).names == (gravity,)
        assert after((back,)) is None, "it is an axial vector already"


@pytest.mark.parametrize("changes", [1, 2])
def test_changes_against_the_names_of_joints_have_to_leave_less(changes: int) -> None:
    """Hips paired with knees are no mirror of a body, however near several changes come."""

    def most_left(pairs: str) -> float:
        resolved = of_legs(pairs)
        mirror = mirror_from(resolved, resolved.inputs, resolved.outputs, {}, Around())
        step = corrections._Step(("a change",) * changes, resolved, mirror, 0.29)
        return corrections._most_left(step, of_legs("[[l_hip, r_hip], [r_knee, l_knee]]"))

    assert (most_left("[[l_hip, r_knee], [l_knee, r_hip]]") < 0.29) == (changes > 1)
    assert most_left("[[l_hip, r_hip], [l_knee, r_knee]]") >= 0.3


def of_legs(pairs: str) -> ResolvedSpec:
    text = f"{{joints: [l_hip, r_hip, l_knee, r_knee], pairs: {pairs}, dims: [q], negate: [], lateral: y}}"
    return resolve(parse_spec(text), [(1, 4)], [(1, 4)])
