"""Which keys may a tensor have, and which the whole file? One record for each; `catalog` has those of skeletons.

Records check what can be seen in them alone; a mistake is a `Wrong` with the path of the key that is to be mended.
`Tensor.body` is the skeleton of one tensor, and `Tensor.check` what is wrong beside it. A file

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
from chiralize.body.fields import Blocks, Listed, joined, swapped_positions, with_parts
from chiralize.body.hidden import HiddenPolicy
from chiralize.body.layout import CLASSES, NOT_REVERSED, Layout, parse_layout, split_reversed
from chiralize.body.quantities import Centres, Kind, Quantity, check_quantity
from chiralize.body.skeleton import AXES, Skeleton
from chiralize.body.values import (
    MOST_ENTRIES,
    Exact,
    Flag,
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
)
from chiralize.errors import MissingKeyError


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
        assert self.pairs is not None

    @property
    def labels(self) -> Sequence[str]:
        """The names, or as many numbers as the swap needs."""
        numbers = [number for pair in self.swap for number in pair if isinstance(number, int) and number < MOST_ENTRIES]
        return self.names or list(map(str, range(1 + max(numbers, default=-1))))

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The classes that swap, as positions. Raises Wrong."""
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
        # Keys of joints have a meaning for poses, and for the body of fields; blocks have a `reflect` of their own.
        without = (*kinds[1:], *(key for key in self.OF_BODY if kinds and (kinds != ["fields"] or key == "reflect")))
        # What follows from the kind of a quantity is not said beside it; a map of signs of single joints may be.
        if self.quantity is not None:
            without += ("negate", "reflect") + (("signs",) if isinstance(self.signs, tuple) else ())
        for key in self.to_dict():
            if key in without:
                beside = kinds[0] if kinds else f"kind: {self.quantity}"
                raise Wrong(f"`{key}` has no meaning beside `{beside}`", "drop one of them", (key,))
        refuse_twice(self.dims or (), "dim", ("dims",))
        if self.quantity is not None or self.order:
            check_quantity(self.quantity or "vector", self.order, self.dims)
            for axis in self.dims or ():
                position_in(AXES, axis, "axis of the body", ("dims",))
        self.check_layout()

    def check_layout(self) -> None:
        """Raises Wrong where the layout does not go with the tensor's kind, or reverses no axis of a picture."""
        layout = self.plain_layout if self.layout is not None else Layout(())
        words, kind = {*layout.words}, self.kind
        marked = {"fields": "f", "classes": CLASSES}.get(kind)
        is_unmarked = self.layout is not None and marked is not None and (marked,) not in layout.axes
        if is_unmarked or (kind == "fields" and words & {"j", "d"}) or (kind != "fields" and "f" in words):
            remedy = f'mark their axis: "b {marked}", without j, d' if marked else "f is of `fields`: use another word"
            raise Wrong(f"layout {self.layout!r} of the kind `{kind}`", remedy, ("layout",))
        for word in self.turned:
            if word in NOT_REVERSED or word not in words or kind not in ("pose", "classes"):
                facts = f"mirror: {word!r} in layout '{layout}' is no axis of a picture"
                remedy = 'name the axes of poses or classes, and the one from left to right: layout: "b c h ~w"'
                raise Wrong(facts, remedy, ("mirror" if word in self.mirror else "layout",))

    # ---- reading ------------------------------------------------------------------------------------------
    @property
    def kind(self) -> str:
        """`state`, `free`, `invariant`, `unclaimed`, `like`, `classes`, `fields` or `pose`."""
        return next((kind for kind in self.KINDS if getattr(self, kind)), "pose")

    @property
    def plain_layout(self) -> Layout:
        """The layout without tildes; only where one is given. Raises Wrong."""
        return parse_layout(split_reversed(self.layout or "")[0])

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
        body = body.with_dims(quantity.names(), quantity.negated(body.lateral or ""))
        return changed(body, None, None, None, self.signs)

    def check(self, default: Skeleton, io: str) -> None:
        """Raises Wrong or SpecError where the tensor does not fit the body.  io: `input` or `output`."""
        body, is_said = self.skeleton or default, self.negate is not None or self.signs is not None
        if self.dims and not set(self.dims) & set(body.dims) and not is_said and self.quantity is None:
            facts = f"dims {list(self.dims)}, none of which skeleton {body.name} knows, and no `negate`"
            raise Wrong(facts, "add `negate: [DIM]` (`negate: []` for none)", ("dims",), kind=MissingKeyError)
        body = self.body(default)
        for dim in self.reflect:
            position_in(body.dims, dim, "dim", ("reflect", dim))
        blocks = list(self.fields or ())
        if blocks:
            joined(blocks, body)
        is_open = [isinstance(block, Listed) and not block.claimed for block in blocks]
        within = [block for block in with_parts(blocks) if isinstance(block, Listed) and not block.claimed]
        is_output = io == "output" and len(within) == sum(is_open) < len(blocks) and self.feeds is None
        if (within and not is_output) or (io == "input" and (self.unclaimed or self.feeds is not None)):
            facts = f"`{'unclaimed' if within or self.unclaimed else 'feeds'}` has no meaning there"
            remedy = (
                "an output may feed an input, be `unclaimed`, or have such `fields` beside others; of an input, what "
                "the mirror leaves as it is is `free`"
            )
            raise Wrong(facts, remedy, ("fields",) if within else ())


class FileKeys(SkeletonKeys):
    """The keys of a specification: those of a skeleton, the tensors, and what is imposed on hidden axes.

    activation: `tanh` replaces activations that are not odd.  invariant: all outputs are scores that the mirror leaves
    alone.  notices: what was assumed when the specification was made.
    """

    inputs: tuple[Tensor, ...] | None = None
    outputs: tuple[Tensor, ...] | None = None
    hidden: HiddenPolicy = HiddenPolicy()
    activation: Literal["keep", "tanh"] = "keep"
    invariant: Flag = False
    notices: tuple[Prose, ...] = ()
