"""Constants that are added to hidden channels and equal in no two of them, such as sinusoidal positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize import plan
from chiralize.__main__ import main
from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.commands.writing import write
from chiralize.errors import DegenerateError, UsageError
from chiralize.problem.preparation import prepare
from tests.support.small_body import CLIP, POSE, ROUNDING, Net, converted, normal, residual, trained, turned

WIDTH, LONGEST, SHAPE = 16, 20, (4, 7, 6, 2)
TABLE = torch.arange(LONGEST).double()[:, None] / 1e4 ** (torch.arange(WIDTH // 2).double() * 2 / WIDTH)
TABLE = torch.stack([TABLE.sin(), TABLE.cos()], -1).flatten(1)  # frame channel
CALIBRATION = normal(80, *SHAPE[1:], seed=11)


class Positions(nn.Module):
    """Clips to clips by way of channels that know which frame it is; `held`: how the network keeps the table."""

    def __init__(self, held: str) -> None:
        super().__init__()
        self.held = held
        self.inlet, self.outlet = nn.Linear(12, WIDTH), nn.Linear(WIDTH, 12)
        self.trunk: nn.Module = nn.TransformerEncoderLayer(
            WIDTH, 2, 24, dropout=0.0, batch_first=True, norm_first=held == "before the norm"
        )
        if held.startswith("gru"):
            self.trunk = nn.GRU(WIDTH, WIDTH, batch_first=True)
        trained(self)
        if held == "embedding":
            self.places = nn.Embedding.from_pretrained(TABLE)
        elif held == "frozen":
            self.places = nn.Parameter(TABLE.clone(), requires_grad=False)
        elif held.endswith("attribute"):
            self.places = TABLE.clone()
        else:
            self.register_buffer("places", TABLE[None, : SHAPE[1]] if held == "as long as the clip" else TABLE.clone())

    def forward(self, x: Tensor) -> Tensor:
        y = self.inlet(x.flatten(2))
        frames = torch.arange(x.shape[1], device=x.device)
        table: Any = self.places
        if self.held == "embedding":
            y = y + table(frames)
        elif self.held == "as long as the clip":
            y = y + table
        else:
            y = y + table[: x.shape[1]]
        y = self.trunk(y)
        return self.outlet(y[0] if isinstance(y, tuple) else y).unflatten(2, (6, 2))


WAYS = ["as long as the clip", "frozen", "embedding", "attribute", "before the norm", "gru"]


@pytest.mark.thorough
@pytest.mark.parametrize("held", WAYS)
def test_averaged_over_pairs_if_asked(held: str) -> None:
    net = Positions(held)
    found = converted(net, CLIP, SHAPE, method="match", symmetrize_constants=True)
    assert residual(found, SHAPE) < ROUNDING
    report = found.chirality.report  # type: ignore[union-attr]
    assert report.judgement.certificate.passed and min(report.judgement.degeneracy.odd_after) > 0.1
    kept: Any = net.places
    kept = kept.weight if held == "embedding" else kept
    assert torch.equal(kept.reshape(-1, WIDTH), TABLE[: kept.shape[-2]])


@pytest.mark.parametrize(
    ("held", "calibration"),
    [
        pytest.param("embedding", None, id="embedding-weights"),
        pytest.param("before the norm", None, id="before the norm-weights", marks=pytest.mark.thorough),
        pytest.param("gru", None, id="gru-weights", marks=pytest.mark.thorough),
        pytest.param("buffer", CALIBRATION, id="buffer-inputs", marks=pytest.mark.thorough),
    ],
)
def test_without_leave_it_is_named(held: str, calibration: Tensor | None) -> None:
    """To keep the table would leave every channel where it is: no left and right any more."""
    name = "places.weight" if held == "embedding" else "places"
    with pytest.raises(DegenerateError, match=f": {name} would change under any pairing of the channels") as caught:
        converted(Positions(held), CLIP, SHAPE, method="match", calibration=calibration)
    assert "--symmetrize-constants, --method reduce with --calibration" in str(caught.value)


def test_a_computed_table_is_changed_by_no_option() -> None:
    """So that none is advised; the plan says the same."""

    def forward(own: Any, x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None] / 10 ** torch.arange(WIDTH // 2, dtype=x.dtype)
        return own.outlet((own.inlet(x.flatten(2)) + torch.cat([angle.sin(), angle.cos()], -1)).relu()).view_as(x)

    net = trained(Net(forward, inlet=nn.Linear(12, WIDTH), outlet=nn.Linear(WIDTH, 12)))
    with pytest.raises(DegenerateError, match="a constant that forward computes .* would change") as caught:
        converted(net, CLIP, SHAPE, method="match")
    assert caught.value.remedy == "use --method reduce with --calibration inputs.npz, or --method average"
    notes = plan(net, parse_spec(CLIP), (normal(*SHAPE),), method="match").notes
    assert any(note.endswith("if left and right get lost: reduce or average") for note in notes)


@pytest.mark.thorough
@pytest.mark.parametrize(("held", "width"), [("buffer", 0.5), ("embedding", 0.75), ("gru", 0.5)])
def test_reduced(held: str, width: float) -> None:
    """A unit and its mirror image have the same column; kept units keep theirs, as far as these are not refitted."""
    net = Positions(held)
    found = converted(net, CLIP, SHAPE, method="reduce", width=width, calibration=CALIBRATION, rounds=0)
    assert residual(found, SHAPE) < ROUNDING
    x = normal(40, *SHAPE[1:], seed=3)
    with torch.no_grad():
        both = (net(x) + turned(net(turned(x)))) / 2
        assert (found(x) - both).norm() < 0.8 * (net(x) - both).norm()


def test_coordinates_that_nothing_reads_any_more() -> None:
    """With the joints beside the channels left and right stay, and x is lost: as many labels as there are of it count,
    not as many numbers as a batch of clips holds."""

    class PerJoint(Positions):
        def forward(self, x: Tensor) -> Tensor:
            return self.outlet((self.inlet(x) + self.places[: x.shape[1], None]).relu())  # type: ignore[index]

    net = PerJoint("buffer")
    net.inlet, net.outlet = nn.Linear(2, WIDTH), nn.Linear(WIDTH, 2)
    trained(net.inlet)
    trained(net.outlet, 1)
    with pytest.raises(DegenerateError, match="ignores 6 of 12 input entries .*: places would change"):
        converted(net, CLIP, SHAPE, method="match")
    assert residual(converted(net, CLIP, SHAPE, method="match", symmetrize_constants=True), SHAPE) < ROUNDING


class Memory(nn.Module):
    """Clips whose frames look at a stored table of four tokens and at each other."""

    tokens: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("tokens", TABLE[:4][None].clone())
        self.inlet, self.outlet = nn.Linear(12, WIDTH), nn.Linear(WIDTH, 12)
        self.attention, self.norm = nn.MultiheadAttention(WIDTH, 2, batch_first=True), nn.LayerNorm(WIDTH)
        trained(self)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inlet(x.flatten(2))
        seen = torch.cat([self.tokens.expand(len(x), -1, -1), y], 1)
        y = self.norm(y + self.attention(y, seen, seen, need_weights=False)[0])
        return self.outlet(torch.relu(y)).unflatten(2, (6, 2))


class Twice(nn.Module):
    """Positions before attention, and once more behind it, where no residual leads past the heads."""

    places: Tensor
    again: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inlet, self.middle, self.outlet = nn.Linear(12, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 12)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        trained(self)
        self.register_buffer("places", TABLE[: SHAPE[1]].clone())
        self.register_buffer("again", TABLE[8 : 8 + SHAPE[1]].clone())

    def heads(self, layer: nn.Module, y: Tensor) -> Tensor:
        return layer(y).unflatten(-1, (2, -1)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inlet(x.flatten(2)).relu() + self.places
        weights = (self.heads(self.query, y) @ self.heads(self.key, y).mT / WIDTH**0.5).softmax(-1)
        y = (weights @ self.heads(self.value, y)).transpose(1, 2).flatten(2)
        return self.outlet((self.middle(y).relu() + self.again).relu()).unflatten(2, (6, 2))


def test_a_second_table_behind_heads() -> None:
    """Weights that read heads times channels tie what they write to left and right all the same."""
    net = Twice()
    notes = plan(net, parse_spec(CLIP), (normal(*SHAPE),), method="match").notes
    assert any(note.startswith("no pairing for the channels of places, again") for note in notes)
    found = converted(net, CLIP, SHAPE, method="reduce", width=0.5, calibration=CALIBRATION, rounds=0)
    report = found.chirality.report  # type: ignore[union-attr]
    assert residual(found, SHAPE) < ROUNDING and min(report.judgement.degeneracy.odd_after) > 0.1
    assert {entry.kind for entry in report.changes.moved if entry.name in ("places", "again")} == {"table"}
    assert "tables of positions changed: deploy them together with the weights" in report.verdict


@pytest.mark.thorough
def test_tokens_whose_order_the_mirror_changes(tmp_path: Path) -> None:
    """Nothing orders stored tokens, so that `reduce` may pair them; the proof has to know of that, of a file's, too."""
    network = prepare(Memory(), parse_spec(CLIP), (normal(*SHAPE),))
    calls = [((part,), {}) for part in CALIBRATION.split(4)]
    conversion = convert(network, "net", Request("reduce", calibration=calls, samples=1, rounds=0))
    assert not conversion.passport.hidden["tokens"].axes[1].is_trivial
    write(conversion, tmp_path / "memory.pt2")
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(tmp_path / "memory.pt2")])
    assert ended.value.code == 0


def test_planned() -> None:
    report = plan(Positions("buffer"), parse_spec(CLIP), (normal(*SHAPE),), method="match")
    advice = "if left and right get lost: --symmetrize-constants, or reduce or average"
    assert f"no pairing for the channels of places; {advice}" in report.notes


def test_orders_of_a_graph_are_no_table() -> None:
    """A stack of adjacencies leaves its own axis nothing but to stay; channels are paired all the same."""

    def mixed(s: Net, x: Tensor) -> Tensor:
        once = torch.einsum("kij,bjc,kcd->bid", s.orders, x, s.first).relu()
        return torch.einsum("kij,bjc,kcd->bid", s.orders, once, s.last)

    ring = torch.eye(6, dtype=torch.float64) + (1 - torch.eye(6, dtype=torch.float64)) / 8
    weights = {"first": nn.Parameter(normal(3, 2, 8)), "last": nn.Parameter(normal(3, 8, 2, seed=1))}
    net = trained(Net(mixed, orders=torch.stack([torch.eye(6).double(), ring, ring @ ring]), **weights))
    assert not [note for note in plan(net, parse_spec(POSE), (normal(3, 6, 2),)).notes if "pairing" in note]
    found = converted(net, method="match")
    assert residual(found, (3, 6, 2)) < ROUNDING
    assert found.chirality.report.judgement.degeneracy.tables == ()  # type: ignore[union-attr]


def test_orders_beside_channels_are_no_table() -> None:
    """One convolution for all orders, with a bias of orders times channels: it ties neither to the other."""

    def mixed(s: Net, x: Tensor) -> Tensor:
        parts = s.first(x.movedim(-1, 1)[:, :, None]).unflatten(1, (2, 8))  # batch order channel 1 joint
        once = torch.einsum("bkctj,kji->bcti", parts, s.orders).relu()
        return s.last(once)[:, :, 0].movedim(1, -1)

    ring = torch.eye(6, dtype=torch.float64) + (1 - torch.eye(6, dtype=torch.float64)) / 8
    orders = torch.stack([torch.eye(6, dtype=torch.float64), ring])
    net = trained(Net(mixed, first=nn.Conv2d(2, 16, 1), last=nn.Conv2d(8, 2, 1)))
    net.register_buffer("orders", orders)
    data = normal(60, 6, 2, seed=3)
    found = converted(net, method="reduce", calibration=data, width=0.5, rounds=0, force=True)
    report = found.chirality.report  # type: ignore[union-attr]
    assert residual(found, (3, 6, 2)) < ROUNDING and report.judgement.degeneracy.tables == ()
    assert [choice.space.size for choice in report.changes.choices] == [8]


def test_a_table_over_frames_alone_decides_as_before() -> None:
    """Weights do not tie the frames to left and right: a window over them is kept, and hides nothing."""

    class Windowed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(SHAPE[1], SHAPE[1], bias=False)
            self.register_buffer("window", TABLE[: SHAPE[1], 0] * TABLE[: SHAPE[1], 1])
            self.register_buffer("cosines", TABLE[: SHAPE[1], : SHAPE[1]].clone())

        def forward(self, x: Tensor) -> Tensor:
            y = torch.einsum("ft,btjd->bjdf", self.cosines, x)
            return (self.mix(y) * self.window).permute(0, 3, 1, 2)

    net = trained(Windowed())
    found = converted(net, CLIP, SHAPE, method="match", symmetrize_constants=True)
    x = normal(*SHAPE, seed=3)
    with torch.no_grad():
        both = (net(x) + turned(net(turned(x)))) / 2
        torch.testing.assert_close(found(x), both, rtol=0, atol=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize(("held", "stays"), [("gru", True), ("gru, attribute", False)])
def test_weights_alone_hold_what_was_changed(held: str, stays: bool, tmp_path: Path) -> None:
    """A file of weights without the table would be another network."""
    network = prepare(Positions(held), parse_spec(CLIP), (normal(*SHAPE),))
    calls = [((part,), {}) for part in CALIBRATION.split(4)]
    options = Request("reduce", calibration=calls, product="weights", samples=1, rounds=0)
    conversion = convert(network, "net", options)
    assert "places" in {own.name for own in conversion.report.changes.moved}
    if stays:
        write(conversion, tmp_path / "net.pt")
        assert "places" in torch.load(tmp_path / "net.pt", weights_only=True)
        return
    with pytest.raises(UsageError, match="places changed, which a .pt does not hold"):
        write(conversion, tmp_path / "net.pt")
