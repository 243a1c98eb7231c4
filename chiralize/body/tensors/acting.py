"""What the mirror does to every input and output of a specification, in a line each, before any network is there.

    input 0 'b t j d': swaps the 6 pairs; negates x
    output 0: stays as it is

`chiralize skeleton show` prints it. T is the same for every length of a free axis. So the specification is fitted to
the smallest tensor of its layout, and T is read off a tensor of numbered entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.claims import with_sizes
from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields.unclaimed import Unclaimed
from chiralize.body.tensors.layout import CLASSES, parse_layout
from chiralize.body.tensors.one_tensor import fields_width
from chiralize.body.tensors.resolution import resolve
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors import SpecError
from chiralize.errors.words import listed, when

_WITHOUT_T = ("like", "state", "free", "invariant", "unclaimed")
"""Kinds of tensors of which no T is computed here: it is another tensor's, is found later, or does nothing."""
_CELLS = 4
"""Length of an axis that is reversed, to try it on."""
_FREE = TensorEntry(flag="free")
_MOST = 8
"""Names in a list."""
_MOST_ENTRIES = 1_000_000
"""Of a tensor that T is tried on: one number of a file can ask for any size, `mirror: {w: 100000000000}`."""


@dataclass(frozen=True)
class ActedOn:
    """T on one tensor. where: `input 0 'poses'`.  layout: as it is written, or what it is taken for, or "".

    swapped: names of entries that change places.  negated: those whose sign changes, coordinates or joints.  says: what
    is not of these two kinds.  has_all_pairs: all pairs of the specification's skeleton are swapped, and no others.
    """

    where: str
    layout: str = ""
    swapped: tuple[tuple[str, str], ...] = ()
    negated: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    has_all_pairs: bool = False

    def __str__(self) -> str:
        """`input 0 "b j d": swaps left_hand and right_hand; negates x`."""
        swaps = listed([f"{one} and {other}" for one, other in self.swapped], _MOST)
        if self.has_all_pairs:
            swaps = f"the {len(self.swapped)} pairs"
        negates = listed(self.negated, _MOST)
        parts = [when(swaps, f"swaps {swaps}"), when(negates, f"negates {negates}"), *self.says]
        does = "; ".join(filter(None, parts)) or "stays as it is"
        return f"{self.where}{when(self.layout, f' {self.layout!r}')}: {does}"

    def to_dict(self) -> dict[str, object]:
        """The same as the JSON output has it."""
        texts = {"layout": self.layout, "swapped": [list(pair) for pair in self.swapped]}
        return {**texts, "negated": list(self.negated), "says": list(self.says)}


def acted_on(spec: ConversionSpec) -> Iterator[ActedOn]:
    """T on every input and output that a specification describes; none of layouts that are found with a network."""
    for io, entries in (("input", spec.inputs), ("output", spec.outputs)):
        for number, entry in enumerate(entries or ()):
            yield _acted_on(f"{io} {number}" + when(entry.name, f" {entry.name!r}"), entry, spec)


def _acted_on(where: str, entry: TensorEntry, spec: ConversionSpec) -> ActedOn:
    """T on one tensor; words where it has none, or where its sizes would have to be known."""
    if entry.kind in _WITHOUT_T:
        return ActedOn(where, says=_of_whole(entry))
    layout = entry.layout or _usual(entry, entry.body(spec.skeleton))
    # As the one input of a specification, whether it is an input or an output: T on it is the same.
    # Numbers stand in for entries of which nothing is claimed.
    fields = None if entry.fields is None else with_sizes(entry.fields)
    single = replace(spec, inputs=(replace(entry, layout=layout, fields=fields),), outputs=(_FREE,), named=())
    sizes = _sizes(layout, entry, spec.skeleton)
    if prod(sizes) > _MOST_ENTRIES:
        return ActedOn(where, layout, says=(f"not known without its sizes (more than {_MOST_ENTRIES} entries)",))
    try:
        (tensor,) = resolve(single, [sizes], [(1,)]).input_tensors
    except SpecError as error:
        return ActedOn(where, layout, says=(f"not known without its sizes ({error.facts})",))
    swapped, negated = _moves(tensor)
    if entry.kind == "fields":  # their entries are listed one by one
        counts = f"{len(swapped)} pairs of its {len(tensor.names)} entries swap, {len(negated)} entries change sign"
        left_out = [block.name for block in entry.fields or () if isinstance(block, Unclaimed)]
        claims = when(left_out, f"nothing is claimed of {listed(left_out, _MOST)}")
        return ActedOn(where, entry.layout or "", says=tuple(filter(None, (counts, claims))))
    # "the 6 pairs" in place of a list of names, where joints swap as the skeleton says; a single pair is named.
    joints = spec.skeleton.joints
    all_pairs = {frozenset((joints[one], joints[other])) for one, other in spec.skeleton.pairs}
    has_all_pairs = len(all_pairs) > 1 and set(map(frozenset, swapped)) == all_pairs
    return ActedOn(where, entry.layout or "", swapped, negated, tuple(_beside(entry)), has_all_pairs)


def _of_whole(entry: TensorEntry) -> tuple[str, ...]:
    """What is said of a tensor as a whole, in words; nothing of one that T leaves as it is."""
    if entry.kind == "like":
        return (f"as {entry.like}",)
    if entry.kind == "state":
        return ("as the network's weights have it: found when it is converted",)
    if entry.kind == "unclaimed":
        return ("nothing is claimed of it",)
    return ()


def _usual(entry: TensorEntry, body: Skeleton) -> str:
    """The layout that an entry without one is tried in: T is the same in any."""
    if entry.kind != "pose":
        return f"b {CLASSES if entry.kind == 'classes' else 'f'}"
    return "b j d" if body.dims else "b j"


def _sizes(layout: str, entry: TensorEntry, skeleton: Skeleton) -> list[int]:
    """The smallest sizes for every axis of a layout: 1 for free words, at least the classes that swap."""
    body = entry.body(skeleton)
    known = {"j": len(body.joints), "d": len(body.dims) or 1, "f": fields_width(entry.fields or (), body)}
    if entry.classes is not None:
        ends = [max(pair) + 1 for pair in entry.classes.swap]
        known[CLASSES] = len(entry.classes.names) or max(ends, default=1)
    # Cell e goes to 2 c - e, so that cell 0 needs an axis of 2 c + 1 cells to have its image.
    for word, center in entry.mirror:
        known[word] = _CELLS if center is None else int(2 * center) + 1
    sizes: list[int] = []
    for axis in parse_layout(layout).axes:
        sizes.append(prod(known.get(word, 1) for word in axis))
    return sizes


def _moves(tensor: ResolvedTensor) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Which entries change places, and which change sign, by what they are called.

    Joints that change places with all of their coordinates are one pair; a coordinate that changes sign in all joints
    is one name.
    """
    assert tensor.representation is not None
    # Entries are numbered from 1, so that each has a sign: where T x holds -7, the seventh entry came, negated.
    numbers = np.arange(1, int(np.prod(tensor.shape)) + 1).reshape(tensor.shape)
    moved = tensor.representation.act(numbers)
    pairs: dict[tuple[str, str], None] = {}
    negated: dict[str, list[str]] = {}
    joints: dict[str, dict[str, None]] = {}
    for index in np.ndindex(*tensor.shape):
        joint, dim = _names(tensor, index)
        # The number that came here says at which index it was before: that entry is the partner.
        partner, _ = _names(tensor, np.unravel_index(abs(int(moved[index])) - 1, tensor.shape))
        if joint != partner and (partner, joint) not in pairs:
            pairs[joint, partner] = None
        joints.setdefault(dim, {})[joint] = None
        if moved[index] < 0 and joint not in negated.setdefault(dim, []):
            negated[dim].append(joint)
    names: list[str] = []
    for dim, those in negated.items():
        # Negated for all joints, it is the coordinate; else each joint by name.
        if dim and len(those) == len(joints[dim]):
            names.append(dim)
        else:
            names += [".".join(filter(None, (joint, dim))) for joint in those]
    return tuple(pairs), tuple(names)


def _names(tensor: ResolvedTensor, index: Sequence[int | np.intp]) -> tuple[str, str]:
    """The joint, or the entry, and the coordinate at `index`; "" where there is none."""
    position = [int(along) for along in index]
    pose = tensor.pose
    if pose is None:
        axis = tensor.class_axis if tensor.class_axis is not None else tensor.name_axis
        if axis is None:
            return "", ""
        names = tensor.names or (tensor.entry.classes.names if tensor.entry.classes else ())
        return (names[position[axis]] if names else str(position[axis])), ""
    words = pose.positions(position)
    # Where joints stand along two axes, the first says how they swap: both do alike.
    joint = next((pose.body.joints[along] for word, along in words if word == "j"), "")
    return joint, "".join(pose.body.dims[along] for word, along in words if word == "d")


def _beside(entry: TensorEntry) -> Iterator[str]:
    """Joints on two axes, axes of pictures that are reversed, and coordinates mirrored at another point than 0."""
    if entry.layout and parse_layout(entry.layout).has_joints_twice:
        yield "along both axes of joints"
    for word, center in entry.mirror:
        yield f"reverses {word}" + when(center is not None, f" at cell {center}")
    for dim, center in entry.reflect:
        if center:
            yield f"{dim} is mirrored at {center}, {dim} -> {2 * center} - {dim}"
