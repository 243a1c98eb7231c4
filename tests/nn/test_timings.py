"""What is measured on a machine: once, kept safely, forgotten on demand; and what `auto` makes of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize import chiralize
from chiralize.graph.model import Node, Where
from chiralize.infer.capture import capture
from chiralize.nn import GRU, Linear, MultiheadAttention, forget_timings, hidden, timings
from chiralize.nn.deploy import form as forms
from chiralize.nn.deploy import timed
from chiralize.nn.deploy.speed import inputs_of
from chiralize.nn.deploy.swapping import swapped
from chiralize.nn.deploy.timed import Timing, takes_longer
from chiralize.nn.timings import measured

OPS = [Node("op", "aten.linear.default", {}, ((8, 64),), frozenset({0}), Where())]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of a user who has measured nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(timings.VARIABLE)
    begin_again(monkeypatch)
    return tmp_path


def begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the next process knows."""
    monkeypatch.setattr(timings, "_known", {})
    monkeypatch.setattr(timings, "_is_read", False)


def runs(first: int = 1, second: int = 6, seen: list[str] | None = None) -> Callable[[], dict[str, Any]]:
    """Two runs that take so many units of time."""
    x, y = torch.ones(200_000), torch.empty(200_000)  # no memory is asked for, which takes what it takes

    def run(count: int) -> Callable[[], None]:
        return lambda: [torch.sin(x, out=y) for _ in range(count)] and None

    def made() -> dict[str, Any]:
        if seen is not None:
            seen.append("measured")
        return {"first": run(first), "second": run(second)}

    return made


def test_a_ratio_is_measured_once_on_a_machine(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[str]()
    share = measured("sines", runs(seen=seen))
    assert 3 < share < 12 and measured("sines", runs(seen=seen)) == share
    begin_again(monkeypatch)
    assert measured("sines", runs(seen=seen)) == share and seen == ["measured"]
    (file,) = (cache / "chiralize").iterdir()
    table = json.loads(file.read_text())
    assert table["ratios"] == {"sines, 1 threads": share} and table["torch"] == torch.__version__
    forget_timings()
    assert not file.exists()
    measured("sines", runs(seen=seen))
    assert len(seen) == 2


def test_another_machine_and_another_torch_measure_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured("sines", runs())
    monkeypatch.setattr(torch, "__version__", "99.0")
    paths = {timings.path()}
    monkeypatch.setattr(timings, "_processor", lambda: "another")
    paths |= {timings.path(), next((cache / "chiralize").iterdir())}
    assert len(paths) == 3


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel\t: 3\n",
         "AMD EPYC (family 26, model 2)"),
        ("model name : POWER\n", "POWER"),
        ("BogoMIPS : 50.00\nCPU part : 0xd0c\n", ""),
    ],
)  # fmt: skip
def test_processors_of_one_name_are_told_apart(table: str, name: str) -> None:
    assert timings._of_linux(table) == name


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ratios": 3}', '{"ratios": {"sines, 1 threads": "fast"}}'])
def test_a_file_that_says_nothing_counts_as_empty(content: str) -> None:
    file = timings.path()
    file.parent.mkdir()
    file.write_text(content)
    assert measured("sines", runs()) > 3
    assert "sines, 1 threads" in json.loads(file.read_text())["ratios"]


def test_a_folder_that_cannot_be_written_is_left_alone(cache: Path) -> None:
    (cache / "chiralize").write_text("a file in the place of the folder")
    assert measured("sines", runs()) > 3
    forget_timings()


def test_no_home_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", none)
    assert measured("sines", runs()) > 3
    forget_timings()


def test_switched_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(timings.VARIABLE, "off")
    assert measured("sines", lambda: pytest.fail("it runs"), otherwise=1.0) == 1.0
    assert math.isnan(measured("sines", lambda: pytest.fail("it runs")))
    assert list(cache.iterdir()) == []


def test_modes_of_the_caller_do_not_reach_it_and_failures_are_not_kept() -> None:
    seen = list[bool]()

    def made() -> dict[str, Any]:
        seen.extend([torch.is_autocast_enabled("cpu"), torch.empty(1).device.type == "meta"])
        return {"first": lambda: None, "second": lambda: 1 / 0}

    with torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        assert math.isnan(measured("fails", made))
    assert seen == [False, False] and not timings.is_known("fails")


class Dawdling(Linear):
    """A twin that takes so many passes over its input and nothing else."""

    def __init__(self, count: int) -> None:
        super().__init__(hidden(64), hidden(64))
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.count):
            x = x * 1.0
        return x


def test_timing_decides_and_remembers() -> None:
    """A twin that dawdles loses, one that does nothing wins; neither is run again."""
    layer = nn.Linear(64, 64)
    assert not Timing()(layer, OPS, lambda: Dawdling(300))
    assert not Timing()(layer, OPS, lambda: Dawdling(0)), "it is the same kind of layer"
    forget_timings()
    assert Timing()(layer, OPS, lambda: Dawdling(0))
    with torch.inference_mode():
        first, second = Dawdling(1), Dawdling(300)
    captured: Any = type("Captured", (), {"nodes": OPS})
    first.eval(), second.eval()
    share = takes_longer(first, second, captured, ((torch.ones(8, 64),), {}))
    assert share is not None and share > 5
    assert takes_longer(first.train(), second, captured, ((torch.ones(8, 64),), {})) is None


def test_more_than_a_second_is_left_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    timing, asked = Timing(), list[nn.Module]()
    monkeypatch.setattr(timed, "is_faster", lambda layer, *_, **__: asked.append(layer) or True)
    timing.spent = timed.LONGEST + 1.0
    layer = nn.Linear(64, 64)
    assert timing(layer, OPS, lambda: Dawdling(0)) and asked == [layer]


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("layer", "takes"), [(nn.Conv1d(64, 64, 3), False), (nn.Conv1d(34, 128, 3), True)])
def test_narrow_convolutions_stay(layer: nn.Module, takes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for memory, and what that takes changes from hour to hour."""
    monkeypatch.setattr(timed, "measured", lambda *_: 0.7)
    node = Node("op", "aten.conv1d.default", {}, ((8, layer.in_channels, 9),), frozenset({0}), Where())
    assert Timing()(layer, [node], lambda: Dawdling(0)) == takes


@pytest.mark.parametrize(("rounds", "ratio"), [
    ([[1.0] * 7], 1.0),
    ([[0.5] * 7], 0.5),
    ([[0.9] * 7, [0.95] * 7], 0.95),
    ([[0.9] * 4 + [1.2] * 3, [0.9] * 7], 1.2),
])  # fmt: skip
def test_doubtful_ratios_count_by_their_upper_quartile(
    rounds: list[list[float]], ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of the rounds slower than the original is not faster."""
    first, second = (lambda: None), (lambda: None)
    shares = chain([1.0], *rounds)  # once to see how long it takes

    def seconds(run: object, *_: object) -> float:
        """A millisecond for the first run, a share of it for the second."""
        return 1e-3 * next(shares) if run is second else 1e-3

    monkeypatch.setattr(timings, "_seconds", seconds)
    assert timings.ratio({"first": first, "second": second}) == pytest.approx(ratio)


def lifter(width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(34, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
                         nn.Linear(width, 51), nn.Unflatten(1, (17, 3))).eval()  # fmt: skip


@pytest.mark.parametrize(("share", "form"), [(0.5, "blocks"), (1.2, "folded")])
def test_auto_keeps_dense_weights_where_blocks_lose_as_a_whole(
    share: float, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its layers promise by themselves; and it says so."""
    monkeypatch.setattr(timed, "measured", lambda name, *_: share if name.startswith("network") else 0.5)
    x = torch.randn(2, 17, 2)
    report = chiralize(lifter(64), "h36m", (x,), method="match", samples=1, force=True).chirality.report
    assert report.form == form
    assert any("blocks take 1.20 times as long here" in note for note in report.notes) == (form == "folded")


@pytest.mark.parametrize(("share", "form"), [(0.5, "fused"), (1.2, "folded")])
def test_graphs_are_timed_as_a_whole(share: float, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exported graph says that it is in training, whatever it was exported as."""
    monkeypatch.setattr(timed, "measured", lambda name, *_: share if name.startswith("network") else 0.5)
    x = torch.randn(256, 17, 2)
    program = torch.export.export(lifter(512), (x,))
    report = chiralize(program, "h36m", method="match", samples=1, force=True).chirality.report
    assert report.form == form
    assert any("blocks take 1.20 times as long here" in note for note in report.notes) == (form == "folded")


@pytest.mark.parametrize(("method", "samples"), [("match", 32), ("reduce", 64)])
def test_weights_of_other_sizes_are_timed_on_more_samples(
    method: str, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the original's sizes they cost what it does at any batch."""
    sizes = list[int]()
    monkeypatch.setattr(forms, "takes_longer", lambda dense, blocks, graph, call, *_: sizes.append(len(call[0][0])))
    x = torch.randn(32, 17, 2)
    program = torch.export.export(lifter(512), (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    settings: dict[str, Any] = {"width": 0.707, "rounds": 0, "calibration": [x, x + 1]} if method == "reduce" else {}
    chiralize(program, "h36m", method=method, samples=64, force=True, **settings)
    assert set(sizes) == {samples}


class Kinds(nn.Module):
    """Layers of every kind, called once each; queries and keys of one attention differ in number."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(16, 2, batch_first=True)
        self.across = nn.MultiheadAttention(16, 4)
        self.gru, self.lstm = nn.GRU(16, 12, batch_first=True), nn.LSTM(12, 8, bidirectional=True)
        self.conv, self.last = nn.Conv1d(16, 16, 3, stride=2, padding=1), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.own(x, x, x, need_weights=False)[0]
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        y = self.across(x[:, :2].transpose(0, 1), x.transpose(0, 1), x.transpose(0, 1))[0]
        return self.last(self.lstm(self.gru(y.transpose(0, 1))[0].transpose(0, 1))[0])


@pytest.mark.filterwarnings("ignore:The tensor attributes")  # of torch's recurrent layers, by its own export
def test_layers_are_timed_on_what_they_are_called_with() -> None:
    """By the shapes in a graph, as the hooks of a run see them; equal inputs count once."""
    net, x = Kinds().eval(), torch.randn(3, 9, 16)
    program = torch.export.export(net, (x,))
    seen, timed_on = dict[str, list[Any]](), dict[str, list[Any]]()

    def look(name: str) -> Any:
        """A hook that notes the shapes of what a layer is called with."""
        return lambda _, args: seen.update({name: [tuple(dict.fromkeys(tuple(each.shape) for each in args))]})

    hooks = [layer.register_forward_pre_hook(look(name)) for name, layer in net.named_children()]
    net(x)
    for hook in hooks:
        hook.remove()

    def wanted(layer: nn.Module, ops: Any, twin: Any) -> bool:
        weight = next(layer.parameters())
        (name,) = (name for name, own in net.named_children() if torch.equal(next(own.parameters()), weight))
        timed_on[name] = inputs_of(layer, ops)
        return False

    swapped(net, capture(program, (x,), {}), {}, wanted)
    assert timed_on.pop("across") == [], "its maps read parts of a weight: the model of cost decides"
    del seen["across"]
    assert timed_on == seen and len(seen) == 5
    more = inputs_of(net.gru, [Node("op", "aten.gru.input", {}, ((3, 5, 12),), frozenset(), Where())], 4.0)
    assert more == [((12, 5, 16),)]


@pytest.mark.parametrize("training", [False, True])
def test_attention_and_recurrent_layers_are_timed(training: bool) -> None:
    """Each by itself, in its mode; nothing of them is changed."""
    attention, gru = nn.MultiheadAttention(16, 2, batch_first=True), nn.GRU(16, 8)
    ops = {
        attention: [Node("op", "aten.linear.default", {}, ((4, 3, 48),), frozenset(), Where())],
        gru: [Node("op", "aten.gru.input", {}, ((4, 3, 8),), frozenset(), Where())],
    }
    twins = {attention: MultiheadAttention(hidden(16), 2, batch_first=True), gru: GRU(hidden(16), hidden(8))}
    for layer, nodes in ops.items():
        twin: Any = twins[layer].train(training)
        assert Timing()(layer.train(training), nodes, lambda twin=twin: twin) in (True, False)
        assert all(parameter.grad is None for parameter in (*layer.parameters(), *twin.parameters()))
    assert len(timings._known) == 2
    assert all(("in training" in name) == training and "3" in name for name in timings._known)


def test_ratios_of_another_device_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """And of another precision of its products. Its queue is waited for before the clock is read."""
    device, waited = torch.device("meta"), list[Any]()
    module: Any = type("Module", (), {"synchronize": waited.append})
    monkeypatch.setattr(torch, "get_device_module", lambda *_: module)
    assert measured("sines", runs(6, 1), None, device) < 0.5 and len(waited) >= 10
    assert not timings.is_known("sines") and timings.is_known("sines", device)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    assert not timings.is_known("sines", device)
