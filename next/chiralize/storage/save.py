"""Where does a result go, and in which form? The passport goes with it, inside of every file.

.pt2            the program
.safetensors    the weights by name, contiguous and apart
the source's    a file like the one that the weights came from, with all that it holds besides
.pt, .pth       a state dict
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import nn
from torch.export import ExportedProgram

from chiralize.errors import ExportError, Finding, ModelFileError, UsageError
from chiralize.errors.words import listed
from chiralize.storage.files import read, write_bytes
from chiralize.storage.formats import source_of
from chiralize.storage.load import Back, Loaded
from chiralize.storage.passport import Passport
from chiralize.storage.pt2 import is_program, save_program
from chiralize.storage.script import is_script, load_script, save_script, with_values
from chiralize.storage.torch_file import saved

Kind = Literal["program", "safetensors", "state_dict", "script", "back"]
_STATE_DICTS = (".pt", ".pth", ".bin")
SUFFIXES = (".pt2", ".safetensors", *_STATE_DICTS)


class Writable(Protocol):
    """What `write` takes: a finished conversion."""

    @property
    def module(self) -> nn.Module:
        """The network."""
        ...

    @property
    def program(self) -> ExportedProgram | None:
        """Its program, where it can be exported."""
        ...

    @property
    def passport(self) -> Passport:
        """Its passport."""
        ...


def target_of(target: Path, source: Path | None) -> Kind:
    """What is written to a target: by its suffix, and where that is the suffix of the source, a file like that.

    Raises UsageError for a suffix that is neither.
    """
    suffix = target.suffix.lower()
    if suffix == ".pt2":
        return "program"
    if source is not None and suffix == source.suffix.lower():
        return "script" if _is_script(source) else "back"
    if suffix == ".safetensors":
        return "safetensors"
    if suffix in _STATE_DICTS:
        return "state_dict"
    raise UsageError("-o", f"{target.name} has no suffix that is known", f"use one of {listed(SUFFIXES)}")


def _is_script(path: Path) -> bool:
    """Whether a file is TorchScript, by the directory of its archive alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):  # loading says what is wrong with it
        return False


def write(result: Writable, target: Path, loaded: Loaded | None) -> tuple[Finding, ...]:
    """Write a result. loaded: the file that its network came from.

    Raises OutputFileError, ExportError where the result is no program and one is asked for.
    """
    text, kind = result.passport.to_json(), target_of(target, loaded.path if loaded is not None else None)
    if kind == "program":
        if result.program is None:
            facts = "the result cannot be exported as a program"
            raise ExportError(str(target), facts, "write a .safetensors, which holds its weights")
        save_program(result.program, target, text)
        return ()
    if kind == "script" and loaded is not None and isinstance(loaded.module, torch.jit.ScriptModule):
        _write_script(result, loaded.module, target, text)
        return ()
    state = {name: each for name, each in result.module.state_dict().items() if isinstance(each, torch.Tensor)}
    back = loaded.back if loaded is not None and kind == "back" else None
    if back is not None and back.source.written is not None:
        return _put_back(back, state, target, text)
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError("-o", f"{target.name} is of a kind that is not written", f"use one of {listed(SUFFIXES)}")
    save = save_safetensors if target.suffix.lower() == ".safetensors" else save_state_dict
    save(state, target, text)
    return ()


def _write_script(result: Writable, original: torch.jit.ScriptModule, target: Path, text: str) -> None:
    """Write a result in the code of the script that it came from. Raises ExportError for a result of other code."""
    script, example = result.module, result.passport.example
    if not isinstance(script, torch.jit.ScriptModule):
        if result.passport.is_average:
            raise ExportError(str(target), "both views together are no TorchScript", "write a .pt2")
        values = {name: each for name, each in script.state_dict().items() if isinstance(each, torch.Tensor)}
        script = with_values(original, values)
    save_script(result.module, script, example, target, text)


def _put_back(back: Back, state: dict[str, torch.Tensor], target: Path, passport: str) -> tuple[Finding, ...]:
    """Write the file that the weights came from, with those of the result in it. Raises ModelFileError."""
    assert back.source.written is not None
    for name, tensor in state.items():
        view = back.views.get(name)
        if view is None or view.shape != tensor.shape or view.dtype != tensor.dtype:
            facts = f"the result has {name!r} of another size or kind than the file that it came from"
            raise ModelFileError(str(target), facts, "write a .pt2")
        view.copy_(tensor.detach())
    # Two weights may share memory in the file, as tied ones do, and then have to be equal.
    for name, tensor in state.items():
        if not torch.equal(back.views[name], tensor):
            facts = f"{name!r} shares its memory with another weight in the file, from which it differs now"
            raise ModelFileError(str(target), facts, "write a .pt2")
    write_bytes(target, back.source.written(passport))
    facts = f"all but the weights in {target.name} is that of {Path(back.source.content.where).name}"
    return (Finding("files", "note", facts),)


def save_safetensors(state: dict[str, torch.Tensor], path: Path, passport: str) -> None:
    """Write weights with the passport in the header; tied ones once per name. Raises OutputFileError."""
    from safetensors.torch import save

    apart = {name: each.detach().cpu().clone(memory_format=torch.contiguous_format) for name, each in state.items()}
    write_bytes(path, save(apart, metadata={"chirality": passport}))


def save_state_dict(state: dict[str, torch.Tensor], path: Path, passport: str) -> None:
    """Write a plain state dict with the passport as a member of the archive. Raises OutputFileError."""
    write_bytes(path, saved({name: each.detach().cpu() for name, each in state.items()}, passport))


def passport_in(path: Path) -> Passport | None:
    """The passport that travels in a file of ours; None where there is none. Raises ModelFileError, UnsafeFileError."""
    content = read(path)
    if is_program(content):
        names = [name for name in content.members if name.endswith("/extra/chirality.json")]
        text = bytes(content.member(names[0])).decode("utf-8", "replace") if names else ""
    elif is_script(content):
        _, text = load_script(content)
    else:
        text = source_of(content).passport
    return Passport.from_json(text, str(path)) if text else None
