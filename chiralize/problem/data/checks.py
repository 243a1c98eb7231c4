"""Calibration inputs judged before anything is fitted on them: foreign ones are refused, poor ones are remarked on.

`judged` is the step of a conversion between reading the inputs and fitting on them. In this order: mirror images are
put beside their originals, batches are made of one size, what is to be held out is put last, and inputs are counted.
What speaks for inputs of another kind than those in training is in `foreign`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from math import prod

import torch

from chiralize.body.tensors import ResolvedTensor
from chiralize.errors import DataFileError, UsageError
from chiralize.graph import processes
from chiralize.graph.running import Call
from chiralize.problem.constant_answers import asked_again
from chiralize.problem.cost import CLIP, uses_of_a_weight
from chiralize.problem.data.batches import held_last
from chiralize.problem.data.cutting import even, rows_of, tensors
from chiralize.problem.data.feeds import CallsOfArrays
from chiralize.problem.data.foreign import calls_to_look_at, foreign_remarks, remarks_on_kind
from chiralize.problem.data.images import with_images_beside, with_mirrored_sequences_beside
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem

FEWEST, LEAST = 500, 10
"""Samples below which a fit loses percents, and below which it is refused."""
_OF_POSES, _OF_CLIPS = (FEWEST, "2,000"), (96, "200")
"""Below how many samples a fit loses percents, and how many are nearly enough."""
_OF_A_CLIP = 4
"""Frames beyond which samples are counted as clips: neighbouring frames tell the same. A U-Net over 64 frames, fitted
on 48 clips, erred 1.93 times as its original, on 96 clips 1.01, on 200 0.96, on 1,816 0.91 (decision 0098)."""
_MOST_COMPARED = 10_000
"""Calls in which an input is looked for that has the example's values in all of them."""


def judged(problem: Problem) -> Problem:
    """The problem with the user's calibration inputs in batches of one size, and remarks on them.

    Raises DataFileError for inputs of another kind than the network was trained on, and for too few to hold some out,
    unless forced or nothing is fitted; UsageError for samples that there is nothing to mix with.
    """
    network = problem.network
    if problem.request.mix and not problem.batches.given:
        facts = "there are no inputs to mix samples with"
        raise UsageError("--mix-gaussian", facts, "give --calibration inputs.npz, or leave --mix-gaussian out")
    # Of the calls as the user gave them, which may know their arrays.
    unchanged = _unchanged(network, problem.batches.given)
    # Before batches are cut, since an image and its original have to come into the same part.
    problem = _with_images_beside(problem)
    given = problem.batches.given
    network = asked_again(network, given)
    problem = replace(problem, network=network)
    problem = problem.with_batches(given=held_last(even(network, given))).with_remarks(*_left_out(unchanged))
    if not problem.batches.given:
        return problem
    # Figures are taken from the inputs even if nothing is fitted: that they are foreign is said, and no error.
    if not problem.is_fitted:
        return problem.with_remarks(*foreign_remarks(problem))
    problem.request.progress("looking at the calibration inputs")
    remarks = list[str]()
    if not problem.request.force:
        refuse_few(network, given)
    remarks += _few(network, given)
    calls = calls_to_look_at(network, problem.batches.given)
    if len(problem.batches.given) == 1:
        remarks.append("warning: the calibration inputs are one batch: rho is measured on the inputs that were fitted")
    return problem.with_remarks(*remarks, *remarks_on_kind(problem, calls, unchanged))


def _with_images_beside(problem: Problem) -> Problem:
    """The problem with mirror images among the inputs behind what they are images of, and a remark on them."""
    if not problem.is_fitted or problem.network.resolved.is_trivial:
        return problem
    given, sequences = problem.batches.given, problem.batches.sequences
    if sequences:
        every, what = len(sequences), "sequences"
        sequences, count = with_mirrored_sequences_beside(problem.network, sequences)
    elif given:
        every, what = sum(map(rows_of, given)), "calibration inputs"
        given, count = with_images_beside(problem.network, given)
    else:
        return problem
    if not count:
        return problem
    remark = f"{count:,} of the {every:,} {what} are mirror images of others: both are fitted, or both are held out"
    return problem.with_batches(given=given, sequences=sequences).with_remarks(remark)


def _few(network: Network, calls: Sequence[Call]) -> Iterator[str]:
    """A warning where a fit would lose percents for want of samples."""
    fewest, enough, what = *_OF_POSES, "samples"
    frames = _frames(network)
    # A clip counts once: its frames tell nearly the same, and a weight has worked on all of them.
    if uses_of_a_weight(network) >= CLIP or frames > _OF_A_CLIP:
        fewest, enough, what = *_OF_CLIPS, "clips"
        frames = 1
    count = _samples(network, calls, frames)
    if count < fewest:
        yield (
            f"warning: the calibration inputs are few: {count} {what}, where {enough} are nearly enough, and below "
            f"{fewest} it costs percents"
        )


def refuse_few(network: Network, calls: Sequence[Call]) -> None:
    """Raise DataFileError where inputs are too few to hold some out."""
    count = _samples(network, calls, _frames(network))
    if count < LEAST:
        facts = f"{count} samples, of which too few can be held out to tell a good result from a bad one"
        remedy = (
            f"give {LEAST} at least, better 2,000 (300 cost about two percent), or leave them out; --force goes on "
            "with these"
        )
        raise DataFileError("calibration", facts, remedy)


def _left_out(unchanged: Sequence[ResolvedTensor]) -> Iterator[str]:
    """A remark on every mirrored input that has the example's values in all calls, where another input has others.

    An input that is in no array of the user keeps those values: numbers that belong to no sample, often random ones.
    """
    for tensor in unchanged:
        if not tensor.is_free and tensor.kind != "state":
            yield (
                f"warning: the calibration inputs leave {tensor.where} out: in all of them it has the values of the "
                "example, which are random where none was given and belong to no sample. Gap, drift and rho hold for "
                "such inputs; give its array beside those of the others"
            )


def _unchanged(network: Network, calls: Sequence[Call]) -> list[ResolvedTensor]:
    """The inputs that have the values of the example in all calls, where others have not, and that no array is of.

    Of calls that are cut from arrays it is known which inputs have one, whatever is in it. Others are looked at until
    every input has differed, since a flag is the same in most samples.
    """
    if len(calls) < 2:
        return []
    example = tensors((tuple(network.args), dict(network.kwargs)))
    stays, looked_at = set(range(len(example))), _spread_out(len(calls))
    if isinstance(calls, CallsOfArrays):
        stays, looked_at = stays - calls.filled, ()
    for number in looked_at:
        if not stays:
            break
        call = tensors(calls[number])
        stays = {index for index in stays if _is_same(call[index], example[index])}
    if len(stays) == len(example):
        return []
    return [tensor for tensor in network.resolved.input_tensors if tensor.index in stays]


def _spread_out(count: int) -> Iterable[int]:
    """The first, the middle and the last of so many numbers, where most inputs differ, then all or as many as it takes
    to meet a value of one sample in a thousand.
    """
    return chain((0, count // 2, count - 1), range(0, count, -(-count // _MOST_COMPARED)))


def _is_same(value: torch.Tensor, example: torch.Tensor) -> bool:
    """Whether an input has the example's values, whatever its precision."""
    if value is example:
        return True
    return value.shape == example.shape and bool((value.double() == example.double()).all())


def _frames(network: Network) -> int:
    """How many frames the answers to one sample have; 1 where they have none."""
    frames = 1
    for tensor in network.resolved.output_tensors:
        if not tensor.is_free:
            frames = max(frames, prod(tensor.shape[axis] for _, axis in tensor.free_axes if axis))  # axis 0: samples
    return frames


def _samples(network: Network, calls: Sequence[Call], frames: int) -> int:
    """The number of samples, counted until they are enough; each counts as so many frames."""
    rows = 0
    for call in calls:
        rows += network.samples_in(call)
        if rows * frames >= FEWEST:
            break
    return round(processes.total(rows * frames))
