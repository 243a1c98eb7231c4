"""What forward keeps from one call to the next in plain attributes.

torch.export follows one call, and what that leaves in an attribute is not in its graph; of a buffer it is. So a tensor
that is there from the start becomes a buffer. Of what comes into being with the first call a graph knows nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from chiralize.isolation import Isolated
from chiralize.running import results, same

Key = tuple[str, str]


def kept(module: torch.nn.Module, run: Callable[[], Any]) -> tuple[Any, tuple[Key, ...]]:
    """The answer of a call, and the attributes, as (module, name), in which it kept what changes the next answer.

    run: calls the module, with the same arguments every time. What it keeps in buffers is forgotten before the next.
    """
    before = {key: _remembered(value) for key, value in _attributes(module).items()}
    buffers = [
        (own._buffers, {name: _remembered(value) for name, value in own._buffers.items()}) for own in _own(module)
    ]
    answer = _seeded(run)
    changed = tuple(key for key, value in _attributes(module).items() if _differs(before.get(key), value))
    if not changed:
        return answer, ()
    for table, values in buffers:
        table.update(values)
    first, second = (results(own)[0] for own in (answer, _seeded(run)))
    alike = len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return answer, () if alike else changed


def as_buffers(module: torch.nn.Module, keys: Sequence[Key]) -> tuple[str, ...]:
    """Tensors become buffers that `state_dict` leaves out. The names of what is no tensor yet."""
    left: list[str] = []
    for path, name in keys:
        owner = module.get_submodule(path)
        value = vars(owner).get(name)
        if isinstance(value, Tensor) and value.is_floating_point():
            delattr(owner, name)
            owner.register_buffer(name, value.detach(), persistent=False)
        else:
            left.append(f"{path}.{name}" if path else name)
    return tuple(left)


def _own(module: torch.nn.Module) -> list[torch.nn.Module]:
    return [own for own in module.modules() if not isinstance(own, torch.jit.ScriptModule)]


def _attributes(module: torch.nn.Module) -> Mapping[Key, Any]:
    """What modules hold that is no parameter, buffer or module."""
    paths = {own: path for path, own in module.named_modules()}
    tables = ("_parameters", "_buffers", "_modules")
    return {
        (paths[own], name): value for own in _own(module) for name, value in vars(own).items() if name not in tables
    }


def _remembered(value: Any) -> Any:
    """A value as it is now, however it is written to."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    return copy.copy(value) if isinstance(value, (list, dict, set)) else value


def _differs(before: Any, now: Any) -> bool:
    if isinstance(now, (list, tuple)) and isinstance(before, (list, tuple)):
        return len(now) != len(before) or any(_differs(a, b) for a, b in zip(before, now, strict=True))
    if isinstance(now, Tensor) or isinstance(before, Tensor):
        return not same(before, now)
    try:
        return bool(before != now)
    except Exception:  # what holds arrays, say
        return before is not now


def _seeded(run: Callable[[], Any]) -> Any:
    with Isolated(), torch.no_grad():
        return run()
