"""The study's task: imitate the Ant's trot from few demonstrations, then walk."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.body.tensors import ConversionSpec, load_spec, resolve
from chiralize.symmetry.representation import Representation
from examples.policy import networks
from examples.policy.gait import ACTIONS, OBSERVATIONS, SPECIFICATION
from examples.policy.robot import FASTEST_TURN, Act, Array, Walk, demonstrate, draw_walk, mirrored_walk, roll_out
from examples.study.task import Layout, Recipe, Samples, Task
from examples.study.ways import WAYS

SECONDS_PER_STEP = 0.05


@cache
def representations() -> tuple[Representation, Representation]:
    """How the mirror acts on an observation and on the torques, as `ant.yaml` says it."""
    found = resolve(load_spec(SPECIFICATION), [(1, OBSERVATIONS)], [(1, ACTIONS)])
    observation, torques = (
        own.representation.axes[-1] for own in (*found.input_tensors, *found.output_tensors) if own.representation
    )
    return observation, torques


def mirror(values: Tensor, rep: Representation) -> Tensor:
    """T on the last axis."""
    return values[..., torch.tensor(rep.action.partner)] * torch.tensor(rep.action.sign).to(values)


def acting(network: nn.Module, averaged: bool = False) -> Act:
    """A network as a policy, in float64.  averaged: the mean of both views (test-time augmentation)."""
    precise = copy.deepcopy(network).double().eval()
    into, out = representations()

    def act(observations: Array) -> Array:
        seen = torch.from_numpy(observations)
        with torch.inference_mode():
            torques = precise(seen)
            if averaged:
                torques = (torques + mirror(precise(mirror(seen, into)), out)) / 2
        return torques.numpy()

    return act


class Imitation(Task):
    """One-sided: demonstrations of left turns only; tests and walks are of both sides."""

    figure = "error_percent"
    better = -1

    def __init__(
        self,
        name: str,
        one_sided: bool,
        width: int,
        robots: int,
        steps: int,
        updates: int,
        walkers: int,
        ways: Sequence[str] | None = None,
    ) -> None:
        self.name, self.one_sided, self.width, self.ways = name, one_sided, width, ways
        self.robots, self.steps, self.updates, self.walkers = robots, steps, updates, walkers

    @property
    def spec(self) -> ConversionSpec:
        return load_spec(SPECIFICATION)

    # ---- networks ---------------------------------------------------------------------------------------------
    def build(self, layout: Layout) -> nn.Module:
        into, out = representations()
        make = {"plain": networks.plain_layers, "free": networks.chiral_layers, "paper": networks.paper_layers}[layout]
        return networks.Policy(make(into, out, self.width), *networks.statistics(self._demonstrations.inputs, into))

    def recipe(self, layout: Layout) -> Recipe:
        return Recipe(
            steps=self.updates,
            batch=256,
            optimizer=lambda parameters: torch.optim.Adam(parameters, lr=5e-3, fused=True),
            decay=lambda share: (1 + math.cos(math.pi * share)) / 2,
        )

    def fine_tuning(self) -> Recipe:
        return self.recipe("plain").shortened(1 / 4)

    # ---- data -------------------------------------------------------------------------------------------------
    @cached_property
    def _demonstrations(self) -> Samples:
        return _samples(0, self.robots, self.steps, 0.0 if self.one_sided else -FASTEST_TURN)

    def draw(self, rng: np.random.Generator, count: int) -> Samples:
        chosen = torch.from_numpy(rng.integers(len(self._demonstrations.inputs), size=count))
        return Samples(self._demonstrations.inputs[chosen], self._demonstrations.targets[chosen])

    def mirror_inputs(self, inputs: Tensor) -> Tensor:
        return mirror(inputs, representations()[0])

    def mirror_targets(self, targets: Tensor) -> Tensor:
        return mirror(targets, representations()[1])

    def mirror_answers(self, answers: Tensor) -> Tensor:
        return mirror(answers, representations()[1])

    def loss(self, network: nn.Module, samples: Samples) -> Tensor:
        """Squared error of the torques, of which the trot uses about a tenth."""
        return 100 * nn.functional.mse_loss(network(samples.inputs), samples.targets)

    # ---- figures ----------------------------------------------------------------------------------------------
    @cached_property
    def _tests(self) -> Samples:
        return _samples(1, max(2, self.robots // 4), self.steps, -FASTEST_TURN)

    def test_samples(self) -> Samples:
        return self._tests

    def figures(self, answers: Tensor) -> dict[str, float]:
        """error_percent: RMS error of the torques over their own spread; parts: commanded left and right turns."""
        wanted, left = self._tests.targets, self._tests.inputs[:, 27] > 0
        spread = (wanted - wanted.mean(0)).square().mean().sqrt()
        parts = {"": left | True, "/left": left, "/right": ~left}
        return {
            f"error_percent{name}": float(100 * (answers - wanted)[rows].square().mean().sqrt() / spread)
            for name, rows in parts.items()
        }

    @cached_property
    def walks(self) -> Walk:
        """From no demonstration: left turns; their mirror images are the right turns."""
        return draw_walk(np.random.default_rng(2), self.walkers, self.steps, slowest=0.0)

    def trials(self, network: nn.Module, averaged: bool) -> dict[str, float]:
        """Figures of walks, means over robots.

        return_left, return_right: reward of a walk (m less rad); every right turn is the mirror image of a left one.
        parting_m: how far apart the torsos of T of a walk and of the walk from T of its start are, over time.
        """
        act = acting(network, averaged)
        left, right = roll_out(act, self.walks), roll_out(act, mirrored_walk(self.walks))
        apart = left.parting(right)
        return {
            "return_left": float(left.rewards.sum(0).mean() * SECONDS_PER_STEP),
            "return_right": float(right.rewards.sum(0).mean() * SECONDS_PER_STEP),
            "parting_m": float(apart.mean()),
            **{
                f"parting_m/{second} s": float(apart[20 * second].mean())
                for second in (1, 5, 10)
                if 20 * second < len(apart)
            },
        }


@cache
def _samples(seed: int, robots: int, steps: int, slowest: float) -> Samples:
    observations, torques = demonstrate(seed, robots, steps, slowest)
    return Samples(torch.from_numpy(observations).float(), torch.from_numpy(torques).float())


ONE_SIDED = "Ant, left turns shown"
BOTH = "Ant, all turns shown"


def tasks(smoke: bool = False) -> list[Imitation]:
    """The study's tasks."""
    sizes = (16, 2, 60, 8, 2) if smoke else (128, 40, 200, 4000, 10)
    return [Imitation(ONE_SIDED, True, *sizes, ways=tuple(WAYS)), Imitation(BOTH, False, *sizes)]
