"""What a file of the original's sizes costs beside one that may hold blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.problem.preparation import prepare
from tests.support.zoo.case import scrambled

SPEC = parse_spec("joints: [hip, left_knee, right_knee, nose]\npairs: [[1, 2]]\ndims: [x, y]\n")


def notes_of(width: int, **asked: Any) -> list[str]:
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 8)
    )
    x = torch.randn(64, 4, 2)
    network = prepare(scrambled(nn.Sequential(net, nn.Unflatten(1, (4, 2))), 0).float(), SPEC, (x,))
    report = convert(network, "net", Request("project", samples=1, **asked)).report
    return [note for note in report.notes if note.startswith("dense weights of the original's sizes")]


@pytest.mark.parametrize(
    ("product", "why"),
    [
        ("script", "a TorchScript file keeps the original's code"),
        ("weights", "weights alone have to fit the original's class"),
    ],
)
def test_a_file_of_the_original_sizes_says_what_it_costs(product: str, why: str) -> None:
    assert notes_of(256, product=product) == [
        f"dense weights of the original's sizes and at its cost, since {why}: a .pt2 or an .onnx has even and odd "
        "blocks in 1 of 3 layers, at half the multiplications of those"
    ]


def test_nothing_is_said_where_a_graph_is_dense_too_or_may_have_blocks() -> None:
    assert notes_of(16, product="script") == []
    assert notes_of(256, product="graph") == []
    assert notes_of(256, product="weights", form="folded") == []
