"""What is faster on this machine, by timing it once: a layer in blocks, and a whole network whose layers hold them.

The model of cost (`speed`) knows ordinary processors, and is wrong on others. So a layer is timed beside its twin at
the sizes that it is used at, where it will run, and afterwards the network in blocks beside the dense one on its
example. Every ratio is measured once on a machine (`chiralize.nn.timings`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, fx, nn

from chiralize.errors.words import when
from chiralize.graph import processes
from chiralize.graph.copies import copied
from chiralize.graph.devices import moved, on
from chiralize.graph.model import CapturedModel, Node
from chiralize.graph.running import Arguments
from chiralize.nn import ChiralModule, MultiheadAttention, _private
from chiralize.nn.butterfly import Butterfly
from chiralize.nn.deploy.speed import Inputs, Twin, inputs_of, is_faster
from chiralize.nn.maps import ChiralMap
from chiralize.nn.timings import CPU, is_known, is_off, measured

MARGIN = 0.97
"""Share of the dense layer's time that its twin must take. What is near one changes with the hour."""
_NARROW = 96
"""Channels below which a convolution stays: it waits for memory, and gains or loses a quarter from hour to hour."""
LONGEST = 1.0
"""Seconds that the layers of one network are timed for; those that are left then are chosen by the model."""
_SETTINGS = (
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
    "num_heads",
    "hidden_size",
    "num_layers",
    "batch_first",
    "bidirectional",
    "proj_size",
)
"""Attributes of torch's layers on which their time depends, in addition to the sizes of their weights."""


class Timing:
    """Chooses layers for blocks by timing them, and by the model of cost where nothing is to be timed.

    device: where the network will run; by default where each layer lies.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.spent, self.device = 0.0, device

    def __call__(self, layer: nn.Module, ops: Sequence[Node], twin: Twin, times: float = 1.0) -> bool:
        """Whether the layer's twin is faster in the ops that run the layer. times: as many rows as they were seen with.

        A layer in training is timed forward and backward. Of several processes the first one decides.
        """
        return bool(processes.of_first(self._is_faster(layer, ops, twin, times)))

    def _is_faster(self, layer: nn.Module, ops: Sequence[Node], twin: Twin, times: float) -> bool:
        """The decision of this process, measured or by the model."""
        # From cheap to dear: a rule, the model where nothing can be timed, a ratio that is known, a measurement.
        if _is_narrow(layer) and not is_off():
            return False
        inputs = [] if is_off() else inputs_of(layer, ops, times)
        blocks = twin() if inputs else None
        if blocks is None:
            return is_faster(layer, ops, twin, times=times)
        device = self.device or next(layer.parameters()).device
        name = _name(layer, blocks, inputs)
        # A network of many different layers is not timed for minutes.
        if self.spent > LONGEST and not is_known(name, device):
            return is_faster(layer, ops, twin, times=times)
        started = perf_counter()
        share = measured(name, partial(_runs, layer, blocks, inputs, device), None, device)
        self.spent += perf_counter() - started
        return share < MARGIN


def takes_longer(
    dense: nn.Module,
    blocks: nn.Module,
    captured: CapturedModel,
    call: tuple[tuple[Any, ...], dict[str, Any]],
    device: torch.device = CPU,
) -> float | None:
    """The share of the dense network's time that the one in blocks takes on a call, where that is more than one.

    Both networks and the call are on the CPU.  captured: the graph of the dense one.  device: where they will run.
    None too where nothing is to be timed: it is switched off, or the networks are in training.
    """
    if is_off() or not (_is_on_cpu(dense) and _is_on_cpu(blocks)) or _is_trained(dense) or _is_trained(blocks):
        return None

    def runs() -> dict[str, Callable[[], object]]:
        """Both, on the device."""
        first, second = _at(device, dense), _at(device, blocks)
        args, kwargs = on(device, call)
        return {"dense": lambda: first(*args, **kwargs), "blocks": lambda: second(*args, **kwargs)}

    ways = [type(part).__name__ for part in blocks.modules()]
    kinds = [(node.target, node.shapes) for node in captured.nodes]
    sizes = [tensor.shape for tensor in Arguments.of(*call).tensors]
    # What is run, on what, in which layers, by which kernels: networks of one digest take the same time.
    digest = hashlib.sha256(repr((kinds, sizes, ways, _private.are_on())).encode()).hexdigest()[:16]
    share = processes.of_first(measured(f"network {digest}", runs, None, device))
    if share > 1.0:
        return share
    return None


def _is_narrow(layer: nn.Module) -> bool:
    """Whether a layer is a convolution on few channels."""
    return isinstance(layer, nn.Conv1d | nn.Conv2d) and max(layer.weight.shape[:2]) < _NARROW


def _at(device: torch.device, module: nn.Module) -> nn.Module:
    """The module itself where it lies on the device, else a copy there."""
    lies_there = all(tensor.device == device for tensor in module.parameters())
    if lies_there:
        return module
    return moved(copied(module), device)


def _is_trained(module: nn.Module) -> bool:
    """Whether a network is in training. A graph's ops were chosen when it was exported, whatever its flag says."""
    return module.training and not isinstance(module, fx.GraphModule)


def _is_on_cpu(module: nn.Module) -> bool:
    """Whether all parameters lie on the CPU."""
    return all(tensor.device.type == "cpu" for tensor in module.parameters())


def _runs(
    layer: nn.Module, blocks: nn.Module, inputs: Sequence[Inputs], device: torch.device
) -> dict[str, Callable[[], object]]:
    """Both on all of the inputs, the layer first; forward and backward where they are in training."""
    like = next(layer.parameters())
    drawn = partial(torch.randn, dtype=like.dtype, device=device)
    calls = [list(map(drawn, shapes)) for shapes in inputs]
    layer, blocks = _at(device, layer), _at(device, blocks)

    def run(module: nn.Module) -> Callable[[], object]:
        """A call of the module on each of them."""
        each = _step if layer.training else _forward
        return lambda: [each(module, call) for call in calls]

    return {"dense": run(layer), "blocks": run(blocks)}


def _forward(module: nn.Module, call: Sequence[Tensor]) -> Tensor:
    """The answer; of attention to its one input."""
    if isinstance(module, nn.MultiheadAttention | MultiheadAttention):
        return module(*call, *call, *call, need_weights=False)[0]
    answer = module(*call)
    if isinstance(answer, tuple):
        return answer[0]
    return answer


def _step(module: nn.Module, call: Sequence[Tensor]) -> object:
    """Forward and backward; gradients are written nowhere."""
    with torch.enable_grad():
        inputs = [x.requires_grad_() for x in call]
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        return torch.autograd.grad(_forward(module, inputs).sum(), [*inputs, *weights], allow_unused=True)


def _name(layer: Any, blocks: ChiralModule, inputs: Sequence[Inputs]) -> str:
    """The name of a ratio. It has everything on which the times of the two depend."""
    settings = [str(getattr(layer, name)) for name in _SETTINGS if hasattr(layer, name)]
    weight = next(layer.parameters())
    kind = f"{type(layer).__name__} {tuple(weight.shape)} {str(weight.dtype).removeprefix('torch.')}"
    shapes = [str(shape) for (shape,) in inputs]
    bases = (blocks.into, blocks.out) if isinstance(blocks, ChiralMap) else _bases(blocks)
    lies = " to ".join(map(_kind_of, bases))
    ends = when(_private.are_on(), ", private") + when(layer.training, ", in training")
    return f"{kind} {' '.join(settings)} on {' and '.join(shapes)}, {lies}{ends}".replace("  ", " ")


def _bases(blocks: ChiralModule) -> list[Butterfly]:
    """The butterflies of its maps, without those that take their axis apart in the same way as another."""
    butterflies = [part for part in blocks.modules() if isinstance(part, Butterfly)]
    return list({_kind_of(basis): basis for basis in butterflies}.values())


def _kind_of(basis: Any) -> str:
    """How a butterfly takes its axis apart."""
    action = basis.representation.action
    if basis.in_halves:
        return f"{basis.runs} runs"
    return f"{len(action.pairs)} pairs of {action.size}"
