"""Every operator of the table, one node at a time: read back, it answers as onnxruntime does."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from chiralize.errors import CaptureError
from chiralize.graph.other_sizes import is_open
from chiralize.storage.onnx_network import OnnxNetwork
from chiralize.storage.onnx_reading import reading
from chiralize.storage.onnx_reading.module import OPERATORS
from chiralize.storage.onnx_reading.reading import read_back

RANDOM = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    """N(0, 1) in a shape."""
    return RANDOM.standard_normal(shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


@dataclass(frozen=True)
class Sample:
    """A node: its operator, inputs (those that are stored as well), attributes; the version of operators.

    stored_first: stored inputs that come before the others.
    """

    kind: str
    inputs: Sequence[np.ndarray]
    stored: Sequence[np.ndarray | None] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 20
    outputs: int = 1
    stored_first: Sequence[np.ndarray] = ()

    def model(self) -> ModelProto:
        """The node as a whole model."""
        names = [f"x{number}" for number in range(len(self.inputs))]
        kept, initializers = [], []
        first = [f"v{number}" for number in range(len(self.stored_first))]
        for name, array in zip(first, self.stored_first, strict=True):
            initializers.append(numpy_helper.from_array(np.asarray(array), name))
        for number, array in enumerate(self.stored):
            kept.append("" if array is None else f"w{number}")
            if array is not None:
                initializers.append(numpy_helper.from_array(array, f"w{number}"))
        results = [f"y{number}" for number in range(self.outputs)]
        node = helper.make_node(self.kind, [*first, *names, *kept], results, name="the_node", **self.attributes)
        ports = []
        for name, array in zip(names, self.inputs, strict=True):
            ports.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape))
        outputs = [helper.make_empty_tensor_value_info(name) for name in results]
        graph = helper.make_graph([node], "one node", ports, outputs, initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)


POSITIVE = np.abs(draw(2, 3, 4)) + 0.5
SMALL = np.clip(draw(2, 3, 4), -0.9, 0.9)
IMAGE = draw(2, 4, 9)
W, R, B = draw(1, 20, 3), draw(1, 20, 5), draw(1, 40)
W2, R2, B2 = draw(2, 15, 3), draw(2, 15, 5), draw(2, 30)
UNARY = (
    "Relu Sigmoid Tanh Softplus Softsign Selu HardSwish Mish Erf Exp Abs Neg Sin Cos Tan Atan Sign Floor Ceil Round"
    " Identity Elu Celu LeakyRelu Gelu HardSigmoid Softmax LogSoftmax"
).split()
BINARY = "Add Sub Mul Div Min Max Equal Less LessOrEqual Greater GreaterOrEqual MatMul".split()
TRUE = RANDOM.random((2, 3, 4)) > 0.5
SAMPLES = [
    *(Sample(kind, [draw(2, 3, 4)]) for kind in UNARY),
    *(Sample(kind, [draw(2, 3, 4), draw(4, 4)[: 4 if kind == "MatMul" else 1]]) for kind in BINARY),
    *(Sample(kind, [POSITIVE]) for kind in ("Log", "Sqrt", "Reciprocal")),
    *(Sample(kind, [SMALL]) for kind in ("Asin", "Acos")),
    Sample("Not", [TRUE]),
    *(Sample(kind, [TRUE, ~TRUE[:1]]) for kind in ("And", "Or")),
    Sample("Dropout", [draw(2, 3)]),
    Sample("Elu", [draw(2, 3)], attributes={"alpha": 0.3}),
    Sample("Celu", [draw(2, 3)], attributes={"alpha": 0.3}),
    Sample("LeakyRelu", [draw(2, 3)], attributes={"alpha": 0.3}),
    Sample("HardSigmoid", [3 * draw(2, 3)], attributes={"alpha": 0.3, "beta": 0.1}),
    Sample("Gelu", [draw(2, 3)], attributes={"approximate": "tanh"}),
    Sample("Softmax", [draw(2, 3, 4)], attributes={"axis": 1}),
    Sample("Softmax", [draw(2, 3)], opset=11),
    Sample("PRelu", [draw(2, 3, 4)], [draw(3, 1)]),
    Sample("Clip", [draw(2, 3)], [np.float32(-0.3), np.float32(0.4)]),
    Sample("Clip", [draw(2, 3)], [np.float32(0.0)]),
    Sample("Clip", [draw(2, 3)], [None, np.float32(0.1)]),
    Sample("Clip", [draw(2, 3)], attributes={"min": -0.2, "max": 0.5}, opset=10),
    Sample("Cast", [3 * draw(2, 3)], attributes={"to": TensorProto.INT64}),
    Sample("Pow", [POSITIVE], [np.float32(2.0)]),
    Sample("Pow", [POSITIVE, draw(4)]),
    # the result has the type of the base
    Sample("Pow", [draw(2, 3), whole(2, 3, -1)]),
    Sample("Pow", [draw(2, 3)], [whole(3)]),
    Sample("Pow", [whole(2, -3, 5, 9), np.array([0.5, 2.0, -1.0, 1.5], np.float32)]),
    Sample("Pow", [whole(2, 3, 5)], [np.float32(1.5)]),
    Sample("Pow", [whole(2, -3, 5)], [whole(3)]),
    Sample("Pow", [whole(2, -3, 1)], [whole(-1)]),
    Sample("Pow", [whole(2, -3, 1), whole(-1, 2, -2)]),
    Sample("Pow", [whole(2, 3).astype(np.int32), whole(5, 2)]),
    Sample("Pow", [POSITIVE, draw(4).astype(np.float64)]),
    Sample("Pow", [POSITIVE], [np.array([0.3])]),
    Sample("Pow", [POSITIVE.astype(np.float64)], [np.float32(0.3)]),
    Sample("Pow", [POSITIVE.astype(np.float64), draw(4)]),
    Sample("Pow", [draw(4)], stored_first=[np.float32(1.3)]),
    Sample("Pow", [draw(4).astype(np.float64)], stored_first=[np.array([0.1])]),
    Sample("Pow", [draw(4)], stored_first=[whole(3)]),
    Sample("Pow", [whole(2, 3)], stored_first=[np.float32(1.3)]),
    Sample("Pow", [whole(2, 3)], stored_first=[np.array([1.3, 0.1], np.float32)]),
    Sample("Add", [draw(2, 3)], [draw(3)]),
    Sample("Sub", [draw(2, 3)], [np.float32(0.25)]),
    Sample("Div", [whole(7, -7, 9)], [whole(2)]),
    Sample("Div", [draw(2, 3)], [POSITIVE[0, 0, :3]]),
    Sample("Where", [TRUE, draw(2, 3, 4)], [np.float32(-1.5)]),
    Sample("Where", [TRUE, draw(2, 3, 4), draw(2, 3, 1)]),
    Sample("Max", [draw(2, 3), draw(3), draw(1)]),
    Sample("Max", [draw(2, 3)], [np.float32(0.1)]),
    # movement
    Sample("Shape", [draw(2, 3, 4)]),
    Sample("Shape", [draw(2, 3, 4)], attributes={"start": 1, "end": -1}),
    Sample("Size", [draw(2, 3)]),
    Sample("Reshape", [draw(2, 3, 4)], [whole(0, -1)]),
    Sample("Reshape", [draw(2, 3, 4)], [whole(4, 6)]),
    Sample("Flatten", [draw(2, 3, 4)]),
    Sample("Flatten", [draw(2, 3, 4)], attributes={"axis": 2}),
    Sample("Flatten", [draw(2, 3, 4)], attributes={"axis": 0}),
    Sample("Flatten", [draw(5)]),
    Sample("Flatten", [draw(2, 3, 4)], attributes={"axis": -1}),
    Sample("Flatten", [draw(2, 3, 4)], attributes={"axis": -2}),
    Sample("Flatten", [draw(2, 3, 4)], attributes={"axis": -3}),
    Sample("Squeeze", [draw(2, 1, 3, 1)]),
    Sample("Squeeze", [draw(2, 1, 3, 1)], [whole(-1)]),
    Sample("Squeeze", [draw(2, 1, 3, 1)], attributes={"axes": [1]}, opset=11),
    Sample("Unsqueeze", [draw(2, 3)], [whole(0, -1)]),
    Sample("Unsqueeze", [draw(2, 3)], attributes={"axes": [1]}, opset=11),
    Sample("Transpose", [draw(2, 3, 4)]),
    Sample("Transpose", [draw(2, 3, 4)], attributes={"perm": [1, 0, 2]}),
    Sample("Concat", [draw(2, 3), draw(2, 1)], attributes={"axis": 1}),
    Sample("Concat", [draw(2, 3)], [draw(2, 2)], attributes={"axis": -1}),
    Sample("Split", [draw(2, 5)], [whole(2, 3)], attributes={"axis": 1}, outputs=2),
    Sample("Split", [draw(2, 5)], attributes={"axis": 1, "num_outputs": 2}, outputs=2),
    Sample("Split", [draw(2, 5)], attributes={"axis": 1, "split": [1, 4]}, opset=11, outputs=2),
    Sample("Slice", [draw(5, 6)], [whole(1), whole(4), whole(0)]),
    Sample("Slice", [draw(5, 6)], [whole(-4, 0), whole(2**63 - 1, 5), whole(0, 1), whole(1, 2)]),
    Sample("Slice", [draw(5, 6)], [whole(-1), whole(-(2**63) + 1), whole(1), whole(-1)]),
    Sample("Slice", [draw(5, 6)], attributes={"starts": [1], "ends": [3], "axes": [1]}, opset=9),
    Sample("Gather", [draw(5, 6)], [np.array(2)], attributes={"axis": 1}),
    Sample("Gather", [draw(5, 6)], [np.array(-1)]),
    Sample("Gather", [draw(5, 6)], [whole(4, -2, 0)]),
    Sample("Gather", [draw(5, 6)], [whole(4, 2, 0, 1).reshape(2, 2)], attributes={"axis": 1}),
    Sample("GatherElements", [draw(3, 3)], [whole(0, 2, 1, 1, 0, 2).reshape(2, 3)]),
    Sample("Expand", [draw(3, 1)], [whole(2, 1, 4)]),
    Sample("Expand", [draw(2, 3, 4)], [whole(4)]),
    Sample("Tile", [draw(2, 3)], [whole(2, 1)]),
    Sample("Pad", [IMAGE], [whole(0, 0, 2, 0, 0, 1)]),
    Sample("Pad", [IMAGE], [whole(0, 0, 2, 0, 0, 1), np.float32(0.5)]),
    Sample("Pad", [draw(2, 3, 4, 5)], [whole(0, 0, 0, 1, 0, 0, 0, 2)], attributes={"mode": "reflect"}),
    Sample("Pad", [IMAGE], [whole(0, 0, 2, 0, 0, 1)], attributes={"mode": "reflect"}),
    Sample("Pad", [IMAGE], [whole(0, 0, 2, 0, 0, 1)], attributes={"mode": "edge"}),
    Sample("Pad", [IMAGE], attributes={"pads": [0, 0, 2, 0, 0, 1], "value": 0.25}, opset=10),
    Sample("ConstantOfShape", [], [whole(2, 3)], attributes={"value": numpy_helper.from_array(draw(1))}),
    Sample("ConstantOfShape", [], [whole(3)], attributes={"value": numpy_helper.from_array(whole(7))}),
    Sample("Range", [], [np.array(1), np.array(9), np.array(3)]),
    # products and means
    Sample("Gemm", [draw(2, 3)], [draw(3, 4), draw(4)]),
    Sample("Gemm", [draw(2, 3)], [draw(4, 3), draw(4)], {"transB": 1}),
    Sample("Gemm", [draw(3, 2), draw(3, 4), draw(2, 4)], attributes={"transA": 1, "alpha": 0.5, "beta": 2.0}),
    Sample("Gemm", [draw(2, 3)], [draw(3, 4)]),
    Sample("MatMul", [draw(2, 3, 4)], [draw(4, 5)]),
    Sample("Einsum", [draw(2, 3), draw(3, 4)], attributes={"equation": "ij,jk->ik"}),
    Sample("Conv", [IMAGE], [draw(6, 4, 3), draw(6)], {"pads": [1, 1], "strides": [2]}),
    Sample("Conv", [IMAGE], [draw(6, 2, 3)], {"group": 2, "dilations": [2], "pads": [3, 0]}),
    Sample("Conv", [draw(1, 2, 5, 6)], [draw(3, 2, 3, 3), draw(3)], {"pads": [1, 0, 1, 0]}),
    Sample("ConvTranspose", [IMAGE], [draw(4, 3, 3), draw(3)], {"strides": [2], "pads": [1, 1], "output_padding": [1]}),
    Sample("ConvTranspose", [IMAGE], [draw(4, 3, 3), draw(3)], {"strides": [2], "pads": [0, 2], "output_padding": [1]}),
    Sample("ConvTranspose", [draw(2, 4, 3, 5)], [draw(4, 2, 3, 4)], {"strides": [1, 2], "pads": [0, 1, 0, 1]}),
    Sample("ConvTranspose", [draw(2, 4, 3, 5)], [draw(4, 1, 3, 4), draw(2)], {"group": 2, "pads": [1, 0, 0, 2]}),
    Sample("MaxPool", [IMAGE], attributes={"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    Sample("MaxPool", [IMAGE], attributes={"kernel_shape": [3], "strides": [2], "pads": [0, 1]}),
    Sample("AveragePool", [IMAGE], attributes={"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    Sample("AveragePool", [IMAGE], attributes={"kernel_shape": [3], "pads": [1, 1], "count_include_pad": 1}),
    Sample("GlobalAveragePool", [draw(2, 3, 4, 5)]),
    *(Sample(f"Reduce{kind}", [draw(2, 3, 4)], [whole(1, -1)]) for kind in ("Mean", "Sum", "Max", "Min", "L2")),
    Sample("ReduceMean", [draw(2, 3, 4)], attributes={"keepdims": 0}),
    Sample("ReduceMean", [draw(2, 3, 4)], attributes={"axes": [1], "keepdims": 0}, opset=13),
    Sample("ReduceSum", [draw(2, 3, 4)], attributes={"axes": [2]}, opset=11),
    Sample("ReduceSum", [draw(2, 3, 4)], attributes={"noop_with_empty_axes": 1}),
    Sample("BatchNormalization", [IMAGE], [draw(4), draw(4), draw(4), POSITIVE[0, 0]], {"epsilon": 1e-3}),
    Sample("LayerNormalization", [draw(2, 3, 4)], [draw(4), draw(4)], {"epsilon": 1e-3}),
    Sample("LayerNormalization", [draw(2, 3, 4)], [draw(3, 4)], {"axis": 1}),
    Sample("RMSNormalization", [draw(2, 3, 4)], [draw(4)], opset=23),
    Sample("InstanceNormalization", [IMAGE], [draw(4), draw(4)]),
    Sample("GroupNormalization", [IMAGE], [draw(4), draw(4)], {"num_groups": 2}, opset=21),
    # recurrent layers
    Sample("LSTM", [draw(6, 2, 3)], [W, R, B], {"hidden_size": 5}, outputs=3),
    Sample("LSTM", [draw(6, 2, 3)], [W, R, B], {"hidden_size": 5, "direction": "reverse"}, outputs=3),
    Sample("LSTM", [draw(6, 2, 3)], [W, R, None, None, draw(1, 2, 5), draw(1, 2, 5)], {"hidden_size": 5}, outputs=3),
    Sample(
        "GRU",
        [draw(6, 2, 3)],
        [W2, R2, B2, None, draw(2, 2, 5)],
        {"hidden_size": 5, "linear_before_reset": 1, "direction": "bidirectional"},
        outputs=2,
    ),
]  # fmt: skip


def test_every_operator_has_a_sample() -> None:
    """`Linear` is no operator of ONNX: reading makes it of MatMul."""
    assert {sample.kind for sample in SAMPLES} == OPERATORS.keys() - {"Linear"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.kind} {sample.opset}")
def test_reads_as_it_runs(sample: Sample) -> None:
    model = sample.model()
    network = OnnxNetwork(model, "one.onnx")
    inputs = tuple(torch.from_numpy(np.array(array)) for array in sample.inputs)
    expected = network.run(inputs)
    with torch.no_grad():
        answers = list(read_back(model)(*inputs).values())
    assert len(answers) == len(expected)
    for answer, wanted in zip(answers, expected, strict=True):
        assert (answer.dtype, answer.shape) == (wanted.dtype, wanted.shape)
        torch.testing.assert_close(answer, wanted, rtol=1e-5, atol=1e-6)


REFUSED = [
    (Sample("Hardmax", [draw(2, 3)]), "this operator is not in the table of those that are read"),
    (Sample("Softmax", [draw(2, 3, 4)], opset=11), "operator set 11 flattens axes behind it"),
    (Sample("GRU", [draw(6, 2, 3)], [W2[:1], R2[:1], B2[:1]], {"hidden_size": 5}), "it resets before its product"),
    (Sample("LSTM", [draw(6, 2, 3)], [W, R, B], {"hidden_size": 5, "clip": 0.5}), "its gates are clipped"),
    (Sample("LSTM", [draw(6, 2, 3), W, R], (), {"hidden_size": 5}), "its weights are computed"),
    (Sample("Conv", [IMAGE], [draw(6, 4, 3)], {"auto_pad": "SAME_UPPER"}), "auto_pad 'SAME_UPPER' depends on sizes"),
    (Sample("Slice", [draw(5, 6)], [whole(3), whole(0), whole(1), whole(-1)]), "it takes part of an axis backwards"),
    (Sample("Expand", [draw(1, 1)], [whole(2**20, 2**20)]), "its result has 1,099,511,627,776 entries"),
    (Sample("ConstantOfShape", [], [whole(2**31)]), "its result has 2,147,483,648 entries"),
    (Sample("Range", [], [np.array(0.0), np.array(1e12), np.array(1.0)]), "its result has 1,000,000,000,000 entries"),
    (Sample("Tile", [draw(1, 1)], [whole(2**20, 2**20)]), "its result has 1,099,511,627,776 entries"),
    (Sample("Flatten", [draw(2, 3, 4)], attributes={"axis": -4}), "its axis is -4, its input has 3 axes"),
    (Sample("Flatten", [draw(2, 3, 4)], attributes={"axis": 4}), "its axis is 4, its input has 3 axes"),
    (Sample("Range", [], [np.array(0), np.array(5), np.array(0)]), "it counts from 0 to 5 in steps of 0"),
    (Sample("Range", [], [np.array(0.0), np.array(np.inf), np.array(1.0)]), "it counts from 0.0 to inf in"),
    (Sample("Range", [], [np.array(0.0), np.array(np.nan), np.array(1.0)]), "it counts from 0.0 to nan in"),
    (Sample("Pad", [draw(4)], [whole(1, 1)], {"mode": "reflect"}), "mode 'reflect' of an input of one axis"),
    (Sample("Pad", [draw(4)], [whole(1, 1)], {"mode": "edge"}), "mode 'edge' of an input of one axis"),
]  # fmt: skip


@pytest.mark.parametrize(("sample", "facts"), REFUSED, ids=[sample.kind for sample, _ in REFUSED])
def test_refused_with_the_name_of_the_node(sample: Sample, facts: str) -> None:
    with pytest.raises(CaptureError, match=rf"ONNX node 'the_node' \({sample.kind}\): .*{facts}") as refused:
        read_back(sample.model())(*(torch.from_numpy(array) for array in sample.inputs))
    assert "use --method average" in refused.value.remedy


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_layers_refuse_other_sizes(kind: str) -> None:
    """torch's kernels would read past the end: of a state of another batch, and of an input of other channels."""
    gates, states = (4, 2) if kind == "LSTM" else (3, 1)
    weights = [draw(1, gates * 5, 3), draw(1, gates * 5, 5), None, None, *[draw(1, 2, 5)] * states]
    network = read_back(Sample(kind, [draw(6, 2, 3)], weights, {"hidden_size": 5, "linear_before_reset": 1}).model())
    says = r"a state has sizes \(1, 2, 5\), its input asks for \(1, 4, 5\)"
    with pytest.raises(CaptureError, match=says):
        network(torch.from_numpy(draw(6, 4, 3)))
    with pytest.raises(CaptureError, match="its input has 9 channels, its weights take 3"):
        network(torch.from_numpy(draw(6, 2, 9)))
    x = torch.from_numpy(draw(6, 2, 3))
    program = torch.export.export(network, (x,), dynamic_shapes=({1: torch.export.Dim.AUTO},))
    assert not is_open(program)  # it does not promise to take another batch than that of its state


def test_operators_of_other_domains() -> None:
    model = Sample("Relu", [draw(2, 3)]).model()
    model.graph.node[0].domain = "com.microsoft"
    with pytest.raises(CaptureError, match=r"it is of the domain 'com.microsoft'"):
        read_back(model)


def test_a_copy_of_a_file_has_what_the_file_has() -> None:
    network = OnnxNetwork(Sample("Sigmoid", [draw(3)]).model(), "one node")
    copied = copy.deepcopy(network)
    assert vars(copied).keys() == vars(network).keys()
    assert copied.of_size_one == {"y0"}


def test_stored_values_that_double_and_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file must not fill the memory with what is computed from its own values."""
    nodes = [helper.make_node("Concat", [f"v{step}"] * 2, [f"v{step + 1}"], axis=0) for step in range(6)]
    nodes.append(helper.make_node("Add", ["x", "v6"], ["y"]))
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    answer = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph(nodes, "doubled", [port], [answer], [numpy_helper.from_array(draw(16), "v0")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    assert read_back(model)(torch.zeros(1))["y"].shape == (1024,)
    monkeypatch.setattr(reading, "MOST_ENTRIES", 500)
    with pytest.raises(CaptureError, match="Concat_5.*values computed from stored ones have 1,008 entries more than"):
        read_back(model)


def folded(nodes: list[Any], stored: dict[str, np.ndarray]) -> ModelProto:
    """x (2, 4) plus the sum of the value "t", which nodes compute from stored values."""
    last = [helper.make_node("ReduceSum", ["t"], ["s"], keepdims=0), helper.make_node("Add", ["x", "s"], ["y"])]
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])
    tensors = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    answer = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph([*nodes, *last], "folded", [port], [answer], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


VAST = 60_000
LARGE: dict[str, tuple[list[Any], dict[str, np.ndarray], str]] = {
    "a product": (
        [helper.make_node("MatMul", ["a", "b"], ["t"])],
        {"a": np.ones((VAST, 1), np.float32), "b": np.ones((1, VAST), np.float32)},
        "its result has 3,600,000,000 entries",
    ),
    "a broadcast sum": (
        [helper.make_node("Add", ["a", "b"], ["t"])],
        {"a": np.ones((VAST, 1), np.float32), "b": np.ones((1, VAST), np.float32)},
        "its result has 3,600,000,000 entries",
    ),
    "entries picked again and again": (
        [helper.make_node("Gather", ["a", "b"], ["t"])],
        {"a": np.ones((1, VAST), np.float32), "b": np.zeros(VAST, np.int64)},
        "its result has 3,600,000,000 entries",
    ),
    "within an operator": (
        [helper.make_node("Einsum", ["a", "b", "a", "b"], ["t"], equation="i,j,i,j->")],
        {"a": np.ones(VAST, np.float32), "b": np.ones(VAST, np.float32)},
        "its result has 3,600,000,000 entries",
    ),
    "powers of numbers": (
        [
            helper.make_node("Concat", ["a"] * 10, ["b"], axis=0),
            helper.make_node("Unsqueeze", ["b", "axis"], ["c"]),
            helper.make_node("Pow", ["c", "b"], ["t"]),
        ],
        {"a": whole(*[1] * 4000), "axis": whole(-1)},
        "its result has 1,600,000,000 entries",
    ),
    "numbers of sizes": (
        [
            helper.make_node("Unsqueeze", ["a", "axis"], ["b"]),
            helper.make_node("Mul", ["a", "b"], ["t"]),
        ],
        {"a": whole(*[1] * 4000), "axis": whole(-1)},
        "its result has 16,000,000 numbers that sizes are computed from",
    ),
    "a whole number without end": (
        [helper.make_node("Mul", [f"n{step}" if step else "a"] * 2, [f"n{step + 1}"]) for step in range(9)]
        + [helper.make_node("Cast", ["n9"], ["t"], to=TensorProto.FLOAT)],
        {"a": whole(3)},
        "it computes a whole number that 64 bits do not hold",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LARGE)
def test_stored_values_that_would_fill_the_memory(case: str) -> None:
    """Refused before the node runs: what it asks for is not there to be asked for."""
    nodes, stored, facts = LARGE[case]
    with pytest.raises(CaptureError, match=f"ONNX node .*{facts}"):
        read_back(folded(nodes, stored))


def test_weights_that_nodes_move_are_no_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large network whose exporter wrote every weight turned: as many entries as the file has."""
    monkeypatch.setattr(reading, "MOST_ENTRIES", 10)
    nodes = [
        helper.make_node("Transpose", ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "sizes"], ["c"]),
        helper.make_node("Identity", ["c"], ["d"]),
        helper.make_node("Cast", ["d"], ["e"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "e"], ["f"]),
        helper.make_node("ReduceSum", ["f"], ["t"], keepdims=0),
    ]
    model = folded(nodes, {"a": draw(5, 4), "sizes": whole(4, 5)})
    assert read_back(model)(torch.from_numpy(draw(2, 4)))["y"].shape == (2, 4)
    nodes.append(helper.make_node("MatMul", ["x", "g"], ["h"]))
    nodes.append(helper.make_node("Neg", ["a"], ["g"]))  # a second reader: now both are held
    with pytest.raises(CaptureError, match="values computed from stored ones have 20 entries more than these"):
        read_back(folded([nodes[-1], *nodes[:-1]], {"a": draw(5, 4), "sizes": whole(4, 5)}))


def test_names_and_kinds_of_what_a_recurrent_layer_reads() -> None:
    """Numbered weights and biases get the name of their node; initial states are no weights, neither h nor c."""
    arrays = [draw(1, 20, 3), draw(1, 20, 5), draw(1, 40), draw(1, 2, 5), draw(1, 2, 5)]
    names = ["onnx::LSTM_12", "onnx::LSTM_13", "onnx::LSTM_14", "hidden", "cell"]
    stored = [numpy_helper.from_array(array, name) for array, name in zip(arrays, names, strict=True)]
    node = helper.make_node("LSTM", ["x", *names[:3], "", *names[3:]], ["y"], name="lstm", hidden_size=5)
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, [6, 2, 3])
    graph = helper.make_graph([node], "recurrent", [port], [helper.make_empty_tensor_value_info("y")], stored)
    module = read_back(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=9))
    parameters = [f"lstm.{kind}_{of}h_l0" for kind in ("weight", "bias") for of in "ih"]
    assert [name for name, _ in module.named_parameters()] == parameters
    assert [name for name, _ in module.named_buffers()] == ["hidden", "cell"]
