"""What labels bring: a converted network trained on by `chiralize.nn.training.recipe`, beside training anew:

    python -m benchmarks.accuracy.labels --cache DIR [--csv benchmarks/accuracy/labels.csv] [--names ...] [--labels ...]
    python -m benchmarks.accuracy.labels --write docs/fine-tuning.md

DIR holds teachers (`python -m benchmarks.accuracy.teachers --cache DIR`). Labels are of the training subjects, errors
of test subjects whom no network saw. Rows are appended as they come, and those that the file has are skipped.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.accuracy.compare import BATCH, HELD_OUT, SAMPLES
from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.summary import NAMES, read
from benchmarks.accuracy.table import markdown, write
from benchmarks.accuracy.teachers import RECIPES, Teacher, evaluate, load_teacher, train
from chiralize import chiralize
from chiralize.nn.training import recipe

COLUMNS = ("network", "flips", "labels", "seed", "way", "steps", "error", "ratio", "seconds")
LABELS = (0, 2_000, 20_000)
"""Labelled samples; 0: as many as are drawn, all of the training set."""
WAYS = ("as it is", "both views", "reduce 0.5", "reduce 0.5, recipe", "original trained on", "from scratch")
HELD = 0.2
"""Share of few labelled samples that is held out, to decide when to stop."""
RESULTS = Path(__file__).parent / "labels.csv"
START, END = "<!-- labels -->", "<!-- /labels -->"


class Labelled:
    """Random batches of labelled samples, as many as one likes, of all samples or of a few that are drawn once."""

    def __init__(self, teacher: Teacher, labels: int, seed: int, flips: bool) -> None:
        self.task, self.flips, self.seed = teacher.task, flips, seed
        self.batch = RECIPES[teacher.name].batch
        self.few = self.task.draw(np.random.default_rng([seed, 99]), labels) if labels else None

    @property
    def kept(self) -> int:
        """How many of the few are trained on; the rest is held out."""
        return 0 if self.few is None else round((1 - HELD) * len(self.few.inputs))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng(self.seed)
        while True:
            if self.few is None:
                inputs, targets = self.task.draw(rng, self.batch)
            else:
                chosen = rng.integers(self.kept, size=self.batch)
                inputs, targets = self.few.inputs[chosen], self.few.targets[chosen]
            if self.flips:
                flipped = rng.random(self.batch) < 0.5
                inputs[flipped] = self.task.mirror(inputs[flipped])
                targets[flipped] = self.task.mirror_targets(targets[flipped])
            yield torch.from_numpy(inputs), torch.from_numpy(targets)

    def held(self) -> list[tuple[Tensor, Tensor]]:
        """Batches of those that are not trained on; none where there are enough."""
        if self.few is None:
            return []
        parts = (torch.from_numpy(own[self.kept :]).split(self.batch) for own in self.few)
        return list(zip(*parts, strict=True))


def tuned(teacher: Teacher, network: nn.Module, labels: int, seed: int, steps: int) -> nn.Module:
    """A converted network after the recipe."""
    given = Labelled(teacher, labels, seed, flips=False)

    def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return teacher.task.loss(net, *batch)

    return recipe(network, given, loss, steps=steps, rate=RECIPES[teacher.name].rate, held=given.held())


def trained(teacher: Teacher, labels: int, seed: int, steps: int, start: nn.Module | None) -> nn.Module:
    """The plain network trained on with mirrored copies, or (without a start) an equivariant one from scratch."""
    own = replace(RECIPES[teacher.name], steps=steps)
    if start is not None:
        own = replace(own, build=lambda: deepcopy(start))
    samples = partial(iter, Labelled(teacher, labels, seed, flips=True))
    return train(own, True, seed, teacher.task, chiral=start is None, samples=samples)


def rows(teacher: Teacher, labels: int, seed: int, ways: list[str]) -> Iterator[dict[str, Any]]:
    """A row for every way, at half of the original's steps; from scratch it takes all of them."""
    task, steps = teacher.task, RECIPES[teacher.name].steps
    measured = evaluate(teacher.network, task)
    base = measured["figures"][task.figure]
    common = {"network": teacher.name, "flips": teacher.flips, "labels": labels or "all", "seed": seed}
    converted: list[nn.Module] = []

    def reduced() -> nn.Module:
        if not converted:
            inputs = task.calibration(SAMPLES + HELD_OUT, seed)
            converted.append(
                chiralize(
                    teacher.network, task.spec, (inputs[:BATCH],), method="reduce", calibration=inputs, force=True
                )
            )
        return converted[0]

    made = {
        "reduce 0.5": (0, reduced),
        "reduce 0.5, recipe": (steps // 2, lambda: tuned(teacher, reduced(), labels, seed, steps // 2)),
        "original trained on": (steps // 2, lambda: trained(teacher, labels, seed, steps // 2, teacher.network)),
        "from scratch": (steps, lambda: trained(teacher, labels, seed, steps, None)),
    }
    for way in ways:
        start = time.process_time()
        if way in made:
            count, build = made[way]
            error = evaluate(build(), task)["figures"][task.figure]
        else:
            count, error = 0, measured["figures" if way == "as it is" else "averaged"][task.figure]
        seconds = time.process_time() - start
        found = {"way": way, "steps": count, "error": error, "ratio": error / base, "seconds": seconds}
        yield common | {key: f"{own:.5g}" if isinstance(own, float) else own for key, own in found.items()}


def table(path: Path = RESULTS) -> str:
    """A row for every network and number of labels: medians over the seeds."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in read(path):
        found.setdefault((row["network"], row["labels"]), {}).setdefault(row["way"], []).append(float(row["ratio"]))
    ways = WAYS[1:]
    rows = [["network", "labels", "seeds", *ways], ["---"] * (3 + len(ways))]
    for (network, labels), own in found.items():
        figures = [f"{median(own[way]):.3f}" if way in own else "" for way in ways]
        rows.append([NAMES[network], labels, str(max(map(len, own.values()))), *figures])
    return markdown(rows)


def main() -> int:
    """Train and append to the file, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen_way = parser.add_mutually_exclusive_group(required=True)
    chosen_way.add_argument("--cache", type=Path, help="folder of the trained networks")
    chosen_way.add_argument("--write", type=Path, help="page to write the table into")
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--names", nargs="*", default=["frame-512"], choices=list(RECIPES))
    parser.add_argument("--labels", type=int, nargs="*", default=LABELS, help="0: all")
    parser.add_argument("--ways", nargs="*", default=WAYS, choices=WAYS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0], help="of the labels and of training")
    chosen = parser.parse_args()
    if chosen.write is not None:
        return write(chosen.write, START, END, table(chosen.csv))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    done = known(chosen.csv, ("network", "labels", "seed", "way"))
    for name in chosen.names:
        teacher = load_teacher(chosen.cache, name)
        for seed in chosen.seeds:
            for labels in chosen.labels:
                key = (name, str(labels or "all"), str(seed))
                for row in rows(teacher, labels, seed, [way for way in chosen.ways if (*key, way) not in done]):
                    append(chosen.csv, COLUMNS, [row])
                    print(*row.values(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
