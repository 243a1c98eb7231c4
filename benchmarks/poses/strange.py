"""Networks that take poses in other ways than usual, and what becomes of them when nobody gives inputs:

    CHIRALIZE_DATA=DIR python -m benchmarks.poses.strange --cache DIR [--names ...]

Trained lifters behind layers that turn their numbers into others: pixels, millimetres, y up, another origin, another
order of the joints (which nobody told), half of the size, a mean that was taken off. A row has what `auto` does without
inputs, what it says, and the error on the test subjects in units of the original's.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.accuracy.rows import append, known
from benchmarks.accuracy.tasks import Task
from benchmarks.accuracy.teachers import answers, load_teacher
from benchmarks.poses.run import rounded, told
from chiralize.body.tensors import ConversionSpec, parse_spec
from chiralize.commands.convert import convert
from chiralize.errors import ChiralizeError
from chiralize.problem.preparation import prepare
from chiralize.problem.request import Request

RESULTS = Path(__file__).with_name("strange.csv")
COLUMNS = ("network", "kind", "method", "error", "rho", "gap", "rho_beyond", "note")
TESTED = 5000
LEFT, RIGHT = [4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]
NAMES = ("mlp-512", "frame-128")


class Behind(nn.Module):
    """A network behind x -> factor x + offset and a new order of the joints; its answers times another factor."""

    def __init__(
        self, network: nn.Module, factor: Tensor, offset: Tensor, order: list[int] | None = None, after: float = 1.0
    ) -> None:
        super().__init__()
        self.factor: Tensor
        self.offset: Tensor
        self.order: Tensor
        self.network, self.after = network, after
        self.register_buffer("factor", factor)
        self.register_buffer("offset", offset)
        self.register_buffer("order", torch.tensor(order or list(range(17))))

    def forward(self, poses: Tensor) -> Tensor:
        inner = (poses * self.factor + self.offset).index_select(-2, self.order)
        return self.after * self.network(inner)


Kind = tuple[Callable[[nn.Module], nn.Module], Callable[[Tensor], Tensor], str]
"""The network in its strange clothes, its inputs from usual ones, and what the specification says of the input."""


def _scaled(x: float, y: float, at: tuple[float, float] = (0.0, 0.0), after: float = 1.0, spec: str = "") -> Kind:
    factor, offset = torch.tensor([x, y]), torch.tensor(at)
    return (
        lambda network: Behind(network, 1 / factor, -offset / factor, after=after),
        lambda poses: poses * factor + offset,
        spec,
    )


def _ordered(order: list[int]) -> Kind:
    inverse = torch.tensor(order).argsort()
    plain = torch.ones(2), torch.zeros(2)
    return lambda network: Behind(network, *plain, order), lambda poses: poses.index_select(-2, inverse), ""


def kinds() -> dict[str, Kind]:
    """All of them, by name."""
    legs_for_arms = [0, 14, 15, 16, 11, 12, 13, 7, 8, 9, 10, 4, 5, 6, 1, 2, 3]
    upside_down = [0, 3, 2, 1, 6, 5, 4, 10, 9, 8, 7, 13, 12, 11, 16, 15, 14]
    return {
        "as it is": _scaled(1, 1),
        "y up": _scaled(1, -1),
        "centred pixels, 1000 wide": _scaled(500, 500),
        "centred pixels, 1920 wide": _scaled(960, 960),
        "pixels of 1000 by 1000": _scaled(500, 500, (500, 500), spec="reflect: {x: 500}"),
        "pixels of 1920 by 1080": _scaled(960, 960, (960, 540), spec="reflect: {x: 960}"),
        "from 0 to 1": _scaled(0.5, 0.5, (0.5, 0.5), spec="reflect: {x: 0.5}"),
        "half as large": _scaled(0.5, 0.5),
        "0.7 times as large": _scaled(0.7, 0.7),
        "0.1 times as large": _scaled(0.1, 0.1),
        "x and y from -1 to 1, 16 to 9": _scaled(1, 1.7778),
        "y shrunk to 0.56": _scaled(1, 0.5625),
        "y from the top": _scaled(1, 1, (0.0, 1.0)),
        "answers in mm": _scaled(1, 1, after=1000.0),
        "legs where arms are said to be": _ordered(legs_for_arms),
        "joints of limbs reversed": _ordered(upside_down),
    }


def spec_of(task: Task, said: str) -> ConversionSpec:
    """The specification, with what is said of the input."""
    if not said:
        return task.spec
    return parse_spec(f"skeleton: h36m\ninputs: [{{layout: b j d, {said}}}]\noutputs: [{{layout: b j d}}]\n")


def row(name: str, kind: Kind, cache: Path) -> dict[str, Any]:
    """What becomes of one of them."""
    teacher = load_teacher(cache, name, True, 0)
    dressed, inputs, said = kind
    network = dressed(teacher.network).eval()
    given, targets = teacher.task.test(TESTED)
    given = inputs(given)
    prepared = prepare(network, spec_of(teacher.task, said), (torch.randn(2, *given.shape[1:]),))
    try:
        done = convert(prepared, name, Request("auto"))
    except ChiralizeError as error:
        return {"note": str(error).splitlines()[0]}
    before, after = answers(network, given), answers(done.module, given)
    unit = before.std() / targets.std()
    errors = [
        (said_so / unit.round(decimals=-2).clamp_min(1) - targets).norm(dim=-1).mean() for said_so in (before, after)
    ]
    macs = done.report.cost.macs_after / max(done.report.cost.macs_before, 1)
    return {
        "method": f"{done.report.method} {macs:.2f}", "error": float(errors[1] / errors[0]), **told(done.report.drift),
        "note": "; ".join(done.report.notes),
    }  # fmt: skip


def main() -> None:
    """Convert and append to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--csv", type=Path, default=RESULTS)
    parser.add_argument("--names", nargs="*", default=NAMES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    done = known(arguments.csv, ("network", "kind"))
    for name in arguments.names:
        for title, kind in kinds().items():
            if (name, title) not in done:
                entries = {"network": name, "kind": title} | row(name, kind, arguments.cache)
                append(arguments.csv, COLUMNS, [{key: rounded(value) for key, value in entries.items()}])
                print(entries, flush=True)


if __name__ == "__main__":
    main()
