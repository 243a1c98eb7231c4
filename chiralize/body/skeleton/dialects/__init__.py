"""Skeletons out of the files of other tools, one module per tool; no file is ever executed.

Every module has `read(path, notices) -> Skeleton`. What had to be assumed (pairs inferred from names, one of several
categories, ...) is said in `notices`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from chiralize.body.skeleton.catalog import is_file
from chiralize.body.skeleton.nodes import did_you_mean
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors import ImportFormatError, UnknownNameError

TOOLS = (
    *("mmpose", "coco", "ultralytics", "detectron2", "deeplabcut"),
    *("sleap", "videopose3d", "pyskl", "morphosymm"),
)


def import_skeleton(tool: str, path: Path | str, notices: list[str]) -> Skeleton:
    """The skeleton that `tool` describes in the file `path`.

    Raises UnknownNameError for another tool, ImportFormatError where the file is not that tool's, SpecError where
    what it says contradicts itself.
    """
    if tool not in TOOLS:
        raise UnknownNameError("--from", f"no importer is called {tool!r}", did_you_mean(tool, TOOLS))
    path = Path(path)
    if not is_file(path):
        raise ImportFormatError(str(path), "there is no such file", "check the path")
    return import_module(f"chiralize.body.skeleton.dialects.{tool}").read(path, notices)
