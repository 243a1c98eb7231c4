"""Even and odd parts that meet again: what the certificate follows, and look-alikes that it must not approve."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import UnsupportedError
from chiralize.graph.export import export
from chiralize.infer.capture import capture
from chiralize.infer.parity import even_and_odd
from chiralize.infer.partners import Partners
from chiralize.infer.registry import Call, Operand
from chiralize.infer.solver.unify import Conflict, Solver
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import SymbolicRepresentation, known_axis
from tests.support.small_body import Net, normal

SPEC = """\
joints: [left, right]
pairs: [[left, right]]
dims: [x, y]
inputs: [{layout: "b j d"}]
outputs: [{layout: "b j d"}]
"""
Parts = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def net(meet: Parts) -> Net:
    """e = u + v and o = u - v, each through a function, and two joints made of them again."""

    def compute(_: Net, x: Tensor) -> Tensor:
        u, v = x[:, 0], x[:, 1]
        return torch.stack(meet(torch.tanh(u + v), torch.sin(u - v)), 1)

    return Net(compute).eval()


def judged(meet: Parts) -> tuple[bool, bool]:
    """By running, by proof. A network that passes and cannot be proved counts as not proved."""
    try:
        report = chiralize.verify(net(meet).double(), parse_spec(SPEC), (normal(4, 2, 2),), samples=2)
    except UnsupportedError:
        return True, False
    return (
        report.judgement.numeric.passed,
        report.judgement.certificate is not None and report.judgement.certificate.passed,
    )


def met(e: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
    return e + o, e - o


def crossed(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return torch.tanh(a) - b, torch.tanh(b) - a


def nothing(part: Tensor) -> Tensor:
    """What a layer makes of it that reads even entries alone."""
    return torch.nn.functional.linear(part, torch.zeros(2, 2, dtype=part.dtype))


MEETING: dict[str, Parts] = {
    "sum and difference": lambda e, o: (e + o, e - o),
    "difference first": lambda e, o: (e - o, e + o),
    "the odd one first": lambda e, o: (o + e, e - o),
    "scaled before": lambda e, o: met(e * 0.5, o * 3),
    "and on": lambda e, o: crossed(*met(e, o)),
    "apart again": lambda e, o: met(e * 2, torch.sub(*[part.tanh() for part in met(e, o)])),
    "no odd part": lambda e, o: met(e, nothing(o)),
}


@pytest.mark.one_in(12)
@pytest.mark.parametrize("name", MEETING)
def test_followed(name: str) -> None:
    assert judged(MEETING[name]) == (True, True)


FAULTS: dict[str, Parts] = {
    "the difference of other values": lambda e, o: (e + o, torch.tanh(e) - o),
    "another odd part": lambda e, o: (e + o, e - o * 2),
    "alpha of the difference": lambda e, o: (e + o, torch.sub(e, o, alpha=2)),
    "alpha of the sum": lambda e, o: (torch.add(e, o, alpha=2), e - o),
    "the sum alone": lambda e, o: (e + o, e + o),
    "the sum beside its even part": lambda e, o: (e + o, e),
    "the difference alone": lambda e, o: (e - o, e - o),
    "two even parts": lambda e, o: (e + e.sin(), e - e.sin()),
    "two odd parts": lambda e, o: (o + o.sin(), o - o.sin()),
    "the difference turned round": lambda e, o: (e + o, o - e),
    "an even function of the odd part": lambda e, o: (e + o.abs(), e - o.abs()),
    "a function that is not odd": lambda e, o: (e + o.relu(), e - o.relu()),
    "one side scaled": lambda e, o: ((e + o) * 2, e - o),
    "functions of the two that differ": lambda e, o: (torch.tanh(e + o), torch.sin(e - o)),
    "coordinates exchanged in one part": lambda e, o: (e + o.flip(1), e - o.flip(1)),
    "no odd part, turned round": lambda e, o: (e + nothing(o), nothing(o) - e),
    "no even part, turned round": lambda e, o: (o + nothing(e), o - nothing(e)),
    "no odd part, one side scaled": lambda e, o: ((e + nothing(o)) * 2, e - nothing(o)),
}


@pytest.mark.one_in(6)
@pytest.mark.parametrize("name", FAULTS)
def test_not_approved(name: str) -> None:
    assert judged(FAULTS[name]) == (False, False)


def test_units_of_unknown_sign() -> None:
    """Of two hidden units that are both odd the sum is no mirror image of the difference, though no op says so."""
    spec = parse_spec("""\
joints: [left, right]
pairs: [[left, right]]
dims: [x]
inputs: [{layout: "b (j d)"}]
outputs: [{layout: "b j"}]
""")

    class Units(torch.nn.Module):
        """Units of which every one is odd: they read the sum of both joints, whose x the mirror negates."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([[1.0, 1.0], [2.0, 2.0]], dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            """Two joints, as if the units were an even and an odd part."""
            u, v = torch.nn.functional.linear(x, self.weight).unbind(1)
            return torch.stack([u + v, u - v], 1)

    judgement = chiralize.verify(Units().eval(), spec, (normal(4, 2),), samples=2).judgement
    assert not judgement.numeric.passed
    assert judgement.certificate is None or not judgement.certificate.passed


@pytest.mark.parametrize(("sign", "zero"), [(1, False), (-1, True)])
def test_a_pair_of_an_earlier_run_that_does_not_fit_any_more(sign: int, zero: bool) -> None:
    """T is no longer said to negate one of the two, or the first is 0: the rule of sums must not answer for a pair."""
    args = (normal(4, 2, 2),)
    captured = capture(export(net(met).double(), args, {}), args, {})
    sums = [node for node in captured.nodes if node.target in ("aten.add.Tensor", "aten.sub.Tensor")]
    whole, difference = sums[-2:]  # the first two are u + v and u - v
    partners, solver = Partners(captured), Solver()
    axes = tuple(known_axis(SignedPermutation.identity(size)) for size in (4, 2))
    first, second = SymbolicRepresentation(axes), SymbolicRepresentation(axes, sign)
    operands = {"self": Operand(first, zero=zero), "other": Operand(second)}
    call = Call(whole.target, operands, whole.shapes, solver)
    assert even_and_odd(whole, call, partners) is None
    partners.pair(whole.name, difference.name)
    with pytest.raises(Conflict, match="two values of which T does not negate one"):
        even_and_odd(whole, call, partners)


# ---- a law: whatever is proved holds --------------------------------------------------------------------------------
VALUES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "e": lambda e, o: e, "o": lambda e, o: o, "sin e": lambda e, o: e.sin(), "sin o": lambda e, o: o.sin(),
    "e o": lambda e, o: e * o, "abs o": lambda e, o: o.abs(),
}  # fmt: skip
OPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "+": torch.add, "-": torch.sub, "rest": lambda a, b: b - a, "+2": lambda a, b: torch.add(a, b, alpha=2),
    "-2": lambda a, b: torch.sub(a, b, alpha=2), "*": torch.mul,
}  # fmt: skip
TERMS = st.tuples(st.sampled_from(list(OPS)), st.sampled_from(list(VALUES)), st.sampled_from(list(VALUES)))


@given(first=TERMS, second=TERMS, related=st.booleans())
def test_whatever_is_proved_holds(first: tuple[str, str, str], second: tuple[str, str, str], related: bool) -> None:
    """related: the second joint reads what the first does, as in the real pattern."""
    other = (second[0], *first[1:]) if related else second

    def meet(e: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
        made = [OPS[op](VALUES[a](e, o), VALUES[b](e, o)) for op, a, b in (first, other)]
        return made[0], made[1]

    numbers, proof = judged(meet)
    assert numbers or not proof
