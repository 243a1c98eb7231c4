"""What is asked for before hidden units are paired stays asked for afterwards."""

from __future__ import annotations

import pytest
import torch

from chiralize.body.tensors import parse_spec
from chiralize.methods.registry import method_of
from chiralize.methods.replaced_parts import with_replaced_parts
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from tests.support.small_body import POSE, Net, normal, trained


@pytest.mark.parametrize("is_asked", [True, False])
def test_constants_are_made_symmetric_where_that_is_asked_for(is_asked: bool) -> None:
    """Inference reads it off the network when it fills what lies beside the hidden units."""
    net = trained(Net(lambda own, x: own.mix(x.flatten(1)).unflatten(1, (6, 2)), mix=torch.nn.Linear(12, 12)))
    network = prepare(net, parse_spec(POSE), (normal(3, 6, 2),), None, "forward")
    request = Request(method="project", symmetrize_constants=is_asked)
    problem = Problem.of(network, request, method_of("project"))
    assert with_replaced_parts(problem, "project").network.treatment.symmetrize is is_asked
