"""The HTML page: order, structure for readers of the screen, contrast, the body, the dial. No browser is needed."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from math import dist, inf, nan

import pytest

from benchmarks.accuracy.dial import curve
from chiralize.body.skeleton.catalog import load_skeleton, shipped
from chiralize.report import ConvertReport, VerifyReport, to_html
from chiralize.report.body import Body, drawn
from chiralize.report.dial import DIAL, Spot, spot_of
from chiralize.report.dial import figure as figure_of_dial
from chiralize.report.gap_picture import Gaps, step_of
from chiralize.report.gap_picture import figure as figure_of_gaps
from chiralize.report.gaps import gaps_of
from chiralize.report.page_style import DARK, LIGHT
from chiralize.report.particulars import Claims, JointGap, LeftOut
from chiralize.verification.verdicts import Drift, JointDrift, OutputDrift
from tests.report.test_formats import AUDIT_ALL, BAD, CONVERT, FAILED, VERIFY

BODY = drawn(load_skeleton("h36m"), 0)
JOINTS = tuple(JointDrift(name, 0.01 * index, 0.001, 0.1, 0.002) for index, name in enumerate(BODY.joints))
DRIFT = Drift((OutputDrift(0, 0.13, 0.03, 0.4, JOINTS),), "calibration, the last fifth", 400)
NUMERIC = CONVERT.judgement.numeric
CONVERTED = replace(CONVERT, nearness=replace(CONVERT.nearness, drift=DRIFT), bodies=(BODY,))
NOT = replace(FAILED, bodies=(BODY,), joints=tuple(JointGap(0, name, 0.7) for name in BODY.joints))
PAGES = {"converted": CONVERTED, "warned": CONVERT, "failed": NOT, "audit": AUDIT_ALL, "verified": VERIFY}


class Outline(HTMLParser):
    """Headings, landmarks, tables without a caption, pictures without words."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.landmarks: list[str] = []
        self.tables = self.captions = 0
        self.silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count what the page is made of."""
        values = dict(attrs)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag in ("header", "main", "footer"):
            self.landmarks.append(tag)
        self.tables += tag == "table"
        self.captions += tag == "caption"
        if tag == "svg" and not (values.get("aria-label") or values.get("aria-hidden")):
            self.silent.append(tag)


@pytest.mark.parametrize("name", PAGES)
def test_structure(name: str) -> None:
    page = to_html(PAGES[name])
    outline = Outline()
    outline.feed(page)
    assert outline.landmarks == ["header", "main", "footer"] and outline.levels[0] == 1
    assert all(after <= before + 1 for before, after in zip(outline.levels, outline.levels[1:], strict=False))
    assert outline.levels.count(1) == 1 and outline.tables == outline.captions > 0 and not outline.silent


def test_order() -> None:
    page = to_html(replace(CONVERTED, evidence=VERIFY.evidence))
    parts = [
        'class="sentence',
        'class="warnings',
        "joint by joint",
        "Error against cost",
        "What changed where",
        "Proved",
    ]
    positions = [page.index(part) for part in parts]
    assert positions == sorted(positions)


def luminance(colour: str) -> float:
    """Relative luminance as WCAG has it."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast(colours: dict[str, str]) -> None:
    for name in ("ink", "soft", "accent", "good", "warning", "failed"):  # what words have
        assert min(contrast(colours[name], colours[ground]) for ground in ("ground", "panel")) >= 4.5, name
    for name in ("edge", "accent"):  # what lines have that say something
        assert contrast(colours[name], colours["ground"]) >= 3, name
    assert contrast(LIGHT["ink"], "#ffffff") > 15, "the measure itself"


def test_gaps_before_and_after() -> None:
    before, after = gaps_of(CONVERTED)
    assert before.worst == (BODY.joints[-1], pytest.approx(0.16)) and set(after.by_joint.values()) == {0.0}
    page = to_html(CONVERTED)
    assert f"<title>{BODY.joints[-1]}: gap 0.16</title>" in page and ">0.160</text>" in page
    assert [step_of(gap) for gap in (0.0, 0.01, 0.05, 0.2, 0.3, 0.9)] == [0, 0, 1, 2, 3, 4]
    assert step_of(nan) == step_of(inf) == 4, "what is no number must not look like no gap"


def test_nothing_is_drawn_as_even_that_did_not_pass() -> None:
    """After a failure, and where entries of the output are not claimed, nothing is known of single joints."""
    failed = replace(CONVERTED, judgement=replace(CONVERTED.judgement, numeric=BAD))
    assert NUMERIC is not None and [gaps.title for gaps in gaps_of(failed)] == ["Before: gap of left and right"]
    part = replace(CONVERTED, claims=Claims("12 of 19 outputs", (LeftOut("arm", 7),)))
    assert len(gaps_of(part)) == 1 and '<td class="r">?</td>' in to_html(part)
    assert gaps_of(NOT)[0].worst[1] == 0.7


def boxes_of_words(drawing: str) -> dict[str, tuple[float, float, float, float]]:
    """About where the words of a drawing stand: left, top, right, bottom."""
    boxes = dict[str, tuple[float, float, float, float]]()
    pattern = r'<text x="([0-9.]+)" y="([0-9.]+)"(?: text-anchor="(\w+)")? class="halo[ a-z]*">([^<]+)<'
    for x, y, anchor, words in re.findall(pattern, drawing):
        length = 6.6 * len(words)
        left = float(x) - {"end": length, "middle": length / 2}.get(anchor, 0.0)
        boxes[words] = left, float(y) - 10, left + length, float(y) + 2
    return boxes


@pytest.mark.parametrize("cost", [0.25, 0.5, 0.6, 0.85, 0.97, 1.0, 1.05, 1.3, 2.0])
def test_no_mark_of_the_dial_stands_on_its_words(cost: float) -> None:
    drawing = figure_of_dial(Spot(cost, "somewhere", 0.99, 1.09))
    corners = re.search(r'<polygon points="([^"]+)" class="spot"/>', drawing)
    assert corners is not None
    xs, ys = zip(*(map(float, point.split(",")) for point in corners[1].split()), strict=True)
    boxes = boxes_of_words(drawing)
    assert set(boxes) == {"original", "flip average", "this network"}
    marks = [(min(xs), min(ys), max(xs), max(ys))]
    for x, y in re.findall(r'<rect x="([0-9.]+)" y="([0-9.]+)" width="8"', drawing):
        marks.append((float(x), float(y), float(x) + 8, float(y) + 8))
    for words, box in boxes.items():
        assert box[0] > 0 and box[2] < 360, words
        others = [other for name, other in boxes.items() if name != words]
        for other in (*marks, *others):
            assert not (box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]), words


def test_numbers_stand_beside_the_bones() -> None:
    """On a person all seventeen find a place that no bone goes through."""
    drawing = figure_of_gaps(Gaps(BODY, "gaps", dict.fromkeys(BODY.joints, 0.0)))
    ends = re.findall(r'<line x1="([0-9.]+)" y1="([0-9.]+)" x2="([0-9.]+)" y2="([0-9.]+)" class="bone"/>', drawing)
    numbers = re.findall(r'<text x="([0-9.]+)" y="([0-9.]+)" class="halo">0</text>', drawing)
    assert len(ends) == len(BODY.edges) and len(numbers) == len(BODY.joints)
    for x, y in ((float(x), float(y)) for x, y in numbers):
        for x1, y1, x2, y2 in (map(float, end) for end in ends):
            on_it = any(
                x < x1 + share * (x2 - x1) < x + 6 and y - 8 < y1 + share * (y2 - y1) < y
                for share in (step / 60 for step in range(61))
            )
            assert not on_it, (x, y)


def test_the_dial_is_what_the_benchmark_measured() -> None:
    assert curve() == DIAL


def test_place_on_the_dial() -> None:
    spot = spot_of(CONVERTED)
    assert spot is not None and (spot.cost, spot.low, spot.high) == (0.5, 0.97, 1.02)
    noisy = spot_of(replace(CONVERTED, nearness=replace(CONVERTED.nearness, drift=replace(DRIFT, noise=True))))
    built_in = spot_of(replace(CONVERTED, nearness=replace(CONVERTED.nearness, drift=replace(DRIFT, built_in=True))))
    assert noisy is not None and noisy.low is None and built_in is not None and built_in.low is None
    assert spot_of(replace(CONVERTED, cost=replace(CONVERT.cost, macs_before=0))) is None
    assert "this network, to 2.11" in to_html(
        replace(CONVERT, nearness=replace(CONVERT.nearness, drift=Drift((OutputDrift(0, 0.1, 0.1, 1.8),), "c", 9)))
    )


@pytest.mark.parametrize("name", ["h36m", "coco-wholebody-133", "quadruped-12", "hand-21x2"])
def test_bodies_fit_their_drawing(name: str) -> None:
    assert name == "h36m" or name in shipped()
    body = drawn(load_skeleton(name), 0)
    gaps = tuple(JointGap(0, joint, 0.3) for joint in body.joints)
    page = to_html(replace(FAILED, bodies=(body,), joints=gaps))
    xs = [float(x) for x in re.findall(r'cx="([-\d.]+)"', page)]
    assert len(xs) >= len(body.joints) and 0 <= min(xs) <= max(xs) <= 360
    left = [body.points[pair[0]][0] for pair in body.pairs]
    assert isinstance(body, Body) and sum(left) > 0, "seen from the front"


def test_joints_of_a_face_do_not_hide_each_other() -> None:
    """133 joints, 68 of them in the face: circles touch at most, down to the least that can be seen."""
    body = drawn(load_skeleton("coco-wholebody-133"), 0)
    drawing = figure_of_gaps(Gaps(body, "gaps", dict.fromkeys(body.joints, 0.3)))
    found = re.findall(r'cx="([0-9.]+)" cy="([0-9.]+)" r="([0-9.]+)" class="joint step3 small"', drawing)
    circles = [tuple(map(float, numbers)) for numbers in found]
    assert len(circles) == 133
    for one, other in combinations(circles, 2):
        if min(one[2], other[2]) > 1.2:
            assert dist(one[:2], other[:2]) > one[2] + other[2] - 0.2, (one, other)


def test_records_without_bodies_are_pages_too() -> None:
    assert isinstance(CONVERT, ConvertReport) and "joint by joint" not in to_html(CONVERT)
    assert isinstance(VERIFY, VerifyReport) and "joint by joint" not in to_html(VERIFY)
