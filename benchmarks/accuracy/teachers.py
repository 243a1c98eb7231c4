"""Train ordinary networks on real motion capture, to be converted and compared:

    python -m benchmarks.accuracy.teachers --cache DIR [--names ...] [--seeds 0 1 2] [--flips | --plain]

CHIRALIZE_DATA names the folder with the motion capture. Every network is trained with mirrored copies (flips) and
without (plain), the one-sided one only without; one thread each. DIR gets `NAME-flips-SEED.pt` and
`NAME-plain-SEED.pt`; what is there is skipped.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from benchmarks.accuracy import networks
from benchmarks.accuracy.tasks import Task, load_task
from chiralize import chiralize
from chiralize.nn.training import keep_symmetric

TESTED = 10_000
"""Test samples that the figures of a teacher are made from, evenly spread."""
WARM_UP = 0.05
"""Share of the steps in which the learning rate rises; afterwards it falls along a cosine."""


@dataclass(frozen=True)
class Recipe:
    """A network and its training by Adam.

    one_sided: never with mirrored copies.  distill: steps of a conversion's distillation.
    """

    task: str
    build: Callable[[], nn.Module]
    steps: int
    batch: int = 256
    rate: float = 1e-3
    one_sided: bool = False
    distill: int = 600


RECIPES = {
    "frame-512": Recipe("lifting-1", partial(networks.FrameLifter, 512), 2000, distill=1800),
    "temporal-27": Recipe("lifting-27", partial(networks.TemporalLifter, 2), 2000),
    "mlp-512": Recipe("lifting-1", partial(networks.PlainLifter, 512, 4, nn.ReLU), 2500, distill=1800),
    "lstm-256": Recipe("forecasting", networks.Forecaster, 8000, batch=16, rate=2e-3),
    "gru-128": Recipe("lifting-27", partial(networks.RecurrentLifter, 128), 1500, rate=2e-3),
    "joints-64": Recipe("lifting-1", networks.JointTransformer, 4000, batch=128),
    "joints-64-long": Recipe("lifting-1", networks.JointTransformer, 16_000, batch=128),
    "mixer-64": Recipe("lifting-1", networks.JointMixer, 4000, batch=128),
    "mixer-32": Recipe("lifting-1", partial(networks.JointMixer, 32, 32, 64, 3), 1500, batch=128, rate=2e-3),
    "recogniser-gru-128": Recipe("recognition", networks.RecurrentRecogniser, 600, batch=64, rate=2e-3),
    "recogniser-gcn-32": Recipe("recognition", networks.GraphRecogniser, 800, batch=32, rate=3e-3, distill=400),
    "frames-128": Recipe("lifting-9", partial(networks.FrameTransformer, 9, True), 2000, batch=128, distill=1000),
    "frame-128": Recipe("lifting-1", partial(networks.FrameLifter, 128, 0.1), 4000, distill=1800),
    "frame-256": Recipe("lifting-1", partial(networks.FrameLifter, 256), 2000, distill=1800),
    "layer-256": Recipe("lifting-1", partial(networks.FrameLifter, 256, 0.1, networks.LayerNormed), 2000, distill=1800),
    "frame-1024": Recipe("lifting-1", partial(networks.FrameLifter, 1024), 1500),
    "tanh-128": Recipe("lifting-1", partial(networks.PlainLifter, 128, 3, nn.Tanh), 6000, distill=1800),
    "frames-post-128": Recipe("lifting-9", partial(networks.FrameTransformer, 9, False), 2000, batch=128, distill=1000),
    "temporal-243": Recipe("lifting-243", partial(networks.TemporalLifter, 4), 1200, batch=64),
    "one-sided-512": Recipe("lifting-1-left", partial(networks.FrameLifter, 512), 2000, one_sided=True, distill=1800),
}


@dataclass(frozen=True)
class Teacher:
    """A trained network in eval mode, its task, and its figures on the test set as they were after training.

    figures: of the network; averaged: of the mean of both views; gap: see `gap`; seconds: how long training took.
    """

    name: str
    flips: bool
    seed: int
    network: nn.Module
    task: Task
    figures: dict[str, float]
    averaged: dict[str, float]
    gap: float
    seconds: float


def load_teacher(cache: Path, name: str, flips: bool = True, seed: int = 0, data_folder: Path | None = None) -> Teacher:
    """A teacher that was trained before. Raises FileNotFoundError."""
    saved = torch.load(place(cache, name, flips, seed), weights_only=True)
    network = RECIPES[name].build()
    network.load_state_dict(saved["state_dict"])
    return Teacher(
        name, flips, seed, network.eval(), load_task(RECIPES[name].task, data_folder), **saved["metrics"],
        seconds=saved["config"]["seconds"],
    )  # fmt: skip


def answers(network: nn.Module, inputs: Tensor, batch: int = 500) -> Tensor:
    """The network's answers to many inputs."""
    with torch.inference_mode():
        return torch.cat([network(part) for part in inputs.split(batch)])


def both_views(network: nn.Module, task: Task, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and T f(T x)."""
    seen_mirrored = answers(network, torch.from_numpy(task.mirror(inputs.numpy())))
    return answers(network, inputs), torch.from_numpy(task.mirror_targets(seen_mirrored.numpy()))


def gap(direct: Tensor, twin: Tensor) -> float:
    """RMS of f(x) − T f(T x) in units of the answers' spread about their mean."""
    return ((direct - twin).square().mean().sqrt() / (direct - direct.mean(0)).square().mean().sqrt()).item()


def evaluate(network: nn.Module, task: Task, limit: int | None = TESTED) -> dict[str, Any]:
    """`figures`, `averaged` and `gap` of a network in eval mode, as in Teacher."""
    inputs, targets = task.test(limit)
    direct, twin = both_views(network, task, inputs)
    return {
        "figures": task.figures(direct, targets),
        "averaged": task.figures((direct + twin) / 2, targets),
        "gap": gap(direct, twin),
    }


# ---- training -------------------------------------------------------------------------------------------------------
def batches(task: Task, flips: bool, seed: int, steps: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Random training samples; with flips half of them are mirrored."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        inputs, targets = task.draw(rng, batch)
        if flips:
            flipped = rng.random(batch) < 0.5
            inputs[flipped] = task.mirror(inputs[flipped])
            targets[flipped] = task.mirror_targets(targets[flipped])
        yield torch.from_numpy(inputs), torch.from_numpy(targets)


def train(
    recipe: Recipe,
    flips: bool,
    seed: int,
    task: Task,
    advance: Callable[[], object] = lambda: None,
    chiral: bool = False,
    samples: Callable[[], Iterator[tuple[Tensor, Tensor]]] | None = None,
    device: str = "cpu",
) -> nn.Module:
    """The trained network, in eval mode on the CPU. advance: called after every step.  device: where it is trained.

    samples: batches to train on in the place of random ones of the task, `steps` of them at least.  chiral: made
    equivariant before training, and kept so: the same layers, half as free, for the same steps.
    """
    torch.manual_seed(seed)
    network = recipe.build()
    if chiral:
        network = chiralize(
            network.eval(), task.spec, (task.calibration(2),), method="project", form="folded", force=True
        )
    network = network.to(device)
    optimizer = torch.optim.Adam(network.train().parameters(), lr=recipe.rate, fused=True)
    if chiral:
        keep_symmetric(network, optimizer)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rate, steps=recipe.steps))
    drawn = samples() if samples is not None else batches(task, flips, seed, recipe.steps, recipe.batch)
    for inputs, targets in islice(drawn, recipe.steps):
        optimizer.zero_grad()
        task.loss(network, inputs.to(device), targets.to(device)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        advance()
    return network.cpu().eval()


def _rate(step: int, steps: int) -> float:
    warm_up = max(1, round(WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm_up) / (steps - warm_up))


def place(cache: Path, name: str, flips: bool, seed: int) -> Path:
    """The file of a teacher."""
    return cache / f"{name}-{'flips' if flips else 'plain'}-{seed}.pt"


def _save(path: Path, content: dict[str, Any]) -> None:
    """In one step, so that a file that is there is whole."""
    beside = path.with_suffix(f".{os.getpid()}.writing")
    torch.save(content, beside)
    beside.replace(path)


# ---- command --------------------------------------------------------------------------------------------------------
def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    torch.set_num_threads(1)
    options.cache.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 160)
    wanted = [
        (name, flips, seed)
        for seed in options.seeds
        for flips in ([True] if options.flips else [False] if options.plain else [True, False])
        for name in options.names
        if not (flips and RECIPES[name].one_sided) and not place(options.cache, name, flips, seed).exists()
    ]
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        overall = progress.add_task("teachers", total=len(wanted))
        for name, flips, seed in wanted:
            bar = progress.add_task(place(options.cache, name, flips, seed).stem, total=RECIPES[name].steps)
            console.print(trained(options.cache, name, flips, seed, partial(progress.advance, bar)), highlight=False)
            progress.remove_task(bar)
            progress.advance(overall)
    return 0


def trained(
    cache: Path,
    name: str,
    flips: bool,
    seed: int,
    advance: Callable[[], object] = lambda: None,
    device: str = "cpu",
) -> str:
    """Trains a teacher and writes its file; one line that says how good it is."""
    recipe, path = RECIPES[name], place(cache, name, flips, seed)
    task = load_task(recipe.task)
    start = time.perf_counter()
    network = train(recipe, flips, seed, task, advance, device=device)
    seconds = time.perf_counter() - start
    metrics = evaluate(network, task)
    config = {
        "name": name, "flips": flips, "seed": seed, "task": recipe.task, "steps": recipe.steps, "batch": recipe.batch,
        "rate": recipe.rate, "seconds": seconds, "torch": str(torch.__version__),
    }  # fmt: skip
    _save(path, {"state_dict": network.state_dict(), "config": config, "metrics": metrics})
    figures = ", ".join(
        f"{key} {value:.2f} (both views {metrics['averaged'][key]:.2f})" for key, value in metrics["figures"].items()
    )
    return f"{path.stem}: {figures}, gap {metrics['gap']:.3f}, {seconds:.0f} s"


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.teachers", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the trained networks")
    parser.add_argument("--names", nargs="+", choices=list(RECIPES), default=list(RECIPES), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    augmentation = parser.add_mutually_exclusive_group()
    augmentation.add_argument("--flips", action="store_true", help="only those trained with mirrored copies")
    augmentation.add_argument("--plain", action="store_true", help="only those trained without")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
