"""Every entry of a tensor of fields with its partner and its sign, for people to check by eye.

0 gyro.x -> -0 gyro.x
3 q.left_knee -> +4 q.right_knee      the mirrored vector has x[4] at 3
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chiralize.body.tensors.claims import with_sizes
from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields import joined_action, joined_labels
from chiralize.errors.words import when


@dataclass(frozen=True)
class ListedEntry:
    """One entry.  index, partner: positions along the axis of the fields.  label, partner_label: their names."""

    index: int
    label: str
    sign: int
    partner: int
    partner_label: str

    def __str__(self) -> str:
        """`17 left_foot.y -> -23 right_foot.y`: the mirrored vector has -x[23] at 17."""
        if not self.sign:
            return f"{self.index:4d} {self.label}: nothing is claimed of it"
        mark = "-" if self.sign < 0 else "+"
        return f"{self.index:4d} {self.label} -> {mark}{self.partner} {self.partner_label}"

    def to_dict(self) -> dict[str, object]:
        """The entry as the JSON output has it."""
        keys: dict[str, object] = {"index": self.index, "name": self.label, "sign": self.sign}
        return keys | {"partner": self.partner, "partner_name": self.partner_label}


def listed_tensors(spec: ConversionSpec) -> Iterator[tuple[str, list[ListedEntry]]]:
    """Every tensor of fields as messages name it, `input 0 'observation'`, with its entries. Raises SpecError."""
    for io, entries in (("input", spec.inputs), ("output", spec.outputs)):
        for number, entry in enumerate(entries or ()):
            if entry.fields:
                yield f"{io} {number}" + when(entry.name, f" {entry.name!r}"), listed(entry, spec)


def listed(entry: TensorEntry, spec: ConversionSpec) -> list[ListedEntry]:
    """The entries of a tensor of fields in their order; those of which nothing is claimed have the sign 0."""
    # Blocks that are left out have no T: numbers of their size stand in, and their entries are marked below.
    body, blocks = entry.body(spec.skeleton), with_sizes(entry.fields or ())
    action, labels = joined_action(blocks, body), joined_labels(blocks, body)
    unclaimed = set[int]()
    start = 0
    for block in entry.fields or ():
        positions = range(start, start + block.size(body))
        start = positions.stop
        if block.kind == "unclaimed":
            unclaimed.update(positions)
    rows = []
    for index, label in enumerate(labels):
        partner, sign = int(action.partner[index]), int(action.sign[index])
        rows.append(ListedEntry(index, label, 0 if index in unclaimed else sign, partner, labels[partner]))
    return rows
