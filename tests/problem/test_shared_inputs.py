"""Inputs beside the samples that belong to no sample: numbers and tables, the same for a whole batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import chiralize
from chiralize.body.tensors import parse_spec, resolve
from chiralize.problem.data.cutting import in_common
from chiralize.problem.preparation import prepare
from tests.support.cases import mainly
from tests.support.command import Shell
from tests.support.small_body import BODY, POSE, normal, trained

BESIDE = BODY + 'inputs: [{layout: "b j d"}, {free: true}]\noutputs: [{layout: "b j d"}]\n'
TABLES = {"number": normal(1, seed=3)[0].exp(), "(1,)": normal(1, seed=3).exp(), "(1, 1)": normal(1, 1, seed=3).exp(),
          "bank": normal(40, 16, seed=3)}  # fmt: skip
SAMPLES = normal(200, 6, 2, seed=1)


class Beside(nn.Module):
    """Poses and a table that all of them read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 16), nn.Linear(16, 12)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        found = torch.tanh(self.first(x.flatten(1)))
        scale = table.square().sum() / 640 if table.numel() > 1 else table  # two of them would have twice the sum
        return self.last(found * scale).unflatten(1, (6, 2))


class Held(nn.Module):
    """The same with the table inside."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.net = trained(Beside())
        self.register_buffer("table", table)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x, self.table)


def batches(table: Tensor) -> dict[str, Any]:
    parts = SAMPLES.split(20)
    return {
        "tensor": SAMPLES, "loader": DataLoader(SAMPLES, batch_size=20),  # type: ignore[arg-type]
        "batches": [(part, table) for part in parts],
    }  # fmt: skip


def fitted(network: nn.Module, spec: str, example: Any, data: Any) -> nn.Module:
    return chiralize.chiralize(
        network, parse_spec(spec), example, method="match", calibration=data, rounds=0, samples=1, force=True
    )


CASES = [
    ("number", "tensor", 2), ("(1,)", "batches", 2), ("(1, 1)", "tensor", 2), ("bank", "batches", 2),
    ("number", "loader", 1), ("(1,)", "batches", 1), ("(1, 1)", "tensor", 1), ("bank", "loader", 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "way", "rows"), mainly(CASES, [("(1,)", "batches", 2)]))
def test_fitted_as_if_the_network_held_it(name: str, way: str, rows: int) -> None:
    """Beside one sample a table of one entry closes the batch of the graph, and batches are made otherwise."""
    table = TABLES[name]
    held = fitted(Held(table), POSE, (SAMPLES[:rows],), SAMPLES if way == "tensor" else list(SAMPLES.split(20)))
    found = fitted(trained(Beside()), BESIDE, (SAMPLES[:rows], table), batches(table)[way])
    assert found.chirality.report.drift.rho == pytest.approx(held.chirality.report.drift.rho, rel=0.1)
    if rows == 2 or name in ("number", "bank"):
        expected = held.state_dict()
        for key, value in found.state_dict().items():
            torch.testing.assert_close(value, expected[f"net.{key}"], rtol=1e-6, atol=1e-6)


def test_who_has_samples() -> None:
    """By length; where a table is as long as the batch, it may be either while it is the same in all calls."""
    for shape, is_known in (((), True), ((40, 16), True), ((1, 16), False), ((1,), False)):
        own = resolve(parse_spec(BESIDE), [(1, 6, 2), shape], [(1, 6, 2)]).input_tensors[1]
        assert own.has_rows is not is_known
    network = prepare(trained(Beside()), parse_spec(BESIDE), (SAMPLES[:1], TABLES["(1, 1)"]))
    same = [((part, TABLES["(1, 1)"]), {}) for part in SAMPLES[:4].split(1)]
    assert in_common(network, same) == [{1}, set()]
    steps = [((part, torch.full((1, 1), float(step))), {}) for step, part in enumerate(SAMPLES[:4].split(1))]
    assert in_common(network, steps) == [set()]
    numbers = [((part, torch.tensor(float(step))), {}) for step, part in enumerate(SAMPLES[:4].split(1))]
    network = prepare(trained(Beside()), parse_spec(BESIDE), (SAMPLES[:1], TABLES["number"]))
    assert in_common(network, numbers) == []


def test_numbers_that_differ_from_call_to_call() -> None:
    """They cannot be put together, and are taken call by call."""
    calls = [(part, torch.tensor(1 + step / 10, dtype=torch.float64)) for step, part in enumerate(SAMPLES.split(20))]
    found = fitted(trained(Beside()), BESIDE, (SAMPLES[:1], TABLES["number"]), calls)
    assert found.chirality.report.drift.rho < 2


def test_the_batch_is_open_beside_a_table() -> None:
    """Nothing is said of a size that only the table has."""
    network = prepare(trained(Beside()), parse_spec(BESIDE), (SAMPLES[:2], TABLES["(1, 1)"]))
    assert not [note for note in network.notes if "batch" in note] and network.rows == 2


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["number", "(1,)"])
def test_command_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.export.save(torch.export.export(trained(Beside()), (SAMPLES[:1], TABLES[name])), "net.pt2")
    Path("two.yaml").write_text(BESIDE)
    np.save("poses.npy", SAMPLES[:80].numpy())
    shell, common = Shell(tmp_path, capsys), ("net.pt2", "--skeleton", "two.yaml")
    convert = "--method match --rounds 0 --samples 1 --calibration poses.npy -o out.pt2 --force".split()
    assert shell("convert", *common, *convert).status == 0
    assert shell("audit", *common, "--calibration", "poses.npy").status == 0
