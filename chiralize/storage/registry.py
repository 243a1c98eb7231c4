"""The table of file formats: every file of `storage/formats`, those that know most first.

Nothing has to be listed: a module in that folder with a record FORMAT is a format.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from chiralize.storage import formats
from chiralize.storage.content import Content
from chiralize.storage.format import Format


@cache
def known_formats() -> Mapping[str, Format]:
    """All formats by name, in the order in which they are asked."""
    names = sorted(module.name for module in pkgutil.iter_modules(formats.__path__))
    records = [importlib.import_module(f"{formats.__name__}.{name}").FORMAT for name in names]
    ordered = sorted(records, key=lambda record: -record.rank)
    return MappingProxyType({record.name: record for record in ordered})


def format_of(content: Content) -> Format | None:
    """The format of a file or folder, None where no format knows it.  Raises ModelFileError, UnsafeFileError."""
    return next((record for record in known_formats().values() if record.recognises(content)), None)
