"""Values in the files of other tools: looked up by their keys, and put together for the keys of a skeleton file.

All of these take what is missing or of another kind for empty, so that importers can look for keys without asking first
whether there is a map: `get(get(None, "a"), "b")` is None.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.body.skeleton.nodes import Node


def find(node: Node, *keys: str) -> Node | None:
    """The value of the first of `keys` that occurs anywhere below, nearest to the top first; None where none occurs.

    Level by level, so that `symmetries` of the file comes before one of a part of it.
    """
    level = [node]
    while level:
        below: list[Node] = []
        for current in level:
            fields = {key.text: value for key, value in entries_of(current)}
            for key in keys:
                if key in fields:
                    return fields[key]
            below += [*fields.values(), *items_of(current)]
        level = below
    return None


def get(node: Node | None, key: str) -> Node | None:
    """The value of `key` in a map node; None where there is no such key, or no map."""
    return next((value for name, value in entries_of(node) if name.text == key), None)


def entries_of(node: Node | None) -> tuple[tuple[Node, Node], ...]:
    """The (key, value) nodes of a map node; none where it is no map, or missing."""
    if node is not None:
        return node.entries or ()
    return ()


def items_of(node: Node | None) -> tuple[Node, ...]:
    """The items of a list node; none where it is no list, or missing."""
    if node is not None:
        return node.items or ()
    return ()


def text_node(text: str, like: Node) -> Node:
    """A text that stands where the node `like` stands, for messages about it."""
    return Node(like.source, like.line, text=text, quoted=True)


def list_node(items: Sequence[Node], like: Node) -> Node:
    """A list that stands where the node `like` stands, for messages about it."""
    return Node(like.source, like.line, items=tuple(items))


def optional_list(items: Sequence[Node], like: Node) -> Node | None:
    """The same, or None for an empty list: a key that `build` leaves out."""
    if not items:
        return None
    return list_node(items, like)
