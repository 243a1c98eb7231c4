"""`reduce`: hidden units of the trained network, each with its mirror image, and what reads them refitted.

The width is a share of the units of the flip average, which runs both views. A layer of 8 units has 16 in the average;
at width 0.5, 4 of the 8 stay, each with its mirror image: 8 units, which T swaps in pairs. At width 1 every unit stays:
that is the average. `match` with inputs is the same with all units, matched with each other (`rematched`).

    ready          the network captured in the sizes of the batches, and what stands in the way of a fit
    measured       what every hidden unit does on x and on T x, and what reads it
    designs        what becomes of every hidden space: which units stay, in pairs or as their own
    fitted         all weights by least squares, in the original's class or in a graph of other sizes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch.export import ExportedProgram

from chiralize.errors import AsymmetricConstantError, MethodUnavailableError
from chiralize.errors.words import first_line
from chiralize.graph.model import CapturedModel
from chiralize.graph.writes import functional
from chiralize.infer.hidden.choose import Chosen
from chiralize.infer.hidden.match import FromWeights
from chiralize.infer.hidden.pairing import Score, best_involution
from chiralize.infer.records import RepMap, Space
from chiralize.infer.spelling import WHOLE
from chiralize.infer.symbolic import variables
from chiralize.methods.average import averaged
from chiralize.methods.reduce.cells import of_one_size, separate
from chiralize.methods.reduce.choosing import MULTIPLICATIONS, Design, designs, kept_whole
from chiralize.methods.reduce.fitting import Fitting
from chiralize.methods.reduce.heads import attentions, in_order, maps_of
from chiralize.methods.reduce.lifting import Lifting, matched
from chiralize.methods.reduce.moments import Units, measured
from chiralize.methods.reduce.resizing import Resizing
from chiralize.methods.reduce.views import Ready, Weights, ready
from chiralize.methods.target import Target
from chiralize.problem.mirror import WeightAction, analyse
from chiralize.problem.network import Network
from chiralize.problem.problem import MAX_DRIFT, Draft, Fitted, Method, Problem
from chiralize.symmetry.action import distance
from chiralize.symmetry.involution import SignedPermutation

_HEADS = "every head stays with its mirror image, each with its first dimensions"
_HALF = 0.5
"""The width where the user gives none: as many units as the original has."""


def drafts(problem: Problem) -> Iterator[Draft]:
    """The network with `--width` of its units, each with its mirror image; and, where that promises to be better, with
    more units for the same cost, some of them kept for their even part alone.

    Raises MethodUnavailableError where the network cannot be reduced, UnsupportedError where an op refuses.
    """
    width = _HALF if problem.request.width is None else problem.request.width
    if width == 1:
        yield averaged(problem.network)
        return
    # Kept units have their own entries in a table, while pairs would need averaged ones: tables count as weights.
    network = ready(problem, "reduce", tables=True)
    graph, repmap = network.graph, separate(network.graph, network.repmap)
    # 1. Heads in their own coordinates: the same function, written otherwise.
    attending = [] if network.network.resolved.is_affine else list(attentions(graph, repmap))
    graph, attending = in_order(graph, repmap, attending, network.batches)
    network = replace(network, network=replace(network.network, captured=graph)) if attending else network
    settled = {key: (each, _HEADS) for heads in attending for each in maps_of(heads, width) for key in each.key}
    # 2. What units do, in these coordinates, and which of them stay.
    problem.request.progress("measuring the hidden units")
    units = measured(graph, repmap, network.batches)
    whole = {**_cofactors(graph, repmap, units), **settled}
    same_size = of_one_size(graph, repmap)
    mixing = {space.key: MULTIPLICATIONS for space in repmap.spaces if space.key not in same_size}
    first, *others = designs(repmap.spaces, units, width, whole, mixing)
    # 3. The first is in pairs, and what stops it is the caller's to know; the second only might be better.
    yield fitted(network, repmap, first, problem, "reduce")
    for design in others:
        try:
            draft = fitted(network, repmap, design, problem, "reduce")
        except MethodUnavailableError:
            return  # of these sizes it cannot be; in pairs it could
        yield draft


def rematched(problem: Problem) -> Iterator[Draft]:
    """All units, matched with each other by what they do, and the weights refitted: with fixed points, and without.

    What units do is measured once for both drafts. Raises MethodUnavailableError where they cannot be refitted,
    UnsupportedError where an op refuses.
    """
    network = ready(problem, "match", tables=problem.network.symmetrize)
    problem.request.progress("measuring the hidden units")
    units = measured(network.graph, network.repmap, network.batches)
    for fixed_points in (True, False):
        design = _matching(network, units, fixed_points)
        yield fitted(network, network.repmap, design, problem, "match")


def _matching(network: Ready, units: Mapping[int, Sequence[Units]], fixed_points: bool) -> Design:
    """All units, matched by what they do on x and T x; spaces that nothing is known of, by weights."""
    weights = FromWeights(network.graph, fixed_points)
    known = {key: read for key, places in units.items() if (read := [each for each in places if each.count])}

    def chosen(spaces: Sequence[Space], repmap: RepMap) -> Chosen:
        """By what units do where they are read, else by weights; every place has one vote."""
        by_units: dict[int, tuple[SignedPermutation, str]] = {}
        for space in (space for space in spaces if space.key in known):
            score = torch.stack([each.correlation() for each in known[space.key]]).sum(0).numpy()
            action = best_involution(Score(score, 0 * score), space.sign_free, fixed_points)
            by_units[space.key] = action, "matched by activations"
        others = {} if len(by_units) == len(spaces) else weights(spaces, repmap)
        return {**others, **by_units}

    choices = analyse(network.network, chosen).choices
    return Design(tuple(matched(choice.space.key, choice.action) for choice in choices), choices)


def _cofactors(graph: CapturedModel, repmap: RepMap, units: Mapping[int, Sequence[Units]]) -> dict[int, tuple]:
    """Spaces that are no unit axes of their own, such as heads beside their channels: matched by weights.

    No moments are known of these: a factor of an axis is no row of units, and some spaces nothing reads.
    """
    shared = _factors(repmap)
    odd = [s for s in repmap.spaces if s.key in shared or not any(each.count for each in units.get(s.key, ()))]
    if not odd:
        return {}
    chosen = FromWeights(graph, False)(repmap.spaces, repmap)  # of all: partners of one depend on those of others
    return {space.key: kept_whole(space, chosen[space.key][0]) for space in odd}


def _factors(repmap: RepMap) -> set[int]:
    """Unknowns that share an axis with another one."""
    outputs = [rep for reps in repmap.nodes.values() for rep in reps]
    shared: set[int] = set()
    for rep in (*repmap.leaves.values(), *outputs):
        axes = list(rep.axes) if rep is not None else []
        while axes:
            axis = axes.pop()
            unknowns = {var.id for term in axis if not hasattr(term, "parts") for var in variables([(term,)])}
            shared |= unknowns if len(unknowns) > 1 else set()
            axes += [part for term in axis for part in getattr(term, "parts", ())]
    return shared


# ---- weights into a network ------------------------------------------------------------------------------------------
def fitted(network: Ready, repmap: RepMap, design: Design, problem: Problem, method: str) -> Draft:
    """All weights by least squares, written into the original's class or into a graph of other sizes.

    Raises MethodUnavailableError where a layer cannot be fitted or run, AsymmetricConstantError where a constant is in
    the way.
    """
    # 1. The new sizes, and what cannot be done in them, before the long fit.
    graph, lifting = network.graph, Lifting(design.maps)
    resizing = Resizing(graph, repmap, lifting)
    smaller = resizing.graph()
    _check_constants(resizing, smaller, method)
    # 2. The fit.
    fitting = Fitting(graph, smaller, repmap, lifting, network.batches, network.target is Target.VIEWS)
    progress = problem.request.progress
    try:
        weights, layers = fitting.run(lambda share: progress("fitting layer by layer", share))
    except torch.linalg.LinAlgError as error:  # pyright: ignore[reportPrivateImportUsage]
        facts = "a layer cannot be fitted: on the inputs some of what it reads is not finite, or too large"
        raise MethodUnavailableError(f"--method {method}", facts, "look at them, or use --method average") from error
    except RuntimeError as error:  # a graph that was folded for the examples' sizes, run on others
        facts = f"the network as it was captured cannot be run on the inputs: {first_line(error)}"
        raise MethodUnavailableError(f"--method {method}", facts, "use --width 0.5, or --method average") from error
    # 3. Weights into a network, by their keys, of which tied ones have several.
    leaves = {leaf.name: leaf for leaf in graph.leaves.values() if leaf.name in weights}
    values = {key: weights[name] for name, leaf in leaves.items() for key in leaf.names}
    hidden = {key: lifting.representation(repmap.leaves[name]) for name, leaf in leaves.items() for key in leaf.names}
    original = network.original
    program: ExportedProgram | None
    if resizing.is_needed:
        module, program = _dense(network.network, resizing, values), None
    else:
        module, program = original.holding(original.restored(values))
    return Draft(
        module,
        program,
        WeightAction(hidden),
        method,
        "dense" if resizing.is_needed else "folded",
        design.choices,
        macs=replace(original, module=module).macs - original.macs if resizing.is_needed else 0,
        findings=(*original.findings, *network.findings),
        fitted=tuple(Fitted(leaves[each.weight].names[0], each.error, leaves[each.weight].where) for each in layers),
    )


def _dense(network: Network, resizing: Resizing, values: Weights) -> torch.nn.Module:
    """A graph of the original's ops with weights of other sizes.  values: by their keys.

    Raises MethodUnavailableError where the mirror is affine.
    """
    if network.resolved.is_affine or network.program is None:
        facts = "hidden spaces get other sizes here, and pixels (reflect) go with the original's only"
        raise MethodUnavailableError("--width", facts, "use --width 0.5, or --method match or average")
    module = functional(network.program, WHOLE).module(check_guards=False)
    assert isinstance(module, torch.fx.GraphModule)
    module.graph.eliminate_dead_code()
    resizing.apply(module, values)
    return module


def _check_constants(resizing: Resizing, graph: CapturedModel, method: str) -> None:
    """Raises AsymmetricConstantError where the mirror of the units that were chosen changes a constant."""
    representations = resizing.repmap.leaves
    for leaf in graph.leaves.values():
        if leaf.kind == "constant" and leaf.name in representations and leaf.name not in resizing.filled:
            changed = distance(leaf.tensor, resizing.lifting.representation(representations[leaf.name]))
            if changed > 0:
                facts = f"constant {leaf.names[0]} {leaf.shape} changes by {changed:.3g} under the mirror of the units"
                remedy = f"make it a trained parameter for --method {method}, or use --method average"
                raise AsymmetricConstantError(str(leaf.where), facts, remedy)


REDUCE = Method("reduce", drafts, is_fitted=True, takes_width=True, max_drift=MAX_DRIFT)
