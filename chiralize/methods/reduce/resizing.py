"""The same graph with other sizes of its hidden spaces.

Most ops take whatever size they are given. A few take sizes as arguments, and their traits say which arguments these
are. The result of an op is checked against its representation on the first run.

`filling` asks for two things: `graph`, the captured graph in the new sizes, in which weights are fitted, and `apply`,
which writes the same sizes and the fitted weights into the exported module. With 8 hidden units reduced to 6:

    view(x, [4, 2, 8])          view(x, [4, 2, 6])           the axis is known to be the space: its new size is known
    zeros([4, 8])               zeros([4, 6])                nothing is known of it: a size that its readers take
    view(x, [4, -1, 8])         view(x, [4, -1, 6])          -1 stays, it is found out when the op runs
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from typing import Any

import torch
from torch import Tensor, fx

from chiralize.errors import MethodUnavailableError
from chiralize.graph.execution import evaluate
from chiralize.graph.model import CapturedModel, Leaf, Node, Ref
from chiralize.graph.traits import (
    Adjoint,
    Attention,
    Contraction,
    Filled,
    Normalised,
    Slice,
    Split,
    Trait,
    Unflatten,
)
from chiralize.graph.written import NEW_FULL
from chiralize.infer.records import RepMap
from chiralize.infer.registry import traits
from chiralize.methods.reduce.hidden_maps import Lifting
from chiralize.symmetry.symbolic import Axis, Sum, SymbolicRepresentation, axis_size

Shape = tuple[int, ...]
_END = 1 << 62
"""Bounds from here on mean the end of an axis, however long: exported slices have 2^63 - 1 there."""
_MOST_WAYS = 256
"""Shapes that are tried for a tensor of one number."""


class Resizing:
    """New sizes for everything that hidden spaces touch.

    nodes: of the captured graph, by name.  filled: new shapes of tensors that hold one number, by name.
    """

    def __init__(self, captured: CapturedModel, repmap: RepMap, lifting: Lifting) -> None:
        self.captured, self.repmap, self.lifting = captured, repmap, lifting
        self.nodes = captured.by_name
        fills = {node.name: node.shapes[0] or () for node in captured.nodes if self._fills(node)}
        fills |= {leaf.name: leaf.shape for leaf in captured.leaves.values() if _is_filled(leaf)}
        # empty at first: `_sizes` asks for the new sizes of readers, which look into it
        self.filled = dict[str, Shape]()
        self.filled = self._sizes(fills)

    def graph(self) -> CapturedModel:
        """The captured graph in the new sizes (weights hold zeros where their sizes change)."""
        nodes = tuple(
            replace(node, arguments={**node.arguments, **self.changes(node)}, shapes=self._shapes(node))
            for node in self.captured.nodes
        )
        leaves = {name: self._resized(leaf) for name, leaf in self.captured.leaves.items()}
        return replace(self.captured, nodes=nodes, leaves=leaves)

    def apply(self, module: fx.GraphModule, weights: Mapping[str, Tensor]) -> None:
        """Give a graph module of the same ops the new sizes and weights, in place.  weights: by name in the module."""
        # 1. Arguments of ops. A constant that an op makes in the module is a leaf of the captured graph, by its name.
        constants = {name: leaf for name, leaf in self.captured.leaves.items() if leaf.kind == "constant"}
        changed = {name: new for name, leaf in constants.items() if (new := self._resized(leaf)) is not leaf}
        for node in module.graph.nodes:
            if node.op != "call_function":
                continue
            before, changes = {}, {}  # arguments as they were, and those that are others now
            if node.name in self.nodes:
                before, changes = self.nodes[node.name].arguments, self.changes(self.nodes[node.name])
            elif node.name in changed and _sizes_of(node.target):
                name, old = _sizes_of(node.target), constants[node.name].shape
                before, changes = {name: old}, _different(name, old, old, changed[node.name].shape)
            for name, value in changes.items():
                _write(node, name, before.get(name), value)
            if node.name in changed and not _is_fill(node.target):
                self._fill(node, changed[node.name])
        # 2. Weights, and constants that lie in the module. The attribute of a submodule is `outer.inner.weight`.
        stored = {name: leaf.tensor for leaf in changed.values() if leaf.stored for name in leaf.names}
        for name, value in {**weights, **stored}.items():
            owner, _, attribute = name.rpartition(".")
            holder = module.get_submodule(owner)
            old = operator.attrgetter(attribute)(holder)
            if isinstance(old, torch.nn.Parameter):
                new = torch.nn.Parameter(value, old.requires_grad)
            else:
                new = value
            setattr(holder, attribute, new)
        module.graph.lint()
        module.recompile()

    @property
    def is_needed(self) -> bool:
        """Whether any op, weight or constant has another size."""
        leaves = self.captured.leaves.values()
        return any(self._resized(leaf) is not leaf for leaf in leaves) or any(map(self.changes, self.captured.nodes))

    def changes(self, node: Node) -> dict[str, Any]:
        """Arguments of an op that hold other sizes now. Raises MethodUnavailableError where they cannot be told."""
        outputs = self.repmap.nodes.get(node.name) or ()
        out = outputs[0] if outputs else None
        # where no result has a representation, no hidden space touches the op
        if out is None and not any(outputs) and node.name not in self.filled:
            return {}
        new = self._shape(out) if out is not None else self.filled.get(node.name)
        match traits().get(node.target):
            case Trait(sizes=name) if name and new is not None:  # view, expand, zeros: a size for every axis
                return _different(name, node.arguments[name], node.shapes[0] or (), new)
            case Unflatten() if new is not None:  # one axis of the source becomes len(sizes) axes of the result
                start = node.arguments["dim"] % (len(new) - len(node.arguments["sizes"]) + 1)
                return _different("sizes", node.arguments["sizes"], (node.shapes[0] or ())[start:], new[start:])
            case Normalised(shape=name) if name and new is not None:
                old = node.arguments[name]  # sizes of the last axes
                return _different(name, old, tuple(old), new[-len(old) :])
            case Split(lengths=name) if name:
                return self._split(node, name, outputs)
            case Attention() if node.arguments.get("scale") is None:
                # by default 1 / sqrt(dimensions), of those that are left now; the weights were trained with the old one
                query = self._read(node.arguments["query"])
                old = axis_size(query.axes[-1]) if query else 1
                if query and self._size(query.axes[-1]) != old:
                    return {"scale": old**-0.5}
                return {}
            case Slice() if "end" in node.arguments:
                return self._slice(node, self._read(node.arguments["self"]), "start", "end")
            case Contraction(is_windowed=True) | Adjoint() if node.arguments["groups"] != 1 and new is not None:
                return self._groups(node, new)
        return {}

    def _split(self, node: Node, name: str, outputs: Sequence[SymbolicRepresentation | None]) -> dict[str, Any]:
        """The lengths of a split's parts, a list, or a number for parts of one length (the last may be shorter).

        Raises MethodUnavailableError where parts of one length would become different ones.
        """
        dim = node.arguments["dim"]
        sizes: list[int] = []
        for rep, shape in zip(outputs, node.shapes, strict=True):
            part = shape if rep is None else self._shape(rep)
            assert part is not None, f"{node.name} splits a tensor"
            sizes.append(part[dim])
        given = node.arguments[name]
        if isinstance(given, Sequence):  # a length for each part
            if sizes != list(given):
                return {name: sizes}
            return {}
        if any(size != sizes[0] for size in sizes[:-1]) or sizes[-1] > sizes[0]:
            raise self._stuck(node, "a split in equal parts would have to be one in different parts")
        if sizes[0] != given:
            return {name: sizes[0]}
        return {}

    def _slice(self, node: Node, rep: SymbolicRepresentation | None, *bounds: str) -> dict[str, Any]:
        """The bounds of a slice, moved with the parts that it cuts between. rep: of what is sliced.

        Raises MethodUnavailableError where a bound lies within a hidden space, whose new units have another order.
        """
        if rep is None:
            return {}
        axis = rep.axes[node.arguments["dim"]]
        if self._size(axis) == axis_size(axis):  # an axis that no reduced space is part of
            return {}
        changes: dict[str, Any] = {}
        for name in bounds:
            bound = node.arguments[name]
            if bound is None or bound >= _END or bound == 0:  # either end of the axis, wherever that is
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

    def _groups(self, node: Node, new: Shape) -> dict[str, Any]:
        """The groups of a convolution along single channels, as many as there are. Raises MethodUnavailableError."""
        old = (node.shapes[0] or (0, 0))[1]  # "batch channel place"
        if new[1] == old:
            return {}
        if node.arguments["groups"] != old:  # nobody knows which kept channels share a group
            raise self._stuck(node, "a convolution in groups of several channels")
        return {"groups": new[1]}

    def _stuck(self, node: Node, facts: str) -> MethodUnavailableError:
        """The refusal of an op whose new arguments cannot be told."""
        return MethodUnavailableError(str(node.where), f"--width: {facts}", "use --width 0.5, or --method average")

    def _read(self, ref: Any) -> SymbolicRepresentation | None:
        """How an op's argument transforms, where it is the first result of an op."""
        outputs = self.repmap.nodes.get(ref.name) if isinstance(ref, Ref) else None
        if not outputs:
            return None
        return outputs[0]

    def _size(self, axis: Axis) -> int:
        """The new size of an axis."""
        return self.lifting.representation(SymbolicRepresentation((axis,))).shape[0]

    def _shape(self, rep: SymbolicRepresentation) -> Shape:
        """The new shape of a tensor; () of a single number."""
        return self.lifting.representation(rep).shape

    def _shapes(self, node: Node) -> tuple[Shape | None, ...]:
        """The new shapes of an op's results; None of one whose shape is not known."""
        reps = self.repmap.nodes.get(node.name, ())
        if not reps:
            return node.shapes
        shapes: list[Shape | None] = []
        for rep in reps:
            shapes.append(self.filled.get(node.name) if rep is None else self._shape(rep))
        return tuple(shapes)

    def _new_shape(self, leaf: Leaf) -> Shape:
        """The new shape of a leaf: `filled` of a constant of one number, the old one where its action is not known."""
        if leaf.name in self.filled:
            return self.filled[leaf.name]
        rep = self.repmap.leaves.get(leaf.name)
        if rep is not None:
            return self._shape(rep)
        return leaf.shape

    def _fill(self, node: fx.Node, leaf: Leaf) -> None:
        """Make a constant, which was a view of another one, of the one number that it holds.

        A view of a constant of the old size has too many entries, or too few. Raises MethodUnavailableError where the
        op does not list the sizes of its result.
        """
        source, sizes, *_ = (*node.args, None) if _sizes_of(node.target) else (None, None)
        if not isinstance(sizes, (list, tuple)) or -1 in sizes:  # a size that follows from the old number of entries
            facts = f"--width: {node.target} makes {leaf.shape} of a constant of another size"
            raise MethodUnavailableError(str(leaf.where), facts, "use --width 0.5, or --method average")
        number = leaf.tensor.flatten().tolist()[0]
        node.target, node.args, node.kwargs = NEW_FULL, (source, sizes, number), {}

    # ---- tensors filled with one number ---------------------------------------------------------------------------
    def _fills(self, node: Node) -> bool:
        """Whether an op fills a tensor of which no representation is known."""
        return _is_fill(node.target) and not any(self.repmap.nodes.get(node.name) or ())

    def _sizes(self, fills: Mapping[str, Shape]) -> dict[str, Shape]:
        """The first sizes that all readers take: such a tensor may be anything, as the zeros that states start from."""
        # 1. What axes of a size have become, anywhere in the network: {8: {6, 8}}, say, of two spaces of 8.
        became: dict[int, dict[int, None]] = {}
        for rep in (*self.repmap.leaves.values(), *(out for outputs in self.repmap.nodes.values() for out in outputs)):
            for axis in rep.axes if rep is not None else ():
                became.setdefault(axis_size(axis), {})[self._size(axis)] = None
        # 2. Every axis with its old size or one of those, the old ones first. Tensors of one shape change together,
        # since an op may read two of them: an LSTM starts from zeros for h and zeros for c.
        sizes = dict(fills)
        for name, shape in fills.items():
            alike = [other for other, other_shape in fills.items() if other_shape == shape]
            readers = self.captured.readers(name)
            ways = product(*(dict.fromkeys((size, *became.get(size, ()))) for size in shape))
            for way in islice(ways, _MOST_WAYS):
                if all(self._takes(node, dict.fromkeys(alike, way)) for node in readers):
                    sizes[name] = way
                    break
        return sizes

    def _takes(self, node: Node, given: Mapping[str, Shape]) -> bool:
        """Whether an op, run without numbers, gives the sizes that it should, as far as these are known."""
        values: dict[str, Tensor] = {}
        for ref in node.reads:
            leaf = self.captured.leaves.get(ref.name)
            if leaf is None:
                before = self.nodes[ref.name]
                shape, kind = self._shapes(before)[0], next(iter(before.dtypes), None)
            else:
                shape, kind = self._new_shape(leaf), leaf.tensor.dtype
            shape = given.get(ref.name, shape)
            if shape is None:  # of an operand that nobody knows: nothing speaks against it
                return True
            # An index or a mask stays one. Numbers of several precisions might not go together: all get the default.
            if kind is not None and kind.is_floating_point:
                kind = None
            values[ref.name] = torch.empty(shape, dtype=kind, device="meta")
        try:
            result = evaluate(replace(node, arguments={**node.arguments, **self.changes(node)}), values)
        except (RuntimeError, IndexError, NotImplementedError):
            return False
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        # a result of unknown shape may have any
        return all(
            wanted is None or tuple(out.shape) == wanted
            for out, wanted in zip(outputs, self._shapes(node), strict=False)
        )

    def _resized(self, leaf: Leaf) -> Leaf:
        """A constant of one number grows or shrinks with its spaces; of weights and states, only the size counts."""
        # inputs keep their size: callers make them, and `filling` refuses states that would have another one
        new = self._new_shape(leaf) if leaf.kind != "input" else leaf.shape
        if new == leaf.shape or not leaf.tensor.numel():
            return leaf
        is_stored = leaf.is_weight or leaf.kind == "state"
        if not (is_stored or _is_filled(leaf)):
            facts = f"--width: constant {leaf.names[0]} {leaf.shape} would have the shape {new}"
            raise MethodUnavailableError(str(leaf.where), facts, "use --width 0.5, or --method average")
        if is_stored:  # zeros that take no memory; the fit puts the weights there
            return replace(leaf, tensor=leaf.tensor.new_zeros(()).expand(new))
        return replace(leaf, tensor=leaf.tensor.flatten()[0].expand(new).clone())


def _sizes_of(target: object) -> str:
    """The argument of an op that lists the sizes of its result; empty where none does."""
    trait = traits().get(str(target))
    return trait.sizes if trait is not None else ""


def _is_fill(target: object) -> bool:
    """Whether an op makes a tensor of given sizes that depends on no entry of another."""
    return bool(_sizes_of(target)) and isinstance(traits()[str(target)], Filled)


def _is_filled(leaf: Leaf) -> bool:
    """Whether a leaf is a constant of one number."""
    tensor = leaf.tensor
    return leaf.kind == "constant" and tensor.numel() > 0 and bool((tensor == tensor.flatten()[0]).all())


def _different(name: str, given: Sequence[Any], old: Shape, new: Shape) -> dict[str, Any]:
    """The argument with new sizes where they changed; -1 stays. Empty where none did.

    given: its sizes as they are.  old, new: of the same axes of the result.
    """
    sizes = list(given)
    for position, value in enumerate(given):
        if value != -1 and new[position] != old[position]:
            sizes[position] = new[position]
    if sizes != list(given):
        return {name: sizes}
    return {}


def _write(node: fx.Node, name: str, before: Any, value: Any) -> None:
    """Set an argument by its schema name. Entries of a list that are computed (open sizes) are computed further.

    before, value: the argument with plain numbers, as it was and as it is to be.
    """
    schema = node.target._schema  # type: ignore[union-attr]
    position = [argument.name for argument in schema.arguments].index(name)
    given = node.args[position] if position < len(node.args) else node.kwargs.get(name)
    if isinstance(value, list) and isinstance(given, (list, tuple)):
        value = list(value)
        for index, (entry, old) in enumerate(zip(given, before, strict=True)):
            if isinstance(entry, fx.Node):
                value[index] = _scaled(node, entry, old, value[index])
    if position < len(node.args):
        node.update_arg(position, value)
    else:
        node.update_kwarg(name, value)


def _scaled(node: fx.Node, size: fx.Node, old: int, new: int) -> fx.Node:
    """A computed size times new / old."""
    if old == new:
        return size
    with node.graph.inserting_before(node):  # batch * 8 becomes batch * 8 * 6 // 8: the batch stays open
        product = node.graph.call_function(operator.mul, (size, new))
        return node.graph.call_function(operator.floordiv, (product, old))
