"""Joint names and bones as witnesses of the mirror: they know nothing of the pairs that are given.

Left and right words in the names of the joints tell which of them belong together; the bones of the skeleton must map
to each other; and a pose that is made symmetric by names must come out of an equivariant network symmetric by names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chiralize.body.skeleton.naming import infer_pairs, orient, side
from chiralize.errors import NotAnInvolutionError
from chiralize.graph.mirror import Mirror
from chiralize.graph.running import Arguments, Call, Runner, results
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.verification.verdicts import Evidence

UNEVEN = 0.1
ASYMMETRIC = 1e-3


# ---- names as witnesses ---------------------------------------------------------------------------------------
def by_names(mirror: Mirror) -> Mirror | None:
    """T with the swaps that the labels' left and right words tell instead of the given ones; signs are kept.

    None where the labels carry no such words. Raises NotAnInvolutionError where words and signs contradict.
    """
    told = False
    sides: list[tuple[TensorRepresentation, ...]] = []
    for io, tensors in (("input", mirror.inputs), ("output", mirror.outputs)):
        column = []
        for index, own in enumerate(tensors):
            axes = list(own.axes)
            for place, axis in enumerate(own.axes):
                partner = _partners(_labels(mirror, io, index, place, own))
                if partner is not None and not (axis.is_trivial and (partner == np.arange(axis.size)).all()):
                    told = True
                    axes[place] = Representation.of(SignedPermutation(partner, axis.action.sign))
            column.append(TensorRepresentation(tuple(axes), own.sign))
        sides.append(tuple(column))
    return replace(mirror, inputs=sides[0], outputs=sides[1]) if told else None


def _labels(mirror: Mirror, io: Any, index: int, place: int, own: TensorRepresentation) -> list[str]:
    entry = [0] * len(own.axes)
    labels = []
    for at in range(own.axes[place].size):
        entry[place] = at
        labels.append(mirror.label(io, index, tuple(entry)))
    return labels


def _partners(labels: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """Partner of every label by the words in it, or None where no word tells a side. `a.b` is read word by word."""
    if len(set(labels)) < len(labels):
        return None
    words = sorted({word for label in labels for word in label.split(".")})
    pairs = infer_pairs(words).pairs
    other = {words[i]: words[j] for i, j in pairs} | {words[j]: words[i] for i, j in pairs}
    place = {label: at for at, label in enumerate(labels)}
    turned = [".".join(other.get(word, word) for word in label.split(".")) for label in labels]
    if not pairs or any(label not in place for label in turned):
        return None
    return np.array([place[label] for label in turned], dtype=np.int64)


def names_of_entries(mirror: Mirror) -> Evidence:
    try:
        named = by_names(mirror)
    except NotAnInvolutionError as error:
        return Evidence(warnings=(f"left and right in the names contradict the signs of T: {error.facts}",))
    if named is None:
        return Evidence()
    warnings = []
    for io, ours, theirs in (("input", mirror.inputs, named.inputs), ("output", mirror.outputs, named.outputs)):
        for index, (own, told) in enumerate(zip(ours, theirs, strict=True)):
            for place, (axis, other) in enumerate(zip(own.axes, told.axes, strict=True)):
                apart = np.flatnonzero(axis.action.partner != other.action.partner)
                if len(apart):
                    labels = _labels(mirror, io, index, place, own)
                    at = int(apart[0])
                    warnings.append(
                        f"{io} {index}: T takes {labels[at]} to {labels[int(axis.action.partner[at])]}, by its name "
                        f"it belongs to {labels[int(other.action.partner[at])]} ({len(apart)} such entries)"
                    )
    checks = () if warnings else ("the swaps of T agree with left and right in the names of the entries",)
    return Evidence(checks, tuple(warnings))


def symmetric_pose(module: torch.nn.Module, mirror: Mirror, calls: Sequence[Call]) -> Evidence:
    """F((x + T' x) / 2) must be unmoved by T', the mirror that the names tell."""
    try:
        named = by_names(mirror)
    except NotAnInvolutionError:
        return Evidence()
    if named is None:
        return Evidence()
    apart = scale = 0.0
    with Runner(module) as runner:
        for call in calls:
            own, there = Arguments.of(*call), Arguments.of(*named.turned(call))
            tensors = [
                (a + b) / 2 if a.is_floating_point() else a for a, b in zip(own.tensors, there.tensors, strict=True)
            ]
            for index, value in enumerate(results(runner.run([own.filled(tensors)]).steps[0])[0]):
                if value.is_floating_point() and index not in named.state_outputs:
                    apart = max(apart, float((value - named.turned_output(index, value)).abs().max()))
                    scale = max(scale, float(value.abs().max()))
    share = apart / scale if scale else 0.0
    text = f"a pose made symmetric by joint names comes out {{}} by names (off by {share:.1e} of the output's scale)"
    if share <= ASYMMETRIC:
        return Evidence(checks=(text.format("symmetric"),))
    return Evidence(warnings=(text.format("asymmetric"),))


def name_findings(
    joint_names: Sequence[str], pairs: Sequence[Sequence[int]], edges: Sequence[Sequence[int]] = ()
) -> Evidence:
    """Left and right words against the pairs, and bones against the swap.

    pairs: (left, right) indices.  edges: bones as pairs of indices, in any direction.
    """
    names = list(joint_names)
    partner = {int(a): int(b) for i, j in pairs for a, b in ((i, j), (j, i))}
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
    checks = [f"{agree} of {len(list(pairs))} pairs are told by the joint names"] if agree else []
    bones = {frozenset((int(i), int(j))) for i, j in edges}
    open_bones = [
        bone for bone in sorted(bones, key=sorted) if frozenset(partner.get(own, own) for own in bone) not in bones
    ]
    for bone in open_bones:
        there = [names[partner.get(own, own)] for own in sorted(bone)]
        here = [names[own] for own in sorted(bone)]
        warnings.append(f"bone {' - '.join(here)} has no mirror image {' - '.join(there)}")
    if bones and not open_bones:
        checks.append(f"all {len(bones)} bones have their mirror image")
    return Evidence(tuple(checks), tuple(warnings))


def bone_findings(
    joint_names: Sequence[str],
    pairs: Sequence[Sequence[int]],
    edges: Sequence[Sequence[int]],
    poses: npt.NDArray[np.generic],
) -> Evidence:
    """Mean bone lengths of left and right must agree within a tenth. poses: "sample joint coord", finite."""
    partner = {int(a): int(b) for i, j in pairs for a, b in ((i, j), (j, i))}
    bones = {frozenset((int(i), int(j))) for i, j in edges}
    points = np.asarray(poses, dtype=np.float64)
    warnings, seen = [], 0
    for bone in sorted(bones, key=sorted):
        there = frozenset(partner.get(own, own) for own in bone)
        if there not in bones or sorted(there) <= sorted(bone) or len(bone) < 2:
            continue
        vectors = [points[..., min(own), :] - points[..., max(own), :] for own in (bone, there)]
        lengths = [float(np.linalg.norm(vector, axis=-1).mean()) for vector in vectors]
        seen += 1
        if abs(lengths[0] - lengths[1]) > UNEVEN * max(lengths):
            texts = [" - ".join(joint_names[own] for own in sorted(b)) for b in (bone, there)]
            warnings.append(f"bone {texts[0]} has mean length {lengths[0]:.3g}, {texts[1]} {lengths[1]:.3g}")
    checks = (f"{seen} pairs of bones have equal mean lengths within 10 %",) if seen and not warnings else ()
    return Evidence(checks, tuple(warnings))
