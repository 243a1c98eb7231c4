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

from chiralize.errors import MethodUnavailableError
from chiralize.errors.words import first_line
from chiralize.graph import execution
from chiralize.graph.passes.centering import center
from chiralize.graph.running import Arguments, Call, fresh, results
from chiralize.infer.registry import traits
from chiralize.problem.data.cutting import roomy
from chiralize.problem.network import Network

_ALIKE = 1e-3
"""Of the largest answer: pixels are large numbers in single precision."""


class FromTheCentre:
    """A result as a function of a call, computed by h from parameters that can be trained.

    network: captured at the batch size of the calls.
    """

    def __init__(self, network: Network, module: nn.Module, calls: Sequence[Call]) -> None:
        self.network = roomy(network, calls)
        assert self.network.captured is not None
        # 1. The original's graph with the result's weights, which have its shapes and names.
        state = module.state_dict()
        leaves = dict(self.network.captured.leaves)
        for name, leaf in leaves.items():
            if leaf.is_weight and leaf.names[0] in state:
                leaves[name] = replace(leaf, tensor=state[leaf.names[0]].detach())
        # 2. h in place of g: biases and statistics take the centres up.
        resolved = self.network.resolved
        graph = replace(self.network.captured, leaves=leaves)
        self.centered = center(graph, resolved.input_centers, resolved.output_centers, traits())
        # 3. Parameters of h, by their names in the network; `_names` has those by the leaves that they are.
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
        """All results of g, as tensors in order: h of the centred inputs, moved back by the centres of the outputs."""
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

    def refuse_unlike(self, module: nn.Module, call: Call, option: str) -> None:
        """Raise MethodUnavailableError, which names the option, where the result is more than the graph with weights.

        Parts that run on both views, and ops that were replaced, are not in the graph of the original.
        """
        args, kwargs = fresh(call)
        with torch.no_grad():
            pairs = zip(self(*args, **kwargs), results(module(*args, **kwargs))[0], strict=True)
            is_alike = all(_are_alike(seen, answer) for seen, answer in pairs)
        if not is_alike:
            facts = "pixels (`reflect`) are trained where the result has the original's ops alone"
            raise MethodUnavailableError(option, facts, f"centre them before the network, or leave {option} out")

    def refuse_without_derivatives(self, call: Call, option: str) -> None:
        """Raise MethodUnavailableError, which names the option, where an op of the graph has no derivative."""
        args, kwargs = fresh(call)
        try:
            with torch.enable_grad():
                numbers = [answer for answer in self(*args, **kwargs) if answer.requires_grad]
                if numbers:
                    torch.stack([answer.square().sum() for answer in numbers]).sum().backward()
        except RuntimeError as error:
            facts = f"its graph has no derivatives: {first_line(error)}"
            raise MethodUnavailableError(option, facts, f"leave {option} out") from error
        finally:
            for parameter in self.parameters.values():
                parameter.grad = None

    def weights(self) -> Mapping[str, Tensor]:
        """The weights of g, and the statistics that take offsets up, by name."""
        values: dict[str, Tensor] = {}
        for leaf in self.centered.captured.leaves.values():
            if leaf.is_weight:
                trained = self.parameters.get(leaf.names[0])
                values |= dict.fromkeys(leaf.names, leaf.tensor if trained is None else trained.detach())
        return self.centered.restored(values)


def _are_alike(one: Tensor, other: Tensor) -> bool:
    """Whether two answers are the same but for rounding."""
    if one.shape != other.shape:
        return False
    return not other.numel() or float((one - other).abs().max()) <= _ALIKE * float(other.abs().max())
