"""An ONNX model held against the network that it was made of: onnxruntime beside torch, on several inputs and sizes.

Called before any ONNX file is written (`onnx_export`), since exporters are known to write files that compute something
else.  In: the model in a session, calls of the network, and the network itself.  Out: a `Parity`, or ParityError.

The measure is max |onnxruntime - torch| / max |torch| of each output, at most 1e-5 in float32 (`parity.PARITY`).  Where
the file leaves a size open (`b` of "b 17 2"), calls with 1, 2, 3 and 5 entries on that axis are compared as well: an
exporter may have written the example's size into the middle of the graph, and then only that one works.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.errors import ExportError, ParityError
from chiralize.graph.running import Call, results
from chiralize.storage.onnx_network import OnnxNetwork, runtime_message
from chiralize.storage.parity import PARITY, moved_by_rounding, share_apart, widened

INSTEAD = "write a .pt2, or run the ONNX exporter yourself and verify its file with --skeleton"
_SIZES = (1, 2, 3, 5)
"""Sizes that are tried on every open axis."""


@dataclass(frozen=True)
class Parity:
    """How near onnxruntime comes to torch: the largest difference in units of the output's scale, and its bound.

    calls: inputs tried.  sizes: names of open sizes and the values that were tried for them.
    """

    worst: float
    bound: float
    calls: int
    sizes: Mapping[str, tuple[int, ...]]


def compare(
    network: OnnxNetwork,
    calls: Sequence[Call],
    reference: Callable[..., Any],
    program: ExportedProgram | None,
    path: Path,
    everywhere: bool = False,
) -> Parity:
    """onnxruntime against torch on the calls, and on other sizes where they are open. Raises ParityError.

    calls: the example first; none is changed.  reference: the network in torch.
    program: that the model was exported from; None for one whose inputs are the tensors of a call in their order.
    everywhere: the file has to take all sizes that the reference takes, other ones than the examples' among them.
    Returns the worst difference over all calls and the largest bound that one of them was allowed.
    """
    comparison = _Comparison(network, reference, program, path)
    worst, bound = 0.0, 0.0
    for call in calls:
        share, allowed = comparison.difference(call)
        worst, bound = max(worst, share), max(bound, allowed)
    # The calls of the examples have one size per axis.  Next: one open size at a time, the others as in the last call.
    module = reference if program is None else program.module()
    sizes: dict[str, tuple[int, ...]] = {}
    for word, axes in _open_axes(network).items():
        for size in _SIZES:
            call = _resized(calls[-1], axes, size)
            # A size that neither the program nor the reference takes has nothing to be compared with.  A size that the
            # program takes has to work in the file.  One that only the reference takes (the exporter fixed it in the
            # program) has to work where `everywhere` says so; else it is compared where the file happens to take it.
            if not _takes(module, call) and not (everywhere and _takes(reference, call) or comparison.both_take(call)):
                continue
            # A standard deviation over one frame is nan in torch, and in onnxruntime whatever it likes.
            if _is_nan(reference, call):
                continue
            share, allowed = comparison.difference(call, f" ({word} = {size})")
            worst, bound = max(worst, share), max(bound, allowed)
            sizes[word] = (*sizes.get(word, ()), size)
        # One size is that of the example: it would not show that the axis is open.
        if everywhere and len(sizes.get(word, ())) < 2:
            raise ParityError(str(path), f"other sizes of {word} cannot be compared", INSTEAD)
    return Parity(worst, bound, len(calls) + sum(map(len, sizes.values())), sizes)


def _open_axes(network: OnnxNetwork) -> dict[str, list[tuple[int, int]]]:
    """Open sizes by name, and the axes that have them: {"b": [(0, 0), (1, 0)]}, as (input, axis)."""
    axes: dict[str, list[tuple[int, int]]] = {}
    for index, port in enumerate(network.inputs):
        for axis, size in enumerate(port.sizes):
            if isinstance(size, str):
                axes.setdefault(size, []).append((index, axis))
    return axes


def _resized(call: Call, axes: Sequence[tuple[int, int]], size: int) -> Call:
    """The call with another size on these axes (input, axis): entries are repeated or left out.

    Entries a b of an axis become a b a at size 3, times the factors 0.7, 1.0, 1.3.
    """
    leaves, structure = pytree.tree_flatten(call)
    # Inputs of the file are counted among the tensors alone: other leaves (None, numbers) are no inputs of it.
    positions = [position for position, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    for index, axis in axes:
        leaf = leaves[positions[index]]
        resized = leaf.index_select(axis, torch.arange(size) % leaf.shape[axis])
        if resized.is_floating_point():  # repeated samples would hide what is mixed up between them
            spread = torch.linspace(0.7, 1.3, size, dtype=torch.float64).to(resized.dtype)
            along_axis = [1] * resized.ndim
            along_axis[axis] = -1
            resized = resized * spread.reshape(along_axis)
        leaves[positions[index]] = resized
    return pytree.tree_unflatten(leaves, structure)


def _takes(network: Callable[..., Any], call: Call) -> bool:
    """Whether a network runs on a call without an error; the call is not changed."""
    args, kwargs = copy.deepcopy(call)  # some networks write into their inputs
    try:
        with torch.no_grad():
            network(*args, **kwargs)
    except Exception:  # noqa: BLE001 - whatever it says, it does not take this size
        return False
    return True


def _is_nan(reference: Callable[..., Any], call: Call) -> bool:
    """Whether an answer of the reference is no number, so that there is nothing to compare with; False if it fails."""
    args, kwargs = copy.deepcopy(call)
    try:
        with torch.no_grad():
            answers, _ = results(reference(*args, **kwargs))
    except Exception:  # noqa: BLE001 - `difference` says what is wrong
        return False
    return any(bool(answer.isnan().any()) for answer in answers)


@dataclass(frozen=True)
class _Comparison:
    """A network in onnxruntime, and the reference with which it has to agree.

    program: it gives the order of the tensors of a call among the file's inputs. path: of the file, for messages.
    """

    network: OnnxNetwork
    reference: Callable[..., Any]
    program: ExportedProgram | None
    path: Path

    def both_take(self, call: Call) -> bool:
        """Whether both can be run on a call."""
        if not _takes(self.reference, call):
            return False
        return _takes(self.network.run, ((tensors_in_order(call, self.program, self.path),), {}))

    def difference(self, call: Call, context: str = "") -> tuple[float, float]:
        """Largest difference in units of the output's scale, and the largest bound of an output.

        Where a bound is passed, what the reference itself enlarges of rounding is measured, and allowed for.
        context: appended to messages.  Raises ParityError for another number, kind or size of outputs, for an output
        that is farther away than its bound, and where onnxruntime fails.
        """
        inputs = tensors_in_order(call, self.program, self.path)
        args, kwargs = copy.deepcopy(call)
        with torch.no_grad():
            expected, _ = results(self.reference(*args, **kwargs))
        try:
            outputs = self.network.run(inputs)
        except Exception as error:  # onnxruntime has many kinds of its own
            raise self._error(f"onnxruntime fails where torch does not{context}: {runtime_message(error)}") from error
        if len(outputs) != len(expected):
            raise self._error(f"{len(outputs)} outputs from onnxruntime, {len(expected)} from torch{context}")
        worst, bound = 0.0, 0.0
        moved = list[float]()  # by how much each output moves when the inputs are rounded; measured once, if at all
        for index, (port, output, wanted) in enumerate(zip(self.network.outputs, outputs, expected, strict=True)):
            wanted = wanted.detach().cpu()
            name, kind, wanted_kind = f"output {port.name!r}", _kind(output), _kind(wanted)
            if kind != wanted_kind:
                raise self._error(f"{name} is {kind}, {wanted_kind} from torch{context}")
            is_of_size_one = port.name in self.network.of_size_one
            # Integers and truth values have no entry in PARITY: they have to be equal.
            allowed, share = PARITY.get(wanted.dtype, 0.0), share_apart(output, wanted, is_of_size_one)
            if not share <= allowed:  # not `share > allowed`: that would let NaN pass
                # Three more runs of the reference: too slow to be done for outputs that pass anyway.
                moved = moved or moved_by_rounding(self.reference, call, expected)
                allowed = widened(allowed, moved[index])
            if not share <= allowed:
                facts = f"onnxruntime is {share:.3g} of the scale of {name} away from torch, bound {allowed:.2g}"
                raise self._error(facts + context)
            worst, bound = max(worst, share), max(bound, allowed)
        return worst, bound or PARITY[torch.float32]

    def _error(self, facts: str) -> ParityError:
        return ParityError(str(self.path), facts, INSTEAD)


def _kind(tensor: torch.Tensor) -> str:
    """Number type and sizes, which have to be equal: `torch.float32 (2, 17, 3)`."""
    return f"{tensor.dtype} {tuple(tensor.shape)}"


def tensors_in_order(call: Call, program: ExportedProgram | None, path: Path) -> tuple[torch.Tensor, ...]:
    """Tensors of a call in the order of the program's inputs. Raises ExportError where the orders differ.

    program: None where the file's inputs are the tensors of a call as they come.  path: of the file, for messages.
    """
    # The in_spec of a program is the pair (args, kwargs); the context of the second child is the list of its names.
    spec = None if program is None else program.call_spec.in_spec
    leaves = pytree.tree_leaves((tuple(call[0]), dict(call[1])))
    if spec is not None and list(call[1]) != list(spec.child(1).context or []):
        facts = f"the examples name {', '.join(call[1])}, the program {', '.join(spec.child(1).context or [])}"
        raise ExportError(str(path), facts, "give the examples in the program's order")
    return tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
