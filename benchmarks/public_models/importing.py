"""Import a model from a checkout: its folder on the path, stand-ins for packages that it imports and does not need."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import yaml


class Placeholder:
    """Stands for a name of a missing package: can be a base class, be called, decorate, hold any attribute."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args[0] if len(args) == 1 and not kwargs and callable(args[0]) else Placeholder()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Placeholder()


class _Missing(ModuleType):
    """A module in which every name is a placeholder."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Placeholder,), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds stand-ins for `roots` and everything below them, with the given attributes."""

    def __init__(self, roots: Sequence[str], contents: Mapping[str, Mapping[str, Any]]) -> None:
        self.roots = {*roots, *(name.split(".")[0] for name in contents)}
        self.contents = contents

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.contents and fullname.split(".")[0] not in self.roots and fullname not in self.roots:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = _Missing(spec.name)
        module.__dict__.update(self.contents.get(spec.name, {}), __path__=[])
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


@contextmanager
def importable(
    *folders: Path, missing: Sequence[str] = (), stubs: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[None]:
    """Let `folders` be imported from, first of all; afterwards everything imported meanwhile is forgotten again.

    missing: packages that are replaced by placeholders.  stubs: module name to the attributes that it must have.
    Two checkouts may both have a package `model`: that is why nothing stays.
    """
    finder = _Finder(missing, stubs or {})
    before, path = dict(sys.modules), list(sys.path)
    names = {entry.stem for folder in folders for entry in folder.iterdir() if entry.suffix == ".py" or entry.is_dir()}
    hidden = {name: sys.modules.pop(name) for name in before if name.split(".")[0] in names}
    sys.path[:0] = [str(folder) for folder in folders]
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        sys.path[:] = path
        inside = tuple(str(folder) for folder in folders)
        for name, module in list(sys.modules.items()):
            origin = getattr(getattr(module, "__spec__", None), "origin", None) or ""
            loader = getattr(getattr(module, "__spec__", None), "loader", None)
            if name not in before and (loader is finder or str(origin).startswith(inside)):
                del sys.modules[name]
        sys.modules.update(hidden)


def without_gpu() -> None:
    """Let `.cuda()` return the tensor itself: some networks call it in forward, and there may be no GPU."""

    def stay(self: Any, *_: Any, **__: Any) -> Any:
        return self

    torch.Tensor.cuda = stay  # type: ignore[method-assign]
    torch.nn.Module.cuda = stay  # type: ignore[method-assign]


def shipped(name: str, joints: Sequence[int] | None = None, dims: Sequence[str] | None = None) -> dict[str, Any]:
    """The joints, pairs, dims and negated dims of a skeleton file of this project; `joints`: only these, by index."""
    folder = Path(__file__).parents[2] / "skeletons"
    full = yaml.safe_load((folder / f"{name}.yaml").read_text())
    names = full["joints"] if joints is None else [full["joints"][index] for index in joints]
    pairs = [pair for pair in full["pairs"] if pair[0] in names]
    return {"joints": names, "pairs": pairs, "dims": list(dims or full["dims"]), "negate": list(full["negate"])}
