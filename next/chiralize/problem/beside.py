"""Further inputs, made of those given."""

from __future__ import annotations

from chiralize.problem.problem import Problem


def supplied(problem: Problem) -> Problem:
    """The problem with inputs to fit on beside those given."""
    return problem
