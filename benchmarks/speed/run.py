"""Time layers and networks in blocks against their dense originals, in forward and in training:

    python -m benchmarks.speed.run [--widths 128 512 1024] [--batches 1 16 256] [--threads 1] [--only linear] [--csv F]

Ratios are medians of interleaved rounds. One thread is timed by the processor's time, which other processes do not
disturb, two by the clock on the wall: keep the machine quiet for those. `fused` is the network as `--form fused` writes
it, norms folded; `dense folded` its original with norms folded; `halves` are two linear layers of half the size side by
side, blocks without a change of basis; TTA runs the original twice. `--modes compiled onnxruntime` runs the same by
torch.compile and as ONNX.
"""

from __future__ import annotations

import argparse
import copy
import csv
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.speed.cases import LAYERS, Case, chosen, layers, networks
from benchmarks.speed.runtimes import RUNTIMES
from chiralize.commands.timing import interleaved
from chiralize.graph.export import export
from chiralize.infer.capture import capture
from chiralize.nn import ChiralModule
from chiralize.nn.deploy.graphs import with_calls
from chiralize.nn.deploy.norms import fold_norms
from chiralize.nn.deploy.speed import always

_LEAST = 2e-2  # seconds a run is repeated for, so that its weights are in the cache as in use
COLUMNS = ("case", "width", "batch", "threads", "device", "mode", "variant", "ms", "ratio", "low", "high", "parameters")


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    new = not options.csv.exists()
    with options.csv.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        for case, batch, mode, runs in _all(options, device):
            fixed = {"case": case.name, "width": case.width, "batch": batch, "threads": options.threads,
                     "device": options.device, "mode": mode}  # fmt: skip
            clock = time.process_time if options.threads == 1 and device.type == "cpu" else time.perf_counter
            for own in interleaved(runs, rounds=options.rounds, least=_LEAST, clock=clock):
                row: dict[Any, Any] = {
                    **fixed, "variant": own.name, "ms": f"{own.seconds * 1e3:.4g}", "ratio": f"{own.ratio:.3f}",
                    "low": f"{own.low:.3f}", "high": f"{own.high:.3f}", "parameters": _share(case, own.name),
                }  # fmt: skip
                writer.writerow(row)
                print(*row.values(), flush=True)
            file.flush()
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.run", description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256, 512, 1024, 2048])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 256, 1024])
    parser.add_argument("--modes", nargs="+", choices=(*RUNTIMES, "train"), default=["forward", "train"])
    parser.add_argument("--only", nargs="+", default=[], help="cases by name")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--most", type=float, default=4e10, help="leave out calls of more multiplications")
    parser.add_argument("--device", default="cpu", help="cuda where there is one")
    parser.add_argument("--csv", type=Path, default=Path("results.csv"), help="table to append to")
    return parser.parse_args(argv)


def _all(
    options: argparse.Namespace, device: torch.device
) -> Iterator[tuple[Case, int, str, Mapping[str, Callable[[], object]]]]:
    for width in options.widths:
        for case in (*layers(width), *networks(width)):
            if options.only and case.name not in options.only:
                continue
            for batch in options.batches:
                if batch * _work(case) > options.most:
                    continue
                for mode in options.modes:
                    if mode == "train" and batch == 1 and case.name == "frame lifter":
                        continue  # a norm of one sample
                    yield case, batch, mode, _runs(case, batch, mode, device)


def _work(case: Case) -> float:
    """A coarse count of multiplications for a batch of one."""
    steps = {"conv1d": 27, "lstm": 16, "gru": 16, "attention": 17, "transformer": 64, "temporal 243": 20}
    weights = sum(own.numel() for own in case.variants["dense"].parameters())
    return weights * steps.get(case.name, 1)


def _runs(case: Case, batch: int, mode: str, device: torch.device) -> dict[str, Callable[[], object]]:
    example = tuple(own.to(device) for own in case.example(batch))
    nets = {name: net.to(device) for name, net in case.variants.items()}
    if case.name in LAYERS:
        nets["auto"] = chosen(case, batch).to(device)
    if mode == "train":
        return {name: _step(net.train(), example) for name, net in nets.items()}
    for net in nets.values():
        net.eval()
    if case.name in ("temporal 243", "frame lifter", "transformer"):
        nets |= _graphs(nets["dense"], nets["blocks"], example)
    runs = RUNTIMES[mode](nets, example)
    return {**runs, "TTA": lambda: (runs["dense"](), runs["dense"]())}


def _graphs(dense: nn.Module, blocks: nn.Module, example: tuple[Any, ...]) -> dict[str, nn.Module]:
    """The original with its norms folded, and the blocks as `--form fused` makes them of the same weights."""
    folded = export(dense, example, {}).module(check_guards=False)
    assert isinstance(folded, torch.fx.GraphModule)
    fold_norms(folded)
    found: dict[str, nn.Module] = {"dense folded": folded}
    hidden, values = {}, {}
    for path, layer in blocks.named_modules():
        if isinstance(layer, ChiralModule):
            hidden |= {f"{path}.{name}": rep for name, rep in layer.dense_representations().items()}
            values |= {f"{path}.{name}": value for name, value in layer.dense().items()}
    symmetric = copy.deepcopy(dense)
    symmetric.load_state_dict({name: values.get(name, own) for name, own in dense.state_dict().items()})
    program = export(symmetric, example, {})
    graph = program.module(check_guards=False)
    assert isinstance(graph, torch.fx.GraphModule)
    found["fused"] = with_calls(graph, capture(program, example, {}), hidden, always).module
    return found


def _step(net: nn.Module, example: tuple[Any, ...]) -> Callable[[], object]:
    """Forward and backward, inputs included."""
    inputs = [own.clone().requires_grad_() for own in example]

    def run() -> None:
        out = net(*inputs)
        out = out[0] if isinstance(out, tuple) else out
        out.sum().backward()
        net.zero_grad(set_to_none=True)

    return run


def _share(case: Case, variant: str) -> str:
    """Parameters beside the original's."""
    net = case.variants.get(variant)
    if net is None or variant == "auto":
        return ""
    counts = [sum(own.numel() for own in each.parameters()) for each in (net, case.variants["dense"])]
    return f"{counts[0] / counts[1]:.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
