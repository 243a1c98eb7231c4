"""One number that the mirror negates, as a turn rate or a lean: an axis of one entry has no place for its sign.

A weight of shape (n, 1) or (1, n) takes the sign itself, and the bias of one number beside it is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from chiralize import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import NegatedChannelsError

ONE = "skeleton: {joints: [rate], pairs: [], dims: [turn], negate: turn}"
BODY = "joints: [left, right], pairs: [[0, 1]], dims: [x, y], negate: x"
ROWS, STEPS, WIDTH = 64, 5, 16


class Dense(nn.Module):
    """Linear layers. In and out: `row feature`."""

    def __init__(self, entering: int, leaving: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(entering, WIDTH), nn.Linear(WIDTH, leaving)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)))


class Convolved(nn.Module):
    """Convolutions along time. In and out: `row feature step`."""

    def __init__(self, entering: int, leaving: int) -> None:
        super().__init__()
        self.first, self.last = nn.Conv1d(entering, WIDTH, 3), nn.Conv1d(WIDTH, leaving, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)))


class Recurrent(nn.Module):
    """An LSTM or a GRU. In and out: `row step feature`."""

    def __init__(self, entering: int, leaving: int, cell: Callable[..., nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.cell, self.last = cell(entering, WIDTH, batch_first=True), nn.Linear(WIDTH, leaving)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.cell(x)[0]))


class Gated(Recurrent):
    """The same with a GRU."""

    def __init__(self, entering: int, leaving: int) -> None:
        super().__init__(entering, leaving, nn.GRU)


class Products(nn.Module):
    """Matrix products, whose weights have the features that go in first. In and out: `row feature`."""

    def __init__(self, entering: int, leaving: int) -> None:
        super().__init__()
        sizes = (entering, WIDTH), (WIDTH,), (WIDTH, leaving)
        self.first, self.bias, self.last = (nn.Parameter(torch.randn(size)) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.first + self.bias) @ self.last


LAYOUTS: dict[type[nn.Module], str] = {
    Dense: "b {}", Convolved: "b {} t", Recurrent: "b t {}", Gated: "b t {}", Products: "b {}",
}  # fmt: skip


def described(is_one: bool, layout: str) -> str:
    """A tensor of one number, or of the coordinates of two joints."""
    return f"{{{ONE}, layout: {layout.format('d')!r}}}" if is_one else f"{{layout: {layout.format('(j d)')!r}}}"


def turned(values: Tensor, axis: int) -> Tensor:
    """The mirror image of one number, or of two joints of x and y."""
    if values.shape[axis] == 1:
        return -values
    left_x, left_y, right_x, right_y = values.unbind(axis)
    return torch.stack([-right_x, right_y, -left_x, left_y], axis)


@pytest.mark.parametrize("method", ["match", "reduce"])
@pytest.mark.parametrize("sides", [(1, 4), (4, 1), (1, 1)], ids=["in", "out", "both"])
@pytest.mark.parametrize("network", LAYOUTS)
def test_one_pass_with_one_number(network: type[nn.Module], sides: tuple[int, int], method: str) -> None:
    layout = LAYOUTS[network]
    inputs, outputs = (described(size == 1, layout) for size in sides)
    spec = parse_spec(f"{{{BODY}, inputs: [{inputs}], outputs: [{outputs}]}}")
    torch.manual_seed(0)
    axis = 2 if layout == "b t {}" else 1
    sizes = [ROWS, sides[0]] if axis == 1 else [ROWS, STEPS, sides[0]]
    if layout == "b {} t":
        sizes = [*sizes, STEPS]
    x = torch.randn(sizes, dtype=torch.float64)
    original = network(*sides).double().requires_grad_(False).eval()
    result = chiralize(original, spec, example_inputs=(x[:2],), calibration=x, method=method, force=True)
    assert result.chirality.report.way.form != "two-view"
    answers, image = result(x), result(turned(x, axis))
    torch.testing.assert_close(image, turned(answers, axis), atol=1e-9, rtol=0)
    assert float(answers.detach().std()) > 1e-3  # and it answers


def test_the_bias_of_a_negated_number_is_zero() -> None:
    torch.manual_seed(0)
    spec = parse_spec(f"{{{BODY}, inputs: [{described(False, 'b {}')}], outputs: [{described(True, 'b {}')}]}}")
    x = torch.randn(ROWS, 4)
    result = chiralize(Dense(4, 1), spec, example_inputs=(x[:2],), calibration=x, method="match", force=True)
    state = result.state_dict()
    assert not state["last.bias"].any()
    weight = state["last.weight"]
    assert weight.any() and torch.isin(weight, -weight).all()  # odd over pairs of hidden units


class Placed(nn.Module):
    """A part of a learned table (1, step, feature) is added before one number comes out. In: `row step feature`."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, WIDTH), nn.Linear(WIDTH, 1)
        self.places = nn.Parameter(torch.randn(1, 2 * STEPS, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.last((torch.relu(self.first(x)) + self.places[:, : x.shape[1]]).mean(1))


@pytest.mark.parametrize("method", ["match", "reduce"])
def test_one_pass_behind_a_table(method: str) -> None:
    spec = parse_spec(f"{{{BODY}, inputs: [{described(False, 'b t {}')}], outputs: [{described(True, 'b {}')}]}}")
    torch.manual_seed(0)
    x = torch.randn(ROWS, STEPS, 4, dtype=torch.float64)
    original = Placed().double().requires_grad_(False).eval()
    result = chiralize(original, spec, example_inputs=(x[:2],), calibration=x, method=method, force=True)
    assert result.chirality.report.way.form != "two-view"
    torch.testing.assert_close(result(turned(x, 2)), -result(x), atol=1e-9, rtol=0)
    assert float(result(x).detach().std()) > 1e-3


class Pooled(nn.Module):
    """Frames are weighed by a score of each: one unit, past which the features go. In: `row step feature`."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.first, self.score, self.last = nn.Linear(4, WIDTH), nn.Linear(WIDTH, 1), nn.Linear(WIDTH, 1)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        features = torch.relu(self.first(x))
        score = self.score(torch.tanh(features))
        if self.way == "gated":
            return self.last((features * torch.sigmoid(score)).mean(1))
        shares = torch.softmax(score, 1)
        if self.way == "product":
            return self.last((shares.transpose(1, 2) @ features)[:, 0])
        return self.last((features * shares).sum(1))


@pytest.mark.parametrize("way", ["sum", "product", "gated"])
def test_one_pass_beside_a_single_unit(way: str) -> None:
    spec = parse_spec(f"{{{BODY}, inputs: [{described(False, 'b t {}')}], outputs: [{described(True, 'b {}')}]}}")
    torch.manual_seed(0)
    x = torch.randn(ROWS, STEPS, 4, dtype=torch.float64)
    original = Pooled(way).double().requires_grad_(False).eval()
    result = chiralize(original, spec, example_inputs=(x[:2],), calibration=x, method="match", force=True)
    assert result.chirality.report.way.form != "two-view"
    torch.testing.assert_close(result(turned(x, 2)), -result(x), atol=1e-9, rtol=0)
    assert float(result(x).detach().std()) > 1e-3


class Scaled(nn.Module):
    """A learned factor of shape (1,) is no weight of one feature: a mirror cannot negate it away."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.factor = nn.Linear(4, 4), nn.Parameter(torch.tensor([1.5]))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.first(x)


def test_a_learned_factor_stays() -> None:
    torch.manual_seed(0)
    spec = parse_spec(f"{{{BODY}, inputs: [{described(False, 'b {}')}], outputs: [{described(False, 'b {}')}]}}")
    x = torch.randn(ROWS, 4)
    scaled = Scaled().requires_grad_(False)
    result = chiralize(scaled, spec, example_inputs=(x[:2],), calibration=x, method="match", force=True)
    torch.testing.assert_close(result(turned(x, 1)), turned(result(x), 1))
    assert float(result(x).detach().std()) > 0.1


class Grouped(nn.Module):
    """A filter for every joint, in groups of one, then layers that mix joints. `row joint step`."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.ConvTranspose1d(4, 4, 3, padding=1, groups=4)
        self.first, self.last = nn.Conv1d(4, WIDTH, 1), nn.Conv1d(WIDTH, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(self.filters(x))))


def test_filters_in_groups_keep_their_sign() -> None:
    """Those of partners are alike, whatever the mirror negates; odd ones would all be 0."""
    torch.manual_seed(0)
    text = "{joints: [a, b, c, d], pairs: [[0, 1], [2, 3]], dims: [q], negate: q, "
    spec = parse_spec(text + "inputs: [{layout: 'b j t'}], outputs: [{layout: 'b j t'}]}")
    original = Grouped().requires_grad_(False)
    original.filters.weight.data[:] = original.filters.weight.data[:1]
    x = torch.randn(ROWS, 4, STEPS)
    result = chiralize(original, spec, example_inputs=(x[:2],), calibration=x, method="project", force=True)
    torch.testing.assert_close(result.state_dict()["filters.weight"], original.filters.weight.data)


class Narrowed(nn.Module):
    """Through a single unit, which relu keeps even."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 1), nn.ReLU(), nn.Linear(1, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.mark.parametrize("method", ["match", "reduce"])
def test_what_is_odd_behind_a_single_unit_is_refused(method: str) -> None:
    """It would be 0 throughout; both views know better."""
    torch.manual_seed(0)
    spec = parse_spec(f"{{{BODY}, inputs: [{described(False, 'b {}')}], outputs: [{described(True, 'b {}')}]}}")
    x = torch.randn(ROWS, 4)
    with pytest.raises(NegatedChannelsError):
        chiralize(Narrowed(), spec, example_inputs=(x[:2],), calibration=x, method=method, force=True)
