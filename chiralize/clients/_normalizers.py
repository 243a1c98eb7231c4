"""Whether a VecNormalize fits a model: what can be known is said before anything is converted.

A VecNormalize wraps an environment and holds the statistics that a policy was trained behind. The converted model gets
a copy with other statistics around the same environment, so that a file or one without an environment will not do.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from chiralize.errors import UsageError

_WHERE = "normalizer"


def check_normalizer(model: Any, normalizer: Any) -> None:
    """Raise UsageError for what is no VecNormalize, has no environment, or is of other observations than the model's.

    A path is refused, too: loading it runs what the pickle holds, and takes an environment.
    """
    wrappers: Any = import_module("stable_baselines3.common.vec_env")
    if isinstance(normalizer, (str, Path)):
        facts = f"{str(normalizer)!r} is a file, and the new model needs a VecNormalize around an environment"
        remedy = (
            f"normalizer=VecNormalize.load({str(normalizer)!r}, env); `chiralize convert` takes files: --normalizer"
        )
        raise UsageError(_WHERE, facts, remedy)
    if not isinstance(normalizer, wrappers.VecNormalize):
        facts = f"{type(normalizer).__name__} is no VecNormalize of Stable-Baselines3"
        raise UsageError(_WHERE, facts, "give VecNormalize.load(path, env), or model.get_vec_normalize_env()")
    if normalizer.venv is None:
        facts = "it has no environment, as happens where its file was unpickled by hand"
        raise UsageError(_WHERE, facts, "give VecNormalize.load(path, env): the new model gets one around that env")
    for name in ("observation_space", "action_space"):
        given, wanted = getattr(normalizer, name), getattr(model, name)
        if given != wanted:  # what Stable-Baselines3 would say in the end
            facts = f"its {name} is {given}, the model's {wanted}"
            raise UsageError(
                _WHERE, facts, "give the one that the model was trained under, around the same environment"
            )
