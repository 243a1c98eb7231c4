"""Pages looked at in a browser without a window: what axe finds, what is too wide, which words are covered.

Chromium is started once for all views of a page. Each is a frame with its own width and colour scheme, in one page
around them, and sends what `in_browser.js` found in it. Chromium prints that page and takes a picture of it. So
neither a driver nor a protocol is needed, and any Chromium will do.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matplotlib.image import imread

HEIGHT = 900
_LOOKING = Path(__file__).with_name("in_browser.js")
_PROGRAMS = ("chromium-headless-shell", "google-chrome", "google-chrome-stable", "chromium", "chromium-browser")
_AXES = ("axe_playwright_python", "axe_core_python")
"""Packages that bring axe-core along, the newer one first; nothing of them is imported."""


@dataclass(frozen=True)
class View:
    """How a page is looked at: its file, its width in pixels, and whether the reader's system is dark."""

    page: Path
    width: int
    is_dark: bool


def views(page: Path) -> tuple[View, ...]:
    """A page on a telephone and on a desk, light and dark."""
    return tuple(View(page, width, is_dark) for width in (390, 1280) for is_dark in (False, True))


@dataclass(frozen=True)
class Seen:
    """What was seen of one view.  faults: sentences; picture: height x width x 3, from 0 to 1, the first screen."""

    view: View
    width: int
    is_dark: bool
    faults: tuple[str, ...]
    picture: np.ndarray


def chromium() -> str | None:
    """The program, or nothing where there is none."""
    return next(filter(None, map(shutil.which, _PROGRAMS)), None)


def axe() -> Path | None:
    """The script of axe-core, or nothing where no package has it."""
    for name in _AXES:
        package = find_spec(name)
        if package is not None and package.origin is not None:
            return Path(package.origin).with_name("axe.min.js")
    return None


def missing() -> str:
    """What has to be installed before pages can be looked at; empty where everything is."""
    if chromium() is None:
        return f"no Chromium on the path: install a package of chromium, or one of {', '.join(_PROGRAMS)}"
    if axe() is None:
        return "no axe-core: pip install -c constraints.txt axe-core-python"
    return ""


def look(wanted: Sequence[View]) -> tuple[Seen, ...]:
    """What is seen in each view. Beside every page a copy is written, so that its links hold.

    Raises RuntimeError where a view sent nothing, and what subprocess raises where Chromium fails or hangs.
    """
    for page in {view.page for view in wanted}:
        _write_copy(page)
    around, picture = wanted[0].page.with_suffix(".views.html"), wanted[0].page.with_suffix(".png")
    around.write_text(_around(wanted), encoding="utf-8")
    answers = _answers(_run(around, picture, sum(view.width for view in wanted)))
    if len(answers) != len(wanted):
        raise RuntimeError(f"{len(answers)} of {len(wanted)} views of {wanted[0].page} have answered")
    pixels = imread(picture)[..., :3]
    seen: list[Seen] = []
    left = 0
    for index, view in enumerate(wanted):
        answer = answers[index]
        shown = pixels[:, left : left + view.width]
        seen.append(Seen(view, answer["width"], answer["is_dark"], tuple(answer["faults"]), shown))
        left += view.width
    return tuple(seen)


def _copy(page: Path) -> Path:
    return page.with_suffix(".judged.html")


def _write_copy(page: Path) -> None:
    """The page with axe and our script at its end."""
    axe_script = axe()
    assert axe_script is not None
    scripts = "".join(f'<script src="{path.as_uri()}"></script>' for path in (axe_script, _LOOKING))
    text = page.read_text(encoding="utf-8")
    assert "</body>" in text
    _copy(page).write_text(text.replace("</body>", f"{scripts}</body>"), encoding="utf-8")


def _around(wanted: Sequence[View]) -> str:
    """A page with a frame for each view, side by side, that writes down what each frame sends."""
    frames: list[str] = []
    for view in wanted:
        scheme = "dark" if view.is_dark else "light"
        style = f"width:{view.width}px;height:{HEIGHT}px;border:0;flex:none;background:Canvas;color-scheme:{scheme}"
        frames.append(f'<iframe src="{_copy(view.page).as_uri()}" style="{style}"></iframe>')
    return (
        '<!doctype html><body style="margin:0;display:flex"><script>addEventListener("message", event => {'
        "const index = [...document.querySelectorAll('iframe')].findIndex(one => one.contentWindow === event.source);"
        "const note = document.createElement('pre'); note.hidden = true; note.dataset.view = index;"
        "note.textContent = JSON.stringify(event.data); document.body.append(note)})</script>" + "".join(frames)
    )


def _run(page: Path, picture: Path, width: int) -> str:
    """The page as Chromium prints it when everything on it is done. The picture is written on the way."""
    program = chromium()
    assert program is not None
    done = subprocess.run(
        [
            program,
            "--headless",
            "--no-sandbox",  # containers have none, and the pages are ours
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            f"--user-data-dir={page.with_suffix('.profile')}",
            f"--window-size={width},{HEIGHT}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout


def _answers(printed: str) -> dict[int, dict]:
    """What each frame sent, by its number."""
    notes = re.findall(r'<pre [^>]*data-view="(\d+)"[^>]*>(.*?)</pre>', printed, re.DOTALL)
    return {int(index): json.loads(html.unescape(text)) for index, text in notes}
