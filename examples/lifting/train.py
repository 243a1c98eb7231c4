"""Trains the 27-frame pose lifter that ships with chiralize, on real motion capture, and writes its files."""

from __future__ import annotations

import math
import pickle
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from examples.lifting.evaluation import evaluate
from examples.lifting.networks import StridedLifter, TemporalLifter
from examples.lifting.release import write_atomically, write_release
from examples.lifting.windows import TrainingWindows

NAME = "lifter27"
PRETRAINED = Path(__file__).resolve().parents[2] / "chiralize" / "storage" / "pretrained"
FIRST_RATE, LAST_RATE = 1e-3, 2e-5
FIRST_MOMENTUM, LAST_MOMENTUM = 0.1, 1e-3
CALIBRATION_WINDOWS = 256


@dataclass(frozen=True)
class Budget:
    """Training ends when the first of the two is used up; at least one is given."""

    epochs: int | None
    minutes: float | None

    def spent(self, epochs: float, seconds: float) -> float:
        """Share of the budget that is used, 0 to 1."""
        by_epochs = epochs / self.epochs if self.epochs else 0.0
        by_minutes = seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_epochs, by_minutes))


@dataclass(frozen=True)
class Settings:
    """What a checkpoint must share with the run that resumes it."""

    channels: int
    dropout: float
    noise: float
    batch: int
    seed: int


class Training:
    """Network, optimiser and clock; one `run` from the last checkpoint to the end of the budget."""

    def __init__(self, settings: Settings, budget: Budget, checkpoint: Path) -> None:
        self.settings, self.budget, self.checkpoint = settings, budget, checkpoint
        torch.manual_seed(settings.seed)
        self.model = StridedLifter(channels=settings.channels, dropout=settings.dropout)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=FIRST_RATE, amsgrad=True)
        self.epoch, self.steps, self.seconds = 0, 0, 0.0

    def resume(self) -> bool:
        """Continues from the checkpoint where there is one. Raises ValueError when its settings are others."""
        if not self.checkpoint.is_file():
            return False
        try:
            state = torch.load(self.checkpoint, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(f"{self.checkpoint}: not a checkpoint of this script. Remove it.") from error
        if state["settings"] != asdict(self.settings):
            raise ValueError(
                f"{self.checkpoint}: written with {state['settings']}, this run has {asdict(self.settings)}. "
                "Give the same options, or remove the file."
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        self.epoch, self.steps, self.seconds = state["epoch"], state["steps"], state["seconds"]
        return True

    def lifter(self) -> TemporalLifter:
        """The network for sequences of any length, in eval mode."""
        lifter = TemporalLifter(channels=self.settings.channels, dropout=self.settings.dropout)
        lifter.load_state_dict(self.model.state_dict())
        return lifter.eval()

    def save(self) -> None:
        """Writes the checkpoint in one step; called between epochs."""
        state = {
            "settings": asdict(self.settings),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "epoch": self.epoch,
            "steps": self.steps,
            "seconds": self.seconds,
        }
        write_atomically(self.checkpoint, lambda path: torch.save(state, path))

    def run(self, windows: TrainingWindows, progress: Progress) -> None:
        """Whole epochs until the budget is spent; the last one may be cut short."""
        task = progress.add_task("training", total=1.0)
        while self._spent(0.0) < 1:
            loss = self._one_epoch(windows, progress, task)
            progress.console.print(
                f"epoch {self.epoch:3d}  {self.seconds:6.0f} s  training MPJPE {1000 * loss:6.1f} mm"
            )
            self.save()

    def _one_epoch(self, windows: TrainingWindows, progress: Progress, task: TaskID) -> float:
        """Returns the mean training loss, m."""
        began, before = time.monotonic(), self.seconds
        self.model.train()
        batches = windows.epoch(self.epoch)
        total, done = 0.0, 0
        for inputs, targets in batches:
            total += self._step(inputs, targets, self._spent(done / len(batches)))
            done += 1
            self.seconds = before + time.monotonic() - began
            progress.update(task, completed=self._spent(done / len(batches)))
            if self._spent(done / len(batches)) >= 1:
                break
        self.epoch += 1
        self.steps += done
        return total / done

    def _step(self, inputs: Tensor, targets: Tensor, spent: float) -> float:
        """One update; rate and BatchNorm momentum fall exponentially with the spent budget. Returns the loss, m."""
        for group in self.optimizer.param_groups:
            group["lr"] = FIRST_RATE * (LAST_RATE / FIRST_RATE) ** spent
        self.model.set_bn_momentum(FIRST_MOMENTUM * math.exp(spent * math.log(LAST_MOMENTUM / FIRST_MOMENTUM)))
        self.optimizer.zero_grad(set_to_none=True)
        loss = (self.model(inputs) - targets).norm(dim=-1).mean()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def _spent(self, part_of_epoch: float) -> float:
        return self.budget.spent(self.epoch + part_of_epoch, self.seconds)


def train(
    data: Annotated[Path, typer.Option(envvar="CHIRALIZE_DATA", help="Folder with cmu17.npz and motion.py.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = PRETRAINED,
    minutes: Annotated[float | None, typer.Option(help="Training time; 15 if no budget is given.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training subjects (repeatable).")] = None,
    channels: Annotated[int, typer.Option(help="Width of the network.")] = 256,
    dropout: Annotated[float, typer.Option(help="Dropout in training.")] = 0.1,
    noise: Annotated[float, typer.Option(help="2D detector noise in training, in half image widths.")] = 0.0,
    batch: Annotated[int, typer.Option(help="Windows in a batch.")] = 512,
    seed: Annotated[int, typer.Option(help="Seed of weights, cameras and order.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads for torch.")] = 1,
) -> None:
    """Train the temporal pose lifter and write weights, exported program, figures and calibration inputs.

    A run that was stopped continues from its checkpoint in the output folder; a finished one removes it.
    """
    console = Console()
    torch.set_num_threads(threads)
    budget = Budget(epochs, minutes if minutes or epochs else 15.0)
    out.mkdir(parents=True, exist_ok=True)
    training = Training(Settings(channels, dropout, noise, batch, seed), budget, out / f"{NAME}.checkpoint.pt")
    try:
        if training.resume():
            console.print(f"continuing after epoch {training.epoch}, {training.seconds:.0f} s")
        windows = TrainingWindows(data, training.model.receptive_field, batch, noise, seed)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        training.run(windows, progress)
    lifter = training.lifter()
    figures = evaluate(lifter, data)
    console.print(f"MPJPE on the test subjects    {figures.mpjpe_mm:6.1f} mm   ({figures.poses} poses)")
    console.print(f"with flip-TTA (two passes)    {figures.mpjpe_flip_tta_mm:6.1f} mm")
    console.print(f"gap, mean |f(Tx) - T f(x)|    {figures.gap_mm:6.1f} mm")
    record = {
        "figures": {key: round(value, 3) for key, value in figures._asdict().items()},
        "training": {
            **asdict(training.settings),
            "epochs": training.epoch,
            "steps": training.steps,
            "minutes": round(training.seconds / 60, 2),
            "threads": threads,
        },
        "torch": torch.__version__,
    }
    for path in write_release(out, NAME, lifter, windows.calibration(CALIBRATION_WINDOWS), record):
        console.print(f"wrote {path.name}  {path.stat().st_size / 1e6:.2f} MB", highlight=False)
    training.checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    typer.run(train)
