"""`reduce` and `--distill` shared by processes: time, memory, what is sent, and whether the weights are those of one.

    torchrun --nproc-per-node 2 -m benchmarks.speed.scale_out [--what reduce distill] [--width 1024] [--csv scale.csv]

Every process takes its share of the same batches, on one thread of its own, over gloo. `reduce` then does the work of
one process; a step of `distill` sees a batch of every process, so it takes as many steps fewer. Seconds by the clock,
or by the processor where other programs run (`--processor`), of the first process; memory is the largest of a
process's; bytes are what it hands to sums and broadcasts. Weights are kept beside the table, by processes, and compared
with those of one process where that ran before.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, distributed, nn

from benchmarks.speed.cases import Encoder, Frame
from benchmarks.speed.rows import Table
from chiralize import chiralize

KEY = ("network", "width", "what", "processes")
COLUMNS = (*KEY, "parameters", "batches", "rows", "steps", "seconds", "shared", "alone", "memory", "sums", "megabytes",
           "weights", "answers", "cores", "torch", "clock")  # fmt: skip
RESULTS = Path(__file__).with_name("scale.csv")
SPEC = {"skeleton": "h36m", "inputs": [{"layout": "b (j d)", "dims": ["x", "y"]}], "outputs": [{"layout": "b (j d)"}]}
FRAMES = {"skeleton": "h36m", "inputs": [{"layout": "b t (j d)", "dims": ["x", "y"]}],
          "outputs": [{"layout": "b t (j d)"}]}  # fmt: skip
_SHARED = ("hidden units", "fitting", "distilling", "drift")
"""Words of the steps whose work is shared."""
_ANSWERS = "the answers"


class Clock:
    """A progress function: seconds by step.  seconds: what tells the time."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.steps: dict[str, float] = {}
        self.seconds = seconds
        self.now, self.began = "", seconds()

    def __call__(self, step: str, done: float | None = None) -> None:
        """End the step before, and begin this one."""
        at = self.seconds()
        self.steps[self.now] = self.steps.get(self.now, 0.0) + at - self.began
        self.now, self.began = step, at


@contextmanager
def counted(sent: dict[str, int]) -> Iterator[None]:
    """Within, sums and broadcasts over the processes are counted, with their bytes."""

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            sent["sums"] += 1
            sent["bytes"] += tensor.numel() * tensor.element_size()
            return function(tensor, *args, **kwargs)

        return call

    with (
        mock.patch.object(distributed, "all_reduce", counting(distributed.all_reduce)),
        mock.patch.object(distributed, "broadcast", counting(distributed.broadcast)),
    ):
        yield


def network_of(name: str, width: int) -> tuple[nn.Module, dict[str, Any], tuple[int, ...]]:
    """A network with its specification and the shape of a sample."""
    torch.manual_seed(0)
    if name == "lifter":
        return Frame(nn.Linear, nn.BatchNorm1d, 34, width, 51).eval(), SPEC, (34,)
    heads = max(width // 64, 2)
    body = Encoder(nn.Linear, nn.LayerNorm, lambda d: nn.MultiheadAttention(d, heads, batch_first=True), width,
                   4 * width, 8)  # fmt: skip
    return nn.Sequential(nn.Linear(34, width), body, nn.Linear(width, 51)).eval(), FRAMES, (9, 34)


def run(options: argparse.Namespace, what: str, rank: int, count: int) -> Iterator[dict[str, Any]]:
    """One conversion; a row by the first process."""
    net, spec, shape = network_of(options.network, options.width)
    drawn = torch.Generator().manual_seed(1)
    mixing = torch.randn(shape[-1], shape[-1], generator=drawn)
    batches = [torch.randn(options.rows, *shape, generator=drawn) @ mixing for _ in range(options.batches)]
    settings: dict[str, Any] = {"method": "reduce", "form": "dense", "rounds": 0}
    steps = options.steps // count
    if what == "distill":
        settings = {"method": "project", "form": "folded", "distill": steps}
    clock = Clock(time.process_time if options.processor else time.perf_counter)
    sent = {"sums": 0, "bytes": 0}
    with counted(sent), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result: Any = chiralize(
            net, spec, (batches[0][:4],), calibration=batches[rank::count], samples=1, force=True, progress=clock,
            **settings,
        )  # fmt: skip
    clock("")
    memory = torch.tensor(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if count > 1:
        distributed.all_reduce(memory, distributed.ReduceOp.MAX)
    if rank:
        return
    steps_there = {name: seconds for name, seconds in clock.steps.items() if name}
    if options.verbose:
        print({name: round(seconds, 1) for name, seconds in steps_there.items()}, flush=True)
    shared = sum(seconds for name, seconds in steps_there.items() if any(word in name for word in _SHARED))
    whole = sum(steps_there.values())
    yield {
        "parameters": sum(parameter.numel() for parameter in net.parameters()), "batches": options.batches,
        "rows": options.rows, "steps": steps if what == "distill" else "", "seconds": f"{whole:.1f}",
        "shared": f"{shared:.1f}", "alone": f"{whole - shared:.1f}", "memory": f"{float(memory):.0f}",
        "sums": sent["sums"], "megabytes": f"{sent['bytes'] / 1e6:.1f}",
        **compared(options, what, count, result, batches[0]), "cores": os.cpu_count(),
        "torch": torch.__version__, "clock": "processor" if options.processor else "",
    }  # fmt: skip


def compared(options: argparse.Namespace, what: str, count: int, net: nn.Module, probe: Tensor) -> dict[str, str]:
    """How far weights and answers are from those of one process, of each one's largest; both are kept for that."""
    stem = f"weights-{options.network}-{options.width}-{what}"
    with torch.no_grad():
        state = {**net.state_dict(), _ANSWERS: net(probe)}
    torch.save(state, options.csv.with_name(f"{stem}-{count}.pt"))
    alone, until = options.csv.with_name(f"{stem}-1.pt"), time.monotonic() + options.wait
    while count > 1 and not alone.exists() and time.monotonic() < until:
        time.sleep(0.5)
    if count == 1 or not alone.exists():
        return {}
    time.sleep(1.0)  # it may be half written
    apart = {"answers": 0.0, "weights": 0.0}
    for name, value in torch.load(alone).items():
        if value.is_floating_point():
            kind = "answers" if name == _ANSWERS else "weights"
            far = float((state[name] - value).abs().max() / value.abs().max().clamp_min(1e-9))
            apart[kind] = max(apart[kind], far)
    return {name: f"{far:.1e}" for name, far in apart.items()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=("reduce", "distill"), default=["reduce", "distill"])
    parser.add_argument("--network", choices=("lifter", "transformer"), default="lifter")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--batches", type=int, default=64)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--steps", type=int, default=64, help="of one process's distillation; of n, so many by n")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds for one process to end that runs beside")
    parser.add_argument("--processor", action="store_true", help="seconds of the processor, not of the clock")
    parser.add_argument("--verbose", action="store_true", help="say what each step took")
    parser.add_argument("--csv", type=Path, default=RESULTS, help="table to append to, and to go on with")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if count > 1:
        distributed.init_process_group("gloo")
    try:
        for what in options.what:
            if rank:
                list(run(options, what, rank, count))
                continue
            with Table(options.csv, COLUMNS, KEY) as table:
                table.done.clear()  # the other processes begin it as well
                made = partial(run, options, what, rank, count)
                table.add(options.network, options.width, what, count, rows=made)
    finally:
        if count > 1:
            distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
