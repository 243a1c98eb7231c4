"""Pictures of walks and of the walks from mirrored starts, and files for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from examples.policy.gait import trot
from examples.policy.robot import Act, Walk, draw_walk, mirrored_states, mirrored_walk, roll_out
from examples.policy.task import SECONDS_PER_STEP, Imitation, acting
from examples.study.plots import Figure, colour, save
from examples.study.ways import Workshop

SHOWN = ("baseline", "flips", "flips, TTA", "chiralized 0.5", "from scratch, free")
TEACHER = "the trot by hand"


def compare(workshop: Workshop, walk: Walk, ways: tuple[str, ...] = SHOWN) -> Mapping[str, tuple[np.ndarray, ...]]:
    """For every way and the teacher: T of the walks and the walks from T of the start, both `step+1 robot 3`, m."""
    acts: dict[str, Act] = {TEACHER: trot}
    for way in ways:
        made = workshop.make(way)
        acts[way] = acting(made.network, made.averaged)
    found = {}
    for name, act in acts.items():
        one, other = roll_out(act, walk), roll_out(act, mirrored_walk(walk))
        found[name] = mirrored_states(one.states)[..., :3], other.states[..., :3]
    return found


def draw(found: Mapping[str, tuple[np.ndarray, ...]], path: Path) -> None:
    """Left: the first robot's paths from above; right: how far the two are apart, median and range of the robots."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    above, apart = figure.subplots(1, 2)
    for name in ("baseline", "chiralized 0.5"):
        if name in found:
            one, other = found[name]
            above.plot(*one[:, 0, :2].T, color=colour(name), label=f"{name}: mirror image of the walk")
            above.plot(*other[:, 0, :2].T, "--", color=colour(name), linewidth=2.5, alpha=0.6, label="walk from the mirrored start")  # fmt: skip  # noqa: E501
    above.set(xlabel="x, m", ylabel="y, m", title="seen from above", aspect="equal")
    above.legend(fontsize=7)
    for place, (name, (one, other)) in enumerate(found.items()):
        gaps = np.maximum(np.linalg.norm(one - other, axis=-1), 1e-18)
        times = SECONDS_PER_STEP * np.arange(len(gaps))
        shade = "black" if name == TEACHER else f"C{place}"
        apart.semilogy(times, np.median(gaps, 1), color=shade, label=name)
        apart.fill_between(times, gaps.min(1), gaps.max(1), color=shade, alpha=0.12, linewidth=0)
    apart.set(xlabel="s", ylabel="m", title="distance of the two torsos", ylim=(1e-18, 30))
    apart.grid(color="0.9")
    apart.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path)


def write_files(task: Imitation, workshop: Workshop, folder: Path, way: str = "flips") -> tuple[Path, Path]:
    """`policy.pt2`, with any batch size, and `observations.npz`, what `chiralize convert` is given."""
    network = workshop.make(way).network
    observations = task.calibration(2000)
    program = torch.export.export(
        network, (observations[:2],), dynamic_shapes={"observation": {0: torch.export.Dim("batch")}}, strict=False
    )
    policy, inputs = folder / "policy.pt2", folder / "observations.npz"
    folder.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, policy)
    np.savez(inputs, observation=observations.numpy())
    return policy, inputs


def long_walk(robots: int, seconds: float) -> Walk:
    """For the picture: turns to both sides."""
    return draw_walk(np.random.default_rng(3), robots, round(seconds / SECONDS_PER_STEP))
