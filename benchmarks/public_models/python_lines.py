"""The same networks by the lines of Python, `chiral = chiralize(model, spec)` and `verify(chiral)`, with nothing else.

The model is the class of the authors with the weights of the file, as a user has it at hand. Cases are those of
`literal`; `--only-working TABLE` leaves out those that the command did not convert at once.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import resource
import sys
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

_CODE = re.compile(r"\bCH\d{3}\b")


@dataclass(frozen=True)
class Row:
    """What the two lines did.

    first, verify: "works", a code of ours, or "crash".  processor: seconds of both lines, without loading.
    """

    name: str
    first: str
    verify: str
    processor: float


def tried(case: dict[str, Any]) -> Row:
    """Both lines on one network. Runs in a process of its own."""
    from chiralize import chiralize, verify
    from chiralize.body.skeleton.catalog import load_skeleton
    from chiralize.storage.load import load_model

    sys.path[:0] = [str(Path(place).resolve()) for place in case["folder"].split(os.pathsep)]
    joints = len(load_skeleton(case["skeleton"]).joints)
    model = load_model(case["file"], factory=case["model"], joints=joints).module
    before, first, judged = _seconds(), "", ""
    try:
        chiral = chiralize(model, case["skeleton"])
        first = "works"
        judged = "works" if verify(chiral).passed else "refused"
    except Exception as error:
        found = _CODE.search(str(error))
        word = found[0] if found else "crash"
        first, judged = (first, word) if first else (word, "")
    return Row(case["name"], first, judged, round(_seconds() - before, 1))


def _seconds() -> float:
    """Of the processor, with those of processes that were waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Run the cases that are not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--only-working", type=Path, required=True)
    given = parser.parse_args()
    names = [entry.name for entry in fields(Row)]
    with given.only_working.open(newline="") as file:
        wanted = [row["name"] for row in csv.DictReader(file) if row["first"] == "works"]
    if given.csv.exists():
        with given.csv.open(newline="") as file:
            done = {row["name"] for row in csv.DictReader(file)}
        wanted = [name for name in wanted if name not in done]
    for case in json.loads(given.cases.read_text()):
        if case["name"] not in wanted:
            continue
        child = os.fork()
        if not child:
            warnings.simplefilter("ignore")
            row = tried(case)
            print(row, flush=True)
            with given.csv.open("a", newline="") as file:
                writer = csv.DictWriter(file, names, lineterminator="\n")
                if not file.tell():
                    writer.writeheader()
                writer.writerow(asdict(row))
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
