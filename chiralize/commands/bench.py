"""`bench`: a network, its flip average and its chiral counterpart, timed against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from chiralize.commands.convert import Conversion
from chiralize.commands.timing import Timing, interleaved
from chiralize.errors import ModelRunError, UsageError, first_line
from chiralize.graph.copies import is_large
from chiralize.graph.devices import lent, named
from chiralize.graph.fixed_sizes import guarded
from chiralize.graph.other_sizes import is_open
from chiralize.graph.running import Call
from chiralize.infer import macs_of
from chiralize.methods.fill.both_views import lifted
from chiralize.nn.deploy.norms import fold_norms
from chiralize.problem.network import Network
from chiralize.problem.request import Progress
from chiralize.problem.stateful import carried_of
from chiralize.report import BenchReport, BenchRow, CallTime, Cost

_DIFFER = "the examples that the files bring differ in the number of samples ({}): all are timed on the original's"
_MANY = 64
_ROUNDS, _LEAST, _LONGEST = 7, 2e-3, 1.0  # rounds; seconds of a run in a round, and of two calls
ORIGINAL, FOLDED, TTA, CHIRAL = "original", "original, norms folded", "flip average (TTA)", "chiral"


def bench(
    network: Network,
    chiral: Network,
    names: tuple[str, str],
    *,
    batches: Sequence[int] = (),
    rounds: int = 15,
    threads: int | None = None,
    compiled: bool = False,
    device: str = "cpu",
    progress: Progress = lambda step: None,
) -> BenchReport:
    """Interleaved medians for every batch size.

    batches: sizes to run at, by default that of the example.  threads: of torch, by default as they are.  compiled: by
    torch.compile first.  device: for example cuda.  Raises UsageError, ModelRunError.
    """
    if rounds < 2:
        raise UsageError("--rounds", f"{rounds} is too few for a median with quartiles", "give at least 2")
    nets, notes = _networks(network, chiral)
    with _threads(threads), lent(named(device), *nets.values()):
        if compiled:
            nets = {name: _compiled(net) for name, net in nets.items()}
        rows: list[BenchRow] = []
        for size in batches or (0,):
            call = _sized(network, size, device)
            count = len(pytree.tree_leaves(call[0])[0])
            progress(f"timing at batch {count}")
            _check(nets, call, count)
            runs = {name: _run(net, call) for name, net in nets.items()}
            rows += _rows(count, interleaved(runs, rounds=rounds))
        used = torch.get_num_threads()
    cost, remarks = _cost(network, chiral, names)
    return BenchReport(*names, tuple(rows), cost, used, device, compiled, (*notes, *remarks))


def _cost(network: Network, chiral: Network, names: tuple[str, str]) -> tuple[Cost, tuple[str, ...]]:
    """Parameters of both networks, and multiplications of one sample; and what is to be said of their examples.

    Every file is counted on its own examples, which may differ in the number of samples.
    """
    nets = (network, chiral)
    counts = [sum(parameter.numel() for parameter in net.module.parameters()) for net in nets]
    samples = [net.rows for net in nets]
    macs = [macs_of(net.captured) if net.captured is not None else 0 for net in nets]
    per_sample = [round(total / rows) for total, rows in zip(macs, samples, strict=True)]
    apart = samples[0] != samples[1]
    sizes = " and ".join(f"{count:,} in {name}" for count, name in zip(samples, names, strict=True))
    return Cost(*counts, *per_sample, unit="sample"), (_DIFFER.format(sizes),) if apart else ()


def _networks(network: Network, chiral: Network) -> tuple[dict[str, nn.Module], list[str]]:
    """What is timed, by name, the original first."""
    nets: dict[str, nn.Module] = {ORIGINAL: network.module}
    notes: list[str] = []
    if network.program is not None:
        graph = network.program.module(check_guards=False)
        if isinstance(graph, torch.fx.GraphModule) and fold_norms(graph):
            nets[FOLDED] = guarded(graph, network.program, network.graph_origin)
    if None in network.resolved.inputs:
        notes.append("the flip average is not timed: it has states of both views")
    else:
        nets[TTA] = lifted(network).module
    return {**nets, CHIRAL: chiral.module}, notes


def with_times(network: Network, conversion: Conversion) -> Conversion:
    """The conversion with times of calls in its report: with the example, and with 64 samples where the batch is open.

    Without any where a network keeps a state, which runs would change, and where it is large or a call takes long.
    """
    if network.unheld or carried_of(network) or is_large(network.module):
        return conversion
    is_small = network.rows < _MANY and network.has_rows
    is_taken = network.program is not None and is_open(network.program)
    times: list[CallTime] = []
    for size in (0, _MANY) if is_small and is_taken else (0,):
        with suppress(Exception):  # of a size that one of the two does not take, in whatever way it says so
            call = _sized(network, size, "cpu")
            times += _timed(network.module, conversion.module, call, size or network.rows)
    cost = replace(conversion.report.cost, times=tuple(times))
    return replace(conversion, report=replace(conversion.report, cost=cost))


def _timed(before: nn.Module, after: nn.Module, call: Call, samples: int) -> list[CallTime]:
    """One entry, none where a call takes too long."""
    runs = {"before": _run(before, call), "after": _run(after, call)}
    started = perf_counter()
    for run in runs.values():
        run()
    if perf_counter() - started > _LONGEST:
        return []
    first, second = interleaved(runs, rounds=_ROUNDS, least=_LEAST)
    return [CallTime(samples, first.seconds, second.seconds, second.ratio, torch.get_num_threads())]


def _sized(network: Network, size: int, device: str) -> Call:
    """The example with another number of samples; 0 for its own. Raises ModelRunError where memory has no room."""
    tensors = iter(network.resolved.input_tensors)

    def fit(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        own = next(tensors)
        if size and own.has_rows:
            leaf = leaf.index_select(0, torch.arange(size) % len(leaf))
        return leaf.to(device)

    try:
        args, kwargs = pytree.tree_map(fit, (network.args, dict(network.kwargs)))
    except (RuntimeError, MemoryError) as error:
        raise ModelRunError(f"batch {size}", first_line(error), "give a smaller --batch") from error
    return tuple(args), dict(kwargs)


def _check(nets: Mapping[str, nn.Module], call: Call, size: int) -> None:
    for name, net in nets.items():
        try:
            _run(net, call)()
        except Exception as error:
            remedy = "leave --batch out, or give a network that takes this size"
            raise ModelRunError(f"{name}, batch {size}", first_line(error), remedy) from error


def _run(net: nn.Module, call: Call) -> Callable[[], object]:
    args, kwargs = call

    def run() -> object:
        with torch.inference_mode():
            return net(*args, **kwargs)

    return run


def _compiled(net: nn.Module) -> nn.Module:
    return torch.compile(net)  # type: ignore[return-value]


def _rows(batch: int, timings: Sequence[Timing]) -> list[BenchRow]:
    average = next((own.ratio for own in timings if own.name == TTA), None)
    return [
        BenchRow(batch, own.name, own.seconds, own.ratio, own.low, own.high, own.ratio / average if average else None)
        for own in timings
    ]


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
