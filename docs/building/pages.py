"""The pages that nobody writes by hand: made from the code when the site is built."""

from __future__ import annotations

from collections.abc import Mapping

from docs.building import command_line, keys, notebooks, python_names, skeletons
from docs.building.links import DOCS, ROOT, SHOWN, relinked


def _shown() -> dict[str, str]:
    """Pages of the repository outside `docs/`, with their links made right."""
    pages: dict[str, str] = {}
    for source, target in SHOWN.items():
        if "/generated/" in target:
            text = (ROOT / source).read_text(encoding="utf-8")
            pages[target] = relinked(text, (ROOT / source).parent, (DOCS / target).parent)
    return pages


def generated() -> Mapping[str, str | bytes]:
    """Every generated page, and the pictures of those that have some, by their path within `docs/`."""
    return {
        "reference/generated/command-line.md": command_line.page(),
        "reference/generated/python.md": python_names.page(),
        "reference/generated/keys.md": keys.page(),
        "reference/generated/skeletons.md": skeletons.page(),
        **notebooks.generated(),
        **_shown(),
    }
