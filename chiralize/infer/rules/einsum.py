"""Einstein sums of any number of tensors, with `...` and repeated letters.

Every letter stands for the axes that carry it. Where it is written to the output the axes are multiplied entry by
entry: same permutation, signs multiplied. Where it is summed over, the signs have to cancel, up to one for the whole.

"bi,ij->bj": i is summed over, so x and w carry the same T there; b comes from x alone, j from w alone.
"bv,bv,bv->b": all three are permuted alike along v, and the product of their signs is the same for all entries.

In signs: let T take entry e of the letter v to p(e), with signs s_e, t_e and u_e in three operands. Each term x y z is
moved to p(e) with the sign s_e t_e u_e. Written to the output, v carries (p, s t u). Summed over, the terms change
places, which a sum does not notice, and s t u has to be 1 everywhere, or -1 everywhere: this sign goes to the result.

The letters of "nkctv,kvw->nctw" become axes_of = {n: [x0], k: [x1, w0], c: [x2], t: [x3], v: [x4, w1], w: [w2]}.
Summed are k and v, which tie both operands; n, c, t and w are written as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import chain
from math import prod
from string import ascii_letters

from chiralize.graph.traits import Einsum
from chiralize.infer.products import multiply
from chiralize.infer.registry import Call, Results, Sample, normals, sample
from chiralize.infer.rules._families import op, rule
from chiralize.infer.solver.terms import Conflict
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.symbolic import Axis, Sign, SymbolicRepresentation, is_known

Words = tuple[str, ...]
"""A letter for every axis of a tensor; axes of `...` are `.1`, `.0`, counted from the last."""


def letters_of(equation: str, ndims: Sequence[int]) -> tuple[list[Words], Words]:
    """The letters of every operand and of the output; the axes of `...` are called `.0`, `.1`, the last one first."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    operands = [_words(part, ndim) for part, ndim in zip(left.split(","), ndims, strict=True)]
    # The operand with most axes under `...` has all of them. `.1` stands before `.0`: numbers count from the last.
    every = list(chain.from_iterable(operands))
    dots = tuple(sorted({word for word in every if word.startswith(".")}, key=lambda word: -int(word[1:])))
    if arrow:
        return operands, _written(right, dots)
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


def _written(part: str, dots: Words) -> Words:
    """The letters of the output, with all axes that `...` stands for in some operand."""
    before, has_dots, after = part.partition("...")
    return (*before, *(dots if has_dots else ()), *after)


def _macs(call: Call) -> int:
    """Every combination of letters once, with a multiplication for every operand but the first; of one operand one."""
    operands, _ = letters_of(call["equation"], [operand.ndim for operand in call.operands])
    # An axis of one entry is stretched along a longer one of the same letter: the longest counts.
    sizes: dict[str, int] = {}
    for words, operand in zip(operands, call.operands, strict=True):
        for word, size in zip(words, operand.shape, strict=True):
            sizes[word] = max(sizes.get(word, 1), size)
    return prod(sizes.values()) * max(len(operands) - 1, 1)


def _product_of(equation: str, *shapes: tuple[int, ...]) -> Sample:
    """An equation and tensors of these shapes."""
    return sample(equation, normals(*shapes))


@rule(
    "einsum",
    "its own equation: a letter that is written has the product of its axes (same permutation, signs "
    "multiplied), one that is summed over needs signs that cancel",
    macs=_macs,
    trait=Einsum(),
)
@op("einsum", _product_of("nkctv,kvw->nctw", (1, 2, 3, 1, 4), (2, 4, 4)))
@op("einsum", _product_of("n c v, v w -> n c w", (2, 2, 4), (4, 4)))
@op("einsum", _product_of("...td,...sd->...ts", (2, 4, 3), (2, 2, 3)), _product_of("nvc->ncv", (2, 4, 3)))
@op("einsum", _product_of("ij,jk", (3, 4), (4, 2)), _product_of("ii->i", (4, 4)), _product_of("bii->b", (2, 4, 4)))
@op("einsum", _product_of("ab,bc,cd->ad", (2, 4), (4, 3), (3, 3)))
@op("einsum", _product_of("bv,bv,bv->b", (2, 4), (2, 4), (1, 4)), _product_of("bv,bv->bv", (3, 4), (3, 4)))
@op("einsum", _product_of("...i->...", (3, 4)), _product_of("i,j->ij", (3,), (4,)))
@op("einsum", _product_of("bi,ij,bj,j->b", (2, 4), (4, 3), (2, 3), (3,)))
def einsum(call: Call) -> Results:
    """A sum of products, written with letters.

    Returns axes in the order of the output's letters, and the signs of all operands and sums as one.
    """
    solver, tensors = call.solver, call.operands
    operands, written = letters_of(call["equation"], [operand.ndim for operand in tensors])
    axes_of: dict[str, list[Axis]] = {}
    sign: Sign = 1
    fixed = any(operand.fixed for operand in tensors)  # a weight, or an adjacency, takes any sign of the others
    for words, operand in zip(operands, tensors, strict=True):
        rep = solver.representation(operand.rep)
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
