"""Classes that a file names: the class by its dotted name, and its arguments as plain values.

Checkpoints of Lightning save what their module was built with, trainers their options. Only numbers, texts and
containers of those are taken over: anything else would be an object that code has to restore. Nothing is imported
here; `factory.build_named` does, where the user consents.

    {"_class_path": "nets.lifter.Lifter", "init_args": {"width": 256}}     LightningCLI: nets.lifter.Lifter(width=256)
    {"width": 256, "logger": <object>}                                     arguments alone: width=256
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chiralize.storage.inert import Foreign
from chiralize.storage.settings import NAMES

CLASS_KEYS = ("_class_path", "class_path", "_target_")
"""Under which key LightningCLI and hydra write the class."""
_ARGUMENTS = "init_args"
_DEPTH = 8
"""Levels of containers in a value."""


def plain_values(saved: Any) -> dict[str, Any]:
    """The entries of a table that are numbers, texts, and containers of those."""
    entries = saved.entries if isinstance(saved, Foreign) else saved
    if not isinstance(entries, Mapping):
        return {}
    plain = {name: value for name, value in entries.items() if isinstance(name, str) and is_plain(value)}
    return {name: value for name, value in plain.items() if name.isidentifier() and name not in CLASS_KEYS}


def saved_settings(tree: Any) -> dict[str, Any]:
    """What a trainer saved of its own options beside the weights, under the first of the usual names; else {}."""
    entries = tree.entries if isinstance(tree, Foreign) else tree
    if not isinstance(entries, Mapping):
        return {}
    for name in NAMES:  # args, opt, config, ...
        saved = entries.get(name)
        if isinstance(saved, Foreign) and isinstance(saved.state, Mapping):
            saved = saved.state  # argparse.Namespace and its like
        if values := plain_values(saved):
            return values
    return {}


def is_plain(value: Any, depth: int = _DEPTH) -> bool:
    """Whether a value is a number, a text, or a container of those."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return True
    if not depth:
        return False
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_plain(entry, depth - 1) for key, entry in value.items())
    return isinstance(value, (list, tuple)) and all(is_plain(entry, depth - 1) for entry in value)


def named_in(saved: Any) -> tuple[str, dict[str, Any]]:
    """The dotted name of the class that saved arguments are of, and those arguments; "" where none is named."""
    entries = saved.entries if isinstance(saved, Foreign) else saved
    if not isinstance(entries, Mapping):
        return "", {}
    names = [entries[key] for key in CLASS_KEYS if isinstance(entries.get(key), str)]
    if not names or "." not in names[0]:
        return "", {}
    # LightningCLI keeps the arguments apart, hydra puts them beside the class.
    inner = entries.get(_ARGUMENTS)
    values = plain_values(inner if isinstance(inner, (Mapping, Foreign)) else saved)
    return names[0], {name: value for name, value in values.items() if not name.startswith("_")}
