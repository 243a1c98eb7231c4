"""What does the mirror do to feet and bodies (they swap), frames (they stay) and grids (they are reversed)?

{feet: [L, R], each: [{vector: force}]}          L.x L.y L.z R.x R.y R.z  ->  R.x -R.y R.z L.x -L.y L.z
{history: 2, of: [{joints: q}]}                  the mirror acts on every frame alike
{grid: [2, 3], axes: [x, y]}                     0 1 2 | 3 4 5  ->  2 1 0 | 5 4 3
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import prod
from typing import Annotated, Any, Literal

import numpy as np
from pydantic.functional_validators import AfterValidator, BeforeValidator, PlainValidator

from chiralize.body.fields import (
    Axes,
    Block,
    Centres,
    Command,
    Joints,
    Kind,
    Listed,
    Measured,
    Numbers,
    Ordered,
    Phase,
    Run,
    Signs,
    chained,
    check_order,
    dotted,
    joined,
    swapped_positions,
)
from chiralize.body.naming import infer_pairs, partner_name, readings
from chiralize.body.quantities import WITH_DIMS, Quantity
from chiralize.body.skeleton import AXES, Skeleton
from chiralize.body.values import (
    MOST_ENTRIES,
    Name,
    Names,
    Pairs,
    Whole,
    Wrong,
    as_list,
    nearest,
    not_empty,
    read_record,
    refuse_twice,
)
from chiralize.errors import MissingKeyError, UnknownKeyError, UnpairedJointError, WrongValueError
from chiralize.symmetry.involution import SignedPermutation

_WORDS = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9]+")
_BETWEEN = "-"


class Things(Block):
    """Things that swap without being joints, each with the same numbers: `{feet: [FL, FR], kind: vector}`.

    Or with blocks: `{feet: [FL, FR], each: [...], swap: [[FL, FR]], major: entries}`.
    swap: pairs; None where the skeleton and the names tell them.  major: `items`, all numbers of the first thing first,
    T = P x S with the swap P and the signs S of one thing; `entries`, the first number of all things first, S x P.
    """

    KEYS = ("bodies", "feet", "legs", "hands", "links", "sites", "sensors", "items")
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
    reflect: Centres = {}
    swap: Pairs | None = None
    major: Literal["items", "entries"] = "items"

    def checked(self) -> None:
        quantity = {"kind": self.kind, "order": self.order, "dims": self.dims, "reflect": self.reflect}
        given = [key for key, value in quantity.items() if value]
        if self.each is not None and given:
            facts = f"`{given[0]}` beside `each`"
            raise Wrong(facts, "say it in the blocks of `each`", (given[0],))
        if self.each is None and self.kind is None and self.dims is None:
            facts, remedy = "what each of them holds is not said", "add `kind: vector`, or `each: [...]` with blocks"
            raise Wrong(facts, remedy, kind=MissingKeyError)
        check_order(self.kind or "vector", self.order, ("order",))
        if self.dims is not None and (self.kind or "vector") not in WITH_DIMS:
            facts = f"`dims` of a {self.kind}"
            raise Wrong(facts, "drop it; dims are of a vector or an axial vector", ("dims",))
        swapped_positions(self.swap or (), self._names, "item")

    @property
    def _names(self) -> tuple[str, ...]:
        return getattr(self, self.key)

    @property
    def title(self) -> str:
        """Its name; else the kind, unless the blocks of `each` have names."""
        return self.name or ("" if self.each is not None else self.kind or "vector")

    @property
    def parts(self) -> tuple[Block, ...]:
        return self.each or ()

    def _swapped(self, body: Skeleton) -> SignedPermutation:
        """Which things change places. A distance between two joints is the same from its other end, a vector is not."""
        is_plain = all(map(_is_scalar, self.each)) if self.each is not None else self.kind == "scalar"
        try:
            given = None if self.swap is None else swapped_positions(self.swap, self._names, "item")
            pairs = partners_of(self._names, body, not is_plain) if given is None else given
        except Wrong as wrong:
            raise wrong.error(self.where or f"field {self.title!r}") from None
        return SignedPermutation.of(pairs, size=len(self._names))

    def run(self, body: Skeleton) -> Run:
        if self.each is not None:
            inside = joined(self.each, body)
        else:
            inside = self._measured(Quantity(self.kind or "vector", self.order, self.dims or AXES), "", body)
        names, swap = self._names, self._swapped(body)
        _limit(len(names) * len(inside.labels), self)
        if self.major == "items":
            labels = [dotted(self.title, name, number) for name in names for number in inside.labels]
            return Run(tuple(labels), swap.kronecker(inside.action), inside.centers * len(names))
        labels = [dotted(self.title, name, number) for number in inside.labels for name in names]
        return Run(tuple(labels), inside.action.kronecker(swap), tuple(np.repeat(inside.centers, len(names)).tolist()))


def _limit(size: int, block: Block) -> None:
    if size > MOST_ENTRIES:
        block.refuse(WrongValueError, f"a block of {size} entries, more than {MOST_ENTRIES}", "correct its sizes")


def _is_scalar(block: Block) -> bool:
    """Whether a block holds nothing but numbers that the mirror leaves as they are, as distances and angles."""
    if isinstance(block, Things) and block.each is None:
        return block.kind == "scalar"
    return isinstance(block, Numbers) or (bool(block.parts) and all(map(_is_scalar, block.parts)))


# ---- grids and frames ---------------------------------------------------------------------------------------------
class Grid(Block):
    """Values on a grid, the last axis fastest: `{grid: [17, 11], axes: [x, y]}` or `{grid: [17, 11], flip: 1}`.

    axes: the body's axis that each runs along, or another word.  flip: axes that are reversed, whatever they are
    called. The order along the lateral axis is reversed, and the values stay: T takes (i, j) of 2 x 3 to (i, 2 - j).
    """

    KEYS = ("grid",)
    grid: tuple[Whole, ...]
    axes: tuple[Name, ...] = ()
    flip: Annotated[tuple[Whole, ...] | None, BeforeValidator(as_list)] = None

    def checked(self) -> None:
        if not self.grid or min(self.grid) < 1 or prod(self.grid) > MOST_ENTRIES:
            facts = f"a grid of the sizes {list(self.grid)}"
            raise Wrong(facts, f"give 1 to {MOST_ENTRIES} points", ("grid",))
        if self.axes and len(self.axes) != len(self.grid):
            facts = f"{len(self.axes)} axes of a grid of {len(self.grid)} sizes"
            raise Wrong(facts, "name every axis once, slowest first", ("axes",))
        refuse_twice(self.axes, "axis", ("axes",))
        if not set(self.flip or ()) <= set(range(len(self.grid))):
            facts = f"flip {list(self.flip or ())} of a grid of {len(self.grid)} axes"
            raise Wrong(facts, "count axes from 0", ("flip",))
        if self.flip is None and not set(self.axes) & set(AXES):
            facts = "which axis of the grid the mirror reverses is not said"
            raise Wrong(facts, "add `axes: [x, y]`, slowest first; or `flip: 1`", kind=MissingKeyError)

    def run(self, body: Skeleton) -> Run:
        flipped = self.flip
        if flipped is None:
            lateral = self.lateral(body)
            flipped = tuple(axis for axis, word in enumerate(self.axes) if word == lateral)
        factors: list[SignedPermutation] = []
        for axis, size in enumerate(self.grid):
            order = np.arange(size)
            factors.append(SignedPermutation(order[::-1] if axis in flipped else order, np.ones(size, np.int64)))
        labels = [f"{self.title}[{','.join(map(str, point))}]" for point in np.ndindex(*self.grid)]
        return self._entries(labels, factors[0].kronecker(*factors[1:]))


class History(Block):
    """Several frames of the same blocks: `{history: 5, of: [...], order: oldest_first, major: frames}`.

    order: of the frames, for labels alone (`t-1` is the frame before the newest).  major: of blocks a (2 numbers) and
    b (1), `frames` is a a b | a a b, T = 1_2 x (T_a + T_b); `terms` is a a a a | b b, T = (1_2 x T_a) + (1_2 x T_b).
    """

    KEYS = ("history",)
    history: Whole
    of: Blocks
    order: Literal["oldest_first", "newest_first"] | None = None
    major: Literal["frames", "terms"] = "frames"

    def checked(self) -> None:
        if not 1 <= self.history <= MOST_ENTRIES:
            raise Wrong(f"a history of {self.history} frames", "give 1 or more", ("history",))

    @property
    def parts(self) -> tuple[Block, ...]:
        return self.of

    def run(self, body: Skeleton) -> Run:
        still, runs = SignedPermutation.identity(self.history), list[Run]()
        for blocks in [self.of] if self.major == "frames" else [(block,) for block in self.of]:
            inside = joined(blocks, body)
            _limit(self.history * len(inside.labels), self)
            frames = map(self._frame, range(self.history))
            labels = [dotted(self.name, frame, label) for frame in frames for label in inside.labels]
            runs.append(Run(tuple(labels), still.kronecker(inside.action), inside.centers * self.history))
        return chained(runs)

    def _frame(self, frame: int) -> str:
        """`t-0` is the newest frame, whichever comes first; `frame0` the first where the order is not said."""
        if self.order is None:
            return f"frame{frame}"
        return f"t-{self.history - 1 - frame if self.order == 'oldest_first' else frame}"


# ---- partners of things -------------------------------------------------------------------------------------------
def partners_of(items: Sequence[str], body: Skeleton, has_ends: bool = False) -> tuple[tuple[int, int], ...]:
    """Pairs of positions in `items`; what is in none is its own partner.

    Four questions are asked of an item, in this order: is it a joint; is it made of joints (`left_hip-right_knee`: what
    lies between them); has it a word that partners of the skeleton exchange (`FL_foot`, where joints are FL_hip,
    FR_hip); does its name tell a side by itself? The skeleton decides: where it pairs FL_hip with RL_hip, as the mirror
    between front and back does, FL and RL are partners, too.
    has_ends: it is another thing from the other end, as the vector from one joint to the other is.
    Raises Wrong where a name has a side and its partner is not listed.
    """
    image = {joint: body.joints[body.partner(index)] for index, joint in enumerate(body.joints)}
    words = _exchanged_words(body)
    position = {item: number for number, item in enumerate(items)}
    partner: dict[int, int] = {}
    for number, item in enumerate(items):
        joints = _joints_in(item, image)
        named = [_BETWEEN.join([image[joint] for joint in joints])] if joints else []
        if joints and not has_ends:  # the distance left_hip-right_knee may be listed as left_knee-right_hip
            named.append(_BETWEEN.join(image[joint] for joint in reversed(joints)))
        split: list[str] = _WORDS.findall(item)
        if not named and any(word in words for word in split):
            named = ["".join(words.get(word, word) for word in split)]
        if named and item not in named:
            partner[number] = _listed(named, position, item)
        elif named:
            partner[number] = number
    pairs = {(min(pair), max(pair)) for pair in partner.items() if pair[0] != pair[1]}
    silent = [number for number in range(len(items)) if number not in partner]
    return tuple(sorted(pairs | _by_names(items, silent, body)))


def _listed(named: Sequence[str], position: Mapping[str, int], item: str) -> int:
    """Where the first of the partner's names is listed. Raises Wrong."""
    for name in named:
        if name in position:
            return position[name]
    remedy = f"add {named[0]!r}, or give the pairs: swap: [[A, B], ...] (`swap: []` for none)"
    raise Wrong(f"{item!r} without its partner {named[0]!r}", remedy, kind=UnpairedJointError)


def _joints_in(item: str, joints: Iterable[str]) -> list[str]:
    """The joint of that name, or the two or three that a name is made of; empty where it is made of none."""
    if item in joints:
        return [item]
    parts = item.split(_BETWEEN)
    cuts = [*combinations(range(1, len(parts)), 1), *combinations(range(1, len(parts)), 2)]
    for cut in cuts:
        bounds = [0, *cut, len(parts)]
        names = [_BETWEEN.join(parts[start:stop]) for start, stop in zip(bounds, bounds[1:], strict=False)]
        if all(name in joints for name in names):
            return names
    return []


def _exchanged_words(body: Skeleton) -> dict[str, str]:
    """Words of joint names that partners exchange: left and right, or FL and FR; none that goes to several others."""
    words: dict[str, str] = {}
    dropped: set[str] = set()
    for i, j in body.pairs:
        # FL_hip and FR_hip differ in one word: FL and FR are exchanged.
        first, second = _WORDS.findall(body.joints[i]), _WORDS.findall(body.joints[j])
        apart = [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]]
        if len(first) != len(second) or len(apart) != 1:
            continue
        for word, other in (apart[0], apart[0][::-1]):
            if words.setdefault(word, other) != other:
                dropped.add(word)
    # A word of a joint in the middle tells no side, whatever pairs exchange.
    for index in body.center:
        dropped.update(_WORDS.findall(body.joints[index]))
    return {word: other for word, other in words.items() if word not in dropped and other not in dropped}


def _by_names(items: Sequence[str], silent: Sequence[int], body: Skeleton) -> set[tuple[int, int]]:
    """Pairs by names, of the items of which the skeleton says nothing.

    silent: their positions. Raises Wrong where a name tells a side, and the skeleton's pairs are others than those of
    its names, as those of a mirror between front and back; or where a partner is missing.
    """
    names = [items[number] for number in silent]
    sided = [name for name in names if any(reading.certain or reading.partner in names for reading in readings(name))]
    against = [(i, j) for i, j in infer_pairs(body.joints).pairs if body.partner(i) != j]
    if sided and against:
        apart = " and ".join(repr(body.joints[index]) for index in against[0])
        facts = f"{sided[0]!r} names a side, but {body.name} does not pair left with right: {apart} are no pair"
        remedy = "mend the skeleton's pairs, or give those of the items: swap: [[A, B], ...] (`swap: []` for none)"
        raise Wrong(facts, remedy, kind=UnpairedJointError)
    proposal = infer_pairs(names)
    for index in proposal.sided:
        _listed([partner_name(names[index]) or ""], {}, names[index])
    return {(min(silent[i], silent[j]), max(silent[i], silent[j])) for i, j in proposal.pairs}


# ---- the kinds ----------------------------------------------------------------------------------------------------
_CLASSES = (Measured, Ordered, Numbers, Signs, Command, Phase, Joints, Listed, Things, Grid, History)
KINDS: Mapping[str, type[Block]] = {key: kind for kind in _CLASSES for key in kind.KEYS}
"""The class of every kind of block, by the key that says the kind."""
_ALIKE = 0.7
"""How like a kind an unknown key has to be, to be offered for it: `vectr` is, `name` is not."""


def _read(data: Any) -> Block:
    """The block that a map describes: one of its keys says the kind. Raises Wrong."""
    if isinstance(data, Block):
        return data
    keys = list(data) if isinstance(data, Mapping) else []
    kinds = [key for key in keys if key in KINDS]
    if len(kinds) > 1:
        raise Wrong(f"a field is both `{kinds[0]}` and `{kinds[1]}`", "make two of it", (kinds[1],))
    if not kinds:
        near = nearest(keys[0], KINDS, _ALIKE) if keys else None
        facts = f"a field has no key that says its kind{f', only {keys}' if keys else ''}"
        remedy = f"did you mean {near!r}?" if near else f"use one of {', '.join(KINDS)}"
        raise Wrong(facts, remedy, kind=UnknownKeyError)
    return read_record(KINDS[kinds[0]], data)


AnyBlock = Annotated[Block, PlainValidator(_read)]
Blocks = Annotated[tuple[AnyBlock, ...], BeforeValidator(as_list), AfterValidator(not_empty)]
"""The blocks of a list, or the one block of a map."""
Things.model_rebuild()
History.model_rebuild()
