"""What is a rule given, what may it answer, and where is it found?

A rule is a function of a `Call`. It reads the representations of the op's operands, ties them to each other by the
solver, and returns how the outputs transform. For torch.tanh, which is odd, that is one line:

    @rule("tanh", "`... -> ...`")
    def odd(call: Call) -> Answer:
        return call.operands[0].rep            # tanh(T x) = T tanh(x), whatever signs T has

Files in `rules/` register theirs when they are imported. Of an op that is in none of them torch may say that it is
computed entry by entry (`torch.Tag.pointwise`). Then f(P x, P y) = P f(x, y) for every permutation P, and the rule is
that no entry may carry a sign. All other ops have none: `graph.writes` lets torch take them apart, and what is left
without a rule is refused. So the table of rules is the list of the ops that stay whole.

Beside rules stand traits: what an op does to numbers, apart from the mirror, for all that walks through graphs.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

import chiralize.infer.rules
from chiralize.errors import InternalError
from chiralize.graph.model import overload
from chiralize.graph.traits import Pointwise, Trait, Traits
from chiralize.infer.solver.unify import Solver
from chiralize.infer.symbolic import Conflict, SymbolicRepresentation

Shape = tuple[int, ...]
"""Number of entries along every axis."""


@dataclass(frozen=True)
class Operand:
    """A tensor that an op reads: its representation, and its value where that is a constant.

    zero: it holds nothing but zeros.  fixed: it does not depend on the inputs.  truth: it holds truth values.
    """

    rep: SymbolicRepresentation
    constant: torch.Tensor | None = None
    zero: bool = False
    fixed: bool = False
    truth: bool = False

    @property
    def shape(self) -> Shape:
        """Number of entries along every axis."""
        return self.rep.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.rep.axes)


@dataclass(frozen=True)
class Uniform:
    """The result of an op that fills a tensor with one number: it fits any representation without signs.

    zero: the number is 0, so that the result fits representations with signs as well.
    """

    shape: Shape
    zero: bool


Result = SymbolicRepresentation | Uniform | None
"""What a rule says of one output; None of one that is no tensor or that nobody reads."""
Answer = Result | tuple[Result, ...]
"""What a rule answers: one result for its only output, or a tuple for several."""


@dataclass(frozen=True)
class Call:
    """One op in a graph: arguments by their schema name, tensors as `Operand`, sizes as plain numbers.

    shapes: the shape of every output (None where an output is no tensor).
    read: which outputs somebody uses (None: all).
    key: the place in the graph, the same whenever the rule runs again there.
    dtypes: of every output, where they are known.
    """

    target: str
    arguments: Mapping[str, Any]
    shapes: tuple[Shape | None, ...]
    solver: Solver
    read: frozenset[int] | None = None
    key: str = ""
    dtypes: tuple[torch.dtype | None, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or the default where the op has none of that name or it is None."""
        value = self.arguments.get(name)
        return default if value is None else value

    @property
    def operands(self) -> list[Operand]:
        """The tensor arguments in order, lists of tensors included."""
        operands: list[Operand] = []
        for value in self.arguments.values():
            elements = value if isinstance(value, (list, tuple)) else [value]
            operands.extend(element for element in elements if isinstance(element, Operand))
        return operands

    def representations(self, *names: str) -> list[SymbolicRepresentation]:
        """How the tensor arguments called `names` transform, as far as is known by now; all of them without names."""
        operands = [self.arguments[name] for name in names] if names else self.operands
        return [self.solver.representation(operand.rep) for operand in operands]

    @property
    def source(self) -> SymbolicRepresentation:
        """How the first tensor argument transforms, as far as is known by now."""
        return self.solver.representation(self.operands[0].rep)

    @property
    def shape(self) -> Shape:
        """Shape of the first output."""
        shape = self.shapes[0]
        if shape is None:
            raise InternalError(self.target, "the first output is no tensor", "report this with the model's op")
        return shape

    def at(self, name: object) -> str:
        """The key of something that belongs to this place; empty for a rule that runs outside a graph."""
        if self.key:
            return f"{self.key}[{name}]"
        return ""

    def reads(self, output: int) -> bool:
        """Whether somebody uses this output."""
        return self.read is None or output in self.read

    def axis(self, dim: int, ndim: int) -> int:
        """A dim argument as a non-negative axis number."""
        return dim % ndim if ndim else 0

    def axes(self, dims: int | Sequence[int], ndim: int) -> list[int]:
        """A dim argument that may be one number or several, as non-negative axis numbers."""
        listed = dims if isinstance(dims, Sequence) else [dims]
        return [self.axis(dim, ndim) for dim in listed]

    def run(self, size: int) -> range:
        """The entries of an axis of this size that start, end and step of a call name, cut off at the end."""
        return range(size)[slice(self.get("start"), self.get("end"), self.get("step", 1))]

    def first(self, *outputs: Result) -> Answer:
        """The answer that says nothing of the outputs behind `outputs`."""
        if len(self.shapes) == 1:
            return outputs[0]
        return (*outputs, *[None] * (len(self.shapes) - len(outputs)))


@dataclass(frozen=True)
class OpRule:
    """The rule of an op, and what it says, in words or as an axis equation.

    incomplete: why correct pairs of representations are refused, where the oracle of the tests finds some.
    """

    apply: Callable[[Call], Answer]
    statement: str
    incomplete: str = ""

    def outputs(self, call: Call) -> tuple[Result, ...]:
        """The answer for every output; one whose type knows no minus cannot carry a sign. Raises Conflict and Wait."""
        results = self.apply(call)
        if not isinstance(results, tuple):
            results = (results,)
        # A truth value or a byte has no minus: an answer with signs would be a claim that no value can meet.
        for result, dtype in zip(results, call.dtypes, strict=False):
            if dtype is not None and not dtype.is_signed and isinstance(result, SymbolicRepresentation):
                demand_plain(result, call.solver)
        return results


def demand_plain(rep: SymbolicRepresentation, solver: Solver) -> SymbolicRepresentation:
    """The representation, of which no axis may carry a sign, nor the tensor as a whole. Raises Conflict."""
    plain = solver.representation(rep)
    if not solver.positive(plain.sign):
        raise Conflict("all entries are negated", negated=True)
    for axis in plain.axes:
        solver.sign_free(axis)
    return rep


# ---- the table ----------------------------------------------------------------------------------------------------
_RULES: dict[str, OpRule] = {}
_TRAITS: dict[str, Trait] = {}
_BY_TAG: dict[torch.Tag, OpRule] = {}
"""Rules of ops that have none of their own, by what torch says of these ops."""


def overloads(names: str) -> tuple[str, ...]:
    """The full names of overloads: `add.Tensor tanh` are `aten.add.Tensor` and `aten.tanh.default`."""
    return tuple(f"aten.{name}" if "." in name else f"aten.{name}.default" for name in names.split())


def rule(
    names: str, statement: str, trait: Trait | None = None, incomplete: str = ""
) -> Callable[[Callable[[Call], Answer]], Callable[[Call], Answer]]:
    """Register the function below as the rule of these ops; it may stand several times above one function.

    names: overloads without "aten.", between spaces; one without a dot is the overload called `default`.
    Raises InternalError for an op that has a rule already, and for one that torch does not have.
    """

    def decorate(function: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        """The function, in the table."""
        for target in overloads(names):
            # Two rules for one op could disagree, and the order of imports would decide.
            if target in _RULES:
                raise InternalError(target, "two rules for one op", "keep one")
            if overload(target) is None:
                raise InternalError(target, "torch has no such op", "mend the name in infer/rules")
            _RULES[target] = OpRule(function, statement, incomplete)
        if trait is not None:
            describe(names, trait)
        return function

    return decorate


def rule_by_tag(tag: torch.Tag, statement: str) -> Callable[[Callable[[Call], Answer]], Callable[[Call], Answer]]:
    """Register the function below as the rule of all ops with this tag that have none of their own."""

    def decorate(function: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        """The function, in the table."""
        _BY_TAG[tag] = OpRule(function, statement)
        return function

    return decorate


def describe(names: str, trait: Trait) -> None:
    """Say what kind of ops these are, with or without a rule: walks may meet them before the rules do."""
    _TRAITS.update(dict.fromkeys(overloads(names), trait))


@cache
def registry() -> Mapping[str, OpRule]:
    """Every rule that a file of `rules/` registers, by ATen overload; imports all of these files."""
    # Names with an underscore hold no rules but tools of rules.
    for module in pkgutil.iter_modules(chiralize.infer.rules.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"chiralize.infer.rules.{module.name}")
    return _RULES


@cache
def rule_of(target: str) -> OpRule | None:
    """The rule of an op: from the table, else by torch's word that it works entry by entry; None where it has none."""
    if target in registry():
        return _RULES[target]
    return _BY_TAG[torch.Tag.pointwise] if is_entrywise(target) else None


def is_entrywise(target: str) -> bool:
    """Whether torch says of an op that it computes every entry of its results from the entries at the same place.

    Ops that draw numbers, or write in place, are none; nor is one with a result that is no tensor (`aten.equal`, which
    is true or false of all entries together).
    """
    op = overload(target)
    if op is None:
        return False
    schema = op._schema
    draws = torch.Tag.nondeterministic_seeded in op.tags
    tensors_only = all(str(result.type) == "Tensor" for result in schema.returns)
    return torch.Tag.pointwise in op.tags and not draws and not schema.is_mutable and tensors_only


class _TraitTable(Mapping[str, Trait]):
    """The traits that rule files give, and `Pointwise` for all that torch says is computed entry by entry."""

    def __getitem__(self, target: str) -> Trait:
        if target in _TRAITS:
            return _TRAITS[target]
        if target not in _RULES and is_entrywise(target):
            return Pointwise()
        raise KeyError(target)

    def __iter__(self) -> Iterator[str]:
        return iter(_TRAITS)

    def __len__(self) -> int:
        return len(_TRAITS)


@cache
def traits() -> Traits:
    """What kind of op every op is of which that is known, by ATen overload."""
    registry()  # imports all files that say so
    return _TraitTable()
