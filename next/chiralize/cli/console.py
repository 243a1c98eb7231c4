"""The command in its terminal: errors become one message and a documented exit status, reports go to standard output.

ChiralizeError                     its message, its family's status (1, 2, 3 or 101)
what typer refuses                 UsageError, 2
Ctrl-C                             "interrupted", 130
nobody reads the output            141, as where SIGPIPE ends a command
sys.exit in the user's own code    ModelRunError, 2
no room on a disk                  OutputFileError, 2
anything else                      InternalError, 101: a defect, with file and line in place of a traceback
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

import typer

from chiralize.errors import ChiralizeError, InternalError, ModelRunError, OutputFileError, UsageError
from chiralize.errors.words import first_line, raised_at

if TYPE_CHECKING:
    from chiralize.problem.request import Progress
    from chiralize.report.records import Report

INTERRUPTED, READER_GONE = 130, 141
"""Exit statuses of a shell's command that SIGINT or SIGPIPE ended: 128 and the signal's number."""


def leave_with(app: typer.Typer, arguments: Sequence[str] | None = None) -> None:
    """Run a command line and leave with its exit status; never shows a traceback.

    arguments: instead of the process's own.  CHIRALIZE_DEBUG=1 shows the traceback of internal errors.
    """
    logging.disable(logging.ERROR)  # log lines and warnings of libraries; ours are part of the reports
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = _run(app, sys.argv[1:] if arguments is None else list(arguments))
            sys.stdout.flush()
    except KeyboardInterrupt:
        status = _failed_with("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        status = READER_GONE
    except SystemExit as error:
        facts = f"code of yours, or of a library, ended the process with sys.exit({error.code!r})"
        remedy = "remove sys.exit from what is run when the network is built or called"
        status = _failed(ModelRunError("chiralize", facts, remedy))
    except Exception as error:  # noqa: BLE001 - the last line of defence
        status = _failed(error)
    finally:
        logging.disable(logging.NOTSET)
    sys.exit(status)


def _run(app: typer.Typer, words: Sequence[str]) -> int:
    """The exit status of a command. Raises ChiralizeError, UsageError for what typer refuses."""
    try:
        status = app(args=list(words), prog_name="chiralize", standalone_mode=False)
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is None:  # typer's own complaints have one, whatever package they are defined in
            raise
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "chiralize"
        remedy = f"{where} --help tells what it takes"
        raise UsageError(where, message().rstrip(".") or "a command is missing", remedy) from None
    return status if isinstance(status, int) else 0


def _failed(error: Exception) -> int:
    """Say what went wrong; the exit status of that."""
    if isinstance(error, ChiralizeError):
        return _failed_with(str(error), error.exit_status)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        where, remedy = str(error.filename or "a temporary file"), "free some space there, or choose another place"
        return _failed(OutputFileError(where, f"{error.strerror}", remedy))
    if os.environ.get("CHIRALIZE_DEBUG"):
        traceback.print_exception(error)
    remedy = "please report this with the command; CHIRALIZE_DEBUG=1 shows the traceback"
    return _failed(InternalError(raised_at(error), f"{type(error).__name__}: {first_line(error)}", remedy))


def _failed_with(text: str, status: int) -> int:
    say(text)
    return status


def say(text: str) -> None:
    """Print a text on standard error."""
    print(text, file=sys.stderr)


@contextmanager
def progress(quiet: bool, verbose: bool) -> Iterator[Progress]:
    """Show on standard error what is being done: a bar on a terminal, lines in a log.

    What the user's own code prints meanwhile goes there, too: standard output is for the report.
    Raises UsageError where less and more are asked for.
    """
    from chiralize.report.progress import shown

    if quiet and verbose:
        raise UsageError("--quiet", "--verbose is given as well", "leave one of them out")
    with redirect_stdout(sys.stderr), shown(not quiet, verbose=verbose) as step:
        step("loading")
        yield step


def show(report: Report, output_format: str, quiet: bool, verbose: bool) -> None:
    """Print a report on standard output: as wide as its terminal, or whole in a file or a pipe."""
    from chiralize.report.formats import to_json, to_junit
    from chiralize.report.records import VerifyReport
    from chiralize.report.text import to_text

    if output_format == "json":
        typer.echo(to_json(report), nl=False)
    elif output_format == "junit" and isinstance(report, VerifyReport):
        typer.echo(to_junit(report), nl=False)
    elif quiet:
        typer.echo(report.verdict)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        typer.echo(to_text(report, width, verbose=verbose), nl=False)
