"""Judges what a trait says of an op against the op itself, on random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from chiralize.graph import traits as t
from chiralize.graph.execution import called, overload
from chiralize.graph.passes.centering.operations import without_constants
from chiralize.infer.registry import Drawn, Sample, registry
from tests.support.rule_bench import Bench
from tests.support.rule_values import draw

Arguments = dict[str, Any]
_TYPES = {"truth": torch.bool, "label": torch.int64, "complex": torch.complex128}


def named(target: str, sample: Sample, seed: int = 0) -> Arguments:
    """The arguments of one call by name, tensors drawn."""
    rule = registry().get(target) or next(iter(registry().values()))
    rng, bench = np.random.default_rng(seed), object.__new__(Bench)
    bench.rule, bench.target, bench.op, bench.slots = rule, target, overload(target), []
    bench.arguments = bench._name(sample)

    def value(slot: Any) -> Tensor:
        if isinstance(slot, Tensor):
            return slot
        drawn: Drawn = slot.drawn
        return torch.from_numpy(np.asarray(draw(drawn, 1, rng)[0])).to(_TYPES.get(drawn.kind, torch.float64))

    return bench.filled(value)


class Claims:
    """The claims of one trait of one op, each true or false. arguments: of one call."""

    def __init__(self, target: str, trait: t.Trait, arguments: Arguments) -> None:
        self.target, self.trait, self.arguments = target, trait, arguments
        self.generator = torch.Generator().manual_seed(1)

    def run(self, /, **changed: Any) -> Any:
        return called(overload(self.target), {**self.arguments, **changed})

    def outputs(self, arguments: Arguments) -> list[Tensor]:
        result = called(overload(self.target), arguments)
        return [out for out in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(out, Tensor)]

    def numbers(self, arguments: Arguments | None = None) -> list[Tensor]:
        found: list[Tensor] = []
        self.mapped(lambda tensor: found.append(tensor) or tensor, arguments)
        return found

    def mapped(self, change: Callable[[Tensor], Tensor], arguments: Arguments | None = None) -> Arguments:
        """The arguments with something else for every tensor of numbers."""

        def walk(value: Any) -> Any:
            if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()):
                return change(value)
            return [walk(item) for item in value] if isinstance(value, (list, tuple)) else value

        return {name: walk(value) for name, value in (arguments or self.arguments).items()}

    def fresh(self, tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=self.generator, dtype=tensor.dtype)

    def failed(self) -> list[str]:
        """Names of the claims that are false."""
        false: list[str] = []
        for kind in type(self.trait).__mro__:
            if kind is object:
                continue
            try:
                claims = list(getattr(self, kind.__name__, tuple)())
            except (KeyError, IndexError, AttributeError, TypeError, RuntimeError, AssertionError) as error:
                claims = [(f"{type(error).__name__} {error}", False)]  # it speaks of an argument that the op has not
            false += [f"{kind.__name__}: {name}" for name, holds in claims if not holds]
        return false

    # ---- every trait ---------------------------------------------------------------------------------------------
    def Trait(self) -> Iterator[tuple[str, bool]]:  # noqa: N802 - called by the name of the trait
        if self.trait.sizes:
            sizes, shape = self.arguments[self.trait.sizes], self.outputs(self.arguments)[0].shape
            ends = zip(reversed(sizes), reversed(shape), strict=False)
            yield "sizes", len(sizes) <= len(shape) and all(size in (-1, real) for size, real in ends)

    # ---- entry by entry ------------------------------------------------------------------------------------------
    def Pointwise(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Pointwise)
        out = self.outputs(self.arguments)[0]
        if self.trait.slopes:
            slopes, x = self.arguments[self.trait.slopes], self.arguments["self"]
            one = self.run(self=x[:, :1], **{self.trait.slopes: slopes[:1]})
            yield "by channel", same(one, out[:, :1])
            return
        flat = self.outputs(self.mapped(lambda tensor: tensor.expand(out.shape).flatten()))[0]
        turned = self.outputs(self.mapped(lambda tensor: tensor.expand(out.shape).flatten().flip(0)))[0]
        yield "by entry", same(flat, out.flatten()) and same(turned, out.flatten().flip(0))

    def Extremum(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        a, b = self.numbers()[:2]
        c = self.fresh(a)
        best = self.run(self=a, other=b)
        yield "one of both", bool(((best == a) | (best == b)).all())
        yield "order", same(best, self.run(self=b.expand_as(a), other=a))
        yield (
            "groups",
            same(self.run(self=best, other=c), self.run(self=a, other=self.run(self=b.expand_as(a), other=c))),
        )

    # ---- movements -----------------------------------------------------------------------------------------------
    def Movement(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Movement)
        if not self.numbers() or not self.outputs(self.arguments)[0].is_floating_point():
            return
        node: Any = SimpleNamespace(arguments=self.arguments)
        filled = without_constants(node, self.trait)
        bare = {**self.arguments, **{name: 0.0 for name in filled if not isinstance(self.arguments[name], Tensor)}}
        one = self.mapped(self.fresh, bare)
        others = iter([self.fresh(tensor) for tensor in self.numbers(one)])
        firsts = iter(self.numbers(one))
        other = self.mapped(lambda _: next(others), one)
        seconds = iter(self.numbers(other))
        both = self.mapped(lambda _: next(firsts) - 2.5 * next(seconds), one)
        parts = zip(self.outputs(both), self.outputs(one), self.outputs(other), strict=True)
        yield (
            "linear",
            all(same(whole, left - 2.5 * right) for whole, left, right in parts if whole.is_floating_point()),
        )
        yield "not negative", all(bool((out >= 0).all()) for out in self.outputs(self.mapped(torch.abs, bare)))
        if not self.trait.blends:
            yield "entries stay", {number for out in self.labelled(bare) for number in out} <= self.labels(bare) | {0.0}

    def labels(self, arguments: Arguments) -> set[float]:
        return set(range(1, 1 + sum(tensor.numel() for tensor in self.numbers(arguments))))

    def labelled(self, arguments: Arguments) -> list[list[float]]:
        """The results where every entry of every operand is another whole number."""
        start = [1]

        def numbered(tensor: Tensor) -> Tensor:
            first = start[0]
            start[0] += tensor.numel()
            return torch.arange(first, start[0], dtype=tensor.dtype).reshape(tensor.shape)

        return [out.flatten().tolist() for out in self.outputs(self.mapped(numbered, arguments))]

    def Layout(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        if isinstance(self.trait, t.Copy) and not self.keeps_numbers():
            return
        entries = [number for out in self.labelled(self.arguments) for number in out if isinstance(number, float)]
        yield "one tensor", len(self.numbers()) == 1
        yield "at most once", len(entries) == len(set(entries)) and set(entries) <= self.labels(self.arguments)

    def keeps_numbers(self) -> bool:
        node: Any = SimpleNamespace(arguments=self.arguments)
        return t.keeps_numbers(node)

    def Copy(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        if self.keeps_numbers():
            yield "the same", same(self.outputs(self.arguments)[0], self.numbers()[0])

    def Transpose(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        x = self.numbers()[0]
        yield "turned", same(self.run(), x.mT if x.ndim > 1 else x)

    def Entry(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        yield "entry", same(self.run(), self.numbers()[0].select(self.arguments["dim"], self.arguments["index"]))

    def Slice(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        x, get = self.numbers()[0].movedim(self.arguments["dim"], 0), self.arguments.get
        start, end = get("start"), get("end")
        if "length" in self.arguments:
            start = self.arguments["start"] % len(x)
            end = start + self.arguments["length"]
        yield "run", same(self.run().movedim(self.arguments["dim"], 0), x[slice(start, end, get("step", 1))])

    def Split(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Split)
        parts, dim = self.outputs(self.arguments), self.arguments["dim"]
        whole = (torch.stack if self.trait.is_single else torch.cat)(parts, dim)
        yield "all of it", same(whole, self.numbers()[0])
        if self.trait.lengths:
            lengths, real = self.arguments[self.trait.lengths], [part.shape[dim] for part in parts]
            yield "lengths", real == lengths if isinstance(lengths, list) else real[0] == lengths

    def Unflatten(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Unflatten)
        parts = self.arguments[self.trait.parts]
        yield "sizes", same(self.run(), self.numbers()[0].unflatten(self.arguments["dim"], parts))

    def Pick(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Pick)
        x, lists = self.numbers()[0], self.arguments[self.trait.lists]
        if "dim" in self.arguments:
            yield (
                "listed",
                same(self.run(), x.movedim(self.arguments["dim"], 0)[lists].movedim(0, self.arguments["dim"])),
            )
        else:
            yield "listed", same(self.run(), x[tuple(slice(None) if item is None else item for item in lists)])

    def Total(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        get = self.arguments.get
        total = self.numbers()[0].sum(get("dim") or tuple(range(self.numbers()[0].ndim)), get("keepdim", False))
        factor = (self.run() / total).flatten()
        yield "sum", same(factor, factor[:1].expand_as(factor)) and bool(factor[0] <= 1)

    def Join(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Join)
        join = torch.stack if self.trait.adds_axis else torch.cat
        yield "joined", same(self.run(), join(self.numbers(), self.arguments["dim"]))

    def Padding(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        amounts, x = self.arguments["pad"], self.numbers()[0]
        inside = functional.pad(self.run(), [-amount for amount in amounts])
        if min(amounts) >= 0:
            yield "inside", same(inside, x)

    def Overwrite(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        yield (
            "written",
            same(self.run().double(), self.arguments["src"].expand_as(self.run()).to(self.run().dtype).double()),
        )

    def Write(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Write)
        get, dim, x = (
            self.arguments.get,
            self.arguments["dim"],
            self.arguments["self"].movedim(self.arguments["dim"], 0),
        )
        if self.trait.is_single != ("index" in self.arguments):
            yield "single", False
            return
        places = (
            [self.arguments["index"]]
            if self.trait.is_single
            else range(len(x))[get("start") : get("end") : get("step")]
        )
        kept = [place for place in range(len(x)) if place not in [entry % len(x) for entry in places]]
        out = self.run().movedim(dim, 0)
        written = out[places[0]] if self.trait.is_single else out[list(places)].movedim(0, dim)
        yield "written", same(written, self.arguments["src"]) and same(out[kept], x[kept])

    # ---- windows -------------------------------------------------------------------------------------------------
    def Pooling(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        get, x, out = self.arguments.get, self.numbers()[0], self.outputs(self.arguments)[0]

        def last(name: str, default: int) -> int:
            value = get(name) or [default]
            return value[-1]

        kernel, dilation = last("kernel_size", 1), last("dilation", 1)
        stride, padding = last("stride", kernel), last("padding", 0)
        for column in range(out.shape[-1]):
            first = column * stride - padding
            read = [place for place in range(first, first + dilation * kernel, dilation) if 0 <= place < x.shape[-1]]
            other = self.fresh(x)
            other[..., read] = x[..., read]
            yield (
                f"column {column}",
                same(self.outputs({**self.arguments, "self": other})[0][..., column], out[..., column]),
            )

    def Resampling(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Resampling)
        source = "input" if "input" in self.arguments else "self"
        x, out = self.numbers()[0], self.run()
        inside = tuple(range(2, x.ndim))
        if self.arguments.get("align_corners"):
            yield "ends", same(out[..., 0], x[..., 0]) and same(out[..., -1], x[..., -1])
        if self.trait.is_nearest:
            yield "entries", set(out.flatten().tolist()) <= set(x.flatten().tolist())
        if not self.arguments.get("scale_factors") and not (self.trait.is_nearest and out.numel() % x.numel()):
            yield "either end", same(self.run(**{source: x.flip(inside)}), out.flip(inside))

    # ---- sums and products ---------------------------------------------------------------------------------------
    def Sum(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Sum)
        for alpha in (1, 3):
            given = {**self.arguments, "alpha": alpha}
            total = sum(factor * operand for operand, factor in self.trait.terms(given))
            yield f"terms, alpha {alpha}", same(self.run(alpha=alpha), torch.as_tensor(total))

    def Scaling(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Scaling)
        one, other = self.arguments["self"], self.arguments["other"]
        if bool((torch.as_tensor(other) != 0).any()):
            yield "product", same(self.run(), one / other if self.trait.divides else one * other)

    def Product(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Product)
        added = self.trait.added(self.arguments)
        if isinstance(self.trait, t.Scaling):
            return
        bare = {**self.arguments, **self.trait.without_bias}
        if isinstance(added, Tensor) and not self.trait.is_layer:
            bare[self.trait.bias] = torch.zeros_like(added)
        without = self.outputs(bare)[0]
        if isinstance(added, Tensor):
            axis = without.ndim - (self.arguments["weight"].ndim - 1) if self.trait.is_layer else without.ndim - 1
            shape = [-1 if at == axis else 1 for at in range(without.ndim)] if self.trait.is_layer else added.shape
            yield "bias", same(self.run(), without + added.reshape(shape))
        factors = [
            tensor
            for tensor in self.numbers(bare)
            if not (added is not None and tensor.shape == added.shape and not bool(tensor.any()))
        ]
        for factor in factors:
            scaled = self.mapped(lambda tensor, factor=factor: tensor * -2.5 if tensor is factor else tensor, bare)
            yield "linear", same(self.outputs(scaled)[0], -2.5 * without)

    def Contraction(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Contraction)
        source, weight = self.arguments[self.trait.source], self.arguments[self.trait.weight]
        added = self.trait.added(self.arguments)
        if self.trait.is_windowed:
            yield "convolution", same(self.run(), convolved(source, weight, added, self.arguments))
        else:
            matrix = weight if self.trait.is_transposed or weight.ndim < 2 else weight.mT
            yield "matrix", same(self.run(), source @ matrix + (0 if added is None else added))

    def Adjoint(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Adjoint)
        x, weight, bias = (self.arguments[name] for name in ("input", "weight", "bias"))
        if self.trait.switch and not self.arguments[self.trait.switch]:
            yield "convolution", same(self.run(), convolved(x, weight, bias, self.arguments))
            return
        out = self.run(bias=None)
        y = self.fresh(out)
        yield "adjoint", same((out * y).sum(), (x * convolved(y, weight, None, self.arguments)).sum())

    def Einsum(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Einsum)
        yield "sum of products", same(self.run(), torch.einsum(self.arguments[self.trait.equation], *self.numbers()))

    # ---- layers --------------------------------------------------------------------------------------------------
    def Filled(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        if self.numbers():
            yield "no entry counts", same(self.run(), self.outputs(self.mapped(self.fresh))[0])

    def BatchNorm(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        x, get = self.arguments["input"], self.arguments.get
        shape = (1, -1, *[1] * (x.ndim - 2))
        mean, var, weight, bias = (
            self.arguments[name].reshape(shape) for name in ("running_mean", "running_var", "weight", "bias")
        )
        eps = get("eps", get("epsilon"))
        yield "statistics", same(self.outputs(self.arguments)[0], (x - mean) / (var + eps).sqrt() * weight + bias)

    def Normalised(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Normalised)
        if self.arguments.get("use_input_stats") is False:
            return
        x, out = self.arguments["input"], self.outputs(self.arguments)[0]
        yield "scale", near(self.outputs({**self.arguments, "input": 3 * x})[0], out)
        moved = self.outputs({**self.arguments, "input": x + 1})[0]
        yield "mean", near(moved, out) == self.trait.is_centred
        if self.trait.shape:
            sizes = self.arguments[self.trait.shape]
            other = x.clone()
            other.reshape(-1, prod(sizes))[1:] = self.fresh(x).reshape(-1, prod(sizes))[1:]
            again = self.outputs({**self.arguments, "input": other})[0]
            yield "last axes", same(again.reshape(-1, prod(sizes))[0], out.reshape(-1, prod(sizes))[0])

    def Attention(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        query, key, value = (self.arguments[name] for name in ("query", "key", "value"))
        if self.arguments["attn_mask"] is None and not self.arguments["is_causal"] and not self.arguments["enable_gqa"]:
            scale = self.arguments["scale"] or query.shape[-1] ** -0.5
            yield "attention", same(self.run(), (scale * query @ key.mT).softmax(-1) @ value)

    def Recurrence(self) -> Iterator[tuple[str, bool]]:  # noqa: N802
        assert isinstance(self.trait, t.Recurrence)
        if self.trait.is_single != ("w_ih" in self.arguments):
            yield "single", False
            return
        pairs = self.trait.first_weights(self.arguments)
        states = self.arguments["hx"]
        state = states[-1] if isinstance(states, list) else states
        yield "gates", bool(pairs) and pairs[0][0].shape[0] == self.trait.gates * state.shape[-1]
        if not pairs or any(bias is None for _, bias in pairs):
            return
        shift = self.fresh(torch.zeros(pairs[0][0].shape[1], dtype=torch.float64))
        moved = {id(bias): bias - weight @ shift for weight, bias in pairs}
        given = self.mapped(lambda tensor: moved.get(id(tensor), tensor))
        given["input"] = self.arguments["input"] + shift
        results = zip(self.outputs(given), self.outputs(self.arguments), strict=True)
        yield "first weights", all(same(one, other) for one, other in results)
        yield "nonlinearity", self.cell_is_right()

    def cell_is_right(self) -> bool:
        """Whether the result grows with a large input, as only that of a rectifier does."""
        assert isinstance(self.trait, t.Recurrence)
        large, larger = (
            self.outputs({**self.arguments, "input": by * self.arguments["input"]})[0] for by in (1e3, 1e6)
        )
        return bool(larger.abs().max() > 10 * large.abs().max()) == (self.trait.cell == "relu")


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, arguments: Mapping[str, Any]) -> Tensor:
    """The convolution with the strides, paddings, dilations and groups of a call."""
    convolution = (functional.conv1d, functional.conv2d, functional.conv3d)[weight.ndim - 3]
    return convolution(x, weight, bias, *(arguments[name] for name in ("stride", "padding", "dilation", "groups")))


def same(one: Tensor, other: Tensor) -> bool:
    """Equal up to rounding."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-9, atol=1e-11, equal_nan=True)


def near(one: Tensor, other: Tensor) -> bool:
    """Equal up to the small number that norms add to a variance."""
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3)
