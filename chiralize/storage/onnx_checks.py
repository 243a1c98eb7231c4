"""ONNX files: read as plain data and checked, before onnxruntime sees a byte.

A model may name files beside it (external data) and operators of any domain. Data files are read here, from the
model's own folder only, and put inside; operators that could touch files or call back into Python are refused. What
onnxruntime gets is written anew from what was checked.

`formats/onnx.py` calls `read_checked` first of all. The iterators over graphs, nodes and tensors below go into branches
and loops (graphs that are attributes of a node) and into the model's functions: a check of `model.graph` alone would
miss those. Every module that looks through a model uses them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chiralize.errors import ChiralizeError, MissingPackageError, ModelFileError, NonFiniteError, UnsafeFileError
from chiralize.errors.words import first_line
from chiralize.storage.packages import is_installed

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
MAX_BYTES = 2**31 - 1  # what protobuf can hold
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Whose operators may occur, beside those that the model defines itself."""
_FORBIDDEN = frozenset({"EPContext", "PythonOp", "PythonOpGrad", "PyOp", "PyCustomOp"})
_DAMAGED = "copy or download the file again; if you made it, export the model again."
_HOSTILE = "do not use this file; ask its author for one written by an ordinary exporter."
_FLOATS = {"FLOAT": 4, "DOUBLE": 8, "FLOAT16": 2, "BFLOAT16": 1}  # the smaller, the coarser


def require_packages(where: str) -> None:
    """Raises MissingPackageError unless the packages for ONNX are installed; imports none of them."""
    missing = [name for name in PACKAGES if not is_installed(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        facts = f"ONNX files need {', '.join(missing)}, which {verb} not installed"
        raise MissingPackageError(where, facts, f"pip install {' '.join(missing)} (all of the extra onnx of chiralize)")


def read_checked(data: bytes, path: Path) -> Any:
    """The model (onnx.ModelProto) with its external data inside. Raises ModelFileError, UnsafeFileError."""
    where = str(path)
    require_packages(where)
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError) as error:
        facts = f"starts like an ONNX model, but its {len(data):,} bytes cannot be read; it is truncated or damaged"
        raise ModelFileError(where, facts, _DAMAGED) from error
    try:
        # Fields that this version of onnx does not know were not checked, and would be written out again.
        model.DiscardUnknownFields()
        _check(model, path)
    except (ChiralizeError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - text that is no UTF-8, numbers that contradict each other, ...
        facts = f"is a damaged ONNX model ({type(error).__name__}: {first_line(error)})"
        raise ModelFileError(where, facts, _DAMAGED) from error
    return model


def _check(model: Any, path: Path) -> None:
    """Check operators and values, and read external data.  Raises ModelFileError, UnsafeFileError, NonFiniteError."""
    where = str(path)
    if not model.HasField("graph") or not model.graph.output:
        raise ModelFileError(where, "is an ONNX model without a graph", _DAMAGED)
    # Functions that the model defines itself are made of standard operators, which are checked as nodes of their own.
    domains = _DOMAINS | {function.domain for function in model.functions}
    for node in all_nodes(model):
        if node.op_type in _FORBIDDEN:
            facts = f"operator {node.domain}::{node.op_type} may open files or call back into Python"
            raise UnsafeFileError(where, facts, _HOSTILE)
        if node.domain not in domains:
            facts = f"operator {node.domain}::{node.op_type} belongs to a library of its own, which is never loaded"
            raise ModelFileError(where, facts, "export the model with standard ONNX operators only.")
    # The model with all its data has to fit into one protobuf: each tensor gets what those before it left.
    room = MAX_BYTES - model.ByteSize()
    for tensor in all_tensors(model):
        room -= _take_in(tensor, path, room)
    _require_finite(model, where)


# ---- what a model holds ---------------------------------------------------------------------------------------------
def all_nodes(model: Any) -> Iterator[Any]:
    """Every node: of the graph, of graphs inside (branches, loops) and of the model's own functions."""
    yield from _nodes(model.graph.node)
    for function in model.functions:
        yield from _nodes(function.node)


def _nodes(nodes: Any) -> Iterator[Any]:
    """The nodes, each followed by those of the graphs inside it."""
    for node in nodes:
        yield node
        for graph in _graphs(node):
            yield from _nodes(graph.node)


def _graphs(node: Any) -> Iterator[Any]:
    """The graphs that are attributes of a node: branches of an If, the body of a Loop or Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_graphs(model: Any) -> Iterator[Any]:
    """The graph of a model, and those inside its nodes."""
    yield model.graph
    for node in all_nodes(model):
        yield from _graphs(node)


def all_tensors(model: Any) -> Iterator[Any]:
    """Every stored tensor: initializers of every graph, and values of attributes; of a sparse one its two parts."""
    sparse_tensors: list[Any] = []
    for graph in all_graphs(model):
        yield from graph.initializer
        sparse_tensors += graph.sparse_initializer
    for node in all_nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse_tensors += attribute.sparse_tensors
            if attribute.HasField("sparse_tensor"):
                sparse_tensors.append(attribute.sparse_tensor)
    for sparse in sparse_tensors:
        yield from (sparse.values, sparse.indices)


# ---- data in files beside the model ---------------------------------------------------------------------------------
def _take_in(tensor: Any, path: Path, room: int) -> int:
    """Read the external data of a tensor into it; how many bytes there were. Raises UnsafeFileError, ModelFileError."""
    from onnx import TensorProto

    if tensor.data_location != TensorProto.EXTERNAL:
        # The data are inside: what names a file all the same must not reach onnxruntime.
        if tensor.external_data:
            del tensor.external_data[:]
        return 0
    where = f"{path}: tensor {tensor.name!r}"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    file = _beside(path, entries.get("location", ""), where)
    size = file.stat().st_size
    offset = _count(entries.get("offset", "0"), "offset", where)
    if "length" in entries:
        length = _count(entries["length"], "length", where)
    else:
        length = size - offset
    if offset + length > size or length < 0:
        facts = f"{file.name} has {size:,} bytes, {length:,} from {offset:,} on are asked for"
        raise ModelFileError(where, facts, "copy the data file again: it belongs to another model or is truncated.")
    if length > room:
        facts = f"with its data file {file.name} the model is larger than {MAX_BYTES:,} bytes, what protobuf can hold"
        raise ModelFileError(where, facts, "verify the .pt2 that it was made from.")
    with file.open("rb") as stream:
        stream.seek(offset)
        tensor.raw_data = stream.read(length)
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT
    return length


def _beside(path: Path, location: str, where: str) -> Path:
    """The path of a data file, which has to be in the model's folder or below it.

    Judged twice: the text, by the rules of Unix and of Windows, then the file behind all symbolic links.
    Raises UnsafeFileError for one outside, ModelFileError for one that is not there.
    """
    folder = path.resolve().parent
    parts = location.replace("\\", "/").split("/")
    if not location or location.startswith(("/", "\\", "~")) or ".." in parts or ":" in parts[0] or "\0" in location:
        raise UnsafeFileError(where, f"its data are in {location[:200]!r}, outside the model's folder", _HOSTILE)
    file = (folder / location).resolve()
    if not file.is_relative_to(folder):
        raise UnsafeFileError(where, f"its data file {location!r} is a link that leads outside the folder", _HOSTILE)
    if not file.is_file():
        raise ModelFileError(where, f"its data file {location!r} is not there", "copy it into the model's folder.")
    return file


def _count(text: str, name: str, where: str) -> int:
    """A number of bytes.  `int` alone takes `-1`, `1_0` and digits of other scripts.  Raises ModelFileError."""
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ModelFileError(where, f"{name} of its external data is {text[:40]!r}, no plain number", _DAMAGED)
    return int(text)


# ---- values ---------------------------------------------------------------------------------------------------------
def _require_finite(model: Any, where: str) -> None:
    """Refuse NaN or infinity among the weights, but for masks of zeros and minus infinities, which are meant so."""
    from onnx import TensorProto, numpy_helper

    for tensor in model.graph.initializer:
        if TensorProto.DataType.Name(tensor.data_type) not in _FLOATS:
            continue
        values = np.asarray(numpy_helper.to_array(tensor), dtype=np.float64)
        broken = ~np.isfinite(values)
        # A mask is added to scores before a softmax: 0 lets an entry through, minus infinity does not.
        if broken.any() and not ((values == 0) | np.isneginf(values)).all():
            facts = f"NaN or infinity in {tensor.name!r} ({int(broken.sum())} of {values.size})"
            raise NonFiniteError(where, facts, "take a checkpoint from before the training diverged.")


def coarsest_float(model: Any) -> str:
    """The coarsest kind of floating-point number that weights, inputs, outputs or casts of a model have.

    A name of `_FLOATS`, FLOAT where there is none.  A model of float32 with one cast to FLOAT16 rounds as float16 does.
    """
    from onnx import TensorProto

    kinds = {tensor.data_type for tensor in all_tensors(model)}
    kinds |= {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    for node in all_nodes(model):
        if node.op_type == "Cast":  # the attribute `to` is the number type of the result
            kinds |= {attribute.i for attribute in node.attribute if attribute.name == "to"}
    names = {TensorProto.DataType.Name(kind) for kind in kinds if kind in TensorProto.DataType.values()}
    return min(names & set(_FLOATS), key=lambda name: _FLOATS[name], default="FLOAT")


_SATURATING = frozenset({"Sigmoid", "HardSigmoid", "Tanh", "Softmax"})
_MOVING = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Slice", "Gather", "Split", "Expand"}
)
"""Ops that only move the numbers of their first input."""
_SUMS, _SCALINGS = frozenset({"Add", "Sum", "Concat"}), frozenset({"Mul", "Div"})


def outputs_of_size_one(model: Any) -> frozenset[str]:
    """The outputs that are answers of a saturating op, or sums, multiples and moved entries of such answers.

    Runtimes approximate these ops to an absolute error, so that the size of their range is the scale to judge by.
    """
    constant = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constant.update(node.output)
    saturating: dict[str, bool] = {}  # by the name of a value, what is known so far

    def saturates(name: str) -> bool:
        """Whether a value is made of such answers. A graph has no cycles, and nodes come in order."""
        return saturating.get(name, False)

    # Nodes inside branches are not looked at: an output of an If counts as one that does not saturate.
    for node in model.graph.node:
        inputs, kind = list(node.input), node.op_type
        if kind in _SATURATING:
            holds = True
        elif kind in _MOVING:
            holds = saturates(inputs[0])
        elif kind in _SUMS:
            holds = all(map(saturates, inputs))
        elif kind in _SCALINGS:
            holds = saturates(inputs[0]) and inputs[1] in constant or saturates(inputs[1]) and inputs[0] in constant
        else:
            holds = False
        saturating.update(dict.fromkeys(node.output, holds))
    return frozenset(output.name for output in model.graph.output if saturates(output.name))
