"""What is faster on this machine, by timing it once: a layer in blocks, and a whole network whose layers hold them.

The model of cost (`speed`) knows ordinary processors, and is wrong on others. So a layer whose map is a product or a
convolution is timed beside its twin at the sizes that it is used at, and afterwards the network in blocks beside the
dense one on its example. Every ratio is measured once on a machine (`chiralize.nn.timings`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from torch import Tensor, nn

from chiralize.graph.model import CapturedModel, Node
from chiralize.nn import _private
from chiralize.nn.deploy.speed import Twin, input_like, is_faster, maps_of
from chiralize.nn.maps import ChiralMap
from chiralize.nn.timings import is_known, is_off, measured

MARGIN = 0.97
"""Share of the dense layer's time that its twin must take. What is near one changes with the hour."""
LONGEST = 1.0
"""Seconds that the layers of one network are timed for; those that are left then are chosen by the model."""


class Timing:
    """Chooses layers for blocks by timing them, and by the model of cost where nothing is to be timed."""

    def __init__(self) -> None:
        self.spent = 0.0

    def __call__(self, layer: nn.Module, ops: Sequence[Node], twin: Twin, times: float = 1.0) -> bool:
        """Whether the layer's twin is faster in the ops that run the layer. times: as many rows as they were seen with.

        Attention and recurrent layers are chosen by the model: their other ops take their share.
        """
        nodes = maps_of(layer, ops)
        if is_off() or not nodes or isinstance(layer, nn.MultiheadAttention) or not _is_on_cpu(layer):
            return is_faster(layer, ops, twin, times=times)
        blocks = twin()
        if not isinstance(blocks, ChiralMap):
            return is_faster(layer, ops, twin, times=times)
        shapes = [tuple(input_like(layer, node, times, "meta").shape) for node in nodes]
        name = _name(layer, blocks, shapes)
        if self.spent > LONGEST and not is_known(name):
            return is_faster(layer, ops, twin, times=times)
        started = perf_counter()
        share = measured(name, lambda: _runs(layer, blocks, [input_like(layer, node, times) for node in nodes]))
        self.spent += perf_counter() - started
        return share < MARGIN


def takes_longer(
    dense: nn.Module, blocks: nn.Module, captured: CapturedModel, call: tuple[tuple[Any, ...], dict[str, Any]]
) -> float | None:
    """The share of the dense network's time that the one in blocks takes on a call, where that is more than one.

    captured: the graph of the dense one.  None too where nothing is to be timed: it is switched off, or the networks
    are in training, or on another device.
    """
    if is_off() or not (_is_on_cpu(dense) and _is_on_cpu(blocks)) or dense.training or blocks.training:
        return None
    args, kwargs = call
    ways = [type(part).__name__ for part in blocks.modules()]
    kinds = [(node.target, node.shapes) for node in captured.nodes]
    digest = hashlib.sha256(repr((kinds, ways, _private.are_on())).encode()).hexdigest()[:16]
    share = measured(
        f"network {digest}",
        lambda: {"dense": lambda: dense(*args, **kwargs), "blocks": lambda: blocks(*args, **kwargs)},
    )
    return share if share > 1.0 else None


def _is_on_cpu(module: nn.Module) -> bool:
    return all(tensor.device.type == "cpu" for tensor in module.parameters())


def _runs(layer: nn.Module, blocks: nn.Module, inputs: Sequence[Tensor]) -> dict[str, Callable[[], object]]:
    """Both on all of the inputs, the layer first."""

    def run(module: nn.Module) -> Callable[[], object]:
        """A call of the module on each of them."""
        return lambda: [module(x) for x in inputs]

    return {"dense": run(layer), "blocks": run(blocks)}


def _name(layer: Any, blocks: ChiralMap, shapes: Sequence[tuple[int, ...]]) -> str:
    """Of the ratio: everything that the time of the two depends on."""
    names = ("stride", "padding", "dilation", "groups", "padding_mode")
    settings = [str(getattr(layer, name)) for name in names if hasattr(layer, name)]
    weight = layer.weight
    kind = f"{type(layer).__name__} {tuple(weight.shape)} {str(weight.dtype).removeprefix('torch.')}"
    lies = f"{_kind_of(blocks.into)} to {_kind_of(blocks.out)}"
    way = ", private" if _private.are_on() else ""
    return f"{kind} {' '.join(settings)} on {' and '.join(map(str, shapes))}, {lies}{way}".replace("  ", " ")


def _kind_of(basis: Any) -> str:
    """How a butterfly takes its axis apart."""
    action = basis.representation.action
    return f"{basis.runs} runs" if basis.in_halves else f"{len(action.pairs)} pairs of {action.size}"
