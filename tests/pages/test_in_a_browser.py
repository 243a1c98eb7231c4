"""Reports, the frame in a notebook and pages of the site in Chromium: light and dark, on a telephone and on a desk."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from html import escape
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.report import to_html
from chiralize.report.body import drawn
from chiralize.report.page_style import DARK, LIGHT
from chiralize.report.particulars import JointGap
from chiralize.report.records import Report
from tests.report.test_formats import FAILED, VERIFY
from tests.report.test_page import CONVERTED, NOT, PAGES
from tests.support import browser

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())

WIDE = drawn(load_skeleton("coco-wholebody-133"), 0)
REPORTS: dict[str, Report] = {
    "converted": CONVERTED,
    "failed": NOT,
    "warned": PAGES["warned"],
    "wide skeleton": replace(FAILED, bodies=(WIDE,), joints=tuple(JointGap(0, name, 0.3) for name in WIDE.joints)),
    "audit": PAGES["audit"],
}
SITE = [
    "index.html",
    "start/first-conversion.html",
    "start/which-method.html",
    "concepts/equivariance.html",
    "how-to/pose-lifter.html",
    "results.html",
    "speed.html",
    "glossary.html",
    "reference/generated/command-line.html",
    "reference/generated/python.html",
    "tutorials/generated/chirality.html",
    "decisions/0001-average-runs-both-views-apart.html",
]
FAULTY = """<!doctype html><html lang="en"><head><title>faulty</title>
<meta name="viewport" content="width=device-width"></head><body><main><h1>Faults</h1>
<p style="color:#bbb;background:#fff">too pale</p><input><div style="width:600px;background:#eee">a wide box</div>
<div style="overflow-x:auto"><a href="#">a link</a><p style="width:500px">a line that does not wrap</p></div>
<div style="position:relative"><p>words below a lid</p>
<i style="position:absolute;inset:0;background:#070"></i></div></main></body></html>"""


def judge(page: Path) -> None:
    """Fail on every fault of a page, in each of its four views."""
    for seen in browser.look(browser.views(page)):
        check(seen)


def check(seen: browser.Seen) -> None:
    """Fail on every fault, on a picture that is blank, and where the frame was not what it should be."""
    assert (seen.width, seen.is_dark) == (seen.view.width, seen.view.is_dark)
    assert not seen.faults, seen.view
    assert is_drawn(seen.picture), seen.view
    assert (commonest(seen.picture).mean() < 0.4) == seen.is_dark, "the ground does not follow the reader's system"


def is_drawn(picture: np.ndarray) -> bool:
    """Whether a picture shows words, rather than a ground or two."""
    return len(np.unique(picture.reshape(-1, 3), axis=0)) > 20 and picture.std() > 0.03


def commonest(picture: np.ndarray) -> np.ndarray:
    """The colour that most of a picture has: (3,), from 0 to 1."""
    colours, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    return colours[counts.argmax()]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.thorough) for name in REPORTS])
def test_reports(name: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(to_html(REPORTS[name]), encoding="utf-8")
    judge(page)


def test_faults_are_seen_and_a_report_has_none(tmp_path: Path) -> None:
    """The one test here that always runs: a page with every kind of fault beside a report in the dark."""
    faulty, report = tmp_path / "faulty.html", tmp_path / "report.html"
    faulty.write_text(FAULTY, encoding="utf-8")
    report.write_text(to_html(CONVERTED), encoding="utf-8")
    wrong, right = browser.look((browser.View(faulty, 390, False), browser.View(report, 390, True)))
    kinds = [fault.split(":")[0] for fault in wrong.faults]
    assert kinds == ["too wide", "scrolls", "covered", "color-contrast", "label"]
    assert "608 of 390" in wrong.faults[0] and "below a lid" in wrong.faults[2]
    check(right)


@pytest.mark.thorough
@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_a_report_in_a_pale_colour_is_seen(colours: dict[str, str], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(to_html(CONVERTED).replace(colours["soft"], "#808080"), encoding="utf-8")
    (seen,) = browser.look((browser.View(page, 1280, colours is DARK),))
    assert any("color-contrast" in fault for fault in seen.faults)


@pytest.mark.thorough
def test_nothing_drawn_is_seen() -> None:
    assert not is_drawn(np.ones((900, 390, 3)))


@pytest.mark.thorough
def test_a_report_in_a_notebook(tmp_path: Path) -> None:
    """Two cells that each end with a report: the frames have names and stay within a narrow column."""
    cells = f"<h2>A cell</h2>{VERIFY._repr_html_()}<h2>Another</h2>{replace(CONVERTED, model='b.pt2')._repr_html_()}"
    style = "<style>:root{color-scheme:light dark}body{margin:1rem}</style>"
    head = f'<meta charset="utf-8"><title>{escape("A notebook")}</title>{style}'
    page = tmp_path / "notebook.html"
    page.write_text(
        f'<!doctype html><html lang="en"><head>{head}</head><body><main><h1>Notebook</h1>{cells}</main></body>'
    )
    judge(page)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the whole site, built for these tests."""
    if find_spec("sphinx") is None:
        pytest.skip('no sphinx: pip install -c constraints.txt -e ".[docs]"')
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "-m", "sphinx", "-q", "docs", str(folder)], cwd=ROOT, check=True, timeout=500)
    return folder


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("address", SITE)
def test_site(address: str, site: Path) -> None:
    """Each page narrow and wide, one of them in the dark, by turns."""
    is_dark = SITE.index(address) % 2 == 0
    for seen in browser.look(
        (browser.View(site / address, 390, is_dark), browser.View(site / address, 1280, not is_dark))
    ):
        check(seen)
