"""The verify report as JUnit XML, which CI systems read: one testcase per verdict."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from chiralize.errors import percent
from chiralize.report.document import plain, short
from chiralize.report.records import VerifyReport
from chiralize.verification.verdicts import NumericVerdict, OutputResidual

Case = tuple[str, str, str | None]


def to_junit(report: VerifyReport) -> str:
    """A testsuite with a testcase per output, for the certificate and for degeneracy; failures carry their figures.

    Its properties are the verdict in one sentence, the standing, and every warning.
    """
    cases = _cases(report)
    failed = sum(message is not None for _, _, message in cases)
    counts = {"tests": str(len(cases)), "failures": str(failed), "errors": "0"}
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": f"chiralize verify {_clean(report.model)}", **counts})
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("verdict", report.verdict),
        ("standing", report.standing),
        *(("warning", text) for text in report.warnings),
    ):
        ET.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    for name, said, message in cases:
        case = ET.SubElement(suite, "testcase", {"classname": "chiralize.verify", "name": _clean(name)})
        if message is not None:
            ET.SubElement(case, "failure", {"message": _clean(message)}).text = _clean(message)
        ET.SubElement(case, "system-out").text = _clean(said)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _cases(report: VerifyReport) -> list[Case]:
    cases: list[Case] = []
    for own in report.numeric.outputs:
        text = residual_text(own, report.numeric)
        cases.append((f"numeric: {own.title}", text, None if own.passed else text))
    if report.certificate is not None:
        verdict = report.certificate
        text = f"{verdict.ops} ops and {verdict.weights} weights checked"
        broken = f"{verdict.where or 'the model'}: {verdict.broken}"
        cases.append(("certificate", text, None if verdict.passed else broken))
    if report.degeneracy is not None:
        pairs = zip(report.degeneracy.odd_before, report.degeneracy.odd_after, strict=True)
        shares = [f"output {index}: {percent(a)} -> {percent(b)}" for index, (a, b) in enumerate(pairs)]
        text = "odd share " + "; ".join(shares)
        cases.append(("degeneracy", text, text if report.degeneracy.collapsed else None))
    return cases


def residual_text(own: OutputResidual, verdict: NumericVerdict) -> str:
    """`max |F(Tx) - T F(x)| = 3.1e-2, bound 4.7e-6 (float32, output scale 1.2, 256 samples); worst: ...`"""
    worst = f"; worst: {own.worst}" if own.worst else ""
    return (
        f"max |F(Tx) - T F(x)| = {short(own.residual)}, bound {short(own.bound)} ({verdict.dtype}, "
        f"output scale {plain(own.scale)}, {verdict.samples} samples){worst}"
    )


def _clean(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(own if own >= " " or own in "\t\n" else "?" for own in text)
