"""A picture of the comparison: the error of every way, one view in grey."""

from __future__ import annotations

from pathlib import Path

from examples.pixels.study import Outcome
from examples.study.plots import BLUE, GREY, Figure, save


def draw(outcome: Outcome, path: Path) -> None:
    """Bars, the first way on top, and a line at its error."""
    ways = outcome.ways[::-1]
    figure = Figure(figsize=(7, 2.2), layout="constrained")
    axes = figure.subplots()
    colours = [GREY if way.passes == 1 else BLUE for way in ways]
    bars = axes.barh([way.name for way in ways], [way.error for way in ways], color=colours)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.axvline(outcome.ways[0].error, color=GREY, linewidth=0.8)
    axes.set(xlabel="mean distance from the joints, pixels", xlim=(0, 1.15 * max(way.error for way in ways)))
    save(figure, path)
