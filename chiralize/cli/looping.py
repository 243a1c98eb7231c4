"""What `chiralize audit --rollout` adds: the converted policy is opened, all run, and pictures are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chiralize.cli import opening
from chiralize.cli import options as opt

if TYPE_CHECKING:
    from chiralize.problem.network import Network
    from chiralize.problem.progress import Progress
    from chiralize.report import AuditReport
    from chiralize.storage.format import LoadedModel
    from chiralize.verification.closed_loop.records import Rollout


@dataclass(frozen=True)
class Loop:
    """What the user asked for: what returns the environment, the converted policy, starts, and steps."""

    environment: str
    chiral: Path | None
    episodes: int
    steps: int
    with_pictures: bool
    double: bool


def run_loop(
    options: opt.NetworkOptions, network: Network, loaded: LoadedModel, loop: Loop, step: Progress
) -> tuple[Rollout, Mapping[str, bytes]]:
    """What the policies do, and pictures of it by their captions. Raises ChiralizeError."""
    from chiralize.commands.rollouts import environment_of, rollouts
    from chiralize.problem.data.shapes import input_names
    from chiralize.report.loop_pictures import pictures_of

    step("opening the environment")
    environment = environment_of(loop.environment)
    result = None
    if loop.chiral is not None:
        step("loading the converted policy")
        shared = opening.options_for_result(options, loop.chiral)
        result, _, _ = opening.open_network(shared, spec=network.resolved.spec, read=True, step=step)
    record, film = rollouts(
        network,
        environment,
        result,
        names=input_names(loaded.module, network.entry),
        episodes=loop.episodes,
        steps=loop.steps,
        film=loop.with_pictures,
        double=loop.double,
        progress=step,
    )
    return record, pictures_of(record, film) if loop.with_pictures else {}


def write_page(page: Path, report: AuditReport, pictures: Mapping[str, bytes]) -> None:
    """Write the report as one HTML page or as JSON, by the suffix. Raises OutputFileError."""
    from chiralize.report import to_html, to_json
    from chiralize.storage.atomic import write_text

    write_text(page, to_html(report, pictures) if page.suffix == ".html" else to_json(report))
