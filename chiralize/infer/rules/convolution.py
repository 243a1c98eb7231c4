"""Convolutions over any number of axes, and their transposes.

What a convolution demands of an axis depends on the kernel there:

    kernel 1                    `p, 1 -> p`: the axis passes, whatever acts on it (a stride picks entries)
    kernel as long as the axis  `p, p -> 1`: the axis is summed over, like channels (without padding)
    any other                   `1t, 1k -> 1t`: the order of the entries matters; or `~t, ~k -> ~t`, all reversed,
                                where the windows lie as they do seen from the other end (`_turning.py`)

so that a 1 x 1 convolution takes joints along, and one of 1 x V is a linear map of channels x joints.

Axes are treated apart for that reason. Those whose order matters are settled one by one (`_slid`) and taken away from
input and weight. What is left is an equation of channels and of the other axes (`_contracted`), and the settled axes
are put back into its result. For a kernel of 3 x 1 on "batch channel frame joint" the frames are settled and the
equation is `+... i p, o i 1k, o -> +... o +p` with p the joints, and without a bias the same without any `+`.

Along one axis, of stride s, padding p and dilation d, output o is the sum over j of w[j] x[s o - p + d j]. Three
weights on a row of 5 entries that the mirror reverses:

    y[0] = w0 x0 + w1 x1 + w2 x2        y[2] = w0 x2 + w1 x3 + w2 x4

x reversed has to give y reversed: w0 x4 + w1 x3 + w2 x2 = y[2] for all x, so that w0 = w2, the kernel reversed as well.
With several channels the weights of a pair of channels are those of its mirrored pair reversed, up to signs.

Shapes: input "batch channel *axes", the batch may be absent; weight "out in/groups *window", of a transposed
convolution "in out/groups *window"; bias "out".

`_SAME` stands for padding "same", of which one entry more lies at the end where the kernel has an even length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from chiralize.graph.traits import Adjoint, Contraction
from chiralize.graph.windows import Windows
from chiralize.infer.registry import Call, Operand, Results, Sample, Shape, Uniform, normal, normals, sample, zeros
from chiralize.infer.rules import _equation
from chiralize.infer.rules._families import op, per_axis, rule, tensor, unless_zero, vanishes
from chiralize.infer.rules._turning import end_to_end, from_one_end, read_by, turned_or_still
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation, axis_size

_LETTERS = "pqrs"
_SAME = -1


@dataclass(frozen=True)
class _Window:
    """The kernel along one axis: its sizes, and how its place in input, weight and output is written.

    size: entries of the input.  count: entries of the output.  kernel: entries of the weight.
    padding: entries added at either end of the input, or `_SAME`.  grows: `output_padding`, of a transposed convolution
    entries more at the end of the output.
    """

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    grows: int
    transposed: bool
    count: int

    @property
    def order_matters(self) -> bool:
        """Whether the kernel is neither one entry nor as long as the axis."""
        # A transposed kernel of one entry with a stride of 2 writes entries 0, 2, 4 and leaves zeros between: the
        # output is another axis than the input, in which it matters where they lie.
        return not (self.passes and (self.stride == 1 or not self.transposed)) and not self.covers

    @property
    def layout(self) -> Windows:
        """Where the windows lie: of a transposed convolution, on its result, as many as there are entries."""
        # "same" adds d (k - 1) entries in all. Half of them, rounded down, stand in front.
        if self.padding == _SAME:
            before = self.dilation * (self.kernel - 1) // 2
        else:
            before = self.padding
        size, count = (self.count, self.size) if self.transposed else (self.size, self.count)
        return Windows(size, count, self.kernel, self.stride, before, self.dilation)

    @property
    def refusal(self) -> str:
        """Why the whole axis cannot be reversed, and which sizes near its own could be."""
        if self.transposed:
            return f"a transposed convolution whose output_padding of {self.grows} lies at one end of the axis"
        layout = self.layout
        # An odd number of entries added by "same" leaves one more behind the axis than in front of it.
        uneven = self.padding == _SAME and self.dilation * (self.kernel - 1) % 2
        return from_one_end(layout, layout.before + 1 if uneven else None)

    @property
    def passes(self) -> bool:
        """A kernel of one entry, whatever acts on the axis."""
        return self.kernel == 1 and self.grows == 0 and self.padding <= 0

    @property
    def covers(self) -> bool:
        """The whole axis at once: an input (of a transposed convolution: an output) that is one kernel long."""
        # With padding the kernel stands at several places, and reads zeros beside the axis.
        if self.padding or self.dilation != 1 or self.grows:
            return False
        return self.size == (1 if self.transposed else self.kernel)

    def words(self, letter: str) -> tuple[str, str, str]:
        """Tokens of an axis whose order does not matter in the equation: input, weight, output."""
        # A kernel of one entry on an axis of one entry both covers and passes: to pass demands less of it.
        # A covered axis is summed over like channels. The adjoint makes such an axis out of one entry.
        if self.covers and not self.passes:
            if self.transposed:
                return "1t", letter, letter
            return letter, letter, "1t"
        return letter, "1k", letter


def _windows(call: Call) -> list[_Window]:
    """The kernel along every axis behind the channels, in the order of these axes.

    Options that the op does not have are taken to be stride 1, no padding, dilation 1.
    """
    x, kernel = tensor(call["input"]), tensor(call["weight"]).shape[2:]
    count = len(kernel)

    def each(name: str, default: int) -> Sequence[int]:
        """An option, a number for every axis."""
        given = call.get(name, default)
        # Padding by a word; "same" depends on the kernel and is worked out in `layout`.
        if isinstance(given, str):
            given = {"same": _SAME, "valid": 0}.get(given, default)
        return per_axis(given, count)

    options = [each("stride", 1), each("padding", 0), each("dilation", 1), each("output_padding", 0)]
    windows: list[_Window] = []
    for size, length, written, *numbers in zip(x.shape[-count:], kernel, call.shape[-count:], *options, strict=True):
        stride, padding, dilation, grows = numbers
        windows.append(_Window(size, length, stride, padding, dilation, grows, is_transposed(call), written))
    return windows


def is_transposed(call: Call) -> bool:
    """Whether the op is the adjoint of a convolution."""
    return "conv_transpose" in call.target or bool(call.get("transposed", False))


def convolve(call: Call) -> Results:
    """The equation of one call: which axes pass, are summed over, or have to be left alone or reversed together.

    Returns the representation of the result, a `Uniform` where that is zero. Raises Conflict where an axis is moved in
    any other way.
    """
    # Zeros times anything: the result fits whatever reads it, and says nothing of the weights.
    if vanishes(call, ("input", "weight"), "bias"):
        return Uniform(call.shape, True)
    solver, windows = call.solver, _windows(call)
    # Axes are numbered from 0 behind the channels; counted from the end of a tensor, `number - behind`.
    x = _strided(tensor(call["input"]), windows, solver)
    ordered = [number for number, window in enumerate(windows) if window.order_matters]
    written = {number: _slid(call, x, windows, number) for number in ordered}
    # Settled axes leave input and weight: what T does there agrees by now, and the equation is one of all others.
    behind = len(windows)
    others = [number for number in range(behind) if number not in written]
    x = _without(x, [number - behind for number in ordered], solver)
    weight = _without(tensor(call["weight"]), [number - behind for number in ordered], solver)
    # The equation's result: batch and channels, and of the axes behind them those that were not settled.
    lead = call.shape[:-behind]
    shape = (*lead, *(call.shape[number - behind] for number in others))
    out = _contracted(call, x, weight, [windows[number] for number in others], shape)
    # Batch and channels, then the axes behind them: those that were settled, and those of the equation in between.
    axes = [*out.axes[: len(lead)]]
    rest = iter(out.axes[len(lead) :])
    for number in range(behind):
        axes.append(written[number] if number in written else next(rest))
    return solver.representation(SymbolicRepresentation(tuple(axes), out.sign))


def _slid(call: Call, x: Operand, windows: Sequence[_Window], number: int) -> Axis:
    """The result's axis of which the order matters, and those of input and weight that are reversed with it or not."""
    window, position = windows[number], number - len(windows)
    rep = call.solver.representation(x.rep)
    kernel = call.solver.representation(tensor(call["weight"]).rep).axes[position]
    # Of a transposed convolution every entry is used, and the windows lie on the result (`layout`). Of others the
    # mirror may do anything to entries that no window reads, and turns the rest about the middle of what is read.
    if window.transposed:
        read = end_to_end(rep.axes[position])
    else:
        read = read_by(window.layout, rep.axes[position])
    refusal = "" if window.layout.is_symmetric else window.refusal
    # Entries that output_padding adds at the end alone would be in front in the other view.
    possible = not (window.transposed and window.grows)
    return turned_or_still(call, [read, end_to_end(kernel)], window.count, f"out {number}", refusal, possible)


def _without(operand: Operand, positions: Sequence[int], solver: Solver) -> Operand:
    """The operand without axes that are settled already; a sign of one of them is the sign of the whole."""
    rep = solver.representation(operand.rep)
    dropped = {position % operand.ndim for position in positions}
    axes = tuple(axis for position, axis in enumerate(rep.axes) if position not in dropped)
    return replace(operand, rep=SymbolicRepresentation(axes, rep.sign))


def _contracted(
    call: Call, x: Operand, weight: Operand, windows: Sequence[_Window], shape: Shape
) -> SymbolicRepresentation:
    """The equation of channels, and of axes whose order does not matter.

    x is "... in *axes", weight "out in *windows" (see above), both without the settled axes; windows: of the axes that
    are left.  shape: of the result without the settled axes.  Returns its representation.
    """
    solver, groups, transposed = call.solver, call.get("groups", 1), is_transposed(call)
    bias = unless_zero(call.get("bias"))
    words = [window.words(letter) for window, letter in zip(windows, _LETTERS, strict=False)]
    # Tokens by axis, (input, weight, output), become a text for each tensor: (p, 1k, p), (q, q, 1t) to "p q", "1k q",
    # "p 1t". A kernel whose axes are all settled leaves none.
    columns = map(" ".join, zip(*words, strict=True)) if words else ("", "", "")
    given, kernel, written = columns
    # A transposed convolution has its weight as "in out window", any other as "out in window".
    channels = "i o" if transposed else "o i"
    equation_shape = shape
    if groups == 1:
        text = f"+... i {given}, {channels} {kernel}, o -> +... o {_plus(written)}"
    else:
        # The weight has an axis for outputs of all groups, (g o), and one for inputs of one group, i. Groups may be
        # permuted; the weight follows with |g|, as the signs of g are the input's and the output's.
        text = f"+... g i {given}, |g| {channels} {kernel}, g o -> +... g o {_plus(written)}"
        # The groups stand in its first axis in both cases: (g o), of a transposed convolution (g i).
        channel = len(shape) - len(windows) - 1
        x, weight = _grouped(x, channel, groups, solver), _grouped(weight, 0, groups, solver)
        bias = _grouped(bias, 0, groups, solver) if bias is not None else None
        equation_shape = (*shape[:channel], groups, shape[channel] // groups, *shape[channel + 1 :])
    operands = [operand for operand in (x, weight, bias) if operand is not None]
    # Without a bias nothing forbids signs, `+`, and the third pattern has no operand.
    parsed = _equation.parse(text if bias is not None else text.replace("+", ""))
    used = _equation.Equation(parsed.text, parsed.inputs[: len(operands)], parsed.outputs)
    out = _equation.apply(used, operands, replace(call, shapes=(equation_shape,)))[0]
    if groups == 1:
        return out
    # (g o) as one axis of channels again.
    return SymbolicRepresentation(tuple(solver.regroup(out.axes, shape)), out.sign)


def _plus(written: str) -> str:
    """The output's own axes carry no signs next to a bias, which is added to all their entries: "p 1t" to "+p 1t"."""
    return " ".join(f"+{word}".replace("+1", "1") for word in written.split())


def _strided(x: Operand, windows: Sequence[_Window], solver: Solver) -> Operand:
    """The input of which a kernel of size 1 sees all entries: those that its stride leaves out are taken away."""
    rep, first = x.rep, x.ndim - len(windows)
    # A 1 x 1 kernel with stride 2 reads entries 0, 2, 4, ...: a list, which the mirror has to take to itself.
    for dim, window in enumerate(windows, first):
        if window.passes and window.stride > 1 and not window.transposed:
            entries = range(0, window.size, window.stride)
            rep = rep.with_axis(dim, solver.pick(rep.axes[dim], entries))
    return Operand(solver.representation(rep), x.constant, x.zero)


def _grouped(operand: Operand, dim: int, groups: int, solver: Solver) -> Operand:
    """The operand with the axis `dim` as two, (groups, entries of a group).

    Raises Conflict where the mirror is no product of one of groups and one inside them, Wait while it may be.
    """
    rep = solver.representation(operand.rep)
    parts = solver.regroup([rep.axes[dim]], [groups, axis_size(rep.axes[dim]) // groups])
    axes = (*rep.axes[:dim], *parts, *rep.axes[dim + 1 :])
    return Operand(SymbolicRepresentation(axes, rep.sign), operand.constant, operand.zero)


def _macs(call: Call) -> int:
    """Every weight of an output (of a transposed convolution: an input) channel once per position.

    Positions count batch and channels: each output channel has in/groups times kernel weights, `weight.shape[1:]`.
    """
    positions = tensor(call["input"]).shape if is_transposed(call) else call.shape
    return prod(positions) * prod(tensor(call["weight"]).shape[1:])


def _weighted(*shapes: tuple[int, ...], args: tuple[object, ...] = ()) -> Sample:
    """Input, weight and perhaps bias by their shapes, then the other arguments: stride, padding, dilation, groups.

    All but the input are weights, which the oracle projects.
    """
    # Where other arguments follow, a bias that is not given stands as None between.
    absent = (None,) if args and len(shapes) == 2 else ()
    return sample(*normals(*shapes), *absent, *args, weights=range(1, len(shapes)))


@rule(
    "convolution",
    "`+... i a, o i b, o -> +... o c`; along an axis `a, b -> c` is `p, 1 -> p` for a kernel of size 1, `p, p -> 1` "
    "for one as long as the axis, else `1t, 1k -> 1t`, or all reversed, `~t, ~k -> ~t`, where that takes windows to "
    "windows; `+` only with a bias that is not zero; grouped: `(g i)`, `(|g| o) i`, `(g o)`",
    macs=_macs,
    trait=Contraction("bias", is_layer=True, is_windowed=True),
)
@op("conv1d", _weighted((2, 4, 5), (4, 4, 3), (4,)), _weighted((2, 4, 5), (3, 4, 2)))
@op("conv1d", _weighted((2, 4, 5), (4, 2, 3), (4,), args=([1], [0], [1], 2)))
@op("conv1d", _weighted((2, 4, 5), (4, 1, 3), (4,), args=([2], [1], [2], 4)), _weighted((2, 3, 4), (3, 3, 2), (3,)))
@op("conv1d", _weighted((3, 4), (2, 3, 1), (2,)), _weighted((2, 3, 4), (2, 3, 4)))
@op("conv1d", _weighted((2, 3, 4), (2, 3, 1), (2,), args=([2],)))
@op("conv1d", sample(normal(2, 3, 4), normal(2, 3, 1), zeros(2), weights={1, 2}))
@op("conv1d", sample(normal(2, 3, 4), zeros(2, 3, 1)))
@op("conv1d", _weighted((2, 3, 4), (2, 3, 3), (2,), args=([1], [1])), _weighted((1, 2, 4), (2, 2, 3), args=([2], [1])))
@op("conv2d", _weighted((2, 3, 3, 4), (2, 3, 1, 1), (2,)))
@op("conv2d", _weighted((1, 2, 3, 4), (2, 2, 2, 1), args=([1, 1], [1, 0])))
@op("conv2d", _weighted((1, 2, 3, 4), (2, 2, 1, 4), (2,)), _weighted((1, 2, 4, 3), (2, 2, 4, 3)))
@op("conv2d", _weighted((1, 2, 3, 4), (4, 1, 3, 1), args=([2, 1], [1, 0], [1, 1], 2)))
@op("conv2d", _weighted((1, 2, 3, 4), (2, 2, 1, 3), (2,), args=([1, 1], [0, 1])))
@op("conv3d", _weighted((1, 2, 3, 4, 2), (2, 2, 2, 1, 1), (2,)))
@op("conv1d.padding", _weighted((2, 4, 5), (4, 4, 3), (4,), args=([1], "same")))
@op("conv2d.padding", _weighted((1, 2, 3, 4), (2, 2, 3, 1), (2,), args=([1, 1], "same")))
@op("conv2d.padding", _weighted((1, 2, 3, 4), (2, 2, 1, 4), (2,), args=([1, 1], "valid")))
@op("conv3d.padding", _weighted((1, 2, 3, 2, 4), (2, 2, 3, 1, 1), args=([1, 1, 1], "same")))
def convolution(call: Call) -> Results:
    """A window of weights moved along the last axes."""
    return convolve(call)


@rule(
    "transposed convolution",
    "`+... i a, i o b, o -> +... o c`; along an axis as a convolution, with `1, p -> p` where it has one entry and "
    "nothing reversed with an output padding; "
    "grouped: `(g i)`, `(|g| i) o`, `(g o)`",
    macs=_macs,
    trait=Adjoint("bias", is_layer=True),
)
@op("conv_transpose1d", _weighted((2, 4, 5), (4, 4, 3), (4,)), _weighted((2, 4, 5), (4, 3, 3)))
@op("conv_transpose1d", _weighted((2, 3, 4), (3, 2, 1), (2,)))
@op("conv_transpose1d", _weighted((2, 4, 3), (4, 2, 2), (4,), args=([2], [0], [0], 2)))
@op("conv_transpose1d", _weighted((2, 3, 1), (3, 2, 4), (2,)))
@op("conv_transpose1d", _weighted((1, 2, 4), (2, 2, 3), (2,), args=([2], [1])))
@op("conv_transpose1d", _weighted((1, 2, 4), (2, 2, 3), args=([2], [1], [1])))
@op("conv_transpose2d.input", _weighted((1, 2, 3, 4), (2, 2, 2, 1), (2,), args=([2, 1], [0, 0], [1, 0])))
@op("conv_transpose2d.input", _weighted((1, 2, 2, 1), (2, 2, 1, 4)))
@op("conv_transpose3d.input", _weighted((1, 2, 3, 4, 1), (2, 2, 2, 1, 2), (2,)))
def transposed_convolution(call: Call) -> Results:
    """The adjoint of a convolution: every entry adds its window of weights to the result."""
    return convolve(call)


def _traced(*shapes: tuple[int, ...], transposed: bool = False, groups: int = 1) -> Sample:
    """Arguments of a convolution in the form that compiled and traced code calls."""
    count = len(shapes[0]) - 2
    return _weighted(*shapes, args=([1] * count, [0] * count, [1] * count, transposed, [0] * count, groups))


_TRACED = [
    _traced((2, 4, 5), (4, 4, 3), (4,)),
    _traced((2, 4, 5), (4, 4, 3), transposed=True),
    _traced((2, 4, 5), (4, 2, 3), (4,), groups=2),
    _traced((1, 2, 3, 4), (2, 2, 2, 1), (2,)),
]
_CUDNN_FLAGS = (False, False, True, True)


@rule(
    "convolution, as traced code calls it",
    "as the convolutions above",
    macs=_macs,
    trait=Adjoint("bias", is_layer=True, switch="transposed"),
)
@op("convolution", *_TRACED)
@op("_convolution", *(replace(traced, args=(*traced.args, *_CUDNN_FLAGS)) for traced in _TRACED))
def traced_convolution(call: Call) -> Results:
    """A convolution or its transpose, with all its options as arguments."""
    return convolve(call)
