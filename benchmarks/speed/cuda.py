"""Blocks beside dense layers on a GPU of Nvidia's: eager, compiled and as CUDA graphs, in float32, TF32 and bfloat16.

    python -m benchmarks.speed.cuda [--widths 1024 2048] [--rounds 15] [--csv cuda.csv]

There are no figures of it yet: no machine with a GPU was at hand when this was written, and figures of one that nobody
measured would be guesses. Without a GPU it says so and ends with status 3. Every row says the device.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.cases import Case, layers, networks
from benchmarks.speed.fair import with_weights_of
from chiralize.commands.timing import interleaved

BATCHES = {"linear": (4, 256, 1024, 8192), "conv1d": (16, 256), "gru": (16, 128), "temporal 243": (16, 128),
           "transformer": (4, 32)}  # fmt: skip
PRECISIONS = ("float32", "tf32", "bfloat16")
MODES = ("eager", "compiled", "cuda graph", "training step")
COLUMNS = ("case", "width", "batch", "precision", "mode", "variant", "ms", "ratio", "low", "high", "device", "torch")
WITHOUT_A_GPU = 3
Run = Callable[[], object]


def run_of(net: nn.Module, example: tuple[Tensor, ...], mode: str) -> Run:
    """A call of the network in one of the modes."""
    if mode == "training step":

        def step() -> None:
            y: Any = net(*example)
            (y[0] if isinstance(y, tuple) else y).float().sum().backward()
            net.zero_grad(set_to_none=True)

        return step
    called: Any = torch.compile(net, dynamic=False) if mode == "compiled" else net

    def forward() -> object:
        with torch.inference_mode():
            return called(*example)

    return _as_graph(forward) if mode == "cuda graph" else forward


def _as_graph(forward: Run) -> Run:
    """The call, recorded once and played back: no call of Python or of the driver for every kernel."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            forward()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        forward()
    return graph.replay


def rows(case: Case, batch: int, precision: str, mode: str, rounds: int) -> list[dict[Any, Any]]:
    """Dense and in blocks, with the same weights."""
    dense, blocks = case.variants["dense"], case.variants["blocks"]
    with_weights_of(dense, blocks)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    example = tuple(tensor.to("cuda", dtype) for tensor in case.example(batch))
    nets = {name: net.to("cuda", dtype).train(mode == "training step") for name, net in
            (("dense", dense), ("blocks", blocks))}  # fmt: skip
    timed = interleaved({name: run_of(net, example, mode) for name, net in nets.items()}, rounds=rounds, least=2e-2)
    fixed = {"case": case.name, "width": case.width, "batch": batch, "precision": precision, "mode": mode,
             "device": torch.cuda.get_device_name(), "torch": torch.__version__}  # fmt: skip
    return [
        {**fixed, "variant": each.name, "ms": f"{1e3 * each.seconds:.4g}", "ratio": f"{each.ratio:.3f}",
         "low": f"{each.low:.3f}", "high": f"{each.high:.3f}"}
        for each in timed
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--csv", type=Path, default=Path("cuda.csv"), help="table to append to")
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print(f"torch {torch.__version__} sees no GPU here: there is nothing to measure", file=sys.stderr)
        return WITHOUT_A_GPU
    is_new = not options.csv.exists()
    with options.csv.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        for width in options.widths:
            for case in (*layers(width), *networks(width)):
                for batch in BATCHES.get(case.name, ()):
                    for precision in PRECISIONS:
                        for mode in MODES:
                            for row in rows(case, batch, precision, mode, options.rounds):
                                writer.writerow(row)
                                print(*row.values(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
