"""What the literal line did, as a page of the documentation:

python -m benchmarks.public_models.literal_page benchmarks/public_models/literal.csv docs/literal-line.md
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
    python -m benchmarks.public_models.literal_page literal.csv docs/literal-line.md

## The networks

| network | skeleton | smaller | the line | then | verify | method | seconds | GiB |
|---|---|---|---|---|---|---|--:|--:|
"""
STOPS = """
## Where it stops

"""


def page(rows: Sequence[Mapping[str, str]]) -> str:
    """The Markdown text."""
    works = [row for row in rows if row["first"] == "works" and row["verify"] == "works"]
    second = [row for row in rows if row["second"] == "works" and row["verify"] == "works"]
    lines: list[str] = []
    for row in rows:
        name = f"[{row['name']}](https://github.com/{row['repository']}/tree/{row['commit']})"
        skeleton = row["line"].partition("--skeleton ")[2].split()[0]
        seconds = f"{float(row['processor']):.0f} + {float(row['verify_processor']):.0f}"
        seconds = seconds if row["verify"] else seconds.partition(" ")[0]
        cells = [name, skeleton, row["smaller"], row["first"], row["second"], row["verify"], row["method"]]
        lines.append(f"| {' | '.join([*cells, seconds, row['memory']])} |")
    head = HEAD.format(tried=len(rows), works=len(works), second=len(second))
    stops = [f"- **{row['name']}**: {' '.join(row['says'].split())}" for row in rows if row["first"] != "works"]
    return head + "\n".join(lines) + "\n" + (STOPS + "\n".join(stops) + "\n" if stops else "")


def main(arguments: Sequence[str]) -> None:
    """Write the page. arguments: the table and the page."""
    source, target = map(Path, arguments)
    with source.open(newline="", encoding="utf-8") as file:
        target.write_text(page(list(csv.DictReader(file))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
