"""What a conversion is worth whose calibration inputs are of few kinds: one action, one person, the wrong unit.

    CHIRALIZE_DATA=DIR python -m benchmarks.narrow.run --cache DIR [--names ...]

Lifters that `benchmarks.accuracy.teachers` has trained are made smaller on 2,000 unlabelled poses of each kind, at both
widths that `auto` tries, whatever the guards say. Every row has what the report knows (gap, rho held out, rho beyond
the inputs) and what it cannot know, the error on all test subjects in units of the original's. Rows are appended as
they come; what the file has is skipped.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.tasks import Lifting
from benchmarks.accuracy.teachers import Teacher, answers, load_teacher
from chiralize import chiralize
from chiralize.problem.request import WIDTHS

RESULTS = Path(__file__).with_name("results.csv")
COLUMNS = (
    "network", "inputs", "width", "macs", "gap", "rho", "beyond", "rho_beyond", "error", "worst_joint", "averaged",
)  # fmt: skip
NAMES = ("mlp-512-flips-0", "frame-512-flips-0", "mlp-512-plain-0")
ACTIONS = ("walk", "run", "climb", "wash", "dance", "basketball", "traffic")
PEOPLE = ("01", "03", "05", "09", "gs-backflip", "gs-pirouette", "ctr-jumpingjacks", "x06")
UNITS = (0.5, 2.0)
KINDS = ("all", *(f"all x {unit:g}" for unit in UNITS), *ACTIONS, *(f"person {person}" for person in PEOPLE))
SAMPLES, TESTED, SEED = 2000, 4000, 5


def kinds(task: Lifting) -> Iterator[tuple[str, Tensor]]:
    """Unlabelled poses `sample joint 2` of every kind, by its name."""
    capture = task.motion.load(task.data_folder / "cmu17.npz")
    people = sorted(set(capture["subject"].tolist()) - set(task.motion.TEST_SUBJECTS))
    sequences = list(task.motion.lifting(capture, people, 1, 0.0, 8, min_len=1))

    def chosen(fits: Callable[[dict[str, Any]], bool]) -> Tensor:
        poses = np.concatenate([own["pose2d"] for own in sequences if fits(own)])
        return torch.from_numpy(poses[np.random.default_rng(SEED).choice(len(poses), SAMPLES)])

    everything = chosen(lambda own: True)
    yield "all", everything
    for unit in UNITS:
        yield f"all x {unit:g}", unit * everything
    for action in ACTIONS:
        yield action, chosen(lambda own, action=action: action in str(own["action"]))
    for person in PEOPLE:
        yield f"person {person}", chosen(lambda own, person=person: str(own["subject"]) == person)


def errors(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean distance of every joint from its target, metres."""
    return (answers(network, inputs) - targets).norm(dim=-1).mean(0)


def row(teacher: Teacher, inputs: Tensor, width: float) -> dict[str, Any]:
    """One conversion and what became of the error."""
    task = teacher.task
    made = chiralize(
        teacher.network, task.spec, inputs[:2], calibration=inputs, method="reduce", width=width, force=True
    )
    report = made.chirality.report
    drift = report.drift
    assert drift is not None
    tested = task.test(TESTED)
    before, after = errors(teacher.network, *tested), errors(made, *tested)
    moving = before > 1e-3  # the hip is the origin
    beyond = drift.beyond
    return {
        "macs": (report.cost.macs_after or 0) / (report.cost.macs_before or 1),
        "gap": drift.gap, "rho": drift.rho, "beyond": beyond.what if beyond else "",
        "rho_beyond": beyond.rho if beyond else "", "error": float(after.mean() / before.mean()),
        "worst_joint": float((after / before)[moving].max()),
        "averaged": teacher.averaged[task.figure] / teacher.figures[task.figure],
    }  # fmt: skip


def named(name: str, inputs: str, width: float, found: dict[str, Any]) -> dict[str, Any]:
    """A row as the file has it."""
    whole = {"network": name, "inputs": inputs, "width": width, **found}
    return {key: f"{own:.4g}" if isinstance(own, float) else own for key, own in whole.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the trained networks")
    parser.add_argument("--names", nargs="+", default=NAMES, help="NAME-flips-SEED or NAME-plain-SEED")
    parser.add_argument("--widths", type=float, nargs="+", default=WIDTHS)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    done = known(chosen.csv, COLUMNS[:3])
    for name in chosen.names:
        kind, flips, seed = name.rsplit("-", 2)
        teacher = load_teacher(chosen.cache, kind, flips == "flips", int(seed))
        assert isinstance(teacher.task, Lifting)
        for inputs, poses in kinds(teacher.task):
            for width in chosen.widths:
                if (name, inputs, str(width)) in done:
                    continue
                found = named(name, inputs, width, row(teacher, poses, width))
                append(chosen.csv, COLUMNS, [found])
                print(*found.values(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
