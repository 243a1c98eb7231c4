"""How networks on pictures compute while they are distilled on a processor: in which precision, and order of memory.

Weights stay in single precision, and so do gradients, steps and projections: what is written is as exactly equivariant
whichever way is taken. Only the answers that are compared are rounded. bfloat16 is tried where the processor has
instructions for it; elsewhere it would be computed by single precision and be slower. What is tried is timed.

`refine` asks for the `quickest` way before pictures are distilled. Up to four are timed on a few inputs: as it is, with
channels next to each other in memory ("b h w c" there, "b c h w" to the network), in bfloat16, and both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from chiralize.graph.running import Arguments, Call

_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
"""What a processor says of itself that has bfloat16, of several makes."""
_PAYS = 0.9
"""Of the time of the plain way: what another may take at most to be worth its rounding."""
_NEAR = 0.05
"""Of the answers' root mean square: what rounding may change at most."""
_TRIES = 2
_CONVOLUTIONS = frozenset({torch.ops.aten.conv2d.default, torch.conv2d, torch.nn.functional.conv2d})


@dataclass(frozen=True)
class Arithmetic:
    """pictures: positions of inputs whose channels lie next to each other in memory.  is_half: products in bfloat16."""

    pictures: Collection[int] = ()
    is_half: bool = False

    @contextmanager
    def precision(self) -> Iterator[None]:
        """In which networks run."""
        if not self.is_half:
            yield
            return
        with torch.autocast("cpu", torch.bfloat16), _ChannelByChannel():
            yield

    def laid_out(self, call: Call) -> Call:
        """The call with its pictures as they should lie in memory."""
        arguments = Arguments.of(*call)
        tensors = list(arguments.tensors)
        for position in self.pictures:
            tensors[position] = tensors[position].contiguous(memory_format=torch.channels_last)
        return arguments.filled(tensors)

    def whole(self, answer: Tensor) -> Tensor:
        """An answer in single precision, where this computed it in less."""
        return answer.float() if self.is_half and answer.dtype == torch.bfloat16 else answer


class _ChannelByChannel(TorchFunctionMode):
    """Within, convolutions of one channel each are computed in single precision: their gradients take ten times as
    long in bfloat16.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _CONVOLUTIONS or len(args) < 2 or _channels_read(args[1]) > 1:
            return func(*args, **kwargs)
        whole = list(args)
        for position, value in enumerate(args):
            if isinstance(value, Tensor):
                whole[position] = value.float()
        with torch.autocast("cpu", enabled=False):
            return func(*whole, **kwargs).to(torch.bfloat16)


def _channels_read(weight: object) -> int:
    """By one channel of the answer, in a convolution with this weight "out in h w"."""
    return weight.shape[1] if isinstance(weight, Tensor) and weight.ndim > 1 else 0


def has_bfloat16(capabilities: Mapping[str, Any] | None = None) -> bool:
    """Whether the processor multiplies in bfloat16.  capabilities: as torch reports them, by default of this one."""
    known = torch.cpu.get_capabilities() if capabilities is None else capabilities
    return any(known.get(name) for name in _INSTRUCTIONS)


def quickest(
    answer: Callable[[Arithmetic], Tensor], pictures: Collection[int], clock: Callable[[], float]
) -> Arithmetic:
    """The way that takes least time for answers and their gradients, among those whose answers are near the plain ones.

    answer: of a few inputs, in one way; may raise RuntimeError, as reshapes do that need another order of memory.
    """
    # Each of the others has to beat the best so far, the plain way by a tenth.
    plain = Arithmetic()
    wanted, longest = _timed(answer, plain, clock)
    chosen, shortest = plain, _PAYS * longest
    others = [Arithmetic(pictures)]
    if has_bfloat16():
        others += [Arithmetic((), is_half=True), Arithmetic(pictures, is_half=True)]
    for way in others:
        try:
            given, seconds = _timed(answer, way, clock)
        except RuntimeError:
            continue
        if seconds < shortest and (given - wanted).norm() <= _NEAR * wanted.norm():
            chosen, shortest = way, seconds
    return chosen


def _timed(answer: Callable[[Arithmetic], Tensor], way: Arithmetic, clock: Callable[[], float]) -> tuple[Tensor, float]:
    """What comes out, and the least seconds of a few tries."""
    given, seconds = answer(way), list[float]()  # the first is not timed: it sets kernels up
    for _ in range(_TRIES):
        start = clock()
        answer(way)
        seconds.append(clock() - start)
    return given, min(seconds)
