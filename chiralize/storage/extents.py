"""How much work an expression of a file can make: bounds on its numbers, its expanded terms and its nesting.

`9**9**9` is short, harmless arithmetic, and never ends; so is a product of forty sums, which sympy multiplies out.
Nothing is evaluated here: each operation tells what its operands can grow to.

`expressions` asks for every size and guard of a `.pt2` before torch hands it to sympy.  Bounds go from the leaves of
the expression to its root.  With a symbol counted as 64 bits, (s0 + 1) * (s1 + 2) * s2 has

    s0 + 1           66 bits, 2 terms, depth 2, 3 nodes
    s1 + 2           66 bits, 2 terms, depth 2, 3 nodes
    the product      196 bits (their sum), 2 * 2 * 1 = 4 terms, depth 3, 8 nodes
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_BITS = 1 << 15
MAX_TERMS = 256
MAX_DEPTH = 64
SYMBOL_BITS = 64
"""Bits of a symbol: sizes of tensors are numbers of 64 bits."""
_POWERS = frozenset({"Pow", "PowByNatural", "FloatPow", "pow"})
_SHIFTS = frozenset({"LShift", "RShift", "RoundDecimal", "round"})
_PRODUCTS = frozenset({"Mul", "Integer", "Rational"})
_DIVISIONS = frozenset("FloorDiv Mod PythonMod CleanDiv CeilDiv ModularIndexing FloatTrueDiv IntTrueDiv".split())
_TUPLES = frozenset({"Tuple", "ExprCondPair"})
_NUMBERS = frozenset({"Integer", "Float", "Rational"})
_EXPONENT = re.compile(r"[\d._]+[eE][+-]?(\d+)")
_DECIMAL_BITS = 4
"""Bits of a decimal digit: the next whole number above 3.32."""
_PER_TERM = 2_000
"""Work of a term that is multiplied out, in the units of `Extent.nested`."""


class TooLargeError(Exception):
    """Says which number grows beyond its bound."""


@dataclass(frozen=True)
class Extent:
    """Bounds on what an expression makes.

    bits: of its largest number, numerator and denominator together.  terms: once products of sums are multiplied out.
    depth: of nested operations.  nodes: how many there are.  is_tuple: no number, so that `*` would repeat it.
    """

    bits: int
    terms: int
    depth: int
    nodes: int
    is_tuple: bool = False

    @property
    def nested(self) -> int:
        """A number that grows as the time that sympy takes whenever it reads the expression."""
        return self.nodes * self.depth**2

    @property
    def expanded(self) -> int:
        """A number that grows as the time that sympy takes when it reads the expression for the first time."""
        return _PER_TERM * (self.terms - 1)


def extent_of(node: ast.expr) -> Extent:
    """Bounds on what an expression makes.

    Raises TooLargeError, and RecursionError for nesting beyond what Python itself can walk.
    """
    # The limits are checked at every level: bits and terms above them would themselves be numbers without end.
    extent = _extent(node)
    for value, limit, what in (
        (extent.bits, MAX_BITS, "bits in its numbers"),
        (extent.terms, MAX_TERMS, "terms once multiplied out"),
        (extent.depth, MAX_DEPTH, "nested operations"),
    ):
        if value > limit:
            raise TooLargeError(f"up to {_count(value)} {what}, limit {limit:,}")
    return extent


def _count(value: int) -> str:
    """A number for a message, a very large one by its power of two."""
    if value < 10**9:
        return f"{value:,}"
    return f"2**{value.bit_length() - 1}"


def _extent(node: ast.expr) -> Extent:
    """The bounds, whose own limits the caller checks; operands are checked here, so that no bound grows for ever."""
    if isinstance(node, ast.Constant):
        return _leaf(_constant_bits(node.value))
    if isinstance(node, (ast.Name, ast.Subscript, ast.Attribute)):
        return _leaf(SYMBOL_BITS)
    if isinstance(node, ast.Tuple):
        return _combined([extent_of(part) for part in node.elts], is_tuple=True)
    if isinstance(node, ast.BinOp):
        return _of_operator(node)
    if isinstance(node, ast.Call):
        return _of_call(node)
    # Comparisons, `and`, `not`, `a if b else c`: no larger number than their parts have.
    parts = [extent_of(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
    return _combined(parts)


def _of_operator(node: ast.BinOp) -> Extent:
    """The bounds of `a + b` and the like.  Raises TooLargeError."""
    operands = [extent_of(part) for part in _chain(node)]
    if any(operand.is_tuple for operand in operands):  # (1,) * 10**9
        raise TooLargeError("arithmetic on a tuple, which repeats it")
    if isinstance(node.op, ast.Pow):
        return _power(operands[0], node.right, operands[-1])
    if isinstance(node.op, (ast.LShift, ast.RShift)):
        return _scaled(operands, node.right)
    if isinstance(node.op, (ast.Mult, ast.Div)):
        return _product(operands)
    if isinstance(node.op, (ast.FloorDiv, ast.Mod)):
        return _combined(operands, bits=_total_bits(operands))
    return _combined(operands, bits=_sum_bits(operands))


def _chain(node: ast.BinOp) -> list[ast.expr]:
    """The operands of `a + b + c`, which are nested for the parser alone; two for other operations."""
    # `a + b + c` is parsed as (a + b) + c: a sum of a hundred sizes is not a hundred levels deep for sympy.
    rest: list[ast.expr] = [node.right]
    first = node.left
    if isinstance(node.op, (ast.Add, ast.Mult)):
        while isinstance(first, ast.BinOp) and type(first.op) is type(node.op):
            rest.append(first.right)
            first = first.left
    return [first, *reversed(rest)]


def _of_call(node: ast.Call) -> Extent:
    """The bounds of a call of sympy's or torch's by its name, as of the operator that does the same."""
    function = node.func
    if isinstance(function, ast.Attribute) and not (isinstance(function.value, ast.Name) and node.args):
        return _leaf(SYMBOL_BITS)  # x.size(), x.numel(): judged as a whole by `guard_fault`
    name = getattr(function, "attr", getattr(function, "id", ""))  # `pow` of `math.pow` and of `pow`
    if name == "Symbol":
        return _leaf(SYMBOL_BITS)
    parts = [extent_of(part) for part in node.args]
    if name in _TUPLES:
        return _combined(parts, is_tuple=True)
    if name in _POWERS and len(parts) > 1:
        return _power(parts[0], node.args[1], parts[1])
    if name in _SHIFTS and len(parts) > 1:
        return _scaled(parts, node.args[1])
    if name in _PRODUCTS:
        return _product(parts)
    if name in _DIVISIONS:
        return _combined(parts, bits=_total_bits(parts))
    return _combined(parts, bits=_sum_bits(parts))


def _leaf(bits: int) -> Extent:
    """The bounds of a number or symbol."""
    return Extent(bits, 1, 1, 1)


def _combined(
    parts: Sequence[Extent], bits: int | None = None, terms: int | None = None, is_tuple: bool = False
) -> Extent:
    """The extent of an operation on these parts.  bits, terms: those of the largest part and of all, unless given."""
    # Terms are added up: a sum of parts has the terms of all of them.
    if bits is None:
        bits = _largest_bits(parts)
    if terms is None:
        terms = max(sum(part.terms for part in parts), 1)
    depth = 1 + max((part.depth for part in parts), default=0)
    nodes = 1 + sum(part.nodes for part in parts)
    return Extent(bits, terms, depth, nodes, is_tuple)


def _largest_bits(parts: Sequence[Extent]) -> int:
    """Bits of the largest of several numbers."""
    return max((part.bits for part in parts), default=1)


def _total_bits(parts: Sequence[Extent]) -> int:
    """Bits of a product of numbers."""
    return sum(part.bits for part in parts)


def _sum_bits(parts: Sequence[Extent]) -> int:
    """Bits of a sum: n numbers below 2**b have one below n 2**b."""
    return _largest_bits(parts) + len(parts).bit_length()


def _product(parts: Sequence[Extent]) -> Extent:
    """The bounds of a product: bits are added, terms multiplied, as in (a + b)(c + d)."""
    return _combined(parts, bits=_total_bits(parts), terms=math.prod(part.terms for part in parts))


def _power(base: Extent, exponent: ast.expr, extent: Extent) -> Extent:
    """The bounds of a power: (a + b)**3 counts as (a + b)(a + b)(a + b).  extent: of the exponent."""
    times = max(_largest(exponent, extent), 1)
    if times > MAX_BITS:  # before `terms ** times` is computed, which would be the very harm
        raise TooLargeError(f"a power of up to {_count(times)}")
    return _combined([base, extent], bits=base.bits * times, terms=base.terms**times)


def _scaled(parts: Sequence[Extent], places: ast.expr) -> Extent:
    """A shift by so many binary places, or a rounding to so many decimal ones."""
    count = _largest(places, parts[1])
    return _combined(parts, bits=parts[0].bits + _DECIMAL_BITS * count)


def _largest(node: ast.expr, extent: Extent) -> int:
    """The largest absolute value of a number: itself where it is written out, else by its bits."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        return _largest(node.operand, extent)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _NUMBERS and node.args:
        return _largest(node.args[0], extent)
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str)):  # a guard may hold None as well
        if math.isfinite(value := float(node.value)):
            return math.ceil(abs(value))
    return 1 << min(extent.bits, MAX_BITS)  # a symbol of 64 bits can be any number below 2**64


def _constant_bits(value: object) -> int:
    """Bits of a constant; of a float those of the fraction that it is exactly, 0.5 = 1 / 2."""
    if isinstance(value, str):
        return _text_bits(value)
    if isinstance(value, int):
        return max(value.bit_length(), 1)
    if isinstance(value, float) and math.isfinite(value):
        return sum(part.bit_length() for part in value.as_integer_ratio())
    return 1


def _text_bits(text: str) -> int:
    """Bits of a number that is written as text, to which sympy may give as many digits as its exponent says."""
    digits = len(text)  # 1e400 has 401 digits when it is written out
    if exponent := _EXPONENT.fullmatch(text):
        digits += int(exponent[1])
    return _DECIMAL_BITS * digits
