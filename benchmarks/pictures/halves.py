"""What the form in halves takes of the time of a convolution whose kernel the mirror reverses.

    python -m benchmarks.pictures.halves --out benchmarks/pictures/halves.csv

Two residual blocks of 3 x 3 convolutions between spaces of pairs, a strided convolution and a transposed one: dense, as
layers in blocks, and as a fused graph. Pairs lie in halves, or in any order, as `match` finds them. One thread,
processor time, interleaved; the ratio is that of medians.
Multiplications are counted by torch. The last column says what the model of cost takes.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from chiralize.infer.capture import capture
from chiralize.nn import hidden
from chiralize.nn.along import reversal
from chiralize.nn.deploy.graphs import with_calls
from chiralize.nn.deploy.speed import always, is_faster_in_graphs
from chiralize.nn.deploy.swapping import swapped
from chiralize.symmetry import reynolds
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

SIZES = ((512, 16), (256, 32), (256, 16), (128, 32))
"""Channels, and rows of the maps; columns are one more."""
ORDERS = ("halves", "any")
FORMS = ("blocks", "fused")
_ROUNDS, _LEAST = 7, 0.05


class Stage(nn.Module):
    """Two residual blocks, or one strided or transposed convolution, between 1 x 1 convolutions."""

    def __init__(self, kind: str, channels: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "residual":
            layers: list[nn.Module] = [nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(4)]
        elif kind == "strided":
            layers = [nn.Conv2d(channels, channels, 3, 2, 1)]
        else:
            layers = [nn.ConvTranspose2d(channels, channels, 4, 2, 1)]
        self.layers = nn.ModuleList(layers)
        self.enter, self.leave = nn.Conv2d(3, channels, 1), nn.Conv2d(channels, 17, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Pictures "b 3 h w" to maps "b 17 h w"."""
        maps = torch.relu(self.enter(maps))
        if self.kind != "residual":
            return self.leave(torch.relu(self.layers[0](maps)))
        for first, second in zip(self.layers[::2], self.layers[1::2], strict=True):
            maps = torch.relu(maps + second(torch.relu(first(maps))))
        return self.leave(maps)


def multiplications(net: Callable[..., Any], maps: Tensor) -> int:
    """Twice the multiplications of a call, as torch counts them."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net(maps)
    return counter.get_total_flops()


def seconds(net: Callable[..., Any], maps: Tensor, count: int) -> float:
    """Processor time of some calls."""
    with torch.inference_mode():
        start = time.process_time()
        for _ in range(count):
            net(maps)
        return time.process_time() - start


def pairs_of(channels: int, order: str) -> Representation:
    """A space of pairs, firsts before seconds or in a drawn order."""
    if order == "halves":
        return hidden(channels)
    drawn = random.Random(0).sample(range(channels), channels)
    return Representation.of(SignedPermutation.of(zip(drawn[::2], drawn[1::2], strict=True), size=channels))


def symmetric(net: Stage, pairs: Representation) -> dict[str, TensorRepresentation]:
    """Make the weights of a stage symmetric, in place, and return how T acts on each of them."""
    pictures, maps = Representation.trivial(3), Representation.trivial(17)
    reps: dict[str, TensorRepresentation] = {}
    for name, layer in net.named_modules():
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            continue
        into, out = pictures if name == "enter" else pairs, maps if name == "leave" else pairs
        kernel = [Representation.trivial(layer.kernel_size[0]), reversal(layer.kernel_size[1])]
        reps[f"{name}.weight"] = TensorRepresentation((out, into, *kernel))
        reps[f"{name}.bias"] = TensorRepresentation((out,))
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.copy_(reynolds.project(weight, reps[name]))
    return reps


def compare(kind: str, channels: int, rows: int, batch: int, order: str) -> dict[str, Any]:
    """A row of the table: every form beside the original."""
    torch.manual_seed(0)
    net, maps = Stage(kind, channels).eval(), torch.randn(batch, 3, rows, rows + 1)
    reps = symmetric(net, pairs_of(channels, order))
    program = torch.export.export(net, (maps,))
    captured, graph = capture(program, (maps,), {}), program.module(check_guards=False)
    forms: dict[str, Callable[..., Any]] = {"dense": net}
    forms["blocks"] = swapped(net, captured, reps, always).module
    forms["fused"] = with_calls(graph, captured, reps, always).module
    chosen = with_calls(graph, captured, reps, is_faster_in_graphs).layers
    row: dict[str, Any] = {"kind": kind, "channels": channels, "rows": rows, "batch": batch, "pairs": order}
    for form in FORMS:
        row[f"{form}: products"] = round(multiplications(forms[form], maps) / multiplications(net, maps), 3)
    count = max(1, int(_LEAST / max(seconds(net, maps, 1), 1e-6)))
    times: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(_ROUNDS):
        for form in random.sample(sorted(forms), len(forms)):
            times[form].append(seconds(forms[form], maps, count) / count)
    row["dense, ms"] = round(1e3 * median(times["dense"]), 2)
    for form in FORMS:
        row[f"{form}: time"] = round(median(times[form]) / median(times["dense"]), 2)
    row["auto takes"] = "fused" if any(name.startswith("layers") for name in chosen) else "dense"
    return row


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/pictures/halves.csv"))
    parser.add_argument("--smoke", action="store_true", help="one small row: see that all runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = [("residual", *size, batch, order) for size in SIZES for batch in (1, 8) for order in ORDERS]
    cases += [(kind, 256, 32, 1, "halves") for kind in ("strided", "transposed")]
    if options.smoke:
        cases = [("transposed", 8, 4, 1, "any")]
    rows: list[dict[str, Any]] = []
    for case in cases:
        rows.append(compare(*case))
        print(*rows[-1].values(), sep="  ", flush=True)
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
