"""The tables of docs/closed-loop-measured.md, from the results file:

python -m benchmarks.robots.table [--write]
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.accuracy.summary import read
from benchmarks.robots.run import LONGER, RESULTS, TUNED

PAGE = Path(__file__).parents[2] / "docs" / "closed-loop-measured.md"
AGAIN = Path(__file__).with_name("again.csv")
"""Of `benchmarks.robots.again`: conversions from other starts."""
TRIED = Path(__file__).with_name("tried.csv")
"""Of `benchmarks.robots.tried`: what `convert --rollout` chooses."""
LEAST = 0.9
HALF = 0.505
"""Of the products, rounded."""
_TRAINERS = {
    "sb3-mlp-plain": "MLP, plain",
    "sb3-mlp-mirrored": "MLP, mirrored samples",
    "sb3-mlp-equivariant": "MLP, equivariant from the start",
    "rsl-mlp-plain": "MLP (rsl_rl), plain",
    "rsl-mlp-mirrored": "MLP (rsl_rl), mirrored samples",
    "rsl-lstm-plain": "LSTM (rsl_rl), plain",
    "rsl-lstm-mirrored": "LSTM (rsl_rl), mirrored samples",
}
WALKERS = {f"walker-{kind}": title for kind, title in _TRAINERS.items()}
ANTS = {
    "ant-sb3-mlp-plain-256": "MLP, plain, batches of 256",
    "ant-sb3-mlp-mirrored-256": "MLP, mirrored samples, batches of 256",
    **{f"ant-{kind}": title for kind, title in _TRAINERS.items()},
}
WAYS = ("original", LONGER, "flip average", "reduce 0.5", "reduce 0.707", TUNED)
HEADS = ("policy", "seeds", "way", "products", "return", "of the original's", "gap, first 2 s", "in float64",
         "gap, whole", "falls", "parted after")  # fmt: skip
Row = dict[str, str]


def policies_table(policies: Mapping[str, str], rows: Sequence[Row]) -> str:
    """A line for every kind of policy and way: medians over seeds, with their range. policies: titles of the kinds."""
    lines = [
        f"| {' | '.join(HEADS)} |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for kind, title in policies.items():
        for way in WAYS:
            own = [row for row in rows if _kind(row) == kind and row["way"] == way and row["return"]]
            own = [row for row in own if row["calibration"] in ("", "good")]
            if own:
                cells = (title, str(len(own)), way, *_cells(own))
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _kind(row: Row) -> str:
    return row["policy"].rsplit("-", 1)[0]


def _cells(rows: Sequence[Row]) -> tuple[str, ...]:
    def middle(column: str, form: str = "{:.3g}") -> str:
        """The median, and the range of several."""
        values = [float(row[column]) for row in rows if row[column]]
        if not values:
            return ""
        text = form.format(np.median(values))
        if len(values) > 1 and min(values) != max(values):
            text += f" ({form.format(min(values))}–{form.format(max(values))})"
        return text

    return (
        middle("products", "{:.2g}"),
        middle("return", "{:.0f}" if float(rows[0]["return"]) > 300 else "{:.3g}"),
        middle("ratio", "{:.2f}"),
        middle("gap_2s", "{:.2g}"),
        middle("gap_2s_double", "{:.1g}"),
        middle("gap_25s", "{:.2g}"),
        middle("falls", "{:.0f}"),
        middle("parted", "{:.0f}"),
    )


NO_GAP = 1e-6
"""In float64 after two seconds; what is left of it in float32 is rounding."""
AIM, AIM_TUNED = 0.97, 1.0
"""Of the original's return: what a conversion at half the width is to have, and what it is to have trained on."""


def aims_table(rows: Sequence[Row]) -> str:
    """For every kind of policy: of how many seeds half the width does what it is to do."""
    heads = ("", f"½: {AIM} of the return", "half of the products", "gap below 1e-6",
             "trained on: 1.0", "what the original has, trained on")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    for robot, kinds in (("Walker", WALKERS), ("Ant", ANTS)):
        for kind, title in kinds.items():
            own = [row for row in rows if _kind(row) == kind and row["calibration"] in ("", "good")]
            if any(row["way"] == "reduce 0.5" for row in own):
                lines.append(f"| {robot}, {title} | {' | '.join(_aims(own))} |")
    return "\n".join(lines)


def _aims(rows: Sequence[Row]) -> tuple[str, ...]:
    """The cells of a kind of policy."""
    halves, tuned, longer = ([row for row in rows if row["way"] == way] for way in ("reduce 0.5", TUNED, LONGER))
    after = {row["policy"]: float(row["ratio"]) for row in longer}
    beside = [float(row["ratio"]) >= after[row["policy"]] for row in tuned if row["policy"] in after]
    return (
        _share([float(row["ratio"]) >= AIM for row in halves]),
        _share([float(row["products"]) <= HALF for row in halves]),
        _share([float(row["gap_2s_double"]) < NO_GAP for row in halves]),
        _share([float(row["ratio"]) >= AIM_TUNED for row in tuned]),
        _share(beside),
    )


def _share(met: Sequence[bool]) -> str:
    """How many of them; empty for none."""
    return f"{sum(met)} of {len(met)}" if met else ""


SAID = {
    "handed over": "handed over without a warning",
    "warned": "handed over with a warning",
    "refused": "refused unless forced",
}


def guard_table(rows: Sequence[Row]) -> str:
    """How many conversions there were below and above nine tenths of the return, by what the report said."""
    converted = [row for row in rows if row["outcome"]]
    lines = ["| | conversions | below 0.9 of the return | lowest |", "|---|--:|--:|--:|"]
    for outcome in SAID:
        own = [float(row["ratio"]) for row in converted if row["outcome"] == outcome and row["ratio"]]
        if own:
            below = sum(value < LEAST for value in own)
            lines.append(f"| {SAID[outcome]} | {len(own)} | {below} | {min(own):.2f} |")
    beforehand = [row for row in converted if row["outcome"].startswith("refused CH")]
    if beforehand:
        lines.append(f"| refused without a result | {len(beforehand)} | | |")
    return "\n".join(lines)


def violations(rows: Sequence[Row]) -> list[Row]:
    """Conversions below nine tenths of the return of which the report said nothing."""
    return [row for row in rows if row["outcome"] == "handed over" and float(row["ratio"]) < LEAST]


def is_within_error(row: Row) -> bool:
    """Whether the standard error of the return, as a share of the original's, reaches nine tenths."""
    ratio = float(row["ratio"])
    return ratio + float(row["error"]) * ratio / float(row["return"]) >= LEAST


def _named(row: Row) -> str:
    return f"{row['policy']}, {row['way']}, calibration {row['calibration']}"


def violations_list(rows: Sequence[Row]) -> str:
    """A line for each of these, or a sentence that says that there is none."""
    entries = []
    later = {_named(row): row for row in (read(AGAIN) if AGAIN.exists() else ())}
    for row in violations(rows):
        name = _named(row)
        returned = f"{float(row['return']):.0f} ± {float(row['error']):.0f}"
        entries.append(f"- {name}: {float(row['ratio']):.2f} of the return ({returned}), rho {float(row['rho']):.2f}")
        if name in later:
            other = later[name]
            entries[-1] += (
                f"; from {other['starts']} other starts {float(other['ratio']):.2f} ± {float(other['error']):.2f}"
            )
        elif is_within_error(row):
            entries[-1] += "; within the error of the return"
    return "\n".join(entries) or "No conversion below 0.9 was handed over without a warning."


def tried_table(rows: Sequence[Row]) -> str:
    """For every kind of policy: what `convert --rollout` took, and what that returns from other starts."""
    heads = ("policy", "seeds", "both views", "answers as they are", "average", "refused", "products",
             "of the original's")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    tried = read(TRIED) if TRIED.exists() else []
    for robot, kinds in (("Walker", WALKERS), ("Ant", ANTS)):
        for kind, title in kinds.items():
            own = [row for row in tried if _kind(row) == kind]
            if own:
                lines.append(f"| {robot}, {title} | {' | '.join(_taken(own))} |")
    return "\n".join(lines)


def _taken(rows: Sequence[Row]) -> tuple[str, ...]:
    """The cells of a kind of policy."""
    made = [row for row in rows if row["method"]]
    counts = [sum(row["fitted to"] == target for row in made) for target in ("both views", "the answers as they are")]
    averages = sum(row["method"] == "average" for row in made)
    returned = [f"{float(row['ratio']):.2f} ± {float(row['error']):.2f}" for row in made]
    products = [f"{float(row['products']):.2g}" for row in made]
    return (
        str(len(rows)),
        *(str(count or "") for count in (*counts, averages, len(rows) - len(made))),
        ", ".join(products),
        ", ".join(returned),
    )


PARTS: Mapping[str, Callable[[Sequence[Row]], str]] = {
    "walkers": partial(policies_table, WALKERS),
    "ants": partial(policies_table, ANTS),
    "aims": aims_table,
    "guard": guard_table,
    "violations": violations_list,
    "tried": tried_table,
}


def filled(text: str, rows: Sequence[Row]) -> str:
    """The page with its tables made anew."""
    for name, make in PARTS.items():
        block = f"<!-- {name} -->\n{make(rows)}\n<!-- /{name} -->"
        text = re.sub(rf"<!-- {name} -->.*?<!-- /{name} -->", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


def main() -> int:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    rows = read(RESULTS)
    if parser.parse_args().write:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
    else:
        for make in PARTS.values():
            Console().print(make(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
