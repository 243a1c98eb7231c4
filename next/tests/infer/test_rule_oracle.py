"""Every rule against brute force, found through the registry: a new rule without a sample fails here.

Every op and every sample of it is tried, in one configuration out of eight.
"""

from __future__ import annotations

from functools import cache

import pytest

from chiralize.infer.rule import OpRule, is_entrywise, registry, rule_of
from chiralize.infer.spelling import SPELLED
from tests.infer.samples import SAMPLES, entrywise, generated
from tests.support.rule_faults import FAULTS, faulty
from tests.support.rule_judge import Verdict, judge

ENOUGH = 0.9
ALL, MORE, FEW = 1, 5, 8
"""Of the configurations of a sample, every first, every fifth or every eighth."""
TARGETS = sorted(SAMPLES)
BY_TAG = sorted(entrywise())
UNTRIED: dict[str, str] = {}
"""Ops by the tag on which no call by their schema gives numbers, and why that is."""


def rule_judged(target: str) -> OpRule:
    """The rule of an op, or of the one that it is spelled as."""
    rule = rule_of(SPELLED[target][0] if target in SPELLED else target)
    assert rule is not None
    return rule


@cache
def first_of_rules() -> set[str]:
    """Of all ops with one function for a rule the first one, which stands for the others."""
    return set({rule_judged(target).apply: target for target in reversed(TARGETS)}.values())


@cache
def verdict_on(target: str, step: int) -> Verdict:
    return judge(rule_judged(target), target, SAMPLES[target], target in first_of_rules(), step=step)


def test_every_op_with_a_rule_is_tried() -> None:
    assert set(SAMPLES) == registry().keys() | SPELLED.keys()


@pytest.mark.parametrize("target", TARGETS)
def test_rule_is_sound_and_complete(target: str) -> None:
    rule = rule_judged(target)
    verdict = verdict_on(target, FEW)
    for step in (MORE, ALL):
        if not verdict.accepted or (verdict.completeness < ENOUGH and not rule.incomplete):
            verdict = verdict_on(target, step)  # too few configurations to tell a share
    assert not verdict.unsound, f"{len(verdict.unsound)} unsound claims, e.g. {verdict.unsound[0]}"
    assert verdict.accepted, "the rule accepts nothing"
    assert verdict.completeness >= ENOUGH or rule.incomplete, (
        f"{verdict.met} of {verdict.right} correct pairs accepted, and no `incomplete` text says why; "
        f"e.g. refused: {verdict.missed[0]}"
    )


@pytest.mark.parametrize("reason", sorted({rule_judged(target).incomplete for target in TARGETS} - {""}))
def test_reason_why_a_rule_is_incomplete_is_needed(reason: str) -> None:
    targets = [target for target in TARGETS if rule_judged(target).incomplete == reason]
    if not any(verdict_on(target, FEW).missed for target in targets):
        thorough = (judge(rule_judged(target), target, SAMPLES[target], stop=lambda v: v.missed) for target in targets)
        assert any(verdict.missed for verdict in thorough), "the oracle misses nothing: remove the text"


@pytest.mark.parametrize("target", [target for target in BY_TAG if target not in UNTRIED])
def test_rule_by_the_tag_of_torch_is_sound(target: str) -> None:
    rule, sample = rule_of(target), generated(target)
    assert rule is not None
    assert sample is not None, "no call by its schema gives numbers"
    verdict = judge(rule, target, [sample], is_first=False, step=2)
    assert not verdict.unsound, f"{len(verdict.unsound)} unsound claims, e.g. {verdict.unsound[0]}"
    assert verdict.accepted, "the rule accepts nothing"


def test_ops_that_the_tag_does_not_make_entrywise() -> None:
    """One answer for all entries together, numbers drawn, writes in place."""
    assert not any(map(is_entrywise, ("aten.equal.default", "aten.bernoulli.default", "aten.relu_.default")))
    assert rule_of("aten.equal.default") is None
    assert rule_of("no.such.op") is None


@pytest.mark.parametrize("name", FAULTS)
def test_oracle_finds_planted_fault(name: str) -> None:
    rule, target = faulty(name)
    assert judge(rule, target, SAMPLES[target], stop=lambda verdict: verdict.unsound).unsound, "a wrong rule passed"
