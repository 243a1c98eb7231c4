"""Bounds on what a file may ask for: how much text, how many parts, and tensors that are larger than their bytes.

A small file can describe much: a list that holds another one twice, which holds another one twice, and so on, or a
tensor of 10**12 entries that are all the same byte.  Such files are refused before anything is walked or computed.

Of what torch.load gave, `check_parts` counts each part as often as it appears, but looks at it once: a list that holds
the list before it twice, 40 times over, has 40 parts in memory and 2**40 when it is walked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from chiralize.errors import UnsafeFileError
from chiralize.storage.expressions import work_of

if TYPE_CHECKING:
    import torch

MAX_TEXT_BYTES = 64 << 20
MAX_ITEMS = 100_000
"""Entries of a list or table in the description of a graph."""
MAX_GUARDS = 5_000
MAX_EXPRESSIONS = 250_000
"""Characters of all size expressions and guards that differ."""
MAX_WORK = 30_000_000
"""Steps of sympy over all expressions, in the units of `Extent.nested`: a minute or so."""
MAX_PARTS = 10_000_000
MAX_DEPTH = 200
MAX_REPEATED = 1 << 26
"""Entries that a tensor may have beyond its bytes, as an expanded one has."""
REMEDY = "do not use this file; ask its author for one written by an ordinary save."
_EXPRESSIONS = ("expr_str", "guards_code")


def check_text_size(size: int, member: str, where: str) -> None:
    """Refuse descriptions of networks larger than any real one.  Raises UnsafeFileError."""
    if size > MAX_TEXT_BYTES:
        facts = f"member {member!r} unpacks to {size:,} bytes of text, limit {MAX_TEXT_BYTES:,}"
        raise UnsafeFileError(where, facts, REMEDY)


def check_lists(tree: Any, member: str, where: str) -> None:
    """Refuse lists and tables of JSON that are longer than any real graph needs, and more text of expressions.

    Raises UnsafeFileError.
    """
    for key, value in _entries(tree):
        limit = MAX_GUARDS if key == "guards_code" else MAX_ITEMS
        if isinstance(value, (list, dict)) and len(value) > limit:
            facts = f"{member}: {key or 'it'} has {len(value):,} entries, limit {limit:,}"
            raise UnsafeFileError(where, facts, REMEDY)
    length = sum(map(len, set(_expressions(tree))))  # texts that differ: see `size_texts`
    if length > MAX_EXPRESSIONS:
        facts = f"{member}: its size expressions and guards are {length:,} characters long, limit {MAX_EXPRESSIONS:,}"
        raise UnsafeFileError(where, facts, REMEDY)


def check_work(tree: Any, member: str, where: str) -> None:
    """Refuse more size arithmetic than torch could do in a minute or so.  Raises UnsafeFileError.

    tree: checked already, so that every expression in it is plain.
    """
    # Each is read whenever it appears, but multiplied out only the first time.
    texts = list(_expressions(tree))
    work = sum(work_of(text).nested for text in texts) + sum(work_of(text).expanded for text in set(texts))
    if work > MAX_WORK:
        facts = f"{member}: its {len(texts):,} size expressions and guards need {work:,} steps, limit {MAX_WORK:,}"
        raise UnsafeFileError(where, facts, REMEDY)


def _expressions(tree: Any) -> Iterable[str]:
    """Every text in a graph that torch evaluates: sizes, their ranges, guards."""
    for key, value in _entries(tree):
        if key == "range_constraints" and isinstance(value, dict):
            yield from value
        elif key in _EXPRESSIONS and isinstance(value, str):
            yield value


def _entries(tree: Any) -> Iterable[tuple[str, Any]]:
    """Every value of JSON with its key; a value in a list has the key of the list."""
    waiting = [("", tree)]  # no recursion: the text may be nested deeper than Python can call
    while waiting:
        key, value = waiting.pop()
        yield key, value
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(key, entry) for entry in value]


def check_claim(sizes: Sequence[int], room: int, what: str, where: str) -> None:
    """Refuse a tensor that repeats its bytes to an enormous size.  room: its bytes.  Raises UnsafeFileError."""
    entries = prod(sizes)
    if entries > max(room, MAX_REPEATED):
        facts = f"{what} claims {entries:,} entries, shape {tuple(sizes)}, and holds {room:,} bytes"
        raise UnsafeFileError(where, facts, REMEDY)


def check_parts(value: Any, subject: str, where: str) -> None:
    """Refuse nested values that would take for ever to walk, and tensors that repeat few bytes.

    Raises UnsafeFileError, and RecursionError for what is nested too deeply, or contains itself.
    """

    def parts_of(part: Any, depth: int) -> int:
        """How many parts there are in all. A part that appears twice counts twice, but is looked at once."""
        if depth > MAX_DEPTH:
            raise RecursionError(f"nested deeper than {MAX_DEPTH}")
        if hasattr(part, "untyped_storage"):
            _check_tensor(part, f"a tensor in {subject}", where)
            return 1
        inside = _inside(part)
        # By identity: the count of what appears twice is known the second time.  What contains itself has none yet, and
        # ends at the bound on depth.
        if inside and id(part) not in counts:
            counts[id(part)] = sum(parts_of(inner, depth + 1) for inner in inside)
        return 1 + counts.get(id(part), 0)

    counts: dict[int, int] = {}
    if (parts := parts_of(value, 0)) > MAX_PARTS:
        facts = f"{subject} holds {parts:,} parts once all that it repeats is counted, limit {MAX_PARTS:,}"
        raise UnsafeFileError(where, facts, REMEDY)


def _inside(part: Any) -> list[Any]:
    """The parts of a container, of a stand-in for an object, or of an array of objects; none of anything else."""
    if isinstance(part, Mapping):
        return list(part.values())
    if isinstance(part, (list, tuple, set, frozenset)):
        return list(part)
    kept_parts = getattr(part, "inside", None)  # of stand-ins for objects
    if isinstance(kept_parts, list):
        return kept_parts
    content = getattr(part, "value", None)  # arrays of objects, in which lists may be nested again
    if isinstance(content, list):
        return content
    return []


def _check_tensor(tensor: torch.Tensor, what: str, where: str) -> None:
    """Refuse a dense tensor that repeats few bytes.  Raises UnsafeFileError."""
    import torch

    if tensor.layout == torch.strided and not tensor.is_nested and not tensor.is_meta:
        check_claim(tensor.shape, tensor.untyped_storage().nbytes(), what, where)
