"""Which packages are installed, without importing any."""

from __future__ import annotations

import importlib.util
import sys


def is_installed(package: str) -> bool:
    """Whether a package can be imported; nothing of it is."""
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module that is imported, without a record of where it came from
        return sys.modules.get(package) is not None
