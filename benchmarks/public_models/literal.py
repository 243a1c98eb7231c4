"""Type the literal line on public networks: `chiralize convert FILE --model MODULE:CLASS --skeleton NAME`, no more.

Cases are a JSON list of tables: name, repository, commit, folder (put on the import path), file (a checkpoint as the
authors' trainer writes it), model, skeleton, smaller (how it differs from the published network, in words), and after
(options of a second try that follows the message of the first).
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import os
import re
import signal
import sys
import tempfile
import traceback
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

SECONDS = 900
_CODE = re.compile(r"\bCH\d{3}\b")


@dataclass(frozen=True)
class Row:
    """What one literal line did.

    smaller: how the network differs from the published one, in words.  first: "works", a code of ours, "time" or
    "crash".  second: of the line that follows the message; "" where there was none.  verify: what the last try's
    result got.  method: what was taken.  processor: seconds of `convert`, of both tries.  verify_processor: of
    `verify`.  memory: GiB at most.  says: the line of the result, or of
    the first error.
    """

    name: str
    repository: str
    commit: str
    smaller: str
    line: str
    first: str
    second: str
    verify: str
    method: str
    processor: float
    verify_processor: float
    memory: float
    says: str


@dataclass(frozen=True)
class End:
    """How a command ended in one word, what it printed, its processor seconds and its memory at most, in GiB."""

    word: str
    output: str = ""
    processor: float = 0.0
    memory: float = 0.0


def try_literally(case: dict[str, Any], folder: Path) -> Row:
    """Both tries of a case in an empty folder, and `verify` of what they wrote."""
    places = [str(Path(place).resolve()) for place in case["folder"].split(os.pathsep)]
    options = ["--model", case["model"]] if case.get("model") else []
    options += ["--skeleton", case["skeleton"], *case.get("always", [])]
    shown = f"chiralize convert {Path(case['file']).name} {' '.join(options)}"
    target = folder / Path(case["file"]).name
    target.symlink_to(Path(case["file"]).resolve())
    first = last = _run(["convert", target.name, *options], folder, places)
    second = End("")
    if first.word != "works" and case.get("after"):
        second = last = _run(["convert", target.name, *options, *case["after"]], folder, places)
    verify = End("")
    written = sorted(folder.glob("*.chiral.*"))
    if last.word == "works" and written:
        verify = _run(["verify", written[0].name], folder, places)
    method = re.search(r"method\W+(\w+)", last.output)
    return Row(
        case["name"],
        case["repository"],
        case["commit"],
        case.get("smaller", ""),
        shown,
        first.word,
        second.word,
        verify.word,
        method[1] if method else "",
        round(first.processor + second.processor, 1),
        round(verify.processor, 1),
        round(max(end.memory for end in (first, second, verify)), 2),
        says(first.output, target.name),
    )


def says(output: str, name: str) -> str:
    """The line of the result, or of the error. name: of the file. What the network itself prints is passed by."""
    for line in map(str.strip, output.splitlines()):
        if line.startswith(f"{name}: ") or _CODE.search(line):
            return line[:300]
    return ""


def _run(words: list[str], folder: Path, places: list[str]) -> End:
    """A command that has ended. It runs in a fork, which has torch imported already."""
    said = folder / f"{words[0]}.txt"
    child = os.fork()
    if not child:
        _become(words, folder, places, said)
    _, status, used = os.wait4(child, 0)
    output = said.read_text(errors="replace")
    word = _word(status, output)
    return End(word, output, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20)


def _word(status: int, output: str) -> str:
    """The end of a process in one word."""
    if os.WIFSIGNALED(status):
        return "time" if os.WTERMSIG(status) == signal.SIGALRM else "crash"
    if os.WEXITSTATUS(status) == 0:
        return "works"
    found = _CODE.search(output)
    return found[0] if found and "Traceback" not in output else "crash"


def _become(words: list[str], folder: Path, places: list[str], said: Path) -> None:
    """Be the command, with its output in a file, and end."""
    from chiralize.__main__ import main as command

    with said.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    sys.path[:0] = places
    sys.argv = ["chiralize", *words]
    signal.alarm(SECONDS)
    code = 1
    try:
        command()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # a crash is a finding
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Run the cases that are not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="folder for what was printed and written")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    os.environ["COLUMNS"] = "200"
    importlib.import_module("torch")
    names = [entry.name for entry in fields(Row)]
    done = set()
    if given.csv.exists():
        with given.csv.open() as file:
            done = {row["name"] for row in csv.DictReader(file)}
    for case in json.loads(given.cases.read_text()):
        if case["name"] in done or given.only not in case["name"] or not Path(case["file"]).exists():
            continue
        keep = given.keep or Path(tempfile.mkdtemp())
        folder = keep.resolve() / case["name"].replace(" ", "-").replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        row = try_literally(case, folder)
        print(
            f"{row.name}: {row.first} {row.second} {row.verify} {row.method} {row.processor} s  {row.says}", flush=True
        )
        with given.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            if not done and not file.tell():
                writer.writeheader()
            writer.writerow(asdict(row))


if __name__ == "__main__":
    main()
