"""A shipped skeleton that differs from the given one in few pairs, and whose mirror fits the network no worse.

Two joints of a hand that are crossed move few answers, and those by little: the gap alone does not show it. That
nearly all pairs are those of a skeleton whose order many data sets share, and a few are not, does.

Example: 133 joints with the 61 pairs of a shipped skeleton, but for two fingers that are crossed: 59 of 61 pairs are
common. `mirror_evidence` asks this where the network confirms T, since crossed fingers do not refute it.
"""

from __future__ import annotations

from collections.abc import Iterable

from chiralize.body.skeleton.catalog import find_shipped
from chiralize.body.skeleton.naming import as_sets, infer_pairs
from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.errors.words import listed
from chiralize.verification.evidence.records import Comparison
from chiralize.verification.verdicts import Evidence

NEARLY_ALL = 0.75
"""The share of common pairs from which on a skeleton is the shipped one but for mistakes. Of the 34 shipped skeletons
that share their size with another, those in another order have at most half of their pairs in common."""
_NAMED = 8  # pairs that a warning names

Pair = frozenset[int]


def near_shipped(body: Skeleton, comparison: Comparison) -> Evidence:
    """A warning that names the pairs in which the skeleton differs from a shipped one that fits as well.

    None where T is the mirror of a shipped skeleton, or where the names of those joints speak for it.
    """
    pairs = as_sets(body.pairs)
    if comparison.same:
        return Evidence()
    for other in comparison.others:
        for name in other.skeletons:
            shipped = find_shipped(name)
            # One that fits worse than T is no doubt, and neither is one in another order.
            if shipped is None or other.ratio > 1.0 or not _is_near(pairs, as_sets(shipped.pairs)):
                continue
            only_here, only_there = pairs - as_sets(shipped.pairs), as_sets(shipped.pairs) - pairs
            if _speak_for(body, frozenset().union(*only_here, *only_there)):
                continue
            figures = f"its gap is {other.here:.3g}, {other.given:.3g} with T, on the answers that the two move apart"
            text = (
                f"nearly all pairs are those of the skeleton {name}, which fits the network no worse ({figures}); it "
                f"pairs {_in_words(body, only_there)}, and T {_in_words(body, only_here)}: check these pairs"
            )
            return Evidence(warnings=(text,))
    return Evidence()


def _is_near(pairs: set[Pair], others: set[Pair]) -> bool:
    """Whether two skeletons have nearly all pairs in common, and not all."""
    return pairs != others and len(pairs & others) >= NEARLY_ALL * max(len(pairs), len(others))


def _speak_for(body: Skeleton, joints: Iterable[int]) -> bool:
    """Whether the names of these joints say that they are paired as they are.

    A joint without a side is its own partner by its name only where the names tell all pairs there are.
    """
    by_name = as_sets(infer_pairs(body.joints).pairs)
    pairs = as_sets(body.pairs)
    if by_name == pairs:
        return True
    paired_by_name = frozenset().union(*(by_name & pairs))
    return all(joint in paired_by_name for joint in joints)


def _in_words(body: Skeleton, pairs: set[Pair]) -> str:
    """Pairs by the names of their joints: `k95 with k116, k96 with k117`."""
    if not pairs:
        return "none of them"
    words = list[str]()
    for one, other in sorted(map(sorted, pairs)):
        words.append(f"{body.joints[one]} with {body.joints[other]}")
    return listed(words, _NAMED)
