"""The result of a conversion as a program: sizes as open as they were, inputs under their own names.

What is written to a `.pt2` file, and what the certificate captures. A result may be the user's class, a graph, or
two views around either, which take other sizes of states and have a signature of their own.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.errors import CaptureError
from chiralize.graph.open_axes import axes_of
from chiralize.graph.open_sizes import opened
from chiralize.nn.two_view import TwoView, two_states
from chiralize.problem.network import Network

_ROOM = 3


def try_export(
    module: torch.nn.Module, network: Network, tell: Callable[[str], None] = lambda what: None
) -> ExportedProgram | None:
    """The result as a program, sizes as open as they were; None if it cannot be exported.

    A module that could not be captured is not tried: torch.export may keep one branch of what depends on the data
    without saying so.  tell: called with what is done next.
    """
    if network.captured is None and not network.origin.from_program:
        return None
    args, kwargs = example_call(network, isinstance(module, TwoView))
    with named_inputs(module, network.module), suppress(CaptureError):
        if network.origin.from_program and network.program is not None:
            return opened(module, args, kwargs, _sizes_of(network.program, args, kwargs), _ROOM, tell)
        return network.program_of(module, (args, kwargs), tell)
    return None


@contextmanager
def named_inputs(module: torch.nn.Module, original: torch.nn.Module) -> Iterator[None]:
    """Let a two-view module take its inputs under the original's names meanwhile."""
    if not isinstance(module, TwoView):
        yield
        return

    def forward(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        """The two-view forward, under the signature that it is given below."""
        return TwoView.forward(self, *args, **kwargs)  # type: ignore[arg-type]

    with suppress(ValueError, TypeError):  # a signature that Python cannot show
        first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        known = inspect.signature(original.forward)
        forward.__signature__ = known.replace(parameters=[first, *known.parameters.values()])  # type: ignore[attr-defined]
    module.forward = types.MethodType(forward, module)  # bound, so that a copy runs itself
    try:
        yield
    finally:
        del module.forward


def _sizes_of(program: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The open axes of the original program, in place of every tensor of a call, as `opened` takes them."""
    names = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    sizes = iter([node.meta.get("val") for node in nodes])

    def open_axes(leaf: Any) -> Any:
        """The open axes of one argument, whose sizes the original's program says."""
        # Leaves that are no tensors are inputs of the program, too, and have an entry.
        value = next(sizes, None)
        if not isinstance(leaf, torch.Tensor) or not isinstance(value, torch.Tensor):
            return None
        return {axis: torch.export.Dim.AUTO for axis, size in enumerate(value.shape) if not isinstance(size, int)}

    return axes_of(open_axes, (tuple(args), dict(kwargs)))


def example_call(network: Network, doubled: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example inputs, with the states of both views side by side if `doubled`."""
    tensors = iter(network.resolved.inputs)

    def fit(leaf: Any) -> Any:
        """One argument, twice as wide if it is a state of both views."""
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if next(tensors) is None and doubled:
            return two_states(leaf)
        return leaf

    args, kwargs = pytree.tree_map(fit, (network.args, dict(network.kwargs)))
    return tuple(args), dict(kwargs)
