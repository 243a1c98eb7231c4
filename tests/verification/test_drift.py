"""Drift, degeneracy, asymmetry and the inputs that they are measured on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Call
from chiralize.symmetry.action import act
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.asymmetry import asymmetry, data_asymmetry
from chiralize.verification.drift import measure, random_inputs
from chiralize.verification.drift_sums import _Share
from chiralize.verification.verdicts import Degeneracy, Drift

NAMES = ("hip", "left_knee", "right_knee")
JOINTS = Representation.of(SignedPermutation.of([(1, 2)], size=3))
COORDS = Representation.of(SignedPermutation.of(negated=[0], size=2))
POSE = TensorRepresentation((Representation.trivial(4), JOINTS, COORDS))


def label(io: str, index: int, entry: tuple[int, ...]) -> str:
    return f"{NAMES[entry[1]]}.{'xy'[entry[2]]}"


MIRROR = NetworkMirror((POSE,), (POSE,), label=label)
X = torch.zeros(4, 3, 2)


class Net(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 6)).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.flatten(1).double()).view(x.shape)


class Mean(nn.Module):
    """The flip average of a network, moved towards that network by `back`."""

    def __init__(self, inner: nn.Module, back: float = 0.0) -> None:
        super().__init__()
        self.inner, self.back = inner, back

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        return y + (1 - self.back) * (act(self.inner(act(x, POSE)), POSE) - y) / 2


class Function(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> object:
        return self.function(x)  # type: ignore[operator]


INPUTS = random_inputs((X,), {}, 25, seed=1)


def drift(
    f: nn.Module, g: nn.Module, mirror: NetworkMirror, inputs: Sequence[Call], source: str, **more: object
) -> Drift:
    return measure(f, g, mirror, inputs, source, **more)[0]  # type: ignore[arg-type]


def degeneracy(f: nn.Module, g: nn.Module, mirror: NetworkMirror, inputs: Sequence[Call]) -> Degeneracy:
    return measure(f, g, mirror, inputs, "")[1]


# ---- drift ----------------------------------------------------------------------------------------------------
def test_the_flip_average_has_no_drift() -> None:
    found = drift(Net(), Mean(Net()), MIRROR, INPUTS, "random")
    assert found.outputs[0].drift < 1e-15 and found.rho < 1e-13
    assert found.gap > 0.5 and found.samples == 100 and found.source == "random"


def test_the_original_itself_is_at_rho_one() -> None:
    """RMS(f - TTA) = gap / 2 by definition."""
    found = drift(Net(), Net(), MIRROR, INPUTS, "random")
    assert found.rho == pytest.approx(1.0, rel=1e-9)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 99), st.floats(0, 3))
def test_rho_is_the_distance_from_the_flip_average(seed: int, back: float) -> None:
    net = Net(seed)
    assert drift(net, Mean(net, back), MIRROR, INPUTS[:4], "").rho == pytest.approx(back, abs=1e-9)


def test_figures_agree_with_their_definition() -> None:
    f, g = Net(0), Net(1)
    x = torch.cat([call[0][0] for call in INPUTS])
    with torch.no_grad():
        y, back, z = f(x), act(f(act(x, POSE)), POSE), g(x)
    s = (y - y.mean(0)).square().mean().sqrt()
    found = drift(f, g, MIRROR, INPUTS, "").outputs[0]
    assert found.gap == pytest.approx(float((y - back).square().mean().sqrt() / s))
    assert found.drift == pytest.approx(float((z - (y + back) / 2).square().mean().sqrt() / s))
    assert found.rho == pytest.approx(found.drift / max(found.gap / 2, 0.01))


def test_spread_survives_a_large_mean() -> None:
    far = Function(lambda x: x + 1e6 * torch.ones(3, 2).double())
    near = Function(lambda x: x.double())
    inputs = random_inputs((X.double(),), {}, 50)
    mirror = NetworkMirror((TensorRepresentation.trivial((4, 3, 2)),), (TensorRepresentation((*POSE.axes[:2], FREE2)),))
    gaps = [drift(own, own, mirror, inputs, "").gap for own in (far, near)]
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-6)


FREE2 = Representation.trivial(2)


def test_an_equivariant_original_is_measured_against_the_floor() -> None:
    found = drift(Mean(Net()), Function(lambda x: Mean(Net())(x) * 1.001), MIRROR, INPUTS, "")
    own = found.outputs[0]
    assert own.gap < 1e-14 and own.rho == pytest.approx(own.drift / 0.01)


def test_states_and_integers_are_left_out() -> None:
    many = Function(lambda x: (x, 1e9 * x[:, [1, 1, 1]], x[:, :, 1].argmax(1)))
    mirror = NetworkMirror((POSE,), (POSE, POSE, TensorRepresentation.trivial((4,))), state_outputs=frozenset({1}))
    found = drift(many, many, mirror, INPUTS, "")
    assert [own.index for own in found.outputs] == [0] and found.rho == 0


def test_rho_is_the_worst_output() -> None:
    f = Function(lambda x: (Net(0)(x), Net(1)(x)))
    g = Function(lambda x: (Mean(Net(0))(x), Mean(Net(1), 2.0)(x)))
    found = drift(f, g, NetworkMirror((POSE,), (POSE, POSE)), INPUTS[:3], "")
    assert found.rho == pytest.approx(2.0) and found.outputs[0].rho < 1e-9


def test_nan_is_infinitely_far() -> None:
    broken = Function(lambda x: x * float("nan"))
    assert drift(Net(), broken, MIRROR, INPUTS[:2], "").rho == float("inf")


def test_adapt_gives_the_result_its_own_arguments() -> None:
    twice = Function(lambda x: Mean(Net())(x / 2))
    found = drift(Net(), twice, MIRROR, INPUTS, "", adapt=lambda call: ((2 * call[0][0],), {}))
    assert found.rho < 1e-9


def test_networks_are_run_no_more_than_the_figures_take() -> None:
    runs = list[int]()

    class Counted(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            runs.append(len(x))
            return super().forward(x)

    measure(Counted(), Net(), MIRROR, INPUTS, "", probes=0)
    assert len(runs) <= 2 * len(INPUTS) + 1  # both views, and the first run again where it settles how runs are made


# ---- degeneracy -----------------------------------------------------------------------------------------------
def test_odd_share_of_a_network_that_keeps_and_of_one_that_loses() -> None:
    lost = Function(lambda x: (x + act(x, POSE)) / 2)
    kept = degeneracy(Net(), Mean(Net()), MIRROR, INPUTS)
    assert kept.collapsed == () and kept.odd_after == pytest.approx(kept.odd_before) and 0.1 < kept.odd_after[0] < 0.9
    gone = degeneracy(Net(), lost, MIRROR, INPUTS)
    assert gone.collapsed == (0,) and gone.odd_after[0] == 0


def test_share_agrees_with_its_definition() -> None:
    """Var((y - T y) / 2) / Var(y), of the original's flip average before and of the result after."""
    x = torch.cat([call[0][0] for call in INPUTS])
    with torch.no_grad():
        shares = []
        for y in (Mean(Net(0))(x), Net(1)(x)):
            odd = (y - act(y, POSE)) / 2
            shares.append(float(odd.var(0).sum() / y.var(0).sum()))
    found = degeneracy(Net(0), Net(1), MIRROR, INPUTS)
    assert (found.odd_before[0], found.odd_after[0]) == pytest.approx(tuple(shares), rel=1e-6)


def test_share_of_an_output_that_hardly_varies() -> None:
    """Squares about zero would lose all digits of it: 1e-9 about 1, as of a layer that training has not moved yet."""
    still = act(torch.ones(4, 3, 2), POSE) + torch.ones(4, 3, 2)

    def faint(net: nn.Module) -> nn.Module:
        return Function(lambda x: still + 1e-9 * net(x))

    plain = degeneracy(Net(0), Mean(Net(1)), MIRROR, INPUTS)
    found = degeneracy(faint(Net(0)), faint(Mean(Net(1))), MIRROR, INPUTS)
    assert not found.collapsed
    assert found.odd_before == pytest.approx(plain.odd_before, rel=1e-4)
    assert found.odd_after == pytest.approx(plain.odd_after, rel=1e-4)


def test_a_share_of_rounding_is_no_share() -> None:
    """Answers that differ by the last digits of single precision are one answer, whatever the odd part of those."""
    values = 3 + 1e-7 * torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares = []
    for eps in (torch.finfo(torch.float32).eps, torch.finfo(torch.float64).eps):
        share = _Share()
        share.add(values, values.flip(1), eps)
        shares.append(share.value)
    assert shares[0] == 0.0 and shares[1] > 0.1


def test_shares_of_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each counts from a first value of its own."""
    values = 3 + torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = values.flip(1)
    whole, parts = _Share(), [_Share(), _Share()]
    whole.add(values, turned, 0.0)
    for part, place in zip(parts, (slice(0, 11), slice(11, 30)), strict=True):
        part.add(values[place], turned[place], 0.0)
    firsts = [part.firsts for part in parts]
    monkeypatch.setattr("chiralize.graph.processes.count", lambda: 2)
    monkeypatch.setattr("chiralize.graph.processes.gathered", lambda given: firsts)
    monkeypatch.setattr("chiralize.graph.processes.add_up", lambda tensors: None)  # they are added below
    for part in parts:
        part.take_others()
    first, second = parts
    first.rows += second.rows
    first.squares = [a + b for a, b in zip(first.squares, second.squares, strict=True)]
    first.totals = [a + b for a, b in zip(first.totals, second.totals, strict=True)]
    assert first.value == pytest.approx(whole.value, rel=1e-12)


@pytest.mark.parametrize("detached", [False, True])
def test_dead_inputs_are_named(detached: bool) -> None:
    def blind(x: torch.Tensor) -> torch.Tensor:
        seen = x.clone()
        seen[:, 1:] = 0
        y = Net()(seen)
        return y.detach() if detached else y

    found = degeneracy(Net(), Function(blind), MIRROR, INPUTS)
    assert found.dead_inputs == ("left_knee.x", "left_knee.y", "right_knee.x", "right_knee.y")
    assert degeneracy(Net(), Mean(Net()), MIRROR, INPUTS).dead_inputs == ()


def test_an_input_that_nobody_reads_is_not_dead() -> None:
    blind = Function(lambda x: x[:, :1].expand(4, 3, 2))
    assert degeneracy(blind, blind, MIRROR, INPUTS).dead_inputs == ()


# ---- asymmetry ------------------------------------------------------------------------------------------------
def test_asymmetry_agrees_with_drift_and_names_the_worst_entry() -> None:
    def lopsided(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[:, 1, 1] *= 2
        return y

    net = Function(lopsided)
    found = asymmetry(net, MIRROR, INPUTS)
    assert found.gap == pytest.approx(drift(net, net, MIRROR, INPUTS, "").gap, rel=1e-6)
    assert {own.label for own in found.entries} == {"left_knee.y", "right_knee.y"}
    assert found.samples == 100 and asymmetry(net, MIRROR, INPUTS, most=1).entries == found.entries[:1]
    assert asymmetry(Mean(Net()), MIRROR, INPUTS).gap < 1e-14


def test_data_asymmetry_finds_what_leans_to_one_side() -> None:
    lean = [((x + torch.tensor([5.0, 0.0]),), {}) for (x,), _ in INPUTS]
    found = data_asymmetry(MIRROR, lean, most=3)
    assert len(found) == 3 and all(own.label.endswith(".x") and own.gap > 5 for own in found)
    assert all(own.gap < 1 for own in data_asymmetry(MIRROR, INPUTS))


# ---- inputs ---------------------------------------------------------------------------------------------------
def test_random_inputs_keep_integers_and_structure() -> None:
    calls = random_inputs((X, [torch.tensor([1, 2])]), {"flag": True}, 3, seed=4)
    assert len(calls) == 3 and calls[0][1] == {"flag": True}
    assert torch.equal(calls[1][0][1][0], torch.tensor([1, 2]))
    assert not torch.equal(calls[0][0][0], calls[1][0][0])
    assert torch.equal(calls[0][0][0], random_inputs((X, [torch.tensor([1, 2])]), {}, 1, seed=4)[0][0][0])
