"""`plan`: what a conversion would do, op by op, without doing it.

Inference runs as for a conversion, hidden spaces included; no weight is changed, and no inputs are needed. Where they
are given, hidden units are paired by what they do on them, as a conversion pairs them. A row holds an op, its
representations before and after, what would happen to it, and how far its weights are from symmetric ones:

    layers_bn.0   batch_norm   [1 | 27 pairs + 202 fixed | trivial 19]   the same   project weights   8.2 %

Where an op refuses it is named in `blocked`, and the rows are without representations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chiralize.commands.naming_widths import with_widths
from chiralize.errors import ChiralizeError, UnsupportedError
from chiralize.errors.words import when
from chiralize.graph.isolation import exclusive
from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.graph.rollouts import Steps
from chiralize.graph.running import Call
from chiralize.infer.records import Choice, RepMap
from chiralize.methods import averaging
from chiralize.methods.registry import method_of
from chiralize.problem.constant import ConstantAnswers
from chiralize.problem.mirror import analyse, free_parameters, infer, is_computed, tables_of
from chiralize.problem.network import Network
from chiralize.problem.problem import Method, Problem
from chiralize.problem.readings.remark import reading_first
from chiralize.problem.request import Request
from chiralize.problem.several import refuse_unsuited, under_each
from chiralize.report import Cost, PlanReport, PlanRow
from chiralize.symmetry import reynolds
from chiralize.symmetry.symbolic import SymbolicRepresentation, describe, evaluate
from chiralize.verification.evidence import IDLE

UNKNOWN = "?"
"""Stands for a representation that inference did not reach."""
_MOST_STRETCHES = 12
"""Stretches that are looked for, which takes an inference each: nearest neighbours in every layer are 60."""


@dataclass(frozen=True)
class _Analysis:
    """The answer of inference. refusal: the op that stops it, None where none does."""

    captured: CapturedModel
    repmap: RepMap | None = None
    choices: tuple[Choice, ...] = ()
    refusal: UnsupportedError | None = None


@exclusive
def plan(
    network: Network,
    name: str,
    method_name: str = "match",
    calibration: Sequence[Call] = (),
    sequences: Sequence[Steps] = (),
) -> PlanReport:
    """Every op with its representations, what would happen to it, and what stands in the way.

    calibration, sequences: inputs as a conversion gets them, by which hidden units are paired.
    `auto` is planned as the average that it falls back to, `reduce` at width 1/2 and before it chooses units.
    """
    # Any mirror fits answers that are always the same. The ops can be planned all the same, and the report warns.
    if network.behaviour.constant.is_all:
        plain = replace(network, behaviour=replace(network.behaviour, constant=ConstantAnswers()))
        report = plan(plain, name, method_name, calibration, sequences)
        return replace(report, constant=network.behaviour.constant.facts)
    if network.others.further:
        return _under_each(network, name, method_name, calibration, sequences)
    method = method_of(method_name)
    if network.captured is None:
        return _without_graph(network, name, method)
    is_average = method.averages == "whole"
    request = Request(method.name, calibration=calibration, sequences=sequences)
    problem = Problem.of(network, request, method)
    analysis = _analysed(problem, network.captured)
    refusal, repmap = analysis.refusal, analysis.repmap
    notes: list[str] = []
    if network.resolved.is_trivial:
        notes.append(IDLE)
    notes += network.notes
    # A refusal of one pass does not stop an average. Random numbers do: two runs that draw are no two views of one
    # answer.
    if is_average and refusal is not None and not analysis.captured.drawing:
        notes.append(f"one pass cannot do it, so that both views run: {refusal.where}: {refusal.facts}")
        refusal = None
    # Picking one of several results is no op of the user.
    nodes = [node for node in analysis.captured.nodes if node.target != "getitem"]
    rows = tuple(_row(node, analysis.captured, repmap, refusal, method) for node in nodes)
    before = network.parameter_count
    macs = sum(repmap.macs.values()) if repmap else 0
    cost = Cost(before, before, macs, 2 * macs if is_average else macs, samples=network.rows)
    # `--on-blocked average` is looked at without being asked for: it may be what the user wants next.
    if method.averages == "part":
        notes += _averaging(problem, refusal)
    if method.takes_width and not is_average:
        notes.append("planned at width 0.5; which units stay, and their weights, come from inputs (--calibration)")
    if not is_average and repmap is not None:
        after = free_parameters(analysis.captured, repmap)
        share = after / max(before, 1)
        notes.append(f"free parameters after: {after:,} ({share:.1%}); folded weights keep their shapes")
        notes += _unpaired(tables_of(network, repmap))
    blocked = (str(refusal),) if refusal else ()
    return PlanReport(name, rows, cost, analysis.choices, blocked, reading_first(notes))


def _under_each(
    network: Network, name: str, method_name: str, calibration: Sequence[Call], sequences: Sequence[Steps]
) -> PlanReport:
    """The plan for the first of several mirrors, with what stands in the way of each."""
    refuse_unsuited(network)
    plans: dict[str, PlanReport] = {}
    for mirror, under in under_each(network).items():
        plans[mirror] = plan(under, name, method_name, calibration, sequences)
    first, whole = next(iter(plans.items()))
    blocked = tuple(f"under {mirror}: {text}" for mirror, each in plans.items() for text in each.blocked)
    notes = [f"ops and choices as for the mirror {first}; choices for the others have to commute with them"]
    notes += [f"under {mirror}: {note}" for mirror, each in plans.items() for note in each.notes]
    if method_of(method_name).averages == "whole":
        cost = replace(whole.cost, macs_after=2 ** len(plans) * whole.cost.macs_before)
        whole = replace(whole, cost=cost)
    return replace(whole, blocked=blocked, notes=tuple(notes))


def _without_graph(network: Network, name: str, method: Method) -> PlanReport:
    """The plan of a network that could not be captured: only both views of it can run."""
    assert network.origin.problem is not None
    count = network.parameter_count
    report = PlanReport(name, (), Cost(count, count), notes=network.notes)
    if method.averages == "whole":
        note = f"both views run, without a graph: {network.origin.problem.where}: {network.origin.problem.facts}"
        return replace(report, notes=(*network.notes, note))
    return replace(report, blocked=(f"{network.origin.problem}", "only --method average is left: it needs no graph"))


def _analysed(problem: Problem, captured: CapturedModel) -> _Analysis:
    """Representations of all tensors, hidden spaces included; or the refusal of an op."""
    network, pairing = problem.network, problem.method.pairing
    try:
        captured = network.graph()
        if pairing is None:
            return _Analysis(captured, infer(network).result())
        return _Analysis(captured, *analyse(network, pairing(problem)))
    except UnsupportedError as error:
        return _Analysis(captured, refusal=with_widths(network, error))


def _unpaired(tables: Sequence[str]) -> Sequence[str]:
    """A note on the tables that change under every pairing of their channels, if there are any."""
    if not tables:
        return ()
    stored = when(not all(map(is_computed, tables)), "--symmetrize-constants, or ")
    return (
        f"no pairing for the channels of {', '.join(tables)}; if left and right get lost: {stored}reduce or average",
    )


def _averaging(problem: Problem, error: UnsupportedError | None) -> tuple[str, ...]:
    """Notes on the parts that `--on-blocked average` would run on both views, and their share of the arithmetic.

    error: the refusal of the first op. Each turn averages the stretch around one op, until no op refuses, or there are
    too many.
    """
    network, pairing = problem.network, problem.method.pairing
    assert network.captured is not None and pairing is not None
    if error is None or network.captured.drawing:  # random numbers stop the average as they stop average
        return ()
    # Each refusal widens what is averaged by one stretch, until inference takes the rest.
    for _ in range(_MOST_STRETCHES):
        try:
            network = averaging.with_region(network, error)
        except UnsupportedError:
            return ("this part cannot be averaged alone: in place of --on-blocked average, take --method average",)
        try:
            analyse(network, pairing(replace(problem, network=network)))
            return tuple(f"with --on-blocked average: {text}" for text in averaging.shares(network))
        except UnsupportedError as next_error:
            error = next_error
    return (
        f"with --on-blocked average: more than {_MOST_STRETCHES} stretches on both views, which were not looked for "
        "any further; --method average runs the whole network on both",
    )


def _row(
    node: Node, captured: CapturedModel, repmap: RepMap | None, blocked: ChiralizeError | None, method: Method
) -> PlanRow:
    """The row of an op. blocked: the error of the op that refuses, None where none does."""
    data, weights = _arguments(node, captured)
    before, after = [UNKNOWN] * len(data), list[str]()
    # Where inference stopped, representations are not known, and the row says so by `?`.
    if repmap is not None:
        before = [_words(_representation(name, repmap), repmap.names) for name in data]
        after = [_words(output, repmap.names) for output in repmap.nodes.get(node.name, ()) if output]
    distance: float | None = None
    if method.keeps_units:
        distance = _distance(weights, captured, repmap)
    action = "keep"
    # The op that refuses is known by where it is in the user's code, as the error says it.
    if blocked is not None and blocked.where == str(node.where):
        action = "refuse"
    elif method.averages == "whole":
        action = "keep, run on both views"
    elif weights:
        action = method.on_weights
    op = node.target.removeprefix("aten.")
    return PlanRow(node.where.module, op, ", ".join(before), ", ".join(after), action, distance, node.where)


def _arguments(node: Node, captured: CapturedModel) -> tuple[list[str], list[str]]:
    """Names of the data and of the weights that an op reads."""
    data: list[str] = []
    weights: list[str] = []
    for value in node.arguments.values():
        refs = value if isinstance(value, (list, tuple)) else [value]
        for ref in refs:
            if isinstance(ref, Ref):
                leaf = captured.leaves.get(ref.name)
                names = weights if leaf is not None and leaf.is_weight else data
                names.append(ref.name)
    return data, weights


def _representation(name: str, repmap: RepMap) -> SymbolicRepresentation | None:
    """The representation of a leaf, or of the first output of a node; None where it is not known."""
    if name in repmap.leaves:
        return repmap.leaves[name]
    outputs = repmap.nodes.get(name, ())
    if not outputs:
        return None
    return outputs[0]


def _words(representation: SymbolicRepresentation | None, names: Mapping[int, str]) -> str:
    """`-[batch | joints]`: the axes in words, the sign before them."""
    if representation is None:
        return UNKNOWN
    sign = "-" if representation.sign < 0 else ""
    axes = " | ".join(describe(axis, names) for axis in representation.axes)
    return f"{sign}[{axes}]"


def _distance(weights: list[str], captured: CapturedModel, repmap: RepMap | None) -> float | None:
    """Relative distance of an op's weights from the symmetric subspace, all of them taken together.

    |W - P(W)| / |W| with P(W) = (W + T W) / 2. Weights that the mirror exchanges (forward and backward of an LSTM) are
    projected with their partner. None for an op without weights, or before representations are known.
    """
    if repmap is None or not weights:
        return None
    moved = total = 0.0
    for name in weights:
        tensor: Any = captured.leaves[name].tensor.detach().double()
        partner: Any = captured.leaves[repmap.partners.get(name, name)].tensor.detach().double()
        moved += float((tensor - reynolds.project(tensor, evaluate(repmap.leaves[name], {}), partner)).square().sum())
        total += float(tensor.square().sum())
    return (moved / total) ** 0.5 if total else 0.0
