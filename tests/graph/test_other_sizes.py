"""Open sizes: what is proved at the examples' sizes is run at others, and the certificate says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import AsymmetricConstantError, EquivarianceError
from chiralize.graph.other_sizes import is_open, resizings
from chiralize.problem.mirror import represent
from chiralize.problem.preparation import prepare
from tests.support.small_body import CLIP, POSE, Net, normal, trained

LOPSIDED = torch.arange(1.0, 7.0, dtype=torch.float64).reshape(6, 1)


def table(rows: int, even: int) -> Tensor:
    """Positions of frames, lopsided from one on."""
    found = normal(rows, 1, 1).repeat(1, 6, 2)
    found[..., 0] = 0
    found[even:] = normal(rows - even, 6, 2)
    return found


def program(net: nn.Module, x: Tensor, **sizes: Dim) -> ExportedProgram:
    places = {{"batch": 0, "frames": 1}[name]: size for name, size in sizes.items()}
    return torch.export.export(net.eval(), (x,), dynamic_shapes=(places,))


def beyond(kind: str) -> tuple[ExportedProgram, Tensor, str]:
    x = normal(2, 27, 6, 2)
    frames: Any = Dim("frames", min=2, max=243)
    if kind == "batch":
        net, x = Net(lambda _, x: x * (1 + (x.shape[0] // 7) * LOPSIDED)), normal(3, 6, 2)
        return program(net, x, batch=Dim("batch", min=1, max=64)), x, POSE  # type: ignore[arg-type]
    if kind == "frames":
        net = Net(lambda _, x: x * (1 + (x.shape[1] // 40) * LOPSIDED))
    else:
        net = Net(lambda own, x: x + own.at[: x.shape[1]], at=table(243, 40))
    return program(net, x, frames=frames), x, CLIP


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("kind", "where"), [("batch", "batch 14"), ("frames", "frames 81"), ("table", "constant")])
def test_lopsided_beyond_the_examples(kind: str, where: str) -> None:
    own, x, spec = beyond(kind)
    report = chiralize.verify(own, parse_spec(spec), (x,), samples=1)
    assert not report.judgement.numeric.passed and report.judgement.certificate is not None
    assert not report.judgement.certificate.passed and where in report.judgement.certificate.broken
    with pytest.raises(EquivarianceError, match="CH501"):
        report.raise_for_failure()
    found: Any = chiralize.chiralize(own, parse_spec(spec), (x,), method="average", samples=1)
    assert not found.chirality.report.way.unchanged and found.chirality.report.passed


@pytest.mark.parametrize("export", [True, False], ids=["program", "module"])
def test_the_certificate_says_which_sizes(export: bool) -> None:
    x, net = normal(3, 6, 2), trained(Net(lambda own, x: own.layer(x) * 2, layer=nn.Linear(2, 2, bias=False)))
    with torch.no_grad():
        net.layer.weight.copy_(torch.diag(torch.tensor([2.0, 3.0])))  # type: ignore[union-attr, operator]
    rows: Any = Dim("rows", min=2, max=40)
    own = program(net, x, batch=rows) if export else net
    report = chiralize.verify(own, parse_spec(POSE), (x,), samples=1)
    ran = "1, 2, 5, 11, 40" if export else "1, 2, 5, 24, 192"
    assert report.passed and report.judgement.certificate is not None
    note = f"proved for the sizes of the examples; other sizes of the open axes were run: batch {ran}"
    assert report.judgement.certificate.notes == (note,)


@pytest.mark.parametrize("even", [40, 243])
def test_a_table_is_looked_at_whole(even: int) -> None:
    """Rows beyond the examples', also where other ops follow the cut; nothing is run here."""
    net = Net(lambda own, x: x + 2 * own.at.unsqueeze(0)[:, : x.shape[1]].neg(), at=table(243, even))
    x, frames = normal(2, 27, 6, 2), Dim("frames", min=2, max=243)
    network = prepare(program(net, x, frames=frames), parse_spec(CLIP), (x,))  # type: ignore[arg-type]
    _, refusal = represent(network, None)
    if even == 243:
        assert refusal is None
    else:
        assert isinstance(refusal, AsymmetricConstantError) and "under the mirror" in str(refusal)


def test_a_closed_program_needs_no_such_words() -> None:
    x, net = normal(3, 6, 2), Net(lambda _, x: x * 2)
    report = chiralize.verify(program(net, x), parse_spec(POSE), (x,), samples=1)
    assert (
        report.judgement.certificate is not None
        and report.judgement.certificate.notes == ()
        and report.judgement.numeric.sizes == ()
    )


def looks(_: Any, x: Tensor) -> Tensor:
    return x * 2 if bool(x.isfinite().all()) else x


def test_traced_networks_are_proved_on_their_branches() -> None:
    report = chiralize.verify(Net(looks), parse_spec(POSE), (normal(3, 6, 2),), samples=1)
    assert report.judgement.certificate is not None
    assert report.judgement.certificate.notes[-1].startswith(
        "proved for the sizes of the examples and the branches that they take;"
    )


def test_other_shapes() -> None:
    """Sizes that are made of a symbol follow it; axes of the body, and what costs too much, are left out."""
    frames: Any = Dim("frames", min=2, max=30)
    own = torch.export.export(
        Net(lambda _, x: x.reshape(2, -1, 2, 6).sum(2)), (normal(2, 8, 6),), dynamic_shapes=({1: 2 * frames},)
    )
    x, names = normal(2, 8, 6), {(0, 0): "batch", (0, 1): "frames"}
    assert is_open(own)
    assert [(at.axis, at.size, at.shapes) for at in resizings(own, (x,), names)] == [
        ("frames", 2, ((2, 4, 6),)), ("frames", 11, ((2, 22, 6),)), ("frames", 30, ((2, 60, 6),)),
    ]  # fmt: skip
    assert [at.size for at in resizings(own, (x,), names, room=1.5)] == [2, 5, 6]
    assert resizings(own, (x,), {(0, 0): "batch"}) == []
    assert not is_open(program(Net(lambda _, x: x), x))


def test_a_large_batch_leaves_room_for_other_axes() -> None:
    """Two samples are enough for many frames, and a batch of other sizes has the examples' frames."""
    own = torch.export.export(
        Net(lambda _, x: x * 2), (normal(64, 4, 6, 2),), dynamic_shapes=({0: Dim("rows"), 1: Dim("frames")},)
    )
    found = resizings(own, (normal(64, 4, 6, 2),), {(0, 0): "batch", (0, 1): "frames"}, room=2)
    assert [(at.axis, at.shapes[0][:2]) for at in found] == [
        ("batch", (1, 4)), ("batch", (91, 4)), ("batch", (128, 4)),
        ("frames", (2, 1)), ("frames", (2, 32)), ("frames", (2, 256)),
    ]  # fmt: skip


def test_what_two_views_can_afford(monkeypatch: pytest.MonkeyPatch) -> None:
    """Multiplications count, of both views, not weights: a small weight is read at every joint."""
    monkeypatch.setattr("chiralize.verification.judge._WORK", 4 * 2 * 3 * 6 * 4)  # four times these
    x, net = normal(3, 6, 2), trained(Net(lambda own, x: own.layer(x), layer=nn.Linear(2, 2)))
    lifted = chiralize.chiralize(net, parse_spec(POSE), (x,), method="average", samples=1)
    report = chiralize.verify(lifted, parse_spec(POSE), (x,), samples=1)
    assert report.passed and report.judgement.numeric.tried["batch"] == (1, 2, 5, 6, 12)
