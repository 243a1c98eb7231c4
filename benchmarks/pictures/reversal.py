"""Which windows commute with the reversal of an axis: the rules against brute force, over random geometries.

    python -m benchmarks.pictures.reversal --count 3000

An op is run on x and on the reversed x, in float64, with random weights that are reversed with their kernels. It is
exact where the second result is the reversed first one. The rules have to accept it then, and never else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chiralize.graph.execution import overload
from chiralize.infer.registry import Call, Operand, registry
from chiralize.infer.solver.unify import Conflict, Solver, Wait
from chiralize.symmetry import reynolds
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.symmetry.symbolic import SymbolicRepresentation, evaluate, lower, variables

_EXACT, _DIFFERENT = 1e-10, 1e-6
Arguments = dict[str, Any]


@dataclass
class Tally:
    """How many geometries of one kind there were. unsound: described.  missed: exact ones that are refused."""

    tried: int = 0
    exact: int = 0
    accepted: int = 0
    unsound: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Geometry:
    """One call. weights: names of arguments that are reversed along their last axis; before: padding in front of it."""

    target: str
    arguments: Arguments
    weights: tuple[str, ...] = ()
    padding: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        words: list[str] = [self.target, f"padding before {self.padding}"]
        for name, value in self.arguments.items():
            words.append(f"{name} {tuple(value.shape) if isinstance(value, Tensor) else value}")
        return ", ".join(words)


def _whole(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _input(rng: np.random.Generator, channels: int = 2, least: int = 3) -> Tensor:
    return torch.from_numpy(rng.standard_normal((2, channels, _whole(rng, least, 21))))


def _convolution(rng: np.random.Generator) -> Geometry:
    x, kernel = _input(rng), _whole(rng, 1, 5)
    groups = _whole(rng, 1, 2)
    weight = torch.from_numpy(rng.standard_normal((4, 2 // groups, kernel)))
    arguments = {"input": x, "weight": weight, "bias": torch.from_numpy(rng.standard_normal(4))}
    options = {"stride": [_whole(rng, 1, 4)], "padding": [_whole(rng, 0, 3)], "dilation": [_whole(rng, 1, 3)]}
    before = (_whole(rng, 0, 2), _whole(rng, 0, 2)) if rng.random() < 0.4 else (0, 0)
    return Geometry("aten.conv1d.default", {**arguments, **options, "groups": groups}, ("weight",), before)


def _same(rng: np.random.Generator) -> Geometry:
    weight = torch.from_numpy(rng.standard_normal((3, 2, _whole(rng, 1, 5))))
    arguments = {"input": _input(rng), "weight": weight, "bias": None, "stride": [1], "padding": "same"}
    return Geometry("aten.conv1d.padding", {**arguments, "dilation": [_whole(rng, 1, 3)], "groups": 1}, ("weight",))


def _transposed(rng: np.random.Generator) -> Geometry:
    stride, dilation = _whole(rng, 1, 4), _whole(rng, 1, 3)
    weight = torch.from_numpy(rng.standard_normal((2, 3, _whole(rng, 1, 5))))
    arguments = {"input": _input(rng, least=2), "weight": weight, "bias": None, "stride": [stride]}
    grows = _whole(rng, 0, max(stride, dilation) - 1) if rng.random() < 0.5 else 0
    options = {"padding": [_whole(rng, 0, 3)], "output_padding": [grows], "groups": 1, "dilation": [dilation]}
    return Geometry("aten.conv_transpose1d.default", {**arguments, **options}, ("weight",))


def _pool(rng: np.random.Generator) -> Geometry:
    kernel = _whole(rng, 1, 5)
    arguments: Arguments = {"self": _input(rng), "kernel_size": [kernel], "stride": [_whole(rng, 1, 4)]}
    arguments["padding"] = [_whole(rng, 0, kernel // 2)]
    if rng.random() < 0.5:
        more = {"ceil_mode": rng.random() < 0.4, "count_include_pad": rng.random() < 0.5}
        return Geometry("aten.avg_pool1d.default", {**arguments, **more})
    more = {"dilation": [_whole(rng, 1, 3)], "ceil_mode": rng.random() < 0.4}
    return Geometry("aten.max_pool1d.default", {**arguments, **more})


def _adaptive(rng: np.random.Generator) -> Geometry:
    return Geometry("aten.adaptive_avg_pool1d.default", {"self": _input(rng), "output_size": [_whole(rng, 1, 12)]})


def _resampled(rng: np.random.Generator) -> Geometry:
    x = _input(rng)
    if rng.random() < 0.6:
        size, factors = [_whole(rng, 1, 40)], None
    else:
        size, factors = None, [float(rng.choice([0.5, 1.5, 2.0, 3.0, 1.3, 0.75]))]
    kind = rng.choice(["linear", "nearest", "nearest_exact"])
    if kind == "linear":
        options = {"output_size": size, "align_corners": rng.random() < 0.5, "scale_factors": factors}
        return Geometry("aten.upsample_linear1d.vec", {"input": x, **options})
    name = "aten.upsample_nearest1d.vec" if kind == "nearest" else "aten._upsample_nearest_exact1d.vec"
    return Geometry(name, {"input": x, "output_size": size, "scale_factors": factors})


def _padded(rng: np.random.Generator) -> Geometry:
    mode = str(rng.choice(["constant", "reflect", "replicate", "circular"]))
    before = _whole(rng, 0, 2)
    after = before if rng.random() < 0.5 else _whole(rng, 0, 2)
    return Geometry("aten.pad.default", {"self": _input(rng), "pad": [before, after], "mode": mode, "value": None})


def _unfolded(rng: np.random.Generator) -> Geometry:
    x = _input(rng)
    size = _whole(rng, 1, min(5, x.shape[-1]))
    return Geometry("aten.unfold.default", {"self": x, "dimension": -1, "size": size, "step": _whole(rng, 1, 4)})


KINDS: Mapping[str, Callable[[np.random.Generator], Geometry]] = {
    "convolution": _convolution,
    "convolution, padding same": _same,
    "transposed convolution": _transposed,
    "pooling": _pool,
    "adaptive pooling": _adaptive,
    "resampling": _resampled,
    "padding": _padded,
    "unfold": _unfolded,
}


def _reversal(shape: tuple[int, ...], windows: bool = False) -> TensorRepresentation:
    """The last axis reversed, and the one before it too where windows lie side by side."""
    axes = [Representation.trivial(size) for size in shape]
    for position in (-1, -2)[: 1 + windows]:
        axes[position] = Representation.of(
            SignedPermutation(np.arange(shape[position])[::-1], np.ones(shape[position], int))
        )
    return TensorRepresentation(tuple(axes))


def _run(geometry: Geometry, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor | None:
    """The op; None where torch has no such call."""
    name = next(iter(geometry.arguments))
    given = torch.nn.functional.pad(x, geometry.padding)
    try:
        return overload(geometry.target)(**{**geometry.arguments, name: given, **weights})
    except RuntimeError:
        return None


def _claim(geometry: Geometry, shape: tuple[int, ...]) -> tuple[Mapping[str, TensorRepresentation], Any] | None:
    """How weights and result transform where the input is reversed; None where the rule refuses."""
    solver = Solver()
    first, *_ = geometry.arguments
    x: Any = Operand(lower(_reversal(tuple(geometry.arguments[first].shape))))
    weights: dict[str, SymbolicRepresentation] = {}
    arguments: Arguments = {}
    for name, value in geometry.arguments.items():
        arguments[name] = value
        if isinstance(value, Tensor) and name != first:
            weights[name] = solver.fresh_like(tuple(value.shape), name)
            arguments[name] = Operand(weights[name])
    try:
        if any(geometry.padding):
            wide = (*x.shape[:-1], x.shape[-1] + sum(geometry.padding))
            padding: Arguments = {"self": x, "pad": list(geometry.padding), "value": 0}
            rule = registry()["aten.constant_pad_nd.default"]
            x = Operand(rule.outputs(Call(rule.targets[0], padding, (wide,), solver, key="pad"))[0])  # type: ignore[arg-type]
        call = Call(geometry.target, {**arguments, first: x}, (shape,), solver, key="op")
        result = registry()[geometry.target].outputs(call)[0]
        assert isinstance(result, SymbolicRepresentation)
        free = variables([axis for rep in (*weights.values(), result) for axis in solver.representation(rep).axes])
        still = {var.id: SignedPermutation.identity(var.size) for var in free}
        known = {name: evaluate(solver.representation(rep), still) for name, rep in weights.items()}
        return known, evaluate(solver.representation(result), still)
    except (Conflict, Wait):
        return None


def _distance(geometry: Geometry, reps: Mapping[str, TensorRepresentation], out: TensorRepresentation) -> float:
    """Of the answer to the reversed input from the mirrored answer, with weights that the mirror leaves alone."""
    x = next(iter(geometry.arguments.values()))
    weights = {name: reynolds.project(geometry.arguments[name], rep) for name, rep in reps.items()}
    plain, turned = _run(geometry, x, weights), _run(geometry, x.flip(-1), weights)
    assert plain is not None and turned is not None
    return float((reynolds.act(plain, out) - turned).abs().max())


def tried(kind: str, count: int, seed: int = 0) -> Tally:
    """So many geometries of one kind."""
    rng, tally = np.random.default_rng(seed), Tally()
    while tally.tried < count:
        geometry = KINDS[kind](rng)
        out = _run(geometry, next(iter(geometry.arguments.values())), {})
        if out is None or not out.numel():
            continue
        shape = tuple(out.shape)
        tally.tried += 1
        reversed_weights = {name: _reversal(tuple(geometry.arguments[name].shape)) for name in geometry.weights}
        exact = _distance(geometry, reversed_weights, _reversal(shape, kind == "unfold")) < _EXACT
        claim = _claim(geometry, shape)
        tally.exact += exact
        if claim is not None:
            tally.accepted += 1
            if _distance(geometry, *claim) > _DIFFERENT:
                tally.unsound.append(str(geometry))
        elif exact:
            tally.missed.append(str(geometry))
    return tally


def main() -> None:
    """Print a table of all kinds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| windows | geometries | exact | accepted of them | unsound |\n|---|--:|--:|--:|--:|")
    for kind in KINDS:
        tally = tried(kind, -(-arguments.count // len(KINDS)), arguments.seed)
        share = 1 - len(tally.missed) / max(tally.exact, 1)
        print(f"| {kind} | {tally.tried} | {tally.exact} | {share:.1%} | {len(tally.unsound)} |")
        for text in (*tally.unsound[:3], *tally.missed[:3]):
            print(f"    {text}")


if __name__ == "__main__":
    main()
