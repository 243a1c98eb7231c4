"""`convert`: make a network equivariant, judge the result from scratch, and hand over only what passes.

    Network + Request -> Problem -> Draft -> Result -> Verdict -> Conversion

The docstring of `convert` has the steps. Each is a function elsewhere; here is their order, in which cheap refusals
come before costly steps.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from chiralize.commands.bounds import hold
from chiralize.commands.finish import Conversion, deployed, handed_back, judged, reported
from chiralize.errors import MethodUnavailableError
from chiralize.methods import method_of
from chiralize.methods.auto import best, candidates, first_accepted
from chiralize.problem.beside import supplied
from chiralize.problem.checks import checked, with_inputs
from chiralize.problem.mirror import Inferred, mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.problem import Method, Problem
from chiralize.problem.request import Request
from chiralize.storage.passport import Passport
from chiralize.verification import numeric
from chiralize.verification.judge import judge
from chiralize.verification.verdicts import Trial, Verdict


@torch.inference_mode(False)
@torch.enable_grad()
def convert(network: Network, name: str, request: Request, passport: Passport | None = None) -> Conversion:
    """Make the network equivariant and judge the result. The steps, in their order:

    1. Look whether the network is equivariant already. Then it is handed back, unless its average is asked for.
    2. Infer how every tensor transforms. Refuse what the method cannot do, before the network is run on many inputs.
    3. Look at the inputs of the user. Refuse those on which the network's answers mean nothing (`checked`).
    4. Add inputs, so that a fit has enough of them (`supplied`).
    5. Let the method propose what becomes of the hidden spaces, and fill in weights; take the nearest draft (`best`).
    6. Capture the draft again.
    7. Judge what was captured, as if nothing were known of it, and hold it to the bounds.
    8. Report.

    The method `auto` goes through steps 5 to 8 with one candidate after another, until one passes.

    name: of the network, for messages.  passport: of a file that was converted before, by which it is judged in step 1.
    Raises DataFileError (of the inputs), MethodUnavailableError, UnsupportedError (an op refuses), EquivarianceError
    (the result failed a verdict), and, unless forced, DriftError and DegenerateError.
    """
    problem = _problem_of(network, request)
    known = already_equivariant(problem, passport)  # 1
    if known is not None:
        return handed_back(problem, name, known, passport)
    _refuse_unsupported(problem)  # 2
    problem = checked(problem)  # 3
    problem = supplied(problem)  # 4

    def attempt(problem: Problem, method: Method) -> Conversion:
        """Steps 5 to 8 with one method."""
        problem = replace(problem, method=method)
        measured = best(problem, method)  # 5
        result = deployed(problem, measured.draft)  # 6
        verdicts = judged(problem, result)  # 7
        hold(problem, name, measured, verdicts)
        return reported(problem, name, measured, result, verdicts)  # 8

    conversion, refused = first_accepted(problem, attempt)
    return conversion.with_findings(*refused)


def _problem_of(network: Network, request: Request) -> Problem:
    """The network, what is asked of it, and the inputs. Raises MethodUnavailableError for several mirrors."""
    mirrors = network.spec.named()
    if len(mirrors) > 1:
        facts = f"it names {len(mirrors)} mirrors ({', '.join(mirrors)}), and this version converts for one"
        raise MethodUnavailableError("the specification", facts, "leave one of them")
    method = None if request.method == "auto" else method_of(request.method)
    return with_inputs(Problem(network, request, method))


def already_equivariant(problem: Problem, passport: Passport | None) -> Verdict | None:
    """The verdict on the original where it is proved to be equivariant in one pass, else None.

    A look at one input comes first, which ends it for ordinary networks at the price of two runs. It does not suffice,
    since rounding inside a network can hide from it that it is asymmetric.
    """
    network, request = problem.network, problem.request
    request.progress("checking whether it is equivariant already")
    if request.method == "average" or network.captured is None or network.captured.drawing:
        return None
    quick = mirror_if_known(network, None)
    if quick is not None and numeric.plainly_differs(network.module, quick, network.example):
        return None
    trial = Trial() if request.samples is None else Trial(samples=request.samples)
    trial = replace(trial, real=problem.inputs.judged() if problem.inputs is not None else ())
    verdict = judge(network, passport, trial=trial, progress=request.progress)
    # A proof without representations is that of an average, as users write them: one pass may be worth having.
    return verdict if verdict.passed and verdict.repmap is not None else None


def _refuse_unsupported(problem: Problem) -> None:
    """Infer, and raise UnsupportedError where every candidate needs a graph of which an op or a constant refuses."""
    if any(candidate.method == "average" for candidate in candidates(problem)):
        return
    problem.request.progress("inferring how every tensor transforms")
    inferred = Inferred.of(problem.network)
    inferred.known()
    if inferred.asymmetric is not None and not problem.request.symmetrize_constants:
        raise inferred.asymmetric
