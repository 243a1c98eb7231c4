"""Blocks in which gradients are off, taken apart: the same answers, and ops that capture reads."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from chiralize.graph.export import export
from chiralize.graph.functionalize import without_blocks
from chiralize.infer.capture import functional
from tests.support.command import library_warnings
from tests.support.small_body import Net, normal

Function = Callable[[Net, Tensor], Tensor]


def halves(net: Net, x: Tensor) -> Tensor:
    """Several results of a block, one of them its own input, read outside."""
    with torch.no_grad():
        first, second = net.layer(x).relu().chunk(2, -1)
        third = first + second
    return net.layer(torch.cat([third, first], -1)) + x


def twice(net: Net, x: Tensor) -> Tensor:
    with torch.no_grad():
        x = net.layer(x)
    x = x.tanh()
    with torch.no_grad():
        return net.layer(x)


def counted(net: Net, x: Tensor) -> Tensor:
    """A buffer is written from what a block has computed."""
    with torch.no_grad():
        y = net.layer(x)
    net.state.copy_(net.state + y)
    return y + net.state


def switched(net: Net, x: Tensor) -> Tensor:
    """Gradients on again for a while."""
    with torch.no_grad():
        y = net.layer(x)
        with torch.enable_grad():
            y = net.layer(y).relu()
        return net.layer(y)


WHOLE: dict[str, Function] = {
    "all of forward": torch.no_grad()(lambda net, x: net.layer(x).relu()), "several results": halves,
    "two blocks": twice, "a state": counted, "on again": switched,
}  # fmt: skip


def exported(function: Function) -> torch.export.ExportedProgram:
    net = Net(function, layer=nn.Linear(4, 4), state=torch.ones(3, 4)).double().eval()
    return export(net, (normal(3, 4),), {})


def answers(program: torch.export.ExportedProgram) -> Tensor:
    """Of two calls in a row."""
    module = copy.deepcopy(program.module())
    with torch.no_grad():
        return torch.stack([module(normal(3, 4, seed=seed)).clone() for seed in range(2)])


@pytest.mark.one_in(4)
@pytest.mark.parametrize("function", WHOLE.values(), ids=WHOLE)
def test_blocks_are_taken_apart(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tracing again, which would take as long as the export did."""
    program = exported(function)
    assert any("grad_enabled" in str(node.target) for node in program.graph.nodes)
    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", None)
    found = functional(program)
    assert not any("grad_enabled" in str(node.target) for node in found.graph.nodes)
    assert torch.equal(answers(found), answers(program))


def test_a_block_that_is_more_than_ops_is_left_as_it_is() -> None:
    program = exported(twice)
    (first, *_others) = (part for part in program.graph_module.children() if isinstance(part, torch.fx.GraphModule))
    with library_warnings(), first.graph.inserting_before(first.graph.output_node()):
        first.graph.get_attr("training")
    assert without_blocks(program) is program


def test_a_program_without_blocks_is_the_same_program() -> None:
    program = exported(lambda net, x: net.layer(x))
    assert without_blocks(program) is program


class WritesToParts(nn.Module):
    """As a cosine transform does that sorts its input by hand; and its state is the input."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        self.last[:] = x
        y = x * 2
        y[:, 0] = x[:, 1].tanh()
        y[:, 2:] = 1.0
        return y


def test_writes_to_parts_have_a_derivative() -> None:
    """What is copied stands in the place of `copy`; a state is no alias of the input."""
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(WritesToParts(), (x,))
    module = functional(program).module()
    given = x.clone().requires_grad_(True)
    answer = module(given)
    answer[:, :2].sum().backward()
    wanted = torch.zeros(3, 4)
    wanted[:, 1] = 2 + 1 - x[:, 1].tanh() ** 2
    assert torch.equal(answer.detach(), WritesToParts()(x))
    assert given.grad is not None and torch.allclose(given.grad, wanted, atol=1e-6)
    assert torch.equal(dict(module.named_buffers())["last"], x)
