"""Two networks in one runtime: where one of them is an ONNX file, onnxruntime runs both.

A ratio of times says what the conversion costs only where one program runs both networks. `bench` calls
`in_one_runtime`: of a `lifter.onnx` and a `chiral.pt2` the second is exported into memory, run once beside torch to see
that it is the same network, and timed in onnxruntime as the first is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from chiralize.errors import ChiralizeError
from chiralize.graph.running import results
from chiralize.problem.network import Network
from chiralize.storage.onnx_export import exported_model
from chiralize.storage.onnx_network import OnnxNetwork

TORCH = "torch"
_NEAR = 1e-3
"""Of the largest answer: what runs another network than this may also take another time."""


def runs_in_onnxruntime(network: Network) -> bool:
    """Whether onnxruntime runs the network."""
    return isinstance(network.module, OnnxNetwork)


def runtime_of(network: Network) -> str:
    """What runs the network, with its version."""
    if not runs_in_onnxruntime(network):
        return f"{TORCH} {torch.__version__}"
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def parameters_of(network: Network) -> int:
    """How many numbers the network learned, of an ONNX file those of its initializers."""
    if isinstance(network.module, OnnxNetwork):
        return network.module.parameter_count
    return network.parameter_count


def in_one_runtime(first: Network, second: Network) -> tuple[Network, Network]:
    """Both networks, for onnxruntime where one of them is for it; as they are where that cannot be."""
    if runs_in_onnxruntime(first) == runs_in_onnxruntime(second):
        return first, second
    if runs_in_onnxruntime(first):
        return first, _exported(second) or second
    return _exported(first) or first, second


def _exported(network: Network) -> Network | None:
    """The network as an ONNX graph in memory; None where there is none, or where it answers otherwise than torch."""
    if network.program is None:
        return None
    try:
        module = OnnxNetwork(exported_model(network.program, Path(TORCH)), TORCH)
    except ChiralizeError:
        return None
    # An exporter may write another network than it was given; its times would be those of something else.
    if not _answers_alike(network, module):
        return None
    return replace(network, module=module, program=None, captured=None)


def _answers_alike(network: Network, module: OnnxNetwork) -> bool:
    """Whether onnxruntime takes the examples and answers as torch does."""
    args, kwargs = network.args, dict(network.kwargs)
    try:
        with torch.inference_mode():
            expected, answers = results(network.module(*args, **kwargs))[0], results(module(*args, **kwargs))[0]
    except Exception:  # noqa: BLE001 - of a network or a runtime, in whatever way it says so
        return False
    if len(expected) != len(answers):
        return False
    for one, other in zip(expected, answers, strict=True):
        if one.shape != other.shape:
            return False
        room = _NEAR * float(one.abs().max()) if one.numel() else 0.0
        if not torch.allclose(one.double(), other.double(), rtol=0, atol=room):
            return False
    return True
