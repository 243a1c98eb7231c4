"""The certificate for networks that average over both views: it proves them, and only them."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from chiralize.graph.export import export
from chiralize.graph.regions import collapse
from chiralize.infer.capture import capture
from chiralize.nn.two_view import TwoView
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.average_proof import why_no_average
from tests.support.small_body import ROUNDING, Net, converted, normal, residual, trained, verdicts

SIX = SignedPermutation.of([(0, 1), (2, 3)], negated=[4], size=6)
OTHER = SignedPermutation.of([(0, 2)], size=6)


def rep(action: SignedPermutation) -> TensorRepresentation:
    return TensorRepresentation((Representation.trivial(3), Representation.of(action)))


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
    module: nn.Module, action: SignedPermutation = SIX, args: tuple[Tensor, ...] = (torch.zeros(3, 6),)
) -> str | None:
    captured = capture(export(module.eval(), args, {}), args, {})
    return why_no_average(captured, (rep(action),), (rep(action),), {})


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

    args, still = (torch.zeros(3, 6),), TensorRepresentation((Representation.trivial(3),))
    captured = capture(export(Drawing().eval(), args, {}), args, {})
    assert [node for node in captured.nodes if node.draws_numbers]
    assert why_no_average(captured, (rep(SIX),), (still,), {}) == "output 0"
    assert why_no_average(captured, (rep(SignedPermutation.identity(6)),), (still,), {}) is None


def test_two_regions_are_no_views_of_one_network() -> None:
    """Regions read values alone; what they compute is within them."""
    args = (torch.zeros(3, 6),)
    captured = collapse(capture(export(Views("weights").eval(), args, {}), args, {}), ("net#0", "second#0"))
    assert [node.name for node in captured.nodes if node.inner is not None] == ["net#0", "second#0"]
    assert why_no_average(captured, (rep(SIX),), (rep(SIX),), {}) == "output 0"


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


def test_a_choice_of_entries_is_no_permutation() -> None:
    class Prefix(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x.index_select(1, torch.arange(5)), x[:, 5:]], 1).index_select(1, torch.arange(6))

    swap = SignedPermutation.of([(4, 5)], size=6)
    assert broken(Prefix(), SignedPermutation.identity(6)) is None
    assert broken(Prefix(), swap) == "output 0"  # cautious: it would commute, but is not taken apart


class Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.register_buffer("h", torch.zeros(3, 6))

    def forward(self, x: Tensor) -> Tensor:
        self.h.copy_(torch.tanh(self.a(x) + self.h))
        return self.h + 0.0


def states(swapped: Callable[[str], str], start: float = 0.0) -> str | None:
    """The proof's answer for an average whose second view starts from `start` in place of 0."""
    module = TwoView(Remembering(), [rep(SIX)], [rep(SIX)], own_buffers=True).eval()
    module.get_buffer("views.1.h").fill_(start)
    args = (torch.zeros(3, 6),)
    captured = capture(export(module, args, {}), args, {})
    leaves = {leaf.names[0]: leaf.name for leaf in captured.leaves.values() if leaf.kind == "state"}
    exchange = {leaf: leaves[swapped(name)] for name, leaf in leaves.items()}
    return why_no_average(captured, (rep(SIX),), (rep(SIX),), exchange)


def test_states_are_exchanged() -> None:
    other = {"views.0.h": "views.1.h", "views.1.h": "views.0.h"}
    assert states(lambda name: other[name]) is None
    assert states(lambda name: name) is not None


def test_states_start_alike() -> None:
    """Views that start from different states answer x and T x differently, whatever they write later."""
    other = {"views.0.h": "views.1.h", "views.1.h": "views.0.h"}
    assert states(lambda name: other[name], 1.0) == "state views.0.h"


class Cells(nn.Module):
    """Two memories, which are called as the two views of an average are."""

    def __init__(self) -> None:
        super().__init__()
        self.views = nn.ModuleList([Remembering(), Remembering()])

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.views
        return (first(x.flatten(1)[:, :6]) + 2 * second(x.flatten(1)[:, 6:])).repeat(1, 2).view(-1, 6, 2)


def test_states_may_be_called_as_views_are() -> None:
    found = converted(trained(Cells()), method="average")
    assert verdicts(found)[:2] == (True, True)


def test_constants_of_one_entry_are_read_whatever_their_strides() -> None:
    net = Net(
        lambda s, x: s.layer(x.flatten(1)).view(-1, 6, 2) * s.c[:, 2, 2], layer=nn.Linear(12, 12), c=normal(1, 3, 3)
    )
    found = converted(trained(net), method="average")
    assert residual(found, (3, 6, 2)) <= ROUNDING
    assert verdicts(found)[:2] == (True, True)


@pytest.mark.parametrize(("read", "answered"), [(1, 6), (6, 1), (1, 1)])
def test_one_number_that_is_negated(read: int, answered: int) -> None:
    """A signed handedness, a direction: an axis of one entry has its sign in the graph as a factor of the whole."""
    one, six = SignedPermutation.of([], negated=[0], size=1), SIX
    net = nn.Sequential(nn.Linear(read, 8), nn.ReLU(), nn.Linear(8, answered))
    turns = tuple(rep(one if size == 1 else six) for size in (read, answered))
    views, args = TwoView(net, (turns[0],), (turns[1],)).eval(), (torch.randn(3, read),)
    captured = capture(export(views, args, {}), args, {})
    assert why_no_average(captured, (turns[0],), (turns[1],), {}) is None
    kept = rep(SignedPermutation.identity(answered))
    assert why_no_average(captured, (turns[0],), (kept,), {}) == "output 0"


# ---- equal as real numbers, and not as what they are -----------------------------------------------------------------
def compared(pair: Callable[[Tensor], tuple[Tensor, ...]]) -> str | None:
    """Whether two values of x, which has 6 entries, are proved to be what T makes of each other, and change places.

    T exchanges entries 4 and 5 of x and leaves the others alone.
    """

    class Two(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([value.to(x.dtype).reshape(3, 1) for value in pair(x)], 1)

    args, swap = (torch.rand(3, 6, dtype=torch.float64),), SignedPermutation.of([(4, 5)], size=6)
    captured = capture(export(Two().eval(), args, {}), args, {})
    answer = rep(SignedPermutation.of([(0, 1)], size=2))
    return why_no_average(captured, (rep(swap),), (answer,), {})


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
