"""Wrong rules, planted on purpose: the oracle has to find each of them unsound, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from chiralize.infer.algebra import element_product, equal_sum
from chiralize.infer.rule import Answer, Call, OpRule, registry
from chiralize.infer.symbolic import SymbolicRepresentation, trivial

Fault = tuple[str, Callable[[Call], Answer]]


def _odd(call: Call) -> Answer:
    """Signs pass."""
    return call.operands[0].rep


def _resized(call: Call) -> Answer:
    """Keeps the representation of every axis that keeps its size; others are called trivial."""
    rep = call.source
    pairs = zip(rep.axes, call.shape, rep.shape, strict=True)
    return SymbolicRepresentation(tuple(axis if size == old else trivial(size) for axis, size, old in pairs), rep.sign)


def _dropped(call: Call) -> Answer:
    """Forgets the axis that goes away."""
    rep = call.source
    dim = call.axis(call["dim"][0] if isinstance(call["dim"], Sequence) else call["dim"], len(rep.axes))
    return SymbolicRepresentation(rep.axes[:dim] + rep.axes[dim + 1 :], rep.sign)


def _like_first(call: Call) -> Answer:
    """Every weight axis as large as the last data axis moves with it, signs or not."""
    x = call.source
    for operand in call.operands[1:]:
        call.solver.same(operand.rep.axes[0], x.axes[1 if "batch_norm" in call.target else -1])
    return call.first(x)


def _conv_keeping_time(call: Call) -> Answer:
    """The axis along which a kernel slides passes as it is."""
    rep = call.representations("input")[0]
    weight = call["weight"].rep
    call.solver.trivial(weight.axes[2])
    sign = call.solver.same(weight.axes[1], rep.axes[1], rep.sign)
    if call["bias"] is not None:
        call.solver.same(call["bias"].rep.axes[0], weight.axes[0])
    time = rep.axes[2] if call.shape[2] == rep.shape[2] else trivial(call.shape[2])
    return SymbolicRepresentation((rep.axes[0], call.solver.resolve(weight.axes[0]), time), sign)


def _linear_signed_batch(call: Call) -> Answer:
    """Signs of the batch axes pass in spite of the bias."""
    without_bias = {name: value for name, value in call.arguments.items() if name != "bias"} | {"bias": None}
    out = registry()["aten.linear.default"].apply(replace(call, arguments=without_bias))
    assert isinstance(out, SymbolicRepresentation)
    if call["bias"] is not None:
        call.solver.same(call["bias"].rep.axes[0], out.axes[-1])
    return out


def _ungated(call: Call) -> Answer:
    """The last gate's bias stays as it is."""
    out = registry()[call.target].apply(replace(call, arguments={**call.arguments, "b_ih": None, "b_hh": None}))
    for name in ("b_ih", "b_hh"):
        rows, size = call[name].shape[0], call["w_hh"].shape[1]
        gates, last = call.solver.cut(call[name].rep.axes[0], [rows - size, rows])
        call.solver.trivial(last)
        call.solver.same(gates, call.solver.cut(call["w_hh"].rep.axes[0], [rows - size, rows])[0])
    return out


def _reversed_view(call: Call) -> Answer:
    """Factors in the wrong order."""
    rep = call.source
    return SymbolicRepresentation(tuple(call.solver.regroup(rep.axes[::-1], call.shape)), rep.sign)


def _product_as_sum(call: Call) -> Answer:
    """A product taken for a sum."""
    return equal_sum(call.operands, call.shape, call.solver)


def _sum_as_product(call: Call) -> Answer:
    """A sum taken for a product."""
    return element_product(call.operands, call.shape, call.solver)


def _side_by_side(call: Call) -> Answer:
    """Parts of a concatenation, the other axes not compared."""
    reps = call.representations()
    dim = call.axis(call["dim"], len(reps[0].axes))
    return reps[0].with_axis(dim, call.solver.concatenate([rep.axes[dim] for rep in reps]))


def _unmasked(call: Call) -> Answer:
    """The mask may move in any way."""
    return equal_sum([call["self"], call["other"]], call.shape, call.solver)


def _with_signs_selected(call: Call) -> Answer:
    """Any entry is a fixed point."""
    rep = call.source
    dim = call.axis(call["dim"], len(rep.axes))
    return SymbolicRepresentation(rep.axes[:dim] + rep.axes[dim + 1 :], 1)


FAULTS: dict[str, Fault] = {
    "relu called odd": ("aten.prelu.default", _odd),
    "abs called odd": ("aten.abs.default", _odd),
    "sigmoid called odd": ("aten.log_sigmoid.default", _odd),
    "softmax with signs": ("aten.softmax.int", _odd),
    "clamp always odd": ("aten.clamp.default", _odd),
    "layer norm with signs": ("aten.layer_norm.default", _like_first),
    "batch norm variance with signs": ("aten.batch_norm.default", _like_first),
    "linear: signs of the batch pass the bias": ("aten.linear.default", _linear_signed_batch),
    "convolution along a moving axis": ("aten.conv1d.default", _conv_keeping_time),
    "pooling of a swapped time axis": ("aten.max_pool1d.default", _resized),
    "cumulative sum of any axis": ("aten.cumsum.default", _odd),
    "sum over signs": ("aten.sum.dim_IntList", _dropped),
    "largest over signs": ("aten.amax.default", _dropped),
    "position of the largest moves along": ("aten.argmax.default", _dropped),
    "selected entry is no fixed point": ("aten.select.int", _with_signs_selected),
    "slice that is not closed": ("aten.slice.Tensor", _resized),
    "index list that is not closed": ("aten.index_select.default", _resized),
    "padding of a moving axis": ("aten.constant_pad_nd.default", _resized),
    "product: signs taken once": ("aten.mul.Tensor", _product_as_sum),
    "sum: signs multiplied": ("aten.add.Tensor", _sum_as_product),
    "concatenation: other axes not compared": ("aten.cat.default", _side_by_side),
    "mask does not move along": ("aten.where.self", _unmasked),
    "view: factors in the wrong order": ("aten.view.default", _reversed_view),
    "one gate of an LSTM step unprojected": ("aten.lstm_cell.default", _ungated),
    "one gate of a GRU step unprojected": ("aten.gru_cell.default", _ungated),
    "number added to negated entries": ("aten.add.Scalar", _odd),
    "even power called odd": ("aten.pow.Tensor_Scalar", _odd),
    "variance with signs": ("aten.var.correction", _dropped),
    "reversed axis keeps its mirror": ("aten.flip.default", _odd),
}


def faulty(name: str) -> tuple[OpRule, str]:
    """A rule with a wrong `apply`, and its target."""
    target, apply = FAULTS[name]
    return OpRule(apply, name), target
