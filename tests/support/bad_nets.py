"""Networks and factories that cannot be converted, as the text of a user's module."""

NETS = """
import torch
import torch.nn.functional as F
from torch import nn

number = 3


def list_of_layers():
    return [nn.Linear(1, 1)]


def broken(size=3):
    raise RuntimeError("no luck today")


def chatty():
    print("hello from the factory")
    return Linear()


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(10, 10)

    def forward(self, x):
        return self.fc(x.flatten(1)).unflatten(1, (5, 2))


class UnknownOp(Linear):
    def forward(self, x):
        y = self.fc(x.flatten(1))
        return torch.linalg.matrix_exp(y[:, :, None] * y[:, None, :]).sum(-1).unflatten(1, (5, 2))


class DataDependent(Linear):
    def forward(self, x):
        y = super().forward(x)
        return y if y.sum() > 0 else 3 * y + 1


class Fails(Linear):
    def forward(self, x):
        raise ValueError("this network never runs")


def leaving():
    raise SystemExit(0)


class Leaves(Linear):
    def forward(self, x):
        raise SystemExit(0)


class LeavesLater(Linear):
    calls = 0

    def forward(self, x):
        LeavesLater.calls += 1
        if LeavesLater.calls > 3:
            raise SystemExit(0)
        return super().forward(x)


class Words(Linear):
    def forward(self, x):
        return "done"


class Roots(Linear):
    def forward(self, x):
        return super().forward(x).sqrt()


class Noisy(Linear):
    def forward(self, x):
        return super().forward(x + torch.randn_like(x))


class SignedNorm(Linear):
    def forward(self, x):
        return super().forward(F.layer_norm(x.flatten(1), (10,)).unflatten(1, (5, 2)))


class AlongJoints(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3, padding=1)

    def forward(self, x):
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


class HalfBody(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 10)

    def forward(self, x):
        return self.fc(x[:, :2].flatten(1)).unflatten(1, (5, 2))


class AlwaysDropout(Linear):
    def forward(self, x):
        return super().forward(F.dropout(x, 0.5))


class SignedRelu(Linear):
    def forward(self, x):
        return super().forward(F.relu(x))


class Lopsided(Linear):
    def __init__(self):
        super().__init__()
        self.register_buffer("adjacency", torch.arange(25.0).reshape(5, 5))

    def forward(self, x):
        return super().forward(self.adjacency @ x)
"""
