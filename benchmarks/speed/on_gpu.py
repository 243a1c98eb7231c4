"""What a conversion does with a network that lies on a GPU: converted and verified there, and which form `auto` takes.

    python -m benchmarks.speed.on_gpu [--width 1024] [--rows 16 8192] [--json on_gpu.json]

Analysis and proof run on the CPU, the result goes back to the GPU; `auto` times layers where it lies. Ends with
status 3 where there is no GPU, with 1 where the answers are not the same or the proof fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from benchmarks.speed.cases import Frame
from benchmarks.speed.cuda import WITHOUT_A_GPU
from chiralize import chiralize, verify

SPEC = {"skeleton": "h36m", "inputs": [{"layout": "b (j d)", "dims": ["x", "y"]}], "outputs": [{"layout": "b (j d)"}]}


def converted(width: int, rows: int, device: str) -> dict[str, Any]:
    """A lifter of that width, with an example of so many rows, converted on a device and verified there."""
    torch.manual_seed(0)
    net = Frame(nn.Linear, nn.BatchNorm1d, 34, width, 51).eval().to(device)
    example = torch.randn(rows, 34).to(device)
    started = perf_counter()
    result: Any = chiralize(net, SPEC, (example,), method="match", force=True)
    report = result.chirality.report
    verdict = verify(result, SPEC, (example,))
    with torch.inference_mode():
        answer = result(example)
    return {
        "device": device, "rows": rows, "form": report.form, "notes": list(report.notes),
        "lies": sorted({parameter.device.type for parameter in result.parameters()}), "answers": answer.device.type,
        "equivariant": verdict.passed, "seconds": round(perf_counter() - started, 1),
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 8192])
    parser.add_argument("--devices", nargs="+", default=["cpu", "cuda"])
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args(argv)
    if "cuda" in options.devices and not torch.cuda.is_available():
        print(f"torch {torch.__version__} sees no GPU here: there is nothing to measure", file=sys.stderr)
        return WITHOUT_A_GPU
    found: list[dict[str, Any]] = []
    for rows, device in product(options.rows, options.devices):
        found.append(converted(options.width, rows, device))
        print(found[-1], flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(each["equivariant"] and each["lies"] == [each["device"]] for each in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
