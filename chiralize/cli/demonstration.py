"""`chiralize demo`: the whole story on the shipped lifter."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiralize.cli import options as opt
from chiralize.cli.printing import terminal_width

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch

    from chiralize.commands.convert import Conversion
    from chiralize.graph.running import Call
    from chiralize.problem.network import Network

TEST_POSES = 4000
BATCH = 32
_STORY = """\
The shipped lifter turns 27 frames of 2D poses (Human3.6M's 17 joints) into the 3D pose of the middle frame, in metres.
It was trained on motion capture with mirrored copies, and still its answer to a mirrored input is not the mirror image
of its answer. Three conversions make it exactly equivariant:
"""


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the converted lifter goes.")] = Path(
        "lifter27.chiral.pt2"
    ),
) -> None:
    """Convert the shipped pretrained lifter, verify the result, and report what changed.

    With CHIRALIZE_DATA set to the folder of the motion data, whose motion.py is run, it also prints the error on the
    test subjects.

    \b
    Examples:
      chiralize demo
      CHIRALIZE_DATA=data chiralize demo -o /tmp/chiral.pt2
    """
    from chiralize.commands.convert import Request
    from chiralize.commands.convert import convert as run
    from chiralize.commands.writing import Source, write
    from chiralize.report import to_text
    from chiralize.storage.atomic import check_writable

    check_writable(output)
    with opt.progress() as step:
        network, calls = _shipped()
        done: dict[str, Conversion] = {}
        for method in ("project", "match", "average"):
            step(f"converting by {method}")
            samples = 8 if method == "average" else 2  # what is written is verified as `convert` does it
            options = Request(method, calibration=calls, progress=step, samples=samples, rounds=0)  # a demo is quick
            done[method] = run(network, "lifter27.pt2", options)
        step("writing")
        write(done["average"], output, Source(network))
    typer.echo(_STORY)
    typer.echo(_comparison(done, network.module))
    typer.echo(f"Written: the average, to {output}. Its report:\n")
    typer.echo(to_text(done["average"].report, terminal_width()))
    typer.echo(f"Check it again, as CI would:  chiralize verify {output}")


def _shipped() -> tuple[Network, list[Call]]:
    """The shipped lifter, and real inputs of training subjects for it in batches."""
    from importlib.resources import as_file, files

    import torch

    from chiralize.body.tensors import load_spec
    from chiralize.problem.network import prepare
    from chiralize.storage.arrays import load_arrays
    from chiralize.storage.load import load_model

    folder = files("chiralize.storage.pretrained")
    with as_file(folder / "lifter27.pt2") as model, as_file(folder / "lifter27_inputs.npz") as poses:
        program = load_model(model).exported
        batches = torch.from_numpy(load_arrays(poses)["poses"]).split(BATCH)
    assert program is not None
    return prepare(program, load_spec("h36m"), (batches[0][:2],)), [((batch,), {}) for batch in batches]


def _comparison(done: dict[str, Conversion], original: torch.nn.Module) -> str:
    """A table with a line per network: passes, rho, residual and, with data, the error on the test subjects."""
    errors = _errors({name: conversion.module for name, conversion in done.items()}, original)
    rows = [("network", "passes", "rho", "max |F(Tx) - T F(x)|", "MPJPE mm")]
    rows.append(("original", "1", "", "", errors.get("original", "")))
    rows.append(("original, flip-averaged", "2", "0", "", errors.get("flip-averaged", "")))
    for name, conversion in done.items():
        report = conversion.report
        rho = f"{report.drift.rho:.2f}" if report.drift else ""
        residual = f"{report.numeric.worst.residual:.1e}" if report.numeric else ""
        rows.append((name, "2" if name == "average" else "1", rho, residual, errors.get(name, "")))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  " + "  ".join(cells).rstrip() + "\n")
    if not errors:
        lines.append("\nSet CHIRALIZE_DATA to the motion data to see the error in mm (examples/lifting).\n")
    return "".join(lines)


def _errors(networks: dict[str, torch.nn.Module], original: torch.nn.Module) -> dict[str, str]:
    """Mean per joint position error on the test subjects; empty without data."""
    folder = os.environ.get("CHIRALIZE_DATA")
    if not folder:
        return {}
    from chiralize.errors import DataFileError
    from chiralize.storage.pretrained import evaluation

    try:
        inputs, targets = evaluation.test_windows(Path(folder), TEST_POSES)
    except (OSError, ValueError) as error:
        remedy = "name the folder with cmu17.npz and motion.py, or unset it"
        raise DataFileError("CHIRALIZE_DATA", str(error), remedy) from error
    predictions = {name: _predict(network, inputs) for name, network in {"original": original, **networks}.items()}
    predictions["flip-averaged"] = _flip_averaged(partial(_predict, original), inputs)
    return {name: f"{evaluation.mpjpe_mm(poses, targets):.1f}" for name, poses in predictions.items()}


def _predict(network: torch.nn.Module, inputs: np.ndarray) -> np.ndarray:
    """Predictions "sample joint coord" for windows "sample frame joint coord"."""
    import numpy as np
    import torch

    with torch.no_grad():
        parts = [network(part)[:, 0].numpy() for part in torch.from_numpy(inputs).split(250)]
    return np.concatenate(parts)


def _flip_averaged(predict: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """The mean of the answers to both views, written without the rest of the package."""
    from chiralize.body.skeleton.catalog import load_skeleton

    skeleton = load_skeleton("h36m")
    order = list(range(len(skeleton.joints)))
    for left, right in skeleton.pairs:
        order[left], order[right] = right, left

    def mirrored(poses: np.ndarray) -> np.ndarray:
        """Poses with left and right joints exchanged, and x negated."""
        swapped = poses[..., order, :].copy()
        swapped[..., 0] *= -1
        return swapped

    return (predict(inputs) + mirrored(predict(mirrored(inputs)))) / 2
