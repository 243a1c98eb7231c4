"""The notebook runs for a stranger, without jupyter and without data, and its page is the one it makes."""

from __future__ import annotations

import json
import re
import runpy
import sys
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples" / "notebook"
NOTEBOOK, PAGE, POLICY = FOLDER / "chirality.ipynb", FOLDER / "chirality.html", FOLDER / "policy.ipynb"
MOST_BYTES = 1_500_000
CREDIT = "The data used in this project was obtained from mocap.cs.cmu.edu."
MACHINE = re.compile(r"(?:/home/|/root/|/tmp/|/usr/|/Users/|site-packages|[A-Z]:\\\\Users)")
SIZES = {
    '["poses"])': '["poses"][:40])',
    '"max_drift": 10': '"max_drift": 100',
    "wide = hidden(256)": "wide = hidden(32)",
    "range(60)": "range(8)",
}
"""What the test makes smaller, for time: fewer inputs, a narrower network, fewer steps."""


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nbformat", None)
    with pytest.raises(SystemExit, match=r'nbformat is not installed\n    Fix: pip install .*"\.\[notebook\]"'):
        runpy.run_module("examples.notebook", run_name="__main__")


@lru_cache(maxsize=4)
def cells(kind: str, notebook: Path = NOTEBOOK) -> list[dict[str, Any]]:
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def words(text: str) -> str:
    """The text of a page or a cell, without tags and without spaces."""
    return re.sub(r"\s+", "", unescape(re.sub(r"<[^<>]*>", "", text)))


@pytest.mark.thorough
def test_cells_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In order, in one namespace, drawing to nowhere; warnings are errors."""
    monkeypatch.delenv("CHIRALIZE_DATA", raising=False)
    mpl.use("Agg", force=True)
    from matplotlib import pyplot as plt

    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: (shown.append(len(plt.gcf().axes)), plt.close("all")))
    known: dict[str, Any] = {}
    made_smaller = 0
    with mpl.rc_context(), torch.random.fork_rng():
        for number, cell in enumerate(cells("code")):
            source = "".join(cell["source"])
            for large, small in SIZES.items():
                made_smaller += large in source
                source = source.replace(large, small)
            exec(compile(source, f"cell {number}", "exec"), known)
    assert made_smaller == len(SIZES)
    pictures = sum("image/png" in output.get("data", {}) for cell in cells("code") for output in cell["outputs"])
    assert len(shown) == pictures and all(shown)
    text = capsys.readouterr().out
    assert "FAILED" not in text and "equal to the last bit: True" in text
    assert float(known["before"].mean()) > 10  # mm: the shipped lifter is lopsided, ...
    for network in known["chiral"].values():  # ... and what was made of it is not
        assert float(known["gap"](network, known["poses"][:32]).max()) == 0


@pytest.mark.thorough
def test_what_the_policy_notebook_shows_is_what_it_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fresh run prints every line again, and draws as often."""
    mpl.use("Agg", force=True)
    from matplotlib import pyplot as plt

    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: (shown.append(len(plt.gcf().axes)), plt.close("all")))
    known: dict[str, Any] = {}
    with torch.random.fork_rng():
        for number, cell in enumerate(cells("code", POLICY)):
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), known)
            printed = "".join("".join(output.get("text", "")) for output in cell["outputs"])
            assert capsys.readouterr().out == printed, number
    assert len(shown) == sum("data" in output for cell in cells("code", POLICY) for output in cell["outputs"])


@pytest.mark.parametrize("notebook", [NOTEBOOK, POLICY], ids=lambda path: path.stem)
def test_every_cell_was_run(notebook: Path) -> None:
    """In order, by one kernel, without an error or a warning."""
    own = cells("code", notebook)
    assert [cell["execution_count"] for cell in own] == list(range(1, 1 + len(own)))
    outputs = [output for cell in own for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "display_data"}
    assert all(output.get("name", "stdout") == "stdout" for output in outputs)


def test_page_is_the_notebooks() -> None:
    """Every heading, code cell, printed line and picture of the notebook is on the page."""
    raw = PAGE.read_text(encoding="utf-8")
    page = words(raw)
    headings = re.findall(r"(?m)^#+ (.+)$", "\n".join("".join(cell["source"]) for cell in cells("markdown")))
    assert len(headings) > 8
    for heading in headings:
        assert words(heading) in page, heading
    for cell in cells("code"):
        assert re.sub(r"\s+", "", "".join(cell["source"])) in page, cell["id"]
        for output in cell["outputs"]:
            if "text" in output:
                assert re.sub(r"\s+", "", "".join(output["text"])) in page
            else:
                assert "".join(output["data"]["image/png"]).replace("\n", "")[:400] in raw


@pytest.mark.parametrize("path", [NOTEBOOK, PAGE, POLICY], ids=lambda path: path.name)
def test_no_machine_and_not_much(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < MOST_BYTES
    assert path == POLICY or CREDIT in " ".join(text.split())
    pictures_gone = re.sub(r"[A-Za-z0-9+/=\\n]{200,}", "", text)
    assert not MACHINE.findall(pictures_gone)
    assert MACHINE.search("File /root/env/lib/python3.11/site-packages/torch")  # the check can fail


def test_order_of_the_paper() -> None:
    """Left, right, centre; in each the negated coordinates first; T is then the paper's block matrix."""
    from chiralize.body.skeleton.catalog import load_skeleton
    from examples.notebook.pictures import order_of

    body = load_skeleton("h36m")
    order, groups = order_of(body, coords=3)
    assert sorted(order.tolist()) == list(range(51))
    assert groups == {"ln": 6, "lp": 12, "rn": 6, "rp": 12, "cn": 5, "cp": 10}
    mirror = body.merged_action(["x", "y", "z"]).matrix()[np.ix_(order, order)]
    assert np.array_equal(mirror[:6, 18:24], -np.eye(6)) and np.array_equal(mirror[6:18, 24:36], np.eye(12))
    assert np.array_equal(mirror[36:, 36:], np.diag([-1.0] * 5 + [1.0] * 10))
