"""Convert published policies, and let them walk in MuJoCo from starts and from the mirror images of these:

    python -m benchmarks.robots.published.run --policies DIR --robots DIR [--only NAME ...] [--write PAGE]

--policies: the folder `policy` of a checkout of fan-ziqi/rl_sar.  --robots: `unitree_robots` of one of
unitreerobotics/unitree_mujoco; meshes are not needed. Rows are appended to `results.csv` as they come, and those that
the file has are skipped. Without both folders the table is made from the file.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.accuracy.rows import append, known
from benchmarks.robots.published.policies import PUBLISHED, Array, PublishedPolicy
from benchmarks.robots.published.walking import Walking
from chiralize import audit, chiralize
from chiralize.body.tensors import ConversionSpec, parse_spec
from chiralize.errors import ChiralizeError
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.verification.closed_loop.acting import Policy
from chiralize.verification.closed_loop.environment import Environment
from chiralize.verification.closed_loop.records import AVERAGE, ORIGINAL, Rollout, Walker
from chiralize.verification.closed_loop.running import walk, walker_of

RESULTS = Path(__file__).with_name("results.csv")
KEY = ("policy", "way")
COLUMNS = (
    *KEY, "products", "rho", "gap", "lean", "return", "share", "share_error", "return_gap", "gap_error", "falls",
    "mirror_error", "seconds", "note",
)  # fmt: skip
STARTS, STEPS = 16, 500
RECORDED, FIRST = 12, 1000
"""Episodes of the original to calibrate on, and the first of their starts, none of which is walked from later."""
WIDTHS = {"reduce 0.5": 0.5, "reduce 0.707": 0.707}
HEADS = {
    ORIGINAL: "original", AVERAGE: "flip average", "reduce 0.5": "½", "reduce 0.707": "0.707",
}  # fmt: skip
BEGIN, END = "<!-- published -->", "<!-- /published -->"


@dataclass(frozen=True)
class Trial:
    """One policy, its robot, and what it was recorded with. recorded: `episode step entry`."""

    name: str
    policy: PublishedPolicy
    environment: Environment
    spec: ConversionSpec
    recorded: Array

    @staticmethod
    def of(name: str, policies: Path, robots: Path) -> Trial:
        """Record a policy."""
        policy = PublishedPolicy(policies, PUBLISHED[name])
        walking = Walking(policy, robots)
        environment = Environment(walking, name)
        spec = parse_spec(policy.specification(walking.mirror))
        environment.find_mirror(walking.mirror.lateral)
        return Trial(name, policy, environment, spec, np.stack(list(_recorded(policy, walking))))

    @property
    def example(self) -> tuple[torch.Tensor]:
        """One observation."""
        return (torch.from_numpy(self.recorded[0, :1]),)

    @property
    def calibration(self) -> torch.Tensor:
        """All observations; as sequences where the policy keeps a state."""
        network = prepare(self.policy.load(), self.spec, self.example)
        values = torch.from_numpy(self.recorded)
        return values if network.carried.keeps_state else values.flatten(0, 1)

    def walker(self, network: Network, name: str) -> Walker:
        """What a policy does from all starts."""
        with Policy(network, ("observation",)) as policy:
            walked = walk(self.environment, policy, name, STARTS, STEPS)
            return walker_of(self.environment, policy, walked)


def _recorded(policy: PublishedPolicy, walking: Walking) -> Iterator[Array]:
    """Observations of episodes, `step entry`."""
    for start in range(FIRST, FIRST + RECORDED):
        network = policy.load()
        observation, _ = walking.reset(seed=start)
        seen = list[Array]()
        for _ in range(STEPS):
            seen.append(observation.astype(np.float32))
            with torch.no_grad():
                action = network(torch.from_numpy(seen[-1][None]))[0].double().numpy()
            observation, _, fallen, _, _ = walking.step(action)
            assert not fallen, f"{policy.path}: falls while it is recorded"
        yield np.stack(seen)


# ---- rows -----------------------------------------------------------------------------------------------------
def rows(trial: Trial, wanted: Sequence[str]) -> Iterator[Mapping[str, object]]:
    """The rows of one policy, as they come; the original's first, which all shares are of."""
    network = prepare(trial.policy.load(), trial.spec, trial.example)
    original = trial.walker(network, ORIGINAL)
    of_policy = partial(_row, trial, original)
    if ORIGINAL in wanted:
        measured = audit(trial.policy.load(), trial.spec, trial.example, calibration=trial.calibration).network
        note = _outcome(trial)
        yield of_policy(ORIGINAL, original, products=1, gap=measured.gap, lean=measured.lean, note=note)
    if AVERAGE in wanted:
        yield of_policy(AVERAGE, trial.walker(network, AVERAGE), products=2)
    for way, width in WIDTHS.items():
        if way in wanted:
            yield _converted(trial, way, width, of_policy)


def _converted(
    trial: Trial, way: str, width: float, of_policy: Callable[..., Mapping[str, object]]
) -> Mapping[str, object]:
    """By `reduce`, whatever `auto` says of the policy."""
    start = time.process_time()
    result: Any = chiralize(
        trial.policy.load(), trial.spec, trial.example, calibration=trial.calibration, method="reduce", width=width,
        force=True, max_drift=1e9,
    )  # fmt: skip
    seconds = time.process_time() - start
    report = result.chirality.report
    walker = trial.walker(prepare(result, trial.spec, trial.example), way)
    return of_policy(
        way, walker, products=report.cost.macs_after / report.cost.macs_before, rho=report.drift.rho, seconds=seconds,
        note=report.form,
    )  # fmt: skip


def _outcome(trial: Trial) -> str:
    """What `auto` does with the policy, and for what reason it stops."""
    try:
        result: Any = chiralize(trial.policy.load(), trial.spec, trial.example, calibration=trial.calibration)
    except ChiralizeError as error:
        return f"auto: {error.code}"
    report = result.chirality.report
    return f"auto: {report.method}" + (" with warnings" if report.cautions else "")


def _row(trial: Trial, original: Walker, way: str, walker: Walker, **figures: object) -> Mapping[str, object]:
    """One walk as a row, beside the original's."""
    pair = Rollout(trial.name, STEPS, "reset", (original, walker))
    share = pair.share(walker)
    assert share is not None
    row: dict[str, object] = {
        "policy": trial.name, "way": way, "return": walker.mean.mean, "share": share.mean, "share_error": share.error,
        "return_gap": walker.gap.mean, "gap_error": walker.gap.error, "falls": walker.falls,
        "mirror_error": walker.action_gap, **figures,
    }  # fmt: skip
    return {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}


# ---- the table ------------------------------------------------------------------------------------------------
def table() -> str:
    """The rows of the file as a table of markdown, policy by policy."""
    with RESULTS.open(newline="") as file:
        found = {(row["policy"], row["way"]): row for row in csv.DictReader(file)}
    heads = ("policy", "way", "products", "return", "of the original's", "gap of returns", "falls", "mirror error", "ρ")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * 2}{'--:|' * (len(heads) - 2)}"]
    for name in PUBLISHED:
        for way, head in HEADS.items():
            row = found.get((name, way))
            if row is not None:
                lines.append(f"| {' | '.join(_cells(row, head))} |")
    return "\n".join(lines)


def _cells(row: Mapping[str, str], head: str) -> tuple[str, ...]:
    first = row["way"] == ORIGINAL
    name = f"{row['policy']} (gap {float(row['gap']):.2f}, lean {float(row['lean']):.2f})" if first else ""
    return (
        name,
        head,
        f"{float(row['products']):.2g}",
        f"{float(row['return']):.2f}",
        "1" if first else f"{float(row['share']):.3f} ± {float(row['share_error']):.3f}",
        f"{float(row['return_gap']):.3f} ± {float(row['gap_error']):.3f}",
        row["falls"],
        f"{float(row['mirror_error']):.1g}",
        f"{float(row['rho']):.2f}" if row["rho"] else "",
    )


def main() -> int:
    """Walk, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", type=Path, help="folder of the policies")
    parser.add_argument("--robots", type=Path, help="folder of the robots")
    parser.add_argument("--only", nargs="+", choices=list(PUBLISHED), default=list(PUBLISHED), metavar="NAME")
    parser.add_argument("--write", type=Path, help="page to put the table into")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if chosen.policies is not None and chosen.robots is not None:
        done = known(RESULTS, KEY)
        for name in chosen.only:
            wanted = [way for way in (ORIGINAL, AVERAGE, *WIDTHS) if (name, way) not in done]
            if wanted:
                for row in rows(Trial.of(name, chosen.policies, chosen.robots), wanted):
                    append(RESULTS, COLUMNS, [row])
                    print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    print(table())
    if chosen.write is not None:
        text = chosen.write.read_text()
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        chosen.write.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
