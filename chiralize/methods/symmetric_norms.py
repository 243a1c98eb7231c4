"""One-sided normalisers made symmetric before any method looks at a network, and what the report says of them.

Every method but the average begins here (`replaced_parts`, `ways.reduce`). A normaliser (x - m) / s of inputs that lean
to one side has m_left != m_right. Its mean over both sides takes its place, and the next weights take the difference
up, so that the network computes what it did (decision 0017; `graph.passes.norms` does it). Where an op in between does
not let that through, the normaliser stays as it is, and a note says which op, and how much is at stake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from chiralize.errors import UnsupportedError
from chiralize.errors.words import listed, when
from chiralize.graph.model import CapturedModel
from chiralize.graph.passes.norms import Absorbed, Blocked, absorb
from chiralize.infer.capture import capture
from chiralize.infer.records import RepMap
from chiralize.infer.registry import traits
from chiralize.methods import averaging
from chiralize.methods.statistics import refuse_statistics
from chiralize.problem.mirror import infer
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.symmetry.symbolic import evaluate, is_known

_FAR, _FELT = 0.01, 1e-4
"""Share by which statistics differ from their mirror image that is worth a note; and a change that reaches an op."""
_IN_THE_FIT = "The fit makes up for that as far as it can; statistics of inputs and of their mirror images need it not"
_TO_DO = (
    "Keep statistics of inputs and of their mirror images together, or convert with what fits them anew (--calibration "
    "with --method match or reduce, --distill), or with --method average"
)
_MOST_NAMES = 4


def normalised(problem: Problem, method: str = "a single pass") -> Network:
    """The same network with symmetric normalisers, as far as weights can make up for it; notes say what was done.

    The network itself where there is nothing to do, or where an op has no rule. Raises AsymmetricConstantError where
    statistics are to be kept that the method would have to change.
    """
    network, request = problem.network, problem.request
    if network.captured is None:
        return network
    # 1. What is known without any choice. Stretches that will run on both views are taken as one op, one refusal after
    # the other; where even then an op has no rule, the method itself will refuse, and says it better.
    probe = network
    while True:
        try:
            repmap = _known(problem, probe)
            break
        except UnsupportedError as error:
            if request.on_blocked != "average":
                return network
            try:
                probe = averaging.with_region(probe, error)
            except UnsupportedError:
                return network
    # 2. Normalisers whose mirror is known, and not exchanged with another one's: those the projection averages.
    captured = probe.graph()
    known = {
        name: evaluate(rep, {})
        for name, rep in repmap.leaves.items()
        if name not in repmap.partners and all(map(is_known, rep.axes))
    }
    absorbed = absorb(captured, known, traits())
    if request.keep_statistics:
        _refuse_one_sided(captured, absorbed, method)
    notes = (*network.notes, *_notes(captured, absorbed), *_remarks(absorbed, method))
    if not absorbed.values:
        return replace(network, notes=notes)
    return replace(_holding(network, captured, absorbed), notes=notes)


def _known(problem: Problem, network: Network) -> RepMap:
    """What inference knows of a network before anything is chosen. Raises UnsupportedError where an op refuses."""
    inferred = problem.inferred
    if inferred is None or inferred.network is not network:
        return infer(network).result()
    return inferred.known()


def _refuse_one_sided(captured: CapturedModel, absorbed: Absorbed, method: str) -> None:
    """Raises AsymmetricConstantError for normalisers that are not symmetric."""
    one_sided = [(captured.leaves[name], share) for name, share in absorbed.moved.items()]
    one_sided += [(blocked.leaf, blocked.moved) for blocked in absorbed.blocked if blocked.leaf.kind == "statistic"]
    distances = {leaf.names[0]: share for leaf, share in one_sided if leaf.kind != "parameter"}
    if distances:
        where = next(str(leaf.where) for leaf, _ in one_sided if leaf.kind != "parameter")
        refuse_statistics(distances, method, where)


def _holding(network: Network, captured: CapturedModel, absorbed: Absorbed) -> Network:
    """The network with other tensors in its module, its program and its graph."""
    # In pixels graphs are seen from the centre: all their weights go back through `restored`, not just those changed.
    leaves = captured.leaves
    held = {
        name: leaf.tensor.detach() for name, leaf in leaves.items() if leaf.is_weight and network.resolved.is_affine
    }
    held |= absorbed.values  # pixels: the centred network's weights determine the network's own
    by_name: Mapping[str, Tensor] = {
        name_in_model: tensor for name, tensor in held.items() for name_in_model in leaves[name].names
    }
    values = network.restored(by_name)
    module, program = network.holding(values)
    graph = network.captured
    if program is not None and graph is not None:
        graph = capture(program, network.args, network.kwargs, graph.notes)
    return replace(network, module=module, program=program, captured=graph)


def _notes(captured: CapturedModel, absorbed: Absorbed) -> tuple[str, ...]:
    """A note on what was made symmetric and what makes up for it; none where nothing was."""
    if not absorbed.moved:
        return ()
    moved = [f"{captured.leaves[name].names[0]} ({share:.2g})" for name, share in absorbed.moved.items()]
    takers = [captured.leaves[name].names[0] for name in absorbed.takers]
    return (
        f"one-sided normaliser made symmetric: {', '.join(moved)}; {listed(takers, _MOST_NAMES)} make up for it, so "
        "that the network computes what it did",
    )


def _remarks(absorbed: Absorbed, method: str) -> tuple[str, ...]:
    """Notes on statistics that stay one-sided, one for every op that blocks the change."""
    at: dict[str, list[Blocked]] = {}
    for blocked in absorbed.blocked:
        if blocked.leaf.kind == "statistic" and blocked.moved > _FAR:
            at.setdefault(blocked.at.name if blocked.at is not None else "", []).append(blocked)
    return tuple(_remark(blocked, method) for blocked in at.values())


def _remark(blocked: list[Blocked], method: str) -> str:
    """The note on statistics that one op blocks."""
    at, shift, (low, high) = blocked[0].at, blocked[0].shift, blocked[0].scales
    behind = f"{at.target} at {at.where}" if at is not None else "the network's result"
    names = listed([f"{entry.leaf.names[0]} ({entry.moved:.2g})" for entry in blocked], _MOST_NAMES)
    is_felt = max(shift, 1 - low, high - 1) > _FELT
    moved = f", and what reaches it is shifted by up to {shift:.2g} and scaled by {low:.2g} to {high:.2g}"
    return (
        f"one-sided normaliser: {names}; {behind} keeps the weights from making up for a symmetric one"
        + f"{when(is_felt, moved)}. "
        + (_IN_THE_FIT if method == "reduce" else _TO_DO)
    )
