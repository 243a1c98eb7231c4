"""Reports: golden texts, stable JSON keys, valid XML and HTML."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from html.parser import HTMLParser
from typing import get_type_hints

import pytest

from benchmarks.accuracy import plots
from chiralize.cli.options import Format
from chiralize.cli.printing import show
from chiralize.errors.words import percent
from chiralize.graph.model import Where
from chiralize.graph.rewrite import Moved
from chiralize.infer.records import Choice, Space
from chiralize.report import (
    AuditReport,
    CallTime,
    ConvertReport,
    Cost,
    PlanReport,
    PlanRow,
    VerifyReport,
    to_dict,
    to_html,
    to_json,
    to_junit,
    to_text,
)
from chiralize.report.document import ratio, short
from chiralize.report.encoding import KEYS
from chiralize.report.facts import Fact, facts_of
from chiralize.report.meaning import CONVERSIONS, MEANING, meaning
from chiralize.report.particulars import Changes, Nearness, Way
from chiralize.report.text import SCREEN
from chiralize.symmetry.involution import SignedPermutation
from chiralize.verification.asymmetry.records import (
    Advice,
    Asymmetry,
    DataGap,
    EntryGap,
    LayerGap,
    Leaning,
    OutputGap,
    PairGap,
)
from chiralize.verification.verdicts import (
    CertificateVerdict,
    Degeneracy,
    Drift,
    Evidence,
    Judgement,
    NumericVerdict,
    OutputDrift,
    OutputResidual,
)

GOOD = NumericVerdict(
    (
        OutputResidual(0, 4.4e-16, 1.2, 4.3e-15, "left_knee.y", "output 0"),
        OutputResidual(1, 0.0, 0.5, 1.8e-15, "", "state h"),
    ),
    "float64",
    16,
    (1, 2, 5),
)
BAD = NumericVerdict((OutputResidual(0, 0.031, 1.2, 4.7e-6, "right_elbow.x"),), "float32", 256, (), ("a note",))
PROOF = CertificateVerdict(True, 41, 20)
BROKEN = CertificateVerdict(False, 12, 20, Where("blocks.1.bn", "model.py:57"), "running_mean is not invariant")
LIVE = Degeneracy((0.497,), (0.469,), (), 0.5)
DEAD = Degeneracy((0.497,), (0.0,), ("rnn.weight_hh_l0[1]",), 0.757, ("head.bias",), ("left_hip.x",))
SEEN = Evidence(
    ("6 of 6 pairs agree with left and right in the joint names",), ("bone a - b has no mirror image a - c",)
)
VERIFY = VerifyReport("lifter.pt2", Judgement(GOOD, PROOF, LIVE), SEEN)
FAILED = VerifyReport("lifter.pt2", Judgement(BAD, BROKEN))

SPACE = Space(0, "fc1.weight[0]", "fc1", 4, 0, True)
CONVERT = ConvertReport(
    model="lifter.pt2",
    way=Way("reduce", "folded"),
    cost=Cost(4_291_635, 2_150_000, 1000, 500),
    output="lifter.chiral.pt2",
    changes=Changes(
        (Choice(SPACE, SignedPermutation.halves(4), "half pairing"),),
        (
            Moved("fc1.weight", "parameter", 0.0312, 0, Where("fc1", "model.py:9")),
            Moved("fc1.bias", "parameter", 0.5, 3, Where("fc1", "model.py:9")),
            Moved("bn.running_mean", "statistic", 0.23, 0, Where("bn")),
        ),
    ),
    nearness=Nearness(Drift((OutputDrift(0, 0.13, 0.0975, 1.5),), "calibration, the last fifth", 400)),
    judgement=Judgement(GOOD, PROOF, LIVE),
    notes=("F.dropout without the training flag stays on",),
)
PLAN = PlanReport(
    "lifter.pt2",
    (
        PlanRow("fc1", "linear", "17 joints x 2", "512 pairs", "convert", 0.031, Where("fc1", "model.py:9")),
        PlanRow("act", "relu", "512 pairs", "512 pairs", "keep"),
    ),
    Cost(100, 50),
    CONVERT.changes.choices,
    ("attn (model.py:12): softmax over 12 negated entries",),
)
AUDIT = AuditReport(
    "lifter.pt2",
    Asymmetry((OutputGap(0, 0.81, 0.4),), (EntryGap("right_elbow.x", 1.1),), 64),
    "calibration",
    (DataGap("hip.x", 0.5, -0.5, 0.25),),
    Evidence(("all 16 bones have their mirror image",)),
)
AUDIT_ALL = replace(
    AUDIT,
    network=Asymmetry(
        (OutputGap(0, 0.81, 0.4, 0.038, 0.42),),
        (EntryGap("right_elbow.x", 1.1),),
        64,
        (PairGap("left_elbow/right_elbow", 0.05, 1.1), PairGap("hip", 0.0012, 0.01)),
    ),
    layers=(LayerGap("first", "linear", 512, 0.0, 0.3), LayerGap("head", "linear", 51, 0.25, 0.8)),
    leanings=(Leaning(None, 64, 0.02, 0.1, 0.94), Leaning("wash", 32, 0.3, 0.7, None), Leaning("walk", 40, 0, 0, 0.5)),
    advice=Advice("one-sided data", "the data themselves are one-sided", "do not convert"),
)
TIMES = (CallTime(1, 0.36e-3, 2.0, 1), CallTime(64, 2e-3, 1.25, 2))
ALL = [VERIFY, FAILED, CONVERT, PLAN, AUDIT, AUDIT_ALL]


# ---- text -----------------------------------------------------------------------------------------------------
def test_verify_text() -> None:
    assert (
        to_text(VERIFY)
        == """\
lifter.pt2: equivariant, with warnings: proved op by op, and run on 16 samples; the mirror is \
doubtful: bone a - b has no mirror image a - c

Numeric verdict: max |F(Tx) - T F(x)| (float64, 16 samples, batch sizes 1, 2, 5)
      what      residual    bound  scale  worst
  ok  output 0   4.4e-16  4.3e-15    1.2  left_knee.y
  ok  state h          0  1.8e-15    0.5

Certificate: a proof for all inputs, op by op
  ok: 41 ops and 20 weights checked
  not part of the proof: branches that Python takes by strides, memory format, requires_grad, or anything else that no \
graph holds

Left and right: share of the output's variance that the mirror negates
  what      when converted, random inputs  now, the same inputs
  output 0                         49.7 %                46.9 %
  50.0 % of its parameters can be chosen freely; the mirror determines the others

Is it the right mirror?
  6 of 6 pairs agree with left and right in the joint names
  warning: bone a - b has no mirror image a - c
"""
    )


def test_failed_verify_text() -> None:
    assert (
        to_text(FAILED)
        == """\
lifter.pt2: NOT equivariant: output 0 is off by 3.1e-2, bound 4.7e-6

Numeric verdict: max |F(Tx) - T F(x)| (float32, 256 samples)
        what      residual   bound  scale  worst
  FAIL  output 0    3.1e-2  4.7e-6    1.2  right_elbow.x
  a note

Certificate: a proof for all inputs, op by op
  FAIL: blocks.1.bn (model.py:57): running_mean is not invariant (12 ops and 20 weights checked)
"""
    )


def test_convert_text() -> None:
    text = to_text(CONVERT)
    assert (
        text[: text.index("Numeric verdict")]
        == """\
lifter.pt2: converted with warnings: equivariant; apart from the original (rho 1.5): compare the error before use; \
one pass, 0.50 of the multiplications; the mirror is not confirmed: no other mirror was tried; normaliser statistics \
changed: deploy them together with the weights
  method reduce, form folded
  written to lifter.chiral.pt2

Cost
                 before      after
  parameters  4,291,635  2,150,000  x0.50
  MACs            1,000        500  x0.50

Hidden spaces
  space          size  representation  why
  fc1.weight[0]     4  2 pairs         half pairing

Weights moved: |W - P(W)| / |W|
  name             kind       distance  zeroed  where
  fc1.bias         parameter    50.0 %       3  fc1 (model.py:9)
  bn.running_mean  statistic    23.0 %          bn
  fc1.weight       parameter     3.1 %          fc1 (model.py:9)
  normaliser statistics changed: bn.running_mean (23.0 %). Put them back together with the weights: with the \
original's, the network is not equivariant

Against the original (400 samples, calibration, the last fifth)
  what       gap   drift  rho
  output 0  0.13  0.0975  1.5
  gap: how far the original's answer to T x is from T of its answer to x (1: its own spread)
  drift: how far the result is from the original's flip average, in the same unit
  rho: drift / max(gap / 2, 0.01), here 1.5. Of 924 conversions, nine of ten with a rho of 1.25 to 1.5 had 1.00 to \
1.09 times the original's error. That tells of this one if T is its mirror.
  warning: rho is above 1.25: the result is further from the original's flip average than it should be

"""
    )
    assert text.endswith("Notes\n  F.dropout without the training flag stays on\n")


def test_plan_text() -> None:
    assert (
        to_text(PLAN)
        == """\
lifter.pt2: 1 op in the way; attn (model.py:12): softmax over 12 negated entries

2 ops
  module  op      in             out        action   distance
  fc1     linear  17 joints x 2  512 pairs  convert     3.1 %
  act     relu    512 pairs      512 pairs  keep

Hidden spaces
  space          size  representation  why
  fc1.weight[0]     4  2 pairs         half pairing

Cost
              before  after
  parameters     100     50  x0.50

In the way
  warning: attn (model.py:12): softmax over 12 negated entries
"""
    )


def test_audit_text() -> None:
    assert (
        to_text(AUDIT_ALL)
        == """\
lifter.pt2: gap 0.81: one-sided data; next: do not convert

The network (64 samples, calibration)
  what       gap  mean distance  odd share  answers changed
  output 0  0.81          0.038     40.0 %           42.0 %
  gap: how far the answer to T x is from T of the answer to x (1: the output's own spread)
  mean distance: mean |f(x) - T f(T x)| in the units of the output

By pair, the largest gap first
  pair                    mean distance   gap
  left_elbow/right_elbow           0.05   1.1
  hip                            0.0012  0.01

By layer: what no left/right representation of its values explains
  layer  op      values  before  after
  first  linear     512       0    0.3  begins here
  head   linear      51    0.25    0.8  adds most
  before, after: gap of what the layer reads and answers, with the best representation there is

The data: their mean against that of their mirror image
  label        samples  mean distance  gap  told from mirrored
  all samples       64           0.02  0.1              94.0 %
  wash              32            0.3  0.7
  walk              40              0    0              50.0 %
  told from mirrored: 50 % where both sides are shown alike, 100 % for one side only, or few recordings

Data that lean most: the mean of an entry and that of its mirror image
  entry  mean  mirrored  spread  gap
  hip.x   0.5      -0.5    0.25    4

Is it the right mirror?
  all 16 bones have their mirror image

Should it be converted?
  warning: the data themselves are one-sided
  Next: do not convert.
"""
    )


def test_degenerate_and_asymmetric_are_warned_about() -> None:
    text = to_text(replace(VERIFY, judgement=replace(VERIFY.judgement, degeneracy=DEAD)))
    assert text.startswith("lifter.pt2: equivariant, but degenerate")
    assert "COLLAPSED" in text and "warning: output 0 lost the difference between left and right" in text
    assert "inputs that only the original reacts to: left_hip.x" in text and "rnn.weight_hh_l0[1]" in text
    drift = Drift((OutputDrift(0, 0.81, 0.3, 0.74),), "calibration", 400)
    assert "the original's gap is very large (0.81" in to_text(
        replace(CONVERT, nearness=replace(CONVERT.nearness, drift=drift))
    )
    uneven = Drift((OutputDrift(0, 0.4, 0.1, 0.5),), "calibration", 400)
    assert "the original's gap is large (0" in to_text(
        replace(CONVERT, nearness=replace(CONVERT.nearness, drift=uneven))
    )
    noisy = to_text(replace(CONVERT, nearness=replace(CONVERT.nearness, drift=replace(drift, noise=True))))
    assert "On noise it says little of the error: give --calibration inputs" in noisy and "conversions" not in noisy
    assert "these inputs are noise, on which networks that know both" in noisy and "is very large" not in noisy


def test_a_drift_beyond_its_bound_fails_the_conversion() -> None:
    assert CONVERT.passed and not replace(CONVERT, nearness=replace(CONVERT.nearness, max_drift=1.25)).passed
    text = to_text(replace(CONVERT, nearness=replace(CONVERT.nearness, max_drift=1.4)))
    assert text.startswith("lifter.pt2: NOT converted") and "rho is above --max-drift 1.4" in text
    assert "warning: rho" not in to_text(replace(CONVERT, nearness=replace(CONVERT.nearness, max_drift=1.6)))


def test_unchanged_conversion_says_so() -> None:
    unchanged = replace(CONVERT, way=Way("unchanged", "original"), changes=Changes(), nearness=Nearness())
    assert to_text(unchanged).startswith("lifter.pt2: already equivariant, unchanged\n")
    assert unchanged.standing == "good"


def test_many_weights_are_cut_short() -> None:
    many = tuple(Moved(f"w{i:02}", "parameter", i / 100, 0, Where()) for i in range(30))
    text = to_text(replace(CONVERT, changes=replace(CONVERT.changes, moved=many)))
    assert "and 10 more (the JSON report lists all)" in text and "w05" not in text and "w29" in text
    assert len(to_dict(replace(CONVERT, changes=replace(CONVERT.changes, moved=many)))["moved"]) == 30


@pytest.mark.parametrize(
    ("rho", "said"),
    [
        (0.0, "of 0 to 0.5 had 0.97 to 1.02 times"), (1.25, "of 1 to 1.25 had"), (1.3, "of 1.25 to 1.5 had"),
        (9, "above 5 had 1.75 to 10.52 times the original's error."), (float("nan"), "above 5 had"),
    ],
)  # fmt: skip
def test_meaning_of_rho(rho: float, said: str) -> None:
    assert said in meaning(rho)


def test_meaning_is_what_the_benchmark_measured() -> None:
    assert plots.ranges([upper for upper, _ in MEANING]) == (CONVERSIONS, MEANING)


def test_numbers() -> None:
    assert [short(own) for own in (0.031, 4.7e-6, 0.0, 12.0, float("inf"))] == ["3.1e-2", "4.7e-6", "0", "1.2e1", "inf"]
    assert [percent(own) for own in (0.0, 1e-5, 0.0312, 1.0)] == ["0.0 %", "< 0.1 %", "3.1 %", "100.0 %"]
    assert ratio(4, 2) == "x0.50" and ratio(0, 2) == ""


# ---- JSON -----------------------------------------------------------------------------------------------------
COMPUTED = {ConvertReport: ["way.unchanged"]}
"""Keys of what is no field."""


@pytest.mark.parametrize("record", KEYS)
def test_json_leaves_no_field_out(record: type) -> None:
    """Where keys are listed by hand, every field of the record and of its parts has one."""
    hints, parts = get_type_hints(record), {path.partition(".")[0] for path in KEYS[record] if "." in path}
    expected: list[str] = []
    for field in fields(record):
        within = fields(hints[field.name]) if field.name in parts else ()
        expected += [f"{field.name}.{inner.name}" for inner in within] or [field.name]
    assert sorted(KEYS[record]) == sorted([*expected, *COMPUTED.get(record, ())])
    assert len({path.rpartition(".")[2] for path in expected}) == len(expected)


def test_json_keys_and_full_floats() -> None:
    found = json.loads(to_json(VERIFY))
    assert list(found) == [
        *("report", "version", "verdict", "standing", "warnings"),
        *("model", "numeric", "certificate", "degeneracy", "evidence", "notes", "own_precision", "claims"),
        *("mirrors", "joints", "bodies", "remedy", "given", "constant", "passed"),
    ]
    assert found["verdict"] == VERIFY.verdict and found["standing"] == "warning"
    assert found["warnings"] == [{"topic": "mirror", "text": "bone a - b has no mirror image a - c"}]
    assert found["report"] == "verify" and found["version"] == 1 and found["passed"] is True
    own = found["numeric"]["outputs"][0]
    assert list(own) == ["index", "residual", "scale", "bound", "worst", "name", "finite", "passed", "title"]
    assert (own["residual"], own["bound"], own["worst"], own["passed"]) == (4.4e-16, 4.3e-15, "left_knee.y", True)
    assert json.loads(to_json(FAILED))["certificate"]["where"] == {"module": "blocks.1.bn", "line": "model.py:57"}


def test_convert_json() -> None:
    found = json.loads(to_json(CONVERT))
    assert found["choices"][0]["action"] == "4: (0 2) (1 3)"
    assert found["drift"]["rho"] == 1.5 and found["cost"]["parameters_after"] == 2_150_000
    own = found["moved"][1]
    assert list(own) == ["name", "kind", "distance", "zeroed", "where"]
    assert own["name"] == "fc1.bias" and own["where"] == {"module": "fc1", "line": "model.py:9"}


@pytest.mark.parametrize("report", ALL, ids=lambda own: type(own).__name__)
def test_json_is_strict(report: VerifyReport) -> None:
    assert json.loads(to_json(report))["model"] == "lifter.pt2"


def test_figures_that_are_not_finite_are_text() -> None:
    broken = replace(BAD, outputs=(OutputResidual(0, float("inf"), 0.0, 0.0, "hip.x is nan for x"),))
    assert (
        json.loads(to_json(replace(FAILED, judgement=replace(FAILED.judgement, numeric=broken))))["numeric"]["outputs"][
            0
        ]["residual"]
        == "inf"
    )


# ---- JUnit ----------------------------------------------------------------------------------------------------
def test_junit_passes() -> None:
    root = ET.fromstring(to_junit(VERIFY).encode())
    assert root.attrib == {"tests": "4", "failures": "0", "errors": "0"}
    assert [case.attrib["name"] for case in root.iter("testcase")] == [
        *("numeric: output 0", "numeric: state h", "certificate", "degeneracy")
    ]
    assert not list(root.iter("failure"))
    facts = [(entry.attrib["name"], entry.attrib["value"]) for entry in root.iter("property")]
    assert facts == [
        ("verdict", VERIFY.verdict),
        ("standing", "warning"),
        ("warning", "bone a - b has no mirror image a - c"),
    ]


def test_junit_fails_with_figures() -> None:
    root = ET.fromstring(
        to_junit(
            replace(FAILED, judgement=replace(FAILED.judgement, degeneracy=DEAD), model="a<b>\x00\udcff\ufffe")
        ).encode()
    )
    messages = [own.attrib["message"] for own in root.iter("failure")]
    assert messages == [
        "max |F(Tx) - T F(x)| = 3.1e-2, bound 4.7e-6 (float32, output scale 1.2, 256 samples); worst: right_elbow.x",
        "blocks.1.bn (model.py:57): running_mean is not invariant",
        "odd share output 0: 49.7 % -> 0.0 %",
    ]
    assert root[0].attrib["name"] == "chiralize verify a<b>???"


# ---- HTML -----------------------------------------------------------------------------------------------------
class Tags(HTMLParser):
    """Checks that tags are closed in order."""

    VOID = frozenset({"meta", "rect", "line", "br", "circle", "polygon", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)


@pytest.mark.parametrize("report", ALL, ids=lambda own: type(own).__name__)
def test_html_is_well_formed_and_self_contained(report: VerifyReport) -> None:
    page = to_html(report)
    tags = Tags()
    tags.feed(page)
    assert tags.open == [] and "table" in tags.seen
    assert not re.search(r"https?://|<script|<link|<img|@import|url\(", page)


def test_html_escapes_and_draws() -> None:
    page = to_html(replace(CONVERT, model="<script>alert(1)</script>", notes=('"&<',)))
    assert "<script>" not in page and "&quot;&amp;&lt;" in page
    assert page.count("<svg") == 1 and 'class="bars"' in page, "the dial, and bars of more than one figure"
    infinite = replace(BAD, outputs=(OutputResidual(0, float("inf"), 1.0, 1e-9, "x"),))
    assert "nan" not in to_html(replace(FAILED, judgement=replace(FAILED.judgement, numeric=infinite)))


# ---- terminals ------------------------------------------------------------------------------------------------
LONG = "encoder.blocks.11.attention.output_projection.weight"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    """Names are shortened in the middle, sentences wrapped, figures left as they are."""
    names = [f"{LONG}_{index}" for index in range(3)]
    moved = tuple(Moved(name, "parameter", 0.03, 0, Where(name, "nets/models/lifter.py:123")) for name in names)
    report = replace(CONVERT, changes=replace(CONVERT.changes, moved=moved), evidence=SEEN, notes=("word " * 60,))
    lines = to_text(report, width).splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.startswith("  encoder") and "…" in line and "3.0 %" in line for line in lines)
    assert to_text(report, width).split()[:40] == to_text(report).split()[:40], "the sentence is whole"


def test_files_and_pipes_hold_everything() -> None:
    report = replace(CONVERT, changes=replace(CONVERT.changes, moved=(Moved(LONG, "parameter", 0.03, 0, Where(LONG)),)))
    assert LONG in to_text(report) and "…" not in to_text(report)
    assert to_text(report, 1000) == to_text(report)


def test_a_terminal_too_narrow_for_the_figures() -> None:
    """They are shown all the same."""
    assert "4,291,635" in to_text(CONVERT, 20) and "x0.50" in to_text(CONVERT, 20)


def test_commands_ask_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    show(CONVERT, Format.text)
    assert capsys.readouterr().out == to_text(CONVERT)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show(CONVERT, Format.text)
    assert capsys.readouterr().out == to_text(CONVERT, 60, short=True)
    show(CONVERT, Format.text, verbose=True)
    assert capsys.readouterr().out == to_text(CONVERT, 60) != to_text(CONVERT)


@pytest.mark.parametrize("report", [CONVERT, VERIFY, FAILED, AUDIT_ALL], ids=["convert", "verify", "failed", "audit"])
def test_a_screen_has_every_warning(report: VerifyReport) -> None:
    lines = to_text(report, 100, short=True).splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 100
    text = " ".join(" ".join(lines).split())
    assert report.verdict in text and all(warning in text for warning in report.warnings) and text.endswith("figure")


def test_many_warnings_fit_on_the_smallest_terminal() -> None:
    """Each is named; what there is no room for is what -v shows. Where there is room, nothing is left out."""
    warnings = tuple(f"the original does a thing ({number}; 2 is usual): " + 40 * "because " for number in range(4))
    report = replace(CONVERT, notes=(*CONVERT.notes,), evidence=replace(CONVERT.evidence, warnings=warnings))
    narrow = to_text(report, 80, short=True)
    assert narrow.count("\n") <= SCREEN and narrow.endswith("-v says why and what to do, and shows every figure\n")
    for number, warning in enumerate(warnings):
        assert f"warning: the original does a thing ({number}; 2 is usual)\n" in narrow
        assert warning.strip() in " ".join(to_text(report).split())


def test_where_all_parameters_are_free_none_are_determined() -> None:
    """As of layers that hold half of the weights and make the others."""
    judged = replace(VERIFY.judgement, degeneracy=replace(VERIFY.judgement.degeneracy, free_share=1.0))
    assert "\n  100.0 % of its parameters can be chosen freely\n" in to_text(replace(VERIFY, judgement=judged))


def test_a_part_of_the_given_data_is_no_random_input() -> None:
    """Of a costly network, or along sequences, the source says more than `given data`."""
    audit = replace(AUDIT, source="given data, along sequences, 60 of 600 steps: a run of the network is costly")
    assert facts_of(audit) == [Fact("Gap of left and right", "0.81", "very large", "bad")]
    assert "random inputs" in facts_of(replace(AUDIT, source="random inputs"))[0].note


def test_times_of_calls() -> None:
    """In the table of costs; in the headline that of the larger batch, and that of a smaller one that is slower."""
    timed = replace(CONVERT, cost=replace(CONVERT.cost, times=TIMES))
    assert (
        "; one pass, 0.50 of the multiplications, 1.25 of the time (64 samples; 2.00 with 1 sample), 0.62 of that of "
        "two runs"
    ) in timed.verdict
    assert Fact("Time, here", "1.25 of the original's", "64 samples; 2.00 with 1 sample") in facts_of(timed)
    faster = replace(
        timed, cost=replace(timed.cost, times=(replace(TIMES[0], ratio=1.02), replace(TIMES[1], ratio=0.9)))
    )
    assert ", 0.90 of the time (64 samples);" in faster.verdict
    text = to_text(timed)
    assert "  time, 1 sample, 1 thread       0.36 ms    0.72 ms  x2.00\n" in text
    assert "  time, 64 samples, 2 threads       2 ms     2.5 ms  x1.25\n" in text
    slower = replace(timed, cost=replace(timed.cost, times=(TIMES[0], replace(TIMES[1], ratio=2.5))))
    assert "1.25 of that of two runs, which `--method average` makes, without an error of its own" in slower.verdict
    assert to_dict(timed)["cost"]["times"][1]["after"] == 2.5e-3 and " of the time" not in CONVERT.verdict


def test_commands_in_a_page_are_code() -> None:
    """Between backticks, and what they hold is escaped as all text is."""
    noted = to_html(replace(CONVERT, notes=("`chiralize audit` shows <b> & more",)))
    assert "<code>chiralize audit</code> shows &lt;b&gt; &amp; more" in noted and "`" not in noted
