"""`chiralize verify`: both verdicts on a file, for people, programs and CI.

Exit status 0 where both pass, 1 where one fails. A network that passes where it is run, but for which a proof is
missing although one could be had, is an error of its own (3). An ONNX file is run, which is all that can be done there.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from chiralize.cli import opening, targets
from chiralize.cli import options as opt
from chiralize.cli.printing import save, show

NOT_EQUIVARIANT = 1
"""The exit status where a verdict failed."""


class Verdict(str, Enum):
    """How the verdict is printed."""

    text = "text"
    json = "json"
    junit = "junit"


VerdictOption = Annotated[Verdict, typer.Option("--format", help="text, json, or JUnit XML for CI.")]
Tolerance = Annotated[
    float | None,
    typer.Option(
        "--tolerance", metavar="X", min=0.0, help="Largest residual that passes, in units of the output's scale."
    ),
]


@opt.takes_network
def verify(
    options: opt.NetworkOptions,
    output_format: VerdictOption = Verdict.text,
    tolerance: Tolerance = None,
    samples: opt.Samples = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Real inputs (.npz, .npy, .pt, .safetensors), samples first; run beside random ones.",
        ),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the report here too: .html or .json.")
    ] = None,
) -> None:
    """Check that a network is equivariant: by running it, and by a proof. Exit 0 equivariant, 1 not, 3 no proof.

    \b
    Examples:
      chiralize verify chiral.pt2
      chiralize verify any.pt2 --skeleton coco
      chiralize verify chiral.onnx
      chiralize verify any.onnx --skeleton h36m --calibration poses.npz
      chiralize verify chiral.safetensors --model nets.lifter:Lifter --input-shape 1,243,17,2
      chiralize verify chiral.pt2 --format junit > verdict.xml
      chiralize verify chiral.pt2 --report verdict.html
    """
    from chiralize.commands.verify import verify as run
    from chiralize.report import to_junit

    if page is not None:
        targets.check_report(page)
        targets.check_files(options, None, calibration, {"--report": page})
    with opt.progress(options) as step:
        unfit = opening.refuse_unfit(calibration)
        network, loaded, passport = opening.open_network(
            options, onnx=True, samples=calibration, before_export=unfit, step=step
        )
        real = opening.calls_from_file(calibration, network, loaded)[0]
        network = opening.with_remarks(network, real)
        report = run(
            network, loaded.source.name, passport, samples=samples, real=real, tolerance=tolerance, progress=step
        )
        # Where the verdict has no remedy of its own, the loader may have one.
        known = report.circumstances
        report = replace(report, circumstances=replace(known, remedy=known.remedy or loaded.remedy))
    if page is not None:
        save(report, page)
    if output_format is Verdict.junit:
        typer.echo(to_junit(report), nl=False)
    else:
        show(report, opt.Format(output_format.value), options.loudness.quiet, options.loudness.verbose)
    # After the report, so that what was found is printed in any case.
    if not report.passed:
        _explain(report)
        raise typer.Exit(NOT_EQUIVARIANT)


def _explain(report: object) -> None:
    """Print the error of a report that failed on stderr, with its code and its remedy; the report is on stdout."""
    from chiralize.errors import ChiralizeError
    from chiralize.report import VerifyReport, raise_for_failure

    assert isinstance(report, VerifyReport)
    try:
        raise_for_failure(report)
    except ChiralizeError as error:
        opt.say(str(error))
