"""What a specification claims of a network, where it leaves entries of outputs out.

An output of 12 leg joints and 7 of a handed arm: `fields: [{joints: legs}, {unclaimed: 7, name: arm}]`. The network is
converted and proved for the first 12 entries, and the rows of the arm are put back afterwards. Three views of such a
specification are needed: `claimed` for T (12 entries), `sized` for shapes (19 entries), and `claimed_parts` for where
they lie (0 to 11 claimed, 12 to 18 not).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from math import prod

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
    An output that is left out as a whole has no claimed entries, and its size is that of a sample, along all axes.
    """

    output: int
    claimed: tuple[int, ...]
    unclaimed: tuple[int, ...]
    names: tuple[tuple[str, int], ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the output is claimed."""
        return not self.claimed


def left_out_whole(parts: Sequence[ClaimedPart]) -> frozenset[int]:
    """The numbers of the outputs that are left out as a whole."""
    return frozenset(part.output for part in parts if part.is_whole)


def is_partial(spec: ConversionSpec) -> bool:
    """Whether outputs, or entries of them, are left out."""
    return any(_is_left_out(entry) or _is_partial(entry) for entry in spec.outputs or ())


def _is_partial(entry: TensorEntry) -> bool:
    """Whether some blocks of an output are left out."""
    return any(isinstance(block, Unclaimed) for block in entry.fields or ())


def _is_left_out(entry: TensorEntry) -> bool:
    """Whether an output is left out as a whole."""
    return entry.kind == "unclaimed"


def claimed(spec: ConversionSpec) -> ConversionSpec:
    """The specification of what is claimed alone; outputs behind one that is left out have other numbers in it.

    Raises SpecError where one is `like` an output that is left out.
    """

    def without(blocks: tuple[Field, ...]) -> tuple[Field, ...]:
        """The blocks that are claimed."""
        return tuple(block for block in blocks if not isinstance(block, Unclaimed))

    spec = _with_blocks(spec, without)
    left = list[int]()  # outputs that are claimed: output left[k] becomes output k
    for number, entry in enumerate(spec.outputs or ()):
        if not _is_left_out(entry):
            left.append(number)
    # Nothing to renumber; where no output is left, `claimed_parts` refuses.
    if not left or spec.outputs is None or len(left) == len(spec.outputs):
        return spec
    gone = {entry.name for entry in spec.outputs if _is_left_out(entry)}

    def renumbered(entry: TensorEntry) -> TensorEntry:
        """The entry, like an output by the number that this has among those that are left."""
        return replace(entry, like=_like(entry, left, gone))

    inputs = None if spec.inputs is None else tuple(map(renumbered, spec.inputs))
    return replace(spec, inputs=inputs, outputs=tuple(renumbered(spec.outputs[number]) for number in left))


def _like(entry: TensorEntry, left: Sequence[int], gone: Container[str | None]) -> str | None:
    """What a tensor is like, an output by its number among the outputs that are left. Raises SpecError.

    gone: names of the others.
    """
    if entry.like is None:
        return None
    io, _, number = " ".join(entry.like.split()).partition(" ")
    is_numbered = io == "output" and number.isdigit()
    if entry.like.strip() in gone or (is_numbered and int(number) not in left):
        facts = f"like: nothing is claimed of {entry.like!r}"
        raise SpecError(entry.where or "outputs", facts, "say how it is mirrored, or write `unclaimed` here as well")
    return f"output {left.index(int(number))}" if is_numbered else entry.like


def sized(spec: ConversionSpec) -> ConversionSpec:
    """A specification of the whole network for its sizes only: T on entries that are left out means nothing."""
    spec = _with_blocks(spec, with_sizes)
    if not any(map(_is_left_out, spec.outputs or ())):
        return spec
    outputs = list[TensorEntry]()
    for entry in spec.outputs or ():
        outputs.append(replace(entry, flag="free") if _is_left_out(entry) else entry)
    return replace(spec, outputs=tuple(outputs))


def with_sizes(blocks: tuple[Field, ...]) -> tuple[Field, ...]:
    """The blocks, those that are left out as numbers of their size."""
    filled = list[Field]()
    for block in blocks:
        is_out = isinstance(block, Unclaimed)
        filled.append(Scalar(block.name, block.count, block.entries) if is_out else block)
    return tuple(filled)


def _with_blocks(spec: ConversionSpec, change: Callable[[tuple[Field, ...]], tuple[Field, ...]]) -> ConversionSpec:
    """The specification with other blocks in the outputs that are claimed in part; itself where there is none."""
    if not any(map(_is_partial, spec.outputs or ())):
        return spec
    outputs = list[TensorEntry]()
    for entry in spec.outputs or ():
        outputs.append(replace(entry, fields=change(entry.fields or ())) if _is_partial(entry) else entry)
    return replace(spec, outputs=tuple(outputs))


def claimed_parts(spec: ConversionSpec, shapes: Sequence[Sequence[int]] = ()) -> tuple[ClaimedPart, ...]:
    """Every output that is left out, or of which entries are.

    shapes: of the outputs, without which one that is left out as a whole has no size.
    Raises SpecError where entries are not along the last axis, and where nothing is claimed of any output.
    """
    parts = []
    for number, entry in enumerate(spec.outputs or ()):
        if _is_left_out(entry):
            shape = shapes[number] if shapes else (0,)
            positions = tuple(range(shape[-1] if shape else 1))
            numbers = prod(shape[1:]) if len(shape) > 1 else len(positions)  # the first axis counts samples
            parts.append(ClaimedPart(number, (), positions, ((_name(entry, number), numbers),)))
        elif _is_partial(entry):
            parts.append(_part(number, entry, entry.body(spec.skeleton)))
    if spec.outputs and all(map(_is_left_out, spec.outputs)):
        facts = "all outputs are `unclaimed`: nothing would be claimed of the network"
        raise SpecError(spec.outputs[0].where or "outputs", facts, "say how one of them is mirrored")
    return tuple(parts)


def _name(entry: TensorEntry, number: int) -> str:
    """An output that is left out, which has no number among those that are claimed."""
    return entry.name or f"the network's output {number}"


def _part(number: int, entry: TensorEntry, body: Skeleton) -> ClaimedPart:
    """Where the claimed and the other entries of an output lie along its last axis. Raises SpecError."""
    # Rows of the last layer are taken away and put back, and these lie along the last axis of an output.
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
