"""`chiralize skeleton`: list, show, lint, infer, import and check. Data goes to stdout, the rest to stderr.

Each command prints what a function of `body/` gives it, as text or as JSON. Exit status 2 where a file has errors or a
proposal is not accepted yet, 1 where `check` finds that a specification does not mirror the robot.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiralize.cli.options import Format as OutputFormat
from chiralize.cli.options import FormatOption, say
from chiralize.cli.targets import check_apart
from chiralize.errors.words import when

if TYPE_CHECKING:
    from chiralize.body.robots.describing import RobotWishes
    from chiralize.body.skeleton.lint import Finding
    from chiralize.body.skeleton.skeleton import Skeleton
    from chiralize.body.tensors.conversion import ConversionSpec
    from chiralize.body.tensors.listing import ListedEntry

app = typer.Typer(
    help="Skeletons: which joints are left and right of each other.", no_args_is_help=True, rich_markup_mode=None
)


class Tool(str, Enum):
    """Tools whose skeleton files can be imported."""

    mmpose = "mmpose"
    coco = "coco"
    ultralytics = "ultralytics"
    detectron2 = "detectron2"
    deeplabcut = "deeplabcut"
    sleap = "sleap"
    videopose3d = "videopose3d"
    pyskl = "pyskl"
    morphosymm = "morphosymm"
    mujoco = "mujoco"
    urdf = "urdf"


class Lateral(str, Enum):
    """Axes that may point sideways."""

    x = "x"
    y = "y"
    z = "z"


class Order(str, Enum):
    """Orders of a robot's joints."""

    actuators = "actuators"
    joints = "joints"
    file = "file"


LateralOption = Annotated[
    Lateral | None, typer.Option("--lateral", help="Robots: the axis that points sideways; else found from the joints.")
]
PairOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pair", metavar="JOINT=PARTNER", help="Robots: partners that positions leave open; repeat for more."
    ),
]


OutOption = Annotated[Path | None, typer.Option("-o", "--output", help="Write the skeleton file here.")]


def _say_notices(notices: list[str]) -> None:
    """Print remarks on stderr."""
    for notice in notices:
        say(f"note: {notice}")


def _print_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


@app.command("list")
def list_command(output_format: FormatOption = OutputFormat.text) -> None:
    """The shipped skeletons, and robots with what their policies observe.

    Example: chiralize skeleton list --format json
    """
    from chiralize.body.skeleton.catalog import load_skeleton, shipped, shipped_robots

    skeletons = [load_skeleton(name) for name in shipped()]
    robots = [load_skeleton(name) for name in shipped_robots()]
    if output_format is OutputFormat.json:
        _print_json([_summary(skeleton) for skeleton in (*skeletons, *robots)])
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
    """The same for JSON."""
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
    check_apart({"--image": image}, {"the skeleton itself": Path(name)})
    _say_notices([*spec.notices, *doubts_of(spec)])
    tensors = dict(listed_tensors(spec))
    if output_format is OutputFormat.json:
        _print_json(skeleton.to_dict() | _entries(tensors) | _actions(spec))
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
    """T on every tensor for the JSON output, by mirror where there are several; nothing where none is described."""
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
    """Print every entry of tensors of fields, and where the mirror takes it."""
    for where, rows in tensors.items():
        typer.echo(f"\n{where}, {len(rows)} entries; `5 a -> -9 b` means that the mirror puts -x[9] at 5")
        for row in rows:
            typer.echo(str(row))


def _draw(skeleton: Skeleton) -> None:
    """Print the joints as a table, and the edges as a tree where they are one."""
    import sys

    from rich.console import Console

    from chiralize.report.skeleton_picture import table, tree

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    aliases = when(skeleton.aliases, f" ({', '.join(skeleton.aliases)})")
    pairs, center = len(skeleton.pairs), len(skeleton.center)
    console.print(
        f"{skeleton.name}{aliases}: {len(skeleton.joints)} joints, {pairs} pairs, {center} center", markup=False
    )
    negated = ", ".join(skeleton.negate) or ("joint by joint" if skeleton.has_joint_signs else "none")
    console.print(f"negated: {negated}; lateral axis: {skeleton.lateral or 'not given'}", markup=False)
    console.print(table(skeleton))
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

    findings: list[Finding] = []
    for source in files:
        findings += lint_specification(source)
    if output_format is OutputFormat.json:
        _print_json([finding.to_dict() for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.where}: {finding.level}: {finding.message}")
            if finding.remedy:
                typer.echo(f"    Fix: {finding.remedy}")
    errors = sum(finding.level == "error" for finding in findings)
    say(f"{len(files)} files, {errors} errors, {len(findings) - errors} warnings")
    if errors:
        raise typer.Exit(2)


@app.command("infer")
def infer_command(
    names: Annotated[list[str], typer.Argument(metavar="FILE|NAME...", help="A skeleton file, or joint names.")],
    accept: Annotated[
        bool, typer.Option("--accept", help="Take the proposal: print the skeleton file, exit 0.")
    ] = False,
    output: OutOption = None,
    output_format: FormatOption = OutputFormat.text,
) -> None:
    """Propose pairs from joint names; exits with 2 until the proposal is accepted (--accept or -o).

    Of a skeleton file nothing but the pairs is changed.

    Example: chiralize skeleton infer nose left_eye right_eye --accept > face.yaml
    """
    from chiralize.body.skeleton.editing import file_with_pairs
    from chiralize.body.skeleton.naming import infer_pairs
    from chiralize.body.skeleton.skeleton import Skeleton
    from chiralize.errors import UnpairedJointError

    # Names on the command line, of a list in a file, or of a skeleton file, in which only the pairs are replaced.
    joints, name, file = _joint_names(names)
    proposal = infer_pairs(joints)
    for index in proposal.sided:
        say(f"warning: {joints[index]!r} names a side but has no partner")
    if accept or output is not None:
        # In a file it would stand among the centre joints, which the mirror leaves at their place.
        if proposal.sided:
            joint = joints[proposal.sided[0]]
            remedy = "correct the name, or write the file by hand"
            raise UnpairedJointError("infer", f"joint {joint!r} names a side but has no partner", remedy)
        if file is None:
            skeleton = Skeleton(name, tuple(joints), proposal.pairs, source="pairs inferred from the joint names")
            text = skeleton.to_yaml()
        else:
            named = [(joints[left], joints[right]) for left, right in proposal.pairs]
            text, skeleton = file_with_pairs(file, named)
        _write(text, skeleton, output, output_format)
        return
    if output_format is OutputFormat.json:
        pairs = [[joints[left], joints[right]] for left, right in proposal.pairs]
        center, unpaired = [joints[i] for i in proposal.center], [joints[i] for i in proposal.sided]
        _print_json({"pairs": pairs, "center": center, "unpaired": unpaired})
    else:
        for left, right in proposal.pairs:
            typer.echo(f"pair    {joints[left]}  {joints[right]}")
        for label, rest in (("center", proposal.center), ("unpaired", proposal.sided)):
            for index in rest:
                typer.echo(f"{label:7} {joints[index]}")
    say(f"proposed: {len(proposal.pairs)} pairs, {len(proposal.center)} center; accept with --accept or -o FILE")
    # A proposal is no result: scripts must not take it for one.
    raise typer.Exit(2)


def _joint_names(names: list[str]) -> tuple[list[str], str, Path | None]:
    """The joints, the skeleton's name, and the file that holds them under a key."""
    from chiralize.body.skeleton.catalog import is_file
    from chiralize.body.skeleton.schema import read_joints
    from chiralize.body.skeleton.yaml_source import read_yaml
    from chiralize.errors import WrongValueError

    if len(names) == 1 and (is_file(Path(names[0])) or names[0].endswith((".yaml", ".yml", ".json"))):
        path = Path(names[0])
        root = read_yaml(path)
        # A list of names, or a skeleton file that has them under a key.
        if root.items is not None:
            return [item.name("joint") for item in root.items], path.stem, None
        fields = root.mapping("a skeleton file")
        return [node.text or "" for node in read_joints(root, fields)], path.stem, path
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise WrongValueError("names", f"joint {twice[0]!r} is listed twice", "list each joint once")
    return names, "inferred", None


def _write(text: str, skeleton: Skeleton, output: Path | None, output_format: OutputFormat) -> None:
    """Write the YAML text to a file, else print it, or the skeleton as JSON. Raises OutputFileError."""
    from chiralize.storage.atomic import write_text

    if output is not None:
        write_text(output, text)
        say(f"wrote {output}")
    elif output_format is OutputFormat.json:
        _print_json(skeleton.to_dict())
    else:
        typer.echo(text, nl=False)


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The other tool's file; it is never executed.")],
    tool: Annotated[Tool, typer.Option("--from", help="The tool that wrote it, or the format of a robot's file.")],
    output: OutOption = None,
    output_format: FormatOption = OutputFormat.text,
    lateral: LateralOption = None,
    order: Annotated[
        Order | None,
        typer.Option("--order", help="Robots: the joints' order; by default that of the actuators, if there are any."),
    ] = None,
    pair: PairOption = None,
) -> None:
    """Turn another tool's description, or a robot's file, into a skeleton file.

    Of a robot, partners and signs come from the places and the axes of its joints, and MuJoCo is asked whether they are
    right: pip install mujoco.

    Example: chiralize skeleton import --from mmpose configs/_base_/datasets/h36m.py -o h36m.yaml

    chiralize skeleton import --from mujoco go2.xml -o go2.yaml

    chiralize skeleton import --from urdf g1.urdf --order file -o g1.yaml

    chiralize skeleton import --from mujoco walker2d.xml --pair thigh_joint=thigh_left_joint ...
    """
    from chiralize.body.skeleton.dialects import import_skeleton
    from chiralize.body.skeleton.lint import lint_skeleton

    check_apart({"-o": output}, {"the file that is imported": file})
    notices: list[str] = []
    skeleton = import_skeleton(tool.value, file, notices, _wishes(lateral, order, pair))
    _say_notices(notices)
    for finding in lint_skeleton(skeleton):
        say(f"{finding.level}: {finding.message}")
    _write(skeleton.to_yaml(), skeleton, output, output_format)


def _wishes(lateral: Lateral | None, order: Order | None, pairs: list[str] | None) -> RobotWishes | None:
    """What the options say about a robot; None where they say nothing. Raises UsageError on a pair without `=`."""
    if lateral is None and order is None and not pairs:
        return None
    from chiralize.body.robots.describing import RobotWishes
    from chiralize.errors import UsageError

    partners: dict[str, str] = {}
    for text in pairs or ():
        joint, equals, partner = text.partition("=")
        if not (joint and equals and partner):
            raise UsageError("--pair", f"{text!r} is no pair", "write --pair JOINT=PARTNER, once for each pair")
        partners[joint] = partner
    return RobotWishes(lateral.value if lateral else None, order.value if order else None, partners)


@app.command("check")
def check_command(
    specification: Annotated[str, typer.Argument(metavar="SPEC", help="A skeleton or specification: name or file.")],
    robot: Annotated[Path, typer.Option("--robot", help="The robot's file: MuJoCo XML or URDF.")],
    lateral: LateralOption = None,
    pair: PairOption = None,
    by_name: Annotated[
        bool,
        typer.Option("--by-name", help="Entries are put in the model's order by name before the simulator gets them."),
    ] = False,
    output_format: FormatOption = OutputFormat.text,
) -> None:
    """Check whether a specification mirrors a robot rightly, by the places and axes of its file and by the simulator.

    MuJoCo steps random states and their mirror images: the image of a step has to be the step of the image. Wrong
    partners, signs and entries of the observation are named, and what is asymmetric in the model itself. Exit 0: it
    agrees, 1: it does not, 2: a file cannot be used.

    Example: chiralize skeleton check --robot go2.xml policy.yaml
    """
    from chiralize.body.robots.checking import check

    result = check(robot, specification, _wishes(lateral, None, pair), by_name)
    _say_notices(list(result.notices))
    if output_format is OutputFormat.json:
        _print_json(result.to_dict())
    else:
        for line in result.lines():
            typer.echo(line)
    if not result.agrees:
        raise typer.Exit(1)
