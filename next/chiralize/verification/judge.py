"""Both verdicts on a network: what does running it on x and T x show, and what do its ops and weights prove?

`commands` hand a network in, with the passport of its file where it was converted before, and get a `Verdict` back:

    judge(network).summary      "equivariant on 8 runs, and proved"

What stands for the proof depends on what the passport says and on what the network has:

    an average (its passport says so)   both views are exchanged by T (`average`); no rule has a part in it
    a file without a graph              no proof; more of the user's inputs are run in its place
    any other                           the rules and the weights (`certificate`); where hidden units could not be
                                        paired by their weights, an average that a user wrote, or channels left alone

The numeric verdict is always made: it knows no rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from chiralize.body.resolve import OnTensor
from chiralize.errors import CaptureError, Finding, NoRuleError, OffsetError, UnsupportedError
from chiralize.graph.run import Arguments
from chiralize.infer.records import depth_of
from chiralize.nn.known import Known, with_layers
from chiralize.nn.two_view import averages, state_representation
from chiralize.problem.mirror import NetworkMirror, mirror_from, mirror_of, represent
from chiralize.problem.network import Network
from chiralize.problem.request import Progress, silent
from chiralize.storage.passport import Passport
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification import certificate, numeric
from chiralize.verification.numeric import Setting
from chiralize.verification.sizes import Resized, is_open, resizings
from chiralize.verification.verdicts import CertificateVerdict, NumericVerdict, Trial, Verdict

MOST = 256
"""Calls of the user's that a file without a graph is run on: nothing is proved of those that are left out."""
_WORK = 2e10
"""Multiplications of a verdict's random inputs. Each is run on both sides, in float64: about a minute on one core."""
_OTHER_SIZES = 2e9
"""Multiplications of one call at another size."""
_FEWEST = 3
"""Random calls of the costliest network, and the largest of its other batches."""
_OTHER_VIEW = {"0": "1", "1": "0"}
_WORDS = {"b": "batch", "t": "frames"}


def judge(
    network: Network, passport: Passport | None = None, *, trial: Trial | None = None, progress: Progress = silent
) -> Verdict:
    """Run the network and prove it. The certificate is None where no rule or no graph is there to prove anything.

    passport: how a conversion said that weights transform, and whether the network is an average.
    progress: called with "verifying, ..." before the proof, and for every input that it is run on.
    Raises UnsupportedError where T on an input, output or state is not known, and ModelRunError where it fails.
    """
    trial = _affordable(network, trial or Trial())
    if network.run_only is not None:
        return _judge_by_running(network, passport, trial, progress)
    if passport is not None and passport.is_average:
        return _judge_average(network, trial, progress)
    return _judge_one_pass(network, passport, trial, progress)


def _affordable(network: Network, trial: Trial) -> Trial:
    """The trial with as many random calls as can be afforded, and smaller batches of a costly network."""
    most = network.affordable(_WORK, _FEWEST, numeric.SAMPLES)
    samples = most if trial.samples is None else trial.samples
    return replace(trial, samples=samples, batches=tuple(dict.fromkeys(min(size, most) for size in trial.batches)))


# ---- kinds of networks -----------------------------------------------------------------------------------------------
def _judge_one_pass(network: Network, passport: Passport | None, trial: Trial, progress: Progress) -> Verdict:
    """Judge a network that runs once: T on every tensor, then the network on x and T x, then the weights.

    The mirror comes first, since states get their T from it.
    """
    is_claimed = passport is not None and bool(passport.hidden)
    if passport is not None:
        network = _with_tables(network, passport)
    network, known = _with_layers(network)
    repmap, refusal = None, None
    try:
        repmap = represent(network, passport, known)
    except UnsupportedError as error:
        refusal = error.with_traceback(None)
    mirror = mirror_of(network, repmap)
    numbers, coarse = _numbers(network, mirror, trial, progress)
    proof = None
    if repmap is not None:
        progress(f"verifying, the proof of {len(network.graph().nodes):,} ops")
        proof = certificate.prove(network.graph(), repmap)
    # What a passport says is to be proved itself. Another search is in vain for a network that fails on numbers.
    if numbers.passed and not is_claimed and (proof is None or not proof.passed):
        proof, repmap = certificate.another_proof(network, mirror) or (proof, repmap)
    # Nothing is known where a rule or a graph is missing. Any other refusal is an op that cannot commute.
    if proof is None and refusal is not None and not isinstance(refusal, (NoRuleError, CaptureError, OffsetError)):
        proof = certificate.refused(refusal, len(network.graph().nodes))
    if proof is not None:
        proof = _bounded(proof, network, numbers)
    return Verdict(numbers, proof, mirror, repmap, refusal, as_it_runs=coarse, is_claimed=is_claimed)


def _judge_average(network: Network, trial: Trial, progress: Progress) -> Verdict:
    """Judge the form of `average`, where every view keeps its own state and T exchanges the two.

    Proved on the graph; without one by the module itself, which is the average if its mirrors are T.
    """
    mirror = _mirror_of_views(network)
    numbers, coarse = _numbers(network, mirror, trial, progress)
    captured, proof = network.captured, None
    if captured is not None:
        progress(f"verifying, the proof of {len(captured.nodes):,} ops")
        proof = certificate.prove_average(captured, mirror.turns_in, mirror.turns_out, _exchanged(network))
        proof = _bounded(proof, network, numbers)
    elif averages(network.module, mirror.turns_in, mirror.turns_out):
        note = Finding("capture", "note", "by construction: (f(x) + T f(T x)) / 2 is equivariant for every f")
        proof = CertificateVerdict(True, 0, 0, findings=(note,))
    return Verdict(numbers, proof, mirror, unproved=network.problem, as_it_runs=coarse, is_claimed=True)


def _judge_by_running(network: Network, passport: Passport | None, trial: Trial, progress: Progress) -> Verdict:
    """Judge a file that has no graph: in place of a proof more of the user's inputs are run, in its own precision.

    What it rounds is measured in that precision as well, since what runs it computes in no other.
    """
    assert network.run_only is not None
    resolved = network.resolved
    if passport is not None and passport.is_average:
        mirror = _mirror_of_views(network)
    else:
        mirror = mirror_from(
            resolved, resolved.representations("input"), resolved.representations("output"), {}, network.around
        )
    depth = network.run_only.depth + mirror.is_affine  # one step more for c + R (x - c)
    setting = Setting(depth, moved=cache(network.run_only.moved), most=network.run_only.most, tell=_tell(progress))
    verdict = numeric.run(network.module, mirror, network.example, trial, setting)
    # One verdict takes 8 inputs of the user's: the others in further ones, up to the first that fails.
    for start in range(numeric.SAMPLES, len(trial.real[:MOST]), numeric.SAMPLES):
        if not verdict.passed:
            break
        more = replace(trial, real=trial.real[start : start + numeric.SAMPLES], samples=0, batches=())
        next_verdict = numeric.run(network.module, mirror, network.example, more, setting)
        samples = verdict.samples + next_verdict.samples
        verdict = replace(verdict if next_verdict.passed else next_verdict, samples=samples)
    return Verdict(verdict, None, mirror, unproved=network.problem, run_only=True)


def _with_tables(network: Network, passport: Passport) -> Network:
    """The network with constants as weights where the passport says how they transform."""
    leaves = network.captured.leaves.values() if network.captured is not None else ()
    tables = {key for leaf in leaves if leaf.kind == "constant" for key in leaf.sources if key in passport.hidden}
    return network.captured_with(tables) if tables else network


def _with_layers(network: Network) -> tuple[Network, Known]:
    """The network with the weights of its chiral layers as such, and how T acts on them by the layers' records."""
    if network.captured is None:
        return network, {}
    captured, known = with_layers(network.captured, network.module)
    return (replace(network, captured=captured), known) if known else (network, known)


# ---- numbers ---------------------------------------------------------------------------------------------------------
def _numbers(
    network: Network, mirror: NetworkMirror, trial: Trial, progress: Progress
) -> tuple[NumericVerdict, NumericVerdict | None]:
    """The numeric verdict in float64, at the examples' sizes and at others, and the one in the network's own precision.

    The second is None where that is the precision it was judged in.
    """
    depth = 1 if network.captured is None else depth_of(network.captured)
    setting = Setting(depth, tuple(_other_sizes(network, mirror)), tell=_tell(progress))
    numbers = numeric.run(network.module, mirror, network.example, trial, setting)
    if numbers.dtype != "float64":
        return numbers, None
    return numbers, numeric.run_own(network.module, mirror, network.example, trial, setting)


def _tell(progress: Progress) -> numeric.Tell:
    """Says how many of the inputs a network was run on, as a share."""
    return lambda done: progress("verifying, running it on x and T x", done)


def _other_sizes(network: Network, mirror: NetworkMirror) -> Sequence[Resized]:
    """Other sizes of the open axes, for the numeric verdict: the proof is about the examples'."""
    if network.program is None:
        return ()
    words = {
        (tensor.index, axis): _WORDS.get(word, word)
        for tensor in network.resolved.inputs
        for word, axis in tensor.free_axes
    }
    names = dict[tuple[int, int], str]()
    for index, representation in enumerate(mirror.inputs):
        for axis in representation.still_axes:
            names[index, axis] = words.get((index, axis), f"axis {axis} of input {index}")
    shapes = [tuple(tensor.shape) for tensor in Arguments.of(*network.example).tensors]
    room = network.affordable(_OTHER_SIZES) / network.rows
    return tuple(resizings(network.program, shapes, names, room, network.from_program))


# ---- proofs ----------------------------------------------------------------------------------------------------------
def _bounded(proof: CertificateVerdict, network: Network, numbers: NumericVerdict) -> CertificateVerdict:
    """The proof with a finding of what it is about, where the graph takes more sizes than were looked at."""
    if not proof.passed or network.program is None or not is_open(network.program):
        return proof
    if numbers.beyond:  # one counterexample at another size, whatever the proof says of the examples'
        sizes = ", ".join(dict.fromkeys(f"{axis} {size}" for axis, size in numbers.beyond))
        return replace(proof, passed=False, broken=f"it holds at the examples' sizes, not at others: {sizes}")
    ran = "; ".join(f"{axis} {', '.join(map(str, sizes))}" for axis, sizes in numbers.tried.items())
    more = f"other sizes of the open axes were run: {ran}" if ran else "no other sizes of the open axes were run"
    finding = Finding("capture", "note", f"proved for the sizes of the examples; {more}")
    return replace(proof, findings=(*proof.findings, finding))


def _mirror_of_views(network: Network) -> NetworkMirror:
    """T on an average: what has no representation is a state of both views, which T exchanges."""
    resolved = network.resolved
    inputs, outputs = _with_states(resolved.inputs), _with_states(resolved.outputs)
    return mirror_from(resolved, inputs, outputs, {}, network.around)


def _with_states(tensors: Sequence[OnTensor]) -> list[TensorRepresentation]:
    """T on inputs or outputs of an average."""
    return [tensor.representation or state_representation(tensor.shape) for tensor in tensors]


def _exchanged(network: Network) -> dict[str, str]:
    """The state of the other view, for every state of a view: `views.1.h` for `views.0.h`, each by its leaf.

    A state that only one view has stands for itself.
    """
    assert network.captured is not None
    by_name = {leaf.names[0]: leaf.name for leaf in network.captured.leaves.values() if leaf.kind == "state"}
    exchanged: dict[str, str] = {}
    for name, leaf in by_name.items():
        view, _, rest = name.removeprefix("views.").partition(".")
        # Only the first `views` is ours: a network may have states that are called `views.0.h` themselves.
        other = f"views.{_OTHER_VIEW.get(view, view)}.{rest}"
        exchanged[leaf] = by_name.get(other, leaf)
    return exchanged
