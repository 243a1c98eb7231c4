"""Which skeleton does a name, an alias or a file mean, and which keys may a skeleton file have?

Shipped files lie in the package (`chiralize/_skeletons`, as the wheel installs them) or, in a checkout and in an
editable install, in the folder `skeletons` beside the package. This is the only module that knows.

`load_skeleton("h36m")`, `load_skeleton("mine.yaml")` and `skeleton: h36m` within a file all end here. A reference is
a shipped name or alias, or a file relative to the file that names it. Nothing is guessed: a name that is nearly right
is offered in the error. A file that says `skeleton: h36m` instead of joints extends that one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic.functional_validators import BeforeValidator

from chiralize.body.document import Document, Items, read_yaml
from chiralize.body.naming import infer_pairs, partner_name, side
from chiralize.body.skeleton import AXES, Signs, Skeleton
from chiralize.body.values import (
    Keys,
    Map,
    Name,
    Pairs,
    PairsOrInfer,
    Plain,
    Prose,
    Reference,
    SignRows,
    Wrong,
    as_list,
    nearest,
    position_in,
    positions_of,
    read_name,
    read_whole,
    shown,
)
from chiralize.errors import (
    MissingKeyError,
    SpecError,
    UnknownKeyError,
    UnknownNameError,
    UnpairedJointError,
    WrongValueError,
)
from chiralize.errors.words import when

_SUFFIXES = (".yaml", ".yml", ".json")
_EXTENDS_LIMIT = 8
"""Files that extend each other, one the next: a circle ends here, and no chain of honest files is longer than two."""
_OF_OTHER_TOOLS = (
    *("flip_pairs", "symmetries", "symmetric_pairs", "keypoint_flip_map", "swap", "flip_idx", "left", "right"),
    *("permutation", "reflection", "keypoints", "nodes", "bodyparts", "names", "keypoint_names"),
)
"""Keys by which other tools name joints and pairs; `skeleton import` translates them."""
_TRANSLATE = "write `joints: [...]` and `pairs: [[left, right], ...]`, or use `chiralize skeleton import FILE`"
_CHANGES = ("joints", "dims", "negate", "signs", "lateral", "edges", "aliases", "source", "note")


# ---- the skeleton -----------------------------------------------------------------------------------------------
class SkeletonKeys(Keys):
    """The keys of a skeleton file. Those of a specification beside them are read by `FileKeys`."""

    ELSEWHERE = dict.fromkeys(_OF_OTHER_TOOLS, _TRANSLATE)
    chiralize: Annotated[Literal[1], BeforeValidator(read_whole)] = 1
    name: Name | None = None
    skeleton: Any = None
    joints: tuple[Reference, ...] | None = None
    pairs: PairsOrInfer | None = None
    center: tuple[Reference, ...] | None = None
    dims: tuple[Name, ...] | None = None
    negate: Annotated[tuple[Name, ...] | None, BeforeValidator(as_list)] = None
    signs: SignRows | None = None
    lateral: Literal["x", "y", "z"] | None = None
    edges: Pairs | None = None
    aliases: tuple[Name, ...] | None = None
    source: Prose = ""
    note: Prose = ""
    inputs: Any = None  # of a specification, which `FileKeys` reads
    outputs: Any = None
    hidden: Any = None
    activation: Any = None
    invariant: Any = None
    notices: Any = None

    def checked(self) -> None:
        if self.negate is not None and isinstance(self.signs, tuple):
            facts = "`signs` as a list and `negate` both say which dims change sign"
            raise Wrong(facts, "drop one of them", ("signs",), kind=UnknownKeyError)


def skeleton_of(keys: SkeletonKeys, base: Skeleton | None, name: str, notices: list[str]) -> Skeleton:
    """The Skeleton that the keys describe, starting from `base` where the file extends one. Raises Wrong, SpecError.

    name: where the file gives none.  notices: collects what was read from names.
    """
    kept, negate = keys.joints, keys.negate
    if base is None:
        base, kept, negate = _own(keys, notices), None, _negated(keys)
    elif keys.pairs is not None or keys.center is not None:
        facts = f"`pairs` or `center` beside `skeleton: {base.name}`, which gives them already"
        remedy = f"drop it, or start from a copy: `chiralize skeleton show {base.name} --format json > mine.json`"
        raise Wrong(facts, remedy, ("center" if keys.pairs is None else "pairs",), kind=UnknownKeyError)
    # A file that changes nothing is the base itself, name and aliases included.
    elif keys.negate is None and not any(getattr(keys, key) for key in _CHANGES):
        return base
    body = changed(base, kept, keys.dims, negate, keys.signs)
    return replace(
        body,
        name=keys.name or name,
        lateral=keys.lateral or body.lateral,
        edges=body.edges if keys.edges is None else positions_of(keys.edges, body.joints, "joint", "edges"),
        aliases=keys.aliases or (),
        source=keys.source or body.source,
        note=keys.note or body.note,
    )


def _own(keys: SkeletonKeys, notices: list[str]) -> Skeleton:
    """The joints and pairs of a file that extends no other, and its dims, none of them negated. Raises Wrong."""
    if keys.joints is None:
        facts, remedy = "no `joints` and no `skeleton`", "list the joints in the order of the tensors"
        raise Wrong(facts, remedy, kind=MissingKeyError)
    # A number would be another name for other tools.
    joints = tuple(read_name(joint if isinstance(joint, str) else Plain(joint)) for joint in keys.joints)
    dims = AXES if keys.dims is None else keys.dims
    skeleton = Skeleton(keys.name or "unnamed", joints, _pairs_of(keys, joints, notices), dims, ())
    _check_center(keys, skeleton)
    return skeleton


def _negated(keys: SkeletonKeys) -> tuple[str, ...] | None:
    """The dims that are negated, None where `signs` lists them. Raises Wrong: a wrong guess would be a wrong mirror."""
    dims = AXES if keys.dims is None else keys.dims
    if keys.negate is not None or isinstance(keys.signs, tuple):
        return keys.negate
    if "x" not in dims and not keys.signs:  # signs of single joints say it, too
        remedy = "add `negate: DIM` (`negate: []` for none), or `signs` per joint"
        raise Wrong(f"dims {list(dims)} without x, and no `negate`", remedy, ("dims",), kind=MissingKeyError)
    return ("x",) if "x" in dims else ()


def changed(
    body: Skeleton,
    joints: Sequence[str | int] | None,
    dims: tuple[str, ...] | None,
    negate: tuple[str, ...] | None,
    signs: tuple[int, ...] | dict[str, tuple[int, ...]] | None,
) -> Skeleton:
    """A body with other joints, coordinates or signs, each None where it stays. Raises Wrong, SpecError.

    Signs replace those of the body, which could not stand beside a `negate` of other dims.
    """
    if joints is not None:
        body = body.with_joints(joints)
    if signs is not None:
        body = replace(body, signs=())
    if isinstance(signs, tuple):
        chosen = body.dims if dims is None else dims
        if len(signs) != len(chosen):
            facts = f"`signs` has {len(signs)} entries for dims {list(chosen)}"
            raise Wrong(facts, "give one sign per dim, or a map joint: [signs]", ("signs",))
        negate = tuple(dim for dim, sign in zip(chosen, signs, strict=True) if sign < 0)
    if dims is not None or negate is not None:
        body = body.with_dims(dims, negate)
    if isinstance(signs, dict):
        body = replace(body, signs=rows_of(signs, body.joints))
    return body


def rows_of(signs: Mapping[str, tuple[int, ...]], joints: Sequence[str]) -> Signs:
    """`signs: {waist_yaw: [-1]}`: signs over dims for single joints, by name or number. Raises Wrong."""
    rows: dict[int, tuple[int, ...]] = {}
    for name, row in signs.items():
        joint = int(name) if name.isdecimal() and name not in joints else name
        rows[position_in(joints, joint, "joint", ("signs", name))] = row
    return tuple(sorted(rows.items()))


def _pairs_of(keys: SkeletonKeys, joints: Sequence[str], notices: list[str]) -> tuple[tuple[int, int], ...]:
    """(left, right) positions, as listed or from the names. Raises Wrong: pairs are never assumed."""
    if keys.pairs is not None and keys.pairs != "infer":
        return positions_of(keys.pairs, joints, "joint", "pairs")
    pairs = infer_pairs(joints).pairs
    if keys.pairs is None or not pairs:
        facts = "`pairs: infer`, but no names of a left and a right one" if keys.pairs else "no `pairs`"
        hint = f"; the names tell {len(pairs)} pairs, `pairs: infer` takes them" if pairs else ""
        remedy = f"add `pairs: [[left, right], ...]`, or `pairs: []` where nothing is paired{hint}"
        at, kind = (("pairs",), WrongValueError) if keys.pairs else ((), MissingKeyError)
        raise Wrong(facts, remedy, at, kind=kind)
    told = ", ".join(f"{joints[left]}/{joints[right]}" for left, right in pairs)
    notices.append(f"{keys.where or 'pairs'}: {len(pairs)} pairs read from the names: {told}")
    return pairs


def _check_center(keys: SkeletonKeys, skeleton: Skeleton) -> None:
    """Raises Wrong where a joint is neither in a pair nor, as far as one can tell, one of the middle.

    A joint without a pair is fine where its name has no side; `l_ear` has to be listed under `center`, or the file has
    to say `pairs: []`. Where `center` is given, it has to list all that are in no pair.
    """
    joints, rest = skeleton.joints, skeleton.center
    center = [position_in(joints, joint, "joint", ("center", at)) for at, joint in enumerate(keys.center or ())]
    for at, index in enumerate(center):
        if index not in rest:
            raise Wrong(f"centre joint {joints[index]!r} is also in a pair", "drop one of them", ("center", at))
    whole = f"center: [{', '.join(joints[index] for index in rest)}]"
    for index in rest:
        name = joints[index]
        if index not in center and (keys.center is not None or (side(name) and keys.pairs != ())):
            near = nearest(partner_name(name) or name, [other for other in joints if other != name])
            facts = f"joint {name!r} has no partner" + when(near, f"; the nearest name is {near!r}")
            remedy = f"correct the name or the pairs, or list all joints that are in no pair: {whole}"
            raise Wrong(facts, remedy, ("joints", index), kind=UnpairedJointError)


# ---- names and files --------------------------------------------------------------------------------------------
@lru_cache(maxsize=1)
def shipped() -> dict[str, Path]:
    """The files of the shipped skeletons by name, robots among them. Raises SpecError where they are missing."""
    package = Path(__file__).parents[1]
    for folder in (package / "_skeletons", package.parent / "skeletons"):
        files = {path.stem: path for path in sorted(folder.rglob("*.yaml"))}
        if files:
            return files
    raise SpecError(str(package), "the shipped skeletons are missing", "install chiralize again")


@lru_cache(maxsize=64)
def _shipped_skeleton(name: str) -> Skeleton:
    """A shipped skeleton; of a robot's file with several mirrors that of the first."""
    return read_skeleton(read_yaml(shipped()[name]), [])


@lru_cache(maxsize=1)
def _aliases() -> dict[str, str]:
    """Alias -> name; reads all shipped files, once."""
    table: dict[str, str] = {}
    for name in shipped():
        table |= dict.fromkeys(_shipped_skeleton(name).aliases, name)
    return table


def names_of_size(*counts: int) -> list[str]:
    """Names of the shipped skeletons that have one of these numbers of joints, robots left out."""
    names = [name for name, path in shipped().items() if path.parent.name != "robots"]
    return [name for name in names if len(_shipped_skeleton(name).joints) in counts]


def shipped_name(name: str) -> str | None:
    """The shipped skeleton of exactly this name or alias."""
    return name if name in shipped() else _aliases().get(name)


def locate(reference: str | Path, folder: Path) -> Path:
    """The file that a name or path means, a path relative to `folder`. Raises Wrong; no name is ever guessed."""
    text = str(reference)
    name = shipped_name(text) if isinstance(reference, str) else None  # a `Path` always means a file
    path = folder / text if name is None else shipped()[name]
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # what no file can be called: a name too long, a NUL in it
        is_file = False
    if is_file:
        return path
    stem = Path(text).stem if Path(text).suffix.lower() in _SUFFIXES else text
    near = nearest(stem, [*shipped(), *_aliases()])
    facts = f"neither a shipped skeleton nor a file is called {shown(text)}"
    remedy = when(near, f"did you mean {near!r}? ") + "`chiralize skeleton list` has all names"
    raise Wrong(facts, remedy, ("skeleton",), kind=UnknownNameError)


def open_file(name_or_file: str | Path) -> Document:
    """The document of that name, alias or file. Raises UnknownNameError, YamlSyntaxError."""
    try:
        path = locate(name_or_file, Path())
    except Wrong as wrong:
        raise wrong.error("skeleton") from None
    return read_yaml(path)


def load_skeleton(name_or_file: str | Path | Skeleton, notices: list[str] | None = None) -> Skeleton:
    """The skeleton of that name, alias or file. A file may be a specification: its tensors are not looked at.

    notices: collects what was assumed (pairs read from names).
    Raises UnknownNameError where neither a shipped skeleton nor a file is meant, SpecError where the file is wrong.
    """
    if isinstance(name_or_file, Skeleton):
        return name_or_file
    return read_skeleton(open_file(name_or_file), [] if notices is None else notices)


def read_skeleton(document: Document, notices: list[str], depth: int = 0) -> Skeleton:
    """The skeleton of a document, with what it extends; of several mirrors that of the first. Raises SpecError.

    depth: how many files extend it.
    """
    document = next(iter(by_mirror(document).values()), document)
    keys = document.read(SkeletonKeys)
    with document.within():
        base = None if keys.skeleton is None else skeleton_at(keys.skeleton, document, notices, depth)
        return skeleton_of(keys, base, document.stem, notices)


def skeleton_at(reference: Any, document: Document, notices: list[str], depth: int = 0) -> Skeleton:
    """The skeleton that a `skeleton:` key means: a name, a file beside the document, or a map with its own keys.

    Raises Wrong with the path of the key on the top level, SpecError of every kind.
    """
    if isinstance(reference, Skeleton):
        return reference
    if isinstance(reference, Map):
        return read_skeleton(replace(document, data=reference), notices, depth + 1)
    if not isinstance(reference, str) or isinstance(reference, Plain) or depth >= _EXTENDS_LIMIT:
        facts = f"`skeleton` is no name, or files extend each other more than {_EXTENDS_LIMIT} deep"
        raise Wrong(facts, "give a name, a file or a map", ("skeleton",), kind=MissingKeyError)
    folder = document.path.parent if document.path is not None else Path()
    return read_skeleton(read_yaml(locate(reference, folder)), notices, depth + 1)


# ---- several mirrors --------------------------------------------------------------------------------------------
MIRRORS = "mirrors"


def by_mirror(document: Document) -> dict[str, Document]:
    """The document as it is for every mirror that it names; empty where it has but one, without a name.

        mirrors:
          left_right: {pairs: [[FL, FR], [RL, RR]], lateral: y}
          front_back: {pairs: [[FL, RL], [FR, RR]], lateral: x}

    For left_right it says `pairs: [[FL, FR], [RL, RR]]` and `lateral: y`, and nothing of the others; and wherever a map
    has the names of the mirrors as its keys (`signs: {left_right: [1, -1], front_back: [-1, 1]}`), its value for this
    mirror stands in for it. So nobody beyond this function knows of more than one mirror. Raises SpecError.
    """
    keys = document.keys
    if MIRRORS not in keys:
        return {}
    mirrors, rest = keys[MIRRORS], Map({key: keys[key] for key in keys if key != MIRRORS}, keys.lines)
    documents: dict[str, Document] = {}
    with document.within((MIRRORS,)):
        for name, chosen in mirrors.items() if isinstance(mirrors, Map) else ():
            if not isinstance(chosen, Map) or name in rest or chosen.keys() & rest.keys():
                facts = f"mirror {name!r} must be a map, and neither its name nor its keys may be keys of the file"
                remedy = (
                    "name each mirror, `left_right: {pairs: [...], lateral: y}`, and say a key below each or for all"
                )
                raise Wrong(facts, remedy, (name,), kind=UnknownKeyError)
            whole = Map({**rest, **chosen}, {**keys.lines, **chosen.lines}, keys.line, keys.where)
            documents[name] = replace(document, data=_for_mirror(whole, name, mirrors))
        if not documents:
            raise Wrong("no mirrors are named", "write `mirrors: {left_right: {pairs: [...], lateral: y}}`")
    return documents


def _for_mirror(value: Any, name: str, mirrors: Map) -> Any:
    """A value as it is for one mirror. Raises MissingKeyError where a map names some of the mirrors, but not all."""
    if isinstance(value, Items):
        return Items([_for_mirror(item, name, mirrors) for item in value], value.lines)
    if not isinstance(value, Map):
        return value
    # One name of a mirror among the keys makes it a map by mirrors: then all have to be in it, and nothing else.
    if value.keys() & mirrors.keys():
        if value.keys() != mirrors.keys():
            facts = f"a map by mirrors with the keys {', '.join(value)}"
            raise MissingKeyError(value.where or MIRRORS, facts, f"give one value for each of {', '.join(mirrors)}")
        return _for_mirror(value[name], name, mirrors)
    entries = {key: _for_mirror(item, name, mirrors) for key, item in value.items()}
    return Map(entries, value.lines, value.line, value.where)
