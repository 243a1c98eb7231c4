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
from chiralize.body.values import Wrong, did_you_mean, refuse_twice
from chiralize.errors import NotAnInvolutionError, SpecError, UnknownNameError, UnpairedJointError
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
            object.__setattr__(self, field, tuple((int(i), int(j)) for i, j in getattr(self, field)))
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

    @property
    def has_joint_signs(self) -> bool:
        """Whether some joint's signs differ from the common ones, so that joints x coordinates is no product."""
        common = common_signs(self.dims, self.negate)
        return any(row != common for _, row in self.signs)

    def index(self, joint: str, where: str = "") -> int:
        """Position of a joint. Raises UnknownNameError.  where: for the message."""
        if joint not in self.joints:
            facts = f"no joint is called {joint!r}"
            raise UnknownNameError(where or f"skeleton {self.name}", facts, did_you_mean(joint, self.joints))
        return self.joints.index(joint)

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
            first = int(np.flatnonzero((table != table[:1]).any(axis=1))[0])
            facts = f"joints {self.joints[0]!r} and {self.joints[first]!r} have different signs: no sign per coordinate"
            remedy = "merge joints and coordinates in the layout, (j d), or use one coordinate"
            raise SpecError(f"skeleton {self.name}", facts, remedy)
        # All rows are the same by now; the first exists, since a skeleton has joints.
        return SignedPermutation(np.arange(table.shape[1]), table[0])

    def merged_action(self, dims: Sequence[str] | None = None, *, joint_major: bool = True) -> SignedPermutation:
        """T on joints and coordinates merged, (j d), or (d j) where `joint_major` is False.

        Joints may have signs of their own here, where T is no product of an action on each.

        >>> print(Skeleton("paws", ("left", "right"), ((0, 1),), ("x", "y")).merged_action())
        4: -(0 2) (1 3)
        """
        table = self.sign_table(dims)
        joints, size = table.shape
        partner = np.tile(self.joint_action().partner[:, None], (1, size))  # "joint dim", the partner joint
        # The number of an entry is joint * dims + dim, or dim * joints + joint.
        if joint_major:
            partner = partner * size + np.arange(size)[None, :]
            return SignedPermutation(partner.reshape(-1), table.reshape(-1))
        partner = partner + np.arange(size)[None, :] * joints
        return SignedPermutation(partner.T.reshape(-1), table.T.reshape(-1))

    # ---- making others ------------------------------------------------------------------------------------
    def with_joints(self, joints: Sequence[str | int], where: str = "") -> Skeleton:
        """The same body with the chosen joints in the given order; each must come with its partner.

        Raises UnknownNameError, UnpairedJointError, WrongValueError (a joint chosen twice).
        """
        where = where or f"skeleton {self.name}"
        chosen = [joint if isinstance(joint, int) else self.index(joint, where) for joint in joints]
        for number, index in enumerate(chosen):
            wrong, name = None, self.joints[index]
            if index in chosen[:number]:
                wrong = Wrong(f"joint {name!r} is listed twice", "list each joint once")
            elif self.partner(index) not in chosen:
                missing = self.joints[self.partner(index)]
                facts = f"joint {name!r} without its partner {missing!r}"
                remedy = f"add {missing!r} to the same list, which may have both sides"
                wrong = Wrong(facts, remedy, ("joints", number), kind=UnpairedJointError)
            if wrong is not None:
                raise wrong.error(where) from wrong
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

        negate: those that are negated, of every joint. Raises WrongValueError where some are, and joints have signs of
        their own in dims that stay.
        """
        chosen = self.dims if dims is None else tuple(dims)
        # `negate` would silently drop the signs of single joints; where all dims are new ones nothing is dropped.
        if negate and self.signs and set(chosen) & set(self.dims):
            facts = f"`negate: {list(negate)}` is of all joints, and some have signs of their own in {list(self.dims)}"
            remedy = f"say `signs` over {list(chosen)} instead: one list for all joints, or {{joint: [signs]}}"
            wrong = Wrong(facts, remedy, ("negate",))
            raise wrong.error(f"skeleton {self.name}") from wrong
        negated = tuple(dim for dim in self.negate if dim in chosen) if negate is None else tuple(negate)
        base = replace(self, dims=chosen, negate=negated, signs=(), lateral=self.lateral)
        if not self.signs or negate is not None:
            return base
        # Signs of single joints, in the order of the new dims; of a dim that is new they are 1.
        table = base.sign_table()
        for joint, row in self.signs:
            for dim in set(chosen) & set(self.dims):
                table[joint, chosen.index(dim)] = row[self.dims.index(dim)]
        return replace(base, signs=tuple((joint, _integers(table[joint])) for joint, _ in self.signs))

    # ---- writing ------------------------------------------------------------------------------------------
    def to_dict(self) -> dict[str, object]:
        """The skeleton as the keys of a skeleton file, by names. Reading it again gives an equal skeleton."""
        fields: dict[str, object] = {"name": self.name}
        if self.aliases:
            fields["aliases"] = list(self.aliases)
        fields["joints"] = list(self.joints)
        fields["pairs"] = self._by_name(self.pairs)
        # Needed where a name has a side and the joint no partner; reading would refuse it otherwise.
        if any(side(self.joints[index]) for index in self.center):
            fields["center"] = [self.joints[index] for index in self.center]
        fields["dims"] = list(self.dims)
        fields["negate"] = list(self.negate)
        if self.signs:
            fields["signs"] = {self.joints[index]: list(row) for index, row in self.signs}
        if self.lateral is not None:
            fields["lateral"] = self.lateral
        if self.edges:
            fields["edges"] = self._by_name(self.edges)
        for key, text in (("source", self.source), ("note", self.note)):
            if text:
                fields[key] = text
        return fields

    def _by_name(self, pairs: Iterable[tuple[int, int]]) -> list[list[str]]:
        return [[self.joints[i], self.joints[j]] for i, j in pairs]

    def to_yaml(self) -> str:
        """The text of a skeleton file. Reading it again gives an equal skeleton."""
        return to_yaml(self.to_dict())


def common_signs(dims: Sequence[str], negate: Sequence[str]) -> tuple[int, ...]:
    """One sign per dim, which all joints have that list none of their own: -1 for the dims in `negate`."""
    return tuple(-1 if dim in negate else 1 for dim in dims)


def _integers(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(map(int, numbers))


def _renumbered(pairs: Sequence[tuple[int, int]], position: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    """Pairs of joints at their new positions; those of which a joint is gone are dropped."""
    return tuple((position[i], position[j]) for i, j in pairs if i in position and j in position)


# ---- checks: every one of them exists here alone, and says where as a path of keys -------------------------------
def _check(skeleton: Skeleton) -> None:
    """Raises Wrong where T would be no involution, or names and indices do not fit."""
    if not skeleton.joints:
        raise Wrong("there are no joints", "list the joints in the order of the tensors", ("joints",))
    refuse_twice(skeleton.joints, "joint", ("joints",))
    refuse_twice(skeleton.dims, "dim", ("dims",))
    check_pairs(skeleton.pairs, skeleton.joints, "joint", ("pairs",))
    size = len(skeleton.joints)
    for at, (i, j) in enumerate(skeleton.edges):
        if not (0 <= i < size and 0 <= j < size) or i == j:
            raise Wrong(f"edge ({i}, {j}) joins no two joints of {size}", "join two different joints", ("edges", at))
    for at, dim in enumerate(skeleton.negate):
        if dim not in skeleton.dims:
            facts = f"negated dim {dim!r} is no dim"
            raise Wrong(facts, did_you_mean(dim, skeleton.dims), ("negate", at), kind=UnknownNameError)
    _check_signs(skeleton)


def check_pairs(pairs: Sequence[tuple[int, int]], names: Sequence[str], noun: str, at: tuple[str | int, ...]) -> None:
    """Raises Wrong unless every pair is of two things that are in no other.  noun: what is paired."""
    seen: dict[int, tuple[int, int]] = {}
    for number, pair in enumerate(pairs):
        for index in pair:
            if not 0 <= index < len(names):
                facts = f"pair {pair} lies outside 0..{len(names) - 1}"
                raise Wrong(facts, f"count {noun}s from 0", (*at, number))
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
        if not 0 <= joint < len(joints):
            facts = f"signs of joint {joint}, which does not exist"
            raise Wrong(facts, "count joints from 0", ("signs",))
        if len(row) != len(skeleton.dims) or any(sign not in (-1, 1) for sign in row):
            facts = f"joint {joints[joint]!r} has signs {list(row)} for dims {list(skeleton.dims)}"
            raise Wrong(facts, "give one sign, 1 or -1, per dim", ("signs", joints[joint]))
    table, listed = skeleton.sign_table(), {joint for joint, _ in skeleton.signs}
    for i, j in skeleton.pairs:
        if (table[i] != table[j]).any():
            facts = (
                f"partners {joints[i]!r} and {joints[j]!r} have signs {table[i].tolist()} and {table[j].tolist()}, "
                "so the mirror twice is not the identity"
            )
            at = ("signs", joints[i if i in listed else j])
            raise Wrong(facts, "give both partners the same signs", at, kind=NotAnInvolutionError)
