"""Blocks for several mirrors at once: linear layers replaced by `nn.several`, in a module or in a graph.

As `swapping` and `graphs` do for one mirror, but for linear layers alone, and without a model of cost: blocks are
taken where they were asked for, or where dense weights have grown. A layer stays dense where some mirror does not
say how it acts on its weight, or where one of the 2^k blocks would be empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import fx, nn

from chiralize.errors import AsymmetricWeightError, MethodUnavailableError, RepresentationSizeError
from chiralize.graph.copies import copied
from chiralize.nn.deploy.form import SHOWN, check_same, first_of, why_fused
from chiralize.nn.deploy.graphs import LINEAR, added, drop_unread, layer_at
from chiralize.nn.deploy.layers import BLOCKS
from chiralize.nn.deploy.plain_calls import plain_call
from chiralize.nn.deploy.swapping import HOLDS_AN_OFFSET, NO_BLOCKS
from chiralize.nn.several import LinearOfSeveral, smallest_block
from chiralize.problem.problem import Problem
from chiralize.problem.result import Draft
from chiralize.symmetry.representation import Representation, TensorRepresentation

Hidden = Mapping[str, TensorRepresentation]
"""How a mirror acts on every weight, by name."""
_EMPTY = "one of its blocks would be empty"


@dataclass(frozen=True)
class Blocks:
    """A module whose linear layers hold blocks. layers: their paths.  dense: of those that stay, with the reason.

    hidden: how every mirror acts on the weights of the result.
    """

    module: nn.Module
    layers: tuple[str, ...]
    dense: Mapping[str, str]
    hidden: tuple[Hidden, ...]


def with_blocks_for_all(module: nn.Module, hidden: Sequence[Hidden]) -> Blocks:
    """A copy of a module, or of a graph, whose linear layers hold a block for every way in which mirrors can act."""
    result = copied(module)
    if isinstance(result, fx.GraphModule):
        layers, dense = _in_graph(result, hidden)
    else:
        layers, dense = _in_module(result, hidden)
    names = {name for name, _ in (*result.named_parameters(), *result.named_buffers())}
    new: list[Hidden] = []
    for representations in hidden:
        # Weights outside of blocks keep the representations that they had.
        stay = {name: rep for name, rep in representations.items() if name in names}
        new.append({**_of_blocks(result), **stay})
    return Blocks(result, tuple(layers), dense, tuple(new))


def formed_for_all(problem: Problem, draft: Draft, hidden: Sequence[Hidden]) -> tuple[Draft, Sequence[Hidden]]:
    """The draft in the form that was asked for, and how every mirror acts on its weights.

    In blocks where that was asked for, or where hidden spaces have other sizes, of which dense weights cost more.
    hidden: how every mirror acts on the draft's weights.  Raises MethodUnavailableError where blocks were asked for and
    there are none.
    """
    request, result = problem.request, draft.converted
    is_asked = request.form in BLOCKS
    # Dense weights of other sizes (doubled spaces) cost more than the original's; blocks bring that back.
    is_worth_it = request.form == "auto" and result.form == "dense" and not request.keeps_sizes
    if not (is_asked or is_worth_it):
        return draft, hidden
    # An average of views has no layers of its own that commute with anything.
    blocks = None if result.is_average else with_blocks_for_all(result.module, hidden)
    if blocks is None or not blocks.layers:
        if blocks is None:
            reasons = []
        else:
            reasons = [f"{name}: {reason}" for name, reason in blocks.dense.items()]
        facts = "; ".join(reasons[:SHOWN]) or f"the result ({result.form}) has no layers of its own that hold blocks"
        if is_asked:
            raise MethodUnavailableError(f"--form {request.form}", facts, "use --form folded, or leave --form out")
        return draft.with_notes(f"dense weights: {facts}"), hidden
    check_same(problem.network, result.module, blocks.module)
    is_graph = isinstance(blocks.module, fx.GraphModule)
    reasons = [f"{name} ({reason})" for name, reason in blocks.dense.items()]
    dense = f"; dense: {first_of(reasons)}" if reasons else ""
    note = f"blocks for every mirror in {len(blocks.layers)} of {len(blocks.layers) + len(reasons)} layers{dense}"
    changed = draft.with_record(module=blocks.module, form="fused" if is_graph else "blocks")
    changed = changed.with_notes(note, *why_fused(problem, is_graph))
    return replace(changed, program=None, graph=None), blocks.hidden


def _of_blocks(module: nn.Module) -> dict[str, TensorRepresentation]:
    """The action of every mirror on the blocks: none."""
    still: dict[str, TensorRepresentation] = {}
    for path, layer in module.named_modules():
        if isinstance(layer, LinearOfSeveral):
            for name, tensor in layer.named_parameters():
                still[f"{path}.{name}"] = TensorRepresentation.trivial(tensor.shape)
    return still


def _in_module(module: nn.Module, hidden: Sequence[Hidden]) -> tuple[list[str], dict[str, str]]:
    """(paths of the layers that were replaced, in place; those that stay, with the reason)."""
    # A layer may be held under several names; its twin takes all of them.
    paths: dict[int, list[str]] = {}
    for path, layer in module.named_modules(remove_duplicate=False):
        paths.setdefault(id(layer), []).append(path)
    done: list[str] = []
    dense: dict[str, str] = {}
    for path, layer in list(module.named_modules()):
        if type(layer) is not nn.Linear or not path:
            continue
        twin = _twin(layer, f"{path}.weight", hidden)
        if isinstance(twin, str):
            dense[path] = twin
            continue
        done.append(path)
        for name in paths[id(layer)]:
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, twin)
    return done, dense


def _in_graph(module: fx.GraphModule, hidden: Sequence[Hidden]) -> tuple[list[str], dict[str, str]]:
    """(weights of the maps that became calls of twins, in place; those that stay, with the reason)."""
    twins: list[str] = []
    done: list[str] = []
    dense: dict[str, str] = {}
    for node in list(module.graph.nodes):
        if node.target != LINEAR or node.args[1].op != "get_attr":
            continue
        name = str(node.args[1].target)
        layer: Any = layer_at(module, node)
        twin = layer if isinstance(layer, str) else _twin(layer, name, hidden)
        if isinstance(twin, str):
            dense[name] = twin
            continue
        twins.append(added(module, name.removesuffix(".weight"), twin))
        done.append(name)
        with module.graph.inserting_before(node):
            call = module.graph.call_module(twins[-1], (node.args[0],))
        call.meta = dict(node.meta)
        node.replace_all_uses_with(call)
        module.graph.erase_node(node)
    drop_unread(module, twins)
    plain_call(module)
    module.graph.lint()
    module.recompile()
    return done, dense


def _signed(rep: TensorRepresentation) -> Representation:
    """How a mirror acts on what a weight gives, the overall sign of the weight taken up."""
    if rep.sign > 0:
        return rep.axes[0]
    return Representation.of(-rep.axes[0].action)


def _twin(layer: nn.Linear, name: str, hidden: Sequence[Hidden]) -> LinearOfSeveral | str:
    """The layer in blocks, or why it stays as it is."""
    # One for every mirror, or the layer has none to commute with.
    reps = [representations[name] for representations in hidden if name in representations]
    if len(reps) < len(hidden):
        return NO_BLOCKS
    outs, ins = [_signed(rep) for rep in reps], [rep.axes[1] for rep in reps]
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    try:
        if not smallest_block(ins, outs):
            return _EMPTY
        twin = LinearOfSeveral(ins, outs, bias is not None, weight.device, weight.dtype)
        twin.load_dense(weight, bias)
    except RepresentationSizeError:
        return NO_BLOCKS
    except AsymmetricWeightError:
        return HOLDS_AN_OFFSET
    return twin.train(layer.training)
