"""A file read back, held against onnxruntime before anything else is done with it.

The table of operators may be wrong for a use of an operator that no test has.  So the module that was read and the file
itself answer the same five inputs, the example and four drawn ones.  Where an output differs by more than 1e-5 of its
scale (float32), the file counts as one that cannot be read, and is averaged by running it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from chiralize.errors import CaptureError, ModelRunError
from chiralize.errors.words import first_line
from chiralize.graph.running import Arguments, random_calls
from chiralize.storage.onnx_network import CALL_KEY, METADATA_KEY, OnnxNetwork, runtime_message
from chiralize.storage.onnx_reading.call import REMEDY
from chiralize.storage.onnx_reading.module import OnnxModule
from chiralize.storage.onnx_reading.reading import read_back
from chiralize.storage.parity import PARITY, share_apart

_DRAWN = 4
"""Random inputs beside the example."""


def read_and_compared(network: OnnxNetwork, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[OnnxModule, str]:
    """The file as a module, and a note on how near it is to onnxruntime on the example and on random inputs.

    args, kwargs: the example, whose sizes the random inputs have.
    Raises CaptureError where a node has no counterpart, or where the two differ.
    """
    module = read_back(network.model)
    module.metadata = {key: text for key, text in network.metadata.items() if key not in (METADATA_KEY, CALL_KEY)}
    module.sizes = [port.sizes for port in network.inputs]
    example = Arguments.of(args, kwargs)
    # Random inputs of the example's sizes: the example itself may be zeros, on which many wrong graphs are right.
    worst, bound = 0.0, 0.0
    calls = [(tuple(args), dict(kwargs)), *random_calls(example, _DRAWN, 5)]
    for call_args, call_kwargs in calls:
        expected = network.run(network.in_order(call_args, call_kwargs))
        share, allowed = _difference(module, call_args, call_kwargs, expected, network)
        worst, bound = max(worst, share), max(bound, allowed)
    count = len(module.steps)
    note = (
        f"ONNX: read op by op, {count} nodes; at most {worst:.1e} of the output's scale away from onnxruntime "
        f"(bound {bound:.0e}, {len(calls)} inputs)"
    )
    return module, note


def check_example(network: OnnxNetwork, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises ModelRunError where the file does not take these inputs, with the sizes that it declares.

    Looked at in turn: how many inputs there are, their names, whether onnxruntime runs on them.  Only where it does
    not, the sizes: what a file declares may be narrower or wider than what its nodes take.
    """
    shapes = " ".join(f"--input-shape {port.as_option}" for port in network.inputs)
    if len(args) + len(kwargs) != len(network.inputs):
        listed = ", ".join(f"{port.name!r} {port.shown}" for port in network.inputs)
        facts = (
            f"the number of inputs differs: it takes {len(network.inputs)} ({listed}), {len(args) + len(kwargs)} given"
        )
        raise ModelRunError(network.where, facts, f"give all of them, and no other: {shapes}")
    try:
        tensors = network.in_order(args, kwargs)
    except StopIteration:  # a name that no input has
        facts = f"no input is called {next(iter(kwargs))!r}"
        remedy = f"name them as the file does: {', '.join(port.name for port in network.inputs)}"
        raise ModelRunError(network.where, facts, remedy) from None
    try:
        network.run(tensors)
    except Exception as error:  # onnxruntime has many kinds of its own
        # Of inputs that do not fit their declared sizes the first is named: that is mostly the cause.
        wrong = [
            (port, tensor) for port, tensor in zip(network.inputs, tensors, strict=True) if not port.takes(tensor.shape)
        ]
        if not wrong:
            given = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            facts = f"onnxruntime cannot run it on inputs of shape {given} ({runtime_message(error)})"
            raise ModelRunError(
                network.where, facts, "give sizes that it takes, --input-shape, or --example"
            ) from error
        port, tensor = wrong[0]
        facts = f"input {port.name!r} takes shape {port.shown}, {tuple(tensor.shape)} is given"
        if len(port.sizes) == tensor.ndim - 1 == 1:
            facts += ": one call is one sample, without a batch axis"
        raise ModelRunError(network.where, facts, f"give these sizes: {shapes}") from error


def _difference(
    module: OnnxModule,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    expected: Sequence[torch.Tensor],
    network: OnnxNetwork,
) -> tuple[float, float]:
    """The largest difference on one call, and the bound of the coarsest output. Raises CaptureError."""
    try:
        with torch.no_grad():
            answers = list(module(*args, **kwargs).values())
    except CaptureError:
        raise
    except Exception as error:  # an op that is used in a way that its counterpart does not know
        facts = f"it cannot be run in torch ({type(error).__name__}: {first_line(error)})"
        raise CaptureError(network.where, facts, REMEDY) from error
    if len(answers) != len(expected):  # "y-1" and "y_1" are one name in Python
        facts = f"{len(expected)} outputs have {len(answers)} names in Python: {', '.join(module.outputs[:5])}"
        raise CaptureError(network.where, facts, "export it again with names that differ in letters or digits")
    worst, bound = 0.0, 0.0
    for port, answer, wanted in zip(network.outputs, answers, expected, strict=True):
        if (answer.shape, answer.dtype) != (wanted.shape, wanted.dtype):
            facts = f"output {port.name!r} is {answer.dtype} {tuple(answer.shape)} when read op by op"
            raise CaptureError(network.where, f"{facts}, {wanted.dtype} {tuple(wanted.shape)} when run", REMEDY)
        is_of_size_one = port.name in network.of_size_one
        share, allowed = share_apart(answer, wanted, is_of_size_one), PARITY.get(wanted.dtype, 0.0)
        if not share <= allowed:  # NaN is no answer either
            facts = f"read op by op, output {port.name!r} is {share:.2g} of its scale away from onnxruntime"
            raise CaptureError(network.where, f"{facts}, bound {allowed:.0e}", REMEDY)
        worst, bound = max(worst, share), max(bound, allowed)
    return worst, bound
