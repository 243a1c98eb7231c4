"""The proof for networks that average over both views: it proves them, and only them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from chiralize.graph.export import export
from chiralize.graph.model import CapturedModel
from chiralize.infer.capture import captured
from chiralize.nn.two_view import TwoView
from chiralize.symmetry.action import Turn
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.average import same_under, why_no_average

SIX = SignedPermutation.of([(0, 1), (2, 3)], negated=[4], size=6)
OTHER = SignedPermutation.of([(0, 2)], size=6)


def turn(action: SignedPermutation) -> Turn:
    """T on three samples of some numbers."""
    return TensorRepresentation((Representation.trivial(3), Representation.of(action))), None


def graph_of(module: nn.Module, args: Sequence[Tensor]) -> CapturedModel:
    program = export(module.eval(), tuple(args), {}, [{} for _ in args])[0]
    return captured(program, tuple(args), {})


class Views(nn.Module):
    """An average over two views written out; `change` spoils it."""

    def __init__(self, change: str = "") -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6))
        self.second = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6)) if "weights" in change else self.net
        self.change = change
        self.register_buffer("order", torch.from_numpy(SIX.partner.copy()))
        self.register_buffer("sign", torch.from_numpy(SIX.sign.copy()).float())

    def mirror(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.order) * self.sign

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.net(x), self.second(x if "input" in self.change else self.mirror(x))
        second = second if "output" in self.change else self.mirror(second)
        if "sliced" in self.change:  # all of it: export leaves such slices in one view and drops them in the other
            first = torch.ops.aten.slice.Tensor(first, 0, 0, sys.maxsize)
        if "written" in self.change:
            first = torch.ops.aten.slice_scatter(torch.zeros_like(first), first, 0, 0, sys.maxsize)
        if "viewed" in self.change:  # in the shape that it has
            first = torch.ops.aten.expand(torch.ops.aten.view(first, first.shape), first.shape)
        if "more" in self.change:
            first = torch.ops.aten.expand(first[:1], first.shape)
        if "share" in self.change:
            return 0.6 * first + 0.4 * second
        if "noise" in self.change:
            return 0.5 * (first + second) + torch.rand_like(first)
        if "part" in self.change:
            return torch.cat([0.5 * (first + second)[:, :5], first[:, 5:]], 1)
        return 0.5 * (first + second)


def broken(
    module: nn.Module, action: SignedPermutation = SIX, args: Sequence[Tensor] = (torch.zeros(3, 6),)
) -> str | None:
    return why_no_average(graph_of(module, args), (turn(action),), (turn(action),))


@pytest.mark.parametrize("change", ["", "sliced", "written", "viewed"])
def test_two_views_averaged(change: str) -> None:
    assert broken(Views(change)) is None


@pytest.mark.parametrize(
    "change", ["weights", "input", "output", "share", "noise", "part", "part, sliced", "share, written", "more, viewed"]
)
def test_anything_else_is_refused(change: str) -> None:
    assert broken(Views(change)) == "output 0"


@pytest.mark.parametrize("draw", [torch.normal, lambda x: torch.poisson(x.exp()), nn.functional.dropout])
def test_numbers_that_are_drawn_by_the_input_are_not_those_of_its_mirror_image(
    draw: Callable[[Tensor], Tensor],
) -> None:
    class Drawing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return draw(x)[:, 0]

    graph = graph_of(Drawing(), (torch.zeros(3, 6),))
    still = TensorRepresentation((Representation.trivial(3),)), None
    assert [node for node in graph.nodes if node.draws_numbers]
    assert why_no_average(graph, (turn(SIX),), (still,)) == "output 0"
    assert why_no_average(graph, (turn(SignedPermutation.identity(6)),), (still,)) is None


def test_numbers_that_an_op_tells_apart_are_not_equal() -> None:
    """Views of two functions: copysign(x, 0.0) and copysign(x, -0.0), of which each negates the other."""

    class Signed(Views):
        def forward(self, x: Tensor) -> Tensor:
            first, second = torch.copysign(x, 0.0), torch.copysign(self.mirror(x), 0.0 if self.change else -0.0)
            return 0.5 * (first + self.mirror(second))

    assert broken(Signed()) == "output 0"
    assert broken(Signed("equal")) is None


def test_another_mirror_is_refused() -> None:
    assert broken(Views(), OTHER) == "output 0"


def test_entries_that_are_picked_and_joined_are_followed() -> None:
    class Prefix(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x.index_select(1, torch.arange(5)), x[:, 5:]], 1).index_select(1, torch.arange(6))

    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.index_select(1, torch.tensor([0, 1, 2, 3, 4, 4]))

    swap = SignedPermutation.of([(4, 5)], size=6)
    assert broken(Prefix(), SignedPermutation.identity(6)) is None
    assert broken(Prefix(), swap) is None
    assert broken(Twice(), swap) == "output 0"


@pytest.mark.parametrize("blocks", [2, 12])
def test_sums_of_many_blocks(blocks: int) -> None:
    """A network that ends in a running sum of blocks is averaged whatever their number; one view alone is not."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(blocks))

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                x = x + torch.relu(block(x))
            return x

    assert broken(TwoView(Residual(), [turn(SIX)], [turn(SIX)])) is None
    assert broken(Residual()) == "output 0"


# ---- states ----------------------------------------------------------------------------------------------------------
class Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.register_buffer("h", torch.zeros(3, 6))

    def forward(self, x: Tensor) -> Tensor:
        self.h.copy_(torch.tanh(self.a(x) + self.h))
        return self.h + 0.0


def of_states(exchange: Callable[[str], str], start: float = 0.0) -> str | None:
    """The proof's answer for an average whose second view starts from `start` in place of 0."""
    module = TwoView(Remembering(), [turn(SIX)], [turn(SIX)], own_buffers=True).eval()
    module.get_buffer("views.1.h").fill_(start)
    graph = graph_of(module, (torch.zeros(3, 6),))
    leaves = {leaf.names[0]: leaf.name for leaf in graph.leaves.values() if leaf.kind == "state"}
    exchanged = {leaf: leaves[exchange(name)] for name, leaf in leaves.items()}
    return why_no_average(graph, (turn(SIX),), (turn(SIX),), exchanged)


OTHER_VIEW = {"views.0.h": "views.1.h", "views.1.h": "views.0.h"}


def test_states_are_exchanged() -> None:
    assert of_states(lambda name: OTHER_VIEW[name]) is None
    assert of_states(lambda name: name) is not None


def test_states_start_alike() -> None:
    """Views that start from different states answer x and T x differently, whatever they write later."""
    assert of_states(lambda name: OTHER_VIEW[name], 1.0) == "state views.0.h"


@pytest.mark.parametrize(("read", "answered"), [(1, 6), (6, 1), (1, 1)])
def test_one_number_that_is_negated(read: int, answered: int) -> None:
    """A signed handedness, a direction: an axis of one entry has its sign in the graph as a factor of the whole."""
    one = SignedPermutation.of([], negated=[0], size=1)
    net = nn.Sequential(nn.Linear(read, 8), nn.ReLU(), nn.Linear(8, answered))
    turns = [turn(one if size == 1 else SIX) for size in (read, answered)]
    graph = graph_of(TwoView(net, turns[:1], turns[1:]), (torch.randn(3, read),))
    assert why_no_average(graph, turns[:1], turns[1:]) is None
    still = turn(SignedPermutation.identity(answered))
    assert why_no_average(graph, turns[:1], [still]) == "output 0"


def test_numbers_without_axes_and_tensors_without_entries() -> None:
    """A loss, and an empty list of landmarks: one number of all samples is averaged, and nothing is nothing."""

    class Scalars(nn.Module):
        def __init__(self, both: bool) -> None:
            super().__init__()
            self.net, self.both = nn.Linear(6, 6), both

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            image = x[:, torch.from_numpy(SIX.partner)] * torch.from_numpy(SIX.sign).float()
            first, second = self.net(x).mean(), self.net(image if self.both else x).mean()
            return 0.5 * (first + second), torch.cat([x[:, :0], 2 * image[:, :0]], 1).flip(1)

    number, nothing = (TensorRepresentation(()), None), turn(SignedPermutation.identity(0))
    for both in (True, False):
        graph = graph_of(Scalars(both), (torch.randn(3, 6),))
        assert (why_no_average(graph, [turn(SIX)], [number, nothing]) is None) == both


def test_a_mirror_at_a_point_adds_a_constant() -> None:
    centers = torch.tensor([0.0, 0.0, 0.0, 0.0, 320.0, 0.0]).double().numpy()[None]
    affine, elsewhere = (turn(SIX)[0], centers), (turn(SIX)[0], centers + (centers != 0))
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6))
    graph = graph_of(TwoView(net, [affine], [affine]), (torch.randn(3, 6),))
    assert why_no_average(graph, [affine], [affine]) is None
    assert why_no_average(graph, [affine], [elsewhere]) == "output 0"
    assert why_no_average(graph, [turn(SIX)], [affine]) == "output 0"


def test_a_table_that_an_open_size_cuts_is_no_mirror() -> None:
    """Signs of the frames that the examples have say nothing of those behind them."""

    class Framed(nn.Module):
        def __init__(self, behind: float) -> None:
            super().__init__()
            self.net = nn.Linear(2, 2)
            self.register_buffer("sign", torch.cat([-torch.ones(4, 1), behind * torch.ones(60, 1)]))

        def forward(self, x: Tensor) -> Tensor:
            sign = self.sign[: x.shape[1]]
            return 0.5 * (self.net(x) + self.net(x * sign) * sign)

    x = torch.randn(2, 4, 2)
    negated = TensorRepresentation(tuple(Representation.trivial(size) for size in x.shape), -1), None
    for behind in (-1.0, 1.0):
        program = export(Framed(behind).eval(), (x,), {}, [{0: "b", 1: "t"}])[0]
        verdict = why_no_average(captured(program, (x,), {}), [negated], [negated])
        assert (verdict is None) == (behind == -1.0)


def test_an_entry_that_an_open_size_picks_is_not_followed() -> None:
    """Of 4 frames it is joint 0, which the mirror leaves alone; of 5 it is joint 1."""

    class Picked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + x[:, :, x.shape[1] - 4][:, :, None]

    x = torch.randn(2, 4, 3)
    swap = Representation.of(SignedPermutation.of([(1, 2)], size=3))
    exchanged = TensorRepresentation((Representation.trivial(2), Representation.trivial(4), swap)), None
    program = export(Picked().eval(), (x,), {}, [{0: "b", 1: "t"}])[0]
    assert why_no_average(captured(program, (x,), {}), [exchanged], [exchanged]) == "output 0"


# ---- equal as real numbers, and not as what they are -----------------------------------------------------------------
def compared(pair: Callable[[Tensor], tuple[Tensor, ...]]) -> str | None:
    """Whether two values of x, which has 6 entries, are proved to be what T makes of each other, and change places.

    T exchanges entries 4 and 5 of x and leaves the others alone.
    """

    class Two(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([value.to(x.dtype).reshape(3, 1) for value in pair(x)], 1)

    graph = graph_of(Two(), (torch.rand(3, 6, dtype=torch.float64),))
    swap = turn(SignedPermutation.of([(4, 5)], size=6))
    return why_no_average(graph, (swap,), (turn(SignedPermutation.of([(0, 1)], size=2)),))


def whole(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Entries 4 and 5 as numbers of another type."""
    return (x[:, 4] * 100).to(dtype), (x[:, 5] * 100).to(dtype)


def folded(x: Tensor, op: Callable[[Tensor], Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """An op that is the identity for real numbers, on one of two numbers of another type."""
    left, right = whole(x, dtype)
    return op(left), right


def strided(x: Tensor) -> Tensor:
    return x.as_strided((3,), (1,)).sin()


def sum_of(left: Tensor, right: Tensor) -> Tensor:
    return 0.5 * (left + right)


def headless(part: Tensor, x: Tensor) -> Tensor:
    """A list whose first part is empty, turned round."""
    return torch.cat([torch.zeros(3, 0), part, x[:, :1]], 1).flip(1).prod(1)


DIFFERENT: dict[str, Callable[[Tensor], tuple[Tensor, ...]]] = {
    "bytes that wrap": lambda x: folded(x, lambda v: (v + v) * 0.5, torch.uint8),
    "bytes that are negated twice": lambda x: folded(x, lambda v: v.neg() / 2 * -2, torch.uint8),
    "truth values that saturate": lambda x: folded(x, lambda v: (v + v) * 0.5, torch.bool),
    "integers times a constant": lambda x: folded(x, lambda v: v * torch.tensor([3]) * 0.5 / 1.5, torch.int8),
    "a factor that a type does not hold": lambda x: folded(x, lambda v: v * 1e-9 * 1e9, torch.float16),
    "a factor that no type holds": lambda x: (x[:, 4] * 1e200 * 1e200, x[:, 5] * 1e300 * 1e300),
    "zero times other numbers": lambda x: (x[:, 0].log() * 0, x[:, 1].exp() * 0),
    "zero of two shapes": lambda x: ((x[:, :2] * 0).logsumexp(1), (x[:, :3] * 0).logsumexp(1)),
    "cancelled in two shapes": lambda x: ((x + (-x))[:, :2].logsumexp(1), (x + (-x))[:, :3].logsumexp(1)),
    "constants of two shapes": lambda x: (
        (torch.ones(3, 2) + torch.zeros(3, 2)).logsumexp(1) + x[:, 0],
        (torch.ones(3, 3) + torch.zeros(3, 3)).logsumexp(1) + x[:, 0],
    ),
    "the sign of a zero": lambda x: (
        torch.copysign(x[:, 0], x[:, 1] + (-x[:, 1])),
        torch.copysign(x[:, 0], -(x[:, 1] + (-x[:, 1]))),
    ),
    "two types of one value": lambda x: ((x[:, 4] + torch.zeros(3)).half().sin(), x[:, 5].sin()),
    "a complex factor": lambda x: ((x[:, 4] * torch.tensor([1 + 1j])).abs(), (x[:, 5] * torch.tensor([1 + 2j])).abs()),
    "written into integers": lambda x: (
        torch.slice_scatter(torch.zeros(3, 1, dtype=torch.int64), x[:, 4:5], 1, 0, 1),
        torch.slice_scatter(torch.zeros(3, 1, dtype=x.dtype), x[:, 5:], 1, 0, 1),
    ),
    "bytes that are added twice": lambda x: (
        0.5 * (whole(x, torch.uint8)[0] + whole(x, torch.uint8)[1]),
        0.5 * (whole(x, torch.uint8)[0] + whole(x, torch.uint8)[0]),
    ),
    "read by strides": lambda x: (strided(x[:, :3].t().clone()), strided(x[:, :3].t().contiguous())),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENT)
def test_values_that_only_real_numbers_would_make_equal(name: str) -> None:
    assert compared(DIFFERENT[name]) == "output 0"


EQUAL: dict[str, Callable[[Tensor], tuple[Tensor, ...]]] = {
    "floating-point numbers": lambda x: folded(x, lambda v: (v + v) * 0.5, torch.float32),
    "complex numbers": lambda x: tuple(v.abs() for v in folded(x, lambda v: (-v) / -1, torch.complex128)),
    "integers that are moved": lambda x: folded(x, lambda v: v.flip(0).flip(0), torch.int32),
    "cast once and twice": lambda x: folded(x, lambda v: v.to(torch.float32), torch.float32),
    "sums of integers": lambda x: (sum_of(*whole(x, torch.uint8)), sum_of(*whole(x, torch.uint8)[::-1])),
    "another constant sum": lambda x: (x[:, 4] + torch.ones(3) + torch.ones(1), x[:, 5] + torch.full((3,), 2.0)),
    "an empty part": lambda x: (headless(x[:, 4:5], x), headless(x[:, 5:], x)),
    "a roll there and back": lambda x: (x[:, 4].roll(1).roll(-1), x[:, 5]),
}  # fmt: skip


@pytest.mark.parametrize("name", EQUAL)
def test_values_that_are_equal(name: str) -> None:
    assert compared(EQUAL[name]) is None


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_answers_that_are_integers(dtype: torch.dtype) -> None:
    """An average of integers is one, whether its sums wrap or not: what T exchanges is added in either order."""

    class Whole(Views):
        def mirror(self, x: Tensor) -> Tensor:
            return x.index_select(1, self.get_buffer("order"))

        def forward(self, x: Tensor) -> Tensor:
            first, second = (self.net(x) * 100).to(dtype), (self.net(self.mirror(x)) * 100).to(dtype)
            return 0.5 * (first + self.mirror(second if self.change == "" else first))

    swap = SignedPermutation.of([(0, 1), (2, 3)], size=6)
    assert broken(Whole(), swap) is None
    assert broken(Whole("one view"), swap) == "output 0"
    assert broken(Whole(), SIX) == "output 0"


# ---- answers that are handed through ---------------------------------------------------------------------------------
def test_answers_that_both_views_agree_on() -> None:
    """A mask that is handed back and a step that T leaves alone; not the pose, nor what is computed of it."""

    class Handing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 6)

        def forward(self, x: Tensor, mask: Tensor, step: Tensor) -> tuple[Tensor, ...]:
            return self.a(x), mask, step + 1, x.argmax(1)

    swap, still = turn(SignedPermutation.of([(0, 1)], size=6)), turn(SignedPermutation.identity(1))
    mask, step = torch.ones(3, 6, dtype=torch.bool), torch.ones(3, 1, dtype=torch.int64)
    graph = graph_of(Handing(), (torch.randn(3, 6), mask, step))
    of_rows = TensorRepresentation((Representation.trivial(3),)), None
    assert same_under(graph, [swap, swap, still], [swap, swap, still, of_rows]) == {1, 2}
    assert same_under(graph, [swap, None, still], [swap, None, still, of_rows]) == {2}
