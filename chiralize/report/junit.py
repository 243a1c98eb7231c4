"""The verify report as JUnit XML, which CI systems read: one testcase per verdict.

    <testcase classname="chiralize.verify" name="numeric: output 0">
      <failure message="max |F(Tx) - T F(x)| = 3.1e-2, bound 4.7e-6 (...)">...</failure>
    </testcase>
    <testcase classname="chiralize.verify" name="certificate">...</testcase>

`verify --format junit` prints it. Warnings fail no testcase; they are properties of the suite.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from chiralize.errors.words import percent, when
from chiralize.report.failure import residual_text
from chiralize.report.records import VerifyReport

Case = tuple[str, str, str | None]
"""Name of a testcase, its output, and the message of its failure, None where it passed."""


def to_junit(report: VerifyReport) -> str:
    """A testsuite with a testcase per output, for the certificate and for degeneracy; failures carry their figures.

    Its properties are the verdict in one sentence, the standing, and every warning.
    """
    cases = _cases(report)
    # the same counts for the suite and for the file, which has this suite alone
    failed = sum(message is not None for _, _, message in cases)
    counts = {"tests": str(len(cases)), "failures": str(failed), "errors": "0"}
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": f"chiralize verify {_clean(report.model)}", **counts})
    properties = ET.SubElement(suite, "properties")
    warnings = [("warning", text) for text in report.warnings]
    for name, value in (("verdict", report.verdict), ("standing", report.standing), *warnings):
        ET.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    for name, text, message in cases:
        case = ET.SubElement(suite, "testcase", {"classname": "chiralize.verify", "name": _clean(name)})
        if message is not None:
            ET.SubElement(case, "failure", {"message": _clean(message)}).text = _clean(message)
        ET.SubElement(case, "system-out").text = _clean(text)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _cases(report: VerifyReport) -> list[Case]:
    """The testcases: outputs, the certificate, several mirrors, left and right."""
    cases: list[Case] = []
    for output in report.numeric.outputs:
        worst = when(output.worst, f"; worst: {output.worst}")
        text = residual_text(output, report.numeric) + worst
        cases.append((f"numeric: {output.title}", text, None if output.passed else text))
    if report.certificate is not None:
        verdict = report.certificate
        text = f"{verdict.ops} ops and {verdict.weights} weights checked"
        broken = f"{verdict.where or 'the model'}: {verdict.broken}"
        cases.append(("certificate", text, None if verdict.passed else broken))
    for mirror in report.judgement.mirrors:
        text = f"under {mirror.name}: {residual_text(mirror.numeric.worst, mirror.numeric)}"
        cases.append((f"mirror: {mirror.name}", text, None if mirror.passed else text))
    degeneracy = report.judgement.degeneracy
    if degeneracy is not None:
        pairs = zip(degeneracy.odd_before, degeneracy.odd_after, strict=True)
        shares = [f"output {index}: {percent(old)} -> {percent(new)}" for index, (old, new) in enumerate(pairs)]
        text = "odd share " + "; ".join(shares)
        cases.append(("degeneracy", text, text if degeneracy.collapsed else None))
    return cases


def _clean(text: str) -> str:
    """The text with `?` for what XML cannot hold: control characters, and bytes of a file's name that are no UTF-8."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]", "?", text)
