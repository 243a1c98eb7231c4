"""One recipe from start to end: build, scramble, convert by every method, judge. The result is plain JSON.

With several draws of the weights everything is converted and judged again with each of them. How much of the odd part
of an output a conversion keeps depends on the draw: the median over the draws counts. The flip average keeps all of
it: `average` is judged once.
"""

from __future__ import annotations

import copy
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

import chiralize
from benchmarks.public_models.judge import judge
from benchmarks.public_models.recipe import Recipe, load_weights
from benchmarks.public_models.scramble import scramble, settle
from chiralize.commands.convert import Request, convert
from chiralize.commands.onnx import write_onnx
from chiralize.errors import ChiralizeError
from chiralize.errors.words import first_line
from chiralize.problem.mirror import infer
from chiralize.problem.preparation import prepare

METHODS = ("match", "project", "average")
_LONGEST = 600  # seconds that `verify` may take
_KEPT, _NONE = 0.5, 0.01  # of the original's odd share, which counts where it is more than nothing


def attempt(recipe: Recipe, repos: Path, methods: tuple[str, ...] = METHODS, draws: int = 1) -> dict[str, Any]:
    """Everything about one model; `error` where it cannot even be built. `shipped`: with its checkpoint, if any."""
    torch.manual_seed(0)
    found: dict[str, Any] = {"name": recipe.name, "repository": recipe.repository, "commit": recipe.commit}
    found |= {"asymmetric": recipe.asymmetric, "expected": recipe.refusal}
    checkout = repos / recipe.folder
    if not checkout.is_dir():
        return found | {"error": f"no checkout at {checkout}"}
    try:
        trained = recipe.build(checkout).eval()
        model, found["stayed"] = _drawn(trained, recipe, 0)
        found["parameters"] = sum(parameter.numel() for parameter in model.parameters())
        found["magnitude"] = _magnitude(model, recipe)
    except Exception as error:  # noqa: BLE001 - other people's code
        return found | {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{recipe.name}.yaml"
        path.write_text(json.dumps(recipe.spec), encoding="utf-8")  # no anchors where two entries are one object
        found |= _propagated(model, path, recipe)
        others = [_drawn(trained, recipe, seed)[0] for seed in range(1, draws)]
        found["methods"] = {
            method: _together([_converted(own, path, recipe, method) for own in _of_draws(method, model, others)])
            for method in methods
        }
        if "residual" in found["methods"].get("match", {}):
            found["onnx"] = _as_onnx(model, path, recipe)
        if recipe.checkpoint and (checkout / recipe.checkpoint).is_file():
            try:
                (recipe.load or load_weights)(trained, checkout / recipe.checkpoint)
            except Exception as error:  # noqa: BLE001
                return found | {"error": f"{recipe.checkpoint}: {type(error).__name__}: {first_line(error)}"}
            found["shipped"] = {method: _together([_converted(trained, path, recipe, method)]) for method in methods}
    return found


def _drawn(model: torch.nn.Module, recipe: Recipe, seed: int) -> tuple[torch.nn.Module, list[str]]:
    """A copy with drawn weights and statistics, and the names of what stayed."""
    own = copy.deepcopy(model)
    stayed = scramble(own, recipe.keep, recipe.positive, seed)
    settle(own, recipe.inputs(), seed)
    return own, stayed


def _of_draws(method: str, first: torch.nn.Module, others: list[torch.nn.Module]) -> list[torch.nn.Module]:
    return [first] if method == "average" else [first, *others]


def _magnitude(model: torch.nn.Module, recipe: Recipe) -> float:
    """Largest output of the scrambled network."""
    with torch.no_grad():
        results = copy.deepcopy(model)(*recipe.inputs())
    leaves = [leaf for leaf in pytree.tree_leaves(results) if isinstance(leaf, torch.Tensor)]
    return max((float(leaf.abs().max()) for leaf in leaves), default=0.0)


# ---- the graph ------------------------------------------------------------------------------------------------------
def _propagated(model: torch.nn.Module, path: Path, recipe: Recipe) -> dict[str, Any]:
    """Size of the graph, and how long the propagation takes (the faster of two)."""
    try:
        start = time.perf_counter()
        network = prepare(model, chiralize_spec(path), recipe.inputs(), entry=recipe.options.get("entry", "forward"))
        captured = time.perf_counter() - start
        nodes = [node for node in network.graph().nodes if node.target != "getitem"]
    except ChiralizeError as error:
        return {"refusal": str(error)}
    found: dict[str, Any] = {
        "nodes": len(nodes), "ops": len({node.target for node in nodes}), "capture_s": captured,
        "targets": dict(Counter(node.target for node in nodes)),
    }  # fmt: skip
    try:
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            found["spaces"] = len(infer(network).result().spaces)
            seconds.append(time.perf_counter() - start)
        return found | {"propagation_s": min(seconds)}
    except ChiralizeError as error:
        return found | {"refusal": str(error)}


def chiralize_spec(path: Path) -> Any:
    """The specification as chiralize reads it from a user's file."""
    from chiralize.body.tensors import load_spec

    return load_spec(path)


# ---- one method -----------------------------------------------------------------------------------------------------
def _converted(model: torch.nn.Module, path: Path, recipe: Recipe, method: str) -> dict[str, Any]:
    inputs = recipe.inputs()
    start = time.perf_counter()
    try:
        result: Any = chiralize.chiralize(model, path, inputs, method=method, **recipe.options)
    except ChiralizeError as error:
        return {"refusal": str(error), "seconds": time.perf_counter() - start}
    except Exception as error:  # noqa: BLE001 - a crash is a result as well
        return {"refusal": f"CRASH {type(error).__name__}: {error}", "trace": traceback.format_exc()}
    seconds = time.perf_counter() - start
    report = result.chirality.report
    moved = {own.name: own.zeroed for own in report.changes.moved if own.zeroed}
    told = [name for name in model.state_dict() if any(name in note for note in report.notes)]
    verdict = judge(model, result, recipe.spec, inputs, named=(*moved, *told), steps=recipe.steps)
    problems = list(verdict.problems)
    if report.judgement.certificate is None or not report.judgement.certificate.passed:
        problems.append("no complete certificate")
    return {
        "seconds": seconds, "residual": verdict.residual, "gap": verdict.gap, "dtype": verdict.dtype,
        "odd": verdict.odd, "dead": verdict.dead, "ignored": verdict.ignored, "zeroed": moved, "form": report.form,
        "rho": report.drift.rho if report.drift else None, "problems": problems, "notes": list(report.notes),
        "unchanged": report.way.unchanged,
        "forced": list(report.judgement.degeneracy.forced) if report.judgement.degeneracy else [],
        "certified": report.judgement.certificate.ops if report.judgement.certificate else 0,
    }  # fmt: skip


def _together(draws: list[dict[str, Any]]) -> dict[str, Any]:
    """What holds of all draws. kept: for every output, the part of the original's odd share that each draw keeps."""
    refused = [own for own in draws if "residual" not in own]
    if refused:
        return refused[0]
    found = draws[0] | {"residual": max(own["residual"] for own in draws), "kept": []}
    found["problems"] = list(dict.fromkeys(text for own in draws for text in own["problems"]))
    for place, pairs in enumerate(zip(*(own["odd"] for own in draws), strict=True)):
        kept = [after / before for before, after in pairs if before > _NONE]
        found["kept"].append(kept)
        if kept and statistics.median(kept) < _KEPT:
            before, after = draws[0]["odd"][place]
            told = f"{before:.3f} -> {after:.3f}" if len(draws) == 1 else f"median of {len(draws)} draws is too little"
            found["problems"].append(f"odd share of output {place}: {told}")
    return found


# ---- ONNX -----------------------------------------------------------------------------------------------------------
def _as_onnx(model: torch.nn.Module, path: Path, recipe: Recipe) -> dict[str, Any]:
    """`match` once more, written as ONNX and verified (its exit code). parity: in units of the output's scale."""
    file = path.with_suffix(".onnx")
    options = dict(recipe.options)
    entry = options.pop("entry", "forward")
    try:
        network = prepare(model, chiralize_spec(path), recipe.inputs(), entry=entry)
        written = write_onnx(convert(network, recipe.name, Request("match", **options)), network, file)
    except ChiralizeError as error:
        return {"refusal": str(error).replace(f"{file.parent}/", "")}
    except Exception as error:  # noqa: BLE001 - a crash is a result as well
        return {"refusal": f"CRASH {type(error).__name__}: {error}", "trace": traceback.format_exc()}
    note = written.report.notes[-1]
    command = [sys.executable, "-m", "chiralize", "verify", str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        return {"refusal": f"verify of {file.name} was not ready after {_LONGEST} s"}
    parity = re.search(r"at most ([-\d.e]+) of", note)
    return {"parity": float(parity[1]) if parity else None, "note": note, "verify": done.returncode,
            "said": "" if done.returncode == 0 else done.stdout + done.stderr}  # fmt: skip
