"""Checkpoints: dictionaries of tensors, read without running code; by consent, whole pickles.

`read_safely` is torch.load with `weights_only`, which builds tensors and containers and refuses other names; our own
bounds and stand-ins for numpy come on top.  Files, members of a `.pt2` and data files go through it.
`read_whole_pickle` runs the file's code, and is called where the user typed `--unsafe-pickle`, nowhere else.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
from typing import Any

import torch

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.errors.words import first_line
from chiralize.storage.archive import Members, open_archive
from chiralize.storage.bounds import check_parts
from chiralize.storage.recipes import NUMPY_RECIPES, built

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)|(?:class|function|global) ['\"]?([\w.]+)['\"]? (?:was not|which)")
"""What torch's messages call the name that it refuses."""
_DAMAGE = ("EOF", "Ran out of input", "truncated", "PytorchStreamReader", "pop from")


class _Ignored:
    """Stands in for objects of a training run (random generators) that weights do not need."""

    def __init__(self, *args: Any) -> None:
        del args

    def __setstate__(self, state: Any) -> None:
        del state


_GENERATORS = (
    "__RandomState_ctor",
    "__randomstate_ctor",
    "_pickle.__randomstate_ctor",
    "_pickle.__bit_generator_ctor",
    "_pickle.__generator_ctor",
    "_mt19937.MT19937",
    "_pcg64.PCG64",
)


def _harmless() -> list[Any]:
    """Stand-ins for what published checkpoints import besides tensors: numpy numbers and generators."""
    numpy = [(recipe, name) for name, recipe in NUMPY_RECIPES.items()]
    return [*numpy, *((_Ignored, f"numpy.random.{name}") for name in _GENERATORS)]


def read_safely(data: bytes, where: str, member: str | None = None) -> Any:
    """The object in a torch file, on the CPU: only tensors, containers and numbers are built.

    member: name of the archive member that the data are, for the message.  Raises UnsafeFileError, ModelFileError.
    """
    subject = f"member {member!r}" if member else "the file"
    if data[:2] == b"PK":
        inside = f"{where}: {subject}" if member else where
        Members(open_archive(data, inside), inside).check()  # the bounds on size hold, and torch.load looks at no sum
    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that sparse tensors are looked at entry by entry
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        check_parts(loaded, subject, where)
        return built(loaded)
    except UnsafeFileError:
        raise
    except RecursionError as error:
        facts = f"{subject} is nested too deeply, or contains itself"
        raise ModelFileError(where, facts, "save the weights alone: torch.save(model.state_dict(), path).") from error
    except Exception as error:  # torch raises many kinds on damaged files
        # Torch has one kind of error for hostile and for damaged files: the text tells which it is.
        text = str(error)
        refused = _GLOBAL.search(text)
        if refused:
            facts = f"loading {subject} would import and may call {refused[1] or refused[2]}"
            raise UnsafeFileError(where, facts, _unsafe_remedy(member)) from error
        if ("weights_only" in text or "Weights only" in text) and not any(word in text for word in _DAMAGE):
            raise UnsafeFileError(where, f"{subject} holds no plain tensors", _unsafe_remedy(member)) from error
        facts = f"{subject} cannot be read ({first_line(error)[:200]}); it is truncated or damaged"
        raise ModelFileError(where, facts, "copy or download the file again.") from error


def _unsafe_remedy(member: str | None) -> str:
    """What to do about names that are refused.  No flag restores a member of a `.pt2`, which holds tensors alone."""
    if member:
        return "do not use this file; ask its author for one written by torch.export.save."
    return (
        "save the weights alone: torch.save(model.state_dict(), path); only if you trust whoever made the file, "
        "`--unsafe-pickle`."
    )


def read_whole_pickle(data: bytes, where: str, is_plain: bool = False) -> Any:
    """The object in a pickled file, restored by running its code (`--unsafe-pickle`).  Raises ModelFileError.

    is_plain: by pickle itself, not by torch.
    """
    try:
        if is_plain:
            return pickle.loads(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
    except Exception as error:  # anything: the file's own code runs here
        facts = f"the pickled object cannot be restored ({type(error).__name__}: {first_line(error)})"
        remedy = "run where the code that made the file can be imported, or save the state_dict alone."
        raise ModelFileError(where, facts, remedy) from error
