"""Can a trained network tell its mirror from wrong ones? The bounds of its evidence module rest on this:

    CHIRALIZE_DATA=DIR python -m benchmarks.mirrors.run [--csv benchmarks/mirrors/results.csv]

Small networks are trained on real motion, with flips, without, and on people who face one way, and policies on walks
of MuJoCo's Ant. Each is asked about its own mirror and about wrong ones, with real inputs (256 or 4 of them) and with
noise. The joints have no names here, so that nothing but the network can tell. Rows are appended as they come, and
networks that the file has are skipped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.accuracy.networks import (
    Forecaster,
    FrameLifter,
    GraphRecogniser,
    PlainLifter,
    RecurrentRecogniser,
    TemporalLifter,
)
from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.tasks import Task, load_task
from benchmarks.accuracy.teachers import batches
from benchmarks.mirrors.policies import policy, wrong_robots
from chiralize.body.skeleton.catalog import find_shipped, shipped
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ConversionSpec
from chiralize.body.tensors.entries import TensorEntry
from chiralize.errors import ChiralizeError
from chiralize.problem.preparation import prepare
from chiralize.verification.evidence.judging import judged
from chiralize.verification.mirror_evidence import compare_mirrors
from chiralize.verification.verdicts import Evidence

RESULTS = Path(__file__).with_name("results.csv")
COLUMNS = ("network", "flips", "seed", "inputs", "mirror", "gap", "ratio", "better", "nothing", "stopped")
BATCH, RATE = 64, 1e-3


class FlatLifter(nn.Module):
    """A lifter that eats and gives one vector a pose, which the layouts `b (j d)` and `b (d j)` read apart."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.net = PlainLifter(width, 2, nn.ReLU)

    def forward(self, poses: Tensor) -> Tensor:
        return self.net(poses.unflatten(-1, (17, 2))).flatten(1)


NETWORKS: dict[str, tuple[str, Callable[[], nn.Module], int]] = {
    "plain lifter": ("lifting-1", lambda: PlainLifter(128, 2, nn.ReLU), 500),
    "tanh lifter": ("lifting-1", lambda: PlainLifter(128, 3, nn.Tanh), 500),
    "flat lifter": ("lifting-1", FlatLifter, 500),
    "residual lifter": ("lifting-1", lambda: FrameLifter(128, 0.1), 400),
    "temporal lifter": ("lifting-9", lambda: TemporalLifter(1, 64), 300),
    "one-sided lifter": ("lifting-1-left", lambda: PlainLifter(128, 2, nn.ReLU), 500),
    "forecaster": ("forecasting", lambda: Forecaster(64), 300),
    "recurrent recogniser": ("recognition", lambda: RecurrentRecogniser(64, 1), 300),
    "graph recogniser": ("recognition", lambda: GraphRecogniser(16), 150),
}
"""Task, network, steps of training."""
POLICY = "policy"
HALF_TRAINED = {"barely trained lifter": ("lifting-1", lambda: PlainLifter(128, 2, nn.ReLU), 50)}


# ---- networks ---------------------------------------------------------------------------------------------------
def trained(task: Task, build: Callable[[], nn.Module], steps: int, flips: bool, seed: int) -> nn.Module:
    """The network after so many steps, in eval mode."""
    torch.manual_seed(seed)
    network = build().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for inputs, targets in batches(task, flips, seed, steps, BATCH):
        if isinstance(network, FlatLifter):
            inputs, targets = inputs.flatten(1), targets.flatten(1)
            loss = (network(inputs) - targets).unflatten(1, (17, 3)).norm(dim=-1).mean()
        else:
            loss = task.loss(network, inputs, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


# ---- mirrors ----------------------------------------------------------------------------------------------------
def nameless(body: Skeleton) -> Skeleton:
    """The same mirror of joints that have no names."""
    return replace(body, joints=tuple(f"j{joint}" for joint in range(len(body.joints))), edges=(), aliases=())


def wrong_bodies(body: Skeleton, seed: int) -> Iterator[tuple[str, Skeleton]]:
    """Skeletons with another mirror, by what is wrong."""
    rng = np.random.default_rng(seed)
    count = len(body.joints)
    for name in shipped():
        other = find_shipped(name)
        if other is not None and len(other.joints) == count:
            yield f"skeleton {name}", nameless(replace(other, dims=body.dims, negate=body.negate, signs=()))
    yield "no swap", replace(body, pairs=())
    for place in rng.permutation(len(body.pairs))[:3]:
        yield f"pair {place} missing", replace(body, pairs=body.pairs[:place] + body.pairs[place + 1 :])
    for _ in range(3):
        one, other = sorted(rng.choice(len(body.pairs), 2, replace=False))
        (a, b), (c, d) = body.pairs[one], body.pairs[other]
        rest = tuple(pair for pair in body.pairs if pair not in ((a, b), (c, d)))
        yield f"pairs {one} and {other} crossed", replace(body, pairs=(*rest, (a, d), (c, b)))
    if len(body.center) > 1:
        yield "two centre joints swapped", replace(body, pairs=(*body.pairs, tuple(body.center[:2])))
    yield "nothing negated", replace(body, negate=(), lateral=None)
    yield "y negated", replace(body, negate=("y",), lateral=None)
    for _ in range(3):
        order = rng.permutation(count)
        yield "joints shuffled", replace(body, pairs=tuple((int(order[i]), int(order[j])) for i, j in body.pairs))


def mirrors(spec: ConversionSpec, flat: bool, seed: int) -> Iterator[tuple[str, ConversionSpec]]:
    """The right mirror first, then wrong ones, some of which may be the right one by another name."""
    yield "right", spec
    if any(entry.fields for entry in spec.inputs or ()):
        yield from wrong_robots(spec)
        return
    for words, body in wrong_bodies(spec.skeleton, seed):
        yield words, replace(spec, skeleton=body)
    if flat:
        wrong = (TensorEntry(layout="b (d j)"),)
        yield "input as (d j)", replace(spec, inputs=wrong)
        yield "output as (d j)", replace(spec, outputs=wrong)
        yield "both as (d j)", replace(spec, inputs=wrong, outputs=wrong)


# ---- rows -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Case:
    """A trained network, the right specification, and 256 real inputs."""

    network: nn.Module
    spec: ConversionSpec
    inputs: Tensor


def case(name: str, flips: bool, seed: int) -> Case:
    """A network by its name in the table."""
    if name == POLICY:
        return Case(*policy(flips, seed))
    task_name, build, steps = {**NETWORKS, **HALF_TRAINED}[name]
    task = load_task(task_name)
    network, spec, inputs = trained(task, build, steps, flips, seed), task.spec, task.test(256)[0]
    if isinstance(network, FlatLifter):
        inputs, merged = inputs.flatten(1), (TensorEntry(layout="b (j d)"),)
        spec = replace(spec, inputs=merged, outputs=merged)
    return Case(network, replace(spec, skeleton=nameless(spec.skeleton)), inputs)


def rows(name: str, flips: bool, seed: int) -> Iterator[dict[str, object]]:
    """One row for every mirror and kind of inputs."""
    found = case(name, flips, seed)
    network, real = found.network, found.inputs
    example = torch.randn(2, *real.shape[1:])  # no pose, so that without inputs there is nothing but noise
    kinds = {"256": real.split(32), "4": real[::64].split(32), "noise": ()}
    seen: set[object] = set()
    for words, spec in mirrors(found.spec, isinstance(network, FlatLifter), seed):
        try:
            prepared = prepare(network, spec, (example,))
        except ChiralizeError:
            continue
        key = (tuple(prepared.resolved.inputs), tuple(prepared.resolved.outputs))
        if key in seen:
            continue
        seen.add(key)
        for kind, inputs in kinds.items():
            asked = compare_mirrors(prepared, [((own,), {}) for own in inputs])
            if isinstance(asked, Evidence):
                continue
            comparison, basis = asked
            fit = judged(comparison, basis).fit
            assert fit is not None
            ratio = min((other.ratio for other in comparison.others), default=1.0)
            yield {
                "network": name, "flips": int(flips), "seed": seed, "inputs": kind, "mirror": words,
                "gap": f"{fit.gap:.4f}", "ratio": f"{ratio:.4f}", "better": fit.better[0] if fit.better else "",
                "nothing": int(fit.gap >= 0.95), "stopped": int(fit.is_refuted),
            }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--networks", nargs="+", default=[*NETWORKS, *HALF_TRAINED, POLICY])
    chosen = parser.parse_args()
    finished = known(chosen.csv, COLUMNS[:3])
    for seed in range(chosen.seeds):
        for name in chosen.networks:
            for flips in (True, False):
                if (name, str(int(flips)), str(seed)) not in finished:
                    append(chosen.csv, COLUMNS, list(rows(name, flips, seed)))
                    print(f"{name}, flips: {flips}, seed {seed}", flush=True)


if __name__ == "__main__":
    main()
