"""Outputs with several units: gap, drift and rho of each in its own spread, by sums that import nothing of ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec, resolve
from chiralize.body.tensors.unit_groups import unit_groups
from chiralize.commands.audit import audit
from chiralize.errors import MirrorError
from chiralize.graph.running import Around, Call, Runner
from chiralize.graph.units import Units, relative
from chiralize.methods.refine.imitation import Distance
from chiralize.problem.mirror import mirror_from
from chiralize.problem.preparation import prepare
from chiralize.verification.asymmetry.spreads import Spreads
from chiralize.verification.drift_sums import Tally
from chiralize.verification.evidence.answers import of_calls
from chiralize.verification.evidence.fitting import gap_of
from tests.support.small_body import BODY, normal

FEATURES = BODY + (
    "negate: x\nlateral: x\ninputs: [{layout: 'b j d'}]\noutputs:\n  - fields:\n"
    "      - {scalar: [speed, area]}\n      - {signs: {turn: -1, bend: -1}}\n"
    "      - {items: [left_ear, right_ear], kind: scalar, name: ear}\n      - {vector: way, dims: [x, y]}\n"
)
SCALES = torch.tensor([30.0, 2000.0, 0.1, 0.02, 50.0, 50.0, 7.0, 7.0]).double()
SIGNS = np.array([1, 1, -1, -1, 1, 1, -1, 1])
PARTNER = np.array([0, 1, 2, 3, 5, 4, 6, 7])
GROUPS = [[0], [1], [2], [3], [4, 5], [6, 7]]


def turned(y: np.ndarray) -> np.ndarray:
    return y[..., PARTNER] * SIGNS


def own_figures(first: np.ndarray, back: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gap and drift of every entry in the spread of its unit."""
    gaps, drifts = np.zeros(8), np.zeros(8)
    for group in GROUPS:
        about = first[:, group] - first[:, group].mean(0)
        spread = np.sqrt((about**2).mean())
        for entry in group:
            gaps[entry] = np.sqrt(((first - back)[:, entry] ** 2).mean()) / spread
            drifts[entry] = np.sqrt(((theirs - (first + back) / 2)[:, entry] ** 2).mean()) / spread
    return gaps, drifts


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_entry_counts_in_the_spread_of_its_unit(seed: int) -> None:
    drawn = torch.Generator().manual_seed(seed)
    shape = (60, 8)
    first, other, theirs = (torch.randn(shape, generator=drawn).double() * SCALES + 3 * SCALES for _ in range(3))
    resolved = resolve(parse_spec(FEATURES), [(60, 6, 2)], [(60, 8)])
    inputs, outputs = resolved.inputs, resolved.outputs
    mirror = mirror_from(resolved, inputs, outputs, {}, Around())
    tally = Tally(mirror)
    for at in range(0, 60, 20):
        rows = slice(at, at + 20)
        tally.add([first[rows]], [other[rows]], [theirs[rows]])
    (drift,) = tally.result("here")[0].outputs
    gaps, drifts = own_figures(first.numpy(), turned(other.numpy()), theirs.numpy())
    assert drift.gap == pytest.approx(np.sqrt((gaps**2).mean()), rel=1e-9)
    assert drift.drift == pytest.approx(np.sqrt((drifts**2).mean()), rel=1e-9)
    by_name = {joint.name: joint for joint in drift.joints}
    for name, entry in (("scalar.speed", 0), ("signs.bend", 3), ("ear.right_ear", 5)):
        assert by_name[name].gap == pytest.approx(gaps[entry], rel=1e-9)
        assert by_name[name].drift == pytest.approx(drifts[entry], rel=1e-9)


class Features(nn.Module):
    """Features of a pose; a share of the network knows no mirror, most of it in the units that are small."""

    def __init__(self, share: Tensor) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(12, 48), nn.Tanh(), nn.Linear(48, 8))
        for weight in self.net.parameters():
            weight.data = torch.randn_like(weight) ** 3 / 3
        self.share = nn.Parameter(share)

    def forward(self, x: Tensor) -> Tensor:
        image = x[:, [0, 3, 4, 1, 2, 5]] * torch.tensor([-1.0, 1.0])
        plain, other = self.net(x), self.net(image)[:, PARTNER.tolist()] * torch.from_numpy(SIGNS)
        return ((plain + other) / 2 + self.share * (plain - other) / 2) * SCALES.to(x)


def features(share: float = 0.1) -> nn.Module:
    return Features(torch.full((8,), share)).double().eval()


X = (normal(240, 6, 2, seed=5).abs() ** 2 - 0.4).double()
CALLS: list[Call] = [((part,), {}) for part in X.split(40)]


def test_audit_and_mirror_have_the_same_gap() -> None:
    network = prepare(features(), parse_spec(FEATURES), (X[:2],))
    report = audit(network, "net", CALLS)
    with torch.no_grad():
        first = network.module(X).numpy()
        back = turned(network.module(X[:, [0, 3, 4, 1, 2, 5]] * torch.tensor([-1.0, 1.0])).numpy())
    gaps, _ = own_figures(first, back, first)
    whole = np.sqrt((gaps**2).mean())
    assert report.network.outputs[0].gap == pytest.approx(whole, rel=1e-9)
    by_pair = {pair.label: pair for pair in report.network.pairs}
    assert by_pair["signs.bend"].gap == pytest.approx(gaps[3], rel=1e-9)
    assert by_pair["signs.bend"].share == pytest.approx(gaps[3] ** 2 / (gaps**2).sum(), rel=1e-9)
    spread = np.zeros(8)
    for group in GROUPS:
        spread[group] = np.sqrt(((first[:, group] - first[:, group].mean(0)) ** 2).mean())
    odd, whole_of_it = (first - turned(first)) / 2 / spread, first / spread
    odd_share = (odd**2).sum() / (whole_of_it**2).sum()
    assert report.network.outputs[0].odd_share == pytest.approx(odd_share, rel=1e-9)
    mirror = mirror_from(network.resolved, network.resolved.inputs, network.resolved.outputs, {}, network.around)
    with Runner(network.module) as runner:
        assert gap_of(mirror, of_calls(runner, mirror, CALLS)) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("entry", range(8))
def test_views_that_spread_differently_in_any_unit_are_told_apart(entry: int) -> None:
    """By as much in a small unit as in a large one."""
    plain = 3 + normal(400, 8, seed=4).double()
    other = 3 + normal(400, 8, seed=6).double()
    other[:, entry] = 3 + 2 * (other[:, entry] - 3)
    spreads = Spreads(Units(1, tuple(index for index, group in enumerate(GROUPS) for _ in group)))
    for rows in range(0, 400, 50):
        spreads.add(plain[rows : rows + 50] * SCALES, other[rows : rows + 50] * SCALES)
    variances = np.stack([view.numpy().var(0) for view in (plain, other)])
    for group in GROUPS:
        variances[:, group] /= variances[:, group].sum(0).mean()
    found = spreads.result()
    assert found is not None and found.differs
    assert found.ratio == pytest.approx(np.sqrt(variances[1].sum() / variances[0].sum()), rel=1e-9)


@pytest.mark.parametrize(("wrong", "name"), [("turn: -1", "signs.turn"), ("bend: -1", "signs.bend")])
def test_a_wrong_sign_of_a_small_unit_is_refused_and_named(wrong: str, name: str) -> None:
    """In one spread of all entries it is a thousandth of the gap."""
    spec = parse_spec(FEATURES.replace(wrong, wrong.replace("-1", "1")))
    with pytest.raises(MirrorError) as caught:
        chiralize.chiralize(features(), spec, (X[:2],), calibration=list(X.split(40)), method="average")
    assert f"try the other sign of {name} of output 0 in the specification" in caught.value.remedy


def test_training_counts_every_unit_alike() -> None:
    """Errors of one spread in any unit have the same distance."""
    aimed = X.new_zeros(40, 8) + normal(40, 8, seed=2) * SCALES
    units = {0: Units(1, tuple(index for index, group in enumerate(GROUPS) for _ in group))}
    distances = list[float]()
    for group in GROUPS:
        off = torch.zeros(8).double()
        off[group] = 1.0
        spread = (aimed[:, group] - aimed[:, group].mean(0)).square().mean().sqrt()
        result = lambda x, off=off, spread=spread: aimed + off * spread  # noqa: E731
        distance = Distance(lambda call: [aimed], result, [((X[:40],), {})], [0], units=units)
        distances.append(float(distance.of(((X[:40],), {}))) / len(group))
    assert np.ptp(distances) < 0.05 * np.mean(distances)


def test_what_is_constant_beside_other_units() -> None:
    """A hundredth of its size is the least that an entry counts as varying by."""
    units = Units(0, (0, 1, 2))
    variance, energy = torch.tensor([4.0, 1e-9, 0.0]), torch.tensor([5.0, 1.0, 9.0])
    assert units.squared_spread(variance, energy).tolist() == pytest.approx([4.0, 1e-4, 9.0])
    assert relative(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 4.0])) == pytest.approx(np.sqrt(0.125))
    assert relative(torch.tensor(1.0), torch.tensor(0.0)) == float("inf")


@pytest.mark.parametrize(
    ("fields", "groups"),
    [
        ("[{joints: q}]", ()),
        ("[{joints: q}, {scalar: 2, name: contact}]", (0,) * 12 + (1, 1)),
        ("[{scalar: [a, b]}, {vector: v, dims: [x, y]}]", (0, 1, 2, 2)),
        ("[{items: [left_a, right_a], each: [{scalar: [f, g]}], name: n}]", (0, 1, 0, 1)),
        ("[{items: [left_a, right_a], each: [{scalar: [f, g]}], name: n, major: entries}]", (0, 0, 1, 1)),
        ("[{history: 2, of: [{scalar: [a, b]}]}]", (0, 1, 0, 1)),
        ("[{history: 2, major: terms, of: [{scalar: [a]}, {signs: [-1, 1], name: s}]}]", (0, 0, 1, 2, 1, 2)),
    ],
)
def test_which_entries_have_one_unit(fields: str, groups: tuple[int, ...]) -> None:
    spec = parse_spec(BODY + f"negate: x\nlateral: x\ninputs: [{{layout: 'b j d'}}]\noutputs: [{{fields: {fields}}}]\n")
    size = len(groups) or 12
    (output,) = resolve(spec, [(2, 6, 2)], [(2, size)]).output_tensors
    assert unit_groups(output, spec.skeleton) == groups
