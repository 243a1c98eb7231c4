"""From the keys `inputs`, `outputs`, `hidden` and `activation` of a file to the records of a specification.

`conversion` parses the file and calls `read_entries` and `read_hidden`. In go Nodes, out come frozen records; every
mistake is raised at its line. An entry is a layout string, one of a few words, or a map:

    inputs:
      - "b t j d"                                  TensorEntry(layout="b t j d")
      - free                                       TensorEntry(flag="free")
      - {layout: "b c h ~w"}                       layout="b c h w", mirror=(("w", None),)
      - {fields: [{vector: v}, {joints: q}]}       fields=(Measured, Joints)

No shape is known here: whether a layout fits its tensor is seen in `resolution`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeVar, get_args

from chiralize.body.skeleton.nodes import Node, read_optional
from chiralize.body.skeleton.pairing import collect, pair_of
from chiralize.body.skeleton.schema import read_dim_list, read_negate, read_sign_list, read_sign_map
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.entries import BodyOverride, Classes, Flag, TensorEntry
from chiralize.body.tensors.fields import check_claims, read_fields, read_reflect
from chiralize.body.tensors.fields.quantities import Quantity
from chiralize.body.tensors.fields.quantity_keys import read_quantity
from chiralize.body.tensors.hidden import PAIRINGS, HiddenPolicy
from chiralize.body.tensors.layout import CLASSES, parse_layout, split_reversed
from chiralize.body.tensors.reversal import MIDDLE, Reversed, check_reversed, joined
from chiralize.errors import MissingKeyError, SpecError, WrongValueError

ENTRY_KEYS = (
    *("layout", "skeleton", "joints", "dims", "negate", "signs", "kind", "order"),
    *("fields", "free", "invariant", "unclaimed", "classes"),
    *("like", "state", "feeds", "mirror", "reflect", "missing", "name"),
)
CLASS_KEYS = ("swap", "names", "threshold")
_KINDS = ("fields", "free", "invariant", "unclaimed", "classes", "like", "state")
"""Keys that say what a tensor is; without any it is a pose."""
_POSE_KEYS = ("joints", "dims", "negate", "signs", "kind", "order", "reflect")
"""Keys that say something of joints and coordinates."""
_NOT_OF_QUANTITIES = ("negate", "reflect")
_MOST_ENTRIES = 1_000_000
_FLAGS: dict[str, Flag] = {flag: flag for flag in get_args(Flag)}
SHORT_FORMS = ("free", "invariant", "state", "unclaimed", "auto")

BaseReader = Callable[[Node], Skeleton]
T = TypeVar("T")


def read_entries(node: Node, what: str, default: Skeleton, base_of: BaseReader) -> tuple[TensorEntry, ...]:
    """`inputs: [{layout: ...}, ...]`; an entry may also be a bare layout string. Raises SpecError."""
    listed = node.sequence(what + "s")
    return tuple(_read_entry(entry, f"{what} {index}", default, base_of) for index, entry in enumerate(listed))


def entry_from_layout(text: str, where: str) -> TensorEntry:
    """An entry from a layout string, or one of the words free, invariant, state, unclaimed and auto."""
    text = text.strip()
    if text in SHORT_FORMS:
        return TensorEntry(flag=_FLAGS.get(text), where=where)
    text, tildes = split_reversed(text)
    mirror = joined(tildes, ())
    check_reversed(parse_layout(text, where), mirror, where)
    return TensorEntry(layout=text, mirror=mirror, where=where)


def _read_entry(node: Node, what: str, default: Skeleton, base_of: BaseReader) -> TensorEntry:
    """One tensor.  what: `input 0`, for messages.  default: the skeleton of the file.  base_of: reads another one."""
    if node.text is not None:
        return entry_from_layout(node.prose("layout"), node.where)
    fields = node.mapping(what, ENTRY_KEYS)
    flags = {key: fields[key].boolean(key) for key in _FLAGS if key in fields}
    # At most one of these keys, of which `free: false` is none.
    kinds = [key for key in _KINDS if key in fields and flags.get(key, True)]
    _check_keys(fields, kinds, what)
    # What is left are the values; an `override` without any key is the body of the file.
    layout, mirror = _read_layout(fields, kinds)
    override = _read_body(fields, default, base_of)
    blocks = read_optional(fields, "fields", read_fields)
    check_claims(fields, blocks or (), what)
    entry = TensorEntry(
        layout=layout,
        override=override,
        fields=blocks,
        flag=next((flag for key, flag in _FLAGS.items() if flags.get(key)), None),
        classes=read_optional(fields, "classes", _read_classes),
        like=read_optional(fields, "like", Node.prose, "like"),
        feeds=read_optional(fields, "feeds", Node.prose, "feeds"),
        mirror=mirror,
        reflect=read_optional(fields, "reflect", read_reflect, override.dims or (override.skeleton or default).dims)
        or (),
        missing=read_optional(fields, "missing", Node.choice, "missing", ("none", "zero")) or "none",
        name=read_optional(fields, "name", Node.name, "name"),
        where=node.where,
    )
    if blocks is not None:
        _check_width(entry, fields["fields"], default)
    return entry


def _check_width(entry: TensorEntry, node: Node, default: Skeleton) -> None:
    """Refuse fields of so many entries that nobody could list them: a short file can ask for any number.

    node: of the fields.  default: the skeleton of the file.
    """
    try:
        body = entry.body(default)
        width = sum(block.size(body) for block in entry.fields or ())
    except SpecError:  # said where the fields are fitted to a tensor
        return
    if width > _MOST_ENTRIES:
        node.wrong(f"fields of {width} entries, more than {_MOST_ENTRIES}", "correct the sizes of the blocks")


def _check_keys(fields: dict[str, Node], kinds: Sequence[str], what: str) -> None:
    """Raise WrongValueError where keys of an entry contradict each other.

    kinds: those of `_KINDS` that the entry has, none for a pose.  what: `input 0`, for messages.
    """
    if len(kinds) > 1:
        fields[kinds[1]].wrong(f"{what} is both `{kinds[0]}` and `{kinds[1]}`", "keep one of them")
    # Keys of joints have a meaning for poses, and for the body of fields; there, blocks have a `reflect` of their own.
    for key in _POSE_KEYS:
        if key in fields and kinds and not (kinds == ["fields"] and key != "reflect"):
            fields[key].wrong(f"`{key}` has no meaning beside `{kinds[0]}`", "drop one of them")
    if "feeds" in fields and what.startswith("input"):
        fields["feeds"].wrong(f"`feeds` of {what}", "an output feeds an input: write it there")


def _read_body(fields: dict[str, Node], default: Skeleton, base_of: BaseReader) -> BodyOverride:
    """How the body of the tensor differs from that of the specification. Raises SpecError."""
    skeleton = read_optional(fields, "skeleton", base_of)
    body = skeleton or default
    # First the joints, by which signs are read, then what each of them has: a quantity, or coordinates.
    joints = read_optional(fields, "joints", _read_joints, body)
    if joints is not None:
        body = body.with_joints(joints, fields["joints"].where)
    if "kind" in fields or "order" in fields:
        return _read_quantity(fields, skeleton, joints, body)
    dims = read_optional(fields, "dims", read_dim_list)
    # Signs of dims that the body knows are its own; of unknown ones alone nothing would say what is negated.
    if dims and not {"negate", "signs"} & set(fields) and not set(dims) & set(body.dims):
        facts = f"dims {list(dims)}, none of which skeleton {body.name} knows ({list(body.dims)}), and no `negate`"
        raise MissingKeyError(fields["dims"].where, facts, "add `negate: [DIM]` (`negate: []` for none)")
    negate, signs = _read_signs(fields, body, dims or body.dims)
    return BodyOverride(skeleton, joints, dims, negate, signs)


def _read_quantity(
    fields: dict[str, Node], skeleton: Skeleton | None, joints: tuple[str, ...] | None, body: Skeleton
) -> BodyOverride:
    """Joints with rotations, say, in place of coordinates. Raises SpecError."""
    if "kind" not in fields:
        facts, remedy = "`order` without `kind`", "say what is so ordered: `kind: rotation` or `kind: quaternion`"
        raise MissingKeyError(fields["order"].where, facts, remedy)
    for key in _NOT_OF_QUANTITIES:
        if key in fields:
            fields[key].wrong(f"`{key}` beside `kind`, from which all signs follow", "keep one of them")
    quantity = read_quantity(fields)
    # Beside rotations, single joints may hold something else, such as the translation of the root.
    signs = read_optional(fields, "signs", _read_signs_of_joints, body, quantity)
    override = BodyOverride.of_quantity(skeleton, joints, quantity, signs)
    override.of(body, fields["kind"].where)  # what does not fit is said of this line
    return override


def _read_signs_of_joints(node: Node, body: Skeleton, quantity: Quantity) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """`signs: {translation: [-1, 1, 1]}` beside a kind: joints that have something else."""
    if node.items is not None:
        node.wrong("`signs` as a list beside `kind`, from which all signs follow", "keep one of them, or name joints")
    rows = read_sign_map(node, body.joints, quantity.names())
    return tuple((body.joints[joint], row) for joint, row in rows)


def _read_layout(fields: dict[str, Node], kinds: list[str]) -> tuple[str | None, Reversed]:
    """The layout without its tildes, and what the mirror reverses.  Raises SpecError."""
    mirror = read_optional(fields, "mirror", _read_mirror) or ()
    if "layout" not in fields:
        if mirror:
            fields["mirror"].wrong("`mirror` without `layout`", 'name the axes: layout: "b c h w"')
        return None, ()
    # A tilde in the layout, and a word under `mirror`, say the same.
    layout, tildes = split_reversed(fields["layout"].prose("layout"))
    _check_layout(fields["layout"], layout, kinds)
    mirror = joined(tildes, mirror)
    if mirror and kinds not in ([], ["classes"]):
        fields["mirror" if "mirror" in fields else "layout"].wrong(
            f"an axis that is reversed has no meaning beside `{kinds[0]}`", "drop one of them"
        )
    check_reversed(parse_layout(layout), mirror, fields.get("mirror", fields["layout"]).where)
    return layout, mirror


def _read_mirror(node: Node) -> Reversed:
    """`mirror: w`, `mirror: [w, h]`, or with the cell that each is mirrored at, `mirror: {w: 47/2}`."""
    if node.text is not None:
        return ((node.name("mirror"), None),)
    if node.items is not None:
        return tuple((item.name("an axis"), None) for item in node.items)
    words: list[tuple[str, Fraction | None]] = []
    for key, value in node.named_entries("mirror"):
        if value.text == MIDDLE:
            center = None
        else:
            center = value.fraction(f"the cell that {key.show()} is mirrored at")
        words.append((key.name("an axis"), center))
    return tuple(words)


def _check_layout(node: Node, text: str, kinds: list[str]) -> None:
    """Raise WrongValueError where a layout does not go with what the tensor is.  text: without tildes."""
    layout = parse_layout(text, node.where)
    # The axis that the entry is about has to be marked, and no other one may be.
    if kinds == ["fields"] and ("j" in layout or "d" in layout or "f" not in layout):
        node.wrong(f"layout {text!r} beside `fields`", "mark the axis of the fields with f, without j and d")
    if kinds == ["classes"] and (CLASSES,) not in layout.axes:
        node.wrong(f"layout {text!r} beside `classes`", f'mark their axis with {CLASSES}, such as "b {CLASSES} h ~w"')
    if kinds != ["fields"] and "f" in layout:
        node.wrong(f"layout {text!r} has f, but there are no `fields`", "list the fields, or use another word")
    if "f" in layout and ("f",) not in layout.axes:
        node.wrong(f"layout {text!r}: f stands in a merged axis", "keep the axis of the fields by itself")


def _read_joints(node: Node, body: Skeleton) -> tuple[str, ...]:
    """Names of some joints of the body, listed by name or index. Raises WrongValueError, UnknownNameError."""
    items = node.sequence("joints")
    if not items:
        node.wrong("`joints` is empty", "list joints of the skeleton, or use `free: true`")
    return tuple(body.joints[item.index_in(body.joints, "joint")] for item in items)


def _read_signs(
    fields: dict[str, Node], body: Skeleton, dims: Sequence[str]
) -> tuple[tuple[str, ...] | None, tuple[tuple[str, tuple[int, ...]], ...] | None]:
    """(negated dims, signs of single joints), each None where the file leaves it to the skeleton.

    A list of signs is of all joints: it is the negated dims, and no joint has signs of its own any more.
    """
    negate = read_optional(fields, "negate", read_negate, dims)
    if "signs" not in fields:
        return negate, None
    listed = read_sign_list(fields["signs"], dims)
    # A map has signs of single joints, and `negate` beside it those of all others.
    if listed is None:
        rows = read_sign_map(fields["signs"], body.joints, dims)
        return negate, tuple((body.joints[joint], row) for joint, row in rows)
    if negate is not None:
        fields["signs"].wrong("`signs` as a list and `negate` both say which dims change sign", "keep one of them")
    return listed, ()


def _read_classes(node: Node) -> Classes:
    """`classes: {swap: [[wave_left, wave_right]], names: [...]}`, or by numbers, `{swap: [[0, 3]]}`.

    `threshold: 0` beside these: each score decides by itself.
    """
    keys = node.mapping("classes", CLASS_KEYS)
    name_nodes = read_optional(keys, "names", Node.sequence, "names") or ()
    names = [item.prose("class name") for item in name_nodes]
    for item, name in zip(name_nodes, names, strict=True):
        if names.count(name) > 1:
            item.wrong(f"class {name!r} is listed twice", "give each class its own name")
    if "swap" not in keys:
        raise MissingKeyError(node.where, "classes without `swap`", "list the swapped classes, or use invariant: true")
    # (node, first, second), so that `collect` can name the line of a pair that contradicts another.
    swapped = []
    for item in keys["swap"].sequence("swap"):
        first, second = pair_of(item, "classes")
        swapped.append((item, _class_index(first, names), _class_index(second, names)))
    # `collect` wants a name for every index, also where nobody gave names.
    highest = max((max(pair) for _, *pair in swapped), default=0)
    labels = names or list(map(str, range(1 + highest)))
    threshold = read_optional(keys, "threshold", Node.fraction, "threshold")
    return Classes(collect(swapped, labels, ordered=True, noun="class"), tuple(names), threshold)


def _class_index(node: Node, names: Sequence[str]) -> int:
    """A class by its name, or by its number where there are no names. Raises SpecError."""
    if names:
        return node.index_in(names, "class")
    if not node.is_number:
        raise MissingKeyError(node.where, f"class {node.show()} by name, but no `names`", "list all class names")
    index = node.integer("class")
    if index < 0:
        node.wrong(f"class {index}", "count from 0")
    if index >= _MOST_ENTRIES:
        node.wrong(f"class {index}, more than {_MOST_ENTRIES - 1}", "give the number of a class, counted from 0")
    return index


# ---- hidden ---------------------------------------------------------------------------------------------------
def read_hidden(node: Node) -> HiddenPolicy:
    """`hidden: {pairing: half, negated: 1/3}`, each one value, a list by depth or a map glob -> value."""
    keys = node.mapping("hidden", ("pairing", "negated"))
    pairing, pairing_globs = _by_depth(keys.get("pairing"), "pairing", lambda n: n.choice("pairing", PAIRINGS), ())
    negated, negated_globs = _by_depth(keys.get("negated"), "negated", _share, (Fraction(0),))
    return HiddenPolicy(pairing, negated, pairing_globs, negated_globs)


def _by_depth(
    node: Node | None, what: str, read: Callable[[Node], T], default: tuple[T, ...]
) -> tuple[tuple[T, ...], tuple[tuple[str, T], ...]]:
    """(values by depth, (glob, value) pairs): of a map the pairs, of a list or a single value the values.

    node: None where the file does not say it.  read: of one value.  default: the values where there are none.
    """
    if node is None:
        return default, ()
    if node.entries is not None:
        return default, tuple((key.text or "", read(value)) for key, value in node.entries)
    if node.items is not None:
        if not node.items:
            node.wrong(f"hidden.{what} is an empty list", "give one value per depth")
        return tuple(map(read, node.items)), ()
    return (read(node),), ()


def _share(node: Node) -> Fraction:
    """A number from 0 to 1. Raises WrongValueError."""
    share = node.fraction("negated")
    if not 0 <= share <= 1:
        raise WrongValueError(node.where, f"negated share {node.show()} lies outside 0..1", "give a share such as 1/3")
    return share
