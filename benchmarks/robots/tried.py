"""What `convert --rollout` makes of trained policies by default, and what that returns from other starts:

    python -m benchmarks.robots.tried --folder DIR [--only NAME ...]

DIR is that of `benchmarks.robots.train`. Nothing is given but the policy, its specification and its environment: what
is fitted is recorded there, candidates are tried from eight starts and their mirror images, and from others the result
is run here. Rows are appended to `tried.csv`; those that it has are skipped. Policies without a state alone.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.accuracy.rows import append, known
from benchmarks.robots.again import SEED, share
from benchmarks.robots.loop import roll
from benchmarks.robots.policies import example, is_trained, trained
from benchmarks.robots.table import TRIED
from benchmarks.robots.train import Job, asked
from chiralize import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError
from chiralize.methods.targets import FITTED

COLUMNS = (
    "policy",
    "outcome",
    "method",
    "fitted to",
    "products",
    "rho",
    "original",
    "result",
    "ratio",
    "error",
    "said",
)
EPISODES, STARTS = 8, 32


def converted(job: Job, folder: Path) -> dict[str, str]:
    """A row: the command's own choice, or the facts of its refusal."""
    policy, task = trained(job, folder), job.task
    spec, row = parse_spec(task.spec), dict.fromkeys(COLUMNS, "") | {"policy": job.name}
    before = roll(policy, task, seed=SEED, starts=STARTS).returns
    row["original"] = f"{before.mean():.2f}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            network: Any = chiralize(
                policy, spec, example(task), rollout=task.gym, episodes=EPISODES, steps=task.steps, progress=False
            )
        except ChiralizeError as error:
            return {**row, "outcome": f"refused {error.code}", "said": str(error.facts)}
    report = network.chirality.report
    after = roll(network, task, seed=SEED, starts=STARTS).returns
    ratio, error = share(before, after)
    alone = any(note.startswith(FITTED) for note in report.notes)
    return {
        **row,
        "outcome": "warned" if report.standing == "warning" else "handed over",
        "method": report.method,
        "fitted to": "" if report.is_average else ("the answers as they are" if alone else "both views"),
        "products": f"{report.cost.macs_after / report.cost.macs_before:.3f}",
        "rho": f"{report.drift.rho:.4f}",
        "result": f"{after.mean():.2f}",
        "ratio": f"{ratio:.4f}",
        "error": f"{error:.4f}",
        "said": str(report.verdict),
    }


def main() -> int:
    """Convert and run every policy without a state that is trained."""
    folder, jobs = asked(__doc__)
    for job in jobs:
        if job.network != "mlp" or job.way == "equivariant" or not is_trained(job, folder):
            continue
        if (job.name,) not in known(TRIED, ("policy",)):
            row = converted(job, folder)
            append(TRIED, COLUMNS, [row])
            Console(stderr=True).print(", ".join(row.values()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
