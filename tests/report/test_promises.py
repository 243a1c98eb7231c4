"""No promise beside a doubt: what hangs on T being the mirror is not said where something speaks against that.

Figures of other conversions were measured under right mirrors. No format may show them beside a doubt about T, and
where nothing confirms T they come with that condition.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from chiralize.graph.mirror import MirrorFit
from chiralize.report import ConvertReport, to_html, to_text
from chiralize.report.facts import facts_of
from chiralize.report.particulars import Way
from chiralize.report.verdict import verdict_of
from chiralize.verification.asymmetry.advice import advise
from chiralize.verification.asymmetry.records import Asymmetry, OutputGap
from chiralize.verification.evidence.even_inputs import EVEN
from chiralize.verification.evidence.free_inputs import ASKED
from chiralize.verification.verdicts import Drift, Evidence, OutputDrift
from tests.report.test_formats import AUDIT
from tests.report.test_verdict import AGREES, CLEAN, CONFIRMED, drifted, in_the_loop

PROMISES = ("within a few percent", "nine of ten", "networks like it had", "what such networks had")
CONDITION = "if T is its mirror"
ABOUT_THE_MEAN = "T is in doubt: its gap is 0.08 with x mirrored at 320 (about the mean of the inputs) instead of 304"
FITS = MirrorFit(0.13, "no swap at all", 1.4, real=True)
DOUBTS = {
    "a point": Evidence(warnings=(ABOUT_THE_MEAN,), fit=replace(FITS, doubt="its gap is 0.08 with another")),
    "bones": Evidence(warnings=("bone a - b has no mirror image",), fit=FITS),
    "names": Evidence(warnings=("the names of joints say otherwise",)),
    "another mirror": Evidence(warnings=("another fits",), fit=replace(FITS, better=("no swap",), nearest_gap=0.02)),
    "still": Evidence(still="the network answers nearly the same to everything"),
    "a free input, and bones": Evidence(warnings=(f"input 1 {ASKED} 12 numbers", "bone a - b"), fit=FITS),
    "a free input, and scores": Evidence(warnings=(f"input 1 {ASKED} 12 numbers",), fit=replace(FITS, doubt="x")),
}
UNCONFIRMED = {
    "nothing tried": Evidence(),
    "scores": Evidence(fit=replace(FITS, answers_stay=True)),
    "untrained": Evidence(fit=replace(FITS, trained=False)),
    "a free input": Evidence(warnings=(f"input 1 {ASKED} 12 numbers a sample as they are",), fit=FITS),
}
RESULTS = {
    "near": drifted(0.4),
    "the same": drifted(0.0),
    "the same, averaged": replace(drifted(0.0), way=Way("average", "two-view")),
    "apart": drifted(1.4),
    "far": drifted(2.4),
    "beside a small gap": drifted(0.99, gap=0.012),
    "along sequences": drifted(0.4, stateful=True, steps=200),
}


def shown(report: ConvertReport) -> str:
    """All formats that people read, one after the other."""
    return to_text(report) + to_text(report, short=True) + to_html(report)


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("doubt", DOUBTS)
def test_nothing_is_promised_beside_a_doubt(result: str, doubt: str) -> None:
    report = replace(RESULTS[result], evidence=DOUBTS[doubt])
    text = shown(report)
    assert not [promise for promise in PROMISES if promise in text]
    assert "It promises nothing about the error: " in text
    assert next(fact for fact in facts_of(report) if fact.name.startswith("Error")).tone != "good"


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("case", UNCONFIRMED)
def test_a_promise_hangs_on_a_mirror_that_nothing_confirms(result: str, case: str) -> None:
    report = replace(RESULTS[result], evidence=UNCONFIRMED[case])
    assert f"of this one {CONDITION}" in to_text(report)
    fact = next(fact for fact in facts_of(report) if fact.name.startswith("Error"))
    assert CONDITION in fact.note
    for line in report.verdict.split("; "):
        assert ("few percent" in line) <= (CONDITION in line)


@pytest.mark.parametrize("result", RESULTS)
def test_a_confirmed_mirror_has_its_figures(result: str) -> None:
    report = replace(RESULTS[result], evidence=CONFIRMED)
    assert any(promise in shown(report) for promise in PROMISES)
    assert CONDITION not in shown(report)
    in_a_loop = replace(report, evidence=Evidence(), rollout=in_the_loop(AGREES))
    assert CONDITION not in shown(in_a_loop), "its environment confirms T"


def test_an_average_of_which_nothing_was_measured_has_no_figures() -> None:
    """Its warning says that nothing is known of whether the average does the task."""
    average = replace(CLEAN, way=Way("average", "two-view"))
    for drift in (None, Drift((OutputDrift(0, 0.2, 0.0, 0.0),), "random", 64, noise=True)):
        report = replace(average, nearness=replace(CLEAN.nearness, drift=drift), evidence=Evidence())
        text = to_html(report)
        assert "nothing is known of whether the flip average does the task" in text
        assert not [promise for promise in PROMISES if promise in text]


@pytest.mark.parametrize("real", [True, False])
def test_an_audit_says_to_convert_on_condition(real: bool) -> None:
    """Names and bones speak against T on random inputs as well."""
    measured = Asymmetry((OutputGap(0, 0.13, 0.4),), (), 64)
    advice = advise(measured, DOUBTS["bones"], real)
    assert CONDITION in advice.text and advice.remedy.startswith("settle whether T is its mirror")
    of_scores = advise(measured, UNCONFIRMED["scores"], True)
    assert CONDITION in of_scores.text and CONDITION not in advise(measured, CONFIRMED, True).text
    audit = replace(AUDIT, network=measured, evidence=DOUBTS["bones"], advice=advice)
    assert next(fact for fact in facts_of(audit) if fact.name == "Advice").tone == "unsure"
    assert next(fact for fact in facts_of(replace(audit, evidence=CONFIRMED)) if fact.name == "Advice").tone == "good"


SURE = (
    "warning: shift was assumed: the class's own shift=0.5. Weights fit other values as well, and the network answers "
    "otherwise with these. Give what it was trained with, the default too, which ends this warning: --arg shift=VALUE"
)
UNSURE = SURE.replace("answers otherwise", "may answer otherwise")
RIGHT = "shift=0.5 is what it was trained with"


@pytest.mark.parametrize("note", [SURE, UNSURE])
def test_a_promise_hangs_on_defaults_that_answers_change_with(note: str) -> None:
    """A class's own default is the likeliest value: the figures hold if it is right, and it is warned of."""
    report = replace(drifted(0.4), evidence=CONFIRMED, notes=(note,))
    assert ("original's on inputs like those given (rho 0.4), if " + RIGHT in report.verdict) == (note == SURE)
    assert "within a few percent" in report.verdict and report.verdict.endswith("; shift was assumed")
    assert "promises nothing" not in report.verdict
    both = replace(report, evidence=UNCONFIRMED["scores"]).verdict
    assert (f"(rho 0.4), {CONDITION} and {RIGHT}" in both) == (note == SURE)
    narrow = replace(report, notes=(note, "warning: the calibration inputs are few: 60 samples"))
    assert "promises nothing of its error: the calibration inputs are few" in narrow.verdict


@pytest.mark.parametrize("doubt", DOUBTS)
def test_inputs_that_are_their_own_images_are_blamed_before_the_mirror(doubt: str) -> None:
    note = f"warning: {EVEN}: they are 5.0 % of the body's size away from symmetric"
    report = replace(drifted(0.4, gap=0.3), evidence=DOUBTS[doubt], notes=(note,))
    assert f"which promises nothing of its error: {EVEN}; " in report.verdict
    assert verdict_of(report).warnings[0].brief == EVEN
