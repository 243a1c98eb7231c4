"""Files that name several mirrors of one body, such as left/right and front/back of a quadruped.

    mirrors:
      left_right: {pairs: [[FL, FR], [RL, RR]], lateral: y}
      front_back: {pairs: [[FL, RL], [FR, RR]], lateral: x}

Such a file is read once for each of its mirrors, as if it said nothing of the others: what stands below the mirror's
name counts as if it stood on the top level, and wherever a map has the names of the mirrors as its keys
(`signs: {left_right: [1, -1, 1], front_back: [-1, 1, 1]}`), its value for this mirror takes its place. So nobody beyond
this file knows of more than one mirror. For left_right the file above is read as `pairs: [[FL, FR], [RL, RR]]` and
`lateral: y`. Applied one after the other, mirrors must not depend on their order: a conversion for one keeps the others
exact only where they commute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from chiralize.body.skeleton.nodes import Node
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import MissingKeyError, NotAnInvolutionError, SpecError, UnknownKeyError
from chiralize.symmetry.orbits import entry_apart

MIRRORS = "mirrors"


def mirrors_in(root: Node) -> dict[str, Node]:
    """The file as it is for every mirror that it names, by name; empty where it has but one, without a name.

    Raises SpecError of every kind.
    """
    listed = next((value for key, value in root.entries or () if key.text == MIRRORS), None)
    if listed is None:
        return {}
    names: dict[str, Node] = {}
    for key, value in listed.named_entries(MIRRORS):
        names[key.name("name of a mirror")] = value
    if not names:
        listed.wrong("`mirrors` is empty", "name each mirror: `mirrors: {left_right: {pairs: [...], lateral: y}}`")
    _check_names(root, names)
    return {name: _under(root, name, keys, tuple(names)) for name, keys in names.items()}


def of_first_mirror(root: Node, notices: list[str]) -> Node:
    """The file as it is for the first of its mirrors, which is noticed; itself where it has but one."""
    by_name = mirrors_in(root)
    if not by_name:
        return root
    first, *others = by_name
    if others:
        notices.append(f"{root.source}: the mirror {first}; there are others: {', '.join(others)}")
    return by_name[first]


def _check_names(root: Node, names: Mapping[str, Node]) -> None:
    """Raises SpecError where a mirror is called like a key of the file, which would be taken for it."""
    for key, _ in root.entries or ():
        if key.text in names:
            key.wrong(f"a mirror is called {key.text!r} like a key of the file", "give it another name")


def _under(root: Node, name: str, of_mirror: Node, names: tuple[str, ...]) -> Node:
    """The file as if it had the mirror of this name alone.

    of_mirror: what stands below its name.  names: of all mirrors. Raises UnknownKeyError where a key stands below the
    mirror and on the top level.
    """
    chosen = dict(of_mirror.named_entries(f"mirror {name}"))
    keys = {key.text: key for key in chosen}
    entries: list[tuple[Node, Node]] = []
    for key, value in root.entries or ():
        if key.text == MIRRORS:
            continue
        if key.text in keys:
            twice = keys[key.text]
            facts = f"mirror {name!r} has a key {key.text!r}, and so has the file"
            raise UnknownKeyError(twice.where, facts, "keep one of them: below each mirror, or for all of them")
        entries.append((key, _for(value, name, names)))
    whole = [(key, _for(value, name, names)) for key, value in chosen.items()]
    return Node(root.source, root.line, entries=(*entries, *whole))


def _for(node: Node, name: str, names: tuple[str, ...]) -> Node:
    """A value as it is for one mirror. Raises MissingKeyError where a map names some of the mirrors alone."""
    if node.items is not None:
        items = tuple(_for(item, name, names) for item in node.items)
        return Node(node.source, node.line, items=items)
    if node.entries is None:
        return node
    by_key = {key.text: value for key, value in node.entries}
    if by_key.keys() & set(names):
        # One name of a mirror among the keys makes it a map by mirrors: then all have to be there, and nothing else.
        missing = [other for other in names if other not in by_key]
        others = [str(key) for key in by_key if key not in names]
        if missing or others:
            if missing:
                facts = f"a map by mirrors that lacks {missing}"
            else:
                facts = f"a map by mirrors with the keys {others}"
            raise MissingKeyError(node.where, facts, f"give one value for each of {', '.join(names)}")
        return _for(by_key[name], name, names)
    entries = tuple((key, _for(value, name, names)) for key, value in node.entries)
    return Node(node.source, node.line, entries=entries)


def check_skeletons(skeletons: Mapping[str, Skeleton], where: str) -> None:
    """Raises NotAnInvolutionError where two mirrors do not commute, SpecError where they are of different bodies."""
    for (name, one), (other_name, other) in combinations(skeletons.items(), 2):
        if one.joints != other.joints or one.dims != other.dims:
            raise SpecError(where, f"mirrors {name} and {other_name} are of different bodies", "give the same joints")
        # An entry at which T1 T2 and T2 T1 differ, as an index of (joint dim); None where they are the same.
        apart = entry_apart(one.merged_action(), other.merged_action())
        if apart is not None:
            joint, dim = divmod(apart, len(one.dims))
            raise not_commuting(where, (name, other_name), f"{one.joints[joint]}.{one.dims[dim]}")


def not_commuting(where: str, names: Sequence[str], entry: str) -> NotAnInvolutionError:
    """The refusal of mirrors whose product is no mirror."""
    facts = f"mirrors {names[0]} and {names[1]} do not commute at {entry}: where it goes, or its sign, depends on "
    remedy = "correct the pairs or signs there: the partner's partner and its sign must be the same both ways round"
    return NotAnInvolutionError(where, f"{facts}which comes first", remedy)
