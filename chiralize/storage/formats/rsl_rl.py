"""rsl_rl's `model_*.pt`: actor, critic and normaliser in one table (until version 3) or in one each (since 4)."""

from __future__ import annotations

from dataclasses import replace

from chiralize.storage.content import Content
from chiralize.storage.format import Format, LoadedModel, Wanted
from chiralize.storage.torch_formats import arrays, loader, write_back

_TABLES = ("actor_state_dict", "model_state_dict", "student_state_dict")
_TRAINING = ("std", "log_std", "distribution.", "critic.", "critic_obs_normalizer.", "memory_c.")
"""What draws actions while training, and values them."""
_NORMALISER = "obs_norm_state_dict"


def _recognises(content: Content) -> bool:
    return "iter" in content.keys and any(name in content.keys for name in _TABLES)


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    model = loader("rsl_rl", _TABLES, _TRAINING)(content, wanted)
    if _NORMALISER not in content.keys:
        return model
    note = (
        f"warning: the normaliser before the policy is not converted: its statistics, the entry {_NORMALISER}, stay as "
        "they are, and where they differ between the sides the policy behind it is no mirror of itself. The inputs "
        "here are normalised observations. An export of both together (TorchScript, ONNX) is converted whole"
    )
    return replace(model, notes=(*model.notes, note))


FORMAT = Format("rsl_rl", "a checkpoint of rsl_rl", _recognises, _load, arrays, write_back, rank=20)
