"""The files that `convert` writes: where they go, what they hold, and that none is written over what is read.

    chiralize convert last.ckpt -o out.ckpt      product "weights", in a file like the source (`origin_of`)
    chiralize convert policy.pt -o out.pt        product "script" where policy.pt is TorchScript, else "weights"
    chiralize convert lifter.pt2                 product "graph", in lifter.chiral.pt2 of the working folder

All of it is asked before the network is loaded, but for what the loaded file has to tell.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chiralize.cli import options as opt
from chiralize.storage.packages import is_installed
from chiralize.storage.suffixes import GRAPHS, check_suffix

if TYPE_CHECKING:
    from chiralize.problem.network import Network
    from chiralize.problem.request import Product
    from chiralize.storage.format import LoadedModel, Origin

REPORTS = (".html", ".json")


def next_to(source: Path) -> Path:
    """The file that is written where none is named: ONNX for ONNX, else a program."""
    from chiralize.storage.sniff import sniff

    is_onnx = source.suffix == ".onnx" and source.is_file() and sniff(source) == "onnx"
    return Path(f"{source.absolute().stem}.chiral{'.onnx' if is_onnx else '.pt2'}")


def check_onnx(network: Network, target: Path) -> None:
    """Raise UsageError where an ONNX file could not be read op by op, and is to become something else."""
    from chiralize.errors import UsageError
    from chiralize.storage.onnx_network import OnnxNetwork

    if isinstance(network.module, OnnxNetwork) and target.suffix != ".onnx":
        facts = f"{target} is no ONNX file, and the model is one that is run, not read op by op"
        raise UsageError("-o", facts, "write an .onnx, or convert what the model was exported from")


def product_of(source: Path, target: Path) -> Product:
    """What is written: a graph, weights alone, or TorchScript where the model came as such."""
    from chiralize.storage.sniff import sniff

    if target.suffix in GRAPHS:
        return "graph"
    if target.suffix == ".pt" and source.is_file() and sniff(source) == "torchscript":
        return "script"
    return "weights"


def left_behind(loaded: LoadedModel, target: Path) -> tuple[str, ...]:
    """A note on the methods of a TorchScript file, such as `reset_memory`, that a graph has not; empty where none."""
    from torch.jit import ScriptModule

    from chiralize.nn.deploy.script_views import ScriptMethods

    if target.suffix not in GRAPHS or not isinstance(loaded.module, ScriptModule):
        return ()
    names = ", ".join(ScriptMethods.of(loaded.module).public)
    if not names:
        return ()
    return (f"{target.name} is a graph without the methods of the TorchScript file ({names}): -o NAME.pt keeps them",)


def check_target(target: Path, product: Product, method: str, width: float | None, source: Path) -> None:
    """Raise UsageError where the file asked for cannot hold the result, OutputFileError where it cannot be written.

    A suffix that is none of ours is that of the source, where the result goes into a file like it.
    """
    from chiralize.errors import UsageError
    from chiralize.storage.atomic import check_writable
    from chiralize.storage.folders import check_folder
    from chiralize.storage.writing_back import is_like

    # A model that is a folder (Hugging Face) goes back into a folder.
    if source.is_dir() and is_like(target, source):
        check_folder(target)
    else:
        check_writable(target)
    if not is_like(target, source):
        check_suffix(target, other=f", or the suffix of {source.name}")
    # What no conversion could help is said before one is made.
    if method == "average" and product == "weights":
        facts = f"an averaged network is a graph, {target.suffix} holds weights only"
        raise UsageError("-o", facts, "write a .pt2 or an .onnx, or use --method match or reduce")
    # At width 1/2, a unit and its mirror image for every second one, the result has the sizes of the original.
    if method == "reduce" and width not in (None, 0.5) and target.suffix not in GRAPHS:
        if product == "weights":
            held = "weights only"
        else:
            held = "the original's code"
        facts = f"at width {width:g} the result is a graph, {target.suffix} holds {held}"
        raise UsageError("-o", facts, "write a .pt2 or an .onnx, or use --width 0.5")


def origin_of(loaded: LoadedModel, target: Path) -> Origin | None:
    """Where the network came from, if the result goes into a file like it. Raises UsageError where it cannot."""
    from chiralize.errors import UsageError
    from chiralize.storage.suffixes import SUFFIXES
    from chiralize.storage.writing_back import origin_for

    origin = origin_for(loaded, target)
    if origin is None and target.suffix not in SUFFIXES:
        facts = f"a {loaded.format} file is not written as {target.suffix or 'a folder'}"
        raise UsageError("-o", facts, f"use one of {', '.join(SUFFIXES)}")
    return origin


def check_drawing(wanted: Mapping[str, bool]) -> None:
    """Raise UsageError where matplotlib is not installed.  wanted: whether there are pictures to draw, by option."""
    from chiralize.errors import UsageError

    for option, is_wanted in wanted.items():
        if is_wanted and not is_installed("matplotlib"):
            raise UsageError(option, "matplotlib is not installed", "pip install matplotlib")


def check_report(page: Path, option: str = "--report") -> None:
    """Raise UsageError for a page of no known kind, OutputFileError where it cannot be written."""
    from chiralize.errors import UsageError
    from chiralize.storage.atomic import check_writable

    check_writable(page)
    if page.suffix not in REPORTS:
        raise UsageError(option, f"{page} is neither .html nor .json", "choose one of them")


def check_files(
    options: opt.NetworkOptions,
    target: Path | None,
    calibration: Path | None,
    also_written: Mapping[str, Path | None],
    also_read: Mapping[str, Path | None] | None = None,
) -> None:
    """Raise UsageError where a file would be written over one that is read, or over another one that is written.

    target: where the result of a conversion goes; None where there is none.  also_read: by what they are, in words.
    """
    from chiralize.storage.sidecar import CERTIFICATE, place_of

    read: dict[str, Path | None] = {"the model itself": options.model, "the calibration inputs": calibration}
    read["the record of the model's conversion"] = place_of(options.model)
    read["the example inputs"] = options.example
    read["the skeleton"] = Path(options.skeleton) if options.skeleton else None
    read |= also_read or {}
    written: dict[str, Path | None] = {"-o": target}
    # Weights get a sidecar beside them, safetensors and graphs have the passport within.
    if target is not None and target.suffix not in (*GRAPHS, ".safetensors"):
        written["the file beside -o"] = target.with_name(f"{target.name}.{CERTIFICATE}")
    check_apart({**written, **also_written}, read)


def check_apart(written: Mapping[str, Path | None], read: Mapping[str, Path | None]) -> None:
    """Raise UsageError where a file would be written over one that is read, or over another one that is written.

    written: by the option that names it.  read: by what it is, in words.  Of a folder that is read, every file is.
    """
    from chiralize.errors import UsageError

    taken = {what: path for what, path in read.items() if path is not None}
    for option, path in written.items():
        if path is None:
            continue
        for what, other in taken.items():
            if _same(path, other):
                raise UsageError(option, f"{path} is {what}", "write to another file")
            if _is_read_in(path, other):
                raise UsageError(option, f"{path} is a file of {other}, which is {what}", "write to another file")
        # Two options may name one file, too: what is written counts as taken from here on.
        taken[f"what {option} names"] = path


def _is_read_in(path: Path, folder: Path) -> bool:
    """Whether the path is a file that exists in a folder, and of a kind that is read there."""
    try:
        if not (path.is_file() and folder.is_dir()) or path.suffix in (*GRAPHS, ".html"):
            return False
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    except (OSError, ValueError):  # what no file can be called
        return False


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are one file, by links as well; of files that are not there yet, whether they would be."""
    try:
        if one.exists() and other.exists():
            return one.samefile(other)
        return os.path.realpath(one) == os.path.realpath(other)
    except (OSError, ValueError):  # what no file can be called
        return False
