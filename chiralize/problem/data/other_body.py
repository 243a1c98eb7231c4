"""Inputs of another skeleton than the network's: as a person with 15 joints for a network that takes 17."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chiralize.body.skeleton.kinds import offered
from chiralize.body.tensors import ResolvedTensor
from chiralize.body.tensors.axes import Pose
from chiralize.errors import DataFileError
from chiralize.errors.words import when

_MOST_JOINTS = 200
"""More than any body that is known here has: a longer axis holds frames or samples."""
_MOST_NAMED = 6
_UNNAMED = "unnamed"
_NO_PART_OF_A_SAMPLE = ("b", "1")


def other_body(array: str, given: Sequence[int], tensor: ResolvedTensor, where: str) -> DataFileError | None:
    """The error for an array whose samples fit the layout of an input but for the number of joints; None for others.

    array: as messages name it.  given: its shape, samples first.  tensor: the input that it is for.
    """
    pose = tensor.pose
    if pose is None:
        return None
    joints = _joints_in(tuple(given[1:]), tuple(given), pose)
    if joints is None:
        return None
    body = pose.body
    whose = when(body.name != _UNNAMED, f", those of {body.name}")
    facts = (
        f"{array} has samples of {joints} joints (shape {tuple(given)}), the network takes {len(body.joints)}{whose} "
        f"(its input {tensor.index} has {tensor.shape})"
    )
    names = offered(joints, instead_of=body, most=_MOST_NAMED)
    remedy = (
        f"they look like another skeleton's{when(names, f' ({names})')}: give inputs of the same skeleton, laid out as "
        f"{tensor.layout!r}"
    )
    return DataFileError(where, facts, remedy)


def _joints_in(sample: tuple[int, ...], whole: tuple[int, ...], pose: Pose) -> int | None:
    """How many joints a sample of this shape has, if that is all in which it differs; None where it is not clear.

    whole: the shape of the array. Where the network's own number is a size of it, axes are out of order, or joints are
    right and something else is not.
    """
    sizes = {word: size for word, size in pose.sizes if word not in _NO_PART_OF_A_SAMPLE}
    count, dims = sizes.get("j", 0), sizes.get("d", 1)
    if count < 2 or {count, count * dims} & set(whole):
        return None
    words = [word for axis in pose.layout.axes for word in axis if word in sizes]
    # An array may have joints and coordinates in one axis: (..., 45) is also tried as (..., 15, 3).
    ways = [sample]
    if dims > 1 and sample and sample[-1] % dims == 0 and sample[-1] % (count * dims):  # else whole frames in a row
        ways.append((*sample[:-1], sample[-1] // dims, dims))
    for way in ways:
        joints = _at_the_end(way, words, sizes) or _but_for_joints(way, words, sizes)
        if joints is not None and 1 < joints <= _MOST_JOINTS:
            return joints
    return None


def _at_the_end(way: Sequence[int], words: Sequence[str], sizes: dict[str, int]) -> int | None:
    """The size in the joints' place, where all that follows them fits: `joints, coordinates` at the end of a shape."""
    behind = words[words.index("j") + 1 :]
    position = len(way) - len(behind) - 1
    if position < 0 or not behind or list(way[position + 1 :]) != [sizes[word] for word in behind]:
        return None
    return way[position]


def _but_for_joints(way: Sequence[int], words: Sequence[str], sizes: dict[str, int]) -> int | None:
    """The one size that stands in for the joints, where all others are those of the network in any order."""
    given, wanted = Counter(way), Counter(sizes[word] for word in words)
    surplus, missing = given - wanted, wanted - given
    if len(way) != len(words) or surplus.total() != 1 or missing != Counter([sizes["j"]]):
        return None
    return next(iter(surplus))
