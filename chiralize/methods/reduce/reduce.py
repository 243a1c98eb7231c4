"""`reduce`: hidden units of the trained network, each with its mirror image, and what reads them refitted.

`match` with inputs at hand is the same with all units, matched with each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch.export import ExportedProgram

from chiralize.errors import AsymmetricConstantError, MethodUnavailableError, first_line
from chiralize.graph import rewrite
from chiralize.graph.copies import is_large
from chiralize.graph.fixed_sizes import guarded
from chiralize.graph.model import CapturedModel
from chiralize.graph.tracing import dead_calls
from chiralize.infer import deviation, macs_of
from chiralize.infer.capture import functional
from chiralize.infer.records import RepMap
from chiralize.methods.reduce.choosing import MULTIPLICATIONS, UNITS
from chiralize.methods.reduce.design import Batches, Design, matching, reductions
from chiralize.methods.reduce.fitting import Fitting
from chiralize.methods.reduce.lifting import Lifting
from chiralize.methods.reduce.recurrent import separate, tied
from chiralize.methods.reduce.resizing import Resizing
from chiralize.nn.deploy.halving import plain_call
from chiralize.problem.data.both_views import of_inputs
from chiralize.problem.data.cutting import in_rows, roomy, tensors
from chiralize.problem.data.feeds import mapped
from chiralize.problem.mirror import infer, tables_of, with_tables
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft, Fitted
from chiralize.problem.stateful import batches_along, carried_of

ROWS = 64  # samples that are run at a time
ROOM = 128_000_000  # for the values of one batch, where several batches may be put together


@dataclass(frozen=True)
class _Ready:
    """A network captured in the sizes of the batches it is fitted on.

    original: as it was given.  obstacle: where and why it cannot be fitted.  tied: as `recurrent.tied` says.
    """

    original: Network
    in_batches: Network
    repmap: RepMap
    batches: Batches
    obstacle: tuple[str, str] | None
    tied: frozenset[int]


def reduced(problem: Problem, width: float) -> Iterator[Draft]:
    """The network with `width` of its units, each with its mirror image; and, where that promises to be better, with
    more units for the same cost, some of them kept for their even part alone.

    Raises MethodUnavailableError where the network cannot be reduced, UnsupportedError where an op refuses.
    """
    batches = problem.batches
    request = problem.request
    if not batches.inputs:
        raise MethodUnavailableError(
            "--method reduce", f"there are no inputs to fit on, and none can be drawn: {batches.origin}",
            "give --calibrate poses.npz: unlabelled inputs",
        )  # fmt: skip
    ready = _ready(problem, tables=True)
    if ready.obstacle is not None:
        where, facts = ready.obstacle
        refusal = MethodUnavailableError(
            f"--method reduce, {where}", f"this network cannot be reduced: {facts}", "use --method match or lift"
        )
        refusal.settled = True
        raise refusal
    request.progress("looking at what the units do")
    mixing = UNITS if request.form == "folded" or request.product == "weights" else MULTIPLICATIONS
    designs = reductions(ready.in_batches, ready.repmap, ready.batches, width, mixing)
    yield _fitted(ready, next(designs), problem, "reduce")
    for design in designs:
        try:
            found = _fitted(ready, design, problem, "reduce")
        except MethodUnavailableError:
            return  # of these sizes it cannot be; in pairs it could
        yield found


def rematched(problem: Problem, fixed_points: bool) -> Draft:
    """All units, matched with each other by what they do, and the weights refitted.

    Raises MethodUnavailableError where they cannot be, UnsupportedError where an op refuses.
    """
    network = problem.network
    ready = _ready(problem, tables=network.symmetrize)
    obstacle = ready.obstacle
    if is_large(network.module):
        obstacle = "the network", "it is too large"
    if network.resolved.spec.activation == "tanh" or ready.repmap.symmetrized:
        obstacle = "the network", "it is not the original any more: other activations or constants"
    if obstacle is not None:
        raise MethodUnavailableError(*obstacle, "leave --calibrate out")
    problem.request.progress("looking at what the units do")
    design = matching(ready.in_batches, ready.repmap, ready.batches, fixed_points, ready.tied)
    draft = _fitted(ready, design, problem, "match")
    concrete = {
        leaf.name: design.lifting.representation(design.repmap.leaves[leaf.name]) for leaf in design.captured.weights
    }
    moved = rewrite.symmetric_weights(design.captured, concrete, {})[1]
    known = {own.name for own in draft.converted.fitted}
    return draft.with_record(moved=tuple(own for own in moved if own.name not in known))


def _ready(problem: Problem, tables: bool) -> _Ready:
    """tables: they count as weights; kept units have the numbers that they had, paired ones do not."""
    network = problem.network
    large, batches = _batches(problem, tables)
    inference = infer(large)
    inference.check_constants()
    graph, found = large.graph(), inference.result()
    repmap = separate(graph, found)
    obstacle = _obstacle(replace(problem, network=large), repmap, inference.now.waiting)
    return _Ready(network, large, repmap, batches, obstacle, tied(graph, found, repmap))


def _batches(problem: Problem, tables: bool) -> tuple[Network, Batches]:
    """The network captured in the sizes of the batches, and what both of its views read in each."""
    network, batches = problem.network, problem.batches
    if batches.sequences and carried_of(network):
        large = with_tables(network) if tables else network
        problem.request.progress("running both views along the sequences")
        return large, batches_along(large, batches.seen_sequences)
    calls = in_rows(network, batches.fitted, ROWS, ROOM)
    large = roomy(network, calls)
    large = with_tables(large) if tables else large
    graph, mirror = large.graph(), large.resolved.inputs
    return large, mapped(lambda call: of_inputs(graph, large.centered(tensors(call)), mirror), calls)


def _fitted(ready: _Ready, design: Design, problem: Problem, method: str) -> Draft:
    """All weights by least squares, written into the original or into a graph of other sizes."""
    request = problem.request
    network, repmap = ready.original, design.repmap
    resizing = Resizing(design.captured, repmap, design.lifting)
    same = request.form != "dense" and not resizing.is_needed
    if request.form == "folded" and not same:
        facts = "reduced to this width, hidden spaces or heads have other sizes than the original's"
        raise MethodUnavailableError("--form folded", facts, "use --form dense, another --width, or --method match")
    smaller = resizing.graph()
    _check_states(ready.in_batches, repmap, design.lifting, method)
    _check_constants(smaller, repmap, design.lifting, method)
    fitting = Fitting(design.captured, smaller, repmap, design.lifting, ready.batches, design.given, problem.both_views)
    try:
        weights, layers = fitting.run(lambda done, count: request.progress(f"fitting layer {done} of {count}"))
    except RuntimeError as error:  # a graph that was folded for the examples' sizes, run on others
        facts = f"the network as it was captured cannot be run on the calibration inputs: {first_line(error)}"
        remedy = (
            "give examples of as many samples as a call has in use (two or more may leave the batch open); where they "
            "have, use --width 0.5, --method match or lift"
        )
        raise MethodUnavailableError(f"--method {method}", facts, remedy) from error
    leaves = design.captured.leaves
    held = {name: leaf for leaf in leaves.values() if leaf.name in weights for name in leaf.names}
    values = {name: weights[leaf.name] for name, leaf in held.items()}
    module, program = network.holding(network.restored(values)) if same else _dense(ready.in_batches, resizing, values)
    hidden = {name: design.lifting.representation(repmap.leaves[leaf.name]) for name, leaf in held.items()}
    new = weights.keys() - {leaf.name for leaf in network.graph().weights} if same else ()
    opened = [leaf for leaf in design.captured.weights if leaf.name in new]
    grown = macs_of(smaller) / max(macs_of(design.captured), 1) - 1
    result = Converted(
        module, method, "folded" if same else "dense", design.choices, hidden=hidden, notes=network.notes,
        macs=round(grown * macs_of(network.graph())),
        fitted=tuple(Fitted(leaves[own.weight].names[0], own.error, leaves[own.weight].where) for own in layers),
        moved=tuple(rewrite.moved(leaf, weights[leaf.name]) for leaf in opened),
        tables=tables_of(ready.in_batches, ready.repmap),
    )  # fmt: skip
    return Draft(result, program)


def _check_constants(graph: CapturedModel, repmap: RepMap, lifting: Lifting, method: str) -> None:
    """Raises AsymmetricConstantError where the mirror of the units that were chosen changes a constant."""
    for leaf in graph.leaves.values():
        if leaf.kind == "constant" and leaf.name in repmap.leaves:
            worst = deviation(leaf.tensor, lifting.representation(repmap.leaves[leaf.name]))
            if worst > 0:
                facts = f"constant {leaf.names[0]} {leaf.shape} changes by {worst:.3g} under the mirror of the units"
                remedy = f"--method {method} takes none into account: make it a trained parameter, or use --method lift"
                refusal = AsymmetricConstantError(str(leaf.where), facts, remedy)
                refusal.settled = False  # other units may be chosen at another width
                raise refusal


def _check_states(network: Network, repmap: RepMap, lifting: Lifting, method: str) -> None:
    """Raises MethodUnavailableError where states that are arguments would have other sizes: callers make them."""
    for name, own in zip(network.graph().inputs, network.resolved.input_tensors, strict=True):
        rep = repmap.leaves.get(name)
        shape = own.shape if rep is None else lifting.representation(rep).shape
        if shape != own.shape:
            facts = f"{own.where}, a state that callers pass, would have the shape {shape} in the place of {own.shape}"
            raise MethodUnavailableError(f"--method {method}", facts, "use --width 0.5, or --method match or lift")


def _obstacle(problem: Problem, repmap: RepMap, waiting: Mapping[str, str]) -> tuple[str, str] | None:
    """Where and why this method has no answer."""
    network = problem.network
    single = not problem.batches.sequences and bool(carried_of(network))
    reasons = {
        "it carries states from call to call, and the inputs to fit on are no sequences": single,
        "the mirror exchanges whole branches of it": bool(repmap.partners),
        "both views run through a stretch of it": bool(network.regions),
        "it has no hidden space": not repmap.spaces,
        next(iter(waiting.items()), ("", ""))[1]: bool(waiting),
    }
    return next(((next(iter(waiting), "the network"), reason) for reason, holds in reasons.items() if holds), None)


def _dense(
    network: Network, resizing: Resizing, values: Mapping[str, torch.Tensor]
) -> tuple[torch.nn.Module, ExportedProgram | None]:
    """A graph of the original's ops with weights of other sizes."""
    if network.resolved.is_affine:
        raise MethodUnavailableError(
            "--width", "pixels (reflect) go with width 0.5 only", "use --width 0.5 or --method lift"
        )
    assert network.program is not None
    program = functional(network.program)
    module = program.module(check_guards=False)
    assert isinstance(module, torch.fx.GraphModule)
    dead = dead_calls(module.graph)  # of sizes that nothing has looked at
    for node in reversed(list(module.graph.nodes)):
        if node.name in dead:
            module.graph.erase_node(node)
    resizing.apply(module, values)
    plain_call(module)
    return guarded(module, program, network.made), None
