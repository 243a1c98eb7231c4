"""A robot's file compiled by MuJoCo, which reads MuJoCo XML and URDF alike; meshes that are missing are left out.

Nothing of the file is executed. MuJoCo's XML reader knows no entities, and a file with a document type is refused
before it sees it.

In go a path and, perhaps, the kind of file; out comes an `OpenedModel`, which `reading` turns into a `Robot`. Robots
are often published without their meshes, or with inertias that no body can have. So a file that does not compile is
mended where MuJoCo's message says how (`_MENDS`), and each mend is a notice for the user.
"""

from __future__ import annotations

import operator
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from chiralize.body.skeleton.catalog import is_file
from chiralize.errors import ImportFormatError, MissingPackageError
from chiralize.errors.words import first_line, when

LARGEST_FILE = 1 << 26
"""Bytes, 64 MiB."""
MOST_BODIES = 20_000
_TINY_MASS, _TINY_INERTIA = 1e-3, 1e-6  # kg, kg m2; of bodies whose mass only a missing mesh knows
_ROOTS = {"mujoco": "mujoco", "robot": "urdf"}


@dataclass(frozen=True)
class OpenedModel:
    """A compiled `mujoco.MjModel`.

    kind: `mujoco` or `urdf`.  document: names of the joints in the order of the file.
    notices: what was left out or added.
    """

    model: Any
    kind: str
    path: Path
    document: tuple[str, ...]
    notices: tuple[str, ...] = field(default=())


def simulator(path: Path | str) -> Any:
    """The module `mujoco`. Raises MissingPackageError where it is not installed or too old."""
    try:
        mujoco: Any = import_module("mujoco")
    except ImportError:
        facts = "robots are read with MuJoCo, which is not installed"
        raise MissingPackageError(str(path), facts, "pip install mujoco") from None
    if not hasattr(mujoco, "MjSpec") or not hasattr(mujoco.MjSpec, "from_file"):
        facts = f"robots are read with MuJoCo 3.3.2 or later; this is {getattr(mujoco, '__version__', 'unknown')}"
        raise MissingPackageError(str(path), facts, "pip install -U mujoco")
    return mujoco


def open_model(path: Path, kind: str | None = None) -> OpenedModel:
    """Compile a file.

    kind: `mujoco` or `urdf`, None for what the file is.  The base of a URDF, which the format leaves open, floats,
    unless its link is called `world`.
    Raises ImportFormatError on a file of another kind or with mistakes, MissingPackageError.
    """
    if not is_file(path):
        raise ImportFormatError(str(path), "there is no such file", "check the path")
    # Before MuJoCo sees the file: what it is, and that it is neither hostile nor endless.
    root = _root(path)
    actual = _kind_of(root, path, kind)
    _refuse_multitudes(path, root)
    mujoco = simulator(path)
    try:
        spec = mujoco.MjSpec.from_file(str(path))
    except (ValueError, mujoco.FatalError, mujoco.UnexpectedError) as error:
        raise ImportFormatError(str(path), _said(error), _remedy_of_unreadable(path, actual)) from None
    if len(spec.bodies) > MOST_BODIES:
        raise ImportFormatError(str(path), f"{len(spec.bodies)} bodies", f"give a robot of at most {MOST_BODIES}")
    notices: list[str] = []
    # A URDF's joints come in the order of the file from its XML alone: MuJoCo walks the tree depth first.
    if actual == "urdf":
        _float(spec, notices)
        joints = tuple(element.get("name", "") for element in root if element.tag == "joint")
    else:
        joints = tuple(joint.name for joint in spec.joints)
    model = _compiled(mujoco, spec, path, notices)
    _say_movable(model, path)
    return OpenedModel(model, actual, path, joints, tuple(notices))


def opened_from(model: Any, name: str) -> OpenedModel:
    """A model that is compiled already, such as a gymnasium environment's.  name: for messages."""
    return OpenedModel(model, "mujoco", Path(name), tuple(model.joint(index).name for index in range(model.njnt)))


def _kind_of(root: ElementTree.Element, path: Path, kind: str | None) -> str:
    """`mujoco` or `urdf`, by the root. Raises ImportFormatError where it is neither, or another one than was said."""
    actual = _ROOTS.get(root.tag)
    if actual is None or (kind is not None and kind != actual):
        raise ImportFormatError(str(path), f"the file's root is <{root.tag}>", _remedy(root.tag, actual))
    return actual


def _say_movable(model: Any, path: Path) -> None:
    """Raises ImportFormatError where the model has no joints."""
    if not model.njnt:
        facts = "nothing in it moves: there are no joints"
        raise ImportFormatError(str(path), facts, "give the file of a robot, not of a scene or a part")


def _root(path: Path) -> ElementTree.Element:
    """The root element. Raises ImportFormatError on what is no XML, too long, or has a document type (entities)."""
    if path.stat().st_size > LARGEST_FILE:
        raise ImportFormatError(str(path), "the file is longer than 64 MiB", "give a robot's file")
    text = path.read_bytes()
    # An entity that holds ten others, ten levels deep, makes a short file one of gigabytes.
    # Parsed twice: this parser stops where a document type begins, before any entity is expanded.
    checker = expat.ParserCreate()

    def refuse(*_: object) -> None:
        """Called by expat where the document type begins."""
        facts = "the file has a document type (<!DOCTYPE ...>), which could define entities"
        raise ImportFormatError(str(path), facts, "remove it: robots need none")

    checker.StartDoctypeDeclHandler = refuse
    try:
        checker.Parse(text, True)
        return ElementTree.fromstring(text)
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        return _lenient_root(path, text, _said(error))


def _refuse_multitudes(path: Path, root: ElementTree.Element) -> None:
    """Raises ImportFormatError where a short file asks for more copies of a part than any robot has.

    Counts are multiplied, as if all of these elements were nested. `count="10 10 10"` has three of them.
    """
    copies = 1
    for element in root.iter():
        if element.tag in ("replicate", "composite", "flexcomp"):
            for number in re.findall(r"\d+", element.get("count", "1"))[:3]:
                copies *= max(1, int(number[:9]))  # nine digits are too many already
    if copies > MOST_BODIES:
        facts = f"<replicate>, <composite> and <flexcomp> ask for {copies:.0e} copies"
        raise ImportFormatError(str(path), facts, f"give a robot of at most {MOST_BODIES} bodies")


def _lenient_root(path: Path, text: bytes, fault: str) -> ElementTree.Element:
    """The bare root of a file that is not quite XML: MuJoCo reads more than the standard allows, and it decides.

    fault: what the strict parser said, for the message. Raises ImportFormatError where the file does not begin with the
    root of a robot's file (behind a mark, declarations and comments), or has a document type.
    """
    first = re.match(rb"(?:\xef\xbb\xbf)?\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*<(mujoco|robot)[\s>]", text, re.DOTALL)
    if first is None or b"<!DOCTYPE" in text:
        raise ImportFormatError(str(path), f"not XML ({fault})", "give MuJoCo XML or a URDF")
    return ElementTree.Element(first.group(1).decode())


def _remedy(tag: str, actual: str | None) -> str:
    """What to do about a file of another kind.  tag: of its root.  actual: the kind that it is, None for no robot's."""
    if actual is not None:
        return f"use --from {actual}"
    if tag == "mujocoinclude":
        return "give the file that includes this one"
    return "give MuJoCo XML, whose root is <mujoco>, or a URDF, whose root is <robot> (of a .xacro, run xacro first)"


def _remedy_of_unreadable(path: Path, kind: str) -> str:
    """A robot mostly has its URDF beside the MuJoCo XML, which may be of another version of MuJoCo."""
    if kind == "urdf":
        return "correct the file, which MuJoCo cannot read"
    urdfs = sorted(path.parent.glob("*.urdf"))
    other = f"{urdfs[0].name} beside it" if urdfs else "the robot's URDF, if there is one"
    return f"correct the file, which this version of MuJoCo cannot read, or give {other} (--from urdf)"


def _said(error: BaseException) -> str:
    """MuJoCo's message on one line: the first line names the fault, the second the element and its line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ", ".join(lines[:2])[:300] or first_line(error)


def _float(spec: Any, notices: list[str]) -> None:
    """Lets the base of a URDF float and keeps the links that it welds; a base called `world` is MuJoCo's world."""
    spec.compiler.fusestatic = False
    floats = False
    for body in spec.worldbody.bodies:
        # Body 0 is the world, body 1 the base: a base that has joints of its own hangs on a link called `world`.
        if not list(body.joints) and spec.bodies[1].name == body.name:
            body.add_freejoint()
            floats = True
    if not floats:
        notices.append("the robot hangs on a link called `world`: its base stands fixed")


def _compiled(mujoco: Any, spec: Any, path: Path, notices: list[str]) -> Any:
    """The model without what its files lack: missing meshes, and inertias that no body can have.

    notices: a list that the mends are added to. Raises ImportFormatError where no mend is left for MuJoCo's message.
    """
    mends = dict(_MENDS)
    while True:  # each round uses up one mend, so that it ends
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about deprecated words in the file, for its author
                return spec.copy().compile()  # a specification cannot be used again after a failure
        except (ValueError, mujoco.FatalError, mujoco.UnexpectedError) as error:
            message = _said(error)
        # The order of the table counts, since a message may hold several of the words.
        word = next((word for word in mends if word in message.lower()), None)
        if word is None:
            raise ImportFormatError(str(path), message, "correct the file; MuJoCo cannot compile it")
        notices.append(mends.pop(word)(mujoco, spec))


def _without_meshes(mujoco: Any, spec: Any) -> str:
    """Deletes meshes, height fields, skins and pictures with all that use them.

    A body that has its mass from its mesh only gets a small mass at its origin, which is at the mirrored place of its
    partner's.
    """
    drawn = (mujoco.mjtGeom.mjGEOM_MESH, mujoco.mjtGeom.mjGEOM_SDF, mujoco.mjtGeom.mjGEOM_HFIELD)
    geoms = [geom for geom in spec.geoms if geom.type in drawn or geom.meshname or geom.hfieldname]
    light = [body for body in spec.bodies[1:] if _is_all_mesh(body, drawn)]
    for body in light:
        body.explicitinertial, body.mass = True, _TINY_MASS
        body.ipos, body.inertia = [0.0, 0.0, 0.0], [_TINY_INERTIA] * 3
    for part in (*spec.geoms, *spec.sites):
        part.material = ""
    for part in (*geoms, *spec.meshes, *spec.hfields, *spec.skins, *spec.materials, *spec.textures):
        part.delete() if hasattr(part, "delete") else spec.delete(part)
    if not geoms:
        return "files of pictures are missing, which makes no difference"
    weights = when(light, f"; the mass of {len(light)} bodies, which only meshes tell, counts as 1 g")
    return f"files of meshes are missing, so that {len(geoms)} geoms were left out{weights}"


def _is_all_mesh(body: Any, kinds: Sequence[Any]) -> bool:
    """Whether a body has its mass from meshes only."""
    drawn = [geom.type in kinds or bool(geom.meshname) for geom in body.geoms]
    weightless = [geom.mass == 0 or geom.density == 0 for geom in body.geoms]
    return not body.explicitinertial and any(drawn) and all(map(operator.or_, drawn, weightless))


def _with_masses(mujoco: Any, spec: Any) -> str:
    """Gives moving bodies without mass the least mass and inertia that count; returns the notice."""
    spec.compiler.boundmass, spec.compiler.boundinertia = _TINY_MASS, _TINY_INERTIA
    return "bodies without mass count as 1 g"


def _balanced(mujoco: Any, spec: Any) -> str:
    """Lets the compiler replace inertias that break the triangle inequality; returns the notice."""
    spec.compiler.balanceinertia = True
    return "inertias that no body can have (A + B < C) count as balls of the same trace"


def _positive(mujoco: Any, spec: Any) -> str:
    """Replaces inertia matrices that are not positive by their diagonals, and names the bodies.

    `fullinertia` is (xx, yy, zz, xy, xz, yz), not a number where the file does not give it.
    """
    bodies = []
    for body in spec.bodies:
        diagonal, (xy, xz, yz) = body.fullinertia[:3], body.fullinertia[3:]
        full = np.diag(diagonal) + np.array([[0, xy, xz], [xy, 0, yz], [xz, yz, 0]])
        if np.isfinite(full).all() and np.linalg.eigvalsh(full)[0] <= 1e-9 * np.abs(full).max():
            bodies.append(body.name)
            body.fullinertia = [*np.maximum(diagonal, _TINY_INERTIA), 0.0, 0.0, 0.0]
    return f"the inertia of {', '.join(bodies)} is not positive and counts as its diagonal"


_MENDS: tuple[tuple[str, Callable[[Any, Any], str]], ...] = (
    ("positive eigenvalues", _positive),
    ("a + b >= c", _balanced),
    ("mass and inertia", _with_masses),
    ("file", _without_meshes),
    ("mesh", _without_meshes),
)
"""Words in MuJoCo's message, and what to do about it; each is tried once."""
