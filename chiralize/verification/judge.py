"""Both verdicts on a network: what running it on x and T x shows, and what the rules of its ops prove.

`commands` hand a network in, with the passport of its file where it was converted before, and get a `Verdict` back.
What stands for the proof depends on what the network is:

    a result of `average`      both views are exchanged by T (`average_proof`); no rule has a part in it
    an ONNX file               no proof: there is no graph of torch ops
    any other                  the rules and the weights (`certificate`), averaged stretches by `regions`;
                               where hidden units could not be paired by their weights, `other_proofs`

The numeric verdict is always made: it knows no rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors import CaptureError, ChiralizeError, NoRuleError, OffsetError
from chiralize.errors.words import when
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.model import CapturedModel, Where
from chiralize.graph.open_sizes import taken_by
from chiralize.graph.other_sizes import Resized, is_open, resizings
from chiralize.graph.running import Arguments, Call
from chiralize.infer.records import RepMap
from chiralize.nn.deploy.layers import with_layers
from chiralize.nn.two_view import TwoView, state_representation
from chiralize.problem.axes import names_of_still_axes
from chiralize.problem.cost import (
    affordable_samples,
    batch_sizes,
    draws,
    multiplications,
    multiplications_by_parameters,
)
from chiralize.problem.data.judged import RANDOM_ALONE
from chiralize.problem.mirror import depth_of, mirror_from, mirror_of, represent
from chiralize.problem.network import Network
from chiralize.problem.progress import Progress, silent
from chiralize.storage.onnx_network import OnnxNetwork
from chiralize.storage.passport import Passport
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification import certificate, numeric
from chiralize.verification.average_proof import why_no_average
from chiralize.verification.onnx import judge_by_running
from chiralize.verification.other_proofs import another_proof
from chiralize.verification.regions import prove_regions
from chiralize.verification.verdicts import CertificateVerdict, NumericVerdict

_WORK = 2e9  # multiplications of one call at other sizes
_LIGHT = 1e9  # multiplications of one random call, of which there are several
_RUNNING = "verifying, running it on x and T x"
_AVERAGE = "two views averaged: T exchanges them"
_OTHER_VIEW = {"0": "1", "1": "0"}
_Run = Callable[..., NumericVerdict]


@dataclass(frozen=True)
class Verdict:
    """Both verdicts, the mirror they used, and why there is no proof where a rule or the graph is missing.

    run_only: the file's format allows no proof (ONNX), so that the numeric verdict stands alone.
    """

    numeric: NumericVerdict
    certificate: CertificateVerdict | None
    mirror: NetworkMirror
    repmap: RepMap | None = None
    unproved: ChiralizeError | None = None
    run_only: bool = False

    @property
    def passed(self) -> bool:
        """Whether both verdicts are there and passed."""
        return self.numeric.passed and self.certificate is not None and self.certificate.passed

    def notes(self, real: Sequence[Call]) -> tuple[str, ...]:
        """Why there is no proof, for a report.  real: the user's inputs that the network was run on."""
        if self.unproved is None:
            return ()
        if real:
            return (f"no proof: {self.unproved.facts}",)
        return f"no proof: {self.unproved.facts}", RANDOM_ALONE


def judge(
    network: Network,
    passport: Passport | None = None,
    *,
    samples: int | None = None,
    real: Sequence[Call] = (),
    tolerance: float | None = None,
    progress: Progress = silent,
) -> Verdict:
    """Run the network and prove it. The certificate is None where no rule or no graph is there to prove anything.

    samples: random inputs to run it on; None for 8, fewer of a costly network.
    progress: called with "verifying, ..." before the proof, and for every input that it is run on.
    """

    def tell(done: float) -> None:
        """Say how many of the inputs it was run on, as a share."""
        progress(_RUNNING, done)

    samples = draws(network, samples)
    run = partial(numeric.judge, samples=samples, real=real, tolerance=tolerance, tell=tell)
    module = network.module
    # Kinds of networks that have a way of their own.
    if isinstance(module, OnnxNetwork):
        if passport is not None and passport.is_average:
            network = _with_states_of_both(network)
        numbers, mirror = judge_by_running(network, module, samples, real, tolerance)
        return Verdict(numbers, None, mirror, unproved=network.origin.problem, run_only=True)
    if passport is not None and passport.averaged:
        network = replace(network, treatment=replace(network.treatment, regions=passport.averaged))
    if passport is not None and passport.is_average:
        return _judge_two_view(network, run, progress)
    return _judge_one_pass(network, passport, run, progress)


def _judge_one_pass(network: Network, passport: Passport | None, run: _Run, progress: Progress) -> Verdict:
    """Judge a network that runs once: T on every tensor, then the network on x and T x, then the weights.

    run: `numeric.judge` with what the user asked for.  The mirror comes first, since states get their T from it.
    """
    network, known = with_layers(network, passport)
    repmap, refusal = represent(network, passport, known)
    mirror = mirror_of(network, repmap)
    numbers = _numbers(network, mirror, repmap, run)
    proof = None
    if repmap is not None:
        progress(f"verifying, the proof of {len(network.graph().nodes):,} ops")
        proof = prove_regions(network.graph(), repmap, certificate.judge(network.graph(), repmap))
    is_claimed = passport is not None and bool(passport.hidden)  # what a passport says is to be proved itself
    # Each other proof may take another search, which is in vain for a network that fails on numbers.
    if numbers.passed and not is_claimed and (proof is None or not proof.passed):
        proof, repmap = another_proof(network, mirror, known) or (proof, repmap)
    if proof is not None:
        return Verdict(numbers, _bounded(proof, network, numbers), mirror, repmap)
    assert refusal is not None
    # Nothing is known where a rule or a graph is missing. Any other refusal is an op that cannot commute.
    if isinstance(refusal, (NoRuleError, CaptureError, OffsetError)):
        return Verdict(numbers, None, mirror, unproved=refusal)
    return Verdict(numbers, certificate.refused(refusal, len(network.graph().nodes)), mirror)


def _numbers(network: Network, mirror: NetworkMirror, repmap: RepMap | None, run: _Run) -> NumericVerdict:
    """The numeric verdict at the examples' sizes and at others. run: `numeric.judge` with what the user asked for."""
    depth = _depth(network, repmap)
    if network.handover.as_program and network.program is not None:
        run = partial(run, takes=taken_by(network.program))
    sizes = _other_sizes(network, mirror, repmap)
    run = partial(run, depth=depth, batches=batch_sizes(network), sizes=sizes, rows=light_rows(network))
    return run(network.module, mirror, network.args, network.kwargs)


def light_rows(network: Network) -> int | None:
    """Samples of one random call: as many as the examples have, fewer of a costly network.

    None where no first axis counts samples, so that there is nothing to take fewer of.
    """
    if not network.has_rows:
        return None
    return min(max(network.rows, 1), affordable_samples(network, _LIGHT, least=2))


def _other_sizes(network: Network, mirror: NetworkMirror, repmap: RepMap | None) -> list[Resized]:
    """Other sizes of the open axes, for the numeric verdict: the proof is about the examples'."""
    if network.program is None:
        return []
    names = names_of_still_axes(network.resolved, mirror.inputs)
    if repmap is not None:
        work = sum(repmap.macs.values()) or multiplications_by_parameters(network)
    else:
        work = multiplications(network)
    tensors = Arguments.of(network.args, network.kwargs).tensors
    room, bounded = _WORK / max(work, 1), network.origin.from_program
    # Sizes at which the original has no answer are none to judge on (`problem.lengths`).
    return resizings(network.program, tensors, names, room, bounded, network.floors)


def _bounded(proof: CertificateVerdict, network: Network, numbers: NumericVerdict) -> CertificateVerdict:
    """The proof with a note of what it is about, where the graph takes more sizes than were looked at."""
    proof = _in_all_layouts(proof, numbers)
    free = network.program is not None and is_open(network.program)
    if not proof.passed or not (free or network.origin.traced):
        return proof
    if numbers.beyond:  # one counterexample at another size, whatever the proof says of the examples'
        sizes = ", ".join(dict.fromkeys(f"{axis} {size}" for axis, size in numbers.beyond))
        return replace(proof, passed=False, broken=f"it holds at the examples' sizes, not at others: {sizes}")
    # What the proof is about, and what was only run beside it.
    note = "proved for the sizes of the examples" + when(network.origin.traced, " and the branches that they take")
    ran = "; ".join(f"{axis} {', '.join(map(str, sizes))}" for axis, sizes in numbers.tried.items())
    if ran:
        more = f"; other sizes of the open axes were run: {ran}"
    else:
        more = "; no other sizes of the open axes were run"
    return replace(proof, notes=(*proof.notes, note + (more if free else "")))


def _in_all_layouts(proof: CertificateVerdict, numbers: NumericVerdict) -> CertificateVerdict:
    """The proof, failed where answers depend on how inputs lie in memory, of which a graph says nothing."""
    if not proof.passed or not numbers.layout:
        return proof
    broken = f"its answers depend on how inputs lie in memory ({numbers.layout}), which no graph shows"
    return replace(proof, passed=False, broken=broken)


def _judge_two_view(network: Network, run: _Run, progress: Progress) -> Verdict:
    """Judge the form of `average`, where every view keeps its own state and T exchanges the two.

    Proved on the graph; without one by the module itself, which is the average if its mirrors are T.
    """
    resolved = network.resolved
    inputs, outputs = _with_states(resolved.input_tensors), _with_states(resolved.output_tensors)
    mirror = mirror_from(resolved, inputs, outputs, {}, network.around)
    numbers = _numbers(network, mirror, None, run)
    captured = network.captured
    if captured is not None:
        progress(f"verifying, the proof of {len(captured.nodes):,} ops")
        return Verdict(numbers, _bounded(_proof_by_exchange(captured, mirror), network, numbers), mirror)
    if isinstance(network.module, TwoView) and network.module.averages(mirror.turns_in, mirror.turns_out):
        note = "by construction: (f(x) + T f(T x)) / 2 is equivariant for every f"
        proof = CertificateVerdict(True, 0, 0, notes=(note,))
        return Verdict(numbers, _in_all_layouts(proof, numbers), mirror)
    return Verdict(numbers, None, mirror, unproved=network.origin.problem)


def _with_states_of_both(network: Network) -> Network:
    """The network with T on states of unknown representation: T exchanges the states of the two views."""
    resolved = network.resolved
    inputs, outputs = _known(resolved.input_tensors), _known(resolved.output_tensors)
    return replace(network, resolved=replace(resolved, input_tensors=inputs, output_tensors=outputs))


def _known(tensors: Sequence[ResolvedTensor]) -> tuple[ResolvedTensor, ...]:
    """The tensors, each with a representation: `_with_states`."""
    representations = _with_states(tensors)
    return tuple(replace(tensor, representation=rep) for tensor, rep in zip(tensors, representations, strict=True))


def _with_states(tensors: Sequence[ResolvedTensor]) -> list[TensorRepresentation]:
    """T on some inputs or outputs; what has no representation is a state of both views."""
    return [tensor.representation or state_representation(tensor.shape) for tensor in tensors]


def _proof_by_exchange(captured: CapturedModel, mirror: NetworkMirror) -> CertificateVerdict:
    """The verdict of `average_proof` on the graph of an average."""
    prove = partial(why_no_average, captured, mirror.inputs, mirror.outputs, _exchanged(captured))
    broken = prove(input_centers=mirror.input_centers, output_centers=mirror.output_centers)
    proof = CertificateVerdict(True, len(captured.nodes), len(captured.weights), notes=(_AVERAGE,))
    if broken is None:
        return proof
    text = "is not unchanged when the two views are exchanged"
    return replace(proof, passed=False, where=Where(broken), broken=text)


def _exchanged(captured: CapturedModel) -> dict[str, str]:
    """The state of the other view, for every state of a view: `views.1.h` for `views.0.h`, each by its leaf.

    A state that only one view has stands for itself.
    """
    by_name = {leaf.names[0]: leaf.name for leaf in captured.leaves.values() if leaf.kind == "state"}
    out: dict[str, str] = {}
    for name, leaf in by_name.items():
        view, _, rest = name.removeprefix("views.").partition(".")
        # Only the first `views` is ours: a network may have states that are called `views.0.h` themselves.
        other = f"views.{_OTHER_VIEW.get(view, view)}.{rest}"
        out[leaf] = by_name.get(other, leaf)
    return out


def in_own_precision(
    network: Network,
    verdict: Verdict,
    original: Mapping[int, float] | None,
    samples: int | None,
    real: Sequence[Call] = (),
    tolerance: float | None = None,
) -> NumericVerdict | None:
    """The numeric verdict in the precision in which a network runs; None where that is the one it was judged in.

    original: what the network that it was made from rounds away there, None where nobody knows.
    """
    if verdict.run_only or verdict.numeric.dtype != "float64":
        return None
    run = partial(numeric.judge_own, network.module, verdict.mirror, network.args, network.kwargs)
    depth = _depth(network, verdict.repmap)
    return run(
        original=original,
        real=real,
        samples=draws(network, samples),
        tolerance=tolerance,
        depth=depth,
        rows=light_rows(network),
    )


def _depth(network: Network, repmap: RepMap | None) -> int:
    """Contraction steps from input to output, by which bounds grow."""
    return depth_of(network.captured, repmap.macs if repmap else None)
