"""Samples spread as far as the moments that a network keeps of its training: the law, and what stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.problem.data.remembered import _is_shared, spreadings
from chiralize.problem.data.scattered import remark_on, with_scattered
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.request import Request
from tests.support.problems import posed
from tests.support.small_body import CLIP, POSE, Net, normal

MEAN, SPREAD = normal(6, 2, seed=1), normal(6, 2, seed=2).abs() + 1.0
CENTERED = POSE.replace('inputs: [{layout: "b j d"', 'inputs: [{layout: "b j d", negate: x, reflect: {x: 320}')


def normalised(
    spec: str = POSE, shape: tuple[int, ...] = (3, 6, 2), mean: Tensor = MEAN, spread: Tensor = SPREAD
) -> Network:
    def compute(net: Any, x: Tensor) -> Tensor:
        return net.last(((x - net.mean) / net.spread).flatten(-2)).unflatten(-1, (6, 2))

    net = Net(compute, mean=mean, spread=spread, last=nn.Linear(12, 12))
    return prepare(net.double().eval(), parse_spec(spec), (normal(*shape),))


def spread_by(network: Network, samples: Tensor) -> Tensor:
    """The samples, given in batches of 50, spread."""
    (spreading,) = spreadings(network, [((part,), {}) for part in samples.split(50)]).values()
    return spreading.with_drawn(spreading.of(samples), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scale", [0.2, 0.9])
def test_mean_and_spread_become_those_of_the_training(scale: float) -> None:
    samples = 3 + normal(400, 6, 2, seed=3) * SPREAD * scale
    made = spread_by(normalised(), samples)
    torch.testing.assert_close(made.mean(0), MEAN)
    torch.testing.assert_close(made.std(0, correction=0), SPREAD)


def test_what_varies_more_keeps_its_own_spread() -> None:
    samples = normal(400, 6, 2, seed=3) * SPREAD
    samples[:, 0] *= 9
    samples[:, 1] *= 0.3
    made = spread_by(normalised(), samples)
    torch.testing.assert_close(made.mean(0), MEAN)
    torch.testing.assert_close(made.std(0)[0], samples.std(0)[0])


def test_clips_stay_as_smooth_as_they_are() -> None:
    """One factor for all frames of an entry, of clips of any length."""
    steps = torch.linspace(0, 1, 7, dtype=torch.float64)[None, :, None, None]
    samples = normal(300, 1, 6, 2, seed=3) + steps * normal(300, 1, 6, 2, seed=4)
    made = spread_by(normalised(CLIP, (3, 5, 6, 2)), samples)
    pooled = made.flatten(0, 1)
    torch.testing.assert_close(pooled.mean(0), MEAN)
    assert float((made.diff(n=2, dim=1)).abs().max()) < 1e-9


@pytest.mark.parametrize("moves", [0.0, 1e-4], ids=["constant", "noise"])
def test_what_hardly_varies_is_drawn_as_it_was_in_training(moves: float) -> None:
    """An arm held still, say, while its robot walks; the others are spread as ever."""
    samples = 0.3 * normal(4000, 6, 2, seed=3)
    samples[:, 2] = 0.7 + moves * samples[:, 2]
    made = spread_by(normalised(), samples)
    torch.testing.assert_close(made[:, 2].mean(0), MEAN[2], rtol=0, atol=0.1)
    torch.testing.assert_close(made[:, 2].std(0), SPREAD[2], rtol=0.05, atol=0)
    assert abs(float(torch.corrcoef(made[:, 2].T)[0, 1])) < 0.05
    torch.testing.assert_close(made[:, 3].std(0, correction=0), SPREAD[3])


def test_what_is_drawn_is_the_same_in_all_frames_of_a_clip() -> None:
    samples = 0.3 * normal(300, 7, 6, 2, seed=3)
    samples[:, :, 2] = 0.7
    made = spread_by(normalised(CLIP, (3, 5, 6, 2)), samples)
    assert torch.equal(made[:, :, 2], made[:, :1, 2].expand(-1, 7, -1))
    assert float(made[:, 0, 2].std()) > 0.5


@pytest.mark.parametrize("kept", [1e-4, 1e-2, 10**-2.5, 0.0123], ids=["sqrt(1e-8)", "0.01", "sqrt(1e-5)", "clamped"])
def test_what_never_varied_in_training_either_stays(kept: float) -> None:
    """The kept spread is what the normaliser adds, or a bound that several entries share."""
    mean, spread = MEAN.clone(), SPREAD.clone()
    mean[2], spread[2] = 0.7, kept
    samples = 0.3 * normal(400, 6, 2, seed=3)
    samples[:, 2] = 0.7
    assert torch.equal(spread_by(normalised(mean=mean, spread=spread), samples)[:, 2], samples[:, 2])
    samples[:, 2] = 3.0  # far from where it was: then it did move
    assert not torch.equal(spread_by(normalised(mean=mean, spread=spread), samples)[:, 2], samples[:, 2])


def test_normalisers_of_many_entries_take_no_square_of_memory() -> None:
    """Of a mean picture, say: spreads are compared with their neighbours in order."""
    spread = torch.linspace(1, 2, 300_000, dtype=torch.float64)
    spread[7] = spread[70_000] = 0.0123
    assert _is_shared(spread).nonzero().flatten().tolist() == [7, 70_000]
    assert _is_shared(torch.full((2, 3), 0.5)).all() and not _is_shared(torch.ones(1, 1)).any()


def test_a_small_spread_of_its_own_is_drawn() -> None:
    mean, spread = MEAN.clone(), SPREAD.clone()
    mean[2], spread[2] = 0.7, torch.tensor([0.0123, 0.0345])
    samples = 0.3 * normal(400, 6, 2, seed=3)
    samples[:, 2] = 0.7
    made = spread_by(normalised(mean=mean, spread=spread), samples)[:, 2]
    torch.testing.assert_close(made.std(0), spread[2], rtol=0.15, atol=0)


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_what_is_drawn_keeps_no_sign_of_its_noise(noise: float) -> None:
    """Held at 0.7, and between -4 and 4 in training; a flag that is always 1 here stays within 0 and 1."""
    mean, spread = MEAN.clone(), SPREAD.clone()
    mean[2], spread[2] = torch.tensor([-0.45, 0.3]), torch.tensor([2.0, 0.45])
    samples = 0.3 * normal(600, 6, 2, seed=3)
    samples[:, 2] = torch.tensor([0.7, 1.0]) + noise * samples[:, 2] * torch.tensor([1.0, 0.0])
    calls = [((part,), {}) for part in samples.split(20)]
    batches = with_scattered(posed(normalised(mean=mean, spread=spread), Request("reduce", calibration=calls))).batches
    beside = torch.cat([call[0][0] for call in batches.scattered])[1::2, 2]
    assert float(beside[:, 0].min()) < -2 and float(beside[:, 0].max()) > 2
    assert beside[:, 1].min() == 0 and beside[:, 1].max() == 1


@pytest.mark.parametrize("value", [0.05, 3.0])
def test_what_may_never_have_varied_in_training_stays_near_its_mean(value: float) -> None:
    """Normalisers keep a spread of 1 for it. Away from the mean that they keep, it did vary."""
    mean, spread = MEAN.clone(), SPREAD.clone()
    mean[2], spread[2] = 0.0, 1.0
    samples = 0.3 * normal(400, 6, 2, seed=3)
    samples[:, 2] = value
    made = spread_by(normalised(mean=mean, spread=spread), samples)
    assert torch.equal(made[:, 2], samples[:, 2]) == (value < 1)


def test_what_nothing_is_kept_of_stays() -> None:
    """A normaliser of the first four joints alone, as beside confidences."""

    def compute(net: Any, x: Tensor) -> Tensor:
        return net.last(torch.cat([(x[:, :4] - net.mean) / net.spread, x[:, 4:]], 1).flatten(1)).unflatten(-1, (6, 2))

    net = Net(compute, mean=MEAN[:4], spread=SPREAD[:4], last=nn.Linear(12, 12)).double().eval()
    samples = 0.5 * normal(400, 6, 2, seed=3)
    made = spread_by(prepare(net, parse_spec(POSE), (normal(3, 6, 2),)), samples)
    torch.testing.assert_close(made[:, 4:], samples[:, 4:])
    torch.testing.assert_close(made[:, :4].std(0, correction=0), SPREAD[:4])


def test_about_the_centre_of_an_image() -> None:
    """What is mirrored about a point is read by the network as it is: 320 is no part of the spread."""
    mean = torch.tensor([320.0, 7.0]).double().expand(6, 2).clone()
    made = spread_by(normalised(CENTERED, mean=mean), mean + 0.5 * normal(400, 6, 2, seed=3))
    torch.testing.assert_close(made.mean(0), mean)
    torch.testing.assert_close(made.std(0, correction=0), SPREAD)


@pytest.mark.parametrize("kept", [True, False])
def test_where_nothing_is_wider_nothing_is_spread(kept: bool) -> None:
    samples = normal(400, 6, 2, seed=3) * SPREAD + MEAN
    network = normalised() if kept else prepare(nn.Linear(2, 2).double(), parse_spec(POSE), (normal(3, 6, 2),))
    assert not spreadings(network, [((samples,), {})])


def test_every_other_input_beside_those_given_is_spread() -> None:
    samples = 0.4 * normal(600, 6, 2, seed=3)
    calls = [((part,), {}) for part in samples.split(20)]
    batches = with_scattered(posed(normalised(), Request("reduce", calibration=calls))).batches
    beside = torch.cat([call[0][0] for call in batches.scattered])
    torch.testing.assert_close(beside[1::2], spread_by(normalised(), samples)[1::2])
    assert remark_on(batches).endswith(
        "all scaled; and on as many of yours, spread as far as it remembers of its training"
    )


def test_shares_stay_shares() -> None:
    shares = 0.4 + 0.2 * torch.rand(600, 6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    calls = [((part,), {}) for part in shares.split(20)]
    network = normalised(mean=torch.full((6, 2), 0.5).double(), spread=SPREAD / SPREAD.max() / 2)
    batches = with_scattered(posed(network, Request("reduce", calibration=calls))).batches
    beside = torch.cat([call[0][0] for call in batches.scattered])
    assert beside.min() == 0.0 and beside.max() == 1.0
