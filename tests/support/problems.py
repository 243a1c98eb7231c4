"""Problems as `convert` poses them."""

from __future__ import annotations

from chiralize.methods.registry import method_of
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request


def posed(network: Network, request: Request) -> Problem:
    """The problem of a request, with the method that it names."""
    return Problem.of(network, request, method_of(request.method))
