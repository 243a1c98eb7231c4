"""Which keys may a file have? One record for a tensor's keys, one for the whole file; `catalog` has those of skeletons.

Records check what can be seen in them alone; a mistake is a `Wrong` with the path of the key that is to be mended. What
needs more than one of them is done in three steps that end in the records of the other modules: `skeleton_of` makes a
`Skeleton` of a file's keys, `Tensor.body` the skeleton of one tensor, and `HiddenKeys.policy` a `HiddenPolicy`. A file

    joints: [nose, l_ear, r_ear]
    pairs: [[l_ear, r_ear]]
    dims: [x, y]
    inputs: [b j d, {fields: [{joints: q}]}, free]

becomes Skeleton(joints=("nose", "l_ear", "r_ear"), pairs=((1, 2),), dims=("x", "y"), negate=("x",)) and three Tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator
from pydantic.functional_validators import AfterValidator, BeforeValidator

from chiralize.body.catalog import SkeletonKeys, changed
from chiralize.body.fields import Centres, Kind, check_order, joined, swapped_positions, with_parts
from chiralize.body.hidden import HiddenPolicy
from chiralize.body.layout import CLASSES, NOT_REVERSED, Layout, parse_layout, split_reversed
from chiralize.body.quantities import WITH_DIMS, Quantity
from chiralize.body.skeleton import AXES, Skeleton
from chiralize.body.things import Blocks
from chiralize.body.values import (
    MOST_ENTRIES,
    Exact,
    Flag,
    KeyPath,
    Keys,
    Name,
    Pairs,
    Prose,
    Reference,
    SignRows,
    Wrong,
    as_list,
    not_empty,
    position_in,
    read_name,
    refuse_twice,
    shown,
)
from chiralize.errors import MissingKeyError, SpecError


# ---- tensors ----------------------------------------------------------------------------------------------------
class Classes(Keys):
    """Scores of classes, some of which the mirror swaps: `{swap: [[wave_left, wave_right]], names: [...]}`.

    names: of all classes; without them `swap` is by numbers.  threshold: of scores that decide each by itself, the
    number above which the answer is yes; None where the highest score decides.
    """

    swap: Pairs
    names: tuple[Prose, ...] = ()
    threshold: Exact | None = None

    def checked(self) -> None:
        refuse_twice(self.names, "class", ("names",))
        for at, pair in enumerate(self.swap):
            for name in pair:
                if not self.names and not isinstance(name, int):
                    facts = f"class {name!r} by name, but no `names`"
                    raise Wrong(facts, "list all class names", ("swap", at), kind=MissingKeyError)
                if isinstance(name, int) and name >= MOST_ENTRIES:
                    facts = f"class {shown(name)}, more than {MOST_ENTRIES - 1}"
                    raise Wrong(facts, "give the number of a class, counted from 0", ("swap", at))
        swapped_positions(self.swap, self.labels, "class")

    @property
    def labels(self) -> Sequence[str]:
        """The names, or as many numbers as the swap needs."""
        numbers = [number for pair in self.swap for number in pair if isinstance(number, int)]
        return self.names or list(map(str, range(1 + max(numbers, default=-1))))

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The classes that swap, as positions."""
        return swapped_positions(self.swap, self.labels, "class")


def _reversed(value: Any) -> Any:
    """`mirror: w`, `mirror: [w, h]`, or with the cell that each is mirrored at, `mirror: {w: 47/2, h: middle}`."""
    if isinstance(value, Mapping):
        return {read_name(word): None if cell in ("middle", "null") else cell for word, cell in value.items()}
    return dict.fromkeys(map(read_name, value if isinstance(value, (list, tuple)) else [value]))


def _skeleton(value: Any, info: ValidationInfo) -> Any:
    """A skeleton of one tensor, by name, by file or as a map."""
    read: Callable[[Any], Skeleton] | None = (info.context or {}).get("skeleton_at")
    return value if isinstance(value, Skeleton) or read is None else read(value)


class Tensor(Keys):
    """One tensor of the model's flattened inputs or outputs.

    layout: its axes, `~` at those that the mirror reverses; None to infer it.  mirror: the cells at which such axes are
    mirrored, None for the middle.  skeleton, joints, dims, negate, signs: how its body differs from the file's.
    kind, order: what the numbers of a joint are, if they are no coordinates.  fields: blocks along one axis.
    free: the mirror leaves the tensor alone.  invariant: these are scores, which it leaves alone.  state: one, whose
    T inference finds.  unclaimed: an output of which nothing is claimed.  classes: scores that swap.
    like: `input 1` or a tensor's name: the same representation.  feeds: of an output, the input that reads it in the
    next call.  reflect: the coordinate is mirrored at the centre, x -> 2 c - x, in the tensor's units.
    missing: `zero` where missing joints are stored as zeros.
    """

    KINDS: ClassVar = ("state", "free", "invariant", "unclaimed", "like", "classes", "fields")
    OF_BODY: ClassVar = ("joints", "dims", "negate", "signs", "kind", "order", "reflect")

    name: Name | None = None
    layout: Prose | None = None
    skeleton: Annotated[Skeleton | None, BeforeValidator(_skeleton)] = None
    joints: Annotated[tuple[Reference, ...] | None, AfterValidator(not_empty)] = None
    dims: tuple[Name, ...] | None = None
    negate: Annotated[tuple[Name, ...] | None, BeforeValidator(as_list)] = None
    signs: SignRows | None = None
    quantity: Kind | None = Field(default=None, alias="kind")
    order: Name = ""
    fields: Blocks | None = None
    free: Flag = False
    invariant: Flag = False
    state: Flag = False
    unclaimed: Flag = False
    classes: Classes | None = None
    like: Prose | None = None
    feeds: Prose | None = None
    mirror: Annotated[dict[str, Exact | None], BeforeValidator(_reversed)] = {}
    reflect: Centres = {}
    missing: Literal["none", "zero"] = "none"

    @model_validator(mode="before")
    @classmethod
    def _in_one_word(cls, data: Any) -> Any:
        """A layout, or one of the words free, invariant, state, unclaimed and auto, in place of a map."""
        if not isinstance(data, str):
            return data
        word = data.strip()
        if word in ("free", "invariant", "state", "unclaimed"):
            return {word: True}
        return {} if word == "auto" else {"layout": word}

    def checked(self) -> None:
        kinds = [kind for kind in self.KINDS if getattr(self, kind)]
        if len(kinds) > 1:
            facts = f"a tensor is both `{kinds[0]}` and `{kinds[1]}`"
            raise Wrong(facts, "drop one of them", (kinds[1],))
        # Keys of joints have a meaning for poses, and for the body of fields; blocks have a `reflect` of their own.
        for key in self.to_dict():
            if kinds and key in self.OF_BODY and not (kinds == ["fields"] and key != "reflect"):
                raise Wrong(f"`{key}` has no meaning beside `{kinds[0]}`", "drop one of them", (key,))
        self._check_quantity()
        self.check_layout()

    def _check_quantity(self) -> None:
        """Raises Wrong where `kind` stands beside what follows from it, or `order` without it."""
        refuse_twice(self.dims or (), "dim", ("dims",))
        if self.quantity is None:
            if self.order:
                facts, remedy = "`order` without `kind`", "say what is so ordered: `kind: rotation` or `quaternion`"
                raise Wrong(facts, remedy, ("order",), kind=MissingKeyError)
            return
        check_order(self.quantity, self.order, ("order",))
        beside = {"negate": self.negate is not None, "reflect": bool(self.reflect)}
        beside["signs"] = isinstance(self.signs, tuple)  # a map of single joints, which have something else, may stand
        beside["dims"] = self.dims is not None and self.quantity not in WITH_DIMS
        for key, is_given in beside.items():
            if is_given:
                facts = f"`{key}` beside `kind: {self.quantity}`, from which it follows"
                raise Wrong(facts, "drop one of them", (key,))
        for axis in self.dims or ():
            if axis not in AXES:
                raise Wrong(f"dim {axis!r} of a vector is no axis of the body", "use x, y and z", ("dims",))

    def check_layout(self) -> None:
        """Raises Wrong where the layout does not go with the tensor's kind, or reverses no axis of a picture."""
        if self.layout is None:
            if self.mirror:
                raise Wrong("`mirror` without `layout`", 'name the axes: layout: "b c h w"', ("mirror",))
            return
        try:
            layout = self.plain_layout
        except SpecError as error:
            raise Wrong(error.facts, error.remedy, ("layout",)) from None
        marked = {"fields": "f", "classes": CLASSES}.get(self.kind, "")
        if marked and ((marked,) not in layout.axes or (marked == "f" and {"j", "d"} & {*layout.words})):
            facts, remedy = (
                f"layout {self.layout!r} beside `{self.kind}`",
                f'mark their axis: "b {marked}", without j, d',
            )
            raise Wrong(facts, remedy, ("layout",))
        if (marked != "f" and "f" in layout) or (self.turned and self.kind not in ("pose", "classes")):
            facts = f"layout {self.layout!r} has an axis that has no meaning for a tensor of the kind `{self.kind}`"
            raise Wrong(facts, "f is of `fields`; poses and `classes` may be reversed (~)", ("layout",))
        for word in self.turned:
            if word in NOT_REVERSED or word not in layout:
                facts = f"mirror: {word!r} in layout '{layout}' is no axis of a picture"
                at = "mirror" if word in self.mirror else "layout"
                raise Wrong(facts, "name the axis that runs from left to right: `mirror: w`", (at,))

    # ---- reading ------------------------------------------------------------------------------------------
    @property
    def kind(self) -> str:
        """`state`, `free`, `invariant`, `unclaimed`, `like`, `classes`, `fields` or `pose`."""
        return next((kind for kind in self.KINDS if getattr(self, kind)), "pose")

    @property
    def plain_layout(self) -> Layout:
        """The layout without tildes; only where one is given. Raises WrongValueError."""
        return parse_layout(split_reversed(self.layout or "")[0], self.where or "layout")

    @property
    def turned(self) -> dict[str, Fraction | None]:
        """The words that the mirror reverses, with the cell that each is mirrored at, None for the middle."""
        return dict.fromkeys(split_reversed(self.layout or "")[1]) | self.mirror

    @property
    def is_affine(self) -> bool:
        """Whether some of its coordinates are mirrored at a point other than 0."""
        blocks = with_parts(self.fields or ())
        return any(self.reflect.values()) or any(any(getattr(block, "reflect", {}).values()) for block in blocks)

    def body(self, default: Skeleton) -> Skeleton:
        """The skeleton of this tensor: its joints, dims and signs. Raises Wrong or SpecError where they do not fit."""
        body = self.skeleton or default
        if self.quantity is None:
            return changed(body, self.joints, self.dims, self.negate, self.signs)
        # The signs of a rotation follow from the axis that points sideways, and those of coordinates do not count.
        if body.lateral is None:
            facts = f"`kind: {self.quantity}`, but no `lateral` axis of skeleton {body.name} is given"
            raise Wrong(facts, "add `lateral: x` to the skeleton, or y, z", ("kind",), kind=MissingKeyError)
        quantity = Quantity(self.quantity, self.order, self.dims or AXES)
        body = replace(changed(body, self.joints, None, None, None), signs=())
        return changed(
            body.with_dims(quantity.names(), quantity.negated(body.lateral or "")), None, None, None, self.signs
        )

    def check(self, default: Skeleton, io: str) -> None:
        """Raises Wrong or SpecError where the tensor does not fit the body.  io: `input` or `output`."""
        body = self.skeleton or default
        known = {"negate": self.negate, "signs": self.signs}
        if self.dims and not set(self.dims) & set(body.dims) and all(value is None for value in known.values()):
            if self.quantity is None:
                facts = f"dims {list(self.dims)}, none of which skeleton {body.name} knows, and no `negate`"
                raise Wrong(facts, "add `negate: [DIM]` (`negate: []` for none)", ("dims",), kind=MissingKeyError)
        body = self.body(default)
        for dim in self.reflect:
            position_in(body.dims, dim, "dim", ("reflect", dim))
        if self.fields is not None:
            joined(self.fields, body)
        if io == "input" and self.feeds is not None:
            raise Wrong("`feeds` of an input", "an output feeds an input: write it there", ("feeds",))
        self._check_claims(io)

    def _check_claims(self, io: str) -> None:
        """Raises Wrong for `unclaimed` in inputs, in an output that feeds one, within blocks, and where all is so."""
        blocks = list(self.fields or ())
        unclaimed = [block for block in with_parts(blocks) if block.key == "unclaimed"]
        if not unclaimed and not (self.unclaimed and io == "input"):
            return
        at: KeyPath = ("fields",) if unclaimed else ()
        if io == "input":
            facts = "`unclaimed`: what is claimed of a network is claimed for all inputs"
            raise Wrong(facts, "what the mirror leaves as it is: free, or {scalar: n}", at)
        if not all(block in blocks for block in unclaimed):
            raise Wrong("`unclaimed` within a block", "write it among the `fields` themselves", at)
        if len(unclaimed) == len(blocks):
            facts = "all fields are `unclaimed`: nothing would be claimed of the output"
            raise Wrong(facts, "say how it is mirrored, or write `unclaimed` for all of it", at)
        if self.feeds is not None:
            facts = "`feeds` of an output of which entries are not claimed"
            raise Wrong(facts, "claim all of it, or drop feeds", ("feeds",))


# ---- the whole file ---------------------------------------------------------------------------------------------
def _by_depth(value: Any) -> Any:
    """One value, a list by depth, or a map from globs."""
    return not_empty(value if isinstance(value, Mapping) else as_list(value))


def _share(value: Fraction) -> Fraction:
    if not 0 <= value <= 1:
        raise Wrong(f"negated share {value} lies outside 0..1", "give a share such as 1/3")
    return value


Pairing = Literal["half", "adjacent", "skeleton", "match"]
Share = Annotated[Exact, AfterValidator(_share)]


class HiddenKeys(Keys):
    """`hidden: {pairing: half, negated: 1/3}`, each one value, a list by depth or a map glob -> value."""

    pairing: Annotated[tuple[Pairing, ...] | dict[str, Pairing], BeforeValidator(_by_depth)] = ()
    negated: Annotated[tuple[Share, ...] | dict[str, Share], BeforeValidator(_by_depth)] = (Fraction(0),)

    def policy(self) -> HiddenPolicy:
        """The same as a policy."""
        pairing, negated = self.pairing, self.negated
        return HiddenPolicy(
            pairing if isinstance(pairing, tuple) else (),
            negated if isinstance(negated, tuple) else (Fraction(0),),
            tuple(pairing.items()) if isinstance(pairing, dict) else (),
            tuple(negated.items()) if isinstance(negated, dict) else (),
        )


class FileKeys(SkeletonKeys):
    """The keys of a specification: those of a skeleton, the tensors, and what is imposed on hidden axes.

    activation: `tanh` replaces activations that are not odd.  invariant: all outputs are scores that the mirror leaves
    alone.  notices: what was assumed when the specification was made.
    """

    inputs: tuple[Tensor, ...] | None = None
    outputs: tuple[Tensor, ...] | None = None
    hidden: HiddenKeys = HiddenKeys()
    activation: Literal["keep", "tanh"] = "keep"
    invariant: Flag = False
    notices: tuple[Prose, ...] = ()
