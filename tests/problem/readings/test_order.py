"""The order of joints and coordinates within an axis: the network's own answers choose, where they say something."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import load_spec
from chiralize.errors import AmbiguousLayoutError, UsageError
from chiralize.problem.data.examples import examples_for
from chiralize.problem.preparation import prepare
from chiralize.problem.readings import frames
from chiralize.problem.readings.derive import Derived, derive
from chiralize.problem.readings.order import samples_of_inputs, ways_of, ways_that_fit
from tests.support.cases import mainly
from tests.support.zoo.case import H36M, both, negated, scrambled, swapped

SPEC = load_spec("h36m")


@pytest.fixture(autouse=True)
def few_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here has frames, of which many numbers are tried first."""
    monkeypatch.setattr(frames, "USUAL", (9, 1))


def turn(x: Tensor, dims: int, by_joint: bool) -> Tensor:
    """T on numbers that are stored joint by joint or coordinate by coordinate."""
    if by_joint:
        return both(swapped(H36M, -2), negated([0], -1))(x.unflatten(-1, (17, dims))).flatten(-2)
    return both(swapped(H36M, -1), negated([0], -2))(x.unflatten(-1, (dims, 17))).flatten(-2)


class Lopsided(nn.Module):
    """Nearly equivariant, as a trained network is: a share of it has only seen one side."""

    def __init__(self, by_joint: bool, share: float, scores: bool = False) -> None:
        super().__init__()
        self.by_joint, self.share, self.scores = by_joint, share, scores
        self.net = nn.Sequential(nn.Linear(34, 64), nn.BatchNorm1d(64), nn.Tanh(), nn.Linear(64, 9 if scores else 51))

    def forward(self, x: Tensor) -> Tensor:
        answer, other = self.net(x), self.net(turn(x, 2, self.by_joint))
        other = other if self.scores else turn(other, 3, self.by_joint)
        return (answer + other) / 2 + self.share * (answer - other) / 2


def derived(net: nn.Module, invariant: bool = False) -> Derived:
    spec = load_spec("h36m", invariant=invariant)
    return derive(scrambled(net, 0).eval(), spec, torch.float32, "forward", "net", "--input-shape")


@pytest.mark.parametrize(
    ("by_joint", "scores", "share"),
    mainly(itertools.product((True, False), (True, False), (0.05, 0.3)), [(True, False, 0.3), (False, True, 0.05)]),
)
def test_the_networks_answers_choose(by_joint: bool, scores: bool, share: float) -> None:
    text = "b (j d)" if by_joint else "b (d j)"
    call = derived(Lopsided(by_joint, share, scores), scores)
    assert call.remark.startswith(
        f"taken as {text} = 1,34; --input-shape says otherwise (in the order that its answers fit"
    )
    assert call.spec.inputs is not None and call.spec.inputs[0].layout == text
    assert call.spec.outputs is not None and call.spec.outputs[0].layout == (None if scores else text)


@pytest.mark.parametrize(("share", "by_joint"), mainly(itertools.product((1.0, 3.0), (True, False)), [(1.0, True)]))
def test_answers_that_say_nothing_choose_nothing(share: float, by_joint: bool) -> None:
    """At a share of 1 the network is one that never saw a mirrored pose."""
    with pytest.raises(AmbiguousLayoutError, match="say which"):
        derived(Lopsided(by_joint, share))


@pytest.mark.thorough
def test_constant_answers_choose_nothing() -> None:
    class Still(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * 0

    with pytest.raises(UsageError, match="treats all joints alike"):
        derived(Still(34, 51))


def test_ways() -> None:
    """Both orders of the input with both of the output; a tensor with a layout keeps it."""
    ways = ways_of(SPEC, ((1, 34),), [(1, 51)])
    assert len(ways) == 4
    named = load_spec("h36m", input_layouts=["b (d j)"])
    assert [way.outputs[0].layout for way in ways_of(named, ((1, 34),), [(1, 51)]) if way.outputs] == [
        "b (j d)",
        "b (d j)",
    ]
    assert ways_of(SPEC, ((1, 34),), [(1, 10)]) == []


def test_many_outputs_share_an_order() -> None:
    """With four of them 32 ways would fit, of which the first 16 have one order of the input alone."""
    ways = ways_of(SPEC, ((1, 34),), [(1, 51)] * 4)
    orders = [[entry.layout for entry in (*(way.inputs or ()), *(way.outputs or ()))] for way in ways]
    assert orders == [[one] + [other] * 4 for one in ("b (j d)", "b (d j)") for other in ("b (j d)", "b (d j)")]
    assert len(ways_of(SPEC, ((1, 34),), [(1, 51)] * 3)) == 16


@pytest.mark.thorough
@pytest.mark.parametrize("scores", [True, False])
def test_what_is_converted_is_read_in_the_order_that_was_chosen(scores: bool) -> None:
    """The chosen layouts of answers were dropped before the export, and every such network was refused."""
    spec = load_spec("h36m", invariant=scores)
    net = scrambled(Lopsided(True, 0.05, scores), 0).eval()
    examples = examples_for(net, spec, "net")
    assert examples.spec.outputs is not None
    assert examples.spec.outputs[0].layout == (None if scores else "b (j d)")
    assert (examples.spec.outputs[0].flag == "invariant") == scores
    network = prepare(net, examples.spec, *examples.call)
    assert network.resolved.output_tensors[0].kind == ("invariant" if scores else "pose")


# ---- the user's own inputs ----------------------------------------------------------------------------------------
def bodies(by_joint: bool, count: int = 64, dims: int = 2) -> Tensor:
    """Poses "pose (joint coordinate)" about a figure whose sides are alike; every joint spreads in its own way."""
    generator = torch.Generator().manual_seed(0)
    figure = 3 * torch.randn(17, dims, generator=generator)
    image = both(swapped(H36M, -2), negated([0], -1))
    moving = torch.randn(count, 17, dims, generator=generator)
    poses = torch.cat([figure + moving, image(figure + moving) + 0.3])
    return (poses if by_joint else poses.transpose(-1, -2)).flatten(1)


class OneSided(nn.Module):
    """Adds what it computes to what it was given, as networks that forecast do; it has nothing of a mirror."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(51, 64), nn.Tanh(), nn.Linear(64, 51))

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.net(x)


def derived_with(net: nn.Module, samples: list[Tensor]) -> Derived:
    named = {str(number): tensor for number, tensor in enumerate(samples)}
    return derive(scrambled(net, 0).eval(), SPEC, torch.float32, "forward", "net", "--input-shape", samples=named)


def test_the_users_inputs_choose() -> None:
    """Where the network does not: what it adds to what it was given has the right mirror under every order."""
    call = derived_with(OneSided(), [bodies(False, dims=3), torch.zeros(128, 5)])
    assert call.spec.inputs is not None and call.spec.outputs is not None
    assert call.spec.inputs[0].layout == call.spec.outputs[0].layout == "b (d j)"
    assert "in the order that the calibration inputs fit: mirrored, their moments are 0." in call.remark
    assert "; in the order that its answers fit" in call.remark


def test_inputs_that_tell_half() -> None:
    """The order of what goes in is known; both commands have it, and differ in that of what comes out."""
    with pytest.raises(AmbiguousLayoutError) as caught:
        derived_with(Lopsided(True, 3.0), [bodies(False)])
    commands, _, why = caught.value.remedy.removeprefix("say which: ").partition("\n")
    one, other = commands.split(", or ")
    assert "in the order of the outputs alone" in why and "joint by joint" in why
    assert one == '--input-layout "b (d j)" --output-layout "b (j d)"'
    assert other == '--input-layout "b (d j)" --output-layout "b (d j)"'


@pytest.mark.parametrize(
    ("shape", "how"),
    [
        ((128, 17, 3), "write its samples as (51): array.reshape(-1, 51)"),
        ((128, 50), "give them in sizes that it takes: it does not run with 50 where it does with 51"),
    ],
)
def test_inputs_of_another_shape_are_named_first(shape: tuple[int, ...], how: str) -> None:
    """They were looked at and left out, and the message spoke of untrained weights."""
    with pytest.raises(AmbiguousLayoutError) as caught:
        derived_with(OneSided(), [torch.randn(shape)])
    sizes = ",".join(map(str, shape[1:]))
    assert f"are given, and the user's own, samples of {sizes}, fit no reading; with 1,51 it runs" in caught.value.facts
    assert caught.value.remedy.startswith(f"if these are its inputs, {how}") and "; else say which: " in str(
        caught.value
    )


def chosen(samples: list[Tensor], answers: tuple[int, ...] = (1, 51)) -> list[str | None]:
    """Layouts of the inputs that are left."""
    shapes = ((1, 51),)
    spec = load_spec("h36m", invariant=answers != (1, 51))
    ways = ways_of(spec, shapes, [answers])
    left, _ = ways_that_fit(ways, shapes, [answers], samples_of_inputs(samples, shapes))
    return [way.inputs[0].layout for way in left if way.inputs is not None]


@pytest.mark.parametrize("by_joint", [True, False])
@pytest.mark.parametrize("scale", [0.01, 1000.0])
def test_scores_need_no_more_than_inputs(by_joint: bool, scale: float) -> None:
    text = "b (j d)" if by_joint else "b (d j)"
    assert chosen([scale * bodies(by_joint, dims=3)], (1, 9)) == [text]
    assert chosen([scale * bodies(by_joint, dims=3)]) == [text, text]


def test_inputs_that_say_nothing_choose_nothing() -> None:
    for samples in (
        [torch.randn(128, 51, generator=torch.Generator().manual_seed(0))],
        [bodies(True, 2, 3)],
        [bodies(True)],
        [torch.zeros(128, 51)],
        [torch.ones(128, 51)],
        [bodies(True, dims=3), bodies(False, dims=3)],  # which of them is the input?
        [],
    ):
        assert len(chosen(samples, (1, 9))) == 2
