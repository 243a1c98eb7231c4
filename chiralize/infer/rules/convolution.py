"""Convolutions over any number of axes, and their transposes.

What a convolution demands of an axis depends on the kernel there:

    kernel 1                    `p, 1 -> p`: the axis passes, whatever acts on it (a stride picks entries)
    kernel as long as the axis  `p, p -> 1`: the axis is summed over, like channels (without padding)
    any other                   `1t, 1k -> 1t`: the order of the entries matters

so that a 1 x 1 convolution takes joints along, and one of 1 x V is a linear map of channels x joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from chiralize.infer.registry import Call, Operand, Results, Sample, Uniform, normal, zeros
from chiralize.infer.rules import _equation
from chiralize.infer.rules._families import rule, tensor, unless_zero, vanishes
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.symbolic import SymbolicRepresentation, axis_size

_LETTERS = "pqrs"
_SAME = -1


@dataclass(frozen=True)
class _Window:
    """The kernel along one axis: its sizes, and how its place in input, weight and output is written."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    grows: int
    transposed: bool

    @property
    def passes(self) -> bool:
        return self.kernel == 1 and self.grows == 0 and self.padding <= 0

    @property
    def covers(self) -> bool:
        """The whole axis at once: an input (of a transposed convolution: an output) that is one kernel long."""
        if self.padding or self.dilation != 1 or self.grows:
            return False
        return self.size == (1 if self.transposed else self.kernel)

    def words(self, letter: str) -> tuple[str, str, str]:
        """Tokens of the axis in the equation: input, weight, output."""
        if self.passes and (self.stride == 1 or not self.transposed):
            return letter, "1k", letter
        if self.covers:
            return ("1t", letter, letter) if self.transposed else (letter, letter, "1t")
        return "1t", "1k", "1t"


def _windows(call: Call) -> list[_Window]:
    x, kernel = tensor(call["input"]), tensor(call["weight"]).shape[2:]
    count = len(kernel)

    def each(name: str, default: int) -> Sequence[int]:
        given = call.get(name, default)
        given = {"same": _SAME, "valid": 0}.get(given, default) if isinstance(given, str) else given
        listed = list(given) if isinstance(given, (list, tuple)) else [given]
        return listed * count if len(listed) == 1 else listed

    numbers = zip(
        x.shape[-count:], kernel, each("stride", 1), each("padding", 0), each("dilation", 1),
        each("output_padding", 0), strict=True,
    )  # fmt: skip
    return [
        _Window(size, length, stride, padding, dilation, grows, is_transposed(call))
        for size, length, stride, padding, dilation, grows in numbers
    ]


def is_transposed(call: Call) -> bool:
    """Whether the op is the adjoint of a convolution."""
    return "conv_transpose" in call.target or bool(call.get("transposed", False))


def convolve(call: Call) -> Results:
    """The equation of one call: which axes pass, are summed over, or have to be left alone."""
    if vanishes(call, ("input", "weight"), "bias"):
        return Uniform(call.shape, True)
    solver, windows = call.solver, _windows(call)
    groups, transposed = call.get("groups", 1), is_transposed(call)
    x, weight, bias = tensor(call["input"]), tensor(call["weight"]), unless_zero(call.get("bias"))
    x = _strided(x, windows, solver)
    words = [window.words(letter) for window, letter in zip(windows, _LETTERS, strict=False)]
    given, kernel, written = (" ".join(column) for column in zip(*words, strict=True))
    channels = "i o" if transposed else "o i"
    shape = call.shape
    if groups == 1:
        text = f"+... i {given}, {channels} {kernel}, o -> +... o {_plus(written)}"
    else:
        text = f"+... g i {given}, |g| {channels} {kernel}, g o -> +... g o {_plus(written)}"
        place = len(shape) - len(windows) - 1
        x, weight = _grouped(x, place, groups, solver), _grouped(weight, 0, groups, solver)
        bias = _grouped(bias, 0, groups, solver) if bias is not None else None
        shape = (*shape[:place], groups, shape[place] // groups, *shape[place + 1 :])
    operands = [x, weight] if bias is None else [x, weight, bias]
    parsed = _equation.parse(text if bias is not None else text.replace("+", ""))
    used = _equation.Equation(parsed.text, parsed.inputs[: len(operands)], parsed.outputs)
    out = _equation.apply(used, operands, replace(call, shapes=(shape,)))[0]
    if groups == 1:
        return out
    merged = solver.regroup(out.axes, call.shape)
    return solver.representation(SymbolicRepresentation(tuple(merged), out.sign))


def _plus(written: str) -> str:
    """The output's own axes carry no signs next to a bias."""
    return " ".join(word if word.startswith("1") else f"+{word}" for word in written.split())


def _strided(x: Operand, windows: Sequence[_Window], solver: Solver) -> Operand:
    """The entries that a kernel of size 1 looks at."""
    rep, first = x.rep, x.ndim - len(windows)
    for place, window in enumerate(windows, first):
        if window.passes and window.stride > 1 and not window.transposed:
            entries = range(0, window.size, window.stride)
            rep = rep.with_axis(place, solver.pick(rep.axes[place], entries))
    return Operand(solver.representation(rep), x.constant, x.zero)


def _grouped(operand: Operand, place: int, groups: int, solver: Solver) -> Operand:
    """An axis as (groups, entries of a group)."""
    rep = solver.representation(operand.rep)
    parts = solver.regroup([rep.axes[place]], [groups, axis_size(rep.axes[place]) // groups])
    axes = (*rep.axes[:place], *parts, *rep.axes[place + 1 :])
    return Operand(SymbolicRepresentation(axes, rep.sign), operand.constant, operand.zero)


def _macs(call: Call) -> int:
    """Every weight of an output (of a transposed convolution: an input) channel once per position."""
    positions = tensor(call["input"]).shape if is_transposed(call) else call.shape
    return prod(positions) * prod(tensor(call["weight"]).shape[1:])


def _sample(*shapes: tuple[int, ...], args: tuple[object, ...] = ()) -> Sample:
    """Input, weight and perhaps bias, then the other arguments."""
    bias = (None,) if args and len(shapes) == 2 else ()
    return Sample((*(normal(*shape) for shape in shapes), *bias, *args), {}, frozenset(range(1, len(shapes))))


_STATEMENT = (
    "`+... i a, o i b, o -> +... o c`; along an axis `a, b -> c` is `p, 1 -> p` for a kernel of size 1, `p, p -> 1` "
    "for one as long as the axis, else `1t, 1k -> 1t`; `+` only with a bias that is not zero; "
    "grouped: `(g i)`, `(|g| o) i`, `(g o)`"
)

rule("convolution", "aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default", "aten.conv1d.padding",
     "aten.conv2d.padding", "aten.conv3d.padding",
     statement=_STATEMENT, macs=_macs,
     samples={
         "aten.conv1d.default": [
             _sample((2, 4, 5), (4, 4, 3), (4,)), _sample((2, 4, 5), (3, 4, 2)),
             _sample((2, 4, 5), (4, 2, 3), (4,), args=([1], [0], [1], 2)),
             _sample((2, 4, 5), (4, 1, 3), (4,), args=([2], [1], [2], 4)),
             _sample((2, 3, 4), (3, 3, 2), (3,)), _sample((3, 4), (2, 3, 1), (2,)), _sample((2, 3, 4), (2, 3, 4)),
             _sample((2, 3, 4), (2, 3, 1), (2,), args=([2],)),
             Sample((normal(2, 3, 4), normal(2, 3, 1), zeros(2)), {}, frozenset({1, 2})),
             Sample((normal(2, 3, 4), zeros(2, 3, 1))),
         ],
         "aten.conv2d.default": [
             _sample((2, 3, 3, 4), (2, 3, 1, 1), (2,)), _sample((1, 2, 3, 4), (2, 2, 2, 1), args=([1, 1], [1, 0])),
             _sample((1, 2, 3, 4), (2, 2, 1, 4), (2,)), _sample((1, 2, 4, 3), (2, 2, 4, 3)),
             _sample((1, 2, 3, 4), (4, 1, 3, 1), args=([2, 1], [1, 0], [1, 1], 2)),
             _sample((1, 2, 3, 4), (2, 2, 1, 3), (2,), args=([1, 1], [0, 1])),
         ],
         "aten.conv3d.default": [_sample((1, 2, 3, 4, 2), (2, 2, 2, 1, 1), (2,))],
         "aten.conv1d.padding": [_sample((2, 4, 5), (4, 4, 3), (4,), args=([1], "same"))],
         "aten.conv2d.padding": [_sample((1, 2, 3, 4), (2, 2, 3, 1), (2,), args=([1, 1], "same")),
                                 _sample((1, 2, 3, 4), (2, 2, 1, 4), (2,), args=([1, 1], "valid"))],
         "aten.conv3d.padding": [_sample((1, 2, 3, 2, 4), (2, 2, 3, 1, 1), args=([1, 1, 1], "same"))],
     })(convolve)  # fmt: skip

rule("transposed convolution", "aten.conv_transpose1d.default", "aten.conv_transpose2d.input",
     "aten.conv_transpose3d.input",
     statement="`+... i a, i o b, o -> +... o c`; along an axis as a convolution, with `1, p -> p` where it has one "
               "entry; grouped: `(g i)`, `(|g| i) o`, `(g o)`", macs=_macs,
     samples={
         "aten.conv_transpose1d.default": [
             _sample((2, 4, 5), (4, 4, 3), (4,)), _sample((2, 4, 5), (4, 3, 3)), _sample((2, 3, 4), (3, 2, 1), (2,)),
             _sample((2, 4, 3), (4, 2, 2), (4,), args=([2], [0], [0], 2)), _sample((2, 3, 1), (3, 2, 4), (2,)),
         ],
         "aten.conv_transpose2d.input": [
             _sample((1, 2, 3, 4), (2, 2, 2, 1), (2,), args=([2, 1], [0, 0], [1, 0])),
             _sample((1, 2, 2, 1), (2, 2, 1, 4)),
         ],
         "aten.conv_transpose3d.input": [_sample((1, 2, 3, 4, 1), (2, 2, 2, 1, 2), (2,))],
     })(convolve)  # fmt: skip


def _plain(*shapes: tuple[int, ...], transposed: bool = False, groups: int = 1) -> Sample:
    """Arguments of a convolution in the form that compiled and traced code calls."""
    count = len(shapes[0]) - 2
    numbers = ([1] * count, [0] * count, [1] * count, transposed, [0] * count, groups)
    return _sample(*shapes, args=numbers)


_PLAIN = [_plain((2, 4, 5), (4, 4, 3), (4,)), _plain((2, 4, 5), (4, 4, 3), transposed=True),
          _plain((2, 4, 5), (4, 2, 3), (4,), groups=2), _plain((1, 2, 3, 4), (2, 2, 2, 1), (2,))]  # fmt: skip

rule("convolution, as traced code calls it", "aten.convolution.default", "aten._convolution.default",
     macs=_macs, statement="as the convolutions above",
     samples={"aten.convolution.default": _PLAIN,
              "aten._convolution.default": [
                  Sample((*sample.args, False, False, True, True), {}, sample.parameters) for sample in _PLAIN
              ]})(convolve)  # fmt: skip
