"""Linear maps of a graph that hand on left and right halves, not a tensor that the next one takes apart again.

    e, o = W_e (u + v), W_o (u - v)        u', v' = f(e + o), f(e - o)        e', o' = W_e' (u' + v'), W_o' (u' - v')

A function f of every entry alone does not care how an axis is laid out, so between two maps the halves (and the
fixed entries) stay tensors of their own: nothing is concatenated, and pairs in any order cost no gather. Where
something else reads the value, it is put together there. Of linear, relu, linear, softmax the graph becomes

    x -> split -> two products -> u, v -> relu(u), relu(v) -> two products -> cat -> softmax

`graphs.with_calls` calls it, for graphs alone: a module's layers hand on whole tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx
from torch.fx.proxy import GraphAppendingTracer

from chiralize.nn import Conv1d
from chiralize.nn.along import Channels
from chiralize.nn.butterfly import Butterfly, gathered
from chiralize.nn.deploy import pictures, windows
from chiralize.nn.deploy.entrywise import POINTWISE, cuts, is_pointwise, without_writes
from chiralize.nn.maps import ChiralMap
from chiralize.nn.reversed_conv import ConvTranspose2d, Reversed, ReversedConv2d

_ATEN = torch.ops.aten
_MAPS: Mapping[Any, tuple[Callable[..., Any], int]] = {
    _ATEN.linear.default: (F.linear, 1),
    _ATEN.conv1d.default: (F.conv1d, 2),
    _ATEN.conv2d.default: (F.conv2d, 3),
    _ATEN.conv_transpose2d.input: (F.conv_transpose2d, 3),
}
"""Linear maps, as functions of even or odd coordinates, and the position of the channels from the end."""
_OF_PICTURES = 3
"""Where the channels of a picture are, from the end."""


@dataclass(frozen=True)
class _Parts:
    """An axis taken apart: the nodes of its halves and fixed entries, and what puts it together."""

    nodes: tuple[fx.Node, ...]
    butterfly: Butterfly
    path: str  # of the butterfly in the module
    dim: int  # from the end

    def is_like(self, butterfly: Butterfly, dim: int) -> bool:
        """Whether an axis that a butterfly describes is taken apart in this way."""
        return self.dim == dim and self.butterfly.is_like(butterfly)

    def fits(self, node: fx.Node) -> bool:
        """Whether a whole value can be taken apart in this way: by views, behind a gather if the order wants one."""
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or value.ndim < self.dim:
            return False
        return self.butterfly.runs <= 1 and value.shape[-self.dim] == self.butterfly.size


def with_halves(module: fx.GraphModule, twins: Mapping[fx.Node, tuple[str, ChiralMap]]) -> None:
    """Let maps of a graph, each with the path of its twin, be computed by blocks, in place.

    The twins have taken the half up into their weights. Convolutions become products where their windows allow it.
    """
    functional = without_writes(module.graph, _MAPS)
    _Rewriter(module, twins, functional).run()
    module.graph.lint()
    module.recompile()


class _Rewriter:
    """Goes through a graph once, and knows of every value so far whether it is whole, in halves, or both.

    parts: values in halves.  wholes: values in halves that were also put together, or were whole at first.
    by_channels: pictures in the memory order of convolutions.  coordinates: even and odd parts by value and reader.
    functional: whether nothing is written in place any more; else halves, which are views, could change unseen.
    products: whether convolutions over frames are computed as products.  wanted: values that are better in halves.
    """

    def __init__(
        self, module: fx.GraphModule, twins: Mapping[fx.Node, tuple[str, ChiralMap]], functional: bool
    ) -> None:
        self.module, self.graph, self.twins = module, module.graph, twins
        self.tracer = GraphAppendingTracer(self.graph)
        self.parts: dict[fx.Node, _Parts] = {}
        self.wholes: dict[fx.Node, fx.Node] = {}
        self.by_channels: dict[fx.Node, fx.Node] = {}
        self.coordinates: dict[tuple[fx.Node, str], tuple[Any, Any]] = {}
        self.functional = functional
        self.products = windows.are_apart(twins)
        self.wanted = self._wanted() if functional else set()

    def run(self) -> None:
        """Let every node of the graph read and return halves, where it can."""
        for node in list(self.graph.nodes):
            if node in self.twins:
                with self.graph.inserting_before(node):
                    self._map(node, *self.twins[node])
            # `_pointwise` has made the halves; the node itself goes at the end.
            elif self._is_better_apart(node) and self._pointwise(node):
                pass
            else:
                self._put_together(node)
        # From the end, since readers go before what they read.
        for node in reversed(list(self.graph.nodes)):
            # Whoever read it reads its halves, or the whole that was made of them.
            if (node in self.parts or node in self.twins) and not node.users:
                self.graph.erase_node(node)

    def _wanted(self) -> set[fx.Node]:
        """The values that a map takes in halves, at once or after functions of every entry alone."""
        in_halves: set[fx.Node] = set()
        # From the end: a value is wanted in halves if a reader is, or is a map.
        for node in reversed(self.graph.nodes):
            for user in node.users:
                ours = user in self.twins and user.args[0] is node and _halving(self._reader(user).axis)
                if ours or (user in in_halves and is_pointwise(user)):
                    in_halves.add(node)
        return in_halves

    def _is_better_apart(self, node: fx.Node) -> bool:
        """Whether a map takes the value in halves, or no more values are put together behind it than before it.

        Where something is written in place, halves are made where a map reads them, and nowhere else.
        """
        # A map behind it reads halves, so that they need not be put together in between.
        if node in self.wanted:
            return True
        # Or it is the only reader of halves that nobody needs whole: then the whole is made of its answer, not of its
        # operand.
        return self.functional and any(
            other in self.parts and other not in self.wholes and len(other.users) == 1 for other in node.all_input_nodes
        )

    # ---- maps ---------------------------------------------------------------------------------------------------
    def _map(self, node: fx.Node, path: str, twin: ChiralMap) -> None:
        """Compute a linear map by blocks: read its operand in coordinates, multiply either, and keep the answer in
        halves.

        path: of its twin in the module. The node itself stays until nothing reads it.
        """
        written: Any = twin.get_submodule(twin.written)
        # Its answer has no pairs, or a block is empty: the layer is called as a whole, and makes whole tensors.
        if not (_halving(written) and twin.weight_even.numel() and twin.weight_odd.numel()):
            self._put_together(node)
            call = self.graph.call_module(path, (node.args[0],))
            call.meta = dict(node.meta)
            node.replace_all_uses_with(call)
            return
        dim = _MAPS[node.target][1]
        function, rest, settings = self._block_of(node, twin)
        source = node.args[0]
        # Pictures are read in the memory order of convolutions, and so are their weights.
        if isinstance(twin, ReversedConv2d) and self.functional:
            pictures.lay_out(twin)
            # A gather comes first where there is one (`_take_apart`).
            source = source if twin.reader.axis.order is not None else self._by_channels(source)
        # A transposed convolution adds its bias to what its windows have written, in the halves of the answer.
        is_late = isinstance(twin, ConvTranspose2d)
        even, odd = self._coordinates(source, f"{path}.{twin.read}", dim)
        # y_even = E even + b,  y_odd = O odd: two ops in place of one, on half of the numbers each.
        weight_even, weight_odd = self._read(f"{path}.weight_even"), self._read(f"{path}.weight_odd")
        bias = None if twin.bias_even is None or is_late else self._read(f"{path}.bias_even")
        y_even = function(even, weight_even, bias, *rest, **settings)
        y_odd = function(odd, weight_odd, None, *rest, **settings)
        if isinstance(twin, ConvTranspose2d):
            term: Any = self._read(f"{path}.bias_even") if twin.bias_even is not None else None
            halves: list[Any] = twin.halves(y_even, y_odd, term)
        else:
            halves = list(twin.out.halves(y_even, y_odd, -dim))
        self.parts[node] = _Parts(tuple(half.node for half in halves), written, f"{path}.{twin.written}", dim)

    def _block_of(self, node: fx.Node, twin: ChiralMap) -> tuple[Callable[..., Any], Any, dict[str, Any]]:
        """What multiplies a block: torch's op for the layer, a product of matrices, or the twin's own.

        Returns the function of (operand, weight, bias), with its arguments after these, by position and by name.
        """
        if self.products and isinstance(twin, Conv1d):
            windows.lay_out(twin)
            return windows.product, twin.kernel, {}
        if isinstance(twin, Reversed):
            return twin.apply_block, (), {}
        return _MAPS[node.target][0], node.args[3:], dict(node.kwargs)

    def _read(self, name: str) -> Any:
        """A parameter or buffer as a value of the graph."""
        return fx.Proxy(self.graph.get_attr(name), self.tracer)

    def _coordinates(self, node: Any, path: str, dim: int) -> tuple[Any, Any]:
        """Even and odd parts of what a map reads, by the module at a path; made once for all the maps that read it."""
        reader = self._module(path)
        # With writes left, a value may change between two readers: each takes it apart when it reads it.
        if not self.functional:
            return self._split(self._whole(node) if node in self.parts else node, path, dim)
        # Query, key and value read one tensor: its sums and differences are made once.
        for (other, name), coordinates in self.coordinates.items():
            if other is node and reader.is_like(self._module(name)):
                return coordinates
        # What a gather takes apart has halves from then on: a residual branch reads them as well.
        apart = _Parts((), reader.axis, path if reader.axis is reader else f"{path}.axis", dim)
        if node not in self.parts and _halving(reader.axis) and reader.axis.order is not None and apart.fits(node):
            self._take_apart(node, apart)
        # Halves of the same axis are only added and subtracted; anything else is taken apart from the whole.
        parts = self.parts.get(node)
        if parts is not None and _halving(reader.axis) and parts.is_like(reader.axis, dim):
            proxies: list[Any] = [fx.Proxy(part, self.tracer) for part in parts.nodes]
            coordinates = reader.mixed(proxies, -dim)
        else:
            if parts is not None:
                node = self._whole(node)
            coordinates = self._split(node, path, dim)
        self.coordinates[node, path] = coordinates
        return coordinates

    def _split(self, node: fx.Node, path: str, dim: int) -> tuple[Any, Any]:
        """Even and odd parts by a call of the module at a path, which checks the size of the axis."""
        both: Any = fx.Proxy(self.graph.call_module(path, (node, -dim)), self.tracer)
        return both[0], both[1]

    def _by_channels(self, node: Any) -> Any:
        """A whole picture in the order of the halves, moved once for all the maps that read it; halves have it."""
        if node in self.parts:
            return node
        if node not in self.by_channels:
            self.by_channels[node] = self.graph.call_function(pictures.by_channels, (node,))
        return self.by_channels[node]

    def _reader(self, node: fx.Node) -> Any:
        """What takes apart the argument of a map."""
        path, twin = self.twins[node]
        return self._module(f"{path}.{twin.read}")

    def _module(self, path: str) -> Any:
        """The submodule at a path."""
        return self.module.get_submodule(path)

    # ---- functions of every entry alone -------------------------------------------------------------------------
    def _pointwise(self, node: fx.Node) -> bool:
        """Compute a value from halves; False where no operand has any, or one cannot be taken apart like that one."""
        first = next((self.parts[other] for other in node.all_input_nodes if other in self.parts), None)
        if first is None or not is_pointwise(node) or cuts(node, first.dim):
            return False
        # A residual branch is added half by half. Its halves are views of it; they are worth a gather where a map reads
        # the sum in halves.
        are_views = first.butterfly.order is None
        for other in node.all_input_nodes:
            if other in self.parts:
                fits = self.parts[other].is_like(first.butterfly, first.dim)
            else:
                fits = first.fits(other) and (are_views or node in self.wanted)
            if not fits:
                return False
        with self.graph.inserting_before(node):
            for other in node.all_input_nodes:
                if other not in self.parts:
                    self._take_apart(other, first)
        target: Any = POINTWISE.get(node.target, node.target)
        calls: list[fx.Node] = []
        with self.graph.inserting_before(node):
            for index in range(len(first.nodes)):
                # The op once for each part, on that part of every operand; other arguments stay.
                pick = lambda other, index=index: self.parts[other].nodes[index]  # noqa: E731
                args, kwargs = fx.map_arg(node.args, pick), fx.map_arg(node.kwargs, pick)
                calls.append(self.graph.call_function(target, args, kwargs))
        self.parts[node] = replace(first, nodes=tuple(calls))
        return True

    # ---- whole values -------------------------------------------------------------------------------------------
    def _put_together(self, node: fx.Node) -> None:
        """Let a node read whole values where it read halves."""
        for other in node.all_input_nodes:
            if other in self.parts:
                node.replace_input_with(other, self._whole(other))

    def _take_apart(self, node: fx.Node, like: _Parts) -> None:
        """Let a whole value have halves too: what comes before the first residual branch.

        They are views of it, or of the value whose entries a gather has brought into their order.
        """
        whole = node
        if like.butterfly.order is not None:
            order = self.graph.get_attr(f"{like.path}.order")
            whole = self.graph.call_function(gathered, (node, -like.dim, order))
        if like.dim == _OF_PICTURES and node.meta["val"].ndim > _OF_PICTURES:
            whole = self._by_channels(whole)
        sizes = like.butterfly.sizes
        parts: Any = fx.Proxy(self.graph.call_function(torch.split, (whole, sizes, -like.dim)), self.tracer)
        self.parts[node] = replace(like, nodes=tuple(parts[number].node for number in range(len(sizes))))
        self.wholes[node] = node

    def _whole(self, node: fx.Node) -> fx.Node:
        """The value in one tensor, made once, where it was computed."""
        if node not in self.wholes:
            parts = self.parts[node]
            with self.graph.inserting_before(node):
                # [firsts, seconds, fixed entries]; a gather brings entries in any other order to their places.
                whole = self.graph.call_function(torch.cat, (list(parts.nodes), -parts.dim))
                # Whoever reads a whole picture may view it in torch's order.
                if parts.dim == _OF_PICTURES:
                    whole = self.graph.call_function(pictures.as_torch_has_it, (whole,))
                if parts.butterfly.places is not None:
                    places = self.graph.get_attr(f"{parts.path}.places")
                    whole = self.graph.call_function(torch.index_select, (whole, -parts.dim, places))
            whole.meta = dict(node.meta)
            self.wholes[node] = whole
        return self.wholes[node]


def _halving(butterfly: Butterfly) -> bool:
    """Whether an axis is handed on in halves; of channels at the taps of windows, where none of them has a sign."""
    if isinstance(butterfly, Channels):
        return butterfly.in_parts
    return bool(butterfly.pairs) and butterfly.runs <= 1
