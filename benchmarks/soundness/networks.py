"""Is anything called equivariant that is not?  Random networks, judged by an oracle that knows nothing of chiralize.

    python -m benchmarks.soundness.networks [--count 2000] [--first 0] [--workers 2] [--seconds 5400] [--csv FILE]
        [--counts benchmarks/soundness/networks.csv]

For each network four questions, one row each:
- `original`: verify says of the random network that it is equivariant;
- `converted`: a conversion (average, match, project, reduce and auto by turns) says so of its result;
- `planted`: verify still says so of that result after one number of its weights was changed;
- `other mirror`: verify says so of that result under another mirror of the same body.
A row holds what was said (`accepted`, or the code of the refusal), the oracle's residual, and `false` where an
accepted network's residual is above 1e-6 of its answers (1e-3 in float32). An exception that is none of chiralize's
own, exit status 101, and a network that takes longer than the limit are rows as well. Rows are appended as they come;
networks of the table are not done again.
"""

from __future__ import annotations

import argparse
import copy
import csv
import random
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn

import chiralize
from benchmarks.soundness.bodies import NEGATED, Body
from benchmarks.soundness.random_nets import random_net

METHODS = ("average", "match", "project", "reduce", "auto")
BATCH = 4
LIMIT = 120
"""Seconds for all four questions about one network."""
FALSE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Residual, as a share of the largest answer, above which an accepted network is a false acceptance."""


@dataclass(frozen=True)
class Row:
    """What was said of one network, and what the oracle found.

    said: `accepted`, `rejected`, a code such as CH309, `timeout`, or the name of a foreign exception.  residual: nan
    where there was nothing to run.  is_false: accepted, and yet not equivariant.
    """

    seed: int
    question: str
    method: str
    said: str
    residual: float
    is_false: bool
    is_foreign: bool
    seconds: float
    detail: str = ""


class _TooLong(BaseException):
    """No `except Exception` takes it for an error of the network."""


def residual_of(net: Callable[[Tensor], Tensor], body: Body, seed: int, dtype: torch.dtype = torch.float64) -> float:
    """max |f(T x) - T f(x)| over inputs of several scales, as a share of the largest answer."""
    generator = torch.Generator().manual_seed(seed + 1)
    worst = largest = 0.0
    with torch.no_grad():
        for scale in (0.3, 1.0, 1.0, 1.0, 3.0, 3.0):
            x = scale * torch.randn(BATCH, *body.shape, dtype=dtype, generator=generator)
            y = net(x)
            worst = max(worst, float((net(body.mirrored(x)) - body.mirrored(y)).abs().max()))
            largest = max(largest, float(y.abs().max()))
    return worst / largest if largest else 0.0


def planted(net: nn.Module, draw: random.Random) -> nn.Module:
    """The network with one number of its weights moved by a tenth of a percent to all of their spread."""
    changed = copy.deepcopy(net)
    state = {name: tensor for name, tensor in changed.state_dict().items() if tensor.is_floating_point()}
    tensor = state[draw.choice(sorted(state))]
    flat = tensor.reshape(-1)
    step = draw.choice([1e-3, 1e-2, 1.0]) * (float(flat.abs().mean()) + 1e-3)
    with torch.no_grad():
        index = draw.randrange(flat.numel())
        tensor.view(-1)[index] = flat[index] + step
    return changed


def other_mirror(body: Body, draw: random.Random) -> Body:
    """One pair less, or other coordinates negated."""
    pairs = [(i, j) for i, j in enumerate(body.partner) if i < j]
    others = [sign for sign in NEGATED if sign[0] in body.dims]
    if draw.random() < 0.5 and others:
        negated = draw.choice([(dim,) for dim in body.dims if (dim,) != body.negated])
        return replace(body, negated=negated)
    i, j = draw.choice(pairs)
    partner, joints = list(body.partner), list(body.joints)
    partner[i], partner[j] = i, j
    joints[i], joints[j] = "one", "another"  # names of sides without partners are refused
    return replace(body, partner=tuple(partner), joints=tuple(joints))


def ask(seed: int, limit: int = LIMIT) -> list[Row]:
    """The four questions about the network of this number."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows: list[Row] = []
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(limit)
    started = time.process_time()
    try:
        for row in _answers(seed):
            rows.append(replace(row, seconds=round(time.process_time() - started, 2)))
            started = time.process_time()
    except _TooLong:
        rows.append(Row(seed, "any", METHODS[seed % 5], "timeout", float("nan"), False, False, float(limit)))
    finally:
        signal.alarm(0)
    return rows


def _stop(*_: object) -> None:
    raise _TooLong


def _answers(seed: int):
    net, body = random_net(seed)
    draw = random.Random(-seed - 1)
    method = METHODS[seed % 5]
    x = torch.randn(BATCH, *body.shape, generator=torch.Generator().manual_seed(seed))
    yield _verified(seed, "original", net, body, x)
    row, result = _converted(seed, method, net, body, x, draw)
    yield row
    if result is not None:
        yield _verified(seed, "planted", planted(result, draw), body, x)
        yield _verified(seed, "other mirror", result, other_mirror(body, draw), x)


def _verified(seed: int, question: str, net: nn.Module, body: Body, x: Tensor) -> Row:
    """What verify says of a network, and what the oracle says."""
    base = Row(seed, question, METHODS[seed % 5], "", float("nan"), False, False, 0.0)
    try:
        report = chiralize.verify(net, body.spec(), x)
    except Exception as error:
        return _refused(base, error)
    return _judged(replace(base, said="accepted" if report.passed else "rejected"), net, body)


def _converted(seed: int, method: str, net: nn.Module, body: Body, x: Tensor, draw: random.Random):
    """What a conversion says, and its result."""
    base = Row(seed, "converted", method, "", float("nan"), False, False, 0.0)
    generator = torch.Generator().manual_seed(seed + 2)
    inputs = torch.randn(256, *body.shape, generator=generator) if draw.random() < 0.7 else None
    before = copy.deepcopy(net.state_dict())
    try:
        result = chiralize.chiralize(
            net, body.spec(), x, method=method, calibration=inputs, force=draw.random() < 0.7, rounds=0
        )
    except Exception as error:
        return _refused(base, error), None
    for name, tensor in net.state_dict().items():
        if not torch.equal(tensor, before[name]):
            return replace(base, said="accepted", is_foreign=True, detail=f"the original's {name} was changed"), None
    return _judged(replace(base, said="accepted"), result, body), result


def _judged(row: Row, net: nn.Module, body: Body) -> Row:
    """The row with the oracle's residual, in float32 where a graph holds casts to that."""
    dtype = torch.float64
    try:
        residual = residual_of(copy.deepcopy(net).to(dtype), body, row.seed)
    except RuntimeError:
        dtype = torch.float32
        try:
            residual = residual_of(net, body, row.seed, dtype)
        except Exception as error:
            return replace(row, is_foreign=True, detail=f"the result does not run: {error!r:.200}")
    return replace(row, residual=residual, is_false=row.said == "accepted" and not residual <= FALSE[dtype])


def _refused(row: Row, error: Exception) -> Row:
    """A refusal by its code; an exception that is none of chiralize's, or status 101, as what should not be."""
    if isinstance(error, chiralize.ChiralizeError) and error.exit_status != 101:
        return replace(row, said=error.code, detail=str(error).splitlines()[0][:160])
    last = traceback.extract_tb(error.__traceback__)[-1]
    return replace(row, said=type(error).__name__, is_foreign=True, detail=f"{last.name}: {error!s:.200}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="networks")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5400, help="no network is begun after so many")
    parser.add_argument("--csv", type=Path, default=Path("networks.csv"), help="table to append to")
    parser.add_argument("--counts", type=Path, help="table for the counts of its rows")
    options = parser.parse_args(argv)
    done: set[int] = set()
    if options.csv.exists():
        with options.csv.open(newline="") as file:
            done = {int(row["seed"]) for row in csv.DictReader(file)}
    seeds = [seed for seed in range(options.first, options.first + options.count) if seed not in done]
    run(seeds, options.csv, options.workers, options.seconds)
    print(summary(options.csv))
    if options.counts is not None:
        write_counts(options.csv, options.counts)
    return 0


def run(seeds: Sequence[int], table: Path, workers: int, seconds: float) -> None:
    """Ask about each network, in processes of their own, and append the rows as they come."""
    is_new = not table.exists()
    end = time.monotonic() + seconds
    with table.open("a", newline="") as file, ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        writer = csv.DictWriter(file, list(Row.__dataclass_fields__))
        if is_new:
            writer.writeheader()
        waiting = {pool.submit(ask, seed) for seed in seeds}
        for future in as_completed(waiting):
            if future.cancelled():
                continue
            for row in future.result():
                writer.writerow(asdict(row))
            file.flush()
            if time.monotonic() > end:
                pool.shutdown(wait=True, cancel_futures=True)
                break


def write_counts(table: Path, counts: Path) -> None:
    """How many networks had each answer, by question and method; and how many of these were false or foreign."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    answers = Counter((row["question"], row["method"], row["said"]) for row in rows)
    false = Counter((row["question"], row["method"], row["said"]) for row in rows if row["is_false"] == "True")
    foreign = Counter((row["question"], row["method"], row["said"]) for row in rows if row["is_foreign"] == "True")
    with counts.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["question", "method", "said", "networks", "false", "foreign"])
        for answer, count in sorted(answers.items()):
            writer.writerow([*answer, count, false[answer], foreign[answer]])


def summary(table: Path) -> str:
    """Counts of a table: for each question what was said, what was false, what was foreign."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [f"{len({row['seed'] for row in rows})} networks"]
    for question in ("original", "converted", "planted", "other mirror", "any"):
        asked = [row for row in rows if row["question"] == question]
        said = Counter(row["said"] for row in asked)
        false = sum(row["is_false"] == "True" for row in asked)
        foreign = sum(row["is_foreign"] == "True" for row in asked)
        words = ", ".join(f"{word} {count}" for word, count in said.most_common())
        lines.append(f"{question:13}{len(asked):6}  false {false}, foreign {foreign}; {words}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
