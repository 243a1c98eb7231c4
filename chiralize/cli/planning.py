"""`chiralize plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from chiralize.cli import options as opt
from chiralize.cli.converting import Format, Method

BLOCKED = 3


def plan(
    model: opt.Model,
    skeleton: opt.SkeletonOption = None,
    method: Annotated[Method, typer.Option("--method", help="The method to plan for.")] = Method.match,
    output_format: Annotated[Format, typer.Option("--format", help="How the plan is printed.")] = Format.text,
    input_shape: opt.InputShape = None,
    example: opt.Example = None,
    factory: opt.Factory = None,
    arg: opt.FactoryArgs = None,
    key: opt.Key = None,
    entry: opt.Entry = "forward",
    input_layout: opt.InputLayout = None,
    output_layout: opt.OutputLayout = None,
    invariant: opt.Invariant = False,
    unsafe_pickle: opt.UnsafePickle = False,
) -> None:
    """Show what a conversion would do, op by op, and what stands in its way. Changes nothing; exit 3 if blocked.

    \b
    Examples:
      chiralize plan lifter.pt2 --skeleton h36m
      chiralize plan lifter.pt2 --skeleton paper.yaml --method project --format json
    """
    from chiralize.pipeline.planning import plan as run
    from chiralize.report import to_json, to_text

    request = opt.Request(
        model, skeleton, input_shape or (), example, factory, arg or (), key, entry, input_layout or (),
        output_layout or (), invariant, unsafe_pickle,
    )  # fmt: skip
    with opt.progress():
        subject, loaded, _ = opt.open_subject(request)
        report = run(subject, loaded.source.name, method.value)
    typer.echo(to_json(report) if output_format is Format.json else to_text(report), nl=False)
    if not report.passed:
        raise typer.Exit(BLOCKED)
