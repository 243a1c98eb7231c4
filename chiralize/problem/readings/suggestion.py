"""What the arguments of a network could be of which nothing is said: a command to start from, found by trial.

Sizes do not tell what the mirror does to an argument, so nothing is taken by itself: the user reads it and sends it.
Of `forward(pose, mask, h0)` the names suggest a pose, something without a body, and a state:

    chiralize convert ... --input-layout "b t j d" --input-layout free --input-layout state

`refusal_of` asks for it where a network takes several arguments and the specification describes none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product

from chiralize.body.tensors import ResolvedTensor, TensorEntry
from chiralize.graph.time_limit import TimeLimit
from chiralize.problem.readings.arguments import Argument, arguments_of, arrangements
from chiralize.problem.readings.search import Search
from chiralize.problem.readings.trial import Shape, Shapes

_STATE = re.compile(r"([hc](x|_?0|_in|n)?|.*(hidden|state|states|memory|carry|cell)s?(_?in|\d)?)$", re.I)
_NO_BODY = re.compile(r".*(mask|conf|score|visib|camera|intrinsic|time|step|label|speed|command|noise|scale)", re.I)
_MOST = 8
"""Descriptions that are tried."""
_MOST_ARGUMENTS = 4
_MOST_SIZES = 200
"""Combinations of sizes that are tried for each description."""
_SECONDS = 2.0
"""Processor time for all descriptions: that they are missing is known without any."""


@dataclass(frozen=True)
class Suggestion:
    """What tensors could be, in the words of `--input-layout`. outputs: none where they are found without.

    shapes: sizes of the inputs, none where they are found without.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    shapes: Shapes = ()


def suggestion_for(search: Search) -> Suggestion | None:
    """The first description of the arguments with which the network runs; None where none of the usual ones does."""
    required = [argument for argument in arguments_of(search.module) or () if argument.is_required]
    if search.spec.inputs is not None or not 1 < len(required) <= _MOST_ARGUMENTS:
        return None
    limit = TimeLimit(_SECONDS)
    for entries in islice(_descriptions(required), _MOST):
        suggestion = None if limit.is_over else _of(search, entries, limit)
        if suggestion is not None:
            return suggestion
    return None


def _descriptions(arguments: Sequence[Argument]) -> Iterator[tuple[TensorEntry, ...]]:
    """Descriptions of the arguments that their names suggest, the likeliest first. The first argument of these is a
    pose.
    """
    pose, free = TensorEntry(), TensorEntry(flag="free")
    choices: list[tuple[TensorEntry, ...]] = [(pose,)]
    for argument in arguments[1:]:
        if _STATE.match(argument.name):
            choices.append((TensorEntry(flag="state"),))
        else:
            choices.append((free, pose) if _NO_BODY.match(argument.name) else (pose, free))
    yield from product(*choices)


def _of(search: Search, entries: tuple[TensorEntry, ...], limit: TimeLimit) -> Suggestion | None:
    """These entries, as options, where the network runs with them."""
    spec = replace(search.spec, inputs=entries)
    ways = arrangements(search.module, spec)
    inner = Search(search.trial, spec, ways, search.progress, search.samples, most=_MOST_SIZES, limit=limit)
    inner.as_offered_alone = True
    reading = inner.first()
    outputs: tuple[TensorEntry, ...] = ()
    # It runs, and an answer has no reading: a second search takes answers in the sizes of a state for that state.
    if reading is None and inner.obstacles.refused and not inner.obstacles.open_inputs:
        refused = inner.obstacles.refused[0]
        outputs = _answers(entries, refused.shapes, refused.answers)
        obstacles = replace(inner.obstacles, refused=[], tried=0)
        inner = replace(inner, spec=replace(spec, outputs=outputs), obstacles=obstacles)
        reading = inner.first()
    shapes: Shapes = ()
    # Several sizes fit an input without a body: those of the nearest reading are suggested, too.
    if reading is None and inner.obstacles.nearest is not None:
        reading, shapes = inner.obstacles.nearest, inner.obstacles.nearest.shapes
    if reading is None:
        return None
    inputs = tuple(map(_word_of, entries, reading.resolved.input_tensors))
    return Suggestion(inputs, tuple(map(_word_of, outputs, reading.resolved.output_tensors)) if outputs else (), shapes)


def _answers(entries: Sequence[TensorEntry], shapes: Shapes, answers: Sequence[Shape]) -> tuple[TensorEntry, ...]:
    """Outputs of a size that only a state has are that state."""
    states = [shape for entry, shape in zip(entries, shapes, strict=True) if entry.kind == "state"]
    described: list[TensorEntry] = []
    for shape in answers:
        is_state = shape in states
        described.append(TensorEntry(flag="state" if is_state else None))
        if is_state:
            states.remove(shape)  # each state comes back once
    return tuple(described)


def _word_of(entry: TensorEntry, tensor: ResolvedTensor) -> str:
    """The layout of a tensor, as it was read; of one without a body what it is."""
    if tensor.pose is not None:
        return str(tensor.pose.layout)
    return tensor.kind if entry.kind == "pose" else entry.kind
