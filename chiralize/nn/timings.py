"""What was measured on this machine: how long one way to an answer takes beside another.

Every ratio is measured once and kept in a file of the user's cache folder, one for each processor and version of
torch, so that what is chosen by it stays chosen (ratios on another device than the CPU say its name):

    $XDG_CACHE_HOME/chiralize/timings-<processor and torch>.json      (~/.cache; ~/Library/Caches; %LOCALAPPDATA%)

CHIRALIZE_TIMINGS=off measures and reads nothing: choices are then by a model of cost, alike on every machine. Any other
value is the path of the file. A file that cannot be read counts as empty, one that cannot be written is left alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from statistics import median

import torch

from chiralize.storage.atomic import write_text

VARIABLE = "CHIRALIZE_TIMINGS"
CPU = torch.device("cpu")
_FORMAT = 2
_ROUNDS, _LEAST, _LONGEST = 7, 1e-3, 0.3  # rounds; seconds of a run in a round, and of all of them
_DOUBTFUL = 0.8
"""Ratios from this up to 1 are measured twice: a second measurement of them has given another result."""
Runs = Mapping[str, Callable[[], object]]
_known: dict[str, float] = {}
_is_read = False


def measured(name: str, runs: Callable[[], Runs], otherwise: float | None = None, device: torch.device = CPU) -> float:
    """Time of the second run over that of the first, measured where it is not known.

    name: of what is compared, with every size that matters; threads, or the device, are added.  otherwise: the answer
    where nothing is to be measured.  device: where the runs compute.  NaN, which is neither less nor more than
    anything, where that is not given or a run fails.
    """
    if is_off():
        if otherwise is None:
            return float("nan")
        return otherwise
    name = f"{name}, {_place(device)}"
    _read()
    if name not in _known:
        share = _by_itself(runs, torch.get_num_threads(), device)
        if math.isnan(share):
            return share
        _known[name] = round(share, 4)
        _write()
    return _known[name]


def is_off() -> bool:
    """Whether nothing is to be measured."""
    return os.environ.get(VARIABLE, "").strip().lower() in ("off", "0", "no", "false")


def is_known(name: str, device: torch.device = CPU) -> bool:
    """Whether there is a ratio of that name already."""
    _read()
    return f"{name}, {_place(device)}" in _known


def is_known_above(name: str, share: float) -> bool:
    """Whether the ratio of that name is known for the CPU and not below `share`: quickly, for layers that ask often."""
    return _known.get(f"{name}, {torch.get_num_threads()} threads", 0.0) >= share


def forget_timings() -> None:
    """Delete what was measured on this machine; it is measured again where it is needed."""
    global _is_read
    _known.clear()
    _is_read = False
    with suppress(OSError, RuntimeError):  # no file that may be deleted, no home
        path().unlink(missing_ok=True)


def _place(device: torch.device) -> str:
    """The place and precision of the computation: the processor's threads, or a device by its name."""
    if device.type == "cpu":
        return f"{torch.get_num_threads()} threads"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{name}, products in {torch.get_float32_matmul_precision()} precision"


def _by_itself(runs: Callable[[], Runs], threads: int, device: torch.device) -> float:
    """The ratio, measured in a separate thread, in which no mode, transform or autocast of the caller is active."""
    answers: list[float] = []

    def measure() -> None:
        """Append the ratio, if both can be run."""
        torch.set_num_threads(threads)
        with suppress(Exception), torch.no_grad():  # what cannot be run is not faster; what it keeps can be trained
            answers.append(ratio(runs(), device))

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    return answers[0] if answers else float("nan")


def ratio(runs: Runs, device: torch.device = CPU) -> float:
    """Median over interleaved rounds of the second run's time over the first's.

    A round runs each way often enough for a millisecond, one after the other in alternating order, so that a machine
    that slows down slows both. What lies a little below one is measured twice, and the larger upper quartile counts:
    another hour may say otherwise. What is queued on a device has been computed before the clock starts, and before
    it is read again.
    """
    is_cpu = device.type == "cpu"
    if is_cpu and torch.get_num_threads() == 1:
        # Processor time, whatever else the machine does. It adds up over threads, so with several only the wall clock
        # shows what they save.
        clock = time.process_time
    else:
        clock = time.perf_counter
    if is_cpu:
        settle = _no_queue
    else:
        settle = partial(torch.get_device_module(device).synchronize, device)
    first, second = runs.values()
    # Caches, allocations and compiled kernels of the first call are not what is compared.
    for run in (first, second):
        run()
    longest = max(_seconds(run, 1, clock, settle) for run in (first, second))
    # Runs of a round, and rounds: short runs are repeated, long ones are measured three times only.
    count = max(1, round(_LEAST / max(longest, 1e-7)))
    rounds = max(3, min(_ROUNDS, int(_LONGEST / max(2 * count * longest, 1e-7))))

    def shares() -> list[float]:
        """Of every round, sorted."""
        ratios: list[float] = []
        for number in range(rounds):
            order = (first, second) if number % 2 else (second, first)
            seconds = {run: _seconds(run, count, clock, settle) for run in order}
            ratios.append(seconds[second] / max(seconds[first], 1e-9))
        return sorted(ratios)

    once = shares()
    if not _DOUBTFUL < median(once) < 1.0:
        return median(once)
    return max(each[3 * len(each) // 4] for each in (once, shares()))


def _seconds(run: Callable[[], object], count: int, clock: Callable[[], float], settle: Callable[[], object]) -> float:
    """Seconds that `count` runs take, by a clock, everything queued included."""
    settle()
    start = clock()
    for _ in range(count):
        run()
    settle()
    return clock() - start


def _no_queue() -> None:
    """Nothing to wait for: on the CPU a call returns when its result is computed."""


# ---- the file -------------------------------------------------------------------------------------------------------
def path() -> Path:
    """The file that holds what was measured on this machine with this torch."""
    given = os.environ.get(VARIABLE, "").strip()
    if given and not is_off():
        return Path(given)
    return _folder() / "chiralize" / f"timings-{_fingerprint()}.json"


def machine() -> str:
    """The processor by its name, family and model, and how many there are.

    Names alone are alike: in the cloud an "AMD EPYC" may be of any generation.
    """
    return f"{_processor()}, {os.cpu_count()} processors"


@cache
def _processor() -> str:
    """The name of this machine's processor."""
    named = ""
    with suppress(OSError):
        named = _of_linux(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    return named or platform.processor() or platform.machine() or "unknown"


def _of_linux(table: str) -> str:
    """The first processor of /proc/cpuinfo; "" where its name is not in the table, as on ARM."""
    facts: dict[str, str] = {}
    for line in table.splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    name = facts.get("model name", "")
    if name and "cpu family" in facts and "model" in facts:
        return f"{name} (family {facts['cpu family']}, model {facts['model']})"
    return name


def _fingerprint() -> str:
    """A short name for the kind of machine and torch: on any other one ratios are measured anew."""
    kind = f"{machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, format {_FORMAT}"
    return hashlib.sha256(kind.encode()).hexdigest()[:16]


def _folder() -> Path:
    """The user's folder for caches, as each system has it."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given and Path(given).is_absolute():
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


def _read() -> None:
    """Take over what the file says, once."""
    global _is_read
    if _is_read:
        return
    _is_read = True
    with suppress(OSError, ValueError, RuntimeError):  # no file, no JSON, no home
        table = json.loads(path().read_text(encoding="utf-8"))
        if isinstance(table, dict) and isinstance(table.get("ratios"), dict):
            ratios = table["ratios"]
        else:
            ratios = {}
        for name, value in ratios.items():
            if isinstance(value, float | int) and 0 < value < 1e6:
                _known.setdefault(name, float(value))


def _write() -> None:
    """Keep what is known, and what other processes measured meanwhile."""
    global _is_read
    with suppress(Exception):  # an unwritable folder, a full disk, no home: it is measured again another time
        # Read again before writing, so that ratios of other processes stay in the file.
        _is_read = False
        _read()
        target = path()
        target.parent.mkdir(parents=True, exist_ok=True)
        table = {"machine": machine(), "torch": torch.__version__, "ratios": dict(sorted(_known.items()))}
        write_text(target, json.dumps(table, indent=1))
