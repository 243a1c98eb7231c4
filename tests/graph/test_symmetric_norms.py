"""One-sided normalisers: made symmetric where weights can make up for it exactly, and only there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.graph import execution
from chiralize.graph.export import export
from chiralize.graph.passes.norms import absorb
from chiralize.infer.capture import capture
from chiralize.infer.registry import traits
from chiralize.methods.symmetric_norms import normalised
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.request import Request
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support.cases import mainly
from tests.support.problems import posed
from tests.support.small_body import BODY, CLIP, POSE, Net, normal, trained, turned, verdicts

EXACT = 1e-12
FLAT = BODY + 'inputs: [{layout: "b (j d)"}]\noutputs: [{layout: "b j d"}]\n'


# ---- what normalises, and what reads it -------------------------------------------------------------------------
class Spread(nn.Module):
    """(x - mean) / std over the last axes; std may have a floor."""

    def __init__(self, shape: Sequence[int], seed: int, floor: bool = False) -> None:
        super().__init__()
        self.floor = floor
        self.register_buffer("mean", normal(*shape, seed=seed))
        self.register_buffer("std", 0.5 + normal(*shape, seed=seed + 1).abs())

    def forward(self, x: Tensor) -> Tensor:
        std = self.get_buffer("std")
        return (x - self.get_buffer("mean")) / ((std + 1e-6).clamp(min=0.7) if self.floor else std)


class Variance(nn.Module):
    """(x - mean) * rsqrt(var + eps), as running statistics of reinforcement learning are kept."""

    def __init__(self, shape: Sequence[int], seed: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", normal(*shape, seed=seed))
        self.register_buffer("running_var", 0.3 + normal(*shape, seed=seed + 1).square())

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.get_buffer("running_mean")) * torch.rsqrt(self.get_buffer("running_var") + 1e-5)


class Learned(nn.Module):
    """gain * x + offset."""

    def __init__(self, shape: Sequence[int], seed: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(0.5 + normal(*shape, seed=seed).abs())
        self.offset = nn.Parameter(normal(*shape, seed=seed + 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.offset, x * self.gain)


def norm(size: int, seed: int, affine: bool) -> nn.BatchNorm1d:
    found = nn.BatchNorm1d(size, affine=affine).double()
    for place, own in enumerate((*found.parameters(), found.running_mean, found.running_var)):
        assert own is not None
        with torch.no_grad():
            own.copy_(normal(size, seed=seed + place).abs() + 0.4)
    return found.eval()


NORMALISERS: dict[str, Callable[[int], nn.Module]] = {
    "spread": lambda seed: Spread((12,), seed),
    "spread with a floor": lambda seed: Spread((1, 12), seed, floor=True),
    "variance": lambda seed: Variance((12,), seed),
    "learned": lambda seed: Learned((12,), seed),
    "batch norm": lambda seed: norm(12, seed, affine=False),
    "affine batch norm": lambda seed: norm(12, seed, affine=True),
    "per joint and coordinate": lambda seed: nn.Sequential(nn.Unflatten(1, (6, 2)), Spread((6, 2), seed), nn.Flatten()),
    "two": lambda seed: nn.Sequential(Spread((12,), seed), Learned((12,), seed + 2)),
}


class Read(nn.Module):
    """Entries in, hidden units out, 8 of them; `way` says by what."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        if way in ("linear", "two linears", "joined"):
            self.one = nn.Linear(24 if way == "joined" else 12, 8)
        if way in ("linear and batch norm", "two linears"):
            self.two = nn.Linear(12, 8, bias=False)
            self.norm = norm(8, 5, affine=True)
        if way in ("matmul", "einsum", "transposed twice"):
            self.weight, self.bias = nn.Parameter(torch.zeros(12, 8)), nn.Parameter(torch.zeros(8))
        if way == "convolution":
            self.one = nn.Conv1d(12, 8, 1)
        if way == "gru":
            self.one = nn.GRU(12, 4, batch_first=True, bidirectional=True)
        if way == "lstm cell":
            self.one = nn.LSTMCell(12, 8)

    def forward(self, y: Tensor) -> Tensor:
        if self.way == "linear":
            return self.one(y)
        if self.way == "two linears":
            return self.one(y) + self.norm(self.two(y))
        if self.way == "joined":
            return self.one(torch.cat([y, y.flip(0) * 2], 1))
        if self.way == "linear and batch norm":
            return self.norm(self.two(y))
        if self.way == "matmul":
            return y @ self.weight + self.bias
        if self.way == "transposed twice":
            return y @ self.weight.t().t() + self.bias
        if self.way == "einsum":
            return torch.einsum("bi,ih->bh", y, self.weight) + self.bias
        if self.way == "convolution":
            return self.one(y[:, :, None]).squeeze(2)
        if self.way == "gru":
            return self.one(y[:, None])[0].squeeze(1)
        return self.one(y)[0]


WAYS = (
    "linear", "two linears", "joined", "linear and batch norm", "matmul", "einsum", "convolution", "gru", "lstm cell",
    "transposed twice",
)  # fmt: skip


class Policy(nn.Module):
    """A normaliser, what reads it, a hidden activation and an output layer."""

    def __init__(self, normaliser: nn.Module, read: nn.Module, seed: int = 0, clamp: float | None = None) -> None:
        super().__init__()
        self.normaliser, self.read, self.last = normaliser, read, nn.Linear(8, 12)
        self.clamp = clamp
        self.double().eval()
        for place, own in enumerate((*read.parameters(), *self.last.parameters())):
            with torch.no_grad():
                own.copy_(normal(*own.shape, seed=seed + place) * 0.4 + 0.1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.normaliser(x)
        y = y if self.clamp is None else y.clamp(-self.clamp, self.clamp)
        return self.last(self.read(y).relu()).unflatten(1, (6, 2))


def policy(kind: str = "spread", way: str = "linear", seed: int = 3, clamp: float | None = None) -> Policy:
    return Policy(NORMALISERS[kind](seed), Read(way), seed, clamp)


def made(net: nn.Module, spec: str = FLAT, shape: Sequence[int] = (3, 12)) -> tuple[Network, Network]:
    """The network made ready, and the same with what could be made symmetric."""
    before = prepare(net, parse_spec(spec), (normal(*shape),))
    return before, normalised(posed(before, Request()))


def difference(before: nn.Module, after: nn.Module, shape: Sequence[int] = (3, 12)) -> float:
    x = 3 * normal(*shape, seed=9)
    with torch.no_grad():
        one, two = before(x), after(x)
    return float((one - two).abs().max() / one.abs().max())


def lean(module: nn.Module, name: str) -> float:
    """How far a tensor over joints and coordinates is from its mirror image."""
    tensor = module.state_dict()[name]
    image = turned(tensor.reshape(6, 2))
    image = image if "mean" in name or "offset" in name or "bias" in name else image.abs()
    return float((image.reshape(tensor.shape) - tensor).abs().max())


def stays(after: Network, name: str) -> bool:
    """Whether the report says that a tensor stays one-sided."""
    return any(note.startswith("one-sided normaliser: ") and name in note for note in after.notes)


# ---- the law --------------------------------------------------------------------------------------------------------
@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.sampled_from(sorted(NORMALISERS)), st.sampled_from(WAYS), st.integers(0, 99))
@example("spread", "transposed twice", 3)
def test_the_function_stays_and_the_normaliser_becomes_symmetric(kind: str, way: str, seed: int) -> None:
    net = policy(kind, way, seed)
    before, after = made(net)
    assert type(after.module) is Policy
    assert after.module.state_dict().keys() == net.state_dict().keys()
    names = [name for name in net.state_dict() if name.startswith("normaliser") and "tracked" not in name]
    assert max(lean(net, name) for name in names) > 0.1
    assert max(lean(after.module, name) for name in names) == 0
    assert difference(net, after.module) < EXACT
    assert after.program is not None and difference(net, after.program.module()) < EXACT
    assert len(after.notes) == len(before.notes) + 1
    assert "made symmetric" in after.notes[-1]
    assert "normaliser." in after.notes[-1] and "read." in after.notes[-1]


def test_a_symmetric_normaliser_is_left_alone() -> None:
    net = policy()
    with torch.no_grad():
        for name, own in net.normaliser.named_buffers():
            image = turned(own.reshape(6, 2)).reshape(12)
            own.copy_((own + (image if name == "mean" else image.abs())) / 2)
    before, after = made(net)
    assert after.module is before.module and after.notes == before.notes


def test_what_is_asked_again_has_nothing_left_to_do() -> None:
    after = made(policy("affine batch norm", "linear and batch norm"))[1]
    again = made(after.module)[1]
    assert difference(after.module, again.module) == 0
    assert not any("made symmetric" in note for note in again.notes)


def test_single_precision_stays_within_its_rounding() -> None:
    net = policy("variance", "two linears").float()
    before = prepare(net, parse_spec(FLAT), (normal(3, 12).float(),))
    after = normalised(posed(before, Request()))
    x = 3 * normal(50, 12, seed=9).float()
    with torch.no_grad():
        wanted, found = net(x), after.module(x)
    assert (wanted - found).abs().max() < 2e-6 * wanted.abs().max()
    assert lean(after.module, "normaliser.running_var") == 0


# ---- what is shared -------------------------------------------------------------------------------------------------
def test_a_normaliser_of_two_inputs() -> None:
    normaliser = Spread((12,), 3)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.normaliser, self.one, self.two = normaliser, nn.Linear(12, 8), nn.Linear(12, 8)
            self.last = nn.Linear(8, 12)

        def forward(self, x: Tensor, goal: Tensor) -> Tensor:
            hidden = self.one(self.normaliser(x)) + self.two(self.normaliser(goal))
            return self.last(hidden.relu()).unflatten(1, (6, 2))

    spec = BODY + 'inputs: [{layout: "b (j d)"}, {layout: "b (j d)"}]\noutputs: [{layout: "b j d"}]\n'
    net, inputs = Two().double().eval(), (normal(3, 12), normal(3, 12, seed=1))
    after = normalised(posed(prepare(net, parse_spec(spec), inputs), Request()))
    assert lean(after.module, "normaliser.mean") == 0
    with torch.no_grad():
        assert (net(*inputs) - after.module(*inputs)).abs().max() < EXACT


def test_a_batch_norm_that_changes_itself_takes_no_shift_up() -> None:
    """Its mean could: (W x + shift) - mean. But its new variance scales the result, which has to go on."""
    net = nn.Sequential(Spread((4,), 1), nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 4))
    net = net.double().eval()
    net.state_dict()["2.running_var"].copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    x = normal(5, 4)
    graph = capture(export(net, (x,), {}), (x,), {})
    rep = TensorRepresentation((Representation.parse("4: (0 1) (2 3)"),))
    keys = ("0.mean", "0.std", "2.running_mean", "2.running_var")
    known = {leaf.name: rep for leaf in graph.leaves.values() if leaf.names[0] in keys}
    values = absorb(graph, known, traits()).values
    assert {graph.leaves[name].names[0] for name in values} >= {"0.mean", "2.running_var", "3.weight"}
    leaves = {name: replace(leaf, tensor=values.get(name, leaf.tensor)) for name, leaf in graph.leaves.items()}
    before, after = (dict(execution.run(each, (x,))) for each in (graph, replace(graph, leaves=leaves)))
    (answer,) = graph.answers
    torch.testing.assert_close(after[answer], before[answer], rtol=0, atol=EXACT)


def test_a_layer_that_also_reads_something_else_keeps_its_weights() -> None:
    net = Net(
        lambda own, x: own.last((own.first(own.normaliser(x)) + own.first(x)).relu()).unflatten(1, (6, 2)),
        normaliser=Spread((12,), 3), first=nn.Linear(12, 8), last=nn.Linear(8, 12),
    ).double().eval()  # fmt: skip
    before, after = made(net)
    assert after.module is before.module
    assert stays(after, "normaliser.mean")


def test_a_frozen_reader_and_a_reparametrised_one_are_left_alone() -> None:
    net = policy()
    nn.utils.parametrizations.weight_norm(net.read.one)
    after = made(net)[1]
    assert difference(net, after.module) < EXACT
    assert lean(after.module, "normaliser.std") > 0.1  # no tensor holds the weight that would have to change
    assert lean(after.module, "normaliser.mean") == 0  # the bias is a plain parameter


def test_pixels_are_seen_from_the_centre_of_the_image() -> None:
    """The mean of a coordinate and of its mirror image lie at equal distances from 320."""
    net = policy("spread")
    with torch.no_grad():
        net.normaliser.get_buffer("mean").mul_(100).add_(300)
        net.normaliser.get_buffer("std").mul_(100)
    pixels = BODY + 'inputs: [{layout: "b (j d)", reflect: {x: 320}}]\noutputs: [{layout: "b j d"}]\n'
    example = 320 + 100 * normal(3, 12)
    before = prepare(net, parse_spec(pixels), (example,))
    after = normalised(posed(before, Request()))
    centred = after.module.get_buffer("normaliser.mean").reshape(6, 2) - torch.tensor([320.0, 0.0])
    assert (turned(centred) - centred).abs().max() < 1e-9
    assert "made symmetric" in after.notes[-1]
    with torch.no_grad():
        wanted, found = net(example), after.module(example)
    assert (wanted - found).abs().max() < EXACT * wanted.abs().max()


# ---- where it ends ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["spread", "batch norm"])
def test_a_clamp_lets_nothing_through_and_the_report_says_how_far_it_is(kind: str) -> None:
    net = policy(kind, clamp=5)
    before, after = made(net)
    assert after.module is before.module
    remarks = after.notes[len(before.notes) :]
    assert len(remarks) == 1 and "aten.clamp.default" in remarks[0] and remarks[0].count(" (0.") == 2
    assert "shifted by up to" in remarks[0] and "--calibration" in remarks[0]


class Frames(nn.Module):
    """A convolution over frames behind a normaliser."""

    def __init__(self, padding: int, mode: str = "zeros", bias: bool = True) -> None:
        super().__init__()
        self.normaliser = Spread((12,), 4)
        self.first = nn.Conv1d(12, 8, 3, padding=padding, padding_mode=mode, bias=bias)
        self.norm, self.last = norm(8, 1, affine=True), nn.Conv1d(8, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.normaliser(x.flatten(2)).transpose(1, 2)
        return self.last(self.norm(self.first(y)).relu()).transpose(1, 2).unflatten(2, (6, 2))


@pytest.mark.parametrize(
    ("padding", "mode", "bias", "shifted"),
    [(0, "zeros", True, True), (0, "zeros", False, True), (1, "zeros", True, False), (1, "replicate", True, True)],
)
def test_zeros_beside_shifted_frames_are_no_shifted_zeros(padding: int, mode: str, bias: bool, shifted: bool) -> None:
    net = Frames(padding, mode, bias).double().eval()
    after = made(net, CLIP, (2, 7, 6, 2))[1]
    assert difference(net, after.module, (2, 7, 6, 2)) < EXACT
    assert lean(after.module, "normaliser.std") == 0  # a factor goes through zeros
    assert (lean(after.module, "normaliser.mean") == 0) is shifted
    assert stays(after, "normaliser.mean") is not shifted


def test_statistics_per_joint_behind_which_joints_share_their_weights() -> None:
    net = Net(
        lambda own, x: own.last(own.first(own.normaliser(x)).relu()),
        normaliser=Spread((6, 1), 4), first=nn.Linear(2, 8), last=nn.Linear(8, 2),
    ).double().eval()  # fmt: skip
    before, after = made(net, POSE, (3, 6, 2))
    assert after.module is before.module


def test_a_result_that_is_normalised_keeps_its_statistics() -> None:
    net = Net(
        lambda own, x: (own.normaliser(x), own.last(own.first(own.normaliser(x)).relu()).unflatten(1, (6, 2))),
        normaliser=Spread((12,), 4), first=nn.Linear(12, 8), last=nn.Linear(8, 12),
    ).double().eval()  # fmt: skip
    spec = FLAT.replace("outputs: [", 'outputs: [{layout: "b (j d)"}, ')
    before, after = made(net, spec)
    assert after.module is before.module
    assert "the network's result" in after.notes[-1]


def test_statistics_that_forward_moves_on_are_states() -> None:
    class Running(Policy):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                mean = self.normaliser.get_buffer("mean")
                mean.mul_(0.9).add_(0.1 * x.mean(0))
            return super().forward(x)

    net = Running(Spread((12,), 3), Read("linear"))
    before, after = made(net)
    assert lean(before.module, "normaliser.mean") == lean(after.module, "normaliser.mean") > 0.1


def test_a_spread_of_nothing_is_not_made_up_for() -> None:
    """x is 0.3 on the left always: the shift in units of its spread would drown what the other entries say."""
    net = policy().float()
    with torch.no_grad():
        net.normaliser.get_buffer("mean")[2] = 0.3
        net.normaliser.get_buffer("std")[2] = 1e-8
    before = prepare(net, parse_spec(FLAT), (normal(3, 12).float(),))
    after = normalised(posed(before, Request()))
    x = normal(20, 12).float()
    x[:, 2] = 0.3
    with torch.no_grad():
        wanted, found = net(x), after.module(x)
    assert (wanted - found).abs().max() < 1e-3 * wanted.abs().max()


# ---- conversions ----------------------------------------------------------------------------------------------------
def inputs(count: int, seed: int) -> Tensor:
    """Observations that lean to one side."""
    return normal(count, 12, seed=seed) * 0.7 + normal(12, seed=99)


def options(method: str, **more: Any) -> dict[str, Any]:
    return {"method": method, "samples": 1, "force": True, **more}


CONVERSIONS = itertools.product(("project", "match", "reduce"), ("affine batch norm", "per joint and coordinate"))
KEPT = [("match", "affine batch norm"), ("reduce", "per joint and coordinate")]


@pytest.mark.parametrize(("method", "kind"), mainly(CONVERSIONS, KEPT))
def test_conversions_have_class_keys_and_both_verdicts(method: str, kind: str) -> None:
    net = policy(kind)
    more = {"calibration": inputs(200, 0), "width": 0.5, "rounds": 0} if method == "reduce" else {}
    found = chiralize.chiralize(net, parse_spec(FLAT), (normal(3, 12),), form="folded", **options(method, **more))
    assert type(found) is Policy and found.state_dict().keys() == net.state_dict().keys()
    running, proof, where = verdicts(found, (3, 12))
    assert running and proof, where
    Policy(NORMALISERS[kind](0), Read("linear")).load_state_dict(found.state_dict())


def folded(net: Policy) -> Policy:
    """The normaliser in the first layer, by hand."""
    plain = Policy(nn.Identity(), Read("linear"))
    mean, std = net.normaliser.get_buffer("mean"), net.normaliser.get_buffer("std")
    plain.load_state_dict({name: own for name, own in net.state_dict().items() if not name.startswith("normaliser")})
    with torch.no_grad():
        plain.read.one.weight.copy_(net.read.one.weight / std)
        plain.read.one.bias.copy_(net.read.one.bias - net.read.one.weight @ (mean / std))
    return plain


def error(found: nn.Module, net: nn.Module) -> float:
    """Against the original's answers, relative."""
    x = inputs(400, 7)
    with torch.no_grad():
        return float((found(x) - net(x)).norm() / net(x).norm())


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [3])
def test_reduce_gives_what_it_gives_with_the_normaliser_in_the_first_layer(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for what is read from a normaliser: the side of its training (decision 0075), and its spread (0097)."""
    for reader in ("chiralize.verification.asymmetry.memory", "chiralize.problem.data.remembered"):
        monkeypatch.setattr(f"{reader}.input_moments", lambda captured, centers: ())
    net = policy(seed=seed)
    ways = {"calibration": inputs(600, 0), "width": 0.5, "rounds": 0}
    found, by_hand = (
        error(chiralize.chiralize(own, parse_spec(FLAT), (normal(3, 12),), **options("reduce", **ways)), net)
        for own in (net, folded(net))
    )
    assert found == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.thorough
def test_a_clamp_that_clips_nothing_costs_reduce_nothing() -> None:
    """The first layer is fitted on what a symmetric normaliser gives, to what the original makes of both views."""
    found: list[float] = []
    for clamp in (None, 8.0):
        net, x = policy(seed=5, clamp=clamp), inputs(600, 0)
        net.normaliser.get_buffer("mean").copy_(x.mean(0))
        net.normaliser.get_buffer("std").copy_(x.std(0) * (1 + 0.5 * normal(12, seed=1).abs()))
        ways = {"calibration": x, "width": 0.99, "form": "dense", "rounds": 0}
        result = chiralize.chiralize(net, parse_spec(FLAT), (normal(3, 12),), **options("reduce", **ways))
        found.append(error(result, net))
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_the_report_names_what_was_made_symmetric_and_what_took_it_up() -> None:
    found = chiralize.chiralize(policy(), parse_spec(FLAT), (normal(3, 12),), **options("project"))
    report = found.chirality.report  # pyright: ignore
    notes = [note for note in report.notes if "made symmetric" in note]
    assert len(notes) == 1
    assert all(name in notes[0] for name in ("normaliser.mean", "normaliser.std", "read.one.weight", "read.one.bias"))
    moved = {entry.name for entry in report.changes.moved if entry.kind == "statistic" and entry.distance > 0}
    assert {"normaliser.mean", "normaliser.std"} <= moved
    assert "normaliser statistics changed" in report.verdict


def test_the_report_names_every_normaliser() -> None:
    """Entries of each become zero, so that none may hide behind "and 2 more"."""

    def compute(s: Net, x: Tensor) -> Tensor:
        return s.last(sum(layer(norm(x)).relu() for norm, layer in zip(s.norms, s.layers, strict=True)))

    norms = nn.ModuleList(Spread((2,), seed) for seed in range(5))
    layers = nn.ModuleList(nn.Linear(2, 4) for _ in norms)
    net = trained(Net(compute, norms=norms, layers=layers, last=nn.Linear(4, 2)))
    found = normalised(posed(prepare(net, parse_spec(POSE), (normal(3, 6, 2),)), Request("project")))
    note = next(own for own in found.notes if own.startswith("one-sided normaliser made symmetric"))
    assert all(f"norms.{place}.mean (" in note for place in range(5))
