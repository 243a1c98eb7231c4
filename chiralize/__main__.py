"""Entry point of the `chiralize` command: errors become one message and a documented exit status."""

from __future__ import annotations

import os
import sys
import traceback
import warnings

from chiralize.errors import ChiralizeError, InternalError

INTERRUPTED = 130


def main() -> None:
    """Run the command line; never shows a traceback (set CHIRALIZE_DEBUG=1 to see it for internal errors)."""
    from chiralize.cli.app import app

    warnings.simplefilter("ignore")  # of libraries; ours are part of the reports
    try:
        app(prog_name="chiralize")
    except ChiralizeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        if os.environ.get("CHIRALIZE_DEBUG"):
            traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error).strip().splitlines() or [""]
        internal = InternalError(
            f"{where.filename.rpartition('/')[2]}:{where.lineno}",
            f"{type(error).__name__}: {text[0][:300]}",
            "please report this with the command; CHIRALIZE_DEBUG=1 shows the traceback",
        )
        print(internal, file=sys.stderr)
        sys.exit(internal.exit_status)


if __name__ == "__main__":
    main()
