"""What a network holds for other sizes than those of the examples, where a size is open.

    table = zeros(64, 5, 2);  table[40, 1, 0] = 2          # tells left from right in frame 40
    forward(x): linear(x) + table[: x.shape[1]]            # x: "b t j d", 4 frames in the examples

The examples read four frames of the table, all zero, and at their sizes the network is equivariant. So every constant
that an open size reaches is computed a second time, at the largest size that the program takes (64 here). Where the
entries of the examples stand at the front of it, the graph gets all of it, cut to the examples' size by a `slice`, and
an entry in `CapturedModel.left_alone`: rules then see the whole table, and no entry that is merely not read. That is
so for any way in which it was cut or computed. Whether entries stand at the front is asked with random numbers in place
of all that is stored, so that no two entries agree by chance, as zeros do. What looks otherwise at another size
(`table[n - 4]`, `arange(n) / n`) cannot be proved for all: the axis has to be closed.

Numbers that come from an open size may list sizes, or say where an axis is cut: one that is open itself, or else one
that the mirror leaves alone whole. As factors and summands they may not change their sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from chiralize.errors import CaptureError
from chiralize.errors.words import first_line
from chiralize.graph.execution import arguments_of, evaluated, number_of, target_of, where_of
from chiralize.graph.model import CapturedModel, Leaf, Node, Ref, Where

_FORMULA = 512
"""Entries to which a constant that a formula makes (`arange(n)`) is computed where the program takes any size: more
than the clips that lifters take (27 to 351 frames)."""
_LARGEST = 8192
"""Entries beyond which no table is looked at whole: masks of that many rows and columns take 64 MB."""
_ROUNDING = 1e-6
"""Share of the largest entry by which a formula may round otherwise at another size (vectorised kernels)."""
_LISTS_OF_SIZES = frozenset({"size", "shape", "sizes", "output_size"})
_LINEAR = frozenset("add sub rsub mul div masked_fill full_like new_full fill true_divide".split())
"""Ops for which the size of a number makes no difference to the mirror, only whether it is negative or 0."""
_UNKNOWN = object()


class OpenSizeError(CaptureError, code="CH306"):
    """A size has to be closed: what the network computes of it can be looked at for the examples' size alone."""


def whole(
    captured: CapturedModel,
    program: ExportedProgram,
    values: Mapping[str, Any],
    aliases: Mapping[str, str],
    stored: Sequence[Leaf],
) -> CapturedModel:
    """The graph with every constant that an open size reaches whole.

    captured: the graph at the sizes of the examples.  values: of leaves, constants and numbers of the program.
    aliases: by value, the leaf that it is.  stored: the constants that the module holds.  Raises OpenSizeError.
    """
    homes = {_memory(leaf.tensor): leaf for leaf in stored if leaf.tensor.numel()}
    unmoved: dict[str, frozenset[int]] = {}
    for symbol, sizes in _open_symbols(program).items():
        wide = _at_largest(program, values, symbol, sizes)
        for node in program.graph.nodes:
            if node.name in captured.by_name:
                _check_numbers(node, wide.values, values, aliases, unmoved)
        captured = _with_wholes(captured, wide, homes)
    return replace(captured, left_alone={**captured.left_alone, **unmoved})


@dataclass(frozen=True)
class _Wide:
    """Constants and numbers that an open size reaches, at its largest.

    drawn: constants made of random numbers in the place of stored ones, at the examples' size and at the largest.
    formulas: the names of those that nothing stored goes into.
    """

    values: Mapping[str, Any]
    drawn: Mapping[str, tuple[Any, Any]]
    formulas: frozenset[str]


def _open_symbols(program: ExportedProgram) -> dict[str, list[int]]:
    """The open sizes of the inputs as torch calls them (`s77`), each with sizes to try, the largest first.

    Without an upper bound the sizes of stored tensors are tried as well: a table that is read by `arange(n)` has to be
    read to its end, and fails beyond it.
    """
    symbols: dict[str, list[int]] = {}
    stored = [*program.state_dict.values(), *program.constants.values()]
    lengths = {size for tensor in stored if isinstance(tensor, Tensor) for size in tensor.shape}
    bounds = {str(symbol): values.upper for symbol, values in program.range_constraints.items()}
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and isinstance(value, Tensor):
            for symbol in (str(size) for size in value.shape if number_of(size) is None):
                bound = str(bounds.get(symbol, "int_oo"))
                if bound.isdecimal():
                    symbols[symbol] = [int(bound)]
                else:
                    symbols[symbol] = sorted({_FORMULA, *(size for size in lengths if size > 1)}, reverse=True)
    return symbols


def _at_largest(program: ExportedProgram, values: Mapping[str, Any], symbol: str, sizes: Sequence[int]) -> _Wide:
    """What an open size reaches, at the first of these sizes at which all of it can be computed."""
    drawn = _drawn(program, values)
    formulas = frozenset(name for name, value in values.items() if drawn[name] is value)
    reason = ""
    for size in sizes:
        if size > _LARGEST:
            continue
        try:
            wide = _computed(program, values, symbol, size)
            others = _computed(program, drawn, symbol, size)
            return _Wide(wide, {name: (drawn[name], others[name]) for name in wide}, formulas)
        except (IndexError, RuntimeError, ValueError) as error:
            reason = f": {first_line(error)}"
    facts = f"what it computes from the open size {symbol} cannot be computed at {sizes[0]}{reason}"
    raise OpenSizeError("the program", facts, "export it with this size fixed")


def _drawn(program: ExportedProgram, values: Mapping[str, Any]) -> dict[str, Any]:
    """Constants made of random numbers in the place of stored ones; what nothing stored goes into is the same object.

    Whole numbers stay between the smallest and the largest of their tensor, since they may be positions.
    """
    drawn: dict[str, Any] = {}
    generator = torch.Generator().manual_seed(0)
    for node in program.graph.nodes:
        value = values.get(node.name)
        if node.op == "placeholder" and isinstance(value, Tensor) and value.numel():
            if value.is_floating_point() or value.is_complex():
                drawn[node.name] = torch.randn(value.shape, generator=generator).to(value)
            else:
                low, high = int(value.min()), int(value.max())
                drawn[node.name] = torch.randint(low, high + 1, value.shape, generator=generator).to(value)
        elif any(operand.name in drawn for operand in node.all_input_nodes) and isinstance(
            value, (Tensor, list, tuple)
        ):
            drawn[node.name] = evaluated(node, lambda other: drawn.get(other.name, values.get(other.name)))
    return {**values, **drawn}


def _computed(program: ExportedProgram, values: Mapping[str, Any], symbol: str, size: int) -> dict[str, Any]:
    """Constants and numbers where one open size is `size`: those that it reaches, `_UNKNOWN` for what nobody knows."""
    wide: dict[str, Any] = {}

    def value_of(node: torch.fx.Node) -> Any:
        """At `size` where the open size reaches it."""
        return wide.get(node.name, values.get(node.name, _UNKNOWN))

    for node in program.graph.nodes:
        if node.op != "call_function" or node.name not in values:
            continue
        operands = [value_of(operand) for operand in node.all_input_nodes]
        reads_tensor = any(isinstance(operand.meta.get("val"), Tensor) for operand in node.all_input_nodes)
        if reads_tensor and isinstance(values[node.name], (int, float)):
            # A size of a tensor.
            text = str(node.meta.get("val"))
            if text == symbol:
                wide[node.name] = size
            elif symbol in re.findall(r"\w+", text):
                wide[node.name] = _UNKNOWN
        elif any(operand.name in wide for operand in node.all_input_nodes):
            unknown = any(operand is _UNKNOWN for operand in operands)
            wide[node.name] = _UNKNOWN if unknown else evaluated(node, value_of)
    return wide


# ---- constants ------------------------------------------------------------------------------------------------
def _with_wholes(captured: CapturedModel, wide: _Wide, homes: Mapping[Any, Leaf]) -> CapturedModel:
    """The graph with the constants that one open size reaches whole, each behind slices to the examples' size.

    homes: stored constants by where they lie in memory. What is one of them whole is that leaf.
    """
    leaves, unmoved = dict(captured.leaves), dict(captured.left_alone)
    slices: list[Node] = []
    cut: dict[str, str] = {}
    for leaf in captured.leaves.values():
        if leaf.name not in wide.values or _is_alike(leaf, wide, captured):
            continue
        if wide.values[leaf.name] is _UNKNOWN or leaf.name in captured.left_alone:
            raise _error(leaf.where, "what it computes from an open size cannot be computed for others")
        value, axes = _whole(leaf, wide)
        if axes:
            home = replace(homes.get(_memory(value), replace(leaf, tensor=value)), where=leaf.where)
            del leaves[leaf.name]
            leaves[home.name] = home
            unmoved[home.name] = unmoved.get(home.name, frozenset()) | frozenset(axes)
            new = list(_slices(home, leaf, axes))
            slices, cut[leaf.name] = [*slices, *new], new[-1].name
    if not slices:
        return captured
    nodes = (*slices, *(_reading(node, cut) for node in captured.nodes))
    outputs = tuple(cut.get(name, name) if name else None for name in captured.outputs)
    mutations = {state: cut.get(name, name) for state, name in captured.mutations.items()}
    changed = replace(captured, leaves=leaves, nodes=nodes, outputs=outputs, mutations=mutations)
    return replace(changed, left_alone=unmoved)


def _whole(leaf: Leaf, wide: _Wide) -> tuple[Tensor, list[int]]:
    """A constant at the largest size, and the axes along which the examples have only its first entries."""
    value, (drawn, other) = wide.values[leaf.name], wide.drawn[leaf.name]
    axes = [axis for axis, size in enumerate(leaf.shape) if value.shape[axis] != size]
    for axis in axes:
        if value.shape[axis] < leaf.shape[axis]:
            raise _error(leaf.where, "a constant is shorter where a size is larger")
    if not _agree(_narrowed(other, leaf.shape, axes), drawn):
        raise _error(leaf.where, "a constant has other numbers in the same places where a size is another one")
    # Along an axis that only repeats them, as `zeros(n, 3)` does, the entries of the examples are enough.
    repeating = [axis for axis in axes if _is_repeated(other, axis) and _is_repeated(value, axis)]
    return _narrowed(value, leaf.shape, repeating), [axis for axis in axes if axis not in repeating]


def _is_alike(leaf: Leaf, wide: _Wide, captured: CapturedModel) -> bool:
    """Whether a constant is the same at both sizes, as far as rules can tell: numbers, or one number of one sign."""
    value, (drawn, other) = wide.values[leaf.name], wide.drawn[leaf.name]
    if value is _UNKNOWN or other is _UNKNOWN:
        return False
    if _agree(other, drawn):
        return True
    if leaf.name not in wide.formulas or not all(map(_is_one_number, (leaf.tensor, value))):
        return False
    first, second = leaf.tensor.reshape(-1)[0], value.reshape(-1)[0]
    is_linear = all(_is_linear(reader.target) for reader in captured.readers(leaf.name))
    return bool(first == second) or (is_linear and bool(first.sign() == second.sign()))


def _is_one_number(tensor: Tensor) -> bool:
    return tensor.numel() > 0 and bool((tensor == tensor.reshape(-1)[0]).all())


def _is_repeated(tensor: Tensor, axis: int) -> bool:
    return bool((tensor == tensor.narrow(axis, 0, 1)).all())


def _narrowed(tensor: Tensor, shape: Sequence[int], axes: Sequence[int]) -> Tensor:
    for axis in axes:
        tensor = tensor.narrow(axis, 0, shape[axis])
    return tensor


def _agree(first: Tensor, second: Tensor) -> bool:
    """Whether two constants are equal up to the rounding of kernels of other sizes."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if not first.is_floating_point() or not first.numel():
        return torch.equal(first, second)
    finite = second[second.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(first, second, rtol=0, atol=_ROUNDING * scale, equal_nan=True)


def _memory(tensor: Tensor) -> tuple[Any, ...]:
    """Where in memory a tensor lies, and how: equal for two tensors that are the same numbers."""
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def _slices(home: Leaf, leaf: Leaf, axes: Sequence[int]) -> Iterator[Node]:
    """Nodes that cut a constant to the shape of a leaf, one for each axis. home: the constant, whole."""
    source, shape, dtype = home.name, list(home.shape), leaf.tensor.dtype
    for axis in axes:
        shape[axis] = leaf.shape[axis]
        arguments = {"self": Ref(source), "dim": axis, "start": 0, "end": shape[axis], "step": 1}
        name = f"{leaf.name}_cut_{axis}"
        yield Node(name, "aten.slice.Tensor", arguments, (tuple(shape),), frozenset({0}), leaf.where, (dtype,))
        source = name


def _reading(node: Node, cut: Mapping[str, str]) -> Node:
    def renamed(argument: Any) -> Any:
        """The argument with what takes the place of constants."""
        if isinstance(argument, Ref):
            return Ref(cut.get(argument.name, argument.name))
        return [renamed(entry) for entry in argument] if isinstance(argument, (list, tuple)) else argument

    if cut.keys().isdisjoint(node.names_read):
        return node
    return replace(node, arguments={name: renamed(argument) for name, argument in node.arguments.items()})


# ---- numbers --------------------------------------------------------------------------------------------------
def _check_numbers(
    node: torch.fx.Node,
    wide: Mapping[str, Any],
    values: Mapping[str, Any],
    aliases: Mapping[str, str],
    unmoved: dict[str, frozenset[int]],
) -> None:
    """Note in `unmoved` which axes the mirror has to leave alone, since a number of an open size cuts them.

    Raises OpenSizeError where such a number may decide something else.
    """
    if not isinstance(node.target, torch._ops.OpOverload):
        return
    given = arguments_of(node)
    for name, argument in given.items():
        entries = argument if isinstance(argument, (list, tuple)) else [argument]
        numbers = [entry.name for entry in entries if _is_open_number(entry, wide, values)]
        if not numbers or name in _LISTS_OF_SIZES:
            continue
        axis = given.get("dim", 0 if "dim" in (each.name for each in node.target._schema.arguments) else None)
        if isinstance(axis, int):
            _leave_alone(node.args[0], axis, aliases, unmoved)
        elif not _is_linear(target_of(node)) or any(_sign(wide[each]) != _sign(values[each]) for each in numbers):
            raise _error(where_of(node), f"{target_of(node)} takes a number that comes from an open size")


def _is_open_number(entry: Any, wide: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    return isinstance(entry, torch.fx.Node) and entry.name in wide and isinstance(values.get(entry.name), (int, float))


def _leave_alone(source: Any, axis: int, aliases: Mapping[str, str], unmoved: dict[str, frozenset[int]]) -> None:
    """Note that an axis of fixed size is to be left alone, since an open size says where it is cut."""
    value = source.meta.get("val") if isinstance(source, torch.fx.Node) else None
    if isinstance(value, Tensor) and number_of(value.shape[axis]) is not None:
        name = aliases.get(source.name, source.name)
        unmoved[name] = unmoved.get(name, frozenset()) | {axis % value.ndim}


def _is_linear(target: str) -> bool:
    return target.split(".")[1:2] != [] and target.split(".")[1] in _LINEAR


def _sign(number: Any) -> int | None:
    """Whether a number is positive, negative or 0; None where it is not known."""
    return None if number is _UNKNOWN else (number > 0) - (number < 0)


def _error(where: Where, facts: str) -> OpenSizeError:
    return OpenSizeError(str(where), facts, "export it with this size fixed")
