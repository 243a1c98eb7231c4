"""Signs from outside that T is the right mirror: a wrong T must not approve itself.

Three witnesses that know nothing of the given pairs: the left and right words in the joints' names, the bones of the
skeleton, and the trained network itself, which fits the true mirror better than its neighbours (no swap, another
negated coordinate, one pair left unswapped).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isfinite, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chiralize.errors import ChiralizeError, NotAnInvolutionError
from chiralize.involution import SignedPermutation
from chiralize.representation import Representation, TensorRepresentation
from chiralize.running import Arguments, Call, Runner, random_calls, results
from chiralize.skeleton.naming import infer_pairs, orient, side
from chiralize.skeleton.skeleton import Skeleton
from chiralize.verdicts import Evidence, Mirror

BETTER = 0.9
BETTER_ON_NOISE = 0.5
UNEVEN = 0.1
ASYMMETRIC = 1e-3
IDLE = "T changes nothing in any input or output, no joint and no sign: every network commutes with it"


def joined(*parts: Evidence) -> Evidence:
    """All checks and all warnings."""
    return Evidence(tuple(c for part in parts for c in part.checks), tuple(w for part in parts for w in part.warnings))


# ---- the network as a witness ---------------------------------------------------------------------------------
def evidence(
    original: torch.nn.Module,
    mirror: Mirror,
    alternatives: Mapping[str, Mirror],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    converted: torch.nn.Module | None = None,
    inputs: Sequence[Call] = (),
    samples: int = 8,
    seed: int = 0,
) -> Evidence:
    """What the trained network says about T, and what the joint names say about it.

    alternatives: neighbouring wrong mirrors by name, see `alternatives`.  inputs: real inputs; without them
    `samples` random ones in the examples' shapes.  converted: the network on which a pose made symmetric by names
    must come out symmetric by names (the original has its own asymmetry).
    Warns where another T fits the original better by a tenth (on random inputs, which no body ever takes: twice as
    well). Raises ModelRunError, UsageError.
    """
    calls = list(inputs) or [mirror.placed(call) for call in random_calls(Arguments.of(args, kwargs), samples, seed)]
    better = BETTER if inputs else BETTER_ON_NOISE
    parts = [_fit(original, mirror, alternatives, calls, better), _names(mirror)]
    if converted is not None:
        parts.append(_symmetric_pose(converted, mirror, calls))
    return joined(*parts)


def _fit(
    original: torch.nn.Module, mirror: Mirror, others: Mapping[str, Mirror], calls: Sequence[Call], better: float
) -> Evidence:
    checks, warnings = [], []
    tried = {name: other for name, other in others.items() if not all(own.is_trivial for own in other.inputs)}
    if not tried or all(own.is_trivial for own in mirror.inputs):
        return Evidence()
    with Runner(original) as runner:
        answers = [results(runner.run([call], mirror.states).steps[0])[0] for call in calls]
        own = gap(runner, mirror, calls, answers)
        gaps = {name: gap(runner, other, calls, answers) for name, other in tried.items()}
    for name, there in gaps.items():
        if isfinite(there) and there < better * own:
            warnings.append(
                f"the original fits another mirror better: its gap is {there:.3g} with {name}, {own:.3g} with T"
            )
    if not warnings:
        nearest = min(gaps, key=lambda name: gaps[name])
        checks.append(
            f"of {len(gaps)} neighbouring mirrors none fits the original clearly better: its gap is {own:.3g} with T, "
            f"{gaps[nearest]:.3g} with {nearest}, the nearest"
        )
    return Evidence(tuple(checks), tuple(warnings))


def gap(runner: Runner, mirror: Mirror, calls: Sequence[Call], answers: Sequence[Sequence[torch.Tensor]]) -> float:
    """RMS(f(x) - T f(T x)) / RMS(f(x) - mean f), the mean per entry; the largest over outputs that are no states.

    answers: f(x) for every call.
    """
    apart: dict[int, float] = {}
    square: dict[int, float] = {}
    total: dict[int, torch.Tensor] = {}
    rows: dict[int, int] = {}
    for call, own in zip(calls, answers, strict=True):
        there = results(runner.run([mirror.turned(call)], mirror.states, turned=True).steps[0])[0]
        for index, (a, b) in enumerate(zip(own, there, strict=True)):
            if index in mirror.state_outputs or not a.is_floating_point():
                continue
            a, b = a.double(), mirror.turned_output(index, b).double()
            apart[index] = apart.get(index, 0.0) + float((a - b).square().sum())
            a = a if a.ndim else a[None]
            square[index] = square.get(index, 0.0) + float(a.square().sum())
            total[index] = total.get(index, torch.zeros_like(a[0])) + a.sum(0)
            rows[index] = rows.get(index, 0) + a.shape[0]
    spread = {index: square[index] - float(total[index].square().sum()) / rows[index] for index in apart}
    return max((sqrt(apart[index] / spread[index]) for index in apart if spread[index] > 0), default=0.0)


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


def _names(mirror: Mirror) -> Evidence:
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


def _symmetric_pose(module: torch.nn.Module, mirror: Mirror, calls: Sequence[Call]) -> Evidence:
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


# ---- neighbouring wrong mirrors -------------------------------------------------------------------------------
def neighbours(skeleton: Skeleton) -> dict[str, Skeleton]:
    """Skeletons with one thing about the mirror changed, by a name for it."""
    found: dict[str, Skeleton] = {}
    if skeleton.pairs:
        found["no swap at all"] = replace(skeleton, pairs=())
    for i, j in skeleton.pairs:
        rest = tuple(pair for pair in skeleton.pairs if pair != (i, j))
        found[f"{skeleton.joints[i]} and {skeleton.joints[j]} unswapped"] = replace(skeleton, pairs=rest)
    if skeleton.negate and not skeleton.signs:
        for dim in skeleton.dims:
            if dim not in skeleton.negate:
                found[f"{dim} negated instead of {', '.join(skeleton.negate)}"] = replace(
                    skeleton, negate=(dim,), lateral=None
                )
    if skeleton.signs and skeleton.has_joint_signs:
        found["no signs of single joints"] = replace(skeleton, signs=())
    return found


def alternatives(skeleton: Skeleton, resolve: Callable[[Skeleton], Mirror]) -> dict[str, Mirror]:
    """The mirrors of the neighbouring skeletons; those that `resolve` refuses are left out."""
    found: dict[str, Mirror] = {}
    for name, other in neighbours(skeleton).items():
        try:
            found[name] = resolve(other)
        except ChiralizeError:
            continue
    return found
