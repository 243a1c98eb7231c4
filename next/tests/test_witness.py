"""What the first edition said of the zoo and of the shipped skeletons (`witness/`), said again by this one.

T and hidden spaces have to be the same, figures to 1e-9. Where the two differ on purpose, `DIFFERENT` says why.
"""

from __future__ import annotations

import copy
import hashlib
import json
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.utils import _pytree as pytree

from chiralize.body.catalog import shipped
from chiralize.body.resolve import resolve
from chiralize.body.spec import load_spec
from chiralize.commands.convert import convert
from chiralize.commands.finish import Conversion
from chiralize.errors import ChiralizeError
from chiralize.infer.hidden.match import FromWeights
from chiralize.problem.mirror import WeightAction, analyse, infer
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from chiralize.problem.request import Request
from tests.support.zoo import CASES

WITNESS = Path(__file__).parents[1] / "witness"
NEAR = 1e-9
SPACES = json.loads((WITNESS / "spaces.json").read_text(encoding="utf-8"))
CONVERSIONS = json.loads((WITNESS / "conversions.json").read_text(encoding="utf-8"))
SKELETONS = json.loads((WITNESS / "skeletons.json").read_text(encoding="utf-8"))
DIFFERENT = {
    "shared and tied/match": "the first edition took pairs of `project` in place of those that it was asked for",
}
SIZES = {"b": 2, "t": 3, "m": 2}


@cache
def network_of(name: str) -> Network:
    """A network of the zoo, made ready; conversions don't change it."""
    case = CASES[name]
    args, kwargs = case.example()
    return prepare(case.model(), args, kwargs, load_spec(yaml.safe_load(case.spec)), entry=case.entry)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@pytest.mark.parametrize("name", SPACES)
def test_hidden_spaces_and_the_action_on_every_weight(name: str) -> None:
    row, network = SPACES[name], network_of(name)
    assert [[space.label, space.size, space.sign_free] for space in infer(network).spaces()] == row["spaces"]
    analysed = analyse(network, FromWeights(network.graph()))
    hidden = WeightAction.of(analysed.network, analysed.repmap).hidden
    assert {key: digest(str(rep)) for key, rep in sorted(hidden.items())} == row["hidden"]


@pytest.mark.parametrize("name", CONVERSIONS)
def test_verdicts_figures_weights_and_answers(name: str) -> None:
    if name in DIFFERENT:
        pytest.skip(DIFFERENT[name])
    row, (network, _, method) = CONVERSIONS[name], name.rpartition("/")
    conversion = convert(network_of(network), network, Request(method=method))
    report, measured = conversion.report, conversion.report.measured
    assert report.method == row["method"] and report.passed == row["passed"]
    assert (report.certificate is not None and report.certificate.passed) == row["proved"]
    if "rho" in row:
        assert measured is not None and near(measured.rho, row["rho"])
        for figure in ("gap", "lean", "shift"):
            assert near([getattr(output, figure) for output in measured.outputs], row[figure]), figure
    if "odd" in row:
        assert report.degeneracy is not None
        assert near([report.degeneracy.odd_before, report.degeneracy.odd_after], row["odd"])
    state = conversion.module.state_dict()
    norms = {key: float(value.double().norm()) for key, value in state.items() if value.is_floating_point()}
    assert norms.keys() == row["weights"].keys()
    assert all(near(norm, row["weights"][key]) for key, norm in norms.items())
    if row["answer"]:
        assert near(answer(conversion, network), row["answer"])


def near(ours: Any, theirs: Any) -> bool:
    """Whether figures, or nests of them, are the same to 1e-9."""
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(near, ours, theirs))
    if ours is None or theirs is None:
        return ours == theirs
    return abs(ours - theirs) <= NEAR * max(1.0, abs(ours), abs(theirs))


def answer(conversion: Conversion, name: str) -> list[float]:
    """Sum and sum of squares of every output of one call on seeded inputs."""
    case = CASES[name]
    (args, kwargs), model = case.steps(1)[0], copy.deepcopy(conversion.module)
    forward = getattr(model, case.entry, model) if case.entry != "forward" else model
    with torch.no_grad():
        leaves = pytree.tree_leaves(forward(*args, **kwargs))
    tensors = [leaf.double() for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return [float(value) for tensor in tensors for value in (tensor.sum(), tensor.square().sum())]


@pytest.mark.parametrize("name", SKELETONS)
def test_mirror_of_every_shipped_skeleton(name: str) -> None:
    row = SKELETONS[name]
    spec = load_spec(name)
    assert name in shipped()
    if "spec" in row:
        sizes: list[list[tuple[int, int]]] = [[], []]
        for side, entries in enumerate((spec.inputs, spec.outputs)):
            for entry in entries or ():
                size = sum(len(block.run(entry.body(spec.skeleton)).labels) for block in entry.fields or ())
                sizes[side].append((2, size or len(spec.skeleton.joints) * len(spec.skeleton.dims)))
        resolved = resolve(spec, *sizes)
        assert [[str(rep) for rep in resolved.representations(io)] for io in ("input", "output")] == row["spec"]
        return
    for layout, expected in row.items():
        shape = shape_of(layout, {**SIZES, "j": len(spec.skeleton.joints), "d": len(spec.skeleton.dims)})
        try:
            asked = load_spec(name, input_layouts=[layout], output_layouts=[layout])
            ours = digest(str(resolve(asked, [shape], [shape]).representations("input")[0]))
        except ChiralizeError as error:
            ours = error.code
        assert ours == expected, layout


def shape_of(layout: str, sizes: dict[str, int]) -> tuple[int, ...]:
    """The sizes of a tensor of a layout."""
    if "(" not in layout:
        return tuple(sizes[word] for word in layout.split())
    start, _, merged = layout.rstrip(")").partition("(")
    return (*(sizes[word] for word in start.split()), prod(sizes[word] for word in merged.split()))
