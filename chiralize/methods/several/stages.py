"""A network made equivariant for one mirror after the other.

average   both views of both views: exact for every network, 2^k passes
reduce    the flip average of every mirror but the last as one network of twice the units (`reduce.widening`), which is
          reduced for the last one by whole orbits (`reduce.orbits`): what is given up is given up once
others    a conversion for each, its choices commuting with those before it (`problem.earlier`)

At the end all layers are fitted together towards the average over all views.

`commands.several` calls `draft_for_all`. With mirrors A and B a network f goes through it as

    f  ->  f_A, which commutes with A  ->  for B, with choices that commute with A  ->  fitted to the mean of four views
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from torch import Tensor

from chiralize.errors import MethodUnavailableError, UnsupportedError
from chiralize.graph import rewrite
from chiralize.infer.capture import capture
from chiralize.methods.best import best
from chiralize.methods.fill.both_views import averaged
from chiralize.methods.reduce.widening import widened
from chiralize.methods.refine.refine import distilled, refined
from chiralize.methods.statistics import refuse_changed_statistics, with_statistics
from chiralize.methods.symmetric_norms import normalised
from chiralize.nn.deploy.export import try_export
from chiralize.problem.earlier import EarlierMirror
from chiralize.problem.network import Network
from chiralize.problem.problem import Method, Problem
from chiralize.problem.result import Converted, Draft
from chiralize.verification.figures import figures_of

_INSTEAD = "use --method average, which runs every view"
Networks = Mapping[str, Network]


def draft_for_all(problem: Problem, networks: Networks, method: Method) -> Draft:
    """The result of a method for all mirrors. problem: for the first.  networks: the original under each mirror.

    Raises MethodUnavailableError where the method has no answer, UnsupportedError where an op refuses.
    """
    if method.name == "average" or problem.request.width == 1:
        return all_views(networks)
    try:
        draft = _in_stages(problem, networks, method)
    except UnsupportedError as error:
        if problem.request.on_blocked != "average-all":
            raise
        return all_views(networks).with_notes(f"averaged as a whole: {error.where}: {error.facts}")
    draft = _refolded(problem.network, draft)
    draft = _nearer(problem, networks, draft)
    refuse_changed_statistics(draft.converted, problem)
    return replace(draft, converted=with_statistics(draft.converted, problem.network))


def all_views(networks: Networks) -> Draft:
    """The average over all views: of each mirror round that of the one before it."""
    module = next(iter(networks.values())).module
    converted: Converted | None = None
    for network in networks.values():
        converted = averaged(replace(network, module=module))
        module = converted.module
    assert converted is not None
    return Draft(converted)


def _in_stages(problem: Problem, networks: Networks, method: Method) -> Draft:
    """The draft after the last mirror, before all layers are fitted together."""
    # No training between the stages: it happens once, at the end, when all mirrors are in.
    request = replace(problem.request, rounds=0, distill=0, on_blocked="refuse", form="auto", checkpoint=None)
    earlier: list[EarlierMirror] = []
    notes: Sequence[str] = ()
    network = next(iter(networks.values()))
    for name, following in pairwise(networks):
        # Wider by one view after the other, and cut to size once: `reduce` at every stage would give up units each
        # time.
        if method.name == "reduce":
            draft = widened(normalised(replace(problem, network=network), method.name))
            notes = draft.converted.notes
        else:
            draft = _converted(replace(problem, network=network, request=request), method)
        earlier = _earlier_after(
            draft.converted, earlier, EarlierMirror(name, network.resolved, draft.converted.action.hidden)
        )
        network = _carried_on(networks[following], draft, earlier)
    return _converted(replace(problem, network=network, request=request), method).with_notes(*notes)


def _converted(problem: Problem, method: Method) -> Draft:
    """The draft for one mirror. Raises MethodUnavailableError where it could not carry another one."""
    draft = best(problem, method).draft
    if draft.converted.action.exchanged or draft.converted.averaged or draft.converted.is_average:
        facts = "the mirror exchanges whole branches of the network, or both views run through a part of it"
        raise MethodUnavailableError(f"--method {method.name}, several mirrors", facts, _INSTEAD)
    return draft


def _earlier_after(converted: Converted, earlier: Sequence[EarlierMirror], new: EarlierMirror) -> list[EarlierMirror]:
    """The mirrors that the next one must keep: those before, on the weights as they are now, and this one."""
    before = zip(earlier, converted.action.earlier, strict=True)
    return [*(replace(mirror, hidden=hidden) for mirror, hidden in before), new]


def _carried_on(network: Network, draft: Draft, earlier: Sequence[EarlierMirror]) -> Network:
    """The draft for the mirrors so far, as the network for the next mirror.

    network: the original under the next mirror.  Raises MethodUnavailableError where the draft cannot be exported.
    """
    module = draft.converted.module
    program = draft.program or try_export(module, network)
    if program is None:
        raise MethodUnavailableError("mirrors", "the result for one mirror cannot be exported", _INSTEAD)
    captured = capture(program, network.args, network.kwargs)
    others = replace(network.others, earlier=tuple(earlier))
    return replace(network, module=module, program=program, captured=captured, others=others, notes=())


def _refolded(network: Network, draft: Draft) -> Draft:
    """The draft in the original's class, where its weights have the sizes that they have there."""
    new = rewrite.tensors_of(draft.converted.module)
    weights = {name for leaf in network.graph().weights for name in leaf.names}
    values: dict[str, Tensor] = {}
    for name, old in rewrite.tensors_of(network.module).items():
        if name in new and new[name].shape == old.shape:
            values[name] = new[name].detach()  # weights, and normalisers that were made symmetric
        elif name in new or name in weights:  # of another size, or gone: there is no room for it in the class
            return draft.with_record(form="dense")
    module, program = network.holding(values)
    folded = replace(draft, program=program, graph=None).with_record(module=module, form="folded")
    fitted = {entry.name for entry in draft.converted.fitted}
    # how far weights moved is known against the original only now: each stage saw the one before it
    moved: list[rewrite.Moved] = []
    for leaf in network.graph().weights:
        if leaf.names[0] not in fitted:
            moved.append(rewrite.moved(leaf, values[leaf.names[0]]))
    return folded.with_record(moved=tuple(moved))


def _nearer(problem: Problem, networks: Networks, draft: Draft) -> Draft:
    """All layers fitted together, towards the average over all views.

    This is the average under the last mirror of the network that is averaged under all others.
    """
    request = problem.request
    if not (draft.converted.fitted or request.rounds or request.distill):
        return draft
    module = problem.network.module
    *before, name = networks  # names of the mirrors, in order
    for other in before:
        module = averaged(replace(networks[other], module=module)).module
    teacher = replace(problem, network=replace(networks[name], module=module), both_views=True)
    nearer = refined(teacher, draft, lambda result: figures_of(teacher, result).rho)
    if request.distill:
        return distilled(teacher, nearer)
    return nearer
