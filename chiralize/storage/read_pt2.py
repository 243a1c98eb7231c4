"""Exported programs (`.pt2`) read: checked member by member, packed anew, then given to torch. `save` writes them.

`torch.export.load` unpickles without limits when the safe way fails, and runs text of the file as Python (see
`chiralize.storage.program`).  Here every pickle is read with `weights_only` and written anew, so that torch unpickles
nothing but our own bytes.  One member is held at a time, since a model can be as large as the memory.

`formats/pt2.py` calls `load_program`.  A `.pt2` is a zip archive; each member is handled by its name:

    models/model.json                        the graph: checked and written anew          program.checked_program
    data/weights/model_weights_config.json   which weight is in which member: checked     program.checked_config
    data/weights/weight_0                    numbers: copied, or a pickle: written anew, as the config says
    data/sample_inputs/model.pt              a pickle of example inputs: written anew
    extra/chirality.json                     a text: copied
    anything else                            refused
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import torch

from chiralize.errors import ModelFileError, UnsafeFileError
from chiralize.graph.silence import quiet
from chiralize.storage.archive import Members, Packer, members_of, open_archive, pack
from chiralize.storage.bounds import check_claim, check_text_size
from chiralize.storage.checkpoint import read_safely
from chiralize.storage.expressions import is_plain_text
from chiralize.storage.program import checked_config, checked_program
from chiralize.storage.size_texts import parsed_once

_PLAIN_MEMBERS = frozenset({"archive_version", "byteorder", "version", ".data/version", ".data/serialization_id"})
_CONFIG = re.compile(r"data/(weights|constants)/\w+_(weights|constants)_config\.json")
_PAYLOAD = re.compile(r"data/(weights/weight|constants/tensor)_\d+")
_SAMPLES = re.compile(r"data/sample_inputs/\w+\.pt")
_PROGRAM = re.compile(r"models/(\w+)\.json")
_EXTRA = re.compile(r"extra/[\w.\-]+")
_MACHINE_CODE = "data/aotinductor/"
_COMPILED = "give the exported program that it was compiled from: torch.export.save(program, 'net.pt2')."
_REMEDY = "do not use this file; ask its author for one written by torch.export.save."


def load_program(file: BinaryIO, where: str) -> tuple[torch.export.ExportedProgram, dict[str, str]]:
    """The exported program and its extra files (name -> text).  Raises UnsafeFileError, ModelFileError."""
    archive = open_archive(file, where)
    if "serialized_exported_program.json" in archive.namelist():
        remedy = "export the model again with torch 2.8 or newer (torch.export.save)."
        raise ModelFileError(where, "written by torch 2.7 or older, in a layout that is no longer read", remedy)
    members = members_of(archive, where)
    # From here on torch sees only the fresh archive.
    with pack(lambda packer: pack_checked(members, packer, where), members.size, where) as checked:
        contents = _read(checked, where)
    # torch.export.save calls the program "model".  Packages of several programs have names of their own.
    programs = contents.exported_programs
    if "model" not in programs and len(programs) != 1:
        names = ", ".join(programs) or "none"
        raise ModelFileError(where, f"holds these programs: {names}; one is expected", _one_of(programs, where))
    extra = {str(name): str(text) for name, text in contents.extra_files.items()}
    return programs.get("model") or next(iter(programs.values())), extra


def _one_of(names: Iterable[str], where: str) -> str:
    """The remedy for a file with several programs or none: the line of Python that saves the first."""
    name = next(iter(names), "")
    if not name:
        return "save the program: torch.export.save(program, 'net.pt2')."
    loaded = f"torch.export.pt2_archive._package.load_pt2({where!r}).exported_programs[{name!r}]"
    return f"save one of them to a file of its own: torch.export.save({loaded}, {name + '.pt2'!r})."


def _read(checked: BinaryIO, where: str) -> Any:
    """What torch reads of an archive that was checked.  Raises ModelFileError."""
    try:
        with quiet(), parsed_once():
            from torch.export.pt2_archive import _package

            return _package.load_pt2(checked)
    except Exception as error:  # torch raises many kinds on damaged programs
        facts = f"torch {torch.__version__} cannot read the exported program ({_last_line(error)})"
        raise ModelFileError(where, facts, "export the model again with this version of torch.") from error


def pack_checked(members: Members, packer: Packer, where: str) -> None:
    """Pack the members of a `.pt2` in a form that can run nothing.  Raises UnsafeFileError, ModelFileError."""
    if members.get("archive_format") != b"pt2":
        raise ModelFileError(where, "has no valid archive_format", "export the model again with torch.export.save.")
    packer.add("archive_format", b"pt2")
    packed: dict[str, bool] = {}
    for name in members:
        if _PROGRAM.fullmatch(name) or _CONFIG.fullmatch(name) or _EXTRA.fullmatch(name):  # read as a whole
            check_text_size(members.size_of(name), name, where)
        if _PROGRAM.fullmatch(name):
            packer.add(name, checked_program(members[name], name, where))
        elif _CONFIG.fullmatch(name):
            packer.add(name, _checked_payloads(name, members, packer, packed, where))
        elif _SAMPLES.fullmatch(name):
            packer.add(name, _checked_samples(members[name], name, where))
        elif name in _PLAIN_MEMBERS or _EXTRA.fullmatch(name):
            packer.copy(name, members)
        # Payloads come with the config that lists them, in whose light alone they can be judged.
        elif name != "archive_format" and not _PAYLOAD.fullmatch(name):
            raise UnsafeFileError(where, _refusal(name), _COMPILED if name.startswith(_MACHINE_CODE) else _REMEDY)


def _checked_payloads(name: str, members: Members, packer: Packer, packed: dict[str, bool], where: str) -> bytes:
    """Pack the tensors that a config lists; returns the config, checked.

    packed: tensors that were packed already, and whether as pickles. The numbers of a plain tensor are copied
    unchecked, which is safe only if nothing ever reads them as a pickle.
    """
    config = checked_config(members[name], name, where)
    folder = name.rsplit("/", 1)[0]
    for entry in config.values():
        # Several weights may share a member (tied weights): it is packed once, as one kind.
        member = f"{folder}/{entry['path_name']}"
        if member not in members:
            facts = f"{name} refers to {member}, which the archive does not hold"
            raise ModelFileError(where, facts, "copy or download the file again.")
        check_claim(_sizes(entry), members.size_of(member), f"member {member!r}", where)
        pickled = entry.get("use_pickle") is not False  # what torch may take for a pickle is treated as one
        if packed.get(member, pickled) != pickled:
            facts = f"member {member!r} is a pickle by one entry and none by another"
            raise UnsafeFileError(where, facts, _REMEDY)
        if member not in packed and pickled:
            packer.add(member, _saved(read_safely(members[member], where, member=member)))
        elif member not in packed:
            packer.copy(member, members)
        packed[member] = pickled
    return json.dumps({"config": config}).encode()


def _sizes(entry: Mapping[str, Any]) -> list[int]:
    """The sizes of a stored tensor that are plain numbers; torch refuses any other entry."""
    meta = entry.get("tensor_meta")
    sizes = meta.get("sizes") if isinstance(meta, dict) else None
    if not isinstance(sizes, list):
        return []
    numbers = [size.get("as_int") for size in sizes if isinstance(size, dict)]
    return [number for number in numbers if isinstance(number, int)]


def _refusal(name: str) -> str:
    """Why a member is refused, by its name."""
    if name.startswith(_MACHINE_CODE):
        return f"member {name!r} belongs to a compiled model: loading it would run machine code from the file"
    if "custom_obj" in name or "opaque_obj" in name:
        return f"member {name!r} is a pickled object of a custom class: loading it would run code"
    if name.endswith(".pt"):
        return f"member {name!r} is a whole pickled table of an old layout, which torch reads without limits"
    return f"member {name!r} is not part of an exported program"


def _checked_samples(data: bytes, member: str, where: str) -> bytes:
    """Example inputs, checked and written anew; their keys torch writes into the text of input guards.

    Raises UnsafeFileError, ModelFileError.
    """
    if not data:  # a program without examples has an empty member
        return data
    value = read_safely(data, where, member=member)
    is_pair = isinstance(value, tuple) and len(value) == 2
    if not (is_pair and isinstance(value[0], tuple) and isinstance(value[1], dict)):
        facts = f"member {member!r} does not hold example inputs (args, kwargs)"
        raise ModelFileError(where, facts, "export the model again with torch.export.save.")
    # All keys at any depth; a value that contains itself has no end of them.
    try:
        keys = list(_keys(value))
    except RecursionError as error:
        raise UnsafeFileError(where, f"member {member!r} contains itself", _REMEDY) from error
    for key in keys:
        if not (isinstance(key, (int, float)) or key is None or (isinstance(key, str) and is_plain_text(key))):
            facts = f"member {member!r} has the key {str(key)[:80]!r}, which would end up in generated code"
            raise UnsafeFileError(where, facts, _REMEDY)
    return _saved(value)


def _keys(value: Any) -> Iterator[Any]:
    """The keys of all dicts in nested inputs."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield key
            yield from _keys(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _keys(entry)


def _saved(value: Any) -> bytes:
    """A value as a file of torch.save."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _last_line(error: BaseException) -> str:
    """The kind of an error and its last line: torch puts what happened behind what it was doing."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1].strip()[:200]}"


def program_module(program: torch.export.ExportedProgram, where: str) -> torch.nn.Module:
    """The program as a module with parameters of its own.  Raises ModelFileError."""
    try:
        with quiet():
            return program.module()
    except Exception as error:  # torch raises many kinds on inconsistent programs
        facts = f"the exported program is inconsistent ({_last_line(error)})"
        raise ModelFileError(where, facts, "export the model again with this version of torch.") from error


def example_inputs(program: torch.export.ExportedProgram) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The inputs that came along with the program, if any."""
    inputs = program.example_inputs
    if not isinstance(inputs, tuple) or len(inputs) != 2:
        return None
    args, kwargs = inputs
    return tuple(args), dict(kwargs)
