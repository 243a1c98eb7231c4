"""`chiralize skeleton`: list, show, lint, infer, import and check. Data goes to stdout, the rest to stderr.

Here are the commands that look at skeletons: list, show and lint. Those that make or check one from something else are
in `skeleton_files`. Each prints what a function of `body/` gives it, as text or as JSON. Imports of `body/` stand
within the commands, so that `--help` does not wait for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiralize.cli.options import Format as OutputFormat
from chiralize.cli.options import FormatOption, say
from chiralize.cli.printing import print_json, say_notices
from chiralize.cli.skeleton_files import check_command, import_command, infer_command
from chiralize.cli.targets import check_apart
from chiralize.errors.words import when

if TYPE_CHECKING:
    from chiralize.body.skeleton.lint import Finding
    from chiralize.body.skeleton.skeleton import Skeleton
    from chiralize.body.tensors.conversion import ConversionSpec
    from chiralize.body.tensors.listing import ListedEntry

app = typer.Typer(
    help="Skeletons: which joints are left and right of each other.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_command(output_format: FormatOption = OutputFormat.text) -> None:
    """The shipped skeletons, and robots with what their policies observe.

    Example: chiralize skeleton list --format json
    """
    from chiralize.body.skeleton.catalog import load_skeleton, shipped, shipped_robots

    skeletons = [load_skeleton(name) for name in shipped()]
    robots = [load_skeleton(name) for name in shipped_robots()]
    if output_format is OutputFormat.json:
        print_json([_summary(skeleton) for skeleton in (*skeletons, *robots)])
        return
    width = max(len(skeleton.name) for skeleton in (*skeletons, *robots))
    typer.echo(f"{'name':{width}}  joints  pairs  center  dims   aliases")
    for skeleton in skeletons:
        typer.echo(_line(skeleton, width))
    typer.echo("\nrobots, with the entries of an observation and an action (chiralize skeleton show NAME)")
    for robot in robots:
        typer.echo(_line(robot, width))


def _line(skeleton: Skeleton, width: int) -> str:
    """A row of the list. width: of the first column."""
    return (
        f"{skeleton.name:{width}}  {len(skeleton.joints):6d}  {len(skeleton.pairs):5d}  {len(skeleton.center):6d}  "
        f"{' '.join(skeleton.dims):5s}  {', '.join(skeleton.aliases)}".rstrip()
    )


def _summary(skeleton: Skeleton) -> dict[str, object]:
    """The same for JSON: counts of joints, pairs and joints of the middle, in place of their names."""
    return {
        "name": skeleton.name,
        "aliases": list(skeleton.aliases),
        "joints": len(skeleton.joints),
        "pairs": len(skeleton.pairs),
        "center": len(skeleton.center),
        "dims": list(skeleton.dims),
    }


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A shipped name, an alias, or a file.")],
    output_format: FormatOption = OutputFormat.text,
    image: Annotated[Path | None, typer.Option("--image", help="Also draw it into this .png, .svg or .pdf.")] = None,
) -> None:
    """Joints, partners, signs and edges of one skeleton; of a specification, what T does to every input and output.

    Of fields every entry is listed.

    Example: chiralize skeleton show h36m --image h36m.png
    """
    from chiralize.body.tensors.conversion import doubts_of, load_spec
    from chiralize.body.tensors.listing import listed_tensors

    spec = load_spec(name)
    skeleton = spec.skeleton
    # Before anything is printed: a picture must not be written over the file that it shows.
    check_apart({"--image": image}, {"the skeleton itself": Path(name)})
    say_notices([*spec.notices, *doubts_of(spec)])
    tensors = dict(listed_tensors(spec))
    if output_format is OutputFormat.json:
        print_json(skeleton.to_dict() | _entries(tensors) | _actions(spec))
    else:
        _draw(skeleton)
        _list_actions(spec)
        _list_entries(tensors)
    if image is not None:
        from chiralize.report.skeleton_picture import save_picture

        save_picture(skeleton, image)
        say(f"wrote {image}")


def _entries(tensors: Mapping[str, list[ListedEntry]]) -> dict[str, object]:
    """The entries of tensors of fields for the JSON output; nothing where there are none."""
    listed = dict[str, object]()
    for where, rows in tensors.items():
        listed[where] = [row.to_dict() for row in rows]
    return {"entries": listed} if listed else {}


def _actions(spec: ConversionSpec) -> dict[str, object]:
    """T on every tensor for the JSON output; nothing where none is described.

    {"action": {"input 0": ...}} for the one mirror of a file; {"action": {"left_right": {"input 0": ...}, ...}} where
    mirrors have names.
    """
    from chiralize.body.tensors.acting import acted_on

    by_mirror: dict[str, object] = {}
    for name, mirror in spec.mirrors().items():
        tensors = {tensor.where: tensor.to_dict() for tensor in acted_on(mirror)}
        if tensors:
            by_mirror[name] = tensors
    if not by_mirror:
        return {}
    return {"action": by_mirror if spec.named else next(iter(by_mirror.values()))}


def _list_actions(spec: ConversionSpec) -> None:
    """Print what T does to every tensor that is described, by mirror."""
    from chiralize.body.tensors.acting import acted_on

    for name, mirror in spec.mirrors().items():
        tensors = list(acted_on(mirror))
        if tensors:
            typer.echo(f"\nwhat {f'the mirror {name}' if spec.named else 'the mirror'} does")
        for tensor in tensors:
            typer.echo(f"  {tensor}")


def _list_entries(tensors: Mapping[str, list[ListedEntry]]) -> None:
    """Print every entry of tensors of fields, and where the mirror takes it.

    The heading says how to read a row: (T x)[5] = -x[9].
    """
    for where, rows in tensors.items():
        typer.echo(f"\n{where}, {len(rows)} entries; `5 a -> -9 b` means that the mirror puts -x[9] at 5")
        for row in rows:
            typer.echo(str(row))


def _draw(skeleton: Skeleton) -> None:
    """Print the joints as a table, and the edges as a tree for each connected part."""
    import sys

    from rich.console import Console

    from chiralize.report.skeleton_picture import table, tree

    # Names are printed without markup: rich would take a name in brackets, such as [x], for a style.
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    aliases = when(skeleton.aliases, f" ({', '.join(skeleton.aliases)})")
    pairs, center = len(skeleton.pairs), len(skeleton.center)
    console.print(
        f"{skeleton.name}{aliases}: {len(skeleton.joints)} joints, {pairs} pairs, {center} center", markup=False
    )
    negated = ", ".join(skeleton.negate) or ("joint by joint" if skeleton.has_joint_signs else "none")
    console.print(f"negated: {negated}; lateral axis: {skeleton.lateral or 'not given'}", markup=False)
    console.print(table(skeleton))
    # None where there are no edges. Edges of several connected parts are drawn part by part.
    edges = tree(skeleton)
    if edges is not None:
        console.print("\nedges", markup=False)
        console.print(edges)
    for label, text in (("source", skeleton.source), ("note", skeleton.note)):
        if text:
            console.print(f"\n{label}: {text}", markup=False)


@app.command("lint")
def lint_command(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE|NAME...", help="Skeleton or specification files, or shipped names.")
    ],
    output_format: FormatOption = OutputFormat.text,
) -> None:
    """Check files: exit 0 where they are clean or have warnings only, 2 where they have errors.

    Example: chiralize skeleton lint my-body.yaml
    """
    from chiralize.body.tensors.linting import lint_specification

    # All files are read before the command fails, so that one run shows every error.
    findings: list[Finding] = []
    for source in files:
        findings += lint_specification(source)
    if output_format is OutputFormat.json:
        print_json([finding.to_dict() for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.where}: {finding.level}: {finding.message}")
            if finding.remedy:
                typer.echo(f"    Fix: {finding.remedy}")
    errors = sum(finding.level == "error" for finding in findings)
    say(f"{len(files)} files, {errors} errors, {len(findings) - errors} warnings")
    if errors:
        raise typer.Exit(2)


app.command("infer")(infer_command)
app.command("import")(import_command)
app.command("check")(check_command)
