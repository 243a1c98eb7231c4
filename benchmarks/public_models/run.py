"""Convert public networks and judge the results:

    python -m benchmarks.public_models.run --repos CHECKOUTS [NAME ...]

The files of `recipes` say how a network is built and what a user would specify (`recipe.Recipe`); CHECKOUTS has a
folder `owner+name` for every repository, at the commit that its recipe names. Some need einops, torch-dct, easydict
and scipy. Each model runs in a process of its own, so that a crash does not end the run; `results.csv` has a row for
each, `--details FOLDER` keeps everything that was found, as JSON.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.public_models.recipe import Recipe, all_recipes

ROOT = Path(__file__).parents[2]
RECIPES = Path(__file__).with_name("recipes")
METHODS = ("match", "project", "average")
COLUMNS = (
    *("model", "repository", "commit", "weights", "parameters", "ops", "nodes", "spaces", "propagation_s", "ms_per_op"),
    *(f"{method}_{what}" for method in METHODS for what in ("residual", "seconds")),
    *("dtype", "form", "odd_share", "odd_kept", "onnx_parity", "result", "refusal"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 where a model that should be converted was not."""
    options = _options(argv)
    recipes = _chosen(options.names, options.recipes)
    if options.one:
        from benchmarks.public_models.trial import attempt

        found = attempt(recipes[0], options.repos, tuple(options.methods), options.draws)
        Path(options.one).write_text(json.dumps(found))
        return 0
    rows: list[dict[str, Any]] = []
    console = Console(width=None if sys.stdout.isatty() else 190)
    for place, recipe in enumerate(recipes):
        console.print(f"[dim]{place + 1}/{len(recipes)} {recipe.name}")
        found = _apart(recipe, options)
        if options.details:
            options.details.mkdir(parents=True, exist_ok=True)
            (options.details / f"{recipe.name}.json").write_text(json.dumps(found, indent=1))
        rows += _rows(found)
    with options.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    console.print(_table(rows))
    for row in rows:
        if row["result"] != "ok":
            console.print(f"[bold]{row['model']}[/] ({row['weights']}): {row['result']}", highlight=False)
            console.print(f"    {row['refusal']}", highlight=False, markup=False)
    return 0 if all(row["result"] in ("ok", "refused, as it should be") for row in rows) else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.public_models.run", description=__doc__)
    parser.add_argument("names", nargs="*", help="models to try, globs too (all)")
    parser.add_argument("--recipes", type=Path, default=RECIPES, help="folder with the recipes, Python files (ours)")
    parser.add_argument("--repos", type=Path, required=True, help="folder with the checkouts, owner+name each")
    parser.add_argument("--csv", type=Path, default=Path("results.csv"), help="table to write (results.csv)")
    parser.add_argument("--details", type=Path, help="folder for one JSON file per model")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one model (600)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--draws", type=int, default=1, help="draws of the weights that are converted and judged (1)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _chosen(names: Sequence[str], folder: Path) -> list[Recipe]:
    known = all_recipes(folder)
    found = [own for own in known if not names or any(fnmatch.fnmatchcase(own.name, name) for name in names)]
    if not found:
        raise SystemExit(f"no model is called {' or '.join(names)}: {', '.join(own.name for own in known)}")
    return found


def _apart(recipe: Recipe, options: argparse.Namespace) -> dict[str, Any]:
    """The trial of one recipe in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        command = [sys.executable, "-m", "benchmarks.public_models.run", recipe.name, "--one", str(path)]
        command += ["--recipes", str(options.recipes.resolve()), "--repos", str(options.repos.resolve())]
        command += ["--methods", *options.methods, "--draws", str(options.draws)]
        base: dict[str, Any] = {"name": recipe.name, "repository": recipe.repository, "commit": recipe.commit}
        try:
            environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=options.timeout, env=environment
            )
        except subprocess.TimeoutExpired:
            return base | {"error": f"not ready after {options.timeout:.0f} s"}
        if not path.is_file():
            return base | {"error": (done.stderr.strip().splitlines() or ["no result"])[-1], "trace": done.stderr}
        return json.loads(path.read_text())


# ---- the table ------------------------------------------------------------------------------------------------------
def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for scrambled weights, one for shipped ones."""
    rows = [_row(found, "scrambled", found.get("methods", {})) | _onnx(found.get("onnx", {}))]
    return rows + ([_row(found, "shipped", found["shipped"])] if "shipped" in found else [])


def _onnx(found: dict[str, Any]) -> dict[str, Any]:
    """How near onnxruntime is, or why there is no file."""
    if "refusal" in found:
        return {"onnx_parity": f"none: {found['refusal']}"}
    if not found:
        return {}
    return {"onnx_parity": f"{found['parity']:.1e}" + (f", verify exits {found['verify']}" if found["verify"] else "")}


def _row(found: dict[str, Any], weights: str, methods: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"model": found["name"], "weights": weights}
    row |= {key: found.get(key, "") for key in ("repository", "commit", "parameters", "ops", "nodes", "spaces")}
    if "propagation_s" in found:
        row["propagation_s"] = f"{found['propagation_s']:.3f}"
        row["ms_per_op"] = f"{1000 * found['propagation_s'] / max(found['nodes'], 1):.2f}"
    problems: list[str] = []
    refusals: list[str] = []
    for method, own in methods.items():
        if "residual" in own:
            row[f"{method}_residual"], row[f"{method}_seconds"] = f"{own['residual']:.1e}", f"{own['seconds']:.1f}"
            row["dtype"] = own["dtype"]
            problems += [f"{method}: {text}" for text in own["problems"]]
        else:
            refusals.append(f"{method}: {own['refusal']}")
            problems.append(f"{method}: refused")
    row["form"] = methods.get("match", {}).get("form", "")
    odd = methods.get("match", methods.get("project", {})).get("odd")
    row["odd_share"] = " ".join(f"{before:.2f}->{after:.2f}" for before, after in odd or ())
    drawn = [_kept(method, own) for method, own in methods.items() if method != "average"]  # which is the flip average
    row["odd_kept"] = "; ".join(filter(None, drawn))
    if "error" in found:
        problems.insert(0, f"error: {found['error']}")
    right = all(f"{found.get('expected')} " in text for text in refusals)
    if found.get("asymmetric") and right and set(problems) == {"match: refused", "project: refused"}:
        row["result"] = "refused, as it should be"
    else:
        row["result"] = "; ".join(problems) or "ok"
    row["refusal"] = " | ".join(dict.fromkeys(refusals))
    return row


def _kept(method: str, own: dict[str, Any]) -> str:
    """The part of the odd share that every draw keeps, where there are several."""
    outputs = [kept for kept in own.get("kept", ()) if len(kept) > 1]
    return f"{method} {' | '.join(' '.join(f'{ratio:.2f}' for ratio in kept) for kept in outputs)}" if outputs else ""


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="max |g(Tx) - T g(x)| / max |g|")
    for name in ("model", "weights", "ops", "nodes", "spaces", "ms", "ms/op", *METHODS, "odd share", "onnx", "result"):
        table.add_column(name, overflow="fold", justify="left" if name in ("model", "weights", "result") else "right")
    for row in rows:
        milliseconds = f"{1000 * float(row['propagation_s']):.0f}" if row["propagation_s"] else ""
        cells = [row["model"], row["weights"], row["ops"], row["nodes"], row["spaces"], milliseconds, row["ms_per_op"]]
        cells += [row[f"{method}_residual"] for method in METHODS] + [
            row["odd_share"],
            row["onnx_parity"][:30],
            row["result"][:60],
        ]
        table.add_row(*map(str, cells), style="" if row["result"] == "ok" else "yellow")
    return table


if __name__ == "__main__":
    raise SystemExit(main())
