"""A certificate for networks that average over both views of their input, whatever lies between.

Every value of the captured graph is written down as a linear combination of `action * expression`, an action being a
signed permutation per axis. This is done twice: as a function of x, and as a function of T x. If the second is T
applied to the first, the network is equivariant, since actions compose exactly, T T = 1, and all other ops are taken
as opaque functions that give equal results for equal arguments. Gathers and sign changes along an axis, sums, scaling,
slices and concatenations are understood, and so are constants that are added (an affine mirror adds 2 c, in the
precision of the tensor); nothing needs a rule. Weights and constants are what they hold, not what they
are called: each view may come with a copy of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chiralize.graph.copies import raw_bytes
from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.symmetry.action import Center, Turn, shift
from chiralize.symmetry.involution import IntArray
from chiralize.symmetry.representation import TensorRepresentation

# An action on one tensor: per axis (source entry, sign), identity axes left out.  out[i] = sign[i] * in[source[i]]
AxisAction = tuple[int, tuple[int, ...], tuple[int, ...]]
Action = tuple[AxisAction, ...]
Term = tuple[Action, int, float]  # (action, expression by number, factor)
Combination = tuple[Term, ...]
Array = npt.NDArray[np.float64]

IDENTITY: Action = ()
_TRANSPARENT = {
    "aten.clone.default", "aten.contiguous.default", "aten.alias.default", "aten.detach.default",
    "aten.lift_fresh_copy.default",
}  # fmt: skip

_VIEWS = {"aten.view.default", "aten.reshape.default", "aten.unsqueeze.default", "aten._unsafe_view.default"}
_CASTS = {"aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten._to_copy.default"}


def averages_over_views(
    captured: CapturedModel,
    inputs: tuple[TensorRepresentation, ...],
    outputs: tuple[TensorRepresentation, ...],
    swapped_states: Mapping[str, str],
    *,
    input_centers: Sequence[Center] = (),
    output_centers: Sequence[Center] = (),
) -> str | None:
    """None if the graph is proved to commute with T, else the first output that is not, in words.

    swapped_states: state leaf -> the state leaf that T exchanges it with.  input_centers, output_centers: c of
    T x = c + R (x - c), None for 0; empty where all are.
    """
    table = _Expressions()
    plain = _Reading(captured, table, {})
    centers = input_centers or [None] * len(inputs)
    turned = _Reading(
        captured, table, dict(zip(captured.inputs, zip(inputs, centers, strict=True), strict=True)), swapped_states
    )
    ways = zip(outputs, output_centers or [None] * len(outputs), strict=True)
    for place, (name, turn) in enumerate(zip(captured.outputs, ways, strict=True)):
        if name is not None and plain.turned(plain.value(name), turn) != turned.value(name):
            return f"output {place}"
    for leaf, name in captured.mutations.items():
        partner = swapped_states.get(leaf, leaf)
        if captured.mutations.get(partner) is None or plain.value(captured.mutations[partner]) != turned.value(name):
            return f"state {captured.leaves[leaf].names[0]}"
    return None


class _Expressions:
    """Every expression once, by number, so that equal ones compare at once however large they are."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[Any, ...], int] = {}
        self.all: list[tuple[Any, ...]] = []
        self.arrays: dict[int, Array] = {}  # constants, by the number of their expression

    def number(self, *expression: Any) -> int:
        if expression not in self.numbers:
            self.numbers[expression] = len(self.all)
            self.all.append(expression)
        return self.numbers[expression]

    def constant(self, array: Array) -> list[Term]:
        """A constant as a term, with one entry along every axis where it does not change; none if it is 0."""
        for place in range(array.ndim):
            first = array.take([0], place)
            array = first if array.shape[place] > 1 and (array == first).all() else array
        if not array.any():
            return []
        array = array + 0.0  # no negative zeros
        number = self.number("constant", array.shape, array.tobytes())
        self.arrays[number] = array
        return [(IDENTITY, number, 1.0)]

    def collect(self, terms: Sequence[Term]) -> Combination:
        """Equal terms added up, all constants to one, in an order that does not depend on how they were written."""
        constants = [factor * self.arrays[number] for _, number, factor in terms if number in self.arrays]
        total: dict[tuple[Action, int], float] = {}
        for action, number, factor in terms:
            if number not in self.arrays:
                total[action, number] = total.get((action, number), 0.0) + factor
        items = [(action, number, factor) for (action, number), factor in total.items() if factor != 0.0]
        if constants:
            items += self.constant(np.asarray(sum(constants[1:], constants[0])))
        return tuple(sorted(items))

    def scale(self, value: Combination, factor: float) -> Combination:
        """A combination times a number."""
        return self.collect([(action, number, factor * own) for action, number, own in value])


class _Reading:
    """The values of a graph as combinations, with the inputs replaced by what the mirror makes of them."""

    def __init__(
        self,
        captured: CapturedModel,
        table: _Expressions,
        mirrored: Mapping[str, Turn],
        swapped: Mapping[str, str] | None = None,
    ) -> None:
        self.table = table
        self.leaves = captured.leaves
        self.shapes = {leaf.name: leaf.shape for leaf in captured.leaves.values()} | {
            node.name: node.shapes[0] for node in captured.nodes
        }
        self.values: dict[str, tuple[Combination, ...]] = {}
        self.constants = {
            leaf.name: leaf.tensor for leaf in captured.leaves.values() if leaf.kind in ("constant", "statistic")
        }
        self.dtype = _precision(captured)
        for leaf in captured.leaves.values():
            name = (swapped or {}).get(leaf.name, leaf.name)
            held = leaf.kind in ("input", "state")
            number = table.number("leaf", name) if held else table.number("held", *_contents(leaf.tensor))
            value: Combination = ((IDENTITY, number, 1.0),)
            turn = mirrored.get(leaf.name)
            self.values[leaf.name] = (value if turn is None else self.turned(value, turn, leaf.tensor.dtype),)
        for node in captured.nodes:
            self.values[node.name] = self._read(node)

    def value(self, name: str) -> Combination:
        return self.values[name][0]

    def turned(self, value: Combination, turn: Turn, dtype: torch.dtype | None = None) -> Combination:
        """T of a value, its constant in the precision that the graph computes in."""
        rep, center = turn
        out = self.table.scale(self.apply(_action(rep), value), float(rep.sign))
        if center is None:
            return out
        added = torch.from_numpy(shift(rep, center)).to(dtype or self.dtype).double().numpy()
        return self.table.collect([*out, *self.table.constant(added)])

    def _read(self, node: Node) -> tuple[Combination, ...]:
        arguments = node.arguments
        if node.target == "getitem":
            return (self.values[arguments["value"].name][arguments["index"]],)
        known = self._understood(node)
        if known is not None:
            return known
        if node.draws_numbers:
            return tuple(self._opaque(node.target, node.name, place) for place in range(len(node.shapes)))
        key = (node.target, *((name, self._plain(value)) for name, value in sorted(arguments.items())))
        return tuple(self._opaque(*key, place) for place in range(len(node.shapes)))

    def _opaque(self, *expression: Any) -> Combination:
        return ((IDENTITY, self.table.number(*expression), 1.0),)

    def _plain(self, value: Any) -> Any:
        """An argument as a hashable value."""
        if isinstance(value, Ref):
            return self.value(value.name)
        if isinstance(value, (list, tuple)):
            return tuple(self._plain(item) for item in value)
        return value if isinstance(value, (int, float, bool, str, type(None))) else repr(value)

    def _understood(self, node: Node) -> tuple[Combination, ...] | None:
        arguments, target = node.arguments, node.target
        if target in _TRANSPARENT:
            return (self.value(arguments["self"].name),)
        if target in ("aten.index_select.default", "aten.index.Tensor"):
            return self._picked(node)
        if target in _VIEWS and (constant := self._constant(arguments["self"])) is not None:
            self.constants[node.name] = constant.reshape(node.shapes[0] or ())
            return None
        if target in ("aten.permute.default", "aten.transpose.int"):
            return self._permuted(node)
        if target == "aten.flip.default":
            return (self._flipped(node),)
        if target == "aten.select.int":
            return self._selected(node)
        if target == "aten.stack.default":
            return self._stacked(node)
        if target in _CASTS:
            return (self._cast(node),)
        if target == "aten.neg.default":
            return (self.table.scale(self.value(arguments["self"].name), -1.0),)
        if target == "aten.mul.Tensor":
            return self._product(node)
        if target == "aten.div.Tensor" and isinstance(arguments["other"], (int, float)) and arguments["other"]:
            return (self.table.scale(self.value(arguments["self"].name), 1.0 / arguments["other"]),)
        if target == "aten.add.Tensor" and isinstance(arguments["other"], Ref) and arguments.get("alpha", 1) == 1:
            return self._sum(node)
        if target in ("aten.chunk.default", "aten.split.Tensor", "aten.split_with_sizes.default"):
            return self._parts(node)
        if target == "aten.slice.Tensor" and arguments.get("step", 1) == 1:
            return self._parts(node)
        if target == "aten.cat.default":
            return (self._concatenation(node),)
        if target == "aten.slice_scatter.default" and self.shapes[arguments["src"].name] == node.shapes[0]:
            return (self.value(arguments["src"].name),)
        return None

    def _cast(self, node: Node) -> Combination:
        """To another type, on whatever device; twice is once. (Export has the second view cast what the first cast.)"""
        value, dtype = self.value(node.arguments["self"].name), node.arguments.get("dtype")
        if dtype is None:
            return value
        wanted = ("cast", repr(dtype))
        if len(value) == 1 and value[0][::2] == (IDENTITY, 1.0) and self.table.all[value[0][1]][:2] == wanted:
            return value
        return self._opaque(*wanted, value)

    def _constant(self, value: Any) -> torch.Tensor | None:
        return self.constants.get(value.name) if isinstance(value, Ref) else None

    def _picked(self, node: Node) -> tuple[Combination, ...] | None:
        """Entries that a constant list names along one axis."""
        shape = self.shapes[node.arguments["self"].name] or ()
        if node.target == "aten.index.Tensor":
            given = [(dim, own) for dim, own in enumerate(node.arguments["indices"]) if own is not None]
            dim, index = given[0] if len(given) == 1 else (0, None)
        else:
            dim, index = node.arguments["dim"] % max(len(shape), 1), node.arguments["index"]
        entries = self._constant(index)
        if entries is None or entries.ndim != 1 or entries.dtype not in (torch.int64, torch.int32) or not shape:
            return None
        return (self._gather(node, dim, entries.cpu().numpy() % shape[dim]),)

    def _permuted(self, node: Node) -> tuple[Combination, ...] | None:
        """Axes in another order: an action moves along with its axis, and the way back is no change."""
        count, arguments = len(node.shapes[0] or ()), node.arguments
        dims = list(range(count))
        if node.target == "aten.permute.default":
            dims = [dim % count for dim in arguments["dims"]]
        elif count:
            first, second = arguments["dim0"] % count, arguments["dim1"] % count
            dims[first], dims[second] = second, first
        out: list[Term] = []
        for action, number, factor in self.value(arguments["self"].name):
            if number in self.table.arrays:
                if self.table.arrays[number].ndim != count:
                    return None
                out += self.table.constant(factor * self.table.arrays[number].transpose(dims))
                continue
            inner, before = number, dims
            if self.table.all[number][0] == "permuted":
                _, earlier, inner = self.table.all[number]
                before = [earlier[dim] for dim in dims]
            same = before == list(range(count))
            moved = _normal([(dims.index(place), source, sign) for place, source, sign in action])
            out.append((moved, inner if same else self.table.number("permuted", tuple(before), inner), factor))
        return (self.table.collect(out),)

    def _flipped(self, node: Node) -> Combination:
        shape = list[int](self.shapes[node.arguments["self"].name] or ())
        dims = {dim % len(shape) for dim in node.arguments["dims"]}
        action = [(dim, tuple(reversed(range(shape[dim]))), (1,) * shape[dim]) for dim in dims]
        return self.apply(_normal(action), self.value(node.arguments["self"].name))

    def _selected(self, node: Node) -> tuple[Combination, ...] | None:
        """One entry of an axis, which the action may have brought there from another place."""
        shape = self.shapes[node.arguments["self"].name] or ()
        dim = node.arguments["dim"] % len(shape)
        entry = node.arguments["index"] % shape[dim]
        out: list[Term] = []
        for action, number, factor in self.value(node.arguments["self"].name):
            if number in self.table.arrays:
                return None
            source, sign = next(((own[1][entry], own[2][entry]) for own in action if own[0] == dim), (entry, 1))
            rest = [(place - (place > dim), *other) for place, *other in action if place != dim]
            out.append((_normal(rest), self.table.number("selected", dim, source, shape[dim], number), sign * factor))  # type: ignore[arg-type]
        return (self.table.collect(out),)

    def _stacked(self, node: Node) -> tuple[Combination, ...] | None:
        """All entries of one axis of a value, taken apart, with signs, and put together in another order."""
        parts = [self.value(ref.name) for ref in node.arguments["tensors"]]
        dim = node.arguments.get("dim", 0) % len(node.shapes[0] or (1,))
        if any(len(part) != 1 for part in parts):
            return None
        (first_rest, first, size), *_ = [(part[0][0], part[0][1], abs(part[0][2])) for part in parts]
        expression = self.table.all[first]
        if expression[0] != "selected" or expression[1] != dim or expression[3] != len(parts):
            return None
        entries, signs = [], []
        for ((rest, number, factor),) in parts:
            own = self.table.all[number]
            if own[:2] != expression[:2] or own[3:] != expression[3:] or rest != first_rest or abs(factor) != size:
                return None
            entries.append(own[2])
            signs.append(1 if factor > 0 else -1)
        if sorted(entries) != list(range(len(parts))):
            return None
        lifted = [(place + (place >= dim), source, sign) for place, source, sign in first_rest]
        action = _normal([*lifted, (dim, tuple(entries), tuple(signs))])
        return (self.table.collect([(action, expression[4], size)]),)

    def _gather(self, node: Node, dim: int, entries: IntArray) -> Combination:
        source = node.arguments["self"].name
        value, size = self.value(source), (self.shapes[source] or (1,))[dim]
        if sorted(entries.tolist()) != list(range(size)):
            return self._opaque(node.target, dim, tuple(entries.tolist()), value)
        return self.apply(((dim, tuple(entries.tolist()), (1,) * len(entries)),), value)

    def _product(self, node: Node) -> tuple[Combination, ...] | None:
        """By a number, or by a constant of signs along one axis."""
        first, second = node.arguments["self"], node.arguments["other"]
        if isinstance(second, (int, float)):
            return (self.table.scale(self.value(first.name), float(second)),)
        constant = self._constant(second)
        if constant is None or self.shapes[first.name] != node.shapes[0]:
            return None
        array = constant.detach().cpu().double().numpy()
        if array.size == 1:
            return (self.table.scale(self.value(first.name), float(array.reshape(()))),)
        lead = len(node.shapes[0] or ()) - array.ndim
        filled = [lead + place for place, size in enumerate(array.shape) if size != 1]
        if len(filled) != 1 or not np.isin(array, (-1.0, 1.0)).all():
            return None
        signs = array.reshape(-1).astype(int)
        action: Action = ((filled[0], tuple(range(len(signs))), tuple(int(sign) for sign in signs)),)
        return (self.apply(action, self.value(first.name)),)

    def _sum(self, node: Node) -> tuple[Combination, ...] | None:
        names = [node.arguments[name].name for name in ("self", "other")]
        terms = []
        for name in names:
            constant = self._constant(Ref(name)) if self.shapes[name] != node.shapes[0] else None
            if constant is not None and constant.is_floating_point():
                array = constant.detach().cpu().double().numpy()
                lead = (1,) * (len(node.shapes[0] or ()) - array.ndim)
                terms += self.table.constant(array.reshape(lead + array.shape))
            elif self.shapes[name] != node.shapes[0]:
                return None
            else:
                terms += self._spelled_out(name)
        return (self.table.collect(terms),)

    def _spelled_out(self, name: str) -> Sequence[Term]:
        """A value; a constant of the value's own shape by what it holds, as T adds it."""
        constant = self._constant(Ref(name))
        if constant is None or not constant.is_floating_point():
            return self.value(name)
        return self.table.constant(constant.detach().cpu().double().numpy())

    def _parts(self, node: Node) -> tuple[Combination, ...] | None:
        """Runs of one axis: of the value itself, whatever was permuted before."""
        source = node.arguments["self"].name
        dim = node.arguments.get("dim", 0) % len(self.shapes[source] or (1,))
        size = (self.shapes[source] or (1,))[dim]
        if node.target == "aten.slice.Tensor":
            runs = [range(size)[slice(node.arguments.get("start"), node.arguments.get("end"))]]
        else:
            widths = [(shape or (1,))[dim] for shape in node.shapes]
            ends = np.cumsum(widths).tolist()
            runs = [range(end - width, end) for end, width in zip(ends, widths, strict=True)]
        value = self.value(source)
        found = [value if len(run) == size else self._run(value, dim, run) for run in runs]
        return None if None in found else tuple(part for part in found if part is not None)

    def _concatenation(self, node: Node) -> Combination:
        parts = [ref.name for ref in node.arguments["tensors"]]
        dim = node.arguments.get("dim", 0) % len(node.shapes[0] or (1,))
        sizes = tuple((self.shapes[name] or (1,))[dim] for name in parts)
        return self._opaque("cat", dim, sizes, tuple(self.value(name) for name in parts))

    def apply(self, action: Action, value: Combination) -> Combination:
        """An action on every term of a combination."""
        if not action:
            return value
        out: list[Term] = []
        for inner, number, factor in value:
            if number in self.table.arrays:
                out += self.table.constant(_acted(action, factor * self.table.arrays[number]))
            else:
                out.append((*self._inside(_compose(action, inner), number), factor))
        return self.table.collect(out)

    def _inside(self, action: Action, number: int) -> tuple[Action, int]:
        """An action that only exchanges the parts of a concatenation is carried out on the list of parts."""
        expression = self.table.all[number]
        own = next((axis for axis in action if expression[0] == "cat" and axis[0] == expression[1]), None)
        if own is None:
            return action, number
        _, dim, sizes, parts = expression
        width, starts = sizes[0], own[1][:: sizes[0]]
        whole = own[1] == tuple(start + step for start in starts for step in range(width))
        if len(set(sizes)) != 1 or not whole or any(sign < 0 for sign in own[2]) or any(s % width for s in starts):
            return action, number
        reordered = tuple(parts[start // width] for start in starts)
        rest = tuple(axis for axis in action if axis[0] != dim)
        return rest, self.table.number("cat", dim, sizes, reordered)

    def _run(self, value: Combination, dim: int, run: range) -> Combination | None:
        """A run of entries of every term, None where a permutation takes it apart."""
        out: list[Term] = []
        for action, number, factor in value:
            if number in self.table.arrays:
                array = factor * self.table.arrays[number]
                out += self.table.constant(array if array.shape[dim] == 1 else array.take(list(run), dim))
                continue
            own = next((axis for axis in action if axis[0] == dim), None)
            source = [own[1][i] for i in run] if own else list(run)
            sign = [own[2][i] for i in run] if own else [1] * len(run)
            if not source or source != list(range(source[0], source[0] + len(source))):
                return None
            kept = [axis for axis in action if axis[0] != dim] + [(dim, tuple(range(len(run))), tuple(sign))]
            out.append((_normal(kept), self.table.number("run", dim, source[0], len(source), number), factor))
        return self.table.collect(out)


# ---- arithmetic of combinations -----------------------------------------------------------------------------------
def _contents(tensor: torch.Tensor) -> tuple[Any, ...]:
    """A tensor by what it holds."""
    return str(tensor.dtype), tuple(tensor.shape), hashlib.blake2b(raw_bytes(tensor)).hexdigest()


def _action(rep: TensorRepresentation) -> Action:
    axes = [
        (place, tuple(axis.action.partner.tolist()), tuple(axis.action.sign.tolist()))
        for place, axis in enumerate(rep.axes)
        if not axis.is_trivial
    ]
    return _normal(axes)


def _normal(axes: list[AxisAction]) -> Action:
    kept = [axis for axis in axes if axis[1] != tuple(range(len(axis[1]))) or any(sign < 0 for sign in axis[2])]
    return tuple(sorted(kept))


def _compose(outer: Action, inner: Action) -> Action:
    """outer after inner, axis by axis."""
    found = {axis[0]: axis for axis in inner}
    for place, source, sign in outer:
        if place in found:
            _, before, before_sign = found[place]
            entries = tuple(before[i] for i in source)
            found[place] = (place, entries, tuple(s * before_sign[i] for s, i in zip(sign, source, strict=True)))
        else:
            found[place] = (place, source, sign)
    return _normal(list(found.values()))


def _acted(action: Action, array: Array) -> Array:
    """An action on a constant."""
    for place, source, sign in action:
        if array.shape[place] == 1:
            array = np.repeat(array, len(source), place)
        shape = [-1 if other == place else 1 for other in range(array.ndim)]
        array = array.take(source, place) * np.array(sign, dtype=np.float64).reshape(shape)
    return array


def _precision(captured: CapturedModel) -> torch.dtype:
    """What a network computes in: the dtype of its first weight, else of its first input."""
    leaves = [leaf for leaf in captured.leaves.values() if leaf.tensor.is_floating_point()]
    found = next((leaf for leaf in leaves if leaf.is_weight), next(iter(leaves), None))
    return torch.float32 if found is None else found.tensor.dtype
