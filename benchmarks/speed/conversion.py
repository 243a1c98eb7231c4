"""Processor time of converting and judging ten small networks, step by step, and how often each is exported and run:

    python -m benchmarks.speed.conversion [--only mlp gru] [--what match verify] [--repeats 3] [--csv conversion.csv]

A step is what the progress of a conversion calls so. Every network is converted once before it is timed, so that the
figures are about work, not about loading; of the repeats, the least time of every step is kept. Other processes disturb
processor time less than the clock, and still: compare two versions in turns, by their ratio.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from benchmarks.speed.cases import Encoder, Frame, Temporal
from chiralize import audit, chiralize, verify
from chiralize.graph.running import Runner

METHODS = ("project", "match", "average", "reduce")
WHAT = (*METHODS, "verify", "audit")
COLUMNS = ("network", "what", "step", "seconds", "exports", "runs")
_FLAT, _FRAMES, _CHANNELS = "b (j d)", "b t (j d)", "b (j d) t"


class Recurrent(nn.Module):
    """A recurrent layer and a head: poses over frames, "b t (j d)"."""

    def __init__(self, layer: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.layer, self.head = layer(34, 32, batch_first=True), nn.Linear(32, 51)

    def forward(self, poses: Tensor) -> Tensor:
        return self.head(self.layer(poses)[0])


def _encoder() -> nn.Module:
    encoder = Encoder(nn.Linear, nn.LayerNorm, lambda d: nn.MultiheadAttention(d, 4, batch_first=True), 32, 64, 2)
    return nn.Sequential(nn.Linear(34, 32), encoder, nn.Linear(32, 51))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(34, 32), nn.ReLU(), nn.Linear(32, 51)), _FLAT, (2, 34)),
    "policy": (lambda: nn.Sequential(nn.Linear(34, 64), nn.ELU(), nn.Linear(64, 51), nn.Tanh()), _FLAT, (2, 34)),
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(34, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 51)), _FLAT, (2, 34)
    ),
    "frame lifter": (lambda: Frame(nn.Linear, nn.BatchNorm1d, 34, 64, 51), _FLAT, (2, 34)),
    "frame lifter, 0.6 M": (lambda: Frame(nn.Linear, nn.BatchNorm1d, 34, 384, 51), _FLAT, (2, 34)),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv1d(34, 32, 3), nn.ReLU(), nn.Conv1d(32, 51, 1)), _CHANNELS, (2, 34, 9)
    ),
    "temporal 243": (lambda: Temporal(nn.Conv1d, nn.BatchNorm1d, 34, 32, 51), _CHANNELS, (1, 34, 243)),
    "gru": (lambda: Recurrent(nn.GRU), _FRAMES, (2, 6, 34)),
    "lstm": (lambda: Recurrent(nn.LSTM), _FRAMES, (2, 6, 34)),
    "transformer": (_encoder, _FRAMES, (2, 9, 34)),
}  # fmt: skip
"""By name: how it is built, the layout of its input and its output, and the shape of an example."""


@dataclass
class Meter:
    """What the steps of one task took. A progress function: a call begins the next step.

    steps: by name, in order: seconds, exports, runs.
    """

    steps: dict[str, list[float]] = field(default_factory=dict)
    now: str = ""
    began: float = 0.0

    def __call__(self, step: str, done: float | None = None) -> None:
        """End the step before, and begin this one."""
        at = time.process_time()
        if self.now:
            self._of(self.now)[0] += at - self.began
        self.now, self.began = step, at

    def _of(self, step: str) -> list[float]:
        return self.steps.setdefault(step, [0.0, 0, 0])

    def count(self, column: int) -> None:
        """One more export (1) or run (2) in this step."""
        self._of(self.now)[column] += 1


@contextmanager
def counted(meter: Meter) -> Iterator[None]:
    """Within, exports and runs are counted."""

    def counting(function: Callable[..., Any], column: int) -> Callable[..., Any]:
        """The function, which is counted."""

        def call(*args: Any, **kwargs: Any) -> Any:
            """Count the call, and make it."""
            meter.count(column)
            return function(*args, **kwargs)

        return call

    with ExitStack() as stack:
        stack.enter_context(mock.patch("torch.export.export", counting(torch.export.export, 1)))
        stack.enter_context(mock.patch.object(Runner, "run", counting(Runner.run, 2)))
        yield


def measured(name: str, what: str) -> Meter:
    """One network through one task."""
    build, layout, shape = NETWORKS[name]
    torch.manual_seed(0)
    network, example = build().eval(), torch.randn(shape)
    spec = {"skeleton": "h36m", "inputs": [{"layout": layout, "dims": ["x", "y"]}], "outputs": [{"layout": layout}]}
    meter = Meter()
    meter("starting")
    with counted(meter), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if what == "verify":
            verify(network, spec, (example,), progress=meter)
        elif what == "audit":
            audit(network, spec, (example,), data=torch.randn(16, *shape[1:]), progress=meter)
        else:
            given = torch.randn(64, *shape[1:]) if what == "reduce" else None
            chiralize(network, spec, (example,), method=what, calibration=given, force=True, progress=meter)
    meter("")
    return meter


def rows(name: str, what: str, repeats: int) -> list[dict[str, object]]:
    """The rows of the table: a step each, and the whole."""
    measured(name, what)
    meters = [measured(name, what) for _ in range(repeats)]
    table: list[dict[str, object]] = []
    whole = [min(sum(step[0] for step in meter.steps.values()) for meter in meters), 0, 0]
    for step, (_, exports, runs) in meters[0].steps.items():
        least = min(meter.steps[step][0] for meter in meters if step in meter.steps)
        table.append(_row(name, what, step, least, exports, runs))
        whole[1] += exports
        whole[2] += runs
    return [*table, _row(name, what, "all", *whole)]


def _row(network: str, what: str, step: str, seconds: float, exports: float, runs: float) -> dict[str, object]:
    figures = (f"{seconds:.3f}", int(exports), int(runs))
    return dict(zip(COLUMNS, (network, what, step, *figures), strict=True))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.conversion", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="networks by name")
    parser.add_argument("--what", nargs="+", choices=WHAT, default=list(WHAT))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--csv", type=Path, help="table to write")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    table: list[dict[str, object]] = []
    for name in options.only:
        for what in options.what:
            table += rows(name, what, options.repeats)
            print(*table[-1].values(), sep="  ", flush=True)
    if options.csv is not None:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
