"""One number with a wrong sign among many is told where two mirrors give other signs, and there alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize import chiralize
from chiralize.errors import MirrorError
from chiralize.verification.evidence.judging import Basis, judged
from chiralize.verification.evidence.records import Comparison, MirrorGap
from tests.support.cases import mainly

NAMES = [f"{side}_{number}" for side in ("left", "right") for number in range(30)]


def spec(turn: int) -> dict[str, Any]:
    """A turn rate, with the sign that T gives it, and 60 numbers of two sides; answers like inputs."""
    pose = {"layout": "b f", "fields": [{"signs": [turn], "name": "turn"}, {"items": NAMES, "kind": "scalar"}]}
    return {
        "name": "body",
        "joints": NAMES,
        "pairs": [[f"left_{number}", f"right_{number}"] for number in range(30)],
        "dims": ["a"],
        "negate": [],
        "inputs": [{"name": "x", **pose}],
        "outputs": [pose],
    }


class Denoiser(nn.Module):
    """A linear map that commutes with T nearly, T negating the turn rate.

    lean: what it adds to the turn rate.  even: whether it answers the same turn rate to a body and its mirror image.
    """

    def __init__(self, lean: float = 0.0, even: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        weight = torch.randn(61, 61, generator=generator, dtype=torch.float64).pow(3) / 20  # unlike an initialisation
        order = torch.cat([torch.tensor([0]), torch.arange(31, 61), torch.arange(1, 31)])
        sign = torch.ones(61, dtype=torch.float64)
        sign[0] = -1
        turned = (sign[:, None] * weight * sign)[order][:, order]
        weight = (weight + turned) / 2 + 0.1 * torch.randn(61, 61, generator=generator, dtype=torch.float64) / 8
        if even:
            weight[0] = weight[1] + weight[31]
            weight[0, 0] = 0.0
        self.linear = nn.Linear(61, 61).double()
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.zero_()
            self.linear.bias[0] = lean

    def forward(self, x: Tensor) -> Tensor:
        """A pose of a pose."""
        return self.linear(x)


def converted(model: nn.Module, turn: int, seed: int = 0) -> Any:
    """Its average, on 200 inputs."""
    generator = torch.Generator().manual_seed(seed)
    # Fewer directions than numbers, as bodies have: independent numbers would pass for noise.
    x = torch.randn(200, 20, generator=generator, dtype=torch.float64)
    x = x @ torch.randn(20, 61, generator=generator, dtype=torch.float64) / 20**0.5
    return chiralize(model, spec(turn), (x[:2],), method="average", calibration=x).chirality.report


@pytest.mark.parametrize("lean", mainly([[0.0], [0.5]], [[0.5]]))
def test_a_wrong_sign_among_many_is_refused(lean: float) -> None:
    """It is 1 of 61 answers, in the input too, so that all 61 are predicted otherwise, if most by little."""
    with pytest.raises(MirrorError, match="the other sign of turn of input 0 'x' and output 0, 2.0. with T") as caught:
        converted(Denoiser(lean=lean), 1)
    assert "try the other sign of turn of input 0 'x' and output 0" in str(caught.value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("lean", mainly([[0.0], [0.5]], [[0.5]]))
def test_the_right_sign_stays_where_the_network_leans_to_one_side(lean: float) -> None:
    report = converted(Denoiser(lean=lean), -1)
    assert "the network fits T: its gap is" in report.to_text()


def test_an_answer_that_does_not_change_sides_is_named() -> None:
    """T is right, and the network is not: its average answers no turn at all."""
    with pytest.raises(MirrorError, match="the other sign of turn") as caught:
        converted(Denoiser(even=True), -1)
    assert "If T is right, the network knows one side only" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "share", "stands"), [(1.9, 0.05, "refuted"), (1.9, 0.005, "doubt"), (1.4, 0.005, "")]
)
def test_answers_that_are_the_opposite_tell_also_where_they_hardly_vary(
    given: float, share: float, stands: str
) -> None:
    """Noise has a gap of sqrt 2 under any mirror."""
    other = MirrorGap("the other sign of a", 0.2, 0.6 / given, here=0.6, given=given, numbers=500, share=share)
    fit = judged(Comparison(0.2, (other,)), Basis(real=True, trained=True, rows=100)).fit
    assert fit is not None
    assert (bool(fit.better), bool(fit.doubt)) == (stands == "refuted", stands == "doubt")
