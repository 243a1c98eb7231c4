"""`chiralize audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chiralize.cli import options as opt
from chiralize.cli.converting import Format


def audit(
    model: opt.Model,
    skeleton: opt.SkeletonOption = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Real inputs (.npz, .npy, .pt), samples first; audited as well.")
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="How the audit is printed.")] = Format.text,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Random inputs, where no data are given.")] = 32,
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
    """Measure how lopsided a network, and its data, are now. Changes nothing.

    \b
    Examples:
      chiralize audit lifter.pt2 --skeleton h36m
      chiralize audit lifter.pt2 --skeleton h36m --data poses.npz
    """
    from chiralize.pipeline.auditing import audit as run
    from chiralize.report import to_json, to_text

    request = opt.Request(
        model, skeleton, input_shape or (), example, factory, arg or (), key, entry, input_layout or (),
        output_layout or (), invariant, unsafe_pickle,
    )  # fmt: skip
    with opt.progress() as step:
        subject, loaded, _ = opt.open_subject(request)
        step("running the network on both views")
        report = run(subject, loaded.source.name, opt.calls_from_file(data, subject), samples)
    typer.echo(to_json(report) if output_format is Format.json else to_text(report), nl=False)
