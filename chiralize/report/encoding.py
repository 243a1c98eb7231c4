"""Reports as JSON: stable keys, floats in full, derived figures beside what they derive from.

A record becomes an object with its fields as keys. Two tables say what differs from that: `_DERIVED`, properties that
are written as well, and `KEYS`, records whose keys are those that version 1 had before their parts were moved:

    "way.method"    report.way.method is written as    "method": "reduce"
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from math import isfinite
from operator import attrgetter
from typing import Any

from chiralize.report.particulars import CallTime
from chiralize.report.records import AuditReport, BenchReport, ConvertReport, PlanReport, Report, VerifyReport
from chiralize.report.verdict import verdict_of
from chiralize.symmetry.involution import SignedPermutation
from chiralize.verification.asymmetry.records import Advice, Alignment, Asymmetry, DataGap, LayerGap
from chiralize.verification.closed_loop.records import Probe, Rollout, Side, Walker
from chiralize.verification.verdicts import CertificateVerdict, Degeneracy, Drift, NumericVerdict, OutputResidual

VERSION = 1
"""Of the layout of the keys, which programs rely on."""
_KIND: dict[type, str] = {VerifyReport: "verify", ConvertReport: "convert", PlanReport: "plan"}
_KIND |= {AuditReport: "audit", BenchReport: "bench"}
_DERIVED: dict[type, tuple[str, ...]] = {
    OutputResidual: ("passed", "title"),
    NumericVerdict: ("passed",),
    CertificateVerdict: ("unseen",),
    Drift: ("gap", "lean", "rho", "is_telling"),
    CallTime: ("after",),
    Degeneracy: ("collapsed",),
    Asymmetry: ("gap", "lean"),
    DataGap: ("gap",),
    LayerGap: ("added",),
    Advice: ("speaks_for",),
    Alignment: ("center", "is_aligned"),
    Probe: ("is_repeatable", "is_symmetric"),
    Rollout: ("starts",),
    Side: ("mean", "falls"),
    Walker: ("mean", "gap", "falls", "fell_on_one_side", "mean_steps"),
    **dict.fromkeys(_KIND, ("passed",)),
    AuditReport: ("passed", "begins"),
}

_ALIGNMENT = """
output axis cells samples stated shift error why figures drawn.curve explanations.layers explanations.labels
drawn.section
"""
_PROBE = """
start steps reward repeated restarted paid_at_once ends entries contrary.opposed contrary.actions robot contrary.rival
coverage.observed
coverage.tested_at_start coverage.tested
"""
_BENCH = """
model chiral rows cost conditions.threads conditions.device conditions.compiled notes rollout conditions.machine
conditions.torch conditions.clock conditions.runtime
"""
_VERIFY = """
model judgement.numeric judgement.certificate judgement.degeneracy evidence notes judgement.own_precision claims
judgement.mirrors joints bodies circumstances.remedy circumstances.given circumstances.constant
"""
_CONVERT = """
model way.method way.form cost output changes.choices changes.moved nearness.drift nearness.max_drift judgement.numeric
judgement.certificate judgement.degeneracy evidence notes way.unchanged changes.fitted changes.states
judgement.own_precision nearness.max_shift claims judgement.mirrors way.views bodies way.why_average rollout
"""
KEYS: dict[type, Sequence[str]] = {
    Alignment: _ALIGNMENT.split(),
    Probe: _PROBE.split(),
    BenchReport: _BENCH.split(),
    VerifyReport: _VERIFY.split(),
    ConvertReport: _CONVERT.split(),
}
"""Records whose parts have no keys of their own: where each value is found, in the order of the keys, which are the
last words. Readers know the layout of version 1; how records are parted is no matter of theirs."""


def to_json(report: Report) -> str:
    """The report as JSON text with a newline at the end. Figures that are not finite are text: "inf", "nan"."""
    return json.dumps(to_dict(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_dict(report: Report) -> dict[str, Any]:
    """The report as plain dicts and lists: `report` names the command, `version` the layout of the keys.

    verdict: the sentence that all formats open with.  standing: good, warning or failed.  warnings: topic and text.
    """
    verdict = verdict_of(report)
    return {
        "report": _KIND[type(report)],
        "version": VERSION,
        "verdict": verdict.sentence,
        "standing": verdict.standing,
        "warnings": [{"topic": caution.topic, "text": caution.text} for caution in verdict.warnings],
        **plain_value(report),
    }


def plain_value(value: Any) -> Any:
    """A value as JSON has it: records as dicts, involutions as their text, tuples and sets as lists."""
    # Involutions first: they are records too, of arrays that nobody would read.
    if isinstance(value, SignedPermutation):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        # A path such as "way.method" is followed to the value, and its last word is the key.
        paths = KEYS.get(type(value)) or [field.name for field in fields(value)]
        derived = _DERIVED.get(type(value), ())
        return {path.rpartition(".")[2]: plain_value(attrgetter(path)(value)) for path in (*paths, *derived)}
    if isinstance(value, dict):
        return {str(key): plain_value(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(plain_value, value))
    if isinstance(value, (set, frozenset)):
        return list(map(plain_value, sorted(value)))  # in one order, so that equal reports are equal text
    if isinstance(value, float) and not isfinite(value):
        return str(value)  # JSON has no numbers for these
    return value
