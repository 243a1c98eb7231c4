"""One pass at half the width, inputs that confirm the mirror, states, several mirrors, layers."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import BY_NAME, H36M, ROBOT, Flat, perceptron
from conftest import Shell
from judge import (
    ROUNDING,
    Case,
    Turn,
    both,
    flip_average,
    gap,
    negate,
    pose,
    products,
    residual,
    rolled,
    scrambled,
    state_of,
    swap,
    tensors,
    unchanged,
)
from torch import Tensor, nn

import chiralize
from chiralize import nn as layers
from chiralize.errors import ChiralizeError

pytestmark = pytest.mark.theory
turn = pose(H36M)


@dataclass(frozen=True)
class Trained:
    """A lifter that was trained on mirrored copies too, unlabelled inputs, and poses of other bodies to judge on."""

    net: nn.Module
    inputs: Tensor
    test: Tensor
    target: Tensor

    def error(self, net: nn.Module) -> float:
        """Mean distance of joints."""
        with torch.no_grad():
            return float((net(self.test) - self.target).norm(dim=-1).mean())


def bodies(count: int, seed: int) -> Tensor:
    """Poses "sample joint (x, y, z)" of one stick figure: left is x > 0; limbs swing, the trunk leans and turns."""
    r = np.random.default_rng(seed)
    p = np.zeros((count, 17, 3))
    size = r.uniform(0.9, 1.1, (count, 1))

    def limb(start: np.ndarray, length: float, spread: float) -> np.ndarray:
        a, b = r.normal(0, spread, (2, count))
        step = np.stack([np.sin(a), np.cos(a) * np.sin(b), -np.cos(a) * np.cos(b)], 1)
        return start + length * size * step

    for hip, side in ((4, 1), (1, -1)):
        p[:, hip] = size * [0.12 * side, 0, 0]
        p[:, hip + 1] = limb(p[:, hip], 0.45, 0.5)
        p[:, hip + 2] = limb(p[:, hip + 1], 0.45, 0.4)
    lean = size * np.stack([r.normal(0, 0.08, count), r.normal(0, 0.1, count), np.full(count, 0.25)], 1)
    for joint, share in ((7, 1), (8, 2), (9, 2.4), (10, 2.9)):
        p[:, joint] = share * lean
    for shoulder, side in ((11, 1), (14, -1)):
        p[:, shoulder] = p[:, 8] + size * [0.17 * side, 0, 0]
        p[:, shoulder + 1] = limb(p[:, shoulder], 0.3, 0.7)
        p[:, shoulder + 2] = limb(p[:, shoulder + 1], 0.25, 0.7)
    yaw = r.normal(0, 0.5, count)
    c, s = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x, y = p[..., 0] * c - p[..., 1] * s, p[..., 0] * s + p[..., 1] * c
    return torch.from_numpy(np.stack([x, -p[..., 2], y], -1)).float()


@pytest.fixture(scope="session")
def trained() -> Trained:
    """Twice 96 hidden units with batch norm, some seconds of training on mirrored copies."""
    torch.manual_seed(1)
    net = Flat(perceptron(34, 96, 96, 51, norm=True))
    data = bodies(6000, 0)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 700)
    for _ in range(700):
        batch = data[torch.randint(len(data), (128,))]
        flip = torch.rand(128) < 0.5
        batch = torch.where(flip[:, None, None], turn(batch), batch)
        loss = (net(batch[..., :2]) - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    test = bodies(1000, 5)
    return Trained(net.eval(), bodies(3000, 3)[..., :2], test[..., :2], test)


@pytest.fixture(scope="session")
def reduced(trained: Trained) -> nn.Module:
    return chiralize.chiralize(trained.net, "h36m", trained.inputs[:2], method="reduce", calibration=trained.inputs)


@pytest.fixture(scope="module")
def fitted(trained: Trained) -> nn.Module:
    """By `match`, on a tensor of few inputs."""
    x = trained.inputs[:400]
    return chiralize.chiralize(trained.net, "h36m", x[:2], method="match", calibration=x)


def rho(trained: Trained, net: nn.Module) -> float:
    """The distance from the flip average, divided by the original's, on other bodies."""
    with torch.no_grad():
        ours = trained.net(trained.test)
        average = (ours + turn(trained.net(turn(trained.test)))) / 2
        return float((net(trained.test) - average).square().mean().sqrt() / (ours - average).square().mean().sqrt())


def test_reduce_keeps_the_error_in_one_pass(trained: Trained, reduced: nn.Module) -> None:
    before = trained.error(trained.net)
    assert before < 0.2, "the network has learnt something"
    assert trained.error(reduced) <= 1.02 * before
    assert products(reduced, trained.test) <= 1.05 * products(trained.net, trained.test)
    assert rho(trained, reduced) <= 0.8
    with torch.no_grad():
        found = reduced(trained.test)
        assert (turn(found) - reduced(turn(trained.test))).abs().max() <= 1e-5 * found.abs().max()
    assert chiralize.verify(reduced).passed


def test_auto_takes_one_pass(trained: Trained) -> None:
    before = state_of(trained.net)
    result = chiralize.chiralize(trained.net, "h36m", trained.inputs[:2], calibration=trained.inputs)
    assert unchanged(trained.net, before)
    assert products(result, trained.test) <= 1.6 * products(trained.net, trained.test)
    assert trained.error(result) <= 1.02 * trained.error(trained.net)


def test_match_with_inputs_is_better_than_without(trained: Trained, fitted: nn.Module) -> None:
    without = chiralize.chiralize(trained.net, "h36m", trained.inputs[:2], method="match")
    assert trained.error(fitted) < trained.error(without)
    assert type(fitted) is type(trained.net) and fitted.state_dict().keys() == trained.net.state_dict().keys()


@pytest.mark.parametrize("method", ["auto", "reduce", "average"])
def test_wrong_mirror_is_refused(trained: Trained, method: str) -> None:
    """Left arm for right leg: real inputs tell, whatever the method."""
    names = ["hip", "rh", "rk", "rf", "lh", "lk", "lf", "sp", "th", "no", "he", "ls", "le", "lw", "rs", "re", "rw"]
    pairs = [["lh", "rs"], ["lk", "re"], ["lf", "rw"], ["ls", "rh"], ["le", "rk"], ["lw", "rf"]]
    spec = {"joints": names, "pairs": pairs, "negate": ["x"]}
    with pytest.raises(ChiralizeError) as raised:
        chiralize.chiralize(trained.net, spec, trained.inputs[:2], method=method, calibration=trained.inputs)
    assert (raised.value.code, raised.value.exit_status) == ("CH404", 1)


@pytest.mark.parametrize("name", ["state passed", "state in a buffer"])
@pytest.mark.parametrize("method", ["match", "average"])
def test_states_over_200_steps(name: str, method: str) -> None:
    case = BY_NAME[name]
    result = chiralize.chiralize(case.model(), case.spec, case.inputs(), method=method)
    assert residual(result, case, steps=200, views=2 if method == "average" else 1) <= ROUNDING


# ---- several mirrors ----------------------------------------------------------------------------------------------
_NEGATED: dict[str, Any] = {name: [-1] for name in ("FL", "FR", "RL", "RR")}
K4 = {
    "joints": ["FL", "FR", "RL", "RR"],
    "dims": ["q"],
    "negate": [],
    "mirrors": {
        "left_right": {"pairs": [["FL", "FR"], ["RL", "RR"]], "signs": _NEGATED, "lateral": "y"},
        "front_back": {"pairs": [["FL", "RL"], ["FR", "RR"]], "lateral": "x"},
    },
    "inputs": [{"fields": [{"vector": "velocity"}, {"axial": "spin"}, {"joints": "q"}]}],
    "outputs": [{"fields": [{"joints": "action"}]}],
}
_LEGS = ((swap([(0, 1), (2, 3)], -1), True), (swap([(0, 2), (1, 3)], -1), False))


def _k4(axis: int, legs: Turn, negated: bool) -> tuple[Turn, Turn]:
    """T of observations and of actions, under the mirror of that axis."""
    joints = both(legs, negate(range(4), -1)) if negated else legs
    spin = [other for other in range(3) if other != axis]

    def seen(x: Tensor) -> Tensor:
        parts = [negate([axis], -1)(x[:, :3]), negate(spin, -1)(x[:, 3:6]), joints(x[:, 6:])]
        return torch.cat(parts, -1)

    return seen, joints


@pytest.mark.parametrize("method", ["match", "average"])
def test_two_mirrors(method: str) -> None:
    """The result commutes with both mirrors, so with their product."""
    net = scrambled(perceptron(10, 16, 12, 4, activation=nn.ELU).double())
    x = torch.randn(3, 10, dtype=torch.float64)
    result = chiralize.chiralize(net, K4, x, method=method)
    for axis, (legs, negated) in zip((1, 0), _LEGS, strict=True):
        seen, action = _k4(axis, legs, negated)
        case = Case("k4", lambda: net, K4, ((5, 10),), (seen,), (action,))
        assert residual(net, case) > 1e-3
        assert residual(result, case) <= ROUNDING
    assert chiralize.verify(result).passed


# ---- T, training and layers in the user's own code ---------------------------------------------------------------
def test_mirror_is_the_signed_permutation() -> None:
    mirror = chiralize.Mirror.of("h36m", input_shapes=[(1, 17, 2)], output_shapes=[(1, 17, 3)])
    x, y = torch.randn(8, 17, 2), torch.randn(8, 17, 3)
    assert torch.equal(mirror(x), turn(x)) and torch.equal(mirror.outputs(y), turn(y))
    assert torch.equal(mirror(mirror(x)), x)
    assert np.array_equal(mirror(x.numpy()), turn(x).numpy())
    robot = {"skeleton": ROBOT, "inputs": BY_NAME["policy"].spec["inputs"]}
    seen = torch.randn(4, 15)
    hand = BY_NAME["policy"].turns_in[0]
    assert hand is not None and torch.equal(chiralize.Mirror.of(robot, input_shapes=[(1, 15)])(seen), hand(seen))


def test_flip_test_is_the_average_by_hand() -> None:
    case = BY_NAME["temporal"]
    model = case.model()
    both_views = chiralize.flip_test(model, case.spec, case.inputs())
    steps = [case.inputs(100 + step) for step in range(2)]
    assert gap(rolled(both_views, case, steps), flip_average(model, case, 2)) <= ROUNDING


def test_keep_symmetric_under_training() -> None:
    """Dense weights leave the mirror in training, and stay on it where they are projected."""
    case = BY_NAME["perceptron"]
    result = chiralize.chiralize(case.model(), case.spec, case.inputs(), method="match")
    free, bound = copy.deepcopy(result), result
    for net in (free, bound):
        optimizer = torch.optim.SGD(net.parameters(), 0.05)
        if net is bound:
            chiralize.keep_symmetric(net, optimizer)
        for seed in range(3):
            x = case.inputs(seed)[0]
            (net(x) - torch.ones(3, 17, 3, dtype=torch.float64)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert residual(free, case) > 1e-4
    assert residual(bound, case) <= ROUNDING


HALF = swap([(0, 4), (1, 5), (2, 6), (3, 7)], -1)
SIX = swap([(0, 3), (1, 4), (2, 5)], -1)


def _space(size: int) -> Any:
    return layers.hidden(size)


LAYERS: dict[str, tuple[Any, tuple[int, ...], Turn, Turn]] = {
    "Linear": (lambda: layers.Linear(_space(8), _space(6)), (5, 8), HALF, SIX),
    "Conv1d": (
        lambda: layers.Conv1d(_space(8), _space(6), 3), (5, 8, 7),
        swap([(i, i + 4) for i in range(4)], 1), swap([(i, i + 3) for i in range(3)], 1),
    ),
    "BatchNorm1d": (lambda: layers.BatchNorm1d(_space(8)), (5, 8), HALF, HALF),
    "LayerNorm": (lambda: layers.LayerNorm(_space(8)), (5, 8), HALF, HALF),
    "LSTM": (lambda: layers.LSTM(_space(8), _space(6)), (5, 2, 8), HALF, SIX),
    "GRU": (lambda: layers.GRU(_space(8), _space(6)), (5, 2, 8), HALF, SIX),
    "MultiheadAttention": (lambda: layers.MultiheadAttention(_space(8), 2), (5, 2, 8), HALF, HALF),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_commute_whatever_their_weights(name: str) -> None:
    build, shape, turn_in, turn_out = LAYERS[name]
    layer = scrambled(build().double(), 3)
    x = torch.randn(shape, dtype=torch.float64)

    def run(value: Tensor) -> Tensor:
        with torch.no_grad():
            return tensors(layer(value, value, value) if "Attention" in name else layer(value))[0]

    assert run(x).abs().max() > 1e-2
    assert (run(turn_in(x)) - turn_out(run(x))).abs().max() <= ROUNDING


def test_blocks_multiply_half(trained: Trained) -> None:
    """The form of blocks: half the products of wide layers, the same answers as dense weights."""
    folded = chiralize.chiralize(trained.net, "h36m", trained.inputs[:2], method="match", form="folded")
    blocks = chiralize.chiralize(trained.net, "h36m", trained.inputs[:2], method="match", form="blocks")
    with torch.no_grad():
        first, second = folded(trained.test), blocks(trained.test)
    assert (first - second).abs().max() <= 1e-4 * first.abs().max()
    assert products(blocks, trained.test) <= 0.6 * products(folded, trained.test)


@pytest.mark.parametrize("name", ["hostile.npy", "hostile.npz"])
def test_hostile_calibration_runs_nothing(shell: Shell, name: str) -> None:
    result = shell(f"convert good.pt2 --skeleton lifter.yaml --method match --calibration {name} -o out.pt2")
    assert result.status == 2 and any(code in result.err for code in ("CH202", "CH204"))
    assert not Path("was_run").exists() and not Path("out.pt2").exists()
