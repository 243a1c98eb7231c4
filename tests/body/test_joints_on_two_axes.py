"""Numbers of every two joints, such as a covariance or an adjacency: the mirror swaps joints along both axes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec, resolve
from chiralize.body.tensors.acting import acted_on
from chiralize.errors import ChiralizeError
from chiralize.symmetry.action import act
from chiralize.verification.asymmetry.parts import distances, parts_of
from chiralize.verification.evidence.misread import joints_on_two_axes

HEAD = "name: cap\njoints: [Fz, C3, Cz, C4, Pz]\npairs: [[C3, C4]]\ndims: [uV]\nnegate: []\n"
COVARIANCE = HEAD + 'inputs: [{layout: "b j j", dims: []}]\noutputs: [{layout: "b j j", dims: []}]\n'
SWAPPED = np.eye(5)[[0, 3, 2, 1, 4]]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("layout", "shape"), [("b j j", (7, 5, 5)), ("b t j j", (7, 2, 5, 5)), ("b (j j)", (7, 25)), ("... j j", (7, 5, 5))]
)
def test_both_axes_are_swapped(layout: str, shape: tuple[int, ...]) -> None:
    """As with matrices: P X P^T, whatever the layout."""
    spec = parse_spec(COVARIANCE.replace("b j j", layout))
    (tensor,) = resolve(spec, [shape], [shape]).input_tensors
    assert tensor.representation is not None
    given = drawn(*shape)
    wanted = SWAPPED @ given.numpy().reshape(*shape[: 1 + ("t" in layout)], 5, 5) @ SWAPPED.T
    assert np.array_equal(act(given, tensor.representation).numpy().reshape(wanted.shape), wanted)


class BothSides(nn.Module):
    """X to W X W^T, then single entries weighed by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(5, 5))
        self.last = nn.Linear(25, 25)

    def forward(self, x: Tensor) -> Tensor:
        """Of "sample joint joint" as many numbers again."""
        mixed = torch.tanh(self.mix @ x @ self.mix.T)
        return self.last(mixed.flatten(1)).unflatten(1, (5, 5))


def test_a_converted_network_answers_mirrored_matrices_with_mirrored_ones() -> None:
    torch.manual_seed(0)
    model = BothSides().double()
    converted = chiralize.chiralize(model, parse_spec(COVARIANCE), (drawn(6, 5, 5),), method="average")
    for seed in (1, 2):
        given, mirror = drawn(9, 5, 5, seed=seed), torch.from_numpy(SWAPPED)
        answers = converted(mirror @ given @ mirror.T)
        assert torch.allclose(answers, mirror @ converted(given) @ mirror.T, atol=1e-12)


def test_entries_and_parts_have_names() -> None:
    (tensor,) = resolve(parse_spec(COVARIANCE), [(7, 5, 5)], [(7, 5, 5)]).input_tensors
    assert tensor.representation is not None and not tensor.is_map
    assert tensor.label((0, 1, 3)) == "C3.C4"
    parts = parts_of(tensor, tensor.representation)
    assert parts.labels == ("Fz", "C3/C4", "Cz", "Pz") and parts.numbers == 5
    given = drawn(7, 5, 5)
    lengths = distances(given, tensor, tensor.representation)
    assert torch.allclose(lengths, given.norm(dim=-1))
    first, _ = acted_on(parse_spec(COVARIANCE.replace("[[C3, C4]]", "[[C3, C4], [Fz, Pz]]")))
    assert str(first) == "input 0 'b j j': swaps the 2 pairs; along both axes of joints"


@pytest.mark.parametrize("head", [HEAD.replace("[uV]", "[x]").replace("[]", "[x]"), HEAD + "signs: {Cz: [-1]}\n"])
def test_signs_of_two_joints_are_not_guessed(head: str) -> None:
    text = head + COVARIANCE.removeprefix(HEAD).replace(", dims: []", "")
    with pytest.raises(ChiralizeError, match=r"has j twice, and cap negates.*\n.*dims: \[\] where"):
        resolve(parse_spec(text), [(7, 5, 5)], [(7, 5, 5)])


def test_an_axis_as_long_as_the_joints_is_read_as_joints_too() -> None:
    """What a file with `b j k` should have said is tried beside it."""
    resolved = resolve(parse_spec(COVARIANCE.replace("b j j", "b j k")), [(7, 5, 5)], [(7, 5, 5)])
    names = [name for name, _ in joints_on_two_axes(resolved)]
    assert names == ["layout 'b j j' of input 0", "layout 'b j j' of output 0"]
    assert list(joints_on_two_axes(resolve(parse_spec(COVARIANCE), [(7, 5, 5)], [(7, 5, 5)]))) == []
