"""Normalisation with stored or measured statistics.

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
from chiralize.infer.registry import (
    Call,
    Drawn,
    Operand,
    Results,
    Sample,
    demand_plain,
    describe,
    normal,
    positive,
    sample,
    zeros,
)
from chiralize.infer.rules._families import apply_equation, op, overloads, rule, tensor, unless_zero
from chiralize.infer.rules.pooling import blocks_move
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import SymbolicRepresentation, is_known


def _batch(*shape: int) -> Sample:
    """Input, weight, bias, mean and variance of a batch norm, in the form that traced code calls."""
    channels = [normal(shape[1]) for _ in range(3)]
    return sample(normal(*shape), *channels, positive(shape[1]), 0.1, 1e-5, weights={1, 2, 3, 4})


def _trained(*shape: int) -> Sample:
    """The same in eval mode, for the op that can be in either: `training` stands behind the statistics."""
    return sample(*_batch(*shape).args[:5], False, 0.1, 1e-5, False, weights={1, 2, 3, 4})


_names = ("input", "weight", "bias", "running_mean", "running_var")
_text = "+b c +..., |c|, c, c, |c| -> +b c +..."


@rule("batch norm", f"`{_text}`", trait=BatchNorm())
@op("_native_batch_norm_legit_no_training", _batch(3, 4), _batch(3, 4, 2))
def batch_norm_of_traced_code(call: Call) -> Results:
    """Batch norm with stored statistics, as traced code calls it."""
    return apply_equation(call, _names, _text)


@rule("batch norm, either mode", f"`{_text}`", trait=BatchNorm())
@op("batch_norm", _trained(3, 4), _trained(3, 4, 2))
def batch_norm(call: Call) -> Results:
    """(x - mean) / sqrt(var + eps) * weight + bias, a channel at a time."""
    if call["training"]:
        raise Conflict("batch norm normalises with the statistics of the batch: put the model in eval mode")
    return apply_equation(call, _names, _text)


# These two have no rule, but walks that look for batch norms may meet them.
describe(overloads("cudnn_batch_norm native_batch_norm"), BatchNorm())
_plane = normal(2, 3, 4)


@rule("layer norm", "`+... +c, c, c -> +... +c` over the last axes; without bias `... +c, c -> ... +c`")
@op("layer_norm native_layer_norm", trait=Normalised("normalized_shape"))
@op("layer_norm native_layer_norm", sample(normal(3, 4), [4], normal(4), normal(4), 1e-5, weights={2, 3}))
@op("layer_norm native_layer_norm", sample(_plane, [3, 4], normal(3, 4), normal(3, 4), 1e-5, weights={2, 3}))
@op("layer_norm native_layer_norm", sample(_plane, [4], normal(4), zeros(4), 1e-5, weights={2, 3}))
@op("layer_norm native_layer_norm", sample(normal(4, 3), [3], None, None, 1e-5))
def layer_norm(call: Call) -> Results:
    """Mean and variance over the last axes: entries may be permuted, never negated one by one.

    Returns the representation of the result; of `native_layer_norm` also those of the mean (odd) and of 1 / standard
    deviation (even). Both have one entry along the normalised axes.
    """
    solver = call.solver
    x = solver.representation(tensor(call["input"]).rep)
    weight, bias = call.get("weight"), unless_zero(call.get("bias"))
    first = len(x.axes) - len(call["normalized_shape"])
    batch, normalised = x.axes[:first], x.axes[first:]
    # The same bias is added to every sample, negated or not. Without it -x gives minus the result, so a sample, or the
    # whole tensor, may be negated.
    if bias is not None:
        demand_plain(x, call)
    for position, axis in enumerate(normalised):
        solver.sign_free(axis)
        for operand in (weight, bias):
            if operand is not None:
                solver.equal(operand.rep.axes[position], axis)
    _demand_positive(call, weight, bias)
    if len(call.shapes) == 1:
        return x
    # Beside the result its mean and 1 / standard deviation, with one entry along the normalised axes.
    left = ((),) * len(normalised)
    scales = tuple(solver.absolute(axis) for axis in batch)
    return x, SymbolicRepresentation(batch + left, x.sign), SymbolicRepresentation(scales + left)


@rule("rms norm", "`... c, |c| -> ... c` over the last axes")
@op("rms_norm", trait=Normalised("normalized_shape", is_centred=False))
@op("rms_norm", sample(normal(3, 4), [4], normal(4), weights={2}))
def rms_norm(call: Call) -> Results:
    """x / rms(x) * weight: signs pass, since there is neither a mean nor a bias."""
    solver = call.solver
    x = solver.representation(tensor(call["input"]).rep)
    weight = call.get("weight")
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


_channels = normal(2, 4, 3)


def _instance(x: Drawn, *vectors: Drawn) -> Sample:
    """Factors and offsets in `vectors`, and stored statistics, which are used where they are given."""
    rest = (None,) * (4 - len(vectors))
    weights = {1, 2, 3, 4} if vectors else ()
    return sample(x, *vectors, *rest, len(vectors) < 4, 0.1, 1e-5, False, weights=weights)


@rule(
    "instance norm",
    "`+b c +..., |c|, c -> +b c +...`, without bias `b c +..., |c| -> b c +...`; with stored statistics as batch norm",
    trait=Normalised(),
)
@op("instance_norm", _instance(_channels, normal(4), normal(4)), _instance(_channels))
@op("instance_norm", _instance(normal(4, 2, 3), normal(2), zeros(2)))
@op("instance_norm", _instance(_channels, normal(4), normal(4), normal(4), positive(4)))
def instance_norm(call: Call) -> Results:
    """Each channel of each sample by its own mean and variance over frames, or by stored ones."""
    if call["use_input_stats"]:
        return apply_equation(call, _names[:3], "+b c +..., |c|, c -> +b c +...", "b c +..., |c| -> b c +...")
    return apply_equation(call, _names, _text)


@rule(
    "group norm",
    "`+b (g c) +..., |g c|, (g c) -> +b (g c) +...`: the mirror takes groups to groups, and may negate them; "
    "without bias samples too",
    trait=Normalised(),
)
@op("group_norm", sample(_channels, 2, normal(4), normal(4), weights={2, 3}))
@op("group_norm", sample(_channels, 1, normal(4), normal(4), weights={2, 3}))
@op("group_norm", sample(_channels, 2, normal(4), zeros(4), weights={2, 3}), sample(normal(4, 2, 3), 2, None, None))
def group_norm(call: Call) -> Results:
    """Mean and variance over groups of channels and all frames: x is "batch (groups inside) *frames".

    With 2 groups of 2 channels (a, b | c, d) a mirror may give (d, c | b, a), or (-c, -d | -a, -b), not (a, c | b, d).
    """
    solver = call.solver
    x = solver.representation(tensor(call["input"]).rep)
    weight, bias = call.get("weight"), unless_zero(call.get("bias"))
    groups, size = call["num_groups"], x.shape[1] // call["num_groups"]
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
        solver.equal(weight.rep.axes[0], solver.absolute(x.axes[1]))
    _demand_positive(call, weight)
    return x
