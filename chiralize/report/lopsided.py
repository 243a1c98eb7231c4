"""The parts of an audit report: the network, its layers, the data, and whether to convert."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from chiralize.errors import percent
from chiralize.report.document import Bar, Bars, Block, Line, Section, plain, plural, table
from chiralize.verification.asymmetry.advice import ONE_SIDED
from chiralize.verification.asymmetry.records import Advice, Asymmetry, DataGap, LayerGap, Leaning, Spread

MOST_ROWS = 20
ROUNDING = 1e-6


def network_blocks(found: Asymmetry, source: str) -> list[Block]:
    """Gap of every output and of every pair, in units of the spread and in the output's own."""
    rows = [
        (
            f"output {own.index}", plain(own.gap), plain(own.apart) if own.apart else "", percent(own.odd_share),
            "" if own.changed is None else percent(own.changed), _spread(own.spread),
        )
        for own in found.outputs
    ]  # fmt: skip
    blocks: list[Block] = [Section(f"The network ({plural(found.samples, 'sample')}, {source})")]
    heads = ("what", "gap", "mean distance", "odd share", "answers changed", "spread on T x")
    blocks.append(table(heads, rows, (1, 2, 3, 4, 5)))
    blocks.append(Line("gap: how far the answer to T x is from T of the answer to x (1: the output's own spread)"))
    if any(own.apart for own in found.outputs):
        blocks.append(Line("mean distance: mean |f(x) - T f(T x)| in the units of the output"))
    if any(own.spread for own in found.outputs):
        blocks.append(Line("spread on T x: of the answers to T x about their mean, over that of the answers to x"))
    if found.pairs:
        cells = [(own.label, plain(own.apart), plain(own.gap)) for own in found.pairs[:MOST_ROWS]]
        bars = tuple(Bar(own.label, own.gap, plain(own.gap)) for own in found.pairs[:MOST_ROWS])
        blocks += [Section("By pair, the most lopsided first"), table(("pair", "mean distance", "gap"), cells, (1, 2))]
        blocks += [Bars("gap", bars), *_more(len(found.pairs))]
    elif found.entries:
        cells = [(own.label, plain(own.gap)) for own in found.entries]
        blocks += [Section("Most lopsided entries"), table(("entry", "gap"), cells, (1,))]
    return blocks


def _spread(found: Spread | None) -> str:
    if found is None:
        return ""
    return f"{found.ratio:.3f}" + (f" ± {found.ratio * found.error:.3f}" if isfinite(found.error) else "")


def layer_blocks(layers: Sequence[LayerGap], begins: LayerGap | None) -> list[Block]:
    """What every layer reads and answers; in the order of the network, the furthest of a long one."""
    if not layers:
        return []
    worst = max(layers, key=lambda own: own.added)
    shown = sorted(layers, key=lambda own: -own.after)[:MOST_ROWS]
    words = {id(begins): "begins here", id(worst): "adds most"}
    if begins is worst:
        words[id(worst)] = "begins here, adds most"
    rows = [
        (own.module, own.op, f"{own.size:,}", _figure(own.before), _figure(own.after), words.get(id(own), ""))
        for own in layers
        if own in shown or id(own) in words
    ]
    blocks: list[Block] = [Section("By layer: what no left/right representation of its values explains")]
    blocks.append(table(("layer", "op", "values", "before", "after", ""), rows, (2, 3, 4)))
    blocks.append(Bars("after", tuple(Bar(own.module, own.after, plain(own.after)) for own in shown)))
    blocks.append(Line("before, after: gap of what the layer reads and answers, with the best representation there is"))
    return blocks + _more(len(layers))


def data_blocks(gaps: Sequence[DataGap], leanings: Sequence[Leaning]) -> list[Block]:
    """How far the data lean, altogether and by label, and their most lopsided entries."""
    blocks: list[Block] = []
    if leanings:
        rows = [
            (
                "all samples" if own.label is None else own.label, f"{own.samples:,}", plain(own.apart),
                plain(own.gap), "" if own.side is None else percent(own.side),
            )
            for own in leanings[: MOST_ROWS + 1]
        ]  # fmt: skip
        blocks.append(Section("The data: their mean against that of their mirror image"))
        blocks.append(table(("label", "samples", "mean distance", "gap", "told from mirrored"), rows, (1, 2, 3, 4)))
        blocks += _more(len(leanings), MOST_ROWS + 1)
        blocks.append(
            Line(
                "told from mirrored: 50 % where both sides are shown alike, 100 % for one side only, or few recordings"
            )
        )
    if gaps:
        cells = [(own.label, *map(plain, (own.mean, own.mirrored, own.spread, own.gap))) for own in gaps]
        blocks.append(Section("Most lopsided data: the mean of an entry and that of its mirror image"))
        blocks.append(table(("entry", "mean", "mirrored", "spread", "gap"), cells, (1, 2, 3, 4)))
    labelled = [own for own in leanings if own.label is not None and (own.side or 0) >= ONE_SIDED]
    if labelled:
        blocks.append(Line(f"{plural(len(labelled), 'label')} of {len(leanings) - 1} lean to one side"))
    return blocks


def advice_blocks(advice: Advice) -> list[Block]:
    """Whether to convert, and what to do."""
    tone = "good" if advice.speaks_for else "bad"
    return [Section("Should it be converted?"), Line(advice.text, tone), Line(f"Next: {advice.remedy}.")]


def _figure(gap: float) -> str:
    return "0" if gap < ROUNDING else plain(gap)


def _more(count: int, shown: int = MOST_ROWS) -> list[Block]:
    return [Line(f"and {count - shown} more (the JSON report lists all)")] if count > shown else []
