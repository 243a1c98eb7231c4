"""The same rows for recurrent policies that imitate a trot, which are trained in a minute:

    python -m benchmarks.robots.imitators --cache DIR [--csv benchmarks/robots/results.csv]

They are those of `benchmarks.closed_loop`, with the return of their walks in the place of the error of their torques.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn

from benchmarks.accuracy.rows import append, known
from benchmarks.closed_loop import policies
from benchmarks.closed_loop.run import Network, _trained
from benchmarks.robots.conversions import converted
from benchmarks.robots.run import COLUMNS, KEY, RESULTS
from chiralize import flip_test
from examples.policy.robot import RollOut, roll_out

NETWORKS = (
    Network("policy", "lstm", 64, False, 0),
    Network("policy", "gru", 64, False, 0),
    Network("policy", "lstm", 64, True, 0),
)
WAYS = (
    ("reduce 0.5", "good", {"method": "reduce", "width": 0.5}),
    ("match", "good", {"method": "match"}),
    ("match", "none", {"method": "match"}),
    ("project", "good", {"method": "project"}),
    ("reduce 0.5", "narrow", {"method": "reduce", "width": 0.5}),
    ("auto", "good", {}),
    ("average", "good", {"method": "average"}),
    ("average", "none", {"method": "average"}),
)
APART = 0.05
SHORT = 40
"""Control steps of the first two seconds."""


def walks(policy: nn.Module) -> tuple[RollOut, RollOut]:
    """From starts, and from their mirror images."""
    plain, mirrored = policies.walks()
    act = policies._acting(policy, policies.WALKERS)
    again = policies._acting(copy.deepcopy(policy), policies.WALKERS)
    return roll_out(act, plain), roll_out(again, mirrored)


def figures(policy: nn.Module) -> dict[str, str]:
    """What a policy does in the loop."""
    one, other = walks(policy)
    returns = np.stack([one.rewards.sum(0), other.rewards.sum(0)])
    first = np.stack([one.rewards[:SHORT].sum(0), other.rewards[:SHORT].sum(0)])
    beyond = one.parting(other) > APART
    parted = np.where(beyond.any(0), beyond.argmax(0), len(beyond))
    return {
        "return": f"{returns.mean():.2f}",
        "error": f"{returns.mean(0).std(ddof=1) / np.sqrt(returns.shape[1]):.2f}",
        "gap_2s": f"{np.abs(first[0] - first[1]).mean() / abs(first.mean()):.4g}",
        "gap_25s": f"{np.abs(returns[0] - returns[1]).mean() / abs(returns.mean()):.4g}",
        "falls": str(int((one.rewards[-1] == 0).sum() + (other.rewards[-1] == 0).sum())),
        "parted": f"{np.median(parted):.0f}",
    }


def rows(network: Network, cache: Path, done: set[tuple[str, ...]]) -> Iterator[dict[str, str]]:
    """The original, its flip average, and every conversion that the file has not."""
    original = _trained(network, cache)
    name = f"imitation-{network.cell}-{'mirrored' if network.flips else 'plain'}-{network.seed}"
    before = figures(original)
    sequences = policies.calibration(network.seed)
    calibrations: dict[str, Any] = {"good": sequences, "narrow": sequences[:1, :25], "none": None}
    examples = (torch.zeros(1, len(policies.SEEN)),)

    def row(way: str, kind: str, **entries: str) -> dict[str, str]:
        """A row without what is not known."""
        return {**dict.fromkeys(COLUMNS, ""), "policy": name, "way": way, "calibration": kind, **entries}

    if (name, "original", "") not in done:
        yield row("original", "", ratio="1", products="1", **before)
    if (name, "flip average", "") not in done:
        both = figures(flip_test(original, policies.spec(), examples))
        yield row(
            "flip average", "", products="2", ratio=f"{float(both['return']) / float(before['return']):.4f}", **both
        )
    for way, kind, options in WAYS:
        if (name, way, kind) in done:
            continue
        result = converted(original, policies.spec(), examples, calibrations[kind], options)
        if result.network is None:
            yield row(way, kind, outcome=result.outcome, verdict=result.said)
            continue
        cost, after = result.report.cost, figures(result.network)
        yield row(
            way,
            kind,
            rho=result.rho,
            outcome=result.outcome,
            products=f"{cost.macs_after / cost.macs_before:.3f}",
            ratio=f"{float(after['return']) / float(before['return']):.4f}",
            verdict=result.said,
            **after,
        )


def main() -> int:
    """Convert, run, append to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    for network in NETWORKS:
        for row in rows(network, arguments.cache, known(arguments.csv, KEY)):
            append(arguments.csv, COLUMNS, [row])
            Console(stderr=True).print(", ".join(row.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
