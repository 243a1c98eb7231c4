"""Joint names and bones as evidence about the mirror: they do not depend on the pairs that are given.

Left and right words in the names of the joints tell which of them belong together; the bones of the skeleton must map
to each other; and a pose that is made symmetric by names must come out of an equivariant network symmetric by names.

    joints   hip, left_knee, right_knee, left_foot, right_foot
    pairs    [1, 4], [3, 2]
    warning  left_knee is paired with right_foot, by its name it belongs to right_knee

`mirror_evidence` collects the findings; `by_names` gives a further mirror to compare T with on the network itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from chiralize.body.skeleton.naming import infer_pairs, orient, side, unpaired_like_others
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ResolvedSpec
from chiralize.errors import NotAnInvolutionError
from chiralize.errors.words import when
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Arguments, Call, Runner, results
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.evidence.labels import NamedPartners, partners_by_label
from chiralize.verification.verdicts import Evidence

ASYMMETRIC = 1e-3
"""Of the scale of the answers: how far an answer to a symmetric pose may be from its mirror image."""
BY_NAMES = "the swaps that the names tell"
"""What a mirror with the swaps of the names is called."""


# ---- names as evidence ----------------------------------------------------------------------------------------
def by_names(mirror: NetworkMirror) -> NetworkMirror | None:
    """T with the swaps that the labels' left and right words tell instead of the given ones; signs are kept.

    Entries whose labels tell nothing go where T takes them. None where no label tells anything.
    Raises NotAnInvolutionError where words and signs contradict.
    """
    has_words = False
    sides: list[tuple[TensorRepresentation, ...]] = []
    for io, representations in (("input", mirror.inputs), ("output", mirror.outputs)):
        column = []
        for index, representation in enumerate(representations):
            axes = list(representation.axes)
            for position, axis in enumerate(representation.axes):
                # Axes whose labels tell nothing keep the action of T, and so do all signs.
                named = partners_by_label(_labels(mirror, io, index, position, representation), axis.action)
                if named is not None:
                    has_words = True
                    axes[position] = Representation.of(SignedPermutation(named.partner, axis.action.sign))
            column.append(TensorRepresentation(tuple(axes), representation.sign))
        sides.append(tuple(column))
    if not has_words:
        return None
    return replace(mirror, inputs=sides[0], outputs=sides[1])


def pairs_by_names(mirror: NetworkMirror) -> str:
    """` (left_hip with right_hip and 2 more)`: what T does not swap, and belongs together by its names; else ""."""
    pairs = dict[tuple[str, str], None]()
    for _, _, _, labels, axis in labelled_axes(mirror):
        by_label = partners_by_label(labels, axis.action)
        if by_label is None:
            continue
        for at in _contradicting(by_label, axis.action):
            partner = int(by_label.partner[at])
            if at < partner:
                pairs[labels[at], labels[partner]] = None
    if not pairs:
        return ""
    one, other = next(iter(pairs))
    return f" ({one} with {other}" + when(len(pairs) > 1, f" and {len(pairs) - 1} more") + ")"


def unpaired_by_names(resolved: ResolvedSpec) -> list[str]:
    """`left_ear and right_ear`: joints that a skeleton leaves in their places, though their names say that they are
    partners, and though others are paired as their names say; of all tensors.

    None where no joint is paired so: a mirror between front and back takes no left side to the right. Joints that have
    other partners are none: points of eyes are numbered around each.
    """
    apart = dict[str, None]()
    pairs_as_named = False
    for body in _bodies(resolved):
        for first, second in infer_pairs(body.joints).pairs:
            if body.partner(first) == second:
                pairs_as_named = True
            elif {first, second} <= set(body.center):
                apart[f"{body.joints[first]} and {body.joints[second]}"] = None
    return list(apart) if pairs_as_named else []


def _bodies(resolved: ResolvedSpec) -> list[Skeleton]:
    """The skeletons of inputs and outputs that have joints, each once."""
    bodies = list[Skeleton]()
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        if tensor.kind in ("pose", "fields"):
            bodies.append(tensor.entry.body(resolved.spec.skeleton))
    return list(dict.fromkeys(bodies))


def _contradicting(by_label: NamedPartners, action: SignedPermutation) -> list[int]:
    """The entries along an axis that T takes elsewhere than their labels tell."""
    return np.flatnonzero(by_label.tells & (action.partner != by_label.partner)).tolist()


def labelled_axes(mirror: NetworkMirror) -> Iterator[tuple[str, int, int, list[str], Representation]]:
    """The axes of inputs and outputs: `input` or `output`, its position, that of the axis, the labels along it, and T.

    Without those of states, whose entries are hidden units and have no names.
    """
    for io, representations, states in (
        ("input", mirror.inputs, mirror.state_inputs),
        ("output", mirror.outputs, mirror.state_outputs),
    ):
        for index, representation in enumerate(representations):
            if index in states:
                continue
            for position, axis in enumerate(representation.axes):
                yield io, index, position, _labels(mirror, io, index, position, representation), axis


def _labels(
    mirror: NetworkMirror, io: Any, index: int, position: int, representation: TensorRepresentation
) -> list[str]:
    """Labels of the entries along one axis of an input or output, at the first entry of all others."""
    entry = [0] * len(representation.axes)
    labels = []
    for at in range(representation.axes[position].size):
        entry[position] = at
        labels.append(mirror.label(io, index, tuple(entry)))
    return labels


def parts_along(mirror: NetworkMirror, io: Any, index: int, position: int) -> list[str]:
    """The joint, or the quantity, of every entry along one axis, at the first entry of all others."""
    axes = (mirror.inputs if io == "input" else mirror.outputs)[index].axes
    entry = [0] * len(axes)
    parts = []
    for at in range(axes[position].size):
        entry[position] = at
        parts.append(mirror.part(io, index, tuple(entry)))
    return parts


def names_of_entries(mirror: NetworkMirror) -> Evidence:
    """Whether the swaps of T are those that the names of the entries of inputs and outputs tell."""
    try:
        named = by_names(mirror)
    except NotAnInvolutionError as error:
        return Evidence(warnings=(f"left and right in the names contradict the signs of T: {error.facts}",))
    if named is None:
        return Evidence()
    warnings = list[str]()
    swapped = telling = 0
    # Of the entries that T swaps, how many have labels that tell a partner at all.
    for io, index, _, labels, axis in labelled_axes(mirror):
        by_label = partners_by_label(labels, axis.action)
        swaps = axis.action.partner != np.arange(axis.size)
        swapped += int(swaps.sum())
        if by_label is None:
            continue
        telling += int((swaps & by_label.tells).sum())
        # One warning an axis, with its first entry that T takes elsewhere, and how many there are.
        apart = _contradicting(by_label, axis.action)
        if apart:
            at = apart[0]
            warnings.append(
                f"{io} {index}: T takes {labels[at]} to {labels[int(axis.action.partner[at])]}, by its name "
                f"it belongs to {labels[int(by_label.partner[at])]} ({len(apart)} such entries)"
            )
    if warnings or not telling:
        return Evidence((), tuple(warnings))
    if telling == swapped:
        return Evidence((f"the {swapped} entries that T swaps have the names of left and right partners",))
    return Evidence(
        (
            f"of {swapped} entries that T swaps, {telling} have the names of left and right partners; those of the "
            "others do not say a side",
        )
    )


def symmetric_pose(module: torch.nn.Module, mirror: NetworkMirror, calls: Sequence[Call]) -> Evidence:
    """A warning where F((x + T' x) / 2) is moved by T', the mirror that the names tell, in the scale of F(x).

    Nothing is said where it is not: of a network that T was put into, T follows.
    """
    try:
        named = by_names(mirror)
    except NotAnInvolutionError:
        return Evidence()
    if named is None:
        return Evidence()
    apart = scale = 0.0
    with Runner(module) as runner:
        for call in calls:
            # (x + T' x) / 2 is left as it is by T', so its answer has to be, if T' is the mirror.
            plain = Arguments.of(*call)
            tensors = list(plain.tensors)
            for index, mirrored in enumerate(Arguments.of(*named.turned(call)).tensors):
                if tensors[index].is_floating_point():
                    tensors[index] = (tensors[index] + mirrored) / 2
            symmetric, usual = (results(runner.run([each]).steps[0])[0] for each in (plain.filled(tensors), call))
            for index, value in enumerate(symmetric):
                if value.is_floating_point() and index not in named.state_outputs:
                    apart = max(apart, float((value - named.turned_output(index, value)).abs().max()))
                    scale = max(scale, float(value.abs().max()), float(usual[index].abs().max()))
    share = apart / scale if scale else 0.0  # the larger scale of both answers: one of them may be near 0
    if share <= ASYMMETRIC:
        return Evidence()
    return Evidence(
        warnings=(f"the answer to a symmetric pose is asymmetric (off by {share:.1e} of the output's scale)",)
    )


def name_findings(
    joint_names: Sequence[str], pairs: Sequence[Sequence[int]], edges: Sequence[Sequence[int]] = ()
) -> Evidence:
    """Whether left and right in the names agree with the pairs, and whether the swap takes bones to bones.

    pairs: (left, right) indices.  edges: bones as pairs of indices, in any direction.
    """
    # What the names tell, beside the pairs: a pair by names agrees, or its joints are paired otherwise or not at all.
    names = list(joint_names)
    partner = _partner(pairs)
    warnings, agree = [], 0
    by_name = infer_pairs(names).pairs
    for i, j in by_name:
        if partner.get(i) == j:
            agree += 1
        elif i in partner:
            warnings.append(f"{names[i]} is paired with {names[partner[i]]}, by its name it belongs to {names[j]}")
        elif j in partner:
            warnings.append(f"{names[j]} is paired with {names[partner[j]]}, by its name it belongs to {names[i]}")
        else:
            warnings.append(f"{names[i]} and {names[j]} are not paired, their names say that they are partners")
    for i, j in sorted({*unpaired_like_others(names, pairs)} - {*by_name}):
        warnings.append(f"{names[i]} and {names[j]} are not paired, their names differ as those of most pairs do")
    # What the pairs say themselves: two joints of one side, or the right one first.
    warnings += _of_pairs(names, pairs)
    checks = _agreement(agree, _telling(names, pairs, by_name), len(pairs))
    # Bones, which do not depend on names: a mirror takes a skeleton to itself.
    bones = _bones(edges)
    open_bones = _bones_without_image(bones, partner)
    for bone, image in open_bones:
        warnings.append(f"bone {_joined(names, bone)} has no mirror image {_joined(names, image)}")
    if bones and not open_bones:
        checks.append(f"all {len(bones)} bones have their mirror image")
    return Evidence(tuple(checks), tuple(warnings))


def _of_pairs(names: Sequence[str], pairs: Sequence[Sequence[int]]) -> Iterator[str]:
    """What the two names of a pair say against it."""
    for i, j in pairs:
        first, second = side(names[i]), side(names[j])
        if first is not None and first == second:
            yield f"{names[i]} and {names[j]} are paired, both names say {first}"
        elif orient((int(i), int(j)), names) != (int(i), int(j)):
            yield f"pair [{names[i]}, {names[j]}] lists the right joint first"


def _telling(names: Sequence[str], pairs: Sequence[Sequence[int]], by_name: Sequence[Sequence[int]]) -> int:
    """How many pairs have a joint whose name tells a side.  by_name: the pairs that names tell."""
    with_partner = {joint for pair in by_name for joint in pair}
    telling = 0
    for pair in pairs:
        if any(joint in with_partner or side(names[joint]) is not None for joint in pair):
            telling += 1
    return telling


def _agreement(agree: int, telling: int, count: int) -> list[str]:
    """What names say of the pairs, if anything: of those without a side in their names they say nothing."""
    if not agree:
        return []
    of_all = f"{agree} of {telling} pairs agree with left and right in the joint names"
    return [of_all + when(telling < count, f"; {count - telling} of {count} pairs name no side")]


def _partner(pairs: Sequence[Sequence[int]]) -> dict[int, int]:
    """Partner of every joint that has one."""
    partner: dict[int, int] = {}
    for i, j in pairs:
        partner[int(i)], partner[int(j)] = int(j), int(i)
    return partner


def _bones(edges: Sequence[Sequence[int]]) -> set[frozenset[int]]:
    """Bones as sets of two joints, since they have no direction."""
    return {frozenset((int(i), int(j))) for i, j in edges}


def _bones_without_image(bones: set[frozenset[int]], partner: Mapping[int, int]) -> list[tuple[list[int], list[int]]]:
    """Bones whose mirror image is none, and that image, joints in the same order."""
    without = list[tuple[list[int], list[int]]]()
    for bone in sorted(map(sorted, bones)):
        image = [partner.get(joint, joint) for joint in bone]
        if frozenset(image) not in bones:
            without.append((bone, image))
    return without


def _joined(names: Sequence[str], joints: Sequence[int]) -> str:
    """`left_hip - left_knee`."""
    return " - ".join(names[joint] for joint in joints)
