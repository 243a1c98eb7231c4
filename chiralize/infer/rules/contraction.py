"""Sums over an axis of a product: linear maps, matrix products in all their spellings, inner products."""

from __future__ import annotations

from functools import reduce
from math import prod

from chiralize.infer.products import contracted, equal_sum, matrix_product, multiplied
from chiralize.infer.registry import Call, Operand, Results, Sample, normal, zeros
from chiralize.infer.rules._families import apply_equation, equation, rule, tensor
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import SymbolicRepresentation


def _sample(*shapes: tuple[int, ...], args: tuple[object, ...] = (), first: int = 1) -> Sample:
    """Random tensors, all from position `first` on being weights."""
    return Sample((*(normal(*shape) for shape in shapes), *args), {}, frozenset(range(first, len(shapes))))


def _data(*shapes: tuple[int, ...], args: tuple[object, ...] = ()) -> Sample:
    """Random tensors, none of them a weight."""
    return _sample(*shapes, args=args, first=len(shapes))


def _weight_macs(call: Call) -> int:
    """Every weight once per output position."""
    weight = tensor(call.get("weight", call.get("mat2")))
    out = call.shape
    return prod(weight.shape) * prod(out) // (weight.shape[0] if "weight" in call.arguments else weight.shape[1])


def _product_macs(call: Call) -> int:
    return prod(call.shape) * call.operands[-2].shape[-1]


equation(
    "linear", "aten.linear.default", names=("input", "weight", "bias"),
    text="+... i, o i, o -> +... o", bare="... i, o i -> ... o", factors=("input", "weight"), macs=_weight_macs,
    samples=[_sample((3, 4), (4, 4), (4,)), _sample((3, 4), (4, 4)), _sample((4, 3), (2, 3)), _sample((4,), (3, 4),
        (3,)), Sample((normal(3, 4), normal(3, 4), zeros(3)), {}, frozenset({1, 2})),
        Sample((normal(3, 4), zeros(3, 4)))],
)  # fmt: skip
equation(
    "mm", "aten.mm.default", names=("self", "mat2"), text="m k, k n -> m n", factors=("self", "mat2"),
    macs=_weight_macs,
    samples=[_sample((4, 4), (4, 3)), _sample((3, 4), (4, 4)), Sample((zeros(3, 4), normal(4, 4)))],
)  # fmt: skip


@rule("addmm", "aten.addmm.default", macs=_weight_macs,
      statement="`+m k, k n, n -> +m n`; where the bias is zero `m k, k n -> m n`; with a bias of two axes as the "
                "other sums of a matrix product",
      samples=[Sample((normal(4), normal(3, 4), normal(4, 4)), {}, frozenset({0, 2})),
               Sample((normal(4), normal(4, 3), normal(3, 4)), {}, frozenset({0, 2})),
               Sample((zeros(4), normal(3, 4), normal(4, 4)), {}, frozenset({0, 2})),
               Sample((normal(3, 4), normal(3, 4), normal(4, 4)), {}, frozenset({0, 2}))])  # fmt: skip
def addmm(call: Call) -> Results:
    """bias + x @ w."""
    if tensor(call["self"]).ndim > 1:
        return product_and_sum.apply(call)
    return apply_equation(call, ("mat1", "mat2", "self"), "+m k, k n, n -> +m n", "m k, k n -> m n")


@rule("matrix product", "aten.matmul.default", "aten.bmm.default", "aten.linalg_matmul.default", "aten.dot.default",
      "aten.vdot.default", "aten.mv.default",
      statement="`... m k, ... k n -> ... m n`, batch axes multiplied entry by entry; `k, k n -> n`, `m k, k -> m`, "
                "`k, k ->`",
      samples={"aten.matmul.default": [_data((3, 4), (4, 4)), _data((2, 3, 4), (2, 4, 4)),
                                       _sample((2, 3, 4), (4, 4)), _data((4,), (4, 3)), _data((3, 4), (4,)),
                                       _data((2, 1, 4, 3), (3, 3, 2))],
               "aten.bmm.default": [_data((2, 3, 4), (2, 4, 4))],
               "aten.linalg_matmul.default": [_sample((3, 4), (4, 4))],
               "aten.dot.default": [_data((4,), (4,))], "aten.vdot.default": [_data((4,), (4,))],
               "aten.mv.default": [_data((3, 4), (4,))]},
      macs=_product_macs)  # fmt: skip
def matmul(call: Call) -> Results:
    """Batches of matrices multiplied, or vectors."""
    left, right = call.operands
    return matrix_product(left, right, call.solver)


@rule("inner product", "aten.inner.default", "aten.linalg_vecdot.default",
      statement="`m k, n k -> m n` (inner); `... k, ... k -> ...`, other axes multiplied entry by entry (vecdot)",
      samples={"aten.inner.default": [_data((2, 3, 4), (3, 4)), _sample((3, 4), (2, 4)), _data((4,), (4,))],
               "aten.linalg_vecdot.default": [_data((3, 4), (3, 4)), _data((3, 4), (4,)), _data((3, 4), (1, 4), args=(
                   0,))]},
      macs=_product_macs)  # fmt: skip
def inner(call: Call) -> Results:
    """Sums over the last (or one) axis of both."""
    solver = call.solver
    left, right = call.operands
    if "dim" not in call.arguments:
        return contracted(left, right, [left.ndim - 1], [right.ndim - 1], solver)
    ndim = max(left.ndim, right.ndim)
    dim = call.axis(call.get("dim", -1), ndim)
    a, b = (solver.representation(SymbolicRepresentation(((),) * (ndim - operand.ndim) + operand.rep.axes,
                                                         operand.rep.sign)) for operand in (left, right))  # fmt: skip
    rest = [SymbolicRepresentation(rep.axes[:dim] + rep.axes[dim + 1 :], rep.sign) for rep in (a, b)]
    if not a.axes[dim] or not b.axes[dim]:
        solver.sign_free(a.axes[dim] or b.axes[dim])
        return multiplied(rest[0], rest[1], solver)
    sign = solver.same(a.axes[dim], b.axes[dim])
    out = multiplied(rest[0], rest[1], solver)
    return SymbolicRepresentation(out.axes, out.sign * sign)


@rule("tensor product with sums", "aten.tensordot.default",
      statement="`m.. k.., k.. n.. -> m.. n..`, any axes summed",
      samples=[_sample((2, 3, 4), (4, 3), args=([2], [0])), _data((2, 3, 4), (4, 2, 3), args=([2, 1], [0, 2])),
               _data((3,), (4,), args=([], []))], macs=_product_macs)  # fmt: skip
def tensordot(call: Call) -> Results:
    """Sums over any axes of both."""
    left, right = call.operands
    ours, theirs = ([call.axis(dim, operand.ndim) for dim in call[name]]
                    for operand, name in ((left, "dims_self"), (right, "dims_other")))  # fmt: skip
    return contracted(left, right, ours, theirs, call.solver)


@rule("chain of matrix products", "aten.chain_matmul.default", "aten.linalg_multi_dot.default",
      statement="`a b, b c, c d -> a d`",
      samples={"aten.chain_matmul.default": [Sample(([normal(3, 4), normal(4, 3), normal(3, 2)],))],
               "aten.linalg_multi_dot.default": [Sample(([normal(4), normal(4, 3), normal(3, 4)],)),
                                                 Sample(([normal(2, 4), normal(4, 3), normal(3)],))]},
      macs=_product_macs)  # fmt: skip
def chain(call: Call) -> Results:
    """One matrix product after the other."""
    solver = call.solver
    return reduce(lambda rep, other: matrix_product(Operand(rep), other, solver), call.operands[1:],
                  solver.representation(call.operands[0].rep))  # fmt: skip


@rule("power of a matrix", "aten.matrix_power.default", "aten.linalg_matrix_power.default",
      statement="`... a a -> ... a a` for whole powers from 1 on",
      samples={f"aten.{name}.default": [_data((2, 3, 3), args=(3,)), _data((4, 4), args=(2,))]
               for name in ("matrix_power", "linalg_matrix_power")}, macs=_product_macs)  # fmt: skip
def power(call: Call) -> Results:
    """A square matrix times itself."""
    x = call.operands[0]
    if call["n"] < 1:
        raise Conflict(f"a matrix to the power of {call['n']}")
    return reduce(lambda rep, _: matrix_product(Operand(rep), x, call.solver), range(call["n"] - 1),
                  call.solver.representation(x.rep))  # fmt: skip


@rule("matrix product and sum", "aten.baddbmm.default", "aten.addbmm.default", "aten.addmv.default",
      "aten.addr.default",
      statement="a sum of the first tensor and of the product of the other two: `... m k, ... k n` (baddbmm), summed "
                "over the batch too (addbmm), `m k, k` (addmv), `m, n` (addr)",
      samples={"aten.baddbmm.default": [_data((2, 3, 4), (2, 3, 4), (2, 4, 4)), _data((1, 3, 4), (2, 3, 4), (2, 4, 4))],
               "aten.addbmm.default": [_data((3, 3), (2, 3, 4), (2, 4, 3)), _data((1, 4), (4, 3, 2), (4, 2, 4))],
               "aten.addmv.default": [_sample((3,), (3, 4), (4,), first=3), _data((1,), (3, 4), (4,))],
               "aten.addr.default": [_data((3, 4), (3,), (4,)), _data((4,), (3,), (4,))]},
      macs=_product_macs)  # fmt: skip
def product_and_sum(call: Call) -> Results:
    """bias + a @ b, in batches, or for vectors."""
    bias, left, right = call.operands
    match call.target.split(".")[1]:
        case "addbmm":
            product = contracted(left, right, [0, 2], [0, 1], call.solver)
        case "addr":
            product = contracted(left, right, [], [], call.solver)
        case _:
            product = matrix_product(left, right, call.solver)
    return equal_sum([Operand(product), bias], call.shape, call.solver)


@rule("bilinear", "aten.bilinear.default",
      statement="`... i, ... j, o i j, o -> ... o`, other axes multiplied entry by entry, and `+` with a bias",
      samples=[Sample((normal(3, 4), normal(3, 3), normal(2, 4, 3), normal(2)), {}, frozenset({2, 3})),
               Sample((normal(3, 4), normal(3, 2), normal(4, 4, 2)), {}, frozenset({2}))],
      macs=lambda call: prod(call.shape) * prod(tensor(call["weight"]).shape[1:]))  # fmt: skip
def bilinear(call: Call) -> Results:
    """A product of two vectors with a weight for every pair of their entries."""
    solver, bias = call.solver, call.get("bias")
    left, right, weight = (solver.representation(tensor(call[name]).rep) for name in ("input1", "input2", "weight"))
    sign = weight.sign * solver.same(weight.axes[1], left.axes[-1]) * solver.same(weight.axes[2], right.axes[-1])
    batch = multiplied(SymbolicRepresentation(left.axes[:-1], left.sign * sign),
                       SymbolicRepresentation(right.axes[:-1], right.sign), solver)  # fmt: skip
    out = SymbolicRepresentation((*batch.axes, weight.axes[0]), batch.sign)
    return equal_sum([Operand(out), bias], call.shape, solver) if bias is not None else out


@rule("inverse", "aten.linalg_inv.default", "aten.inverse.default",
      statement="`... a b -> ... b a`",
      samples={f"aten.{name}.default": [_data((2, 3, 3)), _data((4, 4))]
               for name in ("linalg_inv", "inverse")})  # fmt: skip
def inverse(call: Call) -> Results:
    """The inverse of (A M B) is B' M' A', and signed permutations are orthogonal."""
    rep = call.solver.representation(call.operands[0].rep)
    return SymbolicRepresentation((*rep.axes[:-2], rep.axes[-1], rep.axes[-2]), rep.sign)


@rule("Kronecker product", "aten.kron.default", statement="`a b, c d -> (a c) (b d)`",
      samples=[_data((2, 4), (2, 2)), _data((3,), (2, 2)), _data((4,), (3,))])  # fmt: skip
def kron(call: Call) -> Results:
    """Every entry of one tensor times the whole of another."""
    left, right = (call.solver.representation(operand.rep) for operand in call.operands)
    ndim = max(len(left.axes), len(right.axes))
    a, b = (((),) * (ndim - len(rep.axes)) + rep.axes for rep in (left, right))
    return SymbolicRepresentation(tuple(x + y for x, y in zip(a, b, strict=True)), left.sign * right.sign)
