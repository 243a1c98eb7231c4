"""Private operators of torch: all in one file, off unless asked for, and compared before they are used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.autograd import forward_ad

import chiralize.nn
from chiralize.nn import Linear, _private, hidden, private_ops, set_private_ops

UNDERSCORED = re.compile(
    r"torch\.ops\.\w+\._\w+|torch\._C\._\w+|torch\._VF\.|from torch\._C\S* import|\._current_level"
)
FILES = sorted(Path(chiralize.nn.__file__).parent.glob("*.py"))


def test_no_other_file_of_the_layers_calls_them() -> None:
    """And this one does: what is looked for is found."""
    callers = {file.name for file in FILES if UNDERSCORED.search(file.read_text(encoding="utf-8"))}
    assert callers == {"_private.py"}


@pytest.mark.parametrize(("value", "on"), [(None, False), ("0", False), ("1", True)])
def test_the_environment_switches_them(value: str | None, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_private, "_on", None)
    monkeypatch.delenv(_private.VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(_private.VARIABLE, value)
    assert _private.are_on() == on


@pytest.mark.thorough
def test_layers_work_where_torch_has_none_of_them() -> None:
    """In a process of its own: forward, backward, transforms and recurrent steps, where to call one raises."""
    program = """
import torch
from chiralize.nn import GRU, LSTM, Conv1d, Linear, _private, hidden
for name in ("_product", "_product_and", "packed", "_has_interpreter", "_has_level"):
    setattr(_private, name, None)
space = hidden(1024)
layers = Linear(space, space), Conv1d(space, space, 3, stride=3), GRU(space, space), LSTM(space, space)
inputs = torch.randn(48, 1024), torch.randn(5, 1024, 9), torch.randn(2, 4, 1024), torch.randn(2, 4, 1024)
for layer, x in zip(layers, inputs):
    expected = layer.folded()(x)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            y = layer(x)
        y, other = (own[0] if isinstance(own, tuple) else own for own in (y, expected))
        assert torch.allclose(y, other, atol=1e-3)
        if grad:
            y.sum().backward()
torch.vmap(Linear(space, space))(torch.randn(3, 8, 1024))
print("done")
"""
    environment = {key: value for key, value in os.environ.items() if key != _private.VARIABLE}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "done", done.stderr


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("_product", lambda x, weight, bias: x @ weight.t()),  # forgets the bias
        ("_product_and", lambda x, weight, added: x @ weight.t() - added),
        ("packed", lambda weight, rows: weight.flip(0)),
        ("_has_interpreter", lambda: False),
        ("_has_level", lambda: False),
        ("_product", None),  # gone
    ],
)
def test_one_that_says_something_else_stays_off(name: str, wrong: object, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _private.are_on()
    monkeypatch.setattr(_private, name, wrong)
    with pytest.warns(RuntimeWarning, match="private operators stay off"):
        set_private_ops(True)
    assert not _private.are_on()
    set_private_ops(before)


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of derivatives that go forward, torch's own
def test_transforms_and_dual_levels_are_seen(on: bool) -> None:
    x, seen = torch.ones(3), list[bool]()

    def ask(x: torch.Tensor) -> torch.Tensor:
        seen.append(_private.is_transformed())
        return x.sum()

    with private_ops(on):
        assert not _private.is_transformed() and not _private.goes_forward(x, None)
        torch.vmap(ask)(x)
        torch.func.grad(ask)(x)
        torch.func.functionalize(ask)(x)
        assert seen == [True] * 3
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x, x)
            assert _private.goes_forward(x, dual) and _private.goes_forward(dual)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_bias_alone_may_go_forward() -> None:
    """Without a tangent in x or the blocks, a step of autograd would lose it."""
    layer, x = Linear(hidden(8), hidden(8)), torch.ones(2, 8)
    assert layer.bias_even is not None
    tangent = torch.ones(4)
    with forward_ad.dual_level():
        parameters = dict(layer.named_parameters()) | {"bias_even": forward_ad.make_dual(layer.bias_even, tangent)}
        y = torch.func.functional_call(layer, parameters, (x,))
        passed_on = forward_ad.unpack_dual(y).tangent
        assert passed_on is not None and torch.equal(passed_on, torch.ones(2, 8))
