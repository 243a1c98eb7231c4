"""Which entries of an axis an op takes out: what single entries, slices, lists and splits have in common.

x[:, 3]                          Taken(1, 17, ((3,),), single=True)
x[:, 4:7]                        Taken(1, 17, ((4, 5, 6),))
x[:, [4, 5, 11]]                 Taken(1, 17, ((4, 5, 11),))
x.split([1, 16], 1)              Taken(1, 17, ((0,), (1, ..., 16)))
"""

from __future__ import annotations

from dataclasses import dataclass

from chiralize.graph.traits import Entry, Pick, Slice, Split
from chiralize.infer.registry import Call, Operand, traits


@dataclass(frozen=True)
class Taken:
    """Entries of axis `dim` (of `size`), a tuple for every output.  single: the axis disappears."""

    dim: int
    size: int
    entries: tuple[tuple[int, ...], ...]
    single: bool = False


def takes(target: str) -> bool:
    """Whether an op takes entries out of an axis."""
    return isinstance(traits().get(target), (Entry, Slice, Pick, Split))


def taken(call: Call) -> Taken | None:
    """The entries that an op takes, or None for any other op and for lists that are not constant."""
    if not takes(call.target):
        return None
    trait, shape = traits()[call.target], call.operands[0].shape
    if isinstance(trait, Pick) and "dim" not in call.arguments:
        return _listed(shape, call[trait.lists])
    dim = call.axis(call.get("dim", 0), len(shape))
    size = shape[dim]
    match trait:
        case Entry():
            return Taken(dim, size, ((call["index"] % size,),), single=True)
        case Slice():
            return Taken(dim, size, (tuple(call.run(size)),))
        case Pick():
            return _at(dim, size, call[trait.lists])
    # A split: the sizes of its outputs say where it cuts, however it was written.
    single = isinstance(trait, Split) and trait.is_single
    parts: list[tuple[int, ...]] = []
    start = 0
    for shape in call.shapes:
        end = start + (1 if single or shape is None else shape[dim])
        parts.append(tuple(range(start, end)))
        start = end
    return Taken(dim, size, tuple(parts), single)


def _listed(shape: tuple[int, ...], indices: list[Operand | None]) -> Taken | None:
    """The entries of x[:, [4, 5]], whose lists are one for each axis; None where several axes have one."""
    used = [(dim, value) for dim, value in enumerate(indices) if value is not None]
    if len(used) != 1:
        return None
    return _at(used[0][0], shape[used[0][0]], used[0][1])


def _at(dim: int, size: int, value: object) -> Taken | None:
    """The entries that a constant list of numbers, or a mask, names; None for any other index."""
    if not isinstance(value, Operand) or value.constant is None or value.constant.ndim != 1:
        return None
    if value.constant.is_floating_point():
        return None
    mask = str(value.constant.dtype) == "torch.bool"
    entries = value.constant.nonzero().reshape(-1) if mask else value.constant
    return Taken(dim, size, (tuple(entry % size for entry in entries.tolist()),))
