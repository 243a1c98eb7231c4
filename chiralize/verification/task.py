"""What the numeric verdict tries: a network's mirror, its examples, and random calls in their sizes and in others.

`numeric` makes a `Task` of the arguments of `judge`, and runs the calls that it draws and their mirror images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch

from chiralize.errors import ModelRunError
from chiralize.graph.copies import replaced
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.other_sizes import Resized
from chiralize.graph.running import Arguments, Call, Runner, random_tensor
from chiralize.graph.silence import quiet
from chiralize.verification.residuals import Allowance


@dataclass(frozen=True)
class Task:
    """The arguments of `numeric.judge`, and the calls that they ask for.

    mirror: T.  example: whose tensors, flattened, T describes.  real: inputs of the user.  samples: random ones.
    allowance: what bounds are made of.  batches: sizes of axis 0 to try as well.  sizes: of other axes.
    strides: compare with other layouts in memory.  takes: which calls of other sizes are to be tried.
    rows: of all random inputs but the first.  tell: called with the share of the inputs that are done.
    """

    mirror: NetworkMirror
    example: Arguments
    real: tuple[Call, ...] = ()
    samples: int = 8
    allowance: Allowance = Allowance()
    seed: int = 0
    batches: tuple[int, ...] = ()
    sizes: Sequence[Resized] = ()
    strides: bool = False
    takes: Callable[[Call], bool] | None = None
    rows: int | None = None
    tell: Callable[[float], None] = lambda done: None

    def sequences(self, steps: int, are_few: bool = False) -> list[list[Call]]:
        """Consecutive calls for every sample; `steps` is 1 for a network without state.

        are_few: whether all random calls but the first have fewer rows than the examples. The first has their sizes.
        """
        generator = torch.Generator().manual_seed(self.seed)
        sequences = list[list[Call]]()
        for number in range(self.samples):
            shapes = self._shapes(self.rows) if are_few and number else None
            sequences.append([self._drawn(generator, shapes) for _ in range(steps)])
        return sequences + [[call] * steps for call in self.real]

    def _drawn(self, generator: torch.Generator, shapes: Sequence[Sequence[int]] | None) -> Call:
        """One random call, moved to where inputs of the network lie. shapes: of its tensors, None for the examples'."""
        tensors = self.example.tensors
        drawn = [
            random_tensor(tensor, generator, shape)
            for tensor, shape in zip(tensors, shapes or self._shapes(None), strict=True)
        ]
        return self.mirror.placed(self.example.filled(drawn))

    def _shapes(self, rows: int | None) -> list[Sequence[int]]:
        """Sizes of the inputs, with `rows` entries along axis 0 of those that share it."""
        shapes = list[Sequence[int]]()
        for tensor in self.example.tensors:
            has_rows = rows is not None and tensor.ndim > 0 and tensor.shape[0] == self.batch_size
            shapes.append((rows, *tensor.shape[1:]) if has_rows else tuple(tensor.shape))  # type: ignore[arg-type]
        return shapes

    def of_rows(self, rows: int) -> list[Call]:
        """One random call with `rows` entries along axis 0 of the inputs that share it."""
        return self.of_sizes(rows, self._shapes(rows))

    def light(self, runner: Runner) -> Call | None:
        """One call of few rows, which shows whether there are states and what is cast; None where it is refused.

        None as well where nothing is saved (the examples have no more rows, or no first axis counts samples), and where
        the mirror describes states.
        """
        size = self.batch_size
        if self.rows is None or size is None or size <= self.rows or self.mirror.states:
            return None
        (call,) = self.of_rows(self.rows)
        with suppress(ModelRunError), quiet():
            runner.run([call])
            return call
        return None

    def of_sizes(self, size: int, shapes: Sequence[Sequence[int]]) -> list[Call]:
        """One random call in other shapes."""
        generator = torch.Generator().manual_seed(self.seed + size)
        tensors = [
            random_tensor(tensor, generator, shape) for tensor, shape in zip(self.example.tensors, shapes, strict=True)
        ]
        return [self.mirror.placed(self.example.filled(tensors))]

    def measures_rounding(self, double: bool) -> bool:
        """Whether a residual near its bound is compared with what the network rounds away in this precision.

        In the one of its weights a small fault is no other than rounding: only what has no finer one is excused there.
        """
        return double or self.allowance.written is not None

    def moved(self, module: torch.nn.Module, dtype: torch.dtype, double: bool) -> torch.nn.Module | None:
        """The network with every stored number moved by half its last digit in `dtype`, None where that fails."""
        if self.allowance.written is not None:
            return self.allowance.written.moved()
        return _moved_by_rounding(module, dtype, double)

    @property
    def batch_size(self) -> int | None:
        """Size of axis 0 of the first input, or None where axis 0 of some input belongs to the body."""
        axes = [rep.axes[0] for rep in self.mirror.inputs if rep.axes]
        if axes and all(axis.is_trivial for axis in axes):
            return axes[0].size
        return None


def _moved_by_rounding(module: torch.nn.Module, dtype: torch.dtype, double: bool) -> torch.nn.Module | None:
    """A copy with every parameter and buffer moved by half a unit in its last place, up or down at random.

    dtype: whose last place is meant.  double: the copy computes in float64.  None where it cannot be copied.
    """
    try:
        copied = replaced(module, {})
    except Exception:  # noqa: BLE001 - a network that cannot be copied is judged without this
        return None
    if double:
        copied.double()
    generator = torch.Generator().manual_seed(0)
    # eps is one unit in the last place of 1. In the network's own dtype 1 + eps / 2 would be rounded to 1.
    step = torch.finfo(dtype).eps * (0.5 if double else 1.0)
    with torch.no_grad():
        # By identity: two names of one tensor (tied weights) move it once.
        for tensor in {id(tensor): tensor for tensor in (*copied.parameters(), *copied.buffers())}.values():
            if tensor.is_floating_point():
                sign = torch.randint(0, 2, tensor.shape, generator=generator).to(tensor.device, tensor.dtype) * 2 - 1
                tensor.mul_(1 + step * sign)
    return copied
