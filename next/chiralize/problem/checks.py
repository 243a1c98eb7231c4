"""What speaks against these inputs?"""

from __future__ import annotations

from chiralize.problem.problem import Problem


def checked(problem: Problem) -> Problem:
    """The problem with findings on its inputs. Raises DataFileError for what no fit may run on, unless forced."""
    return problem
