"""Why a module of the user's cannot be imported: it is not there, or something that it does or imports itself fails.

For the messages of `factory`. Of `--model nets.lifter:Net`, where nets/lifter.py imports matplotlib, which is not
installed, Python names matplotlib; the user has to know which line asks for it: `nets/lifter.py:3, import matplotlib`.
"""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path


def is_absent(error: BaseException, module: str) -> bool:
    """Whether the module itself, or a package that it lies in, was not found."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return False
    return module == error.name or module.startswith(f"{error.name}.")


def where_it_fails(error: BaseException) -> str:
    """The file and line of the user's that the error comes from, with its text: `run.py:3, import matplotlib`; or "".

    Installed packages are not the user's: of an error deep inside of one, it is the line that uses it.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}:{error.lineno}"
    # The last frame of the user's is the line to mend: the frames behind it are of packages or of the import system.
    installed = [*sysconfig.get_paths().values(), str(Path(__file__).parents[1])]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    users = [frame for frame in frames if not frame.filename.startswith(tuple(installed))]
    if not users:
        return ""
    last = users[-1]
    return f"{_short(last.filename)}:{last.lineno}, {(last.line or '').strip()}"


def remedy_for(error: BaseException, where: str) -> str:
    """What to do where a module is there, and its import fails.  where: as `where_it_fails` says."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        command = f"{sys.executable} -m pip install ..."
        installed = f"install {package} beside chiralize ({command}), or run in the folder that holds it"
        return f"{installed}, or name a module that has the class and does not import it."
    return f"mend {where.partition(',')[0] or 'the module'}, or name a module that has the class and runs nothing else."


def _short(filename: str) -> str:
    """A path from the current folder where it lies in that."""
    path = Path(filename)
    if path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    return filename
