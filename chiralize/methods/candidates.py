"""The methods: one network with symmetric weights, or two views of it; of some there are several to choose from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from chiralize.body.tensors import ConversionSpec
from chiralize.errors import UnsupportedError
from chiralize.graph import rewrite
from chiralize.graph.copies import give_back, is_large
from chiralize.graph.open_sizes import opened
from chiralize.infer import random_numbers
from chiralize.infer.capture import capture
from chiralize.infer.hidden.activations import activation_scores
from chiralize.infer.hidden.assign import Chooser
from chiralize.infer.hidden.impose import Imposed
from chiralize.infer.hidden.match import FromActivations, FromWeights
from chiralize.infer.records import RepMap, Space
from chiralize.methods import averaging
from chiralize.methods.reduce import reduce
from chiralize.methods.statistics import refuse_changed_statistics
from chiralize.methods.symmetric_norms import normalised
from chiralize.nn.two_view import TwoView
from chiralize.problem.data.cutting import as_captured, tensors
from chiralize.problem.mirror import analyse, exchanged_weights, hidden_representations, tables_of, with_tables
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft
from chiralize.symmetry.symbolic import evaluate

_OTHERS = {
    "match": "pairs of similar units lose much of what tells left from right: imposed ones, as of project, were taken",
    "project": "imposed pairs lose much of what tells left from right: pairs of similar units, as of match, were taken",
}


def candidates(problem: Problem, method: str) -> Iterator[Draft]:
    """What to choose from: for `match` with fixed points and in pairs only, for `project` the pairs that it imposes and
    other guesses; for both, where nobody named pairs, those of the other; for `reduce` pairs and, where that promises
    to be better, mixed. Which is better is measured.

    Each is made when it is asked for: a large network has no room for two. There pairs come first, which keep more of
    what is odd.
    """
    network, request = problem.network, problem.request
    width = 0.5 if request.width is None else request.width
    if method == "lift" or (method == "reduce" and width == 1):
        yield Draft(lifted(network))
        return
    try:
        ready = replace(problem, network=normalised(problem, method))
        ways = reduce.reduced(ready, width) if method == "reduce" else _symmetric(ready, method)
        for draft in ways:
            refuse_changed_statistics(draft.converted, problem)
            yield draft
    except UnsupportedError as error:
        if request.on_blocked != "lift":
            raise
        note = f"lifted as a whole: {error.where}: {error.facts}"
        yield Draft(lifted(network.with_notes(note)))


def _symmetric(problem: Problem, method: str) -> Iterator[Draft]:
    """`match` or `project`."""
    network = _with_activation(problem.network)
    if problem.request.symmetrize_constants:  # never while it is judged
        network = with_tables(replace(network, symmetrize=True))
    problem = replace(problem, network=network)
    ways = (_matched, _imposed) if method == "match" else (_imposed, _matched)
    yield from ways[0](problem)
    if not network.resolved.spec.hidden.is_named:
        for draft in ways[1](problem.with_batches(given=())):
            yield draft.with_record(method=method).with_notes(_OTHERS[method])


def _imposed(problem: Problem) -> Iterator[Draft]:
    """In the pairs that the specification names, or in guesses."""
    spec = problem.network.resolved.spec
    for hidden in spec.hidden.alternatives:
        yield _unblocked(problem, True, replace(spec, hidden=hidden))


def _matched(problem: Problem) -> Iterator[Draft]:
    """In pairs of units that resemble each other's mirror image, with fixed points and without."""
    for fixed in (False, True) if is_large(problem.network.module) else (True, False):
        yield _refitted(problem, fixed)


def _refitted(problem: Problem, fixed_points: bool) -> Draft:
    """Refitted where there are inputs to fit on, unless that cannot be."""
    if not problem.batches.given:
        return _unblocked(problem, fixed_points)
    try:
        return reduce.rematched(problem, fixed_points)
    except UnsupportedError as error:
        network = problem.network.with_notes(f"weights projected, not refitted: {error.where}: {error.facts}")
        return _unblocked(replace(problem, network=network), fixed_points)


def _unblocked(problem: Problem, fixed_points: bool, imposed: ConversionSpec | None = None) -> Draft:
    """Folded; where an op refuses and that is asked for, with both views round a stretch that holds it.

    imposed: `project` by what this says of hidden spaces; None is `match`.
    """
    while True:
        chooser: Chooser = _matcher(problem, fixed_points)
        if imposed is not None:
            chooser = Imposed(imposed, chooser)
        try:
            return _fold(problem.network, "match" if imposed is None else "project", chooser)
        except UnsupportedError as error:
            if problem.request.on_blocked != "average":
                raise
            problem = replace(problem, network=averaging.with_region(problem.network, error))


def _fold(network: Network, method: str, chooser: Chooser) -> Draft:
    """The same graph with symmetric weights; both views round the stretches that are taken as one op."""
    captured = network.graph()
    repmap, choices = analyse(network, chooser)
    give_back()
    held = (*captured.weights, *captured.states, *(captured.leaves[name] for name in repmap.symmetrized))
    concrete = {leaf.name: evaluate(repmap.leaves[leaf.name], {}) for leaf in held}
    values, moved = rewrite.symmetric_weights(captured, concrete, repmap.partners)
    values = network.restored(values)
    if network.regions:
        module, program = averaging.averaged(network, repmap, values), None
    else:
        module, program = network.holding(values)
    hidden, exchanged = hidden_representations(captured, repmap), exchanged_weights(captured, repmap)
    matrices = [leaf for leaf in captured.weights if leaf.tensor.ndim > 1 and leaf.name not in repmap.partners]
    lost = sum(concrete[leaf.name].zero_slices() for leaf in matrices if leaf.kind == "parameter")
    result = Converted(
        module, method, "folded", choices, moved, hidden, exchanged, notes=network.notes, lost=lost,
        tables=tables_of(network, repmap),
    )  # fmt: skip
    result = averaging.described(result, network, repmap) if network.regions else result
    return Draft(result, program, repmap)


def _with_activation(network: Network) -> Network:
    """The network with tanh in place of its activations, if the specification asks for it."""
    if network.resolved.spec.activation != "tanh":
        return network
    notes, program = network.notes, network.program
    module, count = rewrite.with_tanh(network.module)
    if program is not None:
        if not network.from_program:
            axes = network.open_axes(network.args, network.kwargs)
            program = opened(module, network.args, network.kwargs, axes)
        program, functional = rewrite.program_with_tanh(program)
        count += functional
        if functional and not network.from_program:
            notes = (*notes, "activations were called as functions: the result is a graph module")
            network = replace(network, from_program=True)
        module = program.module() if network.from_program else module
    graph = capture(program, network.args, network.kwargs) if program is not None else network.captured
    notes = (*notes, f"{count} activations replaced by tanh")
    return replace(network, module=module, program=program, captured=graph, notes=notes)


def _matcher(problem: Problem, fixed_points: bool) -> Chooser:
    """By activations where inputs are given, else by weights."""
    network = problem.network
    weights = FromWeights(network.graph(), fixed_points)
    if not problem.batches.inputs:
        return weights

    def choose(spaces: Sequence[Space], repmap: RepMap) -> Any:
        batches = (network.centered(tensors(call)) for call in as_captured(network, problem.batches.seen))
        scores = activation_scores(network.graph(), repmap, spaces, network.resolved.inputs, batches)
        return FromActivations(scores, weights, fixed_points)(spaces, repmap)

    return choose


def lifted(network: Network) -> Converted:
    """Both views of the network as one module. Raises NoRuleError where it draws random numbers."""
    for node in network.captured.drawing if network.captured else ():
        raise random_numbers(node)
    if network.captured is None and network.answers_vary():
        raise random_numbers(None, type(network.module).__name__)
    own_buffers = bool(network.captured.mutations or network.unheld) if network.captured else True
    resolved = network.resolved
    centers = resolved.input_centers, resolved.output_centers
    own = rewrite.with_weights(network.module, {}) if is_large(network.module) else network.module
    example = network.args, dict(network.kwargs)
    module = TwoView(own, resolved.inputs, resolved.outputs, own_buffers=own_buffers, centers=centers, example=example)
    module.training = False  # a program's module refuses eval(); it is in that mode already
    states = [own.where for own in resolved.input_tensors if own.representation is None]
    notes = tuple(f"{where}: the states of both views, twice as large on its last axis" for where in states)
    if own_buffers and network.captured:
        names = [network.captured.leaves[leaf].names[0] for leaf in network.captured.mutations]
        names += network.unheld
        notes += (f"states kept once per view: {', '.join(names)}",)
    return Converted(module, "lift", "two-view", notes=(*network.notes, *notes))
