"""How do sums over an axis of a product transform: linear maps, matrix products, einsum, attention?

    y = sum_i w_i x_i, with T x and T w along i the same signed permutation: y stays, since T is orthogonal

So an axis that is summed over ties two operands to each other, signs included, and the axes that are left go to the
result: `m k, k n -> m n`. For the weight of a linear layer that is what projection then enforces: its columns move as
the inputs and its rows as the outputs.

In matrices, y = W x commutes with T where T_out W T_in = W, since T is its own inverse. Two inputs and two outputs that
the mirror exchanges leave two free numbers in W:

    T_in = T_out = [[0, 1], [1, 0]]        W = [[a, b], [b, a]]        bias = [c, c]

A bias b asks for T_out b = b. Added at every row of x, it also forbids that the mirror negates single rows: that is
the `+` before `...` in `+... i, o i, o -> +... o`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import chain
from string import ascii_letters

from chiralize.graph.traits import Attention, Contraction, Einsum, Product
from chiralize.infer.algebra import equal_sum, matrix_product, multiply
from chiralize.infer.rule import Answer, Call, Operand, demand_plain, rule
from chiralize.infer.rules.declare import equation, layer, tensor
from chiralize.infer.solver.unify import Solver
from chiralize.infer.symbolic import Axis, Conflict, Sign, SymbolicRepresentation, is_known

layer(
    "linear",
    "input weight bias",
    "+... i, o i, o -> +... o",
    bare="... i, o i -> ... o",
    factors="input weight",
    trait=Contraction("bias", is_layer=True),
)
layer(
    "mm",
    "self mat2",
    "m k, k n -> m n",
    factors="self mat2",
    trait=Contraction(source="self", weight="mat2", is_transposed=True),
)


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
# Every letter stands for the axes that carry it. Where it is written to the output the axes are multiplied entry by
# entry: same permutation, signs multiplied. Where it is summed over, the signs have to cancel, up to one for the whole.
# "bv,bv,bv->b": all three are permuted alike along v, and the product of their signs is the same for all entries.
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
    """The letters of one operand, a word for each of its axes. Raises Conflict where they do not describe it."""
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
    """A sum of products, written with letters.

    Returns axes in the order of the output's letters, and the signs of all operands and sums as one.
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
    for word in sorted(axes_of, key=lambda word: _openness(axes_of[word], solver)):
        if word not in written:
            sign *= _summed(axes_of[word], solver, "" if fixed else call.at(word))
    axes = tuple(_product(axes_of[word], solver) for word in written)
    return solver.representation(SymbolicRepresentation(axes, sign))


def _openness(axes: Sequence[Axis], solver: Solver) -> int:
    """How many axes are not known yet: those that are known are compared first."""
    return sum(not is_known(solver.resolve(axis)) for axis in axes)


def _product(axes: Sequence[Axis], solver: Solver) -> Axis:
    """The axis of a product entry by entry along one letter; () where all have one entry. Raises as `multiply`."""
    if axes:
        return reduce(lambda left, right: multiply(left, right, solver), axes)
    return ()


def _summed(axes: Sequence[Axis], solver: Solver, key: str) -> Sign:
    """The sign that is left over when a letter is summed over.

    key: the place of a sign that is not known yet; empty to let unknown axes take it.
    """
    # With one factor there is nothing that signs could cancel with: it is a plain sum.
    if len(axes) < 2:
        solver.sign_free(axes[0] if axes else ())
        return 1
    # Of three factors the product of two has to have the signs of the third; the least known one takes what is left.
    *others, last = sorted(axes, key=lambda axis: _openness([axis], solver))
    return solver.paired(last, _product(others, solver), key)


# ---- attention ----------------------------------------------------------------------------------------------------
@rule(
    "scaled_dot_product_attention",
    "`+... +q d, +... +k d, ... +k v -> ... +q v`, a mask `+... +q +k`; with `is_causal` q and k trivial; grouped "
    "queries: heads `(h g), h, h -> (h g)`",
    Attention(),
)
def attention(call: Call) -> Answer:
    """softmax(scale * q k' + mask) v.

    Queries and keys may carry signs along d, which is summed over, values along v. The weights are positive, so that
    neither queries nor keys may be negated as a whole; permuted they may be, and heads as well:
    softmax(T_q A T_k') = T_q softmax(A) T_k' for permutations of rows and columns. Raises Conflict and Wait.
    """
    if call.get("dropout_p", 0.0):
        raise Conflict("dropout stays on in eval mode (scaled_dot_product_attention with dropout_p)")
    solver, mask = call.solver, call.get("attn_mask")
    query, key, value = call.representations("query", "key", "value")
    # Grouped queries: 8 heads of queries on 2 of keys are 2 x 4 on 2 x 1, and the 1 is stretched.
    grouped = bool(call.get("enable_gqa", False)) and query.shape[-3] != key.shape[-3]
    if grouped:
        # Its heads would have to be split like those of the queries.
        if mask is not None and mask.ndim > 2:
            raise Conflict("grouped queries with a mask that has heads")
        count = query.shape[-3]
        query = _spread(query, solver.regroup([query.axes[-3]], [key.shape[-3], count // key.shape[-3]]))
        key, value = (_spread(rep, [rep.axes[-3], ()]) for rep in (key, value))
    weights = _attention_weights(query, key, mask, bool(call.get("is_causal", False)), solver)
    out = matrix_product(weights, value, solver)
    if grouped:
        return SymbolicRepresentation(tuple(solver.regroup(out.axes, call.shape)), out.sign)
    return out


def _attention_weights(
    query: SymbolicRepresentation, key: SymbolicRepresentation, mask: Operand | None, causal: bool, solver: Solver
) -> SymbolicRepresentation:
    """softmax(q k' + mask): all of it plain, and mask and weights alike.

    query: "... queries channels", key: "... keys channels"; returns "... queries keys".
    """
    # A scale is one number for all entries, and demands nothing.
    transposed = SymbolicRepresentation((*key.axes[:-2], key.axes[-1], key.axes[-2]), key.sign)
    logits = matrix_product(query, transposed, solver)
    # Token 0 sees one token and the last one sees all: a mirror that moves tokens would have to move these, too.
    if causal:
        for axis in logits.axes[-2:]:
            solver.trivial(axis)
    if mask is not None:
        logits = equal_sum([Operand(logits), mask], logits.shape, solver)
    return solver.representation(demand_plain(logits, solver))


def _spread(rep: SymbolicRepresentation, heads: Sequence[Axis]) -> SymbolicRepresentation:
    """The representation with two axes, `heads`, in place of the third from the end, which is that of heads."""
    return SymbolicRepresentation((*rep.axes[:-3], *heads, *rep.axes[-2:]), rep.sign)
