"""Tensors put together: concatenations, writes into a part of a tensor, padding.

Side by side along an axis tensors make a direct sum there, and along all other axes they have to transform alike. A
sign by which one differs as a whole goes into its part: where x carries P along the axis, and y carries P and a sign of
-1, cat([x, y]) carries P + (-P). Tensors that the mirror exchanges never come here: `Partners.join` has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.graph.traits import Join, Movement, Overwrite, Padding, Write
from chiralize.infer.products import equal_sum, without_axis
from chiralize.infer.registry import Call, Operand, Results, demand_plain, describe, normal, sample, truth, whole, zeros
from chiralize.infer.rules._families import incomplete, op, overloads, representations, rule, tensor
from chiralize.infer.rules._turning import end_to_end, reversal, turned_or_still
from chiralize.infer.rules.selection import picked
from chiralize.infer.rules.writing import anchored, spread, written
from chiralize.infer.solver.terms import Conflict, product
from chiralize.infer.solver.unify import times
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, axis_size, is_known, known_axis, trivial

_x = normal(3, 4)


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


@rule("concatenate", "`a, b -> (a + b)`, other axes alike", trait=Join())
@op("cat", sample([normal(3, 4), normal(3, 2)], 1), sample([normal(3, 4), normal(3, 4)], -1))
@op("cat", sample([normal(3, 4), normal(2, 4)], 0))
def cat(call: Call) -> Results:
    """Tensors side by side along an axis."""
    # torch lets an empty vector stand beside tensors of any shape, as lists that a loop grows begin with.
    tensors = [operand for operand in call.operands if operand.shape != (0,)] or call.operands
    dim = call.axis(call.get("dim", 0), tensors[0].ndim)
    return _joined([call.solver.representation(operand.rep) for operand in tensors], dim, call)


@rule("concatenate sideways", "`a, b -> (a + b)` along the second axis (the only one of vectors), or along the first")
@op("hstack", sample([_x, normal(3, 2)]), sample([normal(4), normal(2)]))
@op("vstack", sample([_x, normal(2, 4)]))
@op("column_stack", sample([_x, normal(3, 2)]))
def sideways(call: Call) -> Results:
    """Tensors side by side. Raises Conflict where torch would make rows or columns of vectors first."""
    reps = representations(call)
    least = min(len(rep.axes) for rep in reps)
    if least < 1 or (least < 2 and "hstack" not in call.target):
        raise Conflict("vectors that become rows or columns")
    return _joined(reps, 1 if least > 1 and "vstack" not in call.target else 0, call)


@rule(
    "stack", "`a, a -> 2 a`: the tensors transform alike, up to signs, and are not swapped", trait=Join(adds_axis=True)
)
@op("stack", sample([normal(3, 4), normal(3, 4)], 1), sample([normal(3, 4), normal(3, 4)], -1))
def stack(call: Call) -> Results:
    """Tensors along a new axis: each gets an axis of one entry there, and they are joined along it."""
    dim = call.axis(call.get("dim", 0), len(call.shape))
    reps = representations(call)
    widened = [SymbolicRepresentation((*rep.axes[:dim], (), *rep.axes[dim:]), rep.sign) for rep in reps]
    return _joined(widened, dim, call)


@rule("write into a slice", "`(a + b + c), b -> (a + b + c)`", trait=Write())
@incomplete("what is written transforms as what it replaces")
@op("slice_scatter", sample(_x, normal(3, 2), 1, 1, 3), sample(_x, zeros(3, 2), -1, 2))
@op("slice_scatter", sample(_x, normal(3, 2), 1, 0, 4, 2), sample(_x, _x, 1))
@op("select_scatter", sample(_x, normal(3), 1, 2), sample(_x, zeros(3), 1, -1), trait=Write(is_single=True))
def scatter(call: Call) -> Results:
    """A tensor with one part replaced: the new part transforms as the old one did."""
    solver = call.solver
    rep = anchored(tensor(call["self"]), call)
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    # select_scatter writes one entry, without the axis; slice_scatter a run of them.
    single = "index" in call.arguments
    entries = call.run(rep.shape[dim])
    if single:
        entry = call["index"] % rep.shape[dim]
        entries = range(entry, entry + 1)
    source = tensor(call["src"])
    # All of it is replaced, so nothing is left of the old tensor.
    if len(entries) == rep.shape[dim] > 1:
        return source.rep
    if not single:
        spread(call, rep, dim, source)
    elif not source.zero:
        wide = SymbolicRepresentation((*source.rep.axes[:dim], (), *source.rep.axes[dim:]), source.rep.sign)
        spread(call, rep, dim, Operand(wide))
    old = solver.representation(rep.with_axis(dim, picked(call, rep.axes[dim], entries)))
    return written(call, rep, without_axis(old, dim) if single else old, source)


@rule("overwrite", "`a, b -> b`", trait=Overwrite())
@incomplete("copies along a new axis could be swapped")
@op("copy", sample(_x, normal(3, 4)), sample(_x, normal(4)), sample(truth(3, 4), whole(3, 4)))
def copy(call: Call) -> Results:
    """The second tensor in the shape of the first."""
    return equal_sum([tensor(call["src"])], call.shape, call.solver)


@rule(
    "padding",
    "`a -> (b + a + c)` with zeros (other numbers: `+`, `1 + a + 1`), reversed with a reversed axis; dropped entries "
    "as a slice; `1a -> 1b` where entries are repeated, or both reversed where as many are at either end",
    trait=Padding(fills=("value",)),
)
@incomplete("zeros at both ends are not swapped, and repeated entries reversed or left alone")
@op("constant_pad_nd", sample(_x, [1, 2]), sample(_x, [1, 0], 2.0), sample(_x, [-1, 1]), sample(_x, [-1, -1]))
@op("pad", sample(_x, [1, 2]), sample(_x, [1, 2], "replicate"), sample(_x, [1, 2], "reflect"))
@op("pad", sample(normal(2, 3, 4), [1, 1], "circular"), sample(_x, [0, 0, 1, 1], "constant", 1.0))
@op("pad", sample(_x, [1, 1], "replicate"), sample(_x, [2, 2], "reflect"))
def pad(call: Call) -> Results:
    """More entries at both ends of the last axes: zeros, a number, or repetitions. Negative lengths drop entries."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    lengths = list(call["pad"])
    repeated = call.get("mode", "constant") != "constant"
    # The number stands beside every entry of the other axes, negated ones and others.
    if not repeated and call.get("value", 0):
        demand_plain(rep, call)
    # Lengths come in pairs, that of the last axis first.
    for pair in range(len(lengths) // 2):
        before, after = lengths[2 * pair : 2 * pair + 2]
        dim = len(rep.axes) - 1 - pair
        if before == after == 0:
            continue
        # Repeated entries are numbers of the axis: which ones they are depends on the order.
        if repeated:
            facts = f"{before} entries repeated at one end of an axis that the mirror reverses, {after} at the other"
            turns, same = [end_to_end(rep.axes[dim])], before == after
            axis = turned_or_still(call, turns, call.shape[dim], f"out {dim}", facts, same)
        else:
            are_zero = not call.get("value", 0)
            cropped = _cropped(rep.axes[dim], before, after, call)
            axis = _filled_up(cropped, dim, max(before, 0), max(after, 0), are_zero, call)
        rep = rep.with_axis(dim, axis)
    return rep


describe(overloads("reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d"), Movement())


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
    if is_known(axis) and product(axis).is_reversal:
        return known_axis(reversal(before + size + after, 2 * before + size - 1))
    is_still = is_known(axis) and product(axis).is_identity
    parts: list[Axis] = []
    for name, count in (("before", before), ("", size), ("after", after)):
        if not name:
            parts.append(axis)
        elif count and are_zero and call.key and not is_still:
            parts.append(call.solver.unknown_at(call.at(f"{name} {dim}"), count, signed=True))
        elif count:
            parts.append(trivial(count))
    return call.solver.concatenate(parts)


@rule("gate", "`(a + |a|) -> a`")
@op("glu", sample(_x, -1), sample(normal(4, 3), 0))
def glu(call: Call) -> Results:
    """First half times sigmoid of the second half."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    dim = call.axis(call.get("dim", -1), len(rep.axes))
    for position, axis in enumerate(rep.axes):
        if position != dim:
            solver.sign_free(axis)
    # x = [value, gate]: value * sigmoid(gate). The gate moves with the value, and has no sign.
    size = rep.shape[dim] // 2
    value, gate = solver.cut(rep.axes[dim], [size, 2 * size])
    if not solver.positive(rep.sign):
        raise Conflict("all entries are negated", negated=True)
    solver.sign_free(gate)
    solver.equal(gate, solver.absolute(value))
    return solver.representation(rep.with_axis(dim, value))
