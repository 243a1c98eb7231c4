"""Writes a trained lifter: weights, exported program, figures and calibration inputs, free of machine paths."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as shape_config

from examples.lifting.networks import TemporalLifter

EXAMPLE_FOLDER = Path(__file__).resolve().parent
CREDIT = (
    "The data used in this project was obtained from mocap.cs.cmu.edu. "
    "The database was created with funding from NSF EIA-0196217."
)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """`write` fills a file of the same name in a temporary folder beside `path`; then it takes its place in one step.

    The name is kept because a `.pt2` calls its members after its file.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        temporary = Path(folder) / path.name
        write(temporary)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)


def export_lifter(model: TemporalLifter, example: Tensor) -> ExportedProgram:
    """The eval-mode network as an exported program with dynamic batch and frame sizes.

    example: `1 receptive_field joint coord`, kept as the program's example input. The trace uses two samples of twice
    the length, as later passes over the graph take a traced size of 1 for a constant, and `backed_size_oblivious`, as
    otherwise the single output frame of 27 input frames counts as a size that could be broadcast and is refused.
    """
    model.eval()
    sizes = {"poses": {0: Dim("batch", min=1), 1: Dim("frames", min=model.receptive_field)}}
    with shape_config.patch(backed_size_oblivious=True):  # pyright: ignore[reportAttributeAccessIssue]
        program = torch.export.export(model, (example.repeat(2, 2, 1, 1),), dynamic_shapes=sizes, strict=False)
    program.example_inputs = ((example,), {})
    for node in program.graph.nodes:
        if "stack_trace" in node.meta:
            node.meta["stack_trace"] = relative_paths(node.meta["stack_trace"])
    return program


def relative_paths(trace: str) -> str:
    """The stack trace with files named from the project's root, or from the folder of installed packages."""
    trace = re.sub(r'File "[^"]*/site-packages/', 'File "', trace)
    return trace.replace(f'File "{EXAMPLE_FOLDER}/', 'File "examples/lifting/')


def refuse_machine_paths(archive: Path) -> None:
    """Raises ValueError when a member of the zip `archive` names this machine's folders."""
    places = (EXAMPLE_FOLDER.parents[1], Path(sys.prefix), Path(torch.__file__).parents[1], Path(tempfile.gettempdir()))
    folders = {str(place) for place in places if place != Path(place.anchor)}
    with zipfile.ZipFile(archive) as members:
        for member in members.namelist():
            content = members.read(member)
            found = [folder for folder in folders if folder.encode() + b"/" in content or folder in member]
            if found:
                raise ValueError(f"{archive.name}, member {member}: holds the machine path {found[0]}.")


def write_release(
    folder: Path, name: str, model: TemporalLifter, inputs: np.ndarray, record: Mapping[str, object]
) -> list[Path]:
    """Writes NAME.safetensors, NAME.pt2, NAME.json and NAME_inputs.npz (one array, `poses`); returns their paths.

    inputs: `sample frame joint coord`, float32, real unlabelled windows; the first is the program's example input.
    """
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    program = export_lifter(model, torch.from_numpy(inputs[:1].copy()))
    text = json.dumps({"credit": CREDIT, **record}, indent=2) + "\n"

    def write_program(path: Path) -> None:
        torch.export.save(program, path)
        refuse_machine_paths(path)

    writers: dict[str, Callable[[Path], object]] = {
        f"{name}.safetensors": lambda path: save_file(weights, path, metadata={"credit": CREDIT}),
        f"{name}.pt2": write_program,
        f"{name}.json": lambda path: path.write_text(text, encoding="utf-8"),
        f"{name}_inputs.npz": lambda path: np.savez_compressed(path, poses=inputs),
    }
    for filename, write in writers.items():
        write_atomically(folder / filename, write)
    return [folder / filename for filename in writers]
