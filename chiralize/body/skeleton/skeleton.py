"""The skeleton: joints, their left/right pairs, and the signs that the mirror gives to coordinates.

The mirror swaps the joints of each pair and negates some coordinates: the same ones for every joint (`negate`), or,
for the joints listed in `signs` (robots, whose joint frames differ), the ones listed there instead. With the partner
p(j) of joint j and its sign s[j, d] at coordinate d:

    (T x)[j, d] = s[j, d] x[p(j), d],        s[p(j), d] = s[j, d], so that T T x = x

A nose and two paws with dims x, y and negate x: (T x)[left_paw] = (-x, y) of the right paw. `tensors/` lays this action
out over the axes of a tensor: `joint_action` and `coord_action` on two axes, `merged_action` on one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from chiralize.body.skeleton.nodes import did_you_mean
from chiralize.body.skeleton.writing import skeleton_to_dict, skeleton_to_yaml
from chiralize.errors import NotAnInvolutionError, SpecError, UnknownNameError, UnpairedJointError, WrongValueError
from chiralize.errors.words import when
from chiralize.symmetry.involution import SignedPermutation

Signs = tuple[tuple[int, tuple[int, ...]], ...]
"""(joint index, one sign a dim) of joints that have their own; a tuple in place of a dict, so that it can be hashed."""
AXES = ("x", "y", "z")
TURNS = ("rx", "ry", "rz")
"""Coordinates of joints that are turned in space: an axis times an angle."""


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
        _check(self)

    def __repr__(self) -> str:
        counts = f"{len(self.joints)} joints, {len(self.pairs)} pairs, {len(self.center)} center"
        signs = when(self.signs, ", signs of single joints")
        return f"<Skeleton {self.name}: {counts}, negates {', '.join(self.negate) or 'no dim'}{signs}>"

    # ---- reading ------------------------------------------------------------------------------------------
    @property
    def center(self) -> tuple[int, ...]:
        """Indices of the joints without a partner."""
        paired = {index for pair in self.pairs for index in pair}
        return tuple(index for index in range(len(self.joints)) if index not in paired)

    @property
    def has_joint_signs(self) -> bool:
        """Whether some joint's signs differ from the common ones, so that joints x coordinates is no product."""
        common = common_signs(self.dims, self.negate)
        return any(row != common for _, row in self.signs)

    def index(self, joint: str) -> int:
        """Position of a joint. Raises UnknownNameError."""
        if joint not in self.joints:
            facts = f"no joint is called {joint!r}"
            raise UnknownNameError(f"skeleton {self.name}", facts, did_you_mean(joint, self.joints))
        return self.joints.index(joint)

    def _as_index(self, joint: str | int) -> int:
        """An index as it is, unchecked; of a name its index."""
        if isinstance(joint, int):
            return joint
        return self.index(joint)

    def partner(self, index: int) -> int:
        """Index of the joint on the other side; a centre joint is its own.

        Read off the pairs: whoever asks of every joint of a long skeleton would build as many permutations of it.
        """
        for left, right in self.pairs:
            if index in (left, right):
                return right if index == left else left
        return index

    def side(self, index: int) -> str:
        """`left`, `right` or `center`, by the pair that the joint is in, whatever it is called."""
        for left, right in self.pairs:
            if index in (left, right):
                return "left" if index == left else "right"
        return "center"

    def sign_table(self, dims: Sequence[str] | None = None) -> npt.NDArray[np.int64]:
        """Signs, "joint dim": `signs` of the joints that have them, `negate` for the others; unknown dims keep +1."""
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
            raise SpecError(
                f"skeleton {self.name}",
                f"joints {self.joints[0]!r} and {self.joints[first]!r} have different signs, so that no single "
                "sign per coordinate exists",
                "merge joints and coordinates in the layout, (j d), or use one coordinate",
            )
        # All rows are the same by now; there is one, since a skeleton has joints.
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
        chosen = [self._as_index(joint) for joint in joints]
        if len(set(chosen)) != len(chosen):
            twice = next(self.joints[index] for index in chosen if chosen.count(index) > 1)
            raise WrongValueError(where, f"joint {twice!r} is listed twice", "list each joint once")
        for index in chosen:
            if self.partner(index) not in chosen:
                missing = self.joints[self.partner(index)]
                facts = f"joint {self.joints[index]!r} without its partner {missing!r}"
                raise UnpairedJointError(where, facts, f"add {missing!r} to the same list, which may have both sides")
        position = {index: number for number, index in enumerate(chosen)}
        return replace(
            self,
            joints=tuple(self.joints[index] for index in chosen),
            pairs=_renumbered(self.pairs, position),
            signs=tuple((position[joint], row) for joint, row in self.signs if joint in position),
            edges=_renumbered(self.edges, position),
        )

    def with_dims(self, dims: Sequence[str] | None = None, negate: Sequence[str] | None = None) -> Skeleton:
        """The same body with other coordinates: known ones keep their signs, new ones have none.

        negate: those that are negated, of every joint. Raises WrongValueError where some are, and joints have signs of
        their own in dims that stay.
        """
        chosen = self.dims if dims is None else tuple(dims)
        # `negate` would silently drop the signs of single joints; where all dims are new ones there are none to drop.
        if negate and self.signs and set(chosen) & set(self.dims):
            facts = f"`negate: {list(negate)}` is of all joints, and some have signs of their own in {list(self.dims)}"
            remedy = f"say `signs` over {list(chosen)} instead: one list for all joints, or {{joint: [signs]}}"
            raise WrongValueError(f"skeleton {self.name}", facts, remedy)
        if negate is None:
            negated = tuple(dim for dim in self.negate if dim in chosen)
        else:
            negated = tuple(negate)
        base = replace(self, dims=chosen, negate=negated, signs=(), lateral=self.lateral)
        if not self.signs or negate is not None:
            return base
        # Signs of single joints, in the order of the new dims; of a dim that is new they are 1.
        table = base.sign_table()
        for joint, row in self.signs:
            for dim in set(chosen) & set(self.dims):
                table[joint, chosen.index(dim)] = row[self.dims.index(dim)]
        return replace(base, signs=tuple((joint, _integers(table[joint])) for joint, _ in self.signs))

    def to_dict(self) -> dict[str, object]:
        """The skeleton as the keys of a skeleton file, by names. Reading it again gives an equal skeleton."""
        return skeleton_to_dict(self)

    def to_yaml(self) -> str:
        """The text of a skeleton file. Reading it again gives an equal skeleton."""
        return skeleton_to_yaml(self)


def sign_of(is_negated: bool) -> int:
    """-1 for what the mirror negates, 1 for what it keeps."""
    return -1 if is_negated else 1


def common_signs(dims: Sequence[str], negate: Sequence[str]) -> tuple[int, ...]:
    """One sign per dim, which all joints have that list none of their own: -1 for the dims in `negate`."""
    return tuple(sign_of(dim in negate) for dim in dims)


def _integers(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(map(int, numbers))


def _renumbered(pairs: Sequence[tuple[int, int]], position: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    """Pairs of joints at their new positions; those of which a joint is gone are dropped."""
    return tuple((position[i], position[j]) for i, j in pairs if i in position and j in position)


def _check(skeleton: Skeleton) -> None:
    """Raise where T would be no involution, or names and indices do not fit: see `Skeleton` for the errors."""
    where = f"skeleton {skeleton.name}"
    for what, names in (("joint", skeleton.joints), ("dim", skeleton.dims)):
        for name, count in Counter(names).items():
            if count > 1:
                raise WrongValueError(where, f"{what} {name!r} is listed twice", f"give each {what} its own name")
    size = len(skeleton.joints)
    if not size:
        raise WrongValueError(where, "there are no joints", "list the joints in the order of the tensors")
    seen: dict[int, tuple[int, int]] = {}
    for pair in skeleton.pairs:
        _check_pair(where, skeleton.joints, pair, seen)
    for i, j in skeleton.edges:
        if not (0 <= i < size and 0 <= j < size):
            raise WrongValueError(where, f"edge ({i}, {j}) lies outside 0..{size - 1}", "use joints of the skeleton")
    for dim in skeleton.negate:
        if dim not in skeleton.dims:
            raise UnknownNameError(where, f"negated dim {dim!r} is no dim", did_you_mean(dim, skeleton.dims))
    _check_signs(where, skeleton)


def _check_pair(where: str, joints: Sequence[str], pair: tuple[int, int], seen: dict[int, tuple[int, int]]) -> None:
    """Raise unless a pair is of two joints that are in no other.  seen: pairs before it, by joint; it is added."""
    for index in pair:
        if not 0 <= index < len(joints):
            raise WrongValueError(where, f"pair {pair} lies outside 0..{len(joints) - 1}", "count joints from 0")
        if index in seen:
            other = [joints[i] for i in seen[index]]
            facts = f"joint {joints[index]!r} is in two pairs, {other} and {[joints[i] for i in pair]}"
            raise NotAnInvolutionError(where, facts, "put each joint into one pair")
    if pair[0] == pair[1]:
        raise WrongValueError(where, f"joint {joints[pair[0]]!r} is paired with itself", "leave centre joints out")
    seen[pair[0]] = seen[pair[1]] = pair


def _check_signs(where: str, skeleton: Skeleton) -> None:
    """Raise unless there is one sign a dim, and partners share theirs: T T x = s[j] s[p(j)] x."""
    for joint, row in skeleton.signs:
        if not 0 <= joint < len(skeleton.joints):
            raise WrongValueError(where, f"signs of joint {joint}, which does not exist", "count joints from 0")
        if len(row) != len(skeleton.dims) or any(sign not in (-1, 1) for sign in row):
            facts = f"joint {skeleton.joints[joint]!r} has signs {list(row)} for dims {list(skeleton.dims)}"
            raise WrongValueError(where, facts, "give one sign, 1 or -1, per dim")
    table = skeleton.sign_table()
    for i, j in skeleton.pairs:
        if (table[i] != table[j]).any():
            raise NotAnInvolutionError(
                where,
                f"partners {skeleton.joints[i]!r} and {skeleton.joints[j]!r} have signs {table[i].tolist()} and "
                f"{table[j].tolist()}, so the mirror twice is not the identity",
                "give both partners the same signs",
            )
