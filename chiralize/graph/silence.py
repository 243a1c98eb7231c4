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
from functools import lru_cache
from typing import Any


class _Silence(threading.local):
    """How many `quiet` blocks this thread is in."""

    depth = 0


_silence = _Silence()


class _InSilence:
    """Takes the place of a pattern in a warning filter: matches every text in a silenced thread, none in another."""

    def match(self, _text: str) -> bool:
        """Whether this thread is silenced."""
        return _silence.depth > 0


class _OfOthers(logging.Filter):
    """Lets all log records pass but those of torch in a silenced thread."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be written."""
        return not (_silence.depth and record.name.split(".")[0] == "torch")


class _Stderr:
    """sys.stderr that drops what a silenced thread writes."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, or drop it; returns its length."""
        if _silence.depth:
            return len(text)
        return self.stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write lines, or drop them."""
        for line in lines:
            self.write(line)


class _Shared(contextlib.AbstractContextManager[None]):
    """Filters that the first thread in a `quiet` block installs, and the last one removes."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.users = 0
        self.restore = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self.lock:
            self.users += 1
            self.install(self.users == 1)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self.restore.close()

    def install(self, is_first: bool) -> None:
        """Install it; `restore` removes it. is_first: no other thread is inside, so nothing is installed yet."""
        raise NotImplementedError


class _LogFilters(_Shared):
    """A filter on every handler that may write what torch logs."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = _OfOthers()
        self.known: object = None

    def install(self, is_first: bool) -> None:
        """Looking through some hundred loggers takes longer than running a small network: not where nothing is new."""
        named = logging.root.manager.loggerDict
        # Loggers are never removed, so their number shows whether there are new ones.
        known = len(named), *logging.getLogger().handlers, *logging.getLogger("torch").handlers
        if is_first or known != self.known:
            for handler in _handlers():
                handler.addFilter(self.filter)  # once, however often it is added
                self.restore.callback(handler.removeFilter, self.filter)
        self.known = known


class _Switch(_Shared):
    """All filters between torch's messages and the user."""

    def __enter__(self) -> None:
        super().__enter__()
        _silence.depth += 1

    def __exit__(self, *details: object) -> None:
        _silence.depth -= 1
        super().__exit__(*details)

    def install(self, is_first: bool) -> None:
        """Wrap sys.stderr, put the filter of warnings before all others, and the one of logs on the handlers."""
        if not is_first:
            return
        before, ours = sys.stderr, _Stderr(sys.stderr)
        sys.stderr = ours  # type: ignore[assignment]
        self.restore.callback(_put_back, before, ours)
        filters: list[Any] = warnings.filters  # type: ignore[assignment]
        filters.insert(0, _IN_SILENCE)  # it is inert in other threads
        self.restore.callback(_remove, _IN_SILENCE)
        self.restore.enter_context(log_filters)


_IN_SILENCE = ("ignore", _InSilence(), Warning, None, 0)
_switch = _Switch()
log_filters = _LogFilters()
"""Within: the filter of torch's logs stays in place, so that `quiet` is entered quickly. It silences nobody."""


def _handlers() -> list[logging.Handler]:
    """All log handlers that could write what torch logs."""
    handlers = list(logging.getLogger().handlers)
    loggers = logging.root.manager.loggerDict
    for name in _of_torch(len(loggers)):
        logger = loggers.get(name)
        if isinstance(logger, logging.Logger):  # of a parent it may be a placeholder
            handlers.extend(logger.handlers)
    if logging.lastResort:
        handlers.append(logging.lastResort)
    return handlers


@lru_cache(1)
def _of_torch(count: int) -> tuple[str, ...]:
    """The names of torch's loggers. count: of all loggers; none is ever removed, so it is part of the cache key."""
    return tuple(name for name in list(logging.root.manager.loggerDict) if name == "torch" or name.startswith("torch."))


def _put_back(before: Any, ours: _Stderr) -> None:
    """Take our stream away again."""
    if sys.stderr is ours:  # else somebody has replaced it meanwhile
        sys.stderr = before


def _remove(entry: tuple[Any, ...]) -> None:
    """Take our filter of warnings out again."""
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
