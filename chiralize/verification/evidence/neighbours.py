"""Mirrors near the given one: the same specification with one thing about the mirror changed.

A mirror that is wrong is usually wrong in one place: two joints that do not swap, a pair that is crossed with another,
the wrong coordinate negated, a field of the wrong kind, another skeleton of the same size. Each of these is undone by
one change of the specification, so that a network which fits the true mirror fits one of these neighbours better.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from itertools import chain, combinations, product, zip_longest

from chiralize.body.skeleton.catalog import find_shipped, names_of_size
from chiralize.body.skeleton.kinds import may_fit
from chiralize.body.skeleton.skeleton import AXES, TURNS, Skeleton
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
    moved_reversals,
    other_orders,
    other_places_of_dims,
    reversed_axes,
)
from chiralize.verification.evidence.off_center import negated
from chiralize.verification.evidence.other_fields import (
    exchanged_fields_of,
    other_fields_of,
    others_everywhere,
    rarely_other_fields_of,
    reordered_fields_of,
)
from chiralize.verification.evidence.other_kinds import outputs_of_another_kind
from chiralize.verification.evidence.paired_in_order import paired_in_order
from chiralize.verification.evidence.records import AT_A_POINT, PAIRED
from chiralize.verification.evidence.reflection import is_no_reflection
from chiralize.verification.evidence.turns import as_rotations

MOST_CROSSED_PAIRS = 8
"""Crossing every pair with every other one takes n (n - 1) tries; above so many pairs none is tried."""
MOST_CENTER_JOINTS = 8
NO_SWAP = "no swap at all"

Change = Callable[[Skeleton], Skeleton]
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


# ---- one change of a skeleton ---------------------------------------------------------------------------------
@lru_cache(4096)
def _changed(skeleton: Skeleton, change: Change) -> Skeleton:
    """A skeleton with changes. Cached, since mirrors are compared for inputs and outputs, before and after."""
    return change(skeleton)


@lru_cache(64)
def changes(skeleton: Skeleton) -> tuple[tuple[str, Change], ...]:
    """Changes by name, the likeliest mistakes first; they apply to any skeleton that has the joints."""
    return tuple(_changes(skeleton))


def _changes(skeleton: Skeleton) -> Iterator[tuple[str, Change]]:
    if skeleton.pairs:
        yield NO_SWAP, partial(replace, pairs=())
    yield from _other_signs(skeleton)
    yield from _other_axes_of_vectors(skeleton)
    joints = skeleton.joints
    for i, j in skeleton.pairs:
        yield f"{joints[i]} and {joints[j]} unswapped", partial(_without_pair, names={joints[i], joints[j]})
    yield from _other_joint_signs(skeleton)
    yield from paired_in_order(skeleton)
    if len(skeleton.center) <= MOST_CENTER_JOINTS:
        for i, j in combinations(skeleton.center, 2):
            yield f"{joints[i]} and {joints[j]} swapped", partial(_with_pair, one=joints[i], other=joints[j])
    if len(skeleton.pairs) <= MOST_CROSSED_PAIRS:
        for (a, b), (c, d) in combinations(skeleton.pairs, 2):
            for first, second in (((a, d), (c, b)), ((a, c), (b, d))):
                names = [(joints[i], joints[j]) for i, j in (first, second)]
                words = " and ".join(f"{one} {PAIRED} {other}" for one, other in names)
                before = [{joints[a], joints[b]}, {joints[c], joints[d]}]
                yield words, partial(_crossed, before=before, after=names)


def _other_signs(skeleton: Skeleton) -> Iterator[tuple[str, Change]]:
    """Changes that negate other coordinates, where all joints have the same signs."""
    if skeleton.has_joint_signs:
        yield "no signs of single joints", partial(replace, signs=())
        return
    negated = ", ".join(skeleton.negate)
    if skeleton.negate and not is_no_reflection(skeleton.dims, ()):
        # First: of mirrors that are the same on these inputs, the first has the name. In space it is no mirror, and
        # yet a network that treats joints alike fits it before it has learned much.
        yield f"{negated} not negated", partial(_negating, dims=())
    if skeleton.dims == TURNS:
        for axis in AXES:
            if axis != skeleton.lateral:
                yield f"{axis} as the lateral axis", partial(_turned_about, axis=axis)
    for dim in skeleton.dims:
        if skeleton.negate and (dim not in skeleton.negate or len(skeleton.negate) > 1):
            yield f"{dim} negated instead of {negated}", partial(_negating, dims=(dim,))
        elif not skeleton.negate and len(skeleton.dims) > 1:
            yield f"{dim} negated", partial(_negating, dims=(dim,))


def _other_axes_of_vectors(skeleton: Skeleton) -> Iterator[tuple[str, Change]]:
    """Another lateral axis, which of joint angles is that of vectors and rotations beside them alone."""
    if skeleton.lateral is None or skeleton.dims == TURNS or set(AXES) & set(skeleton.dims):
        return
    for axis in AXES:
        if axis != skeleton.lateral:
            yield f"{axis} as the lateral axis", partial(_with_lateral, axis=axis)


def _with_lateral(body: Skeleton, axis: str) -> Skeleton:
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
        yield f"the other sign of all joints{coordinate}", partial(_other_sign, names=skeleton.joints, dim=dim)
        for group in groups:
            names = tuple(skeleton.joints[joint] for joint in group)
            yield f"the other sign of {' and '.join(names)}{coordinate}", partial(_other_sign, names=names, dim=dim)


def _negating(body: Skeleton, dims: tuple[str, ...]) -> Skeleton:
    """The skeleton with these coordinates negated, and no others; vectors and rotations follow one axis of space."""
    lateral = dims[0] if len(dims) == 1 and dims[0] in AXES else body.lateral
    return replace(body, negate=tuple(dim for dim in dims if dim in body.dims), signs=(), lateral=lateral)


def _turned_about(body: Skeleton, axis: str) -> Skeleton:
    """The skeleton of rotations with another axis that points sideways: turns about it stay, the others are negated."""
    negate = tuple(dim for dim in TURNS if not dim.endswith(axis))
    return replace(body, negate=negate, lateral=axis) if body.dims == TURNS else body


def _without_pair(body: Skeleton, names: set[str]) -> Skeleton:
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
    if len(rest) != len(body.pairs) - len(before):
        return body
    return replace(body, pairs=(*rest, *((body.index(one), body.index(other)) for one, other in after)))


def _other_sign(body: Skeleton, names: tuple[str, ...], dim: str) -> Skeleton:
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
    return {body.joints[joint] for joint in pair}


# ---- specifications -------------------------------------------------------------------------------------------
def nearby(
    resolved: ResolvedSpec,
    means: Means | None = None,
    numbers: Collection[int] = (),
    points: Points | None = None,
) -> Iterator[Neighbour]:
    """Neighbours of a specification, those first that are the likeliest mistakes and tell the most.

    means: of the coordinates of the inputs, by input and dim: the point that one could be mirrored at.
    numbers: the positions of inputs of floating-point numbers, of which free ones could be mirrored.
    points: that coordinates of outputs could be mirrored at.
    Some of them cannot be resolved, and some are the same mirror: whoever tries them leaves those out.
    """
    base = with_layouts(resolved)
    bodies = [_with_used_dims(body, resolved) for body in _bodies(base)]
    yield from _shipped_skeletons(base)
    for body in bodies[:1]:
        for name, change in changes(body)[:1]:
            yield Neighbour(name, _everywhere(base, change))
    for name, entries in _tensors_read_otherwise(resolved, numbers):
        yield Neighbour(name, _with_entries(base, entries))
    yield from _signs_of_tensors(base, resolved.output_tensors)
    yield from _of_fields(base, resolved, resolved.output_tensors)
    for name, entries in exchanged_fields_of(resolved.input_tensors):
        yield Neighbour(name, _with_entries(base, entries))
    yield from _signs_of_tensors(base, resolved.input_tensors)
    yield from _centers(base, resolved, means or {})
    for name, entries in mirrored_at_points(resolved, points or {}):
        yield Neighbour(name, _with_entries(base, entries))
    seen: set[str] = set()
    everywhere: list[Neighbour] = []
    in_outputs: list[Neighbour] = []
    of_bodies = zip_longest(*map(changes, bodies))  # one of each in turn: not all can be tried
    for name, change in filter(None, chain.from_iterable(of_bodies)):
        if name not in seen:
            seen.add(name)
            everywhere.append(Neighbour(name, _everywhere(base, change)))
            in_outputs.append(Neighbour(f"{name} in the outputs alone", _in_outputs(base, change)))
    yield from in_outputs  # they need no further run of the network
    yield from everywhere
    for name, entries in others_everywhere(resolved):
        yield Neighbour(name, _with_entries(base, entries))
    rare = rarely_other_fields_of(resolved, resolved.input_tensors)
    for name, entries in chain(rare, other_places_of_dims(resolved)):
        yield Neighbour(name, _with_entries(base, entries))


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
            change = partial(_other_sign, names=names, dim=dim)
            yield Neighbour(f"the other sign of {' and '.join(names)}{coordinate}", _everywhere(base, change))


def changed_everywhere(resolved: ResolvedSpec, change: Change) -> ConversionSpec:
    """The specification with every skeleton that a change applies to changed."""
    return _everywhere(with_layouts(resolved), change)


def with_reordered_fields(resolved: ResolvedSpec) -> Iterator[Neighbour]:
    """The specification with two neighbouring blocks of one tensor in the other order."""
    base = with_layouts(resolved)
    for name, entries in reordered_fields_of((*resolved.output_tensors, *resolved.input_tensors)):
        yield Neighbour(name, _with_entries(base, entries))


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
    return sorted(used, key=spec.skeleton.__ne__)


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
    return entry.with_skeleton(_changed(skeleton, change))


def _everywhere(spec: ConversionSpec, change: Change) -> ConversionSpec:
    try:
        return replace(
            spec,
            skeleton=_changed(spec.skeleton, change),
            inputs=tuple(_changed_entry(entry, change) for entry in spec.inputs or ()),
            outputs=tuple(_changed_entry(entry, change) for entry in spec.outputs or ()),
        )
    except ChiralizeError:
        return spec


def _in_outputs(spec: ConversionSpec, change: Change) -> ConversionSpec:
    try:
        outputs = list(spec.outputs or ())
        for index, entry in enumerate(outputs):
            if _has_joints(entry):
                outputs[index] = entry.with_skeleton(_changed(entry.override.skeleton or spec.skeleton, change))
    except ChiralizeError:
        return spec
    return replace(spec, outputs=tuple(outputs))


def _has_joints(entry: TensorEntry) -> bool:
    return entry.kind in ("pose", "fields")


def _shipped_skeletons(spec: ConversionSpec) -> Iterator[Neighbour]:
    """Every shipped skeleton of as many joints in the place of the given one; coordinates and signs stay.

    The pairs of a person say nothing of the actuators of a robot, or of fingers; those of a horse may be meant.
    """
    given = spec.skeleton
    for name in names_of_size(len(given.joints)):
        other = find_shipped(name)
        if other is None or not may_fit(other, instead_of=given):
            continue
        body = replace(other, dims=given.dims, negate=given.negate, signs=(), lateral=given.lateral)
        yield Neighbour(f"the skeleton {name}", _everywhere(spec, partial(_replaced, body=body)), skeleton=name)


def _replaced(skeleton: Skeleton, body: Skeleton) -> Skeleton:
    """Another body with the coordinates of the skeleton, where it has as many joints."""
    if len(skeleton.joints) != len(body.joints):
        return skeleton
    return replace(body, dims=skeleton.dims, negate=skeleton.negate, lateral=skeleton.lateral)


# ---- single tensors -------------------------------------------------------------------------------------------
def _with_entry(spec: ConversionSpec, io: str, index: int, entry: TensorEntry) -> ConversionSpec:
    entries = list((spec.inputs if io == "input" else spec.outputs) or ())
    entries[index] = entry
    return replace(spec, **{f"{io}s": tuple(entries)})


def _with_entries(spec: ConversionSpec, entries: Entries) -> ConversionSpec:
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
    yield from as_rotations(resolved)


def _signs_of_tensors(spec: ConversionSpec, tensors: Sequence[ResolvedTensor]) -> Iterator[Neighbour]:
    """One coordinate of one tensor with the other sign, and fields of another kind."""
    for tensor in tensors:
        if tensor.pose is not None:
            yield from _signs_of_pose(spec, tensor)
        for name, entries in other_fields_of(tensor):
            yield Neighbour(name, _with_entries(spec, entries))


def _signs_of_pose(spec: ConversionSpec, tensor: ResolvedTensor) -> Iterator[Neighbour]:
    assert tensor.pose is not None
    body, entry = tensor.pose.body, tensor.entry
    if body.has_joint_signs:
        return
    negated = {dim for column, dim in enumerate(body.dims) if (body.sign_table()[:, column] < 0).all()}
    for dim in body.dims:
        others = tuple(one for one in body.dims if (one in negated) != (one == dim))
        reflect = tuple((one, center) for one, center in entry.reflect if one in others)
        override = replace(entry.override, dims=body.dims, negate=others, signs=None, quantity=None)
        changed = replace(entry, override=override, reflect=reflect)
        words = f"{dim} of {tensor.where} {'not negated' if dim in negated else 'negated'}"
        yield Neighbour(words, _with_entry(spec, tensor.io, tensor.index, changed))


def _centers(spec: ConversionSpec, resolved: ResolvedSpec, means: Means) -> Iterator[Neighbour]:
    """Other points to mirror at: half and twice the given one, and where the inputs lie in the mean."""
    given: dict[tuple[str, Fraction], None] = {}
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        given.update(dict.fromkeys(tensor.entry.reflect))
    for dim, center in given:
        nearest = [Fraction(round(mean)) for (_, other), mean in means.items() if other == dim]
        for other in dict.fromkeys((center / 2, center * 2, *nearest)):
            words = f"{dim} {AT_A_POINT} {float(other):g} instead of {float(center):g}"
            yield Neighbour(words, _recentered(spec, (dim, center), (dim, other)))
        words = f"{dim} of all poses {AT_A_POINT} {float(center):g}, also where no point is given"
        yield Neighbour(words, _all_recentered(spec, resolved, (dim, center)))
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
