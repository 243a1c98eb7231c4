"""Up to two curves over one axis, as a picture of the HTML page: the gap over a shift, a row of a map on both views.

`aligned` makes the `Curves`, `html` draws them. One curve has the mark of a place that stands out; of two the second is
dashed, and a key below says which is which:

    high  |  *                places 0, 1, 2, 3 are spread over the width; heights run from 0, or the least value
          | * * *             below it, to the greatest
    0     |________*
          first    last
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from chiralize.report.document import Curves

_WIDTH, _HEIGHT, _LEFT, _TOP = 600, 130, 50, 24
_BOTTOM = _TOP + _HEIGHT
_KEY, _APART = 190, 150
"""How far down the key stands, and from one entry of it to the next."""


def figure(block: Curves) -> str:
    """The curves as SVG: the axis is labelled at its ends and at the place that stands out; the second is dashed."""
    # heights from 0, or the least value below it: a curve that hardly varies shall not look steep
    low = min(0.0, *(min(values) for _, values in block.curves))
    high = max(max(values) for _, values in block.curves)
    first, last = block.places[0], block.places[-1]
    parts = [f'<text x="0" y="14">{escape(block.title)}</text>']
    for number, (title, values) in enumerate(block.curves):
        style = "curve second" if number else "curve"
        # y grows downwards; where all values are equal, they lie on the lower end
        heights = [_TOP + _HEIGHT * (high - value) / ((high - low) or 1.0) for value in values]
        points = " ".join(f"{_across(block, x):.1f},{y:.1f}" for x, y in zip(block.places, heights, strict=True))
        parts.append(f'<polyline class="{style}" points="{points}"/>')
        if len(block.curves) > 1:
            parts += _entry_of_key(style, title, number)
    if block.mark is not None:
        parts += _mark(_across(block, block.mark), block.mark)
    parts.append(f'<text x="{_LEFT}" y="{_BOTTOM + 18}">{first:g}</text>')
    parts.append(f'<text x="{_LEFT + _WIDTH}" y="{_BOTTOM + 18}" text-anchor="end">{last:g}</text>')
    parts += [f'<text x="0" y="30">{high:.3g}</text>', f'<text x="0" y="{_BOTTOM}">{low:.3g}</text>']
    drawing = "\n".join(parts)
    return f'<svg role="img" aria-label="{escape(block.title)}" viewBox="0 0 {_WIDTH + 120} 200">\n{drawing}\n</svg>'


def _across(block: Curves, at: float) -> float:
    """The x of what lies there on the axis."""
    first, last = block.places[0], block.places[-1]
    return _LEFT + _WIDTH * (at - first) / ((last - first) or 1.0)  # of a single place there is no width to share


def _entry_of_key(style: str, title: str, number: int) -> Sequence[str]:
    """A stroke in the style of a curve with its title, beside those of the curves before it."""
    x = _LEFT + number * _APART
    return (
        f'<line class="{style}" x1="{x}" x2="{x + 20}" y1="{_KEY}" y2="{_KEY}"/>',
        f'<text x="{x + 26}" y="{_KEY + 4}">{escape(title)}</text>',
    )


def _mark(x: float, at: float) -> Sequence[str]:
    """A vertical line at a place that stands out, with its figure."""
    return (
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="20" y2="{_BOTTOM}"/>',
        f'<text x="{x + 4:.1f}" y="34">{at:.2f}</text>',
    )
