"""Networks that are lopsided only far from the examples: the numeric verdict cannot see it, the certificate has to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError
from tests.support.small_body import POSE, Net, normal, turned

SWAPPED = [1, 0, 2, 3, 4, 5]
EXCEPT = "true where no number that the mirror negates is exactly 0"


def hip(x: Tensor) -> Tensor:
    """A number that the mirror negates."""
    return x[:, 0, 0].mean().reshape(1)


def heights(x: Tensor) -> Tensor:
    """A pose of two numbers that the mirror does not negate."""
    return torch.cat([x[..., 1:], x[..., 1:].square()], -1)


def in_truth(x: Tensor) -> Tensor:
    kept = torch.zeros_like(x, dtype=torch.bool)
    kept[:] = x
    return kept.to(x.dtype)


def zeroed(x: Tensor) -> Tensor:
    out = x.clone()
    out[(x[..., 1] > 0)[:, SWAPPED]] = 0.0
    return out


def unsorted(x: Tensor) -> Tensor:
    largest = torch.topk(x[..., 1], 5, dim=1, sorted=False).values
    return x * (largest @ torch.tensor([1.0, 2.0, 5.0, -3.0, 4.0], dtype=x.dtype))[:, None, None]


def written_by_two_names(x: Tensor) -> Tensor:
    out = x.clone()
    out[:, [0, -6]] = x[:, [1, 3]]
    return out


LOPSIDED: dict[str, Callable[[Tensor], Tensor]] = {
    "unsigned numbers": lambda x: (x * 3).to(torch.uint8).to(x.dtype),
    "written as truth values": in_truth,
    "a sum that is a truth value": lambda x: torch.sum(x[..., None], -1, dtype=torch.bool).to(x.dtype),
    "bounds in the wrong order": lambda x: x.clamp(1.0, -1.0),
    "a slope that is negated": lambda x: F.prelu(heights(x), hip(x)) * hip(x),
    "slopes that are negated": lambda x: F.prelu(heights(x), hip(x).expand(6)) * hip(x),
    "a factor of a norm": lambda x: F.layer_norm(heights(x), (2,), weight=hip(x).expand(2)),
    "an offset of a norm": lambda x: F.layer_norm(heights(x), (2,), torch.ones(2, dtype=x.dtype), hip(x).expand(2)),
    "a factor of a root mean square": lambda x: F.rms_norm(heights(x), (2,), weight=hip(x).expand(2)),
    "a factor of groups": lambda x: F.group_norm(heights(x), 1, weight=hip(x).expand(6)),
    "an imaginary number": lambda x: (torch.complex(x, x) - 2j).imag,
    "1 / 0": lambda x: torch.tanh(torch.zeros_like(x).reciprocal()),
    "0 ** -1": lambda x: torch.atan(torch.zeros_like(x) ** -1),
    "x / 0": lambda x: torch.tanh(heights(x) / torch.zeros_like(x)),
    "zeros where a mask of the other side is true": zeroed,
    "the largest, unsorted": unsorted,
    "an entry by two names": written_by_two_names,
}


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", LOPSIDED)
def test_far_from_the_examples(name: str) -> None:
    def compute(_: Net, x: Tensor) -> Tensor:
        return x + torch.relu(x.square().mean() - 100) * LOPSIDED[name](x)

    net = Net(compute)
    far = 100 * normal(3, 6, 2)
    assert (net(turned(far)) - turned(net(far))).abs().max() > 1e-3 * net(far).abs().max()
    try:
        report = chiralize.verify(net, parse_spec(POSE), (normal(3, 6, 2),))
    except ChiralizeError:
        return
    assert report.judgement.numeric.passed, "the example shows it, so that this test shows nothing"
    assert report.judgement.certificate is not None and not report.judgement.certificate.passed


def test_zeros_where_a_computed_mask_is_true() -> None:
    def compute(s: Net, x: Tensor) -> Tensor:
        out = s.first(x.flatten(1)).unflatten(1, (6, 2))
        out[x[..., 1] > 0] = 0.0
        return out

    net = Net(compute, first=nn.Linear(12, 12)).double()
    found = chiralize.chiralize(net, parse_spec(POSE), (normal(3, 6, 2),), method="match")
    x = normal(5, 6, 2, seed=1)
    torch.testing.assert_close(found(turned(x)), turned(found(x)), rtol=0, atol=1e-12)
    assert (found(x) == 0).any()


@pytest.mark.parametrize("method", ["match", "average"])
def test_numbers_alone_do_not_bring_a_network_back(method: str) -> None:
    """Lopsided where no example gets: it is converted, not handed back as equivariant already."""

    def compute(s: Net, x: Tensor) -> Tensor:
        return x * (1 + torch.relu(x.square().mean() - 100) * s.scale)

    net = Net(compute, scale=nn.Parameter(torch.arange(1.0, 7.0, dtype=torch.float64).reshape(6, 1)))
    found = chiralize.chiralize(net, parse_spec(POSE), (normal(3, 6, 2),), method=method)
    far = 100 * normal(3, 6, 2)
    torch.testing.assert_close(found(turned(far)), turned(found(far)), rtol=1e-12, atol=0)


def far(x: Tensor) -> Tensor:
    return torch.relu(x.square().mean() - 100)


def attended(mask: Tensor) -> Net:
    """Attention that counts for large inputs alone."""

    def compute(s: Net, x: Tensor) -> Tensor:
        query = x[..., 1:] / (1 + x.abs().amax())
        return x + far(x) * torch.softmax(query @ query.transpose(1, 2) + s.mask, -1) @ x

    return Net(compute, mask=mask)


def lopsided_mask(*infinite: float) -> Tensor:
    mask = torch.zeros(6, 6)
    for place, value in enumerate(infinite):
        mask[[0, 5, 2, 4][place], [5, 0, 2, 4][place]] = value
    mask[1, 2] = -5.0
    return mask


@pytest.mark.parametrize("infinite", [(-1e9,), (-3e9, -1e9), (-2e5, -1e9), (-2e5, -1e9, -3e7, -3e7)])
def test_a_mask_beside_several_that_stand_for_minus_infinity(infinite: tuple[float, ...]) -> None:
    report = chiralize.verify(attended(lopsided_mask(*infinite)), parse_spec(POSE), (normal(3, 6, 2).float(),))
    assert (
        report.judgement.numeric.passed
        and report.judgement.certificate is not None
        and not report.judgement.certificate.passed
    )


@pytest.mark.parametrize("scales", [(1e8, 1, 2, 300, 2, 1e4), (-9e3, 1, 1, 1.03, 1, -9e3)])
def test_large_scales_do_not_hide_small_ones(scales: tuple[float, ...]) -> None:
    numbers = nn.Parameter(torch.tensor(scales).reshape(6, 1))
    net = Net(lambda s, x: x * (1 + far(x) * torch.tanh(s.scale)), scale=numbers)
    report = chiralize.verify(net, parse_spec(POSE), (normal(3, 6, 2).float(),))
    assert (
        report.judgement.numeric.passed
        and report.judgement.certificate is not None
        and not report.judgement.certificate.passed
    )
    assert report.judgement.certificate.broken.startswith("scale (6, 1): max |W - T W|")


@pytest.mark.one_in(2)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_every_entry_by_itself(dtype: torch.dtype) -> None:
    """Less than an eps of the largest entry is several per cent of the others."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 12), nn.Unflatten(1, (6, 2)))
    x = normal(3, 6, 2).to(dtype)
    found = chiralize.chiralize(net.to(dtype), parse_spec(POSE), (x,), method="project", force=True)
    report = chiralize.verify(found, example_inputs=(x,))
    assert report.passed
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for own in found.parameters():
            noise = torch.rand(own.shape, generator=generator) * 2 - 1
            own.copy_(own.float() + 0.8 * torch.finfo(dtype).eps * own.abs().max().float() * noise)
    report = chiralize.verify(found, example_inputs=(x,))
    assert report.judgement.certificate is not None and not report.judgement.certificate.passed


def test_a_state_that_starts_lopsided() -> None:
    def compute(s: Net, x: Tensor) -> Tensor:
        s.mean.mul_(0.99).add_(0.01 * x.mean(0))
        return x - s.mean

    net = Net(compute, mean=normal(6, 2, seed=3))
    report = chiralize.verify(net, parse_spec(POSE), (normal(3, 6, 2),))
    assert report.judgement.certificate is not None and not report.judgement.certificate.passed
    assert report.judgement.certificate.broken.startswith("the start of state mean (6, 2): max |W - T W|")
    assert report.judgement.certificate.broken.endswith("; reset it first")
    with pytest.warns(chiralize.StateWarning, match=r"starts from another stored state .*: mean \(.*made symmetric"):
        found = chiralize.chiralize(net, parse_spec(POSE), (normal(3, 6, 2),), method="match")
    assert chiralize.verify(found, example_inputs=(normal(3, 6, 2),)).passed


@pytest.mark.filterwarnings("ignore:Using torch.cross")
def test_a_cross_product_without_an_axis() -> None:
    """It takes the first axis of size 3: at a batch of 3 another one than at a batch of 2."""

    def compute(s: Net, x: Tensor) -> Tensor:
        first, second = s.map(x.flatten(1)).unflatten(1, (2, 3)).unbind(1)
        return torch.cross(first, second).sum(1)

    net = Net(compute, map=nn.Linear(12, 6)).double()
    spec = POSE.replace('outputs: [{layout: "b j d"}]', "outputs: [{invariant: true}]")
    with pytest.raises(ChiralizeError, match=r"torch.cross takes the first axis of size 3.*dim=-1"):
        chiralize.chiralize(net, parse_spec(spec), (normal(2, 6, 2),), method="match")


@pytest.mark.parametrize("name", ["a / b", "1 / b", "a + b / c", "atan2(b, c)"])
def test_a_quotient_by_what_the_mirror_negates(name: str) -> None:
    """1 / 0 is the same for both views: the proof says where it ends."""
    functions: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "a / b": torch.div,
        "1 / b": lambda _, b: b.reciprocal(),
        "a + b / c": lambda a, b: torch.addcdiv(b, a, b),
        "atan2(b, c)": lambda a, b: torch.atan2(b, a.square()),
    }

    def compute(_: Net, x: Tensor) -> Tensor:
        width = x[:, :1, :1]
        return torch.cat([functions[name](x[..., 1:], width.expand(-1, 6, 1)), x[..., 1:]], -1)

    report = chiralize.verify(Net(compute), parse_spec(POSE), (normal(3, 6, 2),))
    assert report.passed and report.judgement.certificate is not None
    assert any(EXCEPT in note for note in report.judgement.certificate.notes)


def test_a_quotient_by_what_it_does_not_negate() -> None:
    net = Net(lambda _, x: x / (1 + x.square().sum((1, 2), keepdim=True)))
    report = chiralize.verify(net, parse_spec(POSE), (normal(3, 6, 2),))
    assert report.passed and report.judgement.certificate is not None
    assert not any(EXCEPT in note for note in report.judgement.certificate.notes)
