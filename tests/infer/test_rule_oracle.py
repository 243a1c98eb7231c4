"""Every rule against brute force, found through the registry: a new rule is tried without an edit here.

Every op and every sample of it is tried by default, in one configuration out of eight; `--thorough` tries all.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch

from chiralize.infer.registry import registry
from tests.support.faults_rules import FAULTS, faulty
from tests.support.rule_judge import Verdict, judge

ENOUGH = 0.9
ALL, MORE, FEW = 1, 5, 8
"""Of the configurations of a sample, every first, every fifth or every eighth."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def step(request: pytest.FixtureRequest) -> int:
    return ALL if request.config.getoption("--thorough") else FEW


@cache
def verdict_on(target: str, step: int) -> Verdict:
    return judge(registry()[target], target, step=step)


@pytest.mark.parametrize("target", sorted(registry()))
def test_rule_is_sound_and_complete(target: str, step: int) -> None:
    rule = registry()[target]
    verdict = verdict_on(target, step)
    for more in (MORE, ALL):
        if more < step and (not verdict.accepted or (verdict.completeness < ENOUGH and not rule.incomplete)):
            verdict = verdict_on(target, more)  # too few configurations to tell a share
    assert not verdict.unsound, f"{len(verdict.unsound)} unsound claims, e.g. {verdict.unsound[0]}"
    assert verdict.accepted, "the rule accepts nothing"
    assert verdict.completeness >= ENOUGH or rule.incomplete, (
        f"{verdict.found} of {verdict.right} correct pairs accepted, and no `incomplete` text says why; "
        f"e.g. refused: {verdict.missed[0]}"
    )


@pytest.mark.parametrize("name", sorted({rule.name for rule in registry().values() if rule.incomplete}))
def test_incomplete_text_is_needed(name: str, step: int) -> None:
    rule = next(rule for rule in registry().values() if rule.name == name)
    missed = any(verdict_on(target, some).missed for some in (step, MORE) for target in rule.targets)
    assert missed or any(judge(rule, target, stop=_missed).missed for target in rule.targets), (
        "the oracle finds nothing missing: remove the text"
    )


def _missed(verdict: Verdict) -> list[str]:
    return verdict.missed


@pytest.mark.parametrize("name", FAULTS)
def test_oracle_finds_planted_fault(name: str) -> None:
    rule, target = faulty(name)
    assert judge(rule, target, stop=lambda verdict: verdict.unsound).unsound, "a wrong rule passed"
