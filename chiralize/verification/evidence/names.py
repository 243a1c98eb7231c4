"""Joint names and bones as evidence about the mirror: they do not depend on the pairs that are given.

Left and right words in the names of the joints tell which of them belong together; the bones of the skeleton must map
to each other; and a pose that is made symmetric by names must come out of an equivariant network symmetric by names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chiralize.body.skeleton.naming import infer_pairs, orient, side
from chiralize.errors import NotAnInvolutionError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Arguments, Call, Runner, results
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.verdicts import Evidence

ASYMMETRIC = 1e-3


# ---- names as evidence ----------------------------------------------------------------------------------------
def by_names(mirror: NetworkMirror) -> NetworkMirror | None:
    """T with the swaps that the labels' left and right words tell instead of the given ones; signs are kept.

    None where the labels carry no such words. Raises NotAnInvolutionError where words and signs contradict.
    """
    has_words = False
    sides: list[tuple[TensorRepresentation, ...]] = []
    for io, representations in (("input", mirror.inputs), ("output", mirror.outputs)):
        column = []
        for index, representation in enumerate(representations):
            axes = list(representation.axes)
            for position, axis in enumerate(representation.axes):
                partner = _partners(_labels(mirror, io, index, position, representation), axis.action)
                if partner is not None and not (axis.is_trivial and (partner == np.arange(axis.size)).all()):
                    has_words = True
                    axes[position] = Representation.of(SignedPermutation(partner, axis.action.sign))
            column.append(TensorRepresentation(tuple(axes), representation.sign))
        sides.append(tuple(column))
    if not has_words:
        return None
    return replace(mirror, inputs=sides[0], outputs=sides[1])


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


def _partners(labels: Sequence[str], action: SignedPermutation) -> npt.NDArray[np.int64] | None:
    """Partner of every label by the words in it, or None where no word names a side. `a.b` is read word by word.

    action: T on the axis. It is taken as given for points of a grid, `heights[3,7]`, since numbers name no side.
    """
    if len(set(labels)) < len(labels):
        return None
    words = sorted({word for label in labels for word in label.split(".")})
    pairs = infer_pairs(words).pairs
    other = {words[i]: words[j] for i, j in _partner(pairs).items()}
    if not pairs:
        return None
    position = {label: index for index, label in enumerate(labels)}
    partners = list[int]()
    for number, label in enumerate(labels):
        turned = ".".join(other.get(word, word) for word in label.split("."))
        if turned not in position:
            return None
        is_point = label.endswith("]") and turned == label
        partners.append(int(action.partner[number]) if is_point else position[turned])
    return np.array(partners, dtype=np.int64)


def names_of_entries(mirror: NetworkMirror) -> Evidence:
    """Whether the swaps of T are those that the names of the entries of inputs and outputs tell."""
    try:
        named = by_names(mirror)
    except NotAnInvolutionError as error:
        return Evidence(warnings=(f"left and right in the names contradict the signs of T: {error.facts}",))
    if named is None:
        return Evidence()
    warnings = []
    for io, ours, theirs in (("input", mirror.inputs, named.inputs), ("output", mirror.outputs, named.outputs)):
        for index, (given, by_name) in enumerate(zip(ours, theirs, strict=True)):
            for position, (axis, other) in enumerate(zip(given.axes, by_name.axes, strict=True)):
                apart = np.flatnonzero(axis.action.partner != other.action.partner)
                if len(apart):
                    labels = _labels(mirror, io, index, position, given)
                    at = int(apart[0])
                    warnings.append(
                        f"{io} {index}: T takes {labels[at]} to {labels[int(axis.action.partner[at])]}, by its name "
                        f"it belongs to {labels[int(other.action.partner[at])]} ({len(apart)} such entries)"
                    )
    if warnings:
        checks = ()
    else:
        checks = ("the entries that T swaps have the names of left and right partners",)
    return Evidence(checks, tuple(warnings))


def symmetric_pose(module: torch.nn.Module, mirror: NetworkMirror, calls: Sequence[Call]) -> Evidence:
    """A warning where F((x + T' x) / 2) is moved by T', the mirror that the names tell.

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
            plain = Arguments.of(*call)
            tensors = list(plain.tensors)
            for index, mirrored in enumerate(Arguments.of(*named.turned(call)).tensors):
                if tensors[index].is_floating_point():
                    tensors[index] = (tensors[index] + mirrored) / 2
            for index, value in enumerate(results(runner.run([plain.filled(tensors)]).steps[0])[0]):
                if value.is_floating_point() and index not in named.state_outputs:
                    apart = max(apart, float((value - named.turned_output(index, value)).abs().max()))
                    scale = max(scale, float(value.abs().max()))
    share = apart / scale if scale else 0.0
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
    names = list(joint_names)
    partner = _partner(pairs)
    warnings, agree = [], 0
    for i, j in infer_pairs(names).pairs:
        if partner.get(i) == j:
            agree += 1
        elif i in partner:
            warnings.append(f"{names[i]} is paired with {names[partner[i]]}, by its name it belongs to {names[j]}")
        elif j in partner:
            warnings.append(f"{names[j]} is paired with {names[partner[j]]}, by its name it belongs to {names[i]}")
        else:
            warnings.append(f"{names[i]} and {names[j]} are not paired, their names say that they are partners")
    for i, j in pairs:
        first, second = side(names[i]), side(names[j])
        if first is not None and first == second:
            warnings.append(f"{names[i]} and {names[j]} are paired, both names say {first}")
        elif orient((int(i), int(j)), names) != (int(i), int(j)):
            warnings.append(f"pair [{names[i]}, {names[j]}] lists the right joint first")
    checks = [f"{agree} of {len(list(pairs))} pairs agree with left and right in the joint names"] if agree else []
    bones = _bones(edges)
    open_bones = _bones_without_image(bones, partner)
    for bone, image in open_bones:
        warnings.append(f"bone {_joined(names, bone)} has no mirror image {_joined(names, image)}")
    if bones and not open_bones:
        checks.append(f"all {len(bones)} bones have their mirror image")
    return Evidence(tuple(checks), tuple(warnings))


def _partner(pairs: Sequence[Sequence[int]]) -> dict[int, int]:
    """Partner of every joint that has one."""
    partner: dict[int, int] = {}
    for i, j in pairs:
        partner[int(i)], partner[int(j)] = int(j), int(i)
    return partner


def _bones(edges: Sequence[Sequence[int]]) -> set[frozenset[int]]:
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
    return " - ".join(names[joint] for joint in joints)
