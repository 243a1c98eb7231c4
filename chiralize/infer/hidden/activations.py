"""Answers of hidden units to x and to T x, summed into scores for matching.

Unit j is the mirror image of unit i if its answer to x is that of i to T x, for all x. Over many inputs that is a
correlation of 1; of -1 where it is negated. So the score of a pair is the correlation of both, over samples and over
all other axes (frames, joints). Those axes are mirrored back first: the answer to T x of unit i at the left wrist is
compared with the answer to x of unit j at the right wrist.

Values that contractions read are used, since there the units are what the next layer sees. Sums are kept, not answers:
four vectors and one matrix "unit unit" for a space. `FromActivations` in `match` makes pairs of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from chiralize.graph import processes
from chiralize.graph.execution import run
from chiralize.graph.model import CapturedModel, Ref
from chiralize.infer.hidden.pairing import Array, Score
from chiralize.infer.hidden.units import Block, blocks
from chiralize.infer.records import RepMap, Space
from chiralize.infer.registry import registry
from chiralize.symmetry import reynolds
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.symbolic import is_known

Carrier = tuple[str, int, Block]
"""A value, one of its axes, and the stretch of that axis in which the units of a space stand."""
_TOGETHER = 256  # columns that are summed at once: samples, each at every place of the other axes


@dataclass
class _Sums:
    """Moments of one carrier: unit answers to x (a) and, mirrored back, to T x (b).

    a, b, aa, bb: sums of answers and of their squares, "unit".  ab: sums of products, "unit unit".
    waiting: answers that are not in the sums yet, "unit sample" each.
    """

    size: int
    count: int = 0
    a: Array = field(init=False)
    b: Array = field(init=False)
    ab: Array = field(init=False)
    aa: Array = field(init=False)
    bb: Array = field(init=False)
    waiting: list[tuple[Array, Array]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.a, self.b, self.aa, self.bb = (np.zeros(self.size) for _ in range(4))
        self.ab = np.zeros((self.size, self.size))

    def add(self, a: Array, b: Array) -> None:
        """Take in the answers to more samples, "unit sample". A few samples wait: for each, `ab` is gone through."""
        self.waiting.append((a, b))
        if sum(a.shape[1] for a, _ in self.waiting) >= _TOGETHER:
            self._add_waiting()

    def _add_waiting(self) -> None:
        """Put the waiting answers into the sums."""
        if not self.waiting:
            return
        a, b = (np.concatenate(side, 1) for side in zip(*self.waiting, strict=True))
        self.waiting.clear()
        self.count += a.shape[1]
        self.a += a.sum(1)
        self.b += b.sum(1)
        self.ab += a @ b.T
        self.aa += (a**2).sum(1)
        self.bb += (b**2).sum(1)

    def shared(self) -> _Sums:
        """The sums over all processes."""
        self._add_waiting()
        arrays = [np.array([float(self.count)]), self.ab, self.a, self.b, self.aa, self.bb]
        processes.add_up([torch.from_numpy(array) for array in arrays])
        self.count = round(float(arrays[0][0]))
        return self

    def correlation(self) -> Array:
        """Correlation of unit i's answer to x with unit j's answer to T x, "unit unit"."""
        n = max(self.count, 1)
        # Rounding may bring the variance of a unit that hardly moves below 0.
        spread_a = np.sqrt(np.maximum(self.aa / n - (self.a / n) ** 2, 0))
        spread_b = np.sqrt(np.maximum(self.bb / n - (self.b / n) ** 2, 0))
        scale = np.outer(spread_a, spread_b)
        covariance = self.ab / n - np.outer(self.a / n, self.b / n)
        return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 1e-12)


def activation_scores(
    captured: CapturedModel,
    repmap: RepMap,
    spaces: Sequence[Space],
    inputs: Sequence[TensorRepresentation | None],
    batches: Iterable[Sequence[torch.Tensor]],
) -> dict[int, Score]:
    """For every space that some op's input carries: correlations of its units' answers to x and T x.

    inputs: T on every input tensor (None: a state, given as it is).  batches: inputs in the captured sizes.
    """
    carriers = _carriers(captured, repmap, spaces)
    sums = [_Sums(block.units) for _, _, block in carriers]
    for batch in batches:
        mirrored = list(batch)
        for index, rep in enumerate(inputs):
            if rep:
                mirrored[index] = reynolds.act(batch[index], rep)
        _add_answers(sums, carriers, captured, repmap, batch, mirrored)
    scores: dict[int, Score] = {}
    # A space that several values carry is scored by the sum of their correlations: each has one vote.
    for of_carrier, (name, axis, block) in zip(sums, carriers, strict=True):
        key = _key(repmap, name, axis, block, spaces)
        correlation = of_carrier.shared().correlation()
        empty = np.zeros_like(correlation)
        # A carrier that only |T| acts on cannot tell a negated unit from another one.
        score = Score(empty, correlation) if block.absolute else Score(correlation, empty)
        scores[key] = scores.get(key, Score.zero(block.units)) + score
    return scores


def _add_answers(
    sums: Sequence[_Sums],
    carriers: Sequence[Carrier],
    captured: CapturedModel,
    repmap: RepMap,
    batch: Sequence[torch.Tensor],
    mirrored: Sequence[torch.Tensor],
) -> None:
    """Run the network on x and on T x, and add the answers of every carrier's units to its sums.

    batch, mirrored: x and T x, every input.  The answer to T x is mirrored back on all axes but the units'.
    """
    partner = {name: repmap.partners.get(name, name) for name, _, _ in carriers}
    wanted = {*partner, *partner.values()}
    plain, turned = _values(captured, batch, wanted), _values(captured, mirrored, wanted)
    # Of exchanged branches the answer of the left one to T x is compared with that of the right one to x.
    for of_carrier, (name, axis, block) in zip(sums, carriers, strict=True):
        rep = repmap.nodes[name][0]
        assert rep is not None
        back = block.turned(turned[name].double(), rep, axis)
        if back is not None:
            of_carrier.add(block.rows(plain[partner[name]].double(), axis).T.numpy(), back.T.numpy())


def _values(captured: CapturedModel, batch: Sequence[torch.Tensor], names: Collection[str]) -> dict[str, torch.Tensor]:
    """The values of these names, as the network computes them."""
    return {name: value for name, value in run(captured, batch) if name in names}


def _carriers(captured: CapturedModel, repmap: RepMap, spaces: Sequence[Space]) -> list[Carrier]:
    """What contractions read, where everything but one space is known."""
    carriers: list[Carrier] = []
    for name in dict.fromkeys(_read_by_contractions(captured)):
        outputs = repmap.nodes.get(name)
        rep = outputs[0] if outputs else None
        if rep is None:
            continue
        # The answer to T x can be mirrored back only along axes on which T is known.
        for dim, axis in enumerate(rep.axes):
            others = [other for position, other in enumerate(rep.axes) if position != dim]
            if not all(map(is_known, others)):
                continue
            for space in spaces:
                for block in blocks(axis, space.key, {}) or []:
                    carriers.append((name, dim, block))
    return carriers


def _read_by_contractions(captured: CapturedModel) -> Iterator[str]:
    """Computed values that ops with multiplications read, as often as they do."""
    for node in captured.nodes:
        rule = registry().get(node.target)
        if rule is not None and rule.macs is not None:
            for value in node.arguments.values():
                if isinstance(value, Ref) and value.name not in captured.leaves:
                    yield value.name


def _key(repmap: RepMap, name: str, axis: int, block: Block, spaces: Sequence[Space]) -> int:
    """The space that a carrier carries."""
    rep = repmap.nodes[name][0]
    assert rep is not None
    for space in spaces:
        if block in (blocks(rep.axes[axis], space.key, {}) or []):
            return space.key
    raise KeyError(name)
