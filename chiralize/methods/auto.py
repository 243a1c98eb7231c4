"""`auto`: candidates in a fixed order, of which the first that passes everything is taken.

Each is made, put into its form, judged from scratch and held to the bounds. Whatever it fails at, be it a refusal or a
defect of chiralize, becomes a note, and the next one follows. The average of both views comes last: where that can be
made, `auto` ends well. What is wrong with the user's request, inputs or mirror is no candidate's fault and is raised.

`commands.convert` calls `first_accepted` with its own steps as `attempt` and `objection`. The usual order:

    reduce at width 0.5 -> reduce at width 0.707 -> average        with inputs
    average                                                        without
    reduce at width 0.5 -> match                                   where a file of weights alone is wanted
"""

from __future__ import annotations

import os
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from chiralize.errors import (
    AsymmetricConstantError,
    ChiralizeError,
    DataFileError,
    DriftError,
    ExportError,
    InternalError,
    MethodUnavailableError,
    MirrorError,
    OutputFileError,
    UnsupportedError,
    UsageError,
)
from chiralize.errors.words import first_line, raised_at, when
from chiralize.graph import processes
from chiralize.graph.copies import give_back
from chiralize.infer.inference import OR_AVERAGE
from chiralize.methods.ruled_out import why_ruled_out
from chiralize.methods.targets import with_target
from chiralize.methods.within_minutes import affordable_widths
from chiralize.problem.problem import Problem
from chiralize.problem.request import WIDTHS, Request

NO_FAULT_OF_A_CANDIDATE = (UsageError, DataFileError, OutputFileError, MirrorError, MemoryError)
WIDER = 0.5
"""Share of samples with remembered moments beside narrow inputs: a lifter calibrated on walking has 1.00 of the
original's error with them, 1.09 without (decision 0029)."""
_HOPELESS = 4.0
"""How many times the bound rho is where the wider width is not tried: of 94 pairs in benchmarks/accuracy none came to
less than 0.29 of the narrower one's rho (decision 0093)."""
Result = TypeVar("Result")
Attempt = Callable[[str, Problem], Result]
"""A method and the problem that is put to it, to a finished conversion."""


@dataclass(frozen=True)
class Candidate:
    """One way to convert. width: of `reduce`.  mix: share of samples of a Gaussian, where given inputs are narrow.

    both_views: what is aimed at where the environment decides; None elsewhere.
    """

    method: str
    width: float | None = None
    mix: float = 0.0
    both_views: bool | None = None

    @property
    def title(self) -> str:
        """As notes speak of it: the method, its width, and on what it is fitted."""
        title = self.method
        if self.width is not None:
            title += f" at width {self.width:g}" + when(self.mix, " on more than the given inputs")
        if self.both_views is not None:
            title += ", fitted to both views" if self.both_views else ", fitted to the answers as they are"
        return title

    def put(self, problem: Problem, is_last: bool) -> Problem:
        """The problem that is put to the method."""
        problem = replace(problem, request=self.asked(problem.request, is_last))
        return problem if self.both_views is None else with_target(problem, self.both_views)

    def asked(self, request: Request, is_last: bool) -> Request:
        """What this candidate is asked for.

        Only the last one may be forced: before it, there is something better to come.
        """
        request = replace(request, width=self.width, force=request.force and is_last, mix=self.mix or request.mix)
        if request.keeps_sizes and request.form == "auto":  # a graph of other sizes would not fit the original's class
            return replace(request, form="folded")
        return request


def candidates(problem: Problem) -> tuple[Candidate, ...]:
    """What to try, in order. Where weights alone are wanted, no graph of another shape and no second view will do."""
    request = problem.request
    widths = WIDTHS[:1] if request.keeps_sizes else affordable_widths(problem)
    if request.width is not None:  # the user's, in place of both
        widths = (request.width,)
    if not problem.batches.inputs:
        widths = ()
    reduced = [Candidate("reduce", width) for width in widths]
    if request.product == "weights":
        return _of_each_target(problem, [*reduced, Candidate("match")])
    return (*_of_each_target(problem, reduced), Candidate("average"))


def _of_each_target(problem: Problem, fitted: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Candidates that are fitted, once for each target that the environment decides between."""
    if not problem.leaning:
        return tuple(fitted)
    return tuple(replace(candidate, both_views=both) for candidate in fitted for both in (True, False))


def first_accepted(
    problem: Problem,
    attempt: Attempt[Result],
    objection: Callable[[Result, bool], str],
    more_is_known: Callable[[], bool] = lambda: False,
) -> tuple[Result, tuple[str, ...]]:
    """The first candidate without an objection, and notes on those before it.

    attempt: raises what is wrong with a candidate.  objection: why a finished one is not to be taken, "" where it is;
    its second argument says whether it is the last one.  more_is_known: whether there are other inputs than those
    given; a candidate that failed at these being narrow is then tried on both.
    Raises the error of the last candidate where that fails too, with what became of the others; ExportError where
    weights alone were wanted; and at once what no candidate is to blame for, such as an interruption.
    """
    request = problem.request
    notes = list[str](_why_not_reduced(problem))
    tried = candidates(problem)
    last_error: Exception | None = None
    failed = list[tuple[Candidate, Exception]]()
    waiting = deque(tried)
    while waiting:
        candidate = waiting.popleft()
        # by identity: a candidate that is tried again on more inputs is a new one, and never the last
        is_last = candidate is tried[-1]
        hopeless = _is_hopeless(candidate, failed)
        if hopeless is not None:  # "" where the notes say it already
            notes += [hopeless] if hopeless else []
            continue
        request.progress(f"converting by {candidate.title}")
        result, fault, is_narrow = None, "", False
        try:
            result = attempt(candidate.method, candidate.put(problem, is_last))
            fault = objection(result, is_last)
        except NO_FAULT_OF_A_CANDIDATE:
            raise
        except Exception as error:  # noqa: BLE001 - a defect in one candidate does not keep the user from the next
            fault = _told(error)
            failed.append((candidate, error))
            last_error, is_narrow = error, isinstance(error, DriftError) and error.of_narrow_inputs
        # All processes take the same candidate, or their sums would wait for each other for ever.
        failed_somewhere = processes.total(float(bool(fault))) > 0
        if result is not None and not failed_somewhere:
            return result, tuple(notes)
        # Too far off on other inputs than those given: once more, with others beside them, if there are any.
        if is_narrow and not (candidate.mix or request.mix) and more_is_known():
            waiting.appendleft(replace(candidate, mix=WIDER))
        notes.append(f"{candidate.title} was not taken: {fault or 'it failed in another process'}")
        give_back()
    # the last note says what the error itself says
    if request.product != "weights" and last_error is not None:
        raise _with_others(last_error, notes[:-1])
    raise _no_weights(notes, problem.request) from last_error


def _is_hopeless(candidate: Candidate, failed: Sequence[tuple[Candidate, Exception]]) -> str | None:
    """Why a width need not be tried after those that failed: a note, "" where theirs say it; None where it may do."""
    if candidate.method != "reduce":
        return None
    # After a rho of four times the bound at half the width, more units would not bring it within the bound (0093).
    for earlier, error in failed:
        if is_whatever_the_width(error):
            return ""
        is_same = earlier.both_views == candidate.both_views and not earlier.mix
        if is_same and isinstance(error, DriftError) and (error.rho or 0.0) > _HOPELESS * error.bound:
            return f"{candidate.title} was not tried: a fourth of that rho, less than it ever had, is too large as well"
    return None


def why_two_passes(failures: Sequence[Exception], request: Request) -> str:
    """What kept `auto` from one pass, as a clause of the headline; "" where it was narrow inputs or a wish.

    failures: of the candidates before the one that was taken.
    """
    if not failures:
        return ""
    last = failures[-1]
    if isinstance(last, InternalError) or not isinstance(last, ChiralizeError):
        return "a defect of chiralize kept it from one pass"
    if isinstance(last, DriftError) and not last.of_narrow_inputs and request.rounds == 0:
        return "without --fast one pass may do"
    if isinstance(last, DriftError) and last.rho is not None:
        return f"one pass came no nearer to it than a rho of {last.rho:.3g}"
    if isinstance(last, AsymmetricConstantError) and request.keep_statistics:
        return ""  # what was asked for keeps it from one pass
    if isinstance(last, UnsupportedError) and not isinstance(last, MethodUnavailableError):
        return f"one pass is ruled out at {last.where}{when(last.aligns, ' without --align kernel')}"
    return ""


def refuse_weights_alone(problem: Problem) -> None:
    """Raises ExportError where weights alone are wanted, and graph and specification rule out every candidate."""
    request = problem.request
    error = why_ruled_out(problem, problem.method)
    if error is None or request.product != "weights":
        return
    tried = (Candidate("reduce", request.width or WIDTHS[0]), Candidate("match"))
    raise _no_weights([f"{candidate.title} was not taken: {_told(error)}" for candidate in tried], request) from error


def _no_weights(notes: Sequence[str], request: Request) -> ExportError:
    """The error where weights alone are wanted and every candidate failed. notes: on each of them."""
    nearer = "give --calibration inputs.npz"
    if request.calibration or request.sequences:
        nearer = (
            when(request.rounds == 0, "leave --fast out") or f"--distill {4 * request.distill or 1800} trains it nearer"
        )
    facts = f"no result fits the original's class, which a file of weights alone needs: {'; '.join(notes)}"
    remedy = f"write a .pt2 or an .onnx, which hold the average of both views; {nearer}; or --force"
    return ExportError("-o", facts, remedy)


def _why_not_reduced(problem: Problem) -> Sequence[str]:
    """Why `reduce` is not tried, or not at all widths."""
    batches = problem.batches
    if batches.inputs:
        return _why_one_width(problem)
    error = why_ruled_out(problem, problem.method)
    if error is not None:  # inputs would not help
        return (f"reduce was not tried: {_told(error)}",)
    needs = f"inputs to fit on (--calibration), and none can be drawn: {batches.origin}"
    if problem.request.product == "weights":
        return (f"reduce was not tried: it needs {needs}",)
    return (
        f"averaged: reducing needs {needs}; for one pass give --calibration inputs.npz, thousands of unlabelled inputs",
    )


def _why_one_width(problem: Problem) -> Sequence[str]:
    """Notes on widths that a costly network is not tried at."""
    request = problem.request
    if request.keeps_sizes or request.width is not None:
        return ()
    tried = affordable_widths(problem)
    others = [width for width in WIDTHS if width not in tried]
    return tuple(
        f"reduce was tried at width {tried[0]} alone, since a fit takes minutes: --width {width} tries another"
        for width in others
    )


def _told(error: Exception) -> str:
    """The error in one line; a defect of chiralize with the place where it was raised."""
    if isinstance(error, DriftError):
        return error.facts.partition(": ")[2]  # before the colon stands the method, which the note begins with
    if isinstance(error, AsymmetricConstantError):  # the network's own table may have a slip
        return f"{error.where}: {error.facts}; for one pass, {error.remedy.partition(OR_AVERAGE)[0]}"
    if isinstance(error, ChiralizeError):
        return " ".join(f"{error.where}: {error.facts}".split())
    if os.environ.get("CHIRALIZE_DEBUG"):
        traceback.print_exception(error)
    return f"a defect of chiralize, please report it ({raised_at(error)}: {type(error).__name__}: {first_line(error)})"


def is_whatever_the_width(error: Exception) -> bool:
    """Whether other sizes of the hidden spaces would be refused for the same reason."""
    return isinstance(error, UnsupportedError) and error.settled


def _with_others(error: Exception, notes: Sequence[str]) -> Exception:
    """The error of the last candidate, with the errors of earlier candidates that failed for other reasons."""
    if not isinstance(error, ChiralizeError):
        return error
    others = [note for note in notes if error.facts not in note]
    if not others:
        return error
    # of the same class, so that its code, its remedy and the exit status stay
    whole = type(error)(error.where, f"{error.facts} (before it: {'; '.join(others)})", error.remedy)
    return whole.with_traceback(error.__traceback__)
