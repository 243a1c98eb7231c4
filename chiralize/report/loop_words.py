"""What policies did in their environment, in clauses: for the first line of a report, for a fact, for a refusal.

A figure is a mean with its standard error over starts, `412 ± 8`, and a return is given beside the original's:

    it returns less than the original (273 ± 9 after 582 ± 20, 0.47 ± 0.03 of it)

`verdict` and `facts` quote these clauses, `loop_cautions` puts warnings together from them, and `auto` gives them as
the reason why it goes on to another candidate.
"""

from __future__ import annotations

from math import isfinite

from chiralize.errors.words import when
from chiralize.report.document import plural
from chiralize.verification.closed_loop.records import LEAST_SHARE, Estimate, Rollout, Walker

_LEAST = f"{LEAST_SHARE:g} of it is the least"


def with_error(estimate: Estimate | None) -> str:
    """`412 ± 8`, nothing where it is not known."""
    if estimate is None:
        return ""
    error = when(isfinite(estimate.error), f" ± {estimate.error:.2g}")
    return f"{estimate.mean:.4g}{error}"


def loop_sentence(rollout: Rollout | None) -> str:
    """What the first line says of the loop, "" where nothing was run."""
    if rollout is None:
        return ""
    original, result = rollout.original, rollout.result
    does = f"returns {with_error(original.mean)}, gap {with_error(original.gap)}"
    if result is None:
        return f"in the loop it {does}"
    share = with_error(rollout.share(result))
    of_original = when(share, f" ({share} of that)")
    did = f"the result {with_error(result.mean)}{of_original}, gap {with_error(result.gap)}"
    return f"in the loop the original {does}; {did}"


def share_in_words(rollout: Rollout) -> tuple[str, str]:
    """What the result returns beside the original, and the figure that this is made from; of the original by itself."""
    original, result = rollout.original, rollout.result
    if result is None:
        return f"returns {with_error(original.mean)}", f"gap {with_error(original.gap)}"
    share = with_error(rollout.share(result))
    if share:
        value = f"{share} of the original's return"
    else:
        value = f"returns {with_error(result.mean)}"
    return value, f"gap {with_error(result.gap)}, the original's {with_error(original.gap)}"


def confirmed_in_words(rollout: Rollout | None) -> str:
    """What of T the environment confirms, as a clause; "" where it confirms nothing, or nothing was run.

    A `mirrored_reset` says no more than that whoever wrote it has the mirror of the specification in mind.
    """
    probe = rollout.probe if rollout is not None else None
    if rollout is None or probe is None or probe.confirms == "nothing":
        return ""
    seen = probe.coverage
    if probe.confirms == "all":
        part = f" in {seen.tested} of {seen.observed:,} entries of what is seen (the others are 0 there, or alike)"
        return "the environment confirms T" + when(seen.tested < seen.observed, part)
    word = "the environment confirms T" if rollout.how == "state" else "T agrees with the environment's mirrored_reset"
    return f"{word} in what is seen at the start alone ({seen.tested_at_start} of {seen.observed:,} entries)"


def even_starts_in_words(rollout: Rollout) -> str:
    """Why an equivariant policy may do nothing from starts that are their own mirror image, and what to do."""
    return (
        f"{rollout.original.even_starts} of {plural(rollout.starts, 'start')} are their own mirror image, where an "
        "equivariant policy can do only what is its own mirror image: nothing, where all actions are negated. The "
        "original leaves such a start by an error of its own. Begin a little off it (noise at the start, as real "
        "robots have), and compare again"
    )


def loss_in_words(rollout: Rollout) -> str:
    """Why a result is not taken: `it returns less than the original (273 ± 9 after 582 ± 20, 0.47 ± 0.03 of it)`.

    Or that it falls more often. Or, where neither is so, that its error leaves open whether it returns enough.
    """
    result = rollout.result
    assert result is not None
    texts: list[str] = []
    if rollout.is_short(result):
        texts.append(f"{compared(rollout, result, 'it returns less than the original')}; {_LEAST}")
    elif rollout.may_be_short:
        texts.append(may_be_short_in_words(rollout, result, "it may return less than the original"))
    if rollout.falls_more:
        texts.append(
            f"it falls in {result.falls} of {2 * rollout.starts} walks, the original in {rollout.original.falls} and "
            f"its flip average in {rollout.average.falls}"
        )
    return "; ".join(texts)


def objection_in_the_loop(rollout: Rollout | None) -> str:
    """Why `auto` goes on to another candidate, though this one is not refused; "" where it need not."""
    if rollout is None or not rollout.may_be_short:
        return ""
    return f"in the loop {loss_in_words(rollout)}"


def may_be_short_in_words(rollout: Rollout, result: Walker, brief: str) -> str:
    """A sentence on a result that may return less than the least: its share, and that of the flip average."""
    average = with_error(rollout.share(rollout.average))
    return f"{compared(rollout, result, brief)}: {_LEAST}, and the flip average returns {average}"


def compared(rollout: Rollout, walker: Walker, brief: str) -> str:
    """`it returns less (273 ± 9 after 582 ± 20, 0.47 ± 0.03 of it)`: a policy's return beside the original's."""
    share = rollout.share(walker)
    of_original = f", {with_error(share)} of it" if share is not None else ""
    return f"{brief} ({with_error(walker.mean)} after {with_error(rollout.original.mean)}{of_original})"
