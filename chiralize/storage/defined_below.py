"""Where below the current folder a class or function is defined that is looked for under another module's name.

`factory` asks where an import fails: of `--model lifter:Net` with `class Net` in `code/model/lifter.py` the remedy is
`--model code.model.lifter:Net`. Files are read as text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_DEPTH = 4
_MOST = 2_000
"""Files of source code that are looked at."""
_LARGEST = 1 << 20
_SHOWN = 3
_NO_SOURCE = ("site-packages", "node_modules", "__pycache__", "build", "dist")


def defined_below(module: str, attribute: str) -> tuple[str, ...]:
    """`model.net:Net` for each file below the current folder that defines it, those named as the module first.

    No file is run. Empty where there is none.
    """
    name = attribute.partition(".")[0]
    defines = re.compile(rf"^(?:class|def)\s+{re.escape(name)}\b", re.M)
    folder, stem = Path.cwd(), module.rpartition(".")[2]
    wanted = list[tuple[bool, int, str]]()  # to be sorted: those of the module's name, then the least nested
    for path in _sources(folder):
        parts = path.relative_to(folder).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        dotted = ".".join(parts)  # each part has to be a name of Python, or nobody can import it
        if parts and all(map(str.isidentifier, parts)) and dotted != module and defines.search(_text(path)):
            wanted.append((parts[-1] != stem, len(parts), f"{dotted}:{attribute}"))
    return tuple(shown for _, _, shown in sorted(wanted)[:_SHOWN])


def _sources(folder: Path) -> Iterator[Path]:
    """Files of source code, a few folders down; neither hidden folders nor installed packages."""
    seen = 0
    for inner, folders, names in os.walk(folder):
        is_deep = len(Path(inner).relative_to(folder).parts) >= _DEPTH
        folders[:] = [] if is_deep else sorted(name for name in folders if _may_hold(Path(inner), name))
        for name in sorted(names):
            if name.endswith(".py"):
                seen += 1
                yield Path(inner) / name
        if seen > _MOST:
            return


def _may_hold(folder: Path, name: str) -> bool:
    """Whether a folder may hold the user's own modules. A virtual environment does not."""
    return not name.startswith(".") and name not in _NO_SOURCE and not (folder / name / "pyvenv.cfg").exists()


def _text(path: Path) -> str:
    """The beginning of a file as text; "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""
