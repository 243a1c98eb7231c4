"""The average as a module: a network and its mirror image.

    g(x) = (f(x) + T f(T x)) / 2

is equivariant for every f, since T only exchanges the two terms in g(T x) and T g(x). It equals flip test-time
augmentation and holds the weights once; it costs two passes.

    two = TwoView(net, turns_in=[(representation, None)], turns_out=[(representation, None)])

States are kept once per view: buffers under `views.0.` and `views.1.`, arguments side by side on their last axis, which
is twice as large. T exchanges them, and the result equals two separate roll-outs averaged.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from chiralize.errors import UsageError
from chiralize.symmetry.action import Turn, shift
from chiralize.symmetry.involution import SignedPermutation, shape_along
from chiralize.symmetry.representation import Representation, TensorRepresentation


class MirrorTensor(nn.Module):
    """T on one tensor: gathers and changes of sign along the axes that it moves, and 2 c added where T is affine.

    turn: R and c of T x = c + R (x - c).  dtype: of the tensors, for c - R c.
    """

    def __init__(self, turn: Turn, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        representation, center = turn
        self.sign, self.axes = representation.sign, representation.moved_axes
        added = None if center is None else torch.from_numpy(shift(representation, center)).to(dtype)
        self.register_buffer("shift", added, persistent=False)
        # By axis that T moves: where an entry comes from, and its sign where some are negated.
        for axis in self.axes:
            action = representation.axes[axis].action
            signs = None
            if not action.is_sign_free:
                shape = shape_along(axis, len(representation.axes))
                signs = torch.from_numpy(action.sign.copy()).reshape(shape)
            self.register_buffer(f"partner{axis}", torch.from_numpy(action.partner.copy()), persistent=False)
            self.register_buffer(f"sign{axis}", signs, persistent=False)

    def is_turn(self, turn: Turn) -> bool:
        """Whether this is the given T, by what it runs with."""
        added = self._buffers["shift"]
        other = MirrorTensor(turn, torch.float32 if added is None else added.dtype)
        ours, theirs = dict(self.named_buffers()), dict(other.named_buffers())
        if (self.sign, self.axes, ours.keys()) != (other.sign, other.axes, theirs.keys()):
            return False
        return all(torch.equal(buffer.cpu(), theirs[name]) for name, buffer in ours.items())

    def forward(self, tensor: Tensor) -> Tensor:
        """T of the tensor, in its dtype; along axes that T leaves alone any size."""
        for axis in self.axes:
            tensor = tensor.index_select(axis, self.get_buffer(f"partner{axis}"))
            signs = self._buffers[f"sign{axis}"]
            if signs is not None and tensor.dtype != torch.bool:
                tensor = tensor * signs.to(tensor.dtype)
        if self.sign < 0 and tensor.dtype != torch.bool:
            tensor = -tensor
        added = self._buffers["shift"]
        if added is None:
            return tensor
        return tensor + added.to(tensor.dtype)


class TwoView(nn.Module):
    """(f(x) + T f(T x)) / 2 for any module f; whole numbers and truth values become floating-point numbers first.

    turns_in, turns_out: T on every tensor of the flattened arguments and results; None is a state, of which every view
    keeps its own half.  own_buffers: forward writes buffers, so that the second view has its own and shares the
    parameters.  example: arguments that `turns_in` describe; in other calls tensors are found by name, whatever their
    order. Without an example they are taken by position.  same: results, by position, of which f(T x) is T f(x) for
    every x: they are those of the first view, with their type.

    Calling it raises UsageError for tensors that `turns_in` and `turns_out` do not describe.
    """

    def __init__(
        self,
        model: nn.Module,
        turns_in: Sequence[Turn | None],
        turns_out: Sequence[Turn | None],
        *,
        own_buffers: bool = False,
        example: tuple[tuple[Any, ...], dict[str, Any]] | None = None,
        same: Collection[int] = (),
    ) -> None:
        super().__init__()
        self.views = nn.ModuleList([model])
        if own_buffers:
            # One network would carry the state of the first view into the second.
            self.views.append(copy.deepcopy(model, {id(weight): weight for weight in model.parameters()}))
        weights = [weight.dtype for weight in model.parameters() if weight.is_floating_point()]
        dtype = weights[0] if weights else torch.float32
        self.finer = torch.promote_types(dtype, torch.float32)  # in which whole numbers are averaged
        self.mirror_inputs, self.mirror_outputs = _mirrors(turns_in, dtype), _mirrors(turns_out, dtype)
        self.same = frozenset(same)
        self.names = None if example is None else _Names(model, example)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The average of both views, in the form of the network's own result."""
        leaves, structure = pytree.tree_flatten((args, kwargs))
        order = _tensors(leaves) if self.names is None else self.names.order(leaves, structure)
        _check(len(order), len(self.mirror_inputs), "arguments")
        # What either view gets: x and T x, numbers as they are, of a state each its half.
        seen, turned = list(leaves), list(leaves)
        for index, mirror in zip(order, self.mirror_inputs, strict=True):
            value = leaves[index]
            if isinstance(mirror, MirrorTensor):
                image = mirror(value)
                # A view may write into its arguments, and the other one must not see that.
                turned[index] = value.clone() if image is value else image
            else:
                seen[index], turned[index] = value.chunk(2, -1)
        results, form = _call(self.views[0], seen, structure)
        others, _ = _call(self.views[-1], turned, structure)
        # Results that are no tensors are those of the first view.
        tensors = _tensors(results)
        _check(len(tensors), len(self.mirror_outputs), "results")
        for position, (index, mirror) in enumerate(zip(tensors, self.mirror_outputs, strict=True)):
            if not isinstance(mirror, MirrorTensor):
                results[index] = torch.cat([results[index], others[index]], -1)
            elif position not in self.same:
                results[index] = 0.5 * (self._real(results[index]) + mirror(self._real(others[index])))
        return pytree.tree_unflatten(results, form)

    def _real(self, answer: Tensor) -> Tensor:
        """An answer as numbers that have an average: bytes wrap where they are added, and truth values saturate."""
        return answer if is_real(answer) else answer.to(self.finer)


def averages(module: nn.Module, turns_in: Sequence[Turn], turns_out: Sequence[Turn]) -> bool:
    """Whether a module is, by construction, the average over exactly this mirror of two views that begin alike."""
    if type(module) is not TwoView or module.same:  # a subclass may do anything; what is not averaged isn't shown here
        return False
    mirrors, turns = [*module.mirror_inputs, *module.mirror_outputs], [*turns_in, *turns_out]
    if len(mirrors) != len(turns) or not _hold_alike(module.views[0], module.views[-1]):
        return False
    # States have no T here: whatever is said of them, their two halves are exchanged.
    pairs = zip(mirrors, turns, strict=True)
    return all(not isinstance(mirror, MirrorTensor) or mirror.is_turn(turn) for mirror, turn in pairs)


def state_representation(shape: Sequence[int]) -> TensorRepresentation:
    """How the mirror acts on the states of both views, side by side: it swaps the two halves of the last axis."""
    half = shape[-1] // 2
    halves = SignedPermutation.of([(entry, entry + half) for entry in range(half)], size=shape[-1])
    return TensorRepresentation((*TensorRepresentation.trivial(shape[:-1]).axes, Representation.of(halves)))


def two_states(tensor: Tensor) -> Tensor:
    """A state for both views, side by side on the last axis."""
    return torch.cat([tensor, tensor], -1)


def is_real(answer: Tensor) -> bool:
    """Whether an answer holds real or complex numbers, and neither whole numbers nor truth values."""
    return answer.is_floating_point() or answer.is_complex()


class _Names:
    """Where the tensors of a call are, in the order of an example, by the names of the network's arguments."""

    def __init__(self, model: nn.Module, example: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        try:
            self.signature = inspect.signature(model.forward)
        except (TypeError, ValueError):  # a signature that Python cannot show
            self.signature = None
        leaves, structure = pytree.tree_flatten(example)
        # The nest is kept with numbers for leaves, as it is pickled with the module.
        self.form = pytree.tree_unflatten([0] * len(leaves), structure)
        self.positions = _tensors(leaves)
        self.paths = list(self._by_path(leaves, structure))

    def order(self, leaves: Sequence[Any], structure: pytree.TreeSpec) -> list[int]:
        """Positions among the leaves of a call, in the order of the example. Raises UsageError for other tensors."""
        if structure == pytree.tree_structure(self.form) and _tensors(leaves) == self.positions:
            return self.positions
        # Arguments by name or by position, dictionaries whose keys come in another order, defaults that are given.
        by_path = self._by_path(leaves, structure)
        if set(by_path) != set(self.paths):
            facts = f"tensors at {', '.join(by_path)}, in the conversion at {', '.join(self.paths)}"
            raise UsageError("the arguments", facts, "call it as in the conversion, or convert it for such calls")
        return [by_path[path] for path in self.paths]

    def _by_path(self, leaves: Sequence[Any], structure: pytree.TreeSpec) -> dict[str, int]:
        """The positions of the tensors among the leaves of a call, by their path: `['pose']['left']`."""
        # Positions are bound in place of the leaves themselves, of which one may be given twice.
        args, kwargs = given = pytree.tree_unflatten(range(len(leaves)), structure)
        if self.signature is not None:
            given = dict(self.signature.bind(*args, **kwargs).arguments)
        paths, _ = pytree.tree_flatten_with_path(given)
        return {pytree.keystr(path): index for path, index in paths if isinstance(leaves[index], Tensor)}


def _mirrors(turns: Sequence[Turn | None], dtype: torch.dtype) -> nn.ModuleList:
    """T on every input or output, nothing on states."""
    return nn.ModuleList(nn.Identity() if turn is None else MirrorTensor(turn, dtype) for turn in turns)


def _check(given: int, described: int, what: str) -> None:
    """Raise UsageError unless there is a T for every tensor."""
    if given != described:
        facts = f"{given} tensors, {described} in the conversion"
        raise UsageError(f"the {what}", facts, "call the network as in the conversion")


def _tensors(leaves: Sequence[Any]) -> list[int]:
    """Positions of the tensors among some leaves."""
    return [index for index, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]


def _call(view: nn.Module, leaves: Sequence[Any], structure: pytree.TreeSpec) -> tuple[list[Any], pytree.TreeSpec]:
    """The flattened results of a view, and how to put them together again."""
    args, kwargs = pytree.tree_unflatten(leaves, structure)
    return pytree.tree_flatten(view(*args, **kwargs))


def _hold_alike(first: nn.Module, second: nn.Module) -> bool:
    """Whether two copies of one module hold the same numbers, in parameters and in buffers."""
    ours, theirs = (dict([*view.named_parameters(), *view.named_buffers()]) for view in (first, second))
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())
