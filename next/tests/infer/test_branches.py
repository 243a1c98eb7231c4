"""Networks that take the body apart: a layer per joint, a network per limb, writes in a loop; T exchanges branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from chiralize.errors import AsymmetricConstantError, NeverEquivariantError, UnsupportedError
from chiralize.graph.model import CapturedModel, Leaf, Node, Ref, Where
from chiralize.infer.inference import Inference
from chiralize.symmetry.involution import SignedPermutation
from tests.infer.nets import (
    IMAGE,
    JOINTS,
    PLANE,
    ROUNDING,
    Net,
    finished,
    inferred,
    normal,
    rep,
    residual,
    trained,
    turn_of,
)

LEFT, RIGHT, MIDDLE = [1, 2], [3, 4], [0, 5]
POSE = rep(2, JOINTS, PLANE)
TURN = turn_of(POSE)


def dense(width: int, hidden: int = 8) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU())


def per_joint(make: Callable[[], nn.Module] = lambda: nn.Linear(2, 8)) -> nn.ModuleList:
    return nn.ModuleList([make() for _ in IMAGE])


def limb(net: nn.Module, joints: Tensor) -> Tensor:
    return net(joints.flatten(1))


# ---- networks that are accepted --------------------------------------------------------------------------------------
def stacked(net: Net, x: Tensor) -> Tensor:
    hidden = torch.stack([layer(x[:, joint]) for joint, layer in enumerate(net.layers)], 1)
    return net.last(hidden.flatten(1).relu()).view_as(x)


def limbs(net: Net, x: Tensor) -> Tensor:
    left, right = limb(net.left, x[:, LEFT]), limb(net.right, x[:, 3:5])
    return net.last(torch.cat([left, right, limb(net.middle, x[:, MIDDLE])], -1)).view_as(x)


def split(net: Net, x: Tensor) -> Tensor:
    hip, left, right, head = x.split([1, 2, 2, 1], 1)
    middle = net.middle(torch.cat([hip, head], 1).flatten(1))
    return net.last(torch.cat([middle, limb(net.left, left), limb(net.right, right)], 1)).view_as(x)


def unbound(net: Net, x: Tensor) -> Tensor:
    parts = [layer(joint) for layer, joint in zip(net.layers, x.unbind(1), strict=True)]
    return net.last(torch.cat(parts, -1).relu()).view_as(x)


def summed(net: Net, x: Tensor) -> Tensor:
    hidden: Any = sum(layer(x[:, joint]) for joint, layer in enumerate(net.layers))
    return net.last(hidden.relu()).view_as(x)


def difference(net: Net, x: Tensor) -> Tensor:
    """What is left minus right is odd: the result changes its sign."""
    return net.last(torch.tanh(net.arm(x[:, 1])) - torch.tanh(net.arm(x[:, 3]))).view_as(x) + x


def loop(net: Net, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for joint, layer in enumerate(net.layers):
        out[:, joint] = layer(x[:, joint])
    return out


def writes(net: Net, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    out[:, 0], out[:, 5] = x[:, 0], x[:, 5]
    out[:, 1:3] = net.last(limb(net.left, x[:, 1:3])).view(-1, 2, 2)
    out[:, 3:5] = net.last(limb(net.right, x[:, 3:5])).view(-1, 2, 2)
    return out


def mixing(net: Net, x: Tensor) -> Tensor:
    """A constant matrix per branch, of one side the mirror image of the other's."""
    parts = [layer(x[:, j]) + x[:, j] @ getattr(net, f"mix_{j}") for j, layer in enumerate(net.layers)]
    return torch.stack(parts, 1)


def grown(net: Net, x: Tensor) -> Tensor:
    """One entry after the other, left and right in turn: no beginning of the list is its own mirror image."""
    whole = net.layers[1](x[:, 1])
    for joint in (3, 2, 4, 0, 5):
        whole = torch.cat((whole, net.layers[joint](x[:, joint])), -1)
    return net.last(whole.relu()).view_as(x)


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8))


def three(function: Callable[[Net, Tensor], Tensor], width: int = 24, **parts: nn.Module) -> Net:
    nets = {"left": dense(4), "right": dense(4), "middle": dense(4), "last": nn.Linear(width, 12), **parts}
    return Net(function, **nets)


def mixed(lopsided: float = 0.0) -> Net:
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    matrices = {f"mix_{joint}": normal(2, 2, seed=min(joint, IMAGE[joint])) for joint in range(6)}
    matrices |= {f"mix_{joint}": matrices[f"mix_{joint}"] * signs for joint in RIGHT}
    matrices |= {f"mix_{joint}": matrices[f"mix_{joint}"] * signs.clamp_min(0) for joint in MIDDLE}
    matrices["mix_3"] = matrices["mix_3"] + lopsided
    return Net(mixing, layers=per_joint(lambda: nn.Linear(2, 2)), **matrices)


def normed_limb() -> nn.Module:
    return nn.Sequential(weight_norm(nn.Linear(4, 8)), nn.ReLU())


SHARED = dense(4)
CASES: dict[str, Callable[[], Net]] = {
    "a batch norm per joint": lambda: Net(stacked, layers=per_joint(normed), last=nn.Linear(48, 12)),
    "joints unbound": lambda: Net(unbound, layers=per_joint(), last=nn.Linear(48, 12)),
    "a network per limb": lambda: three(limbs),
    "weight norm": lambda: three(limbs, left=normed_limb(), right=normed_limb()),
    "limbs split": lambda: three(split),
    "one network for both sides": lambda: three(split, left=SHARED, right=SHARED),
    "joints summed up": lambda: Net(summed, layers=per_joint(), last=nn.Linear(8, 12)),
    "left minus right": lambda: Net(difference, arm=nn.Linear(2, 8), last=nn.Linear(8, 12, bias=False)),
    "joints written in a loop": lambda: Net(loop, layers=per_joint(lambda: nn.Linear(2, 2))),
    "joints and limbs written": lambda: three(writes, last=nn.Linear(8, 4)),
    "a constant per joint": mixed,
    "a list that grows": lambda: Net(grown, layers=per_joint(), last=nn.Linear(48, 12)),
}
EXCHANGED = {name: not any(word in name for word in ("one network", "minus")) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_branches(name: str) -> None:
    """Accepted, and what comes out commutes with T."""
    result, repmap = finished(trained(CASES[name]()), normal(2, 6, 2), POSE, POSE)
    assert residual(result, normal(5, 6, 2), TURN, TURN) <= ROUNDING
    weights = {name: partner for name, partner in repmap.partners.items() if name in repmap.leaves}
    assert bool(weights) == EXCHANGED[name]
    assert all(weights[other] == name for name, other in weights.items())


def test_partners_are_the_mirror_images() -> None:
    """Joint j's layer goes to the layer of its mirror image, by name; the middle ones stay."""
    inference = inferred(trained(CASES["a batch norm per joint"]()), normal(2, 6, 2), POSE, POSE)
    kinds = ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")
    wanted = {f"layers.{j}.{kind}": f"layers.{IMAGE[j]}.{kind}" for j in (1, 2, 3, 4) for kind in kinds}
    assert inference.result().exchanged(inference.captured) == wanted


def test_branches_of_a_thousand_layers() -> None:
    """Two that meet behind layers of their own, of an axis that only they tell of: compared without recursion."""
    where, batch = Where("", "test_branches.py:1"), 2

    def node(name: str, target: str, shape: tuple[int, ...], **arguments: Any) -> Node:
        return Node(name, f"aten.{target}", arguments, (shape,), frozenset({0}), where)

    nodes = [node("hidden", "linear.default", (batch, 3), input=Ref("x"), weight=Ref("weight"))]
    for side, entry in enumerate((0, 2)):
        name = f"{side} 0"
        nodes.append(node(name, "select.int", (batch,), self=Ref("hidden"), dim=1, index=entry))
        for layer in range(1, 1050):
            nodes.append(node(f"{side} {layer}", "tanh.default", (batch,), self=Ref(name)))
            name = f"{side} {layer}"
    ends = [Ref("0 1049"), Ref("1 1049")]
    nodes.append(node("out", "stack.default", (batch, 2), tensors=ends, dim=1))
    leaves = {
        "x": Leaf("x", "input", ("x",), torch.zeros(batch, 2)),
        "weight": Leaf("weight", "parameter", ("weight",), normal(3, 2)),
    }
    graph = CapturedModel(leaves, tuple(nodes), ("x",), ("out",), ((batch, 2),), {})
    sides = rep(batch, SignedPermutation.of([(0, 1)], size=2))
    weight = rep(SignedPermutation.of([(0, 2)], size=3), SignedPermutation.of([(0, 1)], size=2))
    inference = Inference(graph, [sides], [sides], given={"weight": weight})
    assert inference.finish().partners["0 1049"] == "1 1049"


# ---- what only looks alike -------------------------------------------------------------------------------------------
def another_activation(net: Net, x: Tensor) -> Tensor:
    parts = [layer(x[:, joint]) for joint, layer in enumerate(net.layers)]
    parts[3] = torch.sigmoid(parts[3])
    return net.last(torch.cat(parts, -1)).view_as(x)


def rolled(net: Net, x: Tensor) -> Tensor:
    """Joint j goes through the layer of joint j + 1, which is no mirror image of what the others do."""
    return torch.stack([layer(x[:, (joint + 1) % 6]) for joint, layer in enumerate(net.layers)], 1) + x


def crossed_order(net: Net, x: Tensor) -> Tensor:
    """Arm and leg on the left, leg and arm on the right."""
    left, right = limb(net.left, x[:, [1, 2]]), limb(net.right, x[:, [4, 3]])
    return net.last(torch.cat([left, right, limb(net.middle, x[:, MIDDLE])], -1)).view_as(x)


def half_used(net: Net, x: Tensor) -> Tensor:
    return net.last(net.layers[1](x[:, 1])).view_as(x)


def written_once_more(net: Net, x: Tensor) -> Tensor:
    """The right arm is overwritten by what was there before."""
    out = loop(net, x).clone()
    out[:, 3] = out[:, 1] * 2
    return out


def read_meanwhile(net: Net, x: Tensor) -> Tensor:
    """Later joints see what was written of earlier ones."""
    out = x.clone()
    for joint, layer in enumerate(net.layers):
        out[:, joint] = layer(out[:, joint] + out[:, 1])
    return out


def weighted_sum(net: Net, x: Tensor) -> Tensor:
    """1, 2, 3, ... times a branch: the sum is not that of mirror images."""
    total: Any = sum((joint + 1.0) * layer(x[:, joint]) for joint, layer in enumerate(net.layers))
    return net.last(total).view_as(x)


def thrice(net: Net, x: Tensor) -> Tensor:
    """The left arm twice, the right one once."""
    total = net.layers[1](x[:, 1]) + net.layers[1](x[:, 1]) + net.layers[3](x[:, 3])
    return net.last(total).view_as(x)


def one_sided(place: int) -> nn.ModuleList:
    layers = per_joint()
    layers[place] = nn.Linear(2, 8, bias=False)
    return layers


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
}
REFUSED = frozenset(LOOKALIKES) - {"another order"}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_lookalikes(name: str) -> None:
    """Refused, or turned into something that commutes with T: never a wrong yes."""
    try:
        result, _ = finished(trained(LOOKALIKES[name]()), normal(2, 6, 2), POSE, POSE)
    except UnsupportedError as error:
        assert name in REFUSED and ".py:" in error.where
        return
    assert name not in REFUSED
    assert residual(result, normal(5, 6, 2), TURN, TURN) <= ROUNDING


def test_entries_that_are_said_to_be_exchanged() -> None:
    """Whatever has paired two entries of an axis, the mirror must exchange them there."""
    net = Net(lambda _, x: torch.stack([x[:, joint] for joint in range(6)], 1))
    run = inferred(net, normal(2, 6, 2), POSE, POSE).run
    hip, *_, head = [node.name for node in run.captured.nodes if node.target == "aten.select.int"]
    run.exchange.pair(hip, head)
    with pytest.raises(NeverEquivariantError):
        run.prove()


def test_unequal_constants_are_changed_if_asked() -> None:
    net = trained(mixed())
    net.mix_3.add_(0.5)
    with pytest.raises(AsymmetricConstantError) as caught:
        finished(net, normal(2, 6, 2), POSE, POSE)
    assert "mix_" in caught.value.facts
    _, repmap = finished(net, normal(2, 6, 2), POSE, POSE, symmetrize=True)
    assert len(repmap.symmetrized) == 2
