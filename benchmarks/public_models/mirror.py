"""T on the tensors of a network, read from a recipe's specification with numpy and torch alone.

Nothing here comes from chiralize: what is judged must not supply the measure. It knows only what the recipes use:
layouts, joint subsets, fields, classes, `like`, `free`, `invariant`, `state`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

SKELETONS = Path(__file__).parents[2] / "skeletons"
_AXES = ("x", "y", "z")
_SKELETON_KEYS = ("joints", "pairs", "dims", "negate", "signs", "lateral")


@dataclass(frozen=True)
class Body:
    """partner: index of the other joint.  signs: joint -> one sign per dim."""

    joints: tuple[str, ...]
    partner: tuple[int, ...]
    dims: tuple[str, ...]
    signs: tuple[tuple[int, ...], ...]
    lateral: str


@dataclass(frozen=True)
class Action:
    """How T acts on one tensor: reshape to `sizes`, gather along `axis`, multiply by `sign`, reshape back.

    groups: (label, indices along `axis`) of what belongs to one joint, or is one entry of a concatenated axis.
    """

    sizes: tuple[int, ...] = ()
    axis: int = 0
    index: torch.Tensor | None = None
    sign: torch.Tensor | None = None
    groups: tuple[tuple[str, int], ...] = ()

    @property
    def is_trivial(self) -> bool:
        return self.index is None

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """T x."""
        if self.index is None or self.sign is None:
            return tensor
        opened = tensor.reshape(self.sizes).index_select(self.axis, self.index)
        return (opened * self.sign.to(tensor.dtype)).reshape(tensor.shape)

    def moved(self, tensor: torch.Tensor, place: int, noise: torch.Tensor) -> torch.Tensor:
        """The tensor with noise on the entries of one group."""
        mask = torch.zeros([size if i == self.axis else 1 for i, size in enumerate(self.sizes)], dtype=tensor.dtype)
        mask.view(-1)[place] = 1
        return (tensor.reshape(self.sizes) + mask * noise.reshape(self.sizes)).reshape(tensor.shape)

    def of(self, tensor: torch.Tensor, place: int) -> torch.Tensor:
        """The entries of one group."""
        return tensor.reshape(self.sizes).select(self.axis, place)


# ---- reading --------------------------------------------------------------------------------------------------------
def actions(spec: Mapping[str, Any], shapes: Mapping[str, Sequence[torch.Size]]) -> dict[str, list[Action | None]]:
    """T on all `inputs` and `outputs`; None for a state, whose representation is the converter's own affair."""
    body = _body(spec, None)
    found: dict[str, list[Action | None]] = {"inputs": [], "outputs": []}
    for side, made in found.items():
        entries = spec[side]
        assert len(entries) == len(shapes[side]), f"{side}: {len(entries)} entries, {len(shapes[side])} tensors"
        for entry, shape in zip(entries, shapes[side], strict=True):
            entry = {"layout": entry} if isinstance(entry, str) else entry
            if "like" in entry:
                kind, _, number = entry["like"].partition(" ")
                made.append(found[kind + "s"][int(number)])
            else:
                made.append(_action(entry, body, tuple(shape)))
    return found


def _body(spec: Mapping[str, Any], default: Body | None) -> Body:
    base: dict[str, Any] = {}
    if "skeleton" in spec:
        base = _shipped(spec["skeleton"])
    base |= {key: spec[key] for key in _SKELETON_KEYS if key in spec}
    if not base and default is not None:
        return default
    joints = tuple(base["joints"])
    partner = list(range(len(joints)))
    for pair in base["pairs"]:
        left, right = (joints.index(own) if isinstance(own, str) else own for own in pair)
        partner[left], partner[right] = right, left
    dims = tuple(base.get("dims", _AXES))
    negate = base["negate"] if "negate" in base else ["x"]
    rows = [tuple(-1 if dim in negate else 1 for dim in dims)] * len(joints)
    for joint, row in (base.get("signs") or {}).items():
        rows[joints.index(joint)] = tuple(row)
    return Body(joints, tuple(partner), dims, tuple(rows), base.get("lateral", "x"))


def _shipped(name: str) -> dict[str, Any]:
    for path in sorted(SKELETONS.glob("*.yaml")):
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.stem == name or name in found.get("aliases", ()):
            return {key: found[key] for key in _SKELETON_KEYS if key in found}
    raise LookupError(f"no skeleton {name!r}")


def _tailored(entry: Mapping[str, Any], body: Body) -> Body:
    """The body with the joints, dims and signs of one tensor."""
    if "skeleton" in entry:
        body = _body({"skeleton": entry["skeleton"]}, None)
    joints, partner, rows = list(body.joints), list(body.partner), list(body.signs)
    if "joints" in entry:
        kept = [joints.index(own) if isinstance(own, str) else own for own in entry["joints"]]
        partner = [kept.index(partner[own]) for own in kept]
        joints, rows = [joints[own] for own in kept], [rows[own] for own in kept]
    dims = tuple(entry.get("dims", body.dims))
    old = [dict(zip(body.dims, row, strict=True)) for row in rows]
    if "negate" in entry:
        old = [{dim: -1 if dim in entry["negate"] else 1 for dim in dims}] * len(joints)
    rows = [tuple(row.get(dim, 1) for dim in dims) for row in old]
    return Body(tuple(joints), tuple(partner), dims, tuple(rows), body.lateral)


def _action(entry: Mapping[str, Any], body: Body, shape: tuple[int, ...]) -> Action | None:
    if entry.get("state"):
        return None
    if entry.get("free") or entry.get("invariant"):
        return Action()
    if "classes" in entry:
        return _along_last(shape, *_swapped(entry["classes"], shape[-1]), ())
    body = _tailored(entry, body)
    if "fields" in entry:
        index, sign, labels = _fields(entry["fields"], body)
        return _along_last(shape, index, sign, labels)
    return _pose(entry["layout"], body, shape)


def _along_last(shape: tuple[int, ...], index: list[int], sign: list[int], labels: Sequence[str]) -> Action:
    assert len(index) == shape[-1], f"{len(index)} entries described, the axis has {shape[-1]}"
    groups = tuple((label, place) for place, label in enumerate(labels))
    return Action(shape, len(shape) - 1, torch.tensor(index), torch.tensor(sign), groups)


def _pose(layout: str, body: Body, shape: tuple[int, ...]) -> Action:
    sizes, words = _opened(layout, {"j": len(body.joints), "d": len(body.dims)}, shape)
    sign = torch.tensor(body.signs)  # joint, dim
    where = [1] * len(sizes)
    axis = words.index("j")
    if "d" in words:
        dim_axis = words.index("d")
        where[axis], where[dim_axis] = sign.shape
        sign = sign if axis < dim_axis else sign.T
    else:
        assert len(body.dims) <= 1, "a layout without d has one dim, or none: a score per joint"
        sign = sign if body.dims else torch.ones(len(body.joints), 1, dtype=torch.int64)
        where[axis] = len(body.joints)
    groups = tuple((joint, place) for place, joint in enumerate(body.joints))
    return Action(sizes, axis, torch.tensor(body.partner), sign.reshape(where), groups)


def _opened(layout: str, known: Mapping[str, int], shape: tuple[int, ...]) -> tuple[tuple[int, ...], list[str]]:
    """Sizes and words of a tensor whose merged axes are taken apart."""
    axes = list(_axes(layout, len(shape)))
    assert len(axes) == len(shape), f"layout {layout!r} on shape {shape}"
    sizes: list[int] = []
    for words, size in zip(axes, shape, strict=True):
        rest = [word for word in words if word not in known]
        product = math.prod(known[word] for word in words if word in known)
        assert len(rest) <= 1 and size % product == 0, f"axis {words} of {size} in layout {layout!r}"
        assert rest or size == product, f"axis {words} of {size}, expected {product}"
        sizes += [known.get(word, size // product) for word in words]
    return tuple(sizes), [word for words in axes for word in words]


def _axes(layout: str, ndim: int) -> Iterator[list[str]]:
    text = layout.replace("(", " ( ").replace(")", " ) ").split()
    groups: list[list[str]] = []
    inside = False
    for token in text:
        if token in "()":
            inside = token == "("
            if inside:
                groups.append([])
        elif inside:
            groups[-1].append(token)
        else:
            groups.append([token])
    for group in groups:
        yield from ([["_"]] * (ndim - len(groups) + 1) if group == ["..."] else [group])


def _swapped(classes: Mapping[str, Any], size: int) -> tuple[list[int], list[int]]:
    index, names = list(range(size)), list(classes.get("names", ()))
    for pair in classes["swap"]:
        a, b = (names.index(own) if isinstance(own, str) else own for own in pair)
        index[a], index[b] = b, a
    return index, [1] * size


def _fields(fields: Sequence[Mapping[str, Any]], body: Body) -> tuple[list[int], list[int], list[str]]:
    index: list[int] = []
    sign: list[int] = []
    labels: list[str] = []
    for own in fields:
        start = len(index)
        name = own.get("name")
        if "joints" in own:
            width = len(body.dims)
            index += [start + partner * width + dim for partner in body.partner for dim in range(width)]
            sign += [one for row in body.signs for one in row]
            labels += [f"{own['joints']}: {joint}" for joint in body.joints for _ in body.dims]
            continue
        if "vector" in own or "axial" in own:
            lateral = [axis == body.lateral for axis in _AXES]
            flips = lateral if "vector" in own else [not one for one in lateral]
            signs, name = [-1 if one else 1 for one in flips], own.get("vector", own.get("axial"))
        else:
            signs = list(own["signs"]) if "signs" in own else [1] * own["scalar"]
        index += range(start, start + len(signs))
        sign += signs
        labels += [f"{name or 'field'} {place}" for place in range(len(signs))]
    return index, sign, labels
