"""What is advised where another mirror fits: it can be done, and loses nothing that the user wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from chiralize.body.tensors import parse_spec
from chiralize.errors import MirrorError
from chiralize.graph.mirror import MirrorFit
from chiralize.methods.registry import method_of
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from chiralize.verification.asymmetry import advise
from chiralize.verification.asymmetry.records import Asymmetry, OutputGap
from chiralize.verification.evidence.records import LIE_ABOUT, UNLESS_FOREIGN
from chiralize.verification.verdicts import Evidence
from chiralize.verification.wrong_mirror import refuse_wrong_mirror

BODY = "joints: [hip, left_knee, right_knee, left_ear, right_ear]\npairs: [[1, 2], [3, 4]]\ndims: [x, y, z]\n"
APART = Asymmetry((OutputGap(0, 1.17, 0.1, 0.2),), (), 100)


@pytest.mark.parametrize(("gap", "end"), [(3.6, True), (3.6, False), (1.2, True)])
def test_answers_further_apart_than_opposite_ones_ask_for_the_inputs(gap: float, end: bool) -> None:
    """Landmarks counted from the other side brought angles to -18, and their point was the first thing to change."""
    spec = parse_spec(
        BODY + "negate: x\ninputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d, dims: [x, y]}]\n"
    )
    problem = Problem.of(prepare(nn.Linear(2, 2), spec, (torch.zeros(2, 5, 2),)), Request(), method_of("auto"))
    warning = f"gaze.yaw {LIE_ABOUT} -18{UNLESS_FOREIGN if end else ''}"
    with pytest.raises(MirrorError) as caught:
        refuse_wrong_mirror(problem, "net", Evidence(warnings=(warning,), fit=MirrorFit(gap, real=True, trained=True)))
    asks = "check first that the inputs are those that the network knows, in order, sign and unit"
    assert caught.value.remedy.startswith(asks) == (gap > 2 and end)
    assert caught.value.remedy.startswith("say the point that answers lie about first") == (gap < 2 or not end)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("lifter.yaml", "put `skeleton: h36m-17` into lifter.yaml in place of its skeleton, beside its inputs"),
        ("<text>", "put `skeleton: h36m-17` into the specification in place of its skeleton, beside its inputs and"),
        ("", "try --skeleton h36m-17"),
        ("--input-layout 1", "try --skeleton h36m-17"),
    ],
)
def test_another_skeleton_goes_into_the_file_that_has_the_layouts(file: str, words: str) -> None:
    """`--skeleton` in place of the user's file would drop the inputs and outputs in it."""
    spec = parse_spec(BODY + "inputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d, dims: [x, y]}]\n")
    where = f"{file}:4" if file and not file.startswith("--") else file
    inputs, outputs = spec.inputs or (), spec.outputs or ()
    spec = replace(spec, inputs=(replace(inputs[0], where=where),), outputs=(replace(outputs[0], where=where),))
    problem = Problem.of(prepare(nn.Linear(2, 2), spec, (torch.zeros(2, 5, 2),)), Request(), method_of("auto"))
    fit = MirrorFit(1.17, "the skeleton h36m-17", 0.1, True, skeletons=("h36m-17",), better=("the skeleton h36m-17",))
    with pytest.raises(MirrorError) as caught:
        refuse_wrong_mirror(problem, "net", Evidence(fit=fit))
    assert caught.value.remedy.startswith(words)
    advised = advise(APART, Evidence(warnings=("another fits",), fit=fit), True, spec=spec)
    assert advised.remedy.startswith(words)
