"""Human motion, drawn from a small model that was fitted to motion capture.

A motion is a chain of key poses, 0.16 s apart. A key pose is the directions of 16 bones and the height of the hip, in
a frame that turns with the body, as numbers p of a linear code; a step s to the next is (turn, sideways, forward). A
mixture of Gaussians tells how three key poses follow each other,

    (p_0, s_1, p_1, s_2, p_2) ~ sum_k w_k N(m_k, L_k L_k')

A motion starts with a draw of the first three, and goes on with draws of (s_2, p_2) given (p_0, s_1, p_1). Between key
poses runs a cubic spline. Bones keep their lengths, which are drawn once a motion, equal on both sides. Half of the
motions are mirrored, so that the distribution is exactly symmetric whatever the capture was.

A body that faces along z has its left side along x; y is up.

A draw of 27 frames at 50 a second: 8 frames lie between two key poses, so that six key poses span them, with about one
beyond either end. Arrays are "motion key ..." first, and "motion frame joint 3" in metres at the end. Nothing
here knows a camera (`camera`), another skeleton (`figure`) or a network (`filling`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chiralize.storage import pretrained

Array = npt.NDArray[np.float64]
JOINTS = (
    "hip",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "spine",
    "thorax",
    "neck",
    "head",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
)
"""Human3.6M's 17: `neck` is the base of the skull, `head` the top of the head, `thorax` lies between the shoulders."""
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
"""The joint that the bone of every joint comes from; bone b ends in joint b + 1, since the hip has none."""
PARTNERS = (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13)
STEP = 8
"""Frames from one key pose to the next."""
RATE = 50.0
"""Frames a second."""
BONES = len(JOINTS) - 1
SIZES = 0.05
"""Spread of the size of bodies, in units of the mean; bones vary by half of that beside it."""


@dataclass(frozen=True)
class MotionModel:
    """The weights. K components of D = 3 P + 6 numbers.

    weight: "K".  mean: "K D".  factor: "K D D", lower triangles.  center: "49" and basis: "49 P" of the code, of bone
    directions and the height of the hip.  scale: "3", units of a step (radians, metres, metres).  lengths: "16", of the
    bones, metres.
    """

    weight: Array
    mean: Array
    factor: Array
    center: Array
    basis: Array
    scale: Array
    lengths: Array

    @property
    def code(self) -> int:
        """P, the numbers of a key pose."""
        return self.basis.shape[1]


@lru_cache(maxsize=1)
def motion_model() -> MotionModel:
    """The shipped weights."""
    return read_model(Path(pretrained.__file__).with_name("motion.npz"))


def read_model(path: Path) -> MotionModel:
    """Weights from a file, in which factors lie as their lower triangles, row by row."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name].astype(np.float64) for name in file.files}
    count, size = arrays["mean"].shape
    factor = np.zeros((count, size, size))
    rows, columns = np.tril_indices(size)
    factor[:, rows, columns] = arrays.pop("triangle")
    return MotionModel(factor=factor, **arrays)


def draw(count: int, frames: int, seed: int, rate: float = RATE, model: MotionModel | None = None) -> Array:
    """Motions, "motion frame joint 3": metres, y up, the floor at 0, the hip above the origin in the middle frame.

    rate: frames a second.  They face any direction; each is as likely as its mirror image.
    """
    model = model or motion_model()
    generator = np.random.default_rng(seed)
    # 1. Key poses, as codes and steps.
    keys = _keys(frames, rate)
    codes, steps = _chain(model, generator, count, keys)
    # 2. Frames, in units of key poses, about the middle of the chain; one frame lies there itself.
    times = np.linspace(-0.5, 0.5, frames) * ((frames - 1) * RATE / rate / STEP) + (keys - 1) / 2
    if frames == 1:
        times = np.array([(keys - 1) / 2])
    # 3. Codes, heading and place of every frame, in one spline: "motion frame P+3".
    turn, path = _path(steps, generator.uniform(0, 2 * np.pi, count))
    track = _between(np.concatenate([codes, turn[..., None], path], 2), times)
    # 4. The body: directions of bones and height of the hip, bones put together, turned, and moved to its place.
    pose = track[..., : model.code] @ model.basis.T + model.center
    offsets = _standing(pose[..., :-1].reshape(count, frames, BONES, 3), _lengths(model, generator, count))
    joints = _turned(offsets, track[..., model.code])
    joints[..., 1] += pose[..., -1:]
    joints[..., [0, 2]] += track[..., None, model.code + 1 :]
    # 5. The hip of the middle frame above the origin.
    middle = joints[:, (frames - 1) // 2, 0][:, [0, 2]]
    joints[..., [0, 2]] -= middle[:, None, None]
    return _either_side(joints, generator)


def mirrored(joints: Array) -> Array:
    """Motions mirrored at the plane x = 0, with left and right joints exchanged.  joints: "... joint 3"."""
    return joints[..., list(PARTNERS), :] * np.array([-1.0, 1.0, 1.0])


def _either_side(joints: Array, generator: np.random.Generator) -> Array:
    """The motions, half of them mirrored."""
    flipped = generator.random(len(joints)) < 0.5
    joints[flipped] = mirrored(joints[flipped])
    return joints


def _keys(frames: int, rate: float) -> int:
    """Key poses that span so many frames: one beyond each end, and three at least, of which the first are drawn."""
    return max(3, int(np.ceil((frames - 1) * RATE / rate / STEP)) + 2)


# ---- the chain ------------------------------------------------------------------------------------------------
def _chain(model: MotionModel, generator: np.random.Generator, count: int, keys: int) -> tuple[Array, Array]:
    """Codes "motion key P" and steps "motion key-1 3" in radians and metres."""
    size = model.code
    component = generator.choice(len(model.weight), count, p=model.weight / model.weight.sum())
    noise = generator.standard_normal((count, model.mean.shape[1]))
    start = _sampled(model, component, noise)  # motion 3P+6: p_0, s_1, p_1, s_2, p_2
    codes = [start[:, :size], start[:, size + 3 : 2 * size + 3], start[:, 2 * size + 6 :]]
    steps = [start[:, size : size + 3], start[:, 2 * size + 3 : 2 * size + 6]]
    following = _Following.of(model) if keys > 3 else None
    while following is not None and len(codes) < keys:
        # The last two key poses take the place of the first two of a triple: a chain of second order.
        given = np.concatenate([codes[-2], steps[-1], codes[-1]], 1)
        drawn = following.draw(given, generator)
        steps.append(drawn[:, :3])
        codes.append(drawn[:, 3:])
    return np.stack(codes, 1), np.stack(steps, 1) * model.scale


def _sampled(model: MotionModel, component: npt.NDArray[np.int64], noise: Array) -> Array:
    """m_k + L_k e for every row, component by component."""
    rows = np.empty_like(noise)
    for number in np.unique(component):
        chosen = component == number
        rows[chosen] = model.mean[number] + noise[chosen] @ model.factor[number].T
    return rows


@dataclass(frozen=True)
class _Following:
    """The mixture's conditional distribution: what follows on two key poses and the step between them.

    With L = [[A, 0], [B, C]] and a given part g, z = A^-1 (g - m_g): what follows is N(m_f + B z, C C'), and component
    k is as likely as w_k exp(-|z|^2 / 2) / det A.
    """

    model: MotionModel
    inverse: Array
    given: int

    @staticmethod
    def of(model: MotionModel) -> _Following:
        """The distribution of a mixture's numbers behind the first 2 P + 3, given those."""
        given = 2 * model.code + 3
        inverse: Array = np.linalg.inv(model.factor[:, :given, :given]).astype(np.float64)
        return _Following(model, inverse, given)

    def draw(self, rows: Array, generator: np.random.Generator) -> Array:
        """One draw for every row "motion 2P+3"."""
        model, given = self.model, self.given
        # z of every component, "component motion number".
        units = np.einsum("kij,nkj->kni", self.inverse, rows[:, None] - model.mean[:, :given], optimize=True)
        # log w_k - log det A - |z|^2 / 2, "motion component": the inverse of a triangle has the inverse diagonal.
        diagonal = np.diagonal(self.inverse, axis1=1, axis2=2)
        likely = np.log(model.weight) + np.log(np.abs(diagonal)).sum(1) - 0.5 * np.square(units).sum(2).T
        # The largest of log-likelihoods with Gumbel noise is a draw from the likelihoods, without normalising them.
        component = (likely + generator.gumbel(size=likely.shape)).argmax(1)
        # (z, e) is what L takes to a draw whose first part is the given one.
        noise = generator.standard_normal((len(rows), model.mean.shape[1] - given))
        latent = np.concatenate([units[component, np.arange(len(rows))], noise], 1)
        return _sampled(model, component, latent)[:, given:]


def _path(steps: Array, facing: Array) -> tuple[Array, Array]:
    """Headings "motion key" in radians and places "motion key 2" (x, z) that steps in the body's frame lead to."""
    turn = np.concatenate([np.zeros((len(steps), 1)), np.cumsum(steps[..., 0], 1)], 1) + facing[:, None]
    sine, cosine = np.sin(turn[:, :-1]), np.cos(turn[:, :-1])
    moved = np.stack([cosine * steps[..., 1] + sine * steps[..., 2], -sine * steps[..., 1] + cosine * steps[..., 2]], 2)
    return turn, np.concatenate([np.zeros((len(steps), 1, 2)), np.cumsum(moved, 1)], 1)


def _between(values: Array, times: Array) -> Array:
    """Values "motion key number" at other times, "motion time number": the cubic spline of Catmull and Rom."""
    # One value more at either end, on a straight line: the outermost stretches have neighbours as the others have.
    ends = np.concatenate([2 * values[:, :1] - values[:, 1:2], values, 2 * values[:, -1:] - values[:, -2:-1]], 1)
    first = np.clip(np.floor(times).astype(int), 0, values.shape[1] - 2)
    at = (times - first)[:, None]
    before, start, stop, after = (ends[:, first + shift] for shift in range(4))
    slope, bend = (stop - before) / 2, (after - start) / 2  # the derivatives at `start` and at `stop`
    square, cube = at**2, at**3
    return (
        (2 * cube - 3 * square + 1) * start
        + (cube - 2 * square + at) * slope
        + (3 * square - 2 * cube) * stop
        + (cube - square) * bend
    )


# ---- the body -------------------------------------------------------------------------------------------------
def _lengths(model: MotionModel, generator: np.random.Generator, count: int) -> Array:
    """Lengths of the bones, "motion 16", metres: bodies of several sizes, the same on both sides."""
    size = 1 + SIZES * generator.standard_normal((count, 1))
    each = 1 + SIZES / 2 * generator.standard_normal((count, BONES))
    partner = np.array(PARTNERS[1:]) - 1  # of bones, which are counted from the second joint
    both = (model.lengths + model.lengths[partner]) / 2
    return both * size * (each + each[:, partner]) / 2


def _standing(directions: Array, lengths: Array) -> Array:
    """Joints from the hip, "motion frame 17 3", of bones of these directions and lengths."""
    directions = directions / np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), 1e-6)
    joints = np.zeros((*directions.shape[:2], len(JOINTS), 3))
    for joint in range(1, len(JOINTS)):
        bone = directions[:, :, joint - 1] * lengths[:, None, joint - 1, None]
        joints[:, :, joint] = joints[:, :, PARENTS[joint]] + bone
    return joints


def _turned(offsets: Array, turn: Array) -> Array:
    """Joints turned about the vertical axis.  offsets: "motion frame joint 3", turn: "motion frame", radians."""
    sine, cosine = np.sin(turn)[..., None], np.cos(turn)[..., None]
    x, y, z = offsets[..., 0], offsets[..., 1], offsets[..., 2]
    return np.stack([cosine * x + sine * z, y, -sine * x + cosine * z], -1)
