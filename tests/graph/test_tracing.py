"""Networks that export refuses are traced: those that look at data, arguments by name, sizes that constants give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from chiralize import chiralize
from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.commands.writing import write
from chiralize.errors import CaptureError, ModelRunError
from chiralize.graph.tracing import trace
from chiralize.problem.preparation import prepare
from chiralize.storage.load import load_model

GROUPS = [0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2]
PARTNERS = [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]
POSES = parse_spec("skeleton: h36m\ninputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d}]\n")
ROBOT = parse_spec("skeleton: quadruped-12\ninputs: [{layout: b j}]\noutputs: [{layout: b j}]\n")
SCALED = parse_spec("skeleton: quadruped-12\ninputs: [{layout: b j}, {free: true}]\noutputs: [{layout: b j}]\n")


class Policy(nn.Module):
    """Its distribution looks at the data: whether they are finite."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean, self.spread = nn.Linear(12, 32), nn.Linear(32, 12), nn.Linear(32, 12)

    def forward(self, q: Tensor, deterministic: bool = False, scale: Tensor | None = None) -> Tensor:
        h = torch.tanh(self.body(q))
        drawn = Normal(self.mean(h), torch.tanh(self.spread(h)).exp(), validate_args=True)
        action = torch.tanh(drawn.mean if deterministic else drawn.rsample())
        return action if scale is None else action * scale


class Groups(nn.Module):
    """Joints are pooled by groups, the number of which is left to the labels."""

    def __init__(self, stored: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 32), nn.Linear(32, 3)
        self.stored = stored
        self.register_buffer("labels", torch.tensor(GROUPS))

    def forward(self, x: Tensor) -> Tensor:
        labels: Any = self.labels if self.stored else torch.tensor(GROUPS)
        h, of = self.a(x), F.one_hot(labels).float()
        pooled = torch.einsum("bjc,jg->bgc", h, of / of.sum(0, keepdim=True))
        return self.b(torch.relu(h + pooled[:, labels]))


def turned(x: Tensor) -> Tensor:
    return x[:, PARTNERS] * torch.tensor([-1.0, *[1.0] * (x.shape[-1] - 1)])


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((True,), {}), ((), {"deterministic": True}), ((), {"scale": torch.tensor(0.5), "deterministic": True})],
    ids=["by place", "by name", "a tensor by name"],
)
def test_arguments_by_name(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    torch.manual_seed(0)
    q, net = torch.randn(2, 12), Policy().eval()
    spec = SCALED if "scale" in kwargs else ROBOT
    network = prepare(net, spec, (q, *args), kwargs)
    (note,) = (note for note in network.notes if "was traced" in note)
    assert note.startswith("the network was traced (torch.export cannot capture the network: ")
    assert note.endswith("): branches are those that the examples take"), note
    found = convert(network, "net", Request("match", samples=1)).module
    matrix = torch.tensor(load_skeleton("quadruped-12").merged_action().matrix()).float()

    def mirrored(x: Tensor) -> Tensor:
        return x @ matrix.T

    other = torch.randn(2, 12)
    torch.testing.assert_close(found(mirrored(other), *args, **kwargs), mirrored(found(other, *args, **kwargs)))
    with pytest.raises(TypeError):
        found(other, wrong=True)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("stored", [False, True], ids=["written in the code", "a buffer"])
def test_sizes_that_constants_give(stored: bool) -> None:
    torch.manual_seed(0)
    x, net = torch.randn(2, 17, 2), Groups(stored).eval()
    found: Any = chiralize(net, POSES, (x,), method="match", samples=1)
    torch.testing.assert_close(found(turned(x)), turned(found(x)))


def test_a_trace_says_what_the_network_says() -> None:
    torch.manual_seed(0)
    x, net = torch.randn(2, 17, 2), Groups(False).eval()
    traced = trace(net, (), {"x": x})
    assert (
        torch.equal(traced(x=x), net(x))
        and dict(traced.named_parameters()).keys() == dict(net.named_parameters()).keys()
    )


class Looks(nn.Module):
    """Takes another way for other data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, *, x: Tensor) -> Tensor:
        return self.layer(x) if bool(x.mean() > 0) else -self.layer(x)


def test_other_ways_for_other_data_are_found_by_name_too() -> None:
    network = prepare(Looks(), POSES, (), {"x": torch.rand(2, 17, 2)})
    assert isinstance(network.origin.problem, CaptureError) and "control flow depends on the data" in str(
        network.origin.problem
    )


class LooksFar(nn.Module):
    """Takes another way for large numbers, or refuses them."""

    def __init__(self, refuses: bool) -> None:
        super().__init__()
        self.layer, self.refuses = nn.Linear(2, 3), refuses

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.abs().max() > 100):
            assert not self.refuses
            return -self.layer(x)
        return self.layer(x)


@pytest.mark.parametrize("refuses", [True, False])
def test_other_ways_for_large_numbers_are_found(refuses: bool) -> None:
    network = prepare(LooksFar(refuses), POSES, (torch.rand(2, 17, 2),))
    assert (network.origin.problem is None) == refuses


class Counting(nn.Module):
    """Counts its calls, and looks at the data."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        share = 1 / (1 + self.calls.float())
        self.calls += 1
        assert bool(x.isfinite().all())
        return self.layer(x) * share


def test_a_counter_stays_a_state() -> None:
    """What is read of it before it is written to is no constant."""
    torch.manual_seed(0)
    x, net = torch.randn(2, 17, 2), Counting().eval()
    traced = trace(net, (x,), {})
    own, theirs = [net(x) for _ in range(3)], [traced(x) for _ in range(3)]
    for ours, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(ours, other)
    assert not torch.allclose(own[0], own[1])


class Whole(nn.Module):
    """Looks at its data; the batch is written into a view, or is not."""

    def __init__(self, writes: bool) -> None:
        super().__init__()
        self.layer, self.writes = nn.Linear(2, 3), writes

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(len(x), -1) if self.writes else x.flatten(1)
        scaled = F.normalize(rows, dim=1).reshape(-1, 17, 2)
        return Normal(self.layer(scaled), torch.ones(3), validate_args=True).mean


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["match", "average"])
def test_a_trace_refuses_other_sizes(method: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, net = torch.randn(2, 17, 2), Whole(writes=True).eval()
    network = prepare(net, POSES, (x,))
    result = convert(network, "net", Request(method=method, samples=1))
    assert result.report.judgement.numeric is not None and result.report.judgement.numeric.batches == (2,)
    assert result.module(x).shape == (2, 17, 3)
    for other in (torch.randn(1, 17, 2), torch.randn(4, 17, 2)):
        with pytest.raises(ModelRunError, match=r"CH208  input x: .*as it was traced takes \(2, 17, 2\) alone"):
            result.module(other)
    write(result, tmp_path / "net.pt2")
    stored = load_model(tmp_path / "net.pt2").exported
    assert stored is not None
    with pytest.raises(ModelRunError, match=r"CH208[\s\S]*size\(\)\[0\] == 2"):
        prepare(stored, POSES, (torch.randn(4, 17, 2),)).graph()


def test_a_trace_takes_batches_of_which_it_says_nothing() -> None:
    """Its original does the same ops for 1, 2 and 5 rows, and for many."""
    torch.manual_seed(0)
    net = Whole(writes=False).eval()
    assert any("): branches are" in own for own in prepare(net, POSES, (torch.randn(3, 17, 2),)).notes)
    found: Any = chiralize(net, POSES, (torch.randn(2, 17, 2),), method="match", samples=1)
    x = torch.randn(4, 17, 2)
    torch.testing.assert_close(found(x), torch.cat([found(own[None]) for own in x]))
    with pytest.raises(ModelRunError, match=r"takes \(any, 17, 2\) alone"):
        found(torch.randn(4, 34, 1))


class Branching(nn.Module):
    """Looks at the data, so that it is traced, and takes another way in batches above `most`."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.layer, self.most = nn.Linear(3, 3), most

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return -y if len(x) > self.most or float(x.detach().abs().max()) < 0 else y


@pytest.mark.parametrize("most", [5, 8, 63, 511])
def test_other_ways_for_larger_batches_close_the_batch(most: int) -> None:
    net, x = Branching(most).eval(), torch.randn(4, 3)
    graph = trace(net, (x,), {})
    assert torch.equal(graph(x), net(x))
    with pytest.raises(ModelRunError, match="traced takes"):
        graph(torch.randn(600, 3))


def test_a_batch_stays_open_where_larger_ones_would_cost_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = list[int]()

    class Seen(Branching):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return super().forward(x)

    monkeypatch.setattr("chiralize.graph.tracing._MOST_NUMBERS", 3 * 64)
    net = Seen(1000).eval()
    graph, x = trace(net, (torch.randn(4, 3),), {}), torch.randn(600, 3)
    assert torch.equal(graph(x), net(x)) and set(sizes) == {1, 2, 4, 5, 8, 64, 600}
