"""Blocks beside dense layers on a GPU of Nvidia's: eager, CUDA graphs, training, compiled; float32, TF32, bfloat16.

    python -m benchmarks.speed.cuda [--widths 1024 2048 4096] [--seconds 500] [--csv benchmarks/speed/cuda.csv]

Variants of every case, with the same weights:

    dense           torch's layers
    dense, ours     torch's layers in the order in memory and by the products that ours take (`benchmarks.speed.dense`)
    blocks          as shipped
    blocks, by ops  op by op, without the steps of autograd and the products that scale

A graph is a call that was recorded once and is played back, without Python and without the driver: what the kernels
take. `apart` is how far the answer (in training the gradient of the input) is from the dense one's, of the largest
entry; `mirrored` how far the answer to the mirrored input is from the mirrored answer. Cases begin with the most useful
ones, until the seconds are over; one that fails is a row with its error. Without a GPU it ends with status 3.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.cases import Case, chosen, layers, networks
from benchmarks.speed.dense import on_our_kernels
from benchmarks.speed.fair import with_weights_of
from benchmarks.speed.rows import TIMED, Table, figures
from chiralize.commands.timing import interleaved
from chiralize.nn import _eager, hidden
from chiralize.nn.timings import VARIABLE, forget_timings

RESULTS = Path(__file__).with_name("cuda.csv")
LAYERS = {"linear": (256, 8192, 4, 32768), "conv1d": (16, 256), "attention": (16, 256), "gru": (16, 128)}
NETWORKS = {"temporal 243": (16, 256), "transformer": (4, 64)}
PRECISIONS = ("float32", "tf32", "bfloat16")
PLAIN, COMPILED = ("eager", "cuda graph", "training step"), ("compiled", "compiled, cuda graph")
COMPILE = (("linear", 4096), ("transformer", 1024), ("linear", 1024), ("temporal 243", 1024), ("linear", 2048),
           ("attention", 1024), ("conv1d", 1024))  # fmt: skip
KEY = ("case", "width", "batch", "precision", "mode")
COLUMNS = (*KEY, "variant", *TIMED, "auto", "apart", "mirrored", "device", "torch", "error")
DEVICE, BY_OPS, WITHOUT_A_GPU = "cuda", "blocks, by ops", 3
GAINS = 0.97  # ratio from which on blocks gain
_FIXED = 3  # entries of the networks' answers that the mirror leaves at their place, where they are odd
Run = Callable[[], Tensor]


def run_of(net: nn.Module, example: tuple[Tensor, ...], mode: str, by_ops: bool = False) -> Run:
    """A call of the network in one of the modes: its answer, or the gradient of its input."""
    called: Any = torch.compile(net, dynamic=False) if mode in COMPILED else net
    if by_ops:
        called = _by_ops(net)
    if mode == "training step":
        (x,) = (tensor.requires_grad_() for tensor in example)

        def step() -> Tensor:
            net.zero_grad(set_to_none=True)
            x.grad = None
            _first(called(x)).float().square().sum().backward()
            assert x.grad is not None
            return x.grad

        return step

    def forward() -> Tensor:
        with torch.inference_mode():
            return _first(called(*example))

    return _as_graph(forward) if "cuda graph" in mode else forward


def _by_ops(net: nn.Module) -> Callable[..., Any]:
    """The network, within which no map takes one step on a GPU."""

    def call(*args: Tensor) -> Any:
        before, _eager.STEPS_ON_GPUS = _eager.STEPS_ON_GPUS, False
        try:
            return net(*args)
        finally:
            _eager.STEPS_ON_GPUS = before

    return call


def _first(answer: Any) -> Tensor:
    return answer[0] if isinstance(answer, tuple) else answer


def _as_graph(forward: Run) -> Run:
    """The call, recorded once and played back."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            forward()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        answer = forward()

    def replay() -> Tensor:
        graph.replay()
        return answer

    return replay


def rows(case: Case, batch: int, precision: str, mode: str, rounds: int) -> Iterator[dict[str, Any]]:
    """A row for every variant."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    nets = {name: net.to(DEVICE, dtype).train(mode == "training step") for name, net in _networks(case, mode).items()}
    torch.manual_seed(0)
    example = tuple(tensor.to(DEVICE, dtype) for tensor in case.example(batch))
    runs = {name: run_of(net, example, mode, name == BY_OPS) for name, net in nets.items()}
    answers = {name: run().detach().float().clone() for name, run in runs.items()}
    axis = 1 if case.name in ("conv1d", "temporal 243") else -1
    with torch.no_grad():
        example[0].copy_(_mirrored(example[0], axis))
    mirrored = {name: _mirrored(run().detach().float(), axis).clone() for name, run in runs.items()}
    auto = ""
    if mode == "eager" and case.name in LAYERS:
        auto = "dense" if chosen(replace(case, variants=nets), batch) is nets["dense"] else "blocks"
    for timing in interleaved(runs, rounds=rounds, least=1e-2):
        name, largest = timing.name, answers["dense"].abs().max()
        yield {
            "variant": name, **figures(timing), "auto": auto,
            "apart": f"{float((answers[name] - answers['dense']).abs().max() / largest):.1e}",
            "mirrored": f"{float((mirrored[name] - answers[name]).abs().max() / largest):.1e}",
            "device": torch.cuda.get_device_name(), "torch": torch.__version__,
        }  # fmt: skip


def _networks(case: Case, mode: str) -> dict[str, nn.Module]:
    """The variants. Recurrent layers on our ways take their steps on the CPU alone; a compiler sees all ops anyway."""
    dense, blocks = copy.deepcopy(case.variants["dense"]), copy.deepcopy(case.variants["blocks"])
    ours = {} if case.name == "gru" or mode in COMPILED else {"dense, ours": on_our_kernels(dense)}
    return {"dense": dense, **ours, "blocks": blocks, **({} if mode in COMPILED else {BY_OPS: blocks})}


def _mirrored(x: Tensor, axis: int) -> Tensor:
    """Halves exchanged along the axis, but for the last entries where their number is odd."""
    size = x.shape[axis]
    partner = hidden(size, fixed=_FIXED * (size % 2)).action.partner
    return x.index_select(axis, torch.as_tensor(partner, device=x.device))


def cases(widths: Sequence[int]) -> Iterator[tuple[Case, int, str, str]]:
    """(case, batch, precision, mode): layers and networks without a compiler, then what has to be compiled."""
    first, batches = widths[0], LAYERS | NETWORKS
    made = {(case.name, width): case for width in widths for case in (*layers(width), *networks(first))}
    for case in made.values():
        with_weights_of(case.variants["dense"], case.variants["blocks"])
    plain = [key for key in made if key[0] in batches and (key[0] == "linear" or key[1] == first)]
    for key in plain:
        for precision, batch, mode in product(PRECISIONS, batches[key[0]], PLAIN):
            yield made[key], batch, precision, mode
    for key in COMPILE:
        for precision, batch, mode in product(reversed(PRECISIONS), reversed(batches[key[0]][:2]), COMPILED):
            if key in made:
                yield made[key], batch, precision, mode


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--only", nargs="+", default=[*LAYERS, *NETWORKS], help="cases by name")
    parser.add_argument("--modes", nargs="+", choices=(*PLAIN, *COMPILED), default=[*PLAIN, *COMPILED])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, help="after which no case is begun")
    parser.add_argument("--csv", type=Path, default=RESULTS, help="table to append to, and to go on with")
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print(f"torch {torch.__version__} sees no GPU here: there is nothing to measure", file=sys.stderr)
        return WITHOUT_A_GPU
    os.environ.setdefault(VARIABLE, str(options.csv.with_suffix(".timings.json")))
    forget_timings()
    with Table(options.csv, COLUMNS, KEY, options.seconds) as table:
        for case, batch, precision, mode in cases(options.widths):
            if case.name not in options.only or mode not in options.modes:
                continue
            key = case.name, case.width, batch, precision, mode
            table.add(*key, rows=partial(rows, case, batch, precision, mode, options.rounds))
            torch.compiler.reset()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
