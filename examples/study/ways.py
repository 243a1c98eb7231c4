"""The ways to a network that is compared: trained, averaged over both views, converted, fine-tuned, built chiral."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from chiralize import chiralize
from chiralize.nn.training import keep_symmetric
from examples.study.task import Layout, Task
from examples.study.training import Advance, train


@dataclass(frozen=True)
class Made:
    """A network in eval mode.

    averaged: its answers are the mean of both views.  seconds: of the processor, to make it.  form: of a conversion.
    """

    network: nn.Module
    averaged: bool
    seconds: float
    form: str = ""


@dataclass(frozen=True)
class FromScratch:
    """Trained from random weights."""

    layout: Layout
    flips: bool


@dataclass(frozen=True)
class BothViews:
    """Flip test-time augmentation."""

    of: str


@dataclass(frozen=True)
class Converted:
    """By chiralize, without labels. width: share of the hidden units that are kept, each with its mirror image."""

    of: str
    width: float
    form: str = "auto"


@dataclass(frozen=True)
class FineTuned:
    """Trained on with labels."""

    of: str


Way = FromScratch | BothViews | Converted | FineTuned
WAYS: dict[str, Way] = {
    "baseline": FromScratch("plain", flips=False),
    "baseline, TTA": BothViews("baseline"),
    "flips": FromScratch("plain", flips=True),
    "flips, TTA": BothViews("flips"),
    "chiralized 0.5": Converted("flips", 0.5, "blocks"),
    "chiralized 0.5, folded": Converted("flips", 0.5, "folded"),
    "chiralized 0.707": Converted("flips", 0.707),
    "chiralized 1.0": Converted("flips", 1.0),
    "chiralized 0.5, fine-tuned": FineTuned("chiralized 0.5"),
    "from scratch, free": FromScratch("free", flips=True),
    "from scratch, paper": FromScratch("paper", flips=True),
    "chiralized 0.5, no flips": Converted("baseline", 0.5, "blocks"),
    "chiralized 0.5, no flips, fine-tuned": FineTuned("chiralized 0.5, no flips"),
}
"""All of them; those that are trained without flips come first, as the others build on what is before them."""
STOOD_FOR = ("chiralized 0.5, folded", "chiralized 0.707")
"""Conversions whose code others run, too: a smoke run leaves them out."""
USUAL = tuple(name for name in WAYS if "no flips" not in name)
"""Those of a task that does not name its own."""


class Workshop:
    """Makes the networks of one task and seed, each once; trained ones are kept in `folder` and read from there.

    samples: that conversions are fitted on.  rounds: over all layers after a fit; None: as many as are worth a minute.
    """

    def __init__(
        self,
        task: Task,
        seed: int,
        folder: Path,
        samples: int,
        rounds: int | None = None,
        advance: Advance = lambda share: None,
    ) -> None:
        self.task, self.seed, self.folder, self.samples, self.rounds = task, seed, folder, samples, rounds
        self.advance = advance
        self._made: dict[str, Made] = {}

    def make(self, name: str) -> Made:
        """The network of a way. Raises ChiralizeError where the conversion is refused."""
        if name not in self._made:
            way = WAYS[name]
            if isinstance(way, FromScratch):
                self._made[name] = self._from_scratch(name, way)
            elif isinstance(way, BothViews):
                self._made[name] = Made(self.make(way.of).network, True, 0.0)
            elif isinstance(way, Converted):
                self._made[name] = self._converted(way)
            else:
                self._made[name] = self._fine_tuned(name, way)
        return self._made[name]

    def _from_scratch(self, name: str, way: FromScratch) -> Made:
        torch.manual_seed(self.seed)
        network, recipe = self.task.build(way.layout), self.task.recipe(way.layout)
        done = train(self.task, network, recipe, way.flips, self.seed, self._place(name), self.advance)
        return Made(done.network, False, done.seconds)

    def _converted(self, way: Converted) -> Made:
        source, start = self.make(way.of).network, time.process_time()
        network = chiralize(
            source, self.task.spec, (self._inputs[:2],),
            method="reduce", width=way.width, form=way.form, calibration=self._inputs, force=True,
            rounds=self.rounds,
        )  # fmt: skip
        return Made(network, False, time.process_time() - start, network.chirality.form)  # type: ignore[union-attr]

    def _fine_tuned(self, name: str, way: FineTuned) -> Made:
        source = self.make(way.of)
        if isinstance(source.network, torch.fx.GraphModule):  # its norms are folded: the same in the original's class
            source = self._folded(way.of)
        network, recipe = copy.deepcopy(source.network), self.task.fine_tuning()
        after = keep_symmetric if source.form == "folded" else lambda network, optimizer: None
        done = train(self.task, network, recipe, True, self.seed, self._place(name), self.advance, after)
        return Made(done.network, False, source.seconds + done.seconds, source.form)

    def _folded(self, name: str) -> Made:
        """A conversion in folded form, also where that is no way of its own."""
        if f"{name}, folded" in WAYS:
            return self.make(f"{name}, folded")
        way = WAYS[name]
        assert isinstance(way, Converted)
        return self._converted(replace(way, form="folded"))

    @cached_property
    def _inputs(self) -> Any:
        return self.task.calibration(self.samples, self.seed)

    def _place(self, way: str) -> Path:
        return self.folder / f"{slug(self.task.name)}-{slug(way)}-{self.seed}.pt"


def slug(name: str) -> str:
    """A name as a part of a file name."""
    return "-".join("".join(letter if letter.isalnum() or letter == "." else " " for letter in name).split())
