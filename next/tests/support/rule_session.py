"""One run of a rule alone, with a fresh solver, to its fixpoint; unknowns left over get random values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from chiralize.graph.model import Node, Where
from chiralize.infer.algebra import equal_sum
from chiralize.infer.rule import Call, Operand, Uniform
from chiralize.infer.solver.unify import Solver
from chiralize.infer.solver.unknowns import Leave
from chiralize.infer.spelling import spelled
from chiralize.infer.symbolic import SymbolicRepresentation, Var, Wait, evaluate, lower, variables
from chiralize.symmetry.representation import TensorRepresentation
from tests.support import oracle
from tests.support.rule_values import Drawn, representation

if TYPE_CHECKING:
    from tests.support.rule_bench import Bench


@dataclass(frozen=True)
class Slot:
    """A drawn tensor in the arguments."""

    number: int
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


def spelled_call(target: str, arguments: dict[str, Any], shapes: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    """The op as that of its family, with its arguments there."""
    node = spelled(Node("op", target, arguments, shapes, frozenset(range(len(shapes))), Where()))
    return node.target, dict(node.arguments)


class Session:
    """One run of a rule to its fixpoint."""

    def __init__(self, bench: Bench, config: Config) -> None:
        self.bench, self.config = bench, config
        self.solver = Solver()
        known = iter(config.data)
        self.reps = [self._given(slot, None if slot.is_weight else next(known)) for slot in bench.slots]
        self.demands = [Operand(lower(rep)) for rep in config.outputs or ()]
        self.target, self.arguments = spelled_call(bench.target, bench.filled(self._operand), bench.shapes)
        self.results: tuple[Any, ...] = ()
        self.waiting = False
        self.at_rest = False

    def _given(self, slot: Slot, rep: TensorRepresentation | None) -> SymbolicRepresentation:
        return self.solver.fresh_like(slot.drawn.shape, f"w{slot.number}") if rep is None else lower(rep)

    def settle(self) -> Claim | None:
        """What the rule says in the end, None while it waits. Raises Conflict where it refuses."""
        for _ in range(60):
            self._until_still()
            if self.waiting:
                self.at_rest = False
                self.solver.leave = Leave.LISTS
                moves = self._moves()
                self.solver.leave = Leave.NOTHING
                if moves:
                    continue
            if not (self._choose() or self._settle_signs()):
                break
        if not self.at_rest:
            self._until_still()
            assert not self._binds(), "the rule is not idempotent"
        return None if self.waiting else self._evaluate()

    def _settle_signs(self) -> bool:
        """Whether a sign was open; it is 1 now."""
        self.solver.watch.moved.clear()
        self.solver.settle_signs()
        return bool(self.solver.watch.moved)

    def _until_still(self) -> None:
        for _ in range(30):
            before = dict(self.solver.bindings)
            moves = self._moves()
            self.at_rest = self.solver.bindings == before
            if not moves:
                return
        raise AssertionError("the rule never comes to rest")

    def _binds(self) -> bool:
        """Whether one more step gives an unknown another value."""
        before = dict(self.solver.bindings)
        self._moves()
        return self.solver.bindings != before

    def _moves(self) -> bool:
        """Run the rule once; whether it told anything that the solver did not know."""
        bench = self.bench
        self.waiting = False
        self.solver.watch.moved.clear()
        try:
            read = bench.sample.read
            call = Call(self.target, self.arguments, bench.shapes, self.solver, read, "op", bench.dtypes)
            self.results = bench.rule.outputs(call)
            for result, demanded in zip(self.results, self.demands, strict=False):
                if isinstance(result, SymbolicRepresentation):
                    equal_sum([demanded, Operand(result)], result.shape, self.solver)
        except Wait:
            self.waiting = True
        return bool(self.solver.watch.moved)

    def _operand(self, value: Slot | torch.Tensor) -> Operand:
        if isinstance(value, Slot):
            kind = value.drawn.kind
            return Operand(self.reps[value.number], None, kind == "zero", truth=kind == "truth")
        return Operand(self.solver.fresh_like(tuple(value.shape)), value, truth=value.dtype == torch.bool)

    def _choose(self) -> bool:
        """Give one open unknown a random value that is allowed."""
        rng, solver = self.bench.rng, self.solver
        results = [result for result in self.results if isinstance(result, SymbolicRepresentation)]
        for rep in [*self.reps, *results]:
            for var in variables(solver.representation(rep).axes):
                matrix = oracle.random_involution(var.size, rng, var.id not in solver.demanded_sign_free)
                solver.bind(Var(var.id, var.size), lower(representation([matrix])).axes[0])
                return True
        return False

    def _evaluate(self) -> Claim:
        slots = tuple(evaluate(self.solver.representation(rep), {}) for rep in self.reps)
        outputs = tuple(
            evaluate(self.solver.representation(out), {}) if isinstance(out, SymbolicRepresentation) else out
            for out in self.results
        )
        return Claim(slots, outputs)
