"""What does the mirror do to each block of an axis? The items of `fields:` in a file; one of the keys says the kind.

A block class is its own file format, and answers one question, `run`: what its entries are called, how the mirror acts
on them, and at which numbers they are mirrored. T on the axis is the direct sum of the blocks. Under y -> -y, with
joints l and r of one angle each:

    {vector: velocity}                  vx vy vz      -> vx -vy vz
    {joints: q}                         q.l q.r       -> q.r q.l
    {scalar: 2, name: gains}            g0 g1         -> g0 g1
    {feet: [L, R], kind: vector}        L.x ... R.z   -> R.x -R.y R.z L.x -L.y L.z
    {grid: [2, 3], axes: [x, y]}        0 1 2 | 3 4 5 -> 2 1 0 | 5 4 3
    {entries: [x1, x2, h], swap: [[x1, x2]], negate: [x1, x2], reflect: {x1: 320, x2: 320}}     the edges of a box

What cannot be known is never assumed: an order, a shift or a sign that the file does not give is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic.functional_validators import AfterValidator, BeforeValidator, PlainValidator

from chiralize.body.naming import partners_of
from chiralize.body.quantities import ABOUT, WITH_DIMS, Axes, Centres, Component, Kind, Quantity, check_quantity
from chiralize.body.skeleton import AXES, Skeleton, check_pairs
from chiralize.body.values import (
    MOST_ENTRIES,
    Count,
    Entries,
    Flag,
    Keys,
    Name,
    Names,
    Pairs,
    Reference,
    Whole,
    Wrong,
    as_list,
    did_you_mean,
    not_empty,
    position_in,
    positions_of,
    read_name,
    read_record,
    read_sign,
    refuse_twice,
    shown,
)
from chiralize.errors import MissingKeyError, NotAnInvolutionError, SpecError, UnknownKeyError, WrongValueError
from chiralize.symmetry.involution import SignedPermutation

COMMANDS: Mapping[str, str] = {
    **{f"v{axis}": axis for axis in AXES},
    **{f"w{axis}": ABOUT[axis] for axis in AXES},
    "yaw_rate": ABOUT["z"],
    "heading": ABOUT["z"],
    "height": "",
}
"""The commands whose names tell their sign, with the axes that each is made of. Every other one wants its sign."""


@dataclass(frozen=True)
class Run:
    """Entries one after the other.  labels: `contact.left_foot.force.y`.  action: T.  centers: 0 without `reflect`."""

    labels: tuple[str, ...]
    action: SignedPermutation
    centers: tuple[float, ...]


class Block(Keys):
    """A block.  name: for messages and labels. Which axis the mirror negates is the body's `lateral`.

    KEYS: those that say the kind, of which a block has one.
    """

    KEYS: ClassVar[tuple[str, ...]] = ()
    name: Name = ""

    @property
    def title(self) -> str:
        """The name that its labels begin with: its own, else the kind."""
        return self.name or self.KEYS[0]

    @property
    def parts(self) -> tuple[Block, ...]:
        """The blocks that it is built of."""
        return ()

    def run(self, body: Skeleton) -> Run:
        """Its entries, and what the mirror does to them. Raises Wrong or SpecError where the body says too little."""
        raise NotImplementedError

    def _entries(self, labels: Sequence[str], action: SignedPermutation, coordinates: Sequence[str] = ()) -> Run:
        """The run of these entries.  coordinates: of each, for `reflect`. Raises SpecError for a wrong centre."""
        reflect: Mapping[str, Fraction] = getattr(self, "reflect", {})
        for dim in reflect:
            position_in(list(dict.fromkeys(coordinates)), dim, "dim of the block", ("reflect",))
            if any(sign > 0 for name, sign in zip(coordinates, action.sign, strict=True) if name == dim):
                facts = f"reflect gives a centre of {dim!r}, which is not negated"
                raise Wrong(facts, f"say that the mirror negates {dim}, or drop its centre", kind=SpecError)
        centers = [float(reflect.get(name, 0)) for name in coordinates] if reflect else [0.0] * len(labels)
        return Run(tuple(labels), action, tuple(centers))

    def lateral(self, body: Skeleton) -> str:
        """The axis of the body that points sideways. Raises Wrong where nothing says so."""
        if body.lateral is None:
            facts = f"field {self.title!r}: no `lateral` axis is given"
            raise Wrong(facts, "add `lateral: y`", kind=MissingKeyError)
        return body.lateral


def dotted(*words: str) -> str:
    """The words that are not empty, joined by dots; what begins with a bracket follows without one."""
    return ".".join(filter(None, words)).replace(".[", "[")


def _still(signs: Sequence[int]) -> SignedPermutation:
    return SignedPermutation(np.arange(len(signs)), np.array(signs, np.int64))


def _labels(title: str, entries: int | Iterable[str]) -> list[str]:
    """`gains.kp` of entries with names, `gains[0]` of several without, `height` of one."""
    if not isinstance(entries, int):
        return [dotted(title, name) for name in entries]
    return [title] if entries == 1 else [f"{title}[{number}]" for number in range(entries)]


def swapped_positions(pairs: Pairs, names: Sequence[str], noun: str) -> tuple[tuple[int, int], ...]:
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
    """Blocks one after the other. Raises SpecError with the file and line of the block that is wrong."""
    return chained([run_of(block, body) for block in blocks])


def run_of(block: Block, body: Skeleton) -> Run:
    """The entries of a block. Raises SpecError with its file and line."""
    try:
        return block.run(body)
    except Wrong as wrong:
        raise wrong.error(block.where or f"field {block.title!r}") from None


def chained(runs: Sequence[Run]) -> Run:
    """Runs one after the other: T is their direct sum."""
    labels = tuple(chain.from_iterable(run.labels for run in runs))
    first, *others = [run.action for run in runs]
    return Run(labels, first.direct_sum(*others), tuple(chain.from_iterable(run.centers for run in runs)))


# ---- entries that stay where they are -----------------------------------------------------------------------------
class Measured(Block):
    """Numbers of one thing: `{vector: velocity, dims: [x, y], reflect: {x: 320}}`, `{quaternion: wxyz, name: base}`.

    With y lateral, a polar vector gets the signs (1, -1, 1), an axial one (-1, 1, -1). What stands after the kind is
    the name of a vector, and the order of the numbers of all else: `{kind: quaternion, order: wxyz, name: base}`.
    """

    KEYS = (*WITH_DIMS, "wrench", "twist", "inertia", "quaternion", "rotation", "euler")
    kind: Kind | None = None
    order: Name = ""
    dims: Axes | None = None
    reflect: Centres = {}

    @classmethod
    def spelled(cls, keys: dict[str, Any]) -> dict[str, Any]:
        kind = next((key for key in cls.KEYS if key in keys), None)
        if kind is None:
            return keys
        value = keys.pop(kind)
        return {"kind": kind, ("name" if kind in WITH_DIMS else "order"): value} | keys

    def checked(self) -> None:
        check_quantity(self.kind or "vector", self.order, self.dims)

    @property
    def title(self) -> str:
        return self.name or self.kind or "vector"

    def run(self, body: Skeleton) -> Run:
        return self.measured(self.title, body)

    def measured(self, title: str, body: Skeleton) -> Run:
        """The numbers of one thing: signs by the axes that every number is made of, `gravity.x`, `base[x,y]`."""
        quantity = Quantity(self.kind or "vector", self.order, self.dims or AXES)
        # Of a scalar also where the body has no lateral axis.
        signs = quantity.signs("-" if self.kind == "scalar" else self.lateral(body))
        names = [component.label for component in quantity.components()]
        labels = [dotted(title, name) for name in names]
        return self._entries(labels, _still(signs), names if quantity.kind == "vector" else [""] * len(labels))


def _command(value: Any) -> str | dict[str, int]:
    """A name that tells its sign, or a map of one name to its sign. Raises Wrong."""
    if isinstance(value, Mapping) and len(value) == 1:
        return {read_name(name): read_sign(sign) for name, sign in value.items()}
    name = read_name(value)
    if name not in COMMANDS:
        remedy = f"give the sign: {{{name}: 1}} (stays) or {{{name}: -1}} (negated)"
        raise Wrong(f"what the mirror does to {shown(name)} is not told by the name", remedy)
    return name


class Command(Block):
    """What the robot is told to do: `{command: [vx, vy, {gait: 1}]}`. The names in `COMMANDS` tell their sign.

    Under y -> -y the command (vx, vy, yaw_rate, height) has the signs (1, -1, -1, 1).
    """

    KEYS = ("command",)
    command: tuple[Annotated[str | dict[str, int], PlainValidator(_command)], ...]

    def checked(self) -> None:
        refuse_twice(not_empty(self._names), "command", ("command",))

    @property
    def _names(self) -> list[str]:
        return [entry if isinstance(entry, str) else next(iter(entry)) for entry in self.command]

    def run(self, body: Skeleton) -> Run:
        given = {name: sign for entry in self.command if isinstance(entry, dict) for name, sign in entry.items()}
        wants_axis = any(COMMANDS.get(name) for name in self._names if name not in given)
        lateral = self.lateral(body) if wants_axis else "-"
        signs = [given.get(name) or Component(name, COMMANDS[name]).sign(lateral) for name in self._names]
        return self._entries(_labels(self.title, self._names), _still(signs))


# ---- entries that swap --------------------------------------------------------------------------------------------
class Joints(Block):
    """The joints of the body: `{joints: q, of: [l_hip, r_hip], dims: [x, y]}`, joint by joint.

    of: joints of the body, None for all.  dims: coordinates of each, None for those of the body; a name that the body
    has not is not negated, as a confidence is.  kind: `scalar`, one number a joint that swaps and has no sign.
    """

    KEYS = ("joints",)
    joints: Name
    of: Names | None = None
    dims: tuple[Name, ...] | None = None
    kind: Literal["scalar"] | None = None
    reflect: Centres = {}

    def checked(self) -> None:
        if self.kind is not None and (self.dims or self.reflect):
            raise Wrong("coordinates beside `kind: scalar`", "drop one of them", ("kind",))

    @property
    def title(self) -> str:
        return self.name or self.joints

    def run(self, body: Skeleton) -> Run:
        chosen = body if self.of is None else body.with_joints(self.of)
        chosen = chosen if self.dims is None else chosen.with_dims(self.dims)
        if self.kind is not None:
            return self._entries([dotted(self.title, joint) for joint in chosen.joints], chosen.joint_action())
        words = chosen.dims if len(chosen.dims) > 1 else [""] * len(chosen.dims)
        labels = [dotted(self.title, joint, word) for joint in chosen.joints for word in words]
        return self._entries(labels, chosen.merged_action(), chosen.dims * len(chosen.joints))


class Listed(Block):
    """Any other block, entry by entry: `{entries: [x1, x2, h], swap: [[x1, x2]], negate: [x1, x2]}`.

    Entries in no pair stay where they are; the two of a pair are both negated, or neither. `reflect` is by entry.
    claimed: False where nothing is claimed of them. Other spellings of such a list, named after the first key:

        {scalar: 3, name: gains}, {scalar: [height, speed]}     entries: nothing moves
        {unclaimed: 7}                                          entries, claimed: false; T leaves them, too
        {signs: [1, -1]}, {signs: {vx: 1, vy: -1}}              entries: 2, negate: [1]
        {phase: sin_cos, shift: half}                           entries: [sin, cos], negate: [sin, cos]

    The last is the clock of a gait: the right foot lifts half a period after the left one. Clocks of every leg swap.
    """

    KEYS = ("entries", "scalar", "unclaimed", "signs", "phase")
    entries: Entries
    swap: Pairs = ()
    negate: tuple[Reference, ...] = ()
    reflect: Centres = {}
    claimed: Flag = True

    @classmethod
    def spelled(cls, keys: dict[str, Any]) -> dict[str, Any]:
        kind = next((key for key in cls.KEYS[1:] if key in keys), None)
        if kind is None:
            return keys
        value = keys.pop(kind)
        if kind == "signs":
            signs = [read_sign(sign) for sign in (value.values() if isinstance(value, Mapping) else value)]
            names = list(value) if isinstance(value, Mapping) else len(signs)
            changed = {"entries": names, "negate": [number for number, sign in enumerate(signs) if sign < 0]}
        elif kind == "phase":
            names, shift = str(value).split("_"), keys.pop("shift", None)
            if value not in ("sin_cos", "cos_sin", "sin", "cos") or shift not in ("half", "none"):
                facts, remedy = f"phase {shown(value)} with shift {shown(shift)}", "write {phase: sin_cos, shift: half}"
                raise Wrong(facts, remedy, kind=WrongValueError if shift else MissingKeyError)
            changed = {"entries": names, "negate": names if shift == "half" else []}
        else:
            changed = {"entries": value, "claimed": kind == "scalar"}
        return {"name": kind} | keys | changed

    def checked(self) -> None:
        self._action()

    @property
    def _names(self) -> Sequence[str]:
        return list(map(str, range(self.entries))) if isinstance(self.entries, int) else self.entries

    def _action(self) -> SignedPermutation:
        names = self._names
        pairs = swapped_positions(self.swap, names, "entry")
        negated = {position_in(names, entry, "entry", ("negate", at)) for at, entry in enumerate(self.negate)}
        for number, (i, j) in enumerate(pairs):
            if (i in negated) != (j in negated):
                facts = f"{names[i]!r} and {names[j]!r} swap, and one of them alone is negated"
                raise Wrong(facts, "negate both, or neither", ("swap", number), kind=NotAnInvolutionError)
        return SignedPermutation.of(pairs, negated, size=len(names))

    def run(self, body: Skeleton) -> Run:
        labels = _labels(self.title if isinstance(self.entries, int) else self.name, self.entries)
        return self._entries(labels, self._action(), self._names)


class Things(Measured):
    """Things that swap without being joints, each with the same numbers: `{feet: [FL, FR], kind: vector}`.

    Or with blocks: `{feet: [FL, FR], each: [...], swap: [[FL, FR]], major: entries}`.
    swap: pairs; None where the skeleton and the names tell them.  major: `items`, all numbers of the first thing first,
    T = P x S with the swap P and the signs S of one thing; `entries`, the first number of all things first, S x P.
    """

    KEYS = ("bodies", "feet", "legs", "hands", "links", "sites", "sensors", "items")
    items: Names
    each: Blocks | None = None
    swap: Pairs | None = None
    major: Literal["items", "entries"] = "items"

    @classmethod
    def spelled(cls, keys: dict[str, Any]) -> dict[str, Any]:
        return {"items" if key in cls.KEYS else key: value for key, value in keys.items()}

    def checked(self) -> None:
        if (self.each is None) == (self.kind is None and not self.dims):
            facts = "what each of them holds is said twice" if self.each else "what each of them holds is not said"
            kind = WrongValueError if self.each else MissingKeyError
            raise Wrong(facts, "write `kind: vector`, or `each: [...]` with blocks", kind=kind)
        super().checked()
        swapped_positions(self.swap or (), self.items, "item")

    @property
    def title(self) -> str:  # the blocks of `each` may have names
        return self.name if self.each is not None else super().title

    @property
    def parts(self) -> tuple[Block, ...]:
        return self.each or ()

    def _swapped(self, body: Skeleton) -> SignedPermutation:
        """Which things change places. A distance between two joints is the same from its other end, a vector is not."""
        if self.swap is not None:
            pairs = swapped_positions(self.swap, self.items, "item")
        else:
            pairs = partners_of(self.items, body, has_ends=not _is_scalar(self))
        return SignedPermutation.of(pairs, size=len(self.items))

    def run(self, body: Skeleton) -> Run:
        inside = joined(self.each, body) if self.each is not None else self.measured("", body)
        names, swap = self.items, self._swapped(body)
        _limit(len(names) * len(inside.labels))
        if self.major == "items":
            labels = [dotted(self.title, name, number) for name in names for number in inside.labels]
            return Run(tuple(labels), swap.kronecker(inside.action), inside.centers * len(names))
        labels = [dotted(self.title, name, number) for number in inside.labels for name in names]
        return Run(tuple(labels), inside.action.kronecker(swap), tuple(np.repeat(inside.centers, len(names)).tolist()))


def _limit(size: int) -> None:
    if size > MOST_ENTRIES:
        raise Wrong(f"a block of {size} entries, more than {MOST_ENTRIES}", "correct its sizes")


def _is_scalar(block: Block) -> bool:
    """Whether a block holds nothing but numbers that the mirror leaves as they are, as distances and angles."""
    if isinstance(block, Things) and block.each is None:
        return block.kind == "scalar"
    is_still = isinstance(block, Listed) and not block.swap and not block.negate
    return is_still or (bool(block.parts) and all(map(_is_scalar, block.parts)))


# ---- grids and frames ---------------------------------------------------------------------------------------------
class Grid(Block):
    """Values on a grid, the last axis fastest: `{grid: [17, 11], axes: [x, y]}` or `{grid: [17, 11], flip: 1}`.

    axes: the body's axis that each runs along, or another word.  flip: axes that are reversed, whatever they are
    called. The order along the lateral axis is reversed, and the values stay: T takes (i, j) of 2 x 3 to (i, 2 - j).
    """

    KEYS = ("grid",)
    grid: tuple[Whole, ...]
    axes: Names | None = None
    flip: Annotated[tuple[Whole, ...] | None, BeforeValidator(as_list)] = None

    def checked(self) -> None:
        count = len(self.grid)
        if not self.grid or min(self.grid) < 1 or len(self.axes or self.grid) != count:
            facts = f"a grid of the sizes {list(self.grid)} with the axes {list(self.axes or ())}"
            raise Wrong(facts, "give one size or more, and name every axis once, slowest first", ("grid",))
        _limit(prod(self.grid))
        for axis in self.flip or ():
            position_in([""] * count, axis, "axis", ("flip",))
        if self.flip is None and not set(self.axes or ()) & set(AXES):
            facts = "which axis of the grid the mirror reverses is not said"
            raise Wrong(facts, "add `axes: [x, y]`, slowest first; or `flip: 1`", kind=MissingKeyError)

    def run(self, body: Skeleton) -> Run:
        flipped = self.flip
        if flipped is None:
            lateral = self.lateral(body)
            flipped = tuple(axis for axis, word in enumerate(self.axes or ()) if word == lateral)
        points = np.arange(prod(self.grid)).reshape(self.grid)
        mirrored = np.flip(points, flipped).reshape(-1)
        labels = [f"{self.title}[{','.join(map(str, point))}]" for point in np.ndindex(*self.grid)]
        return self._entries(labels, SignedPermutation(mirrored, np.ones(len(labels), np.int64)))


class History(Block):
    """Several frames of the same blocks: `{history: 5, of: [...], order: oldest_first, major: frames}`.

    order: of the frames, for labels alone (`t-1` is the frame before the newest).  major: of blocks a (2 numbers) and
    b (1), `frames` is a a b | a a b, T = 1_2 x (T_a + T_b); `terms` is a a a a | b b, T = (1_2 x T_a) + (1_2 x T_b).
    """

    KEYS = ("history",)
    history: Count
    of: Blocks
    order: Literal["oldest_first", "newest_first"] | None = None
    major: Literal["frames", "terms"] = "frames"

    @property
    def parts(self) -> tuple[Block, ...]:
        return self.of

    def run(self, body: Skeleton) -> Run:
        count, still, runs = self.history, SignedPermutation.identity(self.history), list[Run]()
        # `t-0` is the newest frame, whichever comes first; `frame0` the first where the order is not said.
        order = range(count - 1, -1, -1) if self.order == "oldest_first" else range(count)
        frames = [f"frame{frame}" if self.order is None else f"t-{frame}" for frame in order]
        for blocks in [self.of] if self.major == "frames" else [(block,) for block in self.of]:
            inside = joined(blocks, body)
            _limit(count * len(inside.labels))
            labels = [dotted(self.name, frame, label) for frame in frames for label in inside.labels]
            runs.append(Run(tuple(labels), still.kronecker(inside.action), inside.centers * count))
        return chained(runs)


# ---- the kinds ----------------------------------------------------------------------------------------------------
_CLASSES = (Measured, Command, Joints, Listed, Things, Grid, History)
KINDS: Mapping[str, type[Block]] = {key: kind for kind in _CLASSES for key in kind.KEYS}
"""The class of every kind of block, by the key that says the kind."""


def _read(data: Any) -> Block:
    """The block that a map describes: one of its keys says the kind. Raises Wrong."""
    if isinstance(data, Block):
        return data
    keys = list(data) if isinstance(data, Mapping) else []
    kinds = [key for key in keys if key in KINDS]
    if len(kinds) > 1:
        raise Wrong(f"a field is both `{kinds[0]}` and `{kinds[1]}`", "make two of it", (kinds[1],))
    if not kinds and "kind" not in keys:
        facts = f"a field has no key that says its kind{f', only {keys}' if keys else ''}"
        raise Wrong(facts, did_you_mean(keys[0] if keys else "", KINDS), kind=UnknownKeyError)
    return read_record(KINDS[kinds[0]] if kinds else Measured, data)


AnyBlock = Annotated[Block, PlainValidator(_read)]
Blocks = Annotated[tuple[AnyBlock, ...], BeforeValidator(as_list), AfterValidator(not_empty)]
"""The blocks of a list, or the one block of a map."""
Things.model_rebuild()
History.model_rebuild()
