"""The tables of docs/results.md and the short one of the README, made from the files of results:

    python -m benchmarks.accuracy.table [--write docs/results.md] [--front README.md]

Printed, or written between the lines `<!-- accuracy -->` and `<!-- /accuracy -->` (`<!-- defaults -->` for those of
today's defaults, `<!-- plain -->` for the plain baseline, `<!-- front -->` in the README). A test compares them.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.accuracy.summary import DEFAULTS, NAMES, PLAIN, UNITS, Line, lines, read

START, END = "<!-- accuracy -->", "<!-- /accuracy -->"
FRONT_START, FRONT_END = "<!-- front -->", "<!-- /front -->"
FRONT = (
    "frame-512", "temporal-27", "temporal-243", "gru-128", "joints-64", "frames-128", "lstm-256", "recogniser-gru-128",
)  # fmt: skip
"""Networks in the README: one of each kind."""
FRONT_COLUMNS = {"both views": "flip average, 2 passes", "auto": "`auto`, 1 pass"}
PLAIN_START, PLAIN_END = "<!-- plain -->", "<!-- /plain -->"
PLAIN_COLUMNS = {"both views": "both views", "reduce 0.5": "½", "pruned": "pruned, distilled"}
DEFAULTS_START, DEFAULTS_END = "<!-- defaults -->", "<!-- /defaults -->"
DEFAULT_COLUMNS = {
    "both views": "both views",
    "auto": "`auto`",
    "reduce 0.5": "½",
    "pruned": "½ pruned, distilled",
    "reduce 0.707": "0.707",
}
COLUMNS = {
    "both views": "both views",
    "average": "`average`",
    "project": "`project`",
    "match": "`match`, refitted",
    "scratch": "from scratch",
    "reduce 0.35": "`reduce` 0.35",
    "reduce 0.5": "½",
    "reduce 0.5 without inputs": "½, no inputs",
    "reduce 0.5 distilled": "½, distilled",
    "reduce 0.707": "0.707",
    "reduce 0.707 distilled": "0.707, distilled",
}
ASIDE = ("average", "project")
"""What the first tables leave out: `average` is both views as one graph, `project` stands with the other ways."""
FIRST = {way: title for way, title in COLUMNS.items() if way not in ASIDE}
OTHERS = {
    "project": "`project`",
    "project distilled": "`project`, distilled",
    "match, weights alone": "`match`, weights alone",
    "match": "`match`, refitted",
    "match distilled": "refitted and distilled",
    "reduce 0.35 distilled": "`reduce` 0.35, distilled",
}
"""Ways of a table of their own, beside what they are to be compared with."""

_TIMED = "frame-512"


def tables() -> str:
    """The accuracy of every network trained with flips, then of those trained without, then the cost."""
    found = lines(read())
    parts = [_table(found, True, FIRST)]
    if any(not flips for _, flips, _ in found):
        parts += ["Trained without mirrored copies:", _table(found, False, FIRST)]
    added = OTHERS.keys() - COLUMNS.keys()
    names = [name for name in NAMES if any((name, True, way) in found for way in added)]
    if names:
        parts += ["Other ways, with mirrored copies:", _table(found, True, OTHERS, names)]
    return "\n\n".join([*parts, _cost(found)])


def defaults() -> str:
    """What today's defaults make of networks trained with flips, beside a plain baseline; then what that costs."""
    found = lines(read(DEFAULTS))
    costs = _costs(found, ("products", "worst joint"), DEFAULT_COLUMNS, "auto", "seconds, `auto`")
    return "\n\n".join([_table(found, True, DEFAULT_COLUMNS), "What that costs:", costs])


def plain() -> str:
    """Half the width beside structured pruning and distillation, which know of no mirror, in the same seconds."""
    found = lines(read(PLAIN))
    costs = _costs(found, ("worst joint", "products"), PLAIN_COLUMNS, "pruned", "seconds of each")
    return "\n\n".join([_table(found, True, PLAIN_COLUMNS), costs])


def _costs(
    found: dict[tuple[str, bool, str], Line],
    figures: Sequence[str],
    columns: Mapping[str, str],
    timed: str,
    seconds: str,
) -> str:
    """Figures of every way of a table, by network, and the seconds of one. seconds: the title of that column.

    A way of which a figure was measured on no network has no column for it; nor have both views, nor `auto`.
    """
    ways = {way: title for way, title in columns.items() if way not in ("both views", "auto")}
    names = {title: title.replace(" ", "_") for title in figures}
    cells = [(way, title) for title, name in names.items() for way in ways if _is_there(found, way, name)]
    rows = [["network", *(f"{title}, {ways[way]}" for way, title in cells), seconds]]
    rows.append(["---"] * len(rows[0]))
    for name, title in NAMES.items():
        if (name, True, timed) in found:
            shown = [_figure(found.get((name, True, way)), names[figure]) for way, figure in cells]
            rows.append([title, *shown, _figure(found[name, True, timed], "seconds", digits=0)])
    return markdown(rows)


def _is_there(found: dict[tuple[str, bool, str], Line], way: str, name: str) -> bool:
    """Whether a figure of a way was measured on any network."""
    return any(math.isfinite(getattr(line, name)) for line in found.values() if line.way == way)


def _figure(line: Line | None, name: str, digits: int = 2) -> str:
    """Empty where it was not measured."""
    value = getattr(line, name, math.nan)
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def front() -> str:
    """One network of each kind, trained with flips: its figure, and what becomes of it in two passes and in one."""
    return _table(lines(read(DEFAULTS)), True, FRONT_COLUMNS, FRONT)


def embedded(page: str, start: str = START, end: str = END) -> str:
    """What a page has between the markers."""
    return page.partition(start)[2].partition(end)[0].strip()


def _table(
    found: dict[tuple[str, bool, str], Line],
    flips: bool,
    columns: Mapping[str, str] = COLUMNS,
    names: Sequence[str] = tuple(NAMES),
) -> str:
    ways = [way for way in columns if any((name, flips, way) in found for name in names)]
    head = ["network", "seeds", "original", *(columns[way] for way in ways)]
    rows = [head, ["---"] * len(head)]
    for name in names:
        teacher = found.get((name, flips, "teacher"))
        if teacher is None:
            continue
        cells = [NAMES[name], str(teacher.seeds), f"{teacher.error:.1f} {UNITS[teacher.metric]}"]
        rows.append([*cells, *(_cell(found.get((name, flips, way)), teacher.seeds) for way in ways)])
    return markdown(rows)


def _cell(line: Line | None, seeds: int) -> str:
    if line is None:
        return ""
    few = "" if line.seeds == seeds else f" ({line.seeds})"
    if line.way == "auto" and line.averaged:
        few += " (2 passes)" if line.averaged == line.seeds else f" ({line.averaged} of {line.seeds}: 2 passes)"
    return (f"{line.change:+.1f}" if line.is_score else f"{line.change:.3f}") + few


def _cost(found: dict[tuple[str, bool, str], Line]) -> str:
    """Medians over the networks trained with flips; seconds of one core for one of them."""
    ways = ["both views", *list(COLUMNS)[1:]]
    rows = [["way", "parameters", "multiplications", f"seconds, {NAMES[_TIMED]}"], ["---"] * 4]
    for way in ways:
        own = [line for (_, flips, other), line in found.items() if other == way and flips]
        if own:
            figures = (_middle(own, "parameters"), _middle(own, "macs"))
            timed = found.get((_TIMED, True, way))
            seconds = f"{timed.seconds:.0f}" if timed and timed.seconds > 0 else ""
            rows.append([COLUMNS[way], *(f"×{figure:.2f}" for figure in figures), seconds])
    return markdown(rows)


def _middle(own: list[Line], name: str) -> float:
    return sorted(getattr(line, name) for line in own)[len(own) // 2]


def markdown(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write(page: Path, start: str, end: str, content: str) -> int:
    """Put content between two lines of a page; 1 where the page lacks them."""
    text = page.read_text(encoding="utf-8")
    if start not in text or end not in text:
        print(f"{page}: the lines {start} and {end} are missing", file=sys.stderr)
        return 1
    block = f"{start}\n{content}\n{end}"
    page.write_text(re.sub(f"{start}.*?{end}", lambda _: block, text, flags=re.DOTALL), encoding="utf-8")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="page to write them into")
    parser.add_argument("--front", type=Path, help="page to write the short one into")
    asked = parser.parse_args()
    if asked.write is None and asked.front is None:
        print(defaults(), plain(), tables(), sep="\n\n")
        return 0
    status = 0
    if asked.write:
        for start, end, made in (
            (DEFAULTS_START, DEFAULTS_END, defaults), (PLAIN_START, PLAIN_END, plain), (START, END, tables)
        ):  # fmt: skip
            status = status or write(asked.write, start, end, made())
    return status or (write(asked.front, FRONT_START, FRONT_END, front()) if asked.front else 0)


if __name__ == "__main__":
    raise SystemExit(main())
