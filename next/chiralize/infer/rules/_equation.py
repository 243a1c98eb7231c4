"""Axis equations: rules of one line, in the notation of einsum.

    linear        +... i, o i, o -> +... o           batch_norm   +b c +..., |c|, c, c, |c| -> +b c +...

The same letter is the same representation; `|c|` is it without signs, `+c` demands that there are none, `1t` demands
that the mirror leaves the axis alone (its size may change), `...` is any number of axes. A letter that is summed over
counts like any other, since signed permutations are orthogonal. A `+` anywhere also demands that no overall sign is
left, because something is added that does not change its sign.

How `+... i, o i, o -> +... o` is applied to x "17 2", weight "64 2" and bias "64":

    x         `...` is joints, which must carry no signs (the same bias is added at every joint); i is (x, y)
    weight    o is an unknown, its second axis is made equal to i
    bias      made equal to o, signs included
    output    joints, o

The sign of an operand as a whole is the difficulty: it may stand for a negated axis (-1 times 64 entries is the same as
64 negated entries). `_place_sign` says where it may go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from chiralize.infer.rule import Call, Operand
from chiralize.infer.solver.unify import Solver, times
from chiralize.infer.symbolic import Axis, Conflict, OpenSign, Sign, SymbolicRepresentation, Wait, is_known, trivial

_TOKEN = re.compile(r"(\+?)(?:(\.\.\.)|\|(\w)\||(1)?(\w))$")


@dataclass(frozen=True)
class Token:
    """One axis of a pattern: its letter (`...` for any number of axes) and what is demanded of it."""

    letter: str
    plus: bool = False
    absolute: bool = False
    trivial: bool = False


Pattern = tuple[Token, ...]


@dataclass(frozen=True)
class Equation:
    """A parsed axis equation."""

    text: str
    inputs: tuple[Pattern, ...]
    outputs: tuple[Pattern, ...]

    @property
    def demands_plus(self) -> bool:
        """Whether a `+` stands anywhere."""
        return any(token.plus for pattern in self.inputs + self.outputs for token in pattern)

    @property
    def signed(self) -> list[str]:
        """The letters of the result that stand without a `+` everywhere, in the order in which they are written."""
        plus = {token.letter for pattern in self.inputs + self.outputs for token in pattern if token.plus}
        letters = [token.letter for pattern in self.outputs for token in pattern]
        return [letter for letter in dict.fromkeys(letters) if letter not in plus]

    @property
    def summed(self) -> set[str]:
        """The letters that are read and not written."""
        read = {token.letter for pattern in self.inputs for token in pattern if not token.trivial}
        return read - {token.letter for pattern in self.outputs for token in pattern}


@cache
def parse(text: str) -> Equation:
    """Read an equation. Raises ValueError on a word that is no token."""
    left, arrow, right = text.partition("->")
    if not arrow:
        raise ValueError(f"no '->' in {text!r}")
    return Equation(text, _patterns(left), _patterns(right))


def _patterns(side: str) -> tuple[Pattern, ...]:
    """The patterns of one side of an equation: one for each tensor, between commas."""
    return tuple(tuple(map(_token, operand.split())) for operand in side.split(","))


def _token(word: str) -> Token:
    """One word of a pattern: `i`, `+c`, `|c|`, `1t`, `...` or `+...`. Raises ValueError on any other."""
    match = _TOKEN.match(word)
    if not match:
        raise ValueError(f"not an axis of an equation: {word!r}")
    plus, dots, absolute, one, letter = match.groups()
    return Token(dots or absolute or letter, bool(plus), bool(absolute), bool(one))


def apply(text: str, operands: Sequence[Operand | None], call: Call) -> tuple[SymbolicRepresentation, ...]:
    """State the constraints of an equation between the operands; returns the outputs' representations.

    An operand that is None takes its pattern with it: a norm without weights, a linear layer without bias. Raises
    Conflict and Wait.
    """
    parsed = parse(text)
    pairs = [(pattern, operand) for pattern, operand in zip(parsed.inputs, operands, strict=False) if operand]
    used = Equation(text, tuple(pattern for pattern, _ in pairs), parsed.outputs)
    return _Application(used, call.solver).run([operand for _, operand in pairs], call)


class _Application:
    """One use of an equation: letters seen so far, and the overall sign.

    Where a letter is summed over, the operands that hold one are factors; the others are added to their product.
    letters: by letter, the axis that it stands for.  absolutes: letters written `|c|`, each with the axis there, for
    the end, when all letters are known.  dots: the axes of `...`, of all operands.
    """

    def __init__(self, equation: Equation, solver: Solver) -> None:
        self.equation = equation
        self.solver = solver
        self.letters: dict[str, Axis] = {}
        self.absolutes: list[tuple[str, Axis]] = []
        self.dots: tuple[Axis, ...] = ()
        self.sign: Sign = 1
        self.summed = equation.summed
        self.signed = equation.signed

    def run(self, operands: Sequence[Operand], call: Call) -> tuple[SymbolicRepresentation, ...]:
        """State the constraints; returns the outputs' representations."""
        # In the order of the equation: the first operand that has a letter says what it is, later ones have to agree.
        for pattern, operand in zip(self.equation.inputs, operands, strict=True):
            self._read(pattern, self.solver.representation(operand.rep))
        for letter, axis in self.absolutes:
            self.solver.equal(axis, self.solver.absolute(self.letters[letter]))
        return tuple(
            self._write(pattern, shape)
            for pattern, shape in zip(self.equation.outputs, call.shapes, strict=False)
            if shape is not None
        )

    def _read(self, pattern: Pattern, rep: SymbolicRepresentation) -> None:
        """State what the pattern of one operand demands of its axes, and note the letters that are new.

        A letter seen before has to be the same axis up to a sign, which joins that of the operand.
        """
        sign = rep.sign
        new: list[str] = []
        # A token may demand several things, `+c` no signs and the same axis as before: the tests are no alternatives.
        for token, axis in _match(pattern, rep.axes):
            if token.trivial:
                self.solver.trivial(axis)
            if token.plus:
                self.solver.sign_free(axis)
            if token.letter == "...":
                self.dots += (axis,)
            elif token.absolute:
                self.absolutes.append((token.letter, axis))
            elif token.letter in self.letters:
                sign = self.solver.same(axis, self.letters[token.letter], sign)
            elif not token.trivial:
                if not axis and isinstance(sign, OpenSign) and token.letter in self.signed:
                    axis, sign = times(axis, sign), 1  # the sign is that of the one entry
                self.letters[token.letter] = axis
                new.append(token.letter)
        if sign != 1:
            self._place_sign(pattern, new, sign)

    def _place_sign(self, pattern: Pattern, new: Sequence[str], sign: Sign) -> None:
        """Move the sign that an operand has over into one of its axes, or of the result; or keep it."""
        is_factor = any(token.letter in self.summed for token in pattern)
        # Only axes that came with this operand: those of others are compared already. A summed one comes first, whose
        # other copy, in a later operand, is made equal to the negated axis.
        free = [letter for letter in new if letter in self.summed] + [letter for letter in new if letter in self.signed]
        # The sign of a factor is one of the product, so that any axis of the result can have it.
        if is_factor:
            free += [letter for letter in self.signed if letter in self.letters]
        for letter in free:
            axis = self.solver.resolve(self.letters[letter])
            if is_known(axis):
                self.letters[letter] = times(axis, sign)
                return
        # No known axis takes it. It may stay in front of the result unless a `+` forbids that; an unknown sign is then
        # 1, and a known one waits for an axis that may become known.
        if not self.equation.demands_plus:
            self.sign *= sign
        elif isinstance(sign, OpenSign):
            self.solver.positive(sign)
        elif any(self.letters[letter] for letter in free):
            raise Wait("a sign has to go into an axis that is not known yet")
        elif not self.solver.positive(sign):
            raise Conflict("all entries are negated", negated=True)

    def _write(self, pattern: Pattern, shape: tuple[int, ...]) -> SymbolicRepresentation:
        """The representation of an output of this shape, by the letters that its operands have settled."""
        axes: list[Axis] = []
        for token in pattern:
            if token.letter == "...":
                axes.extend(self.dots)
            elif token.trivial:
                axes.append(trivial(shape[len(axes)]))
            else:
                axis = self.solver.resolve(self.letters[token.letter])
                if token.plus:
                    self.solver.sign_free(axis)
                axes.append(self.solver.absolute(axis) if token.absolute else axis)
        return self.solver.representation(SymbolicRepresentation(tuple(axes), self.sign))


def _match(pattern: Pattern, axes: Sequence[Axis]) -> list[tuple[Token, Axis]]:
    """Which token each axis stands for. Raises Conflict for another number of axes."""
    fixed = sum(token.letter != "..." for token in pattern)
    extra = len(axes) - fixed
    if extra < 0 or (extra and fixed == len(pattern)):
        raise Conflict(f"a tensor of {len(axes)} axes where {len(pattern)} are expected")
    tokens: list[Token] = []
    for token in pattern:
        tokens += [token] * (extra if token.letter == "..." else 1)
    return list(zip(tokens, axes, strict=True))
