"""Kinds of files that results are written to, by their suffix. The command line starts with it."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".pt2", ".safetensors", ".pt", ".onnx")
GRAPHS = (".pt2", ".onnx")
"""Those that hold the whole network; the others hold its weights."""
OF_MODELS = (".pt2", ".pt", ".pth", ".ckpt", ".onnx", ".safetensors", ".bin", ".tar", ".zip", ".npz", ".pkl")
"""How names of files end that a network can come from. Only for messages: the content decides."""
OF_ARRAYS = (".npy", ".npz", ".csv", ".pt", ".pth", ".safetensors")
"""The same of files that inputs can come from."""


def check_suffix(target: Path, where: str = "-o", other: str = "") -> None:
    """Raise UsageError for a file of no kind that results are written to, and where a package for it is missing.

    other: what else its name might end in, in words.
    """
    if target.suffix not in SUFFIXES:
        from chiralize.errors import UsageError

        raise UsageError(where, f"{target} has no known suffix", f"use one of {', '.join(SUFFIXES)}{other}")
    if target.suffix == ".onnx":
        from chiralize.storage.onnx_checks import require_packages

        require_packages(where)
