"""The zoo: small networks on bodies, each with its specification, and T written out beside it."""

from __future__ import annotations

import torch
from judge import Case, Turn, both, negate, parts, pose, same, swap
from torch import Tensor, nn
from torch.nn import functional

# Left and right joints from the definitions of the data sets, by index.
H36M = [(4, 1), (5, 2), (6, 3), (11, 14), (12, 15), (13, 16)]
COCO = [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)]
NTU = [(4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19), (21, 23), (22, 24)]
SMPL = [(1, 2), (4, 5), (7, 8), (10, 11), (13, 14), (16, 17), (18, 19), (20, 21), (22, 23)]
EDGES = [(0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10)]
EDGES += [(8, 11), (11, 12), (12, 13), (8, 14), (14, 15), (15, 16)]

# A robot of six joints with one angle each: hips roll the other way on the other side, so does the waist.
ROBOT = {
    "joints": ["l_hip", "l_knee", "r_hip", "r_knee", "waist", "neck"],
    "pairs": [["l_hip", "r_hip"], ["l_knee", "r_knee"]],
    "dims": ["q"],
    "negate": [],
    "signs": {"l_hip": [-1], "r_hip": [-1], "waist": [-1]},
    "lateral": "y",
}
legs: Turn = both(swap([(0, 2), (1, 3)], -1), negate([0, 2, 4], -1))


class Flat(nn.Module):
    """A network on flat vectors, around which poses are flattened."""

    def __init__(self, body: nn.Module, shape: tuple[int, ...] = (17, 3)) -> None:
        super().__init__()
        self.body, self.shape = body, shape

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.flatten(1)).unflatten(1, self.shape)


def perceptron(*sizes: int, activation: type[nn.Module] = nn.ReLU, norm: bool = False) -> nn.Sequential:
    """Linear layers with an activation between them, and batch norms before these."""
    layers: list[nn.Module] = []
    for ins, outs in zip(sizes[:-2], sizes[1:-1], strict=True):
        layers += [nn.Linear(ins, outs), *([nn.BatchNorm1d(outs)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:]))


class Temporal(nn.Module):
    """Dilated convolutions over frames with batch norm, dropout and a residual, as VideoPose3D has them."""

    def __init__(self, width: int = 22) -> None:
        super().__init__()
        self.expand_conv, self.expand_bn = nn.Conv1d(34, width, 3, bias=False), nn.BatchNorm1d(width)
        self.wide, self.wide_bn = nn.Conv1d(width, width, 3, dilation=3, bias=False), nn.BatchNorm1d(width)
        self.narrow, self.narrow_bn = nn.Conv1d(width, width, 1, bias=False), nn.BatchNorm1d(width)
        self.shrink, self.drop = nn.Conv1d(width, 51, 1), nn.Dropout(0.25)

    def forward(self, x: Tensor) -> Tensor:
        batch, frames = x.shape[:2]
        x = x.view(batch, frames, -1).permute(0, 2, 1)  # batch (joint coord) frame
        x = self.drop(torch.relu(self.expand_bn(self.expand_conv(x))))
        skip = x[:, :, 3:-3]
        x = self.drop(torch.relu(self.wide_bn(self.wide(x))))
        x = skip + self.drop(torch.relu(self.narrow_bn(self.narrow(x))))
        return self.shrink(x).permute(0, 2, 1).reshape(batch, -1, 17, 3)


class Graph(nn.Module):
    """Joints as an axis of their own, mixed by the body's adjacency. edges: those that are drawn."""

    def __init__(self, edges: list[tuple[int, int]] = EDGES) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        mix = torch.eye(17)
        for i, j in edges:
            mix[i, j] = mix[j, i] = 0.5
        self.register_buffer("adjacency", mix)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.adjacency @ self.first(x))
        h = torch.relu(self.adjacency @ self.second(h))
        return self.last(h + h.mean(1, keepdim=True))


class Transformer(nn.Module):
    """Frames as tokens: positions, one block of attention with layer norms, a GELU."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.take, self.positions = nn.Linear(34, width), nn.Parameter(torch.zeros(1, 5, width))
        self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 2, batch_first=True)
        self.second, self.mlp = nn.LayerNorm(width), perceptron(width, 20, width, activation=nn.GELU)
        self.give = nn.Linear(width, 51)

    def forward(self, x: Tensor) -> Tensor:
        h = self.take(x.flatten(2)) + self.positions
        q = self.norm(h)
        h = h + self.attention(q, q, q, need_weights=False)[0]
        return self.give(h + self.mlp(self.second(h))).unflatten(2, (17, 3))


class Mixer(nn.Module):
    """Perceptrons along the joints and along the channels in turn."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        self.take, self.give = nn.Linear(2, width), nn.Linear(width, 3)
        self.along_joints = perceptron(17, 12, 17, activation=nn.GELU)
        self.along_channels = perceptron(width, 14, width, activation=nn.GELU)

    def forward(self, x: Tensor) -> Tensor:
        h = self.take(x)
        h = h + self.along_joints(h.transpose(1, 2)).transpose(1, 2)
        return self.give(h + self.along_channels(h))


class Passing(nn.Module):
    """A policy whose LSTM state comes in and goes out."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(15, 10), nn.Linear(10, 6)

    def forward(self, seen: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h, c = self.cell(seen, (h, c))
        return self.head(h), h, c


class Remembering(nn.Module):
    """A policy whose GRU state stays in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(15, 12), nn.Linear(12, 6)
        self.register_buffer("memory", torch.zeros(1, 12))

    def forward(self, seen: Tensor) -> Tensor:
        self.memory[:] = self.cell(seen, self.memory)
        return self.head(self.memory)


class Forecaster(nn.Module):
    """A GRU reads frames; the answer is the last frame and what is added to it, three frames on."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.GRU(51, 12, batch_first=True), nn.Linear(12, 3 * 51)

    def forward(self, x: Tensor) -> Tensor:
        _, state = self.encoder(x.flatten(2))
        return x[:, -1:] + self.head(state[0]).unflatten(1, (3, 17, 3))


class Recogniser(nn.Module):
    """Clips "sample coordinate frame joint person" to scores; joints are mixed by an adjacency."""

    def __init__(self, classes: int = 6) -> None:
        super().__init__()
        self.norm, self.first = nn.BatchNorm1d(17 * 3), nn.Conv2d(3, 8, 1)
        self.along, self.head = nn.Conv2d(8, 8, (3, 1), padding=(1, 0)), nn.Linear(8, classes)
        self.register_buffer("adjacency", Graph().adjacency)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, v, m = x.shape
        x = self.norm(x.permute(0, 4, 3, 1, 2).reshape(n * m, v * c, t))
        x = x.view(n * m, v, c, t).permute(0, 2, 3, 1)
        h = torch.relu(torch.einsum("nctv,vw->nctw", self.first(x), self.adjacency))
        h = torch.relu(self.along(h)).mean((2, 3)).view(n, m, -1).mean(1)
        return self.head(h)


class Branches(nn.Module):
    """Coordinates and their confidence take two ways, meet, and are answered twice."""

    def __init__(self) -> None:
        super().__init__()
        self.where, self.sure = nn.Linear(34, 14), nn.Linear(17, 9)
        self.body = nn.Linear(23, 20)
        self.pose, self.score = nn.Linear(20, 51), nn.Linear(20, 17)

    def forward(self, x: Tensor, c: Tensor) -> dict[str, Tensor]:
        ways = [torch.relu(self.where(x.flatten(1))), functional.silu(self.sure(c))]
        h = torch.relu(self.body(torch.cat(ways, 1)))
        return {"pose": self.pose(h).view(-1, 17, 3), "score": torch.sigmoid(self.score(h))}


_SEEN = parts((3, negate([1], -1)), (3, negate([0, 2], -1)), (3, negate([1, 2], -1)), (6, legs))
_FIELDS = [{"vector": "velocity"}, {"axial": "spin"}, {"signs": [1, -1, -1], "name": "command"}, {"joints": "q"}]
_POLICY = {"skeleton": ROBOT, "inputs": [{"fields": _FIELDS}], "outputs": [{"fields": [{"joints": "action"}]}]}
_PASSING = {
    "skeleton": ROBOT,
    "inputs": [{"fields": _FIELDS}, {"state": True}, {"state": True}],
    "outputs": [{"fields": [{"joints": "action"}]}, {"state": True}, {"state": True}],
}
_CLIP = {"skeleton": "h36m", "inputs": [{"layout": "b d t j m"}]}
_SWAPPED = {"swap": [["wave_left", "wave_right"], [3, 5]], "names": ["wave_left", "wave_right", "sit", "a", "b", "c"]}
_PIXELS = {
    "skeleton": "h36m",
    "inputs": [{"layout": "b j d", "dims": ["x", "y"], "reflect": {"x": 320}}],
    "outputs": [{"layout": "b j d"}],
}
_COCO = {"layout": "b j d", "skeleton": "coco", "dims": ["x", "y"]}
_SURE = {"layout": "b j", "dims": ["c"], "negate": []}
_body = {"skeleton": "h36m"}
_T = (pose(H36M),)
_frame, _frames = ((3, 17, 2),), ((2, 9, 17, 2),)


def _about_320(x: Tensor) -> Tensor:
    """T of pixels: x is mirrored at 320."""
    centre = torch.tensor([320.0, 0.0], dtype=x.dtype)
    return pose(H36M)(x - centre) + centre


CASES = [
    Case("linear", lambda: Flat(nn.Linear(34, 51)), _body, _frame, _T, _T),
    Case("perceptron", lambda: Flat(perceptron(34, 24, 21, 51, norm=True)), _body, _frame, _T, _T),
    Case("temporal", Temporal, _body, _frames, _T, _T),
    Case("graph", Graph, _body, _frame, _T, _T),
    Case("transformer", Transformer, _body, ((2, 5, 17, 2),), _T, _T),
    Case("mixer", Mixer, _body, _frame, _T, _T),
    Case("state passed", Passing, _PASSING, ((2, 15), (2, 10), (2, 10)), (_SEEN, None, None), (legs, None, None)),
    Case("state in a buffer", Remembering, _POLICY, ((1, 15),), (_SEEN,), (legs,), remembers=True),
    Case("invariant", Recogniser, {**_CLIP, "outputs": [{"invariant": True}]}, ((2, 3, 6, 17, 2),),
         (pose(H36M, 3, 1),), (same,)),
    Case("classes", Recogniser, {**_CLIP, "outputs": [{"classes": _SWAPPED}]}, ((2, 3, 6, 17, 2),),
         (pose(H36M, 3, 1),), (swap([(0, 1), (3, 5)], -1),), methods=("match", "average")),
    Case("forecaster", Forecaster, {**_body, "inputs": [{"layout": "b t j d"}], "outputs": [{"layout": "b t j d"}]},
         ((2, 6, 17, 3),), _T, _T),
    Case("policy", lambda: perceptron(15, 20, 16, 6, activation=nn.Tanh), {**_POLICY, "hidden": {"negated": 0.5}},
         ((4, 15),), (_SEEN,), (legs,)),
    Case("two branches", Branches,
         {**_body, "inputs": [{"layout": "b j d", "dims": ["x", "y"]}, _SURE], "outputs": [{"layout": "b j d"}, _SURE]},
         ((3, 17, 2), (3, 17)), (pose(H36M), swap(H36M, -1)), (pose(H36M), swap(H36M, -1))),
    Case("coco to h36m", lambda: Flat(perceptron(34, 21, 51, activation=nn.ELU)),
         {**_body, "inputs": [_COCO], "outputs": [{"layout": "b j d"}]}, _frame, (pose(COCO),), _T),
    Case("pixels", lambda: Flat(perceptron(34, 20, 51, norm=True)), _PIXELS, _frame, (_about_320,), _T),
]  # fmt: skip
BY_NAME = {case.name: case for case in CASES}
