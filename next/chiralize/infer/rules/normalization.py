"""How does normalisation transform, with stored or measured statistics?

    (x - mean) / sqrt(var + eps) * weight + bias

Stored statistics (batch norm) are parameters of a channel each. Where T takes channel c to -d, mean and bias of c are
minus those of d, and var and weight are the same: `c` and `|c|` in the equation. Measured ones are means over axes, so
along these axes there must be no signs, and any permutation leaves the mean as it is (layer, instance, group norm).
Without a mean and a bias the function is odd, and signs pass (rms norm).

Two channels that the mirror exchanges and negates, T (a, b) = (-b, -a), have for instance

    mean (0.3, -0.3)     bias (1, -1)     var (2, 2)     weight (0.5, 0.5)

and then channel 1 of T x is -(a) + 0.3 = -(a - 0.3) before scaling, minus what channel 0 of x is. The other axes of the
input, batch and frames, must have no signs (`+b`, `+...`): the same mean is taken off every sample.

    stored (batch norm)        channels `c` may carry signs, if the statistics do
    over the channels (layer)  no signs along them: the mean of (-a, b) is not plus or minus that of (a, b)
    over frames (instance)     each channel by itself, so channels may carry signs, frames not
    over groups (group norm)   groups of channels go to groups, each with one sign
"""

from __future__ import annotations

from chiralize.graph.traits import BatchNorm, Normalised
from chiralize.infer.rule import Answer, Call, Operand, demand_plain, describe, rule
from chiralize.infer.rules.declare import equation, tensor, unless_zero
from chiralize.infer.rules.sliding import blocks_move
from chiralize.infer.symbolic import Conflict, SymbolicRepresentation, is_known

_NAMES = "input weight bias running_mean running_var"
_STORED = "+b c +..., |c|, c, c, |c| -> +b c +..."
_MEASURED = "+b c +..., |c|, c -> +b c +..."


@rule("batch_norm _native_batch_norm_legit_no_training", f"`{_STORED}`", BatchNorm())
def batch_norm(call: Call) -> Answer:
    """(x - mean) / sqrt(var + eps) * weight + bias, a channel at a time, with stored statistics."""
    if call.get("training", False):
        raise Conflict("batch norm normalises with the statistics of the batch: put the model in eval mode")
    return equation(call, _NAMES, _STORED)


# These two have no rule, but walks that look for batch norms may meet them.
describe("cudnn_batch_norm native_batch_norm", BatchNorm())


@rule(
    "layer_norm native_layer_norm",
    "`+... +c, c, c -> +... +c` over the last axes; without bias `... +c, c -> ... +c`",
    Normalised("normalized_shape"),
)
def layer_norm(call: Call) -> Answer:
    """Mean and variance over the last axes: entries may be permuted, never negated one by one.

    Returns the representation of the result; of `native_layer_norm` also those of the mean (odd) and of 1 / standard
    deviation (even). Both have one entry along the normalised axes.
    """
    solver, x = call.solver, call.source
    weight, bias = call.get("weight"), unless_zero(call.get("bias"))
    first = len(x.axes) - len(call["normalized_shape"])
    batch, normalised = x.axes[:first], x.axes[first:]
    # The same bias is added to every sample, negated or not. Without it -x gives minus the result, so a sample, or the
    # whole tensor, may be negated.
    if bias is not None:
        demand_plain(x, solver)
    for position, axis in enumerate(normalised):
        solver.sign_free(axis)
        for operand in (weight, bias):
            if operand is not None:
                solver.equal(operand.rep.axes[position], axis)
    _demand_positive(call, weight, bias)
    if len(call.shapes) == 1:
        return x
    left = ((),) * len(normalised)
    scales = tuple(solver.absolute(axis) for axis in batch)
    return x, SymbolicRepresentation(batch + left, x.sign), SymbolicRepresentation(scales + left)


@rule("rms_norm", "`... c, |c| -> ... c` over the last axes", Normalised("normalized_shape", is_centred=False))
def rms_norm(call: Call) -> Answer:
    """x / rms(x) * weight: signs pass, since there is neither a mean nor a bias."""
    solver, x, weight = call.solver, call.source, call.get("weight")
    # Factors move with the entries, and are the same for entries that the mirror negates: their axis is |c|.
    if weight is not None:
        normalised = x.axes[-len(call["normalized_shape"]) :]
        for factor, axis in zip(weight.rep.axes, normalised, strict=True):
            solver.equal(factor, solver.absolute(axis))
    _demand_positive(call, weight)
    return x


def _demand_positive(call: Call, *operands: Operand | None) -> None:
    """Factors and offsets are not negated as a whole. Raises Conflict where one is; None stands for an absent one."""
    for operand in operands:
        if operand is not None and not call.solver.positive(call.solver.representation(operand.rep).sign):
            raise Conflict("a factor or an offset is negated", negated=True)


@rule(
    "instance_norm",
    f"`{_MEASURED}`, without bias `b c +..., |c| -> b c +...`; with stored statistics as batch norm",
    Normalised(),
)
def instance_norm(call: Call) -> Answer:
    """Each channel of each sample by its own mean and variance over frames, or by stored ones."""
    if call["use_input_stats"]:
        return equation(call, "input weight bias", _MEASURED, bare="b c +..., |c| -> b c +...")
    return equation(call, _NAMES, _STORED)


@rule(
    "group_norm native_group_norm",
    "`+b (g c) +..., |g c|, (g c) -> +b (g c) +...`: the mirror takes groups to groups, and may negate them; without "
    "bias samples too",
    Normalised(),
)
def group_norm(call: Call) -> Answer:
    """Mean and variance over groups of channels and all frames: x is "batch (groups inside) *frames".

    With 2 groups of 2 channels (a, b | c, d) a mirror may give (d, c | b, a), or (-c, -d | -a, -b), not (a, c | b, d).
    """
    solver, x = call.solver, call.source
    weight, bias = call.get("weight"), unless_zero(call.get("bias"))
    groups = call.get("num_groups", call.get("group"))
    size = x.shape[1] // groups
    # Added to every sample, so none is negated. A sign of the whole input may be one of the axis of channels: the bias
    # is compared with both together.
    if bias is not None:
        solver.sign_free(x.axes[0])
        if not solver.positive(solver.same(bias.rep.axes[0], x.axes[1], x.sign * bias.rep.sign)):
            raise Conflict("all entries are negated", negated=True)
    # Frames are averaged over, in every group.
    for axis in x.axes[2:]:
        solver.sign_free(axis)
    # Of channels that are known, groups may go to groups in any order, and be negated as a whole. Unknown ones become
    # groups x channels, which is less general: all groups are permuted inside in the same way.
    if is_known(solver.resolve(x.axes[1])):
        blocks_move(x.axes[1], size, solver)
    else:
        solver.sign_free(solver.regroup([x.axes[1]], [groups, size])[1])
    if weight is not None:
        solver.equal(tensor(weight).rep.axes[0], solver.absolute(x.axes[1]))
    _demand_positive(call, weight)
    return call.first(x)
