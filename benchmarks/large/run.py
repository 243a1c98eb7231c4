"""Convert a large transformer by `match` from its weights, and time the propagation through a long graph:

    python -m benchmarks.large.run [--width 2048 --depth 20] [--dtype bfloat16] [--file] [--csv results.csv]

Every measurement runs in a process of its own. Peak memory is what the process held at most (VmHWM) beyond what it held
before the network was built, when a small one had gone the same way: libraries that are loaded on the way do not count.
`--file` starts from a .pt2 and writes one, as the command line does.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COLUMNS = (
    "case", "parameters", "dtype", "ops", "seconds", "model_mb", "peak_mb", "peak_over_model", "ms_per_op", "residual",
    "residual_dtype", "result",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 where something failed."""
    options = _options(argv)
    if options.one:
        print(json.dumps(_CASES[options.one](options)))
        return 0
    names = ["propagation", "convert"] + (["file"] if options.file else [])
    rows = [_apart(name, sys.argv[1:] if argv is None else list(argv)) for name in names]
    with options.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in row.items() if value != ""))
    return 0 if all(row["result"] == "ok" for row in rows) else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large.run", description=__doc__)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--blocks", type=int, default=800, help="residual blocks of the long graph, five ops each")
    parser.add_argument("--file", action="store_true", help="from a .pt2 to a .pt2 as well")
    parser.add_argument("--csv", type=Path, default=Path("results.csv"), help="table to write (results.csv)")
    parser.add_argument("--one", choices=("propagation", "convert", "file", "build"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _apart(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """A measurement in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.large.run", *arguments, "--folder", folder]
        if name == "file":
            subprocess.run([*command, "--one", "build"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run([*command, "--one", name], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"case": name}
    if done.returncode:
        return row | {"result": f"exit code {done.returncode}"}
    return row | json.loads(done.stdout.strip().splitlines()[-1]) | {"result": "ok"}


# ---- what is measured -----------------------------------------------------------------------------------------------
def _propagation(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from benchmarks.large.networks import Residual, scrambled
    from chiralize.body.tensors import load_spec
    from chiralize.problem.mirror import infer
    from chiralize.problem.preparation import prepare

    network = scrambled(Residual(depth=options.blocks))
    prepared = prepare(network, load_spec("h36m"), (torch.randn(2, 17, 2),))
    ops = len(prepared.graph().nodes)
    seconds = min(_timed(lambda: infer(prepared)) for _ in range(3))
    return {"ops": ops, "seconds": round(seconds, 3), "ms_per_op": round(1000 * seconds / ops, 3)}


def _timed(action: Any) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _network(options: argparse.Namespace) -> tuple[Any, Any]:
    import torch

    from benchmarks.large.networks import FRAMES, JOINTS, PoseTransformer, scrambled

    dtype = getattr(torch, options.dtype)
    torch.set_default_dtype(dtype)
    network = scrambled(PoseTransformer(options.width, options.depth, options.heads))
    torch.set_default_dtype(torch.float32)
    return network, torch.randn(1, FRAMES, JOINTS, 2, generator=torch.Generator().manual_seed(0)).to(dtype)


def _small(options: argparse.Namespace) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), "width": 64, "depth": 1, "heads": 2})


def _after_a_small_one(options: argparse.Namespace) -> dict[str, Any]:
    """What converting takes."""
    _convert(_small(options))
    return _convert(options)


def _after_a_small_file(options: argparse.Namespace) -> dict[str, Any]:
    """What converting a file takes."""
    _build(_small(options))
    _file(_small(options))
    return _file(options)


def _convert(options: argparse.Namespace) -> dict[str, Any]:
    from chiralize.body.tensors import load_spec
    from chiralize.commands.convert import Request, convert
    from chiralize.problem.preparation import prepare

    before = memory("VmRSS")
    network, example = _network(options)
    start = time.perf_counter()
    prepared = prepare(network, load_spec("h36m"), (example,))
    found = convert(prepared, "transformer", Request("match", progress=_progress(start)))
    return _figures(network, found, time.perf_counter() - start, before)


def _file(options: argparse.Namespace) -> dict[str, Any]:
    """What `chiralize convert model.pt2 --method match -o result.pt2` does."""
    from chiralize.body.tensors import load_spec
    from chiralize.commands.convert import Request, convert
    from chiralize.problem.preparation import prepare
    from chiralize.storage.load import load_model
    from chiralize.storage.save import save_pt2

    before = memory("VmRSS")
    start = time.perf_counter()
    loaded = load_model(options.folder / f"{options.width}.pt2")
    _progress(start)("loaded")
    assert loaded.exported is not None and loaded.example_args is not None
    network = prepare(loaded.exported, load_spec("h36m"), loaded.example_args)
    found = convert(network, "transformer", Request("match", progress=_progress(start)))
    assert found.program is not None
    del loaded, network
    gc.collect()
    save_pt2(found.program, options.folder / "result.pt2", {"chirality.json": found.passport.to_json()})
    return _figures(found.module, found, time.perf_counter() - start, before)


def _build(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    network, example = _network(options)
    torch.export.save(torch.export.export(network, (example,), strict=False), options.folder / f"{options.width}.pt2")
    return {}


def _figures(network: Any, found: Any, seconds: float, before: float) -> dict[str, Any]:
    size = sum(own.numel() * own.element_size() for own in network.parameters()) / 1e6
    peak, verdict = memory("VmHWM") - before, found.report.judgement.numeric
    return {
        "parameters": sum(own.numel() for own in network.parameters()), "dtype": str(next(network.parameters()).dtype),
        "ops": found.report.judgement.certificate.ops, "seconds": round(seconds, 1), "model_mb": round(size),
        "peak_mb": round(peak), "peak_over_model": round(peak / size, 2),
        "residual": f"{verdict.worst.residual / verdict.worst.scale:.1e}", "residual_dtype": verdict.dtype,
    }  # fmt: skip


def _progress(start: float) -> Any:
    def show(step: str, done: float | None = None, /) -> None:
        seconds, cpu = time.perf_counter() - start, time.process_time()
        print(f"{seconds:7.1f} s (cpu {cpu:.1f} s) {memory('VmHWM'):8.0f} MB  {step}", file=sys.stderr)

    return show


def memory(field: str) -> float:
    """Of this process, in MB: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024 / 1e6


_CASES = {"propagation": _propagation, "convert": _after_a_small_one, "file": _after_a_small_file, "build": _build}

if __name__ == "__main__":
    raise SystemExit(main())
