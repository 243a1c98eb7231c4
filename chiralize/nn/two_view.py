"""`average`: the network and its mirror image, averaged.

    g(x) = (f(x) + T f(T x)) / 2

is equivariant for every f, since T only exchanges the two terms of g(T x) and T g(x). It equals flip test-time
augmentation, and holds the weights once; it costs two passes.
States are kept once per view, side by side on their last axis (twice as large): T swaps the views' states, and the
result equals two separate roll-outs averaged.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from chiralize.errors import UsageError
from chiralize.graph.copies import with_same_parameters
from chiralize.graph.running import Call
from chiralize.symmetry.action import Center, Turn, shift
from chiralize.symmetry.involution import SignedPermutation, shape_along
from chiralize.symmetry.representation import Representation, TensorRepresentation


class MirrorTensor(nn.Module):
    """T on one tensor, as gathers and sign changes along its non-trivial axes, and 2 c added where T is affine.

    center: c of T x = c + R (x - c), broadcastable to the tensor.  dtype: of the tensors, for 2 c.
    """

    def __init__(
        self, representation: TensorRepresentation, center: Center = None, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.representation, self.center = representation, center
        if center is None:
            added = None
        else:
            added = torch.from_numpy(shift(representation, center)).to(dtype)
        self.register_buffer("shift", added, persistent=False)
        self.sign = representation.sign
        self.axes = representation.moved_axes
        # The action as tables, for each axis that T moves: where an entry comes from, and its sign where some are
        # negated.
        for axis in self.axes:
            action = representation.axes[axis].action
            shape = shape_along(axis, len(representation.axes))
            self.register_buffer(f"partner{axis}", torch.from_numpy(action.partner.copy()), persistent=False)
            if action.is_sign_free:
                signs = None
            else:
                signs = torch.from_numpy(action.sign.copy()).reshape(shape)
            self.register_buffer(f"sign{axis}", signs, persistent=False)

    def is_turn(self, turn: Turn) -> bool:
        """Whether this is the given T."""
        representation, center = turn
        ours = 0.0 if self.center is None else self.center
        return self.representation == representation and bool(np.all(ours == (0.0 if center is None else center)))

    def forward(self, tensor: Tensor) -> Tensor:
        """T of the tensor."""
        for axis in self.axes:
            tensor = tensor.index_select(axis, self.get_buffer(f"partner{axis}"))
            signs = self._buffers[f"sign{axis}"]
            if signs is not None:
                tensor = tensor * signs.to(tensor.dtype)
        if self.sign < 0 and tensor.dtype != torch.bool:
            tensor = -tensor
        added = self._buffers["shift"]
        if added is None:
            return tensor
        return tensor + (added if added.dtype == tensor.dtype else added.to(tensor.dtype))


class TwoView(nn.Module):
    """(f(x) + T f(T x)) / 2 for any module f; whole numbers and truth values become floating-point numbers first.

    inputs, outputs: representation per tensor of the flattened arguments and results (None: a state, of which every
    view keeps its own).  own_buffers: forward writes buffers, so the second view has buffers of its own and shares the
    parameters.  centers: of all inputs and of all outputs, where T is affine.  example: a call that `inputs` describe;
    others find their tensors by name, in whatever order. Without one by position.  same: results, by position among the
    tensors, of which f(T x) is T f(x): they are those of the first view, with their type.

    Calling it raises UsageError for tensors that `inputs` and `outputs` do not describe.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Sequence[TensorRepresentation | None],
        outputs: Sequence[TensorRepresentation | None],
        *,
        own_buffers: bool = False,
        centers: tuple[Sequence[Center], Sequence[Center]] = ((), ()),
        example: Call | None = None,
        same: Collection[int] = (),
    ) -> None:
        super().__init__()
        self.order = None if example is None else _Order(model, example)
        self.views = nn.ModuleList([model])
        if own_buffers:
            # Each view goes on from its own state; one network would carry the state of the first view into the
            # second.
            self.views.append(with_same_parameters(model))
        # That of T's shift 2 c: what the network computes in. Whole numbers are averaged in float32 or finer.
        dtype = next(
            (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()), torch.float32
        )
        self.finer = torch.promote_types(dtype, torch.float32)
        self.mirror_inputs = _mirrors(inputs, centers[0], dtype)
        self.mirror_outputs = _mirrors(outputs, centers[1], dtype)
        self.input_states = [rep is None for rep in inputs]
        self.output_states = [rep is None for rep in outputs]
        self.output_same = [index in same for index in range(len(outputs))]

    def averages(self, inputs: Sequence[Turn], outputs: Sequence[Turn]) -> bool:
        """True if this is the average over exactly that mirror, of two views that begin alike."""
        mirrors, turns = [*self.mirror_inputs, *self.mirror_outputs], [*inputs, *outputs]
        if len(mirrors) != len(turns) or not _hold_alike(self.views[0], self.views[-1]):
            return False
        # States have no T here, and are passed over.
        pairs = zip(mirrors, turns, strict=True)
        return all(not isinstance(mirror, MirrorTensor) or mirror.is_turn(turn) for mirror, turn in pairs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The average of both views, in the form of the network's own result."""
        if self.order is not None:
            args, kwargs = self.order.applied(args, kwargs)
        leaves, structure = pytree.tree_flatten((args, kwargs))
        # What either view gets: x and T x, numbers as they are, of a state each its half.
        seen, mirrored = list(leaves), list(leaves)
        positions = _tensors(leaves)
        if len(positions) != len(self.input_states):
            facts = f"{len(positions)} tensors, {len(self.input_states)} in the conversion"
            raise UsageError("the arguments", facts, "call the network as in the conversion")
        for index, mirror, is_state in zip(positions, self.mirror_inputs, self.input_states, strict=True):
            value = leaves[index]
            if is_state:
                seen[index], mirrored[index] = value.chunk(2, -1)
            else:
                # A view may write into its arguments, and the other one must not see that.
                turned = mirror(value)
                mirrored[index] = value.clone() if turned is value else turned
        first, out_structure = _call(self.views[0], seen, structure)
        second, _ = _call(self.views[-1], mirrored, structure)
        # Results that are no tensors are those of the first view.
        results = list(first)
        tensors = _tensors(first)
        if len(tensors) != len(self.output_states):
            facts = f"{len(tensors)} tensors, {len(self.output_states)} in the conversion"
            raise UsageError("the results", facts, "call the network as in the conversion")
        kinds = zip(self.output_states, self.output_same, strict=True)
        for index, mirror, (is_state, is_same) in zip(tensors, self.mirror_outputs, kinds, strict=True):
            ours, theirs = first[index], second[index]
            if is_state:
                results[index] = torch.cat([ours, theirs], -1)
            elif not is_same:
                results[index] = 0.5 * (self._real(ours) + mirror(self._real(theirs)))
        return pytree.tree_unflatten(results, out_structure)

    def _real(self, answer: Tensor) -> Tensor:
        """An answer as numbers that have an average: bytes wrap where they are added, and truth values saturate."""
        if is_real(answer):
            return answer
        return answer.to(self.finer)


class _Order:
    """The order of a network's arguments: that of an example, in which dictionaries have their keys and all arguments
    are given by position or by name.
    """

    def __init__(self, model: nn.Module, example: Call) -> None:
        args, kwargs = example
        # parameters: names of the arguments in the order of the signature.  form: the nest of the example, without
        # its leaves.  paths, tensors: of all leaves, and of those that are tensors.
        self.parameters = _parameters(model)
        self.positional, self.keywords = self.parameters[: len(args)], tuple(kwargs)
        self.form = pytree.tree_map(lambda leaf: 0, (tuple(args), dict(kwargs)))
        leaves = _by_path(args, kwargs)
        self.paths, self.tensors = list(leaves), _tensor_paths(leaves)

    def applied(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """The same call in that order. Raises UsageError where it has other tensors.

        Three ways, from cheap to dear: it is in that order already; arguments by position and by name change places;
        and leaves are sorted by their path, for dictionaries whose keys come in another order.
        """
        leaves, structure = pytree.tree_flatten((args, kwargs))
        wanted = pytree.tree_structure(self.form)
        if structure == wanted and _tensor_paths(dict(zip(self.paths, leaves, strict=True))) == self.tensors:
            return args, kwargs
        given = {**dict(zip(self.parameters, args, strict=False)), **kwargs}
        if len(given) == len(args) + len(kwargs) and given.keys() >= {*self.positional, *self.keywords}:
            # Named arguments of the example by position where it had them so; further ones, with defaults, follow.
            args = tuple(given[name] for name in self.positional)
            others = [name for name in given if name not in self.positional]
            kwargs = {name: given[name] for name in (*self.keywords, *others)}
        by_path = _by_path(args, kwargs)
        # The same leaves in another order: unflattened by the nest of the example, they lie as it does.
        if by_path.keys() == set(self.paths):
            by_path = {path: by_path[path] for path in self.paths}
            args, kwargs = pytree.tree_unflatten(list(by_path.values()), wanted)
        tensors = _tensor_paths(by_path)
        if tensors != self.tensors:
            facts = f"tensors at {', '.join(tensors)}, in the conversion at {', '.join(self.tensors)}"
            raise UsageError("the arguments", facts, "call it as in the conversion, or convert it for such calls")
        return args, kwargs


def is_real(answer: Tensor) -> bool:
    """Whether an answer holds real or complex numbers, and neither whole numbers nor truth values."""
    return answer.is_floating_point() or answer.is_complex()


def _parameters(model: nn.Module) -> tuple[str, ...]:
    """Names of the arguments that may be given by position; none where some have no name that a caller may use."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # a signature that Python cannot show
        return ()
    if any(parameter.kind == inspect.Parameter.POSITIONAL_ONLY for parameter in parameters):
        return ()
    return tuple(
        parameter.name for parameter in parameters if parameter.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
    )


def _by_path(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Every leaf of the arguments, by its path in them."""
    leaves, _ = pytree.tree_flatten_with_path((tuple(args), dict(kwargs)))
    return {pytree.keystr(path): leaf for path, leaf in leaves}


def _tensor_paths(leaves: Mapping[str, Any]) -> list[str]:
    """The paths of the leaves that are tensors, in order."""
    return [path for path, leaf in leaves.items() if isinstance(leaf, Tensor)]


def _tensors(leaves: Sequence[Any]) -> list[int]:
    """Positions of the tensors among some leaves."""
    return [index for index, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]


def _call(view: nn.Module, leaves: Sequence[Any], structure: pytree.TreeSpec) -> tuple[list[Any], pytree.TreeSpec]:
    """The flattened results of a view, and how to put them together again."""
    args, kwargs = pytree.tree_unflatten(leaves, structure)
    return pytree.tree_flatten(view(*args, **kwargs))


def _mirrors(
    representations: Sequence[TensorRepresentation | None], centers: Sequence[Center], dtype: torch.dtype
) -> nn.ModuleList:
    """T on every input or output, nothing on states. centers: empty where all are 0."""
    mirrors = nn.ModuleList()
    for rep, center in zip(representations, centers or [None] * len(representations), strict=True):
        mirrors.append(nn.Identity() if rep is None else MirrorTensor(rep, center, dtype))
    return mirrors


def _hold_alike(first: nn.Module, second: nn.Module) -> bool:
    """Whether two copies of one module hold the same numbers, in parameters and in buffers."""
    ours, theirs = (dict([*view.named_parameters(), *view.named_buffers()]) for view in (first, second))
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


def two_states(tensor: Tensor) -> Tensor:
    """The states of both views, side by side on the last axis."""
    return torch.cat([tensor, tensor], -1)


def state_representation(shape: Sequence[int]) -> TensorRepresentation:
    """How the mirror acts on such a state: it swaps the two halves of the last axis."""
    axes = [Representation.trivial(size) for size in shape[:-1]]
    return TensorRepresentation((*axes, Representation.of(SignedPermutation.halves(shape[-1]))))
