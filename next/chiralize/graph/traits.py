"""What kind of op an op is, apart from the mirror: all that a walk through a graph may know of it.

A rule says how an op meets the mirror, a trait what it does to numbers. Both stand in `infer/rules`, and whoever
walks through a graph is handed the traits: it goes by them, names no op, and stops at one that has none. Arguments
are called as in the schema of the op. Some ops and their traits:

    relu, tanh       Pointwise           cat, stack             Join
    view, permute    Layout              sum, mean              Total
    select           Entry               add, sub               Sum
    slice            Slice               linear, convolution    Contraction

Where a class is made from another, all that holds of the base holds of it: an `Entry` is a `Layout` is a `Movement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from chiralize.graph.model import Node


@dataclass(frozen=True)
class Trait:
    """What is known of one op.

    sizes: the argument that lists the sizes of its result, -1 for one that follows from the others.
    """

    sizes: str = field(default="", kw_only=True)


# ---- entry by entry -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Pointwise(Trait):
    """A function of its tensors, entry by entry.

    slopes: the argument that holds a number for every channel (axis 1).
    """

    slopes: str = ""


@dataclass(frozen=True)
class Extremum(Pointwise):
    """The larger or the smaller of two."""


@dataclass(frozen=True)
class Sum(Trait):
    """self + other, each with its sign. alpha multiplies `other`, of a turned sum `self`.

    of_tensors: the op that adds two tensors, of a turned sum the one that takes the second from the first.
    """

    signs: tuple[int, int] = (1, 1)
    is_turned: bool = False
    of_tensors: str = ""

    def terms(self, arguments: Mapping[str, Any]) -> list[tuple[Any, float]]:
        """Both operands, each with the factor that it is added with."""
        alpha = float(arguments.get("alpha", 1))
        # rsub(self, other, alpha) is other - alpha self: there alpha multiplies the first.
        first, second = map(float, self.signs)
        if self.is_turned:
            first *= alpha
        else:
            second *= alpha
        return [(arguments["self"], first), (arguments["other"], second)]


# ---- entries moved, repeated, added up ------------------------------------------------------------------------
@dataclass(frozen=True)
class Movement(Trait):
    """Linear in all its tensors of numbers together, with coefficients that are not negative.

    blends: an entry of the result need not be one entry of an operand: it may be a sum, or chosen by a mask.
    fills: arguments that hold numbers to put where no entry comes from.
    """

    blends: bool = False
    fills: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout(Movement):
    """The entries of its one tensor, each at most once, in another shape or order."""


@dataclass(frozen=True)
class Copy(Layout):
    """Its operand again, as long as its arguments neither round it nor draw anything."""


@dataclass(frozen=True)
class Transpose(Layout):
    """Its one tensor with axes in another order: of a matrix, rows for columns."""


@dataclass(frozen=True)
class Entry(Layout):
    """The entry `index` of the axis `dim`, without that axis."""


@dataclass(frozen=True)
class Slice(Layout):
    """A run of entries along the axis `dim`, from `start` to `end`, `step` apart, or `length` of them."""


@dataclass(frozen=True)
class Split(Layout):
    """Runs of entries along the axis `dim`, one for each result.

    lengths: the argument that says how long they are, as a list or as one number for all.  is_single: each result is
    one entry, without that axis.
    """

    lengths: str = ""
    is_single: bool = False


@dataclass(frozen=True)
class Pick(Movement):
    """Entries of the axis `dim` that a list says.

    lists: the argument that holds it; where there is no `dim`, one for each axis, or None.
    """

    lists: str = "index"


@dataclass(frozen=True)
class Total(Movement):
    """Sums or means along the axes `dim`, all of them where it names none."""


@dataclass(frozen=True)
class Write(Movement):
    """`self` with `src` in place of entries along `dim`.

    is_single: in place of the one entry `index`, else of those from `start` to `end`, `step` apart.
    """

    is_single: bool = False


@dataclass(frozen=True)
class Join(Movement):
    """Its tensors one behind the other along the axis `dim`, which is a new one where `adds_axis`."""

    adds_axis: bool = False


@dataclass(frozen=True)
class Padding(Movement):
    """More entries at the ends of the last axes, `pad` of them: before and behind, the last axis first."""


@dataclass(frozen=True)
class Filled(Trait):
    """A tensor of numbers that depend on no entry of its operand."""


@dataclass(frozen=True)
class Pooling(Trait):
    """One number for every window of `kernel_size` entries that slides along the last axes."""


@dataclass(frozen=True)
class MeanPooling(Movement, Pooling):
    """The mean of each window."""


# ---- products and layers --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Product(Trait):
    """Linear in each of its factors.

    bias: the argument that is added to it.  is_layer: the bias may be left out, and lies along the axis that the
    weight gives.
    """

    bias: str = ""
    is_layer: bool = False

    def added(self, arguments: Mapping[str, Any]) -> Any:
        """What is added to the product, None where it is nothing."""
        return arguments.get(self.bias)

    @property
    def without_bias(self) -> dict[str, None]:
        """The arguments to change so that nothing is added; empty for matrix products, which need their addend."""
        if self.is_layer:
            return {self.bias: None}
        return {}


@dataclass(frozen=True)
class Scaling(Product):
    """self times other, entry by entry, or divided by it."""

    divides: bool = False


@dataclass(frozen=True)
class Contraction(Product):
    """A weight summed over an axis of a source.

    source, weight: the arguments.  is_transposed: the weight lies "in out", else "out in".  is_windowed: it lies
    "out in *window", and is moved along the last axes of the source; of an adjoint, whose argument `transposed` is
    true, each entry of the source adds its window of the weight, which lies "in out *window".
    """

    source: str = "input"
    weight: str = "weight"
    is_transposed: bool = False
    is_windowed: bool = False

    def is_adjoint(self, arguments: Mapping[str, Any]) -> bool:
        """Whether it is the adjoint of a convolution."""
        return self.is_windowed and bool(arguments.get("transposed"))


@dataclass(frozen=True)
class Einsum(Product):
    """A sum of products, written with letters.  equation: the argument that says which."""

    equation: str = "equation"


@dataclass(frozen=True)
class BatchNorm(Trait):
    """Every channel (axis 1) by `running_mean` and `running_var`, times weight, plus bias, unless `training`."""


@dataclass(frozen=True)
class Normalised(Trait):
    """Entries less their mean, over their root mean square, each times a weight, plus a bias.

    shape: the argument that lists the sizes of the last axes, over which mean and square are taken; empty where it is
    over a channel or a group of them.  is_centred: the mean is taken off.
    """

    shape: str = ""
    is_centred: bool = True


@dataclass(frozen=True)
class Attention(Trait):
    """softmax(scale * query key') value; without a `scale`, by the root of the size of a query."""


Cell = Literal["lstm", "gru", "tanh", "relu"]


@dataclass(frozen=True)
class Recurrence(Trait):
    """Gates z = W x + b + U h + c, step by step, h the state before the step.

    cell: what is made of them.  is_single: one step of one cell, with `w_ih` and `b_ih` for arguments, and not all
    weights in the list `params`.
    """

    cell: Cell
    is_single: bool = False

    @property
    def gates(self) -> int:
        """How many lie in one weight, one behind the other."""
        return {"lstm": 4, "gru": 3}.get(self.cell, 1)


Traits = Mapping[str, Trait]
"""The trait of every op that has one, by the full name of its overload."""


def keeps_numbers(node: Node) -> bool:
    """Whether an op with the trait `Copy` only copies: it neither rounds to whole numbers nor drops any."""
    dtype = node.arguments.get("dtype")
    if dtype is not None and not dtype.is_floating_point:
        return False
    return not (node.arguments.get("train") or node.arguments.get("training"))
