"""Example inputs of given sizes: `--input-shape 1,243,17,2`, by the name of an argument or of an entry of a table.

    --input-shape 1,17,2 --input-shape mask=1,17      forward(pose, mask): the first by its place, the second by name
    --input-shape policy=1,48                         forward(obs), where obs is a table: {"policy": x}

Names decide between the two: those of arguments are arguments, all others are keys of a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from chiralize.errors import UsageError
from chiralize.graph.running import Call
from chiralize.problem.readings.arguments import Argument, arguments_of

_MOST_ENTRIES = 2**31
_OPTION = "--input-shape"


def call_of_shapes(texts: Sequence[str], dtype: torch.dtype, module: torch.nn.Module, entry: str = "forward") -> Call:
    """A call with random numbers of the given sizes. texts: `1,47`, or `name=1,47`, in the order of the arguments.

    Names that are no arguments are keys of the one table (dict, TensorDict) that a network takes.
    Raises UsageError for what are no sizes, and for names that nothing has.
    """
    generator = torch.Generator().manual_seed(0)
    in_order: list[torch.Tensor] = []
    by_name: dict[str, torch.Tensor] = {}
    for text in texts:
        name, equals, sizes = text.rpartition("=")
        tensor = torch.randn(_shape(sizes), generator=generator).to(dtype)
        if not equals:
            in_order.append(tensor)
        elif name.strip() in by_name:
            raise UsageError(_OPTION, f"{name.strip()!r} is given twice", "give every input once")
        else:
            by_name[name.strip()] = tensor
    if not by_name:
        return tuple(in_order), {}
    return _named(in_order, by_name, arguments_of(module, entry))


def _named(
    in_order: Sequence[torch.Tensor], by_name: Mapping[str, torch.Tensor], arguments: Sequence[Argument] | None
) -> Call:
    """The call in which some tensors have names."""
    names = [argument.name for argument in arguments or ()]
    # All names are arguments. One that has its place among those without a name would be given twice.
    if set(by_name) <= set(names):
        first = [name for name in names[: len(in_order)] if name in by_name]
        if first:
            facts = f"{first[0]!r} is given by name, and by its place before"
            raise UsageError(_OPTION, facts, "give every input once")
        return _in_order_of(names, in_order, by_name)
    # No name is one, and the network takes one argument: they are keys of that.
    required = [argument for argument in arguments or () if argument.is_required]
    if len(required) == 1 and not in_order and not set(by_name) & set(names):
        return (_table(by_name, required[0]),), {}
    unknown = next(name for name in by_name if name not in names)
    listed = ", ".join(names) or "nothing that can be seen"
    remedy = "name those, or give all entries of its table where it takes a single one (dict, TensorDict)"
    raise UsageError(_OPTION, f"{unknown!r} is no argument: the network takes {listed}", remedy)


def _in_order_of(names: Sequence[str], in_order: Sequence[torch.Tensor], by_name: Mapping[str, torch.Tensor]) -> Call:
    """The call with its tensors in the order of the arguments; by name from the first that is left out."""
    args = list(in_order)
    while len(args) < len(names) and names[len(args)] in by_name:
        args.append(by_name[names[len(args)]])
    return tuple(args), {name: by_name[name] for name in names[len(args) :] if name in by_name}


def _table(entries: Mapping[str, torch.Tensor], argument: Argument) -> Any:
    """The table of a network that takes one: a TensorDict where its annotation says so, else a dictionary."""
    if "TensorDict" not in argument.annotation:
        return dict(entries)
    try:
        from tensordict import TensorDict  # type: ignore[import-not-found]
    except ImportError:
        facts = f"the network takes a TensorDict ({argument.name}), and tensordict is not installed"
        raise UsageError(_OPTION, facts, "pip install tensordict") from None
    return TensorDict(dict(entries), batch_size=[len(next(iter(entries.values())))])


def _shape(text: str) -> tuple[int, ...]:
    """Sizes from their text, `1,47` or `1x47`. Raises UsageError for others, and for more than 2^31 entries."""
    try:
        sizes = tuple(map(int, text.replace("x", ",").split(",")))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        facts, remedy = f"{text!r} is no shape", "write sizes with commas, for example 1,243,17,2"
        raise UsageError(_OPTION, facts, remedy)
    entries = int(np.prod(sizes, dtype=object))  # Python's numbers, which do not overflow
    if entries > _MOST_ENTRIES:
        facts = f"{text!r} has {entries:,} entries"
        raise UsageError(_OPTION, facts, "correct the sizes; one sample is enough")
    return sizes


def names_by_keyword(module: torch.nn.Module, entry: str = "forward") -> tuple[str, ...]:
    """Names of the arguments of one call that go by their names alone, as far as the module tells them."""
    return tuple(argument.name for argument in arguments_of(module, entry) or () if argument.by_name)


def input_names(module: torch.nn.Module, entry: str = "forward") -> tuple[str, ...]:
    """Names of the arguments of one call that may go by their order, as far as the module tells them."""
    return tuple(argument.name for argument in arguments_of(module, entry) or () if not argument.by_name)
