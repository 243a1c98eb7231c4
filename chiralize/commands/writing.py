"""Results as files: by suffix the whole network or its weights, with the passport, whole or not at all.

    .onnx                       commands.onnx, with the original for names and sizes
    a TorchScript .pt           commands.scripts, with the original's code
    .pt2                        the program
    as the source (.ckpt, ...)  the new weights in a copy of that file (`storage.writing_back`)
    .safetensors, .pt           weights; the passport in the file, or in a sidecar beside it

The last step of `chiralize convert`. A writer that refuses loses nothing: see `rescued`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.export import ExportedProgram

from chiralize.commands.guard import WEIGHTS_ALONE
from chiralize.commands.records import Conversion
from chiralize.errors import CaptureError, ChiralizeError, UsageError
from chiralize.problem.network import Network
from chiralize.report import ConvertReport
from chiralize.storage.format import LoadedModel, Origin
from chiralize.storage.load import CERTIFICATE, METADATA_KEY
from chiralize.storage.passport import Passport
from chiralize.storage.save import save_pt2, save_safetensors, save_state_dict
from chiralize.storage.suffixes import GRAPHS
from chiralize.storage.writing_back import write_back


@dataclass(frozen=True)
class Source:
    """What a file needs to know of what was converted.

    network: for .onnx and TorchScript.  script: the file, for TorchScript.  origin: where the weights came from, for a
    file like that.
    """

    network: Network | None = None
    script: LoadedModel | None = None
    origin: Origin | None = None


def write(conversion: Conversion, target: Path, source: Source = Source()) -> Conversion:
    """Write the result of a conversion; the conversion, with a note of the writer in its report.

    Raises UsageError, CaptureError, ExportError, ParityError, OutputFileError.
    """
    if target.suffix == ".onnx":
        from chiralize.commands.onnx import write_onnx

        assert source.network is not None
        return write_onnx(conversion, source.network, target)
    # TorchScript before suffixes: a script is written as `.pt`, as weights are.
    if source.script is not None:
        from chiralize.commands.scripts import write_script

        assert source.network is not None
        return write_script(conversion, source.network, source.script, target)
    if target.suffix in GRAPHS:
        write_program(conversion.program, conversion.passport, target)
    else:
        state = conversion.module.state_dict()
        refuse_other_forms(conversion.report.form, target)
        refuse_lost(changed_constants(conversion.report), state, target)
        # Into a file like the one that the weights came from, with everything else that it holds.
        if source.origin is not None:
            notes = write_back(source.origin, state, target, conversion.passport.to_json())
            return replace(conversion, report=replace(conversion.report, notes=(*conversion.report.notes, *notes)))
        write_weights(state, conversion.passport, target)
    return conversion


def rescued(conversion: Conversion, target: Path, error: ChiralizeError) -> ChiralizeError:
    """The error of a writer that refused its format, after the network has been written as a `.pt2` beside the target.

    Minutes of work are not lost so. As it was where there is no program. No file is replaced. Raises OutputFileError.
    """
    if conversion.program is None or target.suffix == ".pt2":
        return error
    path = target.with_suffix(".pt2")
    # Never over a file that is there: chiral.pt2, else chiral-2.pt2, and so on.
    number = 1
    while path.exists():
        number += 1
        path = target.with_name(f"{target.stem}-{number}.pt2")
    write_program(conversion.program, conversion.passport, path)
    written = f"use {path}, into which the converted network has been written"
    # The remedy "write a .pt2" has been followed by now.
    if _PT2 in error.remedy:
        remedy = error.remedy.replace(_PT2, written, 1)
    else:
        remedy = f"{written}; {error.remedy}"
    return type(error)(error.where, error.facts, remedy)


def write_program(program: ExportedProgram | None, passport: Passport, target: Path) -> None:
    """Write a `.pt2`. Raises CaptureError where there is no program, OutputFileError."""
    if program is None:
        remedy = "use it from Python: chiralize(model, ...), or remove what torch.export refuses"
        raise CaptureError(str(target), "the result cannot be exported, so there is no .pt2 of it", remedy)
    save_pt2(program, target, {CERTIFICATE: passport.to_json()})


def write_weights(state: Mapping[str, torch.Tensor], passport: Passport, target: Path) -> None:
    """Write weights, as safetensors or as a state_dict with a sidecar. Raises OutputFileError."""
    if target.suffix == ".safetensors":
        save_safetensors(state, target, {METADATA_KEY: passport.to_json()})
    else:
        save_state_dict(state, target, passport.to_json())


_PT2 = "write a .pt2"
_OPTIONS = "use --method match without --on-blocked"


def refuse_other_forms(form: str, target: Path, where: str = "-o", instead: str = _OPTIONS) -> None:
    """Raise UsageError where the weights of a result fit no class but that of a graph. instead: another conversion."""
    if form not in WEIGHTS_ALONE:
        facts = f"the result ({form}) is a graph of its own, {target.suffix} holds weights only"
        raise UsageError(where, facts, f"write a .pt2 or an .onnx, or {instead}")


def refuse_lost(changed: Sequence[str], state: Mapping[str, torch.Tensor], target: Path, where: str = "-o") -> None:
    """Raise UsageError where a conversion changed what a state_dict does not hold. changed: names."""
    lost = [name for name in changed if name not in state]
    if lost:
        facts = f"{', '.join(lost)} changed, which a {target.suffix} does not hold: weights and persistent buffers only"
        raise UsageError(where, facts, "write a .pt2, or keep the constants in buffers (register_buffer)")


def changed_constants(report: ConvertReport) -> list[str]:
    """Names of the weights, constants and states that a conversion changed."""
    return report.changes.names
