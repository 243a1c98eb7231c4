"""What a network answers to inputs of given sizes, tried on fake tensors: they have sizes and no numbers.

`Search` asks hundreds of times whether sizes fit.  torch's FakeTensorMode runs forward on shapes alone, in
milliseconds, and raises where they do not go together.  Where it cannot tell (`.item()`, numpy), real tensors are run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)

from chiralize.errors.words import first_line
from chiralize.graph.copies import is_large
from chiralize.graph.isolation import Isolated
from chiralize.graph.running import Call, results
from chiralize.graph.silence import quiet
from chiralize.graph.snapshot import Snapshot
from chiralize.graph.staying import Staying
from chiralize.graph.while_capturing import recurrent_shapes

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]
Arrange = Callable[[Sequence[Tensor]], Call]
"""Puts the tensors of a call where the network wants them."""
_NOT_ABOUT_SIZES = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
_WORDS = ("fake", "numpy", "meta ", "data-dependent", "symbolic")
"""Words in messages of fake tensors about what fake tensors cannot do. Such a message does not mean that sizes are
wrong.
"""


class Trial:
    """Runs a network on sizes; every answer is remembered. The network is left as it was.

    module: a copy in eval mode, on the CPU.  failures: why it refused sizes, in a line.  is_fake: until fake tensors
    turn out to be no use.

    Fake tensors are not only cheap: kernels (of an LSTM above all) that check nothing would read past the end of real
    ones.  Real tensors are for what only numbers decide, and to confirm the one reading that is taken.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.module = module
        self.dtype = dtype
        self.failures: dict[Shapes, str] = {}
        self.is_fake = not isinstance(getattr(module, "opaque", None), str)
        self._answers: dict[tuple[Arrange, Shapes], list[Shape] | None] = {}
        self._start = Snapshot.of(module, parameters=False)
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)  # weights stay real
        self._isolated = Isolated()

    def answers(self, shapes: Shapes, arrange: Arrange) -> list[Shape] | None:
        """The shapes of the tensors that the network returns; None where it refuses inputs of these sizes."""
        key = (arrange, shapes)  # by identity; it is held, so that no later one can be taken for it
        if key not in self._answers:
            self._answers[key] = self._tried(shapes, arrange)
        return self._answers[key]

    def confirms(self, shapes: Shapes, arrange: Arrange) -> bool:
        """Whether the network takes real tensors of these sizes. Large ones are not run twice."""
        return not self.is_fake or is_large(self.module) or self._real(shapes, arrange) is not None

    def values(self, tensors: Sequence[Tensor], arrange: Arrange) -> list[Tensor] | None:
        """What the network returns for real tensors; None where it fails, and for large networks."""
        if is_large(self.module):
            return None
        try:
            return [answer.clone() for answer in self._answered(tensors, arrange, self._isolated)]
        except (Exception, SystemExit):
            return None

    def key_asked(self) -> str | None:
        """The entry that the network wants of a table, where it is given an empty one; None where it names none."""
        table = _EmptyTable()
        with suppress(Exception, SystemExit):
            self._answered((), lambda _: ((table,), {}), self._mode)
        return table.asked

    def restart_on_real_tensors(self) -> bool:
        """Forget refusals of fake tensors; False where that is no use, or not safe."""
        if not self.is_fake or is_large(self.module) or isinstance(self.module, torch.jit.ScriptModule):
            return False
        self.is_fake = False
        self._answers.clear()
        return True

    def _tried(self, shapes: Shapes, arrange: Arrange) -> list[Shape] | None:
        """What `answers` remembers: on fake tensors as long as these are of use, else on real ones."""
        if not self.is_fake:
            return self._real(shapes, arrange)
        try:
            return self._run(shapes, arrange, fake=True)
        except (Exception, SystemExit) as error:
            text = first_line(error)
            self.failures.setdefault(shapes, text)
            # A failure of the fake tensors themselves says nothing about sizes.
            unsure = isinstance(error, _NOT_ABOUT_SIZES) or any(word in text.lower() for word in _WORDS)
            if unsure and not is_large(self.module):
                return self._real(shapes, arrange)
            return None

    def _real(self, shapes: Shapes, arrange: Arrange) -> list[Shape] | None:
        """The same on real tensors; a refusal is noted where none is of these sizes."""
        try:
            return self._run(shapes, arrange, fake=False)
        except (Exception, SystemExit) as error:
            self.failures.setdefault(shapes, first_line(error))
            return None

    def _run(self, shapes: Shapes, arrange: Arrange, fake: bool) -> list[Shape]:
        """The shapes of the answers to random inputs. Raises whatever the network raises."""
        mode, drawn_in = (self._mode, self._mode) if fake else (self._isolated, None)
        tensors = [_input(shape, self.dtype, drawn_in) for shape in shapes]
        return [tuple(map(int, answer.shape)) for answer in self._answered(tensors, arrange, mode)]

    def _answered(self, tensors: Sequence[Tensor], arrange: Arrange, mode: AbstractContextManager[Any]) -> list[Tensor]:
        """The tensors of an answer. Raises whatever the network raises; states of the network are put back."""
        with ExitStack() as stack:
            stack.callback(self._start.restore)
            stack.enter_context(quiet())
            stack.enter_context(torch.no_grad())
            if isinstance(self.module, torch.jit.ScriptModule):  # it must not learn sizes that it is only tried on
                stack.enter_context(torch.jit.optimized_execution(False))  # pyright: ignore[reportPrivateImportUsage]
            stack.enter_context(Staying())
            stack.enter_context(mode)
            if mode is self._mode:  # of a GRU over 9 frames a trial takes 3 ms so, and 140 where it is taken apart
                stack.enter_context(recurrent_shapes())
                stack.enter_context(enable_python_dispatcher())
            args, kwargs = arrange(tensors)
            return results(self.module(*args, **kwargs))[0]


class _EmptyTable(dict[Any, Any]):
    """A table without entries, which notes the names that are read from it.

    Entries that forward takes come first, then those whose presence it tests, then those that are optional.
    """

    def __init__(self) -> None:
        super().__init__()
        self._taken: list[Any] = []
        self._asked_after: list[Any] = []
        self._optional: list[Any] = []

    @property
    def asked(self) -> str | None:
        """The name of the entry that is needed most; None where none is a name."""
        keys = [*self._taken, *self._asked_after, *self._optional]
        return next((key for key in keys if isinstance(key, str)), None)

    def __missing__(self, key: Any) -> Any:
        self._taken.append(key)
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        self._asked_after.append(key)
        return False

    def get(self, key: Any, default: Any = None) -> Any:
        """The default, as ever."""
        self._optional.append(key)
        return default


def _input(shape: Shape, dtype: torch.dtype, fake: FakeTensorMode | None) -> Tensor:
    """An input: N(0, 1), the same numbers every time; a fake one, made in its mode, has none."""
    if fake is None:
        return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    with fake:
        return torch.empty(shape, dtype=dtype)
