"""A network of chiral layers is proved as any other: by the layers' records of their weights, which may be wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from chiralize import verify
from chiralize.body.spec import parse_spec
from chiralize.nn import (
    GRU,
    LSTM,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    InvariantHead,
    InvariantParameter,
    Linear,
    ReversedConv2d,
)
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support.chiral_nets import (
    BODY,
    MIXED,
    PAIRS,
    PAPER,
    Perceptron,
    Recurrent,
    Temporal,
    Transformer,
    relu,
    tanh,
)
from tests.support.chiral_oracle import noise, scrambled
from tests.support.small_body import CLIP, POSE

PICTURES = """\
skeleton: {joints: [a, b, c, d, e, f], pairs: [[b, d], [c, e]], dims: [x, y]}
inputs: [{layout: "b j d h ~w"}]
outputs: [{layout: "b j d h ~w"}]
"""


class Pictures(nn.Module):
    """Maps of every joint and coordinate, whose columns T reverses."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = ReversedConv2d(BODY, PAIRS, 3, padding=1), BatchNorm2d(PAIRS)
        self.last = ReversedConv2d(PAIRS, BODY, (1, 3), padding="same")

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x.flatten(1, 2))).relu()).unflatten(1, (6, 2))


class Grid(nn.Module):
    """A clip as a picture of one column."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = Conv2d(BODY, MIXED, (3, 1), padding=(1, 0)), BatchNorm2d(MIXED)
        self.last = Conv2d(MIXED, BODY, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.first(x.flatten(2).transpose(1, 2)[..., None])).tanh()
        return self.last(y)[..., 0].transpose(1, 2).unflatten(2, (6, 2))


class Scores(nn.Module):
    """Scores that T leaves alone, with a learned offset before them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = Linear(BODY, MIXED), InvariantHead(MIXED, 3)
        self.offset = InvariantParameter(TensorRepresentation((MIXED,)))

    def forward(self, x: Tensor) -> Tensor:
        return self.last((self.first(x.flatten(1)) + self.offset()).tanh())


def both_ways(rep_in: Representation, rep_hidden: Representation, **settings: int) -> LSTM:
    return LSTM(rep_in, rep_hidden, bidirectional=True, **settings)  # type: ignore[arg-type]


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "linear": (lambda: Perceptron(PAIRS, relu), (3, 6, 2), POSE),
    "linear, signs": (lambda: Perceptron(PAPER, tanh), (3, 6, 2), POSE),
    "conv1d, batch norm": (lambda: Temporal(PAIRS, relu), (3, 4, 6, 2), CLIP),
    "conv1d, batch norm, signs": (lambda: Temporal(MIXED, tanh), (3, 4, 6, 2), CLIP),
    "conv2d": (Grid, (3, 4, 6, 2), CLIP),
    "pictures": (Pictures, (3, 6, 2, 5, 6), PICTURES),
    "lstm": (lambda: Recurrent(MIXED, LSTM), (3, 4, 6, 2), CLIP),
    "lstm, both ways": (lambda: Recurrent(PAIRS, both_ways), (3, 4, 6, 2), CLIP),
    "gru": (lambda: Recurrent(PAIRS, GRU), (3, 4, 6, 2), CLIP),
    "attention, layer norm": (lambda: Transformer(PAIRS, 2), (3, 4, 6, 2), CLIP),
    "attention, one head": (lambda: Transformer(PAIRS, 1), (3, 4, 6, 2), CLIP),
    "scores": (Scores, (3, 6, 2), POSE.split("outputs")[0] + "outputs: [{invariant: true}]\n"),
}


@pytest.mark.parametrize("name", NETS)
def test_every_kind_of_layer_is_proved(name: str) -> None:
    make, shape, spec = NETS[name]
    network = scrambled(make(), 1).eval()
    report = verify(network, parse_spec(spec), (noise(*shape, dtype=torch.float32),))
    assert report.passed and report.certificate is not None and report.certificate.passed


class Lying(BatchNorm1d):
    """A layer that says that T moves none of its dense weights."""

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        reps = super().dense_representations()
        return {name: TensorRepresentation.trivial(rep.shape) for name, rep in reps.items()}


def test_a_wrong_record_is_not_proved() -> None:
    network = Temporal(MIXED, tanh)
    network.norm = Lying(MIXED)
    report = verify(scrambled(network, 1).eval(), parse_spec(CLIP), (noise(3, 4, 6, 2, dtype=torch.float32),))
    assert report.certificate is None or not report.certificate.passed
