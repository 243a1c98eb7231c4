"""Blocks in the place of dense symmetric weights: the same function, half the work, both verdicts, or a reason."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

import chiralize.nn as chiral
from chiralize import chiralize, verify
from chiralize.commands.convert import Request, convert
from chiralize.errors import ChiralizeError, MethodUnavailableError
from chiralize.graph.export import export
from chiralize.graph.model import Node, Where
from chiralize.nn import GRU, ChiralModule, hidden
from chiralize.nn import Linear as ChiralLinear
from chiralize.nn.deploy.speed import is_faster, is_faster_in_graphs
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation
from tests.commands.test_zoo import contents, prepared, unchanged
from tests.support.cases import mainly
from tests.support.command import Shell, mirrored, network, poses, save_program, working_shell
from tests.support.zoo import CASES
from tests.support.zoo.case import scrambled
from tests.support.zoo.judging import answers, apart, residual, scale

BLOCKS = (
    "temporal", "residual layer norm", "grouped convolutions", "paper layout, 102", "states passed along",
    "policy, act", "policy, gru in buffers", "shared and tied", "invariant classifier",
)  # fmt: skip
FUSED = (
    "temporal", "grouped convolutions", "lstm", "policy, gru in buffers", "graph",
    "shared and tied", "coco in, h36m out",
)  # fmt: skip
WITHOUT_PROOF = ("attention over joints",)


@pytest.mark.parametrize(
    "name", mainly(((name,) for name in dict.fromkeys((*BLOCKS, *FUSED))), [("grouped convolutions",)])
)
def test_same_function_in_blocks(name: str) -> None:
    """Blocks in the user's class, or called in a graph, compute what the folded weights do, with both verdicts; the
    original is untouched."""
    case = CASES[name]
    model = case.model()
    before, network = contents(model), prepared(case, model)
    own = answers(convert(network, name, Request("match", form="folded", samples=1)).module, case)
    for form in [form for form, names in (("blocks", BLOCKS), ("fused", FUSED)) if name in names]:
        found = convert(network, name, Request("match", form=form, samples=1))
        assert found.report.form == form
        assert found.report.judgement.certificate is not None and found.report.judgement.certificate.passed
        assert residual(found.module, case) <= 1e-10
        assert apart(answers(found.module, case), own) <= 1e-12 * scale(own)
        cost = found.report.cost
        assert cost.parameters_after < cost.parameters_before and cost.macs_after < cost.macs_before
        if form == "blocks":
            assert type(found.module) is type(model)
            assert any(isinstance(layer, ChiralModule) for layer in found.module.modules())
    assert unchanged(before, model)


@pytest.mark.thorough
@pytest.mark.parametrize(("form", "dtype"), [("blocks", torch.bfloat16), ("fused", torch.float16)])
def test_networks_of_few_digits(form: str, dtype: torch.dtype) -> None:
    """The sums and differences that blocks hold are rounded, too."""
    net = scrambled(nn.Sequential(nn.Flatten(), nn.Linear(34, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
                                  nn.Linear(256, 51), nn.Unflatten(1, (17, 3))), 0).eval().to(dtype)  # fmt: skip
    x = torch.randn(2, 17, 2, generator=torch.Generator().manual_seed(0)).to(dtype)
    done: Any = chiralize(net, "h36m", (x,), method="match", form=form, samples=1)
    assert done.chirality.form == form and verify(done, example_inputs=(x,), samples=2).passed


@pytest.mark.thorough
@pytest.mark.parametrize("name", WITHOUT_PROOF)
def test_blocks_that_no_proof_reaches(name: str) -> None:
    """They compute the same and pass the numbers; asked for, they are refused with the op that the rules stop at."""
    network = prepared(CASES[name], CASES[name].model())
    with pytest.raises(MethodUnavailableError, match="no proof for the blocks"):
        convert(network, name, Request("match", form="blocks", samples=1))


class Lifter(nn.Module):
    """A residual lifter, "batch (joint coord)"."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inlet, self.outlet = nn.Linear(34, width), nn.Linear(width, 51)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.inlet(x)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + torch.relu(norm(layer(x)))
        return self.outlet(x)


LAYOUTS: dict[str, Any] = {"input_layouts": ["b (j d)"], "output_layouts": ["b (j d)"]}


def converted(net: nn.Module | ExportedProgram, x: Tensor, **options: Any) -> Any:
    """The network made equivariant, its flat poses described."""
    return chiralize(net, "h36m", (x,), **{"method": "project", "samples": 1, **options}, **LAYOUTS)


def lifter(width: int, batch: int = 64) -> tuple[Lifter, Tensor]:
    torch.manual_seed(0)
    net = Lifter(width)
    for norm in net.norms:
        assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 1.5)
    return net.eval(), torch.randn(batch, 34)


@pytest.mark.thorough
def test_auto_chooses_by_size() -> None:
    """Wide layers get blocks, narrow ones stay dense: for Python in the user's class."""
    found: Any = None
    for width, form in ((32, "folded"), (768, "blocks")):
        net, x = lifter(width)
        found = converted(net, x)
        assert found.chirality.form == form and type(found).__name__ == "Lifter"
    assert isinstance(found.layers[0], ChiralLinear) and type(found.inlet) is nn.Linear
    assert "even and odd blocks in 2 of 6 layers" in found.chirality.report.notes[-1]
    assert verify(found, example_inputs=(x,), samples=2).passed


@pytest.mark.thorough
def test_blocks_stay_equivariant_under_training() -> None:
    """Many careless steps later the residual is what it was; a folded network would have drifted."""
    net, x = lifter(32, 16)
    found = converted(net, x, form="blocks")
    found.train()
    optimizer = torch.optim.AdamW(found.parameters(), lr=1e-2)
    target = torch.randn(16, 51)
    for _ in range(50):
        optimizer.zero_grad()
        (found(x) - target).square().mean().backward()
        optimizer.step()
    found.eval()
    report = verify(found, "h36m", (x,), samples=2, **LAYOUTS)
    assert report.judgement.numeric.passed and report.judgement.numeric.worst.residual == 0.0


@pytest.mark.thorough
def test_reading_the_state() -> None:
    """A folded result's state loads into one in blocks, strictly; the blocks give it back."""
    net, x = lifter(32, 4)
    folded, blocks = (converted(net, x, form=form) for form in ("folded", "blocks"))
    with torch.no_grad():
        for parameter in blocks.parameters():
            parameter.zero_()
    blocks.load_state_dict(folded.state_dict(), strict=True)
    assert (blocks(x) - folded(x)).abs().max() < 1e-5


@pytest.mark.thorough
def test_width_in_blocks() -> None:
    """A reduced network of another width is a graph; its blocks cost half of what its dense weights do."""
    net, x = lifter(32)
    poses = torch.randn(256, 34)
    made = [
        converted(net, x, method="reduce", width=0.75, rounds=0, calibration=poses, form=form, max_drift=100.0)
        for form in ("dense", "fused")
    ]
    assert (made[0](x) - made[1](x)).abs().max() < 1e-4
    dense, fused = (found.chirality.report.cost.macs_after for found in made)
    assert 0.45 < fused / dense < 0.55


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["blocks", "fused"])
def test_an_equivariant_network_in_another_form(form: str) -> None:
    """It is not converted again, but its layers are replaced."""
    net, x = lifter(32, 4)
    folded = converted(net, x, form="folded")
    found = converted(folded, x, form=form)
    assert (found.chirality.method, found.chirality.form) == ("unchanged", form)
    assert (found(x) - folded(x)).abs().max() < 1e-5


class Curious(nn.Module):
    """Asks its layers for sizes, and one of them for what a twin does not have."""

    def __init__(self, width: int, deep: bool) -> None:
        super().__init__()
        self.rnn, self.outlet, self.deep = nn.GRU(34, width, batch_first=True), nn.Linear(width, 51), deep

    def forward(self, x: Tensor) -> Tensor:
        start = x.new_zeros(self.rnn.num_layers, len(x), self.rnn.hidden_size)
        y, _ = self.rnn(x.unsqueeze(1), start)
        y = y[:, 0, : self.outlet.in_features]
        return self.outlet(y) + (0.0 if not self.deep else 0.0 * len(self.rnn._flat_weights))


def test_a_class_that_asks_its_layers() -> None:
    """Sizes are there under torch's names; what is not there is a reason, not a crash."""
    torch.manual_seed(0)
    x = torch.randn(4, 34)
    found = converted(Curious(16, False).eval(), x, form="blocks")
    assert found.chirality.form == "blocks"
    with pytest.raises(MethodUnavailableError, match="_flat_weights"):
        converted(Curious(16, True).eval(), x, form="blocks")
    assert converted(Curious(16, True).eval(), x, form="fused").chirality.form == "fused"


@pytest.mark.parametrize("part", ["self_attn", "linear1", "norm1", "norm2"])
def test_layers_that_torch_looks_into(part: str) -> None:
    """An encoder layer reads the weights of all its parts for its fast path, also where only some have blocks."""
    blocks = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True).double().eval()
    width = hidden(16), hidden(32)
    made: dict[str, ChiralModule] = {
        "self_attn": chiral.MultiheadAttention(width[0], 2, batch_first=True),
        "linear1": ChiralLinear(*width), "norm1": chiral.LayerNorm(width[0]), "norm2": chiral.LayerNorm(width[0]),
    }  # fmt: skip
    setattr(blocks, part, scrambled(made[part].double(), 3))
    dense = copy.deepcopy(blocks)
    setattr(dense, part, made[part].folded())
    x = torch.randn(3, 5, 16, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(blocks(x), dense(x), rtol=0, atol=1e-9)


def test_why_a_graph_is_fused_where_blocks_are_asked_for() -> None:
    """A program has no class: the report says so, of a graph that takes the place of blocks alone."""
    net, x = lifter(32)
    program = torch.export.export(net, (x,))
    why = "form fused instead of blocks: the network came as a graph of ops"
    found: Any = converted(program, x, form="blocks")
    assert found.chirality.form == "fused"
    assert [note.startswith(why) for note in found.chirality.report.notes].count(True) == 1
    for given, form in ((program, "fused"), (net, "blocks")):
        assert not any("instead of blocks" in note for note in converted(given, x, form=form).chirality.report.notes)


@pytest.mark.thorough
def test_why_a_network_that_became_a_graph_is_fused() -> None:
    """Its activations were called as functions and had to be others: it came with a class, and has none now."""
    name = "paper layout, 104, mixed"
    found = convert(prepared(CASES[name], CASES[name].model()), name, Request("project", form="blocks", samples=1))
    why = "form fused instead of blocks: the network had to be rewritten as a graph of ops"
    assert found.report.form == "fused" and any(note.startswith(why) for note in found.report.notes)


def test_nothing_to_gain() -> None:
    """Two views have no layers of their own: asked for blocks, the message says so."""
    net, x = lifter(32)
    with pytest.raises(ChiralizeError, match="two-view"):
        converted(net, x, method="average", form="blocks")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


@pytest.mark.thorough
def test_on_the_command_line(shell: Shell) -> None:
    """A file gets a graph that is smaller, and verified again from the file alone; --tune times the layers."""
    save_program(network(hidden=64), shell.folder / "net.pt2")
    words = ("convert", "net.pt2", "--skeleton", "lifter.yaml", "--method", "match", "--format", "json")
    found = json.loads(shell(*words, "--form", "fused", "-o", "fused.pt2").out)
    assert found["form"] == "fused" and found["cost"]["macs_after"] < 0.6 * found["cost"]["macs_before"]
    assert shell("verify", "fused.pt2").status == 0
    nets = [torch.export.load(shell.folder / name).module() for name in ("net.pt2", "fused.pt2")]
    assert (nets[1](mirrored(poses(5))) - mirrored(nets[1](poses(5)))).abs().max() <= 1e-6
    tuned = json.loads(shell(*words, "--tune", "-o", "tuned.pt2").out)
    assert tuned["form"] in ("folded", "fused")


@pytest.mark.parametrize(("signs", "gains"), [(1, True), (-1, False)])
def test_the_model_of_cost_counts_what_is_gathered(signs: int, gains: bool) -> None:
    """Coordinates that change their sign beside those that do not are taken apart by kinds; hidden units have one."""
    entries = np.arange(162)
    # (0 1), -(2 3), (4 5), ...: of signs 1 all pairs are plain.
    action = SignedPermutation(entries ^ 1, np.where(entries // 2 % 2, signs, 1))
    twin = ChiralLinear(Representation.of(action), hidden(256))
    assert is_faster_in_graphs(nn.Linear(162, 256), [op("linear", (1024, 256))], lambda: twin) == gains


def op(name: str, shape: tuple[int, ...]) -> Node:
    return Node("op", f"aten.{name}.default", {}, (shape,), frozenset({0}), Where())


def test_the_model_of_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large layers gain, small ones do not, and a kernel without blocks never does; more threads need larger layers."""
    none = lambda: None  # noqa: E731
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not is_faster(nn.Linear(1024, 1024), [op("linear", (4, 1024))], none)
    assert is_faster(nn.Linear(1024, 1024), [op("linear", (256, 1024))], none)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert is_faster(nn.Linear(1024, 1024), [op("linear", (4, 1024))], none)
    assert is_faster(nn.Linear(2048, 2048), [op("linear", (1, 2048))], none)
    assert not is_faster(nn.Linear(128, 128), [op("linear", (1, 128))], none)
    assert is_faster(nn.Conv1d(1024, 1024, 3), [op("conv1d", (16, 1024, 27))], none)
    assert not is_faster(nn.Conv1d(128, 1024, 3), [op("conv1d", (256, 1024, 27))], none)
    assert is_faster(nn.Linear(128, 128), [op("linear", (4096, 128))], none)
    assert not is_faster(nn.MultiheadAttention(128, 2), [op("linear", (256, 17, 384))], none)
    for space, gains in ((hidden(768), True), (hidden(512), False), (hidden(514, fixed=2), False)):
        assert is_faster(nn.GRU(4, space.size), [], lambda space=space: GRU(hidden(4), space)) == gains
    assert not is_faster(nn.LSTM(4, 768), [], none)
    assert not is_faster(nn.BatchNorm1d(4096), [op("batch_norm", (64, 4096))], none)


def test_a_graph_gains_earlier_and_more_rows_gain_more(monkeypatch: pytest.MonkeyPatch) -> None:
    none = lambda: None  # noqa: E731
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    layer, ops = nn.Linear(384, 384), [op("linear", (16, 384))]
    assert is_faster_in_graphs(layer, ops, none) and not is_faster(layer, ops, none)
    assert is_faster(layer, ops, none, times=4.0)
    assert not is_faster_in_graphs(layer, [op("linear", (1, 384))], none)


@pytest.mark.thorough
@pytest.mark.parametrize(("width", "form"), [(0.5, "folded"), (0.707, "fused")])
def test_an_open_batch_is_taken_to_be_one_of_use(width: float, form: str) -> None:
    """Dense weights of other sizes cost twice at any batch, so that two samples do not decide; of the same sizes they
    cost what the original did.
    """
    net, x = lifter(320, batch=2)
    inputs = torch.randn(600, 34, generator=torch.Generator().manual_seed(0))
    options = {"method": "reduce", "calibration": inputs, "rounds": 0, "width": width, "force": True}
    report = converted(net, x, **options).chirality.report
    assert report.form == form
    assert report.cost.macs_after < 1.1 * report.cost.macs_before


def test_the_network_is_exported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result with other weights has the original's program: only a network of other ops is exported anew."""
    made: list[nn.Module] = []

    def counted(module: nn.Module, args: Any, kwargs: Any, dynamic: Any = None) -> ExportedProgram:
        made.append(module)
        return export(module, args, kwargs, dynamic)

    monkeypatch.setattr("chiralize.graph.open_sizes.export", counted)
    case = CASES["temporal"]
    found = convert(prepared(case, case.model()), case.name, Request("match", samples=1))
    assert found.report.form == "folded" and len(made) == 1
    program, (args, _) = found.program, case.example(torch.float64)
    assert program is not None and program.module()(*args).equal(found.module(*args))
    shared = {own.data_ptr() for own in found.module.parameters()}
    assert {own.data_ptr() for own in program.parameters()} == shared
