"""The reports as frozen records, one per command; the records in them are those of `particulars` and of verdicts.

A command fills one and hands it out; all that is said of it (`verdict`, `cautions`, the documents, pages and files) is
made from the record alone. `passed` is what the exit status comes from.

    verify  VerifyReport    convert  ConvertReport    plan  PlanReport    audit  AuditReport    bench  BenchReport
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chiralize.infer.records import Choice
from chiralize.report.body import Body
from chiralize.report.particulars import (
    BenchRow,
    Changes,
    Circumstances,
    Claims,
    Conditions,
    Cost,
    JointGap,
    Nearness,
    PlanRow,
    RolloutRow,
    Way,
)
from chiralize.report.readable import Readable
from chiralize.verification.asymmetry.records import Advice, Alignment, Asymmetry, DataGap, LayerGap, Leaning
from chiralize.verification.closed_loop.advising import advice_after
from chiralize.verification.closed_loop.records import Rollout
from chiralize.verification.verdicts import (
    CertificateVerdict,
    Drift,
    Evidence,
    Judgement,
    NumericVerdict,
    OfMirror,
)

SYMMETRIC = 1e-3
"""Gap of a layer below which there is nothing to speak of."""
GIVEN_DATA = "given data"
"""How the source of figures begins that were measured on the user's inputs; how many of them may follow."""


@dataclass(frozen=True, repr=False)
class VerifyReport(Readable):
    """Whether a network is equivariant: both verdicts, and what speaks for or against the mirror itself.

    claims: what all of it is about, where that is not the whole network.
    joints: gaps of single joints on random inputs, where outputs have joints.  bodies: how these are drawn.
    """

    model: str
    judgement: Judgement
    evidence: Evidence = Evidence()
    notes: tuple[str, ...] = ()
    claims: Claims | None = None
    joints: tuple[JointGap, ...] = ()
    bodies: tuple[Body, ...] = ()
    circumstances: Circumstances = Circumstances()

    @property
    def numeric(self) -> NumericVerdict:
        """The verdict of running it, which every verification has."""
        assert self.judgement.numeric is not None
        return self.judgement.numeric

    @property
    def certificate(self) -> CertificateVerdict | None:
        """The verdict of the op rules."""
        return self.judgement.certificate

    @property
    def passed(self) -> bool:
        """Whether both verdicts passed, and left and right are not lost."""
        return self.judgement.passed and not self.judgement.is_collapsed

    def raise_for_failure(self) -> None:
        """Raise EquivarianceError, VerdictsDisagreeError or DegenerateError unless everything passed."""
        from chiralize.report.failure import raise_for_failure

        raise_for_failure(self)


@dataclass(frozen=True, repr=False)
class ConvertReport(Readable):
    """The report of a conversion.

    model, output: names of the files or objects.  claims: what all of it is about, where that is not the whole network.
    bodies: how the joints of outputs are drawn.
    rollout: what original and result do in their environment, None where that was not asked for.
    """

    model: str
    way: Way
    cost: Cost
    output: str = ""
    changes: Changes = Changes()
    nearness: Nearness = Nearness()
    judgement: Judgement = Judgement()
    evidence: Evidence = Evidence()
    notes: tuple[str, ...] = ()
    claims: Claims | None = None
    bodies: tuple[Body, ...] = ()
    rollout: Rollout | None = None

    @property
    def method(self) -> str:
        """The method as asked for or chosen."""
        return self.way.method

    @property
    def form(self) -> str:
        """The form as asked for or chosen."""
        return self.way.form

    @property
    def is_one_piece(self) -> bool:
        """Whether it is a graph with norms folded in: no statistics or tables are deployed beside its weights."""
        return self.form == "fused"

    @property
    def numeric(self) -> NumericVerdict | None:
        """The verdict of running the result, None where it was not asked for."""
        return self.judgement.numeric

    @property
    def certificate(self) -> CertificateVerdict | None:
        """The proof, None where there is none."""
        return self.judgement.certificate

    @property
    def drift(self) -> Drift | None:
        """How far the result is from the original's flip average, None where nobody knows."""
        return self.nearness.drift

    @property
    def mirrors(self) -> tuple[OfMirror, ...]:
        """The verdicts under each of several mirrors."""
        return self.judgement.mirrors

    @property
    def is_average(self) -> bool:
        """Whether both views run through the whole of the original."""
        return self.way.is_average

    @property
    def passes(self) -> int:
        """How often the network runs in one call of the result."""
        if not self.is_average:
            return 1
        return self.way.views if self.claims is None else 3  # the original answers once more for what is left out

    @property
    def passed(self) -> bool:
        """Whether the verdicts that there are passed, left and right are not lost, the bounds on drift are met, and
        the result returns no less in its environment.
        """
        if self.judgement.is_collapsed or self.rollout and self.rollout.is_lost:
            return False
        return self.judgement.passed and self.nearness.is_near


@dataclass(frozen=True, repr=False)
class PlanReport(Readable):
    """The plan of a conversion, op by op. blocked: everything that stands in its way, in sentences.

    constant: a sentence where no answer depends on the inputs, so that there is nothing to convert; else "".
    """

    model: str
    rows: tuple[PlanRow, ...]
    cost: Cost
    choices: tuple[Choice, ...] = ()
    blocked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    constant: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing stands in the way."""
        return not (self.blocked or self.constant)


@dataclass(frozen=True, repr=False)
class AuditReport(Readable):
    """The gap of a network, how far its data lean, and whether to convert.

    source: where the inputs came from.  data: the entries that lean most.  layers: in the order of the network.
    leanings: all samples, then by label.
    rollout: what it does in its environment, None where that was not asked for.  alignments: of maps of pictures,
    how far those of mirrored pictures are off when they are turned back.  bodies: how joints are drawn.
    """

    model: str
    network: Asymmetry
    source: str
    data: tuple[DataGap, ...] = ()
    evidence: Evidence = Evidence()
    notes: tuple[str, ...] = ()
    layers: tuple[LayerGap, ...] = ()
    leanings: tuple[Leaning, ...] = ()
    advice: Advice | None = None
    rollout: Rollout | None = None
    alignments: tuple[Alignment, ...] = ()
    bodies: tuple[Body, ...] = ()

    @property
    def is_of_given_data(self) -> bool:
        """Whether the figures are of the user's inputs, all or some of them, and not of random ones."""
        return self.source.startswith(GIVEN_DATA)

    def with_rollout(self, rollout: Rollout) -> AuditReport:
        """The audit with what policies did in their environment, and the advice that this leaves."""
        return replace(self, rollout=rollout, advice=advice_after(self.advice, rollout))

    @property
    def begins(self) -> LayerGap | None:
        """The first layer whose answer is asymmetric although what it reads is not."""
        # Where it begins: it reads what is symmetric, and answers what is not.
        return next((layer for layer in self.layers if layer.before <= SYMMETRIC < layer.after), None)

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the mirror, and the advice is to convert where there is one."""
        return not self.evidence.warnings and (self.advice is None or self.advice.speaks_for)


@dataclass(frozen=True, repr=False)
class BenchReport(Readable):
    """How fast a network and its chiral counterpart are. cost: of the original, and of the counterpart.

    rollout: steps of one sequence, in place of calls.
    """

    model: str
    chiral: str
    rows: tuple[BenchRow, ...]
    cost: Cost
    conditions: Conditions
    notes: tuple[str, ...] = ()
    rollout: tuple[RolloutRow, ...] = ()

    @property
    def passed(self) -> bool:
        """True: times cannot fail."""
        return True


Report = VerifyReport | ConvertReport | PlanReport | AuditReport | BenchReport
