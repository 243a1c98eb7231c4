"""How do tensors transform that are put together: side by side, stacked, padded?

Side by side along an axis tensors make a direct sum there, and along all other axes they have to transform alike. A
sign by which one differs as a whole goes into its part: where x carries P along the axis, and y carries P and a sign of
-1, cat([x, y]) carries P + (-P). Tensors that the mirror exchanges never come here: `exchange` has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.graph.traits import Join, Movement, Padding
from chiralize.infer.rule import Answer, Call, demand_plain, rule
from chiralize.infer.rules.selection import picked
from chiralize.infer.rules.sliding import end_to_end, reversal, turned_or_still
from chiralize.infer.solver.unify import times
from chiralize.infer.symbolic import Axis, SymbolicRepresentation, action_of, axis_size, is_known, known_axis, trivial


def _joined(reps: Sequence[SymbolicRepresentation], dim: int, call: Call) -> SymbolicRepresentation:
    """Side by side along an axis; the sign by which a tensor differs from the first goes into its part.

    Of a part of one entry only the sign is unknown, which the ops that read it may determine. Raises Conflict where
    tensors differ along another axis by more than a sign.
    """
    solver, first = call.solver, reps[0]
    parts: list[Axis] = []
    for number, rep in enumerate(reps):
        # The sign of this part against the first; axes that are not known yet may absorb it.
        sign = first.sign * rep.sign
        for position, axis in enumerate(rep.axes):
            if position != dim and axis_size(rep.axes[dim]) == 1:
                sign *= solver.paired(axis, first.axes[position], call.at(f"part {number}, {position}"))
            elif position != dim:
                sign = solver.same(axis, first.axes[position], sign)
        parts.append(times(solver.resolve(rep.axes[dim]), solver.decided(sign)))
    return solver.representation(first.with_axis(dim, solver.concatenate(parts)))


@rule("cat", "`a, b -> (a + b)`, other axes alike", Join())
def cat(call: Call) -> Answer:
    """Tensors side by side along an axis."""
    # torch lets an empty vector stand beside tensors of any shape, as lists that a loop grows begin with.
    tensors = [operand for operand in call.operands if operand.shape != (0,)] or call.operands
    dim = call.axis(call.get("dim", 0), tensors[0].ndim)
    return _joined([call.solver.representation(operand.rep) for operand in tensors], dim, call)


@rule("stack", "`a, a -> 2 a`: the tensors transform alike, up to signs, and are not swapped", Join(adds_axis=True))
def stack(call: Call) -> Answer:
    """Tensors along a new axis: each gets an axis of one entry there, and they are joined along it."""
    dim = call.axis(call.get("dim", 0), len(call.shape))
    wide = [SymbolicRepresentation((*rep.axes[:dim], (), *rep.axes[dim:]), rep.sign) for rep in call.representations()]
    return _joined(wide, dim, call)


_ENDS = "zeros at both ends are not swapped, and repeated entries reversed or left alone"
_PADDED = (
    "`a -> (b + a + c)` with zeros (other numbers: `+`, `1 + a + 1`), reversed with a reversed axis; dropped entries "
    "as a slice; `1a -> 1b` where entries are repeated, or both reversed where as many are at either end"
)


@rule("constant_pad_nd pad", _PADDED, Padding(fills=("value",)), _ENDS)
@rule("reflection_pad1d reflection_pad2d reflection_pad3d", _PADDED, Movement(), _ENDS)
@rule("replication_pad1d replication_pad2d replication_pad3d", _PADDED, Movement(), _ENDS)
def pad(call: Call) -> Answer:
    """More entries at both ends of the last axes: zeros, a number, or repetitions. Negative lengths drop entries."""
    solver, rep = call.solver, call.source
    # `pad` says by a word what is beside the tensor, other ops by their name.
    lengths = list(call.get("pad", call.get("padding")))
    repeats = "padding" in call.arguments or call.get("mode", "constant") != "constant"
    are_zero = not call.get("value", 0)
    # The number stands beside every entry of the other axes, negated ones and others.
    if not repeats and not are_zero:
        demand_plain(rep, solver)
    # Lengths come in pairs, that of the last axis first.
    for pair in range(len(lengths) // 2):
        before, after = lengths[2 * pair : 2 * pair + 2]
        dim = len(rep.axes) - 1 - pair
        if before == after == 0:
            continue
        # Repeated entries are numbers of the axis: which ones they are depends on the order.
        if repeats:
            facts = f"{before} entries repeated at one end of an axis that the mirror reverses, {after} at the other"
            turns = [end_to_end(rep.axes[dim])]
            axis = turned_or_still(call, turns, call.shape[dim], f"out {dim}", facts, before == after)
        else:
            cropped = _cropped(rep.axes[dim], before, after, call)
            axis = _filled_up(cropped, dim, max(before, 0), max(after, 0), are_zero, call)
        rep = rep.with_axis(dim, axis)
    return rep


def _cropped(axis: Axis, before: int, after: int, call: Call) -> Axis:
    """The axis without the entries that a negative padding drops."""
    if min(before, after) >= 0:
        return axis
    size = axis_size(axis)
    return picked(call, axis, range(size)[max(-before, 0) : size - max(-after, 0)])


def _filled_up(axis: Axis, dim: int, before: int, after: int, are_zero: bool, call: Call) -> Axis:
    """The axis between entries that are all the same number; those at both ends of a reversed one are reversed too.

    Zeros transform as anything: what they are added to says as what. Beside entries that stay they stay.
    """
    axis = call.solver.resolve(axis)
    size = axis_size(axis)
    # Entry e of the axis is entry before + e now, and goes to before + (size - 1 - e): so both add up to the center.
    # With more padding at one end than at the other, the entries too many stay.
    if is_known(axis) and action_of(axis).is_reversal:
        return known_axis(reversal(before + size + after, 2 * before + size - 1))
    is_still = is_known(axis) and action_of(axis).is_identity
    parts: list[Axis] = []
    for name, count in (("before", before), ("", size), ("after", after)):
        if not name:
            parts.append(axis)
        elif count and are_zero and call.key and not is_still:
            parts.append(call.solver.unknown_at(call.at(f"{name} {dim}"), count, signed=True))
        elif count:
            parts.append(trivial(count))
    return call.solver.concatenate(parts)
