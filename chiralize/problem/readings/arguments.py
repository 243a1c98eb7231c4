"""Where the tensors of a call go: one argument each, states in a tuple, or all of them in one dictionary.

The specification describes a flat list of tensors; a network is called with arguments.  With a pose x and two states
h, c the same three tensors are arranged in three ways, which the search tries one after the other:

    net(x, h, c)      net(x, (h, c))      net({"x": x, "h": h, "c": c})

The last one wants a name for every tensor.  Nothing is run here: ways that the signature rules out are left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from torch import Tensor, nn

from chiralize.body.tensors import ConversionSpec, TensorEntry
from chiralize.errors import SpecError
from chiralize.graph.running import Call

_IN_ORDER = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_OF_TABLES = ("dict", "Mapping", "TensorDict")


@dataclass(frozen=True)
class Argument:
    """One argument of a network. is_required: it has no default.  annotation: as text.  number: its default, as text,
    where that is a number, a truth value or a text, which no pose takes the place of.
    """

    name: str
    is_required: bool
    by_name: bool = False
    annotation: str = ""
    number: str = ""

    @property
    def is_table(self) -> bool:
        """Whether it is written down as a dictionary."""
        return self.annotation.strip("'\"").rpartition(".")[2].startswith(_OF_TABLES)


def arguments_of(module: nn.Module | type[nn.Module], entry: str = "forward") -> list[Argument] | None:
    """The arguments of forward, or of another entry; None where it does not tell, or takes any number of them.

    module: or its class, which has an argument more, the network itself.
    """
    schema = getattr(getattr(module, entry, None), "schema", None)
    if schema is not None:  # TorchScript, whose methods have no signature that Python can read
        given = [argument for argument in schema.arguments if argument.name != "self"]
        return [
            Argument(each.name, not each.has_default_value(), False, str(each.type), _number(each.default_value))
            for each in given
        ]
    try:
        parameters = list(inspect.signature(getattr(module, entry)).parameters.values())
    except (AttributeError, TypeError, ValueError):
        return None
    if isinstance(module, type):
        parameters = parameters[1:]
    arguments: list[Argument] = []
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return None
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            required, by_name = parameter.default is inspect.Parameter.empty, parameter.kind not in _IN_ORDER
            annotation, number = _text(parameter.annotation), _number(parameter.default)
            arguments.append(Argument(parameter.name, required, by_name, annotation, number))
    return arguments


def _number(default: Any) -> str:
    """The default of an argument as text, where it is a number, a truth value or a text; else ""."""
    return repr(default) if isinstance(default, (int, float, str)) else ""


def all_wanted(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """What to give to a network of which some arguments were left out; "" where none was.

    `--input-shape x=1,60,72 --input-shape h0=SIZES`: each by its name.
    """
    arguments = arguments_of(module) or []
    missing = [each for each in arguments[len(args) :] if each.is_required and each.name not in kwargs]
    if not missing:
        return ""
    given = dict(zip((each.name for each in arguments), args, strict=False)) | dict(kwargs)
    options: list[str] = []
    for argument in arguments:
        value = given.get(argument.name)
        if isinstance(value, Tensor):
            options.append(f"--input-shape {argument.name}={','.join(map(str, value.shape))}")
        elif argument in missing:
            options.append(f"--input-shape {argument.name}=SIZES")
    return f"give the sizes of all arguments, states too: {' '.join(options)}; or example_inputs with all of them"


def table_wanted(module: nn.Module, args: Sequence[Any]) -> str:
    """What to give to a network that takes one table and was given tensors; "" where that is not what is wrong."""
    required = [argument for argument in arguments_of(module) or () if argument.is_required]
    if len(required) != 1 or not required[0].is_table or not all(isinstance(value, Tensor) for value in args):
        return ""
    groups = getattr(module, "obs_groups", None)  # rsl_rl's models name theirs
    if isinstance(groups, (list, tuple)) and groups:
        names = list(map(str, groups))
    else:
        names = ["name"]
    table = ", ".join(f"{name!r}: x" for name in names)
    sizes = " ".join(f"--input-shape {name}=1,47" for name in names)
    return f"it takes one table ({required[0].name}): example_inputs=({{{table}}},), or {sizes}"


def _text(annotation: Any) -> str:
    """An annotation as text, `dict` of `dict`; "" where there is none."""
    if annotation is inspect.Parameter.empty:
        return ""
    if isinstance(annotation, str):
        return annotation
    return getattr(annotation, "__name__", str(annotation))


@dataclass(frozen=True, eq=False)
class Arranged:
    """A way to call a network with some tensors.

    entries: of the tensors, in order.  groups: how many tensors each argument in order takes, 0 for a tensor by itself.
    names: of arguments that go by name, the last of them.  keys: of the one dictionary that all tensors go into.
    """

    entries: tuple[TensorEntry, ...]
    groups: tuple[int, ...]
    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def __call__(self, tensors: Sequence[Tensor]) -> Call:
        """The call."""
        if self.keys:
            return (dict(zip(self.keys, tensors, strict=True)),), {}
        # groups (0, 2) make of x, h, c the arguments x and (h, c).
        rest = iter(tensors)
        args: list[Any] = []
        for size in self.groups:
            args.append(tuple(next(rest) for _ in range(size)) if size else next(rest))
        by_name = args[len(args) - len(self.names) :]
        return tuple(args[: len(args) - len(self.names)]), dict(zip(self.names, by_name, strict=True))


def arrangements(module: nn.Module | type[nn.Module], spec: ConversionSpec, entry: str = "forward") -> list[Arranged]:
    """The ways to call a network with the tensors that are described, the likeliest first.

    module: or its class.
    None of them where nothing is described and the network wants several: nobody says what they are.
    """
    arguments = arguments_of(module, entry)
    if spec.inputs is None:
        entries: tuple[TensorEntry, ...] = (TensorEntry(),)
        if arguments is not None and len([argument for argument in arguments if argument.is_required]) > 1:
            return []
    else:
        entries = spec.inputs
    return list(_ways(entries, arguments))


def refuse_other_order(spec: ConversionSpec, module: nn.Module, entry: str = "forward") -> None:
    """Raise SpecError where the inputs have the names of the network's arguments in another order than theirs.

    Tensors go to the arguments in order, so that such names would be those of other tensors.
    """
    entries = spec.inputs
    if not entries:
        return
    names = [one.name for one in entries]
    taken = [argument.name for argument in arguments_of(module, entry) or ()][: len(entries)]
    if names != taken and set(names) == set(taken):
        facts = (
            f"the inputs are described in the order {', '.join(map(str, names))}; the network takes {', '.join(taken)}"
        )
        raise SpecError(entries[0].where or "inputs", facts, "describe them in the order of the arguments")


def _ways(entries: tuple[TensorEntry, ...], arguments: list[Argument] | None) -> Iterator[Arranged]:
    """The ways that go with the signature, the likeliest first.  arguments: None where it says nothing."""
    keys = tuple(entry.name for entry in entries if entry.name)
    if arguments is None:
        yield Arranged(entries, (0,) * len(entries))
        return
    required = [argument for argument in arguments if argument.is_required]
    single = len(required) == 1
    # An annotation as a table puts the dictionary first. Without one it is the last resort.
    if single and required[0].is_table and len(keys) == len(entries):
        yield Arranged(entries, (), keys=keys)
    groups = _with_states_together(entries)
    for sizes in dict.fromkeys(((0,) * len(entries), groups)):  # each once, if no states stand in a row
        names = _by_name(arguments, len(sizes))
        if names is not None and not _are_poses_for_numbers(entries, sizes, arguments):
            yield Arranged(entries, sizes, names)
    if single and not required[0].is_table and len(keys) == len(entries):
        yield Arranged(entries, (), keys=keys)


def _are_poses_for_numbers(entries: Sequence[TensorEntry], sizes: Sequence[int], arguments: Sequence[Argument]) -> bool:
    """Whether a pose would go to an argument that has a number as its default."""
    if len(sizes) != len(entries):  # states are grouped, and positions of arguments are others than those of entries
        return False
    return any(
        entry.kind in ("pose", "fields") and argument.number
        for entry, argument in zip(entries, arguments, strict=False)
    )


def _by_name(arguments: Sequence[Argument], count: int) -> tuple[str, ...] | None:
    """The names of arguments that must go by name, where so many are given; None where they are too many or too few.

    Of forward(x, scale=1.0, *, mask): with two tensors ("mask",), which takes the last one; None with one or four.
    """
    in_order = [argument for argument in arguments if not argument.by_name]
    wanted = [argument.name for argument in arguments if argument.by_name and argument.is_required]
    least = sum(argument.is_required for argument in in_order) + len(wanted)
    if not least <= count <= len(in_order) + len(wanted):
        return None
    return tuple(wanted)


def _with_states_together(entries: Sequence[TensorEntry]) -> tuple[int, ...]:
    """One argument for each tensor, but for states in a row, which are one tuple, as an LSTM has it.

    As `Arranged.groups`: (0, 2) for a pose and two states, (0, 0) for a pose and one.
    """
    groups: list[int] = []
    position = 0
    while position < len(entries):
        end = position
        while end < len(entries) and entries[end].kind == "state":
            end += 1
        groups.append(end - position if end - position > 1 else 0)
        position = max(end, position + 1)
    return tuple(groups)


def names_by_position(arranged: Arranged, arguments: Sequence[Argument] | None) -> Mapping[int, str]:
    """The names of tensors that are arguments by themselves, else of their keys or entries, by position."""
    names: dict[int, str] = {}
    listed = [argument.name for argument in arguments or () if not argument.by_name]
    listed = [*listed[: len(arranged.groups) - len(arranged.names)], *arranged.names]
    position = 0  # of the next tensor, which is ahead of the argument behind a tuple
    for index, size in enumerate(arranged.groups):
        if not size and index < len(listed):
            names[position] = listed[index]
        position += max(size, 1)
    # A name of the specification replaces that of the argument.
    for index, (entry, key) in enumerate(zip(arranged.entries, arranged.keys or repeat(""), strict=False)):
        name = key or entry.name
        if name:
            names[index] = name
    return names
