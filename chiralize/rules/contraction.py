"""Sums over an axis against weights: linear maps, convolutions over frames, matrix products."""

from __future__ import annotations

from math import prod

from chiralize.rules._families import apply_equation, equation, rule, tensor
from chiralize.rules._products import equal_sum, multiplied
from chiralize.rules._registry import Call, Operand, Results, Sample, normal
from chiralize.rules._solver import Solver
from chiralize.rules._terms import Conflict
from chiralize.symbolic import SymbolicRepresentation, axis_size, trivial


def _sample(*shapes: tuple[int, ...], args: tuple[object, ...] = (), first: int = 1) -> Sample:
    """Random tensors, all from position `first` on being weights."""
    return Sample((*(normal(*shape) for shape in shapes), *args), {}, frozenset(range(first, len(shapes))))


def _weight_macs(call: Call) -> int:
    """Every weight once per output position."""
    weight = tensor(call.get("weight", call.get("mat2")))
    out = call.shape
    return prod(weight.shape) * prod(out) // (weight.shape[0] if "weight" in call.arguments else weight.shape[1])


def _convolution_macs(call: Call) -> int:
    weight = tensor(call["weight"]).shape
    return prod(call.shape) * prod(weight[1:])


equation(
    "linear", "aten.linear.default", names=("input", "weight", "bias"),
    text="+... i, o i, o -> +... o", bare="... i, o i -> ... o", macs=_weight_macs,
    samples=[_sample((3, 4), (4, 4), (4,)), _sample((3, 4), (4, 4)), _sample((4, 3), (2, 3)), _sample((4,), (3, 4),
        (3,))],
)  # fmt: skip
equation(
    "mm", "aten.mm.default", names=("self", "mat2"), text="m k, k n -> m n", macs=_weight_macs,
    samples=[_sample((4, 4), (4, 3)), _sample((3, 4), (4, 4))],
)  # fmt: skip


@rule("addmm", "aten.addmm.default", statement="`+m k, k n, n -> +m n`", macs=_weight_macs,
      samples=[Sample((normal(4), normal(3, 4), normal(4, 4)), {}, frozenset({0, 2})),
               Sample((normal(4), normal(4, 3), normal(3, 4)), {}, frozenset({0, 2}))])  # fmt: skip
def addmm(call: Call) -> Results:
    """bias + x @ w."""
    return apply_equation(call, ("mat1", "mat2", "self"), "+m k, k n, n -> +m n")


@rule("convolution over frames", "aten.conv1d.default", "aten.conv1d.padding",
      statement="`+... i 1t, o i 1k, o -> +... o 1t`; without bias `... i 1t, o i 1k -> ... o 1t`; "
                "grouped: `(g i)`, `(g o)`",
      macs=_convolution_macs,
      samples={
          "aten.conv1d.default": [
              _sample((2, 4, 5), (4, 4, 3), (4,)), _sample((2, 4, 5), (3, 4, 2)),
              _sample((2, 4, 5), (4, 2, 3), (4,), args=([1], [0], [1], 2)),
              _sample((2, 4, 5), (4, 1, 3), (4,), args=([2], [1], [2], 4)),
              _sample((2, 3, 4), (3, 3, 2), (3,)),
          ],
          "aten.conv1d.padding": [_sample((2, 4, 5), (4, 4, 3), (4,), args=([1], "same"))],
      },
      incomplete="grouped convolutions are solved with groups and channels moved apart; a kernel that covers the whole "
                 "axis could be mirrored along it")  # fmt: skip
def conv1d(call: Call) -> Results:
    """A convolution along the last axis; stride, dilation and padding do not matter, since frames stay in place."""
    if call.get("groups", 1) == 1:
        return apply_equation(
            call, ("input", "weight", "bias"), "+... i 1t, o i 1k, o -> +... o 1t", "... i 1t, o i 1k -> ... o 1t"
        )
    return _grouped(call)


def _grouped(call: Call) -> Results:
    """Groups of channels that are mapped apart: input (g i), weight (g o) i k, output (g o), signs of g on the data."""
    solver, groups = call.solver, call["groups"]
    weight, bias = tensor(call["weight"]), call.get("bias")
    rep, kernel = solver.representation(tensor(call["input"]).rep), solver.representation(weight.rep)
    channel, frames = rep.axes[-2], rep.axes[-1]
    solver.trivial(frames)
    solver.trivial(kernel.axes[2])
    group, inside = solver.regroup([channel], [groups, axis_size(channel) // groups])
    w_group, w_out = solver.regroup([kernel.axes[0]], [groups, weight.shape[0] // groups])
    sign = kernel.sign * solver.same(w_group, solver.absolute(group))
    sign *= rep.sign * solver.same(kernel.axes[1], inside)
    out = solver.resolve(group + w_out)
    if bias is not None:
        if sign < 0:
            raise Conflict("all entries are negated", negated=True)
        for axis in rep.axes[:-2]:
            solver.sign_free(axis)
        solver.equal(tensor(bias).rep.axes[0], out)
    return SymbolicRepresentation((*rep.axes[:-2], out, trivial(call.shape[-1])), sign)


@rule("transposed convolution over frames", "aten.conv_transpose1d.default", macs=_convolution_macs,
      statement="`+... i 1t, i o 1k, o -> +... o 1t` (no groups)",
      samples=[_sample((2, 4, 5), (4, 4, 3), (4,)), _sample((2, 4, 5), (4, 3, 3))])  # fmt: skip
def conv_transpose1d(call: Call) -> Results:
    """The adjoint of a convolution along the last axis."""
    if call.get("groups", 1) != 1:
        raise Conflict("a grouped transposed convolution")
    return apply_equation(
        call, ("input", "weight", "bias"), "+... i 1t, i o 1k, o -> +... o 1t", "... i 1t, i o 1k -> ... o 1t"
    )


def _plain_convolution(*shapes: tuple[int, ...], transposed: bool = False, groups: int = 1) -> tuple[object, ...]:
    """Arguments of a convolution in the form that compiled and traced code calls."""
    tensors = tuple(normal(*shape) for shape in shapes)
    return (*tensors, *([None] if len(tensors) == 2 else []), [1], [0], [1], transposed, [0], groups)


_PLAIN = [
    Sample(_plain_convolution((2, 4, 5), (4, 4, 3), (4,)), {}, frozenset({1, 2})),
    Sample(_plain_convolution((2, 4, 5), (4, 4, 3), transposed=True), {}, frozenset({1})),
    Sample(_plain_convolution((2, 4, 5), (4, 2, 3), (4,), groups=2), {}, frozenset({1, 2})),
]


@rule("convolution, as traced code calls it", "aten.convolution.default", "aten._convolution.default",
      macs=_convolution_macs, statement="over frames: as `conv1d` or `conv_transpose1d`",
      samples={"aten.convolution.default": _PLAIN,
               "aten._convolution.default": [
                   Sample((*sample.args, False, False, True, True), {}, sample.parameters) for sample in _PLAIN
               ]},
      incomplete="as for convolutions over frames")  # fmt: skip
def convolution(call: Call) -> Results:
    """One op for all kinds of convolution; those over frames are known."""
    if tensor(call["weight"]).ndim != 3:
        raise Conflict(f"a convolution over {tensor(call['weight']).ndim - 2} axes has no rule")
    return (conv_transpose1d if call["transposed"] else conv1d).apply(call)


def _product_macs(call: Call) -> int:
    return prod(call.shape) * call.operands[-2].shape[-1]


@rule("matrix product", "aten.matmul.default", "aten.bmm.default",
      statement="`... m k, ... k n -> ... m n`, batch axes multiplied entry by entry; `k, k n -> n`, `m k, k -> m`, "
                "`k, k ->`",
      samples={"aten.matmul.default": [_sample((3, 4), (4, 4), first=2), _sample((2, 3, 4), (2, 4, 4), first=2),
                                       _sample((2, 3, 4), (4, 4)), _sample((4,), (4, 3), first=2),
                                       _sample((3, 4), (4,), first=2)],
               "aten.bmm.default": [_sample((2, 3, 4), (2, 4, 4), first=2)]},
      macs=_product_macs)  # fmt: skip
def matmul(call: Call) -> Results:
    """Batches of matrices multiplied, or vectors."""
    left, right = call.operands
    return matrix_product(left, right, call.solver)


def matrix_product(first: Operand, second: Operand, solver: Solver) -> SymbolicRepresentation:
    """Representation of first @ second."""
    a, b = solver.representation(first.rep), solver.representation(second.rep)
    kept, left = (a.axes[-2:-1], a.axes[-1])
    right, columns = (b.axes[0], ()) if len(b.axes) == 1 else (b.axes[-2], b.axes[-1:])
    sign = solver.same(left, right)
    batch = multiplied(SymbolicRepresentation(a.axes[:-2], a.sign), SymbolicRepresentation(b.axes[:-2], b.sign), solver)
    return solver.representation(SymbolicRepresentation((*batch.axes, *kept, *columns), batch.sign * sign))


@rule("dot product", "aten.dot.default", "aten.mv.default", statement="`k, k ->`, `m k, k -> m`",
      samples={"aten.dot.default": [_sample((4,), (4,), first=2)],
               "aten.mv.default": [_sample((3, 4), (4,), first=2)]}, macs=_product_macs)  # fmt: skip
def dot(call: Call) -> Results:
    """A vector against a vector, or against every row of a matrix."""
    return matmul.apply(call)


@rule("matrix product and sum", "aten.baddbmm.default",
      statement="`a, ... m k, ... k n -> a` with a equal to the product of the other two",
      samples=[_sample((2, 3, 4), (2, 3, 4), (2, 4, 4), first=3), _sample((1, 3, 4), (2, 3, 4), (2, 4, 4), first=3)],
      macs=_product_macs)  # fmt: skip
def baddbmm(call: Call) -> Results:
    """bias + a @ b, in batches."""
    bias, left, right = call.operands
    product = matrix_product(left, right, call.solver)
    return equal_sum([Operand(product), bias], call.shape, call.solver)
