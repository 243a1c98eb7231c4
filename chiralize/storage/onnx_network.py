"""An ONNX file as a module: onnxruntime runs it on the CPU, in the precision that it was written in.

`formats/onnx.py` makes one of every ONNX file that it loads (the model comes checked, from `onnx_checks`); all steps
that run the file itself go through it: `verify`, the average of a file that cannot be read op by op, the comparison of
a written file with its original.  There is no graph of torch ops in it: `onnx_reading` makes a module that has one.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch

from chiralize.errors import ModelFileError
from chiralize.errors.words import first_line
from chiralize.storage.onnx_checks import all_graphs, all_nodes, all_tensors, coarsest_float, outputs_of_size_one

METADATA_KEY, CALL_KEY = "chirality", "chirality.call"
_KINDS = {"tensor(float)": torch.float32, "tensor(double)": torch.float64}
_KINDS |= {f"tensor({name})": getattr(torch, name) for name in "float16 int64 int32 int16 int8 uint8 bool".split()}
_FLOATS = {"FLOAT": torch.float32, "DOUBLE": torch.float64, "FLOAT16": torch.float16, "BFLOAT16": torch.bfloat16}
_CONTRACTIONS = frozenset(
    "Gemm MatMul FusedMatMul FusedGemm Conv FusedConv ConvTranspose Einsum Attention MultiHeadAttention MatMulInteger"
    " QLinearMatMul QLinearConv ConvInteger LayerNormalization RMSNormalization InstanceNormalization"
    " GroupNormalization SimplifiedLayerNormalization SkipLayerNormalization".split()
)
"""Operators that sum products: each is a step at which rounding may grow, see `OnnxNetwork.depth`."""
_OVER_FRAMES = frozenset({"LSTM", "GRU", "RNN", "Scan", "Loop"})
"""Operators that do so once per frame."""
_STATISTICS = slice(3, 5)
"""Inputs of BatchNormalization (x, scale, bias, mean, variance) that hold running statistics."""
_SHARED = (
    "where",
    "model",
    "session",
    "inputs",
    "outputs",
    "stored",
    "contractions",
    "over_frames",
    "metadata",
    "of_size_one",
    "widened",
)
"""Attributes that copies of a network share: the session keeps nothing between calls."""


@dataclass(frozen=True)
class Port:
    """An input or output. sizes: numbers, and names (or "") where a size is open: ("batch", 17, 3)."""

    name: str
    dtype: torch.dtype
    sizes: tuple[int | str, ...]

    @property
    def open_axes(self) -> tuple[int, ...]:
        """Axes whose sizes the file leaves open."""
        return tuple(axis for axis, size in enumerate(self.sizes) if isinstance(size, str))

    @property
    def shown(self) -> str:
        """The sizes as messages show them, open ones by their names: `(batch, 36)`."""
        sizes = [str(size) or "any" for size in self.sizes]
        return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"

    @property
    def as_option(self) -> str:
        """The sizes as --input-shape takes them, 2 for open ones."""
        sizes = list(self.sizes)
        for axis in self.open_axes:
            sizes[axis] = 2
        return ",".join(map(str, sizes)) or "1"

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether a shape agrees with the sizes that the file declares."""
        if len(shape) != len(self.sizes):
            return False
        return all(isinstance(size, str) or size == given for size, given in zip(self.sizes, shape, strict=True))


def network_digest(model: Any) -> str:
    """SHA-256 of the graph of a model, its weights and its functions, whatever texts travel along."""
    total = hashlib.sha256(model.graph.SerializeToString(deterministic=True))
    for function in model.functions:
        total.update(function.SerializeToString(deterministic=True))
    return total.hexdigest()


class OnnxNetwork(torch.nn.Module):
    """A checked ONNX model in a session of its own; takes and returns tensors in the order of the graph.

    opaque: why there is no graph of torch ops to prove anything on.  contractions, over_frames: how many sums of
    products there are, once per call or once per frame.  of_size_one: outputs by name, as `outputs_of_size_one` says.
    """

    opaque = (
        "an ONNX file is run, not read op by op, so the numeric verdict stands alone; for a proof as well convert to a "
        ".pt2 first, and that one to .onnx (chiralize convert chiral.pt2 -o chiral.onnx takes seconds)"
    )

    def __init__(self, model: Any, where: str) -> None:
        super().__init__()
        self.where, self.model = where, model
        self.session = _session(model.SerializeToString(), where)
        self.inputs = tuple(_port(argument, where) for argument in self.session.get_inputs())
        self.outputs = tuple(_port(argument, where) for argument in self.session.get_outputs())
        self.stored = _FLOATS[coarsest_float(model)]
        # Counted over branches and loops as well: an upper bound on the steps at which rounding grows.
        kinds = [node.op_type for node in all_nodes(model)]
        self.contractions = sum(kind in _CONTRACTIONS for kind in kinds)
        self.over_frames = sum(kind in _OVER_FRAMES for kind in kinds)
        self.of_size_one = outputs_of_size_one(model)
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        # The network has no parameters: an empty buffer says in which precision it computes.
        self.register_buffer("precision", torch.zeros(0, dtype=self.stored), persistent=False)
        self.widened = False
        self._name_arguments()

    def _name_arguments(self) -> None:
        """Give `forward` named arguments, so that arrays of --example find their inputs by name."""
        names = [_identifier(port.name) for port in self.inputs]
        if len(set(names)) < len(names):  # `x-1` and `x_1`: then inputs can be given in their order only
            return

        def forward(*tensors: torch.Tensor, **named: torch.Tensor) -> tuple[torch.Tensor, ...]:
            """The outputs; those inputs that are not named come in the order of the graph."""
            return self.run(self.in_order(tensors, named))

        # The signature stands on the function, of which every network has its own: the inputs are those of the file.
        parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        self.forward = forward

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """All outputs, in the order of the graph."""
        return self.run(tensors)

    def run(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The outputs for one tensor per input. Raises TypeError where a kind differs, onnxruntime's own errors."""
        outputs = self.session.run(None, self._feeds(tensors), _quiet_run())
        return tuple(torch.from_numpy(np.array(output)) for output in outputs)

    def ready(self, args: Sequence[torch.Tensor], kwargs: Mapping[str, torch.Tensor]) -> Callable[[], object]:
        """A call of the session alone, to be timed: what prepares it is done. Raises TypeError where a kind differs."""
        feeds, options = self._feeds(self.in_order(args, kwargs)), _quiet_run()
        return lambda: self.session.run(None, feeds, options)

    def _feeds(self, tensors: Sequence[torch.Tensor]) -> dict[str, np.ndarray]:
        """Arrays by the names of the inputs.  Raises TypeError for another number of tensors, or another kind."""
        if len(tensors) != len(self.inputs):
            raise TypeError(f"{len(tensors)} tensors are given, the ONNX file takes {len(self.inputs)}")
        feeds: dict[str, np.ndarray] = {}
        for port, tensor in zip(self.inputs, tensors, strict=True):
            # After `double()` a file of float32 takes no input at all: its answers would not be those of float64.
            if tensor.dtype != port.dtype or (self.widened and self.stored != torch.float64):
                raise TypeError(f"input {port.name!r} is {port.dtype}, {tensor.dtype} is given")
            feeds[port.name] = tensor.detach().cpu().contiguous().numpy()
        return feeds

    def in_order(self, args: Sequence[torch.Tensor], kwargs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The tensors of a call in the order of the graph.  Raises StopIteration where one is missing."""
        rest = iter(args)
        tensors: list[torch.Tensor] = []
        for name in map(_identifier, [port.name for port in self.inputs]):
            tensors.append(kwargs[name] if name in kwargs else next(rest))
        return tuple(tensors)

    def double(self) -> OnnxNetwork:
        """A file computes as it was written: from here on calls fail unless that is float64."""
        self.widened = True
        return self

    def moved(self) -> OnnxNetwork:
        """The network with every stored number moved by a unit in its last place, up or down.

        Single numbers stay: exponents and factors are written as they are meant.  So do zeros, whose neighbours are
        denormal numbers.  The random choice is the same each time.
        """
        from onnx import ModelProto, numpy_helper

        model = ModelProto()
        model.CopyFrom(self.model)
        random = np.random.default_rng(0)
        for tensor in all_tensors(model):
            values = numpy_helper.to_array(tensor)
            if values.dtype.kind == "f" and values.size > 1:
                # nextafter(x, limit) is the next number from x towards the limit.
                limits = np.where(random.random(values.shape) < 0.5, -np.inf, np.inf).astype(values.dtype)
                moved = np.where(values == 0, values, np.nextafter(values, limits))
                tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
        return OnnxNetwork(model, self.where)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxNetwork:
        """A copy in the same session, which keeps nothing between calls."""
        del memo
        duplicate = OnnxNetwork.__new__(OnnxNetwork)
        torch.nn.Module.__init__(duplicate)
        for name in _SHARED:
            setattr(duplicate, name, getattr(self, name))
        duplicate.register_buffer("precision", torch.zeros(0, dtype=self.stored), persistent=False)
        duplicate._name_arguments()
        return duplicate

    @property
    def parameter_count(self) -> int:
        """How many floating-point numbers its initializers hold, those of branches and loops too.

        Running statistics of a batch norm are left out, as among the parameters of a module.
        """
        from onnx import TensorProto

        floats = {getattr(TensorProto, name) for name in _FLOATS}
        # By name: a batch norm reads its statistics as any other stored tensor.
        statistics: set[str] = set()
        for node in all_nodes(self.model):
            if node.op_type == "BatchNormalization":
                statistics.update(node.input[_STATISTICS])
        count = 0
        for graph in all_graphs(self.model):
            for tensor in graph.initializer:
                if tensor.data_type in floats and tensor.name not in statistics:
                    count += prod(tensor.dims)
        return count

    def depth(self, frames: int) -> int:
        """Contraction steps from input to output, an upper bound."""
        return max(1, self.contractions + self.over_frames * frames)


def _session(data: bytes, where: str) -> Any:
    """A session of onnxruntime on the CPU.  Raises ModelFileError where it cannot load the model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal errors only: others are raised, and need not be printed as well
    options.intra_op_num_threads = torch.get_num_threads()
    # Without this, bytes with "ORTM" at position 4 are read as onnxruntime's own format, which nothing here checked.
    # A checked model can have them there: its producer's name may begin so.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints before it raises
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has many kinds of its own
        facts = f"onnxruntime {onnxruntime.__version__} cannot load the ONNX model ({runtime_message(error)})"
        raise ModelFileError(where, facts, "export the model again, for this onnxruntime's operators.") from error


def runtime_message(error: BaseException) -> str:
    """The first line of an error of onnxruntime or of an exporter, without its code numbers."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", first_line(error))


def _quiet_run() -> Any:
    """Options of a run that prints nothing; errors are raised all the same."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    return options


def _identifier(name: str) -> str:
    """The name of an input as one that Python takes: `in-1` becomes `in_1`, `0` becomes `_0`."""
    plain = re.sub(r"\W", "_", name)
    if plain.isidentifier():
        return plain
    return f"_{plain}"


def _port(argument: Any, where: str) -> Port:
    """The port of an input or output of a session.  Raises ModelFileError for text, sequences and maps."""
    try:
        name, sizes = argument.name, tuple(map(_declared_size, argument.shape))
    except UnicodeDecodeError as error:  # names in protobuf are bytes, and become text only here
        facts = f"the name of an input, of an output or of a size is no text ({error})"
        raise ModelFileError(where, facts, "export the model again.") from error
    if argument.type not in _KINDS:
        facts = f"{name!r} is a {argument.type}; only tensors of numbers that numpy knows can be run"
        raise ModelFileError(where, facts, "export the model with float32 inputs and outputs.")
    return Port(name, _KINDS[argument.type], sizes)


def _declared_size(size: int | str | None) -> int | str:
    """A size as it is, or the name of an open one, "" where it has none."""
    if isinstance(size, int) and size >= 0:
        return size
    return str(size or "")
