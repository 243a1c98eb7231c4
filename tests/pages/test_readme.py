"""What the README and the other pages show is run, or at least parsed as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from chiralize.cli.app import app
from chiralize.problem.data import drawn
from chiralize.problem.poses.filling import UnfitError
from chiralize.problem.poses.windows import windows

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("examples/*/README.md"))]
LINKED = sorted({*PAGES, *(page for page in (ROOT / "docs").rglob("*.md") if "generated" not in page.parts)})
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped model in it."""
    shutil.copy(str(files("chiralize.storage.pretrained") / "lifter27.pt2"), tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(page: Path) -> list[str]:
    """Every `chiralize ...` line of a page, continued lines joined, comments and redirections dropped."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^\s*(?:\$ |- run: )?(chiralize (?!\w+ MODEL).+)$", text, re.MULTILINE)
    return [re.split(r"\s+(?:#|>|\|)\s", line)[0].strip() for line in found if "…" not in line]


CASES = [(page.relative_to(ROOT), line) for page in PAGES for line in commands(page)]


@cache
def the_command() -> Any:
    """What `chiralize` runs, with all that it consists of."""
    return typer.main.get_command(app)


@pytest.mark.parametrize(("page", "line"), CASES, ids=[f"{page}: {line}" for page, line in CASES])
def test_command_parses(page: Path, line: str) -> None:
    """Request and arguments are those of the real command."""
    words = shlex.split(line)[1:]
    command: Any = the_command()
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    command.make_context("chiralize", words, resilient_parsing=False)


def test_the_two_commands_come_first() -> None:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    assert [block.strip() for block in blocks[:2]] == [
        "pip install -c constraints.txt -e . && chiralize demo",
        'pip install -c constraints.txt -e ".[test]" && pytest -q -n 2 --dist loadfile',
    ]
    assert (
        'pip install -q --disable-pip-version-check -c constraints.txt -e ".[test]"' in (ROOT / ".ci/run").read_text()
    )


def test_python_example_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block marked `runs`, as a stranger would run it, but without built-in poses, which take minutes."""

    def none_fit(network: object) -> None:
        raise UnfitError("they are not asked for here")

    monkeypatch.setattr(drawn, "built_in", none_fit)
    monkeypatch.setattr("chiralize.graph.other_sizes._MOST", 40)
    block = re.search(r"<!-- runs: convert -->\n```python\n(.*?)```", README, re.DOTALL)
    assert block is not None
    exec(compile(block[1], "README.md", "exec"), {"__name__": "__main__"})


@pytest.mark.thorough
def test_demo(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The main job of the README's first command, on few poses: its figures are those of the files on the disk."""
    from chiralize.__main__ import main

    few = {"FITTED": 200, "TESTED": 50, "BATCH": 20, "FARTHEST": 50.0}
    for name, value in few.items():
        monkeypatch.setattr(f"chiralize.cli.demonstration.{name}", value)
    monkeypatch.delenv("CHIRALIZE_DATA", raising=False)
    monkeypatch.setattr("chiralize.graph.other_sizes._MOST", 40)  # rows and frames, of 512
    opened = list[str]()
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    monkeypatch.setattr(sys, "argv", ["chiralize", "demo", "--open"])
    main_exit = pytest.raises(SystemExit, main)
    assert main_exit.value.code == 0
    out, err = capsys.readouterr()
    assert err == "" and "Set CHIRALIZE_DATA" in out and "lifter27.pt2: converted" in out
    page = folder / "lifter27.chiral.html"
    assert opened == [page.as_uri()] and "<svg" in page.read_text(encoding="utf-8")
    rows = re.findall(r"^  ([a-z, ]+?) {2,}([12]) +x(\S+) +(\S+) +(\S+)$", out, re.MULTILINE)
    assert [(row[0], row[1]) for row in rows] == [
        ("original", "1"), ("original, flip average", "2"), ("converted", "1"),
    ]  # fmt: skip
    judged = windows(50, 27, 99)
    for row, name in ((rows[0], "lifter27.pt2"), (rows[2], "lifter27.chiral.pt2")):
        answers = torch.export.load(name).module()(torch.from_numpy(judged.inputs))
        error = (answers[:, 0] - torch.from_numpy(judged.targets)).norm(dim=-1).mean() * 1e3
        assert float(row[3]) == pytest.approx(error.item(), abs=0.06)
    assert float(rows[2][2]) < 0.6 and float(rows[2][4]) < 1e-2 < 10 < float(rows[0][4])


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Links to files of the repository lead somewhere."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
