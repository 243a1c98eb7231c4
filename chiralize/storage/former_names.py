"""Names that options had before, in commands and in files, and what they are called now.

Imports no torch: the command line reads it at once.
"""

from __future__ import annotations

METHODS = {"lift": "average"}
"""`lift` is what half of the networks do to poses; the method averages both views."""
ON_BLOCKED = {"lift": "average-all"}

OPTIONS = {"--calibrate": "--calibration", "--data": "--calibration"}
"""Inputs as the network sees them in use have one name, here and in Python."""


def remark(option: str, former: str, current: str) -> str:
    """The sentence for a user who wrote the former name. former: "" where it is the option's own."""
    written = f"{option} {former}".rstrip()
    return f"{written} is called {current} now: the former name still works"
