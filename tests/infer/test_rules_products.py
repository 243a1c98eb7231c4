"""Products and sums over axes: what their rules tie together, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from chiralize.infer.registry import Call, Operand, registry
from chiralize.infer.rules.einsum import letters_of
from chiralize.infer.solver.terms import Conflict, Wait
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Axis, Known, SymbolicRepresentation, trivial

PAIRS = SignedPermutation.of([(0, 1), (2, 3)], size=4)
SIGNED = SignedPermutation.of(negated=[0], size=4)
POLAR = SignedPermutation.of(negated=[0], size=3)
AXIAL = SignedPermutation.of(negated=[1, 2], size=3)


def known(*actions: SignedPermutation | int, sign: int = 1) -> Operand:
    """Known axes; a number is a trivial axis of that size."""
    axes = tuple(trivial(action) if isinstance(action, int) else (Known(action),) for action in actions)
    return Operand(SymbolicRepresentation(axes, sign))


def run(target: str, shape: tuple[int, ...], solver: Solver | None = None, **arguments: Any) -> SymbolicRepresentation:
    solver = solver or Solver()
    out = registry()[target].apply(Call(target, arguments, (shape,), solver))
    first = out[0] if isinstance(out, tuple) else out
    assert isinstance(first, SymbolicRepresentation)
    return solver.representation(first)


def axes(*actions: SignedPermutation | int) -> tuple[Axis, ...]:
    return known(*actions).rep.axes


# ---- convolutions -------------------------------------------------------------------------------------------------
def convolved(weight: tuple[int, ...], shape: tuple[int, ...], **options: Any) -> tuple[SymbolicRepresentation, Any]:
    """An input "1 channels frames joints" with signs on channels and pairs of joints."""
    solver = Solver()
    kernel = Operand(solver.fresh_like(weight))
    out = run("aten.conv2d.default", shape, solver, input=known(1, SIGNED, 3, PAIRS), weight=kernel, **options)
    return out, solver.representation(kernel.rep)


def test_kernel_of_size_one_takes_the_joints_along() -> None:
    out, kernel = convolved((2, 4, 3, 1), (1, 2, 3, 4), padding=[1, 0])
    assert out.axes[3] == (Known(PAIRS),)
    assert kernel.axes[1] == (Known(SIGNED),)
    assert kernel.axes[2] == trivial(3)


def test_kernel_over_all_joints_sums_over_them() -> None:
    out, kernel = convolved((2, 4, 1, 4), (1, 2, 3, 1))
    assert kernel.axes[3] == (Known(PAIRS),)
    assert out.axes[3] == ()


@pytest.mark.parametrize(("weight", "shape", "padding"), [
    ((2, 4, 1, 3), (1, 2, 3, 2), [0, 0]),
    ((2, 4, 1, 4), (1, 2, 3, 3), [0, 1]),
    ((2, 4, 1, 1), (1, 2, 3, 6), [0, 1]),
])  # fmt: skip
def test_other_kernels_need_joints_in_place(
    weight: tuple[int, ...], shape: tuple[int, ...], padding: list[int]
) -> None:
    with pytest.raises(Conflict, match="order matters"):
        convolved(weight, shape, padding=padding)


def test_stride_picks_joints() -> None:
    with pytest.raises(Conflict, match="not closed"):
        convolved((2, 4, 1, 1), (1, 2, 3, 2), stride=[1, 2])


# ---- einsum -------------------------------------------------------------------------------------------------------
def test_letters() -> None:
    assert letters_of("ij , jk", [2, 2]) == ([("i", "j"), ("j", "k")], ("i", "k"))
    assert letters_of("...c, cd", [3, 2]) == ([(".1", ".0", "c"), ("c", "d")], (".1", ".0", "d"))
    assert letters_of("...a, ...a -> ...", [2, 3])[1] == (".1", ".0")
    assert letters_of("ba", [2])[1] == ("a", "b")
    with pytest.raises(Conflict, match="does not describe"):
        letters_of("abc->ab", [2])


def test_einsum_ties_an_adjacency_to_the_joints() -> None:
    solver = Solver()
    adjacency = Operand(solver.fresh_like((2, 4, 4)))
    out = run("aten.einsum.default", (1, 3, 4), solver, equation="nkcv,kvw->ncw",
              tensors=[known(1, 2, 3, PAIRS), adjacency])  # fmt: skip
    assert solver.resolve(adjacency.rep.axes[1]) == (Known(PAIRS),)
    solver.equal(out.axes[2], (Known(PAIRS),))
    assert solver.resolve(adjacency.rep.axes[2]) == (Known(PAIRS),)


def test_diagonal_loses_its_signs() -> None:
    assert run("aten.einsum.default", (4,), equation="ii->i", tensors=[known(SIGNED, SIGNED)]).axes == axes(4)
    with pytest.raises(Conflict):
        run("aten.einsum.default", (4,), equation="ii->i", tensors=[known(SIGNED, PAIRS)])


# ---- attention ----------------------------------------------------------------------------------------------------
def test_attention_with_dropout_that_is_never_switched_off() -> None:
    with pytest.raises(Conflict, match="stays on in eval mode"):
        run("aten.scaled_dot_product_attention.default", (4, 4), query=known(4, 4), key=known(4, 4),
            value=known(4, 4), dropout_p=0.1)  # fmt: skip


def test_attention_takes_signs_of_queries_keys_and_values() -> None:
    out = run("aten.scaled_dot_product_attention.default", (4, 4), query=known(PAIRS, SIGNED), key=known(4, SIGNED),
              value=known(4, -SIGNED))  # fmt: skip
    assert out == known(PAIRS, -SIGNED).rep
    with pytest.raises(Conflict, match="negated"):
        run("aten.scaled_dot_product_attention.default", (4, 4), query=known(4, SIGNED, sign=-1), key=known(4, SIGNED),
            value=known(4, 4))  # fmt: skip


def test_causal_attention_leaves_tokens_in_place() -> None:
    with pytest.raises(Conflict, match="order matters"):
        run("aten.scaled_dot_product_attention.default", (4, 4), query=known(PAIRS, 4), key=known(PAIRS, 4),
            value=known(PAIRS, 4), is_causal=True)  # fmt: skip


def test_grouped_queries_with_a_mask_of_heads() -> None:
    heads: dict[str, Any] = {"query": known(1, 4, 3, 2), "key": known(1, 2, 3, 2), "value": known(1, 2, 3, 2)}
    with pytest.raises(Conflict, match="mask that has heads"):
        run("aten.scaled_dot_product_attention.default", (1, 4, 3, 2), **heads, attn_mask=known(4, 3, 3),
            enable_gqa=True)  # fmt: skip


@pytest.mark.parametrize(("kind", "shape", "place"), [(0, (4, 4), 1), (1, (2, 4), 1), (2, (2, 2, 4, 4), 3)])
def test_mask_of_a_fused_layer_follows_the_tokens(kind: int, shape: tuple[int, ...], place: int) -> None:
    solver = Solver()
    mask = Operand(solver.fresh_like(shape))
    tokens = known(2, PAIRS, 4)
    names = {"qkv_weight": (12, 4), "qkv_bias": (12,), "proj_weight": (4, 4), "proj_bias": (4,)}
    weights: dict[str, Any] = {name: Operand(solver.fresh_like(size)) for name, size in names.items()}
    run("aten._native_multi_head_attention.default", (2, 4, 4), solver, query=tokens, key=tokens, value=tokens,
        embed_dim=4, num_head=2, mask=mask, mask_type=kind, need_weights=False, average_attn_weights=True,
        **weights)  # fmt: skip
    assert solver.resolve(mask.rep.axes[place]) == (Known(PAIRS),)


# ---- geometry -----------------------------------------------------------------------------------------------------
def test_cross_product_of_polar_vectors_is_axial() -> None:
    out = run("aten.linalg_cross.default", (4, 3), self=known(PAIRS, POLAR), other=known(PAIRS, POLAR), dim=-1)
    assert out == known(PAIRS, AXIAL).rep or out == known(PAIRS, POLAR, sign=-1).rep
    back = run("aten.linalg_cross.default", (4, 3), self=known(4, POLAR), other=known(4, AXIAL), dim=-1)
    assert back == known(4, POLAR).rep or back == known(4, AXIAL, sign=-1).rep
    solver = Solver()
    with pytest.raises(Wait):
        run("aten.linalg_cross.default", (3,), solver, self=Operand(solver.fresh_like((3,))),
            other=Operand(solver.fresh_like((3,))), dim=-1)  # fmt: skip


def test_distance_with_a_number_added_needs_entries_without_signs() -> None:
    pair: dict[str, Any] = {"x1": known(3, SIGNED), "x2": known(3, SIGNED)}
    assert run("aten.pairwise_distance.default", (3,), **pair, eps=0.0).axes == axes(3)
    with pytest.raises(Conflict, match="negated"):
        run("aten.pairwise_distance.default", (3,), **pair, eps=1e-6)


def test_powers_of_a_matrix() -> None:
    assert run("aten.matrix_power.default", (4, 4), self=known(PAIRS, PAIRS), n=3).axes == axes(PAIRS, PAIRS)
    with pytest.raises(Conflict, match="power of 0"):
        run("aten.matrix_power.default", (4, 4), self=known(4, 4), n=0)
