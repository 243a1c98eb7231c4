"""Arguments of a class that were left at their defaults, though the weights fit other values as well.

How many heads share the channels, a dilation or how many neighbours a graph joins leave no trace in the sizes of
weights. A checkpoint that was trained with other values loads all the same, and answers otherwise. So every default
that nobody gave is changed once, on trial. Where the network keeps names and sizes of its weights, the default is
doubtful. Whether answers depend on it shows when both are run (`problem.doubts`); until then, whether modules hold
other numbers than before, or other constants.

`weights.load_weights` asks at its end. Of `Attention(width, heads=8)` with width=256 given, heads=16 is built on trial:
all weights keep their sizes, the module's `heads` is 16 in place of 8, so that the headline warns of `heads=8`.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
import torch
from torch import nn

from chiralize.errors.words import listed
from chiralize.graph.copies import raw_bytes
from chiralize.graph.isolation import Isolated
from chiralize.graph.silence import quiet
from chiralize.graph.staying import Staying
from chiralize.graph.tensors import number_count
from chiralize.storage.factory import working_folder_importable
from chiralize.storage.settings import nested

SECONDS = 5.0
"""Processor time after which no more defaults are tried."""
_WITHOUT_EFFECT = re.compile(r"drop|init|checkpoint|verbose|debug|seed|pretrain|momentum|training", re.I)
"""Names of what changes no answer in use."""
_LARGE = 20_000_000
"""Parameters of a network that is built on trial only without its numbers."""
_NAMED = 4
"""Assumed arguments that are named in the headline."""
_ASSUMED = " assumed: the class's own "
_SURELY = "answers otherwise with these"
Settings = dict[str, Any]
"""What modules hold beside their weights, by path and name."""


@dataclass(frozen=True)
class Doubtful:
    """A default in whose place another value fits the weights as well.

    other: that value.  shows: whether modules hold other numbers or constants with it.  build: the network with it, and
    with the weights of the one that was built without; None where that fails, or costs much memory.
    """

    name: str
    default: Any
    other: Any
    shows: bool
    build: Callable[[], nn.Module | None]


def doubtful_defaults(
    build: Callable[..., nn.Module], given: Mapping[str, Any], known: Container[str], module: nn.Module
) -> tuple[Doubtful, ...]:
    """Defaults that another value could stand for, since with it the weights fit, those whose change shows first.

    given: the arguments that the module was built with.  known: names that the user, the file or the weights tell.
    module: the network, whose weights may be filled in later.
    """
    end = time.process_time() + SECONDS
    is_large = number_count(module.parameters()) > _LARGE
    sizes, plain = _sizes(module), _built(build, given, is_large) or module
    # `plain` is built in the same way as the others, so that only the argument can make a difference.
    settings = _settings(plain)
    doubtful: list[Doubtful] = []
    # Of each default the first other value counts with which all weights keep their names and sizes.
    for name, default in _defaults(build, known):
        for other in _others(default):
            if time.process_time() > end:
                return _shown_first(doubtful)
            arguments = {**given, name: other}
            changed = _built(build, arguments, is_large)
            if changed is not None and _sizes(changed) == sizes:
                filled = _filling(build, arguments, module, is_large)
                doubtful.append(Doubtful(name, default, other, _settings(changed) != settings, filled))
                break
    return _shown_first(doubtful)


def assumed_note(assumed: tuple[Doubtful, ...], is_sure: bool = False) -> tuple[str, ...]:
    """The warning of defaults on which answers depend.  is_sure: they were seen to, and not by what modules hold."""
    if not assumed:
        return ()
    names = [each.name for each in assumed]
    values = ", ".join(f"{each.name}={each.default!r}" for each in assumed)
    options = " ".join(f"--arg {name}=VALUE" for name in names[:_NAMED])
    verb = "was" if len(names) == 1 else "were"
    answers = _SURELY if is_sure else "may answer otherwise with these"
    return (
        f"warning: {listed(names, _NAMED)} {verb}{_ASSUMED}{values}. Weights fit other values as well, "
        f"and the network {answers}. Give what it was trained with, the default "
        f"too, which ends this warning: {options}",
    )


def is_of_arguments(text: str) -> bool:
    """Whether a warning is of assumed defaults, and not of inputs."""
    return _ASSUMED in text


def if_assumed_is_right(text: str) -> str:
    """`shift=0.5 is what it was trained with`, of a warning of defaults that answers change with; "" of any other."""
    if not (is_of_arguments(text) and _SURELY in text):
        return ""
    values = text.partition(_ASSUMED)[2].partition(". Weights fit")[0]
    return f"{values} {'are' if ', ' in values else 'is'} what it was trained with"


def _shown_first(doubtful: list[Doubtful]) -> tuple[Doubtful, ...]:
    """Those whose change shows in what modules hold, then the others."""
    return tuple(sorted(doubtful, key=lambda each: not each.shows))


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
    """Other values for a default, of its own kind: 16, 9 and 4 for 8; 0.2 for 0.1, 0.5 for 0.0."""
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
    # Classes that compute while they are built need the CPU, see `trial_builds`.
    for device in ("meta",) if is_large else ("meta", "cpu"):
        module = _built_on(device, build, arguments)
        if module is not None:
            return module
    return None


def _built_on(device: str, build: Callable[..., nn.Module], arguments: Mapping[str, Any]) -> nn.Module | None:
    """The network with its numbers there, the random ones the same each time; None where it cannot be built."""
    unheard, hushed = redirect_stdout(StringIO()), quiet()
    with suppress(Exception, SystemExit), unheard, hushed, Staying(), Isolated(), torch.device(device):
        return build(**nested(arguments)).eval()  # the user's own code
    return None


def _filling(
    build: Callable[..., nn.Module], arguments: Mapping[str, Any], module: nn.Module, is_large: bool
) -> Callable[[], nn.Module | None]:
    """What builds the network with these arguments, and with the weights that the module has by then."""

    def filled() -> nn.Module | None:
        """The network on the CPU."""
        with working_folder_importable():
            other = None if is_large else _built_on("cpu", build, arguments)
        if other is not None:
            with suppress(Exception):  # hooks of the user's module
                other.to(next(module.parameters()).dtype).load_state_dict(module.state_dict())
                return other
        return None

    return filled


def _sizes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Sizes of all weights by name."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _settings(module: nn.Module) -> Settings:
    """The plain values and the constants that modules hold, by place and name, but for those that change no answer."""
    settings: Settings = {}
    # Names that begin with `_` are torch's own, or private.  Buffers that no state_dict has are constants, such as a
    # table of positions.
    for path, part in module.named_modules():
        if _WITHOUT_EFFECT.search(type(part).__name__):
            continue
        settings[path] = type(part).__name__
        unsaved = {name: part._buffers.get(name) for name in part._non_persistent_buffers_set}
        for name, value in (*vars(part).items(), *unsaved.items()):
            if name.startswith("_") or _WITHOUT_EFFECT.search(name):
                continue
            if _is_plain(value):
                settings[f"{path}.{name}"] = value
            elif isinstance(value, (torch.Tensor, np.ndarray)):
                settings[f"{path}.{name}"] = _numbers_of(value)
    return settings


def _numbers_of(constant: torch.Tensor | np.ndarray) -> tuple[Any, ...]:
    """Size and numbers of a constant that is in no state_dict, in a form that can be compared."""
    if isinstance(constant, np.ndarray):
        return (constant.shape, constant.tobytes())
    if constant.is_meta:
        return (tuple(constant.shape),)
    return (tuple(constant.shape), raw_bytes(constant))


def _is_plain(value: Any) -> bool:
    """Whether a value is a number, a text, or a list of those."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
