"""Which entries of an axis an op takes out: what single entries, slices, lists and splits have in common."""

from __future__ import annotations

from dataclasses import dataclass

from chiralize.infer.registry import Call, Operand

_RUNS = ("aten.slice.Tensor", "aten.narrow.default")
_LISTS = ("aten.index.Tensor", "aten.index_select.default")
_SPLITS = (
    "aten.split.Tensor",
    "aten.split_with_sizes.default",
    "aten.chunk.default",
    "aten.unbind.int",
    "aten.unsafe_split.Tensor",
    "aten.unsafe_chunk.default",
)
TAKERS = frozenset({"aten.select.int", *_RUNS, *_LISTS, *_SPLITS})


@dataclass(frozen=True)
class Taken:
    """Entries of axis `dim` (of `size`), a tuple for every output.  single: the axis disappears."""

    dim: int
    size: int
    entries: tuple[tuple[int, ...], ...]
    single: bool = False


def taken(call: Call) -> Taken | None:
    """The entries that an op takes, or None for any other op and for lists that are not constant."""
    if call.target not in TAKERS:
        return None
    shape = call.operands[0].shape
    if call.target == "aten.index.Tensor":
        return _listed(shape, call["indices"])
    dim = call.axis(call.get("dim", 0), len(shape))
    size = shape[dim]
    if call.target == "aten.select.int":
        return Taken(dim, size, ((call["index"] % size,),), single=True)
    if call.target in _RUNS:
        return Taken(dim, size, (tuple(call.run(size)),))
    if call.target == "aten.index_select.default":
        return _at(dim, size, call["index"])
    single = call.target == "aten.unbind.int"
    parts: list[tuple[int, ...]] = []
    start = 0
    for shape in call.shapes:
        end = start + (1 if single or shape is None else shape[dim])
        parts.append(tuple(range(start, end)))
        start = end
    return Taken(dim, size, tuple(parts), single)


def _listed(shape: tuple[int, ...], indices: list[Operand | None]) -> Taken | None:
    used = [(dim, value) for dim, value in enumerate(indices) if value is not None]
    return _at(used[0][0], shape[used[0][0]], used[0][1]) if len(used) == 1 else None


def _at(dim: int, size: int, value: object) -> Taken | None:
    if not isinstance(value, Operand) or value.constant is None or value.constant.ndim != 1:
        return None
    if value.constant.is_floating_point():
        return None
    mask = str(value.constant.dtype) == "torch.bool"
    entries = value.constant.nonzero().reshape(-1) if mask else value.constant
    return Taken(dim, size, (tuple(entry % size for entry in entries.tolist()),))
