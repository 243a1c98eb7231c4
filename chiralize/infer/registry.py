"""The one table of op rules, and the records that a rule is given and returns.

A rule is a function of a `Call`. It reads the representations of the op's operands, ties them to each other by the
solver, and returns how the outputs transform. For torch.tanh, which is odd, that is one line:

    def odd(call: Call) -> Results:
        return call.operands[0].rep            # tanh(T x) = T tanh(x), whatever signs T has

An `OpRule` holds it together with its statement for the documentation, with samples on which the oracle of the tests
tries all mirrors, and with what kind of op it is (`traits`), for code that walks through graphs. Files in `rules/`
register theirs when they are imported; `registry()` imports them all. An op that is not in the table is refused.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

import chiralize.infer.rules
from chiralize.errors import InternalError
from chiralize.graph.execution import overload
from chiralize.graph.traits import Trait, Traits
from chiralize.infer.solver.terms import Conflict
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.symbolic import SymbolicRepresentation

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
    """The result of an op that fills a tensor with one number: it fits any representation without signs."""

    shape: Shape
    zero: bool


Result = SymbolicRepresentation | Uniform | None
"""What a rule says of an output; None of one that is no tensor or that nobody reads."""
Results = Result | tuple[Result, ...]
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

    def run(self, size: int) -> range:
        """The entries of an axis that start and length of a call name, or start, end and step.

        size: entries of the axis. A slice that ends behind it is cut off there.
        """
        # `narrow` has start and length, and no entry behind the end; a slice is cut off as Python does it.
        if "length" in self.arguments:
            start = self["start"] % size if self["start"] < 0 else self["start"]
            return range(start, start + self["length"])
        return range(size)[slice(self.get("start"), self.get("end"), self.get("step", 1))]

    def axes(self, dims: int | Sequence[int], ndim: int) -> list[int]:
        """A dim argument that may be one number or several, as non-negative axis numbers."""
        listed = dims if isinstance(dims, Sequence) else [dims]
        return [self.axis(dim, ndim) for dim in listed]


@dataclass(frozen=True)
class Drawn:
    """A tensor for the oracle to draw: its shape and what it holds (`normal`, `positive`, `small` within
    -1..1, a `share` within 0..1, `whole` or `complex` numbers, `truth`, `label`s 0..2 or `zero`)."""

    shape: Shape
    kind: str = "normal"


def normal(*shape: int) -> Drawn:
    """Numbers of either sign."""
    return Drawn(shape)


def normals(*shapes: Shape) -> list[Drawn]:
    """Tensors of such numbers."""
    return [normal(*shape) for shape in shapes]


def positive(*shape: int) -> Drawn:
    """Numbers well above zero."""
    return Drawn(shape, "positive")


def whole(*shape: int) -> Drawn:
    """Small whole numbers of either sign."""
    return Drawn(shape, "whole")


def truth(*shape: int) -> Drawn:
    """True or False."""
    return Drawn(shape, "truth")


def zeros(*shape: int) -> Drawn:
    """Nothing but zeros, known to be so."""
    return Drawn(shape, "zero")


@dataclass(frozen=True)
class Sample:
    """Arguments that show an op at work, for the oracle: `Drawn` tensors, numbers and lists, as the op takes them.

    parameters: positions of arguments that are weights (projected by the rule's own representations).
    read: which outputs somebody uses (None: all).  A list of numbers for a tensor argument is a constant.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    parameters: frozenset[int] = frozenset()
    read: frozenset[int] | None = None


def sample(*args: Any, weights: Collection[int] = (), read: Collection[int] | None = None, **options: Any) -> Sample:
    """The arguments of one call, as the op takes them. weights: positions of weights.  read: the outputs in use."""
    return Sample(args, options, frozenset(weights), None if read is None else frozenset(read))


@dataclass(frozen=True)
class OpRule:
    """All that is known about one family of ops.

    statement: the rule in words or as an axis equation; it appears in the documentation.
    incomplete: why correct pairs of representations are refused, where the oracle finds some.
    macs: multiplications of one call.  activation: a nonlinearity that an odd one may replace.
    divisor: an argument whose sign counts and of which no number may be 0: 1 / 0 is the same for both views.
    partial: not all numbers have a value of it, so that it may refuse random ones.
    traits: by op, what kind of op it is, for all that walks through graphs.
    """

    name: str
    targets: tuple[str, ...]
    statement: str
    apply: Callable[[Call], Results]
    samples: Mapping[str, Sequence[Sample]]
    incomplete: str = ""
    macs: Callable[[Call], int] | None = None
    activation: bool = False
    divisor: str = ""
    partial: bool = False
    traits: Traits = field(default_factory=dict)

    def outputs(self, call: Call) -> tuple[Result, ...]:
        """The answer for every output; one whose type knows no minus cannot carry a sign. Raises Conflict."""
        results = self.apply(call)
        if not isinstance(results, tuple):
            results = (results,)
        # A truth value or a byte has no minus: an answer with signs would be a claim that no value can meet.
        for result, dtype in zip(results, call.dtypes, strict=False):
            if dtype is not None and not dtype.is_signed and isinstance(result, SymbolicRepresentation):
                demand_plain(call.solver.representation(result), call)
        return results


def demand_plain(rep: SymbolicRepresentation, call: Call) -> None:
    """No axis may carry a sign, nor the tensor as a whole. Raises Conflict."""
    if not call.solver.positive(rep.sign):
        raise Conflict("all entries are negated", negated=True)
    for axis in rep.axes:
        call.solver.sign_free(axis)


_RULES: dict[str, OpRule] = {}
_TRAITS: dict[str, Trait] = {}


def register(rule: OpRule) -> OpRule:
    """Put a rule into the table. Raises InternalError on duplicates, missing samples and traits of other ops.

    An op that torch does not have raises AttributeError.
    """
    for target in rule.targets:
        # Two rules for one op could disagree, and the order of imports would decide.
        if target in _RULES:
            raise InternalError(target, f"two rules: {_RULES[target].name} and {rule.name}", "keep one")
        overload(target)
        if not rule.samples.get(target):
            raise InternalError(target, f"rule {rule.name} has no oracle samples for it", "add samples")
        _RULES[target] = rule
    if unknown := rule.traits.keys() - set(rule.targets):
        raise InternalError(min(unknown), f"a trait, but no sample in rule {rule.name}", "add samples")
    _TRAITS.update(rule.traits)
    return rule


def describe(targets: Iterable[str], trait: Trait) -> None:
    """Say what kind of ops these are, which have no rule: walks may meet them before the rules do."""
    _TRAITS.update(dict.fromkeys(targets, trait))


@cache
def registry() -> Mapping[str, OpRule]:
    """Every rule by ATen overload; imports all rule files of the package."""
    # Names with an underscore hold no rules: tools of the rule files, and the table of the documentation.
    for module in pkgutil.iter_modules(chiralize.infer.rules.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"chiralize.infer.rules.{module.name}")
    return _RULES


@cache
def activations() -> frozenset[str]:
    """The ops that are nonlinearities between layers, for which an odd one may stand."""
    return frozenset(target for target, rule in registry().items() if rule.activation)


def traits() -> Traits:
    """What kind of op every op is of which that is known, by ATen overload."""
    registry()  # loads all files that say so
    return _TRAITS
