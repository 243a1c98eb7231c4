"""Blocks beside dense layers that have the same tricks:

    python -m benchmarks.speed.fair [--threads 1] [--only linear] [--rounds 9] [--csv benchmarks/speed/fair.csv]

Variants of every case, each with the same weights, forward and in training:

    torch           torch's layer
    torch, ours     the same layer on the ways to multiply that `chiralize.nn` takes here (`benchmarks.speed.dense`)
    ours, torch     blocks on what torch takes for that layer, convolutions convolved
    ours            blocks as shipped
    torch, private  with CHIRALIZE_PRIVATE_OPS=1: the layer by oneDNN's product, its weight packed where it can be
    ours, private   with CHIRALIZE_PRIVATE_OPS=1: blocks

The fair ratio is that of `ours` to the faster of the first two. Runs are interleaved in an order that is drawn, one
thread is timed by the processor's time. Every row says the machine and how busy it was.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import chiralize.nn._private as private
import chiralize.nn._product as products
from benchmarks.speed.cases import Case, layers, networks
from benchmarks.speed.dense import Packed, on_our_kernels
from benchmarks.speed.rows import TIMED, Table, figures
from chiralize.commands.timing import interleaved
from chiralize.nn import ChiralModule, Conv1d
from chiralize.nn.timings import machine

RESULTS = Path(__file__).with_name("fair.csv")
WIDTHS: Mapping[str, Sequence[int]] = {"linear": (1024, 2048)}
BATCHES: Mapping[str, Sequence[int]] = {
    "linear": (4, 256, 1024), "conv1d": (16,), "gru": (16, 128), "temporal 243": (16,), "transformer": (4,),
}  # fmt: skip
KEY = ("case", "width", "batch", "threads", "mode", "machine")
COLUMNS = (*KEY[:-1], "variant", *TIMED, "machine", "torch", "load")
_LEAST = 1e-2
_SAME = 2e-3
Run = Callable[[], object]


def runs(case: Case, batch: int, mode: str, is_public: bool) -> dict[str, Run]:
    """Every variant as a call. Raises AssertionError unless all of them give the same answer."""
    dense, blocks = case.variants["dense"], case.variants["blocks"]
    with_weights_of(dense, blocks)
    example = case.example(batch)
    trained = mode == "train"
    for net in (dense, blocks):
        net.train(trained)
    ours = on_our_kernels(dense)
    as_torch = copy.deepcopy(blocks)
    for layer in as_torch.modules():
        if isinstance(layer, Conv1d):
            layer._takes_products = lambda x: False  # type: ignore[method-assign]
    call = _step if trained else _forward
    variants = {
        "torch": call(dense, example),
        "torch, ours": call(ours, example),
        "ours, torch": _by_torch(call(as_torch, example)),
        "ours": call(blocks, example),
    }
    if not is_public:
        variants["torch, private"] = _privately(call(ours, example))
        variants["ours, private"] = _privately(call(blocks, example))
    if not is_public and not trained and isinstance(dense, nn.Linear):
        variants["torch, packed"] = _forward(Packed(dense, batch), example)
    if not trained:
        expected = _first(variants["torch"]())
        for name, run in variants.items():
            apart = float((_first(run()) - expected).abs().max() / expected.abs().max())
            assert apart < _SAME, f"{case.name}, {name}: {apart}"
    return variants


def with_weights_of(dense: nn.Module, blocks: nn.Module) -> None:
    """Give a dense network the weights of its blocks."""
    values = dict(dense.state_dict())
    for path, layer in blocks.named_modules():
        if isinstance(layer, ChiralModule):
            made = {f"{path}.{name}".lstrip("."): value for name, value in layer.dense().items()}
            values |= {name: value for name, value in made.items() if name in values}
    dense.load_state_dict(values)


def _first(answer: Any) -> Tensor:
    return answer[0] if isinstance(answer, tuple) else answer


def _forward(net: nn.Module, example: tuple[Tensor, ...]) -> Run:
    def run() -> object:
        with torch.inference_mode():
            return net(*example)

    return run


def _step(net: nn.Module, example: tuple[Tensor, ...]) -> Run:
    """Forward and backward, the input's gradient as well."""
    inputs = [tensor.clone().requires_grad_() for tensor in example]

    def run() -> None:
        _first(net(*inputs)).sum().backward()
        net.zero_grad(set_to_none=True)
        for tensor in inputs:
            tensor.grad = None

    return run


def _privately(run: Run) -> Run:
    def call() -> object:
        private._on = True
        try:
            return run()
        finally:
            private._on = False

    return call


def _by_torch(run: Run) -> Run:
    is_large = products._is_large

    def call() -> object:
        products._is_large = lambda *_: False
        try:
            return run()
        finally:
            products._is_large = is_large

    return call


def rows(case: Case, batch: int, mode: str, rounds: int, is_public: bool) -> Iterator[dict[Any, Any]]:
    """A row for every variant."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for timing in interleaved(runs(case, batch, mode, is_public), rounds=rounds, least=_LEAST, clock=clock):
        where = {"torch": torch.__version__, "load": f"{os.getloadavg()[0]:.1f}"}
        yield {"variant": timing.name, **figures(timing), **where}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[], help="cases by name")
    parser.add_argument("--modes", nargs="+", choices=("forward", "train"), default=["forward", "train"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--widths", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--public", action="store_true", help="leave the private variants out")
    parser.add_argument("--seconds", type=float, help="after which no case is begun")
    parser.add_argument("--csv", type=Path, default=RESULTS, help="table to append to, and to go on with")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    private.set_private_ops(True)  # compares them once
    private.set_private_ops(False)
    with Table(options.csv, COLUMNS, KEY, options.seconds) as table:
        for width in options.widths:
            for case in (*layers(width), *networks(width)):
                chosen = not options.only or case.name in options.only
                if case.name not in BATCHES or not chosen or width not in WIDTHS.get(case.name, (1024,)):
                    continue
                modes: list[str] = options.modes
                for batch, mode in product(BATCHES[case.name], modes):
                    made = partial(rows, case, batch, mode, options.rounds, options.public)
                    table.add(case.name, width, batch, options.threads, mode, machine(), rows=made)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
