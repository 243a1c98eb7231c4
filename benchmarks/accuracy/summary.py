"""The rows of the results file by network, as medians over the seeds that are there."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).parent / "results.csv"
DEFAULTS = Path(__file__).parent / "defaults.csv"
"""Today's defaults: rows of `benchmarks.accuracy.compare`."""
PLAIN = Path(__file__).parent / "pruned.csv"
"""Half the width beside structured pruning and distillation in the same seconds: rows of the same."""
NAMES = {
    "frame-128": "frame lifter, 128",
    "frame-256": "frame lifter, 256",
    "layer-256": "frame lifter with layer norms, 256",
    "frame-512": "frame lifter, 512",
    "frame-1024": "frame lifter, 1024",
    "mlp-512": "MLP, 4 × 512, no norm",
    "tanh-128": "tanh MLP, 3 × 128",
    "temporal-27": "temporal, 27 frames, 256",
    "temporal-243": "temporal, 243 frames, 256",
    "gru-128": "GRU lifter, 27 frames, 128",
    "joints-64": "transformer over joints, 64",
    "joints-64-long": "the same, trained four times as long",
    "mixer-32": "mixer over joints, 32",
    "mixer-64": "mixer over joints, 64",
    "frames-128": "transformer over frames, 128",
    "frames-post-128": "transformer over frames, post-norm",
    "lstm-256": "LSTM forecaster, 256",
    "recogniser-gru-128": "GRU recogniser, 128",
    "recogniser-gcn-32": "graph recogniser, 32",
    "one-sided-512": "frame lifter, 512, one-sided",
}
BETTER = {"mpjpe_mm": -1, "l2_x1000": -1, "top1_percent": 1}
UNITS = {"mpjpe_mm": "mm", "l2_x1000": "L2 × 1000", "top1_percent": "%"}


@dataclass(frozen=True)
class Line:
    """One network, converted in one way.

    error: the median, in the unit of the metric.  change: the median of what it is to the teacher of the same seed: a
    ratio, or for a recogniser points gained.  parameters, macs: relative to the teacher's.  seconds: nan where no row
    has them, as those of a machine that did other things.  products: multiplications that PyTorch counts in what was
    written, relative to the teacher's; worst_joint: the largest ratio of a joint's error; both nan where not measured.
    averaged: on how many seeds it is the average of both views, two passes.
    """

    network: str
    flips: bool
    way: str
    metric: str
    seeds: int
    error: float
    change: float
    parameters: float
    macs: float
    seconds: float
    products: float = nan
    worst_joint: float = nan
    averaged: int = 0

    @property
    def is_score(self) -> bool:
        """Larger is better."""
        return BETTER[self.metric] > 0


def read(path: Path = RESULTS) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines(rows: list[dict[str, str]]) -> dict[tuple[str, bool, str], Line]:
    """By network, flips and way; conversions that were refused are left out."""
    teachers = {_run(row): row for row in rows if row["way"] == "teacher"}
    found: dict[tuple[str, bool, str], list[dict[str, str]]] = {}
    for row in rows:
        if isfinite(float(row["error"])) and _run(row) in teachers:
            found.setdefault((row["network"], row["flips"] == "True", row["way"]), []).append(row)
    return {key: _line(key, own, teachers) for key, own in found.items()}


def _run(row: dict[str, str]) -> tuple[str, str, str]:
    return row["network"], row["flips"], row["seed"]


def _line(key: tuple[str, bool, str], rows: list[dict[str, str]], teachers: dict) -> Line:
    metric = rows[0]["metric"]
    pairs = [(row, teachers[_run(row)]) for row in rows]
    changes = [_gained(row) if BETTER[metric] > 0 else float(row["ratio"]) for row in rows]
    timed = [float(row["seconds"]) for row in rows if row["seconds"]]
    return Line(
        *key, metric, len(rows), median(float(row["error"]) for row in rows), median(changes),
        median(float(row["parameters"]) / float(teacher["parameters"]) for row, teacher in pairs),
        median(float(row["macs"]) for row in rows), median(timed) if timed else nan,
        _known(rows, "products"), _known(rows, "worst_joint"), sum(row["note"].startswith("average") for row in rows),
    )  # fmt: skip


def _known(rows: list[dict[str, str]], column: str) -> float:
    """The median of a column, nan where it is not there."""
    values = [float(row.get(column) or nan) for row in rows]
    return median(values) if all(map(isfinite, values)) else nan


def _gained(row: dict[str, str]) -> float:
    """Points over the row's own teacher: one trained again elsewhere, of the same seed, may differ by some."""
    return float(row["error"]) - float(row["error"]) / float(row["ratio"])
