"""The table of methods: every file of `methods/ways`, and `auto`, which tries some of them in turn.

A method is a record (`problem.Method`): how it makes drafts, what it does to a problem before, which other method it
falls back on, and its bound on rho. `commands` asks for one by the name that the user gave.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from chiralize.errors import MethodUnavailableError
from chiralize.methods import ways
from chiralize.methods.names import AUTO, names
from chiralize.methods.pairing import pairing_of
from chiralize.problem.problem import MAX_DRIFT, Method
from chiralize.storage import former_names

_AUTO = Method(AUTO, None, pairing=pairing_of, is_fitted=True, takes_width=True, averages="whole", max_drift=MAX_DRIFT)


@cache
def methods() -> Mapping[str, Method]:
    """All methods by name."""
    files = {name: importlib.import_module(f"{ways.__name__}.{name}") for name in names() if name != AUTO}
    return MappingProxyType({AUTO: _AUTO} | {name: file.METHOD for name, file in files.items()})


def method_of(name: str) -> Method:
    """The method of a name, also of a former one. Raises MethodUnavailableError where there is none."""
    name = former_names.METHODS.get(name, name)
    if name not in methods():
        raise MethodUnavailableError(
            "--method", f"{name!r} is not in this version", f"use one of {', '.join(methods())}"
        )
    return methods()[name]
