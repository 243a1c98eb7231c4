"""Weights projected onto those that commute with T: P = (W + T_out W T_in) / 2, the Reynolds operator.

`ways.project` and `ways.match` (without inputs) call `projected`, each with its own way to pair hidden units:

    chooser  ->  how T acts on every hidden space  ->  on every weight  ->  the nearest weight that it leaves alone
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from chiralize.errors import MethodUnavailableError, UnsupportedError
from chiralize.graph import rewrite
from chiralize.graph.copies import give_back
from chiralize.graph.model import Leaf
from chiralize.infer.hidden.assign import Chooser
from chiralize.infer.records import RepMap
from chiralize.methods import averaging
from chiralize.problem.earlier import check_commuting, earlier_by_leaf, symmetric_under
from chiralize.problem.mirror import analyse, tables_of, weight_action
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.symbolic import evaluate


def projected(problem: Problem, method: str, chooser_of: Callable[[Problem], Chooser]) -> Draft:
    """The same graph with projected weights; where an op refuses and that is asked for, with both views round a stretch
    that holds it.

    chooser_of: who settles hidden spaces, of the problem with whatever stretches are taken as one op.
    Raises UnsupportedError.
    """
    # Each refusal puts one more stretch, or a larger one, under both views. It ends: a stretch that would be the whole
    # network is refused. A chooser is made anew each time, since the graph is another one.
    while True:
        try:
            return _projected(problem.network, method, chooser_of(problem))
        except UnsupportedError as error:
            if problem.request.on_blocked != "average":
                raise
            problem = replace(problem, network=averaging.with_region(problem.network, error))


def _projected(network: Network, method: str, chooser: Chooser) -> Draft:
    """The projected network, with both views of the stretches that are averaged as one op."""
    # 1. Choices, and weights projected for them.
    captured = network.graph()
    repmap, choices = analyse(network, chooser)
    give_back()
    held = (*captured.weights, *captured.states, *(captured.leaves[name] for name in repmap.symmetrized))
    concrete = {leaf.name: evaluate(repmap.leaves[leaf.name], {}) for leaf in held}
    values, moved = rewrite.symmetric_weights(captured, concrete, repmap.partners)
    # 2. For mirrors that the network commutes with already: where these commute with this one nothing changes but for
    # rounding of the weights that came in.
    earlier = _earlier(network, held, concrete, repmap)
    for leaf in held if earlier else ():
        others = [reps[leaf.name] for reps in earlier]
        values |= dict.fromkeys(leaf.names, symmetric_under(values[leaf.names[0]], others))
    values = network.restored(values)
    if network.treatment.regions:
        module, program = averaging.averaged(network, repmap, values), None
    else:
        module, program = network.holding(values)
    # 3. The record: how mirrors act on the weights, and how many rows and columns can only be zero now.
    action = weight_action(captured, repmap)
    action = replace(action, earlier=tuple(_by_name(held, representations) for representations in earlier))
    matrices = [leaf for leaf in captured.weights if leaf.tensor.ndim > 1 and leaf.name not in repmap.partners]
    lost = sum(concrete[leaf.name].zero_slices() for leaf in matrices if leaf.kind == "parameter")
    tables, notes = tables_of(network, repmap), network.notes
    result = Converted(module, method, "folded", choices, moved, action, notes=notes, lost=lost, tables=tables)
    if network.treatment.regions:
        result = averaging.described(result, network, repmap)
    return Draft(result, program, repmap)


def _earlier(
    network: Network, held: Sequence[Leaf], concrete: Mapping[str, TensorRepresentation], repmap: RepMap
) -> list[dict[str, TensorRepresentation]]:
    """How the mirrors that must be kept act on every weight, by leaf.

    Raises MethodUnavailableError where this mirror would disturb them.
    """
    if not network.others.earlier:
        return []
    if repmap.partners or network.treatment.regions:
        facts = "the mirror exchanges whole branches of the network, or both views run through a stretch of it"
        raise MethodUnavailableError("several mirrors", facts, "use --method average, which runs every view")
    earlier = earlier_by_leaf(held, network.others.earlier)
    check_commuting(network.graph(), concrete, earlier)
    return earlier


def _by_name(
    held: Sequence[Leaf], representations: Mapping[str, TensorRepresentation]
) -> dict[str, TensorRepresentation]:
    """Representations by every name of a leaf."""
    by_name: dict[str, TensorRepresentation] = {}
    for leaf in held:
        by_name |= dict.fromkeys(leaf.names, representations[leaf.name])
    return by_name
