"""The remark that leads a report where nobody gave the sizes of the inputs: what they were taken for.

`derive` finds sizes by trial and asks for the remark on them; it becomes a note of the report. A wrong reading makes
all that follows worthless, so that `reading_first` and `report.assembling` put it before everything else:

    taken as b t j d = 1,27,17,2; --input-shape says otherwise (d is read as x, y, z)
    `--------------------------'  `--------------------------'  `-------------------'
     every input, with its sizes   how to correct it             why so, and what is doubtful
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from chiralize.body.tensors.layout import with_tildes
from chiralize.errors.words import when
from chiralize.problem.readings.arguments import arguments_of, names_by_position
from chiralize.problem.readings.reading import Reading

_PLANE = 2
"""Coordinates that leave no doubt: a third may be a depth or a confidence, of which sizes do not tell."""
READ_AS = "taken as "
"""The beginning of the remark."""


def remark_on(reading: Reading, module: nn.Module, option: str, of_people: str = "") -> str:
    """`taken as b t j d = 1,27,17,2; --input-shape says otherwise`, and why so many frames; `of_people`: and people.

    module: whose forward names the inputs.  option: by which the user gives sizes.  of_people: why so many people, ""
    where there is nothing to say.
    """
    tensors = reading.resolved.input_tensors
    # One tensor needs no name.
    if len(tensors) > 1:
        names = names_by_position(reading.arranged, arguments_of(module))
    else:
        names = {}
    # Clauses on the inputs, and the coordinates of those that left a doubt about them.
    taken: list[str] = []
    coordinates: list[str] = []
    for index, tensor in enumerate(tensors):
        label = f"{names[index]}: " if index in names else ""
        # The search adds a confidence to the coordinates of an entry, and says so.
        is_assumed = tensor.entry.override.dims != reading.arranged.entries[index].override.dims
        dims = when(is_assumed, f" ({', '.join(tensor.entry.override.dims or ())})")
        # The skeleton's coordinates, where the specification does not name them for this input.
        if tensor.pose is not None and tensor.entry.override.dims is None and len(tensor.pose.body.dims) > _PLANE:
            coordinates.append(", ".join(tensor.pose.body.dims))
        layout = with_tildes(tensor.layout, dict(tensor.entry.mirror))
        taken.append(f"{label}{layout}{dims} = {sizes_text(reading.shapes[index])}")
    # Several inputs with the same coordinates are one clause.
    read_as = when(coordinates, f"d is read as {' and '.join(dict.fromkeys(coordinates))}")
    reasons = "; ".join(filter(None, (reading.reason, of_people, read_as)))
    reason = when(reasons, f" ({reasons})")
    return f"{READ_AS}{'; '.join(taken)}; {option} says otherwise{reason}"


def sizes_text(shape: Sequence[int]) -> str:
    """Sizes as `--input-shape` takes them: `1,27,17,2`."""
    return ",".join(map(str, shape))


def reading_first(notes: Iterable[str]) -> tuple[str, ...]:
    """Notes of a report, the remark on what the inputs were taken for before all others."""
    return tuple(sorted(notes, key=lambda note: not note.startswith(READ_AS)))
