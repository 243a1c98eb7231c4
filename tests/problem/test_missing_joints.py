"""Numbers that stand for joints that were not seen are told from points, whatever the number is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.graph.mirror import MirrorFit
from chiralize.graph.running import Call
from chiralize.problem.data.missing_joints import stored_for_missing
from chiralize.problem.data.odd_values import odd_values
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.verification.wrong_mirror import inputs_to_check
from tests.support.small_body import BODY, normal

PIXELS = BODY + "negate: x\ninputs: [{layout: b j d, reflect: {x: 320}}]\noutputs: [{layout: b j d}]\n"
CENTERED = BODY + "negate: x\ninputs: [{layout: b j d}]\noutputs: [{layout: b j d}]\n"
MISSING = torch.rand(300, 6, generator=torch.Generator().manual_seed(1)) < 0.05


def network(spec: str, values: Tensor) -> tuple[Network, list[Call]]:
    """One on coordinates, without moments, and the samples as calls."""
    return prepare(nn.Linear(2, 2).double(), parse_spec(spec), (values[:3],)), [
        ((part,), {}) for part in values.split(50)
    ]


def poses(about: float, spread: float, missing: float | None) -> Tensor:
    """Samples of which a share of the joints is stored as a number in both coordinates."""
    drawn = about + spread * normal(300, 6, 2, seed=3).double()
    if missing is not None:
        drawn[MISSING] = missing
    return drawn


@pytest.mark.parametrize(
    ("spec", "about", "spread", "missing", "image"),
    [
        (PIXELS, 320, 100, 0.0, 640),
        (PIXELS, 320, 100, -1.0, 641),
        (CENTERED, 0, 0.4, -1.0, 1),  # 2 x / W - 1 of 0
        (CENTERED, 0, 0.4, 9.0, -9),
    ],
)
def test_what_stands_for_missing_joints(spec: str, about: float, spread: float, missing: float, image: float) -> None:
    kept, calls = network(spec, poses(about, spread, missing))
    stored = stored_for_missing(kept.resolved.input_tensors[0], calls)
    assert stored is not None and (stored.value, stored.image) == (missing, image)
    assert stored.share == pytest.approx(float(MISSING.double().mean()))
    (said,) = odd_values(kept, calls)
    assert f"hold exactly {missing:g} in 4.4 % of the coordinates of input 0 that T negates" in said
    assert f"and hardly ever {image:g}, its mirror image" in said
    assert ("`missing: zero` says what they are" in said) == (missing == 0)
    assert inputs_to_check(kept, calls, MirrorFit(1.0)).startswith(
        f"fill in the joints of input 0 that are stored as {missing:g} (4.4 %"
    )


def test_saying_so_takes_no_warning_away() -> None:
    """T takes them for points all the same."""
    kept, calls = network(PIXELS.replace("{x: 320}", "{x: 320}, missing: zero"), poses(320, 100, 0.0))
    (said,) = odd_values(kept, calls)
    assert "These joints are missing, and T takes them for points" in said
    assert "reads coordinates less their centre, 320, and 0 for missing" in said


def test_a_number_for_each_coordinate() -> None:
    """As 2 x / W - 1 and 2 y / W - H / W are of 0."""
    values = poses(0, 0.4, None)
    values[MISSING] = torch.tensor([-1.0, -0.5625], dtype=values.dtype)
    kept, calls = network(CENTERED, values)
    stored = stored_for_missing(kept.resolved.input_tensors[0], calls)
    assert stored is not None and stored.value == -1.0


def clipped() -> Tensor:
    return poses(0, 0.8, None).clamp(-1, 1)


def still() -> Tensor:
    """A joint that never moves, as a root does."""
    values = poses(0, 0.4, None)
    values[:, 2] = 0.3
    return values


def on_a_line() -> Tensor:
    """Players who stand on the line of a court at times, which is 0, wherever they are along it."""
    values = poses(320, 100, None)
    return torch.where(values[..., :1] < 250, values * torch.tensor([0.0, 1.0]), values)


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        (PIXELS, on_a_line()),
        (CENTERED, poses(0, 0.4, None)),
        (CENTERED, poses(0, 0.4, 0.0)),  # at the centre: its own image
        (CENTERED, clipped()),
        (CENTERED, still()),
        (PIXELS, poses(320, 100, None)),
        (PIXELS, poses(320, 100, 320.0)),
        (PIXELS, poses(320, 20, None).round()),  # whole pixels
    ],
)
def test_points_are_no_missing_joints(spec: str, values: Tensor) -> None:
    kept, calls = network(spec, values)
    assert stored_for_missing(kept.resolved.input_tensors[0], calls) is None
    assert list(odd_values(kept, calls)) == []


GAZE = "name: fixation\njoints: [fix]\npairs: []\ndims: [x, y]\nnegate: [x]\noutputs: [{layout: b j d}]\n"
IN_FIELDS = GAZE + 'inputs: [{layout: "b t f", fields: [{joints: gaze, reflect: {x: 0.5}}, {scalar: [duration]}]}]\n'
X_ALONE = GAZE + 'inputs: [{layout: "b t f", fields: [{joints: gaze, dims: [x], reflect: {x: 0.5}}]}]\n'


def on_a_screen(low: float, high: float, width: int, missing: float | None = None) -> Tensor:
    """Where someone looked on a screen, clipped to it, in single precision; samples of 6 fixations."""
    drawn = (0.5 + 0.25 * normal(300, 6, width, seed=4)).clamp(low, high)
    if missing is not None:
        drawn[MISSING] = missing
    return drawn.float().double()


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        (IN_FIELDS, on_a_screen(0.01, 0.99, 3)),
        (IN_FIELDS, on_a_screen(0.0, 1.0, 3)),
        (IN_FIELDS, on_a_screen(-9.0, 0.96, 3)),  # at one side: wherever they are in y
        (X_ALONE, on_a_screen(0.01, 0.99, 1)),
        (X_ALONE, on_a_screen(0.02, 0.96, 1)),  # borders that are no images of each other
        (X_ALONE, on_a_screen(0.0, 1.0, 1)),
        (X_ALONE, on_a_screen(0.0, 0.96, 1)),
    ],
)
def test_positions_clipped_to_a_screen_are_points(spec: str, values: Tensor) -> None:
    """Half a unit in the last place stood between 0.01 and the mirror image of 0.99."""
    kept, calls = screen(spec, values)
    assert stored_for_missing(kept.resolved.input_tensors[0], calls) is None


@pytest.mark.parametrize(
    ("spec", "values", "missing"),
    [
        (IN_FIELDS, on_a_screen(-9.0, 9.0, 3, 0.0), 0.0),
        (IN_FIELDS, on_a_screen(-9.0, 9.0, 3, -1.0), -1.0),
        (IN_FIELDS, on_a_screen(0.0, 1.0, 3, 0.0), 0.0),  # y is 0 as well: most are no points of the border
        (X_ALONE, on_a_screen(-9.0, 9.0, 1, 0.0), 0.0),
        (X_ALONE, on_a_screen(-9.0, 9.0, 1, -1.0), -1.0),
        (X_ALONE, on_a_screen(0.02, 0.98, 1, -1.0), -1.0),
    ],
)
def test_missing_positions_on_a_screen_are_told(spec: str, values: Tensor, missing: float) -> None:
    kept, calls = screen(spec, values)
    stored = stored_for_missing(kept.resolved.input_tensors[0], calls)
    assert stored is not None and stored.value == missing


def test_a_number_that_rounding_hides_is_told() -> None:
    """0.5 - 1e-18 is 0.5: the number is read as 0, which no value is."""
    kept, calls = screen(X_ALONE, on_a_screen(-9.0, 9.0, 1, 1e-18))
    stored = stored_for_missing(kept.resolved.input_tensors[0], calls)
    assert stored is not None and stored.value == 0


def screen(spec: str, values: Tensor) -> tuple[Network, list[Call]]:
    """A network on six fixations that answers the next one, and the samples as calls."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(values[0].numel(), 2), nn.Unflatten(1, (1, 2))).double()
    return prepare(model, parse_spec(spec), (values[:3],)), [((part,), {}) for part in values.split(50)]
