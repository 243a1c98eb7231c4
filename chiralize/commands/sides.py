"""How much of a file's answers tells left from right, and how much did when it was written.

Both on the same random inputs: the original's share on real ones says nothing of the share on these, as behind a
normaliser that divides an entry which never moved by next to nothing. Files of older versions have only that one, so
that of those the two sides count as lost where nothing at all is odd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chiralize.graph.mirror import NetworkMirror
from chiralize.problem.network import Network
from chiralize.storage.passport import Passport
from chiralize.verification.figures import on_random_inputs
from chiralize.verification.verdicts import Degeneracy, Drift

_NOTHING = 1e-9
"""A share of the variance that is rounding."""


def compared_with_the_file(
    network: Network, mirror: NetworkMirror, passport: Passport | None
) -> tuple[Drift, Degeneracy]:
    """The network against its own flip average, and its odd shares beside those of its file; without, twice its own.

    passport: what the file says of this mirror.
    """
    example = passport.example if passport is not None else None
    drift, degeneracy = on_random_inputs(network, mirror, example)
    before = _when_written(passport, degeneracy.odd_after) if passport is not None else ()
    if len(before) == len(degeneracy.odd_after):
        degeneracy = replace(degeneracy, odd_before=tuple(before))
    return drift, degeneracy


def written_again(
    network: Network, mirror: NetworkMirror, passport: Passport, before: Passport | None
) -> Sequence[float]:
    """The odd shares on random inputs of a network that is handed on as it is, for its next passport.

    before: the passport that it came with; its shares stay, so that sides that were lost since do not become the
    measure of themselves. In sizes of another example they are measured anew, unless the sides are lost by now.
    () where that passport says nothing of them.
    """
    if before is not None:
        shares = before.figures.get("odd_random", ())
        is_lost = before.inputs != passport.inputs and compared_with_the_file(network, mirror, before)[1].collapsed
        if not shares or before.inputs == passport.inputs or is_lost:
            return shares
    return on_random_inputs(network, mirror, passport.example)[1].odd_after


def _when_written(passport: Passport, now: Sequence[float]) -> Sequence[float]:
    """The share of every output that was odd on the same inputs; () where the passport has none to compare with."""
    if "odd_random" in passport.figures:
        return passport.figures["odd_random"]
    return passport.figures.get("odd", ()) if max(now, default=1.0) < _NOTHING else ()
