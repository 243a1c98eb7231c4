"""The names of all methods, without a line of theirs being run: the command line starts without torch.

`auto` is no file, since it has no drafts of its own; all others are the file names in `methods/ways`, so that a new
file there is in help texts and in `--method` without another edit. The table of methods is in `registry`.
"""

from __future__ import annotations

import pkgutil

from chiralize.methods import ways

AUTO = "auto"
_FIRST = (AUTO, "reduce", "average", "match", "project")


def names() -> tuple[str, ...]:
    """`auto`, and the files of `methods/ways`: those that help texts speak of first, then the others by name."""
    files = sorted(module.name for module in pkgutil.iter_modules(ways.__path__))
    known = [AUTO, *files]
    return (*(name for name in _FIRST if name in known), *(name for name in files if name not in _FIRST))
