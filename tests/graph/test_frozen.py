"""Parameters that are kept from training: weights are projected like any other, tables made by a formula stay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import AsymmetricConstantError
from chiralize.graph.frozen import tables_among
from tests.support.small_body import IMAGE, POSE, ROUNDING, converted, normal, residual, trained, verdicts

FOLD = torch.eye(6, dtype=torch.float64)[list(IMAGE)]
FRAMES = torch.arange(8).double()
SINES = FRAMES[:, None] / 100 ** (torch.arange(6).double() / 6)
COSINES = torch.cos(torch.pi / 8 * (FRAMES[None] + 0.5) * FRAMES[:, None])
BONES = torch.eye(6).double() + (torch.ones(6, 6) - torch.eye(6)).double().tril(1).triu(-1) / 3


class Lifter(nn.Module):
    """A layer of one's own, with its weights as plain parameters, and one of torch.nn."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shift = nn.Parameter(torch.empty(12, 16)), nn.Parameter(torch.empty(16))
        self.middle, self.norm, self.last = nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        y = (x.flatten(1) @ self.first + self.shift).relu()
        return self.last(self.norm(y + self.middle(y)).tanh()).view(-1, 6, 2)


def lifter(*frozen: str) -> nn.Module:
    net = trained(Lifter())
    for name in frozen:
        net.get_parameter(name).requires_grad_(False)
    return net


@pytest.mark.one_in(6)
@pytest.mark.parametrize("frozen", ["first", "shift", "middle.weight", "last.bias", "norm.weight"])
def test_a_frozen_weight_is_projected_as_if_it_were_not(frozen: str) -> None:
    net = lifter(frozen)
    own, free = converted(net), converted(lifter())
    assert residual(own, (3, 6, 2)) <= ROUNDING and verdicts(own, spec=POSE)[:2] == (True, True)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(own.parameters(), free.parameters(), strict=True))
    assert [name for name, weight in own.named_parameters() if not weight.requires_grad] == [frozen]
    assert frozen in {move.name for move in own.chirality.report.changes.moved}  # type: ignore[union-attr]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["match", "reduce"])
def test_other_methods(method: str) -> None:
    frozen = ("first", "middle.bias")
    inputs = {"calibration": normal(200, 6, 2, seed=9), "rounds": 0, "force": True} if method == "reduce" else {}
    own, free = (converted(lifter(*names), method=method, **inputs) for names in (frozen, ()))
    assert residual(own, (3, 6, 2)) <= ROUNDING
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(own.parameters(), free.parameters(), strict=True))


def test_a_frozen_layer_that_was_drawn_orthogonally_is_projected() -> None:
    """As one that torch drew number by number."""
    net = lifter("first")
    nn.init.orthogonal_(net.get_parameter("first"))
    assert residual(converted(net), (3, 6, 2)) <= ROUNDING


TABLES = {
    "sines beside cosines": torch.cat([SINES.sin(), SINES.cos()], -1),
    "sines, then cosines, in turn": torch.stack([SINES.sin(), SINES.cos()], -1).flatten(1),
    "cosines": COSINES,
    "the first cosines": COSINES[:3],
    "an orthogonal basis of cosines": COSINES / COSINES.norm(dim=1, keepdim=True),
    "the modes of a graph": torch.linalg.eigh(BONES.sum(1).diag() - BONES).eigenvectors,
    "a graph": BONES,
    "a graph, one bone longer": BONES + 0.2 * torch.outer(torch.eye(6)[0], torch.eye(6)[1]).double(),
    "a graph with degrees": BONES / BONES.sum(1, keepdim=True),
    "three graphs": torch.stack([torch.eye(6).double(), BONES, BONES @ BONES]),
    "distances": torch.cdist(normal(7, 3), normal(7, 3)),
    "a mask": (BONES > 0).double(),
    "a scale": torch.tensor([0.3]),
    "one number everywhere": torch.full((4, 8), 0.25),
    "marks": torch.arange(24).view(4, 6) % 5 / 2,
    "masked for a softmax": torch.zeros(5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf")),
}
LEARNED = {
    "a weight": normal(16, 12),
    "a narrow one": normal(2, 16),
    "a small one": normal(2, 2),
    "a wide one in half precision": normal(512, 512).bfloat16(),
    "a pruned one": normal(16, 12) * (normal(16, 12, seed=1) > 0.5),
    "a symmetric one": FOLD.repeat_interleave(2, 0).repeat_interleave(2, 1) @ normal(12, 1)
    + normal(12, 1) * normal(1, 9),
    "nothing yet": torch.zeros(8, 12),
    "a bias": normal(16),
    "a scale for every channel": torch.ones(16),
    "a kernel": normal(8, 4, 3),
    "one drawn orthogonally": torch.linalg.qr(normal(8, 8)).Q,
    "a tall one drawn orthogonally": 2**0.5 * torch.linalg.qr(normal(64, 8)).Q,
    "a large one": torch.linalg.qr(normal(400, 400)).Q.float(),
}


@pytest.mark.parametrize("name", [*TABLES, *LEARNED])
def test_told_apart_by_their_numbers(name: str) -> None:
    tensor = TABLES.get(name, LEARNED.get(name))
    assert tensor is not None
    own = nn.Parameter(tensor, requires_grad=False)
    others = nn.Parameter(torch.zeros(2 * own.numel() + 1))
    assert (tables_among({"own": own, "others": others}) == {"own"}) == (name in TABLES)
    assert not tables_among({"own": nn.Parameter(tensor), "others": others})


def test_of_a_network_that_is_frozen_as_a_whole_only_masks_are_tables() -> None:
    frozen = {name: nn.Parameter(tensor, requires_grad=False) for name, tensor in TABLES.items()}
    assert tables_among(frozen) == {"a mask"}


class Graph(nn.Module):
    """One convolution over a graph that is kept from training."""

    def __init__(self, divide: bool) -> None:
        super().__init__()
        self.first, self.last, self.divide = nn.Linear(2, 16), nn.Linear(16, 2), divide
        trained(self)
        self.bones = nn.Parameter(BONES.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        bones = self.bones / self.bones.sum(1, keepdim=True) if self.divide else self.bones
        return self.last(torch.einsum("vw,bwc->bvc", bones, self.first(x)).relu())


@pytest.mark.parametrize("divide", [False, True])
def test_a_frozen_table_that_the_mirror_changes_is_refused_as_frozen(divide: bool) -> None:
    net = Graph(divide)
    with pytest.raises(AsymmetricConstantError) as caught:
        converted(net)
    assert caught.value.remedy.startswith("make what forward computes it from" if divide else "check the pairs")
    assert caught.value.remedy.endswith(
        "; bones is a frozen parameter (requires_grad=False) that looks like a table: requires_grad_(True) has it "
        "converted as a weight"
    )
    net.bones.requires_grad_(True)
    assert residual(converted(net), (3, 6, 2)) <= ROUNDING
