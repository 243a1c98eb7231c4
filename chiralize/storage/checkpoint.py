"""Checkpoints: dictionaries of tensors, read without running code, and the one state_dict picked from them."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import torch

from chiralize.errors import ModelFileError, UnsafeFileError, first_line
from chiralize.storage.archive import open_archive
from chiralize.storage.bounds import check_parts
from chiralize.storage.recipes import NUMPY_RECIPES, built

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)|(?:class|function|global) ['\"]?([\w.]+)['\"]? (?:was not|which)")
_DAMAGE = ("EOF", "Ran out of input", "truncated", "PytorchStreamReader", "pop from")
_PREFIX = "module."


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
        open_archive(data, f"{where}: {subject}" if member else where)  # the bounds on size hold inside, too
    try:
        with torch.serialization.safe_globals(_harmless()):
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        check_parts(loaded, subject, where)
        return built(loaded)
    except UnsafeFileError:
        raise
    except RecursionError as error:
        facts = f"{subject} is nested too deeply, or contains itself"
        raise ModelFileError(where, facts, "save the weights alone: torch.save(model.state_dict(), path).") from error
    except Exception as error:  # torch raises many kinds on damaged files
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
    if member:
        return "do not use this file; ask its author for one written by torch.export.save."
    return (
        "save the weights alone: torch.save(model.state_dict(), path); only if you trust whoever made the file, "
        "`--unsafe-pickle`."
    )


def read_whole_pickle(data: bytes, where: str) -> Any:
    """The object in a pickled file, restored by running its code (`--unsafe-pickle`).  Raises ModelFileError."""
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
    except Exception as error:  # anything: the file's own code runs here
        facts = f"the pickled object cannot be restored ({type(error).__name__}: {first_line(error)})"
        remedy = "run where the code that made the file can be imported, or save the state_dict alone."
        raise ModelFileError(where, facts, remedy) from error


def is_state_dict(value: Any) -> bool:
    """Whether a value is a flat table of tensors."""
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(key, str) and isinstance(entry, torch.Tensor) for key, entry in value.items())


def pick_state(loaded: Any, key: str | None, where: str) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The state_dict inside a checkpoint, and notes on what was chosen.  Raises ModelFileError.

    key: name of the entry ("model_pos", "ema.model"); without it the checkpoint itself, or its only state_dict.
    """
    notes: list[str] = []
    if key is not None:
        state = _entry(loaded, key, where)
    elif is_state_dict(loaded):
        state = loaded
    else:
        entries = loaded if isinstance(loaded, Mapping) else {}
        tables = [name for name, entry in entries.items() if is_state_dict(entry)]
        if len(tables) != 1:
            remedy = "name the entry that holds the weights: `--key NAME`."
            raise ModelFileError(where, f"is not a table of tensors; {_contents(loaded)}", remedy)
        state = loaded[tables[0]]
        notes.append(f"took the entry {tables[0]!r}, the only table of tensors in the checkpoint")
    for name, tensor in state.items():
        if kind := _special_kind(tensor):
            raise ModelFileError(where, f"{name!r} is a {kind} tensor", "store plain, dense tensors.")
    if all(name.startswith(_PREFIX) for name in state):
        state = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
        notes.append("took the prefix 'module.' (DataParallel) off all names")
    return dict(state), tuple(notes)


def _special_kind(tensor: torch.Tensor) -> str:
    """How a tensor differs from a plain, dense one: nested, quantized or sparse; "" where it does not."""
    if tensor.is_nested:
        return "nested"
    if tensor.is_quantized:
        return "quantized"
    return "" if tensor.layout == torch.strided else "sparse"


def _entry(loaded: Any, key: str, where: str) -> Mapping[str, torch.Tensor]:
    """The table of tensors under "a.b.c": the entry of this very name, else entry b.c of entry a, and so on."""
    current, rest = loaded, key
    while rest:
        if isinstance(current, Mapping) and rest in current:
            current, rest = current[rest], ""
            break
        head, _, rest = rest.partition(".")
        if not isinstance(current, Mapping) or head not in current:
            raise ModelFileError(where, f"no entry {key!r}; {_contents(loaded)}", "correct `--key`.")
        current = current[head]
    if not is_state_dict(current):
        facts = f"entry {key!r} is not a table of tensors; {_contents(current)}"
        raise ModelFileError(where, facts, "name the entry that holds the weights: `--key NAME`.")
    return current


def _contents(value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"it holds a {type(value).__name__}"
    if not value:
        return "it is an empty table"
    shown = [f"{name!r} ({_kind(entry)})" for name, entry in list(value.items())[:12]]
    more = f" and {len(value) - 12} more" if len(value) > 12 else ""
    return f"its entries are {', '.join(shown)}{more}"


def _kind(value: Any) -> str:
    if is_state_dict(value):
        return f"table of {len(value)} tensors"
    if isinstance(value, torch.Tensor):
        return f"tensor {tuple(value.shape)}"
    return type(value).__name__
