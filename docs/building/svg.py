"""A drawing in SVG: lines, circles, boxes and words in colours that have a light and a dark value.

A file works by itself, where it follows the reader's system, and within a page, where the page sets the colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Point = tuple[float, float]

LIGHT = {
    "ink": "#1f2328",
    "soft": "#59636e",
    "left": "#0067a3",
    "right": "#b84a00",
    "good": "#1a7f37",
    "pale": "#e7ebf0",
}
"""Blue and vermilion can be told apart by colour-blind readers; all but `pale` are legible on white."""
DARK = {
    "ink": "#e6e9ee",
    "soft": "#a5aeb9",
    "left": "#6cbcf5",
    "right": "#ff9a5c",
    "good": "#56d364",
    "pale": "#323a45",
}


def _style(name: str) -> str:
    """The colours as variables of the drawing, and the classes that use them."""

    def variables(colours: dict[str, str]) -> str:
        return " ".join(f"--{key}: {value};" for key, value in colours.items())

    rules = [
        f".{name} {{ {variables(LIGHT)} }}",
        f"@media (prefers-color-scheme: dark) {{ .{name}:not(.inlined) {{ {variables(DARK)} }} }}",
        f'html[data-theme="dark"] .{name} {{ {variables(DARK)} }}',
        f".{name} text {{ font: 16px system-ui, sans-serif; }} .{name} .small {{ font-size: 14px; }}",
        f".{name} .bold {{ font-weight: 600; }} .{name} .code {{ font-family: ui-monospace, monospace; }}",
        f".{name} .middle {{ text-anchor: middle; }} .{name} .end {{ text-anchor: end; }}",
        f".{name} .dashed {{ stroke-dasharray: 6 5; }} .{name} .thick {{ stroke-width: 5; stroke-linecap: round; }}",
    ]
    for colour in LIGHT:
        rules.append(
            f".{name} .{colour} {{ stroke: var(--{colour}); }} .{name} .fill-{colour} {{ fill: var(--{colour}); }}"
        )
    return "\n".join(rules)


class Drawing:
    """A picture that is put together piece by piece; y grows downwards, units are pixels."""

    def __init__(self, name: str, width: int, height: int, title: str) -> None:
        self.name, self.width, self.height, self.title = name, width, height, title
        self._pieces: list[str] = []

    def line(self, start: Point, end: Point, style: str = "ink") -> None:
        """A straight line; `style` has the colour, and `dashed` or `thick`."""
        self._pieces.append(
            f'<line x1="{start[0]:g}" y1="{start[1]:g}" x2="{end[0]:g}" y2="{end[1]:g}" class="{style}"/>'
        )

    def arrow(self, start: Point, end: Point, style: str = "ink") -> None:
        """A line with a head at its end."""
        length = ((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2) ** 0.5
        along = (end[0] - start[0]) / length, (end[1] - start[1]) / length
        neck = end[0] - 11 * along[0], end[1] - 11 * along[1]
        self.line(start, neck, style)
        wings = [(neck[0] - side * 5 * along[1], neck[1] + side * 5 * along[0]) for side in (1, -1)]
        self.area([end, *wings], f"fill-{style.split()[0]}")

    def area(self, points: Sequence[Point], style: str) -> None:
        """A filled polygon."""
        corners = " ".join(f"{x:.4g},{y:.4g}" for x, y in points)
        self._pieces.append(f'<polygon points="{corners}" class="{style}" stroke="none"/>')

    def circle(self, centre: Point, radius: float, style: str) -> None:
        """A disc or ring: `fill-...` colours the inside, which else is empty."""
        self._pieces.append(f'<circle cx="{centre[0]:g}" cy="{centre[1]:g}" r="{radius:g}" class="{style}"/>')

    def box(self, corner: Point, size: Point, style: str = "soft", round_by: float = 8) -> None:
        """A rectangle, empty unless the style fills it."""
        corners = f'x="{corner[0]:g}" y="{corner[1]:g}" width="{size[0]:g}" height="{size[1]:g}" rx="{round_by:g}"'
        self._pieces.append(f'<rect {corners} class="{style}"/>')

    def text(self, at: Point, words: str, style: str = "") -> None:
        """A line of words, which begins at a point, or with `middle` or `end` has it there."""
        colour = "" if "fill-" in style else "fill-ink "
        self._pieces.append(
            f'<text x="{at[0]:g}" y="{at[1]:g}" class="{colour}{style}" stroke="none">{escape(words)}</text>'
        )

    def lines(self, at: Point, words: Sequence[str], style: str = "", step: float = 21) -> None:
        """Several lines of words, one below the other."""
        for number, line in enumerate(words):
            self.text((at[0], at[1] + number * step), line, style)

    def labelled(self, corner: Point, size: Point, words: Sequence[str], style: str = "soft fill-pale") -> None:
        """A box with lines of words in its middle."""
        self.box(corner, size, style)
        first = corner[1] + size[1] / 2 + 5 - (len(words) - 1) * 10
        self.lines((corner[0] + size[0] / 2, first), words, "middle", 20)

    def svg(self) -> str:
        """The file."""
        head = f'<svg xmlns="http://www.w3.org/2000/svg" class="{self.name}" viewBox="0 0 {self.width} {self.height}"'
        parts = [f'{head} fill="none" stroke-width="2" role="img">', f"<title>{escape(self.title)}</title>"]
        parts += [f"<style>\n{_style(self.name)}\n</style>", *self._pieces, "</svg>"]
        return "\n".join(parts) + "\n"
