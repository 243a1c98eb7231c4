"""The parts of an audit report: the network, its layers, the data, and whether to convert.

`assembling` calls them. Gaps are RMS(f(x) - T f(T x)) in units of the spread of the output, so that 0 is a network that
commutes with the mirror, and about 0.1 to 0.25 one that was trained on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from chiralize.errors.words import listed, percent, when
from chiralize.report.document import (
    MOST_ROWS,
    Bar,
    Bars,
    Block,
    Line,
    Section,
    if_known,
    plain,
    plural,
    rest_of,
    table,
)
from chiralize.verification.asymmetry.advice import ONE_SIDED
from chiralize.verification.asymmetry.records import Advice, Asymmetry, DataGap, LayerGap, Leaning, Spread

ROUNDING = 1e-6
"""A gap of a layer below this is written as 0."""


def network_blocks(asymmetry: Asymmetry, source: str) -> list[Block]:
    """Gap of every output and of every pair, in units of the spread and in the output's own.

    source: of the inputs, for the heading.
    """
    rows: list[tuple[str, ...]] = []
    for output in asymmetry.outputs:
        # a lean of 0 is none that can be told from noise: its cell stays empty, and so does that of a distance of 0
        apart, changed = if_known(output.apart or None, plain), if_known(output.changed, percent)
        lean = if_known(output.lean or None, plain)
        figures = (plain(output.gap), lean, apart, percent(output.odd_share), changed, _spread(output.spread))
        rows.append((f"output {output.index}", *figures))
    blocks: list[Block] = [Section(f"The network ({plural(asymmetry.samples, 'sample')}, {source})")]
    heads = ("what", "gap", "lean", "mean distance", "odd share", "answers changed", "spread on T x")
    blocks.append(table(heads, rows, (1, 2, 3, 4, 5, 6)))
    return blocks + _legend(asymmetry) + _largest(asymmetry)


def _legend(asymmetry: Asymmetry) -> list[Block]:
    """What the columns mean, of those that have figures."""
    outputs = asymmetry.outputs
    blocks: list[Block] = [
        Line("gap: how far the answer to T x is from T of the answer to x (1: the output's own spread)")
    ]
    if any(output.shown for output in outputs):
        scores = [f"output {output.index}" for output in outputs if output.shown]
        blocks.append(Line(f"{listed(scores)}: scores of classes, measured as the probabilities that they stand for"))
    if any(output.lean for output in outputs):
        blocks.append(Line("lean: the part of the gap that is the same for all inputs, which no noise explains"))
    if any(output.apart for output in outputs):
        blocks.append(Line("mean distance: mean |f(x) - T f(T x)| in the units of the output"))
    if any(output.spread for output in outputs):
        blocks.append(Line("spread on T x: of the answers to T x about their mean, over that of the answers to x"))
    return blocks


def _largest(asymmetry: Asymmetry) -> list[Block]:
    """The largest gaps by pair, of outputs that have pairs; else by entry; nothing where there are neither."""
    pairs = asymmetry.pairs
    if pairs:
        cells = [(pair.label, plain(pair.apart), plain(pair.gap)) for pair in pairs[:MOST_ROWS]]
        bars = tuple(Bar(pair.label, pair.gap, plain(pair.gap)) for pair in pairs[:MOST_ROWS])
        heading = Section("By pair, the largest gap first")
        by_pair = table(("pair", "mean distance", "gap"), cells, (1, 2))
        return [heading, by_pair, Bars("gap", bars), *rest_of(len(pairs))]
    if asymmetry.entries:
        rows = [(entry.label, plain(entry.gap)) for entry in asymmetry.entries]
        return [Section("Entries with the largest gaps"), table(("entry", "gap"), rows, (1,))]
    return []


def _spread(spread: Spread | None) -> str:
    """`1.032 ± 0.011`, nothing where it is not known."""
    if spread is None:
        return ""
    error = when(isfinite(spread.error), f" ± {spread.ratio * spread.error:.3f}")
    return f"{spread.ratio:.3f}{error}"


def layer_blocks(layers: Sequence[LayerGap], begins: LayerGap | None) -> list[Block]:
    """How large the gap of every layer's values is before and after it; in the order of the network.

    Of many layers those with the widest gaps are listed.  begins: the first one that adds a gap of its own.
    """
    if not layers:
        return []
    worst = max(layers, key=lambda layer: layer.added)
    shown = sorted(layers, key=lambda layer: -layer.after)[:MOST_ROWS]
    # by identity: two layers may have the same figures. All rows stay in the order of the network.
    marks = {id(begins): "begins here", id(worst): "adds most"}
    if begins is worst:
        marks[id(worst)] = "begins here, adds most"
    rows: list[tuple[str, ...]] = []
    for layer in layers:
        if layer in shown or id(layer) in marks:
            figures = (f"{layer.size:,}", _figure(layer.before), _figure(layer.after))
            rows.append((layer.module, layer.op, *figures, marks.get(id(layer), "")))
    blocks: list[Block] = [
        Section(
            "By layer: what no left/right representation of its values explains",
            "Where in the network it begins",
            folded=True,
        )
    ]
    blocks.append(table(("layer", "op", "values", "before", "after", ""), rows, (2, 3, 4)))
    blocks.append(Bars("after", tuple(Bar(layer.module, layer.after, plain(layer.after)) for layer in shown)))
    blocks.append(Line("before, after: gap of what the layer reads and answers, with the best representation there is"))
    return blocks + rest_of(len(layers))


def data_blocks(gaps: Sequence[DataGap], leanings: Sequence[Leaning]) -> list[Block]:
    """How far the data lean, altogether and by label, and the entries that lean most."""
    blocks: list[Block] = []
    if leanings:
        rows: list[tuple[str, ...]] = []
        for leaning in leanings[: MOST_ROWS + 1]:  # the first is of all samples together
            label = "all samples" if leaning.label is None else leaning.label
            figures = (plain(leaning.apart), plain(leaning.gap), if_known(leaning.side, percent))
            rows.append((label, f"{leaning.samples:,}", *figures))
        blocks.append(Section("The data: their mean against that of their mirror image"))
        blocks.append(table(("label", "samples", "mean distance", "gap", "told from mirrored"), rows, (1, 2, 3, 4)))
        blocks += rest_of(len(leanings), MOST_ROWS + 1)
        meaning = "50 % where both sides are shown alike, 100 % for one side only, or few recordings"
        blocks.append(Line(f"told from mirrored: {meaning}"))
    if gaps:
        cells = [(gap.label, *map(plain, (gap.mean, gap.mirrored, gap.spread, gap.gap))) for gap in gaps]
        blocks.append(Section("Data that lean most: the mean of an entry and that of its mirror image"))
        blocks.append(table(("entry", "mean", "mirrored", "spread", "gap"), cells, (1, 2, 3, 4)))
    one_sided = [leaning for leaning in leanings if leaning.label is not None and (leaning.side or 0) >= ONE_SIDED]
    if one_sided:
        blocks.append(Line(f"{plural(len(one_sided), 'label')} of {len(leanings) - 1} lean to one side"))
    return blocks


def advice_blocks(advice: Advice | None, is_doubted: bool = False) -> list[Block]:
    """Whether to convert, and what to do.  is_doubted: something speaks against the mirror."""
    if advice is None:
        return []
    tone = "good" if advice.speaks_for and not is_doubted else "bad"
    return [Section("Should it be converted?"), Line(advice.text, tone), Line(f"Next: {advice.remedy}.")]


def _figure(gap: float) -> str:
    """A gap of a layer as text, rounding as 0."""
    return "0" if gap < ROUNDING else plain(gap)
