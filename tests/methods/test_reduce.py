"""`reduce` on networks of every kind: symmetric whatever the width, exact where nothing is left out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from chiralize.errors import MethodUnavailableError
from chiralize.graph import execution
from chiralize.methods.reduce import recurrent
from chiralize.methods.reduce.fitting import Fitting
from chiralize.methods.reduce.hidden_maps import Lifting
from chiralize.methods.reduce.reduce import reduced
from chiralize.methods.reduce.ridge import Fit, Moments, fit
from chiralize.problem.request import Request
from chiralize.problem.result import Converted
from tests.support.cases import mainly
from tests.support.problems import posed
from tests.support.reduce_nets import (
    CLIP_OF_5,
    KINDS,
    Recurrent,
    Refining,
    calls_for,
    flip_average,
    original,
    ready,
    subject_of,
)
from tests.support.small_body import CLIP, Net, converted, normal, residual, stored, trained, verified_file

CLOSE = 1e-11
OTHER = {kind: (0.35, 0.707)[place % 2] for place, kind in enumerate(KINDS)}  # with other sizes than the original's
WIDTHS = [(kind, width) for kind in KINDS for width in (0.5, OTHER[kind])]


def fresh(kind: str, width: float, mirrored: bool = False, count: int = 24, rows: int = 8) -> Converted:
    """The network reduced, batches of poses shown to it."""
    options = Request("reduce", calibration=calls_for(KINDS[kind].shape, count, rows, mirrored))
    return next(reduced(posed(ready(kind), options), width)).converted


smaller = cache(fresh)


def batch(kind: str) -> tuple[int, ...]:
    return (4, *KINDS[kind].shape)


# ---- whatever the width ---------------------------------------------------------------------------------------------
@pytest.mark.one_in(8)
@pytest.mark.parametrize(("kind", "width"), WIDTHS)
def test_commutes_with_the_mirror(kind: str, width: float) -> None:
    """T is written out in the test; the original is far from symmetric."""
    assert residual(original(kind), batch(kind)) > 0.1
    assert residual(smaller(kind, width).module, batch(kind)) <= CLOSE


@pytest.mark.one_in(3)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "transformer"])  # its trunk is turned: a graph
def test_half_fits_into_the_original_class(kind: str) -> None:
    """The same keys and shapes; the class itself computes the same with these weights, and is symmetric."""
    found = smaller(kind, 0.5)
    assert found.form == "folded"
    state = found.module.state_dict()
    assert {name: own.shape for name, own in state.items()} == {
        name: own.shape for name, own in original(kind).state_dict().items()
    }
    twin = KINDS[kind].make().double()
    twin.load_state_dict(state, strict=True)
    x = normal(*batch(kind), seed=9)
    with torch.no_grad():
        assert torch.equal(twin.eval()(x), found.module(x))
    assert residual(twin, batch(kind)) <= CLOSE


@pytest.mark.one_in(12)
@pytest.mark.parametrize("kind", KINDS)
def test_the_original_is_left_alone(kind: str) -> None:
    """Bit for bit as it was made, parameters, statistics and all."""
    for width in (0.5, OTHER[kind]):
        smaller(kind, width)
    twin = trained(KINDS[kind].make(), 3).state_dict()
    assert all(torch.equal(own, twin[name]) for name, own in original(kind).state_dict().items())


@pytest.mark.one_in(8)
@pytest.mark.parametrize("kind", KINDS)
def test_less_width_costs_less(kind: str) -> None:
    """Parameters and multiplications grow with the width; the outputs stay what they were."""
    half, other = smaller(kind, 0.5), smaller(kind, OTHER[kind])
    nets = original(kind), half.module, other.module
    whole, *sizes = (sum(own.numel() for own in net.parameters()) for net in nets)
    assert sizes[0] == whole and half.macs == 0
    assert sizes[1] < whole and other.macs < 0 if OTHER[kind] < 0.5 else sizes[1] > whole and other.macs > 0
    x = normal(*batch(kind), seed=9)
    assert len({net(x).shape for net in nets}) == 1


def test_multiplications_are_those_of_the_result() -> None:
    """Layers that are read once per sample multiply once per weight."""
    for width in (0.35, 0.707, 1.0):
        found = smaller("residual", width)
        sizes = [
            sum(own.numel() for own in net.parameters() if own.ndim > 1) for net in (found.module, original("residual"))
        ]
        assert found.macs == 8 * (sizes[0] - sizes[1])


@pytest.mark.one_in(10)
@pytest.mark.parametrize("kind", KINDS)
def test_better_than_random_weights(kind: str) -> None:
    """The results are nearer to the flip average than a network that says its mean."""
    x = normal(64, *KINDS[kind].shape, seed=9)
    wanted = flip_average(original(kind), x)
    for width in (0.5, OTHER[kind]):
        with torch.no_grad():
            off = (smaller(kind, width).module(x) - wanted).square().mean() / wanted.var()
        assert off < 0.5, width


# ---- where nothing is left out --------------------------------------------------------------------------------------
@pytest.mark.one_in(8)
@pytest.mark.parametrize("kind", KINDS)
def test_all_units_are_fitted_exactly(kind: str) -> None:
    """Every hidden weight meets what the original does on x and on T x; only the head has the original's asymmetry."""
    found = {own.name: own.error for own in smaller(kind, 1.0).fitted}
    assert len(found) > 1 and set(found) <= set(original(kind).state_dict())
    hidden = {name: error for name, error in found.items() if name not in ("last.weight", *KINDS[kind].inexact)}
    assert hidden and max(hidden.values()) <= 1e-12, hidden
    assert found["last.weight"] > 0.01


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", ["residual", "temporal", "lstm, both ways", "graph"])
def test_all_units_on_symmetric_poses_are_the_flip_average(kind: str) -> None:
    """With every sample's mirror image beside it, the head that is fitted is that of the flip average."""
    x = normal(16, *KINDS[kind].shape, seed=9)
    wanted = flip_average(original(kind), x)
    found = smaller(kind, 1.0, mirrored=True).module(x).detach()
    assert float((found - wanted).abs().max() / wanted.abs().max()) <= 1e-6


def test_behind_a_pose_both_views_go_on_with_one_answer() -> None:
    """Where the mirror is known in the middle, the result holds the average there, and so do the later targets."""
    network = subject_of(trained(Refining(), 3), (6, 2))
    problem = posed(network, Request("reduce", calibration=calls_for((6, 2), mirrored=True)))
    found = next(reduced(problem, 1.0)).converted
    left = {own.name: own.error for own in found.fitted}
    assert left["second.weight"] <= 1e-12 and left["correction.weight"] > 0.01
    assert residual(found.module, (4, 6, 2)) <= CLOSE


@pytest.mark.one_in(2)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_cells_read_the_states_before_each_step(kind: type[nn.RNNBase]) -> None:
    """Forwards and backwards; the states are those of the layer cut off after every step."""
    network = subject_of(trained(Recurrent(kind, both=True), 3), CLIP_OF_5)
    captured, core = network.graph(), network.module.get_submodule("core")
    (node,) = (node for node in captured.nodes if recurrent.cells(node, captured))
    x = normal(8, *CLIP_OF_5, seed=4)
    values = execution.start(captured, [x])
    for earlier in captured.nodes[: captured.nodes.index(node)]:
        values[earlier.name] = execution.evaluate(earlier, values)
    ahead, back = recurrent.steps(node, recurrent.cells(node, captured), values)
    width = ahead.h.shape[-1]
    with torch.no_grad():
        for frame in range(5):
            before = torch.zeros(8, width) if frame == 0 else core(x.flatten(2)[:, :frame])[0][:, -1, :width]
            after = torch.zeros(8, width) if frame == 4 else core(x.flatten(2)[:, frame + 1 :])[0][:, 0, width:]
            torch.testing.assert_close(ahead.h[:, frame], before.double(), rtol=0, atol=1e-12)
            torch.testing.assert_close(back.h[:, frame], after.double(), rtol=0, atol=1e-12)


def test_forgetting_the_mirror_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: what units do on T x is taken as it is, without T."""
    plain = Lifting.value

    def forgetful(self: Lifting, own: torch.Tensor, turned: torch.Tensor, rep: object) -> torch.Tensor:
        return plain(self, own, own, rep)  # type: ignore[arg-type]

    monkeypatch.setattr(Lifting, "value", forgetful)
    found = fresh("residual", 1.0)
    assert max(own.error for own in found.fitted if own.name != "last.weight") > 1e-3
    x = normal(16, 6, 2, seed=9)
    wanted = flip_average(original("residual"), x)
    assert float((found.module(x).detach() - wanted).abs().max() / wanted.abs().max()) > 1e-3


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("count", "rows", "held"), [(120, 8, 128), (20, 8, 24), (4, 8, 8), (1, 32, 0)])
def test_few_batches_hold_some_out(count: int, rows: int, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch in five tells the strength, of fewer the last; what is left over is told where there is one alone."""
    found: list[int] = []

    def watched(seen: Moments, other: Moments, *rest: Any) -> Fit:
        found.append(int(other.count))
        return fit(seen, other, *rest)

    monkeypatch.setattr("chiralize.methods.reduce.tasks.fit", watched)
    errors = {own.name: own.error for own in fresh("residual", 0.5, count=count, rows=rows).fitted}
    assert set(found) == {held}
    assert min(errors["up.weight"], errors["last.weight"]) > 1e-3, errors


# ---- files ----------------------------------------------------------------------------------------------------------
def test_other_sizes_are_written_and_proved(tmp_path: Path) -> None:
    """A graph with other sizes as .pt2: the file's own verdicts, and the batch stays open."""
    shape = KINDS["residual"].shape
    options = {"method": "reduce", "width": 0.707, "rounds": 0, "calibration": calls_for(shape), "force": True}
    path = stored(original("residual"), tmp_path, shape=(8, *shape), **options)
    passport, report = verified_file(path, (8, *shape))
    assert (passport.method, passport.form) == ("reduce", "dense")
    assert (
        report.judgement.numeric.passed
        and report.judgement.certificate is not None
        and report.judgement.certificate.passed
    )
    net = torch.export.load(path).module()
    for rows in (2, 5):
        assert residual(net, (rows, *shape)) <= CLOSE


@pytest.mark.thorough
def test_what_nobody_reads_is_left_out_of_other_sizes() -> None:
    """A head that is called once for nothing: its weights have other sizes now, which that call knows nothing of."""

    def compute(s: Net, x: torch.Tensor) -> torch.Tensor:
        hidden = s.first(x.flatten(1)).relu()
        s.head(hidden)
        return s.head(s.inner(hidden).relu()).view(x.shape)

    head = nn.Sequential(nn.Linear(16, 16), nn.Dropout(), nn.LayerNorm(16), nn.Linear(16, 12))
    net = trained(Net(compute, first=nn.Linear(12, 16), inner=nn.Linear(16, 16), head=head))
    own = converted(net, method="reduce", width=0.707, rounds=0, calibration=normal(300, 6, 2), force=True)
    assert own.chirality.form == "dense" and residual(own, (3, 6, 2)) <= CLOSE


class FramesFirst(nn.Module):
    """An encoder over "frame batch channel", as torch's own is by default."""

    def __init__(self, hidden: int | None) -> None:
        super().__init__()
        self.hidden = hidden
        self.first, self.last = nn.Linear(12, 16), nn.Linear(16, 12)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = torch.arange(x.shape[1]).expand(x.shape[:2])
        mask = frames >= x.shape[1] - self.hidden if self.hidden is not None else None
        hidden = self.encoder(self.first(x.flatten(2).transpose(0, 1)), src_key_padding_mask=mask)
        return self.last(hidden).transpose(0, 1).reshape(x.shape)


@pytest.mark.thorough
@pytest.mark.parametrize("hidden", [None, 1])
def test_frames_first_in_a_batch_of_one(hidden: int | None) -> None:
    """Heads are looked for in another layout than the example's, beside masks that hold one sample's numbers."""
    net, shape = trained(FramesFirst(hidden)), (1, 4, 6, 2)
    calibration = [(normal(*shape, seed=seed),) for seed in range(10)]
    own = converted(net, CLIP, shape, method="reduce", width=0.5, rounds=0, calibration=calibration, force=True)
    assert residual(own, shape) <= CLOSE
    if hidden:
        x, y = (normal(*shape, seed=5).index_fill(1, torch.tensor(3), number) for number in (0.0, 9.0))
        assert torch.equal(own(x)[:, :3], own(y)[:, :3]) and not torch.equal(own(x), own(y))


class NormedWeights(nn.Module):
    """An LSTM whose input weights are computed from others, as weight norm does."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.last = nn.LSTM(12, 8, batch_first=True), nn.Linear(8, 12)
        self.length = nn.Parameter(torch.ones(32, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        poses, weight = x.flatten(2), self.cell.weight_ih_l0
        weights = [self.length * weight / weight.norm(dim=1, keepdim=True), *self.cell._flat_weights[1:]]
        zeros = poses.new_zeros(1, len(poses), 8)
        hidden = torch.lstm(poses, (zeros, zeros), weights, True, 1, 0.0, False, False, True)[0]
        return self.last(hidden).view(x.shape)


@pytest.mark.parametrize(
    ("method", "width"),
    mainly([("reduce", 0.5), ("reduce", 0.35), ("match", None)], [("reduce", 0.5), ("match", None)]),
)
def test_a_cell_whose_weights_are_computed_is_not_fitted(method: str, width: float | None) -> None:
    net, shape = trained(NormedWeights()), (2, 4, 6, 2)
    calibration = normal(200, 4, 6, 2)
    own = converted(net, CLIP, shape, method=method, width=width, rounds=0, calibration=calibration, force=True)
    assert residual(own, shape) <= CLOSE
    assert [entry.name for entry in own.chirality.report.changes.fitted] == ["last.weight"]


def test_a_graph_that_does_not_run_on_the_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any) -> None:
        raise RuntimeError("shape '[1, 4]' is invalid for input of size 8\nsecond line")

    monkeypatch.setattr(Fitting, "run", run)
    text = r"CH307  --method reduce: the network as it was captured cannot be run .*: shape '\[1, 4\]' is .* of size 8$"
    with pytest.raises(MethodUnavailableError, match=f"(?m){text}"):
        next(reduced(posed(ready("residual"), Request("reduce", calibration=calls_for((6, 2)))), 0.5))
