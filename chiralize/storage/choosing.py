"""Which of the tables in a file of weights fills the network, and under which prefix of its names.

In: the tables of a checkpoint (`tables.tables_in`) and a network.  Out: the one `Fit`, or an error that shows what can
be chosen.  The user's `--key` and `--prefix` win, then what the certificate of a converted file remembers; else there
must be exactly one way.  Two that fit (the weights and their running average, an actor and a critic of the same sizes)
are never decided here.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from chiralize.errors import InputError, ModelFileError, UsageError
from chiralize.storage.content import Content
from chiralize.storage.format import Wanted
from chiralize.storage.no_weights import no_weights, only_adapters
from chiralize.storage.stored import Stored
from chiralize.storage.tables import (
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
from chiralize.storage.ties import untied

_SHOWN = 12


def tables_meant(stored: Stored, wanted: Wanted, content: Content) -> list[Weights]:
    """The tables that the user, else the format, means.  Raises ModelFileError where there are none."""
    if wanted.key is not None:
        return [table_under(stored.tree, wanted.key, content.where)]
    tables = tables_in(stored.tree, content.where)
    if not tables:
        raise no_weights(stored.tree, content.where)
    # Low-rank updates of a network that lies elsewhere: no class has these weights.
    if adapters := only_adapters((name for weights in tables for name in weights.tensors), content.where):
        raise adapters
    preferred = [weights for weights in tables if weights.key in stored.preferred]
    return preferred or tables


def chosen_fit(
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
    expected = untied(module)
    if wanted.prefix is not None:
        return _under(tables, wanted.prefix, expected, stored, content)
    ways: list[Fit] = []
    for weights in tables:
        ways += fits(weights, expected, stored.idle)
    if len(ways) == 1:
        return ways[0]
    if before is not None:  # 0 or several fit: as at the conversion
        return _under(tables, before, expected, stored, content)
    if ways:
        raise _several(ways, stored, content, wanted)
    # Nothing fits.  Of one table the nearest prefix goes on to `fill_weights`, which lists what is missing by name.
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
    # `--prefix net` means `net.`: without the dot it would take `network.weight`, too.
    ending = f"{prefix}." if prefix and not prefix.endswith(".") else prefix
    ways = [fit_under(weights, ending, expected, stored.idle) for weights in tables]
    ways = [way for way in ways if way.names]
    if not ways:
        known: dict[str, None] = {}
        for weights in tables:
            known.update(dict.fromkeys(prefixes_of(weights.tensors)))
        shown = ", ".join(map(printable, list(known)[:12])) or "none"
        raise UsageError("--prefix", f"no weight of {content.where} starts with {ending!r}", f"use one of {shown}")
    # The table with most names of the network; what is missing of it is said when it is filled in.
    return max(ways, key=lambda way: len(way.names.keys() & expected.keys()))
