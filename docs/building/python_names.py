"""The reference of the Python interface, from signatures and docstrings."""

from __future__ import annotations

import re
from typing import Any

import chiralize

GROUPS: dict[str, tuple[str, ...]] = {
    "Convert and check": ("chiralize", "verify", "plan", "audit", "chirality"),
    "Files": ("save", "load", "attach"),
    "The mirror in your own code": ("Mirror", "flip_test"),
    "Training": ("keep_symmetric", "recipe"),
    "Bodies and tensors": ("Skeleton", "ConversionSpec"),
    "Errors and warnings": tuple(chiralize._ERRORS.split()),
}
"""Every public name of the package, in the order of the page."""

LAYERS = (
    "hidden",
    "Linear",
    "Conv1d",
    "Conv2d",
    "BatchNorm1d",
    "LayerNorm",
    "Pointwise",
    "InvariantHead",
    "LSTM",
    "GRU",
    "MultiheadAttention",
    "InvariantParameter",
)
"""Names of `chiralize.nn`; each has a heading of its own in docs/layers.md."""


def _entry(module: str, name: str) -> str:
    home: Any = __import__(module, fromlist=[name])
    kind = "autoclass" if isinstance(getattr(home, name), type) else "autofunction"
    return f".. {kind}:: {module}.{name}\n" + ("   :members:\n" if name in ("Mirror",) else "")


def page() -> str:
    """The whole page; Sphinx fills the entries in."""
    parts = ["# Python", "`import chiralize` loads neither torch nor anything else before a name is used."]
    for title, names in GROUPS.items():
        entries = "\n".join(_entry("chiralize", name) for name in names)
        parts += [f"## {title}", f"```{{eval-rst}}\n{entries}```"]
    entries = "\n".join(_entry("chiralize.nn", name) for name in LAYERS)
    parts += ["## Layers", "[Layers that cannot break the mirror](../../layers.md) shows them at work."]
    parts.append(f"```{{eval-rst}}\n{entries}```")
    return "\n\n".join(parts) + "\n"


_ENDS = re.compile(r"^(?:Raises|Warns|Returns|Threads|Under|The result|>>>)")


def with_fields(lines: list[str], parameters: list[str]) -> list[str]:
    """A docstring whose `name: text` passages stand as a list of parameters.

    >>> with_fields(["Do it.", "", "speed: how fast.  size: how large,", "in metres.", "Raises it."], ["speed", "size"])
    ['Do it.', '', ':param speed: how fast.', ':param size: how large,', '    in metres.', '', 'Raises it.']
    """
    if not parameters:
        return lines
    start = re.compile(rf"(?:^|(?<=\s\s)|(?<=\. ))({'|'.join(map(re.escape, parameters))}):(?: |$)")
    result: list[str] = []
    within = False
    for line in lines:
        pieces = start.split(line)
        if _ENDS.match(line) and within:
            result += ["", line]
            within = False
        elif len(pieces) == 1:
            result.append(f"    {line}" if within and line else line)
        else:
            if pieces[0].strip():
                result.append(("    " if within else "") + pieces[0].strip())
            if not within and result and result[-1]:
                result.append("")
            result += [f":param {name}: {text.strip()}" for name, text in zip(pieces[1::2], pieces[2::2], strict=True)]
            within = True
    return result
