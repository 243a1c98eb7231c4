"""`chiralize bench ORIGINAL CHIRAL`: two files to two networks; `commands.bench` or `commands.stepping` times them.

The result is opened first: its passport has the mirror for the original, which brings none, and its example's sizes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiralize.cli import opening
from chiralize.cli import options as opt
from chiralize.cli.printing import show

if TYPE_CHECKING:
    from chiralize.problem.network import Network
    from chiralize.problem.progress import Progress
    from chiralize.storage.load import LoadedModel


@opt.takes_network
def bench(
    options: opt.NetworkOptions,
    chiral: Annotated[Path, typer.Argument(metavar="CHIRAL", help="The converted network, a whole one or weights.")],
    batch: Annotated[
        list[int] | None, typer.Option("--batch", metavar="N", min=1, help="Samples of a call; repeat for more sizes.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=2, max=10_000, help="Interleaved rounds.")] = 15,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", min=1, max=1024, help="Threads of torch; by default as torch chooses."),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile all networks with torch.compile first.")] = False,
    rollout: Annotated[
        bool, typer.Option("--rollout", help="Time steps as a robot runs them, of the files as they are (ONNX too).")
    ] = False,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=100, max=100_000, help="Steps of --rollout.")] = 500,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="Where they run: cpu or cuda.")] = "cpu",
    fair: Annotated[
        bool,
        typer.Option("--fair", help="Compare also with the original sped up as CHIRAL is, except by symmetry."),
    ] = False,
    other_examples: Annotated[
        bool,
        typer.Option("--other-examples", help="Time on the original's example where that of CHIRAL has another size."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    output_format: opt.FormatOption = opt.Format.text,
) -> None:
    """Time a network, its flip average, and its chiral counterpart: interleaved medians with their spread.

    The skeleton is that of the chiral network unless --skeleton gives another.

    \b
    Examples:
      chiralize bench lifter.pt2 chiral.pt2
      chiralize bench lifter.pt2 chiral.pt2 --batch 1 --batch 64 --threads 1
      chiralize bench lifter.pt2 chiral.pt2 --compile --json
      chiralize bench lifter.pt2 chiral.pt2 --batch 64 --threads 1 --fair
      chiralize bench policy.onnx chiral.onnx --skeleton go2.yaml --threads 1
      chiralize bench policy.onnx chiral.onnx --skeleton go2.yaml --batch 1 --threads 1 --rollout
    """
    from chiralize.commands.bench import bench as run
    from chiralize.commands.bench import with_threads

    if as_json:
        output_format = opt.Format.json
    if rollout:
        return _rolled(options, chiral, steps, threads, output_format, batch or [1], compiled or device != "cpu")
    with with_threads(threads), opt.progress(options) as step:  # a session of onnxruntime has its threads for good
        (network, original), (chiral_network, converted) = _both(options, chiral, step)
        timed = partial(run, rounds=rounds, threads=threads, compiled=compiled, device=device, progress=step)
        timed = partial(timed, fair=fair, other_examples=other_examples)
        names = original.source.name, converted.source.name
        report = timed(network, chiral_network, names, batches=tuple(batch or ()))
    show(report, output_format, options.loudness.quiet)


def _rolled(
    options: opt.NetworkOptions,
    chiral: Path,
    steps: int,
    threads: int | None,
    output_format: opt.Format,
    batch: list[int],
    elsewhere: bool,
) -> None:
    """`bench --rollout`. elsewhere: --compile or --device is given, which no robot's file is run with."""
    from chiralize.commands.stepping import Runner, rolled
    from chiralize.errors import UsageError

    # A robot has one sample at a time, on the CPU, by its own file: other wishes contradict --rollout.
    if batch != [1]:
        raise UsageError("--rollout", f"--batch {batch[0]} is given, a robot has one sample", "leave --batch out")
    if elsewhere:
        raise UsageError("--rollout", "it runs the files as they are, on the CPU", "leave --compile and --device out")
    with opt.progress(options) as step:
        original, converted = _both(options, chiral, step)
        report = rolled(Runner(*original), Runner(*converted), steps=steps, threads=threads or 1, progress=step)
    show(report, output_format, options.loudness.quiet)


def _both(options: opt.NetworkOptions, chiral: Path, step: Progress) -> list[tuple[Network, LoadedModel]]:
    """The original, under the specification of its result unless another is given, and the result."""
    step("loading the chiral network")
    result_options = opening.options_for_result(options, chiral)
    converted, loaded, passport = opening.open_network(result_options, onnx=True, step=step)
    step("loading the original")
    spec = passport.spec if passport else None
    network, original, _ = opening.open_network(options, onnx=True, spec=spec, like=converted, step=step)
    return [(network, original), (converted, loaded)]
