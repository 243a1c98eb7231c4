"""Networks that carry states are trained along sequences: their own steps, derivatives through all of them, and what it
brings. The steps are written out with torch alone in `tests/graph/test_rollouts.py`."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from chiralize import ChiralizeWarning, chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError
from chiralize.graph.running import results
from chiralize.methods.refine.along import cut, length_of, original_along, result_along
from chiralize.methods.refine.together import at_once
from chiralize.methods.stepping import runs_in_steps, unrolled
from chiralize.problem.data.batches import Batches
from chiralize.problem.preparation import prepare
from tests.graph.test_rollouts import CASES
from tests.support.cases import mainly
from tests.support.small_body import BODY, ROUNDING, Net, normal, trained, turned

STEPS = 5


class Remembering(nn.Module):
    """Two layers of LSTM whose states lie in buffers, cut off from derivatives as policies do it."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.head = nn.LSTM(12, 6, 2, batch_first=True), nn.Linear(6, 12)
        self.register_buffer("hidden", 0.3 * torch.ones(2, 1, 6))
        self.register_buffer("cell", torch.zeros(2, 1, 6))

    def forward(self, x: Tensor) -> Tensor:
        states, (hidden, cell) = self.memory(x.flatten(1)[:, None], (self.hidden, self.cell))
        self.hidden.copy_(hidden.detach())
        self.cell.copy_(cell.detach())
        return self.head(states[:, 0]).view(-1, 6, 2)


def run_lstm(net: Any, steps: list[Tensor]) -> list[Tensor]:
    states, _ = net.memory(torch.stack([x.flatten(1) for x in steps], 1), (net.hidden, net.cell))
    return list(net.head(states[0]).view(-1, 1, 6, 2))


class OneCell(nn.Module):
    """An LSTM cell, and the last three poses, in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(36, 6), nn.Linear(6, 12)
        self.register_buffer("hidden", torch.zeros(1, 6))
        self.register_buffer("carried", torch.zeros(1, 6))
        self.register_buffer("history", torch.zeros(1, 3, 12))

    def forward(self, x: Tensor) -> Tensor:
        self.history[:, :-1] = self.history[:, 1:].clone()
        self.history[:, -1] = x.flatten(1)
        hidden, carried = self.cell(self.history.flatten(1), (self.hidden, self.carried))
        self.hidden.copy_(hidden)
        self.carried.copy_(carried)
        return self.head(hidden).view(-1, 6, 2)


def run_cell(net: Any, steps: list[Tensor]) -> list[Tensor]:
    state, answers = (torch.zeros(1, 6).double(), torch.zeros(1, 6).double()), list[Tensor]()
    before = [torch.zeros(1, 12).double()] * 2 + [x.flatten(1) for x in steps]
    for number in range(len(steps)):
        state = net.cell(torch.cat(before[number : number + 3], 1), state)
        answers.append(net.head(state[0]).view(1, 6, 2))
    return answers


KINDS = {**CASES, "LSTM": (Remembering, CASES["in buffers"][1], CASES["in buffers"][2], run_lstm)}
KINDS["one cell"] = (OneCell, *KINDS["LSTM"][1:3], run_cell)


def sequence(seed: int = 0) -> Tensor:
    """Poses `step batch joint dim`."""
    return normal(STEPS, 1, 6, 2, seed=seed)


def call_of(name: str, poses: Tensor) -> tuple[Tensor, ...]:
    """A sequence as what the network reads, with states that nobody reads."""
    _, _, example, _ = KINDS[name]
    return (poses, *(torch.full((STEPS, *state.shape), torch.nan).double() for state in example[1:]))


@pytest.mark.parametrize("name", list(KINDS))
def test_a_sequence_is_its_steps(name: str) -> None:
    """In either view, and together with others."""
    build, tensors, example, run = KINDS[name]
    net = trained(build(), 3)
    network = prepare(net, parse_spec(BODY + tensors), example)
    sequences = [sequence(seed) for seed in (1, 2)]
    views = original_along(network, both_views=True)
    with torch.no_grad():
        wanted = [torch.stack(run(net, list(poses))) for poses in sequences]
        other = [turned(torch.stack(run(net, [turned(x) for x in poses]))) for poses in sequences]
    for view, answers in zip(views, (wanted, other), strict=True):
        for poses, answer in zip(sequences, answers, strict=True):
            torch.testing.assert_close(view(*call_of(name, poses))[0], answer, rtol=0, atol=ROUNDING)
        both = [torch.stack(parts) for parts in zip(*(call_of(name, poses) for poses in sequences), strict=True)]
        torch.testing.assert_close(at_once(view)(*both)[0], torch.stack(answers), rtol=0, atol=ROUNDING)
    assert len(original_along(network, both_views=False)) == 1


@pytest.mark.parametrize("name", ["in buffers", "LSTM", "one cell"])
def test_derivatives_reach_back_through_all_steps(name: str) -> None:
    """Through states that the network's own code writes into a buffer, or cuts off."""
    build, tensors, example, run = KINDS[name]
    net = trained(build(), 3)
    network = prepare(net, parse_spec(BODY + tensors), example)
    assert network.captured is not None
    parameters = {key: value.detach().clone().requires_grad_() for key, value in net.named_parameters()}
    last = result_along(network, network.captured, parameters)(sequence())[0][-1]
    last.square().sum().backward()
    run(net, list(sequence()))[-1].square().sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None and parameters[key].grad is not None
        torch.testing.assert_close(parameters[key].grad, parameter.grad, rtol=0, atol=ROUNDING)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 9))
def test_stretches_of_one_length(lengths: list[int], length: int) -> None:
    """Every step of what is long enough is in one, but for a rest shorter than half a stretch."""
    sequences = [[((torch.tensor([10 * number + step]),), {}) for step in range(n)] for number, n in enumerate(lengths)]
    stretches = [args[0].flatten().tolist() for args, _ in cut(sequences, length)]
    assert all(numbers == list(range(numbers[0], numbers[0] + length)) for numbers in stretches)
    for number, n in enumerate(lengths):
        steps = {step - 10 * number for numbers in stretches for step in numbers if step // 10 == number}
        assert steps == (set(range(max(steps) + 1)) if n >= length else set())
        assert n < length or n - 1 - max(steps) < max(length // 2, 1)


@pytest.mark.parametrize(
    ("lengths", "length"), [((200, 180, 2), 180), ((200, 200, 200, 1, 1), 200), ((30,), 30), ((5, 5, 5, 9), 5)]
)
def test_a_short_sequence_does_not_shorten_the_others(lengths: tuple[int, ...], length: int) -> None:
    """The longest that keep three quarters of all steps."""
    network = prepare(trained(Remembering(), 3), parse_spec(BODY + KINDS["LSTM"][1]), KINDS["LSTM"][2])
    calls = [[((normal(1, 6, 2),), {})] * steps for steps in lengths]
    parts = Batches(sequences=calls)
    longest = min(max(map(len, part)) for part in (parts.seen_sequences, parts.held_sequences))
    assert length_of(parts, network) == (min(length, longest) if longest > 1 else 0)


def cells() -> list[nn.Module]:
    """Recurrent layers of every kind."""
    options = {"num_layers": 2, "bidirectional": True}
    return [
        nn.LSTM(12, 4, batch_first=True), nn.LSTM(12, 4, bias=False), nn.GRU(12, 4, **options), nn.GRU(12, 4),
        nn.RNN(12, 4, nonlinearity="relu", batch_first=True), nn.RNN(12, 4, **options), nn.LSTM(12, 4, **options),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(len(cells())))
def test_recurrent_ops_step_by_step(number: int) -> None:
    cell = cells()[number]
    net = trained(Net(lambda own, x: own.cell(x.flatten(2))[0].sum(-1), cell=cell))
    spec = BODY + 'inputs: [{layout: "b t j d"}]\noutputs: [{layout: "b t"}]\n'
    network = prepare(net, parse_spec(spec), (normal(2, 3, 6, 2),))
    assert network.captured is not None
    values: dict[str, Any] = {leaf.name: leaf.tensor for leaf in network.captured.leaves.values()}
    (node,) = (node for node in network.captured.nodes if runs_in_steps(node))
    cell.requires_grad_(False)
    x = normal(2, 3, 12, seed=4)
    hx = [torch.zeros(*state.shape).double() for state in results(cell(x)[1])[0]]
    read = node.arguments["hx"] if isinstance(node.arguments["hx"], (list, tuple)) else [node.arguments["hx"]]
    values |= {node.arguments["input"].name: x} | {ref.name: state for ref, state in zip(read, hx, strict=True)}
    wanted = results(cell(x))[0]
    for part, whole in zip(unrolled(node, values)[0], wanted, strict=True):
        torch.testing.assert_close(part, whole, rtol=0, atol=ROUNDING)


def nearly_symmetric(name: str) -> nn.Module:
    """A network that knows both sides, but for some noise."""
    build = KINDS[name][0]
    net, state = trained(build(), 3), converted(trained(build(), 3), name, method="project").state_dict()
    for number, (key, parameter) in enumerate(net.named_parameters()):
        parameter.data = state[key] + 0.03 * normal(*parameter.shape, seed=number)
    return net


def converted(net: nn.Module, name: str, **options: Any) -> Any:
    _, tensors, example, _ = KINDS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChiralizeWarning)
        return chiralize(
            net, parse_spec(BODY + tensors), example, calibration=normal(40, 8, 6, 2, seed=5), samples=1, force=True,
            **options,
        )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    mainly([["in buffers"], ["state"], ["feedback"], ["LSTM"], ["one cell"]], [["in buffers"], ["feedback"]]),
)
def test_distilling_brings_the_steps_nearer(name: str) -> None:
    """And leaves the original alone, and the result equivariant, step by step."""
    run, net = KINDS[name][3], nearly_symmetric(name)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    plain = converted(net, name, method="project").chirality.report
    result = converted(net, name, method="project", distill=20)
    assert result.chirality.report.drift.rho < 0.99 * plain.drift.rho
    assert result.chirality.report.certificate.passed
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    if name != "in buffers":  # whose own run starts from the original's buffers
        poses = list(sequence())
        with torch.no_grad():
            pairs = zip(run(result, poses), run(result, [turned(x) for x in poses]), strict=True)
            assert all(torch.allclose(turned(one), other, rtol=0, atol=ROUNDING) for one, other in pairs)


def test_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit of single steps is followed by training along sequences, for about a minute; --fast leaves it out."""
    net = nearly_symmetric("state")
    monkeypatch.setattr("chiralize.methods.refine.budget._MOST_STEPS", 50)
    monkeypatch.setattr("chiralize.methods.refine.budget._LEFT_OVER", 0.01)  # of a small network of noise
    fast = converted(net, "state", method="match", rounds=0).chirality.report
    report = converted(net, "state", method="match").chirality.report
    assert report.drift.rho < 0.9 * fast.drift.rho
    assert any(
        note.startswith("all layers trained at once along sequences of 8 steps, without labels: ")
        for note in report.notes
    )
    assert not any("trained" in note for note in fast.notes)


def test_what_cannot_be_trained_along_sequences() -> None:
    net, (_, tensors, example, _) = trained(Remembering(), 3), KINDS["LSTM"]
    samples = normal(12, 6, 2)
    with pytest.raises(ChiralizeError, match="--distill: the network carries states from call to call: it is trained"):
        chiralize(net, parse_spec(BODY + tensors), example, calibration=samples, method="match", distill=5)
    pixels = parse_spec((BODY + tensors).replace('"b j d"', '"b j d", reflect: {x: 320}'))
    with pytest.raises(ChiralizeError, match="it is not trained on pixels"):
        chiralize(net, pixels, example, calibration=normal(4, 8, 6, 2), method="match", distill=5)


def test_a_memory_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps in shorter stretches, then none."""
    net = trained(Remembering(), 3)
    monkeypatch.setattr("chiralize.methods.refine.along._ROOM", 1000)
    with pytest.raises(ChiralizeError, match="memory has no room for eight of one"):
        converted(net, "LSTM", method="project", distill=5)


def test_a_note_where_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training that is not possible is left out, and the report says so."""
    monkeypatch.setattr("chiralize.methods.refine.budget._MOST_STEPS", 50)
    monkeypatch.setattr("chiralize.methods.refine.budget._LEFT_OVER", 0.01)
    monkeypatch.setattr("chiralize.methods.refine.ready.runs_together", lambda *given: False)
    report = converted(nearly_symmetric("state"), "state", method="match").chirality.report
    assert any(
        note.startswith("not trained along sequences: sequences cannot be run together") for note in report.notes
    )


def test_what_cannot_run_together_is_refused_before_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chiralize.methods.refine.ready.runs_together", lambda *given: False)
    said = list[str]()

    def listen(title: str, share: float | None = None) -> None:
        """Hear what is done."""
        said.append(title)

    with pytest.raises(
        ChiralizeError, match="--distill: sequences cannot be run together(?s:.*)train the original with"
    ):
        converted(nearly_symmetric("state"), "state", method="match", distill=5, progress=listen)
    assert not any(title.startswith("converting") for title in said)
