"""`chiralize skeleton`: list, show, lint, infer and import. Data goes to standard output, the rest to standard error.

None of it needs torch. Imports of `body/` stand within the commands, so that `--help` does not wait for them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiralize.cli.console import say
from chiralize.cli.options import Format
from chiralize.errors import OutputFileError, UnpairedJointError, WrongValueError
from chiralize.errors.words import when

if TYPE_CHECKING:
    from chiralize.body.skeleton import Skeleton
    from chiralize.body.spec import Spec

app = typer.Typer(help="Skeletons: which joints are left and right of each other.", no_args_is_help=True)
FormatOption = Annotated[Format, typer.Option("--format", help="text for people, json for programs.")]
OutOption = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the skeleton file here.")]
UNFINISHED = 2
"""Exit status of files with errors, and of a proposal that nobody accepted: scripts must not take it for a result."""


@app.command("list")
def list_command(output_format: FormatOption = Format.text) -> None:
    """List the shipped skeletons, robots with the entries of their observations among them.

    Example:

        chiralize skeleton list
    """
    from rich.table import Table

    from chiralize.body.catalog import load_skeleton, shipped

    skeletons = [load_skeleton(name) for name in shipped()]
    if output_format is Format.json:
        _print_json([_summary(skeleton) for skeleton in skeletons])
        return
    table = Table("name", "joints", "pairs", "dims", "aliases", box=None, pad_edge=False)
    for skeleton in skeletons:
        counts = str(len(skeleton.joints)), str(len(skeleton.pairs))
        table.add_row(skeleton.name, *counts, " ".join(skeleton.dims), ", ".join(skeleton.aliases))
    _print_rich(table)


def _summary(skeleton: Skeleton) -> dict[str, object]:
    """A row of the list."""
    return {
        "name": skeleton.name,
        "aliases": list(skeleton.aliases),
        "joints": len(skeleton.joints),
        "pairs": len(skeleton.pairs),
        "dims": list(skeleton.dims),
    }


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A shipped name, an alias, or a file.")],
    output_format: FormatOption = Format.text,
) -> None:
    """Show joints, partners, signs and edges, and what the mirror does to every entry of an observation.

    With --format json it prints a file that every command reads.

    Examples:

        chiralize skeleton show h36m

        chiralize skeleton show coco --format json > mine.yaml
    """
    from chiralize.body.spec import load_spec

    spec = load_spec(name)
    for notice in spec.notices:
        say(f"note: {notice}")
    if output_format is Format.json:
        _print_json(_as_file(spec))
        return
    for title, mirror in spec.named().items():
        _print_skeleton(mirror.skeleton, title if len(spec.named()) > 1 else "")
        _print_entries(mirror)


def _as_file(spec: Spec) -> dict[str, object]:
    """A specification in the keys of a file; of one that describes no tensors, its skeleton alone."""
    if spec.inputs is None and spec.outputs is None and len(spec.named()) == 1:
        return spec.skeleton.to_dict()
    return {key: value for key, value in spec.to_dict().items() if key not in ("invariant", "notices")}


def _print_skeleton(skeleton: Skeleton, mirror: str) -> None:
    """The joints as a table."""
    from rich.table import Table

    aliases = when(skeleton.aliases, f" ({', '.join(skeleton.aliases)})")
    title = f"{skeleton.name}{aliases}{when(mirror, f', mirror {mirror}')}"
    typer.echo(f"{title}: {len(skeleton.joints)} joints, {len(skeleton.pairs)} pairs")
    negated = ", ".join(skeleton.negate) or "joint by joint, or nothing"
    typer.echo(f"negated: {negated}; lateral axis: {skeleton.lateral or 'not given'}")
    table = Table("", "joint", "side", "partner", "signs", box=None, pad_edge=False)
    signs = {skeleton.joints[index]: row for index, row in enumerate(_signs(skeleton)) if -1 in row}
    for index, joint in enumerate(skeleton.joints):
        partner = skeleton.partner(index)
        beside = skeleton.joints[partner] if partner != index else ""
        words = " ".join("+" if sign > 0 else "-" for sign in signs.get(joint, ()))
        table.add_row(str(index), joint, skeleton.side(index) or "", beside, words)
    _print_rich(table)
    edges = ", ".join(f"{skeleton.joints[one]}-{skeleton.joints[other]}" for one, other in skeleton.edges)
    for label, text in (("edges", edges), ("source", skeleton.source), ("note", skeleton.note)):
        if text:
            typer.echo(f"{label}: {text}")


def _signs(skeleton: Skeleton) -> list[list[int]]:
    """The sign of every coordinate of every joint: (T x)[joint, dim] = sign x[partner, dim]."""
    action = skeleton.merged_action()
    return action.sign.reshape(len(skeleton.joints), len(skeleton.dims)).tolist()


def _print_entries(spec: Spec) -> None:
    """Every entry of tensors that a specification describes by blocks, and where the mirror takes it."""
    from chiralize.body.lint import listing
    from chiralize.body.resolve import resolve

    tensors = (*(spec.inputs or ()), *(spec.outputs or ()))
    if not tensors or any(tensor.fields is None or tensor.layout for tensor in tensors):
        return  # of a pose the table of joints says all, and its sizes are those of a network
    sizes: dict[str, list[tuple[int, int]]] = {"inputs": [], "outputs": []}
    for io, entries in (("inputs", spec.inputs), ("outputs", spec.outputs)):
        for entry in entries or ():
            body = entry.body(spec.skeleton)
            sizes[io].append((1, sum(len(block.run(body).labels) for block in entry.fields or ())))
    resolved = resolve(spec, sizes["inputs"], sizes["outputs"])
    for tensor in (*resolved.inputs, *resolved.outputs):
        rows = listing(tensor)
        typer.echo(f"\n{tensor.where}, {len(rows)} entries; `5 a -> -9 b` means that the mirror puts -x[9] at 5")
        for row in rows:
            typer.echo(str(row))


@app.command("lint")
def lint_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE|NAME...", help="Files, or shipped names.")],
    output_format: FormatOption = Format.text,
) -> None:
    """Check files: exit 0 where they are clean or have warnings only, 2 where they have errors.

    Example:

        chiralize skeleton lint my-body.yaml
    """
    from chiralize.body.lint import lint_file

    # All files are read before the command fails, so that one run shows every error.
    findings = [finding for source in files for finding in lint_file(source)]
    if output_format is Format.json:
        _print_json([finding.to_dict() for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.where}: {finding.level}: {finding.message}")
            if finding.remedy:
                typer.echo(f"    Fix: {finding.remedy}")
    errors = sum(finding.level == "error" for finding in findings)
    say(f"{len(files)} files, {errors} errors, {len(findings) - errors} warnings")
    if errors:
        raise typer.Exit(UNFINISHED)


@app.command("infer")
def infer_command(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Names of joints, in the order of the tensors.")
    ],
    accept: Annotated[bool, typer.Option("--accept", help="Take the proposal: print the skeleton file.")] = False,
    output: OutOption = None,
) -> None:
    """Propose pairs from the names of joints; exit 2 until the proposal is accepted (--accept or -o).

    Example:

        chiralize skeleton infer nose left_eye right_eye --accept > face.yaml
    """
    from chiralize.body.naming import infer_pairs
    from chiralize.body.skeleton import Skeleton

    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise WrongValueError("names", f"joint {twice[0]!r} is listed twice", "list each joint once")
    proposal = infer_pairs(names)
    if accept or output is not None:
        if proposal.sided:
            facts = f"joint {names[proposal.sided[0]]!r} names a side but has no partner"
            raise UnpairedJointError("infer", facts, "correct the name, or write the file by hand")
        _write(Skeleton("inferred", tuple(names), proposal.pairs, source="pairs inferred from the names"), output)
        return
    for left, right in proposal.pairs:
        typer.echo(f"pair      {names[left]}  {names[right]}")
    for label, indices in (("center", proposal.center), ("unpaired", proposal.sided)):
        for index in indices:
            typer.echo(f"{label:8}  {names[index]}")
    say(f"proposed: {len(proposal.pairs)} pairs; accept with --accept or -o FILE")
    raise typer.Exit(UNFINISHED)


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The other tool's file; it is never executed.")],
    output: OutOption = None,
) -> None:
    """Turn the file of another tool into a skeleton file: mmpose, COCO, ultralytics, detectron2, DeepLabCut, SLEAP.

    Example:

        chiralize skeleton import configs/_base_/datasets/h36m.py -o h36m.yaml
    """
    from chiralize.body.importing import import_skeleton
    from chiralize.body.lint import lint_skeleton

    notices: list[str] = []
    skeleton = import_skeleton(file, notices)
    for text in (
        *(f"note: {notice}" for notice in notices),
        *(f"warning: {w.message}" for w in lint_skeleton(skeleton)),
    ):
        say(text)
    _write(skeleton, output)


def _write(skeleton: Skeleton, output: Path | None) -> None:
    """Write a skeleton file, or print it. Raises OutputFileError."""
    from chiralize.body.document import to_yaml

    text = to_yaml(skeleton.to_dict())
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputFileError(str(output), f"{error.strerror}", "choose another place") from error
    say(f"wrote {output}")


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_rich(renderable: Any) -> None:
    """Print a table without markup: rich would take a name in brackets, such as [x], for a style."""
    from rich.console import Console

    Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True).print(renderable)
