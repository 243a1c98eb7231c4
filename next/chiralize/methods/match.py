"""`match` and `project`: hidden units in pairs, and every weight made symmetric for them.

Both end alike, and differ in who says which units are partners: the weights (`match`), or the specification
(`project`). Class, names and shapes of the network stay. With inputs `match` goes by what units do, and refits the
weights layer by layer, as `reduce` does.

    chooser  ->  how T acts on every hidden space  ->  on every weight  ->  P(W) = (W + T W) / 2, the Reynolds operator

On a trained network the pairs of `project` have nothing to do with what its units do: its result is a start for
training, as in the paper. A unit without a partner is its own image, which keeps its even part alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chiralize.errors import Finding, UnsupportedError
from chiralize.graph import rewrite
from chiralize.infer.capture import captured
from chiralize.infer.hidden.choose import Chooser, Imposed
from chiralize.infer.hidden.match import FromWeights
from chiralize.infer.rules.elementwise import ACTIVATIONS
from chiralize.infer.symbolic import evaluate
from chiralize.methods.reduce import rematched
from chiralize.problem.mirror import WeightAction, analyse, with_tables
from chiralize.problem.network import Network
from chiralize.problem.problem import Draft, Method, Problem


def projected(network: Network, method: str, chooser: Chooser) -> Draft:
    """The network with the nearest weights that commute with the mirror.

    chooser: says of every hidden space which units are partners.  Raises UnsupportedError where an op refuses.
    """
    analysed = analyse(network, chooser)
    network, repmap, graph = analysed.network, analysed.repmap, analysed.network.graph()
    leaves = (*graph.weights, *graph.states, *(graph.leaves[name] for name in repmap.symmetrized))
    representations = {leaf.name: evaluate(repmap.leaves[leaf.name], {}) for leaf in leaves}
    values, moved = rewrite.symmetric_weights(graph, representations, repmap.partners)
    module, program = network.holding(network.restored(values))
    action = WeightAction.of(network, repmap)
    return Draft(module, program, action, method, "folded", analysed.choices, moved, network.findings, repmap)


def _prepared(problem: Problem) -> Network:
    """The network with what the user asked to have changed before units are paired."""
    network = _with_activation(problem.network)
    if problem.request.symmetrize_constants:
        network = with_tables(replace(network, symmetrize=True))
    return network


def _with_activation(network: Network) -> Network:
    """The network with tanh, which is odd, in place of its activations, if the specification asks for it."""
    if network.spec.activation != "tanh":
        return network
    module, count = rewrite.with_tanh(network.module)
    program, graph, from_program = network.program, network.captured, network.from_program
    if program is not None:
        # Activations that are called as functions stand in the program alone, which is what counts from then on.
        if not from_program:
            program = network.program_of(module)
        program, functional = rewrite.program_with_tanh(program, ACTIVATIONS)
        count, from_program = count + functional, from_program or functional > 0
        if from_program:
            module = program.module()
        graph = captured(program, network.args, network.kwargs)
    network = replace(network, module=module, program=program, captured=graph, from_program=from_program)
    return network.with_findings(Finding("capture", "note", f"{count} activations are replaced by tanh"))


def _matched(problem: Problem) -> Iterator[Draft]:
    """A draft in which a unit may be its own partner, and one of pairs alone, which keeps more of the odd part.

    With inputs weights are refitted; where they cannot be, they are projected, and a finding says why.
    """
    network = _prepared(problem)
    if problem.inputs is not None and network.spec.activation != "tanh":
        try:
            yield from rematched(replace(problem, network=network))
            return
        except UnsupportedError as error:
            facts = f"weights projected, not refitted: {error.where}: {error.facts}"
            network = network.with_findings(Finding("inputs", "note", facts))
    for fixed_points in (True, False):
        yield projected(network, "match", FromWeights(network.graph(), fixed_points))


def _imposed(problem: Problem) -> Iterator[Draft]:
    """In the pairs that the specification names, or in one guess after the other where it names none."""
    network = _prepared(problem)
    spec = network.spec
    for hidden in spec.hidden.alternatives:
        yield projected(network, "project", Imposed(hidden, spec.skeleton, FromWeights(network.graph())))


MATCH = Method("match", _matched, is_fitted=True, keeps_units=True)
PROJECT = Method("project", _imposed, keeps_units=True, is_trained_on=True)
