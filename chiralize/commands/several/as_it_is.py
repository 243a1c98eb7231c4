"""Networks that are equivariant under every mirror already: handed back as they are.

As `commands.unchanged` for one mirror: step 1 of a conversion. The passport gets a table of weights for each mirror,
read off the proof under that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from chiralize.commands.records import Conversion
from chiralize.commands.several.judging import Verdicts, judge_each
from chiralize.commands.sides import written_again
from chiralize.commands.unchanged import judge_as_it_is, unchanged, with_earlier_figures
from chiralize.problem.mirror import hidden_representations
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.storage.passport import BY_MIRROR, Passport
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification.judge import Verdict


def unchanged_for_all(
    problem: Problem, networks: Mapping[str, Network], name: str, before: Passport | None = None
) -> Conversion | None:
    """The network as it is, where both verdicts pass under every mirror; None where one does not.

    before: the passport that came with it, whose figures stay where it is of the same mirrors.
    """
    problem.request.progress("checking whether it is equivariant already")
    each: dict[str, Verdict] = {}
    for mirror, network in networks.items():
        verdict = judge_as_it_is(replace(problem, network=network))
        if verdict is None:
            return None
        each[mirror] = verdict
    # Of `judge_each` the products alone are needed: the verdicts under single mirrors are known by now.
    verdicts = Verdicts(each, judge_each(networks, {}, samples=problem.request.samples).products)
    if not verdicts.numeric.passed:
        return None
    conversion = unchanged(problem.network, name, next(iter(each.values())), problem.request.samples)
    hidden: dict[str, Mapping[str, TensorRepresentation]] = {}
    for mirror, verdict in each.items():
        hidden[mirror] = {}
        if verdict.repmap is not None:
            hidden[mirror] = hidden_representations(networks[mirror].graph(), verdict.repmap)
    passport = replace(conversion.passport, spec=problem.network.resolved.spec, mirrors=hidden)
    if before is not None and (before.converted_for is not None or before.mirrors.keys() != networks.keys()):
        before = None
    by_mirror: dict[str, list[float]] = {}
    for mirror, verdict in each.items():
        earlier = before.under(mirror) if before is not None else None
        by_mirror[mirror] = list(written_again(networks[mirror], verdict.mirror, passport, earlier))
    passport = with_earlier_figures(_with_shares(passport, by_mirror), before)
    judgement = replace(conversion.report.judgement, mirrors=verdicts.records({}))
    report = replace(conversion.report, judgement=judgement)
    return replace(conversion, passport=passport, report=report)


def _with_shares(passport: Passport, by_mirror: Mapping[str, list[float]]) -> Passport:
    """The passport with odd shares under every mirror, in place of those under the first."""
    figures = {key: value for key, value in passport.figures.items() if key != "odd_random"}
    if all(by_mirror.values()):
        figures[BY_MIRROR] = dict(by_mirror)
    return replace(passport, figures=figures)
