"""The reversal of an axis: rules accept the windows that commute with it, and no others, over random geometries."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from chiralize.graph.windows import Windows
from chiralize.infer.rule import Answer, Call, OpRule, rule_of
from chiralize.infer.rules.sliding import from_one_end, reversal
from chiralize.infer.spelling import SPELLED
from chiralize.infer.symbolic import Conflict, SymbolicRepresentation, axis_size, known_axis, trivial
from chiralize.symmetry.representation import TensorRepresentation
from tests.infer.samples import data, normal, sample, weighted
from tests.support import oracle
from tests.support.rule_bench import Bench
from tests.support.rule_session import Config, Session
from tests.support.rule_values import Sample, moved_each, representation

COUNT = 40
Geometry = tuple[str, Sample]
Draw = Callable[[int, int], int]


def convolution(whole: Draw) -> Geometry:
    groups = whole(1, 2)
    shapes = (2, 2, whole(3, 21)), (4, 2 // groups, whole(1, 5)), (4,)
    return "conv1d.default", weighted(*shapes, args=([whole(1, 4)], [whole(0, 3)], [whole(1, 3)], groups))


def transposed(whole: Draw) -> Geometry:
    stride, dilation = whole(1, 4), whole(1, 3)
    grows = whole(0, max(stride, dilation) - 1) * whole(0, 1)
    shapes = (2, 2, whole(2, 21)), (2, 3, whole(1, 5))
    options = (None, [stride], [whole(0, 3)], [grows], 1, [dilation])
    return "conv_transpose1d.default", weighted(*shapes, args=options)


def pooling(whole: Draw) -> Geometry:
    kernel, x = whole(1, 5), (2, 2, whole(5, 21))
    options = ([kernel], [whole(1, 4)], [whole(0, kernel // 2)])
    if whole(0, 1):
        return "avg_pool1d.default", data(x, args=(*options, bool(whole(0, 1)), bool(whole(0, 1))))
    return "max_pool1d.default", data(x, args=(*options, [whole(1, 2)], bool(whole(0, 1))))


def adaptive(whole: Draw) -> Geometry:
    return "adaptive_avg_pool1d.default", data((2, 2, whole(3, 21)), args=([whole(1, 12)],))


def resampling(whole: Draw) -> Geometry:
    x = normal(2, 2, whole(3, 21))
    size, factors = ([whole(1, 40)], None) if whole(0, 2) else (None, [(0.5, 1.5, 2.0, 3.0, 1.3, 0.75)[whole(0, 5)]])
    if whole(0, 1):
        return "upsample_linear1d.vec", sample(x, size, bool(whole(0, 1)), factors)
    return "upsample_nearest1d.vec", sample(x, size, factors)


def padding(whole: Draw) -> Geometry:
    mode = ("constant", "reflect", "replicate", "circular")[whole(0, 3)]
    before = whole(0, 2)
    after = before if whole(0, 1) else whole(0, 2)
    return "pad.default", data((2, 2, whole(3, 21)), args=([before, after], mode))


def unfold(whole: Draw) -> Geometry:
    size = whole(3, 21)
    return "unfold.default", data((2, 2, size), args=(-1, whole(1, min(5, size)), whole(1, 4)))


KINDS = (convolution, transposed, pooling, adaptive, resampling, padding, unfold)


def reversed_last(shape: tuple[int, ...], count: int = 1) -> TensorRepresentation:
    """The last axes reversed."""
    axes = [np.eye(size) for size in shape]
    return representation([*axes[:-count], *(axis[::-1].copy() for axis in axes[-count:])])


def always_turned(call: Call) -> Answer:
    """A convolution's rule that reverses input, kernel and result whatever the windows are: a law that is wrong."""
    for operand in call.operands:
        for axis in operand.rep.axes[: 2 if operand.ndim > 2 else 1]:
            call.solver.trivial(axis)
    kernel = call["weight"].rep.axes[2]
    call.solver.equal(kernel, known_axis(reversal(axis_size(kernel))))
    *others, size = call.shape
    return SymbolicRepresentation((*map(trivial, others), known_axis(reversal(size))))


def outcome(geometry: Geometry, rule: OpRule | None) -> tuple[bool, bool, bool]:
    """Whether op(T x) is T op(x) for the reversal, whether the rule accepts it, and whether what it says is true."""
    target, call = f"aten.{geometry[0]}", geometry[1]
    rule = rule or rule_of(SPELLED[target][0] if target in SPELLED else target)
    assert rule is not None
    bench = Bench(rule, target, call, True)
    turned = [reversed_last(slot.drawn.shape) if slot.drawn.shape != (4,) else _still(4) for slot in bench.slots]
    # Windows side by side are reversed, and the entries within each of them.
    answer = reversed_last(bench.shapes[0] or (), 2 if "unfold" in target else 1)
    (before, *_), (after, *_) = bench.images([turned], 4)
    assert before is not None
    assert after is not None
    is_exact = bool(oracle.agree_each(moved_each([answer], before[0]), after)[0])
    try:
        claim = Session(bench, Config((turned[0],))).settle()
    except Conflict:
        claim = None
    if claim is None:
        return is_exact, False, True
    return is_exact, True, bench.hold([claim], *bench.images([claim.slots]))[0]


def _still(size: int) -> TensorRepresentation:
    return representation([np.eye(size)])


def tried(kind: Callable[[Draw], Geometry], rule: OpRule | None = None) -> list[tuple[bool, bool, bool]]:
    """The outcomes of random geometries; those that torch refuses are passed over."""
    rng = np.random.default_rng(1)
    outcomes: list[tuple[bool, bool, bool]] = []
    while len(outcomes) < COUNT:
        geometry = kind(lambda low, high: int(rng.integers(low, high + 1)))
        try:
            with torch.no_grad():
                outcomes.append(outcome(geometry, rule))
        except (RuntimeError, IndexError):
            continue
    return outcomes


def test_rules_accept_what_is_exact_and_nothing_else() -> None:
    missed = exact = 0
    for kind in KINDS:
        outcomes = tried(kind)
        assert all(is_true for _, _, is_true in outcomes), kind.__name__
        exact += sum(is_exact for is_exact, _, _ in outcomes)
        missed += sum(is_exact and not accepts for is_exact, accepts, _ in outcomes)
    assert exact > COUNT
    assert missed <= 0.03 * exact


def test_brute_force_finds_a_law_that_is_wrong() -> None:
    assert not all(is_true for _, _, is_true in tried(convolution, OpRule(always_turned, "")))


def test_a_refusal_names_sizes_that_would_do() -> None:
    facts = from_one_end(Windows(size=20, count=10, kernel=3, stride=2, before=1))
    assert facts.endswith("; 19 or 21 entries would do")
