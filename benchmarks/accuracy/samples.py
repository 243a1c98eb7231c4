"""rho and accuracy of `reduce` against the number of calibration samples, layer by layer alone:

    python -m benchmarks.accuracy.samples --cache FOLDER [--name recogniser-gcn-32] [--seed 0]

FOLDER has the trained networks (`python -m benchmarks.accuracy.teachers`), CHIRALIZE_DATA names the motion capture. The
rows of `samples.csv` are written as they come; those that it has are skipped.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.teachers import Teacher, answers, both_views, load_teacher
from chiralize.commands.convert import Request, convert
from chiralize.problem.preparation import prepare

CSV = Path(__file__).with_name("samples.csv")
WIDTHS, COUNTS = (0.5, 0.707), (24, 48, 96, 192, 480, 2000)
POOL, BATCH, PARTS = 2500, 50, 25


@dataclass(frozen=True)
class Row:
    """One conversion. samples: that were fitted on, a quarter as many are held out.  rho: on these; tested: on the test
    set.  figure: the network's own, ratio: to the original's.  seconds: of one core.
    """

    network: str
    seed: int
    width: float
    samples: int
    rho: float
    tested: float
    figure: float
    ratio: float
    seconds: float


def converted(teacher: Teacher, width: float, samples: int, test: tuple[Tensor, Tensor]) -> Row:
    """The row of one conversion."""
    pool = teacher.task.calibration(POOL)
    count = samples + samples // 4
    inputs = pool[torch.linspace(0, len(pool) - 1, count).long()]
    size = max(2, min(BATCH, count // PARTS))
    calls = [((part,), {}) for part in inputs.split(size) if len(part) == size]
    network = prepare(teacher.network, teacher.task.spec, (inputs[:size],))
    start = time.process_time()
    conversion = convert(network, teacher.name, Request("reduce", width=width, calibration=calls, force=True, rounds=0))
    seconds = time.process_time() - start
    x, y = test
    direct, twin = both_views(teacher.network, teacher.task, x)
    result = answers(conversion.module, x)
    off, gap = (result - (direct + twin) / 2).square().mean().sqrt(), (direct - twin).square().mean().sqrt()
    key = teacher.task.figure
    figure, before = teacher.task.figures(result, y)[key], teacher.task.figures(direct, y)[key]
    drift = conversion.report.drift
    assert drift is not None
    rho = (drift.rho, float(off / (gap / 2)))
    return Row(teacher.name, teacher.seed, width, samples, *rho, figure, figure / before, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--name", default="recogniser-gcn-32")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    teacher = load_teacher(options.cache, options.name, True, options.seed)
    columns, key = [column.name for column in fields(Row)], ("network", "seed", "width", "samples")
    done = known(CSV, key)
    for width in WIDTHS:
        for samples in COUNTS:
            row = (teacher.name, str(teacher.seed), f"{width:g}", str(samples))
            if row not in done:
                append(CSV, columns, [asdict(converted(teacher, width, samples, teacher.task.test()))])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
