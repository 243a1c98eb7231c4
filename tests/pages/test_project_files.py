"""The files that a project has beside its code agree with it."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

import chiralize

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == chiralize.__version__ and citation["license"] == "MIT"
    assert citation["references"][0]["year"] == 2019


PAGES = [ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("docs/decisions/*.md"))]
NAMED = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.py|(?:[a-z_]+/)+)`")
CODE = [path for folder in ("chiralize", "tests", "examples", "benchmarks") for path in ROOT.glob(f"{folder}/**/*")]


def missing(text: str) -> set[str]:
    """The folders and Python files that a page names and nobody has."""
    return {name for name in NAMED.findall(text) if name.rstrip("/") not in ends_of_paths()}


@cache
def ends_of_paths() -> set[str]:
    """Every path of the project, and what is left of it without its first folders."""
    ends = set[str]()
    for path in [*CODE, *ROOT.iterdir(), *ROOT.glob("docs/*")]:
        parts = path.relative_to(ROOT).parts
        ends.update("/".join(parts[start:]) for start in range(len(parts)))
    return ends


def test_paths_that_pages_name_exist() -> None:
    gone = {page.name: names for page in PAGES if (names := missing(page.read_text(encoding="utf-8")))}
    assert gone == {}
    assert missing("`methods/auto.py`, `infer/rules/`, `methods/lost.py`, `lost/`") == {"methods/lost.py", "lost/"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_ask_for_no_more_than_they_need(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 45
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert "${{ github." not in step.get("run", ""), "what a tag is called must not become a command"


@pytest.mark.parametrize("path", [path for path in FORMS if path.stem != "config"], ids=lambda path: path.stem)
def test_forms_are_whole(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    names = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(names) == len(set(names)) and all(field["attributes"] for field in form["body"])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is of Python 3.11")
def test_the_source_archive_has_what_its_tests_need() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = set(project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    imported: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        imported |= set(re.findall(r"^(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert {name for name in imported if (ROOT / name).is_dir()} <= included
    assert {path.name for path in ROOT.glob("*.md")} <= included
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for needed in project["project"]["optional-dependencies"]["docs"]:
        assert re.split(r"[<>=]", needed)[0] + "==" in pinned


def test_no_page_holds_both_sides_of_a_merge() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    assert [page.name for page in pages if both_sides(page.read_text(encoding="utf-8"))] == []
    assert both_sides("one\n<<<<<<< HEAD\ntwo\n=======\nthree\n>>>>>>> other\n")


def both_sides(text: str) -> bool:
    """Whether a merge left its marks in a text."""
    return any(line.startswith(("<<<<<<< ", ">>>>>>> ")) for line in text.splitlines())
