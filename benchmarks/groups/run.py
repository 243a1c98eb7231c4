"""A policy of a quadruped for both of its mirrors: how exact every method is, what it costs and how far it is off.

    python -m benchmarks.groups.run [--quick] [--rounds] [--only TEXT]

The network, 48 -> 512 -> 256 -> 128 -> 12 with ELU, learns a function with both symmetries from samples that it fits
less than perfectly, so that its four views differ as those of a trained policy do. rho is the distance from the average
over them, over the original's; a row a method, in double precision.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import load_spec, resolve
from chiralize.symmetry.action import act
from chiralize.symmetry.representation import TensorRepresentation

SPEC = Path(__file__).parents[2] / "skeletons" / "robots" / "quadruped-48-k4.yaml"
WIDTHS = (48, 512, 256, 128, 12)
Turn = tuple[TensorRepresentation, TensorRepresentation]
WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("average", {"method": "average"}),
    ("project", {"method": "project"}),
    ("match", {"method": "match", "calibrated": True}),
    ("match, in blocks", {"method": "match", "form": "blocks", "calibrated": True}),
    ("reduce 1/4", {"method": "reduce", "width": 0.25, "calibrated": True}),
    ("reduce 1/4, in blocks", {"method": "reduce", "width": 0.25, "form": "blocks", "calibrated": True}),
    ("reduce 0.354", {"method": "reduce", "width": 0.354, "calibrated": True}),
    ("reduce 1/2", {"method": "reduce", "width": 0.5, "calibrated": True}),
)


def turns() -> dict[str, Turn]:
    """T on a row of observations and on one of actions, under every mirror."""
    found: dict[str, Turn] = {}
    for name, spec in load_spec(SPEC).mirrors().items():
        resolved = resolve(spec, [(1, WIDTHS[0])], [(1, WIDTHS[-1])])
        found[name] = (resolved.input_tensors[0].representation, resolved.output_tensors[0].representation)
    return found


def views(model: Any, x: Tensor, mirrors: Mapping[str, Turn]) -> list[Tensor]:
    """The answers to all views, each turned back."""
    answers: list[Tensor] = []
    for count in range(len(mirrors) + 1):
        for chosen in combinations(mirrors.values(), count):
            turned = x
            for into, _ in chosen:
                turned = act(turned, into)
            answer = model(turned)
            for _, out in chosen:
                answer = act(answer, out)
            answers.append(answer)
    return answers


def policy(samples: int, steps: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A trained network, inputs to fit on, and others."""
    torch.manual_seed(0)
    mirrors = turns()
    layers: list[nn.Module] = []
    for into, out in zip(WIDTHS, WIDTHS[1:], strict=False):
        layers += [nn.Linear(into, out), nn.ELU()]
    network = nn.Sequential(*layers[:-1]).double()
    teacher = nn.Sequential(nn.Linear(48, 64), nn.Tanh(), nn.Linear(64, 12)).double()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(2)
        x = torch.randn(samples + 1000, 48).double() @ torch.randn(48, 48).double() / 7
        y = torch.stack(views(teacher, x, mirrors)).mean(0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(steps):
        rows = torch.randint(0, samples, (256,))
        loss = (network(x[rows]) - y[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval(), x[:samples], x[samples:]


def residuals(model: nn.Module, x: Tensor) -> str:
    """max |F(Tx) - T F(x)| under A, B and A B, over the size of the answers."""
    answers = views(model, x, turns())
    scale = answers[0].abs().max()
    return ", ".join(f"{float((answer - answers[0]).abs().max() / scale):.1e}" for answer in answers[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer samples and steps")
    parser.add_argument("--rounds", action="store_true", help="fit all layers together afterwards, as by default")
    parser.add_argument("--only", default="", help="ways that begin so")
    options = parser.parse_args()
    quick = options.quick
    warnings.simplefilter("ignore")
    network, x, held = policy(1000 if quick else 4000, 100 if quick else 600)
    with torch.no_grad():
        all_views = torch.stack(views(network, held, turns()))
        average, plain = all_views.mean(0), all_views[0]
    print("| way | form | products | residual under A, B, A B | rho | seconds |\n|---|---|--:|---|--:|--:|")
    for title, way in WAYS:
        if not title.startswith(options.only):
            continue
        wanted = dict(way)
        if wanted.pop("calibrated", False):
            wanted |= {"calibration": x[:2000], "rounds": None if options.rounds else 0}
        begun = time.perf_counter()
        chiral = chiralize.chiralize(network, SPEC, x[:2], force=True, progress=False, **wanted)
        seconds = time.perf_counter() - begun
        with torch.no_grad():
            off = (chiral(held) - average).square().mean().sqrt() / (plain - average).square().mean().sqrt()
            exact = residuals(chiral, held)
        report = chiral.chirality.report
        share = report.cost.macs_after / report.cost.macs_before
        print(f"| {title} | {report.form} | {share:.2f} | {exact} | {float(off):.2f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
