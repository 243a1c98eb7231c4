"""Sizes that the exporter to ONNX fixes although the program leaves them open.

Its decompositions of recurrent layers count frames in Python, which fixes the symbol of their number in the whole
program. The graph that comes out often has no use of that number: it is declared open again, on trial.

An input of an LSTM was `(b, frames, 34)` in the program, and is (b, 27, 34) in the file. `reopened` makes it
(b, size_27, 34). Whether the graph works with other numbers of frames is for its caller to find out, by running it
(`onnx_export.save_onnx`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor
from torch.export import ExportedProgram

from chiralize.graph.fixed_sizes import input_values, number_of

Axes = Collection[tuple[int, int]]
"""Axes of inputs that are tensors, as ONNX has no others: (input, axis)."""


def open_axes(program: ExportedProgram) -> Axes:
    """The axes of its inputs whose sizes are open, as (input, axis): the input by its position among the tensors."""
    tensors = [value for value in input_values(program) if isinstance(value, Tensor)]
    axes = list[tuple[int, int]]()
    for index, tensor in enumerate(tensors):
        axes += [(index, axis) for axis, size in enumerate(tensor.shape) if number_of(size) is None]
    return axes


def reopened(model: Any, axes: Axes) -> Any | None:
    """A copy of an onnx.ModelProto with these axes of its inputs open; None where they are.

    What is declared of values inside and of results is left out, but for how many axes they have.
    Axes of one size get one symbol: nothing says which of two axes of 27 another one belongs to.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    sizes = [copy.graph.input[index].type.tensor_type.shape.dim[axis] for index, axis in axes]
    # A fixed size is a number, which the exporter may write as text ("27"); an open one has a name there.
    fixed = [size for size in sizes if size.dim_value or size.dim_param.isdigit()]
    if not fixed:
        return None
    symbols = {size.dim_value or int(size.dim_param): f"size_{size.dim_value or size.dim_param}" for size in fixed}
    for size in fixed:
        size.dim_param = symbols[size.dim_value or int(size.dim_param)]
    # Declared sizes inside would contradict the open ones. onnx works out those of the results, where it can.
    del copy.graph.value_info[:]
    cleared: list[tuple[int, int, str]] = []  # axes of results as (output, axis), and the symbol that they may have
    for index, value in enumerate(copy.graph.output):
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_value in symbols:
                cleared.append((index, axis, symbols[size.dim_value]))
                size.Clear()
    copy = onnx.shape_inference.infer_shapes(copy)
    for index, axis, symbol in cleared:  # what follows from weights has its number again
        size = copy.graph.output[index].type.tensor_type.shape.dim[axis]
        if not size.dim_value:
            size.dim_param = symbol
    return copy
