"""A policy behind the normaliser that rsl_rl 1 and 2 keep as an entry of its own, beside the weights.

They run the policy on what the normaliser makes of an observation, so that both together are the network: what the
mirror does to an observation is said of the one that the environment gives.

`formats/rsl_rl.py` calls this where the checkpoint has such an entry. Weights of the result are in two tables of it:

    policy.0.weight         model_state_dict: actor.0.weight
    obs_normalizer._mean    obs_norm_state_dict: _mean         noted as "obs_norm_state_dict/_mean"
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from chiralize.errors import ModelFileError
from chiralize.storage.content import Content
from chiralize.storage.format import LoadedModel
from chiralize.storage.perceptron import Normaliser
from chiralize.storage.stored import Stored
from chiralize.storage.tables import Weights, name_beside, table_under

_SPREAD = "_std"
_STATISTICS = ("_mean", _SPREAD)


class BehindNormaliser(nn.Module):
    """policy((x - mean) / (std + 0.01)), as rsl_rl's runner calls it."""

    def __init__(self, obs_normalizer: Normaliser, policy: nn.Module) -> None:
        super().__init__()
        self.obs_normalizer, self.policy = obs_normalizer, policy

    def forward(self, obs: Tensor) -> Any:
        """Whatever the policy answers to observations "batch observation"."""
        return self.policy(self.obs_normalizer(obs))


def behind_normaliser(loaded: LoadedModel, content: Content, stored: Stored, entry: str) -> LoadedModel:
    """The network with the normaliser of that entry before it; both are put back into the file.

    Raises ModelFileError for an entry that is no normaliser.
    """
    assert loaded.origin is not None
    table = table_under(stored.tree, entry, content.where)
    missing = [name for name in _STATISTICS if name not in table.tensors]
    if missing:
        facts = f"its entry {entry!r} is no normaliser of rsl_rl: it has no {' and no '.join(missing)}"
        raise ModelFileError(content.where, facts, "take the entry out, or save the checkpoint again.")
    normaliser = _filled(table, stored, entry, content.where)
    names = {f"policy.{name}": full for name, full in loaded.origin.names.items()}
    held = [name for name in normaliser.state_dict() if name in table.tensors]
    names |= {f"obs_normalizer.{name}": name_beside(entry, name) for name in held}
    note = (
        f"put the normaliser of the entry {entry} before the policy: the network takes observations as the environment "
        "gives them; a file for deployment that normalises them itself would do it twice"
    )
    origin = replace(loaded.origin, names=names, beside=(entry,))
    module = BehindNormaliser(normaliser, loaded.module).eval()
    return replace(loaded, module=module, origin=origin, notes=(*loaded.notes, note))


def _filled(table: Weights, stored: Stored, entry: str, where: str) -> Normaliser:
    """The normaliser with the statistics of the entry.  Raises ModelFileError where they are of other sizes."""
    tensors = {name: stored.tensor(value, f"{entry}.{name}") for name, value in table.tensors.items()}
    size = tensors[_SPREAD].numel()
    normaliser = Normaliser(size)
    state = {name: tensor for name, tensor in tensors.items() if name in normaliser.state_dict()}
    for name in _STATISTICS:
        if tensors[name].numel() != size or not tensors[name].is_floating_point():
            facts = f"in its entry {entry!r}, {name} and {_SPREAD} do not belong together"
            raise ModelFileError(where, facts, "save the checkpoint again.")
    for name in normaliser.state_dict():
        if name in state:  # in the precision and the shape of the file, "1 observation" or "observation"
            normaliser.register_buffer(name, state[name].detach().clone())
        else:
            delattr(normaliser, name)  # nothing reads it, and the file has no place for it
    return normaliser
