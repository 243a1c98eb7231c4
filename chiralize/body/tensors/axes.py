"""Building the representation of a pose tensor from its layout and its shape.

`fit` gives every word of the layout its size, `represent` gives every axis its signed permutation. For joints (nose,
l_ear, r_ear), partner p = (0, 2, 1), and dims (x, y) with signs (-1, 1):

    "b j d"     (8, 3, 2)   1 x p x (-1, 1)      three axes, T on each
    "b (j d)"   (8, 6)      1 x (p x (-1, 1))    entry j * 2 + d goes to p(j) * 2 + d
    "b (d j)"   (8, 6)      1 x ((-1, 1) x p)    entry d * 3 + j goes to d * 3 + p(j)
    "b j j"     (8, 3, 3)   1 x p x p            entry (i, j) goes to (p(i), p(j)); without dims

Where joints have signs of their own (robots), s[j, d] is a table. It fits a merged axis; on two axes it has to be a
product of a sign of the joint and a sign of the coordinate, else there is no representation, and the user is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from chiralize.body.skeleton.kinds import offered
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.layout import Layout
from chiralize.body.tensors.reversal import Reversed, reversals
from chiralize.errors import LayoutSizeError, SpecError
from chiralize.errors.words import when
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

SignTable = npt.NDArray[np.int64]
"""Signs, "joint dim" or along one of them."""


@dataclass(frozen=True)
class Pose:
    """A layout fitted to a shape.  body: the skeleton with the dims that the tensor has.  sizes: of every word.

    mirror: the words that the mirror reverses.
    """

    layout: Layout
    body: Skeleton
    sizes: tuple[tuple[str, int], ...]
    mirror: Reversed = ()

    def word_sizes(self) -> dict[str, int]:
        """The size of every word."""
        return dict(self.sizes)

    def sizes_of(self, words: Sequence[str]) -> list[int]:
        """The sizes of some words, such as those of one axis."""
        sizes = self.word_sizes()
        return [sizes[word] for word in words]

    def positions(self, index: Sequence[int]) -> list[tuple[str, int]]:
        """Every word with the position along it of the entry at `index`: `[("b", 0), ("j", 3), ("d", 1)]`."""
        positions, sizes = list[tuple[str, int]](), self.word_sizes()
        for words, position in zip(self.layout.axes, index, strict=True):
            split, rest = list[tuple[str, int]](), int(position)
            for word in reversed(words):  # a merged axis counts its last word fastest
                rest, along = divmod(rest, sizes[word])
                split.append((word, along))
            positions += reversed(split)
        return positions


def fit(layout: Layout, shape: Sequence[int], body: Skeleton, fixed_dims: bool, where: str) -> Pose:
    """Give every word of the layout its size; without `fixed_dims` an axis of n coordinates is the first n dims.

    Raises LayoutSizeError that names the axis, its size and what was expected.
    """
    layout = layout.expanded(len(shape), where)
    fixed_dims = fixed_dims or layout.has_matrices  # of a matrix both sides are all dims
    known = {"1": 1, "j": len(body.joints)}
    if fixed_dims:
        known["d"] = len(body.dims)
    sizes: dict[str, int] = {}
    for axis, (words, size) in enumerate(zip(layout.axes, shape, strict=True)):
        sizes |= _fit_axis(words, size, known, f"{where}: axis {axis} of layout '{layout}'", body)
    # Fewer coordinates than the skeleton's are its first ones, as of a 2D pose; more have no names.
    if "d" in sizes and not fixed_dims:
        if sizes["d"] > len(body.dims):
            facts = f"{sizes['d']} coordinates, but skeleton {body.name} has the dims {list(body.dims)}"
            more = ", ".join(f"c{number}" for number in range(1, sizes["d"] - len(body.dims) + 1))
            dims = ", ".join((*body.dims, "c" if more == "c1" else more))
            line = f'{where.split()[0]}s: [{{layout: "{layout}", dims: [{dims}]}}]'
            remedy = f"name them all in a file: {line} (a name that negate does not list is kept)"
            raise LayoutSizeError(where, facts, remedy)
        body = body.with_dims(body.dims[: sizes["d"]])
    # One number a joint: x, a score? Their signs differ, so it is not guessed.
    if "j" in sizes and "d" not in sizes and len(body.dims) > 1:
        facts = f"layout '{layout}' has j but no d, and skeleton {body.name} has the dims {list(body.dims)}"
        remedy = f"say what each joint holds: dims: [{body.dims[0]}] for one coordinate, dims: [] for a score"
        raise LayoutSizeError(where, facts, remedy)
    return Pose(layout, body, tuple(sizes.items()))


def _fit_axis(words: Sequence[str], size: int, known: Mapping[str, int], where: str, body: Skeleton) -> dict[str, int]:
    """The size of every word of an axis, of which at most one may be unknown.  Raises LayoutSizeError.

    "(j d)" of size 51 with 17 joints has d = 3.
    """
    if words == ("d",) and "d" not in known:
        return {"d": size}
    open_words = [word for word in words if word not in known]
    product = prod(known[word] for word in words if word in known)
    facts = " x ".join(f"{word}={known.get(word, '?')}" for word in words)
    if len(open_words) > 1:
        facts = f"size {size} = {facts}: {len(open_words)} sizes are open"
        raise LayoutSizeError(where, facts, "give `dims`, or split the axis")
    if (not open_words and product != size) or (open_words and (product == 0 or size % product)):
        raise LayoutSizeError(where, f"size {size} is not {facts}", _advice(words, size, body))
    sizes: dict[str, int] = {}
    for word in words:
        sizes[word] = known[word] if word in known else size // product
    return sizes


def _advice(words: Sequence[str], size: int, body: Skeleton) -> str:
    """What to do about an axis whose size does not fit its words."""
    if "j" in words and len(words) == 1:
        others = offered(size, instead_of=body)
        fits = when(others, f" (of {size} joints: {others})")
        return f"skeleton {body.name} has {len(body.joints)} joints: check the skeleton{fits}, or name other axes"
    if "d" in words and len(words) == 1:
        return f"dims are {list(body.dims)}: list as many as the tensor has ({size})"
    return f"skeleton {body.name} has {len(body.joints)} joints and dims {list(body.dims)}"


def represent(pose: Pose, where: str) -> TensorRepresentation:
    """How the mirror acts on the tensor. Raises SpecError where per-joint signs meet separate axes.

    There are four cases, by whether joints share their signs (uniform), and whether j and d are on one axis (together):
    uniform signs are a factor of d; others need the merged axis, a single coordinate, or a table that is a product.
    """
    layout, body = pose.layout, pose.body
    mode, signs = "factors", None
    if layout.has_joints_twice:
        _refuse_negated(pose, where)
    if "d" in layout or "j" in layout:
        table = body.sign_table()  # "joint dim"
        uniform = bool((table == table[:1]).all())
        together = layout.axis_of("j") == layout.axis_of("d")
        if not uniform:
            _refuse_signs(pose, where)
        if together and not uniform:
            mode = "merged"
        elif not together and len(body.dims) == 1 and "j" in layout:
            # "b j" of a robot has no axis d to carry the sign; also of "b j d" it is the joints'.
            mode = "folded"
        elif not together and not uniform:
            signs = _factors(table, body, where)
    turned = reversals(pose.mirror, pose.word_sizes(), where)
    return TensorRepresentation(tuple(_axis(words, pose, mode, signs, turned) for words in layout.axes))


def _refuse_signs(pose: Pose, where: str) -> None:
    """Raises SpecError where joints have signs of their own, and the layout does not say which joint an entry is of."""
    if pose.layout.has_matrices:
        facts = f"joints of {pose.body.name} have signs of their own, and layout '{pose.layout}' has matrices"
        remedy = "merge their axes where the network does, and describe one axis: dims: [...], signs: {joint: [...]}"
        raise SpecError(where, facts, remedy)
    if "j" not in pose.layout:
        facts = f"joints of {pose.body.name} have signs of their own, but the layout has no j"
        raise SpecError(where, facts, "add j")


def _refuse_negated(pose: Pose, where: str) -> None:
    """Raises SpecError where a number of every two joints would change its sign: by which of the two is not known."""
    if (pose.body.sign_table() < 0).any():
        facts = f"layout '{pose.layout}' has j twice, and {pose.body.name} negates {', '.join(pose.body.dims)}"
        remedy = (
            "dims: [] where the numbers keep their signs, as distances, edges and attention do; where they change sign "
            "list the entries: fields: [{items: [HIP-KNEE, ...], each: [...]}]"
        )
        raise SpecError(where, facts, remedy)


def _factors(table: SignTable, body: Skeleton, where: str) -> tuple[SignTable, SignTable]:
    """Signs of the joints and of the coordinates whose product is a table "joint dim". Raises SpecError.

    If there are any, then those of the first row, and those of the first column over its first sign. For example
    rotations of six coordinates, [1, -1, -1, -1, 1, 1], beside a padded translation, [-1, 1, 1, 1, -1, -1].
    """
    joints, dims = table[:, 0] * table[0, 0], table[0]
    product = np.outer(joints, dims)
    if (product != table).any():
        odd = int(np.flatnonzero((product != table).any(axis=1))[0])
        first, other = body.joints[0], body.joints[odd]
        facts = (
            f"joints of {body.name} have signs of their own, which is no product of a joint axis and a coordinate axis"
            f": those of {other} are neither those of {first} nor all of them turned"
        )
        remedy = (
            f"where the last numbers of {other} are padding, 0 has any sign, "
            f"signs: {{{other}: {product[odd].tolist()}}}; else merge both axes, (j d), or describe one coordinate: "
            "dims: [NAME]"
        )
        raise SpecError(where, facts, remedy)
    return joints, dims


def _axis(
    words: Sequence[str],
    pose: Pose,
    mode: str,
    signs: tuple[SignTable, SignTable] | None,
    turned: Mapping[str, SignedPermutation],
) -> Representation:
    """How the mirror acts on one axis.

    mode: `factors`, joints and coordinates act each by themselves; `folded`, the one coordinate's sign is the joints';
    `merged`, the sign of an entry depends on both.  signs: of the joints and of the coordinates, where the skeleton's
    are not the same for all joints.  turned: the reversal of every word that is reversed.
    """
    sizes, body = pose.word_sizes(), pose.body
    if mode == "merged" and "j" in words:
        return Representation.of(_merged(words, pose, turned))
    factors = []
    for word in words:
        if word in turned:
            factors.append(turned[word])
        elif word == "j" and signs is not None:
            factors.append(SignedPermutation(body.joint_action().partner, signs[0]))
        elif word == "d" and signs is not None:
            factors.append(SignedPermutation(np.arange(sizes[word]), signs[1]))
        elif word == "j":
            factors.append(body.merged_action() if mode == "folded" else body.joint_action())
        elif word == "d" and mode == "factors":
            factors.append(body.coord_action())
        else:  # a free word, or the one coordinate whose sign is in the joints'
            factors.append(SignedPermutation.identity(sizes[word]))
    return Representation.of(*factors)


def _merged(words: Sequence[str], pose: Pose, turned: Mapping[str, SignedPermutation]) -> SignedPermutation:
    """The whole axis at once: joints swap, and the sign of an entry depends on its joint and its coordinate.

    words: of the axis, j and d among them.
    """
    sizes = pose.sizes_of(words)
    # For every word the position along it of each entry, in the shape `sizes`; then those of the entry's partner.
    along = dict(zip(words, np.indices(sizes), strict=True))
    sign = pose.body.sign_table()[along["j"], along["d"]]
    along["j"] = pose.body.joint_action().partner[along["j"]]
    for word in turned.keys() & along.keys():
        along[word] = turned[word].partner[along[word]]
    partner = np.ravel_multi_index(tuple(along[word] for word in words), tuple(sizes))
    return SignedPermutation(partner.reshape(-1), sign.reshape(-1))


def centers(pose: Pose, reflect: Sequence[tuple[str, float]]) -> npt.NDArray[np.float64] | None:
    """The point c of x -> 2 c - x, an array that broadcasts to the tensor; None where every centre is 0.

    It is c of T x = c + R (x - c), so that a centre of what R keeps changes nothing.
    """
    given = dict(reflect)
    values = np.array([float(given.get(dim, 0)) for dim in pose.body.dims])
    if not values.any():
        return None
    return _over_dims(pose, values)


def spreads(pose: Pose, reflect: Sequence[tuple[str, float]], coordinates: Sequence[str]) -> npt.NDArray[np.float64]:
    """How far values lie apart where coordinates are counted in pixels: half the centre; 1 for a confidence.

    coordinates: the dims of the skeleton; a tensor may add others, which are confidences.
    """
    # Pixels of a picture 640 wide, mirrored at 320, lie up to 320 to both sides: 160 is about their spread.
    largest = max(abs(center) for _, center in reflect)
    values = np.ones(len(pose.body.dims))
    values[[dim in coordinates for dim in pose.body.dims]] = largest / 2
    return _over_dims(pose, values)


def _over_dims(pose: Pose, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """One value per dim as an array that broadcasts to the tensor."""
    axis, shape = pose.layout.axis_of("d"), [1] * len(pose.layout.axes)
    if axis is None:
        return np.full(shape, values[0])
    # Along a merged axis such as (j d) the values repeat: x y x y x y.
    words = pose.layout.axes[axis]
    along_dims = [1] * len(words)
    along_dims[words.index("d")] = len(values)
    over_axis = np.broadcast_to(values.reshape(along_dims), pose.sizes_of(words)).flatten()
    shape[axis] = len(over_axis)
    return over_axis.reshape(shape)
