"""Entry point of the `chiralize` command: errors become one message and a documented exit status.

    ChiralizeError                     its message, its family's status (1, 2, 3 or 101)
    what typer refuses                 UsageError, 2
    Ctrl-C                             "interrupted", 130
    nobody reads the output            141, as where SIGPIPE ends a command
    sys.exit in the user's own code    ModelRunError, 2
    no room on a disk                  OutputFileError, 2
    anything else                      InternalError, 101: a defect, with file and line in place of a traceback

Neither log lines nor warnings of libraries are shown: reports have warnings of their own.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from chiralize.cli.streams import ReaderGoneError, close, open_closed_streams, reader_watched
from chiralize.cli.typed import typed
from chiralize.errors import (
    ChiralizeError,
    InternalError,
    MissingPackageError,
    ModelRunError,
    OutputFileError,
    UsageError,
)
from chiralize.errors.words import first_line, raised_at

INTERRUPTED = 130
SIGNALLED = 128  # and the signal's number
_COMPLETING = "_CHIRALIZE_COMPLETE"  # set by the shell that asks what words may follow
_REQUIRED = frozenset({"torch", "numpy", "scipy", "yaml", "typer", "rich", "safetensors"})
READER_GONE = SIGNALLED + 13  # as where SIGPIPE ends a command


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status; never shows a traceback.

    arguments: instead of the process's own.  CHIRALIZE_DEBUG=1 shows the traceback of internal errors.
    """
    open_closed_streams()
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] != ["bench"]:  # on a busy machine threads that spin take three times as long
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    interrupts = _Interrupts()
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)  # log lines and warnings of libraries; ours are part of the reports
    try:
        with warnings.catch_warnings(), reader_watched(), interrupts, typed(given):
            warnings.simplefilter("ignore")
            status = _run(arguments)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line of defence
        # Torch may turn a KeyboardInterrupt into an error of its own.
        status = INTERRUPTED if interrupts.came else _failed(error)
    except SystemExit as error:
        # A shell that asks for completions is answered by an exit; nothing else here exits so on purpose.
        status = error.code if _COMPLETING in os.environ else _exited(error)
    except ReaderGoneError:
        status = READER_GONE
    finally:
        logging.disable(disabled)
    if status == INTERRUPTED:  # caught above, or by typer
        exec("")  # where the signal came inside an exec of text, Python would end by it; this takes its mark back
        _say("interrupted")
    sys.exit(status)


def _run(arguments: Sequence[str] | None) -> int:
    """The exit status of the commands. Raises ChiralizeError, UsageError for what typer refuses."""
    from chiralize.cli.app import app
    from chiralize.cli.elsewhere import command_within, name_the_command

    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = app(args=words, prog_name="chiralize", standalone_mode=False)
    except ChiralizeError as error:
        name_the_command(error, app, words)
        raise
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's own complaints, whatever package they are defined in
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
            return 2
        command = getattr(getattr(error, "ctx", None), "command_path", "chiralize")
        facts = error.format_message().replace("Value error, ", "").rstrip(".")  # type: ignore[attr-defined]
        if command == "chiralize" and (within := command_within(app, words)):
            raise UsageError(command, f"no command {words[0]!r}", f"write chiralize {within}") from None
        raise UsageError(command, facts, f"{command} --help tells what it takes") from None
    return status if isinstance(status, int) else 0


def _exited(error: SystemExit) -> int:
    """The status of an exit: that of a signal while writing; else the user's code ended the process, an error."""
    if isinstance(error.code, int) and error.code > SIGNALLED:
        return error.code
    facts = f"code of yours, or of a library, ended the process with sys.exit({error.code!r})"
    remedy = "remove sys.exit from what is run when the network is built or called"
    return _failed(ModelRunError("chiralize", facts, remedy))


def _failed(error: Exception) -> int:
    """Say what went wrong; the exit status of that."""
    if isinstance(error, ChiralizeError):
        _say(str(error))
        return error.exit_status
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return _full(error)
    if isinstance(error, ModuleNotFoundError) and error.name in _REQUIRED:
        facts = f"{error.name}, which chiralize needs, is not installed"
        return _failed(MissingPackageError("chiralize", facts, f"pip install {error.name}"))
    return _unexpected(error)


class _Interrupts:
    """Notices Ctrl-C, whose exception may become another one inside of torch's own code.

    came: whether there was one since the `with` began.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: Any = None

    def __enter__(self) -> _Interrupts:
        # Python lets the main thread alone set handlers; one that somebody else set is left in place.
        is_ours = threading.current_thread() is threading.main_thread()
        if is_ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._notice)
        return self

    def __exit__(self, *details: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _notice(self, number: int, frame: Any) -> None:
        self.came = True
        signal.default_int_handler(number, frame)


def _full(error: OSError) -> int:
    """Say that there is no room for the report or for temporary files; the files asked for have errors of their own."""
    remedy = "free some space where the report and temporary files go (TMPDIR), or choose another place"
    if error.errno == errno.EFBIG:
        remedy = "raise the limit (`ulimit -f unlimited`), or choose another place"
    status = _failed(OutputFileError(error.filename or "the report, or a temporary file", f"{error.strerror}", remedy))
    close(sys.stdout)
    return status


def _unexpected(error: Exception) -> int:
    """Report a defect of ours; the user sees where, not the traceback."""
    if os.environ.get("CHIRALIZE_DEBUG"):
        traceback.print_exc()
    remedy = "please report this with the command; CHIRALIZE_DEBUG=1 shows the traceback"
    return _failed(InternalError(raised_at(error), f"{type(error).__name__}: {first_line(error)}", remedy))


def _say(text: str) -> None:
    """Print a message, if anybody can read it: the exit status tells the rest."""
    try:
        print(text, file=sys.stderr)
    except OSError:
        close(sys.stderr)


if __name__ == "__main__":
    main()
