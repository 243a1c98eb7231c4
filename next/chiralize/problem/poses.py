"""Drawn people as this network knows them, or none where nothing tells.

Nothing says how people write poses down: where the origin lies (the middle of the image, the hip, the middle of the
person), which way y points, which unit. The same drawn people are written in all conventions, and the network is asked
which it was trained on.

Memory: the first batch norm has the mean and variance of every channel in training, which another order, unit or origin
shifts and changes (`memory`).

Answers: a network that takes poses in the image to poses in space is shown people whose depth is known. What it says of
the depth follows the truth only where poses are written down as it learned them; nothing in a single number of the
input tells the depth, so that no other network can seem to know it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, log, prod

import numpy as np
import numpy.typing as npt
from torch import Tensor

from chiralize.body.resolve import OnTensor
from chiralize.errors import ModelRunError
from chiralize.graph.run import Runner, results
from chiralize.problem.inputs import any_size
from chiralize.problem.landmarks import Landmark, landmarks, placed
from chiralize.problem.memory import Memory, memory_of
from chiralize.problem.motion import JOINTS, Scene, draw, longest, projected, scene
from chiralize.problem.network import Network
from chiralize.problem.table import Table

Array = npt.NDArray[np.float64]
_SAMPLES, _FEWEST, _MOST, _MOST_BESIDE = 2_500, 600, 2e6, 6e5
"""People to fit on, how many at least of long clips, and numbers of all: fewer beside inputs of the user (0065)."""
_ASKED, _LEAST_ASKED = 128, 32
"""People on which the network is asked, and how many at least where they are long clips."""
_SEEDS = 41, 7
"""Of the people on which it is asked, and of those that are fitted."""
_MOST_SHIFT, _MOST_FACTOR = 0.5, 1.6
"""At the first batch norm, of conventions that it knows (decision 0040)."""
_KNOWN, _KNOWN_BESIDE = 0.7, 0.63
"""Share of the depth's variance that answers must explain: lifters that err by 68 mm explain 0.66, in wrong axes 0.60
is explained at most (decision 0078)."""
_UNIT = 1.25
"""Ratio of spreads from which the unit differs; a smaller one may come from other people."""
_RATIOS, _IMAGE_SCALES, _SPACE_SCALES = (1.0, 0.75, 0.5625), (1.0, 0.5, 2.0, 500.0, 1000.0), (1.0, 1000.0)
"""Heights of an image over its width; units of image coordinates (half widths, shares, pixels); metres, millimetres."""
_ROWS = 64
"""Samples of a batch that the network is asked with."""
_AXES = ("x", "y", "z")
_SCORES = ("c", "s", "v", "conf", "confidence", "score", "visibility", "presence")
_PEOPLE = ("m", "person", "persons", "people")


@dataclass(frozen=True)
class People:
    """Drawn people in a network's convention. words: what they are, and what speaks for them."""

    table: Table
    words: str


def drawn_people(network: Network, beside: bool = False) -> People | None:
    """People that fit what the network remembers or answers; None where none do, or nothing tells.

    beside: they stand beside inputs of the user, which are right in any case. Then less has to speak for them.
    """
    form = Form.of(network.resolved.inputs[0]) if len(network.resolved.inputs) == 1 else None
    if form is None or form.frames > longest() or network.captured is None:
        return None
    chosen = _fitting(network, form, beside)
    if chosen is None:
        return None
    most = _MOST_BESIDE if beside else _MOST
    count = int(min(_SAMPLES, max(_FEWEST, most / prod(form.sizes))))
    table = _written(network, form, chosen.convention, View.of(form, count, _SEEDS[1]))
    return People(table, f"{chosen.convention.title}; {chosen.words}")


# ---- how poses lie in a tensor --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Form:
    """How poses lie in a tensor.

    points: of every joint.  dims: names of the coordinates.  words: of all axes in order, without others of size 1.
    frames: how many there are; 1 where no axis is time.  time: the word of that axis.  sizes: of one sample.
    center: of x, where the mirror is affine.
    """

    points: tuple[Landmark, ...]
    dims: tuple[str, ...]
    words: tuple[str, ...]
    frames: int
    time: str
    sizes: tuple[int, ...]
    center: float = 0.0

    @staticmethod
    def of(tensor: OnTensor) -> Form | None:
        """The form of a tensor; None where its entries are no positions of a human body's joints."""
        pose = tensor.pose
        points = landmarks(pose.body) if pose is not None and tensor.kind == "pose" and tensor.has_rows else None
        if pose is None or points is None or not _are_positions(tensor):
            return None
        # At most one axis beside samples, joints and coordinates: it is time, unless its word says people.
        sizes = dict(pose.sizes)
        others = [word for word in pose.layout.words if word not in ("b", "j", "d") and sizes[word] > 1]
        if len(others) > 1 or {*others} & {*_PEOPLE}:
            return None
        time = others[0] if others else ""
        words = tuple(word for word in pose.layout.words if word in ("b", "j", "d", time))
        center = dict(tensor.entry.reflect).get("x", 0)
        return Form(points, pose.body.dims, words, sizes.get(time, 1), time, tensor.shape[1:], float(center or 0))

    @property
    def coordinates(self) -> int:
        """How many dims are coordinates: 2 or 3."""
        return sum(dim in _AXES for dim in self.dims)

    @property
    def _present(self) -> list[str]:
        """The words of samples, frames, joints and coordinates that the tensor has, in this order."""
        return [word for word in ("b", self.time, "j", "d") if word in self.words]

    def filled(self, values: Array) -> Array:
        """The tensor, "sample ...", of coordinates "sample frame joint 2" or 3; scores are 1."""
        whole = np.ones((*values.shape[:3], len(self.dims)))
        for column, dim in enumerate(self.dims):
            if dim in _AXES and _AXES.index(dim) < values.shape[-1]:
                whole[..., column] = values[..., _AXES.index(dim)]
        whole = whole if self.time else whole[:, 0]
        whole = whole.transpose([self._present.index(word) for word in self.words])
        return np.ascontiguousarray(whole).reshape(len(values), *self.sizes)

    def read(self, tensor: Tensor) -> Array:
        """The inverse of `filled`, with all dims: "sample frame joint dim"."""
        sizes = {"b": len(tensor), self.time: self.frames, "j": len(self.points), "d": len(self.dims)}
        whole = tensor.detach().double().cpu().numpy().reshape([sizes[word] for word in self.words])
        whole = whole.transpose([self.words.index(word) for word in self._present])
        return whole if self.time else whole[:, None]


def _are_positions(tensor: OnTensor) -> bool:
    """Whether the dims are x y or x y z, with scores beside them, and the mirror negates x and nothing else."""
    assert tensor.pose is not None
    body, layout = tensor.pose.body, tensor.pose.layout
    coordinates = tuple(dim for dim in body.dims if dim in _AXES)
    others = [dim for dim in body.dims if dim not in _AXES and dim.lower() not in _SCORES]
    if others or coordinates not in (_AXES[:2], _AXES) or tuple(body.negate) != ("x",) or body.signs:
        return False
    return layout.words.count("j") == layout.words.count("d") == 1 and not tensor.pose.turned


# ---- how people write them down -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class View:
    """The points of a skeleton in a scene, "motion frame point dim", in several frames of reference.

    camera: metres, x right, y down, z forward.  world: metres, y up, the floor at 0.  image: over half the width, x
    right, y down, the axis at 0.  hip, image_hip: of every frame.
    """

    camera: Array
    world: Array
    image: Array
    hip: Array
    image_hip: Array

    @staticmethod
    def of(form: Form, count: int, seed: int) -> View:
        """So many drawn people."""
        drawn: Scene = scene(draw(count, form.frames, seed), seed)
        turn = np.array([1.0, -1.0, -1.0])  # bodies are placed with y up and z towards the camera
        camera = placed(form.points, drawn.camera * turn) * turn
        hip = drawn.camera[:, :, JOINTS.index("hip")][:, :, None]
        image, image_hip = projected(camera, drawn.focal), projected(hip, drawn.focal)
        return View(camera, placed(form.points, drawn.world), image, hip, image_hip)


@dataclass(frozen=True)
class Convention:
    """A way to write poses down. numbers: from a view, in the unit `scale`.  scales: units that are tried.

    in_space: the numbers tell the depth, so that answers tell nothing.
    """

    name: str
    numbers: Callable[[View], Array]
    scales: Sequence[float] = (1.0,)
    scale: float = 1.0
    in_space: bool = False

    @property
    def title(self) -> str:
        """The name with the unit."""
        return self.name if self.scale == 1 else f"{self.name}, times {float(f'{self.scale:.3g}'):g}"

    def at(self, scale: float) -> Convention:
        """The same in a unit that many times as small."""
        return replace(self, scale=self.scale * scale)


def conventions(form: Form) -> Iterator[Convention]:
    """The conventions that the numbers of a form may follow, the commonest first."""
    if form.center:  # the mirror's point gives the width of the image: no other convention has it
        for ratio in _RATIOS:
            name = f"pixels of an image of {2 * form.center:g} by {2 * form.center * ratio:g}"
            yield Convention(name, partial(_pixels, form.center, ratio))
        return
    # Three numbers a joint may be x, y and a score; the depth cannot be told from it by the shape.
    if form.coordinates == 2 or len(form.dims) == 3:
        yield from _of_images()
    if form.coordinates == 3:
        yield from _OF_SPACE


def _of_images() -> Iterator[Convention]:
    """Coordinates in an image whose middle, or whose person, lies at 0."""
    up = np.array([1.0, -1.0])
    bases = {"": lambda view: view.image, ", relative to the hip": lambda view: view.image - view.image_hip}
    for words, values in bases.items():
        yield Convention(f"image coordinates over half the width{words}", values, _IMAGE_SCALES)
    yield Convention("image coordinates, the person from -1 to 1", _boxed, (1.0, 0.5))
    for words, values in bases.items():
        yield Convention(f"image coordinates{words}, y up", partial(_times, up, values), _IMAGE_SCALES)
        yield Convention(f"image coordinates{words}, standardised", partial(_standardised, values))
    for ratio in _RATIOS[1:]:
        stretched = partial(_times, np.array([1.0, 1 / ratio]), bases[""])
        yield Convention(f"x and y from -1 to 1 of an image {1 / ratio:.3g} times as wide as high", stretched)


def _times(factors: Array, values: Callable[[View], Array], view: View) -> Array:
    """Every coordinate times a factor."""
    return values(view) * factors


def _pixels(half: float, ratio: float, view: View) -> Array:
    """x from 0 to 2 half, y from 0 to 2 half ratio."""
    return half * (view.image + np.array([1.0, ratio]))


def _boxed(view: View) -> Array:
    """The person's box over all frames: its middle at 0, its longer side from -1 to 1."""
    low, high = view.image.min((1, 2), keepdims=True), view.image.max((1, 2), keepdims=True)
    return (view.image - (low + high) / 2) / ((high - low).max(-1, keepdims=True) / 2)


def _standardised(values: Callable[[View], Array], view: View) -> Array:
    """Every coordinate of every joint with the mean 0 and the spread 1."""
    given = values(view)
    spread = given.std((0, 1))
    return (given - given.mean((0, 1))) / np.maximum(spread, 1e-3 * spread.max())


def _from_hip(view: View) -> Array:
    """Metres in the frame of the camera, the hip at 0 in every frame."""
    return view.camera - view.hip


def _z_up(view: View) -> Array:
    """x right, y away from the camera, z up."""
    x, y, z = np.moveaxis(_from_hip(view), -1, 0)
    return np.stack([x, z, -y], -1)


_SPACES: dict[str, Callable[[View], Array]] = {
    "before the camera, relative to the hip": _from_hip,
    "relative to the hip, y up": partial(_times, np.array([1.0, -1.0, -1.0]), _from_hip),
    "relative to the hip, z up": _z_up,
    "before the camera": lambda view: view.camera,
    "y up, the floor at 0": lambda view: view.world,
}
_OF_SPACE = [Convention(f"metres, {name}", values, _SPACE_SCALES, in_space=True) for name, values in _SPACES.items()]
_OF_SPACE.append(Convention("metres, standardised", partial(_standardised, _from_hip), in_space=True))


# ---- which of them the network knows --------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Evidence:
    """How well a convention fits: distance 0 is best. share: of the depth, which answers explain; None for none."""

    convention: Convention
    distance: float
    is_remembered: bool = True
    words: str = ""
    share: float | None = None


def _fitting(network: Network, form: Form, beside: bool) -> _Evidence | None:
    """The convention that fits best. Where there is a memory it chooses, and answers have to bear it out."""
    view = View.of(form, max(_ASKED // max(form.frames // 9, 1), _LEAST_ASKED), _SEEDS[0])
    tried, memory, answers = list(conventions(form)), memory_of(network), _answer_forms(network, form)
    if memory.norm is not None:
        evidence = [each for convention in tried for each in _of_memory(memory, network, form, view, convention)]
    else:
        scaled = [convention.at(scale) for convention in tried for scale in convention.scales]
        shares = [(convention, _share(network, form, view, convention, answers)) for convention in scaled]
        evidence = [_Evidence(convention, 1 - share, share=share) for convention, share in shares if share is not None]
    if not evidence:
        return None
    best = min(evidence, key=lambda each: each.distance)
    if memory.norm is not None:
        best = replace(best, share=_share(network, form, view, best.convention, answers))
    least = _KNOWN_BESIDE if beside else _KNOWN
    if not best.is_remembered or (best.share is not None and best.share < least):
        return None
    said = [] if best.share is None else [f"its answers explain {best.share:.0%} of the depth of people it never saw"]
    return replace(best, words=", and ".join(filter(None, [best.words, *said])))


def _written(network: Network, form: Form, convention: Convention, view: View) -> Table:
    """People in a convention as a table of the network, in batches that it takes."""
    array = form.filled(convention.scale * convention.numbers(view))
    return any_size(network, Table({0: array}, network.example, where="drawn people"))


def _of_memory(memory: Memory, network: Network, form: Form, view: View, convention: Convention) -> Iterator[_Evidence]:
    """The convention in the unit that its name says, and in the one that the memory suggests."""
    for _ in range(2):
        likeness = memory.likeness(network, _written(network, form, convention, view))
        if likeness is None:
            return
        shift, factor, scale = likeness.shift, likeness.factor, likeness.scale
        is_remembered = shift <= _MOST_SHIFT and factor <= _MOST_FACTOR
        words = (
            f"at {likeness.name} means are off by {shift:.2g} of their spread, variances by a factor of {factor:.2g}"
        )
        yield _Evidence(convention, shift**2 + log(factor) ** 2, is_remembered, words)
        if len(convention.scales) == 1 or not 0 < scale < inf or 1 / _UNIT <= scale <= _UNIT:
            return
        convention = convention.at(1 / scale)


def _answer_forms(network: Network, form: Form) -> list[tuple[int, Form]]:
    """Outputs that are poses in space, by their number, of a network that takes poses in the image."""
    if form.coordinates != 2 and len(form.dims) != 3:
        return []
    forms = [(tensor.index, Form.of(tensor)) for tensor in network.resolved.outputs]
    return [(index, answer) for index, answer in forms if answer is not None and len(answer.dims) == 3]


def _share(
    network: Network, form: Form, view: View, convention: Convention, answers: Sequence[tuple[int, Form]]
) -> float | None:
    """The least share of the depth that an answer explains; None where nothing can be said."""
    if convention.in_space or not answers:  # any network could hand the depth on that it reads
        return None
    try:
        calls = _written(network, form, convention, view).batches(_ROWS)
        with Runner(network.module) as runner:
            outputs = [results(runner.run([call]).steps[0])[0] for call in calls]
    except ModelRunError:
        return None
    shares: list[float] = []
    for index, answer in answers:
        said = np.concatenate([answer.read(tensors[index]) for tensors in outputs])
        truth = View.of(replace(answer, frames=form.frames), len(view.camera), _SEEDS[0]).camera  # the same scene
        shares.append(known(said, truth[: len(said)]))
    return min(shares)


def known(said: Array, truth: Array) -> float:
    """The share of the variance of the truth that answers explain, of the coordinate of which they explain least.

    said: "sample frame joint 3", one frame or as many as the truth or fewer, which are the middle ones then or the
    last.  truth: "sample frame joint 3", x y z before a camera.  Up to the scale and the sign of every coordinate, and
    to which of the last two is the depth; relative to the mean of the joints, and to the mean of every joint.
    """
    frames, count = said.shape[1], truth.shape[1]
    starts = {(count - frames) // 2, count - frames}  # of one frame out of 27: the 13th, counted from 0, or the last
    return max((_explained(said, truth[:, start : start + frames]) for start in starts if start >= 0), default=0.0)


def _explained(said: Array, truth: Array) -> float:
    """The same for frames that belong together: squared correlations, the least of three coordinates."""
    first, second = map(_varying, (said, truth))
    # shares[i, j]: of the truth's coordinate j, by the answer's i; a square has no sign.
    products = np.einsum("ni,nj->ij", first, second) ** 2
    shares = products / np.maximum(np.outer((first**2).sum(0), (second**2).sum(0)), 1e-12)
    as_named = min(shares[1, 1], shares[2, 2])
    exchanged = min(shares[1, 2], shares[2, 1])
    share = min(shares[0, 0], max(as_named, exchanged))  # x is not exchanged: the mirror negates it
    return float(share) if np.isfinite(share) else 0.0


def _varying(poses: Array) -> Array:
    """Coordinates "entry 3" relative to the mean of the joints, and to what is the same in all samples."""
    relative = poses - poses.mean(2, keepdims=True)
    return (relative - relative.mean((0, 1))).reshape(-1, 3)
