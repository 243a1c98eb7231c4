"""One pass on pictures: the residual network at a share of its width, as fitted, and distilled without labels.

    python -m benchmarks.pictures.trained.one_pass --network DIR --width 0.5 --pictures 600 --steps 1000

The network is trained at the first call, 20 minutes of one core, and lies in DIR afterwards, with the pictures. A row
is added to one_pass.csv. Errors are on people whom nobody saw; labels are for these alone. The network was trained on
the pictures that conversions get without their labels, as in `run`.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.pictures.trained.jobs import answers, train_until
from benchmarks.pictures.trained.tasks import BY_NAME, SIZE, STRIDE
from chiralize import audit, chiralize
from examples.pixels.poses import bodies
from examples.pixels.rendering import render

TASK = BY_NAME["residual"]
_DRAWN, _TESTED, _POOL = 24_000, 1_250, 2_000
_STEPS = 1_900
HEADER = ("width", "pictures", "steps", "one view", "flip test", "one pass", "to one view", "to flip test", "rho",
          "seconds")  # fmt: skip


def prepared(folder: Path) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """The network, pictures without labels, and those to test on with their joints."""
    path = folder / "residual.pt"
    torch.manual_seed(0)
    net = TASK.build().eval()
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        drawn, unseen = render(bodies(_DRAWN, False), 0, SIZE), render(bodies(2 * _TESTED, True), 1, SIZE)
        pixels = drawn.pixels.half()
        train_until(lambda step: step / _STEPS, net, TASK, (pixels, drawn.joints), 0, in_half=True)
        net.eval()
        pool = pixels[:: _DRAWN // _POOL].float()
        torch.save((net.state_dict(), pool, unseen.pixels[::2].clone(), unseen.joints[::2].clone()), path)
    weights, pool, tested, joints = torch.load(path)
    net.load_state_dict(weights)
    return net, pool, tested, joints


def unlabelled(pool: Tensor, count: int) -> Tensor:
    """So many pictures without labels: of the pool, or of all that the network was trained on."""
    if count > len(pool):
        pool = render(bodies(_DRAWN, False), 0, SIZE).pixels
    return pool[:: len(pool) // count][:count].float()


def main() -> None:
    """One conversion, one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, required=True, help="folder of the trained network, and of the csv")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--pictures", type=int, default=600, help="without labels, 24,000 at most")
    parser.add_argument("--steps", type=int, default=1_000, help="of --distill")
    options = parser.parse_args()
    torch.set_num_threads(1)
    net, pool, tested, joints = prepared(options.network)
    inputs = unlabelled(pool, options.pictures)
    shift = audit(net, TASK.spec, (pool[:2],), calibration=pool[::7][:256]).alignments[0].shift
    assert shift is not None
    offset, align = shift * STRIDE / 2, f"resample={shift:.3f}"
    example = (inputs[:2],)
    average: Any = chiralize(net, TASK.spec, example, align=align, method="average", force=True)
    start = time.process_time()
    chiral: Any = chiralize(
        net, TASK.spec, example, align=f"kernel,{align}", method="reduce", width=options.width, calibration=inputs,
        distill=options.steps, form="fused", force=True,
    )  # fmt: skip
    seconds = time.process_time() - start
    one, both, error = (
        TASK.error(answers(way, tested), joints, at) for way, at in ((net, 0.0), (average, offset), (chiral, offset))
    )
    drift = chiral.chirality.report.drift
    figures = (one, both, error, error / one, error / both, float("nan") if drift is None else float(drift.rho))
    row = (options.width, len(inputs), options.steps, *(f"{figure:.3f}" for figure in figures), round(seconds))
    path = options.network / "one_pass.csv"
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([HEADER, row] if is_new else [row])
    print(dict(zip(HEADER, row, strict=True)))


if __name__ == "__main__":
    main()
