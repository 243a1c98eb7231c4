"""How every tensor of a captured network transforms, found by running the op rules to a fixpoint.

Known at the start: the inputs and outputs, from the specification. Parameters, statistics and states are unknowns that
the rules tie to each other. A rule that cannot say anything yet waits; when nothing moves any more, constants may
choose (whatever leaves them invariant), and last of all single entries of unknown axes are taken to be fixed points.
What is still free then is a hidden space: `choose` gives it a value. `result` runs every rule once more with all
values in place; that run alone decides, everything before it was a search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from chiralize.errors import (
    AsymmetricConstantError,
    ChiralizeError,
    InternalError,
    NegatedChannelsError,
    NeverEquivariantError,
    NoRuleError,
)
from chiralize.involution import SignedPermutation
from chiralize.records import CapturedModel, Leaf, Node, Ref, RepMap, Space, Where
from chiralize.representation import TensorRepresentation
from chiralize.rules._products import equal_sum
from chiralize.rules._registry import Call, Operand, Result, Uniform, registry
from chiralize.rules._solver import Conflict, Solver, Wait
from chiralize.symbolic import (
    Axis,
    SymbolicRepresentation,
    Var,
    axis_size,
    evaluate,
    is_known,
    known_axis,
    lower,
    trivial,
    variables,
)

_MOST_RUNS = 10_000

Tensor = tuple[str, int]
Spec = Sequence[TensorRepresentation | None]
Outputs = tuple[Result, ...]


class Inference:
    """Propagation through one captured network.

    inputs, outputs: representation of every tensor argument and result, None where it is to be found.
    joined: pairs of (`input` or `output`, position) that transform alike.  given: what is known of weights, by name.
    Raises NoRuleError, NeverEquivariantError, NegatedChannelsError, AsymmetricConstantError, each at its node.
    """

    def __init__(
        self,
        captured: CapturedModel,
        inputs: Spec,
        outputs: Spec,
        joined: Sequence[tuple[Tensor, Tensor]] = (),
        given: Mapping[str, TensorRepresentation] | None = None,
    ) -> None:
        self.captured = captured
        self.outputs = outputs
        self.joined = joined
        self.solver = Solver()
        self.nodes: dict[str, Outputs] = {}
        self.waiting: dict[str, str] = {}
        self.macs: dict[str, int] = {}
        self.forced: list[str] = []
        self.uniform = {
            leaf.name: _uniform(leaf.tensor) for leaf in captured.leaves.values() if leaf.kind == "constant"
        }
        self.leaves = {leaf.name: self._start(leaf, given or {}) for leaf in captured.leaves.values()}
        for name, rep in zip(captured.inputs, inputs, strict=True):
            if rep is not None:
                self.leaves[name] = lower(rep)
        self._check_rules()
        self._settle()

    def _start(self, leaf: Leaf, given: Mapping[str, TensorRepresentation]) -> SymbolicRepresentation:
        for name in leaf.names:
            if name in given:
                return lower(given[name])
        return self.solver.fresh_like(leaf.shape, leaf.names[0])

    def _check_rules(self) -> None:
        for node in self.captured.nodes:
            if node.target != "getitem" and node.target not in registry():
                shapes = ", ".join(str(shape) for shape in node.shapes if shape is not None)
                raise NoRuleError(
                    str(node.where), f"no rule for {node.target} (result {shapes})",
                    "write the operation with supported ones, add a rule (docs/add-a-rule.md), or use --method lift",
                )  # fmt: skip

    # ---- fixpoint -----------------------------------------------------------------------------------------
    def _settle(self) -> None:
        """Run the rules until nothing moves, then let constants choose, then force single entries."""
        while True:
            self._run_until_still()
            if not self.waiting and not self._open_constants():
                return
            if self._constants_choose():
                continue
            if not self.waiting:
                return
            before = self.solver.changes
            with self.solver.resort():
                self._run()
            if self.solver.changes == before:
                return

    def _run_until_still(self) -> None:
        for _ in range(_MOST_RUNS):
            before = self.solver.changes
            self._run()
            if self.solver.changes == before:
                return
        raise InternalError("inference", f"it does not come to rest in {_MOST_RUNS} runs", "report this model")

    def _run(self) -> None:
        self.waiting = {}
        for node in self.captured.nodes:
            self._guard(node.where, node.target, lambda node=node: self._apply(node))
        for leaf, node in self.captured.mutations.items():
            where = self.captured.leaves[leaf].where
            self._guard(where, f"state {self.captured.leaves[leaf].names[0]}", lambda a=leaf, b=node: self._same(a, b))
        for place, (name, rep) in enumerate(zip(self.captured.outputs, self.outputs, strict=True)):
            if name is not None and rep is not None:
                self._guard(Where(f"output {place}"), "output", lambda a=name, b=rep: self._meet(a, lower(b)))
        for first, second in self.joined:
            a, b = self._name_of(first), self._name_of(second)
            if a is not None and b is not None:
                self._guard(Where("{} {}".format(*second)), "state", lambda a=a, b=b: self._same(a, b))

    def _name_of(self, tensor: Tensor) -> str | None:
        io, index = tensor
        return self.captured.inputs[index] if io == "input" else self.captured.outputs[index]

    def _guard(self, where: Where, target: str, action: Any) -> None:
        try:
            action()
        except Conflict as conflict:
            raise _refusal(where, target, conflict) from None
        except Wait as wait:
            self.waiting.setdefault(f"{where}", str(wait))

    def _apply(self, node: Node) -> None:
        if node.target == "getitem":
            self.nodes[node.name] = (self.nodes[node.arguments["value"].name][node.arguments["index"]],)
            return
        call = Call(
            node.target,
            {key: self._argument(value) for key, value in node.arguments.items()},
            node.shapes,
            self.solver,
            node.read,
            node.name,
        )
        rule = registry()[node.target]
        if rule.macs and node.name not in self.macs:
            self.macs[node.name] = rule.macs(call)
        if node.name not in self.nodes:
            self.nodes[node.name] = tuple(
                None if shape is None else self.solver.fresh_like(shape) for shape in node.shapes
            )
        outputs = rule.apply(call)
        self.nodes[node.name] = outputs if isinstance(outputs, tuple) else (outputs,)

    def _argument(self, value: Any) -> Any:
        if isinstance(value, Ref):
            return self._operand(value.name)
        if isinstance(value, (list, tuple)):
            return [self._argument(item) for item in value]
        return value

    def _operand(self, name: str) -> Operand:
        if name in self.leaves:
            leaf = self.captured.leaves[name]
            constant = leaf.tensor if leaf.kind == "constant" else None
            uniform = self.uniform.get(name)
            if uniform is not None:
                return Operand(self._fitting(Uniform(leaf.shape, uniform == 0)), constant, uniform == 0)
            return Operand(self.leaves[name], constant)
        result = self.nodes[name][0]
        if isinstance(result, Uniform):
            return Operand(self._fitting(result), None, result.zero)
        if result is None:
            raise Conflict("an output that no rule describes is used")
        return Operand(result)

    def _fitting(self, uniform: Uniform) -> SymbolicRepresentation:
        """A uniform tensor takes whatever representation its reader needs (without signs, unless it is zero)."""
        return self.solver.fitting(uniform.shape, uniform.zero)

    def _meet(self, name: str, rep: SymbolicRepresentation) -> None:
        operand = self._operand(name)
        equal_sum([Operand(rep), operand], operand.shape, self.solver)

    def _same(self, left: str, right: str) -> None:
        self._meet(right, self._operand(left).rep)

    # ---- constants ----------------------------------------------------------------------------------------
    def _open_constants(self) -> list[Leaf]:
        """Constants with an axis that nothing has decided."""
        return [
            leaf
            for leaf in self.captured.leaves.values()
            if leaf.kind == "constant"
            and self.uniform[leaf.name] is None
            and any(not is_known(self.solver.resolve(axis)) for axis in self.leaves[leaf.name].axes)
        ]

    def _constants_choose(self) -> bool:
        """Give one open constant the first representation that leaves it invariant; True if something moved."""
        for leaf in self._open_constants():
            rep = self.solver.representation(self.leaves[leaf.name])
            open_axes = [axis for axis in rep.axes if not is_known(axis)]
            for axis in open_axes:
                for candidate in self._candidates(axis):
                    trial = _with(rep, axis, candidate)
                    if (
                        all(is_known(other) for other in trial.axes)
                        and deviation(leaf.tensor, evaluate(trial, {})) == 0
                    ):
                        self.solver.same(axis, candidate)
                        return True
        return False

    def _candidates(self, axis: Axis) -> list[Axis]:
        """Representations of the right size that occur in the network, the trivial one first."""
        size = axis_size(axis)
        seen: list[Axis] = [trivial(size)]
        for rep in self.leaves.values():
            for other in rep.axes:
                other = self.solver.resolve(other)
                if is_known(other) and other not in seen and axis_size(other) == size:
                    seen.append(other)
        return seen

    # ---- hidden spaces ------------------------------------------------------------------------------------
    def spaces(self) -> tuple[Space, ...]:
        """Unknowns that are still free, in the order in which the network writes them."""
        order: dict[int, tuple[Var, str, Where]] = {}
        cofactors: set[int] = set()
        for node in self.captured.nodes:
            for leaf in self._weights_of(node):
                rep = self.solver.representation(self.leaves[leaf.name])
                cofactors |= _cofactors(rep)
                for place, axis in enumerate(rep.axes):
                    for var in variables((axis,)):
                        order.setdefault(var.id, (var, f"{leaf.names[0]}[{place}]", leaf.where))
        return tuple(
            Space(
                key, label, label.rpartition("[")[0].rpartition(".")[0], var.size, depth,
                key in self.solver.demanded_sign_free, key in cofactors, where,
            )
            for depth, (key, (var, label, where)) in enumerate(order.items())
        )  # fmt: skip

    def _weights_of(self, node: Node) -> list[Leaf]:
        names = [ref.name for ref in node.reads if ref.name in self.leaves and ref.name not in self.captured.inputs]
        return [self.captured.leaves[name] for name in names if self.uniform.get(name) is None]

    def choose(self, space: Space, action: SignedPermutation) -> None:
        """Give a hidden space its representation; what waited for it is decided at once."""
        try:
            self.solver.bind(Var(space.key, space.size), known_axis(action))
        except Conflict as conflict:
            raise _refusal(space.where, space.label, conflict) from None
        if self.waiting or self._open_constants():
            self._settle()

    def result(self) -> RepMap:
        """Everything that is known, for steps that read it; spaces may still be free."""
        leaves = {name: self.solver.representation(rep) for name, rep in self.leaves.items()}
        nodes = {
            name: tuple(
                self.solver.representation(out) if isinstance(out, SymbolicRepresentation) else None for out in outputs
            )
            for name, outputs in self.nodes.items()
        }
        spaces = self.spaces()
        names = {space.key: f"H{space.depth + 1}" for space in spaces}
        return RepMap(leaves, nodes, spaces, tuple(self.solver.forced), names, self.macs)

    def finish(self) -> RepMap:
        """The last run: every space has a value, every rule is checked. Raises at the first node that refuses."""
        for space in self.spaces():
            self.choose(space, SignedPermutation.identity(space.size))
        self._close()
        self._run_until_still()
        if self.waiting:
            where, reason = next(iter(self.waiting.items()))
            raise NeverEquivariantError(where, f"undecided: {reason}", "use --method lift, or report this model")
        self._check_constants()
        return self.result()

    def _close(self) -> None:
        """What nothing has decided is left alone by the mirror, so that the last run checks it like everything else."""
        outputs = [out for node in self.nodes.values() for out in node if isinstance(out, SymbolicRepresentation)]
        for rep in (*self.leaves.values(), *outputs):
            for axis in rep.axes:
                for var in variables((self.solver.resolve(axis),)):
                    self.solver.bind(var, trivial(var.size))

    def _check_constants(self) -> None:
        for leaf in self.captured.leaves.values():
            if leaf.kind != "constant" or self.uniform[leaf.name] is not None:
                continue
            rep = self.solver.representation(self.leaves[leaf.name])
            worst = deviation(leaf.tensor, evaluate(rep, {}))
            if worst > 0:
                raise AsymmetricConstantError(
                    str(leaf.where), f"constant {leaf.names[0]} {leaf.shape} changes by {worst:.3g} under the mirror",
                    "make the constant symmetric, or use --method lift",
                )  # fmt: skip


def deviation(tensor: torch.Tensor, rep: TensorRepresentation) -> float:
    """Largest |c - T c| of a constant; values that differ by rounding only count as equal."""
    array = tensor.detach().cpu().double().numpy() if tensor.dtype != torch.bool else tensor.cpu().numpy().astype(float)
    difference = float(np.abs(array - rep.act(array)).max()) if array.size else 0.0
    scale = float(np.abs(array).max()) if array.size else 0.0
    eps = torch.finfo(tensor.dtype).eps if tensor.is_floating_point() else 0.0
    return difference if difference > 4 * eps * scale else 0.0


def _uniform(tensor: torch.Tensor) -> float | None:
    """The one number that a constant holds everywhere, or None."""
    if not tensor.numel() or tensor.is_complex():
        return None
    first = tensor.reshape(-1)[0]
    return float(first) if bool((tensor == first).all()) else None


def _with(rep: SymbolicRepresentation, axis: Axis, value: Axis) -> SymbolicRepresentation:
    return SymbolicRepresentation(tuple(value if other == axis else other for other in rep.axes), rep.sign)


def _cofactors(rep: SymbolicRepresentation) -> set[int]:
    """Unknowns that stand behind another unknown in a product."""
    found: set[int] = set()
    for axis in rep.axes:
        leading = [term for term in axis if isinstance(term, Var)]
        found |= {term.id for term in leading[1:]}
    return found


def _refusal(where: Where, target: str, conflict: Conflict) -> ChiralizeError:
    if conflict.negated:
        return NegatedChannelsError(
            str(where), f"{target}: {conflict}, and the operation is not odd",
            "keep signs away from it (hidden.negated: 0, activation: tanh), or use --method lift",
        )  # fmt: skip
    return NeverEquivariantError(str(where), f"{target}: {conflict}", "check the layouts, or use --method lift")
