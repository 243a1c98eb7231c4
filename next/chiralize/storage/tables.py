"""Which weights in a checkpoint are the network's? The one table and prefix whose names and shapes are those of it.

A trainer's checkpoint names the weights of a network as its own wrapper does: `model.first.weight` of a network whose
first layer is called `first`. A prefix *fits* where the names behind it are those of the network, all of them and no
others, in the same shapes. Nothing is guessed from names such as "ema".

    checkpoint   {"epoch": 3, "ema": {"first.weight": ...}, "state_dict": {"model.first.weight": ..., "model.std": ...}}
    tables       "ema" and "state_dict"
    fits         of a network with first.weight: "ema" under "", and "state_dict" under "model." if `model.std` is idle
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from chiralize.errors import FactoryError, Finding, ModelFileError, UsageError
from chiralize.errors.words import listed, when
from chiralize.storage.pickles import Foreign
from chiralize.storage.torch_file import weights_of

_MARKS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, FSDP and activation checkpointing put into the names of weights, anywhere in them."""
_DEPTH = 5
"""Levels of tables within tables that are looked into: trainers have two or three."""
_SAVE = "save the weights by name: torch.save(model.state_dict(), 'weights.pt')"
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Table:
    """A flat table of tensors. key: the entry that holds it, with dots; "" is the checkpoint itself."""

    key: str
    tensors: Mapping[str, torch.Tensor]

    @property
    def plain(self) -> dict[str, str]:
        """The names without the marks of wrappers, each with the name in full."""
        plain = {_unmarked(name): name for name in self.tensors}
        # Two names would become one, and a weight would be lost: the marks stay.
        return plain if len(plain) == len(self.tensors) else {name: name for name in self.tensors}

    def under(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors whose names begin with a prefix, by what follows it."""
        plain = self.plain.items()
        return {name.removeprefix(prefix): self.tensors[full] for name, full in plain if name.startswith(prefix)}


@dataclass(frozen=True)
class Fit:
    """A table that fits a network under a prefix.

    weights: by the network's names, views of the file.  aside: names in the table that are no weights of it.
    """

    key: str
    prefix: str
    weights: Mapping[str, torch.Tensor]
    aside: tuple[str, ...] = ()


def tables_in(tree: Any) -> list[Table]:
    """All tables in a checkpoint, down to a depth; a pickled module counts as the table of its weights.

    Entries of lists go by their position. What belongs to an optimizer is passed over.
    """
    return list(_tables(tree, "", _DEPTH))


def _tables(part: Any, key: str, depth: int) -> Iterator[Table]:
    """The tables in a part of a checkpoint. key: of the part.  depth: levels that are still looked into."""
    if isinstance(part, Foreign):
        if weights := weights_of(part):
            yield Table(key, weights)
            return
        part = part.fields
    entries = _entries(part)
    tensors = {name: entry for name, entry in entries.items() if isinstance(entry, torch.Tensor)}
    # A count or a name may stand among the weights, as `_extra_state` does.
    if tensors and isinstance(part, Mapping):
        yield Table(key, tensors)
    if depth and "param_groups" not in entries:
        for name, entry in entries.items():
            yield from _tables(entry, f"{key}.{name}" if key else name, depth - 1)


def _entries(part: Any) -> Mapping[str, Any]:
    """The entries of a dict or a list, under names that `--key` takes; none of anything else."""
    if isinstance(part, Mapping):
        return {str(name): entry for name, entry in part.items() if isinstance(name, (str, int))}
    if isinstance(part, (list, tuple)):
        return {str(number): entry for number, entry in enumerate(part)}
    return {}


def tables_meant(tree: Any, key: str | None, usual: Sequence[str], where: str) -> tuple[list[Table], str | None]:
    """The tables under the key that the user names, else the trainer's usual ones, else all; and a prefix of names.

    A key is the way to the weights: `state_dict` is an entry, `state_dict.model` may be the names in it that begin with
    "model.". Raises ModelFileError.
    """
    tables = tables_in(tree)
    if not tables:
        raise ModelFileError(where, f"holds no weights by name; {_contents(tree)}", _SAVE)
    if key is None:
        return [table for table in tables if table.key in usual] or tables, None
    for table in sorted(tables, key=lambda table: -len(table.key)):
        if table.key == key:
            return [table], None
        prefix = (key.removeprefix(f"{table.key}.") if table.key else key).removesuffix(".") + "."
        if f"{key}.".startswith(f"{table.key}." if table.key else "") and table.under(prefix):
            return [table], prefix
    keys = listed([repr(table.key) for table in tables if table.key], 12) or "none"
    raise ModelFileError(where, f"has no weights under {key!r}", f"--key takes one of {keys}, or a beginning of names")


def _contents(tree: Any) -> str:
    """What a checkpoint holds, in a few words."""
    if isinstance(tree, Mapping):
        return f"its entries are {listed([repr(name) for name in tree], 12) or 'none'}"
    return f"it is a {tree.name if isinstance(tree, Foreign) else type(tree).__name__}"


@dataclass(frozen=True)
class Expected:
    """The weights of a network.

    shapes: by name.  firsts: of a weight that is one tensor with others, the first name: files may leave out the rest.
    """

    shapes: Shapes
    firsts: Mapping[str, str]

    @staticmethod
    def of(module: torch.nn.Module) -> Expected:
        """The weights of this network."""
        state = module.state_dict(keep_vars=True)  # without, each name has a tensor object of its own
        tensors = {name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
        names: dict[int, str] = {}
        for name, tensor in tensors.items():
            names.setdefault(id(tensor), name)
        return Expected(shapes_of(tensors), {name: names[id(tensor)] for name, tensor in tensors.items()})

    def holds(self, weights: Shapes) -> bool:
        """Whether weights are all of the network's, and no others, in the same shapes."""
        least = set(self.firsts.values())
        return least <= weights.keys() and all(self.shapes.get(name) == shape for name, shape in weights.items())

    def with_ties(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights under all names of tensors that have several."""
        return {name: weights.get(name, weights[first]) for name, first in self.firsts.items()}


def shapes_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def fits(table: Table, expected: Expected, idle: Sequence[str] = ()) -> list[Fit]:
    """Every way in which a table fits a network.

    idle: names, or beginnings of names that end with a dot, of weights that only training needs: those may be left
    aside.
    """
    plain = table.plain
    first = next(iter(expected.shapes), None)
    # Others than those behind which the first name of the network stands cannot fit.
    ending = [""] if first is None else [name.removesuffix(first) for name in plain if name.endswith(first)]
    ways: list[Fit] = []
    for prefix in (prefix for prefix in ending if not prefix or prefix.endswith(".")):
        behind = table.under(prefix)
        weights = {
            name: tensor
            for name, tensor in behind.items()
            if name in expected.shapes or not _is_idle(f"{prefix}{name}", idle)
        }
        # Sizes tell apart what names do not: an actor and a critic may both be `0.weight`, `2.weight` behind a prefix.
        if expected.holds(shapes_of(weights)):
            ways.append(_fit(table, prefix, weights))
    return ways


def _is_idle(name: str, idle: Sequence[str]) -> bool:
    """Whether only training needs the weight of this name."""
    return any(name == word or (word.endswith(".") and name.startswith(word)) for word in idle)


def _fit(table: Table, prefix: str, weights: Mapping[str, torch.Tensor]) -> Fit:
    """The fit with these weights."""
    used = {f"{prefix}{name}" for name in weights}
    return Fit(table.key, prefix, weights, tuple(full for name, full in table.plain.items() if name not in used))


def choose(
    tables: Sequence[Table], expected: Expected, prefix: str | None, idle: Sequence[str], name: str, where: str
) -> Fit:
    """The one table and prefix that fit.

    prefix: of names in the only table, where the user names one.  name: of the network, for messages.  Raises
    UsageError where several fit, FactoryError with what is missing, left over or of another shape where none does.
    """
    if prefix is not None:
        weights = tables[0].under(prefix)
        weights = {
            each: tensor for each, tensor in weights.items() if each in expected.shapes or not _is_idle(each, idle)
        }
        return _checked(_fit(tables[0], prefix, weights), expected, name, where)
    ways = [fit for table in tables for fit in fits(table, expected, idle)]
    if len(ways) > 1:
        keys = [".".join(filter(None, (fit.key, fit.prefix.removesuffix(".")))) for fit in ways]
        options = [f"--key {key}" for key in keys if key]
        raise UsageError(where, f"its weights fit the network in {len(ways)} ways", f"say which: {listed(options, 12)}")
    return ways[0] if ways else _checked(nearest(tables, expected.shapes), expected, name, where)


def nearest(tables: Sequence[Table], shapes: Shapes) -> Fit:
    """The table and prefix of which most names are the network's; of prefixes with as many, the shortest."""
    candidates: list[Fit] = []
    for table in tables:
        parts = [name.split(".")[:-1] for name in table.plain]
        prefixes = dict.fromkeys(".".join(part[:count]) + "." for part in parts for count in range(1, len(part) + 1))
        candidates += [_fit(table, prefix, table.under(prefix)) for prefix in ("", *prefixes)]
    return max(candidates, key=lambda fit: (_shared(fit, shapes), -len(fit.prefix)))


def _shared(fit: Fit, shapes: Shapes) -> int:
    """How many names are the network's."""
    return len(fit.weights.keys() & shapes.keys())


def _checked(fit: Fit, expected: Expected, name: str, where: str) -> Fit:
    """The fit, where it is one. Raises FactoryError with what is missing, left over or of another shape."""
    shapes, wanted = shapes_of(fit.weights), expected.shapes
    if expected.holds(shapes):
        return fit
    missing = [f"{each} {wanted[each]} is missing" for each in set(expected.firsts.values()) if each not in shapes]
    more = [f"{each} {shape} is not in the network" for each, shape in shapes.items() if each not in wanted]
    both = [each for each in wanted if each in shapes and shapes[each] != wanted[each]]
    wrong = [f"{each}: network {wanted[each]}, file {shapes[each]}" for each in both]
    counts = f"{len(missing)} missing, {len(more)} unexpected, {len(wrong)} of another shape"
    shown = "; ".join([*wrong, *sorted(missing), *more][:5])
    facts = f"the weights{when(fit.key, f' in {fit.key!r}')} do not fit {name} ({counts}): {shown}"
    remedy = "give the arguments that it was trained with, --arg NAME=VALUE, or another --key"
    raise FactoryError(where, facts, remedy)


def findings_of(fit: Fit, tables: int) -> tuple[Finding, ...]:
    """What is to be said of the choice: which table and prefix were taken, and what was left aside."""
    if not (fit.key or fit.prefix or fit.aside):
        return ()
    key = f" of {fit.key!r}" if fit.key else ""
    under = f" under {fit.prefix!r}" if fit.prefix else ""
    heads = list(dict.fromkeys(name.split(".")[0] for name in fit.aside))
    aside = when(heads, f"; {len(fit.aside)} others were left out ({listed(heads, 4)})")
    return (Finding("files", "note", f"the weights{key}{under} were read{when(tables > 1, ', which fit')}{aside}"),)


def _unmarked(name: str) -> str:
    """A name without the marks of wrappers: `_orig_mod.first.weight` is `first.weight`."""
    for mark in _MARKS:
        name = name.replace(mark, "")
    return name
