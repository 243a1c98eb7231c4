"""`chiralize convert`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiralize.cli import options as opt

if TYPE_CHECKING:
    from chiralize.pipeline.conversion import Conversion
    from chiralize.report import ConvertReport

SUFFIXES = (".pt2", ".safetensors", ".pt")


class Method(str, Enum):
    """Ways to convert."""

    auto = "auto"
    lift = "lift"
    match = "match"
    project = "project"


class Form(str, Enum):
    """Forms of the result."""

    auto = "auto"
    folded = "folded"


class Format(str, Enum):
    """How the report is printed."""

    text = "text"
    json = "json"


def convert(
    model: opt.Model,
    skeleton: opt.SkeletonOption = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help=".pt2, .safetensors or .pt; default <stem>.chiral.pt2 here.")
    ] = None,
    method: Annotated[
        Method, typer.Option("--method", help="lift: exact, two passes (auto); match, project: one pass.")
    ] = Method.auto,
    form: Annotated[Form, typer.Option("--form", help="folded: the original's class, keys and shapes.")] = Form.auto,
    calibrate: Annotated[
        Path | None, typer.Option("--calibrate", help="Unlabelled inputs (.npz, .npy, .pt), samples first.")
    ] = None,
    max_drift: Annotated[
        float | None, typer.Option("--max-drift", min=0.0, help="Refuse a result with a larger rho (exit 1).")
    ] = None,
    samples: opt.Samples = 8,
    input_shape: opt.InputShape = None,
    example: opt.Example = None,
    factory: opt.Factory = None,
    arg: opt.FactoryArgs = None,
    key: opt.Key = None,
    entry: opt.Entry = "forward",
    input_layout: opt.InputLayout = None,
    output_layout: opt.OutputLayout = None,
    invariant: opt.Invariant = False,
    report: Annotated[Path | None, typer.Option("--report", help="Write the report here too: .html or .json.")] = None,
    output_format: Annotated[Format, typer.Option("--format", help="How the report is printed.")] = Format.text,
    unsafe_pickle: opt.UnsafePickle = False,
    force: Annotated[bool, typer.Option("--force", help="Write in spite of drift or lost left/right.")] = False,
) -> None:
    """Make a network equivariant, verify it from scratch, and write it.

    \b
    Examples:
      chiralize convert lifter.pt2 --skeleton h36m -o chiral.pt2
      chiralize convert lifter.pt2 --skeleton h36m --method match --calibrate poses.npz
      chiralize convert weights.pt --model nets.lifter:Lifter --arg channels=1024 --key model_pos \\
          --skeleton h36m --input-shape 1,243,17,2 --method match -o chiral.safetensors
    """
    from chiralize.pipeline.conversion import Options
    from chiralize.pipeline.conversion import convert as run
    from chiralize.storage.save import check_writable

    target = output or Path(f"{model.stem}.chiral.pt2")
    _check_target(target, model, method)
    for path in (target, report):
        if path is not None:
            check_writable(path)
    request = opt.Request(
        model, skeleton, input_shape or (), example, factory, arg or (), key, entry, input_layout or (),
        output_layout or (), invariant, unsafe_pickle,
    )  # fmt: skip
    with opt.progress() as step:
        subject, loaded, _ = opt.open_subject(request)
        calls = opt.calls_from_file(calibrate, subject)
        chosen = Options(method.value, form.value, calls, max_drift, samples, force, step)
        conversion = run(subject, loaded.source.name, chosen)
        step("writing")
        write(conversion, target)
    show(conversion.report, target, report, output_format)


def _check_target(target: Path, model: Path, method: Method) -> None:
    from chiralize.errors import MethodUnavailableError, UsageError

    if target.suffix == ".onnx":
        raise MethodUnavailableError("-o", "ONNX output is not in this version", "write a .pt2")
    if target.suffix not in SUFFIXES:
        raise UsageError("-o", f"{target} has no known suffix", f"use one of {', '.join(SUFFIXES)}")
    if target.exists() and model.exists() and target.samefile(model):
        raise UsageError("-o", f"{target} is the model itself", "write the result to another file")
    if method in (Method.auto, Method.lift) and target.suffix != ".pt2":
        raise UsageError(
            "-o", f"a lifted network is a graph, {target.suffix} holds weights only", "write a .pt2, or use --method match"
        )


def write(conversion: Conversion, target: Path) -> None:
    """The result with its passport, whole or not at all."""
    from chiralize.errors import CaptureError
    from chiralize.storage.load import CERTIFICATE, METADATA_KEY
    from chiralize.storage.save import save_pt2, save_safetensors, save_state_dict

    passport = conversion.passport.to_json()
    state = conversion.module.state_dict()
    if target.suffix == ".safetensors":
        save_safetensors(state, target, {METADATA_KEY: passport})
    elif target.suffix == ".pt":
        save_state_dict(state, target, passport)
    elif conversion.program is None:
        raise CaptureError(
            str(target), "the result cannot be exported, so there is no .pt2 of it",
            "use it from Python: chiralize(model, ...), or remove what torch.export refuses",
        )  # fmt: skip
    else:
        save_pt2(conversion.program, target, {CERTIFICATE: passport})


def show(report: ConvertReport, target: Path, page: Path | None, output_format: Format) -> None:
    """The report on stdout and, if asked for, in a file."""
    from dataclasses import replace

    from chiralize.report import to_json, to_text

    report = replace(report, output=str(target))
    if page is not None:
        save_report(report, page)
    typer.echo(to_json(report) if output_format is Format.json else to_text(report), nl=False)


def save_report(report: ConvertReport, page: Path) -> None:
    """As one HTML page or as JSON, by the suffix."""
    from chiralize.errors import UsageError
    from chiralize.report import to_html, to_json
    from chiralize.storage.save import save_text

    writers = {".html": to_html, ".json": to_json}
    if page.suffix not in writers:
        raise UsageError("--report", f"{page} is neither .html nor .json", "choose one of them")
    save_text(page, writers[page.suffix](report))
