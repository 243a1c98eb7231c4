"""The normaliser that a policy was converted with: it was written beside it, and the mirror holds for both together.

Conversion of `model.zip` with `vecnormalize.pkl` to `chiral.zip` writes `chiral-vecnormalize.pkl`, with other numbers.
With the old ones the policy would not be equivariant.  `formats/sb3.py` asks here which file belongs to a policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import numpy as np

from chiralize.errors import ChiralizeError, UsageError
from chiralize.storage.sidecar import names_weight, remembered
from chiralize.storage.vec_normalize import MEAN, normaliser_beside, read_statistics


@dataclass(frozen=True)
class Written:
    """What a policy's certificate says of its normaliser.

    expected: where it was written, as far as that is known.  path: where it is, None where it is not found.
    """

    expected: Path
    path: Path | None

    def is_that_of(self, given: Path) -> bool:
        """Whether a file has the same statistics, or nobody can tell.  Raises ModelFileError, UsageError."""
        if self.path is None:
            return True
        try:
            ours = read_statistics(self.path)
        except ChiralizeError:  # the given one is judged, also where this one cannot be read
            return True
        theirs = read_statistics(given)
        return np.array_equal(ours.mean, theirs.mean) and np.array_equal(ours.var, theirs.var)


def written_normaliser(model: Path, extra: Mapping[str, str]) -> Written | None:
    """The normaliser that was written with a policy; None where it was converted without one.

    extra: texts that travel with the file.  Certificates of older versions do not say what the original's was called:
    then it is the only file beside the policy that starts with its name.
    """
    name = remembered(extra).normalizer
    if name:  # a name, never a path: the certificate may come from elsewhere
        expected = normaliser_beside(model, Path(Path(name).name))
        return Written(expected, expected if expected.is_file() else None)
    if not names_weight(extra, MEAN):  # no statistics among the weights that were converted
        return None
    beside = sorted(model.parent.glob(f"{escape(model.stem)}-*.pkl"))
    if len(beside) == 1:
        return Written(beside[0], beside[0])
    return Written(normaliser_beside(model, Path("vecnormalize.pkl")), None)


def missing(where: str, expected: Path, command: str) -> UsageError:
    """The error for a policy whose normaliser is neither given nor found.  command: as the user typed it."""
    facts = (
        "the policy was converted behind its normaliser, and its mirror holds for both together: without it, or with "
        f"another one, it is another network; {expected.name} is not beside it"
    )
    option = f"--normalizer {expected}"
    if command:
        option = f"\n    {command} {option}"
    return UsageError(where, facts, f"give the one that was written with it: {option}")
