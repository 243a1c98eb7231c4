"""Fused graphs keep left and right halves between linear maps: the same function, nothing put together in between."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize import nn as chiral
from chiralize.errors import RepresentationSizeError
from chiralize.graph.export import export
from chiralize.infer.capture import capture
from chiralize.nn.butterfly import gathered
from chiralize.nn.deploy.graphs import with_calls
from chiralize.nn.deploy.speed import always
from chiralize.symmetry.representation import Representation, TensorRepresentation

BODY = Representation.parse("6: (0 3) (1 2)")
SCATTERED = Representation.parse("8: (0 5) (1 2) (3 7)")  # 4 and 6 are fixed
SIGNED = Representation.parse("8: (0 5) -(1 2) (3 7) -6")
HALVES = chiral.hidden(8)


class Net(nn.Module):
    """Three maps of one space and what happens between them."""

    def __init__(self, space: Representation, between: Callable[..., Any], frames: bool = False) -> None:
        super().__init__()
        kind: Any = chiral.Conv1d if frames else chiral.Linear
        sizes = [(BODY, space), (space, space), (space, BODY)]
        maps = [kind(*pair, 2) if frames else kind(*pair) for pair in sizes]
        self.known = {f"layers.{at}.{name}": rep for at, own in enumerate(maps)
                      for name, rep in own.dense_representations().items()}  # fmt: skip
        self.layers = nn.ModuleList(own.folded() for own in maps)
        self.between = between

    def forward(self, x: Tensor) -> Any:
        return self.between(x, *self.layers)


def residual(x: Tensor, inlet: Any, layer: Any, outlet: Any) -> Tensor:
    x = torch.tanh(inlet(x))
    y = torch.tanh(layer(x)) * 0.5
    return outlet(x + F.dropout(y, 0.5, False))


def in_place(x: Tensor, inlet: Any, layer: Any, outlet: Any) -> Tensor:
    x = F.leaky_relu(inlet(x), inplace=True)
    return outlet(F.relu(layer(x), inplace=True))


def written_twice(x: Tensor, inlet: Any, layer: Any, outlet: Any) -> Tensor:
    """Another value sees what is written."""
    x = inlet(x)
    y = layer(x)
    return outlet(x.relu_() + y)


def written_through_a_view(x: Tensor, inlet: Any, layer: Any, outlet: Any) -> Tensor:
    x = inlet(x)
    x[1:].relu_()
    return outlet(layer(x))


def read_by_others(x: Tensor, inlet: Any, layer: Any, outlet: Any) -> Tensor:
    x = inlet(x)
    y = torch.relu(layer(x))
    return outlet(y) + (y.softmax(-1) * x).sum()


def frames(x: Tensor, inlet: Any, layer: Any, outlet: Any) -> Tensor:
    x = F.gelu(inlet(x))
    return outlet(F.gelu(layer(x)) + x[:, :, 1:])


def cut(x: Tensor, inlet: Any, layer: Any, outlet: Any) -> Tensor:
    """A slice of the channels is no slice of the halves."""
    x = torch.relu(inlet(x))
    return outlet(torch.relu(layer(F.pad(x[:, 1:], (1, 0)))))


def several(x: Tensor, inlet: Any, layer: Any, outlet: Any) -> tuple[Tensor, Tensor]:
    x = torch.relu(inlet(x))
    return outlet(x), layer(x)


CASES: dict[str, tuple[Representation, Callable[..., Any], int]] = {
    "halves": (HALVES, residual, 1), "scattered": (SCATTERED, residual, 1), "signs": (SIGNED, residual, 1),
    "in place": (SCATTERED, in_place, 1), "written twice": (SCATTERED, written_twice, 3),
    "written through a view": (SCATTERED, written_through_a_view, 3), "read by others": (SCATTERED, read_by_others, 3),
    "frames": (SCATTERED, frames, 1), "cut": (SCATTERED, cut, 2), "several": (SCATTERED, several, 2),
}  # fmt: skip


def fused(net: Net, x: Tensor) -> Any:
    program = export(net, (x,), {})
    graph = program.module(check_guards=False)
    assert isinstance(graph, torch.fx.GraphModule)
    known: dict[str, TensorRepresentation] = net.known
    return with_calls(graph, capture(program, (x,), {}), known, always)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", CASES)
def test_the_same_function(name: str) -> None:
    """To rounding, with as many values put together as something else reads."""
    space, between, gathers = CASES[name]
    torch.manual_seed(0)
    over_frames = between is frames
    net = Net(space, between, over_frames).double().eval()
    x = torch.randn(4, 6, 7, dtype=torch.float64) if over_frames else torch.randn(4, 6, dtype=torch.float64)
    made = fused(net, x.clone())
    assert len(made.layers) == 3
    with torch.no_grad():
        for own, theirs in zip(made.module(x.clone()), net(x.clone()), strict=True):
            torch.testing.assert_close(own, theirs, rtol=0, atol=1e-12)
    targets = [node.target for node in made.module.graph.nodes]
    assert targets.count(torch.index_select) == gathers  # a value that is put together is put in order


class Strided(nn.Module):
    """Convolutions over frames, one after the other."""

    def __init__(self, spaces: list[Representation], kernels: list[int], strides: list[int], **settings: int) -> None:
        super().__init__()
        pairs = zip(spaces, spaces[1:], kernels, strides, strict=False)
        maps = [chiral.Conv1d(*own, **settings) for own in pairs]  # type: ignore[arg-type]
        self.known = {f"layers.{at}.{name}": rep for at, own in enumerate(maps)
                      for name, rep in own.dense_representations().items()}  # fmt: skip
        self.layers = nn.ModuleList(own.folded() for own in maps)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


WINDOWS: dict[str, tuple[list[int], list[int], int, dict[str, int], bool]] = {
    "apart": ([3, 1, 2], [3, 1, 2], 12, {}, True), "overlapping": ([3, 1, 2], [3, 1, 1], 12, {}, False),
    "with gaps": ([3, 1, 1], [3, 1, 2], 12, {}, False), "frames left over": ([3, 1, 2], [3, 1, 2], 13, {}, False),
    "dilated": ([3, 3, 1], [3, 3, 1], 45, {"dilation": 2}, False),
    "padded": ([1, 1, 2], [1, 1, 2], 4, {"padding": 1}, False),
}  # fmt: skip


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name: str) -> None:
    """Convolutions become products where no two windows share a frame and none is left out; the same function."""
    kernels, strides, frames, settings, products = WINDOWS[name]
    for spaces in ([BODY, HALVES, HALVES, BODY], [BODY, SCATTERED, SIGNED, BODY]):
        torch.manual_seed(0)
        net: Any = Strided(spaces, kernels, strides, **settings).double().eval()
        x = torch.randn(2, 6, frames, dtype=torch.float64)
        made = fused(net, x).module
        with torch.no_grad():
            torch.testing.assert_close(made(x), net(x), rtol=0, atol=1e-12)
        targets = {node.target for node in made.graph.nodes}
        assert (F.linear in targets) == products and (torch.conv1d in targets) == (not products)


def test_products_read_weights_as_they_lie() -> None:
    """Between products of plain pairs nothing is copied."""
    net: Any = Strided([chiral.hidden(6), HALVES, HALVES, HALVES], [3, 2, 1], [3, 2, 1]).eval()
    made = fused(net, torch.randn(2, 6, 12)).module
    with torch.no_grad(), torch.profiler.profile() as seen:
        made(torch.randn(2, 12, 6).transpose(1, 2))
    names = {event.name for event in seen.events() or ()}
    assert "aten::addmm" in names and "aten::clone" not in names


@pytest.mark.thorough
def test_products_compile() -> None:
    """torch.compile takes the whole graph, and a copy reads its own weights as they lie."""
    net: Any = Strided([BODY, HALVES, SCATTERED, BODY], [3, 2, 1], [3, 2, 1]).eval()
    x = torch.randn(2, 6, 12)
    made = fused(net, x).module
    with torch.no_grad():
        compiled: Any = torch.compile(copy.deepcopy(made), backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), made(x))


class Pictures(nn.Module):
    """Two residual branches of convolutions along a reversed axis, on a trunk that another layer begins."""

    space = HALVES

    def __init__(self) -> None:
        super().__init__()
        maps = [chiral.Conv2d(self.space, self.space, 3, 1, 1, mirror="w") for _ in range(4)]
        self.known = {f"layers.{at}.{name}": rep for at, own in enumerate(maps)
                      for name, rep in own.dense_representations().items()}  # fmt: skip
        self.layers = nn.ModuleList(own.folded() for own in maps)
        self.scale = nn.Parameter(torch.rand(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.layers[::2], self.layers[1::2], strict=True):
            x = torch.relu(x + self.scale * second(torch.relu(first(x))))
        return x.flatten(1)


def in_halves(kind: type[Pictures], count: int) -> tuple[torch.fx.GraphModule, Tensor]:
    """Such a network of as many pictures as a fused graph, after it was seen to compute the same; and the pictures."""
    torch.manual_seed(0)
    net: Any = kind().double().eval()
    x = torch.randn(count, 8, 5, 7, dtype=torch.float64)
    made = fused(net, x.clone()).module
    with torch.no_grad():
        torch.testing.assert_close(made(x), net(x), rtol=0, atol=1e-12)
    return made, x


def test_pictures_stay_in_one_order_and_apart() -> None:
    """From the first convolution to the last: the trunk too, which is taken apart once and put together once."""
    made, x = in_halves(Pictures, 2)
    named = [getattr(node.target, "__name__", "") for node in made.graph.nodes]
    assert (named.count("by_channels"), named.count("as_torch_has_it")) == (1, 1)
    with torch.no_grad(), torch.profiler.profile() as seen:
        made.float()(x.float())
    copies = [event for event in seen.events() or () if event.name == "aten::clone"]
    assert len(copies) == 2  # into the order and out of it; weights lie in it
    program = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")  # as `storage.save` does
        torch.export.save(export(made, (x.float(),), {}), program)
    program.seek(0)
    loaded: Any = torch.export.load(program).module()
    torch.testing.assert_close(loaded(x.float()), made(x.float()))
    strides = {name: weight.stride() for name, weight in made.named_parameters()}
    assert {name: weight.stride() for name, weight in loaded.named_parameters()} == strides
    plain = {name: weight.contiguous() for name, weight in made.state_dict().items()}
    made.load_state_dict(plain)  # which leaves the order as it is
    assert {name: weight.stride() for name, weight in made.named_parameters()} == strides


class InAnyOrder(Pictures):
    """The same of channels whose pairs stand apart."""

    space = SCATTERED


class WithSigns(Pictures):
    """The same of channels of which some change their sign."""

    space = SIGNED


class InRuns(Pictures):
    """The same of pairs side by side."""

    space = Representation.parse("8: (0 1) (2 3) (4 5) (6 7)")


class Up(Pictures):
    """Two transposed convolutions of channels in any order, with a function of every entry between them."""

    def __init__(self) -> None:
        super().__init__()
        maps = [chiral.ConvTranspose2d(SCATTERED, SCATTERED, 3, 1, 1, mirror="w") for _ in range(2)]
        self.known = {f"layers.{at}.{name}": rep for at, own in enumerate(maps)
                      for name, rep in own.dense_representations().items()}  # fmt: skip
        self.layers = nn.ModuleList(own.folded() for own in maps)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.layers
        return second(torch.relu(first(x)))


@pytest.mark.parametrize(("kind", "gathers"), [(InAnyOrder, 3), (WithSigns, 8), (InRuns, 4), (Up, 2)])
def test_pictures_of_channels_in_any_order(kind: type[Pictures], gathers: int) -> None:
    """They are put in order before the first map and behind the last, with residual branches between, and not at every
    tap; where some have a sign, at every branch. Always as torch has them in memory: a gather of channels that lie
    side by side takes a hundred times as long.
    """
    made, x = in_halves(kind, 2)
    read = [node.args[0] for node in made.graph.nodes if node.target in (torch.index_select, gathered)]
    behind = {getattr(node.target, "__name__", "") for node in read if node.op == "call_function"}
    assert behind <= {"as_torch_has_it"}
    graph = export(made, (x,), {}).graph
    assert sum(node.target is torch.ops.aten.index_select.default for node in graph.nodes) == gathers


class OfOne(Pictures):
    """Convolves one picture without a batch."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layers[1](torch.relu(self.layers[0](x[0]))))[None]


def test_a_picture_without_a_batch() -> None:
    assert in_halves(OfOne, 1)[0](torch.randn(1, 8, 5, 7, dtype=torch.float64)).shape == (1, 8, 5, 7)


def test_another_size_is_refused() -> None:
    """What does not fit is not cut to fit."""
    net = Net(SCATTERED, residual).eval()
    graph = fused(net, torch.randn(4, 6)).module
    for size in (5, 7):
        with pytest.raises(RepresentationSizeError):
            graph(torch.randn(4, size))


def test_copies_and_compiles() -> None:
    """A deep copy computes the same from its own weights; torch.compile takes the whole graph."""
    graph, x = fused(Net(SCATTERED, residual).eval(), torch.randn(4, 6)).module, torch.randn(3, 6)
    made = copy.deepcopy(graph)
    with torch.no_grad():
        expected = graph(x)
        for own in graph.parameters():
            own.zero_()
        assert torch.equal(made(x), expected) and not graph(x).any()
        compiled: Any = torch.compile(made, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), expected)


class Settings(nn.Module):
    """Arguments by name, results in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        own = chiral.Linear(BODY, HALVES)
        self.layer = own.folded()
        self.known = {f"layer.{name}": rep for name, rep in own.dense_representations().items()}

    def forward(self, x: Tensor, *, scale: Tensor) -> dict[str, Tensor]:
        return {"y": self.layer(x) * scale}


def test_structures_stay() -> None:
    """A graph that takes arguments by name and returns a dictionary still does; a plain one has a plain signature."""
    net, x = Settings().eval(), torch.randn(3, 6)
    scale = torch.tensor(2.0)
    program = export(net, (x,), {"scale": scale})
    graph = program.module(check_guards=False)
    assert isinstance(graph, torch.fx.GraphModule)
    found = with_calls(graph, capture(program, (x,), {"scale": scale}), net.known, always).module
    torch.testing.assert_close(found(x, scale=scale)["y"], net(x, scale=scale)["y"])
    plain: Any = fused(Net(HALVES, several), torch.randn(4, 6)).module
    assert isinstance(plain(x=torch.randn(2, 6)), tuple) and "tree_unflatten" not in plain.code
