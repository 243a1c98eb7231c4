"""Results on pixels as training sees them: from the point that T mirrors at, where weights lie in a linear subspace.

Of h(u) = g(u + c_in) - c_out the symmetric weights are those that T leaves alone, as for any network. Of g itself the
biases hold offsets that depend on the other weights (`graph.passes.centering`). So h is trained, by its graph, and its
weights are turned into those of g in the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from chiralize.graph import execution
from chiralize.graph.passes.centering import center
from chiralize.graph.running import Arguments, Call
from chiralize.infer.registry import traits
from chiralize.problem.data.cutting import roomy
from chiralize.problem.network import Network


class FromTheCentre:
    """A result as a function of a call, computed by h from parameters that can be trained.

    network: captured at the batch size of the calls.
    """

    def __init__(self, network: Network, module: nn.Module, calls: Sequence[Call]) -> None:
        self.network = roomy(network, calls)
        assert self.network.captured is not None
        state = module.state_dict()
        leaves = dict(self.network.captured.leaves)
        for name, leaf in leaves.items():
            if leaf.is_weight and leaf.names[0] in state:
                leaves[name] = replace(leaf, tensor=state[leaf.names[0]].detach())
        resolved = self.network.resolved
        graph = replace(self.network.captured, leaves=leaves)
        self.centered = center(graph, resolved.input_centers, resolved.output_centers, traits())
        self.parameters: dict[str, nn.Parameter] = {}
        self._names: dict[str, str] = {}
        for name, leaf in self.centered.captured.leaves.items():
            if leaf.kind == "parameter" and leaf.tensor.is_floating_point():
                self._names[name] = leaf.names[0]
                self.parameters[leaf.names[0]] = nn.Parameter(leaf.tensor.detach().clone())

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Those of h, by the names that they have in the network."""
        yield from self.parameters.items()

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """All results of g, as tensors in order."""
        captured = self.centered.captured
        weights = {name: self.parameters[known_as] for name, known_as in self._names.items()}
        values = execution.start(captured, self.network.centered(Arguments.of(args, kwargs).tensors), weights)
        for node in captured.nodes:
            values[node.name] = execution.evaluate(node, values)
        answers: list[Tensor] = []
        for name, point in zip(captured.outputs, self.network.resolved.output_centers, strict=True):
            answer: Tensor = values[name or ""]
            answers.append(answer if point is None else answer + torch.from_numpy(point).to(answer))
        return tuple(answers)

    def weights(self) -> Mapping[str, Tensor]:
        """The weights of g, and the statistics that take offsets up, by name."""
        values: dict[str, Tensor] = {}
        for leaf in self.centered.captured.leaves.values():
            if leaf.is_weight:
                trained = self.parameters.get(leaf.names[0])
                values |= dict.fromkeys(leaf.names, leaf.tensor if trained is None else trained.detach())
        return self.centered.restored(values)
