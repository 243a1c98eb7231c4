"""Running a network on inputs and on mirrored inputs, without leaving a trace on it.

All that compares answers runs networks here: verdicts, gaps, distances from the flip average. What is run is a deep
copy in eval mode, always from the state in which the network was handed over, with random numbers of its own:

    with Runner(net, double=True) as runner:
        y, y_of_image = runner.run([call]).steps[0], runner.run([mirror.turned(call)]).steps[0]
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_map, tree_map_only, tree_unflatten

from chiralize.errors import ModelRunError, UsageError
from chiralize.errors.words import first_line, when
from chiralize.graph.devices import CPU, Staying, device_of
from chiralize.graph.quiet import quiet
from chiralize.symmetry.action import Center, act
from chiralize.symmetry.representation import TensorRepresentation

Call = tuple[tuple[Any, ...], dict[str, Any]]
Holder = TypeVar("Holder")


# ---- arguments and results as flat lists of tensors -----------------------------------------------------------
@dataclass(frozen=True)
class Arguments:
    """The arguments of one call as a flat list of leaves, and how to put them together again."""

    leaves: tuple[Any, ...]
    structure: TreeSpec

    @staticmethod
    def of(args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> Arguments:
        """Take the arguments of a call apart."""
        leaves, structure = tree_flatten((tuple(args), dict(kwargs or {})))
        return Arguments(tuple(leaves), structure)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The leaves that are tensors, in order: these are the inputs that a NetworkMirror describes."""
        return tuple(leaf for leaf in self.leaves if isinstance(leaf, Tensor))

    def filled(self, tensors: Sequence[Tensor]) -> Call:
        """The same call with other tensors."""
        rest = iter(tensors)
        leaves = list(self.leaves)
        for index, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                leaves[index] = next(rest)
        args, kwargs = tree_unflatten(leaves, self.structure)
        return args, kwargs


def tensors_in(values: Any) -> list[Tensor]:
    """The tensors within nested lists, tuples and dictionaries, in order."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def in_rows(tensor: Tensor, is_single: bool) -> Tensor:
    """An input or an output of one call as "sample entry...".

    is_single: a call is one sample, so that no axis counts samples; nor does one of a number without axes.
    """
    if is_single or not tensor.ndim:
        return tensor[None]
    return tensor


def doubled(call: Call) -> Call:
    """The call with its floating-point tensors in float64 and its complex ones in complex128."""
    return tree_map_only(Tensor, _in_float64, call)


def _in_float64(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.to(torch.float64) if tensor.is_floating_point() else tensor


def mirrored(call: Call, representations: Sequence[TensorRepresentation], centers: Sequence[Center] = ()) -> Call:
    """The call on T x. centers: of every tensor, where T is affine.

    Raises UsageError where the number of tensors differs from the number of representations.
    """
    arguments = Arguments.of(*call)
    tensors = arguments.tensors
    check_count("the example inputs", tensors, representations)
    # T, the tensor, and c where T is affine, for every input.
    turns = zip(representations, tensors, centers or [None] * len(tensors), strict=True)
    return arguments.filled([act(tensor, representation, center) for representation, tensor, center in turns])


def check_count(where: str, tensors: Sequence[Tensor], representations: Sequence[TensorRepresentation]) -> None:
    """Raises UsageError unless there is a representation for every tensor. where: `the results`, say."""
    if len(tensors) != len(representations):
        facts = f"{len(tensors)} tensors, but the mirror describes {len(representations)}"
        raise UsageError(where, facts, "describe every tensor among them, in order")


def results(value: Any) -> tuple[list[Tensor], list[Any]]:
    """(tensors among the flattened results, the other leaves), either in order."""
    others = [leaf for leaf in tree_leaves(value) if not isinstance(leaf, Tensor)]
    return tensors_in(value), others


def apart(value: Any) -> Any:
    """Arguments or results with copies of their tensors.

    Some networks write into what they are given, or return the very state that their next call writes.
    """
    return tree_map_only(Tensor, torch.clone, value)


def same(first: Any, second: Any) -> bool:
    """Whether two leaves of results are equal; tensors bit for bit, NaN equal to NaN."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and bool(torch.allclose(first, second, rtol=0, atol=0, equal_nan=True))
    try:
        return bool(first == second)
    except Exception:  # results that cannot be compared are no evidence of state
        return True


# ---- random inputs --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Around:
    """Where random inputs lie: about 0, or about `centers`, as far as `spreads`, where T is affine."""

    centers: Sequence[Center] = ()
    spreads: Sequence[Center] = ()

    def __str__(self) -> str:
        affine = any(center is not None for center in self.centers)
        return f"N({'c, c/2' if affine else '0, 1'}) in the shape of the example"


def placed(call: Call, around: Around) -> Call:
    """A call drawn from N(0, 1), moved to where inputs live: center + spread x."""
    arguments = Arguments.of(*call)
    tensors = list(arguments.tensors)
    for index, (center, spread) in enumerate(zip(around.centers, around.spreads, strict=True)):
        drawn = tensors[index]
        if center is not None and spread is not None and drawn.is_floating_point():
            # Coordinates in pixels, say: N(320, 160) in place of N(0, 1).
            at = torch.from_numpy(center).to(drawn.device, drawn.dtype)
            tensors[index] = at + torch.from_numpy(spread).to(drawn.device, drawn.dtype) * drawn
    return arguments.filled(tensors)


def random_tensor(like: Tensor, generator: torch.Generator, shape: Sequence[int] | None = None) -> Tensor:
    """N(0, 1) in the dtype of `like`, in its shape or another of as many axes; integers and booleans are repeated."""
    shape = tuple(like.shape if shape is None else shape)
    if like.is_floating_point() or like.is_complex():
        # Drawn in double precision and rounded, so that networks of all precisions get the same numbers, to rounding.
        wide = torch.complex128 if like.is_complex() else torch.float64
        return torch.randn(shape, generator=generator, dtype=wide).to(like.device, like.dtype)
    return repeated(like, shape)


def repeated(like: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor cut or repeated to another shape of as many axes: (a b) to five entries is (a b a b a)."""
    for axis, size in enumerate(shape):
        if size != like.shape[axis]:
            like = like.index_select(axis, torch.arange(size, device=like.device) % max(like.shape[axis], 1))
    return like


def resized(call: Call, axes: Sequence[Mapping[int, str]], sizes: Mapping[str, int]) -> Call:
    """The call with its tensors cut or repeated to other sizes. axes: of every tensor, words; sizes: by word."""
    arguments = Arguments.of(*call)
    tensors = []
    for tensor, words in zip(arguments.tensors, axes, strict=True):
        shape = list(tensor.shape)
        for axis, word in words.items():
            shape[axis] = sizes.get(word, shape[axis])
        tensors.append(repeated(tensor, shape))
    return arguments.filled(tensors)


def random_calls(example: Arguments, count: int, seed: int) -> list[Call]:
    """`count` calls in the shapes of the example, with N(0, 1) in place of its floating-point tensors."""
    generator = torch.Generator().manual_seed(seed)
    calls = []
    for _ in range(count):
        calls.append(example.filled([random_tensor(tensor, generator) for tensor in example.tensors]))
    return calls


# ---- copies ---------------------------------------------------------------------------------------------------
def copied(module: nn.Module) -> nn.Module:
    """A deep copy, which may be run, moved to another dtype and given other parameters.

    Results of an earlier call that a module keeps (its last attention) are copied without their history. Raises
    ModelRunError where something in the network cannot be copied.
    """
    return replaced(module, {})


def replaced(holder: Holder, values: Mapping[Tensor, Tensor]) -> Holder:
    """A deep copy of a network or a program with some tensors replaced, which are not copied first.

    values: the new tensors, by the tensors that they replace.  Raises ModelRunError as `copied` does.
    """
    memo: dict[int, Any] = {}
    # deepcopy looks into this table first, so these tensors are taken as their own copies and never copied.
    if isinstance(holder, nn.Module):
        memo = {id(tensor): tensor.detach().clone() for tensor in _with_history(holder)}
    for old, value in values.items():
        memo[id(old)] = nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value
    try:
        # torch copies its own trees in a way that it warns about, and TorchScript by ops that gradients flow through.
        with quiet(), torch.no_grad():
            return copy.deepcopy(holder, memo)
    except Exception as error:
        where = "the network" if isinstance(holder, nn.Module) else "the program"
        facts = f"it cannot be copied: {type(error).__name__}: {first_line(error)}"
        raise ModelRunError(
            where, facts, "make it copyable (copy.deepcopy), or keep it outside of the network"
        ) from error


def _with_history(module: nn.Module) -> Iterator[Tensor]:
    """The tensors that autograd made among the attributes of a network's parts, lists of them included."""
    for part in module.modules():
        attributes = {name: value for name, value in vars(part).items() if name != "_modules"}
        yield from (tensor for tensor in tensors_in(attributes) if not tensor.is_leaf)


def unwrapped(model: nn.Module) -> nn.Module:
    """The network within wrappers, one around another or none.

    Those of `torch.compile`, (Distributed)DataParallel and AveragedModel give all names a prefix and compute nothing.
    """
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel, torch.optim.swa_utils.AveragedModel)
    while True:
        if isinstance(model, wrappers):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


# ---- running --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Trace:
    """The results of consecutive calls, and the values of the states after the last."""

    steps: tuple[Any, ...]
    states: dict[str, Tensor]


class Runner:
    """Runs a deep copy of a network in eval mode, always from the state in which it was handed over. A context manager.

    double: the copy runs in float64; else in the network's own dtype.
    Raises ModelRunError where the network cannot be copied, or where it fails.
    """

    def __init__(self, module: nn.Module, *, double: bool = False) -> None:
        self.double = double
        self._module = copied(module)
        _evaluate(self._module)
        if double:
            widen(self._module)
        self._remembered = _Remembered(self._module)
        self._devices = [device.index for device in [device_of(module)] if device.type == "cuda"]
        # Modes that watch every function of torch slow a small network down several times: only a network that fails
        # without `Staying` runs under it.
        self._stays = False
        self._numbers: list[Tensor] | None = None

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._numbers = None

    def start(self) -> nn.Module:
        """The copy in its starting state, about to draw the same random numbers again."""
        self._remembered.restore()
        self._numbers = None
        return self._module

    def run(
        self, calls: Sequence[Call], states: Mapping[str, TensorRepresentation] | None = None, *, turned: bool = False
    ) -> Trace:
        """Consecutive calls from the starting state s, or from T s where `turned`. Raises ModelRunError."""
        module = self.start()
        states = states or {}
        with torch.no_grad():
            if turned:
                for name, representation in states.items():
                    # In place: the network reads the buffer that it holds.
                    state = state_of(module, name)
                    state.copy_(act(state, representation))
            steps = tuple(apart(self.call(module, call)) for call in calls)
        return Trace(steps, {name: state_of(module, name).detach().clone() for name in states})

    def call(self, module: nn.Module, call: Call) -> Any:
        """One call of a module that `start` gave, on copies of its tensors. Raises ModelRunError."""
        call = doubled(call) if self.double else call
        is_first = self._numbers is None
        try:
            return self._answer(module, apart(call))
        except Exception as error:
            if is_first and not self._stays and device_of(module) == CPU:
                self._stays = True
                self.start()
                return self.call(module, call)
            precision = when(self.double, " in float64")
            facts = f"it fails{precision}: {type(error).__name__}: {first_line(error)}"
            raise ModelRunError("the network", facts, "check the example inputs") from error

    def _answer(self, module: nn.Module, call: Call) -> Any:
        args, kwargs = call
        with ExitStack() as stack:
            stack.enter_context(self._own_numbers())
            if self.double:
                stack.enter_context(default_dtype(torch.float64))
            if self._stays:
                stack.enter_context(Staying())
            return module(*args, **kwargs)

    @contextmanager
    def _own_numbers(self) -> Iterator[None]:
        """Within, random numbers go on where the last call since `start` ended; the process's are as before behind."""
        with torch.random.fork_rng(self._devices):
            if self._numbers is None:
                torch.manual_seed(0)
            else:
                torch.set_rng_state(self._numbers[0])
                for device, numbers in zip(self._devices, self._numbers[1:], strict=True):
                    torch.cuda.set_rng_state(numbers, device)
            yield
            self._numbers = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._devices)]

    def keeps_state(self, call: Call, times: int = 2) -> bool:
        """Whether the same call, run again and again, gets answers that differ: they depend on earlier calls."""
        first, *others = map(tree_leaves, self.run([call] * times).steps)
        return not all(len(first) == len(other) and all(map(same, first, other)) for other in others)


class _Remembered:
    """What the parts of a network held: buffers and plain attributes, and the numbers in those that are tensors."""

    def __init__(self, module: nn.Module) -> None:
        self.attributes: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.scripts: list[tuple[nn.Module, str, Tensor]] = []
        self.numbers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
        for part in module.modules():
            if isinstance(part, torch.jit.ScriptModule):
                self.scripts += [(part, name, buffer) for name, buffer in part.named_buffers(recurse=False)]
            else:
                self.attributes += [(holder, dict(holder)) for holder in (vars(part), vars(part)["_buffers"])]
                plain = [value for value in vars(part).values() if type(value) is Tensor]
                self.numbers += [(tensor, tensor.detach().clone()) for tensor in plain]

    def restore(self) -> None:
        """Put everything back: first which tensor is where, then its numbers."""
        for holder, before in self.attributes:
            holder.clear()
            holder.update(before)
        for part, name, buffer in self.scripts:
            setattr(part, name, buffer)
        with torch.no_grad():
            for tensor, numbers in self.numbers:
                tensor.copy_(numbers)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Within, numbers are made in this dtype where nobody says which."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def widen(module: nn.Module) -> None:
    """Make a network float64, in place: weights, tensors in plain attributes, and the casts to float32 in its graphs.

    An export writes `x.to(float32)` where a network of float32 wrote `x.to(h.dtype)`.
    """
    module.double()
    for part in module.modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue
        for name, value in vars(part).items():
            if type(value) is Tensor:
                vars(part)[name] = _in_float64(value)
        if isinstance(part, torch.fx.GraphModule):
            for node in part.graph.nodes:
                node.args, node.kwargs = tree_map(_wider, node.args), tree_map(_wider, node.kwargs)
            part.recompile()


def _wider(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


def _evaluate(module: nn.Module) -> None:
    try:
        module.eval()
    except NotImplementedError:  # an exported program has one mode only
        pass


def state_of(module: nn.Module, name: str) -> Tensor:
    """The buffer of that name. Raises UsageError where there is none."""
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part, None)
    if not isinstance(value, Tensor):
        raise UsageError(f"state {name}", "the network has no tensor of that name", "name a buffer of the network")
    return value
