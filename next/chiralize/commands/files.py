"""Commands on files: where a result goes, and that no file is written over one that is read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from chiralize.commands.api import judged
from chiralize.commands.convert import convert
from chiralize.commands.opening import data_in, opened_file
from chiralize.errors import UsageError
from chiralize.problem.request import Judging, Progress, Request, Source
from chiralize.report.records import ConvertReport, VerifyReport
from chiralize.storage.files import check_writable
from chiralize.storage.save import target_of, write

_WEIGHTS = ("safetensors", "state_dict", "back")
"""Kinds of targets that hold weights alone."""


def convert_file(
    model: Path, source: Source, request: Request, output: Path | None, progress: Progress
) -> ConvertReport:
    """Convert the network of a file and write the result. Raises ChiralizeError; nothing is written where it does.

    output: the file to write, else NAME.chiral.pt2 of the working folder.
    """
    target = output or Path(f"{model.absolute().stem}.chiral.pt2")
    read = {"the model itself": model, "the example inputs": source.example, "the inputs": request.calibration}
    _check_apart(target, {**read, **_skeleton(source)})
    check_writable(target)
    kind = target_of(target, model)
    if request.method == "average" and kind in _WEIGHTS:
        facts = f"an average runs the network twice, and {target.name} would hold weights alone"
        raise UsageError("-o", facts, "write a .pt2, or use --method match")
    data = data_in(request.calibration)
    opened = opened_file(model, source, progress, data)
    known = opened.passport if opened.passport is not None and opened.passport.spec == opened.network.spec else None
    conversion = convert(opened.network, opened.name, replace(request, data=data, progress=progress), known)
    progress("writing")
    written = write(conversion, target, opened.loaded)
    return replace(conversion.with_findings(*written).report, output=str(target))


def verify_file(model: Path, source: Source, judging: Judging, progress: Progress) -> VerifyReport:
    """Both verdicts on the network of a file. Raises ChiralizeError."""
    data = data_in(judging.calibration)
    return judged(opened_file(model, source, progress, data), replace(judging, data=data), progress)


def _skeleton(source: Source) -> dict[str, Path | None]:
    """The file of the specification, where it may be one."""
    return {"the skeleton": Path(source.skeleton)} if source.skeleton else {}


def _check_apart(target: Path, read: dict[str, Path | None]) -> None:
    """Raise UsageError where the result would be written over a file that is read."""
    for what, path in read.items():
        if path is not None and os.path.realpath(path) == os.path.realpath(target):
            raise UsageError("-o", f"{target} is {what}", "write to another file")
