"""Windows along an axis that the mirror reverses, as channels: one for every tap of the kernel.

    y(n) = sum over taps j of  W_j x(s n + d j - p),      T_out W_j T_in = W_{k - 1 - j}

The taps of a convolution are k times as many channels, of which a kernel without that axis takes a linear map. T
exchanges tap j of a channel with tap k - 1 - j of its partner, and the blocks are those of any linear map: for a
pair (u, v) the even numbers u_j + v_{k-1-j} and the odd ones u_j - v_{k-1-j}. Half of the numbers, half of the
products. A row (a b c d) under a kernel of 3 with padding 1 is read as three channels:

    tap 0    0 a b c          of the reversed row (d c b a)    tap 2    c b a 0
    tap 1    a b c d                                           tap 1    d c b a
    tap 2    b c d 0                                           tap 0    0 d c b

A transposed convolution is the same the other way round: its map answers for every tap, and the taps are added up.
`reversed_conv` makes layers of this (docs/decisions/0062-halves-along-a-reversed-axis.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.errors import RepresentationSizeError
from chiralize.nn.butterfly import Butterfly
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation


def reversal(size: int) -> Representation:
    """The mirror that takes entry i of an axis to entry size - 1 - i."""
    pairs = [(entry, size - 1 - entry) for entry in range(size // 2)]
    return Representation.of(SignedPermutation.of(pairs, size=size))


@dataclass(frozen=True)
class Along:
    """Where windows lie along an axis that the mirror reverses. axis: its position from the end, 1 for columns."""

    axis: int
    taps: int
    stride: int
    dilation: int
    padding: int

    def of_taps(self, x: Tensor) -> list[Tensor]:
        """What every tap reads: as many tensors, whose axis has an entry for every window.

        x: any axes; the one of the windows lies at `axis` from the end. The tensors are views of x, or of x with its
        padding.
        """
        if self.padding:
            x = F.pad(x, [0, 0] * (self.axis - 1) + [self.padding, self.padding])
        views: list[Tensor] = []
        for tap in range(self.taps):
            # Every tap leaves out what the taps before and behind it read first and last.
            behind = self.dilation * (self.taps - 1 - tap)
            views.append(_sliced(x, self.axis, self.dilation * tap, behind, self.stride))
        return views

    def added(self, taps: Sequence[Tensor]) -> Tensor:
        """The adjoint: what windows write, added up where they overlap, without the padding.

        taps: for every tap what each window writes, an entry per window along the axis. Tap j of window n writes to
        entry s n + d j. So entries with one remainder of s (a phase) are written by the same taps, each shifted by
        whole windows. Of stride 2 and 4 taps t0 ... t3 over windows 0, 1, 2:

            phase 0    t0[0]   t0[1] + t2[0]   t0[2] + t2[1]   t2[2]
            phase 1    t1[0]   t1[1] + t3[0]   t1[2] + t3[1]   t3[2]

        and the phases are interleaved. Windows have to fill whole strides (`fills`): then the answer does, too, and the
        mirror exchanges its first phase with the last.
        """
        # How far behind its first entry a window writes, and by how many windows that is.
        reach = self.dilation * (self.taps - 1)
        room = reach // self.stride
        phases: dict[int, list[Tensor]] = {}
        for tap, value in enumerate(taps):
            shift, phase = divmod(self.dilation * tap, self.stride)
            if room:
                # Zeros where no window writes; all taps of a phase get one length, windows + room.
                value = F.pad(value, [0, 0] * (self.axis - 1) + [room, room])
                value = _sliced(value, self.axis, room - shift, shift)
            phases.setdefault(phase, []).append(value)
        sums = [_sum_from_both_ends(phases[phase]) for phase in range(self.stride)]
        if len(sums) > 1:
            whole = torch.stack(sums, -self.axis).flatten(-1 - self.axis, -self.axis)
        else:
            whole = sums[0]
        if self.padding:
            return _sliced(whole, self.axis, self.padding, self.padding)
        return whole

    @property
    def fills(self) -> bool:
        """Whether a window is as long as some whole strides, and some tap of it writes to every entry of a stride."""
        reached = {self.dilation * tap % self.stride for tap in range(self.taps)}
        return (self.dilation * (self.taps - 1) + 1) % self.stride == 0 and len(reached) == self.stride

    def check(self, size: Any) -> None:
        """Raises RepresentationSizeError where windows read an axis of so many entries from one end.

        With a stride, windows may leave entries over at the far end. The reversed axis then has them at the near
        end, and its windows lie elsewhere.
        """
        over = size + 2 * self.padding - self.dilation * (self.taps - 1) - 1
        if isinstance(size, int) and over % self.stride:
            facts = (
                f"windows of {self.taps} entries, {self.stride} apart, read an axis of {size} entries from one end, "
                "so that its reversal is no mirror of the layer"
            )
            below = size - over % self.stride
            remedy = f"give it {below} or {below + self.stride} entries"
            raise RepresentationSizeError("chiralize.nn", facts, remedy)


def _sum_from_both_ends(terms: Sequence[Tensor]) -> Tensor:
    """The sum of some tensors, the same to the last bit if their order is turned around.

    Rounding depends on the order of additions, and the mirror turns the taps around: (a + d) + (b + c) is the same
    sum either way, ((a + b) + c) + d is not.
    """
    count = len(terms)
    pairs = [terms[position] + terms[count - 1 - position] for position in range(count // 2)]
    total, *others = [*pairs, *terms[count // 2 : (count + 1) // 2]]
    for term in others:
        total = total + term
    return total


def _sliced(x: Tensor, axis: int, before: int, behind: int, step: int = 1) -> Tensor:
    """Entries of an axis, which is counted from the end, without some before and behind them."""
    index = (..., slice(before, -behind or None, step), *[slice(None)] * (axis - 1))
    return x[index]


class Channels(Butterfly):
    """An axis of channels, taken apart into firsts of its pairs, seconds, and others.

    By views where they lie in that order, else by a gather before that.
    """

    # Parts are always all firsts and all seconds: gates of several runs would not be two views.
    in_runs = False

    @property
    def in_parts(self) -> bool:
        """Whether there are several parts; an axis without pairs, or one with signs, is one."""
        return bool(self.pairs) and self.representation.is_sign_free

    def parts(self, x: Tensor, dim: int) -> list[Tensor]:
        """Firsts of the pairs, seconds, and entries without a partner, if there are any; else the axis itself."""
        if not self.in_parts:
            return [x]
        if self.order is not None:
            x = x.index_select(dim, self.order)
        return self.views(x, dim)

    def views(self, x: Tensor, dim: int) -> list[Tensor]:
        """The same of an axis whose entries are in the order of the parts already."""
        if not self.in_parts:
            return [x]
        if 2 * self.pairs == self.size:
            halves = x.chunk(2, dim)
            return [halves[0], halves[1]]
        sizes = self.pairs, self.pairs, self.size - 2 * self.pairs
        return [x.narrow(dim, start, size) for start, size in zip((0, self.pairs, 2 * self.pairs), sizes, strict=True)]

    def whole(self, parts: Sequence[Tensor], dim: int) -> Tensor:
        """The way back from `parts`: the axis in one tensor, contiguous in memory."""
        if not self.in_parts:
            return parts[0].contiguous()
        x = torch.cat(list(parts), dim)
        if self.places is None:
            return x
        return x.index_select(dim, self.places)

    def exchanged(self, parts: Sequence[Any]) -> list[Any]:
        """The parts of the axis whose pairs have changed places."""
        if self.in_parts:
            return [parts[1], parts[0], *parts[2:]]
        return list(parts)

    def of_parts(self, parts: Sequence[Tensor], dim: int) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates, unscaled. parts: as `parts` gives them."""
        if self.in_parts:
            return self.mixed(parts, dim)
        return self.split(parts[0], dim, scaled=False)

    def to_parts(self, even: Tensor, odd: Tensor, dim: int) -> list[Tensor]:
        """The parts, from coordinates that a weight of the orthonormal basis made."""
        if self.in_parts:
            return self.halves(even, odd, dim)
        return [self.join(even, odd, dim)]

    def at_taps(self, taps: int, device: Any = None) -> Butterfly:
        """The butterfly of as many entries for every channel, "(tap channel)", which T exchanges from the last tap
        to the first.

        The pairs come in the order in which `Windows` and `Answers` have them: those of a tap as the parts do.
        """
        each = reversal(taps) * self.representation
        if not self.in_parts or self.order is None:
            return Butterfly(each, device)
        # Tap by tap; within a tap, by the position of a channel among the parts.
        rank = np.argsort(self.entries) + self.size * np.arange(taps)[:, None]
        return Butterfly(each, device, rank.reshape(-1))


class Windows(nn.Module):
    """To the even and odd coordinates of channels at every tap. Holds no parameters.

    axis: the channels. taps: the butterfly of an axis with an entry for every tap and channel, whose coordinates they
    are.
    """

    def __init__(self, channels: Representation, along: Along, device: Any = None) -> None:
        super().__init__()
        self.axis, self.along = Channels(channels, device), along
        self.taps = self.axis.at_taps(along.taps, device)

    def is_like(self, other: Any) -> bool:
        """Whether another one gives the same coordinates of the same windows."""
        same = isinstance(other, Windows) and other.along == self.along
        return same and self.taps.is_like(other.taps)

    def split(self, x: Tensor, dim: int = -3, scaled: bool = True) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates of every window, as `Butterfly.split`. Raises RepresentationSizeError."""
        self.axis._check(x, dim)
        self.along.check(x.shape[-self.along.axis])
        # With signs the parts are one piece, and the whole "(tap channel)" axis is taken apart at once.
        if not self.axis.representation.is_sign_free:
            return self.taps.split(torch.cat(self.along.of_taps(x), dim), dim, scaled)
        if scaled and self.taps.scale != 1.0:
            x = x * self.taps.scale
        return self.mixed(self.axis.parts(x, dim), dim)

    forward = split

    def mixed(self, parts: Sequence[Tensor], dim: int = -3) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates, unscaled, of channels without signs, taken apart as `Channels.parts` does it.

        parts: "... channel ... " each. Tap j of a part is paired with tap k - 1 - j of the part that T exchanges it
        with.
        """
        taps = self.along.taps
        views = [self.along.of_taps(part) for part in parts]
        partners = self.axis.exchanged(views)
        even: list[Tensor] = []
        odd: list[Tensor] = []
        # The other half of the taps makes the same pairs again.
        for tap in range(taps // 2):
            for view, partner in zip(views, partners, strict=True):
                even.append(view[tap] + partner[taps - 1 - tap])
                odd.append(view[tap] - partner[taps - 1 - tap])
        if taps % 2:
            # T leaves the middle tap at its place: its channels are paired among themselves.
            e, o = self.axis.of_parts([view[taps // 2] for view in views], dim)
            even, odd = [*even, e], [*odd, o]
        return torch.cat(even, dim), torch.cat(odd, dim)

    def written(self, x: Tensor, order: torch.memory_format) -> tuple[Tensor, Tensor]:
        """(even, odd) coordinates of halves without scale, "batch coordinate h w", each written at once to its place.

        order: how they lie in memory.
        """
        views = [self.along.of_taps(half) for half in x.chunk(2, 1)]
        partners = self.axis.exchanged(views)
        shape = list(views[0][0].shape)
        shape[1] *= self.along.taps
        # Half as many coordinates of either kind as taps times channels: each half of the channels at every tap.
        even, odd = (torch.empty(shape, dtype=x.dtype, memory_format=order) for _ in range(2))
        start, size = 0, views[0][0].shape[1]
        last = self.along.taps - 1
        for tap in range(last // 2 + 1):
            for part, (view, partner) in enumerate(zip(views, partners, strict=True)):
                if part == 1 and 2 * tap == last:
                    continue  # the middle tap of a pair is one pair, not two
                torch.add(view[tap], partner[last - tap], out=even.narrow(1, start, size))
                torch.sub(view[tap], partner[last - tap], out=odd.narrow(1, start, size))
                start += size
        return even, odd


class Answers(nn.Module):
    """From the even and odd coordinates of channels at every tap to what the windows write. Its parts: `Windows`."""

    def __init__(self, channels: Representation, along: Along, device: Any = None) -> None:
        super().__init__()
        self.axis, self.along = Channels(channels, device), along
        self.taps = self.axis.at_taps(along.taps, device)

    def halves(self, even: Tensor, odd: Tensor, dim: int = -3) -> list[Tensor]:
        """The channels taken apart as `Channels.parts` does it, every window added up.

        even, odd: "batch coordinate h w" along `dim`, tap by tap: `size` coordinates for each pair of taps, then
        those of the middle one.
        """
        taps, size = self.along.taps, self.axis.size
        if not self.axis.representation.is_sign_free:
            return [self.along.added(self.taps.join(even, odd, dim).chunk(taps, dim))]
        of_taps: list[Any] = [None] * taps
        for tap in range(taps // 2):
            e, o = even.narrow(dim, tap * size, size), odd.narrow(dim, tap * size, size)
            of_taps[tap] = self.axis.views(e + o, dim)
            # e - o belongs to the partner entry: the mirrored tap of the partner channel.
            of_taps[taps - 1 - tap] = self.axis.exchanged(self.axis.views(e - o, dim))
        if taps % 2:
            start = taps // 2 * size
            e, o = (x.narrow(dim, start, count - start) for x, count in ((even, self.taps.even), (odd, self.taps.odd)))
            of_taps[taps // 2] = self.axis.to_parts(e, o, dim)
        return [self.along.added(part) for part in zip(*of_taps, strict=True)]
