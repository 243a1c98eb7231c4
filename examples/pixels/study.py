"""Train, measure the alignment, and compare four ways of averaging: none, as it is, shifted by one cell, aligned."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from chiralize import audit, chiralize
from examples.pixels.networks import STRIDE, Heatmaps, train
from examples.pixels.poses import bodies
from examples.pixels.rendering import Pictures, render

_CALIBRATION = 512
_BATCH = 250
_CLOSE = 2.0
"""Pixels within which a joint counts as found."""


@dataclass(frozen=True)
class Size:
    """How much is drawn and how long is trained, in seconds of the process."""

    training: int = 12_000
    tested: int = 2_500
    seconds: float = 560.0
    channels: int = 24


SMOKE = Size(64, 32, 0.5, 4)


@dataclass(frozen=True)
class Way:
    """How both views are averaged.  error: mean distance in pixels.  close: share of joints within 2 pixels.

    gap: RMS distance of both views over the spread of the answers, None for one view.
    """

    name: str
    passes: int
    error: float
    close: float
    ratio: float
    gap: float | None = None


@dataclass(frozen=True)
class Outcome:
    """The ways in order, and by how many cells the turned maps are off with the error of that."""

    ways: tuple[Way, ...]
    shift: float | None
    shift_error: float | None


def maps_of(mirror: object = "w") -> dict[str, object]:
    """The specification of pictures and their maps.  mirror: of the maps; a whole shift mirrors at another cell."""
    return {
        "skeleton": "h36m",
        "inputs": [{"layout": "b c h w", "mirror": "w"}],
        "outputs": [{"layout": "b j h w", "mirror": mirror}],
    }


def read_off(maps: Tensor, offset: float = 0.0) -> Tensor:
    """Joints "sample joint 2" in pixels: the highest cell, and a parabola through its neighbours.

    offset: pixels by which cells lie further to the right than at stride * i.
    """
    height, width = maps.shape[-2:]
    best = maps.flatten(2).argmax(-1)
    row, column = best // width, best % width
    flat = maps.flatten(2).clamp(min=1e-4).log()

    def peak(at: Tensor, most: int, step: int) -> Tensor:
        """Where between its neighbours the peak lies along an axis."""
        inner = (at > 0) & (at < most - 1)
        left, middle, right = (
            flat.gather(2, (best + offset * step * inner)[..., None])[..., 0] for offset in (-1, 0, 1)
        )
        bend = (2 * middle - left - right).clamp(min=1e-3)
        return at + torch.where(inner, ((right - left) / (2 * bend)).clamp(-0.5, 0.5), torch.zeros(()))

    places = torch.stack([peak(column, width, 1), peak(row, height, width)], -1)
    return STRIDE * places + torch.tensor([offset, 0.0])


@torch.no_grad()
def answers(net: nn.Module, pixels: Tensor) -> Tensor:
    """The maps of all pictures."""
    return torch.cat([net(part) for part in pixels.split(_BATCH)])


def measured(maps: Tensor, joints: Tensor, offset: float = 0.0) -> tuple[float, float]:
    """Mean distance in pixels, and the share of joints within two pixels."""
    distance = (read_off(maps, offset) - joints).norm(dim=-1)
    return float(distance.mean()), float((distance <= _CLOSE).float().mean())


def compared(net: nn.Module, pictures: Pictures) -> Outcome:
    """The ways on test pictures. The shift is measured on some of them, without their joints."""
    pixels, joints = pictures.pixels, pictures.joints
    unlabelled = pixels[:: max(len(pixels) // _CALIBRATION, 1)][:_CALIBRATION]
    example = (pixels[:2],)
    cells = pixels.shape[-1] // STRIDE
    (alignment,) = audit(net, maps_of(), example, calibration=unlabelled).alignments
    gaps = {figure.shift: figure.gap for figure in alignment.figures}
    plain = measured(answers(net, pixels), joints)
    ways = [Way("one view", 1, *plain, 1.0)]
    shift = alignment.shift
    specifications: list[tuple[str, object, str | None, float, float | None]] = [
        ("flip test, unshifted", "w", None, 0.0, gaps.get(0.0)),
        ("flip test, shifted by one cell", {"w": cells / 2}, None, 0.0, gaps.get(1.0)),
    ]
    if shift is not None:
        align = f"resample={shift:.3f}"
        specifications.append(
            (f"flip test, aligned ({shift:.2f} cells)", "w", align, STRIDE * shift / 2, gaps.get(shift))
        )
    for name, mirror, align, offset, gap in specifications:
        chiral = chiralize(net, maps_of(mirror), example, align=align, method="average", force=True)
        error, close = measured(answers(chiral, pixels), joints, offset)
        ways.append(Way(name, 2, error, close, error / plain[0], gap))
    return Outcome(tuple(ways), shift, alignment.error)


def run(size: Size, say: Callable[[str], None] = print) -> tuple[nn.Module, Pictures, Outcome]:
    """Draw, train and compare. Returns the network and the test pictures as well."""
    training, tested = render(bodies(size.training, False), 0), render(bodies(size.tested, True), 1)
    say(f"drawn: {len(training.pixels)} pictures to train on, {len(tested.pixels)} to test on")
    torch.manual_seed(0)
    net = train(Heatmaps(size.channels), training, size.seconds, say=say)
    return net, tested, compared(net, tested)


HEADER = ("way", "passes", "error in pixels", "within 2 pixels", "to one view", "gap of the views")


def table(ways: Sequence[Way]) -> list[tuple[str, ...]]:
    """The rows of the page's table, as text."""
    rows: list[tuple[str, ...]] = []
    for way in ways:
        gap = "" if way.gap is None else f"{way.gap:.2f}"
        rows.append((way.name, str(way.passes), f"{way.error:.2f}", f"{way.close:.1%}", f"{way.ratio:.3f}", gap))
    return rows


def write(path: Path, outcome: Outcome) -> None:
    """The figures as a table of comma separated values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(table(outcome.ways))
