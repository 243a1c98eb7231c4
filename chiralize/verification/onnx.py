"""ONNX files are judged by running them: there is no graph of torch ops to prove anything on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from chiralize.body.tensors.resolution import ResolvedTensor
from chiralize.errors import ModelFileError, RepresentationSizeError
from chiralize.graph.mirror import Mirror
from chiralize.graph.running import Call
from chiralize.problem.mirror import mirror_from
from chiralize.problem.network import Network
from chiralize.storage.onnx_network import OnnxNetwork, recorded_call
from chiralize.verification import numeric
from chiralize.verification.verdicts import NumericVerdict

_COARSEST = {torch.float64: 1e-8, torch.float32: 1e-3}


def with_states(network: Network, module: torch.nn.Module) -> Network:
    """The network with T on its states as the file recorded it. Raises ModelFileError where that does not fit."""
    record = recorded_call(module) if isinstance(module, OnnxNetwork) else None
    if record is None or not record.states:
        return network
    resolved = network.resolved

    def known(own: ResolvedTensor) -> ResolvedTensor:
        rep = record.states.get(f"{own.io} {own.index}") if own.representation is None else None
        if rep is not None and tuple(axis.size for axis in rep.axes) != tuple(own.shape):
            facts = f"its record of {own.where} has the sizes {[axis.size for axis in rep.axes]}, not {list(own.shape)}"
            raise ModelFileError("ONNX file", facts, "leave --input-shape out: states are of the recorded size")
        return own if rep is None else replace(own, representation=rep)

    inputs = tuple(known(own) for own in resolved.input_tensors)
    outputs = tuple(known(own) for own in resolved.output_tensors)
    return replace(network, resolved=replace(resolved, input_tensors=inputs, output_tensors=outputs))


def judge_by_running(
    network: Network, module: OnnxNetwork, samples: int, real: Sequence[Call], tolerance: float | None
) -> tuple[NumericVerdict, Mirror]:
    """The numeric verdict in the file's own precision. Raises UnsupportedError where T on a state is not known.

    The bound is that of any network, but never so wide that a file of very many ops would pass whatever it computes.
    """
    resolved = network.resolved
    mirror = mirror_from(resolved, resolved.inputs, resolved.outputs, {}, network.around)
    frames = max((own.shape[axis] for own in resolved.input_tensors for _, axis in own.free_axes), default=1)
    relative = 16 * torch.finfo(module.stored).eps * (module.depth(frames) + mirror.is_affine)
    relative = min(relative, _COARSEST.get(module.stored, 1e-2))
    try:
        found = numeric.judge(
            module, mirror, network.args, network.kwargs, real=real, samples=samples,
            tolerance=relative if tolerance is None else tolerance, batches=network.batches,
        )  # fmt: skip
    except RepresentationSizeError as error:
        raise ModelFileError(
            "ONNX file", error.facts, "give --skeleton, or --input-shape for its open sizes"
        ) from error
    note = f"run by onnxruntime in {found.dtype}, the precision of the file"
    notes = tuple(note if text.startswith("judged in ") else text for text in found.notes)
    return replace(found, notes=notes if note in notes else (*notes, note)), mirror
