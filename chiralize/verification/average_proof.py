"""The proof of an average: of networks that average over both views of their input, whatever lies between.

Every value of the captured graph is written down as a linear combination of `action * expression`, an action being a
signed permutation per axis. This is done twice: as a function of x, and as a function of T x. If the second is T
applied to the first, the network is equivariant, since actions compose exactly, T T = 1, and all other ops are taken
as opaque functions that give equal results for equal arguments. Gathers and sign changes along an axis, sums, scaling,
slices and concatenations are understood, and so are constants that are added (an affine mirror adds 2 c, in the
precision of the tensor); nothing needs a rule. Sums and scaling are those of floating-point and complex numbers:
integers wrap and bools saturate, so that these ops are opaque there. Weights and constants are what they hold, not
what they are called: each view may come with a copy of its own.

Example: y = (g(x) + S g(S x)) / 2, with a layer g and S, which swaps the two entries of x. The values in terms of x:

    x = I #0        g(x) = I #1         S x = S #0      g(S x) = I #2       y = I #1 / 2 + S #2 / 2

#1 is the expression "g of I #0", and #2 "g of S #0". Run on S x, the layer g meets the same two arguments the other
way round, since S S = I:

    S x = S #0      g(S x) = I #2       S S x = I #0    g(S S x) = I #1     y = I #2 / 2 + S #1 / 2

S times the first y is S #1 / 2 + I #2 / 2: the same terms. Nothing was asked of g.

The proof is cautious: where an op or its arguments are not understood, the value gets an expression of its own. Two of
these count as equal only if one op was called on equal values of the same types and shapes. Around them two values are
equal if they are the same sum as real numbers. It may miss an equality. Rounding is left out of it, and so is whether
numbers overflow on the way or a zero has a sign.

Called by `judge` for results of `average`, by `regions` for stretches that are averaged, and by `other_proofs`.
`average_reading` writes a graph down, `average_ops` knows what ops make of combinations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chiralize.graph.model import CapturedModel
from chiralize.symmetry.action import Center
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification.average_ops import OPS
from chiralize.verification.average_reading import Reading, contents
from chiralize.verification.combinations import Expressions


def why_no_average(
    captured: CapturedModel,
    inputs: tuple[TensorRepresentation, ...],
    outputs: tuple[TensorRepresentation, ...],
    swapped_states: Mapping[str, str],
    *,
    input_centers: Sequence[Center] = (),
    output_centers: Sequence[Center] = (),
) -> str | None:
    """None if the graph is proved to commute with T, else the first output that is not, in words.

    inputs, outputs: T on every input and output of the graph, in order.
    swapped_states: state leaf -> the state leaf that T exchanges it with.  input_centers, output_centers: c of
    T x = c + R (x - c), None for 0; empty where all are.
    Returned are `output 0`, or `state NAME` for a state that does not start where its partner does, or whose new value
    is not what T makes of its partner's.
    """
    # The second reading lets a state stand where its partner does. A network starts from what is stored on x and on T x
    # alike, so that exchanged states have to hold the same numbers.
    for leaf, partner in swapped_states.items():
        if contents(captured.leaves[leaf].tensor) != contents(captured.leaves[partner].tensor):
            return f"state {captured.leaves[leaf].names[0]}"
    # One table for both readings, so that equal expressions have one number in both.
    table = Expressions()
    plain = Reading(captured, table, OPS, {})
    centers = input_centers or [None] * len(inputs)
    turns_in = zip(inputs, centers, strict=True)
    turned = Reading(captured, table, OPS, dict(zip(captured.inputs, turns_in, strict=True)), swapped_states)
    turns_out = zip(outputs, output_centers or [None] * len(outputs), strict=True)
    for index, (name, turn) in enumerate(zip(captured.outputs, turns_out, strict=True)):
        if name is not None and plain.turned(plain.value(name), turn) != turned.value(name):
            return f"output {index}"
    # States are exchanged by T as they are, without a signed permutation: each view keeps a state of its own. What is
    # written into one of them on T x has to be what is written into its partner on x.
    for leaf, name in captured.mutations.items():
        partner = swapped_states.get(leaf, leaf)
        written = captured.mutations.get(partner)
        if written is None or plain.described(written) != turned.described(name):
            return f"state {captured.leaves[leaf].names[0]}"
    return None
