"""`audit`: how large a network's gap is, and how far the data it is used on lean. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

from chiralize.commands.one_sided import may_be_policy, recalled, saw_one_side
from chiralize.errors import ChiralizeError, UsageError
from chiralize.graph.isolation import exclusive
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.rollouts import Steps
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.cutting import check, thinned
from chiralize.problem.mirror import mirror_if_known, mirror_of, represent
from chiralize.problem.network import Network
from chiralize.problem.progress import Progress, silent
from chiralize.problem.several import refuse_several
from chiralize.problem.stateful import mirror_of_calls
from chiralize.report import AuditReport
from chiralize.report.body import bodies_of
from chiralize.report.cautions import WARNING
from chiralize.report.distance import GIVEN_NOISE
from chiralize.verification.asymmetry import advise, asymmetry, asymmetry_along, data_asymmetry, layer_gaps, leanings
from chiralize.verification.asymmetry.advice import of_single_calls
from chiralize.verification.asymmetry.alignment import UNMEASURED, alignments, has_maps
from chiralize.verification.asymmetry.layers import View
from chiralize.verification.asymmetry.records import LayerGap
from chiralize.verification.drift import random_inputs
from chiralize.verification.evidence.noise import looks_real
from chiralize.verification.mirror_evidence import ask_network, outside_evidence
from chiralize.verification.verdicts import Evidence

SAMPLES = 256
_NOT_ASKED = f"the network was not asked whether T is its mirror: {GIVEN_NOISE}, which tell nothing of it"
_TELLS_LITTLE = "what is measured on them says little of the inputs in use, and nothing of the mirror"


@exclusive
def audit(
    network: Network,
    name: str,
    data: Sequence[Call] = (),
    samples: int = SAMPLES,
    labels: Sequence[str] = (),
    progress: Progress = silent,
    sequences: Sequence[Steps] = (),
) -> AuditReport:
    """How asymmetric every output, pair and layer is; how far the data lean, if given; and whether to convert.

    samples: how many random ones to take where no data are given.  labels: one per sample of the data.
    sequences: the data as sequences, along which a network that carries states is measured.
    Raises UsageError where labels and data do not fit, NonFiniteError where the data are not finite.
    """
    refuse_several(network)
    if labels and not data:
        raise UsageError("--labels", "there are no data that they could belong to", "give --calibration as well")
    check(data, differ=False)
    mirror = mirror_if_known(network, None)
    if mirror is None:
        mirror = mirror_of(network, represent(network, None)[0])
    inputs, source = data, "given data"
    if not data:
        calls = ceil(samples / network.rows)
        inputs, source = random_inputs(network.args, network.kwargs, calls, 1, network.around), str(network.around)
    resolved = network.resolved
    progress("running the network on both views")
    carried = network.carried
    along = sequences if carried else ()
    if along:
        of_calls, source = mirror_of_calls(network), f"{source}, along sequences"
        of_network = asymmetry_along(network.module, of_calls, along, carried, resolved.output_tensors)
    else:
        of_network = asymmetry(network.module, mirror, inputs, resolved.output_tensors)
    progress("checking the mirror against the network")
    is_drawn = bool(data) and not looks_real(thinned(data, samples))
    asked = Evidence(notes=(_NOT_ASKED,)) if is_drawn else ask_network(network, data, along)
    evidence = outside_evidence(network, mirror, data, asked=asked)
    against = evidence
    if asked.fit is not None and not asked.fit.real:  # what answers to random inputs speak against may be right
        against = outside_evidence(network, mirror, data)
    progress("looking at every layer")
    layers, notes = _layers(network, mirror, inputs)
    report = AuditReport(name, of_network, source, (), evidence, network.notes + notes, layers)
    report = replace(report, bodies=bodies_of(resolved.output_tensors))
    remembered = recalled(network)
    if remembered.is_one_sided:
        report = replace(report, notes=(*report.notes, saw_one_side(remembered)))
    if not data:
        if has_maps(resolved):
            report = replace(report, notes=(*report.notes, UNMEASURED))
        advice = of_single_calls(of_network) if carried.keeps_state else advise(of_network, against, False)
        return replace(report, advice=advice)
    if is_drawn:
        report = replace(report, notes=(*report.notes, f"{WARNING}{GIVEN_NOISE}: {_TELLS_LITTLE}"))
    lean = leanings(mirror, data, resolved.input_tensors, labels)
    progress("looking how far turned maps are off")
    aligned = alignments(network.module, mirror, inputs, resolved, network.captured)
    of_data = data_asymmetry(mirror, data)
    side = lean[0] if lean and not is_drawn else None
    advice = advise(of_network, against, not is_drawn, of_data, side, may_be_policy(network))
    advice = of_single_calls(of_network) if carried.keeps_state and not along else advice
    return replace(report, data=of_data, leanings=lean, advice=advice, alignments=aligned)


def _layers(
    network: Network, mirror: NetworkMirror, inputs: Sequence[Call]
) -> tuple[tuple[LayerGap, ...], tuple[str, ...]]:
    """Gaps by layer; or none, and a note on the reason."""
    try:
        captured = network.graph()
    except ChiralizeError as error:
        return (), (f"layers are not measured: there is no graph of the network ({error.facts})",)
    if any(leaf.tensor.any() for leaf in captured.states):
        return (), ("layers are not measured: the network starts from a state that is not 0",)
    gaps = layer_gaps(captured, _both_views(network, mirror, inputs), network.rows)
    if not gaps:
        return (), ("layers are not measured: that takes 64 samples in the sizes of the example",)
    return gaps, ()


def _both_views(network: Network, mirror: NetworkMirror, inputs: Sequence[Call]) -> Iterator[tuple[View, View]]:
    """The tensors of every call in the sizes of the example, and those of its mirror image."""
    shapes = [tensor.shape for tensor in network.resolved.input_tensors]
    for call in inputs:
        tensors = Arguments.of(*call).tensors
        if [tuple(tensor.shape) for tensor in tensors] == shapes:
            yield network.centered(tensors), network.centered(Arguments.of(*mirror.turned(call)).tensors)
