"""`--distill` on pictures: small steps on pictures that are moved as a camera moves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.graph.running import Call
from chiralize.methods.reduce import reduce
from chiralize.methods.refine import arithmetic, distillation, lessons, ready, refine
from chiralize.methods.refine.arithmetic import Arithmetic, has_bfloat16, quickest
from chiralize.methods.refine.lessons import Course, MovedAnew
from chiralize.problem.data.cutting import rows_of
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem

SPEC = parse_spec("{joints: [head, l, r], pairs: [[l, r]], inputs: ['b c h ~w'], outputs: ['b j h ~w']}")
SWAPPED = [0, 2, 1]


def spots(count: int, seed: int) -> Tensor:
    """Pictures "sample 2 16 17" of a bright spot, and of a dark one."""
    draw = torch.Generator().manual_seed(seed)
    at = 4 + 8 * torch.rand(count, 2, 2, 1, generator=draw)
    down, across = ((-(torch.arange(size) - at[:, :, dim]).square() / 4).exp() for dim, size in enumerate((16, 17)))
    return down[..., :, None] * across[..., None, :]


class Maps(nn.Module):
    """Maps of three joints, as large as the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(2, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Maps "sample 3 16 17"."""
        return self.head(self.trunk(pictures))


@cache
def teacher() -> nn.Module:
    torch.manual_seed(1)
    return Maps().eval()


@pytest.fixture(autouse=True, scope="module")
def ten_batches(for_the_file: pytest.MonkeyPatch) -> None:
    """Of 20 pictures each, more than a step reads; with --thorough, too."""
    for_the_file.setattr("chiralize.problem.data.cutting._BATCHES", 10)


def converted(**options: Any) -> Conversion:
    pictures = spots(200, 0)
    given = {"calibration": [((pictures,), {})], "rounds": 0, "samples": 1, **options}
    request = Request("reduce", width=0.5, force=True, **given)
    return convert(prepare(teacher(), SPEC, (pictures[:2],)), "maps", request)


@cache
def undistilled() -> Conversion:
    """What distilling starts from."""
    return converted()


@pytest.mark.parametrize("is_held", [True, False])
def test_distilling_on_pictures(is_held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearer to the flip average on pictures of its kind, and as equivariant; it learnt from pictures that were moved,
    few at a time, drawn from all that are given, but in their order where memory does not hold them."""
    if not is_held:
        monkeypatch.setattr(refine, "_HELD", 0)
        monkeypatch.delattr(ready, "shuffled")
    taken: list[Call] = []
    take = MovedAnew.take

    def noted(self: MovedAnew, number: int, generator: torch.Generator, over: float) -> tuple[Call, Tensor]:
        lesson = take(self, number, generator, over)
        taken.append(lesson[0])
        return lesson

    monkeypatch.setattr(MovedAnew, "take", noted)
    monkeypatch.setattr(refine, "rows_for", lambda network: 8)
    before, after = undistilled(), converted(distill=30)
    others, original = spots(50, 9), teacher()
    with torch.no_grad():
        wanted = (original(others) + original(others.flip(-1)).flip(-1)[:, SWAPPED]) / 2
        errors = [float((found.module(others) - wanted).square().mean()) for found in (before, after)]
        turned = after.module(others.flip(-1)).flip(-1)[:, SWAPPED]
        assert torch.allclose(after.module(others), turned, atol=1e-5)
    assert errors[1] < 0.8 * errors[0] and after.report.passed
    assert not any("scattered" in note for note in after.report.notes)  # columns of pictures are no joints
    given = spots(200, 0)
    assert {rows_of(call) for call in taken} == {8 if is_held else 20}
    assert all((call[0][0][:, None] - given).abs().amax((2, 3, 4)).min() > 0 for call in taken)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("way", [Arithmetic({0}, is_half=True), Arithmetic({0})], ids=["bfloat16", "channels last"])
def test_results_are_as_equivariant_in_any_arithmetic(way: Arithmetic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are single precision throughout; training in bfloat16 comes about as near as the plain one."""
    monkeypatch.setattr(refine, "quickest", lambda *rest: way)
    before, after = undistilled(), converted(distill=30)
    others, original = spots(50, 9), teacher()
    with torch.no_grad():
        wanted = (original(others) + original(others.flip(-1)).flip(-1)[:, SWAPPED]) / 2
        errors = [float((made.module(others) - wanted).square().mean()) for made in (before, after)]
        exact = after.module.double()(others.double())
        turned = after.module(others.double().flip(-1)).flip(-1)[:, SWAPPED]
    assert errors[1] < 0.8 * errors[0] and after.report.passed
    assert torch.allclose(exact, turned, atol=1e-11)


def test_one_picture_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of a network that takes one are moved one by one: an axis in front would be taken for the batch."""
    pictures, shapes = spots(40, 0), list[tuple[int, ...]]()
    take = MovedAnew.take

    def noted(self: MovedAnew, number: int, generator: torch.Generator, over: float) -> tuple[Call, Tensor]:
        lesson = take(self, number, generator, over)
        shapes.append(tuple(lesson[0][0][0].shape))
        return lesson

    monkeypatch.setattr(MovedAnew, "take", noted)
    calls: list[Call] = [((picture[None],), {}) for picture in pictures]
    request = Request("reduce", width=0.5, force=True, rounds=0, calibration=calls, distill=4)
    program = torch.export.export(teacher(), (pictures[:1],))
    assert convert(prepare(program, SPEC, (pictures[:1],)), "maps", request).report.passed
    assert set(shapes) == {(1, 2, 16, 17)}


def test_a_rate_that_leads_astray_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one begins from the start; where one brings the loss down, it is the last."""
    monkeypatch.setattr(distillation, "RATES_AT_ONCE", (30.0, 1e-2, 1e-3))
    run, rates = distillation.Training.run, list[float]()

    def noted(training: distillation.Training, steps: int, rate: float, *rest: Any, **options: Any) -> Any:
        """Take down the rate."""
        rates.append(rate)
        return run(training, steps, rate, *rest, **options)

    monkeypatch.setattr(distillation.Training, "run", noted)
    assert converted(distill=30).report.passed
    assert rates == [30.0, 1e-2]


def test_fits_before_distilling_read_some_of_many_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    enough = reduce._enough

    def noted(problem: Problem, calls: Sequence[Call]) -> Sequence[Call]:
        """Take down how many samples are left."""
        some = enough(problem, calls)
        counts.append(sum(map(rows_of, some)))
        return some

    monkeypatch.setattr(reduce, "_enough", noted)
    monkeypatch.setattr(reduce, "_PICTURES", 70)
    assert converted(distill=1).report.passed
    assert set(counts) == {60}  # every third of 8 batches
    counts.clear()
    assert converted().report.passed and min(counts) >= 160


# ---- lessons --------------------------------------------------------------------------------------------------------
class Numbered:
    """Lessons of which each is another one, of 40 bytes."""

    def __init__(self) -> None:
        self.taken = 0

    def __len__(self) -> int:
        return 3

    def take(self, number: int, generator: torch.Generator, over: float) -> tuple[Call, Tensor]:
        self.taken += 1
        return ((torch.full((9,), float(self.taken)),), {}), torch.tensor([float(number)])


@pytest.mark.parametrize(
    ("uses", "room", "expected"),
    [
        (1, 400, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]),
        (2, 400, [1, 2, 3, 4, 1, 2, 3, 5, 6, 7, 8, 5, 6, 7]),
        (2, 80, [1, 2, 1, 2, 3, 4, 3, 5, 6, 5, 6, 7, 8, 7]),
        (2, 1, [1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6, 7, 7, 8]),
        (3, 400, [1, 2, 3, 1, 2, 3, 1, 4, 5, 6, 4, 5, 6, 4]),
    ],
)
def test_lessons_come_back_before_the_next_look(
    uses: int, room: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every seven steps; all numbers are drawn once before one is drawn again."""
    monkeypatch.setattr(lessons, "_BLOCK", room)
    order = list[int]()
    course = Course(Numbered(), torch.Generator().manual_seed(0), order, uses)
    given = [course.next(7 - step % 7, step / 14) for step in range(14)]
    assert [int(call[0][0][0]) for call, _ in given] == expected
    drawn = list(dict.fromkeys((int(call[0][0][0]), int(number)) for call, number in given))
    assert all({number for _, number in drawn[at : at + 3]} == {0, 1, 2} for at in range(0, len(drawn) - 2, 3))
    assert len(order) == -len(drawn) % 3


def test_some_of_many_held_out_pictures_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evenly spread, and at least one batch."""
    calls: list[Call] = [((torch.full((8, 1), float(number)),), {}) for number in range(50)]
    assert [int(call[0][0][0]) for call in refine._looked_at(calls)] == list(range(0, 50, 3))
    assert list(refine._looked_at(calls[:20])) == calls[:20]
    monkeypatch.setattr(refine, "_LOOKED_AT", 5)
    assert list(refine._looked_at(calls)) == calls[:1]


# ---- which arithmetic -----------------------------------------------------------------------------------------------
def chosen(seconds: dict[Arithmetic, float], off: dict[Arithmetic, float]) -> Arithmetic:
    """Of a network that takes so long in each way, and whose answers are off by so much; a way without a time fails."""
    now = [0.0]

    def answer(way: Arithmetic) -> Tensor:
        """Let time pass."""
        if way not in seconds:
            raise RuntimeError("view size is not compatible with input tensor's size and stride")
        now[0] += seconds[way]
        return torch.ones(5) + off.get(way, 0.0)

    return quickest(answer, ALL, lambda: now[0])


ALL = frozenset({0})
PLAIN, LAST, HALF, BOTH = Arithmetic(), Arithmetic(ALL), Arithmetic((), is_half=True), Arithmetic(ALL, is_half=True)


@pytest.mark.parametrize(
    ("seconds", "off", "expected"),
    [
        ({PLAIN: 4, LAST: 3, HALF: 2, BOTH: 1}, {BOTH: 0.01}, BOTH),
        ({PLAIN: 4, LAST: 3, HALF: 2, BOTH: 1}, {BOTH: 0.2}, HALF),
        ({PLAIN: 4, LAST: 3, HALF: 2, BOTH: 1}, {BOTH: float("nan"), HALF: float("inf")}, LAST),
        ({PLAIN: 4, HALF: 2}, {}, HALF),
        ({PLAIN: 4, LAST: 5, HALF: 8, BOTH: 9}, {}, PLAIN),
        ({PLAIN: 4, LAST: 3.9, HALF: 3.8, BOTH: 3.9}, {}, PLAIN),
    ],
)
def test_the_quickest_that_is_near(
    seconds: dict[Arithmetic, float],
    off: dict[Arithmetic, float],
    expected: Arithmetic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clear margin; what cannot run, or rounds too much, is left out."""
    monkeypatch.setattr(arithmetic, "has_bfloat16", lambda: True)
    assert chosen(seconds, off) == expected


def test_bfloat16_is_for_processors_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not even tried elsewhere, where single precision does its work more slowly."""
    assert has_bfloat16({"avx512_f": True, "amx_bf16": True}) and has_bfloat16({"bf16": True})
    assert not has_bfloat16({"avx512_f": True, "avx512_bf16": False}) and not has_bfloat16({})
    monkeypatch.setattr(arithmetic, "has_bfloat16", lambda: False)
    assert chosen({PLAIN: 4, LAST: 3, HALF: 0.1, BOTH: 0.1}, {}) == LAST


@pytest.mark.parametrize("call", [nn.functional.conv2d, torch.ops.aten.conv2d.default], ids=["module", "graph"])
def test_kernels_of_one_channel_stay_in_single_precision(call: Any) -> None:
    """Their products do, with gradients; answers come in bfloat16, as of others."""
    draw = torch.Generator().manual_seed(0)
    pictures, kernel = (torch.randn(shape, generator=draw) for shape in ((2, 4, 6, 6), (4, 1, 1, 2)))
    dense = torch.randn(3, 4, 1, 1, generator=draw)
    kernel.requires_grad_()
    with BOTH.precision():
        by_channel = call(pictures, kernel, None, [1, 2], [0, 0], [1, 1], 4)
        answer = call(by_channel, dense)
    whole = torch.conv2d(pictures, kernel, None, (1, 2), (0, 0), (1, 1), 4)
    assert by_channel.dtype == answer.dtype == torch.bfloat16
    assert torch.equal(by_channel, whole.bfloat16())
    (gradient,), (wanted,) = (torch.autograd.grad(result.float().sum(), kernel) for result in (by_channel, whole))
    assert torch.allclose(gradient, wanted, rtol=1e-6)
    with PLAIN.precision():
        assert call(pictures, dense).dtype == torch.float32
