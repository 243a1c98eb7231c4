"""Judges what a trait says of an op against the op itself, on random numbers.

Each claim of a trait is a method of `Claims` called as the trait; it yields what is claimed, and whether it is true.
"""

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
from chiralize.graph.execution import called
from chiralize.graph.model import overload
from tests.support.rule_bench import Arguments as Slotted
from tests.support.rule_values import Sample, draw

Arguments = dict[str, Any]
Claimed = Iterator[tuple[str, bool]]
_TYPES = {"truth": torch.bool, "label": torch.int64, "complex": torch.complex128}


def named(target: str, sample: Sample) -> Arguments:
    """The arguments of one call by name, tensors drawn."""
    rng = np.random.default_rng(0)

    def value(slot: Any) -> Tensor:
        if isinstance(slot, Tensor):
            return slot
        return torch.from_numpy(np.asarray(draw(slot.drawn, 1, rng)[0])).to(_TYPES.get(slot.drawn.kind, torch.float64))

    return Slotted(target, sample).filled(value)


class Claims:
    """The claims of one trait of one op, each true or false. arguments: of one call."""

    def __init__(self, target: str, trait: t.Trait, arguments: Arguments) -> None:
        self.target, self.trait, self.arguments = target, trait, arguments
        self.generator = torch.Generator().manual_seed(1)

    def run(self, /, **changed: Any) -> Tensor:
        """The first result, with some arguments changed."""
        return self.outputs({**self.arguments, **changed})[0]

    def outputs(self, arguments: Arguments) -> list[Tensor]:
        result = called(overload(self.target), arguments)
        return [out for out in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(out, Tensor)]

    def numbers(self, arguments: Arguments | None = None) -> list[Tensor]:
        tensors: list[Tensor] = []
        self.mapped(lambda tensor: tensors.append(tensor) or tensor, arguments)
        return tensors

    def mapped(
        self, change: Callable[[Tensor], Tensor], arguments: Arguments | None = None, truths: bool = False
    ) -> Arguments:
        """The arguments with something else for every tensor of numbers. truths: for those of truth values, too."""

        def walk(value: Any) -> Any:
            if isinstance(value, Tensor) and (truths or value.is_floating_point() or value.is_complex()):
                return change(value)
            return [walk(item) for item in value] if isinstance(value, (list, tuple)) else value

        return {name: walk(value) for name, value in (arguments or self.arguments).items()}

    def fresh(self, tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=self.generator, dtype=tensor.dtype)

    def failed(self) -> list[str]:
        """Names of the claims that are false."""
        false: list[str] = []
        for kind in type(self.trait).__mro__[:-1]:
            try:
                claims = list(getattr(self, kind.__name__, tuple)())
            except (KeyError, IndexError, AttributeError, TypeError, RuntimeError, AssertionError) as error:
                claims = [(f"{type(error).__name__} {error}", False)]  # it speaks of an argument that the op has not
            false += [f"{kind.__name__}: {name}" for name, holds in claims if not holds]
        return false

    # ---- every trait, entry by entry ------------------------------------------------------------------------------
    def Trait(self) -> Claimed:  # noqa: N802 - called by the name of the trait
        if self.trait.sizes:
            sizes, shape = self.arguments[self.trait.sizes], self.run().shape
            ends = zip(reversed(sizes), reversed(shape), strict=False)
            yield "sizes", len(sizes) <= len(shape) and all(size in (-1, real) for size, real in ends)

    def Pointwise(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Pointwise)
        out = self.run()
        if self.trait.slopes:
            slopes, x = self.arguments[self.trait.slopes], self.arguments["self"]
            if slopes.ndim == 1:
                one = self.run(self=x[:, :1], **{self.trait.slopes: slopes[:1]})
                yield "by channel", same(one, out[:, :1])
            return
        entries = self.mapped(lambda tensor: tensor.expand(out.shape).flatten(), truths=True)
        flat = self.outputs(entries)[0]
        turned = self.outputs(self.mapped(lambda tensor: tensor.flip(0), entries, truths=True))[0]
        yield "by entry", same(flat, out.flatten()) and same(turned, out.flatten().flip(0))

    def Extremum(self) -> Claimed:  # noqa: N802
        a, b = self.numbers()[:2]
        c = self.fresh(a)
        best = self.run(self=a, other=b)
        swapped = self.run(self=b.expand_as(a), other=a)
        nested = self.run(self=a, other=self.run(self=b.expand_as(a), other=c))
        yield "one of both", bool(((best == a) | (best == b)).all())
        yield "order", same(best, swapped)
        yield "groups", same(self.run(self=best, other=c), nested)

    # ---- movements ------------------------------------------------------------------------------------------------
    def Movement(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Movement)
        if not self.numbers() or not self.run().is_floating_point():
            return
        fills = {name: self.arguments.get(name) for name in self.trait.fills}
        zero = {name: 0.0 for name, value in fills.items() if value is not None and not isinstance(value, Tensor)}
        bare = {**self.arguments, **zero}
        one = self.mapped(self.fresh, bare)
        others = iter([self.fresh(tensor) for tensor in self.numbers(one)])
        other = self.mapped(lambda _: next(others), one)
        firsts, seconds = iter(self.numbers(one)), iter(self.numbers(other))
        both = self.mapped(lambda _: next(firsts) - 2.5 * next(seconds), one)
        parts = zip(self.outputs(both), self.outputs(one), self.outputs(other), strict=True)
        yield "linear", all(same(out, a - 2.5 * b) for out, a, b in parts if out.is_floating_point())
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

    def keeps_numbers(self) -> bool:
        node: Any = SimpleNamespace(arguments=self.arguments)
        return t.keeps_numbers(node)

    def Layout(self) -> Claimed:  # noqa: N802
        if isinstance(self.trait, t.Copy) and not self.keeps_numbers():
            return
        entries = [number for out in self.labelled(self.arguments) for number in out if isinstance(number, float)]
        yield "one tensor", len(self.numbers()) == 1
        yield "at most once", len(entries) == len(set(entries)) and set(entries) <= self.labels(self.arguments)

    def Copy(self) -> Claimed:  # noqa: N802
        if self.keeps_numbers():
            yield "the same", same(self.run(), self.numbers()[0])

    def Transpose(self) -> Claimed:  # noqa: N802
        yield "turned", same(self.run(), self.numbers()[0].permute(self.arguments["dims"]))

    def Entry(self) -> Claimed:  # noqa: N802
        yield "entry", same(self.run(), self.numbers()[0].select(self.arguments["dim"], self.arguments["index"]))

    def Slice(self) -> Claimed:  # noqa: N802
        x, get = self.numbers()[0].movedim(self.arguments["dim"], 0), self.arguments.get
        run = slice(get("start"), get("end"), get("step", 1))
        yield "run", same(self.run().movedim(self.arguments["dim"], 0), x[run])

    def Split(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Split)
        parts, dim = self.outputs(self.arguments), self.arguments["dim"]
        whole = (torch.stack if self.trait.is_single else torch.cat)(parts, dim)
        yield "all of it", same(whole, self.numbers()[0])
        if self.trait.lengths:
            yield "lengths", [part.shape[dim] for part in parts] == self.arguments[self.trait.lengths]

    def Pick(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Pick)
        x, lists = self.numbers()[0], self.arguments[self.trait.lists]
        if "dim" in self.arguments:
            dim = self.arguments["dim"]
            yield "listed", same(self.run(), x.movedim(dim, 0)[lists].movedim(0, dim))
        else:
            yield "listed", same(self.run(), x[tuple(slice(None) if item is None else item for item in lists)])

    def Total(self) -> Claimed:  # noqa: N802
        get, x = self.arguments.get, self.numbers()[0]
        factor = (self.run() / x.sum(get("dim") or tuple(range(x.ndim)), get("keepdim", False))).flatten()
        yield "sum", same(factor, factor[:1].expand_as(factor)) and bool(factor[0] <= 1)

    def Join(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Join)
        join = torch.stack if self.trait.adds_axis else torch.cat
        yield "joined", same(self.run(), join(self.numbers(), self.arguments["dim"]))

    def Padding(self) -> Claimed:  # noqa: N802
        amounts = self.arguments["pad"]
        if min(amounts) >= 0:
            yield "inside", same(functional.pad(self.run(), [-amount for amount in amounts]), self.numbers()[0])

    def Write(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Write)
        get, dim = self.arguments.get, self.arguments["dim"]
        x, out = self.arguments["self"].movedim(dim, 0), self.run().movedim(dim, 0)
        yield "single", self.trait.is_single == ("index" in self.arguments)
        entries = list(range(len(x))[get("start") : get("end") : get("step")])
        if self.trait.is_single:
            entries = [self.arguments["index"] % len(x)]
        others = [entry for entry in range(len(x)) if entry not in entries]
        written = out[entries[0]] if self.trait.is_single else out[entries].movedim(0, dim)
        yield "written", same(written, self.arguments["src"]) and same(out[others], x[others])

    def Filled(self) -> Claimed:  # noqa: N802
        if self.numbers():
            yield "no entry counts", same(self.run(), self.outputs(self.mapped(self.fresh))[0])

    def Pooling(self) -> Claimed:  # noqa: N802
        x, out = self.numbers()[0], self.run()

        def last(name: str, default: int) -> int:
            value = self.arguments.get(name) or [default]
            return value[-1]

        kernel, dilation = last("kernel_size", 1), last("dilation", 1)
        stride, padding = last("stride", kernel), last("padding", 0)
        for column in range(out.shape[-1]):
            first = column * stride - padding
            read = [entry for entry in range(first, first + dilation * kernel, dilation) if 0 <= entry < x.shape[-1]]
            other = self.fresh(x)
            other[..., read] = x[..., read]
            yield f"column {column}", same(self.run(self=other)[..., column], out[..., column])

    # ---- sums and products ----------------------------------------------------------------------------------------
    def Sum(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Sum)
        for alpha in (1, 3):
            total = sum(factor * operand for operand, factor in self.trait.terms({**self.arguments, "alpha": alpha}))
            yield f"terms, alpha {alpha}", same(self.run(alpha=alpha), torch.as_tensor(total))

    def Scaling(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Scaling)
        one, other = self.arguments["self"], self.arguments["other"]
        if bool((torch.as_tensor(other) != 0).any()):
            yield "product", same(self.run(), one / other if self.trait.divides else one * other)

    def Product(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Product)
        if isinstance(self.trait, t.Scaling):
            return
        added = self.trait.added(self.arguments)
        bare = {**self.arguments, **self.trait.without_bias}
        if isinstance(added, Tensor) and not self.trait.is_layer:
            bare[self.trait.bias] = torch.zeros_like(added)
        without = self.outputs(bare)[0]
        if isinstance(added, Tensor):
            axis = without.ndim - (self.arguments["weight"].ndim - 1) if self.trait.is_layer else without.ndim - 1
            shape = [-1 if at == axis else 1 for at in range(without.ndim)] if self.trait.is_layer else added.shape
            yield "bias", same(self.run(), without + added.reshape(shape))
        for factor in [tensor for tensor in self.numbers(bare) if tensor is not bare.get(self.trait.bias)]:
            scaled = self.mapped(lambda tensor, factor=factor: tensor * -2.5 if tensor is factor else tensor, bare)
            yield "linear", same(self.outputs(scaled)[0], -2.5 * without)

    def Contraction(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Contraction)
        source, weight = self.arguments[self.trait.source], self.arguments[self.trait.weight]
        added = self.trait.added(self.arguments)
        if self.trait.is_adjoint(self.arguments):
            out = self.run(bias=None)
            y = self.fresh(out)
            back = convolved(y, weight, None, self.arguments)
            yield "adjoint", same((out * y).sum(), (source * back).sum())
        elif self.trait.is_windowed:
            yield "convolution", same(self.run(), convolved(source, weight, added, self.arguments))
        else:
            matrix = weight if self.trait.is_transposed or weight.ndim < 2 else weight.mT
            yield "matrix", same(self.run(), source @ matrix + (0 if added is None else added))

    def Einsum(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Einsum)
        yield "sum of products", same(self.run(), torch.einsum(self.arguments[self.trait.equation], *self.numbers()))

    # ---- layers ---------------------------------------------------------------------------------------------------
    def BatchNorm(self) -> Claimed:  # noqa: N802
        x, get = self.arguments["input"], self.arguments.get
        names, shape = ("running_mean", "running_var", "weight", "bias"), (1, -1, *[1] * (x.ndim - 2))
        mean, var, weight, bias = (self.arguments[name].reshape(shape) for name in names)
        yield "statistics", same(self.run(), (x - mean) / (var + get("eps")).sqrt() * weight + bias)

    def Normalised(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Normalised)
        if self.arguments.get("use_input_stats") is False:
            return
        x, out = self.arguments["input"], self.run()
        yield "scale", near(self.run(input=3 * x), out)
        yield "mean", near(self.run(input=x + 1), out) == self.trait.is_centred
        if self.trait.shape:
            size = prod(self.arguments[self.trait.shape])
            other = x.clone()
            other.reshape(-1, size)[1:] = self.fresh(x).reshape(-1, size)[1:]
            yield "last axes", same(self.run(input=other).reshape(-1, size)[0], out.reshape(-1, size)[0])

    def Attention(self) -> Claimed:  # noqa: N802
        query, key, value = (self.arguments[name] for name in ("query", "key", "value"))
        if self.arguments["attn_mask"] is None and not self.arguments["is_causal"] and not self.arguments["enable_gqa"]:
            scale = self.arguments["scale"] or query.shape[-1] ** -0.5
            yield "attention", same(self.run(), (scale * query @ key.mT).softmax(-1) @ value)

    def Recurrence(self) -> Claimed:  # noqa: N802
        assert isinstance(self.trait, t.Recurrence)
        yield "single", self.trait.is_single == ("w_ih" in self.arguments)
        weight = self.arguments["w_ih"] if self.trait.is_single else self.arguments["params"][0]
        states = self.arguments["hx"]
        state = states[-1] if isinstance(states, list) else states
        yield "gates", weight.shape[0] == self.trait.gates * state.shape[-1]
        # The result grows with a large input where it is that of a rectifier, and only there.
        large, larger = (self.run(input=by * self.arguments["input"]) for by in (1e3, 1e6))
        yield "nonlinearity", bool(larger.abs().max() > 10 * large.abs().max()) == (self.trait.cell == "relu")


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
