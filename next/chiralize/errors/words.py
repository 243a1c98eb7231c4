"""How messages and reports word what they count, list, or leave out.

listed(["a", "b", "c"], 2)     a, b and 1 more
percent(0.0001)                < 0.1 %
when(names, f" of {names}")    a part of a sentence, or nothing
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence

_OF_SCRIPTS = "The following operation failed in the TorchScript interpreter"
_MARK = "<--- HERE"


def first_line(error: BaseException) -> str:
    """The first line of an error of another library, in at most 300 characters; its class where it says nothing.

    Of an error in a TorchScript the last one, since the reason comes after the lines of its code; where that gives no
    reason, as on tensors without values, the line of code that failed.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if lines[0].startswith(_OF_SCRIPTS):
        return _of_script(lines)[:300]
    return lines[0][:300]


def _of_script(lines: Sequence[str]) -> str:
    """The reason at the end of an error of TorchScript; where that ends in a colon, the last marked line of code."""
    reason = lines[-1].removeprefix("builtins.")
    marks = [number for number, line in enumerate(lines) if line.endswith(_MARK)]
    if not reason.endswith(":") or not marks:
        return reason
    return f"{reason.removesuffix(':')} at `{lines[marks[-1] - 1]}`"


def raised_at(error: BaseException) -> str:
    """The file and line that raised an error, whoever's they are: `fitting.py:31`."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names with commas; of many the first ones, and how many more there are: `a, b and 3 more`."""
    text = ", ".join(names[:most])
    if len(names) > most:
        text += f" and {len(names) - most} more"
    return text


def percent(value: float) -> str:
    """A share: `12.3 %`; what rounds to nothing without being it is `< 0.1 %`."""
    if 0 < value < 0.0005:
        return "< 0.1 %"
    return f"{100 * value:.1f} %"


def when(holds: object, text: str) -> str:
    """A part of a sentence that stands there only when something holds, else nothing: `when(names, f" of {names}")`."""
    if holds:
        return text
    return ""
