"""Forecasts are judged by what they add to the last frame, which turns with any mirror."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from chiralize import chiralize
from chiralize.body.tensors import ResolvedSpec, parse_spec, resolve
from chiralize.errors import MirrorError, OneSidedError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Call, Runner
from chiralize.problem.data.forecasts import LastFrame, last_frames
from chiralize.verification.asymmetry.records import Asymmetry, OutputGap
from chiralize.verification.evidence.answers import Answers, of_calls
from chiralize.verification.evidence.fitting import gap_of, whole_gap_of
from chiralize.verification.evidence.remedies import pairs_first

JOINTS, FRAMES = 8, 6
PAIRS = "[[0, 1], [2, 3], [4, 5], [6, 7]]"
PARTNER = [1, 0, 3, 2, 5, 4, 7, 6]


def spec(pairs: str, inputs: str = "b t j d", outputs: str = "b t j d") -> str:
    """A body of eight players, by number."""
    names = ", ".join(f"p{number}" for number in range(JOINTS))
    return (
        f"{{joints: [{names}], pairs: {pairs}, dims: [x, y], negate: x, inputs: [{{layout: {inputs!r}}}], "
        f"outputs: [{{layout: {outputs!r}}}]}}"
    )


def resolved(inputs: str, outputs: str, entering: tuple[int, ...], leaving: tuple[int, ...]) -> ResolvedSpec:
    return resolve(parse_spec(spec(PAIRS, inputs, outputs)), [entering], [leaving])


class Forecaster(nn.Module):
    """The last frame, and a displacement that the two sides of the field have with other signs, in part.

    share: of the displacement in the spread of the answers.
    """

    def __init__(self, share: float = 0.2, ahead: int = 3) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(0)
        weight = torch.randn(2 * JOINTS, 2 * JOINTS, generator=drawn) ** 3 / 4  # no initialisation leaves such weights
        turned = torch.zeros_like(weight)
        for joint, partner in enumerate(PARTNER):
            for dim, sign in enumerate((-1.0, 1.0)):
                turned[2 * joint + dim, 2 * partner + dim] = sign
        self.hidden = nn.Linear(2 * JOINTS, 2 * JOINTS, bias=False)
        self.hidden.weight = nn.Parameter((weight + turned @ weight @ turned) / 2)
        self.share, self.ahead = share, ahead

    def forward(self, poses: Tensor) -> Tensor:
        last = poses[:, -1:]
        speed = torch.tanh(self.hidden((last - poses[:, -2:-1]).flatten(2))).unflatten(2, (JOINTS, 2))
        steps = torch.arange(1.0, self.ahead + 1.0)[:, None, None]
        return last + self.share * steps * speed


def walks(count: int = 64) -> Tensor:
    """Players who run about, "count frame joint 2"."""
    drawn = torch.Generator().manual_seed(1)
    starts = 2 * torch.randn(count, 1, JOINTS, 2, generator=drawn)
    return starts + 0.3 * torch.randn(count, FRAMES, JOINTS, 2, generator=drawn).cumsum(1)


def mirrored(read: ResolvedSpec) -> NetworkMirror:
    """T of one input and one output."""
    (entering,), (leaving,) = read.inputs, read.outputs
    assert entering is not None and leaving is not None
    return NetworkMirror((entering,), (leaving,))


def described(module: nn.Module, text: str, poses: Tensor) -> ResolvedSpec:
    return resolve(parse_spec(text), [tuple(poses[:16].shape)], [tuple(module(poses[:16]).shape)])


def asked_of(module: nn.Module, text: str, poses: Tensor, with_frames: bool = True) -> tuple[float, Answers]:
    """The gap of a network under the mirror of a specification, and the answers that it is of."""
    calls: list[Call] = [((part,), {}) for part in poses.split(16)]
    read = described(module, text, poses)
    mirror = mirrored(read)
    with Runner(module) as runner:
        answers = of_calls(runner, mirror, calls, frames=last_frames(read) if with_frames else None)
        return gap_of(mirror, answers), answers


def asked(module: nn.Module, pairs: str, with_frames: bool) -> tuple[float, Answers]:
    """The same of players who run about, with these pairs."""
    return asked_of(module, spec(pairs), walks(), with_frames)


@pytest.mark.parametrize(
    ("inputs", "outputs", "entering", "leaving", "frame"),
    [
        ("b t j d", "b t j d", (2, 5, JOINTS, 2), (2, 3, JOINTS, 2), LastFrame(0, 1, False)),
        ("b t j d", "b t j d", (2, 5, JOINTS, 2), (2, 5, JOINTS, 2), LastFrame(0, 1, False)),
        ("b t j d", "b j d", (2, 5, JOINTS, 2), (2, JOINTS, 2), LastFrame(0, 1, True)),
        ("b t (j d)", "b t (j d)", (2, 5, 2 * JOINTS), (2, 3, 2 * JOINTS), LastFrame(0, 1, False)),
        ("b d t j", "b d t j", (2, 2, 5, JOINTS), (2, 2, 3, JOINTS), LastFrame(0, 2, False)),
        ("b d j t", "b d j", (2, 2, JOINTS, 5), (2, 2, JOINTS), LastFrame(0, 3, True)),
    ],
)
def test_the_last_frame_of_every_layout(
    inputs: str, outputs: str, entering: tuple[int, ...], leaving: tuple[int, ...], frame: LastFrame
) -> None:
    assert last_frames(resolved(inputs, outputs, entering, leaving)) == {0: [frame]}


@pytest.mark.parametrize(
    ("inputs", "outputs", "entering", "leaving"),
    [
        ("b j d", "b j d", (2, JOINTS, 2), (2, JOINTS, 2)),  # no time
        ("b t j d", "b t j d", (2, 1, JOINTS, 2), (2, 1, JOINTS, 2)),  # of one frame the last is all of it
        ("b t j d", "b t (j d)", (2, 5, JOINTS, 2), (2, 3, 2 * JOINTS)),  # in another layout
        ("b n j d", "b j d", (2, 5, JOINTS, 2), (2, JOINTS, 2)),  # of several detectors
    ],
)
def test_what_is_no_forecast(inputs: str, outputs: str, entering: tuple[int, ...], leaving: tuple[int, ...]) -> None:
    assert last_frames(resolved(inputs, outputs, entering, leaving)) == {}


def test_a_frame_is_the_last_one() -> None:
    poses = walks(2)
    assert torch.equal(LastFrame(0, 1, False).of([poses]), poses[:, -1:])
    assert torch.equal(LastFrame(0, 1, True).of([poses]), poses[:, -1])


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_the_displacement_tells_a_wrong_mirror(share: float) -> None:
    """Of the whole answers even a mirror without its swaps seems to fit."""
    forecaster = Forecaster(share)
    of_whole, _ = asked(forecaster, "[]", with_frames=False)
    of_displacement, answers = asked(forecaster, "[]", with_frames=True)
    assert of_whole < 0.3 < 1.0 < of_displacement
    assert of_displacement == pytest.approx(of_whole / answers.displaced[0])
    assert asked(forecaster, PAIRS, with_frames=True)[0] < 1e-6


def test_the_unit_is_the_spread_of_the_displacements() -> None:
    forecaster, poses = Forecaster().requires_grad_(False), walks()
    added = (forecaster(poses) - poses[:, -1:]).double()
    whole = forecaster(poses).double()
    share = (added - added.mean(0)).square().sum() / (whole - whole.mean(0)).square().sum()
    _, answers = asked(forecaster, PAIRS, with_frames=True)
    assert answers.displaced[0] == pytest.approx(float(share.sqrt()), rel=1e-5)
    assert answers.unit(0) == pytest.approx(float((added - added.mean(0)).square().sum()), rel=1e-5)
    moved = torch.cat([stack.flatten(0, 1) for stack in answers.moved(0)])
    torch.testing.assert_close(moved, added - added.mean(0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("share", [0.0, 1e-4])
def test_one_that_repeats_the_last_frame_is_judged_as_a_whole(share: float) -> None:
    """What it adds is rounding, or noise: in units of that any gap is large."""
    _, answers = asked(Forecaster(share), "[]", with_frames=True)
    assert not answers.displaced


class Copies(Forecaster):
    """An autoencoder: it gives its input back, with errors that have no mirror."""

    def forward(self, poses: Tensor) -> Tensor:
        return poses + 0.1 * torch.tanh(poses.roll(1, 2) * 3.0)


def test_what_gives_its_input_back_is_judged_as_a_whole() -> None:
    """Its frames are as near to the last one as those of a forecast; it adds its own errors to the input."""
    drawn = torch.Generator().manual_seed(2)
    poses = 2 * torch.randn(64, 1, JOINTS, 2, generator=drawn) + 0.3 * torch.randn(64, 6, JOINTS, 2, generator=drawn)
    last = (poses - poses[:, -1:]).square().mean().sqrt() / (poses - poses.mean(0)).square().mean().sqrt()
    assert 0.05 < float(last) < 0.6
    sizes = [tuple(poses.shape)], [tuple(poses.shape)]
    read = resolve(parse_spec(spec(PAIRS)), *sizes)
    with Runner(Copies()) as runner:
        answers = of_calls(runner, mirrored(read), [((poses,), {})], frames=last_frames(read))
    assert not answers.displaced


def test_what_the_whole_answers_tell_is_told_by_them() -> None:
    """As of a denoiser of the last frame, which without its swaps does not fit: what it takes away has no mirror."""
    forecaster = Forecaster()
    of_whole, _ = asked(forecaster, "[]", with_frames=False)
    _, answers = asked(forecaster, "[]", with_frames=True)
    read = resolve(parse_spec(spec("[]")), [(16, FRAMES, JOINTS, 2)], [(16, 3, JOINTS, 2)])
    mirror = mirrored(read)
    assert whole_gap_of(mirror, answers) == pytest.approx(of_whole)
    answers.count_as_a_whole()
    assert not answers.displaced and gap_of(mirror, answers) == pytest.approx(of_whole)


class Denoiser(nn.Module):
    """The last frame on the poses that a body can take, which its two sides share, with errors that have no mirror."""

    def __init__(self) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(4)
        modes = torch.randn(4, JOINTS, 2, generator=drawn)
        turned = modes[:, PARTNER] * torch.tensor([-1.0, 1.0])
        both = torch.cat([modes[:2] + turned[:2], modes[2:] - turned[2:]]).flatten(1)
        self.basis = nn.Parameter(torch.linalg.qr(both.T).Q)  # coordinate mode
        self.errors = nn.Parameter(torch.randn(2 * JOINTS, 2 * JOINTS, generator=drawn) ** 3)

    def forward(self, poses: Tensor) -> Tensor:
        last = poses[:, -1].flatten(1)
        clean = last @ self.basis @ self.basis.T + 0.05 * torch.tanh(last @ self.errors)
        return clean.unflatten(1, (JOINTS, 2))


def test_a_denoiser_under_its_right_mirror_is_converted() -> None:
    """What it takes away is nearly as far from its mirror image as from anything: no mirror is read off that."""
    network, drawn = Denoiser(), torch.Generator().manual_seed(5)
    clean = torch.randn(256, 1, 4, generator=drawn) @ network.basis.detach().T
    poses = (clean + 0.05 * torch.randn(256, FRAMES, 2 * JOINTS, generator=drawn)).unflatten(2, (JOINTS, 2))
    layouts = spec(PAIRS, outputs="b j d")
    gap, answers = asked_of(network, layouts, poses)
    assert 0.05 < answers.displaced[0] < 0.6 and gap > 0.65
    result = chiralize(network, parse_spec(layouts), example_inputs=(poses[:1],), calibration=poses, method="average")
    evidence = result.chirality.report.evidence
    assert evidence.displaced == () and evidence.fit.gap < 0.3 and not evidence.warnings


@pytest.mark.parametrize("count", [5, 7])
def test_few_samples_have_no_displacements(count: int) -> None:
    forecaster, poses = Forecaster(), walks(count)
    read = resolve(parse_spec(spec(PAIRS)), [tuple(poses.shape)], [tuple(forecaster(poses).shape)])
    with Runner(forecaster) as runner:
        answers = of_calls(runner, mirrored(read), [((poses,), {})], frames=last_frames(read))
    assert not answers.displaced


def test_calls_of_several_lengths() -> None:
    """The first of them has as many frames as the forecast, the others have more."""
    poses, forecaster = walks(), Forecaster(ahead=4)
    calls: list[Call] = [((part,), {}) for part in (poses[:16, 2:], poses[16:32], poses[32:48, 1:])]
    read = resolve(parse_spec(spec(PAIRS)), [(16, 4, JOINTS, 2)], [(16, 4, JOINTS, 2)])
    mirror = mirrored(read)
    with Runner(forecaster) as runner:
        answers = of_calls(runner, mirror, calls, frames=last_frames(read))
        assert gap_of(mirror, answers) < 1e-6
    assert list(answers.displaced) == [0]
    assert list(map(len, answers.moved(0))) == list(map(len, answers.plain(0)))


class Turned(Forecaster):
    """A network that answers in the layout of its input, and has nothing of the last frame."""

    def forward(self, poses: Tensor) -> Tensor:
        return (
            poses.flip(1)[:, : self.ahead] * torch.tensor([0.2, -0.9]) + 0.3 * poses.roll(1, 2)[:, 1 : 1 + self.ahead]
        )


def test_answers_that_do_not_start_there_are_judged_as_a_whole() -> None:
    _, answers = asked(Turned(), PAIRS, with_frames=True)
    assert not answers.displaced


def test_gaps_of_single_outputs_in_units_of_their_displacement() -> None:
    measured = Asymmetry((OutputGap(0, 0.2, 0.5, lean=0.1), OutputGap(2, 0.3, 0.5)), (), 64)
    counted = measured.counted_in({0: 0.25})
    assert counted.outputs == (OutputGap(0, 0.8, 0.5, lean=0.1), OutputGap(2, 0.3, 0.5))
    assert measured.gravest({0: 0.25}, bound=0.3, of_forecasts=0.65).gap == 0.8
    assert measured.gravest({0: 0.5}, bound=0.3, of_forecasts=0.65).gap == 0.3
    assert measured.gravest({}, bound=0.3, of_forecasts=0.65) == measured
    assert measured.of_outputs({2}) == replace(measured, outputs=measured.outputs[1:])


class Leaning(Forecaster):
    """A forecaster with two sides of which the displacement of one is halved."""

    def forward(self, poses: Tensor) -> Tensor:
        last, whole = poses[:, -1:], super().forward(poses)
        is_left = (poses[:, :1, :1, :1] > 0).to(poses.dtype)
        return last + (whole - last) * (0.2 + 0.8 * is_left)


def test_auto_stops_where_the_displacements_are_apart() -> None:
    poses = walks(256)
    with pytest.raises(OneSidedError) as stopped:
        chiralize(Leaning(0.15), parse_spec(spec(PAIRS)), example_inputs=(poses[:1],), calibration=poses)
    assert "of the spread of what it adds to the last frame apart, and auto stops above 0.65" in str(stopped.value)
    assert "in units of what it adds to the last frame; 0.1 to 0.4 is what networks have" in str(stopped.value)


def test_without_its_swaps_a_forecast_has_nothing_of_the_mirror() -> None:
    """Of the whole answers the gap was 0.17, and what came of it was "within a few percent"."""
    poses = walks(256)
    with pytest.raises(MirrorError, match=r"in units of the spread of what it adds to the last frame; 0\.1 to 0\.4"):
        chiralize(Forecaster(), parse_spec(spec("[]")), example_inputs=(poses[:1],), calibration=poses)


@pytest.mark.parametrize(("pairs", "joints", "dims"), [("[[a0, a1]]", 8, 2), ("[]", 7, 2), ("[]", 12, 1)])
def test_pairs_are_asked_for_where_a_body_has_none(pairs: str, joints: int, dims: int) -> None:
    """A few joints may be a spine, and one number a joint may be a robot's waist."""
    names = ", ".join(f"a{number}" for number in range(max(joints, 2)))
    body = f"{{joints: [{names}], pairs: {pairs}, dims: [{', '.join('xyz'[:dims])}], negate: x}}"
    assert pairs_first(parse_spec(body).skeleton) == ""
    plain = parse_spec(spec("[]")).skeleton
    names_of_eight = ", ".join(f"a{number}" for number in range(8))
    begin = "pair the joints that are each other's mirror images first, since T exchanges none of 8; then "
    assert pairs_first(plain) == begin
    # Two eyes of eight points each, exchanged as a whole.
    for layout, said in (("b e j d", begin), ("b ~e j d", "")):
        eyes = parse_spec(f"joints: [{names_of_eight}]\npairs: []\ndims: [x, y]\nnegate: [x]\ninputs: ['{layout}']\n")
        resolved = resolve(replace(eyes, outputs=eyes.inputs), [(4, 2, 8, 2)], [(4, 2, 8, 2)])
        assert pairs_first(eyes.skeleton, resolved.input_tensors) == said
