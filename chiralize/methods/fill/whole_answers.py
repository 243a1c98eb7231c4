"""Answers that are whole numbers or truth values, of which an average is taken as well: what it is, and what has none.

    3 and 4, a count        3.5 in float32: the mean of both views
    3 and 4, classes        3.5 as well, which is no class: the scores have to be averaged
    7 and -3, uint8         refused: where T negates an answer, its type has to hold negative numbers
    a mask that is given    returned as it is, with its type, where both views are proved to answer the same

`both_views` asks before it averages; `ruled_out` asks before anything costs time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch

from chiralize.body.tensors import ResolvedTensor
from chiralize.errors import MethodUnavailableError
from chiralize.problem.exporting import answers
from chiralize.problem.network import Network
from chiralize.storage.onnx_joining import refuse_whole_numbers
from chiralize.storage.onnx_network import OnnxNetwork
from chiralize.symmetry.action import Turn
from chiralize.verification.average_ops import OPS
from chiralize.verification.average_reading import Reading
from chiralize.verification.combinations import Expressions

_UNSIGNED = (torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64)


def refuse_unaveraged(network: Network) -> None:
    """Raise MethodUnavailableError where T negates an answer whose type has no negative numbers.

    Raises ExportError for whole numbers in an ONNX file that is not read op by op.
    """
    if isinstance(network.module, OnnxNetwork):
        is_state = [tensor.representation is None for tensor in network.resolved.output_tensors]
        refuse_whole_numbers(network.module.model, is_state, network.module.where)
        return
    for tensor, kind in _whole(network):
        representation = tensor.representation
        if representation is None or representation.is_sign_free or kind not in _UNSIGNED:
            continue
        facts = f"it holds {_name(kind)}, which has no negative numbers, and T negates some of it: it has no average"
        remedy = "say that T negates none of it (negate: []), or let the network return numbers that may be negative"
        raise MethodUnavailableError(tensor.where, facts, remedy)


def handed_through(network: Network) -> tuple[int, ...]:
    """The positions of answers that are whole numbers or truth values, and of which f(T x) is T f(x) for every x.

    A mask, an index or a length that the network was given, or reads off inputs that T leaves as they are: both views
    answer the same, and their average would only have another type. Read off the graph as the proof of averages is;
    states, of which each view has its own, are other values in the other view.
    """
    captured = network.captured
    whole = {tensor.index for tensor, _ in _whole(network)} if captured is not None else set[int]()
    if captured is None or not whole:
        return ()
    resolved, table = network.resolved, Expressions()
    turns, states = dict[str, Turn](), {name: f"{name} of the other view" for name in captured.mutations}
    for name, tensor in zip(captured.inputs, resolved.input_tensors, strict=True):
        if tensor.representation is None:
            states[name] = f"{name} of the other view"
        else:
            turns[name] = tensor.representation, tensor.center
    plain, turned = Reading(captured, table, OPS, {}), Reading(captured, table, OPS, turns, states)
    same = list[int]()
    for name, tensor in zip(captured.outputs, resolved.output_tensors, strict=True):
        if name is None or tensor.index not in whole or tensor.representation is None:
            continue
        turn = tensor.representation, tensor.center
        if plain.turned(plain.value(name), turn, plain.dtypes[name]) == turned.value(name):
            same.append(tensor.index)
    return tuple(same)


def notes_on_whole_answers(network: Network, same: Collection[int] = ()) -> tuple[str, ...]:
    """A warning of every answer that is no floating-point number: its average is one, and no class or place.

    same: those of `handed_through`, which are not averaged.
    """
    notes: list[str] = []
    for tensor, kind in _whole(network):
        if tensor.representation is not None and tensor.index not in same:
            between = "0.5 of true and false" if kind is torch.bool else "3.5 of 3 and 4"
            notes.append(
                f"warning: {tensor.where} is averaged as floating-point numbers: it holds {_name(kind)}, and where "
                f"both views answer differently the result lies between ({between}). Where it numbers classes or "
                "places, let the network return the scores that these are taken from, and take them behind the result"
            )
    return tuple(notes)


def _name(kind: torch.dtype) -> str:
    """The type as messages name it: `int64`."""
    return str(kind).removeprefix("torch.")


def _whole(network: Network) -> Iterator[tuple[ResolvedTensor, torch.dtype]]:
    """The answers that hold whole numbers or truth values, with their types."""
    for tensor, kind in zip(network.resolved.output_tensors, _kinds(network), strict=False):
        if kind is not None and not (kind.is_floating_point or kind.is_complex):
            yield tensor, kind


def _kinds(network: Network) -> list[torch.dtype | None]:
    """The type of every answer, None where the graph does not say; without a graph the network is run once."""
    captured = network.captured
    if captured is None:
        return [answer.dtype for answer in answers(network.module, [network.example], 0)]
    kinds: list[torch.dtype | None] = []
    for name in captured.answers:
        if name in captured.leaves:
            kinds.append(captured.leaves[name].tensor.dtype)
        else:
            node = captured.by_name.get(name)
            kinds.append(None if node is None else next(iter(node.dtypes), None))
    return kinds
