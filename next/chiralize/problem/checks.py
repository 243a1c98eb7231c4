"""What speaks against these inputs?

Every check is a question that answers with findings of the topic `inputs`. A refusal stops a conversion that fits
anything to them, unless the user forces it; where nothing is fitted, it is a doubt. What nobody can decide stands in
the figures of every input, for the user to see that a head's turn is in radians:

    input 0 'observation': command 0 to 1.2 (spread 0.4), head -0.7 to 0.6 (spread 0.2); command.turn never moves
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from chiralize.body.resolve import OnTensor
from chiralize.errors import DataFileError, Finding
from chiralize.errors.words import when
from chiralize.graph.run import Arguments
from chiralize.problem.inputs import Inputs, inputs_of
from chiralize.problem.memory import MOST_SHIFT, Likeness, memory_of
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.symmetry.action import act

LEAST = 10
"""Samples below which a fit is refused: too few can be held out to tell a good result from a bad one."""
_OF_POSES, _OF_CLIPS = (500, "2,000"), (96, "200")
"""Below how many samples a fit loses percents, and how many are nearly enough (decision 0098)."""
_OF_A_CLIP = 4
"""Frames beyond which samples are counted as clips, since neighbouring frames tell the same (decision 0098)."""
_FEWEST_DIRECTIONS = 1.5
"""In how many directions samples of one pose vary at most."""
_OTHER_HAND = -0.5
"""`Likeness.side` of inputs whose left is where right was, at most: it is 1 or -1 but for noise."""
_ZEROS, _ALWAYS = 1e-3, 0.99
"""Share of exact zeros that is no chance, and from which a coordinate is always 0, as of a root."""
_LOOKED_AT, _NAMED = 2_000, 4
"""Samples that figures are taken from, and entries that are named."""
_ROUNDING = 1e-6
"""Of its size, and of the spread of others: an entry that varies less never moves."""
_SHOWN = 8
"""Blocks whose figures stand in one line."""
Values = Mapping[int, Tensor]
"""Samples "sample entry..." (float64) by the position of their input."""


def with_inputs(problem: Problem) -> Problem:
    """The problem with the user's inputs as they are. Raises DataFileError, NonFiniteError, UsageError."""
    if problem.request.data is None:
        return problem
    problem.request.progress("reading the calibration inputs")
    inputs, images = inputs_of(problem.network, problem.request.data)
    problem = replace(problem, inputs=inputs)
    if not images:
        return problem
    facts = f"{images:,} of {len(inputs.table):,} calibration inputs are mirror images of others, and are left out"
    return problem.with_findings(Finding("inputs", "note", facts))


def checked(problem: Problem) -> Problem:
    """The problem with findings on its inputs.

    Raises DataFileError for inputs of another kind than the network was trained on, and for too few to hold some out,
    where something is fitted to them and the user does not force it.
    """
    if problem.inputs is None:
        return problem
    request = problem.request
    request.progress("looking at the calibration inputs")
    findings = []
    for finding in findings_on(problem.network, problem.inputs):
        if finding.level == "refusal" and problem.is_fitted and not request.force:
            raise DataFileError("calibration", finding.facts, f"{finding.remedy}; --force goes on with these")
        findings.append(replace(finding, level="doubt") if finding.level == "refusal" else finding)
    return problem.with_findings(*findings)


def findings_on(network: Network, inputs: Inputs) -> tuple[Finding, ...]:
    """What all checks say of the inputs, refusals first."""
    table = inputs.table
    calls = list(table.batches(table.rows, table.spread_out(_LOOKED_AT)))
    columns = {index: [network.in_rows(Arguments.of(*call).tensors[index]) for call in calls] for index in table.arrays}
    values = {index: torch.cat(column) for index, column in columns.items()}
    numbers = {index: value.double() for index, value in values.items() if value.is_floating_point()}
    findings = [finding for check in CHECKS for finding in check(network, inputs, numbers)]
    return tuple(sorted(findings, key=lambda finding: ("refusal", "doubt", "note").index(finding.level)))


# ---- the questions --------------------------------------------------------------------------------------------------
def _figures(network: Network, inputs: Inputs, values: Values) -> Iterator[Finding]:
    """Range and spread of every block of an input, and what never moves."""
    for index, samples in values.items():
        tensor = network.resolved.inputs[index]
        blocks: dict[str, list[tuple[int, ...]]] = {}
        still: dict[str, None] = {}
        spread = samples.std(0) if len(samples) > 1 else torch.zeros_like(samples[0])
        widest = float(spread.max()) if spread.numel() else 0.0
        for entry in np.ndindex(*_without_frames(tensor, samples)):
            at = entry if network.is_single else (0, *entry)
            blocks.setdefault(_block(tensor, at), []).append(entry)
            if spread[entry] <= _ROUNDING * (samples[0][entry].abs() + widest):
                still[tensor.label(at)] = None
        parts: list[str] = []
        for name, entries in list(blocks.items())[:_SHOWN]:
            parts.append(_of_block(name, torch.stack([samples[(slice(None), *entry)] for entry in entries])))
        names = ", ".join(list(still)[:_NAMED]) + when(len(still) > _NAMED, f" and {len(still) - _NAMED} more")
        facts = f"{tensor.where}: {', '.join(parts)}" + when(names, f"; never moving: {names}")
        yield Finding("inputs", "note", facts)


def _few(network: Network, inputs: Inputs, values: Values) -> Iterator[Finding]:
    """Whether a fit would lose percents for want of samples."""
    frames = max(map(_frames, network.resolved.outputs), default=1)
    (fewest, enough), what = (_OF_CLIPS, "clips") if frames > _OF_A_CLIP else (_OF_POSES, "samples")
    count = len(inputs.seen) + len(inputs.held)
    if count * (1 if frames > _OF_A_CLIP else frames) < LEAST and not inputs.sequences:
        facts = f"{count} samples, of which too few can be held out to tell a good result from a bad one"
        remedy = f"give {LEAST} at least, better {enough} (300 cost about two percent), or leave them out"
        yield Finding("inputs", "refusal", facts, remedy)
    elif count * (1 if frames > _OF_A_CLIP else frames) < fewest:
        facts = f"the calibration inputs are few: {count} {what}; below {fewest} a fit loses percents"
        yield Finding("inputs", "doubt", facts, f"give {enough}", brief="few inputs")


def _left_out(network: Network, inputs: Inputs, values: Values) -> Iterator[Finding]:
    """Inputs that T moves and that no array is of: they have the example's values, which are often random."""
    for tensor in network.resolved.inputs:
        if tensor.index not in inputs.table.arrays and not tensor.is_free and tensor.kind != "state":
            facts = f"the calibration inputs leave {tensor.where} out: it has the values of the example in all of them"
            yield Finding("inputs", "doubt", facts, "give its array beside the others", brief="an input is left out")


def _remembered(network: Network, inputs: Inputs, values: Values) -> Iterator[Finding]:
    """Whether the inputs are like those that the network remembers of its training."""
    likeness = memory_of(network).likeness(network, inputs.table)
    if likeness is None:
        facts = "the network remembers nothing of its training: order of joints, axes and units are not checked"
        yield Finding("inputs", "note", facts)
        yield from _narrow(values)
    elif likeness.is_foreign:
        facts = f"not what the network was trained on: {likeness} (shifts above {MOST_SHIFT:g} are foreign)"
        named = _furthest(network, values)
        remedy = "check joint order, axes, units and normalisation, and the arguments of the class (--arg)"
        yield Finding("inputs", "refusal", facts + when(named, f"; {named}"), remedy, brief="foreign inputs")
    else:
        yield from _poor(likeness)


def _poor(likeness: Likeness) -> Iterator[Finding]:
    """What speaks against inputs of the right kind."""
    if likeness.side is not None and likeness.side <= _OTHER_HAND:
        facts = f"left and right are exchanged in the calibration inputs: {likeness.name} remembers the other side"
        yield Finding("inputs", "doubt", facts, "check the order of joints, and the sign of x", brief="other hand")
    if likeness.is_narrow:
        facts = f"variances at {likeness.name} differ from those in training by a factor of {likeness.factor:.2g}"
        remedy = "give inputs of more people and actions"
        yield Finding("inputs", "doubt", f"the calibration inputs are narrow: {facts}", remedy, brief="narrow inputs")


def _narrow(values: Values) -> Iterator[Finding]:
    """Whether samples of the first input vary in little more than one direction."""
    samples = next(iter(values.values()), None)
    if samples is None or len(samples) < 2:
        return
    rows = samples.flatten(1)[:, :512]
    shares = torch.linalg.svdvals(rows - rows.mean(0)).square()
    shares = shares[shares > 0] / shares.sum()
    count = float((-(shares * shares.log()).sum()).exp()) if len(shares) else 0.0  # exp of the entropy
    if count < _FEWEST_DIRECTIONS:
        facts = f"the calibration inputs are narrow: they vary in {count:.2f} directions of {rows.shape[1]}"
        yield Finding("inputs", "doubt", facts, "give inputs of more people and actions", brief="narrow inputs")


def _missing(network: Network, inputs: Inputs, values: Values) -> Iterator[Finding]:
    """Whether missing joints are stored as zeros where T is affine: it takes 0 to the other border of the picture."""
    for index, samples in values.items():
        tensor = network.resolved.inputs[index]
        if tensor.center is None or tensor.representation is None or not tensor.has_rows:
            continue
        shape = (1, *samples.shape[1:])
        is_moved = act(torch.ones(shape, dtype=torch.float64), tensor.representation)[0] < 0
        zeros = (samples == 0).double().mean(0)[is_moved]
        share = float(zeros.where(zeros < _ALWAYS, 0.0).mean()) if zeros.numel() else 0.0
        if share > _ZEROS:
            facts = f"{share:.1%} of the mirrored coordinates of {tensor.where} are exactly 0"
            facts += ": if these joints are missing, T puts them where no joint is, and gaps count them"
            yield Finding("inputs", "doubt", facts, "fill them in before the network", brief="missing joints")


CHECKS: tuple[Callable[[Network, Inputs, Values], Iterator[Finding]], ...] = (
    _few,
    _left_out,
    _remembered,
    _missing,
    _figures,
)
"""All questions."""


# ---- words ----------------------------------------------------------------------------------------------------------
def _without_frames(tensor: OnTensor, samples: Tensor) -> tuple[int, ...]:
    """The sizes of one sample, 1 along the axes that T leaves alone (frames), whose entries have one name."""
    lead = len(tensor.shape) - (samples.ndim - 1)
    free = {axis - lead for _, axis in tensor.free_axes}
    return tuple(1 if axis in free else size for axis, size in enumerate(samples.shape[1:]))


def _block(tensor: OnTensor, entry: tuple[int, ...]) -> str:
    """The block that an entry is shown in: one of the fields, or a coordinate of a pose; "" for all numbers."""
    if tensor.parts and tensor.name_axis is not None:
        at = entry[tensor.name_axis]
        return next((name for name, positions in tensor.parts if at in range(*positions.indices(tensor.shape[-1]))), "")
    if tensor.pose is not None:
        return tensor.label(entry).rpartition(".")[2]
    return ""


def _of_block(name: str, values: Tensor) -> str:
    """Range and spread of a block: `x -0.9 to 1.1 (spread 0.3)`."""
    spread = f"{float(values.min()):.2g} to {float(values.max()):.2g} (spread {float(values.std()):.2g})"
    return f"{name} {spread}".strip()


def _furthest(network: Network, values: Values) -> str:
    """The entries whose means differ most from those in training, in words; "" where these are not determined."""
    named: dict[str, str] = {}
    for index, moments in memory_of(network).entries.items():
        tensor = network.resolved.inputs[index]
        if index not in values:
            continue
        mean, given = network.in_rows(moments.mean)[0], values[index].mean(0)
        if mean.shape != given.shape:
            continue
        off = ((given - mean) / network.in_rows(moments.spread)[0]).abs().nan_to_num()
        for number in off.flatten().argsort(descending=True).tolist():
            entry = tuple(map(int, np.unravel_index(number, tuple(off.shape))))
            label = tensor.label(entry if network.is_single else (0, *entry))
            words = f"{label} is {float(given[entry]):.3g} in the mean ({float(mean[entry]):.3g} in training)"
            named.setdefault(label, words)
            if len(named) == _NAMED:
                return ", ".join(named.values())
    return ", ".join(named.values())


def _frames(tensor: OnTensor) -> int:
    """How many frames the answers to one sample have; 1 where they have none."""
    sizes = [tensor.shape[axis] for word, axis in tensor.free_axes if axis]
    return 1 if tensor.is_free else prod(sizes)
