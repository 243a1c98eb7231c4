"""What formats of `torch.save` have in common, each part importing torch when it is called and no sooner.

All formats are imported to recognise one file; torch, which takes seconds, only where a file is loaded or written.  The
work is done in `torch_weights`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiralize.storage.content import Content
from chiralize.storage.format import LoadedModel, Origin, Wanted

if TYPE_CHECKING:
    import torch


def loader(
    name: str, preferred: Sequence[str] = (), idle: Sequence[str] = ()
) -> Callable[[Content, Wanted], LoadedModel]:
    """The `load` of a format that differs from others in where its weights are; see `Stored` for both."""

    def load(content: Content, wanted: Wanted) -> LoadedModel:
        """The network of a checkpoint.  Raises UsageError, FactoryError, ModelFileError, UnsafeFileError."""
        from dataclasses import replace

        from chiralize.storage.torch_weights import load_torch, read_stored

        if not preferred:
            return load_torch(content, wanted, name)
        return load_torch(content, wanted, name, replace(read_stored(content, wanted), preferred=preferred, idle=idle))

    return load


def arrays(content: Content) -> Any:
    """Tables of tensors, where the file holds nothing else.  Raises UnsafeFileError, ModelFileError."""
    from chiralize.storage.checkpoint import read_safely

    return read_safely(content.data, content.where)


def write_back(origin: Origin, state: Mapping[str, torch.Tensor], target: Path, sidecar: str) -> tuple[str, ...]:
    """Write the file with the network's weights replaced; notes on the rest.  Raises UsageError, OutputFileError."""
    from chiralize.storage.torch_weights import write_back_torch

    return write_back_torch(origin, state, target, sidecar)
