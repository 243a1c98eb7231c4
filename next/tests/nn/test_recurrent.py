"""Chiral LSTM and GRU: torch's on projected weights in every setting, and weights that are never stale."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import chiralize.nn.recurrent as recurrent
from chiralize.errors import AsymmetricWeightError, RepresentationSizeError, UsageError
from chiralize.nn import GRU, LSTM, hidden
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
    drawns = [noise(count, *([] if batch is None else [batch]), size, seed=size) for size in layer.state_sizes]
    return tuple(drawns) if layer.kind == "LSTM" else drawns[0]


def turned_states(layer: Any, given: Any) -> Any:
    state = layer.rep_proj or layer.rep_hidden
    if layer.kind == "GRU":
        return turn(given, state.action)
    return turn(given[0], state.action), turn(given[1], layer.rep_hidden.action)


def flat(result: Any) -> list[Tensor]:
    y, ends = result
    return [y.data if isinstance(y, PackedSequence) else y, *(ends if isinstance(ends, tuple) else (ends,))]


def assert_same(ours: Any, theirs: Any, atol: float = 1e-9) -> None:
    for item, other in zip(flat(ours), flat(theirs), strict=True):
        torch.testing.assert_close(item, other, rtol=0, atol=atol)


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
        image = layer(turn(x, POSE.action), *(turned_states(layer, item) for item in args[1:]))
        assert_same(image, (turn(y, layer.rep_out.action), turned_states(layer, ends)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_rounding(kind: str, dtype: torch.dtype) -> None:
    layer = built(kind, SPACES["signs"], {"num_layers": 2}).to(dtype)
    x = noise(6, 8, 5, dtype=dtype)
    with torch.no_grad():
        y, image = layer(x)[0], layer(turn(x, POSE.action))[0]
    assert apart(image, turn(y, layer.rep_out.action)) <= rounding(dtype, y, 12)


@pytest.mark.parametrize("kind", KINDS)
def test_dense_weights_are_symmetric_to_the_bit(kind: str) -> None:
    """And half as many numbers are free."""
    layer = built(kind, SPACES["pairs"], {"num_layers": 2, "bidirectional": True})
    reps = layer.dense_representations()
    for name, value in layer.dense().items():
        for axis, rep in enumerate(reps[name].axes):
            value = turn(value, rep.action, axis)
        assert torch.equal(value, layer.dense()[name]), name
    assert sum(item.numel() for item in layer.parameters()) == sum(rep.dimensions()[0] for rep in reps.values())


@pytest.mark.parametrize("kind", KINDS)
def test_initial_range(kind: str) -> None:
    """Every free dense entry has the variance of U(-1/sqrt H, 1/sqrt H); 6 standard errors, 100 draws."""
    torch.manual_seed(0)
    space = SPACES["signs"]
    extra = {"rep_proj": hidden(4)} if "projected" in kind else {}
    drawn = [KINDS[kind](POSE, space, **extra).double().dense() for _ in range(100)]  # type: ignore[arg-type]
    for name in drawn[0]:
        values = torch.stack([item[name].detach() for item in drawn])
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
    dense = {name: item.detach().requires_grad_() for name, item in layer.dense().items()}
    theirs = torch.func.functional_call(layer.folded(), dense, (x,))[0].square().sum()
    grads = dict(zip(dense, torch.autograd.grad(theirs, list(dense.values())), strict=True))
    layer(x)[0].square().sum().backward()
    drawns = layer.dense()
    for name, item in layer.named_parameters():
        expected = torch.autograd.grad(list(drawns.values()), item, list(grads.values()), retain_graph=True)[0]
        torch.testing.assert_close(item.grad, expected, rtol=0, atol=1e-9)
        assert float(item.grad.abs().max()) > 0, name


# ---- blocks step by step --------------------------------------------------------------------------------------------
STEPPED = {
    **SPACES, "shuffled pairs": Representation.parse("6: (0 5) (1 2) (3 4)"),
    "runs": Representation.parse("8: (0 2) (1 3) (4 6) (5 7)"), "unmoved": Representation.trivial(4),
    "negated": Representation.parse("3: -0 -1 -2"),
}  # fmt: skip


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every width runs by steps; what has run."""
    ran: list[str] = []
    by_steps = recurrent.Recurrent._by_steps
    monkeypatch.setattr(recurrent, "WIDE", 1)
    monkeypatch.setattr(
        recurrent.Recurrent, "_by_steps", lambda self, *given: ran.append(self.kind) or by_steps(self, *given)
    )
    return ran


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("space", STEPPED)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_steps_as_torchs_kernel(
    kind: str, space: str, options: dict[str, Any], steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers, last states and all gradients, batched with states and unbatched without."""
    layer = built(kind, STEPPED[space], options)
    for x, given in ((noise(4, 3, 5), states(layer, 4 if options.get("batch_first") else 3)), (noise(4, 5), None)):
        results = []
        for wide in (1, 99):
            monkeypatch.setattr(recurrent, "WIDE", wide)
            starts = [
                state.clone().requires_grad_()
                for state in ([given] if kind == "GRU" and given is not None else given or [])
            ]
            start = None if given is None else starts[0] if kind == "GRU" else tuple(starts)
            entering = x.clone().requires_grad_()
            answers = flat(layer(entering, start))
            weighted = torch.stack([(part * noise(*part.shape, seed=3)).sum() for part in answers]).sum()
            results.append([*answers, *torch.autograd.grad(weighted, [entering, *starts, *layer.parameters()])])
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
            assert float(theirs.detach().abs().max()) > 0
    assert len(steps) == 2


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("space", STEPPED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_commute_with_the_mirror(kind: str, space: str, dtype: torch.dtype, steps: list[str]) -> None:
    """Within rounding: torch's logistic function rounds the last entries of a row in another way than the first."""
    layer = built(kind, STEPPED[space], {"num_layers": 2, "bidirectional": True}).to(dtype)
    x = noise(6, 8, 5, dtype=dtype)
    y, ends = layer(x)
    image, image_ends = layer(turn(x, POSE.action))
    expected = flat((turn(y, layer.rep_out.action), turned_states(layer, ends)))
    for result, wanted in zip(flat((image, image_ends)), expected, strict=True):
        assert apart(result, wanted) <= rounding(dtype, wanted, 12)
    assert len(steps) == 2


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_steps_with_a_projection(options: dict[str, Any], steps: list[str]) -> None:
    layer, x = built("LSTM, projected", SPACES["signs"], options), noise(4, 3, 5)
    assert_same(layer(x), layer.folded()(x))
    assert steps == ["LSTM"]


def test_steps_only_where_they_can(steps: list[str]) -> None:
    """Not for packed inputs, under autocast, nor when exported."""
    layer, x = built("LSTM", SPACES["pairs"], {}), noise(4, 3, 5)
    layer(pack_padded_sequence(x, torch.tensor([4, 2, 1])))
    torch.export.export(layer, (x,))
    with torch.autocast("cpu", torch.bfloat16):
        layer(x)
    assert steps == []
    layer(x)
    assert steps == ["LSTM"]


def test_a_single_frame_is_one_step() -> None:
    """As policies run: the states that come back are those of the kernel."""
    layer = built("LSTM", SPACES["signs"], {"num_layers": 2})
    theirs, state, their_state = layer.folded(), None, None
    for frame in noise(5, 1, 3, 5):
        y, state = layer(frame, state)
        expected, their_state = theirs(frame, their_state)
        assert_same((y, state), (expected, their_state))


# ---- what is refused ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_sizes_are_checked(kind: str) -> None:
    """The fused kernel would read past the end."""
    layer = built(kind, SPACES["pairs"], {})
    with pytest.raises(RepresentationSizeError):
        layer(noise(4, 3, 6))
    with pytest.raises(RepresentationSizeError):
        layer(noise(4, 3, 5), states(layer, 2))
    with pytest.raises(UsageError):
        layer(noise(2, 4, 3, 5))
    packed = pack_padded_sequence(noise(4, 3, 5), torch.tensor([4, 2, 1]))
    with pytest.raises(RepresentationSizeError):
        layer(packed, states(layer, 2))


def test_one_lopsided_gate_by_name() -> None:
    layer = built("LSTM", SPACES["signs"], {})
    theirs = layer.folded().state_dict()
    theirs["weight_hh_l0"][7:14] += noise(7, 7)
    with pytest.raises(AsymmetricWeightError):
        layer.load_state_dict(theirs)
    assert isinstance(layer.folded(), nn.LSTM)
