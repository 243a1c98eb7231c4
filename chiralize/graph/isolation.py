"""How one conversion is kept apart from the rest of the process, so that other threads notice nothing of it.

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

from chiralize.graph.silence import log_filters
from chiralize.graph.tensors import tensors_in

P = ParamSpec("P")
R = TypeVar("R")
SEED = 0
_WIDE = {torch.float32: torch.float64, torch.complex64: torch.complex128}
_FROM_NUMBERS = (torch.tensor, torch.as_tensor, torch.asarray)
_TURN = threading.RLock()
_LENT = threading.Lock()


# ---- turns --------------------------------------------------------------------------------------------------
def exclusive(function: Callable[P, R]) -> Callable[P, R]:
    """The function, taking turns between threads with all others wrapped so; one wrapped function may call another.

    New tensors are on the CPU, whatever the caller's default device.
    """

    @functools.wraps(function)
    def in_turn(*args: P.args, **kwargs: P.kwargs) -> R:
        """Wait until no other thread runs a wrapped function, then run."""
        with turn(), _made_on_the_cpu(), log_filters:
            return function(*args, **kwargs)

    return in_turn


def turn() -> contextlib.AbstractContextManager[Any]:
    """Context that one thread at a time is in, which may enter it again within; it waits for wrapped functions, too.

    For contexts that change what all threads share. Two that overlap would each put back what the other changed.
    """
    return _TURN


def _made_on_the_cpu() -> contextlib.AbstractContextManager[Any]:
    """Context that makes new tensors on the CPU in this thread, whatever default device the caller set
    (`torch.device("meta")`).
    """
    if torch.get_default_device().type != "cpu":
        return torch.device("cpu")
    return contextlib.nullcontext()


# ---- random numbers and the default dtype -------------------------------------------------------------------
class Isolated(TorchDispatchMode):
    """Within: ops of this thread draw random numbers from generators of its own. If `double`, new tensors are float64
    where the network gives no dtype.

    The process's generators and its default dtype are neither read nor changed. A tensor made with an explicit dtype
    keeps it. A context manager that may be entered again and again; it goes on drawing where it left off.
    """

    def __init__(self, *, double: bool = False, seed: int = SEED) -> None:
        super().__init__()
        self.double = double
        self._acted = False
        # Generators are made when a device is first drawn on.
        self.numbers = _Numbers(seed)
        self._from_numbers = _FromNumbers()

    @property
    def acted(self) -> bool:
        """Whether any op so far drew random numbers or was given another dtype."""
        return self._acted or self._from_numbers.acted

    def reseed(self) -> None:
        """Draw the same numbers again from here on."""
        self.numbers = _Numbers(SEED)

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
        # Numbers come from generators of this mode, whatever the process's own are at.
        if draws(func):
            self._acted = True
            run = functools.partial(self.numbers.draw, func)
        else:
            run = func
        value = run(*args, **kwargs)
        if self.double and isinstance(value, torch.Tensor) and value.dtype in _WIDE:
            # Tensors made of Python numbers pass here. Within a torch function `_FromNumbers` sees the call and makes
            # it again in float64; `torch.Tensor([1.0])` is none, so it is widened here.
            if func is torch.ops.aten.lift_fresh.default:
                if _written.depth:
                    return value
                self._acted = True
                return value.to(_WIDE[value.dtype])
            # Nothing said float32 (`torch.zeros(3)`): the default dtype decided, and the default of this run is
            # float64.
            if _takes_the_default(func, args, kwargs):
                self._acted = True
                return _made_wide(run, func, args, kwargs, value.dtype)
        return value


class _Written(threading.local):
    """How many torch functions this thread is in, as _FromNumbers sees them."""

    depth = 0


_written = _Written()


class _FromNumbers(TorchFunctionMode):
    """Context in which tensors made of Python numbers are float64 where no dtype is given.

    `Isolated` sees ops, and no op gets these numbers; here the call of the torch function is seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.acted = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        _written.depth += 1
        try:
            value = func(*args, **kwargs)
            if func in _FROM_NUMBERS and value.dtype in _WIDE and kwargs.get("dtype") is None:
                # Of an array or a tensor the dtype is that of its numbers, which somebody chose.
                if isinstance(args[0] if args else None, (int, float, complex, list, tuple)):
                    self.acted = True
                    return func(*args, **{**kwargs, "dtype": _WIDE[value.dtype]})
            return value
        finally:
            _written.depth -= 1


def _takes_the_default(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether an op returns the default dtype: none of its arguments determines the floating-point dtype."""
    if kwargs.get("dtype") is not None:
        return func is torch.ops.aten.scalar_tensor.default  # a number beside tensors: `torch.where(x > 0, 1.0, 0.0)`
    # A dtype among the arguments, or a floating-point tensor, whose dtype the result has.
    for leaf in tree_leaves((args, kwargs)):
        if isinstance(leaf, torch.dtype):
            return False
        if isinstance(leaf, torch.Tensor) and (leaf.dtype.is_floating_point or leaf.dtype.is_complex):
            return False
    return True


def _made_wide(run: Any, func: Any, args: Any, kwargs: Any, dtype: torch.dtype) -> Any:
    """The value of an op once more, in float64."""
    if _takes(func, "dtype"):
        return run(*args, **{**kwargs, "dtype": _WIDE[dtype]})
    # Ops without a dtype, such as a division of whole numbers: they take float64 from their operands.
    args, kwargs = tree_map_only(torch.Tensor, lambda tensor: tensor.to(torch.float64), (args, kwargs))
    return run(*args, **kwargs)


def _takes(func: Any, name: str) -> bool:
    """Whether an op has an argument of that name."""
    return any(argument.name == name for argument in func._schema.arguments)


@functools.cache
def draws(func: Any) -> bool:
    """Whether an op may read random numbers."""
    return torch.Tag.nondeterministic_seeded in func.tags


@functools.cache
def _with_generator(func: Any) -> Any:
    """The overload that takes a generator, None where the op has none."""
    if _takes(func, "generator"):
        return func
    if func._overloadname == "default":
        name = "generator"
    else:
        name = f"{func._overloadname}_generator"
    return getattr(func.overloadpacket, name, None)


class _Numbers:
    """Generators of one seed, one per device on which numbers are drawn."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.generators: dict[torch.device, torch.Generator] = {}

    def draw(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """The result of an op that draws random numbers; the process's generators stay as they were."""
        # The overload of the op that takes a generator (`randn.generator` for `randn`), if torch has one.
        overload, device = _with_generator(func), _device_of(args, kwargs)
        if device.type == "meta":  # there is nothing to draw
            return func(*args, **kwargs)
        if overload is None:
            return self._from_the_shared_one(device, func, *args, **kwargs)
        # A generator that the network gives by itself is its own, and is used as it is.
        if not any(isinstance(argument, torch.Generator) for argument in (*args, *kwargs.values())):
            kwargs = {**kwargs, "generator": self._generator(device)}
            return overload(*args, **kwargs)
        return func(*args, **kwargs)

    def _generator(self, device: torch.device) -> torch.Generator:
        """The generator for a device, made when it is first drawn on."""
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device]

    def _from_the_shared_one(self, device: torch.device, func: Any, *args: Any, **kwargs: Any) -> Any:
        """For ops that take no generator: the process's own is lent for as long as the op runs."""
        shared = _shared_generator(device)
        if shared is None:
            return func(*args, **kwargs)
        ours = self._generator(device)
        # One op at a time over all threads: meanwhile the process's generator holds our state.
        with _LENT:
            before = shared.get_state()
            shared.set_state(ours.get_state())
            try:
                return func(*args, **kwargs)
            finally:
                ours.set_state(shared.get_state())
                shared.set_state(before)


def _device_of(args: Any, kwargs: Any) -> torch.device:
    """The device that an op draws on: that of its first tensor, else the one that it is given."""
    tensors = tensors_in((args, kwargs))
    if tensors:
        return tensors[0].device
    return torch.device(kwargs.get("device") or "cpu")


def _shared_generator(device: torch.device) -> torch.Generator | None:
    """The process's own generator for a device, None where torch has none that all share."""
    if device.type == "cpu":
        return torch.default_generator
    if device.type == "cuda":
        return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    return None
