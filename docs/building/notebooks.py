"""Notebooks as pages: their text, their cells, and what the cells printed and drew when the notebook was last run.

Nothing is run when the site is built. That the outputs are those of the code is what the tests say.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from docs.building.links import DOCS, ROOT, relinked

NOTEBOOKS = {
    "examples/notebook/chirality.ipynb": "tutorials/generated/chirality.md",
    "examples/notebook/policy.ipynb": "tutorials/generated/policy.md",
}
"""Every notebook, and the page within `docs/` that shows it."""
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$", re.DOTALL)
_MATRIX = re.compile(r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", re.DOTALL)
_WRAPPED = re.compile(r"\\(?:text|mathrm)\{([^{}]*)\}")
_SIGNS = {
    r"\mapsto": "↦",
    r"\sigma": "σ",
    r"\rho": "ρ",
    r"\circ": "∘",
    r"\lVert": "|",
    r"\rVert": "|",
    r"\tfrac12": "½",
    r"\sqrt2": "√2",
    r"\qquad": "   ",
    r"\quad": "  ",
    r"\,": " ",
    r"\ ": " ",
    r"\{": "{",
    r"\}": "}",
}


def page(source: str, target: str) -> tuple[str, Mapping[str, bytes]]:
    """The page of a notebook as Markdown, and its pictures by name, which lie beside it."""
    notebook = json.loads((ROOT / source).read_text(encoding="utf-8"))
    stem = Path(source).stem
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        text = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            parts.append(relinked(in_words(text), (ROOT / source).parent, (DOCS / target).parent))
            continue
        parts.append(f"```python\n{text}\n```")
        for output in cell["outputs"]:
            if "text" in output:
                parts.append("```text\n" + "".join(output["text"]).rstrip() + "\n```")
                continue
            name = f"{stem}-{len(pictures) + 1}.png"
            pictures[name] = base64.b64decode("".join(output["data"]["image/png"]))
            parts.append(f"![What the cell above draws]({name})")
    note = f"*A notebook, `{source}`. `python -m examples.notebook` runs it anew.*"
    return "\n\n".join([_title_first(parts[0], note), *parts[1:]]) + "\n", pictures


def in_words(text: str) -> str:
    """Markdown whose formulas are plain text, so that a page needs no script that sets them.

    >>> in_words(r"Twice is nothing: $T T x = x$, and $\\rho$ is small.")
    'Twice is nothing: *T T x = x*, and *ρ* is small.'
    """

    def replaced(match: re.Match[str]) -> str:
        """A formula on lines of its own as a block, one within a line in italics."""
        block, inline = match.groups()
        if block is None:
            return f"*{_plain(inline)}*"
        return "```text\n" + _plain(block).strip().rstrip(",") + "\n```"

    return _FORMULA.sub(replaced, text)


def generated() -> Mapping[str, str | bytes]:
    """All pages and pictures by their path within `docs/`."""
    files: dict[str, str | bytes] = {}
    for source, target in NOTEBOOKS.items():
        text, pictures = page(source, target)
        files[target] = text
        for name, picture in pictures.items():
            files[(Path(target).parent / name).as_posix()] = picture
    return files


def _title_first(text: str, note: str) -> str:
    """The first cell, with a note behind its title."""
    title, _, rest = text.partition("\n")
    return f"{title}\n\n{note}\n{rest}"


def _plain(formula: str) -> str:
    """A formula without commands."""
    matrices = _MATRIX.findall(formula)
    if matrices:
        return "\n".join(_side_by_side([list(_rows(matrix)) for matrix in matrices]))
    text = _WRAPPED.sub(r"\1", formula)
    for command, sign in _SIGNS.items():
        text = text.replace(command, sign)
    return re.sub(r"_\{([^{}]*)\}", r"_\1", text)


def _rows(matrix: str) -> Iterator[str]:
    """The rows of a matrix, their entries in columns."""
    for row in matrix.split(r"\\"):
        entries = [_plain(entry.strip()) for entry in row.split("&")]
        yield " ".join(f"{entry:>4}" for entry in entries)


def _side_by_side(matrices: list[list[str]]) -> Iterator[str]:
    """Matrices that are equal, row by row, with the sign between them in the middle."""
    for number, rows in enumerate(zip(*matrices, strict=True)):
        between = "  =  " if number == len(matrices[0]) // 2 else "     "
        yield between.join(f"( {row} )" for row in rows)
