"""`--rollout`: policies in their environment. An audit opens the converted one, runs all, and draws pictures of it.

`converting` and `auditing` share the four options here, and go through the same steps:

    Loop          what the user typed
    loop_of       the environment opened, the original in it (`commands.rollouts.Loop`, here called Running)
    run_loop      the record of all episodes, in an audit alone: `convert` hands Running to its own command

Imports stand within the functions: `--help` and refused options need neither torch nor an environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiralize.cli import opening
from chiralize.cli import options as opt

if TYPE_CHECKING:
    from chiralize.body.tensors import ConversionSpec
    from chiralize.commands.rollouts import Loop as Running
    from chiralize.problem.network import Network
    from chiralize.problem.progress import Progress
    from chiralize.report import AuditReport
    from chiralize.storage.format import LoadedModel
    from chiralize.verification.closed_loop.records import Rollout


EnvironmentOption = Annotated[
    str | None,
    typer.Option(
        "--rollout",
        metavar="PKG.MOD:NAME",
        help="Function that returns a gymnasium environment; the policy is run in it.",
    ),
]
EpisodesOption = Annotated[
    int, typer.Option("--episodes", metavar="N", min=1, max=10_000, help="Starts of --rollout, each also mirrored.")
]
StepsOption = Annotated[
    int, typer.Option("--steps", metavar="N", min=1, max=1_000_000, help="Steps of an episode of --rollout.")
]
DoubleOption = Annotated[
    bool, typer.Option("--double", help="Run --rollout in float64, since rounding alone makes episodes diverge.")
]


@dataclass(frozen=True)
class Loop:
    """What the user asked for: what returns the environment, the converted policy, starts, and steps.

    chiral: None in `convert`, which has no converted policy yet.  double: policies run in float64.
    """

    environment: str
    chiral: Path | None
    episodes: int
    steps: int
    with_pictures: bool
    double: bool


def run_loop(
    options: opt.NetworkOptions, spec: ConversionSpec, running: Running, loop: Loop, step: Progress
) -> tuple[Rollout, Mapping[str, bytes]]:
    """What the policies do, and pictures of it (the bytes of each, by its caption). Raises ChiralizeError.

    options, spec: with which the original was read; the converted policy is read with the same.  running: of `loop_of`.
    step: told what begins.  No pictures unless the loop asks for them: each needs frames kept while policies run.
    """
    from chiralize.report.loop_pictures import pictures_of

    # Read only now, after the environment was opened: a wrong name of the environment fails first.
    result = None
    if loop.chiral is not None:
        step("loading the converted policy")
        shared = opening.options_for_result(options, loop.chiral)
        result, _, _ = opening.open_network(shared, spec=spec, read=True, step=step)
    record, film = running.record(result, film=loop.with_pictures)
    return record, pictures_of(record, film) if loop.with_pictures else {}


def loop_of(network: Network, loaded: LoadedModel, loop: Loop, step: Progress) -> Running:
    """The environment, with the original to run in it, to be entered as a context manager. Raises ChiralizeError."""
    from chiralize.commands.rollouts import Episodes, environment_of
    from chiralize.commands.rollouts import Loop as Running
    from chiralize.problem.data.shapes import input_names

    step("opening the environment")
    names, episodes = (
        input_names(loaded.module, network.handover.entry),
        Episodes(loop.episodes, loop.steps, loop.double),
    )
    return Running(network, environment_of(loop.environment), names, episodes, step)


def write_page(page: Path, report: AuditReport, pictures: Mapping[str, bytes]) -> None:
    """Write the report as one HTML page or as JSON, by the suffix. Raises OutputFileError."""
    from chiralize.report import to_html, to_json
    from chiralize.storage.atomic import write_text

    write_text(page, to_html(report, pictures) if page.suffix == ".html" else to_json(report))
