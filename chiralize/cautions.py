"""What speaks for caution about a result: one record per thing, and the Python warnings that carry them.

A report lists its cautions; `chiralize()`, `verify()` and `audit()` pass them on through `warnings.warn`, one warning
per topic, so that `warnings.filterwarnings` can silence a topic or make it an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Topic = Literal["mirror", "drift", "sides", "constants", "states", "data", "precision"]


class ChiralizeWarning(UserWarning):
    """Base of all warnings: something about a result is wrong or risky, though it was handed over."""


class MirrorWarning(ChiralizeWarning):
    """The mirror does not look like the one that the network or the skeleton has."""


class DriftWarning(ChiralizeWarning):
    """The result is far from the original, or nobody knows how far, or the original itself is lopsided."""


class SidesWarning(ChiralizeWarning):
    """The result lost what tells left from right, or ignores inputs that the original reacts to."""


class ConstantsWarning(ChiralizeWarning):
    """Constants of the network were changed."""


class StateWarning(ChiralizeWarning):
    """The result starts from another stored state than the original."""


class DataWarning(ChiralizeWarning):
    """The calibration inputs are few, poorly spread, or of another kind than the network was trained on."""


class PrecisionWarning(ChiralizeWarning):
    """The result is equivariant in float64, but not in the precision in which it runs."""


_CLASSES: dict[Topic, type[ChiralizeWarning]] = {
    "mirror": MirrorWarning,
    "drift": DriftWarning,
    "sides": SidesWarning,
    "constants": ConstantsWarning,
    "states": StateWarning,
    "data": DataWarning,
    "precision": PrecisionWarning,
}


@dataclass(frozen=True)
class Caution:
    """One thing that is wrong or risky.

    text: the whole sentence, as the report prints it.  brief: a few words for the headline, "" where the headline
    says it in other words.
    """

    topic: Topic
    text: str
    brief: str = ""


def warn_of(cautions: Sequence[Caution], stacklevel: int) -> None:
    """One Python warning per topic, with all that is to be said of it.

    stacklevel: as for `warnings.warn`: 1 is the function that calls this one, 2 its caller.
    """
    for topic, category in _CLASSES.items():
        texts = dict.fromkeys(caution.text for caution in cautions if caution.topic == topic)
        if texts:
            warnings.warn("; ".join(texts), category, stacklevel + 1)
