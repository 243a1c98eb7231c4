"""`average`: (f(x) + T f(T x)) / 2, both views in one module. It is exact whatever the network is, at two passes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch

from chiralize.body.resolve import OnTensor
from chiralize.errors import Finding, MethodUnavailableError
from chiralize.graph import rewrite
from chiralize.graph.run import Runner, results
from chiralize.infer.records import random_numbers
from chiralize.nn.two_view import TwoView, is_real
from chiralize.problem.mirror import WeightAction
from chiralize.problem.network import Network
from chiralize.problem.problem import Draft, Method, Problem
from chiralize.symmetry.action import Turn
from chiralize.verification.average import same_under

_UNSIGNED = (torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64)


def averaged(network: Network) -> Draft:
    """Both views of a network as one module; its weights are the original's.

    Raises NoRuleError where the network draws random numbers, since both views would draw others, and
    MethodUnavailableError where T negates an answer whose type has no negative numbers.
    """
    captured = network.captured
    for node in captured.drawing if captured is not None else ():
        raise random_numbers(node)
    if captured is None and network.answers_vary():
        raise random_numbers(None, type(network.module).__name__)
    # A buffer that forward writes holds a state, which each view needs for itself. Without a graph nobody knows.
    written = [captured.leaves[leaf].names[0] for leaf in captured.mutations] if captured is not None else []
    turns_in, turns_out = (list(map(_turn, side)) for side in (network.resolved.inputs, network.resolved.outputs))
    same = same_under(captured, turns_in, turns_out) if captured is not None else frozenset[int]()
    module = TwoView(
        rewrite.with_weights(network.module, {}),
        turns_in,
        turns_out,
        own_buffers=captured is None or bool(written),
        example=network.example,
        same=same,
    )
    module.training = False  # the module of a program refuses eval(); it is in that mode already
    findings = [*network.findings, *_on_states(network, written), *_on_whole_numbers(network, same)]
    return Draft(module, None, WeightAction(), "average", "two-view", findings=tuple(findings))


def _turn(tensor: OnTensor) -> Turn | None:
    """T on an input or output, with its centre; None for states, of which each view keeps its own."""
    return None if tensor.representation is None else (tensor.representation, tensor.center)


def _on_states(network: Network, written: list[str]) -> Iterator[Finding]:
    """Where the states of both views are."""
    for tensor in network.resolved.inputs:
        if tensor.representation is None:
            facts = f"{tensor.where} holds the states of both views, twice as large on its last axis"
            yield Finding("states", "note", facts)
    if written:
        yield Finding("states", "note", f"states that each view keeps for itself: {', '.join(written)}")


def _on_whole_numbers(network: Network, same: Collection[int]) -> Iterator[Finding]:
    """A doubt about every answer that is no floating-point number and is averaged. Raises MethodUnavailableError."""
    with Runner(network.module) as runner:
        answers = results(runner.run([network.example]).steps[0])[0]
    for index, (tensor, answer) in enumerate(zip(network.resolved.outputs, answers, strict=True)):
        if is_real(answer) or tensor.representation is None or index in same:
            continue
        kind = str(answer.dtype).removeprefix("torch.")
        if answer.dtype in _UNSIGNED and not tensor.representation.is_sign_free:
            facts = f"it holds {kind}, which has no negative numbers, and T negates some of it: it has no average"
            remedy = "say that T negates none of it (negate: []), or return numbers that may be negative"
            raise MethodUnavailableError(tensor.where, facts, remedy)
        facts = f"{tensor.where} holds {kind} and is averaged as floating-point numbers: 3.5 of 3 and 4"
        yield Finding("mirror", "doubt", facts, "return the scores that classes or places are taken from")


def _drafts(problem: Problem) -> Iterator[Draft]:
    """The one draft that there is."""
    yield averaged(problem.network)


AVERAGE = Method("average", _drafts, is_average=True)
