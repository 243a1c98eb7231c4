"""What it takes to convert a public model as it is: where it comes from, how to build it, and its specification."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Recipe:
    """One public model.

    repository: owner/name on GitHub.  commit: the one that was tried.  build: checkout -> the network, as its authors
    construct it (import fixes only).  inputs: example arguments, float32.  spec: what a user's YAML file would hold,
    with a `layout` for every pose.  options: further arguments of `chiralize.chiralize`.
    checkpoint: path in the checkout of weights that come with it.  load: how they are read, where `load_weights` is
    not enough.  keep: globs of parameters and buffers that must not be scrambled, since they are no weights.
    positive: globs of those which only make sense above zero.
    steps: calls in a row, for networks with a state.  asymmetric: why a refusal is the right answer, of which class.
    """

    name: str
    repository: str
    commit: str
    build: Callable[[Path], torch.nn.Module]
    inputs: Callable[[], tuple[torch.Tensor, ...]]
    spec: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str = ""
    asymmetric: str = ""
    refusal: str = "AsymmetricConstantError"
    load: Callable[[torch.nn.Module, Path], None] | None = None
    keep: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    steps: int = 1

    @property
    def folder(self) -> str:
        """Name of the checkout: owner+name."""
        return self.repository.replace("/", "+")


# ---- weights that come with a checkout ------------------------------------------------------------------------------
def load_weights(model: torch.nn.Module, path: Path) -> None:
    """A state dict, alone or under one of the usual keys, with or without the `module.` of DataParallel."""
    found = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model_pos", "model", "net"):
        if isinstance(found, Mapping) and key in found:
            found = found[key]
    model.load_state_dict({name.removeprefix("module."): tensor for name, tensor in found.items()})


def all_recipes(folder: Path) -> list[Recipe]:
    """The `RECIPES` of every Python file in a folder, in the order of the file names."""
    found: list[Recipe] = []
    for path in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"recipes_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += getattr(module, "RECIPES", ())
    return found
