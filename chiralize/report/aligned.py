"""The part of an audit report that tells how far the maps of mirrored pictures are off when they are turned back.

A network with windows of stride 4 may give cell i for pixels 4 i to 4 i + 3 but mean pixel 4 i by it. Its answer to the
mirrored picture, turned back, then lies a fraction of a cell aside, and a flip test that averages both blurs the peaks.
`verification.asymmetry` measures by how much (an `Alignment`); shifts are in cells, to the right.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.errors.words import percent
from chiralize.report.document import Block, Curves, Line, Section, if_known, plain, plural, table
from chiralize.verification.asymmetry.records import ALIGNED, Alignment, Drawn, Shifted


def alignment_blocks(alignments: Sequence[Alignment]) -> list[Block]:
    """Shift, gap and height of the peaks by shift, where the shift comes from, and what to do about it."""
    blocks: list[Block] = []
    for alignment in alignments:
        title = f"Alignment of output {alignment.output} along {alignment.axis}"
        blocks.append(Section(f"{title} ({plural(alignment.samples, 'sample')})" if alignment.samples else title))
        if alignment.shift is None:
            blocks.append(Line(f"nobody can say how far the turned answers are off: {alignment.why}", "unsure"))
        else:
            blocks += _measured(alignment, alignment.shift)
    return blocks


def alignment_sentence(alignments: Sequence[Alignment]) -> str:
    """For the sentence that a report opens with; "" where the maps are aligned or nobody can tell."""
    off = [alignment for alignment in alignments if alignment.shift is not None and not alignment.is_aligned]
    if off:
        return f"the turned maps are off by {_off(off[0])}"
    return ""


def _off(alignment: Alignment) -> str:
    """By how many cells the maps are misaligned, beyond the shift that the specification states.

    A shift of 0.75, where the specification moves maps by 1, leaves a quarter of a cell.
    """
    assert alignment.shift is not None
    beside = alignment.shift - alignment.stated
    return f"{abs(beside):.2f} cell{'' if abs(beside) <= 1 else 's'}"


def _measured(alignment: Alignment, shift: float) -> list[Block]:
    """The blocks of an output whose shift is known: what it is, what it costs, where it comes from, what helps."""
    error = "" if alignment.error is None else f" ± {alignment.error:.2f}"
    tone = "good" if alignment.is_aligned else "bad"
    stated = f"the specification moves them by {alignment.stated}"
    if alignment.is_aligned:
        text = f"the turned maps fit: they meet the others {shift:.2f}{error} cells to the right, and {stated}"
    else:
        text = (
            f"the turned maps are off by {_off(alignment)}: they meet the others {shift:.2f}{error} cells to the right"
        )
        text += f", and {stated}" if alignment.stated else ""
    rows = [(_title(alignment, figure), *_figures(figure)) for figure in alignment.figures]
    blocks: list[Block] = [Line(text, tone), table(("turned maps moved by", "gap", "peaks keep"), rows, (1, 2))]
    blocks += [Line(text) for text in (*_outlook(alignment, shift), *_origin(alignment, shift))]
    if not alignment.is_aligned:
        blocks += [Line(text) for text in _remedies(alignment, shift)]
    return blocks + _curves(alignment.drawn, shift)


def _title(alignment: Alignment, figure: Shifted) -> str:
    """A row's title: `0.75 cells, aligned`. One shift may be several of these at once."""
    words = [f"{figure.shift:.2f} cells"]
    if figure.shift == 0:
        words.append("unshifted")
    if figure.shift == alignment.stated:
        words.append("as specified")
    if figure.shift == alignment.shift:
        words.append("aligned")
    return ", ".join(words)


def _figures(figure: Shifted) -> tuple[str, str]:
    """The gap, and how much of their height peaks keep, as text."""
    return plain(figure.gap), if_known(figure.height, percent)


def _outlook(alignment: Alignment, shift: float) -> list[str]:
    """How far apart the two views would be in a flip test that is aligned by this shift."""
    now, then = alignment.at(float(alignment.stated)), alignment.at(shift)
    if now is None or then is None or alignment.is_aligned:
        return []
    text = (
        f"a flip test aligned there would average answers that are {plain(then.gap)} apart instead of {plain(now.gap)}"
    )
    if now.height is not None and then.height is not None:
        text += f", and keep {percent(then.height)} of the height of their peaks instead of {percent(now.height)}"
    return [text]


def _origin(alignment: Alignment, shift: float) -> list[str]:
    """What explains the shift: how the maps were labelled, and what the layers would do by themselves.

    A line for each of these that is known; both may agree with the measurement, or neither.
    """
    # agreement within what the measurement can tell, and never closer than half of what counts as aligned
    near = max(ALIGNED / 2, 2 * (alignment.error or 0.0))
    explained, lines = alignment.explanations, list[str]()
    if explained.labels is not None:
        if abs(shift - explained.labels) <= near:
            lines.append(f"{explained.labels:g} cells is what maps have whose labels put cell i at pixel stride * i")
        elif abs(shift) <= near:
            lines.append("0 cells is what maps have whose labels put cell i at the middle of its pixels")
    if explained.layers is not None:
        if abs(shift - explained.layers) <= near:
            agrees = "as measured"
        else:
            agrees = "training brought it to what was measured"
        lines.append(f"by their strides and paddings the layers move them by {explained.layers:g} cells, {agrees}")
    return lines


def _remedies(alignment: Alignment, shift: float) -> list[str]:
    """The line of a specification, and the options of `convert`."""
    # A whole number of cells can be written into the specification. A fraction left over needs resampling.
    word, center = alignment.axis, alignment.center
    lines: list[str] = []
    if center is not None and round(shift) != alignment.stated:
        whole = f"in the specification, mirror: {{{word}: {center:g}}} moves them by {round(shift)}"
        lines.append(f"{whole}, the nearest whole cell" if abs(shift - round(shift)) > ALIGNED else whole)
    if abs(shift - round(shift)) > ALIGNED:
        lines.append(
            f"convert --align resample={shift:.2f} moves both views half-way to each other, with mirror: {word}; "
            "--align pad has the input one column wider, where a shift by (stride - 1) / stride is none"
        )
    return lines


def _curves(drawn: Drawn, shift: float) -> list[Block]:
    """The gap over the shift, and one row of a map before and after."""
    shifts = tuple(at for at, _ in drawn.curve)
    gaps = tuple(gap for _, gap in drawn.curve)
    blocks: list[Block] = [Curves("gap by the shift of the turned maps, in cells", shifts, (("gap", gaps),), shift)]
    section = drawn.section
    if section is not None:
        cells = tuple(map(float, range(len(section.plain))))
        before = (("answer", section.plain), ("turned answer to the mirrored picture", section.turned))
        after = (("answer", section.plain), ("turned answer, aligned", section.aligned))
        blocks.append(Curves("one row of a map before, by cell", cells, before))
        blocks.append(Curves("the same row after", cells, after))
    return blocks
