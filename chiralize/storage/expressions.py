"""Size expressions and input guards of a `.pt2`: text that torch evaluates as Python, so only arithmetic may pass.

`program` asks before torch reads a file.  The text is parsed, never run; every node of its tree has to be on a list.
A list of what is harmful would miss what nobody thought of.  Both functions answer with the fault, or None:

    size expression    "Max(1, s5 - 8)", "Symbol('s77', positive=True, integer=True)"     sympy's functions by name
    guard              "L['x'].size()[0] >= 2"                                            Python on the inputs L
    refused            "().__class__", "__import__('os')", "9**9**9" (harmless, but it would never end: `extents`)
"""

from __future__ import annotations

import ast
from collections.abc import Hashable
from functools import lru_cache

from chiralize.storage.extents import Extent, TooLargeError, extent_of

MAX_LENGTH = 4000
"""Characters of one expression."""

# What may be called or named, in sizes (functions and constants of sympy and of torch's sympy functions) and in guards
# (functions of Python, methods of tensors, functions of math and torch).
_SIZE_CALLS = frozenset(
    "Symbol Integer Float Rational Add Mul Pow Mod Max Min Abs floor ceiling And Or Not Eq Ne Lt Le Gt Ge "
    "Equality Unequality StrictLessThan LessThan StrictGreaterThan GreaterThan Piecewise ExprCondPair Tuple "
    "FloorDiv ModularIndexing Where PythonMod CleanDiv CeilToInt FloorToInt CeilDiv LShift RShift PowByNatural "
    "FloatPow FloatTrueDiv IntTrueDiv IsNonOverlappingAndDenseIndicator TruncToFloat TruncToInt RoundToInt "
    "RoundDecimal ToFloat Identity".split()
)
_SIZE_NAMES = frozenset({"true", "false", "oo", "int_oo", "nan", "zoo"})
_GUARD_CALLS = frozenset(
    "len int float bool abs min max round pow cast_symbool_to_symint_guardless".split()
    + ["IsNonOverlappingAndDenseIndicator"]
)
_GUARD_METHODS = frozenset({"size", "stride", "storage_offset", "dim", "numel", "item"})
_MATH_NAMES = frozenset({"ceil", "floor", "trunc", "sqrt", "isnan", "inf", "pow", "nan", "fabs"})
_TORCH_NAMES = frozenset({"sym_float", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not", "_sym_sqrt"})
_GUARD_NAMES = frozenset({"L", "inf"}) | _GUARD_CALLS
_PLAIN_NODES = (
    "Expression BoolOp And Or BinOp UnaryOp Not USub UAdd Invert Add Sub Mult Div FloorDiv Mod Pow LShift RShift "
    "BitAnd BitOr Compare Eq NotEq Lt LtE Gt GtE Load keyword IfExp Tuple"
)
"""Nodes of a tree that do no harm whatever they hold."""
_PLAIN: tuple[type[ast.AST], ...] = tuple(getattr(ast, name) for name in _PLAIN_NODES.split())


@lru_cache(4096)
def size_expression_fault(text: Hashable) -> str | None:
    """Why a serialized sympy expression is not plain size arithmetic, or None when it is.

    text: whatever the file has in this place, which need not be a text.  Answers are cached: files repeat expressions.
    """
    tree = _parse(text)
    if isinstance(tree, str):
        return tree
    # A text is harmless where sympy takes it for a name, as the first argument of Symbol; elsewhere it would parse it
    # as an expression, which this check has not seen. Nodes are told apart by id, since equal texts may stand in both.
    symbol_names: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_name(node.func, "Symbol") and node.args:
            symbol_names.add(id(node.args[0]))
    # Whatever no line lets pass is the fault: lambdas, comprehensions, attributes, other names, other calls.
    for node in ast.walk(tree):
        if isinstance(node, _PLAIN):
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _SIZE_CALLS:
            continue
        if isinstance(node, ast.Name) and (node.id in _SIZE_CALLS | _SIZE_NAMES or _is_symbol(node.id)):
            continue
        if isinstance(node, ast.Constant) and _is_number_text(node, quoted=id(node) in symbol_names):
            continue
        return _describe(node)
    # Only now is every part known to be harmless; what is left is how long torch would take over it.
    return _size_fault(tree)


@lru_cache(4096)
def guard_fault(text: Hashable) -> str | None:
    """Why an input guard is not a plain comparison of input sizes and values, or None when it is."""
    tree = _parse(text)
    if isinstance(tree, str):
        return tree
    # Unlike sizes, guards hold texts: L['x'], and comparisons of inputs that are texts.  As operands of arithmetic they
    # would be repeated ('a' * 10**9).
    quotable = _quotable_nodes(tree)
    for node in ast.walk(tree):
        if isinstance(node, (*_PLAIN, ast.Subscript)):
            continue
        if isinstance(node, ast.Call) and _is_guard_call(node.func):
            continue
        # The attribute of a call is a node of its own: `x.size` of `x.size()`.  Alone it is a method that nobody calls.
        if isinstance(node, ast.Attribute) and (_is_guard_call(node) or _is_constant_attribute(node)):
            continue
        if isinstance(node, ast.Name) and node.id in _GUARD_NAMES | {"math", "torch"}:
            continue
        if isinstance(node, ast.Constant) and _is_guard_constant(node, quoted=id(node) in quotable):
            continue
        return _describe(node)
    return _size_fault(tree)


def _quotable_nodes(tree: ast.Expression) -> set[int]:
    """Ids of the nodes of a guard that may be texts: keys, and what is compared."""
    nodes: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            nodes.append(node.slice)
        elif isinstance(node, ast.Compare):
            nodes += [node.left, *node.comparators]
    return set(map(id, nodes))


def _parse(text: object) -> ast.Expression | str:
    """The expression as a tree, or why there is none."""
    if not isinstance(text, str):
        return f"a {type(text).__name__} where text belongs"
    if len(text) > MAX_LENGTH:  # before Python's parser, which takes time and stack for long ones
        return f"{len(text):,} characters long, limit {MAX_LENGTH:,}"
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "not an expression"
    return tree


def _size_fault(tree: ast.Expression) -> str | None:
    """Why an expression would take too long, or None where it would not."""
    try:
        extent_of(tree.body)
    except TooLargeError as error:
        return str(error)
    except RecursionError:
        return "too many nested operations"
    return None


@lru_cache(4096)
def work_of(text: str) -> Extent:
    """How large an expression that has no fault can grow; its bounds tell how long torch will take over it."""
    return extent_of(ast.parse(text, mode="eval").body)


def _is_name(node: ast.expr, name: str) -> bool:
    """Whether a node is this bare name: `math` of `math.inf`."""
    return isinstance(node, ast.Name) and node.id == name


def _is_symbol(name: str) -> bool:
    """Symbols of torch: one to three letters and a number (s77, u0, zf3)."""
    return name.rstrip("0123456789").isalpha() and len(name.rstrip("0123456789")) <= 3 and name[-1].isdigit()


def _is_number_text(node: ast.Constant, quoted: bool) -> bool:
    """Whether a constant is a number below 2**64 in size, or a text that is a number (`Float('0.5')`).

    quoted: it is the name of a Symbol; then a text has to be an identifier, and a number passes all the same.
    """
    value = node.value
    if isinstance(value, str):
        if quoted:
            return value.isidentifier()  # Symbol('s77'): sympy parses the text of anything else
        return _is_decimal(value)
    return value is True or value is False or (isinstance(value, (int, float)) and abs(value) < 2**64)


def _is_decimal(text: str) -> bool:
    """Whether a text is a number, of fewer than 64 characters: a text has no 2**64 to be compared with."""
    try:
        float(text)
    except ValueError:
        return False
    return len(text) < 64


def _is_guard_call(function: ast.expr) -> bool:
    """Whether a guard may call this: a function of Python's, math's or torch's, or a method of a tensor."""
    if isinstance(function, ast.Name):
        return function.id in _GUARD_CALLS
    if not isinstance(function, ast.Attribute):
        return False
    # Modules before methods: of `math.item` the module's list decides, not that of the methods of tensors.
    if _is_name(function.value, "math"):
        return function.attr in _MATH_NAMES
    if _is_name(function.value, "torch"):
        return function.attr in _TORCH_NAMES
    return function.attr in _GUARD_METHODS


def _is_constant_attribute(node: ast.Attribute) -> bool:
    """Whether an attribute that is not called may stand in a guard: `math.inf`."""
    return _is_name(node.value, "math") and node.attr in _MATH_NAMES


def _is_guard_constant(node: ast.Constant, quoted: bool) -> bool:
    """Whether a constant may stand in a guard: None, a number, or, where it is a key or compared, a plain text."""
    # Unlike in sizes, a text that is a number is no number here: `quoted` is asked of every text.
    if isinstance(node.value, str):
        return quoted and is_plain_text(node.value)
    return node.value is None or _is_number_text(node, quoted=False)


def is_plain_text(text: str) -> bool:
    """Letters, digits and ` _.-:/@,+`: cannot end a quoted text in generated Python."""
    return len(text) < 200 and all(c.isascii() and (c.isalnum() or c in " _.-:/@,+") for c in text)


def _describe(node: ast.AST) -> str:
    """A node for a message: `Attribute '().__class__'`."""
    shown = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
    return f"{type(node).__name__} {shown[:60]!r}"
