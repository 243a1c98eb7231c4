"""Tables of weights in what a checkpoint holds: which there are, which fits a network, and under which prefix.

A trainer's checkpoint names the weights of a network as its own wrapper does: `model.first.weight` of a network whose
first layer is called `first`.  A prefix *fits* where the names behind it are those of the network, all of them and no
others, in the same shapes.

    checkpoint   {"epoch": 3, "ema": {"first.weight": ...}, "state_dict": {"model.first.weight": ..., "model.std": ...}}
    tables       "ema" and "state_dict"
    fits         of a network with first.weight: "ema" under "", and "state_dict" under "model." if `model.std` is idle

Nothing here reads numbers: a tensor in memory and the record of one in a file (`inert.StoredTensor`) have a `shape`.
`choosing` asks which table fits, `patching` where a weight lies in the file, other modules for names in messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from chiralize.errors import ModelFileError
from chiralize.errors.words import listed
from chiralize.storage.inert import Foreign, StoredTensor, class_of, named_in, state_of

MARKS = {
    "_orig_mod.": "torch.compile",
    "_fsdp_wrapped_module.": "FSDP",
    "_checkpoint_wrapped_module.": "activation checkpointing",
}
"""What wrappers put into the names of weights, anywhere in them, with whose mark it is."""
_DEPTH = 5
"""Levels of tables within tables in which weights are looked for."""
_SHOWN = 12

_T = TypeVar("_T")


@dataclass(frozen=True)
class Weights:
    """A flat table of tensors.  key: the entry that holds it, with dots; "" is the checkpoint itself.

    tensors: by name, each a torch.Tensor or a StoredTensor.  owner: the class of the module that they are of, where the
    checkpoint holds that itself.
    """

    key: str
    tensors: Mapping[str, Any]
    owner: str = ""


@dataclass(frozen=True)
class Fit:
    """A table that fits a network under a prefix.

    names: what the table calls each weight of the network.  aside: names in the table that are no weights of it.
    """

    weights: Weights
    prefix: str
    names: Mapping[str, str]
    aside: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks that wrappers left in the names, see `MARKS`."""
        listed = "\n".join(name.removeprefix(self.prefix) for name in self.names.values())
        return tuple(filter(listed.__contains__, MARKS))


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor, in memory or in a file."""
    return isinstance(value, StoredTensor) or hasattr(value, "untyped_storage")


def is_table(value: Any) -> bool:
    """Whether a value is a flat table of tensors."""
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(key, str) and is_tensor(entry) for key, entry in value.items())


def tables_in(tree: Any, where: str) -> list[Weights]:
    """All tables in a checkpoint, down to a depth; a pickled module counts as the table of its weights.

    Entries of lists go by their position.  What belongs to an optimizer is passed over.
    """
    return list(_tables(tree, "", where, _DEPTH))


def _tables(part: Any, key: str, where: str, depth: int) -> Iterator[Weights]:
    """The tables in a part of a checkpoint.  key: of the part.  depth: levels that are still looked into."""
    if is_table(part):
        yield Weights(key, part)
    elif isinstance(part, Foreign):
        # A pickled module, or another object, which may be a kind of dict with tables in it.
        names = state_of(part, where)
        if names:
            yield Weights(key, names, class_of(part))
        elif part.entries and depth:  # a trainer's own kind of dict
            yield from _tables(part.entries, key, where, depth - 1)
    elif depth and not is_of_optimizer(part):
        for name, entry in _entries(part).items():
            yield from _tables(entry, f"{key}.{name}" if key else name, where, depth - 1)


def _entries(part: Any) -> Mapping[str, Any]:
    """The entries of a dict or a list, under names that `--key` takes; none for anything else."""
    if isinstance(part, Mapping):
        return {str(name): entry for name, entry in part.items() if isinstance(name, (str, int))}
    if isinstance(part, (list, tuple)):
        return {str(number): entry for number, entry in enumerate(part)}
    return {}


def is_of_optimizer(part: Any) -> bool:
    """Whether it is the state of an optimizer of torch."""
    return isinstance(part, Mapping) and "param_groups" in part


def name_beside(entry: str, name: str) -> str:
    """What a weight of a table beside the network's own is called among the names of both."""
    return f"{entry}/{name}"


def table_under(tree: Any, key: str, where: str) -> Weights:
    """The table under "a.b.c": the entry of this very name, else entry b.c of entry a, and so on.

    Raises ModelFileError where there is none, with what is there.
    """
    # Keys may contain dots themselves.  At each level the whole rest is tried as one key before it is split.
    current, rest = tree, key
    while rest:
        entries = _entries(current.entries if isinstance(current, Foreign) else current)  # of a kind of dict its own
        if rest in entries:
            current, rest = entries[rest], ""
            break
        head, _, rest = rest.partition(".")
        if head not in entries:
            raise ModelFileError(where, f"no entry {key!r}; {contents(tree)}", "correct `--key`.")
        current = entries[head]
    names = named_in(current, where)
    if not is_table(names):
        facts = f"entry {key!r} is not a table of tensors; {contents(current)}"
        raise ModelFileError(where, facts, "name the entry that holds the weights: `--key NAME`.")
    return Weights(key, names, class_of(current) if isinstance(current, Foreign) else "")


def contents(value: Any) -> str:
    """What a checkpoint holds, in a few words."""
    if isinstance(value, (list, tuple)) and value:
        value = _entries(value)
    if not isinstance(value, Mapping):
        return f"it holds a {_kind(value)}"
    if not value:
        return "it is an empty table"
    entries = [f"{name!r} ({_kind(entry)})" for name, entry in value.items()]
    return f"its entries are {listed(entries, _SHOWN)}"


def _kind(value: Any) -> str:
    """What an entry is, in a word or two: `table of 12 tensors`, `tensor (3, 4)`, `Namespace`, `int`."""
    if is_table(value):
        return f"table of {len(value)} tensors"
    if is_tensor(value):
        return f"tensor {tuple(value.shape)}"
    if isinstance(value, Foreign):
        return value.origin.rpartition(".")[2] or "object"
    return type(value).__name__


def fits(weights: Weights, expected: Mapping[str, Any], idle: Sequence[str] = ()) -> list[Fit]:
    """Every way in which a table fits a network.

    expected: tensors of the network by name.  idle: names, or beginnings of names that end with a dot, of weights that
    only training needs: those may be left aside.  Only full names are looked up among the idle ones.
    """
    plain = plain_names(weights.tensors)
    ways: list[Fit] = []
    for prefix in _prefixes(plain, expected):
        # behind: from the network's name to the full name in the file.  more: weights that the network does not have.
        behind = under(prefix, plain)
        more = [full for name, full in behind.items() if name not in expected]
        # Sizes tell apart what names do not: an actor and a critic may both be `0.weight`, `2.weight` behind a prefix.
        if not all(_has_shape(weights.tensors.get(behind.get(name, "")), tensor) for name, tensor in expected.items()):
            continue
        if all(_is_idle(name, idle) for name in more):
            ways.append(_fit(weights, prefix, behind, expected))
    return ways


def fit_under(weights: Weights, prefix: str, expected: Mapping[str, Any], idle: Sequence[str] = ()) -> Fit:
    """The weights under a prefix that the user named, whether they fit or not.

    Of the prefix "", weights whose first part the network does not know are left aside.
    """
    plain = plain_names(weights.tensors)
    behind = under(prefix, plain)
    # Missing, superfluous and other sizes are left in, for `fill_weights` to say.
    behind = {name: full for name, full in behind.items() if name in expected or not _is_idle(full, idle)}
    if not prefix:
        parts = {name.split(".")[0] for name in expected}
        behind = {name: full for name, full in behind.items() if name.split(".")[0] in parts}
    return _fit(weights, prefix, behind, dict.fromkeys(behind))


def nearest(tables: Sequence[Weights], expected: Mapping[str, Any]) -> Fit:
    """The table and prefix of which most names are the network's, to show what is missing.

    Of prefixes with as many names of the network the shortest, of those the first in the file; of tables the first.
    """
    best: tuple[int, Fit] | None = None  # how many names are the network's, and the fit
    for weights in tables:
        plain = plain_names(weights.tensors)
        for prefix in dict.fromkeys(["", *prefixes_of(plain)]):
            behind = under(prefix, plain)
            count = len(behind.keys() & expected.keys())
            if best is None or count > best[0] or (count == best[0] and len(prefix) < len(best[1].prefix)):
                best = count, _fit(weights, prefix, behind, dict.fromkeys(behind))
    assert best is not None
    return best[1]


def printable(name: str) -> str:
    """A name of a file's, which may hold anything, as a terminal can show it."""
    if name.isprintable():
        return name
    return repr(name)


def plain_names(tensors: Mapping[str, Any]) -> dict[str, str]:
    """The names without the marks of wrappers, each with the name in full."""
    plain = {_unmarked(name): name for name in tensors}
    if len(plain) == len(tensors):
        return plain
    # Two names would become one, and a weight would be lost: the marks stay.
    return {name: name for name in tensors}


def under(prefix: str, table: Mapping[str, _T]) -> dict[str, _T]:
    """The entries whose names begin with a prefix, by what follows it."""
    return {name.removeprefix(prefix): entry for name, entry in table.items() if name.startswith(prefix)}


def _unmarked(name: str) -> str:
    """A name without the marks of wrappers: `_orig_mod.first.weight` is `first.weight`."""
    for mark in MARKS:
        name = name.replace(mark, "")
    return name


def prefixes_of(names: Mapping[str, Any]) -> list[str]:
    """Beginnings that a dot ends, of names, in file order: "a." and "a.b." of "a.b.weight"."""
    beginnings: dict[str, None] = {}
    for name in names:
        parts = name.split(".")[:-1]
        for count in range(1, len(parts) + 1):
            beginnings.setdefault(".".join(parts[:count]) + ".")
    return list(beginnings)


def first_parts(names: Mapping[str, Any]) -> dict[str, int]:
    """The first parts of names, with how many names begin with each."""
    counts: dict[str, int] = {}
    for name in names:
        head, dot, _ = name.partition(".")
        counts[head + dot] = counts.get(head + dot, 0) + 1
    return counts


def _prefixes(plain: Mapping[str, str], expected: Mapping[str, Any]) -> list[str]:
    """Prefixes under which the first name of the network is in the table: no others can fit.  "" for no weights."""
    if not expected:
        return [""]
    first = next(iter(expected))
    ending = [name.removesuffix(first) for name in plain if name.endswith(first)]
    return [prefix for prefix in ending if not prefix or prefix.endswith(".")]


def _has_shape(tensor: Any, wanted: Any) -> bool:
    """Whether a tensor is there (not None) and has the shape of another."""
    return tensor is not None and tuple(tensor.shape) == tuple(wanted.shape)


def _is_idle(name: str, idle: Sequence[str]) -> bool:
    """Whether only training needs the weight of this name, see `fits`."""
    plain = _unmarked(name)
    return any(plain == word or (word.endswith(".") and plain.startswith(word)) for word in idle)


def _fit(weights: Weights, prefix: str, behind: Mapping[str, str], wanted: Mapping[str, Any]) -> Fit:
    """The fit with these weights.  behind: full names by what follows the prefix.  wanted: which of those are taken."""
    names = {name: behind[name] for name in wanted}
    used = set(names.values())
    return Fit(weights, prefix, names, tuple(name for name in weights.tensors if name not in used))
