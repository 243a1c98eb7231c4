"""Reports for programs: JSON with the fields of the records as keys (version 2), and JUnit XML of a verification.

<testcase classname="chiralize.verify" name="run: output 0">
  <failure message="max |F(Tx) - T F(x)| = 3.1e-02, bound 4.7e-06">...</failure>
</testcase>
<testcase classname="chiralize.verify" name="proof">...</testcase>
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from chiralize.errors import ChiralizeError
from chiralize.report.findings import doubts, findings, sentence, tone, why_unproved
from chiralize.report.records import Report, VerifyReport
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification.verdicts import Verdict

VERSION = 2
"""Of the layout of the keys, on which programs rely; version 1 had other keys."""
_LEFT_OUT = ("mirror", "repmap", "command", "findings")
"""Fields that are no figures: T, what inference knows, and what stands at the top."""


def to_dict(report: Report) -> dict[str, Any]:
    """The report as plain dicts and lists: `report` names the command, `version` the layout of the keys."""
    return {
        "report": report.command,
        "version": VERSION,
        "verdict": sentence(report),
        "standing": tone(report),
        "passed": report.passed,
        "findings": [plain(finding) for finding in findings(report)],
        **plain(report),
    }


def to_json(report: Report) -> str:
    """The report as JSON text with a newline at the end. Figures that are not finite are text: "inf", "nan"."""
    return json.dumps(to_dict(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """A value as JSON has it: records as dicts, involutions and errors as their text, tuples as lists."""
    if isinstance(value, (SignedPermutation, TensorRepresentation, ChiralizeError, torch.dtype, Path)):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        entries = {field.name: plain(getattr(value, field.name)) for field in _fields(value)}
        if isinstance(value, Verdict):
            entries["standing"] = value.standing.value
        return entries
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(plain, value))
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value


def _fields(record: Any) -> Iterator[Any]:
    return (field for field in fields(record) if field.name not in _LEFT_OUT)


def to_junit(report: VerifyReport) -> str:
    """A testsuite with a testcase for every output and one for the proof, under each mirror, and one for the sides.

    Its properties are the first line, the standing, and every doubt; these fail no testcase.
    """
    cases = [case for name, verdict in report.verdicts.items() for case in _cases(name, verdict)]
    degeneracy = report.degeneracy
    if degeneracy is not None:
        pairs = zip(degeneracy.odd_before, degeneracy.odd_after, strict=True)
        shares = ", ".join(f"{before:.3f} -> {after:.3f}" for before, after in pairs)
        cases.append(("sides", f"odd share {shares}", not degeneracy.collapsed))
    counts = {"tests": str(len(cases)), "failures": str(sum(not passed for *_, passed in cases)), "errors": "0"}
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": f"chiralize verify {_clean(report.model)}", **counts})
    properties = ET.SubElement(suite, "properties")
    said = [("warning", str(finding)) for finding in doubts(report)]
    for name, text in (("verdict", sentence(report)), ("standing", tone(report)), *said):
        ET.SubElement(properties, "property", {"name": name, "value": _clean(text)})
    for name, text, passed in cases:
        case = ET.SubElement(suite, "testcase", {"classname": "chiralize.verify", "name": _clean(name)})
        if not passed:
            ET.SubElement(case, "failure", {"message": _clean(text)}).text = _clean(text)
        ET.SubElement(case, "system-out").text = _clean(text)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _cases(mirror: str, verdict: Verdict) -> Iterator[tuple[str, str, bool]]:
    """Name, figures and outcome of the testcases under one mirror."""
    for output in verdict.numeric.outputs:
        figures = f"max |F(Tx) - T F(x)| = {output.residual:.1e}, bound {output.bound:.1e}; worst: {output.worst}"
        yield f"run: {output.title} under {mirror}", figures, output.passed
    proof = verdict.certificate
    if proof is None:
        yield f"proof under {mirror}", why_unproved(verdict), verdict.run_only
    else:
        text = f"{proof.ops} ops and {proof.weights} weights" if proof.passed else why_unproved(verdict)
        yield f"proof under {mirror}", text, proof.passed


def _clean(text: str) -> str:
    """The text with `?` for what XML cannot hold: control characters, and bytes of a file's name that are no UTF-8."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]", "?", text)
