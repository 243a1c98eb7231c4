"""Networks that are lopsided only far from the examples: the numeric verdict cannot see it, the proof has to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.errors import ChiralizeError
from chiralize.verification.verdicts import Standing, Verdict
from tests.support.small_body import POSE, Net, normal, symmetric, turned, verdict_on

SWAPPED = [1, 0, 2, 3, 4, 5]


def hip(x: Tensor) -> Tensor:
    """A number that the mirror negates."""
    return x[:, 0, 0].mean().reshape(1)


def heights(x: Tensor) -> Tensor:
    """A pose of two numbers that the mirror does not negate."""
    return torch.cat([x[..., 1:], x[..., 1:].square()], -1)


def in_truth(x: Tensor) -> Tensor:
    truths = torch.zeros_like(x, dtype=torch.bool)
    truths[:] = x
    return truths.to(x.dtype)


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


@pytest.mark.parametrize("name", LOPSIDED)
def test_far_from_the_examples(name: str) -> None:
    def compute(_: Net, x: Tensor) -> Tensor:
        return x + torch.relu(x.square().mean() - 100) * LOPSIDED[name](x)

    net = Net(compute)
    far = 100 * normal(3, 6, 2)
    assert (net(turned(far)) - turned(net(far))).abs().max() > 1e-3 * net(far).abs().max()
    try:
        verdict = verdict_on(net)
    except ChiralizeError:
        return
    assert verdict.numeric.passed, "the example shows it, so that this test shows nothing"
    assert verdict.standing is Standing.UNPROVED


def test_what_is_symmetric_is_so_everywhere() -> None:
    """Zeros where a computed mask is true, and a factor that counts far away alone: symmetric weights commute."""

    def compute(s: Net, x: Tensor) -> Tensor:
        out = s.first(x.flatten(1)).unflatten(1, (6, 2)) * (1 + torch.relu(x.square().mean() - 100) * s.scale)
        out[x[..., 1] > 0] = 0.0
        return out

    scale = nn.Parameter(torch.arange(1.0, 7.0).reshape(6, 1))
    net, passport = symmetric(Net(compute, first=nn.Linear(12, 12), scale=scale).double())
    for x in (normal(5, 6, 2, seed=1), 100 * normal(5, 6, 2, seed=1)):
        torch.testing.assert_close(net(turned(x)), turned(net(x)), rtol=1e-12, atol=1e-12)
    assert (net(x) == 0).any()
    assert verdict_on(net, passport=passport).standing is Standing.PROVED


# ---- small faults beside large numbers -------------------------------------------------------------------------------
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
    for number, value in enumerate(infinite):
        mask[[0, 5, 2, 4][number], [5, 0, 2, 4][number]] = value
    mask[1, 2] = -5.0
    return mask


def is_caught_by_the_proof(verdict: Verdict) -> bool:
    return verdict.numeric.passed and verdict.standing is Standing.UNPROVED


@pytest.mark.parametrize("infinite", [(-1e9,), (-3e9, -1e9), (-2e5, -1e9), (-2e5, -1e9, -3e7, -3e7)])
def test_a_mask_beside_several_that_stand_for_minus_infinity(infinite: tuple[float, ...]) -> None:
    assert is_caught_by_the_proof(verdict_on(attended(lopsided_mask(*infinite)), POSE, normal(3, 6, 2).float()))


@pytest.mark.parametrize("scales", [(1e8, 1, 2, 300, 2, 1e4), (-9e3, 1, 1, 1.03, 1, -9e3)])
def test_large_scales_do_not_hide_small_ones(scales: tuple[float, ...]) -> None:
    numbers = nn.Parameter(torch.tensor(scales).reshape(6, 1))
    net = Net(lambda s, x: x * (1 + far(x) * torch.tanh(s.scale)), scale=numbers)
    verdict = verdict_on(net, POSE, normal(3, 6, 2).float())
    assert is_caught_by_the_proof(verdict)
    assert verdict.certificate is not None and verdict.certificate.broken.startswith("scale (6, 1): ")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_every_entry_by_itself(dtype: torch.dtype) -> None:
    """Less than an eps of the largest entry is several per cent of the others."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 12), nn.Unflatten(1, (6, 2)))
    x = normal(3, 6, 2).to(dtype)
    found, passport = symmetric(net.to(dtype), POSE, x)
    assert verdict_on(found, POSE, x, passport).passed
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in found.parameters():
            noise = torch.rand(weight.shape, generator=generator) * 2 - 1
            weight.copy_(weight.float() + 0.8 * torch.finfo(dtype).eps * weight.abs().max().float() * noise)
    verdict = verdict_on(found, POSE, x, passport)
    assert verdict.certificate is not None and not verdict.certificate.passed


def test_a_state_that_starts_lopsided() -> None:
    def compute(s: Net, x: Tensor) -> Tensor:
        s.mean.mul_(0.99).add_(0.01 * x.mean(0))
        return x - s.mean

    verdict = verdict_on(Net(compute, mean=normal(6, 2, seed=3)))
    assert verdict.certificate is not None and not verdict.certificate.passed
    net, passport = symmetric(Net(compute, mean=normal(6, 2, seed=3)))
    assert verdict_on(net, passport=passport).passed


# ---- a stored table of which an open size reads a part ---------------------------------------------------------------
CLIP = POSE.replace("b j d", "b t j d")


@pytest.mark.parametrize("cut", ["slice", "narrow", "index", "embedding"])
def test_a_table_is_looked_at_whole_where_frames_are_open(cut: str) -> None:
    """Of 64 stored rows the examples read 4, which are symmetric; a longer clip reads rows that are not."""

    def compute(s: Net, x: Tensor) -> Tensor:
        frames = x.shape[1]
        rows = {
            "slice": lambda: s.table[:frames],
            "narrow": lambda: s.table.narrow(0, 0, frames),
            "index": lambda: s.table[torch.arange(frames)],
            "embedding": lambda: F.embedding(torch.arange(frames), s.table.flatten(1)).unflatten(1, (6, 2)),
        }
        return x + rows[cut]()

    table = normal(64, 6, 2, seed=2)
    even = (table + turned(table)) / 2
    lopsided = torch.cat([even[:20], table[20:]])
    x = normal(2, 4, 6, 2)
    assert verdict_on(Net(compute, table=even), CLIP, x).passed
    try:
        verdict = verdict_on(Net(compute, table=lopsided), CLIP, x)
    except ChiralizeError:
        return
    assert not verdict.passed


def test_other_sizes_of_open_axes_are_run() -> None:
    """Equivariant on clips of 4 frames, and not on longer ones: no proof of the examples' sizes hides that."""
    even, lopsided = torch.ones(6, 1), torch.arange(1.0, 7.0).reshape(6, 1)
    for scale, passes in ((even, True), (lopsided, False)):
        # Frames by number, 1, 2, 3, ..., of which those behind the fourth count.
        net = Net(lambda s, x: x * (1 + torch.relu(torch.ones_like(x).cumsum(1) - 4) * s.scale), scale=scale.double())
        verdict = verdict_on(net, CLIP, normal(2, 4, 6, 2))
        tried = {size for axis, size in verdict.numeric.sizes if axis == "frames"}
        longer = {size for size in tried if size > 4}
        assert longer and verdict.passed == passes
        assert {size for axis, size in verdict.numeric.beyond if axis == "frames"} == (set() if passes else longer)


# ---- where a proof ends ----------------------------------------------------------------------------------------------
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

    verdict = verdict_on(Net(compute))
    assert verdict.passed and "precision" in {finding.topic for finding in verdict.findings}


def test_a_quotient_by_what_it_does_not_negate() -> None:
    verdict = verdict_on(Net(lambda _, x: x / (1 + x.square().sum((1, 2), keepdim=True))))
    assert verdict.passed and "precision" not in {finding.topic for finding in verdict.findings}
