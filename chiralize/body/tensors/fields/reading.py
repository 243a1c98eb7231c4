"""From the items of `fields:` in a file to blocks.

`{vector: velocity, dims: [x, y]}` becomes a `Measured`, `{joints: q}` a `Joints`, and so on: one of the keys says the
kind (`READERS`), the others belong to it (`_KEYS_OF`), and any other key is refused. What cannot be known is never
assumed: an order, a shift or a sign that the file does not give is an error with the choices. Lists nest: `each` of
things and `of` of histories hold blocks again. `tensors/reading.py` calls `read_fields` for an entry with `fields`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from math import prod

from chiralize.body.skeleton.nodes import Node, did_you_mean, read_optional
from chiralize.body.skeleton.pairing import collect, pair_of
from chiralize.body.skeleton.schema import read_dim_list
from chiralize.body.skeleton.skeleton import AXES
from chiralize.body.tensors.fields.box import BY_CORNER, Box
from chiralize.body.tensors.fields.box import ORDERS as BOX_ORDERS
from chiralize.body.tensors.fields.command import Command, axes_of
from chiralize.body.tensors.fields.field import Field
from chiralize.body.tensors.fields.grid import Grid
from chiralize.body.tensors.fields.history import MAJOR as HISTORY_MAJOR
from chiralize.body.tensors.fields.history import ORDERS as FRAME_ORDERS
from chiralize.body.tensors.fields.history import History
from chiralize.body.tensors.fields.items import MAJOR as ITEM_MAJOR
from chiralize.body.tensors.fields.items import THINGS, Items
from chiralize.body.tensors.fields.joints import Joints
from chiralize.body.tensors.fields.phase import PARTS, RAW, SHIFTS, Phase
from chiralize.body.tensors.fields.plain import Measured, Scalar, Signs
from chiralize.body.tensors.fields.quantities import EULER, ORDERS, Quantity
from chiralize.body.tensors.fields.quantity_keys import QUANTITY_KEYS, choices, read_axes, read_order, read_quantity
from chiralize.body.tensors.fields.unclaimed import Unclaimed
from chiralize.errors import MissingKeyError, UnknownNameError

_FARTHEST_CENTRE = 10**30
"""Beyond it, twice a centre is no float32."""
_MOST_ENTRIES = 1_000_000
_MOST_FRAMES = 10_000
Keys = Mapping[str, Node]


_AS_BODIES = (
    "name, of, dims, `kind: scalar`; rotations, vectors and the like of joints are those of bodies: "
    "{bodies: [NAME, ...], kind: rotation, order: 6d_by_column, name: NAME}"
)


def read_fields(node: Node) -> tuple[Field, ...]:
    """`fields: [{vector: v}, {joints: q}]`. Raises SpecError."""
    return _read_blocks(node, "fields", "list the blocks of the axis, or use `free: true`")


def read_field(node: Node) -> Field:
    """One block: the key that says its kind, and what belongs to it. Raises SpecError."""
    _refuse_unknown_actions(node)  # before the check of keys, since these are keys elsewhere and want another remedy
    keys = node.mapping("a field", _ALL_KEYS)
    kinds = [kind for kind in READERS if kind in keys]
    if len(kinds) != 1:
        node.wrong(f"a field has {kinds or 'no kind'}", f"give one of {', '.join(READERS)}")
    (kind,) = kinds
    allowed = (kind, "name", *_KEYS_OF.get(kind, ()))
    for key in keys:
        if key not in allowed:
            remedy = _AS_BODIES if kind == "joints" and key in ("order", "each") else ", ".join(allowed[1:])
            node.wrong(f"`{key}` has no meaning beside `{kind}`", f"beside `{kind}`: {remedy}")
    return READERS[kind](node, kind, keys)


def _read_blocks(node: Node, what: str, remedy: str) -> tuple[Field, ...]:
    """The blocks of a list, or the one block of a map.

    what: the key that holds them.  remedy: for an empty list.
    """
    items = node.sequence(what) if node.entries is None else (node,)
    if not items:
        node.wrong(f"`{what}` is empty", remedy)
    _refuse_unknown_commands(items)
    blocks = tuple(map(read_field, items))
    for block, item in zip(blocks, items, strict=True):
        if isinstance(block, Unclaimed) and what != "fields":
            item.wrong(f"`unclaimed` within `{what}`", "write it among the `fields` themselves")
    return blocks


def check_claims(keys: Keys, fields: Sequence[Field], what: str) -> None:
    """Refuse `unclaimed` in inputs, in outputs that feed an input, and where nothing else is there.

    keys: of the tensor's entry.  what: the tensor, `input 0`.
    """
    unclaimed = [block for block in fields if isinstance(block, Unclaimed)]
    if not unclaimed:
        return
    if what.startswith("input"):
        keys["fields"].wrong(
            f"`unclaimed` in {what}: what is claimed of a network is claimed for all inputs, mirrored as the file says",
            f"entries that the mirror leaves as they are: {{scalar: {unclaimed[0].count}, name: {unclaimed[0].name}}}",
        )
    if len(unclaimed) == len(fields):
        facts = f"{what} is left out as a whole: nothing would be claimed of it"
        remedy = "say how some of it is mirrored, or write `unclaimed` in place of the whole entry"
        keys["fields"].wrong(facts, remedy)
    if "feeds" in keys:
        keys["feeds"].wrong(f"`feeds` of {what}, of which entries are left out", "claim all of it, or drop feeds")


def _name(keys: Keys, default: str = "") -> str:
    """The block's name, where the file gives it."""
    return read_optional(keys, "name", Node.name, "name") or default


def _choice(keys: Keys, key: str, options: Sequence[str], default: str) -> str:
    """One of the options, where the file gives the key. Raises WrongValueError."""
    return read_optional(keys, key, Node.choice, key, options) or default


def _required(node: Node, keys: Keys, key: str, why: str, options: Sequence[str]) -> str:
    """A choice that nothing can be assumed about. Raises MissingKeyError."""
    if key not in keys:
        raise MissingKeyError(node.where, why, choices(key, options))
    return keys[key].choice(key, options)


# ---- entries that stay where they are -------------------------------------------------------------------------
def _vector(node: Node, kind: str, keys: Keys) -> Field:
    """`{vector: velocity, dims: [x, y], reflect: {x: 320}}`, `{axial: gyro}`: the value is the name."""
    value = keys[kind]
    if "name" in keys:
        keys["name"].wrong(
            f"the name of a {kind} field stands after `{kind}:`", f"drop `name`, or write {kind}: {_name(keys)}"
        )
    dims = read_optional(keys, "dims", read_axes) or AXES
    reflect = _reflect(keys, dims)
    return Measured(
        value.name(f"name of the {kind} field"), Quantity(kind, dims=dims), reflect=reflect, where=node.where
    )


def _ordered(node: Node, kind: str, keys: Keys) -> Field:
    """`{quaternion: wxyz, name: base}`: the value says the order of the numbers."""
    return Measured(_name(keys, kind), Quantity(kind, read_order(keys[kind], kind)), where=node.where)


def _reflect(keys: Keys, dims: Sequence[str] | None = None) -> tuple[tuple[str, Fraction], ...]:
    """The centres that coordinates are mirrored at, none without the key."""
    return read_optional(keys, "reflect", read_reflect, dims) or ()


def read_reflect(node: Node, dims: Sequence[str] | None = None) -> tuple[tuple[str, Fraction], ...]:
    """`reflect: {x: 320}`.  dims: coordinates that there are; None where these are not known. Raises SpecError."""
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


def _box(node: Node, kind: str, keys: Keys) -> Field:
    """`{box: xyxy, name: person}`. Raises WrongValueError on orders whose mirror image is no exchange of numbers."""
    value = keys[kind]
    if value.text is not None and value.text.lower() in BY_CORNER:
        value.wrong(
            f"a box as corner and size ({value.text}): its mirrored left edge is W - x - w, no exchange of numbers",
            "give the network the box by its edges, {box: xyxy}, or by its centre, {box: cxcywh}",
        )
    order = value.choice("box", tuple(BOX_ORDERS))
    return Box(_name(keys, kind), order, reflect=_reflect(keys, ("x", "y")), where=node.where)


def _scalar(node: Node, kind: str, keys: Keys) -> Field:
    """`{scalar: 3, name: gains}`, or with a name for every entry, `{scalar: [height, speed]}`."""
    value, name = keys[kind], _name(keys, kind)
    if value.items is not None:
        entries = _entries(value)
        return Scalar(name, len(entries), entries, where=node.where)
    size = value.integer(f"{kind} (the number of entries)")
    if size < 1:
        value.wrong(f"a field of {size} entries", "give 1 or more")
    if size > _MOST_ENTRIES:
        value.wrong(f"a field of {size} entries, more than {_MOST_ENTRIES}", "give the size of the block")
    return Scalar(name, size, where=node.where)


def _unclaimed(node: Node, kind: str, keys: Keys) -> Field:
    """A block that is not claimed, written as `scalar` is: a number of entries, or their names."""
    same = _scalar(node, kind, keys)
    assert isinstance(same, Scalar)
    return Unclaimed(same.name, same.count, same.entries, where=node.where)


def _entries(value: Node) -> tuple[str, ...]:
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


def _signs(node: Node, kind: str, keys: Keys) -> Field:
    """`{signs: [1, -1], name: NAME}`, or with names, `{signs: {vx: 1, vy: -1}}`."""
    value, name = keys[kind], _name(keys, kind)
    if value.entries:
        named = value.named_entries("signs")
        signs = tuple(sign.sign("a sign") for _, sign in named)
        return Signs(name, signs, tuple(key.name("name") for key, _ in named), where=node.where)
    signs = tuple(item.sign("a sign") for item in value.sequence("signs"))
    if not signs:
        value.wrong("a field without entries", "give one sign per entry")
    return Signs(name, signs, where=node.where)


def _refuse_unknown_commands(blocks: Sequence[Node]) -> None:
    """Refuse commands whose names do not tell what the mirror does to them: all those of these blocks at once."""
    unknown: dict[str, Node] = {}
    for block in blocks:
        commands = [value for key, value in block.entries or () if key.text == "command"]
        for item in chain.from_iterable(value.items or () for value in commands):
            if item.entries is None and item.text is not None and axes_of(item.name("command")) is None:
                unknown.setdefault(item.name("command"), item)
    if not unknown:
        return
    first, *others = unknown
    listed = ", ".join(map(repr, unknown))
    facts = f"what the mirror does to the command {first!r} is not told by its name"
    remedy = f"give its sign: {{{first}: 1}} (kept) or {{{first}: -1}} (negated)"
    if others:
        facts = f"what the mirror does to {len(unknown)} commands is not told by their names: {listed}"
        remedy = f"give each its sign: {{{first}: 1}} (kept) or {{{first}: -1}} (negated)"
    unknown[first].wrong(facts, remedy)


def _command(node: Node, kind: str, keys: Keys) -> Field:
    """`{command: [vx, vy, {gait: 1}]}`: names that tell their sign, or a map of one name to its sign."""
    entries: list[str] = []
    signs: list[int | None] = []
    for item in keys[kind].sequence("command"):
        sign = None
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
    return Command(_name(keys, kind), tuple(entries), tuple(signs), where=node.where)


def _phase(node: Node, kind: str, keys: Keys) -> Field:
    """`{phase: sin_cos, shift: half}`. Raises WrongValueError on a phase as a number, MissingKeyError."""
    value = keys[kind]
    text = value.prose("phase")
    if text in RAW:
        value.wrong(
            f"a phase as it is ({text}): half a period later is an addition, which the mirror of a linear layer is not",
            "give the network its sine and cosine, {phase: sin_cos, shift: half}; a clock that the mirror does not "
            "shift is {scalar: 1}",
        )
    functions = value.choice("phase", PARTS)
    why = "whether the mirrored gait is half a period ahead is not said"
    return Phase(_name(keys, kind), functions, _required(node, keys, "shift", why, SHIFTS), where=node.where)


# ---- entries that swap ----------------------------------------------------------------------------------------
def _joints(node: Node, kind: str, keys: Keys) -> Field:
    """`{joints: q, of: [l_hip, r_hip], dims: [x, y]}`, or `{joints: gains, kind: scalar}`.

    Rotations and the like of joints are refused here: those are blocks of `bodies`.
    """
    if "name" in keys:
        keys["name"].wrong(
            f"the name of a {kind} field stands after `{kind}:`", f"drop `name`, or write {kind}: {_name(keys)}"
        )
    chosen = read_optional(keys, "of", _entries)
    stated = keys["kind"].prose("kind") if "kind" in keys else ""
    if stated != "scalar" and stated in ORDERS:
        keys["kind"].wrong(f"`kind: {stated}` beside `joints`", f"beside `joints`: {_AS_BODIES}")
    is_plain = "kind" in keys and keys["kind"].choice("kind", ("scalar",)) == "scalar"
    for key in ("dims", "reflect"):
        if is_plain and key in keys:
            keys[key].wrong(f"`{key}` beside `kind: scalar`, which are no coordinates", "drop one of them")
    name, dims = keys[kind].name("name of the joints field"), read_optional(keys, "dims", read_dim_list)
    return Joints(name, chosen, is_plain, dims, reflect=_reflect(keys, dims), where=node.where)


def _items(node: Node, kind: str, keys: Keys) -> Field:
    """`{feet: [FL, FR], kind: vector}`, or `{feet: [FL, FR], each: [...], swap: [[FL, FR]], major: entries}`."""
    items = _entries(keys[kind])
    each = _each(node, kind, keys)
    swap = read_optional(keys, "swap", _read_swap, items)
    major = _choice(keys, "major", ITEM_MAJOR, "items")
    default = each[0].kind if "each" not in keys else ""  # blocks of `each` have names of their own
    return Items(_name(keys, default), kind, items, each, swap, major, where=node.where)


def _each(node: Node, kind: str, keys: Keys) -> tuple[Field, ...]:
    """The blocks of one thing: `each`, or a quantity as `kind`, `order` and `dims` say it."""
    if "each" in keys:
        for key in (*QUANTITY_KEYS, "reflect"):
            if key in keys:
                keys[key].wrong(f"`{key}` beside `each`", "say it in the blocks of `each`")
        return _read_blocks(keys["each"], "each", "list the blocks that every one has")
    if "kind" not in keys and "dims" not in keys:
        facts = f"what each of the {kind} holds is not said"
        remedy = "add `kind: vector` (axial, wrench, scalar, ...), or `each: [...]` with blocks"
        raise MissingKeyError(node.where, facts, remedy)
    quantity = read_quantity(keys)
    return (Measured("", quantity, reflect=_reflect(keys, _coordinates(quantity)), where=node.where),)


def _coordinates(quantity: Quantity) -> tuple[str, ...]:
    """What of a quantity can be mirrored at another point than 0: positions."""
    return quantity.dims if quantity.kind == "vector" else ()


def _read_swap(node: Node, items: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """`swap: [[FL, FR]]`, by names or positions; an empty list says that nothing swaps."""
    pairs = []
    for item in node.sequence("swap"):
        first, second = pair_of(item, "items")
        pairs.append((item, first.index_in(items, "item"), second.index_in(items, "item")))
    return collect(pairs, items, ordered=True, noun="item")


# ---- grids and frames -----------------------------------------------------------------------------------------
def _grid(node: Node, kind: str, keys: Keys) -> Field:
    """`{grid: [17, 11], axes: [x, y]}`, or `{grid: [17, 11], flip: 1}`. Raises MissingKeyError without either."""
    sizes = tuple(item.integer("a size") for item in keys[kind].sequence("grid"))
    if not sizes or min(sizes) < 1 or prod(sizes) > _MOST_ENTRIES:
        keys[kind].wrong(f"a grid of the sizes {list(sizes)}", f"give 1 to {_MOST_ENTRIES} points")
    axes = read_optional(keys, "axes", read_dim_list) or ()
    flip = read_optional(keys, "flip", _read_flip, sizes)
    if axes and len(axes) != len(sizes):
        keys["axes"].wrong(f"{len(axes)} axes of a grid of {len(sizes)} sizes", "name every axis once, slowest first")
    grid = Grid(_name(keys, kind), sizes, axes, flip, where=node.where)
    if flip is None and not grid.runs_along_the_body:
        facts = "which axis of the grid the mirror reverses is not said"
        raise MissingKeyError(node.where, facts, "add `axes: [x, y]`, the body's axes, slowest first; or `flip: 1`")
    return grid


def _read_flip(node: Node, sizes: Sequence[int]) -> tuple[int, ...]:
    """`flip: 1` or `flip: [0, 1]`: numbers of axes."""
    items = (node,) if node.items is None else node.items
    flipped = []
    for item in items:
        axis = item.integer("flip (the number of an axis)")
        if not 0 <= axis < len(sizes):
            item.wrong(f"flip {axis} of a grid of {len(sizes)} axes", "count axes from 0")
        flipped.append(axis)
    return tuple(flipped)


def _history(node: Node, kind: str, keys: Keys) -> Field:
    """`{history: 5, of: [{joints: q}], order: oldest_first, major: frames}`."""
    frames = keys[kind].integer("history (the number of frames)")
    if not 1 <= frames <= _MOST_FRAMES:
        keys[kind].wrong(f"a history of {frames} frames", f"give 1 to {_MOST_FRAMES}")
    if "of" not in keys:
        raise MissingKeyError(node.where, "a history of nothing", "list the blocks of one frame: of: [...]")
    of = _read_blocks(keys["of"], "of", "list the blocks of one frame")
    order = _choice(keys, "order", FRAME_ORDERS, "")
    major = _choice(keys, "major", HISTORY_MAJOR, "frames")
    return History(_name(keys), frames, of, order, major, where=node.where)


def _refuse_unknown_actions(node: Node) -> None:
    """Refuse what no block of an axis can be: something whose action would have to be inferred, or `free`."""
    for key, value in node.entries or ():
        if key.text == "free":
            value.wrong(
                "`free` within an axis of fields could mean two things",
                "entries that the mirror leaves as they are: {scalar: n}; entries of an output of which nothing is "
                "claimed: {unclaimed: n}",
            )
        if key.text in _INFERRED:
            value.wrong(
                f"`{key.text}` within an axis of fields: how a part of an axis acts is not inferred",
                "hand it to the network as a tensor of its own, described by `like` or `state`; or say how it acts: "
                "{scalar: n}, {signs: [...]}, {items: [...], swap: [...], kind: scalar}",
            )


READERS: Mapping[str, Callable[[Node, str, Keys], Field]] = {
    "vector": _vector,
    "axial": _vector,
    "scalar": _scalar,
    "unclaimed": _unclaimed,
    "signs": _signs,
    "joints": _joints,
    **dict.fromkeys(THINGS, _items),
    **dict.fromkeys(("wrench", "twist", "inertia", "quaternion", "rotation", EULER), _ordered),
    "box": _box,
    "command": _command,
    "phase": _phase,
    "grid": _grid,
    "history": _history,
}
"""The reader of every kind of block, by the key that says the kind."""
_INFERRED = ("like", "state", "latent")
"""Words that mean, of a whole tensor, that inference finds how the mirror acts on it."""
_KEYS_OF: Mapping[str, tuple[str, ...]] = {
    "vector": ("dims", "reflect"),
    "axial": ("dims",),
    "joints": ("of", "kind", "dims", "reflect"),
    "box": ("reflect",),
    **dict.fromkeys(THINGS, ("kind", "order", "dims", "reflect", "each", "swap", "major")),
    "phase": ("shift",),
    "grid": ("axes", "flip"),
    "history": ("order", "major", "of"),
}
_ALL_KEYS = (*dict.fromkeys((*READERS, "name", *(key for keys in _KEYS_OF.values() for key in keys))),)
