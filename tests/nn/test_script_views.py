"""Both views of a script as a script: lists, classes of the user's own, and a mirror about a centre."""

from __future__ import annotations

from typing import Any, List, NamedTuple  # noqa: UP035 - TorchScript of older torch reads these

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import ExportError
from chiralize.nn.deploy.script_views import ScriptMethods, both_views
from chiralize.nn.two_view import TwoView
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support.script_nets import Policy, script_of

SWAP = SignedPermutation.of([(0, 1)], negated=[2], size=4)
T = TensorRepresentation((Representation.trivial(2), Representation.of(SWAP)), -1)


class Lists(nn.Module):
    """A list goes in and comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, parts: List[Tensor], times: int = 1) -> List[Tensor]:  # noqa: UP006
        return [self.linear(part) * times for part in parts]


class Answer(NamedTuple):
    """A result of the user's own class."""

    pose: Tensor
    score: Tensor


class Named(nn.Module):
    """Returns a named tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Answer:
        y = self.linear(x)
        return Answer(y, y.sum())


def views(script: Any, call: tuple[Any, ...], count: int, center: Any = None) -> tuple[Any, nn.Module]:
    """The script of both views, and the plain module of both."""
    centers = ([center] * count, [center] * count)
    plain = TwoView(script, [T] * count, [T] * count, centers=centers)
    return both_views(script, plain, (call, {}))[0], plain


def test_lists() -> None:
    script = script_of(Lists())
    parts = [torch.randn(2, 4), torch.randn(2, 4)]
    average, plain = views(script, (parts,), 2)
    with torch.no_grad():
        for ours, theirs in zip(average(parts, 3), plain(parts, 3), strict=True):
            assert torch.equal(ours, theirs)
        with pytest.raises(Exception, match="2 entries, as in the conversion"):
            average(parts[:1])


def test_mirror_about_a_centre() -> None:
    """T x = c + R (x - c): the script adds what is left of c."""
    script = script_of(nn.Linear(4, 4), torch.zeros(2, 4))
    center = torch.tensor([[0.0, 0.0, 3.0, 1.5]]).double().numpy()
    average, plain = views(script, (torch.zeros(2, 4),), 1, center)
    x = torch.randn(2, 4)
    with torch.no_grad():
        assert torch.allclose(average(x), plain(x), atol=1e-6)
        without, _ = views(script, (torch.zeros(2, 4),), 1)
        assert not torch.allclose(without(x), plain(x), atol=1e-2)


def test_results_of_a_class_of_its_own() -> None:
    script = script_of(Named())
    two_view = TwoView(script, [T], [T, TensorRepresentation(())])
    with pytest.raises(ExportError, match="is a class of its own, which a module around it cannot name"):
        both_views(script, two_view, ((torch.zeros(2, 4),), {}))


def test_methods_of_a_module() -> None:
    """A helper is what only methods of the module call, with arguments."""
    methods = ScriptMethods.of(script_of(Policy()))
    assert set(methods.public) == {"clear", "joints", "reset_memory"}
    assert methods.helpers == ("scaled",)
    assert methods.without_arguments == ("joints", "reset_memory")


def test_the_script_is_not_touched() -> None:
    script = script_of(Policy())
    before = {name: value.clone() for name, value in script.state_dict().items()}
    rep = TensorRepresentation((Representation.trivial(1), Representation.trivial(10)))
    average, left_out = both_views(script, TwoView(script, [rep], [rep], own_buffers=True), ((torch.ones(1, 10),), {}))
    with torch.no_grad():
        average(torch.ones(1, 10))
    assert left_out == ("cell_state", "hidden_state")
    assert all(torch.equal(value, before[name]) for name, value in script.state_dict().items())
