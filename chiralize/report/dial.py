"""Error against cost: what widths of reduction came to in the benchmark, and where one network stands beside them.

`html` draws it on the page of a conversion. Multiplications lie along x on a scale of octaves, the error along y from
0.9 to 1.3 of the original's; the benchmark is a line in a band, this network a bar over what networks of its rho had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite, log2

from chiralize.errors.words import when
from chiralize.report.cautions import data_cautions
from chiralize.report.distance import distance
from chiralize.report.document import plain
from chiralize.report.meaning import factors
from chiralize.report.records import ConvertReport

NETWORKS = 12
"""Networks of the benchmark that the line is made of."""
DIAL = (
    (0.504, 0.99, 1.025, 1.163),
    (0.592, 0.985, 1.002, 1.025),
    (1.046, 0.978, 0.986, 0.99),
    (2.0, 0.966, 0.978, 0.983),
)
"""Of the lifters and forecasters in benchmarks/accuracy/results.csv that know both sides, at widths 0.35, 0.5, 0.707
and averaged: multiplications as written, and a tenth, the median and nine tenths of the error, original = 1."""
# Lengths are in the units of the drawing; y grows downwards. The axes go from _LEFT to _RIGHT and from _BOTTOM to _TOP.
_WIDTH, _HEIGHT = 360.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 350.0, 24.0, 200.0
_LOWEST, _HIGHEST = 0.9, 1.3
"""The ends of the scale of the error; what lies beyond is drawn at the end."""
_CHARACTER = 7.2
"""About the width of a bold letter."""
_OCTAVES = (-3, 2)
"""The ends of the scale of costs, as powers of 2: an eighth of the original's multiplications, and four times these."""
_COSTS = ((0.125, "⅛"), (0.25, "¼"), (0.5, "½"), (1.0, "1"), (2.0, "2"), (4.0, "4"))

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Spot:
    """Where a network stands. cost: multiplications, original = 1.  low, high: of its error, None where unknown."""

    cost: float
    words: str
    low: float | None = None
    high: float | None = None


def spot_of(report: ConvertReport) -> Spot | None:
    """The place of a converted network; None where its multiplications are not known."""
    cost = report.cost
    if not cost.macs_before or not cost.macs_after:
        return None
    ratio = cost.macs_after / cost.macs_before
    how_far = distance(report, data_cautions(report.notes))
    times = f"{plain(ratio)} times the multiplications"
    # A bar would promise an error that the headline does not.
    if how_far.kind == "unknown" or how_far.reason:
        return Spot(ratio, f"{times}; its error is unknown")
    if report.drift is not None and report.drift.built_in:
        return Spot(ratio, f"{times}; its error on your inputs is unknown")
    # Without a drift the result is an average by construction (else its distance is unknown): as averages were.
    if report.way.unchanged or report.drift is None:
        low, high = (1.0, 1.0) if report.way.unchanged else DIAL[-1][1::2]  # of flip averages a tenth and nine tenths
    else:
        low, high = factors(report.drift.rho, report.drift.steps > 1)
    had = f"networks like it had {low:.2f} to {high:.2f} times the original's error{how_far.condition}"
    return Spot(ratio, f"{times}; {had}", low, high)


def figure(spot: Spot) -> str:
    """The drawing with its caption, as HTML."""
    here = spot.words[0].upper() + spot.words[1:]
    caption = (
        f"<b>{escape(here)}.</b><br>"
        f'<span class="hint">The line is the median of {NETWORKS} networks of the benchmark that kept from half to '
        "all of their hidden units; eight of ten lie in the band. Squares: the original in one pass, its flip average "
        "in two.</span>"
    )
    return f'<figure class="beside">\n{_svg(spot)}\n<figcaption>{caption}</figcaption>\n</figure>'


def _svg(spot: Spot) -> str:
    """The drawing: axes, the benchmark, two squares, and the mark of this network."""
    parts = [*_axes(), *_benchmark()]
    taken = list[Box]()  # by the two squares and their names: the label of this network goes elsewhere
    for cost, error, name, anchor, aside in (
        (1.0, 1.0, "original", "end", -8),
        (2.0, DIAL[-1][2], "flip average", "middle", 0),
    ):
        x, y = _x(cost), _y(error)
        parts.append(f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" class="other"/>')
        parts.append(f'<text x="{x + aside:.1f}" y="{y + 18:.1f}" text-anchor="{anchor}" class="halo">{name}</text>')
        taken += [(x - 6, y - 6, x + 6, y + 6), _box(x + aside, y + 18, anchor, name)]
    parts += _here(spot, taken)
    label = f"Error against cost, the original is 1 and 1. This network: {spot.words}."
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def _axes() -> list[str]:
    """Lines and labels of both axes."""
    parts: list[str] = []
    for error in (0.9, 1.0, 1.1, 1.2, 1.3):
        y, style = _y(error), "even" if error == 1.0 else "grid"
        parts.append(f'<line x1="{_LEFT:g}" x2="{_RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}" class="{style}"/>')
        parts.append(f'<text x="{_LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{error:.1f}</text>')
    for cost, name in _COSTS:
        x = _x(cost)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_BOTTOM:g}" y2="{_BOTTOM + 5:g}" class="axis"/>')
        parts.append(f'<text x="{x:.1f}" y="{_BOTTOM + 19:g}" text-anchor="middle">{name}</text>')
    parts.append(f'<line x1="{_LEFT:g}" x2="{_RIGHT:g}" y1="{_BOTTOM:g}" y2="{_BOTTOM:g}" class="axis"/>')
    parts.append('<text x="4" y="13" class="soft">error, original = 1</text>')
    middle = (_LEFT + _RIGHT) / 2
    at = f'x="{middle:g}" y="{_HEIGHT - 8:g}"'
    parts.append(f'<text {at} text-anchor="middle" class="soft">multiplications, original = 1</text>')
    return parts


def _benchmark() -> list[str]:
    """The band (a polygon along its upper edge and back along the lower one) and the median."""
    upper = [(_x(cost), _y(high)) for cost, _, _, high in DIAL]
    lower = [(_x(cost), _y(low)) for cost, low, _, _ in reversed(DIAL)]
    middle = [(_x(cost), _y(median)) for cost, _, median, _ in DIAL]
    return [
        f'<polygon points="{_path([*upper, *lower])}" class="band"/>',
        f'<polyline points="{_path(middle)}" class="median"/>',
    ]


def _here(spot: Spot, taken: Sequence[Box]) -> list[str]:
    """The mark of this network: a bar over the range of the error, with an arrow if it goes on above; dashes if it
    is unknown.
    """
    x = _x(spot.cost)
    if spot.low is None or spot.high is None:
        line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP + 4:g}" y2="{_BOTTOM:g}" class="here unknown"/>'
        return [line, _label(x, _TOP + 16, "this network: error unknown", taken)]
    top, bottom = _y(spot.high), _y(spot.low)  # y grows downwards
    parts = [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" class="here"/>']
    middle = (top + bottom) / 2
    # a diamond in the middle of the bar, or, where it goes on above the drawing, an arrow at its upper end
    corners = [(x, middle - 8), (x + 8, middle), (x, middle + 8), (x - 8, middle)]
    if spot.high > _HIGHEST:
        corners = [(x, _TOP - 4), (x + 8, _TOP + 10), (x - 8, _TOP + 10)]
    parts.append(f'<polygon points="{_path(corners)}" class="spot"/>')
    beyond = when(spot.high > _HIGHEST, f", to {plain(spot.high)}")
    y = max(min(top, middle) + 4, _TOP + 8)
    parts.append(_label(x, y, f"this network{beyond}", taken))
    return parts


def _label(x: float, y: float, words: str, taken: Sequence[Box]) -> str:
    """Words at a mark at x, on the side and at the height where they cover nothing; else at its right."""
    # beside the mark at its height, right before left, then a line or two further up
    places = [(x + aside, y + up, anchor) for up in (0, -18, -36) for aside, anchor in ((11, "start"), (-11, "end"))]
    at, height, anchor = next((spot for spot in places if _is_free(_box(*spot, words), taken)), places[0])
    return f'<text x="{at:.1f}" y="{height:.1f}" text-anchor="{anchor}" class="halo strong">{escape(words)}</text>'


def _box(x: float, y: float, anchor: str, words: str) -> Box:
    """About where words stand: left, top, right, bottom."""
    length = _CHARACTER * len(words)
    left = x - {"start": 0.0, "middle": length / 2, "end": length}[anchor]
    return left, y - 11, left + length, y + 3


def _is_free(box: Box, taken: Sequence[Box]) -> bool:
    """Whether a box lies within the drawing and covers none of the others."""
    left, top, right, bottom = box
    if left < _LEFT or right > _WIDTH or top < _TOP - 12:
        return False
    return not any(left < other[2] and other[0] < right and top < other[3] and other[1] < bottom for other in taken)


def _path(points: list[tuple[float, float]]) -> str:
    """Points as an SVG attribute."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _x(cost: float) -> float:
    """The x of a cost, on a scale of octaves."""
    # a cost of 0, or none that is a number, stands at the left end; what lies beyond either end stands at it
    first, last = _OCTAVES
    octave = log2(cost) if cost > 0 and isfinite(cost) else first
    share = (octave - first) / (last - first)
    return _LEFT + (_RIGHT - _LEFT) * min(max(share, 0.0), 1.0)


def _y(error: float) -> float:
    """The y of an error; one beyond the scale stands at its end."""
    share = (min(max(error, _LOWEST), _HIGHEST) - _LOWEST) / (_HIGHEST - _LOWEST)
    return _BOTTOM - (_BOTTOM - _TOP) * share
