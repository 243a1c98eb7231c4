"""Inputs and their mirror images are fitted together, or held out together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.graph.running import Call
from chiralize.methods.registry import method_of
from chiralize.problem.data.checks import judged
from chiralize.problem.data.images import with_images_beside, with_mirrored_sequences_beside
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request

SPEC = "joints: [hip, left, right]\npairs: [[1, 2]]\ndims: [x, y]\nnegate: [x]\ninputs: [{layout: b j d}, invariant]\n"
AFFINE = SPEC.replace("layout: b j d", "layout: b j d, reflect: {x: 0.5}")
SIGNS = torch.tensor([-1.0, 1.0])


class Net(nn.Module):
    """Poses and a number each."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.layer(x.flatten(1)).view(-1, 3, 2) + y[:, None]


def network(text: str = SPEC) -> Network:
    return prepare(Net(), parse_spec(text), (torch.randn(2, 3, 2), torch.randn(2, 1)))


def mirrored(x: Tensor, center: float = 0.0) -> Tensor:
    return x[:, [0, 2, 1]] * SIGNS + torch.tensor([2 * center, 0.0])


def calls_of(x: Tensor, y: Tensor, rows: int) -> list[Call]:
    return [((one, other), {}) for one, other in zip(x.split(rows), y.split(rows), strict=True)]


@pytest.mark.parametrize(("text", "center"), [(SPEC, 0.0), (AFFINE, 0.5)])
@pytest.mark.parametrize("rows", [1, 4, 7])
def test_an_image_stands_behind_its_original(text: str, center: float, rows: int) -> None:
    x, y = torch.randn(28, 3, 2), torch.randn(28, 1)
    every = torch.cat([x, mirrored(x, center)]), torch.cat([y, y])
    calls, count = with_images_beside(network(text), calls_of(*every, rows))
    assert count == 28
    ordered, numbers = torch.cat([args[0] for args, _ in calls]), torch.cat([args[1] for args, _ in calls])
    torch.testing.assert_close(ordered[::2], x)
    torch.testing.assert_close(mirrored(ordered[::2], center), ordered[1::2])
    assert torch.equal(numbers[::2], y) and torch.equal(numbers[1::2], y)
    assert {len(args[0]) for args, _ in calls} == {rows}


def test_batches_of_unequal_sizes_lose_no_sample() -> None:
    x, y = torch.randn(9, 3, 2), torch.randn(9, 1)
    poses, numbers = torch.cat([x, mirrored(x)]), torch.cat([y, y])
    unequal: list[Call] = [((poses[:12], numbers[:12]), {}), ((poses[12:], numbers[12:]), {})]
    calls, count = with_images_beside(network(), unequal)
    assert count == 9 and sum(len(args[0]) for args, _ in calls) == 18


def test_other_inputs_stay_as_they_are() -> None:
    """No images at all, others' images, inputs that are their own images, and a few images among many inputs."""
    net, x, y = network(), torch.randn(60, 3, 2), torch.randn(60, 1)
    still = torch.cat([x[:30], mirrored(x[:30])])
    still = (still + mirrored(still)) / 2
    for poses, numbers in (
        (x, y),
        (torch.cat([x[:30], mirrored(x[:30])]), y),
        (torch.cat([x[:59], mirrored(x[:1])]), y),
    ):
        calls = calls_of(poses, numbers, 10)
        assert with_images_beside(net, calls) == (calls, 0)
    calls = calls_of(still[:30], y[:30], 10)
    assert with_images_beside(net, calls) == (calls, 0)


@pytest.mark.parametrize("clips", range(2, 12))
def test_no_image_of_a_held_sequence_is_fitted(clips: int) -> None:
    """However many there are: the last fifth never begins with an image."""
    x, y = torch.randn(clips, 3, 3, 2), torch.randn(clips, 3, 1)
    steps = [
        [((one[None], other[None]), {}) for one, other in zip(*clip, strict=True)] for clip in zip(x, y, strict=True)
    ]
    images = [[((mirrored(args[0]), args[1]), {}) for args, _ in clip] for clip in steps]
    request = Request(sequences=[*steps, *images], calibration=[step for clip in steps for step in clip], force=True)
    problem = judged(Problem.of(network(), request, method_of("reduce")))
    held, seen = problem.batches.held_sequences, problem.batches.seen_sequences
    assert held and seen and any("mirror images of others" in text for text in problem.batches.remarks)
    for clip in held:
        image = [((mirrored(args[0]), args[1]), {}) for args, _ in clip]
        for other in seen:
            apart = [float((a[0] - b[0]).abs().max()) for (a, _), (b, _) in zip(image, other, strict=True)]
            assert max(apart) > 1e-3


def test_numbers_that_are_the_same_in_all_inputs_and_outliers_change_nothing() -> None:
    """Independent poses beside a large clock have no images; one wild pose, or one that is no number, hides none."""
    net, x = network(), torch.randn(2000, 3, 2)
    calls = calls_of(x, torch.full((2000, 1), 1e6), 100)
    assert with_images_beside(net, calls) == (calls, 0)
    poses = torch.cat([x[:200], mirrored(x[:200])])
    poses[3], poses[17] = 1e9, torch.nan
    _, count = with_images_beside(net, calls_of(poses, torch.ones(400, 1), 100))
    assert count == 198


def test_mirrored_sequences_stand_beside_theirs() -> None:
    x, y = torch.randn(6, 5, 3, 2), torch.randn(6, 5, 1)
    clips = [
        [((one[None], other[None]), {}) for one, other in zip(*clip, strict=True)] for clip in zip(x, y, strict=True)
    ]
    images = [[((mirrored(args[0]), args[1]), {}) for args, _ in clip] for clip in clips]
    ordered, count = with_mirrored_sequences_beside(network(), [*clips, *images])
    assert count == 6 and [clip for pair in zip(clips, images, strict=True) for clip in pair] == ordered
    assert with_mirrored_sequences_beside(network(), clips) == (clips, 0)


def test_a_fit_sees_them_together_and_says_so() -> None:
    x, y = torch.randn(200, 3, 2), torch.randn(200, 1)
    calls = calls_of(torch.cat([x, mirrored(x)]), torch.cat([y, y]), 2)
    problem = judged(Problem.of(network(), Request(calibration=calls, force=True), method_of("reduce")))
    held = torch.cat([args[0] for args, _ in problem.batches.held_out])
    seen = torch.cat([args[0] for args, _ in problem.batches.seen])
    apart = torch.cdist(mirrored(held).flatten(1), seen.flatten(1)).min(1).values
    assert bool((apart > 1e-3).all())
    assert any(
        "200 of the 400 calibration inputs are mirror images of others" in text for text in problem.batches.remarks
    )
    alone = judged(Problem.of(network(), Request(calibration=calls, force=True), method_of("average")))
    assert not any("mirror images" in text for text in alone.batches.remarks)
