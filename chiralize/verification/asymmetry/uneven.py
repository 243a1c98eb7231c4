"""Where a gap is, if it is in few places: one of several outputs, a few pairs of joints, scores that decide nothing.

A gap of 1.1 that is in one output alone says little against T: that output may be unused, or untrained in some entries.
`wrong_mirror` and the checks of a conversion add these words and remedies to what they say of a wide gap.
"""

from __future__ import annotations

from chiralize.errors.words import listed, percent
from chiralize.verification.asymmetry.lean import LEANING
from chiralize.verification.asymmetry.records import HARDLY_DECIDES, MOST_OF_A_CLASS, Asymmetry, OutputGap

AVERAGE = "`--method average`"
_APART = 2.0
"""The gap of an output over that of the next one from which on it is named alone."""
_HALF, _FEW_OF, _MOST_NAMED = 0.5, 4, 3
"""Pairs that hold so much of a gap are named, where they are no more than one in so many, and no more than a few."""
_MUCH_FURTHER = 1.5
"""The gap of a pair over that of its output from which on it is named."""


def unsettled(measured: Asymmetry) -> Asymmetry:
    """The same without the outputs whose decisions stay, however far their scores are apart."""
    return measured.of_outputs({output.index for output in measured.outputs if not _decides_alike(output)})


def _decides_alike(output: OutputGap) -> bool:
    """Whether the mirror changes few decisions, over all and of each class, and nothing shows a side.

    Of scores of classes those count that the inputs show. Of what is yes or no, as the specification says, inputs have
    to show every answer.
    """
    is_of_a_side = output.lean > LEANING or (output.spread is not None and output.spread.differs)
    if output.shown is not None:
        return output.shown.stay and not is_of_a_side
    if output.changed is None or is_of_a_side or output.worst > MOST_OF_A_CLASS:
        return False
    return output.changed < HARDLY_DECIDES * output.others


def uneven_in_words(measured: Asymmetry) -> str:
    """Where the gap is, if it is in few places: in one of several outputs, in few of its pairs; else "".

    To be read after the gap: `; output 1 alone is 1.1 of its spread apart, the others at most 0.05; 60 % of the whole
    gap is in hip`.
    """
    text = ""
    ordered = sorted(measured.outputs, key=lambda output: -output.gap)
    if len(ordered) > 1 and ordered[0].gap >= _APART * ordered[1].gap:
        worst, others = ordered[0], "the other" if len(ordered) == 2 else "the others at most"
        text = f"; output {worst.index} alone is {worst.gap:.2g} of its spread apart, {others} {ordered[1].gap:.2g}"
    pairs = [pair for pair in measured.pairs if ordered and pair.output == ordered[0].index]
    pairs.sort(key=lambda pair: -pair.share)
    # The fewest pairs that hold half of the squares; named if they are few of all.
    share, holding = 0.0, list[str]()
    for pair in pairs:
        if share < _HALF:
            share, holding = share + pair.share, [*holding, pair.label]
    if 0 < len(holding) <= min(len(pairs) // _FEW_OF, _MOST_NAMED):
        text += f"; {percent(share)} of the whole gap is in {' and '.join(holding)}"
    return text


def furthest_in_words(measured: Asymmetry) -> str:
    """The pairs that are much further apart than the output that they belong to, if they are not most of it; else "".

    To be read behind `uneven_in_words`, which names those that hold half of the gap.
    """
    if not measured.outputs:
        return ""
    worst = max(measured.outputs, key=lambda output: output.gap)
    pairs = [pair for pair in measured.pairs if pair.output == worst.index]
    far = [pair for pair in sorted(pairs, key=lambda pair: -pair.gap) if pair.gap >= _MUCH_FURTHER * worst.gap]
    if not far or len(far) > len(pairs) // _FEW_OF:
        return ""
    return f"; furthest apart are {listed([f'{pair.label} ({pair.gap:.2g})' for pair in far], _MOST_NAMED)}"


def leaving_out(measured: Asymmetry, bound: float, average: str = AVERAGE) -> str:
    """The remedy where one output alone is further apart than the bound, which the caller may not use; else "".

    average: what averages both views all the same.
    """
    wide = [output for output in measured.outputs if output.gap > bound]
    if len(wide) != 1:
        return ""
    (output,) = wide
    # Scores: the gap is in those that are hardly ever the highest. Anything else: that output may not be used.
    if output.changed is not None and output.changed < HARDLY_DECIDES * output.others:
        return (
            f"see that output {output.index} picks another class for {percent(output.changed)} of the samples alone: "
            "far apart are mostly scores that decide nothing, as of classes that were seldom trained. Leave these "
            f"classes out, or use {average}, which changes no more answers than these; else "
        )
    supposed = output.supposed
    if supposed is not None and supposed.changed < HARDLY_DECIDES * supposed.others:
        return (
            f"if output {output.index} holds logits of yes and no, each by itself (contacts, events), say so: the "
            f"mirror changes {percent(supposed.changed)} of these decisions. In place of its `fields` write `classes: "
            "{names: [...], swap: [...], threshold: 0}`; else "
        )
    if len(measured.outputs) < 2:
        return ""
    others = "the other does" if len(measured.outputs) == 2 else "the others do"
    return (
        f"if output {output.index} is not used, or was not trained in all entries, leave it out (a subclass whose "
        f"forward returns the rest): {others} not stop it; else "
    )
