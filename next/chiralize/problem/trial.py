"""Does a network run on inputs of these sizes, and where do its tensors go?

The specification describes a flat list of tensors; a network is called with arguments. With a pose x and two states
h, c the same three tensors are arranged in four ways, which are tried one after the other:

    net(x, h, c)      net(x, (h, c))      net((x, h, c))      net({"x": x, "h": h, "c": c})

Trials run on fake tensors, which have sizes and no numbers: of a large network a trial takes milliseconds. A network
that looks at numbers (`if x.sum() > 0`) gets some.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chiralize.errors.words import first_line
from chiralize.graph.devices import Staying
from chiralize.graph.quiet import quiet
from chiralize.graph.run import Call, Runner, results

try:  # they stand in a private module of torch; without them trials run on numbers, which only takes longer
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
except ImportError:
    DataDependentOutputException, FakeTensorMode = (), None

Shape = tuple[int, ...]
_IN_ORDER = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Argument:
    """One argument of a network. is_required: it has no default.  by_name: it cannot go by its position."""

    name: str
    is_required: bool
    by_name: bool = False


def arguments_of(module: nn.Module, entry: str = "forward") -> list[Argument] | None:
    """The arguments of forward, or of another entry; None where it does not tell, or takes any number of them."""
    method: Any = getattr(module, entry, None)
    schema = getattr(method, "schema", None)
    if schema is not None:  # TorchScript, whose methods have no signature that Python can read
        given = [argument for argument in schema.arguments if argument.name != "self"]
        return [Argument(each.name, not each.has_default_value()) for each in given]
    try:
        parameters = list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters):
        return None
    named = [each for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD]
    return [Argument(each.name, each.default is inspect.Parameter.empty, each.kind not in _IN_ORDER) for each in named]


@dataclass(frozen=True)
class Arrangement:
    """How tensors become the arguments of a call.

    groups: how many tensors each argument takes, 0 for one by itself and n for a tuple of n.  names: of the arguments,
    the last of them, that go by name.  keys: of the one dictionary that all tensors go into.
    """

    groups: tuple[int, ...]
    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def call(self, tensors: Sequence[Tensor]) -> Call:
        """The call: groups (0, 2) make of x, h, c the arguments x and (h, c)."""
        if self.keys:
            return (dict(zip(self.keys, tensors, strict=True)),), {}
        rest, args = iter(tensors), list[Any]()
        for size in self.groups:
            args.append(tuple(next(rest) for _ in range(size)) if size else next(rest))
        in_order = len(args) - len(self.names)
        return tuple(args[:in_order]), dict(zip(self.names, args[in_order:], strict=True))


def arrangements(
    kinds: Sequence[str], names: Sequence[str | None], arguments: Sequence[Argument] | None
) -> Iterator[Arrangement]:
    """The ways in which tensors of these kinds and names may go to the arguments, the likeliest first."""
    by_name = [each.name for each in arguments or () if each.by_name and each.is_required]
    least = 0 if arguments is None else sum(each.is_required for each in arguments)
    most = len(kinds) if arguments is None else sum(not each.by_name for each in arguments) + len(by_name)
    by_itself, in_one = (0,) * len(kinds), (len(kinds),) if len(kinds) > 1 else (0,)
    for groups in dict.fromkeys((by_itself, _states_together(kinds), in_one)):  # each once, if no states are in a row
        if least <= len(groups) <= most:
            yield Arrangement(groups, tuple(by_name))
    keys = tuple(name for name in names if name)
    if len(keys) == len(names) and least <= 1:
        yield Arrangement((), keys=keys)


def _states_together(kinds: Sequence[str]) -> tuple[int, ...]:
    """One argument for each tensor, but for states in a row, which are one tuple: (0, 2) for a pose and two states."""
    groups: list[int] = []
    for position, kind in enumerate(kinds):
        if kind == "state" and position and kinds[position - 1] == "state":
            groups[-1] = max(groups[-1], 1) + 1
        else:
            groups.append(0)
    return tuple(groups)


class Trial:
    """A network that is run on inputs of many sizes, to see which of them it takes. A copy is run.

    refusals: the first line of each error, by the sizes.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.refusals: dict[tuple[Shape, ...], str] = {}
        self._runner = Runner(module)
        self._mode = FakeTensorMode(allow_non_fake_inputs=True) if FakeTensorMode else nullcontext()

    def answers(self, shapes: Sequence[Shape], arrangement: Arrangement) -> list[Shape] | None:
        """The shapes of the answers; None where the network refuses inputs of these sizes."""
        try:
            with self._mode:
                tensors = [torch.zeros(shape, dtype=self.dtype) for shape in shapes]
                answers = self.values(tensors, arrangement)
            return [tuple(map(int, answer.shape)) for answer in answers]
        except DataDependentOutputException:
            self._mode = nullcontext()
            return self.answers(shapes, arrangement)
        except (Exception, SystemExit) as error:  # whatever the network makes of them
            self.refusals.setdefault(tuple(shapes), first_line(error))
            return None

    def values(self, tensors: Sequence[Tensor], arrangement: Arrangement) -> list[Tensor]:
        """What the network returns, from its starting state.

        Raises whatever the network raises, and ValueError where it changes the size of a buffer: a state of one sample
        that is given two.
        """
        args, kwargs = arrangement.call(tensors)
        module = self._runner.start()
        sizes = [tuple(buffer.shape) for buffer in module.buffers()]
        with ExitStack() as stack:
            stack.enter_context(quiet())
            stack.enter_context(torch.no_grad())
            stack.enter_context(Staying())
            answers = results(module(*args, **kwargs))[0]
        if sizes != [tuple(buffer.shape) for buffer in module.buffers()]:
            raise ValueError("a buffer gets another size")
        return answers
