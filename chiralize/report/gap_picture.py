"""The body of an output with the gap of every joint: a circle that grows and changes its colour, and the number.

`gaps.gaps_of` says which gaps a report knows, and `html` puts the drawings (SVG) beside each other. Circles stand where
`body` has the joints; large gaps are drawn over small ones, and numbers go where they cover nothing, the largest first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product
from math import dist, isnan

from chiralize.report.body import Body, Point
from chiralize.report.document import plain, plural
from chiralize.verification.asymmetry.advice import ASYMMETRIC, UNEVEN

STEPS = (0.01, 0.1, UNEVEN, ASYMMETRIC)
"""Upper ends of all colours but the last, in spreads of the output."""
STEP_NAMES = ("up to 0.01", "to 0.1", f"to {UNEVEN}", f"to {ASYMMETRIC}", f"above {ASYMMETRIC}")
# Lengths are in the units of the drawing, which is 360 wide.
_RADII = (5.0, 6.0, 7.0, 8.0, 9.0)
"""Of a circle, by the step of its gap."""
_LEAST_RADIUS = 1.2
_WIDTH, _MARGIN, _LINE = 360.0, 52.0, 26.0
_TALL, _ABOVE, _BELOW = 420.0, 34.0, 26.0
"""The height of a person's drawing at most, and what is left above and below the joints for text."""
_HALF_TEXT, _CHARACTER = 7.0, 6.6
"""Half the height of a line of text, and about the width of a digit."""
_MOST_NUMBERS = 40
"""Joints of a body up to which all get a number, and circles at their full size."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Gaps:
    """The gaps of the joints of one body.

    title: what they are of.  by_joint: by name; joints without one are left empty.  note: below the title, small: on
    which inputs they were measured.
    """

    body: Body
    title: str
    by_joint: Mapping[str, float]
    note: str = ""

    @property
    def worst(self) -> tuple[str, float]:
        """The joint with the largest gap."""
        name = max(self.by_joint, key=lambda joint: self.by_joint[joint])
        return name, self.by_joint[name]


def step_of(gap: float) -> int:
    """Which of the five colours a gap has, 0 the palest: a gap of 0.1 has the second, `to 0.1`; nan has the last."""
    if isnan(gap):  # no comparison with nan holds: by bisection it would look like no gap
        return len(STEPS)
    return bisect_left(STEPS, gap)


def figure(gaps: Gaps) -> str:
    """The drawing with its caption, as HTML."""
    caption = f"<b>{escape(gaps.title)}</b>"
    if gaps.note:
        caption += f'<br><span class="hint">{escape(gaps.note)}</span>'
    return f"<figure>\n{_svg(gaps)}\n<figcaption>{caption}</figcaption>\n</figure>"


def key() -> str:
    """What the colours mean, as a list."""
    entries: list[str] = []
    for step, name in enumerate(STEP_NAMES):
        circle = f'<circle cx="10" cy="10" r="{_RADII[step]:g}" class="joint step{step}"/>'
        entries.append(f'<li><svg viewBox="0 0 20 20" aria-hidden="true">{circle}</svg>{name}</li>')
    return '<ul class="key" aria-label="Gap of a joint">' + "".join(entries) + "</ul>"


def _svg(gaps: Gaps) -> str:
    """The drawing: bones, circles with their names on hovering, numbers, and which side is which."""
    body = gaps.body
    points, height = _scaled(body)
    # SVG draws later elements over earlier ones: bones below circles, small gaps below large ones, numbers on top.
    # Joints without a gap come first, as if it were -1.
    order = sorted(range(len(points)), key=lambda index: gaps.by_joint.get(body.joints[index], -1.0))
    parts: list[str] = []
    for start, end in body.edges:
        (x1, y1), (x2, y2) = points[start], points[end]
        parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="bone"/>')
    parts += _circles(gaps, points, order)
    parts += _numbers(gaps, points, list(reversed(order)))
    # the body is seen from the front, so that its left is on the reader's right
    parts.append('<text x="4" y="14" class="soft">its right</text>')
    parts.append(f'<text x="{_WIDTH - 4:g}" y="14" text-anchor="end" class="soft">its left</text>')
    return (
        f'<svg role="img" aria-label="{escape(_in_words(gaps))}" viewBox="0 0 {_WIDTH:g} {height:.0f}">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def _circles(gaps: Gaps, points: Sequence[Point], order: Sequence[int]) -> list[str]:
    """A circle for every joint, in this order: its size and colour by the gap, the palest where none is known."""
    nearest = _nearest(points)
    parts: list[str] = []
    for index in order:
        joint = gaps.body.joints[index]
        gap = gaps.by_joint.get(joint)
        step, label = 0, joint
        if gap is not None:
            step, label = step_of(gap), f"{joint}: gap {plain(gap)}"
        radius, style = _RADII[step], f"joint step{step}"
        if len(points) > _MOST_NUMBERS:  # points of a face lie close: no circle may cover its neighbour
            radius = max(min(radius / 2, nearest[index] / 2), _LEAST_RADIUS)
            style += " small"
        x, y = points[index]
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.3g}" class="{style}">'
            f"<title>{escape(label)}</title></circle>"
        )
    return parts


def _nearest(points: Sequence[Point]) -> list[float]:
    """How far each point is from the one next to it, so that circles of a face do not hide each other."""
    distances: list[float] = []
    for index, point in enumerate(points):
        others = (dist(point, other) for position, other in enumerate(points) if position != index)
        distances.append(min(others, default=_WIDTH))
    return distances


def _in_words(gaps: Gaps) -> str:
    """The content of the picture as text, for those who cannot see it."""
    head = f"{gaps.body.skeleton}, {plural(len(gaps.body.joints), 'joint')}. {gaps.title}."
    if not gaps.by_joint:
        return head
    name, gap = gaps.worst
    return f"{head} The largest gap is that of {name}, {plain(gap)}; the table below has all."


def _scaled(body: Body) -> tuple[list[Point], float]:
    """Points in the units of the drawing, and its height."""
    xs, ys = zip(*body.points, strict=True)
    room = _WIDTH - 2 * _MARGIN
    wide = (max(xs) - min(xs)) or 1.0
    tall = max(ys) - min(ys)
    # A person keeps the proportions, as large as the drawing has room for. A tree has a line of text for every level,
    # less where there are very many.
    across = room / wide
    down = across
    if body.as_person:
        across = down = min(across, (_TALL - _ABOVE - _BELOW) / (tall or 1.0))
    else:
        down = min(_LINE, (2 * _TALL) / (tall or 1.0))
    middle = (max(xs) + min(xs)) / 2
    points = [(_WIDTH / 2 + across * (x - middle), _ABOVE + down * (y - min(ys))) for x, y in body.points]
    return points, _ABOVE + down * tall + _BELOW


def _numbers(gaps: Gaps, points: Sequence[Point], order: Sequence[int]) -> list[str]:
    """The numbers, the largest first, each where it covers neither a joint nor another number; else none.

    Where there is a choice they cover no bone either.
    """
    body = gaps.body
    # boxes that are taken: first those of all joints, then those of numbers as they are written
    small = len(points) > _MOST_NUMBERS
    spread = 5.0 if small else 8.0
    taken: list[Box] = [(x - spread, y - spread, x + spread, y + spread) for x, y in points]
    bones = [(points[start], points[end]) for start, end in body.edges]
    parts: list[str] = []
    for index in order[:_MOST_NUMBERS]:
        gap = gaps.by_joint.get(body.joints[index])
        if gap is None:
            continue
        text = _number(gap)
        # the first place that crosses no bone, else the first one, else none: the number is on hovering all the same
        places = _places_for(text, points[index], spread + 3, taken)
        box = next((box for box in places if not _crosses(box, bones)), next(iter(places), None))
        if box is not None:
            taken.append(box)
            parts.append(f'<text x="{box[0]:.1f}" y="{box[3] - 3:.1f}" class="halo">{escape(text)}</text>')
    return parts


_LEAST = 1e-6
"""A gap below this is rounding."""


def _number(gap: float) -> str:
    """A gap with as many digits as the others, so that they can be compared at a glance."""
    if gap < _LEAST:
        return "0"
    if 0.001 <= gap < 10:
        return f"{gap:.3f}"
    return plain(gap)


def _places_for(text: str, point: Point, away: float, taken: Sequence[Box]) -> list[Box]:
    """The free places beside a point, then above and below it, outward first, as boxes.

    away: from the point to the near side of the text.  taken: boxes that none of them may cover.
    """
    # outward: away from the middle of the drawing, where there are fewer bones
    x, y = point
    length = _CHARACTER * len(text)
    outward = 1 if x >= _WIDTH / 2 else -1
    sides = {1: (x + away, x + away + length), -1: (x - away - length, x - away)}
    boxes: list[Box] = []
    # Beside the point, then a little higher and lower; outward before inward at each height.
    for shift, side in product((0.0, -9.0, 9.0), (outward, -outward)):
        left, right = sides[side]
        if left >= 0 and right <= _WIDTH:
            boxes.append((left, y - _HALF_TEXT + shift, right, y + _HALF_TEXT + shift))
    for shift in (-2.2, 2.2):
        middle = y + shift * _HALF_TEXT
        boxes.append((x - length / 2, middle - _HALF_TEXT, x + length / 2, middle + _HALF_TEXT))
    return [box for box in boxes if _is_free(box, taken)]


def _is_free(box: Box, taken: Sequence[Box]) -> bool:
    """Whether a box covers none of the others."""
    return not any(_overlap(box, other) for other in taken)


_STEPS = 24
"""Parts of a bone, at whose ends it is tested: a bone of 240 is tested every 10, and a line of text is 14 high."""


def _crosses(box: Box, bones: Sequence[tuple[Point, Point]]) -> bool:
    """Whether a bone goes through a box."""
    for (x1, y1), (x2, y2) in bones:
        for step in range(_STEPS + 1):
            share = step / _STEPS
            x, y = x1 + share * (x2 - x1), y1 + share * (y2 - y1)
            if _overlap(box, (x, y, x, y)):
                return True
    return False


def _overlap(one: Box, other: Box) -> bool:
    """Whether two boxes (left, top, right, bottom) have a point in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
