"""`audit`: how large a network's gap is, and how far the data it is used on lean. Nothing is changed.

    gap = |f(x) - T f(T x)| in spreads of f(x)        by output, by pair of joints, by layer
    lean                                              how well samples can be told from their mirror images, 0.5 to 1

Both views of the network are run on the given data, or on random inputs where there are none. Data that look like
noise are run as well, but of these nothing is concluded about the mirror, nor about one-sided data. From the figures
`verification.asymmetry.advise` says whether to convert; what `auto` would do about a gap as wide is in its remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

from chiralize.commands.one_sided import even_remark, gap_and_bound, may_act, recalled, saw_one_side
from chiralize.errors import ChiralizeError, UsageError
from chiralize.graph.isolation import exclusive
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.rollouts import Steps
from chiralize.graph.running import Arguments, Call
from chiralize.problem.constant_answers import asked_again, refuse_constant
from chiralize.problem.cost import affordable_samples
from chiralize.problem.data.cutting import check, even, thinned
from chiralize.problem.data.foreign import questioned_unit
from chiralize.problem.data.missing_joints import missing_remarks
from chiralize.problem.data.standardised import standardised_remarks
from chiralize.problem.mirror import mirror_if_known, mirror_of, represent
from chiralize.problem.network import Network
from chiralize.problem.progress import Progress, silent
from chiralize.problem.several import refuse_several
from chiralize.problem.stateful import mirror_of_calls
from chiralize.report import AuditReport
from chiralize.report.body import bodies_of
from chiralize.report.cautions import WARNING
from chiralize.report.distance import GIVEN_NOISE
from chiralize.report.records import GIVEN_DATA
from chiralize.verification.asymmetry import advise, asymmetry, asymmetry_along, data_asymmetry, layer_gaps, leanings
from chiralize.verification.asymmetry.advice import of_single_calls
from chiralize.verification.asymmetry.alignment import UNMEASURED, alignments, has_maps
from chiralize.verification.asymmetry.layers import View
from chiralize.verification.asymmetry.records import Advice, Asymmetry, LayerGap
from chiralize.verification.drift import random_inputs
from chiralize.verification.evidence import joined
from chiralize.verification.evidence.noise import looks_real
from chiralize.verification.evidence.off_center import off_center
from chiralize.verification.evidence.one_class import one_class_first
from chiralize.verification.mirror_evidence import ask_network, outside_evidence
from chiralize.verification.verdicts import Evidence
from chiralize.verification.wrong_mirror import inputs_to_check

SAMPLES, LEAST = 256, 64
"""Random samples where no inputs are given; and how many are run whatever they cost: fewer tell nothing of layers."""
WORK = 2e11
"""Multiplications that a look at both views may cost, above so many samples."""
_NOT_ASKED = f"the network was not asked whether T is its mirror: {GIVEN_NOISE}, which tell nothing of it"
_TELLS_LITTLE = "what is measured on them says little of the inputs in use, and nothing of the mirror"


@exclusive
def audit(
    network: Network,
    name: str,
    data: Sequence[Call] = (),
    samples: int | None = None,
    labels: Sequence[str] = (),
    progress: Progress = silent,
    sequences: Sequence[Steps] = (),
) -> AuditReport:
    """How asymmetric every output, pair and layer is; how far the data lean, if given; and whether to convert.

    samples: how many random ones to take where no data are given; 256 without it, fewer of a costly network.
    labels: one per sample of the data.
    sequences: the data as sequences, along which a network that carries states is measured.
    Raises UsageError where labels and data do not fit, NonFiniteError where the data are not finite, ModelRunError
    where no answer depends on the inputs: there is no gap to measure.
    """
    refuse_several(network)
    if labels and not data:
        raise UsageError("--labels", "there are no data that they could belong to", "give --calibration as well")
    check(network, data, differ=False)
    network = asked_again(network, data)
    refuse_constant(network, name)
    # Both views: T on every input and output, and calls to run them on.
    mirror = mirror_if_known(network, None)
    # T on states is known only after inference, which may refuse the network.
    if mirror is None:
        mirror = mirror_of(network, represent(network, None)[0])
    inputs, source = data, GIVEN_DATA
    if not data:
        calls = ceil((samples or SAMPLES) / network.rows)
        inputs, source = random_inputs(network.args, network.kwargs, calls, 1, network.around), str(network.around)
    counted = ""
    # A number that the user asked for is taken at its word, whatever it costs.
    if data or samples is None:
        inputs, counted = _affordable(network, inputs)
    along = sequences if network.carried else ()
    if along:
        along, counted = _affordable_sequences(network, sequences)
        source = f"{source}, along sequences"
    source += counted
    progress("running the network on both views")
    of_network = _of_network(network, mirror, inputs, along)
    is_real = bool(data) and looks_real(thinned(network, data, SAMPLES))
    # Whether T is the mirror is asked of the network on real or drawn inputs, not on noise that was given as real.
    asked = Evidence(notes=(_NOT_ASKED,)) if data and not is_real else ask_network(network, data, along, progress)
    of_others = outside_evidence(network, mirror, data)
    evidence = joined(of_others, asked)
    progress("looking at every layer")
    layers, notes = _layers(network, mirror, inputs)
    # Of the data themselves, and of maps, only what the user gave can tell.
    of_data, lean, aligned = (), (), ()
    if data:
        lean = leanings(mirror, data, network.resolved.input_tensors, labels)
        progress("looking how far turned maps are off")
        aligned = alignments(network.module, mirror, inputs, network.resolved, network.captured)
        of_data = data_asymmetry(mirror, data)
    # The gap of single calls, which all begin without a memory, is no ground for advice.
    if network.carried.keeps_state and not along:
        advice = of_single_calls(of_network)
    else:
        # What answers to random inputs speak against may be right: only names and geometry count then.
        against = evidence if asked.fit is None or asked.fit.real else of_others
        side = lean[0] if lean and is_real else None
        is_policy, spec = may_act(network), network.resolved.spec
        advice = advise(of_network, against, is_real, of_data, side, is_policy, spec, lean[1:])
        advice = _with_first_steps(advice, network, asked, data, of_network)
    even_inputs = even_remark(network, data if is_real else (), asked)
    notes = (*filter(None, [even_inputs]), *network.notes, *notes, *_remarks(network, data, is_real))
    bodies = bodies_of(network.resolved.output_tensors)
    return AuditReport(
        name, of_network, source, of_data, evidence, notes, layers, lean, advice, alignments=aligned, bodies=bodies
    )


def _with_first_steps(
    advice: Advice, network: Network, asked: Evidence, data: Sequence[Call], gaps: Asymmetry
) -> Advice:
    """The advice with what comes first: inputs to look at, or what `auto` does with a gap as wide."""
    remedy = advice.remedy
    # Inputs that the network cannot read are the first thing to look at; one-sided ones the next.
    if asked.fit is not None and asked.fit.is_refuted:
        remedy = inputs_to_check(network, data, asked.fit) + remedy
    elif asked.warnings or advice.kind == "one-sided data":
        remedy = (one_class_first(network, data) or off_center(network.resolved, data)) + remedy
    gap, widest = gap_and_bound(gaps, asked)
    # Of maps `auto` asks where peaks are, so that this bound does not hold for them.
    if advice.is_noise and gap > widest and not has_maps(network.resolved):
        remedy = f"by --method average, or with --force (auto stops above {widest}), {remedy}"
    return replace(advice, remedy=remedy)


def _affordable(network: Network, inputs: Sequence[Call]) -> tuple[Sequence[Call], str]:
    """As many calls as running the network on them is worth, from all parts of the inputs; and how many of them."""
    most, rows = affordable_samples(network, WORK, LEAST), network.samples_in(inputs[0])
    if len(inputs) * rows <= most:
        return inputs, ""
    # Evenly spread: 1,000 calls where 300 can be run are every fourth one.
    chosen = inputs[:: ceil(len(inputs) * rows / most)]
    return chosen, _of_all(len(chosen) * rows, len(inputs) * rows, "samples")


def _affordable_sequences(network: Network, sequences: Sequence[Steps]) -> tuple[Sequence[Steps], str]:
    """The same of sequences, the longest of which may be the only one."""
    most = affordable_samples(network, WORK, LEAST)
    lengths = [len(steps) * network.rows for steps in sequences]
    if sum(lengths) <= most:
        return sequences, ""
    chosen = sequences[:: ceil(sum(lengths) / most)]
    return chosen, _of_all(sum(len(steps) * network.rows for steps in chosen), sum(lengths), "steps")


def _of_all(count: int, given: int, things: str) -> str:
    """What is added to the source of figures that were not measured on everything. things: samples or steps."""
    return f", {count:,} of {given:,} {things}: a run of the network is costly"


def _of_network(network: Network, mirror: NetworkMirror, inputs: Sequence[Call], along: Sequence[Steps]) -> Asymmetry:
    """The gaps of the network's outputs: along sequences where there are some, else on the inputs."""
    outputs = network.resolved.output_tensors
    if along:
        return asymmetry_along(network.module, mirror_of_calls(network), along, network.carried, outputs)
    return asymmetry(network.module, mirror, inputs, outputs)


def _remarks(network: Network, data: Sequence[Call], are_real: bool) -> Iterator[str]:
    """What a reader of the figures is to know. data: the user's inputs, if any.  are_real: they are no noise."""
    remembered = recalled(network)
    if remembered.is_one_sided:
        yield saw_one_side(remembered)
    if data and not are_real:
        yield f"{WARNING}{GIVEN_NOISE}: {_TELLS_LITTLE}"
    if are_real and not network.carried:
        looked_at = even(network, data)
        yield from questioned_unit(network, looked_at)
        yield from missing_remarks(network.resolved, looked_at)
        yield from standardised_remarks(network.resolved, looked_at)
    if not data and has_maps(network.resolved):
        yield UNMEASURED


def _layers(
    network: Network, mirror: NetworkMirror, inputs: Sequence[Call]
) -> tuple[tuple[LayerGap, ...], tuple[str, ...]]:
    """Gaps by layer; or none, and a note on the reason."""
    try:
        captured = network.graph()
    except ChiralizeError as error:
        return (), (f"layers are not measured: there is no graph of the network ({error.facts})",)
    # Layers are run on single calls from a state of 0.
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
