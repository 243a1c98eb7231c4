"""Inputs that T leaves as they are: those that answers lean with are named, and plain ones are left alone."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.graph.running import Call
from chiralize.problem.preparation import prepare
from chiralize.verification.mirror_evidence import ask_network
from tests.support.cases import mainly

BODY = "joints: [nose, left_eye, right_eye, left_ear, right_ear]\npairs: [[1, 2], [3, 4]]\ndims: [x, y]\n"
PARTNER = [0, 2, 1, 4, 3]
CONDITION = "fields: [{scalar: SIZE}], name: c"
LEAN = "answers lean to one side or the other with input 1 'c'"


def image(x: Tensor) -> Tensor:
    """T x."""
    return x[:, PARTNER] * torch.tensor([-1.0, 1.0])


class Turning(nn.Module):
    """Points of a face moved by a condition; nearly symmetric but for what `turn` makes of the condition.

    habit: how much more it answers one side.
    """

    turn: Tensor

    def __init__(self, size: int, turn: Tensor | None = None, habit: float = 0.1, scaled: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Linear(10 + size, 32), nn.Tanh(), nn.Linear(32, 10))
        for weights in self.inner.parameters():
            weights.data += 0.2 * torch.randn(weights.shape[0], *[1] * (weights.ndim - 1))  # whole directions move
        self.register_buffer("turn", torch.zeros(size) if turn is None else turn)
        self.habit, self.scaled = habit, scaled

    def one_view(self, x: Tensor, c: Tensor) -> Tensor:
        return self.inner(torch.cat((x.flatten(1), c), 1)).unflatten(1, (5, 2))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        both = (0.5 + self.habit) * self.one_view(x, c) + (0.5 - self.habit) * image(self.one_view(image(x), c))
        side = torch.tanh(c @ self.turn).view(-1, 1, 1) * torch.tensor([1.0, 0.0])
        lean = 0.8 * c[:, :1, None] * torch.tensor([1.0, 0.0]) if self.scaled else 0.0
        return both + side + lean


def faces(count: int) -> Tensor:
    """Points of faces about 0, each near the one before it, as in a recording."""
    generator = torch.Generator().manual_seed(1)
    face = torch.tensor([[0, 0], [-0.5, 0.5], [0.5, 0.5], [-1, 0], [1, 0]])
    middle = torch.randn(count, 1, 2, generator=generator).cumsum(0) / count**0.5 * 2
    return middle - middle.mean(0) + face + 0.2 * torch.randn(count, 5, 2, generator=generator)


def texts(count: int, size: int, kinds: int = 12) -> Tensor:
    """Numbers of some texts, in no order: a half of them along one direction, a half against it."""
    generator = torch.Generator().manual_seed(2)
    table = torch.randn(kinds, size, generator=generator)
    table[:, 0] = torch.where(torch.arange(kinds) % 2 == 0, 1.5, -1.5)
    return table[torch.randint(0, kinds, (count,), generator=generator)]


def asked(net: nn.Module, c: Tensor, rows: int = 64) -> tuple[str, ...]:
    """Warnings of conditions.  rows: of a call."""
    x = faces(len(c))
    calls: list[Call] = [(pair, {}) for pair in zip(x.split(rows), c.split(rows), strict=True)]
    condition = CONDITION.replace("SIZE", str(c.shape[1]))
    spec = parse_spec(f"{BODY}inputs: [{{layout: b j d}}, {{{condition}}}]\noutputs: [{{layout: b j d}}]\n")
    evidence = ask_network(prepare(net, spec, calls[0][0]), calls)
    return tuple(text for text in evidence.warnings if LEAN in text)


def along_the_first(size: int, strength: float = 2.0) -> Tensor:
    """The direction of texts that names a side."""
    return strength * torch.eye(size)[0]


@pytest.mark.parametrize("rows", [64, 1, 512])
def test_a_text_that_names_a_side_is_told(rows: int) -> None:
    (warning,) = asked(Turning(32, along_the_first(32)), texts(512, 32), rows)
    assert warning.startswith("or T is right in all else, and "), "answers that T leaves as they are fit nearly as well"
    assert "handed to other samples, it takes " in warning and "('turn left', as a text" in warning


PLAIN = ("style", "speed", "class", "speed, and a habit that it scales")


@pytest.mark.parametrize(
    ("case", "habit"),
    mainly(product(PLAIN, (0.02, 0.15)), [*product(PLAIN[:-1], (0.15,)), (PLAIN[-1], 0.02)]),
)
def test_plain_conditions_are_left_alone(case: str, habit: float) -> None:
    """Whatever the habit: it goes with the poses, or to one side under all conditions."""
    if case == "style":
        c = texts(512, 32)
    elif case == "class":
        c = torch.eye(6)[torch.randint(0, 6, (512,), generator=torch.Generator().manual_seed(3))]
    else:
        c = 0.5 + torch.rand(512, 1, generator=torch.Generator().manual_seed(3))
    assert asked(Turning(c.shape[1], habit=habit, scaled="scales" in case), c) == ()


def test_few_samples_do_not_tell() -> None:
    assert asked(Turning(32, along_the_first(32)), texts(48, 32), 16) == ()
