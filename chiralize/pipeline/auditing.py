"""`audit`: how lopsided a network, and the data it is used on, are now. Nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence

from chiralize import measure
from chiralize.asymmetry import asymmetry, data_asymmetry
from chiralize.pipeline.analysis import mirror_if_known, mirror_of, represent
from chiralize.pipeline.verification import outside_evidence
from chiralize.report import AuditReport
from chiralize.running import Call
from chiralize.subject import Subject


def audit(subject: Subject, name: str, data: Sequence[Call] = (), samples: int = 32) -> AuditReport:
    """Gap and odd share of every output, its most lopsided entries, and the same of the data if given."""
    mirror = mirror_if_known(subject, None)
    if mirror is None:
        mirror = mirror_of(subject, represent(subject, None)[0])
    inputs = data or measure.random_inputs(subject.args, subject.kwargs, samples, 1, subject.around)
    source = "given data" if data else measure.source_of(subject.around)
    return AuditReport(
        name,
        asymmetry(subject.module, mirror, inputs),
        source,
        data_asymmetry(mirror, data) if data else (),
        outside_evidence(subject, mirror, True, data),
        subject.notes,
    )
