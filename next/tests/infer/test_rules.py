"""Rules by hand: what they tie together, what they refuse, and what readers may tell them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from chiralize.graph.model import Node, Ref, Where
from chiralize.infer.rule import Call, Operand, Uniform, rule_of
from chiralize.infer.rules.contraction import letters_of
from chiralize.infer.rules.elementwise import ACTIVATIONS, divisor
from chiralize.infer.solver.unify import Solver
from chiralize.infer.solver.unknowns import Leave
from chiralize.infer.spelling import SPELLED, WHOLE, spelled
from chiralize.infer.symbolic import Axis, Conflict, Known, SymbolicRepresentation, Var, Wait, is_known, trivial
from chiralize.symmetry.involution import SignedPermutation

PAIRS = SignedPermutation.of([(0, 1), (2, 3)], size=4)
SIGNED = SignedPermutation.of(negated=[0], size=4)
POLAR = SignedPermutation.of(negated=[0], size=3)
AXIAL = SignedPermutation.of(negated=[1, 2], size=3)


def known(*actions: SignedPermutation | int, sign: int = 1) -> Operand:
    """Known axes; a number is a trivial axis of that size."""
    return Operand(SymbolicRepresentation(axes(*actions), sign))


def axes(*actions: SignedPermutation | int) -> tuple[Axis, ...]:
    return tuple(trivial(action) if isinstance(action, int) else (Known(action),) for action in actions)


def listed(*entries: list[int]) -> list[Operand]:
    return [Operand(SymbolicRepresentation((trivial(len(each)),)), torch.tensor(each)) for each in entries]


def run(
    name: str, shape: tuple[int, ...], solver: Solver | None = None, at: str = "", /, **arguments: Any
) -> SymbolicRepresentation:
    solver, rule = solver or Solver(), rule_of(f"aten.{name}")
    assert rule is not None
    out = rule.outputs(Call(f"aten.{name}", arguments, (shape,), solver, None, at))[0]
    assert isinstance(out, SymbolicRepresentation)
    return solver.representation(out)


# ---- switches, and numbers that decide ----------------------------------------------------------------------------
SWITCHED = [
    ("dropout.default", {"input": known(PAIRS), "p": 0.5, "train": True}),
    ("rrelu.default", {"self": known(PAIRS), "training": True}),
    ("batch_norm.default", {"input": known(4, PAIRS), "training": True}),
    (
        "scaled_dot_product_attention.default",
        {"query": known(4, 4), "key": known(4, 4), "value": known(4, 4), "dropout_p": 0.1},
    ),
]


@pytest.mark.parametrize(("name", "arguments"), SWITCHED)
def test_what_stays_on_in_eval_mode_is_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(Conflict):
        run(name, (4, 4), **arguments)


def test_signs_are_counted_where_none_may_be() -> None:
    for name, options in (
        ("relu.default", {}),
        ("clamp.default", {"min": 1.0, "max": -1.0}),
        ("add.Scalar", {"other": 2}),
    ):
        with pytest.raises(Conflict) as caught:
            run(name, (4,), self=known(SIGNED), **options)
        assert caught.value.negated


def test_the_letter_of_a_divisor_says_which_argument_it_is() -> None:
    assert divisor("aten.div.Tensor") == 1
    assert divisor("aten.reciprocal.default") == divisor("aten.atan2.default") == 0
    assert divisor("aten.addcdiv.default") == 2
    assert divisor("aten.mul.Tensor") is divisor("aten.relu.default") is None
    assert all(rule_of(name) is not None for name in ACTIVATIONS)


def test_zeros_join_any_sum_and_make_any_product_zero() -> None:
    solver = Solver()
    zero = Operand(solver.fitting((4,), zero=True), None, True)
    assert run("add.Tensor", (4,), solver, self=known(SIGNED), other=zero).axes == axes(SIGNED)
    rule = rule_of("aten.mul.Tensor")
    assert rule is not None
    call = Call("aten.mul.Tensor", {"self": known(SIGNED), "other": zero}, ((4,),), solver)
    assert rule.outputs(call) == (Uniform((4,), True),)


# ---- parts and lists ----------------------------------------------------------------------------------------------
def test_slice_with_an_end_beyond_the_axis() -> None:
    out = run("slice.Tensor", (2,), self=known(PAIRS), dim=-1, start=-2, end=9223372036854775807)
    assert out.axes == axes(SignedPermutation.of([(0, 1)], size=2))
    with pytest.raises(Conflict):
        run("slice.Tensor", (3,), self=known(PAIRS), dim=0, start=0, end=3)


def test_slice_of_a_merged_axis() -> None:
    whole = Operand(SymbolicRepresentation(((Known(PAIRS), Known(SIGNED)),)))
    assert run("slice.Tensor", (8,), self=whole, dim=0, start=8, end=16).shape == (8,)
    with pytest.raises(Conflict):
        run("slice.Tensor", (4,), self=whole, dim=0, start=0, end=4)


def test_index_that_is_computed_leaves_what_it_names_in_place() -> None:
    with pytest.raises(Conflict):
        run("index.Tensor", (4,), self=known(PAIRS), indices=[known(4)])
    assert run("index.Tensor", (4, 4), self=known(4, SIGNED), indices=[known(PAIRS)]).axes == axes(PAIRS, SIGNED)
    with pytest.raises(Conflict):
        run("index_select.default", (4, 4), self=known(SIGNED, PAIRS), dim=1, index=known(4))
    out = run("index_select.default", (4, 4), self=known(SIGNED, 4), dim=1, index=known(PAIRS))
    assert out.axes == axes(SIGNED, PAIRS)
    number = Operand(SymbolicRepresentation(()))
    assert run("index_select.default", (4, 1), self=known(SIGNED, 4), dim=1, index=number).axes == (axes(SIGNED)[0], ())


def test_lists_side_by_side_are_closed_together() -> None:
    out = run("index.Tensor", (2,), self=known(PAIRS, PAIRS), indices=listed([0, 1], [2, 3]))
    assert out.axes == axes(SignedPermutation.of([(0, 1)], size=2))
    with pytest.raises(Conflict):
        run("index.Tensor", (2,), self=known(PAIRS, PAIRS), indices=listed([0, 1], [2, 2]))


def test_embedding_of_every_row_waits_for_nothing_and_of_some_rows_for_readers() -> None:
    solver = Solver()
    table = Operand(solver.fresh_like((4, 3)))
    out = run("embedding.default", (4, 3), solver, weight=table, indices=listed([0, 1, 2, 3])[0])
    assert out.axes[0] == table.rep.axes[0]
    some_rows: dict[str, Any] = {"weight": Operand(solver.fresh_like((4, 3))), "indices": listed([3, 1])[0]}
    assert not is_known(run("embedding.default", (2, 3), solver, "e", **some_rows).axes[0])
    with pytest.raises(Wait):
        run("embedding.default", (2, 3), solver, "e", **some_rows)


def test_table_of_rows_over_two_axes() -> None:
    """Hop distances of a graph: rows and columns move with the joints, the rows of the table stay."""
    solver, hops = Solver(), torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1], [1, 2, 0, 1], [2, 1, 1, 0]])
    weight, indices = Operand(solver.fresh_like((8, 3))), Operand(known(4, 4).rep, hops)
    out = run("embedding.default", (4, 4, 3), solver, "e", weight=weight, indices=indices)
    for axis in out.axes[:2]:
        solver.equal(axis, (Known(PAIRS),))
    solver.leave = Leave.LISTS
    out = run("embedding.default", (4, 4, 3), solver, "e", weight=weight, indices=indices)
    assert out.axes[:2] == axes(PAIRS, PAIRS)
    assert solver.resolve(weight.rep.axes[0]) == trivial(8)


# ---- layouts ------------------------------------------------------------------------------------------------------
def test_stretched_axis_follows_what_it_meets() -> None:
    """With a key of its own in the graph, the copies of one entry may be permuted as their reader needs."""
    solver = Solver()
    x = Operand(SymbolicRepresentation(((), (Known(SIGNED),))))
    out = run("expand.default", (4, 4), solver, "expand", self=x, size=[4, 4])
    assert isinstance(out.axes[0][0], Var)
    assert run("expand.default", (4, 4), solver, "expand", self=x, size=[4, 4]) == out
    solver.equal(out.axes[0], (Known(PAIRS),))
    assert run("expand.default", (4, 4), solver, "expand", self=x, size=[4, 4]).axes == axes(PAIRS, SIGNED)
    assert run("expand.default", (4, 4), self=x, size=[4, 4]).axes[0] == trivial(4)


def test_view_splits_an_unknown_axis_into_heads() -> None:
    solver = Solver()
    x = Operand(solver.fresh_like((4, 12)))
    out = run("reshape.default", (4, 3, 4), solver, self=x, shape=[4, 3, 4])
    assert run("reshape.default", (4, 3, 4), solver, self=x, shape=[4, 3, 4]) == out
    with pytest.raises(Wait):
        run("reshape.default", (3, 8), solver, self=Operand(solver.fresh_like((4, 6))), shape=[3, 8])
    assert run("reshape.default", (0,), self=known(0, PAIRS), shape=[0]).shape == (0,)


def test_an_op_is_spelled_as_that_of_its_family() -> None:
    def spelling(name: str, shape: tuple[int, ...], **arguments: Any) -> tuple[str, dict[str, Any]]:
        node = Node("x", f"aten.{name}", {"self": Ref("y"), **arguments}, (shape,), frozenset({0}), Where())
        after = spelled(node)
        return after.target, {key: value for key, value in after.arguments.items() if key != "self"}

    assert spelling("t.default", (4, 3)) == ("aten.permute.default", {"dims": [1, 0]})
    assert spelling("movedim.intlist", (2, 3, 4), source=[1, 2], destination=[0, -2])[1] == {"dims": [1, 2, 0]}
    assert spelling("squeeze.dim", (3, 4), dim=1) == ("aten.reshape.default", {"shape": [3, 4]})
    assert spelling("view.default", (3, 4), size=[-1, 4]) == ("aten.reshape.default", {"shape": [-1, 4]})
    assert spelling("narrow.default", (3, 2), dim=1, start=-2, length=2)[1]["end"] is None
    assert spelling("relu.default", (3,)) == ("aten.relu.default", {})
    assert "aten.t.default" in WHOLE
    assert "aten.gelu.default" in WHOLE
    assert "aten.linalg_svd.default" not in WHOLE
    assert all(rule_of(target) is not None for target, _ in SPELLED.values())


# ---- sums of products ---------------------------------------------------------------------------------------------
def convolved(weight: tuple[int, ...], shape: tuple[int, ...], **options: Any) -> tuple[SymbolicRepresentation, Any]:
    """An input "1 channels frames joints" with signs on channels and pairs of joints."""
    solver = Solver()
    kernel = Operand(solver.fresh_like(weight))
    out = run("convolution.default", shape, solver, input=known(1, SIGNED, 3, PAIRS), weight=kernel, **options)
    return out, solver.representation(kernel.rep)


def test_kernels_of_one_joint_take_joints_along_and_of_all_joints_sum_over_them() -> None:
    out, kernel = convolved((2, 4, 3, 1), (1, 2, 3, 4), padding=[1, 0])
    assert out.axes[3:] == axes(PAIRS)
    assert kernel.axes[1:3] == axes(SIGNED, 3)
    out, kernel = convolved((2, 4, 1, 4), (1, 2, 3, 1))
    assert kernel.axes[3:] == axes(PAIRS)
    assert out.axes[3] == ()


@pytest.mark.parametrize(
    ("weight", "shape", "options"),
    [
        ((2, 4, 1, 3), (1, 2, 3, 2), {}),
        ((2, 4, 1, 4), (1, 2, 3, 3), {"padding": [0, 1]}),
        ((2, 4, 1, 1), (1, 2, 3, 6), {"padding": [0, 1]}),
        ((2, 4, 1, 1), (1, 2, 3, 2), {"stride": [1, 2]}),
    ],
)
def test_other_kernels_need_joints_left_alone(weight: Any, shape: Any, options: dict[str, Any]) -> None:
    with pytest.raises(Conflict):
        convolved(weight, shape, **options)


def test_depthwise_convolution_moves_groups_with_the_channels() -> None:
    solver = Solver()
    weight, bias = Operand(solver.fresh_like((4, 1, 3))), Operand(solver.fresh_like((4,)))
    x = known(1, SIGNED, 5)
    out = run("convolution.default", (1, 4, 3), solver, input=x, weight=weight, bias=bias, groups=4)
    assert out.axes[1:2] == axes(SIGNED)
    assert solver.representation(weight.rep).axes[:1] == axes(abs(SIGNED))
    assert solver.representation(bias.rep).axes == axes(SIGNED)


def test_letters_of_an_einsum() -> None:
    assert letters_of("ij , jk", [2, 2]) == ([("i", "j"), ("j", "k")], ("i", "k"))
    assert letters_of("...c, cd", [3, 2]) == ([(".1", ".0", "c"), ("c", "d")], (".1", ".0", "d"))
    assert letters_of("...a, ...a -> ...", [2, 3])[1] == (".1", ".0")
    assert letters_of("ba", [2])[1] == ("a", "b")
    with pytest.raises(Conflict):
        letters_of("abc->ab", [2])


def test_einsum_ties_an_adjacency_to_the_joints() -> None:
    solver = Solver()
    adjacency = Operand(solver.fresh_like((2, 4, 4)))
    tensors = [known(1, 2, 3, PAIRS), adjacency]
    out = run("einsum.default", (1, 3, 4), solver, equation="nkcv,kvw->ncw", tensors=tensors)
    solver.equal(out.axes[2], (Known(PAIRS),))
    assert solver.representation(adjacency.rep).axes[1:] == axes(PAIRS, PAIRS)
    assert run("einsum.default", (4,), equation="ii->i", tensors=[known(SIGNED, SIGNED)]).axes == axes(4)
    with pytest.raises(Conflict):
        run("einsum.default", (4,), equation="ii->i", tensors=[known(SIGNED, PAIRS)])


def test_attention_takes_signs_of_queries_keys_and_values() -> None:
    def attended(query: Operand, key: Operand, value: Operand, **options: Any) -> SymbolicRepresentation:
        shape = (4, 4)
        return run("scaled_dot_product_attention.default", shape, query=query, key=key, value=value, **options)

    assert attended(known(PAIRS, SIGNED), known(4, SIGNED), known(4, -SIGNED)) == known(PAIRS, -SIGNED).rep
    with pytest.raises(Conflict):
        attended(known(4, SIGNED, sign=-1), known(4, SIGNED), known(4, 4))
    with pytest.raises(Conflict):
        attended(known(PAIRS, 4), known(PAIRS, 4), known(PAIRS, 4), is_causal=True)
    heads = [known(1, count, 3, 2) for count in (4, 2, 2)]
    with pytest.raises(Conflict):
        attended(*heads, attn_mask=known(4, 3, 3), enable_gqa=True)


def test_cross_product_of_polar_vectors_is_axial() -> None:
    polar, axial = known(PAIRS, POLAR), known(PAIRS, AXIAL)
    out = run("linalg_cross.default", (4, 3), self=polar, other=polar, dim=-1)
    assert out in (axial.rep, known(PAIRS, POLAR, sign=-1).rep)
    back = run("linalg_cross.default", (4, 3), self=known(4, POLAR), other=known(4, AXIAL), dim=-1)
    assert back in (known(4, POLAR).rep, known(4, AXIAL, sign=-1).rep)
    solver = Solver()
    with pytest.raises(Wait):
        first, second = (Operand(solver.fresh_like((3,))) for _ in range(2))
        run("linalg_cross.default", (3,), solver, self=first, other=second, dim=-1)


# ---- recurrent ----------------------------------------------------------------------------------------------------
def test_recurrent_layer_with_a_projection() -> None:
    options = {"num_layers": 1, "bidirectional": False, "batch_first": True, "train": False, "dropout": 0.0}
    weights = [Operand(Solver().fresh_like((4, 4))) for _ in range(5)]
    with pytest.raises(Conflict):
        run("lstm.input", (4, 4, 4), input=known(4, 4, PAIRS), hx=[], params=weights, **options)


def test_recurrent_features_that_are_negated_as_a_whole() -> None:
    """A lone sign goes into the features, so that the weights can take it."""
    solver = Solver()
    w_ih, w_hh = (Operand(solver.fresh_like((12, 4))) for _ in range(2))
    x, state = known(4, PAIRS, sign=-1), known(4, 4)
    run("gru_cell.default", (4, 4), solver, input=x, hx=state, w_ih=w_ih, w_hh=w_hh)
    assert solver.resolve(w_ih.rep.axes[1]) == (Known(-PAIRS),)
