"""Who is whose partner, and how does T act on joints x coordinates?

The mirror swaps the joints of each pair and negates some coordinates: the same ones for every joint (`negate`), or,
for the joints listed in `signs` (robots, whose joint frames differ), the ones listed there instead. With the partner
p(j) of joint j and its sign s[j, d] at coordinate d:

    (T x)[j, d] = s[j, d] x[p(j), d],        s[p(j), d] = s[j, d], so that T T x = x

A nose and two paws with dims x, y and negate x: (T x)[left_paw] = (-x, y) of the right paw. `fitting` lays this action
out over the axes of a tensor: `joint_action` and `coord_action` on two axes, `merged_action` on one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from chiralize.body.document import to_yaml
from chiralize.body.naming import side
from chiralize.body.values import KeyPath, Wrong, position_in, refuse_twice
from chiralize.errors import NotAnInvolutionError, SpecError, UnpairedJointError
from chiralize.errors.words import when
from chiralize.symmetry.involution import SignedPermutation

Signs = tuple[tuple[int, tuple[int, ...]], ...]
"""(joint index, one sign a dim) of joints that have their own; a tuple in place of a dict, so that it can be hashed."""
AXES = ("x", "y", "z")


@dataclass(frozen=True, repr=False)
class Skeleton:
    """A body with a left and a right.

    joints: names in the order of the tensors.  pairs: (left, right) indices.  dims: names of the coordinates.
    negate: the dims that the mirror negates.  signs: (joint index, signs over dims) for joints that have their own.
    lateral: the axis of the body (x, y or z) that points sideways; None where nothing says so.  edges: bones, as index
    pairs.  aliases, source, note: other names, where the order of the joints is from, and a remark.
    Raises UnpairedJointError, NotAnInvolutionError, UnknownNameError or WrongValueError.

    >>> dog = Skeleton("dog", ("nose", "left_paw", "right_paw"), ((1, 2),))
    >>> print(dog.joint_action())
    3: (1 2)
    >>> print(dog.coord_action(("x", "y")))
    2: -0
    """

    name: str
    joints: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    dims: tuple[str, ...] = AXES
    negate: tuple[str, ...] = ("x",)
    signs: Signs = ()
    lateral: str | None = None
    edges: tuple[tuple[int, int], ...] = ()
    aliases: tuple[str, ...] = ()
    source: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        # Callers may pass lists and numpy integers; the record holds tuples of plain ones, and can be hashed.
        for field in ("joints", "dims", "negate", "aliases"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        for field in ("pairs", "edges"):
            object.__setattr__(self, field, tuple(map(_integers, getattr(self, field))))
        object.__setattr__(self, "signs", tuple((int(joint), _integers(row)) for joint, row in self.signs))
        # A reflection negates the coordinate across its plane: a single negated axis of space points sideways.
        if self.lateral is None and len(self.negate) == 1 and self.negate[0] in AXES:
            object.__setattr__(self, "lateral", self.negate[0])
        try:
            _check(self)
        except Wrong as wrong:
            raise wrong.error(f"skeleton {self.name}") from wrong

    def __repr__(self) -> str:
        counts = f"{len(self.joints)} joints, {len(self.pairs)} pairs, {len(self.center)} center"
        signs = when(self.signs, ", signs of single joints")
        return f"<Skeleton {self.name}: {counts}, negates {', '.join(self.negate) or 'no dim'}{signs}>"

    # ---- reading ------------------------------------------------------------------------------------------
    @property
    def center(self) -> tuple[int, ...]:
        """Indices of the joints without a partner."""
        return tuple(index for index, partner in enumerate(self._partners) if partner == index)

    @cached_property
    def _partners(self) -> tuple[int, ...]:
        return tuple(self.joint_action().partner.tolist())

    @cached_property
    def _lefts(self) -> frozenset[int]:
        return frozenset(left for left, _ in self.pairs)

    def partner(self, index: int) -> int:
        """Index of the joint on the other side; a centre joint is its own."""
        return self._partners[index]

    def side(self, index: int) -> str:
        """`left`, `right` or `center`, by the pair that the joint is in, whatever it is called."""
        if self._partners[index] == index:
            return "center"
        return "left" if index in self._lefts else "right"

    def sign_table(self, dims: Sequence[str] | None = None) -> npt.NDArray[np.int64]:
        """Signs, "joint dim": `signs` of the joints that have them, `negate` for the others; unknown dims are +1."""
        chosen = self.dims if dims is None else tuple(dims)
        table = np.ones((len(self.joints), len(chosen)), np.int64)
        for column, dim in enumerate(chosen):
            if dim in self.negate:
                table[:, column] = -1
            if dim in self.dims:
                for joint, row in self.signs:
                    table[joint, column] = row[self.dims.index(dim)]
        return table

    # ---- how the mirror acts ------------------------------------------------------------------------------
    def joint_action(self) -> SignedPermutation:
        """Swap of left and right on the joint axis, "joint", without signs."""
        return SignedPermutation.of(self.pairs, size=len(self.joints))

    def coord_action(self, dims: Sequence[str] | None = None) -> SignedPermutation:
        """Signs on the coordinate axis, "dim". Raises SpecError where joints have signs of their own."""
        table = self.sign_table(dims)
        if (table != table[:1]).any():
            facts, remedy = "joints have signs of their own: there is no sign per coordinate", "merge both axes: (j d)"
            raise SpecError(f"skeleton {self.name}", facts, remedy)
        return SignedPermutation(np.arange(table.shape[1]), table[0])

    def merged_action(self, dims: Sequence[str] | None = None, *, joint_major: bool = True) -> SignedPermutation:
        """T on joints and coordinates merged, (j d), or (d j) where `joint_major` is False.

        Joints may have signs of their own here, where T is no product of an action on each.

        >>> print(Skeleton("paws", ("left", "right"), ((0, 1),), ("x", "y")).merged_action())
        4: -(0 2) (1 3)
        """
        table = self.sign_table(dims)
        numbers = np.arange(table.size).reshape(table.shape if joint_major else table.T.shape)
        numbers = numbers if joint_major else numbers.T  # "joint dim", the number of every entry
        order = np.argsort(numbers.reshape(-1))
        partner = numbers[self.joint_action().partner]
        return SignedPermutation(partner.reshape(-1)[order], table.reshape(-1)[order])

    # ---- making others ------------------------------------------------------------------------------------
    def with_joints(self, joints: Sequence[str | int]) -> Skeleton:
        """The same body with the chosen joints in the given order; each must come with its partner. Raises Wrong."""
        chosen = [position_in(self.joints, joint, "joint", ("joints", at)) for at, joint in enumerate(joints)]
        for at, index in enumerate(chosen):
            if self.partner(index) not in chosen:
                missing = self.joints[self.partner(index)]
                facts = f"joint {self.joints[index]!r} without its partner {missing!r}"
                remedy = f"add {missing!r} to the same list, which may have both sides"
                raise Wrong(facts, remedy, ("joints", at), kind=UnpairedJointError)
        position = {index: number for number, index in enumerate(chosen)}
        return replace(
            self,
            joints=tuple(self.joints[index] for index in chosen),
            pairs=_renumbered(self.pairs, position),
            signs=tuple((position[joint], row) for joint, row in self.signs if joint in position),
            edges=_renumbered(self.edges, position),
        )

    def with_dims(self, dims: Sequence[str] | None = None, negate: Sequence[str] | None = None) -> Skeleton:
        """The same body with other coordinates: known ones have their signs, new ones none.

        negate: those that are negated, of every joint. Raises Wrong where some are, and joints have signs of their own
        in dims that stay.
        """
        chosen = self.dims if dims is None else tuple(dims)
        # `negate` would silently drop the signs of single joints; where all dims are new ones nothing is dropped.
        if negate and self.signs and set(chosen) & set(self.dims):
            facts = f"`negate: {list(negate)}` is of all joints, and some have signs of their own in {list(self.dims)}"
            remedy = f"say `signs` over {list(chosen)} instead: one list for all joints, or {{joint: [signs]}}"
            raise Wrong(facts, remedy, ("negate",))
        if negate is not None:
            return replace(self, dims=chosen, negate=tuple(negate), signs=(), lateral=self.lateral)
        negated, table = tuple(dim for dim in self.negate if dim in chosen), self.sign_table(chosen)
        signs = tuple((joint, _integers(table[joint])) for joint, _ in self.signs)
        return replace(self, dims=chosen, negate=negated, signs=signs, lateral=self.lateral)

    # ---- writing ------------------------------------------------------------------------------------------
    def to_dict(self) -> dict[str, object]:
        """The skeleton as the keys of a skeleton file, by names. Reading it again gives an equal skeleton."""
        # `center` is needed where a name has a side and the joint no partner; reading would refuse it otherwise.
        center = [self.joints[index] for index in self.center]
        fields: dict[str, object] = {
            "aliases": list(self.aliases),
            "center": center if any(map(side, center)) else [],
            "signs": {self.joints[index]: list(row) for index, row in self.signs},
            "lateral": self.lateral,
            "edges": self._by_name(self.edges),
            "source": self.source,
            "note": self.note,
        }
        fields = {key: value for key, value in fields.items() if value}
        always = {"name": self.name, "joints": list(self.joints), "pairs": self._by_name(self.pairs)}
        return {**always, "dims": list(self.dims), "negate": list(self.negate), **fields}

    def _by_name(self, pairs: Iterable[tuple[int, int]]) -> list[list[str]]:
        return [[self.joints[i], self.joints[j]] for i, j in pairs]

    def to_yaml(self) -> str:
        """The text of a skeleton file. Reading it again gives an equal skeleton."""
        return to_yaml(self.to_dict())


def _integers(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(map(int, numbers))


def _renumbered(pairs: Sequence[tuple[int, int]], position: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    """Pairs of joints at their new positions; those of which a joint is gone are dropped."""
    return tuple((position[i], position[j]) for i, j in pairs if i in position and j in position)


# ---- checks: every one of them exists here alone, and says where as a path of keys -------------------------------
def _check(skeleton: Skeleton) -> None:
    """Raises Wrong where T would be no involution, or names and indices do not fit."""
    joints = skeleton.joints
    if not joints:
        raise Wrong("there are no joints", "list the joints in the order of the tensors", ("joints",))
    refuse_twice(joints, "joint", ("joints",))
    refuse_twice(skeleton.dims, "dim", ("dims",))
    check_pairs(skeleton.pairs, joints, "joint", ("pairs",))
    for at, edge in enumerate(skeleton.edges):
        check_pairs([edge], joints, "joint", ("edges", at))
    for at, dim in enumerate(skeleton.negate):
        position_in(skeleton.dims, dim, "dim", ("negate", at))
    _check_signs(skeleton)


def check_pairs(pairs: Sequence[tuple[int, int]], names: Sequence[str], noun: str, at: KeyPath) -> None:
    """Raises Wrong unless every pair is of two things that are in no other.  noun: what is paired."""
    seen: dict[int, tuple[int, int]] = {}
    for number, pair in enumerate(pairs):
        for index in pair:
            position_in(names, index, noun, (*at, number))
            if index in seen:
                both = [[names[i] for i in listed] for listed in (seen[index], pair)]
                facts = f"{noun} {names[index]!r} is in two pairs, {both[0]} and {both[1]}"
                raise Wrong(facts, f"put each {noun} into one pair", (*at, number), kind=NotAnInvolutionError)
        if pair[0] == pair[1]:
            facts = f"{noun} {names[pair[0]]!r} is paired with itself"
            raise Wrong(facts, f"leave a {noun} that stays out of the pairs", (*at, number))
        seen[pair[0]] = seen[pair[1]] = pair


def _check_signs(skeleton: Skeleton) -> None:
    """Raises Wrong unless a joint has one sign a dim, and partners share theirs: T T x = s[j] s[p(j)] x."""
    joints = skeleton.joints
    for joint, row in skeleton.signs:
        position_in(joints, joint, "joint", ("signs",))
        if len(row) != len(skeleton.dims) or not {*row} <= {-1, 1}:
            facts = f"joint {joints[joint]!r} has signs {list(row)} for dims {list(skeleton.dims)}"
            raise Wrong(facts, "give one sign, 1 or -1, per dim", ("signs", joints[joint]))
    table, listed = skeleton.sign_table(), {joint for joint, _ in skeleton.signs}
    for i, j in skeleton.pairs:
        if (table[i] != table[j]).any():
            facts = f"partners {joints[i]!r} and {joints[j]!r} have signs {table[i].tolist()} and {table[j].tolist()}"
            at = ("signs", joints[i if i in listed else j])
            raise Wrong(facts, "give both partners the same signs", at, kind=NotAnInvolutionError)
