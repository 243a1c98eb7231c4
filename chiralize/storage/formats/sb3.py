"""Stable-Baselines3's `.zip`: `policy.pth`, and a JSON `data` whose pickled parts are never loaded.

The policy is rebuilt from `data` (`sb3_policy`) and filled from `policy.pth`.  Many policies are trained behind a
normaliser of observations, which lies in a second file (`vec_normalize`).  Three cases when a policy is loaded:

    converted behind one     the normaliser that was written beside it is put before it, or asked for
    one is given             --normalizer puts it before the policy
    neither                  the policy alone; a note, where a vecnormalize.pkl lies beside it
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiralize.errors import ModelFileError, UsageError
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
"""Weights that only training needs: spreads of actions, values, slowly following copies."""


def _recognises(content: Content) -> bool:
    return content.is_zip and {_POLICY, _DATA} <= set(content.names)


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    """The policy, behind its normaliser where there is one.  Raises as `load_weights`, and ModelFileError."""
    from dataclasses import replace

    from chiralize.storage.sb3_policy import policy_builder
    from chiralize.storage.torch_weights import read_stored
    from chiralize.storage.weights import load_weights

    members = Members(content.archive, content.where)
    members.check()  # before any work: what the policy does not need is copied when it is written back
    inner = content_of_bytes(members[_POLICY], f"{content.where}: {_POLICY}")
    if inner.pickled is None:
        raise ModelFileError(inner.where, "is no file of torch.save", "save the model again.")
    name, build = policy_builder(members[_DATA], content.where)
    stored = replace(read_stored(inner), idle=_TRAINING, named=name, build=build)
    loaded = load_weights(content, wanted, "sb3", stored)
    return _whole(loaded, content, wanted)


def _whole(loaded: LoadedModel, content: Content, wanted: Wanted) -> LoadedModel:
    """The policy behind the normaliser that was given, or that was written with it.  Raises ModelFileError, UsageError.

    What was converted behind one is never had without it: its mirror holds for both together.
    """
    from dataclasses import replace

    from chiralize.storage.written_normaliser import missing, written_normaliser

    written = written_normaliser(content.path, loaded.extra)
    if written is not None and not hasattr(loaded.module, "normaliser"):
        facts = "the policy was converted behind its normaliser, and a class of your own is not put behind it"
        raise UsageError(content.where, facts, "give --model auto")
    if wanted.normalizer is None:
        if written is None:
            return replace(loaded, notes=(*loaded.notes, *_not_given(content.path)))
        if written.path is None:
            raise missing(content.where, written.expected, wanted.command)
        return _behind(loaded, written.path, ", which was written beside it,")
    # The user's choice counts, but another normaliser than the one it was converted with breaks the mirror.
    behind = _behind(loaded, wanted.normalizer)
    if written is None or written.is_that_of(wanted.normalizer):
        return behind
    remedy = f"give the normaliser that was written with {content.path.name}: --normalizer {written.path}"
    note = f"warning: {wanted.normalizer.name} is another normaliser than the one that was written with it"
    return replace(behind, remedy=remedy, notes=(*behind.notes, note))


def _not_given(path: Path) -> tuple[str, ...]:
    """A note on a normaliser that lies beside the model and was not given."""
    beside = path.with_name("vecnormalize.pkl")
    if not beside.is_file():
        return ()
    return (f"{beside.name} lies beside it: if the policy was trained behind it, give --normalizer {beside}",)


def _behind(loaded: LoadedModel, path: Path, remark: str = "") -> LoadedModel:
    """The policy behind its normaliser. remark: of the file, for the note on it.  Raises ModelFileError, UsageError."""
    from dataclasses import replace

    from chiralize.storage.vec_normalize import read_statistics

    # Classes built by `sb3_policy` have the place for a normaliser; a user's own class does not.
    policy: Any = loaded.module
    if not hasattr(policy, "normaliser") or loaded.origin is None:
        facts = "a class of your own was named, which has its normaliser itself"
        raise UsageError("--normalizer", facts, "give --model auto with it")
    statistics = read_statistics(path)
    observed = policy.observation_space.shape
    if statistics.mean.shape != observed:
        facts = f"{path.name} is of {statistics.mean.shape[0]} observations, the policy of {observed}"
        raise UsageError("--normalizer", facts, "give the one that was saved with this model")
    policy.normaliser = statistics.normaliser.eval()
    note = (
        f"put the normaliser of {path.name}{remark} before the policy, which takes observations as the environment "
        "gives them"
    )
    return replace(loaded, origin=replace(loaded.origin, normalizer=statistics), notes=(*loaded.notes, note))


def _write_back(origin: Origin, state: Mapping[str, torch.Tensor], target: Path, sidecar: str) -> tuple[str, ...]:
    """The `.zip` with other weights, and its normaliser beside it; notes.  Raises UsageError, OutputFileError."""
    from chiralize.storage.archive import open_archive
    from chiralize.storage.atomic import write_bytes
    from chiralize.storage.patching import torch_patched, unchanged_source, zip_patched
    from chiralize.storage.save import save_beside
    from chiralize.storage.torch_weights import OF_OLD_WEIGHTS
    from chiralize.storage.vec_normalize import MEAN, VARIANCE, normaliser_beside

    data, where = unchanged_source(origin), str(origin.path)
    members = Members(open_archive(data, where), where)
    # Statistics are weights of the network with names of their own; they go back into the second file.
    statistics, weights = origin.normalizer, dict(state)
    if statistics:
        second = statistics.replaced(weights.pop(MEAN), weights.pop(VARIANCE))
    else:
        second = b""
    policy = torch_patched(members[_POLICY], origin, weights, f"{where}: {_POLICY}")
    whole = zip_patched(data, {_POLICY: policy}, where)
    notes: tuple[str, ...] = (OF_OLD_WEIGHTS,)
    if statistics:
        beside = normaliser_beside(target, statistics.path)
        write_bytes(beside, second)
        notes += (
            f"its normaliser is another one now, and goes with it: {beside.name}; the critic is made for the old",
        )
    save_beside(target, whole, sidecar)
    return notes


FORMAT = Format("sb3", "a model of Stable-Baselines3", _recognises, _load, None, _write_back, rank=50)
