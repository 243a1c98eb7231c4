"""Networks one of whose inputs takes whole numbers (time steps, classes, actions), and arrays of another kind.

A detector saves pixels as integers, a table has its time steps as 3.0: the network tells what they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.errors import DataFileError, ModelRunError, UsageError
from chiralize.graph.running import Arguments
from chiralize.problem.data.examples import examples_for, some_samples
from chiralize.problem.data.from_python import calls_of
from chiralize.problem.data.inputs import calls_from
from chiralize.problem.data.kinds import as_tensor
from chiralize.problem.preparation import WHOLE_NUMBERS, prepare

SPEC = parse_spec("{skeleton: h36m, inputs: [{layout: 'b j d'}, {free: true}], outputs: [{layout: 'b j d'}]}")


class Denoiser(nn.Module):
    """Noisy poses and how noisy they are."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.read, self.write = nn.Embedding(50, 8), nn.Linear(51, 8), nn.Linear(8, 51)

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Poses with less noise."""
        return self.write(torch.relu(self.read(x.flatten(1)) + self.steps(timesteps))).view(-1, 17, 3)


def test_the_users_samples_are_the_example(tmp_path: Path) -> None:
    steps = np.arange(40, 46)
    np.savez(tmp_path / "cal.npz", timesteps=steps, x=np.ones((6, 17, 3)))
    found = examples_for(Denoiser(), SPEC, "net", samples=some_samples(tmp_path / "cal.npz"))
    (x, first), named = found.call
    assert first.tolist() == [40] and x.shape == (1, 17, 3) and x.dtype == torch.float32
    assert not named and found.is_open and not found.remark


def test_without_them_the_message_says_which_option_brings_them() -> None:
    with pytest.raises(UsageError, match="Long, Int") as caught:
        examples_for(Denoiser(), SPEC, "net")
    assert caught.value.remedy == WHOLE_NUMBERS
    with pytest.raises(ModelRunError, match="Long, Int") as failed:
        prepare(Denoiser(), SPEC, (torch.ones(2, 17, 3), torch.ones(2)))
    assert failed.value.remedy == WHOLE_NUMBERS


class Occluded(nn.Module):
    """Poses, and joints that are not seen."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.write = nn.Linear(51, 8), nn.Linear(8, 51)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Whole poses."""
        return self.write(self.read(x.masked_fill(hidden[..., None], 0.0).flatten(1))).view(-1, 17, 3)


class Weighted(nn.Module):
    """Poses, and a score for every joint."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.write = nn.Linear(51, 8), nn.Linear(8, 51)

    def forward(self, x: Tensor, score: Tensor) -> Tensor:
        """Poses again."""
        return self.write(self.read((x / 100 * score[..., None]).flatten(1))).view(-1, 17, 3)


PIXELS = np.arange(6 * 51).reshape(6, 17, 3) % 97 - 48
STEPS, SEEN = np.arange(40, 46), np.arange(6 * 17).reshape(6, 17) % 5 == 0
REAL, WHOLE, MASK = torch.float32, torch.int64, torch.bool


@pytest.mark.parametrize(
    ("model", "arrays", "kinds"),
    [
        (Denoiser, {"x": PIXELS, "timesteps": STEPS}, (REAL, WHOLE)),
        (Denoiser, {"x": PIXELS / 7.0, "timesteps": STEPS.astype(np.float32)}, (REAL, WHOLE)),
        (Denoiser, {"x": PIXELS, "timesteps": STEPS.astype(np.uint8)}, (REAL, WHOLE)),
        (Occluded, {"x": PIXELS, "hidden": SEEN}, (REAL, MASK)),
        (Occluded, {"x": PIXELS / 7.0, "hidden": SEEN.astype(np.int64)}, (REAL, MASK)),
        (Occluded, {"x": PIXELS / 7.0, "hidden": SEEN.astype(np.float64)}, (REAL, MASK)),
        (Weighted, {"x": PIXELS, "score": SEEN / 2.0}, (REAL, REAL)),
    ],
    ids=["pixels", "steps as 40.0", "bytes", "pixels and a mask", "mask as 1", "mask as 1.0", "runs on integers too"],
)
def test_arrays_come_in_the_kinds_that_the_network_takes(
    tmp_path: Path, model: type[nn.Module], arrays: dict[str, np.ndarray], kinds: tuple[torch.dtype, ...]
) -> None:
    """Calibration inputs, which are cut to the example's kinds, and examples of the user's."""
    path = tmp_path / "arrays.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    by_samples = examples_for(model(), SPEC, "net", samples=some_samples(path))
    by_example = examples_for(model(), SPEC, "net", example=path)
    for examples in (by_samples, by_example):
        tensors = Arguments.of(*examples.call).tensors
        assert tuple(tensor.dtype for tensor in tensors) == kinds
    calls = calls_from(path, by_samples.call, names=["x", *list(arrays)[1:]])
    for tensor, array in zip(Arguments.of(*calls[3]).tensors, arrays.values(), strict=True):
        assert np.allclose(tensor.numpy(), array[3:4])
    changed = [name for name, kind in zip(arrays, kinds, strict=True) if _kind_of(arrays[name]) != kind]
    assert [text.split("'")[1] for text in calls.remarks] == changed
    assert bool(by_example.remark) == bool(changed)


def _kind_of(array: np.ndarray) -> torch.dtype:
    return {"f": REAL, "b": MASK}.get(array.dtype.kind, WHOLE)


def test_what_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "cal.npz", x=PIXELS, timesteps=STEPS)
    np.savez(tmp_path / "ex.npz", x=PIXELS, timesteps=STEPS * 1.0)
    examples = examples_for(Denoiser(), SPEC, "net", example=tmp_path / "ex.npz")
    assert examples.remark == (
        "ex.npz: input 0 holds int64, and is taken as float32; input 1 holds float32, and is taken as int64, as the "
        "network is"
    )
    taken = "holds int64: taken as float32, as the network is"
    assert calls_from(tmp_path / "cal.npz", examples.call).remarks == (f"array 'x' of cal.npz {taken}",)
    example = ((torch.zeros(1, 17, 3),), {})
    assert calls_of(PIXELS, example)[1] == (f"the array of calibration {taken}",)
    assert calls_of(PIXELS / 7.0, example)[1] == ()


def test_fractions_are_refused_where_whole_numbers_are_wanted(tmp_path: Path) -> None:
    """As the first sample, and as a later one."""
    np.savez(tmp_path / "cal.npz", x=PIXELS / 7.0, timesteps=STEPS + 0.5)
    with pytest.raises(DataFileError) as caught:
        examples_for(Denoiser(), SPEC, "net", samples=some_samples(tmp_path / "cal.npz"))
    assert caught.value.facts == "array 'timesteps' holds 40.5, and the network takes whole numbers there"
    for values, dtype, facts in (
        (np.array([3.0, 2.5]), WHOLE, "array 't' holds float64, the model's input is int64, and 2.5 is none"),
        (np.array([0, 2]), MASK, "array 't' holds int64, the model's input is bool, and 2 is none"),
        (np.array([0, 300]), torch.uint8, "array 't' holds int64, the model's input is uint8, and 300 is none"),
    ):
        with pytest.raises(DataFileError) as caught:
            as_tensor(values, dtype, "t", "cal.npz")
        assert caught.value.facts == facts
    assert as_tensor(np.array([3.0, 2.0]), WHOLE, "t", "cal.npz").tolist() == [3, 2]
    assert as_tensor(np.array([0.0, 1.0]), MASK, "t", "cal.npz").tolist() == [False, True]
