"""Mirroring at random, of inputs and their targets together.

For a batch x "sample ..." and targets y a coin is thrown for every sample: (x, y) or (T x, T y). Where the targets are
numbers of classes, those of a pair ("left hand", "right hand") are exchanged; scores are mirrored as any output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import default_collate

from chiralize.body.resolve import OnTensor
from chiralize.errors import UsageError
from chiralize.symmetry.action import act
from chiralize.symmetry.representation import TensorRepresentation

Describe = Callable[[Sequence[Sequence[int]]], tuple[OnTensor, ...]]
Turned = Callable[[Any, OnTensor], Any]
_TARGETS = (Tensor, np.ndarray, int, np.integer)
_REMEDY = "give augmentation(input, target), or the pair of them"


class Augmentation:
    """(x, y) to (T x, T y) with probability p, and to itself else. Made by `Mirror.augment`.

    inputs, outputs: say how tensors of these shapes transform.  turned: T of one of them.  per_sample: each sample of
    a batch by itself.
    Where outputs are scores of classes, targets may be the numbers of classes: those of a pair are exchanged.
    """

    def __init__(
        self,
        inputs: Describe,
        outputs: Describe,
        turned: Turned,
        p: float,
        per_sample: bool,
        generator: torch.Generator | None,
    ) -> None:
        if not 0 <= p <= 1:
            raise UsageError("p", f"{p} is no probability", "give a number from 0 to 1")
        self.inputs, self.outputs, self.turned = inputs, outputs, turned
        self.p, self.per_sample, self.generator = p, per_sample, generator

    def __call__(self, *pair: Any) -> Any:
        """The pair (input, target), or the input by itself, mirrored or not. A batch, or one sample of a Dataset.

        Raises UsageError for more than two, and for what the mirror does not describe.
        """
        # A DataLoader hands a pair on as one argument.
        if len(pair) == 1 and isinstance(pair[0], (tuple, list)):
            (pair,) = pair
        if len(pair) not in (1, 2):
            raise UsageError("augment", f"{len(pair)} parts in a batch", _REMEDY)
        values, structure = pytree.tree_flatten(pair[0])
        positions = [index for index, value in enumerate(values) if isinstance(value, (Tensor, np.ndarray))]
        if not positions:
            raise UsageError("augment", f"no tensor in the input ({type(pair[0]).__name__})", _REMEDY)
        tensors = self.inputs([values[position].shape for position in positions])
        rows = _rows([values[position] for position in positions], tensors)
        # "sample", or a single truth for all; inputs and targets get the same.
        flips = self._drawn(rows)
        for position, tensor in zip(positions, tensors, strict=True):
            values[position] = _mixed(values[position], self.turned(values[position], tensor), flips, tensor)
        inputs = pytree.tree_unflatten(values, structure)
        return inputs if len(pair) == 1 else (inputs, self._targets(pair[1], flips, rows is None))

    def collate(self, samples: Sequence[Any]) -> Any:
        """A batch of samples, put together as a DataLoader does by default, then mirrored: `collate_fn=`."""
        batch = default_collate(list(samples))
        return self(*batch) if isinstance(batch, (tuple, list)) else self(batch)

    def _drawn(self, rows: int | None) -> Tensor:
        """Which samples are mirrored, "row". One truth for all where there are no rows, or the batch is mirrored as a
        whole.
        """
        shape = (rows,) if rows is not None and self.per_sample else ()
        device = None if self.generator is None else self.generator.device
        return torch.rand(shape, generator=self.generator, device=device).cpu() < self.p

    def _targets(self, target: Any, flips: Tensor, is_one: bool) -> Any:
        """The target, mirrored where the input is. is_one: of one sample, without the batch."""
        values, structure = pytree.tree_flatten(target)
        known = [index for index, value in enumerate(values) if isinstance(value, _TARGETS)]
        # Shapes are described with the batch, also those of one sample.
        batch = (1,) if is_one else ()
        shapes = [(*batch, *np.shape(values[index])) for index in known]
        for index, tensor in zip(known, self.outputs(shapes), strict=True):
            values[index] = self._target(values[index], tensor, flips, is_one)
        return pytree.tree_unflatten(values, structure)

    def _target(self, value: Any, tensor: OnTensor, flips: Tensor, is_one: bool) -> Any:
        """One target: a tensor as the network answers, or class indices."""
        if tensor.is_free:
            return value
        # Axes of the target if it is as the network answers; class numbers have one less, that of the classes.
        rank = len(tensor.shape) - is_one
        if tensor.kind == "classes" and np.ndim(value) == rank - 1 and _is_whole(value):
            return _mixed_classes(value, tensor, flips, is_one)
        if np.ndim(value) != rank and tensor.has_rows:
            what = f"shape {tuple(np.shape(value))}" if np.ndim(value) else repr(value)
            facts = f"the target is {what}, the input {'one sample' if is_one else 'a batch'}"
            raise UsageError(tensor.where, facts, f"give it as '{tensor.layout}'")
        return _mixed(value, self.turned(value, tensor), flips, tensor)


def _rows(values: Sequence[Any], tensors: Sequence[OnTensor]) -> int | None:
    """How many samples a batch has; None of one sample, and where no tensor has a batch. Raises UsageError."""
    counts: set[int | None] = set()
    for value, tensor in zip(values, tensors, strict=True):
        if tensor.has_rows and not tensor.is_free:
            counts.add(None if value.ndim == len(tensor.shape) - 1 else len(value))
    if len(counts) > 1:
        shapes = ", ".join(str(tuple(value.shape)) for value in values)
        raise UsageError("augment", f"inputs of shapes {shapes} are no one batch", "give as many samples of each")
    return counts.pop() if counts else None


def _mixed(value: Any, image: Any, flips: Tensor, tensor: OnTensor) -> Any:
    """T of the rows that are to be mirrored, the others as they are. value, image: x and T x."""
    if tensor.is_free or not bool(flips.any()):
        return value
    if bool(flips.all()):
        return image
    if not tensor.has_rows:
        facts = f"layout '{tensor.layout}' has no batch, and samples are mirrored one by one"
        raise UsageError(tensor.where, facts, "use augment(per_sample=False)")
    chosen = flips.reshape([-1] + [1] * (value.ndim - 1))
    if isinstance(value, Tensor):
        return torch.where(chosen.to(value.device), image, value)
    return np.where(chosen.numpy(), image, value)


def _is_whole(value: Any) -> bool:
    """Whether these are whole numbers, as class indices are."""
    if isinstance(value, Tensor):
        return not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    return isinstance(value, (int, np.integer)) or np.asarray(value).dtype.kind in "iu"


def _mixed_classes(value: Any, tensor: OnTensor, flips: Tensor, is_one: bool) -> Any:
    """Class indices with those of a pair exchanged; negative ones, which mean no class, stay.

    For a picture they are a map, whose columns are reversed as those of the scores are.
    """
    assert tensor.representation is not None and tensor.class_axis is not None
    axes = list(tensor.representation.axes)
    # Scores are "sample class ..." with T on the classes and, of a map, on its columns. Class numbers have no axis of
    # classes: the numbers themselves change, and columns as before.
    partner = axes.pop(tensor.class_axis).action.partner
    along = TensorRepresentation(tuple(axes[is_one:]))
    if isinstance(value, Tensor):
        # table[k] is the class that T takes class k to.
        table = torch.tensor(partner.tolist(), device=value.device, dtype=value.dtype)
        image = torch.where(value < 0, value, table[value.clamp(min=0).long()])
        return _mixed(value, act(image, along), flips, tensor)
    image = np.where(value < 0, value, partner[np.maximum(value, 0)])
    if not isinstance(value, np.ndarray):
        return int(image) if bool(flips) else value
    return _mixed(value, along.act(image).astype(value.dtype), flips, tensor)
