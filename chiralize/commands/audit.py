"""`audit`: how lopsided a network, and the data it is used on, are now. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import ceil

from chiralize.errors import ChiralizeError, UsageError
from chiralize.graph.isolation import exclusive
from chiralize.graph.mirror import Mirror
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.cutting import check
from chiralize.problem.mirror import mirror_if_known, mirror_of, represent
from chiralize.problem.network import Network
from chiralize.report import AuditReport
from chiralize.verification.asymmetry import advise, asymmetry, data_asymmetry, layer_gaps, leanings
from chiralize.verification.asymmetry.layers import View
from chiralize.verification.asymmetry.records import LayerGap
from chiralize.verification.drift import random_inputs
from chiralize.verification.mirror_evidence import ask_network, outside_evidence

SAMPLES = 256


@exclusive
def audit(
    network: Network, name: str, data: Sequence[Call] = (), samples: int = SAMPLES, labels: Sequence[str] = ()
) -> AuditReport:
    """Gaps of every output, pair and layer; how far the data lean, if given; and whether to convert.

    samples: random ones, where no data are given.  labels: one per sample of the data.
    Raises UsageError where labels and data do not fit, NonFiniteError where the data are not finite.
    """
    if labels and not data:
        raise UsageError("--labels", "there are no data that they could belong to", "give --data as well")
    check(data, "data", differ=False)
    mirror = mirror_if_known(network, None)
    if mirror is None:
        mirror = mirror_of(network, represent(network, None)[0])
    inputs = data or random_inputs(network.args, network.kwargs, ceil(samples / network.rows), 1, network.around)
    resolved = network.resolved
    lean = leanings(mirror, data, resolved.input_tensors, labels) if data else ()
    found = asymmetry(network.module, mirror, inputs, resolved.output_tensors)
    asked = ask_network(network, data)
    evidence = outside_evidence(network, mirror, data, asked=asked)
    gaps = data_asymmetry(mirror, data) if data else ()
    layers, why = _layers(network, mirror, inputs)
    return AuditReport(
        name, found, "given data" if data else str(network.around), gaps, evidence,
        network.notes + why, layers, lean, advise(found, evidence, bool(data), gaps, lean[0] if lean else None),
    )  # fmt: skip


def _layers(network: Network, mirror: Mirror, inputs: Sequence[Call]) -> tuple[tuple[LayerGap, ...], tuple[str, ...]]:
    """Gaps by layer, or the reason why there are none."""
    try:
        captured = network.graph()
    except ChiralizeError as error:
        return (), (f"layers are not measured: there is no graph of the network ({error.facts})",)
    if any(leaf.tensor.any() for leaf in captured.states):
        return (), ("layers are not measured: the network starts from a state that is not 0",)
    shapes = [own.shape for own in network.resolved.input_tensors]
    views = _views(network, mirror, (call for call in inputs if _shapes(call) == shapes))
    gaps = layer_gaps(captured, views, network.rows)
    return gaps, () if gaps else ("layers are not measured: that takes 64 samples in the sizes of the example",)


def _shapes(call: Call) -> list[tuple[int, ...]]:
    return [tuple(own.shape) for own in Arguments.of(*call).tensors]


def _views(network: Network, mirror: Mirror, inputs: Iterable[Call]) -> Iterator[tuple[View, View]]:
    for call in inputs:
        yield (
            network.centered(Arguments.of(*call).tensors),
            network.centered(Arguments.of(*mirror.turned(call)).tensors),
        )
