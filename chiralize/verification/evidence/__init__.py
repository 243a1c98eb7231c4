"""Signs from outside that T is the right mirror: a wrong T must not approve itself.

Three witnesses that know nothing of the given pairs: the left and right words in the joints' names, the bones of the
skeleton, and the trained network itself, which fits its true mirror and no other.
"""

from chiralize.verification.evidence.fitting import Answers, Candidate, Comparison, MirrorGap, compare
from chiralize.verification.evidence.judging import Basis, judged, recalled
from chiralize.verification.evidence.names import (
    bone_findings,
    by_names,
    name_findings,
    names_of_entries,
    symmetric_pose,
)
from chiralize.verification.evidence.neighbours import Neighbour, nearby, neighbours, with_layouts
from chiralize.verification.evidence.noise import looks_real
from chiralize.verification.evidence.training import is_untrained
from chiralize.verification.verdicts import Evidence

__all__ = [
    "IDLE",
    "Answers",
    "Basis",
    "Candidate",
    "Comparison",
    "MirrorGap",
    "Neighbour",
    "bone_findings",
    "by_names",
    "compare",
    "is_untrained",
    "joined",
    "judged",
    "looks_real",
    "name_findings",
    "names_of_entries",
    "nearby",
    "neighbours",
    "recalled",
    "symmetric_pose",
    "with_layouts",
]

IDLE = "T changes nothing in any input or output, no joint and no sign: every network commutes with it"


def joined(*parts: Evidence) -> Evidence:
    """All checks, warnings and notes, each once, and the figures of the first part that has some."""
    return Evidence(
        tuple(dict.fromkeys(text for part in parts for text in part.checks)),
        tuple(dict.fromkeys(text for part in parts for text in part.warnings)),
        next((part.fit for part in parts if part.fit is not None), None),
        tuple(dict.fromkeys(text for part in parts for text in part.notes)),
    )
