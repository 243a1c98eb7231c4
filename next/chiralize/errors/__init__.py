"""Every error that chiralize raises on purpose, every warning, and the `Finding`: what is to be said of a result.

A message says where (the user's file and line, or the node of the user's model), what is wrong with the numbers that
show it, and how to mend it. Exit status by family, the first digit of the code:

    CH1xx, CH2xx    2       the specification; files, models, data, options
    CH3xx           3       the network holds something that cannot be converted
    CH4xx, CH5xx    1       the result would not be worth having; the network is not equivariant
    CH9xx           101     a defect of chiralize

A report lists its findings; `chiralize()` and `verify()` pass doubts on through `warnings.warn`, one warning
per topic, so that `warnings.filterwarnings` can silence a topic or make it an error.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

_LONG = re.compile(r"\S{400,}|'[^'\n]{400,}'")
"""Longer than what a user types: names in files may have any length."""
_ENDS = 100
"""Characters of such a name that a message shows at either end: together two lines of a terminal."""
_EXIT_STATUS = {"1": 2, "2": 2, "3": 3, "4": 1, "5": 1, "9": 101}


class ChiralizeError(Exception):
    """Base of all errors: `where: facts` and, on a second line, `Fix: remedy`. Very long names are cut in the middle.

    where: file and line, node or option the error is about.  facts: what is wrong, with numbers.
    remedy: what the user can do next.
    """

    code: ClassVar[str] = "CH900"
    exit_status: ClassVar[int] = 101

    def __init_subclass__(cls, code: str, **others: Any) -> None:
        super().__init_subclass__(**others)
        cls.code, cls.exit_status = code, _EXIT_STATUS[code[2]]

    def __init__(self, where: str, facts: str, remedy: str) -> None:
        self.where = where
        self.facts = facts
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{type(self).__name__} {self.code}  {self.where}: {self.facts}\n    Fix: {self.remedy}"
        return _LONG.sub(lambda name: f"{name[0][:_ENDS]}…{name[0][-_ENDS:]}", text)

    # Python copies and pickles an exception by calling its class with `args`, which is the message alone here.
    def __reduce__(self) -> tuple[type, tuple[str, str, str], dict[str, Any]]:
        return type(self), (self.where, self.facts, self.remedy), dict(self.__dict__)


# ---- CH1xx: the specification (skeleton YAML, layouts, options that describe the mirror) --------------------
class SpecError(ChiralizeError, code="CH100"):
    """The specification cannot be read or contradicts itself."""


class UnpairedJointError(SpecError, code="CH101"):
    """A left joint has no right partner, or the other way round."""


class NotAnInvolutionError(SpecError, code="CH102"):
    """The described mirror applied twice is not the identity."""


class UnknownKeyError(SpecError, code="CH103"):
    """A key that the schema does not know, or one that appears twice."""


class UnknownNameError(SpecError, code="CH104"):
    """A joint, skeleton or dimension name that is defined nowhere."""


class YamlSyntaxError(SpecError, code="CH105"):
    """The file is not valid YAML, or not of the plain kind that chiralize reads."""


class WrongValueError(SpecError, code="CH106"):
    """A value of the wrong type or out of range."""


class MissingKeyError(SpecError, code="CH107"):
    """Something that must be stated is not stated (pairs, negate, ...)."""


class AmbiguousLayoutError(SpecError, code="CH108"):
    """Several layouts fit the sizes of a tensor."""


class LayoutSizeError(SpecError, code="CH109"):
    """No layout fits the sizes of a tensor, or the given one does not."""


class RepresentationSizeError(SpecError, code="CH110"):
    """A representation of one size was applied to an axis of another."""


class ImportFormatError(SpecError, code="CH111"):
    """A file of another tool could not be understood as that tool's skeleton."""


# ---- CH2xx: files, models, data, options -----------------------------------------------------------------------
class InputError(ChiralizeError, code="CH200"):
    """A model, data file or option cannot be used."""


class ModelFileError(InputError, code="CH201"):
    """The model file is missing, truncated or of an unknown format."""


class UnsafeFileError(InputError, code="CH202"):
    """Loading the file would run code that it carries."""


class FactoryError(InputError, code="CH203"):
    """`--model pkg.mod:factory` cannot be imported, called, or does not fit the weights."""


class DataFileError(InputError, code="CH204"):
    """An array file cannot be read or does not fit the model's inputs."""


class NonFiniteError(InputError, code="CH205"):
    """Weights or data hold NaN or infinity."""


class OutputFileError(InputError, code="CH206"):
    """The output cannot be written where it was asked for."""


class UsageError(InputError, code="CH207"):
    """Options are missing or contradict each other."""


class ModelRunError(InputError, code="CH208"):
    """The model itself fails on the example inputs, or its answers are not finite."""


class AsymmetricWeightError(InputError, code="CH210"):
    """A weight is not symmetric under T, though it is handed to a chiral layer, or is to be written or attached."""


# ---- CH3xx: unsupported -----------------------------------------------------------------------------------------
class UnsupportedError(ChiralizeError, code="CH300"):
    """The network holds something that cannot be converted (yet).

    at: the node of the graph that refused, "" where no single one did.
    """

    at: str = ""


class NoRuleError(UnsupportedError, code="CH301"):
    """No rule says how this operation acts on mirrored inputs."""


class NeverEquivariantError(UnsupportedError, code="CH302"):
    """The operation cannot commute with the mirror, whatever its weights, as far as its rule can tell."""


class NegatedChannelsError(UnsupportedError, code="CH303"):
    """An operation that is not odd meets channels that carry signs."""


class AsymmetricConstantError(UnsupportedError, code="CH304"):
    """A constant of the network is not symmetric, and constants are never changed unasked."""


class CaptureError(UnsupportedError, code="CH306"):
    """The network cannot be captured as a graph (data-dependent control flow, for example)."""


class OffsetError(UnsupportedError, code="CH308"):
    """The point that coordinates are mirrored at (`reflect`) cannot be taken out of the network."""


class ExportError(UnsupportedError, code="CH309"):
    """The result cannot be written in the format that was asked for."""


class MethodUnavailableError(UnsupportedError, code="CH307"):
    """The method or output form does not exist for this network or in this version."""


# ---- CH4xx: the result would not be worth having ---------------------------------------------------------------
class VerificationError(ChiralizeError, code="CH400"):
    """The result was computed but is not good enough to be written."""


class DriftError(VerificationError, code="CH401"):
    """The converted network is further from the original than allowed."""


class DegenerateError(VerificationError, code="CH402"):
    """The converted network is equivariant but has lost its left/right information."""


class ParityError(VerificationError, code="CH403"):
    """The exported file does not compute what the network computes."""


# ---- CH5xx: not equivariant ------------------------------------------------------------------------------------
class EquivarianceError(VerificationError, code="CH501"):
    """The network does not commute with the mirror."""


class VerdictsDisagreeError(VerificationError, code="CH502"):
    """The numeric verdict and the certificate contradict each other."""


# ---- CH9xx: internal -------------------------------------------------------------------------------------------
class InternalError(ChiralizeError, code="CH901"):
    """A defect of chiralize: please report it."""


# ---- what is to be said of a result ------------------------------------------------------------------------------
Topic = Literal["mirror", "drift", "sides", "constants", "states", "inputs", "precision", "loop", "capture", "files"]
Level = Literal["note", "doubt", "refusal"]


@dataclass(frozen=True)
class Finding:
    """One thing to be said of a network, its inputs or a result. Topic and level decide, never the words.

    level: `note`, good to know; `doubt`, something is wrong or risky though a result is handed over; `refusal`, nothing
    is handed over unless the user forces it.  facts: a sentence, with numbers.  remedy: what the user can do, "" for
    nothing.  brief: a few words for the first line of a report, "" where that line says it in other words.
    """

    topic: Topic
    level: Level
    facts: str
    remedy: str = ""
    brief: str = ""

    def __str__(self) -> str:
        return f"{self.facts} ({self.remedy})" if self.remedy else self.facts


class ChiralizeWarning(UserWarning):
    """Base of all warnings: something about a result is wrong or risky, though it was handed over."""


class MirrorWarning(ChiralizeWarning):
    """The mirror does not look like the one that the network or the skeleton has."""


class DriftWarning(ChiralizeWarning):
    """The result is far from the original, or nobody knows how far, or the original itself is asymmetric."""


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


class LoopWarning(ChiralizeWarning):
    """In its environment a policy falls, returns less, or is one-sided; or the environment or its mirror is wrong."""


_WARNINGS: dict[Topic, type[ChiralizeWarning]] = {
    "mirror": MirrorWarning,
    "drift": DriftWarning,
    "sides": SidesWarning,
    "constants": ConstantsWarning,
    "states": StateWarning,
    "inputs": DataWarning,
    "precision": PrecisionWarning,
    "loop": LoopWarning,
    "capture": ChiralizeWarning,
    "files": ChiralizeWarning,
}


def warn_of(findings: Iterable[Finding], stacklevel: int) -> None:
    """Warn of every topic that holds a doubt, once, with all of its facts.

    stacklevel: as for `warnings.warn`: 1 is the function that calls this one, 2 its caller.
    """
    facts: dict[Topic, dict[str, None]] = {}
    for finding in findings:
        if finding.level != "note":
            facts.setdefault(finding.topic, {})[finding.facts] = None
    for topic, texts in facts.items():
        warnings.warn("; ".join(texts), _WARNINGS[topic], stacklevel + 1)
