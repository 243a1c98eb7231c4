"""T in the open: left and right swapped in arrays and tensors, by what a specification says of them.

`Mirror` is for whoever writes a data loader, an augmentation or a test, so that the swap is written down in one place.
Inside, `NetworkMirror` is T on the very tensors of one network, states included, at the sizes of its examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ConversionSpec, ResolvedTensor, load_spec, resolve
from chiralize.errors import UsageError
from chiralize.nn.augmentation import Augmentation
from chiralize.nn.turning import MirrorModule, turned

Side = Literal["input", "output"]
Shapes = Sequence[Sequence[int]]


@dataclass(frozen=True, repr=False)
class Mirror:
    """T on the inputs, or on the outputs, of networks that a specification describes. Made by `Mirror.of`.

    spec: which joints are partners, and what is negated.  io: the side that it acts on when it is called.
    input_tensors, output_tensors: how every tensor transforms; None where sizes were not given, so that every call is
    read by its own.

    >>> mirror = Mirror.of("h36m", input_shapes=[(1, 17, 2)])
    >>> x = torch.randn(5, 17, 2)
    >>> torch.equal(mirror(mirror(x)), x), torch.equal(mirror(x)[:, 0, 0], -x[:, 0, 0])
    (True, True)
    """

    spec: ConversionSpec
    io: Side = "input"
    input_tensors: tuple[ResolvedTensor, ...] | None = None
    output_tensors: tuple[ResolvedTensor, ...] | None = None

    @staticmethod
    def of(
        spec: str | Path | Mapping[str, Any] | Skeleton | ConversionSpec,
        *,
        input_shapes: Shapes | None = None,
        output_shapes: Shapes | None = None,
        example: Any = None,
        target: Any = None,
        io: Side = "input",
        input_layouts: Sequence[str] = (),
        output_layouts: Sequence[str] = (),
        invariant: bool = False,
    ) -> Mirror:
        """The mirror of a skeleton's name, a file, a dict with the keys of one, a Skeleton or a ConversionSpec.

        input_shapes, output_shapes: of every tensor, batch first; axes that the mirror leaves alone may have other
        sizes later.  example, target: arguments and results in their place, whose shapes are taken.  Without any, a
        pose is read by its own shape in every call, where one reading fits.
        io: the side that a call acts on; `inputs` and `outputs` are both.
        input_layouts, output_layouts, invariant: as those of `chiralize`.
        Raises UsageError, SpecError, and what else a specification or sizes that do not fit it raise.
        """
        if io not in ("input", "output"):
            raise UsageError("io", f"{io!r} is neither 'input' nor 'output'", "name the side that it acts on")
        loaded = load_spec(spec, input_layouts=input_layouts, output_layouts=output_layouts, invariant=invariant)
        if loaded.named:
            names = ", ".join(loaded.mirrors())
            remedy = "give one of them: load_spec(...).mirrors()[NAME], of chiralize.body.tensors"
            raise UsageError("Mirror", f"the specification names several mirrors: {names}", remedy)
        inputs = _shapes("input_shapes", input_shapes, example)
        outputs = _shapes("output_shapes", output_shapes, target)
        sides = _resolved(loaded, inputs, outputs)
        return Mirror(loaded, io, sides[0] if inputs else None, sides[1] if outputs else None)

    def __repr__(self) -> str:
        known = self._known
        if known is not None:
            layouts = ", ".join(tensor.layout for tensor in known)
        else:
            layouts = "read by their shapes"
        return f"<Mirror of {self.spec.skeleton.name}, {self.io}s: {layouts}>"

    @property
    def _known(self) -> tuple[ResolvedTensor, ...] | None:
        """How the tensors of this side transform; None where that follows from each call's sizes."""
        if self.io == "input":
            return self.input_tensors
        return self.output_tensors

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
            raise UsageError(
                "Mirror", "there is no tensor and no array to mirror", "give torch tensors or numpy arrays"
            )
        tensors = self.described([leaves[position].shape for position in positions])
        for position, tensor in zip(positions, tensors, strict=True):
            leaves[position] = turned(leaves[position], tensor)
        mirrored = pytree.tree_unflatten(leaves, structure)
        if len(values) == 1:
            return mirrored[0]
        return mirrored

    def described(self, shapes: Shapes) -> tuple[ResolvedTensor, ...]:
        """How the tensors of this side transform. shapes: of those at hand. Raises UsageError for another number."""
        known = self._known
        if known is None:
            entries = (self.spec.inputs if self.io == "input" else self.spec.outputs) or ()
            # A target of class numbers would be read as one of scores.
            if any(entry.kind == "classes" for entry in entries):
                raise self._unsized("Mirror")
            both = (shapes, None) if self.io == "input" else (None, shapes)
            # As if the shapes at hand had been given when the mirror was made.
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

        p: how likely.  per_sample: each sample of a batch for itself; else the batch as a whole.  generator: of the
        random numbers, so that they come again; by default torch's own, which workers of a DataLoader seed apart.
        Raises UsageError for a p that is no probability, and where the sizes of the inputs are not known: without these
        a batch cannot be told from a sample.
        """
        if self.input_tensors is None:
            raise self.inputs._unsized("Mirror.augment")
        return Augmentation(self.inputs.described, self.outputs.described, p, per_sample, generator)

    def _unsized(self, where: str) -> UsageError:
        """The error of a call that needs the sizes of this side."""
        facts, option = f"the sizes of the {self.io}s are not known", f"{self.io}_shapes"
        return UsageError(where, facts, f"give them, batch first: Mirror.of(..., {option}=[(1, 17, 2)])")


def _arrays(leaves: Sequence[Any]) -> list[int]:
    """Positions of the leaves that are tensors or arrays."""
    return [index for index, leaf in enumerate(leaves) if isinstance(leaf, (Tensor, np.ndarray))]


def _shapes(option: str, shapes: Shapes | None, example: Any) -> Shapes | None:
    """Shapes that were given, or those of an example. Raises UsageError for both, and for one shape alone."""
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
    spec: ConversionSpec, inputs: Shapes | None, outputs: Shapes | None
) -> tuple[tuple[ResolvedTensor, ...], tuple[ResolvedTensor, ...]]:
    """Both sides. A side without sizes is empty, and no tensor may be described as `like` one of it."""
    entries_in = spec.inputs if inputs is not None else ()
    entries_out = spec.outputs if outputs is not None else ()
    if entries_out is not None:
        # `feeds` says which input of the next call an output becomes; T on it is the same without.
        entries_out = tuple(replace(entry, feeds=None) for entry in entries_out)
    absent = {io for io, shapes in (("input", inputs), ("output", outputs)) if shapes is None}
    for entry in (*(entries_in or ()), *(entries_out or ())):
        if entry.like is not None and " ".join(entry.like.split()).partition(" ")[0] in absent:
            side = entry.like.split()[0]
            facts = f"it is like {entry.like!r}, whose sizes are not known"
            raise UsageError(entry.where or "Mirror", facts, f"give {side}_shapes as well")
    resolved = resolve(replace(spec, inputs=entries_in, outputs=entries_out), inputs or (), outputs or ())
    return resolved.input_tensors, resolved.output_tensors
