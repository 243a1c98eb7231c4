"""An independent judge of a converted network: runs it, in float64 where it can, and compares. No chiralize in here.

residual = max |g(T x) - T g(x)| / max |g|
odd share of an output: the variance, over random inputs, of its odd part (y - T y) / 2 in that of y; for the
original, of its flip average (f(x) + T f(T x)) / 2, since its own odd part also holds what is merely asymmetric.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from benchmarks.public_models.mirror import Action, actions

BOUND, BOUND_32 = 1e-10, 1e-4
DEAD = 1e-7
_FEW = 4  # draws where there are no shares to measure
Tensors = list[torch.Tensor]


@dataclass(frozen=True)
class Judgement:
    """What was found.

    gap: the residual of the original.  dtype: what it was judged in.  dead: joints and fields that the original
    reacts to and the result does not.  zeroed: parameters with entries that became zero, unnamed: those which the
    converter did not name.  odd: share of every output before and after (outputs that T leaves alone have none).
    """

    residual: float
    gap: float
    dtype: str
    scale: float
    dead: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    zeroed: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()
    odd: tuple[tuple[float, float], ...] = ()
    problems: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        return not self.problems


def judge(
    original: torch.nn.Module,
    converted: torch.nn.Module,
    spec: Mapping[str, Any],
    inputs: Sequence[torch.Tensor],
    *,
    named: Sequence[str] = (),
    steps: int = 1,
    numbers: int = 2_000,
) -> Judgement:
    """Everything about one result. named: parameters that the converter says it zeroed.

    numbers: how many output entries there are to be at least, up to 96 draws, so that the shares are no accident.
    """
    inputs = [tensor.clone() for tensor in inputs]
    with torch.no_grad():
        shapes = [tensor.shape for tensor in _tensors(copy.deepcopy(original)(*copy.deepcopy(tuple(inputs))))]
        own = actions(spec, {"inputs": [tensor.shape for tensor in inputs], "outputs": shapes})
        wide = _wide_enough(original, inputs) and _wide_enough(converted, _fitted(converted, inputs, own))
        nets = [_widened(net) if wide else copy.deepcopy(net).eval() for net in (original, converted)]
        with _in_float64() if wide else contextlib.nullcontext():
            before, after = (_Run(net, own, inputs, wide, steps) for net in nets)
            answers = [shape for shape, action in zip(shapes, own["outputs"], strict=True) if action is not None]
            drawn = steps * sum(shape.numel() for shape in answers or shapes)
            draws = min(max(12, numbers // max(drawn, 1)), 96) if any(map(_has_odd_part, own["outputs"])) else _FEW
            return _judged(before, after, own, draws, named, wide)


def _judged(
    before: _Run, after: _Run, own: Mapping[str, list[Action | None]], draws: int, named: Sequence[str], wide: bool
) -> Judgement:
    results, gaps, scale = [], [0.0, 0.0], 0.0
    for seed in range(draws):
        calls = before.drawn(seed)
        turned = [_turn(own["inputs"], call) for call in calls]
        pair = []
        for place, run in enumerate((before, after)):
            plain, mirrored = run(calls), run(turned)
            back = _turn(own["outputs"] * (len(plain) // len(own["outputs"])), mirrored)
            gaps[place] = max(gaps[place], _distance(plain, back))
            pair.append([(a + b) / 2 if place == 0 else a for a, b in zip(plain, back, strict=True)])
        scale = max(scale, max((float(one.abs().max()) for one in pair[1] if one.numel()), default=0.0))
        results.append(pair)
    odd = _odd_shares(results, own["outputs"])
    dead, ignored = _dead(before, after, own["inputs"])
    zeroed = _zeroed(before.module, after.module)
    unnamed = tuple(name for name in zeroed if name not in named)
    problems = []
    if not gaps[1] <= (BOUND if wide else BOUND_32):
        problems.append(f"residual {gaps[1]:.1e}")
    if dead:
        problems.append(f"no longer depends on {', '.join(dead)}")
    if unnamed:
        problems.append(f"zeroed without saying so: {', '.join(unnamed)}")
    return Judgement(
        gaps[1], gaps[0], "float64" if wide else "float32", scale, dead, ignored, zeroed, unnamed, odd, tuple(problems)
    )


# ---- running --------------------------------------------------------------------------------------------------------
class _Run:
    """A network that is run from a fresh copy each time, some calls in a row, states fed back."""

    def __init__(
        self,
        module: torch.nn.Module,
        own: Mapping[str, list[Action | None]],
        inputs: Sequence[torch.Tensor],
        wide: bool,
        steps: int,
    ) -> None:
        self.module, self.own, self.steps = module, own, steps
        self.inputs = [tensor.double() if wide and tensor.is_floating_point() else tensor for tensor in inputs]
        self.stateful = steps > 1 or None in own["inputs"]

    def drawn(self, seed: int) -> list[Tensors]:
        """N(0, 1) where T acts; what it leaves alone (masks, time steps) keeps its value."""
        generator = torch.Generator().manual_seed(1000 + seed)
        return [
            [
                torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.dtype)
                if action is not None and not action.is_trivial and tensor.is_floating_point()
                else tensor.clone()
                for tensor, action in zip(self.inputs, self.own["inputs"], strict=True)
            ]
            for _ in range(self.steps)
        ]

    def __call__(self, calls: Sequence[Tensors]) -> Tensors:
        """All outputs of all steps but the states. States start at zero, of the size that the network wants."""
        module = copy.deepcopy(self.module) if self.stateful else self.module
        states: Tensors = []
        found: Tensors = []
        for step, call in enumerate(calls):
            args = _fitted(module, [tensor.clone() for tensor in call], self.own, states if step else None)
            outputs = _tensors(module(*args))
            pairs = list(zip(outputs, self.own["outputs"], strict=True))
            states = [tensor for tensor, action in pairs if action is None]
            found += [tensor if action is not None else torch.zeros(0) for tensor, action in pairs]
        return found


def _fitted(
    module: torch.nn.Module,
    call: Sequence[torch.Tensor],
    own: Mapping[str, list[Action | None]],
    states: Tensors | None = None,
) -> Tensors:
    """A call with the states in place: those of the last step, or zeros (both views' where a network keeps two)."""
    rest = iter(states or ())
    double = any(getattr(module, "input_states", ()))
    out = []
    for tensor, action in zip(call, own["inputs"], strict=True):
        if action is not None:
            out.append(tensor)
        elif states is not None:
            out.append(next(rest))
        else:
            zeros = torch.zeros_like(tensor)
            out.append(torch.cat([zeros, zeros], -1) if double else zeros)
    return out


def _tensors(value: Any) -> Tensors:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _turn(own: Sequence[Action | None], tensors: Sequence[torch.Tensor]) -> Tensors:
    return [action(tensor) if action is not None else tensor for action, tensor in zip(own, tensors, strict=True)]


def _distance(first: Tensors, second: Tensors) -> float:
    """The largest difference in units of the output's largest entry; inf for what is not finite."""
    worst = 0.0
    for a, b in zip(first, second, strict=True):
        if a.numel():
            found = float((a.double() - b.double()).abs().max()) / max(float(a.double().abs().max()), 1e-30)
            worst = max(worst, found if found == found else float("inf"))
    return worst


# ---- precision ------------------------------------------------------------------------------------------------------
def _widened(module: torch.nn.Module) -> torch.nn.Module:
    """A copy in float64, with the tensors that `double` does not know of."""
    module = copy.deepcopy(module).double().eval()
    for own in module.modules():
        for name, value in list(vars(own).items()):
            if not name.startswith("_") and name != "training":
                vars(own)[name] = pytree.tree_map_only(torch.Tensor, _double, value)
    return module


def _double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _widen(value: Any) -> Any:
    """A float32 tensor becomes a float64 one in its place, so that whoever holds it may write into it."""
    if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
        value.data = value.data.double()
    return torch.float64 if value is torch.float32 else value


class _InFloat64(TorchFunctionMode):
    """Everything in float64, where a network's own code says float32, too."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__deepcopy__:  # one of its arguments holds all that was copied so far
            return func(*args, **(kwargs or {}))
        args, kwargs = pytree.tree_map(_widen, (tuple(args), dict(kwargs or {})))
        return (torch.Tensor.double if func is torch.Tensor.float else func)(*args, **kwargs)


@contextlib.contextmanager
def _in_float64() -> Iterator[None]:
    with _default_dtype(torch.float64), _InFloat64():
        yield


def _wide_enough(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> bool:
    """Whether the network runs in float64 at all."""
    module, inputs = _widened(module), [_double(tensor.clone()) for tensor in inputs]
    with _in_float64():
        try:
            outputs = _tensors(module(*inputs))
        except Exception:  # noqa: BLE001 - whatever a network says about mixed precisions
            return False
    return all(not tensor.is_floating_point() or tensor.dtype == torch.float64 for tensor in outputs)


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    old = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(old)


# ---- is it still of use? --------------------------------------------------------------------------------------------
def _odd_shares(
    results: Sequence[Sequence[Tensors]], outputs: Sequence[Action | None]
) -> tuple[tuple[float, float], ...]:
    found = []
    for place in range(len(results[0][0])):
        action = outputs[place % len(outputs)]
        if action is None or not _has_odd_part(action):
            continue
        shares = []
        for which in (0, 1):
            values = [pair[which][place] for pair in results]
            odd = torch.stack([(value - action(value)) / 2 for value in values])
            whole = torch.stack(values)
            energy, odd_energy = (float((own - own.mean(0)).square().sum()) for own in (whole, odd))
            shares.append(odd_energy / energy if energy else 0.0)
        found.append((shares[0], shares[1]))
    return tuple(found)


def _has_odd_part(action: Action | None) -> bool:
    """Whether the mirror acts on an output; a state's action is the network's own affair."""
    return action is not None and not action.is_trivial


def _dead(before: _Run, after: _Run, inputs: Sequence[Action | None]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Joints and fields that only the original reacts to, and those that neither does.

    What has a slope is heard; what has none (or where no slopes are to be had) is moved, to see whether that shows.
    """
    calls, noise = before.drawn(99), before.drawn(98)
    slopes = _slopes(after, calls)

    def reacts(run: _Run, place: int, action: Action, group: int) -> bool:
        moved = [list(call) for call in calls]
        for call, own in zip(moved, noise, strict=True):
            call[place] = action.moved(call[place], group, own[place])
        return _distance(run(calls), run(moved)) > DEAD

    dead, ignored = [], []
    for place, action in enumerate(inputs):
        for label, group in action.groups if action is not None else ():
            assert action is not None
            sloping = any(action.of(call[place], group).abs().max() > DEAD for call in slopes)
            if not sloping and not reacts(after, place, action, group):
                (dead if reacts(before, place, action, group) else ignored).append(f"input {place} {label}")
    return tuple(dict.fromkeys(dead)), tuple(dict.fromkeys(ignored))


def _slopes(run: _Run, calls: Sequence[Tensors]) -> list[Tensors]:
    """The gradient, by every input of every call, of a random sum of all outputs in units of their scale; or none."""
    with torch.enable_grad():
        leaves = [[tensor.detach().requires_grad_(tensor.is_floating_point()) for tensor in call] for call in calls]
        try:
            outputs = [output for output in run(leaves) if output.requires_grad and output.numel()]
            drawn = torch.Generator().manual_seed(97)
            weights = [torch.randn(own.shape, generator=drawn, dtype=torch.float64).to(own.dtype) for own in outputs]
            scaled = [w * own / own.detach().abs().max() for w, own in zip(weights, outputs, strict=True)]
            flat = [tensor for call in leaves for tensor in call if tensor.requires_grad]
            gradients = iter(torch.autograd.grad([own.sum() for own in scaled], flat, materialize_grads=True))
        except RuntimeError:  # written in place, or no derivative
            return []
    return [
        [next(gradients) if tensor.requires_grad else torch.zeros(tensor.shape) for tensor in call] for call in leaves
    ]


def _zeroed(before: torch.nn.Module, after: torch.nn.Module) -> tuple[str, ...]:
    """Parameters and buffers with entries that are zero now and were not, beyond what is equal by accident."""
    old = before.state_dict()

    def emptied(name: str, tensor: torch.Tensor) -> bool:
        lost = old[name][(tensor == 0) & (old[name] != 0)]
        return len(lost) - min(_cancelled(lost), 1e-3 * tensor.numel()) > 1e-5 * tensor.numel()

    return tuple(
        name
        for name, tensor in after.state_dict().items()
        if name in old and old[name].shape == tensor.shape and emptied(name, tensor)
    )


def _cancelled(lost: torch.Tensor) -> int:
    """How many of these weights come in twos of one size: two that are drawn exactly opposite average to zero."""
    _, counts = lost.abs().unique(return_counts=True)
    return 2 * int((counts == 2).sum())
