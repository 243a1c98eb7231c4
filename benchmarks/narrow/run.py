"""What `auto` makes of lifters whose calibration inputs are of few kinds: one action, one person, the wrong unit.

    CHIRALIZE_DATA=DIR python -m benchmarks.narrow.run --cache DIR [--names ...]

Lifters that `benchmarks.accuracy.teachers` has trained (those that DIR lacks are trained first) are given to `auto`
with 2,000 unlabelled poses of each kind and nothing else. Every row has what it took or why it refused, what the report
knows (gap, rho held out, rho beyond the inputs) and what it cannot know, the error on all test subjects in units of the
original's. Rows are appended as they come; what the file has is skipped. `given_alone.csv` and `forced.csv` are of
before: fitted on the given inputs alone, and at half the width whatever the guards said.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.tasks import Lifting
from benchmarks.accuracy.teachers import Teacher, answers, load_teacher, place, trained
from chiralize.commands.convert import Request, convert
from chiralize.errors import ChiralizeError
from chiralize.problem.preparation import prepare

RESULTS = Path(__file__).with_name("results.csv")
COLUMNS = (
    "network", "inputs", "outcome", "gap", "rho", "beyond", "rho_beyond", "error", "worst_joint", "averaged", "poses",
    "seconds", "notes",
)  # fmt: skip
NAMES = ("mlp-512-flips-0", "frame-128-flips-0", "tanh-128-flips-0", "frame-128-plain-0", "tanh-128-plain-0")
ACTIONS = ("walk", "run", "climb", "wash", "dance", "basketball", "traffic")
PEOPLE = ("01", "03", "05", "09", "gs-backflip", "gs-pirouette", "ctr-jumpingjacks", "x06")
UNITS = {"all x 0.5": 0.5, "all x 2": 2.0, "pixels": 500.0}
ONE_SCALE, OTHER_SKELETON = "one scale", "another skeleton"
KINDS = ("all", *UNITS, ONE_SCALE, OTHER_SKELETON, *ACTIONS, *(f"person {person}" for person in PEOPLE))
COCO = (
    ("Neck", "Head"), ("Neck", "Head", "LShoulder"), ("Neck", "Head", "RShoulder"), ("Head", "LShoulder"),
    ("Head", "RShoulder"), ("LShoulder",), ("RShoulder",), ("LElbow",), ("RElbow",), ("LWrist",), ("RWrist",),
    ("LHip",), ("RHip",), ("LKnee",), ("RKnee",), ("LFoot",), ("RFoot",),
)  # fmt: skip
"""The 17 keypoints of COCO in their order, as means of Human3.6M's joints; those of the face are near enough."""
SAMPLES, TESTED, SEED, BATCH = 2000, 4000, 5, 50


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
    for name, unit in UNITS.items():
        yield name, unit * everything
    yield ONE_SCALE, of_one_scale(everything)
    yield OTHER_SKELETON, in_order_of_coco(everything, task.motion.H36M17)
    for action in ACTIONS:
        yield action, chosen(lambda own, action=action: action in str(own["action"]))
    for person in PEOPLE:
        yield f"person {person}", chosen(lambda own, person=person: str(own["subject"]) == person)


def of_one_scale(poses: Tensor) -> Tensor:
    """All of the same size about their middles: as if everybody stood at the same distance."""
    middle = poses.mean(1, keepdim=True)
    size = (poses - middle).square().mean((1, 2), keepdim=True).sqrt()
    return middle + (poses - middle) * (size.median() / size)


def in_order_of_coco(poses: Tensor, joints: list[str]) -> Tensor:
    """As many joints, but other ones, in another order."""
    return torch.stack([poses[:, [joints.index(name) for name in of]].mean(1) for of in COCO], 1)


def errors(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean distance of every joint from its target, metres."""
    return (answers(network, inputs) - targets).norm(dim=-1).mean(0)


def row(teacher: Teacher, inputs: Tensor) -> dict[str, Any]:
    """One conversion by `auto`, and what became of the error."""
    task, told = teacher.task, list[str]()
    calls = [((part,), {}) for part in inputs.split(BATCH)]
    request = Request(calibration=calls, progress=lambda what, share=0.0: told.append(what))
    averaged = teacher.averaged[task.figure] / teacher.figures[task.figure]
    start = time.process_time()
    try:
        done = convert(prepare(teacher.network, task.spec, (inputs[:BATCH],)), teacher.name, request)
    except ChiralizeError as refusal:
        return {"outcome": f"refused: {refusal.code}", "averaged": averaged, "notes": refusal.facts}
    seconds = time.process_time() - start
    taken = [what for what in told if what.startswith("converting by ")][-1].removeprefix("converting by ")
    drift, notes = done.report.drift, done.report.notes
    tested = task.test(TESTED)
    before, after = errors(teacher.network, *tested), errors(done.module, *tested)
    moving = tested[1].std(0).norm(dim=-1) > 1e-6  # the hip is the origin
    beyond = drift.beyond if drift else None
    return {
        "outcome": taken, "gap": drift.gap if drift else "", "rho": drift.rho if drift else "",
        "beyond": beyond.what if beyond else "", "rho_beyond": beyond.rho if beyond else "",
        "error": float(after.mean() / before.mean()), "worst_joint": float((after / before)[moving].max()),
        "averaged": averaged, "poses": any("built-in poses" in note for note in notes), "seconds": seconds,
        "notes": "; ".join(note for note in notes if "was not taken" in note),
    }  # fmt: skip


def named(name: str, inputs: str, found: dict[str, Any]) -> dict[str, Any]:
    """A row as the file has it."""
    whole = {"network": name, "inputs": inputs, **found}
    return {key: f"{own:.4g}" if isinstance(own, float) else own for key, own in whole.items()}


def teacher_of(cache: Path, name: str) -> Teacher:
    """The lifter of this name, trained where the cache has none."""
    kind, flips, seed = name.rsplit("-", 2)
    key = kind, flips == "flips", int(seed)
    if not place(cache, *key).exists():
        print(trained(cache, *key), flush=True)
    return load_teacher(cache, *key)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder of the trained networks")
    parser.add_argument("--names", nargs="+", default=NAMES, help="NAME-flips-SEED or NAME-plain-SEED")
    parser.add_argument("--inputs", nargs="+", default=KINDS, choices=KINDS, metavar="KIND")
    parser.add_argument("--csv", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    done = known(chosen.csv, COLUMNS[:2])
    for name in chosen.names:
        teacher = teacher_of(chosen.cache, name)
        assert isinstance(teacher.task, Lifting)
        for inputs, poses in kinds(teacher.task):
            if inputs not in chosen.inputs or (name, inputs) in done:
                continue
            found = named(name, inputs, row(teacher, poses))
            append(chosen.csv, COLUMNS, [found])
            print(*found.values(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
