"""The command as the user typed it, for messages that say how it would have worked.

`__main__` keeps the words while a command runs; `command()` gives `chiralize verify net.pt2 --skeleton coco`, to which
a remedy adds an option. A context variable, so that threads and nested runs of tests have their own.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_WORDS: ContextVar[Sequence[str]] = ContextVar("words", default=())


@contextmanager
def typed(words: Sequence[str]) -> Iterator[None]:
    """Let `command` tell these words meanwhile."""
    token = _WORDS.set(tuple(words))
    try:
        yield
    finally:
        _WORDS.reset(token)


def option_typed(*names: str) -> str:
    """The one of an option's names that the user typed, the first where none was."""
    for word in _WORDS.get():
        for name in names:
            # `--report=page.html`, and `-opage.html` of a short option.
            if word.partition("=")[0] == name or (word.startswith(name) and not name.startswith("--")):
                return name
    return names[0]


def command() -> str:
    """The command, quoted for a shell; "" where there is none, as in a test of somebody's."""
    words = _WORDS.get()
    if words:
        return f"chiralize {shlex.join(words)}"
    return ""
