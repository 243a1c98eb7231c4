"""Answers are turned back once for each mirror that they are compared under, which takes long on large inputs."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Runner
from chiralize.verification.evidence.answers import Answers, of_calls
from chiralize.verification.evidence.fitting import compare, gap_of
from chiralize.verification.evidence.mirrors import whole_key
from chiralize.verification.evidence.records import Candidate
from tests.verification.test_evidence import BODY, CALLS, MIRROR, Trained, others_of


@pytest.mark.parametrize("first", [0, 1])
def test_answers_are_turned_back_once_for_every_mirror(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """Of the first inputs, and of all. The gaps are those of each mirror by itself."""
    counts = Counter[tuple[int, object]]()
    turned_back = Answers.turned_back

    def counted(answers: Answers, mirror: NetworkMirror, index: int) -> list[torch.Tensor]:
        """Count which answers are turned back under which mirror."""
        counts[answers.count, whole_key(mirror)] += 1
        return turned_back(answers, mirror, index)

    others = {name: other for name, other in others_of(BODY).items() if whole_key(other) != whole_key(MIRROR)}
    with Runner(Trained()) as runner:
        answers = of_calls(runner, MIRROR, CALLS, first=first)
        monkeypatch.setattr(Answers, "turned_back", counted)
        compared = compare(answers, MIRROR, [Candidate(*each) for each in others.items()], 100)
        assert set(counts.values()) == {1} and len(counts) > len(compared.others)
        monkeypatch.undo()
        looked_at = answers.first or answers
        assert compared.gap == gap_of(MIRROR, answers)
        gaps = {other.name: gap_of(others[other.name], looked_at) for other in compared.others}
    if not first:
        assert {other.name: other.gap for other in compared.others} == gaps
