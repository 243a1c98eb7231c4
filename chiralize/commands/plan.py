"""`plan`: what a conversion would do, op by op, without doing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chiralize.errors import ChiralizeError, UnsupportedError
from chiralize.graph.isolation import exclusive
from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.infer.records import Choice, RepMap
from chiralize.methods import averaging
from chiralize.methods.registry import method_of
from chiralize.problem.mirror import analyse, free_parameters, infer, is_computed, tables_of
from chiralize.problem.network import Network
from chiralize.problem.problem import Method
from chiralize.report import Cost, PlanReport, PlanRow
from chiralize.symmetry import reynolds
from chiralize.symmetry.symbolic import SymbolicRepresentation, describe, evaluate
from chiralize.verification.evidence import IDLE


@exclusive
def plan(network: Network, name: str, method_name: str = "match") -> PlanReport:
    """Every op with its representations, what would happen to it, and what stands in the way.

    `auto` is planned as the lift that it falls back to, `reduce` at width 1/2 and before it chooses units.
    """
    method = method_of(method_name)
    captured, lifted = network.captured, method.runs_both_views
    count = sum(parameter.numel() for parameter in network.module.parameters())
    if captured is None:
        assert network.problem is not None
        cost = Cost(count, count)
        if lifted:
            note = f"both views run, without a graph: {network.problem.where}: {network.problem.facts}"
            return PlanReport(name, (), cost, notes=(*network.notes, note))
        blocked = (f"{network.problem}", "only --method lift is left: it needs no graph")
        return PlanReport(name, (), cost, blocked=blocked, notes=network.notes)
    choices: tuple[Choice, ...] = ()
    blocked_by: UnsupportedError | None = None
    repmap: RepMap | None = None
    try:
        captured = network.graph()
        if method.pairing is None:
            repmap = infer(network).result()
        else:
            repmap, choices = analyse(network, method.pairing(network))
    except UnsupportedError as error:
        blocked_by = error
    notes = ((IDLE,) if network.resolved.is_trivial else ()) + network.notes
    if lifted and blocked_by is not None and not captured.drawing:
        notes += (f"one pass cannot do it, so that both views run: {blocked_by.where}: {blocked_by.facts}",)
        blocked_by = None
    rows = tuple(
        _row(node, captured, repmap, blocked_by, method) for node in captured.nodes if node.target != "getitem"
    )
    macs = sum(repmap.macs.values()) if repmap else 0
    after = count if lifted or repmap is None else free_parameters(captured, repmap)
    cost = Cost(count, count, macs, 2 * macs if lifted else macs)
    notes += _averaging(network, method, blocked_by) if method.averages else ()
    if method.takes_width and not lifted:
        notes += ("planned at width 0.5; which units stay, and their weights, come from inputs (--calibrate)",)
    if not lifted and repmap is not None:
        notes += (f"free parameters after: {after:,} ({after / max(count, 1):.1%}); folded weights keep their shapes",)
    if not lifted and repmap is not None and (tables := tables_of(network, repmap)):
        stored = "" if all(map(is_computed, tables)) else "--symmetrize-constants, or "
        notes += (
            f"no pairing for the channels of {', '.join(tables)}; if left and right get lost: {stored}reduce or lift",
        )
    return PlanReport(name, rows, cost, choices, (str(blocked_by),) if blocked_by else (), notes)


def _averaging(network: Network, method: Method, error: UnsupportedError | None) -> tuple[str, ...]:
    """What `--on-blocked average` would run on both views, and how much of the arithmetic that is."""
    assert network.captured is not None and method.pairing is not None
    if network.captured.drawing:  # nor does lift
        return ()
    blocked = error is not None
    while error is not None:
        try:
            network = averaging.with_region(network, error)
        except UnsupportedError:
            return ("--on-blocked average does not help here: lift is left",)
        try:
            analyse(network, method.pairing(network))
            error = None
        except UnsupportedError as other:
            error = other
    return tuple(f"with --on-blocked average: {text}" for text in averaging.shares(network)) if blocked else ()


def _row(
    node: Node, captured: CapturedModel, repmap: RepMap | None, blocked: ChiralizeError | None, method: Method
) -> PlanRow:
    names: Mapping[int, str] = repmap.names if repmap else {}
    data, weights = _arguments(node, captured)
    before = ", ".join(_words(_rep(name, repmap), names) for name in data)
    after = ", ".join(_words(rep, names) for rep in (repmap.nodes.get(node.name, ()) if repmap else ()) if rep)
    stuck = blocked is not None and blocked.where == str(node.where)
    distance = _distance(weights, captured, repmap) if method.keeps_units else None
    if stuck:
        action = "refuse"
    elif method.runs_both_views:
        action = "keep, run on both views"
    else:
        action = method.on_weights if weights else "keep"
    return PlanRow(node.where.module, node.target.removeprefix("aten."), before, after, action, distance, node.where)


def _arguments(node: Node, captured: CapturedModel) -> tuple[list[str], list[str]]:
    """Names of the data and of the weights that an op reads."""
    data: list[str] = []
    weights: list[str] = []
    for value in node.arguments.values():
        for ref in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(ref, Ref):
                leaf = captured.leaves.get(ref.name)
                (weights if leaf is not None and leaf.is_weight else data).append(ref.name)
    return data, weights


def _rep(name: str, repmap: RepMap | None) -> SymbolicRepresentation | None:
    if repmap is None:
        return None
    return repmap.leaves[name] if name in repmap.leaves else next(iter(repmap.nodes.get(name, ())), None)


def _words(rep: SymbolicRepresentation | None, names: Mapping[int, str]) -> str:
    if rep is None:
        return "?"
    axes = [describe(axis, names) for axis in rep.axes]
    return ("-" if rep.sign < 0 else "") + "[" + " | ".join(axes) + "]"


def _distance(weights: list[str], captured: CapturedModel, repmap: RepMap | None) -> float | None:
    """Relative distance of an op's weights from the symmetric subspace, all of them taken together."""
    if repmap is None or not weights:
        return None
    moved = total = 0.0
    for name in weights:
        tensor: Any = captured.leaves[name].tensor.detach().double()
        partner: Any = captured.leaves[repmap.partners.get(name, name)].tensor.detach().double()
        moved += float((tensor - reynolds.project(tensor, evaluate(repmap.leaves[name], {}), partner)).square().sum())
        total += float(tensor.square().sum())
    return (moved / total) ** 0.5 if total else 0.0
