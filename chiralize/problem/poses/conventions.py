"""Ways in which people write poses down, each tried on a network: what the numbers are, and in which units.

Nothing says which of them a network was trained on. They differ in where the origin lies (the middle of the image, the
hip, the middle of the person), in which way y points, and in the unit.

A convention is a name and a function from a drawn scene to numbers, "motion frame joint 2" or 3. `builtin` writes the
same scene in all of them, and `evidence` says which the network knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from chiralize.body.skeleton.anatomy import Landmark
from chiralize.errors.words import when
from chiralize.problem.poses.camera import Scene, projected
from chiralize.problem.poses.figure import placed
from chiralize.problem.poses.filling import Form
from chiralize.problem.poses.motion import JOINTS

Array = npt.NDArray[np.float64]
_RATIOS = (1.0, 0.75, 0.5625)
"""Heights of an image over its width."""
_IMAGE_SCALES = (1.0, 0.5, 2.0, 500.0, 1000.0)
"""Units of image coordinates: half the width, shares of it, and about as many pixels."""
_SPACE_SCALES = (1.0, 1000.0)
"""Metres and millimetres."""
_BETWEEN = (0.7, 1.4)
"""Units about the best one that was tried, as shares of it."""


@dataclass(frozen=True)
class View:
    """The points of a skeleton in a scene, "motion frame point dim", in several frames."""

    scene: Scene
    points: Sequence[Landmark]

    @cached_property
    def camera(self) -> Array:
        """Metres: x right, y down, z forward."""
        return placed_before_camera(self.points, self.scene.camera)

    @cached_property
    def world(self) -> Array:
        """Metres: y up, the floor at 0."""
        return placed(self.points, self.scene.world)

    @cached_property
    def image(self) -> Array:
        """Over half the width of the image: x right, y down, the axis at 0."""
        return projected(self.camera, self.scene.focal)

    @property
    def image_hip(self) -> Array:
        """The hip in the image."""
        return projected(self.camera_hip, self.scene.focal)

    @property
    def camera_hip(self) -> Array:
        """The hip before the camera."""
        hip = JOINTS.index("hip")
        return self.scene.camera[:, :, hip : hip + 1]


def placed_before_camera(points: Sequence[Landmark], joints: Array) -> Array:
    """Points of bodies in the frame of a camera, whose y points down and z away: both are turned, and turned back."""
    turn = np.array([1.0, -1.0, -1.0])
    return placed(points, joints * turn) * turn


@dataclass(frozen=True)
class Convention:
    """A way to write poses down. name: in words.  numbers: coordinates "motion frame joint 2" or 3 of a view.

    scales: units to try where the network remembers none; where there are several, any other unit may be right as well.
    scale: the unit of this one.  in_space: the numbers tell the depth.
    """

    name: str
    numbers: Callable[[View], Array]
    scales: Sequence[float] = (1.0,)
    scale: float = 1.0
    in_space: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the unit is open."""
        return len(self.scales) > 1

    @property
    def title(self) -> str:
        """The name with the unit."""
        if self.scale == 1.0:
            return self.name
        return f"{self.name}, times {float(f'{self.scale:.3g}'):g}"

    def values(self, view: View) -> Array:
        """Coordinates of the points of a view, in this unit."""
        return self.scale * self.numbers(view)

    def at(self, scale: float) -> Convention:
        """The same in a unit that many times as small."""
        return replace(self, scales=(1.0,), scale=self.scale * scale)

    def between(self) -> Convention:
        """The same in units between those that were tried."""
        return replace(self, scales=_BETWEEN)


def conventions(form: Form, reflect: Mapping[str, float]) -> Iterator[Convention]:
    """The conventions that the numbers of a form may follow, the commonest first.

    reflect: points at which the mirror takes coordinates, 320 for images of 640 pixels.
    """
    if reflect.get("x"):  # the mirror's own point gives the width of the image: no other convention has it
        yield from _of_pixels(reflect["x"])
        return
    # Three numbers a joint may be x, y and a score; the depth cannot be told from it by the shape.
    if form.coordinates == 2 or len(form.dims) == 3:
        beside = when(form.coordinates != 2, " with a score")
        for convention in _of_images():
            yield replace(convention, name=convention.name + beside)
    if form.coordinates == 3:
        yield from _OF_SPACE


def _of_pixels(half: float) -> Iterator[Convention]:
    """Pixels from the corner of an image, of several heights.  half: of its width."""
    for ratio in _RATIOS:
        name = f"pixels of an image of {2 * half:g} by {2 * half * ratio:g}"
        yield Convention(name, partial(_pixels, half, ratio))


def _of_images() -> Iterator[Convention]:
    """Coordinates in an image whose middle, or whose person, lies at 0; the commonest first."""
    yield Convention("image coordinates over half the width", _in_image, _IMAGE_SCALES)
    yield Convention("image coordinates, relative to the hip", _in_image_from_hip, _IMAGE_SCALES)
    yield Convention("image coordinates, the person from -1 to 1", _boxed, (1.0, 0.5))
    yield Convention("image coordinates, y up", _upright(_in_image), _IMAGE_SCALES)
    yield Convention("image coordinates, relative to the hip, y up", _upright(_in_image_from_hip), _IMAGE_SCALES)
    yield Convention("image coordinates, standardised", _standardised(_in_image))
    yield Convention("image coordinates, relative to the hip, standardised", _standardised(_in_image_from_hip))
    for ratio in _RATIOS[1:]:
        name = f"image coordinates, x and y from -1 to 1, of an image {1 / ratio:.3g} times as wide as high"
        yield Convention(name, partial(_stretched, ratio))


def _in_space(name: str, numbers: Callable[[View], Array], scales: Sequence[float] = _SPACE_SCALES) -> Convention:
    """A convention of three coordinates, which tell the depth themselves."""
    return Convention(name, numbers, scales, in_space=True)


def _pixels(half: float, ratio: float, view: View) -> Array:
    """x from 0 to 2 half, y from 0 to 2 half ratio."""
    return half * (view.image + np.array([1.0, ratio]))


def _stretched(ratio: float, view: View) -> Array:
    """y over half the height, where others have it over half the width."""
    return view.image * np.array([1.0, 1 / ratio])


def _in_image(view: View) -> Array:
    """The axis of the camera at 0."""
    return view.image


def _in_image_from_hip(view: View) -> Array:
    """The hip at 0 in every frame."""
    return view.image - view.image_hip


def _boxed(view: View) -> Array:
    """The person's box over all frames: its middle at 0, its longer side from -1 to 1."""
    low, high = view.image.min((1, 2), keepdims=True), view.image.max((1, 2), keepdims=True)
    return (view.image - (low + high) / 2) / ((high - low).max(-1, keepdims=True) / 2)


def _from_hip(view: View) -> Array:
    """Metres in the frame of the camera, the hip at 0 in every frame."""
    return view.camera - view.camera_hip


def _upright(values: Callable[[View], Array]) -> Callable[[View], Array]:
    """The same with y up."""
    return lambda view: values(view) * np.array([1.0, -1.0])


def _turned(values: Callable[[View], Array]) -> Callable[[View], Array]:
    """y up and z backwards: the camera's frame turned about x."""
    return lambda view: values(view) * np.array([1.0, -1.0, -1.0])


def _z_up(view: View) -> Array:
    """x right, y away from the camera, z up."""
    x, y, z = np.moveaxis(_from_hip(view), -1, 0)
    return np.stack([x, z, -y], -1)


def _standardised(values: Callable[[View], Array]) -> Callable[[View], Array]:
    """Every coordinate of every joint with the mean 0 and the spread 1, partners alike."""

    def scaled(view: View) -> Array:
        """As said."""
        given = values(view)
        spread = given.std((0, 1))
        return (given - given.mean((0, 1))) / np.maximum(spread, 1e-3 * spread.max())

    return scaled


_OF_SPACE = (
    _in_space("metres before the camera, relative to the hip", _from_hip),
    _in_space("metres, relative to the hip, y up", _turned(_from_hip)),
    _in_space("metres, relative to the hip, z up", _z_up),
    _in_space("metres before the camera", lambda view: view.camera),
    _in_space("metres, y up, the floor at 0", lambda view: view.world),
    _in_space("metres, relative to the hip, standardised", _standardised(_from_hip), (1.0,)),
)
