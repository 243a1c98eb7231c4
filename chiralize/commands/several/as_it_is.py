"""Networks that are equivariant under every mirror already: handed back as they are.

As `commands.unchanged` for one mirror: step 1 of a conversion. The passport gets a table of weights for each mirror,
read off the proof under that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from chiralize.commands.records import Conversion
from chiralize.commands.several.judging import Verdicts, judge_each
from chiralize.commands.unchanged import judge_as_it_is, unchanged
from chiralize.problem.mirror import hidden_representations
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification.judge import Verdict


def unchanged_for_all(problem: Problem, networks: Mapping[str, Network], name: str) -> Conversion | None:
    """The network as it is, where both verdicts pass under every mirror; None where one does not."""
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
    judgement = replace(conversion.report.judgement, mirrors=verdicts.records({}))
    report = replace(conversion.report, judgement=judgement)
    return replace(conversion, passport=passport, report=report)
