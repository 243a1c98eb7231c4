"""Even and odd parts that meet again: what a proof follows, and look-alikes that it must not approve."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chiralize.errors import UnsupportedError
from chiralize.infer.exchange import Exchange
from chiralize.infer.meeting import even_and_odd
from chiralize.infer.rule import Call, Operand
from chiralize.infer.solver.unify import Solver
from chiralize.infer.symbolic import Conflict, SymbolicRepresentation, known_axis
from chiralize.infer.wiring import Wiring
from chiralize.symmetry.involution import SignedPermutation
from tests.infer.nets import ROUNDING, Net, graph_of, inferred, normal, rep, residual, turn_of

BOTH = rep(2, SignedPermutation.of([(0, 1)], size=2), 2)
TURN = turn_of(BOTH)
Parts = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def net(meet: Parts) -> Net:
    """e = u + v and o = u - v, each through a function, and two joints made of them again."""

    def compute(_: Net, x: Tensor) -> Tensor:
        u, v = x[:, 0], x[:, 1]
        return torch.stack(meet(torch.tanh(u + v), torch.sin(u - v)), 1)

    return Net(compute).eval()


def judged(meet: Parts) -> tuple[bool, bool]:
    """By running, by proof. A network that passes and cannot be proved counts as not proved."""
    network = net(meet)
    runs = residual(network, normal(4, 2, 2), TURN, TURN) <= ROUNDING
    try:
        inferred(network, normal(2, 2, 2), BOTH, BOTH).finish()
    except UnsupportedError:
        return runs, False
    return runs, True


def met(e: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
    return e + o, e - o


def crossed(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return torch.tanh(a) - b, torch.tanh(b) - a


def nothing(part: Tensor) -> Tensor:
    """What a layer makes of it that reads even entries alone."""
    return torch.nn.functional.linear(part, torch.zeros(2, 2, dtype=part.dtype))


MEETING: dict[str, Parts] = {
    "sum and difference": lambda e, o: (e + o, e - o),
    "the odd one first": lambda e, o: (o + e, e - o),
    "and on": lambda e, o: crossed(*met(e * 0.5, o * 3)),
    "apart again": lambda e, o: met(e * 2, torch.sub(*[part.tanh() for part in met(e, o)])),
    "no odd part": lambda e, o: met(e, nothing(o)),
}


@pytest.mark.parametrize("name", MEETING)
def test_followed(name: str) -> None:
    assert judged(MEETING[name]) == (True, True)


FAULTS: dict[str, Parts] = {
    "the difference of other values": lambda e, o: (e + o, torch.tanh(e) - o),
    "another odd part": lambda e, o: (e + o, e - o * 2),
    "alpha of the difference": lambda e, o: (e + o, torch.sub(e, o, alpha=2)),
    "the sum alone": lambda e, o: (e + o, e + o),
    "the sum beside its even part": lambda e, o: (e + o, e),
    "two even parts": lambda e, o: (e + e.sin(), e - e.sin()),
    "two odd parts": lambda e, o: (o + o.sin(), o - o.sin()),
    "the difference turned round": lambda e, o: (e + o, o - e),
    "an even function of the odd part": lambda e, o: (e + o.abs(), e - o.abs()),
    "a function that is not odd": lambda e, o: (e + o.relu(), e - o.relu()),
    "one side scaled": lambda e, o: ((e + o) * 2, e - o),
    "functions of the two that differ": lambda e, o: (torch.tanh(e + o), torch.sin(e - o)),
    "no even part, turned round": lambda e, o: (o + nothing(e), o - nothing(e)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_not_approved(name: str) -> None:
    assert judged(FAULTS[name]) == (False, False)


@pytest.mark.parametrize(("sign", "zero"), [(1, False), (-1, True)])
def test_a_pair_of_an_earlier_run_that_does_not_fit_any_more(sign: int, zero: bool) -> None:
    """T is no longer said to negate one of the two, or the first is 0: the rule of sums must not answer for a pair."""
    graph = graph_of(net(met), normal(4, 2, 2))
    sums = [node for node in graph.nodes if node.target in ("aten.add.Tensor", "aten.sub.Tensor")]
    whole, difference = sums[-2:]  # the first two are u + v and u - v
    exchange, solver = Exchange(Wiring(graph)), Solver()
    axes = tuple(known_axis(SignedPermutation.identity(size)) for size in (4, 2))
    operands = {
        "self": Operand(SymbolicRepresentation(axes), zero=zero),
        "other": Operand(SymbolicRepresentation(axes, sign)),
    }
    call = Call(whole.target, operands, whole.shapes, solver)
    assert even_and_odd(exchange, whole, call) is None
    exchange.pair(whole.name, difference.name)
    with pytest.raises(Conflict):
        even_and_odd(exchange, whole, call)


# ---- a law: whatever is proved holds ---------------------------------------------------------------------------------
VALUES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "e": lambda e, o: e,
    "o": lambda e, o: o,
    "sin e": lambda e, o: e.sin(),
    "sin o": lambda e, o: o.sin(),
    "e o": lambda e, o: e * o,
    "abs o": lambda e, o: o.abs(),
}
OPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "+": torch.add,
    "-": torch.sub,
    "rest": lambda a, b: b - a,
    "+2": lambda a, b: torch.add(a, b, alpha=2),
    "-2": lambda a, b: torch.sub(a, b, alpha=2),
    "*": torch.mul,
}
TERMS = st.tuples(st.sampled_from(list(OPS)), st.sampled_from(list(VALUES)), st.sampled_from(list(VALUES)))


@settings(max_examples=25)
@given(first=TERMS, second=TERMS, related=st.booleans())
def test_whatever_is_proved_holds(first: tuple[str, str, str], second: tuple[str, str, str], related: bool) -> None:
    """related: the second joint reads what the first does, as in the real pattern."""
    other = (second[0], *first[1:]) if related else second

    def meet(e: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
        joints = [OPS[op](VALUES[a](e, o), VALUES[b](e, o)) for op, a, b in (first, other)]
        return joints[0], joints[1]

    runs, proof = judged(meet)
    assert runs or not proof
