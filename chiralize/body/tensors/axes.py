"""Building the representation of a pose tensor from its layout and its shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.layout import Layout
from chiralize.errors import LayoutSizeError, SpecError
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation


@dataclass(frozen=True)
class Pose:
    """A layout fitted to a shape.  body: the skeleton with the dims that the tensor has.  sizes: of every word."""

    layout: Layout
    body: Skeleton
    sizes: tuple[tuple[str, int], ...]

    def word_sizes(self) -> dict[str, int]:
        return dict(self.sizes)


def fit(layout: Layout, shape: Sequence[int], body: Skeleton, fixed_dims: bool, where: str) -> Pose:
    """Give every word of the layout its size; without `fixed_dims` an axis of n coordinates is the first n dims.

    Raises LayoutSizeError that names the axis, its size and what was expected.
    """
    layout = layout.expanded(len(shape), where)
    fixed_dims = fixed_dims or layout.has_matrices
    sizes: dict[str, int] = {}
    for place, (words, size) in enumerate(zip(layout.axes, shape, strict=True)):
        known = {"j": len(body.joints)} | ({"d": len(body.dims)} if fixed_dims else {})
        _fit_axis(words, size, known, sizes, f"{where}: axis {place} of layout '{layout}'", body)
    if "d" in sizes and not fixed_dims:
        if sizes["d"] > len(body.dims):
            raise LayoutSizeError(
                where,
                f"{sizes['d']} coordinates, but skeleton {body.name} has the dims {list(body.dims)}",
                f"name them all: dims: [{', '.join(body.dims)}, c] (a name that negate does not list is kept)",
            )
        body = body.with_dims(body.dims[: sizes["d"]])
    if "j" in sizes and "d" not in sizes and len(body.dims) > 1:
        raise LayoutSizeError(
            where,
            f"layout '{layout}' has j but no d, and skeleton {body.name} has the dims {list(body.dims)}",
            f"say what each joint holds: dims: [{body.dims[0]}] for one coordinate, dims: [] for a score",
        )
    return Pose(layout, body, tuple(sizes.items()))


def _fit_axis(
    words: Sequence[str], size: int, known: dict[str, int], sizes: dict[str, int], where: str, body: Skeleton
) -> None:
    if words == ("d",) and "d" not in known:
        sizes["d"] = size
        return
    given = {word: known.get(word, 1 if word == "1" else None) for word in words}
    open_words = [word for word, value in given.items() if value is None]
    product = prod(value for value in map(given.get, words) if value is not None)
    facts = " x ".join(f"{word}={'?' if given[word] is None else given[word]}" for word in words)
    if len(open_words) > 1:
        raise LayoutSizeError(
            where, f"size {size} = {facts}: {len(open_words)} sizes are open", "give `dims`, or split the axis"
        )
    if (not open_words and product != size) or (open_words and (product == 0 or size % product)):
        raise LayoutSizeError(where, f"size {size} is not {facts}", _advice(words, size, body))
    sizes.update({word: value if value is not None else size // product for word, value in given.items()})


def _advice(words: Sequence[str], size: int, body: Skeleton) -> str:
    if "j" in words and len(words) == 1:
        return f"skeleton {body.name} has {len(body.joints)} joints: check the skeleton, or name other axes"
    if "d" in words and len(words) == 1:
        return f"dims are {list(body.dims)}: list as many as the tensor has ({size})"
    return f"skeleton {body.name} has {len(body.joints)} joints and dims {list(body.dims)}"


def represent(pose: Pose, where: str) -> TensorRepresentation:
    """How the mirror acts on the tensor. Raises SpecError where per-joint signs meet separate axes."""
    layout, body = pose.layout, pose.body
    if "d" not in layout and "j" not in layout:
        return TensorRepresentation(tuple(_group(axis, pose, 0) for axis in layout.axes))
    table = body.sign_table()
    uniform = bool((table == table[:1]).all())
    together = layout.place("j") == layout.place("d")
    if not uniform and layout.has_matrices:
        raise SpecError(
            where,
            f"joints of {body.name} have signs of their own, and layout '{layout}' has matrices",
            "merge their axes where the network does, and describe one axis: dims: [...], signs: {joint: [...]}",
        )
    if not uniform and "j" not in layout:
        raise SpecError(where, f"joints of {body.name} have signs of their own, but the layout has no j", "add j")
    if not uniform and not together and len(body.dims) > 1:
        factors = _factors(table)
        if factors is None:
            raise SpecError(
                where,
                f"joints of {body.name} have signs of their own, which is no product of a joint axis and a coordinate "
                "axis",
                "merge both axes, (j d), or describe one coordinate: dims: [NAME]",
            )
        return TensorRepresentation(tuple(_group(axis, pose, 0, factors) for axis in layout.axes))
    fold = not together and len(body.dims) == 1 and "j" in layout
    return TensorRepresentation(
        tuple(_group(axis, pose, 2 if (together and not uniform) else int(fold)) for axis in layout.axes)
    )


def _factors(table: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Signs of the joints and of the coordinates whose product a table, "joint dim", is; None where it is none.

    Rotations of six coordinates, [1, -1, -1, -1, 1, 1], beside a padded translation, [-1, 1, 1, 1, -1, -1], are one.
    """
    joints, dims = table[:, 0] * table[0, 0], table[0]
    return (joints, dims) if (np.outer(joints, dims) == table).all() else None


def _group(
    words: Sequence[str],
    pose: Pose,
    mode: int,
    signs: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None,
) -> Representation:
    """One axis.  mode 0: joints and coordinates are factors; 1: signs on the joints; 2: one merged block.

    signs: of the joints and of the coordinates, where they are not the skeleton's own for all joints alike.
    """
    sizes, body = pose.word_sizes(), pose.body
    if mode == 2 and "j" in words:
        return Representation.of(_merged(words, pose))
    factors = []
    for word in words:
        if word == "j" and signs is not None:
            factors.append(SignedPermutation(body.joint_action().partner, signs[0]))
        elif word == "d" and signs is not None:
            factors.append(SignedPermutation(np.arange(sizes[word]), signs[1]))
        elif word == "j":
            factors.append(body.merged_action() if mode == 1 else body.joint_action())
        elif word == "d" and mode == 0:
            factors.append(body.coord_action())
        else:
            factors.append(SignedPermutation.identity(sizes[word]))
    return Representation.of(*factors)


def _merged(words: Sequence[str], pose: Pose) -> SignedPermutation:
    """The whole axis at once: joints swap, and the sign of an entry depends on its joint and its coordinate."""
    sizes = [pose.word_sizes()[word] for word in words]
    grid = np.indices(sizes)
    at = {word: grid[place] for place, word in enumerate(words)}
    swapped = [pose.body.joint_action().partner[at["j"]] if word == "j" else at[word] for word in words]
    partner = np.ravel_multi_index(tuple(swapped), tuple(sizes))
    sign = pose.body.sign_table()[at["j"], at["d"]]
    return SignedPermutation(partner.reshape(-1), sign.reshape(-1))


def centers(pose: Pose, reflect: Sequence[tuple[str, float]]) -> npt.NDArray[np.float64] | None:
    """The point c of x -> 2 c - x, an array that broadcasts to the tensor; None where every centre is 0."""
    given = dict(reflect)
    values = np.array([float(given.get(dim, 0)) for dim in pose.body.dims])
    return _over_dims(pose, values) if values.any() else None


def spreads(pose: Pose, reflect: Sequence[tuple[str, float]], own: Sequence[str]) -> npt.NDArray[np.float64]:
    """How far values lie apart where coordinates are counted in pixels: half the centre; 1 for a confidence.

    own: the dims of the skeleton, which are coordinates; a tensor may add others.
    """
    largest = max(abs(center) for _, center in reflect)
    return _over_dims(pose, np.array([largest / 2 if dim in own else 1.0 for dim in pose.body.dims]))


def _over_dims(pose: Pose, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """One value per dim as an array that broadcasts to the tensor."""
    sizes = pose.word_sizes()
    parts = []
    for words in pose.layout.axes:
        if "d" in words:
            shape = [sizes[word] if word == "d" else 1 for word in words]
            parts.append(np.broadcast_to(values.reshape(shape), [sizes[word] for word in words]).flatten())
        else:
            parts.append(np.zeros(1))
    place = pose.layout.place("d")
    shape = [len(part) if i == place else 1 for i, part in enumerate(parts)]
    return parts[place].reshape(shape) if place is not None else np.full([1] * len(parts), values[0])
