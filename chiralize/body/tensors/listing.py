"""Every entry of a tensor of fields with its partner and its sign, for people to check by eye."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.body.tensors.fields import joined_action, joined_labels


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
                yield f"{io} {number}" + (f" {entry.name!r}" if entry.name else ""), listed(entry, spec)


def listed(entry: TensorEntry, spec: ConversionSpec) -> list[ListedEntry]:
    """The entries of a tensor of fields in their order."""
    body, blocks = entry.body(spec.skeleton), entry.fields or ()
    action, labels = joined_action(blocks, body), joined_labels(blocks, body)
    rows = []
    for index, label in enumerate(labels):
        partner = int(action.partner[index])
        rows.append(ListedEntry(index, label, int(action.sign[index]), partner, labels[partner]))
    return rows
