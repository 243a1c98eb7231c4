"""Arguments of a class that were left at their defaults, though the weights fit other values as well.

How many heads share the channels, a dilation or how many neighbours a graph joins leave no trace in the sizes of
weights. A checkpoint that was trained with other values loads all the same, and answers otherwise. So every default
that nobody gave is changed once, on trial. Where the network keeps names and sizes of its weights, and its modules then
hold another number than before, the default was assumed.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import Any

import torch
from torch import nn

from chiralize.graph.silence import quiet
from chiralize.graph.staying import Staying
from chiralize.graph.tensors import number_count
from chiralize.storage.settings import nested

SECONDS = 5.0
"""Processor time after which no more defaults are tried."""
_WITHOUT_EFFECT = re.compile(r"drop|init|checkpoint|verbose|debug|seed|pretrain|momentum|training", re.I)
"""Names of what changes no answer in use."""
_LARGE = 20_000_000
Settings = dict[str, Any]


def assumed_defaults(
    build: Callable[..., nn.Module], given: Mapping[str, Any], known: Container[str], module: nn.Module
) -> dict[str, Any]:
    """Defaults by name that another value could stand for: with it the weights fit, and the network is another one.

    given: the arguments that the module was built with.  known: names that the user, the file or the weights tell.
    """
    end = time.process_time() + SECONDS
    sizes, settings = _sizes(module), _settings(module)
    is_large = number_count(module.parameters()) > _LARGE
    assumed: Settings = {}
    for name, default in _defaults(build, known):
        for other in _others(default):
            if time.process_time() > end:
                return assumed
            changed = _built(build, {**given, name: other}, is_large)
            if changed is not None and _sizes(changed) == sizes:
                if _settings(changed) != settings:
                    assumed[name] = default
                break
    return assumed


def _defaults(build: Callable[..., Any], known: Container[str]) -> Iterator[tuple[str, Any]]:
    """Arguments with a default that is a number or a truth, but for those that change no answer."""
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):
        return
    for each in parameters:
        if isinstance(each.default, (bool, int, float)) and each.name not in known:
            if not _WITHOUT_EFFECT.search(each.name):
                yield each.name, each.default


def _others(default: float) -> Iterator[Any]:
    """Other values for a default, of its own kind."""
    if isinstance(default, bool):
        yield not default
    elif isinstance(default, int):
        yield from sorted({2 * default, default + 1, default // 2} - {default, 0}, reverse=True)
    else:
        yield 2 * default if default else 0.5


def _built(build: Callable[..., nn.Module], arguments: Mapping[str, Any], is_large: bool) -> nn.Module | None:
    """The network with these arguments, without its numbers where it can be built so.

    None where it cannot be built; a large one is not built with its numbers.
    """
    for device in ("meta",) if is_large else ("meta", "cpu"):
        unheard, hushed = redirect_stdout(StringIO()), quiet()
        with suppress(Exception, SystemExit), unheard, hushed, Staying(), torch.device(device):  # the user's own code
            return build(**nested(arguments)).eval()
    return None


def _sizes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _settings(module: nn.Module) -> Settings:
    """The plain values that modules hold, by place and name, but for those that change no answer."""
    settings: Settings = {}
    for path, part in module.named_modules():
        if _WITHOUT_EFFECT.search(type(part).__name__):
            continue
        settings[path] = type(part).__name__
        for name, value in vars(part).items():
            if not name.startswith("_") and not _WITHOUT_EFFECT.search(name) and _is_plain(value):
                settings[f"{path}.{name}"] = value
    return settings


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
