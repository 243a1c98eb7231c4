"""Weights of the form in blocks, loaded into the folded form: `load_state_dict` of a result takes both.

Layers of `chiralize.nn` take torch's keys by themselves. torch's layers know nothing of blocks, so a folded result gets
a hook that puts dense weights in the place of blocks before they are loaded, layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from chiralize.nn._module import prefixed
from chiralize.nn.deploy.twins import TWINS, unfilled_twin_of
from chiralize.symmetry.representation import TensorRepresentation

State = dict[str, Any]


class BlocksToDense:
    """A hook of `load_state_dict` of a folded result. It holds no network, so that copies and pickles keep it.

    hidden: how T acts on the weights of the module that it is registered on, by name.
    """

    def __init__(self, hidden: Mapping[str, TensorRepresentation]) -> None:
        self.hidden = dict(hidden)

    def __call__(self, module: nn.Module, state: State, prefix: str, *_: Any) -> None:
        """Replace what layers in blocks stored, in `state` itself; what else does not fit is left for torch to name."""
        for path, layer in module.named_modules(remove_duplicate=False):
            if type(layer) in TWINS:
                inside = f"{path}." if path else ""
                _fold(state, prefix + inside, layer, _within(inside, self.hidden))


def takes_blocks(module: nn.Module, hidden: Mapping[str, TensorRepresentation]) -> None:
    """Let a folded module take the state of its form in blocks as well, from now on; a script takes no hooks."""
    if isinstance(module, torch.jit.ScriptModule):
        return
    hooks = module._load_state_dict_pre_hooks
    for key in [key for key, hook in hooks.items() if isinstance(getattr(hook, "hook", None), BlocksToDense)]:
        del hooks[key]  # of an earlier mirror
    module.register_load_state_dict_pre_hook(BlocksToDense(hidden))


def _within(prefix: str, entries: Mapping[str, Any]) -> State:
    """The entries whose names begin with something, without it."""
    return {name.removeprefix(prefix): value for name, value in entries.items() if name.startswith(prefix)}


def _fold(state: State, prefix: str, layer: nn.Module, representations: Mapping[str, TensorRepresentation]) -> None:
    """Put the dense weights of one layer in the place of its blocks, if the state has them."""
    stored = _within(prefix, state)
    if not stored or not any(name not in layer.state_dict() for name in stored):
        return  # torch's own keys, or the layer is not among those to be loaded
    twin = unfilled_twin_of(layer, representations)
    # Neither blocks of this layer nor torch's keys: torch will name what does not fit.
    if twin is None or stored.keys() != twin.state_dict().keys():
        return
    if any(stored[name].shape != value.shape for name, value in twin.state_dict().items()):
        return
    floats = [value for value in stored.values() if isinstance(value, Tensor) and value.is_floating_point()]
    twin.to(floats[0])  # as precise as what is loaded, wherever that lies
    twin.load_state_dict(stored)
    for name in stored:
        del state[prefix + name]
    with torch.no_grad():
        dense = {name: value.detach() for name, value in twin.dense().items()}
    dense |= {name: stored[name] for name in twin.not_weights if name in stored}
    state.update(prefixed(prefix, dense))
