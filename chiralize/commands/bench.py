"""`bench`: a network, its flip average and its chiral counterpart, timed against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from time import perf_counter
from typing import Any, cast

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
from chiralize.methods.fill.both_views import averaged
from chiralize.methods.several.stages import all_views
from chiralize.nn.deploy.norms import fold_norms
from chiralize.problem.network import Network
from chiralize.problem.progress import Progress, silent
from chiralize.problem.several import under_each
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
    progress: Progress = silent,
) -> BenchReport:
    """Time the original, its flip average and the chiral network in turns, at every batch size.

    batches: sizes to run at, by default that of the example.  threads: of torch, by default as they are.  compiled: by
    torch.compile first.  device: for example cuda.  Raises UsageError, ModelRunError.
    """
    if rounds < 2:
        raise UsageError("--rounds", f"{rounds} is too few for a median with quartiles", "give at least 2")
    modules, notes = _networks(network, chiral)
    with with_threads(threads), lent(named(device), *modules.values()):
        if compiled:
            modules = {name: cast(nn.Module, torch.compile(module)) for name, module in modules.items()}
        rows: list[BenchRow] = []
        sizes = batches or (0,)
        for number, size in enumerate(sizes):
            call = _sized(network, size, device)
            count = len(pytree.tree_leaves(call[0])[0])
            progress(f"timing, batch {count}", number / len(sizes))
            _check(modules, call, count)
            runs = {name: _run(module, call) for name, module in modules.items()}
            rows += _rows(count, interleaved(runs, rounds=rounds))
        used = torch.get_num_threads()
    cost, remarks = _cost(network, chiral, names)
    return BenchReport(*names, tuple(rows), cost, used, device, compiled, (*notes, *remarks))


def _cost(network: Network, chiral: Network, names: tuple[str, str]) -> tuple[Cost, tuple[str, ...]]:
    """Parameters of both networks, and multiplications of one sample; and a note where their examples differ in size.

    Every file is counted on its own examples, which may differ in the number of samples.
    """
    before, after = round(network.macs / network.rows), round(chiral.macs / chiral.rows)
    cost = Cost(network.parameter_count, chiral.parameter_count, before, after, unit="sample")
    if network.rows == chiral.rows:
        return cost, ()
    return cost, (_DIFFER.format(f"{network.rows:,} in {names[0]} and {chiral.rows:,} in {names[1]}"),)


def _networks(network: Network, chiral: Network) -> tuple[dict[str, nn.Module], list[str]]:
    """The networks to time, by name, the original first; and notes on what is not timed."""
    modules: dict[str, nn.Module] = {ORIGINAL: network.module}
    notes: list[str] = []
    if network.program is not None:
        graph = network.program.module(check_guards=False)
        if isinstance(graph, torch.fx.GraphModule) and fold_norms(graph):
            modules[FOLDED] = guarded(graph, network.program, network.graph_origin)
    if None in network.resolved.inputs:
        notes.append("the flip average is not timed: it has states of both views")
    else:
        average = all_views(under_each(network)).converted if network.further else averaged(network)
        modules[TTA] = average.module
    return {**modules, CHIRAL: chiral.module}, notes


def with_times(network: Network, conversion: Conversion) -> Conversion:
    """The conversion with times of calls in its report: with the example, and with 64 samples where the batch is open.

    Without any where a network keeps a state, which runs would change, and where it is large or a call takes long.
    """
    if network.unheld or carried_of(network) or is_large(network.module):
        return conversion
    is_small = network.rows < _MANY and network.has_rows
    is_taken = network.program is not None and is_open(network.program)
    sizes = (0, _MANY) if is_small and is_taken else (0,)  # 0: that of the example
    times: list[CallTime] = []
    for size in sizes:
        with suppress(Exception):  # of a size that one of the two does not take, in whatever way it says so
            runs = {
                "before": _run(network.as_given.module, _sized(network.as_given, size, "cpu")),
                "after": _run(conversion.module, _sized(network, size, "cpu")),
            }
            times += _timed(runs, size or network.rows)
    cost = replace(conversion.report.cost, times=tuple(times))
    return replace(conversion, report=replace(conversion.report, cost=cost))


def _timed(runs: Mapping[str, Callable[[], object]], samples: int) -> list[CallTime]:
    """A list of one time, of the calls before and after; empty where one takes too long."""
    started = perf_counter()
    for run in runs.values():
        run()
    if perf_counter() - started > _LONGEST:
        return []
    first, second = interleaved(runs, rounds=_ROUNDS, least=_LEAST)
    return [CallTime(samples, first.seconds, second.seconds, second.ratio, torch.get_num_threads())]


def _sized(network: Network, size: int, device: str) -> Call:
    """The example with another number of samples; 0 for its own. Raises ModelRunError where memory has no room."""
    declared = iter(network.resolved.input_tensors)

    def resized(leaf: Any) -> Any:
        """The tensor with `size` samples, the example's over and over; anything else as it is."""
        if not isinstance(leaf, Tensor):
            return leaf
        tensor = next(declared)
        if size and tensor.has_rows:
            leaf = leaf.index_select(0, torch.arange(size) % len(leaf))
        return leaf.to(device)

    try:
        args, kwargs = pytree.tree_map(resized, (network.args, dict(network.kwargs)))
    except (RuntimeError, MemoryError) as error:
        raise ModelRunError(f"batch {size}", first_line(error), "give a smaller --batch") from error
    return tuple(args), dict(kwargs)


def _check(modules: Mapping[str, nn.Module], call: Call, size: int) -> None:
    """Raise ModelRunError where a network does not take this call."""
    for name, module in modules.items():
        try:
            _run(module, call)()
        except Exception as error:
            remedy = "leave --batch out, or give a network that takes this size"
            raise ModelRunError(f"{name}, batch {size}", first_line(error), remedy) from error


def _run(module: nn.Module, call: Call) -> Callable[[], object]:
    args, kwargs = call

    def run() -> object:
        """One call."""
        with torch.inference_mode():
            return module(*args, **kwargs)

    return run


def _rows(batch: int, timings: Sequence[Timing]) -> list[BenchRow]:
    average = next((timing.ratio for timing in timings if timing.name == TTA), None)
    rows: list[BenchRow] = []
    for timing in timings:
        row = BenchRow(batch, timing.name, timing.seconds, timing.ratio, timing.low, timing.high)
        rows.append(replace(row, to_average=timing.ratio / average) if average else row)
    return rows


@contextmanager
def with_threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
