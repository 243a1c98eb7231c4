"""From an ONNX model to a module: weights are told from constants, and turned to the order that torch has them in.

In: a checked onnx.ModelProto.  Out: an `OnnxModule`, which is then compared with onnxruntime (`checking`) and converted
like any network.  One pass over the nodes, which ONNX stores in the order in which they can be computed:

    Constant                    its value is noted; there is no step
    node of stored values       computed now (`_fold`), so that sizes written into the file are known as numbers
    MatMul with a stored "in out" matrix    a step `Linear` with "out in", as torch's layers have it
    LSTM, GRU                   a step whose weights have torch's order of gates
    any other node              a step

Behind the pass a Linear and the Add of a stored vector become one layer with a bias.  What is stored is a parameter
where training moved it (`_WEIGHTS`), else a buffer.  Whole numbers of at most one axis stay Python's (`sizes`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chiralize.errors import CaptureError, ChiralizeError
from chiralize.errors.words import first_line
from chiralize.storage.onnx_reading import recurrent, sizes
from chiralize.storage.onnx_reading.call import MOST_ENTRIES, REMEDY, NodeCall
from chiralize.storage.onnx_reading.growth import Held, entries_beforehand
from chiralize.storage.onnx_reading.module import OPERATORS, OnnxModule, Step, run, with_names

MOST_SIZES = 2**20
"""Entries of all arrays of Python numbers that are computed from stored values."""
_STANDARD = ("", "ai.onnx")
_WEIGHTS = {
    "Gemm": (1, 2),
    "MatMul": (1,),
    "Linear": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Add": (0, 1),
    "BatchNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "RMSNormalization": (1,),
    "PRelu": (1,),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "LSTM": range(3, 11),
    "GRU": range(2, 11),
    "Concat": range(64),
    "Expand": (0,),
}
"""Inputs of operators that are weights: training moved them. Other stored tensors (means, tables) are constants."""
_NUMBERED = re.compile(r"(.*_)?(val|onnx::\w+|output)_\d+(\.T)?$")
"""Names that exporters number: `val_12`, `onnx::MatMul_30`, `output_3`; `.T` is what `_with_rows_out` adds."""
_ROLES = {1: "weight", 2: "bias"}
"""What an input of a node is called, by its position."""
_OF_LAYER = re.compile(r"(.+)\.((?:weight|bias)_[ih]h_l0(?:_reverse)?)")
"""Names that `_recurrent` gives: that of the file, and torch's."""
_STATISTICS = re.compile(r"mean|var(?!iableop)|std|scale|norm.*count", re.IGNORECASE)
"""Names of numbers that a normaliser counted: they are added and multiplied like weights, and are none."""


def read_back(model: Any) -> OnnxModule:
    """The graph of a checked model (onnx.ModelProto) in torch.

    Raises CaptureError for the first node that has no counterpart.
    """
    return _Reader(_inlined(model)).read()


def _inlined(model: Any) -> Any:
    """The model without local functions: their nodes are put into its graph."""
    if not model.functions:
        return model
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:
        facts = f"its functions cannot be put into its graph ({first_line(error)})"
        raise CaptureError("ONNX file", facts, REMEDY) from error


class _Reader:
    """A model that is being read: what is known of its values so far.

    tensors, numbers: stored or computed values by name; each value is in one of the two.  uses: how often a value is
    read, as an output of the graph too.  to_come: how often it still will be.  steps: nodes that are left to be
    computed.  weights: names of parameters.
    """

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        self.graph = model.graph
        # Operators mean other things in other sets: `NodeCall.numbers` and some operators ask for the number.
        self.opset = next((entry.version for entry in model.opset_import if entry.domain in _STANDARD), 1)
        if self.graph.sparse_initializer:
            raise CaptureError("ONNX file", "it stores sparse tensors", REMEDY)
        self.tensors = Held()
        self.numbers: dict[str, sizes.Numbers] = {}
        for stored in self.graph.initializer:
            self._store(stored.name, _tensor(numpy_helper.to_array(stored)))
        self.stored = self.tensors.entries  # what the file has by itself
        self.uses = Counter(name for node in self.graph.node for name in node.input)
        self.uses.update(output.name for output in self.graph.output)
        self.to_come = Counter(self.uses)
        self.computed = 0  # numbers that sizes are computed from, of all that were computed from stored ones
        self.steps: list[Step] = []
        self.weights: set[str] = set()
        self.written: set[str] = set()  # values of Constant nodes, which no training has moved

    def read(self) -> OnnxModule:
        """The module."""
        for number, node in enumerate(self.graph.node):
            self._take(node, number)
        self._join_biases()
        # Only what is still read becomes part of the module: folding and joining leave values that nobody needs.
        read = {name for step in self.steps for name in step.inputs}
        outputs = [output.name for output in self.graph.output]
        read.update(outputs)
        # Which stored values are weights shows only by who reads them.
        for step in self.steps:
            for position in _WEIGHTS.get(step.call.kind, ()):
                if position < len(step.inputs):
                    self._note_weight(step.inputs[position])
        parameters = {name: self.tensors[name] for name in self.tensors if name in read and name in self.weights}
        buffers = {name: self.tensors[name] for name in self.tensors if name in read and name not in self.weights}
        numbers = {name: self.numbers[name] for name in self.numbers if name in read}
        # Old files list stored tensors among the inputs too, as defaults.
        stored = {tensor.name for tensor in self.graph.initializer}
        inputs = [value.name for value in self.graph.input if value.name not in stored]
        titles = self._titles()
        module = with_names(inputs)(self.steps, parameters, buffers, numbers, inputs, outputs, titles)
        module.eval()
        return module

    def _titles(self) -> dict[str, str]:
        """Names for weights that an exporter has numbered: those of the nodes that read them.

        An exporter that is to write the result would number its own values in the same way.
        `val_3`, read as the weight of the node `/first/MatMul`, becomes `first_MatMul.weight`.
        """
        titles: dict[str, str] = {}
        for step in self.steps:
            node = re.sub(r"\W+", "_", step.call.name).strip("_") or step.call.kind
            for position, name in enumerate(step.inputs):
                # Weights of recurrent layers are called `NAME.weight_ih_l0` here, NAME maybe with an exporter's number.
                of_layer = _OF_LAYER.fullmatch(name) if step.call.kind in recurrent.GATES else None
                stem = of_layer[1] if of_layer else name
                if name in self.tensors and name not in titles and _NUMBERED.match(stem):
                    if of_layer:
                        role = of_layer[2]
                    elif name in self.weights:
                        role = _ROLES.get(position, "stored")
                    else:
                        role = "stored"
                    titles[name] = f"{node}.{role}"
        return titles

    def _note_weight(self, name: str) -> None:
        """Count a value among the parameters: a stored one of floats, no single number, no statistics, no Constant."""
        tensor = None if name in self.written else self.tensors.get(name)
        if tensor is not None and tensor.is_floating_point() and tensor.ndim and not _STATISTICS.search(name):
            self.weights.add(name)

    def _store(self, name: str, tensor: Tensor) -> None:
        """Note a stored value: as numbers where sizes may be computed from it, else as a tensor."""
        # Single numbers of any kind, too: factors and exponents take the type of the tensor that they meet.
        is_size = not tensor.is_floating_point() and tensor.ndim <= 1 and tensor.numel() <= sizes.LARGEST
        if is_size or not tensor.ndim:
            self.numbers[name] = sizes.of_tensor(tensor)
        else:
            self.tensors[name] = tensor

    def _take(self, node: Any, number: int) -> None:
        """One node: folded where nothing that it reads depends on an input, else a step."""
        call = NodeCall(node.op_type, node.name or f"{node.op_type}_{number}", _attributes(node), self.opset)
        call = replace(call, outputs=_count(node.output))
        if node.domain not in _STANDARD:  # other domains may have the same names for other operators
            raise call.refuse(f"it is of the domain {node.domain!r}, whose operators are not read")
        if call.kind == "Constant":
            before = self.tensors.entries
            self._store(node.output[0], _constant(call))
            self.stored += self.tensors.entries - before
            self.written.add(node.output[0])
            return
        if call.kind not in OPERATORS and call.kind not in sizes.ARITHMETIC:
            raise call.refuse("this operator is not in the table of those that are read")
        # Recurrent layers first: the order of their gates has to be changed, whatever else is stored.
        inputs = list(node.input)
        if call.kind in recurrent.GATES:
            inputs = self._recurrent(call, inputs)
        elif self._is_stored(inputs) and call.kind != "ConstantOfShape":
            self._fold(call, inputs, list(node.output))
            return
        elif call.kind in ("Gemm", "MatMul") and len(inputs) > 1:
            call, inputs = self._with_rows_out(call, inputs)
        self.steps.append(Step(call, tuple(inputs), tuple(node.output)))

    def _is_stored(self, names: Sequence[str]) -> bool:
        """Whether all values are known by now; what is left out ("") is, too."""
        return all(not name or name in self.tensors or name in self.numbers for name in names)

    def _value(self, name: str) -> Any:
        """A stored value; None for what is left out."""
        if not name:
            return None
        if name in self.tensors:
            return self.tensors[name]
        return self.numbers[name]

    def _fold(self, call: NodeCall, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Compute a node from stored values; a copy of a weight is that weight.

        Tensors whose last reader it is are forgotten.

        Raises CaptureError where it cannot be computed.
        """
        values = [self._value(name) for name in inputs]
        # What nobody reads after this node is let go, so that weights which are moved are held once.
        self.to_come.subtract(inputs)
        past = [name for name in {*inputs} if name in self.tensors and not self.to_come[name]]
        remaining = self.tensors.entries - sum(map(self.tensors.entries_of_alone, past)) - self.stored
        try:
            with torch.no_grad():
                self._check_growth(call, remaining + entries_beforehand(call, values))
                results = run(call, values)
        except ChiralizeError:
            raise
        except Exception as error:
            raise call.refuse(f"it cannot be computed ({type(error).__name__}: {first_line(error)})") from error
        for name in past:
            del self.tensors[name]
        # A node may name fewer outputs than its operator has, and give some that nobody reads: these are not wanted.
        for name, value in zip(outputs, results, strict=False):
            if name and self.to_come[name]:
                self._note(name, value)
        facts = f"numbers that sizes come from have {self.computed:,} entries, computed from stored ones"
        call.require(self.computed <= MOST_SIZES, facts)
        self._check_growth(call, self.tensors.entries - self.stored)

    def _note(self, name: str, value: Any) -> None:
        """Note a value that was computed from stored ones, and count it where it is kept as Python's numbers."""
        if sizes.is_numbers(value):
            self.numbers[name] = value
        else:
            self._store(name, value.contiguous())
        if name in self.numbers:
            self.computed += self.numbers[name].size

    def _check_growth(self, call: NodeCall, entries: int) -> None:
        """Refuse so many entries more than the file has: one of 2 kB doubles a value forty times, by Concat nodes."""
        facts = f"values computed from stored ones have {entries:,} entries more than these"
        call.require(entries <= MOST_ENTRIES, facts)

    def _with_rows_out(self, call: NodeCall, inputs: list[str]) -> tuple[NodeCall, list[str]]:
        """A product with a stored matrix "in out" as one with "out in", which is how torch's layers have it."""
        weight = self.tensors.get(inputs[1])
        if weight is None or weight.ndim != 2:
            return call, inputs
        if call.kind == "Gemm" and call.get("transB", 0):  # "out in" already
            return call, inputs
        # A matrix that others read as well stays as it is, and gets a turned copy beside it; all products share that.
        name = f"{inputs[1]}.T" if self.uses[inputs[1]] > 1 else inputs[1]
        if name not in self.tensors or name == inputs[1]:
            self.tensors[name] = weight.t().contiguous()
        if call.kind == "Gemm":
            return replace(call, attributes={**call.attributes, "transB": 1}), [inputs[0], name, *inputs[2:]]
        return replace(call, kind="Linear"), [inputs[0], name]

    def _join_biases(self) -> None:
        """Take a product with a weight and the addition of a stored vector behind it as one layer, in place.

        Linear(x, w) -> p, Add(p, b) -> y becomes Linear(x, w, b) -> y.  Not where something else reads p, since p is
        gone then; nor where b is as long as another axis than the units of w, which would be broadcast.
        """
        produced = {step.outputs[0]: position for position, step in enumerate(self.steps) if step.call.kind == "Linear"}
        gone: set[int] = set()
        for position, step in enumerate(self.steps):
            if step.call.kind != "Add":
                continue
            # A sum has no order: the product may be its first operand or its second.
            for one, other in (step.inputs, step.inputs[::-1]):
                bias = self.tensors.get(other)
                source = produced.get(one)
                if bias is None or source is None or bias.ndim != 1 or self.uses[one] != 1 or source in gone:
                    continue
                layer = self.steps[source]  # its weight is "out in", so that its length is the number of units
                if len(layer.inputs) == 2 and len(bias) == len(self.tensors[layer.inputs[1]]):
                    # At the position of the Add: from there on its result is read.
                    self.steps[position] = Step(layer.call, (*layer.inputs, other), step.outputs)
                    gone.add(source)
                    break
        self.steps = [step for position, step in enumerate(self.steps) if position not in gone]

    def _recurrent(self, call: NodeCall, inputs: list[str]) -> list[str]:
        """The inputs of a recurrent layer: x, states, and its weights in torch's order. Raises CaptureError.

        Weights that nodes compute from inputs are refused: their gates cannot be put into another order here.
        """
        inputs += [""] * (8 - len(inputs))
        x, w, r, b, lengths, h, c, peepholes = inputs[:8]
        call.require(not lengths and not peepholes, "it has lengths of sequences, or peepholes")
        call.require(
            w in self.tensors and r in self.tensors and (not b or b in self.tensors), "its weights are computed"
        )
        # Each weight gets a name of its own, behind that of the input weights: `W.weight_hh_l0`, `W.bias_ih_l0`.
        weights = recurrent.weights_of(call, self.tensors[w], self.tensors[r], self.tensors[b] if b else None)
        names: list[str] = []
        for name, tensor in weights.items():
            names.append(f"{w}.{name}")
            self.tensors[names[-1]] = tensor
        self.weights.update(names)
        if call.kind == "LSTM":
            return [x, h, c, *names]
        return [x, h, *names]


def _count(outputs: Sequence[str]) -> int:
    """How many outputs are named, up to the last one that is: 3 of ("y", "", "c"); 1 where none is."""
    return max((number for number, name in enumerate(outputs, 1) if name), default=1)


def _tensor(array: np.ndarray) -> Tensor:
    """A tensor with memory of its own: arrays of protobuf cannot be written to."""
    return torch.from_numpy(np.array(array))


def _constant(call: NodeCall) -> Tensor:
    """The value of a Constant node. Raises CaptureError for text."""
    for name, value in call.attributes.items():
        if isinstance(value, Tensor):
            return value
        if name in ("value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.int64)
        if name in ("value_float", "value_floats"):
            return torch.tensor(value, dtype=torch.float32)
    raise call.refuse("its value is no tensor of numbers")


def _attributes(node: Any) -> Mapping[str, Any]:
    """The attributes as plain values: numbers, lists, text, tensors. Graphs inside are left out."""
    from onnx import AttributeProto, helper, numpy_helper

    values: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            values[attribute.name] = _tensor(numpy_helper.to_array(attribute.t))
        elif attribute.type in (AttributeProto.INT, AttributeProto.FLOAT, AttributeProto.STRING):
            values[attribute.name] = _plain(helper.get_attribute_value(attribute))
        elif attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS, AttributeProto.STRINGS):
            values[attribute.name] = list(map(_plain, helper.get_attribute_value(attribute)))
    return values


def _plain(value: Any) -> Any:
    """Text for the bytes that protobuf has in its place; anything else as it is."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value
