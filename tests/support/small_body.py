"""A body of six joints for small networks; its T is written with torch alone, nothing of chiralize judges here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.cli.opening import open_network
from chiralize.cli.options import NetworkOptions
from chiralize.commands.api import Chirality
from chiralize.commands.convert import Request, convert
from chiralize.commands.verify import verify
from chiralize.commands.writing import write
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.report import VerifyReport
from chiralize.storage.passport import Passport
from tests.support.zoo.case import scrambled

BODY = """\
joints: [hip, l_arm, l_leg, r_arm, r_leg, head]
pairs: [[l_arm, r_arm], [l_leg, r_leg]]
dims: [x, y]
"""
POSE = BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{layout: "b j d"}]\n'
CLIP = BODY + 'inputs: [{layout: "b t j d"}]\noutputs: [{layout: "b t j d"}]\n'
IMAGE = (0, 3, 4, 1, 2, 5)  # which joint every joint becomes
ROUNDING = 1e-9


class Net(nn.Module):
    """Some parts and a function that puts them together."""

    def __init__(self, compute: Callable[[Any, Tensor], Any], **parts: Any) -> None:
        super().__init__()
        self.compute = compute
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.compute(self, x)


def trained(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network in float64 with random weights and statistics."""
    return scrambled(net.double(), seed).eval()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turned(x: Tensor) -> Tensor:
    """T on "... joint coord"."""
    return x[..., list(IMAGE), :] * torch.tensor([-1.0, 1.0], dtype=x.dtype)


def residual(net: nn.Module, shape: Sequence[int], turn: Callable[[Tensor], Tensor] = turned) -> float:
    """max |F(T x) - T F(x)| over max |F(x)|."""
    x = normal(*shape, seed=5)
    with torch.no_grad():
        plain, there = net(x), net(turned(x))
    assert plain.isfinite().all() and plain.abs().max() > 0
    return float((there - turn(plain)).abs().max() / plain.abs().max())


def converted(net: nn.Module, spec: str = POSE, shape: Sequence[int] = (3, 6, 2), **options: Any) -> nn.Module:
    """A conversion, `project` unless said otherwise."""
    chosen: Mapping[str, Any] = {"method": "project", "samples": 1, **options}
    return chiralize.chiralize(net, parse_spec(spec), (normal(*shape),), **chosen)


def converted_from(network: Network, **options: Any) -> nn.Module:
    """The same of a network that has been prepared: several conversions of one network need one graph."""
    conversion = convert(network, "net", Request(**{"method": "project", "samples": 1, **options}))
    conversion.module.chirality = Chirality(conversion.passport, conversion.report)  # type: ignore[assignment]
    return conversion.module


def verdicts(net: nn.Module, shape: Sequence[int] = (3, 6, 2), spec: str | None = None) -> tuple[bool, bool, str]:
    """What `verify` says: by running, by proof, and where the proof breaks."""
    report = chiralize.verify(net, None if spec is None else parse_spec(spec), (normal(*shape, seed=7),), samples=2)
    assert report.judgement.certificate is not None
    found = report.judgement.certificate
    return report.judgement.numeric.passed, found.passed, f"{found.where} {found.broken}"


def stored(net: nn.Module, folder: Path, spec: str = POSE, shape: Sequence[int] = (3, 6, 2), **options: Any) -> Path:
    """A conversion written as .pt2, as the command does it."""
    network = prepare(net, parse_spec(spec), (normal(*shape),))
    conversion = convert(network, "net", Request(**{"method": "project", "samples": 1, **options}))
    write(conversion, folder / "net.pt2")
    return folder / "net.pt2"


def verified_file(path: Path, shape: Sequence[int]) -> tuple[Passport, VerifyReport]:
    """The passport of a file, and what `verify` says of it at these sizes."""
    request = NetworkOptions(path, input_shape=(",".join(map(str, shape)),))
    network, loaded, passport = open_network(request)
    assert passport is not None
    return passport, verify(network, loaded.source.name, passport, samples=2)
