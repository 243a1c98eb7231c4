"""Files of weights become networks: the factory builds one, and the table that fits it fills it.

Every format of weights comes here with the tables that it holds, and says what it knows of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from chiralize.errors import FactoryError, InputError, ModelFileError, UsageError
from chiralize.errors.words import listed, when
from chiralize.storage.arguments_from_weights import arguments_from_weights
from chiralize.storage.assumed import Doubtful, doubtful_defaults
from chiralize.storage.content import Content
from chiralize.storage.factory import (
    arguments_for,
    build_module,
    called_by,
    fill_weights,
    name_of,
    parse_value,
    working_folder_importable,
)
from chiralize.storage.format import AUTO, LoadedModel, Origin, Wanted
from chiralize.storage.incomplete import refuse_incomplete
from chiralize.storage.missing import arguments_needed, network_needed
from chiralize.storage.named_class import saved_settings
from chiralize.storage.no_weights import no_weights, only_adapters
from chiralize.storage.sidecar import Remembered, certificate_beside, remembered
from chiralize.storage.tables import (
    MARKS,
    Fit,
    Weights,
    contents,
    fit_under,
    fits,
    nearest,
    prefixes_of,
    printable,
    table_under,
    tables_in,
)

_SHOWN = 12
_SHOWN_BESIDE = 3
SPREADS = ("std", "log_std", "logstd", "std_param", "log_std_param", "actor_logstd", "actor_log_std", "action_log_std")
"""Names of standard deviations of actions, which no forward reads."""


@dataclass(frozen=True)
class Stored:
    """What a format knows of the weights in a file.

    tree: what the file holds.  tensor: what makes a torch.Tensor of an entry of a table.  preferred: keys of tables to
    try before the others.  idle: see `fits`.  arguments: of the factory, where the user gives none.  named: the class
    that the file says, "" where it says none.  build: the network of that class, by consent.  extra: texts in the file.
    restored: what the file's own code made, where it ran.  foreign: classes of objects in the file that only running
    its code could restore, which was not done.
    """

    tree: Any
    tensor: Callable[[Any, str], torch.Tensor] = lambda value, name: value
    preferred: Sequence[str] = ()
    idle: Sequence[str] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    named: str = ""
    build: Callable[[], torch.nn.Module] | None = None
    extra: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    restored: Any = None
    foreign: tuple[str, ...] = ()


def load_weights(content: Content, wanted: Wanted, format_name: str, stored: Stored) -> LoadedModel:
    """The network of a file of weights.  Raises UsageError, FactoryError, ModelFileError, UnsafeFileError."""
    extra = stored.extra or certificate_beside(content.path, content.digest)
    before = remembered(extra)
    if extra:  # a record of its inputs is beside it
        wanted = replace(wanted, before_search=lambda target: None)
    if wanted.key is None and before.key:
        wanted = replace(wanted, key=before.key)
    wanted, recalled = _with_arguments_of(before, wanted)
    tables = _tables(stored, wanted, content)
    if wanted.factory is None and not (wanted.unsafe_pickle and stored.build):
        raise network_needed(content, tables, wanted, stored.named, before)
    wanted, module, arguments, brought = _built(content, wanted, stored, tables)
    fit = _fitting(tables, module, wanted, before.prefix, stored, content)
    state = {name: stored.tensor(fit.weights.tensors[full], full) for name, full in fit.names.items()}
    for name, tensor in state.items():
        if kind := _special_kind(tensor):
            raise ModelFileError(content.where, f"{name!r} is a {kind} tensor", "store plain, dense tensors.")
    if wanted.factory is None or wanted.factory == AUTO:
        shown = stored.named
    else:
        shown = name_of(wanted.factory)
    fill_weights(module, _with_ties(state, module), shown, content.where)
    origin = Origin(content.path, content.digest, format_name, fit.weights.key, fit.prefix, _tied(fit.names, module))
    if wanted.factory is None or isinstance(wanted.factory, str):
        origin = replace(origin, factory=wanted.factory or AUTO, factory_args=dict(wanted.factory_args))
    unrun = _no_code_ran(fit, stored, shown)
    notes = (*stored.notes, *unrun, *_notes(fit, tables, wanted, stored), *recalled, *arguments)
    loaded = LoadedModel(module, format_name, content.path, content.digest, extra=extra, notes=notes, origin=origin)
    return replace(loaded, doubtful=_doubtful(wanted, brought, module))


def _with_arguments_of(before: Remembered, wanted: Wanted) -> tuple[Wanted, tuple[str, ...]]:
    """What is wanted, with the arguments that the class of this name had at the conversion; and a note on them.

    Those that the user gives win.
    """
    name = before.factory.rpartition(":")[2]
    if not name or not isinstance(wanted.factory, str) or wanted.factory.rpartition(":")[2] != name:
        return wanted, ()
    new = {argument: text for argument, text in before.factory_args.items() if argument not in wanted.factory_args}
    if not new:
        return wanted, ()
    shown = listed([f"{argument}={text}" for argument, text in new.items()], _SHOWN)
    note = f"built with {shown}, as at the conversion; --arg says otherwise"
    return replace(wanted, factory_args={**new, **wanted.factory_args}), (note,)


def _tables(stored: Stored, wanted: Wanted, content: Content) -> list[Weights]:
    """The tables that the user, else the format, means.  Raises ModelFileError where there are none."""
    if wanted.key is not None:
        return [table_under(stored.tree, wanted.key, content.where)]
    tables = tables_in(stored.tree, content.where)
    if not tables:
        raise no_weights(stored.tree, content.where)
    if adapters := only_adapters((name for weights in tables for name in weights.tensors), content.where):
        raise adapters
    preferred = [weights for weights in tables if weights.key in stored.preferred]
    return preferred or tables


def _built(
    content: Content, wanted: Wanted, stored: Stored, tables: Sequence[Weights]
) -> tuple[Wanted, torch.nn.Module, tuple[str, ...], Mapping[str, Any]]:
    """The empty network, the arguments that it was built with, a note on those that the file brought or tells, and
    those that it brought.
    """
    if wanted.factory is None or wanted.factory == AUTO:
        if stored.build is None:
            facts = "does not say of which class its network is, so that --model auto finds none"
            raise UsageError(content.where, facts, "name it: --model your_package.your_module:YourNet")
        module = stored.build()
        module.eval()
        return wanted, module, (f"built {stored.named}, the class that the file names",), {}
    settings = saved_settings(stored.tree)
    brought = arguments_for(wanted.factory, stored.arguments, wanted.factory_args, settings)
    notes: tuple[str, ...] = ()
    if brought:
        shown = listed([f"{name}={value!r}" for name, value in brought.items()], _SHOWN)
        notes = (f"arguments of {name_of(wanted.factory)} from the file: {shown}",)
    failure: FactoryError | None = None
    try:
        module = build_module(wanted.factory, wanted.factory_args, brought)
    except FactoryError as error:
        module, failure = None, error
    if module is not None and _may_hold(module, wanted, stored, tables):
        return wanted, module, notes, brought
    completed = _completed_by_sizes(content, wanted, brought, tables)
    if completed is not None:
        fitting = build_module(completed.factory or "", completed.factory_args, brought)
        given = {name: text for name, text in completed.factory_args.items() if name not in wanted.factory_args}
        shown = ", ".join(f"{name}={text}" for name, text in given.items())
        notes = (*notes, f"built with {shown}, by the sizes of the weights; --arg says otherwise")
        return completed, fitting, notes, brought
    if failure is not None:
        raise failure
    assert module is not None
    return wanted, module, notes, brought


def _doubtful(wanted: Wanted, brought: Mapping[str, Any], module: torch.nn.Module) -> tuple[Doubtful, ...]:
    """Defaults of the class in whose place other values fit the weights as well.

    brought: the arguments that the file said.
    """
    if wanted.factory in (None, AUTO) or isinstance(wanted.factory, torch.nn.Module):
        return ()
    given = {**brought, **{name: parse_value(name, text) for name, text in wanted.factory_args.items()}}
    known = {name.partition(".")[0] for name in given}
    with working_folder_importable():
        return doubtful_defaults(called_by(wanted.factory or ""), given, known, module)


def _may_hold(module: torch.nn.Module, wanted: Wanted, stored: Stored, tables: Sequence[Weights]) -> bool:
    """Whether a network has the weights of some table, or the user said which weights to take of it."""
    expected = _untied(module)
    return wanted.prefix is not None or any(fits(weights, expected, stored.idle) for weights in tables)


def _completed_by_sizes(
    content: Content, wanted: Wanted, brought: Mapping[str, Any], tables: Sequence[Weights]
) -> Wanted | None:
    """What is wanted, with the arguments that the sizes of the weights determine; None where they determine none.

    Raises FactoryError where they determine some, and leave others open, and where all would fit but for a few weights
    that the file lacks.
    """
    if wanted.factory is None or isinstance(wanted.factory, torch.nn.Module):
        return None
    fixed = {**brought, **{name: parse_value(name, text) for name, text in wanted.factory_args.items()}}
    wanted.before_search(called_by(wanted.factory))
    step = f"trying arguments of {name_of(wanted.factory)}"
    with working_folder_importable():
        read_off = arguments_from_weights(
            called_by(wanted.factory),
            fixed,
            tables,
            wanted.joints,
            tell=lambda tried: wanted.tell(f"{step}, {tried} tried" if tried else step),
        )
    wanted.tell("loading")
    if read_off is not None and read_off.nearest:
        near: torch.nn.Module | None = None
        with suppress(FactoryError, UsageError):
            near = build_module(wanted.factory, {**wanted.factory_args, **read_off.nearest}, brought)
        if near is not None:
            refuse_incomplete(content, name_of(wanted.factory), _untied(near), tables, read_off.nearest)
    if read_off is None or not read_off.fits or not (read_off.arguments or read_off.undecided):
        return None
    if read_off.undecided:
        raise arguments_needed(content, wanted, read_off.arguments, read_off.undecided, read_off.joints)
    return replace(wanted, factory_args={**wanted.factory_args, **read_off.arguments})


def _fitting(
    tables: Sequence[Weights],
    module: torch.nn.Module,
    wanted: Wanted,
    before: str | None,
    stored: Stored,
    content: Content,
) -> Fit:
    """The one table and prefix that fit the network; where none does, the nearest, which is then refused in detail.

    before: the prefix at the conversion, which decides where several fit.  Raises UsageError, ModelFileError where
    none or several do.
    """
    expected = _untied(module)
    if wanted.prefix is not None:
        return _under(tables, wanted.prefix, expected, stored, content)
    ways: list[Fit] = []
    for weights in tables:
        ways += fits(weights, expected, stored.idle)
    if len(ways) == 1:
        return ways[0]
    if before is not None:
        return _under(tables, before, expected, stored, content)
    if ways:
        raise _several(ways, stored, content, wanted)
    close = nearest(tables, module.state_dict())
    if len(tables) > 1:
        counts = ", ".join(f"{weights.key!r} ({len(weights.tensors)})" for weights in tables[:12])
        facts = f"none of its {len(tables)} tables fits the network: {counts}; {contents(stored.tree)}"
        remedy = f"see what is missing in one of them: `--key {shlex.quote(close.weights.key)}`."
        raise ModelFileError(content.where, facts, remedy)
    return close


def _several(ways: Sequence[Fit], stored: Stored, content: Content, wanted: Wanted) -> InputError:
    """The error for several tables, or prefixes, among which only the user can choose: with a command for each."""
    keys = list(dict.fromkeys(way.weights.key for way in ways))
    if len(keys) > 1:
        facts = f"{len(keys)} tables fit the network ({', '.join(map(repr, keys))}); {contents(stored.tree)}"
        options = _choices(wanted, [f"--key {shlex.quote(key)}" for key in keys[:_SHOWN]])
        return ModelFileError(content.where, facts, f"say which of them holds the weights that are wanted:{options}")
    prefixes = [shlex.quote(way.prefix) for way in ways]
    facts = f"its weights fit the network under {len(ways)} prefixes: {', '.join(prefixes)}"
    options = _choices(wanted, [f"--prefix {prefix}" for prefix in prefixes[:_SHOWN]])
    return UsageError(content.where, facts, f"say which of them:{options}")


def _choices(wanted: Wanted, options: Sequence[str]) -> str:
    """The command with each of the options, where one was typed; else the options."""
    if wanted.command:
        return "".join(f"\n    {wanted.command} {option}" for option in options)
    return " " + " or ".join(options)


def _under(
    tables: Sequence[Weights], prefix: str, expected: Mapping[str, Any], stored: Stored, content: Content
) -> Fit:
    """The weights under the prefix that was named.  Raises UsageError where there are none."""
    ending = f"{prefix}." if prefix and not prefix.endswith(".") else prefix
    ways = [fit_under(weights, ending, expected, stored.idle) for weights in tables]
    ways = [way for way in ways if way.names]
    if not ways:
        known: dict[str, None] = {}
        for weights in tables:
            known.update(dict.fromkeys(prefixes_of(weights.tensors)))
        shown = ", ".join(map(printable, list(known)[:12])) or "none"
        raise UsageError("--prefix", f"no weight of {content.where} starts with {ending!r}", f"use one of {shown}")
    return max(ways, key=lambda way: len(way.names.keys() & expected.keys()))


def _untied(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights of a network by name; of those that are one tensor, the first: files may leave the others out."""
    firsts = set(_first_names(module).values())
    return {name: tensor for name, tensor in module.state_dict().items() if name in firsts}


def _with_ties(state: dict[str, torch.Tensor], module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state with all names of tensors that have several."""
    return {name: state[other] for name, other in _first_names(module).items() if other in state} | state


def _tied(names: Mapping[str, str], module: torch.nn.Module) -> dict[str, str]:
    """The name in the file of each weight of the network, also of those that are one tensor with another."""
    return {name: names[other] for name, other in _first_names(module).items() if other in names} | dict(names)


def _first_names(module: torch.nn.Module) -> dict[str, str]:
    """For every name of a weight, the first name that the same tensor has."""
    firsts: dict[int, str] = {}
    everything = module.state_dict(keep_vars=True)
    for name, tensor in everything.items():
        firsts.setdefault(id(tensor), name)
    return {name: firsts[id(tensor)] for name, tensor in everything.items()}


def _special_kind(tensor: torch.Tensor) -> str:
    """How a tensor differs from a plain, dense one: nested, quantized or sparse; "" where it does not."""
    if tensor.is_nested:
        return "nested"
    if tensor.is_quantized:
        return "quantized"
    if tensor.layout == torch.strided:
        return ""
    return "sparse"


def _no_code_ran(fit: Fit, stored: Stored, network: str) -> tuple[str, ...]:
    """A note on a file that names code: none of it ran.  network: what was filled with the weights.

    Objects beside the weights are named, those in a pickled module are not: its weights are all that is wanted of it.
    """
    if not stored.foreign:
        return ()
    if fit.weights.owner:
        owner = printable(fit.weights.owner)
        return (f"no code of the file ran: the weights of the {owner} in it were read into the network of {network}",)
    beside = listed(list(map(printable, stored.foreign)), _SHOWN_BESIDE)
    return (f"no code of the file ran: its weights were read, its other objects were left as they are ({beside})",)


def _notes(fit: Fit, tables: Sequence[Weights], wanted: Wanted, stored: Stored) -> list[str]:
    """Notes on the choice among the contents of the file."""
    notes: list[str] = []
    if wanted.key is None and fit.weights.key:
        if len(tables) == 1:
            which = "the only table of tensors in the checkpoint"
        else:
            which = "the only one that fits"
        if fit.weights.key in stored.preferred:
            which = "which holds the weights"
        notes.append(f"took the entry {fit.weights.key!r}, {which}")
    for mark in fit.marks:
        notes.append(f"took {mark!r} ({MARKS[mark]}) out of the names")
    spreads = list(filter(_is_spread_of_actions, fit.aside))
    if spreads:
        notes.append(
            f"{printable(spreads[0])}, the spread of the actions, is no weight of this class and stays as it "
            "is: where partners differ in it, samples are not mirrored as the mean is. A class that has it as a "
            "parameter beside its layers gets it made equal for partners"
        )
    if fit.prefix and not fit.aside:
        owner = when(fit.prefix == "module.", " (DataParallel)")
        notes.append(f"took the prefix {fit.prefix!r}{owner} off all names")
    elif fit.prefix:
        notes.append(f"took the weights whose names start with {fit.prefix!r}; {_left_out(fit)}")
    elif fit.aside:
        notes.append(_left_out(fit))
    return notes


def _is_spread_of_actions(name: str) -> bool:
    """Whether a name is that of a standard deviation of actions: of its own, not of a scaler or an observation."""
    owner, _, last = name.rpartition(".")
    return last in SPREADS and owner in ("", "distribution", "actor", "policy")


def _left_out(fit: Fit) -> str:
    used = set(prefixes_of(dict.fromkeys(fit.names.values())))
    heads = list(dict.fromkeys(_head(name, used) for name in fit.aside))
    shown = ", ".join(map(printable, heads[:6])) + when(len(heads) > 6, " and others")
    others = "1 other" if len(fit.aside) == 1 else f"{len(fit.aside)} others"
    return f"left out {others} ({shown})"


def _head(name: str, used: set[str]) -> str:
    """The beginning of a name that no weight of the network shares."""
    parts = name.split(".")
    for count in range(1, len(parts)):
        head = ".".join(parts[:count])
        if f"{head}." not in used:
            return head
    return name
