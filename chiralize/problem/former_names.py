"""Names that options had before, and what they are called now. Imports no torch: the command line reads it at once."""

from __future__ import annotations

METHODS = {"lift": "average"}
"""`lift` is what half of the networks do to poses; the method averages both views."""
ON_BLOCKED = {"lift": "average-all"}


def remark(option: str, former: str, current: str) -> str:
    """The sentence for a user who wrote the former name."""
    return f"{option} {former} is called {current} now: the former name still works"
