"""How does a layout fit these sizes, which layouts could, and how does the mirror act then?

`fit` gives every word of a layout its size, `represent` gives every axis its signed permutation. For joints (nose,
l_ear, r_ear), partner p = (0, 2, 1), and dims (x, y) with signs (-1, 1):

    "b j d"     (8, 3, 2)   1 x p x (-1, 1)      three axes, T on each
    "b (j d)"   (8, 6)      1 x (p x (-1, 1))    entry j * 2 + d goes to p(j) * 2 + d
    "b (d j)"   (8, 6)      1 x ((-1, 1) x p)    entry d * 3 + j goes to d * 3 + p(j)
    "b j j"     (8, 3, 3)   1 x p x p            entry (i, j) goes to (p(i), p(j)); without dims

Where joints have signs of their own (robots), s[j, d] is a table. It fits a merged axis; on two axes it has to be a
product of a sign of the joint and a sign of the coordinate, else no representation exists, and the user learns why.

Without a layout, `infer_pose` looks for the one that fits, and refuses where several do: of 17 joints, (8, 17, 3) is
"b j d", and (8, 51) could be "b (j d)" and "b (d j)". Nothing is ever chosen for being likelier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
import numpy.typing as npt

from chiralize.body.catalog import names_of_size
from chiralize.body.layout import Layout, free_names
from chiralize.body.skeleton import Skeleton
from chiralize.errors import AmbiguousLayoutError, LayoutSizeError, SpecError
from chiralize.errors.words import listed, when
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

Signs = npt.NDArray[np.int64]
"""Signs, "joint dim" or along one of them."""
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """A layout fitted to a shape.  body: the skeleton with the dims that the tensor has.  sizes: of every word.

    turned: the words that the mirror reverses, with the cell that each is mirrored at, None for the middle.
    """

    layout: Layout
    body: Skeleton
    sizes: tuple[tuple[str, int], ...]
    turned: tuple[tuple[str, Fraction | None], ...] = ()

    def sizes_of(self, words: Sequence[str]) -> list[int]:
        """The sizes of these words, such as those of one axis."""
        sizes = dict(self.sizes)
        return [sizes[word] for word in words]

    def positions(self, index: Sequence[int]) -> list[tuple[str, int]]:
        """Every word with the position along it of the entry at `index`: `[("b", 0), ("j", 3), ("d", 1)]`."""
        positions: list[tuple[str, int]] = []
        for words, position in zip(self.layout.axes, index, strict=True):
            along = np.unravel_index(int(position), self.sizes_of(words))
            positions += zip(words, map(int, along), strict=True)
        return positions


def fit(layout: Layout, shape: Sequence[int], body: Skeleton, fixed_dims: bool, where: str) -> Pose:
    """Give every word of the layout its size; without `fixed_dims` an axis of n coordinates is the first n dims.

    Raises LayoutSizeError that names the axis, its size and what was expected.
    """
    layout = layout.expanded(len(shape), where)
    fixed_dims = fixed_dims or layout.words.count("d") == 2  # of a matrix both sides are all dims
    known = {"1": 1, "j": len(body.joints)} | ({"d": len(body.dims)} if fixed_dims else {})
    sizes: dict[str, int] = {}
    for axis, (words, size) in enumerate(zip(layout.axes, shape, strict=True)):
        sizes |= _fit_axis(words, size, known, f"{where}: axis {axis} of layout '{layout}'", body)
    # Fewer coordinates than the skeleton's are its first ones, as of a 2D pose; more have no names.
    count = sizes.get("d", 0)
    # One number a joint: x, a score? Their signs differ, so it is not guessed.
    if (not fixed_dims and count > len(body.dims)) or ("j" in sizes and "d" not in sizes and len(body.dims) > 1):
        facts = f"{sizes.get('d', 'no')} coordinates a joint, but skeleton {body.name} has the dims {list(body.dims)}"
        remedy = f"name those of this tensor: dims: [{body.dims[0]}] for one, dims: [] for a score"
        raise LayoutSizeError(where, facts, remedy)
    if "d" in sizes and not fixed_dims:
        body = body.with_dims(body.dims[: sizes["d"]])
    return Pose(layout, body, tuple(sizes.items()))


def _fit_axis(words: Sequence[str], size: int, known: Mapping[str, int], where: str, body: Skeleton) -> dict[str, int]:
    """The size of every word of an axis, of which at most one may be unknown.  Raises LayoutSizeError.

    "(j d)" of size 51 with 17 joints has d = 3.
    """
    open_words = [word for word in words if word not in known]
    product = prod(known[word] for word in words if word in known)
    if len(open_words) > 1 or (product != size and not open_words) or product == 0 or size % product:
        facts = f"size {size} is not " + " x ".join(f"{word}={known.get(word, '?')}" for word in words)
        others = listed(names_of_size(size), 4) if words == ("j",) else ""
        hint = when(others, f" (skeletons of {size} joints: {others})")
        remedy = (
            f"check skeleton {body.name}, {len(body.joints)} joints with dims {list(body.dims)}, and the layout{hint}"
        )
        raise LayoutSizeError(where, facts, remedy)
    return {word: known[word] if word in known else size // product for word in words}


# ---- T on the axes ----------------------------------------------------------------------------------------------
def represent(pose: Pose, where: str) -> TensorRepresentation:
    """How the mirror acts on the tensor. Raises SpecError where signs of single joints meet separate axes.

    Signs that all joints share are a factor of d; others need the merged axis, a single coordinate, or a table that is
    a product of a sign of the joint and a sign of the coordinate.
    """
    layout, body = pose.layout, pose.body
    table, twice = body.sign_table(), layout.words.count("j") == 2  # "joint dim"
    is_of_joints = not (table == table[:1]).all() and ("d" in layout or "j" in layout)
    is_unclear = is_of_joints and ("j" not in layout or layout.words.count("d") == 2)
    # By which of two joints a number of every two changes its sign is not known.
    if is_unclear or (twice and (table < 0).any()):
        facts = f"layout '{layout}' does not say by which joint of {body.name} an entry changes its sign"
        remedy = "dims: [] where none does, as distances; else merge (j d), describe one dim, or list `fields`"
        raise SpecError(where, facts, remedy)
    signs: tuple[Signs, Signs] | None = np.ones(len(body.joints), np.int64), table[0]
    is_together = layout.axis_of("j") == layout.axis_of("d")
    if is_of_joints:
        signs = None if is_together else _factors(table, body, where)
    if "j" in layout and not is_together and len(body.dims) == 1:
        signs = table[:, 0], np.ones(1, np.int64)  # "b j" of a robot has no axis d to carry the sign
    turned = {word: reversal(dict(pose.sizes)[word], cell, f"{where}: axis {word}") for word, cell in pose.turned}
    return TensorRepresentation(tuple(_axis(words, pose, signs, turned) for words in layout.axes))


def _factors(table: Signs, body: Skeleton, where: str) -> tuple[Signs, Signs]:
    """Signs of the joints and of the coordinates whose product is a table "joint dim". Raises SpecError.

    If they exist, they are those of the first row, and those of the first column over its first sign. For example
    rotations of six coordinates, [1, -1, -1, -1, 1, 1], beside a padded translation, [-1, 1, 1, 1, -1, -1].
    """
    joints, dims = table[:, 0] * table[0, 0], table[0]
    product = np.outer(joints, dims)
    if (product != table).any():
        odd = int(np.flatnonzero((product != table).any(axis=1))[0])
        facts = (
            f"signs of {body.joints[odd]} of {body.name} are neither those of {body.joints[0]} nor all of them turned"
        )
        remedy = (
            f"merge both axes, (j d); where its last numbers are padding: {body.joints[odd]}: {product[odd].tolist()}"
        )
        raise SpecError(where, facts, remedy)
    return joints, dims


def _axis(
    words: Sequence[str],
    pose: Pose,
    signs: tuple[Signs, Signs] | None,
    turned: Mapping[str, SignedPermutation],
) -> Representation:
    """How the mirror acts on one axis.

    signs: of the joints and of the coordinates; None where the sign of an entry depends on both.  turned: the reversal
    of every word that is reversed.
    """
    if signs is None and "j" in words:
        return Representation.of(_merged(words, pose, turned))
    of_joints, of_dims = signs if signs is not None else (None, None)
    factors: list[SignedPermutation] = []
    for word, size in zip(words, pose.sizes_of(words), strict=True):
        if word in turned:
            factors.append(turned[word])
        elif word == "j" and of_joints is not None:
            factors.append(SignedPermutation(pose.body.joint_action().partner, of_joints))
        elif word == "d" and of_dims is not None:
            factors.append(SignedPermutation(np.arange(size), of_dims))
        else:
            factors.append(SignedPermutation.identity(size))
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


def reversal(size: int, center: Fraction | None, where: str) -> SignedPermutation:
    """The reversal of an axis of `size` entries at the cell `center`, None for the middle: entry i swaps with 2 c - i.

    Where c is not the middle, the cells near one border have no partner within the axis, and stay.
    Raises LayoutSizeError for a centre beyond the axis.

    >>> reversal(4, None, "").partner.tolist(), reversal(4, Fraction(2), "").partner.tolist()
    ([3, 2, 1, 0], [0, 3, 2, 1])
    """
    twice = Fraction(size - 1) if center is None else 2 * center  # 2 c, exact
    # Entry 0 goes to 2 c: beyond twice the last cell no cell would have its image within the axis.
    if twice.denominator > 1 or not 0 <= twice <= 2 * (size - 1):
        facts = f"mirrored at cell {center}, but the axis has the cells 0 to {size - 1}"
        raise LayoutSizeError(where, facts, "give a whole or a half cell of this tensor, not a pixel of the picture")
    cells = np.arange(size)
    partners = int(twice) - cells
    partners = np.where((partners >= 0) & (partners < size), partners, cells)
    return SignedPermutation(partners, np.ones(size, np.int64))


def centers(pose: Pose, reflect: Mapping[str, Fraction]) -> Array | None:
    """The point c of T x = c + R (x - c), an array that broadcasts to the tensor; None where every centre is 0."""
    values = np.array([float(reflect.get(dim, 0)) for dim in pose.body.dims])
    return over_dims(pose, values) if values.any() else None


def over_dims(pose: Pose, values: Array) -> Array:
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


# ---- layouts from sizes -------------------------------------------------------------------------------------------
def infer_pose(shape: Sequence[int], body: Skeleton, fixed_dims: bool, where: str) -> Pose:
    """The one layout that fits. Raises AmbiguousLayoutError with the candidates, or LayoutSizeError.

    fixed_dims: whether all dims of the body are in the tensor, since the file lists them for it; else an axis may have
    the first ones of them.
    """
    poses = fitting_poses(shape, body, fixed_dims, where)
    if len(poses) == 1:
        return poses[0]
    if poses:
        texts = [f"'{pose.layout}'" for pose in poses]
        facts = f"shape {tuple(shape)} fits {len(texts)} layouts of {body.name}: {', '.join(texts)}"
        remedy = f"say which: layout: {texts[0]}; (j d) is x, y of one joint, then of the next, (d j) all x, then all y"
        raise AmbiguousLayoutError(where, facts, remedy)
    facts = f"no layout fits shape {tuple(shape)}: {body.name} has {len(body.joints)} joints, dims {list(body.dims)}"
    others = listed([f"{name} ({size})" for size in dict.fromkeys(shape[1:]) for name in names_of_size(size)[:2]], 4)
    hint = when(others, f" (of these sizes: {others})")
    remedy = f"check the skeleton{hint}, or say what the axes are: `layout:`, `fields:`, or `free` for no body"
    raise LayoutSizeError(where, facts, remedy)


def fitting_poses(shape: Sequence[int], body: Skeleton, fixed_dims: bool, where: str) -> list[Pose]:
    """All layouts that fit, the likeliest first; of those that mean the same one."""
    poses: dict[TensorRepresentation, Pose] = {}
    for layout in _candidates(shape, body, fixed_dims):
        pose = fit(layout, shape, body, fixed_dims, where)
        # Signs of single joints exclude a layout. One representation is one reading, whatever its words.
        try:
            poses.setdefault(represent(pose, where), pose)
        except SpecError:
            continue
    return list(poses.values())


def _candidates(shape: Sequence[int], body: Skeleton, fixed_dims: bool) -> Iterator[Layout]:
    """Layouts whose sizes fit: one axis of joints alone, joints and coordinates on two axes, both merged on one."""
    joints, size = len(body.joints), len(body.dims)
    # A lone first coordinate of several is never guessed.
    counts = {size} if fixed_dims or size <= 1 else set(range(2, size + 1))
    axes = range(1, len(shape))  # the first axis is the batch
    if counts in ({0}, {1}):
        yield from (_layout(shape, {axis: ("j",)}) for axis in axes if shape[axis] == joints)
    by_coordinates = sorted(axes, key=lambda axis: shape[axis] != size)  # all coordinates before a part of them
    for j in axes:
        if shape[j] == joints:
            yield from (_layout(shape, {j: ("j",), d: ("d",)}) for d in by_coordinates if d != j and shape[d] in counts)
    for axis in axes:
        for count in sorted(counts - {0, 1}):
            if shape[axis] == joints * count:
                # Of one joint (j d) and (d j) are the same.
                orders = [("j", "d"), ("d", "j")] if joints > 1 else [("d",)]
                yield from (_layout(shape, {axis: order}) for order in orders)


def _layout(shape: Sequence[int], marked: Mapping[int, tuple[str, ...]]) -> Layout:
    """The layout with these axes, all others free in the usual words: {2: ("j",)} of four axes is "b t j u"."""
    free = iter(free_names(len(shape) - len(marked)))
    return Layout(tuple(marked.get(axis) or (next(free),) for axis in range(len(shape))))
