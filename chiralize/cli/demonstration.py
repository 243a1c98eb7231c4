"""`chiralize demo`: the recommended way, on the shipped lifter and on poses drawn from the shipped model of motion.

It does what a user would: convert by `reduce` at half of the units with calibration inputs, in blocks, as a graph. Then
it measures the original, its flip average and the result on other windows. T is written out here (`_mirrored`), so that
the table does not rest on the code that it shows.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiralize.cli import options as opt
from chiralize.cli.printing import terminal_width
from chiralize.storage.suffixes import GRAPHS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

    from chiralize.graph.running import Call
    from chiralize.problem.network import Network
    from chiralize.report import Cost

    Judged = Mapping[str, tuple[np.ndarray, np.ndarray]]

FITTED = 4800
TESTED = 600
CAPTURED = 4000
"""Windows to fit on, to measure on, and of the motion capture to measure on where it is at hand."""
BATCH = 120
FRAMES = 27
"""Windows of a call of the lifter, and frames of a window."""
WIDTH = 0.5
"""Share of the hidden units that is kept."""
FARTHEST = 1.5
"""Bound on rho: about 1.2 is usual on drawn poses."""
_SEEDS = 2, 99
"""Of the windows that are fitted on, and of those that are measured on."""
_STORY = """\
The shipped lifter turns 27 frames of 2D poses (Human3.6M's 17 joints) into the 3D pose of the middle frame. It was
trained with mirrored copies. Still, its answer to a mirrored input is not the mirror image of its answer. The usual
remedy is to run it twice and average. One conversion makes it symmetric in one pass, at half of the multiplications:
"""
_DRAWN = "the calibration inputs are drawn from the shipped model of motion, and nobody's captured poses"
_DATA = "CHIRALIZE_DATA"


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the converted lifter goes.")] = Path(
        "lifter27.chiral.pt2"
    ),
    show: Annotated[bool, typer.Option("--open", help="Open the report, with its pictures, in the browser.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Print the whole report.")] = False,
) -> None:
    """Convert the shipped pretrained lifter in the recommended way, measure the result, and draw what changed.

    With CHIRALIZE_DATA set to the folder of the motion data, whose motion.py is run, it also prints the error on the
    test subjects.

    \b
    Examples:
      chiralize demo
      chiralize demo --open
      CHIRALIZE_DATA=data chiralize demo -o /tmp/chiral.pt2
    """
    from chiralize.commands.convert import Request, convert
    from chiralize.commands.writing import Source, write
    from chiralize.errors import UsageError
    from chiralize.problem.poses.windows import windows
    from chiralize.report import to_html, to_text
    from chiralize.storage.atomic import check_writable, write_text

    if output.suffix not in GRAPHS:
        raise UsageError("-o", f"{output} is no file of a whole network", f"use one of {', '.join(GRAPHS)}")
    page = output.with_suffix(".html")
    check_writable(output)
    check_writable(page)
    start = time.monotonic()
    with opt.progress() as step:
        judged = _windows_to_judge_on()
        step("drawing poses")
        network, calls = _shipped(windows(FITTED, FRAMES, _SEEDS[0]).inputs)
        request = Request(
            "reduce",
            "blocks",
            calibration=calls,
            width=WIDTH,
            max_drift=FARTHEST,
            remarks=(_DRAWN,),
            progress=step,
            product="graph",
        )
        conversion = convert(network, "lifter27.pt2", request)
        took = time.monotonic() - start
        step("measuring the error")
        rows = _rows(network.module, conversion.module, judged, conversion.report.cost)
        step("writing")
        write(conversion, output, Source(network))
        report = replace(conversion.report, output=str(output))
        write_text(page, to_html(report))
    typer.echo(_STORY)
    typer.echo(_table(rows))
    typer.echo(_explained(took, len(judged) > 1))
    typer.echo(to_text(report, terminal_width(), short=not verbose))
    typer.echo(f"Written: {output}, and {page} with the gap of every joint drawn before and after.")
    typer.echo(f"Check it again, as CI would:  chiralize verify {output}")
    if show:
        _open(page)


def _windows_to_judge_on() -> Judged:
    """Inputs and answers to measure on: drawn ones, and where CHIRALIZE_DATA is set those of the test subjects.

    Raises DataFileError where that folder does not hold the motion data.
    """
    from chiralize.problem.poses.windows import windows

    drawn = windows(TESTED, FRAMES, _SEEDS[1])
    # By the heading of a column: inputs "window frame joint 2" and answers "window joint 3".
    judged = {"error, mm": (drawn.inputs, drawn.targets)}
    folder = os.environ.get(_DATA)
    if not folder:
        return judged
    from chiralize.errors import DataFileError
    from chiralize.storage.pretrained import evaluation

    try:
        judged["on test subjects"] = evaluation.test_windows(Path(folder), CAPTURED)
    except (OSError, ValueError) as error:
        remedy = "name the folder with cmu17.npz and motion.py, or unset it"
        raise DataFileError(_DATA, str(error), remedy) from error
    return judged


def _shipped(poses: np.ndarray) -> tuple[Network, list[Call]]:
    """The shipped lifter, and the poses "window frame joint 2" as batches for it."""
    from importlib.resources import as_file, files

    import torch

    from chiralize.body.tensors import load_spec
    from chiralize.problem.preparation import prepare
    from chiralize.storage.load import load_model

    with as_file(files("chiralize.storage.pretrained") / "lifter27.pt2") as model:
        program = load_model(model).exported
    assert program is not None
    batches = torch.from_numpy(poses).split(BATCH)
    return prepare(program, load_spec("h36m"), (batches[0][:2],)), [((batch,), {}) for batch in batches]


@dataclass(frozen=True)
class _Row:
    """A way to get an answer, and what was measured of it.

    errors: mean distances per joint, mm, by the heading of their column.  apart: mean distance between the answer to a
    mirrored input and the mirror image of the answer, mm.  passes, macs: of one answer.
    """

    name: str
    passes: int
    macs: int
    errors: Mapping[str, float]
    apart: float


def _rows(original: torch.nn.Module, result: torch.nn.Module, judged: Judged, cost: Cost | None) -> list[_Row]:
    """The original, its flip average and the result, each measured on the same windows."""
    assert cost is not None
    single, average, converted = dict[str, float](), dict[str, float](), dict[str, float]()
    apart, apart_after = list[float](), list[float]()
    # "window joint 3" of both views, the second one turned back: their distance is what mirroring changes.
    for heading, (inputs, targets) in judged.items():
        straight, turned = _both_views(original, inputs)
        single[heading] = _distance(straight, targets)
        average[heading] = _distance((straight + turned) / 2, targets)
        apart.append(_distance(straight, turned))
        straight, turned = _both_views(result, inputs)
        converted[heading] = _distance(straight, targets)
        apart_after.append(_distance(straight, turned))
    return [
        _Row("original", 1, cost.macs_before, single, apart[0]),
        _Row("original, flip average", 2, 2 * cost.macs_before, average, 0.0),
        _Row("converted", 1, cost.macs_after, converted, apart_after[0]),
    ]


def _both_views(network: torch.nn.Module, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Answers "window joint 3", and those to the mirrored inputs, mirrored back: written without the package."""
    return _answers(network, inputs), _mirrored(_answers(network, _mirrored(inputs)))


def _mirrored(poses: np.ndarray) -> np.ndarray:
    """Poses "... joint dim" with left and right joints exchanged, and x negated."""
    from chiralize.body.skeleton.catalog import load_skeleton

    skeleton = load_skeleton("h36m")
    order = list(range(len(skeleton.joints)))
    for left, right in skeleton.pairs:
        order[left], order[right] = right, left
    swapped = poses[..., order, :].copy()
    swapped[..., 0] *= -1
    return swapped


def _answers(network: torch.nn.Module, inputs: np.ndarray) -> np.ndarray:
    """Answers "window joint 3" to windows "window frame joint 2"."""
    import numpy as np
    import torch

    with torch.no_grad():
        parts = [network(part)[:, 0].numpy() for part in torch.from_numpy(inputs).split(250)]
    return np.concatenate(parts)


def _distance(poses: np.ndarray, others: np.ndarray) -> float:
    """Mean distance per joint, mm."""
    from chiralize.storage.pretrained import evaluation

    return evaluation.mpjpe_mm(poses, others)


def _table(rows: list[_Row]) -> str:
    """The rows in columns, with a heading."""
    headings = list(rows[0].errors)
    cells = [("network", "passes", "multiplications", *headings, "off its mirror image, mm")]
    for row in rows:
        errors = [f"{row.errors[heading]:.1f}" for heading in headings]
        cells.append((row.name, str(row.passes), f"x{row.macs / rows[0].macs:.2f}", *errors, _apart(row.apart)))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = list[str]()
    for line in cells:
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        lines.append("  " + "  ".join(padded).rstrip() + "\n")
    return "".join(lines)


def _apart(distance: float) -> str:
    """A distance in mm; rounding errors as a power of ten."""
    if distance > 0.05 or distance == 0:
        return f"{distance:.1f}"
    return f"{distance:.0e}"


def _explained(took: float, with_capture: bool) -> str:
    """What the figures were measured on, and how the network was fitted."""
    lines = [
        f"Fitted and verified in {took:.0f} s on {FITTED:,} windows without labels. The error is the mean distance per",
        f"joint on {TESTED:,} other windows. Both kinds are drawn from the shipped model of motion.",
    ]
    if not with_capture:
        lines.append("Set CHIRALIZE_DATA to the motion data to see the error on captured people (examples/lifting).")
    return "\n".join([*lines, "A longer fit on poses of your own comes closer: chiralize convert --calibration.\n"])


def _open(page: Path) -> None:
    """Show a page in the browser; where there is none, say where it lies."""
    import webbrowser

    address = page.resolve().as_uri()
    if not webbrowser.open(address):
        opt.say(f"no browser could be opened; the page is at {address}")
