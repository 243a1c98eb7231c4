"""A motion as lifters see it: a strip of drawings and an animation, the truth in grey behind every answer."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from chiralize import Mirror
from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.problem.poses.camera import scene
from chiralize.problem.poses.motion import RATE, draw
from chiralize.storage.load import load_model
from examples.study.plots import Figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SKELETON = "h36m"
RECEPTIVE = 27
"""Frames that the shipped lifter reads for one answer."""
COLUMNS, SHOTS = 8, 40
"""Drawings in a row of the strip; pictures of the animation."""
SIDES = {"left": "#0072b2", "right": "#d55e00", "center": "#56606b"}
BEHIND = "#c4cad0"
TURN = np.deg2rad(35)
"""About the vertical axis, so that errors in depth show."""
TAKEN, TRUE = "what the network sees", "the truth"
Rows = Mapping[str, np.ndarray]


def shipped() -> nn.Module:
    """The pretrained lifter that comes with chiralize, which was trained with mirrored copies."""
    with as_file(files("chiralize.storage.pretrained") / "lifter27.pt2") as path:
        return load_model(path).module


def motion(frames: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One drawn motion before a camera: inputs "frame joint 2", and poses from the hip "frame joint 3", metres."""
    seen = scene(draw(1, frames + RECEPTIVE - 1, seed, RATE), seed)
    poses = seen.camera[0, RECEPTIVE // 2 : RECEPTIVE // 2 + frames]
    return seen.image[0].astype(np.float32), poses - poses[:, :1]


def answers(networks: Mapping[str, nn.Module], inputs: np.ndarray, poses: np.ndarray) -> Rows:
    """Rows of a strip, "frame joint 2 or 3": the input, the truth, and of every network f(x) and T f(T x)."""
    mirror = Mirror.of(SKELETON)
    middle = len(inputs) - RECEPTIVE + 1
    rows: dict[str, np.ndarray] = {TAKEN: inputs[RECEPTIVE // 2 :][:middle], TRUE: poses}
    windows = torch.from_numpy(inputs).unfold(0, RECEPTIVE, 1).movedim(-1, 1).contiguous()
    with torch.no_grad():
        for name, network in networks.items():
            rows[f"{name}: f(x)"] = network(windows)[:, 0].numpy()
            rows[f"{name}: T f(T x)"] = mirror.outputs(network(mirror(windows)))[:, 0].numpy()
    return rows


def differences(rows: Rows) -> Mapping[str, float]:
    """For every network, the mean distance of a joint between f(x) and T f(T x), mm."""
    apart: dict[str, float] = {}
    for name, straight in rows.items():
        turned = rows.get(name.replace("f(x)", "T f(T x)"))
        if name.endswith(": f(x)") and turned is not None:
            apart[name.removesuffix(": f(x)")] = 1000 * float(np.linalg.norm(straight - turned, axis=-1).mean())
    return apart


def strip(rows: Rows, path: Path) -> None:
    """A row for each view, instants from left to right, as SVG."""
    count = len(next(iter(rows.values())))
    instants = np.linspace(0, count - 1, COLUMNS).round().astype(int)
    figure = Figure(figsize=(1.15 * COLUMNS + 1.6, 1.5 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for line, (name, poses) in zip(grid, rows.items(), strict=True):
        for axes, instant in zip(line, instants, strict=True):
            _draw(axes, name, poses[instant], rows[TRUE][instant])
        line[0].text(-0.1, 0.5, _broken(name), transform=line[0].transAxes, ha="right", va="center", fontsize=8)
    save(figure, path)


def animate(rows: Rows, path: Path) -> None:
    """The rows beside each other, as an animated GIF that repeats."""
    from matplotlib.animation import FuncAnimation, PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    count = len(next(iter(rows.values())))
    instants = np.linspace(0, count - 1, min(SHOTS, count)).round().astype(int)
    figure = Figure(figsize=(1.7 * len(rows), 2.3), dpi=70)
    FigureCanvasAgg(figure)
    line = figure.subplots(1, len(rows), squeeze=False)[0]

    def show(instant: int) -> list[object]:
        for axes, (name, poses) in zip(line, rows.items(), strict=True):
            axes.clear()
            axes.set_title(_broken(name), fontsize=8)
            _draw(axes, name, poses[instant], rows[TRUE][instant])
        return []

    film = FuncAnimation(figure, show, frames=list(instants), blit=False)  # pyright: ignore[reportArgumentType]
    film.save(path, writer=PillowWriter(fps=12))


def _broken(name: str) -> str:
    """A name in two lines."""
    return name.replace(": ", "\n", 1).replace("the network", "the\nnetwork")


def _draw(axes: Axes, name: str, pose: np.ndarray, truth: np.ndarray) -> None:
    """One body; behind an answer the truth."""
    if name == TAKEN:
        flat = pose - pose[:1]
        _bones(axes, 0.8 * flat / np.abs(flat).max(), {})
    else:
        _bones(axes, _seen(truth), dict.fromkeys(SIDES, BEHIND) if name != TRUE else {})
        if name != TRUE:
            _bones(axes, _seen(pose), {})
    axes.set(xlim=(-0.85, 0.85), ylim=(1.05, -0.85), aspect="equal")
    axes.axis("off")


def _seen(pose: np.ndarray) -> np.ndarray:
    """A pose "joint 3" of a camera, y down, turned about the vertical: "joint 2"."""
    sideways = np.cos(TURN) * pose[:, 0] + np.sin(TURN) * pose[:, 2]
    return np.stack([sideways, pose[:, 1]], axis=-1)


def _bones(axes: Axes, places: np.ndarray, colours: Mapping[str, str]) -> None:
    """A body as lines, left and right in their colours unless others are given."""
    body = load_skeleton(SKELETON)
    for bone in body.edges:
        names = " ".join(body.joints[joint] for joint in bone)
        side = next((side for side in ("left", "right") if side in names), "center")
        ends = places[list(bone)]
        axes.plot(ends[:, 0], ends[:, 1], color=colours.get(side, SIDES[side]), linewidth=2, solid_capstyle="round")
