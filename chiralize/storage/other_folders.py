"""Folders that are no model, parts of folders, and source code: which command to type instead.

`load` asks where no format knows what the user gave. Each function makes the error for one case, or gives None where it
is another: `runs/exp1/` with `best.pt` in it, one of several files of weights, `config.json`, `lifter.py`.

    chiralize convert runs/exp1      "is a folder, not a file; 1 file in it may be a model"
                                     Fix: name the one of the model: chiralize convert runs/exp1/best.pt ...
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from chiralize.errors import ModelFileError
from chiralize.errors.words import when
from chiralize.storage.content import Content
from chiralize.storage.format import Wanted
from chiralize.storage.missing import command_on
from chiralize.storage.suffixes import OF_MODELS

_DEPTH = 4
"""Levels of folders that are looked into."""
_MOST = 10_000
"""Names of files that are looked at: a home folder has many."""
_SHOWN = 3
"""Files that a message offers."""
_INDEX = ".index.json"
"""How the name of the table ends that says which of several files has which weight."""
# One of several files (model-00001-of-00002.safetensors), the class of a network in source code, and files beside a
# checkpoint with a model's suffix that hold the state of the training.
_SHARD = re.compile(r".*-(\d+)-of-(\d+)\.(safetensors|bin)")
_CLASS = re.compile(r"^class\s+(\w+)\s*\(.*\bModule\b", re.M)
_NOT_WEIGHTS = re.compile(r"optim|sched|rng|random_states|scaler|training_args|events\.", re.I)


def other_folder(content: Content, wanted: Wanted) -> ModelFileError:
    """The error for a folder that is no model, with commands on what lies in it, the newest first."""
    # Two kinds of folders can be turned into a file by a command; of others the files in them are offered.
    where, names = content.where, set(content.names)
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        joined = content.path.with_suffix(".pt")
        script = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch"
        remedy = f"join them:\n    {script} {shlex.quote(where)} {shlex.quote(str(joined))}"
        remedy += f"\n    {command_on(content, wanted, joined)}"
        return ModelFileError(where, "is a distributed checkpoint, a file of each process", remedy)
    if "saved_model.pb" in names:
        remedy = (
            f"write it as ONNX:\n    python -m tf2onnx.convert --saved-model {shlex.quote(where)} --output net.onnx"
        )
        remedy += f"\n    {command_on(content, wanted, Path('net.onnx'))}"
        return ModelFileError(where, "is a model of TensorFlow", remedy)
    models = sorted(_models_in(content.path), key=lambda path: -path.stat().st_mtime)
    if not models:
        remedy = "name the file of the model; a folder of Hugging Face has weights in it (model.safetensors)."
        held = when(names, f": {', '.join(sorted(names)[:5])}")
        return ModelFileError(where, f"is a folder, not a file, and none in it looks like a model{held}", remedy)
    commands = "".join(f"\n    {command_on(content, wanted, path)}" for path in models[:_SHOWN])
    count = f"{len(models)} files in it" if len(models) > 1 else "1 file in it"
    remedy = f"name the one of the model{when(len(models) > 1, ', the newest first')}:{commands}"
    return ModelFileError(where, f"is a folder, not a file; {count} may be a model", remedy)


def _models_in(folder: Path) -> Iterator[Path]:
    """Files that are models by their names, a few folders down; links to folders are not followed.

    Names that cannot be printed are left out: the name goes into a command that the user copies.
    """
    seen = 0
    for inner, folders, names in os.walk(folder):
        if len(Path(inner).relative_to(folder).parts) >= _DEPTH:
            folders.clear()  # os.walk goes into those that are left in the list
        for name in names:
            seen += 1
            path = Path(inner) / name
            if path.suffix in OF_MODELS and not _NOT_WEIGHTS.search(name) and path.is_file() and name.isprintable():
                yield path
        if seen > _MOST:  # asked once a folder: one with more names is still looked through to its end
            return


def part_of_folder(content: Content, wanted: Wanted) -> ModelFileError | None:
    """The error for the index of weights that lie in several files, or a `config.json`: the folder is the model."""
    if content.path.suffix != ".json" or not _is_part(content):
        return None
    remedy = f"give the folder:\n    {command_on(content, wanted, content.path.parent)}"
    return ModelFileError(content.where, "is a part of a model that is a folder", remedy)


def _is_part(content: Content) -> bool:
    """Whether a JSON file describes a model that lies beside it: an index of weights, or a config."""
    if content.path.name.endswith(_INDEX):
        return True
    try:
        table = json.loads(content.data)
    except (ValueError, RecursionError):
        return False
    return isinstance(table, dict) and ("model_type" in table or "architectures" in table)


def shard_of(content: Content) -> tuple[str, str] | None:
    """Which of how many files of weights this is, as ("00001", "00002"), where the others' index lies beside it.

    None for a file that is no such part.
    """
    named = _SHARD.fullmatch(content.path.name)
    # One part alone lacks weights; without the index it may be all there is, and is loaded as it is.
    if named is None or int(named[2]) < 2 or not any(content.path.parent.glob(f"*{_INDEX}")):
        return None
    return named[1], named[2]


def shard_given(content: Content, wanted: Wanted, part: tuple[str, str]) -> ModelFileError:
    """The error for one of several files of weights."""
    facts = f"is part {int(part[0])} of {int(part[1])} of the weights"
    remedy = f"give the folder, which has all of them:\n    {command_on(content, wanted, content.path.parent)}"
    return ModelFileError(content.where, facts, remedy)


def source_code(content: Content, wanted: Wanted) -> ModelFileError | None:
    """The error for a file of Python, which has the class of a network and no weights."""
    if content.path.suffix != ".py":
        return None
    # The class of a network, if one is in the first MiB; the command has it ready, else a name to be replaced.
    named = _CLASS.search(content.data[: 1 << 20].decode("utf-8", "replace"))
    option = f"--model {content.path.stem}:{named[1] if named else 'YourNet'}"
    command = command_on(content, wanted, Path("WEIGHTS"))
    remedy = f"give the file of its weights, and the class by an option:\n    {command} {option}"
    return ModelFileError(content.where, "is source code of Python, which has no weights", remedy)
