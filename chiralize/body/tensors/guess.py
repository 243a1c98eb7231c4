"""Inferring a layout from the sizes of a tensor: used where exactly one reading fits, refused otherwise.

The first axis is the batch. Tried are every axis of J joints with every axis of coordinates, and every axis that
merges the two in either order; readings that mean the same are one.

For 17 joints with dims x, y, z: (8, 17, 3) is "b j d". (8, 51) could be "b (j d)" and "b (d j)", on which T differs, so
the user is asked. Nothing is ever chosen for being likelier. `resolution` comes here for tensors without a layout;
most of the file is the message where none fits or several do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chiralize.body.skeleton.catalog import load_skeleton, names_of_size
from chiralize.body.skeleton.kinds import kind_of
from chiralize.body.skeleton.nodes import nearest
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.axes import Pose, fit, represent
from chiralize.body.tensors.fields.quantities import ROTATIONS
from chiralize.body.tensors.layout import Layout, free_names
from chiralize.errors import AmbiguousLayoutError, LayoutSizeError, SpecError
from chiralize.errors.words import when
from chiralize.symmetry.representation import TensorRepresentation

PICTURE_CHANNELS = (1, 3)
_MOST_DIMS = 9
"""Coordinates that a joint may have, besides those of the skeleton: a confidence, velocities, rotations."""
SCORES = " (class scores: --invariant)"
"""The end of a remedy for outputs without a reading."""


def infer_pose(shape: Sequence[int], body: Skeleton, fixed_dims: bool, where: str) -> Pose:
    """The one layout that fits. Raises AmbiguousLayoutError with the candidates, or LayoutSizeError.

    fixed_dims: whether all dims of the body are there, since the file lists them for this tensor; else an axis may have
    the first ones of them.  where: `input 0 ...`, whose first word names the option in the remedy.
    """
    poses = fitting(shape, body, fixed_dims, where)
    if len(poses) == 1:
        return poses[0]
    if poses:
        texts = [f"'{pose.layout}'" for pose in poses]
        facts = f"shape {tuple(shape)} fits {len(texts)} layouts of {body.name}: " + ", ".join(texts)
        remedy = f"say which, --{where.split()[0]}-layout {texts[0].replace(chr(39), chr(34))} or `layout:` in the file"
        if any("(j d)" in text for text in texts):
            remedy += "; (j d) is x, y of one joint, then of the next, (d j) is x of all joints, then y of all"
        raise AmbiguousLayoutError(where, facts, remedy)
    raise LayoutSizeError(where, _why(shape, body, fixed_dims), _remedy(shape, body, fixed_dims, where))


def fitting(shape: Sequence[int], body: Skeleton, fixed_dims: bool, where: str) -> list[Pose]:
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
    joints = len(body.joints)
    counts = coordinate_counts(body, fixed_dims)
    axes = range(1, len(shape))
    if counts == {1} or counts == {0}:
        yield from (_layout(shape, {axis: ("j",)}) for axis in axes if shape[axis] == joints)
    # Where two axes could be the coordinates, (8, 17, 3, 2) with dims x, y, z, that of all of them is the likelier one.
    by_coordinates = sorted(axes, key=lambda axis: shape[axis] != len(body.dims))  # all of them before a part
    for j in axes:
        if shape[j] == joints:
            yield from (_layout(shape, {j: ("j",), d: ("d",)}) for d in by_coordinates if d != j and shape[d] in counts)
    for axis in axes:
        for count in sorted(counts - {0, 1}):
            if shape[axis] == joints * count:
                if joints > 1:  # of one joint (j d) and (d j) are the same
                    yield _layout(shape, {axis: ("j", "d")})
                    yield _layout(shape, {axis: ("d", "j")})
                else:
                    yield _layout(shape, {axis: ("d",)})


def coordinate_counts(body: Skeleton, fixed_dims: bool) -> set[int]:
    """How many coordinates an axis may hold; a lone first coordinate of several is never guessed."""
    size = len(body.dims)
    if fixed_dims or size <= 1:
        return {size}
    return set(range(2, size + 1))


def _layout(shape: Sequence[int], marked: dict[int, tuple[str, ...]]) -> Layout:
    """The layout with these axes, all others free in the usual words: {2: ("j",)} of four axes is "b t j u"."""
    free = iter(free_names(len(shape) - len(marked)))
    return Layout(tuple(marked.get(axis) or (next(free),) for axis in range(len(shape))))


def _of_other_dims(shape: Sequence[int], body: Skeleton, fixed_dims: bool) -> tuple[Layout, int] | None:
    """A layout for joints that have another number of coordinates than the skeleton, and that number; None without one.

    None where several axes could be the coordinates, too.
    """
    # (8, 17, 5), or (8, 85), with a skeleton of 17 joints that have x, y, z: five numbers of each joint.
    joints, counts = len(body.joints), coordinate_counts(body, fixed_dims)
    if len(body.dims) < 2:  # of robots, whose observations are described block by block
        return None
    layouts: list[tuple[Layout, int]] = []
    for axis in range(1, len(shape)):
        # An axis of joints beside a short one, which may be their numbers: (8, 17, 5).
        if shape[axis] == joints:
            others = [other for other in range(1, len(shape)) if other != axis]
            few = [other for other in others if shape[other] <= _MOST_DIMS and shape[other] not in counts]
            layouts += [(_layout(shape, {axis: ("j",), other: ("d",)}), shape[other]) for other in few]
        # A multiple of the joints: (8, 85).
        count, rest = divmod(shape[axis], joints)
        if joints > 1 and not rest and count not in counts and count <= _MOST_DIMS:
            if len(shape) == 2 or count > 1:
                marked = ("j", "d") if count > 1 else ("j",)
                layouts.append((_layout(shape, {axis: marked}), count))
    return layouts[0] if len(layouts) == 1 else None


def described_dims(layout: object, count: int, body: Skeleton, io: str) -> str:
    """The line of a file that describes joints with so many coordinates, in place of those of the skeleton.

    layout: a `Layout` or its text.  io: `input` or `output`. Further numbers are called c, or c1, c2, ...; what else
    they could be follows behind it: several bodies, a confidence behind all coordinates, a rotation.
    """
    names = list(body.dims[:count])
    further = count - len(names)
    names += ["c"] if further == 1 else [f"c{number}" for number in range(1, further + 1)]
    line = f'{io}s: [{{layout: "{layout}", dims: [{", ".join(names)}]}}]'
    if further:
        line += f", with {names[-1]} in `negate` too if the mirror changes its sign; a confidence stays"
    if further > 1 and "(j d)" in str(layout):
        line += _of_several_bodies(str(layout), count, body, io)
    if further == 1 and "(j d)" in str(layout):
        blocks = "{joints: position}, {joints: confidence, kind: scalar}"
        line += f"; or, where the coordinates of all joints stand before what else each has, {io}s: "
        line += f'[{{layout: "{str(layout).replace("(j d)", "f")}", fields: [{blocks}]}}]'
    if further and count in ROTATIONS:
        line += f'; or, of rotations, {io}s: [{{layout: "{layout}", {ROTATIONS[count][0]}}}]'
    return f"skeleton: {body.name}, {line}"


def _of_several_bodies(layout: str, count: int, body: Skeleton, io: str) -> str:
    """How to describe numbers that are those of several bodies, with a score of each joint or without; "" for none."""
    # With dims x, y: 6 numbers are two bodies with x, y and a score, 4 are two with x, y. The first that fits is taken.
    for names in ([*body.dims, "c"], [*body.dims], [*body.dims[:2], "c"], [*body.dims[:2]]):
        if count % len(names) == 0 and count > len(names):
            several = layout.replace("(j d)", "(m j d)")
            return (
                f"; or, of {count // len(names)} bodies one after the other, {io}s: "
                f'[{{layout: "{several}", dims: [{", ".join(names)}]}}]'
            )
    return ""


def _why(shape: Sequence[int], body: Skeleton, fixed_dims: bool) -> str:
    """Why no layout fits: another number of coordinates, no axis of coordinates, or no axis of joints."""
    joints, dims = len(body.joints), list(body.dims)
    text = f"no layout fits shape {tuple(shape)}: {body.name} has {joints} joints and dims {dims}"
    other = _of_other_dims(shape, body, fixed_dims)
    if other is not None:
        numbers = "one number" if other[1] == 1 else f"{other[1]} numbers"
        return f"{text}, the network seems to have {numbers} of every joint"
    if joints in shape[1:]:
        return text + f", and beside the axis of size {joints} none has the size of the coordinates"
    sizes = sorted(coordinate_counts(body, fixed_dims))
    merged = " or ".join(str(joints * count) for count in sizes if count > 1)
    return text + f", so an axis of size {joints}" + when(merged, f" or {merged}") + " was expected"


def _remedy(shape: Sequence[int], body: Skeleton, fixed_dims: bool, where: str) -> str:
    """What to do about it, from the most special case on: joints with other numbers, a picture, a robot's observation,
    a skeleton with another number of joints.
    """
    io = where.split()[0]
    scores = SCORES if io == "output" else ""
    other = _of_other_dims(shape, body, fixed_dims)
    # A file that lists the dims has said already how many there are.
    if other is not None and not fixed_dims:
        return _remedy_of_dims(*other, body, io, scores)
    if len(shape) == 4 and shape[1] in PICTURE_CHANNELS:
        return f'check the skeleton, or for a picture whose width the mirror reverses, --{io}-layout "b c h ~w"'
    if len(body.dims) == 1 and len(shape) == 2 and io == "input":
        return (
            "an observation of several blocks is described by `fields` in a file, for example "
            "inputs: [{fields: [{vector: velocity}, {axial: gyro}, {joints: q}]}] (docs/observations.md); "
            f"`chiralize skeleton list` has robots that are complete; or say the layout, --{io}-layout"
        )
    similar = _similar(shape, body)
    hint = when(similar, f"; {similar}")
    named = {
        "input": ", or describe what its numbers are by `fields` in a file (docs/observations.md)",
        "output": ", and `unclaimed` for one of which nothing is claimed",
    }[io]
    return (
        f"check the skeleton{hint}, or say the layout, --{io}-layout, with `free` for a tensor without a body{scores}"
        + named
    )


def _remedy_of_dims(layout: Layout, count: int, body: Skeleton, io: str, scores: str) -> str:
    """How to describe joints with so many numbers each.  scores: the end of the remedy, for outputs."""
    line = f"say so in a file: {described_dims(layout, count, body, io)}"
    if count == 1:
        return f"{line} for one coordinate (dims: [] for a score, which has no sign){scores}"
    return f"{line}; or check the skeleton{scores}"


def _similar(shape: Sequence[int], body: Skeleton) -> str | None:
    """A shipped skeleton of the same family whose number of joints does fit."""
    kind = kind_of(body)
    names = [name for name in names_of_size(*shape[1:]) if not kind or kind_of(load_skeleton(name)) == kind]
    near = nearest(body.name, names) if names else None
    if not near:
        return None
    return f"{near} has {len(load_skeleton(near).joints)} joints"
