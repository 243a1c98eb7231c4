"""Edits on copies of the user's network: symmetric weights in place of the old ones, tanh in place of ReLU.

Modules and exported programs alike; the network that the user handed over is never written to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from chiralize.errors import InternalError
from chiralize.graph.execution import out_of_place
from chiralize.graph.model import CapturedModel, Leaf, LeafKind, Where
from chiralize.graph.run import copied, replaced
from chiralize.symmetry import action
from chiralize.symmetry.representation import TensorRepresentation

_RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU)
_ACTIVATIONS = (*_RECTIFIERS, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.CELU, nn.SELU, nn.Hardswish)


@dataclass(frozen=True)
class Moved:
    """How far a weight was moved: relative distance |W - P(W)| / |W|, and how many entries had to become zero."""

    name: str
    kind: LeafKind
    distance: float
    zeroed: int
    where: Where


def symmetric_weights(
    captured: CapturedModel, representations: Mapping[str, TensorRepresentation], partners: Mapping[str, str]
) -> tuple[dict[str, Tensor], tuple[Moved, ...]]:
    """Every leaf that has a representation, projected onto its symmetric subspace: by name, and how far it was moved.

    The values that states start from are projected too: a roll-out has to start in a state that T leaves unchanged.
    partners: by leaf, the other leaf that the mirror takes it to.
    """
    values: dict[str, Tensor] = {}
    distances: list[Moved] = []
    for leaf in captured.leaves.values():
        if leaf.name not in representations:
            continue
        rep = representations[leaf.name]
        partner, zeroed = partners.get(leaf.name), 0
        other = captured.leaves[partner].tensor.detach() if partner else None
        values[leaf.names[0]] = action.project(leaf.tensor.detach(), rep, other)
        # Entries that T negates at their place can only be zero; without signs there are none.
        if other is None and (rep.sign < 0 or not rep.is_sign_free):
            zeroed = int((action.forced_zero(rep) & (leaf.tensor != 0).cpu()).sum())
        distances.append(moved(leaf, values[leaf.names[0]], zeroed))
        # Tied weights get one value under all of their names.
        values.update(dict.fromkeys(leaf.names[1:], values[leaf.names[0]]))
    return values, tuple(distances)


def moved(leaf: Leaf, value: Tensor, zeroed: int = 0) -> Moved:
    """How far a weight is from its old value. zeroed: how many entries had to become zero."""
    return Moved(leaf.names[0], leaf.kind, action.moved(leaf.tensor.detach(), value), zeroed, leaf.where)


# ---- weights --------------------------------------------------------------------------------------------------
def with_weights(module: nn.Module, values: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the module with some tensors replaced, by name. Raises InternalError for unknown names."""
    return _holding(module, tensors_of, values, "module")


def program_with_weights(program: ExportedProgram, values: Mapping[str, Tensor]) -> ExportedProgram:
    """A copy of an exported program with some tensors replaced, by name. Raises InternalError for unknown names."""
    return _named_as(program, _holding(program, _stored_in, values, "program"))


def program_of(module: nn.Module, program: ExportedProgram) -> ExportedProgram:
    """A copy of a program on the tensors of a module, which are shared. program: exported from a copy of the module."""
    held = tensors_of(module)
    shared = {old: held[name] for name, old in _stored_in(program).items() if isinstance(held.get(name), Tensor)}
    return _named_as(program, replaced(program, shared))


def tensors_of(module: nn.Module) -> Mapping[str, Any]:
    """Parameters, buffers and attributes that are tensors, of a module and its submodules, by name."""
    tensors: dict[str, Tensor] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for name, value in vars(part).items():
            if isinstance(value, Tensor):
                tensors[f"{path}.{name}" if path else name] = value
    tensors |= module.named_parameters(remove_duplicate=False)
    tensors |= module.named_buffers(remove_duplicate=False)
    return tensors


def _stored_in(program: ExportedProgram) -> Mapping[str, Any]:
    """The tensors of a program by their keys: constants, parameters and buffers."""
    return {**program.constants, **program.state_dict}


def _holding(
    holder: Any, tensors_of: Callable[[Any], Mapping[str, Any]], values: Mapping[str, Tensor], kind: str
) -> Any:
    """A copy with tensors replaced while it is copied, so that no third version of any is in memory."""
    old = tensors_of(holder)
    for name in values:
        if not isinstance(old.get(name), Tensor):
            facts = f"the graph names a tensor that the {kind} does not have"
            raise InternalError(name, facts, "report this model")
    result = replaced(holder, {old[name]: _laid_out_as(old[name], value) for name, value in values.items()})
    new = tensors_of(result)
    with torch.no_grad():
        for name, value in values.items():
            if new[name].data_ptr() != value.data_ptr():  # it copies its tensors in a way of its own
                new[name].copy_(value)
    return result


def _laid_out_as(old: Tensor, value: Tensor) -> Tensor:
    """The values in the dtype, on the device and with the strides of the tensor that they replace."""
    if (value.dtype, value.device, value.stride()) == (old.dtype, old.device, old.stride()):
        return value
    return torch.empty_like(old).copy_(value)


def _named_as(program: ExportedProgram, result: ExportedProgram) -> ExportedProgram:
    """A copy with the names of its original, put back in place: copying renames `input` and other Python builtins."""
    for old, new in zip(program.graph.nodes, result.graph.nodes, strict=True):
        new.name = old.name
        if old.op == "placeholder":
            new.target = old.target
    result.graph_module.recompile()
    return result


# ---- activations and modes ------------------------------------------------------------------------------------
def with_tanh(module: nn.Module) -> tuple[nn.Module, int]:
    """A copy with every activation module replaced by tanh, and how many there were."""
    result = copied(module)
    # By exact type: a subclass may compute something else. Activations that are called as functions stay.
    count = 0
    for parent in list(result.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in _ACTIVATIONS:
                setattr(parent, name, nn.Tanh())
                count += 1
    return result, count


def program_with_tanh(program: ExportedProgram, activations: Collection[str]) -> tuple[ExportedProgram, int]:
    """A copy of an exported program with every activation op replaced by tanh, and how many there were.

    activations: the names of those ops; one that works in place counts as the op that does not.
    """
    result = _named_as(program, replaced(program, {}))
    count = 0
    for node in result.graph.nodes:
        if node.op == "call_function" and out_of_place(str(node.target)) in activations:
            node.target = torch.ops.aten.tanh.default
            node.args, node.kwargs = node.args[:1], {}
            count += 1
    result.graph_module.recompile()
    return result, count


def with_modes(module: nn.Module) -> nn.Module:
    """The module itself, its graphs in eval mode; from now on `train()` and `eval()` leave them unchanged.

    In the graphs that torch.export makes both raise, and so they do in every module that holds one.
    """
    for part in module.modules():
        if isinstance(part, torch.fx.GraphModule):
            vars(part).pop("train", None)
            vars(part).pop("eval", None)
            part.eval()
    return module
