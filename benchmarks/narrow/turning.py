"""Policies that learned to turn left only, and others that learned both: what becomes of them on either side?

    python -m benchmarks.narrow.turning [--csv benchmarks/narrow/turning.csv] [--seeds 0 1 2]

They imitate the trot of `examples.policy` from the steps of few robots, with a normaliser of these steps or without
one. Each is calibrated on 2,000 unlabelled observations of turns to both sides, to the left, and to the right. Errors
are RMS over the torques, in units of the original's on that side; `said` is the part of the headline on the distance.
Rows are appended as they come. Needs the extra `examples`.
"""

from __future__ import annotations

import argparse
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.accuracy.rows import append, known
from chiralize import chiralize
from chiralize.body.tensors import load_spec
from examples.policy import networks
from examples.policy.gait import FIELDS, OBSERVATIONS, SPECIFICATION
from examples.policy.robot import FASTEST_TURN, demonstrate
from examples.policy.task import mirror, representations

RESULTS = Path(__file__).with_name("turning.csv")
COLUMNS = ("learned", "normaliser", "robots", "seed", "inputs", "method", "gap", "rho", "left", "right", "said")
STEPS, BATCH, RATE, WIDTH = 200, 256, 1e-3, 128
UPDATES = {8: 3000, 32: 3000, 128: 6000}
SAMPLES = 2000
TURN = FIELDS["turn"].start
Pairs = tuple[Tensor, Tensor]
"""Observations "sample 30" and torques "sample 8"."""


def steps_of(seed: int, robots: int, steps: int, learned: str) -> Pairs:
    """Observations and the teacher's torques, of turns to both sides, or to one."""
    observations, torques = demonstrate(seed, robots, steps, -FASTEST_TURN if learned == "both" else 0.0)
    pair = (torch.from_numpy(observations).float(), torch.from_numpy(torques).float())
    if learned == "right":
        pair = (mirror(pair[0], representations()[0]), mirror(pair[1], representations()[1]))
    return pair


def policy(learned: str, has_normaliser: bool, robots: int, seed: int) -> nn.Module:
    """A policy that imitates the trot."""
    observations, torques = steps_of(seed, robots, STEPS, learned)
    torch.manual_seed(seed)
    if has_normaliser:
        mean, scale = observations.mean(0), observations.std(0)
    else:
        mean, scale = torch.zeros(OBSERVATIONS), torch.ones(OBSERVATIONS)
    network = networks.Policy(networks.plain_layers(*representations(), WIDTH), mean, scale)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for _ in range(UPDATES[robots]):
        chosen = torch.randint(len(observations), (BATCH,))
        optimizer.zero_grad()
        (network(observations[chosen]) - torques[chosen]).square().mean().backward()
        optimizer.step()
    return network.eval()


def errors(network: nn.Module) -> list[float]:
    """RMS error of the torques on left turns and on right turns of robots that nobody learned from."""
    found: list[float] = []
    for side in ("left", "right"):
        observations, torques = steps_of(900, 32, 150, side)
        with torch.no_grad():
            found.append(float((network(observations) - torques).square().mean().sqrt()))
    return found


def row(network: nn.Module, before: list[float], inputs: str, method: str) -> dict[str, Any]:
    """What a conversion did to a policy."""
    observations, _ = steps_of(500, 32, STEPS, inputs)
    chosen = torch.randperm(len(observations), generator=torch.Generator().manual_seed(0))[:SAMPLES]
    shown = observations[chosen]
    made = chiralize(network, load_spec(SPECIFICATION), (shown[:50],), calibration=shown, method=method, force=True)
    report = made.chirality.report
    left, right = (new / old for new, old in zip(errors(made), before, strict=True))
    said = report.verdict.partition("equivariant; ")[2].partition("; ")[0]
    figures = {"gap": report.drift.gap, "rho": report.drift.rho, "left": left, "right": right}
    return {**{name: f"{figure:.4g}" for name, figure in figures.items()}, "said": said}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--robots", type=int, nargs="+", default=list(UPDATES), choices=list(UPDATES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    done = known(options.csv, COLUMNS[:6])
    for seed, robots, learned, has in product(options.seeds, options.robots, ("left", "both"), (True, False)):
        network, before = None, [0.0, 0.0]
        for inputs, method in product(("both", "left", "right"), ("reduce", "match", "average")):
            name = (learned, str(has), str(robots), str(seed), inputs, method)
            if name in done or (method == "average" and inputs != "both"):
                continue
            if network is None:
                network = policy(learned, has, robots, seed)
                before = errors(network)
            found = {**dict(zip(COLUMNS, name, strict=False)), **row(network, before, inputs, method)}
            append(options.csv, COLUMNS, [found])
            print(*found.values(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
