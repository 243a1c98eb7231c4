"""What rules refuse, and with which words; and what they can do only where somebody tells them more."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from chiralize.infer.registry import Call, Operand, registry
from chiralize.infer.solver.terms import Conflict, Wait
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Known, SymbolicRepresentation, Var, is_known, trivial

PAIRS = SignedPermutation.of([(0, 1), (2, 3)], size=4)
SIGNED = SignedPermutation.of(negated=[0], size=4)
IDENTITY = SignedPermutation.identity(4)


def known(*actions: SignedPermutation, sign: int = 1) -> Operand:
    return Operand(SymbolicRepresentation(tuple((Known(action),) for action in actions), sign))


def run(
    target: str, shape: tuple[int, ...], solver: Solver | None = None, key: str = "", **arguments: Any
) -> SymbolicRepresentation:
    call = Call(target, arguments, (shape,), solver or Solver(), None, key)
    out = registry()[target].apply(call)
    first = out[0] if isinstance(out, tuple) else out
    assert isinstance(first, SymbolicRepresentation)
    return first


@pytest.mark.parametrize("name", ["dropout", "feature_dropout", "alpha_dropout"])
def test_dropout_that_is_never_switched_off(name: str) -> None:
    with pytest.raises(Conflict, match="stays on in eval mode"):
        run(f"aten.{name}.default", (4,), input=known(PAIRS), p=0.5, train=True)


def test_batch_norm_in_training_mode() -> None:
    with pytest.raises(Conflict, match="eval mode"):
        run("aten.batch_norm.default", (4, 4), input=known(PAIRS, PAIRS), training=True)


def test_clamp_between_bounds_in_the_wrong_order() -> None:
    """It is the upper one everywhere, whatever the sign."""
    with pytest.raises(Conflict, match="1 of 4 entries are negated"):
        run("aten.clamp.default", (4,), self=known(SIGNED), min=1.0, max=-1.0)


def test_relu_counts_the_negated_entries() -> None:
    with pytest.raises(Conflict, match="1 of 4 entries are negated") as caught:
        run("aten.relu.default", (4,), self=known(SIGNED))
    assert caught.value.negated


def test_parameter_added_along_a_negated_axis_is_refused() -> None:
    solver = Solver()
    scale = Operand(solver.fresh_like((1,)))
    with pytest.raises(Conflict, match="negated"):
        run("aten.add.Tensor", (4,), solver, self=known(SIGNED), other=scale)


def test_slice_through_a_pair_names_entries() -> None:
    with pytest.raises(Conflict, match="entry 2 is in it 1 times, its partner 3 0 times"):
        run("aten.slice.Tensor", (3,), self=known(PAIRS), dim=0, start=0, end=3)


def test_slice_with_an_end_beyond_the_axis() -> None:
    out = run("aten.slice.Tensor", (2,), self=known(PAIRS), dim=-1, start=-2, end=9223372036854775807)
    assert out.axes[0] == (Known(SignedPermutation.of([(0, 1)], size=2)),)


def test_slice_of_a_merged_axis() -> None:
    axis = (Known(PAIRS), Known(SIGNED))
    out = run("aten.slice.Tensor", (8,), self=Operand(SymbolicRepresentation((axis,))), dim=0, start=8, end=16)
    assert out.shape == (8,)
    with pytest.raises(Conflict, match="not closed"):
        run("aten.slice.Tensor", (4,), self=Operand(SymbolicRepresentation((axis,))), dim=0, start=0, end=4)


def lists(*entries: list[int]) -> list[Operand]:
    return [Operand(SymbolicRepresentation((trivial(len(own)),)), torch.tensor(own)) for own in entries]


def test_index_that_is_computed_leaves_what_it_names_in_place() -> None:
    with pytest.raises(Conflict, match="order matters"):
        run("aten.index.Tensor", (4,), self=known(PAIRS), indices=[known(IDENTITY)])
    out = run("aten.index.Tensor", (4, 4), self=known(IDENTITY, SIGNED), indices=[known(PAIRS)])
    assert out.axes == ((Known(PAIRS),), (Known(SIGNED),))
    with pytest.raises(Conflict, match="order matters"):
        run("aten.index_select.default", (4, 4), self=known(SIGNED, PAIRS), dim=1, index=known(IDENTITY))
    out = run("aten.index_select.default", (4, 4), self=known(SIGNED, IDENTITY), dim=1, index=known(PAIRS))
    assert out.axes == ((Known(SIGNED),), (Known(PAIRS),))
    number = Operand(SymbolicRepresentation(()))
    out = run("aten.index_select.default", (4, 1), self=known(SIGNED, IDENTITY), dim=1, index=number)
    assert out.axes == ((Known(SIGNED),), ())


def test_lists_side_by_side_are_closed_together() -> None:
    out = run("aten.index.Tensor", (2,), self=known(PAIRS, PAIRS), indices=lists([0, 1], [2, 3]))
    assert out.axes == ((Known(SignedPermutation.of([(0, 1)], size=2)),),)
    with pytest.raises(Conflict, match="2 entries of 2 axes is not closed"):
        run("aten.index.Tensor", (2,), self=known(PAIRS, PAIRS), indices=lists([0, 1], [2, 2]))


def test_state_of_a_recurrent_layer_with_a_projection() -> None:
    weights = [Operand(Solver().fresh_like((4, 4))) for _ in range(5)]
    with pytest.raises(Conflict, match="with a projection is given or returned"):
        run("aten.lstm.input", (4, 4, 4), input=known(IDENTITY, IDENTITY, PAIRS), hx=[], params=weights, num_layers=1,
            bidirectional=False, batch_first=True, train=False, dropout=0.0)  # fmt: skip


def test_recurrent_features_that_are_negated_as_a_whole() -> None:
    """A lone sign goes into the features, so that the weights can take it."""
    solver = Solver()
    w_ih, w_hh = (Operand(solver.fresh_like((12, 4))) for _ in range(2))
    run("aten.gru_cell.default", (4, 4), solver, input=known(IDENTITY, PAIRS, sign=-1), hx=known(IDENTITY, IDENTITY),
        w_ih=w_ih, w_hh=w_hh)  # fmt: skip
    assert solver.resolve(w_ih.rep.axes[1]) == (Known(-PAIRS),)


def test_stretched_axis_follows_what_it_meets() -> None:
    """With a place in the graph, the copies of one entry may be permuted as their reader needs."""
    solver = Solver()
    x = Operand(SymbolicRepresentation(((), (Known(SIGNED),))))
    out = run("aten.expand.default", (4, 4), solver, "expand", self=x, size=[4, 4])
    assert isinstance(out.axes[0][0], Var)
    assert run("aten.expand.default", (4, 4), solver, "expand", self=x, size=[4, 4]) == out
    solver.equal(out.axes[0], (Known(PAIRS),))
    again = run("aten.expand.default", (4, 4), solver, "expand", self=x, size=[4, 4])
    assert again.axes[0] == (Known(PAIRS),)
    assert run("aten.expand.default", (4, 4), self=x, size=[4, 4]).axes[0] == trivial(4)


def test_view_splits_an_unknown_axis_into_heads() -> None:
    solver = Solver()
    x = Operand(solver.fresh_like((4, 12)))
    out = run("aten.view.default", (4, 3, 4), solver, self=x, size=[4, 3, 4])
    assert out.shape == (4, 3, 4)
    assert run("aten.view.default", (4, 3, 4), solver, self=x, size=[4, 3, 4]) == out
    with pytest.raises(Wait, match="across a boundary"):
        run("aten.view.default", (3, 8), solver, self=Operand(solver.fresh_like((4, 6))), size=[3, 8])


def test_view_of_zeros_entries() -> None:
    empty = Operand(SymbolicRepresentation((trivial(0), (Known(PAIRS),))))
    assert run("aten.view.default", (0,), self=empty, size=[0]).shape == (0,)


def test_gate_takes_the_values_without_signs() -> None:
    solver = Solver()
    x = Operand(solver.fresh_like((8,)))
    out = run("aten.glu.default", (4,), solver, self=x, dim=0)
    solver.equal(out.axes[0], (Known(SIGNED),))
    (whole,) = solver.resolve(x.rep.axes[0])
    assert isinstance(whole, Known)
    assert whole.action == SIGNED.direct_sum(abs(SIGNED))


def test_embedding_of_every_row_waits_for_nothing() -> None:
    solver = Solver()
    table = Operand(solver.fresh_like((4, 3)))
    rows = Operand(SymbolicRepresentation((trivial(4),)), torch.arange(4))
    out = run("aten.embedding.default", (4, 3), solver, weight=table, indices=rows)
    assert out.axes[0] == table.rep.axes[0]
    assert not is_known(out.axes[0])


def test_embedding_of_some_rows_waits_for_readers() -> None:
    """The first run shows its rows to readers; where they say nothing, the second waits."""
    solver = Solver()
    arguments: dict[str, Any] = {"weight": Operand(solver.fresh_like((4, 3))), "indices": lists([3, 1])[0]}
    out = run("aten.embedding.default", (2, 3), solver, **arguments)
    assert not is_known(out.axes[0])
    with pytest.raises(Wait):
        run("aten.embedding.default", (2, 3), solver, **arguments)


def test_table_of_rows_over_two_axes() -> None:
    """Hop distances of a graph: rows and columns move with the joints, the rows of the table stay."""
    solver, hops = Solver(), torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1], [1, 2, 0, 1], [2, 1, 1, 0]])
    arguments: dict[str, Any] = {
        "weight": Operand(solver.fresh_like((8, 3))),
        "indices": Operand(SymbolicRepresentation((trivial(4), trivial(4))), hops),
    }
    out = run("aten.embedding.default", (4, 4, 3), solver, "e", **arguments)
    for axis in out.axes[:2]:
        solver.equal(axis, (Known(PAIRS),))
    with solver.resort(lists=True):
        out = run("aten.embedding.default", (4, 4, 3), solver, "e", **arguments)
    assert out.axes[:2] == ((Known(PAIRS),), (Known(PAIRS),))
    assert solver.resolve(arguments["weight"].rep.axes[0]) == trivial(8)


def test_zeros_join_any_sum() -> None:
    solver = Solver()
    zero = Operand(solver.fitting((1,), zero=True), None, True)
    out = run("aten.add.Tensor", (4,), solver, self=known(SIGNED), other=zero)
    assert out.axes[0] == (Known(SIGNED),)


def test_depthwise_convolution_moves_groups_with_the_channels() -> None:
    solver = Solver()
    x = Operand(SymbolicRepresentation(((), (Known(SIGNED),), trivial(5))))
    weight, bias = Operand(solver.fresh_like((4, 1, 3))), Operand(solver.fresh_like((4,)))
    out = run("aten.conv1d.default", (1, 4, 3), solver, input=x, weight=weight, bias=bias, groups=4)
    assert out.axes[1] == (Known(SIGNED),)
    assert solver.resolve(weight.rep.axes[0]) == (Known(abs(SIGNED)),)
    assert solver.resolve(bias.rep.axes[0]) == (Known(SIGNED),)
