"""T in the user's code: left and right swapped in arrays and tensors, by what a specification says of them.

`Mirror` is for whoever writes a data loader, an augmentation or a test, so that the swap is written down once:

    mirror = Mirror.of("h36m", input_shapes=[(1, 17, 2)])
    mirror(x)               T x, of a batch or of one sample, of a tensor or an array, of any dtype
    mirror.module()         the same as a torch.nn.Module
    mirror.augment(0.5)     mirroring at random, of inputs and targets together
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from chiralize.body.resolve import OnTensor, resolve
from chiralize.body.skeleton import Skeleton
from chiralize.body.spec import Spec, load_spec
from chiralize.errors import UsageError
from chiralize.errors.words import when
from chiralize.nn.augmentation import Augmentation
from chiralize.nn.two_view import MirrorTensor
from chiralize.symmetry.action import Turn, act, act_on_array, shift
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

Side = Literal["input", "output"]
Shapes = Sequence[Sequence[int]]
_UNSIGNED = (torch.uint8, torch.uint16, torch.uint32, torch.uint64)


@dataclass(frozen=True, repr=False)
class Mirror:
    """T on the inputs, or on the outputs, of networks that a specification describes. Made by `Mirror.of`.

    spec: which joints are partners, and what is negated.  io: the side that it acts on when it is called.
    input_tensors, output_tensors: how every tensor transforms; None where sizes were not given, so that every call is
    read by its sizes.

    >>> mirror = Mirror.of("h36m", input_shapes=[(1, 17, 2)])
    >>> x = torch.randn(5, 17, 2)
    >>> torch.equal(mirror(mirror(x)), x), torch.equal(mirror(x)[:, 0, 0], -x[:, 0, 0])
    (True, True)
    """

    spec: Spec
    io: Side = "input"
    input_tensors: tuple[OnTensor, ...] | None = None
    output_tensors: tuple[OnTensor, ...] | None = None

    @staticmethod
    def of(
        spec: str | Path | Mapping[str, Any] | Skeleton | Spec,
        *,
        input_shapes: Shapes | None = None,
        output_shapes: Shapes | None = None,
        example: Any = None,
        target: Any = None,
        io: Side = "input",
        **layouts: Any,
    ) -> Mirror:
        """The mirror of a skeleton's name, a file, a dict with the keys of one, a Skeleton or a Spec.

        input_shapes, output_shapes: of every tensor, batch first; axes that the mirror leaves alone may have other
        sizes later.  example, target: arguments and results in their place, whose shapes are taken.  Without any, a
        pose is read by its shape in every call, where one reading fits.
        io: the side that a call acts on; `inputs` and `outputs` are both.
        layouts: `input_layouts`, `output_layouts` and `invariant`, as those of `chiralize`.
        Raises UsageError, SpecError, and what else a specification or sizes that do not fit it raise.
        """
        if io not in ("input", "output"):
            raise UsageError("io", f"{io!r} is neither 'input' nor 'output'", "name the side that it acts on")
        loaded = load_spec(spec, **layouts)
        if loaded.mirrors:
            facts = f"the specification names several mirrors: {', '.join(loaded.mirrors)}"
            raise UsageError("Mirror", facts, "give one of them: load_spec(...).named()[NAME], of chiralize.body.spec")
        inputs = _shapes("input_shapes", input_shapes, example)
        outputs = _shapes("output_shapes", output_shapes, target)
        into, out = _resolved(loaded, inputs, outputs)
        return Mirror(loaded, io, None if inputs is None else into, None if outputs is None else out)

    def __repr__(self) -> str:
        known = self._known
        layouts = "read by their shapes" if known is None else ", ".join(tensor.layout for tensor in known)
        return f"<Mirror of {self.spec.skeleton.name}, {self.io}s: {layouts}>"

    @property
    def _known(self) -> tuple[OnTensor, ...] | None:
        """How the tensors of this side transform; None where that follows from each call's sizes."""
        return self.input_tensors if self.io == "input" else self.output_tensors

    @property
    def inputs(self) -> Mirror:
        """The same on inputs."""
        return replace(self, io="input")

    @property
    def outputs(self) -> Mirror:
        """The same on outputs: labels, targets, answers."""
        return replace(self, io="output")

    def __call__(self, *values: Any) -> Any:
        """T of tensors and arrays of any dtype, on any device, as they lie in tuples, lists and dicts; new ones.

        values: of one side, in the order of the specification; a sample may come without the batch. Gradients flow.
        Raises UsageError for values that are not described, or whose dtype cannot hold T of them.
        """
        leaves, structure = pytree.tree_flatten(values)
        positions = _arrays(leaves)
        if not positions:
            facts = "there is no tensor and no array to mirror"
            raise UsageError("Mirror", facts, "give torch tensors or numpy arrays")
        tensors = self.described([leaves[position].shape for position in positions])
        for position, tensor in zip(positions, tensors, strict=True):
            leaves[position] = turned(leaves[position], tensor)
        images = pytree.tree_unflatten(leaves, structure)
        return images[0] if len(values) == 1 else images

    def described(self, shapes: Shapes) -> tuple[OnTensor, ...]:
        """How the tensors of this side transform. shapes: of those at hand. Raises UsageError for another number."""
        known = self._known
        if known is None:
            entries = (self.spec.inputs if self.io == "input" else self.spec.outputs) or ()
            # A target of class numbers would be read as one of scores.
            if any(entry.kind == "classes" for entry in entries):
                raise self._unsized("Mirror")
            # As if the shapes at hand had been given when the mirror was made.
            both = (shapes, None) if self.io == "input" else (None, shapes)
            known = _resolved(self.spec, *both)[self.io == "output"]
        if len(known) != len(shapes):
            facts = f"tensors given: {len(shapes)}, {self.io}s that the mirror describes: {len(known)}"
            raise UsageError("Mirror", facts, "give all of one side, in the order of the specification")
        return known

    def module(self) -> MirrorModule:
        """T as a torch.nn.Module without parameters, which moves, compiles and exports as any other.

        Raises UsageError where the sizes of this side are not known.
        """
        known = self._known
        if known is None:
            raise self._unsized("Mirror.module")
        return MirrorModule(known)

    def augment(
        self, p: float = 0.5, *, per_sample: bool = True, generator: torch.Generator | None = None
    ) -> Augmentation:
        """Mirroring at random, of inputs and targets together: for a Dataset, a collate function, a training loop.

        p: how likely.  per_sample: each sample of a batch by itself; else the batch as a whole.  generator: of the
        random numbers, so that they come again; by default torch's, which workers of a DataLoader seed apart.
        Raises UsageError for a p that is no probability, and where the sizes of the inputs are not known: without these
        a batch cannot be told from a sample.
        """
        if self.input_tensors is None:
            raise self.inputs._unsized("Mirror.augment")
        return Augmentation(self.inputs.described, self.outputs.described, turned, p, per_sample, generator)

    def _unsized(self, where: str) -> UsageError:
        """The error of a call that needs the sizes of this side."""
        remedy = f"give them, batch first: Mirror.of(..., {self.io}_shapes=[(1, 17, 2)])"
        return UsageError(where, f"the sizes of the {self.io}s are not known", remedy)


def _arrays(leaves: Sequence[Any]) -> list[int]:
    """Positions of the leaves that are tensors or arrays."""
    return [index for index, leaf in enumerate(leaves) if isinstance(leaf, (Tensor, np.ndarray))]


def _shapes(option: str, shapes: Shapes | None, example: Any) -> Shapes | None:
    """Shapes that were given, or those of an example. Raises UsageError for both, and for one shape by itself."""
    if shapes is not None and example is not None:
        raise UsageError(option, "an example is given as well", "leave one of them out")
    if example is not None:
        leaves = pytree.tree_leaves(example)
        return [tuple(leaves[position].shape) for position in _arrays(leaves)]
    if shapes is None:
        return None
    if not all(isinstance(shape, Sequence) for shape in shapes):
        raise UsageError(option, f"{shapes} is one shape", f"give one per tensor: {option}=[{tuple(shapes)}]")
    return [tuple(shape) for shape in shapes]


def _resolved(
    spec: Spec, inputs: Shapes | None, outputs: Shapes | None
) -> tuple[tuple[OnTensor, ...], tuple[OnTensor, ...]]:
    """Both sides. A side without sizes is empty, and no tensor may be described as `like` one of it."""
    entries_in = spec.inputs if inputs is not None else ()
    entries_out = spec.outputs if outputs is not None else ()
    if entries_out is not None:
        # `feeds` says which input of the next call an output becomes; T on it is the same without.
        entries_out = tuple(entry.model_copy(update={"feeds": None}) for entry in entries_out)
    absent = [io for io, shapes in (("input", inputs), ("output", outputs)) if shapes is None]
    for entry in (*(entries_in or ()), *(entries_out or ())):
        side = (entry.like or "").split()[:1]
        if side and side[0] in absent:
            facts = f"it is like {entry.like!r}, whose sizes are not known"
            raise UsageError(entry.where or "Mirror", facts, f"give {side[0]}_shapes as well")
    resolved = resolve(replace(spec, inputs=entries_in, outputs=entries_out), inputs or (), outputs or ())
    return resolved.inputs, resolved.outputs


# ---- one tensor or array ----------------------------------------------------------------------------------------
def turned(value: Any, tensor: OnTensor) -> Any:
    """T of a tensor or an array. tensor: what it is, at the sizes of an example.

    Raises UsageError for another number of axes, other sizes along an axis that the mirror moves, and dtypes that
    cannot hold T of it.
    """
    if tensor.is_free:
        return value
    if tensor.has_rows and value.ndim == len(tensor.shape) - 1:  # one sample
        return turned(value[None], tensor)[0]
    turn = _turn_at(tuple(value.shape), tensor)
    _check_kind(value, turn, tensor.where)
    return act(value, *turn) if isinstance(value, Tensor) else act_on_array(value, *turn)


def _turn_at(shape: Sequence[int], tensor: OnTensor) -> Turn:
    """T at other sizes than the example's, along axes that the mirror leaves alone. Raises UsageError."""
    representation, center = tensor.representation, tensor.center
    if representation is None:
        facts = "how the mirror acts on it is found in the network only"
        raise UsageError(tensor.where, facts, "leave it out, or describe it in the specification")
    if len(shape) != len(tensor.shape):
        without = when(tensor.has_rows, ", or one sample without the batch")
        facts = f"shape {tuple(shape)}, the mirror was made for shape {tensor.shape}{without}"
        raise UsageError(tensor.where, facts, f"give as many axes as in '{tensor.layout}'")
    axes: list[Representation] = []
    for position, (size, axis) in enumerate(zip(shape, representation.axes, strict=True)):
        fitted = _of_size(axis, size)
        if fitted is None:
            facts = f"axis {position} of shape {tuple(shape)} has {size} entries, the mirror was made for {axis.size}"
            remedy = f"give tensors of that size ('{tensor.layout}'), or make the mirror for these"
            raise UsageError(tensor.where, facts, remedy)
        axes.append(fitted)
    if center is not None and np.broadcast_shapes(center.shape, tuple(shape)) != tuple(shape):
        facts = f"shape {tuple(shape)}, and its centres were laid out for {tensor.shape}"
        raise UsageError(tensor.where, facts, "make the mirror with a shape of this size")
    return TensorRepresentation(tuple(axes), representation.sign), center


def _of_size(axis: Representation, size: int) -> Representation | None:
    """T on an axis of another size: factors that it leaves alone may be larger before those that it moves.

    A batch that is merged into the joints, `4: x 2: (0 1)`, becomes `3: x 2: (0 1)` with 6 entries. None where the
    moving factors do not divide the size, or nothing stands before them.
    """
    if size == axis.size:
        return axis
    moving = tuple(dropwhile(lambda factor: factor.is_identity, axis.factors))
    inner = prod(factor.size for factor in moving)
    if size % inner or len(moving) == len(axis.factors):
        return None
    return Representation((SignedPermutation.identity(size // inner), *moving))


def _check_kind(value: Any, turn: Turn, where: str) -> None:
    """Raise UsageError for number types that cannot hold T of their values."""
    representation, center = turn
    if isinstance(value, Tensor):
        is_unsigned, is_whole = value.dtype in _UNSIGNED, not (value.is_floating_point() or value.is_complex())
        are_numbers = True
    else:
        letter = value.dtype.kind
        is_unsigned, is_whole, are_numbers = letter == "u", letter in "iu", letter in "biufc"
    kind = str(value.dtype).removeprefix("torch.")
    if not are_numbers:
        raise UsageError(where, f"an array of {kind}, which are no numbers", "give numbers")
    if is_unsigned and not representation.is_sign_free:
        raise UsageError(where, f"{kind} has no negative numbers, and T negates some", "give it as int64 or float32")
    if is_whole and center is not None and bool((shift(representation, center) % 1 != 0).any()):
        facts = f"{kind} holds whole numbers, and twice the centre is none"
        raise UsageError(where, facts, "give it as float32")


class MirrorModule(nn.Module):
    """T as a module: `forward(*values)` gives T of each, in their structure. It has no parameters and no state.

    tensors: what the values are. Sizes along axes that the mirror moves are those of the example.
    """

    def __init__(self, tensors: Sequence[OnTensor]) -> None:
        super().__init__()
        self.tensors = tuple(tensors)
        turns = [None if tensor.is_free else _turn_at(tensor.shape, tensor) for tensor in tensors]
        self.turns = nn.ModuleList(
            nn.Identity() if turn is None else MirrorTensor(turn, torch.float64) for turn in turns
        )

    def forward(self, *values: Any) -> Any:
        """T of the values. Raises UsageError for others than the mirror describes."""
        leaves, structure = pytree.tree_flatten(values)
        positions = [index for index, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        if len(positions) != len(self.tensors):
            facts = f"{len(positions)} tensors, the mirror describes {len(self.tensors)}"
            raise UsageError("MirrorModule", facts, "give all of them, in the order of the specification")
        for position, tensor, turn in zip(positions, self.tensors, self.turns, strict=True):
            leaves[position] = _turned_by(turn, leaves[position], tensor)
        images = pytree.tree_unflatten(leaves, structure)
        return images[0] if len(values) == 1 else images

    def extra_repr(self) -> str:
        """What it acts on."""
        return ", ".join(f"{tensor.where}: {tensor.layout}" for tensor in self.tensors)


def _turned_by(turn: nn.Module, value: Tensor, tensor: OnTensor) -> Tensor:
    """T of one value; sizes along axes that T leaves alone are not looked at, so that they stay open in an export.

    turn: the module for the example's sizes. A value of other sizes along moved axes, or of another number of axes,
    goes the way of `turned`, which fits them or says what is wrong.
    """
    representation = tensor.representation
    if tensor.is_free or representation is None:
        return value
    same_rank = value.ndim == len(tensor.shape)
    if not same_rank or any(value.shape[axis] != tensor.shape[axis] for axis in representation.moved_axes):
        return turned(value, tensor)
    _check_kind(value, (representation, tensor.center), tensor.where)
    return turn(value)
