"""What the literal line did, as a page of the documentation:

python -m benchmarks.public_models.literal_page benchmarks/public_models/literal.csv \\
    benchmarks/public_models/python_lines.csv docs/literal-line.md
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HEAD = """# Public networks by one line

    chiralize convert FILE --model MODULE:CLASS --skeleton NAME
    chiralize verify FILE.chiral.pt2

Typed on networks of other people, with nothing else: no sizes, no layouts, no arguments of the class. FILE holds a
state dict under the keys that the authors' trainer writes, and nothing of what the class was built with.

- **Of {tried} networks {works} convert and verify at once**, {second} more with the command that the message prints.
- **Weights** are fresh and perturbed, statistics of norms as well. `briefly trained` ones were trained on motion
  capture for 10 to 75 s: where joints and coordinates share an axis, only what a network learned tells their order.
- **Smaller** ones differ in the numbers of the column alone. Published sizes take longer, by the same steps.
- **seconds** are of a processor core, for `convert` and for `verify`, **GiB** what they had in memory at most. `auto`
  asks built-in poses, and that is within the seconds.

The code of the networks belongs to their authors and is not part of this repository. Imports that they do not need were
replaced by empty modules.

    python -m benchmarks.public_models.literal --cases CASES.json --csv literal.csv
    python -m benchmarks.public_models.python_lines --cases CASES.json --csv python_lines.csv --only-working literal.csv
    python -m benchmarks.public_models.literal_page literal.csv python_lines.csv docs/literal-line.md

`Python` is `chiral = chiralize(model, "h36m")` and `verify(chiral)`, with nothing else, on the module itself: seconds
of both.

## The networks

| network | skeleton | smaller | the line | then | verify | method | seconds | GiB | Python |
|---|---|---|---|---|---|---|--:|--:|--:|
"""
STOPS = """
## Where it stops

"""


def page(rows: Sequence[Mapping[str, str]], in_python: Sequence[Mapping[str, str]]) -> str:
    """The Markdown text.  rows: of the command.  in_python: of the lines of Python."""
    by_name = {row["name"]: row for row in in_python}
    works = [row for row in rows if row["first"] == "works" and row["verify"] == "works"]
    second = [row for row in rows if row["second"] == "works" and row["verify"] == "works"]
    lines: list[str] = []
    for row in rows:
        name = f"[{row['name']}](https://github.com/{row['repository']}/tree/{row['commit']})"
        skeleton = row["line"].partition("--skeleton ")[2].split()[0]
        seconds = f"{float(row['processor']):.0f} + {float(row['verify_processor']):.0f}"
        seconds = seconds if row["verify"] else seconds.partition(" ")[0]
        cells = [name, skeleton, row["smaller"], row["first"], row["second"], row["verify"], row["method"]]
        lines.append(f"| {' | '.join([*cells, seconds, row['memory'], _python(by_name.get(row['name']))])} |")
    head = HEAD.format(tried=len(rows), works=len(works), second=len(second))
    stops = [f"- **{row['name']}**: {' '.join(row['says'].split())}" for row in rows if row["first"] != "works"]
    return head + "\n".join(lines) + "\n" + (STOPS + "\n".join(stops) + "\n" if stops else "")


def _python(row: Mapping[str, str] | None) -> str:
    """Seconds of the lines of Python where both worked; else the code of the error."""
    if row is None:
        return ""
    return f"{float(row['processor']):.0f}" if row["verify"] == "works" else row["verify"] or row["first"]


def main(arguments: Sequence[str]) -> None:
    """Write the page. arguments: both tables and the page."""
    *tables, target = map(Path, arguments)
    target.write_text(page(*map(read, tables)), encoding="utf-8")


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main(sys.argv[1:])
