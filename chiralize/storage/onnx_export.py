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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.errors import ExportError, ParityError
from chiralize.graph.running import Call, results
from chiralize.graph.while_capturing import recurrent_shapes
from chiralize.storage.atomic import write_bytes
from chiralize.storage.onnx_checks import MAX_BYTES, all_graphs, all_nodes, require_packages
from chiralize.storage.onnx_fourier import as_products, transforms
from chiralize.storage.onnx_network import (
    CALL_KEY,
    METADATA_KEY,
    OnnxNetwork,
    call_text,
    network_digest,
    runtime_message,
)
from chiralize.storage.onnx_reopening import open_axes, reopened
from chiralize.storage.parity import PARITY, moved_by_rounding, share_apart, widened
from chiralize.storage.sidecar import DIGEST_KEY
from chiralize.symmetry.representation import TensorRepresentation

_SIZES = (1, 2, 3, 5)
_OUTPUT, _INSIDE = "__output", "__inside"
_SIZE_NAME = re.compile(r"[A-Za-z_]\w*")
_INSTEAD = "write a .pt2, or run the ONNX exporter yourself and verify its file with --skeleton"


PortNames = tuple[Sequence[str | None], Sequence[str | None]]
"""Names of inputs and of outputs, in their order; None for one whose name stays."""


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
    metadata: Mapping[str, str] = MappingProxyType({}),
    port_names: PortNames = ((), ()),
) -> Parity:
    """Export, compare with `reference`, and write the file whole or not at all.

    passport: travels along.  calls: the example first, then other inputs.  states: how the mirror acts on tensors
    that the passport's specification leaves open.  size_names: words for open axes, by (input, axis).
    metadata: further texts, by key.  port_names: what inputs and outputs should be called, in their order.
    Raises ExportError (no ONNX for this network), ParityError (the ONNX computes something else), OutputFileError.
    """
    require_packages(str(path))
    wanted = {*open_axes(program)}  # before the exporter closes some of them, in place
    record = {**metadata, METADATA_KEY: passport, CALL_KEY: call_text(_tensors(calls[0], program, path), states)}

    def compared(source: ExportedProgram, optimize: bool) -> tuple[Any, Parity]:
        """The exported model with its metadata, and how near it comes to the reference."""
        model = exported_model(source, path, optimize)
        wider = reopened(model, sorted(wanted))
        if wider is not None:
            with suppress(ParityError):
                return finished(wider, everywhere=True)
        return finished(model)

    def finished(model: Any, everywhere: bool = False) -> tuple[Any, Parity]:
        """The model under its names and with its texts, held against the reference."""
        _name_sizes(model, size_names)
        _name_ports(model, port_names)
        _add_texts(model, record)
        if model.ByteSize() > MAX_BYTES:
            facts = f"the network has {model.ByteSize():,} bytes, an ONNX file holds at most {MAX_BYTES:,}"
            raise ExportError(str(path), facts, "write a .pt2")
        return model, compare(OnnxNetwork(model, str(path)), calls, reference, program, path, everywhere)

    try:
        model, parity = compared(program, optimize=True)
    except ParityError:  # the runtime's DFT or the exporter's own optimizer is at fault, or the file stays refused
        now_open = open_axes(program)
        products = as_products(program, calls[0]) if transforms(program) else program
        wanted -= {*now_open} - {*open_axes(products)}
        model, parity = compared(products, optimize=products is not program)
    data = model.SerializeToString()
    write_bytes(path, data)
    return parity


def _add_texts(model: Any, texts: Mapping[str, str]) -> None:
    """Put texts into the metadata of a model, with the digest of the network that they are of."""
    texts = {**texts, DIGEST_KEY: network_digest(model)}
    others = [entry for entry in model.metadata_props if entry.key not in texts]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    for key, text in texts.items():
        model.metadata_props.add(key=key, value=text)


def save_joined(
    network: OnnxNetwork, path: Path, texts: Mapping[str, str], calls: Sequence[Call], reference: Callable[..., Any]
) -> Parity:
    """Compare an ONNX network that was put together with `reference`, and write it whole or not at all.

    texts: metadata by key.  calls: tensors in the order of the graph, the example first.
    Raises ExportError (too large), ParityError, OutputFileError.
    """
    model = network.model
    _add_texts(model, texts)
    if model.ByteSize() > MAX_BYTES:
        facts = f"the network has {model.ByteSize():,} bytes, an ONNX file holds at most {MAX_BYTES:,}"
        raise ExportError(str(path), facts, "convert what it was exported from, and write a .pt2")
    parity = compare(OnnxNetwork(model, str(path)), calls, reference, None, path)
    write_bytes(path, model.SerializeToString())
    return parity


# ---- exporting ------------------------------------------------------------------------------------------------------
def exported_model(program: ExportedProgram, path: Path, optimize: bool = True) -> Any:
    """The program as onnx.ModelProto, without notes about the machine that it was made on. Raises ExportError.

    optimize: let the exporter fold and merge nodes, which has been seen to change what a graph network computes.
    """
    wished = _output_names(program, path)
    names = [f"{name}{_OUTPUT}" for name in wished]
    try:
        model = _translated(program, names, optimize)
    except Exception as error:  # the exporter raises many kinds of errors
        facts = f"torch.onnx cannot export the network ({_cause(error)})"
        raise ExportError(str(path), facts, _INSTEAD) from error
    if len(model.graph.output) != len(names):
        facts = f"torch.onnx made {len(model.graph.output)} outputs of {len(names)}"
        raise ExportError(str(path), facts, _INSTEAD)
    _strip(model)
    _rename(model, dict(zip(names, wished, strict=True)))
    return model


def _translated(program: ExportedProgram, names: list[str], optimize: bool) -> Any:
    """The program in the exporter's words, as onnx.ModelProto; what the exporter prints and warns is not shown."""
    # Taken apart step by step, a GRU of two directions fails over frames whose number a strided layer halves.
    with _silent(), recurrent_shapes():
        exported = torch.onnx.export(
            program, dynamo=True, external_data=False, verbose=False, output_names=names, optimize=optimize
        )
    assert exported is not None
    return exported.model_proto


def _rename(model: Any, wished: Mapping[str, str]) -> None:
    """Give inputs or outputs their names, in place; values inside that have one of these get another.

    The exporter names the values inside after the outputs, without regard to the names of the outputs.
    wished: by the names that they have now.
    """
    table = {wish: f"{wish}{_INSIDE}" for wish in wished.values()} | dict(wished)
    for graph in all_graphs(model):
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            value.name = table.get(value.name, value.name)
    for node in all_nodes(model):
        for values in (node.input, node.output):
            for index, name in enumerate(values):
                values[index] = table.get(name, name)


def _name_ports(model: Any, wished: PortNames) -> None:
    """Give inputs and outputs the wished names, in place; one that is no word, or not the only one of its name, stays.

    Where there are more or fewer of them than names, all stay: nothing says which is which.
    """
    table: dict[str, str] = {}
    for ports, names in zip((model.graph.input, model.graph.output), wished, strict=True):
        if len(ports) == len(names):
            table |= {port.name: name for port, name in zip(ports, names, strict=True) if name and name.isidentifier()}
    ports = [port.name for port in (*model.graph.input, *model.graph.output)]
    named = Counter(table.get(port, port) for port in ports)
    table = {port: name for port, name in table.items() if named[name] == 1 and port != name}
    _rename(model, table)


def _cause(error: BaseException) -> str:
    """The reason why an export failed, which exporters wrap in advice."""
    wrapped = re.search(r"^<class '[\w.]*?(\w+)'>: (.+)$", str(error), re.MULTILINE)
    if wrapped is not None:
        return f"{wrapped[1]}: {wrapped[2]}"[:300]
    return f"{type(error).__name__}: {runtime_message(error)}"


def _strip(model: Any) -> None:
    """Remove the exporter's stack traces, which hold absolute paths of the user's machine."""
    graphs = list(all_graphs(model))
    for holder in (model, *model.functions, *graphs, *all_nodes(model)):
        del holder.metadata_props[:]
        holder.doc_string = ""
    for graph in graphs:
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            del value.metadata_props[:]
            value.doc_string = ""


def _output_names(program: ExportedProgram, path: Path) -> list[str]:
    """A name for every result that is a tensor. Raises ExportError where one is neither a tensor nor None."""
    structure = program.call_spec.out_spec
    assert structure is not None
    specs = [output.arg for output in program.graph_signature.output_specs if output.kind.name == "USER_OUTPUT"]
    keyed, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(range(structure.num_leaves), structure))
    taken = {argument.arg.name for argument in program.graph_signature.input_specs}
    names: list[str] = []
    for (keys, _), spec in zip(keyed, specs, strict=True):
        name = _output_name(keys)
        while name in taken:
            name += "_out"
        taken.add(name)
        if type(spec).__name__ == "TensorArgument":
            names.append(name)
        elif getattr(spec, "value", None) is not None or type(spec).__name__ != "ConstantArgument":
            raise ExportError(str(path), f"result {name!r} is no tensor; ONNX has no others", _INSTEAD)
    return names


def _output_name(keys: Sequence[Any]) -> str:
    """The keys that lead to a result, joined: `pose`, `state_0`, `output_1`; `output` for the only one."""
    if not keys:
        return "output"
    plain = [str(getattr(key, "key", getattr(key, "idx", key))) for key in keys]
    name = "_".join(re.sub(r"\W+", "_", text) for text in plain)
    if name[:1].isalpha():
        return name
    return f"output_{name}"


def _name_sizes(model: Any, words: Mapping[tuple[int, int], str]) -> None:
    """Call open sizes by the words of the layout (`b`), not the exporter's (`s77`); `2` in quotes becomes a number."""
    rename: dict[str, str] = {}
    for (index, axis), word in words.items():
        size = model.graph.input[index].type.tensor_type.shape.dim[axis].dim_param
        if size.isidentifier() and size not in rename:
            rename[size] = word if word not in rename.values() else f"{word}_{index}"
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param.isdigit():
                size.dim_value = int(size.dim_param)
            elif size.dim_param:
                size.dim_param = _SIZE_NAME.sub(lambda name: rename.get(name[0], name[0]), size.dim_param)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep an exporter from printing, warning and logging meanwhile; what matters is in its errors."""
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
    network: OnnxNetwork,
    calls: Sequence[Call],
    reference: Callable[..., Any],
    program: ExportedProgram | None,
    path: Path,
    everywhere: bool = False,
) -> Parity:
    """onnxruntime against torch on the calls, and on other sizes where they are open. Raises ParityError.

    program: that the model was exported from; None for one whose inputs are the tensors of a call in their order.
    everywhere: the file has to take all sizes that the reference takes, other ones than the examples' among them.
    """
    comparison = _Comparison(network, reference, program, path)
    worst, bound = 0.0, 0.0
    for call in calls:
        share, allowed = comparison.difference(call)
        worst, bound = max(worst, share), max(bound, allowed)
    module = reference if program is None else program.module()
    sizes: dict[str, tuple[int, ...]] = {}
    for word, axes in _open_axes(network).items():
        for size in _SIZES:
            call = _resized(calls[-1], axes, size)
            # A size that neither the program nor the reference takes has nothing to be compared with.
            if not _takes(module, call) and not (everywhere and _takes(reference, call) or comparison.both_take(call)):
                continue
            share, allowed = comparison.difference(call, f" ({word} = {size})")
            worst, bound = max(worst, share), max(bound, allowed)
            sizes[word] = (*sizes.get(word, ()), size)
        if everywhere and len(sizes.get(word, ())) < 2:
            raise ParityError(str(path), f"other sizes of {word} cannot be compared", _INSTEAD)
    return Parity(worst, bound, len(calls) + sum(map(len, sizes.values())), sizes)


def _open_axes(network: OnnxNetwork) -> dict[str, list[tuple[int, int]]]:
    """Open sizes by name, and the axes that have them: {"b": [(0, 0), (1, 0)]}, as (input, axis)."""
    axes: dict[str, list[tuple[int, int]]] = {}
    for index, port in enumerate(network.inputs):
        for axis, size in enumerate(port.sizes):
            if isinstance(size, str):
                axes.setdefault(size, []).append((index, axis))
    return axes


def _resized(call: Call, axes: Sequence[tuple[int, int]], size: int) -> Call:
    """The call with another size on these axes (input, axis): entries are repeated or left out."""
    leaves, structure = pytree.tree_flatten(call)
    positions = [position for position, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    for index, axis in axes:
        leaf = leaves[positions[index]]
        resized = leaf.index_select(axis, torch.arange(size) % leaf.shape[axis])
        if resized.is_floating_point():  # repeated samples would hide what is mixed up between them
            spread = torch.linspace(0.7, 1.3, size, dtype=torch.float64).to(resized.dtype)
            along_axis = [1] * resized.ndim
            along_axis[axis] = -1
            resized = resized * spread.reshape(along_axis)
        leaves[positions[index]] = resized
    return pytree.tree_unflatten(leaves, structure)


def _takes(network: Callable[..., Any], call: Call) -> bool:
    args, kwargs = copy.deepcopy(call)  # some networks write into their inputs
    try:
        with torch.no_grad():
            network(*args, **kwargs)
    except Exception:  # noqa: BLE001 - whatever it says, it does not take this size
        return False
    return True


@dataclass(frozen=True)
class _Comparison:
    """A network in onnxruntime, and the reference with which it has to agree.

    program: it gives the order of the tensors of a call among the file's inputs. path: of the file, for messages.
    """

    network: OnnxNetwork
    reference: Callable[..., Any]
    program: ExportedProgram | None
    path: Path

    def both_take(self, call: Call) -> bool:
        """Whether both can be run on a call."""
        if not _takes(self.reference, call):
            return False
        return _takes(self.network.run, ((_tensors(call, self.program, self.path),), {}))

    def difference(self, call: Call, context: str = "") -> tuple[float, float]:
        """Largest difference in units of the output's scale, and the largest bound of an output.

        Where a bound is passed, what the reference itself enlarges of rounding is measured, and allowed for.
        context: appended to messages.  Raises ParityError.
        """
        inputs = _tensors(call, self.program, self.path)
        args, kwargs = copy.deepcopy(call)
        with torch.no_grad():
            expected, _ = results(self.reference(*args, **kwargs))
        try:
            outputs = self.network.run(inputs)
        except Exception as error:  # onnxruntime has many kinds of its own
            raise self._error(f"onnxruntime fails where torch does not{context}: {runtime_message(error)}") from error
        if len(outputs) != len(expected):
            raise self._error(f"{len(outputs)} outputs from onnxruntime, {len(expected)} from torch{context}")
        worst, bound = 0.0, 0.0
        moved = list[float]()
        for index, (port, output, wanted) in enumerate(zip(self.network.outputs, outputs, expected, strict=True)):
            wanted = wanted.detach().cpu()
            name, kind, wanted_kind = f"output {port.name!r}", _kind(output), _kind(wanted)
            if kind != wanted_kind:
                raise self._error(f"{name} is {kind}, {wanted_kind} from torch{context}")
            is_of_size_one = port.name in self.network.of_size_one
            allowed, share = PARITY.get(wanted.dtype, 0.0), share_apart(output, wanted, is_of_size_one)
            if not share <= allowed:
                moved = moved or moved_by_rounding(self.reference, call, expected)
                allowed = widened(allowed, moved[index])
            if not share <= allowed:
                facts = f"onnxruntime is {share:.3g} of the scale of {name} away from torch, bound {allowed:.2g}"
                raise self._error(facts + context)
            worst, bound = max(worst, share), max(bound, allowed)
        return worst, bound or PARITY[torch.float32]

    def _error(self, facts: str) -> ParityError:
        return ParityError(str(self.path), facts, _INSTEAD)


def _kind(tensor: torch.Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"


def _tensors(call: Call, program: ExportedProgram | None, path: Path) -> tuple[torch.Tensor, ...]:
    """Tensors of a call in the order of the program's inputs. Raises ExportError where the orders differ."""
    spec = None if program is None else program.call_spec.in_spec
    leaves = pytree.tree_leaves((tuple(call[0]), dict(call[1])))
    if spec is not None and list(call[1]) != list(spec.child(1).context or []):
        facts = f"the examples name {', '.join(call[1])}, the program {', '.join(spec.child(1).context or [])}"
        raise ExportError(str(path), facts, "give the examples in the program's order")
    return tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
