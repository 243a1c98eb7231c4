"""`chiralize skeleton infer`, `import` and `check`: skeletons from names, from other tools, and beside a robot's file.

    infer     joint names -> pairs, by the words for left and right in them; a proposal until it is accepted
    import    the file of another tool, or a robot's model -> a skeleton file
    check     a specification and a robot's model -> whether the one mirrors the other rightly

Exit status 2 where a proposal is not accepted yet or a file cannot be used, 1 where `check` finds a difference.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiralize.cli.options import Format as OutputFormat
from chiralize.cli.options import FormatOption, say
from chiralize.cli.printing import print_json, say_notices
from chiralize.cli.targets import check_apart

if TYPE_CHECKING:
    from chiralize.body.robots.describing import RobotWishes
    from chiralize.body.skeleton.skeleton import Skeleton


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


def infer_command(
    names: Annotated[
        list[str],
        typer.Argument(metavar="FILE|NAME...", help="A skeleton file, a list of names in a file, or joint names."),
    ],
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
            remedy = "correct the name, or write the file by hand, with all joints in no pair under `center`"
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
        print_json({"pairs": pairs, "center": center, "unpaired": unpaired})
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
    from chiralize.body.skeleton.yaml_source import read_text, read_yaml

    if len(names) == 1 and (is_file(Path(names[0])) or names[0].endswith((".yaml", ".yml", ".json"))):
        path = Path(names[0])
        root = read_yaml(path)
        # A list of names, plain lines or words of them, or a skeleton file that has them under a key.
        if root.items is not None:
            return [item.name("joint") for item in root.items], path.stem, None
        if root.text is not None and not root.quoted:
            return _each_once(_listed(read_text(path))), path.stem, None
        fields = root.mapping("a skeleton file")
        return [node.text or "" for node in read_joints(root, fields)], path.stem, path
    return _each_once(names), "inferred", None


def _listed(text: str) -> list[str]:
    """The names in a text: one in every line, or those of a single line between commas or blanks.

    >>> _listed("left ear\\nright ear\\n"), _listed("nose, left ear, right ear"), _listed("nose L1A R1A")
    (['left ear', 'right ear'], ['nose', 'left ear', 'right ear'], ['nose', 'L1A', 'R1A'])
    """
    lines = [line.strip(" ,;\t") for line in text.splitlines() if line.strip(" ,;\t")]
    if len(lines) > 1:
        return lines
    separated = lines[0].split(",") if lines and "," in lines[0] else " ".join(lines).split()
    return [name.strip() for name in separated if name.strip()]


def _each_once(names: list[str]) -> list[str]:
    """The names. Raises WrongValueError for one that is listed twice."""
    from chiralize.errors import WrongValueError

    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise WrongValueError("names", f"joint {twice[0]!r} is listed twice", "list each joint once")
    return names


def _write(text: str, skeleton: Skeleton, output: Path | None, output_format: OutputFormat) -> None:
    """Write the YAML text to a file, else print it, or the skeleton as JSON. Raises OutputFileError."""
    from chiralize.storage.atomic import write_text

    if output is not None:
        write_text(output, text)
        say(f"wrote {output}")
    elif output_format is OutputFormat.json:
        print_json(skeleton.to_dict())
    else:
        typer.echo(text, nl=False)


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
    say_notices(notices)
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
    say_notices(list(result.notices))
    if output_format is OutputFormat.json:
        print_json(result.to_dict())
    else:
        for line in result.lines():
            typer.echo(line)
    if not result.agrees:
        raise typer.Exit(1)
