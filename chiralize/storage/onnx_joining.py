"""Both views of an ONNX model in one graph: (f(x) + T f(T x)) / 2, with the weights stored once.

    joined = both_views(model, inputs, outputs)

The nodes are there twice, under names of their own; T is a Gather and a Mul along every axis that it moves, and an Add
where it has a centre. Of a state each view has its half, side by side on the last axis.

For files that cannot be read op by op: `methods/fill/both_views.py` joins, `onnx_export.save_joined` compares and
writes. Of a model with the input x, the state h and the outputs y and h_new comes

    x ------------------> view ----------> view_y, view_h_new
    x -> T -------------> mirrored_view -> mirrored_view_y, mirrored_view_h_new
    y = (view_y + T mirrored_view_y) * 0.5
    h -> Split -> one half for each view;  h_new = Concat of both halves

T is an involution, so that f averaged so commutes with T. How T acts on a state nobody has to know: in the mirror the
two halves change places.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chiralize.errors import ExportError
from chiralize.symmetry.action import Turn, shift
from chiralize.symmetry.involution import shape_along

_VIEWS = ("view", "mirrored_view")
_INSTEAD = "convert what it was exported from, for example a .pt2"
_SPLIT_BY_INPUT, _NEGATIVE_AXES, _OLDEST = 13, 11, 7
"""Operator sets from which Split takes its sizes as an input, Concat counts axes from the end, and Mul broadcasts."""
_STANDARD = "ai.onnx"
"""The other name of the domain "" of standard operators."""


def both_views(model: Any, inputs: Sequence[Turn | None], outputs: Sequence[Turn | None], where: str) -> Any:
    """The model (onnx.ModelProto) that averages over both views; the one given is not touched.

    inputs, outputs: T on every tensor in the order of the graph, None for a state.  where: the file, for messages.
    Raises ExportError where an output is no tensor of real numbers, or a state has no fixed size.
    """
    refuse_whole_numbers(model, [turn is None for turn in outputs], where)
    return _Joining(model, where).joined(inputs, outputs)


def refuse_whole_numbers(model: Any, is_state: Sequence[bool], where: str) -> None:
    """Raise ExportError where an output of a model (onnx.ModelProto) is no tensor of real numbers.

    is_state: of every output whether it is one, of which each view keeps its half.  where: the file.
    """
    for value, state in zip(model.graph.output, is_state, strict=True):
        kind = _kind_of(value)
        if not state and not np.issubdtype(kind, np.floating):
            facts = f"output {value.name!r} holds {kind.name}, of which there is no average"
            raise ExportError(where, facts, _cut(_Joining(model, where), value.name))


def _cut(joining: _Joining, output: str) -> str:
    """The remedy for an output of whole numbers: where ArgMax makes it, its scores can be given instead."""
    argmax = [node for node in joining.original.node if node.op_type == "ArgMax" and output in node.output]
    if not argmax:
        return _INSTEAD
    inputs = [value.name for value in joining.inputs]
    return (
        f"it is the number of the largest score; give the scores, {argmax[0].input[0]!r}, in its place: "
        f"onnx.utils.extract_model({joining.where!r}, 'scores.onnx', {inputs}, [{argmax[0].input[0]!r}])"
    )


class _Joining:
    """A model that is being put together of two copies of another one's nodes."""

    def __init__(self, model: Any, where: str) -> None:
        self.where = where
        self.opset = next((entry.version for entry in model.opset_import if entry.domain in ("", _STANDARD)), 1)
        if self.opset < _OLDEST:
            facts = f"its operators are those of set {self.opset}, which know no broadcasting"
            raise ExportError(where, facts, f"export it again, for operator set {_OLDEST} or later")
        self.original = model.graph
        # The result begins as the model without its nodes, and without declarations of values inside, which get others.
        self.result = copy.deepcopy(model)
        graph = self.result.graph
        del graph.node[:], graph.value_info[:], graph.quantization_annotation[:], self.result.training_info[:]
        stored = {tensor.name for tensor in graph.initializer}
        stored |= {tensor.values.name for tensor in graph.sparse_initializer}
        # Old files list stored tensors among the inputs too; nothing is to be given for those.  `extend` copies, so
        # that the inputs have to be taken from the graph again to be changed in place (`_double`).
        given = [value for value in graph.input if value.name not in stored]
        del graph.input[:]
        graph.input.extend(given)
        self.inputs = list(graph.input)
        self.taken = stored | {value.name for value in (*self.inputs, *graph.output)}
        self.taken |= _names_in(self.original)

    def joined(self, inputs: Sequence[Turn | None], outputs: Sequence[Turn | None]) -> Any:
        """The finished model."""
        # What each view reads for an input: the same value and its mirror image, or its half of a state.
        names: tuple[dict[str, str], dict[str, str]] = ({}, {})
        for value, turn in zip(self.inputs, inputs, strict=True):
            if turn is None:
                ours, theirs = self._halves(value)
            else:
                ours, theirs = value.name, self._turned(value, value.name, turn)
            names[0][value.name], names[1][value.name] = ours, theirs
        # Both copies read the same stored tensors, whose names stay.
        for view, table in zip(_VIEWS, names, strict=True):
            self._add_nodes(view, table)
        for value, turn in zip(self.result.graph.output, outputs, strict=True):
            ours, theirs = (table.get(value.name, value.name) for table in names)
            self._average(value, turn, str(ours), str(theirs))
        return self.result

    # ---- the two copies ---------------------------------------------------------------------------------------
    def _add_nodes(self, view: str, table: dict[str, str]) -> None:
        """All nodes once more, their values under new names. table: new names by old ones, to which these are added."""
        for node in self.original.node:
            for name in node.output:
                if name:
                    table[name] = self._name(f"{view}_{name}")
        for number, node in enumerate(self.original.node):
            added = self.result.graph.node.add()
            added.CopyFrom(_renamed(node, table, view))
            added.name = f"{view}_{node.name or number}"

    def _name(self, wish: str) -> str:
        """A name that nothing else has."""
        name = wish
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    # ---- T and the average ------------------------------------------------------------------------------------
    def _op(self, kind: str, operands: Sequence[str], wish: str, **attributes: Any) -> str:
        """The name of a new node's result."""
        from onnx import helper

        result = self._name(wish)
        self.result.graph.node.append(helper.make_node(kind, list(operands), [result], name=result, **attributes))
        return result

    def _constant(self, array: npt.NDArray[Any], wish: str) -> str:
        """The name of a new stored tensor."""
        from onnx import numpy_helper

        name = self._name(wish)
        self.result.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _turned(self, value: Any, name: str, turn: Turn) -> str:
        """T of a value.  value: the port whose kind it has.  name: of the value itself."""
        # T x = c + R x - R c: R entry by entry along each axis (x[partner] * sign), then the constant c - R c.
        representation, center = turn
        kind = _kind_of(value)
        for axis in representation.moved_axes:
            action = representation.axes[axis].action
            order = self._constant(np.asarray(action.partner, dtype=np.int64), f"{name}_partner{axis}")
            name = self._op("Gather", [name, order], f"{name}_swapped{axis}", axis=axis)
            # Truth values change places, and have no sign: ONNX knows no Mul of them.
            if not action.is_sign_free and kind != np.bool_:
                along = np.asarray(action.sign).reshape(shape_along(axis, len(representation.axes)))
                sign = self._constant(along.astype(kind), f"{name}_sign{axis}")
                name = self._op("Mul", [name, sign], f"{name}_signed{axis}")
        if representation.sign < 0 and kind != np.bool_:
            name = self._op("Neg", [name], f"{name}_negated")
        if center is not None:
            added = self._constant(shift(representation, center).astype(kind), f"{name}_shift")
            name = self._op("Add", [name, added], f"{name}_shifted")
        return name

    def _halves(self, value: Any) -> tuple[str, str]:
        """A state that is twice as large on its last axis, taken apart. Raises ExportError where that has no size."""
        size = self._double(value)
        ours, theirs = self._name(f"{_VIEWS[0]}_{value.name}"), self._name(f"{_VIEWS[1]}_{value.name}")
        from onnx import helper

        operands, attributes = [value.name], dict[str, Any](axis=-1)
        if self.opset >= _SPLIT_BY_INPUT:  # then -1 is an axis, too
            operands.append(self._constant(np.array([size, size], dtype=np.int64), f"{value.name}_sizes"))
        else:
            dims = len(value.type.tensor_type.shape.dim)
            attributes = {"axis": dims - 1, "split": [size, size]}
        name = self._name(f"{value.name}_halves")
        self.result.graph.node.append(helper.make_node("Split", operands, [ours, theirs], name=name, **attributes))
        return ours, theirs

    def _double(self, value: Any) -> int:
        """Let a port hold the states of both views; the size of one on its last axis."""
        dims = value.type.tensor_type.shape.dim
        if not dims or not dims[-1].HasField("dim_value"):
            facts = (
                f"the state {value.name!r} has no fixed size on its last axis, on which both views' lie side by side"
            )
            raise ExportError(self.where, facts, _INSTEAD)
        size = dims[-1].dim_value
        dims[-1].dim_value = 2 * size
        return size

    def _average(self, value: Any, turn: Turn | None, ours: str, theirs: str) -> None:
        """The nodes that give an output: the average, or both states side by side.

        turn: T on it, None for a state.  ours, theirs: what the views have for it.
        """
        from onnx import helper

        nodes = self.result.graph.node
        if turn is None:
            dims = value.type.tensor_type.shape.dim
            # An output may have no declared sizes at all; an input has, see `_double`.
            if dims and dims[-1].HasField("dim_value"):
                dims[-1].dim_value *= 2
            axis = -1 if self.opset >= _NEGATIVE_AXES else len(dims) - 1
            name = self._name(f"{value.name}_of_both")
            nodes.append(helper.make_node("Concat", [ours, theirs], [value.name], name=name, axis=axis))
            return
        kind = _kind_of(value)
        total = self._op("Add", [ours, self._turned(value, theirs, turn)], f"{value.name}_sum")
        half = self._constant(np.array(0.5, dtype=kind), f"{value.name}_half")
        name = self._name(f"{value.name}_average")
        nodes.append(helper.make_node("Mul", [total, half], [value.name], name=name))


def _kind_of(value: Any) -> np.dtype[Any]:
    """The number type of an input or output."""
    from onnx import helper

    return np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _names_in(graph: Any) -> set[str]:
    """Every name of a value in a graph, and in the graphs inside it."""
    names = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    for node in graph.node:
        names.update(node.output)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                names |= _names_in(inner)
    return names


def _renamed(node: Any, table: Mapping[str, str], view: str) -> Any:
    """A copy of a node whose values have new names, also in graphs inside it (branches, loops)."""
    result = copy.deepcopy(node)
    for names in (result.input, result.output):
        for index, name in enumerate(names):
            names[index] = table.get(name, name)
    for attribute in result.attribute:
        if attribute.HasField("g"):
            _rename_inside(attribute.g, table, view)
        for graph in attribute.graphs:
            _rename_inside(graph, table, view)
    return result


def _rename_inside(graph: Any, table: Mapping[str, str], view: str) -> None:
    """Rename the values of a graph inside a node, in place; values from outside have the names of the table.

    A branch reads values of the graph around it by name, so that both views need branches of their own.  Its own values
    get the name of the view in front: names must differ from those of the other view and of the graph around.
    """
    # Names inside win over those outside: inputs and stored tensors of this graph, then results of its nodes.
    inner = dict(table)
    for holder in (*graph.input, *graph.initializer):
        inner[holder.name] = f"{view}_{holder.name}"
        holder.name = inner[holder.name]
    for sparse in graph.sparse_initializer:
        inner[sparse.values.name] = f"{view}_{sparse.values.name}"
        sparse.values.name = inner[sparse.values.name]
    for node in graph.node:
        for name in node.output:
            if name:
                inner[name] = f"{view}_{name}"
    nodes = [_renamed(node, inner, view) for node in graph.node]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    for value in graph.output:
        value.name = inner.get(value.name, value.name)
