"""`chiralize convert`.

`convert` goes through what can be refused at once (suffixes, files that would be overwritten), opens the network and
the inputs, puts the options together as a `Request`, runs `commands.convert`, and writes file and report. All that
takes an import of torch comes after the first refusals.
"""

from __future__ import annotations

import gc
from contextlib import ExitStack
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiralize.cli import opening, printing, targets
from chiralize.cli import options as opt
from chiralize.cli.looping import DoubleOption, EnvironmentOption, EpisodesOption, StepsOption
from chiralize.methods.names import AUTO, names
from chiralize.storage import former_names

if TYPE_CHECKING:
    from chiralize.report import ConvertReport


def method_option(help_text: str) -> Any:
    """--method, which takes `auto` and the name of every file of `methods/ways`."""
    known = names()

    def parse(text: str) -> str:
        """The name itself. Raises BadParameter where there is no such method."""
        if text not in known and text not in former_names.METHODS:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, known))}.")
        return text

    return typer.Option(
        "--method", help=help_text, parser=parse, metavar=f"<{'|'.join(known)}>", autocompletion=lambda: list(known)
    )


class Form(str, Enum):
    """Forms of the result."""

    auto = "auto"
    folded = "folded"
    blocks = "blocks"
    fused = "fused"
    dense = "dense"


class OnBlocked(str, Enum):
    """What to do about a part that cannot be equivariant."""

    refuse = "refuse"
    average = "average"
    average_all = "average-all"
    lift = "lift"


@opt.takes_network
def convert(
    options: opt.NetworkOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help=".pt2, .safetensors, .pt, .onnx, or as the source (TorchScript, .ckpt, .zip, a folder); else "
            "<stem>.chiral.pt2.",
        ),
    ] = None,
    method: Annotated[
        str,
        method_option(
            "reduce: one pass, fitted on --calibration; average: exact, two passes; match: one pass, better with "
            "--calibration; project: one pass, pairs as the specification says."
        ),
    ] = AUTO,
    width: Annotated[
        float | None,
        typer.Option(
            "--width", metavar="W", help="reduce: share of the hidden units to keep, 0.5 by default; 1 is the average."
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds",
            metavar="N",
            min=0,
            help="After the fit layer by layer, fit all layers together N times, by Gauss-Newton. By default up to a "
            "minute of that or of training.",
        ),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Only fit layer by layer: --rounds 0.")] = False,
    distill: Annotated[
        int,
        typer.Option(
            "--distill", metavar="N", min=0, help="Steps of training towards the original's answers, such as 1800."
        ),
    ] = 0,
    distill_checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--distill-checkpoint", metavar="FILE", help="Keep the state of --distill here; an interrupted run goes on."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="Where --distill trains: cuda, where there is one.")
    ] = "cpu",
    form: Annotated[
        Form,
        typer.Option(
            "--form",
            help="folded: the original's class, keys, shapes; blocks: half the arithmetic; fused: the same as a graph "
            "with norms folded in, for files.",
        ),
    ] = Form.auto,
    tune: Annotated[
        bool, typer.Option("--tune", help="Time every layer, and use blocks where they are faster here.")
    ] = False,
    on_blocked: Annotated[
        OnBlocked,
        typer.Option(
            "--on-blocked",
            metavar="<refuse|average|average-all>",
            help="A part that cannot be equivariant: average (match, project) runs only that part on x and on its "
            "mirror image; average-all runs the whole network so, as auto does by itself; refuse stops.",
        ),
    ] = OnBlocked.refuse,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Unlabelled inputs (.npz, .npy, .csv, .pt, .safetensors), samples first; sequences "
            "(sequence, time, ...) where the network keeps a state.",
        ),
    ] = None,
    calibrate: Annotated[Path | None, opt.former_option("--calibrate")] = None,
    sequence_axis: Annotated[
        int | None,
        typer.Option(
            "--sequence-axis",
            metavar="N",
            min=0,
            help="Axis of time in --calibration: 0 for (time, sequence, ...). It may be an axis of the input where a "
            "call reads many frames.",
        ),
    ] = None,
    mix_gaussian: Annotated[
        float,
        typer.Option(
            "--mix-gaussian", metavar="SHARE", help="Share of drawn samples to mix into --calibration, such as 0.5."
        ),
    ] = 0.0,
    max_drift: Annotated[
        float | None,
        typer.Option("--max-drift", metavar="RHO", min=0.0, help="Refuse a larger rho (exit 1); auto, reduce: 1.25."),
    ] = None,
    max_shift: Annotated[
        float | None,
        typer.Option(
            "--max-shift",
            metavar="UNITS",
            min=0.0,
            help="Refuse results with a joint further than this from the flip average (RMS, unit of the output).",
        ),
    ] = None,
    align: Annotated[
        str | None,
        typer.Option(
            "--align",
            metavar="WAY",
            help="Pictures: pad (a column wider), kernel (strided kernels wider, answers stay), resample (maps moved "
            "by the shift measured on --calibration), resample=0.75; kernel,resample is both.",
        ),
    ] = None,
    rollout: EnvironmentOption = None,
    episodes: EpisodesOption = 10,
    steps: StepsOption = 500,
    double: DoubleOption = False,
    samples: opt.Samples = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the report here too: .html or .json.")
    ] = None,
    output_format: opt.FormatOption = opt.Format.text,
    symmetrize_constants: Annotated[
        bool, typer.Option("--symmetrize-constants", help="Make constants symmetric that the mirror would change.")
    ] = False,
    keep_statistics: Annotated[
        bool,
        typer.Option(
            "--keep-statistics",
            help="Refuse to change means and variances (normalisers, batch norms). Where they would have to change, "
            "only average is left, at two passes a call; auto takes it.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write in spite of drift, lost left and right, or inputs of another kind.")
    ] = False,
) -> None:
    """Make a network equivariant, verify it from scratch, and write it.

    With --rollout a policy is run in its environment beside the original, and refused where it returns less than 0.9
    of that. Without --calibration it is fitted on what the original sees there.

    \b
    Examples:
      chiralize convert lifter.pt2 --skeleton h36m -o chiral.pt2
      chiralize convert lifter.pt2 --skeleton h36m --calibration poses.npz
      chiralize convert lifter.pt2 --skeleton h36m --calibration poses.npz --method reduce --width 0.5 --distill 1800
      chiralize convert policy.pt --skeleton robot.yaml --input-shape 1,47 --calibration walks.npz -o chiral.pt2
      chiralize convert policy.pt --skeleton robot.yaml --input-shape 1,47 -o policy_chiral.pt
      chiralize convert policy.pt2 --skeleton robot.yaml --rollout my_env:make
      chiralize convert policy.onnx --skeleton robot.yaml -o policy_chiral.onnx
      chiralize convert lifter.pt2 --skeleton h36m -o chiral.onnx
      chiralize convert weights.pt --model nets.lifter:Lifter --arg channels=1024 --key model_pos \\
          --skeleton h36m --input-shape 1,243,17,2 --method match -o chiral.safetensors
    """
    from chiralize.cli.looping import Loop, loop_of
    from chiralize.storage.atomic import check_writable

    # Refusals that need neither torch nor the network.
    rounds = _rounds(rounds, fast)
    calibration, renamed = opt.under_its_name(calibration, calibrate, "--calibrate")
    target = output or targets.next_to(options.model)
    product = targets.product_of(options.model, target)
    targets.check_target(target, product, former_names.METHODS.get(method, method), width, options.model)
    if report is not None:
        targets.check_report(report)
    if distill_checkpoint is not None:
        check_writable(distill_checkpoint)
    targets.check_files(options, target, calibration, {"--report": report, "--distill-checkpoint": distill_checkpoint})

    # From here on torch is imported.
    from chiralize.commands.aligning import aligned
    from chiralize.commands.bench import with_times
    from chiralize.commands.convert import Request
    from chiralize.commands.convert import convert as run
    from chiralize.commands.writing import Source, rescued, write
    from chiralize.errors import ExportError, ParityError
    from chiralize.graph.copies import is_large
    from chiralize.graph.devices import named
    from chiralize.methods.registry import method_of

    training_device = named(device)
    with ExitStack() as stack:
        step = stack.enter_context(opt.progress(options))
        is_fitted = method_of(method).is_fitted or bool(distill)
        # Too few inputs are refused early, but only for methods that fit, and unless that is forced.
        unfit = opening.refuse_unfit(calibration, sequence_axis, few=is_fitted and not force)
        network, loaded, passport = opening.open_network(
            options, onnx=True, read=True, samples=calibration, before_export=unfit, step=step
        )
        # What only the loaded network tells: whether it can go into this kind of file.
        targets.check_onnx(network, target)
        # Before calibration samples are put in batches: times are told for the user's own example.
        samples_of_example = network.rows
        origin = targets.origin_of(loaded, target)
        calls, sequences = opening.calls_from_file(calibration, network, loaded, sequence_axis)
        trial, seen = None, ()
        if rollout is not None:
            policies = Loop(rollout, None, episodes, steps, False, double)
            loop = stack.enter_context(loop_of(network, loaded, policies, step))
            trial = loop.trial(force)
            if calibration is None:
                calls, sequences, observed = loop.observations()
                seen = (f"fitted on {observed}",)
        # Sequences stay as they are: their steps belong together.
        if not sequences:
            network, calls = opening.in_batches(network, loaded, calls)
        remarks = opening.on_samples(network, calls, sequences)
        network, calls = aligned(network, calls, align, product)
        request = Request(
            method,
            form.value,
            on_blocked.value,
            calibration=calls,
            sequences=sequences,
            remarks=(*seen, *renamed, *remarks, *targets.left_behind(loaded, target)),
            width=width,
            rounds=rounds,
            mix=mix_gaussian,
            distill=distill,
            checkpoint=distill_checkpoint,
            device=training_device,
            max_drift=max_drift,
            max_shift=max_shift,
            samples=samples,
            force=force,
            symmetrize_constants=symmetrize_constants,
            keep_statistics=keep_statistics,
            progress=step,
            product=product,
            tune=tune,
        )
        # The conversion itself; all that follows is for its report and its file.
        conversion = run(network, loaded.source.name, request, trial, passport)
        step("timing")
        conversion = with_times(network, conversion, samples_of_example)
        step("writing" if target.suffix != ".onnx" else "writing ONNX, which onnxruntime runs beside torch")
        # Only these writers look at the original; for others it need not stay in memory.
        if target.suffix == ".onnx" or product == "script":
            original = network
        else:
            original = None
        script = loaded if product == "script" else None
        needs_memory = is_large(network.module)
        del network, loaded
        # The original refers to itself in circles, which only the collector takes apart.
        if needs_memory:
            gc.collect()
        try:
            conversion = write(conversion, target, Source(original, script, origin))
        except (ExportError, ParityError) as error:
            # The format refused; minutes of conversion are kept as a .pt2.
            raise rescued(conversion, target, error) from error
    show(conversion.report, target, report, output_format, options.loudness.quiet, options.loudness.verbose)


def _rounds(rounds: int | None, fast: bool) -> int | None:
    """Rounds of Gauss-Newton that are asked for. Raises UsageError where two options contradict each other."""
    from chiralize.errors import UsageError

    if fast and rounds:
        facts = f"--rounds {rounds} asks for more than a fit layer by layer"
        raise UsageError("--fast", facts, "leave one of them out")
    return 0 if fast else rounds


def show(
    report: ConvertReport,
    target: Path,
    page: Path | None,
    output_format: opt.Format,
    quiet: bool = False,
    verbose: bool = False,
) -> None:
    """Print the report on stdout and, if asked for, write it to a file; on stdout also where that cannot be written."""
    report = replace(report, output=str(target))
    try:
        if page is not None:
            printing.save(report, page)
    finally:
        printing.show(report, output_format, quiet, verbose)
