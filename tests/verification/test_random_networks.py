"""No false acceptance: on random networks over the supported ops, both verdicts say yes exactly where it is so.

Every network is converted and must pass: residual with T written out here, numeric verdict, certificate. Then one
entry of one weight grows by a thousandth, and both verdicts must say no, the certificate naming the weight. A failure's
message holds the `Plan`, which `build` turns into the same network again.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec, resolve
from chiralize.commands.convert import Request, convert
from chiralize.errors import DegenerateError, UnsupportedError
from chiralize.graph import rewrite
from chiralize.graph.export import export
from chiralize.graph.model import CapturedModel, Leaf
from chiralize.infer.capture import capture
from chiralize.infer.hidden.impose import Imposed
from chiralize.infer.hidden.match import FromWeights
from chiralize.infer.records import RepMap
from chiralize.problem.mirror import analyse, depth_of, mirror_of
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.symmetry import reynolds
from chiralize.symmetry.symbolic import evaluate
from chiralize.verification import certificate, numeric
from chiralize.verification.verdicts import CertificateVerdict, NumericVerdict
from tests.support.cases import mainly
from tests.support.random_blocks import Body
from tests.support.random_lookalikes import BLOCKED, LOOKALIKES
from tests.support.random_networks import Network as RandomNetwork
from tests.support.random_networks import Plan, build, plans
from tests.support.zoo.case import both, negated, same, scrambled, swapped

EXACT = 1e-10
PLANTED = 1 + 1e-3
NETWORKS = int(os.environ.get("CHIRALIZE_NETWORKS", "5"))  # a part with --thorough; 16 make some 200 networks in all
BY_DEFAULT = 3
WHOLE = 2
LOOKED_AT = 2
TRIES = 30
# Shares that may be refused, and one network more in any part: joints that a branch gives out, put together and taken
# apart again, sometimes are.
REFUSED = {"frames": 0.15, "joints": 0.15, "branches": 0.15}
PARTS = [(family, part) for family, parts in (("frames", 6), ("joints", 4), ("branches", 3)) for part in range(parts)]
WHOLE_PARTS = [
    (family, part) for family, parts in (("frames", 3), ("joints", 3), ("branches", 1)) for part in range(parts)
]


def drawn(count: int, part: int):  # noqa: ANN201 - hypothesis names no type for it
    """Settings for a fixed number of networks, other ones for every part."""
    steady = settings(
        max_examples=count, database=None, deadline=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow],
    )  # fmt: skip
    return lambda test: seed(part)(steady(test))


# ---- residual with T written out -----------------------------------------------------------------------------------
def answers(module: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    with torch.no_grad():
        out = module(x)
    return out if isinstance(out, tuple) else (out,)


def residuals(module: nn.Module, net: RandomNetwork) -> list[float]:
    """max |F(T x) - T F(x)| over max |F(x)|, of the worst output, on three inputs each."""
    found = []
    for place in (11, 12, 13):
        x = net.example(place)
        outputs = zip(net.turns, answers(module, x), answers(module, net.body.turn(x)), strict=True)
        found.append(max(float((turn(own) - there).abs().max() / own.abs().max()) for turn, own, there in outputs))
    return found


def residual(module: nn.Module, net: RandomNetwork) -> float:
    return max(residuals(module, net))


# ---- the short way: one capture for conversion and fault -----------------------------------------------------------
@dataclass(frozen=True)
class Done:
    """A converted network: its graph, representations, symmetric weights by name."""

    network: Network
    repmap: RepMap
    values: dict[str, Tensor]

    @property
    def graph(self) -> CapturedModel:
        return self.network.graph()

    def module(self, changes: dict[str, Tensor] | None = None) -> nn.Module:
        return rewrite.with_weights(self.network.module, {**self.values, **(changes or {})})

    def verdicts(self, module: nn.Module, changes: dict[str, Tensor]) -> tuple[NumericVerdict, CertificateVerdict]:
        """Both, on a converted network in which some tensors were exchanged."""
        mirror, depth = mirror_of(self.network, self.repmap), depth_of(self.graph)
        numbers = numeric.judge(module, mirror, self.network.args, {}, samples=3, batches=(), depth=depth)
        return numbers, self.proof(changes)

    def proof(self, changes: dict[str, Tensor]) -> CertificateVerdict:
        held = {**self.values, **changes}
        leaves = {
            key: replace(leaf, tensor=held[leaf.names[0]]) if leaf.names[0] in held else leaf
            for key, leaf in self.graph.leaves.items()
        }
        return certificate.judge(replace(self.graph, leaves=leaves), self.repmap)


def converted(net: RandomNetwork, method: str) -> Done:
    x = net.example(1)
    shapes = [tuple(own.shape) for own in answers(net.module, x)]
    resolved = resolve(parse_spec(net.spec), [tuple(x.shape)], shapes)
    program = export(net.module, (x,), {})
    network = Network(net.module, (x,), {}, resolved, program, capture(program, (x,), {}))
    graph = network.graph()
    by_weights = FromWeights(graph)
    repmap, _ = analyse(network, Imposed(resolved.spec, by_weights) if method == "project" else by_weights)
    concrete = {leaf.name: evaluate(repmap.leaves[leaf.name], {}) for leaf in (*graph.weights, *graph.states)}
    return Done(network, repmap, rewrite.symmetric_weights(graph, concrete, repmap.partners)[0])


# ---- faults ----------------------------------------------------------------------------------------------------------
def lopsided(done: Done, leaf: Leaf, entry: int) -> Tensor | None:
    """The weight with one entry grown, None where T leaves the change alone."""
    tensor = done.values[leaf.names[0]].clone()
    flat = tensor.reshape(-1)
    before = flat[entry].clone()
    flat[entry] = before * PLANTED
    change = torch.zeros_like(flat)
    change[entry] = flat[entry] - before
    change = change.reshape(tensor.shape)
    image = reynolds.act(change, evaluate(done.repmap.leaves[leaf.name], {}))
    alone = leaf.name not in done.repmap.partners
    return None if not change.any() or (alone and torch.equal(change, image)) else tensor


def check_fault(done: Done, net: RandomNetwork, rng: random.Random, tally: Counter[str]) -> None:
    """One entry of one weight, of those that T moves and the outputs notice; both verdicts must say no."""
    places = [(leaf, at) for leaf in done.graph.weights for at in range(leaf.tensor.numel())]
    tried = 0
    for leaf, entry in rng.sample(places, len(places)):
        changed = lopsided(done, leaf, entry)
        if changed is None:
            continue
        tried += 1
        changes = dict.fromkeys(leaf.names, changed)
        module = done.module(changes)
        proof = done.proof(changes)
        partner = done.graph.leaves[done.repmap.partners.get(leaf.name, leaf.name)]
        assert not proof.passed, f"the certificate accepts {leaf.names[0]}[{entry}] grown by a thousandth"
        assert proof.broken.startswith((leaf.names[0] + " ", partner.names[0] + " ")), proof.broken
        if min(residuals(module, net)) > 100 * EXACT:  # on every input, not just where a maximum falls on it
            assert not done.verdicts(module, changes)[0].passed, f"the numbers accept {leaf.names[0]}[{entry}]"
            tally["faults"] += 1
            return
        if tried == TRIES:
            break
    tally["unnoticed" if tried else "nothing that T moves"] += 1


@pytest.mark.parametrize(("family", "part"), mainly(PARTS, [("frames", 0), ("joints", 1), ("branches", 2)]))
def test_random_networks(family: str, part: int, request: pytest.FixtureRequest) -> None:
    """Converted: both verdicts say yes and it is so. One weight lopsided: both say no, the certificate names it."""
    tally: Counter[str] = Counter()
    count = NETWORKS if request.config.getoption("--thorough") else min(NETWORKS, BY_DEFAULT)

    @drawn(count, part)
    @given(plans(family, least=1, most=2 if family == "branches" else 3))
    def check(plan: Plan) -> None:
        net = build(plan)
        tally["networks"] += 1
        try:
            done = converted(net, plan.method)
        except UnsupportedError:
            tally["refused"] += 1
            return
        module = done.module()
        assert residual(module, net) <= EXACT, plan
        numbers, proof = done.verdicts(module, {})
        assert numbers.passed, (plan, numbers.worst)
        assert proof.passed, (plan, proof)
        check_fault(done, net, random.Random(plan.seed), tally)

    check()
    assert tally["networks"] >= count
    assert tally["refused"] <= REFUSED[family] * tally["networks"] + 1, tally
    assert tally["unnoticed"] <= 0.2 * tally["networks"] and tally["faults"] >= 0.5 * tally["networks"], tally


@pytest.mark.parametrize(("family", "part"), mainly(WHOLE_PARTS, [("frames", 0), ("joints", 1), ("branches", 0)]))
def test_random_networks_through_the_whole_conversion(family: str, part: int, request: pytest.FixtureRequest) -> None:
    """`convert` captures its result again, judges it from scratch and guards it; T is written out here."""
    tally: Counter[str] = Counter()

    @drawn(WHOLE if request.config.getoption("--thorough") else 1, 100 + part)
    @given(plans(family, least=1, most=1 if family == "branches" else 2))
    def check(plan: Plan) -> None:
        net = build(plan)
        tally["networks"] += 1
        network = prepare(net.module, parse_spec(net.spec), (net.example(1),))
        try:
            found = convert(network, str(plan), Request("project", samples=1))
        except (UnsupportedError, DegenerateError):
            tally["refused"] += 1
            return
        assert found.report.judgement.certificate is not None and found.report.judgement.certificate.passed, plan
        assert residual(found.module, net) <= EXACT, plan

    check()
    assert tally["refused"] <= 0.5 * tally["networks"], tally


@pytest.mark.one_in(16)
@pytest.mark.parametrize("name", LOOKALIKES)
def test_branches_that_look_alike(name: str) -> None:
    """Whatever a network is accepted for is so, whether it mirrors against appearances or does not."""
    for place in range(LOOKED_AT):
        plan = Plan((name,), 7919 * place + 1)
        net = build(plan)
        try:
            done = converted(net, plan.method)
        except UnsupportedError:
            continue
        module = done.module()
        numbers, proof = done.verdicts(module, {})
        exact = residual(module, net) <= EXACT
        assert numbers.passed == exact, (plan, numbers)
        assert exact or not proof.passed, f"the certificate accepts {plan}, residual {residual(module, net):.2g}"


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", BLOCKED)
def test_two_views_round_what_cannot_commute(name: str) -> None:
    """`average`: exact, or refused; the same network without it is refused."""
    plan = Plan((name, "mlp"), 1 + list(BLOCKED).index(name))
    net = build(plan)
    network = prepare(net.module, parse_spec(net.spec), (net.example(1),))
    with pytest.raises(UnsupportedError):
        convert(network, name, Request("project", samples=1))
    found = convert(network, name, Request("project", on_blocked="average", samples=1, force=True))
    assert found.report.judgement.certificate is not None and found.report.judgement.certificate.passed, plan
    assert found.report.form == "averaged"
    assert residual(found.module, net) <= EXACT, plan


class PartialSum(nn.Module):
    """A sum of both sides, and the part of it that holds one side only."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(3, 4) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        part = self.a(x[:, 1]) + self.c(x[:, 0])
        return part + self.b(x[:, 2]), part


class SidesOverFrames(nn.Module):
    """A bias per side along coordinates that carry signs: both can only be zero, not each other's negative."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        sides = [layer(x[:, :, place].transpose(1, 2)) for layer, place in ((self.a, 1), (self.b, 2))]
        return torch.stack(sides, 1).transpose(2, 3).transpose(1, 2)


TRIPLE = Body((0, 2, 1), 3, (0,))
_POSE = "joints: [c, l, r]\npairs: [[l, r]]\ndims: [x, y, z]\nnegate: [x]\n"


@pytest.mark.parametrize(
    ("module", "spec", "shape", "turns"),
    [
        (PartialSum, "inputs: [{layout: b j d}]\noutputs: [{invariant: true}, {invariant: true}]\n", (2, 3, 3),
         (same, same)),
        (SidesOverFrames, "inputs: [{layout: b t j d}]\noutputs: [{layout: b t j d, joints: [l, r]}]\n", (2, 3, 3, 3),
         (both(swapped([(0, 1)], 2), negated([0], -1)),)),
    ],
)  # fmt: skip
def test_sides_that_are_not_exchanged_everywhere(
    module: type[nn.Module], spec: str, shape: tuple, turns: tuple
) -> None:
    net = RandomNetwork(scrambled(module().double(), 1).eval(), _POSE + spec, TRIPLE, shape, turns)
    try:
        done = converted(net, "project")
    except UnsupportedError:
        return
    assert residual(done.module(), net) <= EXACT
