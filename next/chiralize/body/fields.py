"""What does the mirror do to each block of an axis? The items of `fields:` in a file; one of the keys says the kind.

A block class is its own file format, and answers for its entries along the axis: how many (`size`), T on them
(`action`), their names (`labels`), and the numbers that they are mirrored at (`centers`). T on the axis is the direct
sum of the blocks. Under y -> -y, with joints l and r of one angle each:

    {vector: velocity}                  vx vy vz      -> vx -vy vz
    {joints: q}                         q.l q.r       -> q.r q.l
    {scalar: 2, name: gains}            g0 g1         -> g0 g1
    {feet: [L, R], kind: vector}        L.x ... R.z   -> R.x -R.y R.z L.x -L.y L.z
    {entries: [x1, x2, h], swap: [[x1, x2]], negate: [x1, x2], reflect: {x1: 320, x2: 320}}     the edges of a box

What cannot be known is never assumed: an order, a shift or a sign that the file does not give is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import prod
from typing import Annotated, Any, ClassVar, Literal, NoReturn

import numpy as np
from pydantic import Discriminator, Tag, model_validator
from pydantic.functional_validators import AfterValidator, BeforeValidator

from chiralize.body.document import (
    MOST_ENTRIES,
    Entries,
    Exact,
    Keys,
    Name,
    Names,
    Pairs,
    Reference,
    SignRows,
    Whole,
    Wrong,
    as_list,
    did_you_mean,
    not_empty,
    position_in,
    read_name,
    read_sign,
    refuse_twice,
    shown,
)
from chiralize.body.naming import partners_of
from chiralize.body.quantities import ABOUT, EULER, ORDERS, WITH_DIMS, Quantity, is_euler_order
from chiralize.body.skeleton import AXES, Skeleton, check_pairs
from chiralize.errors import MissingKeyError, NotAnInvolutionError, SpecError, UnknownNameError, WrongValueError
from chiralize.symmetry.involution import SignedPermutation

COMMANDS: Mapping[str, str] = {
    **{f"v{axis}": axis for axis in AXES},
    **{f"w{axis}": ABOUT[axis] for axis in AXES},
    "yaw_rate": ABOUT["z"],
    "heading": ABOUT["z"],
    "height": "",
}
"""The commands whose names tell their sign, with the axes that each is made of. Every other one wants its sign."""
_FARTHEST_CENTRE = 10**30
"""A centre c beyond it is refused: x is mirrored to 2 c - x, and float32 ends at 3.4e38."""


def _near(value: Fraction) -> Fraction:
    if abs(value) > _FARTHEST_CENTRE:
        raise Wrong(WrongValueError, f"centre {float(value):g} lies beyond 1e30", "give it in the unit of the data")
    return value


def _of_space(names: tuple[str, ...]) -> tuple[str, ...]:
    for number, name in enumerate(names):
        if name not in AXES:
            raise Wrong(UnknownNameError, f"{name!r} is no axis of the body", "use x, y and z", (number,))
    return names


Axes = Annotated[Names, AfterValidator(_of_space)]
Centres = dict[str, Annotated[Exact, AfterValidator(_near)]]
"""`reflect: {x: 320}`: the mirror image of x is 640 - x, as for pixels of a picture 640 wide."""
Kind = Literal["scalar", "vector", "axial", "wrench", "twist", "inertia", "quaternion", "rotation", "euler"]


class Block(Keys):
    """A block.  name: for messages and labels. Which axis the mirror negates is the body's `lateral`."""

    name: Name = ""

    @property
    def title(self) -> str:
        """The name that its labels begin with."""
        return self.name

    @property
    def parts(self) -> tuple[Block, ...]:
        """The blocks that it is built of."""
        return ()

    def size(self, body: Skeleton) -> int:
        """How many entries of the axis it takes, counted without building anything."""
        raise NotImplementedError

    def action(self, body: Skeleton) -> SignedPermutation:
        """How the mirror acts on its entries. Raises SpecError where the body does not say enough."""
        raise NotImplementedError

    def labels(self, body: Skeleton) -> list[str]:
        """A name for every entry, such as `contact.left_foot.force.y`."""
        raise NotImplementedError

    def centers(self, body: Skeleton) -> list[float]:
        """The number that every entry is mirrored at, 0 without `reflect`."""
        return [0.0] * self.size(body)

    def check(self, body: Skeleton) -> None:
        """Raises SpecError where something that the file says of it has no meaning for this body."""
        for part in self.parts:
            part.check(body)

    def lateral(self, body: Skeleton) -> str:
        """The axis of the body that points sideways. Raises MissingKeyError where nothing says so."""
        if body.lateral is None:
            self.refuse(MissingKeyError, f"field {self.title!r}: no `lateral` axis is given", "add `lateral: y`")
        return body.lateral

    def refuse(self, kind: type[SpecError], facts: str, remedy: str) -> NoReturn:
        """Raise an error at the block's file and line."""
        raise kind(self.where or f"field {self.title!r}", facts, remedy)


class Centred(Block):
    """A block some of whose entries are coordinates.  reflect: those that are mirrored at a centre, x -> 2 c - x."""

    reflect: Centres = {}

    def coordinates(self, body: Skeleton) -> Sequence[str]:
        """The name of the coordinate that every entry is, "" where it is none."""
        raise NotImplementedError

    def centers(self, body: Skeleton) -> list[float]:
        """The number that every entry is mirrored at, 0 without `reflect`."""
        return [float(self.reflect.get(name, 0)) for name in self.coordinates(body)]

    def check(self, body: Skeleton) -> None:
        """Raises SpecError for a centre of a coordinate that the block has not, or that the mirror does not negate."""
        super().check(body)
        coordinates, signs = self.coordinates(body), self.action(body).sign if self.reflect else []
        for dim in self.reflect:
            negated = [sign < 0 for name, sign in zip(coordinates, signs, strict=True) if name == dim]
            if not negated:
                known = list(dict.fromkeys(filter(None, coordinates)))
                self.refuse(UnknownNameError, f"reflect: the block has no dim {dim!r}", did_you_mean(dim, known))
            if not all(negated):
                facts = f"reflect gives a centre of {dim!r}, which is not negated"
                self.refuse(SpecError, facts, f"say that the mirror negates {dim}, or drop its centre")


def dotted(*words: str) -> str:
    """The words that are not empty, joined by dots; what begins with a bracket follows without one."""
    return ".".join(filter(None, words)).replace(".[", "[")


def with_signs(signs: Sequence[int]) -> SignedPermutation:
    """T that moves nothing."""
    return SignedPermutation(np.arange(len(signs)), np.array(signs, np.int64))


def _of_entries(title: str, names: Sequence[str], count: int) -> list[str]:
    """`gains.kp` of entries with names, `gains[0]` of several without, `height` of one."""
    if names:
        return [dotted(title, name) for name in names]
    return [title] if count == 1 else [f"{title}[{number}]" for number in range(count)]


# ---- entries that stay where they are -----------------------------------------------------------------------------
class OfQuantity(Block):
    """A quantity of one thing: signs by the axes that every number is made of."""

    def quantity(self) -> Quantity:
        """What its numbers are."""
        raise NotImplementedError

    def size(self, body: Skeleton) -> int:
        """How many numbers the quantity has."""
        return len(self.quantity().components())

    def action(self, body: Skeleton) -> SignedPermutation:
        """Signs; of a scalar also where the body has no lateral axis."""
        quantity = self.quantity()
        return with_signs(quantity.signs("-" if quantity.kind == "scalar" else self.lateral(body)))

    def labels(self, body: Skeleton) -> list[str]:
        """`gravity.x`, `contact.force.x`, `base[x,y]`."""
        return [dotted(self.title, component.label) for component in self.quantity().components()]

    def coordinates(self, body: Skeleton) -> Sequence[str]:
        """The axes of a vector."""
        quantity = self.quantity()
        return quantity.dims if quantity.kind == "vector" else [""] * self.size(body)


class Vector(OfQuantity, Centred):
    """`{vector: velocity, dims: [x, y], reflect: {x: 320}}`, `{axial: gyro}`: the value is the name.

    With y lateral, a polar vector gets the signs (1, -1, 1), an axial one (-1, 1, -1).
    """

    vector: Name | None = None
    axial: Name | None = None
    dims: Axes = AXES

    @model_validator(mode="after")
    def _named_once(self) -> Vector:
        _refuse_name(self.name)
        return self

    @property
    def title(self) -> str:
        """The value of its key."""
        return self.vector or self.axial or ""

    def quantity(self) -> Quantity:
        """A polar or an axial vector."""
        return Quantity("vector" if self.vector is not None else "axial", dims=self.dims)


def _refuse_name(name: str) -> None:
    if name:
        raise Wrong(WrongValueError, f"`name: {name}` beside a key whose value is the name", "drop `name`", ("name",))


class Ordered(OfQuantity):
    """`{quaternion: wxyz, name: base}`: the value says the order of the numbers."""

    wrench: Name | None = None
    twist: Name | None = None
    inertia: Name | None = None
    quaternion: Name | None = None
    rotation: Name | None = None
    euler: Name | None = None

    @model_validator(mode="after")
    def _in_a_known_order(self) -> Ordered:
        check_order(self._kind, getattr(self, self._kind), (self._kind,))
        return self

    @property
    def _kind(self) -> str:
        return next(kind for kind in ORDERS if getattr(self, kind, None) is not None)

    @property
    def title(self) -> str:
        """Its name, else the kind."""
        return self.name or self._kind

    def quantity(self) -> Quantity:
        """The quantity of the one key that is given."""
        return Quantity(self._kind, getattr(self, self._kind))


def check_order(kind: str, order: str, at: tuple[str | int, ...]) -> None:
    """Raises Wrong where the numbers of a kind have no such order, or where they need one and it is not said."""
    orders = ORDERS[kind]
    if order and (is_euler_order(order) if kind == EULER else order in orders):
        return
    if order:
        facts = f"the order of the numbers of a {kind} is {order!r}"
        raise Wrong(WrongValueError, facts, f"write {' or '.join(orders)}" if orders else "drop it", at)
    if orders:
        choices = " or ".join(f"`order: {option}`" for option in orders)
        raise Wrong(MissingKeyError, f"the order of the numbers of a {kind} is not said", f"add {choices}")


class Numbers(Block):
    """`{scalar: 3, name: gains}` or `{scalar: [height, speed]}`: they stay as they are."""

    scalar: Entries

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the entries, where the file gives them."""
        return () if isinstance(self.scalar, int) else self.scalar

    def size(self, body: Skeleton) -> int:
        """How many numbers there are."""
        return self.scalar if isinstance(self.scalar, int) else len(self.scalar)

    def action(self, body: Skeleton) -> SignedPermutation:
        """Nothing moves."""
        return SignedPermutation.identity(self.size(body))

    def labels(self, body: Skeleton) -> list[str]:
        """The names of the entries, else numbers."""
        return _of_entries(self.name, self.names, self.size(body))


class Unclaimed(Block):
    """`{unclaimed: 7, name: arm}`: entries of an output of which nothing is claimed. T leaves them as they are."""

    unclaimed: Entries

    def size(self, body: Skeleton) -> int:
        """How many numbers there are."""
        return self.unclaimed if isinstance(self.unclaimed, int) else len(self.unclaimed)

    def action(self, body: Skeleton) -> SignedPermutation:
        """Nothing moves; whoever works with T leaves them out (`OnTensor.unclaimed`)."""
        return SignedPermutation.identity(self.size(body))

    def labels(self, body: Skeleton) -> list[str]:
        """The names of the entries, else numbers."""
        return _of_entries(self.name, () if isinstance(self.unclaimed, int) else self.unclaimed, self.size(body))


class Signs(Block):
    """`{signs: [1, -1], name: NAME}`, or with names, `{signs: {vx: 1, vy: -1}}`."""

    signs: SignRows

    @model_validator(mode="after")
    def _one_each(self) -> Signs:
        rows = self.signs.values() if isinstance(self.signs, dict) else [self.signs[:1]]
        if not rows or any(len(row) != 1 for row in rows):
            raise Wrong(WrongValueError, "a field of signs needs one sign per entry", "write [1, -1]", ("signs",))
        return self

    def size(self, body: Skeleton) -> int:
        """How many numbers there are."""
        return len(self.signs)

    def action(self, body: Skeleton) -> SignedPermutation:
        """The signs as given."""
        if isinstance(self.signs, dict):
            return with_signs([row[0] for row in self.signs.values()])
        return with_signs(self.signs)

    def labels(self, body: Skeleton) -> list[str]:
        """The names of the entries, else numbers."""
        return _of_entries(self.name, list(self.signs) if isinstance(self.signs, dict) else [], len(self.signs))


def _command(value: Any) -> str | dict[str, int]:
    """A name, or a map of one name to its sign."""
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, sign),) = value.items()
        return {read_name(name): read_sign(sign)}
    return read_name(value)


class Command(Block):
    """What the robot is told to do: `{command: [vx, vy, {gait: 1}]}`. The names in `COMMANDS` tell their sign.

    Under y -> -y the command (vx, vy, yaw_rate, height) has the signs (1, -1, -1, 1).
    """

    command: tuple[Annotated[str | dict[str, int], BeforeValidator(_command)], ...]

    @model_validator(mode="after")
    def _said_of_each(self) -> Command:
        if not self.command:
            raise Wrong(WrongValueError, "a field without entries", "list one or more", ("command",))
        refuse_twice(self.names, "command", ("command",))
        unknown = [entry for entry in self.command if isinstance(entry, str) and entry not in COMMANDS]
        if unknown:
            facts = f"what the mirror does to {', '.join(map(shown, unknown))} is not told by the name"
            remedy = f"give the sign: {{{unknown[0]}: 1}} (stays) or {{{unknown[0]}: -1}} (negated)"
            raise Wrong(WrongValueError, facts, remedy, ("command", self.command.index(unknown[0])))
        return self

    @property
    def names(self) -> list[str]:
        """The names of the entries."""
        return [entry if isinstance(entry, str) else next(iter(entry)) for entry in self.command]

    def size(self, body: Skeleton) -> int:
        """One number for every name."""
        return len(self.command)

    def action(self, body: Skeleton) -> SignedPermutation:
        """A sign for every entry, given or by the axes that the number is made of."""
        signs: list[int] = []
        for entry in self.command:
            if isinstance(entry, dict):
                signs += entry.values()
            else:
                axes = COMMANDS[entry]
                signs.append(-1 if axes and axes.count(self.lateral(body)) % 2 else 1)
        return with_signs(signs)

    def labels(self, body: Skeleton) -> list[str]:
        """`command.vx`."""
        return _of_entries(self.name, self.names, len(self.command))


class Phase(Block):
    """The clock of a gait: `{phase: sin_cos, shift: half}`. Half a period later, sine and cosine are both negated.

    When the left foot lifts at phase p, the right one lifts at p + pi; in the mirror the two have changed places. With
    one clock for every leg the clocks themselves swap, and each is not shifted (`shift: none`).
    """

    phase: Literal["sin_cos", "cos_sin", "sin", "cos"]
    shift: Literal["half", "none"]

    def size(self, body: Skeleton) -> int:
        """One number for every function."""
        return len(self.phase.split("_"))

    def action(self, body: Skeleton) -> SignedPermutation:
        """sin(p + pi) = -sin p, and the same of the cosine."""
        return with_signs([-1 if self.shift == "half" else 1] * self.size(body))

    def labels(self, body: Skeleton) -> list[str]:
        """`phase.sin`, `phase.cos`."""
        return [dotted(self.name, function) for function in self.phase.split("_")]


# ---- entries that swap --------------------------------------------------------------------------------------------
class Joints(Centred):
    """The joints of the body: `{joints: q, of: [l_hip, r_hip], dims: [x, y]}`, joint by joint.

    of: joints of the body, None for all.  dims: coordinates of each, None for those of the body; a name that the body
    has not is not negated, as a confidence is.  kind: `scalar`, one number a joint that swaps and has no sign.
    """

    joints: Name
    of: Names | None = None
    dims: tuple[Name, ...] | None = None
    kind: Literal["scalar"] | None = None

    @model_validator(mode="after")
    def _numbers_or_coordinates(self) -> Joints:
        _refuse_name(self.name)
        refuse_twice(self.dims or (), "dim", ("dims",))
        for key, value in (("dims", self.dims), ("reflect", self.reflect)):
            if self.kind is not None and value:
                facts = f"`{key}` beside `kind: scalar`, which are no coordinates"
                raise Wrong(WrongValueError, facts, "drop one of them", (key,))
        return self

    @property
    def title(self) -> str:
        """The value of its key."""
        return self.joints

    def _dims(self, body: Skeleton) -> tuple[str, ...]:
        if self.kind is not None:
            return ("",)
        return body.dims if self.dims is None else self.dims

    def _body(self, body: Skeleton) -> Skeleton:
        """The body with the chosen joints and coordinates. Raises SpecError where a joint comes without its partner."""
        chosen = body if self.of is None else body.with_joints(self.of, self.where)
        return chosen if self.dims is None else chosen.with_dims(self.dims)

    def size(self, body: Skeleton) -> int:
        """Joints times coordinates."""
        return len(body.joints if self.of is None else self.of) * len(self._dims(body))

    def action(self, body: Skeleton) -> SignedPermutation:
        """Joints swap, with the signs of the skeleton unless they are plain numbers."""
        chosen = self._body(body)
        return chosen.joint_action() if self.kind is not None else chosen.merged_action()

    def labels(self, body: Skeleton) -> list[str]:
        """`q.left_knee`, or `pose.left_knee.x` where joints have several coordinates."""
        joints, dims = self._body(body).joints, self._dims(body)
        return [dotted(self.joints, joint, dim if len(dims) > 1 else "") for joint in joints for dim in dims]

    def coordinates(self, body: Skeleton) -> Sequence[str]:
        """The skeleton's, of every joint; none of plain numbers."""
        return list(self._dims(body)) * len(body.joints if self.of is None else self.of)


class Listed(Centred):
    """Any other block, entry by entry: `{entries: [x1, x2, h], swap: [[x1, x2]], negate: [x1, x2]}`.

    Entries in no pair stay where they are; the two of a pair are both negated, or neither. `reflect` is by entry.
    """

    entries: Entries
    swap: Pairs = ()
    negate: tuple[Reference, ...] = ()

    @model_validator(mode="after")
    def _among_the_entries(self) -> Listed:
        pairs, negated = self._swapped(), self._negated()
        for number, (i, j) in enumerate(pairs):
            if (i in negated) != (j in negated):
                facts = f"{self._names[i]!r} and {self._names[j]!r} swap, and one of them alone is negated"
                raise Wrong(NotAnInvolutionError, facts, "negate both, or neither", ("swap", number))
        return self

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.entries))) if isinstance(self.entries, int) else self.entries

    def _swapped(self) -> list[tuple[int, int]]:
        return positions_of_pairs(self.swap, self._names, "entry")

    def _negated(self) -> set[int]:
        return {position_in(self._names, entry, "entry", ("negate", at)) for at, entry in enumerate(self.negate)}

    def size(self, body: Skeleton) -> int:
        """How many entries there are."""
        return len(self._names)

    def action(self, body: Skeleton) -> SignedPermutation:
        """As the file says."""
        return SignedPermutation.of(self._swapped(), self._negated(), size=len(self._names))

    def labels(self, body: Skeleton) -> list[str]:
        """The names of the entries, else numbers."""
        return _of_entries(self.name, () if isinstance(self.entries, int) else self.entries, len(self._names))

    def coordinates(self, body: Skeleton) -> Sequence[str]:
        """Every entry is a coordinate of its own name."""
        return self._names


def positions_of_pairs(pairs: Pairs, names: Sequence[str], noun: str) -> list[tuple[int, int]]:
    """Pairs by name or position as positions. Raises Wrong at `swap`."""
    positions = [
        (position_in(names, i, noun, ("swap", at, 0)), position_in(names, j, noun, ("swap", at, 1)))
        for at, (i, j) in enumerate(pairs)
    ]
    check_pairs(positions, names, noun, ("swap",))
    return positions


class Things(Centred):
    """Things that swap without being joints, each with the same numbers: `{feet: [FL, FR], kind: vector}`.

    Or with blocks: `{feet: [FL, FR], each: [...], swap: [[FL, FR]], major: entries}`.
    swap: pairs; None where the skeleton and the names tell them.  major: `items`, all numbers of the first thing first,
    T = P x S with the swap P and the signs S of one thing; `entries`, the first number of all things first, S x P.
    """

    KEYS: ClassVar = ("bodies", "feet", "legs", "hands", "links", "sites", "sensors", "items")
    bodies: Names | None = None
    feet: Names | None = None
    legs: Names | None = None
    hands: Names | None = None
    links: Names | None = None
    sites: Names | None = None
    sensors: Names | None = None
    items: Names | None = None
    each: Blocks | None = None
    kind: Kind | None = None
    order: Name = ""
    dims: Axes | None = None
    swap: Pairs | None = None
    major: Literal["items", "entries"] = "items"

    @model_validator(mode="after")
    def _what_each_holds(self) -> Things:
        quantity = {"kind": self.kind, "order": self.order, "dims": self.dims, "reflect": self.reflect}
        given = [key for key, value in quantity.items() if value]
        if self.each is not None and given:
            facts = f"`{given[0]}` beside `each`"
            raise Wrong(WrongValueError, facts, "say it in the blocks of `each`", (given[0],))
        if self.each is None and self.kind is None and self.dims is None:
            facts, remedy = "what each of them holds is not said", "add `kind: vector`, or `each: [...]` with blocks"
            raise Wrong(MissingKeyError, facts, remedy)
        check_order(self.kind or "vector", self.order, ("order",))
        if self.dims is not None and (self.kind or "vector") not in WITH_DIMS:
            facts = f"`dims` of a {self.kind}"
            raise Wrong(WrongValueError, facts, "drop it; dims are of a vector or an axial vector", ("dims",))
        if self.swap is not None:
            positions_of_pairs(self.swap, self.names, "item")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The things."""
        return next(names for key in self.KEYS if (names := getattr(self, key)) is not None)

    @property
    def title(self) -> str:
        """Its name; else the kind, where no blocks of `each` have names of their own."""
        return self.name or ("" if self.each is not None else self.kind or "vector")

    @property
    def parts(self) -> tuple[Block, ...]:
        """What every thing has."""
        quantity = Quantity(self.kind or "vector", self.order, self.dims or AXES)
        return self.each if self.each is not None else (_Plain(of=quantity, reflect=self.reflect, where=self.where),)

    def swapped(self, body: Skeleton) -> SignedPermutation:
        """Which things change places. Raises SpecError where one has no partner."""
        try:
            # A distance between two joints is the same from its other end, a vector is not.
            has_ends = not all(map(_is_scalar, self.parts))
            pairs = (
                partners_of(self.names, body, has_ends)
                if self.swap is None
                else positions_of_pairs(self.swap, self.names, "item")
            )
        except Wrong as wrong:
            raise wrong.error(self.where or f"field {self.title!r}") from None
        return SignedPermutation.of(pairs, size=len(self.names))

    def size(self, body: Skeleton) -> int:
        """Things times the numbers of one."""
        return len(self.names) * joined_size(self.parts, body)

    def action(self, body: Skeleton) -> SignedPermutation:
        """Things swap, and the numbers of each act as they do by themselves."""
        swap, inside = self.swapped(body), joined_action(self.parts, body)
        return swap.kronecker(inside) if self.major == "items" else inside.kronecker(swap)

    def labels(self, body: Skeleton) -> list[str]:
        """`contact.left_foot.force.y`: the name of the block, the thing, the number."""
        numbers = joined_labels(self.parts, body)
        if self.major == "items":
            return [dotted(self.title, name, number) for name in self.names for number in numbers]
        return [dotted(self.title, name, number) for number in numbers for name in self.names]

    def centers(self, body: Skeleton) -> list[float]:
        """Those of the numbers of each thing."""
        inside, count = joined_centers(self.parts, body), len(self.names)
        return inside * count if self.major == "items" else np.repeat(inside, count).tolist()

    def coordinates(self, body: Skeleton) -> Sequence[str]:
        """None of its own: `parts` have them."""
        return [""] * self.size(body)

    def check(self, body: Skeleton) -> None:
        """Raises SpecError as its parts do, whose centres these are."""
        Block.check(self, body)


class _Plain(OfQuantity, Centred):
    """The quantity of each of several things."""

    of: Quantity

    def quantity(self) -> Quantity:
        """What each thing has."""
        return self.of


def _is_scalar(block: Block) -> bool:
    """Whether a block holds nothing but numbers that the mirror leaves as they are, as distances and angles."""
    if isinstance(block, _Plain):
        return block.of.kind == "scalar"
    return isinstance(block, Numbers) or (bool(block.parts) and all(map(_is_scalar, block.parts)))


# ---- grids and frames ---------------------------------------------------------------------------------------------
class Grid(Block):
    """Values on a grid, the last axis fastest: `{grid: [17, 11], axes: [x, y]}` or `{grid: [17, 11], flip: 1}`.

    axes: the body's axis that each runs along, or another word.  flip: axes that are reversed, whatever they are
    called. The order along the lateral axis is reversed, and the values stay: T takes (i, j) of 2 x 3 to (i, 2 - j).
    """

    grid: tuple[Whole, ...]
    axes: tuple[Name, ...] = ()
    flip: Annotated[tuple[Whole, ...] | None, BeforeValidator(as_list)] = None

    @model_validator(mode="after")
    def _which_axis(self) -> Grid:
        if not self.grid or min(self.grid) < 1 or prod(self.grid) > MOST_ENTRIES:
            facts = f"a grid of the sizes {list(self.grid)}"
            raise Wrong(WrongValueError, facts, f"give 1 to {MOST_ENTRIES} points", ("grid",))
        if self.axes and len(self.axes) != len(self.grid):
            facts = f"{len(self.axes)} axes of a grid of {len(self.grid)} sizes"
            raise Wrong(WrongValueError, facts, "name every axis once, slowest first", ("axes",))
        refuse_twice(self.axes, "axis", ("axes",))
        for axis in self.flip or ():
            if not 0 <= axis < len(self.grid):
                facts = f"flip {axis} of a grid of {len(self.grid)} axes"
                raise Wrong(WrongValueError, facts, "count axes from 0", ("flip",))
        if self.flip is None and not set(self.axes) & set(AXES):
            facts = "which axis of the grid the mirror reverses is not said"
            raise Wrong(MissingKeyError, facts, "add `axes: [x, y]`, slowest first; or `flip: 1`")
        return self

    def size(self, body: Skeleton) -> int:
        """The number of points."""
        return prod(self.grid)

    def action(self, body: Skeleton) -> SignedPermutation:
        """The order along the lateral axis, or the axes of `flip`, is reversed."""
        flipped = self.flip
        if flipped is None:
            lateral = self.lateral(body)
            flipped = tuple(axis for axis, word in enumerate(self.axes) if word == lateral)
        factors: list[SignedPermutation] = []
        for axis, size in enumerate(self.grid):
            order = np.arange(size)
            factors.append(SignedPermutation(order[::-1] if axis in flipped else order, np.ones(size, np.int64)))
        return factors[0].kronecker(*factors[1:])

    def labels(self, body: Skeleton) -> list[str]:
        """`heights[3,7]`: the position along every axis."""
        return [f"{self.name}[{','.join(map(str, point))}]" for point in np.ndindex(*self.grid)]


class History(Block):
    """Several frames of the same blocks: `{history: 5, of: [...], order: oldest_first, major: frames}`.

    order: of the frames, for labels alone (`t-1` is the frame before the newest).  major: of blocks a (2 numbers) and
    b (1), `frames` is a a b | a a b, T = 1_2 x (T_a + T_b); `terms` is a a a a | b b, T = (1_2 x T_a) + (1_2 x T_b).
    """

    history: Whole
    of: Blocks
    order: Literal["oldest_first", "newest_first"] | None = None
    major: Literal["frames", "terms"] = "frames"

    @model_validator(mode="after")
    def _frames(self) -> History:
        if not 1 <= self.history <= MOST_ENTRIES:
            raise Wrong(WrongValueError, f"a history of {self.history} frames", "give 1 or more", ("history",))
        return self

    @property
    def parts(self) -> tuple[Block, ...]:
        """The blocks of one frame."""
        return self.of

    def _groups(self) -> list[tuple[Block, ...]]:
        """The blocks that stand together in each frame: all of them, or each for itself."""
        return [self.of] if self.major == "frames" else [(block,) for block in self.of]

    def size(self, body: Skeleton) -> int:
        """Frames times the entries of one."""
        return self.history * joined_size(self.of, body)

    def action(self, body: Skeleton) -> SignedPermutation:
        """The same in every frame, which stays where it is."""
        still = SignedPermutation.identity(self.history)
        first, *others = [still.kronecker(joined_action(blocks, body)) for blocks in self._groups()]
        return first.direct_sum(*others)

    def labels(self, body: Skeleton) -> list[str]:
        """`t-2.q.left_knee`, or by numbers, `frame0.q.left_knee`."""
        labels: list[str] = []
        for blocks in self._groups():
            inside = joined_labels(blocks, body)
            for frame in range(self.history):
                labels += [dotted(self.name, self._frame(frame), label) for label in inside]
        return labels

    def _frame(self, frame: int) -> str:
        """`t-0` is the newest frame, whichever comes first; `frame0` the first where the order is not said."""
        if self.order is None:
            return f"frame{frame}"
        return f"t-{self.history - 1 - frame if self.order == 'oldest_first' else frame}"

    def centers(self, body: Skeleton) -> list[float]:
        """The same in every frame."""
        centers: list[float] = []
        for blocks in self._groups():
            centers += joined_centers(blocks, body) * self.history
        return centers


# ---- the kinds, and lists of blocks -------------------------------------------------------------------------------
KINDS: Mapping[str, type[Block]] = {
    **dict.fromkeys(("vector", "axial"), Vector),
    **dict.fromkeys(("wrench", "twist", "inertia", "quaternion", "rotation", EULER), Ordered),
    "scalar": Numbers,
    "unclaimed": Unclaimed,
    "signs": Signs,
    "command": Command,
    "phase": Phase,
    "joints": Joints,
    "entries": Listed,
    **dict.fromkeys(Things.KEYS, Things),
    "grid": Grid,
    "history": History,
}
"""The class of every kind of block, by the key that says the kind."""


def _with_one_kind(data: Any) -> Any:
    """Raises Wrong unless one of the keys says the kind."""
    if isinstance(data, Block):
        return data
    kinds = [key for key in KINDS if key in data] if isinstance(data, Mapping) else []
    if len(kinds) != 1:
        facts = f"a field has {' and '.join(kinds) or 'no kind'}"
        raise Wrong(WrongValueError, facts, f"give one of {', '.join(KINDS)}")
    return data


def _class_of(data: Any) -> str:
    """The class that reads a block, by the key that says its kind."""
    return type(data).__name__ if isinstance(data, Block) else next(KINDS[key].__name__ for key in KINDS if key in data)


AnyBlock = Annotated[
    Annotated[Vector, Tag("Vector")]
    | Annotated[Ordered, Tag("Ordered")]
    | Annotated[Numbers, Tag("Numbers")]
    | Annotated[Unclaimed, Tag("Unclaimed")]
    | Annotated[Signs, Tag("Signs")]
    | Annotated[Command, Tag("Command")]
    | Annotated[Phase, Tag("Phase")]
    | Annotated[Joints, Tag("Joints")]
    | Annotated[Listed, Tag("Listed")]
    | Annotated[Things, Tag("Things")]
    | Annotated[Grid, Tag("Grid")]
    | Annotated[History, Tag("History")],
    Discriminator(_class_of),
    BeforeValidator(_with_one_kind),
]
Blocks = Annotated[tuple[AnyBlock, ...], BeforeValidator(as_list), AfterValidator(not_empty)]
"""The blocks of a list, or the one block of a map."""
Things.model_rebuild()
History.model_rebuild()


def with_parts(blocks: Iterable[Block]) -> Iterator[Block]:
    """All blocks, those within blocks too."""
    for block in blocks:
        yield block
        yield from with_parts(block.parts)


def joined_size(blocks: Sequence[Block], body: Skeleton) -> int:
    """How many entries blocks take."""
    return sum(block.size(body) for block in blocks)


def joined_action(blocks: Sequence[Block], body: Skeleton) -> SignedPermutation:
    """How the mirror acts on blocks one after the other."""
    first, *others = [block.action(body) for block in blocks]
    return first.direct_sum(*others)


def joined_labels(blocks: Sequence[Block], body: Skeleton) -> list[str]:
    """The names of the entries of blocks one after the other."""
    labels: list[str] = []
    for block in blocks:
        labels += block.labels(body)
    return labels


def joined_centers(blocks: Sequence[Block], body: Skeleton) -> list[float]:
    """The numbers that the entries of blocks one after the other are mirrored at."""
    centers: list[float] = []
    for block in blocks:
        centers += block.centers(body)
    return centers
