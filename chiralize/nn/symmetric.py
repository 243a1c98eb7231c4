"""How far stored weights are from what the mirror leaves alone, beside what was said of them when they were made.

`training` projects by this after every step; `commands` asks it whether stored weights are symmetric still.
Weights in blocks are left out: every value of theirs is a symmetric weight.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chiralize.nn._module import ROUNDING, ChiralModule
from chiralize.problem.earlier import symmetric_under
from chiralize.symmetry import reynolds
from chiralize.symmetry.representation import TensorRepresentation


@dataclass(frozen=True)
class Weights:
    """The tensors of a module that the mirror acts on, by name, and how.

    hidden: representation of every one.  exchanged: those that the mirror takes to another one, and that one's name.
    others: representations under further mirrors, which commute with it.
    """

    tensors: Mapping[str, Tensor]
    hidden: Mapping[str, TensorRepresentation]
    exchanged: Mapping[str, str]
    others: Sequence[Mapping[str, TensorRepresentation]] = ()

    @staticmethod
    def of(
        module: nn.Module,
        hidden: Mapping[str, TensorRepresentation],
        exchanged: Mapping[str, str],
        others: Sequence[Mapping[str, TensorRepresentation]] = (),
    ) -> Weights:
        """Those of a module which are not in blocks: blocks are symmetric whatever they hold."""
        tensors = tensors_by_name(module)
        dense = {name: rep for name, rep in hidden.items() if name in tensors and not in_blocks(module, name)}
        return Weights(tensors, dense, exchanged, others)

    def projected(self) -> dict[str, Tensor]:
        """The nearest weights that every mirror leaves alone, by name."""
        nearest: dict[str, Tensor] = {}
        for name, rep in self.hidden.items():
            partner = self.tensors[self.exchanged.get(name, name)]
            projected = reynolds.project(self.tensors[name], rep, partner)
            nearest[name] = symmetric_under(projected, [other[name] for other in self.others])
        return nearest

    def project(self) -> None:
        """Put them in the place of the weights."""
        with torch.no_grad():
            for name, value in self.projected().items():  # all at once: a partner is projected from its old value, too
                self.tensors[name].copy_(value)

    def asymmetric(self) -> dict[str, float]:
        """|W - P(W)| / |W| of every weight of which it is beyond rounding, by name."""
        apart: dict[str, float] = {}
        with torch.no_grad():
            for name, value in self.projected().items():
                tensor = self.tensors[name]
                if not tensor.is_floating_point() or tensor.is_meta:
                    continue
                distance = reynolds.moved(tensor, value)
                if distance > ROUNDING * torch.finfo(tensor.dtype).eps:
                    apart[name] = distance
        return apart


def in_blocks(module: nn.Module, name: str) -> bool:
    """Whether this weight belongs to a layer of `chiralize.nn`, which keeps it symmetric itself."""
    part: object = module
    for step in name.split("."):
        if isinstance(part, ChiralModule):
            return True
        part = getattr(part, step, None)
    return False


def are_computed(tensors: Container[str], hidden: Iterable[str], form: str) -> set[str]:
    """Names of dense weights that a graph with blocks computes from them, so that it does not hold them itself.

    A passport may describe `fc.weight` where the file holds `fc.weight_even` and `fc.weight_odd`: it is computed,
    not lost.
    tensors: names of what it holds.  hidden: names of what its passport describes.  form: of the passport.
    """
    if form not in ("blocks", "fused"):
        return set()
    in_parts = {name for name in hidden if name in tensors and name.endswith(("_even", "_odd"))}
    # All paths above a block: a recurrent layer has its blocks in parts, `lstm.ih_l0.weight_even`.
    layers = {name[:stop] for name in in_parts for stop, letter in enumerate(name) if letter == "."}
    return {name for name in hidden if name not in tensors and name.rpartition(".")[0] in layers}


def tensors_by_name(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by every name that they have."""
    parameters = module.named_parameters(remove_duplicate=False)
    return dict(parameters) | dict(module.named_buffers(remove_duplicate=False))
