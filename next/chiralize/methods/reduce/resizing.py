"""The same graph with other sizes of its hidden spaces.

Most ops take whatever size they are given. A few take sizes as arguments; which these are, the names of the arguments
say. The result of an op is checked against its representation on the first run.

Two graphs are resized alike: `graph`, the captured one, in which weights are fitted, and the exported module (`apply`),
which gets the same sizes and the fitted weights. With 8 hidden units reduced to 6:

    view(x, [4, 2, 8])          view(x, [4, 2, 6])           the axis is known to be the space: its new size is known
    view(x, [4, -1, 8])         view(x, [4, -1, 6])          -1 stays, it is found out when the op runs
    view(x, [8 * batch])        view(x, [8 * batch * 6 // 8])     what is computed is computed further
    zeros([4, 8])               zeros([4, 6])                nothing is known of it: it has the size that its reader has
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from chiralize.errors import MethodUnavailableError
from chiralize.graph.execution import arguments_of
from chiralize.graph.model import CapturedModel, Leaf, Node, Ref, Shape
from chiralize.graph.traits import Attention, Filled, Layout, Recurrence
from chiralize.infer.records import RepMap
from chiralize.infer.rule import traits
from chiralize.infer.symbolic import Axis, Sum, SymbolicRepresentation, axis_size
from chiralize.methods.reduce.lifting import Lifting

_SIZES = ("size", "shape")
"""Arguments that list the sizes of the result: of view, reshape, expand, zeros, full."""
_LENGTHS = ("split_sizes", "split_size")
"""Arguments that hold the lengths of the parts of a split, or the one of all."""
_END = 1 << 62
"""Bounds from here on mean the end of an axis, however long: exported slices have 2^63 - 1 there."""
_REMEDY = "use --width 0.5, or --method average"


class Resizing:
    """New sizes for everything that hidden spaces touch.

    filled: new shapes of what is made of one number, and of which nothing is known, by name.
    """

    def __init__(self, captured: CapturedModel, repmap: RepMap, lifting: Lifting) -> None:
        self.captured, self.repmap, self.lifting = captured, repmap, lifting
        self.filled = dict[str, Shape]()
        alike = _of_one_number(captured)
        for node in reversed(captured.nodes):  # what is read last says what is read before it
            for name in alike.intersection(node.names_read) - self.filled.keys():
                self.filled[name] = self._wanted(captured.shapes[name], node)

    def graph(self) -> CapturedModel:
        """The captured graph in the new sizes (weights hold zeros where their sizes change)."""
        nodes = tuple(
            replace(node, arguments={**node.arguments, **self.changes(node, node.arguments)}, shapes=self._shapes(node))
            for node in self.captured.nodes
        )
        leaves = {name: self._resized(leaf) for name, leaf in self.captured.leaves.items()}
        return replace(self.captured, nodes=nodes, leaves=leaves)

    @property
    def is_needed(self) -> bool:
        """Whether any op, weight or constant has another size."""
        if any(self._resized(leaf) is not leaf for leaf in self.captured.leaves.values()):
            return True
        return any(self.changes(node, node.arguments) for node in self.captured.nodes)

    def apply(self, module: fx.GraphModule, weights: Mapping[str, Tensor]) -> None:
        """Give a module of the same ops, in whatever spelling, the new sizes and weights, in place.

        weights: by name in the module.
        """
        nodes, leaves = self.captured.by_name, self.captured.leaves
        for node in list(module.graph.nodes):
            if node.op != "call_function" or not hasattr(node.target, "_schema"):
                continue
            changes: dict[str, Any] = {}
            if node.name in nodes:
                changes = self.changes(nodes[node.name], arguments_of(node))
            elif node.name in leaves:  # a constant that the op makes
                leaf, given = leaves[node.name], arguments_of(node)
                for name in (name for name in _SIZES if name in given):
                    changes = _different(name, given[name], leaf.shape, self._resized(leaf).shape)
            for name, value in changes.items():
                _write(node, name, value)
        constants = [self._resized(leaf) for leaf in leaves.values() if leaf.kind == "constant" and leaf.stored]
        grown = {key: leaf.tensor for leaf in constants for key in leaf.names}
        for name, value in {**grown, **weights}.items():
            owner, _, attribute = name.rpartition(".")
            holder = module.get_submodule(owner)
            old = getattr(holder, attribute)
            new = torch.nn.Parameter(value, old.requires_grad) if isinstance(old, torch.nn.Parameter) else value
            setattr(holder, attribute, new)
        module.graph.lint()
        module.recompile()

    # ---- arguments -------------------------------------------------------------------------------------------------
    def changes(self, node: Node, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of an op that hold other sizes now. Raises MethodUnavailableError where they cannot be told.

        arguments: as they are in the graph that is changed; entries of lists may be nodes, which compute a size.
        """
        out = self._shapes(node)
        old = node.shapes
        for name in (name for name in _SIZES if isinstance(arguments.get(name), Sequence)):
            return _different(name, arguments[name], old[0] or (), out[0] or ())
        if isinstance(arguments.get("sizes"), Sequence):  # one axis becomes several: those behind it stay
            start = arguments["dim"] % (len(old[0] or ()) - len(arguments["sizes"]) + 1)
            return _different("sizes", arguments["sizes"], (old[0] or ())[start:], (out[0] or ())[start:])
        if isinstance(arguments.get("normalized_shape"), Sequence):
            given = arguments["normalized_shape"]
            return _different("normalized_shape", given, (old[0] or ())[-len(given) :], (out[0] or ())[-len(given) :])
        for name in (name for name in _LENGTHS if name in arguments):
            return self._split(node, name, arguments)
        if isinstance(traits().get(node.target), Attention) and arguments.get("scale") is None:
            return self._scale(node)
        if "start" in arguments or "end" in arguments:
            return self._slice(node, arguments)
        if arguments.get("groups", 1) != 1 and old != out:
            return self._groups(node, arguments["groups"])
        return {}

    def _scale(self, node: Node) -> dict[str, Any]:
        """The factor of an attention: by default 1 / sqrt(dimensions), of those that are left now. Weights were trained
        with the old one.
        """
        query = self._read(node.arguments["query"])
        if query is None or self._size(query.axes[-1]) == axis_size(query.axes[-1]):
            return {}
        return {"scale": axis_size(query.axes[-1]) ** -0.5}

    def _split(self, node: Node, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The lengths of a split's parts, a list, or a number for parts of one length (the last may be shorter).

        Raises MethodUnavailableError where parts of one length would become different ones.
        """
        dim = arguments.get("dim", 0)
        old, new = ([shape[dim] for shape in shapes if shape] for shapes in (node.shapes, self._shapes(node)))
        if old == new:
            return {}
        if isinstance(arguments[name], Sequence):  # a length for each part
            return {name: new}
        if any(size != new[0] for size in new[:-1]) or new[-1] > new[0]:
            raise self._stuck(node, "a split in equal parts would have to be one in different parts")
        return {name: new[0]}

    def _slice(self, node: Node, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The bounds of a slice, moved with the parts that it cuts between.

        Raises MethodUnavailableError where a bound lies within a hidden space, whose new units have another order.
        """
        rep = self._read(node.arguments.get("self"))
        if rep is None:
            return {}
        axis = rep.axes[node.arguments.get("dim", 0)]
        if self._size(axis) == axis_size(axis):  # an axis that no reduced space is part of
            return {}
        changes: dict[str, Any] = {}
        for name in ("start", "end"):
            bound = arguments.get(name)
            if not isinstance(bound, int) or bound >= _END or bound == 0:  # either end of the axis, wherever that is
                continue
            position = bound + axis_size(axis) if bound < 0 else min(bound, axis_size(axis))
            new = self._boundary(axis, position)
            if new is None:
                raise self._stuck(node, f"entry {position} of the axis is not where one hidden space ends")
            changes[name] = new
        return changes

    def _boundary(self, axis: Axis, position: int) -> int | None:
        """Where a bound between concatenated parts lies now; None where it lies within one.

        Of [h1 | h2], 8 and 4 units that become 6 and 2, the bound 8 becomes 6.
        """
        if position == axis_size(axis):
            return self._size(axis)
        old = new = 0
        for part in axis[0].parts if len(axis) == 1 and isinstance(axis[0], Sum) else ():
            if old == position:
                return new
            old, new = old + axis_size(part), new + self._size(part)
        return None

    def _groups(self, node: Node, groups: int) -> dict[str, Any]:
        """The groups of a convolution along single channels, as many as there are. Raises MethodUnavailableError."""
        old, new = (shapes[0][1] if shapes[0] else 0 for shapes in (node.shapes, self._shapes(node)))
        if new == old:
            return {}
        if groups != old:  # nobody knows which kept channels share a group
            raise self._stuck(node, "a convolution in groups of several channels")
        return {"groups": new}

    def _stuck(self, node: Node, facts: str) -> MethodUnavailableError:
        """The refusal of an op whose new arguments cannot be told."""
        return MethodUnavailableError(str(node.where), f"--width: {facts}", _REMEDY)

    # ---- shapes ----------------------------------------------------------------------------------------------------
    def _read(self, ref: Any) -> SymbolicRepresentation | None:
        """How an op's argument transforms; None where that is not known."""
        if not isinstance(ref, Ref):
            return None
        return self.repmap.leaves.get(ref.name) or next(iter(self.repmap.nodes.get(ref.name, ())), None)

    def _size(self, axis: Axis) -> int:
        """The new size of an axis."""
        return self.lifting.action(axis).size

    def _shapes(self, node: Node) -> tuple[Shape | None, ...]:
        """The new shapes of an op's results; as they are where nothing is known of one."""
        reps = self.repmap.nodes.get(node.name, ())
        new = list(node.shapes)
        for position, rep in enumerate(reps):
            if rep is not None:
                new[position] = self.lifting.representation(rep).shape
        if node.name in self.filled:
            new[0] = self.filled[node.name]
        return tuple(new)

    def _wanted(self, old: Shape, reader: Node) -> Shape:
        """The shape in which an op reads what had another one: the new units along axes that its answer has as well."""
        trait = traits().get(reader.target)
        if isinstance(trait, Recurrence):  # a state, "... unit"; the weight that reads it is "gate unit"
            weight = reader.arguments.get("w_hh") or reader.arguments["params"][1]
            return (*old[:-1], self._size(self.repmap.leaves[weight.name].axes[1]))
        before, after = reader.shapes[0] or (), self._shapes(reader)[0] or ()
        new = list(old)
        for axis in range(1, min(len(old), len(before), len(after)) + 1):  # from the last, as broadcasting does
            if old[-axis] == before[-axis]:
                new[-axis] = after[-axis]
        return tuple(new)

    def _resized(self, leaf: Leaf) -> Leaf:
        """A constant of one number grows or shrinks with its spaces; of weights and states, only the size counts."""
        rep = self.repmap.leaves.get(leaf.name)
        new = leaf.shape if rep is None or leaf.kind == "input" else self.lifting.representation(rep).shape
        new = self.filled.get(leaf.name, new)
        if new == leaf.shape or not leaf.tensor.numel():
            return leaf
        first = leaf.tensor.detach().flatten()[0]
        if leaf.is_weight or leaf.kind == "state":  # zeros that take no memory; the fit puts the weights there
            return replace(leaf, tensor=torch.zeros_like(first).expand(new))
        if not bool((leaf.tensor == first).all()):
            facts = f"--width: constant {leaf.names[0]} {leaf.shape} would have the shape {new}"
            raise MethodUnavailableError(str(leaf.where), facts, _REMEDY)
        return replace(leaf, tensor=first.expand(new).clone())


def _of_one_number(captured: CapturedModel) -> set[str]:
    """Values whose entries are all one number, whatever the inputs are: zeros that states start from."""
    names: set[str] = set()
    for leaf in captured.leaves.values():
        if (
            leaf.kind == "constant"
            and leaf.tensor.numel() > 1
            and bool((leaf.tensor == leaf.tensor.flatten()[0]).all())
        ):
            names.add(leaf.name)
    for node in captured.nodes:
        trait = traits().get(node.target)
        moves = isinstance(trait, Layout) and names.issuperset(node.names_read) and node.names_read
        if (isinstance(trait, Filled) and trait.sizes) or moves:
            names.add(node.name)
    return names


def _different(name: str, given: Sequence[Any], old: Sequence[int], new: Sequence[int]) -> dict[str, Any]:
    """The argument with new sizes where they changed; -1 stays. Empty where none did.

    given: its sizes as they are.  old, new: of the same axes of the result. A node becomes (node, new, old).
    """
    if len(given) > len(old) or tuple(old) == tuple(new):
        return {}
    sizes = list(given)
    for position, value in enumerate(given):
        if old[position] != new[position] and value != -1:
            is_computed = isinstance(value, fx.Node)
            sizes[position] = (value, new[position], old[position]) if is_computed else new[position]
    return {name: sizes}


def _write(node: fx.Node, name: str, value: Any) -> None:
    """Set an argument by its schema name. Sizes that are computed are computed further."""
    if isinstance(value, list):
        value = [_scaled(node, *entry) if isinstance(entry, tuple) else entry for entry in value]
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    position = names.index(name)
    if position < len(node.args):
        node.update_arg(position, value)
    else:
        node.update_kwarg(name, value)


def _scaled(node: fx.Node, size: fx.Node, new: int, old: int) -> fx.Node:
    """A computed size times new / old: batch * 8 becomes batch * 8 * 6 // 8, so that the batch stays open."""
    with node.graph.inserting_before(node):
        product = node.graph.call_function(operator.mul, (size, new))
        return node.graph.call_function(operator.floordiv, (product, old))
