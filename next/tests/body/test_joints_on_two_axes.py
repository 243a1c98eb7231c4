"""Numbers of every two joints, such as a covariance or an adjacency: the mirror swaps joints along both axes."""

from __future__ import annotations

import numpy as np
import pytest

from chiralize.body.resolve import resolve
from chiralize.body.spec import parse_spec
from chiralize.errors import SpecError

HEAD = "name: cap\njoints: [Fz, C3, Cz, C4, Pz]\npairs: [[C3, C4]]\ndims: [uV]\nnegate: []\n"
SWAPPED = np.eye(5)[[0, 3, 2, 1, 4]]


@pytest.mark.parametrize(
    ("layout", "shape"), [("b j j", (7, 5, 5)), ("b t j j", (7, 2, 5, 5)), ("b (j j)", (7, 25)), ("... j j", (7, 5, 5))]
)
def test_both_axes_are_swapped(layout: str, shape: tuple[int, ...]) -> None:
    """As with matrices: P X P^T, whatever the layout."""
    spec = parse_spec(HEAD + f'inputs: [{{layout: "{layout}", dims: []}}]\n')
    (tensor,) = resolve(spec, [shape], []).inputs
    values = np.random.default_rng(0).normal(size=shape)
    wanted = SWAPPED @ values.reshape(*shape[: 1 + ("t" in layout)], 5, 5) @ SWAPPED.T
    assert tensor.representation is not None
    assert np.array_equal(tensor.representation.act(values).reshape(wanted.shape), wanted)
    if len(shape) == 3:
        assert tensor.label((0, 1, 3)) == "C3.C4"


@pytest.mark.parametrize("head", [HEAD.replace("[uV]", "[x]").replace("[]", "[x]"), HEAD + "signs: {Cz: [-1]}\n"])
def test_signs_of_two_joints_are_not_guessed(head: str) -> None:
    with pytest.raises(SpecError):
        resolve(parse_spec(head + 'inputs: [{layout: "b j j"}]\n'), [(7, 5, 5)], [])
