"""Notes for the report on what was chosen among the contents of a file of weights, and what was left aside.

`weights.load_weights` asks for them when the network is filled: nobody should have to guess which of several tables,
or which part of one, was taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.errors.words import listed, when
from chiralize.storage.format import Wanted
from chiralize.storage.stored import Stored
from chiralize.storage.tables import MARKS, Fit, Weights, prefixes_of, printable

_SHOWN_BESIDE = 3
SPREADS = ("std", "log_std", "logstd", "std_param", "log_std_param", "actor_logstd", "actor_log_std", "action_log_std")
"""Names of standard deviations of actions, which no forward reads."""


def no_code_ran(fit: Fit, stored: Stored, network: str) -> tuple[str, ...]:
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


def notes_on_choice(fit: Fit, tables: Sequence[Weights], wanted: Wanted, stored: Stored) -> list[str]:
    """Notes on the choice among the contents of the file: entry, marks, spread of actions, prefix, what was left."""
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
    # A policy's mean is converted; its spread is no weight of the class here, and may differ from left to right.
    spreads = list(filter(_is_spread_of_actions, fit.aside))
    if spreads:
        notes.append(
            f"{printable(spreads[0])}, the spread of the actions, is no weight of this class and stays as it "
            "is: where partners differ in it, samples are not mirrored as the mean is. A class that has it as a "
            "parameter beside its layers gets it made equal for partners"
        )
    # A prefix that all names have is a wrapper's; one that others lack is a part of a larger network.
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
    """How many weights were left aside, by the beginnings of their names: `left out 4 others (critic)`."""
    used = set(prefixes_of(dict.fromkeys(fit.names.values())))
    heads = list(dict.fromkeys(_head(name, used) for name in fit.aside))
    shown = ", ".join(map(printable, heads[:6])) + when(len(heads) > 6, " and others")
    others = "1 other" if len(fit.aside) == 1 else f"{len(fit.aside)} others"
    return f"left out {others} ({shown})"


def _head(name: str, used: set[str]) -> str:
    """The beginning of a name that no weight of the network shares.

    used: prefixes of the network's names, with dots.  Of `net.critic.0.bias` beside `net.actor.` it is `net.critic`.
    """
    parts = name.split(".")
    for count in range(1, len(parts)):
        head = ".".join(parts[:count])
        if f"{head}." not in used:
            return head
    return name
