"""What a specification says about one tensor, as a frozen record, and back to the keys of a file.

`reading` makes a `TensorEntry` of a file's entry, `one_tensor` fits it to a shape. A tensor may have another body than
the specification (other joints, coordinates, signs), which a `BodyOverride` holds. Reading `to_dict` again gives an
equal entry: files of converted networks carry their specification in this way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from itertools import chain
from typing import Any, Literal, get_args

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.fields import Field, with_parts
from chiralize.body.tensors.fields.quantities import Quantity
from chiralize.body.tensors.reversal import Reversed, written
from chiralize.errors import MissingKeyError

# The keys that `to_dict` writes, in their order.
_WRITTEN = (
    *("name", "layout", "skeleton", "joints", "dims", "negate", "signs", "fields"),
    *("free", "invariant", "state", "unclaimed", "classes", "like", "feeds", "mirror", "reflect", "missing"),
)


@dataclass(frozen=True)
class Classes:
    """Scores of classes, some of which the mirror swaps.  swap: index pairs.  names: all classes, or empty.

    threshold: of scores that decide each by itself, the number above which the answer is yes; None where the highest
    score decides.
    """

    swap: tuple[tuple[int, int], ...] = ()
    names: tuple[str, ...] = ()
    threshold: Fraction | None = None

    def to_dict(self) -> dict[str, object]:
        """The classes as a specification file writes them: by name where they have names."""
        keys: dict[str, object] = {"swap": [list(pair) for pair in self.swap]}
        if self.names:
            keys = {"swap": [[self.names[i], self.names[j]] for i, j in self.swap], "names": list(self.names)}
        if self.threshold is not None:
            keys["threshold"] = str(self.threshold)
        return keys


Flag = Literal["free", "invariant", "state", "unclaimed"]
"""free: the mirror leaves the tensor alone.  invariant: these are scores, which it leaves alone.  state: a state, whose
representation comes from inference.  unclaimed: an output of which nothing is claimed."""


@dataclass(frozen=True)
class BodyOverride:
    """How the body of one tensor differs from that of the specification, None where it does not.

    skeleton: another one.  joints: a subset (closed under the swap) or another order.  dims, negate: coordinates of
    this tensor.  signs: (joint name, signs over dims) of single joints.  quantity: what the numbers of a joint are, if
    they are no coordinates; dims are its names then, and what is negated follows from the axis that points sideways.
    """

    skeleton: Skeleton | None = None
    joints: tuple[str, ...] | None = None
    dims: tuple[str, ...] | None = None
    negate: tuple[str, ...] | None = None
    signs: tuple[tuple[str, tuple[int, ...]], ...] | None = None
    quantity: Quantity | None = None

    @staticmethod
    def of_quantity(
        skeleton: Skeleton | None,
        joints: tuple[str, ...] | None,
        quantity: Quantity,
        signs: tuple[tuple[str, tuple[int, ...]], ...] | None = None,
    ) -> BodyOverride:
        """A body whose joints have the numbers of a rotation, say, in place of coordinates.

        signs: of single joints that have something else.
        """
        return BodyOverride(skeleton, joints, dims=quantity.names(), signs=signs, quantity=quantity)

    def of(self, default: Skeleton, where: str) -> Skeleton:
        """The body of the tensor: its joints, dims and signs. Raises SpecError where they do not fit."""
        body = self.skeleton or default
        if self.joints is not None:
            body = body.with_joints(self.joints, where)
        # The signs of a rotation follow from the axis that points sideways, and those of coordinates do not count.
        negate = self.negate
        if self.quantity is not None:
            negate = self.quantity.negated(_lateral(body, self.quantity, where))
        # Before the dims change: signs of single joints that are replaced must not be carried over to other dims.
        if self.signs is not None or self.quantity is not None:
            body = replace(body, signs=())
        if self.dims is not None or negate is not None:
            body = body.with_dims(self.dims, negate)
        if self.signs is not None:
            rows = tuple((body.index(joint), row) for joint, row in self.signs)
            body = replace(body, signs=tuple(sorted(rows)))
        return body


def _lateral(body: Skeleton, quantity: Quantity, where: str) -> str:
    """The axis that points sideways. Raises MissingKeyError where nothing says so."""
    if body.lateral is None:
        facts = f"`kind: {quantity.kind}`, but no `lateral` axis of skeleton {body.name} is given"
        raise MissingKeyError(where, facts, "add `lateral: x` to the skeleton, or y, z")
    return body.lateral


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of the model's flattened inputs or outputs.

    layout: the layout string, None to infer it.  override: of the specification's body.  fields: blocks along one axis.
    flag: what is said of the tensor as a whole, None where its axes say it.  classes: scores that the mirror permutes.
    like: `input 1` or a tensor's name: the same representation.
    feeds: of an output, `input 1` or an input's name: what the network reads there in its next call.
    mirror: words of the layout that the mirror reverses, each with the cell it is mirrored at or None for the middle.
    reflect: (dim, centre): the coordinate is mirrored at the centre, x -> 2 c - x, in the tensor's units.
    missing: `zero` where missing joints are stored as zeros.  where: file and line, for messages.
    """

    layout: str | None = None
    override: BodyOverride = BodyOverride()
    fields: tuple[Field, ...] | None = None
    flag: Flag | None = None
    classes: Classes | None = None
    like: str | None = None
    feeds: str | None = None
    mirror: Reversed = ()
    reflect: tuple[tuple[str, Fraction], ...] = ()
    missing: str = "none"
    name: str | None = None
    where: str = field(default="", compare=False)

    @property
    def kind(self) -> str:
        """`state`, `like`, `free`, `invariant`, `unclaimed`, `classes`, `fields` or `pose`."""
        if self.flag is not None:
            return self.flag
        for kind in ("like", "classes", "fields"):
            if getattr(self, kind) is not None:
                return kind
        return "pose"

    @property
    def is_affine(self) -> bool:
        """Whether some of its coordinates are mirrored at a point other than 0."""
        reflects = chain(self.reflect, *(block.reflect for block in with_parts(self.fields or ())))
        return any(center for _, center in reflects)

    def body(self, default: Skeleton) -> Skeleton:
        """The skeleton of this tensor: its joints, dims and signs. Raises SpecError where they do not fit."""
        return self.override.of(default, self.where or "entry")

    def with_skeleton(self, skeleton: Skeleton | None) -> TensorEntry:
        """The entry with another skeleton, None for that of the specification."""
        return replace(self, override=replace(self.override, skeleton=skeleton))

    def doubts(self, default: Skeleton) -> Iterator[tuple[str, str]]:
        """What is formally right and probably not meant: file and line of the tensor or its block, and a sentence.

        default: the skeleton of the specification.
        """
        body = self.override.skeleton or default
        if self._leaves_signs_out(default):
            yield (
                self.where,
                f"layout {self.layout!r} has joints and no d, so that the signs of {body.name} are left out: where "
                f"each number is that of its joint, add dims: [{body.dims[0]}]",
            )
        for block in self.fields or ():
            for doubt in block.doubts(body):
                yield block.where, doubt

    def _leaves_signs_out(self, default: Skeleton) -> bool:
        """Whether joints of one number each, some of them negated, lie in a picture, whose values have no signs.

        Of angles, `b t j`, the signs are those of the joints (`axes.represent`). A map of each joint, `b j h ~w`, has
        no coordinate that could be negated, since the mirror reverses its width in place of that.
        """
        words = re.findall(r"\w+", self.layout or "")  # of a layout that nobody has checked yet
        is_map = self.kind == "pose" and bool(self.mirror) and "j" in words and "d" not in words
        if not is_map or self.override.dims is not None or self.override.signs is not None:
            return False
        body = self.body(default)
        return len(body.dims) == 1 and bool((body.sign_table() < 0).any())

    def to_dict(self) -> dict[str, object]:
        """The entry as a specification file writes it; reading it again gives an equal entry."""
        # Keys that say what an entry without any key says are left out.
        written_fields: dict[str, object] = {}
        quantity = self.override.quantity
        for key in _WRITTEN:
            value = self._value(key)
            # A quantity brings its own names of dims, and writes `kind` and `order` instead.
            if value != _EMPTY._value(key) and not (quantity and key == "dims"):
                written_fields[key] = _as_json(key, value)
        return written_fields | (quantity.to_dict() if quantity else {})

    def _value(self, key: str) -> Any:
        """The value of a key of the file, which the entry itself has, or its override, or its flag."""
        if key in _FLAGS:
            return self.flag == key
        return getattr(self.override if key in _OF_BODY else self, key)


_EMPTY = TensorEntry()
_FLAGS = get_args(Flag)
_OF_BODY = tuple(field.name for field in fields(BodyOverride))


def _as_json(key: str, value: Any) -> object:
    """The value of a field of an entry as a specification file writes it."""
    if key == "signs":
        return {joint: list(row) for joint, row in value}
    if key == "reflect":
        return {dim: str(center) for dim, center in value}
    if key == "mirror":
        return written(value)
    if key == "fields":
        return [block.to_dict() for block in value]
    if isinstance(value, (Skeleton, Classes)):
        return value.to_dict()
    if isinstance(value, tuple):
        return list(value)
    return value
