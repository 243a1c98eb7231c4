"""An exported program in the ops that `capture` reads: without in-place writes, and of ops that have a rule."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch.export import ExportedProgram

from chiralize.errors import CaptureError, first_line
from chiralize.rules._registry import registry
from chiralize.silence import quiet
from chiralize.tracing import holds_tensor, target_of
from chiralize.writes import without_lone_writes, writes

_DEEPEST = 3


def functional(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place writes, its nodes called as `capture` calls them.

    Decomposing takes longer than the export did, and is left out where every op has a rule as it is, or would have one
    that wrote into no value of its own. Ops without a rule become what torch says that they consist of.
    """
    lean = without_lone_writes(program)
    if all(_has_rule(node) and not _may_write(node) for node in lean.graph.nodes if node.op == "call_function"):
        return lean
    for turn in range(_DEEPEST):
        table = _parts(program)
        if turn and not table:
            break
        try:
            with quiet():
                program = program.run_decompositions(table)
        except Exception as error:  # it was traced for sizes that its own buffers do not have, ...
            remedy, shared = "give the sizes that the network was built for", _held_twice(program)
            if shared:
                remedy = f"hold the buffer under one name alone ({shared}), or use --method lift, which needs no graph"
            raise CaptureError("torch.export", first_line(error), remedy) from error
    return program


def _held_twice(program: ExportedProgram) -> str:
    """Names of a buffer that has several, such as one of a module that two others hold; "" where none has."""
    names: dict[int, list[str]] = {}
    for name, tensor in (*program.state_dict.items(), *program.constants.items()):
        if isinstance(tensor, torch.Tensor) and tensor.numel() and not isinstance(tensor, torch.nn.Parameter):
            names.setdefault(tensor.untyped_storage()._cdata, []).append(name)
    return next((" is ".join(own) for own in names.values() if len(own) > 1), "")


def _parts(program: ExportedProgram) -> dict[Any, Any]:
    """What ops without a rule consist of, where torch knows."""
    without = {node.target for node in program.graph.nodes if not _has_rule(node)}
    known = _decompositions() if without else {}
    return {op: known[op] for op in without if op in known}


@cache
def _decompositions() -> Mapping[Any, Any]:
    """What every op consists of; filling torch's table takes 40 ms."""
    return torch.export.default_decompositions()


def _has_rule(node: torch.fx.Node) -> bool:
    """Whether nothing needs to know what an op consists of; of sizes, and of what nobody reads, nothing does."""
    if not isinstance(node.target, torch._ops.OpOverload) or not node.users:
        return True
    held = (own.meta.get("val") for own in node.all_input_nodes)
    maps = holds_tensor(node.meta.get("val")) and any(map(holds_tensor, held))
    return not maps or target_of(node) in registry()


def _may_write(node: torch.fx.Node) -> bool:
    """Whether a call changes one of its arguments: it says so, keeps statistics, or holds a graph of its own."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return isinstance(node.target, torch._ops.HigherOrderOperator)
    given = zip(node.target._schema.arguments, node.args, strict=False)
    named = {argument.name: value for argument, value in given} | node.kwargs
    return writes(node) or any(named.get(flag) is True for flag in ("training", "use_input_stats"))
