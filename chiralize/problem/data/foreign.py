"""Whether calibration inputs are of the kind that a network was trained on, in words.

A network remembers means and spreads of its training in batch norms or normalisers (`moments`). Inputs are held against
them in this order, and the first that speaks against them is said: all means and spreads (`likeness`), the sides
(`handedness`), the order and the signs of coordinates (`arranged`). The answers of a network that keeps nothing may
hint at another unit (`units`). `checks` hands the remarks on, and `force` makes remarks of the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch

from chiralize.body.tensors import ResolvedTensor
from chiralize.errors import ChiralizeError, DataFileError
from chiralize.errors.words import listed, when
from chiralize.graph.running import Call
from chiralize.problem.cost import affordable_samples
from chiralize.problem.data.arranged import arrangement, certain_arrangement
from chiralize.problem.data.cutting import leading, roomy, tensors, thinned
from chiralize.problem.data.handedness import handedness
from chiralize.problem.data.missing_joints import missing_remarks
from chiralize.problem.data.moments.judging import (
    FEWEST_DIRECTIONS,
    MOST_FACTOR,
    MOST_SHIFT,
    Likeness,
    directions,
    likeness,
    remembered_mean,
)
from chiralize.problem.data.odd_values import odd_values
from chiralize.problem.data.of_pictures import to_check
from chiralize.problem.data.standardised import standardised_remarks
from chiralize.problem.data.units import unit_by_spread, unit_in_question
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem

_Answer = TypeVar("_Answer")
NOT_SPREAD = "the calibration inputs are not spread as those that the network was trained on"
_LOOKED_AT = 4_000
_WORK, _LEAST_LOOKED_AT = 2e11, 48
"""Multiplications that a look may cost, and how many samples of a costly network are looked at at least."""
_NAMED = 3
_OTHER_HAND = (
    "left is where right was in training (a sensor of the other handedness?): what the mirror swaps and negates has "
    "the other sign"
)
_OTHER_KIND = "warning: the calibration inputs are of another kind: "
_UNKNOWN = (
    "there is no batch norm and no normaliser that could be read to hold the calibration inputs against: their {} "
    "and {} are not checked, and rho holds for inputs like these"
)
IN_ITS_UNIT = "give the calibration inputs in the unit of its training"
_BUILT = ", and the arguments that the class was built with (--arg), which weights do not always tell"


def calls_to_look_at(network: Network, calls: Sequence[Call]) -> Sequence[Call]:
    """Some of the calls, evenly spread: 4,000 samples at most, fewer of a costly network."""
    return thinned(network, calls, affordable_samples(network, _WORK, _LEAST_LOOKED_AT, _LOOKED_AT))


def remarks_on_kind(problem: Problem, calls: Sequence[Call], unchanged: Sequence[ResolvedTensor]) -> Iterator[str]:
    """Remarks on inputs of another kind than those in training, or on few of the same kind.

    unchanged: inputs that no sample has values of.  Raises DataFileError for the former, unless forced.
    """
    network = problem.network
    similarity = _likeness(network, calls)
    # From the coarsest to the finest: means and spreads of all channels show what changes many entries at once. Inputs
    # of the other handedness, or with two axes exchanged, may pass that, since most means stay where they are.
    if similarity is not None and similarity.is_foreign:
        facts = _foreign(network, similarity, calls)
        if not problem.request.force:
            remedy = (
                f"check {', '.join(to_check(network.resolved))} and normalisation of the calibration inputs{_BUILT}"
            )
            remedy += "; --force goes on"
            # The likeliest cause first: an array that was not given, another unit, another order.
            missing = listed([tensor.where for tensor in unchanged], _NAMED)
            first = when(missing, f"give the array of {missing}, which has the example's values in all of them; ")
            first += _in_its_unit(network, similarity, calls) or _put_in_order(network, calls)
            raise DataFileError("calibration", facts, first + remedy)
        yield f"{_OTHER_KIND}{facts}"
    elif facts := _other_hand(network, calls):
        if not problem.request.force:
            remedy = "negate the lateral axis of the calibration inputs, or exchange their left and right joints"
            raise DataFileError("calibration", facts, f"{remedy}; --force goes on")
        yield f"{_OTHER_KIND}{facts}"
    elif facts := _other_axes(network, calls):
        if not problem.request.force:
            remedy = "put the calibration inputs in the order of its training; --force goes on"
            raise DataFileError("calibration", facts, remedy)
        yield f"{_OTHER_KIND}{facts}"
    elif similarity is not None and similarity.is_poor and not problem.request.mix:  # `mix` is what mends that
        yield _poor(similarity)
    elif similarity is None:
        *others, last = to_check(network.resolved)
        yield _UNKNOWN.format(", ".join(others), last)
        yield from _questioned_unit(network, calls)
    # A batch norm's factor has told already how the inputs are spread; a normaliser's tells nothing.
    if (similarity is None or similarity.is_normaliser) and not problem.request.mix:
        yield from _narrow(network, calls)
    yield from odd_values(network, calls)


def foreign_remarks(problem: Problem) -> Iterator[str]:
    """A warning of inputs of another kind where nothing is fitted to them, though figures are taken from them."""
    network = problem.network
    calls = calls_to_look_at(network, problem.batches.given)
    similarity = _likeness(network, calls)
    if similarity is not None and similarity.is_foreign:
        yield f"{_OTHER_KIND}{_foreign(network, similarity, calls)}"
    elif facts := _other_hand(network, calls) or _other_axes(network, calls):
        yield f"{_OTHER_KIND}{facts}"
    elif similarity is None:
        yield from _questioned_unit(network, calls)
    yield from missing_remarks(network.resolved, calls)
    yield from standardised_remarks(network.resolved, calls)


def _in_its_unit(network: Network, similarity: Likeness, calls: Sequence[Call]) -> str:
    """That the inputs are to be given in the network's unit, where they seem to have another one; else "".

    By another unit all means are off: until it is right they tell of no other order.
    """
    if not _unit(network, similarity, calls):
        return ""
    factor = when(not unit_by_spread(similarity.scale), f" ({_factor(similarity)} or so)")
    return f"{IN_ITS_UNIT}{factor}; else "


def _put_in_order(network: Network, calls: Sequence[Call]) -> str:
    """The order of the network's coordinates, where the inputs seem to have another one; "" where nothing tells."""
    other = _asked(arrangement, network, calls)
    if other is None:
        return ""
    off = f"the means are then {other.shift:.2g} of their spreads off"
    return f"put the calibration inputs in the order of its training, by whose means {other.words} ({off}); else "


def _other_axes(network: Network, calls: Sequence[Call]) -> str:
    """That axes of the inputs point elsewhere than in training, where that explains all that their means are off by."""
    other = _asked(certain_arrangement, network, calls)
    if other is None:
        return ""
    return (
        "the axes of the calibration inputs are not those of the network's training: its means are "
        f"{other.as_given:.2g} of their spreads off, and {other.shift:.2g} where {other.words}"
    )


def _other_hand(network: Network, calls: Sequence[Call]) -> str:
    """That left is right in the inputs, by the means that the network keeps; "" where it is not, or nothing tells."""
    hand = _asked(handedness, network, calls)
    if hand is None or not hand.is_other:
        return ""
    return f"{_OTHER_HAND} ({hand.example})"


def questioned_unit(network: Network, calls: Sequence[Call]) -> tuple[str, ...]:
    """A warning where answers hint at another unit than that of a network that keeps nothing of its training."""
    looked_at = calls_to_look_at(network, calls)
    if not looked_at or _likeness(network, looked_at) is not None:
        return ()
    return tuple(_questioned_unit(network, looked_at))


def _questioned_unit(network: Network, calls: Sequence[Call]) -> Iterator[str]:
    """A warning where answers hint at another unit than the network's."""
    question = unit_in_question(network, calls)
    if question:
        yield question


def foreign_unit(network: Network, calls: Sequence[Call]) -> str:
    """In which unit inputs seem to be that are foreign to what the network remembers; "" where they are not."""
    looked_at = calls_to_look_at(network, calls)
    similarity = _likeness(network, looked_at) if looked_at else None
    return _unit(network, similarity, looked_at) if similarity is not None and similarity.is_foreign else ""


def is_of_its_kind(network: Network, calls: Sequence[Call]) -> bool:
    """Whether the network keeps what its inputs were in training, and these are like them."""
    looked_at = calls_to_look_at(network, calls)
    similarity = _likeness(network, looked_at) if looked_at else None
    return similarity is not None and not similarity.is_foreign


def _likeness(network: Network, calls: Sequence[Call]) -> Likeness | None:
    """How like the training data the inputs are, by what the network keeps of these; None where it keeps nothing."""
    return _asked(lambda given, samples: likeness(roomy(given, samples), samples), network, calls)


def _asked(
    question: Callable[[Network, Sequence[Call]], _Answer | None], network: Network, calls: Sequence[Call]
) -> _Answer | None:
    """What a question to the network's statistics says of the inputs; None where there is no graph to ask."""
    try:
        return question(network, calls)
    except ChiralizeError:
        return None


def _poor(similarity: Likeness) -> str:
    """A warning of inputs of the right kind that vary otherwise than those in training."""
    return (
        f"warning: {NOT_SPREAD}: at "
        f"{similarity.norm} variances differ by a factor of {similarity.factor:.2g} (more than {MOST_FACTOR:g}; spread "
        f"{similarity.scale:.2g} of theirs): one person, one action, or another scale? rho is measured on the same "
        "inputs and does not tell. Give more varied ones, or --mix-gaussian 0.5"
    )


def _narrow(network: Network, calls: Sequence[Call]) -> Iterator[str]:
    """A warning where the first input varies in little more than one direction."""
    samples = list[torch.Tensor]()
    for first in map(leading, calls):
        first = network.in_rows(first)
        if first.is_floating_point() and first.ndim > 1:
            samples.append(first.flatten(1))
    if not samples:
        return
    rows = torch.cat(samples)
    count = directions(rows[:, :512]) if len(rows) > 1 else FEWEST_DIRECTIONS  # of the first 512 entries of a sample
    if count < FEWEST_DIRECTIONS:
        yield (
            f"warning: the calibration inputs are narrow: they vary in {count:.2f} directions (of {rows.shape[1]}): "
            "one person, one action? Give more varied ones, or --mix-gaussian 0.5"
        )


def _foreign(network: Network, similarity: Likeness, calls: Sequence[Call]) -> str:
    """Why the inputs do not seem to be of the kind that the network was trained on.

    Names the entries whose means differ most, where these are determined.
    """
    facts = (
        f"not what the network was trained on: at {similarity.norm} the means of {similarity.channels} channels are "
        f"off by {similarity.shift:.2g} of their spreads (more than {MOST_SHIFT:g} is foreign), the spread is "
        f"{similarity.scale:.2g} of that in training"
    )
    unit = _unit(network, similarity, calls)
    facts += f", {unit}" if unit else ""
    named = _named(network, calls)
    return f"{facts}; {named}" if named else facts


def _named(network: Network, calls: Sequence[Call]) -> str:
    """The entries of the inputs whose means differ most from those in training, in words; empty where those are not
    determined.
    """
    means = _means(network, calls)
    if means is None:
        return ""
    given_mean, trained_mean = means
    labels: list[str] = []
    for tensor in network.resolved.input_tensors:
        lead = () if network.resolved.is_single else (0,)
        labels += [tensor.label((*lead, *index)) for index in np.ndindex(*tensor.shape[len(lead) :])]
    named: dict[str, str] = {}  # an entry of many frames once
    for entry in (given_mean - trained_mean).abs().argsort(descending=True).tolist():
        words = f"is {given_mean[entry]:.3g} in the mean ({trained_mean[entry]:.3g} in training)"
        named.setdefault(labels[entry], f"{labels[entry]} {words}")
        if len(named) == _NAMED:
            break
    return ", ".join(named.values())


def _unit(network: Network, similarity: Likeness, calls: Sequence[Call]) -> str:
    """In which unit the inputs may be; "" where means that are far from 0 in training are not off by its factor.

    Inputs of one task alone, and standardised ones, are spread less or more as well. In another unit the means are
    larger by the same factor as the spreads, which those are not.
    """
    means = _means(network, calls)
    unit = unit_by_spread(similarity.scale)
    if not unit and similarity.is_scaled and means is not None:
        unit = f"at all of them alike, as in another unit or standardised ({_factor(similarity)})"
    if not unit or means is None:
        return unit
    given, trained = means
    return unit if (given - similarity.scale * trained).norm() <= (given - trained).norm() else ""


def _factor(similarity: Likeness) -> str:
    """What inputs are to be multiplied by to be spread as those in training, in two digits: `x610`, `x0.052`."""
    return f"x{float(f'{1 / similarity.scale:.1e}'):.10g}"


def _means(network: Network, calls: Sequence[Call]) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The means of all numbers of a sample, here and in training; None where the latter are not determined."""
    mean = remembered_mean(network)  # of the graph's inputs, which are x - c for a mirror at c
    if mean is None:
        return None
    given = torch.cat([_as_rows(network, call) for call in calls]).mean(0)  # all inputs in one row
    if given.shape != mean.shape:  # of another number of frames than the example's
        return None
    centers: list[torch.Tensor] = []
    for tensor in network.resolved.input_tensors:
        shape = tensor.shape if network.resolved.is_single else tensor.shape[1:]
        center = np.zeros(1) if tensor.center is None else tensor.center
        centers.append(torch.from_numpy(np.broadcast_to(center, (1, *shape)).reshape(-1).astype(np.float64)))
    return given, mean + torch.cat(centers)


def _as_rows(network: Network, call: Call) -> torch.Tensor:
    """All numbers of a call, "sample entry"."""
    rows = network.samples_in(call)
    return torch.cat([tensor.double().reshape(rows, -1) for tensor in tensors(call)], 1)
