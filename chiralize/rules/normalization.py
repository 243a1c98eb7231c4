"""Normalisation with stored or measured statistics."""

from __future__ import annotations

from chiralize.rules._families import apply_equation, equation, plain_of, rule, tensor
from chiralize.rules._registry import Call, Results, Sample, normal, positive
from chiralize.rules._terms import Conflict
from chiralize.symbolic import SymbolicRepresentation


def _batch(*shape: int) -> Sample:
    channels = [normal(shape[1]) for _ in range(3)]
    return Sample((normal(*shape), *channels, positive(shape[1]), 0.1, 1e-5), {}, frozenset({1, 2, 3, 4}))


def _trained(*shape: int) -> Sample:
    base = _batch(*shape)
    return Sample((*base.args[:5], False, 0.1, 1e-5, False), {}, base.parameters)


_names = ("input", "weight", "bias", "running_mean", "running_var")
_text = "+b c +..., |c|, c, c, |c| -> +b c +..."

equation("batch norm", "aten._native_batch_norm_legit_no_training.default", names=_names, text=_text,
         samples=[_batch(3, 4), _batch(3, 4, 2)])  # fmt: skip


@rule("batch norm, either mode", "aten.batch_norm.default", statement=f"`{_text}`",
      samples=[_trained(3, 4), _trained(3, 4, 2)])  # fmt: skip
def batch_norm(call: Call) -> Results:
    """(x - mean) / sqrt(var + eps) * weight + bias, a channel at a time."""
    if call["training"]:
        raise Conflict("batch norm normalises with the statistics of the batch: put the model in eval mode")
    return apply_equation(call, _names, _text)


@rule("layer norm", "aten.layer_norm.default", "aten.native_layer_norm.default",
      statement="`+... +c, c, c -> +... +c` over the last axes",
      samples={
          target: [
              Sample((normal(3, 4), [4], normal(4), normal(4), 1e-5), {},
                     frozenset({2, 3})),
              Sample((normal(2, 3, 4), [3, 4], normal(3, 4), normal(3, 4), 1e-5),
                     {}, frozenset({2, 3})),
          ]
          for target in ("aten.layer_norm.default", "aten.native_layer_norm.default")
      })  # fmt: skip
def layer_norm(call: Call) -> Results:
    """Mean and variance over the last axes: entries may be permuted, never negated one by one."""
    solver = call.solver
    x = plain_of(tensor(call["input"]), call)
    normalised = x.axes[-len(call["normalized_shape"]) :]
    for name in ("weight", "bias"):
        operand = call.get(name)
        if operand is not None:
            for own, axis in zip(operand.rep.axes, normalised, strict=True):
                solver.equal(own, axis)
    rest = tuple(SymbolicRepresentation(x.axes[: -len(normalised)] + ((),) * len(normalised)) for _ in call.shapes[1:])
    return (x, *rest) if rest else x


@rule("rms norm", "aten.rms_norm.default", statement="`... c, |c| -> ... c` over the last axes",
      samples=[Sample((normal(3, 4), [4], normal(4)), {},
                      frozenset({2}))])  # fmt: skip
def rms_norm(call: Call) -> Results:
    """x / rms(x) * weight: signs pass, since there is neither a mean nor a bias."""
    solver = call.solver
    x = solver.representation(tensor(call["input"]).rep)
    weight = call.get("weight")
    if weight is not None:
        normalised = x.axes[-len(call["normalized_shape"]) :]
        for own, axis in zip(weight.rep.axes, normalised, strict=True):
            solver.equal(own, solver.absolute(axis))
    return x


_instance = frozenset({1, 2, 3, 4})


@rule("instance norm", "aten.instance_norm.default",
    statement="`+b c +..., |c|, c -> +b c +...`; with stored statistics as batch norm",
      samples=[Sample((normal(2, 4, 3), normal(4), normal(4), None, None, True, 0.1, 1e-5, False), {}, _instance),
               Sample((normal(2, 4, 3), None, None, None, None, True, 0.1, 1e-5, False)),
               Sample((normal(2, 4, 3), normal(4), normal(4), normal(4), positive(4), False, 0.1, 1e-5, False), {},
                   _instance)],
      incomplete="signs of the batch or of frames would pass without a bias")  # fmt: skip
def instance_norm(call: Call) -> Results:
    """Each channel of each sample by its own mean and variance over frames, or by stored ones."""
    if call["use_input_stats"]:
        return apply_equation(call, _names[:3], "+b c +..., |c|, c -> +b c +...")
    return apply_equation(call, _names, _text)


@rule("group norm", "aten.group_norm.default", statement="`+b +(g c) +..., (g c), (g c) -> +b +(g c) +...`",
      samples=[Sample((normal(2, 4, 3), 2, normal(4), normal(4)), {}, frozenset({2, 3})),
               Sample((normal(2, 4, 3), 1, normal(4), normal(4)), {}, frozenset({2, 3}))],
      incomplete="a group whose entries are permuted in another way than those of the others is refused")  # fmt: skip
def group_norm(call: Call) -> Results:
    """Mean and variance over groups of channels and all frames."""
    solver = call.solver
    x = plain_of(tensor(call["input"]), call)
    groups = call["num_groups"]
    group, inside = solver.regroup([x.axes[1]], [groups, x.shape[1] // groups])
    for name in ("weight", "bias"):
        operand = call.get(name)
        if operand is not None:
            solver.equal(operand.rep.axes[0], group + inside)
    return x
