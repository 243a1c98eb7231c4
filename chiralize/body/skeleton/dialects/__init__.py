"""Skeletons out of the files of other tools, one module per tool; no file is ever executed.

Every module has `read(path, notices) -> Skeleton`. What had to be assumed (pairs inferred from names, one of several
categories, ...) is said in `notices`.

`chiralize skeleton import --from TOOL FILE` calls `import_skeleton`. An importer finds the joints and pairs of its tool
in the file, as Nodes that know their lines, gives them the keys of a skeleton file (`building.build`), and leaves the
rest to `schema`. So a slip in a file of another tool is named as one in a file of ours: file, line, joint. The modules
are imported when they are asked for, since those of robots need MuJoCo.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from chiralize.body.skeleton.catalog import is_file
from chiralize.body.skeleton.nodes import did_you_mean
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import ImportFormatError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from chiralize.body.robots.describing import RobotWishes

TOOLS = (
    *("mmpose", "coco", "ultralytics", "detectron2", "deeplabcut"),
    *("sleap", "videopose3d", "pyskl", "morphosymm"),
    *("mujoco", "urdf"),
)
ROBOT_TOOLS = ("mujoco", "urdf")
"""Of which files say places and axes instead of pairs."""


def import_skeleton(tool: str, path: Path | str, notices: list[str], wishes: RobotWishes | None = None) -> Skeleton:
    """The skeleton that `tool` describes in the file `path`.

    wishes: the sideways axis, the order and partners, of a robot's file.
    Raises UsageError where another tool's file is given with wishes, UnknownNameError for another tool,
    ImportFormatError where the file is not that tool's, SpecError where what it says contradicts itself.
    """
    if tool not in TOOLS:
        raise UnknownNameError("--from", f"no importer is called {tool!r}", did_you_mean(tool, TOOLS))
    path = Path(path)
    if not is_file(path):
        raise ImportFormatError(str(path), "there is no such file", "check the path")
    reader = import_module(f"chiralize.body.skeleton.dialects.{tool}")  # one of `TOOLS`, as checked
    if tool in ROBOT_TOOLS:
        return reader.read(path, notices, wishes)
    if wishes is not None and wishes.asks:
        facts = f"--lateral, --order and --pair are about a robot's file, not one of {tool}"
        raise UsageError("--from", facts, "drop them")
    return reader.read(path, notices)
