"""A file of weights that lacks a few of those that its network has.

`weights` asks when no arguments make a class fit a file, and a few weights are missing with the nearest ones: then the
file is at fault, not the arguments. Of 40 weights up to 5 may be missing, and all others have to fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from chiralize.errors import FactoryError
from chiralize.errors.words import listed
from chiralize.storage.content import Content
from chiralize.storage.tables import Weights, nearest

_SHOWN = 12
_MOST = 8
"""A file that lacks more than one in so many weights is of another network."""


def refuse_incomplete(
    content: Content,
    name: str,
    expected: Mapping[str, torch.Tensor],
    tables: Sequence[Weights],
    arguments: Mapping[str, str],
) -> None:
    """Raise FactoryError where the file has nearly all weights of a network, in their sizes, and no others.

    Such a file lacks some: to ask for arguments first would send the user the long way round.
    name, arguments: of the class that was built with them.  expected: its weights.
    """
    # Of the table that comes nearest: what it lacks, and what it has that the network does not, or not in this size.
    fit = nearest(tables, expected)
    sizes = {weight: tuple(fit.weights.tensors[full].shape) for weight, full in fit.names.items()}
    missing = [weight for weight in expected if weight not in sizes]
    others = [weight for weight in sizes if weight not in expected or sizes[weight] != tuple(expected[weight].shape)]
    if others or not missing or len(missing) > len(expected) // _MOST:
        return
    lacks = listed([f"{weight!r} {tuple(expected[weight].shape)}" for weight in missing], _SHOWN)
    shown = ", ".join(f"{argument}={text}" for argument, text in arguments.items())
    facts = f"lacks {lacks}; all other weights fit {name} with {shown}"
    remedy = "take a file that is complete; or, if the network was trained without them, say so by `--arg name=value`."
    raise FactoryError(content.where, facts, remedy)
