"""Moments of the inputs out of batch norms: exact where the statistics are, refused with the reason where not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.problem.data.moments import norms, recovery
from chiralize.problem.data.moments.norms import UndeterminedError
from chiralize.problem.data.moments.recovery import Recovered, recover
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from tests.support.small_body import CLIP, POSE, normal, trained, turned

ENTRIES, WIDTH = 12, 128  # 6 even and 6 odd numbers: 42 unknowns, or 78 without the mirror


def gaussian(lopsided: float = 0.0) -> tuple[Tensor, Tensor]:
    """Mean and covariance of poses; lopsided: how far from one that commutes with the mirror."""
    draw = torch.Generator().manual_seed(5)
    factor = (
        torch.randn(ENTRIES, ENTRIES, generator=draw, dtype=torch.float64) * torch.logspace(0, -2, ENTRIES).double()
    )
    covariance = factor @ factor.T
    image = mirrored(mirrored(covariance).T).T
    mean = torch.randn(ENTRIES, generator=draw, dtype=torch.float64)
    return mean, ((1 + lopsided) * covariance + (1 - lopsided) * image) / 2


def mirrored(rows: Tensor) -> Tensor:
    return turned(rows.reshape(-1, 6, 2)).reshape(rows.shape)


class Lifter(nn.Module):
    """Something affine, batch norm and a head. before: what poses go through first.  skip: they go round it too."""

    def __init__(
        self,
        width: int = WIDTH,
        before: Callable[[Tensor], Tensor] | None = None,
        skip: bool = False,
        entries: int = 12,
    ) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(entries, width), nn.BatchNorm1d(width), nn.Linear(width, ENTRIES)
        self.before, self.skip = before or (lambda x: x), skip

    @property
    def kept(self) -> tuple[Tensor, Tensor]:
        """Running mean and variance."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None and variance is not None
        return mean, variance

    def read(self, x: Tensor) -> Tensor:
        return self.first(self.before(x).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(self.norm(self.read(x)).relu()).unflatten(1, (6, 2))
        return x + y if self.skip else y


class Convolved(Lifter):
    """The same with a convolution over the frames of a clip."""

    def __init__(self, kernel: int) -> None:
        super().__init__(256)
        self.first = nn.Conv1d(ENTRIES, 256, kernel)

    def read(self, x: Tensor) -> Tensor:
        return self.first(x.flatten(2).transpose(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.read(x)).relu().mean(2)
        return self.head(y).unflatten(1, (1, 6, 2)).expand(x.shape)


def remembering(net: Lifter, moments: tuple[Tensor, Tensor], shape: Sequence[int] = (6, 2)) -> Lifter:
    """Random weights, and the statistics that training on inputs with these moments leaves."""
    net = net.double().eval()
    with torch.no_grad():
        for seed, own in enumerate(net.parameters()):
            own.copy_(normal(*own.shape, seed=seed))
    zero = torch.zeros(1, *shape, dtype=torch.float64)
    weight = torch.autograd.functional.jacobian(net.read, zero).reshape(len(net.kept[0]), -1)
    net.kept[0].copy_(weight @ moments[0] + net.read(zero).detach().flatten())
    net.kept[1].copy_(((weight @ moments[1]) * weight).sum(1))
    return net


@cache
def ready(net: nn.Module, shape: Sequence[int] = (6, 2), rows: int = 5) -> Network:
    return prepare(net, parse_spec(CLIP if len(shape) == 3 else POSE), (normal(rows, *shape),))


def recovered(net: nn.Module, shape: Sequence[int] = (6, 2), rows: int = 5) -> Recovered:
    network = ready(net, shape, rows)
    return recover(network.graph(), network.resolved.inputs)


def refusal(net: nn.Module, shape: Sequence[int] = (6, 2)) -> str:
    with pytest.raises(UndeterminedError) as caught:
        recovered(net, shape)
    return str(caught.value)


def off(found: Recovered, moments: tuple[Tensor, Tensor]) -> float:
    """The larger of the errors of mean and covariance, relative to their largest entries."""
    own = found.gaussian.mean, found.gaussian.covariance
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(own, moments, strict=True))


# ---- recovered ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rows", [1, 5, 7])
def test_exact_statistics_give_the_moments(rows: int) -> None:
    """In any batch size of the example; the words of the report."""
    found = recovered(remembering(Lifter(), gaussian()), rows=rows)
    assert off(found, gaussian()) <= 1e-7 and found.misfit <= 1e-6
    assert found.source == "moments recovered from norm, 128 channels for 42 unknowns"


def test_samples_have_the_moments() -> None:
    """Drawn again from the same seed they are the same."""
    found = recovered(remembering(Lifter(), gaussian())).gaussian
    rows = found.draw(20_000, 3)
    mean, covariance = gaussian()
    assert float((rows.mean(0) - mean).abs().max()) < 0.05
    assert float((torch.cov(rows.T) - covariance).abs().max()) < 0.03 * float(covariance.abs().max())
    assert torch.equal(rows, found.draw(20_000, 3)) and not torch.equal(rows, found.draw(20_000, 4))


def test_as_many_channels_as_are_needed() -> None:
    """One and a half per unknown, and one fewer."""
    assert off(recovered(remembering(Lifter(63), gaussian())), gaussian()) <= 1e-6
    assert refusal(remembering(Lifter(62), gaussian())) == "norm has 62 channels for 42 unknowns, 63 are needed"


def test_dead_channels_do_not_count() -> None:
    net = remembering(Lifter(66), gaussian())
    net.first.weight.data[:4] = 0
    net.kept[1][:4] = 0
    assert "62 channels" in refusal(net)


def test_inputs_need_not_be_symmetric() -> None:
    """What the mirror negates is found as far as the equations tell; a mirrored covariance would be far off."""
    moments = gaussian(0.3)
    found = recovered(remembering(Lifter(), moments))
    assert off(found, moments) < 0.05 < 0.2 < float((moments[1] - gaussian()[1]).abs().max() / moments[1].abs().max())


def test_a_convolution_over_all_frames() -> None:
    """The whole clip is one sample: 24 numbers."""
    mean, covariance = (torch.cat([own, -own]) for own in gaussian())
    draw = normal(24, 24, seed=8)
    images = draw + mirrored(draw.reshape(-1, 12)).reshape(24, 24)  # even directions
    covariance = images.T @ images + (draw - (images - draw)).T @ (draw - (images - draw))
    found = recovered(remembering(Convolved(2), (mean, covariance), (2, 6, 2)), (2, 6, 2))
    assert off(found, (mean, covariance)) <= 1e-6 and found.unknowns == 2 * 12 * 13 // 2


def centred(x: Tensor) -> Tensor:
    return x - x[:, :1]


def test_what_no_norm_sees_has_no_spread() -> None:
    """Poses relative to the hip: two directions less, and inputs that the network takes for the same."""
    net = remembering(Lifter(before=centred), gaussian())
    found = recovered(net)
    assert found.unknowns == 2 * 5 * 6 // 2
    move = torch.autograd.functional.jacobian(lambda x: centred(x).flatten(), torch.zeros(1, 6, 2).double()).reshape(
        12, 12
    )
    own, true = (move @ covariance @ move.T for covariance in (found.gaussian.covariance, gaussian()[1]))
    assert float((own - true).abs().max()) <= 1e-7 * float(true.abs().max())
    assert refusal(remembering(Lifter(before=centred, skip=True), gaussian())) == (
        "the answers depend on 2 directions that norm does not see"
    )


# ---- refused --------------------------------------------------------------------------------------------------------
def without_left(x: Tensor) -> Tensor:
    return x * torch.tensor([1.0, 0, 1, 1, 1, 1]).double()[:, None]


def one_arm_only(net: Lifter) -> Lifter:
    """Half of the channels read the arms, the others the rest: nothing tells how they go together."""
    with torch.no_grad():
        arms = torch.tensor([False, True, False, True, False, False]).repeat_interleave(2)
        half = len(net.first.weight) // 2
        net.first.weight[:half, ~arms] = 0
        net.first.weight[half:, arms] = 0
        net.kept[1].copy_(((net.first.weight @ gaussian()[1]) * net.first.weight).sum(1))
        net.kept[0].copy_(net.first.weight @ gaussian()[0] + net.first.bias)
    return net


def stale(net: Lifter) -> Lifter:
    net.first.weight.data.copy_(normal(WIDTH, ENTRIES, seed=77))
    return net


REFUSED = {
    "a bend before the norm": (Lifter(before=torch.relu), "norm reads no linear function of the inputs"),
    "samples are mixed": (Lifter(before=lambda x: x - x.mean(0)), "norm mixes the samples of a batch"),
    "one side is not read": (Lifter(before=without_left), "the norm reads other numbers than their mirror images"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_norm_reads_decides(name: str) -> None:
    net, says = REFUSED[name]
    assert refusal(remembering(net, gaussian())) == says


def test_networks_without_statistics() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Unflatten(1, (6, 2))).double()
    assert refusal(net) == "the network has no batch norm with statistics of its own"


def test_several_places_of_a_sample() -> None:
    net = remembering(Convolved(1), gaussian(), (1, 6, 2))
    assert off(recovered(net, (1, 6, 2)), gaussian()) <= 1e-6
    says = "norm works at 3 places of a sample and says nothing of how they go together"
    assert refusal(net, (3, 6, 2)) == says


def test_channels_that_each_read_a_part() -> None:
    says = refusal(one_arm_only(remembering(Lifter(), gaussian())))
    assert says == "the channels tell 26 of 42 unknowns: each reads a part of the sample"


def test_statistics_of_other_weights() -> None:
    """Stale, random and fresh ones fit no inputs."""
    nets = [stale(remembering(Lifter(), gaussian())), trained(Lifter()), Lifter().double().eval()]
    assert all("the statistics of norm fit no inputs (off by " in refusal(net) for net in nets)


# ---- planted faults -------------------------------------------------------------------------------------------------
def test_a_wrong_equation_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off-diagonal entries counted once."""

    def once(rows: Tensor) -> Tensor:
        first, second = torch.triu_indices(rows.shape[1], rows.shape[1])
        return rows[:, first] * rows[:, second]

    monkeypatch.setattr(recovery, "_products", once)
    found = recovered(remembering(Lifter(), gaussian()))
    assert off(found, gaussian()) > 0.01 and found.misfit > 0.01


def test_a_forgotten_bias_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = norms.reading

    def without(*arguments: Any) -> Any:
        own = plain(*arguments)
        return norms.Reading(own.norm, own.weight, 0 * own.bias) if own else None

    monkeypatch.setattr(recovery, "reading", without)
    assert "fit no inputs" in refusal(remembering(Lifter(), gaussian()))
