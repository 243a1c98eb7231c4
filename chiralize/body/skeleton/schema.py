"""From a parsed document to a Skeleton: the keys of a skeleton file, each checked where it stands.

Every message names file and line. The pair spellings of other tools are read in `pairing`; all of them end as
(left, right) index pairs.

`catalog` parses a file and calls `read_skeleton`; importers call it with keys that they put together. A file

    joints: [nose, l_ear, r_ear]
    pairs: [[l_ear, r_ear]]
    dims: [x, y]

becomes Skeleton(joints=("nose", "l_ear", "r_ear"), pairs=((1, 2),), dims=("x", "y"), negate=("x",)). A file that says
`skeleton: h36m` instead of joints extends that one: it may choose joints and coordinates, and cannot change pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chiralize.body.skeleton.naming import side
from chiralize.body.skeleton.nodes import Node, did_you_mean, only_key, read_optional, texts
from chiralize.body.skeleton.pairing import PAIR_KEYS, Pairing, Pairs, read_pairing, unpaired, whole_center
from chiralize.body.skeleton.skeleton import AXES, Signs, Skeleton, common_signs
from chiralize.errors import (
    MissingKeyError,
    NotAnInvolutionError,
    SpecError,
    UnknownKeyError,
    UnknownNameError,
    UnpairedJointError,
)

JOINT_KEYS = ("joints", "keypoints", "nodes", "bodyparts", "names", "keypoint_names")
PLAIN_KEYS = ("chiralize", "name", "skeleton", "center", "dims", "negate", "signs", "lateral", "edges")
TEXT_KEYS = ("aliases", "source", "note")
SKELETON_KEYS = (*PLAIN_KEYS, *JOINT_KEYS, *PAIR_KEYS, *TEXT_KEYS)
_FIXED_BY_BASE = (*PAIR_KEYS, "center")
_CHANGES = (*JOINT_KEYS, *TEXT_KEYS, "dims", "negate", "signs", "lateral", "edges")


def read_skeleton(root: Node, default_name: str, base: Skeleton | None, notices: list[str]) -> Skeleton:
    """The Skeleton that the keys of `root` describe, starting from `base` where the file extends one.

    Keys of the specification (inputs, hidden, ...) are not looked at. Raises SpecError of every kind.
    """
    fields = root.mapping("a skeleton file")
    _check_version(fields)
    name = read_optional(fields, "name", Node.name, "name") or default_name
    if base is not None:
        # A file that changes nothing is the base itself, name and aliases included.
        changed = any(key in fields for key in _CHANGES)
        if changed:
            return _extend(root, fields, base, name)
        return _check_fixed(fields, base)
    # Joints, then their pairs, then the signs: each is read by what comes before it.
    joints = read_joints(root, fields)
    names = texts(joints)
    pairing = read_pairing(root, fields, joints, notices)
    _check_center(fields, joints, pairing)
    dims, negate = _read_dims(root, fields, pairing)
    signs = _read_signs(fields, names, dims, negate, pairing)
    return _built(
        root,
        Skeleton,
        name=name,
        joints=tuple(names),
        pairs=pairing.pairs,
        dims=dims,
        negate=negate,
        signs=signs,
        lateral=_read_lateral(fields),
        edges=read_optional(fields, "edges", read_edges, names) or (),
        aliases=_read_aliases(fields),
        **_read_texts(fields),
    )


def _check_version(fields: dict[str, Node]) -> None:
    """Raise WrongValueError where a file is of another version: nothing else in it can be relied on then."""
    if "chiralize" in fields and fields["chiralize"].integer("chiralize (the format's version)") != 1:
        fields["chiralize"].wrong(f"format version {fields['chiralize'].text}", "this version reads `chiralize: 1`")


def _check_fixed(fields: dict[str, Node], base: Skeleton) -> Skeleton:
    """The base. Raises UnknownKeyError where the file gives pairs or centre joints beside it."""
    for key in _FIXED_BY_BASE:
        if key in fields:
            facts = f"{key!r} beside `skeleton: {base.name}`, which gives it already"
            remedy = (
                f"keep one of them; for pairs of yours write `chiralize skeleton show {base.name} --format json > "
                "mine.yaml`, change them there, and start from that file: `skeleton: mine.yaml`"
            )
            raise UnknownKeyError(fields[key].where, facts, remedy)
    return base


def _extend(root: Node, fields: dict[str, Node], base: Skeleton, name: str) -> Skeleton:
    """The base with what the file changes: which joints, then which coordinates, their signs, and the rest."""
    _check_fixed(fields, base)
    used = _joint_node(fields)
    if used is not None:
        # By index in the base too, and each with its partner.
        chosen = [item.index_in(base.joints, "joint") for item in used.sequence("joints")]
        base = base.with_joints(chosen, used.where)
    dims = read_optional(fields, "dims", read_dim_list)
    negate = read_optional(fields, "negate", read_negate, dims or base.dims)
    # `signs` replaces those of the base, which could not stand beside a `negate` of other dims.
    if "signs" in fields:
        base = replace(base, signs=())
    body = _built(root, base.with_dims, dims=dims, negate=negate)
    if "signs" in fields:
        body = _with_signs(root, fields["signs"], body)
    changes: dict[str, Any] = {key: text for key, text in _read_texts(fields).items() if text}
    if "edges" in fields:
        changes["edges"] = read_edges(fields["edges"], body.joints)
    lateral = _read_lateral(fields) or body.lateral
    return replace(body, name=name, lateral=lateral, aliases=_read_aliases(fields), **changes)


def _with_signs(root: Node, node: Node, body: Skeleton) -> Skeleton:
    """The body with the signs that `signs` lists: for all joints alike, or for single ones."""
    listed = read_sign_list(node, body.dims)
    rows: Signs = ()
    if listed is not None:
        body = replace(body, negate=listed)
    else:
        rows = read_sign_map(node, body.joints, body.dims)
    # Here, at the line of the joint; `Skeleton` checks the same again and knows no lines.
    _check_sign_pairs(node, body.joints, common_signs(body.dims, body.negate), body.pairs, rows)
    return _built(root, lambda **parts: replace(body, **parts), signs=rows)


def _built(root: Node, build: object, **parts: object) -> Skeleton:
    """Build, and let a remaining error say the file instead of the skeleton's name."""
    try:
        return build(**parts)  # type: ignore[operator]
    except SpecError as error:
        raise type(error)(root.where, error.facts, error.remedy) from None


# ---- joints, center, edges ------------------------------------------------------------------------------------
def _joint_node(fields: dict[str, Node]) -> Node | None:
    """The list of joints under whichever name it has. Raises UnknownKeyError where two keys give one."""
    key = only_key(fields, JOINT_KEYS, "the joints")
    if key is None:
        return None
    return fields[key]


def read_joints(root: Node, fields: dict[str, Node]) -> tuple[Node, ...]:
    """The nodes of the joint names, checked: names, none twice. Raises MissingKeyError, WrongValueError."""
    node = _joint_node(fields)
    if node is None:
        facts = "no `joints` and no `skeleton`"
        raise MissingKeyError(root.where, facts, "list the joints in the order of the tensors")
    items = node.sequence("joints")
    seen: dict[str, int] = {}
    for item in items:
        name = item.name("joint")
        if name in seen:
            item.wrong(f"joint {name!r} is listed twice (first in line {seen[name]})", "give each joint its own name")
        seen[name] = item.line
    if not items:
        node.wrong("`joints` is empty", "list the joints in the order of the tensors")
    return items


def _check_center(fields: dict[str, Node], joints: Sequence[Node], pairing: Pairing) -> None:
    """Raise where a joint is neither in a pair nor, as far as one can tell, one of the middle.

    A joint without a pair is fine where its name has no side; `l_ear` has to be listed under `center`, or the file has
    to say `pairs: []`. Where there is a `center`, it has to list all that are in no pair. Raises WrongValueError,
    UnpairedJointError.
    """
    names = texts(joints)
    paired = {index: pair for pair in pairing.pairs for index in pair}
    # Three ways to be told what an unpaired joint is: `center`, a name without a side, `pairs: []` for all of them.
    # First what is listed under `center`, then the joints that are neither there nor in a pair.
    listed: set[int] = set()
    for item in read_optional(fields, "center", Node.sequence, "center") or ():
        index = item.index_in(names, "joint")
        if index in paired:
            item.wrong(f"centre joint {names[index]!r} is also in pair {[names[i] for i in paired[index]]}", "drop one")
        listed.add(index)
    for index, joint in enumerate(joints):
        if index in paired or index in listed:
            continue
        if side(names[index]) and not pairing.explicit_none:
            raise unpaired(joint, joints, pairing.pairs)
        if "center" in fields:
            facts = f"joint {names[index]!r} is in no pair and not under `center` (line {fields['center'].line})"
            remedy = f"pair it, or list every joint that is in no pair: {whole_center(joints, pairing.pairs)}"
            raise UnpairedJointError(joint.where, facts, remedy)


def read_edges(node: Node, names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Edges by names or indices, as index pairs. Raises WrongValueError, UnknownNameError."""
    edges = []
    for item in node.sequence("edges"):
        first, second = item.sequence("an edge", 2)
        edge = first.index_in(names, "joint"), second.index_in(names, "joint")
        if edge[0] == edge[1]:
            item.wrong(f"edge from {names[edge[0]]!r} to itself", "join two different joints")
        edges.append(edge)
    return tuple(edges)


# ---- coordinates and signs ------------------------------------------------------------------------------------
def read_dim_list(node: Node) -> tuple[str, ...]:
    """`dims: [x, y, z]`. Raises WrongValueError on one listed twice."""
    dims: list[str] = []
    for item in node.sequence("dims"):
        name = item.name("dim")
        if name in dims:
            item.wrong(f"dim {name!r} is listed twice", "list each dim once")
        dims.append(name)
    return tuple(dims)


def read_negate(node: Node, dims: Sequence[str]) -> tuple[str, ...]:
    """`negate: [x]`, or `x` where it is one: names of dims. Raises UnknownNameError."""
    negate: list[str] = []
    # `negate: x` is one name. Nothing behind `negate:` is refused: `negate: []` says that nothing is negated.
    if node.text is not None and not node.is_null:
        items: Sequence[Node] = (node,)
    else:
        items = node.sequence("negate")
    for item in items:
        name = item.name("negated dim")
        if name not in dims:
            raise UnknownNameError(item.where, f"negated dim {name!r} is no dim", did_you_mean(name, dims))
        negate.append(name)
    return tuple(dim for dim in dims if dim in negate)


def _read_dims(root: Node, fields: dict[str, Node], pairing: Pairing) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """dims and those that are negated.

    A list of `signs` counts as `negate`. Unsaid, x is negated where there is an x, nothing where joints have signs of
    their own; elsewhere MissingKeyError is raised, since a wrong guess would be a wrong mirror.
    """
    is_robot = pairing.reflection is not None
    dims = ("q",) if is_robot else AXES
    if "dims" in fields:
        dims = read_dim_list(fields["dims"])
    listed = read_optional(fields, "signs", read_sign_list, dims)
    if listed is not None:
        if "negate" in fields:
            facts = "`signs` as a list and `negate` both say which dims change sign"
            raise UnknownKeyError(fields["signs"].where, facts, "keep one")
        return dims, listed
    if "negate" in fields:
        return dims, read_negate(fields["negate"], dims)
    if "x" in dims:
        return dims, ("x",)
    if is_robot or ("signs" in fields and fields["signs"].entries):  # signs of single joints say it
        return dims, ()
    facts = f"dims {list(dims)} without x, and no `negate`"
    remedy = "add `negate: DIM` (`negate: []` for none), or `signs` per joint"
    raise MissingKeyError(fields.get("dims", root).where, facts, remedy)


def read_sign_list(node: Node, dims: Sequence[str]) -> tuple[str, ...] | None:
    """`signs: [-1, 1, 1]` over dims, the same for every joint, as the negated dims; None where it is a map."""
    if node.items is None:
        return None
    if len(node.items) != len(dims):
        node.wrong(
            f"`signs` has {len(node.items)} entries for dims {list(dims)}",
            "give one sign per dim, or a map joint: [signs]; one sign per joint is called `reflection`",
        )
    return tuple(dim for dim, item in zip(dims, node.items, strict=True) if item.sign("a sign") < 0)


def read_sign_map(node: Node, names: Sequence[str], dims: Sequence[str]) -> Signs:
    """`signs: {waist_yaw: [-1]}`: signs over dims for single joints. Raises WrongValueError, UnknownNameError."""
    rows: dict[int, tuple[int, ...]] = {}
    for key, value in node.named_entries("signs"):
        joint = key.index_in(names, "joint")
        # Of a robot's joint with one coordinate, `waist_yaw: -1` is as clear as `waist_yaw: [-1]`.
        if value.items is None and len(dims) == 1:
            items = (value,)
        else:
            items = value.sequence(f"signs of {names[joint]!r}")
        if len(items) != len(dims):
            value.wrong(f"{names[joint]!r} has {len(items)} signs for dims {list(dims)}", "give one sign per dim")
        rows[joint] = tuple(item.sign("a sign") for item in items)
    return tuple(sorted(rows.items()))


def _read_signs(
    fields: dict[str, Node], names: Sequence[str], dims: Sequence[str], negate: Sequence[str], pairing: Pairing
) -> Signs:
    """The signs of single joints: from `reflection`, one a joint, or from a map under `signs`.

    A list under `signs` is of all joints alike and has been read as `negate`. Of a reflection only what differs from
    the common sign is listed. Raises UnknownKeyError, MissingKeyError, NotAnInvolutionError.
    """
    node, common = fields.get("signs"), common_signs(dims, negate)
    if pairing.reflection is not None:
        if node is not None:
            raise UnknownKeyError(node.where, "`signs` and `reflection` both give signs per joint", "keep one of them")
        if len(dims) != 1:
            facts = f"one sign per joint, but dims {list(dims)}"
            raise MissingKeyError(fields["reflection"].where, facts, "use `dims: [q]`, or `signs` with a map")
        # [1, -1, -1] with nothing negated in common: the joints 1 and 2 have signs of their own.
        rows = tuple((joint, (sign,)) for joint, sign in enumerate(pairing.reflection) if (sign,) != common)
        node = fields["reflection"]
    elif node is None or node.items is not None:
        return ()
    else:
        rows = read_sign_map(node, names, dims)
    _check_sign_pairs(node, names, common, pairing.pairs, rows)
    return rows


def _check_sign_pairs(node: Node, names: Sequence[str], common: tuple[int, ...], pairs: Pairs, rows: Signs) -> None:
    """Raises NotAnInvolutionError where partners have different signs.  common: of joints that `rows` does not list.

    left +1, right -1: (T T x)[left] = +1 * -1 * x[left], which is not x.
    """
    # By the joints' names, so that the message has the line of the one that is listed; of a list all have one line.
    signs_of = dict(rows)
    lines = {key.text: key.where for key, _ in node.entries or ()}
    for left, right in pairs:
        first, second = signs_of.get(left, common), signs_of.get(right, common)
        if first != second:
            where = lines.get(names[left]) or lines.get(names[right]) or node.where
            raise NotAnInvolutionError(
                where,
                f"partners {names[left]!r} and {names[right]!r} have signs {list(first)} and {list(second)}, so the "
                "mirror twice is not the identity",
                "give both partners the same signs",
            )


def _read_lateral(fields: dict[str, Node]) -> str | None:
    """`lateral: y`, None where the file does not say it."""
    return read_optional(fields, "lateral", Node.choice, "lateral", AXES)


# ---- texts ----------------------------------------------------------------------------------------------------
def _read_aliases(fields: dict[str, Node]) -> tuple[str, ...]:
    """`aliases: [human36m]`."""
    return tuple(item.name("alias") for item in read_optional(fields, "aliases", Node.sequence, "aliases") or ())


def _read_texts(fields: dict[str, Node]) -> dict[str, str]:
    """`source` and `note`, empty where the file does not give them."""
    return {key: read_optional(fields, key, Node.prose, key) or "" for key in ("source", "note")}
