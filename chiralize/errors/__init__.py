"""Every error that chiralize raises on purpose, with its code, exit status and message; and every warning.

A message says where (the user's file and line, or the node of the user's model), what is wrong with the
numbers that show it, and how to mend it. `docs/errors.md` has one section per code; a test compares both lists.

Exit status by family (first digit of the code): CH1xx and CH2xx -> 2, CH3xx -> 3, CH4xx and CH5xx -> 1, CH9xx -> 101.

A report lists its cautions; `chiralize()`, `verify()` and `audit()` pass them on through `warnings.warn`, one warning
per topic, so that `warnings.filterwarnings` can silence a topic or make it an error.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

_LONG = re.compile(r"\S{400,}|'[^'\n]{400,}'")
"""Longer than what a user types: names in files may have any length."""
_ENDS = 100
"""Characters of it that stay, at either end."""


class ChiralizeError(Exception):
    """Base of all errors: `where: facts` and, on a second line, `Fix: remedy`. Very long names are cut in the middle.

    where: file and line, node or option the error is about.  facts: what is wrong, with numbers.
    remedy: what the user can do next.
    """

    code: ClassVar[str] = "CH900"
    exit_status: ClassVar[int] = 101

    def __init__(self, where: str, facts: str, remedy: str) -> None:
        self.where = where
        self.facts = facts
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{type(self).__name__} {self.code}  {self.where}: {self.facts}\n    Fix: {self.remedy}"
        return _LONG.sub(lambda name: f"{name[0][:_ENDS]}…{name[0][-_ENDS:]}", text)

    # Python copies and pickles an exception by calling its class with `args`, which is the message alone here. What a
    # caller has set on it (`rho`, `settled`) goes along.
    def __reduce__(self) -> tuple[type, tuple[str, str, str], dict[str, Any]]:
        return type(self), (self.where, self.facts, self.remedy), dict(self.__dict__)


# ---- CH1xx: the specification (skeleton YAML, layouts, options that describe the mirror) --------------------
class SpecError(ChiralizeError):
    """The specification cannot be read or contradicts itself."""

    code = "CH100"
    exit_status = 2


class UnpairedJointError(SpecError):
    """A left joint has no right partner, or the other way round."""

    code = "CH101"


class NotAnInvolutionError(SpecError):
    """The described mirror applied twice is not the identity."""

    code = "CH102"


class UnknownKeyError(SpecError):
    """A key that the schema does not know, or one that appears twice."""

    code = "CH103"


class UnknownNameError(SpecError):
    """A joint, skeleton or dimension name that is defined nowhere."""

    code = "CH104"


class YamlSyntaxError(SpecError):
    """The file is not valid YAML, or not of the plain kind that chiralize reads."""

    code = "CH105"


class WrongValueError(SpecError):
    """A value of the wrong type or out of range."""

    code = "CH106"


class MissingKeyError(SpecError):
    """Something that must be stated is not stated (pairs, negate, ...)."""

    code = "CH107"


class AmbiguousLayoutError(SpecError):
    """Several layouts fit the sizes of a tensor."""

    code = "CH108"


class LayoutSizeError(SpecError):
    """No layout fits the sizes of a tensor, or the given one does not."""

    code = "CH109"


class RepresentationSizeError(SpecError):
    """A representation of one size was applied to an axis of another."""

    code = "CH110"


class ImportFormatError(SpecError):
    """A file of another tool could not be understood as that tool's skeleton."""

    code = "CH111"


class RobotMirrorError(SpecError):
    """A robot has no mirror: joints without a partner, several that may be it, or nothing that is left or right."""

    code = "CH112"


# ---- CH2xx: files, models, data, options -----------------------------------------------------------------------
class InputError(ChiralizeError):
    """A model, data file or option cannot be used."""

    code = "CH200"
    exit_status = 2


class ModelFileError(InputError):
    """The model file is missing, truncated or of an unknown format."""

    code = "CH201"


class UnsafeFileError(InputError):
    """Loading the file would run code that it carries."""

    code = "CH202"


class FactoryError(InputError):
    """`--model pkg.mod:factory` cannot be imported, called, or does not fit the weights."""

    code = "CH203"


class DataFileError(InputError):
    """An array file cannot be read or does not fit the model's inputs."""

    code = "CH204"


class NonFiniteError(InputError):
    """Weights or data hold NaN or infinity."""

    code = "CH205"


class OutputFileError(InputError):
    """The output cannot be written where it was asked for."""

    code = "CH206"


class UsageError(InputError):
    """Options are missing or contradict each other."""

    code = "CH207"


class ModelRunError(InputError):
    """The model itself fails on the example inputs, or its answers are not finite."""

    code = "CH208"


class MissingPackageError(InputError):
    """The file format needs a package that is not installed."""

    code = "CH209"


class AsymmetricWeightError(InputError):
    """A weight is not symmetric under T, though it is handed to a chiral layer, or is to be written or attached."""

    code = "CH210"


# ---- CH3xx: unsupported -----------------------------------------------------------------------------------------
class UnsupportedError(ChiralizeError):
    """The network holds something that cannot be converted (yet).

    at: the node of the graph that refused.  settled: whether `reduce` refuses it at every width.  sized: whether inputs
    of another size would do.  aligns: whether `--align kernel` would.
    """

    code = "CH300"
    exit_status = 3
    at: str = ""
    settled: bool = True
    sized: bool = False
    aligns: bool = False


class NoRuleError(UnsupportedError):
    """No rule says how this operation acts on mirrored inputs."""

    code = "CH301"


class NeverEquivariantError(UnsupportedError):
    """The operation cannot commute with the mirror, whatever its weights, as far as its rule can tell."""

    code = "CH302"


class NegatedChannelsError(UnsupportedError):
    """An operation that is not odd meets channels that carry signs."""

    code = "CH303"


class AsymmetricConstantError(UnsupportedError):
    """A constant of the network is not symmetric, and constants are never changed unasked."""

    code = "CH304"


class CaptureError(UnsupportedError):
    """The network cannot be captured as a graph (data-dependent control flow, for example)."""

    code = "CH306"


class OffsetError(UnsupportedError):
    """The point that coordinates are mirrored at (`reflect`) cannot be taken out of the network."""

    code = "CH308"


class ExportError(UnsupportedError):
    """The result cannot be written in the format that was asked for."""

    code = "CH309"


class MethodUnavailableError(UnsupportedError):
    """The method or output form does not exist for this network or in this version."""

    code = "CH307"
    settled = False


# ---- CH4xx: the result would not be worth having ---------------------------------------------------------------
class VerificationError(ChiralizeError):
    """The result was computed but is not good enough to be written."""

    code = "CH400"
    exit_status = 1


class DriftError(VerificationError):
    """The converted network is further from the original than allowed.

    rho, bound: where that is the reason, and what it may be.
    """

    code = "CH401"
    of_narrow_inputs: bool = False
    rho: float | None = None
    bound: float = float("inf")


class DegenerateError(VerificationError):
    """The converted network is equivariant but has lost its left/right information."""

    code = "CH402"


class ParityError(VerificationError):
    """The exported file does not compute what the network computes."""

    code = "CH403"


class MirrorError(VerificationError):
    """The network shows on real inputs that the given mirror is not its own."""

    code = "CH404"


class OneSidedError(VerificationError):
    """The network answers both sides too differently for its two views to be averaged unasked."""

    code = "CH405"


# ---- CH5xx: not equivariant ------------------------------------------------------------------------------------
class EquivarianceError(VerificationError):
    """The network does not commute with the mirror."""

    code = "CH501"


class VerdictsDisagreeError(VerificationError):
    """The numeric verdict and the certificate contradict each other."""

    code = "CH502"


# ---- CH9xx: internal -------------------------------------------------------------------------------------------
class InternalError(ChiralizeError):
    """A defect of chiralize: please report it."""

    code = "CH901"


# ---- warnings -------------------------------------------------------------------------------------------------
Topic = Literal["mirror", "drift", "sides", "constants", "states", "data", "precision", "loop"]


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


_CLASSES: dict[Topic, type[ChiralizeWarning]] = {
    "mirror": MirrorWarning,
    "drift": DriftWarning,
    "sides": SidesWarning,
    "constants": ConstantsWarning,
    "states": StateWarning,
    "data": DataWarning,
    "precision": PrecisionWarning,
    "loop": LoopWarning,
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
    """Warn of each topic once, with all its texts.

    stacklevel: as for `warnings.warn`: 1 is the function that calls this one, 2 its caller.
    """
    for topic, category in _CLASSES.items():
        texts = dict.fromkeys(caution.text for caution in cautions if caution.topic == topic)
        if texts:
            warnings.warn("; ".join(texts), category, stacklevel + 1)
