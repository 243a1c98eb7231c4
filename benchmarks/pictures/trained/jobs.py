"""One piece of the comparison at a time: train a network and judge its flip tests, or convert it and judge that."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.pictures.trained.tasks import BY_NAME, ORGANS_SWAPPED, Task, data
from chiralize import audit, chiralize
from chiralize.errors import ChiralizeError, UsageError
from chiralize.graph.devices import moved

_EVALUATED, _TIMED = 100, 8


@dataclass(frozen=True)
class Scale:
    """How much is drawn, how long is trained, and on how many inputs without labels conversions rest.

    device: where networks are trained and distilled.  place: folder of the weights that the jobs leave for each other.
    batch: of training, None for the network's.
    """

    device: str
    place: str
    seconds: float
    drawn: int = 24_000
    tested: int = 2_500
    calibration: int = 600
    steps: int = 1_800
    voxels: int = 1_500
    voxels_tested: int = 300
    voxels_calibration: int = 60
    batch: int | None = None


@dataclass(frozen=True)
class Job:
    """width: of a conversion by `reduce`, None to train.  steps: of its distillation."""

    task: str
    seed: int
    width: float | None = None
    steps: int = 0

    @property
    def name(self) -> str:
        """In a word, for file names."""
        return f"{self.task}-{self.seed}"


@dataclass
class Row:
    """A line of the table.

    error: pixels, or 1 - Dice.  ratio: to one view.  products: multiplications of a call over the original's.
    time: processor time of a call of 8 samples on one thread over the original's.  seconds: wall time of training or
    conversion.  fitting: processor seconds of it.
    """

    task: str
    seed: int
    way: str
    width: float | None = None
    steps: int = 0
    error: float | None = None
    ratio: float | None = None
    products: float | None = None
    time: float | None = None
    seconds: float | None = None
    fitting: float | None = None
    proved: str = ""
    rho: float | None = None
    note: str = ""


COLUMNS = tuple(Row.__dataclass_fields__)


@cache
def _drawn(task_name: str, count: int, test: bool, device: str) -> tuple[Tensor, Tensor]:
    return data(BY_NAME[task_name], count, test, device)


def _data(task: Task, scale: Scale, test: bool) -> tuple[Tensor, Tensor]:
    """Pictures are the same for all networks on pictures."""
    if task.is_voxels:
        return _drawn("voxels", scale.voxels_tested if test else scale.voxels, test, scale.device)
    drawn = "one side" if task.sees_one_side and not test else "residual"
    return _drawn(drawn, scale.tested if test else scale.drawn, test, scale.device)


@dataclass
class Trained:
    """A trained network on the device it was trained on.  facts: its error, and the shift of its maps in cells."""

    net: nn.Module
    facts: dict[str, Any] = field(default_factory=dict)


def do(job: Job, scale: Scale) -> list[dict[str, Any]]:
    """The rows of one job. What goes wrong is a row, too."""
    torch.set_num_threads(1)
    task = BY_NAME[job.task]
    task = replace(task, batch=scale.batch or task.batch)
    try:
        rows = trained(job, task, scale) if job.width is None else [converted(job, task, scale)]
    except (ChiralizeError, RuntimeError, ValueError, NotImplementedError, FileNotFoundError, AssertionError) as error:
        way = "train" if job.width is None else _way(job)
        rows = [Row(job.task, job.seed, way, job.width, job.steps, note=f"{type(error).__name__}: {error}")]
    return [asdict(row) for row in rows]


def _way(job: Job) -> str:
    return "one pass, distilled" if job.steps else "one pass"


def trained(job: Job, task: Task, scale: Scale) -> list[Row]:
    """Train, leave the weights, and judge one view and the flip tests."""
    torch.manual_seed(job.seed)
    net, start = task.build().to(scale.device), time.time()
    steps, loss = train(net, task, _data(task, scale, False), scale.seconds, job.seed)
    net, facts = net.eval(), dict[str, Any]()
    facts["error"] = error_of(net, task, scale)
    row = Row(job.task, job.seed, "one view", error=facts["error"], ratio=1.0, products=1.0)
    row.seconds, row.note = time.time() - start, f"{steps} steps of {task.batch}, loss {loss:.3f}"
    net, place = net.cpu(), Path(scale.place)
    row.note += _measured_shift(task, scale, net, facts)
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, place / f"{job.name}.part")
    (place / f"{job.name}.json").write_text(json.dumps(facts))
    (place / f"{job.name}.part").rename(place / f"{job.name}.safetensors")
    return [row, *_flip_tests(job, task, scale, net, facts)]


def _measured_shift(task: Task, scale: Scale, net: nn.Module, facts: dict[str, Any]) -> str:
    """Add the shift of the maps in cells to what is known, and say it."""
    if task.is_voxels:
        return ""
    inputs = _calibration(task, scale)[:256]
    alignment = audit(net, task.spec, (inputs[:2],), calibration=inputs).alignments[0]
    facts["shift"] = alignment.shift
    if alignment.shift is None:
        return f"; shift not measured: {alignment.why}"
    return f"; off by {alignment.shift:.3f} ± {alignment.error or 0:.3f} cells"


def train(net: nn.Module, task: Task, given: tuple[Tensor, Tensor], seconds: float, seed: int) -> tuple[int, float]:
    """Train with flips for so long; returns the steps and the mean of the last losses."""
    start = time.time()
    return train_until(lambda step: (time.time() - start) / seconds, net, task, given, seed)


def train_until(
    done: Callable[[int], float],
    net: Any,
    task: Task,
    given: tuple[Tensor, Tensor],
    seed: int,
    in_half: bool = False,
) -> tuple[int, float]:
    """Train with flips; returns the steps and the mean of the last losses.

    done: the share of the training that is over before a step, of which 1 ends it.  in_half: compute in bfloat16, with
    the channels of pictures beside each other, as processors like it.
    """
    pixels, truth = given
    generator = torch.Generator(pixels.device).manual_seed(seed)
    rate = 1e-3 if task.name == "ViTPose" else 2e-3
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-2, fused=pixels.is_cuda or in_half)
    layout = torch.channels_last if in_half else torch.preserve_format
    step, losses = 0, list[Tensor]()
    net.to(memory_format=layout).train()
    while (share := done(step)) < 1:
        chosen = torch.randint(len(pixels), (task.batch,), generator=generator, device=pixels.device)
        flips = 0.0 if task.sees_one_side else 0.5
        which = torch.rand(task.batch, generator=generator, device=pixels.device) < flips
        inputs, wanted = task.mirrored(pixels[chosen].float(), truth[chosen], which)
        with torch.autocast(pixels.device.type, torch.bfloat16, in_half):
            answered = net(inputs.to(memory_format=layout))
        loss = task.loss(tree_map(Tensor.float, answered), wanted)
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / 200, 3 * (1.001 - share))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        step, losses = step + 1, [*losses[-99:], loss.detach()]
    net.to(memory_format=torch.contiguous_format)
    return step, float(torch.stack(losses).mean())


@torch.no_grad()
def answers(net: nn.Module, pixels: Tensor) -> Any:
    """All answers of a network, or of several outputs."""
    device = next((tensor.device for tensor in net.state_dict().values()), pixels.device)
    parts = [net(part.to(device)) for part in pixels.split(_EVALUATED)]
    if isinstance(parts[0], Tensor):
        return torch.cat([part.cpu() for part in parts])
    return tuple(torch.cat([part.cpu() for part in output]) for output in zip(*parts, strict=True))


def error_of(net: nn.Module, task: Task, scale: Scale, offset: float = 0.0) -> float:
    """On test subjects.  offset: pixels by which cells lie further to the right."""
    pixels, truth = _data(task, scale, True)
    return task.error(answers(net, pixels), truth, offset)


def _calibration(task: Task, scale: Scale) -> Tensor:
    """Inputs without labels, of those to train on."""
    pixels, _ = _data(task, scale, False)
    count = min(scale.voxels_calibration if task.is_voxels else scale.calibration, len(pixels))
    return pixels[:: max(len(pixels) // count, 1)][:count].cpu()


def _flip_tests(job: Job, task: Task, scale: Scale, net: nn.Module, facts: dict[str, Any]) -> list[Row]:
    """Averages of both views, by chiralize where the mirror is one."""
    example = (_calibration(task, scale)[:2],)
    rows: list[Row] = []

    def judged(way: str, spec: Mapping[str, Any], align: str | None, offset: float) -> None:
        """A row of one average."""
        row = Row(job.task, job.seed, way, products=2.0)
        rows.append(row)
        try:
            chiral = chiralize(net, spec, example, align=align, method="average", force=True)
            row.proved = proof(chiral)
            row.error = error_of(moved(chiral, torch.device(scale.device)), task, scale, offset)
        except (ChiralizeError, RuntimeError) as error:
            row.note = f"{type(error).__name__}: {error}"
            return
        row.ratio = row.error / facts["error"]

    if task.is_voxels:
        pixels, organs = _data(task, scale, True)
        one, other = (answers(net, view) for view in (pixels, pixels.flip(-1)))
        wrong, right = (
            task.error((one + turned.flip(-1)) / 2, organs, 0.0) for turned in (other, other[:, list(ORGANS_SWAPPED)])
        )
        for way, error in (("flip test, labels not swapped", wrong), ("flip test by hand", right)):
            rows.append(Row(job.task, job.seed, way, error=error, ratio=error / facts["error"], products=2.0))
        judged("flip test", task.spec, None, 0.0)
        return rows
    judged("flip test, unshifted", task.spec, None, 0.0)
    judged("flip test, shifted by one cell", task.spec_shifted, None, 0.0)
    shift = facts["shift"]
    if task.name != "SimCC" and shift is not None:
        judged("flip test, aligned", task.spec, f"resample={shift:.3f}", shift * task.pixels_per_cell / 2)
    return rows


def proof(chiral: Any) -> str:
    """The two verdicts of a conversion, in a word."""
    report = chiral.chirality.report
    numeric, certificate = report.judgement.numeric, report.judgement.certificate
    words = ["numeric" if numeric is not None and numeric.passed else "no numeric"]
    words.append("certificate" if certificate is not None and certificate.passed else "no certificate")
    return ", ".join(words)


def _restored(job: Job, task: Task, scale: Scale) -> Trained:
    """Waits for the weights where another process still trains."""
    path = Path(scale.place) / f"{job.name}.safetensors"
    for _ in range(int(scale.seconds) + 120):
        if path.exists():
            break
        time.sleep(1)
    net = task.build().eval()
    net.load_state_dict(load_file(path))
    return Trained(net, json.loads(path.with_suffix(".json").read_text()))


def converted(job: Job, task: Task, scale: Scale) -> Row:
    """Convert by `reduce`, and judge that."""
    restored = _restored(job, task, scale)
    net, shift = restored.net, restored.facts.get("shift")
    inputs = _calibration(task, scale)
    spec, aligns, offset = task.spec, [None], 0.0
    if task.name == "SimCC":
        spec, aligns = task.spec_shifted, ["kernel", None]
    elif not task.is_voxels and shift is not None:
        aligns, offset = [f"kernel,resample={shift:.3f}", f"resample={shift:.3f}"], shift * task.pixels_per_cell / 2
    # distilled on the device: that is where the network lies
    start, processor = time.time(), time.process_time()
    given = net.to(scale.device) if job.steps else net
    settings: dict[str, Any] = {"method": "reduce", "width": job.width, "distill": job.steps}
    settings["form"] = "auto" if task.is_voxels else "fused"  # there are no blocks along three axes
    chiral: Any = None
    for align in aligns:
        try:
            example = (inputs[:2].to(scale.device if job.steps else "cpu"),)
            chiral = chiralize(given, spec, example, align=align, calibration=inputs, rounds=0, force=True, **settings)
            break
        except UsageError:  # every layer commutes already
            if align == aligns[-1]:
                raise
    row = Row(job.task, job.seed, _way(job), job.width, job.steps)
    row.seconds, row.fitting = time.time() - start, time.process_time() - processor
    row.proved = proof(chiral)
    drift = chiral.chirality.report.drift
    row.rho = None if drift is None else float(drift.rho)
    row.error = error_of(chiral, task, scale, offset)
    row.ratio = row.error / restored.facts["error"]
    both, eight = (net.cpu(), moved(chiral, torch.device("cpu"))), inputs[:_TIMED]
    counts = [_products(one, inputs[:2]) for one in both]
    row.products = counts[1] / counts[0]
    row.time = _time_ratio(*both, eight)
    return row


def _products(net: nn.Module, pixels: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(pixels)
    return counter.get_total_flops()


@torch.inference_mode()
def _time_ratio(original: nn.Module, chiral: nn.Module, pixels: Tensor, rounds: int = 5) -> float:
    """Processor time of a call over the original's: medians, interleaved."""
    times: dict[int, list[float]] = {0: [], 1: []}
    for number in range(rounds + 1):
        for which, net in enumerate((original, chiral)):
            start = time.process_time()
            net(pixels)
            if number:
                times[which].append(time.process_time() - start)
    medians = [sorted(values)[len(values) // 2] for values in times.values()]
    return medians[1] / medians[0]
