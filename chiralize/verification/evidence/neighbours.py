"""Mirrors near the given one: the same specification with one thing about the mirror changed.

A mirror that is wrong is usually wrong in one place: two joints that do not swap, a pair that is crossed with another,
the wrong coordinate negated, a field of the wrong kind, another skeleton of the same size. Each of these is undone by
one change of the specification, so that a network which fits the true mirror fits one of these neighbours better.

A neighbour is a whole specification and a name. The name is read after "with", in messages such as "its gap is 0.21
with y negated instead of x, 1.4 with T". `mirror_evidence` resolves each and compares its mirror with T on the
network's answers; `corrections` takes neighbours of neighbours.

    skeleton_changes     one thing about a skeleton
    misread              an axis, a whole tensor, a place of a coordinate
    other_fields         blocks of a tensor that is described block by block
    other_kinds          an output of another kind
    turns                poses that are rotations
    answer_points        points that answers are mirrored at
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import chain, product, zip_longest

from chiralize.body.skeleton.catalog import find_shipped, names_of_size
from chiralize.body.skeleton.kinds import may_fit
from chiralize.body.skeleton.naming import as_sets
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ConversionSpec, ResolvedSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors import ChiralizeError
from chiralize.errors.words import when
from chiralize.verification.evidence.answer_points import Points, mirrored_at_points
from chiralize.verification.evidence.misread import (
    Entries,
    exchanged_views,
    free_as_mirrored,
    heights_for_widths,
    joints_on_two_axes,
    moved_reversals,
    other_orders,
    other_places_of_dims,
    reversed_axes,
)
from chiralize.verification.evidence.off_center import negated, rounded
from chiralize.verification.evidence.other_fields import (
    exchanged_fields_of,
    other_fields_of,
    others_everywhere,
    rarely_other_fields_of,
    reordered_fields_of,
)
from chiralize.verification.evidence.other_kinds import outputs_of_another_kind
from chiralize.verification.evidence.records import AT_A_POINT
from chiralize.verification.evidence.skeleton_changes import (
    Change,
    changed,
    changes,
    new_pair,
    other_axes_of_vectors,
    other_sign,
)
from chiralize.verification.evidence.turns import as_rotations

Means = Mapping[tuple[int, str], float]


@dataclass(frozen=True)
class Neighbour:
    """A specification near the given one.

    name: what is different, to be read after "with".  spec: the whole of it.  skeleton: the name of the shipped
    skeleton that was put in the place of the given one, or "".
    """

    name: str
    spec: ConversionSpec
    skeleton: str = ""


# ---- specifications -------------------------------------------------------------------------------------------
def nearby(
    resolved: ResolvedSpec,
    means: Means | None = None,
    numbers: Collection[int] = (),
    points: Points | None = None,
    still: Collection[str] = (),
) -> Iterator[Neighbour]:
    """Neighbours of a specification, those first that are the likeliest mistakes and tell the most.

    means: of the coordinates of the inputs, by input and dim: the point that one could be mirrored at.
    numbers: the positions of inputs of floating-point numbers, of which free ones could be mirrored.
    points: that coordinates of outputs could be mirrored at.  still: joints that never move in the inputs, which are
    paired with no other one there.
    Some of them cannot be resolved, and some are the same mirror: whoever tries them leaves those out.
    """
    # The order matters: of mirrors that are the same the first has the name, and only so many can be run.
    base = with_layouts(resolved)
    bodies = [_with_used_dims(body, resolved) for body in _bodies(base)]
    # The whole body, and nothing of it.
    yield from _shipped_skeletons(base, set(bodies[0].dims))
    for body in bodies[:1]:
        for name, change in changes(body)[:1]:
            yield Neighbour(name, _everywhere(base, change))
    # Single tensors: how they are read, then signs and fields. Outputs before inputs, since they need no further run.
    for name, entries in _tensors_read_otherwise(resolved, numbers):
        yield Neighbour(name, _with_entries(base, entries))
    yield from _signs_of_tensors(base, resolved.output_tensors)
    yield from _of_fields(base, resolved, resolved.output_tensors)
    for name, entries in exchanged_fields_of(resolved.input_tensors):
        yield Neighbour(name, _with_entries(base, entries))
    yield from _signs_of_tensors(base, resolved.input_tensors)
    # Points that coordinates are mirrored at.
    yield from _centers(base, resolved, means or {})
    for name, entries in mirrored_at_points(resolved, points or {}):
        yield Neighbour(name, _with_entries(base, entries))
    # The axis that vectors and angles beside the joints follow, before what turns coordinates of joints as well.
    yield from _other_axes(base, bodies[0])
    yield from _of_joints(base, bodies, still)
    # What is meant least often.
    for name, entries in others_everywhere(resolved):
        yield Neighbour(name, _with_entries(base, entries))
    rare = rarely_other_fields_of(resolved, resolved.input_tensors)
    for name, entries in chain(rare, other_places_of_dims(resolved)):
        yield Neighbour(name, _with_entries(base, entries))


def _of_joints(base: ConversionSpec, bodies: Sequence[Skeleton], still: Collection[str]) -> Iterator[Neighbour]:
    """Single joints and pairs of each skeleton changed, in the outputs alone and everywhere.

    still: joints that are paired with no other one in the inputs.
    """
    seen: set[str] = set()
    everywhere: list[Neighbour] = []
    in_outputs: list[Neighbour] = []
    of_bodies = zip_longest(*map(changes, bodies))  # one of each in turn: not all can be tried
    for name, change in filter(None, chain.from_iterable(of_bodies)):
        if name not in seen:
            seen.add(name)
            in_outputs.append(Neighbour(f"{name} in the outputs alone", _in_outputs(base, change)))
            if new_pair(change).isdisjoint(still):
                everywhere.append(Neighbour(name, _everywhere(base, change)))
    yield from in_outputs  # they need no further run of the network
    yield from everywhere


def with_other_signs_of_joints(resolved: ResolvedSpec, joints: Collection[str]) -> Iterator[Neighbour]:
    """The specification with the other sign, everywhere, of each pair with one of these joints; then of all of them.

    Not of a joint in the middle: with the other sign T does nothing to it, and whatever it does fits.
    """
    base = with_layouts(resolved)
    for body in _bodies(base)[:1]:
        groups = list[tuple[str, ...]]()
        for left, right in body.pairs:
            names = body.joints[left], body.joints[right]
            if set(names) & set(joints):
                groups.append(names)
        together = [tuple(chain.from_iterable(groups))] if len(groups) > 1 else []
        for names, dim in product((*groups, *together), body.dims):
            coordinate = when(len(body.dims) > 1, f" in {dim}")
            change = partial(other_sign, names=names, dim=dim)
            yield Neighbour(f"the other sign of {' and '.join(names)}{coordinate}", _everywhere(base, change))


def changed_everywhere(resolved: ResolvedSpec, change: Change) -> ConversionSpec:
    """The specification with every skeleton that a change applies to changed."""
    return _everywhere(with_layouts(resolved), change)


def with_reordered_fields(resolved: ResolvedSpec) -> Iterator[Neighbour]:
    """The specification with two neighbouring blocks of one tensor in the other order."""
    base = with_layouts(resolved)
    for name, entries in reordered_fields_of((*resolved.output_tensors, *resolved.input_tensors)):
        yield Neighbour(name, _with_entries(base, entries))


def _other_axes(base: ConversionSpec, body: Skeleton) -> Iterator[Neighbour]:
    """Another lateral axis everywhere.  body: the specification's."""
    for name, change in other_axes_of_vectors(body):
        yield Neighbour(name, _everywhere(base, change))


def _of_fields(base: ConversionSpec, resolved: ResolvedSpec, tensors: Sequence[ResolvedTensor]) -> Iterator[Neighbour]:
    """Numbers of fields that change places, and fields that are seldom what they are tried as."""
    for name, entries in chain(exchanged_fields_of(tensors), rarely_other_fields_of(resolved, tensors)):
        yield Neighbour(name, _with_entries(base, entries))


def with_layouts(resolved: ResolvedSpec) -> ConversionSpec:
    """The specification with every entry and every layout written out, so that no change alters how they are read.

    A tensor that says itself what is negated has a skeleton of its own, which changes of skeletons reach.
    """
    written_out = partial(_written_out, skeleton=resolved.spec.skeleton)
    return replace(
        resolved.spec,
        inputs=tuple(map(written_out, resolved.input_tensors)),
        outputs=tuple(map(written_out, resolved.output_tensors)),
    )


def _written_out(tensor: ResolvedTensor, skeleton: Skeleton) -> TensorEntry:
    """The entry of a tensor with its layout, and with a skeleton in place of signs of its own.

    skeleton: that of the specification.
    """
    entry = tensor.entry
    if tensor.kind != "pose":
        return entry
    if entry.override.negate is not None and entry.override.quantity is None:
        override = replace(entry.override, skeleton=entry.body(skeleton), negate=None, signs=None)
        entry = replace(entry, override=override)
    return replace(entry, layout=tensor.layout)


def _bodies(spec: ConversionSpec) -> list[Skeleton]:
    """The skeletons that tensors have, the specification's first."""
    skeletons = [entry.override.skeleton or spec.skeleton for entry in spec.entries if _has_joints(entry)]
    used = list(dict.fromkeys(skeletons)) or [spec.skeleton]
    return sorted(used, key=spec.skeleton.__ne__)  # False, for the specification's, comes before True


def _with_used_dims(body: Skeleton, resolved: ResolvedSpec) -> Skeleton:
    """The skeleton with the coordinates that occur: of one in space, a network on pictures reads x and y alone.

    What is negated instead of x is one of those, or nothing.
    """
    tensors = (*resolved.input_tensors, *resolved.output_tensors)
    if body.signs or any(tensor.entry.fields for tensor in tensors):
        return body
    used = {dim for tensor in tensors if tensor.pose is not None for dim in tensor.pose.body.dims}
    dims = tuple(dim for dim in body.dims if dim in used)
    return body.with_dims(dims) if set(body.negate) <= set(dims) else body


def _changed_entry(entry: TensorEntry, change: Change) -> TensorEntry:
    """The entry with its skeleton changed, where it has its own."""
    skeleton = entry.override.skeleton
    if skeleton is None:
        return entry
    return entry.with_skeleton(changed(skeleton, change))


def _everywhere(spec: ConversionSpec, change: Change) -> ConversionSpec:
    """The specification with every skeleton changed; as it is where some skeleton does not allow the change.

    As it is means T itself, which whoever compares mirrors leaves out.
    """
    try:
        return replace(
            spec,
            skeleton=changed(spec.skeleton, change),
            inputs=tuple(_changed_entry(entry, change) for entry in spec.inputs or ()),
            outputs=tuple(_changed_entry(entry, change) for entry in spec.outputs or ()),
        )
    except ChiralizeError:
        return spec


def _in_outputs(spec: ConversionSpec, change: Change) -> ConversionSpec:
    """The specification with the skeletons of outputs changed, as if the inputs had another body; else as it is."""
    try:
        outputs = list(spec.outputs or ())
        for index, entry in enumerate(outputs):
            if _has_joints(entry):
                outputs[index] = entry.with_skeleton(changed(entry.override.skeleton or spec.skeleton, change))
    except ChiralizeError:
        return spec
    return replace(spec, outputs=tuple(outputs))


def _has_joints(entry: TensorEntry) -> bool:
    """Whether a skeleton tells how a tensor is mirrored."""
    return entry.kind in ("pose", "fields")


def _shipped_skeletons(spec: ConversionSpec, used: Set[str]) -> Iterator[Neighbour]:
    """Every shipped skeleton of as many joints in the place of the given one; coordinates and signs stay.

    The pairs of a person say nothing of the actuators of a robot, or of fingers; those of a horse may be meant.
    One without the coordinates that are used cannot be put in place of the given one, so that its pairs are named.
    """
    given = spec.skeleton
    for name in names_of_size(len(given.joints)):
        other = find_shipped(name)
        if other is None or not may_fit(other, instead_of=given):
            continue
        body = replace(other, dims=given.dims, negate=given.negate, signs=(), lateral=given.lateral)
        if used <= set(other.dims):
            yield Neighbour(f"the skeleton {name}", _everywhere(spec, partial(_replaced, body=body)), skeleton=name)
        elif words := _other_pairs(given, body):
            yield Neighbour(words, _everywhere(spec, partial(replace, pairs=body.pairs)))


def _other_pairs(given: Skeleton, other: Skeleton) -> str:
    """Which pairs of another skeleton of as many joints the given one lacks, and which it has instead, in words."""
    ours, theirs = as_sets(given.pairs), as_sets(other.pairs)
    changes = list[str]()
    for pairs, does in ((theirs - ours, "swapped"), (ours - theirs, "unswapped")):
        for first, second in sorted(map(sorted, pairs)):
            changes.append(f"{given.joints[first]} and {given.joints[second]} {does}")
    # Crossed pairs are swapped anew, which says already that they are no longer swapped as before.
    moved = set[int]().union(*(theirs - ours)) if theirs - ours else set[int]()
    if all(pair & moved for pair in ours - theirs):
        changes = changes[: len(theirs - ours)]
    return ", ".join(changes)


def _replaced(skeleton: Skeleton, body: Skeleton) -> Skeleton:
    """Another body with the coordinates of the skeleton, where it has as many joints."""
    if len(skeleton.joints) != len(body.joints):
        return skeleton
    return replace(body, dims=skeleton.dims, negate=skeleton.negate, lateral=skeleton.lateral)


# ---- single tensors -------------------------------------------------------------------------------------------
def _with_entry(spec: ConversionSpec, io: str, index: int, entry: TensorEntry) -> ConversionSpec:
    """The specification with another entry for one tensor. io: `input` or `output`."""
    entries = list((spec.inputs if io == "input" else spec.outputs) or ())
    entries[index] = entry
    return replace(spec, **{f"{io}s": tuple(entries)})


def _with_entries(spec: ConversionSpec, entries: Entries) -> ConversionSpec:
    """The specification with other entries for some tensors."""
    for (io, index), entry in entries.items():
        spec = _with_entry(spec, io, index, entry)
    return spec


def _tensors_read_otherwise(resolved: ResolvedSpec, numbers: Collection[int]) -> Iterator[tuple[str, Entries]]:
    """Whole tensors of another kind or in another order, the likeliest first."""
    yield from outputs_of_another_kind(resolved)
    yield from other_orders(resolved)
    yield from free_as_mirrored(resolved, numbers)
    yield from heights_for_widths(resolved)
    yield from moved_reversals(resolved)
    yield from reversed_axes(resolved)
    yield from exchanged_views(resolved)
    yield from joints_on_two_axes(resolved)
    yield from as_rotations(resolved)


def _signs_of_tensors(spec: ConversionSpec, tensors: Sequence[ResolvedTensor]) -> Iterator[Neighbour]:
    """One coordinate of one tensor with the other sign, and fields of another kind."""
    for tensor in tensors:
        if tensor.pose is not None:
            yield from _signs_of_pose(spec, tensor)
        for name, entries in other_fields_of(tensor):
            yield Neighbour(name, _with_entries(spec, entries))


def _signs_of_pose(spec: ConversionSpec, tensor: ResolvedTensor) -> Iterator[Neighbour]:
    """One coordinate of a pose with the other sign, each in turn: where x alone is negated, none, then x and y."""
    assert tensor.pose is not None
    body, entry = tensor.pose.body, tensor.entry
    if body.has_joint_signs:
        return
    negated = {dim for column, dim in enumerate(body.dims) if (body.sign_table()[:, column] < 0).all()}
    for dim in body.dims:
        others = tuple(one for one in body.dims if (one in negated) != (one == dim))  # the sign of `dim` is turned
        reflect = tuple((one, center) for one, center in entry.reflect if one in others)
        override = replace(entry.override, dims=body.dims, negate=others, signs=None, quantity=None)
        changed = replace(entry, override=override, reflect=reflect)
        words = f"{dim} of {tensor.where} {'not negated' if dim in negated else 'negated'}"
        yield Neighbour(words, _with_entry(spec, tensor.io, tensor.index, changed))


def _centers(spec: ConversionSpec, resolved: ResolvedSpec, means: Means) -> Iterator[Neighbour]:
    """Other points to mirror at: half and twice the given one, and where the inputs lie in the mean."""
    # Where a point is given, others in its place: a width given for its half, or a half for the width.
    given: dict[tuple[str, Fraction], None] = {}
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        given.update(dict.fromkeys(tensor.entry.reflect))
    for dim, center in given:
        nearest = [rounded(mean) for (_, other), mean in means.items() if other == dim]
        for other in dict.fromkeys((center / 2, center * 2, *nearest)):
            words = f"{dim} {AT_A_POINT} {float(other):g} instead of {float(center):g}"
            yield Neighbour(words, _recentered(spec, (dim, center), (dim, other)))
        words = f"{dim} of all poses {AT_A_POINT} {float(center):g}, also where no point is given"
        yield Neighbour(words, _all_recentered(spec, resolved, (dim, center)))
    # Where none is given and the inputs lie away from 0: their mean, in all poses, then in that input alone.
    for (index, dim), mean in means.items():
        entry = resolved.input_tensors[index].entry
        if dim in dict(entry.reflect):
            continue
        center = (dim, Fraction(mean).limit_denominator(1000))
        words = f"{dim} of all poses {AT_A_POINT} {mean:.3g} instead of 0"
        yield Neighbour(words, _all_recentered(spec, resolved, center))
        other = replace(entry, reflect=(*entry.reflect, center))
        words = f"{dim} of {resolved.input_tensors[index].where} {AT_A_POINT} {mean:.3g} (about its mean) instead of 0"
        yield Neighbour(words, _with_entry(spec, "input", index, replace(other, layout=_layout(resolved, index))))


def _all_recentered(spec: ConversionSpec, resolved: ResolvedSpec, center: tuple[str, Fraction]) -> ConversionSpec:
    """The specification with a centre of a coordinate in every pose that has none and negates it, answers too."""

    def recentered(tensor: ResolvedTensor, entry: TensorEntry) -> TensorEntry:
        """The entry with the centre, where it can have it."""
        dim = center[0]
        if dim not in negated(tensor) or dim in dict(entry.reflect):
            return entry
        return replace(entry, reflect=(*entry.reflect, center))

    return replace(
        spec,
        inputs=tuple(map(recentered, resolved.input_tensors, spec.inputs or ())),
        outputs=tuple(map(recentered, resolved.output_tensors, spec.outputs or ())),
    )


def _layout(resolved: ResolvedSpec, index: int) -> str | None:
    """The layout of an input, written out."""
    return _written_out(resolved.input_tensors[index], resolved.spec.skeleton).layout


def _recentered(spec: ConversionSpec, before: tuple[str, Fraction], after: tuple[str, Fraction]) -> ConversionSpec:
    """The specification with another centre, in every tensor that has the given one."""

    def changed(entry: TensorEntry) -> TensorEntry:
        """The entry with the other centre, where it has the given one."""
        reflect = list(entry.reflect)
        for index, center in enumerate(reflect):
            if center == before:
                reflect[index] = after
        return replace(entry, reflect=tuple(reflect))

    return replace(
        spec,
        inputs=tuple(map(changed, spec.inputs or ())),
        outputs=tuple(map(changed, spec.outputs or ())),
    )
