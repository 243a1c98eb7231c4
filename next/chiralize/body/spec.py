"""What is said of a model, for each of its mirrors, and what does it come to on its tensors?

`load_spec` is the only way from a name or file to a `Spec`; after it nobody looks at YAML again.

    load_spec("h36m")                                          a shipped skeleton; layouts are inferred from sizes
    load_spec("dog.yaml", input_layouts=["b t j d"])           a file, with other layouts
    load_spec({"skeleton": "h36m", "inputs": ["b j d"]})       the keys of a file

All commands begin here. No network is known yet: `resolve` fits the specification to a network's shapes, and makes the
records at the end of this module. T on a tensor is affine, T x = c + R (x - c), with its `representation` R and its
`center` c, None for 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chiralize.body.catalog import MIRRORS, by_mirror, open_file, skeleton_at, skeleton_of
from chiralize.body.document import Document, from_python, parse_yaml
from chiralize.body.fitting import Pose
from chiralize.body.hidden import HiddenPolicy
from chiralize.body.layout import CLASSES, parse_layout
from chiralize.body.schema import FileKeys, Tensor
from chiralize.body.skeleton import Skeleton
from chiralize.body.values import Wrong
from chiralize.errors import NotAnInvolutionError, SpecError, WrongValueError
from chiralize.errors.words import when
from chiralize.symmetry.orbits import entry_apart
from chiralize.symmetry.representation import TensorRepresentation


@dataclass(frozen=True, repr=False)
class Spec:
    """Everything that describes the mirror of one model.

    inputs, outputs: one entry per tensor, None where the layouts are inferred from the sizes.
    invariant: every output is invariant (scores).  activation: `keep` or `tanh`.
    mirrors: where the file names several mirrors, the specification of each, by name; the first of them is what this
    record holds otherwise.  notices: what was assumed while reading, for the user to see.
    """

    name: str
    skeleton: Skeleton
    inputs: tuple[Tensor, ...] | None = None
    outputs: tuple[Tensor, ...] | None = None
    hidden: HiddenPolicy = field(default_factory=HiddenPolicy)
    activation: str = "keep"
    invariant: bool = False
    mirrors: Mapping[str, Spec] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def named(self) -> dict[str, Spec]:
        """Every mirror by name, each as a specification of that one alone; one without a name is `mirror`."""
        return dict(self.mirrors) or {"mirror": self}

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The inputs, then the outputs; none for layouts that are inferred."""
        return (*(self.inputs or ()), *(self.outputs or ()))

    @property
    def is_affine(self) -> bool:
        """Whether some coordinates are mirrored at a point other than 0, so that biases hold an offset."""
        return any(tensor.is_affine for tensor in self.tensors)

    def __repr__(self) -> str:
        return f"<Spec {self.name}: {_layouts(self.inputs)} -> {_layouts(self.outputs)}, {self.skeleton!r}>"

    def to_dict(self) -> dict[str, object]:
        """The specification as JSON values: a file that needs no other, which reads back as an equal specification."""
        fields: dict[str, object] = {"chiralize": 1, "name": self.name}
        if self.mirrors:
            fields[MIRRORS] = {name: spec._of_one_mirror() for name, spec in self.mirrors.items()}
        else:
            fields |= self._of_one_mirror()
        return fields | {"notices": list(self.notices)}

    def _of_one_mirror(self) -> dict[str, object]:
        fields: dict[str, object] = {"skeleton": self.skeleton.to_dict()}
        for key, tensors in (("inputs", self.inputs), ("outputs", self.outputs)):
            if tensors is not None:
                fields[key] = [tensor.to_dict() for tensor in tensors]
        return fields | {"hidden": self.hidden.to_dict(), "activation": self.activation, "invariant": self.invariant}

    @staticmethod
    def from_dict(fields: Mapping[str, object]) -> Spec:
        """The inverse of `to_dict`. Raises SpecError."""
        return _read(from_python(fields, "specification"))


def _layouts(tensors: tuple[Tensor, ...] | None) -> str:
    """`'b t j d', free`, or that they are inferred."""
    if tensors is None:
        return "inferred"
    return ", ".join(repr(tensor.layout) if tensor.layout else tensor.kind for tensor in tensors) or "nothing"


def load_spec(
    source: str | Path | Mapping[str, object] | Skeleton | Spec,
    *,
    input_layouts: Sequence[str] = (),
    output_layouts: Sequence[str] = (),
    invariant: bool = False,
) -> Spec:
    """The specification of a shipped skeleton, a file, a dict with the keys of a file, a Skeleton, or another one.

    input_layouts, output_layouts: layouts (or free, invariant, state, unclaimed, auto) in the order of the tensors,
    in place of those of the file.  invariant: all outputs are scores that the mirror leaves alone.
    Raises UnknownNameError, SpecError of every kind, with file and line.
    """
    spec = _load(source)
    # Options hold for every mirror of a file alike.
    mirrors = {name: _with_options(one, input_layouts, output_layouts, invariant) for name, one in spec.mirrors.items()}
    return replace(_with_options(spec, input_layouts, output_layouts, invariant), mirrors=mirrors)


def parse_spec(text: str, source: str = "<text>") -> Spec:
    """The specification that YAML text describes. Raises SpecError."""
    return _read(parse_yaml(text, source))


def _load(source: str | Path | Mapping[str, object] | Skeleton | Spec) -> Spec:
    """The specification without options; a relative path counts from the working directory."""
    if isinstance(source, Spec):
        return source
    if isinstance(source, Skeleton):
        return Spec(source.name, source)
    return _read(from_python(source, "specification") if isinstance(source, Mapping) else open_file(source))


def _read(document: Document) -> Spec:
    """The specification of a document; of several mirrors each is read as a file of its own, which names none."""
    documents = by_mirror(document)
    if not documents:
        return _read_one(document)
    specs = {name: _read_one(one) for name, one in documents.items()}
    with document.within((MIRRORS,)):
        _check_together(specs)
    first = next(iter(specs.values()))
    return replace(first, mirrors=specs if len(specs) > 1 else {})


def _read_one(document: Document) -> Spec:
    """The specification of a document with one mirror."""
    notices: list[str] = []
    keys = document.read(FileKeys, skeleton_at=lambda reference: skeleton_at(reference, document, notices))
    with document.within():
        base = None if keys.skeleton is None else skeleton_at(keys.skeleton, document, notices)
        skeleton = skeleton_of(keys, base, document.stem, notices)
    for io, tensors in (("input", keys.inputs), ("output", keys.outputs)):
        for number, tensor in enumerate(tensors or ()):
            with document.within((f"{io}s", number)):
                tensor.check(skeleton, io)
    if keys.activation == "keep" and keys.hidden.any_negated:
        where, remedy = document.where(("hidden",)), "`activation: tanh` lets them stay negated"
        notices.append(f"{where}: negated hidden channels meet activations that are not odd: {remedy}")
    name = keys.name or (document.stem if document.path is not None else skeleton.name)
    said = (*keys.notices, *notices)
    return Spec(name, skeleton, keys.inputs, keys.outputs, keys.hidden, keys.activation, keys.invariant, notices=said)


def _check_together(specs: Mapping[str, Spec]) -> None:
    """Raises Wrong where two mirrors do not commute or are of different bodies: one would break what the other gave."""
    for (name, one), (other_name, other) in combinations(specs.items(), 2):
        first, second = one.skeleton, other.skeleton
        if first.joints != second.joints or first.dims != second.dims:
            facts = f"mirrors {name} and {other_name} are of different bodies"
            raise Wrong(facts, "give them the same joints and dims", (other_name,), kind=SpecError)
        apart = entry_apart(first.merged_action(), second.merged_action())
        if apart is not None:
            joint, dim = divmod(apart, len(first.dims))
            entry = f"{first.joints[joint]}.{first.dims[dim]}"
            facts = f"mirrors {name} and {other_name} do not commute at {entry}: the result depends on their order"
            raise Wrong(facts, "correct the pairs or signs of it", (other_name,), kind=NotAnInvolutionError)


# ---- options ----------------------------------------------------------------------------------------------------
def _with_options(spec: Spec, inputs: Sequence[str], outputs: Sequence[str], invariant: bool) -> Spec:
    """The specification of one mirror with layouts in place of those of the file, and with invariant outputs."""
    if invariant:
        if outputs or any(tensor.kind not in ("invariant", "state", "like") for tensor in spec.outputs or ()):
            facts = "the outputs are described already, by the file or by layouts"
            raise WrongValueError("invariant", facts, "drop one of them")
        spec = replace(spec, invariant=True)
    return replace(
        spec,
        inputs=_with_layouts(spec.inputs, inputs, "input"),
        outputs=_with_layouts(spec.outputs, outputs, "output"),
    )


def _with_layouts(tensors: tuple[Tensor, ...] | None, layouts: Sequence[str], io: str) -> tuple[Tensor, ...] | None:
    """The tensors with these layouts in place of the file's, from the first on. Raises SpecError."""
    if not layouts:
        return tensors
    if tensors is not None and len(layouts) > len(tensors):
        facts = f"{len(layouts)} layouts, but the file describes {len(tensors)} {io}s"
        raise WrongValueError(f"{io} layouts", facts, "give one layout per tensor")
    given = list(tensors or [Tensor()] * len(layouts))
    for number, text in enumerate(layouts):
        document = from_python({"inputs": [text]}, f"{io} layout {number + 1}")
        new = (document.read(FileKeys).inputs or (Tensor(),))[0]
        # A layout says where joints and fields lie, and the file what they are; a word replaces all of it.
        if new.kind == "pose" and given[number].kind in ("pose", "fields"):
            turned = given[number].turned if not new.turned else {}
            new = given[number].model_copy(update={"layout": new.layout, "mirror": turned})
            with document.within():
                new.check_layout()
        given[number] = new
    return tuple(given)


# ---- what it comes to on the tensors of a network: the records that `resolve` makes -------------------------------
Shape = tuple[int, ...]
Array = npt.NDArray[np.float64]
TensorKey = tuple[str, int]
"""`input` or `output`, and the position among those tensors."""
Joined = tuple[TensorKey, TensorKey]
"""Two tensors that carry one representation."""


@dataclass(frozen=True)
class Handed:
    """A result of one call that is an argument of the next. output, input: positions among the tensors.

    axis: of the frames, where the input has its last ones and the result comes behind them, a single frame without
    that axis, too; None where it takes the input's position.  is_state: it starts at zero; else the first calls of a
    sequence read what is observed.
    """

    output: int
    input: int
    axis: int | None = None
    is_state: bool = False


@dataclass(frozen=True)
class OnTensor:
    """One tensor: its shape, its entry and how the mirror acts on it, T x = c + R (x - c).

    representation: R; None where inference has to find it (`state`, `like` of such a one) and where nothing is claimed.
    center: c, broadcastable to the tensor, None for 0.  spread: how far values lie apart where c is not 0.
    layout: the layout as text.  free_axes: (word, position) of the axes that the mirror leaves alone.
    pose: of joints and coordinates.  parts: (name, positions) of the blocks along their axis.  unclaimed: positions
    along the last axis of which nothing is claimed.  names, name_axis: the name of every entry along one axis.
    """

    io: str
    index: int
    shape: Shape
    entry: Tensor
    representation: TensorRepresentation | None = None
    center: Array | None = field(default=None, compare=False)
    spread: Array | None = field(default=None, compare=False)
    layout: str = ""
    free_axes: tuple[tuple[str, int], ...] = ()
    pose: Pose | None = None
    parts: tuple[tuple[str, slice], ...] = field(default=(), compare=False)
    unclaimed: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    name_axis: int | None = None

    @property
    def kind(self) -> str:
        """`pose`, `fields`, `classes`, `free`, `invariant`, `unclaimed`, `like` or `state`."""
        return self.entry.kind

    @property
    def number(self) -> TensorKey:
        """`input` or `output`, and the position among those."""
        return self.io, self.index

    @property
    def has_rows(self) -> bool:
        """Whether its first axis is the batch."""
        return ("b", 0) in self.free_axes

    @property
    def is_free(self) -> bool:
        """The mirror leaves it as it is, whatever its axes mean."""
        return self.kind in ("free", "invariant")

    @property
    def where(self) -> str:
        """The tensor as messages name it: `input 0 'poses'`."""
        return f"{self.io} {self.index}" + when(self.entry.name, f" '{self.entry.name}'")

    @property
    def spot(self) -> str:
        """The tensor with its file and line, where it has them."""
        return self.where + when(self.entry.where, f" ({self.entry.where})")

    @property
    def class_axis(self) -> int | None:
        """The axis of its scores of classes; None for a tensor of another kind."""
        return parse_layout(self.layout).axis_of(CLASSES) if self.kind == "classes" else None

    def label(self, index: Sequence[int]) -> str:
        """The entry at `index` in the words of the skeleton: `right_elbow.x`, `gravity.z`, or `[0, 3]`."""
        if self.name_axis is not None:
            return self.names[index[self.name_axis]]
        # Free axes, samples and frames, are left out: all of their entries have the same name.
        words: list[str] = []
        if self.pose is not None:
            positions = self.pose.positions(index)
            words += [self.pose.body.joints[position] for word, position in positions if word == "j"]
            words += [self.pose.body.dims[position] for word, position in positions if word == "d"]
        return ".".join(words) or str(list(map(int, index)))

    def part(self, index: Sequence[int]) -> str:
        """The joint, or the quantity, that the entry at `index` belongs to: `right_elbow`, `gravity`."""
        label = self.label(index)
        # The last word is a coordinate, and not a part of a name such as `knee.left`.
        joint, _, dim = label.rpartition(".")
        dims = self.pose.body.dims if self.pose is not None else ()
        return joint if joint and dim in {*"xyz", *dims} else label


@dataclass(frozen=True)
class Resolved:
    """A specification fitted to a model.

    joined: ((io, index), (io, index)) of tensors that must carry the same representation: states, and `like`.
    handed: what one call hands to the next.
    """

    spec: Spec
    inputs: tuple[OnTensor, ...]
    outputs: tuple[OnTensor, ...]
    joined: tuple[Joined, ...] = ()
    handed: tuple[Handed, ...] = ()

    @property
    def has_rows(self) -> bool:
        """Whether samples lie along the first axis of every input; free ones beside them may be without."""
        rows = [tensor.has_rows for tensor in self.inputs]
        return any(rows) and all(tensor.has_rows or tensor.is_free for tensor in self.inputs)

    @property
    def is_single(self) -> bool:
        """Whether a call is one sample: the first axis of every described input is an axis of the body.

        A robot's policy that takes `(36,)` and returns `(12,)` is one.
        """
        described = [tensor for tensor in self.inputs if not tensor.is_free and tensor.kind != "state"]
        return bool(described) and all(
            tensor.shape and all(axis for _, axis in tensor.free_axes) for tensor in described
        )

    @property
    def is_affine(self) -> bool:
        """Whether some tensor is mirrored at a point other than 0."""
        return any(tensor.center is not None for tensor in (*self.inputs, *self.outputs))

    @property
    def is_trivial(self) -> bool:
        """Whether T leaves every input and every output as it is."""
        actions = (tensor.representation for tensor in (*self.inputs, *self.outputs))
        return all(action is None or action.is_trivial for action in actions)

    def tensors(self, io: str) -> tuple[OnTensor, ...]:
        """The inputs or the outputs."""
        return self.inputs if io == "input" else self.outputs

    def representations(self, io: str) -> tuple[TensorRepresentation | None, ...]:
        """T on every `input` or `output`; None where inference has to find it."""
        return tuple(tensor.representation for tensor in self.tensors(io))

    def centers(self, io: str) -> tuple[Array | None, ...]:
        """The point at which every tensor is mirrored; None where that is 0."""
        return tuple(tensor.center for tensor in self.tensors(io))

    @property
    def spreads(self) -> tuple[Array | None, ...]:
        """How far values of every input lie apart; None where it is mirrored at 0."""
        return tuple(tensor.spread for tensor in self.inputs)

    def label(self, io: str, index: int, entry: Sequence[int]) -> str:
        """Words for one entry of a tensor, such as `right_elbow.x`."""
        return self.tensors(io)[index].label(entry)
