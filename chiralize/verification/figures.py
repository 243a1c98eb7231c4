"""How far a converted network is from its original's flip average, and what it still tells left from right by.

Methods make drafts; `figures_of` measures each on inputs that it was not fitted on, and `loss` orders them. Figures
that cost further runs (other kinds of inputs, dead inputs) are added afterwards, where they matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from chiralize.errors import ModelRunError, UsageError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Arguments, Call
from chiralize.problem.cost import affordable_samples, multiplications
from chiralize.problem.data.cutting import in_one, thinned
from chiralize.problem.mirror import mirror_at_rest, mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft
from chiralize.problem.stateful import mirror_of_calls
from chiralize.verification.beyond import Kinds, furthest
from chiralize.verification.drift import measure, measure_along, random_inputs
from chiralize.verification.verdicts import Degeneracy, Drift

Others = Callable[[], Kinds]
"""Inputs of other kinds than those given, made when they are asked for."""
_RANDOM = 16  # random inputs where there are no others
_KEPT = 0.6  # share of what is odd that a candidate has to keep, or come last
_WITNESSES = 4
_WORK, _LEAST = 5e10, 24
"""Multiplications to spend on the figures of an average, and its fewest samples."""


@dataclass(frozen=True)
class Figures:
    """Drift and degeneracy of a draft, both None where nobody knows T on the original's states."""

    drift: Drift | None = None
    degeneracy: Degeneracy | None = None

    @property
    def rho(self) -> float:
        """rho of the drift, 0 where nothing was measured."""
        if self.drift is not None:
            return self.drift.rho
        return 0.0


def figures_of(problem: Problem, draft: Draft) -> Figures:
    """Figures of a draft on held-out inputs or sequences; on random inputs where there are none."""
    network, batches, converted = problem.network, problem.batches, draft.converted
    carried, tensors = network.carried, network.resolved.output_tensors
    # Along sequences every view carries its own states; single calls begin with the stored ones.
    if batches.sequences:
        mirror = mirror_of_calls(network)
        along = partial(measure_along, network.module, converted.module, mirror, tensors=tensors)
        along = partial(along, two_view=converted.is_average)
        drift, degeneracy = along(batches.held_sequences, batches.source, carried)
    else:
        mirror = mirror_if_known(network, draft.repmap) or mirror_at_rest(network)
        if mirror is None:
            return Figures()
        inputs, source = held_out(problem)
        compare = partial(measure, network.module, converted.module, mirror, source=source, probes=0, tensors=tensors)
        try:
            if batches.inputs:
                drift, degeneracy = compare(_enough_for_average(network, inputs) if converted.is_average else inputs)
            else:
                drift, degeneracy = compare(in_one(network, inputs))
        except ModelRunError:  # the result takes the batch that it was traced at
            drift, degeneracy = compare(inputs)
    # What the figures do not show by themselves: how the result was made, and what it was measured on.
    zeroed = tuple(weight.name for weight in converted.moved if weight.zeroed)
    forced = draft.repmap.forced if draft.repmap is not None else ()
    degeneracy = replace(degeneracy, forced=forced, zeroed=zeroed, tables=converted.tables)
    drift = replace(drift, noise=not batches.inputs, stateful=bool(carried), built_in=batches.are_built_in)
    return Figures(drift, degeneracy)


def with_those_beyond(problem: Problem, draft: Draft, figures: Figures, others: Others) -> Figures:
    """The figures with those of other inputs than the given ones, where a method was fitted on these."""
    network, converted, drift = problem.network, draft.converted, figures.drift
    mirror = mirror_if_known(network, draft.repmap)
    if drift is None or drift.stateful or mirror is None or not converted.fitted or converted.is_average:
        return figures
    beyond = furthest(network.module, converted.module, mirror, others())
    return replace(figures, drift=replace(drift, beyond=beyond))


def with_dead_inputs(problem: Problem, draft: Draft, figures: Figures) -> Figures:
    """The figures with the entries that only the original reacts to; each takes a run, so ask where it matters."""
    network, degeneracy = problem.network, figures.degeneracy
    mirror = mirror_if_known(network, draft.repmap)
    if mirror is None or degeneracy is None or draft.converted.is_average:
        return figures
    few = held_out(problem)[0][:1]
    probed = measure(network.module, draft.converted.module, mirror, few, "", probes=1)[1]
    with_dead = replace(degeneracy, dead_inputs=probed.dead_inputs, live_inputs=probed.live_inputs)
    return replace(figures, degeneracy=with_dead)


def on_random_inputs(network: Network, mirror: NetworkMirror, recorded: Call | None = None) -> tuple[Drift, Degeneracy]:
    """A network against its own flip average, on random inputs that are the same whenever it is asked.

    recorded: the example that its file names, in whose sizes they are drawn; in those of the network's example where
    there is none, or where the network does not take it. Of one row other numbers are drawn than of four.
    """
    example = _in_its_precision(recorded, network)
    if example is not None:
        with suppress(ModelRunError, UsageError):
            return _on_random(network, mirror, example)
    return _on_random(network, mirror, network.example)


def _on_random(network: Network, mirror: NetworkMirror, example: Call) -> tuple[Drift, Degeneracy]:
    """The same, on inputs of the sizes of this example."""
    calls = random_inputs(*example, _WITNESSES, 1, network.around)
    return measure(network.module, network.module, mirror, calls, "", probes=0)


def _in_its_precision(recorded: Call | None, network: Network) -> Call | None:
    """A recorded call with tensors of the types that the network's example has; None where it is put together in
    another way.
    """
    if recorded is None:
        return None
    ours, theirs = Arguments.of(*network.example), Arguments.of(*recorded)
    if ours.structure != theirs.structure:
        return None
    pairs = list(zip(ours.tensors, theirs.tensors, strict=False))
    if len(theirs.tensors) != len(ours.tensors) or any(one.ndim != other.ndim for one, other in pairs):
        return None
    return theirs.filled([other.to(one.dtype) for one, other in pairs])


def loss(converted: Converted, figures: Figures) -> tuple[bool, bool, bool, float]:
    """The key that candidates are ordered by, the best first.

    Those that are refused, that lose much of what is odd, or whole inputs of a layer, come last; others go by rho.

    The bound on what is kept lies above one half, since few samples measure it: with just a half, some show more.
    """
    degeneracy = figures.degeneracy
    refused = degeneracy is not None and (bool(degeneracy.collapsed) or degeneracy.ignores_much)
    little = degeneracy is not None and degeneracy.odd_kept < _KEPT
    return refused, little, converted.lost > 0, figures.rho


def affordable(network: Network, most: int) -> int:
    """How many runs of the network to spend on a figure: fewer for costly ones, never below 4."""
    return max(4, min(most, int(2e10 / max(multiplications(network), 1))))


def _enough_for_average(network: Network, inputs: Sequence[Call]) -> Sequence[Call]:
    """As many inputs as the figures of an average take: that it is one is proved, and its gap shows on few.

    All of them, but for costly networks, of which a run on thousands takes an hour.
    """
    most = affordable_samples(network, _WORK, _LEAST)
    return inputs if sum(map(network.samples_in, inputs)) <= most else thinned(network, inputs, most)


def held_out(problem: Problem) -> tuple[Sequence[Call], str]:
    """Inputs to take figures from, and where they come from."""
    network = problem.network
    if problem.batches.inputs:
        return problem.batches.held_out, problem.batches.source
    count = affordable(network, _RANDOM)
    return random_inputs(network.args, network.kwargs, count, 1, network.around), str(network.around)
