"""How do convolutions over any number of axes transform, and their transposes?

What a convolution demands of an axis depends on the kernel there:

    kernel 1                    `p, 1 -> p`: the axis passes, whatever acts on it (a stride picks entries)
    kernel as long as the axis  `p, p -> 1`: the axis is summed over, like channels (without padding)
    any other                   `1t, 1k -> 1t`: the order of the entries matters; or `~t, ~k -> ~t`, all reversed,
                                where the windows lie as they do seen from the other end (`sliding`)

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

Shapes: input "batch channel *axes"; weight "out in/groups *window", of a transposed convolution
"in out/groups *window"; bias "out".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chiralize.graph.traits import Contraction
from chiralize.graph.windows import Windows
from chiralize.infer.rule import Answer, Call, Operand, Shape, Uniform, rule
from chiralize.infer.rules import _equation
from chiralize.infer.rules.declare import per_axis, tensor, unless_zero
from chiralize.infer.rules.sliding import end_to_end, from_one_end, read_by, turned_or_still
from chiralize.infer.solver.unify import Solver
from chiralize.infer.symbolic import Axis, SymbolicRepresentation, axis_size

_LETTERS = "pqrs"


@dataclass(frozen=True)
class _Kernel:
    """The kernel along one axis: where its windows lie, and how its place in input, weight and output is written.

    windows: on the input, of a transposed convolution on its result, as many as there are entries to read.
    grows: `output_padding`, of a transposed convolution entries more at the end of the output.
    """

    windows: Windows
    transposed: bool
    grows: int

    @property
    def order_matters(self) -> bool:
        """Whether the kernel is neither one entry nor as long as the axis."""
        # A transposed kernel of one entry with a stride of 2 writes entries 0, 2, 4 and leaves zeros between: the
        # output is another axis than the input, in which it matters where they lie.
        return not (self.passes and (self.windows.stride == 1 or not self.transposed)) and not self.covers

    @property
    def passes(self) -> bool:
        """A kernel of one entry, whatever acts on the axis."""
        return self.windows.kernel == 1 and self.grows == 0 and self.windows.before == 0

    @property
    def covers(self) -> bool:
        """The whole axis at once: an input (of a transposed convolution: an output) that is one kernel long."""
        # With padding the kernel stands at several places, and reads zeros beside the axis.
        if self.windows.before or self.windows.dilation != 1 or self.grows:
            return False
        if self.transposed:
            return self.windows.count == 1
        return self.windows.size == self.windows.kernel

    @property
    def outputs(self) -> int:
        """Entries of the result along the axis."""
        return self.windows.size if self.transposed else self.windows.count

    @property
    def refusal(self) -> str:
        """Why the whole axis cannot be reversed, and which sizes near its own could be."""
        if self.transposed:
            return f"a transposed convolution whose output_padding of {self.grows} lies at one end of the axis"
        return from_one_end(self.windows)

    def words(self, letter: str) -> tuple[str, str, str]:
        """Tokens of an axis whose order does not matter in the equation: input, weight, output."""
        # A kernel of one entry on an axis of one entry both covers and passes: to pass demands less of it.
        # A covered axis is summed over like channels. The adjoint makes such an axis out of one entry.
        if self.covers and not self.passes:
            return ("1t", letter, letter) if self.transposed else (letter, letter, "1t")
        return letter, "1k", letter


def _kernels(call: Call) -> list[_Kernel]:
    """The kernel along every axis behind the channels, in the order of these axes."""
    x, lengths = tensor(call["input"]), tensor(call["weight"]).shape[2:]
    count, transposed = len(lengths), bool(call.get("transposed", False))
    usual = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
    options = [per_axis(call.get(name, number), count) for name, number in usual.items()]
    kernels: list[_Kernel] = []
    for size, out, length, *numbers in zip(x.shape[-count:], call.shape[-count:], lengths, *options, strict=True):
        stride, padding, dilation, grows = numbers
        on, many = (out, size) if transposed else (size, out)
        kernels.append(_Kernel(Windows(on, many, length, stride, padding, dilation), transposed, grows))
    return kernels


@rule(
    "convolution conv1d conv2d conv3d",
    "`+... i a, o i b, o -> +... o c`; along an axis `a, b -> c` is `p, 1 -> p` for a kernel of size 1, `p, p -> 1` "
    "for one as long as the axis (transposed: `1, p -> p`), else `1t, 1k -> 1t`, or all reversed, `~t, ~k -> ~t`, "
    "where that takes windows to windows; `+` only with a bias that is not zero; grouped: `(g i)`, `(|g| o) i`, "
    "`(g o)`",
    Contraction("bias", is_layer=True, is_windowed=True),
)
def convolve(call: Call) -> Answer:
    """A window of weights moved along the last axes, or its adjoint: every entry adds its window to the result.

    Returns the representation of the result, a `Uniform` where that is zero. Raises Conflict where an axis is moved in
    any way that is not possible.
    """
    # Zeros times anything: the result fits whatever reads it, and says nothing of the weights.
    if unless_zero(call.get("bias")) is None and (tensor(call["input"]).zero or tensor(call["weight"]).zero):
        return Uniform(call.shape, True)
    solver, kernels = call.solver, _kernels(call)
    # Axes are numbered from 0 behind the channels; counted from the end of a tensor, `number - behind`.
    x = _strided(tensor(call["input"]), kernels, solver)
    ordered = [number for number, kernel in enumerate(kernels) if kernel.order_matters]
    written = {number: _slid(call, x, kernels[number], number - len(kernels)) for number in ordered}
    # Settled axes leave input and weight: what T does there agrees by now, and the equation is one of all others.
    behind = len(kernels)
    others = [number for number in range(behind) if number not in written]
    x = _without(x, [number - behind for number in ordered], solver)
    weight = _without(tensor(call["weight"]), [number - behind for number in ordered], solver)
    # The equation's result: batch and channels, and of the axes behind them those that were not settled.
    lead = call.shape[:-behind]
    shape = (*lead, *(call.shape[number - behind] for number in others))
    out = _contracted(call, x, weight, [kernels[number] for number in others], shape)
    # Batch and channels, then the axes behind them: those that were settled, and those of the equation in between.
    rest = iter(out.axes[len(lead) :])
    axes = [*out.axes[: len(lead)]]
    for number in range(behind):
        axes.append(written[number] if number in written else next(rest))
    return solver.representation(SymbolicRepresentation(tuple(axes), out.sign))


def _slid(call: Call, x: Operand, kernel: _Kernel, position: int) -> Axis:
    """The result's axis of which the order matters, and those of input and weight that are reversed with it or not."""
    axis = call.solver.representation(x.rep).axes[position]
    weights = call.solver.representation(tensor(call["weight"]).rep).axes[position]
    # Of a transposed convolution every entry is used, and the windows lie on the result. Of others the mirror may do
    # anything to entries that no window reads, and turns the rest about the middle of what is read.
    read = end_to_end(axis) if kernel.transposed else read_by(kernel.windows, axis)
    refusal = "" if kernel.windows.is_symmetric else kernel.refusal
    # Entries that output_padding adds at the end alone would be in front in the other view.
    possible = not (kernel.transposed and kernel.grows)
    turns = [read, end_to_end(weights)]
    return turned_or_still(call, turns, kernel.outputs, f"out {position}", refusal, possible)


def _without(operand: Operand, positions: Sequence[int], solver: Solver) -> Operand:
    """The operand without axes that are settled already; a sign of one of them is the sign of the whole."""
    rep = solver.representation(operand.rep)
    dropped = {position % operand.ndim for position in positions}
    axes = tuple(axis for position, axis in enumerate(rep.axes) if position not in dropped)
    return replace(operand, rep=SymbolicRepresentation(axes, rep.sign))


def _contracted(
    call: Call, x: Operand, weight: Operand, kernels: Sequence[_Kernel], shape: Shape
) -> SymbolicRepresentation:
    """The equation of channels, and of axes whose order does not matter.

    x is "... in *axes", weight "out in *windows" (see above), both without the settled axes; kernels: of the axes that
    are left.  shape: of the result without the settled axes.  Returns its representation.
    """
    solver, groups, transposed = call.solver, call.get("groups", 1), bool(call.get("transposed", False))
    bias = unless_zero(call.get("bias"))
    words = [kernel.words(letter) for kernel, letter in zip(kernels, _LETTERS, strict=False)]
    # Tokens by axis, (input, weight, output), become a text for each tensor: (p, 1k, p), (q, q, 1t) to "p q", "1k q",
    # "p 1t". A kernel whose axes are all settled leaves none.
    given, window, written = map(" ".join, zip(*words, strict=True)) if words else ("", "", "")
    # The output's own axes carry no signs next to a bias, which is added to all their entries: "p 1t" to "+p 1t".
    written = " ".join(f"+{word}".replace("+1", "1") for word in written.split())
    # A transposed convolution has its weight as "in out window", any other as "out in window".
    channels = "i o" if transposed else "o i"
    equation_shape = shape
    if groups == 1:
        text = f"+... i {given}, {channels} {window}, o -> +... o {written}"
    else:
        # The weight has an axis for outputs of all groups, (g o), and one for inputs of one group, i. Groups may be
        # permuted; the weight follows with |g|, as the signs of g are the input's and the output's.
        text = f"+... g i {given}, |g| {channels} {window}, g o -> +... g o {written}"
        # The groups stand in its first axis in both cases: (g o), of a transposed convolution (g i).
        channel = len(shape) - len(kernels) - 1
        x, weight = _grouped(x, channel, groups, solver), _grouped(weight, 0, groups, solver)
        bias = _grouped(bias, 0, groups, solver) if bias is not None else None
        equation_shape = (*shape[:channel], groups, shape[channel] // groups, *shape[channel + 1 :])
    # Without a bias nothing forbids signs, `+`, and the third pattern has no operand.
    text = text if bias is not None else text.replace("+", "")
    out = _equation.apply(text, [x, weight, bias], replace(call, shapes=(equation_shape,)))[0]
    if groups == 1:
        return out
    # (g o) as one axis of channels again.
    return SymbolicRepresentation(tuple(solver.regroup(out.axes, shape)), out.sign)


def _strided(x: Operand, kernels: Sequence[_Kernel], solver: Solver) -> Operand:
    """The input of which a kernel of size 1 sees all entries: those that its stride leaves out are taken away."""
    rep, first = x.rep, x.ndim - len(kernels)
    # A 1 x 1 kernel with stride 2 reads entries 0, 2, 4, ...: a list, which the mirror has to take to itself.
    for dim, kernel in enumerate(kernels, first):
        if kernel.passes and kernel.windows.stride > 1 and not kernel.transposed:
            rep = rep.with_axis(dim, solver.pick(rep.axes[dim], range(0, kernel.windows.size, kernel.windows.stride)))
    return Operand(solver.representation(rep), x.constant, x.zero)


def _grouped(operand: Operand, dim: int, groups: int, solver: Solver) -> Operand:
    """The operand with the axis `dim` as two, (groups, entries of a group).

    Raises Conflict where the mirror is no product of one of groups and one inside them, Wait while it may be.
    """
    rep = solver.representation(operand.rep)
    parts = solver.regroup([rep.axes[dim]], [groups, axis_size(rep.axes[dim]) // groups])
    axes = (*rep.axes[:dim], *parts, *rep.axes[dim + 1 :])
    return Operand(SymbolicRepresentation(axes, rep.sign), operand.constant, operand.zero)
