"""The first call of the user's arrays in the kinds of numbers that a network takes.

A detector saves pixels as integers, a table has its time steps as 3.0, a mask is 0 and 1: the array does not tell what
the network computes with. The network does. Kinds are tried on the first sample until it runs, the likeliest first:

    real numbers     in the network's precision; where all are whole, as integers; where all are 0 or 1, as a mask
    whole numbers    of coordinates, real first; of an input that the mirror leaves alone, as they are first
    masks            as they are, then real

Whole numbers that stand for positions become real where the network takes both: it is to be run on others, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product

import torch

from chiralize.body.tensors import ConversionSpec
from chiralize.errors import DataFileError
from chiralize.graph.copies import copied, is_large
from chiralize.graph.running import Arguments, Call
from chiralize.graph.silence import quiet
from chiralize.problem.data.kinds import checked_cast, is_exact, is_of_one_kind, kind_name
from chiralize.problem.exporting import called
from chiralize.problem.preparation import entered

_MOST_RUNS = 27
"""Ways to take the arrays that are tried: three kinds of three inputs."""
_INDICES = {torch.bool, torch.int32, torch.int64}
"""Kinds of masks and whole numbers that torch's lookups take."""


def suited(
    module: torch.nn.Module, call: Call, spec: ConversionSpec, dtype: torch.dtype, entry: str = "forward"
) -> Call | None:
    """The call in kinds of numbers in which the network runs on it; None where it runs in none.

    module: it is not touched.  dtype: in which the network computes.
    """
    arguments = Arguments.of(*call)
    still = _still(spec, len(arguments.tensors))
    kinds = [_kinds(tensor, index in still, dtype) for index, tensor in enumerate(arguments.tensors)]
    if is_large(module):  # it is run once more when it is made ready, and not here
        return arguments.filled(_cast(arguments.tensors, [each[0] for each in kinds]))
    for chosen in _ways(kinds):
        tried = arguments.filled(_cast(arguments.tensors, chosen))
        if _runs(module, tried, entry):
            return tried
    return None


def refuse_fractions(
    module: torch.nn.Module,
    call: Call,
    spec: ConversionSpec,
    dtype: torch.dtype,
    names: Sequence[str],
    entry: str = "forward",
) -> None:
    """Raise DataFileError where the network runs on no kind, and would if an array without a side were whole numbers.

    names: of the arrays, in the order of the tensors.
    """
    arguments = Arguments.of(*call)
    still = _still(spec, len(arguments.tensors))
    if is_large(module) or len(names) != len(arguments.tensors):
        return
    for index, (name, tensor) in enumerate(zip(names, arguments.tensors, strict=True)):
        if index not in still or not tensor.is_floating_point():
            continue
        rounded = list(arguments.tensors)
        rounded[index] = tensor.long()
        if suited(module, arguments.filled(rounded), spec, dtype, entry) is not None:
            number = float(tensor.flatten()[0])
            facts = f"array {name!r} holds {number:g}, and the network takes whole numbers there"
            remedy = "store the whole numbers that the model takes, such as indices and time steps"
            raise DataFileError("calibration", facts, remedy)


def remark_on_kinds(before: Call, after: Call, where: str) -> str:
    """A note on the inputs that are taken as another kind of numbers than they were stored in; "" where none is."""
    changed: list[str] = []
    pairs = zip(Arguments.of(*before).tensors, Arguments.of(*after).tensors, strict=True)
    for index, (given, taken) in enumerate(pairs):
        if not is_of_one_kind(given.dtype, taken.dtype):
            changed.append(f"input {index} holds {kind_name(given.dtype)}, and is taken as {kind_name(taken.dtype)}")
    return f"{where}: {'; '.join(changed)}, as the network is" if changed else ""


def _still(spec: ConversionSpec, count: int) -> set[int]:
    """The tensors of a call that the mirror leaves alone, by the specification."""
    entries = spec.inputs or ()
    if len(entries) != count:
        return set()
    return {index for index, entry in enumerate(entries) if entry.kind in ("free", "invariant")}


def _kinds(tensor: torch.Tensor, is_still: bool, dtype: torch.dtype) -> list[torch.dtype]:
    """The kinds that keep an array's values, the likeliest first."""
    if tensor.is_complex():
        return [tensor.dtype]
    whole = [kind for kind in (torch.int64, torch.bool) if is_exact(tensor, tensor.to(kind))]
    if tensor.is_floating_point():
        return [dtype, *whole]
    # Bytes and unsigned numbers are no indices for torch.
    stays = tensor.dtype if tensor.dtype in _INDICES else torch.int64
    first = (stays, dtype) if tensor.dtype == torch.bool or is_still else (dtype, stays)
    return list(dict.fromkeys((*first, *whole)))


def _ways(kinds: Sequence[Sequence[torch.dtype]]) -> Iterator[Sequence[torch.dtype]]:
    """A kind for every tensor, as many ways as are tried, those with the likeliest kinds first."""
    positions = product(*(range(len(each)) for each in kinds))
    for chosen in islice(sorted(positions, key=sum), _MOST_RUNS):
        yield [each[position] for each, position in zip(kinds, chosen, strict=True)]


def _cast(tensors: Sequence[torch.Tensor], kinds: Sequence[torch.dtype]) -> list[torch.Tensor]:
    """Every tensor in its kind."""
    return [checked_cast(tensor, kind, "", "example") for tensor, kind in zip(tensors, kinds, strict=True)]


def _runs(module: torch.nn.Module, call: Call, entry: str) -> bool:
    """Whether a copy of the network runs on a call."""
    try:
        with quiet(), torch.no_grad():
            called(entered(copied(module).eval(), entry), *call)
    except Exception:  # noqa: BLE001 - whatever it says, it does not take these kinds
        return False
    return True
