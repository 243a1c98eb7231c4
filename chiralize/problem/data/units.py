"""Whether inputs may be in another unit than the network's. Nothing in a network tells its unit: only its answers hint.

Inputs far too large leave the range in which a network is curved: its units saturate, or its biases have no say. Inputs
far too small all get nearly the answer to zeros, and what they add to it is in proportion to them. What f(x) and f(-x)
have in common shows it best: in it the linear part of f, as of what is added to the last frame, cancels out.

Measured on 15 small networks trained on real motion in metres, ten kinds of layers among them: divided by 4, that part
changed by 0.36 at least on inputs in metres and by 0.1 at most in millimetres, where units saturate; it was off by 0.26
at least, and by 0.02 at most, from a fourth, where they do not. None of this tells which unit would be right.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from chiralize.errors import ModelRunError
from chiralize.errors.words import percent
from chiralize.graph.running import Call, Runner
from chiralize.problem.cost import affordable_samples
from chiralize.problem.data.answer_rows import answer_rows, rms
from chiralize.problem.data.continuing import discontinued
from chiralize.problem.data.cutting import thinned
from chiralize.problem.data.of_pictures import are_pictures
from chiralize.problem.data.one_input import hardly_read
from chiralize.problem.network import Network

_NEAR, _FAR = 4.0, 4_000.0
"""By how much inputs are divided: little, for which answers should change, and so much that they are nearly zeros."""
_SATURATED, _CURVED = 0.15, 1e-5
"""Change of the curved part, relative, below which units saturate; and its share of the answers that is more than
rounding."""
_INVARIANT = 1e-3
"""Less is no saturation: the network takes the scale out of its inputs."""
_IN_PROPORTION, _LEAST_BIAS = 0.05, 0.1
"""How far from proportional answers may be, relative; and how much biases have to say, for that to mean anything."""
_STILL, _BENDS = 0.1, 0.01
"""What small inputs add to the answer to zeros at most, and how curved the network is for much larger ones at least."""
_WORK, _MOST, _LEAST = 1e10, 64, 8
QUESTION = "the unit of the calibration inputs is in question"
_CHECK = (
    "Nothing in the network tells its unit: check that they are in that of its training (metres or millimetres, pixels "
    "or shares of a picture, radians or degrees), and frames at its rate"
)
_UNITS = (
    ("metres", "millimetres", 1000.0),
    ("metres", "centimetres", 100.0),
    ("centimetres", "millimetres", 10.0),
    ("radians", "degrees", 57.3),
)
"""Units that are taken for each other: so many of the second are one of the first."""
_ALIKE = 1.25
"""By what factor the spread of other people and actions may differ."""


def unit_by_spread(scale: float) -> str:
    """In which unit inputs are where they are spread `scale` times as far as those in training; "" for no such factor.

    For networks that remember how far those were spread.
    """
    for larger, smaller, factor in _UNITS:
        for given, trained, times in ((larger, smaller, factor), (smaller, larger, 1 / factor)):
            if 1 / _ALIKE <= scale * times <= _ALIKE:
                return f"as if they were in {given} and it was trained in {trained} (x{times:g})"
    return ""


def unit_in_question(network: Network, calls: Sequence[Call]) -> str:
    """A warning where answers hint that the inputs are in another unit than the network's; "" where they do not.

    For networks that keep nothing of their training by which inputs could be checked. Not asked of pictures:
    what is answered to right ones, such as scores, saturates as well.
    """
    if are_pictures(network.resolved):
        return ""
    looked_at = thinned(network, calls, affordable_samples(network, _WORK, _LEAST, _MOST))
    if not looked_at or not _with_a_unit(network):
        return ""
    answers = _Answers(network, looked_at)
    try:
        symptom = _too_large(answers) or _too_small(answers) or hardly_read(network, calls)
        symptom = symptom or discontinued(network, calls)
    except ModelRunError:
        return ""
    return f"warning: {QUESTION}: {symptom}. {_CHECK}" if symptom else ""


class _Answers:
    """The floating-point answers to the inputs, divided by factors: "sample number" in float64."""

    def __init__(self, network: Network, calls: Sequence[Call]) -> None:
        self.network, self.calls = network, calls
        self._known: dict[float, Tensor] = {}

    def at(self, factor: float) -> Tensor:
        """The answers to all inputs that have a unit, divided by a factor.  Raises ModelRunError."""
        if factor not in self._known:
            asked = _with_a_unit(self.network)
            with Runner(self.network.module) as runner:
                rows = [answer_rows(self.network, runner, _divided(call, asked, factor)) for call in self.calls]
            self._known[factor] = torch.cat(rows)
        return self._known[factor]

    def even(self, factor: float) -> Tensor:
        """What the answers to x and -x have in common.  Raises ModelRunError."""
        return (self.at(factor) + self.at(-factor)) / 2


def _too_large(answers: _Answers) -> str:
    """What the answers show of inputs that are far too large, in words; "" where they show nothing.

    With g(x) = (f(x) + f(-x)) / 2: either g(x / 4) is about g(x), as of units that saturate, or about g(x) / 4, as of
    ReLU far from its biases. The second says nothing where biases are small: then 4000 g(x / 4000) is g(x) as well.
    """
    here, near, at_zeros = answers.even(1), answers.even(_NEAR), answers.even(_FAR)
    size, curved = rms(here), rms(here - at_zeros)
    if not curved > _CURVED * rms(answers.at(1)):
        return ""
    change = rms(near - here) / curved
    if _INVARIANT < change < _SATURATED:
        return (
            f"its units saturate on them (divided by {_NEAR:g}, the part of the answers that is not linear changes by "
            f"{percent(change)})"
        )
    off = rms(_NEAR * near - here) / size
    if off < _IN_PROPORTION and rms(_FAR * at_zeros - here) > _LEAST_BIAS * size:
        return (
            f"they are so large that its biases have no say (divided by {_NEAR:g}, the part of the answers that is not "
            f"linear is so, too, up to {percent(off)})"
        )
    return ""


def _too_small(answers: _Answers) -> str:
    """What the answers show of inputs that are far too small, in words; "" where they show nothing.

    Three things have to hold: x adds little to f(0); it adds four times what x / 4 adds; and 4000 x is answered with
    a curve, so that the network is not linear everywhere.
    """
    at_zeros = answers.at(_FAR)
    added, size = answers.at(1) - at_zeros, rms(at_zeros)
    if not rms(added) or not rms(added) < _STILL * size:
        return ""
    off = rms(added - _NEAR * (answers.at(_NEAR) - at_zeros)) / rms(added)
    if not off < _IN_PROPORTION:
        return ""
    larger = 1 / _FAR
    bend = rms(answers.even(larger) - at_zeros)
    if not bend > _BENDS * rms(answers.at(larger) - at_zeros):  # a network that is linear everywhere
        return ""
    return (
        f"they are so small that the answers stay within {percent(rms(added) / size)} of that to zeros, and what they "
        f"add is in proportion to them (up to {percent(off)})"
    )


def _with_a_unit(network: Network) -> set[int]:
    """Positions of the inputs that the mirror acts on, states apart."""
    tensors = network.resolved.input_tensors
    return {tensor.index for tensor in tensors if not tensor.is_free and tensor.representation is not None}


def _divided(call: Call, positions: set[int], factor: float) -> Call:
    """The call with its floating-point tensors at these positions divided.  positions: among the tensors."""
    leaves, structure = pytree.tree_flatten(call)
    number = -1
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            number += 1
            if number in positions and leaf.is_floating_point():
                leaves[position] = leaf / factor
    args, kwargs = pytree.tree_unflatten(leaves, structure)
    return args, kwargs
