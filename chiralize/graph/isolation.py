"""What one conversion keeps from the rest of the process: other threads notice nothing of it.

torch.export and tracing work on what all threads share, so conversions take turns (`exclusive`). While a network runs,
its random numbers and the dtype of the tensors that it makes come from a mode of this thread (`Isolated`); the
process's generator and its default dtype stay as they are.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

P = ParamSpec("P")
R = TypeVar("R")
SEED = 0
_WIDE = {torch.float32: torch.float64, torch.complex64: torch.complex128}
_FROM_NUMBERS = (torch.tensor, torch.as_tensor, torch.asarray)
_TURN = threading.RLock()
_LENT = threading.Lock()


# ---- turns --------------------------------------------------------------------------------------------------
def exclusive(function: Callable[P, R]) -> Callable[P, R]:
    """The function, run by one thread at a time together with all others that are wrapped; it may call them.

    What it makes is made on the CPU, whatever the caller's default device.
    """

    @functools.wraps(function)
    def in_turn(*args: P.args, **kwargs: P.kwargs) -> R:
        with _TURN, _made_on_the_cpu():
            return function(*args, **kwargs)

    return in_turn


def _made_on_the_cpu() -> contextlib.AbstractContextManager[Any]:
    """Where the caller has another default device (`with torch.device("meta")`), the CPU meanwhile, in this thread."""
    return torch.device("cpu") if torch.get_default_device().type != "cpu" else contextlib.nullcontext()


# ---- random numbers and the default dtype -------------------------------------------------------------------
class Isolated(TorchDispatchMode):
    """Within: ops of this thread draw from generators of its own and, if `double`, make float64 where no dtype is said.

    The process's generators and its default dtype are neither read nor changed. What a network makes with an explicit
    dtype keeps it. A context manager that may be entered again and again; it goes on drawing where it left off.
    """

    def __init__(self, *, double: bool = False, seed: int = SEED) -> None:
        super().__init__()
        self.double = double
        self.numbers = _Numbers(seed)
        self._from_numbers = _FromNumbers()

    def reseed(self, seed: int = SEED) -> None:
        """Begin to draw anew."""
        self.numbers = _Numbers(seed)

    def __enter__(self) -> Isolated:
        if self.double:
            self._from_numbers.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)
        if self.double:
            self._from_numbers.__exit__(*details)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        run = functools.partial(self.numbers.draw, func) if draws(func) else func
        value = run(*args, **kwargs)
        if self.double and isinstance(value, torch.Tensor) and value.dtype in _WIDE:
            if func is torch.ops.aten.lift_fresh.default:  # numbers in a legacy constructor; _written sees all others
                return value.to(_WIDE[value.dtype]) if not _written.depth else value
            if _takes_the_default(func, args, kwargs):
                return _made_wide(run, func, args, kwargs, value.dtype)
        return value


class _Written(threading.local):
    """How many torch functions this thread is in, as _FromNumbers sees them."""

    depth = 0


_written = _Written()


class _FromNumbers(TorchFunctionMode):
    """Tensors of written numbers are float64 where no dtype is said; ops do not see those numbers, this does."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        _written.depth += 1
        try:
            value = func(*args, **kwargs)
            if func in _FROM_NUMBERS and value.dtype in _WIDE and kwargs.get("dtype") is None:
                if isinstance(args[0] if args else None, (int, float, complex, list, tuple)):
                    return func(*args, **{**kwargs, "dtype": _WIDE[value.dtype]})
            return value
        finally:
            _written.depth -= 1


def _takes_the_default(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether nothing that an op is given says which floating-point dtype it is to make."""
    if kwargs.get("dtype") is not None:
        return func is torch.ops.aten.scalar_tensor.default  # a number beside tensors: `torch.where(x > 0, 1.0, 0.0)`
    leaves = tree_leaves((args, kwargs))
    given = (own.dtype for own in leaves if isinstance(own, torch.Tensor))
    if any(own.is_floating_point or own.is_complex for own in given):
        return False
    return not any(isinstance(own, torch.dtype) for own in leaves)


def _made_wide(run: Any, func: Any, args: Any, kwargs: Any, dtype: torch.dtype) -> Any:
    """The value of an op once more, in float64."""
    if any(argument.name == "dtype" for argument in func._schema.arguments):
        return run(*args, **{**kwargs, "dtype": _WIDE[dtype]})
    real = (torch.Tensor, lambda own: own.to(torch.float64))
    return run(*tree_map_only(*real, args), **tree_map_only(*real, kwargs))


@functools.cache
def draws(func: Any) -> bool:
    """Whether an op may read random numbers."""
    return torch.Tag.nondeterministic_seeded in func.tags


@functools.cache
def _with_generator(func: Any) -> Any:
    """The overload that takes a generator, None where there is none."""
    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func
    name = "generator" if func._overloadname == "default" else f"{func._overloadname}_generator"
    return getattr(func.overloadpacket, name, None)


class _Numbers:
    """Generators of a seed, one per device on which something is drawn."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.generators: dict[torch.device, torch.Generator] = {}

    def draw(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """What an op that draws makes, the process's generators as they were."""
        overload, device = _with_generator(func), _device_of(args, kwargs)
        if device.type == "meta":  # there is nothing to draw
            return func(*args, **kwargs)
        if overload is None:
            return self._from_the_shared_one(device, func, *args, **kwargs)
        if not any(isinstance(own, torch.Generator) for own in (*args, *kwargs.values())):
            kwargs = {**kwargs, "generator": self._generator(device)}
            return overload(*args, **kwargs)
        return func(*args, **kwargs)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device]

    def _from_the_shared_one(self, device: torch.device, func: Any, *args: Any, **kwargs: Any) -> Any:
        """For ops that take no generator: the process's own is lent for as long as the op runs."""
        shared = _shared_generator(device)
        if shared is None:
            return func(*args, **kwargs)
        own = self._generator(device)
        with _LENT:
            before = shared.get_state()
            shared.set_state(own.get_state())
            try:
                return func(*args, **kwargs)
            finally:
                own.set_state(shared.get_state())
                shared.set_state(before)


def _device_of(args: Any, kwargs: Any) -> torch.device:
    tensors = [own for own in tree_leaves((args, kwargs)) if isinstance(own, torch.Tensor)]
    return tensors[0].device if tensors else torch.device(kwargs.get("device") or "cpu")


def _shared_generator(device: torch.device) -> torch.Generator | None:
    if device.type == "cpu":
        return torch.default_generator
    if device.type == "cuda":
        return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    return None
