"""Layers of a module replaced by their twins, on a copy: class, methods and every other part stay.

Forward goes on calling `self.fc(x)`, and gets a layer that commutes with T by construction. So a layer may be
replaced only if all that reads its weights is its own forward: hooks, weights shared with another layer, or code
that reads `self.fc.weight` itself would meet something else. The captured graph shows all readers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from torch import nn

from chiralize.errors import AsymmetricWeightError
from chiralize.graph.copies import copied
from chiralize.graph.model import CapturedModel, Node
from chiralize.nn import ChiralModule
from chiralize.nn._module import prefixed
from chiralize.nn.deploy.twins import TWINS, twin_of
from chiralize.symmetry.representation import TensorRepresentation

DENSE_IS_FASTER, NO_BLOCKS = "dense is faster at this size", "its weights have no blocks under this mirror"
HOLDS_AN_OFFSET = "its weights make up for where coordinates are mirrored, and are not symmetric themselves"
Wanted = Callable[[nn.Module, Sequence[Node], Callable[[], "ChiralModule | None"]], bool]
_OPS: Mapping[type[nn.Module], str] = {
    nn.Linear: "linear",
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.ConvTranspose2d: "conv_transpose2d",
    nn.BatchNorm1d: "batch_norm",
    nn.BatchNorm2d: "batch_norm",
    nn.LayerNorm: "layer_norm",
    nn.LSTM: "lstm",
    nn.GRU: "gru",
}
"""The op that reads the weights of a layer; those of attention are read by several."""


@dataclass(frozen=True)
class Swapped:
    """A module with twins in place of layers.

    layers: paths of those that have become twins.  dense: of those that could have, but stay, with the reason.
    hidden: how T acts on every weight of the result.
    """

    module: nn.Module
    layers: tuple[str, ...]
    dense: Mapping[str, str]
    hidden: Mapping[str, TensorRepresentation]


def swapped(
    module: nn.Module, captured: CapturedModel, hidden: Mapping[str, TensorRepresentation], wanted: Wanted
) -> Swapped:
    """A copy of the module whose layers hold blocks where they can.

    captured: the module's graph.  hidden: how every weight transforms, by name.  wanted: whether a layer is to give way
    to its twin, given the ops that run it.
    """
    result = copied(module)
    graph = _Graph(captured)
    paths: dict[int, list[str]] = {}
    for path, layer in result.named_modules(remove_duplicate=False):
        paths.setdefault(id(layer), []).append(path)
    done: list[str] = []
    dense: dict[str, str] = {}
    for path, layer in list(result.named_modules()):
        if type(layer) not in TWINS or not path:
            continue
        # Under all of its names, so that a shared layer stays shared.
        names = paths[id(layer)]
        ops = graph.ops(layer, names)
        if isinstance(ops, str):
            dense[path] = ops
            continue
        reps = {name: hidden[f"{path}.{name}"] for name in layer.state_dict() if f"{path}.{name}" in hidden}
        twin = chosen(layer, reps, ops, wanted)
        if isinstance(twin, str):
            dense[path] = twin
        else:
            for name in names:
                parent, _, last = name.rpartition(".")
                setattr(result.get_submodule(parent), last, twin)
            done.append(path)
    return Swapped(result, tuple(done), dense, representations(result, hidden))


def chosen(
    layer: nn.Module, reps: Mapping[str, TensorRepresentation], ops: Sequence[Node], wanted: Wanted
) -> ChiralModule | str:
    """The twin of a layer, made only if it is asked for; or why the layer stays."""
    twin = cache(lambda: twin_of(layer, reps))
    try:
        if wanted(layer, ops, twin):
            return twin() or NO_BLOCKS
        return DENSE_IS_FASTER
    except AsymmetricWeightError:
        return HOLDS_AN_OFFSET


def representations(module: nn.Module, dense: Mapping[str, TensorRepresentation]) -> dict[str, TensorRepresentation]:
    """How T acts on the weights of a module with twins: not at all on their blocks, as given on the others.

    The dense weights that twins make of their blocks are there as well, under their names in the torch layers.
    """
    names = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    reps = {name: rep for name, rep in dense.items() if name in names}
    for path, layer in module.named_modules():
        if isinstance(layer, ChiralModule):
            for name, tensor in (*layer.named_parameters(), *layer.named_buffers()):
                if tensor.is_floating_point():
                    reps[f"{path}.{name}"] = TensorRepresentation.trivial(tensor.shape)
            reps |= prefixed(f"{path}.", layer.dense_representations())
    return reps


class _Graph:
    """The ops that read the weights of a module."""

    def __init__(self, captured: CapturedModel) -> None:
        leaves = captured.leaves
        self.names = {name: leaf.names for leaf in leaves.values() for name in leaf.names}
        self.readers: dict[str, list[Node]] = {}
        for node in captured.nodes:
            for ref in node.reads:
                for name in leaves[ref.name].names if ref.name in leaves else ():
                    self.readers.setdefault(name, []).append(node)

    def ops(self, layer: nn.Module, paths: Sequence[str]) -> list[Node] | str:
        """The ops that run a layer, which has these paths, or why it cannot be replaced."""
        if any(getattr(layer, hooks) for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")):
            return "it has hooks"
        ops: dict[str, Node] = {}
        for name in layer.state_dict():
            # Tied to a weight outside of this layer.
            others = {*self.names.get(f"{paths[0]}.{name}", ())} - {f"{path}.{name}" for path in paths}
            if others:
                return f"it shares its {name} with {min(others)}"
            for node in self.readers.get(f"{paths[0]}.{name}", []):
                if not any(node.where.module == path or node.where.module.startswith(f"{path}.") for path in paths):
                    return f"its {name} is read outside of it"
                op = node.target.split(".")[1]
                # The layer's own code, but not the op that its twin replaces.
                if op != _OPS.get(type(layer), op):
                    return f"its {name} is read by {node.target}"
                ops[node.name] = node
        return list(ops.values()) or "nothing runs it"
