"""What does the mirror do to each block of an axis? The items of `fields:` in a file; one of the keys says the kind.

A block class is its own file format, and answers one question, `run`: what its entries are called, how the mirror acts
on them, and at which numbers they are mirrored. T on the axis is the direct sum of the blocks. Under y -> -y, with
joints l and r of one angle each:

    {vector: velocity}                  vx vy vz      -> vx -vy vz
    {joints: q}                         q.l q.r       -> q.r q.l
    {scalar: 2, name: gains}            g0 g1         -> g0 g1
    {feet: [L, R], kind: vector}        L.x ... R.z   -> R.x -R.y R.z L.x -L.y L.z
    {entries: [x1, x2, h], swap: [[x1, x2]], negate: [x1, x2], reflect: {x1: 320, x2: 320}}     the edges of a box

What cannot be known is never assumed: an order, a shift or a sign that the file does not give is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal, NoReturn

import numpy as np
from pydantic.functional_validators import AfterValidator, BeforeValidator

from chiralize.body.quantities import ABOUT, EULER, ORDERS, WITH_DIMS, Quantity, is_euler_order
from chiralize.body.skeleton import AXES, Skeleton, check_pairs
from chiralize.body.values import (
    Entries,
    Exact,
    Keys,
    Name,
    Names,
    PairList,
    Pairs,
    Reference,
    SignRows,
    Wrong,
    did_you_mean,
    position_in,
    positions_of,
    read_name,
    read_sign,
    refuse_twice,
    shown,
)
from chiralize.errors import (
    MissingKeyError,
    NotAnInvolutionError,
    SpecError,
    UnknownNameError,
)
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
        raise Wrong(f"centre {shown(value)} lies beyond 1e30", "give it in the unit of the data")
    return value


def _of_space(names: tuple[str, ...]) -> tuple[str, ...]:
    for number, name in enumerate(names):
        if name not in AXES:
            raise Wrong(f"{name!r} is no axis of the body", "use x, y and z", (number,), kind=UnknownNameError)
    return names


Axes = Annotated[Names, AfterValidator(_of_space)]
Centres = dict[str, Annotated[Exact, AfterValidator(_near)]]
"""`reflect: {x: 320}`: the mirror image of x is 640 - x, as for pixels of a picture 640 wide."""
Kind = Literal["scalar", "vector", "axial", "wrench", "twist", "inertia", "quaternion", "rotation", "euler"]


@dataclass(frozen=True)
class Run:
    """Entries one after the other.  labels: `contact.left_foot.force.y`.  action: T.  centers: 0 without `reflect`."""

    labels: tuple[str, ...]
    action: SignedPermutation
    centers: tuple[float, ...]


class Block(Keys):
    """A block.  name: for messages and labels. Which axis the mirror negates is the body's `lateral`.

    KEYS: those that say the kind, of which a block has one.  IS_NAMED: the value of that key is the name.
    """

    KEYS: ClassVar[tuple[str, ...]] = ()
    IS_NAMED: ClassVar[bool] = False
    name: Name = ""

    def checked(self) -> None:
        if self.IS_NAMED and self.name:
            raise Wrong(f"`name: {self.name}` beside a key whose value is the name", "drop `name`", ("name",))

    @property
    def key(self) -> str:
        """The key that says its kind."""
        return next(key for key in self.KEYS if getattr(self, key) is not None)

    @property
    def title(self) -> str:
        """The name that its labels begin with: its own, else the kind."""
        return getattr(self, self.key) if self.IS_NAMED else self.name or self.key

    @property
    def parts(self) -> tuple[Block, ...]:
        """The blocks that it is built of."""
        return ()

    def run(self, body: Skeleton) -> Run:
        """Its entries, and what the mirror does to them. Raises SpecError where the body says too little."""
        raise NotImplementedError

    def _entries(self, labels: Sequence[str], action: SignedPermutation, coordinates: Sequence[str] = ()) -> Run:
        """The run of these entries.  coordinates: of each, for `reflect`. Raises SpecError for a wrong centre."""
        reflect: Mapping[str, Fraction] = getattr(self, "reflect", {})
        for dim in reflect:
            signs = [sign for name, sign in zip(coordinates, action.sign, strict=True) if name == dim]
            if not signs:
                remedy = did_you_mean(dim, dict.fromkeys(filter(None, coordinates)))
                self.refuse(UnknownNameError, f"reflect: the block has no dim {dim!r}", remedy)
            if max(signs) > 0:
                facts = f"reflect gives a centre of {dim!r}, which is not negated"
                self.refuse(SpecError, facts, f"say that the mirror negates {dim}, or drop its centre")
        centers = [float(reflect.get(name, 0)) for name in coordinates] if reflect else [0.0] * len(labels)
        return Run(tuple(labels), action, tuple(centers))

    def _measured(self, quantity: Quantity, title: str, body: Skeleton) -> Run:
        """The run of one quantity: signs by the axes that every number is made of, `gravity.x`, `base[x,y]`."""
        # Of a scalar also where the body has no lateral axis.
        signs = quantity.signs("-" if quantity.kind == "scalar" else self.lateral(body))
        labels = [dotted(title, component.label) for component in quantity.components()]
        return self._entries(labels, _still(signs), quantity.dims if quantity.kind == "vector" else [""] * len(labels))

    def lateral(self, body: Skeleton) -> str:
        """The axis of the body that points sideways. Raises MissingKeyError where nothing says so."""
        if body.lateral is None:
            self.refuse(MissingKeyError, f"field {self.title!r}: no `lateral` axis is given", "add `lateral: y`")
        return body.lateral

    def refuse(self, kind: type[SpecError], facts: str, remedy: str) -> NoReturn:
        """Raise an error at the block's file and line."""
        raise kind(self.where or f"field {self.title!r}", facts, remedy)


def dotted(*words: str) -> str:
    """The words that are not empty, joined by dots; what begins with a bracket follows without one."""
    return ".".join(filter(None, words)).replace(".[", "[")


def _still(signs: Sequence[int]) -> SignedPermutation:
    """T that moves nothing."""
    return SignedPermutation(np.arange(len(signs)), np.array(signs, np.int64))


def _labels(title: str, entries: int | Iterable[str]) -> list[str]:
    """`gains.kp` of entries with names, `gains[0]` of several without, `height` of one."""
    if not isinstance(entries, int):
        return [dotted(title, name) for name in entries]
    return [title] if entries == 1 else [f"{title}[{number}]" for number in range(entries)]


# ---- entries that stay where they are -----------------------------------------------------------------------------
class Measured(Block):
    """Numbers of one thing: `{vector: velocity, dims: [x, y], reflect: {x: 320}}`, `{axial: gyro}`.

    With y lateral, a polar vector gets the signs (1, -1, 1), an axial one (-1, 1, -1).
    """

    KEYS = WITH_DIMS
    IS_NAMED = True
    vector: Name | None = None
    axial: Name | None = None
    dims: Axes = AXES
    reflect: Centres = {}

    def run(self, body: Skeleton) -> Run:
        return self._measured(Quantity(self.key, dims=self.dims), self.title, body)


class Ordered(Block):
    """`{quaternion: wxyz, name: base}`: the value says the order of the numbers."""

    KEYS = ("wrench", "twist", "inertia", "quaternion", "rotation", EULER)
    wrench: Name | None = None
    twist: Name | None = None
    inertia: Name | None = None
    quaternion: Name | None = None
    rotation: Name | None = None
    euler: Name | None = None

    def checked(self) -> None:
        check_order(self.key, getattr(self, self.key), (self.key,))

    def run(self, body: Skeleton) -> Run:
        return self._measured(Quantity(self.key, getattr(self, self.key)), self.title, body)


def check_order(kind: str, order: str, at: tuple[str | int, ...]) -> None:
    """Raises Wrong where the numbers of a kind have no such order, or where they need one and it is not said."""
    orders = ORDERS[kind]
    if order and (is_euler_order(order) if kind == EULER else order in orders):
        return
    if order:
        facts = f"the order of the numbers of a {kind} is {order!r}"
        raise Wrong(facts, f"write {' or '.join(orders)}" if orders else "drop it", at)
    if orders:
        choices = " or ".join(f"`order: {option}`" for option in orders)
        raise Wrong(f"the order of the numbers of a {kind} is not said", f"add {choices}", kind=MissingKeyError)


class Numbers(Block):
    """`{scalar: 3, name: gains}`, `{scalar: [height, speed]}`: they stay. `{unclaimed: 7}`: nothing is claimed of them.

    T leaves both as they are; what is not claimed is listed in `OnTensor.unclaimed`.
    """

    KEYS = ("scalar", "unclaimed")
    scalar: Entries | None = None
    unclaimed: Entries | None = None

    def run(self, body: Skeleton) -> Run:
        labels = _labels(self.title, getattr(self, self.key))
        return self._entries(labels, SignedPermutation.identity(len(labels)))


class Signs(Block):
    """`{signs: [1, -1], name: NAME}`, or with names, `{signs: {vx: 1, vy: -1}}`."""

    KEYS = ("signs",)
    signs: SignRows

    def checked(self) -> None:
        rows = list(self.signs.values()) if isinstance(self.signs, dict) else [self.signs[:1]]
        if not rows or any(len(row) != 1 for row in rows):
            raise Wrong("a field of signs needs one sign per entry", "write [1, -1]", ("signs",))

    def run(self, body: Skeleton) -> Run:
        if isinstance(self.signs, dict):
            return self._entries(_labels(self.title, self.signs), _still([row[0] for row in self.signs.values()]))
        return self._entries(_labels(self.title, len(self.signs)), _still(self.signs))


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

    KEYS = ("command",)
    command: tuple[Annotated[str | dict[str, int], BeforeValidator(_command)], ...]

    def checked(self) -> None:
        if not self.command:
            raise Wrong("a field without entries", "list one or more", ("command",))
        refuse_twice(self._names, "command", ("command",))
        unknown = [entry for entry in self.command if isinstance(entry, str) and entry not in COMMANDS]
        if unknown:
            facts = f"what the mirror does to {', '.join(map(shown, unknown))} is not told by the name"
            remedy = f"give the sign: {{{unknown[0]}: 1}} (stays) or {{{unknown[0]}: -1}} (negated)"
            raise Wrong(facts, remedy, ("command", self.command.index(unknown[0])))

    @property
    def _names(self) -> list[str]:
        return [entry if isinstance(entry, str) else next(iter(entry)) for entry in self.command]

    def run(self, body: Skeleton) -> Run:
        signs: list[int] = []
        for entry in self.command:
            if isinstance(entry, dict):
                signs += entry.values()
            else:
                axes = COMMANDS[entry]
                signs.append(-1 if axes and axes.count(self.lateral(body)) % 2 else 1)
        return self._entries(_labels(self.title, self._names), _still(signs))


class Phase(Block):
    """The clock of a gait: `{phase: sin_cos, shift: half}`. Half a period later, sine and cosine are both negated.

    When the left foot lifts at phase p, the right one lifts at p + pi; in the mirror the two have changed places. With
    one clock for every leg the clocks themselves swap, and each is not shifted (`shift: none`).
    """

    KEYS = ("phase",)
    phase: Literal["sin_cos", "cos_sin", "sin", "cos"]
    shift: Literal["half", "none"]

    def run(self, body: Skeleton) -> Run:
        labels = _labels(self.title, self.phase.split("_"))
        return self._entries(labels, _still([-1 if self.shift == "half" else 1] * len(labels)))


# ---- entries that swap --------------------------------------------------------------------------------------------
class Joints(Block):
    """The joints of the body: `{joints: q, of: [l_hip, r_hip], dims: [x, y]}`, joint by joint.

    of: joints of the body, None for all.  dims: coordinates of each, None for those of the body; a name that the body
    has not is not negated, as a confidence is.  kind: `scalar`, one number a joint that swaps and has no sign.
    """

    KEYS = ("joints",)
    IS_NAMED = True
    ELSEWHERE = dict.fromkeys(("order", "each"), "rotations of joints are those of {bodies: [...], kind: rotation}")
    joints: Name
    of: Names | None = None
    dims: tuple[Name, ...] | None = None
    kind: Literal["scalar"] | None = None
    reflect: Centres = {}

    def checked(self) -> None:
        super().checked()
        refuse_twice(self.dims or (), "dim", ("dims",))
        for key, value in (("dims", self.dims), ("reflect", self.reflect)):
            if self.kind is not None and value:
                facts = f"`{key}` beside `kind: scalar`, which are no coordinates"
                raise Wrong(facts, "drop one of them", (key,))

    def run(self, body: Skeleton) -> Run:
        chosen = body if self.of is None else body.with_joints(self.of, self.where)
        chosen = chosen if self.dims is None else chosen.with_dims(self.dims)
        if self.kind is not None:
            return self._entries([dotted(self.joints, joint) for joint in chosen.joints], chosen.joint_action())
        words = chosen.dims if len(chosen.dims) > 1 else [""] * len(chosen.dims)
        labels = [dotted(self.joints, joint, word) for joint in chosen.joints for word in words]
        return self._entries(labels, chosen.merged_action(), chosen.dims * len(chosen.joints))


class Listed(Block):
    """Any other block, entry by entry: `{entries: [x1, x2, h], swap: [[x1, x2]], negate: [x1, x2]}`.

    Entries in no pair stay where they are; the two of a pair are both negated, or neither. `reflect` is by entry.
    """

    KEYS = ("entries",)
    entries: Entries
    swap: Pairs = ()
    negate: tuple[Reference, ...] = ()
    reflect: Centres = {}

    def checked(self) -> None:
        self._action()

    def _action(self) -> SignedPermutation:
        names = list(map(str, range(self.entries))) if isinstance(self.entries, int) else self.entries
        pairs = swapped_positions(self.swap, names, "entry")
        negated = {position_in(names, entry, "entry", ("negate", at)) for at, entry in enumerate(self.negate)}
        for number, (i, j) in enumerate(pairs):
            if (i in negated) != (j in negated):
                facts = f"{names[i]!r} and {names[j]!r} swap, and one of them alone is negated"
                raise Wrong(facts, "negate both, or neither", ("swap", number), kind=NotAnInvolutionError)
        return SignedPermutation.of(pairs, negated, size=len(names))

    def run(self, body: Skeleton) -> Run:
        labels = _labels(self.title if isinstance(self.entries, int) else self.name, self.entries)
        return self._entries(labels, self._action(), labels if isinstance(self.entries, int) else self.entries)


def swapped_positions(pairs: PairList, names: Sequence[str], noun: str) -> tuple[tuple[int, int], ...]:
    """What `swap` lists, as positions. Raises Wrong where something is in two pairs."""
    positions = positions_of(pairs, names, noun, "swap")
    check_pairs(positions, names, noun, ("swap",))
    return positions


def with_parts(blocks: Iterable[Block]) -> Iterator[Block]:
    """All blocks, those within blocks too."""
    for block in blocks:
        yield block
        yield from with_parts(block.parts)


def joined(blocks: Sequence[Block], body: Skeleton) -> Run:
    """Blocks one after the other."""
    return chained([block.run(body) for block in blocks])


def chained(runs: Sequence[Run]) -> Run:
    """Runs one after the other: T is their direct sum."""
    first, *others = [run.action for run in runs]
    labels = chain.from_iterable(run.labels for run in runs)
    return Run(tuple(labels), first.direct_sum(*others), tuple(chain.from_iterable(run.centers for run in runs)))
