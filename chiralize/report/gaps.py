"""Which gaps of joints a report knows, before and after, for pictures and for a table.

`html` draws a `Gaps` (`gap_picture`) for each. Of a conversion there are two bodies for an output: with the gaps of the
original as they were measured, and of the result, which are 0 up to the rounding that the numeric verdict allows.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.report.body import Body
from chiralize.report.document import MOST_ROWS, Block, plain, rest_of, short, table
from chiralize.report.gap_picture import Gaps
from chiralize.report.records import AuditReport, ConvertReport, Report, VerifyReport
from chiralize.verification.verdicts import Drift, OutputDrift

ON_NOISE = "on random inputs, where gaps of 0.6 to 0.9 are usual; give --calibration for those of real ones"


def gaps_of(report: Report) -> list[Gaps]:
    """The bodies to be drawn: of a conversion before and after, else as the network is."""
    if isinstance(report, ConvertReport):
        pairs = [_converted(report, body) for body in report.bodies]
    elif isinstance(report, VerifyReport):
        pairs = [_verified(report, body) for body in report.bodies]
    elif isinstance(report, AuditReport):
        pairs = [_audited(report, body) for body in report.bodies]
    else:
        return []
    return [gaps for pair in pairs for gaps in pair if gaps.by_joint]


def _converted(report: ConvertReport, body: Body) -> list[Gaps]:
    """The gaps of one output before and after, as far as they are known."""
    after = _after(report, body)
    output = _output(report.drift, body)
    if report.drift is None or output is None:
        return after
    of_joints = {joint.name: joint.gap for joint in output.joints}
    before = Gaps(body, _titled("Before: gap of left and right", report, body), of_joints, _source(report.drift))
    return [before, *after]


def _after(report: ConvertReport, body: Body) -> list[Gaps]:
    """The gaps by joint of the result: 0 up to rounding, if it passed. Empty if it failed: the residual is not given by
    joint.
    """
    numeric = report.judgement.numeric
    if not _is_even(report) or numeric is None:
        return []
    for output in numeric.outputs:
        if output.index == body.output and output.passed:
            note = f"no entry is off by more than {short(output.residual)}, which is rounding ({numeric.dtype})"
            if not output.residual:
                note = f"no entry is off at all ({numeric.dtype})"
            return [Gaps(body, "After: gap of left and right", dict.fromkeys(body.joints, 0.0), note)]
    return []


def _is_even(report: ConvertReport) -> bool:
    """Whether every joint of every output passed the verdict. Not if some are left out, since the verdict does not
    cover them.
    """
    numeric = report.judgement.numeric
    return numeric is not None and numeric.passed and report.claims is None


def _verified(report: VerifyReport, body: Body) -> list[Gaps]:
    """The gaps of one output of a network that was run on random inputs."""
    of_joints = {joint.name: joint.gap for joint in report.joints if joint.output == body.output}
    note = "on random inputs"
    if not report.numeric.passed:
        note += ", where 0.6 to 0.9 are usual; 0 if it were equivariant"
    return [Gaps(body, _titled("Gap of left and right", report, body), of_joints, note)]


def _audited(report: AuditReport, body: Body) -> list[Gaps]:
    """The gaps of one output of a network, by the pairs of the audit."""
    # Pairs are labelled `left/right`, with `output 1 ` in front where there are several outputs; each joint of a pair
    # gets the gap of both.
    of_joints: dict[str, float] = {}
    prefix = f"output {body.output} "
    for pair in report.network.pairs:
        if pair.label.startswith(prefix) or not pair.label.startswith("output "):
            label = pair.label.removeprefix(prefix)
            of_joints.update(dict.fromkeys(label.split("/"), pair.gap))
    known = {name: gap for name, gap in of_joints.items() if name in body.joints}
    note = f"on {report.source}" if report.is_of_given_data else ON_NOISE
    return [Gaps(body, _titled("Gap of left and right", report, body), known, note)]


def _titled(title: str, report: ConvertReport | VerifyReport | AuditReport, body: Body) -> str:
    """The title, with the output's number where several are drawn."""
    if len(report.bodies) > 1:
        return f"{title}, output {body.output}"
    return title


def _source(drift: Drift) -> str:
    """On which inputs the original's gaps were measured."""
    if drift.noise:
        return ON_NOISE
    return f"of the original, on {drift.source}"


def _output(drift: Drift | None, body: Body) -> OutputDrift | None:
    """The figures of the output that a body belongs to, where it has some for its joints."""
    outputs: Sequence[OutputDrift] = () if drift is None else drift.outputs
    return next((output for output in outputs if output.index == body.output and output.joints), None)


def joint_blocks(report: Report) -> list[Block]:
    """A table with the figures of every joint, the largest gap first."""
    if isinstance(report, VerifyReport):
        if not report.joints:
            return []
        worst = sorted(report.joints, key=lambda joint: -joint.gap)
        rows = [(joint.name, plain(joint.gap)) for joint in worst[:MOST_ROWS]]
        return [table(("joint", "gap"), rows, (1,)), *rest_of(len(worst))]
    if not isinstance(report, ConvertReport) or report.drift is None:
        return []
    joints = [joint for output in report.drift.outputs for joint in output.joints]
    worst_first = sorted(joints, key=lambda joint: -joint.gap)
    rows_of_joints: list[tuple[str, ...]] = []
    after = "0" if _is_even(report) else "?"
    for joint in worst_first[:MOST_ROWS]:
        rows_of_joints.append((joint.name, plain(joint.gap), after, plain(joint.shift), plain(joint.rho)))
    if not rows_of_joints:
        return []
    heads = ("joint", "gap before", "gap after", "moved by, in the output's unit", "rho")
    return [table(heads, rows_of_joints, (1, 2, 3, 4)), *rest_of(len(joints))]
