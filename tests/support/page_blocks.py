"""The blocks of a page of the site, run in the order in which a reader meets them.

Python is run, lines after `$` go to the command line, and a block whose first line names a file is written to it.
Text, plain indented lines and commands of other programs are left alone.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from chiralize.cli.app import app

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+\.(?:py|yaml))\n")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every fenced block."""
    return _FENCE.findall(page.read_text(encoding="utf-8"))


def run(page: Path, folder: Path, names: dict[str, Any]) -> None:
    """Run a page's blocks in the working folder, with `names` for its Python. Raises what they raise."""
    for language, text in blocks(page):
        named = _FILE.match(text)
        if language in ("python", "yaml") and named is not None:
            (folder / named[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, str(page), "exec"), names)
        elif language == "console":
            for line in text.replace("\\\n", " ").splitlines():
                _command(line)


def _command(line: str) -> None:
    """One line of a terminal; a prompt before another program than chiralize says that it is only shown."""
    program, *words = shlex.split(line.removeprefix("$ "))
    if program != "chiralize" or words == ["demo"]:
        return
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, f"{line}\n{result.output}"
