"""The results as a page of the documentation:

python -m benchmarks.public_models.page benchmarks/public_models/results.csv docs/public-models.md
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.accuracy import odd

METHODS = ("match", "project", "average")
HEAD = """# Public models

Networks of other people, converted as their authors wrote them; only imports were mended. Each is converted by `match`,
by `project` and by `average`.

- **Weights** are scrambled first, statistics and learned adjacency as well: fresh ones are often symmetric by
  accident. `shipped` means the checkpoint that comes with the code.
- **Every result has a complete certificate.** A judge that imports nothing from chiralize then runs it in float64
  with a mirror of its own.
- **Versions.** The rows down to rsl_rl's are of this version, but for MHFormer, MixSTE, P-STMO, MotionAGFormer,
  HisRepItself and CTR-GCN. Those and the rows below are of earlier ones. Later `match` was run again on 31 of the 65:
  22 convert and 9 are refused as in their rows. Representations of 27 further graphs were found again, with the spaces
  of their rows, but for one or two in MotionBERT and P-STMO.
- **Sizes** are those that the authors published, with these exceptions. MotionBERT is the Lite network. PoseFormer,
  StridedTransformer, GLA-GCN and MotionBERT have 27 frames. ST-GCN, 2s-AGCN, MS-G3D (13 and 6 scales), ResGCN and
  TD-GCN have 16. MixSTE, D3DP, KTPFormer, CTR-GCN, RIE's first stage, STTFormer, DSTA-Net, SkateFormer and STCFormer
  are smaller where their constructors take that. The ops are the same.

At published sizes the residuals were as small, by a script that is not kept and partly by earlier versions:

| model | frames | match | project | average |
|---|--:|--:|--:|--:|
| ST-GCN, NTU | 300 | 3.5e-16 | 3.5e-16 | 0 |
| ST-GCN, Kinetics | 300 | 2.3e-16 | 3.9e-16 | 0 |
| 2s-AGCN | 300 | 2.7e-16 | 2.4e-16 | 0 |
| GLA-GCN | 243 | 2.5e-15 | 1.7e-15 | 0 |
| CTR-GCN | 64 | 3.2e-16 | | |
| DSTA-Net | 128 | 9.8e-15 | | |
| STTFormer 3x1 | 120 | 1.5e-16 | | |
| MotionBERT, 512 channels | 27 | 1.5e-15 | | |
| KTPFormer, 512 channels | 27 | 2.3e-15 | | |

## How to read the table

    python -m benchmarks.public_models.run --repos CHECKOUTS --draws 5 --csv results.csv
    python -m benchmarks.public_models.page results.csv docs/public-models.md

A recipe of `benchmarks/public_models/recipes` says how a network is built and what a user would specify. The code of
the networks belongs to their authors and is not part of this repository: CHECKOUTS has it, a folder `owner+name` for
each, at the commit that the recipe names.

- **residual**: max |g(T x) − T g(x)| / max |g| over random inputs, in float64, the largest over all draws. `average`
  sums both views in the same order for x and for T x, so that it is 0 to the last bit.
- **odd**: share of the output's variance that changes sign under T, of the original's flip average and of the result
  of `match` (first draw); a network that collapsed would have none. Scores that the mirror leaves alone have none
  either.
- **kept**: what `match` and `project` keep of the original's share, the median of five or three draws and in brackets
  the least. {trained}
- **ONNX**: largest difference between onnxruntime and torch in float32, in units of the output's scale.
- **ops** are different operations, **nodes** calls in the graph, **spaces** hidden spaces, **ms** one propagation of
  the representations; seconds are those of a whole conversion on one CPU thread, verification included, beside other
  work.

Statistics of batch norms are drawn around what reaches the norms, as training leaves them; in rows of earlier versions
around 0 and 1. EqMotion's file was written or refused as the inputs were drawn: torch in float32 is further than 1e-5
from float64 on 9 of 40 (by a script that is not kept). The bound allows for that now. STSGCN convolves over the joint
axis, or bends coordinates that carry signs (PReLU): refused, and averaged.

## The networks

"""


NOTES = """## Refusals and remarks

"""


def page(rows: Sequence[Mapping[str, str]]) -> str:
    """The Markdown text."""
    lines = [
        "| model | weights | ops / nodes / spaces | ms "
        "| residual: match | project | average | seconds | odd | kept | ONNX |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|---|--:|",
    ]
    notes: list[str] = []
    for row in rows:
        residuals = [row[f"{method}_residual"] or "refused" for method in METHODS]
        seconds = " / ".join(row[f"{method}_seconds"] or "–" for method in METHODS)
        counts = " / ".join(row[name] or "–" for name in ("ops", "nodes", "spaces"))
        cells = [_name(row), row["weights"], counts, _milliseconds(row), *residuals]
        cells += [seconds, row["odd_share"].replace("->", "→"), _kept(row), _onnx(row)]
        lines.append(f"| {' | '.join(cells)} |")
        notes += _notes(row)
    return (
        HEAD.format(trained=_trained())
        + "\n".join(lines)
        + "\n"
        + ("\n" + NOTES + "\n".join(notes) + "\n" if notes else "")
    )


def _trained() -> str:
    """What networks that were trained on motion capture keep."""
    found = odd.kept()
    noise, data = ([f"{found[method, given][0]:.2f}" for method in odd.METHODS] for given in ("noise", "data"))
    return (
        f"Those weights are random: {len(found['match', 'noise'])} trained networks keep at\n  least {noise[0]} by "
        f"`match` and {noise[1]} by `project`, {data[0]} and {data[1]} where data are given to fit and to measure on\n"
        "  (`python -m benchmarks.accuracy.odd --cache DIR`)."
    )


def _name(row: Mapping[str, str]) -> str:
    link = f"https://github.com/{row['repository']}/tree/{row['commit']}"
    return f"[{row['model']}]({link})"


def _milliseconds(row: Mapping[str, str]) -> str:
    return f"{1000 * float(row['propagation_s']):.0f}" if row["propagation_s"] else "–"


def _onnx(row: Mapping[str, str]) -> str:
    return "none" if row["onnx_parity"].startswith("none") else row["onnx_parity"] or "–"


def _kept(row: Mapping[str, str]) -> str:
    """Median and lowest draw of `match` and of `project`, of the output that keeps least."""
    cells = []
    for text in filter(None, row["odd_kept"].split("; ")):
        outputs = [sorted(map(float, own.split())) for own in text.partition(" ")[2].split(" | ")]
        worst = min(outputs, key=statistics.median)
        cells.append(f"{statistics.median(worst):.2f} ({min(map(min, outputs)):.2f})")
    return " / ".join(cells)


def _notes(row: Mapping[str, str]) -> list[str]:
    """What a row does not say: refusals, problems, why there is no ONNX."""
    found = [] if row["result"] == "ok" else [row["result"]]
    found += ["`match` and `project` run both views through a part of it"] if row["form"] == "averaged" else []
    refusals = [text.partition(": ")[2] for text in row["refusal"].split(" | ") if text]
    found += dict.fromkeys(text.partition("Fix:")[0] for text in refusals)
    if row["onnx_parity"].startswith("none"):
        found.append(row["onnx_parity"].removeprefix("none: ").partition("Fix:")[0])
    return [f"- **{row['model']}** ({row['weights']}): {' '.join(text.split())}" for text in found]


def main(arguments: Sequence[str]) -> None:
    source, target = map(Path, arguments)
    with source.open(newline="", encoding="utf-8") as file:
        target.write_text(page(list(csv.DictReader(file))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
