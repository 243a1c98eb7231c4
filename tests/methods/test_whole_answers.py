"""Averages of answers that are whole numbers or truth values: as floating-point numbers, and with a word on it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import MethodUnavailableError, NeverEquivariantError
from chiralize.nn.deploy.script_views import both_views
from chiralize.nn.two_view import TwoView
from chiralize.report import to_text
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support.script_nets import script_of
from tests.support.small_body import BODY, Net, converted, normal, trained, turned, verdicts

POSES = 'inputs: [{layout: "b j d"}]\noutputs: '
NEGATED, PLAIN = '[{layout: "b j d"}]\n', '[{layout: "b j d", negate: []}]\n'


def answering(dtype: torch.dtype) -> nn.Module:
    """Answers of another type: bins from -3 to 3 or so, bytes up to 255, whether a number is positive."""

    def forward(net: Any, x: Tensor) -> Tensor:
        """The answer to poses."""
        y = net.last(torch.tanh(net.first(x.flatten(1)))).view(-1, 6, 2)
        if dtype is torch.bool:
            return y > 0
        return (200 + 50 * y.tanh() if dtype is torch.uint8 else 3 * y).round().to(dtype)

    return trained(Net(forward, first=nn.Linear(12, 16), last=nn.Linear(16, 12)))


@pytest.mark.parametrize(
    ("dtype", "outputs", "turn"),
    [
        (torch.int64, NEGATED, turned),
        (torch.uint8, PLAIN, lambda x: turned(x).abs()),
        (torch.bool, PLAIN, lambda x: turned(x).abs()),
    ],
)
def test_the_average_is_that_of_the_numbers(dtype: torch.dtype, outputs: str, turn: Any) -> None:
    """Bytes do not wrap, two truths are one, and whole numbers are proved under signs as well."""
    net, x = answering(dtype), normal(5, 6, 2, seed=3)
    spec = BODY + POSES + outputs
    average: Any = converted(net, spec, method="average", force=True)
    with torch.no_grad():
        answer, mirrored = average(x), average(turned(x))
        expected = 0.5 * (net(x).double() + turn(net(turned(x)).double()))
    assert answer.is_floating_point() and torch.equal(answer.double(), expected)
    assert torch.equal(mirrored, turn(answer)) and verdicts(average, spec=spec)[:2] == (True, True)
    text = to_text(average.chirality.report)
    assert f"output 0 is averaged as floating-point numbers: it holds {str(dtype).removeprefix('torch.')}" in text
    assert "output 0 is averaged as floating-point numbers" in text.partition("\n")[0]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool])
def test_what_cannot_be_negated_is_refused_before_anything_is_run(dtype: torch.dtype) -> None:
    said: list[str] = []
    with pytest.raises(MethodUnavailableError, match="which has no negative numbers, and T negates some") as caught:
        converted(
            answering(dtype),
            BODY + POSES + NEGATED,
            method="average",
            force=True,
            progress=lambda what, done=None: said.append(what),
        )
    assert caught.value.where == "output 0" and "negate: []" in caught.value.remedy
    assert said[-1].startswith("checking whether it is equivariant already")


class Bytes(nn.Module):
    """Answers in bytes, as a script."""

    def forward(self, x: Tensor) -> Tensor:
        return (200 + x.sin()).to(torch.uint8)


def test_scripts_average_alike() -> None:
    swap = Representation.of(SignedPermutation.of([(0, 1)], size=4))
    turn = TensorRepresentation((Representation.trivial(2), swap))
    script, x = script_of(Bytes()), normal(2, 4).float()
    plain = TwoView(script, [turn], [turn])
    joined = both_views(script, plain, ((x,), {}))[0]
    assert torch.equal(joined(x), plain(x)) and float(plain(x).min()) >= 199


class Picking(nn.Module):
    """Answers poses by the coordinate of the highest joint, which it finds by its place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 16), nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(torch.tanh(self.first(x.flatten(1)))).view(-1, 6, 2)
        place = x[..., 1:].argmax(1, keepdim=True)
        return y * torch.take_along_dim(x[..., 1:], place, 1)


def test_no_part_of_a_network_that_ends_in_places_is_averaged() -> None:
    """The average of two places is none, and what is read there fails on it."""
    with pytest.raises(NeverEquivariantError, match="argmax") as caught:
        converted(trained(Picking()), method="match", on_blocked="average", force=True)
    assert caught.value.remedy.startswith("average the whole network (--method average)")
    assert verdicts(converted(trained(Picking()), method="average", force=True))[:2] == (True, True)


class Handing(nn.Module):
    """Answers poses, and what it was given beside them or reads off that.

    written: marks joints in the mask that it was given by what it reads off the poses.
    """

    def __init__(self, written: bool = False) -> None:
        super().__init__()
        self.first, self.last, self.written = nn.Linear(12, 16), nn.Linear(16, 12), written

    def forward(self, x: Tensor, seen: Tensor, steps: Tensor) -> tuple[Tensor, ...]:
        y = self.last(torch.tanh(self.first(x.flatten(1)))).view(-1, 6, 2) * seen.unsqueeze(-1)
        if self.written:
            seen = seen & (x[..., 0] > 0)
        place = x[..., 0].argmax(1)
        return y, seen, seen.flip(1).flip(1), steps + 1, place


GIVEN = 'inputs: [{layout: "b j d"}, {layout: "b j", dims: []}, {invariant: true}]\n'
MASK, KEPT = '{layout: "b j", dims: []}', "{invariant: true}"
RETURNED = f'outputs: [{{layout: "b j d"}}, {MASK}, {MASK}, {KEPT}, {KEPT}]\n'


def handed(written: bool) -> tuple[Any, tuple[Tensor, ...]]:
    """The average of such a network, and a call."""
    x = normal(5, 6, 2, seed=3)
    call = x, normal(5, 6, seed=4) > 0, torch.arange(5)
    net = trained(Handing(written))
    spec = parse_spec(BODY + GIVEN + RETURNED)
    return chiralize.chiralize(net, spec, call, method="average", force=True, samples=1), call


def test_what_is_only_handed_through_keeps_its_type() -> None:
    """Both views are proved to answer the same; what they may answer differently is averaged, and said."""
    average, call = handed(written=False)
    _, seen, again, steps, place = average(*call)
    assert seen.dtype == again.dtype == torch.bool and torch.equal(seen, call[1]) and torch.equal(again, call[1])
    assert steps.dtype == torch.int64 and torch.equal(steps, call[2] + 1)
    assert place.is_floating_point()
    text = to_text(average.chirality.report)
    assert "output 4 is averaged as floating-point numbers" in text and "output 1 is averaged" not in text
    assert average.chirality.report.passed and average.chirality.report.certificate.passed


def test_what_is_written_on_the_way_is_averaged() -> None:
    average, call = handed(written=True)
    _, seen, _, steps, _ = average(*call)
    assert seen.is_floating_point() and steps.dtype == torch.int64
    assert "output 1 is averaged as floating-point numbers" in to_text(average.chirality.report)


class Returned(nn.Module):
    """A script that hands truth values through."""

    def forward(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        return x.sin(), seen


def test_scripts_hand_through_alike() -> None:
    swap = TensorRepresentation((Representation.trivial(2), Representation.of(SignedPermutation.of([(0, 1)], size=4))))
    script, call = script_of(Returned()), (normal(2, 4).float(), normal(2, 4) > 0)
    plain = TwoView(script, [swap, swap], [swap, swap], same=(1,))
    joined = both_views(script, plain, (call, {}))[0]
    assert joined(*call)[1].dtype == plain(*call)[1].dtype == torch.bool
    assert all(map(torch.equal, joined(*call), plain(*call)))
