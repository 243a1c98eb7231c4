"""What a specification claims of a network, where it leaves entries of outputs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields import Field
from chiralize.body.tensors.fields.plain import Scalar
from chiralize.body.tensors.fields.unclaimed import Unclaimed
from chiralize.body.tensors.layout import parse_layout
from chiralize.errors import SpecError


@dataclass(frozen=True)
class ClaimedPart:
    """Which entries of an output are claimed.

    output: its number.  claimed, unclaimed: positions along its last axis.  names: of the blocks left out, with sizes.
    """

    output: int
    claimed: tuple[int, ...]
    unclaimed: tuple[int, ...]
    names: tuple[tuple[str, int], ...]


def is_partial(spec: ConversionSpec) -> bool:
    """Whether entries of some output are left out."""
    return any(map(_is_partial, spec.outputs or ()))


def _is_partial(entry: TensorEntry) -> bool:
    return any(isinstance(block, Unclaimed) for block in entry.fields or ())


def claimed(spec: ConversionSpec) -> ConversionSpec:
    """The specification of the claimed entries alone."""

    def without(blocks: tuple[Field, ...]) -> tuple[Field, ...]:
        """The blocks that are claimed."""
        return tuple(block for block in blocks if not isinstance(block, Unclaimed))

    return _with_blocks(spec, without)


def sized(spec: ConversionSpec) -> ConversionSpec:
    """A specification of the whole network for its sizes only: T on entries that are left out means nothing."""
    return _with_blocks(spec, with_sizes)


def with_sizes(blocks: tuple[Field, ...]) -> tuple[Field, ...]:
    """The blocks, those that are left out as numbers of their size."""
    filled = list[Field]()
    for block in blocks:
        is_out = isinstance(block, Unclaimed)
        filled.append(Scalar(block.name, block.count, block.entries) if is_out else block)
    return tuple(filled)


def _with_blocks(spec: ConversionSpec, change: Callable[[tuple[Field, ...]], tuple[Field, ...]]) -> ConversionSpec:
    """The specification with other blocks in the outputs that are claimed in part; itself where there is none."""
    if not is_partial(spec):
        return spec
    outputs = list[TensorEntry]()
    for entry in spec.outputs or ():
        outputs.append(replace(entry, fields=change(entry.fields or ())) if _is_partial(entry) else entry)
    return replace(spec, outputs=tuple(outputs))


def claimed_parts(spec: ConversionSpec) -> tuple[ClaimedPart, ...]:
    """Every output of which entries are left out. Raises SpecError where these are not along its last axis."""
    parts = []
    for number, entry in enumerate(spec.outputs or ()):
        if _is_partial(entry):
            parts.append(_part(number, entry, entry.body(spec.skeleton)))
    return tuple(parts)


def _part(number: int, entry: TensorEntry, body: Skeleton) -> ClaimedPart:
    layout = parse_layout(entry.layout or "... f", entry.where)
    if layout.axes[-1] != ("f",):
        facts = f"entries of output {number} are left out along an axis that is not the last ({layout})"
        raise SpecError(entry.where, facts, "only the last axis of an output can be claimed in part")
    start, inside, outside = 0, list[int](), list[int]()
    names = list[tuple[str, int]]()
    for block in entry.fields or ():
        positions = range(start, start + block.size(body))
        start = positions.stop
        if isinstance(block, Unclaimed):
            outside += positions
            names.append((block.name, block.count))
        else:
            inside += positions
    return ClaimedPart(number, tuple(inside), tuple(outside), tuple(names))
