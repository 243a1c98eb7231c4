"""`vecnormalize.pkl` of Stable-Baselines3: the statistics that a policy was trained behind, read and put back.

The file is a pickle.  It is read with stand-ins for all that it names, so that none of its code runs; a new one is the
old one, byte by byte, with other numbers in the place of the mean and the variance.

`formats/sb3.py` puts the `Normaliser` before a policy: what the mirror does to an observation is said of the one that
the environment gives.  Of a VecNormalize the entries obs_rms (mean and var), epsilon and clip_obs are read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from chiralize.errors import ModelFileError, UsageError
from chiralize.storage.files import read_file
from chiralize.storage.inert import Foreign, inert_tree
from chiralize.storage.recipes import NUMPY_RECIPES, built

Array = npt.NDArray[np.floating[Any]]
MEAN, VARIANCE = "normaliser.mean", "normaliser.var"
"""Of a network behind its normaliser, the names of the statistics."""
_PYTHON = "use chiralize.clients.stable_baselines3.convert(model, spec) in Python"


class Normaliser(nn.Module):
    """clip((x - mean) / sqrt(var + epsilon)), as VecNormalize does it."""

    mean: Tensor
    var: Tensor

    def __init__(self, mean: Any, var: Any, epsilon: float, clip: float) -> None:
        super().__init__()
        self.epsilon, self.clip = epsilon, clip
        for name, value in (("mean", mean), ("var", var)):
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32).clone())

    def forward(self, obs: Tensor) -> Tensor:
        """Observations "batch observation"."""
        return ((obs - self.mean) / torch.sqrt(self.var + self.epsilon)).clamp(-self.clip, self.clip)


def normaliser_beside(model: Path, original: Path) -> Path:
    """Where the normaliser of a converted model is written, by the name of the original's: out-vecnormalize.pkl."""
    return model.with_name(f"{model.stem}-{original.name}")


@dataclass(frozen=True)
class Statistics:
    """What a file says of observations. data: the whole file.  mean, var: "observation".  clip: where they are cut."""

    path: Path
    data: bytes
    mean: Array
    var: Array
    epsilon: float
    clip: float

    @property
    def normaliser(self) -> Normaliser:
        """As a layer."""
        return Normaliser(self.mean, self.var, self.epsilon, self.clip)

    def replaced(self, mean: Tensor, var: Tensor) -> bytes:
        """The file with other statistics.  Raises UsageError where the places of the old ones are not certain."""
        data = self.data
        for name, old, new in (("mean", self.mean, mean), ("var", self.var, var)):
            # Bytes that are there twice (mean and variance alike) do not say which are meant; those that are not there
            # stand in another form, as in old protocols.
            before = old.tobytes()
            if data.count(before) != 1:
                facts = f"the numbers of obs_rms.{name} are in {self.path.name} {data.count(before)} times"
                raise UsageError(str(self.path), facts, _PYTHON)
            data = data.replace(before, new.detach().cpu().numpy().astype(old.dtype).reshape(old.shape).tobytes())
        return data


def read_statistics(path: Path) -> Statistics:
    """The statistics in a VecNormalize file; nothing in it is run.

    Raises ModelFileError for a file that is none, UsageError for observations that are no row of numbers.
    """
    data, where = read_file(path), str(path)
    try:
        tree = inert_tree(data, where, NUMPY_RECIPES)
    except ValueError as error:
        raise ModelFileError(where, f"is no readable pickle ({error})", "save the VecNormalize again.") from error
    # A VecNormalize is an object of a class that is not imported: a stand-in, with its attributes in `state`.
    is_one = isinstance(tree, Foreign) and tree.origin.endswith(".VecNormalize")
    if not is_one or not isinstance(state := tree.state, dict):
        remedy = "give what VecNormalize.save wrote (vecnormalize.pkl)."
        raise ModelFileError(where, "is a pickle of something else than a VecNormalize", remedy)
    if state.get("norm_obs") is False:
        raise UsageError("--normalizer", f"{path.name} leaves observations alone (norm_obs=False)", "leave it out")
    # Of observations that are a dictionary there is a dict of statistics, which is no stand-in.
    moments = state.get("obs_rms")
    inner = moments.state if isinstance(moments, Foreign) else None
    if not isinstance(inner, dict):
        facts = f"{path.name} has no statistics of one row of numbers: its observations are a dictionary"
        raise UsageError("--normalizer", facts, _PYTHON)
    mean, var = (_row(inner, name, where) for name in ("mean", "var"))
    epsilon, clip = (_number(state, name, where) for name in ("epsilon", "clip_obs"))
    if mean.shape != var.shape or bool((var < 0).any()):
        raise ModelFileError(where, "its mean and its variance do not belong together", "save it again.")
    return Statistics(path, data, mean, var, epsilon, clip)


def _row(table: dict[str, Any], name: str, where: str) -> Array:
    """An entry that has to be a row of finite floats.  Raises ModelFileError."""
    value = built(table.get(name))
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind != "f":
        raise ModelFileError(where, f"its obs_rms.{name} is no row of numbers", "save the VecNormalize again.")
    if not np.isfinite(value).all():
        raise ModelFileError(where, f"NaN or infinity in its obs_rms.{name}", "take one from before training diverged.")
    return value


def _number(table: dict[str, Any], name: str, where: str) -> float:
    """An entry that has to be a positive, finite number.  Raises ModelFileError."""
    value = built(table.get(name))
    number = float(value) if isinstance(value, (int, float, np.number)) else math.nan
    if not (math.isfinite(number) and number > 0):
        raise ModelFileError(where, f"its {name} is no positive number", "save the VecNormalize again.")
    return number
