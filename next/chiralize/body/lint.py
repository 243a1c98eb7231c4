"""What is probably not meant, though the file reads well? And what does T do, entry by entry?

`chiralize skeleton lint FILE` prints the findings of `lint_file`: the error that reading raises, or warnings. T is an
involution in all of these cases, and perhaps not the mirror:

    pairs: [[r_knee, l_knee]]              written right first, or joined otherwise than the names say
    edges: [[hip, l_knee]]                 without [hip, r_knee]: a graph with these edges is not symmetric
    dims: [x, y], negate: []               nothing is negated along the axis that points sideways
    lateral: y, negate: [x]                positions are negated along the lateral axis
    no lateral                             vectors cannot be described

`listing` reads the other question off any tensor with T: `4 q.left_knee -> +7 q.right_knee`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chiralize.body.document import Document, read_yaml
from chiralize.body.naming import infer_pairs, partner_name, side
from chiralize.body.resolve import OnTensor
from chiralize.body.skeleton import AXES, Skeleton
from chiralize.body.spec import Spec, load_spec
from chiralize.errors import SpecError


@dataclass(frozen=True)
class Warned:
    """One finding of a file.  level: `error` or `warning`.  where: file and line."""

    level: str
    where: str
    message: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """The finding as the JSON output has it."""
        return {"level": self.level, "where": self.where, "message": self.message, "remedy": self.remedy}


def lint_file(path: Path | str) -> list[Warned]:
    """The findings of a specification or skeleton file, or of the shipped one of that name: one error, or warnings."""
    try:
        spec = load_spec(path)
        document = read_yaml(Path(path)) if Path(path).is_file() else None
    except SpecError as error:
        return [Warned("error", error.where, f"{type(error).__name__} {error.code}: {error.facts}", error.remedy)]
    findings = [Warned("warning", str(path), notice) for notice in spec.notices]
    for one in spec.named().values():
        findings += [*lint_skeleton(one.skeleton, document), *_lint_missing(one, str(path))]
    return list(dict.fromkeys(findings))


def lint_skeleton(skeleton: Skeleton, document: Document | None = None) -> Iterator[Warned]:
    """Warnings about a skeleton that is formally right.  document: its file, for lines."""

    def warned(message: str, remedy: str, *at: str | int) -> Warned:
        return Warned("warning", document.where(at) if document else f"skeleton {skeleton.name}", message, remedy)

    names = skeleton.joints
    yield from _lint_pairs(skeleton, warned)
    # With P the matrix that swaps partners, P A P is not A where an edge has no mirror image.
    edges = set(map(frozenset, skeleton.edges))
    for number, edge in enumerate(skeleton.edges):
        if frozenset(map(skeleton.partner, edge)) not in edges:
            message = f"edge {' - '.join(names[end] for end in edge)} has no mirror image"
            yield warned(message, "add it, or check the pairs", "edges", number)
    axes, table = {*skeleton.dims} & {*AXES}, skeleton.sign_table()
    sideways = [dim for dim in skeleton.dims if dim == (skeleton.lateral or dim) and dim in AXES]
    # Where dims do not hold the lateral axis, as of a body seen from the side, nothing is negated, and that is right.
    if sideways and len(axes) > 1 and all((table[:, skeleton.dims.index(dim)] > 0).all() for dim in sideways):
        message = f"nothing is negated along {', '.join(sideways)}: left stays left"
        yield warned(message, "negate the coordinate that points sideways", "negate")
    if skeleton.lateral is None:
        yield warned("no `lateral` axis: vectors cannot be described", "add `lateral: y`, or x, z")
    elif axes and skeleton.negate and skeleton.lateral not in skeleton.negate:
        message = f"lateral is {skeleton.lateral}, but {', '.join(skeleton.negate)} is negated"
        yield warned(message, "positions are negated along the lateral axis", "lateral")


def _lint_pairs(skeleton: Skeleton, warned: Callable[..., Warned]) -> Iterator[Warned]:
    """Warnings about pairs that are not those of the names."""
    names, inferred = skeleton.joints, infer_pairs(skeleton.joints).pairs
    if not skeleton.pairs and inferred:
        yield warned(f"no pairs, but the names tell {len(inferred)}", "use `pairs: infer`, or list them", "pairs")
    for number, (left, right) in enumerate(skeleton.pairs):
        expected = partner_name(names[left])
        if side(names[left]) == "right" and side(names[right]) == "left":
            message = f"pair [{names[left]}, {names[right]}] is written right first"
            yield warned(message, "write [left, right]", "pairs", number)
        elif expected in names and expected != names[right]:
            message = f"{names[left]!r} is paired with {names[right]!r}, against what the names say"
            yield warned(message, "check the pair", "pairs", number)


def _lint_missing(spec: Spec, source: str) -> Iterator[Warned]:
    """(0, 0) in a picture that is mirrored at x = 320 goes to (640, 0): a position, and no longer missing."""
    for tensor in spec.inputs or ():
        if tensor.is_affine and tensor.missing == "none":
            message = "reflect without `missing`: joints stored as 0 where they are missing would be mirrored to 2 c"
            yield Warned("warning", tensor.where or source, message, "add `missing: zero` where there are such joints")


def listing(tensor: OnTensor) -> list[str]:
    """T entry by entry, `17 left_foot.y -> -23 right_foot.y` where the mirrored tensor has -x[23] at 17.

    Along batch and frames of the first alone: T is the same for all of them.
    """
    if tensor.representation is None:
        return []
    free = {axis for _, axis in tensor.free_axes}
    sizes = [1 if axis in free else size for axis, size in enumerate(tensor.shape)]
    # Entries are numbered from 1, so that each has a sign: where T x holds -7, the seventh entry came, negated.
    moved = np.arange(1, int(np.prod(sizes)) + 1).reshape(sizes)
    for axis, representation in enumerate(tensor.representation.axes):
        moved = moved if axis in free else representation.action.act(moved, axis)
    labels = [tensor.label(index) for index in np.ndindex(*sizes)]
    rows: list[str] = []
    for index, value in enumerate((moved * tensor.representation.sign).reshape(-1).tolist()):
        image = f"{'-' if value < 0 else '+'}{abs(value) - 1} {labels[abs(value) - 1]}"
        image = "nothing is claimed of it" if index in tensor.unclaimed else image
        rows.append(f"{index:4d} {labels[index]} -> {image}")
    return rows
