"""A conversion written as ONNX.

    from torch              export the result, name its inputs as the original's, compare, write
    from an ONNX file       the same, with the sizes, names and metadata of that file (`OnnxModule`: read op by op)
    from an ONNX file that  both views of its own graph, joined into one, without torch in between (`OnnxNetwork`)
    could only be run

Nothing is written before onnxruntime has computed from it what was verified, on the example and on random inputs.
`storage.onnx_export` writes and compares; here it is gathered what it needs to know of the conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from chiralize.commands.convert import Conversion
from chiralize.commands.guard import refuse_graph
from chiralize.commands.records import Result
from chiralize.errors import CaptureError, ExportError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.open_axes import axes_of
from chiralize.graph.open_sizes import opened
from chiralize.graph.running import Arguments, Call
from chiralize.methods.fill.both_views import turns_by_port
from chiralize.nn.deploy.export import example_call, named_inputs
from chiralize.nn.two_view import TwoView
from chiralize.problem.data.shapes import input_names
from chiralize.problem.network import Network
from chiralize.storage.onnx_call import call_text
from chiralize.storage.onnx_comparing import Parity
from chiralize.storage.onnx_export import PortNames, save_joined, save_onnx
from chiralize.storage.onnx_network import CALL_KEY, METADATA_KEY, OnnxNetwork
from chiralize.storage.onnx_reading.module import OnnxModule
from chiralize.storage.passport import Passport
from chiralize.symmetry.action import Center, Turn
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification.drift import random_inputs

_DRAWN = 4
"""Random calls that are compared beside the example."""
_OF_TORCH = "the times are those of torch: `chiralize bench ORIGINAL RESULT` takes them in onnxruntime"


def write_onnx(conversion: Conversion, network: Network, target: Path) -> Conversion:
    """Write the result as an ONNX file, if onnxruntime computes the same; the conversion with a note on how near it is.

    Raises CaptureError, ExportError, ParityError, OutputFileError.
    """
    if isinstance(conversion.module, OnnxNetwork):
        return _write_joined(conversion, conversion.module, network, target)
    example = example_call(network, conversion.report.is_average)  # not where it was an average before
    parity = write_module(conversion, network, example, target)
    of_times = (_OF_TORCH,) if conversion.report.cost.times else ()
    report = replace(conversion.report, notes=(*conversion.report.notes, _note_on(parity), *of_times))
    return replace(conversion, report=report)


def write_module(result: Result, network: Network, example: Call, target: Path) -> Parity:
    """Write a module as an ONNX file, if onnxruntime computes the same; how near it is.

    network: from which the result came, or the result itself made ready.  example: a call of the result.
    Raises CaptureError, ExportError, ParityError, OutputFileError.
    """
    if result.program is None or result.mirror is None:
        remedy = "use it from Python: chiralize(model, ...), or remove what torch.export refuses"
        raise CaptureError(str(target), "the result cannot be exported, so there is no ONNX of it", remedy)
    # A state outside of the graph, or in buffers that forward writes: an ONNX graph has neither.
    refuse_graph(network)
    _refuse_memory(network, target)
    args, kwargs = example
    if isinstance(network.module, OnnxModule):
        args, kwargs = _in_sizes_of_file(network.module, network.example, example)
    calls: list[Call] = [(args, dict(kwargs))]
    calls += [result.mirror.placed(call) for call in random_inputs(args, kwargs, _DRAWN, 7)]
    # What onnxruntime has to agree with, and T on states for whoever verifies the file.
    reference, states = _reference(result.module, result.passport), _states(network, result.mirror)
    text = replace(result.passport, entry="forward").to_json()
    program, metadata, port_names = result.program, {}, _port_names(network)
    if isinstance(network.module, OnnxModule):
        # A file that came as ONNX goes back with its own sizes open or fixed, its own names, and its metadata.
        program = _with_sizes_of_file(result.module, network.module, args, kwargs)
        metadata, port_names = network.module.metadata, ((), ())  # the names of that file
    return save_onnx(program, target, text, calls, reference, states, _size_names(network), metadata, port_names)


def _in_sizes_of_file(original: OnnxModule, taken: Call, example: Call) -> Call:
    """The example of the result in the sizes that the file fixes: calibration samples may have been put in batches.

    taken: the call of the original that the example was made of; states of both views are wider than in the file.
    """
    declared, before = iter(original.sizes), iter(Arguments.of(*taken).tensors)

    def cut(leaf: Any) -> Any:
        """One argument, of which entries are repeated or left out."""
        if not isinstance(leaf, torch.Tensor):
            return leaf
        # Only sizes that the file fixes count (numbers; open ones have names), compared with the original's example:
        # states of both views are twice as long as the file says, by right.
        for axis, (size, given) in enumerate(zip(next(declared), next(before).shape, strict=True)):
            if isinstance(size, int) and size != given:
                leaf = leaf.index_select(axis, torch.arange(size) % given)
        return leaf

    args, kwargs = pytree.tree_map(cut, (tuple(example[0]), dict(example[1])))
    return args, kwargs


def _with_sizes_of_file(
    module: torch.nn.Module, original: OnnxModule, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> torch.export.ExportedProgram:
    """The result as a program whose sizes are open where those of the file that it came from are.

    Runtimes that compile a file rely on sizes that it fixes.
    """
    declared = iter(original.sizes)

    def open_axes(leaf: Any) -> Any:
        """The open axes of one argument."""
        if not isinstance(leaf, torch.Tensor):
            return None
        return {axis: torch.export.Dim.AUTO for axis, size in enumerate(next(declared)) if isinstance(size, str)}

    with named_inputs(module, original):
        return opened(module, args, kwargs, axes_of(open_axes, (tuple(args), dict(kwargs))))


def _write_joined(conversion: Conversion, joined: OnnxNetwork, network: Network, target: Path) -> Conversion:
    """Write both views of an ONNX file in one graph, if onnxruntime computes from it what the file's average is.

    Raises ParityError, ExportError, OutputFileError.
    """
    assert conversion.mirror is not None and isinstance(network.module, OnnxNetwork)
    # T in the order of the ports of the graph, which need not be that of the arguments.
    inputs, outputs = turns_by_port(network, network.module)
    actions_in, centers_in = _apart(inputs)
    actions_out, centers_out = _apart(outputs)
    # The average as torch runs it, with the file in onnxruntime twice: what the joined graph is compared with.
    average = TwoView(network.module, actions_in, actions_out, centers=(centers_in, centers_out))
    args, kwargs = example_call(network, True)
    drawn = [conversion.mirror.placed(call) for call in random_inputs(args, kwargs, _DRAWN, 7)]
    # A joined graph takes its tensors by position.
    calls: list[Call] = [(joined.in_order(*call), {}) for call in ((args, kwargs), *drawn)]
    texts = {
        METADATA_KEY: replace(conversion.passport, entry="forward").to_json(),
        CALL_KEY: call_text(calls[0][0], _states(network, conversion.mirror)),
    }
    parity = save_joined(joined, target, texts, calls, average)
    notes = (*conversion.report.notes, f"both views in one ONNX graph: {_note_on(parity)}")
    return replace(conversion, report=replace(conversion.report, notes=notes))


def _apart(turns: Sequence[Turn | None]) -> tuple[list[TensorRepresentation | None], list[Center]]:
    """The linear parts of some T, and their centres; None for states."""
    actions: list[TensorRepresentation | None] = []
    centers: list[Center] = []
    for turn in turns:
        action, center = turn or (None, None)
        actions.append(action)
        centers.append(center)
    return actions, centers


def _refuse_memory(network: Network, target: Path) -> None:
    """Raise ExportError where forward writes into buffers."""
    captured = network.captured
    if captured:
        names = [captured.leaves[leaf].names[0] for leaf in captured.mutations]
    else:
        names = []
    if names:
        facts = f"the network keeps a state in its buffers ({', '.join(names[:5])}), ONNX graphs do not"
        remedy = "hand the state in and out as an argument and a result ({state: true}), or write a .pt2"
        raise ExportError(str(target), facts, remedy)


def _port_names(network: Network) -> PortNames:
    """Names of inputs and outputs: as the specification says, of inputs else as forward does."""
    by_spec: list[list[str | None]] = []
    for tensors in (network.resolved.input_tensors, network.resolved.output_tensors):
        by_spec.append([tensor.entry.name for tensor in tensors])
    of_forward = input_names(network.module, network.handover.entry)
    # By position: arguments that go by name, or nested ones, would get names of others.
    if len(of_forward) == len(by_spec[0]) and not network.kwargs:
        by_spec[0] = [name or other for name, other in zip(by_spec[0], of_forward, strict=True)]
    return by_spec[0], by_spec[1]


def _size_names(network: Network) -> dict[tuple[int, int], str]:
    """The words of the layouts for open sizes, by (input, axis)."""
    names: dict[tuple[int, int], str] = {}
    for tensor in network.resolved.input_tensors:
        for word, axis in tensor.free_axes:
            if word.isidentifier():
                names[tensor.index, axis] = word
    return names


def _reference(module: torch.nn.Module, passport: Passport) -> Callable[..., Any]:
    """The function that ONNX has to agree with: forward, or the method that was converted.

    Of a network that was traced, forward is the method that was traced.
    """
    if passport.is_average or passport.entry == "forward":
        return module
    return getattr(module, passport.entry, module)


def _states(network: Network, mirror: NetworkMirror) -> dict[str, TensorRepresentation]:
    """T on the states, whose representations inference found: a file without a graph cannot be asked for them."""
    resolved = network.resolved
    known = {f"input {i}": action for i, action in enumerate(mirror.inputs) if resolved.inputs[i] is None}
    return known | {f"output {i}": action for i, action in enumerate(mirror.outputs) if resolved.outputs[i] is None}


def _note_on(parity: Parity) -> str:
    """How near the file is, and on how many inputs and sizes it was tried."""
    tried = [f"; {name} = {', '.join(map(str, sizes))}" for name, sizes in parity.sizes.items()]
    return (
        f"ONNX: onnxruntime is at most {parity.worst:.1e} of the output's scale away from what was verified "
        f"(bound {parity.bound:.0e}, {parity.calls} inputs{''.join(tried) or ', all sizes fixed'})"
    )
