"""Files of weights become networks: the factory builds one, and the table that fits it fills it.

Every format of weights comes here with the tables that it holds, and says what it knows of them (`Stored`).  The steps
of `load_weights`, each of which may end in an error with the command that goes on:

    remember   what the certificate of a converted file says: entry, prefix, arguments
    tables     which tables of tensors the file has, or the one of --key             choosing
    build      the class with arguments of the user, of the file, of the sizes       factory, arguments_from_weights
    choose     the one table and prefix whose names and sizes are the network's      choosing, tables
    fill       every weight of the network from it                                   factory.fill_weights
    report     notes on the choice, defaults that the weights do not tell            weight_notes, assumed

The result remembers what the file calls each weight (`Origin.names`), so that `patching` can put weights back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from chiralize.errors import FactoryError, ModelFileError, UsageError
from chiralize.errors.words import listed
from chiralize.storage.arguments_from_weights import arguments_from_weights
from chiralize.storage.assumed import Doubtful, doubtful_defaults
from chiralize.storage.choosing import chosen_fit, tables_meant
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
from chiralize.storage.sidecar import Remembered, certificate_beside, remembered
from chiralize.storage.stored import Stored
from chiralize.storage.tables import Weights, fits
from chiralize.storage.ties import tied_names, untied, with_ties
from chiralize.storage.weight_notes import no_code_ran, notes_on_choice

_SHOWN = 12


def load_weights(content: Content, wanted: Wanted, format_name: str, stored: Stored) -> LoadedModel:
    """The network of a file of weights.  Raises UsageError, FactoryError, ModelFileError, UnsafeFileError."""
    # What the user says wins over what the certificate remembers, and that over what the contents suggest.
    extra = stored.extra or certificate_beside(content.path, content.digest)
    before = remembered(extra)
    if extra:  # a record of its inputs is beside it: the signature of the class has nothing to answer
        wanted = replace(wanted, before_search=lambda target: None)
    if wanted.key is None and before.key:
        wanted = replace(wanted, key=before.key)
    wanted, recalled = _with_arguments_of(before, wanted)
    tables = tables_meant(stored, wanted, content)
    if wanted.factory is None and not (wanted.unsafe_pickle and stored.build):
        raise network_needed(content, tables, wanted, stored.named, before)
    # `wanted` now has all arguments that the network was built with, those that were found out among them.
    wanted, module, arguments, brought = _built(content, wanted, stored, tables)
    fit = chosen_fit(tables, module, wanted, before.prefix, stored, content)
    state = {name: stored.tensor(fit.weights.tensors[full], full) for name, full in fit.names.items()}
    for name, tensor in state.items():
        if kind := _special_kind(tensor):
            raise ModelFileError(content.where, f"{name!r} is a {kind} tensor", "store plain, dense tensors.")
    if wanted.factory is None or wanted.factory == AUTO:
        shown = stored.named
    else:
        shown = name_of(wanted.factory)
    fill_weights(module, with_ties(state, module), shown, content.where)
    origin = Origin(
        content.path, content.digest, format_name, fit.weights.key, fit.prefix, tied_names(fit.names, module)
    )
    if wanted.factory is None or isinstance(wanted.factory, str):
        origin = replace(origin, factory=wanted.factory or AUTO, factory_args=dict(wanted.factory_args))
    unrun = no_code_ran(fit, stored, shown)
    notes = (*stored.notes, *unrun, *notes_on_choice(fit, tables, wanted, stored), *recalled, *arguments)
    loaded = LoadedModel(module, format_name, content.path, content.digest, extra=extra, notes=notes, origin=origin)
    return replace(loaded, doubtful=_doubtful(wanted, brought, module))


def _with_arguments_of(before: Remembered, wanted: Wanted) -> tuple[Wanted, tuple[str, ...]]:
    """What is wanted, with the arguments that the class of this name had at the conversion; and a note on them.

    Those that the user gives win.
    """
    # The class may have been moved to another module since: its own name has to be the same.
    name = before.factory.rpartition(":")[2]
    if not name or not isinstance(wanted.factory, str) or wanted.factory.rpartition(":")[2] != name:
        return wanted, ()
    new = {argument: text for argument, text in before.factory_args.items() if argument not in wanted.factory_args}
    if not new:
        return wanted, ()
    shown = listed([f"{argument}={text}" for argument, text in new.items()], _SHOWN)
    note = f"built with {shown}, as at the conversion; --arg says otherwise"
    return replace(wanted, factory_args={**new, **wanted.factory_args}), (note,)


def _built(
    content: Content, wanted: Wanted, stored: Stored, tables: Sequence[Weights]
) -> tuple[Wanted, torch.nn.Module, tuple[str, ...], Mapping[str, Any]]:
    """The empty network: (wanted with its arguments, the network, notes on them, arguments that the file brought).

    Raises UsageError, FactoryError.
    """
    # --model auto, or --unsafe-pickle without a class: the class that the file names.
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
    # A class that cannot be built so, and one that is built with other sizes, are alike: arguments are missing.  Only
    # where the weights tell none is the first failure raised.
    failure: FactoryError | None = None
    try:
        module = build_module(wanted.factory, wanted.factory_args, brought)
    except FactoryError as error:
        module, failure = None, error
    if module is not None and _may_hold(module, wanted, stored, tables):
        return wanted, module, notes, brought
    completed = _completed_by_sizes(content, wanted, brought, tables)
    if completed is not None:
        module = build_module(completed.factory or "", completed.factory_args, brought)
        given = {name: text for name, text in completed.factory_args.items() if name not in wanted.factory_args}
        shown = ", ".join(f"{name}={text}" for name, text in given.items())
        notes = (*notes, f"built with {shown}, by the sizes of the weights; --arg says otherwise")
        return completed, module, notes, brought
    if failure is not None:
        raise failure
    # The weights do not fit, and no arguments make them fit: `chosen_fit` or `fill_weights` says what differs.
    assert module is not None
    return wanted, module, notes, brought


def _doubtful(wanted: Wanted, brought: Mapping[str, Any], module: torch.nn.Module) -> tuple[Doubtful, ...]:
    """Defaults of the class in whose place other values fit the weights as well.

    brought: the arguments that the file said.
    """
    if wanted.factory in (None, AUTO) or isinstance(wanted.factory, torch.nn.Module):
        return ()
    given = {**brought, **{name: parse_value(name, text) for name, text in wanted.factory_args.items()}}
    known = {name.partition(".")[0] for name in given}  # of `args.frames` the argument `args`
    with working_folder_importable():
        return doubtful_defaults(called_by(wanted.factory or ""), given, known, module)


def _may_hold(module: torch.nn.Module, wanted: Wanted, stored: Stored, tables: Sequence[Weights]) -> bool:
    """Whether a network has the weights of some table, or the user said which weights to take of it."""
    expected = untied(module)
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
    # The user's arguments are texts of YAML, those of the file are values already.
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
    # No fit: if the nearest arguments lack only a few weights, the file is incomplete, and that is the better message.
    if read_off is not None and read_off.nearest:
        near: torch.nn.Module | None = None
        with suppress(FactoryError, UsageError):
            near = build_module(wanted.factory, {**wanted.factory_args, **read_off.nearest}, brought)
        if near is not None:
            refuse_incomplete(content, name_of(wanted.factory), untied(near), tables, read_off.nearest)
    # Nothing fits, or it fits without further arguments, which is no news.
    if read_off is None or not read_off.fits or not (read_off.arguments or read_off.undecided):
        return None
    if read_off.undecided:
        raise arguments_needed(content, wanted, read_off.arguments, read_off.undecided, read_off.joints)
    return replace(wanted, factory_args={**wanted.factory_args, **read_off.arguments})


def _special_kind(tensor: torch.Tensor) -> str:
    """How a tensor differs from a plain, dense one: nested, quantized or sparse; "" where it does not."""
    if tensor.is_nested:
        return "nested"
    if tensor.is_quantized:
        return "quantized"
    if tensor.layout == torch.strided:
        return ""
    return "sparse"
