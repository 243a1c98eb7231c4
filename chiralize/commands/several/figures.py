"""How far a result for several mirrors is from the average over all views, and the bounds that it is held to.

    average(x) = mean over all products g of the mirrors of g f(g x)          f(x), A f(A x), B f(B x), A B f(A B x)

`commands/several/converting` asks for the figures of every draft, and refuses by them before it exports anything.

rho is the distance from it in units of half the gap, as for one mirror, and counts once (the first mirror's figures).
Whether left and right are still told apart is asked of each mirror (`degeneracies`, by name).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from chiralize.commands.guard import refuse_far
from chiralize.errors import ModelRunError
from chiralize.graph.mirror import NetworkMirror
from chiralize.problem.mirror import mirror_of
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft
from chiralize.symmetry.orbits import invariants
from chiralize.verification.beyond import beyond_of, other_inputs
from chiralize.verification.figures import Figures, held_out, with_dead_inputs
from chiralize.verification.several import measure_all
from chiralize.verification.verdicts import Beyond, Degeneracy, Drift


@dataclass(frozen=True)
class AllFigures:
    """Drift from the average over all views, and whether the sides of every mirror are told apart, by name."""

    drift: Drift
    degeneracies: Mapping[str, Degeneracy]

    def with_free_share(self, share: float) -> AllFigures:
        """With the share of the parameters' numbers that are free under all mirrors together, under each name."""
        known = {name: replace(degeneracy, free_share=share) for name, degeneracy in self.degeneracies.items()}
        return replace(self, degeneracies=known)


def free_share_of_all(original: Network, converted: Converted) -> float:
    """Numbers that the parameters are free to take, over those of the original: 1 for an average.

    A 2x2 weight whose columns one mirror swaps, and whose rows another does: all four numbers are equal, one is free.
    """
    if converted.is_average or not original.parameter_count:
        return 1.0
    free = 0.0
    for name, parameter in converted.module.named_parameters():
        # A parameter of which no mirror says how it acts is free in every number.
        # Otherwise those fixed by every mirror count (`invariants`): the earlier mirrors, then the last one.
        reps = [hidden[name] for hidden in (*converted.action.earlier, converted.action.hidden) if name in hidden]
        free += invariants(reps) if reps else parameter.numel()
    return free / original.parameter_count


def figures_of_all(problem: Problem, networks: Mapping[str, Network], draft: Draft) -> AllFigures:
    """Figures of a draft on held-out inputs; on random inputs where there are none.

    networks: the original under each mirror, by its name.  Raises ModelRunError, UsageError.
    """
    # 1. Drift from the average over all views, and the sides of each mirror.
    mirrors = {name: mirror_of(network, None) for name, network in networks.items()}
    inputs, source = held_out(problem)
    original, module = problem.network.module, draft.converted.module
    drift, degeneracies = measure_all(original, module, mirrors, inputs, source)
    batches = problem.batches
    drift = replace(drift, noise=not batches.inputs, built_in=batches.are_built_in)
    # 2. Fitted weights may be off on inputs unlike those that they were fitted on; an average holds on all.
    if draft.converted.fitted and not draft.converted.is_average:
        drift = replace(drift, beyond=_beyond(problem, draft, mirrors))
    # 3. For each mirror, what the draft lost: weights that had to be zero, and inputs that it no longer reacts to.
    zeroed = tuple(weight.name for weight in draft.converted.moved if weight.zeroed)
    figures: dict[str, Degeneracy] = {}
    for name, degeneracy in degeneracies.items():
        under = replace(problem, network=networks[name])
        plain = Figures(drift, replace(degeneracy, zeroed=zeroed, tables=draft.converted.tables))
        # Without a repmap, T is that of the network under this mirror.
        probed = with_dead_inputs(under, replace(draft, repmap=None), plain).degeneracy
        assert probed is not None
        figures[name] = probed
    return AllFigures(drift, figures)


def refuse_far_from_all(problem: Problem, name: str, method: str, figures: AllFigures) -> None:
    """Raise DriftError or DegenerateError for a result that is not worth having under some mirror, unless forced."""
    for mirror, degeneracy in figures.degeneracies.items():
        refuse_far(problem, f"{name} under {mirror}", method, Figures(figures.drift, degeneracy))


def _beyond(problem: Problem, draft: Draft, mirrors: Mapping[str, NetworkMirror]) -> Beyond | None:
    """The worst of the inputs of other kinds than those given (`Beyond.order`); None where it ran on none of them."""
    measured: list[Beyond] = []
    for what, inputs in other_inputs(problem.network, problem.batches):
        with suppress(ModelRunError):
            drift, _ = measure_all(problem.network.module, draft.converted.module, mirrors, inputs, what)
            measured.append(beyond_of(what, drift))
    return max(measured, key=lambda beyond: beyond.order, default=None)
