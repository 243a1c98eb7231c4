"""Whether the answer to a sample depends on the others of its batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.problem.preparation import prepare
from chiralize.verification.mixing import mixing, mixing_notes
from tests.support.command import scrambled
from tests.support.four_legs import SIZE
from tests.support.four_legs import SPEC as TWO_MIRRORS

BODY = """
joints: [head, l_hand, r_hand, l_foot, r_foot]
pairs: [[l_hand, r_hand], [l_foot, r_foot]]
dims: [x, y]
"""
SPEC = parse_spec(BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{layout: "b j d"}]')


class PeopleForSamples(nn.Module):
    """Two people of a sample, lined up as the samples of one person after those of the other."""

    def __init__(self, mixes: bool) -> None:
        super().__init__()
        self.fc, self.mixes = nn.Linear(10, 10), mixes

    def forward(self, pose: Tensor) -> Tensor:
        people = torch.stack([pose, 2 * pose], 1).flatten(0, 1)
        around = pose.mean((1, 2), keepdim=True)
        around = around.repeat(2, 1, 1) if self.mixes else around.repeat_interleave(2, 0)
        return self.fc((people + around).flatten(1)).unflatten(0, (-1, 2)).mean(1).unflatten(1, (5, 2))


def test_people_lined_up_in_another_order_than_samples() -> None:
    pose = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(0))
    mixed = prepare(scrambled(PeopleForSamples(True)), SPEC, (pose,))
    assert mixing(mixed) > 0.01
    assert "depends on the others of its batch" in mixing_notes(mixed)[0]
    apart = prepare(scrambled(PeopleForSamples(False)), SPEC, (pose,))
    assert mixing(apart) == 0 and not mixing_notes(apart)


def test_a_conversion_and_its_verification_say_so() -> None:
    net = chiralize.chiralize(scrambled(PeopleForSamples(True)), SPEC, (torch.randn(4, 5, 2),), method="average")
    for report in (chiralize.chirality(net).report, chiralize.verify(net)):
        assert report.passed and any("depends on the others of its batch" in note for note in report.notes)


class MeanOfTheBatch(nn.Module):
    """Actions of a robot with two mirrors, from its observation less the mean of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(SIZE, 8), nn.Tanh(), nn.Linear(8, 4))

    def forward(self, seen: Tensor) -> Tensor:
        return self.net(seen - 0.5 * seen.mean(0, keepdim=True))


def test_under_several_mirrors_as_well() -> None:
    spec = parse_spec(TWO_MIRRORS)
    net = chiralize.chiralize(scrambled(MeanOfTheBatch()), spec, (torch.randn(4, SIZE),), method="average", force=True)
    for report in (chiralize.chirality(net).report, chiralize.verify(net)):
        assert report.passed and sum("depends on the others of its batch" in note for note in report.notes) == 1


@pytest.mark.parametrize("both_ways", [False, True])
def test_frames_taken_for_samples(both_ways: bool) -> None:
    """A recurrent network without a batch answers the first frame without the others, and not the last."""

    class Frames(nn.Module):
        """An LSTM along the first axis, which returns where it ended, too."""

        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(10, 8, bidirectional=both_ways)
            self.last = nn.Linear(16 if both_ways else 8, 10)

        def forward(self, pose: Tensor) -> tuple[Tensor, Tensor]:
            hidden, (state, _) = self.lstm(pose.flatten(1))
            return self.last(hidden).unflatten(1, (5, 2)), state

    spec = parse_spec(BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{layout: "b j d"}, {state: true}]')
    network = prepare(scrambled(Frames()), spec, (torch.randn(4, 5, 2),))
    assert mixing(network) > 0.01
    assert 'where the first axis is time, name it so: a layout such as "t j d"' in mixing_notes(network)[0]


def test_one_answer_to_a_whole_batch() -> None:
    """A recogniser of clips without a batch answers any number of frames once."""

    class Clip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(10, 4)

        def forward(self, pose: Tensor) -> Tensor:
            return self.net(pose.flatten(1)).mean(0, keepdim=True)

    def notes(layout: str) -> tuple[str, ...]:
        spec = parse_spec(BODY + f'inputs: [{{layout: "{layout}"}}]\noutputs: [{{invariant: true}}]')
        return mixing_notes(prepare(scrambled(Clip()), spec, (torch.randn(1, 5, 2),)))

    (note,) = notes("b j d")
    assert note.startswith("warning: the network gives one answer to all samples of a batch: its first axis is none")
    assert notes("t j d") == ()


def test_frames_that_are_answered_as_samples_are_a_batch() -> None:
    """ "b t" merged in the answers: their number grows with the batch, and is none of it."""
    spec = parse_spec(BODY + 'inputs: [{layout: "b t j d"}]\noutputs: [{invariant: true}]')
    net = nn.Sequential(nn.Flatten(0, 1), nn.Flatten(1), nn.Linear(10, 4))
    assert mixing_notes(prepare(scrambled(net), spec, (torch.randn(2, 4, 5, 2),))) == ()
