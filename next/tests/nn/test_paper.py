"""The paper's layout, and its sharing pattern beside ours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from chiralize.errors import RepresentationSizeError
from chiralize.nn import Linear, negated_share, paper_layout

# One side of a body with two joints left and right and three in the middle, and another one.
IN, OUT = ((2, 2, 3), 4, 1), ((2, 2, 1), 3, 2)
Side = tuple[Sequence[int], int, int]

# The table of the paper: rows and columns ln lp rn rp cn cp, the letter of the entry with its sign, "" for zero.
TABLE = [
    ["A1", "A2", "B1", "B2", "C1", "C2"],
    ["A3", "A4", "B3", "B4", "C3", "C4"],
    ["B1", "-B2", "A1", "-A2", "C1", "-C2"],
    ["-B3", "B4", "-A3", "A4", "-C3", "C4"],
    ["E1", "E2", "E1", "-E2", "F1", ""],
    ["", "E4", "", "E4", "", "F4"],
]


def parts(side: Side) -> list[list[int]]:
    """Which features are ln, lp, rn, rp, cn, cp."""
    joints, channels, negated = side
    result, start = [], 0
    for count in joints:
        item = [start + joint * channels + at for joint in range(count) for at in range(channels)]
        result += [[at for at in item if (at - start) % channels < negated],
                  [at for at in item if (at - start) % channels >= negated]]  # fmt: skip
        start += count * channels
    return result


def test_the_two_zeros_of_the_paper_are_free_here() -> None:
    """Row cp at ln and rn: equivariance asks for opposite numbers only; the rest of the table is all there is."""
    into, out = paper_layout(*IN), paper_layout(*OUT)
    layer = Linear(into, out).double()
    columns, rows = parts(IN), parts(OUT)
    for seed in range(3):
        torch.manual_seed(seed)
        layer.reset_parameters()
        weight = layer.dense()["weight"].detach()
        at = {f"{a}{b}": weight[np.ix_(rows[i], columns[j])] for i, a in enumerate(KINDS) for j, b in enumerate(KINDS)}
        assert float(at["cpln"].abs().min()) > 0 and torch.equal(at["cprn"], -at["cpln"])
        for i, row in enumerate(KINDS):
            for j, column in enumerate(KINDS):
                entry = TABLE[i][j]
                if entry:
                    first = next((r, c) for r in range(6) for c in range(6) if TABLE[r][c] == entry.lstrip("-"))
                    twin = at[KINDS[first[0]] + KINDS[first[1]]]
                    assert torch.equal(at[row + column], -twin if entry[0] == "-" else twin), (row, column)
                elif (row, column) not in (("cp", "ln"), ("cp", "rn")):
                    assert not at[row + column].any()
    missing = len(rows[5]) * len(columns[0])
    letters = {entry for line in TABLE for entry in line if entry and entry[0] != "-"}
    sizes = {TABLE[i][j]: len(rows[i]) * len(columns[j]) for i in range(6) for j in range(6) if TABLE[i][j] in letters}
    assert sum(sizes.values()) + missing == layer.weight_even.numel() + layer.weight_odd.numel()


KINDS = ("ln", "lp", "rn", "rp", "cn", "cp")


def test_layouts_of_the_paper() -> None:
    """1020 = 17 x 60 with 20 of 60 negated; 1040 = 13 x 80, 40 of 80."""
    lifting = negated_share((6, 6, 5), 1020, 1 / 3)
    assert (lifting.size, int((lifting.action.sign < 0).sum())) == (1020, 17 * 20)
    assert len(lifting.action.pairs) == 360
    assert int((negated_share((6, 6, 1), 1040, 0.5).action.sign < 0).sum()) == 13 * 40
    with pytest.raises(RepresentationSizeError):
        negated_share((6, 6, 5), 1024, 1 / 3)
    with pytest.raises(RepresentationSizeError):
        paper_layout((1, 1, 0), 1, 2)
