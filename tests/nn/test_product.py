"""Products by oneDNN: torch's answers and gradients, the mirror to the bit, and torch's own where it is not faster."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

import chiralize.nn._product as product
from chiralize.nn import Conv1d, Linear, hidden
from chiralize.nn._private import private_ops, product_by_convolution
from tests.support.chiral_oracle import noise, scrambled, turn

pytestmark = [
    pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch comes without oneDNN"),
    pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning"),  # of switching oneDNN off
]
WIDE = hidden(1024)  # blocks of 512 x 512
LAYERS: dict[str, Callable[[], tuple[Any, Tensor]]] = {
    "linear": lambda: (Linear(WIDE, WIDE), noise(48, 1024, dtype=torch.float32)),
    "linear, rows in two axes": lambda: (Linear(WIDE, WIDE, bias=False), noise(16, 3, 1024, dtype=torch.float32)),
    "linear with signs": lambda: (
        Linear(hidden(1024, negated=0.5), hidden(1030, fixed=6)), noise(48, 1024, dtype=torch.float32)
    ),
    "conv1d, fewer windows than channels": lambda: (
        Conv1d(WIDE, WIDE, 3, stride=3), noise(5, 1024, 9, dtype=torch.float32)
    ),
    "conv1d, more windows": lambda: (
        Conv1d(hidden(256), WIDE, 3, stride=3), noise(64, 256, 27, dtype=torch.float32)
    ),
}  # fmt: skip


@pytest.fixture(autouse=True, params=["convolution", "private"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """How oneDNN is asked: where a convolution was measured to be faster, and by torch's private operators."""
    monkeypatch.setattr(product, "measured", lambda *_, **__: 0.5)
    monkeypatch.setattr(product, "_CONVOLVED", 0)
    monkeypatch.setattr(product, "_ROWS", 0)
    with private_ops(request.param == "private"):
        yield request.param


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The sizes of every product by oneDNN: rows, outputs, inputs."""
    found: list[tuple[int, ...]] = []
    inner = product._product

    def counted(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        found.append((len(x), *weight.shape))
        return inner(x, weight, bias)

    monkeypatch.setattr(product, "_product", counted)
    return found


def torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "_is_large", lambda *_: False)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_take_oneDNN(name: str, calls: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    """Forward and both gradients, with and without autograd: the numbers of float64, the mirror to the bit."""
    layer, x = LAYERS[name]()
    scrambled(layer)

    def answers(layer: Any, x: Tensor) -> list[Tensor]:
        with torch.no_grad():
            alone = layer(x)
        own = x.clone().requires_grad_()
        y = layer(own)
        return [alone, y, *torch.autograd.grad((y * y).sum(), [own, *layer.parameters()])]

    ours = answers(layer, x)
    assert len(calls) >= 4
    dim = -1 if isinstance(layer, Linear) else 1
    turned = turn(x, layer.rep_in.action, dim)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert torch.equal(layer(turned), turn(layer(x), layer.rep_out.action, dim))
    torch_alone(monkeypatch)
    count = len(calls)
    for own, other in zip(ours, answers(copy.deepcopy(layer).double(), x.double()), strict=True):
        scale = float(other.detach().abs().max())
        torch.testing.assert_close(own.double(), other, rtol=0, atol=1e-5 * scale)
    assert len(calls) == count


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_gradients(
    scale: float, bias: bool, calls: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times over, as torch's own products have them."""
    x, weight, added = (noise(*shape, seed=at, dtype=torch.float32) for at, shape in enumerate(((5, 4), (6, 4), (6,))))
    found: list[list[Tensor]] = []
    for large in (False, True):
        monkeypatch.setattr(product, "_is_large", lambda *_, large=large: large)
        own = [each.clone().requires_grad_() for each in (x, weight, *([added] if bias else []))]
        y = product.affine(own[0], own[1], own[2] if bias else None, scale)
        first = torch.autograd.grad((y**3).sum(), own, create_graph=True)
        second = torch.autograd.grad(sum((each**3).sum() for each in first), own, create_graph=True)  # type: ignore[arg-type]
        third = torch.autograd.grad(sum((each**2).sum() for each in second), own)  # type: ignore[arg-type]
        found.append([y, *first, *second, *third])
        assert bool(calls) == large
    for own, other in zip(*found, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-3 * float(other.detach().abs().max()))


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
@pytest.mark.parametrize("grad", [True, False])
def test_compiled(grad: bool, way: str) -> None:
    """One graph with the product in it; the private one as an op that the compiler does not look into."""
    layer, x = LAYERS["conv1d, fewer windows than channels"]()
    torch.compiler.reset()  # a compiled call does not ask again which way is taken
    compiled: Any = torch.compile(scrambled(layer), backend="aot_eager", fullgraph=True)
    with torch.set_grad_enabled(grad):
        y, expected = compiled(x), layer(x)
        with torch.profiler.profile() as seen:
            compiled(x)
        counts = {own.key: own.count for own in seen.key_averages()}
        assert counts.get("chiralize::product", 0) == (2 if way == "private" else 0)
        assert counts.get("aten::convolution", 0) == (0 if way == "private" else 2), counts
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
        if grad:
            ours, theirs = (torch.autograd.grad(own.square().sum(), [*layer.parameters()]) for own in (y, expected))
            for own, other in zip(ours, theirs, strict=True):
                torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.one_in(4)
def test_exports_know_nothing_of_it(name: str) -> None:
    """A file is read where there may be no oneDNN; its batch stays free."""
    layer, x = LAYERS[name]()
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},))
    assert "mkldnn" not in str(program.graph) and "chiralize" not in str(program.graph)
    assert program.module()(torch.cat([x, x, x])).shape[0] == 3 * len(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of derivatives that go forward, torch's own
def test_where_it_is_not_taken(calls: list[tuple[int, ...]]) -> None:
    """float64, bfloat16 and autocast; transforms and derivatives that go forward; few numbers; oneDNN switched off."""
    layer, x = LAYERS["linear"]()
    with torch.no_grad():
        for dtype in (torch.float64, torch.bfloat16):
            copy.deepcopy(layer).to(dtype)(x.to(dtype))
        with torch.autocast("cpu", torch.bfloat16):
            layer(x)
        torch.vmap(layer, in_dims=1, out_dims=1)(torch.stack([x, x], 1))
        with forward_ad.dual_level():
            y = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, x))).tangent
            torch.testing.assert_close(y, F.linear(x, layer.weight), rtol=1e-4, atol=1e-4)
        layer(x[:3])
        Linear(hidden(512), hidden(512))(x[:, :512])
        with torch.backends.mkldnn.flags(enabled=False):
            layer(x)
        with pytest.raises(RuntimeError, match="dtype"):  # in torch's words
            layer(x.double())
        assert not calls
        layer(x)
    assert calls == [(48, 512, 512)] * 2


@pytest.mark.parametrize("threads", [1, 2])
def test_the_public_way_leads_to_oneDNN(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    """On one thread as well, where torch convolves one tap by itself."""
    monkeypatch.undo()
    x, weight = noise(128, 512, dtype=torch.float32), noise(64, 512, seed=1, dtype=torch.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad(), torch.profiler.profile() as seen:
            y = product_by_convolution(x, weight, None)
    finally:
        torch.set_num_threads(before)
    assert "aten::mkldnn_convolution" in {own.key for own in seen.key_averages()}
    torch.testing.assert_close(y, x @ weight.t(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rows", [127, 128])
def test_few_rows_are_left_to_torch(rows: int, calls: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every convolution moves the weight in memory first."""
    monkeypatch.setattr(product, "_ROWS", 128)
    with private_ops(False), torch.no_grad():
        product.linear(noise(rows, 512, dtype=torch.float32), noise(512, 512, dtype=torch.float32))
    assert bool(calls) == (rows >= 128)


@pytest.mark.parametrize("times", [1, 9])  # as it lies, and in oneDNN's own order
def test_products_of_steps(times: int) -> None:
    """x W^T + added, its negative to the bit; only of wide float32 weights, and where oneDNN is switched on."""
    weight, x, added = (noise(*shape, dtype=torch.float32) for shape in ((640, 512), (48, 512), (48, 640)))
    own = product.Product(weight, 48, times)
    assert own.by_onednn
    torch.testing.assert_close(own(x), x @ weight.t(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(own(x, added), x @ weight.t() + added, rtol=1e-4, atol=1e-3)
    assert torch.equal(own(-x), -own(x)) and torch.equal(own(-x, -added), -own(x, added))
    with torch.backends.mkldnn.flags(enabled=False):
        assert not product.Product(weight, 48, times).by_onednn
    for other, batch in ((weight.double(), 48), (weight[:, :300], 6), (weight, 1)):
        assert not product.Product(other, batch, times).by_onednn
