"""torch kept quiet in the thread that asks for it; other threads are heard as before.

Log levels, warning filters and sys.stderr belong to the whole process. What is put in their place here lets pass all
that does not come from a thread that is silenced.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from typing import Any


class _Silence(threading.local):
    """How many `quiet` blocks this thread is in."""

    depth = 0


_silence = _Silence()


class _InSilence:
    """Matches every text in a thread that is silenced, and none in another; stands where a pattern is looked for."""

    def match(self, _text: str) -> bool:
        return _silence.depth > 0


class _OfOthers(logging.Filter):
    """Lets log records pass but those of torch in a thread that is silenced."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (_silence.depth and record.name.split(".")[0] == "torch")


class _Stderr:
    """sys.stderr without what a silenced thread writes."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        return len(text) if _silence.depth else self.stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)


class _Switch:
    """Puts in place what silences, once for all threads that ask for it, and takes it away after the last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.restore = contextlib.ExitStack()
        self.filter = _OfOthers()

    def __enter__(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                self._install()
        _silence.depth += 1

    def __exit__(self, *_: object) -> None:
        _silence.depth -= 1
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self.restore.close()

    def _install(self) -> None:
        before, ours = sys.stderr, _Stderr(sys.stderr)
        sys.stderr = ours  # type: ignore[assignment]
        self.restore.callback(_put_back, before, ours)
        filters: list[Any] = warnings.filters  # type: ignore[assignment]
        filters.insert(0, _IN_SILENCE)  # it is inert in other threads
        self.restore.callback(_remove, _IN_SILENCE)
        for handler in _handlers():
            handler.addFilter(self.filter)
            self.restore.callback(handler.removeFilter, self.filter)


_IN_SILENCE = ("ignore", _InSilence(), Warning, None, 0)
_switch = _Switch()


def _handlers() -> list[logging.Handler]:
    """All that could write what torch logs."""
    by_name = logging.root.manager.loggerDict  # of a parent that nobody asked for yet it holds a placeholder
    of_torch = [own for name, own in by_name.items() if name == "torch" or name.startswith("torch.")]
    loggers = [logging.getLogger(), *(own for own in of_torch if isinstance(own, logging.Logger))]
    found = [handler for own in loggers for handler in own.handlers]
    return [*found, logging.lastResort] if logging.lastResort else found


def _put_back(before: Any, ours: _Stderr) -> None:
    if sys.stderr is ours:  # else somebody else has taken its place meanwhile
        sys.stderr = before


def _remove(entry: tuple[Any, ...]) -> None:
    filters: list[Any] = warnings.filters  # type: ignore[assignment]
    with contextlib.suppress(ValueError):  # another list is in use since
        filters.remove(entry)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing that torch logs, warns of or prints in this thread is seen; other threads are heard as before.

    torch.export prints graphs to stderr and warns about things that are no concern of the user.
    """
    with _switch:
        yield
