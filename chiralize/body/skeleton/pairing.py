"""Every way to write which joints are partners, each read to (left, right) index pairs.

Own spelling: `pairs: [[left_hip, right_hip], ...]`, `pairs: []` (explicitly none) or `pairs: infer` (from the names).
Spellings of other tools: a list of pairs (`flip_pairs`, `symmetries`, `symmetric_pairs`, `keypoint_pairs`,
`keypoint_flip_pairs`, `keypoint_flip_map`), a partner per joint (`swap`), a permutation (`flip_idx`, `permutation`
with `reflection`), two parallel lists (`left` and `right`).

`schema.read_skeleton` calls `read_pairing` once a file. Of joints nose, l_ear, r_ear these say the same, ((1, 2),):

    pairs: [[l_ear, r_ear]]      swap: {l_ear: r_ear}      flip_idx: [0, 2, 1]      left: [l_ear]
    symmetries: [[2, 1]]         pairs: infer              permutation: [[0, 2, 1]] right: [r_ear]

Spellings of other tools say which joints are partners and not which is the left one: names decide where they tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from chiralize.body.skeleton.electrodes import are_electrodes, electrode_partner, electrode_side
from chiralize.body.skeleton.naming import OPPOSITE, infer_pairs, orient, partner_name, side
from chiralize.body.skeleton.nodes import Node, nearest, only_key, texts
from chiralize.body.skeleton.writing import names_in_brackets
from chiralize.errors import MissingKeyError, NotAnInvolutionError, UnpairedJointError
from chiralize.errors.words import when

LIST_KEYS = ("pairs", "flip_pairs", "symmetries", "symmetric_pairs", "keypoint_pairs", "keypoint_flip_pairs")
MAIN_KEYS = (*LIST_KEYS, "keypoint_flip_map", "swap", "flip_idx", "permutation", "left")
PAIR_KEYS = (*MAIN_KEYS, "right", "reflection")

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Pairing:
    """Pairs as read.  reflection: one sign per joint, where the file gave it.  explicit_none: `pairs: []`."""

    pairs: Pairs
    reflection: tuple[int, ...] | None = None
    explicit_none: bool = False


def read_pairing(root: Node, fields: dict[str, Node], joints: Sequence[Node], notices: list[str]) -> Pairing:
    """The pairs of a skeleton file. Raises MissingKeyError where no key gives them, SpecError where they are wrong."""
    names = texts(joints)
    # Two spellings could contradict each other, and `right` alone says nothing: both are refused before any is read.
    key = only_key(fields, MAIN_KEYS, "the pairs")
    _check_owners(fields, key)
    if key is None:
        _refuse_missing(root, names)
    node = fields[key]
    # One branch a spelling; what is left at the end are the lists of pairs.
    if key == "left":
        return Pairing(_from_sides(node, fields.get("right"), names))
    if key == "permutation":
        pairs = from_permutation(_single(node), names)
        return Pairing(pairs, _read_reflection(fields.get("reflection"), len(names)))
    if key == "swap":
        return Pairing(from_swap(node, names))
    if key == "flip_idx":
        return Pairing(from_flip_idx(node, names, notices))
    if node.text == "infer":
        return Pairing(_from_names(node, joints, fields.get("center"), notices))
    pairs = from_pair_list(node, names, ordered=key == "pairs")
    return Pairing(pairs, explicit_none=not pairs)


def _check_owners(fields: dict[str, Node], key: str | None) -> None:
    """Raise MissingKeyError for a key that has a meaning only together with another key than `key`."""
    for other, owner in (("right", "left"), ("reflection", "permutation")):
        if other in fields and key != owner:
            raise MissingKeyError(fields[other].where, f"{other!r} stands without {owner!r}", f"add `{owner}`")


def _refuse_missing(root: Node, names: Sequence[str]) -> NoReturn:
    """Raise MissingKeyError: pairs are never assumed, also where the names would tell them."""
    count = len(infer_pairs(names).pairs)
    hint = when(count, f"; the names tell {count} pairs, `pairs: infer` takes them")
    facts = "no `pairs`: which joints are left and right of each other is not stated"
    remedy = f"add `pairs: [[left, right], ...]`, or `pairs: []` where there are none{hint}"
    raise MissingKeyError(root.where, facts, remedy)


def collect(
    listed: Sequence[tuple[Node, int, int]], names: Sequence[str], *, ordered: bool, noun: str = "joint"
) -> Pairs:
    """The pairs of (node, first, second) triples, checked: no joint with itself, none in two pairs. One may come twice.

    ordered: the first of a pair is the left one.  noun: what is paired, for messages.
    Raises WrongValueError, NotAnInvolutionError at the line of the pair.
    """
    partner: dict[int, tuple[int, int]] = {}  # joint to its partner and the line that says so
    pairs: list[tuple[int, int]] = []
    for node, first, second in listed:
        if first == second:
            remedy = "leave centre joints out of the pairs"
            if noun != "joint":
                remedy = f"leave it out of `swap`: the mirror then leaves this {noun} in its place"
            node.wrong(f"{noun} {names[first]!r} is paired with itself", remedy)
        # The same pair again, as a `swap` with an entry for each of the two has it.
        if partner.get(first, (None,))[0] == second and partner.get(second, (None,))[0] == first:
            continue
        # Either joint may be in another pair already.
        for one, other in ((first, second), (second, first)):
            if one in partner:
                before, line = partner[one]
                elsewhere = f"in line {line}" if line else "elsewhere"
                facts = f"{noun} {names[one]!r} swaps with {names[other]!r} here but with {names[before]!r}"
                remedy = f"give each {noun} one partner, the same in both directions"
                raise NotAnInvolutionError(node.where, f"{facts} {elsewhere}", remedy)
        partner[first], partner[second] = (second, node.line), (first, node.line)
        pairs.append((first, second) if ordered else orient((first, second), names))
    return tuple(pairs)


def pair_of(node: Node, noun: str) -> tuple[Node, Node]:
    """The two entries of a pair in a list called swap. Raises WrongValueError, also for one where pairs should be."""
    if node.items is None:
        node.wrong(f"swap lists pairs, and {node.show()} is none", f"write swap: [[A, B], ...], a pair of {noun} each")
    first, second = node.sequence("a pair", 2)
    return first, second


def from_pair_list(node: Node, names: Sequence[str], *, ordered: bool) -> Pairs:
    """`[[left_hip, right_hip], [2, 5], ...]`, names or indices.  ordered: the first of a pair is the left one.

    Raises WrongValueError, UnknownNameError, NotAnInvolutionError.
    """
    listed = []
    for item in node.sequence("the list of pairs"):
        if item.items is None:
            item.wrong(
                f"a pair must be [left, right], not {item.show()}", "write pairs as [[left_hip, right_hip], ...]"
            )
        first, second = item.sequence("a pair", 2)
        listed.append((item, first.index_in(names, "joint"), second.index_in(names, "joint")))
    return collect(listed, names, ordered=ordered)


def from_swap(node: Node, names: Sequence[str]) -> Pairs:
    """A partner per joint: `{left_hip: right_hip}`, or a list as long as the joints with '' for none.

    A list says of every joint what its partner is, and both have to say it; in a map one entry for a pair is enough.
    Raises WrongValueError, UnknownNameError, NotAnInvolutionError.
    """
    if node.entries is not None:
        listed = [(value, key.index_in(names, "joint"), value.index_in(names, "joint")) for key, value in node.entries]
        return collect(listed, names, ordered=False)
    # [a's partner, b's partner, ...], and '' for a joint of the middle.
    partners = node.sequence("swap")
    _same_length(node, len(partners), names, "swap")
    listed = []
    for index, value in enumerate(partners):
        if value.is_null or value.text == "":
            continue
        other = value.index_in(names, "joint")
        if other != index:
            listed.append((value, index, other))
    pairs = collect(listed, names, ordered=False)
    paired = {index for pair in pairs for index in pair}
    for index, value in enumerate(partners):
        # ['l_ear names r_ear', 'r_ear names nobody'] is a slip in one of the two.
        if index in paired and (value.is_null or value.text == ""):
            facts = f"joint {names[index]!r} has no partner here, but another joint names it"
            raise NotAnInvolutionError(value.where, facts, "make it mutual")
    return pairs


def from_flip_idx(node: Node, names: Sequence[str], notices: list[str]) -> Pairs:
    """`flip_idx`, read as a flat permutation, or as a list of pairs where its entries are lists; says which.

    Both are in use under this name: [0, 2, 1] and [[1, 2]].
    """
    entries = node.sequence("flip_idx")
    if entries and all(entry.items is not None for entry in entries):
        notices.append(f"{node.where}: flip_idx read as a list of {len(entries)} pairs (it holds lists of two)")
        return from_pair_list(node, names, ordered=False)
    pairs = from_permutation(node, names, "flip_idx")
    notices.append(f"{node.where}: flip_idx read as a flat permutation of {len(names)} joints, {len(pairs)} pairs")
    return pairs


def from_permutation(node: Node, names: Sequence[str], what: str = "permutation") -> Pairs:
    """A flat list: entry i is the partner of joint i, itself for a centre joint. Raises NotAnInvolutionError where a
    partner's partner is another joint.
    """
    entries = node.sequence(what)
    _same_length(node, len(entries), names, what)
    partner = [entry.index_in(names, "joint") for entry in entries]
    for index, other in enumerate(partner):
        if partner[other] != index:
            facts = f"{what}: {names[index]!r} goes to {names[other]!r}, but that goes to {names[partner[other]]!r}"
            remedy = "make partners mutual: entry i is j and entry j is i"
            raise NotAnInvolutionError(entries[index].where, facts, remedy)
    return tuple(orient((i, j), names) for i, j in enumerate(partner) if i < j)


def _same_length(node: Node, count: int, names: Sequence[str], what: str) -> None:
    """Raise WrongValueError unless a list has one entry a joint."""
    if count != len(names):
        node.wrong(f"{what} has {count} entries for {len(names)} joints", f"give {len(names)} entries, one per joint")


def _from_sides(left: Node, right: Node | None, names: Sequence[str]) -> Pairs:
    """Two parallel lists, `left: [1, 3]` and `right: [2, 4]`: the k-th joints of both are partners."""
    if right is None:
        raise MissingKeyError(left.where, "'left' stands without 'right'", "add `right`, a list in the same order")
    first, second = left.sequence("left"), right.sequence("right")
    if len(first) != len(second):
        right.wrong(
            f"left has {len(first)} joints, right has {len(second)}", "give two lists of one length, in the same order"
        )
    listed = []
    for one, other in zip(first, second, strict=True):
        listed.append((one, one.index_in(names, "joint"), other.index_in(names, "joint")))
    return collect(listed, names, ordered=True)


def _from_names(node: Node, joints: Sequence[Node], center: Node | None, notices: list[str]) -> Pairs:
    """`pairs: infer`. Raises UnpairedJointError where a name has a side and no partner.

    center: the joints that the file says are in no pair, None where it says nothing.
    """
    names = texts(joints)
    proposal = infer_pairs(names)
    listed = {item.index_in(names, "joint") for item in center.sequence("center")} if center else set[int]()
    for index in proposal.sided:
        if index not in listed:
            raise unpaired(joints[index], joints, proposal.pairs)
    if not proposal.pairs and not proposal.sided:
        node.wrong("`pairs: infer`, but no joint's name tells left or right", "write the pairs out")
    count = len(names) - 2 * len(proposal.pairs)
    notices.append(f"{node.where}: {len(proposal.pairs)} pairs and {count} centre joints inferred from the names")
    return proposal.pairs


def unpaired(joint: Node, joints: Sequence[Node], pairs: Pairs) -> UnpairedJointError:
    """The error for a joint whose name tells a side but which has no partner.  pairs: those of the other joints."""
    name = joint.text or ""
    joint_side, wanted = side(name) or "left", partner_name(name)
    if are_electrodes(texts(joints)):
        joint_side, wanted = electrode_side(name) or "left", electrode_partner(name)
    others = [node for node in joints if node is not joint]
    # `l_paw_front` asks for `r_paw_front`, and `r_paw_frnt` is nearest to that.
    near = nearest(wanted or name, texts(others))
    hint = ""
    if near:
        line = next(node.line for node in others if (node.text or "") == near)
        hint = f"\n    nearest name: {near!r}" + when(line, f" (line {line})") + "."
    facts = f"{joint_side} joint {name!r} has no {OPPOSITE[joint_side]} partner.{hint}"
    remedy = (
        "correct the name or the pairs; or list the joint under `center`, with all others that are in no pair: "
        f"{whole_center(joints, pairs)}"
    )
    return UnpairedJointError(joint.where, facts, remedy)


def whole_center(joints: Sequence[Node], pairs: Pairs) -> str:
    """The line of a skeleton file that lists all joints in no pair: where it is, it has to list every one of them."""
    paired = {index for pair in pairs for index in pair}
    names = [name for index, name in enumerate(texts(joints)) if index not in paired]
    return f"center: {names_in_brackets(names)}"


def _single(node: Node) -> Node:
    """A flat list, also where it is wrapped in another list of one."""
    entries = node.sequence("permutation")
    first = next(iter(entries), None)
    if first is None or first.items is None:
        return node
    if len(entries) > 1:
        node.wrong(f"{len(entries)} permutations, but a skeleton has one mirror", "keep the left/right one")
    return first


def _read_reflection(node: Node | None, size: int) -> tuple[int, ...] | None:
    """One sign per joint; None where the file has none. Raises WrongValueError on another number of signs."""
    if node is None:
        return None
    node = _single(node)
    signs = node.sequence("reflection")
    if len(signs) != size:
        node.wrong(f"reflection has {len(signs)} signs for {size} joints", f"give {size} signs, one per joint")
    return tuple(sign.sign("a sign") for sign in signs)
