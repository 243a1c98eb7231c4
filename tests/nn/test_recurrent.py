"""Chiral LSTM and GRU: torch's on projected weights in every setting, and weights that are never stale."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import chiralize.nn._product as product
import chiralize.nn.gates as gates
from chiralize.errors import AsymmetricWeightError, RepresentationSizeError, UsageError
from chiralize.nn import GRU, LSTM, _eager, hidden
from chiralize.symmetry.representation import Representation
from tests.support.chiral_oracle import apart, noise, projected, recurrent_actions, rounding, scrambled, turn
from tests.support.oracle import action_matrix

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
POSE = Representation.parse("5: (0 1) -2 -(3 4)")
SPACES = {
    "pairs": hidden(6),
    "signs": hidden(7, fixed=3, negated=0.5),
    "shuffled": Representation.parse("6: -(0 5) (1 2) -3"),
}
OPTIONS: list[dict[str, Any]] = [
    {}, {"bias": False}, {"num_layers": 2, "batch_first": True}, {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
]  # fmt: skip
KINDS = {"LSTM": LSTM, "GRU": GRU, "LSTM, projected": LSTM}


def built(kind: str, space: Representation, options: dict[str, Any]) -> Any:
    extra = {"rep_proj": Representation.parse("4: (0 3) -1")} if "projected" in kind else {}
    return scrambled(KINDS[kind](POSE, space, **options, **extra).double())


def states(layer: Any, batch: int | None) -> Any:
    """Given states: h, and c of an LSTM."""
    count = len(layer.suffixes)
    made = [noise(count, *([] if batch is None else [batch]), size, seed=size) for size in layer.sizes[1:]]
    return tuple(made) if layer.kind == "LSTM" else made[0]


def turned_states(layer: Any, given: Any) -> Any:
    state = layer.rep_proj or layer.rep_hidden
    if layer.kind == "GRU":
        return turn(given, state.action)
    return turn(given[0], state.action), turn(given[1], layer.rep_hidden.action)


def flat(result: Any) -> list[Tensor]:
    y, ends = result
    return [y.data if isinstance(y, PackedSequence) else y, *(ends if isinstance(ends, tuple) else (ends,))]


def assert_same(ours: Any, theirs: Any, atol: float = 1e-9) -> None:
    for own, other in zip(flat(ours), flat(theirs), strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=atol)


@pytest.mark.one_in(6)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_as_torch_on_projected_weights(kind: str, space: str, options: dict[str, Any]) -> None:
    """Batched, unbatched, packed, with and without states; and T goes through all of them."""
    layer = built(kind, SPACES[space], options)
    theirs = layer.folded()
    matrices = [action_matrix(rep.action) for rep in (POSE, layer.rep_proj or layer.rep_hidden, layer.rep_hidden)]
    projected(scrambled(theirs, 50), recurrent_actions(theirs, *matrices))
    layer.load_state_dict(theirs.state_dict(), strict=True)
    x, axis = noise(4, 3, 5), 0 if options.get("batch_first") else 1
    batch = x.shape[axis]
    given = states(layer, batch)
    assert_same(layer(x), theirs(x))
    assert_same(layer(x, given), theirs(x, given))
    assert_same(layer(x[0], states(layer, None)), theirs(x[0], states(layer, None)))
    packed = pack_padded_sequence(x, torch.arange(batch) % 3 + 1, options.get("batch_first", False), False)
    assert_same(layer(packed), theirs(packed))
    assert_same(layer(packed, given), theirs(packed, given))
    assert isinstance(layer(packed)[0], PackedSequence) and len(pad_packed_sequence(layer(packed)[0])) == 2
    for args in ((x,), (x, given)):
        y, ends = layer(*args)
        there = layer(turn(x, POSE.action), *(turned_states(layer, own) for own in args[1:]))
        assert_same(there, (turn(y, layer.rep_out.action), turned_states(layer, ends)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_rounding(kind: str, dtype: torch.dtype) -> None:
    layer = built(kind, SPACES["signs"], {"num_layers": 2}).to(dtype)
    x = noise(6, 8, 5, dtype=dtype)
    with torch.no_grad():
        y, there = layer(x)[0], layer(turn(x, POSE.action))[0]
    assert apart(there, turn(y, layer.rep_out.action)) <= rounding(dtype, y, 12)


@pytest.mark.parametrize("kind", KINDS)
def test_dense_weights_are_symmetric_to_the_bit(kind: str) -> None:
    """And half as many numbers are free."""
    layer = built(kind, SPACES["pairs"], {"num_layers": 2, "bidirectional": True})
    reps = layer.dense_representations()
    for name, value in layer.dense().items():
        for axis, rep in enumerate(reps[name].axes):
            value = turn(value, rep.action, axis)
        assert torch.equal(value, layer.dense()[name]), name
    assert sum(own.numel() for own in layer.parameters()) == sum(rep.dimensions()[0] for rep in reps.values())


@pytest.mark.one_in(3)
@pytest.mark.parametrize("kind", KINDS)
def test_initial_range(kind: str) -> None:
    """Every free dense entry has the variance of U(-1/sqrt H, 1/sqrt H); 6 standard errors, 100 draws."""
    torch.manual_seed(0)
    space = SPACES["signs"]
    extra = {"rep_proj": hidden(4)} if "projected" in kind else {}
    drawn = [KINDS[kind](POSE, space, **extra).double().dense() for _ in range(100)]  # type: ignore[arg-type]
    for name in drawn[0]:
        values = torch.stack([own[name].detach() for own in drawn])
        free = values[0] != 0
        share = values[:, free].square().mean() * 3 * space.size
        assert abs(float(share) - 1) < 6 * (2 / (100 * int(free.sum()) / 4)) ** 0.5, name


def test_dropout_between_layers() -> None:
    layer = built("LSTM", SPACES["pairs"], {"num_layers": 2, "dropout": 0.5})
    theirs, x = layer.folded(), noise(4, 3, 5)
    torch.manual_seed(1)
    ours = layer.train()(x)
    torch.manual_seed(1)
    assert_same(ours, theirs.train()(x))
    assert apart(layer(x)[0], ours[0]) > 1e-3
    assert_same(layer.eval()(x), theirs.eval()(x))


def test_gradients() -> None:
    """Through the fused kernel into the blocks: those of a projected dense layer in the same coordinates."""
    layer = built("GRU", SPACES["signs"], {})
    x = noise(4, 3, 5)
    dense = {name: own.detach().requires_grad_() for name, own in layer.dense().items()}
    theirs = torch.func.functional_call(layer.folded(), dense, (x,))[0].square().sum()
    grads = dict(zip(dense, torch.autograd.grad(theirs, list(dense.values())), strict=True))
    layer(x)[0].square().sum().backward()
    made = layer.dense()
    for name, own in layer.named_parameters():
        expected = torch.autograd.grad(list(made.values()), own, list(grads.values()), retain_graph=True)[0]
        torch.testing.assert_close(own.grad, expected, rtol=0, atol=1e-9)
        assert float(own.grad.abs().max()) > 0, name


# ---- dense weights that are kept ------------------------------------------------------------------------------------
def _by_data(layer: Any) -> None:
    for own in layer.parameters():
        own.data.mul_(1.5)


def _in_place(layer: Any) -> None:
    with torch.no_grad():
        for own in layer.parameters():
            own.add_(0.1)


def _in_inference(layer: Any) -> None:
    with torch.inference_mode():
        for own in layer.parameters():
            own.add_(0.1)


def _loaded(layer: Any) -> None:
    layer.load_state_dict({name: own * 1.1 for name, own in layer.state_dict().items()})


def _assigned(layer: Any) -> None:
    layer.load_state_dict({name: own * 1.1 for name, own in layer.state_dict().items()}, assign=True)


def _optimizer(layer: Any) -> None:
    optimizer = torch.optim.AdamW(layer.parameters(), 0.1, fused=True)
    with torch.enable_grad():
        layer(noise(4, 3, 5).to(next(layer.parameters()).dtype))[0].square().sum().backward()
    optimizer.step()


def _average(layer: Any) -> None:
    """An average of weights kept by hand, as many do it."""
    for own, other in zip(layer.parameters(), scrambled(copy.deepcopy(layer), 9).parameters(), strict=True):
        own.data.mul_(0.9).add_(other.data, alpha=0.1)


def _one_entry(layer: Any) -> None:
    next(layer.parameters()).data.view(-1)[3] += 1


def _other_dtype(layer: Any) -> None:
    layer.float().double()


CHANGES: list[Callable[[Any], None]] = [
    _by_data, _in_place, _in_inference, _loaded, _assigned, _optimizer, _average, _one_entry, _other_dtype,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES, ids=lambda own: own.__name__.strip("_"))
def test_never_stale(kind: str, change: Callable[[Any], None]) -> None:
    layer = built(kind, SPACES["pairs"], {}).eval()
    x = noise(4, 3, 5)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            before = layer(x)[0].clone()
            assert torch.equal(layer(x)[0], before)
        change(layer)
        with mode():
            expected = layer.folded()(x)[0]
            assert torch.equal(layer(x)[0], expected)
        assert torch.equal(layer(x)[0].detach(), expected)


def test_kept_between_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made once without gradients; a copy makes its own; with gradients made in every call."""
    layer, x, made = built("LSTM", SPACES["pairs"], {}), noise(4, 3, 5), []
    monkeypatch.setattr(LSTM, "dense", lambda self: made.append(self) or gates.Recurrent.dense(self))
    with torch.no_grad():
        layer(x), layer(x), layer(x)
        assert len(made) == 1
        copy.deepcopy(layer)(x)
        assert made == [layer, made[1]] and made[1] is not layer
    layer(x), layer(x)
    assert len(made) == 4


def test_the_staleness_check_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that nothing invalidates is caught."""
    monkeypatch.setattr(_eager, "_equal", lambda *_: True)
    with pytest.raises(AssertionError):
        test_never_stale("LSTM", _by_data)


def test_made_under_inference_mode() -> None:
    with torch.inference_mode():
        layer = LSTM(POSE, SPACES["pairs"])
    with torch.no_grad():
        assert layer(torch.ones(4, 3, 5))[0].shape == (4, 3, 6)


# ---- blocks step by step --------------------------------------------------------------------------------------------
STEPPED = {
    **SPACES, "shuffled pairs": Representation.parse("6: (0 5) (1 2) (3 4)"),
    "runs": Representation.parse("8: (0 2) (1 3) (4 6) (5 7)"), "unmoved": Representation.trivial(4),
    "negated": Representation.parse("3: -0 -1 -2"),
}  # fmt: skip


def set_wide(monkeypatch: pytest.MonkeyPatch, units: int) -> None:
    monkeypatch.setattr(gates, "WIDE", units)
    monkeypatch.setattr(gates, "WIDE_GATHERED", units)
    monkeypatch.setattr(gates, "WIDE_FOR_ANY", units)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every width runs by steps; what has run."""
    ran: list[str] = []
    by_steps = gates.Recurrent._by_steps
    set_wide(monkeypatch, 2)
    monkeypatch.setattr(gates.Recurrent, "_by_steps", lambda self, *own: ran.append(self.kind) or by_steps(self, *own))
    return ran


@pytest.mark.one_in(8)
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("space", STEPPED)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_steps_as_the_fused_kernel(
    kind: str, space: str, options: dict[str, Any], steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers, last states and all gradients; the same without gradients, bit for bit."""
    layer = built(kind, STEPPED[space], options)
    for x, given in ((noise(4, 3, 5), states(layer, 4 if options.get("batch_first") else 3)), (noise(4, 5), None)):
        found = []
        for wide in (2, 99):
            set_wide(monkeypatch, wide)
            made = [own.clone().requires_grad_() for own in ([given] if isinstance(given, Tensor) else given or [])]
            start = None if given is None else made[0] if kind == "GRU" else tuple(made)
            own = x.clone().requires_grad_()
            result = flat(layer(own, start))
            weighted = torch.stack([(part * noise(*part.shape, seed=3)).sum() for part in result]).sum()
            found.append([*result, *torch.autograd.grad(weighted, [own, *made, *layer.parameters()])])
            if wide == 2:
                with torch.no_grad():
                    assert all(map(torch.equal, result, flat(layer(x, given))))
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
            assert float(theirs.detach().abs().max()) > 0
    assert steps == [kind] * 4


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("read", ["output", "last states"])
def test_steps_where_only_one_answer_is_read(kind: str, read: str, steps: list[str]) -> None:
    """The gradient of what nobody reads is no tensor."""
    layer, x = built(kind, SPACES["pairs"], {}), noise(4, 3, 5)
    (y, ends), at = layer(x), 0 if read == "output" else -1
    ours = torch.autograd.grad(flat((y, ends))[at].square().sum(), list(layer.parameters()))
    theirs = torch.autograd.grad(flat(fused(layer, x))[at].square().sum(), list(layer.parameters()))
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-9)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("space", STEPPED)
@pytest.mark.parametrize(("dtype", "large"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False)])
def test_steps_commute_with_the_mirror_bit_for_bit(
    kind: str, space: str, dtype: torch.dtype, large: bool, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Multiplied by torch, and by oneDNN."""
    monkeypatch.setattr(product, "_is_large", lambda *sizes: large and min(sizes) > 0)
    layer = built(kind, STEPPED[space], {"num_layers": 2, "bidirectional": True}).to(dtype)
    x = noise(6, 8, 5, dtype=dtype)
    y, ends = layer(x)
    there, turned = layer(turn(x, POSE.action))
    assert torch.equal(there, turn(y, layer.rep_out.action)) and len(steps) == 2
    for own, other in zip(flat((y, ends))[1:], flat((y, turned))[1:], strict=True):
        assert torch.equal(other, turn(own, STEPPED[space].action))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("frames", [2, 9])
def test_products_of_steps(kind: str, frames: int, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By oneDNN as by torch, forward and backward, with and without gradients."""
    layer, x = built(kind, SPACES["pairs"], {}).float(), noise(frames, 5, 5, dtype=torch.float32)
    found = []
    for large in (False, True):
        monkeypatch.setattr(product, "_is_large", lambda *sizes, large=large: large and min(sizes) > 0)
        with torch.no_grad():
            alone = layer(x)[0]
        own = x.clone().requires_grad_()
        y = layer(own)[0]
        found.append([alone, y, *torch.autograd.grad(y.square().sum(), [own, *layer.parameters()])])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_steps_drop_between_layers(steps: list[str]) -> None:
    """Not what the kernel drops, which draws in another order, but as often: two layers with a dropout between them."""
    layer, x = built("LSTM", SPACES["pairs"], {"num_layers": 2, "dropout": 0.5}).train(), noise(4, 3, 5)
    first, second = LSTM(POSE, SPACES["pairs"]).double(), LSTM(SPACES["pairs"], SPACES["pairs"]).double()
    for at, own in enumerate((first, second)):
        state = layer.state_dict().items()
        own.load_state_dict({name.replace(f"l{at}", "l0"): value for name, value in state if f"l{at}" in name})
    torch.manual_seed(1)
    ours = layer(x)[0]
    torch.manual_seed(1)
    torch.testing.assert_close(ours, second(nn.functional.dropout(first(x)[0], 0.5))[0], rtol=0, atol=1e-9)
    assert apart(layer(x)[0], ours) > 1e-3 and steps == ["LSTM"] * 4
    assert_same(layer.eval()(x), layer.folded()(x))


@pytest.mark.one_in(3)
@pytest.mark.parametrize("kind", KINDS)
def test_steps_only_where_they_can(kind: str, steps: list[str]) -> None:
    """Not with projections, for packed inputs, under autocast or vmap, nor when exported."""
    x = noise(4, 3, 5)
    layer = built(kind, SPACES["pairs"], {})
    assert layer.stepwise == (kind != "LSTM, projected")
    layer(pack_padded_sequence(x, torch.tensor([4, 2, 1])))
    torch.export.export(layer, (x,))
    torch.func.vmap(lambda own: own * layer(x)[0].sum())(torch.ones(2))
    with torch.autocast("cpu", torch.bfloat16):
        layer(x)
    assert steps == []


def fused(layer: Any, x: Tensor) -> Any:
    """What torch's kernel says to the layer's dense weights."""
    return torch.func.functional_call(layer.folded(), layer.dense(), (x,))


# ---- what is refused ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_sizes_are_checked(kind: str) -> None:
    """The fused kernel would read past the end."""
    layer = built(kind, SPACES["pairs"], {})
    with pytest.raises(RepresentationSizeError, match=r"(?s)input \(4, 3, 6\).*give an input of 5 features"):
        layer(noise(4, 3, 6))
    with pytest.raises(RepresentationSizeError, match=r"states \[\(1, 2, 6\)"):
        layer(noise(4, 3, 5), states(layer, 2))
    with pytest.raises(UsageError, match="give a tensor of 3 axes"):
        layer(noise(2, 4, 3, 5))
    packed = pack_padded_sequence(noise(4, 3, 5), torch.tensor([4, 2, 1]))
    with pytest.raises(RepresentationSizeError):
        layer(packed, states(layer, 2))


def test_one_lopsided_gate_by_name() -> None:
    layer = built("LSTM", SPACES["signs"], {})
    theirs = layer.folded().state_dict()
    theirs["weight_hh_l0"][7:14] += noise(7, 7)
    with pytest.raises(AsymmetricWeightError, match="weight_hh_l0"):
        layer.load_state_dict(theirs)
    assert isinstance(layer.folded(), nn.LSTM)
