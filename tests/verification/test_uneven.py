"""A gap that is in one of several outputs, or in few joints, is said to be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from chiralize import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import MirrorError
from chiralize.graph.running import Call
from chiralize.verification import wrong_mirror
from chiralize.verification.asymmetry.records import Asymmetry, OutputGap, PairGap
from chiralize.verification.asymmetry.uneven import furthest_in_words, leaving_out, uneven_in_words

JOINTS = ("hip", "left_knee", "right_knee", "left_ear", "right_ear", "left_hand", "right_hand", "nose")
PARTNER = [0, 2, 1, 4, 3, 6, 5, 7]
SPEC = f"joints: [{', '.join(JOINTS)}]\npairs: [[1, 2], [3, 4], [5, 6]]\ndims: [x, y]\n"


def gaps(*outputs: float, pairs: tuple[PairGap, ...] = ()) -> Asymmetry:
    return Asymmetry(tuple(OutputGap(index, gap, 0.5) for index, gap in enumerate(outputs)), (), 64, pairs)


def pairs(*shares: float, output: int = 0) -> tuple[PairGap, ...]:
    return tuple(PairGap(f"joint {number}", 1.0, share, output, share) for number, share in enumerate(shares))


@pytest.mark.parametrize(
    ("measured", "text"),
    [
        (gaps(1.2, 0.1), "; output 0 alone is 1.2 of its spread apart, the other 0.1"),
        (gaps(0.1, 0.2, 1.2), "; output 2 alone is 1.2 of its spread apart, the others at most 0.2"),
        (gaps(1.2, 1.0), ""),
        (gaps(1.2), ""),
        (gaps(1.2, pairs=pairs(0.1, 0.6, 0.1, 0.2)), "; 60.0 % of the whole gap is in joint 1"),
        (gaps(1.2, pairs=pairs(0.25, 0.25, 0.25, 0.25)), ""),
        (gaps(1.2, pairs=pairs(0.9, 0.1)), ""),  # of two, one is half of them
        (gaps(0.4, 0.5, pairs=(*pairs(1.0, 0.0, 0.0, 0.0), *pairs(0.3, 0.3, 0.2, 0.2, output=1))), ""),
    ],
)
def test_where_a_gap_is_in_few_places(measured: Asymmetry, text: str) -> None:
    assert uneven_in_words(measured) == text


@pytest.mark.parametrize(
    ("own", "text"),
    [
        ((0.66, 0.65, *[0.3] * 8), "; furthest apart are joint 0 (0.66), joint 1 (0.65)"),
        ((0.66, 0.65, 0.6, *[0.3] * 7), ""),  # more than a few of them
        ((0.5, *[0.38] * 9), ""),
    ],
)
def test_the_furthest_joints_are_named(own: tuple[float, ...], text: str) -> None:
    """A gap of 0.38 that no few joints hold half of."""
    assert furthest_in_words(gaps(0.38, 0.1, pairs=pairs(*own))) == text


@pytest.mark.parametrize(
    ("measured", "output", "rest"),
    [
        (gaps(0.1, 0.4), 1, "the other does"),
        (gaps(0.5, 0.1, 0.2), 0, "the others do"),
        (gaps(0.5, 0.4), None, ""),
        (gaps(0.5), None, ""),
        (gaps(0.1, 0.2), None, ""),
    ],
)
def test_an_output_that_alone_stops_it_may_be_left_out(measured: Asymmetry, output: int | None, rest: str) -> None:
    """Some networks return what they were trained on in few entries, or what nobody reads."""
    says = f"if output {output} is not used, or was not trained in all entries, leave it out (a subclass whose forward "
    expected = f"{says}returns the rest): {rest} not stop it; else " if rest else ""
    assert leaving_out(measured, 0.3) == expected


@pytest.mark.parametrize(
    ("changed", "others", "is_said"),
    [(0.043, 0.8, True), (0.2, 0.8, False), (0.043, 0.1, False), (0.0, 0.0, False), (None, 0.0, False)],
)
def test_scores_that_decide_nothing(changed: float | None, others: float, is_said: bool) -> None:
    """A wide gap of logits of classes that are never the highest changes few answers."""
    measured = gaps(0.1, 1.2)
    scores = replace(measured.outputs[1], changed=changed, others=others)
    said = leaving_out(replace(measured, outputs=(measured.outputs[0], scores)), 0.3, "--method average --force")
    start = "see that output 1 picks another class for 4.3 % of the samples alone: "
    assert said.startswith(start) == is_said and ("or use --method average --force, which" in said) == is_said


class TwoAnswers(nn.Module):
    """Two poses: the first commutes with the mirror, and so does the second but for a hand."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 16)
        with torch.no_grad():
            for weights in self.parameters():
                weights += 0.5 * torch.randn(weights.shape[0], *[1] * (weights.ndim - 1))

    def symmetric(self, layer: nn.Linear, x: Tensor) -> Tensor:
        sign = torch.tensor([-1.0, 1.0])
        there = torch.tanh(layer((x[:, PARTNER] * sign).flatten(1))).view(-1, 8, 2)[:, PARTNER] * sign
        return 0.52 * torch.tanh(layer(x.flatten(1))).view(-1, 8, 2) + 0.48 * there

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.symmetric(self.one, x), self.symmetric(self.two, x)
        hand = torch.zeros(8, 1)
        hand[5] = 6.0
        return first, second + hand * torch.sin(3 * x)


def refused() -> pytest.ExceptionInfo[MirrorError]:
    """Of 128 poses."""
    torch.manual_seed(1)
    poses = 0.4 * torch.randn(128, 1, 2) + 0.4 * torch.randn(128, 8, 2)
    with pytest.raises(MirrorError) as caught:
        chiralize(TwoAnswers(), parse_spec(SPEC), example_inputs=(poses[:4],), calibration=poses)
    return caught


def test_a_refused_mirror_names_the_output_and_the_joints() -> None:
    caught = refused()
    assert "; output 1 alone is 1.4 of its spread apart, the other " in caught.value.facts
    assert caught.value.facts.endswith(" of the whole gap is in output 1 left_hand/right_hand")


@pytest.mark.parametrize(("work", "most"), [(1e10, 128), (1.0, 32)])
def test_a_refusal_takes_few_runs_of_a_costly_network(monkeypatch: pytest.MonkeyPatch, work: float, most: int) -> None:
    """It names the place on all samples of a cheap one."""
    taken = list[int]()

    def noting(module: nn.Module, mirror: object, calls: Sequence[Call], *rest: object) -> Asymmetry:
        taken.append(sum(len(call[0][0]) for call in calls))
        return gaps(1.0)

    monkeypatch.setattr(wrong_mirror, "asymmetry", noting)
    monkeypatch.setattr(wrong_mirror, "_WORK", work)
    refused()
    assert taken == [most]
