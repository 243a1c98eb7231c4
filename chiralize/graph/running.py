"""Running a network on inputs and on mirrored inputs, without leaving a trace on it.

Every run starts from the state that the network was handed over in: buffers and training flags are the caller's again
afterwards; random numbers and the default dtype are of the run alone. Only T_in, T_out and the network are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map_only, tree_unflatten

from chiralize.errors import ModelRunError, UsageError, first_line
from chiralize.graph.copies import InFloat64, copied, is_large
from chiralize.graph.isolation import Isolated
from chiralize.graph.snapshot import Snapshot, untouched
from chiralize.symmetry.action import Center, act
from chiralize.symmetry.representation import TensorRepresentation

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Around:
    """Where random inputs lie: about 0; about `centers`, as far as `spreads`, where T is affine; or `near` examples.

    near: of inputs of which a network takes no others, since it has logarithms or roots of them; None of the rest.
    Empty where it takes all.
    """

    centers: Sequence[Center] = ()
    spreads: Sequence[Center] = ()
    near: Sequence[torch.Tensor | None] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """What is to be said of it."""
        return (f"random inputs are {self}: N(0, 1) is more than the network takes",) if self.near else ()

    def __str__(self) -> str:
        if self.near:
            inputs = ", ".join(str(place) for place, own in enumerate(self.near) if own is not None)
            others = ", the others N(0, 1)" if any(own is None for own in self.near) else ""
            return f"the examples, each number of input {inputs} times 0.5 to 1.5{others}"
        affine = any(center is not None for center in self.centers)
        return f"N({'c, c/2' if affine else '0, 1'}) in the shape of the example"


def placed(call: Call, around: Around) -> Call:
    """A call drawn from N(0, 1), moved to where inputs live: center + spread x, or example (1 + tanh(x) / 2)."""
    arguments = Arguments.of(*call)
    tensors = list(arguments.tensors)
    if around.near:
        pairs = zip(tensors, around.near, strict=True)
        return arguments.filled([own if example is None else _near(own, example) for own, example in pairs])
    centers, spreads = around.centers, around.spreads
    if not any(center is not None for center in centers):
        return call
    for index, (center, spread) in enumerate(zip(centers, spreads, strict=True)):
        if center is not None and spread is not None and tensors[index].is_floating_point():
            own = tensors[index]
            at, width = (torch.from_numpy(part).to(own.device, own.dtype) for part in (center, spread))
            tensors[index] = at + width * own
    return arguments.filled(tensors)


# ---- arguments and results as flat lists of tensors -----------------------------------------------------------
@dataclass(frozen=True)
class Arguments:
    """The arguments of one call as a flat list of leaves, and how to put them together again."""

    leaves: tuple[Any, ...]
    structure: TreeSpec

    @staticmethod
    def of(args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> Arguments:
        leaves, structure = tree_flatten((tuple(args), dict(kwargs or {})))
        return Arguments(tuple(leaves), structure)

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """The leaves that are tensors, in order: these are the inputs that a Mirror describes."""
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, torch.Tensor))

    def filled(self, tensors: Sequence[torch.Tensor]) -> Call:
        """The same call with other tensors."""
        rest = iter(tensors)
        leaves = [next(rest) if isinstance(leaf, torch.Tensor) else leaf for leaf in self.leaves]
        args, kwargs = tree_unflatten(leaves, self.structure)
        return args, kwargs


def fresh(call: Call) -> Call:
    """The call with copies of its tensors: some networks write into what they are given."""
    arguments = Arguments.of(*call)
    return arguments.filled([tensor.clone() for tensor in arguments.tensors])


def mirrored(call: Call, representations: Sequence[TensorRepresentation], centers: Sequence[Center] = ()) -> Call:
    """The call on T x. centers: of every tensor, where T is affine.

    Raises UsageError where the number of tensors differs from the number of representations.
    """
    arguments = Arguments.of(*call)
    tensors = arguments.tensors
    if len(tensors) != len(representations):
        raise UsageError(
            "the example inputs",
            f"{len(tensors)} tensors, but the mirror describes {len(representations)} inputs",
            "describe every tensor among the arguments, in order",
        )
    at = centers or [None] * len(tensors)
    return arguments.filled([act(*own) for own in zip(representations, tensors, at, strict=True)])


def results(value: Any) -> tuple[list[torch.Tensor], list[Any]]:
    """Tensors among the flattened results, and the other leaves."""
    leaves = tree_flatten(value)[0]
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return tensors, [leaf for leaf in leaves if not isinstance(leaf, torch.Tensor)]


def check_outputs(tensors: Sequence[torch.Tensor], representations: Sequence[TensorRepresentation]) -> None:
    """Raises UsageError unless there is a representation for every tensor."""
    if len(tensors) != len(representations):
        raise UsageError(
            "the results",
            f"{len(tensors)} tensors, but the mirror describes {len(representations)} outputs",
            "describe every tensor among the results, in order",
        )


def random_tensor(like: torch.Tensor, generator: torch.Generator, shape: Sequence[int] | None = None) -> torch.Tensor:
    """N(0, 1) in the shape of `like`, or another of as many axes; integers and booleans keep their values, repeated."""
    shape = tuple(like.shape if shape is None else shape)
    if like.is_floating_point() or like.is_complex():
        wide = torch.complex128 if like.is_complex() else torch.float64
        return torch.randn(shape, generator=generator, dtype=wide).to(like.device, like.dtype)
    return _repeated(like, shape)


def _repeated(like: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """In another shape of as many axes."""
    for axis, size in enumerate(shape):
        if size != like.shape[axis]:
            like = like.index_select(axis, torch.arange(size, device=like.device) % max(like.shape[axis], 1))
    return like


def _near(drawn: torch.Tensor, example: torch.Tensor) -> torch.Tensor:
    if not (drawn.is_floating_point() or drawn.is_complex()):
        return drawn
    real = drawn.real if drawn.is_complex() else drawn
    return _repeated(example, drawn.shape).to(drawn.dtype) * (1 + real.tanh() / 2)


def random_calls(example: Arguments, count: int, seed: int) -> list[Call]:
    """`count` calls in the shapes of the example, with N(0, 1) in place of its floating-point tensors."""
    generator = torch.Generator().manual_seed(seed)
    return [example.filled([random_tensor(own, generator) for own in example.tensors]) for _ in range(count)]


def doubled(call: Call) -> Call:
    """The call with its floating-point tensors in float64 and its complex ones in complex128."""
    arguments = Arguments.of(*call)
    tensors = []
    for tensor in arguments.tensors:
        if tensor.is_complex():
            tensor = tensor.to(torch.complex128)
        elif tensor.is_floating_point():
            tensor = tensor.to(torch.float64)
        tensors.append(tensor)
    return arguments.filled(tensors)


# ---- running --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Trace:
    """Raw results of consecutive calls, and the values of the states after the last."""

    steps: tuple[Any, ...]
    states: dict[str, torch.Tensor]


class Runner:
    """Runs a network in eval mode, always from the state in which it was handed over. A context manager.

    double: convert a copy to float64 and run that, a large one op by op; else it runs in its own dtype.
    stateful: whether later answers depend on earlier calls.
    A network that cannot be copied is run itself, and everything that forward wrote is put back.
    Raises ModelRunError where `double` is asked for and the network cannot be copied, or where it fails.
    """

    def __init__(self, module: torch.nn.Module, *, double: bool = False) -> None:
        self.stateful = False
        self.double = double
        copied = _copy_if_possible(module)
        self._is_copy = copied is not None
        self._module = module if copied is None else copied
        self._snapshot: Snapshot | None = None
        self._isolated = Isolated(double=double)
        self._stack = ExitStack()

    def __enter__(self) -> Runner:
        if not self._is_copy:
            if self.double:
                raise ModelRunError("the network", "it cannot be copied", "judge it in its own dtype")
            self._stack.enter_context(untouched(self._module))
        _evaluate(self._module)
        if self.double and is_large(self._module):
            _widen_buffers(self._module)
            self._stack.enter_context(InFloat64())
        elif self.double:
            self._module.double()
        self._snapshot = Snapshot.of(self._module)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> torch.nn.Module:
        """The network in its starting state; what it draws begins anew."""
        self._isolated.reseed()
        if self._snapshot is not None:
            self._snapshot.restore()
        return self._module

    def run(
        self, calls: Sequence[Call], states: Mapping[str, TensorRepresentation] | None = None, *, turned: bool = False
    ) -> Trace:
        """Consecutive calls from the starting state s, or from T s where `turned`. Raises ModelRunError."""
        module = self.start()
        kept = {name: state_of(module, name) for name in states or {}}
        with torch.no_grad():
            if turned:
                for name, tensor in kept.items():
                    tensor.copy_(act((states or {})[name], tensor))
            steps = tuple(apart(self.call(module, call)) for call in calls)
        return Trace(steps, {name: state_of(module, name).detach().clone() for name in kept})

    def call(self, module: torch.nn.Module, call: Call) -> Any:
        """One call of a module that `start` gave, on copies of its tensors. Raises ModelRunError."""
        return self.answer(module, fresh(doubled(call) if self.double else call))

    def answer(self, module: torch.nn.Module, call: Call) -> Any:
        """The same on those very tensors, however they lie in memory. Raises ModelRunError."""
        args, kwargs = call
        try:
            with self._isolated:
                return module(*args, **kwargs)
        except Exception as error:
            precision = " in float64" if self.double else ""
            facts = f"it fails{precision}: {type(error).__name__}: {first_line(error)}"
            raise ModelRunError("the network", facts, "check the example inputs") from error

    def notice_state(self, call: Call, times: int = 2) -> bool:
        """Run the same call again and again; where the answers differ, forward writes: set and return `stateful`."""
        first, *others = (tree_flatten(step)[0] for step in self.run([call] * times).steps)
        equal = all(len(first) == len(other) and all(map(same, first, other)) for other in others)
        self.stateful = self.stateful or not equal
        return self.stateful


def apart(value: Any) -> Any:
    """Results in memory of their own: a network may return the very state that its next call writes."""
    return tree_map_only(torch.Tensor, torch.clone, value)


def _copy_if_possible(module: torch.nn.Module) -> torch.nn.Module | None:
    try:
        return copied(module)
    except Exception:  # some modules hold what cannot be copied: locks, non-leaf tensors, handles
        return None


def _widen_buffers(module: torch.nn.Module) -> None:
    for own in module.modules():
        for name, buffer in own.named_buffers(recurse=False):
            if buffer.is_floating_point():
                own.register_buffer(name, buffer.double(), name not in own._non_persistent_buffers_set)


def _evaluate(module: torch.nn.Module) -> None:
    try:
        module.eval()
    except NotImplementedError:  # an exported program has one mode only
        pass


def state_of(module: torch.nn.Module, name: str) -> torch.Tensor:
    """The buffer of that name. Raises UsageError where there is none."""
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part, None)
    if not isinstance(value, torch.Tensor):
        raise UsageError(f"state {name}", "the network has no tensor of that name", "name a buffer of the network")
    return value


def same(first: Any, second: Any) -> bool:
    """Whether two leaves of results are equal; tensors bit for bit, NaN equal to NaN."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return first.shape == second.shape and bool(torch.allclose(first, second, rtol=0, atol=0, equal_nan=True))
    try:
        return bool(first == second)
    except Exception:  # results that cannot be compared are no evidence of state
        return True
