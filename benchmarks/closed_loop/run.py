"""Does rho along sequences tell how a converted recurrent network fares in the loop? Trains, converts and runs:

    python -m benchmarks.closed_loop.run --cache DIR [--csv benchmarks/closed_loop/results.csv]

CHIRALIZE_DATA names the folder with the motion capture; the Ant needs `pip install -e ".[policy]"`. DIR keeps the
networks. Rows are appended as they come, and those that the file has are skipped. A picture of them:
`python -m benchmarks.closed_loop.plot`.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.accuracy.rows import append, known
from benchmarks.closed_loop import forecasters, policies
from chiralize import ChiralizeWarning, chiralize
from chiralize.body.tensors import ConversionSpec
from chiralize.errors import ChiralizeError

RESULTS = Path(__file__).with_name("results.csv")
KEY = ("kind", "cell", "width", "flips", "seed", "way")
COLUMNS = (*KEY, "rho", "steps", "error", "ratio", "verdict")
WAYS: dict[str, dict[str, Any]] = {
    "average": {"method": "average"},
    "project": {"method": "project"},
    "match": {"method": "match", "rounds": 0},
    "reduce 0.35": {"method": "reduce", "width": 0.35, "rounds": 0},
    "reduce 0.5": {"method": "reduce", "width": 0.5, "rounds": 0},
    "reduce 0.707": {"method": "reduce", "width": 0.707, "rounds": 0},
    "match, trained": {"method": "match"},
    "reduce 0.5, trained": {"method": "reduce", "width": 0.5},
    "reduce 0.707, trained": {"method": "reduce", "width": 0.707},
}
"""Options of a conversion. What is not `trained` is fitted step by step alone, as by --fast."""
CELLS, WIDTHS, SEEDS = ("lstm", "gru"), (64, 128), (0, 1)


class Network(NamedTuple):
    """A trained network. flips: half of what it was trained on was mirrored."""

    kind: str
    cell: str
    width: int
    flips: bool
    seed: int


@dataclass(frozen=True)
class Kind:
    """A task in the loop. error: of a network, from its stored or resting state."""

    build: Callable[[str, int], nn.Module]
    train: Callable[[str, int, bool, int], nn.Module]
    spec: Callable[[], ConversionSpec]
    examples: Callable[[nn.Module], tuple[Tensor, ...]]
    calibration: Callable[[int], Any]
    error: Callable[[nn.Module], float]
    ways: tuple[str, ...]


def _forecast_error(network: nn.Module) -> float:
    return forecasters.forecast_error(network, _rest(network))


def _rest(network: nn.Module) -> tuple[Tensor, Tensor]:
    """Zero states of one sample, as wide as the network's layers are now."""
    width = next(own.hidden_size for own in network.modules() if hasattr(own, "hidden_size"))
    return torch.zeros(2, 1, int(width)), torch.zeros(2, 1, int(width))


KINDS = {
    "policy": Kind(
        policies.RecurrentPolicy,
        policies.train,
        policies.spec,
        lambda network: (torch.zeros(1, len(policies.SEEN)),),
        policies.calibration,
        policies.walk_error,
        tuple(WAYS),
    ),
    "forecaster": Kind(
        forecasters.StepForecaster,
        forecasters.train,
        forecasters.spec,
        lambda network: (torch.zeros(1, forecasters.JOINTS, 2), *_rest(network)),
        forecasters.calibration,
        _forecast_error,
        tuple(way for way in WAYS if way != "average"),  # the states of both views are twice as wide
    ),
}


def rows(network: Network, ways: Sequence[str], cache: Path) -> Iterator[dict[str, str]]:
    """A row for every way that converts. ratio: error in the loop over the original's.  verdict: the report's."""
    kind = KINDS[network.kind]
    original = _trained(network, cache)
    before = kind.error(original)
    calibration = kind.calibration(network.seed)
    for way in ways:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ChiralizeWarning)
                result = chiralize(
                    original, kind.spec(), kind.examples(original), calibration=calibration, force=True, **WAYS[way]
                )
        except ChiralizeError as error:
            Console(stderr=True).print(f"{network}, {way}: {error}")
            continue
        report: Any = result.chirality.report
        after = kind.error(result)
        yield {
            **{name: str(value) for name, value in network._asdict().items()},
            "way": way,
            "rho": f"{report.drift.rho:.4f}",
            "steps": str(report.drift.steps),
            "error": f"{after:.5f}",
            "ratio": f"{after / before:.4f}",
            "verdict": str(report.verdict),
        }


def _trained(network: Network, cache: Path) -> nn.Module:
    """The original, from the cache if it is there."""
    kind, cell, width, flips, seed = network
    path = cache / f"{kind}-{cell}-{width}-{'flips' if flips else 'plain'}-{seed}.pt"
    if not path.exists():
        torch.save(KINDS[kind].train(cell, width, flips, seed).state_dict(), path)
    module = KINDS[kind].build(cell, width)
    module.load_state_dict(torch.load(path, weights_only=True))
    return module.eval()


def main() -> int:
    """Train, convert, run, append to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--train-only", action="store_true", help="Leave the networks in the cache and stop.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    for network in map(Network._make, product(arguments.kinds, CELLS, WIDTHS, (True, False), SEEDS)):
        if arguments.train_only:
            _trained(network, arguments.cache)
            continue
        done = known(arguments.csv, KEY)
        name = tuple(str(value) for value in network)
        ways = [way for way in KINDS[network.kind].ways if way in arguments.ways]
        missing = [way for way in ways if (*name, way) not in done]
        for row in rows(network, missing, arguments.cache) if missing else ():
            append(arguments.csv, COLUMNS, [row])
            console.print(", ".join(row.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
