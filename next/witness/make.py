"""Freeze what the first edition says, for the tests of the second to be held to.

    python next/witness/make.py [NAME ...]        from the root of the first edition, which it imports

    spaces.json         hidden spaces of the zoo's networks, how T acts on every weight, and refusals by their codes
    conversions.json    of the zoo, by method: verdicts, rho, gap, odd shares, weights and answers of the results
    lifter.json         gap, lean and every pair of joints of the shipped lifter on the shipped inputs
    forms.json          answers of the zoo's results in every form
    skeletons.json      T of every shipped skeleton under the usual layouts, and of the observations of shipped robots
    public.csv          networks of other people: parameters, spaces, and what became of each method
    accuracy.csv        errors of results over those of their originals, three seeds each

The numbers are those of the commit that CHANGELOG names as the last of the first edition.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
METHODS = ("match", "project", "average")
FORMS = ("folded", "blocks", "fused")
PLACES = 12


def main(names: list[str]) -> None:
    """Write the files that are named, or all of them."""
    sys.path.insert(0, str(ROOT))
    warnings.simplefilter("ignore")
    for name, make in MAKERS.items():
        if not names or name in names:
            make(HERE / name)
            print(f"wrote {name}")


def written(path: Path, value: Any) -> None:
    """A value as JSON, an entry of the table a line."""
    lines = [f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in value.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def short(value: float | None) -> float | None:
    """A figure without the noise of its last digits."""
    return None if value is None else float(f"{value:.{PLACES}g}")


def code(error: Exception) -> str:
    """The code of an error of ours; the class of any other."""
    return getattr(error, "code", type(error).__name__)


# ---- the zoo -------------------------------------------------------------------------------------------------
def spaces(path: Path) -> None:
    """Hidden spaces, and the action on every weight once they are matched by weights."""
    from chiralize.body.tensors import parse_spec
    from chiralize.problem.preparation import prepare

    from chiralize.errors import ChiralizeError
    from chiralize.infer.hidden.match import FromWeights
    from chiralize.problem.mirror import analyse, infer, weight_action
    from tests.support.zoo import CASES

    table: dict[str, Any] = {}
    for name, case in CASES.items():
        try:
            network = prepare(case.model(), parse_spec(case.spec), *case.example(), entry=case.entry)
            found = [[space.label, space.size, space.sign_free] for space in infer(network).spaces()]
            graph = network.graph()
            repmap, _ = analyse(network, FromWeights(graph))
            hidden = weight_action(graph, repmap).hidden
            table[name] = {"spaces": found, "hidden": {key: digest(str(rep)) for key, rep in sorted(hidden.items())}}
        except ChiralizeError as error:
            table[name] = {"refused": code(error)}
    written(path, table)


def digest(text: str) -> str:
    """A text in eight characters."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def conversions(path: Path) -> None:
    """Every method that applies to a network of the zoo, without inputs."""
    table: dict[str, Any] = {}
    for name, method, convert in _conversions():
        table[f"{name}/{method}"] = convert("folded" if method != "average" else "auto")
    written(path, table)


def forms(path: Path) -> None:
    """The answers of results of `match` in every form, on one seeded input."""
    table: dict[str, Any] = {}
    for name, method, convert in _conversions():
        if method == "match":
            table[name] = {form: convert(form).get("answer", convert(form).get("refused")) for form in FORMS}
    written(path, table)


def _conversions() -> Iterator[tuple[str, str, Callable[[str], dict[str, Any]]]]:
    """Network, method, and what converts it in a form."""
    from tests.support.zoo import CASES

    for name, case in CASES.items():
        for method in METHODS:
            if method in case.only:
                yield name, method, lambda form, case=case, method=method: _converted(case, method, form)


def _converted(case: Any, method: str, form: str) -> dict[str, Any]:
    """What a conversion gives: verdicts, figures, weights and one answer."""
    import yaml

    import chiralize
    from chiralize.errors import ChiralizeError

    try:
        args, kwargs = case.example()
        model, spec = case.model(), yaml.safe_load(case.spec)
        result: Any = chiralize.chiralize(model, spec, args, kwargs, method=method, form=form, entry=case.entry)
    except ChiralizeError as error:
        return {"refused": code(error)}
    report = result.chirality.report
    row: dict[str, Any] = {"method": report.method, "form": report.form, "passed": report.passed}
    row["proved"] = report.certificate is not None and report.certificate.passed
    if report.drift is not None:
        outputs = report.drift.outputs
        row |= {"rho": short(report.drift.rho), "gap": [short(output.gap) for output in outputs]}
        row["lean"] = [short(output.lean) for output in outputs]
        row["shift"] = [short(output.shift) for output in outputs]
    degeneracy = report.judgement.degeneracy
    if degeneracy is not None:
        row["odd"] = [list(map(short, degeneracy.odd_before)), list(map(short, degeneracy.odd_after))]
    row["weights"] = _norms(result)
    row["answer"] = _answer(case, result)
    return row


def _norms(module: Any) -> dict[str, float | None]:
    """The Frobenius norm of every floating-point tensor of a module's state."""
    state = module.state_dict()
    return {name: short(float(value.double().norm())) for name, value in state.items() if value.is_floating_point()}


def _answer(case: Any, module: Any) -> list[float | None]:
    """Sum and sum of squares of every output of one call on seeded inputs; none where it takes other states."""
    import copy

    import torch
    from torch.utils import _pytree as pytree

    (args, kwargs), model = case.steps(1)[0], copy.deepcopy(module)
    forward = getattr(model, case.entry, model) if case.entry != "forward" else model
    try:
        with torch.no_grad():
            leaves = pytree.tree_leaves(forward(*args, **kwargs))
    except Exception:  # an average takes the states of both views
        return []
    tensors = [leaf.double() for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return [short(float(value)) for tensor in tensors for value in (tensor.sum(), tensor.square().sum())]


# ---- the lifter --------------------------------------------------------------------------------------------------
def lifter(path: Path) -> None:
    """Gap, lean and pairs of joints of the shipped lifter on the shipped inputs."""
    import numpy as np
    import torch

    import chiralize

    folder = ROOT / "chiralize" / "storage" / "pretrained"
    module = torch.export.load(folder / "lifter27.pt2").module()
    poses = np.load(folder / "lifter27_inputs.npz")
    inputs = torch.from_numpy(next(iter(poses.values()))[:256]).float()
    report = chiralize.audit(module, "h36m", inputs[:2], calibration=inputs)
    rows: dict[str, Any] = {}
    for output in report.network.outputs:
        pairs = {pair.label: short(pair.gap) for pair in report.network.pairs if pair.output == output.index}
        rows[f"output {output.index}"] = {"gap": short(output.gap), "lean": short(output.lean), "pairs": pairs}
    written(path, rows)


# ---- specifications ----------------------------------------------------------------------------------------------
LAYOUTS = ("b j d", "b t j d", "b (j d)", "b (d j)", "b d t j", "b t (j d)", "b t (d j)", "b d j", "b d t j m")
SIZES = {"b": 2, "t": 3, "m": 2}


def skeletons(path: Path) -> None:
    """T of every shipped skeleton under the layouts, by the digest of its text; whole for robots."""
    from math import prod

    from chiralize.body.skeleton.catalog import shipped
    from chiralize.body.tensors import load_spec, resolve

    from chiralize.errors import ChiralizeError

    table: dict[str, Any] = {}
    for name in shipped():
        spec = load_spec(name)
        sizes = {**SIZES, "j": len(spec.skeleton.joints), "d": len(spec.skeleton.dims)}
        row: dict[str, Any] = {}
        for layout in LAYOUTS if spec.inputs is None else ():
            shape: list[int] = []
            for word in layout.replace("(", "").replace(")", "").split():
                shape.append(sizes[word])
            if "(" in layout:
                start = layout[: layout.index("(")].split()
                merged = layout[layout.index("(") + 1 : layout.index(")")].split()
                shape = [sizes[word] for word in start] + [prod(sizes[word] for word in merged)]
            try:
                asked = load_spec(name, input_layouts=[layout], output_layouts=[layout])
                resolved = resolve(asked, [tuple(shape)], [tuple(shape)])
                row[layout] = digest(str(resolved.inputs[0]))
            except ChiralizeError as error:
                row[layout] = code(error)
        if spec.inputs is not None:
            row["spec"] = [_by_entries(spec, "inputs"), _by_entries(spec, "outputs")]
        table[name] = row
    written(path, table)


def _by_entries(spec: Any, io: str) -> list[str]:
    """T on every tensor that a file describes, whole."""
    from chiralize.body.tensors import resolve

    shapes: dict[str, list[tuple[int, ...]]] = {"inputs": [], "outputs": []}
    for side in shapes:
        for entry in getattr(spec, side) or ():
            size = sum(field.size(spec.skeleton) for field in entry.fields) if entry.fields else 0
            shapes[side].append((2, size) if size else (2, len(spec.skeleton.joints) * len(spec.skeleton.dims)))
    resolved = resolve(spec, shapes["inputs"], shapes["outputs"])
    return [str(rep) for rep in getattr(resolved, io)]


# ---- what was measured over days ------------------------------------------------------------------------------------
def public(path: Path) -> None:
    """The rows of the benchmark on public networks, without times of other machines."""
    source = ROOT / "benchmarks" / "public_models" / "results.csv"
    columns = ("model", "repository", "commit", "parameters", "spaces", "match_residual", "project_residual", "result")
    with source.open(newline="") as file, path.open("w", newline="") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        for row in csv.DictReader(file):
            writer.writerow({column: row[column] for column in columns})


def accuracy(path: Path) -> None:
    """The rows that later steps are held to: the defaults on twelve networks, and narrow calibrations."""
    with path.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["table", "row"])
        for source in (ROOT / "benchmarks/accuracy/defaults.csv", ROOT / "benchmarks/narrow/results.csv"):
            for line in source.read_text(encoding="utf-8").splitlines():
                writer.writerow([source.parent.name, line])


MAKERS: dict[str, Callable[[Path], None]] = {
    "spaces.json": spaces,
    "conversions.json": conversions,
    "lifter.json": lifter,
    "skeletons.json": skeletons,
    "public.csv": public,
    "accuracy.csv": accuracy,
    "forms.json": forms,
}

if __name__ == "__main__":
    main(sys.argv[1:])
