"""`reduce`: hidden units of the trained network, each with its mirror image, and what reads them refitted.

`match` with inputs at hand is the same with all units, matched with each other.

`ways.reduce` and `ways.match` call `reduced` and `rematched`. The order of the steps, and who takes them:

    _ready         the network captured in the sizes of the batches, and what stands in the way of a fit
    moments        what every hidden unit does on x and on T x, and what the outputs make of it
    design         what becomes of every hidden space: which units stay, in pairs or as their own
    filling        all weights by least squares, in the original or in a graph of other sizes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from chiralize.errors import MethodUnavailableError, UnsupportedError
from chiralize.graph import rewrite
from chiralize.graph.copies import is_large
from chiralize.graph.running import Call
from chiralize.infer import macs_of
from chiralize.infer.records import RepMap
from chiralize.methods.reduce.choosing import MULTIPLICATIONS, UNITS
from chiralize.methods.reduce.design import Batches, matching, reductions
from chiralize.methods.reduce.filling import Ready, fitted, refuse_states
from chiralize.methods.reduce.joints_in_place import in_place, led_in_and_out, mixes_joints
from chiralize.methods.reduce.moments import Sensitivity, sensitivities
from chiralize.methods.reduce.orbits import orbit_reductions, with_images
from chiralize.methods.reduce.recurrent import separate, tied
from chiralize.methods.reduce.views_inside import doubled_inside, views_in_place
from chiralize.methods.within_minutes import how_long
from chiralize.problem.data.both_views import of_inputs
from chiralize.problem.data.cutting import in_rows, roomy, rows_of, tensors
from chiralize.problem.data.feeds import counted, mapped
from chiralize.problem.data.warping import pictures_of
from chiralize.problem.mirror import infer, with_tables
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Draft
from chiralize.problem.stateful import batches_along

ROWS = 64  # samples that are run at a time
_IN_PLACE = (
    "its layers mix joints: both views lie beside each other along the channels, between a map that leads in and one "
    "that leads out, and joints stay in place"
)
_PICTURES = 640  # to fit on before they are distilled on; more hardly bring the result nearer
ROOM = 128_000_000  # for the values of one batch, where several batches may be put together


def reduced(problem: Problem, width: float) -> Iterator[Draft]:
    """The network with `width` of its units, each with its mirror image; and, where that promises to be better, with
    more units for the same cost, some of them kept for their even part alone.

    Raises MethodUnavailableError where the network cannot be reduced, UnsupportedError where an op refuses.
    """
    # 1. Refusals, before minutes are spent on measuring.
    batches = problem.batches
    request = problem.request
    if not batches.inputs:
        raise MethodUnavailableError(
            "--method reduce",
            f"there are no inputs to fit on, and none can be drawn: {batches.origin}",
            "give --calibration inputs.npz: unlabelled inputs",
        )
    ready = _ready(problem, tables=True)
    if ready.obstacle is not None:
        where, facts = ready.obstacle
        refusal = MethodUnavailableError(
            f"--method reduce, {where}", f"this network cannot be reduced: {facts}", "use --method match or average"
        )
        refusal.settled = True
        raise refusal
    if not problem.network.others.earlier:  # several mirrors keep other numbers of units
        refuse_states(ready.in_batches, ready.repmap, width)
    # 2. Designs, which are made one by one as they are asked for. A mixture of pairs and fixed points may have as many
    # multiplications as pairs, and other sizes; where sizes must stay, it may have as many units.
    measured = _measured(problem, ready)
    has_own_sizes = request.form != "folded" and not request.keeps_sizes
    mixing = MULTIPLICATIONS if has_own_sizes else UNITS
    if problem.network.others.earlier:
        designs = orbit_reductions(ready.in_batches, ready.repmap, measured, width)
    else:
        if has_own_sizes and mixes_joints(ready.in_batches.graph(), ready.repmap):
            yield from _with_joints_in_place(problem, width)
        designs = reductions(ready.in_batches, ready.repmap, measured, width, mixing)
    # 3. The first is in pairs, and what stops it is the caller's to know; the second only might be better.
    yield fitted(ready, next(designs), problem, "reduce")
    for design in designs:
        try:
            draft = fitted(ready, design, problem, "reduce")
        except MethodUnavailableError:
            return  # of these sizes it cannot be; in pairs it could
        yield draft


def _with_joints_in_place(problem: Problem, width: float) -> Iterator[Draft]:
    """The network led into the basis in which no joint is moved, and out of it: at its inputs and outputs, else where
    its weights first read features. Nothing where neither is possible.
    """
    original = problem.network
    for leading, settling in ((led_in_and_out, in_place), (doubled_inside, views_in_place)):
        network = leading(original)
        if network is None:
            continue
        # an attempt beside the plain one: whatever refuses here, the plain one may do
        led_problem = replace(problem, network=network)
        try:
            led = _ready(led_problem, tables=True)
            settled = None if led.obstacle else settling(network, led.in_batches.graph(), led.repmap)
            if settled is None:
                continue
            led = replace(led, repmap=settled.repmap)
            measured = _measured(problem, led)
            designs = reductions(led.in_batches, led.repmap, measured, width, MULTIPLICATIONS, settled.maps)
            draft = fitted(led, next(designs), led_problem, "reduce")
        except (MethodUnavailableError, UnsupportedError):
            continue
        # `fitted` scales the macs of the network that it was given, which here has two maps more than the user's
        macs = draft.converted.macs + macs_of(network.graph()) - macs_of(original.graph())
        yield draft.with_record(macs=macs).with_notes(_IN_PLACE)
        return


@dataclass(frozen=True)
class _Units:
    """A network ready to be fitted, and what its units do, by hidden space."""

    ready: Ready
    moments: Mapping[int, Sequence[Sensitivity]]


def rematched(problem: Problem) -> Callable[[bool], Draft]:
    """All units, matched with each other by what they do, and the weights refitted: with fixed points or without.

    What units do is measured once for both drafts. Each raises MethodUnavailableError where they cannot be refitted,
    UnsupportedError where an op refuses.
    """
    return partial(_rematched, problem, cache(partial(_units, problem)))


def _units(problem: Problem) -> _Units:
    """The network ready to be fitted, with all of its units measured. Raises as `rematched` says."""
    network = problem.network
    ready = _ready(problem, tables=network.treatment.symmetrize)
    obstacle = ready.obstacle
    if is_large(network.module):
        obstacle = "the network", "it is too large"
    if network.resolved.spec.activation == "tanh" or ready.repmap.symmetrized:
        obstacle = "the network", "it is not the original any more: other activations or constants"
    if obstacle is not None:
        raise MethodUnavailableError(*obstacle, "leave --calibration out")
    return _Units(ready, sensitivities(ready.in_batches.graph(), ready.repmap, _measured(problem, ready)))


def _rematched(problem: Problem, measured: Callable[[], _Units], fixed_points: bool) -> Draft:
    """One of the drafts of `rematched`. measured: gives what units do, and does the work at the first call only."""
    units = measured()
    ready = units.ready
    design = matching(ready.in_batches, ready.repmap, units.moments, fixed_points, ready.tied)
    draft = fitted(ready, design, problem, "match")
    # Weights that no fit reaches are only averaged with their partners: how far that moved them goes into the record.
    concrete = {
        leaf.name: design.lifting.representation(design.repmap.leaves[leaf.name]) for leaf in design.captured.weights
    }
    moved = rewrite.symmetric_weights(design.captured, concrete, {})[1]
    known = {entry.name for entry in draft.converted.fitted}
    return draft.with_record(moved=tuple(entry for entry in moved if entry.name not in known))


def _measured(problem: Problem, ready: Ready) -> Batches:
    """The batches that units are measured on, which say how far that is, and how long the fit takes that begins so."""
    return counted(ready.batches, partial(problem.request.progress, f"measuring the hidden units{how_long(problem)}"))


def _ready(problem: Problem, tables: bool) -> Ready:
    """The network as the fits need it.

    tables: whether they count as weights. Kept units have their own entries in a table, while pairs would need averaged
    ones.
    """
    network = problem.network
    # `tied` compares the representations before and after layers of one state tensor are told apart
    large, batches = _batches(problem, tables)
    inference = infer(large)
    inference.check_constants()
    graph, repmap_as_found = large.graph(), inference.result()
    repmap = separate(graph, repmap_as_found)
    obstacle = _obstacle(replace(problem, network=large), repmap, inference.now.waiting)
    return Ready(network, large, repmap, batches, obstacle, tied(graph, repmap_as_found, repmap))


def _batches(problem: Problem, tables: bool) -> tuple[Network, Batches]:
    """The network captured in the sizes of the batches, and what both of its views read in each."""
    network, batches = problem.network, problem.batches
    if batches.sequences and network.carried:
        large = with_tables(network) if tables else network
        problem.request.progress("running both views along the sequences")
        return large, batches_along(large, batches.seen_sequences)
    calls = with_images(network, _enough(problem, in_rows(network, batches.fitted, ROWS, ROOM)))
    large = roomy(network, calls)
    if tables:
        large = with_tables(large)
    graph, mirror = large.graph(), large.resolved.inputs
    return large, mapped(lambda call: of_inputs(graph, large.centered(tensors(call)), mirror), calls)


def _enough(problem: Problem, calls: Sequence[Call]) -> Sequence[Call]:
    """Some of the calls, evenly spread, where pictures are distilled on afterwards: each has many places to fit on."""
    if not problem.request.distill or not pictures_of(problem.network.resolved):
        return calls
    return calls[:: -(-len(calls) * rows_of(calls[0]) // _PICTURES)]  # rounded up


def _obstacle(problem: Problem, repmap: RepMap, waiting: Mapping[str, str]) -> tuple[str, str] | None:
    """Where and why this method has no answer; None where nothing is in the way.

    waiting: ops of which inference knows no result, and what each waits for.
    """
    network = problem.network
    single = not problem.batches.sequences and bool(network.carried)
    reasons = {
        "it carries states from call to call, and the inputs to fit on are no sequences": single,
        "the mirror exchanges whole branches of it": bool(repmap.partners),
        "both views run through a stretch of it": bool(network.treatment.regions),
        "it has no hidden space": not repmap.spaces,
        next(iter(waiting.items()), ("", ""))[1]: bool(waiting),
    }
    return next(((next(iter(waiting), "the network"), reason) for reason, holds in reasons.items() if holds), None)
