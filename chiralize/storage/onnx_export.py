"""Writing a network as ONNX: exported from its program, run by onnxruntime beside the original, then written.

Nothing is written that onnxruntime does not compute as torch does, on every size that the program takes.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.errors import ExportError, ParityError
from chiralize.graph.running import Call, results
from chiralize.storage.atomic import atomic_write
from chiralize.storage.onnx_checks import MAX_BYTES, require_packages
from chiralize.storage.onnx_fourier import as_products, transforms
from chiralize.storage.onnx_network import CALL_KEY, METADATA_KEY, OnnxNetwork, call_text, told
from chiralize.symmetry.representation import TensorRepresentation

PARITY = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 8e-2}
_SIZES = (1, 2, 3, 5)
_INSTEAD = "write a .pt2, or run the ONNX exporter yourself and verify its file with --skeleton"


@dataclass(frozen=True)
class Parity:
    """How near onnxruntime comes to torch: the largest difference in units of the output's scale, and its bound.

    calls: inputs tried.  sizes: names of open sizes and the values that were tried for them.
    """

    worst: float
    bound: float
    calls: int
    sizes: Mapping[str, tuple[int, ...]]


def save_onnx(
    program: ExportedProgram,
    path: Path,
    passport: str,
    calls: Sequence[Call],
    reference: Callable[..., Any],
    states: Mapping[str, TensorRepresentation],
    size_names: Mapping[tuple[int, int], str],
) -> Parity:
    """Exports, compares with `reference`, writes whole or not at all.

    passport: travels along.  calls: the example first, then other inputs.  states: how the mirror acts on tensors
    that the passport's specification leaves open.  size_names: words for open axes, by (input, axis).
    Raises ExportError (no ONNX for this network), ParityError (the ONNX computes something else), OutputFileError.
    """
    require_packages(str(path))
    record = {METADATA_KEY: passport, CALL_KEY: call_text(_tensors(calls[0], program, path), states)}

    def made(source: ExportedProgram, optimize: bool) -> tuple[Any, Parity]:
        model = exported_model(source, path, optimize)
        _name_sizes(model, size_names)
        for key, text in record.items():
            model.metadata_props.add(key=key, value=text)
        if model.ByteSize() > MAX_BYTES:
            facts = f"the network has {model.ByteSize():,} bytes, an ONNX file holds at most {MAX_BYTES:,}"
            raise ExportError(str(path), facts, "write a .pt2")
        return model, compare(OnnxNetwork(model, str(path)), calls, reference, program, path)

    try:
        model, parity = made(program, optimize=True)
    except ParityError:  # the runtime's DFT or the exporter's own optimizer is at fault, or the file stays refused
        products = as_products(program) if transforms(program) else program
        model, parity = made(products, optimize=products is not program)
    data = model.SerializeToString()
    atomic_write(path, lambda temporary: _write(temporary, data))
    return parity


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


# ---- exporting ------------------------------------------------------------------------------------------------------
def exported_model(program: ExportedProgram, path: Path, optimize: bool = True) -> Any:
    """The program as onnx.ModelProto, without notes about the machine that it was made on. Raises ExportError.

    optimize: let the exporter fold and merge nodes, which has been seen to change what a graph network computes.
    """
    names = _output_names(program, path)
    try:
        with _silent():
            made = torch.onnx.export(
                program, dynamo=True, external_data=False, verbose=False, output_names=names, optimize=optimize
            )
            assert made is not None
            model = made.model_proto
    except Exception as error:  # whatever the exporter stumbles over
        raise ExportError(
            str(path), f"torch.onnx cannot export the network ({_cause(error)})", _INSTEAD
        ) from error  # fmt: skip
    if len(model.graph.output) != len(names):
        facts = f"torch.onnx made {len(model.graph.output)} outputs of {len(names)}"
        raise ExportError(str(path), facts, _INSTEAD)
    _strip(model)
    return model


def _cause(error: BaseException) -> str:
    """The last line that says something: exporters wrap the reason in advice."""
    found = re.findall(r"^<class '[\w.]*?(\w+)'>: (.+)$", str(error), re.MULTILINE)
    return ": ".join(found[0])[:300] if found else f"{type(error).__name__}: {told(error)}"


def _strip(model: Any) -> None:
    """Stack traces of the exporter hold absolute paths of the user's machine."""
    from chiralize.storage.onnx_checks import all_nodes

    graphs = [model.graph, *(own.g for node in all_nodes(model) for own in node.attribute if own.HasField("g"))]
    for holder in (model, *model.functions, *graphs, *all_nodes(model)):
        del holder.metadata_props[:]
        holder.doc_string = ""
    for graph in graphs:
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            del value.metadata_props[:]
            value.doc_string = ""


def _output_names(program: ExportedProgram, path: Path) -> list[str]:
    """`pose`, `state_0`: keys and positions of the results. Raises ExportError where one is no tensor."""
    spec = program.call_spec.out_spec
    assert spec is not None
    flat = [own.arg for own in program.graph_signature.output_specs if own.kind.name == "USER_OUTPUT"]
    keys, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(range(spec.num_leaves), spec))
    taken = {own.arg.name for own in program.graph_signature.input_specs}
    names: list[str] = []
    for (place, _), kind in zip(keys, flat, strict=True):
        text = "_".join(re.sub(r"\W+", "_", str(getattr(key, "key", getattr(key, "idx", key)))) for key in place)
        text = f"output_{text}" if not text[:1].isalpha() else text
        name = "output" if not place else text
        while name in taken:
            name += "_out"
        taken.add(name)
        if type(kind).__name__ == "TensorArgument":
            names.append(name)
        elif getattr(kind, "value", None) is not None or type(kind).__name__ != "ConstantArgument":
            raise ExportError(str(path), f"result {name!r} is no tensor; ONNX has no others", _INSTEAD)
    return names


def _name_sizes(model: Any, words: Mapping[tuple[int, int], str]) -> None:
    """Open sizes under the words of the layout (`b`), not the exporter's (`s77`); `2` in quotes is a number."""
    rename: dict[str, str] = {}
    for (place, axis), word in words.items():
        size = model.graph.input[place].type.tensor_type.shape.dim[axis].dim_param
        if size.isidentifier() and size not in rename:
            rename[size] = word if word not in rename.values() else f"{word}_{place}"
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param.isdigit():
                size.dim_value = int(size.dim_param)
            elif size.dim_param:
                size.dim_param = re.sub(
                    r"[A-Za-z_]\w*", lambda own: rename.get(own.group(), own.group()), size.dim_param
                )


@contextmanager
def _silent() -> Iterator[None]:
    """Exporters print, warn and log; what matters is in their errors."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()):
                yield
    finally:
        logging.disable(disabled)


# ---- comparing ------------------------------------------------------------------------------------------------------
def compare(
    network: OnnxNetwork, calls: Sequence[Call], reference: Callable[..., Any], program: ExportedProgram, path: Path
) -> Parity:
    """onnxruntime against torch on the calls, and on other sizes where they are open. Raises ParityError."""
    tried: dict[str, tuple[int, ...]] = {}
    worst, bound, count = 0.0, PARITY[torch.float32], 0
    for call in calls:
        share, bound = _difference(network, call, reference, program, path, "")
        worst, count = max(worst, share), count + 1
    own = program.module()
    for word, places in _open_axes(network).items():
        for size in _SIZES:
            call = _resized(calls[-1], places, size)
            if not _takes(own, call) and not (
                _takes(reference, call) and _runs(network, _tensors(call, program, path))
            ):
                continue  # a size that only the file would take has nothing to be compared with
            share, _ = _difference(network, call, reference, program, path, f" ({word} = {size})")
            worst, count = max(worst, share), count + 1
            tried[word] = (*tried.get(word, ()), size)
    return Parity(worst, bound, count, tried)


def _open_axes(network: OnnxNetwork) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for place, port in enumerate(network.inputs):
        for axis, size in enumerate(port.sizes):
            if isinstance(size, str):
                found.setdefault(size, []).append((place, axis))
    return found


def _resized(call: Call, places: Sequence[tuple[int, int]], size: int) -> Call:
    """The call with other sizes on some axes, entries repeated or left out."""
    leaves, structure = pytree.tree_flatten(call)
    where = [index for index, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    for place, axis in places:
        leaf = leaves[where[place]]
        entries = torch.arange(size) % leaf.shape[axis]
        fresh = leaf.index_select(axis, entries)
        if fresh.is_floating_point():  # repeated samples would hide what is mixed up between them
            spread = torch.linspace(0.7, 1.3, size, dtype=torch.float64).to(fresh.dtype)
            fresh = fresh * spread.reshape([-1 if own == axis else 1 for own in range(fresh.ndim)])
        leaves[where[place]] = fresh
    return pytree.tree_unflatten(leaves, structure)


def _takes(network: Callable[..., Any], call: Call) -> bool:
    args, kwargs = copy.deepcopy(call)  # some networks write into their inputs
    try:
        with torch.no_grad():
            network(*args, **kwargs)
    except Exception:  # noqa: BLE001 - whatever it says, it does not take this size
        return False
    return True


def _runs(network: OnnxNetwork, inputs: Sequence[torch.Tensor]) -> bool:
    try:
        network.run(inputs)
    except Exception:  # noqa: BLE001 - onnxruntime has many kinds of its own
        return False
    return True


def _difference(
    network: OnnxNetwork,
    call: Call,
    reference: Callable[..., Any],
    program: ExportedProgram,
    path: Path,
    said: str,
) -> tuple[float, float]:
    """Largest difference in units of the output's scale, and the bound of the coarsest output. Raises ParityError."""
    inputs = _tensors(call, program, path)
    args, kwargs = copy.deepcopy(call)
    with torch.no_grad():
        expected, _ = results(reference(*args, **kwargs))
    try:
        found = network.run(inputs)
    except Exception as error:  # onnxruntime has many kinds of its own
        raise ParityError(
            str(path), f"onnxruntime fails where torch does not{said}: {told(error)}", _INSTEAD
        ) from error
    if len(found) != len(expected):
        raise ParityError(
            str(path), f"{len(found)} outputs from onnxruntime, {len(expected)} from torch{said}", _INSTEAD
        )
    worst, bound = 0.0, 0.0
    for port, own, other in zip(network.outputs, found, expected, strict=True):
        other = other.detach().cpu()
        if own.shape != other.shape or own.dtype != other.dtype:
            facts = (
                f"output {port.name!r} is {own.dtype} {tuple(own.shape)}, {other.dtype} {tuple(other.shape)} from torch"
            )
            raise ParityError(str(path), facts + said, _INSTEAD)
        allowed = PARITY.get(other.dtype, 0.0)
        share = _apart(own, other)
        if not share <= allowed:
            facts = (
                f"onnxruntime is {share:.2g} of the scale of output {port.name!r} away from torch, bound {allowed:.0e}"
            )
            raise ParityError(str(path), facts + said, _INSTEAD)
        worst, bound = max(worst, share), max(bound, allowed)
    return worst, bound or PARITY[torch.float32]


def _apart(own: torch.Tensor, other: torch.Tensor) -> float:
    """max |own - other| / max |other|; infinite where one is not finite and the other differs."""
    if not own.numel() or torch.equal(own, other):
        return 0.0
    wide, there = own.double(), other.double()
    if not bool(torch.isfinite(wide).all() and torch.isfinite(there).all()):
        return float("inf")
    scale = float(there.abs().max())
    return float((wide - there).abs().max()) / scale if scale else float("inf")


def _tensors(call: Call, program: ExportedProgram, path: Path) -> tuple[torch.Tensor, ...]:
    """Tensors of a call in the order of the program's inputs. Raises ExportError where the orders differ."""
    spec = program.call_spec.in_spec
    leaves = pytree.tree_leaves((tuple(call[0]), dict(call[1])))
    if spec is not None and list(call[1]) != list(spec.child(1).context or []):
        facts = f"the examples name {', '.join(call[1])}, the program {', '.join(spec.child(1).context or [])}"
        raise ExportError(str(path), facts, "give the examples in the program's order")
    return tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
