"""Up to two curves over one axis, as a picture of the HTML page: the gap over a shift, a row of a map on both views."""

from __future__ import annotations

from html import escape

from chiralize.report.document import Curves

_WIDTH, _HEIGHT, _LEFT, _TOP = 600, 130, 50, 24


def figure(block: Curves) -> str:
    """The curves as SVG: the axis is labelled at its ends and at the place that stands out; the second is dashed."""
    # heights from 0, or the least value below it: a curve that hardly varies shall not look steep
    low = min(0.0, *(min(values) for _, values in block.curves))
    high = max(max(values) for _, values in block.curves)
    first, last = block.places[0], block.places[-1]
    bottom = _TOP + _HEIGHT

    def across(at: float) -> float:
        """The x of what lies there on the axis."""
        return _LEFT + _WIDTH * (at - first) / ((last - first) or 1.0)

    parts = [f'<text x="0" y="14">{escape(block.title)}</text>']
    for number, (title, values) in enumerate(block.curves):
        style = "curve second" if number else "curve"
        heights = [_TOP + _HEIGHT * (high - value) / ((high - low) or 1.0) for value in values]
        points = " ".join(f"{across(x):.1f},{y:.1f}" for x, y in zip(block.places, heights, strict=True))
        parts.append(f'<polyline class="{style}" points="{points}"/>')
        if len(block.curves) > 1:
            x = _LEFT + number * 150
            parts.append(f'<line class="{style}" x1="{x}" x2="{x + 20}" y1="190" y2="190"/>')
            parts.append(f'<text x="{x + 26}" y="194">{escape(title)}</text>')
    if block.mark is not None:
        at = across(block.mark)
        parts.append(f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="20" y2="{bottom}"/>')
        parts.append(f'<text x="{at + 4:.1f}" y="34">{block.mark:.2f}</text>')
    parts.append(f'<text x="{_LEFT}" y="{bottom + 18}">{first:g}</text>')
    parts.append(f'<text x="{_LEFT + _WIDTH}" y="{bottom + 18}" text-anchor="end">{last:g}</text>')
    parts += [f'<text x="0" y="30">{high:.3g}</text>', f'<text x="0" y="{bottom}">{low:.3g}</text>']
    label = escape(block.title)
    drawing = "\n".join(parts)
    return f'<svg role="img" aria-label="{label}" viewBox="0 0 {_WIDTH + 120} 200">\n{drawing}\n</svg>'
