"""Writing a network as ONNX: exported from its program, run by onnxruntime beside the original, then written.

Nothing is written that onnxruntime does not compute as torch does, on every size that the program takes.

`save_onnx` is for a converted network, of which there is a torch.export program; `save_joined` for the average of an
ONNX file that could not be read op by op (`onnx_joining`).  Both are called by `commands/onnx.py`, the last step of a
conversion.  The steps of `save_onnx`:

    export     torch.onnx.export, its notes about this machine removed          exported_model
    reopen     axes that the exporter fixed are declared open again, on trial   onnx_reopening
    name       outputs, open sizes and ports as the original's file has them
    compare    onnxruntime against torch                                        onnx_comparing
    again      once more without the exporter's optimizer, or with Fourier transforms as products, if they differ
    write      whole or not at all                                              atomic
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.errors import ExportError, ParityError
from chiralize.graph.isolation import exclusive
from chiralize.graph.running import Call
from chiralize.graph.while_capturing import recurrent_shapes
from chiralize.storage.atomic import write_bytes
from chiralize.storage.onnx_call import call_text
from chiralize.storage.onnx_checks import MAX_BYTES, all_graphs, all_nodes, require_packages
from chiralize.storage.onnx_comparing import INSTEAD, Parity, compare, tensors_in_order
from chiralize.storage.onnx_fourier import as_products, transforms
from chiralize.storage.onnx_network import CALL_KEY, METADATA_KEY, OnnxNetwork, network_digest, runtime_message
from chiralize.storage.onnx_reopening import open_axes, reopened
from chiralize.storage.sidecar import DIGEST_KEY
from chiralize.symmetry.representation import TensorRepresentation

_OUTPUT, _INSIDE = "__output", "__inside"
"""Endings of names in a graph: of outputs until they get theirs, of values inside that have an output's name."""
_SIZE_NAME = re.compile(r"[A-Za-z_]\w*")


PortNames = tuple[Sequence[str | None], Sequence[str | None]]
"""Names of inputs and of outputs, in their order; None for one whose name stays."""


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

    reference: the network in torch.
    passport: travels along.  calls: the example first, then other inputs.  states: how the mirror acts on tensors
    that the passport's specification leaves open.  size_names: words for open axes, by (input, axis).
    metadata: further texts, by key.  port_names: what inputs and outputs should be called, in their order.
    Returns how near onnxruntime came to the reference.
    Raises ExportError (no ONNX for this network), ParityError (the ONNX computes something else), OutputFileError.
    """
    require_packages(str(path))
    wanted = {*open_axes(program)}  # before the exporter closes some of them, in place
    record = {
        **metadata,
        METADATA_KEY: passport,
        CALL_KEY: call_text(tensors_in_order(calls[0], program, path), states),
    }

    def compared(source: ExportedProgram, optimize: bool) -> tuple[Any, Parity]:
        """The exported model with its metadata, and how near it comes to the reference."""
        model = exported_model(source, path, optimize)
        # Whether a graph still holds the example's size somewhere inside does not show without running it.  So the
        # wider file is tried on every size that the reference takes, and dropped if it fails on one.
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
        # With transforms, those are replaced and the optimizer stays on; without, the optimizer is left out.
        # Axes that had to be closed for the transforms are not asked to be open any more.
        now_open = open_axes(program)
        products = as_products(program, calls[0]) if transforms(program) else program
        wanted -= {*now_open} - {*open_axes(products)}
        model, parity = compared(products, optimize=products is not program)
    data = model.SerializeToString()
    write_bytes(path, data)
    return parity


def _add_texts(model: Any, texts: Mapping[str, str]) -> None:
    """Put texts into the metadata of a model, with the digest of the network that they are of.

    Of entries with the same key only the new one stays.
    """
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
    # Outputs are exported under names that nothing else has, and get their own afterwards: see `_rename`.
    wished = _output_names(program, path)
    names = [f"{name}{_OUTPUT}" for name in wished]
    try:
        model = _translated(program, names, optimize)
    except Exception as error:  # the exporter raises many kinds of errors
        facts = f"torch.onnx cannot export the network ({_cause(error)})"
        raise ExportError(str(path), facts, INSTEAD) from error
    if len(model.graph.output) != len(names):
        facts = f"torch.onnx made {len(model.graph.output)} outputs of {len(names)}"
        raise ExportError(str(path), facts, INSTEAD)
    _strip(model)
    _rename(model, dict(zip(names, wished, strict=True)))
    return model


@exclusive
def _translated(program: ExportedProgram, names: list[str], optimize: bool) -> Any:
    """The program in the exporter's words, as onnx.ModelProto; what the exporter prints and warns is not shown.

    Taking turns with conversions: the exporter works on tables of torch that all threads share.
    """
    # Taken apart step by step, a GRU of two directions fails over frames whose number a strided layer halves.
    with _silent(), recurrent_shapes():
        exported = torch.onnx.export(
            program, dynamo=True, external_data=False, verbose=False, output_names=names, optimize=optimize
        )
    assert exported is not None
    return exported.model_proto


def _rename(model: Any, wished: Mapping[str, str]) -> None:
    """Give inputs or outputs their names, in place; values inside that have one of these get another.

    The exporter names the values inside after the ops, without regard to the names of the outputs: asked for an output
    "linear" it writes Gemm -> linear, Relu(linear) -> linear.
    wished: by the names that they have now.  {"linear__output": "linear"} makes the value "linear" inside the graph
    "linear__inside", and the output "linear".
    """
    # The right side wins: where two ports exchange their names, both are ports and nothing inside is renamed.
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
    table: dict[str, str] = {}  # from the present name of a port to the wished one
    for ports, names in zip((model.graph.input, model.graph.output), wished, strict=True):
        if len(ports) == len(names):
            table |= {port.name: name for port, name in zip(ports, names, strict=True) if name and name.isidentifier()}
    # Two ports of one name would be one value.  Names that stay count, too: a wish must not meet one of them.  A wish
    # that is dropped makes one more name stay, which another wish may meet: so again, until none is dropped.
    ports = [port.name for port in (*model.graph.input, *model.graph.output)]
    dropped = True
    while dropped:
        named = Counter(table.get(port, port) for port in ports)
        dropped = {port for port, name in table.items() if named[name] > 1}
        table = {port: name for port, name in table.items() if port not in dropped}
    _rename(model, {port: name for port, name in table.items() if port != name})


def _cause(error: BaseException) -> str:
    """The reason why an export failed, which exporters wrap in advice.

    Of a text with a line `<class 'torch.onnx.errors.SomeError'>: why` this is `SomeError: why`, cut to 300 characters.
    """
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
    """A name for every result that is a tensor. Raises ExportError where one is neither a tensor nor None.

    Results of {"pose": y, "state": (h, c)} are called pose, state_0, state_1.
    """
    structure = program.call_spec.out_spec
    assert structure is not None
    specs = [output.arg for output in program.graph_signature.output_specs if output.kind.name == "USER_OUTPUT"]
    # The structure filled with numbers and flattened again gives for each leaf the keys that lead to it.
    keyed, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(range(structure.num_leaves), structure))
    taken = {argument.arg.name for argument in program.graph_signature.input_specs}
    names: list[str] = []
    for (keys, _), spec in zip(keyed, specs, strict=True):
        name = _output_name(keys)
        while name in taken:  # inputs and weights are values of the same graph
            name += "_out"
        taken.add(name)
        # None is left out of the file.  Numbers that the program computes or holds cannot be: ONNX has tensors alone.
        if type(spec).__name__ == "TensorArgument":
            names.append(name)
        elif getattr(spec, "value", None) is not None or type(spec).__name__ != "ConstantArgument":
            raise ExportError(str(path), f"result {name!r} is no tensor; ONNX has no others", INSTEAD)
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
    """Call open sizes by the words of the layout (`b`), not the exporter's (`s77`); `2` in quotes becomes a number.

    words: by (input, axis).  One size may stand on several axes: its first word counts.  Where one word stands for two
    sizes, the second gets the number of its input: `b`, `b_1`.  Expressions are changed inside: `2*s77` to `2*b`.
    """
    rename: dict[str, str] = {}
    # First what each size is to be called, by the inputs; then everywhere that it stands.
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
    # `logging.disable` is global: what was disabled before has to be put back, not enabled.
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()):
                yield
    finally:
        logging.disable(disabled)
