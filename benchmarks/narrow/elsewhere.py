"""Whether the bounds on narrow inputs hold on networks, people and actions that no bound was chosen on:

    CHIRALIZE_DATA=DIR python -m benchmarks.narrow.elsewhere --cache DIR [--names ...] [--inputs ...]

Lifters of another width, with layer norms, recurrent and temporal ones are made half as wide on 2,000 samples of
each kind, whatever the bounds say, and every row has what the bounds look at and the error on all test subjects. So any
bounds can be judged by the same rows, which `python -m benchmarks.narrow.elsewhere` without --cache does: how many
results it takes though they err, and how many it refuses though they do not. Rows are appended as they come.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.summary import read
from benchmarks.accuracy.tasks import Lifting
from benchmarks.accuracy.teachers import Teacher, answers, both_views, gap
from benchmarks.narrow.run import BATCH, SAMPLES, SEED, TESTED, errors, named, teacher_of
from chiralize.commands.convert import Request, convert
from chiralize.errors import ChiralizeError
from chiralize.problem.poses.windows import windows
from chiralize.problem.preparation import prepare
from chiralize.verification import beyond
from chiralize.verification.verdicts import FAR_BEYOND, Beyond, Drift, OutputDrift

RESULTS = Path(__file__).with_name("elsewhere.csv")
COLUMNS = (
    "network", "inputs", "gap", "rho", "joint", "poses", "poses_joint", "others", "tested", "drawn", "error",
    "worst_joint", "averaged", "seconds", "notes",
)  # fmt: skip
NAMES = ("frame-256-flips-0", "layer-256-flips-0", "gru-128-flips-0", "temporal-27-flips-0")
Choice = Callable[[Mapping[str, Any]], bool]
KINDS: dict[str, Choice] = {
    "acrobatics": lambda own: own["subject"] == "ctr-acrobatics",
    "another walker": lambda own: own["subject"] == "x-walking",
    "forward jumps": lambda own: "forward jumps" in own["action"],
    "hanging, arms straight": lambda own: "arms straight" in own["action"],
    "pulling up": lambda own: "pull up" in own["action"],
    "going under": lambda own: own["action"] == "playground - climb, go under",
    "jetes": lambda own: "small jetes, pirouette" in own["action"],
    "cartwheel": lambda own: "cartwheel" in own["action"],
    "person 05": lambda own: own["subject"] == "05",
    "all": lambda own: True,
    "one camera": lambda own: own["camera"] == 0,
    "all x 0.7": lambda own: True,
    "1000 of all": lambda own: True,
    "300 of all": lambda own: True,
    "100 of all": lambda own: True,
}
"""Which sequences are of a kind: others than those of `benchmarks.narrow.run`, but for `all`, dances and a person."""
UNITS = {"all x 0.7": 0.7}
COUNTS = {"1000 of all": 1000, "300 of all": 300, "100 of all": 100}
"""How many samples, where they are not `SAMPLES`."""
POSES, CAMERAS = beyond.POSES, 8
DRAWN, DRAWN_SEED = 1000, 77
ERRS, DOES_NOT = 1.03, 1.01
"""Errors over the original's: above the first a result should not have been taken, up to the second it might."""


def samples(task: Lifting, name: str) -> Tensor:
    """Unlabelled samples of a kind, in the shape that the network takes."""
    capture = task.motion.load(task.data_folder / "cmu17.npz")
    people = sorted(set(capture["subject"].tolist()) - set(task.motion.TEST_SUBJECTS))
    found = task.motion.lifting(capture, people, 1, 0.0, CAMERAS, min_len=task.frames)
    windows = [_windows(own["pose2d"], task.frames) for own in found if KINDS[name](own)]
    counts = [len(own) for own in windows]
    starts = np.cumsum(counts) - counts
    count = COUNTS.get(name, SAMPLES)
    chosen = np.sort(np.random.default_rng(SEED).choice(sum(counts), count))
    parts = np.searchsorted(starts, chosen, side="right") - 1
    drawn = np.stack([windows[part][own - starts[part]] for part, own in zip(parts, chosen, strict=True)])
    mixed = drawn[np.random.default_rng(SEED).permutation(count)]
    return torch.from_numpy(np.float32(UNITS.get(name, 1)) * mixed)


def _windows(poses: np.ndarray, frames: int) -> np.ndarray:
    """Views of `frame joint 2` as `window frame joint 2`; single frames as they are."""
    if frames == 1:
        return poses
    return np.lib.stride_tricks.sliding_window_view(poses, frames, axis=0).transpose(0, 3, 1, 2)


def row(teacher: Teacher, inputs: Tensor) -> dict[str, Any]:
    """One conversion to half the width, whatever the bounds say, and what became of the error."""
    task = teacher.task
    calls = [((part,), {}) for part in inputs.split(BATCH)]
    request = Request("reduce", width=0.5, calibration=calls, form="dense", max_drift=1e9, force=True)
    seen, made = dict[str, Drift](), beyond.beyond_of

    def noted(what: str, drift: Drift) -> Beyond:
        seen[what] = drift
        return made(what, drift)

    averaged = teacher.averaged[task.figure] / teacher.figures[task.figure]
    start = time.process_time()
    try:
        with patch.object(beyond, "beyond_of", noted):
            done = convert(prepare(teacher.network, task.spec, (inputs[:BATCH],)), teacher.name, request)
    except ChiralizeError as refusal:
        return {"averaged": averaged, "notes": f"{refusal.code} {refusal.facts}"}
    seconds = time.process_time() - start
    drift = done.report.drift
    assert drift is not None
    tested, targets = task.test(TESTED)
    before, after = errors(teacher.network, tested, targets), errors(done.module, tested, targets)
    moving = targets.std(0).norm(dim=-1) > 1e-6  # the hip is the origin
    poses = seen.pop(POSES, None)
    return {
        "gap": drift.gap, "rho": drift.rho, "joint": worst(drift),
        "poses": poses.rho if poses else "", "poses_joint": worst(poses) if poses else "",
        "others": max((own.rho for own in seen.values()), default=""),
        "tested": _rho(teacher, answers(done.module, tested), tested), "drawn": _drawn(teacher, done.module),
        "error": float(after.mean() / before.mean()), "worst_joint": float((after / before)[moving].max()),
        "averaged": averaged, "seconds": seconds, "notes": "",
    }  # fmt: skip


def worst(drift: Drift) -> float:
    """The largest rho of a joint."""
    return max(joint.rho for output in drift.outputs for joint in output.joints)


def _rho(teacher: Teacher, made: Tensor, inputs: Tensor) -> float:
    """rho on inputs that the conversion did not see."""
    direct, twin = both_views(teacher.network, teacher.task, inputs)
    both = (direct + twin) / 2
    spread = (direct - direct.mean(0)).square().mean().sqrt()
    return float((made - both).square().mean().sqrt() / spread / max(gap(direct, twin) / 2, 0.01))


def _drawn(teacher: Teacher, made: nn.Module) -> float:
    """The error over the original's on drawn motions, whose answers are known, and which nothing was fitted on."""
    assert isinstance(teacher.task, Lifting)
    motions = windows(DRAWN, teacher.task.frames, DRAWN_SEED)
    inputs = torch.from_numpy(motions.inputs if teacher.task.frames > 1 else motions.inputs[:, 0])
    targets = torch.from_numpy(motions.targets)
    return float(errors(made, inputs, targets).mean() / errors(teacher.network, inputs, targets).mean())


# ---- judging bounds by the rows -------------------------------------------------------------------------------------
Rule = Callable[[Drift], bool]
"""Whether a result is taken."""


def as_they_are(drift: Drift) -> bool:
    """The bounds of `auto`."""
    return drift.rho <= FAR_BEYOND and not drift.is_narrow


def drift_of(own: Mapping[str, str]) -> Drift:
    """What the report of a row had to go by."""
    kinds = [Beyond(what, 0.0, float(own[what]), what == "poses") for what in ("poses", "others") if own[what]]
    furthest = max(kinds, key=lambda kind: kind.order, default=None)
    outputs = (OutputDrift(0, float(own["gap"]), 0.0, float(own["rho"])),)
    return Drift(outputs, "held-out calibration inputs", SAMPLES // 5, beyond=furthest)


def judged(rows: Sequence[Mapping[str, str]], rule: Rule) -> tuple[int, int, int, float]:
    """Results taken, of them those that err, refused ones that do not, and the largest error that was taken."""
    taken = [float(own["error"]) for own in rows if rule(drift_of(own))]
    refused = [float(own["error"]) for own in rows if not rule(drift_of(own))]
    false = sum(error > ERRS or not isfinite(error) for error in taken)
    return len(taken), false, sum(error <= DOES_NOT for error in refused), max(taken, default=float("nan"))


def tell(path: Path) -> Iterator[str]:
    """A line per network on the bounds as they are."""
    rows = [own for own in read(path) if own["error"]]
    for name in (*dict.fromkeys(own["network"] for own in rows), ""):
        own = [row for row in rows if name in row["network"]]
        taken, false, needless, largest = judged(own, as_they_are)
        errs = f" (largest error {largest:.3f}, {false} above {ERRS})" if taken else ""
        yield f"{name or 'all'}: {len(own)} results, {taken} taken{errs}; {needless} refused of at most {DOES_NOT}"


def main() -> int:
    """Convert and append to the file, or judge it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="folder of the trained networks; without it the file is judged")
    parser.add_argument("--names", nargs="+", default=NAMES, help="NAME-flips-SEED or NAME-plain-SEED")
    parser.add_argument("--inputs", nargs="+", default=list(KINDS), choices=list(KINDS), metavar="KIND")
    parser.add_argument("--csv", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if chosen.cache is not None:
        done = known(chosen.csv, COLUMNS[:2])
        for name in chosen.names:
            missing = [inputs for inputs in chosen.inputs if (name, inputs) not in done]
            teacher = teacher_of(chosen.cache, name) if missing else None
            for inputs in missing:
                assert teacher is not None and isinstance(teacher.task, Lifting)
                found = named(name, inputs, row(teacher, samples(teacher.task, inputs)))
                append(chosen.csv, COLUMNS, [found])
                print(*found.values(), flush=True)
    for line in tell(chosen.csv):
        print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
