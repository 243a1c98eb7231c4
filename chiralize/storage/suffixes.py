"""Kinds of files that results are written to, by their suffix. Imports nothing: the command line starts with it."""

from __future__ import annotations

SUFFIXES = (".pt2", ".safetensors", ".pt", ".onnx")
GRAPHS = (".pt2", ".onnx")
"""Those that hold the whole network; the others hold its weights."""
OF_MODELS = (".pt2", ".pt", ".pth", ".ckpt", ".onnx", ".safetensors", ".bin", ".tar", ".zip", ".npz", ".pkl")
"""How names of files end that a network can come from. Only for messages: the content decides."""
