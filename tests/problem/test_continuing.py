"""Forecasts that do not go on as the frames moved: inputs in another unit, or at another rate of frames."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.problem.data.continuing import discontinued
from chiralize.problem.data.units import QUESTION, unit_in_question
from chiralize.problem.network import Network
from chiralize.problem.partial import prepare

JOINTS, FRAMES, AHEAD = 6, 12, 4
SPEC = (
    "{joints: [a, b, c, d, e, f], pairs: [[a, b], [c, d], [e, f]], dims: [x, y], negate: x, "
    "inputs: [{layout: b t j d}], outputs: [{layout: %s}]}"
)


def motion(samples: int = 128, noise: float = 0.0) -> Tensor:
    """Joints on slow curves, a few centimetres a frame: "sample frame joint 2", metres."""
    drawn = torch.Generator().manual_seed(1)
    phase = 6.28 * torch.rand(samples, 1, JOINTS, 2, generator=drawn)
    pace = 0.1 + 0.2 * torch.rand(samples, 1, JOINTS, 2, generator=drawn)
    frames = torch.arange(FRAMES).view(1, -1, 1, 1)
    place = torch.randn(samples, 1, JOINTS, 2, generator=drawn)
    path = place + 0.2 * torch.sin(pace * frames + phase)
    return path + noise * torch.randn(path.shape, generator=drawn)


class GoesOn(nn.Module):
    """The last frame and what follows at its speed, which is bounded, as one that a network learnt. ahead: frames."""

    def __init__(self, ahead: int = AHEAD, speed: float = 0.05) -> None:
        super().__init__()
        self.ahead, self.speed = ahead, speed
        self.mix = nn.Parameter(torch.eye(2 * JOINTS) + 0.05 * torch.randn(12, 12))

    def forward(self, poses: Tensor) -> Tensor:
        step = (poses[:, -1] - poses[:, -2]).flatten(1)
        ahead = torch.arange(1.0, self.ahead + 1)[:, None]
        added = self.added((step @ self.mix) / self.speed) * self.speed
        return poses[:, -1:] + (added[:, None] * ahead).unflatten(2, (JOINTS, 2))

    def added(self, steps: Tensor) -> Tensor:
        """In units of the speed that it knows."""
        return torch.tanh(steps) if self.training else steps


class OfItsSize(GoesOn):
    """Adds steps of the size that it saw in training, however large those of the inputs are."""

    def added(self, steps: Tensor) -> Tensor:
        return nn.functional.layer_norm(steps, steps.shape[-1:])


class Astray(GoesOn):
    """Adds what has nothing to do with the last step, as where all units are saturated."""

    def added(self, steps: Tensor) -> Tensor:
        return steps.roll(1, 0)


def of(network: nn.Module, x: Tensor, layout: str = "b t j d") -> tuple[Network, str]:
    prepared = prepare(network.eval(), parse_spec(SPEC % layout), (x[:8],))
    return prepared, discontinued(prepared, [((part,), {}) for part in x.split(16)])


@pytest.mark.parametrize("network", [GoesOn(), OfItsSize()])
@pytest.mark.parametrize("change", [lambda x: x, lambda x: -x, lambda x: 1.5 * x + 7, lambda x: x[:16]])
def test_right_inputs(network: nn.Module, change) -> None:
    """Other axes, another place and few samples are no matter."""
    assert of(network, change(motion()))[1] == ""


def test_steps_of_another_size() -> None:
    """A network that adds what it saw in training to inputs that are an eighth of those."""
    assert "times as far as the last step of the frames" in of(OfItsSize(), motion() / 8)[1]


def test_steps_that_lead_elsewhere() -> None:
    """The words name the correlation."""
    found = of(Astray(), motion())[1]
    assert found.startswith("forecasts do not go on as the frames moved (correlated by ")


def test_frames_that_never_move() -> None:
    """As of somebody who forecasts from a photograph, 12 times."""
    x = motion()[:, -1:].expand(-1, FRAMES, -1, -1).contiguous()
    assert of(GoesOn(), x)[1] == "the frames of every sample are all the same, so that nothing moves"


def test_noise_is_not_to_be_gone_on_with() -> None:
    """A detector's noise of several steps: a network that takes it back is right."""
    assert of(Astray(), motion(noise=0.2))[1] == ""


def test_others_are_not_asked() -> None:
    """Forecasts of one frame, however far ahead that lies; answers that do not start at the last frame."""

    class One(Astray):
        def forward(self, poses: Tensor) -> Tensor:
            return super().forward(poses)[:, -1]

    class Elsewhere(GoesOn):
        def forward(self, poses: Tensor) -> Tensor:
            return super().forward(poses).flip(0)

    assert of(One(), motion(), "b j d")[1] == ""
    assert of(Elsewhere(), motion())[1] == ""


def test_the_unit_is_questioned() -> None:
    """In the words of the report, with what to check."""
    prepared, _ = of(Astray(), motion())
    found = unit_in_question(prepared, [((part,), {}) for part in motion().split(16)])
    assert found.startswith(f"warning: {QUESTION}: forecasts do not go on as the frames moved")
    assert found.endswith("and frames at its rate")
