"""Exported graphs without trees of arguments: what torch.export wraps around a call is left out where it is not needed.

An exported graph takes one tree of positional and named arguments apart, `((x, y), {})` into x and y, and puts its
results into a tree again. That takes nearly as long as a narrow layer. `graphs` and `several` call it for graphs that
are handed over, `fair` for the original with the same speed-up, `methods.reduce` for its results.
"""

from __future__ import annotations

from typing import Any

from torch import fx
from torch.fx.graph import CodeGen


def plain_call(module: fx.GraphModule) -> None:
    """Let a graph that takes tensors by position and returns one, or a tuple of them, do without trees of arguments.

    In place. Graphs with nested or named arguments, or other results, are left as they are.
    """
    codegen: Any = module.graph._codegen
    info = getattr(codegen, "pytree_info", None)
    # The tree of an exported graph's arguments is (positional, named).
    if info is None or info.out_spec is None or info.in_spec.num_children != 2:
        return
    positional, named = info.in_spec.children()
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    flat = positional.type is tuple and all(child.is_leaf() for child in positional.children())
    if not flat or named.num_children or len(inputs) != positional.num_children:
        return
    # The output node has the leaves of the results as a list, and the tree says whether they are a tuple or one alone.
    (last,) = (node for node in module.graph.nodes if node.op == "output")
    results: Any = last.args[0]
    if info.out_spec.is_leaf():
        last.args = (results[0],)
    elif info.out_spec.type is tuple and all(child.is_leaf() for child in info.out_spec.children()):
        last.args = (tuple(results),)
    else:
        return
    # Inputs have other names within the graph: callers may give the arguments by those of `forward`.
    for node, name in zip(inputs, info.orig_args, strict=False):
        node.target = name
    module.graph.set_codegen(CodeGen())
    module.recompile()
