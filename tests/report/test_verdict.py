"""The sentence that every report opens with: true of the worst that is known, the same in every format."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.body.tensors import parse_spec
from chiralize.commands.api import Chirality
from chiralize.graph.mirror import MirrorFit
from chiralize.graph.model import Where
from chiralize.graph.rewrite import Moved
from chiralize.problem.two_samples import NOT_ONE
from chiralize.report import BenchReport, BenchRow, ConvertReport, Cost, Report, to_html, to_json, to_junit, to_text
from chiralize.report.particulars import Circumstances, Conditions, Nearness, Way
from chiralize.storage.passport import Passport
from chiralize.verification.closed_loop.records import (
    AVERAGE,
    ORIGINAL,
    RESULT,
    Contrary,
    Coverage,
    How,
    Probe,
    Rollout,
    Side,
    Walker,
)
from chiralize.verification.verdicts import Beyond, Drift, Evidence, JointDrift, NumericVerdict, OutputDrift
from tests.report.test_formats import AUDIT_ALL, BAD, BROKEN, CONVERT, DEAD, FAILED, GOOD, PLAN, PROOF, VERIFY

CONFIRMED = Evidence(fit=MirrorFit(0.13, "no swap at all", 1.4, real=True))
CLEAN = replace(
    CONVERT,
    nearness=replace(CONVERT.nearness, drift=Drift((OutputDrift(0, 0.13, 0.02, 0.31),), "calibration", 400)),
    changes=replace(CONVERT.changes, moved=()),
    notes=(),
)
CLEAN = replace(CLEAN, nearness=replace(CLEAN.nearness, max_drift=1.25), evidence=CONFIRMED)
BENCH = BenchReport("a.pt2", "b.pt2", (BenchRow(4, "chiral", 0.1, 0.58, 0.55, 0.61, 0.3),), Cost(1, 1), Conditions(1))


def drifted(rho: float, gap: float = 0.13, **facts: object) -> ConvertReport:
    """A named method without a bound, at this rho."""
    drift = Drift((OutputDrift(0, gap, rho * gap / 2, rho),), "calibration", 400)
    return replace(CLEAN, nearness=replace(CLEAN.nearness, drift=replace(drift, **facts), max_drift=None))


def with_sides(gap: float, **facts: object) -> ConvertReport:
    """A result with a rho of 0, whose original has these figures."""
    drift = Drift((replace(OutputDrift(0, gap, 0.0, 0.0), **facts),), "calibration", 400)  # type: ignore[arg-type]
    return replace(CLEAN, nearness=replace(CLEAN.nearness, drift=drift, max_drift=None))


def moved(kind: str, distance: float = 0.706) -> tuple[Moved, ...]:
    return (Moved("cell", kind, distance, 0, Where()),)  # type: ignore[arg-type]


def test_all_is_well() -> None:
    assert CLEAN.verdict == (
        "converted: equivariant; its error within a few percent of the original's on inputs like those given (rho "
        "0.31); one pass, 0.50 of the multiplications"
    )
    assert (CLEAN.standing, CLEAN.warnings) == ("good", ())
    clean = replace(VERIFY, evidence=Evidence())
    assert clean.verdict == "equivariant: proved op by op, and run on 16 samples" and clean.standing == "good"


def on_noise(rho: float) -> ConvertReport:
    """What was given as calibration inputs are random numbers."""
    return replace(drifted(rho), evidence=replace(CONFIRMED, fit=replace(CONFIRMED.fit, real=False)))  # type: ignore[type-var]


WORDS: dict[str, tuple[ConvertReport, str]] = {
    "on noise": (
        on_noise(0.4),
        "rho is 0.4 on the inputs given, which promises nothing of its error: the calibration inputs look like random "
        "numbers",
    ),
    "far, on noise as well": (on_noise(2.1), "far from the original (rho 2.1): fine-tune before use"),
    "the flip average": (drifted(0.0), "the same answers as the original's flip average (rho 0)"),
    "near": (drifted(1.25), "its error within a few percent of the original's on inputs like those given (rho 1.25)"),
    "near, on others as well": (
        drifted(1.25, beyond=Beyond("built-in poses", 0.13, 1.2, foretells=True)),
        "its error within a few percent of the original's (rho 1.25)",
    ),
    "near, nothing tells of both sides": (
        replace(drifted(0.4), evidence=replace(CONFIRMED, are_sides_unknown=True)),
        "its error within a few percent of the original's on inputs like those given (rho 0.4), if that learned both "
        "sides",
    ),
    "beside a gap so small that the error may be, too": (
        replace(CLEAN, nearness=replace(CLEAN.nearness, drift=Drift((OutputDrift(0, 0.012, 0.0099, 0.99),), "c", 400))),
        "off the original's flip average by 1.0 % of the spread of its answers at most (rho 0.99)",
    ),
    "beside such an output, another one": (
        replace(
            CLEAN,
            nearness=replace(
                CLEAN.nearness,
                drift=Drift((OutputDrift(0, 0.012, 0.0099, 0.99), OutputDrift(1, 0.24, 0.149, 1.24)), "c", 400),
            ),
        ),
        "off the original's flip average by 14.9 % of the spread of its answers at most (rho 1.24)",
    ),
    "apart": (drifted(1.26), "apart from the original (rho 1.26): compare the error before use"),
    "far": (drifted(2.1), "far from the original (rho 2.1): fine-tune before use"),
    "infinitely far": (drifted(float("inf")), "far from the original (rho inf): fine-tune before use"),
    "no number": (drifted(float("nan")), "far from the original (rho nan): fine-tune before use"),
    "noise": (
        drifted(0.4, noise=True),
        "its distance from the original is unknown: only random inputs were measured (rho 0.4 on them): give "
        "--calibration inputs",
    ),
    "single calls of a state": (
        drifted(0.4, stateful=True),
        "its distance from the original is unknown: it keeps a state, and only single calls were measured: give "
        "--calibration sequences, each of more frames than one call reads",
    ),
    "two views, single calls of a state": (
        replace(drifted(0.0, stateful=True), way=Way("reduce", "two-view")),
        "its distance from the original is unknown: it keeps a state",
    ),
    "roll-outs": (drifted(0.4, stateful=True, steps=200), "its error within a few percent"),
    "far along roll-outs": (drifted(4.6, stateful=True, steps=200), "far from the original (rho 4.6)"),
    "two views on noise": (
        replace(drifted(0.0, noise=True), way=Way("reduce", "two-view")),
        "the same answers as the original's flip average (rho 0)",
    ),
    "nothing measured": (
        replace(CLEAN, nearness=replace(CLEAN.nearness, drift=None)),
        "its distance from the original is unknown: nothing was measured",
    ),
    "two views, nothing measured": (
        replace(CLEAN, nearness=replace(CLEAN.nearness, drift=None), way=replace(CLEAN.way, form="two-view")),
        "the same answers as the original's flip average, by construction",
    ),
    "no floating-point output": (
        replace(CLEAN, nearness=replace(CLEAN.nearness, drift=Drift((), "calibration", 400))),
        "nothing was measured: no output is a floating-point number",
    ),
    "few inputs": (
        replace(drifted(0.4), notes=("warning: the calibration inputs are few: 60 samples",)),
        "rho is 0.4 on the inputs given, which promises nothing of its error: the calibration inputs are few",
    ),
    "an asymmetric original": (
        drifted(0.9, gap=0.55),
        "rho is 0.9 on the inputs given, which promises nothing of its error: the original's gap is very large (0.55)",
    ),
}


@pytest.mark.parametrize("name", WORDS)
def test_words_for_the_distance(name: str) -> None:
    report, words = WORDS[name]
    assert words in report.verdict and all(report.verdict.count(part) == 1 for part in words.split(": "))
    near = [*filter(lambda each: each.startswith("near"), WORDS), "roll-outs"]
    assert ("within a few percent" in report.verdict) == (name in near)
    quiet = ("the flip average", *filter(lambda each: each.startswith("beside"), WORDS), *near)
    assert report.standing == ("good" if name in quiet else "warning")
    text, along = to_text(report), name in ("roll-outs", "far along roll-outs")
    assert ("ran in the loop" in text) == along
    assert ("nine of ten" in text) == (
        name not in ("noise", "single calls of a state", "two views, single calls of a state", "two views on noise")
        and name not in ("nothing measured", "two views, nothing measured", "no floating-point output", "few inputs")
        and name not in ("an asymmetric original", "on noise")
        and not along
    )


REMARKS: dict[str, tuple[ConvertReport, str]] = {
    "no proof": (
        replace(CLEAN, judgement=replace(CLEAN.judgement, certificate=None)),
        "equivariant by running alone, without a proof",
    ),
    "two passes": (replace(CLEAN, way=replace(CLEAN.way, form="two-view")), "; 2 passes, 0.50 of the multiplications"),
    "averaged parts": (
        replace(CLEAN, way=replace(CLEAN.way, form="averaged")),
        "; one pass, parts of it on both views",
    ),
    "other widths": (
        replace(CLEAN, way=replace(CLEAN.way, form="dense")),
        "other widths: its weights do not fit the original's class",
    ),
    "statistics": (
        replace(
            CLEAN,
            way=replace(CLEAN.way, form="folded"),
            changes=replace(CLEAN.changes, moved=moved("statistic")),
        ),
        "normaliser statistics changed: deploy them together with the weights",
    ),
    "not for one sample": (
        replace(CLEAN, notes=(NOT_ONE.format(option="--input-shape"),)),
        "; exported, it takes two samples and more, not one",
    ),
    "nothing confirms the mirror": (
        replace(
            CLEAN,
            nearness=replace(CLEAN.nearness, drift=None),
            way=replace(CLEAN.way, method="unchanged"),
            evidence=Evidence(),
        ),
        "the mirror is not confirmed: give --calibration real inputs",
    ),
    "compared on noise": (
        replace(
            CLEAN,
            way=replace(CLEAN.way, form="two-view"),
            evidence=Evidence(fit=MirrorFit(1.65, "no swap at all", 1.42)),
        ),
        "the mirror is not confirmed: give --calibration real inputs",
    ),
    "nothing to compare": (
        replace(CLEAN, evidence=Evidence()),
        "the mirror is not confirmed: no other mirror was tried",
    ),
    "scores": (
        replace(CLEAN, evidence=Evidence(fit=MirrorFit(0.1, "no swap", 0.9, real=True, answers_stay=True))),
        "the mirror is not confirmed: T leaves its answers as they are, and such answers fit many mirrors",
    ),
    "untrained": (
        replace(CLEAN, evidence=Evidence(fit=MirrorFit(1.4, "no swap", 1.4, real=True, trained=False))),
        "the mirror is not confirmed: the network looks untrained",
    ),
}


def test_a_fused_file_has_its_statistics_folded_in() -> None:
    changed = replace(CLEAN.changes, moved=moved("statistic"))
    assert "statistics" not in replace(CLEAN, way=replace(CLEAN.way, form="fused"), changes=changed).verdict


@pytest.mark.parametrize("name", REMARKS)
def test_what_else_must_be_known(name: str) -> None:
    """Said in the headline, though nothing is wrong."""
    report, words = REMARKS[name]
    assert words in report.verdict and report.standing == "good"


def in_the_loop(probe: Probe | None, how: How = "state") -> Rollout:
    """A roll-out whose policies do the same, in an environment that was asked with this result."""
    side = Side((5.0, 6.0), (200, 200), (False, False))
    walkers = tuple(Walker(name, side, side, (0.1,) * 2, (None,) * 2, 0.1) for name in (ORIGINAL, AVERAGE, RESULT))
    return Rollout("env", 200, how, walkers, probe)


AGREES = Probe(0.0, 0.0, 0.0, 0.0, coverage=Coverage(9, 7, 9))
UNEVEN_SIDES = replace(AGREES, steps=0.35, reward=0.1)
UNSURE = "the mirror is not confirmed: its gap of 0.8 is that of a mirror that does not fit"
AT_START = "in what is seen at the start alone (7 of 9 entries)"
ENVIRONMENTS: dict[str, tuple[Rollout, str]] = {
    "its own mirror image": (in_the_loop(AGREES), "the environment confirms T, which its gap of 0.8 does not"),
    "a mirrored reset": (in_the_loop(AGREES, "reset"), "the environment confirms T, which its gap of 0.8 does not"),
    "entries that are 0": (
        in_the_loop(replace(AGREES, coverage=Coverage(9, 7, 8))),
        "the environment confirms T in 8 of 9 entries of what is seen (the others are 0 there, or alike), which its",
    ),
    "uneven sides": (
        in_the_loop(UNEVEN_SIDES),
        f"the environment confirms T {AT_START}, which its gap of 0.8 does not",
    ),
    "uneven sides after a mirrored reset": (
        in_the_loop(UNEVEN_SIDES, "reset"),
        f"{UNSURE}; T agrees with the environment's mirrored_reset {AT_START}",
    ),
    "an end on one side": (in_the_loop(replace(AGREES, ends=True)), f"the environment confirms T {AT_START}"),
    "random steps": (in_the_loop(replace(AGREES, repeated=0.1)), f"the environment confirms T {AT_START}"),
    "another start": (in_the_loop(replace(AGREES, start=0.4, entries=("yaw",))), UNSURE),
    "random starts": (in_the_loop(replace(AGREES, restarted=0.4)), UNSURE),
    "other actions": (in_the_loop(replace(AGREES, contrary=Contrary(actions=("hip",)))), UNSURE),
    "a sign": (in_the_loop(replace(UNEVEN_SIDES, contrary=Contrary(opposed=("yaw",)))), UNSURE),
    "all 0": (in_the_loop(replace(AGREES, coverage=Coverage(9))), UNSURE),
    "no mirrored starts": (in_the_loop(None, "view"), UNSURE),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_confirms_what_the_network_does_not(name: str) -> None:
    """No more than was measured: nothing where it contradicts, and the start alone where its two sides differ."""
    rollout, words = ENVIRONMENTS[name]
    report = replace(CLEAN, evidence=Evidence(fit=MirrorFit(0.8, "x", 0.79, real=True)), rollout=rollout)
    assert words in report.verdict
    assert ("the environment confirms T" in report.verdict) == ("the environment confirms T" in words)
    assert (UNSURE in report.verdict) == (UNSURE in words)
    assert ("the environment confirms T" in to_text(report).partition("Is it the right mirror?")[2]) == (
        "the environment confirms T" in words
    )
    fits = replace(report, evidence=CONFIRMED)
    assert "confirm" not in fits.verdict, "the network shows it itself"


def test_an_environment_is_heard_where_the_network_says_otherwise() -> None:
    refuted = Evidence(warnings=("nothing of this symmetry",), fit=MirrorFit(1.2, "x", 1.3, real=True))
    report = replace(CLEAN, evidence=refuted, rollout=in_the_loop(AGREES))
    assert "the environment confirms T, which its gap of 1.2 does not; the original has nothing of" in report.verdict
    assert "confirms T" not in replace(report, rollout=in_the_loop(UNEVEN_SIDES)).verdict
    untrained = Evidence(fit=MirrorFit(1.4, "x", 1.4, real=True, trained=False))
    assert "the environment confirms T; the network looks untrained" in replace(report, evidence=untrained).verdict


FOR_CAUTION: dict[str, tuple[ConvertReport, str, str]] = {
    "another mirror": (
        replace(
            CLEAN,
            evidence=Evidence(
                warnings=("another mirror fits the network better",),
                fit=MirrorFit(1.1, "no swap at all", 0.4, real=True, better=("no swap at all",)),
            ),
        ),
        "another mirror fits better: no swap at all (gap 0.4, 1.1 with T)",
        "another mirror fits the network better",
    ),
    "another mirror, on noise": (
        replace(
            CLEAN,
            evidence=Evidence(
                warnings=("on noise another mirror fits the network better",),
                fit=MirrorFit(1.1, "no swap at all", 0.4, better=("no swap at all",)),
            ),
        ),
        "another mirror fits better on random inputs: no swap at all",
        "on noise another mirror fits the network better",
    ),
    "nothing of the symmetry": (
        replace(
            CLEAN,
            evidence=Evidence(warnings=("the network has nothing of it",), fit=MirrorFit(1.2, "x", 1.3, real=True)),
        ),
        "the original has nothing of this symmetry (gap 1.2)",
        "the network has nothing of it",
    ),
    "another mirror that raises a doubt": (
        replace(CLEAN, evidence=Evidence(warnings=("T is in doubt",), fit=MirrorFit(0.8, "no swap", 0.6, real=True))),
        "the mirror is doubtful (the gap is 0.6 with no swap, 0.8 with T)",
        "T is in doubt",
    ),
    "bones": (
        replace(CLEAN, evidence=replace(CONFIRMED, warnings=("bone a - b has no mirror image",))),
        "the mirror is doubtful",
        "bone a - b has no mirror image",
    ),
    "constants": (
        replace(CLEAN, changes=replace(CLEAN.changes, moved=moved("constant"))),
        "constants were changed",
        "constants were changed: cell (70.6 %)",
    ),
    "states": (
        replace(CLEAN, changes=replace(CLEAN.changes, states=moved("state"))),
        "stored states were made symmetric",
        "the result starts from another stored state than the original: cell (70.6 %) made symmetric",
    ),
    "precision": (
        replace(CLEAN, judgement=replace(CLEAN.judgement, own_precision=BAD)),
        "off by 3.1e-2 in float32",
        "in float32, in which it runs, the result is off by 3.1e-2 (bound 4.7e-6)",
    ),
    "data": (
        replace(CLEAN, notes=("warning: the calibration inputs are few: 60 samples",)),
        "the calibration inputs are few",
        "the calibration inputs are few: 60 samples",
    ),
    "asymmetric": (
        drifted(0.0, gap=0.8),
        "the original's gap is very large (0.8)",
        "the original's gap is very large (0.8; ",
    ),
    "leaning": (
        with_sides(0.24, lean=0.18),
        "the same answers as the original's flip average (rho 0); one pass, 0.50 of the multiplications; the original "
        "leans to one side (by 0.18 of its spread)",
        "the original leans to one side (output 0): in the mean over these inputs its two views are 0.18 of the spread "
        "of its answers apart. Noise of training mostly cancels there; a habit of one side does not, and with one the "
        "result may do the task worse than the original. Inputs of one side alone show a lean, too. ",
    ),
    "a leaning joint": (
        with_sides(0.2, lean=0.05, joints=(JointDrift("knee", 0.3, 0.0, 0.0, 0.0, 0.3, 1 / 17),)),
        "; knee of output 0 leans to one side (by 0.3 of the spread, the whole by 0.05)",
        "the original leans to one side (knee of output 0): in the mean over these inputs its two views are 0.3 of the "
        "spread of its answers apart (of the whole output 0.05). ",
    ),
    "an average of nobody knows what": (
        replace(drifted(0.0, gap=1.2, noise=True), way=Way("reduce", "two-view")),
        "nothing is known of whether the flip average does the task",
        "nothing is known of whether the flip average does the task: no real inputs were given, on which its "
        "answers to x and to T x could be compared (on random ones the gap is 1.2); give --calibration inputs",
    ),
    "an average of a controller, given samples without a time": (
        replace(
            CLEAN,
            nearness=replace(CLEAN.nearness, drift=None),
            way=replace(CLEAN.way, form="two-view"),
            evidence=Evidence(lacks_time=True),
        ),
        "; the mirror is not confirmed: give --calibration sequences, not samples without a time; nothing is known of",
        "nothing is known of whether the flip average does the task: samples without a time were given, and single "
        "calls of a network that keeps a state tell little; give --calibration sequences, (sequence, time, ...). ",
    ),
    "an average, unmeasured": (
        replace(CLEAN, nearness=replace(CLEAN.nearness, drift=None), way=replace(CLEAN.way, form="two-view")),
        "nothing is known of whether the flip average does the task",
        "nothing is known of whether the flip average does the task: no real inputs were given, on which its "
        "answers to x and to T x could be compared; give --calibration inputs",
    ),
}


def test_an_average_of_views_that_are_far_apart_promises_nothing_of_the_error() -> None:
    """It is the average, whatever its error is; elsewhere such a rho meant an error like the original's."""
    average = replace(drifted(0.0, gap=1.2), way=Way("reduce", "two-view"))
    assert "nine of ten" in to_text(replace(drifted(0.0), way=Way("reduce", "two-view")))
    assert "nine of ten" not in to_text(average) and "promises nothing about the error" in to_text(average)


def test_noise_that_an_average_takes_out_is_no_fault_of_it() -> None:
    """A wide gap without a lean, alike on both sides: an average errs less for it; of others little is known."""
    noisy = with_sides(0.42, lean=0.06)
    average = replace(noisy, way=Way("reduce", "two-view"))
    assert average.standing == "good" and noisy.standing == "warning"
    assert replace(with_sides(0.42, lean=0.06, unlike=True), way=Way("reduce", "two-view")).standing == "warning"
    assert replace(with_sides(0.42, lean=0.13), way=Way("reduce", "two-view")).standing == "warning"
    assert replace(with_sides(0.52, lean=0.06), way=Way("reduce", "two-view")).standing == "warning"


def test_what_promises_nothing_says_why_beside_it() -> None:
    """Not "see the warnings": an average whose gap is noise has none."""
    average = replace(with_sides(0.42, lean=0.06), way=Way("reduce", "two-view"))
    assert not average.warnings
    assert "It promises nothing about the error: the original's gap is large (0.42), and" in to_text(average)
    few = to_text(WORDS["few inputs"][0])
    assert "It promises nothing about the error: the calibration inputs are few\n" in few
    for report, _ in WORDS.values():
        assert "see the warnings" not in to_text(report)


def test_one_entry_of_hundreds_is_named_and_not_warned_of() -> None:
    """Its unit is the spread of an entry that hardly varies: what it leans by says little of the output."""
    toe = JointDrift("contact.left_toe", 0.5, 0.0, 0.0, 0.0, 0.284, 1 / 263)
    report = replace(with_sides(0.16, lean=0.0537, joints=(toe,)), way=Way("average", "two-view"))
    assert report.standing == "good" and "leans" not in report.verdict
    assert "contact.left_toe of output 0 leans by 0.284 of the spread, and is a small share of its output" in to_text(
        report
    )
    whole = replace(with_sides(0.16, lean=0.13, joints=(toe,)), way=Way("average", "two-view"))
    assert "the original leans to one side (by 0.13 of its spread)" in whole.verdict


def test_a_lean_promises_nothing_of_the_error() -> None:
    leaning = with_sides(0.24, lean=0.18)
    assert leaning.drift is not None
    further = replace(
        leaning, nearness=Nearness(Drift((OutputDrift(0, 0.24, 0.05, 0.4, (), 0.0, 0.18),), "calibration", 400))
    )
    assert "rho is 0.4 on the inputs given, which promises nothing of its error: the original leans" in further.verdict
    assert "nine of ten" not in to_text(further)


@pytest.mark.parametrize("name", FOR_CAUTION)
def test_a_warning_changes_headline_and_badge(name: str) -> None:
    report, brief, warning = FOR_CAUTION[name]
    assert report.verdict.startswith("converted with warnings: equivariant") and brief in report.verdict
    assert any(text.startswith(warning) for text in report.warnings)
    assert report.standing == "warning" and 'class="badge is-warning">with warnings<' in to_html(report)
    assert f"  warning: {warning}" in to_text(report)


FAILURES: dict[str, tuple[Report, str]] = {
    "drift, by force": (
        replace(CLEAN, nearness=replace(CLEAN.nearness, max_drift=0.3)),
        "NOT converted as it should be: equivariant, but too far from the original (--max-drift 0.3)",
    ),
    "one side, by force": (
        replace(CLEAN, judgement=replace(CLEAN.judgement, degeneracy=DEAD)),
        "NOT converted as it should be: equivariant, but left and right are lost",
    ),
    "degenerate": (
        replace(VERIFY, judgement=replace(VERIFY.judgement, degeneracy=DEAD)),
        "equivariant, but degenerate: left and right are lost",
    ),
    "verify": (FAILED, "NOT equivariant: output 0 is off by 3.1e-2, bound 4.7e-6"),
    "no proof reaches": (
        replace(VERIFY, judgement=replace(VERIFY.judgement, certificate=BROKEN)),
        "NOT proved equivariant for all inputs: the proof breaks at blocks.1.bn (model.py:57)",
    ),
    "nothing was run": (
        replace(VERIFY, judgement=replace(VERIFY.judgement, numeric=NumericVerdict((), "float64", 0))),
        "NOT equivariant as far as known",
    ),
    "not finite": (
        replace(
            VERIFY,
            judgement=replace(VERIFY.judgement, numeric=replace(BAD, outputs=(replace(BAD.outputs[0], finite=False),))),
        ),
        "NOT equivariant as far as known: its answers are not finite",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(name: str) -> None:
    report, words = FAILURES[name]
    assert report.verdict.startswith(words)
    assert report.standing == "failed" and not report.passed
    assert 'class="badge is-failed">failed<' in to_html(report)


def test_verify_of_a_file_whose_mirror_nothing_confirms() -> None:
    evidence = Evidence(fit=MirrorFit(1.65, "no swap at all", 1.42), notes=("1.65 with T, 1.42 with no swap at all",))
    report = replace(VERIFY, evidence=evidence)
    assert report.verdict.endswith("; the mirror is not confirmed: it was converted without real inputs")
    assert "  1.65 with T, 1.42 with no swap at all" in to_text(report)
    assert (
        '<p class="unsure"><span class="icon" role="img" aria-label="not confirmed:">?</span> 1.65 with T'
        in to_html(report)
    ), "neither a tick nor a warning"
    run_only = replace(VERIFY, judgement=replace(VERIFY.judgement, certificate=None), evidence=Evidence())
    assert run_only.verdict == "equivariant, but only by running it on 16 random samples: no proof"
    beside = "equivariant, but only by running it on 256 samples of yours and on random ones: no proof"
    assert replace(run_only, circumstances=Circumstances(256)).verdict == beside


def test_other_commands() -> None:
    assert PLAN.verdict == "1 op in the way; attn (model.py:12): softmax over 12 negated entries"
    assert AUDIT_ALL.verdict == "gap 0.81: one-sided data; next: do not convert" and AUDIT_ALL.standing == "warning"
    assert BENCH.verdict == (
        "b.pt2 takes 0.58 of its time at batch 4 (quartiles 0.55-0.61); 0.30 of its flip average's"
    )
    even = replace(BENCH, rows=(replace(BENCH.rows[0], low=0.9, high=1.1),))
    assert "no difference can be shown" in even.verdict


@pytest.mark.parametrize(
    "report", [VERIFY, FAILED, CONVERT, CLEAN, PLAN, AUDIT_ALL, BENCH], ids=lambda own: own.standing
)
def test_every_format_opens_with_it(report: Report, tmp_path: Path) -> None:
    """The very same sentence, and what Python prints of a report is short."""
    assert to_text(report).startswith(f"{report.model}: {report.verdict}\n")
    assert list(json.loads(to_json(report)))[2:5] == ["verdict", "standing", "warnings"]
    assert json.loads(to_json(report))["verdict"] == report.verdict
    page = to_html(report)
    assert f'class="sentence is-{report.standing}">{report.verdict}</p>' in unescape(page)
    assert page.index("sentence is-") < page.index("<table")
    if report in (VERIFY, FAILED):
        properties = ET.fromstring(to_junit(report).encode()).iter("property")  # type: ignore[arg-type]
        assert next(iter(properties)).attrib == {"name": "verdict", "value": report.verdict}
    assert str(report) == report.verdict
    assert repr(report) == f"<{type(report).__name__} of {report.model}: {report.verdict}>"
    assert report.to_text() == to_text(report) and report.to_json() == to_json(report)
    assert report.to_html(tmp_path / "page.html") == page == (tmp_path / "page.html").read_text(encoding="utf-8")
    assert report._repr_html_().startswith('<iframe srcdoc="&lt;!doctype html&gt;')


def test_what_no_proof_sees_is_said() -> None:
    """Of a proof alone: one that breaks, or has no graph, claims nothing."""
    line = "not part of the proof: branches that Python takes by strides, memory format, requires_grad"
    assert line in to_text(VERIFY) and line in json.loads(to_json(VERIFY))["certificate"]["unseen"][0]
    assert line not in to_text(FAILED) and not replace(PROOF, ops=0).unseen
    assert GOOD.passed


def test_what_a_session_prints_is_short() -> None:
    """One line each, whatever they hold."""
    skeleton = load_skeleton("h36m")
    assert repr(skeleton) == "<Skeleton h36m-17: 17 joints, 6 pairs, 5 center, negates x>"
    spec = parse_spec("skeleton: h36m\ninputs: [{layout: b t j d}]\noutputs: [free]\n")
    assert repr(spec) == f"<ConversionSpec h36m-17: 'b t j d' -> free, {skeleton!r}>"
    assert repr(GOOD) == "<NumericVerdict passed: output 0 off by 4.4e-16, bound 4.3e-15 (float64, samples: 16)>"
    assert repr(NumericVerdict((), "float64", 0)) == "<NumericVerdict failed: nothing was run>"
    assert repr(PROOF) == "<CertificateVerdict passed: ops: 41, weights: 20>"
    assert repr(BROKEN).endswith("broken at blocks.1.bn (model.py:57): running_mean is not invariant>")
    chirality = Chirality(Passport(spec, "reduce", "folded"), CLEAN)
    assert repr(chirality) == f"<Chirality of lifter.pt2, h36m-17, reduce: {CLEAN.verdict}>"
    assert str(chirality) == CLEAN.verdict
