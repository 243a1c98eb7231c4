"""Both verdicts on a network: what running it on x and T x shows, and what the rules of its ops prove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chiralize.errors import CaptureError, ChiralizeError, NoRuleError, OffsetError
from chiralize.graph.mirror import Mirror
from chiralize.graph.model import CapturedModel, Where
from chiralize.graph.other_sizes import Resized, is_open, resizings
from chiralize.graph.running import Arguments, Call
from chiralize.infer import macs_of
from chiralize.infer.records import RepMap
from chiralize.nn.deploy.layers import with_layers
from chiralize.nn.two_view import TwoView, state_representation
from chiralize.problem.mirror import depth_of, mirror_from, mirror_of, represent
from chiralize.problem.network import Network
from chiralize.storage.onnx_network import OnnxNetwork
from chiralize.storage.passport import Passport
from chiralize.verification import certificate, numeric
from chiralize.verification.exchange import averages_over_views
from chiralize.verification.onnx import judge_by_running
from chiralize.verification.other_proofs import another_proof
from chiralize.verification.regions import prove_regions
from chiralize.verification.verdicts import CertificateVerdict, NumericVerdict

_WORK = 2e9  # multiplications of one call at other sizes
_AXES = {"b": "batch", "t": "frames"}


@dataclass(frozen=True)
class Verdict:
    """Both verdicts, the mirror they used, and why there is no proof where a rule or the graph is missing.

    run_only: the file's format allows no proof (ONNX), so that the numeric verdict stands alone.
    """

    numeric: NumericVerdict
    certificate: CertificateVerdict | None
    mirror: Mirror
    repmap: RepMap | None = None
    unproved: ChiralizeError | None = None
    run_only: bool = False

    @property
    def passed(self) -> bool:
        return self.numeric.passed and self.certificate is not None and self.certificate.passed


def judge(
    network: Network,
    passport: Passport | None = None,
    *,
    samples: int = 8,
    real: Sequence[Call] = (),
    tolerance: float | None = None,
) -> Verdict:
    """Both verdicts. The certificate is None where no rule or no graph is there to prove anything."""
    if isinstance(network.module, OnnxNetwork):
        numbers, mirror = judge_by_running(network, network.module, samples, real, tolerance)
        return Verdict(numbers, None, mirror, unproved=network.problem, run_only=True)
    if passport is not None and passport.averaged:
        network = replace(network, regions=passport.averaged)
    if passport is not None and passport.is_lifted:
        return _judge_two_view(network, samples, real, tolerance)
    network, known = with_layers(network, passport)
    repmap, refusal = represent(network, passport, known)
    mirror = mirror_of(network, repmap)
    numbers = numeric.judge(
        network.module, mirror, network.args, network.kwargs, real=real, samples=samples, tolerance=tolerance,
        depth=depth_of(network.captured, repmap.macs if repmap else None), batches=network.batches,
        sizes=_other_sizes(network, mirror, repmap),
    )  # fmt: skip
    proof = None
    if repmap is not None:
        proof = prove_regions(network.graph(), repmap, certificate.judge(network.graph(), repmap))
    is_claimed = passport is not None and bool(passport.hidden)  # what a passport says is to be proved itself
    if numbers.passed and not is_claimed and (proof is None or not proof.passed):
        proof, repmap = another_proof(network, mirror, known) or (proof, repmap)
    if proof is not None:
        return Verdict(numbers, _bounded(proof, network, numbers), mirror, repmap)
    assert refusal is not None
    if isinstance(refusal, (NoRuleError, CaptureError, OffsetError)):
        return Verdict(numbers, None, mirror, unproved=refusal)
    return Verdict(numbers, certificate.refused(refusal, len(network.graph().nodes)), mirror)


def _other_sizes(network: Network, mirror: Mirror, repmap: RepMap | None) -> list[Resized]:
    """Other sizes of the open axes, for the numeric verdict: the proof is about the examples'."""
    if network.program is None:
        return []
    words = {
        (own.index, place): _AXES.get(word, word)
        for own in network.resolved.input_tensors
        for word, place in own.free_axes
    }
    names = {
        (index, place): words.get((index, place), f"axis {place} of input {index}")
        for index, own in enumerate(mirror.inputs)
        for place, axis in enumerate(own.axes)
        if axis.is_trivial
    }
    captured = network.captured
    work = sum(repmap.macs.values()) if repmap is not None else macs_of(captured) if captured is not None else 0
    work = work or sum(own.numel() for own in network.module.parameters()) * network.rows
    tensors = Arguments.of(network.args, network.kwargs).tensors
    return resizings(network.program, tensors, names, _WORK / max(work, 1), bounded=network.from_program)


def _bounded(proof: CertificateVerdict, network: Network, numbers: NumericVerdict) -> CertificateVerdict:
    """With what the proof is about, where the graph takes more than was looked at."""
    proof = _in_all_layouts(proof, numbers)
    free = network.program is not None and is_open(network.program)
    if not proof.passed or not (free or network.traced):
        return proof
    if numbers.beyond:
        places = ", ".join(dict.fromkeys(f"{axis} {size}" for axis, size in numbers.beyond))
        return replace(proof, passed=False, broken=f"it holds at the examples' sizes, not at others: {places}")
    note = "proved for the sizes of the examples" + (" and the branches that they take" if network.traced else "")
    ran = "; ".join(f"{axis} {', '.join(map(str, sizes))}" for axis, sizes in numbers.tried.items())
    more = f"; other sizes of the open axes were run: {ran}" if ran else "; no other sizes of the open axes were run"
    return replace(proof, notes=(*proof.notes, note + (more if free else "")))


def _in_all_layouts(proof: CertificateVerdict, numbers: NumericVerdict) -> CertificateVerdict:
    """A proof of a graph says nothing of a network that answers by how its inputs lie in memory."""
    if not proof.passed or not numbers.layout:
        return proof
    broken = f"its answers depend on how inputs lie in memory ({numbers.layout}), which no graph shows"
    return replace(proof, passed=False, broken=broken)


def _judge_two_view(network: Network, samples: int, real: Sequence[Call], tolerance: float | None) -> Verdict:
    """The form of `lift`: every view keeps its own state, T exchanges the two."""
    resolved = network.resolved
    inputs = [
        rep or state_representation(own.shape) for rep, own in zip(resolved.inputs, resolved.input_tensors, strict=True)
    ]
    outputs = [
        rep or state_representation(own.shape)
        for rep, own in zip(resolved.outputs, resolved.output_tensors, strict=True)
    ]
    mirror = mirror_from(resolved, inputs, outputs, {}, network.around)
    numbers = numeric.judge(
        network.module, mirror, network.args, network.kwargs, real=real, samples=samples, tolerance=tolerance,
        depth=depth_of(network.captured), batches=network.batches, sizes=_other_sizes(network, mirror, None),
    )  # fmt: skip
    captured = network.captured
    if captured is not None:
        return Verdict(numbers, _bounded(_proof_by_exchange(captured, mirror), network, numbers), mirror)
    if isinstance(network.module, TwoView) and network.module.averages(mirror.turns_in, mirror.turns_out):
        note = "by construction: (f(x) + T f(T x)) / 2 is equivariant for every f"
        proof = CertificateVerdict(True, 0, 0, notes=(note,))
        return Verdict(numbers, _in_all_layouts(proof, numbers), mirror)
    return Verdict(numbers, None, mirror, unproved=network.problem)


def _proof_by_exchange(captured: CapturedModel, mirror: Mirror) -> CertificateVerdict:
    broken = averages_over_views(
        captured, mirror.inputs, mirror.outputs, _exchanged(captured),
        input_centers=mirror.input_centers, output_centers=mirror.output_centers,
    )  # fmt: skip
    where = None if broken is None else Where(broken)
    text = "" if broken is None else "is not unchanged when the two views are exchanged"
    note = "two views averaged: T exchanges them"
    return CertificateVerdict(broken is None, len(captured.nodes), len(captured.weights), where, text, (note,))


def _exchanged(captured: CapturedModel) -> dict[str, str]:
    """States of the two views, each with the other's."""
    by_name = {leaf.names[0]: leaf.name for leaf in captured.leaves.values() if leaf.kind == "state"}
    out: dict[str, str] = {}
    for name, leaf in by_name.items():
        first, second = "views.0.", "views.1."
        other = name.replace(first, second) if name.startswith(first) else name.replace(second, first)
        out[leaf] = by_name.get(other, leaf)
    return out


def in_own_precision(
    network: Network,
    verdict: Verdict,
    original: Mapping[int, float] | None,
    samples: int,
    real: Sequence[Call] = (),
    tolerance: float | None = None,
) -> NumericVerdict | None:
    """The numeric verdict in the precision in which a network runs; None where that is the one it was judged in.

    original: what the network that it was made from rounds away there, None where nobody knows.
    """
    if verdict.run_only or verdict.numeric.dtype != "float64":
        return None
    depth = depth_of(network.captured, verdict.repmap.macs if verdict.repmap else None)
    return numeric.judge_own(
        network.module, verdict.mirror, network.args, network.kwargs, original=original, real=real, samples=samples,
        tolerance=tolerance, depth=depth,
    )  # fmt: skip
