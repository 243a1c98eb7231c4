"""Networks that take the body apart: a layer per joint, a network per limb, writes in a loop; T exchanges branches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.plan import plan
from chiralize.errors import AsymmetricConstantError, NeverEquivariantError, UnsupportedError
from chiralize.nn.training import keep_symmetric
from chiralize.problem.mirror import infer
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from tests.support.small_body import (
    IMAGE,
    POSE,
    ROUNDING,
    Net,
    converted,
    converted_from,
    normal,
    residual,
    stored,
    trained,
    verdicts,
    verified_file,
)

JOINTS = range(6)
LEFT, RIGHT, MIDDLE = [1, 2], [3, 4], [0, 5]
PARTS = [0, 1, 1, 2, 2, 0]  # of every joint: middle, left, right
SIDE_BY_SIDE, AS_BEFORE = [0, 5, 1, 3, 2, 4], [0, 2, 4, 3, 5, 1]


def dense(width: int, hidden: int = 8) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU())


def per_joint(make: Callable[[], nn.Module] = lambda: nn.Linear(2, 8)) -> nn.ModuleList:
    return nn.ModuleList([make() for _ in JOINTS])


def pose(x: Tensor) -> Tensor:
    return x.view(-1, 6, 2)


def limb(net: nn.Module, joints: Tensor) -> Tensor:
    return net(joints.flatten(1))


# ---- networks that are converted ------------------------------------------------------------------------------------
def stacked(net: Net, x: Tensor) -> Tensor:
    hidden = torch.stack([net.layers[joint](x[:, joint]) for joint in JOINTS], 1)
    return pose(net.last(hidden.flatten(1).relu()))


def limbs(net: Net, x: Tensor) -> Tensor:
    left, right = limb(net.left, x[:, LEFT]), limb(net.right, x[:, 3:5])
    return pose(net.last(torch.cat([left, right, limb(net.middle, x[:, MIDDLE])], -1)))


def split(net: Net, x: Tensor) -> Tensor:
    hip, left, right, head = x.split([1, 2, 2, 1], 1)
    middle = net.middle(torch.cat([hip, head], 1).flatten(1))
    return pose(net.last(torch.cat([middle, limb(net.left, left), limb(net.right, right)], 1)))


def unbound(net: Net, x: Tensor) -> Tensor:
    parts = [layer(joint) for layer, joint in zip(net.layers, x.unbind(1), strict=True)]
    return pose(net.last(torch.cat(parts, -1).relu()))


def heads(net: Net, x: Tensor) -> Tensor:
    hidden = net.body(x.flatten(1))
    return torch.stack([layer(hidden) for layer in net.layers], 1)


def summed(net: Net, x: Tensor) -> Tensor:
    hidden: Any = sum(net.layers[joint](x[:, joint]) for joint in JOINTS)
    return pose(net.last(hidden.relu()))


def difference(net: Net, x: Tensor) -> Tensor:
    """What is left minus right is odd: the result changes its sign."""
    return pose(net.last(torch.tanh(net.arm(x[:, 1])) - torch.tanh(net.arm(x[:, 3])))) + x


def loop(net: Net, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for joint in JOINTS:
        out[:, joint] = net.layers[joint](x[:, joint])
    return out


def writes(net: Net, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    out[:, 0], out[:, 5] = x[:, 0], x[:, 5]
    out[:, 1:3] = net.last(limb(net.left, x[:, 1:3])).view(-1, 2, 2)
    out[:, 3:5] = net.last(limb(net.right, x[:, 3:5])).view(-1, 2, 2)
    return out


def mixing(net: Net, x: Tensor) -> Tensor:
    """A constant matrix per branch, of one side the mirror image of the other's."""
    parts = [net.layers[joint](x[:, joint]) + x[:, joint] @ getattr(net, f"mix_{joint}") for joint in JOINTS]
    return torch.stack(parts, 1)


def others(net: Net, x: Tensor) -> Tensor:
    """Every joint from the five others, each through its own layer."""
    x = x[:, SIDE_BY_SIDE]
    rest = [net.layers[j](torch.cat((x[:, :j], x[:, j + 1 :]), 1).flatten(1)) for j in JOINTS]
    return torch.stack(rest, 1)[:, AS_BEFORE]


def others_written(net: Net, x: Tensor) -> Tensor:
    hidden = torch.stack([net.first[j](x[:, j]) for j in SIDE_BY_SIDE], 1).relu()
    out = torch.zeros_like(hidden)
    for j in JOINTS:
        out[:, j] = net.layers[j](torch.cat((hidden[:, :j], hidden[:, j + 1 :]), 1).mean(1))
    return pose(net.last(torch.cat((out, hidden), 2).flatten(1)))


def sides(net: Net, x: Tensor) -> Tensor:
    """Either side with the middle of the body, in the order of the joints."""
    left, right = torch.cat((x[:, :3], x[:, 5:]), 1), torch.cat((x[:, :1], x[:, 3:]), 1)
    return pose(net.last(torch.cat((limb(net.left, left), limb(net.right, right)), 1)))


def scored(parts: Callable[[Tensor, Tensor], list[Tensor]]) -> Net:
    """A score for the middle, the left and the right side, each taken to the joints of that part."""

    def forward(net: Net, x: Tensor) -> Tensor:
        hidden = net.layer(x).relu()
        scores = net.score(x.flatten(1)).view(-1, 4, 3).softmax(-1)
        return net.last(hidden * torch.stack(parts(scores, hidden), 1))

    return Net(forward, layer=nn.Linear(2, 4), score=nn.Linear(12, 12), last=nn.Linear(4, 2))


def split_up(scores: Tensor, _: Tensor) -> list[Tensor]:
    own = scores.unbind(-1)
    return [own[part] for part in PARTS]


def spread(scores: Tensor, hidden: Tensor) -> list[Tensor]:
    own = scores.split(1, -1)
    return [own[part].squeeze(-1).expand_as(hidden[:, joint]) for joint, part in enumerate(PARTS)]


def scored_twice(net: Net, x: Tensor) -> Tensor:
    """One after the other."""
    x = net.layer(x).relu()
    for score in (net.first, net.second):
        parts = score(x.mean(1)).view(-1, 4, 3).softmax(-1)
        x = (x * torch.stack(spread(parts, x), 1)).relu()
    return net.last(x)


def grown(net: Net, x: Tensor) -> Tensor:
    """One entry after the other, left and right in turn: no beginning of the list is its own mirror image."""
    own = net.layers[1](x[:, 1])
    for joint in (3, 2, 4, 0, 5):
        own = torch.cat((own, net.layers[joint](x[:, joint])), -1)
    return pose(net.last(own.relu()))


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8))


def three(function: Callable[[Net, Tensor], Tensor], width: int = 24, **parts: nn.Module) -> Net:
    nets = {"left": dense(4), "right": dense(4), "middle": dense(4), "last": nn.Linear(width, 12), **parts}
    return Net(function, **nets)


def mixed(lopsided: float = 0.0) -> Net:
    matrices = {f"mix_{joint}": normal(2, 2, seed=min(joint, IMAGE[joint])) for joint in JOINTS}
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    matrices |= {f"mix_{joint}": matrices[f"mix_{joint}"] * signs for joint in RIGHT}
    matrices |= {f"mix_{joint}": matrices[f"mix_{joint}"] * signs.clamp_min(0) for joint in MIDDLE}
    matrices["mix_3"] = matrices["mix_3"] + lopsided
    return Net(mixing, layers=per_joint(lambda: nn.Linear(2, 2)), **matrices)


SHARED = dense(4)
CASES: dict[str, Callable[[], Net]] = {
    "a batch norm per joint": lambda: Net(stacked, layers=per_joint(normed), last=nn.Linear(48, 12)),
    "joints unbound": lambda: Net(unbound, layers=per_joint(), last=nn.Linear(48, 12)),
    "a network per limb": lambda: three(limbs),
    "weight norm": lambda: three(
        limbs, left=nn.Sequential(weight_norm(nn.Linear(4, 8)), nn.ReLU()),
        right=nn.Sequential(weight_norm(nn.Linear(4, 8)), nn.ReLU()),
    ),
    "limbs split": lambda: three(split),
    "one network for both sides": lambda: three(split, left=SHARED, right=SHARED),
    "a head per joint": lambda: Net(heads, body=dense(12, 16), layers=per_joint(lambda: nn.Linear(16, 2))),
    "joints summed up": lambda: Net(summed, layers=per_joint(), last=nn.Linear(8, 12)),
    "left minus right": lambda: Net(difference, arm=nn.Linear(2, 8), last=nn.Linear(8, 12, bias=False)),
    "joints written in a loop": lambda: Net(loop, layers=per_joint(lambda: nn.Linear(2, 2))),
    "joints and limbs written": lambda: three(writes, last=nn.Linear(8, 4)),
    "a constant per joint": mixed,
    "all but one joint": lambda: Net(others, layers=per_joint(lambda: nn.Linear(10, 2))),
    "all but one, written": lambda: Net(
        others_written, first=per_joint(), layers=per_joint(lambda: nn.Linear(8, 8)), last=nn.Linear(96, 12)),
    "a list that grows": lambda: Net(grown, layers=per_joint(), last=nn.Linear(48, 12)),
    "a score per part, entry by entry": lambda: scored(lambda scores, _: [scores[..., part] for part in PARTS]),
    "a score per part, split": lambda: scored(split_up),
    "a score per part, spread": lambda: scored(spread),
    "a score per part, twice": lambda: Net(
        scored_twice, layer=nn.Linear(2, 4), first=nn.Linear(4, 12), second=nn.Linear(4, 12), last=nn.Linear(4, 2)),
    "a side and the middle": lambda: Net(sides, left=dense(8), right=dense(8), last=nn.Linear(16, 12)),
}  # fmt: skip
EXCHANGED = {name: not any(word in name for word in ("one network", "minus", "score")) for name in CASES}


@cache
def ready(name: str) -> Network:
    return prepare(trained(CASES[name]()), parse_spec(POSE), (normal(3, 6, 2),))


@cache
def _made(name: str) -> nn.Module:
    return converted_from(ready(name))


def made(name: str) -> nn.Module:
    """A conversion, to be changed at will."""
    return copy.deepcopy(_made(name))


@pytest.mark.one_in(12)
@pytest.mark.parametrize("name", CASES)
def test_branches(name: str) -> None:
    """Converted, proved, judged here; nothing is lost that the mirror negates."""
    own = made(name)
    report = own.chirality.report
    assert report.judgement.certificate.passed and report.form == "folded"
    assert residual(own, (5, 6, 2)) <= ROUNDING
    assert bool(own.chirality.exchanged) == EXCHANGED[name]
    assert all(own.chirality.exchanged[other] == name for name, other in own.chirality.exchanged.items())


def test_branches_matched() -> None:
    own = converted_from(ready("a network per limb"), method="match")
    assert own.chirality.report.judgement.certificate.passed and residual(own, (2, 6, 2)) <= ROUNDING


def test_the_search_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that meet again are found at the second attempt or later; with no attempt left the first refusal stands."""
    name = "a score per part, entry by entry"
    assert made(name).chirality.report.judgement.certificate.passed
    monkeypatch.setattr("chiralize.infer.search._MOST_ATTEMPTS", 1)
    with pytest.raises(UnsupportedError, match=r"\(the search for repairs ended after 1 attempts\)"):
        converted_from(ready(name))


def test_partners_are_the_mirror_images() -> None:
    """Joint j's layer goes to the layer of its mirror image, by name; the middle ones stay."""
    exchanged = made("a batch norm per joint").chirality.exchanged
    kinds = ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")
    assert exchanged == {f"layers.{j}.{kind}": f"layers.{IMAGE[j]}.{kind}" for j in (1, 2, 3, 4) for kind in kinds}


# ---- faults ---------------------------------------------------------------------------------------------------------
@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("joints unbound", "layers.4.weight"),
        ("a batch norm per joint", "layers.1.1.running_mean"),
        ("weight norm", "right.0.parametrizations.weight.original0"),
        pytest.param("joints and limbs written", "left.0.bias", marks=pytest.mark.thorough),  # of many ops
        ("a list that grows", "layers.2.bias"),
        ("a score per part, entry by entry", "score.bias"),
        ("a score per part, spread", "score.weight"),
    ],
)
def test_one_branch_changed(name: str, weight: str) -> None:
    """Both verdicts see it, and the proof says which weight."""
    own = made(name)
    with torch.no_grad():
        own.state_dict()[weight][1:2].mul_(1 + 1e-3)
    assert residual(own, (5, 6, 2)) > ROUNDING
    runs, proved, broken = verdicts(own)
    partner = own.chirality.exchanged.get(weight, weight)
    assert not runs and not proved and (weight in broken or partner in broken)


def test_a_passport_that_lies_about_partners() -> None:
    """`verify` finds the exchange in the graph; what the passport says of it cannot talk it into anything."""
    own = made("joints unbound")
    own.chirality.passport.exchanged.clear()
    assert verdicts(own)[:2] == (True, True)
    with torch.no_grad():
        own.state_dict()["layers.1.weight"].mul_(1 + 1e-3)
    assert verdicts(own)[:2] == (False, False)


# ---- the exchange travels with the network --------------------------------------------------------------------------
def test_through_a_file(tmp_path: Path) -> None:
    """The file says which weights are exchanged, and is verified with another batch."""
    path = stored(trained(CASES["a head per joint"]()), tmp_path)
    passport, report = verified_file(path, (4, 6, 2))
    pairs = {f"layers.{j}.{kind}": f"layers.{IMAGE[j]}.{kind}" for j in (1, 2, 3, 4) for kind in ("weight", "bias")}
    assert passport.exchanged == pairs
    assert report.passed and report.judgement.certificate is not None and report.judgement.certificate.passed


def test_fine_tuning_keeps_the_branches_apart_and_symmetric() -> None:
    own = made("joints unbound")
    before = copy.deepcopy(own.state_dict())
    optimizer = torch.optim.SGD(own.parameters(), 0.05)
    keep_symmetric(own, optimizer)
    for step in range(3):
        loss = (own(normal(8, 6, 2, seed=step)) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = own.state_dict()
    assert residual(own, (5, 6, 2)) <= ROUNDING
    assert not torch.equal(after["layers.1.weight"], before["layers.1.weight"])
    assert not torch.equal(after["layers.1.weight"], after["layers.2.weight"])


# ---- what only looks alike ------------------------------------------------------------------------------------------
def another_activation(net: Net, x: Tensor) -> Tensor:
    parts = [net.layers[j](x[:, j]) for j in JOINTS]
    parts[3] = torch.sigmoid(parts[3])
    return pose(net.last(torch.cat(parts, -1)))


def rolled(net: Net, x: Tensor) -> Tensor:
    """Joint j goes through the layer of joint j + 1, which is no mirror image of what the others do."""
    parts = [net.layers[j](x[:, (j + 1) % 6]) for j in JOINTS]
    return torch.stack(parts, 1) + x


def crossed_order(net: Net, x: Tensor) -> Tensor:
    """Arm and leg on the left, leg and arm on the right."""
    left, right = limb(net.left, x[:, [1, 2]]), limb(net.right, x[:, [4, 3]])
    return pose(net.last(torch.cat([left, right, limb(net.middle, x[:, MIDDLE])], -1)))


def half_used(net: Net, x: Tensor) -> Tensor:
    return pose(net.last(net.layers[1](x[:, 1])))


def written_once_more(net: Net, x: Tensor) -> Tensor:
    """The right arm is overwritten by what was there before."""
    out = loop(net, x).clone()
    out[:, 3] = out[:, 1] * 2
    return out


def read_meanwhile(net: Net, x: Tensor) -> Tensor:
    """Later joints see what was written of earlier ones."""
    out = x.clone()
    for joint in JOINTS:
        out[:, joint] = net.layers[joint](out[:, joint] + out[:, 1])
    return out


def weighted_sum(net: Net, x: Tensor) -> Tensor:
    """1, 2, 3, ... times a branch: the sum is not that of mirror images."""
    return pose(net.last(sum((j + 1.0) * net.layers[j](x[:, j]) for j in JOINTS)))


def thrice(net: Net, x: Tensor) -> Tensor:
    """The left arm twice, the right one once."""
    total = net.layers[1](x[:, 1]) + net.layers[1](x[:, 1]) + net.layers[3](x[:, 3])
    return pose(net.last(total))


def one_sided(place: int) -> nn.ModuleList:
    layers = per_joint()
    layers[place] = nn.Linear(2, 8, bias=False)
    return layers


def others_in_turn(net: Net, x: Tensor) -> Tensor:
    """What a joint of the left reads, its partner reads in an order that no involution makes of it."""
    rest = [net.layers[j](torch.cat((x[:, :j], x[:, j + 1 :]), 1).flatten(1)) for j in JOINTS]
    return torch.stack(rest, 1)


def others_but_one(net: Net, x: Tensor) -> Tensor:
    """All but one joint, and of the right arm's others one is another."""
    rest = [torch.cat((x[:, :j], x[:, j + 1 :]), 1) for j in JOINTS]
    rest[3] = torch.cat((x[:, :2], x[:, 3:]), 1)
    return torch.stack([net.layers[j](rest[j].flatten(1)) for j in JOINTS], 1)


LOOKALIKES: dict[str, Callable[[], Net]] = {
    "another activation": lambda: Net(another_activation, layers=per_joint(), last=nn.Linear(48, 12)),
    "layers of the neighbours": lambda: Net(rolled, layers=per_joint(lambda: nn.Linear(2, 2))),
    "another order": lambda: three(crossed_order),
    "a bias on one side": lambda: Net(stacked, layers=one_sided(3), last=nn.Linear(48, 12)),
    "one side only": lambda: Net(half_used, layers=per_joint(), last=nn.Linear(8, 12)),
    "written once more": lambda: Net(written_once_more, layers=per_joint(lambda: nn.Linear(2, 2))),
    "read meanwhile": lambda: Net(read_meanwhile, layers=per_joint(lambda: nn.Linear(2, 2))),
    "weighted": lambda: Net(weighted_sum, layers=per_joint(), last=nn.Linear(8, 12)),
    "twice and once": lambda: Net(thrice, layers=per_joint(), last=nn.Linear(8, 12)),
    "unequal constants": lambda: mixed(0.5),
    "all but one joint, in turn": lambda: Net(others_in_turn, layers=per_joint(lambda: nn.Linear(10, 2))),
    "the score of another part": lambda: scored(lambda scores, _: [scores[..., p] for p in [0, 1, 1, 2, 1, 0]]),
    "all but another joint": lambda: Net(others_but_one, layers=per_joint(lambda: nn.Linear(10, 2))),
}
REFUSED = frozenset(LOOKALIKES) - {"another order"}


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", LOOKALIKES)
def test_lookalikes(name: str) -> None:
    """Refused, or converted to something that is equivariant: never a wrong yes."""
    net = trained(LOOKALIKES[name]())
    try:
        own = converted(net, force=True)
    except UnsupportedError as error:
        assert name in REFUSED and ".py:" in error.where
        return
    assert name not in REFUSED
    assert own.chirality.report.judgement.certificate.passed and residual(own, (5, 6, 2)) <= ROUNDING


def test_entries_that_are_said_to_be_exchanged() -> None:
    """Whatever has paired two entries of an axis, the mirror must exchange them there."""
    net = Net(lambda _, x: torch.stack([x[:, joint] for joint in JOINTS], 1))
    found = infer(prepare(net, parse_spec(POSE), (normal(2, 6, 2),))).now
    hip, *_, head = [node.name for node in found.captured.nodes if node.target == "aten.select.int"]
    found.partners.pair(hip, head)
    found.resting.clear()
    with pytest.raises(NeverEquivariantError, match="as if the mirror exchanged them, and it does not"):
        found.run_until_still()


class Weighted(nn.Module):
    """Two joints, a layer each; in either order of its terms, a sum that counts the joint twice is none that does not.

    The mirror exchanges the joints and negates x, so the offsets of one joint are those of the other with x negated.
    """

    def __init__(self) -> None:
        super().__init__()
        self.once = nn.ParameterList([torch.tensor([sign * 0.3, 0.7], dtype=torch.float64) for sign in (1, -1)])
        self.twice = nn.ParameterList([torch.tensor([sign * 0.2, 0.5], dtype=torch.float64) for sign in (1, -1)])

    def forward(self, x: Tensor) -> Tensor:
        left, right = x[:, 0], x[:, 1]
        once_left = torch.add(left, self.once[0])
        twice_right = torch.add(self.twice[1], right, alpha=2)
        once_right, twice_left = torch.add(right, self.once[1]), torch.add(self.twice[0], left, alpha=2)
        return torch.stack([once_left.tanh() + twice_left, once_right.tanh() + twice_right], 1)


def test_weighted_terms_have_no_partner_without_weights() -> None:
    two = """\
joints: [left, right]
pairs: [[left, right]]
dims: [x, y]
inputs: [{layout: "b j d"}]
outputs: [{layout: "b j d"}]
"""
    judgement = chiralize.verify(Weighted().eval(), parse_spec(two), (normal(3, 2, 2),), samples=2).judgement
    assert judgement.numeric.passed and judgement.certificate is not None and judgement.certificate.passed


def test_unequal_constants_are_averaged_if_asked() -> None:
    net = trained(mixed(0.5))
    with pytest.raises(AsymmetricConstantError, match=r"mix_\d.*changes by 0\.5 (?s:.*)--symmetrize-constants"):
        converted(net)
    with pytest.warns(chiralize.ConstantsWarning, match=r"constants were changed: mix_1 \(.*%\), mix_3 \("):
        own = converted(net, symmetrize_constants=True)
    assert residual(own, (5, 6, 2)) <= ROUNDING
    added = torch.tensor([[0.25, -0.25], [-0.25, 0.25]])
    assert torch.allclose(own.state_dict()["mix_1"], net.state_dict()["mix_1"] + added)
    assert torch.equal(own.state_dict()["mix_0"], net.state_dict()["mix_0"])


def test_the_original_is_judged_as_it_is() -> None:
    """Trained branches are no mirror images: `verify` says no, twice."""
    runs, proved, _ = verdicts(trained(CASES["joints unbound"]()), spec=POSE)
    assert not runs and not proved


def test_plan_shows_no_refusal() -> None:
    report = plan(ready("a network per limb"), "net", "project")
    assert not report.blocked and all(row.action != "refuse" for row in report.rows)
