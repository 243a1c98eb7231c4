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

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chiralize.body.document import Document, read_yaml
from chiralize.body.naming import infer_pairs, partner_name, side
from chiralize.body.resolve import OnTensor
from chiralize.body.schema import Tensor
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
        findings += [*lint_skeleton(one.skeleton, document), *_lint_tensors(one, str(path))]
    return list(dict.fromkeys(findings))


def lint_skeleton(skeleton: Skeleton, document: Document | None = None) -> Iterator[Warned]:
    """Warnings about a skeleton that is formally right.  document: its file, for lines."""

    def warned(message: str, remedy: str, *at: str | int) -> Warned:
        return Warned("warning", document.where(at) if document else f"skeleton {skeleton.name}", message, remedy)

    names = skeleton.joints
    inferred = infer_pairs(names).pairs
    if not skeleton.pairs and inferred:
        listed = " and ".join(names[index] for index in inferred[0])
        message = f"no pairs, but the names tell {len(inferred)}, such as {listed}"
        yield warned(message, "use `pairs: infer`, or list them", "pairs")
    for number, (left, right) in enumerate(skeleton.pairs):
        first, second = side(names[left]), side(names[right])
        expected = partner_name(names[left])
        if first == "right" and second == "left":
            yield warned(
                f"pair [{names[left]}, {names[right]}] is written right first", "write [left, right]", "pairs", number
            )
        elif (first and first == second) or (expected in names and expected != names[right]):
            message = f"{names[left]!r} is paired with {names[right]!r}, against what the names say"
            yield warned(message, "check the pair", "pairs", number)
    for number, message in _open_edges(skeleton):
        yield warned(message, "add it, or check the pairs", "edges", number)
    doubt = _unmirrored(skeleton)
    if doubt:
        yield warned(doubt, "negate the coordinate that points sideways", "negate")
    if skeleton.lateral is None:
        yield warned("no `lateral` axis: vectors cannot be described", "add `lateral: y`, or x, z")
    elif set(skeleton.dims) & set(AXES) and skeleton.negate and skeleton.lateral not in skeleton.negate:
        message = f"lateral is {skeleton.lateral}, but {', '.join(skeleton.negate)} is negated"
        yield warned(message, "positions are negated along the lateral axis", "lateral")


def _open_edges(skeleton: Skeleton) -> Iterator[tuple[int, str]]:
    """Edges without their mirror image, by number. With P the matrix that swaps partners, P A P is not A then."""
    edges = set(map(frozenset, skeleton.edges))
    for number, edge in enumerate(skeleton.edges):
        mirrored = [skeleton.partner(index) for index in edge]
        if frozenset(mirrored) not in edges:
            names = [f"{skeleton.joints[i]} - {skeleton.joints[j]}" for i, j in (edge, mirrored)]
            yield number, f"edge {names[0]} has no mirror image {names[1]}"


def _unmirrored(skeleton: Skeleton) -> str:
    """A doubt about coordinates of space none of which is negated: a left hand is put where the right one is, as it is.

    Where dims do not hold the lateral axis, as of a body seen from the side, that is right.
    """
    axes, table = [dim for dim in skeleton.dims if dim in AXES], skeleton.sign_table()
    if not skeleton.pairs and (table > 0).all():
        return "no pairs, and nothing is negated: the mirror leaves everything as it is"
    if skeleton.lateral in axes and (table[:, skeleton.dims.index(skeleton.lateral)] > 0).all():
        return f"nothing is negated along the lateral axis {skeleton.lateral}: left stays left"
    if skeleton.lateral is None and len(axes) > 1 and (table > 0).all():
        return f"nothing is negated, though dims are coordinates of space ({', '.join(axes)}): left stays left"
    return ""


def _lint_tensors(spec: Spec, source: str) -> Iterator[Warned]:
    """Warnings about tensors: other signs than the skeleton's, and missing joints that are stored as 0."""
    for tensor in spec.tensors:
        where = tensor.where or source
        doubt = _unmirrored(tensor.body(spec.skeleton)) if tensor.negate == () and tensor.fields is None else ""
        if doubt:
            yield Warned("warning", where, doubt, "negate the coordinate that points sideways")
        # (0, 0) in a picture that is mirrored at x = 320 goes to (640, 0): a position, and no longer missing.
        if tensor.is_affine and _is_among(tensor, spec.inputs or ()) and tensor.missing == "none":
            message = "reflect without `missing`: joints stored as 0 where they are missing would be mirrored to 2 c"
            yield Warned("warning", where, message, "add `missing: zero` where the data has such joints")


def _is_among(tensor: Tensor, tensors: tuple[Tensor, ...]) -> bool:
    return any(tensor is other for other in tensors)  # equal entries may be of inputs and outputs


@dataclass(frozen=True)
class Entry:
    """One entry of a tensor.  partner: the entry that comes here in the mirror.  sign: 0 where nothing is claimed."""

    index: int
    label: str
    sign: int
    partner: int
    partner_label: str

    def __str__(self) -> str:
        """`17 left_foot.y -> -23 right_foot.y`: the mirrored tensor has -x[23] at 17."""
        if not self.sign:
            return f"{self.index:4d} {self.label}: nothing is claimed of it"
        return f"{self.index:4d} {self.label} -> {'-' if self.sign < 0 else '+'}{self.partner} {self.partner_label}"

    def to_dict(self) -> dict[str, object]:
        """The entry as the JSON output has it."""
        keys: dict[str, object] = {"index": self.index, "name": self.label, "sign": self.sign}
        return keys | {"partner": self.partner, "partner_name": self.partner_label}


def listing(tensor: OnTensor) -> list[Entry]:
    """Every entry of a tensor with T, but along batch and frames the first alone: T is the same for all of them."""
    if tensor.representation is None:
        return []
    free = {axis for _, axis in tensor.free_axes}
    sizes = [1 if axis in free else size for axis, size in enumerate(tensor.shape)]
    # Entries are numbered from 1, so that each has a sign: where T x holds -7, the seventh entry came, negated.
    numbers = np.arange(1, int(np.prod(sizes)) + 1).reshape(sizes)
    moved = numbers
    for axis, representation in enumerate(tensor.representation.axes):
        if axis not in free:
            moved = representation.action.act(moved, axis)
    moved = moved.reshape(-1) * tensor.representation.sign
    labels = [tensor.label(index) for index in np.ndindex(*sizes)]
    entries: list[Entry] = []
    for index, value in enumerate(moved.tolist()):
        partner = abs(value) - 1
        sign = 0 if index in tensor.unclaimed else int(np.sign(value))
        entries.append(Entry(index, labels[index], sign, partner, labels[partner]))
    return entries
