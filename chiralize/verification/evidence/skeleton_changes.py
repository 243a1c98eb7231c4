"""Changes of a skeleton that undo one mistake each: another sign, pairs crossed, a pair too many or too few.

`neighbours` makes each of them wherever a skeleton stands in a specification. A change is a function from skeletons to
skeletons that goes by the names of joints, so that one made for the body of an input applies to that of an output, too.

Example: of joints hip, left_knee, right_knee, left_foot, right_foot with two pairs, and x negated of x and y:

    no swap at all;  x not negated;  y negated instead of x;  left_knee and right_knee unswapped;  ... the feet
    left_knee paired with right_foot and left_foot paired with right_knee;
    left_knee paired with left_foot and right_knee paired with right_foot
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import combinations

from chiralize.body.skeleton.skeleton import AXES, TURNS, Skeleton
from chiralize.errors.words import when
from chiralize.verification.evidence.paired_in_order import paired_in_order
from chiralize.verification.evidence.records import PAIRED
from chiralize.verification.evidence.reflection import is_no_reflection

MOST_CROSSED_PAIRS = 8
"""Crossing every pair with every other one takes n (n - 1) tries; above so many pairs none is tried."""
MOST_CENTER_JOINTS = 8
NO_SWAP = "no swap at all"

Change = Callable[[Skeleton], Skeleton]


@lru_cache(4096)
def changed(skeleton: Skeleton, change: Change) -> Skeleton:
    """A skeleton with changes. Cached, since mirrors are compared for inputs and outputs, before and after."""
    return change(skeleton)


@lru_cache(64)
def changes(skeleton: Skeleton) -> tuple[tuple[str, Change], ...]:
    """Changes by name, the likeliest mistakes first; they apply to any skeleton that has the joints."""
    return tuple(_changes(skeleton))


def _changes(skeleton: Skeleton) -> Iterator[tuple[str, Change]]:
    """`changes`, one after the other."""
    if skeleton.pairs:
        yield NO_SWAP, partial(replace, pairs=())
    yield from _other_signs(skeleton)
    if not set(AXES) & set(skeleton.dims):
        yield from other_axes_of_vectors(skeleton)
    joints = skeleton.joints
    for i, j in skeleton.pairs:
        yield f"{joints[i]} and {joints[j]} unswapped", partial(_without_pair, names={joints[i], joints[j]})
    yield from _other_joint_signs(skeleton)
    yield from paired_in_order(skeleton)
    if len(skeleton.center) <= MOST_CENTER_JOINTS:
        for i, j in combinations(skeleton.center, 2):
            yield f"{joints[i]} and {joints[j]} swapped", partial(_with_pair, one=joints[i], other=joints[j])
    if len(skeleton.pairs) <= MOST_CROSSED_PAIRS:
        # Of two pairs (a b) and (c d) there are two other ways to pair the four joints.
        for (a, b), (c, d) in combinations(skeleton.pairs, 2):
            for first, second in (((a, d), (c, b)), ((a, c), (b, d))):
                names = [(joints[i], joints[j]) for i, j in (first, second)]
                words = " and ".join(f"{one} {PAIRED} {other}" for one, other in names)
                before = [{joints[a], joints[b]}, {joints[c], joints[d]}]
                yield words, partial(_crossed, before=before, after=names)


def new_pair(change: Change) -> frozenset[str]:
    """The two joints in the middle that a change pairs; none of any other change."""
    if isinstance(change, partial) and change.func is _with_pair:
        return frozenset(change.keywords.values())
    return frozenset()


def _other_signs(skeleton: Skeleton) -> Iterator[tuple[str, Change]]:
    """Changes that negate other coordinates, where all joints have the same signs."""
    if skeleton.has_joint_signs:
        yield "no signs of single joints", partial(replace, signs=())
        return
    negated = ", ".join(skeleton.negate)
    if skeleton.negate and not is_no_reflection(skeleton.dims, ()):
        # First: of mirrors that are the same on these inputs, the first has the name. In space it is no mirror, and
        # yet a network that treats joints alike fits it before it has learned much.
        yield f"{negated} not negated", partial(_negating, dims=(), before=skeleton.negate)
    if skeleton.dims == TURNS:
        # Of three angles about the axes a mirror negates two: which, follows from the axis that points sideways.
        for axis in AXES:
            if axis != skeleton.lateral:
                yield f"{axis} as the lateral axis", partial(_turned_about, axis=axis)
    for dim in skeleton.dims:
        # One alone; not the one that is negated alone already.
        if skeleton.negate and (dim not in skeleton.negate or len(skeleton.negate) > 1):
            yield f"{dim} negated instead of {negated}", partial(_negating, dims=(dim,), before=skeleton.negate)
        elif not skeleton.negate and len(skeleton.dims) > 1:
            yield f"{dim} negated", partial(_negating, dims=(dim,), before=())


def other_axes_of_vectors(skeleton: Skeleton) -> Iterator[tuple[str, Change]]:
    """Another lateral axis, which is that of vectors and angles beside the joints alone: what is negated stays."""
    if skeleton.lateral is None or skeleton.dims == TURNS:
        return
    for axis in AXES:
        if axis != skeleton.lateral:
            yield f"{axis} as the lateral axis", partial(_with_lateral, axis=axis)


def _with_lateral(body: Skeleton, axis: str) -> Skeleton:
    """The skeleton with another axis that points sideways."""
    return replace(body, lateral=axis)


def _other_joint_signs(skeleton: Skeleton) -> Iterator[tuple[str, Change]]:
    """The sign of all joints, of one, or of a pair the other way round; of skeletons with signs of joints.

    So are those of one number a joint, an angle: that all signs are left out is the commonest mistake there.
    """
    if not skeleton.signs and (skeleton.negate or len(skeleton.dims) > 1):
        return
    groups = [*skeleton.pairs, *((joint,) for joint in skeleton.center)]
    for dim in skeleton.dims:
        coordinate = when(len(skeleton.dims) > 1, f" in {dim}")
        yield f"the other sign of all joints{coordinate}", partial(other_sign, names=skeleton.joints, dim=dim)
        for group in groups:
            names = tuple(skeleton.joints[joint] for joint in group)
            yield f"the other sign of {' and '.join(names)}{coordinate}", partial(other_sign, names=names, dim=dim)


def _negating(body: Skeleton, dims: tuple[str, ...], before: tuple[str, ...]) -> Skeleton:
    """The skeleton with these coordinates negated, and no others; vectors and rotations follow one axis of space.

    before: those that it is instead of. A body that has none of all these, as one of angles beside points, stays.
    """
    if not {*dims, *before} & set(body.dims):
        return body
    lateral = dims[0] if len(dims) == 1 and dims[0] in AXES else body.lateral
    return replace(body, negate=tuple(dim for dim in dims if dim in body.dims), signs=(), lateral=lateral)


def _turned_about(body: Skeleton, axis: str) -> Skeleton:
    """The skeleton of rotations with another axis that points sideways: turns about it stay, the others are negated."""
    negate = tuple(dim for dim in TURNS if not dim.endswith(axis))
    return replace(body, negate=negate, lateral=axis) if body.dims == TURNS else body


def _without_pair(body: Skeleton, names: set[str]) -> Skeleton:
    """The skeleton with the two joints of these names in the middle, where they are a pair."""
    return replace(body, pairs=tuple(pair for pair in body.pairs if _names(body, pair) != names))


def _with_pair(body: Skeleton, one: str, other: str) -> Skeleton:
    """The skeleton with two joints paired, where it has them and neither has a partner."""
    if one not in body.joints or other not in body.joints:
        return body
    pair = body.index(one), body.index(other)
    if not set(pair) <= set(body.center):
        return body
    return replace(body, pairs=(*body.pairs, pair))


def _crossed(body: Skeleton, before: Sequence[set[str]], after: Sequence[tuple[str, str]]) -> Skeleton:
    """The skeleton with the pairs `after` in place of the pairs `before`, where it has these."""
    rest = [pair for pair in body.pairs if _names(body, pair) not in before]
    # Another skeleton of the specification may have one of the pairs only: half a change would leave a joint alone.
    if len(rest) != len(body.pairs) - len(before):
        return body
    return replace(body, pairs=(*rest, *((body.index(one), body.index(other)) for one, other in after)))


def other_sign(body: Skeleton, names: tuple[str, ...], dim: str) -> Skeleton:
    """The skeleton with the sign of some joints the other way round in one coordinate, where it has them."""
    if dim not in body.dims or not set(names) <= set(body.joints):
        return body
    table = body.sign_table()
    column = body.dims.index(dim)
    for name in names:
        table[body.index(name), column] *= -1
    rows = [(joint, tuple(row)) for joint, row in enumerate(table.tolist())]
    return replace(body, signs=tuple(rows), lateral=body.lateral)


def _names(body: Skeleton, pair: tuple[int, int]) -> set[str]:
    """The names of the two joints of a pair."""
    return {body.joints[joint] for joint in pair}
