"""Reports of the commands as records, and as text, JSON, JUnit XML or one HTML page. Nothing is printed here."""

from chiralize.report.encoding import to_dict, to_json
from chiralize.report.failure import raise_for_failure
from chiralize.report.html import to_html
from chiralize.report.junit import to_junit
from chiralize.report.particulars import BenchRow, CallTime, Cost, PlanRow, RolloutRow
from chiralize.report.records import AuditReport, BenchReport, ConvertReport, PlanReport, Report, VerifyReport
from chiralize.report.text import to_text

__all__ = [
    "AuditReport",
    "BenchReport",
    "BenchRow",
    "CallTime",
    "ConvertReport",
    "Cost",
    "PlanReport",
    "PlanRow",
    "Report",
    "RolloutRow",
    "VerifyReport",
    "raise_for_failure",
    "to_dict",
    "to_html",
    "to_json",
    "to_junit",
    "to_text",
]
