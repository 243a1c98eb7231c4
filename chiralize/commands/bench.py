"""`bench`: a network, its flip average and its chiral counterpart, timed against each other.

    original                  f, as the file has it
    original, norms folded    f with batch norms folded into the layers before them, where there are any
    original, our ways        f with every speed-up of the chiral form that is not due to symmetry (`fair`)
    flip average (TTA)        ½ (f(x) + T f(T x)), two passes
    chiral                    g

All of them get the same example in every round (`commands.timing`), and a row says seconds, and the ratio to the
original's time in the same round. `with_times` does a little of this after every conversion, for its report.

Files may differ in the runtime that runs them (ONNX or torch) and in the size of their examples. A ratio of either kind
would not be one of conversions, so that it is avoided where that is possible, refused, or noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from time import perf_counter, process_time
from typing import cast

import torch
from torch import nn

from chiralize.commands.convert import Conversion
from chiralize.commands.runtimes import in_one_runtime, parameters_of, runs_in_onnxruntime, runtime_of
from chiralize.commands.timing import Timing, interleaved
from chiralize.errors import ModelRunError, UsageError
from chiralize.errors.words import first_line, when
from chiralize.graph.copies import is_large
from chiralize.graph.devices import lent, named
from chiralize.graph.fixed_sizes import guarded
from chiralize.graph.other_sizes import is_open
from chiralize.graph.running import Arguments, Call
from chiralize.methods.several.stages import all_views
from chiralize.nn import ChiralModule
from chiralize.nn.deploy.fair import with_our_ways
from chiralize.nn.deploy.norms import fold_norms
from chiralize.nn.timings import machine
from chiralize.problem.cost import affordable_samples
from chiralize.problem.network import Network
from chiralize.problem.progress import Progress, silent
from chiralize.problem.resizing import resized, samples_in
from chiralize.problem.several import under_each
from chiralize.report import BenchReport, BenchRow, CallTime, Cost
from chiralize.report.particulars import Conditions
from chiralize.storage.onnx_network import OnnxNetwork

_DIFFER = "the examples that the files bring differ in size ({}): all are timed on the original's"
_AT_COMMON_SIZES = (
    "the examples that the files bring differ in size ({}): all are timed on the same inputs, {}, which both files "
    "take; --batch asks for other sizes"
)
_TWO_RUNTIMES = (
    "one of the two is run by onnxruntime and the other by torch: part of the ratio is theirs; a file of the same kind "
    "for both tells what the conversion costs"
)
_EXPORTED = "{} was exported for onnxruntime: one runtime runs both"
_LEAVE_OUT = "leave --batch out, or give a network that takes this size"
_MANY = 64
"""Samples of the second call that a conversion times, where the batch is open."""
_ROUNDS, _LEAST, _LONGEST = 7, 2e-3, 1.0  # rounds; seconds of a run in a round, and of two calls
_WORK = 1e10  # multiplications that a call may take: about the same second
ORIGINAL, FOLDED, TTA, CHIRAL = "original", "original, norms folded", "flip average (TTA)", "chiral"
FAIR = "original, our ways"


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
    fair: bool = False,
    other_examples: bool = False,
    progress: Progress = silent,
) -> BenchReport:
    """Time the original, its flip average and the chiral network in turns, at every batch size.

    batches: sizes to run at, by default that of the example; where the two examples have unlike numbers of samples,
    each of these that both networks take, and a note says so.  threads: of torch, by default as they are.  compiled: by
    torch.compile first.  device: for example cuda.  fair: the original as well with every speed-up of the chiral form
    that does not come from symmetry.  other_examples: time both on the original's example, also where that of the
    other has another size and no batch is given.  Raises UsageError, ModelRunError.

    On one thread of the CPU the processor's time is measured, else that on the wall.
    """
    # What cannot be timed, or would not be comparable.
    _refuse_elsewhere(network, chiral, compiled, device)
    if rounds < 2:
        raise UsageError("--rounds", f"{rounds} is too few for a median with quartiles", "give at least 2")
    differ = _differ(network, chiral, names)
    if differ and not batches and not other_examples:
        batches = _sizes_of_both(network, chiral, names, differ)
        differ_note = _AT_COMMON_SIZES.format(differ, " and ".join(f"at batch {size:,}" for size in batches))
    else:
        differ_note = when(differ, _DIFFER.format(differ))
    # The files as they came, for parameters, notes and advice: below both may be replaced by ONNX sessions.
    given = network, chiral
    with with_threads(threads):  # a session of onnxruntime has its threads for good
        if not fair:  # a graph of onnxruntime has no form that our speed-ups could be made in
            network, chiral = _in_one_runtime(network, chiral, batches or (0,))
    # All forms to be timed, on the device, compiled where that is asked for.
    modules, notes = _networks(network, chiral, fair)
    with with_threads(threads), lent(named(device), *modules.values()):
        if compiled:
            modules = {name: cast(nn.Module, torch.compile(module)) for name, module in modules.items()}
        rows: list[BenchRow] = []
        sizes, used = batches or (0,), torch.get_num_threads()
        # Processor time leaves out what other programs do. It adds up threads, so that it is right for one alone.
        is_alone = used == 1 and device == "cpu"
        for number, size in enumerate(sizes):
            count = size or samples_in(network)
            progress(f"timing, batch {count}", number / len(sizes))
            calls = _calls(modules, network, chiral, size, device)
            if error := _why_not(modules, calls):
                # `_how_to_compare` tries the two files alone. Where only a form derived from them fails, such as the
                # average, it would advise what fails again.
                both = {ORIGINAL: network.module, CHIRAL: chiral.module}
                remedy = _how_to_compare(*given, names, device) if _why_not(both, calls) else _LEAVE_OUT
                raise ModelRunError(f"{error[0]}, batch {count}", error[1], remedy)
            # Every form has taken its call once by now, so that errors are no part of the timing.
            runs = {name: _run(module, calls[name]) for name, module in modules.items()}
            rows += _rows(count, interleaved(runs, rounds=rounds, clock=process_time if is_alone else perf_counter))
    if differ_note:
        notes.append(differ_note)
    notes += _on_runtimes(given, (network, chiral), names)
    clock = "processor" if is_alone else "wall"
    runtimes = " and ".join(dict.fromkeys((runtime_of(network), runtime_of(chiral))))
    conditions = Conditions(used, device, compiled, machine(), torch.__version__, clock, runtimes)
    return BenchReport(*names, tuple(rows), _cost(*given), conditions, tuple(notes))


def _in_one_runtime(network: Network, chiral: Network, sizes: Sequence[int]) -> tuple[Network, Network]:
    """Both networks in one runtime where that takes all of these numbers of samples; else as they are."""
    network_there, chiral_there = in_one_runtime(network, chiral)
    modules = {ORIGINAL: network_there.module, CHIRAL: chiral_there.module}
    for size in sizes:
        if _why_not(modules, _calls(modules, network, chiral, size, "cpu")):
            return network, chiral
    return network_there, chiral_there


def _on_runtimes(given: tuple[Network, Network], timed: tuple[Network, Network], names: tuple[str, str]) -> list[str]:
    """A note where one of the two was exported for the other's runtime, or where two runtimes were timed."""
    if runs_in_onnxruntime(timed[0]) != runs_in_onnxruntime(timed[1]):
        return [_TWO_RUNTIMES]
    for before, after, name in zip(given, timed, names, strict=True):
        if after is not before:
            return [_EXPORTED.format(name)]
    return []


def _refuse_elsewhere(network: Network, chiral: Network, compiled: bool, device: str) -> None:
    """Raise UsageError where an ONNX file is to be compiled by torch, or run on another device than the CPU."""
    if (runs_in_onnxruntime(network) or runs_in_onnxruntime(chiral)) and (compiled or device != "cpu"):
        option = "--compile" if compiled else f"--device {device}"
        raise UsageError(option, "an ONNX file is run by onnxruntime, on the CPU", f"leave {option} out")


def _cost(network: Network, chiral: Network) -> Cost:
    """Parameters of both networks, and multiplications of one sample, each counted on its own examples."""
    before, after = round(network.macs / samples_in(network)), round(chiral.macs / samples_in(chiral))
    return Cost(parameters_of(network), parameters_of(chiral), before, after, unit="sample")


def _differ(network: Network, chiral: Network, names: tuple[str, str]) -> str:
    """How the examples of the two differ: in the number of samples, or else in the sizes of their tensors."""
    before, after = samples_in(network), samples_in(chiral)
    if before != after:
        return f"{before:,} samples in {names[0]} and {after:,} in {names[1]}"
    first, second = _sizes(network), _sizes(chiral)
    if first != second:
        return f"{first} in {names[0]} and {second} in {names[1]}"
    return ""


def _sizes_of_both(network: Network, chiral: Network, names: tuple[str, str], differ: str) -> tuple[int, ...]:
    """The numbers of samples, of the two that the examples have, with which both files can be called.

    Raises UsageError, with what to do, where there is none, and where the examples differ in more than their samples:
    a time with 7 frames says nothing of one with 27, so that the user chooses.
    """
    one_sample = [_shapes(one, resized(one, 1)) for one in (network, chiral)]
    if one_sample[0] == one_sample[1]:
        sizes = _taken_by_both(_takers(network, chiral, names), names)
        if sizes:
            return tuple(sorted(sizes))  # the sentence on times is that of the last one
        remedy = _how_to_compare(network, chiral, names)
    elif samples_in(network) in _taken_by_both(_takers(network, chiral, names), names):
        remedy = f"give --other-examples to time both on the example of {names[0]}"
    else:
        remedy = f"export both with an example of one size: {names[1]} does not take that of {names[0]}"
    raise UsageError("bench", f"the examples that the files bring differ in size ({differ})", remedy)


def _shapes(network: Network, call: Call) -> list[tuple[int, ...]]:
    """The sizes of a call's tensors; states that callers pass may be others."""
    tensors = filter(lambda tensor: tensor.kind != "state", network.resolved.input_tensors)
    values = Arguments.of(*call).tensors
    return [tuple(values[tensor.index].shape) for tensor in tensors]


def _sizes(network: Network) -> str:
    """The sizes of the example's tensors, as they are written in options; states that callers pass may be others."""
    tensors = filter(lambda tensor: tensor.kind != "state", network.resolved.input_tensors)
    return "; ".join(",".join(map(str, tensor.shape)) for tensor in tensors)


def _calls(names: Iterable[str], network: Network, chiral: Network, size: int, device: str) -> dict[str, Call]:
    """The call that every network gets, by name: the original's example with `size` samples, 0 for as many as it has.

    The chiral one gets the states of its own example: an average has those of both views, which are twice as wide.
    Raises ModelRunError.
    """
    # All networks get one and the same call, but for states.
    calls = dict.fromkeys(names, resized(network, size, device))
    states = [tensor.index for tensor in chiral.resolved.input_tensors if tensor.kind == "state"]
    if CHIRAL not in calls or not states:
        return calls
    count = size or samples_in(network)
    # 0 takes the example as it is, states in the sizes that they have in it.
    if count == samples_in(chiral):
        count = 0
    arguments, example = Arguments.of(*calls[CHIRAL]), Arguments.of(*resized(chiral, count, device)).tensors
    tensors = list(arguments.tensors)
    for index in states:
        tensors[index] = example[index]
    args, kwargs = arguments.filled(tensors)
    return {**calls, CHIRAL: (tuple(args), dict(kwargs))}


def _networks(network: Network, chiral: Network, fair: bool) -> tuple[dict[str, nn.Module], list[str]]:
    """The networks to time, by name, the original first; and notes on what is not timed."""
    modules: dict[str, nn.Module] = {ORIGINAL: network.module}
    notes: list[str] = []
    if network.program is not None:
        # A second graph of the program, since folding changes it in place.
        graph = network.program.module(check_guards=False)
        if isinstance(graph, torch.fx.GraphModule) and fold_norms(graph):
            modules[FOLDED] = guarded(graph, network.program, network.origin.word)
        if fair:
            has_layers = any(isinstance(part, ChiralModule) for part in chiral.module.modules())
            modules[FAIR] = with_our_ways(network.program, has_layers)
    elif fair:
        notes.append("no fair column: the original has no graph that its speed-ups could be made in")
    if None in network.resolved.inputs:
        notes.append("the flip average is not timed: it has states of both views")
    else:
        modules[TTA] = all_views(under_each(network)).converted.module
    return {**modules, CHIRAL: chiral.module}, notes


def with_times(network: Network, conversion: Conversion, samples: int = 0) -> Conversion:
    """The conversion with times of calls in its report: with the example, and with 64 samples where the batch is open.

    samples: of the user's example, where that of the network has more: calibration samples were put in batches, of
    which nobody asked for times. 0 for as many as the network's has.
    Without any where a network keeps a state, which runs would change, and where it is large or a call takes long; with
    that of the example alone where 64 samples cost much.
    """
    if network.origin.unheld or network.carried or is_large(network.module):
        return conversion
    samples = samples or network.rows
    # A second time is worth it where the example is a small one, its batch may be larger, and that does not take long.
    is_small = samples < _MANY and network.has_rows
    is_taken = network.program is not None and is_open(network.program)
    is_cheap = affordable_samples(network, _WORK) >= _MANY
    counts = (samples, _MANY) if is_small and is_taken and is_cheap else (samples,)
    times: list[CallTime] = []
    for count in counts:
        # The example as it is where it has as many samples.
        size = 0 if count == network.rows else count
        with suppress(Exception):  # of a size that one of the two does not take, in whatever way it says so
            runs = {
                "before": _run(network.as_given.module, resized(network.as_given, size)),
                "after": _run(conversion.module, resized(network, size)),
            }
            times += _timed(runs, count)
    cost = replace(conversion.report.cost, times=tuple(times))
    return replace(conversion, report=replace(conversion.report, cost=cost))


def _timed(runs: Mapping[str, Callable[[], object]], samples: int) -> list[CallTime]:
    """A list of one time, of the calls before and after; empty where both together take more than a second."""
    started = perf_counter()
    # The first calls warm up caches, and show at once whether rounds of them are affordable.
    for run in runs.values():
        run()
    if perf_counter() - started > _LONGEST:
        return []
    # Processor time leaves out other processes, but it adds up the threads.
    clock = process_time if torch.get_num_threads() == 1 else perf_counter
    first, second = interleaved(runs, rounds=_ROUNDS, least=_LEAST, clock=clock)
    return [CallTime(samples, first.seconds, second.ratio, torch.get_num_threads())]


def _why_not(modules: Mapping[str, nn.Module], calls: Mapping[str, Call]) -> tuple[str, str] | None:
    """The first network by name that does not take its call, and its error in a line; None where all do."""
    for name, module in modules.items():
        try:
            _run(module, calls[name])()
        except Exception as error:
            return name, first_line(error)
    return None


def _how_to_compare(network: Network, chiral: Network, names: tuple[str, str], device: str = "cpu") -> str:
    """The option with which two files can be timed whose examples have other sizes: tried, not guessed.

    A file that was exported without an open batch takes the number of samples of its example alone.
    """
    takes = _takers(network, chiral, names, device)
    fits = _taken_by_both(takes, names)
    # One of two sizes fits both files: name it. None does: the files have to be exported otherwise. Both do, or there
    # is one size: what is wrong is that which --batch asks for.
    if len(fits) == 1 < len(takes):
        return f"give --batch {fits[0]}, the one of these sizes that both take"
    if len(takes) > 1 and not fits:
        open_one = "export one with an open batch (dynamic_shapes), or both at one size"
        return f"{' and '.join(names)} take no number of samples in common: {open_one}"
    return _LEAVE_OUT


def _takers(network: Network, chiral: Network, names: tuple[str, str], device: str = "cpu") -> dict[int, list[str]]:
    """For each number of samples that one of the examples has, the names of the files that take such a call: tried."""
    takes: dict[int, list[str]] = {}
    for size in dict.fromkeys((samples_in(network), samples_in(chiral))):
        calls = _calls((ORIGINAL, CHIRAL), network, chiral, size, device)
        takes[size] = []
        for name, label, one in zip(names, (ORIGINAL, CHIRAL), (network, chiral), strict=True):
            if _why_not({label: one.module}, calls) is None:
                takes[size].append(name)
    return takes


def _taken_by_both(takes: Mapping[int, Sequence[str]], names: tuple[str, str]) -> list[int]:
    """The numbers of samples that both files take."""
    return [size for size, taken in takes.items() if len(taken) == len(names)]


def _run(module: nn.Module, call: Call) -> Callable[[], object]:
    """A call without arguments, to be timed: for ONNX without the conversion of tensors to arrays."""
    args, kwargs = call
    if isinstance(module, OnnxNetwork):
        return module.ready(args, kwargs)

    def run() -> object:
        """One call."""
        with torch.inference_mode():
            return module(*args, **kwargs)

    return run


def _rows(batch: int, timings: Sequence[Timing]) -> list[BenchRow]:
    """The rows of one size of the batch; ratios to the flip average and to the fastest form where they were timed."""
    ratios = {timing.name: timing.ratio for timing in timings}
    average, fastest = ratios.get(TTA), None
    if FAIR in ratios:  # of the original's forms the fastest: no speed-up of ours may slow it down
        fastest = min(ratios[name] for name in (ORIGINAL, FOLDED, FAIR) if name in ratios)
    rows: list[BenchRow] = []
    for timing in timings:
        row = BenchRow(batch, timing.name, timing.seconds, timing.ratio, timing.low, timing.high)
        to_average = timing.ratio / average if average else None
        rows.append(replace(row, to_average=to_average, to_fair=timing.ratio / fastest if fastest else None))
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
