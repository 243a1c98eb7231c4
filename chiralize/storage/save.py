"""A `.pt2`, a `.safetensors` or a state dict that others can read, written whole or not at all.

The last step of a conversion, for results that do not go back into the file that they came from (`patching`).  Each
takes the certificate along: as an extra file in the `.pt2`, in the header of safetensors, as a file beside others.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
import torch.utils._pytree as pytree

from chiralize.storage.atomic import (
    Writer,
    atomic_write,
    atomic_writes,
    check_writable,
    holding,
    streaming,
    write_bytes,
)
from chiralize.storage.files import digest_of
from chiralize.storage.sidecar import DIGEST_KEY, place_of


def save_pt2(program: torch.export.ExportedProgram, path: Path | str, extra: Mapping[str, str]) -> None:
    """Write an exported program with texts beside it; torch.export.load reads it anywhere.  Raises OutputFileError.

    An example that is a part of a larger tensor, such as the first rows of a data set, is written without the rest.
    """

    def fill(stream: BinaryIO) -> None:
        """Write the program to the stream, without torch's warnings about itself."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\b.*|copyreg")
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\b.*|copyreg")
            warnings.filterwarnings("ignore", message="No complete tensor found in the group")  # right on the CPU
            torch.export.save(program, stream, extra_files=dict(extra))

    example = program.example_inputs
    program.example_inputs = pytree.tree_map_only(torch.Tensor, _without_rest, example)
    try:
        atomic_write(path, streaming(fill))
    finally:
        program.example_inputs = example


def save_safetensors(state: Mapping[str, torch.Tensor], path: Path | str, metadata: Mapping[str, str]) -> None:
    """Write tensors with texts in the header ("chirality").  Tied weights are written once per name.

    Raises OutputFileError.
    """
    from safetensors.torch import save

    data = save(_independent(state), metadata={str(key): str(text) for key, text in metadata.items()})
    write_bytes(path, data)


def save_state_dict(state: Mapping[str, torch.Tensor], path: Path | str, sidecar_json: str) -> None:
    """Write a plain state_dict, and `PATH.chirality.json` beside it: both are written before either is in place.

    sidecar_json: a table.  It gets the digest of the weights, so that a reader notices where a process was killed
    between the two.  Raises OutputFileError.
    """

    def fill(stream: BinaryIO) -> None:
        """Write the weights to the stream."""
        torch.save({name: tensor.detach().cpu() for name, tensor in state.items()}, stream)

    _write_both(Path(path), streaming(fill), sidecar_json)


def save_beside(path: Path, data: bytes, sidecar_json: str) -> None:
    """Write a file with this content, and its sidecar as `save_state_dict` does.  Raises OutputFileError."""
    _write_both(path, holding(data), sidecar_json)


def _write_both(path: Path, write: Writer, sidecar_json: str) -> None:
    """Write a file of weights and the table that belongs to it, which gets the digest of the weights."""
    check_writable(path)
    digests: list[str] = []  # of the weights, known when they are written: `atomic_writes` fills files in order

    def weights(temporary: Path) -> None:
        """Write the file of weights, and take its digest."""
        write(temporary)
        with temporary.open("rb") as file:
            digests.append(digest_of(file, path))

    def certificate(temporary: Path) -> None:
        """Write the table with the digest of the weights, which were written before."""
        table = {**json.loads(sidecar_json), DIGEST_KEY: digests[0]}
        temporary.write_text(json.dumps(table), encoding="utf-8")

    atomic_writes([(path, weights), (place_of(path), certificate)])


def _without_rest(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, in memory of its own where it is a part of a larger one.

    torch.save writes the whole memory that a tensor lies in.
    """
    is_part = tensor.layout is torch.strided and tensor.untyped_storage().nbytes() > tensor.nbytes
    return tensor.clone(memory_format=torch.contiguous_format) if is_part else tensor


def _independent(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Contiguous tensors on the CPU of which no two share memory."""
    seen: set[int] = set()
    independent: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        plain = tensor.detach().cpu().contiguous()
        # safetensors refuses tensors that share memory.
        storage = plain.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != plain.numel() * plain.element_size():
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        independent[name] = plain
    return independent
