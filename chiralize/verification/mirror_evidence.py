"""Is this the right skeleton? Whether names, bones and the network itself speak for T.

A wrong T can be put into a network as exactly as the right one, and no verdict tells. So signs from outside are looked
for. What needs no run comes from the specification and the inputs: names of joints, bones, signs, ranges. Then the
network is asked: under T its answers are a small gap away from their mirror images, under another mirror a large one.

`commands` call `ask_network` with the user's inputs before anything is converted, and `outside_evidence` for the
report. The steps of `ask_network`:

    compared_inputs     which inputs, and how many mirrors may be tried
    answers             the network's answers to x, and to T x for every mirror
    fitting             gaps between the two, of T and of other mirrors
    other_mirrors       the others: the same specification with one thing changed
    judging             from the gaps to sentences
    corrections         several changes at once, where T is refuted

`wrong_mirror` makes the refusal of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice

import torch

from chiralize.body.tensors.conversion import doubts_of
from chiralize.errors import ChiralizeError
from chiralize.errors.words import percent, when
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.rollouts import Steps
from chiralize.graph.running import Call, Runner
from chiralize.problem.data.cutting import tensors, thinned
from chiralize.problem.data.missing_joints import fill_in_first
from chiralize.problem.mirror import mirror_if_known, resolved_as
from chiralize.problem.network import Network
from chiralize.problem.progress import Progress, silent
from chiralize.problem.stateful import mirror_of_calls
from chiralize.verification.compared_inputs import (
    FIRST,
    answers_to,
    evenly_taken,
    inputs_to_compare_on,
    random_inputs_of,
    runs_for,
)
from chiralize.verification.corrections import corrected
from chiralize.verification.evidence import IDLE, joined
from chiralize.verification.evidence.answer_points import points_beside
from chiralize.verification.evidence.answers import FEWEST_ROWS, Answers, along, of_calls, variation_of
from chiralize.verification.evidence.clocks import clock_findings
from chiralize.verification.evidence.derived_inputs import derived_findings
from chiralize.verification.evidence.fitting import compare, gap_of, whole_gap_of
from chiralize.verification.evidence.free_inputs import free_findings
from chiralize.verification.evidence.judging import Basis, judged
from chiralize.verification.evidence.mirrors import swaps
from chiralize.verification.evidence.names import (
    name_findings,
    names_of_entries,
    symmetric_pose,
    unpaired_by_names,
)
from chiralize.verification.evidence.near_shipped import near_shipped
from chiralize.verification.evidence.neighbours import changed_everywhere
from chiralize.verification.evidence.noise import looks_real
from chiralize.verification.evidence.off_center import off_center
from chiralize.verification.evidence.records import Comparison
from chiralize.verification.evidence.reflection import reflection_findings
from chiralize.verification.evidence.sided_conditions import sided_conditions
from chiralize.verification.evidence.sides import side_findings
from chiralize.verification.evidence.training import is_untrained
from chiralize.verification.evidence.turns import rotation_findings
from chiralize.verification.other_mirrors import (
    candidates,
    mirror_as,
    mirrors_on_real_inputs,
    neighbours_on,
    points_to_try,
)
from chiralize.verification.turned_worlds import is_symmetry_beside
from chiralize.verification.verdicts import Evidence

_LOOKED_AT = 2048  # samples in which one input may turn out to be computed from another
_NOISE_MIRRORS = 40
"""On noise no mirror is confirmed, and none refuted: the likeliest mistakes alone are looked for."""
_LEANS = 0.25
"""A gap above which conditions are looked at that answers may lean with."""
_TELLS_AS_A_WHOLE = 0.4
"""The gap without swaps, in spreads of the whole answer, from which on it tells. Forecasts have 0.2, 0.5 and more where
the last frame is given back without its noise (decision 0105)."""
_ASKING = "checking the mirror against the network"
_HARDLY_VARY = (
    "the network could not tell whether T is its mirror: over these inputs its answers vary by less than a hundredth "
    "of their size; give inputs that differ more from each other, or check the arguments that its class was built with"
)
_STILL = (
    "the network answers nearly the same to everything, and cannot tell whether T is its mirror: over {inputs} its "
    "answers vary by {share} of their size, the inputs by {given}. It learned a mean alone, or was built with other "
    "arguments than it was trained with; a gap in units of so small a spread says nothing"
)
_COLLAPSED = (
    "over these inputs, which vary by {given} of their size, the original's answers hardly vary: {outputs}. Such an "
    "output learned a mean alone, or was built or loaded wrongly; its gap and its rho are in units of that small spread"
)
_ALIKE = 0.05
"""Inputs that vary by less than this share of their size are alike themselves."""
_FEW_SCORES = (
    "the network was not asked whether T is its mirror: T leaves (nearly) all answers as they are, and the scores of "
    f"{{}} samples fit many mirrors; give {FEWEST_ROWS} and more (--calibration)"
)
_NOT_FINITE = "the network could not tell whether T is its mirror: not all of its answers to these inputs are finite"
_KEEPS_STATE = (
    "the network was not asked whether T is its mirror: it keeps a state from call to call, of which single calls "
    "tell little; --calibration sequences tell"
)


# ---- all comparisons ------------------------------------------------------------------------------------------
def outside_evidence(
    network: Network,
    mirror: NetworkMirror | None,
    inputs: Sequence[Call] = (),
    equivariant: torch.nn.Module | None = None,
    asked: Evidence | None = None,
) -> Evidence:
    """Whether names, bones and the network itself speak for T.

    inputs: real ones.  equivariant: what a pose made symmetric by names is shown to, where its calls are the same.
    asked: what the network itself says, as `ask_network` returns it.  Nothing is asked of names where T is not known.
    mirror: T, None where it is not known on states.
    """
    # What the names say, unless the network has clearly contradicted them.
    skeleton = network.resolved.spec.skeleton
    of_names = [name_findings(skeleton.joints, skeleton.pairs, skeleton.edges)]
    if mirror is not None:
        of_names.append(names_of_entries(mirror))
    are_refuted = asked is not None and asked.names_mislead and not unpaired_by_names(network.resolved)
    parts = [_refuted(joined(*of_names)) if are_refuted else joined(*of_names)]
    if network.resolved.is_trivial:
        parts.append(Evidence(warnings=(IDLE,)))
    # What the specification says of itself, and what the user's inputs say of it.
    parts += [reflection_findings(network.resolved), rotation_findings(network.resolved)]
    parts.append(Evidence(warnings=tuple(doubts_of(network.resolved.spec))))
    parts.append(side_findings(network.resolved, inputs))
    parts.append(free_findings(network.resolved, (tuple(network.args), dict(network.kwargs)), inputs))
    if mirror is not None:
        parts.append(derived_findings(mirror, _samples(network, inputs)))
    # What the network says: the original, by its gaps, then the result, of a pose that is symmetric by names.
    if asked is not None:
        parts.append(asked)
    if equivariant is not None and mirror is not None and not are_refuted:
        calls = _few(network, inputs) or random_inputs_of(network, mirror, 2)
        parts.append(symmetric_pose(equivariant, mirror, calls))
    return joined(*parts)


def _refuted(of_names: Evidence) -> Evidence:
    """What names say where the network answers clearly worse under the mirror that they tell: numbers may cross."""
    if not of_names.warnings:
        return of_names
    first, count = of_names.warnings[0], len(of_names.warnings)
    more = when(count > 1, f" (and {count - 1} more like it)")
    note = f"{first}{more}: the network fits T, and clearly worse the mirror that names tell, which are left aside"
    return Evidence(checks=of_names.checks, notes=(note,))


def ask_network(
    network: Network, inputs: Sequence[Call] = (), sequences: Sequence[Steps] = (), progress: Progress = silent
) -> Evidence:
    """How well T fits the network, beside its neighbours: `fit`, and what it means in sentences.

    Before these, warnings of clocks that the inputs show to be grouped wrongly.

    inputs: those of the user.  Without them, or where they are noise, the example inputs count if they are none.
    sequences: the same as sequences, along which a network is asked that carries states.
    progress: called with how many mirrors have been tried.
    No figures where T moves nothing, or where the network keeps a state and there are no real sequences.
    Raises ModelRunError.
    """
    progress(_ASKING)
    of_clocks = clock_findings(network.resolved, inputs)
    return joined(of_clocks, _asked(network, inputs, sequences, progress))


def _asked(network: Network, inputs: Sequence[Call], sequences: Sequence[Steps], progress: Progress) -> Evidence:
    """What the answers of the network say, as `ask_network` does."""
    asked = compare_mirrors(network, inputs, sequences, progress)
    if isinstance(asked, Evidence):
        return asked
    comparison, basis = asked
    evidence = replace(judged(comparison, basis), collapsed=basis.collapsed, displaced=basis.displaced)
    if evidence.fit is None or not evidence.fit.is_confirmed:
        return evidence
    return joined(evidence, near_shipped(network.resolved.spec.skeleton, comparison))


def compare_mirrors(
    network: Network, inputs: Sequence[Call] = (), sequences: Sequence[Steps] = (), progress: Progress = silent
) -> tuple[Comparison, Basis] | Evidence:
    """The figures behind `ask_network`, or a note where there can be none.

    Networks with states are asked along sequences, and not at all without: from one call to the next a state moves on,
    which a single call does not show. Raises ModelRunError.
    """
    if network.resolved.is_trivial or all(rep is None or rep.is_trivial for rep in network.resolved.inputs):
        return Evidence()
    if sequences and network.carried.keeps_state:
        return _compare_along(network, sequences, progress)
    mirror = mirror_if_known(network, None)
    if mirror is None or mirror.states or network.origin.unheld:
        return Evidence(notes=(_KEEPS_STATE,), lacks_time=bool(inputs) and not sequences)
    calls, real = inputs_to_compare_on(network, mirror, inputs)
    with Runner(network.module) as runner:
        answers = answers_to(network, runner, mirror, calls, real)
        asked = _compared(network, answers, mirror, calls, real, progress, inputs)
        if isinstance(asked, Evidence) or not real or asked[0].gap <= _LEANS:
            return asked
        comparison, basis = asked
        sided = sided_conditions(network.resolved, mirror, calls, partial(of_calls, runner, mirror))
        return comparison, replace(basis, sided=sided)


def _compare_along(
    network: Network, sequences: Sequence[Steps], progress: Progress
) -> tuple[Comparison, Basis] | Evidence:
    """The same along sequences, in which every view carries its own states."""
    compared = evenly_taken(sequences)
    calls = [call for steps in compared for call in steps]
    if not looks_real(calls):
        return Evidence(notes=(_KEEPS_STATE,))
    mirror = mirror_of_calls(network)
    with Runner(network.module) as runner:
        answers = along(runner, mirror, compared, network.carried, FIRST)
        inputs = [call for steps in sequences for call in steps]
        return _compared(network, answers, mirror, calls, True, progress, inputs)


def _compared(
    network: Network,
    answers: Answers,
    mirror: NetworkMirror,
    calls: Sequence[Call],
    real: bool,
    progress: Progress,
    inputs: Sequence[Call] = (),
) -> tuple[Comparison, Basis] | Evidence:
    """T beside other mirrors on these answers, or a note where they tell nothing.

    calls: what was answered.  real: these are no noise.  inputs: all that there are. Raises ModelRunError.
    """
    if not answers.is_finite:
        return Evidence(notes=(_NOT_FINITE,))
    if not answers.indices:
        return _of_still(answers, calls, real) if answers.hardly_vary else Evidence()
    # The unit of gaps, and the other mirrors, the likeliest mistakes first: only so many can be run.
    _settle_unit(network, mirror, answers)
    points = points_to_try(network, mirror, answers, calls)
    if real:
        others = mirrors_on_real_inputs(network, answers, mirror, calls, points, inputs)
    else:
        others = islice(candidates(network, mirror), _NOISE_MIRRORS)
    # What else may be wrong with the inputs or the network, for the judgement of the gaps.
    away = (fill_in_first(network.resolved, calls) or off_center(network.resolved, calls)) if real else ""
    collapsed = _collapsed(network, answers, calls) if real else ""
    rows, is_trained = sum(map(network.samples_in, calls)), not is_untrained(network.module)
    beside = points_beside(network.resolved, mirror, answers) if real else {}
    basis = Basis(real, is_trained, rows, away, collapsed, beside, tuple(answers.displaced.items()))
    runs = runs_for(network, calls, real)
    gap = f"its gap{when(not real, ' on random inputs')} is {gap_of(mirror, answers):.2g}; looking at other mirrors"
    progress(f"{_ASKING}: {gap}")  # the others may take minutes

    def tell(tried: int) -> None:
        """Say how many mirrors have been tried; no share, since the first two take longer than the others."""
        progress(f"{_ASKING}: {gap}, {tried} tried")

    is_as_right = partial(is_symmetry_beside, mirror=mirror, resolved=network.resolved, calls=calls)
    comparison = compare(answers, mirror, others, runs, tell, is_as_right if real else lambda other: False)
    if real and basis.rows < FEWEST_ROWS and comparison.answers_stay:
        return Evidence(notes=(_FEW_SCORES.format(basis.rows),))
    # Where T is refuted, one change may not be enough: several at once are searched for, of sequences on the first few.
    fit = judged(comparison, basis).fit
    can_tell = real and basis.rows >= FEWEST_ROWS and not comparison.answers_stay
    is_costly = answers.first is not None and not network.carried.keeps_state
    if can_tell and fit is not None and fit.is_refuted and not is_costly:  # else it takes minutes
        read_as = partial(resolved_as, network)
        progress(f"{_ASKING}, several changes at once")
        near = neighbours_on(network, calls, points)
        few = answers.first or answers
        start = replace(comparison, gap=gap_of(mirror, few))
        changes = corrected(few, network.resolved, mirror, start, read_as, runs, near)
        comparison = replace(comparison, corrected=changes)
    return comparison, basis


def _settle_unit(network: Network, mirror: NetworkMirror, answers: Answers) -> None:
    """Count forecasts as a whole where that tells mirrors apart: where one that swaps nothing does not fit.

    A denoiser of the last frame is no forecast, and what it adds is noise, which has no mirror.
    """
    if not answers.displaced or not swaps(mirror):
        return
    without = changed_everywhere(network.resolved, partial(replace, pairs=()))
    with suppress(ChiralizeError):  # it does not fit, or is no mirror
        if whole_gap_of(mirror_as(network, without), answers) > _TELLS_AS_A_WHOLE:
            answers.count_as_a_whole()


def _of_still(answers: Answers, calls: Sequence[Call], real: bool) -> Evidence:
    """A warning of answers that hardly vary; a note where the inputs are alike, too."""
    variation = max(map(variation_of, zip(*map(_numbers, calls), strict=True)), default=0.0)
    if variation < _ALIKE:
        return Evidence(notes=(_HARDLY_VARY,))
    share, given = percent(max(answers.variation)), percent(variation)
    return Evidence(still=_STILL.format(inputs="these inputs" if real else "random inputs", share=share, given=given))


def _collapsed(network: Network, answers: Answers, calls: Sequence[Call]) -> str:
    """A warning of single outputs that hardly vary, beside others that do; "" where none is, or the inputs are alike.

    Those that are the same to the last digit are in `network.behaviour.constant`, and free ones may be settings.
    """
    # `variation` is that of all outputs that are numbers, in their order: those that vary and those that hardly do.
    variations = dict(zip(sorted((*answers.hardly_vary, *answers.indices)), answers.variation, strict=True))
    still: list[str] = []
    for index in answers.hardly_vary:
        name = f"output {index}"
        if name not in network.behaviour.constant.outputs and network.resolved.output_tensors[index].kind != "free":
            still.append(f"{name} by {percent(variations[index])} of its size")
    given = max(map(variation_of, zip(*map(_numbers, calls), strict=True)), default=0.0)
    if not still or given < _ALIKE:
        return ""
    return _COLLAPSED.format(outputs=", ".join(still), given=percent(given))


def _numbers(call: Call) -> list[torch.Tensor]:
    """The inputs of a call that are no integers."""
    return [tensor for tensor in tensors(call) if tensor.is_floating_point()]


def _samples(network: Network, inputs: Sequence[Call]) -> Sequence[Call]:
    """Inputs of the user to look at; none where samples are not the first axis, or the network carries states."""
    if not inputs or not network.has_rows or network.carried:
        return ()
    return thinned(network, inputs, _LOOKED_AT)


def _few(network: Network, inputs: Sequence[Call]) -> list[Call]:
    """Eight of the user's calls at most; none of none."""
    return thinned(network, inputs, 8)[:8] if inputs else []
