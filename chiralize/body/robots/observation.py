"""A specification's observation against the robot: T of what is observed has to be what is observed of T."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chiralize.body.robots.describing import Entry
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.observing import Moment, Reader, base_reader, joints_reader, mirrored, random_moments
from chiralize.body.robots.robot import Array
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields import Field
from chiralize.body.tensors.fields.joints import Joints
from chiralize.body.tensors.fields.plain import Measured
from chiralize.body.tensors.resolution import resolve
from chiralize.symmetry.involution import SignedPermutation

_MOMENTS = 4
_SAME = 1e-9


@dataclass(frozen=True)
class WrongEntry:
    """An entry of an observation that the specification mirrors wrongly.  right: what would be right, in words."""

    tensor: str
    index: int
    label: str
    right: str

    def __str__(self) -> str:
        """`input 0, entry 3 (orientation[2]): it is negated`."""
        return f"{self.tensor}, entry {self.index} ({self.label}): {self.right}"


@dataclass(frozen=True)
class Observed:
    """wrong: entries.  checked, unchecked: blocks, in words."""

    wrong: tuple[WrongEntry, ...]
    checked: tuple[str, ...]
    unchecked: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Block:
    """Entries of one tensor that belong together.  action: T on them, as the specification says."""

    tensor: str
    start: int
    names: tuple[str, ...]
    title: str
    action: SignedPermutation
    reader: Reader | None
    words: str = ""


def observation_of(
    spec: ConversionSpec, mirror: RobotMirror, entries_named: Callable[[Skeleton], list[Entry]]
) -> Observed:
    """Check every block that can be computed from a robot's state.

    entries_named: the robot's numbers that the joints of a skeleton name.
    """
    wrong: list[WrongEntry] = []
    checked: list[str] = []
    unchecked: list[str] = []
    moments = random_moments(mirror, _MOMENTS)
    images = [mirrored(mirror, moment) for moment in moments]
    for io, tensors in (("input", spec.inputs), ("output", spec.outputs)):
        for number, entry in enumerate(tensors or ()):
            for block in _blocks(f"{io} {number}", io, entry, spec, mirror, entries_named):
                title = f"{block.tensor}: {block.title}"
                if block.reader is None:
                    unchecked.append(title)
                    continue
                checked.append(f"{title} ({block.words})")
                wrong += _wrong_entries(block, block.reader, moments, images)
    return Observed(tuple(wrong), tuple(checked), tuple(unchecked))


def _wrong_entries(
    block: _Block, reader: Reader, moments: Sequence[Moment], images: Sequence[Moment]
) -> list[WrongEntry]:
    values = np.stack([reader(moment) for moment in moments])
    right = np.stack([reader(image) for image in images])
    said = block.action.act(values, -1)
    faults = np.flatnonzero(np.abs(said - right).max(axis=0) > _SAME)
    return [
        WrongEntry(block.tensor, block.start + at, block.names[at], _right(block, at, values, right[:, at]))
        for at in faults.tolist()
    ]


def _right(block: _Block, at: int, values: Array, right: Array) -> str:
    """What the entry has to be in the image, in words."""
    for sign, word in ((1, ""), (-1, "negated ")):
        same = np.flatnonzero(np.abs(sign * values - right[:, None]).max(axis=0) <= _SAME).tolist()
        if at in same:
            return "it has to be kept" if sign > 0 else "it has to be negated"
        if same:
            return f"its image is {word}{block.names[same[0]]}"
    return "its image is no single entry of the block"


def _blocks(
    tensor: str,
    io: str,
    entry: TensorEntry,
    spec: ConversionSpec,
    mirror: RobotMirror,
    entries_named: Callable[[Skeleton], list[Entry]],
) -> list[_Block]:
    """The blocks of a tensor; one that is described otherwise is one block that cannot be checked."""
    body = entry.body(spec.skeleton)
    if entry.kind == "pose" and len(body.dims) == 1 and "j" in (entry.layout or "j"):
        title = entry.name or ("action" if io == "output" else "joints")
        read = joints_reader(mirror.robot, title, entries_named(body))
        reader, words = read if read is not None else (None, "")
        return [_Block(tensor, 0, body.joints, title, body.merged_action(), reader, words)]
    if entry.kind != "fields":
        return [_Block(tensor, 0, (), entry.name or entry.kind, SignedPermutation.identity(0), None)]
    fields = entry.fields or ()
    widths = [block.size(body) for block in fields]
    described = replace(entry, layout=None)
    resolved = resolve(ConversionSpec(spec.name, spec.skeleton, (described,), ()), [(1, sum(widths))], [])
    representation = resolved.inputs[0]
    blocks, start = [], 0
    for block, width in zip(fields, widths, strict=True):
        part = None if representation is None else _part(representation.axes[-1].action, start, width)
        names = resolved.input_tensors[0].names[start : start + width]
        read = None if part is None else _read(block, width, body, mirror, entries_named)
        reader, words = read if read is not None else (None, "")
        action = part if part is not None else SignedPermutation.identity(width)
        blocks.append(_Block(tensor, start, names, block.name, action, reader, words))
        start += width
    return blocks


def _part(action: SignedPermutation, start: int, width: int) -> SignedPermutation | None:
    """T on a block; None where it takes the block to another one."""
    return action.restrict(range(start, start + width))


def _read(
    block: Field,
    width: int,
    body: Skeleton,
    mirror: RobotMirror,
    entries_named: Callable[[Skeleton], list[Entry]],
) -> tuple[Reader, str] | None:
    if isinstance(block, Joints):
        entries = entries_named(block.body_of(body))
        return None if block.is_plain else joints_reader(mirror.robot, block.name, entries)
    if block.kind in ("vector", "axial", "signs", "scalar"):
        return base_reader(mirror.robot, block.kind, block.name, width)
    if isinstance(block, Measured) and (block.kind == "quaternion" or block.quantity.order == "rpy"):
        return base_reader(mirror.robot, block.kind, f"{block.name} {block.kind} {block.quantity.order}", width)
    return None
