"""The paper's layout, its published layers, and its sharing pattern beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import RepresentationSizeError, UsageError
from chiralize.nn import GRU, LSTM, BatchNorm1d, Conv1d, Linear, negated_share, official_weights, paper_layout
from tests.support.chiral_oracle import noise, turn

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
BIAS = ["b1", "b2", "-b1", "b2", "", "b4"]


def parts(side: Side) -> list[list[int]]:
    """Which features are ln, lp, rn, rp, cn, cp."""
    joints, channels, negated = side
    found, start = [], 0
    for count in joints:
        own = [start + joint * channels + at for joint in range(count) for at in range(channels)]
        found += [[at for at in own if (at - start) % channels < negated],
                  [at for at in own if (at - start) % channels >= negated]]  # fmt: skip
        start += count * channels
    return found


def written(into: Side, out: Side, taps: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """A dense weight and bias with the table's pattern, block by block; letters drawn once each."""
    columns, rows = parts(into), parts(out)
    weight = torch.zeros(sum(map(len, rows)), sum(map(len, columns)), *taps, dtype=torch.float64)
    bias = torch.zeros(len(weight), dtype=torch.float64)
    drawn: dict[str, Tensor] = {}
    for own, line, term in zip(rows, TABLE, BIAS, strict=True):
        for columns_of, entry in zip(columns, line, strict=True):
            if entry:
                shape = len(own), len(columns_of), *taps
                block = drawn.setdefault(entry.lstrip("-"), noise(*shape, seed=seed + len(drawn)))
                weight[np.ix_(own, columns_of)] = -block if entry[0] == "-" else block
        if term:
            vector = drawn.setdefault(term.lstrip("-"), noise(len(own), seed=seed + 50 + len(drawn)))
            bias[own] = -vector if term[0] == "-" else vector
    return weight, bias


def published(weight: Tensor, bias: Tensor | None, into: Side, out: Side) -> dict[str, Tensor]:
    """The parameters of the published layer that has this dense weight: its first rows and its centre's."""
    ins, outs = (np.cumsum([count * side[1] for count in side[0]]) for side in (into, out))
    state = {
        "w1": weight[: outs[0], : ins[0]], "w2": weight[: outs[0], ins[0] : ins[1]], "w3": weight[: outs[0], ins[1] :],
        "w4": hiding(weight[outs[1] :, : ins[0]]), "w5": hiding(weight[outs[1] :, ins[1] :]),
    }  # fmt: skip
    if bias is not None:
        state |= {"b1": bias[: outs[0]], "b2": hiding(bias[outs[1] :])}
    return state


def hiding(own: Tensor) -> Tensor:
    """Numbers where the layer's mask makes zeros."""
    return torch.where(own == 0, 1.0, own)


def layouts() -> tuple[Any, Any]:
    return paper_layout(*IN), paper_layout(*OUT)


@pytest.mark.parametrize("taps", [(), (3,)], ids=["linear", "conv1d"])
def test_published_layers(taps: tuple[int, ...]) -> None:
    """Parameters of the published layer, loaded strictly, give the table's dense layer."""
    weight, bias = written(IN, OUT, taps)
    into, out = layouts()
    layer: Any = Conv1d(into, out, 3).double() if taps else Linear(into, out).double()
    found = official_weights(published(weight, bias, IN, OUT), (IN[0], OUT[0]), (IN[2], OUT[2]))
    assert torch.equal(found["weight"], weight) and torch.equal(found["bias"], bias)
    layer.load_state_dict(found, strict=True)
    theirs = nn.Conv1d(into.size, out.size, 3).double() if taps else nn.Linear(into.size, out.size).double()
    theirs.load_state_dict({"weight": weight, "bias": bias})
    x = noise(4, into.size, *([7] if taps else []))
    torch.testing.assert_close(layer(x), theirs(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_published_recurrent_layers(kind: str) -> None:
    """i, f, g, o and r, z, n: the candidate alone carries signs, as in the table with D_n of the output empty."""
    joints, channels, negated = OUT
    gates = 4 if kind == "LSTM" else 3
    space = paper_layout(*OUT)
    state: dict[str, Tensor] = {}
    for place, side in (("ih", IN), ("hh", OUT)):
        made, terms = [], []
        for gate in range(gates):
            own: Side = (joints, channels, negated if gate == 2 else 0)
            weight, bias = written(side, own, (), seed=100 * gate + 10 * (place == "hh"))
            made.append(published(weight, bias, side, own)), terms.append((weight, bias))
        stacked = {name: torch.cat([part[name] for part in made]) for name in made[0]}
        found = official_weights(stacked, (side[0], joints), (side[2], negated), gates)
        assert torch.equal(found["weight"], torch.cat([weight for weight, _ in terms]))
        assert torch.equal(found["bias"], torch.cat([bias for _, bias in terms]))
        state |= {f"weight_{place}_l0": found["weight"], f"bias_{place}_l0": found["bias"]}
    into = paper_layout(*IN)
    layer: Any = (LSTM if kind == "LSTM" else GRU)(into, space).double()
    layer.load_state_dict(state, strict=True)
    theirs: Any = (nn.LSTM if kind == "LSTM" else nn.GRU)(into.size, space.size).double()
    theirs.load_state_dict(state)
    x = noise(5, 2, into.size)
    torch.testing.assert_close(layer(x)[0], theirs(x)[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(theirs(turn(x, into.action))[0], turn(theirs(x)[0], space.action), rtol=0, atol=1e-9)


def released_gru(side: Side, layers: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state of the release's module by its names, and what torch's GRU of the same numbers has."""
    joints, channels, negated = side
    theirs, dense = dict[str, Tensor](), dict[str, Tensor]()
    for layer in range(layers):
        for place, word in enumerate(("ih", "hh")):
            weights, biases = list[Tensor](), list[Tensor]()
            for gate in range(3):
                own: Side = (joints, channels, negated if gate == 2 else 0)
                weight, bias = written(side, own, (), seed=1000 * layer + 100 * gate + 10 * place)
                for name, part in published(weight, bias, side, own).items():
                    theirs[f"layer_linears.{layer}.{place}.{gate}.{name}"] = part
                weights.append(weight), biases.append(bias)
            dense |= {f"weight_{word}_l{layer}": torch.cat(weights), f"bias_{word}_l{layer}": torch.cat(biases)}
    return theirs, dense


def test_a_whole_recurrent_module() -> None:
    """Every layer of a GRU under torch's names; the LSTM of the release is none, and is refused with the reason."""
    theirs, dense = released_gru(OUT, 2)
    found = official_weights(theirs, (OUT[0], OUT[0]), (OUT[2], OUT[2]))
    assert list(found) == sorted(dense, key=lambda name: (name[-1], "hh" in name, "bias" in name))
    assert all(torch.equal(found[name], dense[name]) for name in dense)
    with pytest.raises(UsageError, match="reads its state with the joints and the negated channels of its input"):
        official_weights(theirs, (IN[0], OUT[0]), (IN[2], OUT[2]))
    fourth = {name.replace(".2.w", ".3.w"): part for name, part in theirs.items() if ".2." in name}
    with pytest.raises(UsageError, match="overwrites its state and its answer with the cell candidate"):
        official_weights({**theirs, **fourth}, (OUT[0], OUT[0]), (OUT[2], OUT[2]))


def test_a_batch_norm_of_the_release() -> None:
    """Its numbers by kind of feature, in the order of the features: gamma, and T of beta and of the mean."""
    negated = OUT[2]
    kinds = parts(OUT)
    state, expected = dict[str, Tensor](), dict[str, Tensor]()
    names = {"weight": "bn_{}_w{}", "bias": "bn_{}_b{}", "running_mean": "running_mean_{}{}",
             "running_var": "running_var_{}{}"}  # fmt: skip
    for seed, (name, pattern) in enumerate(names.items()):
        even, whole = name in ("weight", "running_var"), torch.zeros(15, dtype=torch.float64)
        for kind, at in (("neg", 0), ("pos", 1)):
            sides, middle = (
                noise(len(kinds[at]), seed=10 * seed + at),
                noise(len(kinds[4 + at]), seed=10 * seed + 5 + at),
            )
            state |= {pattern.format(kind, 1): sides, pattern.format(kind, 2): middle}
            whole[kinds[at]] = sides
            whole[kinds[2 + at]] = sides if even or kind == "pos" else -sides
            whole[kinds[4 + at]] = middle if even or kind == "pos" else 0 * middle
        expected[name] = whole
    state["num_batches_tracked"] = torch.tensor(3)
    found = official_weights(state, (OUT[0], OUT[0]), (negated, negated))
    assert found.pop("num_batches_tracked") == 3 and list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    BatchNorm1d(paper_layout(*OUT)).double().load_state_dict({**found, "num_batches_tracked": torch.tensor(3)})
    with pytest.raises(UsageError, match="negated and . other channels for 2 joints"):
        official_weights(state, (OUT[0], OUT[0]), (1, 1))
    del state["bn_neg_w2"]
    with pytest.raises(UsageError, match="weight has no part neg2"):
        official_weights(state, (OUT[0], OUT[0]), (negated, negated))


def test_the_two_zeros_of_the_paper_are_free_here() -> None:
    """Row cp at ln and rn: equivariance asks for opposite numbers only; the rest of the table is all there is."""
    into, out = layouts()
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
    with pytest.raises(RepresentationSizeError, match="1024 channels for 17 joints"):
        negated_share((6, 6, 5), 1024, 1 / 3)
    with pytest.raises(RepresentationSizeError, match="2 of 1 channels negated"):
        paper_layout((1, 1, 0), 1, 2)


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="missing w2, w3, w4, w5"):
        official_weights({"w1": torch.ones(2, 2)}, (IN[0], OUT[0]), (0, 0))
    weight, bias = written(IN, OUT, ())
    with pytest.raises(UsageError, match="28 features for 5 joints"):
        official_weights(published(weight, bias, IN, OUT), ((2, 2, 1), OUT[0]), (0, 0))
    masked = published(weight, bias, IN, OUT) | {"weight_mask": weight.sign()}
    with pytest.raises(UsageError, match="weight_mask has other signs"):
        official_weights(masked, (IN[0], OUT[0]), (IN[2], OUT[2]))


def numbered_norm(joints: tuple[int, int, int], turned: int, plain: int) -> dict[str, Tensor]:
    """The state of the release's batch norm: gamma counts from 100, beta from 200, and so on, in every part."""
    state = dict[str, Tensor]()
    for kind, name in enumerate(("bn_{}_w{}", "bn_{}_b{}", "running_mean_{}{}", "running_var_{}{}")):
        for part, channels in (("neg", turned), ("pos", plain)):
            for side, count in ((1, joints[0]), (2, joints[2])):
                state[name.format(part, side)] = torch.arange(count * channels) + 100.0 * (kind + 1)
    return state


def test_a_batch_norm_in_the_order_of_the_release() -> None:
    """As the authors' module answers: of 34 features the last has the first number of the middle's plain channels."""
    joints = 6, 6, 5
    found = official_weights(numbered_norm(joints, 1, 1), (joints, joints), (1, 1))
    assert found["weight"][[33, 25, 27, 29, 31]].tolist() == [100, 101, 102, 103, 104]
    assert found["weight"][1:12:2].tolist() == found["weight"][13:24:2].tolist() == list(range(100, 106))
    assert found["running_mean"][24::2].tolist() == [0] * 5
    joints = 6, 6, 1
    with pytest.raises(UsageError, match="a left and a right feature that are no partners"):
        official_weights(numbered_norm(joints, 21, 22), (joints, joints), (21, 21))
