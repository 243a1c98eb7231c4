"""Does a damaged file, or a kill, ever do harm?  Counts of exit statuses, of code that ran, and of files left behind.

    python -m benchmarks.soundness.files [--count 500] [--kills 100] [--seconds 3600] [--csv files.csv]

Good files of each kind are written first. Then each trial damages one of them and gives it to the command that reads
it, in a process of its own (forked, so that torch is not imported again). A row says how the command ended. What must
not be: a status that docs/errors.md does not name, a signal, a traceback, a started program or a connection, a new
file beside the output, more than the limits of time and memory. A kill ends a conversion at a random moment; then the
target must be absent or whole, and the next conversion to it must leave no other file.
"""

from __future__ import annotations

import argparse
import csv
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.soundness.bodies import Body
from benchmarks.soundness.damage import damaged

STATUSES = {0, 1, 2, 3}
"""What docs/errors.md names for files that a user hands in; 101 is a defect of ours."""
LIMIT = 60
MEMORY = 6 * 2**30
COLUMNS = ("trial", "file", "command", "status", "seconds", "what", "said")
BODY = Body(("left_0", "right_0", "centre_0", "left_1", "right_1"), (1, 0, 2, 4, 3), ("x", "y"), ("x",), 0)
FACTORY = """
from torch import nn


def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 10), nn.Unflatten(1, (5, 2)))
"""


class _Payload:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def write_good_files(folder: Path) -> list[tuple[str, list[str]]]:
    """Files of each kind in the folder; and of each its name and the command that reads it."""
    import numpy as np
    import yaml

    (folder / "factory.py").write_text(FACTORY)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 10), nn.Unflatten(1, (5, 2))).eval()
    x = torch.randn(4, 5, 2)
    (folder / "body.yaml").write_text(yaml.safe_dump(BODY.spec()))
    torch.export.save(torch.export.export(net, (x,)), folder / "net.pt2")
    torch.save(net.state_dict(), folder / "weights.pt")
    torch.jit.save(torch.jit.trace(net, x), folder / "script.pt")
    np.savez(folder / "poses.npz", x=np.random.default_rng(0).standard_normal((64, 5, 2)).astype("float32"))
    torch.onnx.export(net, (x,), str(folder / "net.onnx"), dynamo=True, verbose=False)
    good = ["convert", "net.pt2", "--skeleton", "body.yaml", "--method", "project", "--force"]
    status, said, _ = command([*good, "-o", "chiral.pt2"], folder)
    assert status == 0, said
    factory = ["--model", "factory:make", "--skeleton", "body.yaml", "--input-shape", "4,5,2", "--force"]
    for name in ("chiral.safetensors", "chiral.pt"):
        status, said, _ = command(["convert", "weights.pt", *factory, "--method", "project", "-o", name], folder)
        assert status == 0, said
    (companion,) = [name for name in names_in(folder) if name.endswith(".json")]
    out = ["--method", "average", "--force", "-o", "out.pt2"]
    return [
        ("net.pt2", ["convert", "net.pt2", "--skeleton", "body.yaml", *out]),
        ("chiral.pt2", ["verify", "chiral.pt2"]),
        ("weights.pt", ["convert", "weights.pt", *factory, *out]),
        ("script.pt", ["convert", "script.pt", "--skeleton", "body.yaml", "--input-shape", "4,5,2", *out]),
        ("net.onnx", ["convert", "net.onnx", "--skeleton", "body.yaml", *out[:3], "-o", "out.onnx"]),
        ("poses.npz", ["convert", "net.pt2", "--skeleton", "body.yaml", "--calibrate", "poses.npz", *out]),
        ("body.yaml", ["convert", "net.pt2", "--skeleton", "body.yaml", *out]),
        ("body.yaml", ["skeleton", "lint", "body.yaml"]),
        (
            "chiral.safetensors",
            ["verify", "chiral.safetensors", "--model", "factory:make", "--input-shape", "4,5,2"],
        ),
        (
            companion,
            ["verify", "chiral.pt", "--model", "factory:make", "--input-shape", "4,5,2"],
        ),
    ]


def command(arguments: list[str], folder: Path, delay: float | None = None) -> tuple[int, str, list[str]]:
    """Run the command line in a forked process; its status (negative: a signal), what it printed, its offences.

    delay: seconds after which it is killed.
    """
    log = folder.parent / "log.txt"
    child = os.fork()
    if child == 0:
        _child(arguments, folder, log)
    started = time.monotonic()
    limit = LIMIT if delay is None else delay
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - started > limit:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.002)
    printed = log.read_text(errors="replace")
    forbidden = [line for line in printed.splitlines() if line.startswith("FORBIDDEN")]
    return os.waitstatus_to_exitcode(status), printed, forbidden


def _child(arguments: list[str], folder: Path, log: Path) -> None:
    """The command line with its output in a file, with limits, and with an eye on programs and connections."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))

    def watch(event: str, details: tuple[Any, ...]) -> None:
        if event in ("os.system", "os.exec", "os.posix_spawn", "socket.connect", "subprocess.Popen", "os.fork"):
            os.write(2, f"FORBIDDEN {event} {details!r:.200}\n".encode())

    sys.addaudithook(watch)
    os.chdir(folder)
    status = 99
    try:
        from chiralize.__main__ import main

        main(arguments)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 98
    finally:
        sys.stdout.flush()
        os._exit(status)


def names_in(folder: Path) -> set[str]:
    """Names of the files in a folder."""
    return {path.name for path in folder.iterdir()}


def trial(number: int, good: Path, cases: list[tuple[str, list[str]]], work: Path) -> dict[str, Any]:
    """One damaged file, and what came of it."""
    draw = random.Random(number)
    name, arguments = draw.choice(cases)
    folder = work / "trial"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    sentinel = work / "ran"
    payload = pickle.dumps(_Payload(sentinel), protocol=draw.choice([0, 2]))
    (folder / name).write_bytes(damaged((folder / name).read_bytes(), name, draw, payload))
    before = names_in(folder)
    elapsed = time.monotonic()
    status, printed, forbidden = command(arguments, folder)
    elapsed = time.monotonic() - elapsed
    wrong = list(forbidden)
    if status not in STATUSES:
        wrong.append("killed after the limit" if elapsed > LIMIT else f"status {status}")
    if "Traceback" in printed:
        wrong.append("traceback")
    if sentinel.exists():
        wrong.append("code of the file ran")
        sentinel.rmdir()
    new = names_in(folder) - before - {"out.pt2", "out.onnx", "out.json", "out.html", "__pycache__"}
    if new:
        wrong.append(f"left {sorted(new)}")
    if status and {"out.pt2", "out.onnx"} & names_in(folder) and "EquivarianceError" not in printed:
        wrong.append(f"wrote its output and ended with {status}")
    lines = printed.strip().splitlines()
    said = lines[0].replace(str(work), "WORK")[:160] if lines else ""
    return dict(
        zip(COLUMNS, (number, name, arguments[0], status, round(elapsed, 2), "; ".join(wrong), said), strict=True)
    )


def kill(number: int, good: Path, usual: float, work: Path) -> dict[str, Any]:
    """One conversion that is killed at some moment of the `usual` seconds, and the one after it."""
    draw = random.Random(number)
    folder = work / "kill"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    arguments = ["convert", "net.pt2", "--skeleton", "body.yaml", "--method", "project", "--force", "-o", "out.pt2"]
    before = names_in(folder)
    status, printed, _ = command(arguments, folder, delay=draw.uniform(0.0, 1.1 * usual))
    wrong = []
    stray = names_in(folder) - before - {"out.pt2"}
    if (folder / "out.pt2").exists():
        verified, printed, _ = command(["verify", "out.pt2"], folder)
        if verified != 0:
            wrong.append(f"the file is torn: verify {verified}")
    status_after, printed, _ = command(arguments, folder)
    if status_after != 0:
        wrong.append(f"the next conversion ended with {status_after}")
    left = names_in(folder) - before - {"out.pt2"}
    if left:
        wrong.append(f"left after the next conversion {sorted(left)}")
    said = f"stray before the next one {sorted(stray)}" if stray else ""
    return dict(zip(COLUMNS, (number, "killed", "convert", status, 0.0, "; ".join(wrong), said), strict=True))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--csv", type=Path, default=Path("files.csv"))
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as name, options.csv.open("w", newline="") as file:
        work = Path(name)
        good = work / "good"
        good.mkdir()
        cases = write_good_files(good)
        for _, arguments in cases:
            status, printed, forbidden = command(arguments, _copied(good, work))
            assert status in (0, 1), (arguments, status, printed)
            print(arguments[:2], status, forbidden)
        started = time.monotonic()
        command(
            ["convert", "net.pt2", "--skeleton", "body.yaml", "--method", "project", "--force", "-o", "out.pt2"],
            _copied(good, work),
        )
        usual = time.monotonic() - started
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        trials = [
            (trial, number, (good, cases, work)) for number in range(options.first, options.first + options.count)
        ]
        kills = [(kill, number, (good, usual, work)) for number in range(options.first, options.first + options.kills)]
        rows = []
        for run, number, rest in [*trials, *kills]:
            if time.monotonic() > end:
                break
            row = run(number, *rest)
            writer.writerow(row)
            file.flush()
            rows.append(row)
            if row["what"]:
                print(row, flush=True)
    print(Counter(str(row["status"]) for row in rows), f"{sum(bool(row['what']) for row in rows)} with something wrong")
    return 0


def _copied(good: Path, work: Path) -> Path:
    folder = work / "trial"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
