"""Entries that never move in the samples of a network that keeps nothing of its training: how far they are drawn."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.graph.running import Call
from chiralize.problem.data import remembered
from chiralize.problem.data.odd_values import odd_values
from chiralize.problem.data.remembered import spreadings
from chiralize.problem.data.scattered import remark_on, spread_as_remembered, with_scattered
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import BESIDE_GUESSES, MAX_DRIFT
from tests.support.problems import posed
from tests.support.small_body import BODY, CLIP, IMAGE, POSE, Net, normal

FIELDS = "fields: [{joints: q}, {scalar: [speed, load]}, {signs: {lean: -1}}]"
SEEN = BODY + "inputs: [{layout: b f, " + FIELDS + '}]\noutputs: [{layout: "b j d"}]\n'
FILMED = SEEN.replace("b f", "b t f").replace("b j d", "b t j d")
SPEED, LOAD, LEAN, ENTRIES = 12, 13, 14, 15
SPREAD = torch.linspace(0.4, 2.0, ENTRIES).double()


class Policy(nn.Module):
    """A policy that imitates a controller which turns and speeds up by all of its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(ENTRIES, 48), nn.Linear(48, 12)

    def forward(self, seen: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(seen))).unflatten(-1, (6, 2))

    @staticmethod
    @cache
    def learned() -> Policy:
        """The policy after some steps of training, with mirrored copies."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            policy = Policy().double()
            optimizer = torch.optim.Adam(policy.parameters(), 0.01)
            weight = normal(ENTRIES, 24, seed=5) / 4, normal(24, 12, seed=6) / 5
            for step in range(300):
                seen = SPREAD * normal(128, ENTRIES, seed=step)
                plain = torch.tanh(seen @ weight[0]) @ weight[1]
                twin = _mirrored(torch.tanh(_seen_mirrored(seen) @ weight[0]) @ weight[1])
                optimizer.zero_grad()
                (policy(seen).flatten(1) - plain - twin).square().mean().backward()
                optimizer.step()
        return policy.eval()


def linear(weight: Tensor, spec: str = SEEN, shape: tuple[int, ...] = (3, ENTRIES)) -> Network:
    net = Net(lambda net, x: (x @ net.weight.T).unflatten(-1, (6, 2)), weight=nn.Parameter(weight))
    return prepare(net.eval(), parse_spec(spec), (normal(*shape),))


def samples(*still: int, noise: float = 0.0, count: int = 400) -> Tensor:
    """Observations in which these entries stay at 0.7."""
    drawn = normal(count, ENTRIES, seed=3) * SPREAD
    for entry in still:
        drawn[:, entry] = 0.7 + noise * drawn[:, entry]
    return drawn


def as_calls(values: Tensor) -> list[Call]:
    return [((part,), {}) for part in values.split(50)]


@pytest.mark.parametrize("noise", [0.0, 1e-3], ids=["constant", "noise"])
def test_the_spread_is_the_mean_of_two_guesses(noise: float) -> None:
    """Of a linear map answers react to an entry as its column is long: s = sqrt(S P / g)."""
    weight = normal(12, ENTRIES, seed=5)
    weight[:, LEAN] *= 2
    (spreading,) = spreadings(linear(weight), as_calls(samples(LEAN, noise=noise))).values()
    reaction, others = weight.norm(dim=0), [entry for entry in range(ENTRIES) if entry != LEAN]
    usual, typical = SPREAD[others].median(), (reaction * SPREAD)[others].median()
    expected = torch.zeros(ENTRIES).double()
    expected[LEAN] = (usual * typical / reaction[LEAN]).sqrt()
    torch.testing.assert_close(spreading.drawn, expected, rtol=0.15, atol=0)
    made = spreading.with_drawn(samples(LEAN), torch.Generator().manual_seed(0))
    torch.testing.assert_close(made[:, LEAN].std(), spreading.drawn[LEAN], rtol=0.15, atol=0)
    assert abs(float(made[:, LEAN].mean()) - 0.7) < 0.2
    torch.testing.assert_close(made[:, :LEAN], samples(LEAN)[:, :LEAN])


def test_an_entry_that_answers_hardly_react_to_is_drawn_no_further_than_ten_spreads() -> None:
    weight = normal(12, ENTRIES, seed=5)
    weight[:, LEAN] *= 1e-6
    (spreading,) = spreadings(linear(weight), as_calls(samples(LEAN))).values()
    assert float(spreading.drawn[LEAN]) == pytest.approx(10 * float(SPREAD[:LEAN].median()), rel=0.2)


def test_what_answers_do_not_read_is_left_alone() -> None:
    weight = normal(12, ENTRIES, seed=5)
    weight[:, LEAN] = 0
    assert not spreadings(linear(weight), as_calls(samples(LEAN)))


def test_where_nothing_that_moves_is_read_nothing_is_guessed() -> None:
    weight = torch.zeros(12, ENTRIES, dtype=torch.float64)
    weight[:, LEAN] = 1
    assert not spreadings(linear(weight), as_calls(samples(LEAN)))


def test_what_moves_little_and_counts_is_left_alone() -> None:
    """An entry in a small unit: a hundredth of the others' spread, and a weight of a hundred times theirs."""
    weight = normal(12, ENTRIES, seed=5)
    weight[:, LEAN] *= 100
    assert not spreadings(linear(weight), as_calls(samples(LEAN, noise=0.005)))


def test_a_cosine_of_small_angles_is_left_alone() -> None:
    """As z of the direction of gravity that a robot feels, or w of a quaternion."""
    seen = samples()
    seen[:, LOAD] = -1 + 0.001 * seen[:, LOAD].abs()
    assert not spreadings(linear(normal(12, ENTRIES, seed=5)), as_calls(seen))


def test_nearly_all_entries_may_stand_still() -> None:
    """As of a robot that stands, whose joints say nothing of how far they may move."""
    still = [entry for entry in range(ENTRIES) if entry not in (0, SPEED)]
    (spreading,) = spreadings(linear(normal(12, ENTRIES, seed=5)), as_calls(samples(*still))).values()
    assert spreading.drawn.nonzero().flatten().tolist() == still


@pytest.mark.parametrize("count", [49, 50])
def test_a_few_samples_tell_nothing(count: int) -> None:
    found = spreadings(linear(normal(12, ENTRIES, seed=5)), as_calls(samples(LEAN, count=count)))
    assert bool(found) == (count == 50)


def test_one_number_for_all_frames_of_a_clip() -> None:
    clips = normal(100, 7, ENTRIES, seed=3)
    clips[:, :, SPEED] = 0.7
    (spreading,) = spreadings(linear(normal(12, ENTRIES, seed=5), FILMED, (3, 4, ENTRIES)), as_calls(clips)).values()
    made = spreading.with_drawn(clips, torch.Generator().manual_seed(0))
    assert float(made[:, :, SPEED].diff(dim=1).abs().max()) == 0
    assert float(made[:, 0, SPEED].std()) > 0.3


@pytest.mark.parametrize("spec", [POSE, CLIP])
def test_the_root_of_a_pose_stands_still_in_training_too(spec: str) -> None:
    shape = (3, 6, 2) if spec == POSE else (3, 4, 6, 2)
    poses = normal(100, *shape[1:], seed=3)
    poses[..., 0, :] = 0
    net = Net(lambda net, x: net.last(x), last=nn.Linear(2, 2))
    assert not spreadings(prepare(net.double(), parse_spec(spec), (normal(*shape),)), as_calls(poses))


def test_what_a_normaliser_keeps_comes_first() -> None:
    """With it entries are drawn as it remembers them, and nothing is guessed."""
    net = Net(
        lambda net, x: net.last((x - net.mean) / net.spread).unflatten(-1, (6, 2)),
        mean=normal(ENTRIES, seed=9),
        spread=SPREAD * 1.01,
        last=nn.Linear(ENTRIES, 12).double(),
    )
    network = prepare(net.eval(), parse_spec(SEEN), (normal(3, ENTRIES),))
    (spreading,) = spreadings(network, as_calls(samples(LEAN))).values()
    assert not spreading.is_guessed
    assert float(spreading.drawn[LEAN]) == pytest.approx(1.01 * float(SPREAD[LEAN]))


def test_the_report_says_so() -> None:
    network, calls = prepare(Policy.learned(), parse_spec(SEEN), (normal(3, ENTRIES),)), as_calls(samples(SPEED, LEAN))
    (warning,) = odd_values(network, calls)
    assert warning == (
        "warning: the calibration inputs hardly vary in scalar.speed, signs.lean: scalar.speed stays at 0.7, and the "
        "network keeps nothing of its training that tells how far it moved there. If it varies in use, give inputs in "
        "which it does, or --method average; if it never does, nothing is amiss. Where samples stand alone, fits see "
        "values drawn as far as it may have moved"
    )
    batches = with_scattered(posed(network, Request("reduce", calibration=calls))).batches
    assert remark_on(batches).endswith("all scaled; and on as many of yours, with what never moves in them drawn")
    assert spread_as_remembered(network, calls) == []  # a guess is no evidence of what a mirror is


def test_a_fit_holds_where_the_entry_moves() -> None:
    """Straight walks alone, then turns: without what is drawn, the result is nearly twice as far from both views."""
    net, calls = Policy.learned(), as_calls(samples(SPEED, LEAN, count=1000))
    request = Request("reduce", width=0.5, calibration=calls, form="dense", force=True, max_drift=1e9, rounds=0)
    drawn = convert(prepare(net, parse_spec(SEEN), (normal(3, ENTRIES),)), "policy", request).module
    with patch.object(remembered, "of_unmoved", lambda *_: {}):
        undrawn = convert(prepare(net, parse_spec(SEEN), (normal(3, ENTRIES),)), "policy", request).module
    turns = samples(count=2000)
    with torch.no_grad():
        twin = _mirrored(net(_seen_mirrored(turns)).flatten(1)).unflatten(1, (6, 2))
        wanted = (net(turns) + twin) / 2
        far, further = (float((made(turns) - wanted).square().mean().sqrt()) for made in (drawn, undrawn))
    assert far < 0.7 * further


@pytest.mark.parametrize(
    ("request_", "still", "bound"),
    [
        (Request("auto"), (SPEED, LEAN), BESIDE_GUESSES),
        (Request("auto"), (), MAX_DRIFT),
        (Request("auto", max_drift=2.0), (SPEED, LEAN), 2.0),
        (Request("reduce"), (SPEED, LEAN), MAX_DRIFT),
    ],
)
def test_auto_keeps_to_a_lower_bound_beside_guesses(request_: Request, still: tuple[int, ...], bound: float) -> None:
    network = prepare(Policy.learned(), parse_spec(SEEN), (normal(3, ENTRIES),))
    problem = posed(network, replace(request_, calibration=as_calls(samples(*still))))
    assert with_scattered(problem).max_drift == bound


def test_auto_averages_beyond_that_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chiralize.problem.problem.BESIDE_GUESSES", 1e-3)
    network = prepare(Policy.learned(), parse_spec(SEEN), (normal(3, ENTRIES),))
    request = Request("auto", calibration=as_calls(samples(SPEED, LEAN)), rounds=0)
    report = convert(network, "policy", request).report
    assert report.is_average
    assert "exceeds --max-drift 0.001 (held-out calibration inputs), the bound for inputs that do not show how far" in (
        report.to_text()
    )


def _mirrored(joints: Tensor) -> Tensor:
    """T of rows of six joints' x and y."""
    rows = joints.unflatten(-1, (6, 2))[..., list(IMAGE), :] * torch.tensor([-1.0, 1.0]).double()
    return rows.flatten(-2)


def _seen_mirrored(seen: Tensor) -> Tensor:
    """T of observations."""
    return torch.cat([_mirrored(seen[..., :SPEED]), seen[..., SPEED:LEAN], -seen[..., LEAN:]], -1)
