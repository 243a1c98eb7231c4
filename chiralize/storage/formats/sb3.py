"""Stable-Baselines3's `.zip`: `policy.pth`, and a JSON `data` whose pickled parts are never loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chiralize.errors import ModelFileError
from chiralize.storage.archive import Members
from chiralize.storage.content import Content, content_of_bytes
from chiralize.storage.format import Format, LoadedModel, Origin, Wanted

if TYPE_CHECKING:
    import torch

_POLICY, _DATA = "policy.pth", "data"
_TRAINING = (
    "log_std",
    "value_net.",
    "mlp_extractor.value_net.",
    "vf_features_extractor.",
    "critic.",
    "critic_target.",
    "actor_target.",
    "actor.log_std.",
    "q_net_target.",
)


def _recognises(content: Content) -> bool:
    return content.is_zip and {_POLICY, _DATA} <= set(content.names)


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    from dataclasses import replace

    from chiralize.storage.sb3_policy import policy_builder
    from chiralize.storage.torch_weights import read_stored
    from chiralize.storage.weights import load_weights

    members = Members(content.archive, content.where)
    inner = content_of_bytes(members[_POLICY], f"{content.where}: {_POLICY}")
    if inner.pickled is None:
        raise ModelFileError(inner.where, "is no file of torch.save", "save the model again.")
    name, build = policy_builder(members[_DATA], content.where)
    stored = replace(read_stored(inner), idle=_TRAINING, named=name, build=build)
    return load_weights(content, wanted, "sb3", stored)


def _write_back(origin: Origin, state: Mapping[str, torch.Tensor], target: Path, sidecar: str) -> tuple[str, ...]:
    from chiralize.storage.archive import open_archive
    from chiralize.storage.patching import torch_patched, unchanged_source, zip_patched
    from chiralize.storage.save import save_beside
    from chiralize.storage.torch_weights import OF_OLD_WEIGHTS

    data, where = unchanged_source(origin), str(origin.path)
    members = Members(open_archive(data, where), where)
    policy = torch_patched(members[_POLICY], origin, state, f"{where}: {_POLICY}")
    save_beside(target, zip_patched(data, {_POLICY: policy}, where), sidecar)
    return (OF_OLD_WEIGHTS,)


FORMAT = Format("sb3", "a model of Stable-Baselines3", _recognises, _load, None, _write_back, rank=50)
