"""What nobody has told yet, readers may tell: signs of factors, positions of lists, heads beside branches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.errors import NegatedChannelsError, NeverEquivariantError
from tests.infer.nets import JOINTS, PLANE, ROUNDING, Net, finished, normal, rep, residual, trained, turn_of

POSE, CLIP = rep(2, JOINTS, PLANE), rep(2, 4, JOINTS, PLANE)
GROUPS = [0, 1, 2, 1, 2, 0]  # left and right arm share one, and so do the legs
WIDTH = 12


def judged(net: nn.Module, shape: tuple[int, ...] = (3, 6, 2)) -> float:
    action = POSE if len(shape) == 3 else CLIP
    result, _ = finished(net, normal(2, *shape[1:]), action, action)
    return residual(result, normal(*shape, seed=5), turn_of(action), turn_of(action))


# ---- factors ---------------------------------------------------------------------------------------------------------
def size_of(x: Tensor) -> Tensor:
    """A size of every coordinate, which the mirror moves and does not negate."""
    return (x * x + 0.1).sqrt()


def hidden(net: Net, x: Tensor) -> Tensor:
    return net.last(net.first(x.flatten(1)).relu()).view(x.shape)


FACTORS: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "size behind": lambda net, x: hidden(net, x) * size_of(x),
    "size before": lambda net, x: size_of(x) * hidden(net, x),
    "and moved": lambda net, x: hidden(net, x) * size_of(x) + x,
    "divided": lambda net, x: hidden(net, x) / size_of(x),
    "a gate": lambda net, x: x * torch.tanh(hidden(net, x)).abs(),
    "an odd factor": lambda net, x: size_of(x) * torch.tanh(hidden(net, x)) * 0.5 + x,
    "signs that cancel": lambda net, x: net.end((x * hidden(net, x)).flatten(1)).view(x.shape),
}


@pytest.mark.parametrize("name", FACTORS)
def test_factors(name: str) -> None:
    layers = {"first": nn.Linear(12, 16), "last": nn.Linear(16, 12), "end": nn.Linear(12, 12)}
    assert judged(trained(Net(FACTORS[name], **layers))) <= ROUNDING


def test_normalised_over_frames_and_back() -> None:
    def by_frames(net: Net, x: Tensor) -> Tensor:
        mean, size = x.mean(1, keepdim=True), (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        return hidden(net, (x - mean) / size) * size + mean

    net = trained(Net(by_frames, first=nn.Linear(48, 16), last=nn.Linear(16, 48)))
    assert judged(net, (3, 4, 6, 2)) <= ROUNDING


# ---- lists of entries ------------------------------------------------------------------------------------------------
def heads(x: Tensor) -> Tensor:
    """ "batch joint channel" to "batch head joint inner"."""
    return x.unflatten(-1, (3, 4)).transpose(1, 2)


def share() -> Tensor:
    shares = F.one_hot(torch.tensor(GROUPS)).double()
    return shares / shares.sum(0)


@pytest.mark.parametrize("packed", [False, True])
def test_groups_of_joints_beside_joints(packed: bool) -> None:
    """Joints attend to joints and to the mean of their groups; key and value of one layer, as one tensor or as two."""

    def compute(net: Net, x: Tensor) -> Tensor:
        of_groups = net.e((x.transpose(1, 2) @ net.share)[..., GROUPS].transpose(1, 2))
        both = net.kv(x)
        if packed:
            k, v = both.unflatten(-1, (2, 3, 4)).permute(2, 0, 3, 1, 4)
        else:
            k, v = map(heads, both.chunk(2, -1))
        q, e = heads(net.q(x)), heads(of_groups)
        scores = q @ k.transpose(-2, -1) + torch.einsum("bhnc,bhmc->bhnm", q, e)
        return net.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    layers = {"q": nn.Linear(2, WIDTH), "e": nn.Linear(2, WIDTH), "kv": nn.Linear(2, 2 * WIDTH)}
    assert judged(trained(Net(compute, **layers, out=nn.Linear(WIDTH, 2), share=share()))) <= ROUNDING


def test_nothing_but_lists_decides_at_last() -> None:
    """A value of groups that meets nothing else: the list itself chooses, and the joints are partners."""

    def compute(net: Net, x: Tensor) -> Tensor:
        return net.out(torch.relu(net.a((x.transpose(1, 2) @ net.share)[..., GROUPS].transpose(1, 2))))

    assert judged(trained(Net(compute, a=nn.Linear(2, WIDTH), out=nn.Linear(WIDTH, 2), share=share()))) <= ROUNDING


def test_bones_of_children_and_parents() -> None:
    """x[children] - x[parents] needs the same mirror on both lists, though a parent is named twice."""
    children, parents = [1, 2, 3, 4, 5], [0, 1, 0, 3, 0]

    def compute(net: Net, x: Tensor) -> Tensor:
        bones = x[:, children] - x[:, parents]
        return net.last(torch.relu(net.first(bones.flatten(1)))).view_as(x)

    assert judged(trained(Net(compute, first=nn.Linear(10, 16), last=nn.Linear(16, 12)))) <= ROUNDING


@pytest.mark.parametrize("parents", [[0, 0, 1, 0, 3, 0], [0, 1, 1, 3, 3, 0, 5]])
def test_a_list_that_nobody_reads_beside_another(parents: list[int]) -> None:
    """Its copies of an entry go to those of the partner, in order: the parents of partners, where they are partners."""

    def compute(net: Net, x: Tensor) -> Tensor:
        return net.last(torch.relu(net.first(x[:, parents].flatten(1)))).view_as(x)

    assert judged(trained(Net(compute, first=nn.Linear(2 * len(parents), 16), last=nn.Linear(16, 12)))) <= ROUNDING


def test_a_list_that_is_not_closed() -> None:
    with pytest.raises(NeverEquivariantError):
        judged(trained(Net(lambda net, x: net.last(x[:, [0, 1, 1, 3]].flatten(1)).view_as(x), last=nn.Linear(8, 12))))


# ---- heads of one size beside branches of another --------------------------------------------------------------------
def network(channels: int, branches: int, count: int) -> nn.Module:
    """Attention with heads, then branches whose channels lie one behind the other, both added to the trunk."""

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (count, channels // count)).transpose(1, 2)

    def compute(net: Net, x: Tensor) -> Tensor:
        trunk = net.first(x)
        q, k, v = (split(part(net.norm(trunk))) for part in (net.q, net.k, net.v))
        trunk = trunk + ((q @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).flatten(2)
        return net.last(trunk + torch.cat([branch(trunk).relu() for branch in net.branches], -1))

    layers: dict[str, nn.Module] = {name: nn.Linear(channels, channels) for name in "qkv"}
    parts = nn.ModuleList(nn.Linear(channels, channels // branches) for _ in range(branches))
    ends = {"first": nn.Linear(2, channels), "norm": nn.LayerNorm(channels), "last": nn.Linear(channels, 2)}
    return trained(Net(compute, **layers, **ends, branches=parts))


@pytest.mark.parametrize("sizes", [(24, 4, 6), (24, 2, 3), (36, 3, 2)], ids=str)
def test_a_pairing_that_fits_both(sizes: tuple[int, int, int]) -> None:
    assert judged(network(*sizes)) <= ROUNDING


def test_sizes_without_a_common_part_are_refused() -> None:
    """Branches of 3 and heads of 4: nothing but single entries fits both, and they could not be told apart."""
    with pytest.raises(NeverEquivariantError):
        judged(network(12, 4, 3))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_numbers_beside_a_part(value: float) -> None:
    """Zeros swap as what they are added to; ones would be negated where x is."""

    def compute(net: Net, x: Tensor) -> Tensor:
        answer = net.last(torch.tanh(net.first(x.flatten(1))))
        return (answer + F.pad(x[:, 5], (10, 0), value=value)).view(-1, 6, 2)

    net = trained(Net(compute, first=nn.Linear(12, 8), last=nn.Linear(8, 12)))
    if value:
        with pytest.raises(NegatedChannelsError):
            judged(net)
    else:
        assert judged(net) <= ROUNDING
