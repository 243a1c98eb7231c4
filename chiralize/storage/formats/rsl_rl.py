"""rsl_rl's `model_*.pt`: actor, critic and normaliser in one table (version 3) or in one each (before, and since 4).

The network that is wanted is the actor, or the student that was distilled. Where the normaliser of observations is an
entry of its own, the policy is put behind it (`behind_normaliser`), if its forward takes one tensor.

    {"iter": 1500, "model_state_dict": {"actor.0.weight": ..., "critic.0.weight": ...}, "obs_norm_state_dict": ...}

is read as the network that the environment meets: observation -> normaliser -> actor. `load` asks the formats in turn,
by FORMAT at the end of this file.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chiralize.storage.content import Content
from chiralize.storage.format import Format, LoadedModel, Wanted
from chiralize.storage.tables import table_under
from chiralize.storage.torch_formats import arrays, write_back

if TYPE_CHECKING:
    import torch

    from chiralize.storage.stored import Stored

# Entries that may hold the policy; with "iter", one of them is how a checkpoint is recognised.
_TABLES = ("actor_state_dict", "model_state_dict", "student_state_dict")
_TRAINING = ("std", "log_std", "distribution.", "critic.", "critic_obs_normalizer.", "memory_c.")
"""Networks that are needed in training only: they draw actions, or give their value."""
_NORMALISER = "obs_norm_state_dict"
_OTHERS = ("privileged_obs_norm_state_dict", "critic_obs_norm_state_dict")
"""Names in versions 1 and 2.3, and in versions 2.0 to 2.2."""
_OF_CRITIC = (
    "the critic of this checkpoint reads the same normaliser, and was trained behind its old statistics: once they "
    "change, its values are off until it is trained on"
)
_SEES_MORE = ("critic", "teacher")
"""Networks that versions 1 and 2 give other observations than the policy, by the starts of their weights' names."""


def _recognises(content: Content) -> bool:
    """Whether a file has the count of iterations and a table of a policy, by the names of its entries."""
    return "iter" in content.keys and any(name in content.keys for name in _TABLES)


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    """The policy, behind its normaliser where that is an entry of its own; with a warning where it cannot be.

    Raises as `load_torch`, ModelFileError for a normaliser that cannot be read.
    """
    from chiralize.storage.behind_normaliser import behind_normaliser
    from chiralize.storage.torch_weights import load_torch, read_stored

    stored = replace(read_stored(content, wanted), preferred=_TABLES, idle=_TRAINING)
    model = load_torch(content, wanted, "rsl_rl", stored)
    if model.origin is None:
        return model
    # A critic or a teacher sees other observations than the policy, and has the normaliser of those.
    if model.origin.prefix.startswith(_SEES_MORE):
        candidates: tuple[str, ...] = _OTHERS
    else:
        candidates = (_NORMALISER,)
    entry = next((name for name in candidates if name in content.keys), None)
    # No entry: there is no normaliser, or it is among the weights of the policy and was loaded with them.
    if entry is None:
        return model
    if _takes_one_tensor(model.module):
        model = behind_normaliser(model, content, stored, entry)
        if entry == _NORMALISER and _critic_sees_the_same(model, content, stored):
            model = replace(model, notes=(*model.notes, _OF_CRITIC))
        return model
    note = (
        f"warning: the normaliser before the policy is not converted: its statistics, the entry {entry}, stay as "
        "they are, and where they differ between the sides the policy behind it is no mirror of itself. Its `forward` "
        "does not take the observation alone, so that the inputs here are normalised observations. A class whose "
        "forward does (a subclass that calls act_inference), or an export of both together (TorchScript, ONNX), is "
        "converted whole"
    )
    return replace(model, notes=(*model.notes, note))


def _critic_sees_the_same(model: LoadedModel, content: Content, stored: Stored) -> bool:
    """Whether the checkpoint has a critic and no normaliser for it: then it reads what the policy reads."""
    assert model.origin is not None
    weights = table_under(stored.tree, model.origin.key, content.where).tensors
    is_critics = any(name.startswith("critic.") for name in weights)
    return is_critics and not any(name in content.keys for name in _OTHERS)


def _takes_one_tensor(module: torch.nn.Module) -> bool:
    """Whether forward has one argument that has to be given, and it is not written down as a table."""
    import inspect

    # A normaliser of observations can stand before such a forward, and before no other. A table of observations shows
    # by its annotation alone: dict, TensorDict.
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return False
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return False
    # `**kwargs` has no default, and need not be given all the same.
    required = [parameter for parameter in parameters if parameter.default is inspect.Parameter.empty]
    required = [parameter for parameter in required if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    return len(required) == 1 and "dict" not in str(required[0].annotation).lower()


FORMAT = Format("rsl_rl", "a checkpoint of rsl_rl", _recognises, _load, arrays, write_back, rank=20)
