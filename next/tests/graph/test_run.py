"""A run leaves no trace on the network, and every run starts where the network was handed over."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import ModelRunError, UsageError
from chiralize.graph.run import (
    Arguments,
    Around,
    Runner,
    apart,
    copied,
    doubled,
    mirrored,
    placed,
    random_calls,
    random_tensor,
    same,
    unwrapped,
)
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.graph.nets import Net, exported, normal

X = ((torch.ones(2, 3),), {})


def remembering(s: Any, x: Tensor) -> Tensor:
    """It adds up what it is given: in a buffer, in a new buffer, in an attribute, in a new attribute and in place."""
    s.sum.add_(x.sum())
    s.last = s.last + x.mean()
    s.plain = s.plain + 1
    s.inner.add_(1)
    s.count += 1
    s.body.extra = x
    return s.body(x) + s.sum + s.last + s.plain + s.inner + s.count


def net() -> nn.Module:
    made = Net(remembering, body=nn.Linear(3, 3), sum=torch.zeros(()), last=torch.zeros(()))
    made.plain, made.inner, made.count = torch.zeros(()), torch.zeros(()), 0  # type: ignore[assignment]
    return made.eval()


def held(module: nn.Module) -> list[Any]:
    """Everything that its parts hold."""
    return [copy.deepcopy({**vars(part), **vars(part)["_buffers"]}) for part in module.modules()]


def alike(first: list[Any], second: list[Any]) -> bool:
    return all(
        one.keys() == other.keys() and all(same(one[name], other[name]) for name in one if name[0] != "_")
        for one, other in zip(first, second, strict=True)
    )


def test_a_run_leaves_no_trace_and_starts_where_the_network_was() -> None:
    module = net()
    before = held(module)
    with Runner(module) as runner:
        first, second = runner.run([X, X]), runner.run([X, X])
        assert all(map(same, first.steps, second.steps)) and not same(*first.steps)
        assert runner.keeps_state(X)
    assert alike(before, held(module)) and not hasattr(module.body, "extra")
    assert same(first.steps[0], module(torch.ones(2, 3)))


def test_modes_and_arguments_stay_as_they_are() -> None:
    x = torch.ones(2, 3)
    module = Net(lambda s, x: s.drop(x.mul_(2.0)), drop=nn.Dropout()).train()
    with Runner(module) as runner:
        assert torch.equal(runner.run([((x,), {})]).steps[0], torch.full((2, 3), 2.0))
    assert module.training and torch.equal(x, torch.ones(2, 3))


@pytest.mark.parametrize("seed", [1, 2])
def test_random_numbers_are_the_runs_own(seed: int) -> None:
    module = Net(lambda _, x: x + torch.rand(3))
    torch.manual_seed(seed)
    expected = torch.rand(2)
    torch.manual_seed(seed)
    with Runner(module) as runner:
        first, second = runner.run([X, X]).steps
        again = runner.run([X]).steps[0]
    assert torch.equal(torch.rand(2), expected)
    assert same(first, again) and not same(first, second)


@pytest.mark.parametrize("is_program", [False, True])
def test_float64_reaches_numbers_that_forward_makes(is_program: bool) -> None:
    """Also where an export has written float32 into the graph."""
    module: nn.Module = Net(lambda s, x: s.body(x) + torch.full((3,), 1 / 3).to(x.dtype), body=nn.Linear(3, 3)).eval()
    call = ((torch.randn(2, 3),), {})
    if is_program:
        module = exported(module, *call[0]).module()
    with Runner(module, double=True) as runner:
        answer = runner.run([call]).steps[0]
    assert answer.dtype == torch.float64 and torch.get_default_dtype() == torch.float32
    layer = dict(module.named_parameters())
    x, weight, bias = (tensor.detach().double() for tensor in (call[0][0], layer["body.weight"], layer["body.bias"]))
    assert (answer - (x @ weight.T + bias + 1 / 3)).abs().max() < 1e-15


def test_states_are_turned_in_place() -> None:
    def step(s: Any, x: Tensor) -> Tensor:
        s.state.copy_(s.state + x.sum(0))
        return s.state * 1

    module = Net(step, state=torch.tensor([1.0, 2.0, 3.0]))
    swapped = TensorRepresentation((Representation.of(SignedPermutation.of([(0, 1)], negated=[2], size=3)),))
    with Runner(module) as runner:
        trace = runner.run([X], {"state": swapped}, turned=True)
        assert trace.states["state"].tolist() == [4.0, 3.0, -1.0]
        with pytest.raises(UsageError):
            runner.run([X], {"no": swapped})


class Lock(nn.Linear):
    """It holds what cannot be copied."""

    def __init__(self) -> None:
        super().__init__(3, 3)
        self.lock = threading.Lock()


def test_what_cannot_be_copied_is_refused() -> None:
    with pytest.raises(ModelRunError):
        Runner(nn.Sequential(nn.Linear(3, 3), Lock()))


def test_the_last_attention_of_a_call_with_gradients_is_copied() -> None:
    module = Net(lambda s, x: x, body=nn.Linear(3, 3))
    module.attention = [module.body(torch.ones(3))]  # type: ignore[assignment]
    assert torch.equal(copied(module).attention[0], module.attention[0])


def test_a_network_that_fails_is_an_error_of_its_own() -> None:
    with pytest.raises(ModelRunError), Runner(nn.Linear(4, 3)) as runner:
        runner.run([X])


def test_wrappers_are_taken_off() -> None:
    inner = nn.Linear(2, 2)
    assert unwrapped(nn.DataParallel(torch.optim.swa_utils.AveragedModel(inner))).in_features == 2
    assert unwrapped(inner) is inner


# ---- calls -------------------------------------------------------------------------------------------------------
def test_arguments_are_taken_apart_and_put_together() -> None:
    args: Any = (torch.zeros(2), {"a": [torch.ones(1), 3]}, None)
    arguments = Arguments.of(args, {"flag": True, "y": torch.ones(2)})
    assert len(arguments.tensors) == 3
    again = arguments.filled([tensor + 1 for tensor in arguments.tensors])
    assert again[0][1]["a"][0].item() == 2 and again[0][1]["a"][1] == 3 and again[1]["flag"] is True
    assert apart(again)[0][0] is not again[0][0] and doubled(again)[1]["y"].dtype == torch.float64
    plain = Arguments.of((torch.zeros(1), torch.ones(1)))
    assert plain.filled(plain.tensors) == (plain.tensors, {})


def test_a_mirror_of_other_tensors_is_refused() -> None:
    rep = TensorRepresentation((Representation.of(SignedPermutation.of(negated=[0], size=2)),))
    assert mirrored(((torch.ones(2),), {}), [rep])[0][0].tolist() == [-1, 1]
    assert mirrored(((torch.ones(2),), {}), [rep], [np.array([5.0, 0.0])])[0][0].tolist() == [9, 1]
    with pytest.raises(UsageError):
        mirrored(((torch.ones(2),), {}), [rep, rep])


def test_random_inputs_lie_where_inputs_do() -> None:
    example = Arguments.of((normal(2, 3), torch.arange(4)))
    first, second = random_calls(example, 2, 0)
    assert not torch.equal(first[0][0], second[0][0]) and torch.equal(first[0][1], torch.arange(4))
    moved = placed(first, Around((np.array(320.0), None), (np.array(160.0), None)))[0][0]
    torch.testing.assert_close(moved, 320 + 160 * first[0][0])
    assert random_tensor(torch.arange(3), torch.Generator(), (5,)).tolist() == [0, 1, 2, 0, 1]
