"""Runs one sample of one op: configurations, the rule's claim, and the op itself on `COUNT` random draws.

A configuration gives every data tensor of a sample a representation. The rule runs alone with a fresh solver to its
fixpoint; unknowns left over get random values. Weights are projected with the representations that the rule gave
them, and then op(T x) must equal T_out op(x).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from chiralize.graph.model import overload
from chiralize.infer.rule import OpRule, Uniform
from chiralize.infer.symbolic import Conflict
from chiralize.symmetry.representation import TensorRepresentation
from tests.support import oracle
from tests.support.oracle import Matrix
from tests.support.rule_session import Claim, Config, Session, Slot
from tests.support.rule_values import Drawn, Sample, actions, array, draw, listed, moved, moved_each, representation

COUNT, FEW, COMPARED = 24, 16, 6
Outputs = list[Matrix | None]


class Arguments:
    """The arguments of one sample of an op by name, with a slot for every tensor to draw."""

    def __init__(self, target: str, sample: Sample) -> None:
        self.target, self.sample = target, sample
        self.op = overload(target)
        self.slots: list[Slot] = []
        self.arguments = self._named(sample)

    def _named(self, sample: Sample) -> dict[str, Any]:
        named: dict[str, Any] = {}
        for position, argument in enumerate(self.op._schema.arguments):
            kind = str(argument.type)
            if position < len(sample.args):
                named[argument.name] = self._slotted(sample.args[position], position in sample.parameters, kind)
            elif argument.name in sample.kwargs:
                named[argument.name] = self._slotted(sample.kwargs[argument.name], False, kind)
        return named

    def _slotted(self, value: Any, is_weight: bool, kind: str) -> Any:
        if isinstance(value, Drawn):
            self.slots.append(Slot(len(self.slots), value, is_weight))
            return self.slots[-1]
        if kind in ("Tensor", "Optional[Tensor]") and isinstance(value, list):
            return torch.tensor(value)
        if isinstance(value, (list, tuple)):
            inner = kind.removeprefix("List[").removesuffix("]")
            return [self._slotted(item, is_weight, inner) for item in value]
        return getattr(torch, value) if isinstance(value, str) and kind in ("int", "Optional[int]") else value

    def filled(self, fill: Callable[[Slot | torch.Tensor], Any]) -> dict[str, Any]:
        """The arguments by name with `fill` for every tensor, those left out with their defaults."""

        def walk(value: Any) -> Any:
            if isinstance(value, (Slot, torch.Tensor)):
                return fill(value)
            return [walk(item) for item in value] if isinstance(value, list) else value

        named = {name: walk(value) for name, value in self.arguments.items()}
        for argument in self.op._schema.arguments:
            if argument.name not in named and argument.has_default_value():
                named[argument.name] = argument.default_value
        return named


class Bench(Arguments):
    """One sample of one target: arguments drawn `COUNT` times, the op and the rule ready to run.

    is_thin: it is tried with all permutations, but with some signs only.
    """

    def __init__(self, rule: OpRule, target: str, sample: Sample, is_thin: bool, seed: int = 0) -> None:
        super().__init__(target, sample)
        self.rule, self.is_thin = rule, is_thin
        self.rng = np.random.default_rng(seed)
        self.call = self._compiled()
        self.values = [draw(slot.drawn, COUNT, self.rng) for slot in self.slots]
        self.data = [slot for slot in self.slots if not slot.is_weight]
        self.weights = [slot for slot in self.slots if slot.is_weight]
        self.is_batched = False
        self.dtypes = self._dtypes()
        self.is_batched = self._batches_alike(self.run(self.values, COMPARED))
        self.outputs = self.run(self.values)
        self.shapes = tuple(None if out is None else tuple(out.shape[1:]) for out in self.outputs)
        self.read = [
            k
            for k, shape in enumerate(self.shapes)
            if (sample.read is None or k in sample.read) and shape is not None and 0 not in shape
        ]

    def _compiled(self) -> Callable[[Sequence[torch.Tensor]], Any]:
        """The op as a function of the slots' values."""

        def reader(value: Any) -> Callable[[Sequence[torch.Tensor]], Any]:
            if isinstance(value, Slot):
                return lambda tensors, number=value.number: tensors[number]
            if isinstance(value, list):
                readers = [reader(item) for item in value]
                return lambda tensors: [read(tensors) for read in readers]
            return lambda tensors: value

        keywords = {argument.name for argument in self.op._schema.arguments if argument.kwarg_only}
        args = [reader(value) for name, value in self.arguments.items() if name not in keywords]
        named = {name: reader(value) for name, value in self.arguments.items() if name in keywords}
        return lambda tensors: self.op(
            *[read(tensors) for read in args], **{name: read(tensors) for name, read in named.items()}
        )

    # ---- the op ---------------------------------------------------------------------------------------------------
    def run(self, values: Sequence[Matrix], draws: int = COUNT) -> Outputs:
        """The op on every draw: outputs as "draw ..." float arrays (None where an output is no tensor)."""
        tensors = self._tensors(values)
        with torch.no_grad():
            if self.is_batched:
                return [array(out) for out in listed(torch.func.vmap(self._one)(*tensors))]
            rows = [listed(self._one(*(tensor[draw] for tensor in tensors))) for draw in range(draws)]
        return [None if out is None else array(torch.stack([row[k] for row in rows])) for k, out in enumerate(rows[0])]

    def _tensors(self, values: Sequence[Matrix]) -> list[torch.Tensor]:
        tensors = [torch.from_numpy(np.ascontiguousarray(value)) for value in values]
        for slot in self.slots:
            value = tensors[slot.number]
            kind = slot.drawn.kind
            tensors[slot.number] = value > 0.5 if kind == "truth" else value.long() if kind == "label" else value
        return tensors

    def _dtypes(self) -> tuple[torch.dtype | None, ...]:
        outputs = listed(self._one(*(tensor[0] for tensor in self._tensors(self.values))))
        return tuple(None if out is None else out.dtype for out in outputs)

    def _one(self, *tensors: torch.Tensor) -> Any:
        return self.call(tensors)

    def _batches_alike(self, first: Outputs) -> bool:
        """Whether all draws may run as one batch: it has to give what the first gave, one after the other."""
        self.is_batched = True
        try:
            with warnings.catch_warnings():
                # An op that vmap runs sample by sample says so, and is as fast without it.
                warnings.simplefilter("error")
                batched = self.run(self.values)
        except (RuntimeError, ValueError, TypeError, NotImplementedError, UserWarning):
            return False
        return bool(self.slots) and all(map(_is_the_same, batched, first))

    # ---- the rule -------------------------------------------------------------------------------------------------
    def claim(self, config: Config) -> Claim | None:
        """What the rule says, or None where it refuses."""
        try:
            return Session(self, config).settle()
        except Conflict:
            return None

    # ---- checks ---------------------------------------------------------------------------------------------------
    def images(self, many: Sequence[Sequence[TensorRepresentation]], draws: int = COUNT) -> tuple[Outputs, Outputs]:
        """op(x) and op(T x) for every T, "T draw ...", the weights projected."""
        values: list[Matrix] = []
        images: list[Matrix] = []
        for slot, value, reps in zip(self.slots, self.values, zip(*many, strict=True), strict=True):
            image = moved_each(reps, value[:draws])
            before = value[None, :draws].repeat(len(many), 0)
            before = (before + image) / 2 if slot.is_weight else before
            values.append(before)
            # What is filled with zeros stays +0.
            images.append(before if slot.is_weight or slot.drawn.kind == "zero" else image)
        after = self._run_each(images, len(many), draws)
        if self.weights:
            return self._run_each(values, len(many), draws), after
        return [x if x is None else x[None, :draws].repeat(len(many), 0) for x in self.outputs], after

    def _run_each(self, values: Sequence[Matrix], many: int, draws: int) -> Outputs:
        """The op on "T draw ...", a few of them at a time."""
        runs: list[Outputs] = []
        for start in range(0, many, FEW):
            part = [value[start : start + FEW] for value in values]
            count = min(FEW, many - start) * draws
            runs.append(self.run([value.reshape(count, *value.shape[2:]) for value in part], count))
        joined = [None if outs[0] is None else np.concatenate(outs) for outs in zip(*runs, strict=True)]
        return [out if out is None else out.reshape(many, draws, *out.shape[1:]) for out in joined]

    def hold(self, claims: Sequence[Claim], before: Outputs, after: Outputs) -> list[bool]:
        """Which claims are true on every draw."""
        true = np.ones(len(claims), dtype=bool)
        for output in self.read:
            x, y = before[output], after[output]
            if x is None or y is None:
                continue
            said = [claim.outputs[output] for claim in claims]
            reps = {k: rep for k, rep in enumerate(said) if isinstance(rep, TensorRepresentation)}
            plain = list(reps)
            if plain:
                images = moved_each(list(reps.values()), x[plain])
                true[plain] &= oracle.agree_each(images, y[plain])
            for k in {*range(len(said))} - reps.keys():
                true[k] &= _is_uniform(said[k], x[k], y[k])
        return true.tolist()

    def depends(self, slots: Sequence[TensorRepresentation]) -> bool:
        """Whether, with the projected weights of one draw, every output entry moves and every data entry matters."""
        values = [
            np.repeat(((value + moved(rep, value)) / 2)[:1], 4, 0) if slot.is_weight else value[:4]
            for slot, value, rep in zip(self.slots, self.values, slots, strict=True)
        ]
        before = self.run(values, 4)
        if not all((out.std(0) > 1e-9).all() for out in (before[k] for k in self.read) if out is not None):
            return False
        entries = [
            (slot, entry) for slot in self.data if slot.drawn.kind != "zero" for entry in np.ndindex(slot.drawn.shape)
        ]
        if not entries:
            return True
        changed = [np.repeat(value[None], len(entries), 0) for value in values]
        for k, (slot, entry) in enumerate(entries):
            changed[slot.number][(k, slice(None), *entry)] += 1.0
        after = self._run_each(changed, len(entries), 4)
        stays = np.ones(len(entries), dtype=bool)
        for x, y in ((before[k], after[k]) for k in self.read):
            if x is not None and y is not None:
                stays &= oracle.agree_each(np.broadcast_to(x, y.shape), y)
        return not stays.any()

    # ---- configurations -------------------------------------------------------------------------------------------
    def singles(self) -> Iterator[Config]:
        """One axis of one data tensor moves, all 76 ways where it has 4 entries."""
        for slot in self.data:
            for axis, size in enumerate(slot.drawn.shape):
                for matrix in self._some(size, 12):
                    yield self.config({(slot.number, axis): matrix})

    def _some(self, size: int, count: int) -> list[Matrix]:
        """Every action on 4 entries (of a thin sample all without signs and some with them), some on another number."""
        every = actions(size, self.rng)
        if size == 4 and not self.is_thin:
            return every
        always = [matrix for matrix in every if size == 4 and (matrix >= 0).all()]
        return always + [every[k] for k in self.rng.permutation(len(every))[:count]]

    def together(self) -> Iterator[Config]:
        """Axes of equal size of several data tensors move together, some without their signs."""
        axes = [
            (slot.number, axis, size, axis - len(slot.drawn.shape))
            for slot in self.data
            for axis, size in enumerate(slot.drawn.shape)
        ]
        groups: set[tuple[tuple[int, int], ...]] = set()
        for _, _, size, back in axes:
            groups.add(tuple((n, a) for n, a, s, _ in axes if s == size))
            groups.add(tuple((n, a) for n, a, s, b in axes if s == size and b == back))
        for group in sorted(group for group in groups if len({number for number, _ in group}) > 1):
            first = group[0]
            size = next(s for n, a, s, _ in axes if (n, a) == first)
            for matrix in self._some(size, 6):
                yield self.config(dict.fromkeys(group, matrix))
                if (matrix < 0).any() and self.rng.random() < 0.3:
                    yield self.config({key: matrix if key[0] == first[0] else abs(matrix) for key in group})
                    yield self.config({key: abs(matrix) if key[0] == first[0] else matrix for key in group})

    def mixed(self, count: int) -> Iterator[Config]:
        """Several axes move at once, often alike, sometimes with an overall sign."""
        for _ in range(count):
            pool: dict[int, list[Matrix]] = {}
            chosen: dict[tuple[int, int], Matrix] = {}
            for slot in self.data:
                for axis, size in enumerate(slot.drawn.shape):
                    if size > 1 and self.rng.random() < 0.5:
                        pair = [oracle.random_involution(size, self.rng, bool(k)) for k in range(2)]
                        options = pool.setdefault(size, pair)
                        chosen[slot.number, axis] = options[int(self.rng.integers(len(options)))]
            yield self.config(chosen, {slot.number for slot in self.data if self.rng.random() < 0.1})

    def unknown(self, count: int) -> Iterator[Config]:
        """Nothing is known of some data tensors; sometimes the outputs are given."""
        for known in self.mixed(count):
            data = tuple(None if self.rng.random() < 0.7 else rep for rep in known.data)
            given = self.rng.random() < 0.5 and None not in self.shapes
            yield Config(data, tuple(self._any(shape or ()) for shape in self.shapes) if given else None)

    def _any(self, shape: Sequence[int]) -> TensorRepresentation:
        rng = self.rng
        axes = [oracle.random_involution(size, rng) if rng.random() < 0.4 else np.eye(size) for size in shape]
        return representation(axes)

    def config(self, chosen: dict[tuple[int, int], Matrix], negative: set[int] | None = None) -> Config:
        """A representation for every data tensor: those axes move so, all others stay."""
        reps: list[TensorRepresentation] = []
        for slot in self.data:
            axes = [chosen.get((slot.number, axis), np.eye(size)) for axis, size in enumerate(slot.drawn.shape)]
            truth = slot.drawn.kind in ("truth", "label")
            axes = [abs(matrix) for matrix in axes] if truth else axes
            reps.append(representation(axes, -1 if slot.number in (negative or ()) and not truth else 1))
        return Config(tuple(reps))


def _is_uniform(said: object, before: Matrix, after: Matrix) -> bool:
    """Whether every draw is one number, the same for both views."""
    if not isinstance(said, Uniform) or not np.array_equal(before, after):
        return False
    flat = before.reshape(len(before), -1)
    return bool((flat == flat[:, :1]).all()) and (not said.zero or not before.any())


def _is_the_same(batched: Matrix | None, first: Matrix | None) -> bool:
    """Whether a batch begins with the first draws."""
    if batched is None or first is None:
        return batched is first
    return batched.shape[1:] == first.shape[1:] and oracle.agree(batched[: len(first)], first)
