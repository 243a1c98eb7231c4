"""ONNX files are judged by running them: there is no graph of torch ops to prove anything on.

In place of a proof more of the user's inputs are run. What a file rounds is measured in its own precision, since
onnxruntime computes in no other: a second file has all stored numbers moved by a unit in their last place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

import torch

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors import ModelFileError, RepresentationSizeError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Call
from chiralize.problem.cost import batch_sizes
from chiralize.problem.mirror import mirror_from
from chiralize.problem.network import Network
from chiralize.storage.onnx_call import recorded_call
from chiralize.storage.onnx_network import OnnxNetwork
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification import numeric
from chiralize.verification.verdicts import NumericVerdict

MOST = 256
"""Calls of the user's that a file is run on, one after the other: nothing is proved of those that are left out."""
_COARSEST = {torch.float64: 1e-8, torch.float32: 1e-3}
"""The widest bound, relative to the output's scale, by the type of the stored numbers; 1e-2 for half precision."""


def with_states(network: Network, module: torch.nn.Module) -> Network:
    """The network with T on its states as the file recorded it. Raises ModelFileError where that does not fit."""
    record = recorded_call(module) if isinstance(module, OnnxNetwork) else None
    if record is None or not record.states:
        return network
    resolved = network.resolved
    recorded = partial(_recorded, record.states)
    inputs = tuple(map(recorded, resolved.input_tensors))
    outputs = tuple(map(recorded, resolved.output_tensors))
    return replace(network, resolved=replace(resolved, input_tensors=inputs, output_tensors=outputs))


def _recorded(states: Mapping[str, TensorRepresentation], tensor: ResolvedTensor) -> ResolvedTensor:
    """The tensor with T as the file recorded it, where it is a state. Raises ModelFileError where that does not fit."""
    rep = states.get(f"{tensor.io} {tensor.index}")
    if tensor.representation is not None or rep is None:
        return tensor
    if rep.shape != tuple(tensor.shape):
        facts = f"its record of {tensor.where} has the sizes {list(rep.shape)}, not {list(tensor.shape)}"
        raise ModelFileError("ONNX file", facts, "leave --input-shape out: states are of the recorded size")
    return replace(tensor, representation=rep)


def judge_by_running(
    network: Network, module: OnnxNetwork, samples: int, real: Sequence[Call], tolerance: float | None
) -> tuple[NumericVerdict, NetworkMirror]:
    """The numeric verdict in the file's own precision. Raises UnsupportedError where T on a state is not known.

    The bound is that of any network, what the file enlarges of rounding in its own precision included, but never so
    wide that a file of very many ops would pass whatever it computes.
    """
    resolved = network.resolved
    mirror = mirror_from(resolved, resolved.inputs, resolved.outputs, {}, network.around)
    frames = max((tensor.shape[axis] for tensor in resolved.input_tensors for _, axis in tensor.free_axes), default=1)
    depth = module.depth(frames) + mirror.is_affine  # one step more for c + R (x - c)
    written = numeric.Written(cache(module.moved), _COARSEST.get(module.stored, 1e-2))
    run = partial(
        numeric.judge, module, mirror, network.args, network.kwargs, tolerance=tolerance, depth=depth, written=written
    )
    try:
        verdict = run(real=real, samples=samples, batches=batch_sizes(network))
        # `numeric.judge` takes 8 inputs of the user's: the others in further verdicts, up to the first that fails.
        for start in range(numeric.REAL, len(real[:MOST]), numeric.REAL):
            if not verdict.passed:
                break
            more = run(real=real[start : start + numeric.REAL], samples=0, batches=(), strides=False)
            verdict = replace(verdict if more.passed else more, samples=verdict.samples + more.samples)
    except RepresentationSizeError as error:
        raise ModelFileError(
            "ONNX file", error.facts, "give --skeleton, or --input-shape for its open sizes"
        ) from error
    note = f"run by onnxruntime in {verdict.dtype}, the precision of the file"
    return replace(verdict, notes=(*verdict.notes, note)), mirror
