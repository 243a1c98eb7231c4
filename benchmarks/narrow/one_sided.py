"""Networks that were trained on one side only, given to `auto`: is it ever silent about it?

    CHIRALIZE_DATA=DIR python -m benchmarks.narrow.one_sided [--csv benchmarks/narrow/one_sided.csv] [--seeds 0 1 2]

Lifters and recognisers of people who face left, forecasters of people who move left, each trained for a minute or two
without mirrored copies. They are calibrated on inputs of the side that they know, and of both. A row has what `auto`
did, and the result's error on the side that was learned and on the other one, in units of the original's on that side
(recognisers: the original's accuracy over the result's). Rows are appended as they come.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.accuracy import networks
from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.tasks import Samples, Task, load_task
from benchmarks.accuracy.teachers import Recipe, answers, train
from chiralize import chiralize
from chiralize.errors import ChiralizeError

RESULTS = Path(__file__).with_name("one_sided.csv")
COLUMNS = ("network", "seed", "inputs", "outcome", "gap", "rho", "learned_side", "other_side")
SAMPLES, TESTED, BATCH = 2000, 3000, 50
NOSE, NECK = 0, 1  # of OpenPose's 18 joints
Chosen = Callable[[Samples], np.ndarray]
"""Which samples show the side that is learned."""


def faces_left(samples: Samples) -> np.ndarray:
    """The left hip is nearer to the camera than the right one, as in `OneSidedLifting`."""
    motion = load_task("lifting-1").motion
    left, right = (motion.H36M17.index(name) for name in ("LHip", "RHip"))
    return samples.targets[:, left, 2] < samples.targets[:, right, 2]


def moves_left(samples: Samples) -> np.ndarray:
    """The middle of the body is further left in the last observed frame than in the first one."""
    middle = samples.inputs[..., 0].mean(-1)
    return middle[:, -1] < middle[:, 0]


def looks_left(samples: Samples) -> np.ndarray:
    """The nose is left of the neck, in the mean over the frames in which both are seen."""
    seen = (samples.inputs[..., [NOSE, NECK], 2] > 0).all(-1)
    ahead = samples.inputs[..., NOSE, 0] - samples.inputs[..., NECK, 0]
    return (ahead * seen).sum(-1) < 0


@dataclass(frozen=True)
class Kind:
    """A network of the accuracy benchmark, and the samples that show its side."""

    recipe: Recipe
    learned: Chosen


KINDS = {
    "lifter, 512": Kind(Recipe("lifting-1", partial(networks.FrameLifter, 512), 1500), faces_left),
    "MLP lifter, 512": Kind(Recipe("lifting-1", partial(networks.PlainLifter, 512, 4, nn.ReLU), 1500), faces_left),
    "transformer over joints": Kind(Recipe("lifting-1", networks.JointTransformer, 1500, batch=128), faces_left),
    "LSTM forecaster": Kind(Recipe("forecasting", networks.Forecaster, 2500, batch=16, rate=2e-3), moves_left),
    "GRU recogniser": Kind(Recipe("recognition", networks.RecurrentRecogniser, 400, batch=64, rate=2e-3), looks_left),
}


def of_one_side(task: Task, learned: Chosen, rng: np.random.Generator, count: int, wanted: bool = True) -> Samples:
    """Random samples of the training set that show one side."""
    found: list[Samples] = []
    while sum(len(own.inputs) for own in found) < count:
        drawn = task.draw(rng, 2 * count)
        chosen = learned(drawn) == wanted
        found.append(Samples(drawn.inputs[chosen], drawn.targets[chosen]))
    return Samples(*(np.concatenate(column)[:count] for column in zip(*found, strict=True)))


def batches(task: Task, kind: Kind, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    rng = np.random.default_rng(seed)
    while True:
        drawn = of_one_side(task, kind.learned, rng, kind.recipe.batch)
        yield torch.from_numpy(drawn.inputs), torch.from_numpy(drawn.targets)


def figures(network: nn.Module, task: Task, learned: Chosen) -> tuple[float, float]:
    """The task's figure on the side that was learned, and on the other one, of test subjects."""
    inputs, targets = task.test(TESTED)
    chosen = torch.from_numpy(learned(Samples(inputs.numpy(), targets.numpy())))
    parts = [(inputs[side], targets[side]) for side in (chosen, ~chosen)]
    left, right = (task.figures(answers(network, x), y)[task.figure] for x, y in parts)
    return left, right


def row(network: nn.Module, task: Task, kind: Kind, inputs: Tensor) -> dict[str, Any]:
    """What `auto` made of a network, and what became of its figures."""
    before = figures(network, task, kind.learned)
    try:
        made = chiralize(network, task.spec, (inputs[:BATCH],), calibration=inputs)
    except ChiralizeError as error:
        return {"outcome": f"stopped: {error.code}", "gap": "", "rho": "", "learned_side": "", "other_side": ""}
    report = made.chirality.report
    drift, after = report.drift, figures(made, task, kind.learned)
    ratios = [new / old if task.better < 0 else old / new for new, old in zip(after, before, strict=True)]
    told = report.verdict.partition(": ")[0].partition(" ")[2]
    passes = "two passes" if report.form == "two-view" else f"{report.method}, one pass"
    return {
        "outcome": f"{told} ({passes})", "gap": drift.gap if drift else "", "rho": drift.rho if drift else "",
        "learned_side": ratios[0], "other_side": ratios[1],
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--names", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="of training, instead of each kind's own")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    done = known(chosen.csv, COLUMNS[:3])
    for seed in chosen.seeds:
        for name in chosen.names:
            kind = KINDS[name]
            task = load_task(kind.recipe.task)
            recipe = replace(kind.recipe, steps=chosen.steps or kind.recipe.steps)
            if all((name, str(seed), side) in done for side in ("one side", "both sides")):
                continue
            network = train(recipe, False, seed, task, samples=partial(batches, task, kind, seed))
            one = of_one_side(task, kind.learned, np.random.default_rng(7), SAMPLES).inputs
            for side, inputs in (("one side", torch.from_numpy(one)), ("both sides", task.calibration(SAMPLES))):
                found = {"network": name, "seed": seed, "inputs": side, **row(network, task, kind, inputs)}
                found = {key: f"{own:.4g}" if isinstance(own, float) else own for key, own in found.items()}
                append(chosen.csv, COLUMNS, [found])
                print(*found.values(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
