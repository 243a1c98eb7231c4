"""What a call of the result costs beside one of the original, as a clause: passes, multiplications and time.

    one pass, 0.51 of the multiplications, 0.56 of the time (64 samples; 2.20 with 1 sample)

`verdict` has it in the sentence of a conversion, `facts` the samples below a figure. A count that is not known is left
out, and times are there only where they were measured.
"""

from __future__ import annotations

from chiralize.errors.words import when
from chiralize.report.document import plural
from chiralize.report.particulars import Cost
from chiralize.report.records import ConvertReport

_LONGER = 1.03
"""A share of the original's time: what takes longer is compared with two runs of it as well, which an average takes."""
_SLOWER = 1.1
"""A share of the time of these two runs: what takes longer is no result to prefer to the average."""


def passes_in_words(report: ConvertReport) -> str:
    """How often the network runs in a call, and the arithmetic of that."""
    cost = report.cost
    passes = "one pass" if report.passes == 1 else f"{report.passes} passes"
    if report.form == "averaged":
        passes = "one pass, parts of it on both views"
    if cost.macs_before and cost.macs_after:
        passes += f", {cost.macs_after / cost.macs_before:.2f} of the multiplications"
    if cost.times:
        last = cost.times[-1]
        passes += f", {last.ratio:.2f} of the time ({samples_timed(cost)})"
        # One pass may take longer than one of the original (blocks on a GPU): what counts then is two of the original.
        if report.passes == 1 and last.ratio > _LONGER:
            passes += f", {last.ratio / 2:.2f} of that of two runs"
            passes += when(last.ratio / 2 > _SLOWER, ", which `--method average` makes, without an error of its own")
    return passes


def samples_timed(cost: Cost) -> str:
    """`64 samples; 2.20 with 1 sample`: those of the last time, and the ratio of fewer where these take longer."""
    *others, last = cost.times
    clauses = [plural(last.samples, "sample")]
    for time in others:
        if time.ratio > max(last.ratio, _LONGER):
            clauses.append(f"{time.ratio:.2f} with {plural(time.samples, 'sample')}")
    return "; ".join(clauses)
