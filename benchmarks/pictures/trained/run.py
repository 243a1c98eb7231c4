"""Train five networks on pictures and voxels with flips, and compare flip tests with conversions to one pass.

    python -m benchmarks.pictures.trained.run --out DIR --device cuda --workers 3 --limit 540
    python -m benchmarks.pictures.trained.run --out DIR --device cpu --workers 1 --limit 6000 \
        --only HRNet --seeds 1 --batch 32 --seconds 4500 --flip-tests      # longer than 1,600 steps of 128

Rows are written as they come to DIR/rows.csv, weights to DIR/seed0.safetensors and so on. At the limit everything
stops. `--smoke` shows that all runs.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from safetensors.torch import load_file, save_file

from benchmarks.pictures.trained.jobs import COLUMNS, Job, Scale, do
from benchmarks.pictures.trained.tasks import TASKS

_NAMES = tuple(task.name for task in TASKS if not task.sees_one_side)


def plan(seeds: int, steps: int, names: Sequence[str] = _NAMES, converts: bool = True) -> list[Job]:
    """What is done, the most wanted first."""
    jobs: list[Job] = []
    for seed in range(seeds):
        jobs += [Job(name, seed) for name in names]
        if not converts:
            continue
        for width, count in ((0.5, steps), (0.707, steps), (0.5, 0), (0.707, 0)):
            jobs += [Job(name, seed, width, count) for name in names]
            jobs += [Job(task.name, seed) for task in TASKS if task.sees_one_side and (width, count) == (0.5, steps)]
    return jobs


def main() -> None:
    """Print the rows, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--limit", type=float, default=540.0, help="seconds, of all")
    parser.add_argument("--seconds", type=float, default=60.0, help="of training, each")
    parser.add_argument("--steps", type=int, default=1_800, help="of distillation")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=_NAMES, default=_NAMES, help="networks")
    parser.add_argument("--batch", type=int, help="of training; else the network's")
    parser.add_argument("--flip-tests", action="store_true", help="leave conversions to one pass out")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    start = time.time()
    options.out.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp())
    scale = Scale(options.device, str(place), options.seconds, steps=options.steps, batch=options.batch)
    jobs = plan(options.seeds, options.steps, options.only, not options.flip_tests)
    if options.smoke:
        scale = replace(scale, drawn=300, tested=60, calibration=60, voxels=40, voxels_tested=8, voxels_calibration=20)
        scale, jobs = replace(scale, seconds=3.0), plan(1, 3)[: 2 * len(_NAMES)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.workers) as pool, (options.out / "rows.csv").open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        results = pool.imap_unordered(partial(do, scale=scale), jobs)
        for _ in jobs:
            try:
                rows = results.next(timeout=max(options.limit - (time.time() - start), 0.1))
            except multiprocessing.TimeoutError:
                print("the time is over", flush=True)
                break
            writer.writerows(rows)
            file.flush()
            _gather(place, options.out)
            for row in rows:
                print(
                    f"{time.time() - start:.0f} s",
                    *(value for value in row.values() if value not in (None, "")),
                    flush=True,
                )
        pool.terminate()
    shutil.rmtree(place)


def _gather(place: Path, out: Path) -> None:
    """All weights of a seed in one file, by the name of the network."""
    by_seed: dict[str, dict[str, Path]] = {}
    for path in sorted(place.glob("*.safetensors")):
        name, _, seed = path.stem.rpartition("-")
        by_seed.setdefault(seed, {})[name] = path
    for seed, paths in by_seed.items():
        tensors = {f"{name}.{key}": value for name, path in paths.items() for key, value in load_file(path).items()}
        save_file(tensors, out / f"seed{seed}.safetensors")
        facts = [path.with_suffix(".json").read_text() for path in paths.values()]
        lines = [f'"{name}": {text}' for name, text in zip(paths, facts, strict=True)]
        (out / f"seed{seed}.json").write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
