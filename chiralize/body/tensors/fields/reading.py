"""From the items of `fields:` in a file to blocks.

`{vector: velocity, dims: [x, y]}` becomes a `Measured`, `{joints: q}` a `Joints`, and so on: one of the keys says the
kind (`READERS`), the others belong to it (`_KEYS_OF`), and any other key is refused. What cannot be known is never
assumed: an order, a shift or a sign that the file does not give is an error with the choices. Lists nest: `each` of
things and `of` of histories hold blocks again. `tensors/reading.py` calls `read_fields` for an entry with `fields`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from chiralize.body.skeleton.nodes import Node, read_optional
from chiralize.body.tensors.fields.command import axes_of
from chiralize.body.tensors.fields.field import Field
from chiralize.body.tensors.fields.history import MAJOR as HISTORY_MAJOR
from chiralize.body.tensors.fields.history import ORDERS as FRAME_ORDERS
from chiralize.body.tensors.fields.history import History
from chiralize.body.tensors.fields.items import MAJOR as ITEM_MAJOR
from chiralize.body.tensors.fields.items import THINGS, Items
from chiralize.body.tensors.fields.leaf_readers import (
    AS_BODIES,
    Keys,
    block_name,
    choice_of,
    read_box,
    read_command,
    read_grid,
    read_joints,
    read_names,
    read_ordered,
    read_phase,
    read_scalar,
    read_signs,
    read_swap,
    read_unclaimed,
    read_vector,
    reflect_of,
)
from chiralize.body.tensors.fields.plain import Measured
from chiralize.body.tensors.fields.quantities import EULER, Quantity
from chiralize.body.tensors.fields.quantity_keys import QUANTITY_KEYS, read_quantity
from chiralize.body.tensors.fields.unclaimed import Unclaimed
from chiralize.errors import MissingKeyError

_MOST_FRAMES = 10_000


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
            remedy = AS_BODIES if kind == "joints" and key in ("order", "each") else ", ".join(allowed[1:])
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


def _refuse_unknown_commands(blocks: Sequence[Node]) -> None:
    """Refuse commands whose names do not tell what the mirror does to them: all those of these blocks at once.

    Before the blocks are read, so that a user sees all names in one message and not one after the other.
    """
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


def _items(node: Node, kind: str, keys: Keys) -> Field:
    """`{feet: [FL, FR], kind: vector}`, or `{feet: [FL, FR], each: [...], swap: [[FL, FR]], major: entries}`."""
    items = read_names(keys[kind])
    each = _each(node, kind, keys)
    swap = read_optional(keys, "swap", read_swap, items)
    major = choice_of(keys, "major", ITEM_MAJOR, "items")
    default = each[0].kind if "each" not in keys else ""  # blocks of `each` have names of their own
    return Items(block_name(keys, default), kind, items, each, swap, major, where=node.where)


def _each(node: Node, kind: str, keys: Keys) -> tuple[Field, ...]:
    """The blocks of one thing: `each`, or a quantity as `kind`, `order` and `dims` say it."""
    if "each" in keys:
        # Either the blocks say what each thing has, or these keys do.
        for key in (*QUANTITY_KEYS, "reflect"):
            if key in keys:
                keys[key].wrong(f"`{key}` beside `each`", "say it in the blocks of `each`")
        return _read_blocks(keys["each"], "each", "list the blocks that every one has")
    if "kind" not in keys and "dims" not in keys:
        facts = f"what each of the {kind} holds is not said"
        remedy = "add `kind: vector` (axial, wrench, scalar, ...), or `each: [...]` with blocks"
        raise MissingKeyError(node.where, facts, remedy)
    quantity = read_quantity(keys)
    return (Measured("", quantity, reflect=reflect_of(keys, _coordinates(quantity)), where=node.where),)


def _coordinates(quantity: Quantity) -> tuple[str, ...]:
    """What of a quantity can be mirrored at another point than 0: positions."""
    return quantity.dims if quantity.kind == "vector" else ()


def _history(node: Node, kind: str, keys: Keys) -> Field:
    """`{history: 5, of: [{joints: q}], order: oldest_first, major: frames}`."""
    frames = keys[kind].integer("history (the number of frames)")
    if not 1 <= frames <= _MOST_FRAMES:
        keys[kind].wrong(f"a history of {frames} frames", f"give 1 to {_MOST_FRAMES}")
    if "of" not in keys:
        raise MissingKeyError(node.where, "a history of nothing", "list the blocks of one frame: of: [...]")
    of = _read_blocks(keys["of"], "of", "list the blocks of one frame")
    order = choice_of(keys, "order", FRAME_ORDERS, "")  # for labels alone: T is the same either way
    major = choice_of(keys, "major", HISTORY_MAJOR, "frames")
    return History(block_name(keys), frames, of, order, major, where=node.where)


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
    "vector": read_vector,
    "axial": read_vector,
    "scalar": read_scalar,
    "unclaimed": read_unclaimed,
    "signs": read_signs,
    "joints": read_joints,
    **dict.fromkeys(THINGS, _items),
    **dict.fromkeys(("wrench", "twist", "inertia", "quaternion", "rotation", EULER), read_ordered),
    "box": read_box,
    "command": read_command,
    "phase": read_phase,
    "grid": read_grid,
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
