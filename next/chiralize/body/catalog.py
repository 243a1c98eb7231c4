"""Which skeleton does a name, an alias or a file mean, and which keys may a skeleton file have?

Shipped files lie in the package (`chiralize/_skeletons`, as the wheel installs them) or, in a checkout and in an
editable install, in the folder `skeletons` beside the package. This is the only module that knows.

`load_skeleton("h36m")`, `load_skeleton("mine.yaml")` and `skeleton: h36m` within a file all end here. A reference is
looked up in this order: a shipped name or alias, a file relative to the file that names it, and, for the name of a
missing file, the shipped skeleton of its stem, with a notice. Nothing is guessed: a name that is nearly right is
offered in the error. A file that says `skeleton: h36m` instead of joints extends that one.
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
    Whole,
    Wrong,
    as_list,
    nearest,
    position_in,
    positions_of,
    read_name,
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
    chiralize: Whole = 1
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
    inputs: Any = None
    outputs: Any = None
    hidden: Any = None
    activation: Any = None
    invariant: Any = None
    notices: Any = None

    def checked(self) -> None:
        if self.chiralize != 1:
            facts = f"format version {self.chiralize}"
            raise Wrong(facts, "this version reads `chiralize: 1`", ("chiralize",))
        if self.negate is not None and isinstance(self.signs, tuple):
            facts = "`signs` as a list and `negate` both say which dims change sign"
            raise Wrong(facts, "drop one of them", ("signs",), kind=UnknownKeyError)


def skeleton_of(keys: SkeletonKeys, base: Skeleton | None, name: str, notices: list[str]) -> Skeleton:
    """The Skeleton that the keys describe, starting from `base` where the file extends one. Raises Wrong, SpecError.

    name: where the file gives none.  notices: collects what was read from names.
    """
    if base is not None:
        return _extended(keys, base, keys.name or name)
    if keys.joints is None:
        facts, remedy = "no `joints` and no `skeleton`", "list the joints in the order of the tensors"
        raise Wrong(facts, remedy, kind=MissingKeyError)
    joints = tuple(read_name(joint if isinstance(joint, str) else Plain(joint)) for joint in keys.joints)
    pairs = _pairs_of(keys, joints, notices)
    edges = positions_of(keys.edges or (), joints, "joint", "edges")
    dims, negate = _dims_of(keys)
    signs = rows_of(keys.signs, joints, dims) if isinstance(keys.signs, dict) else ()
    skeleton = Skeleton(
        keys.name or name,
        joints,
        pairs,
        dims,
        negate,
        signs,
        keys.lateral,
        edges,
        keys.aliases or (),
        keys.source,
        keys.note,
    )
    _check_center(keys, skeleton)
    return skeleton


def _extended(keys: SkeletonKeys, base: Skeleton, name: str) -> Skeleton:
    """The base with what the file changes: which joints, then which coordinates, their signs, and the rest."""
    for key in ("pairs", "center"):
        if getattr(keys, key) is not None:
            facts = f"{key!r} beside `skeleton: {base.name}`, which gives it already"
            remedy = f"drop it, or start from a copy: `chiralize skeleton show {base.name} --format json > mine.json`"
            raise Wrong(facts, remedy, (key,), kind=UnknownKeyError)
    # A file that changes nothing is the base itself, name and aliases included.
    if not any(getattr(keys, key) for key in _CHANGES) and keys.negate is None:
        return base
    body = changed(base, keys.joints, keys.dims, keys.negate, keys.signs)
    return replace(
        body,
        name=name,
        lateral=keys.lateral or body.lateral,
        edges=body.edges if keys.edges is None else positions_of(keys.edges, body.joints, "joint", "edges"),
        aliases=keys.aliases or (),
        source=keys.source or body.source,
        note=keys.note or body.note,
    )


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
        negate = negated_by(signs, dims or body.dims)
    if dims is not None or negate is not None:
        body = body.with_dims(dims, negate)
    if isinstance(signs, dict):
        body = replace(body, signs=rows_of(signs, body.joints, body.dims))
    return body


def negated_by(signs: tuple[int, ...], dims: Sequence[str]) -> tuple[str, ...]:
    """`signs: [-1, 1, 1]` over dims, the same for every joint, as the negated dims. Raises Wrong."""
    if len(signs) != len(dims):
        facts = f"`signs` has {len(signs)} entries for dims {list(dims)}"
        raise Wrong(facts, "give one sign per dim, or a map joint: [signs]", ("signs",))
    return tuple(dim for dim, sign in zip(dims, signs, strict=True) if sign < 0)


def rows_of(signs: Mapping[str, tuple[int, ...]], joints: Sequence[str], dims: Sequence[str]) -> Signs:
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


def _dims_of(keys: SkeletonKeys) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """dims and those that are negated. Raises Wrong where nothing says which: a wrong guess would be a wrong mirror."""
    dims = AXES if keys.dims is None else keys.dims
    if isinstance(keys.signs, tuple):
        return dims, negated_by(keys.signs, dims)
    if keys.negate is not None:
        return dims, tuple(dict.fromkeys(keys.negate))
    if "x" in dims or keys.signs:  # signs of single joints say it, too
        return dims, ("x",) if "x" in dims else ()
    remedy = "add `negate: DIM` (`negate: []` for none), or `signs` per joint"
    raise Wrong(f"dims {list(dims)} without x, and no `negate`", remedy, ("dims",), kind=MissingKeyError)


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


def locate(reference: str | Path, folder: Path, notices: list[str]) -> Path:
    """The file that a name or path means, a path relative to `folder`. Raises Wrong; no name is ever guessed.

    A name of a file that does not exist falls back to the shipped skeleton of its stem, with a notice.
    """
    text = str(reference)
    name = shipped_name(text) if isinstance(reference, str) else None  # a `Path` always means a file
    if name is not None:
        return shipped()[name]
    path = folder / text
    if _is_file(path):
        return path
    stem = Path(text).stem if Path(text).suffix.lower() in _SUFFIXES else ""
    name = shipped_name(stem)
    if name is not None:
        notices.append(f"{text} is not a file: the shipped skeleton {name} is used")
        return shipped()[name]
    near = nearest(stem or text, [*shipped(), *_aliases()])
    hint = f"did you mean {near!r}? " if near else ""
    facts = f"neither a shipped skeleton nor a file is called {shown(text)}"
    raise Wrong(facts, f"{hint}`chiralize skeleton list` has all names", kind=UnknownNameError)


def _is_file(path: Path) -> bool:
    """Whether such a file exists; False, too, for what no file can be called (a name too long, a NUL in it)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def load_skeleton(name_or_file: str | Path | Skeleton, notices: list[str] | None = None) -> Skeleton:
    """The skeleton of that name, alias or file. A file may be a specification: its tensors are not looked at.

    notices: collects what was assumed (a fallback, pairs read from names).
    Raises UnknownNameError where neither a shipped skeleton nor a file is meant, SpecError where the file is wrong.
    """
    if isinstance(name_or_file, Skeleton):
        return name_or_file
    notices = [] if notices is None else notices
    try:
        path = locate(name_or_file, Path(), notices)
    except Wrong as wrong:
        raise wrong.error("skeleton") from None
    return read_skeleton(read_yaml(path), notices)


def read_skeleton(document: Document, notices: list[str], depth: int = 0) -> Skeleton:
    """The skeleton of a document, with what it extends; of several mirrors that of the first. Raises SpecError.

    depth: how many files extend it.
    """
    document = next(iter(by_mirror(document).values()), document)
    keys = document.read(SkeletonKeys)
    with document.within():
        base = None if keys.skeleton is None else skeleton_at(keys.skeleton, document, notices, depth)
    with document.within():
        return skeleton_of(keys, base, _stem(document), notices)


def _stem(document: Document) -> str:
    return document.path.stem if document.path is not None else "unnamed"


def skeleton_at(reference: Any, document: Document, notices: list[str], depth: int = 0) -> Skeleton:
    """The skeleton that a `skeleton:` key means: a name, a file beside the document, or a map with its own keys.

    Raises Wrong with the path of the key on the top level, SpecError of every kind.
    """
    if isinstance(reference, Skeleton):
        return reference
    if isinstance(reference, Map):
        return read_skeleton(Document(reference, document.source, document.path), notices, depth + 1)
    at = ("skeleton",)
    if not isinstance(reference, str) or isinstance(reference, Plain):
        raise Wrong("`skeleton` is no name", "give a name, a file or a map", at, kind=MissingKeyError)
    if depth >= _EXTENDS_LIMIT:
        facts = f"skeleton files extend each other more than {_EXTENDS_LIMIT} deep"
        raise Wrong(facts, "end the circle", at, kind=SpecError)
    folder = document.path.parent if document.path is not None else Path()
    try:
        path = locate(reference, folder, notices)
    except Wrong as wrong:
        raise Wrong(wrong.facts, wrong.remedy, at, kind=wrong.kind) from None
    return read_skeleton(read_yaml(path), notices, depth + 1)


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
            twice = [key for key in chosen if key in rest] if isinstance(chosen, Map) else []
            if twice:
                facts = f"mirror {name!r} has a key {twice[0]!r}, and so has the file"
                raise Wrong(facts, "say it below each, or for all", (name, twice[0]), kind=UnknownKeyError)
            if not isinstance(chosen, Map) or name in rest:
                facts = f"mirror {name!r} must be a map, and be called like no key of the file"
                raise Wrong(facts, "name each mirror: `left_right: {pairs: [...], lateral: y}`", (name,))
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
