"""The bounds that a conversion is held to before it is handed over, and the passport with its figures.

What must hold, in this order (`guard`), and what is raised where it does not:

    both verdicts pass                        EquivarianceError and the like, whatever --force says
    rho <= --max-drift                        DriftError, unless forced; so the next three
    `auto`: rho on other kinds of inputs      DriftError: the given inputs were narrow
    the shift of every joint <= --max-shift   DriftError
    left and right are still told apart       DegenerateError: odd share 0.3 before, 0.00 after

`commands.convert` asks `refuse_far` before a result is exported, too, since that takes time. The figures that pass are
written into the passport (`stamped`), by which `verify` compares a file with what it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch

from chiralize.errors import CaptureError, DegenerateError, DriftError, ExportError, MethodUnavailableError
from chiralize.errors.words import when
from chiralize.problem.mirror import is_computed
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from chiralize.report import ConvertReport, VerifyReport, raise_for_failure
from chiralize.storage.passport import BY_MIRROR, LEAST_SIZES, Passport, figures_of
from chiralize.verification.figures import Figures
from chiralize.verification.judge import Verdict
from chiralize.verification.verdicts import FAR_BEYOND, Degeneracy, Drift, Judgement

WEIGHTS_ALONE = ("folded", "original")
"""Forms whose weights fit the original's class, so that a file of weights can hold them."""
_KEEP = "register it as a buffer before the first call (register_buffer), or make it an argument and a result"


def refuse_graph(network: Network) -> None:
    """Raise ExportError where a graph would forget what forward keeps from call to call."""
    if network.origin.unheld:
        facts = f"forward keeps a state in {', '.join(network.origin.unheld)}, which no graph holds"
        raise ExportError("-o", facts, f"{_KEEP}; weights can be written (-o out.pt)")


def refuse_forgetful(network: Network, module: torch.nn.Module) -> None:
    """Raise CaptureError where a result is a graph, and forgets what forward keeps from call to call."""
    if network.origin.unheld and not network.origin.traced and isinstance(module, torch.fx.GraphModule):
        facts = "forward keeps a state here, which no graph holds, and the result would be one"
        remedy = f"{_KEEP}; or use --method average"
        raise CaptureError(", ".join(network.origin.unheld), facts, remedy)


def refuse_other_calls(network: Network, verdict: Verdict) -> None:
    """Raise CaptureError where a first call is equivariant, and later ones, which read the state it wrote, are not."""
    proof = verdict.certificate
    if network.origin.unheld and proof is not None and proof.passed and not verdict.numeric.passed:
        names = ", ".join(network.origin.unheld)
        raise CaptureError(names, "forward keeps a state here, and does with it what the first call did not", _KEEP)


def guard(problem: Problem, report: ConvertReport, verdict: Verdict) -> None:
    """Raise for a result that must not be handed over: verdicts always count, drift and degeneracy unless forced."""
    raise_for_failure(VerifyReport(report.model, Judgement(verdict.numeric, verdict.certificate)))
    # An average is equivariant by its form, whatever op it runs: it is handed over on the numeric verdict alone.
    if verdict.unproved is not None and not report.is_average:
        raise verdict.unproved
    refuse_far(problem, report.model, report.method, Figures(report.drift, report.judgement.degeneracy))


def refuse_far(problem: Problem, name: str, method: str, figures: Figures) -> None:
    """Raise DriftError or DegenerateError for a result that is not worth having, unless that is forced."""
    if problem.request.force:
        return
    if figures.drift is not None:
        _refuse_drift(problem, name, method, figures.drift)
    if figures.degeneracy is not None:
        _refuse_degenerate(problem, name, figures.degeneracy)


def _refuse_drift(problem: Problem, name: str, method: str, drift: Drift) -> None:
    """Raise DriftError beyond --max-drift or --max-shift, and where `auto` is far off on other kinds of inputs."""
    request, bound = problem.request, problem.max_drift
    # 1. rho on the inputs that it was measured on.
    if bound is not None and drift.rho > bound:
        facts = f"{method}: rho = {drift.rho:.3g} exceeds --max-drift {bound:g} ({drift.source})"
        if bound != request.max_drift and problem.batches.are_guessed:
            facts += ", the bound for inputs that do not show how far everything in them moves"
        far = DriftError(name, facts, f"use {', '.join(_nearer(method, request))}, raise --max-drift, or --force")
        far.rho, far.bound = drift.rho, bound
        raise far
    # 2. On inputs of other kinds. A larger bound of the user holds there, too; a smaller one is about the given ones.
    beyond, furthest = drift.beyond, drift.widest if request.max_drift is None else max(FAR_BEYOND, request.max_drift)
    if request.method == "auto" and beyond is not None and beyond.rho > furthest:
        facts = f"the {drift.inputs} are narrow: rho = {beyond.rho:.3g} on {beyond.what} exceeds {furthest:g}"
        remedy = "calibrate on all that the network is used on, use --method reduce with --mix-gaussian 0.5, or --force"
        narrow = DriftError(name, f"{method}: {facts}", remedy)
        # Where the narrow inputs are the user's, `auto` tries this candidate once more with wider ones beside them.
        narrow.of_narrow_inputs = not drift.built_in
        raise narrow
    # 3. How far a single joint moved, which a mean over all of them can hide.
    if request.max_shift is not None and drift.shift > request.max_shift:
        facts = f"{method}: {_moved_most(drift)} exceeds --max-shift {request.max_shift:g} ({drift.source})"
        raise DriftError(name, facts, f"use {', '.join(_nearer(method, request))}, raise --max-shift, or --force")


def _refuse_degenerate(problem: Problem, name: str, degeneracy: Degeneracy) -> None:
    """Raise DegenerateError where left and right get lost, or much of what the original reacts to."""
    if degeneracy.collapsed:
        index = degeneracy.collapsed[0]
        before, after = degeneracy.odd_before[index], degeneracy.odd_after[index]
        facts = f"the left/right (odd) share fell from {before:.3g} to {after:.3g}"
        remedy = "use --method average or another hidden layout; --force writes it all the same"
        raise _degenerate(f"{name}, output {index}", facts, remedy, degeneracy)
    if degeneracy.ignores_much:
        dead = len(degeneracy.dead_inputs)
        facts = f"the result ignores {dead} of {degeneracy.live_inputs} input entries that the original reacts to"
        # This is `project` itself, which has been tried by now.
        if problem.method.is_trained_on:
            others = "--method average"
        else:
            others = "--method project or average"
        remedy = f"use {others}, or another hidden layout; --force writes it all the same"
        raise _degenerate(name, facts, remedy, degeneracy)


def _moved_most(drift: Drift) -> str:
    """Which output, and which joint of it, is furthest from the flip average, and how far."""
    output = max(drift.outputs, key=lambda candidate: candidate.shift)
    where = f"output {output.index}"
    if output.joints:
        joint = max(output.joints, key=lambda candidate: candidate.shift)
        where = f"{joint.name} of {where}"
    return f"{where} is off by {output.shift:.3g} (RMS), which"


def _nearer(method: str, request: Request) -> list[str]:
    """Options that would bring the result nearer to the flip average."""
    ways = ["--method average (rho 0)"]
    if method == "reduce":
        ways.append("a larger --width")
    elif request.calibration:
        ways.append("--method reduce")
    if request.calibration:
        # Four times as many steps as were taken, 300 where there were none.
        return [*ways, f"--distill {4 * request.distill or 300}"]
    return [*ways, "--calibration inputs"]


def _degenerate(where: str, facts: str, remedy: str, degeneracy: Degeneracy) -> DegenerateError:
    """The error. It names the tables that forced hidden channels to be their own partners, if there are any."""
    # A stored table, such as sinusoidal positions, that no pairing of its channels leaves alone forces all channels to
    # be their own partners.
    tables = degeneracy.tables
    if not tables:
        return DegenerateError(where, facts, remedy)
    facts += f": {', '.join(tables)} would change under any pairing of the channels, so that none are paired"
    stored = when(not all(map(is_computed, tables)), "--symmetrize-constants, ")
    remedy = f"use {stored}--method reduce with --calibration inputs.npz, or --method average"
    return DegenerateError(where, facts, remedy)


def why_no_weights(module: torch.nn.Module, report: ConvertReport) -> str:
    """Why a file of weights alone cannot hold a result: it is of another shape, or more than weights changed.

    "" where it can: the weights fit the original's class.
    """
    if report.form not in WEIGHTS_ALONE:
        return f"the result ({report.form}) is a graph of its own"
    state = module.state_dict()
    # Constants that are no buffers stand in no state_dict.
    lost = [entry.name for entry in report.changes.moved if entry.distance > 0 and entry.name not in state]
    if lost:
        return f"{', '.join(lost)} changed, which no state_dict holds"
    return ""


def stamped(
    passport: Passport,
    report: ConvertReport,
    odd_random: Sequence[float] = (),
    by_mirror: Mapping[str, Sequence[float]] = MappingProxyType({}),
    least_sizes: Mapping[str, int] = MappingProxyType({}),
) -> Passport:
    """The passport with the figures of the report: residual and bound, gap and rho, odd shares, the fit of the mirror.

    odd_random: share of each output of the result that is odd on random inputs, which `verify` draws again. Beside it
    "odd" is the original's share on the inputs that the conversion was measured on.  by_mirror: the same share under
    each of several mirrors, by their names.  least_sizes: of open axes from which on the network answers, where it
    does not at every size.
    """
    figures: dict[str, Any] = {}
    numeric, degeneracy = report.judgement.numeric, report.judgement.degeneracy
    if numeric is not None:
        figures |= {"residual": numeric.worst.residual, "bound": numeric.worst.bound, "dtype": numeric.dtype}
    if report.drift is not None and report.drift.outputs:
        figures |= {"gap": report.drift.gap, "rho": report.drift.rho}
    if degeneracy is not None:
        figures["odd"] = list(degeneracy.odd_before)
    if odd_random:
        figures["odd_random"] = list(odd_random)
    if by_mirror:
        figures[BY_MIRROR] = {name: list(shares) for name, shares in by_mirror.items()}
    if report.evidence.fit is not None:
        figures["mirror"] = figures_of(report.evidence.fit)
    if least_sizes:
        figures[LEAST_SIZES] = dict(least_sizes)
    return replace(passport, figures=figures)


def unproved_form(form: str, verdict: Verdict) -> MethodUnavailableError:
    """The refusal of blocks that no proof reaches, although they compute the same."""
    proof, error = verdict.certificate, verdict.unproved
    if proof is not None:
        gap = f"{proof.where}: {proof.broken}"
    elif error is not None:
        gap = f"{error.where}: {error.facts}"
    else:
        gap = "the result cannot be captured"
    return MethodUnavailableError(f"--form {form}", f"no proof for the blocks ({gap})", "use --form folded")
