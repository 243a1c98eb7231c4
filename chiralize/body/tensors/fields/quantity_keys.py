"""From the keys `kind`, `order` and `dims` of a file to what one thing's numbers are.

The same three keys stand beside things (`{feet: [...], kind: wrench, order: force_first}`), beside a tensor of joints
(`{layout: "b j d", kind: rotation, order: 6d_by_column}`), and read the same. An order is never assumed: torque first
and force first are equally common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chiralize.body.skeleton.nodes import Node, read_optional
from chiralize.body.skeleton.schema import read_dim_list
from chiralize.body.skeleton.skeleton import AXES
from chiralize.body.tensors.fields.quantities import EULER, ORDERS, WITH_DIMS, Quantity, is_euler_order
from chiralize.errors import MissingKeyError, UnknownNameError

QUANTITY_KEYS = ("kind", "order", "dims")


def read_quantity(keys: Mapping[str, Node]) -> Quantity:
    """`{kind: rotation, order: matrix}`, `{kind: vector, dims: [z]}`; without a kind a vector. Raises SpecError."""
    kind, order = read_optional(keys, "kind", Node.choice, "kind", tuple(ORDERS)) or "vector", ""
    if ORDERS[kind]:
        if "order" not in keys:
            facts = f"the order of the numbers of a {kind} is not said"
            raise MissingKeyError(keys["kind"].where, facts, choices("order", ORDERS[kind]))
        order = read_order(keys["order"], kind)
    elif "order" in keys:
        keys["order"].wrong(f"`order` of a {kind}, which has none", "drop it")
    if "dims" in keys and kind not in WITH_DIMS:
        keys["dims"].wrong(f"`dims` of a {kind}", "drop it; dims are of a vector or an axial vector")
    return Quantity(kind, order, read_optional(keys, "dims", read_axes) or AXES)


def read_order(value: Node, kind: str) -> str:
    """The order of the numbers of a kind: `wxyz`, `rpy`. Raises WrongValueError."""
    if kind != EULER:
        return value.choice(f"{kind} (the order of its numbers)", ORDERS[kind])
    text = value.prose("euler")
    if not is_euler_order(text):
        value.wrong(f"euler is {text!r}", "list the turns by their letters: rpy for roll, pitch, yaw")
    return text


def read_axes(node: Node) -> tuple[str, ...]:
    """Axes of the body, `[x, z]`. Raises UnknownNameError."""
    dims = read_dim_list(node)
    for dim in dims:
        if dim not in AXES:
            raise UnknownNameError(node.where, f"dim {dim!r} of a vector is no axis of the body", "use x, y and z")
    if not dims:
        node.wrong("a vector without axes", "give one or more of x, y and z")
    return dims


def choices(key: str, options: Sequence[str]) -> str:
    """A remedy for a key that is missing.

    >>> choices("order", ["wxyz", "xyzw"])
    'add `order: wxyz` or `order: xyzw`'
    """
    return "add " + " or ".join(f"`{key}: {option}`" for option in options)
