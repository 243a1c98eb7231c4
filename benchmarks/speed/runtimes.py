"""Networks as other runtimes call them: compiled by torch.compile, and in onnxruntime."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Runs = dict[str, Callable[[], object]]


def eager(nets: Mapping[str, nn.Module], example: tuple[Tensor, ...]) -> Runs:
    """As they are."""
    return {name: _forward(net, example) for name, net in nets.items()}


def compiled(nets: Mapping[str, nn.Module], example: tuple[Tensor, ...]) -> Runs:
    """Each by torch.compile with its default backend, for this size alone; the first call compiles."""
    torch._dynamo.reset()
    runs = {name: _forward(torch.compile(net, dynamic=False), example) for name, net in nets.items()}  # type: ignore[arg-type]
    for run in runs.values():
        run()
    return runs


def served(nets: Mapping[str, nn.Module], example: tuple[Tensor, ...]) -> Runs:
    """Each as ONNX in onnxruntime, on as many threads as torch has. Raises ImportError without the extra `onnx`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    runs: Runs = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, net in nets.items():
            path = Path(folder, f"{len(runs)}.onnx")
            torch.onnx.export(net, example, path, dynamo=True, verbose=False)
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            feed = {own.name: part.numpy() for own, part in zip(session.get_inputs(), example, strict=True)}
            runs[name] = _session(session, feed)
    return runs


RUNTIMES = {"forward": eager, "compiled": compiled, "onnxruntime": served}


def _forward(net: Callable[..., object], example: tuple[Tensor, ...]) -> Callable[[], object]:
    def run() -> object:
        with torch.inference_mode():
            return net(*example)

    return run


def _session(session: Any, feed: dict[str, Any]) -> Callable[[], object]:
    return lambda: session.run(None, feed)
