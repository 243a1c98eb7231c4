"""Several mirrors at once: they have to commute, and their products are mirrors, too.

Let A1, A2, ... be signed involutions that commute. They generate a group of at most 2^k elements, each of which is a
signed permutation and an involution: (0 1) and -2 on three entries give 1, (0 1), -2 and (0 1) -2.
"""

from __future__ import annotations

import numpy as np

from chiralize.errors import NotAnInvolutionError, RepresentationSizeError
from chiralize.symmetry.involution import SignedPermutation


def product(first: SignedPermutation, second: SignedPermutation) -> SignedPermutation:
    """The first after the second, for two that commute. Raises NotAnInvolutionError where they do not."""
    apart = entry_apart(first, second)
    if apart is not None:
        facts = f"two mirrors do not commute at entry {apart}: one after the other, twice, is not the identity"
        raise NotAnInvolutionError("signed permutation", facts, "give mirrors that commute")
    return SignedPermutation(second.partner[first.partner], first.sign * second.sign[first.partner])


def entry_apart(first: SignedPermutation, second: SignedPermutation) -> int | None:
    """The first entry at which two signed permutations do not commute; None where they do.

    Raises RepresentationSizeError where they act on axes of different sizes.
    """
    if first.size != second.size:
        facts = f"mirrors of {first.size} and of {second.size} entries on one axis"
        raise RepresentationSizeError("signed permutation", facts, "match the sizes")
    # (A B x)[i] = s_A[i] s_B[A i] x[B A i], and the same with A and B exchanged
    one, other = second.partner[first.partner], first.partner[second.partner]
    sign, other_sign = first.sign * second.sign[first.partner], second.sign * first.sign[second.partner]
    apart = np.flatnonzero((one != other) | (sign != other_sign))
    if len(apart) == 0:
        return None
    return int(apart[0])
