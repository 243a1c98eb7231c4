"""Both verdicts on networks of chiral layers, and faults that they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.graph.execution import settled
from chiralize.infer.capture import capture
from chiralize.nn import GRU, LSTM, BatchNorm1d, InvariantParameter, hidden
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support.chiral_nets import MIXED, PAIRS, PAPER, Perceptron, Recurrent, Temporal, Transformer, relu, tanh
from tests.support.chiral_oracle import noise, scrambled
from tests.support.small_body import CLIP, POSE, verdicts

PASSING: dict[str, Callable[[], nn.Module]] = {
    "perceptron": lambda: Perceptron(PAIRS, relu),
    "perceptron, paper": lambda: Perceptron(PAPER, tanh),
    "perceptron, shuffled": lambda: Perceptron(MIXED, tanh),
    "temporal, shuffled": lambda: Temporal(MIXED, tanh),
    "lstm, paper": lambda: Recurrent(PAPER, LSTM),
    "gru, shuffled": lambda: Recurrent(MIXED, GRU),
    "attention, dims": lambda: Transformer(hidden(18, fixed=2), 1),
    "attention, shuffled": lambda: Transformer(Representation.parse("8: (0 3) (1 2) (5 6)"), 2),
}


def prepared(net: nn.Module) -> nn.Module:
    return scrambled(net.double()).eval()


def judged(net: nn.Module, pose: bool = False) -> tuple[bool, bool, str]:
    frames = 2 if isinstance(net, Recurrent) else 4
    return verdicts(prepared(net), (3, 6, 2) if pose else (3, frames, 6, 2), POSE if pose else CLIP)


@pytest.mark.one_in(12)
@pytest.mark.parametrize("name", PASSING)
def test_passes(name: str) -> None:
    """With nothing but the skeleton: the layers' own records tell the rest."""
    assert judged(PASSING[name](), name.startswith("perceptron"))[:2] == (True, True)


@pytest.mark.thorough
def test_a_fresh_network_passes() -> None:
    """Ones and zeros everywhere in the normalisation, where records could be mixed up."""
    report = chiralize.verify(Temporal(PAPER, tanh).double().eval(), parse_spec(CLIP), (noise(3, 4, 6, 2),), samples=2)
    assert report.passed


def test_a_plain_layer_between_chiral_ones() -> None:
    torch.manual_seed(0)
    numbers, proof, broken = judged(Perceptron(PAIRS, relu, nn.Linear(16, 16)), True)
    assert not numbers and not proof
    assert "middle" in broken or "two different mirrors meet" in broken, broken


class _Plain(nn.Module):
    """A function that asks for nothing."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def test_a_relu_after_signs() -> None:
    numbers, proof, broken = judged(Perceptron(PAPER, lambda _: _Plain(nn.ReLU())), True)
    assert not numbers and not proof
    assert broken.startswith("f.function") and "12 of 24 entries are negated, and the operation is not odd" in broken


@pytest.mark.one_in(2)
@pytest.mark.parametrize("own", ["core", "norm"])
def test_a_layer_whose_record_is_wrong(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dense weights that T does not leave alone are found, whatever the layer says of itself."""
    kind = LSTM if own == "core" else BatchNorm1d
    honest = kind.dense

    def lopsided(self: Any) -> dict[str, torch.Tensor]:
        return {name: value * torch.linspace(1, 1.3, len(value)).to(value)[(..., *[None] * (value.ndim - 1))]
                for name, value in honest(self).items()}  # fmt: skip

    net = Recurrent(PAIRS, LSTM) if own == "core" else Temporal(PAPER, tanh)
    monkeypatch.setattr(kind, "dense", lopsided)
    numbers, proof, broken = judged(net)
    assert not numbers and not proof and f"{own}." in broken and "max |W - T W|" in broken, broken


def test_what_is_drawn_anew_is_no_weight() -> None:
    """A weight that loses entries at random in every call is not made a weight of the graph: it has no proof."""

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kept = InvariantParameter(TensorRepresentation((hidden(4),)))

        def forward(self, x: Tensor) -> Tensor:
            return x * torch.nn.functional.dropout(self.kept(), 0.5, True)

    program = torch.export.export(Noisy(), (torch.randn(2, 4),))
    captured = capture(program, (torch.randn(2, 4),), {})
    nodes = {node.target for node in settled(captured, ["kept.weight_even"]).nodes}
    assert "aten.dropout.default" in nodes and "aten.index_select.default" not in nodes
