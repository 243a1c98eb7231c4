"""Pose lifters: 2D key points to 3D, frame by frame or over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.zoo.case import COCO, H36M, Case, Turn, both, negated, pose, swapped

_LIFT = "skeleton: h36m\n"


class Temporal(nn.Module):
    """Dilated convolutions over frames with batch norm and residuals."""

    def __init__(self, width: int = 24, strided: bool = False) -> None:
        super().__init__()
        self.strided = strided
        first, second = ({"stride": 3}, {"stride": 3}) if strided else ({}, {"dilation": 3})
        self.expand_conv = nn.Conv1d(34, width, 3, bias=False, **first)
        self.expand_bn = nn.BatchNorm1d(width)
        self.layers_conv = nn.ModuleList(
            [nn.Conv1d(width, width, 3, bias=False, **second), nn.Conv1d(width, width, 1, bias=False)]
        )
        self.layers_bn = nn.ModuleList([nn.BatchNorm1d(width), nn.BatchNorm1d(width)])
        self.shrink = nn.Conv1d(width, 51, 1)
        self.relu, self.drop = nn.ReLU(), nn.Dropout(0.25)

    def forward(self, x: Tensor) -> Tensor:
        assert len(x.shape) == 4
        batch, frames = x.shape[:2]
        x = x.reshape(batch, frames, -1).permute(0, 2, 1)  # batch (joint coord) frame
        x = self.drop(self.relu(self.expand_bn(self.expand_conv(x))))
        skip = x[:, :, 1::3] if self.strided else x[:, :, 3:-3]
        for conv, norm in zip(self.layers_conv, self.layers_bn, strict=True):
            x = self.drop(self.relu(norm(conv(x))))
        x = self.shrink(skip + x)  # batch (joint 3) frame
        return x.permute(0, 2, 1).reshape(batch, -1, 17, 3)


class Residual(nn.Module):
    """A residual MLP on flattened poses. norm: of its hidden layers."""

    def __init__(self, ins: int, outs: int, norm: type[nn.Module] = nn.LayerNorm, width: int = 20) -> None:
        super().__init__()
        self.first = nn.Linear(ins, width)
        self.blocks = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])
        self.norms = nn.ModuleList([norm(width), norm(width)])
        self.last = nn.Linear(width, outs)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.gelu(self.first(x))
        for block, norm in zip(self.blocks, self.norms, strict=True):
            h = h + functional.relu(block(norm(h)))
        return self.last(h)


class Flattened(nn.Module):
    """A network on `batch joint coord` around one on flat vectors."""

    def __init__(self, body: nn.Module, shape: tuple[int, ...] = (17, 3)) -> None:
        super().__init__()
        self.body, self.shape = body, shape

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.flatten(1)).unflatten(1, self.shape)


class Gated(nn.Module):
    """A GLU by `chunk`, and one by `functional.glu`; an odd number of hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(34, 2 * 15), nn.Linear(15, 2 * 15), nn.Linear(15, 51)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.a(x.flatten(1)).chunk(2, -1)
        return self.c(functional.glu(self.b(value * torch.sigmoid(gate)))).view(-1, 17, 3)


class Depthwise(nn.Module):
    """Grouped and depthwise convolutions over frames."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv1d(34, 16, 1)
        self.b = nn.Conv1d(16, 16, 3, padding=1, groups=16)
        self.c = nn.Conv1d(16, 16, 3, padding=1, groups=4, bias=False)
        self.bn, self.d = nn.BatchNorm1d(16), nn.Conv1d(16, 51, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.leaky_relu(self.b(self.a(x.flatten(2).transpose(1, 2))))
        x = torch.relu(self.bn(self.c(x)))
        return self.d(x).transpose(1, 2).unflatten(2, (17, 3))


class RootCentred(nn.Module):
    """Coordinates relative to the hip before the network, and the answer in the same way."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Residual(34, 51, nn.BatchNorm1d)

    def forward(self, x: Tensor) -> Tensor:
        x = x - x[:, :1]
        out = self.body(x.flatten(1)).view(-1, 17, 3)
        return out - out[:, 0:1, :]


class InPlace(nn.Module):
    """Writes through views before and after."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Residual(34, 51, nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        x[..., 0] *= 2
        x[:, 0] = 0
        x[:, 1:] -= x[:, :1]
        out = self.body(x.flatten(1)).view(-1, 17, 3)
        out[..., 2] += 1.5
        return out


class Confidence(nn.Module):
    """Coordinates and their confidence apart, joined inside; two answers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(51, 24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, 24), nn.SiLU())
        self.pose, self.sure = nn.Linear(24, 51), nn.Linear(24, 17)

    def forward(self, x: Tensor, c: Tensor) -> dict[str, Tensor]:
        h = self.body(torch.cat([x, c.unsqueeze(-1)], -1).flatten(1))
        return {"pose": self.pose(h).view(-1, 17, 3), "sure": torch.sigmoid(self.sure(h))}


class Parts(nn.Module):
    """Legs, trunk and arms (closed under the mirror each) embedded apart, then joined."""

    def __init__(self) -> None:
        super().__init__()
        self.legs, self.trunk, self.arms = nn.Linear(12, 8), nn.Linear(10, 6), nn.Linear(12, 8)
        self.body, self.head = nn.Linear(22, 18), nn.Linear(18, 51)

    def forward(self, x: Tensor) -> Tensor:
        trunk = x[:, [0, 7, 8, 9, 10]]
        found = [self.legs(x[:, 1:7].flatten(1)), self.trunk(trunk.flatten(1)), self.arms(x[:, 11:].flatten(1))]
        return self.head(torch.relu(self.body(torch.relu(torch.cat(found, 1))))).view(-1, 17, 3)


class Tanh(nn.Module):
    """Activations as modules, as functions, or both: the paper's layout replaces them by tanh."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.a, self.b, self.c = nn.Conv1d(34, width, 3), nn.Conv1d(width, width, 1), nn.Conv1d(width, 51, 1)
        self.bn = nn.BatchNorm1d(width)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x.flatten(2).transpose(1, 2))
        h = functional.relu(h) if self.kind == "function" else self.act(h)
        h = self.bn(self.b(h))
        h = self.act(h) if self.kind == "module" else torch.relu(h)
        return self.c(h).transpose(1, 2).unflatten(2, (17, 3))


def _flat_lifter(ins: int = 34, outs: int = 51) -> nn.Module:
    return nn.Sequential(
        nn.Linear(ins, 22),
        nn.BatchNorm1d(22),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(22, 21),
        nn.LeakyReLU(),
        nn.Linear(21, outs),
    )


def _coordinate_major(dims: int) -> Turn:
    """x...x y...y on the last axis."""

    def turn(x: Tensor) -> Tensor:
        grid = x.unflatten(-1, (dims, 17))
        return both(swapped(H36M, -1), negated([0], -2))(grid).flatten(-2)

    return turn


def _joint_major(dims: int) -> Turn:
    def turn(x: Tensor) -> Tensor:
        return pose()(x.unflatten(-1, (17, dims))).flatten(-2)

    return turn


_clip, _frame = torch.zeros(2, 9, 17, 2), torch.zeros(3, 17, 2)
_pose = (pose(),)
_paper = "hidden: {pairing: skeleton, negated: 1/3}\nactivation: tanh\n"

CASES = [
    Case("temporal", Temporal, _LIFT, (_clip,), _pose, _pose),
    Case("temporal strided", lambda: Temporal(23, True), _LIFT, (_clip,), _pose, _pose),
    Case("residual layer norm", lambda: Flattened(Residual(34, 51)), _LIFT, (_frame,), _pose, _pose),
    Case("gated, odd sizes", Gated, _LIFT, (_frame,), _pose, _pose),
    Case("grouped convolutions", Depthwise, _LIFT, (_clip,), _pose, _pose),
    Case("root centred", RootCentred, _LIFT, (_frame,), _pose, _pose),
    Case("writes in place", InPlace, _LIFT, (_frame,), _pose, _pose),
    Case("parts", Parts, _LIFT, (_frame,), _pose, _pose),
    Case(
        "confidence, two outputs", Confidence,
        _LIFT + "inputs: [{layout: b j d, dims: [x, y]}, {layout: b j, dims: [c], negate: []}]\n"
        "outputs: [{layout: b j d}, {layout: b j, dims: [c], negate: []}]\n",
        (_frame, torch.zeros(3, 17)), (pose(), swapped(H36M, -1)), (pose(), swapped(H36M, -1)),
    ),
    Case(
        "coco in, h36m out", lambda: Flattened(Residual(34, 51)),
        _LIFT + "inputs: [{layout: b j d, skeleton: coco, dims: [x, y]}]\noutputs: [{layout: b j d}]\n",
        (_frame,), (pose(COCO),), _pose,
    ),
    Case(
        "coordinate major", _flat_lifter,
        _LIFT + "inputs: [{layout: b (d j), dims: [x, y]}]\noutputs: [{layout: b (d j)}]\n",
        (torch.zeros(3, 34),), (_coordinate_major(2),), (_coordinate_major(3),),
    ),
    Case(
        "joint major", _flat_lifter,
        _LIFT + "inputs: [{layout: b (j d), dims: [x, y]}]\noutputs: [{layout: b (j d)}]\n",
        (torch.zeros(3, 34),), (_joint_major(2),), (_joint_major(3),),
    ),
    Case(
        "trajectory head", lambda: Flattened(_flat_lifter(34, 3), (1, 3)),
        _LIFT + "inputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d, joints: [hip]}]\n",
        (_frame,), _pose, (negated([0], -1),),
    ),
    Case("paper layout, 102", lambda: Tanh("module", 102), _LIFT + _paper, (_clip,), _pose, _pose),
    Case("paper layout, 104, mixed", lambda: Tanh("mixed", 104), _LIFT + _paper, (_clip,), _pose, _pose, refolds=False),
    Case("paper layout by depth", lambda: Tanh("function", 40),
         _LIFT + "hidden: {pairing: half, negated: [1/2, 0]}\nactivation: tanh\n",
         (_clip,), _pose, _pose, refolds=False),
    Case("paper layout by name", lambda: Tanh("module", 40),
         _LIFT + "hidden: {pairing: skeleton, negated: {'a*': 1/2, '*': 1/4}}\nactivation: tanh\n",
         (_clip,), _pose, _pose),
    Case("negated but kept", lambda: Tanh("module", 40),
         _LIFT + "hidden: {pairing: skeleton, negated: 1/3}\n", (_clip,), _pose, _pose),
]  # fmt: skip
