"""How much of the difference between the two sides of the numeric verdict may be rounding?

    bound = 16 eps scale depth      in pixels: + 8 eps max |F| + 4 times what rounded weights move it by

`numeric` runs the network and hands the answers in. A `Tally` keeps the largest residual of every output, an
`Allowance` says what the bounds are made of.

Where 16 eps scale depth comes from: an output is a sum of products, `depth` times over. Every step rounds, by eps of
the size of what it adds up. Whether the terms come in the order of x or of T x decides how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from chiralize.graph.run import same
from chiralize.symmetry.action import Center
from chiralize.verification.verdicts import OutputResidual

CLOSE = 100
"""How many times the bound may grow by the rounding of the network itself: one wrong sign is 1e12 times the bound."""
_TIMES = 64
"""Multiple of the original's rounding that is allowed to a result in the same precision (decision 0055)."""
_LEAST = 4
"""eps of rounding that are allowed to any network; few samples of few numbers may show less."""


@dataclass(frozen=True)
class Allowance:
    """What the bounds are made of. There are two kinds: in float64, and in the precision in which the network runs.

    tolerance: a bound relative to the output's scale in place of all else.  depth: contraction steps from input to
    output.  is_affine: T moves pixels.  as_it_runs: judged in the precision in which the network runs.  original: what
    the original rounds away there, by output.  most: the widest bound relative to the output's scale, of a network that
    computes in no other precision than that of its file.
    """

    tolerance: float | None = None
    depth: int = 1
    is_affine: bool = False
    as_it_runs: bool = False
    original: Mapping[int, float] | None = None
    most: float | None = None

    def of(self, worst: Worst, eps: float) -> float:
        """The residual that rounding may leave on one output in a precision of `eps`."""
        if worst.exact:
            return 0.0  # integers and other results do not round
        # At least eps²: an output that is 0 throughout has no scale, and a bound of 0 would fail any rounding.
        if self.tolerance is not None:
            return max(self.tolerance * worst.scale, eps**2)
        plain = max(16 * eps * worst.scale * self.depth, eps**2)
        if self.as_it_runs:
            plain = self._by_original(worst, plain, eps)
        if self.is_affine:
            # x - c of a pixel near 1000 has lost the digits of 1000, though its own size may be 1.
            bound = plain + 8 * eps * worst.size + 4 * worst.rounding
        else:
            # At most 100 times the plain bound: a network that enlarges rounding without end may not pass anything.
            bound = plain + min(4 * worst.rounding, CLOSE * plain)
        return bound if self.most is None else min(bound, max(self.most * worst.scale, eps**2))

    def _by_original(self, worst: Worst, plain: float, eps: float) -> float:
        """A multiple of the original's rounding, 64 times; without an original the plain bound, if it is larger.

        That of states is not known: they count as its worst output.
        """
        known, least = self.original, _LEAST * eps
        if known is None:
            return max(plain, _TIMES * least * worst.scale)
        return _TIMES * max(known.get(worst.index, max(known.values(), default=0.0)), least) * worst.scale


@dataclass
class Worst:
    """The largest residual of one output so far.

    index: as in `OutputResidual`.  scale: max |F - c|, c the centre of T.  size: max |F|, which differs in pixels.
    rounding: by how much it moves where all weights are moved in their last digit.  worst: the entry, in words.
    exact: it is no floating-point number, and has to agree.  finite: F(x) is, on all inputs so far.
    """

    index: int
    residual: float = 0.0
    scale: float = 0.0
    size: float = 0.0
    rounding: float = 0.0
    worst: str = ""
    exact: bool = False
    finite: bool = True

    def offer(self, residual: float, worst: str) -> None:
        """Take a residual in if it is larger than all before. worst: the entry that has it, in words."""
        if residual > self.residual:
            self.residual, self.worst = residual, worst

    def widen(self, other: Worst, with_rounding: bool) -> None:
        """Let a larger scale of the same output count, and what rounding moves it by if asked for."""
        self.scale, self.size = max(self.scale, other.scale), max(self.size, other.size)
        if with_rounding:
            self.rounding = max(self.rounding, other.rounding)


@dataclass
class Tally:
    """The largest residual of every output. broken: axes and sizes at which the network is not equivariant."""

    eps: float
    allowance: Allowance
    by_name: dict[str, Worst] = field(default_factory=dict)
    broken: list[tuple[str, int]] = field(default_factory=list)

    def add(
        self,
        name: str,
        index: int,
        turned: torch.Tensor,
        expected: torch.Tensor,
        label: Callable[[tuple[int, ...]], str],
        center: Center = None,
    ) -> None:
        """Take F(T x) and T F(x) of one output in. center: the point that it is mirrored at."""
        worst = self.by_name.setdefault(name, Worst(index))
        if turned.shape != expected.shape:
            worst.offer(float("inf"), f"shape {tuple(turned.shape)} for T x, {tuple(expected.shape)} for x")
            return
        if not turned.numel():
            return
        worst.exact = not (turned.is_floating_point() or turned.is_complex())
        wide = torch.complex128 if turned.is_complex() else torch.float64
        first, second = turned.detach().to("cpu", wide), expected.detach().to("cpu", wide)
        for side, values in (("x", second), ("T x", first)):
            broken = ~torch.isfinite(values)
            # nan - nan is no difference: an output of nan would pass for a perfect one.
            if broken.any():
                entry = _entry(broken, int(broken.reshape(-1).to(torch.uint8).argmax()))
                worst.offer(float("inf"), f"{label(entry)} is {values[entry].item()} for {side}")
                worst.finite = worst.finite and side != "x"  # on T x alone it is an asymmetry like any other
            else:
                about = values if center is None else values - torch.from_numpy(center)
                worst.scale = max(worst.scale, float(about.abs().max()))
                worst.size = max(worst.size, float(values.abs().max()))
        difference = (first - second).abs().nan_to_num(0.0, 0.0, 0.0)
        largest = int(difference.reshape(-1).argmax())
        residual = float(difference.reshape(-1)[largest])
        if residual > worst.residual:
            worst.offer(residual, label(_entry(difference, largest)))

    def add_others(self, plain: Sequence[Any], turned: Sequence[Any]) -> None:
        """Take results that are no tensors in: they must be equal."""
        for position, (result, turned_result) in enumerate(zip(plain, turned, strict=False)):
            worst = self.by_name.setdefault(f"result {position}", Worst(-1 - position, exact=True))
            if not same(result, turned_result):
                worst.offer(float("inf"), f"{turned_result!r} for T x, {result!r} for x")
        if len(plain) != len(turned):
            worst = self.by_name.setdefault("results", Worst(-1 - max(len(plain), len(turned)), exact=True))
            worst.offer(float("inf"), f"{len(turned)} results that are no tensors for T x, {len(plain)} for x")

    def merge(self, other: Tally, size: tuple[str, int]) -> None:
        """Take in the residuals of another size; offsets of pixels round there as they do here.

        One answer may happen to be small, where large numbers cancel: rounding is of the size of the others.

        size: the axis and its size, noted in `broken` where some output fails there.
        """
        # First what is known here widens the bound there, so that `broken` is decided by the larger scale.
        for name in other.by_name.keys() & self.by_name.keys():
            other.by_name[name].widen(self.by_name[name], self.allowance.is_affine)
        if not all(output.passed for output in other.outputs()):
            self.broken.append(size)
        # Then their figures count here, so that the verdict fails where another size fails.
        for name, theirs in other.by_name.items():
            worst = self.by_name.setdefault(name, Worst(theirs.index))
            worst.widen(theirs, True)
            worst.exact = theirs.exact
            worst.finite = worst.finite and theirs.finite
            worst.offer(theirs.residual, theirs.worst)

    def outputs(self) -> tuple[OutputResidual, ...]:
        """Every output, state and other result with its residual and bound, in the order in which they came."""
        outputs = list[OutputResidual]()
        for name, worst in self.by_name.items():
            # A choice between equals falls as rounding has it: exact results say nothing in a coarse precision.
            if not (self.allowance.as_it_runs and worst.exact):
                bound = self.allowance.of(worst, self.eps)
                figures = worst.residual, worst.scale, bound, worst.worst
                outputs.append(OutputResidual(worst.index, *figures, name, worst.finite))
        return tuple(outputs)

    def is_close(self) -> bool:
        """Whether some output fails, but none by more than rounding may explain."""
        bounds = {name: self.allowance.of(worst, self.eps) for name, worst in self.by_name.items()}
        failed = [worst.residual / max(bounds[name], 1e-300) for name, worst in self.by_name.items()]
        return self.allowance.tolerance is None and 1 < max(failed, default=0.0) <= CLOSE


def _entry(tensor: torch.Tensor, position: int) -> tuple[int, ...]:
    """The entry of a tensor at a position of its flat form."""
    return tuple(map(int, torch.unravel_index(torch.tensor(position), tensor.shape)))
