"""An ONNX file as a module: onnxruntime runs it on the CPU, in the precision that it was written in."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chiralize.errors import ModelFileError, first_line
from chiralize.storage.onnx_checks import all_nodes, coarsest_float, read_checked
from chiralize.symmetry.representation import Representation, TensorRepresentation

METADATA_KEY, CALL_KEY = "chirality", "chirality.call"
_KINDS = {
    "tensor(float)": torch.float32, "tensor(double)": torch.float64, "tensor(float16)": torch.float16,
    "tensor(int64)": torch.int64, "tensor(int32)": torch.int32, "tensor(int16)": torch.int16,
    "tensor(int8)": torch.int8, "tensor(uint8)": torch.uint8, "tensor(bool)": torch.bool,
}  # fmt: skip
_FLOATS = {
    "FLOAT": torch.float32, "DOUBLE": torch.float64, "FLOAT16": torch.float16, "BFLOAT16": torch.bfloat16
}  # fmt: skip
_CONTRACTIONS = frozenset(
    "Gemm MatMul FusedMatMul FusedGemm Conv FusedConv ConvTranspose Einsum Attention MultiHeadAttention MatMulInteger"
    " QLinearMatMul QLinearConv ConvInteger LayerNormalization RMSNormalization InstanceNormalization"
    " GroupNormalization SimplifiedLayerNormalization SkipLayerNormalization".split()
)
_OVER_FRAMES = frozenset({"LSTM", "GRU", "RNN", "Scan", "Loop"})


@dataclass(frozen=True)
class Port:
    """An input or output. sizes: numbers, and names (or "") where a size is open."""

    name: str
    dtype: torch.dtype
    sizes: tuple[int | str, ...]


@dataclass(frozen=True)
class CallRecord:
    """How the network was called when it was exported. args: one tensor per input.  states: by `input 1`, ..."""

    args: tuple[torch.Tensor, ...]
    states: Mapping[str, TensorRepresentation]


class OnnxNetwork(torch.nn.Module):
    """A checked ONNX model in a session of its own; takes and returns tensors in the order of the graph.

    opaque: why there is no graph of torch ops to prove anything on.  contractions, over_frames: how many sums of
    products there are, once per call or once per frame.
    """

    opaque = "an ONNX file is run, not read op by op, so the numeric verdict stands alone"

    def __init__(self, model: Any, where: str) -> None:
        super().__init__()
        self.where = where
        self.session = _session(model.SerializeToString(), where)
        self.inputs = tuple(_port(own, where) for own in self.session.get_inputs())
        self.outputs = tuple(_port(own, where) for own in self.session.get_outputs())
        self.stored = _FLOATS[coarsest_float(model)]
        kinds = [node.op_type for node in all_nodes(model)]
        self.contractions = sum(kind in _CONTRACTIONS for kind in kinds)
        self.over_frames = sum(kind in _OVER_FRAMES for kind in kinds)
        self.metadata = {own.key: own.value for own in model.metadata_props}
        self.register_buffer("precision", torch.zeros(0, dtype=self.stored), persistent=False)
        self.widened = False
        self._name_arguments()

    def _name_arguments(self) -> None:
        """Lets arrays of --example find their inputs by name."""
        names = [re.sub(r"\W", "_", port.name) for port in self.inputs]
        names = [name if name.isidentifier() else f"_{name}" for name in names]
        if len(set(names)) == len(names):
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD

            def forward(*tensors: torch.Tensor, **named: torch.Tensor) -> tuple[torch.Tensor, ...]:
                rest = iter(tensors)
                return self.run([named[name] if name in named else next(rest) for name in names])

            forward.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
            self.forward = forward

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """All outputs, in the order of the graph."""
        return self.run(tensors)

    def run(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The outputs for one tensor per input. Raises TypeError where a kind differs, onnxruntime's own errors."""
        if len(tensors) != len(self.inputs):
            raise TypeError(f"{len(tensors)} tensors are given, the ONNX file takes {len(self.inputs)}")
        feeds: dict[str, np.ndarray] = {}
        for port, tensor in zip(self.inputs, tensors, strict=True):
            if tensor.dtype != port.dtype or (self.widened and self.stored != torch.float64):
                raise TypeError(f"input {port.name!r} is {port.dtype}, {tensor.dtype} is given")
            feeds[port.name] = tensor.detach().cpu().contiguous().numpy()
        return tuple(torch.from_numpy(np.array(found)) for found in self.session.run(None, feeds, _quiet_run()))

    def double(self) -> OnnxNetwork:
        """A file computes as it was written: from here on calls fail unless that is float64."""
        self.widened = True
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxNetwork:
        """A copy in the same session, which keeps nothing between calls."""
        del memo
        other = OnnxNetwork.__new__(OnnxNetwork)
        torch.nn.Module.__init__(other)
        kept = ("where", "session", "inputs", "outputs", "stored", "contractions", "over_frames", "metadata", "widened")
        for name in kept:
            setattr(other, name, getattr(self, name))
        other.register_buffer("precision", torch.zeros(0, dtype=self.stored), persistent=False)
        other._name_arguments()
        return other

    def depth(self, frames: int) -> int:
        """Contraction steps from input to output, an upper bound."""
        return max(1, self.contractions + self.over_frames * frames)


def load_onnx(data: bytes, path: Path) -> OnnxNetwork:
    """The network in an ONNX file. Raises ModelFileError, UnsafeFileError, NonFiniteError, MissingPackageError."""
    return OnnxNetwork(read_checked(data, path), str(path))


def _session(data: bytes, where: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints before it raises
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has many kinds of its own
        facts = f"onnxruntime {onnxruntime.__version__} cannot load the ONNX model ({told(error)})"
        raise ModelFileError(where, facts, "export the model again, for this onnxruntime's operators.") from error


def told(error: BaseException) -> str:
    """What onnxruntime or an exporter says, without its code numbers."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", first_line(error))


def _quiet_run() -> Any:
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    return options


def _port(own: Any, where: str) -> Port:
    if own.type not in _KINDS:
        facts = f"{own.name!r} is a {own.type}; only tensors of numbers that numpy knows can be run"
        raise ModelFileError(where, facts, "export the model with float32 inputs and outputs.")
    sizes = tuple(size if isinstance(size, int) and size >= 0 else str(size or "") for size in own.shape)
    return Port(own.name, _KINDS[own.type], sizes)


# ---- how it was called ----------------------------------------------------------------------------------------------
def recorded_call(network: OnnxNetwork) -> CallRecord | None:
    """The call that a converted file remembers, else one from declared sizes; None where sizes are open.

    Raises ModelFileError where the record contradicts the file.
    """
    text = network.metadata.get(CALL_KEY)
    if text is None:
        return _declared(network)
    try:
        found = json.loads(text)
        shapes, values = found["shapes"], found["values"]
        if len(shapes) != len(network.inputs) or any(
            not _fits(*pair) for pair in zip(shapes, network.inputs, strict=True)
        ):
            raise ValueError(f"it has the inputs {shapes}")
        args = tuple(
            _example(port.dtype, shape, values.get(str(place)))
            for place, (port, shape) in enumerate(zip(network.inputs, shapes, strict=True))
        )
        states = {
            str(name): TensorRepresentation(tuple(Representation.parse(axis) for axis in axes), int(sign))
            for name, (sign, *axes) in found["states"].items()
        }
        return CallRecord(args, states)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        facts = f"its metadata {CALL_KEY!r} cannot be read ({str(error)[:200]})"
        raise ModelFileError(network.where, facts, "convert the network again.") from error


def call_text(args: Sequence[torch.Tensor], states: Mapping[str, TensorRepresentation]) -> str:
    """The inverse of `recorded_call`: sizes of the inputs, values of those that are not random, known states."""
    values = {
        str(place): own.reshape(-1).tolist()
        for place, own in enumerate(args)
        if not own.is_floating_point() and own.numel() <= _MOST_VALUES
    }
    known = {name: [rep.sign, *map(str, rep.axes)] for name, rep in states.items()}
    return json.dumps({"shapes": [list(own.shape) for own in args], "values": values, "states": known})


_MOST_VALUES = 100_000
_MOST_ENTRIES = 2**28


def _fits(shape: Any, port: Port) -> bool:
    """Whether a recorded shape is one that the input takes, and no absurd one."""
    whole = isinstance(shape, list) and all(type(size) is int and 0 < size <= _MOST_ENTRIES for size in shape)
    return (
        whole
        and len(shape) == len(port.sizes)
        and int(np.prod(shape, dtype=object)) <= _MOST_ENTRIES
        and all(isinstance(own, str) or own == size for own, size in zip(port.sizes, shape, strict=True))
    )


def _declared(network: OnnxNetwork) -> CallRecord | None:
    """A foreign file: sizes as declared, an open leading one is 2."""
    args = []
    for port in network.inputs:
        shape = [2 if place == 0 and isinstance(size, str) else size for place, size in enumerate(port.sizes)]
        if not _fits(shape, port):
            return None
        args.append(_example(port.dtype, [int(size) for size in shape], None))
    return CallRecord(tuple(args), {})


def _example(dtype: torch.dtype, shape: Sequence[int], values: Sequence[Any] | None) -> torch.Tensor:
    """Random numbers; the given values, else 0 and True, for whole numbers and truth values."""
    if values is not None:
        return torch.tensor(values, dtype=dtype).reshape(tuple(shape))
    if dtype.is_floating_point:
        return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0)).to(dtype)
    return torch.full(tuple(shape), int(dtype == torch.bool), dtype=dtype)


def as_declared(network: Any, args: Sequence[Any]) -> tuple[Any, ...]:
    """Example inputs in the kinds that the file declares, where sizes alone were given."""
    if not isinstance(network, OnnxNetwork) or len(args) != len(network.inputs):
        return tuple(args)
    pairs = zip(args, network.inputs, strict=True)
    return tuple(_kind_of(own, port) if isinstance(own, torch.Tensor) else own for own, port in pairs)


def _kind_of(own: torch.Tensor, port: Port) -> torch.Tensor:
    if own.dtype == port.dtype:
        return own
    if own.is_floating_point() and not port.dtype.is_floating_point:
        return _example(port.dtype, own.shape, None)
    return own.to(port.dtype)
