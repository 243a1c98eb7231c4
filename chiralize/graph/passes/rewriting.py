"""Changes of a graph that keep what it computes: the same function, written otherwise.

`methods/reduce` writes heads of attention and residual trunks in other coordinates by it, and asks `agrees` whether
the results are what they were.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from chiralize.graph import execution
from chiralize.graph.model import CapturedModel

Read = Sequence[Tensor] | Mapping[str, Tensor]
_SAME = 1e-3  # of the largest result


class Rewrite:
    """A graph with other numbers in some leaves, which are read and written in double precision.

    before: the graph, which stays as it is.
    """

    def __init__(self, before: CapturedModel) -> None:
        self.before = before
        self.leaves = dict(before.leaves)

    def __getitem__(self, name: str) -> Tensor:
        """The numbers of a leaf by now."""
        return self.leaves[name].tensor.detach().double()

    def __setitem__(self, name: str, value: Tensor) -> None:
        leaf = self.leaves[name]
        self.leaves[name] = replace(leaf, tensor=value.to(leaf.tensor.dtype).contiguous())

    def graph(self) -> CapturedModel:
        """The graph with the new numbers."""
        return replace(self.before, leaves=self.leaves)

    def agrees(self, read: Read) -> bool:
        """Whether both graphs give the same results, up to rounding. read: inputs, or leaves by name."""
        wanted = set(self.before.answers)
        before, after = (_values(graph, read, wanted) for graph in (self.before, self.graph()))
        for name, value in before.items():
            if float((value - after[name]).abs().max()) > _SAME * float(value.abs().max()):
                return False
        return True


def _values(graph: CapturedModel, read: Read, wanted: Container[str]) -> dict[str, Tensor]:
    """Some values of a graph, as far as they are numbers, by name."""
    computed = execution.run(graph, read)
    return {name: value for name, value in computed if name in wanted and value.is_floating_point()}
