"""T on observations as trainers hand them round: a tensor, or a table of named ones.

A table is a dict or TensorDict of groups such as {"policy": "b 48", "critic": "b 60", "scan": "b 187"}. For each group
`_group` looks for its entry among the inputs of the specification, by name; the only one without a name on both sides
belong together. `gymnasium` and `rsl_rl` mirror through it, `stable_baselines3` its single arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import BodyOverride, ConversionSpec, TensorEntry, load_spec
from chiralize.errors import UsageError
from chiralize.nn.mirror import Mirror

Spec = str | Path | Mapping[str, Any] | Skeleton | ConversionSpec
_NAMED = "name the inputs of the specification as the groups are named, `free: true` where the mirror leaves one alone"


@dataclass
class TableMirror:
    """T on observations and on actions, by what a specification says of the network's inputs and first output.

    spec: of the policy.  groups: specifications of observations by their name, in the place of the policy's; None
    for one that the mirror leaves alone.  Sizes are learnt from what is mirrored, and kept.
    """

    spec: ConversionSpec
    groups: Mapping[str, ConversionSpec | None] = field(default_factory=dict)
    _mirrors: dict[tuple[Any, ...], Mirror] = field(default_factory=dict, repr=False)

    @staticmethod
    def of(spec: Spec, groups: Mapping[str, Spec | None] | None = None) -> TableMirror:
        """The mirror of specifications in any form. Raises SpecError."""
        loaded: dict[str, ConversionSpec | None] = {}
        for name, entry in (groups or {}).items():
            loaded[name] = None if entry is None else load_spec(entry)
        return TableMirror(load_spec(spec), loaded)

    def actions(self, value: Any) -> Any:
        """T of actions "batch action", or of one action."""
        outputs = _described(self.spec.outputs)
        entry = outputs[0] if outputs else None
        return self._turned(value, "actions", self.spec, entry, "output")

    def observations(self, values: Any) -> Any:
        """T of observations: a tensor or an array, or those of a table (dict, TensorDict) by their names.

        Raises UsageError for a group that no specification describes.
        """
        if not is_table(values):
            return self._group(values, None, [None])
        names = list(values.keys())
        mirrored = {name: self._group(values[name], name, names) for name in names}
        return like_table(values, mirrored)

    def label(self, size: int, index: int) -> str:
        """Entry `index` of an observation of so many, in the words of the specification."""
        entries = _described(self.spec.inputs)
        mirror = _sized(self.spec, entries[0] if entries else None, "input", (size,))
        assert mirror.input_tensors is not None
        return mirror.input_tensors[0].label((0, index))

    def is_named(self, name: str) -> bool:
        """Whether a group of this name is described."""
        return name in self.groups or any(entry.name == name for entry in self.spec.inputs or ())

    def _group(self, value: Any, name: str | None, names: Sequence[str | None]) -> Any:
        """T of one group. names: of all that there are."""
        spec = self.groups.get(name, self.spec) if name is not None else self.spec
        if spec is None:
            return value
        entries = _described(spec.inputs)
        # A specification of its own for this group: only its entries count.
        if name in self.groups:
            return self._turned(value, name, spec, _chosen(entries, name, True, value), "input")
        # Entries that are called as another group is are that one's.
        left = [entry for entry in entries if entry.name is None or entry.name == name or entry.name not in names]
        nameless = [other for other in names if other is None or not self.is_named(other)]
        # A specification without inputs, a bare skeleton: its usual layouts are tried on the only group.
        if not entries and nameless == [name]:
            return self._turned(value, name, spec, None, "input")
        return self._turned(value, name, spec, _chosen(left, name, nameless == [name], value), "input")

    def _turned(self, value: Any, name: str | None, spec: ConversionSpec, entry: TensorEntry | None, io: str) -> Any:
        """T of one tensor. io: input or output. Raises UsageError for a table within a table."""
        if is_table(value):
            facts = "it is a table within a table of observations"
            raise UsageError(str(name), facts, "flatten it first, and name its parts in the specification")
        sizes = tuple(value.shape)
        # Batches change from call to call; the mirror depends on the last axis and on how many there are.
        key = (io, name, sizes[-1:], len(sizes))
        if key not in self._mirrors:
            self._mirrors[key] = _sized(spec, entry, io, sizes)
        mirror = self._mirrors[key]
        if io == "input":
            return mirror(value)
        return mirror.outputs(value)


def numbers(turn: Callable[[Tensor], Tensor], size: int, signed: bool = True) -> TensorEntry:
    """The entry of `size` numbers that a mirror moves, each a joint by itself; `signed`: with the signs as well.

    T of (1, 2, 3) is (2, 1, -3): numbers 0 and 1 are a pair, number 2 is its own partner, and negated.
    """
    image = turn(torch.arange(1.0, size + 1)[None])[0].tolist()
    partners = [int(abs(number)) - 1 for number in image]
    names = tuple(f"number {index}" for index in range(size))
    pairs = tuple((index, partner) for index, partner in enumerate(partners) if index < partner)
    negated = [index for index, number in enumerate(image) if signed and number < 0]
    signs = tuple((index, (-1,)) for index in negated)
    body = Skeleton("numbers", names, pairs, ("value",), (), signs)
    return TensorEntry("b (j d)", BodyOverride(body))


def is_table(value: Any) -> bool:
    """Whether it has named parts, as a dict and a TensorDict have."""
    return isinstance(value, Mapping) or (hasattr(value, "keys") and hasattr(value, "batch_size"))


def like_table(table: Any, values: Mapping[str, Any]) -> Any:
    """A table of the same class with other values; a TensorDict has the batch of its first one."""
    if not hasattr(table, "batch_size"):
        return dict(values)
    rows = list(next(iter(values.values())).shape[: len(table.batch_size)])
    return type(table)(dict(values), batch_size=rows, device=table.device)


def _described(entries: Sequence[TensorEntry] | None) -> tuple[TensorEntry, ...]:
    """Entries that are no states; one that is `like` another is described as that one is."""
    listed = [entry for entry in entries or () if entry.kind != "state"]
    return tuple(_followed(entry, entries or ()) for entry in listed)


def _followed(entry: TensorEntry, entries: Sequence[TensorEntry]) -> TensorEntry:
    """The entry itself, or under its name the one that it is `like`. Raises UsageError where that is none."""
    if entry.like is None:
        return replace(entry, feeds=None)
    text = " ".join(entry.like.split())
    numbered = {f"input {number}": other for number, other in enumerate(entries)}
    named = {other.name: other for other in entries if other.name}
    target = named.get(text) or numbered.get(text)
    if target is None or target.like is not None:
        facts = f"it is like {entry.like!r}, which is no observation that the specification describes"
        raise UsageError(entry.where or "specification", facts, "describe it itself")
    return replace(target, name=entry.name, feeds=None)


def _chosen(entries: Sequence[TensorEntry], name: str | None, is_only: bool, value: Any) -> TensorEntry:
    """The entry of a group: by its name, or the only one that is left.

    is_only: no other group is without a name.  Raises UsageError where nothing says which.
    """
    named = [entry for entry in entries if name is not None and entry.name == name]
    if named:
        return named[0]
    if is_only and len(entries) == 1:
        return entries[0]
    known = ", ".join(str(entry.name or "one without a name") for entry in entries) or "none"
    if name is not None:
        what = f"{name!r} of shape {tuple(value.shape)}"
    else:
        what = "a single tensor"
    where = f"observations[{name!r}]" if name is not None else "observations"
    raise UsageError(where, f"{what} is not described (inputs that are: {known})", _NAMED)


def _sized(spec: ConversionSpec, entry: TensorEntry | None, io: str, sizes: tuple[int, ...]) -> Mirror:
    """The mirror of one tensor of this shape; one without a batch is described as a batch of one."""
    entries = None if entry is None else (entry,)
    shape = sizes
    if entry is not None and len(sizes) == 1:
        shape = (1, *sizes)
    if io == "input":
        return Mirror.of(replace(spec, inputs=entries, outputs=()), input_shapes=[shape])
    return Mirror.of(replace(spec, inputs=(), outputs=entries), output_shapes=[shape], io="output")
