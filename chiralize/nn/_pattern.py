"""The sharing pattern of a chiral matrix, the paper's and ours, read off the layers: `python -m chiralize.nn._pattern`.

One joint on the left, one on the right, one in the middle, each with a channel that the mirror negates (n) and one
that it leaves alone (p). Equal numbers get one name, so that the table shows which entries share a parameter:

    out \\ in   ln    lp    rn    rp          what the left gives to the left, the right gives to the right,
    ln          A1    A2    B1    B2          with a minus between a negated channel and one that is not
    rn          B1    −B2   A1    −A2

A test compares the table with the one in docs/layers.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from chiralize.nn.linear import Linear
from chiralize.nn.official import official_weights
from chiralize.nn.paper import paper_layout

Matrix = npt.NDArray[np.float64]
NAMES = ("ln", "lp", "rn", "rp", "cn", "cp")
_JOINTS = (1, 1, 1)
_LETTERS = {"ll": "A", "lr": "B", "lc": "C", "cl": "E", "cc": "F"}
_NUMBERS = {"nn": "1", "np": "2", "pn": "3", "pp": "4"}
_COORDINATES = (("even", ("p", "n", "cp")), ("odd", ("p", "n", "cn")))


def paper() -> tuple[Matrix, Matrix]:
    """Weight and bias of a published layer, with a different number for every parameter."""
    shapes = {"w1": (2, 2), "w2": (2, 2), "w3": (2, 2), "w4": (2, 2), "w5": (2, 2), "b1": (2,), "b2": (2,)}
    state = {name: _numbered(shape, seed) for seed, (name, shape) in enumerate(shapes.items())}
    weights = official_weights(state, (_JOINTS, _JOINTS), (1, 1))
    return weights["weight"].numpy(), weights["bias"].numpy()


def ours() -> tuple[Matrix, Matrix]:
    """Weight and bias of our layer, with a different number for every parameter."""
    layer = _layer()
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters()):
            parameter.copy_(_numbered(tuple(parameter.shape), seed))
        weights = layer.dense()
    return weights["weight"].numpy(), weights["bias"].numpy()


def labels(weight: Matrix, bias: Matrix) -> list[list[str]]:
    """A name for every number that occurs, with its sign; an entry that is zero is 0. The bias is the last column."""
    first: dict[float, tuple[str, float]] = {}
    rows = []
    for row, numbers, term in zip(NAMES, weight, bias, strict=True):
        line = []
        # The bias counts as a further column without a name.
        for column, number in zip((*NAMES, ""), (*numbers, term), strict=True):
            key = round(abs(float(number)), 9)  # sums of the same parameters may differ in their last digits
            if key not in first:
                first[key] = "0" if not key else _name(row, column), float(number)
            name, start = first[key]
            line.append(name if not key or start * number > 0 else f"−{name}")
        rows.append(line)
    return rows


def formulas() -> list[tuple[str, str]]:
    """(name, sum) of every entry of ours, as a sum of entries of the two blocks.

    Each entry of a block is set to 1 alone; where the dense weight is not zero then, this entry takes part.
    """
    layer = _layer()
    terms: dict[tuple[int, int], list[tuple[float, str]]] = {}
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        for block, (parity, names) in zip((layer.weight_even, layer.weight_odd), _COORDINATES, strict=True):
            for i, j in np.ndindex(*block.shape):
                block[i, j] = 1.0
                weight = layer.dense()["weight"].numpy()
                for entry in zip(*np.nonzero(weight), strict=True):
                    text = f"{parity}[{names[i]}, {names[j]}]"
                    terms.setdefault(entry, []).append((float(weight[entry]), text))
                block[i, j] = 0.0
    # Equal entries have one name; each is written once, by its first entry without a minus.
    table = labels(*ours())
    sums = {table[i][j]: _sum(terms[i, j]) for i, j in sorted(terms) if table[i][j][0] != "−"}
    first: dict[str, str] = {}
    for i, j in sorted(terms):
        first.setdefault(table[i][j].lstrip("−"), sums[table[i][j].lstrip("−")])
    return sorted(first.items())


def markdown() -> str:
    """The two patterns side by side, and the sums that ours is made of."""
    published, rows_of_ours = labels(*paper()), labels(*ours())
    lines = ["| out \\ in | " + " | ".join((*NAMES, "bias")) + " |", "|---" * (len(NAMES) + 2) + "|"]
    for name, row, row_of_ours in zip(NAMES, published, rows_of_ours, strict=True):
        cells = list[str]()
        for theirs, our in zip(row, row_of_ours, strict=True):
            cells.append(theirs if theirs == our else f"**{theirs} → {our}**")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| entry | from the blocks |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in formulas()]
    return "\n".join(lines) + "\n"


def _layer() -> Linear:
    """Our layer between two axes of the paper's order."""
    layout = paper_layout(_JOINTS, 2, 1)
    return Linear(layout, layout).double()


def _numbered(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Positive numbers of which no two, and no sums or differences of two, are equal."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def _name(row: str, column: str) -> str:
    """The name of an entry: a letter for the two sides, a number for the two kinds of channels; of a bias b1 to b4."""
    if not column:
        return {"ln": "b1", "lp": "b2"}.get(row, "b4")
    return _LETTERS[row[0] + column[0]] + _NUMBERS[row[1] + column[1]]


def _sum(terms: list[tuple[float, str]]) -> str:
    """A sum as text: every factor is 1/2, 1 or the root of 1/2."""
    shown = {0.5: "½ ", 1.0: "", round(0.5**0.5, 9): "√½ "}
    parts = list[str]()
    for value, text in terms:
        parts += ["−" if value < 0 else "+", shown[round(abs(value), 9)] + text]
    return " ".join(parts).removeprefix("+ ")


if __name__ == "__main__":
    print(markdown(), end="")
