"""Values of a graph as linear combinations of `action * expression`, an action being a signed permutation per axis.

Two values are equal if their combinations are: actions compose exactly, equal expressions have one number, and equal
terms are added up. Constants are what they hold; actions on them are carried out.

    x + swap(x) / 2, of x with 3 entries, the first two of which are swapped:
    (((), 0, 1.0), (((0, (1, 0, 2), (1, 1, 1)),), 0, 0.5))         0 is the number of the expression x

All of it are plain tuples, which compare and hash. `average_proof` makes these from a graph, and says which op is what.

Expressions are tuples whose first entry says what they are. These are taken apart again:

    "cat", axis, sizes of the parts, parts          "run", axis, first entry, entries, number
    "selected", axis, entry, entries, number        "permuted", order of the axes, number
    "constant", shape, bytes                        "each", op and numbers, parts as (type, shape, combination)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.symmetry.involution import shape_along
from chiralize.symmetry.representation import TensorRepresentation

# An action on one tensor: per axis (source entry, sign), identity axes left out.  out[i] = sign[i] * in[source[i]]
AxisAction = tuple[int, tuple[int, ...], tuple[int, ...]]
Action = tuple[AxisAction, ...]
Term = tuple[Action, int, float]  # (action, expression by number, factor)
Combination = tuple[Term, ...]
Array = npt.NDArray[np.float64]

IDENTITY: Action = ()


class Expressions:
    """Every expression once, by number, so that equal ones compare at once however large they are."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[Any, ...], int] = {}
        self.all: list[tuple[Any, ...]] = []
        self.arrays: dict[int, Array] = {}  # constants, by the number of their expression

    def number(self, *expression: Any) -> int:
        """The number of an expression, a new one if it has not been met before."""
        if expression not in self.numbers:
            self.numbers[expression] = len(self.all)
            self.all.append(expression)
        return self.numbers[expression]

    def constant(self, array: Array) -> list[Term]:
        """A constant as a term, reduced to one entry along every axis where it does not change; no term if it is 0."""
        for axis in range(array.ndim):
            first = array.take([0], axis)
            if array.shape[axis] > 1 and (array == first).all():
                array = first
        if not array.any():
            return []
        array = array + 0.0  # no negative zeros
        number = self.number("constant", array.shape, array.tobytes())
        self.arrays[number] = array
        return [(IDENTITY, number, 1.0)]

    def collect(self, terms: Sequence[Term]) -> Combination:
        """Equal terms added up, all constants to one, in an order that does not depend on how they were written."""
        constants: list[Array] = []
        total: dict[tuple[Action, int], float] = {}
        for action, number, factor in terms:
            if number in self.arrays:
                constants.append(factor * self.arrays[number])
            else:
                total[action, number] = total.get((action, number), 0.0) + factor
        # x - x stays a term, 0 x: it is no number where x is infinite.
        collected = [(action, number, factor + 0.0) for (action, number), factor in total.items()]
        if constants:
            collected += self.constant(np.asarray(sum(constants[1:], constants[0])))
        return tuple(sorted(collected))

    def factors(self, value: Combination) -> list[float]:
        """The factors of the terms that are no constants."""
        return [factor for _, number, factor in value if number not in self.arrays]

    def scale(self, value: Combination, factor: float) -> Combination:
        """A combination times a number."""
        return self.collect([(action, number, factor * own_factor) for action, number, own_factor in value])

    def apply(self, action: Action, value: Combination) -> Combination:
        """An action on every term of a combination."""
        if not action:
            return value
        out: list[Term] = []
        for inner, number, factor in value:
            if number in self.arrays:
                out += self.constant(_acted(action, factor * self.arrays[number]))
            else:
                out.append((*self._inside(_composed(action, inner), number), factor))
        return self.collect(out)

    def _inside(self, action: Action, number: int) -> tuple[Action, int]:
        """An action that only exchanges the parts of a concatenation is carried out on the list of parts.

        One without signs is carried out on the parts of an op that does the same to all entries (`each`). Returned are
        the rest of the action, and the number of the expression that it acts on. So cat([b, a]) and the
        halves of cat([a, b]) exchanged are one expression: with parts of 2 entries the action has the sources
        (2, 3, 0, 1), and `starts` is (2, 0).
        """
        expression = self.all[number]
        if expression[0] == "each" and not has_signs(action):
            parts = [(dtype, shape, self.apply(action, value)) for dtype, shape, value in expression[2]]
            return IDENTITY, self.each(expression[1], parts)
        if expression[0] == "cat":
            along = along_axis(action, expression[1])
        else:
            along = None
        if along is None:
            return action, number
        (_, dim, sizes, parts), (_, entries, signs) = expression, along
        if len(set(sizes)) != 1:
            return action, number
        width, starts = sizes[0], entries[:: sizes[0]]  # where each part of the result begins in the operand
        # Parts of one size, each moved as a whole, none negated, and each begins where a part began.
        whole = entries == tuple(start + step for start in starts for step in range(width))
        if not whole or min(signs, default=1) < 0 or any(start % width for start in starts):
            return action, number
        reordered = tuple(parts[start // width] for start in starts)
        return tuple(beside_axis(action, dim)), self.number("cat", dim, sizes, reordered)

    def each(self, op: tuple[str, ...], parts: Sequence[tuple[Any, ...]]) -> int:
        """The number of an op that does the same to all entries, and for which the order of its parts does not count.

        parts: type, shape and combination of each; all have one shape. What moves the result moves them: `_inside`
        makes S |a + b| to |S a + S b| for bytes, whose sums are no sums of real numbers.
        """
        return self.number("each", op, tuple(sorted(parts)))

    def run(self, value: Combination, dim: int, run: range) -> Combination | None:
        """A run of entries of every term, None where a permutation takes it apart.

        The run is cut out of the expression itself, at the place from which the action would have fetched it. What is
        left of the action along this axis are the signs.
        """
        out: list[Term] = []
        for action, number, factor in value:
            if number in self.arrays:
                array = factor * self.arrays[number]
                if array.shape[dim] != 1:  # else the same number stands for all entries (`constant`)
                    array = array.take(list(run), dim)
                out += self.constant(array)
                continue
            source, signs = tuple(run), (1,) * len(run)
            along = along_axis(action, dim)
            if along is not None:
                within = slice(run.start, run.stop)
                source, signs = along[1][within], along[2][within]
            if not source or source != tuple(range(source[0], source[0] + len(source))):
                return None
            moved = normal([*beside_axis(action, dim), (dim, tuple(range(len(run))), signs)])
            out.append((moved, self.number("run", dim, source[0], len(source), number), factor))
        return self.collect(out)


# ---- actions --------------------------------------------------------------------------------------------------
def action_of(rep: TensorRepresentation) -> tuple[Action, float]:
    """T on a tensor as an action, and its overall sign, to which axes of one entry belong.

    A graph multiplies by a constant of one entry as by a number (`_product`), so that its sign is a factor there.
    """
    axes, sign = list[AxisAction](), float(rep.sign)
    for position in rep.moved_axes:
        action = rep.axes[position].action
        if action.size == 1:
            sign *= int(action.sign[0])
        else:
            axes.append((position, tuple(action.partner.tolist()), tuple(action.sign.tolist())))
    return normal(axes), sign


def along_axis(action: Action, dim: int) -> AxisAction | None:
    """The part of an action that acts along one axis, None where it leaves that axis alone."""
    return next((axis for axis in action if axis[0] == dim), None)


def beside_axis(action: Action, dim: int) -> list[AxisAction]:
    """The parts of an action that act along other axes."""
    return [axis for axis in action if axis[0] != dim]


def normal(axes: list[AxisAction]) -> Action:
    """The axes that are moved or negated, in order: equal actions become equal tuples."""
    changing = list[AxisAction]()
    for axis, source, signs in axes:
        if source != tuple(range(len(source))) or min(signs, default=1) < 0:
            changing.append((axis, source, signs))
    return tuple(sorted(changing))


def has_signs(action: Action) -> bool:
    """Whether an action negates some entry."""
    return any(min(signs, default=1) < 0 for _, _, signs in action)


def _composed(outer: Action, inner: Action) -> Action:
    """The action that does `inner` first and then `outer`, axis by axis.

    out[i] = sign[i] * y[source[i]] and y[k] = before_sign[k] * x[before[k]], so that x is read at before[source[i]].
    """
    by_dim = {axis[0]: axis for axis in inner}
    for dim, source, sign in outer:
        if dim in by_dim:
            _, before, before_sign = by_dim[dim]
            entries = tuple(before[i] for i in source)
            by_dim[dim] = (dim, entries, tuple(s * before_sign[i] for s, i in zip(sign, source, strict=True)))
        else:
            by_dim[dim] = (dim, source, sign)
    return normal(list(by_dim.values()))


def _acted(action: Action, array: Array) -> Array:
    """The constant that an action makes of a constant."""
    for dim, source, sign in action:
        if array.shape[dim] == 1:  # one number for all entries, which may have different signs from now on
            array = np.repeat(array, len(source), dim)
        signs = np.array(sign, dtype=np.float64).reshape(shape_along(dim, array.ndim))
        array = array.take(source, dim) * signs
    return array
