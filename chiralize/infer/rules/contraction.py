"""Sums over an axis of a product: linear maps, matrix products in all their spellings, inner products.

    y = sum_i w_i x_i, with T x and T w along i the same signed permutation: y stays, since T is orthogonal

So an axis that is summed over ties two operands to each other, signs included, and the axes that are left go to the
result: `m k, k n -> m n`. For the weight of a linear layer that is what projection then enforces: its columns move as
the inputs and its rows as the outputs.

In matrices, y = W x commutes with T where T_out W T_in = W, since T is its own inverse. Two inputs and two outputs that
the mirror exchanges leave two free numbers in W:

    T_in = T_out = [[0, 1], [1, 0]]        W = [[a, b], [b, a]]        bias = [c, c]

A bias b asks for T_out b = b. Added at every row of x, it also forbids that the mirror negates single rows: that is
the `+` before `...` in `+... i, o i, o -> +... o`.

In the samples `_weighted((3, 4), (4, 4), (4,))` stands for input, weight and bias of these shapes. All but the input
are weights: the oracle projects them with the representations that the rule gives. `_data(...)` has no weights.
"""

from __future__ import annotations

from math import prod

from chiralize.graph.traits import Contraction, Product
from chiralize.infer.products import contracted, equal_sum, matrix_product, multiplied, widened, without_axis
from chiralize.infer.registry import Call, Operand, Results, Sample, normal, normals, sample, zeros
from chiralize.infer.rules._families import apply_equation, op, representations, rule, tensor
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import SymbolicRepresentation


def _weighted(*shapes: tuple[int, ...], args: tuple[object, ...] = (), first: int = 1) -> Sample:
    """Random tensors, all from position `first` on being weights."""
    return sample(*normals(*shapes), *args, weights=range(first, len(shapes)))


def _data(*shapes: tuple[int, ...], args: tuple[object, ...] = ()) -> Sample:
    """Random tensors, none of them a weight."""
    return _weighted(*shapes, args=args, first=len(shapes))


def _weight_macs(call: Call) -> int:
    """Every weight once per output position: the outputs, without their axis of channels."""
    # `linear` has its weight as "out in", mm and addmm as "in out".
    weight = tensor(call.get("weight", call.get("mat2")))
    out = call.shape
    return prod(weight.shape) * prod(out) // (weight.shape[0] if "weight" in call.arguments else weight.shape[1])


def _product_macs(call: Call) -> int:
    """A product for every entry of the result and of the last axis of the left factor, which is summed over."""
    # The factors are the last two tensors: `baddbmm` has its bias in front of them.
    return prod(call.shape) * call.operands[-2].shape[-1]


def _inner_macs(call: Call) -> int:
    """The same where another axis may be summed over."""
    left, right = call.operands
    if "dim" not in call.arguments:
        return _product_macs(call)
    ndim = max(left.ndim, right.ndim)
    dim = call.axis(call.get("dim", -1), ndim) - ndim  # from the end, where both have it
    return prod(call.shape) * max(left.shape[dim], right.shape[dim])


def _tensordot_macs(call: Call) -> int:
    """The same for any axes that are summed over."""
    left = call.operands[0]
    return prod(call.shape) * prod(map(left.shape.__getitem__, call.axes(call["dims_self"], left.ndim)))


def _chain_macs(call: Call) -> int:
    """Products from the left: as many rows as the first factor has, times every entry of each other factor."""
    first, *others = call.operands
    rows = first.shape[0] if first.ndim > 1 else 1
    return rows * sum(prod(factor.shape) for factor in others)


def _power_macs(call: Call) -> int:
    """One product less than the power says."""
    return (call["n"] - 1) * prod(call.shape) * call.shape[-1]


def _sum_macs(call: Call) -> int:
    """Of the product of the last two tensors: `addbmm` sums over its batch, too, and `addr` over nothing."""
    match call.target.split(".")[1]:
        case "addbmm":
            return prod(call.operands[-2].shape) * call.operands[-1].shape[-1]
        case "addr":
            return prod(call.shape)
        case _:
            return _product_macs(call)


@rule(
    "linear",
    "`+... i, o i, o -> +... o`; without bias `... i, o i -> ... o`",
    macs=_weight_macs,
    trait=Contraction("bias", is_layer=True),
)
@op("linear", _weighted((3, 4), (4, 4), (4,)), _weighted((3, 4), (4, 4)), _weighted((4, 3), (2, 3)))
@op("linear", _weighted((4,), (3, 4), (3,)), sample(normal(3, 4), normal(3, 4), zeros(3), weights={1, 2}))
@op("linear", sample(normal(3, 4), zeros(3, 4)))
@op("linear", _weighted((3, 1), (4, 1), (4,)), _weighted((3, 4), (1, 4), (1,)))
def linear(call: Call) -> Results:
    """x @ w' + bias."""
    names = ("input", "weight", "bias")
    return apply_equation(call, names, "+... i, o i, o -> +... o", "... i, o i -> ... o", factors=names[:2])


@rule("mm", "`m k, k n -> m n`", macs=_weight_macs, trait=Contraction(source="self", weight="mat2", is_transposed=True))
@op("mm", _weighted((4, 4), (4, 3)), _weighted((3, 4), (4, 4)), sample(zeros(3, 4), normal(4, 4)))
def mm(call: Call) -> Results:
    """x @ w."""
    return apply_equation(call, ("self", "mat2"), "m k, k n -> m n", factors=("self", "mat2"))


@rule(
    "addmm",
    "`+m k, k n, n -> +m n`; where the bias is zero `m k, k n -> m n`; with a bias of two axes as the other "
    "sums of a matrix product",
    macs=_weight_macs,
    trait=Contraction("self", source="mat1", weight="mat2", is_transposed=True),
)
@op("addmm", sample(normal(4), normal(3, 4), normal(4, 4), weights={0, 2}))
@op("addmm", sample(normal(4), normal(4, 3), normal(3, 4), weights={0, 2}))
@op("addmm", sample(zeros(4), normal(3, 4), normal(4, 4), weights={0, 2}))
@op("addmm", sample(normal(3, 4), normal(3, 4), normal(4, 4), weights={0, 2}))
def addmm(call: Call) -> Results:
    """bias + x @ w."""
    # A bias of one axis is one of the columns, which the equation has; a matrix has rows of its own, too.
    if tensor(call["self"]).ndim > 1:
        return product_and_sum.apply(call)
    return apply_equation(call, ("mat1", "mat2", "self"), "+m k, k n, n -> +m n", "m k, k n -> m n")


@rule(
    "matrix product",
    "`... m k, ... k n -> ... m n`, batch axes multiplied entry by entry; `k, k n -> n`, `m k, k -> m`, `k, k ->`",
    macs=_product_macs,
)
@op("matmul", trait=Contraction(source="self", weight="other", is_transposed=True))
@op("bmm dot mv", trait=Product())
@op("matmul", _data((3, 4), (4, 4)), _data((2, 3, 4), (2, 4, 4)), _weighted((2, 3, 4), (4, 4)), _data((4,), (4, 3)))
@op("matmul", _data((3, 4), (4,)), _data((2, 1, 4, 3), (3, 3, 2)))
@op("bmm", _data((2, 3, 4), (2, 4, 4)))
@op("linalg_matmul", _weighted((3, 4), (4, 4)))
@op("dot vdot", _data((4,), (4,)))
@op("mv", _data((3, 4), (4,)))
def matmul(call: Call) -> Results:
    """Batches of matrices multiplied, or vectors: `left` is "... m k" or "k", `right` is "... k n" or "k"."""
    left, right = call.operands
    return matrix_product(left, right, call.solver)


@rule(
    "inner product",
    "`m k, n k -> m n` (inner); `... k, ... k -> ...`, other axes multiplied entry by entry (vecdot)",
    macs=_inner_macs,
)
@op("inner", _data((2, 3, 4), (3, 4)), _weighted((3, 4), (2, 4)), _data((4,), (4,)))
@op("linalg_vecdot", _data((3, 4), (3, 4)), _data((3, 4), (4,)), _data((3, 4), (1, 4), args=(0,)))
def inner(call: Call) -> Results:
    """Sums over the last (or one) axis of both."""
    solver = call.solver
    left, right = call.operands
    # `inner` has no dim: every row of one with every row of the other. `vecdot` pairs rows that stand side by side.
    if "dim" not in call.arguments:
        return contracted(left, right, [left.ndim - 1], [right.ndim - 1], solver)
    ndim = max(left.ndim, right.ndim)
    dim = call.axis(call.get("dim", -1), ndim)
    a = solver.representation(widened(left.rep, ndim))
    b = solver.representation(widened(right.rep, ndim))
    rest = without_axis(a, dim), without_axis(b, dim)
    # Where one vector is a single number, it is multiplied with the sum of the other: so there must be no signs.
    # An axis of one entry is the empty product of terms, ().
    if not a.axes[dim] or not b.axes[dim]:
        solver.sign_free(a.axes[dim] or b.axes[dim])
        return multiplied(rest[0], rest[1], solver)
    # Signs along the summed axis cancel in pairs; one that only one factor has is a sign of the whole result.
    sign = solver.same(a.axes[dim], b.axes[dim])
    out = multiplied(rest[0], rest[1], solver)
    return SymbolicRepresentation(out.axes, out.sign * sign)


@rule("tensor product with sums", "`m.. k.., k.. n.. -> m.. n..`, any axes summed", macs=_tensordot_macs)
@op("tensordot", _weighted((2, 3, 4), (4, 3), args=([2], [0])), _data((2, 3, 4), (4, 2, 3), args=([2, 1], [0, 2])))
@op("tensordot", _data((3,), (4,), args=([], [])))
def tensordot(call: Call) -> Results:
    """Sums over any axes of both; without any it is the outer product."""
    left, right = call.operands
    ours = call.axes(call["dims_self"], left.ndim)
    theirs = call.axes(call["dims_other"], right.ndim)
    return contracted(left, right, ours, theirs, call.solver)


@rule("chain of matrix products", "`a b, b c, c d -> a d`", macs=_chain_macs)
@op("chain_matmul", sample([normal(3, 4), normal(4, 3), normal(3, 2)]))
@op("linalg_multi_dot", sample([normal(4), normal(4, 3), normal(3, 4)]))
@op("linalg_multi_dot", sample([normal(2, 4), normal(4, 3), normal(3)]))
def chain(call: Call) -> Results:
    """One matrix product after the other; the first and the last factor may be vectors."""
    # torch may multiply in another order: the products are associative, so the constraints are the same.
    rep = call.solver.representation(call.operands[0].rep)
    for factor in call.operands[1:]:
        rep = matrix_product(Operand(rep), factor, call.solver)
    return rep


@rule("power of a matrix", "`... a a -> ... a a` for whole powers from 1 on", macs=_power_macs)
@op("matrix_power linalg_matrix_power", _data((2, 3, 3), args=(3,)), _data((4, 4), args=(2,)))
def power(call: Call) -> Results:
    """A square matrix times itself: columns have to move as rows do. Raises Conflict for powers below 1."""
    x = call.operands[0]
    # Power 0 is the identity whatever x is, and negative ones begin with an inverse: neither is a product of x.
    if call["n"] < 1:
        raise Conflict(f"a matrix to the power of {call['n']}")
    rep = call.solver.representation(x.rep)
    for _ in range(call["n"] - 1):
        rep = matrix_product(Operand(rep), x, call.solver)
    return rep


@rule(
    "matrix product and sum",
    "a sum of the first tensor and of the product of the other two: `... m k, ... k n` (baddbmm), summed over "
    "the batch too (addbmm), `m k, k` (addmv), `m, n` (addr)",
    macs=_sum_macs,
)
@op("baddbmm", trait=Product("self"))
@op("baddbmm", _data((2, 3, 4), (2, 3, 4), (2, 4, 4)), _data((1, 3, 4), (2, 3, 4), (2, 4, 4)))
@op("addbmm", _data((3, 3), (2, 3, 4), (2, 4, 3)), _data((1, 4), (4, 3, 2), (4, 2, 4)))
@op("addmv", _weighted((3,), (3, 4), (4,), first=3), _data((1,), (3, 4), (4,)))
@op("addr", _data((3, 4), (3,), (4,)), _data((4,), (3,), (4,)))
def product_and_sum(call: Call) -> Results:
    """bias + a @ b, in batches, or for vectors."""
    bias, left, right = call.operands
    # addbmm: "b m k, b k n" summed over b and k. addr: "m, n" with no axis summed. Others: products as in `matmul`.
    match call.target.split(".")[1]:
        case "addbmm":
            product = contracted(left, right, [0, 2], [0, 1], call.solver)
        case "addr":
            product = contracted(left, right, [], [], call.solver)
        case _:
            product = matrix_product(left, right, call.solver)
    return equal_sum([Operand(product), bias], call.shape, call.solver)


@rule(
    "bilinear",
    "`... i, ... j, o i j, o -> ... o`, other axes multiplied entry by entry, and `+` with a bias",
    macs=lambda call: prod(call.shape) * prod(tensor(call["weight"]).shape[1:]),
)
@op("bilinear", sample(normal(3, 4), normal(3, 3), normal(2, 4, 3), normal(2), weights={2, 3}))
@op("bilinear", sample(normal(3, 4), normal(3, 2), normal(4, 4, 2), weights={2}))
def bilinear(call: Call) -> Results:
    """y_o = sum_ij w_oij u_i v_j + b_o: a product of two vectors with a weight for every pair of their entries."""
    # weight is "out first second": its two last axes are summed with the last axes of both vectors, up to signs.
    solver, bias = call.solver, call.get("bias")
    left, right, weight = representations(call, "input1", "input2", "weight")
    sign = weight.sign * solver.same(weight.axes[1], left.axes[-1]) * solver.same(weight.axes[2], right.axes[-1])
    # The axes before the vectors are those of a batch, where u and v are multiplied sample by sample. The sign that the
    # sums left over is put in front of one of the two.
    rows = SymbolicRepresentation(left.axes[:-1], left.sign * sign)
    columns = SymbolicRepresentation(right.axes[:-1], right.sign)
    batch = multiplied(rows, columns, solver)
    out = SymbolicRepresentation((*batch.axes, weight.axes[0]), batch.sign)
    if bias is not None:
        return equal_sum([Operand(out), bias], call.shape, solver)
    return out


@rule("inverse", "`... a b -> ... b a`")
@op("linalg_inv inverse", _data((2, 3, 3)), _data((4, 4)))
def inverse(call: Call) -> Results:
    """(A M B)^-1 = B M^-1 A, as A and B are their own inverses: rows and columns change places."""
    rep = call.solver.representation(call.operands[0].rep)
    return SymbolicRepresentation((*rep.axes[:-2], rep.axes[-1], rep.axes[-2]), rep.sign)


@rule("Kronecker product", "`a b, c d -> (a c) (b d)`")
@op("kron", _data((2, 4), (2, 2)), _data((3,), (2, 2)), _data((4,), (3,)))
def kron(call: Call) -> Results:
    """Every entry of one tensor times the whole of another: axes are pairs (a c), the entries of the second fastest."""
    # The tensor with fewer axes gets axes of one entry in front, as torch does it.
    left, right = representations(call)
    ndim = max(len(left.axes), len(right.axes))
    pairs = zip(widened(left, ndim).axes, widened(right, ndim).axes, strict=True)
    return SymbolicRepresentation(tuple(outer + inner for outer, inner in pairs), left.sign * right.sign)
