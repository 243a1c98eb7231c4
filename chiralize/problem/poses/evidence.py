"""Whether a network was trained on poses written down in some way: asked of what it remembers, and of its answers.

Memory: the first batch norm has the mean and variance of every channel in training. Poses in another order, another
unit or with another origin shift the means and change the variances (`problem/data/moments/judging.py` says how much).

Answers: a network that takes poses in the image to poses in space is shown drawn ones, whose depth is known. What it
says of the depth follows the truth only where the poses are written down as it learned them, in the right order of the
joints; nothing in a single number of the input tells the depth, so that no other network can seem to know it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, log

import numpy as np
import numpy.typing as npt

from chiralize.errors import ChiralizeError
from chiralize.graph.running import Arguments, Call, Runner, results
from chiralize.problem.data.cutting import in_rows, roomy, rows_of
from chiralize.problem.data.moments.judging import Likeness, likeness
from chiralize.problem.data.moments.norms import norms
from chiralize.problem.network import Network
from chiralize.problem.poses.conventions import Convention, View
from chiralize.problem.poses.filling import Form, UnfitError, as_tensor

Array = npt.NDArray[np.float64]
MOST_SHIFT, MOST_FACTOR = 0.5, 1.6
"""At the first batch norm, see `judging.py`: measured in benchmarks/poses (decision 0040)."""
LEAST_KNOWN = 0.7
"""Share of the variance of the depth, and of the other coordinates, that the answers must explain."""
LEAST_BESIDE = 0.63
"""The same of many poses beside inputs of the user: lifters that err by 68 mm explain 0.66, and in wrong axes 0.60 at
most is explained (decision 0078)."""
_UNIT = 1.25
"""Ratio of the spread of poses to the remembered spread from which the unit differs; a smaller one may come from other
people.
"""
_ROWS = 64
"""Samples of a batch, about, that a network is asked with."""
_SMALL = 1e-12


@dataclass(frozen=True)
class Finding:
    """How well a convention fits a network.

    distance: 0 is best.  remembered: whether the memory has such poses, or there is none; words: its figures.  share:
    of the depth, which answers explain; None where they tell nothing.
    """

    convention: Convention
    distance: float
    remembered: bool = True
    words: str = ""
    share: float | None = None

    @property
    def evidence(self) -> str:
        """All figures, in words."""
        parts = [self.words] if self.words else []
        if self.share is not None:
            parts.append(f"its answers explain {self.share:.0%} of the depth of poses that it never saw")
        return ", and ".join(parts)

    def fits(self, least: float) -> bool:
        """Whether it is good enough to fit a smaller network on.  least: the share that answers must explain."""
        return self.remembered and (self.share is None or self.share >= least)


@dataclass(frozen=True)
class Asked:
    """A network of one input that is asked with many poses, always as many.

    rows: of the batches that it takes. Finding them out captures the network, which takes long: so it is done once.
    """

    network: Network
    form: Form
    rows: int

    @staticmethod
    def of(network: Network, form: Form, count: int, batches: int = 1) -> Asked:
        """With so many samples at a time, which are whole batches of the example's size (`count_of`).

        batches: at least so many where there are enough samples.
        """
        example = Arguments.of(*network.example)
        (like,) = example.tensors
        whole = like[:1].expand(count, *like.shape[1:])
        calls = in_rows(network, [example.filled([part]) for part in whole.split(len(like))], _ROWS, least=batches)
        return Asked(network, form, rows_of(calls[0]))

    def calls(self, values: Array) -> Sequence[Call]:
        """Coordinates "sample frame joint 2" or 3 as calls of the network; what fills no batch is left out."""
        example = Arguments.of(*self.network.example)
        (like,) = example.tensors
        whole = as_tensor(self.form.filled(values), like)
        parts = whole[: len(whole) // self.rows * self.rows].split(self.rows)
        return [example.filled([part]) for part in parts]

    @cached_property
    def large(self) -> Network:
        """The network, captured at the size of the batches.  Raises ModelRunError where it refuses that."""
        example = Arguments.of(*self.network.example)
        (like,) = example.tensors
        return roomy(self.network, [example.filled([like[:1].expand(self.rows, *like.shape[1:])])])


def count_of(network: Network, wanted: int) -> int:
    """How many samples to draw: as many as are wanted, in whole batches of the example's size."""
    return -(-wanted // network.rows) * network.rows


# ---- memory ---------------------------------------------------------------------------------------------------
def has_memory(network: Network) -> bool:
    """Whether the first batch norm remembers what the network was trained on: one that saw nothing has 0 and 1."""
    first = next(iter(norms(network.captured)), None) if network.captured else None
    return first is not None and not (bool((first.mean == 0).all()) and bool((first.variance == 1).all()))


def of_memory(asked: Asked, view: View, convention: Convention) -> Iterator[Finding]:
    """The convention in the unit that its name says, and in the one that the memory suggests."""
    similarity = _similarity(asked, convention.values(view))
    if similarity is None:
        return
    yield _remembered(convention, similarity)
    if convention.is_open and 0 < similarity.scale < inf and not 1 / _UNIT <= similarity.scale <= _UNIT:
        scaled = convention.at(1 / similarity.scale)
        similarity = _similarity(asked, scaled.values(view))
        if similarity is not None:
            yield _remembered(scaled, similarity)


def _similarity(asked: Asked, values: Array) -> Likeness | None:
    """Poses held against the memory; None where the network refuses them, or has no graph."""
    try:
        return likeness(asked.large, asked.calls(values))
    except ChiralizeError:
        return None


def _remembered(convention: Convention, similarity: Likeness) -> Finding:
    """What a comparison with the memory says; the factor is 1 at least (`moments/judging`), where its log is 0."""
    shift, factor = similarity.shift, similarity.factor
    is_remembered = shift <= MOST_SHIFT and factor <= MOST_FACTOR
    words = f"at {similarity.norm} means are off by {shift:.2g} of their spread, variances by a factor of {factor:.2g}"
    return Finding(convention, shift**2 + log(factor) ** 2, is_remembered, words)


# ---- answers --------------------------------------------------------------------------------------------------
def answer_forms(network: Network, form: Form) -> list[tuple[int, Form]]:
    """Outputs that are poses in space, of a network that takes poses in the image; by their number."""
    if form.coordinates != 2 and len(form.dims) != 3:
        return []
    forms = list[tuple[int, Form]]()
    for tensor in network.resolved.output_tensors:
        try:
            answer = Form.of(tensor)
        except UnfitError:
            continue
        if answer.coordinates == 3 and len(answer.dims) == 3:
            forms.append((tensor.index, answer))
    return forms


def of_answers(
    asked: Asked, runner: Runner, answers: Sequence[tuple[int, Form]], view: View, convention: Convention
) -> Iterator[Finding]:
    """The convention in every unit that it is tried in; none where the numbers themselves tell the depth.

    runner: runs the network that is asked.
    """
    if convention.in_space:  # any network could hand the depth on that it reads
        return
    for scale in convention.scales:
        scaled = convention.at(scale)
        try:
            calls = asked.calls(scaled.values(view))
            given = [results(runner.run([call]).steps[0])[0] for call in calls]
        except ChiralizeError:
            continue
        shares = []
        for index, answer in answers:
            said = np.concatenate([answer.read(outputs[index]) for outputs in given])
            truth = View(view.scene, answer.points).camera[: len(said)]
            shares.append(known(said, truth))
        yield Finding(scaled, 1 - min(shares), share=min(shares))


def known(said: Array, truth: Array) -> float:
    """The share of the variance of the truth that answers explain, of the coordinate of which they explain least.

    said: "sample frame joint 3", one frame or as many as the truth or fewer, which are the middle ones then or the
    last.  truth: "sample frame joint 3", x y z before a camera.  Up to the scale and the sign of every coordinate, and
    to which of the last two is the depth; relative to the mean of the joints, and to the mean of every joint.
    """
    frames, count = said.shape[1], truth.shape[1]
    starts = {(count - frames) // 2, count - frames}  # of one frame out of 27: the 13th, counted from 0, or the last
    return max((_explained(said, truth[:, start : start + frames]) for start in starts if start >= 0), default=0.0)


def _explained(said: Array, truth: Array) -> float:
    """The same for frames that belong together: squared correlations, the least of three coordinates."""
    first, second = map(_varying, (said, truth))
    # shares[i, j]: of the truth's coordinate j, by the answer's i; a square has no sign.
    products = np.einsum("ni,nj->ij", first, second) ** 2
    shares = products / np.maximum(np.outer((first**2).sum(0), (second**2).sum(0)), _SMALL)
    as_named = min(shares[1, 1], shares[2, 2])
    exchanged = min(shares[1, 2], shares[2, 1])
    share = min(shares[0, 0], max(as_named, exchanged))  # x is not exchanged: the mirror negates it alone
    if np.isfinite(share):
        return float(share)
    return 0.0


def _varying(poses: Array) -> Array:
    """Coordinates "entry 3" relative to the mean of the joints, and to what is the same in all samples."""
    relative = poses - poses.mean(2, keepdims=True)
    return (relative - relative.mean((0, 1))).reshape(-1, 3)
