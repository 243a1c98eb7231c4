"""Structured pruning and distillation, which know of no mirror: the plain way to half the multiplications.

The same network with fewer units is filled with those of the original that its answers depend on most, and brought
closer to the mean of both views by gradient descent: on unlabelled inputs as they are, moved, and mirrored, without
dropout, for as many seconds as it is given. Which units belong together is known from inference.
"""

from __future__ import annotations

import inspect
import math
import time
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.accuracy.tasks import Task
from benchmarks.accuracy.teachers import RECIPES, Teacher, both_views
from chiralize.methods.reduce.recurrent import separate
from chiralize.problem.data.perturbation import perturbed
from chiralize.problem.mirror import infer, with_tables
from chiralize.problem.preparation import prepare
from chiralize.symmetry.symbolic import Axis, Sum, Var

RATE, BATCH, MOVED = 2e-3, 64, 3
"""Of Adam; samples of a step; moved copies of the inputs beside those as they are."""
SCALED = ("width", "hidden", "joint_units", "channel_units")
"""Arguments of the networks that count units."""
_SIGNS, _JUDGED = 24, 256
Factor = tuple[int | None, int]
"""A factor of an axis: the unknown that it is, if it is one, and its size."""


def products(network: nn.Module, inputs: Tensor) -> float:
    """Multiplications of one sample, as PyTorch's counter of operations finds them, recurrent layers included."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one op, which the counter does not know
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the machine that PyTorch was built for
            with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
                network(inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops() / 2 / len(inputs)


def pruned(teacher: Teacher, inputs: Tensor, share: float) -> nn.Module:
    """The teacher with fewer units, and at least this share of its multiplications, but for what is rounded."""
    small = _thin(teacher, inputs, share)
    axes = _axes(teacher, inputs[:4])
    state = teacher.network.state_dict()
    sizes: dict[int, int] = {}
    for name, value in small.state_dict().items():
        for axis, size in zip(axes.get(name, ()), value.shape, strict=False):
            key, new = _resized(axis, size)
            if key is not None:
                sizes[key] = new
    kept = {key: _largest(values, sizes[key]) for key, values in _importance(teacher, inputs, axes).items()}
    for name, value in state.items():
        for dim, axis in enumerate(axes.get(name, ())):
            value = value.index_select(dim, _places(axis, kept))
        state[name] = value
    small.load_state_dict(state)
    return small.eval()


def distilled(
    student: nn.Module, teacher: Teacher, inputs: Tensor, seconds: float, rate: float = RATE, batch: int = BATCH
) -> nn.Module:
    """The student, trained on the mean of both of the teacher's views for so many seconds of the processor."""
    start = time.process_time()
    task, rng = teacher.task, np.random.default_rng(0)
    poses, wanted = _pool(teacher, inputs)
    spread = (wanted - wanted.mean(0)).square().mean().sqrt()
    optimizer = torch.optim.Adam(student.train().parameters(), lr=rate)
    while (spent := (time.process_time() - start) / max(seconds, 1e-9)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(spent / 0.05, 0.5 + 0.5 * math.cos(math.pi * spent))
        chosen = rng.integers(len(poses), size=batch)
        given, answer = poses[chosen], wanted[chosen]
        if rng.random() < 0.5:
            given, answer = _mirrored(task, given, answer)
        optimizer.zero_grad()
        ((student(given) - answer).abs().mean() / spread).backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
    return student.eval()


# ---- sizes ----------------------------------------------------------------------------------------------------------
def _thin(teacher: Teacher, inputs: Tensor, share: float) -> nn.Module:
    """A new network of the recipe's class with the fewest units that have this share of the multiplications."""
    build = RECIPES[teacher.name].build
    wanted = share * products(teacher.network, inputs[:1])
    heads = _arguments(build).get("heads", 1)
    widths = range(heads, _arguments(build)["width"] + 1, heads)

    def cost(width: int) -> float:
        return products(_built(build, width), inputs[:1])

    return _built(build, widths[bisect_left(widths, wanted, key=cost)])


def _built(build: Callable[[], nn.Module], width: int) -> nn.Module:
    """Without dropout."""
    arguments = _arguments(build)
    share = width / arguments["width"]
    for name in SCALED:
        if name in arguments:
            arguments[name] = round(share * arguments[name])
    target = build.func if isinstance(build, partial) else build
    network = target(**arguments).eval()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.RNNBase):
            module.dropout = 0.0
    return network


def _arguments(build: Callable[[], nn.Module]) -> dict:
    """Those that the recipe calls the class with, defaults among them."""
    given = (build.args, build.keywords) if isinstance(build, partial) else ((), {})
    bound = inspect.signature(build.func if isinstance(build, partial) else build).bind(*given[0], **given[1])
    bound.apply_defaults()
    return dict(bound.arguments)


# ---- which units belong together ------------------------------------------------------------------------------------
def _axes(teacher: Teacher, inputs: Tensor) -> dict[str, tuple[Axis, ...]]:
    """The axes of every parameter and statistic, by its name in the state_dict."""
    network = with_tables(prepare(teacher.network, teacher.task.spec, (inputs,)))
    found = separate(network.graph(), infer(network).result()).leaves
    axes = {}
    for name in teacher.network.state_dict():
        for kind in "pb":
            rep = found.get(f"{kind}_{name.replace('.', '_')}")
            if rep is not None:
                axes[name] = rep.axes
    return axes


def _factors(axis: Axis) -> list[Factor]:
    """Slowest first; gates of a cell are one factor beside what each of them has."""
    factors = list[Factor]()
    for term in axis:
        if isinstance(term, Sum):
            factors += [(None, len(term.parts)), *_factors(term.parts[0])]
        else:
            var = term if isinstance(term, Var) else getattr(term, "var", None)
            factors.append((var.id if var is not None else None, term.size))
    return factors


def _resized(axis: Axis, size: int) -> tuple[int | None, int]:
    """The unknown that makes an axis this long, and its size; None where no unknown is in it."""
    factors = _factors(axis)
    key = next((own for own, _ in reversed(factors) if own is not None), None)
    others = math.prod(length for own, length in factors if own != key)
    return key, size // others


def _places(axis: Axis, kept: Mapping[int, Tensor]) -> Tensor:
    """Of the entries that are left, in the old axis."""
    places = torch.zeros(1, dtype=torch.long)
    for key, size in _factors(axis):
        own = torch.arange(size) if key is None else kept.get(key, torch.arange(size))
        places = (places[:, None] * size + own).flatten()
    return places


def _largest(values: Tensor, count: int) -> Tensor:
    return values.topk(count).indices.sort().values


def _importance(teacher: Teacher, inputs: Tensor, axes: Mapping[str, tuple[Axis, ...]]) -> dict[int, Tensor]:
    """How far the answers move, in the square, where a unit is taken out: (w . J' u)² over random signs u."""
    network = teacher.network
    parameters = {name: value for name, value in network.named_parameters() if name in axes}
    generator = torch.Generator().manual_seed(0)
    importance: dict[int, Tensor] = {}
    given = network(inputs[:_JUDGED])
    for _ in range(_SIGNS):
        signs = torch.randint(0, 2, given.shape, generator=generator) * 2.0 - 1
        gradients = torch.autograd.grad(given, list(parameters.values()), signs, retain_graph=True, allow_unused=True)
        moved: dict[int, Tensor] = {}
        for (name, value), gradient in zip(parameters.items(), gradients, strict=True):
            if gradient is not None:
                for key, part in _by_unit((value * gradient).detach(), axes[name]):
                    moved[key] = moved[key] + part if key in moved else part
        for key, part in moved.items():
            importance[key] = importance.get(key, torch.zeros_like(part)) + part.square()
    return importance


def _by_unit(values: Tensor, axes: tuple[Axis, ...]) -> Iterator[tuple[int, Tensor]]:
    """Sums over everything that belongs to a unit, for the last unknown of every axis."""
    for dim, axis in enumerate(axes):
        factors = _factors(axis)
        at = next((place for place in reversed(range(len(factors))) if factors[place][0] is not None), None)
        if at is not None:
            key = factors[at][0]
            assert key is not None
            along = values.movedim(dim, -1).sum(tuple(range(values.ndim - 1))) if values.ndim > 1 else values
            split = along.view([size for _, size in factors])
            yield key, split.movedim(at, -1).flatten(0, -2).sum(0) if split.ndim > 1 else split


# ---- what is imitated -----------------------------------------------------------------------------------------------
def _pool(teacher: Teacher, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs as they are and moved, and the mean of both views for each."""
    generator = torch.Generator().manual_seed(0)
    calls = [((inputs,), {})]
    poses = [inputs]
    for _ in range(MOVED):
        (moved,), _ = perturbed(calls[0], calls, True, generator)
        poses.append(moved)
    together = torch.cat(poses)
    direct, twin = both_views(teacher.network, teacher.task, together)
    return together.clone(), ((direct + twin) / 2).clone()


def _mirrored(task: Task, given: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(task.mirror(given.numpy())), torch.from_numpy(task.mirror_targets(answer.numpy()))
