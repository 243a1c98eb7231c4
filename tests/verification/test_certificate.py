"""The certificate looks at every number of a weight: imaginary parts, the last block, whatever its dtype."""

from __future__ import annotations

import pytest
import torch

from chiralize.graph.model import CapturedModel, Leaf, Node, Ref, Where
from chiralize.infer.records import RepMap
from chiralize.symmetry import reynolds
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.symmetry.symbolic import lower
from chiralize.verification import certificate

SWAP = Representation.of(SignedPermutation.of([(0, 1)], [2], size=4))


def passes(weight: torch.Tensor, rep: TensorRepresentation) -> bool:
    node = Node("y", "aten.clone.default", {"self": Ref("w")}, (tuple(weight.shape),), frozenset({0}), Where("layer"))
    captured = CapturedModel({"w": Leaf("w", "parameter", ("w",), weight)}, (node,), (), ("y",), (), {})
    return certificate.judge(captured, RepMap({"w": lower(rep)}, {}, (), (), {}, {})).passed


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("planted", [1e-3, 1e-3j])
def test_complex_weights(dtype: torch.dtype, planted: complex) -> None:
    """An asymmetry of 1e-3 in either part is found, rounding is not."""
    rep = TensorRepresentation((SWAP, Representation.trivial(3)))
    weight = reynolds.project(torch.randn(4, 3, dtype=dtype), rep)
    assert passes(weight * (1 + torch.finfo(dtype).eps), rep)
    assert reynolds.distance(weight, rep) == 0
    weight[0, 1] += planted
    assert not passes(weight, rep)
    assert reynolds.distance(weight, rep) > 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("row", [0, 3, 96, 99])
def test_every_block_is_looked_at(dtype: torch.dtype, row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight that is taken in blocks of seven rows: projected as if whole, and one wrong entry is found anywhere."""
    rng = torch.Generator().manual_seed(0)
    axis = Representation.of(SignedPermutation.halves(100))
    rep = TensorRepresentation((axis, SWAP), -1)
    weight = torch.randn(100, 4, generator=rng).to(dtype)
    whole = reynolds.project(weight, rep)
    monkeypatch.setattr(reynolds, "_BLOCK", 28)
    assert len(list(reynolds.blocks(weight))) == 15
    assert torch.equal(reynolds.project(weight, rep), whole)
    assert torch.equal(whole, (0.5 * weight.float() + 0.5 * reynolds.act(weight.float(), rep)).to(dtype))
    assert passes(whole, rep)
    whole[row, 3] += 0.5
    assert not passes(whole, rep)


def test_scalars_and_empty_weights() -> None:
    nothing = TensorRepresentation(())
    assert passes(torch.tensor(2.0), nothing)
    assert not passes(torch.tensor(2.0), TensorRepresentation((), -1))
    assert reynolds.project(torch.tensor(2.0), TensorRepresentation((), -1)) == 0
    assert passes(torch.zeros(0, 4), TensorRepresentation((Representation.of(SignedPermutation.identity(0)), SWAP)))
