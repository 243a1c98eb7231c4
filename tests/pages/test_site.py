"""The pages of the site run, their pictures are drawn by the code, and what is generated is complete."""

from __future__ import annotations

import doctest
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import chiralize
from chiralize.body.skeleton.catalog import shipped
from docs.building import command_line, figures, keys, notebooks, python_names, skeletons
from docs.building.links import DOCS, ROOT, SHOWN, relinked
from tests.support import page_blocks

WRITTEN = sorted(path for folder in ("start", "concepts", "how-to") for path in (DOCS / folder).glob("*.md"))
WITH_BLOCKS = [page for page in WRITTEN if any(kind != "text" for kind, _ in page_blocks.blocks(page))]
LONG, LONG_PAGES = pytest.mark.thorough, ("forecaster", "recogniser", "deploy", "pose-lifter", "calibrate", "when-not")
"""Conversions of these ways are on the other pages, too."""
FIRST = DOCS / "start" / "first-conversion.md"


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the first conversion makes before it converts."""
    folder = tmp_path_factory.mktemp("first")
    python = [text for kind, text in page_blocks.blocks(FIRST) if kind == "python"]
    (folder / "nets.py").write_text(python[0], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        exec(python[1], {})
        sys.modules.pop("nets", None)
    return folder


@pytest.fixture
def folder(beginning: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder but for those files; fits and sizes are tried as often as tests have time for."""
    for path in beginning.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("chiralize.graph.other_sizes._MOST", 40)
    monkeypatch.setattr("chiralize.methods.refine.budget._ROUNDS", 0)
    yield tmp_path
    sys.modules.pop("nets", None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.stem, marks=LONG if page.stem in LONG_PAGES else ()) for page in WITH_BLOCKS]
)
def test_page_runs(page: Path, folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    page_blocks.run(page, folder, names)


def test_a_block_that_fails_is_seen(folder: Path) -> None:
    page = folder / "page.md"
    for text in ("```python\nassert False\n```\n", "```console\n$ chiralize verify nothing.pt2\n```\n"):
        page.write_text(text)
        with pytest.raises(AssertionError):
            page_blocks.run(page, folder, {})


def test_pictures_are_in_step() -> None:
    drawn = figures.drawn()
    assert set(drawn) == set(figures.FOLDER.glob("*.svg"))
    for path, text in drawn.items():
        assert path.read_text(encoding="utf-8") == text, "run: python -m docs.building.figures"


def test_every_concept_has_a_picture() -> None:
    for page in (DOCS / "concepts").glob("*.md"):
        if page.stem != "index":
            assert "figures/concepts/" in page.read_text(encoding="utf-8"), page


def test_reference_has_every_command_and_option() -> None:
    page = command_line.page()
    names = [name for name, _ in command_line.commands()]
    assert {"chiralize convert", "chiralize skeleton import"} <= set(names)
    for name, command in command_line.commands():
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        shown = [option for option in command.params if option.name != "help" and not getattr(option, "hidden", False)]
        for option in shown:
            words = {option.opts[-1], option.opts[-1].upper(), (option.metavar or "").replace("|", "\\|")}
            assert any(f"`{word}`" in section for word in words), (name, option.name)


def test_reference_has_every_public_name() -> None:
    listed = [name for names in python_names.GROUPS.values() for name in names]
    assert sorted(listed) == sorted(set(chiralize.__all__) - {"__version__"})


def test_reference_has_every_key_and_skeleton(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "| `layout` |" in keys.page()
    page = skeletons.page()
    assert all(f"`{name}`" in page for name in shipped())
    monkeypatch.setattr(keys, "ENTRY_KEYS", (*keys.ENTRY_KEYS, "new_key"))
    with pytest.raises(ValueError, match="new_key"):
        keys.page()


def test_notebooks_are_pages_with_their_outputs() -> None:
    """Every cell, printed line and picture; formulas as plain text, since a page fetches no script."""
    assert doctest.testmod(notebooks).attempted == 1 and not doctest.testmod(notebooks).failed
    files = notebooks.generated()
    for source, target in notebooks.NOTEBOOKS.items():
        text = files[target]
        assert isinstance(text, str) and not re.search(r"\$|\\[a-z]", re.sub(r"(?s)```python.*?```", "", text))
        pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
        assert len(pictures) == len(set(pictures)) >= 2
        for picture in pictures:
            content = files[f"tutorials/generated/{picture}"]
            assert isinstance(content, bytes) and content.startswith(b"\x89PNG")
        cells = json.loads((ROOT / source).read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            for output in cell.get("outputs", ()):
                assert "".join(output.get("text", "")).rstrip() in text


def test_docstrings_become_lists_of_parameters() -> None:
    assert doctest.testmod(python_names).attempted == 1 and not doctest.testmod(python_names).failed


def test_links_that_leave_the_pages() -> None:
    here = DOCS / "inside" / "generated"
    assert all((ROOT / source).is_file() for source in SHOWN)
    assert relinked("[a](docs/rules.md#x)", ROOT, here) == "[a](../../rules.md#x)"
    assert relinked("[a](chiralize/commands/api.py) [b](https://x.org)", ROOT, here) == "a [b](https://x.org)"
    assert relinked("[the examples](../examples/README.md)", DOCS, DOCS) == (
        "[the examples](numbers/generated/overview.md)"
    )


@cache
def generated_pages() -> frozenset[Path]:
    """Pages that lie there only once the site is built."""
    named = {DOCS / name for name in (*SHOWN.values(), *notebooks.generated())}
    reference = ("command-line", "python", "keys", "skeletons")
    return frozenset(named | {DOCS / "reference" / "generated" / f"{name}.md" for name in reference})


@pytest.mark.parametrize("page", sorted(DOCS.glob("*/*.md")), ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_links(page: Path) -> None:
    """Links lead to files, or to pages that are generated when the site is built."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        path = (page.parent / target).resolve()
        assert path.exists() or path in generated_pages(), target
