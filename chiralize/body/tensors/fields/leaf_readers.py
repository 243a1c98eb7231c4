"""The readers of blocks that hold no other blocks: a key of a file, and what stands beside it, to a record.

`reading.READERS` has them by the key that says the kind. Each is called with the block's Node, its kind, and its keys,
of which `reading.read_field` has checked that they belong to the kind. Raises SpecError at the line of what is wrong.

An observation of 14 numbers of a robot with one number a joint, three blocks one after the other:

    - {vector: velocity}                      read_vector    3 numbers, the lateral one negated
    - {joints: q, of: [l_hip, r_hip]}         read_joints    the two joints swap
    - {scalar: 9, name: terrain}              read_scalar    9 numbers that stay as they are

Nothing is looked up in a skeleton here: a block is read before it is known which skeleton its tensor has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import prod

from chiralize.body.skeleton.nodes import Node, did_you_mean, read_optional
from chiralize.body.skeleton.pairing import collect, pair_of
from chiralize.body.skeleton.schema import read_dim_list
from chiralize.body.skeleton.skeleton import AXES
from chiralize.body.tensors.fields.box import BY_CORNER, Box
from chiralize.body.tensors.fields.box import ORDERS as BOX_ORDERS
from chiralize.body.tensors.fields.command import Command
from chiralize.body.tensors.fields.field import Field
from chiralize.body.tensors.fields.grid import Grid
from chiralize.body.tensors.fields.joints import Joints
from chiralize.body.tensors.fields.phase import PARTS, RAW, SHIFTS, Phase
from chiralize.body.tensors.fields.plain import Measured, Scalar, Signs
from chiralize.body.tensors.fields.quantities import ORDERS, Quantity
from chiralize.body.tensors.fields.quantity_keys import choices, read_axes, read_order
from chiralize.body.tensors.fields.unclaimed import Unclaimed
from chiralize.errors import MissingKeyError, UnknownNameError

_FARTHEST_CENTRE = 10**30
"""A centre c beyond it is refused. A coordinate x is mirrored to 2 c - x, and float32 ends at 3.4e38."""
_MOST_ENTRIES = 1_000_000
"""Numbers of one block: a short line of a file could ask for any, and each gets a place and a sign in T."""
Keys = Mapping[str, Node]
"""The keys of a block and their values."""
AS_BODIES = (
    "name, of, dims, `kind: scalar`; rotations, vectors and the like of joints are those of bodies: "
    "{bodies: [NAME, ...], kind: rotation, order: 6d_by_column, name: NAME}"
)
"""What may stand beside `joints`, for remedies."""


def block_name(keys: Keys, default: str = "") -> str:
    """The block's name, where the file gives it."""
    return read_optional(keys, "name", Node.name, "name") or default


def choice_of(keys: Keys, key: str, options: Sequence[str], default: str) -> str:
    """One of the options, where the file gives the key. Raises WrongValueError."""
    return read_optional(keys, key, Node.choice, key, options) or default


def _required(node: Node, keys: Keys, key: str, why: str, options: Sequence[str]) -> str:
    """A choice that nothing can be assumed about. Raises MissingKeyError."""
    if key not in keys:
        raise MissingKeyError(node.where, why, choices(key, options))
    return keys[key].choice(key, options)


# ---- entries that stay where they are -------------------------------------------------------------------------
def read_vector(node: Node, kind: str, keys: Keys) -> Field:
    """`{vector: velocity, dims: [x, y], reflect: {x: 320}}`, `{axial: gyro}`: the value is the name."""
    value = keys[kind]
    if "name" in keys:
        keys["name"].wrong(
            f"the name of a {kind} field stands after `{kind}:`", f"drop `name`, or write {kind}: {block_name(keys)}"
        )
    dims = read_optional(keys, "dims", read_axes) or AXES
    reflect = reflect_of(keys, dims)
    return Measured(
        value.name(f"name of the {kind} field"), Quantity(kind, dims=dims), reflect=reflect, where=node.where
    )


def read_ordered(node: Node, kind: str, keys: Keys) -> Field:
    """`{quaternion: wxyz, name: base}`: the value says the order of the numbers."""
    return Measured(block_name(keys, kind), Quantity(kind, read_order(keys[kind], kind)), where=node.where)


def reflect_of(keys: Keys, dims: Sequence[str] | None = None) -> tuple[tuple[str, Fraction], ...]:
    """The centres that coordinates are mirrored at, none without the key."""
    return read_optional(keys, "reflect", read_reflect, dims) or ()


def read_reflect(node: Node, dims: Sequence[str] | None = None) -> tuple[tuple[str, Fraction], ...]:
    """`reflect: {x: 320}`: the mirror image of x is 640 - x, as for pixels of a picture 640 wide.

    dims: coordinates that there are; None where these are not known. Returns each with its centre, in the order of the
    file, in the unit of the data. Raises SpecError.
    """
    centers = list[tuple[str, Fraction]]()
    for key, value in node.named_entries("reflect"):
        dim = key.name("dim")
        if dims is not None and dim not in dims:
            raise UnknownNameError(key.where, f"reflect: {dim!r} is no dim", did_you_mean(dim, dims))
        center = value.fraction(f"centre of {dim}")
        if abs(center) > _FARTHEST_CENTRE:
            value.wrong(f"centre of {dim} {value.show()} lies beyond 1e30", "give it in the unit of the data")
        centers.append((dim, center))
    return tuple(centers)


def read_box(node: Node, kind: str, keys: Keys) -> Field:
    """`{box: xyxy, name: person}`. Raises WrongValueError on orders whose mirror image is no exchange of numbers.

    By its edges (x1, y1, x2, y2) a box becomes (W - x2, y1, W - x1, y2) in a picture W wide: two numbers swap.
    """
    value = keys[kind]
    # Known orders that cannot be taken want another remedy than unknown ones.
    if value.text is not None and value.text.lower() in BY_CORNER:
        value.wrong(
            f"a box as corner and size ({value.text}): its mirrored left edge is W - x - w, no exchange of numbers",
            "give the network the box by its edges, {box: xyxy}, or by its centre, {box: cxcywh}",
        )
    order = value.choice("box", tuple(BOX_ORDERS))
    return Box(block_name(keys, kind), order, reflect=reflect_of(keys, ("x", "y")), where=node.where)


def read_scalar(node: Node, kind: str, keys: Keys) -> Field:
    """`{scalar: 3, name: gains}`, or with a name for every entry, `{scalar: [height, speed]}`."""
    value, name = keys[kind], block_name(keys, kind)
    if value.items is not None:
        entries = read_names(value)
        return Scalar(name, len(entries), entries, where=node.where)
    size = value.integer(f"{kind} (the number of entries)")
    if size < 1:
        value.wrong(f"a field of {size} entries", "give 1 or more")
    if size > _MOST_ENTRIES:
        value.wrong(f"a field of {size} entries, more than {_MOST_ENTRIES}", "give the size of the block")
    return Scalar(name, size, where=node.where)


def read_unclaimed(node: Node, kind: str, keys: Keys) -> Field:
    """A block that is not claimed, written as `scalar` is: a number of entries, or their names."""
    same = read_scalar(node, kind, keys)
    assert isinstance(same, Scalar)
    return Unclaimed(same.name, same.count, same.entries, where=node.where)


def read_names(value: Node) -> tuple[str, ...]:
    """Names of entries or things, none twice."""
    names: list[str] = []
    for item in value.sequence("names"):
        name = item.name("name")
        if name in names:
            item.wrong(f"{name!r} is listed twice", "give each its own name")
        names.append(name)
    if not names:
        value.wrong("a field without entries", "list one or more")
    return tuple(names)


def read_signs(node: Node, kind: str, keys: Keys) -> Field:
    """`{signs: [1, -1], name: NAME}`, or with names, `{signs: {vx: 1, vy: -1}}`."""
    value, name = keys[kind], block_name(keys, kind)
    if value.entries:  # a map: every entry has a name
        named = value.named_entries("signs")
        signs = tuple(sign.sign("a sign") for _, sign in named)
        return Signs(name, signs, tuple(key.name("name") for key, _ in named), where=node.where)
    # A list: the entries have no names, and are numbered.
    signs = tuple(item.sign("a sign") for item in value.sequence("signs"))
    if not signs:
        value.wrong("a field without entries", "give one sign per entry")
    return Signs(name, signs, where=node.where)


def read_command(node: Node, kind: str, keys: Keys) -> Field:
    """`{command: [vx, vy, {gait: 1}]}`: names that tell their sign, or a map of one name to its sign."""
    # Two lists of one length: signs[i] is that of entries[i].
    entries: list[str] = []
    signs: list[int | None] = []
    for item in keys[kind].sequence("command"):
        sign = None  # the name tells it; `reading` has refused names that do not
        if item.entries is not None and len(item.entries) == 1:
            ((key, value),) = item.entries
            entry, sign = key.name("command"), value.sign("a sign")
        else:
            entry = item.name("command")
        if entry in entries:
            item.wrong(f"{entry!r} is listed twice", "give each its own name")
        entries.append(entry)
        signs.append(sign)
    if not entries:
        keys[kind].wrong("a field without entries", "list one or more")
    return Command(block_name(keys, kind), tuple(entries), tuple(signs), where=node.where)


def read_phase(node: Node, kind: str, keys: Keys) -> Field:
    """`{phase: sin_cos, shift: half}`. Raises WrongValueError on a phase as a number, MissingKeyError."""
    value = keys[kind]
    text = value.prose("phase")
    # p + pi (mod 2 pi) is no linear map of p, while sin(p + pi) = -sin p and cos(p + pi) = -cos p.
    if text in RAW:
        value.wrong(
            f"a phase as it is ({text}): half a period later is an addition, which the mirror of a linear layer is not",
            "give the network its sine and cosine, {phase: sin_cos, shift: half}; a clock that the mirror does not "
            "shift is {scalar: 1}",
        )
    functions = value.choice("phase", PARTS)
    why = "whether the mirrored gait is half a period ahead is not said"
    return Phase(block_name(keys, kind), functions, _required(node, keys, "shift", why, SHIFTS), where=node.where)


# ---- entries that swap ----------------------------------------------------------------------------------------
def read_joints(node: Node, kind: str, keys: Keys) -> Field:
    """`{joints: q, of: [l_hip, r_hip], dims: [x, y]}`, or `{joints: gains, kind: scalar}`.

    Rotations and the like of joints are refused here: those are blocks of `bodies`.
    """
    if "name" in keys:
        keys["name"].wrong(
            f"the name of a {kind} field stands after `{kind}:`", f"drop `name`, or write {kind}: {block_name(keys)}"
        )
    # Names are not looked up here: which skeleton the tensor has is known where T is asked for.
    chosen = read_optional(keys, "of", read_names)
    stated = keys["kind"].prose("kind") if "kind" in keys else ""
    # A kind that exists for other blocks: say which block it is. Any other word is refused as no `scalar` below.
    if stated != "scalar" and stated in ORDERS:
        keys["kind"].wrong(f"`kind: {stated}` beside `joints`", f"beside `joints`: {AS_BODIES}")
    is_plain = "kind" in keys and keys["kind"].choice("kind", ("scalar",)) == "scalar"
    for key in ("dims", "reflect"):
        if is_plain and key in keys:
            keys[key].wrong(f"`{key}` beside `kind: scalar`, which are no coordinates", "drop one of them")
    name, dims = keys[kind].name("name of the joints field"), read_optional(keys, "dims", read_dim_list)
    return Joints(name, chosen, is_plain, dims, reflect=reflect_of(keys, dims), where=node.where)


def read_swap(node: Node, items: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """`swap: [[FL, FR]]`, by names or positions; an empty list says that nothing swaps.

    items: names of all there are. Returns pairs of positions in them, the left one first. Raises SpecError.
    """
    pairs = []
    for item in node.sequence("swap"):
        first, second = pair_of(item, "items")
        pairs.append((item, first.index_in(items, "item"), second.index_in(items, "item")))
    return collect(pairs, items, ordered=True, noun="item")


# ---- grids and frames -----------------------------------------------------------------------------------------
def read_grid(node: Node, kind: str, keys: Keys) -> Field:
    """`{grid: [17, 11], axes: [x, y]}`, or `{grid: [17, 11], flip: 1}`. Raises MissingKeyError without either."""
    sizes = tuple(item.integer("a size") for item in keys[kind].sequence("grid"))
    if not sizes or min(sizes) < 1 or prod(sizes) > _MOST_ENTRIES:
        keys[kind].wrong(f"a grid of the sizes {list(sizes)}", f"give 1 to {_MOST_ENTRIES} points")
    axes = read_optional(keys, "axes", read_dim_list) or ()
    # Either may say which axis is reversed: `axes` by the body's lateral axis, `flip` by its number.
    flip = read_optional(keys, "flip", _read_flip, sizes)
    if axes and len(axes) != len(sizes):
        keys["axes"].wrong(f"{len(axes)} axes of a grid of {len(sizes)} sizes", "name every axis once, slowest first")
    grid = Grid(block_name(keys, kind), sizes, axes, flip, where=node.where)
    # Axes may have any name, such as `ring`; then nothing says which of them points sideways.
    if flip is None and not grid.runs_along_the_body:
        facts = "which axis of the grid the mirror reverses is not said"
        raise MissingKeyError(node.where, facts, "add `axes: [x, y]`, the body's axes, slowest first; or `flip: 1`")
    return grid


def _read_flip(node: Node, sizes: Sequence[int]) -> tuple[int, ...]:
    """`flip: 1` or `flip: [0, 1]`: numbers of axes, counted from 0. Raises WrongValueError for one there is not."""
    items = (node,) if node.items is None else node.items
    flipped = []
    for item in items:
        axis = item.integer("flip (the number of an axis)")
        if not 0 <= axis < len(sizes):
            item.wrong(f"flip {axis} of a grid of {len(sizes)} axes", "count axes from 0")
        flipped.append(axis)
    return tuple(flipped)
