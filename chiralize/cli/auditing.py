"""`chiralize audit`: options to a network, its inputs and labels, an environment; `commands.audit` measures.

Without --calibration but with --rollout the original is audited on what it sees in its environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiralize.cli import opening
from chiralize.cli import options as opt
from chiralize.cli.looping import DoubleOption, EnvironmentOption, EpisodesOption, StepsOption
from chiralize.cli.printing import show

if TYPE_CHECKING:
    from chiralize.problem.network import Network
    from chiralize.report import AuditReport


@opt.takes_network
def audit(
    options: opt.NetworkOptions,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Real inputs (.npz, .npy, .pt, .safetensors), samples first; audited as well.",
        ),
    ] = None,
    data: Annotated[Path | None, opt.former_option("--data")] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="FILE", help="A label per sample of --calibration (.npy, .npz, .txt, .csv)."),
    ] = None,
    rollout: EnvironmentOption = None,
    chiral: Annotated[
        Path | None, typer.Option("--chiral", metavar="FILE", help="The converted policy, run with --rollout as well.")
    ] = None,
    episodes: EpisodesOption = 10,
    steps: StepsOption = 500,
    double: DoubleOption = False,
    page: Annotated[
        Path | None,
        typer.Option(
            "-o", "--report", metavar="FILE", help="Write the report here too: .html (with pictures) or .json."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the gap of every joint pair: .png, .svg, .pdf.")
    ] = None,
    output_format: opt.FormatOption = opt.Format.text,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            metavar="N",
            min=1,
            max=10_000,
            help="Random inputs, where no data are given: 256, fewer of a costly network.",
        ),
    ] = None,
) -> None:
    """Measure a network's gap between left and right, and say whether to convert. Changes nothing.

    The gap is given by output, by pair of joints (or classes), and by layer. With --calibration the report says how far
    those inputs lean to one side, with --labels for each label, too. The last lines say whether to convert, and why.
    With --rollout the original, its flip average and --chiral run in their environment, from starts and from the mirror
    images of these.

    \b
    Examples:
      chiralize audit lifter.pt2 --skeleton h36m
      chiralize audit lifter.pt2 --skeleton h36m --calibration poses.npz
      chiralize audit lifter.pt2 --skeleton h36m --calibration poses.npz --labels actions.csv
      chiralize audit lifter.pt2 --skeleton h36m --calibration poses.npz --plot gaps.svg --format json
      chiralize audit policy.pt2 --skeleton ant.yaml --rollout my_env:make --chiral policy.chiral.pt2 -o rollout.html
    """
    from chiralize.cli.looping import Loop, loop_of, run_loop
    from chiralize.cli.targets import check_drawing, check_files, check_report
    from chiralize.cli.typed import option_typed
    from chiralize.errors import UsageError

    calibration, renamed = opt.under_its_name(calibration, data, "--data")
    # As the user typed it: messages name the option by that.
    option = option_typed("--report", "-o")
    with_pictures = rollout is not None and page is not None and page.suffix == ".html"
    if page is not None:
        check_report(page, option)
    check_drawing({option: with_pictures, "--plot": plot is not None})
    written, also_read = {option: page, "--plot": plot}, {"the labels": labels, "the converted policy": chiral}
    check_files(options, None, calibration, written, also_read)
    if chiral is not None and rollout is None:
        raise UsageError("--chiral", "there is no environment to run it in", "give --rollout as well")
    if labels is not None and calibration is None:
        raise UsageError("--labels", "there are no data that they could belong to", "give --calibration as well")
    from chiralize.commands.audit import audit as run
    from chiralize.problem.data.inputs import samples_in
    from chiralize.storage.labels import load_labels

    with ExitStack() as stack:
        step = stack.enter_context(opt.progress(options))
        # Files that do not fit are refused before the export; how few inputs there are does not matter to an audit.
        unfit = opening.refuse_unfit(calibration)
        network, loaded, _ = opening.open_network(
            options, read=True, samples=calibration, before_export=unfit, step=step
        )
        calls, sequences = opening.calls_from_file(calibration, network, loaded)
        names: list[str] = []
        if labels is not None and calibration is not None:
            names = load_labels(labels, samples_in(calibration))
        loop, running = None, None
        if rollout is not None:
            loop = Loop(rollout, chiral, episodes, steps, with_pictures, double)
            running = stack.enter_context(loop_of(network, loaded, loop, step))
            if calibration is None:
                calls, sequences, seen = running.observations()
                renamed = (*renamed, f"audited on {seen}")
        if not sequences:
            network, calls = opening.in_batches(network, loaded, calls)
        network = network.with_notes(*renamed)
        # Samples that fill no batch were left out at the end, so were their labels.
        asked = names[: len(calls) * network.rows]
        report = run(network, loaded.source.name, calls, samples, asked, step, sequences)
        pictures: Mapping[str, bytes] = {}
        if loop is not None and running is not None:
            record, pictures = run_loop(options, network.resolved.spec, running, loop, step)
            report = report.with_rollout(record)
    _write(page, plot, network, report, pictures)
    show(report, output_format, options.loudness.quiet, options.loudness.verbose)


def _write(
    page: Path | None, plot: Path | None, network: Network, report: AuditReport, pictures: Mapping[str, bytes]
) -> None:
    """Write the page and the drawing, where they are wanted. Raises OutputFileError, UsageError."""
    from chiralize.cli.looping import write_page

    if plot is not None:
        _plot(plot, network, report)
    if page is not None:
        write_page(page, report, pictures)


def _plot(path: Path, network: Network, report: AuditReport) -> None:
    """Draw the pairs of the first output that has joints. Raises UsageError where none has."""
    from chiralize.errors import UsageError
    from chiralize.report.skeleton_picture import save_gaps

    for output in network.resolved.output_tensors:
        if output.pose is not None and "j" in output.pose.word_sizes():
            prefix = f"output {output.index} "  # labels have it where there are several outputs
            gaps = {pair.label.removeprefix(prefix): pair.apart for pair in report.network.pairs}
            save_gaps(output.pose.body, gaps, path)
            return
    raise UsageError("--plot", "no output of the network has joints", "leave it out; the table lists all classes")
