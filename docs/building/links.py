"""Links of pages that are shown in another folder than the one that they were written for."""

from __future__ import annotations

import os
import re
from pathlib import Path

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent

SHOWN = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "inside/generated/contributing.md",
    "CHANGELOG.md": "inside/generated/changelog.md",
    "SECURITY.md": "inside/generated/security.md",
    "examples/README.md": "numbers/generated/overview.md",
    "examples/lifting/README.md": "numbers/generated/lifting.md",
    "examples/lifting/DATA.md": "numbers/generated/lifting-data.md",
    "examples/forecasting/README.md": "numbers/generated/forecasting.md",
    "examples/recognition/README.md": "numbers/generated/recognition.md",
    "examples/policy/README.md": "numbers/generated/policy.md",
    "examples/notebook/README.md": "tutorials/generated/notebook.md",
}
"""Pages of the repository outside `docs/`, and where the site shows them."""
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def relinked(text: str, written_in: Path, shown_in: Path) -> str:
    """The text with its links made right for a folder of `docs/`; what the site does not show becomes plain words."""

    def replaced(match: re.Match[str]) -> str:
        image, words, target, anchor = match.groups()
        aim = Path(os.path.normpath(written_in / target))
        inside = aim.relative_to(ROOT).as_posix() if aim.is_relative_to(ROOT) else ""
        if inside in SHOWN:
            aim = DOCS / SHOWN[inside]
        elif not image and not aim.is_relative_to(DOCS):
            return words
        if aim.is_dir():
            return words
        return f"{image}[{words}]({os.path.relpath(aim, shown_in)}{anchor or ''})"

    return _LINK.sub(replaced, text)
