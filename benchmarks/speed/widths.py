"""What `--form auto` writes at widths 1/2 and 0.707, and how long it takes, beside the original and both views:

    python -m benchmarks.speed.widths [--widths 256 384 512 1024] [--csv benchmarks/speed/widths.csv]

Lifters of single poses: six linear layers with random weights. Forms are chosen for examples of one and of 64 samples
(an open batch, as files have it). One thread, by the processor's time; ratios are medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.accuracy.networks import PlainLifter
from chiralize.body.skeleton.catalog import find_shipped
from chiralize.body.tensors import ConversionSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.commands.convert import Request, convert
from chiralize.commands.timing import interleaved
from chiralize.methods.fill.both_views import averaged
from chiralize.problem.preparation import prepare

RESULTS = Path(__file__).with_name("widths.csv")
COLUMNS = ("units", "example", "batch", "variant", "form", "products", "ms", "ratio", "low", "high")
LAYERS, SHARES, BATCHES = 5, (0.5, 0.707), (1, 64)
_LEAST = 2e-2  # seconds that a run is repeated for


def rows(units: int, example: int) -> Iterator[dict[str, object]]:
    """Every variant at every batch. example: samples of the call that forms are chosen for."""
    torch.manual_seed(0)
    network = PlainLifter(units, LAYERS, nn.ReLU).eval()
    poses = torch.randn(1024, 17, 2)
    body = find_shipped("h36m")
    assert body is not None
    flat = TensorEntry(layout="b j d")
    prepared = prepare(network, ConversionSpec("lifter", body, (flat,), (flat,)), (poses[:example],))
    calls = [((batch,), {}) for batch in poses.split(64)]
    nets: dict[str, nn.Module] = {"original": network}
    told = {"original": ("original", 1.0), "both views": ("two-view", 2.0)}
    for share in SHARES:
        options = Request("reduce", width=share, calibration=calls, rounds=0, samples=1, force=True, product="graph")
        done = convert(prepared, "lifter", options)
        name, cost = f"reduce {share:g}", done.report.cost
        nets[name], told[name] = done.module, (done.report.form, cost.macs_after / cost.macs_before)
    nets["both views"] = averaged(prepared).module
    for batch in BATCHES:
        x = poses[:batch]
        runs = {name: partial(_answer, net, x) for name, net in nets.items()}
        for own in interleaved(runs, least=_LEAST, clock=time.process_time):
            form, products = told[own.name]
            yield {
                "units": units, "example": example, "batch": batch, "variant": own.name, "form": form,
                "products": f"{products:.2f}", "ms": f"{1e3 * own.seconds:.4g}", "ratio": f"{own.ratio:.2f}",
                "low": f"{own.low:.2f}", "high": f"{own.high:.2f}",
            }  # fmt: skip


def _answer(network: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(x)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 384, 512, 1024])
    parser.add_argument("--csv", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with chosen.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for units in chosen.widths:
            for example in BATCHES:
                for row in rows(units, example):
                    writer.writerow(row)
                    print(*row.values(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
