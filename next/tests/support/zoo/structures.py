"""Classifiers, and whatever else is odd about how networks are put together."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.zoo.case import Case, pose, same, swapped

_SPEC = "skeleton: h36m\n"


class Classifier(nn.Module):
    """Convolution over frames, mean over frames."""

    def __init__(self, classes: int = 6) -> None:
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv1d(34, 18, 3), nn.BatchNorm1d(18), nn.Linear(18, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.bn(self.conv(x.flatten(2).transpose(1, 2))))
        return torch.softmax(self.head(h.mean(-1)), -1)


class Graph(nn.Module):
    """Joints as an axis of their own, mixed by a symmetric adjacency."""

    def __init__(self, lopsided: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        edges = [(0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10), (8, 11), (11, 12),
                 (12, 13), (8, 14), (14, 15), (15, 16)]  # fmt: skip
        mix = torch.eye(17)
        for i, j in edges[1:] if lopsided else edges:
            mix[i, j] = mix[j, i] = 0.5
        self.register_buffer("mix", mix)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(torch.matmul(self.mix, self.a(x)))
        h = torch.relu(torch.matmul(self.mix, self.b(h)))
        return self.c(h + h.mean(1, keepdim=True))


class Twice(nn.Module):
    """One module called twice, and a weight that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared, self.other = nn.Linear(34, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.other.weight = self.shared.weight
        self.last = nn.Linear(16, 51)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x.flatten(1)))
        h = torch.relu(self.shared(torch.relu(self.shared(h))))
        return self.last(functional.silu(self.other(h))).view(-1, 17, 3)


class Tree(nn.Module):
    """A dict and a keyword in, a nested tuple out."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.score = nn.Linear(34 + 51 + 1, 20), nn.Linear(20, 51), nn.Linear(20, 2)

    def forward(self, batch: dict[str, Tensor], *, prior: Tensor, scale: float = 2.0) -> tuple[Tensor, list[Tensor]]:
        x = torch.cat([batch["pose"].flatten(1), prior.flatten(1), batch["time"]], 1)
        h = torch.relu(self.body(x))
        return self.head(h).view(-1, 17, 3) * scale, [self.score(h)]


class Constants(nn.Module):
    """Constants from numpy, plain tensor attributes, means over joints, bone vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.parents = [0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15]
        self.lengths = np.linspace(1.0, 2.0, 17)
        self.lengths[[4, 5, 6, 11, 12, 13]] = self.lengths[[1, 2, 3, 14, 15, 16]]
        self.unit = torch.tensor([2.0, 0.5])
        self.body, self.head = nn.Linear(34, 20), nn.Linear(20, 51)

    def forward(self, x: Tensor) -> Tensor:
        bones = (x - x[:, self.parents]) * torch.from_numpy(self.lengths).to(x.dtype)[None, :, None]
        bones = (bones - bones.mean((1,), keepdim=True)) * self.unit.to(x.dtype)
        h = torch.relu(self.body(bones.reshape(x.shape[0], -1)))
        return self.head(h).reshape(-1, 17, 3) / (1 + h.square().mean(-1, keepdim=True)).sqrt().unsqueeze(-1)


class Joints(nn.Module):
    """A token per joint: a learned embedding per joint, attention over joints written out."""

    def __init__(self) -> None:
        super().__init__()
        self.take, self.place = nn.Linear(2, 8), nn.Parameter(torch.zeros(1, 17, 8))
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.take(x)) + self.place
        weights = torch.softmax(self.q(h) @ self.k(h).transpose(1, 2) / 8**0.5, -1)
        return self.head(torch.relu(h + self.out(weights @ self.v(h))))


_clip, _frame = torch.zeros(2, 7, 17, 2), torch.zeros(3, 17, 2)
_T = (pose(),)
_NAMES = "[wave_left, wave_right, sit, kick_left, kick_right, bow]"

CASES = [
    Case("invariant classifier", Classifier,
         _SPEC + "inputs: [{layout: b t j d, dims: [x, y]}]\noutputs: [{invariant: true}]\n",
         (_clip,), _T, (same,)),
    Case("swapped classes", Classifier, _SPEC + "inputs: [{layout: b t j d, dims: [x, y]}]\noutputs:"
         " [{classes: {swap: [[wave_left, wave_right], [kick_left, kick_right]], names: " + _NAMES + "}}]\n",
         (_clip,), _T, (swapped([(0, 1), (3, 4)], -1),)),
    Case("graph", Graph, _SPEC, (_frame,), _T, _T),
    Case("shared and tied", Twice, _SPEC, (_frame,), _T, _T),
    Case("trees", Tree, _SPEC + "inputs: [{layout: b j d, dims: [x, y]}, {free: true}, {layout: b j d}]\n"
         "outputs: [{layout: b j d}, {classes: {swap: [[0, 1]]}}]\n",
         ({"pose": _frame, "time": torch.zeros(3, 1)},), (pose(), same, pose()), (pose(), swapped([(0, 1)], -1)),
         kwargs=(("prior", torch.zeros(3, 17, 3)),)),
    Case("constants", Constants, _SPEC, (_frame,), _T, _T),
    Case("attention over joints", Joints, _SPEC, (_frame,), _T, _T),
]  # fmt: skip
