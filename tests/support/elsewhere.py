"""A second device for machines that have none: its tensors lie on the CPU, but mix with none of the CPU's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "elsewhere"
_LIBRARY = torch.library.Library("aten", "IMPL")
_BETWEEN = {"aten::copy_", "aten::_to_copy", "aten::index.Tensor"}


class There(Tensor):
    """A tensor of the device, around one of the CPU."""

    @staticmethod
    def __new__(cls, raw: Tensor) -> There:
        own = torch.Tensor._make_wrapper_subclass(
            cls, raw.size(), strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype,
            device=f"{NAME}:0",
        )  # fmt: skip
        own.raw = raw
        return own

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    given = [own for own in tree_leaves((args, kwargs)) if isinstance(own, Tensor)]
    there = {id(own.raw): own for own in given if isinstance(own, There)}
    if func.name() not in _BETWEEN and there and any(own.ndim for own in given if not isinstance(own, There)):
        raise RuntimeError(f"{func.name()}: expected all tensors to be on the same device")
    target = kwargs.get("device")
    stays = bool(there) if target is None else torch.device(target).type == NAME
    args, kwargs = tree_map_only(There, lambda own: own.raw, (args, dict(kwargs)))
    if target is not None:
        kwargs["device"] = "cpu"
    out = func(*args, **kwargs)
    return tree_map_only(Tensor, lambda own: there[id(own)] if id(own) in there else There(own), out) if stays else out


def _run_factory(func: Any, *args: Any, **kwargs: Any) -> Any:
    return _run(func, args, kwargs)


def _copied(source: Tensor, target: Tensor, blocking: bool = False) -> Tensor:
    raw = [own.raw if isinstance(own, There) else own for own in (source, target)]
    raw[1].copy_(raw[0])
    return target


@cache
def register() -> None:
    """Make torch know the device, for the whole process."""
    _setup_privateuseone_for_python_backend(NAME)
    for name, op in (
        ("empty.memory_format", torch.ops.aten.empty.memory_format),
        ("empty_strided", torch.ops.aten.empty_strided.default),
    ):
        _LIBRARY.impl(name, partial(_run_factory, op), "PrivateUse1")
    _LIBRARY.impl("_copy_from", _copied, "PrivateUse1")
