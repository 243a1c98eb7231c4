"""The sizes of open axes at which a network answers at all, asked before anything is fitted.

A program with open frames also takes one frame, for which a standard deviation over them is nan; a convolution without
padding refuses fewer frames than its kernel has. What the original does there is not for a result to mend, and nothing
can be compared there. So verdicts begin at the least size that has an answer (`Network.floors`).

A size has an answer where every entry of the outputs is finite for some input. An entry that is finite for some inputs
and not for others does not depend on the size: such sizes are judged. Only the network as it was handed in is asked: a
result that has no answer where its original has one fails its verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from chiralize.errors import ChiralizeError, ModelRunError
from chiralize.errors.words import first_line
from chiralize.graph.copies import is_large
from chiralize.graph.isolation import exclusive
from chiralize.graph.model import Shape
from chiralize.graph.other_sizes import OpenAxis, open_axes
from chiralize.graph.running import Arguments, Around, Call, Runner, placed, random_tensor, results
from chiralize.graph.silence import quiet
from chiralize.problem.axes import BATCH, names_of_still_axes
from chiralize.problem.lengths import Lengths
from chiralize.problem.network import Network

_DRAWN = 6
"""Random inputs of one size, beside one that is near the example."""
_SEED = 11
_LONGER = 8
"""Times the examples' size up to which a size with an answer is looked for where theirs has none."""
_MOST_WORDS = 120
"""Characters of a network's own message that are repeated."""


@exclusive
@torch.inference_mode(False)
def with_lengths(network: Network) -> Network:
    """The network with the sizes of its open axes that have no answer, and a note on them. Large ones are not asked."""
    if is_large(network.module):
        return network
    with Runner(network.module) as runner:
        example = Arguments.of(*network.example)
        silent = _why_silent(network, runner, [tuple(tensor.shape) for tensor in example.tensors])
        lengths = tuple(_lengths(network, runner, is_silent=bool(silent)))
    behaviour = replace(network.behaviour, lengths=lengths, silent=silent)
    # Where the examples themselves have no answer, `refuse_silent` says it.
    notes = [each.note for each in lengths if each.least is not None and not silent]
    return replace(network, behaviour=behaviour).with_notes(*notes)


def refuse_silent(network: Network, name: str, is_forced: bool = False) -> None:
    """Raise ModelRunError where no input of the examples' sizes has an answer, unless forced, with sizes that have."""
    why = network.behaviour.silent
    if not why or is_forced:
        return
    facts = f"on all inputs tried of the examples' sizes {why}"
    for lengths in network.behaviour.lengths:
        if lengths.least is not None:
            facts += f"; so it is with {lengths.axis} {lengths.sizes}, and not with {lengths.axis} {lengths.least}"
            remedy = f"give examples with {lengths.axis} {lengths.least} or more: --input-shape, --example"
            raise ModelRunError(name, facts, remedy)
    tried = "; ".join(f"{lengths.axis} {lengths.sizes}" for lengths in network.behaviour.lengths)
    if tried:
        facts += f"; so it is with {tried}"
    raise ModelRunError(
        name, facts, "give examples that it was made for (--example), of other sizes; or look where it makes nan or inf"
    )


def _lengths(network: Network, runner: Runner, is_silent: bool) -> Iterator[Lengths]:
    """Open axes on which not every size has an answer.  is_silent: the examples' sizes have none."""
    if network.program is None:
        return
    names = names_of_still_axes(network.resolved, network.resolved.inputs)
    tensors, floors = Arguments.of(*network.example).tensors, dict[str, int]()
    every = partial(open_axes, network.program, tensors, names, network.origin.from_program)
    # The batch first, of which as few samples as have an answer are taken while another axis changes.
    for axis in every():
        if axis.axis == BATCH and (lengths := _lengths_of(axis, network, runner, is_silent)):
            floors[BATCH] = lengths.least or 1
            yield lengths
    for axis in every(floors):
        if axis.axis != BATCH and (lengths := _lengths_of(axis, network, runner, is_silent)):
            yield lengths


def _lengths_of(axis: OpenAxis, network: Network, runner: Runner, is_silent: bool) -> Lengths | None:
    """The sizes of one open axis that have no answer; None where all have one that were tried."""
    asked: dict[int, str] = {}

    def why(size: int) -> str:
        """Why a size has no answer."""
        resized = axis.at(size)
        asked[size] = _why_silent(network, runner, resized.shapes) if resized else "there are no such inputs"
        return asked[size]

    most = min(axis.most, _LONGER * axis.now) if is_silent else axis.now
    # The examples' own size has an answer, unless `is_silent`.
    least = _least_answered(max(axis.least, 1), most, why)
    silent = tuple(size for size in sorted(asked) if asked[size])
    if not silent:
        return None
    return Lengths(axis.axis, least, silent, asked[silent[-1]])


def _least_answered(least: int, most: int, why: Callable[[int], str]) -> int | None:
    """The smallest size from `least` to `most` that has an answer, as have all above it; None where none has.

    why: says why a size has none.  Sizes are doubled until one has, then halved between it and the one before.
    """
    below, size = least - 1, least
    while why(size):
        if size >= most:
            return None
        below, size = size, min(max(2 * size, size + 1), most)
    while size - below > 1:
        middle = (below + size) // 2
        if why(middle):
            below = middle
        else:
            size = middle
    return size


def _why_silent(network: Network, runner: Runner, shapes: Sequence[Shape]) -> str:
    """Why no input of these shapes has a finite answer, "" where an entry of every output is finite for some input."""
    answered, outputs = list[torch.Tensor](), list[torch.Tensor]()
    reason = ""
    for call in _calls(network, shapes):
        try:
            with quiet():
                outputs = results(runner.run([call]).steps[0])[0]
        except ChiralizeError as error:
            reason = reason or f"it fails ({_short(error)})"
            continue
        finite = [output.isfinite() for output in outputs]
        if [each.shape for each in finite] == [each.shape for each in answered]:
            finite = [one | other for one, other in zip(finite, answered, strict=True)]
        answered = finite
        if all(bool(each.all()) for each in answered):
            return ""
    if not answered:
        return reason
    index, missing = next((index, ~each) for index, each in enumerate(answered) if not bool(each.all()))
    entry = missing.nonzero()[0].tolist()
    return f"its answers are not finite (output {index} is {outputs[index][tuple(entry)].item()} at {entry})"


def _calls(network: Network, shapes: Sequence[Shape]) -> Iterator[Call]:
    """Random inputs of these shapes, then one near the example, for networks that do not take any numbers."""
    example = Arguments.of(*network.example)
    generator = torch.Generator().manual_seed(_SEED)
    near = Around(near=example.tensors)
    for around in (*[network.around] * _DRAWN, near):
        tensors = list[torch.Tensor]()
        for tensor, shape in zip(example.tensors, shapes, strict=True):
            tensors.append(random_tensor(tensor, generator, shape))
        yield placed(example.filled(tensors), around)


def _short(error: ChiralizeError) -> str:
    """The first words of what a network says where it fails."""
    words = first_line(error.__cause__ or error)
    return words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]}..."
