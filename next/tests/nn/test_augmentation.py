"""Mirroring at random: inputs and targets together, batches and samples, the same again from a generator."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from chiralize import Mirror
from chiralize.body.spec import parse_spec
from chiralize.errors import UsageError

LIFT = Mirror.of("h36m", input_shapes=[(1, 17, 2)], output_shapes=[(1, 17, 3)])
CLASSES = Mirror.of(
    parse_spec("skeleton: h36m\noutputs: [{classes: {swap: [[0, 1], [3, 2]]}}]"),
    input_shapes=[(1, 9, 17, 2)],
    output_shapes=[(1, 6)],
)
X, Y = torch.randn(64, 17, 2), torch.randn(64, 17, 3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flipped(image: Tensor, x: Tensor, mirrored: Tensor) -> list[bool]:
    """Which rows are T's, every other one untouched."""
    rows = [torch.equal(image[row], mirrored[row]) for row in range(len(x))]
    assert all(rows[row] or torch.equal(image[row], x[row]) for row in range(len(x)))
    return rows


def test_inputs_and_targets_go_together_sample_by_sample() -> None:
    x, y = LIFT.augment(0.3, generator=seeded())(X, Y)
    rows = flipped(x, X, LIFT(X))
    assert rows == flipped(y, Y, LIFT.outputs(Y)) and 8 <= sum(rows) <= 32
    again = LIFT.augment(0.3, generator=seeded())((X, Y))
    assert torch.equal(again[0], x) and torch.equal(again[1], y)
    other = LIFT.augment(0.3, generator=seeded(1))(X.numpy(), Y.numpy())
    assert isinstance(other[0], np.ndarray) and not np.array_equal(other[0], x.numpy())
    assert flipped(torch.from_numpy(other[0]), X, LIFT(X)) == flipped(torch.from_numpy(other[1]), Y, LIFT.outputs(Y))


def test_always_never_and_whole_batches() -> None:
    assert torch.equal(LIFT.augment(1.0)(X, Y)[1], LIFT.outputs(Y)) and LIFT.augment(0.0)(X, Y)[0] is X
    whole = LIFT.augment(0.5, per_sample=False, generator=seeded())
    seen = {tuple(flipped(whole(X, Y)[0], X, LIFT(X))) for _ in range(20)}
    assert seen == {(True,) * 64, (False,) * 64}
    assert torch.equal(LIFT.augment(1.0)(X), LIFT(X))  # without a target


def test_torch_s_own_numbers_without_a_generator() -> None:
    torch.manual_seed(3)
    first = LIFT.augment()(X, Y)[0]
    torch.manual_seed(3)
    assert torch.equal(LIFT.augment()(X, Y)[0], first)


class Mirrored(Dataset[Any]):
    """A Dataset that mirrors its samples, one by one."""

    def __init__(self) -> None:
        self.augment = LIFT.augment(0.5)

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        return self.augment(X[index], Y[index])


def test_a_dataset_and_a_collate_function() -> None:
    for loader in (
        DataLoader(Mirrored(), batch_size=64),
        DataLoader(TensorDataset(X, Y), batch_size=64, collate_fn=LIFT.augment(0.5).collate),
        DataLoader(Mirrored(), batch_size=64, num_workers=1),
    ):
        ((x, y),) = list(loader)
        rows = flipped(x, X, LIFT(X))
        assert rows == flipped(y, Y, LIFT.outputs(Y)) and 16 <= sum(rows) <= 48
    single = LIFT.augment(1.0).collate(list(X))
    assert torch.equal(single, LIFT(X))
    assert torch.equal(pickle.loads(pickle.dumps(LIFT.augment(1.0)))(X), LIFT(X))


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_numbers_of_classes_change_places(kind: str) -> None:
    """0 with 1, 2 with 3, 4 and 5 stay, -100 stands for none; scores as such."""
    clips, labels = torch.randn(7, 9, 17, 2), torch.tensor([0, 1, 2, 3, 4, 5, -100])
    always = CLASSES.augment(1.0)
    given: Any = labels if kind == "tensor" else labels.numpy()
    x, y = always(clips, given)
    assert type(y) is type(given) and y.tolist() == [1, 0, 3, 2, 4, 5, -100] and torch.equal(x, CLASSES(clips))
    scores = torch.randn(7, 6)
    assert torch.equal(always(clips, scores)[1], scores[:, [1, 0, 3, 2, 4, 5]])
    assert always(clips[0], 3)[1] == 2 and always(clips[0], np.int64(0))[1] == 1
    assert int(always(clips[0], torch.tensor(2))[1]) == 3
    assert torch.equal(always(clips[0], scores[0])[1], scores[0][[1, 0, 3, 2, 4, 5]])
    one_hot = torch.nn.functional.one_hot(labels[:6], 6)
    assert torch.equal(always(clips[:6], one_hot)[1], one_hot[:, [1, 0, 3, 2, 4, 5]])
    some = CLASSES.augment(0.5, generator=seeded())
    x, y = some(clips, labels)
    assert [a == b for a, b in zip(y.tolist(), labels.tolist(), strict=True)][:4] == [
        torch.equal(a, b) for a, b in zip(x, clips, strict=True)
    ][:4]


def test_scores_that_the_mirror_leaves_alone_take_any_target() -> None:
    given = parse_spec("skeleton: h36m\noutputs: [{invariant: true}]")
    mirror = Mirror.of(given, input_shapes=[(1, 17, 3)], output_shapes=[(1, 10)])
    labels = torch.arange(4)
    assert mirror.augment(1.0)(torch.randn(4, 17, 3), labels)[1] is labels


REFUSED: dict[str, Callable[[], Any]] = {
    "probability": lambda: LIFT.augment(1.5),
    "no sizes": lambda: Mirror.of("h36m").augment(),
    "three parts": lambda: LIFT.augment(1.0)(X, Y, X),
    "a sample's target": lambda: LIFT.augment(1.0)(X, Y[0]),
    "a batch's target": lambda: LIFT.augment(1.0)(X[0], Y),
    "a number": lambda: LIFT.augment(1.0)(X, 3),
    "no tensor": lambda: LIFT.augment(1.0)("x", Y),
    "fractions": lambda: CLASSES.augment(1.0)(torch.randn(2, 9, 17, 2), torch.zeros(2)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    with pytest.raises(UsageError):
        REFUSED[name]()


def test_inputs_of_several_batches_are_no_batch() -> None:
    two = Mirror.of("h36m", input_shapes=[(1, 17, 2), (1, 17, 3)], output_shapes=[(1, 17, 3)])
    assert two.augment(1.0)((X, Y), Y)[0][1].shape == Y.shape
    for pair in ((X, Y[:3]), (X, Y[0])):
        with pytest.raises(UsageError):
            two.augment(1.0)(pair, Y)


def test_targets_without_a_batch_go_by_whole_batches() -> None:
    """An output `t j d` belongs to one call, not to its samples."""
    mirror = Mirror.of("h36m", input_shapes=[(4, 17, 2)], output_shapes=[(9, 17, 3)], output_layouts=["t j d"])
    with pytest.raises(UsageError):
        mirror.augment(0.5, generator=seeded())(X, torch.randn(9, 17, 3))
    assert mirror.augment(1.0, per_sample=False)(X, torch.randn(9, 17, 3))[0].shape == X.shape
