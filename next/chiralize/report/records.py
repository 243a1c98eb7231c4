"""The reports, one for each command, as frozen records. Whatever is said of them is made from the record alone.

    verify     VerifyReport       the verdicts on a network as it stands
    convert    ConvertReport      how it was made, what it costs, how far it is from the original, and the verdicts

`passed` is what the exit status comes from; `verdict` is the first line, `warnings` are the doubts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from chiralize.errors import Finding
from chiralize.graph.rewrite import Moved
from chiralize.infer.records import Choice
from chiralize.verification.verdicts import CertificateVerdict, Degeneracy, Measured, NumericVerdict, Standing, Verdict

if TYPE_CHECKING:
    from chiralize.report.findings import Tone


@dataclass(frozen=True)
class Cost:
    """Free numbers in the parameters, and multiplications of a call with the examples, before and after.

    Weights that the mirror ties to each other count once: a symmetric weight has about half of the original's freedom.
    """

    parameters_before: int
    parameters_after: int
    macs_before: int = 0
    macs_after: int = 0


class Readable:
    """What every report can say of itself: `str` gives the first line, `to_text()` all of it."""

    @property
    def verdict(self) -> str:
        """The verdict in one sentence."""
        from chiralize.report.findings import sentence

        return sentence(self)  # type: ignore[arg-type]

    @property
    def standing(self) -> Tone:
        """good, warning or failed."""
        from chiralize.report.findings import tone

        return tone(self)  # type: ignore[arg-type]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The doubts, in sentences."""
        from chiralize.report.findings import doubts

        return tuple(finding.facts for finding in doubts(self))  # type: ignore[arg-type]

    def to_text(self) -> str:
        """The whole report as plain text."""
        from chiralize.report.text import to_text

        return to_text(self, verbose=True)  # type: ignore[arg-type]

    def to_json(self) -> str:
        """The whole report as JSON text, version 2."""
        from chiralize.report.formats import to_json

        return to_json(self)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return self.verdict

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.verdict}>"


@dataclass(frozen=True, repr=False)
class VerifyReport(Readable):
    """Whether a network is equivariant.

    model: the name of the file or class.  verdicts: under each of its mirrors, by name.  measured: gap of every output
    and joint on random inputs, None where nothing could be compared.  degeneracy: how much of the answers tells left
    from right, now and when the file was written.
    """

    model: str
    verdicts: Mapping[str, Verdict]
    measured: Measured | None = None
    degeneracy: Degeneracy | None = None
    findings: tuple[Finding, ...] = ()
    command: Literal["verify"] = field(default="verify", init=False)

    @property
    def worst(self) -> Verdict:
        """The verdict under the first mirror that failed, else under the first."""
        return next((one for one in self.verdicts.values() if not one.passed), next(iter(self.verdicts.values())))

    @property
    def numeric(self) -> NumericVerdict:
        """The verdict of running it."""
        return self.worst.numeric

    @property
    def certificate(self) -> CertificateVerdict | None:
        """The proof, None where there is none."""
        return self.worst.certificate

    @property
    def is_unproved(self) -> bool:
        """Whether it commutes with its mirrors wherever it was run, and nobody could prove it."""
        standings = {verdict.standing for verdict in self.verdicts.values()}
        return Standing.UNPROVED in standings and standings <= {Standing.UNPROVED, Standing.PROVED, Standing.RUN}

    @property
    def passed(self) -> bool:
        """Whether all verdicts passed, and left and right are not lost."""
        lost = self.degeneracy is not None and bool(self.degeneracy.collapsed)
        return all(verdict.passed for verdict in self.verdicts.values()) and not lost

    def raise_for_failure(self) -> None:
        """Raise EquivarianceError, VerdictsDisagreeError, DegenerateError, or the reason why there is no proof, unless
        everything passed.
        """
        from chiralize.report.failure import raise_for_failure

        raise_for_failure(self)


@dataclass(frozen=True, repr=False)
class ConvertReport(Readable):
    """How a network was converted, what became of it, and the verdicts on the result.

    model, output: names of files or classes.  method, form: as asked for or chosen; `unchanged` where the network was
    equivariant already.  choices: of hidden spaces.  moved: how far each weight went.  measured: how far the result is
    from the original's average of both views.  degeneracy: whether it still tells left from right.
    max_drift: the bound on rho that was in force, None for none.
    """

    model: str
    method: str
    form: str
    cost: Cost
    verdicts: Mapping[str, Verdict]
    choices: tuple[Choice, ...] = ()
    moved: tuple[Moved, ...] = ()
    measured: Measured | None = None
    degeneracy: Degeneracy | None = None
    findings: tuple[Finding, ...] = ()
    max_drift: float | None = None
    output: str = ""
    command: Literal["convert"] = field(default="convert", init=False)

    @property
    def worst(self) -> Verdict:
        """The verdict under the first mirror that failed, else under the first."""
        return next((one for one in self.verdicts.values() if not one.passed), next(iter(self.verdicts.values())))

    @property
    def numeric(self) -> NumericVerdict:
        """The verdict of running the result."""
        return self.worst.numeric

    @property
    def certificate(self) -> CertificateVerdict | None:
        """The proof, None where there is none."""
        return self.worst.certificate

    @property
    def is_average(self) -> bool:
        """Whether both views run through the whole of the original."""
        return self.form == "two-view"

    @property
    def is_unchanged(self) -> bool:
        """Whether the network was equivariant already and is handed back as it was."""
        return self.method == "unchanged"

    @property
    def passed(self) -> bool:
        """Whether all verdicts passed, the result is within its bound, and left and right are not lost."""
        lost = self.degeneracy is not None and bool(self.degeneracy.collapsed)
        rho = self.measured.rho if self.measured is not None else None
        far = rho is not None and self.max_drift is not None and not rho <= self.max_drift
        return all(verdict.passed for verdict in self.verdicts.values()) and not (lost or far)


Report = VerifyReport | ConvertReport
