"""Finding skeletons: shipped ones by name or alias, the user's own as files, and files that extend another.

Shipped files lie in the package (`chiralize/_skeletons`, as the wheel installs them) or, in a checkout and in an
editable install, in the folder `skeletons` beside the package. This is the only place that knows.

`load_skeleton("h36m")`, `load_skeleton("mine.yaml")` and `skeleton: h36m` within a file all end here. A reference is
looked up in this order: a shipped name or alias, a file relative to the file that names it, and, for the name of a
missing file, the shipped skeleton of its stem, with a notice. Nothing is guessed: a name that is nearly right is
offered in the error.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
from functools import lru_cache
from pathlib import Path

from chiralize.body.skeleton.mirrors import MIRRORS, of_first_mirror
from chiralize.body.skeleton.nodes import Node, from_python, nearest, read_optional
from chiralize.body.skeleton.schema import SKELETON_KEYS, read_skeleton
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.skeleton.yaml_source import parse_yaml, read_yaml
from chiralize.errors import MissingKeyError, SpecError, UnknownNameError
from chiralize.errors.words import when

SPEC_KEYS = ("inputs", "outputs", "hidden", "activation")
FILE_KEYS = (*SKELETON_KEYS, *SPEC_KEYS, MIRRORS)
_SUFFIXES = (".yaml", ".yml", ".json")
_EXTENDS_LIMIT = 8
"""Files that extend each other, one the next; a circle is found by it."""
_START = 1 << 16
"""Bytes at the beginning of a file by which it is told what it is."""
_ALIKE = 0.7
"""How like a missing file's name another one has to be, to be offered for it."""
_ROOT = re.compile(r"<(?P<name>[A-Za-z_][\w:.-]*)[\s/>]")
_log = logging.getLogger(__name__)


def skeleton_folder() -> Path:
    """The folder of the shipped files. Raises SpecError where the installation lacks it."""
    package = Path(__file__).parents[2]
    for folder in (package / "_skeletons", package.parent / "skeletons"):
        if folder.is_dir():
            return folder
    raise SpecError(str(package), "the shipped skeletons are missing", "install chiralize again")


@lru_cache(maxsize=4)
def _names_in(folder: Path) -> tuple[str, ...]:
    """Names of the skeleton files in a folder, without those below it, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def shipped() -> list[str]:
    """Names of the shipped skeletons, sorted."""
    return list(_names_in(skeleton_folder()))


def shipped_robots() -> list[str]:
    """Names of the shipped robots, sorted: skeletons with what their policies observe and do."""
    return list(_names_in(skeleton_folder() / "robots"))


@lru_cache(maxsize=1)
def _joint_counts() -> dict[str, int]:
    """How many joints every shipped skeleton has, robots left out."""
    return {name: len(_shipped_skeleton(name).joints) for name in shipped()}


def names_of_size(*counts: int) -> list[str]:
    """Names of the shipped skeletons that have one of these numbers of joints, sorted."""
    return [name for name, count in _joint_counts().items() if count in counts]


def shipped_file(name: str) -> Path:
    """The file of a shipped skeleton or robot; of an unknown name a path that does not exist."""
    plain = skeleton_folder() / f"{name}.yaml"
    if is_file(plain):
        return plain
    return skeleton_folder() / "robots" / f"{name}.yaml"


@lru_cache(maxsize=64)
def _shipped_skeleton(name: str) -> Skeleton:
    """A shipped skeleton; of a robot's file with several mirrors that of the first. Its notices are dropped."""
    root = read_yaml(shipped_file(name))
    # Unknown keys are refused before mirrors are looked for, and again in what the first mirror brings.
    root.mapping("a skeleton file", FILE_KEYS)
    root = of_first_mirror(root, [])
    fields = root.mapping("a skeleton file", FILE_KEYS)
    if "skeleton" in fields:
        base = find_shipped(fields["skeleton"].name("skeleton"))
    else:
        base = None
    return read_skeleton(root, name, base, [])


@lru_cache(maxsize=1)
def _alias_table() -> dict[str, str]:
    """Alias -> name; reads all shipped files, once."""
    return {alias: name for name in shipped() for alias in _shipped_skeleton(name).aliases}


def aliases() -> dict[str, str]:
    """Alias -> name of the shipped skeletons."""
    return dict(_alias_table())


def find_shipped(name: str) -> Skeleton | None:
    """The shipped skeleton of exactly this name or alias, or None; of a robot, too."""
    if name in shipped() or name in shipped_robots():
        return _shipped_skeleton(name)
    target = _alias_table().get(name)
    if not target:
        return None
    return _shipped_skeleton(target)


def load_skeleton(name_or_file: str | Path | Skeleton, notices: list[str] | None = None) -> Skeleton:
    """The skeleton of that name, alias or file. A file may be a specification: its tensors are not looked at.

    notices: collects what was assumed (a fallback, inferred pairs); without it they are logged.
    Raises UnknownNameError where neither a shipped skeleton nor a file is meant, SpecError where the file is wrong.
    """
    if isinstance(name_or_file, Skeleton):
        return name_or_file
    collected: list[str] = [] if notices is None else notices
    skeleton = skeleton_at(name_or_file, Path(), "skeleton", collected)
    if notices is None:
        for notice in collected:
            _log.warning("%s", notice)
    return skeleton


def is_file(path: Path) -> bool:
    """Whether there is such a file; False, too, for what no file can be called (a name too long, a NUL in it)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def tool_of(path: Path) -> str:
    """The tool whose file this is, for `skeleton import --from`: of XML by its root, `TOOL` where several may be.

    "" for a file that may be a skeleton file.
    """
    # A Python file may be of any of four tools, so the remedy leaves the name of the tool to the user.
    if path.suffix.lower() in (".py", ".npz", ".slp"):
        return "TOOL"
    try:
        with path.open("rb") as stream:
            start = stream.read(_START).decode("utf-8-sig", "replace")
    except OSError:
        return ""
    if not start.lstrip().startswith("<"):
        return ""
    root = _ROOT.search(start)
    return {"mujoco": "mujoco", "robot": "urdf"}.get(root["name"] if root else "", "TOOL")


def locate(reference: str | Path, folder: Path, where: str, notices: list[str]) -> Skeleton | Path:
    """The shipped skeleton, or the file (relative to `folder`), that a name or path means.

    A name of a file that does not exist falls back to the shipped skeleton of its stem, with a notice.
    Raises UnknownNameError; no name is ever guessed.
    """
    text = str(reference)
    # A `Path` always means a file, also where a skeleton is called so.
    if isinstance(reference, str):
        by_name = find_shipped(text)
        if by_name is not None:
            return by_name
    path = folder / text
    if is_file(path):
        tool = tool_of(path)
        if tool:
            facts = f"{text} is a file of another tool, not a skeleton file"
            words = shlex.join(["chiralize", "skeleton", "import", "--from", tool, text, "-o", f"{path.stem}.yaml"])
            raise SpecError(where, facts, f"convert it first: {words}")
        return path
    stem = Path(text).stem if Path(text).suffix.lower() in _SUFFIXES else ""
    fallback = find_shipped(stem)
    if fallback is not None:
        notices.append(f"{text} is not a file: the shipped skeleton {fallback.name} is used")
        return fallback
    raise _not_there(text, path, folder, where, is_path=bool(stem))


def _not_there(text: str, path: Path, folder: Path, where: str, is_path: bool) -> UnknownNameError:
    """The error for a name or a path that means nothing.

    path: where the file was looked for.  folder: from where.  is_path: whether the text ends as a skeleton file does.
    """
    shown = Node(where, 0, text=text).show() if len(text) > 255 else repr(text)
    # It looks like a path: say where it was looked for. The path may be right from the working directory instead.
    if is_path or "/" in text or "\\" in text:
        looked = when(path != Path(text) and len(text) <= 255, f" ({path}: it counts from the file that names it)")
        remedy = _remedy_for_file(path, text)
        if looked and is_file(Path(text)):
            remedy = f"write {os.path.relpath(text, folder)!r}"
        facts = f"there is no file {shown}{looked}, and no shipped skeleton of that name"
        return UnknownNameError(where, facts, remedy)
    return UnknownNameError(where, f"no skeleton is called {shown}, and no such file exists", _remedy(text))


def skeleton_at(reference: str | Path, folder: Path, where: str, notices: list[str], depth: int = 0) -> Skeleton:
    """The skeleton that `locate` finds, read where it is a file. Raises SpecError.  depth: how many files extend it."""
    location = locate(reference, folder, where, notices)
    if isinstance(location, Skeleton):
        return location
    return skeleton_of(read_yaml(location), location, notices, depth)


def _remedy(name: str, alike: float = 0.5) -> str:
    """The shipped skeleton that is called nearly so, or how to see all of them."""
    known = nearest(name, [*shipped(), *shipped_robots(), *_alias_table()], alike)
    if known is not None:
        return f"did you mean {known!r}? (all names: chiralize skeleton list)"
    return "see `chiralize skeleton list`, or give the path of a skeleton file"


def _remedy_for_file(path: Path, text: str) -> str:
    """A file like it in the folder, else a shipped skeleton that is called nearly so.  text: the path as written."""
    files = {file.stem: file.name for file in _files_beside(path)}
    stem = nearest(path.stem, files, _ALIKE)
    if stem is not None:
        return f"did you mean {str(Path(text).with_name(files[stem]))!r}?"
    return _remedy(Path(text).stem, _ALIKE)


def _files_beside(path: Path) -> list[Path]:
    """The files in the folder of a path that may be skeleton files; none where it cannot be read."""
    try:
        return [entry for entry in path.parent.iterdir() if entry.suffix.lower() in _SUFFIXES]
    except (OSError, ValueError):
        return []


def skeleton_of(root: Node, path: Path | None, notices: list[str], depth: int = 0) -> Skeleton:
    """The skeleton of a parsed file, with what it extends.  path: the file, for names relative to it.

    Raises SpecError, among others where files extend each other in a circle.
    """
    root.mapping("a skeleton file", FILE_KEYS)
    root = of_first_mirror(root, notices)
    fields = root.mapping("a skeleton file", FILE_KEYS)  # again, since a mirror brings keys of its own
    default = path.stem if path is not None else "unnamed"
    base = read_optional(fields, "skeleton", base_of, path, notices, depth)
    return read_skeleton(root, default, base, notices)


def base_of(node: Node, path: Path | None, notices: list[str], depth: int = 0) -> Skeleton:
    """The skeleton that a `skeleton:` key means: a name, a file, or a map with the skeleton's own keys.

    path: the file with the key.  depth: how many files lead here. Raises SpecError of every kind.
    """
    if depth >= _EXTENDS_LIMIT:
        facts = f"skeleton files extend each other more than {_EXTENDS_LIMIT} deep"
        raise SpecError(node.where, facts, "end the circle")
    if node.entries is not None:
        return skeleton_of(node, path, notices, depth + 1)
    if node.text is None or node.is_null:
        raise MissingKeyError(node.where, "`skeleton` is empty", "give a name, a file or a map")
    folder = path.parent if path is not None else Path()
    return skeleton_at(node.text, folder, node.where, notices, depth + 1)


def skeleton_from_yaml(text: str, source: str = "<text>") -> Skeleton:
    """The skeleton that YAML text describes. Raises SpecError."""
    return skeleton_of(parse_yaml(text, source), None, [])


def skeleton_from_dict(fields: dict[str, object], source: str = "<dict>") -> Skeleton:
    """The inverse of `Skeleton.to_dict`. Raises SpecError."""
    return skeleton_of(from_python(fields, source), None, [])
