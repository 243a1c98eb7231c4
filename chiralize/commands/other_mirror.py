"""A file that was converted for one mirror and is judged by another: what differs, and what to do about it.

`chiralize verify chiral.pt2 --skeleton coco` of a file that was made for h36m fails, rightly. The message then says so
and names the first entry that the two mirrors move otherwise:

    left_knee.x of input 0 changes with right_knee.x, negated, under the file's, and is negated under the given one

By names, where both call the entries concerned alike; else by numbers: two bodies of 17 joints may share no name.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ConversionSpec, ResolvedTensor, resolve
from chiralize.body.tensors.fields import in_flow_style
from chiralize.errors import SpecError
from chiralize.errors.words import when
from chiralize.problem.network import Network
from chiralize.symmetry.involution import SignedPermutation


def remedy_of_other_mirror(network: Network, before: ConversionSpec | None) -> str:
    """What to do where a network does not pass under the given mirror, and was converted for another one.

    before: the mirror that it was converted for, None where it is the given one or none.  "" where both act alike.
    """
    if before is None:
        return ""
    given = network.resolved
    # A mirror of another body may not fit these sizes at all; then nothing is said.
    with suppress(SpecError):
        other = resolve(
            before,
            [tensor.shape for tensor in given.input_tensors],
            [tensor.shape for tensor in given.output_tensors],
        )
        # Tensor by tensor, in the order in which they are listed; the first difference is enough for a message.
        pairs = zip(
            (*given.input_tensors, *given.output_tensors), (*other.input_tensors, *other.output_tensors), strict=True
        )
        for new, old in pairs:
            if difference := _first_difference(new, old, (given.spec.skeleton, before.skeleton)):
                return (
                    f"the file was converted for another mirror than the one given: {difference}. Leave --skeleton "
                    "(spec) out to verify it under its own; for the given one, convert the original again"
                )
    return ""


def _first_difference(new: ResolvedTensor, old: ResolvedTensor, skeletons: tuple[Skeleton, Skeleton]) -> str:
    """The first entry that both mirrors move otherwise, and how; "" where there is none that is known.

    skeletons: of the given specification, and of the file's.
    """
    if new.representation is None or old.representation is None:
        return ""
    for axis, (one, other) in enumerate(zip(new.representation.axes, old.representation.axes, strict=True)):
        unlike = (one.action.partner != other.action.partner) | (one.action.sign != other.action.sign)
        if unlike.any():
            entry = int(np.argmax(unlike))
            # A name tells something only if it is that of one joint in both: the entry itself and both partners are
            # looked at.
            partners = (entry, int(one.action.partner[entry]), int(other.action.partner[entry]))
            if not _names_agree(new, old, axis, partners):
                blocks = [_block_of(tensor, body, entry) for tensor, body in zip((new, old), skeletons, strict=True)]
                return _by_position(new, (one.action, other.action), blocks, entry)
            label = _label(new, axis, entry)
            file, given = _moved(old, axis, other.action, entry), _moved(new, axis, one.action, entry)
            return f"{label} of {new.where} {file} under the file's, and {given} under the given one"
    signs = (new.representation.sign, old.representation.sign)
    if signs[0] != signs[1]:
        return f"{new.where} as a whole has another sign"
    return ""


def _names_agree(new: ResolvedTensor, old: ResolvedTensor, axis: int, entries: Sequence[int]) -> bool:
    """Whether both specifications call entries alike; else a name says nothing of what differs."""
    return all(_label(new, axis, entry) == _label(old, axis, entry) for entry in entries)


def _by_position(
    new: ResolvedTensor, actions: tuple[SignedPermutation, SignedPermutation], blocks: Sequence[str], entry: int
) -> str:
    """What both mirrors do with an entry that they call differently: by numbers, and by the blocks that it is in."""
    given, file = (_moved_to(action, entry) for action in actions)
    text = f"entry {entry} of {new.where} {file} under the file's, and {given} under the given one"
    given_block, file_block = blocks
    if not given_block or not file_block or given_block == file_block:
        return text
    return f"{text}: the file has `{file_block}` there, and the given one `{given_block}`"


def _moved_to(action: SignedPermutation, entry: int) -> str:
    """What the mirror does with an entry, by numbers: `is negated`, `changes with entry 7`."""
    partner, is_negated = int(action.partner[entry]), bool(action.sign[entry] < 0)
    if partner == entry:
        return "is negated" if is_negated else "stays"
    return f"changes with entry {partner}" + when(is_negated, ", negated,")


def _block_of(tensor: ResolvedTensor, skeleton: Skeleton, entry: int) -> str:
    """The block of a list of fields that an entry is in, as a file writes it; "" for tensors of another kind."""
    body, end = tensor.entry.body(skeleton), 0
    for block in tensor.entry.fields or ():
        end += block.size(body)
        if entry < end:
            return in_flow_style(block)
    return ""


def _moved(tensor: ResolvedTensor, axis: int, action: SignedPermutation, entry: int) -> str:
    """What the mirror does with an entry of an axis: `is negated`, `takes the place of left_knee`."""
    partner, is_negated = int(action.partner[entry]), bool(action.sign[entry] < 0)
    if partner == entry:
        return "is negated" if is_negated else "stays"
    return f"changes with {_label(tensor, axis, partner)}" + when(is_negated, ", negated,")


def _label(tensor: ResolvedTensor, axis: int, entry: int) -> str:
    """The name of an entry of an axis, with 0 on all other axes."""
    index = [0] * len(tensor.shape)
    index[axis] = entry
    return tensor.label(index)
