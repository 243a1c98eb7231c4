"""Running a network on inputs and on mirrored inputs, without leaving a trace on it.

All that compares answers runs networks here: verdicts, gaps, distances from the flip average. Every run starts from
the state that the network was handed over in. Afterwards buffers and training flags are as the caller left them;
random numbers and the default dtype are the run's own. Only T_in, T_out and the network are used:

    with Runner(net, double=True) as runner:
        y, y_of_image = runner.run([call]).steps[0], runner.run([mirror.turned(call)]).steps[0]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from chiralize.errors import ModelRunError, UsageError
from chiralize.errors.words import first_line, when
from chiralize.graph.copies import InFloat64, copied, is_large
from chiralize.graph.modes import Modes
from chiralize.graph.snapshot import Snapshot, untouched
from chiralize.graph.tensors import tensors_in
from chiralize.graph.widening import widen
from chiralize.symmetry.action import Center, act
from chiralize.symmetry.representation import TensorRepresentation

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Around:
    """Where random inputs lie: about 0; about `centers`, as far as `spreads`, where T is affine; or `near` examples.

    near: by input, an example where the network takes no numbers far from it, since it has logarithms or roots of
    them; None for the other inputs. Empty where the network takes any numbers.
    """

    centers: Sequence[Center] = ()
    spreads: Sequence[Center] = ()
    near: Sequence[torch.Tensor | None] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for a report, where random inputs are not N(0, 1)."""
        if self.near:
            return (f"random inputs are {self}: N(0, 1) is more than the network takes",)
        return ()

    def __str__(self) -> str:
        if self.near:
            near = [str(index) for index, example in enumerate(self.near) if example is not None]
            others = when(len(near) < len(self.near), ", the others N(0, 1)")
            return f"the examples, each number of input {', '.join(near)} times 0.5 to 1.5{others}"
        affine = any(center is not None for center in self.centers)
        return f"N({'c, c/2' if affine else '0, 1'}) in the shape of the example"


def placed(call: Call, around: Around) -> Call:
    """A call drawn from N(0, 1), moved to where inputs live: center + spread x, or example (1 + tanh(x) / 2)."""
    centers, spreads = around.centers, around.spreads
    if not around.near and not any(center is not None for center in centers):
        return call
    arguments = Arguments.of(*call)
    tensors = list(arguments.tensors)
    # Examples that are near: only inputs that need them are moved, by factors of 0.5 to 1.5.
    if around.near:
        for index, (drawn, example) in enumerate(zip(arguments.tensors, around.near, strict=True)):
            if example is not None:
                tensors[index] = _near(drawn, example)
        return arguments.filled(tensors)
    for index, (center, spread) in enumerate(zip(centers, spreads, strict=True)):
        if center is None or spread is None or not tensors[index].is_floating_point():
            continue
        drawn = tensors[index]
        # Coordinates in pixels, say: N(320, 160) in place of N(0, 1).
        at = torch.from_numpy(center).to(drawn.device, drawn.dtype)
        width = torch.from_numpy(spread).to(drawn.device, drawn.dtype)
        tensors[index] = at + width * drawn
    return arguments.filled(tensors)


# ---- arguments and results as flat lists of tensors -----------------------------------------------------------
@dataclass(frozen=True)
class Arguments:
    """The arguments of one call as a flat list of leaves, and how to put them together again."""

    leaves: tuple[Any, ...]
    structure: TreeSpec

    @staticmethod
    def of(args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> Arguments:
        """Take the arguments of a call apart."""
        if not kwargs and all(type(argument) is torch.Tensor for argument in args):
            # Nearly all calls: one cached structure, which `filled` knows by its identity, saves two walks over trees.
            return Arguments(tuple(args), _of_tensors(len(args)))
        leaves, structure = tree_flatten((tuple(args), dict(kwargs or {})))
        return Arguments(tuple(leaves), structure)

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """The leaves that are tensors, in order: these are the inputs that a NetworkMirror describes."""
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, torch.Tensor))

    def filled(self, tensors: Sequence[torch.Tensor]) -> Call:
        """The same call with other tensors."""
        rest = iter(tensors)
        leaves = list(self.leaves)
        for index, leaf in enumerate(leaves):
            if isinstance(leaf, torch.Tensor):
                leaves[index] = next(rest)
        # Positional tensors alone, as `of` marks them: nothing to nest.
        if self.structure is _of_tensors(len(leaves)):
            return tuple(leaves), {}
        args, kwargs = tree_unflatten(leaves, self.structure)
        return args, kwargs


@cache
def _of_tensors(count: int) -> TreeSpec:
    """How a call of so many tensors is put together, and of nothing else."""
    return tree_flatten(((0,) * count, {}))[1]


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
    # T, the tensor, and c where T is affine, for every input.
    turns = zip(representations, tensors, centers or [None] * len(tensors), strict=True)
    return arguments.filled([act(tensor, representation, center) for representation, tensor, center in turns])


def results(value: Any) -> tuple[list[torch.Tensor], list[Any]]:
    """(tensors among the flattened results, the other leaves), either in order."""
    others = [leaf for leaf in tree_leaves(value) if not isinstance(leaf, torch.Tensor)]
    return tensors_in(value), others


def check_outputs(tensors: Sequence[torch.Tensor], representations: Sequence[TensorRepresentation]) -> None:
    """Raises UsageError unless there is a representation for every tensor."""
    if len(tensors) != len(representations):
        raise UsageError(
            "the results",
            f"{len(tensors)} tensors, but the mirror describes {len(representations)} outputs",
            "describe every tensor among the results, in order",
        )


def random_tensor(like: torch.Tensor, generator: torch.Generator, shape: Sequence[int] | None = None) -> torch.Tensor:
    """N(0, 1) in the dtype of `like`, in its shape or another of as many axes; integers and booleans are repeated."""
    shape = tuple(like.shape if shape is None else shape)
    if like.is_floating_point() or like.is_complex():
        # Drawn in double precision and rounded, so that networks of all precisions get the same numbers, to rounding.
        wide = torch.complex128 if like.is_complex() else torch.float64
        return torch.randn(shape, generator=generator, dtype=wide).to(like.device, like.dtype)
    return _repeated(like, shape)


def _repeated(like: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """A tensor cut or repeated to another shape of as many axes: (a b) to five entries is (a b a b a)."""
    for axis, size in enumerate(shape):
        if size != like.shape[axis]:
            like = like.index_select(axis, torch.arange(size, device=like.device) % max(like.shape[axis], 1))
    return like


def _near(drawn: torch.Tensor, example: torch.Tensor) -> torch.Tensor:
    """The example with each number times 0.5 to 1.5, by what was drawn for it."""
    if not (drawn.is_floating_point() or drawn.is_complex()):
        return drawn
    real = drawn.real if drawn.is_complex() else drawn
    return _repeated(example, drawn.shape).to(drawn.dtype) * (1 + real.tanh() / 2)


def random_calls(example: Arguments, count: int, seed: int) -> list[Call]:
    """`count` calls in the shapes of the example, with N(0, 1) in place of its floating-point tensors."""
    generator = torch.Generator().manual_seed(seed)
    calls = []
    for _ in range(count):
        calls.append(example.filled([random_tensor(tensor, generator) for tensor in example.tensors]))
    return calls


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
    """The results of consecutive calls, and the values of the states after the last."""

    steps: tuple[Any, ...]
    states: dict[str, torch.Tensor]


class Runner:
    """Runs a network in eval mode, always from the state in which it was handed over. A context manager.

    double: run a copy in float64, a large one op by op; else the network runs in its own dtype.
    A network that cannot be copied is run itself, and everything that forward wrote is put back; likewise where
    `itself` asks for it, which saves the copy of a graph.
    Raises ModelRunError where `double` is asked for and the network cannot be copied, or where it fails.
    """

    def __init__(self, module: torch.nn.Module, *, double: bool = False, itself: bool = False) -> None:
        self.double = double
        # A copy is run where there can be one; else the network itself, and what it wrote is put back.
        copied = None if itself else _copy_if_possible(module)
        self._is_copy = copied is not None
        self._module = module if copied is None else copied
        self._snapshot: Snapshot | None = None
        self._modes = Modes(self._module, double=double)
        self._stack = ExitStack()

    def __enter__(self) -> Runner:
        if not self._is_copy:
            if self.double:
                raise ModelRunError("the network", "it cannot be copied", "judge it in its own dtype")
            # With no copy the network is left as it was when the context ends, also after an error.
            self._stack.enter_context(untouched(self._module))
        _evaluate(self._module)
        # A large network is not doubled in memory: buffers are, parameters op by op while they are read.
        if self.double and is_large(self._module):
            _widen_buffers(self._module)
            self._stack.enter_context(InFloat64())
        elif self.double:
            widen(self._module)
        # Behind the changes above, so that `start` brings back the state in float64 and in eval mode.
        self._snapshot = Snapshot.of(self._module)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> torch.nn.Module:
        """The network in its starting state, about to draw the same random numbers again."""
        self._modes.reseed()
        if self._snapshot is not None:
            self._snapshot.restore()
        return self._module

    def run(
        self, calls: Sequence[Call], states: Mapping[str, TensorRepresentation] | None = None, *, turned: bool = False
    ) -> Trace:
        """Consecutive calls from the starting state s, or from T s where `turned`. Raises ModelRunError."""
        # The first run may show that the modes have nothing to do (or, bare, that they had): then it is made again,
        # so that all runs that are compared are made in one way.
        trace = self._run(calls, states, turned)
        if self._modes.settle():
            trace = self._run(calls, states, turned)
        return trace

    def _run(self, calls: Sequence[Call], states: Mapping[str, TensorRepresentation] | None, turned: bool) -> Trace:
        """The calls once, in whichever way runs are made by now."""
        module = self.start()
        states = states or {}
        # The states themselves, not copies: they are turned in place, and read again after the last call.
        starts = {name: state_of(module, name) for name in states}
        with torch.no_grad():
            if turned:
                for name, tensor in starts.items():
                    # In place: the network reads the buffer that it holds.
                    tensor.copy_(act(tensor, states[name]))
            steps = tuple(apart(self.call(module, call)) for call in calls)
        return Trace(steps, {name: state_of(module, name).detach().clone() for name in starts})

    def call(self, module: torch.nn.Module, call: Call) -> Any:
        """One call of a module that `start` gave, on copies of its tensors. Raises ModelRunError."""
        return self.answer(module, fresh(doubled(call) if self.double else call))

    def answer(self, module: torch.nn.Module, call: Call) -> Any:
        """One call on the very tensors given, in their layout in memory. Raises ModelRunError."""
        args, kwargs = call
        try:
            with self._modes:
                return module(*args, **kwargs)
        except Exception as error:
            precision = when(self.double, " in float64")
            facts = f"it fails{precision}: {type(error).__name__}: {first_line(error)}"
            raise ModelRunError("the network", facts, "check the example inputs") from error

    def keeps_state(self, call: Call, times: int = 2) -> bool:
        """Whether the same call, run again and again, gets answers that differ: they depend on earlier calls."""
        first, *others = map(tree_leaves, self.run([call] * times).steps)
        return not all(len(first) == len(other) and all(map(same, first, other)) for other in others)


def apart(value: Any) -> Any:
    """Results with copies of their tensors: a network may return the very state that its next call writes."""
    return tree_map_only(torch.Tensor, torch.clone, value)


def _copy_if_possible(module: torch.nn.Module) -> torch.nn.Module | None:
    """A copy of a network, or None."""
    try:
        return copied(module)
    except Exception:  # some modules hold what cannot be copied: locks, non-leaf tensors, handles
        return None


def _widen_buffers(module: torch.nn.Module) -> None:
    """Make floating-point buffers float64, each in its place, persistent or not as it was."""
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.is_floating_point():
                part.register_buffer(name, buffer.double(), name not in part._non_persistent_buffers_set)


def _evaluate(module: torch.nn.Module) -> None:
    """Put a network into eval mode, where it has one."""
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
