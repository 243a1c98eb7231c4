"""How do sums over an axis of a product transform: linear maps, matrix products, einsum, attention?

    y = sum_i w_i x_i, with T x and T w along i the same signed permutation: y stays, since T is orthogonal

So an axis that is summed over ties two operands to each other, signs included, and the axes that are left go to the
result: `m k, k n -> m n`. For the weight of a linear layer that is what projection then enforces, T_out W T_in = W: two
inputs and two outputs that the mirror exchanges leave two free numbers in W = [[a, b], [b, a]], and one in the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import chain
from string import ascii_letters

from chiralize.graph.traits import Attention, Contraction, Einsum, Product
from chiralize.infer.algebra import equal_sum, matrix_product, multiply
from chiralize.infer.rule import Answer, Call, Operand, demand_plain, rule
from chiralize.infer.rules._equation import equation, tensor
from chiralize.infer.solver.unify import Solver
from chiralize.infer.symbolic import Axis, Conflict, Sign, SymbolicRepresentation, is_known


@rule("linear", "`+... i, o i, o -> +... o`; without bias `... i, o i -> ... o`", Contraction("bias", is_layer=True))
def linear(call: Call) -> Answer:
    """x @ w' + bias; the same bias at every row, so that the mirror negates no single rows."""
    text, bare = "+... i, o i, o -> +... o", "... i, o i -> ... o"
    return equation(call, "input weight bias", text, bare=bare, factors="input weight")


@rule("mm", "`m k, k n -> m n`", Contraction(source="self", weight="mat2", is_transposed=True))
def mm(call: Call) -> Answer:
    """x @ w."""
    return equation(call, "self mat2", "m k, k n -> m n", factors="self mat2")


@rule(
    "addmm",
    "`+m k, k n, n -> +m n`; where the bias is zero `m k, k n -> m n`; with a bias of two axes as `baddbmm`",
    Contraction("self", source="mat1", weight="mat2", is_transposed=True),
)
def addmm(call: Call) -> Answer:
    """bias + x @ w."""
    # A bias of one axis is one of the columns, which the equation has; a matrix has rows of its own, too.
    if tensor(call["self"]).ndim > 1:
        return product_and_sum(call)
    return equation(call, "mat1 mat2 self", "+m k, k n, n -> +m n", bare="m k, k n -> m n")


@rule("matmul", "`... m k, ... k n -> ... m n`", Contraction(source="self", weight="other", is_transposed=True))
@rule("bmm dot vdot mv", "`... m k, ... k n -> ... m n`, of vectors `m k, k -> m` and `k, k ->`", Product())
def matmul(call: Call) -> Answer:
    """Batches of matrices multiplied, or vectors: `left` is "... m k" or "k", `right` is "... k n" or "k"."""
    left, right = call.operands
    return matrix_product(left.rep, right.rep, call.solver)


@rule(
    "baddbmm", "`a, ... m k, ... k n -> ... m n`, the sum of the first and the product of the others", Product("self")
)
def product_and_sum(call: Call) -> Answer:
    """bias + a @ b, in batches."""
    bias, left, right = call.operands
    product = matrix_product(left.rep, right.rep, call.solver)
    return equal_sum([Operand(product), bias], call.shape, call.solver)


# ---- einsum -------------------------------------------------------------------------------------------------------
Words = tuple[str, ...]
"""A letter for every axis of a tensor; axes of `...` are `.1`, `.0`, counted from the last."""


def letters_of(text: str, ndims: Sequence[int]) -> tuple[list[Words], Words]:
    """The letters of every operand and of the output; the axes of `...` are called `.0`, `.1`, the last one first.

    "nkctv,kvw->nctw" of 5 and 3 axes is [(n, k, c, t, v), (k, v, w)], (n, c, t, w). Raises Conflict where the letters
    do not describe tensors of so many axes.
    """
    left, arrow, right = text.replace(" ", "").partition("->")
    operands = [_words(part, ndim) for part, ndim in zip(left.split(","), ndims, strict=True)]
    # The operand with most axes under `...` has all of them. `.1` stands before `.0`: numbers count from the last.
    every = list(chain.from_iterable(operands))
    dots = tuple(sorted({word for word in every if word.startswith(".")}, key=lambda word: -int(word[1:])))
    if arrow:
        before, has_dots, after = right.partition("...")
        return operands, (*before, *(dots if has_dots else ()), *after)
    # Without an arrow letters that stand once are written, in alphabetical order, behind the axes of `...`.
    once = sorted(word for word in set(every) - set(dots) if every.count(word) == 1)
    return operands, (*dots, *once)


def _words(part: str, ndim: int) -> Words:
    # "...td" of three axes has one under the dots: (".0", "t", "d"). Counted from the last, axes of operands with
    # different numbers of them meet as they do in broadcasting.
    before, dots, after = part.partition("...")
    extra = ndim - len(before) - len(after)
    middle = [f".{number}" for number in reversed(range(extra))] if dots else []
    words = (*before, *middle, *after)
    if len(words) != ndim or any(letter not in ascii_letters for letter in before + after):
        raise Conflict(f"einsum: {part!r} does not describe a tensor of {ndim} axes")
    return words


@rule(
    "einsum",
    "its own equation: a letter that is written has the product of its axes (same permutation, signs multiplied), one "
    "that is summed over needs signs that cancel",
    Einsum(),
)
def einsum(call: Call) -> Answer:
    """A sum of products, written with letters: "bv,bv,bv->b" permutes all three alike along v, and the product of their
    signs has to be the same for all entries.
    """
    solver, tensors = call.solver, call.operands
    operands, written = letters_of(call["equation"], [operand.ndim for operand in tensors])
    axes_of: dict[str, list[Axis]] = {}
    sign: Sign = 1
    fixed = any(operand.fixed for operand in tensors)  # a weight, or an adjacency, takes any sign of the others
    for words, rep in zip(operands, call.representations(), strict=True):
        sign *= rep.sign
        for word, axis in zip(words, rep.axes, strict=True):
            axes_of.setdefault(word, [])
            # An axis of one entry is stretched along the others of its letter, and demands nothing of them.
            if axis:
                axes_of[word].append(axis)
    # Letters with known axes first: what they decide may make others known.
    for word in sorted(axes_of, key=lambda word: _open(axes_of[word], solver)):
        if word not in written:
            sign *= _summed(axes_of[word], solver, "" if fixed else call.at(word))
    axes = tuple(_product(axes_of[word], solver) for word in written)
    return solver.representation(SymbolicRepresentation(axes, sign))


def _product(axes: Sequence[Axis], solver: Solver) -> Axis:
    """The axis of a product entry by entry along one letter; () where all have one entry."""
    return reduce(lambda left, right: multiply(left, right, solver), axes) if axes else ()


def _open(axes: Sequence[Axis], solver: Solver) -> int:
    return sum(not is_known(solver.resolve(axis)) for axis in axes)


def _summed(axes: Sequence[Axis], solver: Solver, key: str) -> Sign:
    """The sign that is left over when a letter is summed over.

    key: the place of a sign that is not known yet; empty to let unknown axes take it.
    """
    # With one factor there is nothing that signs could cancel with: it is a plain sum.
    if len(axes) < 2:
        solver.sign_free(axes[0] if axes else ())
        return 1
    # Of three factors the product of two has to have the signs of the third; the least known one takes what is left.
    *others, last = sorted(axes, key=lambda axis: _open([axis], solver))
    return solver.paired(last, _product(others, solver), key)


# ---- attention ----------------------------------------------------------------------------------------------------
@rule(
    "scaled_dot_product_attention",
    "`+... +q d, +... +k d, ... +k v -> ... +q v`, a mask `+... +q +k`; with `is_causal` q and k trivial",
    Attention(),
)
def attention(call: Call) -> Answer:
    """softmax(scale * q k' + mask) v, and softmax(T_q A T_k') = T_q softmax(A) T_k' for permutations.

    Queries and keys may carry signs along d, which is summed over, values along v.
    """
    if call.get("dropout_p", 0.0) or call.get("enable_gqa", False):
        raise Conflict("attention with dropout_p in eval mode, or with grouped queries (enable_gqa)")
    solver, mask = call.solver, call.get("attn_mask")
    query, key, value = call.representations("query", "key", "value")
    # A scale is one number for all entries, and demands nothing.
    transposed = SymbolicRepresentation((*key.axes[:-2], key.axes[-1], key.axes[-2]), key.sign)
    logits = matrix_product(query, transposed, solver)
    # Token 0 sees one token and the last one sees all: a mirror that moves tokens would have to move these, too.
    if call.get("is_causal", False):
        for axis in logits.axes[-2:]:
            solver.trivial(axis)
    if mask is not None:
        logits = equal_sum([Operand(logits), mask], logits.shape, solver)
    return matrix_product(solver.representation(demand_plain(logits, solver)), value, solver)
