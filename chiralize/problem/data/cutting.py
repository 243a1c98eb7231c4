"""Calibration inputs: looked at before they are used, and put into batches of a useful size.

Which of them are fitted, and which are held out, is in `batches`.

Calls of 3, 3 and 2 samples are eight rows. Batches of two, cut across the ends of the calls, are rows 0-1, 2-3, 4-5,
6-7; of three, rows 0-2 and 3-5, and two are left over. A program may take other batches than the one that it was
exported with, or not: that is tried (`roomy`), since a program alone does not tell. Tensors without samples, such as a
table that all calls share, stay whole (`in_common`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import accumulate, product
from math import ceil, inf, prod
from statistics import mode

import numpy as np
import torch

from chiralize.body.tensors import resolve
from chiralize.errors import CaptureError, DataFileError, ModelRunError, NonFiniteError, SpecError
from chiralize.graph import processes
from chiralize.graph.copies import is_large
from chiralize.graph.model import CapturedModel
from chiralize.graph.open_sizes import agrees, opened
from chiralize.graph.other_sizes import is_open
from chiralize.graph.running import Arguments, Call
from chiralize.infer.capture import capture
from chiralize.problem.axes import batch_axes
from chiralize.problem.data.feeds import Feed, grouped, mapped
from chiralize.problem.data.inputs import stacked
from chiralize.problem.data.other_body import other_body
from chiralize.problem.network import Network

_FEW = 1e-6
"""Of the largest entry: samples that differ by less are the same."""
_BATCHES = 25
"""A fifth of them is held out, and of the others a fifth again, for the strength of ridges."""
_BATCHES_EACH = 5
"""Batches in each of several processes, so that each holds one out."""
_GROUPS = 10
"""Batches that have to be left when calls are put together, where the caller names no number."""
_WHERE = "calibration"


def tensors(call: Call) -> list[torch.Tensor]:
    """The tensors of a call, in order."""
    return list(Arguments.of(*call).tensors)


def leading(call: Call) -> torch.Tensor:
    """The first tensor of a call, whose leading axis is the batch."""
    return tensors(call)[0]


def rows_of(call: Call) -> int:
    """The number of samples in a call."""
    first = leading(call)
    return len(first) if first.ndim else 1


def thinned(network: Network, calls: Sequence[Call], most: int) -> list[Call]:
    """Calls of the size of the first, evenly spread, of about `most` samples; none of none."""
    if not calls:
        return []
    rows = network.samples_in(calls[0])
    step = max(1, len(calls) * rows // most)
    return [call for call in calls[::step] if network.samples_in(call) == rows]


def check(network: Network, calls: Sequence[Call], differ: bool = True) -> None:
    """Raises NonFiniteError for NaN or infinite entries, DataFileError where sizes beyond the batch change.

    differ: samples have one size, and there are several; else both may be otherwise. Several that are all the same are
    refused.
    """
    # Every sample is compared with the first; the calls are read once, since they may lie on the disk.
    firsts = [network.in_rows(tensor)[:1] for call in calls[:1] for tensor in tensors(call)]
    broken, scales, apart = ([0.0] * len(firsts) for _ in range(3))
    for call in calls:
        for index, (tensor, first) in enumerate(zip(tensors(call), firsts, strict=True)):
            rows = network.in_rows(tensor)
            fits = rows.shape[1:] == first.shape[1:]
            if differ and not fits:
                facts = f"input {index} has shape {tuple(rows.shape)} in one batch, {tuple(first.shape)} in the first"
                raise DataFileError(_WHERE, facts, "give batches that differ in the number of samples alone")
            if rows.is_floating_point() and rows.numel():
                broken[index] += int((~torch.isfinite(rows)).sum())
                scales[index] = max(scales[index], float(rows.abs().max()))
                apart[index] = max(apart[index], float((rows - first).abs().max()) if fits else inf)
            elif not fits or bool((rows != first).any()):  # whole numbers differ, or do not
                apart[index] = inf
    for index, count in enumerate(broken):
        if count:
            facts = f"{count:.0f} entries are NaN or infinite"
            remedy = "remove those samples, or fill missing joints with what the network was trained on, such as 0"
            raise NonFiniteError(f"{_WHERE}, input {index}", facts, remedy)
    several = differ or sum(map(network.samples_in, calls)) > 1
    if several and calls and not any(far > _FEW * scale for far, scale in zip(apart, scales, strict=True)):
        facts = "every sample is the same"
        raise DataFileError(_WHERE, facts, "give inputs as the network sees them in use, best some 2,000 that differ")


def check_array(network: Network, data: object, where: str) -> None:
    """Raises DataFileError for one array of samples that looks like that of another skeleton than the network's."""
    if not isinstance(data, (torch.Tensor, np.ndarray)) or not network.resolved.input_tensors:
        return
    expected = network.resolved.input_tensors[0]
    if tuple(data.shape[1:]) in (expected.shape, expected.shape[1:]):
        return
    if error := other_body("the array", tuple(data.shape), expected, where):
        raise error


def check_body(network: Network, call: Call, where: str = "calibration") -> None:
    """Raises DataFileError where an axis that the mirror acts on has another size than in the example inputs."""
    for expected, tensor in zip(network.resolved.input_tensors, tensors(call), strict=False):
        if expected.representation is not None:
            axes = expected.representation.axes
        else:
            axes = ()
        sizes = zip(axes, tensor.shape, expected.shape, strict=False)
        if any(not axis.is_trivial and size != wanted for axis, size, wanted in sizes):
            if error := other_body("a batch", tuple(tensor.shape), expected, where):
                raise error
            facts = f"a batch has shape {tuple(tensor.shape)}, the model's input {expected.index} has {expected.shape}"
            raise DataFileError(where, facts, f"give inputs of the same skeleton, laid out as {expected.layout!r}")


def roomy(network: Network, calls: Sequence[Call]) -> Network:
    """The network captured again at the batch size of these inputs.  Raises ModelRunError where it refuses that.

    Where its program is fixed to another batch, the module is exported anew with an open one.
    """
    if network.program is None or len(leading(calls[0])) == len(leading(network.example)):
        return network
    args, kwargs = calls[0]
    try:
        captured = capture(network.program, args, kwargs, origin=network.origin.word)
    except ModelRunError:
        network = _reopened(network, calls[0])
        if network.program is None:
            raise
        captured = capture(network.program, args, kwargs)
    shapes = [tuple(tensor.shape) for tensor in tensors(calls[0])]
    resolved = resolve(network.resolved.spec, shapes, captured.output_shapes)
    return replace(network, args=tuple(args), kwargs=kwargs, captured=captured, resolved=resolved)


def taken_larger(network: Network, call: Call) -> Network | None:
    """The network captured at the batch size of a larger call by the program that it has; None where that will not do.

    Then the network has to be made ready anew: states may have the size of the batch, traces and parts of networks are
    made at the sizes of the examples. The program takes this call as its example from now on.
    """
    program, captured = network.program, network.captured
    if program is None or captured is None or network.origin.from_program or network.origin.traced:
        return None
    if network.handover.partial is not None or network.others.further or network.origin.unheld or captured.mutations:
        return None
    if not is_open(program) or not agrees(program.module(), network.module, call):
        return None
    try:
        larger = roomy(network, [call])
    except (ModelRunError, SpecError):
        return None
    program.example_inputs = call
    return larger


def _reopened(network: Network, call: Call) -> Network:
    """The network with a program that was exported at the sizes of a call, whose batch is open.

    Examples of one sample may give a program that takes no other batch.  Without a program where this one does not
    leave the batch open either, or gives other results on the examples than the module.
    """
    without = replace(network, program=None)
    if network.origin.from_program or network.origin.traced:
        return without
    try:
        program = opened(network.module, *call, network.open_axes(*call))
    except CaptureError:
        return without
    fits = is_open(program) and agrees(program.module(check_guards=False), network.module, network.example)
    if fits:
        return replace(network, program=program)
    return without


def in_rows(
    network: Network, calls: Sequence[Call], rows: int, room: float = inf, least: int | None = None
) -> Sequence[Call]:
    """The inputs in batches of about `rows` rows, fewer where there are few inputs; as they are where the network takes
    no such batches.

    calls: of one size, as `even` leaves them.  room: bytes that all values of a batch may take; a batch that takes more
    is cut.  least: how many batches there have to be, ten by default.
    """
    # 1. How many calls a batch is to hold, so that enough batches are left.
    size = rows_of(calls[0])
    if leading(calls[0]).ndim and not network.resolved.is_single:
        count = min(rows // size, len(calls) // (least or _GROUPS))
    else:
        count = 1
    # 2. How many rows fit into the room: values of all ops grow with the batch.
    if network.captured is None:
        fitting = inf
    else:
        given = network.captured.leaves[network.captured.inputs[0]].tensor
        fitting = room * len(given) / max(size_of_values(network.captured), 1) if given.ndim else room
    count = max(int(min(fitting / size, count)), 1)
    # 3. A batch along another axis than the first cannot be put together by `stacked`.
    batches = zip(network.resolved.input_tensors, batch_axes(network.resolved), strict=True)
    elsewhere = any(axes and 0 not in axes for tensor, axes in batches if not tensor.is_free)
    cut = network.has_rows and fitting < size
    if (count == 1 and not cut) or elsewhere or network.program is None:
        return calls
    # 4. The first way that the program takes.
    for common in in_common(network, calls):
        if cut:
            groups = _cut(calls, [size] * len(calls), max(int(fitting), 1), common)
        else:
            groups = mapped(partial(stacked, common=common), grouped(calls, count))
        with suppress(ModelRunError, CaptureError):
            capture(network.program, *groups[0])
            return groups
    return calls


def samples_at_once(network: Network, calls: Sequence[Call], rows: int, room: float) -> int:
    """How many calls of one sample may run at once: `rows` at most, a tenth of all, and as many as `room` bytes hold.

    1 where calls hold several samples.
    """
    if network.samples_in(calls[0]) > 1:
        return 1
    most = min(rows, len(calls) // _GROUPS)
    if network.captured is not None:
        most = min(most, int(room / max(size_of_values(network.captured), 1)))
    return max(most, 1)


def in_one(network: Network, calls: Sequence[Call]) -> Sequence[Call]:
    """Random calls as one batch, where the network takes any: many small runs cost their overhead alone.

    That it takes any is what its program says; that the result does, too, only running it tells.
    """
    tensors_have_rows = all(tensor.has_rows for tensor in network.resolved.input_tensors)
    if len(calls) < 2 or not (network.has_rows and tensors_have_rows) or is_large(network.module):
        return calls
    if network.program is not None and is_open(network.program):
        return [stacked(calls)]
    return calls


def in_common(network: Network, calls: Sequence[Call]) -> list[frozenset[int]]:
    """Which tensors calls may share when they are put together or cut, by position, the likeliest first.

    A free one that is not as long as the batch has no samples. One that is may be a table all the same, if all calls
    have the same: only the network knows.  Empty where calls differ in a tensor without samples.
    """
    rows = rows_of(calls[0])
    free = [tensor for tensor in network.resolved.input_tensors if tensor.is_free]
    if not free:
        return [frozenset()]
    first = tensors(calls[0])
    same = {tensor.index for tensor in free}
    # same: free tensors that all calls have in common; sure: those that cannot hold samples.
    for call in calls:
        given = tensors(call)
        same -= {index for index in same if not torch.equal(given[index], first[index])}
    sure = set[int]()
    for tensor in free:
        value = first[tensor.index]
        if not (tensor.has_rows and value.ndim and len(value) == rows):
            sure.add(tensor.index)
    if sure <= same:
        return list(dict.fromkeys((frozenset(same | sure), frozenset(sure))))
    return []


def size_of_values(captured: CapturedModel) -> float:
    """Memory in bytes of the values of all ops, as they were captured, in the precision of the inputs."""
    entries = sum(prod(shape) for node in captured.nodes for shape in node.shapes if shape is not None)
    return entries * captured.leaves[captured.inputs[0]].tensor.element_size()


def even(network: Network, calls: Sequence[Call]) -> Sequence[Call]:
    """The inputs in batches of one size: the commonest, or a smaller one where too few batches could be held out.

    Processes that share the inputs need as many in all as one does, so that they fit what one would have fitted.
    As they are where samples are no rows, or the network takes no such batches.
    """
    if not calls or not network.has_rows or network.program is None:
        return calls
    sizes = [rows_of(call) for call in calls]
    usual, whole = mode(sizes), sum(sizes)
    least = max(ceil(_BATCHES / processes.count()), _BATCHES_EACH)  # batches of this process
    if len(calls) >= least and set(sizes) == {usual}:
        return calls
    # Sizes in the order in which they are tried: as large as leaves enough batches, and two where that would be one;
    # that of the example, which the network takes for certain; the commonest.
    wanted = (max(min(usual, 2), min(usual, whole // least)), min(network.rows, whole), usual)
    for size, common in product(wanted, in_common(network, calls)):  # the first that the network takes
        batches = _cut(calls, sizes, size, common)
        with suppress(ModelRunError):
            roomy(network, batches)
            return batches
    return calls


def as_captured(network: Network, calls: Sequence[Call]) -> Sequence[Call]:
    """Batches of the size that the network was captured at; what is left over is dropped."""
    rows = len(leading(network.example))
    sizes = [rows_of(call) for call in calls]
    # Cut anew where that can be done; else calls of another size are left out.
    if network.has_rows and set(sizes) != {rows}:
        ways = in_common(network, calls)
        if ways:
            return _cut(calls, sizes, rows, ways[-1])
    return Feed(calls.__getitem__, [number for number, size in enumerate(sizes) if size == rows])


def shuffled(network: Network, calls: Sequence[Call], rows: int, generator: torch.Generator) -> Sequence[Call]:
    """Batches of `rows` samples that are drawn from all calls, in a random order; none where calls cannot be cut up."""
    return in_order(network, calls, rows, torch.randperm(sum(map(rows_of, calls)), generator=generator))


def in_order(network: Network, calls: Sequence[Call], rows: int, order: torch.Tensor) -> Sequence[Call]:
    """Batches of `rows` samples in another order; none where calls cannot be cut up.  order: positions in all calls."""
    ways = in_common(network, calls) if network.has_rows else []
    if not ways:
        return []
    common, together = ways[-1], Arguments.of(*stacked(calls, ways[-1]))

    def batch(start: int) -> Call:
        """The samples from this one on."""
        drawn = list(together.tensors)
        for index, tensor in enumerate(together.tensors):
            if index not in common:
                drawn[index] = tensor[order[start : start + rows]]
        return together.filled(drawn)

    return Feed(batch, range(0, len(order) - rows + 1, rows))


def _cut(calls: Sequence[Call], sizes: Sequence[int], size: int, common: Container[int] = ()) -> Feed[Call]:
    """Batches of `size` rows, across the ends of the calls; rows that are left over are dropped.

    sizes: rows of every call.  common: positions of the tensors that stay whole.
    """
    ends = list(accumulate(sizes))

    def batch(start: int) -> Call:
        """The batch that begins with this row, counted over all calls."""
        stop, parts = start + size, []
        # From the call that holds the first row to the one that holds the last.
        for number in range(bisect_right(ends, start), bisect_right(ends, stop - 1) + 1):
            first = ends[number] - sizes[number]  # the call's own first row, over all calls
            rows = slice(max(start - first, 0), stop - first)
            given = Arguments.of(*calls[number])
            cut = list(given.tensors)
            for index, tensor in enumerate(given.tensors):
                if index not in common:
                    cut[index] = tensor[rows]
            parts.append(given.filled(cut))
        return stacked(parts, common)

    return Feed(batch, range(0, ends[-1] - size + 1, size))
