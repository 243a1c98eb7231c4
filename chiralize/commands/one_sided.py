"""Whether a network knows both sides: where it does not, an average of its two views mixes good answers with bad ones.

Step 3 of `commands.convert` asks this of the original on real inputs, before anything is fitted:

    gap = |f(T x) - T f(x)| in spreads of the answers       0.15: convert       0.6: OneSidedError from `auto`

rho cannot tell: its unit is half the network's gap, so that a large one excuses everything. The gap itself is
bounded for `auto`, which nobody asked to take such a network as it is. Networks that answer with maps of joints are
judged by the places of their peaks, scores by what they decide as well (`decisions`). Networks with a state are judged
by their gap along sequences, after the conversion.

Beside the answers there is what a normaliser remembers of training (`recalled`): means that lean become a warning, and
the side that is fitted to (`with_sides`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ResolvedTensor
from chiralize.body.tensors.conversion import doubts_of
from chiralize.body.tensors.fields.field import with_parts
from chiralize.body.tensors.fields.joints import Joints
from chiralize.errors import OneSidedError
from chiralize.errors.words import when
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Call
from chiralize.methods.ruled_out import why_ruled_out
from chiralize.problem.cost import affordable_samples
from chiralize.problem.data.cutting import thinned
from chiralize.problem.data.foreign import NOT_SPREAD
from chiralize.problem.data.scattered import spread_as_remembered
from chiralize.problem.data.units import QUESTION
from chiralize.problem.mirror import mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from chiralize.report.aligned import alignment_sentence
from chiralize.verification.asymmetry import advise, asymmetry, data_asymmetry, leanings
from chiralize.verification.asymmetry.advice import UNEVEN
from chiralize.verification.asymmetry.alignment import alignments
from chiralize.verification.asymmetry.lean import LEANING, needed_to_show
from chiralize.verification.asymmetry.memory import Memory, memory
from chiralize.verification.asymmetry.peaks import LEANING_PEAKS, PeakGap, peak_gap
from chiralize.verification.asymmetry.records import Asymmetry
from chiralize.verification.asymmetry.uneven import furthest_in_words, leaving_out, uneven_in_words, unsettled
from chiralize.verification.evidence.answers import FEWEST_ROWS
from chiralize.verification.evidence.even_inputs import EVEN, TURN, even_in_words
from chiralize.verification.evidence.free_inputs import free_in_words
from chiralize.verification.evidence.noise import looks_real
from chiralize.verification.evidence.off_center import off_center
from chiralize.verification.evidence.one_class import one_class_first
from chiralize.verification.evidence.remedies import pairs_first
from chiralize.verification.evidence.training import is_untrained
from chiralize.verification.verdicts import Drift, Evidence
from chiralize.verification.wrong_mirror import refuse_unpaired_names, refuse_wrong_mirror

WIDEST = 0.3
"""Gap above which `auto` stops. Networks that know both sides have 0.1 to 0.25, those that saw one side 0.4 to 0.8."""
WIDEST_OF_SEQUENCES = 0.5
"""The same along sequences, where small differences grow: a public humanoid's policy with 0.41 walks after `reduce` ½
and as an average of both views (decision 0027)."""
WIDEST_OF_FORECASTS = 0.65
"""The same in units of what a forecast adds to the last frame: 0.1 to 0.4 under the right mirror, up to 0.6 after
training on few samples, which an average mends; 0.7 and 1.1 without its swaps, at 1.33 times the error (decision 0105).
"""
_ROWS = 4096
_PICTURES = 512
"""Samples that a gap is measured on at most, and pictures of which peaks are looked at."""
_WORK = 1e11
"""Multiplications that the gap may cost; of costly networks it is measured on as many samples as show a lean."""
_MARGIN = 2.5
"""Times as many samples as needed for the gap that few of them showed: on others it may be half as large again."""
_GUESSES = (
    "Unless it saw mirrored copies, what it answers on the other side are guesses. A flip average mixes them in; "
    "`reduce` and `match` take its answers on the side that it saw. Compare the errors on both sides before use"
)
_NO_SIDE = 5.0
"""Spreads between the means of an entry and of its mirror image that no side explains: one that turns left alone is
within two or three."""
_OF_INPUTS = "warning: the calibration inputs "
_SHOWN = f"{_OF_INPUTS}show one side"
_UNIT = "give the inputs in the unit of the network's training, where these are not: its sides may then be alike"
_MIRRORED = "The result does on the other side what the original does on this one, mirrored"
_MIXED = "On both sides an average mixes what the original does on this side with what it does on the other"
_GIVE_BOTH = "and nothing is measured there. Give inputs of both sides, as they are in use"
_OTHERS = " (or reduce, match)"
# A lean is an offset, as large on wide inputs. Answers that spread unlike are as far apart there, in shares of that.
_WIDER = (
    "where these inputs are narrower than those in use (frontal faces, straight walks), give wider ones, since the gap "
    "is in units of the spread of the answers to them; else "
)


def with_other_causes(asked: Evidence, problem: Problem, remembered: Memory) -> Evidence:
    """What the network says against T, and what else may be the cause: its inputs, or one side in training.

    Unchanged where nothing speaks against T. Further causes are put behind the warnings, in their words.
    """
    if asked.fit is None or not asked.fit.is_refuted:
        return asked
    causes: list[str] = []
    for remark in problem.batches.remarks:
        if remark.startswith(_OF_INPUTS) or QUESTION in remark:
            causes.append(remark.removeprefix("warning: "))
    if remembered.is_one_sided:
        causes.append(f"what it remembers of its training leans: {_remembered_side(remembered)}")
    return replace(asked, warnings=(*asked.warnings, *causes))


def refuse_by_answers(problem: Problem, name: str, evidence: Evidence, remembered: Memory, *, is_tried: bool) -> None:
    """Raise MirrorError or OneSidedError where the network's answers, or its joints' names, speak against the mirror.

    is_tried: the result will run in an environment, which tells what a flip average does. Then a wide gap alone refuses
    nothing; a mirror that fits better does.
    """
    # A mirror that fits better is a mistake in the specification, which no environment would excuse.
    is_better_known = evidence.fit is not None and bool(evidence.fit.better)
    if not is_tried or is_better_known:
        causes = with_other_causes(evidence, problem, remembered)
        refuse_wrong_mirror(problem, name, causes, _remembered_first(remembered))
    refuse_unpaired_names(problem, name)
    if not is_tried:
        refuse_one_sided(problem, name, evidence)


def refuse_one_sided(problem: Problem, name: str, evidence: Evidence) -> None:
    """Raise OneSidedError, in the words of `audit`, where `auto` is to convert a network that knows one side.

    evidence: its gap was measured on few inputs. Where it is wide, the gap on all of them decides, which `audit`
    prints, too: the message has one figure. Of a costly network it is the gap on fewer.
    """
    network, batches = problem.network, problem.batches
    # Single calls begin without what a state would hold by then: the gap along sequences decides.
    if batches.sequences and network.carried.keeps_state:
        return  # see `refuse_one_sided_sequences`
    fit, mirror = evidence.fit, mirror_if_known(network, None)
    # Nothing is concluded from noise or from an untrained network, and where T was refuted `refuse_wrong_mirror` has
    # spoken. A narrow gap on these few inputs spares the run over more of them.
    if fit is None or mirror is None or not fit.is_confirmed or not _is_refused(fit.gap, WIDEST, problem.request):
        return
    data = _measured_on(problem, fit.gap)
    problem.request.progress("measuring how far its two views are apart")
    # The values of two maps may differ by much of their spread where both say the same joint; only peaks count.
    peaks = peak_gap(network.module, mirror, thinned(network, data, _PICTURES), network.resolved)
    if peaks is not None:
        if peaks.is_one_sided:
            raise _of_peaks(network, mirror, name, peaks, thinned(network, data, _PICTURES))
        return
    if sum(map(network.samples_in, data)) < FEWEST_ROWS:
        return  # of the one or two samples in a file there is no spread that a gap could be a share of
    # The figure of the message: from here on it is computed as `audit` computes it.
    gaps = _counted(asymmetry(network.module, mirror, data, network.resolved.output_tensors), evidence)
    gap, widest = gap_and_bound(gaps, evidence)
    if not _is_refused(gap, widest, problem.request) or _is_near_further_out(problem, mirror, data, evidence):
        return
    raise _of_gaps(problem, name, evidence, mirror, gaps, data)


def _is_near_further_out(problem: Problem, mirror: NetworkMirror, data: Sequence[Call], evidence: Evidence) -> bool:
    """Whether the two sides are near each other on inputs spread as in training, where these are clearly narrower.

    Gaps are in units of the spread of the answers: where inputs are narrow, the same difference is a large share of it.
    """
    network = problem.network
    wide = spread_as_remembered(network, data)
    if not wide:
        return False
    gap, widest = gap_and_bound(asymmetry(network.module, mirror, wide, network.resolved.output_tensors), evidence)
    return gap <= widest


def _of_gaps(
    problem: Problem, name: str, evidence: Evidence, mirror: NetworkMirror, gaps: Asymmetry, data: Sequence[Call]
) -> OneSidedError:
    """The refusal of a network whose gaps on these inputs are wide, with the advice of `audit`.

    The remedy is put together from the end: how to convert all the same, before it what to look at first. Of several
    things to look at first only the gravest is named; a doubt about the specification comes before all of them.
    """
    network = problem.network
    lean = leanings(mirror, data, network.resolved.input_tensors, ())
    of_data = data_asymmetry(mirror, data)
    side = lean[0] if lean else None
    advice = advise(gaps, evidence, True, of_data, side, may_act(network), network.resolved.spec)
    gap, widest = gap_and_bound(gaps, evidence)
    of_what = "its spread" if widest == WIDEST else "the spread of what it adds to the last frame"
    facts = f"its two sides are {gap:.2g} of {of_what} apart{_in_its_unit(gaps, gap)}, and auto stops above {widest}"
    facts += uneven_in_words(gaps) + furthest_in_words(gaps)
    for remark in problem.batches.remarks:
        # In another unit than that of its training a network answers anything: its gap then says nothing of its sides.
        if EVEN in remark:
            return OneSidedError(name, f"{facts}; {remark.removeprefix('warning: ')}", f"{TURN}; {_all_the_same()}")
        if QUESTION in remark or NOT_SPREAD in remark:
            return OneSidedError(name, f"{facts}; {remark.removeprefix('warning: ')}", f"{_UNIT}; {_all_the_same()}")
    # What is assigned later is graver, and replaces what stands here.
    is_in_doubt = evidence.fit is not None and bool(evidence.fit.doubt)
    is_of_data = advice.kind == "one-sided data"  # then no output is to blame
    first = one_class_first(network, data) or when(not (is_in_doubt or is_of_data), leaving_out(gaps, WIDEST))
    if is_of_data:
        first = off_center(network.resolved, data) or first
    # Noise goes out with an average, as none of it belongs to a side: the one command that is sure to end well is named
    # first. Methods of one pass have bounds of their own, at which they may stop.
    if advice.is_noise:
        facts += f", but it leans to no side (lean {gaps.lean:.1g}; a side shows from {LEANING} on)"
        remedy = f"with --method average, which needs no --force, {advice.remedy}; {_one_pass_of(problem)}"
    else:
        wider = when(gaps.lean > LEANING and advice.kind in ("uneven", "one-sided network"), _WIDER)
        remedy = f"{wider}{advice.remedy}; {_all_the_same(_or_one_pass(problem))}"
    first = pairs_first(network.resolved.spec.skeleton, network.resolved.input_tensors) or first
    doubt = next(doubts_of(network.resolved.spec), "")
    text = f"{facts}: {advice.text}" + free_in_words(network.resolved, data) + when(doubt, f". Before all: {doubt}")
    return OneSidedError(name, text, when(doubt, "settle what is said before all; then ") + first + remedy)


def _in_its_unit(gaps: Asymmetry, gap: float) -> str:
    """How far the answers of the widest output are apart in their own unit, in words; "" where nothing tells.

    On narrow inputs that is as little as on others, though the gap is wide.
    """
    widest = max(gaps.outputs, key=lambda output: output.gap)
    return when(widest.apart and widest.gap == gap, f" (off by {widest.apart:.2g} in the output's unit)")


def gap_and_bound(gaps: Asymmetry, evidence: Evidence) -> tuple[float, float]:
    """The gap of the outputs, forecasts or others, that are further beyond the bound of `auto`, and that bound."""
    shares, gaps = dict(evidence.displaced), _counted(gaps, evidence)
    gravest = gaps.gravest(shares, WIDEST, WIDEST_OF_FORECASTS)
    are_forecasts = any(output.index in shares for output in gravest.outputs)
    return gravest.gap, WIDEST_OF_FORECASTS if are_forecasts else WIDEST


def _counted(gaps: Asymmetry, evidence: Evidence) -> Asymmetry:
    """The gaps that `auto` is held to: all where T is in doubt, else those of outputs whose decisions change."""
    # A wrong pair may change the numbers of few classes, so that decisions mostly stay.
    return gaps.as_numbers() if evidence.fit is None or evidence.fit.doubt else unsettled(gaps)


def _measured_on(problem: Problem, gap: float) -> Sequence[Call]:
    """As many of the user's inputs as show a lean where the network has this gap, or as running it is worth."""
    network, given = problem.network, problem.batches.given
    if not given:
        return [(tuple(network.args), dict(network.kwargs))]
    # E.g. a gap of 0.4 needs 1 + 2 (0.4 / 0.12)^2 = 23 samples to show a lean; 2.5 times as many are taken at least.
    rows = min(_ROWS, affordable_samples(network, _WORK, ceil(_MARGIN * needed_to_show(gap))))
    return thinned(network, given, rows)


def _all_the_same(others: str = _OTHERS) -> str:
    """What converts the network as it is. others: beside an average."""
    return f"--method average{others} or --force converts all the same"


def _or_one_pass(problem: Problem) -> str:
    """The methods of one pass beside an average, or why none of them would do; to be put behind "--method average"."""
    refusal = why_ruled_out(problem, problem.method)
    if refusal is None:
        return _OTHERS
    return f" (one pass is ruled out at {refusal.where}: {refusal.facts})"


def _one_pass_of(problem: Problem) -> str:
    """What --force adds to an average: that `auto` looks for one pass first; or why none would do."""
    refusal = why_ruled_out(problem, problem.method)
    if refusal is None:
        return "--force lets auto look for one pass first, and average where it finds none"
    return f"one pass is ruled out at {refusal.where}: {refusal.facts}"


def recalled(network: Network) -> Memory:
    """What a network remembers of its inputs in training."""
    mirror = mirror_if_known(network, None)
    if mirror is None:
        return Memory()
    return memory(network, mirror)


def are_sides_unknown(network: Network, remembered: Memory) -> bool:
    """Whether nothing shows that a network learned both sides.

    A lifter, forecaster or recogniser of one side is known by its wide gap. Policies of left turns had gaps of 0.1 to
    0.2, as others have that learned both, and up to 3.1 times their error as flip averages (decision 0075).
    """
    return not remembered.moments and may_be_policy(network)


def may_be_policy(network: Network) -> bool:
    """Whether no output is known to be of people: poses in space, or scores of classes."""
    body = network.resolved.spec.skeleton
    return not any(_is_of_people(tensor, body) for tensor in network.resolved.output_tensors)


def may_act(network: Network) -> bool:
    """Whether it may be a policy that an environment could decide on: it answers with numbers of joints, or its body
    has one number a joint. A forecaster of named features is none.
    """
    resolved = network.resolved
    outputs = [block for tensor in resolved.output_tensors for block in with_parts(tensor.entry.fields or ())]
    has_joints = any(isinstance(block, Joints) for block in outputs)
    is_of_robot = len(resolved.spec.skeleton.dims) == 1
    return may_be_policy(network) and (is_of_robot or has_joints)


def _is_of_people(tensor: ResolvedTensor, body: Skeleton) -> bool:
    """Whether it holds joints in space, and not one number of each as of a robot's actuators; or scores of classes.

    `b t j d` of 2 or 3 dims: yes. The action `b j` of a robot, whose skeleton has one dim: no.
    """
    if tensor.pose is not None:
        return len(tensor.pose.body.dims) > 1
    if any(isinstance(block, Joints) and not block.is_plain for block in tensor.entry.fields or ()):
        return len((tensor.entry.override.skeleton or body).dims) > 1
    return tensor.kind in ("classes", "invariant")


def with_sides(problem: Problem, remembered: Memory, *, is_tried: bool = False) -> Problem:
    """The problem with a warning where the network remembers one side of its inputs, or is shown one side only.

    Remembered sides are kept for the fit (`methods.known_side`).  is_tried: walks lean as their policy does, and what
    that means is measured in its environment, from both sides: no warning of what is shown.
    """
    network, given = problem.network, problem.batches.given
    problem = replace(problem, two_sided=remembered.is_two_sided)
    if remembered.is_one_sided:
        problem = problem.with_remarks(saw_one_side(remembered))
        # Samples are turned to the known side one by one, by rows; so turned, the steps of a sequence would no longer
        # belong together.
        if network.has_rows and not network.carried:
            problem = replace(problem, one_sided=remembered.moments)
    # Noise has no side, and a draw of it would lean a little by chance.
    if given and not is_tried and problem.is_fitted and looks_real(thinned(network, given, _ROWS)):
        mirror = mirror_if_known(network, None)
        shown = data_asymmetry(mirror, thinned(network, given, _ROWS), most=1) if mirror is not None else ()
        if shown and shown[0].shows_a_side:
            problem = problem.with_remarks(f"{_SHOWN}: {shown[0].words}")
    return problem


def with_even_inputs(problem: Problem, evidence: Evidence) -> Problem:
    """The problem with a warning of inputs that are nearly their own mirror images, where they may be to blame."""
    remark = even_remark(problem.network, problem.batches.given, evidence)
    return problem.with_remarks(remark) if remark else problem


def even_remark(network: Network, given: Sequence[Call], evidence: Evidence) -> str:
    """A warning of inputs that are nearly their own mirror images, where the network or T would be blamed; else ""."""
    fit = evidence.fit
    if not given or fit is None or not (evidence.warnings or fit.gap > UNEVEN):
        return ""
    text = even_in_words(network.resolved, mirror_if_known(network, None), thinned(network, given, _ROWS))
    return f"warning: {text}" if text else ""


def with_consequence(remarks: Sequence[str], is_average: bool) -> list[str]:
    """The remarks, with what inputs of one side mean for this result, where there were such inputs.

    is_average: it runs the original on both views, so that it does not follow the original's answers on one side.
    """
    does = _MIXED if is_average else _MIRRORED
    said: list[str] = []
    for remark in remarks:
        said.append(f"{remark}. {does}, {_GIVE_BOTH}" if remark.startswith(_SHOWN) else remark)
    return said


def saw_one_side(remembered: Memory) -> str:
    """The warning of a network that remembers one side."""
    return f"warning: the original saw one side in training: {_remembered_side(remembered)}. {_GUESSES}"


def _remembered_side(remembered: Memory) -> str:
    """Where means in training lean, which a mirror that is not the network's shows as well."""
    where = f"in {remembered.keeper} {remembered.gaps[0].words}"
    return f"{where} (or T is not its mirror: check its pair and its sign)"


def _remembered_first(remembered: Memory) -> str:
    """What to check first where an entry was further from its mirror image in training than a side explains."""
    if not remembered.gaps or remembered.gaps[0].gap < _NO_SIDE:
        return ""
    worst = remembered.gaps[0]
    return (
        f"check the order, the pairs and the signs at {worst.label} first, whose mean in training is {worst.gap:.2g} "
        "spreads from that of its mirror image; then "
    )


def _of_peaks(
    network: Network, mirror: NetworkMirror, name: str, peaks: PeakGap, data: Sequence[Call]
) -> OneSidedError:
    """The refusal of a network whose peaks lie in other places for the other view, with the likely cause."""
    where = f"its two views put the peaks of its maps to unlike places (gap {peaks.gap:.2g}"
    facts = f"{where}, {peaks.lean:.2g} of it the same for all pictures, where auto stops above {LEANING_PEAKS})"
    # Maps that are turned and then off by part of a cell lean as well, for a reason that --align can mend.
    off = alignment_sentence(alignments(network.module, mirror, data, network.resolved))
    if off:
        return OneSidedError(
            name, f"{facts}: {off}", f"--align resample moves them (audit has more); {_all_the_same()}"
        )
    facts += ": the network knows one side better, or little as yet, or this is not its mirror"
    return OneSidedError(name, facts, f"train it with mirrored copies; {_all_the_same()}")


def refuse_one_sided_sequences(problem: Problem, name: str, drift: Drift | None) -> None:
    """Raise OneSidedError where `auto` is to convert a network with a state whose gap along real sequences is wide."""
    network = problem.network
    if drift is None or not (drift.stateful and drift.is_telling):
        return
    gap = drift.unsettled_gap
    if not _is_refused(gap, WIDEST_OF_SEQUENCES, problem.request):
        return
    # Neither untrained networks nor noise tell of sides; held-out sequences are those that the drift was measured on.
    if is_untrained(network.module) or not any(looks_real(list(steps)) for steps in problem.batches.held_sequences):
        return
    facts = (
        f"along sequences the network answers the two sides apart (gap {gap:.2g}; 0.1 to 0.25 is what networks "
        f"have that learned both sides; auto stops above {WIDEST_OF_SEQUENCES})"
    )
    remedy = "see with `chiralize audit` which side it knows, and train it with mirrored copies where you can"
    raise OneSidedError(name, facts, f"{remedy}; {_all_the_same()}")


def _is_refused(gap: float, widest: float, request: Request) -> bool:
    """Whether `auto` stops at such a gap, which nobody forces it to take."""
    return request.method == "auto" and not request.force and gap > widest
