"""Runs one sample of one op rule: configurations, the rule's claim, and the op itself on `COUNT` random draws.

A configuration gives every data tensor of a sample a representation. The rule runs alone with a fresh solver to its
fixpoint; unknowns left over get random values. Weights are projected with the representations that the rule gave
them, and then op(T x) must equal T_out op(x).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from chiralize.representation import TensorRepresentation
from chiralize.rules._products import equal_sum
from chiralize.rules._registry import Call, Drawn, Operand, OpRule, Sample, Uniform, overload
from chiralize.rules._solver import Conflict, Solver, Wait
from chiralize.symbolic import SymbolicRepresentation, Var, evaluate, lower, variables
from tests import oracle
from tests.oracle import Matrix
from tests.rule_values import actions, array, draw, listed, moved, representation

COUNT = 24
Outputs = list[Matrix | None]


@dataclass(frozen=True)
class Slot:
    """A drawn tensor in the arguments."""

    place: int
    drawn: Drawn
    is_weight: bool


@dataclass(frozen=True)
class Config:
    """A representation for every data slot (None: unknown to the rule), and demands on the outputs."""

    data: tuple[TensorRepresentation | None, ...]
    outputs: tuple[TensorRepresentation, ...] | None = None

    def moves(self, size: int) -> bool:
        """Whether an axis of this size moves, or none at all."""
        moving = [axis.size for rep in self.data if rep is not None for axis in rep.axes if not axis.is_trivial]
        return not moving or moving == [size]

    def __str__(self) -> str:
        ends = f" -> {', '.join(map(str, self.outputs))}" if self.outputs else ""
        return ", ".join(str(rep) for rep in self.data) + ends


@dataclass(frozen=True)
class Claim:
    """What a rule says once everything has a value. outputs: None where it says nothing."""

    slots: tuple[TensorRepresentation, ...]
    outputs: tuple[TensorRepresentation | Uniform | None, ...]


getattr(torch._C, "_functorch")._set_vmap_fallback_warning_enabled(False)  # noqa: B009


class Bench:
    """One sample of one target: arguments drawn `COUNT` times, the op and the rule ready to run.

    is_thin: a sample beside others of the same rule is tried with all permutations, but with some signs only.
    """

    def __init__(self, rule: OpRule, target: str, sample: Sample, seed: int = 0) -> None:
        self.rule, self.target, self.sample = rule, target, sample
        self.is_thin = target != rule.targets[0] or sample is not rule.samples[target][0]
        self.op = overload(target)
        self.rng = np.random.default_rng(seed)
        self.slots: list[Slot] = []
        self.arguments = self._name(sample)
        self.call = self._compiled()
        self.values = [draw(slot.drawn, COUNT, self.rng) for slot in self.slots]
        self.data = [slot for slot in self.slots if not slot.is_weight]
        self.weights = [slot for slot in self.slots if slot.is_weight]
        self.is_batched = False
        self.outputs = self.run(self.values)
        self.dtypes = self._dtypes()
        self.is_batched = self._batches_alike()
        self.shapes = tuple(None if out is None else tuple(out.shape[1:]) for out in self.outputs)
        self.read = [
            k
            for k, shape in enumerate(self.shapes)
            if (sample.read is None or k in sample.read) and shape is not None and 0 not in shape
        ]

    # ---- arguments ----------------------------------------------------------------------------------------
    def _name(self, sample: Sample) -> dict[str, Any]:
        named: dict[str, Any] = {}
        for place, argument in enumerate(self.op._schema.arguments):
            kind = str(argument.type)
            if place < len(sample.args):
                named[argument.name] = self._slotted(sample.args[place], place in sample.parameters, kind)
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

    def _compiled(self) -> Callable[[Sequence[torch.Tensor]], Any]:
        """The op as a function of the slots' values."""

        def reader(value: Any) -> Callable[[Sequence[torch.Tensor]], Any]:
            if isinstance(value, Slot):
                return lambda tensors, place=value.place: tensors[place]
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

    def _filled(self, fill: Callable[[Slot | torch.Tensor], Any]) -> dict[str, Any]:
        def walk(value: Any) -> Any:
            if isinstance(value, (Slot, torch.Tensor)):
                return fill(value)
            return [walk(item) for item in value] if isinstance(value, list) else value

        return {name: walk(value) for name, value in self.arguments.items()}

    def run(self, values: Sequence[Matrix], draws: int = COUNT) -> Outputs:
        """The op on every draw: outputs as "draw ..." float arrays (None where an output is no tensor)."""
        tensors = self._tensors(values)
        with torch.no_grad():
            if self.is_batched:
                return [array(out) for out in listed(torch.func.vmap(self._one)(*tensors))]
            found = [listed(self._one(*(tensor[draw] for tensor in tensors))) for draw in range(draws)]
        return [
            None if out is None else array(torch.stack([own[k] for own in found])) for k, out in enumerate(found[0])
        ]

    def _tensors(self, values: Sequence[Matrix]) -> list[torch.Tensor]:
        tensors = [torch.from_numpy(np.ascontiguousarray(value)) for value in values]
        for slot in self.slots:
            value = tensors[slot.place]
            kind = slot.drawn.kind
            tensors[slot.place] = value > 0.5 if kind == "truth" else value.long() if kind == "label" else value
        return tensors

    def _dtypes(self) -> tuple[torch.dtype | None, ...]:
        found = listed(self._one(*(tensor[0] for tensor in self._tensors(self.values))))
        return tuple(None if out is None else out.dtype for out in found)

    def _one(self, *tensors: torch.Tensor) -> Any:
        return self.call(tensors)

    def _batches_alike(self) -> bool:
        """Whether all draws may run as one batch: it has to give what one draw after the other gave."""
        self.is_batched = True
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                batched = self.run(self.values)
        except (RuntimeError, ValueError, TypeError, NotImplementedError, UserWarning):
            return False
        pairs = list(zip(batched, self.outputs, strict=True))
        return bool(self.slots) and all(
            x is y is None or (x is not None and y is not None and x.shape == y.shape and oracle.agree(x, y))
            for x, y in pairs
        )

    # ---- the rule -----------------------------------------------------------------------------------------
    def claim(self, config: Config) -> Claim | None:
        """What the rule says, or None where it refuses."""
        solver = Solver()
        reps: list[SymbolicRepresentation] = []
        known = iter(config.data)
        for slot in self.slots:
            rep = None if slot.is_weight else next(known)
            fresh = solver.fresh_like(slot.drawn.shape, f"w{slot.place}")
            reps.append(fresh if rep is None else lower(rep))
        session = _Session(self, solver, reps, config)
        try:
            return session.settle()
        except Conflict:
            return None

    # ---- checks -------------------------------------------------------------------------------------------
    def image(self, slots: Sequence[TensorRepresentation], draws: int = COUNT) -> tuple[Outputs, Outputs]:
        """op(x) and op(T x), the weights projected."""
        pairs = [(value[:draws], rep) for value, rep in zip(self.values, slots, strict=True)]
        values = [
            (value + moved(rep, value)) / 2 if slot.is_weight else value
            for slot, (value, rep) in zip(self.slots, pairs, strict=True)
        ]
        images = [
            value if slot.is_weight or slot.drawn.kind == "zero" else moved(rep, value)  # what is filled stays +0
            for slot, value, (_, rep) in zip(self.slots, values, pairs, strict=True)
        ]
        before = self.run(values, draws) if self.weights else [x if x is None else x[:draws] for x in self.outputs]
        return before, self.run(images, draws)

    def holds(self, claim: Claim, before: Outputs, after: Outputs) -> bool:
        """Whether the claim is true on every draw."""
        for place in self.read:
            x, y, rep = before[place], after[place], claim.outputs[place]
            if x is None or y is None:
                continue
            if rep is None:
                return False
            if isinstance(rep, Uniform):
                flat = x.reshape(len(x), -1)
                if not (np.array_equal(x, y) and (flat == flat[:, :1]).all() and (not rep.zero or not x.any())):
                    return False
            elif not oracle.agree(moved(rep, x), y):
                return False
        return True

    def depends(self, slots: Sequence[TensorRepresentation]) -> bool:
        """Whether, with the projected weights of one draw, every output entry moves and every data entry matters."""
        values = [
            np.repeat(((value + moved(rep, value)) / 2)[:1], 4, 0) if slot.is_weight else value[:4]
            for slot, value, rep in zip(self.slots, self.values, slots, strict=True)
        ]
        before = self.run(values, 4)
        if not all((out.std(0) > 1e-9).all() for out in (before[k] for k in self.read) if out is not None):
            return False
        return all(
            self._matters(values, slot, entry, before) for slot in self.data for entry in np.ndindex(slot.drawn.shape)
        )

    def _matters(self, values: list[Matrix], slot: Slot, entry: tuple[int, ...], before: Outputs) -> bool:
        if slot.drawn.kind == "zero":
            return True
        changed = [value.copy() if other is slot else value for other, value in zip(self.slots, values, strict=True)]
        changed[slot.place][(slice(None), *entry)] += 1.0
        after = self.run(changed, 4)
        return any(x is not None and y is not None and not oracle.agree(x, y)
                   for x, y in ((before[k], after[k]) for k in self.read))  # fmt: skip

    # ---- configurations -----------------------------------------------------------------------------------
    def singles(self) -> Iterator[Config]:
        """One axis of one data tensor moves, all 76 ways where it has 4 entries."""
        for slot in self.data:
            for axis, size in enumerate(slot.drawn.shape):
                for matrix in self._some(size, 12):
                    yield self.config({(slot.place, axis): matrix})

    def _some(self, size: int, count: int) -> list[Matrix]:
        """Every action on 4 entries (of a thin sample all without signs and some with them), some on another number."""
        found = actions(size, self.rng)
        if size == 4 and not self.is_thin:
            return found
        always = [matrix for matrix in found if size == 4 and (matrix >= 0).all()]
        return always + [found[k] for k in self.rng.permutation(len(found))[:count]]

    def together(self) -> Iterator[Config]:
        """Axes of equal size of several data tensors move together, some without their signs."""
        places = [
            (slot.place, axis, size, axis - len(slot.drawn.shape))
            for slot in self.data
            for axis, size in enumerate(slot.drawn.shape)
        ]
        groups: set[tuple[tuple[int, int], ...]] = set()
        for _, _, size, back in places:
            groups.add(tuple((p, a) for p, a, s, _ in places if s == size))
            groups.add(tuple((p, a) for p, a, s, b in places if s == size and b == back))
        for group in sorted(group for group in groups if len({p for p, _ in group}) > 1):
            first = group[0]
            size = next(s for p, a, s, _ in places if (p, a) == first)
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
                        options = pool.setdefault(
                            size, [oracle.random_involution(size, self.rng, bool(k)) for k in range(2)]
                        )
                        chosen[slot.place, axis] = options[int(self.rng.integers(len(options)))]
            yield self.config(chosen, {slot.place for slot in self.data if self.rng.random() < 0.1})

    def unknown(self, count: int) -> Iterator[Config]:
        """Nothing is known of some data tensors; sometimes the outputs are given."""
        for known in self.mixed(count):
            data = tuple(None if self.rng.random() < 0.7 else rep for rep in known.data)
            given = self.rng.random() < 0.5 and None not in self.shapes
            yield Config(data, tuple(self._any(shape or ()) for shape in self.shapes) if given else None)

    def _any(self, shape: Sequence[int]) -> TensorRepresentation:
        rng = self.rng
        return representation(
            [oracle.random_involution(size, rng) if rng.random() < 0.4 else np.eye(size) for size in shape]
        )

    def config(self, chosen: dict[tuple[int, int], Matrix], negative: set[int] | None = None) -> Config:
        reps: list[TensorRepresentation] = []
        for slot in self.data:
            axes = [chosen.get((slot.place, axis), np.eye(size)) for axis, size in enumerate(slot.drawn.shape)]
            truth = slot.drawn.kind in ("truth", "label")
            axes = [abs(matrix) for matrix in axes] if truth else axes
            reps.append(representation(axes, -1 if slot.place in (negative or ()) and not truth else 1))
        return Config(tuple(reps))


class _Session:
    """One run of a rule to its fixpoint."""

    def __init__(self, bench: Bench, solver: Solver, reps: list[SymbolicRepresentation], config: Config) -> None:
        self.bench, self.solver, self.reps, self.config = bench, solver, reps, config
        self.results: tuple[Any, ...] = ()
        self.constants: dict[int, SymbolicRepresentation] = {}
        self.waiting = False

    def settle(self) -> Claim | None:
        for _ in range(60):
            self._until_still()
            if self.waiting:
                before = self.solver.changes
                with self.solver.resort(lists=True):
                    self._step()
                if self.solver.changes != before:
                    continue
            if not (self._choose() or self.solver.settle_signs()):
                break
        self._until_still()
        before = dict(self.solver.bindings)
        self._step()
        assert self.solver.bindings == before, "the rule is not idempotent"
        return None if self.waiting else self._evaluate()

    def _until_still(self) -> None:
        for _ in range(30):
            before = self.solver.changes
            self._step()
            if self.solver.changes == before:
                return
        raise AssertionError("the rule never comes to rest")

    def _step(self) -> None:
        bench = self.bench
        self.waiting = False
        arguments = bench._filled(self._operand)
        for argument in bench.op._schema.arguments:
            if argument.name not in arguments and argument.has_default_value():
                arguments[argument.name] = argument.default_value
        try:
            call = Call(bench.target, arguments, bench.shapes, self.solver, bench.sample.read, "op", bench.dtypes)
            self.results = bench.rule.outputs(call)
            for result, demanded in zip(self.results, self.config.outputs or (), strict=False):
                if isinstance(result, SymbolicRepresentation):
                    equal_sum([Operand(lower(demanded)), Operand(result)], result.shape, self.solver)
        except Wait:
            self.waiting = True

    def _operand(self, value: Slot | torch.Tensor) -> Operand:
        if isinstance(value, Slot):
            kind = value.drawn.kind
            return Operand(self.reps[value.place], None, kind == "zero", truth=kind == "truth")
        place = self.constants.setdefault(id(value), self.solver.fresh_like(tuple(value.shape)))
        return Operand(place, value, truth=value.dtype == torch.bool)

    def _choose(self) -> bool:
        """Give one open unknown a random value that is allowed."""
        rng, solver = self.bench.rng, self.solver
        found = [*self.reps, *(result for result in self.results if isinstance(result, SymbolicRepresentation))]
        for rep in found:
            for var in variables(solver.representation(rep).axes):
                matrix = oracle.random_involution(var.size, rng, var.id not in solver.demanded_sign_free)
                solver.bind(Var(var.id, var.size), (lower(representation([matrix])).axes[0]))
                return True
        return False

    def _evaluate(self) -> Claim:
        slots = tuple(evaluate(self.solver.representation(rep), {}) for rep in self.reps)
        outputs = tuple(
            evaluate(self.solver.representation(out), {}) if isinstance(out, SymbolicRepresentation) else out
            for out in self.results
        )
        return Claim(slots, outputs)
